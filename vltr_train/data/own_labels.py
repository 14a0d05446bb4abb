"""Labels of one's own data: a CSV file with ids and classes, or a list with one video a line.

`read_own_labels` reads one file; `vltr_train.data.pack.own` makes a data set of it.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from vltr_eval.formats import InputError
from vltr_train.data.label_lists import is_index

__all__ = ["SPLITS", "read_own_labels"]

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validate", "validation", "valid", "val", "dev"), "validate"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The split that a word in the column `split` stands for."""

_ID_COLUMNS = ("id", "video", "video_id", "name", "path", "file")
_LABEL_COLUMNS = ("labels", "label", "classes", "class")
_SPLIT_COLUMNS = ("split", "subset")
_SEPARATORS = (";", "|", ",")
_VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"})

Rows = tuple[list[str], list[list[str]], list[str | None]]


def read_own_labels(
    path: str | os.PathLike[str], class_names: Sequence[str] | None = None, *, frame_counts: bool | None = None
) -> Rows:
    """Read ids, classes and splits of a labels file.

    .csv and .tsv files have a column of ids (id, video, video_id, name, path or file), a column of labels (labels,
    label, classes or class), and may have a column `split`; other columns are ignored. A file without a header has ids
    in its first column, labels in its second, and may have splits in its third. The classes of a cell are separated by
    `;`, `|` or `,`, whichever of these comes first in that order in the file, or by blanks where all are numbers. The
    index 3 may be written 3.0, as tables with empty cells have it.

    Any other file is a list of lines ``<path> <class> [<class>...]``; classes may also be joined by commas. The id is
    the path without the suffix of a video. ``<path> <frames> <class>...`` is read where frame_counts is true.

    Args:
        path: The file.
        class_names: The names of all classes. A cell that is one of them is never divided.
        frame_counts: Whether the second field of a line is a number of frames. None: yes for *_videofolder.txt, no
            for others; a list whose lines all have two numbers is then refused, because it may be either.

    Returns:
        The ids; for each the list of its classes, as names or as digits; and for each its split, which is "train",
        "validate", "test" or None.

    Raises:
        InputError: The file cannot be read, or a line has no id, an unknown split, or the id of another line.
    """
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{source}: no such file") from None
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{source}: expected UTF-8 text, got binary data") from None
    if source.suffix.lower() in (".csv", ".tsv"):
        lines, ids, cells, splits = _read_table(source, text)
        labels = _divide(cells, class_names or ())
    else:
        lines, ids, labels = _read_list(source, text, frame_counts)
        splits = [None] * len(ids)
    if not ids:
        raise InputError(f"{source}: expected a video with its labels on each line, got no video")
    line_of: dict[str, int] = {}
    for line, name in zip(lines, ids, strict=True):
        if not name or name.split() != [name]:
            raise InputError(f"{source}: line {line}: expected an id without blanks, got {name!r}")
        if line_of.setdefault(name, line) != line:
            raise InputError(
                f"{source}: line {line}: video {name} is on line {line_of[name]} already; give each video one line"
            )
    return ids, labels, splits


def _read_table(path: Path, text: str) -> tuple[list[int], list[str], list[str], list[str | None]]:
    """Line numbers, ids, cells of labels, and splits."""
    head = text.partition("\n")[0]
    separator = "\t" if path.suffix.lower() == ".tsv" else ";" if "," not in head and ";" in head else ","
    # Strict: a quote that is never closed would take the rest of the file for one cell.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: expected a CSV file ({error})") from None
    if not rows:
        return [], [], [], []
    header = [cell.lower() for cell in rows[0][1]]
    columns = [_column(header, names) for names in (_ID_COLUMNS, _LABEL_COLUMNS, _SPLIT_COLUMNS)]
    twice = next(
        (header[column] for column in columns if column is not None and header.count(header[column]) > 1), None
    )
    if twice is not None:
        raise InputError(f"{path}: expected columns of different names, got {twice!r} more than once; rename them")
    labels = [name for name in header if name in _LABEL_COLUMNS]
    if len(labels) > 1:
        raise InputError(f"{path}: expected one column of labels, got {' and '.join(labels)}; leave out the others")
    id_column, label_column, split_column = columns
    if id_column is not None and label_column is not None:
        rows = rows[1:]
    elif columns != [None] * 3 or len(header) not in (2, 3):
        raise InputError(f"{path}: expected columns id, labels and perhaps split, got {', '.join(rows[0][1][:6])}")
    else:
        id_column, label_column, split_column = 0, 1, 2 if len(header) == 3 else None
    splits: list[str | None] = []
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(
                f"{path}: line {line}: expected {len(header)} columns, got {len(row)}; "
                f"put cells that have {separator!r} in double quotes"
            )
        word = None if split_column is None else row[split_column]
        if word is not None and word.lower() not in SPLITS:
            raise InputError(f"{path}: line {line}: expected split train, validate or test, got {word!r}")
        splits.append(None if word is None else SPLITS[word.lower()])
    lines = [line for line, _ in rows]
    return lines, [row[id_column] for _, row in rows], [row[label_column] for _, row in rows], splits


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _divide(cells: Sequence[str], class_names: Sequence[str]) -> list[list[str]]:
    """The classes of each cell; one separator holds for the whole file."""
    cells = [cell[1:-1] if cell.startswith("[") and cell.endswith("]") else cell for cell in cells]
    whole = set(class_names)
    divided = [cell for cell in cells if cell not in whole]
    separator = next((mark for mark in _SEPARATORS if any(mark in cell for cell in divided)), None)
    if separator is None and not all(is_index(token) for cell in divided for token in cell.split()):
        return [[_token(cell)] if cell else [] for cell in cells]  # names may have blanks
    return [
        [cell] if cell in whole else [token for part in cell.split(separator) if (token := _token(part))]
        for cell in cells
    ]


def _token(text: str) -> str:
    """One class of a cell, without blanks and quotes around it, and an index without decimals."""
    token = text.strip(" \t'\"")
    whole, point, decimals = token.partition(".")
    return whole if point and is_index(whole) and decimals.strip("0") == "" else token


def _read_list(path: Path, text: str, frame_counts: bool | None) -> tuple[list[int], list[str], list[list[str]]]:
    """Line numbers, ids, and classes of lines of a path and numbers."""
    rows = [(line, fields) for line, text_line in enumerate(text.splitlines(), 1) if (fields := text_line.split())]
    if frame_counts is None:
        frame_counts = path.name.endswith("_videofolder.txt")
        if not frame_counts and rows and all(len(fields) == 3 and all(map(is_index, fields[1:])) for _, fields in rows):
            raise InputError(
                f"{path}: each line has two numbers, which are two classes or a number of frames and a class; "
                "say which by --frame-counts or --no-frame-counts (frame_counts=True or False)"
            )
    ids, labels = [], []
    for line, (name, *fields) in rows:
        if frame_counts and not (fields and is_index(fields[0])):
            raise InputError(f"{path}: line {line}: expected a path, a number of frames and classes, got {name!r}")
        ids.append(os.path.splitext(name)[0] if os.path.splitext(name)[1].lower() in _VIDEO_SUFFIXES else name)
        labels.append([token for field in fields[frame_counts:] for token in field.split(",") if token])
    return [line for line, _ in rows], ids, labels
