"""The standard error of a mean over classes from the drop-one effects of the rows, and intervals from it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vltr_eval._base.arguments import check_level
from vltr_eval.intervals.distributions import normal_inverse, normal_quantile


def exact_sum(values: Any) -> float:
    """Return the correctly rounded sum of numbers, so that their order does not change a bit; as math.fsum, but faster.

    Example:
        >>> exact_sum([1e16, 1.0, -1e16])
        1.0
    """
    from fractions import Fraction  # not above: few programs need it

    rest = np.asarray(values, np.float64).ravel()
    if rest.size == 0:
        return 0.0
    largest = float(np.max(np.abs(rest)))
    if not math.isfinite(largest):
        return float(np.sum(rest))
    # Each round takes the leading bits off all numbers, as integers whose sum is exact in 64 bits.
    bits = 61 - max(rest.size - 1, 1).bit_length()
    total = Fraction(0)
    while largest > 0:
        scale = bits - math.frexp(largest)[1]
        leading = np.rint(np.ldexp(rest, scale))
        total += int(leading.astype(np.int64).sum()) * Fraction(2) ** -scale
        rest = rest - np.ldexp(leading, -scale)
        largest = float(np.max(np.abs(rest)))
    return float(total)


def jackknife_error(effects: Any) -> float:
    """Return the jackknife standard error of a mean: sqrt((N - 1) / N sum (e - mean e)^2).

    Args:
        effects: (N,) drop-one effects of the rows (or of clusters of rows) on the mean: the mean without the row, minus
            the mean.

    Returns:
        The standard error, with the same bits for any order of the rows. NaN for fewer than two rows.

    Example:
        >>> round(jackknife_error([0.1, -0.1, 0.0]), 6)
        0.11547

    Source:
        Efron and Stein, The jackknife estimate of variance, Annals of Statistics 1981.
    """
    effects = np.asarray(effects, np.float64)
    n = len(effects)
    if n < 2:
        return math.nan
    deviations = effects - exact_sum(effects) / n
    return math.sqrt((n - 1) / n * exact_sum(deviations * deviations))


def interval(mean: float, error: float, level: float) -> tuple[float, float]:
    """Return the interval mean -+ z error; NaN where the error is 0 or NaN, because it says nothing then.

    Example:
        >>> [round(end, 4) for end in interval(0.5, 0.01, 0.95)]
        [0.4804, 0.5196]
    """
    half = half_width(error, level)
    return mean - half, mean + half


def half_width(error: float, level: float) -> float:
    """Return z error, half the width of an interval; NaN where the error is 0 or NaN."""
    z = normal_quantile(level)
    return z * error if error > 0 else math.nan


def detectable(error: float, level: float = 0.95, power: float = 0.8) -> float:
    """Return the smallest true difference that a test finds with probability ``power``.

    Args:
        error: Standard error of the difference.
        level: 1 - the size of the two-sided test.
        power: The probability to find the difference, between 0 and 1.

    Example:
        >>> round(detectable(0.01), 4)
        0.028
    """
    return (normal_quantile(level) + normal_inverse(check_level(power, "power"))) * error
