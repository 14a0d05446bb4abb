"""scikit-learn's ranking metrics under their own names, arguments and results, from the rank table.

    from vltr_eval.compat.sklearn import average_precision_score, roc_auc_score      # was: from sklearn.metrics import

Native: binary, multilabel and multiclass labels, every average, ``pos_label``, ``max_fpr``, ``labels``, one-vs-rest,
``k``, ``normalize``, ``drop_intermediate``, and ``sample_weight`` but for ROC-AUC and the curve. For what is left
scikit-learn's own function is called: ``sample_weight`` of these two, negative weights, ``multi_class="ovo"``, label
matrices of two values that are not 0 and 1, and dtypes that are neither real numbers nor strings. Where scikit-learn is
not installed that is an ImportError that names the option.

Bad values are ValueErrors with vltr's messages. Undefined results are those of scikit-learn since 1.6: AP 0 with a
UserWarning, ROC-AUC NaN with an UndefinedMetricWarning (its own class where scikit-learn has been imported). A warning
comes once a call, not once a class. Tensors of torch may be bfloat16 or require gradients.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from vltr_eval._base.arrays import read_numbers
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_scan import rank_scan
from vltr_eval._engine.rank_table import RankTable
from vltr_eval.metrics.rank_metrics import average_precision, rank_table

__all__ = [
    "average_precision_score",
    "label_ranking_average_precision_score",
    "precision_recall_curve",
    "roc_auc_score",
    "top_k_accuracy_score",
]

_AVERAGES = ("micro", "macro", "samples", "weighted", None)
_TILE = 1 << 17  # elements that are looked at together, few enough for what is made of them to stay in the cache


class UndefinedMetricWarning(UserWarning):
    """Stands in for the class of this name in scikit-learn, where that has not been imported."""


class InvalidParameterError(ValueError, TypeError):
    """An argument of a type that is not taken: both errors in one, as scikit-learn's class of this name."""


class _NotNative(Exception):
    """An option that only scikit-learn's function supports; the message names it."""


def _or_original(function: Callable[..., Any]) -> Callable[..., Any]:
    """Hands the arguments to scikit-learn's function of the same name where ours finds them not native."""
    name = function.__name__

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except _NotNative as reason:
            option = str(reason)
        try:
            import sklearn.metrics
        except ImportError:
            raise ImportError(
                f"{name}: {option} is not native and needs scikit-learn, which is not installed; "
                "pip install scikit-learn"
            ) from None
        return getattr(sklearn.metrics, name)(*args, **kwargs)

    return call


# The functions


@_or_original
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
    _check_average(average)
    labels, scores, weights = _read(y_true, y_score, sample_weight)
    if labels.ndim == 1:
        present = _distinct(labels)
        if len(present) <= 2:
            if len(present) == 2 and pos_label not in present.tolist():
                raise ValueError(f"pos_label: expected one of {present.tolist()}, got {pos_label!r}")
            return float(_average_precision(_column(scores), labels == pos_label, weights)[0])
        labels = np.searchsorted(present, labels)
        _check_columns(scores, len(present))
    if pos_label != 1:
        raise ValueError(f"pos_label: expected 1 unless y_true is (N,) of two labels, got {pos_label!r}")
    return _averaged(_average_precision, labels, scores, average, weights)


@_or_original
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
    _check_average(average)
    if max_fpr is not None and not 0 < max_fpr <= 1:
        raise ValueError(f"max_fpr: expected None or a number above 0 and at most 1, got {max_fpr!r}")
    if multi_class not in ("raise", "ovr", "ovo"):
        raise ValueError(f"multi_class: expected 'raise', 'ovr' or 'ovo', got {multi_class!r}")
    truth, scores, weights = _read(y_true, y_score, sample_weight)
    metric = functools.partial(_roc_auc, max_fpr=1.0 if max_fpr is None else max_fpr)
    if truth.ndim == 1:
        present = _distinct(truth)
        if len(present) <= 2 and (scores.ndim == 1 or scores.shape[1] <= 2):
            positive = truth == present[-1] if len(present) == 2 else np.zeros(len(truth), bool)
            return float(metric(_column(scores), positive, weights)[0])
        if max_fpr not in (None, 1):
            raise ValueError(f"max_fpr: expected None for more than two classes, got {max_fpr!r}")
        if multi_class == "raise":
            raise ValueError("multi_class: expected 'ovr' or 'ovo' for more than two classes, got 'raise'")
        if multi_class == "ovo":
            raise _NotNative("multi_class='ovo'")
        if average == "samples":
            raise ValueError("average: expected 'macro', 'weighted', 'micro' or None with 'ovr', got 'samples'")
        classes = _classes(present, labels)
        _check_columns(scores, len(classes))
        sums = scores.sum(axis=1)
        if not np.allclose(1, sums):
            row = int(np.argmax(~np.isclose(1, sums)))
            raise ValueError(
                f"y_score: expected probabilities whose rows sum up to 1.0, got {sums[row]:g} in row {row}"
            )
        truth = np.searchsorted(classes, truth)
    return _averaged(metric, truth, scores, average, weights)


@_or_original
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
    if sample_weight is not None:
        raise _NotNative("sample_weight")
    labels, scores, _ = _read(y_true, y_score, None, check_finite=False)
    if labels.ndim != 1:
        raise ValueError(f"y_true: expected (N,) labels, got shape {labels.shape}; its format is not supported")
    present = _distinct(labels)
    if pos_label is None:
        if present.dtype.kind in "OU" or present.tolist() not in ([0, 1], [-1, 1], [0], [-1], [1]):
            raise ValueError(f"pos_label: expected one of the labels unless they are 0 or -1 and 1, got {pos_label!r}")
        pos_label = 1
    scores = _column(scores)
    ordered = np.sort(scores)
    _check_finite(ordered[[0, -1]])  # where NaN and infinities are if there are any
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    thresholds = ordered[starts]
    positives = np.sort(scores[labels == pos_label])
    tp = len(positives) - np.searchsorted(positives, thresholds)
    reached = len(ordered) - starts
    if drop_intermediate and len(thresholds) > 2:
        changed = tp[1:] != tp[:-1]
        kept = np.concatenate([[True], changed[:-1] | changed[1:], [True]])
        thresholds, tp, reached = thresholds[kept], tp[kept], reached[kept]
    if not len(positives):
        _warn_no_positives()
    recall = tp / len(positives) if len(positives) else np.ones(len(tp))
    return np.append(tp / reached, 1.0), np.append(recall, 0.0), thresholds


@_or_original
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
    scores = _read_scores(y_score)
    weights = _read_weights(sample_weight, scores)
    if len(labels.shape) != 2 or labels.shape != scores.shape:
        raise ValueError(f"y_true: expected an (N, C) matrix as y_score, got {labels.shape} and {scores.shape}")
    _check_finite(scores)
    if not isinstance(labels, np.ndarray) and bool(np.any(labels.data != 1)):
        raise _NotNative("a sparse y_true that stores other values than 1")
    values = average_precision(scores.T, _positives(labels.T, scores.T))
    values[np.isnan(values)] = 1.0
    if weights is None:
        return float(np.mean(values))
    return float(np.dot(values, weights) / np.sum(weights))


@_or_original
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
    if not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"k: expected a positive integer, got {k!r}")
    truth, scores, weights = _read(y_true, y_score, sample_weight)
    if truth.ndim != 1:
        raise ValueError(f"y_true: expected (N,) labels, got shape {truth.shape}")
    present = _distinct(truth)
    classes = _classes(present, labels)
    binary = len(present) <= 2 and (labels is None or len(classes) <= 2)
    if binary:
        scores = _column(scores)
        if len(classes) != 2:
            raise ValueError(f"labels: expected two labels for (N,) scores, got {len(classes)}")
    else:
        _check_columns(scores, len(classes))
    if k >= len(classes):
        _warn_undefined(
            f"'k' ({k}) greater than or equal to 'n_classes' ({len(classes)}) "
            "will result in a perfect score and is therefore meaningless."
        )
    indices = np.searchsorted(classes, truth)
    hits = _binary_hits(indices, scores, k) if binary else _ranks(indices, scores) < k
    if normalize:
        return float(np.average(hits, weights=weights))
    return float(np.sum(hits) if weights is None else np.dot(hits, weights))


# Reading arguments


def _read(
    y_true: Any, y_score: Any, sample_weight: Any, *, check_finite: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Labels (N,) or (N, C > 1), scores (N,) or (N, C), weights (N,) or None, which fit together."""
    if hasattr(y_true, "tocoo"):
        raise InvalidParameterError(
            f"y_true: expected a dense array, got {type(y_true).__name__}; pass y_true.toarray()"
        )
    labels = read_numbers("y_true", y_true)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    scores = _read_scores(y_score)
    if labels.ndim not in (1, 2) or len(labels) != len(scores):
        raise ValueError(f"y_true: expected {len(scores)} rows as y_score, got shape {labels.shape}")
    if labels.ndim == 2 and labels.shape != scores.shape:
        raise ValueError(f"y_score: expected shape {labels.shape} as y_true, got {scores.shape}")
    weights = _read_weights(sample_weight, scores)
    if check_finite:
        _check_finite(scores)
    return labels, scores, weights


def _read_scores(y_score: Any) -> np.ndarray:
    scores = read_numbers("y_score", y_score)
    if scores.ndim not in (1, 2) or 0 in scores.shape:
        raise ValueError(f"y_score: expected (N,) or (N, C) with rows and columns, got shape {scores.shape}")
    _check_native("y_score", scores)
    return scores


def _check_native(name: str, array: np.ndarray) -> None:
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8 or not array.dtype.isnative:
        raise _NotNative(f"{name} of dtype {array.dtype.str}")


def _read_weights(sample_weight: Any, scores: np.ndarray) -> np.ndarray | None:
    if sample_weight is None:
        return None
    weights = read_numbers("sample_weight", sample_weight)
    if weights.shape == (len(scores), 1):
        weights = weights[:, 0]
    if weights.shape != (len(scores),):
        raise ValueError(f"sample_weight: expected shape ({len(scores)},), got {weights.shape}")
    return weights


def _check_average(average: Any) -> None:
    if average not in _AVERAGES:
        raise ValueError(f"average: expected one of {_AVERAGES}, got {average!r}")


def _check_finite(scores: np.ndarray) -> None:
    if scores.dtype.kind != "f":
        return
    rows = scores.T if scores.flags.f_contiguous else scores
    step = max(1, _TILE // max(1, rows[0].size))
    for start in range(0, len(rows), step):
        tile = rows[start : start + step]
        finite = _isfinite(tile)
        if not finite.all():
            raise ValueError(f"y_score: expected finite numbers, got {tile[~finite][0]}")


def _isfinite(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.float16:
        finite: np.ndarray = np.isfinite(array)
    else:
        finite = (array.view(np.uint16) & 0x7C00) != 0x7C00  # numpy's own takes eight times as long, and longer than AP
    return finite


def _check_columns(scores: np.ndarray, num_classes: int) -> None:
    if scores.ndim != 2 or scores.shape[1] != num_classes:
        raise ValueError(
            f"y_score: expected (N, {num_classes}), a column for each of the {num_classes} classes, got {scores.shape}"
        )


def _column(scores: np.ndarray) -> np.ndarray:
    """The scores of one class as (N,)."""
    if scores.ndim == 2 and scores.shape[1] != 1:
        raise ValueError(f"y_score: expected (N,) scores for (N,) labels of two values, got shape {scores.shape}")
    return scores.reshape(-1)


def _distinct(labels: np.ndarray) -> np.ndarray:
    """The labels that are there, ascending. Raises ValueError for soft ones."""
    kind = labels.dtype.kind
    if kind == "U" or (kind == "O" and isinstance(labels[0], str)):
        return np.unique(labels)
    if kind not in "biuf":
        raise _NotNative(f"y_true of dtype {labels.dtype.str}")
    if kind == "f" and not (np.isfinite(labels).all() and (labels == np.trunc(labels)).all()):
        raise ValueError("y_true: expected class labels, got real numbers; continuous format is not supported")
    ends = np.unique(np.array([labels.min(), labels.max()]))
    if bool(np.all((labels == ends[0]) | (labels == ends[-1]))):
        return ends  # two labels need no sort
    return np.unique(labels)


def _classes(present: np.ndarray, labels: Any) -> np.ndarray:
    """The classes of the columns of y_score: the given labels, or those that are there."""
    if labels is None:
        return present
    classes = read_numbers("labels", labels).reshape(-1)
    if not np.array_equal(np.unique(classes), classes):
        shown = ", ".join(map(str, classes[:10].tolist())) + ", ..." * (len(classes) > 10)
        raise ValueError(f"labels: expected distinct labels in ascending order, got {shown}")
    if len(np.setdiff1d(present, classes)):
        raise ValueError("labels: expected all labels of y_true among them, got fewer")
    return classes


def _positives(labels: np.ndarray, scores: np.ndarray) -> Positives:
    """Positives of dense or sparse labels in the shape of scores, or of (N,) class indices."""
    num_rows, num_classes = scores.shape if scores.ndim == 2 else (len(scores), 1)
    if isinstance(labels, np.ndarray):
        _check_native("y_true", labels)
    try:
        return Positives.from_labels(labels, num_rows, num_classes)
    except ValueError:
        distinct = np.unique(labels)
    if len(distinct) <= 2 and bool(np.all(distinct == np.trunc(distinct))):
        raise _NotNative(f"y_true with the values {distinct.tolist()}")
    raise ValueError(
        f"y_true: expected 0 and 1, got {len(distinct)} distinct values from {distinct[0]} to {distinct[-1]}; "
        "multiclass-multioutput format is not supported"
    )


# Metrics of each class, and what is made of them


def _averaged(
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
        positives, importance = _positives(labels, scores), None
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
        return column, _positives(labels.reshape(-1), column)
    num_rows, num_classes = scores.shape
    cells = np.arange(num_rows) * num_classes + labels
    return column, Positives(column.size, 1, np.array([0, num_rows], np.int64), cells.astype(np.uint32))


def _positives_of_rows(labels: np.ndarray, scores: np.ndarray) -> Positives:
    """Rows as the classes of a transposed problem."""
    if labels.ndim == 2:
        return _positives(labels.T, scores.T)
    num_rows, num_classes = scores.shape
    return Positives(num_classes, num_rows, np.arange(num_rows + 1, dtype=np.int64), labels.astype(np.uint32))


def _support(positives: Positives, weights: np.ndarray | None) -> np.ndarray:
    """The total weight of the positives of each class: (C,)"""
    if weights is None:
        return positives.counts
    classes = np.repeat(np.arange(positives.num_classes), positives.counts)
    return np.bincount(classes, weights[positives.rows], positives.num_classes)


def _average_precision(scores: np.ndarray, labels: Any, weights: np.ndarray | None) -> np.ndarray:
    if weights is not None and bool(np.any(weights < 0)):
        raise _NotNative("a negative sample_weight")
    if weights is not None and not np.any(weights):
        raise ValueError("sample_weight: expected at least one that is not 0, got none")
    values = average_precision(scores, labels, sample_weight=weights)
    absent = np.isnan(values)
    if absent.any():
        _warn_no_positives()
    values[absent] = 0.0
    return values


def _roc_auc(scores: np.ndarray, labels: Any, weights: np.ndarray | None, max_fpr: float) -> np.ndarray:
    if weights is not None:
        raise _NotNative("sample_weight")
    table = rank_table(scores, labels)
    values = table.roc_auc() if max_fpr == 1 else _partial_roc_auc(table, max_fpr)
    if np.isnan(values).any():
        _warn_undefined("Only one class is present in y_true. ROC AUC score is not defined in that case.")
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


def _ranks(indices: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Classes that rank before the label of each row, equal scores by the higher class: (N,)"""
    backwards = scores[:, ::-1]  # our scan ranks equal scores by the lower class
    result = rank_scan(backwards, _positives(scores.shape[1] - 1 - indices, scores), ranks=True)
    return cast(np.ndarray, result.ranks)  # not None, because ranks are requested


def _binary_hits(indices: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    """Whether the predicted class is the label, by the threshold of probabilities or that of margins: (N,)"""
    if k > 1:
        return np.ones(len(scores), bool)
    threshold = 0.5 if scores.min() >= 0 and scores.max() <= 1 else 0
    return np.asarray((scores > threshold) == indices)


# Warnings


def _warn_no_positives() -> None:
    warnings.warn("No positive class found in y_true, recall is set to one for all thresholds.", stacklevel=2)


def _warn_undefined(message: str) -> None:
    # Code that names scikit-learn's class has imported it; importing it here would take longer than the metric.
    exceptions = sys.modules.get("sklearn.exceptions")
    warnings.warn(message, getattr(exceptions, "UndefinedMetricWarning", UndefinedMetricWarning), stacklevel=2)
