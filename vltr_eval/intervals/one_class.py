"""The interval of a metric of one class: Wilson's score interval with an effective number of positives.

With few positives a standard error is too small and tied to the value, so a normal interval covers far less than it
states. Wilson's interval with an effective size is as wide as the binomial one where the data say too little.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vltr_eval.intervals.distributions import normal_quantile

MIN_POSITIVES = 5
"""Classes with fewer positives (or clusters with a positive) have no interval: it would span half of the range."""

_BLENDED = ("auc", "sap")
_KINDS = ("ap", *_BLENDED, "share")
_BINOMIAL_WEIGHT = 10  # k; the weight of the binomial bound is k / (P + k). With k = 2 stray positives are not covered


def effective_n(value: Any, variance: Any, positives: Any, kind: str) -> np.ndarray:
    """Return the effective number of positives of each class, for `wilson`.

    Args:
        value: (C,) metric of each class.
        variance: (C,) its variance: of influences for "ap", DeLong's for "auc", the jackknife's for "sap". "share" does
            not use it.
        positives: (C,) positives of each class; clusters with a positive where rows are clustered.
        kind: "ap": min(P, q / variance) with q = value (1 - value). "auc" and "sap": 1 / n = P / (P + 10) variance / q
            + 10 / (P + 10) max(variance / q, 1 / P). "share": P, for a share of rows such as Acc@k.

    Returns:
        (C,) float64. P where the variance is 0 or the value is 0 or 1. NaN where the value is NaN or P is less than
        `MIN_POSITIVES`.

    Raises:
        ValueError: The kind does not exist.

    Example:
        >>> effective_n([0.5, 0.5, 1.0, 0.5], [0.05, 0.0001, 0.0, 0.05], [10, 10, 10, 4], "ap").tolist()
        [5.0, 10.0, 10.0, nan]
    """
    if kind not in _KINDS:
        raise ValueError(f"kind: expected {', '.join(_KINDS[:-1])} or {_KINDS[-1]}, got {kind!r}")
    value, variance, positives = (np.asarray(column, np.float64) for column in (value, variance, positives))
    value, variance, positives = np.broadcast_arrays(value, variance, positives)
    spread = value * (1 - value)
    n = np.where(np.isnan(value), np.nan, positives)
    if kind != "share":
        usable = (variance > 0) & (spread > 0) & (positives > 0)
        share = np.divide(variance, spread, out=np.ones(value.shape), where=usable)  # variance / q
        if kind in _BLENDED:
            k = _BINOMIAL_WEIGHT
            binomial = np.maximum(share, 1 / np.maximum(positives, 1))
            blended = 1 / (positives / (positives + k) * share + k / (positives + k) * binomial)
            n = np.where(usable, blended, n)
        else:
            n = np.where(usable, np.minimum(n, 1 / share), n)
        n = np.where(np.isnan(variance), np.nan, n)
    return np.where(positives >= MIN_POSITIVES, n, np.nan)


def wilson(value: Any, effective_n: Any, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of Wilson's score interval of shares.

    Args:
        value: (C,) shares in [0, 1].
        effective_n: (C,) number of trials that each share stands for; NaN or 0 gives NaN.
        level: The confidence level, between 0 and 1.

    Returns:
        The lower and the upper ends, (C,) float64 each, within [0, 1]; NaN where an input is.

    Example:
        >>> [end.round(4).tolist() for end in wilson([0.5, 1.0], [10, 10], 0.95)]
        [[0.2366, 0.7225], [0.7634, 1.0]]

    Source:
        Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927.
    """
    z = normal_quantile(level)
    value, n = np.broadcast_arrays(np.asarray(value, np.float64), np.asarray(effective_n, np.float64))
    n = np.where(n > 0, n, np.nan)
    centre = value + z * z / (2 * n)
    half = z * np.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # Rounding may pass 0, 1 or the value by one bit.
    low = np.minimum(np.clip((centre - half) / scale, 0.0, 1.0), value)
    return low, np.maximum(np.clip((centre + half) / scale, 0.0, 1.0), value)
