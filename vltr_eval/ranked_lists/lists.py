"""`RankedLists`: the listed classes of each row with their scores, and the labels that belong to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vltr_eval._base.arguments import describe_offsets
from vltr_eval._base.arrays import read_numbers
from vltr_eval._base.files import InputError
from vltr_eval._base.progress import Progress
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.ranked_lists import WrongClass, mark_listed, sort_lists
from vltr_eval._engine.unknown import UnknownCells
from vltr_eval.formats.align import check_join, join_rows
from vltr_eval.formats.meaning import Labels, Scores
from vltr_eval.formats.table import LabelPairs

__all__ = ["LabelledLists", "RankedLists", "label_lists"]

_MAX_CLASSES = 2**31 - 1


@dataclass(frozen=True, eq=False)
class RankedLists:
    """A list of classes for each row, the best first. Other scores of the row are not known.

    Equal scores rank by the lower class index. Make one with `from_lists`, `from_arrays` or `from_csr`, which check and
    sort, or read a file with `read_ranked_lists`.

    Attributes:
        indptr: (N + 1,) int64; row n has the classes ``classes[indptr[n]:indptr[n + 1]]``.
        classes: (nnz,) int32 class indices.
        scores: (nnz,) float32 or float64, descending in each row; None for lists without scores, which are in order.
        num_classes: C.
        lowest: (N,) float64, the lowest listed score of each row, +inf for an empty list; None without scores.
        ids: (N,) row ids, objects of str or int64; None without ids.
        name: The file, for messages.
        states_classes: Whether the input states C. Otherwise it is the largest index plus 1, and labels may have more.

    Example:
        >>> lists = RankedLists.from_arrays([[4, 2], [0, 1]], [[0.2, 0.9], [0.5, 0.5]])
        >>> lists.classes.tolist(), lists.num_classes
        ([2, 4, 0, 1], 5)
    """

    indptr: np.ndarray
    classes: np.ndarray
    scores: np.ndarray | None
    num_classes: int
    lowest: np.ndarray | None = None
    ids: np.ndarray | None = None
    name: str = "lists"
    states_classes: bool = True

    def __repr__(self) -> str:
        kind = "" if self.scores is not None else ", without scores"
        return f"<RankedLists of {self.num_rows} rows and {self.num_classes} classes, {len(self.classes)} pairs{kind}>"

    @property
    def num_rows(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> np.ndarray:
        """How many classes each row lists: (N,) int64."""
        return np.diff(self.indptr)

    @classmethod
    def from_lists(
        cls,
        indptr: Any,
        classes: Any,
        scores: Any = None,
        num_classes: int | None = None,
        *,
        ids: np.ndarray | None = None,
        name: str = "lists",
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> RankedLists:
        """Check and sort lists in compressed rows.

        Args:
            indptr: (N + 1,) offsets.
            classes: (nnz,) class indices, in any order, or the best first without scores.
            scores: (nnz,) numbers, compared in their own precision.
            num_classes: C; None for the largest index plus 1.
            ids: (N,) row ids.
            name: The beginning of messages.
            threads: CPU threads.
            progress: Called with the fraction done.

        Raises:
            ValueError: A class that is out of range or listed twice in a row, or a NaN score; the message has the row.
        """
        offsets = _checked_offsets(name, indptr)
        indices = read_numbers(f"{name}: classes", classes)
        if indices.size == 0:
            indices = indices.astype(np.int32)
        if indices.ndim != 1 or indices.dtype.kind not in "iu" or offsets[-1] != len(indices):
            raise InputError(
                f"{name}: expected ({offsets[-1]},) integer classes as the offsets say, got shape {indices.shape} of "
                f"{indices.dtype}"
            )
        smallest, largest = (int(indices.min()), int(indices.max())) if indices.size else (0, -1)
        if largest >= _MAX_CLASSES or smallest < -_MAX_CLASSES:  # beyond int32, where it would become another number
            wrong = largest if largest >= _MAX_CLASSES else smallest
            raise InputError(f"{name}: expected class indices from 0 to {_MAX_CLASSES - 1}, got {wrong}")
        numbers = None if scores is None else _checked_scores(name, scores, len(indices))
        total = max(largest + 1, 0) if num_classes is None else num_classes
        if not 0 <= total <= _MAX_CLASSES:
            raise InputError(f"{name}: expected from 0 to {_MAX_CLASSES} classes, got {total}")
        if ids is not None and len(ids) != len(offsets) - 1:
            raise InputError(f"{name}: expected one id for each of {len(offsets) - 1} rows, got {len(ids)}")
        try:
            found = sort_lists(offsets, indices.astype(np.int32, copy=False), numbers, total, threads, progress)
        except WrongClass as error:
            row = f"row {error.row}" + ("" if ids is None else f" (id {str(ids[error.row])!r})")
            raise InputError(f"{name}: {row}: {_sentence(error, total)}") from None
        return cls(offsets, found[0], found[1], total, found[2], ids, name, num_classes is not None)

    @classmethod
    def from_arrays(
        cls, classes: Any, scores: Any = None, num_classes: int | None = None, *, ids: np.ndarray | None = None
    ) -> RankedLists:
        """Make lists of (N, k) arrays. A class of -1 fills a list that is shorter than k.

        Args:
            classes: (N, k) class indices.
            scores: (N, k) numbers; None if the classes of a row are in order, the best first.
            num_classes: C; None for the largest index plus 1.
            ids: (N,) row ids.

        Raises:
            ValueError: As `from_lists`, and shapes that differ.
        """
        indices = read_numbers("classes", classes)
        if indices.ndim != 2 or indices.dtype.kind not in "iu":
            raise ValueError(f"classes: expected (N, k) integers, got shape {indices.shape} of {indices.dtype}")
        numbers = None if scores is None else read_numbers("scores", scores)
        if numbers is not None and numbers.shape != indices.shape:
            raise ValueError(f"scores: expected the shape of classes, {indices.shape}, got {numbers.shape}")
        listed = indices != -1
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.count_nonzero(listed, axis=1))])
        if listed.all():
            indices, numbers = indices.reshape(-1), None if numbers is None else numbers.reshape(-1)
        else:
            indices, numbers = indices[listed], None if numbers is None else numbers[listed]
        return cls.from_lists(indptr, indices, numbers, num_classes, ids=ids)

    @classmethod
    def from_csr(cls, matrix: Any, *, ids: np.ndarray | None = None, threads: int | None = None) -> RankedLists:
        """Make lists of a scipy.sparse CSR matrix. Stored zeros are listed scores of zero.

        Raises:
            TypeError: Another object.
            ValueError: As `from_lists`.
        """
        if getattr(matrix, "format", None) != "csr":
            got = getattr(matrix, "format", type(matrix).__name__)
            raise TypeError(f"matrix: expected a scipy.sparse matrix in CSR form, got {got}; call .tocsr()")
        return cls.from_lists(
            matrix.indptr, matrix.indices, matrix.data, matrix.shape[1], ids=ids, name="matrix", threads=threads
        )

    def with_num_classes(self, num_classes: int) -> RankedLists:
        """The same lists of more classes."""
        return replace(self, num_classes=num_classes)


def _checked_offsets(name: str, indptr: Any) -> np.ndarray:
    offsets = read_numbers(f"{name}: indptr", indptr)
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu" or len(offsets) == 0:
        raise InputError(f"{name}: expected offsets (N + 1,) of integers, got shape {offsets.shape} of {offsets.dtype}")
    offsets = offsets.astype(np.int64, copy=False)
    if offsets[0] != 0 or bool((offsets[1:] < offsets[:-1]).any()):
        raise InputError(f"{name}: expected offsets that rise from 0, got {describe_offsets(offsets)}")
    if len(offsets) > 2**31:
        raise InputError(f"{name}: expected fewer than 2**31 rows, got {len(offsets) - 1}")
    return offsets


def _checked_scores(name: str, scores: Any, count: int) -> np.ndarray:
    """Scores as float32 or float64, without rounding."""
    numbers = read_numbers(f"{name}: scores", scores)
    if numbers.shape != (count,):
        raise InputError(f"{name}: expected a score for each of {count} classes, got shape {numbers.shape}")
    if numbers.dtype.kind not in "fiub" or numbers.dtype.itemsize > 8:
        raise InputError(f"{name}: expected scores of a float or integer dtype, got {numbers.dtype}")
    if numbers.dtype in (np.float32, np.float64):
        return numbers
    wide = numbers.astype(np.float32 if numbers.dtype == np.float16 else np.float64)
    if numbers.dtype.itemsize == 8 and bool((np.abs(wide) > 2**53).any()):
        raise InputError(f"{name}: expected integer scores up to 2**53, which float64 holds exactly, got larger ones")
    return wide


def _sentence(error: WrongClass, num_classes: int) -> str:
    if error.kind == "range":
        most = f"to {num_classes - 1}" if error.class_index >= 0 else "up"
        return f"expected class indices from 0 {most}, got {error.class_index}"
    if error.kind == "twice":
        return f"expected each class once, got class {error.class_index} twice"
    return f"expected numbers as scores, got NaN for class {error.class_index}"


# ---------------------------------------------------------------------------------------------------------------------
# Labels
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LabelledLists:
    """Lists with the labels of their rows; cells that are not known are in neither.

    Attributes:
        lists: The lists, without unknown cells.
        positives: The labels, without unknown cells.
        unknown: The unknown cells, None if there are none.
        label_indptr: (N + 1,) int64 offsets of the labels by row.
        label_classes: (P,) int32, the labels of each row, ascending.
        hits: (nnz,) uint8, 1 for a listed class that is a label.
        hit_rows: (H,) the rows of the hits, ascending.
        hit_ranks: (H,) their positions in their lists, from 0.
        hit_classes: (H,) their classes.
        notes: Sentences about rows that were left out or joined.
    """

    lists: RankedLists
    positives: Positives
    unknown: Positives | None
    label_indptr: np.ndarray
    label_classes: np.ndarray
    hits: np.ndarray
    hit_rows: np.ndarray
    hit_ranks: np.ndarray
    hit_classes: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def labels_per_row(self) -> np.ndarray:
        return np.diff(self.label_indptr)


def label_lists(
    lists: RankedLists,
    labels: Any,
    *,
    unknown: Any = None,
    num_classes: int | None = None,
    join: str = "exact",
    threads: int | None = None,
    progress: Progress | None = None,
) -> LabelledLists:
    """Bring lists and labels together, by id where both have ids.

    Args:
        lists: N rows.
        labels: `vltr_eval.Labels` that were read, or labels of any form of `Positives.from_labels`.
        unknown: Cells that are neither positive nor negative, in the same forms, such as `LabelPairs`. Those of
            `Positives` are left out as well.
        num_classes: C; None for that of the inputs.
        join: "exact", "inner" or "position", for labels with ids.
        threads: CPU threads.
        progress: Called with the fraction done.

    Raises:
        ValueError: Labels that do not fit the lists.
    """
    check_join(join)
    notes: list[str] = []
    if isinstance(labels, Labels):
        lists, labels = _joined(lists, labels, join, notes)
    num_classes = _settled_classes(lists, labels, num_classes)
    lists = lists.with_num_classes(num_classes)
    positives = Positives.from_labels(labels, lists.num_rows, num_classes, threads=threads)
    left_out = None if unknown is None else Positives.from_labels(unknown, lists.num_rows, num_classes, threads=threads)
    if positives.unknown is not None:
        left_out = _with_cells(left_out, positives.unknown)
    if left_out is not None and len(left_out.rows):
        positives = _without(positives, left_out)
        lists = _without_unknown(lists, left_out, threads)
    label_indptr, label_classes = _by_row(positives)
    hits = mark_listed(lists.indptr, lists.classes, label_indptr, label_classes, threads, progress)
    found = np.flatnonzero(hits)
    rows = np.searchsorted(lists.indptr, found, side="right") - 1
    ranks = found - lists.indptr[rows]
    return LabelledLists(
        *(lists, positives, left_out, label_indptr, label_classes, hits, rows, ranks, lists.classes[found]),
        tuple(notes),
    )


def _joined(lists: RankedLists, labels: Labels, join: str, notes: list[str]) -> tuple[RankedLists, Any]:
    """Lists and labels of the same rows in the same order."""
    # Row numbers stand for the lists: the rows that are kept are then known.
    numbers = Scores(np.arange(lists.num_rows)[:, None], ids=lists.ids, name=lists.name)
    notes.extend(labels.notes)
    if lists.ids is not None and labels.ids is None and join != "position":
        notes.append(f"{labels.name} has no ids, so its rows are taken in the order of the lists")
    kept, joined, _ = join_rows(numbers, labels, join, notes)
    order = np.asarray(kept.values)[:, 0]
    if len(order) < lists.num_rows:
        lists = _rows_of(lists, order)
    return lists, joined.values


def _rows_of(lists: RankedLists, rows: np.ndarray) -> RankedLists:
    """Some of the rows, ascending."""
    kept = np.zeros(lists.num_rows, bool)
    kept[rows] = True
    pairs = np.repeat(kept, lists.lengths)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lists.lengths[rows])])
    return replace(
        lists,
        indptr=indptr,
        classes=lists.classes[pairs],
        scores=None if lists.scores is None else lists.scores[pairs],
        lowest=None if lists.lowest is None else lists.lowest[rows],
        ids=None if lists.ids is None else lists.ids[rows],
    )


def _settled_classes(lists: RankedLists, labels: Any, num_classes: int | None) -> int:
    """C of all inputs: as stated, or the largest index plus 1."""
    stated, found = [], [lists.num_classes]
    if lists.states_classes:
        stated.append(("lists", lists.num_classes))
    own = getattr(labels, "num_classes", None)
    shape = tuple(getattr(labels, "shape", ()))
    if own is None and len(shape) == 2:
        own = shape[1]
    if own is not None:
        stated.append(("labels", own))
    elif isinstance(labels, LabelPairs):
        found.append(int(labels.classes.max()) + 1 if len(labels.classes) else 0)
    elif len(shape) == 1 and labels.dtype.kind in "iu":
        found.append(int(labels.max()) + 1 if len(labels) else 0)
    elif not shape and hasattr(labels, "__len__"):
        found.append(max((int(max(row)) + 1 for row in labels if len(row)), default=0))
    if num_classes is not None:
        stated.append(("counts", num_classes))
    for name, number in stated[1:]:
        if number != stated[0][1]:
            raise ValueError(f"{name}: {number} classes, but {stated[0][0]} have {stated[0][1]}")
    total = stated[0][1] if stated else max(found)
    if max(found) > total:
        raise InputError(f"{lists.name}: class index {max(found) - 1}, but {stated[0][0]} have {total} classes")
    return total


def _keys(positives: Positives) -> np.ndarray:
    """A number for each cell, unique among rows and classes."""
    classes = np.repeat(np.arange(positives.num_classes), positives.counts)
    return positives.rows.astype(np.int64) * positives.num_classes + classes


def _selected(positives: Positives, kept: np.ndarray) -> Positives:
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    return Positives(
        positives.num_rows, positives.num_classes, before[positives.indptr], np.asarray(positives.rows)[kept]
    )


def _without(positives: Positives, left_out: Positives) -> Positives:
    return _selected(positives, np.isin(_keys(positives), _keys(left_out), invert=True))


def _with_cells(left_out: Positives | None, cells: UnknownCells) -> Positives:
    """The cells that are left out, with those that the labels state themselves."""
    rows, classes = cells.pairs()
    keys = rows.astype(np.int64) * cells.num_classes + classes
    rows, classes = np.divmod(keys if left_out is None else np.union1d(keys, _keys(left_out)), cells.num_classes)
    pairs = LabelPairs(cells.num_rows, cells.num_classes, rows, classes)
    return Positives.from_labels(pairs, cells.num_rows, cells.num_classes)


def _without_unknown(lists: RankedLists, left_out: Positives, threads: int | None) -> RankedLists:
    kept = mark_listed(lists.indptr, lists.classes, *_by_row(left_out), threads) == 0
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    scores = None if lists.scores is None else lists.scores[kept]
    return replace(lists, indptr=before[lists.indptr], classes=lists.classes[kept], scores=scores)


def _by_row(positives: Positives) -> tuple[np.ndarray, np.ndarray]:
    """Offsets by row and classes, ascending in each row."""
    order = np.argsort(positives.rows, kind="stable")
    classes = np.repeat(np.arange(positives.num_classes, dtype=np.int32), positives.counts)[order]
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(positives.labels_per_row())])
    return indptr, classes


def hidden_positives(labelled: LabelledLists) -> Positives:
    """The labels that no list has."""
    positives = labelled.positives
    listed = labelled.hit_rows * positives.num_classes + labelled.hit_classes
    return _selected(positives, np.isin(_keys(positives), listed, invert=True))
