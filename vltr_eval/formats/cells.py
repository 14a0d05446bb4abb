"""Text cells that hold the labels of a row: class indices, or class names that are looked up later."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.sources import listing, quote
from vltr_eval.formats.table import Lists, Table

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


def split_cells(table: Table, position: int, cells: np.ndarray, *, as_names: bool = False) -> Lists | Cells:
    """Text cells as lists of class indices, or as `Cells` where they hold names.

    Cells such as ``3;17;40``, ``3, 17`` or ``[3, 17]`` are class indices: digits and one kind of separator. Charades'
    ``c092 11.90 21.20;c147 0.00 12.60`` is classes 92 and 147, each once. as_names: digits are names, not indices.
    """
    texts = [_inner(cell) for cell in cells.tolist()]
    filled = [text for text in texts if text]
    if filled and all(all(_CHARADES.match(part.strip()) for part in text.split(";")) for text in filled):
        rows = [sorted({int(part.strip()[1:4]) for part in text.split(";")}) if text else [] for text in texts]
        return Lists.from_rows(rows)
    for separator in (";", ",", "|", None):
        if not as_names and filled and all(_are_digits(text, separator) for text in filled):
            return Lists.from_rows([[int(token) for token in _tokens(text, separator)] for text in texts])
    values = np.empty(len(texts), object)
    values[:] = texts
    return Cells(values, f"{table.source}: column {table.column_names[position]}")


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
        found = [row for row in rows if row is not None]
        if len(found) == len(rows):
            return Lists.from_rows(found)
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
