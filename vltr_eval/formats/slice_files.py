"""Slices of the rows: the slice of each row in one or several partitions, from files and from memory.

A .csv, .tsv or .parquet has a column of row ids and a column for each partition, with a header; rows are joined by id.
A .txt has one slice a line, in the order of the rows of the scores, and an .npy one entry for each. A blank puts a row
in no slice.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.local_files import local_file
from vltr_eval.formats.partition_files import (
    columns_of_frame,
    group_of,
    is_pandas,
    is_whole_frame,
    lines_with_blanks,
    partition_name,
    read_csv,
    read_parquet,
)
from vltr_eval.formats.roles import IDS, has_role
from vltr_eval.formats.sources import check_regular, listing, natural_order, quote, reading

DEFAULT_PARTITION = "slices"
"""The name of a partition that has none."""

_MOST = 1000
"""Slices of a partition. A column with more of them has ids, or numbers to be divided into ranges first."""


@dataclass(frozen=True, eq=False)
class RowSlice:
    """One slice.

    Attributes:
        partition: The name of its partition.
        name: Its name.
        rows: (n,) int64, its rows, ascending.
    """

    partition: str
    name: str
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class _Partition:
    """One partition as it is stated.

    names: of the slices. of_line: (n,) int64, the number of the slice of each line, -1 for none.
    """

    names: tuple[str, ...]
    of_line: np.ndarray


@dataclass(frozen=True, eq=False)
class StatedSlices:
    """Partitions as a file or a caller states them, before their rows are joined.

    Attributes:
        source: The file or the argument, for messages.
        partitions: The slice of each line, by the name of the partition.
        ids: The row id of each line; None if the lines are in the order of the rows.
    """

    source: str
    partitions: dict[str, _Partition]
    ids: tuple[str, ...] | None = None


def read_slices(slices: Any, num_rows: int, ids: np.ndarray | None = None) -> tuple[RowSlice, ...]:
    """Read the slices of rows.

    Args:
        slices: (N,) strings or integers, a mapping from the names of several partitions to such, a mapping from row ids
            to slices, a data frame, a file, or what `state_slices` returned. None and "" put a row in no slice.
        num_rows: N of the scores.
        ids: (N,) ids of these rows, by which slices with ids are joined.

    Returns:
        The slices of each partition, in the natural order of their names.

    Raises:
        ValueError: There is another number of rows, a row has no line, or a partition has too many slices.
        TypeError: The slices are no text.

    Example:
        >>> [(found.name, found.rows.tolist()) for found in read_slices(["day", "night", "day", ""], 4)]
        [('day', [0, 2]), ('night', [1])]
    """
    stated = state_slices(slices)
    order = None if stated.ids is None else _lines_of_rows(stated, num_rows, ids)
    found: list[RowSlice] = []
    for partition, stated_of in stated.partitions.items():
        of_row = stated_of.of_line if order is None else stated_of.of_line[order]
        if len(of_row) != num_rows:
            raise InputError(
                f"{stated.source}: expected a slice for each of the {num_rows:,} evaluated rows, got {len(of_row):,}; "
                "leave out those of rows that are not evaluated, or join them by a column of ids"
            )
        numbers = np.unique(of_row[of_row >= 0]).tolist()
        rows = {stated_of.names[number]: np.flatnonzero(of_row == number) for number in numbers[: _MOST + 1]}
        if len(numbers) > _MOST:
            raise InputError(
                f"{stated.source}: expected at most {_MOST:,} slices in {quote(partition)}, got {len(numbers):,}; "
                "leave the column out, or divide it into ranges"
            )
        if not rows:
            raise InputError(f"{stated.source}: expected a slice for some row in {quote(partition)}, got none")
        found += [
            RowSlice(partition, name, rows[name]) for name in sorted(rows, key=lambda name: (natural_order(name), name))
        ]
    return tuple(found)


def state_slices(slices: Any) -> StatedSlices:
    """Read slices before the rows are known; the arguments and errors of `read_slices`."""
    if isinstance(slices, StatedSlices):
        return slices
    if isinstance(slices, (str, os.PathLike)):
        return _read_file(slices)
    source = "slices"
    if is_whole_frame(slices):
        return _of_table(source, columns_of_frame(slices, "id"))
    if is_pandas(slices) and hasattr(slices, "index"):
        name = DEFAULT_PARTITION if slices.name is None else partition_name(source, slices.name)
        return StatedSlices(source, {name: _names(source, slices.tolist())})
    if not isinstance(slices, Mapping):
        return StatedSlices(source, {DEFAULT_PARTITION: _names(source, slices)})
    if slices and all(value is None or isinstance(value, (str, int, float)) for value in slices.values()):
        return StatedSlices(source, {DEFAULT_PARTITION: _names(source, list(slices.values()))}, tuple(map(str, slices)))
    return StatedSlices(
        source, {partition_name(source, name): _names(source, values) for name, values in slices.items()}
    )


def _read_file(path: str | os.PathLike[str]) -> StatedSlices:
    source = local_file(path)
    with reading(source):
        check_regular(source)
    if source.suffix in (".csv", ".tsv"):
        return _of_table(str(source), read_csv(source))
    if source.suffix == ".parquet":
        return _of_table(str(source), read_parquet(source))
    if source.suffix == ".npy":
        from vltr_eval.formats import numpy_files

        with reading(source):
            return StatedSlices(str(source), {DEFAULT_PARTITION: _names(str(source), numpy_files.read_names(source))})
    if source.suffix not in (".txt", ""):
        raise InputError(
            f"{source}: cannot read slices from a {source.suffix!r} file; expected .csv, .tsv, .parquet, .npy, or .txt "
            "with a slice a line"
        )
    return StatedSlices(str(source), {DEFAULT_PARTITION: _names(str(source), lines_with_blanks(source))})


def _of_table(source: str, columns: Mapping[str, Sequence[Any]]) -> StatedSlices:
    """The partitions of a table: the columns beside that of the ids."""
    names = list(columns)
    ids = [name for name in names if has_role(name, IDS)]
    if len(ids) > 1:
        raise InputError(f"{source}: expected one column of row ids, got {listing(map(quote, ids), 6)}")
    rest = [name for name in names if name not in ids]
    if not rest:
        raise InputError(f"{source}: expected a column of slices beside the ids, got none")
    return StatedSlices(
        source,
        {partition_name(source, name): _names(source, columns[name]) for name in rest},
        tuple(_id_of(known) for known in columns[ids[0]]) if ids else None,
    )


def _names(source: str, values: Any) -> _Partition:
    values = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        raise TypeError(f"{source}: expected a slice for each row, got {type(values).__name__}")
    # Each distinct value is looked at once, because there are many rows.
    number_of: dict[Any, int] = {}
    try:
        of_line = np.fromiter((number_of.setdefault(value, len(number_of)) for value in values), np.int64, len(values))
    except TypeError:
        raise TypeError(f"{source}: expected the names of slices, got lists or other objects of several") from None
    texts = [group_of(source, value, "slices") for value in number_of]
    names = tuple(dict.fromkeys(text for text in texts if text is not None))
    position = {name: number for number, name in enumerate(names)}
    new_number = np.array([-1 if text is None else position[text] for text in texts], np.int64)
    return _Partition(names, new_number[of_line] if len(values) else of_line)


def _id_of(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _lines_of_rows(stated: StatedSlices, num_rows: int, ids: np.ndarray | None) -> list[int]:
    """The line of each row, by its id."""
    if ids is None:
        raise InputError(
            f"{stated.source}: expected ids of the rows of the scores to join slices by, got none; give ids= (--ids), "
            "or slices without ids, one for each row"
        )
    line_of: dict[str, int] = {}
    for line, known in enumerate(stated.ids or ()):
        if line_of.setdefault(known, line) != line:
            raise InputError(f"{stated.source}: expected each id once, got {quote(known)} twice")
    lines = [line_of.get(str(known), -1) for known in ids.tolist()]
    if -1 in lines:
        lacking = [known for known, line in zip(ids.tolist(), lines, strict=True) if line < 0]
        raise InputError(
            f"{stated.source}: expected a line for each of {num_rows:,} rows, but it lacks "
            f"{listing((quote(str(known)) for known in lacking), 3)}"
        )
    return lines
