"""Values that mark unknown labels, and masks of cells, as data sets write them.

A mark is a value in the labels themselves: -1, NaN (an empty cell, a null), or the three codes of VOC and CheXpert. A
mask is an array or a file beside them. See docs/unknown_labels.md.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltr_eval.formats.sources import is_spec
from vltr_eval.formats.table import LabelPairs

__all__ = ["CellMask", "UnknownMarks", "check_cells", "is_mask_file", "read_marks"]

KNOWN, UNKNOWN = "known", "unknown"


@dataclass(frozen=True)
class UnknownMarks:
    """The values of dense labels or class indices that are neither 0 nor 1, and their meaning.

    Attributes:
        unknown: Values of unknown cells; NaN stands for every missing value.
        absent: Further values of negatives.
        text: How a person writes it.
        unlisted: Cells without a line in a list of verified cells are unknown.
    """

    unknown: tuple[float, ...]
    absent: tuple[float, ...] = ()
    text: str = ""
    unlisted: bool = False

    @property
    def of_missing(self) -> bool:
        """Whether missing values have a meaning, so that readers pass them on as NaN."""
        return any(map(math.isnan, (*self.unknown, *self.absent)))


_NAMED = {
    "-1": UnknownMarks((-1.0,), (), "-1"),
    "nan": UnknownMarks((math.nan,), (), "nan"),
    "-1,nan": UnknownMarks((-1.0, math.nan), (), "-1,nan"),
    "voc": UnknownMarks((0.0,), (-1.0,), "voc"),
    "chexpert": UnknownMarks((-1.0,), (math.nan,), "chexpert"),
    "unlisted": UnknownMarks((), (), "unlisted", True),
}
NAMES = tuple(_NAMED)


def read_marks(unknown: Any) -> UnknownMarks | None:
    """Return the marks that an option ``unknown`` means; None for None.

    Args:
        unknown: -1, NaN, None, or one of "-1", "nan", "-1,nan", "voc" (1 present, -1 absent, 0 difficult), "chexpert"
            (1 present, 0 and missing absent, -1 uncertain) and "unlisted" (cells that a list of verified cells lacks).

    Raises:
        ValueError: Another value.
    """
    if unknown is None or isinstance(unknown, UnknownMarks):
        return unknown
    text = unknown
    if isinstance(unknown, (int, float, np.integer, np.floating)) and not isinstance(unknown, bool):
        text = "nan" if math.isnan(unknown) else "-1" if unknown == -1 else unknown
    if isinstance(text, str) and text.lower() in _NAMED:
        return _NAMED[text.lower()]
    raise ValueError(f"unknown: expected -1, {', '.join(map(repr, NAMES[1:]))} or a file of a mask, got {unknown!r}")


def is_mask_file(unknown: Any) -> bool:
    """Whether an option ``unknown`` is a file of a mask, which no mark is."""
    return is_spec(unknown) and not (isinstance(unknown, str) and unknown.lower() in _NAMED)


def split_unknown(unknown: Any, mask: Any) -> tuple[UnknownMarks | None, Any]:
    """Return the marks and the mask of the options ``unknown`` and ``mask``; a file may be in either.

    Raises:
        ValueError: Both have a mask, or ``unknown`` is neither a mark nor a file that exists.
    """
    if not is_mask_file(unknown):
        return read_marks(unknown), mask
    if mask is not None:
        raise ValueError(f"unknown: expected a mark such as -1 beside mask=, got a file too, {unknown!r}")
    if isinstance(unknown, str) and "::" not in unknown and not os.path.exists(unknown) and "*" not in unknown:
        raise ValueError(
            f"unknown: expected -1, {', '.join(map(repr, NAMES[1:]))} or a file of a mask, got {unknown!r}; there is "
            "no such file"
        )
    return None, unknown


@dataclass(frozen=True, eq=False)
class CellMask:
    """Cells of scores that are known, or that are not.

    Attributes:
        kind: KNOWN or UNKNOWN.
        cells: (N, C) of bool, or `LabelPairs`: the cells of this kind. All others are of the other kind.
        name: The file or the argument, for messages.
    """

    kind: str
    cells: np.ndarray | LabelPairs
    name: str = "mask"


def check_cells(name: str, rows: np.ndarray, classes: np.ndarray, num_rows: int, num_classes: int) -> None:
    """Raise ValueError unless the lists name cells of (num_rows, num_classes) labels."""
    if rows.shape != classes.shape or rows.ndim != 1:
        raise ValueError(f"{name}: expected a class for each row, got shapes {rows.shape} and {classes.shape}")
    for what, values, limit in (("row", rows, num_rows), ("class", classes, num_classes)):
        bad = np.flatnonzero((values < 0) | (values >= limit))
        if bad.size:
            raise ValueError(f"{name}: expected {what} numbers from 0 to {limit - 1}, got {values[bad[0]]}")


def apply_marks(values: np.ndarray, marks: UnknownMarks) -> tuple[np.ndarray, np.ndarray]:
    """Return labels with 0 for every mark, and which of their cells are unknown."""
    unknown, absent = (_is_one_of(values, of_kind) for of_kind in (marks.unknown, marks.absent))
    marked = unknown | absent
    return (np.where(marked, np.zeros((), values.dtype), values) if marked.any() else values), unknown


def _is_one_of(values: np.ndarray, marks: Sequence[float]) -> np.ndarray:
    found = np.zeros(values.shape, bool)
    for mark in marks:
        if not math.isnan(mark):
            if mark >= 0 or values.dtype.kind not in "bu":
                found |= values == mark
        elif values.dtype.kind == "f":
            found |= np.isnan(values)
    return found
