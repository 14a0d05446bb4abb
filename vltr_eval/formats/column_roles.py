"""Which columns of a table are row ids, which are classes, and which are neither.

Rules for the columns of scores, and of labels with one column a class, in this order:

1. ``exclude`` leaves columns out, ``columns`` names the classes, ``ids`` names the column of row ids.
2. The index that a file declares (pandas' metadata in parquet, an empty first header cell in CSV) is never a class. Its
   values are the row ids, several levels joined as text, unless they count 0, 1, 2, ... in order; then it is left out,
   and a note says so.
3. A column of text holds the row ids. If several do, the name decides (`roles.IDS`).
4. A column of distinct whole numbers whose name says that it holds ids holds the ids, and a note says so.
5. Another name that says "no class" (fold, split, label, row, ...) is refused with the ways to go on, and so is a first
   column of distinct whole numbers in front of fractions, one that counts the rows, a first column of scores that
   rises from row to row, or a column of whole numbers among fractions.
6. All other number columns are classes.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vltr_eval.formats.label_forms import check_form
from vltr_eval.formats.roles import IDS, LABELS, SCORES, Role, has_role, plain, role_of
from vltr_eval.formats.sources import listing, quote
from vltr_eval.formats.table import BOOL, LIST, MATRIX, NUMBER, OTHER, TEXT, Column, Lists, Table, check_distinct_names

NO_CLASS = frozenset(
    {"row", "rows", "row_number", "index", "idx", "level_0", "fold", "folds", "split", "subset", "split_name", "frame"}
    | {"num_frames", "n_frames", "start_seconds", "end_seconds", "time_start", "time_end", "start_time", "end_time"}
    | {"epoch", "seed", "step", "batch", "loss", "argmax", "correct", "duration", "timestamp", "time", "unnamed:_0"}
)
"""Names of columns that stand beside classes and are none."""


_MANY_ROWS = 6
"""Of so many random whole numbers, one order in 720 is ascending."""


@dataclass(frozen=True)
class Options:
    """The user's choices about the columns of the files.

    Attributes:
        ids: The name of the column with the row ids.
        columns: Names, patterns (``class_*``), positions or ranges (``3:``) of the columns that are classes.
        exclude: The same, of columns to leave out.
        label_form: One of `label_forms.FORMS`.
        header: Whether the first line of text files is a header; None where the lines tell.
        missing: Whether missing cells of labels are read as NaN.
        unlisted: Whether cells without a line in a list of verified labels are unknown.
    """

    ids: str | None = None
    columns: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    label_form: str | None = None
    header: bool | None = None
    missing: bool = False
    unlisted: bool = False

    def __post_init__(self) -> None:
        check_form(self.label_form)


@dataclass(frozen=True, eq=False)
class ColumnSplit:
    """The columns of a table by what they are."""

    classes: list[int]
    others: list[int]
    ids: np.ndarray | None = None
    ids_column: int | None = None
    counts_rows: bool = False
    notes: tuple[str, ...] = ()


def split_columns(
    table: Table, role: Role, options: Options, known: frozenset[str], labels_column: int | None = None
) -> ColumnSplit:
    """Part the columns into ids, classes and others, by the rules of the module."""
    check_distinct_names(table)
    notes: list[str] = []
    positions = (
        chosen_columns(table, replace(options, columns=None))
        if labels_column is None
        else chosen_columns(table, options)
    )
    chosen = None if options.columns is None or labels_column is not None else chosen_columns(table, options)
    counts_rows = False
    ids_column = _named_ids(table, options)
    index = [position for position in positions if table.columns[position].is_index and position != ids_column]
    positions = [position for position in positions if position not in index and position != ids_column]
    texts = [position for position in positions if table.columns[position].kind == TEXT]
    ids = table.ids
    if ids_column is None and ids is None:
        ids_column = _text_ids(table, texts, chosen)
    if ids_column is None and ids is None and index:
        values = _index_ids(table, index)
        if counts_rows := _counts_rows(values):
            notes.append(f"{table.name}: {label_of(table, index[0])} is the index of the rows and is left out")
        else:
            ids = values
    elif index:
        left = listing((label_of(table, position) for position in index), 3)
        notes.append(f"{table.name}: {left} {'is' if len(index) == 1 else 'are'} the index and left out")
    texts = [position for position in texts if position != ids_column]
    if texts and chosen is None:
        raise table.error(
            f"expected columns of numbers, got text in {listing((label_of(table, column) for column in texts), 3)}; "
            "name the ids with ids= (--ids), or leave columns out with exclude= (--exclude)"
        )
    numbers = [
        position for position in positions if table.columns[position].kind in (NUMBER, BOOL) and position != ids_column
    ]
    if chosen is not None:
        numbers = [position for position in numbers if position in chosen]
    elif labels_column is None:
        ids_column, numbers = _without_suspects(table, role, numbers, ids_column, ids, known, notes)
    elif ids_column is None and ids is None:
        ids_column = _number_ids(table, numbers)
    others = [
        position
        for position in positions
        if position not in numbers and position not in texts and position != ids_column
    ]
    if ids is None and ids_column is not None:
        ids = _as_ids(table, ids_column)
    return ColumnSplit(numbers, others, ids, ids_column, counts_rows, tuple(notes))


def is_aside(column: Column) -> bool:
    """Whether a name says that a column stands beside the classes."""
    return column.name is not None and (plain(column.name) in NO_CLASS or has_role(column.name, IDS))


def is_named_ids(column: Column, options: Options) -> bool:
    """Whether the user said that this column holds the ids."""
    return options.ids is not None and column.name == options.ids


def _named_ids(table: Table, options: Options) -> int | None:
    return next((position for position, column in enumerate(table.columns) if is_named_ids(column, options)), None)


def _text_ids(table: Table, texts: list[int], chosen: list[int] | None) -> int | None:
    """The text column that holds the ids, where it is the only one or its name says so."""
    named = [position for position in texts if has_role(table.columns[position].name, IDS)]
    if len(texts) == 1 and role_of(table.columns[texts[0]].name) in (IDS, None):
        return texts[0]
    if named and (len(named) == 1 or chosen is not None):
        return named[0]
    return None


def _number_ids(table: Table, numbers: list[int]) -> int | None:
    """Among number columns beside a labels column: the one whose name says ids."""
    named = [position for position in numbers if has_role(table.columns[position].name, IDS)]
    return named[0] if named else None


def _without_suspects(
    table: Table,
    role: Role,
    numbers: list[int],
    ids_column: int | None,
    ids: np.ndarray | None,
    known: frozenset[str],
    notes: list[str],
) -> tuple[int | None, list[int]]:
    """Number columns that are classes; those that say or look otherwise become ids, or are refused."""
    if len(numbers) < 2:
        return ids_column, numbers
    named = [position for position in numbers if _says_no_class(table, position, role, known)]
    for position in named:
        column = table.columns[position]
        is_id = has_role(column.name, IDS) and "int" in column.dtype
        if is_id and ids_column is None and ids is None and _are_distinct(table, position):
            notes.append(f"{table.name}: column {column.name} holds the row ids, not scores of a class")
            ids_column = position
            continue
        raise table.error(
            f"column {column.name} does not look like a class; leave it out with exclude={column.name!r} (--exclude)"
            f", name it as ids={column.name!r} (--ids), or choose the classes with columns= (--columns)"
        )
    numbers = [position for position in numbers if position not in named]
    free = [position for position in numbers if table.columns[position].name not in known]
    found = None
    if len(numbers) > 1 and numbers[0] in free and _looks_like_ids(table, numbers, role):
        found = numbers[0], "holds distinct whole numbers in front of other values, like ids"
    elif len(numbers) > 1 and numbers[0] in free and role is not LABELS and _rises(table, numbers):
        found = numbers[0], "rises from row to row, like times or an index"
    elif role is not LABELS and (odd := _whole_among_fractions(table, free, numbers)) is not None:
        found = odd, "holds whole numbers, unlike the fractions beside it"
    if found is not None:
        name = table.columns[found[0]].name
        option = quote(name) if name else repr(str(found[0]))
        raise table.error(
            f"{label_of(table, found[0])} {found[1]}; say ids={option} (--ids), exclude={option} (--exclude), or "
            "choose the classes with columns= (--columns)"
        )
    return ids_column, numbers


def _says_no_class(table: Table, position: int, role: Role, known: frozenset[str]) -> bool:
    name = table.columns[position].name
    if name is None or name in known:
        return False
    if plain(name) in NO_CLASS:
        return True
    # "pred" beside columns of classes is a decision; labels called "label" are one of several columns at least.
    return role_of(name) is not None and (role is SCORES or role_of(name) is not role)


def _are_distinct(table: Table, position: int) -> bool:
    values = table.read_column(position)
    return len(np.unique(values)) == len(values)


def _looks_like_ids(table: Table, numbers: list[int], role: Role) -> bool:
    """Whether the first number column has distinct whole numbers and the others do not."""
    first, *others = numbers
    if "int" not in table.columns[first].dtype or table.num_rows < 2:
        return False
    if all("int" in table.columns[position].dtype for position in others):
        values = table.read_column(first)
        if role is not LABELS:  # whole scores in every column: distinct values in order are ids
            return len(values) >= _MANY_ROWS and _is_ascending(values)
        return bool(((values != 0) & (values != 1)).any()) and len(np.unique(values)) == len(values)
    return _are_distinct(table, first)


def _rises(table: Table, numbers: list[int]) -> bool:
    """Whether the first number column rises from row to row and another does not."""
    if table.num_rows < _MANY_ROWS or "float" not in table.columns[numbers[0]].dtype:
        return False
    if not _is_ascending(table.read_column(numbers[0])):
        return False
    return not all(_is_ascending(table.read_column(position)) for position in numbers[1:])


def _is_ascending(values: np.ndarray) -> bool:
    # Compared and not subtracted: two infinities have no difference.
    return bool((values[1:] > values[:-1]).all())


def _whole_among_fractions(table: Table, free: list[int], numbers: list[int]) -> int | None:
    """A column of whole numbers, where at least as many columns hold fractions; zeros alone can be scores."""
    whole = [position for position in free if "int" in table.columns[position].dtype]
    if not whole or 2 * len(whole) > len(numbers) or table.num_rows < 2:
        return None
    for position in whole:
        values = table.read_column(position)
        is_binary = ((values == 0) | (values == 1)).all()
        if (values != 0).any() and (not is_binary or ((values == 0).any() and table.num_rows >= _MANY_ROWS)):
            return position
    return None


def _index_ids(table: Table, index: Sequence[int]) -> np.ndarray:
    """The index as row ids; those of several levels are joined as text."""
    levels = [_as_ids(table, position) for position in index]
    if len(levels) == 1:
        return levels[0]
    ids = np.empty(table.num_rows, object)
    ids[:] = [", ".join(map(str, level)) for level in zip(*(level.tolist() for level in levels), strict=True)]
    return ids


def _as_ids(table: Table, position: int) -> np.ndarray:
    """A column as row ids: objects of str, or int64."""
    if table.columns[position].kind == OTHER:
        raise table.error(
            f"{label_of(table, position)} is the index, and ids of {table.columns[position].dtype} are not read; write "
            f"them as text, or leave it out with exclude={str(table.column_names[position])!r} (--exclude)"
        )
    values = table.read_column(position)
    if isinstance(values, Lists):
        raise table.error(f"{label_of(table, position)}: expected ids, got lists")
    values = np.asarray(values)
    if values.dtype.kind in "iu" and not (values.dtype == np.uint64 and (values >= 2**63).any()):
        return values.astype(np.int64)
    if values.dtype.kind == "f" and (values == np.floor(values)).all() and (np.abs(values) < 2**53).all():
        return values.astype(np.int64)
    return np.array([value if isinstance(value, str) else str(value) for value in values.tolist()], object)


def _counts_rows(ids: np.ndarray) -> bool:
    """Whether ids are 0, 1, 2, ... in order: the index that a library makes when nobody gave one."""
    return ids.dtype != object and bool((ids == np.arange(len(ids))).all())


def names_of(table: Table, positions: Sequence[int]) -> tuple[str, ...] | None:
    names = [table.columns[position].name for position in positions]
    return None if any(name is None for name in names) else tuple(map(str, names))


def label_of(table: Table, position: int) -> str:
    """A column, for messages."""
    name = table.columns[position].name
    if name == "":
        return "the first column, which has no name," if position == 0 else f"column {position}, which has no name,"
    return f"column {position}" if name is None else f"column {name}"


def described(table: Table, positions: Iterable[int]) -> str:
    words = {LIST: "lists", MATRIX: "arrays", TEXT: "text", NUMBER: "numbers", BOOL: "True and False"}
    return listing(
        (
            f"{label_of(table, position)} of {words.get(table.columns[position].kind, table.columns[position].dtype)}"
            for position in positions
        ),
        3,
    )


def columns_of(table: Table) -> Table:
    """The table; one that is an array has columns without names, or with the names that the file states."""
    if table.columns or table.array is None or table.array.ndim != 2:
        return table
    names = table.class_names
    if names is None or len(names) != table.array.shape[1]:
        names = (None,) * table.array.shape[1]
    return replace(table, columns=tuple(Column(name, NUMBER) for name in names))


def chosen_columns(table: Table, options: Options) -> list[int]:
    """Positions of the columns that options leave, in the order of the file."""
    excluded = set(matching_columns(table, options.exclude))
    if options.columns is None:
        return [position for position in range(len(table.columns)) if position not in excluded]
    missing = [item for item in options.columns if not matching_columns(table, [item])]
    if missing:
        raise table.error(
            f"columns: no column is {listing(map(quote, missing), 3)}; the file has {listing(table.column_names, 6)}"
        )
    return sorted(set(matching_columns(table, options.columns)) - excluded)


def matching_columns(table: Table, requested: Iterable[str]) -> list[int]:
    """Positions of the columns that are named: by name, pattern, position, or range of positions."""
    positions: dict[int, None] = {}
    names = [column.name for column in table.columns]
    for item in requested:
        if item in names:
            positions[names.index(item)] = None
        elif item.startswith("#") and item[1:].isdecimal():
            positions[int(item[1:])] = None
        elif re.fullmatch(r"-?\d+", item) and -len(names) <= int(item) < len(names):
            positions[range(len(names))[int(item)]] = None
        elif re.fullmatch(r"(-?\d*):(-?\d*)", item):
            start, stop = (int(part) if part else None for part in item.split(":"))
            positions |= dict.fromkeys(range(len(names))[start:stop])
        else:
            positions |= dict.fromkeys(
                position for position, name in enumerate(names) if name and fnmatch.fnmatchcase(name, item)
            )
    return list(positions)
