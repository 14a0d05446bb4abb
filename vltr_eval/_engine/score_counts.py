"""Counts at thresholds of all classes, and within rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import Matrix, num_threads
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_table import lane_dtype, to_compare_keys

__all__ = ["PREFERENCES", "TopCells", "count_at_both", "count_at_common", "count_in_rows", "top_of_rows"]

# Which of equal scores are taken first; the core takes their numbers.
PREFERENCES = ("low class", "high class", "negative", "positive")


class TopCells(NamedTuple):
    """The k best known cells of each row, by class. Rows with fewer have class -1 at the end."""

    classes: np.ndarray
    scores: np.ndarray
    hits: np.ndarray
    open_rows: int  # rows in which the preference decided, because more cells are equal than have a place


def count_at_common(
    matrix: Matrix, positives: Positives, thresholds: np.ndarray, *, pooled: bool = False, threads: int | None = None
) -> np.ndarray:
    """Known cells that reach each of the ascending thresholds: (C, n) int64, or (1, n) of all classes together."""
    known = positives.core_with(matrix)[0]
    if not len(thresholds):
        return np.zeros((1 if pooled else matrix.num_classes, 0), np.int64)
    keys = to_compare_keys(thresholds.astype(lane_dtype(matrix.dtype)), matrix.dtype)
    counts = _core.count_at_common(known, keys, pooled, num_threads(threads), None)
    reached: np.ndarray = np.cumsum(counts[:, ::-1], axis=1)[:, -2::-1]
    return reached


def count_at_both(
    matrix: Matrix,
    positives: Positives,
    of_classes: np.ndarray,
    of_all: np.ndarray,
    *,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Known cells that reach thresholds, in one pass.

    Args:
        matrix: The scores.
        positives: The labels.
        of_classes: (m,) ascending thresholds at which each class is counted, as the core compares scores.
        of_all: (n,) ascending thresholds at which all classes together are counted. They contain the others.
        threads: Number of CPU threads; all cores if None.

    Returns:
        (C, m) and (n,) int64.
    """
    known = positives.core_with(matrix)[0]
    places = np.concatenate([[0], np.cumsum(np.isin(of_all, of_classes))])
    keys = to_compare_keys(of_all, matrix.dtype)
    counts, pooled = _core.count_at_both(known, keys, places, num_threads(threads), None)
    reached: np.ndarray = np.cumsum(counts[:, ::-1], axis=1)[:, -2::-1]
    total: np.ndarray = np.cumsum(pooled[::-1])[-2::-1]
    return reached, total


def count_in_rows(
    matrix: Matrix,
    positives: Positives,
    indptr: np.ndarray,
    classes: np.ndarray,
    bounds: np.ndarray,
    *,
    threads: int | None = None,
) -> np.ndarray:
    """Known negatives of its row that reach the bound of each positive: (P,) int64. Positives are listed by row."""
    known = positives.core_with(matrix)[0]
    keys = to_compare_keys(bounds, matrix.dtype)
    counts: np.ndarray = _core.count_in_rows(known, indptr, classes, keys, num_threads(threads), None).astype(np.int64)
    return counts


def top_of_rows(
    matrix: Matrix,
    positives: Positives,
    indptr: np.ndarray,
    classes: np.ndarray,
    k: int,
    preference: str,
    *,
    threads: int | None = None,
) -> TopCells:
    """Select the k best known cells of each row, k <= C. Positives are listed by row."""
    known = positives.core_with(matrix)[0]
    number = PREFERENCES.index(preference)
    cls, keys, hits, open_rows = _core.top_of_rows(known, indptr, classes, k, number, num_threads(threads), None)
    return TopCells(cls, to_compare_keys(keys, matrix.dtype), hits.view(bool), open_rows)
