"""Numbers that papers print: one CSV file for each paper, one line for each row of its tables.

Columns of a file:

- ``table``: the table of the line, DATASET-NUMBER or DATASET-PAPER-NUMBER, such as "videolt-1" or "videolt-move-4".
- ``repeated_in``: the other tables that print the row, of any paper, with spaces between them.
- ``row``: the name of the row in the table.
- ``method``, ``preset``: the method of vltr_train that the row shows, and its preset that reproduces the row.
- ``features``: the backbone of the features.
- ``data``: the variant of the data set, such as "minikinetics-0.01". A file without variants has no such column.
- The other columns are the headings of the table. A cell is a fraction with the paper's digits, or empty if the paper
  prints no number.

The first line of a preset is the row as it was printed first. If another table prints the row with other numbers, these
are a further line of the same preset. A cell of it may be empty too.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

__all__ = ["PAPERS", "PrintedRow", "method_order", "printed_rows", "read_rows"]

PAPERS = MappingProxyType(
    {
        "videolt": "VideoLT, arXiv 2105.02668; the tables videolt-modelzoo are the MODELZOO of its published code",
        "move": "MOVE, AAAI 2023, arXiv 2211.13471",
        "medc": "Hu, Gao and Xu, Learning Muti-experts Distribution Calibration for Long-tailed Video Classification",
        "meid": "Li and Xu, MEID, AAAI 2023",
        "ava": "Zhang et al., A Study on Action Detection in the Wild, arXiv 1904.12993; mAP is from its Table 1",
    }
)
"""The papers by the names of their files, in the order of rows and presets: a paper stands behind those it repeats."""

_WORDS = ("table", "repeated_in", "row", "method", "preset", "features", "data")
_REQUIRED = ("table", "row", "method", "preset", "features")


@dataclass(frozen=True)
class PrintedRow:
    """A row of a table in a paper.

    Attributes:
        table: The table, such as "videolt-1".
        repeated_in: The other tables that print this row.
        row: The name of the row in the table.
        method: The method that the row shows.
        preset: The preset of the method that reproduces the row.
        features: The backbone of the features.
        data: The variant of the data set, or "".
        numbers: The number under each heading of the paper, as a fraction; None if the paper prints none.
    """

    table: str
    repeated_in: tuple[str, ...]
    row: str
    method: str
    preset: str
    features: str
    data: str
    numbers: Mapping[str, float | None]


def read_rows(lines: Iterable[str], name: str = "paper") -> list[PrintedRow]:
    """Read the rows of one paper.

    Args:
        lines: The lines of a CSV file with the columns of this module's documentation.
        name: The name of the file in messages of errors.

    Returns:
        The rows in the order of the file.

    Raises:
        ValueError: A column or a cell is missing, or a number is not between 0 and 1.

    Example:
        >>> read_rows(["table,row,method,preset,features,All", "videolt-1,baseline,bce,r50,ResNet50,0.499"])[0].numbers
        {'All': 0.499}
    """
    reader = csv.DictReader(lines)
    missing = [column for column in _REQUIRED if column not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"{name}: expected the columns {', '.join(_REQUIRED)}, got none named {', '.join(missing)}")
    return [_printed_row(cells, f"{name}, line {reader.line_num}") for cells in reader]


def _printed_row(cells: dict[str, str], where: str) -> PrintedRow:
    if None in cells or None in cells.values():
        raise ValueError(f"{where}: expected a cell for each column, got more or fewer")
    empty = [column for column in _REQUIRED if not cells[column]]
    if empty:
        raise ValueError(f"{where}: expected text in each of {', '.join(_REQUIRED)}, got an empty {empty[0]}")
    return PrintedRow(
        table=cells["table"],
        repeated_in=tuple(cells.get("repeated_in", "").split()),
        row=cells["row"],
        method=cells["method"],
        preset=cells["preset"],
        features=cells["features"],
        data=cells.get("data", ""),
        numbers={
            heading: _number(cell, f"{where}, {heading}") for heading, cell in cells.items() if heading not in _WORDS
        },
    )


def _number(cell: str, where: str) -> float | None:
    if not cell:
        return None
    try:
        number = float(cell)
    except ValueError:
        number = -1.0
    if not 0 < number < 1:
        raise ValueError(f"{where}: expected a fraction between 0 and 1, or nothing, got {cell!r}")
    return number


@cache
def printed_rows() -> tuple[PrintedRow, ...]:
    """Return the rows of all papers, in the order of `PAPERS` and of their files."""
    rows: list[PrintedRow] = []
    for paper in PAPERS:
        text = Path(__file__).with_name(f"{paper}.csv").read_text(encoding="utf-8")
        rows += read_rows(text.splitlines(), f"{paper}.csv")
    return tuple(rows)


@cache
def method_order() -> tuple[str, ...]:
    """Return the methods in the order in which the papers' files first name them, which is that of rows in tables."""
    return tuple(dict.fromkeys(row.method for row in printed_rows()))
