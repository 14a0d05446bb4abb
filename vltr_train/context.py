"""Where a training runs: the device, what lies on it, and which of several processes this is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vltr_eval._base.ranks import SINGLE_PROCESS, Communicator, RankFailure, SingleProcess
from vltr_train.data.dataset import Dataset
from vltr_train.data.loader import resident_frames

__all__ = ["RunContext", "choose_device", "lost_ranks"]

_LOST = ("gloo", "nccl", "closed by peer", "reset by peer", "broken pipe", "timed out", "timeout")
"""Words of the errors by which torch.distributed says that another process has gone."""


@dataclass(frozen=True)
class RunContext:
    """device; resident: the frames of the store where they lie on it; threads: of the core; communicator: of the
    ranks of the process group.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    resident: Tensor | None = None
    threads: int | None = None
    communicator: SingleProcess | Communicator = SINGLE_PROCESS

    def __repr__(self) -> str:
        where = "" if self.resident is None else ", frames on the device"
        return f"RunContext({str(self.device)!r}, rank {self.communicator.rank} of {self.communicator.size}{where})"

    @classmethod
    def choose(
        cls,
        dataset: Dataset,
        communicator: SingleProcess | Communicator,
        *,
        device: torch.device | str | None,
        store: str,
        threads: int | None,
    ) -> RunContext:
        """Choose the context of a data set. Raises ValueError as `choose_device` and `resident_frames` do."""
        chosen = choose_device(device)
        return cls(chosen, resident_frames(dataset.frames, chosen, store), threads, communicator)

    @property
    def of_batches(self) -> dict[str, Any]:
        """The arguments of a `Loader` that come from here."""
        return {
            "device": self.device,
            "resident": self.resident,
            "threads": self.threads,
            "rank": self.communicator.rank,
            "size": self.communicator.size,
        }

    def autocast(self, precision: str) -> AbstractContextManager[Any]:
        """The context of a forward pass in "float32", "bfloat16" or "float16"."""
        if precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, precision))


@contextmanager
def lost_ranks(communicator: SingleProcess | Communicator) -> Iterator[None]:
    """Turn the error of a training step in which another rank has gone into a sentence.

    Raises:
        RankFailure: torch.distributed could not reach another rank. Other errors pass unchanged.
    """
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        if (
            communicator.size == 1
            or isinstance(error, RankFailure)
            or not any(word in reason.lower() for word in _LOST)
        ):
            raise
        raise RankFailure(
            f"a rank went away in a training step ({reason}); start all ranks again with resume=True (--resume)"
        ) from error


def choose_device(device: torch.device | str | None) -> torch.device:
    """The device of this name, of which "cuda" is this process's GPU; by default that, where there is one.

    A GPU becomes the current one, as nccl and page-locked memory want it.
    Raises ValueError for what is no device, or not there.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ValueError(f"device: expected cpu, cuda or cuda:N, got {device!r}") from None
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device: expected cpu, cuda or cuda:N, got {str(device)!r}")
    if chosen.type == "cpu":
        return chosen
    index = int(os.environ.get("LOCAL_RANK", 0)) if chosen.index is None else chosen.index
    count = torch.cuda.device_count()
    if index >= count:
        expected = f"cuda:0 to cuda:{count - 1}, the GPUs" if count else "cpu, because there is no GPU"
        raise ValueError(f"device: expected {expected} that PyTorch can use here, got cuda:{index}")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
