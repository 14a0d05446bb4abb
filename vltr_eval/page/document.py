"""The document of a page: the JSON that its script shows, with arrays in base64."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vltr_eval.page.details import NO_ROW, ClassDetails, Curves, Histograms, Mistakes

SCHEMA = "vltr-eval/page/1"

_POINTS_OF_ALL = 65_536  # of the curves of a page, which then has at most about 20 MB
_FEWEST_POINTS, _MOST_POINTS = 12, 256
_MOST_WITH_ALL_BINS = 4_096  # classes
_MERGED_BINS = 2  # neighbours that become one where there are more classes


@dataclass(frozen=True)
class StaticTable:
    """A table for readers without JavaScript.

    Attributes:
        caption: Its caption.
        headings: The headings of its columns. The cells of the first column name their lines.
        lines: The cells of each line.
    """

    caption: str
    headings: Sequence[str]
    lines: Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False)
class Page:
    """All that a page shows.

    Attributes:
        kind: "report", "comparison" or "training".
        title: The title, also the first heading.
        report: The JSON of the report, verbatim; None without one.
        comparison: The JSON of the comparison, verbatim; None without one.
        headings: The headings of the per-class columns, in the order of the table.
        partitions: The groups of each partition of the classes, by its name. The name of the partition by training
            counts is "".
        details: The details of each system, the baseline first; empty without any.
        training: The runs of a training as plain data; None without them.
        signature: The line to cite.
        notes: Sentences on the input. The JSON of the report has them.
        remarks: Sentences on what the page lacks.
        tables: The tables for readers without JavaScript.
    """

    kind: str
    title: str
    report: str | None = None
    comparison: str | None = None
    headings: Mapping[str, str] = field(default_factory=dict)
    partitions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    details: Sequence[ClassDetails] = ()
    training: Mapping[str, Any] | None = None
    signature: str = ""
    notes: Sequence[str] = ()
    remarks: Sequence[str] = ()
    tables: Sequence[StaticTable] = ()

    def __repr__(self) -> str:
        return f"<Page of a {self.kind}: {self.title!r}>"


def page_json(page: Page) -> str:
    """Return the document of a page as JSON in ASCII, which no element of HTML can end.

    The JSON of a report is part of the text as it is, but for ``<``, which stands in texts alone and becomes an escape.
    """
    import json  # not above: few programs make a page

    points, merged = curve_points(page.details), merged_bins(page.details)
    entries = {
        "schema": json.dumps(SCHEMA),
        "kind": json.dumps(page.kind),
        "title": json.dumps(page.title),
        "report": "null" if page.report is None else page.report.strip(),
        "comparison": "null" if page.comparison is None else page.comparison.strip(),
        "headings": json.dumps(dict(page.headings)),
        "group_names": json.dumps(["overall", *(name for names in page.partitions.values() for name in names)]),
        "partitions": json.dumps({name: list(names) for name, names in page.partitions.items()}),
        "remarks": json.dumps(list(page.remarks)),
        "details": json.dumps([_details(one, points, merged) for one in page.details]),
        "ids": json.dumps(_ids(page.details)),
        "training": json.dumps(page.training),
    }
    text = "{\n" + ",\n".join(f"{json.dumps(key)}: {entry}" for key, entry in entries.items()) + "\n}"
    return text.replace("<", "\\u003c")


def curve_points(details: Sequence[ClassDetails]) -> int:
    """Return the most points of a curve: 65,536 for the curves of all classes and systems, from 12 to 256 each."""
    curves = sum(one.curves.num_classes for one in details)
    return int(np.clip(_POINTS_OF_ALL // max(1, curves), _FEWEST_POINTS, _MOST_POINTS))


def merged_bins(details: Sequence[ClassDetails]) -> int:
    """Return how many neighbouring bins become one: 2 above 4,096 classes of all systems, else 1."""
    return _MERGED_BINS if sum(one.curves.num_classes for one in details) > _MOST_WITH_ALL_BINS else 1


def thin_curves(curves: Curves, most: int) -> np.ndarray:
    """Return which of the thresholds a page shows: (K,) bool, at most ``most`` of each class.

    All of a class with few thresholds. Else they are even in recall, with the first, the last, and the first of those
    with the largest F1.
    """
    indptr, tp = curves.indptr, curves.tp
    counts = np.diff(indptr)
    many = counts > most
    if not many.any():
        return np.ones(len(tp), bool)
    class_of = np.repeat(np.arange(len(counts)), counts)
    positives = curves.num_positives[class_of]
    segments = most - 3  # of the recall; the first, the best, and those before the first positive come on top
    segment = (tp * segments - 1) // np.maximum(positives, 1)
    kept = ~many[class_of]
    kept[:-1] |= (segment[1:] != segment[:-1]) | (class_of[1:] != class_of[:-1])
    kept[-1] = True
    has = counts > 0
    starts = indptr[:-1][has]
    kept[starts] = True
    kept[best_f1(curves)[has]] = True
    return kept


def best_f1(curves: Curves) -> np.ndarray:
    """Return the first threshold with the largest F1 of each class: (C,) int64; 0 for a class without thresholds."""
    indptr, tp, fp = curves.indptr, curves.tp, curves.fp
    counts = np.diff(indptr)
    best = np.zeros(len(counts), np.int64)
    has = counts > 0
    if not has.any():
        return best
    starts = indptr[:-1][has]
    sizes = tp + fp + np.repeat(curves.num_positives, counts)
    f1 = np.divide(2 * tp, sizes, out=np.zeros(len(tp)), where=sizes > 0)
    largest = np.repeat(np.maximum.reduceat(f1, starts), counts[has])
    places = np.where(f1 == largest, np.arange(len(tp)), len(tp))
    best[has] = np.minimum.reduceat(places, starts)
    return best


def pack(values: np.ndarray, dtype: str) -> str:
    """Return an array in base64: its elements in C order, as the dtype, little endian."""
    return base64.b64encode(np.ascontiguousarray(values, np.dtype(f"<{dtype}")).tobytes()).decode()


def _details(details: ClassDetails, points: int, merged: int) -> dict[str, Any]:
    histograms, mistakes = details.histograms, details.mistakes
    return {
        "name": details.name,
        "curves": _curves(details.curves, points),
        "histograms": None if histograms is None else _histograms(histograms, merged),
        "mistakes": None if mistakes is None else _mistakes(mistakes),
    }


def _curves(curves: Curves, points: int) -> dict[str, Any]:
    kept = thin_curves(curves, points)
    tp, fp, thresholds = curves.tp[kept], curves.fp[kept], curves.thresholds[kept]
    indptr = np.concatenate([[0], np.cumsum(kept)])[curves.indptr]
    positives = np.repeat(curves.num_positives, np.diff(indptr))
    reached = tp + fp
    zeros = np.zeros(len(tp))
    precision = np.divide(tp, reached, out=zeros.copy(), where=reached > 0)
    recall = np.divide(tp, positives, out=zeros, where=positives > 0)
    dtype = _float_dtype(thresholds)
    return {
        "indptr": pack(indptr, "i4"),
        "recall": pack(_share(recall), "u2"),
        "precision": pack(_share(precision), "u2"),
        "threshold": pack(thresholds, dtype),
        "dtype": dtype,
    }


def _share(values: np.ndarray) -> np.ndarray:
    """Shares from 0 to 1 as multiples of 1 / 65535, rounded to the nearest."""
    rounded: np.ndarray = np.rint(values * 65535)
    return rounded


def _float_dtype(values: np.ndarray) -> str:
    """The smaller float type that holds all values, or the larger one, which may round integers of 64 bits."""
    return "f4" if values.dtype == np.float32 or bool(np.all(_single(values) == values)) else "f8"


def _histograms(histograms: Histograms, merged: int) -> dict[str, Any]:
    if histograms.bins % merged:
        merged = 1
    bins = histograms.bins // merged
    counts = {
        name: values.reshape(len(values), bins, merged).sum(axis=2, dtype=np.uint32)
        for name, values in (("positives", histograms.positives), ("negatives", histograms.negatives))
    }
    return {
        "bins": bins,
        "low": pack(_finite(histograms.low), "f4"),
        "high": pack(_finite(histograms.high), "f4"),
        **{name: pack(values, "u4") for name, values in counts.items()},
    }


def _mistakes(mistakes: Mistakes) -> dict[str, Any]:
    return {
        "limit": mistakes.limit,
        "missed": {
            "rows": _rows(mistakes.missed_rows),
            "scores": pack(_single(mistakes.missed_scores), "f4"),
        },
        "false": {
            "rows": _rows(mistakes.false_rows),
            "scores": pack(_single(mistakes.false_scores), "f4"),
        },
    }


def _rows(rows: np.ndarray) -> str:
    """Row numbers in base64; those that 32 bits cannot hold are left out."""
    return pack(np.where(rows < 2**31, rows, NO_ROW), "i4")


def _single(values: np.ndarray) -> np.ndarray:
    """Values in single precision; those beyond its range are infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _finite(values: np.ndarray) -> np.ndarray:
    """Finite values in single precision; those beyond its range are its ends, because an axis is drawn from them."""
    ends = np.finfo(np.float32)
    found: np.ndarray = np.clip(_single(values), ends.min, ends.max)
    return found


def _ids(details: Sequence[ClassDetails]) -> dict[str, str] | None:
    """The ids of the rows among the mistakes, in the order of the rows."""
    known = [one.ids for one in details if one.ids is not None]
    if not known:
        return None
    ids = {row: name for one in known for row, name in one.items()}
    return {str(row): ids[row] for row in sorted(ids) if row != NO_ROW}
