"""Rank tables of listed cells, each with its class, its score and whether it is positive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_table import RankTable
from vltr_eval._engine.score_counts import count_at_common

__all__ = ["distinct_within", "table_of_cells"]

_NONE, _NO_ROWS = np.zeros(2, np.int64), np.zeros(0, np.uint32)


def _falling_keys(scores: np.ndarray) -> np.ndarray:
    """Integers that fall as float32 scores rise: uint32."""
    bits = (scores + np.float32(0)).view(np.uint32)  # without -0.0
    falling: np.ndarray = np.where(bits >> np.uint32(31) == 1, bits, bits ^ np.uint32(0x7FFFFFFF))
    return falling


def _scores_of_keys(falling: np.ndarray) -> np.ndarray:
    """The float32 scores of integers that `_falling_keys` gives."""
    bits = falling.astype(np.uint32)
    values: np.ndarray = np.where(bits >> np.uint32(31) == 1, bits, bits ^ np.uint32(0x7FFFFFFF)).view(np.float32)
    return values


def distinct_within(
    classes: np.ndarray, scores: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct scores of each class, descending, as offsets and scores, and the place of each that was given."""
    if scores.dtype == np.float32:
        words = classes.astype(np.uint64) << np.uint64(32) | _falling_keys(scores)
        ordered = np.sort(words)
        ordered = ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]
        place = np.searchsorted(ordered, words)
        of_class = (ordered >> np.uint64(32)).astype(np.int64)
        distinct = _scores_of_keys(ordered & np.uint64(0xFFFFFFFF))
    else:
        order = np.lexsort([-scores, classes])
        ordered, own = scores[order], classes[order]
        new = np.ones(len(order), bool)
        new[1:] = (ordered[1:] != ordered[:-1]) | (own[1:] != own[:-1])
        place = np.empty(len(order), np.int64)
        place[order] = np.cumsum(new) - 1
        of_class, distinct = own[new], ordered[new]
    return np.concatenate([[0], np.cumsum(np.bincount(of_class, minlength=num_classes))]), distinct, place


def table_of_cells(
    classes: np.ndarray, num_classes: int, scores: np.ndarray, hits: np.ndarray, threads: int | None
) -> RankTable:
    """The rank table of listed cells."""
    if scores.dtype == np.float32:
        return _table_of_keys(classes, num_classes, _falling_keys(scores), hits, threads)
    order = np.lexsort([hits, -scores if scores.dtype.kind == "f" else ~scores, classes])
    classes, scores, hits = classes[order], scores[order], hits[order]
    ends = np.concatenate([[0], np.cumsum(np.bincount(classes, minlength=num_classes))])
    last = np.ones(len(scores), bool)  # of equal scores of a class
    last[:-1] = (scores[1:] != scores[:-1]) | (classes[1:] != classes[:-1])
    at = np.flatnonzero(last)
    total = np.concatenate([[0], np.cumsum(hits)])  # hits before each cell
    before = np.concatenate([[0], at[:-1] + 1])  # the first cell of each group
    own_hits = total[at + 1] - total[before]
    of_class = ends[:-1][classes[at]]
    tp = total[at + 1] - total[of_class]
    fp = at + 1 - of_class - tp
    tied = at + 1 - before - own_hits
    chosen = own_hits > 0
    counts = np.bincount(classes[at][chosen], minlength=num_classes)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    # Other rows have no cell of the class, as unknown ones.
    rows = int(np.diff(ends).max(initial=0))
    table = RankTable(rows, indptr, scores[at][chosen], tp[chosen], fp[chosen], tied[chosen])
    return replace(table, unknown=rows - np.diff(ends))


def _table_of_keys(
    classes: np.ndarray, num_classes: int, falling: np.ndarray, hits: np.ndarray, threads: int | None
) -> RankTable:
    """The rank table of listed cells with falling keys. Only those of positives are sorted."""
    one, lowest = np.uint64(1), falling.min(initial=0xFFFFFFFF)
    width = np.uint64(max(0, int(falling.max(initial=0)) - int(lowest)).bit_length())
    # The class, the key in as few bits as hold all, and the label in the lowest bit.
    words = classes.astype(np.uint64) << width
    words |= falling - lowest
    words <<= one
    words |= hits
    groups, own_hits = np.unique(words[hits], return_counts=True)
    of_group = (groups >> (width + one)).astype(np.int64)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(of_group, minlength=num_classes))])
    total = np.cumsum(own_hits)
    tp = total - np.concatenate([[0], total])[indptr[:-1]][of_group]
    # The words below the negatives of the same score, and up to its positives.
    distinct, place = np.unique(np.concatenate([groups ^ one, groups + one]), return_inverse=True)
    matrix = borrow_matrix("scores", words.reshape(-1, 1))
    reached = count_at_common(matrix, Positives(len(words), 1, _NONE, _NO_ROWS), distinct, threads=threads)[0]
    begin, end = np.split(len(words) - reached[place], 2)
    cells = np.bincount(classes, minlength=num_classes)
    before = np.concatenate([[0], np.cumsum(cells)])[of_group]  # cells of lower classes
    scores = _scores_of_keys((groups >> one & ((one << width) - one)) + np.uint64(lowest))
    rows = int(cells.max(initial=0))  # other rows have no cell of the class, as unknown ones
    return RankTable(rows, indptr, scores, tp, end - before - tp, end - begin - own_hits, unknown=rows - cells)
