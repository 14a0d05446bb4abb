"""The meaning of a table: the columns that are ids, classes or labels, and doubts. No other module decides it.

The columns of a table are distinguished by `column_roles`.

Label files with one labels column, found by its name (`roles.LABELS`) or by being the only column that holds lists or
text beside the ids, have a list for each row: text cells are split at ``;``, ``,``, ``|`` or white space.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vltr_eval.formats.cells import Cells, split_cells
from vltr_eval.formats.column_roles import (
    Options,
    chosen_columns,
    columns_of,
    described,
    is_aside,
    is_named_ids,
    label_of,
    matching_columns,
    names_of,
    split_columns,
)
from vltr_eval.formats.label_forms import NAMES
from vltr_eval.formats.roles import IDS, LABELS, SCORES, has_role, role_of
from vltr_eval.formats.sources import listing, quote
from vltr_eval.formats.table import (
    BOOL,
    LIST,
    MATRIX,
    NUMBER,
    OTHER,
    TEXT,
    LabelPairs,
    Lists,
    Table,
)


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores as they were read.

    Attributes:
        values: (N, C) or (N,) array, of numpy or torch, or a list of such row shards.
        class_names: C names, or None where the files have none.
        ids: (N,) row ids, objects of str or int64; None where the files have none.
        notes: Sentences about what was left out or changed.
        name: The file, for messages.
        counts_rows: The file has an index, which counts 0, 1, 2, ... and is left out.
    """

    values: Any
    class_names: tuple[str, ...] | None = None
    ids: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    name: str = "scores"
    counts_rows: bool = False

    @property
    def num_rows(self) -> int:
        return sum(len(shard) for shard in self.shards)

    @property
    def num_classes(self) -> int:
        shape = self.shards[0].shape
        return shape[1] if len(shape) == 2 else 1

    @property
    def shards(self) -> list[Any]:
        return self.values if isinstance(self.values, list) else [self.values]


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels as they were read.

    Attributes:
        values: Dense (N, C) or (N,) array, `Lists`, `LabelPairs`, or `Cells` of class names.
        class_names: The names of dense columns, or of class indices; None where the file has none.
        ids: (N,) row ids, objects of str or int64; None where the file has none.
        notes: Sentences about what was left out or changed.
        name: The file, for messages.
        row_word: How messages count rows: "row" from 0, or "line" from 1.
        form: The form that the user stated.
        counts_rows: As of `Scores`.
        listed: The cells that a list of verified labels has, positive or not; None if cells without a line are absent.
    """

    values: Any
    class_names: tuple[str, ...] | None = None
    ids: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    name: str = "labels"
    row_word: str = "row"
    form: str | None = None
    counts_rows: bool = False
    listed: Labels | None = None

    @property
    def num_rows(self) -> int:
        return self.values.num_rows if isinstance(self.values, (Lists, LabelPairs, Cells)) else len(self.values)

    def at(self, row: int) -> str:
        return f"line {row + 1}" if self.row_word == "line" else f"row {row}"


# ---------------------------------------------------------------------------------------------------------------------
# Scores
# ---------------------------------------------------------------------------------------------------------------------


def scores_of(table: Table, options: Options, class_names: Iterable[str] = ()) -> Scores:
    """Interpret one table as scores.

    Args:
        table: The file.
        options: The user's choices.
        class_names: Names that are known to be classes, from the other file or ``class_names``; they are never
            suspected to be ids.

    Raises:
        InputError: Columns in doubt, or a table that holds no scores.
    """
    if table.first_line is not None and not table.positions({NUMBER, BOOL, LIST, MATRIX}):
        table = table.first_line  # a line of words cannot be scores
    table = _with_header(table, options)
    if table.pairs is not None:
        raise table.error("a sparse matrix can hold labels, not scores")
    if table.num_rows == 0 and table.array is None and table.lists is None:
        return Scores(np.empty((0, len(table.columns))), name=str(table.source))
    if table.lists is not None:
        return Scores(_rectangle(table, table.lists), table.class_names, table.ids, table.notes, str(table.source))
    if table.array is not None:
        values, names = _pick_from_array(table, options)
        return Scores(values, names, table.ids, table.notes, str(table.source))
    if (picked := _picked_column(table)) is not None:
        options = replace(options, columns=(f"#{picked}",))
    split = split_columns(table, SCORES, options, frozenset(class_names))
    if not split.classes:
        wide = [position for position in split.others if table.columns[position].kind in (LIST, MATRIX)]
        named = [position for position in wide if has_role(table.columns[position].name, SCORES)]
        chosen = wide if len(wide) == 1 else named
        if len(chosen) != 1:
            raise table.error(
                f"expected columns of numbers, got {described(table, range(len(table.columns)))}; choose them with "
                "columns= (--columns)"
            )
        content = table.read_column(chosen[0])
        values = content if table.columns[chosen[0]].kind == MATRIX else _rectangle(table, content)
        notes = (*table.notes, *split.notes)
        return Scores(values, table.class_names, split.ids, notes, str(table.source), split.counts_rows)
    refused = [position for position in split.others if table.columns[position].kind in (LIST, MATRIX, OTHER)]
    if refused:
        raise table.error(
            f"expected columns of numbers, got {described(table, refused)}; leave it out with exclude= (--exclude)"
        )
    values = table.read_matrix(split.classes)
    _refuse_counting_column(table, values, split.classes, options)
    if values.shape[1] == 1:
        values = values[:, 0]
    names = names_of(table, split.classes)
    return Scores(values, names, split.ids, (*table.notes, *split.notes), str(table.source), split.counts_rows)


def _picked_column(table: Table) -> int | None:
    """Position of the column that ``FILE::KEY`` names, or None without a key."""
    key = getattr(table.source, "key", None)
    if key is None:
        return None
    if key not in table.column_names:
        raise table.error(f"no such column; the file holds {listing(table.column_names)}")
    return table.column_names.index(key)


def _rectangle(table: Table, lists: Lists) -> np.ndarray:
    """Lists of equally many numbers as an (N, C) array."""
    lengths = lists.lengths
    if lists.num_rows == 0:
        raise table.error("expected a list of numbers in every row for scores, got no rows")
    if (lengths != lengths[0]).any():
        row = int(np.argmax(lengths != lengths[0]))
        raise table.error(
            f"expected equally many numbers in every row for scores, got {lengths[0]} in {table.at(0)} and "
            f"{lengths[row]} in {table.at(row)}"
        )
    if lists.values.dtype == object:
        import json  # not above: only the message of an error needs it

        values = lists.values.tolist()
        position = next(position for position, value in enumerate(values) if not _is_exact_number(value))
        raise table.error(
            f"{table.at(lists.rows[position])}: expected numbers that float64 or int64 holds exactly for scores, got "
            f"{quote(json.dumps(values[position]))}"
        )
    return lists.values.reshape(lists.num_rows, -1)


def _is_exact_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= 2**53)


def _pick_from_array(table: Table, options: Options) -> tuple[Any, tuple[str, ...] | None]:
    """Choose columns of an array without a header, by position, or by its class names where the file has them."""
    array, names = table.array, table.class_names
    if array.ndim not in (1, 2):
        raise table.error(f"expected an array of 1 or 2 dimensions, got shape {tuple(array.shape)}")
    if array.ndim == 2 and (options.columns is not None or options.exclude):
        kept = chosen_columns(columns_of(table), options)
        array, names = array[:, kept], None if names is None else tuple(names[position] for position in kept)
    if array.ndim == 2 and options.columns is None and not options.exclude:
        _refuse_counting_column(table, array, range(array.shape[1]), options)
    if names is not None and (array.ndim != 2 or len(names) != array.shape[1]):
        names = None
    return array, names


@np.errstate(invalid="ignore")  # a signalling NaN, and the difference of infinities
def _refuse_counting_column(table: Table, values: Any, positions: Sequence[int], options: Options) -> None:
    """Refuse a first column that counts the rows in front of other columns: a saved index, not scores."""
    if options.columns is not None or values.ndim != 2 or values.shape[1] < 2 or len(values) < 4:
        return
    head = _as_float64(values[:4, :2])
    start = head[0, 0]
    if start not in (0, 1) or (head[:, 0] != start + np.arange(4)).any() or (head[1:, 1] == head[:-1, 1] + 1).all():
        return
    first = _as_float64(values[:, 0])
    if (first == start + np.arange(len(first))).all():
        name = label_of(table, positions[0]) if table.columns else "the first column"
        raise table.error(
            f"{name} counts the rows ({start:.0f}, {start + 1:.0f}, ...), so it is an index and no class; leave it out "
            f"with exclude={positions[0] if not table.columns else table.column_names[positions[0]]!r} (--exclude), or "
            "choose the classes with columns= (--columns)"
        )


def _as_float64(values: Any) -> np.ndarray:
    """A few numbers of numpy or torch, of any dtype."""
    return values.double().numpy() if hasattr(values, "data_ptr") else np.asarray(values).astype(np.float64)


# ---------------------------------------------------------------------------------------------------------------------
# Labels
# ---------------------------------------------------------------------------------------------------------------------


def labels_of(table: Table, options: Options, class_names: Iterable[str] = ()) -> Labels:
    """Interpret one table as labels; see `scores_of` for the arguments.

    Raises:
        InputError: Columns in doubt, or a table that holds no labels.
    """
    table = _with_header(table, options)
    if options.missing:
        table = table.with_missing()
    name, notes = str(table.source), table.notes
    rest: dict[str, Any] = {"name": name, "row_word": table.row_word, "form": options.label_form}
    if table.pairs is not None:
        return Labels(table.pairs, table.class_names, table.ids, notes, **rest)
    if table.lists is not None:
        return Labels(table.lists, table.class_names, table.ids, notes, **rest)
    if table.array is not None:
        if table.array.ndim not in (1, 2):
            raise table.error(f"expected labels of 1 or 2 dimensions, got shape {tuple(table.array.shape)}")
        names = table.class_names
        if names is not None and table.array.ndim == 2 and len(names) != table.array.shape[1]:
            names = None
        return Labels(table.array, names, table.ids, notes, **rest)
    known = frozenset(class_names)
    position = _labels_column(table, options, known)
    if position is None:
        return _dense_labels(table, options, known, rest)
    others = replace(options, exclude=(*options.exclude, *_all_but_ids(table, position, options)))
    split = split_columns(table, LABELS, others, known, labels_column=position)
    column, content = table.columns[position], table.read_column(position)
    values = content
    if column.kind == TEXT:
        values = split_cells(table, position, content, as_names=options.label_form == NAMES)
    elif column.kind == NUMBER:
        values = _whole(table, position, content)
        if options.label_form == NAMES:
            values = Lists(np.arange(table.num_rows + 1), values)
    unread = [
        table.column_names[other]
        for other, found in enumerate(table.columns)
        if other not in (position, split.ids_column) and not found.is_index
    ]
    if unread:
        notes = (
            *notes,
            f"{table.name}: labels are column {table.column_names[position]}; not read: {listing(unread, 6)}",
        )
    return Labels(values, table.class_names, split.ids, (*notes, *split.notes), counts_rows=split.counts_rows, **rest)


def _labels_column(table: Table, options: Options, known: frozenset[str]) -> int | None:
    """Position of the one column that holds all labels of a row, or None where each class has a column."""
    if (picked := _picked_column(table)) is not None:
        return picked
    if options.columns is not None:
        return None
    excluded = set(matching_columns(table, options.exclude))
    free = [
        position
        for position, column in enumerate(table.columns)
        if position not in excluded and not column.is_index and not is_named_ids(column, options)
    ]
    numbers = [position for position in free if table.columns[position].kind in (NUMBER, BOOL)]
    wide = [position for position in free if table.columns[position].kind in (LIST, MATRIX)]
    texts = [position for position in free if table.columns[position].kind == TEXT]
    named = [position for position in free if has_role(table.columns[position].name, LABELS)]
    named = [position for position in named if table.columns[position].name not in known]
    for candidates in (
        [position for position in named if table.columns[position].kind in (LIST, MATRIX, TEXT)],
        [position for position in wide if role_of(table.columns[position].name) in (LABELS, None)],
    ):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise table.error(
                f"cannot tell which column holds the labels, {listing(table.column_names[p] for p in candidates)}; "
                "leave the others out with exclude= (--exclude)"
            )
    if named:
        # A number column called "label": class indices, unless classes have columns of their own beside it.
        others = [position for position in numbers if position not in named and not is_aside(table.columns[position])]
        if len(named) == 1 and not others:
            return named[0]
        raise table.error(
            f"column {table.column_names[named[0]]} can hold class indices or be one class of several columns; say "
            "which: exclude= (--exclude) or columns= (--columns)"
        )
    if numbers:
        return None
    unnamed = [position for position in texts if not has_role(table.columns[position].name, IDS)] or texts
    if len(unnamed) == 2 == len(texts) and not any(column.is_index for column in table.columns):
        return texts[1]
    return unnamed[0] if len(unnamed) == 1 else None


def _all_but_ids(table: Table, labels_column: int, options: Options) -> list[str]:
    """Positions, as options take them, of the columns that are neither the labels nor can be ids."""
    texts = [
        position
        for position, column in enumerate(table.columns)
        if position != labels_column and not column.is_index and not is_named_ids(column, options)
    ]
    ids = [position for position in texts if has_role(table.columns[position].name, IDS)]
    if not ids:
        ids = [
            position
            for position in texts
            if table.columns[position].kind == TEXT and role_of(table.columns[position].name) is None
        ]
    return [f"#{position}" for position in texts if position not in ids[:1]] + [f"#{labels_column}"]


def _dense_labels(table: Table, options: Options, known: frozenset[str], rest: dict[str, Any]) -> Labels:
    """A column for each class, or one column of class indices."""
    if not table.columns:
        raise table.error("expected labels, got an empty file")
    split = split_columns(table, LABELS, options, known)
    refused = [position for position in split.others if table.columns[position].kind in (LIST, MATRIX, OTHER)]
    if refused or not split.classes:
        positions = refused or range(len(table.columns))
        raise table.error(
            f"expected labels, got {described(table, positions)}; choose columns with columns= or exclude= (--columns, "
            "--exclude)"
        )
    values = table.read_matrix(split.classes)
    names = names_of(table, split.classes)
    if values.shape[1] == 1:
        values, names = _whole(table, split.classes[0], values[:, 0]), None
    return Labels(values, names, split.ids, (*table.notes, *split.notes), counts_rows=split.counts_rows, **rest)


def _whole(table: Table, position: int, values: np.ndarray) -> np.ndarray:
    """A column of whole numbers as int64: class indices. Another column stays as it is."""
    if values.dtype.kind != "f":
        return values
    is_whole = (np.abs(values) < 2**53).all() and (values == np.floor(values)).all()
    return values.astype(np.int64) if is_whole else values


# ---------------------------------------------------------------------------------------------------------------------
# A first line that can be a header or a row
# ---------------------------------------------------------------------------------------------------------------------


def _with_header(table: Table, options: Options) -> Table:
    """The table read as ``header`` says; refused where that is open and the lines do not tell."""
    if table.first_line is None:
        return table
    if options.header is None:
        names = ",".join(table.first_line.column_names[:6])
        raise table.error(
            f"the first line, {names}, can be a header or a row of values; say header=True or False (--header yes|no)"
        )
    return table.first_line if options.header else replace(table, first_line=None)


def settle_headers(
    scores: Sequence[Table], labels: Sequence[Table], options: Options
) -> tuple[list[Table], list[Table], tuple[str, ...]]:
    """Decide about first lines that can be a header or a row by the number of rows of the other side.

    All files of one side are read in the same way. The reading under which both sides have equally many rows is taken
    if it is the only one; otherwise the tables stay in doubt, and reading them is refused.
    """
    if options.header is not None or not any(table.first_line is not None for table in (*scores, *labels)):
        return list(scores), list(labels), ()
    fits = [
        (one, other)
        for one in _readings(scores)
        for other in _readings(labels)
        if sum(table.num_rows for table in one) == sum(table.num_rows for table in other)
    ]
    if len(fits) != 1:
        return list(scores), list(labels), ()
    notes = tuple(
        f"{table.name}: the first line is a header, since the other file has {table.num_rows} rows"
        for settled, before in zip(fits[0], (scores, labels), strict=True)
        for table, old in zip(settled, before, strict=True)
        if old.first_line is table
    )
    one, other = ([replace(table, first_line=None) for table in side] for side in fits[0])
    return one, other, notes


def _readings(tables: Sequence[Table]) -> list[list[Table]]:
    """The ways to read the files of one side."""
    if not any(table.first_line is not None for table in tables):
        return [list(tables)]
    return [list(tables), [table.first_line or table for table in tables]]
