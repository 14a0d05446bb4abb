"""Label lists: which classes each video has, in the published formats of VideoLT, MiniKinetics and AVA.

CharadesLT and CharadesEgoLT have no published lists; write lists for them in VideoLT's format. A file that cannot be
read as it should is a `vltr_eval.formats.InputError` that names the file and, where there is one, the line.

Legend: n videos (rows of a list), C classes, B picked rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from vltr_eval._base.files import PendingFile
from vltr_eval.formats import InputError, read_class_names, read_labels, read_train_counts

__all__ = [
    "MINIKINETICS_CLASS_ORDER",
    "LabelList",
    "class_total",
    "default_class_names",
    "is_index",
    "read_ava",
    "read_class_counts",
    "read_minikinetics",
    "read_videofolder",
    "read_videolt_list",
    "write_class_counts",
    "write_videolt_list",
]


@dataclass(frozen=True, eq=False)
class LabelList:
    """Videos by their ids, and the classes of each; make one with `from_lists` or `from_pairs`.

    offsets: (n + 1,) int64; the classes of row i are classes[offsets[i]:offsets[i + 1]], (labels,) int64, ascending and
    none twice. A video may have no label.
    """

    ids: tuple[str, ...]
    offsets: np.ndarray
    classes: np.ndarray
    num_classes: int

    @classmethod
    def from_lists(cls, ids: Iterable[str], labels: Sequence[Sequence[int]], num_classes: int) -> LabelList:
        """A list of n ids and of the classes of each, in any order.

        Raises ValueError for a class out of range or named twice, and for an id that occurs twice.

        >>> labels = LabelList.from_lists(["a", "b"], [[2, 0], [2]], 3)
        >>> labels.counts(), labels.multi_hot()
        (array([1, 0, 2]), array([[1., 0., 1.],
               [0., 0., 1.]], dtype=float32))
        """
        names = tuple(ids)
        if len(labels) != len(names):
            raise ValueError(f"labels: expected one list for each of {len(names)} ids, got {len(labels)}")
        lengths = np.fromiter(map(len, labels), np.int64, len(names))
        classes = np.fromiter((c for row in labels for c in row), np.int64, int(lengths.sum()))
        return cls.from_pairs(names, np.repeat(np.arange(len(names)), lengths), classes, num_classes)

    @classmethod
    def from_pairs(cls, ids: tuple[str, ...], rows: np.ndarray, classes: np.ndarray, num_classes: int) -> LabelList:
        """A list of n ids and of (row, class) pairs in any order, two (labels,) arrays of integers.

        Raises ValueError as `from_lists` does.
        """
        order = np.lexsort((classes, rows))
        rows, classes = np.asarray(rows)[order], np.asarray(classes, np.int64)[order]
        outside = np.flatnonzero((classes < 0) | (classes >= num_classes))
        if outside.size:
            at = outside[0]
            raise ValueError(
                f"labels: expected classes from 0 to {num_classes - 1}, got {classes[at]} of {ids[rows[at]]}"
            )
        twice = np.flatnonzero((np.diff(rows) == 0) & (np.diff(classes) == 0))
        if twice.size:
            at = twice[0]
            raise ValueError(f"labels: expected each class once a video, got {classes[at]} twice of {ids[rows[at]]}")
        if len(set(ids)) < len(ids):
            raise ValueError(f"ids: expected each video once, got {ids[_first_repeated(ids)]} twice")
        lengths = np.bincount(rows, minlength=len(ids))
        return cls(ids, np.concatenate([[0], np.cumsum(lengths)]), classes, num_classes)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"LabelList({len(self):,} videos, {len(self.classes):,} labels, {self.num_classes:,} classes)"

    @property
    def rows(self) -> np.ndarray:
        """The row of each label, (labels,) int64, beside `classes`."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def counts(self) -> np.ndarray:
        """Videos of each class, (C,) int64: a video with several labels counts for each."""
        return np.bincount(self.classes, minlength=self.num_classes)

    def multi_hot(self, rows: np.ndarray | None = None, dtype: np.typing.DTypeLike = np.float32) -> np.ndarray:
        """Targets (B, C) of 0 and 1 for the rows (B,), by default all."""
        picked = np.arange(len(self)) if rows is None else np.asarray(rows)
        targets = np.zeros((len(picked), self.num_classes), dtype)
        targets[self._pairs(picked)] = 1
        return targets

    def select(self, rows: np.ndarray) -> LabelList:
        """The list of some rows (B,), in that order."""
        picked = np.asarray(rows)
        numbers, classes = self._pairs(picked)
        return LabelList.from_pairs(tuple(self.ids[row] for row in picked.tolist()), numbers, classes, self.num_classes)

    def rows_with(self, classes: np.ndarray) -> np.ndarray:
        """The rows that carry one of the classes or more, ascending; ValueError for classes that are not (C,) bool."""
        mask = np.asarray(classes)
        if mask.dtype != bool or mask.shape != (self.num_classes,):
            raise ValueError(
                f"classes: expected bool of shape ({self.num_classes},), got {mask.dtype} of shape {mask.shape}"
            )
        return np.unique(self.rows[mask[self.classes]])

    def by_class(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows of each class: offsets (C + 1,) int64, and rows (labels,) int64 that ascend within a class."""
        return np.concatenate([[0], np.cumsum(self.counts())]), self.rows[np.argsort(self.classes, kind="stable")]

    def _pairs(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(number within ``rows``, class) of every label of these rows."""
        lengths = np.diff(self.offsets)[rows]
        numbers = np.repeat(np.arange(len(rows)), lengths)
        before = np.cumsum(lengths) - lengths
        positions = np.arange(len(numbers)) + (self.offsets[:-1][rows] - before)[numbers]
        return numbers, self.classes[positions]


def _first_repeated(names: Sequence[str]) -> int:
    """Return the index of the first name that an earlier index has as well."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            return index
        seen.add(name)
    raise ValueError("names: expected a repeated name, got distinct ones")


# ---------------------------------------------------------------------------------------------------------------------
# VideoLT (arXiv 2105.02668): train.lst, validate.lst, test.lst, count-labels-train.lst
# ---------------------------------------------------------------------------------------------------------------------

_FEWEST_REFUSED = 2**16  # classes that a list without names may always have


def read_videolt_list(path: str | os.PathLike[str], num_classes: int | None = None) -> LabelList:
    """Read a .lst of lines ``<id> <class>[,<class>...]``; an id alone is a video without labels.

    num_classes: default one more than the largest class, which may be at most 65,535 or the number of labels.
    Raises InputError.
    """
    labels = read_labels(path)
    pairs = labels.values
    ids = tuple(cast(np.ndarray, labels.ids).tolist())  # read_labels always reads ids
    if len(set(ids)) < len(ids):
        row = _first_repeated(ids)
        raise InputError(f"{path}: line {row + 1}: video {ids[row]} is listed already")
    total = class_total(path, int(pairs.classes.max()), len(pairs.classes)) if num_classes is None else num_classes
    outside = np.flatnonzero(pairs.classes >= total)
    if outside.size:
        at = outside[0]
        raise InputError(
            f"{path}: line {pairs.rows[at] + 1}: expected classes from 0 to {total - 1}, got {pairs.classes[at]}"
        )
    return LabelList.from_pairs(ids, pairs.rows, pairs.classes, total)


def is_index(text: str) -> bool:
    """Whether a text is a class index: digits, and few enough for 64 bits."""
    return text.isascii() and text.isdecimal() and len(text) < 19


def class_total(path: str | os.PathLike[str], largest: int, num_labels: int) -> int:
    """The number of classes of labels without class names: one more than the largest.

    Raises InputError where that would be more classes than a list of so many labels can need: each gets a name and
    counts, so one wrong number would take all memory.
    """
    most = max(_FEWEST_REFUSED, num_labels)
    if largest >= most:
        raise InputError(
            f"{path}: expected classes below {most} where no class names are given, got {largest}; "
            "correct it, or name the classes"
        )
    return largest + 1


def default_class_names(num_classes: int) -> tuple[str, ...]:
    """The names of classes that have none: class0000, class0001 and so on."""
    return tuple(f"class{index:04d}" for index in range(num_classes))


def read_videofolder(path: str | os.PathLike[str], num_classes: int | None = None) -> LabelList:
    """Read VideoLT's val_videofolder.txt or test_videofolder.txt: lines ``<folder>/<id> <frames> <class>,...``.

    Args:
        path: The file. The folder is a class or "multiple", and is left out of the id, as in the .lst files.
        num_classes: The number of classes; default one more than the largest.

    Raises:
        InputError: A line of another form, a class out of range, or a video that is listed twice.
    """
    ids, labels = [], []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        fields = line.split()
        tokens = fields[2].removesuffix(",").split(",") if len(fields) == 3 else []
        if not tokens or not all(map(is_index, (fields[1], *tokens))):
            raise InputError(f"{path}: line {number}: expected '<folder>/<id> <frames> <class>,...', got {line[:60]!r}")
        ids.append(fields[0].rpartition("/")[2])
        labels.append([int(token) for token in tokens])
    if not ids:
        raise InputError(f"{path}: expected lines '<folder>/<id> <frames> <class>,...', got none")
    largest = max(map(max, labels))
    total = class_total(path, largest, sum(map(len, labels))) if num_classes is None else num_classes
    try:
        return LabelList.from_lists(ids, labels, total)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def write_videolt_list(path: str | os.PathLike[str], labels: LabelList) -> None:
    """Write the list for `read_videolt_list`; the file appears whole or not at all.

    Raises ValueError for an id that is empty or has white space in it, OutputError where nothing can be written.
    """
    for name in labels.ids:
        if name.split() != [name]:
            raise ValueError(f"{path}: expected ids without white space, got {name!r}")
    words, bounds = list(map(str, labels.classes.tolist())), labels.offsets.tolist()
    lines = (
        f"{name} {','.join(words[start:stop])}".rstrip() + "\n"
        for name, start, stop in zip(labels.ids, bounds, bounds[1:], strict=False)
    )
    with PendingFile(path) as file:
        file.write_text("".join(lines))


def read_class_counts(path: str | os.PathLike[str]) -> tuple[list[str], np.ndarray]:
    """Read a count-labels-train.lst, ``<name> <index> <count>`` a line: C names and counts (C,) int64.

    Raises InputError.
    """
    return list(read_class_names(path).names), read_train_counts(path)


def write_class_counts(path: str | os.PathLike[str], names: Sequence[str], counts: np.ndarray) -> None:
    """Write C names and counts (C,) as VideoLT's count-labels-train.lst: ``river 0 1912.0``.

    Raises ValueError for a name that is empty or of several lines, OutputError where nothing can be written.
    """
    for name in names:
        if not name.strip() or len(name.splitlines()) > 1:
            raise ValueError(f"{path}: expected class names of one line, got {name!r}")
    lines = (f"{name} {index} {count:.1f}\n" for index, (name, count) in enumerate(zip(names, counts, strict=True)))
    with PendingFile(path) as file:
        file.write_text("".join(lines))


# ---------------------------------------------------------------------------------------------------------------------
# Imbalanced-MiniKinetics200 (MOVE; its published code makes it out of MiniKinetics-200)
# ---------------------------------------------------------------------------------------------------------------------

# fmt: off
MINIKINETICS_CLASS_ORDER = (
    7, 57, 1, 33, 160, 68, 26, 42, 165, 14, 83, 95, 39, 41, 65, 147, 79, 62, 16, 3, 67, 143, 63, 168, 72, 64, 23, 11,
    18, 25, 61, 13, 52, 28, 34, 77, 6, 9, 58, 19, 55, 150, 31, 88, 85, 51, 70, 164, 22, 45, 20, 48, 24, 12, 43, 66,
    75, 69, 74, 17, 38, 71, 40, 2, 0, 4, 151, 47, 37, 50, 82, 159, 152, 59, 29, 149, 78, 10, 81, 53, 5, 8, 154, 32,
    30, 27, 49, 46, 54, 21, 157, 148, 44, 96, 90, 36, 35, 91, 158, 145, 84, 60, 98, 15, 140, 76, 146, 156, 56, 144,
    99, 97, 94, 179, 167, 73, 153, 87, 86, 170, 80, 166, 92, 100, 93, 176, 155, 125, 101, 126, 174, 121, 169, 180,
    112, 192, 102, 106, 107, 133, 89, 103, 113, 193, 104, 136, 114, 163, 127, 115, 124, 118, 188, 134, 123, 173, 105,
    138, 132, 122, 110, 116, 117, 111, 177, 137, 162, 120, 178, 189, 109, 141, 108, 172, 135, 129, 187, 171, 130, 161,
    181, 175, 139, 131, 119, 194, 183, 128, 190, 142, 184, 195, 191, 182, 186, 199, 198, 197, 196, 185,
)
# fmt: on
"""MiniKinetics' 200 classes from the largest to the smallest: class k of the long-tailed set is class ORDER[k].

The published code sorts by an unstable argsort, whose order of equal counts depends on numpy and the CPU; this is the
order of the numpy that it used.
"""


def read_minikinetics(
    train_path: str | os.PathLike[str], val_path: str | os.PathLike[str], imbalance: float
) -> tuple[LabelList, LabelList]:
    """Imbalanced-MiniKinetics200 for training and test, out of MiniKinetics' train.lst and val.lst.

    Classes are numbered anew, the largest first. Class k keeps its first ``int(n_0 * imbalance ** (k / 199))`` training
    videos in the order of the file, where n_0 is the size of the largest class. All test videos stay.
    imbalance: above 0, at most 1; the paper has 0.01, 0.02, 0.05 and 0.1. Raises InputError, also for other lists.
    """
    if not 0 < imbalance <= 1:
        raise ValueError(f"imbalance: expected above 0 and at most 1, got {imbalance}")
    total = len(MINIKINETICS_CLASS_ORDER)
    train, test = (_largest_first(path, read_videolt_list(path, total)) for path in (train_path, val_path))
    sizes = train.counts()
    if (np.diff(sizes) > 0).any():
        k = int(np.argmax(np.diff(sizes) > 0))
        larger, smaller = MINIKINETICS_CLASS_ORDER[k + 1], MINIKINETICS_CLASS_ORDER[k]
        raise InputError(
            f"{train_path}: not MiniKinetics' published list: class {larger} has {sizes[k + 1]} videos, "
            f"class {smaller} only {sizes[k]}"
        )
    targets = np.array([int(sizes[0] * imbalance ** (k / (total - 1))) for k in range(total)])
    offsets, rows = train.by_class()
    rank_in_class = np.arange(len(rows)) - np.repeat(offsets[:-1], sizes)
    kept = np.sort(rows[rank_in_class < np.repeat(targets, sizes)])
    return train.select(kept), test


def _largest_first(path: str | os.PathLike[str], labels: LabelList) -> LabelList:
    """The same videos with classes numbered by MINIKINETICS_CLASS_ORDER; each must have one label."""
    wrong = np.flatnonzero(np.diff(labels.offsets) != 1)
    if wrong.size:
        row = wrong[0]
        raise InputError(f"{path}: line {row + 1}: expected one class, got {np.diff(labels.offsets)[row]}")
    return replace(labels, classes=np.argsort(MINIKINETICS_CLASS_ORDER)[labels.classes])


# ---------------------------------------------------------------------------------------------------------------------
# AVA (arXiv 1705.08421): ava_train_v2.2.csv and the action list
# ---------------------------------------------------------------------------------------------------------------------

_AVA_ACTIONS = 80
_AVA_LINE = "<video>,<timestamp>,<x1>,<y1>,<x2>,<y2>,<action>,<person>"


def read_ava(path: str | os.PathLike[str], classes: Mapping[int, str] | None = None) -> LabelList:
    """Read AVA's annotations, one line for each action of a person box: a row for each box, ids in order of appearance.

    Ids are "<video>_<timestamp>_<person>". classes: the actions that count, id (from 1) to name, as
    `vltr_eval.formats.read_labelmap` gives them; class c is the one with the c-th smallest id. A box with other
    actions alone has no label. Default: all 80. An action that a box has twice counts once. Raises InputError.
    """
    actions = sorted(classes) if classes is not None else range(1, _AVA_ACTIONS + 1)
    class_of = {action: index for index, action in enumerate(actions)}
    row_of: dict[str, int] = {}
    pairs: dict[tuple[int, int], None] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        fields = line.strip().split(",")
        if len(fields) != 8 or not fields[6].isdecimal():
            raise InputError(f"{path}: line {number}: expected {_AVA_LINE}, got {line[:60]!r}")
        video, timestamp, action, person = fields[0], fields[1], int(fields[6]), fields[7]
        if not 1 <= action <= _AVA_ACTIONS:
            raise InputError(f"{path}: line {number}: expected an action from 1 to {_AVA_ACTIONS}, got {action}")
        row = row_of.setdefault(f"{video}_{timestamp}_{person}", len(row_of))
        if action in class_of:
            pairs[row, class_of[action]] = None
    if not row_of:
        raise InputError(f"{path}: expected lines {_AVA_LINE}, got none")
    rows, indices = np.array(list(pairs), np.int64).reshape(-1, 2).T
    return LabelList.from_pairs(tuple(row_of), rows, indices, len(class_of))


def _text(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected UTF-8 text, got binary data") from None
