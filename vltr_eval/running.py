"""Average precision of an epoch, taken batch by batch while it runs: the running AP of FrameStack."""

from __future__ import annotations

from typing import Any

import numpy as np

from vltr_eval import _core
from vltr_eval.arrays import MAX_ROWS, Array, borrow, empty_like, hand_back, num_threads, same_place
from vltr_eval.scan import rank_table

__all__ = ["RunningAP"]

_NONE_BAD = -1  # the largest place there is, in the unsigned word where the core keeps the least


class RunningAP:
    """Takes the scores and labels of every step and gives each class's average precision over all of them.

    What FrameStack needs each epoch (VideoLT, arXiv 2105.02668, Algorithm 1): predictions of a model that moves on
    between the steps, and its AP as the next epoch's constants. Scores and labels are kept where they are made: the
    first update decides library, dtype and device, and takes ``capacity`` rows of memory there. On a CUDA device no
    update waits for the device; all work is done on the stream of the first one, which must live as long as this.

    num_classes: C. capacity: the most rows of an epoch. threads: as everywhere. Copies and pickles have the same rows
    in memory of their own, in the library and on the device where they were. Where the rows are kept in memory of
    vltr_eval's own (on a device, for a library that cannot be given memory to fill), there are none: TypeError.

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
        self._scores: Array | None = None  # (capacity, C), of which the first _num_rows rows are filled; so are labels
        self._labels: Array | None = None
        self._first_bad: Array | None = None  # place of the first label that is neither 0 nor 1

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
        same_place(scores=batch, labels=flags)
        unlike = self._scores is None or not self._is_like(batch)
        if unlike and start > 0:
            raise ValueError(
                f"scores: expected {self._scores.dtype} ({self._scores.place}) as in earlier updates, "
                f"got {batch.dtype} ({batch.place})"
            )
        if start == stop:
            return
        if unlike:
            self._allocate(batch)
        place = same_place(rows=self._scores, scores=batch)
        _core.append_batch(
            batch.core,
            flags.core,
            self._scores.rows(start, stop).core,
            self._labels.rows(start, stop).core,
            start,
            self._first_bad.core,
            num_threads(self._threads),
        )
        hand_back(place, batch, flags)
        if place.device is None and (bad := self._bad_place()) is not None:
            self._forget_bad_place()
            row, col = bad[0] - start, bad[1]
            raise ValueError(
                f"labels: expected 0 or 1, got {flags.core.item((row, col))} at row {row}, class {col} of the batch"
            )
        self._num_rows = stop

    def compute(self, *, absent: str = "zero") -> Any:
        """AP of each class over all rows since the start or the last `reset`: (C,) float64.

        It comes in the library and on the device of the scores (where the library cannot be given memory to fill, as
        jax, as a numpy array or what it takes by DLPack). absent: what a class without positives gets, the "zero" of
        VideoLT's published code, which FrameStack is fed with, or "nan". Raises ValueError that names row and class for
        a NaN score or, on a CUDA device, for a label other than 0/1; rows are numbered in the order of the updates.
        """
        self._check_rows("compute")
        scores, labels = self._scores.rows(0, self._num_rows), self._labels.rows(0, self._num_rows)
        values = rank_table(scores, labels, threads=self._threads).average_precision(absent=absent)
        out = empty_like(self._scores, values.shape, "float64")
        borrow("out", out).core.assign(values)
        return out

    def rows(self) -> tuple[Any, Any]:
        """Scores (n, C) and labels (n, C) of bool of all rows taken, as views in the library and on the device of the
        scores. `vltr_eval.distributed.rank_table` makes one table of those of all ranks. Raises as `compute`
        does, and TypeError where the rows are kept in memory of vltr_eval's own.
        """
        self._check_rows("rows")
        return self._filled(self._scores), self._filled(self._labels)

    def reset(self) -> None:
        """Forgets all rows and keeps their memory: the next epoch may begin."""
        self._num_rows = 0
        if self._first_bad is not None:
            self._forget_bad_place()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__ | {"_scores": None, "_labels": None, "_first_bad": None}
        if self._num_rows:
            state["_first_bad"] = self._first_bad.core.item((0,))  # waits, so that any stream may read the rows
            state |= {"_scores": self._copy_of(self._scores), "_labels": self._copy_of(self._labels)}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _num_rows=0, _scores=None, _labels=None, _first_bad=None)
        if state["_num_rows"]:
            self.update(state["_scores"], state["_labels"])
            self._first_bad.core.assign(np.array([state["_first_bad"]]))

    def _check_rows(self, call: str) -> None:
        if not self._num_rows:
            raise ValueError(f"{call}: expected at least one row from update(), got none")
        if (bad := self._bad_place()) is not None:
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
        same_place(rows=rows, filled=borrow("filled", filled))  # what is written next waits for the copy
        return filled

    def _is_like(self, batch: Array) -> bool:
        return (self._scores.dtype, self._scores.place.device) == (batch.dtype, batch.place.device)

    def _allocate(self, batch: Array) -> None:
        self._scores = self._labels = self._first_bad = None  # before there are new ones
        shape = (self.capacity, self.num_classes)
        wanted = ((shape, batch.dtype), (shape, "bool"), ((1,), "int64"))
        self._scores, self._labels, self._first_bad = (
            borrow("capacity", empty_like(batch, *array)) for array in wanted
        )
        self._forget_bad_place()

    def _forget_bad_place(self) -> None:
        self._first_bad.core.assign(np.array([_NONE_BAD]))

    def _bad_place(self) -> tuple[int, int] | None:
        """Row and class of the first bad label. On a CUDA device, waits until all updates are done."""
        place = self._first_bad.core.item((0,))
        return None if place == _NONE_BAD else divmod(place, self.num_classes)


def _check_count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected a positive integer, got {value!r}")
    if not 1 <= value <= MAX_ROWS:
        raise ValueError(f"{name}: expected an integer from 1 to {MAX_ROWS}, got {value}")
    return int(value)
