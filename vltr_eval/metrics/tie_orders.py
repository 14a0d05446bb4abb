"""Ranks of positives where equal scores are ordered one after another, as code that sorts rows orders them."""

from __future__ import annotations

from typing import Any

from vltr_eval._engine.inputs import read_matrix_and_positives
from vltr_eval._engine.positive_ranks import TIE_ORDERS, PositiveRanks, rank_positives
from vltr_eval._engine.rank_scan import rank_scan

__all__ = ["PositiveRanks", "positive_ranks"]


def positive_ranks(
    scores: Any, labels: Any, *, order: str = "rows", mask: Any = None, unknown: Any = None, threads: int | None = None
) -> PositiveRanks:
    """Rank the positives of each class, with an order for equal scores.

    Args:
        scores: (N, C) array of any real dtype, or what else `vltr_eval.rank_table` takes. If scores are on a device,
            "rows" and "reversed" copy the classes whose positives tie with negatives to the host.
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
    return rank_positives(matrix, positives, table, order, threads=threads)
