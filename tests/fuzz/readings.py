"""The readers that the fuzz harness runs, and the checks of their results.

A reader may return values or refuse the file. It refuses by `InputError`, or by ValueError if its documentation says
so, with one printable line that begins with the file's name. If an independent reader exists, the values must equal its
values.
"""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch

import vltr_eval
from vltr_eval.compat.ava import files as ava_files
from vltr_eval.formats import (
    LabelPairs,
    read_class_names,
    read_ids,
    read_labelmap,
    read_labels,
    read_prior,
    read_scores,
    read_train_counts,
    text,
)
from vltr_train.data import frame_store, label_lists, own_labels

NAMES = (*(f"class {k:02d}" if k % 3 else f"cat_{k}" for k in range(7)), "/m/01", "/m/02")
_MAX_MESSAGE = 1500  # characters


class Fault(AssertionError):
    """A reader gave a result that is not allowed."""


def _read_report(path: Path) -> Any:
    return vltr_eval.Report.from_json(path.read_bytes())


TARGETS: dict[str, Callable[[Path], Any]] = {
    "scores": read_scores,
    "labels": read_labels,
    "named_labels": lambda path: read_labels(path, class_names=NAMES),
    "counts": read_train_counts,
    "prior": read_prior,
    "class_names": read_class_names,
    "ids": read_ids,
    "boxes": ava_files.read_boxes,
    "images": ava_files.read_images,
    "labelmap": read_labelmap,
    "rank_table": vltr_eval.RankTable.load,
    "report": _read_report,
    "video": frame_store.open_video,
    "videolt_list": label_lists.read_videolt_list,
    "videofolder": label_lists.read_videofolder,
    "own_labels": own_labels.read_own_labels,
}
"""The functions that read one file."""


def outcome_of(target: str, path: Path) -> tuple[Any, str | None]:
    """Read one file, and return its values or the sentence that refuses it.

    Raises:
        Fault: The sentence has several lines, is too long, or does not begin with the file's name.
        Exception: Any other error of the reader, which is a fault too.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # a cast or an overflow that changes numbers
        try:
            return TARGETS[target](path), None
        except ValueError as error:  # InputError is one
            check_message(target, path, error)
            return None, str(error)


def check_message(target: str, path: Path, error: Exception) -> None:
    """Raise Fault unless an error is one line that begins with the file's name."""
    message = str(error)
    begin = "report:" if target == "report" else str(path)
    if not message.startswith(begin):
        raise Fault(f"{type(error).__name__} does not begin with the file's name") from error
    if not message.isprintable() or len(message) > _MAX_MESSAGE:
        raise Fault(f"{type(error).__name__} is not one printable line of at most {_MAX_MESSAGE} characters") from error


def array_of(result: Any) -> np.ndarray | None:
    """Return the numbers of a result as one array, or None if it has none."""
    values = getattr(result, "values", result)
    if isinstance(values, torch.Tensor):
        return values.double().numpy() if values.is_floating_point() else values.numpy()
    if isinstance(values, LabelPairs):
        num_classes = values.num_classes or int(values.classes.max(initial=-1)) + 1
        if values.num_rows * num_classes > 10**6:
            return None
        dense = np.zeros((values.num_rows, num_classes), np.uint8)
        dense[values.rows, values.classes] = 1
        return dense
    return values if isinstance(values, np.ndarray) else None


def check_truth(result: Any, truth: np.ndarray) -> None:
    """Raise Fault unless a valid file was read with the right values."""
    values = array_of(result)
    if values is None or values.size != truth.size or not _equal(values.reshape(-1), np.asarray(truth).reshape(-1)):
        raise Fault(f"another value than was written: {values!r} for {truth!r}")


def check_use(result: Any) -> None:
    """Raise Fault unless `evaluate` takes the scores, or refuses them in one sentence."""
    scores = result.values
    if not hasattr(scores, "shape") or scores.ndim != 2 or 0 in scores.shape:
        return
    labels = (np.add.outer(np.arange(scores.shape[0]), np.arange(scores.shape[1])) % 2).astype(np.uint8)
    try:
        vltr_eval.evaluate(scores, labels, sap=None, topk=None, threads=1)
    except (ValueError, TypeError) as error:
        if "\n" in str(error):
            raise Fault("an evaluation is refused in several lines") from error


# Independent readings


def check_values(target: str, path: Path, data: bytes, result: Any) -> None:
    """Raise Fault if an independent reader of the format gives other values."""
    values = array_of(result)
    reference = _REFERENCES.get(path.suffix)
    if target not in ("scores", "labels", "video") or values is None or reference is None or not values.size:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            candidates = list(reference(path, data, values))
    except Exception:  # the other reader is stricter, or does not know this form of text
        return
    if candidates and not any(_fits(values, candidate) for candidate in candidates):
        raise Fault(f"other values than an independent reading: {values!r}, expected one of {candidates!r}")


def check_same(one: tuple[Any, str | None], other: tuple[Any, str | None]) -> None:
    """Raise Fault unless two readings of one file agree."""
    if one[1] != other[1]:
        raise Fault(f"two ways of reading disagree: {one[1]!r} and {other[1]!r}")
    left, right = array_of(one[0]), array_of(other[0])
    if left is not None and (left.dtype != right.dtype or left.shape != right.shape or not _equal(left, right)):
        raise Fault(f"two ways of reading give other values: {left!r} and {right!r}")


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype == object or other.dtype == object or "U" in one.dtype.kind + other.dtype.kind:
        return list(map(str, one.tolist())) == list(map(str, other.tolist()))
    return bool(np.array_equal(one, other, equal_nan=True))


def _fits(values: np.ndarray, candidate: Any) -> bool:
    """Return whether the values equal the candidate, or some of its columns in their order."""
    candidate = np.asarray(candidate)
    if values.shape == candidate.shape or candidate.ndim != 2:
        return values.size == candidate.size and _equal(values.reshape(-1), candidate.reshape(-1))
    columns = iter(candidate.T)
    wanted = values[:, None] if values.ndim == 1 else values
    return all(any(_equal(column, other) for other in columns) for column in wanted.T)


def _npy_reference(path: Path, data: bytes, values: np.ndarray) -> Iterator[Any]:
    yield np.load(io.BytesIO(data), allow_pickle=False)


def _npz_reference(path: Path, data: bytes, values: np.ndarray) -> Iterator[Any]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        if "format" in archive or "coords" in archive:
            return
        yield from (archive[name] for name in archive.files)


def _safetensors_reference(path: Path, data: bytes, values: np.ndarray) -> Iterable[Any]:
    return safetensors.numpy.load(data).values()


def _pt_reference(path: Path, data: bytes, values: np.ndarray) -> Iterator[Any]:
    content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    leaves = [content]
    while leaves:
        leaf = leaves.pop()
        if isinstance(leaf, dict):
            leaves += leaf.values()
        elif isinstance(leaf, torch.Tensor) and leaf.layout == torch.strided and not leaf.is_nested:
            yield leaf.double().numpy() if leaf.is_floating_point() else leaf.numpy()
        else:
            raise ValueError("lists and sparse tensors are not compared")


def _json_reference(path: Path, data: bytes, values: np.ndarray) -> Iterator[Any]:
    content = json.loads(data.decode("utf-8-sig"))
    content = list(content.values()) if isinstance(content, dict) else content
    if not all(isinstance(row, list) for row in content):
        return
    if values.dtype == np.uint8:  # made of pairs
        dense = np.zeros(values.shape)
        for row, indices in enumerate(content):
            dense[row, indices] = 1
        yield dense
    if len(set(map(len, content))) == 1:
        yield np.array(content, values.dtype)


def _text_reference(path: Path, data: bytes, values: np.ndarray) -> Iterator[Any]:
    """Yield the last N rows of a table, split by Python's csv module and converted by `float`."""
    lines = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    separators = [mark for mark in "\t;|," if mark in lines[0]]
    if len(separators) != 1:
        return  # the separator is ambiguous here; the reader decides
    (separator,) = separators
    if path.suffix == ".txt" and values.dtype == np.uint8:
        return  # each line is an id and its classes
    if len({line.count(separator) for line in lines if line.strip()}) > 1:
        return
    rows = [row for row in csv.reader(lines, delimiter=separator) if "".join(row).strip()][-len(values) :]
    if len(rows) == len(values) and len(set(map(len, rows))) == 1 and values.dtype != np.uint8:
        yield np.array([list(map(_number, row)) for row in rows])
    elif len(rows) == len(values) and all(re.fullmatch(r"[\d;,| ]*", row[-1]) for row in rows):
        dense = np.zeros(values.shape)
        for number, row in enumerate(rows):
            dense[number, list(map(int, re.findall(r"\d+", row[-1])))] = 1
        yield dense


def _number(cell: str) -> float:
    word = cell.strip().lower()
    if word in ("true", "false"):
        return float(word == "true")
    try:
        return float(word)
    except ValueError:
        return np.nan


_REFERENCES: dict[str, Callable[[Path, bytes, np.ndarray], Iterable[Any]]] = {
    ".npy": _npy_reference,
    ".npz": _npz_reference,
    ".safetensors": _safetensors_reference,
    ".pt": _pt_reference,
    ".json": _json_reference,
    ".jsonl": lambda path, data, values: _json_reference(path, b"[" + b",".join(data.splitlines()) + b"]", values),
    ".csv": _text_reference,
    ".tsv": _text_reference,
    ".txt": _text_reference,
}


# Two ways of reading text


@contextmanager
def with_pyarrow() -> Iterator[None]:
    """Make pyarrow convert the cells of small files too."""
    before, text._ARROW_FROM = text._ARROW_FROM, 0
    try:
        yield
    finally:
        text._ARROW_FROM = before


def is_text_table(path: Path) -> bool:
    return path.suffix in (".csv", ".tsv", ".txt")
