"""Inputs for tests: seeded score and label matrices that cover the edge cases."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np


def make_case(num_rows: int, num_classes: int, *, seed: int = 0, levels: int | None = None, prevalence: float = 0.2):
    """Return scores (N, C) float32 and correlated labels (N, C) bool; few ``levels`` of scores give ties."""
    rng = np.random.default_rng(seed)
    labels = rng.random((num_rows, num_classes)) < prevalence
    scores = rng.normal(size=labels.shape) + labels
    if levels is not None:
        scores = np.floor(scores * levels / 4)
    return scores.astype(np.float32), labels


def corner_labels(num_rows: int, *, seed: int = 0) -> np.ndarray:
    """Return labels (N, 6) bool: classes with 0, 1, a few, more than half, all but one and all rows positive."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((num_rows, 6), bool)
    for c, positives in enumerate((0, 1, num_rows // 5, num_rows // 2 + 1, num_rows - 1, num_rows)):
        labels[rng.permutation(num_rows)[: min(positives, num_rows)], c] = True
    return labels


def slices(num_rows: int, sizes: Iterable[int]) -> list[slice]:
    """Return slices of the given sizes; a last slice takes the remaining rows."""
    ends = [0, *np.minimum(np.cumsum([0, *sizes])[1:], num_rows).tolist(), num_rows]
    return [slice(start, end) for start, end in itertools.pairwise(ends)]


def labels_by_id(labels: np.ndarray, ids: np.ndarray | None) -> np.ndarray:
    """Return the labels, where all rows of an id have the labels of its first row."""
    if ids is None:
        return labels
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    return labels[first[inverse.reshape(-1)]]
