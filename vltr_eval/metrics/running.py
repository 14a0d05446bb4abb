"""Average precision of an epoch, accumulated batch by batch: the running AP of FrameStack."""

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

_NONE_BAD = -1  # read as uint64: larger than any index, so a minimum replaces it


@dataclass(frozen=True, eq=False)
class _Rows:
    """Memory for the rows of an epoch: scores (capacity, C), labels (capacity, C) of bool.

    first_bad: (1,) int64, the lowest flat index of a label that is neither 0 nor 1.
    """

    scores: Array
    labels: Array
    first_bad: Array

    @classmethod
    def like(cls, batch: Array, capacity: int) -> _Rows:
        """Memory where a batch of scores is, in its library and dtype."""
        shape = (capacity, batch.shape[1])
        arrays = ((shape, batch.dtype), (shape, "bool"), ((1,), "int64"))
        rows = cls(*(borrow("capacity", empty_like(batch, *array)) for array in arrays))
        rows.forget_bad()
        return rows

    def is_for(self, batch: Array) -> bool:
        return (self.scores.dtype, self.scores.device.index) == (batch.dtype, batch.device.index)

    def forget_bad(self) -> None:
        self.first_bad.core.assign(np.array([_NONE_BAD]))

    def first_bad_cell(self, num_rows: int) -> tuple[int, int] | None:
        """Row and class of the first bad label of so many rows. On a CUDA device, waits until all updates are done."""
        flat_index, num_classes = int(self.first_bad.core.item((0,))), self.scores.shape[1]
        is_bad = flat_index != _NONE_BAD and flat_index < num_rows * num_classes
        return divmod(flat_index, num_classes) if is_bad else None


class RunningAP:
    """Accumulate the scores and labels of training steps and compute each class's AP over all of them.

    FrameStack needs this each epoch: the predictions come from a model that changes between the steps, and their AP
    sets the constants of the next epoch. Scores and labels stay on their device. The first update decides library,
    dtype and device, and allocates ``capacity`` rows there. On a CUDA device no update waits for the device. All work
    runs on the stream of the first update, which must live as long as this object.

    A copy or a pickle has the same rows in its own memory, in the same library and on the same device. It raises
    TypeError if vltr_eval itself holds the memory, as it does on a device for a library whose arrays cannot be filled.

    A call that raises or is interrupted (Ctrl-C) changes nothing, or has taken all its rows; `num_rows` shows which.

    Args:
        num_classes: C.
        capacity: The largest number of rows of an epoch.
        threads: Number of CPU threads; all cores if None.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument is no integer.

    Example:
        >>> running = RunningAP(num_classes=2, capacity=3)
        >>> running.update(np.float32([[.9, .1], [.8, .2]]), np.uint8([[1, 0], [0, 0]]))
        >>> running.update(np.float32([[.7, .3]]), np.uint8([[1, 0]]))
        >>> len(running), running.compute()
        (3, array([0.83333333, 0.        ]))

    Source:
        VideoLT (arXiv 2105.02668), Algorithm 1.
    """

    def __init__(self, num_classes: int, capacity: int, *, threads: int | None = None) -> None:
        self.num_classes = _check_count("num_classes", num_classes)
        self.capacity = _check_count("capacity", capacity)
        num_threads(threads)  # raises
        self._threads = threads
        self._num_rows = 0
        self._rows: _Rows | None = None  # the first _num_rows are filled
        self._is_settled = True  # whether the first bad label, if any, is one of the filled rows

    @property
    def num_rows(self) -> int:
        """Rows taken since the start or the last `reset`."""
        return self._num_rows

    def __len__(self) -> int:
        return self._num_rows

    def update(self, scores: Any, labels: Any) -> None:
        """Take one batch: all of it, or nothing if the call raises.

        Args:
            scores: (B, C) array of any real dtype, the same in every update.
            labels: (B, C) array of 0/1 of any bool, integer or float dtype, on the same device.

        Raises:
            ValueError: Shapes, dtype or device do not fit, the capacity is exceeded, or a label is not 0/1. On a CUDA
                device `compute` raises for such a label, because `update` does not wait for the device.
            TypeError: An argument is no array.
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
        kept = self._rows
        rows = kept if kept is not None and kept.is_for(batch) else None
        if kept is not None and rows is None and start > 0:
            raise ValueError(
                f"scores: expected {kept.scores.dtype} ({kept.scores.device}) as in earlier updates, "
                f"got {batch.dtype} ({batch.device})"
            )
        if start == stop:
            return
        if rows is None:
            self._rows = kept = None  # frees the memory before more is allocated
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
        """Compute the AP of each class over all rows since the start or the last `reset`.

        Args:
            absent: Value of classes without positives: "zero", as in VideoLT's published code and for FrameStack, or
                "nan".

        Returns:
            (C,) float64, in the library and on the device of the scores. If that library's arrays cannot be filled (as
            with jax), it is a numpy array or an array that the library imports by DLPack.

        Raises:
            ValueError: There are no rows, a score is NaN or, on a CUDA device, a label is not 0/1. The message has row
                and class; rows are numbered in the order of the updates.
        """
        kept = self._checked_rows("compute")
        scores, labels = (rows.rows(0, self._num_rows) for rows in (kept.scores, kept.labels))
        values = rank_table(scores, labels, threads=self._threads).average_precision(absent=absent)
        out = empty_like(kept.scores, values.shape, "float64")
        borrow("out", out).core.assign(values)
        return out

    def rows(self) -> tuple[Any, Any]:
        """Return all n rows as views in the library and on the device of the scores.

        `vltr_eval.distributed.rank_table` makes one table from the rows of all ranks.

        Returns:
            Scores (n, C), and labels (n, C) of bool.

        Raises:
            ValueError: As `compute`, except for NaN scores.
            TypeError: vltr_eval itself holds the memory of the rows.
        """
        kept = self._checked_rows("rows")
        return self._filled(kept.scores), self._filled(kept.labels)

    def reset(self) -> None:
        """Discard all rows and keep their memory, for the next epoch."""
        self._is_settled = False
        self._num_rows = 0
        self._settle()

    def _settle(self) -> None:
        """Discard a bad label of rows that were not taken, which an interrupted update may have left.

        On a CUDA device this waits for the interrupted update if there were rows before.
        """
        if self._is_settled:
            return
        # Without rows there is nothing to check, so the first update of an epoch does not wait.
        if self._rows is not None and (not self._num_rows or self._rows.first_bad_cell(self._num_rows) is None):
            self._rows.forget_bad()
        self._is_settled = True

    def __getstate__(self) -> dict[str, Any]:
        self._settle()
        state = self.__dict__ | {"_rows": None}
        if self._rows is not None and self._num_rows:
            first_bad = self._rows.first_bad.core.item((0,))  # waits, so that any stream may read the rows
            state["_rows"] = (self._copy_of(self._rows.scores), self._copy_of(self._rows.labels), first_bad)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _num_rows=0, _rows=None)
        if state["_num_rows"]:
            scores, labels, first_bad = state["_rows"]
            self.update(scores, labels)
            if self._rows is not None:  # `update` has set it
                self._rows.first_bad.core.assign(np.array([first_bad]))

    def _checked_rows(self, call: str) -> _Rows:
        if self._rows is None or not self._num_rows:
            raise ValueError(f"{call}: expected at least one row from update(), got none")
        if (bad := self._rows.first_bad_cell(self._num_rows)) is not None:
            raise ValueError(
                f"labels: expected 0 or 1, got another value at row {bad[0]} of all updates, class {bad[1]}"
            )
        return self._rows

    def _filled(self, rows: Array) -> Any:
        """The filled rows, as a view by their library."""
        if isinstance(rows.owner, getattr(_core, "DeviceArray", ())):
            raise TypeError(
                "RunningAP: expected rows in a library that slices its arrays, got ones in device memory of vltr_eval"
            )
        return rows.owner[: self._num_rows]

    def _copy_of(self, rows: Array) -> Any:
        """A copy of the filled rows, by their library."""
        filled = self._filled(rows)
        filled = filled.clone() if hasattr(filled, "clone") else filled.copy()
        common_device(rows=rows, filled=borrow("filled", filled))  # later writes wait for the copy
        return filled


def _check_count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected a positive integer, got {value!r}")
    if not 1 <= value <= MAX_ROWS:
        raise ValueError(f"{name}: expected an integer from 1 to {MAX_ROWS}, got {value}")
    return int(value)
