"""The time that an original would have taken, from its time on a part of one call.

Most originals work class by class, and a class takes as long with few others as with many. So the original is timed on
a few whole columns, which keep the rows, and the result is scaled by classes. Fewer rows are taken only if the columns
take too long. An original that works row by row is timed on whole rows.
"""

from __future__ import annotations

import dataclasses
import math
import random
import statistics
import time
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vltr_eval.patching.counting import shape_of

BUDGET = 0.5
"""Seconds for the timing of one original, all its estimates together."""
_MARGIN = 1.5  # a step begins only if it ends in time even when it takes so much longer than expected
_GROWTH = 4
_FIRST_CELLS = 1 << 13
_FIRST_COLUMNS = 2  # one column is another task for scikit-learn
_FARTHEST = 512
"""An estimate for more than so many times the rows or columns that were timed is not made."""
_COUNTED_ROWS = 2_000
_MOST_BYTES = 1 << 26


@dataclasses.dataclass
class Cost:
    """The time of an original, from its time on parts of one call."""

    by_rows: list[tuple[int, float]]
    """Rows and seconds, ascending, with the same columns."""
    by_columns: list[tuple[int, float]]
    """Columns and seconds, ascending, with as many rows as one of ``by_rows`` has."""
    rows: int
    """The rows of ``by_columns``."""
    is_pooled: bool = False
    """Whether all cells are sorted together, which takes more than equal time for each column."""
    copying: float = 0.0
    """Seconds for each cell of copying the whole array, if the original does so for each class."""

    def __call__(self, rows: int, classes: int) -> float | None:
        """The seconds of a call of this size; None if it is too far from what was timed."""
        columns = self.by_columns[-1][0]
        if not rows or not classes:
            return 0.0
        if rows > _FARTHEST * self.by_rows[-1][0] or classes > _FARTHEST * columns:
            return None
        seconds = _line(self.by_columns, classes)
        if self.is_pooled and classes > columns:
            # Once for the comparisons, and once because no cache holds the cells that are read in sorted order.
            seconds *= (math.log(rows * classes) / math.log(rows * columns)) ** 2
        copying = self.copying * rows * classes * classes
        return copying + seconds * _line(self.by_rows, rows) / _line(self.by_rows, self.rows)


def _line(points: Sequence[tuple[int, float]], size: int) -> float:
    """Interpolate between the points, and extrapolate by the line through the last two."""
    sizes, times = zip(*points, strict=True)
    if size <= sizes[-1]:
        return float(np.interp(size, sizes, times))
    if len(points) == 1:
        return float(times[0] * size / sizes[0])
    slope = max(0.0, times[-1] - times[-2]) / (sizes[-1] - sizes[-2])
    return float(times[-1] + slope * (size - sizes[-1]))


def estimate(
    prepare: Callable[[int, int], Callable[[], object]],
    rows: int,
    classes: int,
    *,
    has_columns: bool,
    is_pooled: bool = False,
    budget: float = BUDGET,
) -> Cost | None:
    """Time an original on parts of one call; None if it raises there, or if even the smallest part takes too long.

    Args:
        prepare: Returns a call of the original with so many rows and columns; making the parts is not timed.
        rows: The most rows that can be asked for.
        classes: The classes of the call.
        has_columns: Whether columns can be left out. Rows are, otherwise.
        is_pooled: Whether all cells are sorted together.
        budget: Seconds.
    """
    if not rows or not classes:
        return None
    has_columns = has_columns and classes > _FIRST_COLUMNS
    columns = _FIRST_COLUMNS if has_columns else classes
    kept = min(rows, max(2, _FIRST_CELLS // (8 * columns)))
    timer = _Timer(prepare, budget, is_cold=classes == 1)
    try:
        with _Undisturbed():
            by_rows = [(kept, timer(kept, columns))]
            share = 1 + _GROWTH if has_columns else 1  # columns need a part of the time as well
            while kept < rows and timer.has_time_for(_GROWTH * by_rows[-1][1] * share):
                kept = min(rows, _GROWTH * kept)
                by_rows.append((kept, timer(kept, columns)))
            if kept < rows and len(by_rows) == 1 and kept > _GROWTH and timer.has_time_for(by_rows[0][1] / _GROWTH):
                by_rows.insert(0, (kept // _GROWTH, timer(kept // _GROWTH, columns)))
            fitting = [one for one in by_rows if timer.has_time_for(_GROWTH * one[1])]
            kept, seconds = fitting[-1] if fitting else by_rows[0]
            by_columns = [(columns, seconds)]
            while columns < classes and has_columns:
                growth = _GROWTH if timer.has_time_for(_GROWTH * by_columns[-1][1]) else 2
                if not timer.has_time_for((growth if len(by_columns) > 1 else 1) * by_columns[-1][1]):
                    break
                columns = min(classes, growth * columns)
                by_columns.append((columns, timer(kept, columns)))
    except Exception:
        return None
    # One size alone does not tell the part of the time that is the same for all sizes.
    if (by_rows[-1][0] < rows and len(by_rows) == 1) or (columns < classes and len(by_columns) == 1):
        return None
    return Cost(by_rows, by_columns, kept, is_pooled)


class _Timer:
    def __init__(self, prepare: Callable[[int, int], Callable[[], object]], budget: float, is_cold: bool) -> None:
        self._prepare, self._end = prepare, time.perf_counter() + budget
        # One column is as a rule one of many, which no cache holds. A part of a matrix is larger than the caches.
        self._others = np.zeros(1 << 20) if is_cold else np.zeros(0)
        self._is_warm = False

    def has_time_for(self, seconds: float) -> bool:
        return time.perf_counter() + _MARGIN * seconds < self._end

    def __call__(self, rows: int, columns: int) -> float:
        """The middle of up to three runs. The very first run counts only if there is no time for another one."""
        runs: list[float] = []
        while len(runs) < 3:
            call = self._prepare(rows, columns)
            self._others += 1
            start = time.perf_counter()
            call()
            runs.append(time.perf_counter() - start)
            if not self.has_time_for((8 if self._is_warm else 1) * runs[-1]):
                break
            if not self._is_warm:  # it may have imported modules and filled caches
                runs.clear()
                self._is_warm = True
        return statistics.median_low(runs)


# Parts of a call


@dataclasses.dataclass
class Parts:
    """Copies of parts of the values of a call."""

    values: Sequence[Any]
    rows: int
    classes: int

    def __call__(self, rows: int, columns: int) -> list[Any]:
        """Copies with so many rows, spread over all, and so many columns, spread over the range of positives."""
        step = self.rows // rows
        chosen = None
        if columns < self.classes:
            chosen = self._spread()[((np.arange(columns) + 0.5) / columns * self.classes).astype(int)]
        return [self._part(value, step, rows, chosen) for value in self.values]

    @property
    def has_columns(self) -> bool:
        """Whether there are scores and labels of the same classes."""
        return [shape_of(value) for value in self.values].count((self.rows, self.classes)) > 1

    def _part(self, value: Any, step: int, rows: int, chosen: np.ndarray | None) -> Any:
        shape = shape_of(value)
        if shape[:1] != (self.rows,):
            return value
        value = getattr(value, "iloc", value)[::step][:rows]
        if chosen is not None and shape[1:] == (self.classes,):
            if isinstance(value, (list, tuple)):
                return type(value)([_columns_of(row, chosen) for row in value])
            value = value.iloc[:, chosen] if hasattr(value, "iloc") else value[:, chosen]
        if isinstance(value, np.ndarray) and value.ndim == 1:
            return self._strided(value, step)
        copy = getattr(value, "copy", None) or getattr(value, "clone", None)
        return value if copy is None else copy()

    @staticmethod
    def _strided(column: np.ndarray, step: int) -> np.ndarray:
        """A copy of a column of a matrix is as far apart in memory as the column, because that costs time."""
        apart = max(1, column.strides[0] // column.itemsize // step)
        if apart == 1 or apart * column.nbytes > _MOST_BYTES:
            return np.array(column)
        copy = np.empty((len(column), apart), column.dtype)[:, 0]
        copy[:] = column
        return copy

    def copying(self, makes_columns: bool) -> float:
        """Seconds for each cell of copying the arrays whose columns are contiguous.

        `numpy.take` of one column copies such an array as a whole, and scikit-learn takes each column. So its time is
        quadratic in the classes. makes_columns: the original makes such arrays itself.
        """
        seconds = 0.0
        for value in self.values:
            if not isinstance(value, np.ndarray) or value.shape != (self.rows, self.classes) or self.classes < 2:
                continue
            if not makes_columns and (value.flags.c_contiguous or not value.flags.f_contiguous):
                continue
            rows = max(2, min(self.rows, _MOST_BYTES // (self.classes * value.itemsize)))
            part = np.array(value[:rows], order="F")
            shortest = math.inf
            for _ in range(3):
                start = time.perf_counter()
                part.take([0], axis=1)
                shortest = min(shortest, time.perf_counter() - start)
            seconds += shortest / part.size
        return seconds

    def _spread(self) -> np.ndarray:
        """The columns by their number of positives, in the array that has the fewest."""
        fewest = np.zeros(self.classes)
        for value in self.values:
            if shape_of(value) == (self.rows, self.classes):
                some = getattr(value, "iloc", value)[:: max(1, self.rows // _COUNTED_ROWS)]
                some = some.toarray() if hasattr(some, "toarray") else some
                some = some.detach().cpu().numpy() if hasattr(some, "detach") else some
                counts = (np.asarray(some) != 0).sum(axis=0)
                if not fewest.any() or counts.sum() < fewest.sum():
                    fewest = counts
        order: np.ndarray = np.argsort(fewest, kind="stable")
        return order


def with_columns(value: Any, classes: int, columns: int) -> Any:
    """Return the number of columns for an argument that is the number of classes; other values as they are."""
    return columns if type(value) is int and value == classes else value


def _columns_of(row: Any, chosen: np.ndarray) -> Any:
    return type(row)(row[i] for i in chosen) if isinstance(row, (list, tuple)) else row[chosen]


class _Undisturbed:
    """Leaves random generators as they were, and shows no warnings."""

    def __enter__(self) -> None:
        self._states = random.getstate(), np.random.get_state()  # noqa: NPY002  # the originals use these generators
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *error: Any) -> None:
        self._warnings.__exit__(*error)
        random.setstate(self._states[0])
        np.random.set_state(self._states[1])  # noqa: NPY002


class _Silent:
    """Stands in for a logger or a print function."""

    def __call__(self, *_: object, **__: object) -> None: ...

    def __getattr__(self, _: str) -> _Silent:
        return self


def silent(function: Any, names: Sequence[str]) -> Any:
    """Return a plain function whose globals of these names do nothing."""
    if not names or not isinstance(function, types.FunctionType):
        return function
    namespace = {**function.__globals__, **dict.fromkeys(names, _Silent())}
    twin = types.FunctionType(function.__code__, namespace, function.__name__, function.__defaults__)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin
