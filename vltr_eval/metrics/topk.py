"""Acc@k: whether one of a row's labels is among its k highest scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vltr_eval._engine.hits import Hits, check_topk
from vltr_eval._engine.inputs import read_matrix_and_positives
from vltr_eval._engine.rank_scan import rank_scan

__all__ = ["topk_accuracy"]


def topk_accuracy(
    scores: Any,
    labels: Any,
    *,
    k: int | Iterable[int] = (1, 5),
    mask: Any = None,
    unknown: Any = None,
    threads: int | None = None,
) -> dict[int, float]:
    """Compute Acc@k (hit@k): the share of labelled rows with one of their labels among their k highest scores.

    Equal scores rank by the lower class index. Rows without labels are left out.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        k: One value of k, or several. A k above the number of classes counts every labelled row.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        The share for each k, ascending; NaN without any labelled row.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> topk_accuracy(np.float32([[.9, .8, .1], [.2, .3, .1]]), [[1], [1]], k=(1, 2))
        {1: 0.5, 2: 1.0}
    """
    values = check_topk(k)
    matrix, positives = read_matrix_and_positives(scores, labels, threads, mask, unknown)
    hits = Hits.from_ranks(rank_scan(matrix, positives, ranks=True, threads=threads).ranks, positives, values)
    return {value: hits.rate(value) for value in values}
