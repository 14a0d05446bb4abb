"""The thresholds at which libraries bin scores, and the area that Keras computes from the counts above its own."""

from __future__ import annotations

import numpy as np

__all__ = ["equal_thresholds", "keras_area", "keras_thresholds"]


def equal_thresholds(bins: int) -> np.ndarray:
    """Thresholds from 0 to 1 as torch.linspace defines them: (bins,) float32, counted from both ends.

    The last digit of torch's own depends on the vector width of the CPU.
    """
    step = np.float32(1) / np.float32(bins - 1)
    number = np.arange(bins, dtype=np.float32)
    values: np.ndarray = np.where(number < bins // 2, step * number, np.float32(1) - step * number[::-1])
    return values


def keras_thresholds(bins: int) -> np.ndarray:
    """The least scores that AUC of Keras puts above its inner thresholds i / (bins - 1): (bins - 2,) float32.

    Keras multiplies a score by bins - 1 in float32 and takes the integer below, if it is not an integer.
    """
    factor, number = np.float32(bins - 1), np.arange(1, bins - 1, dtype=np.float32)
    least = number / factor
    for _ in range(4):  # each step moves by one float32; the quotient is less than two away
        lower = np.nextafter(least, np.float32(-1))
        least = np.where(least * factor <= number, np.nextafter(least, np.float32(2)), least)
        least = np.where(lower * factor > number, lower, least)
    values: np.ndarray = least
    return values


def keras_area(tp: np.ndarray, fp: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """The area from counts above ascending thresholds, (C, n) each: (C,) float64, NaN without positives."""
    reached = tp + fp
    new_tp, new = tp[:, :-1] - tp[:, 1:], reached[:, :-1] - reached[:, 1:]
    slope = np.divide(new_tp, new, out=np.zeros(new.shape), where=new > 0)
    intercept = tp[:, 1:] - slope * reached[:, 1:]
    both = (reached[:, :-1] > 0) & (reached[:, 1:] > 0)
    ratio = np.divide(reached[:, :-1], reached[:, 1:], out=np.ones(new.shape), where=both)
    with np.errstate(invalid="ignore"):
        values: np.ndarray = np.sum(slope * (new_tp + intercept * np.log(ratio)), axis=1) / positives
    return values
