"""Ranks of positives where equal scores are ordered one after another, as code that sorts rows orders them."""

from __future__ import annotations

from typing import Any

import numpy as np

from vltr_eval._base.arrays import read_numbers
from vltr_eval._engine.inputs import read_matrix_and_positives
from vltr_eval._engine.positive_ranks import TIE_ORDERS, PositiveRanks
from vltr_eval._engine.rank_scan import rank_scan

__all__ = ["positive_ranks"]


def positive_ranks(
    scores: Any, labels: Any, *, order: str = "rows", mask: Any = None, unknown: Any = None, threads: int | None = None
) -> PositiveRanks:
    """Rank the positives of each class, with an order for equal scores.

    Args:
        scores: (N, C) array of any real dtype; see `vltr_eval.rank_table`.
        labels: Labels of the rows; see there.
        order: The one of equal scores that ranks first: "rows" the one of the lower row, as a stable sort in descending
            order; "reversed" the one of the higher row, as a stable ascending sort that is then reversed; "worst" the
            negatives; "best" the positives. "worst" and "best" are the ends between which every order lies.
        mask: Which labels are known; see `vltr_eval.evaluate`. Unknown cells have no rank.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        The ranks.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, an order that is not there, or shapes that do not fit.

    Example:
        >>> scores, labels = np.float32([[.9], [.5], [.5], [.5]]), np.uint8([[0], [0], [1], [0]])
        >>> orders = "rows", "reversed", "worst", "best"
        >>> [positive_ranks(scores, labels, order=order).ranks.item() for order in orders]
        [3, 3, 4, 2]
    """
    if order not in TIE_ORDERS:
        raise ValueError(f"order: expected one of {', '.join(TIE_ORDERS)}, got {order!r}")
    matrix, positives = read_matrix_and_positives(scores, labels, threads, mask, unknown)
    table = rank_scan(matrix, positives, threads=threads).table
    per_class = np.diff(table.indptr)
    first = np.repeat(table.indptr[:-1], per_class) == np.arange(len(table.tp))
    before = np.where(first, 0, np.concatenate([[0], table.tp[:-1]]))
    size = table.tp - before
    group = np.repeat(np.arange(len(size)), size)  # the threshold of each positive
    indptr = np.concatenate([[0], np.cumsum(table.num_positives)])
    number = np.arange(len(group)) - np.repeat(indptr[:-1], table.num_positives) + 1
    ranks = number + (table.fp - table.tied)[group]
    if order == "worst":
        ranks += table.tied[group]
    elif order != "best":
        cells = read_numbers("scores", scores)
        for c in range(table.num_classes):
            part = slice(table.indptr[c], table.indptr[c + 1])
            if table.tied[part].any():
                column = cells[:, c]
                known = np.ones(len(column), bool) if positives.unknown is None else ~positives.unknown.flags_of(c)
                rows = np.flatnonzero(known)
                if order == "reversed":
                    rows = rows[::-1]
                sorted_rows = rows[np.argsort(-column[rows].astype(np.float64), kind="stable")]
                ranks[indptr[c] : indptr[c + 1]] = np.flatnonzero(np.isin(sorted_rows, positives.rows_of(c))) + 1
    return PositiveRanks(matrix.num_rows, indptr, ranks)
