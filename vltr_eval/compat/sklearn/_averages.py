"""Metrics of each class, and the averages of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_table import RankTable
from vltr_eval.compat.sklearn._arguments import to_positives
from vltr_eval.compat.sklearn._original import NotNative, warn_no_positives, warn_undefined
from vltr_eval.metrics.rank_metrics import average_precision, rank_table

__all__ = ["average_precisions", "averaged", "roc_aucs"]


def averaged(
    metric: Callable[..., np.ndarray],
    labels: np.ndarray,
    scores: np.ndarray,
    average: str | None,
    weights: np.ndarray | None,
) -> float | np.ndarray:
    """Averages ``metric(scores, positives, weights)`` -> (C,). labels: (N, C) of 0/1, or (N,) class indices."""
    if average == "micro":
        weights = None if weights is None else np.repeat(weights, scores.shape[1])
        return float(metric(*_pooled(labels, scores), weights)[0])
    if average == "samples":
        scores, positives, importance = scores.T, _positives_of_rows(labels, scores), weights
        weights = None
    else:
        positives, importance = to_positives(labels, scores), None
    if average == "weighted":
        importance = _support(positives, weights)
        if np.isclose(importance.sum(), 0):
            return 0.0
    values = metric(scores, positives, weights)
    if average is None:
        return values
    if importance is not None:
        values[importance == 0] = 0.0  # an undefined class that weighs nothing
    return float(np.average(values, weights=importance))


def _pooled(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, Positives]:
    """All cells as one column."""
    column = scores.reshape(-1)
    if labels.ndim == 2:
        return column, to_positives(labels.reshape(-1), column)
    num_rows, num_classes = scores.shape
    cells = np.arange(num_rows) * num_classes + labels
    return column, Positives(column.size, 1, np.array([0, num_rows], np.int64), cells.astype(np.uint32))


def _positives_of_rows(labels: np.ndarray, scores: np.ndarray) -> Positives:
    """Rows as the classes of a transposed problem."""
    if labels.ndim == 2:
        return to_positives(labels.T, scores.T)
    num_rows, num_classes = scores.shape
    return Positives(num_classes, num_rows, np.arange(num_rows + 1, dtype=np.int64), labels.astype(np.uint32))


def _support(positives: Positives, weights: np.ndarray | None) -> np.ndarray:
    """The total weight of the positives of each class: (C,)"""
    if weights is None:
        return positives.counts
    classes = np.repeat(np.arange(positives.num_classes), positives.counts)
    return np.bincount(classes, weights[positives.rows], positives.num_classes)


def average_precisions(scores: np.ndarray, labels: Any, weights: np.ndarray | None) -> np.ndarray:
    if weights is not None and bool(np.any(weights < 0)):
        raise NotNative("a negative sample_weight")
    if weights is not None and not np.any(weights):
        raise ValueError("sample_weight: expected at least one that is not 0, got none")
    values = average_precision(scores, labels, sample_weight=weights)
    absent = np.isnan(values)
    if absent.any():
        warn_no_positives()
    values[absent] = 0.0
    return values


def roc_aucs(scores: np.ndarray, labels: Any, weights: np.ndarray | None, max_fpr: float) -> np.ndarray:
    if weights is not None:
        raise NotNative("sample_weight")
    table = rank_table(scores, labels)
    values = table.roc_auc() if max_fpr == 1 else _partial_roc_auc(table, max_fpr)
    if np.isnan(values).any():
        warn_undefined("Only one class is present in y_true. ROC AUC score is not defined in that case.")
    return values


def _partial_roc_auc(table: RankTable, max_fpr: float) -> np.ndarray:
    """Area under each ROC curve up to max_fpr, standardized to 1/2 for chance and 1 for the best: (C,)

    Every threshold gives two pieces of the curve: a ramp over the negatives that tie with it, then level ground up to
    the first negative that ties with the next.
    """
    lengths = np.diff(table.indptr)
    classes = np.repeat(np.arange(table.num_classes), lengths)
    first, last = table.indptr[:-1][lengths > 0], table.indptr[1:][lengths > 0] - 1
    ramp = table.fp - table.tied
    level_end = np.append(ramp[1:], 0)
    level_end[last] = table.num_negatives[lengths > 0]
    tp_before = np.append(0, table.tp[:-1])
    tp_before[first] = 0
    limit = max_fpr * table.num_negatives[classes]
    tied, level = (
        np.minimum(stop, limit) - np.minimum(start, limit) for start, stop in ((ramp, table.fp), (table.fp, level_end))
    )
    rise = (table.tp - tp_before) / np.maximum(table.tied, 1)
    pieces = tied * (tp_before + rise * tied / 2) + level * table.tp
    pairs = (table.num_positives * table.num_negatives).astype(np.float64)
    pairs[pairs == 0] = np.nan
    area = np.bincount(classes, pieces, table.num_classes) / pairs
    chance = max_fpr**2 / 2
    return np.asarray((1 + (area - chance) / (max_fpr - chance)) / 2)
