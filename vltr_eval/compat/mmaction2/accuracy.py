"""The functions of mmaction2's accuracy.py, which need numpy alone. The quirks are listed in the package."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from vltr_eval._engine.rank_scan import NaNScore
from vltr_eval.metrics.rank_metrics import average_precision

__all__ = [
    "binary_precision_recall_curve",
    "confusion_matrix",
    "get_weighted_score",
    "interpolated_precision_recall",
    "mean_average_precision",
    "mean_class_accuracy",
    "mmit_mean_average_precision",
    "softmax",
    "top_k_accuracy",
    "top_k_classes",
]


def mean_average_precision(scores: Any, labels: Any) -> float:
    """Mean AP of the classes that have positives, as mmaction.evaluation.mean_average_precision.

    Args:
        scores: A list of N arrays (C,), or (N, C).
        labels: A list of N arrays (C,) of 0/1, or (N, C).

    Returns:
        A float64 of numpy; NaN, with a RuntimeWarning, if no class has positives.

    Raises:
        ValueError: A score is NaN, or there are no rows.
        AssertionError: The numbers of rows differ.

    Example:
        >>> scores = [np.array([.9, .1]), np.array([.8, .2]), np.array([.7, .3])]
        >>> mean_average_precision(scores, [np.array([1, 0]), np.array([0, 1]), np.array([1, 0])]).round(4)
        np.float64(0.6667)
    """
    matrix, truth = (_as_array(rows) if len(rows) else np.stack(rows) for rows in (scores, labels))
    if matrix.ndim != 2 or truth.ndim != 2 or (len(matrix) != len(truth) and matrix.size and truth.size):
        raise AssertionError(f"labels: expected N rows of C as scores, got {truth.shape} and {matrix.shape}")
    num_classes = min(matrix.shape[1], truth.shape[1])
    values = _average_precision(matrix[:, :num_classes], truth[:, :num_classes])
    values = values[~np.isnan(values)]
    return np.float64(np.mean(values)) if len(values) else np.nan


def mmit_mean_average_precision(scores: Any, labels: Any) -> float:
    """Mean AP of rows, the mAP of Multi-Moments in Time, as mmaction.evaluation.mmit_mean_average_precision.

    Args:
        scores: A list of N arrays (C,), or (N, C). C may differ from row to row.
        labels: A list of N arrays (C,) of 0/1, or (N, C).

    Returns:
        A float64 of numpy; NaN, with a RuntimeWarning, if a row has no labels.

    Raises:
        ValueError: A score is NaN, or a cell of a masked array is masked.
        AssertionError: A row is no array, or its scores and labels have different shapes.

    Example:
        >>> scores = [np.array([.9, .2, .1]), np.array([.3, .8, .1])]
        >>> mmit_mean_average_precision(scores, [np.array([1, 0, 1]), np.array([1, 0, 0])]).round(4)
        np.float64(0.6667)
    """
    rows = list(zip(scores, labels))  # noqa: B905  # the longer one is cut, as in the original
    of_length: dict[int, list[int]] = {}
    for row, (score, label) in enumerate(rows):
        if not isinstance(score, np.ndarray) or not isinstance(label, np.ndarray) or score.shape != label.shape:
            came = " and ".join(
                f"shape {one.shape}" if isinstance(one, np.ndarray) else type(one).__name__ for one in (score, label)
            )
            raise AssertionError(f"scores and labels, row {row}: expected two arrays of one shape, got {came}")
        if score.ndim != 1 or not score.size:
            raise IndexError(f"row {row}: expected (C,) scores, got shape {score.shape}")
        if any(isinstance(cells, np.ma.MaskedArray) and np.ma.is_masked(cells) for cells in (score, label)):
            raise ValueError(f"row {row}: expected a number in every cell, got a masked one")
        of_length.setdefault(len(score), []).append(row)
    values = np.empty(len(rows))
    for group in of_length.values():
        matrix, truth = (_as_array([rows[row][side] for row in group]) for side in (0, 1))
        try:
            values[group] = _average_precision(matrix.T, truth.T)
        except NaNScore as error:
            raise NaNScore(group[error.col], error.row) from None
    mean: np.float64 = np.float64(np.mean(values))
    return mean


def binary_precision_recall_curve(y_score: Any, y_true: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision and recall at each distinct score of one class, as mmaction's function of this name.

    Args:
        y_score: (N,) array of scores.
        y_true: (N,) array of 0/1.

    Returns:
        Precision (K + 1,) and recall (K + 1,), which fall from full recall to 0, and the thresholds (K,), ascending.
        Recall is NaN without positives.

    Raises:
        AssertionError: An argument is no array, or the shapes differ.

    Example:
        >>> binary_precision_recall_curve(np.array([.9, .8, .7]), np.array([1, 0, 1]))[1]
        array([1. , 0.5, 0.5, 0. ])
    """
    if not isinstance(y_score, np.ndarray) or not isinstance(y_true, np.ndarray) or y_score.shape != y_true.shape:
        raise AssertionError(f"y_true: expected an array of the shape of the array y_score, got {y_true!r}")
    order = np.argsort(y_score, kind="stable")[::-1]
    sorted_scores = y_score[order]
    # A difference, not a comparison: two equal infinities are two thresholds, as in the original.
    last = np.append(np.flatnonzero(np.diff(sorted_scores)), len(sorted_scores) - 1)
    tp = np.cumsum(y_true[order] == 1)[last]
    stop = np.searchsorted(tp, tp[-1]) + 1  # the first threshold with full recall is the last one of the curve
    tp, last = tp[:stop], last[:stop]
    precision, recall = tp / (last + 1), tp / tp[-1]
    return np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), sorted_scores[last][::-1]


def top_k_accuracy(scores: Any, labels: Any, topk: Iterable[int] = (1,)) -> list[np.float64]:
    """Share of rows whose label is among the k highest scores, as mmaction.evaluation.top_k_accuracy.

    Args:
        scores: A list of N arrays (C,), or (N, C).
        labels: (N,) class indices. One that is no class is a miss.
        topk: The values of k.

    Returns:
        A float64 of numpy for each k.

    Raises:
        ValueError: A score is NaN, or the shapes do not fit.

    Example:
        >>> top_k_accuracy([np.array([.2, .3, .5]), np.array([.4, .5, .1])], [2, 0], (1, 2))
        [np.float64(0.5), np.float64(1.0)]
    """
    matrix, truth = _as_array(scores), np.asarray(labels)
    if matrix.ndim != 2 or truth.ndim != 1:
        raise ValueError(f"scores: expected (N, C), and (N,) labels, got {matrix.shape} and {truth.shape}")
    (num_rows,) = np.broadcast_shapes((len(matrix),), truth.shape)  # one label, or one row, fits to many
    nan = np.isnan(matrix) if matrix.dtype.kind == "f" else np.zeros((0, 0), bool)
    if nan.any():
        raise NaNScore(*np.argwhere(nan)[0].tolist())
    num_classes = matrix.shape[1]
    is_class = (truth >= 0) & (truth < num_classes) & (truth == np.trunc(truth))
    indices = np.where(is_class, truth, 0).astype(np.int64)[:, None]
    if num_classes and num_rows:
        if len(matrix) != len(indices):
            matrix, indices = np.broadcast_to(matrix, (num_rows, num_classes)), np.broadcast_to(indices, (num_rows, 1))
        own = np.take_along_axis(matrix, indices, axis=1)
        ranks = np.count_nonzero(matrix > own, axis=1)
        equal = matrix == own
        tied = np.flatnonzero(np.count_nonzero(equal, axis=1) > 1)
        ranks[tied] += np.count_nonzero(equal[tied] & (np.arange(num_classes) > indices[tied]), axis=1)
        ranks[~np.broadcast_to(is_class, num_rows)] = num_classes
    else:
        ranks = np.zeros(num_rows, np.int64)
    return [np.float64((ranks < len(range(num_classes)[-k:])).sum()) / np.float64(num_rows) for k in topk]


def mean_class_accuracy(scores: Any, labels: Any) -> np.float64:
    """Mean over classes of the share of their rows that are predicted, as mmaction.evaluation.mean_class_accuracy.

    Args:
        scores: A list of N arrays (C,), or (N, C).
        labels: A list of N class indices, or an int64 array.

    Returns:
        A float64 of numpy.

    Raises:
        TypeError: ``labels`` are neither a list nor an int64 array.

    Example:
        >>> mean_class_accuracy([np.array([.9, .1]), np.array([.6, .4]), np.array([.3, .7])], [0, 1, 1])
        np.float64(0.75)
    """
    mean: np.float64 = np.float64(np.mean(_class_accuracies(scores, labels)))
    return mean


def top_k_classes(scores: Any, labels: Any, k: int = 10, mode: str = "accurate") -> list[tuple[np.int64, np.float64]]:
    """The k classes of the highest or the lowest accuracy, as mmaction.evaluation.top_k_classes.

    Args:
        scores: As `mean_class_accuracy`.
        labels: As `mean_class_accuracy`.
        k: Number of classes.
        mode: "accurate" or "inaccurate".

    Returns:
        A pair for each class: its position among the classes that occur, and its accuracy.

    Raises:
        AssertionError: Another mode.

    Example:
        >>> top_k_classes([np.array([.9, .1]), np.array([.6, .4]), np.array([.3, .7])], [0, 1, 1], k=1)
        [(np.int64(0), np.float64(1.0))]
    """
    if mode not in ("accurate", "inaccurate"):
        raise AssertionError(f"mode: expected 'accurate' or 'inaccurate', got {mode!r}")
    values = _class_accuracies(scores, labels)
    order = np.argsort(values, kind="stable")
    chosen = order[-k:][::-1] if mode == "accurate" else order[:k]
    return list(zip(chosen, values[chosen], strict=True))


def confusion_matrix(y_pred: Any, y_real: Any, normalize: str | None = None) -> np.ndarray:
    """Numbers of rows by label and prediction, as mmaction.evaluation.confusion_matrix.

    Args:
        y_pred: A list of N predicted classes, or an int64 array.
        y_real: A list of N labels, or an int64 array.
        normalize: "true" divides by the rows of a label, "pred" by those of a prediction, "all" by all rows.

    Returns:
        (K, K) for the K classes that occur, labels by predictions: int64, or float64 with ``normalize``, where 0 / 0
        is 0.

    Raises:
        ValueError: Another value of ``normalize``.
        TypeError: Classes of another type.

    Example:
        >>> confusion_matrix([0, 1, 1, 3], [0, 2, 1, 3]).tolist()
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    """
    if normalize not in ("true", "pred", "all", None):
        raise ValueError(f"normalize: expected 'true', 'pred', 'all' or None, got {normalize!r}")
    predicted, real = _read_classes("y_pred", y_pred), _read_classes("y_real", y_real)
    occurring = np.unique(np.concatenate([predicted, real]))
    size = len(occurring)
    position = np.zeros(occurring[-1] + 1, np.int64)
    position[occurring] = np.arange(size)  # a negative class is a position from the end, which the greatest overwrites
    counts = np.bincount(position[real] * size + position[predicted], minlength=size**2).reshape(size, size)
    if normalize is not None:
        total: Any = counts.sum(axis={"true": 1, "pred": 0, "all": None}[normalize], keepdims=True)
        counts = np.divide(counts, total, out=np.zeros((size, size)), where=total > 0)
    return np.asarray(counts)


def get_weighted_score(score_list: Sequence[Any], coeff_list: Sequence[float]) -> list[np.ndarray]:
    """Sum of the scores of several models with a coefficient each, as mmaction.evaluation.get_weighted_score.

    Args:
        score_list: For each model a list of N arrays (C,).
        coeff_list: The coefficients.

    Returns:
        A list of N arrays (C,).

    Raises:
        AssertionError: The numbers of models or of rows differ.

    Example:
        >>> get_weighted_score([[np.array([1., 2.])], [np.array([3., 0.])]], [1, 2])
        [array([7., 2.])]
    """
    if len(score_list) != len(coeff_list) or len({len(scores) for scores in score_list}) > 1:
        raise AssertionError("score_list: expected as many models as coefficients, with as many rows each")
    return list(np.dot(np.array(score_list).T, np.array(coeff_list)).T)


def softmax(x: np.ndarray, dim: int = 1) -> np.ndarray:
    """Softmax along an axis, as mmaction.evaluation.softmax.

    Example:
        >>> softmax(np.zeros((1, 4)))
        array([[0.25, 0.25, 0.25, 0.25]])
    """
    powers = np.exp(x - np.max(x, axis=dim, keepdims=True))
    out: np.ndarray = powers / powers.sum(axis=dim, keepdims=True)
    return out


def interpolated_precision_recall(precision: np.ndarray, recall: np.ndarray) -> np.float64:
    """Area under the envelope of a curve, as mmaction.evaluation.interpolated_precision_recall.

    Args:
        precision: (K,) of the thresholds.
        recall: (K,), ascending.

    Example:
        >>> interpolated_precision_recall(np.array([1., .5, .75]), np.array([.25, .25, .75]))
        np.float64(0.625)
    """
    envelope = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]
    steps = np.concatenate([[0.0], recall, [1.0]])
    rises = np.flatnonzero(steps[1:] != steps[:-1])
    area: np.float64 = np.sum((steps[rises + 1] - steps[rises]) * envelope[rises + 1])
    return area


def _as_array(rows: Any) -> np.ndarray:
    if isinstance(rows, list) and set(map(type, rows)) == {np.ndarray}:
        shapes = set(map(attrgetter("shape"), rows))
        if len(shapes) == 1 and len(next(iter(shapes))) == 1:
            return np.concatenate(rows).reshape(len(rows), *shapes.pop())  # much faster than np.array
    return np.asarray(rows)


def _average_precision(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """AP of each column, NaN without positives, with a warning."""
    positive = labels if labels.dtype == bool else labels == 1
    if not scores.size:
        return np.full(scores.shape[1], np.nan)
    values = average_precision(scores, positive)
    infinite = np.isinf(scores) if scores.dtype.kind == "f" else np.zeros((1, 1), bool)
    if infinite.any():
        for column in np.flatnonzero(infinite.sum(axis=0) > 1):
            precision, recall, _ = binary_precision_recall_curve(scores[:, column], positive[:, column])
            values[column] = -np.sum(np.diff(recall) * precision[:-1])
    num_undefined = np.count_nonzero(np.isnan(values))
    if num_undefined:
        warnings.warn(f"{num_undefined} of {len(values)} have no positives, and no AP", RuntimeWarning, stacklevel=3)
    return values


def _class_accuracies(scores: Any, labels: Any) -> np.ndarray:
    """The share of the rows of each occurring class that are predicted; 0 for a class that is never a label."""
    matrix = confusion_matrix(np.argmax(_as_array(scores), axis=1), labels)
    return np.asarray(np.diag(matrix) / np.maximum(matrix.sum(axis=1), 1))


def _read_classes(name: str, classes: Any) -> np.ndarray:
    if isinstance(classes, list):
        classes = np.array(classes)
        if classes.dtype == np.int32:  # the integers of numpy 1 on Windows
            classes = classes.astype(np.int64)
    if not isinstance(classes, np.ndarray) or classes.dtype != np.int64:
        raise TypeError(f"{name}: expected a list of integers or an int64 array, got {classes!r}")
    return classes
