"""Metrics that ranked lists determine. docs/topk.md has the formulas and their sources.

Sums over rows are rounded once, so they do not depend on the order of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from vltr_eval._base.groups import checked_train_counts
from vltr_eval._base.progress import Progress
from vltr_eval._engine.hits import check_topk
from vltr_eval._engine.ranked_lists import pooled_precision
from vltr_eval.ranked_lists.lists import LabelledLists, RankedLists, label_lists

__all__ = ["class_recall", "global_average_precision", "pooled_average_precision", "propensities", "row_metrics"]
__all__ += ["topk_metrics"]


def topk_metrics(
    lists: RankedLists,
    labels: Any,
    *,
    k: int | Iterable[int] = (1, 3, 5),
    propensity: np.ndarray | None = None,
    unknown: Any = None,
    threads: int | None = None,
) -> dict[str, dict[int, float]]:
    """Compute Acc@k, P@k, nDCG@k and recall@k, and with propensities PSP@k and PSnDCG@k.

    Rows without labels are left out. Places beyond the end of a list hold no label.

    Args:
        lists: N rows.
        labels: Labels of the rows; see `vltr_eval.rank_table`.
        k: One value of k, or several.
        propensity: (C,) propensities of the classes; see `propensities`.
        unknown: Cells that are neither positive nor negative, which are left out.
        threads: CPU threads.

    Returns:
        For each metric its value at each k, ascending; NaN without a labelled row.

    Raises:
        ValueError: Labels that do not fit the lists.

    Example:
        >>> lists = RankedLists.from_arrays([[2, 0], [1, 2]], [[0.9, 0.5], [0.8, 0.7]], num_classes=3)
        >>> topk_metrics(lists, [[0], [1]], k=[1, 2])["P"]
        {1: 0.5, 2: 0.5}
    """
    ks = check_topk(k)
    labelled = label_lists(lists, labels, unknown=unknown, threads=threads)
    return row_metrics(labelled, ks, propensity)


def row_metrics(
    labelled: LabelledLists, ks: tuple[int, ...], propensity: np.ndarray | None = None
) -> dict[str, dict[int, float]]:
    """The metrics of `topk_metrics` for lists with labels."""
    num_rows, counts = labelled.lists.num_rows, labelled.labels_per_row
    has_labels = counts > 0
    total = int(np.count_nonzero(has_labels))
    names = ["Acc", "P", "nDCG", "recall"] + ["PSP", "PSnDCG"] * (propensity is not None)
    found: dict[str, dict[int, float]] = {name: {} for name in names}
    weights = None if propensity is None else 1.0 / _checked_propensity(propensity, labelled.lists.num_classes)
    best = None if weights is None else _best_labels(labelled, weights)
    discount = _discounts(max(int(counts.max(initial=0)), int(labelled.lists.lengths.max(initial=0))))
    ideal = np.concatenate([np.zeros(1), np.array(list(_running_sum(discount.tolist())))])
    for k in ks:
        if total == 0:
            for values in found.values():
                values[k] = math.nan
            continue
        within = labelled.hit_ranks < k
        rows, ranks = labelled.hit_rows[within], labelled.hit_ranks[within]
        hits = np.bincount(rows, minlength=num_rows)
        gain = np.bincount(rows, discount[ranks], num_rows)  # adds in the order of ranks
        most = ideal[np.minimum(counts, k)]
        found["Acc"][k] = int(np.count_nonzero(hits)) / total
        found["P"][k] = int(hits.sum()) / (k * total)
        found["nDCG"][k] = math.fsum((gain[has_labels] / most[has_labels]).tolist()) / total
        found["recall"][k] = math.fsum((hits[has_labels] / counts[has_labels]).tolist()) / total
        if weights is None or best is None:
            continue
        best_rows, best_ranks, best_weights = (column[best[1] < k] for column in best)
        own_weights = weights[labelled.hit_classes[within]]
        found["PSP"][k] = _ratio(own_weights, best_weights)
        gains = [
            np.bincount(of_rows, of_weights * discount[of_ranks], num_rows)[has_labels] / most[has_labels]
            for of_rows, of_ranks, of_weights in ((rows, ranks, own_weights), (best_rows, best_ranks, best_weights))
        ]
        found["PSnDCG"][k] = _ratio(*gains)
    return found


def _checked_propensity(propensity: np.ndarray, num_classes: int) -> np.ndarray:
    values = np.asarray(propensity, np.float64)
    if values.shape != (num_classes,):
        raise ValueError(f"propensity: expected one for each of {num_classes} classes, got shape {values.shape}")
    wrong = np.flatnonzero(~((values > 0) & (values <= 1)))
    if wrong.size:
        raise ValueError(
            f"propensity: expected numbers above 0 and up to 1, got {values[wrong[0]]} for class {wrong[0]}; see "
            "propensities()"
        )
    return values


def _running_sum(values: list[float]) -> Iterable[float]:
    total = 0.0
    for value in values:
        total += value
        yield total


def _discounts(count: int) -> np.ndarray:
    """1 / log2(2), 1 / log2(3), ... of the ranks from 0."""
    return np.array([1.0 / math.log2(rank + 2) for rank in range(count)])


def _ratio(own: np.ndarray, best: np.ndarray) -> float:
    below = math.fsum(best.tolist())
    return math.fsum(own.tolist()) / below if below > 0 else math.nan


def _best_labels(labelled: LabelledLists, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, ranks and weights of the labels of each row, the largest weight first."""
    rows = np.repeat(np.arange(labelled.lists.num_rows), labelled.labels_per_row)
    own = weights[labelled.label_classes]
    order = np.lexsort((labelled.label_classes, -own, rows))
    return rows, np.arange(len(rows)) - labelled.label_indptr[rows], own[order]


def propensities(train_counts: Any, num_train_rows: int, *, a: float = 0.55, b: float = 1.5) -> np.ndarray:
    """Compute the propensity of each class: the probability that a true label is observed (Jain et al., KDD 2016).

    ``p = 1 / (1 + C (n + b) ** -a)`` with ``C = (log N - 1) (b + 1) ** a``, for n of N training rows.

    Args:
        train_counts: (C,) training rows of each class.
        num_train_rows: N, the number of training rows.
        a: 0.5 for Wikipedia, 0.6 for Amazon, 0.55 otherwise.
        b: 0.4 for Wikipedia, 2.6 for Amazon, 1.5 otherwise.

    Returns:
        (C,) float64.

    Raises:
        ValueError: Counts that are no whole numbers, fewer than 3 rows, or parameters that are not positive.

    Example:
        >>> propensities([1000, 10], 1000).round(3).tolist()
        [0.821, 0.282]
    """
    counts = checked_train_counts(train_counts)
    if num_train_rows < 3:
        raise ValueError(f"num_train_rows: expected at least 3 training rows, got {num_train_rows}")
    if not (0 < a < math.inf and 0 < b < math.inf):
        raise ValueError(f"a and b: expected positive numbers, got {a} and {b}")
    scale = (math.log(num_train_rows) - 1.0) * (b + 1.0) ** a
    powers = {count: (count + b) ** -a for count in np.unique(counts).tolist()}
    values, places = np.unique(counts, return_inverse=True)
    found: np.ndarray = 1.0 / (1.0 + scale * np.array([powers[count] for count in values.tolist()])[places])
    return found


def global_average_precision(
    lists: RankedLists,
    labels: Any,
    *,
    depth: int | None = 20,
    unknown: Any = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> float:
    """Compute GAP: the average precision of the listed pairs of all rows in one list.

    It is the sum of the precision at each hit, divided by the number of all labels, listed or not. Equal scores are one
    threshold. Pairs of rows without labels count as false positives.

    Args:
        lists: N rows with scores.
        labels: Labels of the rows; see `vltr_eval.rank_table`.
        depth: How many pairs of each row count: 20 for YouTube-8M; None for all, which is the micro AP of the lists.
        unknown: Cells that are neither positive nor negative, which are left out.
        threads: CPU threads.
        progress: Called with the fraction done.

    Returns:
        A number from 0 to 1; NaN without labels.

    Raises:
        ValueError: Lists without scores, or labels that do not fit.

    Example:
        >>> lists = RankedLists.from_arrays([[0, 1], [1, 2]], [[0.9, 0.8], [0.7, 0.4]], num_classes=3)
        >>> global_average_precision(lists, [[0], [2]])
        0.75
    """
    labelled = label_lists(lists, labels, unknown=unknown, threads=threads)
    return pooled_average_precision(labelled, depth, threads, progress)


def pooled_average_precision(
    labelled: LabelledLists, depth: int | None, threads: int | None = None, progress: Progress | None = None
) -> float:
    """The metric of `global_average_precision` for lists with labels."""
    lists = labelled.lists
    if lists.scores is None:
        raise ValueError("lists: expected scores, by which pairs of several rows are ranked, got lists without scores")
    if depth is not None and depth < 1:
        raise ValueError(f"depth: expected a number of pairs from 1 up, got {depth}")
    if not len(labelled.label_classes):
        return math.nan
    most = 2**62 if depth is None else depth
    total = pooled_precision(lists.indptr, lists.scores, labelled.hits, most, threads, progress)
    return total / len(labelled.label_classes)


def class_recall(labelled: LabelledLists, k: int) -> np.ndarray:
    """The share of the positives of each class that are among the first k of their lists: (C,), NaN without any."""
    within = labelled.hit_classes[labelled.hit_ranks < k]
    hits = np.bincount(within, minlength=labelled.lists.num_classes)
    counts = labelled.positives.counts
    shares: np.ndarray = np.divide(hits, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return shares
