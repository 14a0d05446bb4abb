"""Metrics that follow from the rank table, as functions of scores and labels.

Every function takes ``scores`` and ``labels`` as `rank_table` does and raises as it does. Who wants several metrics of
one matrix makes the rank table once and calls its methods, or `evaluate`. Undefined is NaN: a class without positives
(all), a class without negatives (ROC-AUC).
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
from vltr_eval._engine.rank_scan import NaNScore, find_positive_scores, rank_scan
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
    scores: Any, labels: Any, *, absent: str = "nan", sample_weight: Any = None, threads: int | None = None
) -> np.ndarray:
    """Average precision of each class: the area under its step-wise precision-recall curve.

    scores: (N, C) real array; anything that orders the samples. labels: (N, C) of 0/1, dense or sparse; a row may have
    several positives or none. sample_weight: (N,) finite weights, not negative, in the place of counts.
    Returns (C,) float64; a class without positives (or whose positives weigh nothing) is NaN, or 0 with
    ``absent="zero"``. Raises ValueError naming row and class for a NaN score or a label other than 0/1.

    Equal scores are one threshold, so row order cannot change the result. Equal to scikit-learn's
    average_precision_score.

    >>> average_precision(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]))
    array([0.83333333])
    """
    if sample_weight is None:
        return rank_table(scores, labels, threads=threads).average_precision(absent=absent)
    value = absent_value(absent)
    matrix, positives = read_matrix_and_positives(scores, labels, threads)
    weights = _read_weights(sample_weight, matrix)
    core = weights.core if isinstance(weights, Matrix) else weights
    try:
        out = _core.weighted_average_precision(matrix.core, *positives.core_for(matrix), core, num_threads(threads))
    except _core.BadValue as error:
        argument, row, col = error.args
        if argument == "scores":
            raise NaNScore(row, col) from None
        raise _bad_weight(float(weights.value(row, 0)), row) from None
    undefined = np.isnan(out)
    for c in np.flatnonzero(undefined & (positives.counts > 0)):
        _check_weight_of_class(weights, positives.rows_of(c), c)
    return np.where(undefined, value, out)


def _check_weight_of_class(weights: np.ndarray | Matrix, rows: np.ndarray, class_index: int) -> None:
    """Raises ValueError where the core, which sums in units of 2^-90 of the largest weight, saw 0 for the positives."""
    if isinstance(weights, Matrix):
        weights = np.concatenate([to_host(as_columns(shard)).to_numpy()[:, 0] for shard in weights.shards])
    heaviest = weights[rows].max()
    if heaviest > 0:
        raise ValueError(
            f"sample_weight: expected a positive of class {class_index} that weighs more than 2^-90 of the largest "
            f"weight, {weights.max()}, got at most {heaviest}"
        )


def _read_weights(sample_weight: Any, scores: Matrix) -> np.ndarray | Matrix:
    """(N,) float64, checked; or on a device the column as it is, which is checked and converted there."""
    if scores.device.index is not None:
        column = borrow("sample_weight", sample_weight)
        common_device(scores=scores, sample_weight=column)
        _check_weights_shape(column.shape, scores.num_rows)
        return borrow_matrix("sample_weight", column)
    weights = read_numbers("sample_weight", sample_weight)
    if weights.dtype.kind not in "biuf":
        raise TypeError(f"sample_weight: expected real numbers, got {weights.dtype}")
    _check_weights_shape(weights.shape, scores.num_rows)
    weights = np.ascontiguousarray(weights, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        raise _bad_weight(weights[bad[0]], bad[0])
    return weights


def _check_weights_shape(shape: tuple[int, ...], num_rows: int) -> None:
    if shape != (num_rows,):
        raise ValueError(f"sample_weight: expected shape ({num_rows},) as scores has rows, got {shape}")


def _bad_weight(weight: float, row: int) -> ValueError:
    return ValueError(f"sample_weight: expected finite weights that are not negative, got {weight} at row {row}")


def mean_average_precision(
    scores: Any, labels: Any, *, absent: str = "nan", sample_weight: Any = None, threads: int | None = None
) -> float:
    """Mean of `average_precision` over the defined classes (over all of them with ``absent="zero"``): a float.

    >>> mean_average_precision(np.float32([[.9, .1], [.8, .2], [.7, .3]]), np.uint8([[1, 0], [0, 0], [1, 0]]))
    0.8333333333333333
    """
    return mean_of_defined(
        average_precision(scores, labels, absent=absent, sample_weight=sample_weight, threads=threads)
    )


def roc_auc(scores: Any, labels: Any, *, threads: int | None = None) -> np.ndarray:
    """Area under the ROC curve of each class: the chance that a positive outscores a negative, ties counting one half.

    Returns (C,) float64; a class without positives or without negatives is NaN.

    >>> roc_auc(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]))
    array([0.5])
    """
    return rank_table(scores, labels, threads=threads).roc_auc()


def expected_sampled_average_precision(
    scores: Any, labels: Any, *, absent: str = "nan", threads: int | None = None
) -> np.ndarray:
    """Exact SAP: the mean of `sampled_average_precision` over infinitely many trials, in closed form.

    The number of drawn negatives above a threshold is hypergeometric, so SAP has no sampling noise to pay for
    (csrc/core/sap_core.hpp has the formula). Returns (C,) float64, undefined as `average_precision`.

    >>> expected_sampled_average_precision(np.arange(6, 0, -1.)[:, None], np.uint8([[0], [1], [0], [0], [1], [0]]))
    array([0.66666667])
    """
    return rank_table(scores, labels, threads=threads).expected_sampled_average_precision(
        absent=absent, threads=threads
    )


def calibrated_average_precision(
    scores: Any, labels: Any, *, prevalence: float = 0.5, absent: str = "nan", threads: int | None = None
) -> np.ndarray:
    """Average precision at a stated class prevalence, so that classes of different frequency can be compared.

    Precision is restated as pi TPR / (pi TPR + (1 - pi) FPR) with pi = ``prevalence`` (Siblini et al., "Master your
    metrics with calibration", 2020); at the class's own prevalence it is AP. Returns (C,) float64; 1 for a class
    without negatives.

    >>> calibrated_average_precision(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]))
    array([0.75])
    """
    return rank_table(scores, labels, threads=threads).calibrated_average_precision(prevalence, absent=absent)


def precision_recall_curve(scores: Any, labels: Any, *, threads: int | None = None) -> list[PrecisionRecallCurve]:
    """The step-wise curve of each class at its positives' distinct scores, thresholds descending.

    Thresholds at other scores would add points of equal recall and lower precision only.

    >>> precision_recall_curve(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]))[0].precision
    array([1.        , 0.66666667])
    """
    table = rank_table(scores, labels, threads=threads)
    return [table.precision_recall_curve(c) for c in range(table.num_classes)]


def precision_at_recall(scores: Any, labels: Any, *, recall: float, threads: int | None = None) -> np.ndarray:
    """Best precision among the thresholds with at least this recall: (C,) float64.

    >>> precision_at_recall(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]), recall=0.6)
    array([0.66666667])
    """
    return rank_table(scores, labels, threads=threads).precision_at_recall(recall)


def recall_at_precision(scores: Any, labels: Any, *, precision: float, threads: int | None = None) -> np.ndarray:
    """Best recall among the thresholds with at least this precision, 0 when there is none: (C,) float64.

    >>> recall_at_precision(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]), precision=0.9)
    array([0.5])
    """
    return rank_table(scores, labels, threads=threads).recall_at_precision(precision)


def tie_rate(scores: Any, labels: Any, *, threads: int | None = None) -> np.ndarray:
    """Share of each class's positives whose score is also a negative's: (C,) float64.

    Much above 0 it tells of a saturated sigmoid or of low precision, and the order of rows would decide other
    libraries' AP.

    >>> tie_rate(np.float32([[.9], [.9], [.7]]), np.uint8([[1], [0], [1]]))
    array([0.5])
    """
    return rank_table(scores, labels, threads=threads).tie_rate()


def tie_interval(scores: Any, labels: Any, *, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """How far the order of tied rows could move the AP of each class: lower (C,), upper (C,) float64.

    >>> tie_interval(np.float32([[.9], [.9]]), np.uint8([[1], [0]]))
    (array([0.5]), array([1.]))
    """
    return rank_table(scores, labels, threads=threads).tie_interval()


def positive_scores(scores: Any, labels: Any, *, threads: int | None = None) -> PositiveScores:
    """The distinct scores of the positives of each class: what shards exchange before they count.

    Merge those of all shards, then count each shard with ``rank_table(..., thresholds=merged)``: the merged tables are
    the table of the whole. Inputs as `rank_table`. Only the scores of
    positives are read.
    """
    return find_positive_scores(*read_matrix_and_positives(scores, labels, threads), threads=threads)


def rank_table(
    scores: Any, labels: Any, *, thresholds: PositiveScores | None = None, threads: int | None = None
) -> RankTable:
    """The rank table of each class: a few integers per positive, from which every metric follows.

    scores: (N, C) array of any real dtype, anything that orders the samples (raw logits are best: a saturated sigmoid
    makes ties); (N,) for one class; or a list of row shards. labels: see `Positives.from_labels`. thresholds: the
    scores to count against instead of those of ``labels`` (see `positive_scores`). Raises ValueError naming row and
    class for a NaN score or a label other than 0/1.

    Time O(N C) plus O(P log P) a class; extra memory O(positives).
    """
    matrix, positives = read_matrix_and_positives(scores, labels, threads)
    return rank_scan(matrix, positives, thresholds=thresholds, threads=threads).table
