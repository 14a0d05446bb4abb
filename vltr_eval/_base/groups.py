"""Head, medium and tail classes, by how often each class occurs in the training set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vltr_eval._base.arrays import read_numbers

GROUP_NAMES = ("head", "medium", "tail")

DEFAULT_BOUNDS = (500, 100)
"""VideoLT's bounds: head has more than 500 training videos, tail at most 100."""


def class_groups(
    train_counts: Sequence[float] | np.ndarray,
    bounds: tuple[float, float] = DEFAULT_BOUNDS,
    *,
    num_classes: int | None = None,
) -> dict[str, np.ndarray]:
    """Split the classes into head, medium and tail by their number of training samples.

    train_counts: (C,) samples of each class in the *training* set, whatever set is evaluated.
    bounds: (high, low); head has n > high, medium low < n <= high, tail n <= low.
    num_classes: C when it is known from elsewhere; another length of train_counts is then an error.
    Returns {"head": ..., "medium": ..., "tail": ...} with the ascending class indices of each; any may be empty.

    The bounds are inclusive below, as in VideoLT's code and text (its table headers print them the other way round).

    >>> {name: members.tolist() for name, members in class_groups([501, 500, 101, 100, 7]).items()}
    {'head': [0], 'medium': [1, 2], 'tail': [3, 4]}
    """
    counts = checked_train_counts(train_counts, num_classes)
    high, low = checked_bounds(bounds)
    masks = (counts > high, (counts > low) & (counts <= high), counts <= low)
    return {name: np.flatnonzero(mask) for name, mask in zip(GROUP_NAMES, masks, strict=True)}


def checked_train_counts(train_counts: Sequence[float] | np.ndarray, num_classes: int | None = None) -> np.ndarray:
    """Train counts as (C,) int64; floats are accepted when whole, because VideoLT's count file writes ``1912.0``."""
    counts = read_numbers("train_counts", train_counts)
    if counts.dtype.kind not in "iuf":
        raise TypeError(f"train_counts: expected numbers, got dtype {counts.dtype}")
    if counts.ndim != 1:
        raise ValueError(f"train_counts: expected one number a class (C,), got shape {counts.shape}")
    if num_classes is not None and len(counts) != num_classes:
        raise ValueError(f"train_counts: {len(counts)} classes, but scores has {num_classes}")
    wrong = ~((counts >= 0) & (counts <= 2**62) & (counts == np.floor(counts)))  # NaN fails every comparison
    if wrong.any():
        index = int(np.argmax(wrong))
        raise ValueError(f"train_counts: expected whole numbers from 0 up, got {counts[index]} for class {index}")
    return counts.astype(np.int64)


def checked_bounds(bounds: Sequence[float]) -> tuple[float, float]:
    """Group bounds as (high, low), refused when they are not two ordered, finite numbers."""
    if len(bounds) != 2:
        raise ValueError(f"bounds: expected two numbers (high, low), got {len(bounds)}")
    high, low = (bound.item() if isinstance(bound, np.generic) else bound for bound in bounds)
    if not all(isinstance(bound, (int, float)) for bound in (high, low)) or not (math.inf > high >= low >= 0):
        raise ValueError(f"bounds: expected high >= low >= 0, both finite numbers, got ({high!r}, {low!r})")
    return high, low
