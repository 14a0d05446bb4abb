"""Average precision of an epoch, taken batch by batch while it runs: the running AP of FrameStack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import (
    MAX_ROWS,
    Array,
    borrow,
    common_device,
    empty_like,
    num_threads,
    release_inputs_after_launch,
)
from vltr_eval.metrics.rank_metrics import rank_table

__all__ = ["RunningAP"]

_NONE_BAD = -1  # the largest place there is, in the unsigned word where the core keeps the least


@dataclass(frozen=True, eq=False)
class _Rows:
    """Memory for the rows of an epoch: scores (capacity, C), labels (capacity, C) of bool.

    first_bad: (1,) int64, the least place of a label that is neither 0 nor 1.
    """

    scores: Array
    labels: Array
    first_bad: Array

    @classmethod
    def like(cls, batch: Array, capacity: int) -> _Rows:
        """Memory where a batch of scores is, in its library and dtype."""
        shape = (capacity, batch.shape[1])
        wanted = ((shape, batch.dtype), (shape, "bool"), ((1,), "int64"))
        rows = cls(*(borrow("capacity", empty_like(batch, *array)) for array in wanted))
        rows.forget_bad()
        return rows

    def is_for(self, batch: Array) -> bool:
        return (self.scores.dtype, self.scores.device.index) == (batch.dtype, batch.device.index)

    def forget_bad(self) -> None:
        self.first_bad.core.assign(np.array([_NONE_BAD]))

    def first_bad_cell(self, num_rows: int) -> tuple[int, int] | None:
        """Row and class of the first bad label of so many rows. On a CUDA device, waits until all updates are done."""
        device, num_classes = self.first_bad.core.item((0,)), self.scores.shape[1]
        return None if device == _NONE_BAD or device >= num_rows * num_classes else divmod(device, num_classes)


class RunningAP:
    """Takes the scores and labels of every step and gives each class's average precision over all of them.

    What FrameStack needs each epoch (VideoLT, arXiv 2105.02668, Algorithm 1): predictions of a model that moves on
    between the steps, and its AP as the next epoch's constants. Scores and labels are kept where they are made: the
    first update decides library, dtype and device, and takes ``capacity`` rows of memory there. On a CUDA device no
    update waits for the device; all work is done on the stream of the first one, which must live as long as this.

    num_classes: C. capacity: the most rows of an epoch. threads: as everywhere. Copies and pickles have the same rows
    in memory of their own, in the library and on the device where they were. Where the rows are kept in memory of
    vltr_eval's own (on a device, for a library that cannot be given memory to fill), there are none: TypeError.

    A call that raises or is interrupted (Ctrl-C) changes nothing, or has taken all its rows: `num_rows` says which.

    >>> running = RunningAP(num_classes=2, capacity=3)
    >>> running.update(np.float32([[.9, .1], [.8, .2]]), np.uint8([[1, 0], [0, 0]]))
    >>> running.update(np.float32([[.7, .3]]), np.uint8([[1, 0]]))
    >>> len(running), running.compute()
    (3, array([0.83333333, 0.        ]))
    """

    def __init__(self, num_classes: int, capacity: int, *, threads: int | None = None) -> None:
        self.num_classes = _check_count("num_classes", num_classes)
        self.capacity = _check_count("capacity", capacity)
        num_threads(threads)  # raises
        self._threads = threads
        self._num_rows = 0
        self._rows: _Rows | None = None  # of which the first _num_rows are filled
        self._is_settled = True  # whether the first bad label, if any, is one of the filled rows

    @property
    def num_rows(self) -> int:
        """Rows taken since the start or the last `reset`."""
        return self._num_rows

    def __len__(self) -> int:
        return self._num_rows

    def update(self, scores: Any, labels: Any) -> None:
        """Takes one batch. scores: (B, C) of any real dtype; labels: (B, C) of 0/1 in any bool, integer or float dtype.

        Raises ValueError or TypeError, and takes nothing, where shapes, dtype or device do not fit, where the capacity
        is exceeded, and for a label other than 0/1 (on a CUDA device, where labels cannot be looked at without waiting,
        it is `compute` that raises).
        """
        batch, flags = borrow("scores", scores), borrow("labels", labels)
        if len(batch.shape) != 2 or batch.shape[1] != self.num_classes:
            raise ValueError(f"scores: expected shape (B, {self.num_classes}), got {batch.shape}")
        if flags.shape != batch.shape:
            raise ValueError(f"labels: expected shape {batch.shape} as scores, got {flags.shape}")
        start, stop = self._num_rows, self._num_rows + batch.shape[0]
        if stop > self.capacity:
            raise ValueError(
                f"scores: expected at most {self.capacity - start} more rows for a capacity of {self.capacity}, "
                f"got {batch.shape[0]}"
            )
        common_device(scores=batch, labels=flags)
        rows = self._rows if self._rows is not None and self._rows.is_for(batch) else None
        if rows is None and start > 0:
            raise ValueError(
                f"scores: expected {self._rows.scores.dtype} ({self._rows.scores.device}) as in earlier updates, "
                f"got {batch.dtype} ({batch.device})"
            )
        if start == stop:
            return
        if rows is None:
            self._rows = None  # before there is memory for others
            self._rows = rows = _Rows.like(batch, self.capacity)
        device = common_device(rows=rows.scores, scores=batch)
        self._settle()
        self._is_settled = False
        _core.append_batch(
            batch.core,
            flags.core,
            rows.scores.rows(start, stop).core,
            rows.labels.rows(start, stop).core,
            start,
            rows.first_bad.core,
            num_threads(self._threads),
        )
        release_inputs_after_launch(device, batch, flags)
        if device.index is None and (bad := rows.first_bad_cell(stop)) is not None:
            row, col = bad[0] - start, bad[1]
            raise ValueError(
                f"labels: expected 0 or 1, got {flags.core.item((row, col))} at row {row}, class {col} of the batch"
            )
        self._num_rows = stop  # the one step that takes the batch
        self._is_settled = True

    def compute(self, *, absent: str = "zero") -> Any:
        """AP of each class over all rows since the start or the last `reset`: (C,) float64.

        It comes in the library and on the device of the scores (where the library cannot be given memory to fill, as
        jax, as a numpy array or what it takes by DLPack). absent: what a class without positives gets, the "zero" of
        VideoLT's published code, which FrameStack is fed with, or "nan". Raises ValueError that names row and class for
        a NaN score or, on a CUDA device, for a label other than 0/1; rows are numbered in the order of the updates.
        """
        self._check_rows("compute")
        scores, labels = (rows.rows(0, self._num_rows) for rows in (self._rows.scores, self._rows.labels))
        values = rank_table(scores, labels, threads=self._threads).average_precision(absent=absent)
        out = empty_like(self._rows.scores, values.shape, "float64")
        borrow("out", out).core.assign(values)
        return out

    def rows(self) -> tuple[Any, Any]:
        """Scores (n, C) and labels (n, C) of bool of all rows taken, as views in the library and on the device of the
        scores. `vltr_eval.distributed.rank_table` makes one table of those of all ranks. Raises as `compute`
        does, and TypeError where the rows are kept in memory of vltr_eval's own.
        """
        self._check_rows("rows")
        return self._filled(self._rows.scores), self._filled(self._rows.labels)

    def reset(self) -> None:
        """Forgets all rows and keeps their memory: the next epoch may begin."""
        self._is_settled = False
        self._num_rows = 0
        self._settle()

    def _settle(self) -> None:
        """Forgets a bad label of rows that were not taken; an update that did not end may have left one.

        On a CUDA device, waits for one that was interrupted when there were rows before.
        """
        if self._is_settled:
            return
        # Without rows there is nothing to look at, so that the first update of an epoch does not wait.
        if self._rows is not None and (not self._num_rows or self._rows.first_bad_cell(self._num_rows) is None):
            self._rows.forget_bad()
        self._is_settled = True

    def __getstate__(self) -> dict[str, Any]:
        self._settle()
        state = self.__dict__ | {"_rows": None}
        if self._num_rows:
            first_bad = self._rows.first_bad.core.item((0,))  # waits, so that any stream may read the rows
            state["_rows"] = (self._copy_of(self._rows.scores), self._copy_of(self._rows.labels), first_bad)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _num_rows=0, _rows=None)
        if state["_num_rows"]:
            scores, labels, first_bad = state["_rows"]
            self.update(scores, labels)
            self._rows.first_bad.core.assign(np.array([first_bad]))

    def _check_rows(self, call: str) -> None:
        if not self._num_rows:
            raise ValueError(f"{call}: expected at least one row from update(), got none")
        if (bad := self._rows.first_bad_cell(self._num_rows)) is not None:
            raise ValueError(
                f"labels: expected 0 or 1, got another value at row {bad[0]} of all updates, class {bad[1]}"
            )

    def _filled(self, rows: Array) -> Any:
        """The filled rows, as a view of their library."""
        if isinstance(rows.owner, getattr(_core, "DeviceArray", ())):
            raise TypeError(
                "RunningAP: expected rows in a library that slices its arrays, got ones in device memory of vltr_eval"
            )
        return rows.owner[: self._num_rows]

    def _copy_of(self, rows: Array) -> Any:
        """A copy of the filled rows, by their library."""
        filled = self._filled(rows)
        filled = filled.clone() if hasattr(filled, "clone") else filled.copy()
        common_device(rows=rows, filled=borrow("filled", filled))  # what is written next waits for the copy
        return filled


def _check_count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected a positive integer, got {value!r}")
    if not 1 <= value <= MAX_ROWS:
        raise ValueError(f"{name}: expected an integer from 1 to {MAX_ROWS}, got {value}")
    return int(value)
