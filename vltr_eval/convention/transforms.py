"""A sigmoid, and rounding to a shorter format: changes of scores before they are ranked.

Each transform is monotone. A rank of transformed scores is therefore a count of scores that reach the least one whose
transformed value is high enough, so the transformed matrix is never made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["TRANSFORMS", "Transform"]


def _to_float32(scores: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        values: np.ndarray = scores.astype(np.float32)
    return values


def _to_float16(scores: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        values: np.ndarray = scores.astype(np.float16).astype(np.float32)
    return values


def _to_bfloat16(scores: np.ndarray) -> np.ndarray:
    bits = _to_float32(scores).view(np.uint32).astype(np.uint64)
    rounded = bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1)) & np.uint64(0xFFFF0000)  # half to even
    values: np.ndarray = rounded.astype(np.uint32).view(np.float32)
    return values


def _sigmoid(scores: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) with each step rounded to float32, as torch computes it on a CPU."""
    with np.errstate(over="ignore"):
        grown = np.exp(-scores.astype(np.float64)).astype(np.float32)
    values: np.ndarray = np.float32(1) / (np.float32(1) + grown)
    return values


def _ordered(values: np.ndarray) -> np.ndarray:
    """Integers in the order of floats: int64, of which -0.0 and 0.0 are neighbours."""
    bits = values.view(np.int32 if values.dtype == np.float32 else np.int64).astype(np.int64)
    top = np.int64(1) << np.int64(8 * values.itemsize - 1)
    flipped: np.ndarray = np.where(bits < 0, -(bits + top) - 1 if values.itemsize == 4 else ~bits - top, bits)
    return flipped


def _floats(ordered: np.ndarray, dtype: type) -> np.ndarray:
    """The floats of integers that `_ordered` gives."""
    itemsize = np.dtype(dtype).itemsize
    top = np.int64(1) << np.int64(8 * itemsize - 1)
    bits = np.where(ordered < 0, -ordered - 1 - top if itemsize == 4 else ~(ordered + top), ordered)
    return bits.astype(np.int32 if itemsize == 4 else np.int64).view(dtype)


def _least(function: Callable[[np.ndarray], np.ndarray], values: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The least float with function(x) >= value, for each value, which function(start) must reach.

    Steps down from the start grow until one leaves the floats that reach the value; a bisection follows.
    """
    dtype = start.dtype.type
    floor = _ordered(np.array([-np.inf], dtype))[0]
    high = _ordered(start)
    step = np.full(high.shape, 8, np.int64)

    def below(high: np.ndarray, step: np.ndarray) -> np.ndarray:
        lower: np.ndarray = np.where(high <= floor + step, floor, high - step)
        return lower

    low = below(high, step)
    open_ = np.arange(len(high))
    while open_.size:
        open_ = open_[function(_floats(low[open_], dtype)) >= values[open_]]
        high[open_] = low[open_]
        open_ = open_[high[open_] > floor]
        step[open_] = 8 * np.minimum(step[open_], np.int64(1) << np.int64(56))
        low[open_] = below(high[open_], step[open_])
    open_ = np.flatnonzero(high > low + 1)
    while open_.size:
        under, over = low[open_], high[open_]
        middle = (under >> 1) + (over >> 1) + (under & over & 1)  # their difference may exceed int64
        reaches = function(_floats(middle, dtype)) >= values[open_]
        high[open_[reaches]] = middle[reaches]
        low[open_[~reaches]] = middle[~reaches]
        open_ = open_[high[open_] > low[open_] + 1]
    return _floats(high, dtype)


@dataclass(frozen=True)
class Transform:
    """A monotone function of scores.

    Args:
        name: Its name.
        steps: Functions that follow each other, each monotone, and float32 to float32 but for the first, which takes
            scores of any float type.
    """

    name: str
    steps: tuple[Callable[[np.ndarray], np.ndarray], ...]

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """The transformed scores: float32."""
        for step in self.steps:
            scores = step(scores)
        return scores

    def least(self, values: np.ndarray, start: np.ndarray) -> np.ndarray:
        """The least score whose transformed value reaches each value.

        Args:
            values: (n,) float32.
            start: (n,) float32 or float64: scores that reach them.

        Returns:
            (n,) of the type of the start.
        """
        distinct, first, inverse = np.unique(values, return_index=True, return_inverse=True)
        return _least(self, distinct, start[first])[inverse]

    def above(self, values: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least score whose transformed value is above each value, and whether there is one.

        Args:
            values: (n,) float32.
            start: (n,) float32 or float64: scores whose transformed values are not above them.

        Returns:
            (n,) of the type of the start, and (n,) bool.
        """
        distinct, first, inverse = np.unique(values, return_index=True, return_inverse=True)
        greatest = -_least(lambda scores: -self(-scores), -distinct, -start[first])
        with np.errstate(over="ignore"):
            least = np.nextafter(greatest, start.dtype.type(np.inf))
        return least[inverse], (greatest < np.inf)[inverse]


TRANSFORMS = {
    transform.name: transform
    for transform in (
        Transform("float32", (_to_float32,)),
        Transform("float16", (_to_float16,)),
        Transform("bfloat16", (_to_bfloat16,)),
        Transform("sigmoid", (_to_float32, _sigmoid)),
        Transform("sigmoid-float16", (_to_float16, _sigmoid, _to_float16)),
        Transform("sigmoid-bfloat16", (_to_bfloat16, _sigmoid, _to_bfloat16)),
    )
}
