"""Hits: the rows whose best label is among their k highest scores, counted for Acc@k."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import num_threads
from vltr_eval._engine.labels import Positives


def check_topk(k: int | Iterable[int], name: str = "k") -> tuple[int, ...]:
    """Distinct positive integers, ascending; ``name`` is what the caller calls them."""
    values = tuple(k) if isinstance(k, Iterable) and not isinstance(k, str) else (k,)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name}: expected positive integers, got {value!r}")
    return tuple(sorted({int(value) for value in values}))


_LARGEST_RANK = 2**31 - 1  # of an int32; there are fewer classes


@dataclass(frozen=True, eq=False)
class Hits:
    """Rows with one of their labels among their k highest scores, counted: what Acc@k is made of. Adds over shards.

    topk: the K values of k; labelled: rows with a label; rows: (K,) int64 hits; classes: (K, C) int64, hits among the
    positive rows of each class, by whichever label (as the published code of MOVE counts them).
    """

    topk: tuple[int, ...]
    labelled: int
    rows: np.ndarray
    classes: np.ndarray

    @classmethod
    def from_ranks(
        cls, ranks: np.ndarray | None, positives: Positives, topk: tuple[int, ...], *, threads: int | None = None
    ) -> Hits:
        """Counts the ranks of a scan: (N,) int32, -1 without label; None where no k is requested."""
        if ranks is None:
            has_label = np.zeros(positives.num_rows, bool)
            has_label[positives.rows] = True
            rows, classes = np.zeros(len(topk), np.int64), np.zeros((len(topk), positives.num_classes), np.int64)
            return cls(topk, int(np.count_nonzero(has_label)), rows, classes)
        below = [min(k, _LARGEST_RANK) for k in topk]
        return cls(topk, *_core.count_hits(ranks, positives.indptr, positives.rows, below, num_threads(threads)))

    def rate(self, k: int) -> float:
        """Acc@k over the labelled rows; NaN without any."""
        return float(self.rows[self.topk.index(k)] / self.labelled) if self.labelled else float("nan")

    def rate_per_class(self, k: int, num_positives: np.ndarray) -> np.ndarray:
        """Share of each class's rows that are hits at k: (C,) float64, NaN without positives."""
        hits = self.classes[self.topk.index(k)]
        rate = np.full(len(hits), np.nan)
        np.divide(hits, num_positives, out=rate, where=num_positives > 0)
        return rate
