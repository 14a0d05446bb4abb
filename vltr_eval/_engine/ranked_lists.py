"""Operations of the core on ranked lists: sorting, hits, pooled precision, bounds of classes, text files."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import num_threads
from vltr_eval._base.progress import Progress

__all__ = ["PAIRS", "RANKS", "SPARSE", "Bounds", "BrokenText", "ListText", "WrongClass", "class_bounds", "mark_listed"]
__all__ += ["parse_text", "pooled_precision", "sort_lists"]

PAIRS, RANKS, SPARSE = 0, 1, 2
"""Forms of lines: ``ID,CLASS SCORE ...``, ``ID,CLASS CLASS ...`` and ``CLASS:SCORE CLASS:SCORE ...``."""


class WrongClass(Exception):
    """A list with a class out of range ("range"), a repeated class ("twice") or a NaN score ("nan")."""

    def __init__(self, kind: str, row: int, class_index: int) -> None:
        super().__init__(kind, row, class_index)
        self.kind, self.row, self.class_index = kind, row, class_index


class BrokenText(Exception):
    """The first wrong line of a text: the kind of error, the line from 0, and the bytes of the wrong part."""

    def __init__(self, kind: int, line: int, first: int, length: int) -> None:
        super().__init__(kind, line, first, length)
        self.kind, self.line, self.first, self.length = kind, line, first, length


class ListText(NamedTuple):
    """The content of a text: ids as bytes of the text (none for SPARSE), and lists (no scores for RANKS)."""

    id_first: np.ndarray
    id_length: np.ndarray
    indptr: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


class Bounds(NamedTuple):
    """Lowest and highest value of each class over all completions, and whether those of AP are attained: (C,) each."""

    ap_lower: np.ndarray
    ap_upper: np.ndarray
    auc_lower: np.ndarray
    auc_upper: np.ndarray
    ap_lower_attained: np.ndarray
    ap_upper_attained: np.ndarray


def sort_lists(
    indptr: np.ndarray,
    classes: np.ndarray,
    scores: np.ndarray | None,
    num_classes: int,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return sorted copies of the lists, and the lowest score of each row, +inf for an empty list.

    Raises:
        WrongClass: The first row with a class that is out of range, repeated, or has the score NaN.
    """
    try:
        return _core.sort_lists(indptr, classes, scores, num_classes, num_threads(threads), progress)
    except _core.BadValue as error:
        kind, row, class_index = error.args
    raise WrongClass(kind, row, class_index)


def mark_listed(
    indptr: np.ndarray,
    classes: np.ndarray,
    other_indptr: np.ndarray,
    others: np.ndarray,
    threads: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return 1 for each listed class that is in the other list of its row, ascending there: (nnz,) uint8."""
    return _core.mark_listed(indptr, classes, other_indptr, others, num_threads(threads), progress)


def pooled_precision(
    indptr: np.ndarray,
    scores: np.ndarray,
    hits: np.ndarray,
    depth: int,
    threads: int | None = None,
    progress: Progress | None = None,
) -> float:
    """Return the sum of the precision at each hit among the first ``depth`` pairs of all rows in one list."""
    return _core.pooled_precision(indptr, scores, hits, depth, num_threads(threads), progress)


def class_bounds(
    lists: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    limits: np.ndarray,
    hidden: tuple[np.ndarray, np.ndarray],
    unknown: tuple[np.ndarray, np.ndarray],
    threads: int | None = None,
    progress: Progress | None = None,
) -> Bounds:
    """Return bounds of AP and ROC-AUC for each class; docs/topk.md has the proofs.

    Args:
        lists: indptr, classes, scores and hits.
        limits: The highest score of an unlisted cell of each row.
        hidden: indptr by class and rows of the positives that no list has.
        unknown: The same of the cells that are left out.
        threads: CPU threads.
        progress: Called with the fraction done.
    """
    return Bounds(*_core.class_bounds(*lists, limits, *hidden, *unknown, num_threads(threads), progress))


def parse_text(text: np.ndarray, form: int, threads: int | None = None, progress: Progress | None = None) -> ListText:
    """Read a text of one list a line.

    Raises:
        BrokenText: The first line that is not of the form.
    """
    found: Any = _core.read_list_text(text, form, num_threads(threads), progress)
    if len(found) == 4:
        raise BrokenText(*found)
    return ListText(*found)
