"""Bounds of metrics that depend on scores that ranked lists leave out. docs/topk.md has the proofs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltr_eval._base.progress import Progress
from vltr_eval._engine.ranked_lists import class_bounds
from vltr_eval.ranked_lists.lists import LabelledLists, RankedLists, hidden_positives, label_lists

__all__ = ["ListBounds", "average_precision_bounds", "bounds_of", "check_unlisted"]


@dataclass(frozen=True, eq=False)
class ListBounds:
    """The lowest and the highest value of each class over all scores that the lists allow.

    Attributes:
        ap_lower: (C,) average precision, NaN for a class without positives.
        ap_upper: (C,) likewise.
        auc_lower: (C,) ROC-AUC, NaN for a class without positives or without negatives. Some scores attain it.
        auc_upper: (C,) likewise.
        ap_lower_attained: (C,) bool, whether some scores attain the bound. Otherwise the true minimum can be higher.
        ap_upper_attained: (C,) bool, likewise.
    """

    ap_lower: np.ndarray
    ap_upper: np.ndarray
    auc_lower: np.ndarray
    auc_upper: np.ndarray
    ap_lower_attained: np.ndarray
    ap_upper_attained: np.ndarray


def average_precision_bounds(
    lists: RankedLists,
    labels: Any,
    *,
    unlisted: float | None = None,
    unknown: Any = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ListBounds:
    """Compute bounds of the AP and the ROC-AUC of each class, in time that is linear in the listed pairs.

    Args:
        lists: N rows with scores.
        labels: Labels of the rows; see `vltr_eval.rank_table`.
        unlisted: None for top-k lists: an unlisted score is at most the lowest listed score of its row. A number T for
            lists that were cut at a threshold: an unlisted score is at most T. -inf ties all unlisted scores below
            every other, which makes the values exact.
        unknown: Cells that are neither positive nor negative, which are left out.
        threads: CPU threads.
        progress: Called with the fraction done.

    Returns:
        Bounds that hold for every completion of the scores.

    Raises:
        ValueError: Lists without scores, or labels that do not fit.

    Example:
        >>> lists = RankedLists.from_arrays([[0], [1], [0]], [[0.9], [0.8], [0.3]], num_classes=2)
        >>> bounds = average_precision_bounds(lists, [[0], [0], []])
        >>> bounds.ap_lower.round(3).tolist(), bounds.ap_upper.tolist()
        ([0.833, nan], [1.0, nan])
    """
    return bounds_of(label_lists(lists, labels, unknown=unknown, threads=threads), unlisted, threads, progress)


def check_unlisted(unlisted: float | None) -> float | None:
    if unlisted is None:
        return None
    if isinstance(unlisted, bool) or not isinstance(unlisted, (int, float, np.number)) or math.isnan(unlisted):
        raise ValueError(f"unlisted: expected None or the highest score of unlisted classes, got {unlisted!r}")
    return float(unlisted)


def bounds_of(
    labelled: LabelledLists,
    unlisted: float | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ListBounds:
    """The bounds of `average_precision_bounds` for lists with labels."""
    lists, unlisted = labelled.lists, check_unlisted(unlisted)
    if lists.scores is None or lists.lowest is None:
        raise ValueError("lists: expected scores, by which the rows of a class are ranked, got lists without scores")
    limits = lists.lowest if unlisted is None else np.full(lists.num_rows, unlisted)
    hidden = hidden_positives(labelled)
    unknown = labelled.unknown
    left_out = (np.zeros(lists.num_classes + 1, np.int64), np.zeros(0, np.uint32))
    if unknown is not None:
        left_out = (unknown.indptr, unknown.rows)
    pairs = (lists.indptr, lists.classes, lists.scores, labelled.hits)
    found = class_bounds(pairs, limits, (hidden.indptr, hidden.rows), left_out, threads, progress)
    return ListBounds(*found[:4], *(attained.astype(bool) for attained in found[4:]))
