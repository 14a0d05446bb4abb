"""Quantiles and two-sided p-values of the normal distribution and of Student's t."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vltr_eval._base.arguments import check_level

_LARGE = 200.0  # from here on the series of the ratio of gamma functions is exact to the last bits
_MOST_STEPS = 10_000
_MANY = 10_000  # degrees of freedom from which the transformation to a normal is exact in double precision
_TINY = 1e-300  # replaces a zero in the continued fraction, as in Lentz's method


def normal_quantile(level: float) -> float:
    """Return z such that a standard normal variable lies in [-z, z] with probability ``level``.

    Example:
        >>> round(normal_quantile(0.95), 6)
        1.959964
    """
    return -normal_inverse((1 - check_level(level)) / 2)


def normal_inverse(p: float) -> float:
    """Return the z below which a standard normal variable lies with probability ``p``."""
    from statistics import NormalDist  # not above: it loads random, and few programs need a quantile

    return NormalDist().inv_cdf(p)


def normal_p_value(z: Any) -> np.ndarray:
    """Return the probability that a standard normal variable is at least as far from 0 as z, for each z.

    Example:
        >>> normal_p_value([0.0, -1.959964]).round(6).tolist()
        [1.0, 0.05]
    """
    z = np.asarray(z, dtype=np.float64)
    values = [math.erfc(abs(value) / math.sqrt(2)) for value in z.ravel().tolist()]
    return np.reshape(np.array(values, np.float64), z.shape)


def t_p_value(t: Any, df: Any) -> np.ndarray:
    """Return the probability that Student's t with ``df`` degrees of freedom is at least as far from 0 as t.

    Args:
        t: Values of any shape.
        df: Degrees of freedom, broadcast against ``t``. They may be fractions, or infinite for the normal
            distribution. The result is NaN where they are not positive.

    Example:
        >>> t_p_value([12.7062, 2.228139], [1, 10]).round(6).tolist()
        [0.05, 0.05]

    Source:
        The regularised incomplete beta function I_x(df / 2, 1 / 2) at x = df / (df + t^2), DLMF 8.17.
    """
    t, df = np.broadcast_arrays(np.asarray(t, np.float64), np.asarray(df, np.float64))
    t = np.abs(t)
    p = np.full(t.shape, np.nan)
    known = ~np.isnan(t) & (df > 0)
    p[known & np.isinf(t)] = 0.0
    normal = known & np.isinf(df)
    p[normal] = normal_p_value(t[normal])
    rest = known & ~np.isinf(t) & ~normal
    p[rest] = _t_p_values(t[rest], df[rest])
    return p


def t_quantile(level: float, df: Any) -> np.ndarray:
    """Return t such that Student's t with ``df`` degrees of freedom lies in [-t, t] with probability ``level``.

    Args:
        level: A number between 0 and 1.
        df: Degrees of freedom of any shape, as in `t_p_value`.

    Example:
        >>> t_quantile(0.95, [1, 10, np.inf]).round(4).tolist()
        [12.7062, 2.2281, 1.96]
    """
    z = normal_quantile(level)
    df = np.asarray(df, np.float64)
    distinct, where = np.unique(df.ravel(), return_inverse=True)
    found = np.where(distinct > 0, z, np.nan)
    open_ = (distinct > 0) & ~np.isinf(distinct)
    nu = distinct[open_]
    t = z + np.where(nu >= 1, (z**3 + z) / (4 * np.maximum(nu, 1)), 0)  # the start of the series in 1 / nu, which rises
    # The p-value is convex and falls, and t starts below the root, so Newton's steps rise to it and never pass it.
    for _ in range(_MOST_STEPS):
        slope = 2 * _ratio_of_gammas(nu / 2) / np.sqrt(nu * np.pi) * np.exp(-(nu + 1) / 2 * np.log1p(t * t / nu))
        step = (_t_p_values(t, nu) - (1 - level)) / slope
        t = t + np.maximum(step, 0.0)
        if np.all(step <= 1e-8 * t):  # the error after a step is the square of that before it
            break
    found[open_] = t
    return np.reshape(found[where.reshape(-1)], df.shape)


def _t_p_values(t: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Compute the p-values of finite t and degrees of freedom."""
    p = np.empty(t.shape)
    many = df >= _MANY
    p[many] = normal_p_value(_normal_of_t(t[many], df[many]))
    p[~many] = _incomplete_betas(t[~many], df[~many])
    return p


def _normal_of_t(t: np.ndarray, df: np.ndarray) -> np.ndarray:
    """The z of the normal distribution with the p-value of t, for many degrees of freedom (Hill 1970, CACM 13)."""
    a = df - 0.5
    b = 48 * a * a
    w = np.sqrt(a * np.log1p(t * t / df))
    second = w * (855 + w**2 * (240 + w**2 * (33 + 4 * w**2))) / (10 * b * (b + 0.8 * w**4 + 100))
    z: np.ndarray = w + w * (3 + w * w) / b - second
    return z


def _incomplete_betas(t: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Compute I_x(a, b) by the continued fraction on the side where it converges fast."""
    a, b = df / 2, np.full(t.shape, 0.5)
    with np.errstate(over="ignore"):
        scaled = t / np.sqrt(df)
        squared = scaled * scaled  # t^2 / df
    x, one_less = (
        1 / (1 + squared),
        np.where(squared > 1, 1 / (1 + 1 / np.maximum(squared, 1)), squared / (1 + squared)),
    )
    # x^a (1 - x)^b / B(a, b), with B(a, 1/2) = sqrt(pi) gamma(a) / gamma(a + 1/2)
    front = np.exp(-a * np.log1p(squared)) * np.sqrt(one_less) * _ratio_of_gammas(a) / math.sqrt(math.pi)
    upper = x < (a + 1) / (a + b + 2)
    p = np.empty(t.shape)
    p[upper] = front[upper] * _continued_fraction(x[upper], a[upper], b[upper]) / a[upper]
    lower = ~upper
    p[lower] = 1 - front[lower] * _continued_fraction(one_less[lower], b[lower], a[lower]) / b[lower]
    return np.clip(p, 0.0, 1.0)


def _continued_fraction(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Evaluate 1 / (1 + d_1 / (1 + d_2 / (1 + ...))) of DLMF 8.17.22 by the modified Lentz method."""
    c, d = np.ones(x.shape), _without_zero(1 - (a + b) * x / (a + 1))
    d = 1 / d
    value: np.ndarray = d.copy()
    for m in range(1, _MOST_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for factor in (even, odd):
            d = 1 / _without_zero(1 + factor * d)
            c = _without_zero(1 + factor / c)
            value *= c * d
        if np.max(np.abs(c * d - 1), initial=0.0) < 1e-14:
            break
    return value


def _without_zero(values: np.ndarray) -> np.ndarray:
    values[np.abs(values) < _TINY] = _TINY
    return values


def _ratio_of_gammas(a: np.ndarray) -> np.ndarray:
    """Compute gamma(a + 1/2) / gamma(a); a difference of two large logarithms would lose digits."""
    u = 1 / np.maximum(a, _LARGE)
    # DLMF 5.11.13
    series = np.sqrt(1 / u) * (1 + u * (-1 / 8 + u * (1 / 128 + u * (5 / 1024 - u * (21 / 32768 + u * 399 / 262144)))))
    small = [math.exp(math.lgamma(value + 0.5) - math.lgamma(value)) for value in np.minimum(a, _LARGE).tolist()]
    ratios: np.ndarray = np.where(a < _LARGE, np.array(small, np.float64), series)
    return ratios
