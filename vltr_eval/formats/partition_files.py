"""Files and data frames of groups and of slices: their columns, their lines, and the names in them."""

from __future__ import annotations

import math
from typing import Any

from vltr_eval._base.files import InputError
from vltr_eval.formats.sources import Source, reading, repeated, require


def read_csv(source: Source) -> dict[str, list[str]]:
    """Read the columns of a text table with a header, as text.

    Raises:
        InputError: The table is damaged, has no lines, or two columns of one name.
    """
    import csv  # not above: few programs read groups or slices

    with reading(source), open(source.path, encoding="utf-8-sig", newline="") as stream:
        try:
            rows = list(csv.reader(stream, delimiter="\t" if source.suffix == ".tsv" else ",", strict=True))
        except csv.Error as error:
            raise InputError(f"{source}: expected a text table, got a damaged one ({error})") from None
    rows = [row for row in rows if row]
    if len(rows) < 2:
        raise InputError(f"{source}: expected a header and lines below it, got {len(rows)} lines")
    header = [name.strip() for name in rows[0]]
    if twice := repeated(header):
        raise InputError(f"{source}: expected columns of different names, got {twice[0]!r} twice")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise InputError(f"{source}: line {number}: expected {len(header)} fields as in the header, got {len(row)}")
    return {name: [row[position] for row in rows[1:]] for position, name in enumerate(header)}


def read_parquet(source: Source) -> dict[str, list[Any]]:
    """Read the columns of a .parquet; nulls are None.

    Raises:
        InputError: The file is damaged, or pyarrow is missing.
    """
    pyarrow = require("pyarrow", "parquet", source)
    parquet = require("pyarrow.parquet", "parquet", source)
    with reading(source):
        try:
            return columns_of_frame(parquet.read_table(source.path))
        except pyarrow.ArrowInvalid as error:
            first = str(error).partition("\n")[0]
            raise InputError(f"{source}: expected a .parquet file, got a damaged one ({first})") from None


def columns_of_frame(frame: Any, index_name: str = "class") -> dict[str, list[Any]]:
    """Return the columns of a data frame; those of pandas begin with the index if it has a name or holds text."""
    if is_pandas(frame):
        columns = {str(name): frame[name].tolist() for name in frame.columns}
        is_named = frame.index.name is not None or any(isinstance(key, str) for key in frame.index[:1])
        index = {str(frame.index.name or index_name): frame.index.tolist()} if is_named else {}
        return {**index, **columns}
    if hasattr(frame, "to_pydict"):
        return {str(name): values for name, values in frame.to_pydict().items()}
    return {str(name): values for name, values in frame.to_dict(as_series=False).items()}


def is_pandas(value: Any) -> bool:
    """Whether a value is of pandas."""
    return type(value).__module__.partition(".")[0] == "pandas"


def is_whole_frame(value: Any) -> bool:
    """Whether a value is a data frame of pandas or polars, or a table of pyarrow."""
    is_of = type(value).__module__.partition(".")[0] in ("pandas", "polars", "pyarrow")
    return is_of and type(value).__name__ in ("DataFrame", "Table")


def lines_with_blanks(source: Source) -> list[str]:
    """Return the lines of a text file. Blank ones at its end count too: they are in no group, or in no slice."""
    with reading(source):
        text = source.path.read_text(encoding="utf-8-sig")
    return text.removesuffix("\n").split("\n") if text.strip() else []


def partition_name(source: str, name: Any) -> str:
    """Return the name of a partition. "group" is a column of the per-class table already, so it becomes "groups"."""
    text = str(name).strip()
    if not text:
        raise InputError(f"{source}: expected a name for each partition, got an empty one")
    return "groups" if text == "group" else text


def group_of(source: str, value: Any, what: str = "groups") -> str | None:
    """Return the group (or the slice, as ``what`` says for messages) that a value is, None for none."""
    value = value.item() if hasattr(value, "item") else value
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        value = int(value) if value.is_integer() else value
    if not isinstance(value, (str, int, float)):
        raise TypeError(f"{source}: expected the names of {what}, got {value!r}")
    return str(value).strip() or None
