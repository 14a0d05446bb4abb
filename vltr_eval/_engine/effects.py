"""Effects of single rows on metrics: what standard errors, intervals and paired comparisons are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import Matrix, num_threads
from vltr_eval._base.progress import Progress
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_scan import NaNScore
from vltr_eval._engine.rank_table import RankTable, checked_prevalence, to_compare_keys

__all__ = ["METRICS", "RowEffects", "class_variances", "clustered_variances", "paired_variances", "row_effects"]

METRICS = ("average_precision", "roc_auc", "expected_sampled_average_precision", "calibrated_average_precision")


@dataclass(frozen=True, eq=False)
class RowEffects:
    """The drop-one effect of each row: a metric without the row minus the metric with it, summed over classes.

    Args:
        metrics: Names of `METRICS`.
        sums: (N, G, M) int64; ``sums[i, g, m] * 2.0 ** -exponents[m]`` is the sum over the classes of group g of the
            effect of row i on metric m. All of a row's sums together stay below 2^47.
        exponents: (M,) int64, a function of the rank table alone, so that all chunks of a data set have the same.
    """

    metrics: tuple[str, ...]
    sums: np.ndarray
    exponents: np.ndarray

    def __repr__(self) -> str:
        rows, groups, _ = self.sums.shape
        return f"<RowEffects of {rows} rows on {', '.join(self.metrics)} of {groups} groups>"


def row_effects(
    scores: Matrix,
    positives: Positives,
    table: RankTable,
    groups: np.ndarray,
    metrics: Sequence[str],
    *,
    prevalence: float = 0.5,
    threads: int | None = None,
    progress: Progress | None = None,
) -> RowEffects:
    """Sum the drop-one effects of each row over the classes of each group, in one pass over the scores.

    A row's sums have the same bits for any chunk, order of rows, thread count and device. A class whose metric is
    undefined adds 0, and so does a row without which it would be: the only positive of a class, and for ROC-AUC its
    only negative. A class adds nothing to a row that does not know it.

    Args:
        scores: All rows of a data set, or a chunk of them.
        positives: Those of the same rows.
        table: The rank table of all rows.
        groups: (C,) int64, the group of each class from 0 to G - 1.
        metrics: Names of `METRICS`.
        prevalence: The class prevalence at which calibrated AP is restated.
        threads: Number of threads; None for the default.
        progress: Called with the fraction done, from the calling thread.

    Raises:
        ValueError: A score is NaN (its row and class are named), or the table is not that of the data set.
    """
    _check_table(scores, positives, table, is_part=True)
    if positives.num_rows > table.num_rows:
        raise ValueError(
            f"table: expected the rank table of all rows, got one of {table.num_rows} rows for {positives.num_rows}"
        )
    if groups.shape != (table.num_classes,) or groups.min() < 0:
        raise ValueError(f"groups: expected a number from 0 for each of {table.num_classes} classes")
    num_groups = int(groups.max()) + 1
    try:
        flat, exponents = _core.row_effects(  # type: ignore[call-overload]  # positives are two arguments, or one
            *positives.core_with(scores),
            _columns(table, scores),
            table.num_rows,
            np.ascontiguousarray(groups, np.int64),
            num_groups,
            [_number(metric) for metric in metrics],
            checked_prevalence(prevalence),
            num_threads(threads),
            progress,
            *_unknown_of(table),
        )
    except _core.BadValue as error:
        raise NaNScore(*error.args[1:]) from None
    return RowEffects(tuple(metrics), flat.reshape(scores.num_rows, num_groups, len(metrics)), exponents)


def class_variances(
    table: RankTable, metric: str, *, prevalence: float = 0.5, threads: int | None = None
) -> np.ndarray:
    """Estimate the variance of a metric of each class from its rank table: (C,) float64.

    AP and calibrated AP have the sum of squared influences. ROC-AUC has DeLong's variance. Expected sampled AP has the
    jackknife, (N - 1)/N times the sum of squared deviations of drop-one effects. Classes whose metric is undefined
    have NaN, and so has the ROC-AUC of a class with one positive or one negative. N is the number of rows that know the
    class, so the variance is that of a test set of these rows.
    """
    columns = (table.indptr, table.tp, table.fp, table.tied)
    return _core.class_variances(
        *columns,
        table.num_rows,
        _number(metric),
        checked_prevalence(prevalence),
        num_threads(threads),
        *_unknown_of(table),
    )


def clustered_variances(
    scores: Matrix,
    positives: Positives,
    table: RankTable,
    metric: str,
    clusters: np.ndarray,
    *,
    prevalence: float = 0.5,
    threads: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Estimate the variance of a metric of each class where rows come in clusters: (C,) float64.

    The influences of rows (for expected sampled AP the deviations of their drop-one effects from the mean) are summed
    within clusters. The variance is the sum of the squares of these sums, times G/(G - 1), where G is the number of
    clusters with a positive of the class. It is NaN where the metric is undefined, and where G is 1.

    clusters: (N,) integers, equal for rows of one cluster. Its other arguments are those of `row_effects`, with scores
    of all rows.
    """
    _check_table(scores, positives, table)
    numbers, count = _number_clusters(clusters, scores.num_rows)
    known, offset, rows = _in_cpu_memory("scores", scores, positives)
    try:
        return _core.clustered_variances(
            known,
            _columns(table, scores),
            offset,
            rows,
            numbers,
            count,
            _number(metric),
            checked_prevalence(prevalence),
            num_threads(threads),
            progress,
        )
    except _core.BadValue as error:
        raise NaNScore(*error.args[1:]) from None


def paired_variances(
    scores_a: Matrix,
    table_a: RankTable,
    scores_b: Matrix,
    table_b: RankTable,
    positives: Positives,
    metric: str,
    *,
    clusters: np.ndarray | None = None,
    prevalence: float = 0.5,
    threads: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Estimate the variance of the difference of a metric of each class between two models: (C,) float64.

    Both models have scored the same rows, in any two dtypes. Sums are exact: the variance has the same bits for any
    order of rows, shards and threads, and is zero for models that rank alike.

    AP and calibrated AP have P/(P - 1) times the sum of squared differences of influences, NaN for P = 1. ROC-AUC has
    DeLong's variance of a difference. Expected sampled AP has the jackknife of differences of drop-one effects. With
    clusters it is that of `clustered_variances`, for differences.

    Raises:
        ValueError: A score is NaN (the model, row and class are named), or a table is not that of its scores.
    """
    if (scores_b.num_rows, scores_b.num_classes) != (scores_a.num_rows, scores_a.num_classes):
        raise ValueError(
            f"scores_b: expected the shape of scores_a, ({scores_a.num_rows}, {scores_a.num_classes}), got "
            f"({scores_b.num_rows}, {scores_b.num_classes})"
        )
    _check_table(scores_a, positives, table_a)
    _check_table(scores_b, positives, table_b)
    numbers, count = (None, 0) if clusters is None else _number_clusters(clusters, scores_a.num_rows)
    known_a, offset, rows = _in_cpu_memory("scores_a", scores_a, positives)
    known_b, *_ = _in_cpu_memory("scores_b", scores_b, positives)
    try:
        return _core.paired_variances(
            known_a,
            _columns(table_a, scores_a),
            known_b,
            _columns(table_b, scores_b),
            offset,
            rows,
            numbers,
            count,
            _number(metric),
            checked_prevalence(prevalence),
            num_threads(threads),
            progress,
        )
    except _core.BadValue as error:
        name, row, col = error.args
        raise ValueError(f"{name}: expected numbers, got NaN at row {row}, class {col}") from None


def _number_clusters(clusters: np.ndarray, num_rows: int) -> tuple[np.ndarray, int]:
    """The clusters numbered from 0, and how many there are."""
    if clusters.shape != (num_rows,):
        raise ValueError(f"clusters: expected one for each of {num_rows} rows, got shape {clusters.shape}")
    known, numbers = np.unique(clusters, return_inverse=True)
    return numbers.astype(np.uint32), len(known)


def _number(metric: str) -> int:
    if metric not in METRICS:
        raise ValueError(f"metric: expected one of {', '.join(METRICS)}, got {metric!r}")
    return METRICS.index(metric)


def _columns(table: RankTable, scores: Matrix) -> tuple[Any, ...]:
    """The table as the core takes it beside scores."""
    keys = to_compare_keys(table.thresholds, scores.dtype)
    return table.indptr, keys, table.tp, table.fp, table.tied


def _unknown_of(table: RankTable) -> tuple[np.ndarray, ...]:
    """The last argument of core operations on a table, if some of its cells are unknown."""
    return () if table.unknown is None else (table.unknown,)


def _check_table(scores: Matrix, positives: Positives, table: RankTable, *, is_part: bool = False) -> None:
    """Raise ValueError unless a table is that of the labels, or, with is_part, of these and others."""
    if scores.num_classes != table.num_classes or positives.num_classes != table.num_classes:
        raise ValueError(
            f"table: expected the {scores.num_classes} classes of scores and {positives.num_classes} of labels, got "
            f"{table.num_classes}"
        )
    expected = np.zeros(table.num_classes, np.int64) if positives.unknown is None else positives.unknown.counts
    counted = np.zeros(table.num_classes, np.int64) if table.unknown is None else table.unknown
    fits = expected <= counted if is_part else expected == counted
    if not fits.all():
        c = int(np.argmin(fits))
        raise ValueError(
            f"table: expected the rank table of labels with {expected[c]} unknown cells of class {c}, got one with "
            f"{counted[c]}; count it with the same mask"
        )


def _in_cpu_memory(name: str, scores: Matrix, positives: Positives) -> tuple[Any, ...]:
    """The matrix and the labels as the core takes them. A copy from a device is the caller's, because it is large."""
    if scores.device.index is not None:
        raise ValueError(f"{name}: expected an array in CPU memory, got one on {scores.device}; pass {name}.cpu()")
    return positives.core_with(scores)
