"""The one description of a table, whatever the file or the library: what readers fill and `meaning` interprets.

A reader says what is there: columns with their names and dtypes, the index that a file declares, one plain array,
lists, or (row, class) pairs. It decides nothing: `meaning` alone decides which columns are ids, classes or labels, and
what is in doubt.

Legend: N rows (videos), C classes, K columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.sources import Source, listing, repeated

NUMBER, BOOL, TEXT, LIST, MATRIX, OTHER = "number", "bool", "text", "list", "matrix", "other"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: The name in the file; "" where a header leaves the cell empty, None where there is no header.
        kind: NUMBER, BOOL, TEXT, LIST (each cell holds several values), MATRIX (each cell holds the same number of
            numbers, as the type says), or OTHER (no reader knows how to use the values).
        dtype: The numpy name of a number's dtype in the file; text files have "int64" (every cell that was looked at is
            written as a whole number) and "float64". A LIST or MATRIX has the dtype of its values, "" for text. OTHER
            has the type's name, for messages.
        is_index: The file declares this column to be the index of its rows.
    """

    name: str | None
    kind: str
    dtype: str = ""
    is_index: bool = False


@dataclass(frozen=True, eq=False)
class Lists:
    """One list of values for each row.

    Attributes:
        indptr: (N + 1,) int64; row n has ``values[indptr[n]:indptr[n + 1]]``.
        values: (nnz,) int64 class indices, numbers of a float dtype or bool, objects of str (class names), or mixed
            objects.
        num_null: How many rows have no list at all in the file; they are read as empty lists.
    """

    indptr: np.ndarray
    values: np.ndarray
    num_null: int = 0

    @property
    def num_rows(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> np.ndarray:
        """How many values each row has: (N,) int64."""
        return np.diff(self.indptr)

    @property
    def rows(self) -> np.ndarray:
        """The row of each value: (nnz,) int64."""
        return np.repeat(np.arange(self.num_rows), self.lengths)

    @property
    def is_text(self) -> bool:
        """Whether all values are class names; lists without any value are not."""
        return self.values.dtype == object and all(isinstance(value, str) for value in self.values)

    def of(self, row: int) -> list[Any]:
        """The values of one row, as Python objects."""
        values: list[Any] = self.values[self.indptr[row] : self.indptr[row + 1]].tolist()
        return values

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[Any]]) -> Lists:
        """Make lists of int64, bool or float64, or of objects for other mixtures.

        float64 takes whole numbers too, if it holds them exactly.
        """
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        flat = [value for row in rows for value in row]
        kinds = {type(value) for value in flat}
        dtype: Any = object
        if kinds <= {int, float}:
            dtype = np.int64 if kinds <= {int} else np.float64
            if kinds == {int, float} and any(type(value) is int and abs(value) > 2**53 for value in flat):
                dtype = object
        elif kinds == {bool}:
            dtype = bool
        try:
            return cls(indptr, np.fromiter(flat, dtype, len(flat)))
        except OverflowError:
            return cls(indptr, np.fromiter(flat, object, len(flat)))


@dataclass(frozen=True, eq=False)
class LabelPairs:
    """Labels as (row, class) pairs, in any order; the content of sparse files.

    Attributes:
        num_rows: N.
        num_classes: C, or None where the file does not say.
        rows: (nnz,) integers.
        classes: (nnz,) integers, the class of each row.
    """

    num_rows: int
    num_classes: int | None
    rows: np.ndarray
    classes: np.ndarray

    def __repr__(self) -> str:
        classes = "an unknown number of" if self.num_classes is None else self.num_classes
        return f"<LabelPairs of {self.num_rows} rows and {classes} classes, {len(self.rows)} pairs>"


def _without_columns(_: Any) -> NoReturn:
    raise TypeError("this table has no columns")


@dataclass(frozen=True, eq=False)
class Table:
    """The content of one file or one data frame.

    Attributes:
        source: The file, or the argument's name; begins every message.
        num_rows: N.
        columns: The columns, in the order of the file; empty where ``array``, ``lists`` or ``pairs`` is the content.
        read_matrix: Reads number and bool columns, given by their positions, as one (N, K) array of their common dtype.
        read_column: Reads one column, given by its position: (N,) numbers, (N,) objects of str, `Lists`, or the (N, K)
            array of a MATRIX.
        array: The content is one array without names: (N, C) or (N,), of numpy or torch, perhaps a memory map.
        lists: The content is one list for each row.
        pairs: The content is (row, class) pairs.
        class_names: Names that the file states for its label indices or its unnamed columns.
        ids: Row ids that the file states beside its columns: (N,) objects of str or int64.
        first_line: For text whose first line can be a header of numbers or a row: the same table, read the other way.
        row_word: How messages count rows: "row" from 0, or "line" from 1.
        notes: Sentences about what the reader left out or changed.
        read_marked: Reads number and bool columns as `read_matrix`, with NaN for missing cells; None where the reader
            meets no missing cells. Columns of ``blank`` are read too.
        blank: Positions of columns in which every cell is missing.
        known: One list for each row, of the class indices that someone verified, positive or not; None without such.
    """

    source: Source | str
    num_rows: int
    columns: tuple[Column, ...] = ()
    read_matrix: Callable[[Sequence[int]], Any] = _without_columns
    read_column: Callable[[int], Any] = _without_columns
    array: Any = None
    lists: Lists | None = None
    pairs: LabelPairs | None = None
    class_names: tuple[str, ...] | None = None
    ids: np.ndarray | None = None
    first_line: Table | None = None
    row_word: str = "row"
    notes: tuple[str, ...] = field(default=())
    read_marked: Callable[[Sequence[int]], np.ndarray] | None = None
    blank: frozenset[int] = frozenset()
    known: Lists | None = None

    def with_missing(self) -> Table:
        """The same table, with NaN for missing cells in columns of numbers."""
        read_marked, read_column = self.read_marked, self.read_column
        if read_marked is None:
            return self
        columns = tuple(
            replace(column, kind=NUMBER, dtype="float64") if position in self.blank else column
            for position, column in enumerate(self.columns)
        )

        def read_one(position: int) -> Any:
            if columns[position].kind not in (NUMBER, BOOL) or columns[position].is_index:
                return read_column(position)
            values = read_marked([position])[:, 0]
            return values if position in self.blank or np.isnan(values).any() else read_column(position)

        return replace(self, columns=columns, read_matrix=read_marked, read_column=read_one)

    @property
    def name(self) -> str:
        """The name for notes: without a folder."""
        return self.source if isinstance(self.source, str) else self.source.name

    @property
    def column_names(self) -> list[str]:
        """The names of the columns; of a column without one, its position."""
        return [str(position) if column.name is None else column.name for position, column in enumerate(self.columns)]

    def positions(self, kinds: Iterable[str]) -> list[int]:
        """Positions of the columns of some kinds."""
        kinds = set(kinds)
        return [position for position, column in enumerate(self.columns) if column.kind in kinds]

    def at(self, row: int) -> str:
        """A row, for messages."""
        return f"line {row + 1}" if self.row_word == "line" else f"row {row}"

    def error(self, message: str) -> InputError:
        """The message, with the file's name in front."""
        return InputError(f"{self.source}: {message}")

    def with_notes(self, *notes: str) -> Table:
        return replace(self, notes=(*self.notes, *notes))


def check_distinct_names(table: Table) -> None:
    """Raise InputError where two columns have one name, since neither could be chosen or matched by it."""
    names = [column.name for column in table.columns if column.name]
    if len(set(names)) < len(names):
        twice = repeated(names)
        positions = [position for position, column in enumerate(table.columns) if column.name == twice[0]]
        raise table.error(
            f"expected columns of different names, got {twice[0]!r} in columns {listing(positions)}"
            + (f" and {len(twice) - 1} more repeated names" if len(twice) > 1 else "")
            + "; rename them"
        )
