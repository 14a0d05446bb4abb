"""Synthetic videos, made on the device, for bench_train_cuda.py and method_steps.py.

`fit` copies the frames of a data set to the device. Frames made there need no copy and no host memory.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass

import numpy as np
import torch

from _lib.tables import size
from vltr_train.data.dataset import Dataset, TestSplit, TrainSplit
from vltr_train.data.synth import make_world

TEST_VIDEOS = 256
ROOM = 8 << 30  # bytes of device memory that stay free of frames
FEWEST_FRAMES = 8  # shorter videos make no useful training
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Shape:
    """Sizes of the data and of the training.

    Attributes:
        dim: Features D of a frame.
        frames: Frames of a video.
        clip: Frames of a clip.
        batch: Rows of a batch.
        warm: Steps of the profiled epoch before the profile.
        profiled: Steps in the profile.
        few: Steps of an epoch in the section on all methods.
    """

    dim: int
    frames: int
    clip: int
    batch: int
    warm: int
    profiled: int
    few: int


SHAPES = {
    "cuda": Shape(2048, 150, 60, 128, warm=4, profiled=20, few=30),
    "cpu": Shape(32, 12, 6, 16, warm=1, profiled=4, few=2),
}


@dataclass(frozen=True, eq=False)
class MadeFrames:
    """Stand-in for a `FrameStore`; its frames (F, D) exist only on the device."""

    ids: tuple[str, ...]
    offsets: np.ndarray
    frames: torch.Tensor

    fingerprint = "made on the device"

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    @property
    def dim(self) -> int:
        return self.frames.shape[1]

    @property
    def dtype(self) -> str:
        return str(self.frames.dtype).removeprefix("torch.")


def make_data(scale: float, shape: Shape, device: torch.device) -> tuple[Dataset, str]:
    """Return the data set, and a sentence if memory made it smaller.

    Raises:
        ValueError: The device has no room for FEWEST_FRAMES frames a video.
    """
    world = make_world("videolt", scale=scale, dim=1)
    train, test = world.splits["train"], world.splits["test"]
    rows = np.r_[train, test.start : min(test.stop, test.start + TEST_VIDEOS)]
    fewest = (shape.warm + 1) * shape.batch
    if train.stop < fewest:
        raise ValueError(f"scale: expected one that leaves {fewest} training videos, got {scale:g} with {train.stop}")
    num_frames, note = shape.frames, ""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info()[0]
        num_frames = min(shape.frames, (free - ROOM) // (len(rows) * shape.dim * 2))
        there = f"{size(free)} of free memory, {size(ROOM)} of it kept for all else"
        if num_frames < FEWEST_FRAMES:
            raise ValueError(f"scale: expected one whose {len(rows):,} videos fit into {there}, got {scale:g}")
        if num_frames < shape.frames:
            note = f"{shape.frames} frames a video do not fit into {there}: each video has {num_frames} here."
    labels = world.labels.select(rows)
    frames = MadeFrames(
        labels.ids, np.arange(len(rows) + 1) * num_frames, make_frames(len(rows) * num_frames, shape.dim, device)
    )
    numbers = np.arange(len(rows))
    splits = [kind(labels.select(part), part, frames) for kind, part in
              ((TrainSplit, numbers[: train.stop]), (TestSplit, numbers[train.stop :]))]  # fmt: skip
    return Dataset(world.name, world.class_names, world.bounds, frames, splits[0], None, splits[1]), note


def make_frames(count: int, dim: int, device: torch.device) -> torch.Tensor:
    """Draw rectified noise (count, D) float16 on the device. It carries no signal and needs no second copy."""
    torch.manual_seed(0)
    frames = torch.empty(count, dim, dtype=torch.float16, device=device)
    for part in frames.split(_ROWS_AT_ONCE):
        part.normal_().relu_()
    synchronize(device)
    return frames


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def release(device: torch.device) -> None:
    """Free the memory of a training, also after a failure."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
