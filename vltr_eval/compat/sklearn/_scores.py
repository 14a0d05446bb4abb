"""scikit-learn's functions that return one number, or one for each class."""

from __future__ import annotations

import functools
from typing import Any, cast

import numpy as np

from vltr_eval._base.arrays import read_numbers
from vltr_eval._engine.rank_scan import rank_scan
from vltr_eval.compat.sklearn._arguments import (
    check_columns,
    check_finite,
    classes_of_columns,
    distinct_labels,
    one_column,
    read_arguments,
    read_scores,
    read_weights,
    to_positives,
)
from vltr_eval.compat.sklearn._averages import average_precisions, averaged, roc_aucs
from vltr_eval.compat.sklearn._drop_in import drop_in
from vltr_eval.compat.sklearn._original import NotNative, warn_undefined
from vltr_eval.metrics.rank_metrics import average_precision

__all__ = [
    "average_precision_score",
    "label_ranking_average_precision_score",
    "roc_auc_score",
    "top_k_accuracy_score",
]

_LIST_LABELS = "; pass labels= with all known classes if y_true lacks some"


@drop_in
def average_precision_score(
    y_true: Any, y_score: Any, *, average: str | None = "macro", pos_label: Any = 1, sample_weight: Any = None
) -> float | np.ndarray:
    """Average precision, as sklearn.metrics.average_precision_score.

    Args:
        y_true: (N,) of two labels; (N,) of more, one for each column of y_score; or (N, C) of 0/1.
        y_score: (N,) or (N, C) finite real numbers.
        average: "macro", "weighted" by positives, "micro" (all cells as one column), "samples" (AP of each row) or
            None.
        pos_label: The positive one of two labels.
        sample_weight: (N,).

    Returns:
        A float, or (C,) float64 with ``average=None``. A class without positives is 0, with a UserWarning.

    Raises:
        ValueError: NaN, infinities, labels of other forms, or shapes that do not fit.

    Example:
        >>> average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.8333333333333333
        >>> average_precision_score([[1, 0], [0, 1], [1, 1]], [[.9, .1], [.8, .3], [.7, .2]], average=None)
        array([0.83333333, 1.        ])
    """
    labels, scores, weights = read_arguments(y_true, y_score, sample_weight)
    if weights is not None and not np.isfinite(weights).all():
        raise ValueError("sample_weight: expected finite numbers, got NaN or an infinity")
    if labels.ndim == 1:
        present = distinct_labels(labels)
        if len(present) <= 2:
            if len(present) == 2 and pos_label not in present.tolist():
                raise ValueError(f"pos_label: expected one of {present.tolist()}, got {pos_label!r}")
            return float(average_precisions(one_column(scores), labels == pos_label, weights)[0])
        labels = np.searchsorted(present, labels)
        check_columns(scores, len(present))
    if pos_label != 1:
        raise ValueError(f"pos_label: expected 1 unless y_true is (N,) of two labels, got {pos_label!r}")
    return averaged(average_precisions, labels, scores, average, weights)


@drop_in
def roc_auc_score(
    y_true: Any,
    y_score: Any,
    *,
    average: str | None = "macro",
    sample_weight: Any = None,
    max_fpr: float | None = None,
    multi_class: str = "raise",
    labels: Any = None,
) -> float | np.ndarray:
    """Area under the ROC curve, as sklearn.metrics.roc_auc_score.

    Args:
        y_true: (N,) of two labels, the greater one positive; (N, C) of 0/1; or with ``multi_class`` (N,) of more.
        y_score: (N,) or (N, C) finite real numbers; with ``multi_class`` (N, C) whose rows sum to 1.
        average: As `average_precision_score`.
        sample_weight: As `average_precision_score`.
        max_fpr: Compute the area up to this false positive rate, standardized (McClish, "Analyzing a portion of the
            ROC curve", 1989).
        multi_class: "ovr" or "ovo" for more than two labels.
        labels: The classes of the columns, where y_true may lack some.

    Returns:
        As `average_precision_score`. A class without positives or without negatives is NaN, with an
        UndefinedMetricWarning.

    Raises:
        ValueError: As `average_precision_score`.

    Example:
        >>> roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
    """
    if isinstance(max_fpr, np.floating) and max_fpr.dtype != np.float64:
        raise NotNative(f"max_fpr of dtype {max_fpr.dtype}")
    truth, scores, weights = read_arguments(y_true, y_score, sample_weight)
    if weights is not None:
        raise NotNative("sample_weight")
    metric = functools.partial(roc_aucs, max_fpr=1.0 if max_fpr is None else max_fpr)
    if truth.ndim == 1:
        present = distinct_labels(truth)
        if len(present) <= 2 and (scores.ndim == 1 or scores.shape[1] <= 2):
            if len(present) == 1:  # undefined, whatever the scores are
                scores = scores.reshape(len(scores), -1)[:, 0]
            positive = truth == present[-1] if len(present) == 2 else np.zeros(len(truth), bool)
            return float(metric(one_column(scores), positive, weights)[0])
        if max_fpr not in (None, 1):
            raise ValueError(f"max_fpr: expected None for more than two classes, got {max_fpr!r}")
        if multi_class == "raise":
            raise ValueError("multi_class: expected 'ovr' or 'ovo' for more than two classes, got 'raise'")
        if multi_class == "ovo":
            raise NotNative("multi_class='ovo'")
        if average == "samples":
            raise ValueError("average: expected 'macro', 'weighted', 'micro' or None with 'ovr', got 'samples'")
        classes = classes_of_columns(present, labels)
        check_columns(scores, len(classes), _LIST_LABELS if labels is None else "")
        sums = scores.sum(axis=1)
        if not np.allclose(1, sums):
            row = int(np.argmax(~np.isclose(1, sums)))
            raise ValueError(
                f"y_score: expected probabilities whose rows sum up to 1.0, got {sums[row]:g} in row {row}"
            )
        truth = np.searchsorted(classes, truth)
    return averaged(metric, truth, scores, average, weights)


@drop_in
def label_ranking_average_precision_score(y_true: Any, y_score: Any, *, sample_weight: Any = None) -> float:
    """Mean AP of rows, as sklearn.metrics.label_ranking_average_precision_score.

    Args:
        y_true: (N, C) of 0/1, dense or sparse.
        y_score: (N, C) finite real numbers.
        sample_weight: (N,).

    Returns:
        A float. A row with no label or with all of them counts 1.

    Raises:
        ValueError: As `average_precision_score`.

    Example:
        >>> round(label_ranking_average_precision_score([[1, 0, 0], [0, 0, 1]], [[0.75, 0.5, 1], [1, 0.2, 0.1]]), 12)
        0.416666666667
    """
    labels = y_true.tocoo().tocsr() if hasattr(y_true, "tocoo") else read_numbers("y_true", y_true)
    scores = read_scores(y_score)
    weights = read_weights(sample_weight, scores, is_column=False)
    if len(labels.shape) != 2 or labels.shape != scores.shape:
        raise ValueError(f"y_true: expected an (N, C) matrix as y_score, got {labels.shape} and {scores.shape}")
    check_finite(scores)
    if not isinstance(labels, np.ndarray) and bool(np.any(labels.data != 1)):
        raise NotNative("a sparse y_true that stores other values than 1")
    values = average_precision(scores.T, to_positives(labels.T, scores.T))
    values[np.isnan(values)] = 1.0
    if weights is None:
        return float(np.mean(values))
    return float(np.dot(values, weights) / np.sum(weights))


@drop_in
def top_k_accuracy_score(
    y_true: Any, y_score: Any, *, k: int = 2, normalize: bool = True, sample_weight: Any = None, labels: Any = None
) -> float:
    """Share of rows whose label has one of the k highest scores, as sklearn.metrics.top_k_accuracy_score.

    Args:
        y_true: (N,) labels.
        y_score: (N, C) finite real numbers, a column for each of ``labels``; (N,) for two labels. Equal scores rank by
            the higher class.
        k: At least 1; a k that takes in all classes is an UndefinedMetricWarning.
        normalize: Return a share; otherwise the (weighted) number of rows.
        sample_weight: (N,).
        labels: The classes of the columns; by default the labels that occur.

    Returns:
        A float.

    Raises:
        ValueError: As `average_precision_score`.

    Example:
        >>> top_k_accuracy_score([0, 1, 2, 2], [[.5, .2, .2], [.3, .4, .2], [.2, .4, .3], [.7, .2, .1]], k=2)
        0.75
    """
    truth, scores, _ = read_arguments(y_true, y_score, None)
    weights = read_weights(sample_weight, scores, is_column=False)
    if truth.ndim != 1:
        raise ValueError(f"y_true: expected (N,) labels, got shape {truth.shape}")
    present = distinct_labels(truth)
    classes = classes_of_columns(present, labels)
    binary = len(present) <= 2 and (labels is None or len(classes) <= 2)
    remedy = _LIST_LABELS if labels is None else ""
    if binary and scores.ndim == 2 and scores.shape[1] != 1:
        raise ValueError(
            f"y_score: expected (N,) scores for (N,) labels of two values, got shape {scores.shape}{remedy}"
        )
    if binary:
        scores = one_column(scores)
        if len(classes) != 2:
            raise ValueError(f"labels: expected two labels for (N,) scores, got {len(classes)}{remedy}")
    else:
        check_columns(scores, len(classes), remedy)
    if k >= len(classes):
        warn_undefined(
            f"'k' ({k}) greater than or equal to 'n_classes' ({len(classes)}) "
            "will result in a perfect score and is therefore meaningless."
        )
    indices = np.searchsorted(classes, truth)
    hits = _binary_hits(indices, scores, k) if binary else _ranks(indices, scores) < k
    if normalize:
        return float(np.average(hits, weights=weights))
    return float(np.sum(hits) if weights is None else np.dot(hits, weights))


def _ranks(indices: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Classes that rank before the label of each row, equal scores by the higher class: (N,)"""
    backwards = scores[:, ::-1]  # our scan ranks equal scores by the lower class
    result = rank_scan(backwards, to_positives(scores.shape[1] - 1 - indices, scores), ranks=True)
    return cast(np.ndarray, result.ranks)  # not None, because ranks are requested


def _binary_hits(indices: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    """Whether the predicted class is the label, by the threshold of probabilities or that of margins: (N,)"""
    if k > 1:
        return np.ones(len(scores), bool)
    threshold = 0.5 if scores.min() >= 0 and scores.max() <= 1 else 0
    return np.asarray((scores > threshold) == indices)
