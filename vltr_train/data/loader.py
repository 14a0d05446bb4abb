"""Batches of clips from a frame store: only the frames a step needs are read, ahead of it, by the core's threads.

A thread draws the frames of the next batches, gathers them and sends them to the device while the current step runs.
Where the store lies on the device itself nothing is read or sent: a batch is one gather there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from vltr_eval._base.arrays import num_threads
from vltr_eval._base.lazy import lazy_property
from vltr_train.data.dataset import Split
from vltr_train.data.frame_store import FrameStore
from vltr_train.ops.frames import gather_frames, sample_frames
from vltr_train.samplers import Draw, Sampler

__all__ = ["FRAME_SAMPLING", "Batch", "Loader", "derived_seed", "resident_frames"]

FRAME_SAMPLING: dict[str, dict[str, Any]] = {
    "with_replacement": {"mode": "random", "replacement": True},
    "without_replacement": {"mode": "random", "replacement": False},
    "uniform": {"mode": "uniform"},
}
"""Arguments of `sample_frames` by the names of a configuration."""

_AHEAD = 2  # batches that are made while one is in use
_SHARE_OF_DEVICE = 0.6  # of its free memory, that a store may take; the rest is for the model
_ROWS_AT_ONCE = 1 << 16  # of a store, on their way to the device


@dataclass
class Batch:
    """Clips of B videos with their labels: one batch of a `Loader`.

    Attributes:
        features: (B, T, D) float32.
        targets: (B, C) float32 of 0 and 1.
        rows: (B,) int64 in CPU memory, rows of the split.
        classes: (B,) int64, the class that each row was drawn for; None if the sampler draws no classes.
        weight: Rows of this rank x ranks / rows of all ranks. With this factor the mean of the ranks' mean losses is
            the mean over all rows.
    """

    features: Tensor
    targets: Tensor
    rows: Tensor
    classes: Tensor | None = None
    weight: float = 1.0

    def __repr__(self) -> str:
        shape = ", ".join(map(str, self.features.shape))
        return f"Batch(features ({shape}), {self.targets.shape[1]:,} classes, {self.features.device})"


class Loader:
    """The batches of a split, epoch by epoch.

    With a sampler: random frames of the rows that it draws. Without one: evenly spaced frames of every row in order, as
    in evaluation. Draws depend on seed, stream, epoch and position in the epoch alone, so ranks, threads and a
    resumption do not change them. A batch is valid until the next one is drawn, and one epoch at a time is read,
    because batches share memory.

    Args:
        split: The split, with its frames.
        batch_size: Rows of all ranks together; each rank gets a contiguous share. In training a last batch with fewer
            than two rows for a rank is dropped (DIFFERS: the published code keeps it; batch normalisation and mixing
            need two).
        num_frames: T.
        sampler: Draws the rows of an epoch; None in evaluation.
        frame_sampling: One of `FRAME_SAMPLING`, for training.
        seed: The seed of the draws.
        stream: The number of the loader among those of one step; each has different draws.
        device: The device of the batches.
        rank: The index of this rank.
        size: The number of ranks.
        resident: The frames of the store on the device: see `resident_frames`.
        threads: Threads of the core.

    Raises:
        ValueError: The batch size or the number of threads does not fit.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        num_frames: int,
        sampler: Sampler | None = None,
        frame_sampling: str = "with_replacement",
        seed: int = 0,
        stream: int = 0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        size: int = 1,
        resident: Tensor | None = None,
        threads: int | None = None,
    ) -> None:
        num_threads(threads)  # raises
        self.split, self.sampler = split, sampler
        self._seed, self._stream, self._rank, self._size = seed, stream, rank, size
        num_rows = len(self._draw(0).rows)
        least = 1 if sampler is None else 2 * size
        if least > min(batch_size, num_rows):
            raise ValueError(
                f"batch_size: expected at least {least} rows for {size} ranks, got {batch_size} of {num_rows} rows"
            )
        batches = [(start, min(start + batch_size, num_rows)) for start in range(0, num_rows, batch_size)]
        self._batches = batches[:-1] if batches[-1][1] - batches[-1][0] < least else batches
        picks = FRAME_SAMPLING["uniform" if sampler is None else frame_sampling]
        self._picks = picks | {"seed": derived_seed(seed, stream), "num_frames": num_frames, "threads": threads}
        self._device, self._resident = torch.device(device), resident

    @lazy_property
    def _source(self) -> _OnHost | _OnDevice:
        """Allocate on first use, so that a loader takes no memory until its first epoch."""
        if self._resident is None:
            return _OnHost(self.split, self._picks, self._device)
        return _OnDevice(self.split, self._picks, self._resident)

    def __repr__(self) -> str:
        return f"Loader({self.split!r}, {self.num_batches:,} batches, {self._device})"

    @property
    def num_batches(self) -> int:
        return len(self._batches)

    @property
    def num_rows(self) -> int:
        """Rows that this rank gets in an epoch."""
        return sum(end - start for start, end in map(self._share, self._batches))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch; one without rows on this rank is left out."""
        draw = self._draw(epoch)
        shares = ((batch, *self._share(batch)) for batch in self._batches)
        todo = ((batch, start, end) for batch, start, end in shares if start < end)
        with ThreadPoolExecutor(1, thread_name_prefix="vltr-loader") as pool:

            def submit(batch: tuple[int, int], start: int, end: int) -> Any:
                weight = (end - start) * self._size / (batch[1] - batch[0])
                rows, classes = draw.rows[start:end], None if draw.classes is None else draw.classes[start:end]
                return pool.submit(self._source.make, rows, classes, start, epoch, weight)

            made = deque(submit(*share) for share in islice(todo, _AHEAD))
            try:
                while made:
                    prepared = made.popleft().result()
                    # The batch before this one is done with: the next to be made takes its memory.
                    made.extend(submit(*share) for share in islice(todo, 1))
                    yield self._source.hand_over(prepared)
            finally:
                for future in made:
                    future.cancel()

    def _draw(self, epoch: int) -> Draw:
        if self.sampler is None:
            return Draw(np.arange(len(self.split)))
        return self.sampler.draw(self.split.labels, self._seed, epoch, self._stream)

    def _share(self, batch: tuple[int, int]) -> tuple[int, int]:
        """The positions in the epoch that are this rank's of a batch."""
        start, end = batch
        first, last = (start + (end - start) * rank // self._size for rank in (self._rank, self._rank + 1))
        return first, last


def derived_seed(seed: int, *purpose: int) -> int:
    """A seed of 64 bits for a purpose, which is some numbers: that of another purpose has nothing to do with it."""
    return int(np.random.SeedSequence(seed, spawn_key=purpose).generate_state(1, np.uint64)[0])


def resident_frames(frames: Any, device: torch.device | str, store: str = "auto") -> Tensor | None:
    """The packed frames (F, D) on a device, or None where they stay where they are.

    store: "device" copies them, "host" does not, "auto" does where the device is a GPU with room for them. Raises
    ValueError for frames in a file a video, which cannot be copied at once.
    """
    device = torch.device(device)
    packed = isinstance(frames, FrameStore)
    if store not in ("auto", "host", "device"):
        raise ValueError(f"store: expected auto, host or device, got {store!r}")
    if store == "device" and not packed:
        raise ValueError("store: expected packed frames (vltr-train pack) to be put on the device, got a file a video")
    if store == "auto":
        has_room = (
            packed
            and device.type == "cuda"
            and (frames.frames.nbytes < _SHARE_OF_DEVICE * torch.cuda.mem_get_info(device)[0])
        )
    if store == "host" or (store == "auto" and not has_room):
        return None
    resident = torch.empty(frames.frames.shape, dtype=getattr(torch, frames.dtype), device=device)
    for start in range(0, len(resident), _ROWS_AT_ONCE):
        rows = frames.frames[start : start + _ROWS_AT_ONCE]
        resident[start : start + len(rows)] = torch.from_numpy(np.array(rows))
    return resident


class _Prepared(NamedTuple):
    batch: Batch
    sent: Any  # event after which the device has it


class _OnHost:
    """Frames in files or memory: gathered by the core into memory that is used again, then sent."""

    def __init__(self, split: Split, picks: dict[str, Any], device: torch.device) -> None:
        self._split, self._lengths, self._picks, self._device = split, split.lengths, picks, device
        self._is_cuda = device.type == "cuda"
        # Half as many bytes travel to a device when frames stay float16 until they are there.
        self._dtype = "float16" if self._is_cuda and split.frames.dtype == "float16" else "float32"
        self._stream = torch.cuda.Stream(device) if self._is_cuda else None
        self._memory: deque[tuple[Tensor, Any]] = deque((torch.empty(0), None) for _ in range(_AHEAD + 1))

    def make(self, rows: np.ndarray, classes: np.ndarray | None, position: int, epoch: int, weight: float) -> _Prepared:
        clips = self._gather(rows, position, epoch)
        targets = torch.from_numpy(self._split.labels.multi_hot(rows))
        drawn = None if classes is None else torch.from_numpy(classes)
        sent = None
        if self._stream is not None:
            with torch.cuda.stream(self._stream):
                clips, targets = self._send(clips), self._send(targets)
                drawn = None if drawn is None else self._send(drawn)
                sent = self._stream.record_event()
        self._memory[-1] = (self._memory[-1][0], sent)
        return _Prepared(Batch(clips, targets, torch.from_numpy(rows), drawn, weight), sent)

    def _send(self, array: Tensor) -> Tensor:
        return array.pin_memory().to(self._device, non_blocking=True)

    def hand_over(self, prepared: _Prepared) -> Batch:
        batch, sent = prepared
        if sent is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(sent)
            for array in (batch.features, batch.targets, batch.classes):
                if array is not None:
                    array.record_stream(stream)
            batch.features = batch.features.float()
        return batch

    def _gather(self, rows: np.ndarray, position: int, epoch: int) -> Tensor:
        split = self._split
        positions = np.arange(position, position + len(rows))
        frames = sample_frames(self._lengths[rows], epoch=epoch, samples=positions, **self._picks)
        memory, sent = self._memory[0]
        self._memory.rotate(-1)
        if sent is not None:
            sent.synchronize()
        shape = (*frames.shape, split.frames.dim)
        if len(memory) < len(rows):
            memory = torch.empty(shape, dtype=getattr(torch, self._dtype), pin_memory=self._is_cuda)
        self._memory[-1] = (memory, None)
        clips = memory[: len(rows)]
        split.frames.gather(split.videos[rows], frames, out=clips.numpy(), threads=self._picks["threads"])
        return clips


class _OnDevice:
    """Packed frames that lie on the device."""

    def __init__(self, split: Split, picks: dict[str, Any], resident: Tensor) -> None:
        self._picks, self._frames, self._device = picks, resident, resident.device
        store = cast(FrameStore, split.frames)  # resident_frames returns None for other frames
        self._offsets, self._videos = self._put(store.offsets), self._put(split.videos)
        self._lengths = self._put(split.lengths)
        self._targets = self._put(split.labels.multi_hot(dtype=np.uint8))

    def make(self, rows: np.ndarray, classes: np.ndarray | None, position: int, epoch: int, weight: float) -> Batch:
        there = self._put(rows)
        positions = torch.arange(position, position + len(rows), device=self._device)
        frames = sample_frames(self._lengths[there], epoch=epoch, samples=positions, **self._picks)
        clips = gather_frames(
            self._frames, self._offsets, self._videos[there], frames, dtype="float32", threads=self._picks["threads"]
        )
        drawn = None if classes is None else self._put(classes)
        return Batch(clips, self._targets[there].float(), torch.from_numpy(rows), drawn, weight)

    def hand_over(self, batch: Batch) -> Batch:
        return batch

    def _put(self, array: np.ndarray) -> Tensor:
        host = torch.from_numpy(np.ascontiguousarray(array))
        return host.pin_memory().to(self._device, non_blocking=True) if self._device.type == "cuda" else host
