"""The pass over the scores: the rank table, and on request sampled AP and the rank of each row's best label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arguments import check_seed
from vltr_eval._base.arrays import Matrix, borrow_matrix, num_threads
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_table import DeviceRankTable, PositiveScores, RankTable, to_compare_keys

__all__ = ["NaNScore", "RankScanResult", "count_reached", "find_positive_scores", "rank_scan", "scan_metric"]


@dataclass(frozen=True, eq=False)
class RankScanResult:
    """The results of one pass. ``trials`` (T, C) float64 and ``ranks`` (N,) int32 are None unless requested.

    trials[t, c]: AP of class c in trial t, NaN without positives. ranks[n]: classes that rank before the best label of
    row n, so that it is among the k highest when ranks[n] < k; -1 for a row without label. Unknown cells have no rank.
    """

    table: RankTable
    trials: np.ndarray | None
    ranks: np.ndarray | None


class NaNScore(ValueError):
    """A score that is NaN: the message and the attributes name its row and class."""

    def __init__(self, row: int, col: int) -> None:
        super().__init__(f"scores: expected numbers, got NaN at row {row}, class {col}")
        self.row, self.col = row, col


def rank_scan(
    scores: Any,
    positives: Positives,
    *,
    trials: int = 0,
    seed: int = 0,
    ranks: bool = False,
    thresholds: PositiveScores | None = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> RankScanResult:
    """Read the scores once for everything that is requested.

    scores: (N, C) array of any real dtype, (N,) for one class, or a list of row shards. trials: of sampled AP, 0 for
    none. thresholds: scores of all shards' positives (`positive_scores`), to count this shard against; its table can
    then be merged. progress: called with the fraction done, from the calling thread. Raises ValueError naming row
    and class of a NaN.
    """
    matrix = borrow_matrix("scores", scores)
    positives = Positives.from_labels(positives, matrix.num_rows, matrix.num_classes)
    given = None
    if thresholds is not None:
        if trials:
            raise ValueError("trials: expected 0 with given thresholds: negatives are drawn from all rows, got a shard")
        given = _given(thresholds, matrix)
    try:
        found: Any
        found, trial_matrix, rank = _core.rank_scan(  # type: ignore[call-overload]  # positives are two arguments, or one
            *positives.core_with(matrix),
            trials=trials,
            seed=check_seed(seed),
            ranks=ranks,
            given=given,
            threads=num_threads(threads),
            progress=progress,
        )
    except _core.BadValue as error:
        raise NaNScore(*error.args[1:]) from None
    unknown = None if positives.unknown is None else positives.unknown.counts
    table: RankTable
    if matrix.device.index is None:
        indptr, keys, *counts = found
        table = RankTable(matrix.num_rows, indptr, to_compare_keys(keys, matrix.dtype), *counts, unknown=unknown)
    else:
        table = DeviceRankTable(matrix.num_rows, matrix.dtype, found, unknown)
    return RankScanResult(table, trial_matrix, rank)


def scan_metric(scores: Matrix, positives: Positives, metric: str, *, threads: int | None = None) -> np.ndarray:
    """Return a metric of each class: (C,) float64.

    metric: average_precision, roc_auc or expected_sampled_average_precision, a method of `RankTable`. In CPU memory no
    table is made. A class with many positives would have a large one. Raises ValueError naming row and class of a NaN.
    """
    if scores.device.index is not None:
        values: np.ndarray = getattr(rank_scan(scores, positives, threads=threads).table, metric)()
        return values
    known, offset, rows = positives.core_with(scores)
    try:
        return _core.scan_metric(known, offset, rows, metric, num_threads(threads))
    except _core.BadValue as error:
        raise NaNScore(*error.args[1:]) from None


def _given(thresholds: PositiveScores, matrix: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds as core operations on a matrix take them."""
    thresholds.check_fits(matrix.num_classes, matrix.dtype)
    return thresholds.indptr, to_compare_keys(thresholds.scores, matrix.dtype)


def count_reached(
    matrix: Matrix, rows: np.ndarray, classes: np.ndarray, thresholds: PositiveScores, *, threads: int | None = None
) -> np.ndarray:
    """How many thresholds of its class the score of each cell (rows[i], classes[i]) reaches: (M,) uint32."""
    row, cls = (np.ascontiguousarray(cell, np.uint32) for cell in (rows, classes))
    return _core.count_reached(matrix.core, row, cls, _given(thresholds, matrix), num_threads(threads))


def find_positive_scores(matrix: Matrix, positives: Positives, *, threads: int | None = None) -> PositiveScores:
    """Return the distinct scores of the positives of each class. Raises ValueError naming row and class of a NaN."""
    try:
        of_positives: Any = positives.core_with(matrix)  # three arguments, or two
        found: Any = _core.positive_scores(*of_positives, num_threads(threads))  # type: ignore[call-overload]
        indptr, keys, *_ = found
    except _core.BadValue as error:
        raise NaNScore(*error.args[1:]) from None
    return PositiveScores(indptr, to_compare_keys(keys, matrix.dtype))
