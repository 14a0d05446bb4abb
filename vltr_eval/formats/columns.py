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
from typing import Any, Literal

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.sources import Source, listing
from vltr_eval.formats.table import Column

Progress = Callable[[float], None]

_EXACT = 2**53  # float64 holds every whole number up to here


def stack_columns(
    source: Source | str,
    columns: Sequence[Column],
    num_rows: int,
    read: Callable[[Sequence[int]], Iterable[Iterable[np.ndarray]]],
    progress: Progress | None = None,
    at_a_time: int = 2**63,
) -> np.ndarray:
    """Return columns of numbers as one (N, K) array of their common dtype.

    Each column lies in memory as a whole: so it is written quickly, and ranked quickly later.

    Args:
        source: The file or the argument's name, for messages.
        columns: The K columns, with the dtypes that the values have.
        num_rows: N, as the file says.
        read: Gives some of the K columns, by their positions, as blocks of consecutive rows; each block is one array a
            column. Only one block is in use at a time.
        progress: Called with the share of the numbers that is done.
        at_a_time: How many columns are read at a time.

    Raises:
        InputError: A column of whole numbers that the common dtype cannot hold, more data than this machine's memory,
            or another number of rows than promised.
    """
    dtype = np.result_type(*(column.dtype for column in columns)) if columns else np.dtype(np.float64)
    doubted = {
        k for k, column in enumerate(columns) if dtype == np.float64 and np.dtype(column.dtype) in (np.int64, np.uint64)
    }
    rounded: set[int] = set()
    matrix = allocate(source, (num_rows, len(columns)), dtype, "F")
    for first in range(0, len(columns), at_a_time):
        group = range(first, min(first + at_a_time, len(columns)))
        rows = RowBuffer(source, matrix[:, group.start : group.stop], _part(progress, group, len(columns)))
        for block in read(group):
            target = None
            for position, (k, values) in enumerate(zip(group, block, strict=True)):
                target = rows.next_rows(len(values)) if target is None else target
                target[:, position] = values
                if k in doubted and len(values) and (values.max() > _EXACT or values.min() < -_EXACT):
                    rounded.add(k)
        rows.finish()
    if rounded:
        whole = [columns[k] for k in sorted(rounded)]
        other = next(column for column in columns if column.dtype != whole[0].dtype)
        raise InputError(
            f"{source}: expected columns that one number type holds exactly, got whole numbers above 2**53 "
            f"({whole[0].dtype}) in columns {listing(column.name for column in whole)}, beside {other.dtype} in column "
            f"{other.name}; store all columns in one type"
        )
    return matrix


def _part(progress: Progress | None, group: range, num_columns: int) -> Progress | None:
    """Progress of one group of columns, as a share of the whole."""
    if progress is None:
        return None
    return lambda share: progress((group.start + share * len(group)) / num_columns)


class RowBuffer:
    """An array that is filled by consecutive rows, as many as the file states.

    Args:
        source: The file or the argument's name, for messages.
        array: The array to fill.
        progress: Called with the share of the rows that is filled.
    """

    def __init__(self, source: Source | str, array: np.ndarray, progress: Progress | None = None) -> None:
        self._source = source
        self._array = array
        self._stop = 0
        self._progress = progress

    def next_rows(self, count: int) -> np.ndarray:
        """Return the next rows, to be written to."""
        start, self._stop = self._stop, self._stop + count
        if self._stop > len(self._array):
            raise InputError(f"{self._source}: damaged: holds more rows than the {len(self._array):,} that it states")
        if self._progress is not None and count:
            self._progress(self._stop / len(self._array))
        return self._array[start : self._stop]

    def finish(self) -> np.ndarray:
        """Return the array, all of whose rows are there."""
        if self._stop < len(self._array):
            raise InputError(
                f"{self._source}: truncated or damaged: states {len(self._array):,} rows, but {self._stop:,} are there"
            )
        return self._array


def allocate(source: Source | str, shape: tuple[int, ...], dtype: Any, order: Literal["C", "F"] = "C") -> np.ndarray:
    """Return an array that is not initialised: its memory is in use only as far as it is written to.

    Raises:
        InputError: More than this machine's memory; a few bytes of a compressed file can promise any number of rows.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    try:
        if size > _physical_memory():
            raise MemoryError
        return np.empty(shape, dtype, order)
    except MemoryError:
        raise InputError(
            f"{source}: states {' x '.join(f'{length:,}' for length in shape)} values of {np.dtype(dtype)}, "
            f"{size:,} bytes, which this machine's memory cannot hold; split the file, or it is damaged"
        ) from None


def _physical_memory() -> float:
    """Bytes of memory of this machine; without a bound where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return math.inf
