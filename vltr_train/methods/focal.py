"""Focal loss: an easy label of a video counts less than a hard one.

Paper: Lin et al., arXiv 1708.02002, Eq. 4, with sigmoids: L = mean of (1 - p)^gamma l, l the BCE and p = exp(-l).
Code: https://github.com/17Skye17/VideoLT (ops/losses.py), which uses it in FrameStack, with gamma 1.
Command: vltr-train fit focal:i3d-ava --data DIR
Expected: SAP .434, tail SAP .411, head SAP .442 (arXiv 1904.12993, Table 2). VideoLT prints no number for it alone. It
equals FrameStack without mixing.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from vltr_train import losses
from vltr_train.data.loader import Batch
from vltr_train.method import Method, TrainConfig
from vltr_train.presets import published

__all__ = ["Focal", "FocalConfig"]


@dataclass(frozen=True, kw_only=True)
class FocalConfig(TrainConfig):
    # The power of the factor (1 - p)^gamma, at least 0. A larger one lowers the loss of easy terms more; 0 gives BCE.
    gamma: float = 1.0  # DIFFERS: the paper of the loss has 2, and VideoLT's scripts have 1.

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma < 0:
            raise ValueError(f"gamma: expected at least 0, got {self.gamma}")


class Focal(Method):
    paper = "Focal loss (arXiv 1708.02002)"
    config: FocalConfig
    Config = FocalConfig
    presets = MappingProxyType(published("focal", "focal loss", gamma=2.0))

    def forward(self, batch: Batch) -> Tensor:
        return losses.focal(self.model(batch.features), batch.targets, self.config.gamma)
