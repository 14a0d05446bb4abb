"""The details of single classes that a page shows: curves, histograms of scores, and the rows with the worst mistakes.

Plain arrays: `vltr_eval.class_details` computes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

NO_ROW = -1
"""Stands where a class has fewer rows than the limit."""


@dataclass(frozen=True, eq=False)
class Curves:
    """The step-wise precision-recall curves of all classes, as counts at the distinct scores of their positives.

    Attributes:
        indptr: (C + 1,) int64; class c has the thresholds ``indptr[c]`` to ``indptr[c + 1]``.
        thresholds: (K,) scores, descending within a class.
        tp: (K,) int64 positives that score at least the threshold.
        fp: (K,) int64 negatives that score at least the threshold.
    """

    indptr: np.ndarray
    thresholds: np.ndarray
    tp: np.ndarray
    fp: np.ndarray

    @property
    def num_classes(self) -> int:
        return len(self.indptr) - 1

    @property
    def num_positives(self) -> np.ndarray:
        """(C,) int64"""
        has = np.diff(self.indptr) > 0
        counts = np.zeros(self.num_classes, np.int64)
        counts[has] = self.tp[self.indptr[1:][has] - 1]
        return counts

    def at_extremes(self) -> tuple[tuple[Any, int], tuple[Any, int]]:
        """Return the lowest and the highest score of a positive of any class, each with the positives that have it."""
        ends = self.indptr[1:][np.diff(self.indptr) > 0]
        starts = self.indptr[:-1][np.diff(self.indptr) > 0]
        above = np.where(ends - 1 > starts, self.tp[np.maximum(ends - 2, 0)], 0)
        found = []
        for at, positives, extreme in (
            (ends - 1, self.tp[ends - 1] - above, np.min),
            (starts, self.tp[starts], np.max),
        ):
            score = extreme(self.thresholds[at])
            found.append((score.item(), int(positives[self.thresholds[at] == score].sum())))
        return found[0], found[1]

    def __repr__(self) -> str:
        return f"<Curves of {self.num_classes} classes, {len(self.thresholds)} thresholds>"


@dataclass(frozen=True, eq=False)
class Histograms:
    """The scores of the positives and of the negatives of all classes, in bins of one width for each class.

    Bin b of class c holds the finite scores x with ``floor((x - low[c]) / (high[c] - low[c]) * B) = b``; the last bin
    has ``high[c]`` too. Infinite scores are in the first and in the last bin.

    Attributes:
        low: (C,) the lowest finite score of each class; 0 where no score is finite.
        high: (C,) the highest one.
        positives: (C, B) uint32 counts.
        negatives: (C, B) uint32 counts.
    """

    low: np.ndarray
    high: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    @property
    def bins(self) -> int:
        return int(self.positives.shape[1])

    def __repr__(self) -> str:
        return f"<Histograms of {len(self.low)} classes, {self.bins} bins each>"


@dataclass(frozen=True, eq=False)
class Mistakes:
    """The rows that each class gets most wrong. Among equal scores the row with the smaller number comes first.

    Attributes:
        missed_rows: (C, L) int64 rows of the lowest-scored positives, the lowest first; -1 where there are fewer.
        missed_scores: (C, L) their scores, 0 where there is no row.
        false_rows: (C, L) int64 rows of the highest-scored negatives, the highest first; -1 where there are fewer.
        false_scores: (C, L) their scores, 0 where there is no row.
    """

    missed_rows: np.ndarray
    missed_scores: np.ndarray
    false_rows: np.ndarray
    false_scores: np.ndarray

    @property
    def limit(self) -> int:
        return int(self.missed_rows.shape[1])

    def __repr__(self) -> str:
        return f"<Mistakes of {len(self.missed_rows)} classes, at most {self.limit} of each kind>"


@dataclass(frozen=True, eq=False)
class ClassDetails:
    """The details of all classes, for `Report.to_html`.

    Attributes:
        curves: The precision-recall curves.
        histograms: The histograms of scores; None where only a rank table is known.
        mistakes: The rows with the worst mistakes; None where only a rank table is known.
        ids: The id of each row among the mistakes; None for rows without ids.
        name: The name of the system, which a comparison shows.

    Example:
        >>> from vltr_eval import class_details
        >>> details = class_details(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]))
        >>> details.histograms.positives[0, [0, -1]].tolist(), details.mistakes.false_rows[0].tolist()
        ([1, 1], [1, -1, -1, -1, -1])
    """

    curves: Curves
    histograms: Histograms | None = None
    mistakes: Mistakes | None = None
    ids: Mapping[int, str] | None = None
    name: str = "scores"

    def __repr__(self) -> str:
        parts = [name for name in ("histograms", "mistakes", "ids") if getattr(self, name) is not None]
        return f"<ClassDetails of {self.curves.num_classes} classes: {', '.join(['curves', *parts])}>"

    @classmethod
    def of(cls, details: Any, name: str | None = None) -> ClassDetails:
        """Return details as they are, or those of a rank table: its curves alone.

        Args:
            details: A `ClassDetails` or a `vltr_eval.RankTable`.
            name: Another name for them; None keeps theirs.

        Raises:
            TypeError: It is neither.
        """
        found: ClassDetails
        if isinstance(details, cls):
            found = details
        else:
            columns = [getattr(details, column, None) for column in ("indptr", "thresholds", "tp", "fp")]
            if not all(isinstance(column, np.ndarray) for column in columns):
                raise TypeError(
                    f"details: expected ClassDetails or a RankTable, got {type(details).__name__}; "
                    "vltr_eval.class_details makes them"
                )
            found = cls(Curves(*columns))  # type: ignore[arg-type]  # checked just above
        return found if name is None else replace(found, name=name)
