"""Calibration of scores that are probabilities: integer sums in bins, which add up over shards, and the errors of them.

Each cell (row, class) is one yes-or-no prediction. The core counts a probability p as the integer nearest to
``p * 2**40``, so the sums have the same bits for any order of rows, and the errors are those of exact arithmetic to
1e-12.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import Matrix, borrow_matrix, num_threads, to_host
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_scan import NaNScore
from vltr_eval._engine.rank_table import mean_of_defined
from vltr_eval.report.calibration import CalibrationResult, Reliability

__all__ = ["Calibration", "NoProbability", "calibration_result", "calibration_sums"]

_ONE = 1 << 40  # the integer of the probability 1
_COPY_BYTES = 16 << 20  # of scores that are copied from a device at a time


class NoProbability(ValueError):
    """A score outside [0, 1]: the message and the attributes have its row, class and value."""

    def __init__(self, row: int, col: int, value: Any) -> None:
        super().__init__(
            f"scores: expected probabilities from 0 to 1 for calibration, got {value!r} at row {row}, class {col}; "
            "nothing is guessed, so apply the sigmoid or the softmax of the model first"
        )
        self.row, self.col, self.value = row, col, value

    def __reduce__(self) -> tuple[Any, ...]:
        return NoProbability, (self.row, self.col, self.value)


@dataclass(frozen=True, eq=False)
class Calibration:
    """The calibration of the scores of each class, in bins of equal width.

    Attributes:
        bins: The number of bins B. Bin k holds k / B < score <= (k + 1) / B, and the first one 0 as well.
        num_rows: N. A class with unknown cells counts the rows that know it.
        sums: (C, 4 B + 4) int64, the sums of the core. Those of shards add up, except that the low parts then carry
            over to the high ones.

    Example:
        >>> from vltr_eval import calibration
        >>> found = calibration(np.float32([[.9], [.8], [.3], [.1]]), np.uint8([[1], [1], [0], [0]]), bins=2)
        >>> found.count.tolist(), found.frequency.tolist()
        ([[2, 2]], [[0.0, 1.0]])
        >>> round(float(found.ece[0]), 4), round(float(found.brier[0]), 4)
        (0.175, 0.0375)
    """

    bins: int
    num_rows: int
    sums: np.ndarray

    def __post_init__(self) -> None:
        sums, bins = self.sums.copy(), self.bins
        pairs = [(slice(bins, 2 * bins), slice(2 * bins, 3 * bins))]
        pairs += [(slice(4 * bins + k, 4 * bins + k + 1), slice(4 * bins + k + 1, 4 * bins + k + 2)) for k in (0, 2)]
        for high, low in pairs:
            sums[:, high] += sums[:, low] >> 32
            sums[:, low] &= (1 << 32) - 1
        object.__setattr__(self, "sums", sums)

    def __repr__(self) -> str:
        mean = mean_of_defined(self.ece)
        return (
            f"<Calibration of {self.num_rows} rows and {self.num_classes} classes in {self.bins} bins, ECE {mean:.4f}>"
        )

    @property
    def num_classes(self) -> int:
        return len(self.sums)

    @property
    def count(self) -> np.ndarray:
        """(C, B) int64, the scores in each bin."""
        return self._part(0)

    @property
    def positives(self) -> np.ndarray:
        """(C, B) int64, the positives in each bin."""
        return self._part(3)

    @property
    def mean_score(self) -> np.ndarray:
        """(C, B) float64, the mean of the scores in each bin; NaN in an empty one."""
        return _divided(self._scores(), self.count * _exact(_ONE, self.num_rows))

    @property
    def frequency(self) -> np.ndarray:
        """(C, B) float64, the share of positives in each bin; NaN in an empty one."""
        return _divided(self.positives, self.count)

    @property
    def ece(self) -> np.ndarray:
        """(C,) float64, the expected calibration error: the mean of abs(frequency - mean score) over rows."""
        return self._per_row(self._gaps().sum(axis=1))

    @property
    def brier(self) -> np.ndarray:
        """(C,) float64, the mean of (score - label)^2 of each class."""
        return self._per_row(self._squares())

    def _per_row(self, sums: np.ndarray) -> np.ndarray:
        """The sums (C,) of each class, divided by the number of its rows; NaN without any."""
        rows = self.count.sum(axis=1).tolist()
        return np.array([one / (n * _ONE) if n else math.nan for one, n in zip(sums.tolist(), rows, strict=True)])

    def of_classes(self, members: np.ndarray) -> Reliability:
        """The calibration of all cells of some classes together."""
        count, positives = self.count[members].sum(axis=0), self.positives[members].sum(axis=0)
        scores = self._scores()[members].astype(object).sum(axis=0)
        cells = int(count.sum())
        gap = sum(abs(int(hits) * _ONE - int(score)) for hits, score in zip(positives, scores, strict=True))
        squares = sum(map(int, self._squares()[members]))
        return Reliability(
            count=tuple(count.tolist()),
            mean_score=tuple(_divided(np.asarray(scores, object), count.astype(object) * _ONE).tolist()),
            frequency=tuple(_divided(positives, count).tolist()),
            values={
                "ECE": gap / (cells * _ONE) if cells else math.nan,
                "classwise_ECE": mean_of_defined(self.ece[members]),
                "Brier": squares / (cells * _ONE) if cells else math.nan,
            },
        )

    def _part(self, number: int) -> np.ndarray:
        return self.sums[:, number * self.bins : (number + 1) * self.bins]

    def _whole(self, high: np.ndarray, low: np.ndarray) -> np.ndarray:
        """Sums of two parts: int64, or Python integers where these may not fit."""
        sums: np.ndarray = high * _exact(1 << 32, self.num_rows) + low
        return sums

    def _scores(self) -> np.ndarray:
        """(C, B) sums of the scores, in units of 2**-40."""
        return self._whole(self._part(1), self._part(2))

    def _gaps(self) -> np.ndarray:
        """(C, B) |positives - sum of the scores|, in units of 2**-40."""
        gaps: np.ndarray = np.abs(self.positives * _exact(_ONE, self.num_rows) - self._scores())
        return gaps

    def _squares(self) -> np.ndarray:
        """(C,) sums of (score - label)^2, in units of 2**-40."""
        high, low, positive_high, positive_low = self.sums[:, 4 * self.bins :].T
        of_positives = self._whole(positive_high, positive_low)
        positives = self.positives.sum(axis=1) * _exact(_ONE, self.num_rows)
        squares: np.ndarray = self._whole(high, low) - 2 * of_positives + positives
        return squares


_MOST_ROWS = 1 << 20  # whose sums, twice and with their differences, are below 2**63


def _exact(number: int, num_rows: int) -> Any:
    """A factor that makes numpy compute with int64, or with Python integers if there are many rows."""
    return np.int64(number) if num_rows <= _MOST_ROWS else np.array(number, object)


def _divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, rounded once; NaN where the whole is 0."""
    pairs = zip(part.ravel().tolist(), whole.ravel().tolist(), strict=True)
    return np.array([above / below if below else math.nan for above, below in pairs], np.float64).reshape(part.shape)


def calibration_sums(
    matrix: Matrix,
    positives: Positives,
    bins: int,
    *,
    first_row: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Sum the scores of a matrix for `Calibration`: (C, 4 B + 4) int64.

    Scores on a device are copied to CPU memory, 16 MiB at a time.

    Args:
        matrix: The scores.
        positives: Their labels.
        bins: The number of bins.
        first_row: The number of the first row, for messages.
        threads: CPU threads.
        progress: Called with the fraction done.

    Raises:
        NaNScore: A score is NaN.
        NoProbability: A score is outside [0, 1].
    """
    if matrix.device.index is not None:
        return _sums_on_host(matrix, positives, bins, first_row, threads, progress)
    known, offset, rows = positives.core_with(matrix)
    try:
        return _core.calibration_sums(known, offset, rows, bins, num_threads(threads), progress)
    except _core.BadValue as error:
        _, row, col = error.args
        value = matrix.value(row, col)
        if value != value:
            raise NaNScore(first_row + row, col) from None
        raise NoProbability(first_row + row, col, value) from None


def _sums_on_host(
    matrix: Matrix,
    positives: Positives,
    bins: int,
    first_row: int,
    threads: int | None,
    progress: Progress | None,
) -> np.ndarray:
    sums = np.zeros((matrix.num_classes, 4 * bins + 4), np.int64)
    classes = np.repeat(np.arange(matrix.num_classes), positives.counts)
    start = 0
    for shard in matrix.shards:
        at_once = max(1, _COPY_BYTES * shard.shape[0] // max(1, shard.nbytes))
        for first in range(0, shard.shape[0], at_once):
            stop = min(shard.shape[0], first + at_once)
            begin, end = start + first, start + stop
            here = (positives.rows >= begin) & (positives.rows < end)
            indptr = np.concatenate([[0], np.cumsum(np.bincount(classes[here], minlength=matrix.num_classes))])
            part = Positives(
                stop - first, matrix.num_classes, indptr.astype(np.int64), positives.rows[here] - np.uint32(begin)
            )
            if positives.unknown is not None:
                kept = np.zeros(positives.num_rows, bool)
                kept[begin:end] = True
                part = part.with_unknown(positives.unknown.select(kept))
            host = borrow_matrix("scores", to_host(shard.rows(first, stop)))
            done = part_of(progress, begin / matrix.num_rows, end / matrix.num_rows)
            sums += calibration_sums(host, part, bins, first_row=first_row + begin, threads=threads, progress=done)
        start += shard.shape[0]
    return sums


def calibration_result(
    found: Calibration, groups: Mapping[str, np.ndarray]
) -> tuple[CalibrationResult, dict[str, tuple[float, ...]]]:
    """The reliability of each group, and the columns of the classes. groups: class indices, "overall" first."""
    result = CalibrationResult(found.bins, {name: found.of_classes(members) for name, members in groups.items()})
    return result, {"ECE": tuple(found.ece.tolist()), "Brier": tuple(found.brier.tolist())}
