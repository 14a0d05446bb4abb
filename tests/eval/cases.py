"""Inputs for tests: score and label matrices with the corners that matter, all from a seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np


def make_case(num_rows: int, num_classes: int, *, seed: int = 0, levels: int | None = None, prevalence: float = 0.2):
    """scores (N, C) float32 that know something of labels (N, C) bool; with ``levels`` they are few values, and tie."""
    rng = np.random.default_rng(seed)
    labels = rng.random((num_rows, num_classes)) < prevalence
    scores = rng.normal(size=labels.shape) + labels
    if levels is not None:
        scores = np.floor(scores * levels / 4)
    return scores.astype(np.float32), labels


def corner_labels(num_rows: int, *, seed: int = 0) -> np.ndarray:
    """Labels (N, 6) bool with no positives, one, a few, more than half, all but one, and all rows positive."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((num_rows, 6), bool)
    for c, positives in enumerate((0, 1, num_rows // 5, num_rows // 2 + 1, num_rows - 1, num_rows)):
        labels[rng.permutation(num_rows)[: min(positives, num_rows)], c] = True
    return labels


def slices(num_rows: int, sizes: Iterable[int]) -> list[slice]:
    """Runs of rows of the given sizes, and then one of what is left."""
    ends = [0, *np.minimum(np.cumsum([0, *sizes])[1:], num_rows).tolist(), num_rows]
    return [slice(start, end) for start, end in itertools.pairwise(ends)]


def labels_by_id(labels: np.ndarray, ids: np.ndarray | None) -> np.ndarray:
    """The labels, where all rows of one id have those of the first of them."""
    if ids is None:
        return labels
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    return labels[first[inverse.reshape(-1)]]
