"""p-values adjusted for the number of tests."""

from __future__ import annotations

from typing import Any

import numpy as np


def holm(p: Any) -> np.ndarray:
    """Return Holm's adjusted p-values: rejecting those up to alpha makes any false rejection with at most alpha.

    Args:
        p: (C,) p-values; NaN stays NaN and does not count as a test.

    Example:
        >>> holm([0.01, 0.04, 0.03, np.nan]).tolist()
        [0.03, 0.06, 0.06, nan]

    Source:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 1979.
    """
    p, order = _defined(p)
    m = len(order)
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(m, 0, -1)), 1.0)
    return adjusted


def benjamini_hochberg(p: Any) -> np.ndarray:
    """Return Benjamini and Hochberg's adjusted p-values: those up to q are a set with a false discovery rate of q.

    Args:
        p: (C,) p-values; NaN stays NaN and does not count as a test.

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.03, np.nan]).round(12).tolist()
        [0.03, 0.04, 0.04, nan]

    Source:
        Benjamini and Hochberg, Controlling the false discovery rate, JRSS B 1995.
    """
    p, order = _defined(p)
    m = len(order)
    adjusted = np.full(p.shape, np.nan)
    scaled = p[order] * (m / np.arange(1, m + 1))
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def _defined(p: Any) -> tuple[np.ndarray, np.ndarray]:
    """The p-values, and the positions of those that are no NaN, from the smallest up."""
    p = np.asarray(p, np.float64)
    if p.ndim != 1:
        raise ValueError(f"p: expected one p-value a test (C,), got shape {p.shape}")
    if np.any((p < 0) | (p > 1)):
        raise ValueError(f"p: expected p-values from 0 to 1, got {p[(p < 0) | (p > 1)][0]}")
    order = np.argsort(p, kind="stable")
    return p, order[: np.count_nonzero(~np.isnan(p))]
