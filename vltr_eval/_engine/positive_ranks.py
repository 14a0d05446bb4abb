"""The rank of every positive under an order of equal scores, and the average precisions that follow from ranks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import Matrix, as_columns, borrow_matrix, num_threads, to_host
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_table import PositiveScores, RankTable, to_compare_keys
from vltr_eval._engine.unknown import UnknownCells

__all__ = ["TIE_ORDERS", "PositiveRanks", "count_tied_between", "rank_ends", "rank_positives"]

TIE_ORDERS = ("rows", "reversed", "worst", "best")

_MOST_GAP = 16  # classes between two others that are copied along from a device


@dataclass(frozen=True, eq=False)
class PositiveRanks:
    """The ranks of the positives of each class, 1 for the highest score, ascending, class after class.

    `vltr_eval.positive_ranks` makes them.

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
        """C"""
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
        return means_within(self.indptr, self.precision())

    def interpolated_average_precision(self, points: int | None = None) -> np.ndarray:
        """Mean of the highest precision at this recall or a higher one: (C,) float64, NaN without positives.

        Args:
            points: The number of recalls from 0 to 1, at equal distances: 11 as in PASCAL VOC 2007, 101 as in COCO.
                None takes the recall of each positive, as PASCAL VOC 2010 and ActivityNet do.

        Returns:
            The values.

        Raises:
            ValueError: Fewer than two points.
        """
        return interpolated_within(self.indptr, self.precision(), points)


def means_within(indptr: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Means of ``values[indptr[c]:indptr[c + 1]]``: (C,) float64, NaN of nothing."""
    counts = np.diff(indptr)
    out = np.full(len(counts), np.nan)
    has = counts > 0
    if has.any():
        out[has] = np.add.reduceat(values, indptr[:-1][has]) / counts[has]
    return out


def interpolated_within(indptr: np.ndarray, precision: np.ndarray, points: int | None) -> np.ndarray:
    """Interpolated AP of each class from the precision at its positives, by rank: (C,) float64."""
    highest = _highest_from(indptr, precision)
    if points is None:
        return means_within(indptr, highest)
    if points < 2:
        raise ValueError(f"points: expected at least 2, got {points!r}")
    counts = np.diff(indptr)
    out = np.full(len(counts), np.nan)
    has = counts > 0
    positives, recalls = counts[has][:, None], np.linspace(0.0, 1.0, points)
    # The least number of positives whose share, as a float64, is at least the recall.
    number = np.maximum(np.floor(recalls * positives), 1.0)
    number += number / positives < recalls
    number -= (number > 1) & ((number - 1) / positives >= recalls)
    out[has] = highest[indptr[:-1][has][:, None] + number.astype(np.int64) - 1].mean(axis=1)
    return out


def _highest_from(indptr: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The highest of the values of the class from each one on."""
    counts = np.diff(indptr)
    most = int(counts.max(initial=0))
    if len(counts) * most <= 4 * len(values):  # classes of similar sizes, as rows of a table with zeros behind them
        inside = np.arange(most) < counts[:, None]
        rows = np.zeros((len(counts), most))
        rows[inside] = values
        backwards = rows[:, ::-1]
        np.maximum.accumulate(backwards, axis=1, out=backwards)
        found: np.ndarray = rows[inside]
        return found
    highest: np.ndarray = values.copy()
    bounds = indptr.tolist()
    for first, stop in pairwise(bounds):
        if stop - first > 1:
            backwards = highest[first:stop][::-1]
            np.maximum.accumulate(backwards, out=backwards)
    return highest


def rank_ends(table: RankTable, order: str) -> PositiveRanks:
    """Rank the positives of a rank table with the negatives of each tie first ("worst") or last ("best")."""
    threshold = np.repeat(np.arange(len(table.tp)), table.positives_at())  # of each positive
    indptr = np.concatenate([[0], np.cumsum(table.num_positives)])
    number = np.arange(len(threshold)) - np.repeat(indptr[:-1], table.num_positives) + 1
    ranks = number + (table.fp if order == "worst" else table.fp - table.tied)[threshold]
    return PositiveRanks(table.num_rows, indptr, ranks)


def rank_positives(
    matrix: Matrix, positives: Positives, table: RankTable, order: str, *, threads: int | None = None
) -> PositiveRanks:
    """Rank the positives of a rank table. Only "rows" and "reversed" read scores, and of classes with mixed ties alone.

    order: one of TIE_ORDERS; see `vltr_eval.positive_ranks`. Scores on a device are copied to the host for that.
    """
    found = rank_ends(table, order)
    mixed = table.tied > 0
    if order in ("rows", "reversed") and mixed.any():
        sizes = table.positives_at()
        start = np.concatenate([[0], np.cumsum(sizes[mixed])])
        before = _count_tied_before(matrix, positives, table.select(mixed), start, threads).astype(np.int64)
        if order == "reversed":
            first, last = (np.repeat(ends, sizes[mixed]) for ends in (start[:-1], start[1:] - 1))
            before = np.repeat(table.tied[mixed], sizes[mixed]) - before[first + last - np.arange(len(before))]
        found.ranks[np.repeat(mixed, sizes)] += before
    return found


def count_tied_between(
    matrix: Matrix, positives: Positives, bounds: PositiveScores, start: np.ndarray, *, threads: int | None = None
) -> np.ndarray:
    """Negatives with a lower row whose scores lie between the same two bounds, for each positive: int64.

    Args:
        matrix: Scores in CPU memory.
        positives: The labels.
        bounds: Descending in each class. Scores from a bound to below the next higher one count as equal. A class with
            bounds has no positive below all of them.
        start: The first result of each bound, one for each of its positives in row order, and the number of all.
        threads: Number of CPU threads; all cores if None.
    """
    keys = to_compare_keys(bounds.scores, matrix.dtype)
    known, offset, rows = positives.core_with(matrix)
    given = (bounds.indptr, keys)
    counts = _core.count_tied_before(known, offset, rows, given, start, num_threads(threads), None, ranges=True)
    before: np.ndarray = counts.astype(np.int64)
    return before


def _count_tied_before(
    matrix: Matrix, positives: Positives, mixed: RankTable, start: np.ndarray, threads: int | None
) -> np.ndarray:
    """Negatives of the same class and score with a lower row, for each positive at the thresholds of a table."""
    if matrix.device.index is None:
        keys = to_compare_keys(mixed.thresholds, matrix.dtype)
        known, offset, rows = positives.core_with(matrix)
        return _core.count_tied_before(known, offset, rows, (mixed.indptr, keys), start, num_threads(threads), None)
    found = [np.empty(0, np.uint32)]
    for first, stop in _runs(np.flatnonzero(np.diff(mixed.indptr))):
        of_run = slice(mixed.indptr[first], mixed.indptr[stop])
        indptr = mixed.indptr[first : stop + 1] - mixed.indptr[first]
        part = RankTable(mixed.num_rows, indptr, *(getattr(mixed, name)[of_run] for name in _COLUMNS))
        own_start = start[of_run.start : of_run.stop + 1] - start[of_run.start]
        on_host, of_classes = _classes_on_host(matrix, positives, first, stop)
        found.append(_count_tied_before(on_host, of_classes, part, own_start, threads))
    return np.concatenate(found)


_COLUMNS = ("thresholds", "tp", "fp", "tied")


def _runs(classes: np.ndarray) -> list[tuple[int, int]]:
    """Runs of classes, (first, stop) each, that hold all of these, which ascend, and few others."""
    if not len(classes):
        return []
    ends = np.flatnonzero(np.diff(classes) > _MOST_GAP)
    firsts, lasts = classes[np.append(0, ends + 1)], classes[np.append(ends, len(classes) - 1)]
    return [(int(first), int(last) + 1) for first, last in zip(firsts, lasts, strict=True)]


def _classes_on_host(matrix: Matrix, positives: Positives, first: int, stop: int) -> tuple[Matrix, Positives]:
    """Neighbouring classes of a matrix on a device, copied to the host."""
    columns = []
    for shard in map(as_columns, matrix.shards):
        address = shard.address + first * shard.strides[1]
        columns.append(to_host(replace(shard, address=address, shape=(shard.shape[0], stop - first))))
    unknown = None
    if positives.unknown is not None:
        flags = (positives.unknown.flags_of(c) for c in range(first, stop))
        unknown = UnknownCells.of_columns(flags, positives.num_rows)
    indptr = positives.indptr[first : stop + 1]
    rows = positives.rows[indptr[0] : indptr[-1]]
    part = Positives(positives.num_rows, stop - first, indptr - indptr[0], rows, unknown)
    return borrow_matrix("scores", columns), part
