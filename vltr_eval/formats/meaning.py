"""The one place that decides what a table means: which columns are ids, classes or labels, and what is in doubt.

Rules for the columns of scores, and of labels with one column a class, in this order:

1. ``exclude`` leaves columns out, ``columns`` names the classes, ``ids`` names the column of row ids.
2. The index that a file declares (pandas' metadata in parquet, an empty first header cell in CSV) is never a class. Its
   values are the row ids, unless they count 0, 1, 2, ... in order; then it is left out, and a note says so.
3. A column of text holds the row ids. Of several, the one whose name says so (`roles.IDS`).
4. A column of distinct whole numbers whose name says that it holds ids holds the ids, and a note says so.
5. Another name that says "no class" (fold, split, label, row, ...) is refused with the ways to go on, and so is a first
   column of distinct whole numbers in front of fractions, or one that counts the rows.
6. All other number columns are classes.

Label files with one labels column, found by its name (`roles.LABELS`) or by being the only column that holds lists or
text beside the ids, have a list for each row: text cells are split at ``;``, ``,``, ``|`` or white space.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vltr_eval.formats.label_forms import check_form
from vltr_eval.formats.roles import IDS, LABELS, SCORES, Role, has_role, plain, role_of
from vltr_eval.formats.sources import InputError, listing, quote
from vltr_eval.formats.table import (
    BOOL,
    LIST,
    MATRIX,
    NUMBER,
    OTHER,
    TEXT,
    Column,
    LabelPairs,
    Lists,
    Table,
    check_distinct_names,
)

NO_CLASS = frozenset(
    {"row", "rows", "row_number", "index", "idx", "level_0", "fold", "folds", "split", "subset", "split_name", "frame"}
    | {"num_frames", "n_frames", "start_seconds", "end_seconds", "time_start", "time_end", "start_time", "end_time"}
    | {"epoch", "seed"}
)
"""Names of columns that stand beside classes and are none."""


@dataclass(frozen=True)
class Options:
    """What a person says about the columns of the files.

    Attributes:
        ids: The name of the column with the row ids.
        columns: Names, patterns (``class_*``), positions or ranges (``3:``) of the columns that are classes.
        exclude: The same, of columns to leave out.
        label_form: One of `label_forms.FORMS`.
        header: Whether the first line of text files is a header; None where the lines tell.
    """

    ids: str | None = None
    columns: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    label_form: str | None = None
    header: bool | None = None

    def __post_init__(self) -> None:
        check_form(self.label_form)


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores as they were read.

    Attributes:
        values: (N, C) or (N,) array, of numpy or torch, or a list of such row shards.
        class_names: C names, or None where the files have none.
        ids: (N,) row ids, objects of str or int64; None where the files have none.
        notes: Sentences about what was left out or changed.
        name: The file, for messages.
    """

    values: Any
    class_names: tuple[str, ...] | None = None
    ids: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    name: str = "scores"

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
        values: Dense (N, C) or (N,) array, `Lists`, or `LabelPairs`.
        class_names: The names of dense columns, or of class indices; None where the file has none.
        ids: (N,) row ids, objects of str or int64; None where the file has none.
        notes: Sentences about what was left out or changed.
        name: The file, for messages.
        row_word: How messages count rows: "row" from 0, or "line" from 1.
        form: The form that the user stated.
    """

    values: Any
    class_names: tuple[str, ...] | None = None
    ids: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    name: str = "labels"
    row_word: str = "row"
    form: str | None = None

    @property
    def num_rows(self) -> int:
        return self.values.num_rows if isinstance(self.values, (Lists, LabelPairs)) else len(self.values)

    def at(self, row: int) -> str:
        return f"line {row + 1}" if self.row_word == "line" else f"row {row}"


# ---------------------------------------------------------------------------------------------------------------------
# Scores
# ---------------------------------------------------------------------------------------------------------------------


def scores_of(table: Table, options: Options, class_names: Iterable[str] = ()) -> Scores:
    """Interpret one table as scores.

    Args:
        table: The file.
        options: What the user said.
        class_names: Names that are known to be classes, from the other file or ``class_names``; they are never
            suspected to be ids.

    Raises:
        InputError: Columns in doubt, or a table that holds no scores.
    """
    table = _with_header(table, options)
    if table.pairs is not None:
        raise table.error("a sparse matrix can hold labels, not scores")
    if table.lists is not None:
        return Scores(_rectangle(table, table.lists), table.class_names, table.ids, table.notes, str(table.source))
    if table.array is not None:
        values, names = _pick_from_array(table, options)
        return Scores(values, names, table.ids, table.notes, str(table.source))
    split = _split(table, SCORES, options, frozenset(class_names))
    if not split.classes:
        wide = [place for place in split.others if table.columns[place].kind in (LIST, MATRIX)]
        named = [place for place in wide if has_role(table.columns[place].name, SCORES)]
        chosen = wide if len(wide) == 1 else named
        if len(chosen) != 1:
            raise table.error(
                f"expected columns of numbers, got {_described(table, range(len(table.columns)))}; choose them with "
                "columns= (--columns)"
            )
        content = table.read_column(chosen[0])
        values = content if table.columns[chosen[0]].kind == MATRIX else _rectangle(table, content)
        return Scores(values, table.class_names, split.ids, (*table.notes, *split.notes), str(table.source))
    refused = [place for place in split.others if table.columns[place].kind in (LIST, MATRIX, OTHER)]
    if refused:
        raise table.error(
            f"expected columns of numbers, got {_described(table, refused)}; leave it out with exclude= (--exclude)"
        )
    values = table.read_matrix(split.classes)
    _refuse_counting_column(table, values, split.classes, options)
    if values.shape[1] == 1:
        values = values[:, 0]
    names = _names_of(table, split.classes)
    return Scores(values, names, split.ids, (*table.notes, *split.notes), str(table.source))


def _rectangle(table: Table, lists: Lists) -> np.ndarray:
    """Lists of equally many numbers as an (N, C) array."""
    lengths = lists.lengths
    if lists.num_rows == 0 or (lengths != lengths[0]).any() or lists.values.dtype == object:
        kinds = {type(value) for value in lists.values.tolist()} if lists.values.dtype == object else set()
        if kinds <= {int, float} and lists.num_rows and (lengths == lengths[0]).all():
            return lists.values.astype(np.float64).reshape(lists.num_rows, -1)
        raise table.error("expected equally many numbers in every row for scores, got lists of another kind or length")
    return lists.values.reshape(lists.num_rows, -1)


def _pick_from_array(table: Table, options: Options) -> tuple[Any, tuple[str, ...] | None]:
    """Choose columns of an array without a header, by position, or by its class names where the file has them."""
    array, names = table.array, table.class_names
    if array.ndim not in (1, 2):
        raise table.error(f"expected an array of 1 or 2 dimensions, got shape {tuple(array.shape)}")
    if array.ndim == 2 and (options.columns is not None or options.exclude):
        columns = tuple(Column(None if names is None else names[place], NUMBER) for place in range(array.shape[1]))
        kept = _chosen(replace(table, columns=columns), options)
        array, names = array[:, kept], None if names is None else tuple(names[place] for place in kept)
    if array.ndim == 2 and options.columns is None and not options.exclude:
        _refuse_counting_column(table, array, range(array.shape[1]), options)
    if names is not None and (array.ndim != 2 or len(names) != array.shape[1]):
        names = None
    return array, names


def _refuse_counting_column(table: Table, values: Any, places: Sequence[int], options: Options) -> None:
    """Refuse a first column that counts the rows in front of other columns: a saved index, not scores."""
    if options.columns is not None or values.ndim != 2 or values.shape[1] < 2 or len(values) < 4:
        return
    head = values[:4, :2]
    head = np.asarray(head.float() if "bfloat16" in str(values.dtype) else head, np.float64)
    start = head[0, 0]
    if start not in (0, 1) or (head[:, 0] != start + np.arange(4)).any() or (np.diff(head[:, 1]) == 1).all():
        return
    first = values[:, 0]
    first = np.asarray(first.float() if "bfloat16" in str(values.dtype) else first, np.float64)
    if (first == start + np.arange(len(first))).all():
        name = _label_of(table, places[0]) if table.columns else "the first column"
        raise table.error(
            f"{name} counts the rows ({start:.0f}, {start + 1:.0f}, ...), so it is an index and no class; leave it out "
            f"with exclude={places[0] if not table.columns else table.column_names[places[0]]!r} (--exclude), or "
            "choose the classes with columns= (--columns)"
        )


# ---------------------------------------------------------------------------------------------------------------------
# Labels
# ---------------------------------------------------------------------------------------------------------------------


def labels_of(table: Table, options: Options, class_names: Iterable[str] = ()) -> Labels:
    """Interpret one table as labels; see `scores_of` for the arguments.

    Raises:
        InputError: Columns in doubt, or a table that holds no labels.
    """
    table = _with_header(table, options)
    name, notes = str(table.source), table.notes
    rest = {"name": name, "row_word": table.row_word, "form": options.label_form}
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
    place = _labels_column(table, options, known)
    if place is None:
        return _dense_labels(table, options, known, rest)
    others = replace(options, exclude=(*options.exclude, *_all_but_ids(table, place, options)))
    split = _split(table, LABELS, others, known, labels_place=place)
    column, content = table.columns[place], table.read_column(place)
    values = content
    if column.kind == TEXT:
        values = split_cells(table, place, content)
    elif column.kind == NUMBER:
        values = _whole(table, place, content)
    unread = [
        table.column_names[other]
        for other, found in enumerate(table.columns)
        if other not in (place, split.ids_place) and not found.is_index
    ]
    if unread:
        notes = (*notes, f"{table.name}: labels are column {table.column_names[place]}; not read: {listing(unread, 6)}")
    return Labels(values, table.class_names, split.ids, (*notes, *split.notes), **rest)


def _labels_column(table: Table, options: Options, known: frozenset[str]) -> int | None:
    """Position of the one column that holds all labels of a row, or None where each class has a column."""
    if (key := getattr(table.source, "key", None)) is not None:
        if key not in table.column_names:
            raise table.error(f"no such column; the file holds {listing(table.column_names)}")
        return table.column_names.index(key)
    if options.columns is not None:
        return None
    excluded = set(_matching(table, options.exclude))
    free = [
        place
        for place, column in enumerate(table.columns)
        if place not in excluded and not column.is_index and column.name != options.ids
    ]
    numbers = [place for place in free if table.columns[place].kind in (NUMBER, BOOL)]
    wide = [place for place in free if table.columns[place].kind in (LIST, MATRIX)]
    texts = [place for place in free if table.columns[place].kind == TEXT]
    named = [place for place in free if has_role(table.columns[place].name, LABELS)]
    named = [place for place in named if table.columns[place].name not in known]
    for candidates in (
        [place for place in named if table.columns[place].kind in (LIST, MATRIX, TEXT)],
        [place for place in wide if role_of(table.columns[place].name) in (LABELS, None)],
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
        others = [place for place in numbers if place not in named and not _is_aside(table.columns[place])]
        if len(named) == 1 and not others:
            return named[0]
        raise table.error(
            f"column {table.column_names[named[0]]} can hold class indices or be one class of several columns; say "
            "which: exclude= (--exclude) or columns= (--columns)"
        )
    if numbers:
        return None
    texts = [place for place in texts if not has_role(table.columns[place].name, IDS)] or texts
    if len(texts) == 2 and not any(column.is_index for column in table.columns):
        return texts[1]
    return texts[0] if len(texts) == 1 else None


def _is_aside(column: Column) -> bool:
    """Whether a name says that a column stands beside the classes."""
    return column.name is not None and (plain(column.name) in NO_CLASS or has_role(column.name, IDS))


def _all_but_ids(table: Table, labels_place: int, options: Options) -> list[str]:
    """Positions, as options take them, of the columns that are neither the labels nor can be ids."""
    texts = [
        place
        for place, column in enumerate(table.columns)
        if place != labels_place and not column.is_index and column.name != options.ids
    ]
    ids = [place for place in texts if has_role(table.columns[place].name, IDS)]
    if not ids:
        ids = [
            place for place in texts if table.columns[place].kind == TEXT and role_of(table.columns[place].name) is None
        ]
    return [f"#{place}" for place in texts if place not in ids[:1]] + [f"#{labels_place}"]


def _dense_labels(table: Table, options: Options, known: frozenset[str], rest: dict[str, Any]) -> Labels:
    """A column for each class, or one column of class indices."""
    split = _split(table, LABELS, options, known)
    refused = [place for place in split.others if table.columns[place].kind in (LIST, MATRIX, OTHER)]
    if refused or not split.classes:
        places = refused or range(len(table.columns))
        raise table.error(
            f"expected labels, got {_described(table, places)}; choose columns with columns= or exclude= (--columns, "
            "--exclude)"
        )
    values = table.read_matrix(split.classes)
    names = _names_of(table, split.classes)
    if values.shape[1] == 1:
        values, names = _whole(table, split.classes[0], values[:, 0]), None
    return Labels(values, names, split.ids, (*table.notes, *split.notes), **rest)


def _whole(table: Table, place: int, values: np.ndarray) -> np.ndarray:
    """A column of whole numbers as int64: class indices. Another column stays as it is."""
    if values.dtype.kind != "f":
        return values
    is_whole = (np.abs(values) < 2**53).all() and (values == np.floor(values)).all()
    return values.astype(np.int64) if is_whole else values


_LITERAL = re.compile(r"""^\s*[\[({](.*)[\])}]\s*$""", re.DOTALL)
_CHARADES = re.compile(r"^(c\d{3}) \d+(?:\.\d+)? \d+(?:\.\d+)?$")


@dataclass(frozen=True, eq=False)
class Cells:
    """Text cells with the labels of each row, not yet split: class names may hold the characters that part labels."""

    cells: np.ndarray
    name: str

    @property
    def num_rows(self) -> int:
        return len(self.cells)

    def take(self, order: np.ndarray) -> Cells:
        return replace(self, cells=self.cells[order])


def split_cells(table: Table, place: int, cells: np.ndarray) -> Lists | Cells:
    """Text cells as lists of class indices, or as `Cells` where they hold names.

    Cells such as ``3;17;40``, ``3, 17`` or ``[3, 17]`` are class indices: digits and one kind of separator. Charades'
    ``c092 11.90 21.20;c147 0.00 12.60`` is classes 92 and 147, each once.
    """
    texts = [_inner(cell) for cell in cells.tolist()]
    filled = [text for text in texts if text]
    if filled and all(all(_CHARADES.match(part.strip()) for part in text.split(";")) for text in filled):
        rows = [sorted({int(part.strip()[1:4]) for part in text.split(";")}) if text else [] for text in texts]
        return Lists.from_rows(rows)
    for separator in (";", ",", "|", None):
        if filled and all(_are_digits(text, separator) for text in filled):
            return Lists.from_rows([[int(token) for token in _tokens(text, separator)] for text in texts])
    values = np.empty(len(texts), object)
    values[:] = texts
    return Cells(values, f"{table.source}: column {table.column_names[place]}")


def _inner(cell: str) -> str:
    """A cell without the brackets and quotes of a Python or JSON list."""
    match = _LITERAL.match(cell)
    if match is None:
        return cell.strip()
    return ",".join(token.strip().strip("'\"") for token in match.group(1).split(",")).strip()


def _tokens(text: str, separator: str | None) -> list[str]:
    tokens = [token.strip() for token in text.split(separator)]
    return tokens[:-1] if tokens and tokens[-1] == "" else tokens


def _are_digits(text: str, separator: str | None) -> bool:
    tokens = _tokens(text, separator)
    return bool(tokens) and all(token.isascii() and token.isdecimal() and len(token) <= 18 for token in tokens)


def resolve_cells(cells: Cells, index_of: Mapping[str, int]) -> Lists:
    """Split text cells into class names and look them up.

    A whole cell that is a name is that class. Otherwise the cells are split at the first of ``;``, ``,``, ``|`` and
    white space under which every token of every cell is a name.

    Raises:
        InputError: Names that no class has; the first three are named.
    """
    texts = cells.cells.tolist()
    unknown: list[str] = []
    for separator in (";", ",", "|", None):
        rows = [_by_name(text, separator, index_of) for text in texts]
        if all(row is not None for row in rows):
            return Lists.from_rows(rows)
        missing = [text for text, row in zip(texts, rows, strict=True) if row is None]
        tokens = [token for text in missing for token in _tokens(text, separator) if token not in index_of]
        if not unknown or len(tokens) < len(unknown):
            unknown = tokens
    distinct = list(dict.fromkeys(unknown))
    raise InputError(
        f"{cells.name}: expected class names, got {listing((quote(token) for token in distinct), 3)}; the names of the "
        f"classes begin with {listing(map(quote, list(index_of)[:3]))}"
    )


def _by_name(text: str, separator: str | None, index_of: Mapping[str, int]) -> list[int] | None:
    if not text:
        return []
    if text in index_of:
        return [index_of[text]]
    tokens = _tokens(text, separator)
    if all(token in index_of for token in tokens):
        return sorted({index_of[token] for token in tokens})
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Columns
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Split:
    """The columns of a table by what they are."""

    classes: list[int]
    others: list[int]
    ids: np.ndarray | None = None
    ids_place: int | None = None
    notes: tuple[str, ...] = field(default=())


def _split(
    table: Table, role: Role, options: Options, known: frozenset[str], labels_place: int | None = None
) -> _Split:
    """Part the columns into ids, classes and others, by the rules of the module."""
    check_distinct_names(table)
    notes: list[str] = []
    places = _chosen(table, replace(options, columns=None)) if labels_place is None else _chosen(table, options)
    chosen = None if options.columns is None or labels_place is not None else set(_chosen(table, options))
    ids_place = _named_ids(table, options)
    index = [place for place in places if table.columns[place].is_index and place != ids_place]
    places = [place for place in places if place not in index and place != ids_place]
    texts = [place for place in places if table.columns[place].kind == TEXT]
    ids = table.ids
    if ids_place is None and ids is None:
        ids_place = _text_ids(table, texts, chosen)
    if ids_place is None and ids is None and len(index) == 1:
        values = _as_ids(table, index[0])
        if _counts_rows(values):
            notes.append(f"{table.name}: {_label_of(table, index[0])} is the index of the rows and is left out")
        else:
            ids = values
    elif index:
        left = listing((_label_of(table, place) for place in index), 3)
        notes.append(f"{table.name}: {left} {'is' if len(index) == 1 else 'are'} the index and left out")
    texts = [place for place in texts if place != ids_place]
    if texts and chosen is None:
        raise table.error(
            f"expected columns of numbers, got text in {listing((_label_of(table, place) for place in texts), 3)}; "
            "name the ids with ids= (--ids), or leave columns out with exclude= (--exclude)"
        )
    numbers = [place for place in places if table.columns[place].kind in (NUMBER, BOOL) and place != ids_place]
    if chosen is not None:
        numbers = [place for place in numbers if place in chosen]
    elif labels_place is None:
        ids_place, numbers = _without_suspects(table, role, numbers, ids_place, ids, known, notes)
    elif ids_place is None and ids is None:
        ids_place = _number_ids(table, numbers, notes)
    others = [place for place in places if place not in numbers and place not in texts and place != ids_place]
    if ids is None and ids_place is not None:
        ids = _as_ids(table, ids_place)
    return _Split(numbers, others, ids, ids_place, tuple(notes))


def _named_ids(table: Table, options: Options) -> int | None:
    if options.ids is None:
        return None
    return next((place for place, column in enumerate(table.columns) if column.name == options.ids), None)


def _text_ids(table: Table, texts: list[int], chosen: set[int] | None) -> int | None:
    """The text column that holds the ids, where it is the only one or its name says so."""
    named = [place for place in texts if has_role(table.columns[place].name, IDS)]
    if len(texts) == 1 and role_of(table.columns[texts[0]].name) in (IDS, None):
        return texts[0]
    if named and (len(named) == 1 or chosen is not None):
        return named[0]
    return None


def _number_ids(table: Table, numbers: list[int], notes: list[str]) -> int | None:
    """Among number columns beside a labels column: the one whose name says ids."""
    named = [place for place in numbers if has_role(table.columns[place].name, IDS)]
    return named[0] if named else None


def _without_suspects(
    table: Table,
    role: Role,
    numbers: list[int],
    ids_place: int | None,
    ids: np.ndarray | None,
    known: frozenset[str],
    notes: list[str],
) -> tuple[int | None, list[int]]:
    """Number columns that are classes; those that say or look otherwise become ids, or are refused."""
    if len(numbers) < 2:
        return ids_place, numbers
    named = [
        place for place in numbers if table.columns[place].name not in known and _says_no_class(table, place, role)
    ]
    for place in named:
        column = table.columns[place]
        is_id = has_role(column.name, IDS) and "int" in column.dtype
        if is_id and ids_place is None and ids is None and _are_distinct(table, place):
            notes.append(f"{table.name}: column {column.name} holds the row ids, not scores of a class")
            ids_place = place
            continue
        raise table.error(
            f"column {column.name} does not look like a class; leave it out with exclude={column.name!r} (--exclude)"
            f", name it as ids={column.name!r} (--ids), or choose the classes with columns= (--columns)"
        )
    numbers = [place for place in numbers if place not in named]
    if len(numbers) > 1 and table.columns[numbers[0]].name not in known and _looks_like_ids(table, numbers, role):
        first = table.columns[numbers[0]]
        option = quote(first.name) if first.name else repr(str(numbers[0]))
        raise table.error(
            f"{_label_of(table, numbers[0])} holds distinct whole numbers in front of other values, like ids; say "
            f"ids={option} (--ids), exclude={option} (--exclude), or choose the classes with columns= (--columns)"
        )
    return ids_place, numbers


def _says_no_class(table: Table, place: int, role: Role, known: frozenset[str]) -> bool:
    name = table.columns[place].name
    if name is None or name in known:
        return False
    return plain(name) in NO_CLASS or (role_of(name) not in (None, role) and len(table.columns) > 1)


def _are_distinct(table: Table, place: int) -> bool:
    values = table.read_column(place)
    return len(np.unique(values)) == len(values)


def _looks_like_ids(table: Table, numbers: list[int], role: Role) -> bool:
    """Whether the first number column has distinct whole numbers and the others do not."""
    first, *others = numbers
    if "int" not in table.columns[first].dtype or table.num_rows < 2:
        return False
    if all("int" in table.columns[place].dtype for place in others):
        if role is not LABELS:
            return False  # whole scores in every column; `_refuse_counting_column` looks at these
        values = table.read_column(first)
        return bool(((values != 0) & (values != 1)).any()) and len(np.unique(values)) == len(values)
    return _are_distinct(table, first)


def _as_ids(table: Table, place: int) -> np.ndarray:
    """A column as row ids: objects of str, or int64."""
    values = table.read_column(place)
    if isinstance(values, Lists):
        raise table.error(f"{_label_of(table, place)}: expected ids, got lists")
    values = np.asarray(values)
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        return values.astype(np.int64)
    return np.array([value if isinstance(value, str) else str(value) for value in values.tolist()], object)


def _counts_rows(ids: np.ndarray) -> bool:
    """Whether ids are 0, 1, 2, ... in order: the index that a library makes when nobody gave one."""
    return ids.dtype != object and bool((ids == np.arange(len(ids))).all())


def _names_of(table: Table, places: Sequence[int]) -> tuple[str, ...] | None:
    names = [table.columns[place].name for place in places]
    return None if any(name is None for name in names) else tuple(map(str, names))


def _label_of(table: Table, place: int) -> str:
    """A column, for messages."""
    name = table.columns[place].name
    if name == "":
        return "the first column, which has no name," if place == 0 else f"column {place}, which has no name,"
    return f"column {place}" if name is None else f"column {name}"


def _described(table: Table, places: Iterable[int]) -> str:
    words = {LIST: "lists", MATRIX: "arrays", TEXT: "text", NUMBER: "numbers", BOOL: "True and False"}
    return listing(
        (
            f"{_label_of(table, place)} of {words.get(table.columns[place].kind, table.columns[place].dtype)}"
            for place in places
        ),
        3,
    )


def _chosen(table: Table, options: Options) -> list[int]:
    """Positions of the columns that options leave, in the order that ``columns`` states."""
    excluded = set(_matching(table, options.exclude))
    if options.columns is None:
        return [place for place in range(len(table.columns)) if place not in excluded]
    found = [place for place in _matching(table, options.columns) if place not in excluded]
    if not found:
        raise table.error(
            f"columns: none of the file's columns is {listing(map(quote, options.columns), 3)}; it has "
            f"{listing(table.column_names, 6)}"
        )
    return found


def _matching(table: Table, wanted: Iterable[str]) -> list[int]:
    """Positions of the columns that are named: by name, pattern, position, or range of positions."""
    places: dict[int, None] = {}
    names = [column.name for column in table.columns]
    for item in wanted:
        if item in names:
            places[names.index(item)] = None
        elif item.startswith("#") and item[1:].isdecimal():
            places[int(item[1:])] = None
        elif re.fullmatch(r"-?\d+", item) and -len(names) <= int(item) < len(names):
            places[range(len(names))[int(item)]] = None
        elif re.fullmatch(r"(-?\d*):(-?\d*)", item):
            start, stop = (int(part) if part else None for part in item.split(":"))
            places |= dict.fromkeys(range(len(names))[start:stop])
        else:
            places |= dict.fromkeys(
                place for place, name in enumerate(names) if name and fnmatch.fnmatchcase(name, item)
            )
    return list(places)


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
