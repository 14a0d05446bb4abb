"""The numbers of rows over all ranks: by their order, or by sample ids, of which each is counted once.

Rows with ids are numbered in the order of their ids, so that no number depends on how samples were dealt out. The ranks
do so by a sample sort: each rank takes the ids of one range, from all ranks, and numbers them. A sample that comes
again must have the same labels; the rank that numbers its id compares them. An id moves once, its number once, and
labels only those of repeated rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vltr_eval._base.lazy import lazy_property
from vltr_eval._base.ranks import Communicator, SingleProcess
from vltr_eval._engine.sample_ids import distinct_ids
from vltr_eval._engine.unknown import UnknownCells

__all__ = ["RowNumbers", "number_by_id", "number_by_order", "sample_of"]

_SAMPLE_SIZE = 32
_NUM_NAMED = 3
_MAX_LABELS_SHOWN = 10


class RowNumbers:
    """The number, among all counted rows, of each row of this rank.

    Attributes:
        total: Counted rows of all ranks.
        repeated: Rows of all ranks that are not counted, because their sample came before.
    """

    def __init__(
        self, total: int, start: int = 0, count: int = 0, *, numbers: np.ndarray | None = None, repeated: int = 0
    ) -> None:
        """Numbers ``count`` rows from ``start`` on, or as ``numbers`` (N,) has it, -1 for a row that is left out."""
        self.total = total
        self.repeated = repeated
        self._start, self._count = start, count
        self._numbers = numbers

    def kept(self, start: int, stop: int) -> np.ndarray:
        """Whether each of some rows of this rank is counted: (stop - start,) bool."""
        if self._numbers is None:
            return np.ones(stop - start, bool)
        return self._numbers[start:stop] >= 0

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Numbers of rows of this rank."""
        return rows + self._start if self._numbers is None else self._numbers[rows]

    @lazy_property
    def _row_of(self) -> np.ndarray:
        """The row of this rank that has a number, of all numbers."""
        numbers = self._numbers
        if numbers is None:
            raise ValueError("numbers: expected those of the rows, got rows in order")
        counted = np.flatnonzero(numbers >= 0)
        row_of = np.full(self.total, -1, np.int32 if len(numbers) < 2**31 else np.int64)
        row_of[numbers[counted]] = counted
        return row_of

    def find(self, numbers: np.ndarray) -> np.ndarray:
        """Rows of this rank that have these numbers, negative where it has none."""
        if self._numbers is not None:
            rows: np.ndarray = self._row_of[numbers]
            return rows
        rows = numbers.astype(np.int64) - self._start
        rows[rows >= self._count] = -1
        return rows


def number_by_order(communicator: SingleProcess | Communicator, counts: Sequence[int]) -> RowNumbers:
    """Numbers rows in the order of ranks and, within a rank, of rows. counts: rows of each rank."""
    return RowNumbers(sum(counts), sum(counts[: communicator.rank]), counts[communicator.rank])


def sample_of(ids: np.ndarray) -> np.ndarray:
    """Some of the ids, spread over them: what `number_by_id` needs of every rank."""
    return ids[:: len(ids) // _SAMPLE_SIZE + 1]


def number_by_id(
    communicator: SingleProcess | Communicator,
    samples: Sequence[np.ndarray],
    ids: np.ndarray | None,
    rows: np.ndarray,
    classes: np.ndarray,
    unknown: UnknownCells | None = None,
) -> RowNumbers:
    """Numbers rows in the order of their ids; of the rows of one id the first of the lowest rank is counted.

    Args:
        communicator: The ranks. All of them call this.
        samples: `sample_of` the ids of each rank that has rows.
        ids: (N,) ids of the rows of this rank; None without rows.
        rows: (nnz,) the row of each positive of this rank.
        classes: (nnz,) the class of each positive of this rank.
        unknown: The unknown cells of the rows of this rank, which are labels too; None if all are known.

    Raises:
        ValueError: On all ranks, where one id has rows with different labels.
    """
    sample = np.sort(np.concatenate(samples))
    ids = sample[:0] if ids is None else ids
    ranks = range(communicator.size)
    splitters = sample[[len(sample) * rank // communicator.size for rank in ranks[1:]]]
    owner = np.searchsorted(splitters, ids, side="right")
    rows_of = [np.flatnonzero(owner == rank) for rank in ranks]
    received = communicator.all_to_all(lambda: [ids[own] for own in rows_of])
    ends = np.cumsum([len(part) for part in received])[:-1]
    distinct, first, group = distinct_ids(np.concatenate(received))
    counts = communicator.all_gather(lambda: (len(distinct), len(group) - len(distinct)))
    start = sum(count for count, _ in counts[: communicator.rank])
    repeated = sum(count for _, count in counts)

    numbers = np.full(len(group), -1, np.int64)
    numbers[first] = start + np.arange(len(distinct))
    answers = communicator.all_to_all(lambda: np.split(numbers, ends))
    own_numbers = np.empty(len(ids), np.int64)
    for own, answer in zip(rows_of, answers, strict=True):
        own_numbers[own] = answer

    if repeated:
        comes_again = np.bincount(group, minlength=len(distinct))[group] > 1
        requested = communicator.all_to_all(lambda: [np.flatnonzero(part) for part in np.split(comes_again, ends)])
        requested = [own[positions] for own, positions in zip(rows_of, requested, strict=True)]
        rows, classes = _with_unknown(requested, len(ids), rows, classes, unknown)
        labels = communicator.all_to_all(lambda: _labels_of(requested, len(ids), rows, classes))
        differ = communicator.all_gather(lambda: _differing(distinct, group[comes_again], labels))
        _refuse_differing(differ)
    return RowNumbers(sum(count for count, _ in counts), numbers=own_numbers, repeated=repeated)


def _with_unknown(
    requested: Sequence[np.ndarray], num_rows: int, rows: np.ndarray, classes: np.ndarray, unknown: UnknownCells | None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and classes of labels: positives, and unknown cells of requested rows as the class -1 - c."""
    if unknown is None:
        return rows, classes
    is_requested = np.zeros(num_rows, bool)
    is_requested[np.concatenate(requested)] = True
    own = np.flatnonzero(is_requested)
    of_rows = unknown.select(is_requested)
    if of_rows is None:
        return rows, classes
    unknown_rows, unknown_classes = of_rows.pairs()
    return np.concatenate([rows, own[unknown_rows]]), np.concatenate([classes.astype(np.int64), -1 - unknown_classes])


def _labels_of(
    requested: Sequence[np.ndarray], num_rows: int, rows: np.ndarray, classes: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each rank, the labels of the rows that it requested: how many each row has, and all of them, ascending."""
    position_of = np.full(num_rows, -1, np.int64)
    joined = np.concatenate(requested)
    position_of[joined] = np.arange(len(joined))
    positions = position_of[rows]
    is_requested = positions >= 0
    positions, classes = positions[is_requested], classes[is_requested]
    classes = classes[np.lexsort((classes, positions))]
    ends = np.cumsum([len(numbers) for numbers in requested])
    counts = np.split(np.bincount(positions, minlength=len(joined)), ends[:-1])
    return list(zip(counts, np.split(classes, np.cumsum([part.sum() for part in counts])[:-1]), strict=True))


def _differing(
    distinct: np.ndarray, group: np.ndarray, labels: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[int, list[tuple[int | str, list[int], list[int]]]]:
    """How many ids have rows with different labels, and the first of them with two of their label lists.

    Args:
        distinct: Ids, ascending.
        group: (M,) which of them each row has.
        labels: The labels of these rows, as `_labels_of` gives them, from each rank.
    """
    counts, classes = (np.concatenate(column) for column in zip(*labels, strict=True))
    starts = np.cumsum(counts) - counts
    _, first, inverse = distinct_ids(group)
    first = first[inverse]  # for each row, the first row of its id
    differs = counts != counts[first]
    same = np.flatnonzero(~differs)
    row_of = np.repeat(same, counts[same])
    within = np.arange(len(row_of)) - np.repeat(np.cumsum(counts[same]) - counts[same], counts[same])
    differs[row_of[classes[starts[row_of] + within] != classes[starts[first[row_of]] + within]]] = True
    bad = np.flatnonzero(differs)
    ids, position = np.unique(group[bad], return_index=True)
    named = [
        (name, *(classes[starts[row] : starts[row] + counts[row]].tolist() for row in (first[bad[i]], bad[i])))
        for name, i in zip(distinct[ids[:_NUM_NAMED]].tolist(), position, strict=False)
    ]
    return len(ids), named


def _refuse_differing(differ: Sequence[tuple[int, list[tuple[int | str, list[int], list[int]]]]]) -> None:
    """Raises where ranks found ids with different labels; ranks are in the order of ids."""
    total = sum(count for count, _ in differ)
    if not total:
        return
    named = [entry for _, entries in differ for entry in entries][:_NUM_NAMED]
    listed = "; ".join(
        f"sample {name!r} came twice with different labels: {_listed(one)} and {_listed(other)}"
        for name, one, other in named
    )
    more = f"; {total} samples in all" if total > 1 else ""
    raise ValueError(f"ids: {listed}{more}; correct the labels, or give different samples different ids")


def _listed(labels: list[int]) -> str:
    shown = ", ".join(str(label) if label >= 0 else f"{-1 - label} unknown" for label in labels[:_MAX_LABELS_SHOWN])
    if len(labels) <= _MAX_LABELS_SHOWN:
        return f"[{shown}]"
    return f"[{shown}, ...] ({len(labels)} labels)"
