"""Metrics that follow from the rank table, as functions of scores and labels.

Every function takes ``scores`` and ``labels`` as `rank_table` does and raises the same errors. For several metrics of
one matrix, make the rank table once and call its methods, or use `evaluate`. Undefined values are NaN: all metrics of a
class without positives, and the ROC-AUC of a class without negatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import (
    Matrix,
    as_columns,
    borrow,
    borrow_matrix,
    common_device,
    num_threads,
    read_numbers,
    to_host,
)
from vltr_eval._engine.inputs import read_matrix_and_positives
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_scan import NaNScore, find_positive_scores, rank_scan, scan_metric
from vltr_eval._engine.rank_table import (
    PositiveScores,
    PrecisionRecallCurve,
    RankTable,
    absent_value,
    mean_of_defined,
)

__all__ = [
    "average_precision",
    "calibrated_average_precision",
    "expected_sampled_average_precision",
    "mean_average_precision",
    "positive_scores",
    "precision_at_recall",
    "precision_recall_curve",
    "rank_table",
    "recall_at_precision",
    "roc_auc",
    "tie_interval",
    "tie_rate",
]


def average_precision(
    scores: Any,
    labels: Any,
    *,
    absent: str = "nan",
    sample_weight: Any = None,
    mask: Any = None,
    unknown: Any = None,
    threads: int | None = None,
) -> np.ndarray:
    """Compute the average precision of each class, the area under its step-wise precision-recall curve.

    Equal scores are one threshold, so the row order cannot change the result. It equals scikit-learn's
    average_precision_score.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        absent: Value of classes without positives: "nan", or "zero" for 0.
        sample_weight: (N,) finite weights of the rows, not negative; None weighs all rows the same.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        (C,) float64. A class without positives, or with positives of weight 0, is NaN, or 0 with ``absent="zero"``.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> average_precision(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]))
        array([0.83333333])
    """
    value = absent_value(absent)
    if sample_weight is None:
        return _metric_of(scores, labels, "average_precision", value, threads, mask, unknown)
    matrix, positives = read_matrix_and_positives(scores, labels, threads, mask, unknown)
    weights = _read_weights(sample_weight, matrix)
    of_positives: Any = positives.core_with(matrix)  # three arguments, or two on a device
    core: Any = weights.core if isinstance(weights, Matrix) else weights
    try:
        out: np.ndarray = _core.weighted_average_precision(  # type: ignore[call-overload]  # see of_positives
            *of_positives, core, num_threads(threads)
        )
    except _core.BadValue as error:
        argument, row, col = error.args
        if argument == "scores":
            raise NaNScore(row, col) from None
        bad = weights.value(row, 0) if isinstance(weights, Matrix) else weights[row]
        raise _bad_weight(float(bad), row) from None
    _check_weight_of_classes(weights, positives, out)
    return np.where(np.isnan(out), value, out)


def weighted_average_precisions(
    scores: Matrix, positives: Positives, weights: np.ndarray, *, absent: str = "nan", threads: int | None = None
) -> np.ndarray:
    """Compute the average precision of each class under several weightings, in one pass over scores in CPU memory.

    weights: (W, N) float64, finite and not negative. Returns (W, C), the bits of `average_precision` with each of them.
    """
    value = absent_value(absent)
    known, offset, rows = positives.core_with(scores)
    out = _core.weighted_average_precisions(known, offset, rows, weights, num_threads(threads))
    for weighting, values in zip(weights, out, strict=True):
        _check_weight_of_classes(weighting, positives, values)
    return np.where(np.isnan(out), value, out)


def _check_weight_of_classes(weights: np.ndarray | Matrix, positives: Positives, values: np.ndarray) -> None:
    """Raise ValueError if the core rounds the weights of all positives of a class to 0. values: (C,) AP of the core."""
    for c in np.flatnonzero(np.isnan(values) & (positives.counts > 0)).tolist():
        _check_weight_of_class(weights, positives.rows_of(c), c)


def _metric_of(
    scores: Any, labels: Any, metric: str, undefined: float, threads: int | None, mask: Any, unknown: Any
) -> np.ndarray:
    """Compute a metric of each class that a scan gives without the rank table."""
    values = scan_metric(*read_matrix_and_positives(scores, labels, threads, mask, unknown), metric, threads=threads)
    if not np.isnan(undefined):
        values[np.isnan(values)] = undefined
    return values


def _check_weight_of_class(weights: np.ndarray | Matrix, rows: np.ndarray, class_index: int) -> None:
    """Raise ValueError if a positive has a weight that the core rounds to 0, in units of 2^-90 of the largest one."""
    if isinstance(weights, Matrix):
        weights = np.concatenate([to_host(as_columns(shard)).to_numpy()[:, 0] for shard in weights.shards])
    heaviest = weights[rows].max()
    if heaviest > 0:
        raise ValueError(
            f"sample_weight: expected a positive of class {class_index} that weighs more than 2^-90 of the largest "
            f"weight, {weights.max()}, got at most {heaviest}"
        )


def _read_weights(sample_weight: Any, scores: Matrix) -> np.ndarray | Matrix:
    """Read the weights: (N,) float64; on a device the column, which the core converts there. The core checks both."""
    if scores.device.index is not None:
        column = borrow("sample_weight", sample_weight)
        common_device(scores=scores, sample_weight=column)
        _check_weights_shape(column.shape, scores.num_rows)
        return borrow_matrix("sample_weight", column)
    weights = read_numbers("sample_weight", sample_weight)
    if weights.dtype.kind not in "biuf":
        raise TypeError(f"sample_weight: expected real numbers, got {weights.dtype}")
    _check_weights_shape(weights.shape, scores.num_rows)
    return np.ascontiguousarray(weights, dtype=np.float64)


def _check_weights_shape(shape: tuple[int, ...], num_rows: int) -> None:
    if shape != (num_rows,):
        raise ValueError(f"sample_weight: expected shape ({num_rows},) as scores has rows, got {shape}")


def _bad_weight(weight: float, row: int) -> ValueError:
    return ValueError(f"sample_weight: expected finite weights that are not negative, got {weight} at row {row}")


def mean_average_precision(
    scores: Any,
    labels: Any,
    *,
    absent: str = "nan",
    sample_weight: Any = None,
    mask: Any = None,
    unknown: Any = None,
    threads: int | None = None,
) -> float:
    """Compute mAP, the mean of `average_precision` over the defined classes.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        absent: "nan" leaves classes without positives out of the mean; "zero" counts their AP as 0.
        sample_weight: (N,) finite weights of the rows, not negative; None weighs all rows the same.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        The mean, a float; NaN without defined classes.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> mean_average_precision(np.float32([[.9, .1], [.8, .2], [.7, .3]]), np.uint8([[1, 0], [0, 0], [1, 0]]))
        0.8333333333333333
    """
    return mean_of_defined(
        average_precision(
            scores, labels, absent=absent, sample_weight=sample_weight, mask=mask, unknown=unknown, threads=threads
        )
    )


def roc_auc(
    scores: Any, labels: Any, *, mask: Any = None, unknown: Any = None, threads: int | None = None
) -> np.ndarray:
    """Compute the area under the ROC curve of each class.

    It is the probability that a positive has a higher score than a negative; a tie counts one half.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        (C,) float64; a class without positives or without negatives is NaN.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> roc_auc(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]))
        array([0.5])
    """
    return _metric_of(scores, labels, "roc_auc", np.nan, threads, mask, unknown)


def expected_sampled_average_precision(
    scores: Any, labels: Any, *, absent: str = "nan", mask: Any = None, unknown: Any = None, threads: int | None = None
) -> np.ndarray:
    """Compute exact SAP, the mean of `sampled_average_precision` over infinitely many trials, in closed form.

    The number of drawn negatives above a threshold is hypergeometric, so the result has no sampling noise.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        absent: Value of classes without positives: "nan", or "zero" for 0.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        (C,) float64; undefined where `average_precision` is.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> scores, labels = np.arange(6, 0, -1.)[:, None], np.uint8([[0], [1], [0], [0], [1], [0]])
        >>> expected_sampled_average_precision(scores, labels)
        array([0.66666667])

    Source:
        csrc/core/sap_core.hpp derives the formula. SAP is from "A Study on Action Detection in the Wild"
        (arXiv 1904.12993).
    """
    return _metric_of(
        scores, labels, "expected_sampled_average_precision", absent_value(absent), threads, mask, unknown
    )


def calibrated_average_precision(
    scores: Any,
    labels: Any,
    *,
    prevalence: float = 0.5,
    absent: str = "nan",
    mask: Any = None,
    unknown: Any = None,
    threads: int | None = None,
) -> np.ndarray:
    """Compute average precision at a fixed class prevalence, to compare classes of different frequency.

    Precision becomes pi TPR / (pi TPR + (1 - pi) FPR) with pi = ``prevalence``. At the prevalence of the class itself
    it is AP.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        prevalence: The share of positives pi, between 0 and 1.
        absent: Value of classes without positives: "nan", or "zero" for 0.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        (C,) float64; 1 for a class without negatives, and undefined where `average_precision` is.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> calibrated_average_precision(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]))
        array([0.75])

    Source:
        Siblini et al., "Master your metrics with calibration", 2020.
    """
    return rank_table(scores, labels, mask=mask, unknown=unknown, threads=threads).calibrated_average_precision(
        prevalence, absent=absent
    )


def precision_recall_curve(
    scores: Any, labels: Any, *, mask: Any = None, unknown: Any = None, threads: int | None = None
) -> list[PrecisionRecallCurve]:
    """Compute the step-wise precision-recall curve of each class at the distinct scores of its positives.

    Thresholds at other scores would only add points of equal recall and lower precision.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        A list of C `PrecisionRecallCurve`, each with its thresholds in descending order.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> precision_recall_curve(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]))[0].precision
        array([1.        , 0.66666667])
    """
    table = rank_table(scores, labels, mask=mask, unknown=unknown, threads=threads)
    return [table.precision_recall_curve(c) for c in range(table.num_classes)]


def precision_at_recall(
    scores: Any, labels: Any, *, recall: float, mask: Any = None, unknown: Any = None, threads: int | None = None
) -> np.ndarray:
    """Compute the best precision among the thresholds with at least a given recall.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        recall: The least recall.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        (C,) float64; NaN for a class without positives.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> precision_at_recall(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]), recall=0.6)
        array([0.66666667])
    """
    return rank_table(scores, labels, mask=mask, unknown=unknown, threads=threads).precision_at_recall(recall)


def recall_at_precision(
    scores: Any, labels: Any, *, precision: float, mask: Any = None, unknown: Any = None, threads: int | None = None
) -> np.ndarray:
    """Compute the best recall among the thresholds with at least a given precision.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        precision: The least precision.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        (C,) float64; 0 if no threshold has the precision, NaN for a class without positives.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> recall_at_precision(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]), precision=0.9)
        array([0.5])
    """
    return rank_table(scores, labels, mask=mask, unknown=unknown, threads=threads).recall_at_precision(precision)


def tie_rate(
    scores: Any, labels: Any, *, mask: Any = None, unknown: Any = None, threads: int | None = None
) -> np.ndarray:
    """Compute the share of each class's positives that have the same score as a negative.

    A value much above 0 indicates a saturated sigmoid or low precision. The row order would then decide the AP of other
    libraries.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        (C,) float64; NaN for a class without positives.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> tie_rate(np.float32([[.9], [.9], [.7]]), np.uint8([[1], [0], [1]]))
        array([0.5])
    """
    return rank_table(scores, labels, mask=mask, unknown=unknown, threads=threads).tie_rate()


def tie_interval(
    scores: Any, labels: Any, *, mask: Any = None, unknown: Any = None, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the lowest and highest AP of each class that an order of tied rows could give.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        lower (C,) and upper (C,), float64.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> tie_interval(np.float32([[.9], [.9]]), np.uint8([[1], [0]]))
        (array([0.5]), array([1.]))
    """
    return rank_table(scores, labels, mask=mask, unknown=unknown, threads=threads).tie_interval()


def positive_scores(
    scores: Any, labels: Any, *, mask: Any = None, unknown: Any = None, threads: int | None = None
) -> PositiveScores:
    """Find the distinct scores of the positives of each class, which shards exchange before they count.

    Merge those of all shards, then count each shard with ``rank_table(..., thresholds=merged)``. The merged tables are
    the table of all rows. Only the scores of positives are read.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        The `PositiveScores`.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> positive_scores(np.float32([[.9], [.5], [.7]]), np.uint8([[1], [1], [0]])).scores
        array([0.9, 0.5], dtype=float32)
    """
    return find_positive_scores(*read_matrix_and_positives(scores, labels, threads, mask, unknown), threads=threads)


def rank_table(
    scores: Any,
    labels: Any,
    *,
    thresholds: PositiveScores | None = None,
    mask: Any = None,
    unknown: Any = None,
    threads: int | None = None,
) -> RankTable:
    """Make the rank table: a few integers per positive, from which every metric follows.

    It takes O(N C) time plus O(P log P) per class of P positives, and O(positives) extra memory.

    Args:
        scores: (N, C) array of any real dtype, on CPU or a CUDA device. (N,) is one class. A list of arrays is row
            shards. Any values that order the samples will do. Raw logits are best, because a saturated sigmoid makes
            ties. A data frame or a path is read.
        labels: Labels of the N rows: an (N, C) array of 0/1 of any bool, integer or float dtype, a scipy.sparse matrix,
            a list of class indices per row, (N,) class indices, `LabelPairs`, or `Positives`; see
            `Positives.from_labels`. A row may have several labels or none.
        thresholds: Scores to count against instead of those of ``labels``; see `positive_scores`.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        The `RankTable`.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> table = rank_table(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]))
        >>> table.average_precision(), table.roc_auc()
        (array([0.83333333]), array([0.5]))
    """
    threads = num_threads(threads)  # once: it asks the system
    matrix, positives = read_matrix_and_positives(scores, labels, threads, mask, unknown)
    return rank_scan(matrix, positives, thresholds=thresholds, threads=threads).table
