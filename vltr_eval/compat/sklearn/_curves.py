"""scikit-learn's curves of one class."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._engine.labels import Positives
from vltr_eval.compat.sklearn._arguments import distinct_labels, one_column, read_arguments
from vltr_eval.compat.sklearn._drop_in import drop_in
from vltr_eval.compat.sklearn._original import NotNative, warn_no_positives, warn_undefined
from vltr_eval.metrics.curves import CurveRequest, find_curves

__all__ = ["precision_recall_curve", "roc_curve"]


@drop_in
def precision_recall_curve(
    y_true: Any, y_score: Any, *, pos_label: Any = None, sample_weight: Any = None, drop_intermediate: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision and recall at every distinct score, as sklearn.metrics.precision_recall_curve.

    Args:
        y_true: (N,) of {0, 1} or {-1, 1}, or of any labels with ``pos_label``.
        y_score: (N,) finite real numbers.
        pos_label: The positive label.
        sample_weight: (N,); scikit-learn's own function does the work where it is given.
        drop_intermediate: Leave out thresholds between two others of the same recall.

    Returns:
        Precision (K + 1,), recall (K + 1,) and thresholds (K,) ascending. Without positives recall is 1, with a
        UserWarning.

    Raises:
        ValueError: As `average_precision_score`.

    Example:
        >>> precision_recall_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])[1]
        array([1. , 1. , 0.5, 0.5, 0. ])
    """
    curve = _curve(y_true, y_score, pos_label, sample_weight, "hit_changes" if drop_intermediate else "all")
    if not curve.positives:
        warn_no_positives()
    recall = curve.tp / curve.positives if curve.positives else np.ones(len(curve.tp))
    precision = curve.tp / curve.reached
    return np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), curve.thresholds[::-1]


@drop_in
def roc_curve(
    y_true: Any, y_score: Any, *, pos_label: Any = None, sample_weight: Any = None, drop_intermediate: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False and true positive rate at every distinct score, as sklearn.metrics.roc_curve.

    Args:
        y_true: (N,) of {0, 1} or {-1, 1}, or of any labels with ``pos_label``.
        y_score: (N,) finite real numbers.
        pos_label: The positive label.
        sample_weight: (N,); scikit-learn's own function does the work where it is given.
        drop_intermediate: Leave out thresholds on a straight line between two others.

    Returns:
        False positive rate (K + 1,), true positive rate (K + 1,), both from 0, and thresholds (K + 1,) descending from
        infinity. A rate without negatives or without positives is NaN, with an UndefinedMetricWarning.

    Raises:
        ValueError: As `average_precision_score`.

    Example:
        >>> roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])[1]
        array([0. , 0.5, 0.5, 1. , 1. ])
    """
    curve = _curve(y_true, y_score, pos_label, sample_weight, "corners" if drop_intermediate else "all")
    negatives = curve.rows - curve.positives
    if not negatives:
        warn_undefined("No negative samples in y_true, false positive value should be meaningless")
    if not curve.positives:
        warn_undefined("No positive samples in y_true, true positive value should be meaningless")
    fpr, tpr = (
        np.append(0.0, counts / total) if total else np.full(len(counts) + 1, np.nan)
        for counts, total in ((curve.reached - curve.tp, negatives), (curve.tp, curve.positives))
    )
    return fpr, tpr, np.append(np.inf, curve.thresholds.astype(np.float64))


class _Curve(NamedTuple):
    """The kept thresholds of one class, descending, and the positives and rows that reach each."""

    thresholds: np.ndarray
    tp: np.ndarray
    reached: np.ndarray
    positives: int
    rows: int


def _curve(y_true: Any, y_score: Any, pos_label: Any, sample_weight: Any, keep: str) -> _Curve:
    if sample_weight is not None:
        raise NotNative("sample_weight")
    labels, scores, _ = read_arguments(y_true, y_score, None)
    if labels.ndim != 1:
        raise ValueError(f"y_true: expected (N,) labels, got shape {labels.shape}; its format is not supported")
    present = distinct_labels(labels)
    if pos_label is None:
        if present.dtype.kind in "OU" or present.tolist() not in ([0, 1], [-1, 1], [0], [-1], [1]):
            raise ValueError(f"pos_label: expected one of the labels unless they are 0 or -1 and 1, got {pos_label!r}")
        pos_label = 1
    scores = one_column(scores)
    is_positive = np.asarray(labels == pos_label)
    positives = Positives.from_labels(is_positive, len(scores), 1)
    found = find_curves(borrow_matrix("y_score", scores), positives, [CurveRequest(keep)])[0]
    thresholds = found.thresholds.astype(scores.dtype, copy=False)
    return _Curve(thresholds, found.tp, found.reached, int(found.num_positives[0]), len(scores))
