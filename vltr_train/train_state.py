"""The state of a training, which a checkpoint keeps, and the objects that the steps of a stage use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from vltr_eval._base.terminal import ProgressBar
from vltr_train.data.loader import Loader
from vltr_train.method import Method, Stage

__all__ = ["StageRun", "TrainState"]


@dataclass
class TrainState:
    """Progress of a training; its fields are the keys of checkpoint.pt beside the weights.

    stage, epoch: the index of the stage, and the epochs done in it. total: the epochs done in all stages. best: mAP and
    epoch of the best checkpoint. tensors: the state of "method", "scaler" and "optimizer" that was loaded from a
    checkpoint, until it is in use; a checkpoint of the end of a stage has no optimizer.
    """

    stage: int = 0
    epoch: int = 0
    total: int = 0
    best: dict[str, Any] | None = None
    tensors: dict[str, Any] = field(default_factory=dict)

    PROGRESS: ClassVar = ("stage", "epoch", "total", "best")

    @classmethod
    def from_checkpoint(cls, saved: dict[str, Any]) -> TrainState:
        tensors = {name: value for name, value in saved.items() if name not in cls.PROGRESS}
        return cls(**{name: saved[name] for name in cls.PROGRESS}, tensors=tensors)

    def to_checkpoint(self, method: Method, run: StageRun) -> dict[str, Any]:
        """Return what checkpoint.pt holds after an epoch of a stage."""
        parts: dict[str, Any] = {"method": method, "scaler": run.scaler}
        if self.epoch < run.stage.epochs:  # the next stage has another optimizer, so nothing reads a finished one's
            parts["optimizer"] = run.optimizer
        return {name: getattr(self, name) for name in self.PROGRESS} | {
            name: part.state_dict() for name, part in parts.items()
        }

    def to_best(self, method: Method) -> dict[str, Any]:
        """Return what best.pt holds if the method is the best now."""
        return {"method": method.state_dict(), **(self.best or {})}


@dataclass
class StageRun:
    """The objects that the steps of a stage use."""

    stage: Stage
    seed: int
    loaders: list[Loader]
    loss_of: nn.Module  # the method, or DistributedDataParallel of it
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    bar: ProgressBar
