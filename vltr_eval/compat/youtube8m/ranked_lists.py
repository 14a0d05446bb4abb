"""The ranked lists of YouTube-8M's calculators: scores of several classes that arrive in pieces, and their AP@n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vltr_eval._base.arrays import read_numbers
from vltr_eval.metrics.rank_metrics import rank_table

__all__ = ["Entries", "RankedLists"]

_COUNTED = 1e-5  # the originals count an actual above this as a positive, and one above 0 as a hit
_WAITING = 1 << 18  # scores kept before those outside the top n are dropped


class Entries(NamedTuple):
    """Scores of several classes, in any order: (K,) each."""

    classes: np.ndarray
    scores: np.ndarray
    actuals: np.ndarray


class _Ties(NamedTuple):
    """Scores and, of each, how many of its class's equal it (``sizes``), and how many of those are hits: (K,) each."""

    classes: np.ndarray
    scores: np.ndarray
    hits: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of_single(cls, classes: np.ndarray, scores: np.ndarray, hits: np.ndarray) -> _Ties:
        return cls(classes, scores, hits.astype(np.int64), np.ones(len(scores), np.int64))

    @classmethod
    def merge(cls, parts: Sequence[_Ties]) -> _Ties:
        """Sorted, classes and scores descending, each score once a class."""
        classes, scores, hits, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((scores, classes))[::-1]
        classes, scores = classes[order], scores[order]
        new = np.ones(len(order), bool)
        new[1:] = (classes[1:] != classes[:-1]) | (scores[1:] != scores[:-1])
        first = np.flatnonzero(new)
        return cls(classes[first], scores[first], *(np.add.reduceat(part[order], first) for part in (hits, sizes)))

    def sums_before(self, values: np.ndarray) -> np.ndarray:
        """For each merged tie, the sum of the values of its class that come before it."""
        before = np.cumsum(values) - values
        first = np.flatnonzero(np.diff(self.classes, prepend=-1))
        return np.asarray(before - np.repeat(before[first], np.diff(first, append=len(values))))

    def where(self, kept: np.ndarray) -> _Ties:
        return _Ties(*(column[kept] for column in self))

    def among_highest(self, n: int) -> _Ties:
        """The merged ties that begin among the n highest of their class."""
        return self.where(self.sums_before(self.sizes) < n)

    def lowest_of_full(self, num_classes: int, n: int) -> np.ndarray:
        """The least score of each class with n scores, -inf for other classes: (C,). Needs `among_highest` ties."""
        lowest = np.full(num_classes, -np.inf)
        full = self.sums_before(self.sizes) + self.sizes >= n
        lowest[self.classes[full]] = self.scores[full]
        return lowest

    def sums_of_precision(self, num_classes: int, n: int | None) -> np.ndarray:
        """The sum of the precision at the hits among the n highest of each class: (C,) float64. Needs merged ties."""
        rank, hits_before = self.sums_before(self.sizes), self.sums_before(self.hits)
        slots = self.sizes if n is None else np.minimum(self.sizes, n - rank)
        hits = self.hits * (slots / self.sizes)
        return np.bincount(self.classes, hits * (hits_before + hits) / (rank + slots), num_classes)


class _Block(NamedTuple):
    """Lists of one length, one of each class: scores (C, N), hits (C, N) bool."""

    scores: np.ndarray
    hits: np.ndarray

    def ties(self, top_n: int | None = None) -> _Ties:
        """Not merged; without those that cannot be among the ``top_n`` highest of a class."""
        num_classes, length = self.scores.shape
        kept = np.ones(self.scores.shape, bool)
        if top_n is not None and top_n < length:
            kept = self.scores >= np.partition(self.scores, length - top_n, axis=1)[:, length - top_n, None]
        classes = np.broadcast_to(np.arange(num_classes)[:, None], kept.shape)
        return _Ties.of_single(classes[kept], self.scores[kept], self.hits[kept])


class _Kept(NamedTuple):
    """All scores that are kept: matrices without top_n only, and ties."""

    blocks: tuple[_Block, ...] = ()
    ties: tuple[_Ties, ...] = ()
    num_waiting: int = 0  # in ties, since they were last merged into one


class RankedLists:
    """The ranked lists of several classes, and their AP@n.

    Whole lists of one length stay a matrix, which the rank table takes as it is. All else becomes ties; with ``top_n``
    those that cannot be among the highest are let go of as they become many.

    `copy.copy` gives lists of their own, since what a list holds is replaced and never changed. An interrupt (Ctrl-C)
    in an `add` may leave a part of a piece: add to a copy, and replace the lists by it.
    """

    def __init__(self, num_classes: int, top_n: int | None) -> None:
        self.sizes = np.zeros(num_classes, np.int64)  # scores seen of each class
        self.num_positives = np.zeros(num_classes, np.int64)  # of each class; floats once floats are added
        self._top_n = top_n
        self._kept = _Kept()
        self._lowest = np.full(num_classes, -np.inf)  # with top_n: scores below it are not among the highest

    def heap_sizes(self) -> np.ndarray:
        return self.sizes if self._top_n is None else np.minimum(self.sizes, self._top_n)

    def add(self, predictions: Sequence[Any], actuals: Sequence[Any], num_positives: np.ndarray | None) -> None:
        """Takes a list of each class. num_positives: (C,), or None for what is counted."""
        scores, labels = _read_lists("predictions", predictions), _read_lists("actuals", actuals)
        for c, (of_class, labels_of_class) in enumerate(zip(scores, labels, strict=True)):
            if of_class.ndim != 1 or of_class.shape != labels_of_class.shape:
                raise ValueError(
                    "predictions: expected a list as long as that of actuals, got shapes "
                    f"{of_class.shape} and {labels_of_class.shape} for class {c}"
                )
        lengths = np.array([len(of_class) for of_class in scores])
        if not lengths.any():
            self._count(lengths, np.zeros_like(lengths), num_positives)
        elif (lengths == lengths[0]).all():
            self._add_matrices(np.stack(scores), np.stack(labels), num_positives)
        else:
            filled = np.flatnonzero(lengths).tolist()  # an empty list would make floats of integers
            classes = np.repeat(filled, lengths[filled])
            entries = (np.concatenate([lists[c] for c in filled]) for lists in (scores, labels))
            self.add_entries(Entries(classes, *entries), num_positives)

    def _add_matrices(self, scores: np.ndarray, actuals: np.ndarray, num_positives: np.ndarray | None) -> None:
        """(C, N) each."""
        _check_scores(scores)
        block = _Block(scores, actuals > 0)
        if self._top_n is None:
            self._kept = self._kept._replace(blocks=(*self._kept.blocks, block))
        else:
            self._add_ties(block.ties(self._top_n))
        lengths = np.full(len(scores), scores.shape[1])
        self._count(lengths, np.count_nonzero(actuals > _COUNTED, axis=1), num_positives)

    def add_entries(self, entries: Entries, num_positives: np.ndarray | None) -> None:
        classes, scores, actuals = entries
        _check_scores(scores)
        self._add_ties(_Ties.of_single(classes, scores, actuals > 0))
        lengths, counted = (np.bincount(of, minlength=len(self.sizes)) for of in (classes, classes[actuals > _COUNTED]))
        self._count(lengths, counted, num_positives)

    def _add_ties(self, ties: _Ties) -> None:
        if self._top_n is not None:
            ties = ties.where(ties.scores >= self._lowest[ties.classes])
        blocks, kept, num_waiting = self._kept
        self._kept = _Kept(blocks, (*kept, ties), num_waiting + len(ties.scores))
        if self._top_n is not None and self._kept.num_waiting > max(_WAITING, len(self._kept.ties[0].scores)):
            self._merge()

    def _count(self, lengths: np.ndarray, counted: np.ndarray, num_positives: np.ndarray | None) -> None:
        self.sizes = self.sizes + lengths
        self.num_positives = self.num_positives + (counted if num_positives is None else num_positives)

    def _merge(self) -> _Ties:
        """Makes one of all ties."""
        merged = _Ties.merge([*self._kept.ties, *(block.ties() for block in self._kept.blocks)])
        if self._top_n is not None:
            merged = merged.among_highest(self._top_n)
            self._lowest = merged.lowest_of_full(len(self.sizes), self._top_n)
        self._kept = _Kept(ties=(merged,))
        return merged

    def average_precision(self) -> np.ndarray:
        """AP@n of each class: (C,) float64, 0 without positives."""
        num_classes = len(self.sizes)
        if self._kept.ties:
            sums = self._merge().sums_of_precision(num_classes, self._top_n)
        elif self._kept.blocks:
            blocks = self._kept.blocks
            dtype = np.result_type(*(block.scores.dtype for block in blocks))
            scores = [block.scores.T.astype(dtype, copy=False) for block in blocks]
            table = rank_table(scores, [block.hits.T for block in blocks])
            sums = table.average_precision(absent="zero") * table.num_positives
        else:
            sums = np.zeros(num_classes)
        positives = self.num_positives if self._top_n is None else np.minimum(self.num_positives, self._top_n)
        return np.asarray(np.divide(sums, positives, out=np.zeros(num_classes), where=positives > 0))


def _read_lists(name: str, lists: Sequence[Any]) -> Sequence[np.ndarray]:
    """An array for each class; the rows of a matrix are left in it."""
    if getattr(lists, "ndim", 1) == 2:
        return list(read_numbers(name, lists))
    return [read_numbers(name, of_class) for of_class in lists]


def _check_scores(scores: np.ndarray) -> None:
    if scores.dtype.kind not in "biuf":
        raise TypeError(f"predictions: expected real numbers, got {scores.dtype}")
    if (scores != scores).any():
        raise ValueError("predictions: expected numbers, got NaN")
