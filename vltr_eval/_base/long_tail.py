"""Long tails to plant: VideoLT's training counts, fewer classes along a tail, and rows that carry its labels.

Legend: N videos (rows), C classes, P positives (row, class pairs).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Stretch(NamedTuple):
    """Classes in a row along a tail: how many, the largest and smallest of their counts, and the sum of these."""

    classes: int
    largest: int
    smallest: int
    total: int


# Published end points and sums of head, medium and tail at the bounds 500 and 100; what is between is interpolated.
VIDEOLT_TRAIN_TAIL = (Stretch(47, 1_912, 501, 33_829), Stretch(617, 499, 101, 138_102), Stretch(340, 100, 44, 24_867))


def tail_counts(stretches: Sequence[Stretch]) -> np.ndarray:
    """Counts along a tail, (C,) int64 descending: each stretch a bent exponential."""
    return np.concatenate([_decay(stretch) for stretch in stretches])


def even_pick(counts: np.ndarray, num_classes: int) -> np.ndarray:
    """``num_classes`` of the counts, evenly along them, the first and last included."""
    picked: np.ndarray = counts[np.linspace(0, len(counts) - 1, num_classes).round().astype(np.int64)]
    return picked


def _decay(stretch: Stretch) -> np.ndarray:
    """Integers falling from the largest to the smallest, with the sum of the stretch: a bent exponential."""
    size, largest, smallest, total = stretch
    position = np.linspace(0, 1, size)
    low, high = 1e-2, 1e2
    for _ in range(60):  # a larger bend keeps the curve up for longer, so the sum grows with it
        bend = np.sqrt(low * high)
        counts = largest * (smallest / largest) ** (position**bend)
        low, high = (bend, high) if counts.sum() < total else (low, bend)
    return round_to_sum(counts, total, smallest, largest)


def round_to_sum(values: np.ndarray, total: int, smallest: int, largest: int) -> np.ndarray:
    """Round ``values`` to integers in [smallest, largest] that sum to ``total``, each moved as little as possible."""
    counts: np.ndarray = np.clip(np.floor(values), smallest, largest).astype(np.int64)
    by_remainder = np.argsort(counts - values, kind="stable")
    while (missing := total - counts.sum()) != 0:
        step = np.sign(missing)
        movable = by_remainder[::step]
        movable = movable[(counts[movable] + step >= smallest) & (counts[movable] + step <= largest)]
        counts[movable[: abs(missing)]] += step
    return counts


def labels_of_rows(num_rows: int, shares: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Number of labels of each row, (N,) int64 in random order; shares: of the rows with 1, 2, ... labels."""
    up_to = np.cumsum(shares) / np.sum(shares)
    rows_by_count = np.diff(np.round(up_to * num_rows).astype(np.int64), prepend=0)
    return rng.permutation(np.repeat(np.arange(1, len(shares) + 1), rows_by_count))


def plant_labels(
    labels_of_row: np.ndarray, counts: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Deal the classes out at random: rows and classes (P,) int64, by row, no pair twice.

    labels_of_row: (N,) labels of each row. counts: (C,) rows of each class, with the same sum P.
    """
    num_classes, total = len(counts), int(labels_of_row.sum())
    rows = np.repeat(np.arange(len(labels_of_row)), labels_of_row)
    classes = rng.permutation(np.repeat(np.arange(num_classes), counts))
    while len(repeats := _repeated_pairs(rows, classes, num_classes)):
        partners = rng.choice(total, len(repeats), replace=False)
        for slot, partner in zip(repeats, partners, strict=True):
            classes[[slot, partner]] = classes[[partner, slot]]
    return rows, classes


def _repeated_pairs(rows: np.ndarray, classes: np.ndarray, num_classes: int) -> np.ndarray:
    """Positions of the (row, class) pairs that occurred before."""
    pairs = rows * num_classes + classes
    order: np.ndarray = np.argsort(pairs, kind="stable")
    repeated: np.ndarray = order[1:][np.diff(pairs[order]) == 0]
    return repeated
