"""Counts at all distinct scores of each class, from which ROC and precision-recall curves follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import Matrix, num_threads
from vltr_eval._engine.inputs import read_matrix_and_positives
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_scan import NaNScore
from vltr_eval._engine.rank_table import to_compare_keys

__all__ = ["CurveRequest", "ScoreCurves", "find_curves", "score_curves"]

_KEPT = ("all", "hit_changes", "corners")  # in the order of the core


class CurveRequest(NamedTuple):
    """Which thresholds a curve has.

    Args:
        keep: "all", or those that `score_curves` lists.
        from_lowest: Count from the lowest kept threshold instead of the highest.
        first: The number of the first threshold that is taken, from 0.
        step: Take every ``step``-th one after it.
    """

    keep: str = "all"
    from_lowest: bool = False
    first: int = 0
    step: int = 1


@dataclass(frozen=True, eq=False)
class ScoreCurves:
    """Counts at distinct scores, class after class, thresholds descending in each.

    Args:
        indptr: (C + 1,) int64; class c has the thresholds ``indptr[c]`` to ``indptr[c + 1]``.
        thresholds: (K,) distinct scores: float32, float64, int64 or uint64, the type that holds them exactly.
        tp: (K,) int64 positives that score at least the threshold.
        reached: (K,) int64 rows that score at least the threshold.
        kept: (C,) int64 thresholds of each class, before every ``step``-th one was taken.
        num_positives: (C,) int64.
        num_rows: (C,) int64 rows that each class knows.
    """

    indptr: np.ndarray
    thresholds: np.ndarray
    tp: np.ndarray
    reached: np.ndarray
    kept: np.ndarray
    num_positives: np.ndarray
    num_rows: np.ndarray

    def __repr__(self) -> str:
        return f"<ScoreCurves of {len(self.kept)} classes, {len(self.thresholds)} thresholds>"

    @property
    def fp(self) -> np.ndarray:
        """(K,) int64 negatives that score at least the threshold."""
        return np.asarray(self.reached - self.tp)


def score_curves(
    scores: Any, labels: Any, *, keep: str = "all", mask: Any = None, unknown: Any = None, threads: int | None = None
) -> ScoreCurves:
    """Count positives and rows at every distinct score of each class.

    `vltr_eval.rank_table` has the scores of positives alone, which all metrics need. This has the scores of negatives
    as well, as scikit-learn's curves have.

    Args:
        scores: (N, C) array of any real dtype in CPU memory; see `vltr_eval.rank_table`.
        labels: Labels of the rows; see there.
        keep: "all"; "hit_changes" for the thresholds at which the positives differ from those of a neighbour;
            "corners" for those at which the ROC curve changes its direction. The first and the last are always kept.
        mask: Which labels are known; see `vltr_eval.evaluate`. Unknown cells are left out of their class.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        The counts.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> curves = score_curves(np.float32([[.9], [.8], [.8], [.1]]), np.uint8([[1], [0], [1], [0]]))
        >>> curves.tp.tolist(), curves.fp.tolist()
        ([1, 2, 2], [0, 1, 2])
    """
    matrix, positives = read_matrix_and_positives(scores, labels, threads, mask, unknown)
    return find_curves(matrix, positives, [CurveRequest(keep)], threads=threads)[0]


def find_curves(
    scores: Matrix,
    positives: Positives,
    requests: Sequence[CurveRequest],
    *,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[ScoreCurves]:
    """Compute several curves of each class from one sort. Raises ValueError naming row and class of a NaN."""
    for request in requests:
        if request.keep not in _KEPT:
            raise ValueError(f"keep: expected one of {', '.join(_KEPT)}, got {request.keep!r}")
    if scores.device.index is not None:
        raise ValueError(f"scores: expected an array in CPU memory, got one on {scores.device}; pass scores.cpu()")
    known, offset, rows = positives.core_with(scores)
    wanted = [(_KEPT.index(request.keep), *request[1:]) for request in requests]
    try:
        found = _core.score_curves(known, offset, rows, wanted, num_threads(threads), progress)
    except _core.BadValue as error:
        raise NaNScore(*error.args[1:]) from None
    num_rows = np.full(scores.num_classes, scores.num_rows, np.int64)
    if positives.unknown is not None:
        num_rows -= positives.unknown.counts
    return [
        ScoreCurves(indptr, to_compare_keys(keys, scores.dtype), tp, reached, kept, positives.counts, num_rows)
        for indptr, keys, tp, reached, kept in found
    ]
