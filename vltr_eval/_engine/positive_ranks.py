"""The rank of every positive under an order of equal scores, and the average precisions that follow from ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["TIE_ORDERS", "PositiveRanks"]

TIE_ORDERS = ("rows", "reversed", "worst", "best")


@dataclass(frozen=True, eq=False)
class PositiveRanks:
    """The ranks of the positives of each class, 1 for the highest score, ascending, class after class.

    Args:
        num_rows: N.
        indptr: (C + 1,) int64; class c has ``ranks[indptr[c]:indptr[c + 1]]``.
        ranks: (P,) int64.
    """

    num_rows: int
    indptr: np.ndarray
    ranks: np.ndarray

    def __repr__(self) -> str:
        return f"<PositiveRanks of {self.num_classes} classes, {len(self.ranks)} positives in {self.num_rows} rows>"

    @property
    def num_classes(self) -> int:
        return len(self.indptr) - 1

    @property
    def num_positives(self) -> np.ndarray:
        """(C,) int64"""
        counts: np.ndarray = np.diff(self.indptr)
        return counts

    def precision(self) -> np.ndarray:
        """Precision at the rank of each positive: (P,) float64."""
        counts = self.num_positives
        number = np.arange(len(self.ranks)) - np.repeat(self.indptr[:-1], counts) + 1
        values: np.ndarray = number / self.ranks
        return values

    def average_precision(self) -> np.ndarray:
        """Mean of the precision at the positives of each class: (C,) float64, NaN without positives."""
        out = np.full(self.num_classes, np.nan)
        has = self.num_positives > 0
        if has.any():
            out[has] = np.add.reduceat(self.precision(), self.indptr[:-1][has]) / self.num_positives[has]
        return out
