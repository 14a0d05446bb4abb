"""The difference of two systems on one mean or on single classes, with paired errors, intervals and p-values.

Both systems score the same rows, so the effects of a row on both are subtracted before anything is squared. The
variance of test rows and that of training seeds are estimated apart and added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vltr_eval.intervals import benjamini_hochberg, holm, t_p_value, t_quantile

MIN_POSITIVES = 10
"""Classes with fewer positives (or clusters with a positive) are not tested: their errors are too small by chance."""

POWER = 0.8
"""The probability to find the smallest detectable difference."""

ADJUSTMENTS = {"holm": "Holm", "benjamini_hochberg": "BH"}
"""The adjustments of p-values for the number of tested classes, and their names in tables."""


@dataclass(frozen=True)
class MeanDifference:
    """The difference of two systems on one mean.

    Attributes:
        name: The flat name of the mean, such as ``mAP_tail``.
        base: The value of the baseline; the mean over its runs.
        new: The value of the other system; the mean over its runs.
        difference: ``new - base``.
        error: The standard error of the difference, of rows and seeds together.
        row_error: The part of it that comes from the choice of test rows.
        seed_error: The part of it that comes from training seeds. None if both systems have one run.
        degrees_of_freedom: Those of the t distribution of the test; infinite, as of a normal one, without seeds.
        low: The lower end of the interval of the difference.
        high: Its upper end.
        p_value: Two-sided, for a true difference of 0.
        detectable: The smallest true difference that this test finds with a probability of 80 %.
    """

    name: str
    base: float
    new: float
    difference: float
    error: float
    row_error: float
    seed_error: float | None
    degrees_of_freedom: float
    low: float
    high: float
    p_value: float
    detectable: float

    def is_significant(self, level: float) -> bool:
        """Whether the p-value is at most 1 - level; no undefined one is."""
        return self.p_value <= 1 - level


def mean_difference(
    name: str, base: Sequence[float], new: Sequence[float], row_error: float, level: float
) -> MeanDifference:
    """Compare two systems on one mean.

    Args:
        name: The flat name of the mean.
        base: The value of each run of the baseline.
        new: The value of each run of the other system.
        row_error: The jackknife standard error of the difference of the two means over runs.
        level: The confidence level.
    """
    values = [mean_of_runs(base), mean_of_runs(new)]
    difference = values[1] - values[0]
    row_error = math.nan if math.isnan(difference) else row_error
    seeds = [(seed_variance(np.array(runs, np.float64)), len(runs)) for runs in (base, new)]
    variance, freedom = total_variance(np.array(row_error * row_error), math.inf, seeds)
    error = math.sqrt(float(variance))
    has_seeds = max(len(base), len(new)) > 1
    (low,), (high,), (p_value,) = _test(np.array([difference]), np.array([error]), np.array([freedom]), level)
    return MeanDifference(
        name=name,
        base=values[0],
        new=values[1],
        difference=difference,
        error=error,
        row_error=row_error,
        seed_error=math.sqrt(sum(float(seed) for seed, _ in seeds)) if has_seeds else None,
        degrees_of_freedom=float(freedom),
        low=float(low),
        high=float(high),
        p_value=float(p_value),
        detectable=_detectable(error, float(freedom), level),
    )


@dataclass(frozen=True)
class BestOfMean:
    """All systems on one mean, and the tests of the best of them against each other one.

    Attributes:
        name: The flat name of the mean.
        values: The value of each system, the baseline first; the mean over its runs.
        deviations: The standard deviation over the runs of each system (n - 1); None of one run.
        best: The number of the first system with the highest value; None where no system has a value.
        p_values: The two-sided p-value of the difference between each system and the best; NaN of the best itself.
    """

    name: str
    values: tuple[float, ...]
    deviations: tuple[float | None, ...]
    best: int | None
    p_values: tuple[float, ...]

    def is_best(self, number: int) -> bool:
        """Whether a system has the highest value; several can."""
        return self.best is not None and self.values[number] == self.values[self.best]

    def is_not_worse(self, number: int, level: float) -> bool:
        """Whether a system is lower than the best by a difference that is not significant. No untested one is."""
        return not self.is_best(number) and self.p_values[number] > 1 - level


def best_of_mean(name: str, values: Sequence[Sequence[float]], p_value: Callable[[int, int], float]) -> BestOfMean:
    """Find the best system on one mean.

    Args:
        name: The flat name of the mean.
        values: The value of each run of each system.
        p_value: The p-value of the difference between the best system and another, by their numbers.
    """
    means = [mean_of_runs(runs) for runs in values]
    deviations = [math.sqrt(float(seed_variance(np.array(runs))) * len(runs)) for runs in values]
    defined = [number for number, mean in enumerate(means) if not math.isnan(mean)]
    best = max(defined, key=means.__getitem__, default=None)
    p_values = [
        math.nan if best is None or number == best or math.isnan(mean) else p_value(best, number)
        for number, mean in enumerate(means)
    ]
    spreads = [None if len(runs) == 1 else spread for runs, spread in zip(values, deviations, strict=True)]
    return BestOfMean(name, tuple(means), tuple(spreads), best, tuple(p_values))


def mean_of_runs(values: Sequence[float]) -> float:
    """The mean over runs, correctly rounded."""
    return math.fsum(values) / len(values)


def seed_variance(values: np.ndarray) -> np.ndarray:
    """The variance over runs of the mean over runs: s^2 / R along the first axis; 0 for one run."""
    runs = len(values)
    if runs == 1:
        return np.zeros(values.shape[1:])
    deviations = values - values.mean(axis=0)
    variance: np.ndarray = (deviations * deviations).sum(axis=0) / ((runs - 1) * runs)
    return variance


def total_variance(
    rows: np.ndarray, row_freedom: np.ndarray | float, seeds: Sequence[tuple[np.ndarray, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Add the variances of rows and seeds; Welch and Satterthwaite's degrees of freedom of the sum.

    Args:
        rows: Variances that come from rows.
        row_freedom: Their degrees of freedom.
        seeds: For each system, the variance of its mean over runs, and the number of its runs.

    Source:
        Welch, The generalization of Student's problem, Biometrika 1947.
    """
    if all(runs == 1 for _, runs in seeds):
        return rows, np.broadcast_to(np.asarray(row_freedom, np.float64), np.shape(rows))
    total = rows + sum(variance for variance, _ in seeds)
    parts = [rows * rows / row_freedom]
    parts += [variance * variance / (runs - 1) for variance, runs in seeds if runs > 1]
    spread = np.asarray(sum(parts), np.float64)
    freedom = np.full(np.shape(total), np.inf)
    np.divide(total * total, spread, out=freedom, where=spread > 0)
    return total, np.where(total > 0, freedom, row_freedom)


@dataclass(frozen=True)
class Outcomes:
    """How many classes of a group won, lost or are undecided.

    Attributes:
        group: "overall", or the name of a group.
        adjustment: "holm" or "benjamini_hochberg", for the number of tested classes.
        tested: Classes with at least ten positives (or clusters with a positive).
        wins: Tested classes that are better than with the baseline.
        losses: Tested classes that are worse.
        undecided: The other tested classes.
    """

    group: str
    adjustment: str
    tested: int
    wins: int
    losses: int
    undecided: int


@dataclass(frozen=True, eq=False)
class ClassTests:
    """Tests of all classes, (C,) each; NaN where a class is not tested.

    Attributes:
        difference: ``new - base``, of every class where both are defined.
        error: The standard errors.
        low: The lower ends of the intervals.
        high: The upper ends.
        p_value: Two-sided p-values.
        holm: The p-values, adjusted by Holm.
        benjamini_hochberg: The p-values, adjusted by Benjamini and Hochberg.
    """

    difference: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray
    holm: np.ndarray
    benjamini_hochberg: np.ndarray


def class_tests(
    base: np.ndarray, new: np.ndarray, row_variances: np.ndarray | None, positives: np.ndarray, level: float
) -> ClassTests:
    """Compare two systems class by class.

    Args:
        base: (R, C) values of each run of the baseline.
        new: (S, C) values of each run of the other system.
        row_variances: (C,) paired variances of the difference of the means over runs; None without predictions.
        positives: (C,) positives of each class, or clusters with a positive.
        level: The confidence level.
    """
    difference = new.mean(axis=0) - base.mean(axis=0)
    untested = np.full(difference.shape, np.nan)
    if row_variances is None:
        return ClassTests(difference, *([untested] * 6))
    tested = (positives >= MIN_POSITIVES) & ~np.isnan(difference)
    seeds = [(seed_variance(values), len(values)) for values in (base, new)]
    variance, freedom = total_variance(row_variances, np.maximum(positives - 1.0, 1.0), seeds)
    error = np.where(tested, np.sqrt(variance), np.nan)
    freedom = np.where(tested, freedom, np.inf)  # quantiles of few degrees take many steps, for classes without a test
    low, high, p_value = _test(np.where(tested, difference, np.nan), error, freedom, level)
    return ClassTests(difference, error, low, high, p_value, holm(p_value), benjamini_hochberg(p_value))


def _test(
    difference: np.ndarray, error: np.ndarray, freedom: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ends of the intervals and the p-values. Equal values without an error have p = 1 and no interval."""
    known = error > 0
    half = np.where(known, error, np.nan) * t_quantile(level, freedom)
    ratio = np.divide(difference, error, out=np.full(np.shape(difference), np.nan), where=known)
    p_value = np.where((difference == 0) & (error == 0), 1.0, t_p_value(ratio, freedom))
    return difference - half, difference + half, p_value


def _detectable(error: float, freedom: float, level: float) -> float:
    """The smallest detectable difference: the sum of two quantiles, times the error; NaN without an error."""
    if not error > 0:
        return math.nan
    size, power = (float(t_quantile(share, freedom)) for share in (level, 2 * POWER - 1))
    return (size + power) * error
