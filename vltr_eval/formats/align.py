"""Scores and labels brought together: columns by class name, rows by id.

Classes. Scores' columns with names, labels' columns or class lists with names, and ``class_names`` are matched by name.
Equal sets in another order are reordered, and a note says so; sets that differ are refused with the first names that
differ. Names 0, 1, ..., C-1 are positions. Without names on one side, position decides, and the other side's names are
those of the classes.

Rows. Where both sides have ids, rows are joined by id. ``join="exact"`` wants the same ids on both sides,
``join="inner"`` evaluates the ids that both have and says how many are left out. Without ids on one side position
decides, and ``join="position"`` leaves ids out.

Views. With ``views=True`` an id names a video, which may have several rows on both sides. No row moves: the result says
which video each row belongs to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.cells import Cells, resolve_cells
from vltr_eval.formats.label_forms import (
    DENSE,
    INDICES,
    LISTS,
    NAMES,
    check_array_form,
    dense_of_lists,
    first_odd_value,
    form_of_lists,
)
from vltr_eval.formats.label_lists import MAX_CLASSES
from vltr_eval.formats.meaning import Labels, Scores
from vltr_eval.formats.sources import listing, quote, repeated, shorten
from vltr_eval.formats.table import LabelPairs, Lists
from vltr_eval.formats.unknown_marks import CellMask, check_cells

if TYPE_CHECKING:
    from vltr_eval.formats.views import Views

Side = TypeVar("Side", Scores, Labels)

POSITION = "position"
JOINS = ("exact", "inner", POSITION)


@dataclass(frozen=True, eq=False)
class ClassNames:
    """Names of the classes, in class order, and every name under which a class can be looked up.

    Attributes:
        names: C names: what a report shows.
        index_of: Class index by name; classes may have several names, such as an AudioSet MID and a display name.
        source: The file or argument, for messages.
    """

    names: tuple[str, ...]
    index_of: Mapping[str, int] = field(default_factory=dict)
    source: str = "class_names"

    @classmethod
    def from_names(cls, names: Sequence[str], source: str = "class_names") -> ClassNames:
        """Make the names; a name that several classes share cannot be looked up."""
        names = tuple(map(str, names))
        count = Counter(names)
        return cls(names, {name: position for position, name in enumerate(names) if count[name] == 1}, source)


@dataclass(frozen=True, eq=False)
class Aligned:
    """Scores and labels with equal rows and classes, as evaluations take them.

    Attributes:
        scores: (N, C) or (N,) array, or a list of row shards.
        labels: Dense array, (N,) class indices, or `LabelPairs`.
        class_names: C names, those of the labels where nothing names the columns of the scores; or None.
        ids: (N,) row ids, or None.
        notes: Sentences about everything that was left out, reordered or joined.
        name: The file of the scores, for messages.
        views: The videos of the rows of both sides, which then differ in number and order; None where rows are samples.
        masks: Which cells of the scores are known, and which are not.
    """

    scores: Any
    labels: Any
    class_names: tuple[str, ...] | None
    ids: np.ndarray | None
    notes: tuple[str, ...]
    name: str
    views: Views | None = None
    masks: tuple[CellMask, ...] = ()

    def with_mask(self, mask: Labels, kind: str, labels: Labels, names: ClassNames | None, join: str) -> Aligned:
        """The same rows with a mask, brought to their order and that of the classes as labels are.

        Args:
            mask: Which cells are of a kind, in any form of labels. Without ids it has the rows of the labels.
            kind: `unknown_marks.KNOWN` or UNKNOWN.
            labels: The labels as they were read.
            names: The names and the order of the classes that the user wants.
            join: See `align`.

        Raises:
            InputError: The mask lacks a row of the scores, or does not fit.
        """
        if isinstance(mask.values, LabelPairs) and mask.values.num_rows < 0:  # a pair of arrays does not tell it
            num_rows = labels.num_rows if self.views is None else len(self.views.of_label)
            total = None if labels.class_names is None else len(labels.class_names)
            mask = replace(mask, values=replace(mask.values, num_rows=num_rows, num_classes=total))
        if self.views is None and mask.ids is None and labels.form != "long" and mask.num_rows == labels.num_rows:
            mask = replace(mask, ids=labels.ids)
        own = mask.class_names
        if own is None and labels.class_names is not None and _num_columns(mask.values) == len(labels.class_names):
            mask = replace(mask, class_names=labels.class_names)
        first: Any = self.scores[0] if isinstance(self.scores, list) else self.scores
        num_rows = sum(map(len, self.scores)) if isinstance(self.scores, list) else len(first)
        num_rows = num_rows if self.views is None else self.views.num_videos
        shape = num_rows, (first.shape[1] if len(first.shape) == 2 else 1)
        known = self.class_names if names is None else names.names
        like = Scores(np.broadcast_to(np.zeros((), np.uint8), shape), known, self.ids, name=self.name)
        notes: list[str] = []
        like, names = _order_classes(like, names, notes)
        mask = _resolve_labels(mask, like, names, notes)
        if self.views is not None:
            cells: Any = _cells_of_views(mask, like, self.views)
        elif isinstance(mask.values, (Lists, LabelPairs)):
            cells = _cells_of_lists(mask, like, join)
        else:
            cells = _dense_cells(mask, like, join)
        return replace(self, masks=(*self.masks, CellMask(kind, cells, mask.name)))


def _num_columns(values: Any) -> int | None:
    """The number of columns of a mask that has one for each class."""
    if isinstance(values, LabelPairs):
        return values.num_classes
    shape: tuple[int, ...] = getattr(values, "shape", ())
    return shape[1] if len(shape) == 2 else None


def _cells_of_views(mask: Labels, like: Scores, views: Views) -> np.ndarray | LabelPairs:
    """A mask with the rows of the labels. It has a row for each of these, for each view or for each video.

    Lines of a list that name an id are of all views of this video.
    """
    num_labels, num_rows = len(views.of_label), len(views.of_row)
    if mask.ids is not None:
        ours, theirs = _comparable(views.ids, mask.ids)
        number_of = {known: number for number, known in enumerate(ours.tolist())}
        of_mask = np.fromiter((number_of.get(known, -1) for known in theirs.tolist()), np.int64, len(theirs))
        if len(of_mask) and (of_mask < 0).all():
            raise _no_common_id(ours, theirs, like.name, mask.name)
    elif mask.num_rows in (num_labels, num_rows):
        of_mask = views.of_label if mask.num_rows == num_labels else views.of_row
    else:
        raise InputError(
            f"{mask.name}: {mask.num_rows} rows of a mask without ids, but the labels have {num_labels} rows; give a "
            "mask with ids, or with a row for each of the labels"
        )
    of_label = np.where(views.of_label < 0, views.num_videos, views.of_label)  # a row that is left out has no cell
    if isinstance(mask.values, (Lists, LabelPairs)):
        return _listed_cells_of_views(mask, like.num_classes, views, of_mask)
    mask = _as_flags(mask)
    _check_classes_of_mask(mask, like.num_classes)
    values = np.asarray(mask.values)
    if mask.ids is None and mask.num_rows == num_labels:
        return values
    first = np.full(views.num_videos + 1, -1, np.int64)
    first[of_mask[::-1]] = np.arange(len(of_mask))[::-1]  # of a video the first row; the last place is of no video
    lacking = views.ids[first[:-1] < 0].tolist()
    if lacking:
        raise InputError(f"{mask.name} lacks {_some(lacking)} of {like.name}; a mask must have every row")
    differs = (of_mask >= 0) & (values != values[first[of_mask]]).any(axis=1)
    if differs.any():
        raise _different_masks(mask.name, views.ids[np.unique(of_mask[differs])].tolist())
    return np.asarray(values[first[of_label]])


def _listed_cells_of_views(mask: Labels, num_classes: int, views: Views, of_mask: np.ndarray) -> LabelPairs:
    """Listed cells with the row numbers of the labels."""
    values = mask.values
    rows, classes = values.rows, (values.classes if isinstance(values, LabelPairs) else values.values)
    num_labels, num_videos = len(views.of_label), views.num_videos
    if mask.ids is None and mask.num_rows == num_labels:
        return LabelPairs(num_labels, num_classes, rows, classes)
    videos = of_mask[rows]
    kept = videos >= 0
    cells, found = np.unique(videos[kept] * num_classes + classes[kept], return_counts=True)
    videos, classes = np.divmod(cells, max(num_classes, 1))
    if mask.ids is None:
        wrong = videos[found != views.counts[videos]]
        if len(wrong):
            raise _different_masks(mask.name, views.ids[np.unique(wrong)].tolist())
    of_label = np.where(views.of_label < 0, num_videos, views.of_label)
    lists = take_rows(LabelPairs(num_videos + 1, num_classes, videos, classes), of_label)
    return LabelPairs(num_labels, num_classes, lists.rows, lists.values)


def _different_masks(name: str, ids: Sequence[Any]) -> InputError:
    return InputError(
        f"{name}: expected the same known cells for all views of a video, but those of {_some(ids)} differ; correct "
        "the mask, or give different videos different ids"
    )


def _as_flags(mask: Labels) -> Labels:
    """A dense mask as (M, C) of bool."""
    values = np.asarray(mask.values)
    values = values[:, None] if values.ndim == 1 else values
    odd = np.argwhere((values != 0) & (values != 1))
    if len(odd):
        row, column = odd[0].tolist()
        raise InputError(
            f"{mask.name}: {mask.at(row)}: expected True where a label is known and False elsewhere, got "
            f"{values[row, column]}"
        )
    return replace(mask, values=values != 0)


def _check_classes_of_mask(mask: Labels, num_classes: int) -> None:
    found = mask.values.shape[1]
    if found != num_classes:
        raise InputError(f"{mask.name}: a mask of {found} classes, but the scores have {num_classes} classes")


def _dense_cells(mask: Labels, like: Scores, join: str) -> np.ndarray:
    """A dense mask with the rows of the scores, as (N, C) of bool."""
    mask = _as_flags(mask)
    if join != POSITION:
        mask = _with_counted_ids(mask, like)
    if mask.ids is None or like.ids is None or join == POSITION:
        _check_rows(like, mask)
        found = mask.values
    else:
        found = mask.values[_rows_of_ids(mask, like)]
    _check_classes_of_mask(mask, like.num_classes)
    return np.asarray(found)


def _rows_of_ids(mask: Labels, like: Scores) -> np.ndarray:
    """The row of the mask that belongs to each row of the scores, by id."""
    ours, theirs = _comparable(np.asarray(like.ids), np.asarray(mask.ids))
    if len(ours) == len(theirs) and bool((ours == theirs).all()):
        return np.arange(len(ours))
    _refuse_repeated(theirs, mask.name, "")
    row_of = {known: row for row, known in enumerate(theirs.tolist())}
    lacking = [known for known in ours.tolist() if known not in row_of]
    if lacking:
        raise InputError(f"{mask.name} lacks {_some(lacking)} of {like.name}; a mask must have every row")
    return np.fromiter((row_of[known] for known in ours.tolist()), np.int64, len(ours))


def _cells_of_lists(mask: Labels, like: Scores, join: str) -> LabelPairs:
    """Listed cells with the row numbers of the scores; rows without a line have no cell, and further rows are left."""
    values = mask.values
    rows, classes = values.rows, (values.classes if isinstance(values, LabelPairs) else values.values)
    num_rows, num_classes = like.num_rows, like.num_classes
    check_cells(mask.name, np.asarray(rows), np.asarray(classes), mask.num_rows, num_classes)
    if mask.ids is None or like.ids is None or join == POSITION:
        _check_rows(like, mask)
        return LabelPairs(num_rows, num_classes, rows, classes)
    ours, theirs = _comparable(like.ids, mask.ids)
    row_of = {known: row for row, known in enumerate(ours.tolist())}
    own = np.fromiter((row_of.get(known, -1) for known in theirs.tolist()), np.int64, len(theirs))
    if len(own) and (own < 0).all():
        raise InputError(
            f"{mask.name}: no id is one of {like.name}: the ids there begin with {quote(str(ours[0]))}, here with "
            f"{quote(str(theirs[0]))}{_hint(ours, theirs)}"
        )
    found = own[rows]
    return LabelPairs(num_rows, num_classes, found[found >= 0], classes[found >= 0])


def check_join(join: str) -> None:
    if join not in JOINS:
        raise ValueError(f"join: expected one of {', '.join(JOINS)}, got {join!r}")


def align(
    scores: Scores, labels: Labels, class_names: ClassNames | None = None, join: str = "exact", *, views: bool = False
) -> Aligned:
    """Bring scores and labels together by the module's rules.

    Args:
        scores: N rows and C classes.
        labels: Their labels.
        class_names: The names and the order of the classes that the user wants.
        join: "exact", "inner" or "position".
        views: Whether the rows of one id are views of one video.

    Raises:
        InputError: Names or ids that differ, repeated ids, or another number of rows or classes.
    """
    check_join(join)
    notes = [*scores.notes, *labels.notes]
    scores, names = _order_classes(scores, class_names, notes)
    labels = _resolve_labels(labels, scores, names, notes)
    of_views = None
    if views:
        labels, of_views = _join_views(scores, labels, join, notes)
        ids: np.ndarray | None = of_views.ids
    else:
        scores, labels, ids = join_rows(scores, labels, join, notes)
        _check_rows(scores, labels)
    labels = _as_pairs(labels)
    check_classes(labels, scores.num_classes)
    own = labels.class_names
    label_names = None if own is None or len(own) != scores.num_classes or _are_positions(own) else tuple(own)
    # Columns without names have those of the labels.
    known = label_names if names is None else names.names
    return Aligned(scores.values, labels.values, known, ids, tuple(notes), scores.name, of_views)


# ---------------------------------------------------------------------------------------------------------------------
# Classes
# ---------------------------------------------------------------------------------------------------------------------


def _are_positions(names: Sequence[str]) -> bool:
    """Whether names are 0, 1, ..., C-1 in this order: positions, written as names."""
    return all(name == str(position) for position, name in enumerate(names))


def are_shuffled_positions(names: Sequence[str]) -> bool:
    """Whether names are 0, 1, ..., C-1 in some order."""
    return set(names) == set(map(str, range(len(names))))


def permutation(names: Sequence[str], requested: Sequence[str], name: str, other: str) -> np.ndarray | None:
    """Positions in ``names`` of the ``requested`` names, or None where the order is the same.

    Raises:
        InputError: The sets differ; the first names that differ are listed.
    """
    if tuple(names) == tuple(requested):
        return None
    for known, source in ((names, name), (requested, other)):
        if len(set(known)) < len(known):
            twice = next(known for known, count in Counter(known).items() if count > 1)
            raise InputError(f"{source}: expected different class names to match columns by, got {quote(twice)} twice")
    position_of = {known: position for position, known in enumerate(names)}
    missing = [known for known in requested if known not in position_of]
    extra = sorted(set(names) - set(requested), key=list(names).index)
    if missing or extra:
        parts = [f"{name} lacks {listing(map(quote, missing), 3)}"] * bool(missing)
        parts += [f"{other} lacks {listing(map(quote, extra), 3)}"] * bool(extra)
        raise InputError(f"{name}: expected the classes of {other} by name, but {' and '.join(parts)}")
    return np.array([position_of[known] for known in requested])


def order_shards(shards: Sequence[Side], notes: list[str]) -> list[Side]:
    """Row shards with their columns in the order of the first that has names; those without names stay."""
    first = next((shard for shard in shards if shard.class_names is not None), None)
    if first is None or first.class_names is None:
        return list(shards)
    if shards[0].class_names is None:
        raise InputError(
            f"{shards[0].name}: expected names of columns as in {first.name}, got none; name them in all or in none"
        )
    ordered = []
    for shard in shards:
        if shard.class_names is None:
            notes.append(
                f"{_short(shard.name)}: no names, so the columns are taken in the order of {_short(first.name)}"
            )
        elif (order := permutation(shard.class_names, first.class_names, shard.name, first.name)) is not None:
            notes.append(f"{_short(shard.name)}: columns are reordered by name to those of {_short(first.name)}")
            parts = shard.values if isinstance(shard.values, list) else [shard.values]
            parts = [part[:, order] for part in parts]
            shard = replace(shard, values=parts if isinstance(shard.values, list) else parts[0])
        ordered.append(replace(shard, class_names=first.class_names))
    return ordered


def order_label_shard(shard: Labels, first: Labels, notes: list[str]) -> Labels:
    """A row shard of class indices with the classes of the first shard, where both name them."""
    if shard.class_names is None or first.class_names is None:
        return shard
    order = permutation(shard.class_names, first.class_names, shard.name, first.name)
    if order is None:
        return shard
    notes.append(f"{_short(shard.name)}: classes are reordered by name to those of {_short(first.name)}")
    return replace(shard, values=_reordered(shard.values, order), class_names=first.class_names)


def _order_classes(scores: Scores, requested: ClassNames | None, notes: list[str]) -> tuple[Scores, ClassNames | None]:
    """Scores in the class order that is requested, and the names of their classes."""
    own = scores.class_names
    if requested is not None and len(requested.names) != scores.num_classes:
        raise InputError(
            f"{requested.source}: {len(requested.names)} names, but the scores have {scores.num_classes} classes"
        )
    if own is not None and not _are_positions(own):
        if requested is None and are_shuffled_positions(own):
            requested_order: Sequence[str] = [str(position) for position in range(len(own))]
        elif requested is not None:
            requested_order = _spelled_as(own, requested)
        else:
            return scores, ClassNames.from_names(own, scores.name)
        order = permutation(
            own, requested_order, scores.name, "the class order" if requested is None else requested.source
        )
        if order is not None:
            notes.append(f"{_short(scores.name)}: columns are reordered by name to {_order_name(requested)}")
            values = [shard[:, order] for shard in scores.shards]
            scores = replace(scores, values=values if isinstance(scores.values, list) else values[0])
        scores = replace(scores, class_names=tuple(requested_order))
        return scores, requested
    return scores, requested


def _order_name(requested: ClassNames | None) -> str:
    return "0, 1, 2, ..." if requested is None else f"those of {_short(requested.source)}"


def _spelled_as(own: Sequence[str], requested: ClassNames) -> list[str]:
    """The requested order in the names that the file uses, which may be any of a class's names."""
    by_class = {requested.index_of[known]: known for known in own if known in requested.index_of}
    return [by_class.get(position, known) for position, known in enumerate(requested.names)]


def _resolve_labels(labels: Labels, scores: Scores, names: ClassNames | None, notes: list[str]) -> Labels:
    """Labels with the classes of the scores, by index: names are looked up, columns reordered."""
    num_classes, own, values = scores.num_classes, labels.class_names, labels.values
    if isinstance(values, Cells):
        return replace(labels, values=resolve_names(values, _known(names, labels), labels.name))
    if isinstance(values, Lists):
        form = form_of_lists(values, num_classes, labels.name, labels.form)
        if form == NAMES:
            return replace(labels, values=resolve_names(values, _known(names, labels), labels.name))
        if form == DENSE:
            return replace(labels, values=dense_of_lists(values, num_classes))
        _check_indices(labels)
        check_index_range(values.rows, values.values, labels, num_classes)
    elif hasattr(values, "shape"):
        check_array_form(labels.name, values.shape, num_classes, labels.form)
    _refuse_digit_names(labels, scores, names)
    if own is None or _are_positions(own):
        return labels
    if names is None and not are_shuffled_positions(own):
        return labels
    requested = list(map(str, range(len(own)))) if names is None else _spelled_as(own, names)
    order = permutation(own, requested, labels.name, scores.name if names is None else names.source)
    if order is None:
        return labels
    notes.append(f"{_short(labels.name)}: classes are reordered by name to {_order_name(names)}")
    return replace(labels, values=_reordered(values, order), class_names=tuple(requested))


def _refuse_digit_names(labels: Labels, scores: Scores, names: ClassNames | None) -> None:
    """Refuse class indices where classes are called 1, 2, 3 or other numbers: a number can be a name or an index."""
    if names is None or labels.form in (LISTS, INDICES) or labels.class_names is not None:
        return
    are_indices = isinstance(labels.values, Lists) or (
        not isinstance(labels.values, LabelPairs) and len(labels.values.shape) == 1 and scores.num_classes > 1
    )
    if are_indices and all(map(str.isdecimal, names.names)) and not are_shuffled_positions(names.names):
        raise InputError(
            f"{labels.name}: numbers can be indices from 0 or the names of the classes, which are "
            f"{listing(names.names, 3)}; say label_form='lists' (or 'indices'), or 'names' (--label-form)"
        )


def _known(names: ClassNames | None, labels: Labels) -> ClassNames:
    """The names under which labels are looked up."""
    if names is None and labels.class_names is not None:
        names = ClassNames.from_names(labels.class_names, labels.name)
    if names is None:
        raise InputError(
            f"{labels.name}: labels are class names, but nothing names the columns of the scores; give class_names= "
            "(--class-names FILE)"
        )
    return names


def resolve_names(values: Cells | Lists, known: ClassNames, name: str) -> Lists:
    """Class names, in cells or in lists, as lists of class indices.

    Raises:
        InputError: Names that no class has.
    """
    if isinstance(values, Cells):
        return resolve_cells(values, known.index_of)
    given = list(map(str, values.values.tolist()))
    missing = list(dict.fromkeys(value for value in given if value not in known.index_of))
    if missing:
        raise InputError(
            f"{name}: expected class names, got {listing(map(quote, missing), 3)}; the names of the classes begin with "
            f"{listing(map(quote, known.names[:3]))}"
        )
    indices = [known.index_of[value] for value in given]
    return Lists(values.indptr, np.array(indices, np.int64))


def _reordered(values: Any, order: np.ndarray) -> Any:
    """Labels with class ``order[k]`` as class k."""
    if isinstance(values, (Lists, LabelPairs)) or values.ndim == 1:
        new_index = np.empty(len(order), np.int64)
        new_index[order] = np.arange(len(order))
        if isinstance(values, Lists):
            return Lists(values.indptr, new_index[values.values])
        if isinstance(values, LabelPairs):
            return replace(values, classes=new_index[values.classes])
        return new_index[values]
    return values[:, order]


# ---------------------------------------------------------------------------------------------------------------------
# Rows
# ---------------------------------------------------------------------------------------------------------------------


def join_rows(scores: Scores, labels: Labels, join: str, notes: list[str]) -> tuple[Scores, Labels, np.ndarray | None]:
    """Labels in the order of the scores' rows, where both have ids."""
    if labels.form == "long":
        if scores.ids is None:
            raise InputError(
                f"{labels.name}: a line for each id and class can only be joined by id, but the scores have no ids; "
                "give ids= (--ids)"
            )
        labels = _unite(labels)
    if join != POSITION:
        scores, labels = _with_counted_ids(scores, labels), _with_counted_ids(labels, scores)
    if scores.ids is None or labels.ids is None or join == POSITION:
        _check_rows(scores, labels)
        return scores, labels, scores.ids if scores.ids is not None else labels.ids
    ours, theirs = _comparable(scores.ids, labels.ids)
    by_position = "join='position' (--join position) leaves ids out"
    _refuse_repeated(
        ours, scores.name, f"; reduce='mean' (--reduce mean) makes one row of the views of a video, {by_position}"
    )
    _refuse_repeated(
        theirs, labels.name, f"; label_form='long' (--label-form) unites the labels of one id, {by_position}"
    )
    if len(ours) == len(theirs) and bool((ours == theirs).all()):
        return scores, labels, scores.ids
    row_of = {known: row for row, known in enumerate(theirs.tolist())}
    own = set(ours.tolist())
    unlabelled = [known for known in ours.tolist() if known not in row_of]
    unscored = [known for known in theirs.tolist() if known not in own]
    if len(unlabelled) == len(ours):
        raise _no_common_id(ours, theirs, scores.name, labels.name)
    _refuse_unmatched(unlabelled, unscored, scores.name, labels.name, join)
    if unlabelled:
        notes.append(f"{len(unlabelled):,} scored rows have no labels and are left out: {_some(unlabelled)}")
        kept = np.fromiter((known in row_of for known in ours.tolist()), bool, len(ours))
        scores = replace(scores, values=_rows_of(scores, kept), ids=scores.ids[kept])
        ours = ours[kept]
    if unscored:
        notes.append(f"{len(unscored):,} labelled rows have no scores and are left out: {_some(unscored)}")
    order = np.fromiter((row_of[known] for known in ours.tolist()), np.int64, len(ours))
    notes.append(f"{_short(labels.name)}: rows are joined to those of {_short(scores.name)} by id")
    return scores, replace(labels, values=take_rows(labels.values, order), ids=scores.ids), scores.ids


def _join_views(scores: Scores, labels: Labels, join: str, notes: list[str]) -> tuple[Labels, Views]:
    """The labels, united if they are in the long form, and the video of each row of both sides."""
    from vltr_eval.formats.views import Views, group_by_id  # not above: few evaluations have views

    if scores.ids is None or join == POSITION:
        got = "none" if scores.ids is None else "join='position' (--join position), which leaves ids out"
        raise InputError(
            f"reduce: expected ids that name the video of each row of {scores.name}, got {got}; give ids= (--ids)"
        )
    if labels.form == "long":
        labels = _unite(labels)
    ours, of_row = group_by_id(scores.ids)
    if labels.ids is None:
        if labels.num_rows != scores.num_rows:
            raise InputError(
                f"{labels.name}: {labels.num_rows} rows of labels without ids, but the scores have {scores.num_rows} "
                f"rows of {len(ours)} videos; give label_ids= (--label-ids), or labels for each row of scores"
            )
        return labels, Views(ours, of_row, of_row)
    theirs, of_label = group_by_id(labels.ids)
    own, other = _comparable(ours, theirs)
    number_of = {known: number for number, known in enumerate(own.tolist())}
    number = np.fromiter((number_of.get(known, -1) for known in other.tolist()), np.int64, len(other))
    is_labelled = np.zeros(len(own), bool)
    is_labelled[number[number >= 0]] = True
    unlabelled, unscored = own[~is_labelled].tolist(), other[number < 0].tolist()
    if len(unlabelled) == len(own):
        raise _no_common_id(own, other, scores.name, labels.name)
    _refuse_unmatched(unlabelled, unscored, scores.name, labels.name, join)
    if unlabelled:
        notes.append(f"{len(unlabelled):,} scored videos have no labels and are left out: {_some(unlabelled)}")
        kept = np.where(is_labelled, np.cumsum(is_labelled) - 1, -1)
        ours, of_row = ours[is_labelled], kept[of_row]
        number = np.where(number < 0, -1, kept[number])
    if unscored:
        notes.append(f"{len(unscored):,} labelled videos have no scores and are left out: {_some(unscored)}")
    return labels, Views(ours, of_row, number[of_label])


def _no_common_id(ours: np.ndarray, theirs: np.ndarray, own_name: str, other_name: str) -> InputError:
    return InputError(
        f"{other_name}: no id is one of {own_name}: the ids there begin with {quote(str(ours[0]))}, here with "
        f"{quote(str(theirs[0]))}{_hint(ours, theirs)}; join='position' (--join position) leaves ids out"
    )


def _refuse_unmatched(
    unlabelled: Sequence[Any], unscored: Sequence[Any], own_name: str, other_name: str, join: str
) -> None:
    if join == "exact" and (unlabelled or unscored):
        parts = [f"{other_name} lacks {_some(unlabelled)} of {own_name}"] * bool(unlabelled)
        parts += [f"{own_name} lacks {_some(unscored)} of {other_name}"] * bool(unscored)
        raise InputError(f"{' and '.join(parts)}; join='inner' (--join inner) evaluates the rows that both have")


def _with_counted_ids(side: Side, other: Scores | Labels) -> Side:
    """A side without ids, whose left-out index serves as ids where those of the other side are 0..N-1 in another order.

    Raises:
        InputError: The other side has such ids, and this side has no index: they can number its rows or not.
    """
    if side.ids is not None or other.ids is None or side.num_rows != len(other.ids):
        return side
    texts = other.ids.tolist()
    if other.ids.dtype == object and not all(text.isascii() and text.isdecimal() and len(text) < 18 for text in texts):
        return side
    numbers, expected = other.ids.astype(np.int64), np.arange(len(other.ids))
    if (numbers == expected).all() or (np.sort(numbers) != expected).any():
        return side
    if side.counts_rows:
        return replace(side, ids=expected)
    option = "ids= (--ids)" if isinstance(side, Scores) else "label_ids= (--label-ids)"
    raise InputError(
        f"{other.name}: the ids are 0 to {len(expected) - 1} in another order, but {side.name} has no ids; give "
        f"{option} to join rows by id, or join='position' (--join position) to leave ids out"
    )


def _some(ids: Sequence[Any]) -> str:
    return f"{len(ids):,} id{'s' * (len(ids) != 1)} ({listing((quote(str(known)) for known in ids), 3)})"


def _comparable(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids of both sides as one type: where one side has text, both are compared as text."""
    if (ours.dtype == object) == (theirs.dtype == object):
        return ours, theirs
    return np.array(list(map(str, ours.tolist())), object), np.array(list(map(str, theirs.tolist())), object)


def _refuse_repeated(ids: np.ndarray, name: str, remedy: str) -> None:
    if len(set(ids.tolist())) < len(ids):
        twice = repeated(ids.tolist())
        raise InputError(f"{name}: expected each id once, got {_some(twice)} more than once{remedy}")


def _hint(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Whether ids are the same without folder and extension."""
    stems = [{PurePosixPath(str(known)).name.partition(".")[0] for known in ids.tolist()} for ids in (ours, theirs)]
    return "; without folder and extension they agree, so cut these off" if stems[0] & stems[1] else ""


def _rows_of(scores: Scores, kept: np.ndarray) -> Any:
    """The kept rows of all shards, as copies."""
    shards, start = [], 0
    for shard in scores.shards:
        shards.append(shard[kept[start : start + len(shard)]])
        start += len(shard)
    return shards if isinstance(scores.values, list) else shards[0]


def take_rows(values: Any, order: np.ndarray) -> Any:
    """Labels of some of the rows, in another order."""
    if isinstance(values, Cells):
        return values.take(order)
    if isinstance(values, LabelPairs):
        values = _lists_of_pairs(values)
    if isinstance(values, Lists):
        lengths = values.lengths[order]
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        positions = np.arange(indptr[-1]) + np.repeat(values.indptr[:-1][order] - indptr[:-1], lengths)
        return Lists(indptr, values.values[positions])
    return values[order]


def _lists_of_pairs(pairs: LabelPairs) -> Lists:
    order = np.argsort(pairs.rows, kind="stable")
    counts = np.bincount(pairs.rows, minlength=pairs.num_rows)
    return Lists(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), pairs.classes[order])


def _unite(labels: Labels) -> Labels:
    """One row for each id, with all labels of its lines: the long form."""
    if labels.ids is None:
        raise InputError(f"{labels.name}: expected ids for label_form='long', got none; name them with ids= (--ids)")
    values = labels.values
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iu":
        values = Lists(np.arange(len(values) + 1), values.astype(np.int64))
    if not isinstance(values, Lists):
        raise InputError(f"{labels.name}: expected one class or a list of classes a line for label_form='long'")
    position_of = {known: position for position, known in enumerate(dict.fromkeys(labels.ids.tolist()))}
    positions = np.fromiter((position_of[known] for known in labels.ids.tolist()), np.int64, len(labels.ids))
    rows = positions[values.rows]
    pairs = np.unique(np.stack([rows, values.values]), axis=1)
    ids = np.array(list(position_of), labels.ids.dtype)
    counts = np.bincount(pairs[0], minlength=len(ids))
    lists = Lists(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), pairs[1])
    return replace(labels, values=lists, ids=ids)


def _check_rows(scores: Scores, labels: Labels) -> None:
    if scores.num_rows == 0 != labels.num_rows:
        own = "" if scores.name == "scores" else f"{scores.name}: "
        raise InputError(f"{own}scores: expected at least one row and one class, got shape (0, {scores.num_classes})")
    if scores.num_rows != labels.num_rows:
        raise InputError(f"{labels.name}: {labels.num_rows} rows of labels, but the scores have {scores.num_rows} rows")


# ---------------------------------------------------------------------------------------------------------------------
# Extent
# ---------------------------------------------------------------------------------------------------------------------


def settle_labels(labels: Labels, num_classes: int | None, names: ClassNames | None) -> Labels:
    """Labels without scores beside them, as dense array, class indices or `LabelPairs`."""
    if num_classes is None and isinstance(labels.values, Lists) and not labels.values.is_text:
        # No row lists a class twice, so rows that do are rows of a dense matrix; `form_of_lists` knows the rest.
        _check_indices(labels)
        check_index_range(labels.values.rows, labels.values.values, labels)
        return _as_pairs(labels)
    total = num_classes if num_classes is not None else 0 if names is None else len(names.names)
    scores = Scores(np.empty((0, total)), None if names is None else names.names)
    labels = _resolve_labels(labels, scores, names, [])
    if labels.form == "long":
        labels = _unite(labels)
    labels = _as_pairs(labels)
    if num_classes is not None:
        check_classes(labels, num_classes)
    return labels


def _as_pairs(labels: Labels) -> Labels:
    """Lists of class indices as `LabelPairs`; other labels as they are."""
    values = labels.values
    if not isinstance(values, Lists):
        return labels
    return replace(labels, values=LabelPairs(values.num_rows, None, values.rows, values.values))


def check_classes(labels: Labels, num_classes: int) -> None:
    """Raise InputError where labels have another number of classes, or an index beyond them."""
    values = labels.values
    own = values.num_classes if isinstance(values, LabelPairs) else None
    if isinstance(values, np.ndarray) or hasattr(values, "shape"):
        own = values.shape[1] if len(values.shape) == 2 else None
    if own is not None and own != num_classes:
        raise InputError(f"{labels.name}: labels of {own} classes, but the scores have {num_classes} classes")
    if isinstance(values, LabelPairs):
        check_index_range(values.rows, values.classes, labels, num_classes)


def _check_indices(labels: Labels) -> None:
    if (odd := first_odd_value(labels.values)) is not None:
        row, value = odd
        raise InputError(
            f"{labels.name}: {labels.at(row)}: expected a class index (0, 1, ...), got {shorten(repr(value))}"
        )


def check_index_range(rows: np.ndarray, classes: np.ndarray, labels: Labels, num_classes: int = MAX_CLASSES) -> None:
    """Raise InputError for a negative class index, one beyond the classes, and a class that a row lists twice."""
    negative = np.flatnonzero(classes < 0)
    if negative.size:
        at = negative[0]
        got = quote(str(classes[at]))
        raise InputError(f"{labels.name}: {labels.at(rows[at])}: expected a class index (0, 1, ...), got {got}")
    beyond = np.flatnonzero(classes >= num_classes)
    if beyond.size:
        at = beyond[0]
        known = f"the scores have {num_classes} classes" if classes[at] < MAX_CLASSES else "no index is that large"
        raise InputError(f"{labels.name}: {labels.at(rows[at])}: class index {classes[at]}, but {known}")
    order = np.lexsort((classes, rows))
    twice = np.flatnonzero((np.diff(rows[order]) == 0) & (np.diff(classes[order]) == 0))
    if twice.size:
        at = order[twice[0]]
        raise InputError(f"{labels.name}: {labels.at(rows[at])}: class {classes[at]} is listed twice")


def _short(name: str) -> str:
    """A file's name without its folder, for notes: a report holds no path."""
    return PurePosixPath(name.replace("\\", "/")).name or name
