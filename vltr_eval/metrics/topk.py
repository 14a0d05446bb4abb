"""Acc@k: whether one of a row's labels is among its k highest scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vltr_eval._engine.hits import Hits, check_topk
from vltr_eval._engine.inputs import read_matrix_and_positives
from vltr_eval._engine.rank_scan import rank_scan

__all__ = ["topk_accuracy"]


def topk_accuracy(
    scores: Any, labels: Any, *, k: int | Iterable[int] = (1, 5), threads: int | None = None
) -> dict[int, float]:
    """Share of the labelled rows with one of their labels among their k highest scores (hit@k), for each k.

    scores, labels: see `rank_table`. Equal scores rank by the lower class index. Rows without labels are left out;
    without any labelled row the result is NaN. A k above the number of classes counts every labelled row.

    >>> topk_accuracy(np.float32([[.9, .8, .1], [.2, .3, .1]]), [[1], [1]], k=(1, 2))
    {1: 0.5, 2: 1.0}
    """
    values = check_topk(k)
    matrix, positives = read_matrix_and_positives(scores, labels, threads)
    hits = Hits.of(rank_scan(matrix, positives, ranks=True, threads=threads).ranks, positives, values)
    return {value: hits.rate(value) for value in values}
