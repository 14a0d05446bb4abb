"""Scores or labels on their way to another file: blocks of rows, and the numbers that a narrower dtype changes.

Nothing is read as a whole: a mapped array goes through memory some rows at a time.

Legend: N rows, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval._base.progress import Progress
from vltr_eval.formats.table import LabelPairs

BLOCK = 64 << 20  # bytes of rows in memory at a time
_COLUMNS = 128 << 20  # bytes of columns in memory at a time, to count ties


@dataclass(frozen=True, eq=False)
class Content:
    """Scores or labels to write.

    Attributes:
        name: The input, for messages.
        role: "scores" or "labels".
        shards: Row shards, (n, C) or (n,), of numpy or torch; empty for sparse labels.
        pairs: Sparse labels, or None.
        ids: (N,) objects of str or int64, or None.
        class_names: C names, or None.
        dtype: The dtype of the output: numpy's, or "bfloat16".
    """

    name: str
    role: str
    shards: Sequence[Any]
    pairs: LabelPairs | None
    ids: np.ndarray | None
    class_names: tuple[str, ...] | None
    dtype: Any

    @property
    def num_rows(self) -> int:
        return self.pairs.num_rows if self.pairs is not None else sum(len(shard) for shard in self.shards)

    @property
    def num_classes(self) -> int | None:
        """C; None where sparse labels do not tell, and for one value a row."""
        if self.pairs is not None:
            return self.pairs.num_classes
        return int(self.shards[0].shape[1]) if self.is_matrix else None

    @property
    def is_matrix(self) -> bool:
        return self.pairs is None and len(self.shards[0].shape) == 2

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the dense array."""
        return (self.num_rows, self.num_classes or 0) if self.is_matrix else (self.num_rows,)

    def rows_of(self, num_bytes: int) -> int:
        """How many rows have so many bytes, at least one."""
        width = max(1, math.prod(self.shape[1:])) * np.dtype(self.stored_dtype).itemsize
        return max(1, num_bytes // width)

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """The dtype of the blocks: bfloat16 comes as its bits."""
        return np.dtype(np.uint16) if str(self.dtype) == "bfloat16" else np.dtype(self.dtype)

    def blocks(self, step: int, progress: Progress | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first row and the values of ``step`` rows at a time, C-contiguous, in the dtype of the output."""
        waiting: list[np.ndarray] = []
        first, held, done = 0, 0, 0
        for shard in self.shards:
            start = 0
            while start < len(shard):
                stop = min(len(shard), start + step - held)
                waiting.append(_converted(shard[start:stop], self.dtype))
                held += stop - start
                start = stop
                if held == step:
                    yield first, _joined(waiting)
                    first, held, waiting = first + held, 0, []
                    done = first
                    if progress is not None:
                        progress(done / max(1, self.num_rows))
        if held:
            yield first, _joined(waiting)
        if progress is not None:
            progress(1.0)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)


def dtype_of(array: Any) -> Any:
    """The numpy dtype of an array of numpy or torch; "bfloat16" for both kinds of bfloat16."""
    name = str(array.dtype).removeprefix("torch.")
    return "bfloat16" if name == "bfloat16" else np.dtype(name if hasattr(array, "data_ptr") else array.dtype)


def _converted(block: Any, dtype: Any) -> np.ndarray:
    """Rows of an array of numpy or torch in a dtype; bfloat16 as its bits."""
    is_torch = hasattr(block, "data_ptr")
    if dtype_of(block) == "bfloat16":
        if str(dtype) == "bfloat16":
            return np.asarray(block.contiguous().view(_torch().uint16).numpy() if is_torch else block.view(np.uint16))
        block = block.float().numpy() if is_torch else block.astype(np.float32)
    values = block.numpy() if is_torch and hasattr(block, "data_ptr") else np.asarray(block)
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(dtype, copy=False)


def _torch() -> Any:
    import torch

    return torch


# Narrower dtypes


@dataclass(frozen=True)
class Narrowing:
    """The effect of a narrower dtype.

    Attributes:
        changed: How many numbers are not the same.
        largest: The largest difference of a number.
        new_ties: How many distinct numbers of a class the others swallow, summed over the classes.
    """

    changed: int
    largest: float
    new_ties: int


def narrowed(
    content: Content, dtype: np.dtype[Any], progress: Progress | None = None
) -> tuple[Content, Narrowing | None]:
    """Return the content in another dtype, and the effect where the dtype does not hold every number.

    Raises:
        InputError: A number that would become infinite.
    """
    before = np.float32 if str(content.dtype) == "bfloat16" else np.dtype(content.dtype)
    after = replace(content, dtype=dtype)
    is_wide = np.dtype(before).kind in "iu" and np.dtype(before).itemsize == 8  # numpy calls their cast to float64 safe
    if np.can_cast(before, dtype, "safe") and not is_wide:
        return after, None
    wide = replace(content, dtype=np.dtype(before))
    changed, largest = 0, 0.0
    step = wide.rows_of(BLOCK)
    for first, block in wide.blocks(step):
        with np.errstate(all="ignore"):
            small = block.astype(dtype)
            lost = np.isfinite(block) & ~np.isfinite(small)
            if lost.any():
                at = np.argwhere(lost)[0]
                where = f"row {first + at[0]}" + (f", class {at[1]}" if len(at) > 1 else "")
                raise InputError(
                    f"{content.name}: {where}: {block[tuple(at)]} is beyond the range of {dtype.name}; "
                    "choose a wider --dtype"
                )
            if is_wide:
                difference = _differences_of_integers(block, small)
            else:
                difference = np.abs(block.astype(np.float64) - small.astype(np.float64))
        difference[~np.isfinite(difference)] = 0
        changed += int(np.count_nonzero(difference))
        largest = max(largest, float(difference.max(initial=0)))
    return after, Narrowing(changed, largest, _new_ties(wide, dtype, progress))


def _differences_of_integers(block: np.ndarray, small: np.ndarray) -> np.ndarray:
    """The differences of integers of 64 bits, which float64 does not hold, to their rounded values."""
    rounded = small.astype(np.float64)
    most = np.iinfo(block.dtype).max
    fits = rounded < float(most)  # which is the largest integer plus 1
    whole = np.where(fits, rounded, 0).astype(block.dtype)
    gaps = np.where(block > whole, block - whole, whole - block)
    return np.where(fits, gaps, most - block + 1).astype(np.float64)


def _new_ties(content: Content, dtype: np.dtype[Any], progress: Progress | None) -> int:
    """How many distinct numbers of a class are lost, summed over the classes."""
    width = math.prod(content.shape[1:])
    at_once = max(1, _COLUMNS // max(1, content.num_rows * np.dtype(content.dtype).itemsize))
    lost = 0
    for start in range(0, width, at_once):
        parts = [shard[:, start : start + at_once] if content.is_matrix else shard for shard in content.shards]
        columns = np.concatenate([_converted(part, content.dtype).reshape(len(part), -1) for part in parts]).T
        values = np.sort(columns, axis=1)
        with np.errstate(all="ignore"):
            small = values.astype(dtype)  # rounding keeps the order
        lost += int((values[:, 1:] != values[:, :-1]).sum() - (small[:, 1:] != small[:, :-1]).sum())
        if progress is not None:
            progress(min(1.0, (start + at_once) / width))
    return lost


# Sparse labels


def compressed_rows(pairs: LabelPairs) -> tuple[np.ndarray, np.ndarray]:
    """Return indptr (N + 1,) and indices (nnz,) of the rows of sparse labels, classes ascending in each row."""
    order = np.lexsort((pairs.classes, pairs.rows))
    counts = np.bincount(np.asarray(pairs.rows, np.int64), minlength=pairs.num_rows)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    return indptr, np.asarray(pairs.classes, np.int64)[order]


class DenseRows:
    """Sparse labels as a dense (N, C) matrix of uint8, made some rows at a time."""

    dtype = np.dtype(np.uint8)

    def __init__(self, pairs: LabelPairs, num_classes: int) -> None:
        self._indptr, self._indices = compressed_rows(pairs)
        self.shape = (pairs.num_rows, num_classes)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        bounds = self._indptr[start : stop + 1]
        block = np.zeros((stop - start, self.shape[1]), np.uint8)
        block[np.repeat(np.arange(stop - start), np.diff(bounds)), self._indices[bounds[0] : bounds[-1]]] = 1
        return block
