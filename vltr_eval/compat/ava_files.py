"""The files of the AVA evaluation: boxes and excluded images as CSV, the label map as text of a protocol buffer.

Every failure is an `InputError` of one sentence naming file and line; files that cannot be opened raise OSError.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vltr_eval.formats import InputError

__all__ = ["Boxes", "Images", "read_boxes", "read_images", "read_labelmap"]

_IMAGE, _UNSCORED, _SCORED = 2, 7, 8  # columns: video, time[, x1, y1, x2, y2, class[, score]]
_MAX_CLASS = 2**31


@dataclass(frozen=True, eq=False)
class Images:
    """Key frames. videos: (N,) names, array or sequence of str; times: (N,) float64 seconds.

    Raises ValueError for arrays of other shapes, and for what is not finite; so does `Boxes`.
    """

    videos: Sequence[str] | np.ndarray
    times: np.ndarray

    def __post_init__(self) -> None:
        _check_numbers("times", self.times, (len(self.videos),))

    def __len__(self) -> int:
        return len(self.videos)


@dataclass(frozen=True, eq=False)
class Boxes:
    """Detections or ground truth, one action of one box in each row.

    images: the N key frames that the rows are of. corners: (N, 4) float64 x1, y1, x2, y2. classes: (N,) int64 ids of
    actions. scores: (N,) float64, 1 where a file has none. empty: key frames that are declared without a box.
    """

    images: Images
    corners: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    empty: Images

    def __post_init__(self) -> None:
        num_rows = len(self.images)
        for name, shape in (("corners", (num_rows, 4)), ("classes", (num_rows,)), ("scores", (num_rows,))):
            _check_numbers(name, getattr(self, name), shape)

    def __len__(self) -> int:
        return len(self.classes)


def _check_numbers(name: str, column: np.ndarray, shape: tuple[int, ...]) -> None:
    if np.shape(column) != shape or not np.isfinite(column).all():
        got = "others" if np.shape(column) == shape else f"shape {np.shape(column)}"
        raise ValueError(f"{name}: expected finite numbers of shape {shape}, got {got}")


def read_boxes(path: str | os.PathLike[str]) -> Boxes:
    """Read the boxes of a CSV without header: ``video,time,x1,y1,x2,y2,class[,score]`` or ``video,time`` a line.

    The released ground truth has a person's number where detections have the score; it is read as one, and unused.
    Names may be quoted, and then have commas, but no line ends.
    Raises InputError for a line with other columns or with quotes out of place, a number that is none or not finite, or
    a class that is no id.
    """
    lines = _read_lines(path, (_IMAGE, _UNSCORED, _SCORED), "2, 7 or 8 columns")
    boxes, empty = lines.take(lines.widths > _IMAGE), lines.take(lines.widths == _IMAGE)
    for i in np.flatnonzero(boxes.widths == _UNSCORED).tolist():
        boxes.numbers[i] += ",1"
    numbers = _parse(path, boxes, _SCORED)
    classes = numbers[:, 5]
    bad = np.flatnonzero((classes != np.floor(classes)) | (classes < 0) | (classes >= _MAX_CLASS))
    if bad.size:
        raise InputError(
            f"{path}: line {boxes.places[bad[0]] + 1}: expected the id of a class in column 7, got {classes[bad[0]]:g}"
        )
    return Boxes(
        images=Images(boxes.videos, numbers[:, 0]),
        corners=np.ascontiguousarray(numbers[:, 1:5]),
        classes=classes.astype(np.int64),
        scores=numbers[:, 6].copy(),
        empty=Images(empty.videos, _parse(path, empty, _IMAGE)[:, 0]),
    )


def read_images(path: str | os.PathLike[str]) -> Images:
    """Read the key frames of a CSV without header, ``video,time`` a line, as AVA's lists of excluded timestamps.

    Raises InputError for a line with other columns, or a time that is no number.
    """
    lines = _read_lines(path, (_IMAGE,), "2 columns")
    return Images(lines.videos, _parse(path, lines, _IMAGE)[:, 0])


def read_labelmap(path: str | os.PathLike[str]) -> dict[int, str]:
    """Read the names of the classes by id, ids ascending, from ``item { name: "..." id: N }`` or ``label_id: N``.

    DIFFERS from the original, which reads only lines indented by two spaces and passes over all others in silence.
    Raises InputError for a map without classes, one without name or id, and an id that comes twice.
    """
    text = _read_text(path)
    names: dict[int, str] = {}
    for item in re.finditer(r"\b(?:item|label)\s*\{(.*?)\}", text, re.DOTALL):
        name = re.search(r"""\bname\s*:\s*(?:"([^"]*)"|'([^']*)')""", item[1])
        number = re.search(r"\b(?:label_)?id\s*:\s*(\d{1,9})\b", item[1])
        line = text.count("\n", 0, item.start()) + 1
        if name is None or number is None:
            raise InputError(f"{path}: line {line}: expected a class with name and id, got {' '.join(item[0].split())}")
        if int(number[1]) in names:
            raise InputError(f"{path}: line {line}: class {number[1]} is listed twice")
        names[int(number[1])] = name[1] if name[1] is not None else name[2]
    if not names:
        raise InputError(f'{path}: expected a label map of item {{ name: "..." id: N }}, got none')
    return dict(sorted(names.items()))


def _read_text(path: str | os.PathLike[str]) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected UTF-8 text, got binary data") from None


class _Lines(NamedTuple):
    """Lines of a table that are not empty."""

    places: np.ndarray  # (N,) int64, in the file, from 0
    videos: list[str]
    numbers: list[str]  # what stands after the video and its comma
    widths: np.ndarray  # (N,) int64, columns in all

    def take(self, wanted: np.ndarray) -> _Lines:
        if wanted.all():
            return self
        index = np.flatnonzero(wanted).tolist()
        videos, numbers = ([column[i] for i in index] for column in (self.videos, self.numbers))
        return _Lines(self.places[wanted], videos, numbers, self.widths[wanted])


def _read_lines(path: str | os.PathLike[str], allowed: tuple[int, ...], expected: str) -> _Lines:
    text = _read_text(path)
    rows = text.split("\n")
    places = np.flatnonzero(np.fromiter(map(bool, rows), bool, len(rows)))
    rows = list(filter(None, rows))
    videos = [row.partition(",")[0] for row in rows]
    numbers = [row[len(video) + 1 :] for row, video in zip(rows, videos, strict=True)]
    if '"' in text:
        for i, row in enumerate(rows):
            if '"' in row:
                videos[i], numbers[i] = _without_quotes(row, f"{path}: line {places[i] + 1}")
    widths = np.fromiter((part.count(",") + 2 if part else 1 for part in numbers), np.int64, len(numbers))
    bad = np.flatnonzero(~np.isin(widths, allowed))
    if bad.size:
        raise InputError(f"{path}: line {places[bad[0]] + 1}: expected {expected}, got {widths[bad[0]]}")
    return _Lines(places, videos, numbers, widths)


def _without_quotes(row: str, where: str) -> tuple[str, str]:
    try:
        video, *numbers = next(csv.reader([row], strict=True))
    except csv.Error as error:
        raise InputError(f"{where}: expected quotes around whole columns, got others ({error})") from None
    return video, ",".join(numbers)


def _parse(path: str | os.PathLike[str], lines: _Lines, width: int) -> np.ndarray:
    """The numbers after the first column, (N, width - 1) float64."""
    rows = lines.numbers
    if not rows:
        return np.empty((0, width - 1))
    try:
        numbers = np.loadtxt(rows, delimiter=",", comments=None, ndmin=2)
    except ValueError:
        numbers = np.array([[_number(field) for field in row.split(",")] for row in rows])
    if not np.isfinite(numbers).all():
        row, column = divmod(int(np.argmin(np.isfinite(numbers))), width - 1)
        field = rows[row].split(",")[column]
        place = f"line {lines.places[row] + 1}, column {column + 2}"
        raise InputError(f"{path}: {place}: expected a finite number, got {field[:40]!r}")
    return numbers


def _number(field: str) -> float:
    try:
        return float(field)
    except ValueError:
        return np.nan
