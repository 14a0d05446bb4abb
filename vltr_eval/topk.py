"""Acc@k: whether one of a row's labels is among its k highest scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from vltr_eval.labels import Positives
from vltr_eval.scan import read_inputs, scan

__all__ = ["topk_accuracy"]


def check_topk(k: int | Iterable[int], name: str = "k") -> tuple[int, ...]:
    """Distinct positive integers, ascending; ``name`` is what the caller calls them."""
    values = tuple(k) if isinstance(k, Iterable) and not isinstance(k, str) else (k,)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name}: expected positive integers, got {value!r}")
    return tuple(sorted({int(value) for value in values}))


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
    matrix, positives = read_inputs(scores, labels, threads)
    ranks = scan(matrix, positives, ranks=True, threads=threads).ranks
    return {value: hit_rate(ranks, value) for value in values}


def hit_rate(ranks: np.ndarray, k: int) -> float:
    """Acc@k from the ranks of a scan: (N,) int32, -1 without label."""
    labelled = int(np.count_nonzero(ranks >= 0))
    return float(np.count_nonzero((ranks >= 0) & (ranks < k)) / labelled) if labelled else float("nan")


def hit_rate_per_class(ranks: np.ndarray, positives: Positives, k: int) -> np.ndarray:
    """Share of each class's rows that are hits at k, by whichever label: (C,) float64, NaN without positives.

    As the published code of MOVE counts it: each label of a row inherits the row's hit.
    """
    hits = np.concatenate([[0], np.cumsum(ranks[positives.rows] < k)])
    counts = positives.counts
    hits_of_class = hits[positives.indptr[1:]] - hits[positives.indptr[:-1]]
    return np.divide(hits_of_class, counts, out=np.full(len(counts), np.nan), where=counts > 0)
