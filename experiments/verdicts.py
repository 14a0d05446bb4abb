"""The rules of `compare_methods.py`, on plain numbers: plateaus, preconditions, intervals and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import fmean

import numpy as np

from vltr_eval.intervals import t_quantile

__all__ = ["LIMITS", "Difference", "plateau_rise", "unmet", "verdict"]

LEVEL = 0.95

LIMITS = {
    "aggregators": (0.05, "mAP of the aggregators above nonlinear"),
    "overfits": (0.2, "training minus test mAP of the baseline"),
    "views": (0.9, "mAP by one view of the frames over mAP by all of them"),
    "plateau": (0.02, "relative rise of validation mAP in the last fifth before the rate falls"),
}
"""The limit of each precondition and its meaning. A plateau needs less than its limit, the others at least theirs."""


def plateau_rise(precisions: Sequence[float]) -> float:
    """Return the relative rise of validation mAP from the last but one fifth to the last fifth of a phase.

    Args:
        precisions: Validation mAP at equal distances, before the rate falls.
    """
    size = max(1, len(precisions) // 5)
    last, before = precisions[-size:], precisions[-2 * size : -size]
    return fmean(last) / fmean(before) - 1 if before and fmean(before) > 0 else float("inf")


def unmet(needed: Sequence[str], facts: Mapping[str, float]) -> list[str]:
    """Return the preconditions that the measured facts do not meet."""
    return [name for name in needed if not _is_met(name, facts[name])]


def _is_met(name: str, value: float) -> bool:
    limit, _ = LIMITS[name]
    return value < limit if name == "plateau" else value >= limit


@dataclass(frozen=True)
class Difference:
    """The difference of two rows, of some data seeds.

    Attributes:
        by_seed: The difference on the data of each seed.
        row_errors: Its standard error by the choice of test rows on the data of each seed, paired by row; None if the
            metric has none.
        overlap: Test videos over training videos if all seeds split the same videos; 0 if each seed has videos of its
            own. Splits that overlap are not independent (Nadeau and Bengio, Machine Learning 52, 2003): the variance of
            a mean over n of them is (1 / n + overlap) times that of one.
    """

    by_seed: tuple[float, ...]
    row_errors: tuple[float, ...] | None = None
    overlap: float = 0.0

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return fmean(self.by_seed)

    @property
    def error(self) -> float:
        """The standard error of the mean over the seeds, with everything that differs between them."""
        return float(np.std(self.by_seed, ddof=1)) * self._factor

    @property
    def row_error(self) -> float | None:
        """The part of `error` that test rows alone explain. It is too large where classes have few positives."""
        if self.row_errors is None:
            return None
        return sqrt(fmean(error**2 for error in self.row_errors)) * self._factor

    @property
    def training_error(self) -> float | None:
        """The part of `error` that is left: training videos and the draws of training. 0 if rows explain it all."""
        if self.row_error is None:
            return None
        return sqrt(max(0.0, self.error**2 - self.row_error**2))

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval, Student's over the seeds. It holds test rows, training videos and draws."""
        return float(t_quantile(LEVEL, len(self.by_seed) - 1)) * self.error

    @property
    def _factor(self) -> float:
        return sqrt(1 / len(self.by_seed) + self.overlap)


def verdict(difference: Difference, missing: Sequence[str]) -> str:
    """Return the verdict on the claim that a difference is positive, with the preconditions that are not met."""
    if not isfinite(difference.mean):
        return "not testable: a training diverged"
    if missing:
        return f"not testable on this data ({', '.join(missing)})"
    if abs(difference.mean) <= difference.half_width:
        return "undecided"
    return "holds" if difference.mean > 0 else "**the opposite**"
