"""Columns of numbers become one matrix, and no number changes on the way.

Columns keep their dtype where all have the same. Others are united in the smallest dtype that numpy gives for them all,
which holds every value exactly, with one exception: float64 is what numpy gives for 64-bit integers beside floats or
integers of the other sign. Values above 2**53 are then refused.

Legend: N rows, C classes, K columns.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from vltr_eval.formats.sources import InputError, Source, listing
from vltr_eval.formats.table import Column

Progress = Callable[[float], None]

_EXACT = 2**53  # float64 holds every whole number up to here


def stack_columns(
    source: Source | str,
    columns: Sequence[Column],
    num_rows: int,
    blocks: Iterable[Iterable[np.ndarray]],
    progress: Progress | None = None,
) -> np.ndarray:
    """Return columns of numbers as one (N, K) array of their common dtype.

    Args:
        source: The file or the argument's name, for messages.
        columns: The K columns, with the dtypes that the values have.
        num_rows: N, as the file says.
        blocks: Consecutive rows, each block as K arrays of one length. Only one block is in use at a time.
        progress: Called with the share of the rows that is done.

    Raises:
        InputError: A column of whole numbers that the common dtype cannot hold, more data than this machine's memory,
            or another number of rows than promised.
    """
    dtype = np.result_type(*(column.dtype for column in columns)) if columns else np.dtype(np.float64)
    doubted = {
        k for k, column in enumerate(columns) if dtype == np.float64 and np.dtype(column.dtype) in (np.int64, np.uint64)
    }
    rounded: set[int] = set()
    rows = RowBuffer(source, (num_rows, len(columns)), dtype, progress)
    for block in blocks:
        target = None
        for k, values in enumerate(block):
            target = rows.next_rows(len(values)) if target is None else target
            target[:, k] = values
            if k in doubted and len(values) and (values.max() > _EXACT or values.min() < -_EXACT):
                rounded.add(k)
    if rounded:
        whole = [columns[k] for k in sorted(rounded)]
        other = next(column for column in columns if column.dtype != whole[0].dtype)
        raise InputError(
            f"{source}: expected columns that one number type holds exactly, got whole numbers above 2**53 "
            f"({whole[0].dtype}) beside {other.dtype} (column {other.name}) in columns "
            f"{listing(column.name for column in whole)}; store all columns in one type"
        )
    return rows.finish() if columns else rows.array


class RowBuffer:
    """An array that is filled by consecutive rows; the memory is in use only as far as it is filled."""

    def __init__(
        self, source: Source | str, shape: tuple[int, ...], dtype: np.dtype, progress: Progress | None = None
    ) -> None:
        self.array = _allocate(source, shape, dtype)
        self._source = source
        self._stop = 0
        self._progress = progress

    def next_rows(self, count: int) -> np.ndarray:
        """Return the next rows, to be written to."""
        start, self._stop = self._stop, self._stop + count
        if self._stop > len(self.array):
            raise InputError(f"{self._source}: damaged: holds more rows than the {len(self.array):,} that it states")
        if self._progress is not None and count:
            self._progress(self._stop / len(self.array))
        return self.array[start : self._stop]

    def finish(self) -> np.ndarray:
        """Return the array, all of whose rows are there."""
        if self._stop < len(self.array):
            raise InputError(
                f"{self._source}: truncated or damaged: states {len(self.array):,} rows, but {self._stop:,} are there"
            )
        return self.array


def _allocate(source: Source | str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array that is not initialised; a few bytes of a compressed file can promise any number of rows."""
    size = math.prod(shape) * dtype.itemsize
    try:
        if size > _physical_memory():
            raise MemoryError
        return np.empty(shape, dtype)
    except MemoryError:
        raise InputError(
            f"{source}: states {' x '.join(f'{length:,}' for length in shape)} numbers of {dtype}, "
            f"{size / 2**30:,.1f} GiB, which this machine's memory cannot hold; split the file, or it is damaged"
        ) from None


def _physical_memory() -> float:
    """Bytes of memory of this machine; without a bound where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return math.inf
