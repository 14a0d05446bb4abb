"""The choice of a threshold for each class on a validation set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vltr_eval._base.arrays import Array, Matrix, borrow_matrix, of_bits, to_host
from vltr_eval._base.groups import DEFAULT_BOUNDS, Bounds
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._engine.inputs import ReadingOptions
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.options import EvalOptions, read_with_options
from vltr_eval._engine.rank_scan import find_positive_scores, rank_scan
from vltr_eval._engine.rank_table import PositiveScores, RankTable
from vltr_eval._engine.results import ClassInfo
from vltr_eval._engine.thresholds import (
    NONE,
    OWN,
    POOLED,
    ThresholdRule,
    Thresholds,
    fingerprints_of,
    never_reached,
)
from vltr_eval._engine.unknown import UnknownCells
from vltr_eval.formats.align import POSITION
from vltr_eval.report.names import OVERALL

__all__ = ["ThresholdRule", "Thresholds", "choose_thresholds", "choose_thresholds_of"]

_BLOCK_BYTES = 16 << 20  # of the scores of a pool that are copied at a time
_OF_SCAN = 0.6  # share of the time of a choice that has pools


def choose_thresholds(
    scores: Any,
    labels: Any,
    *,
    by: str = "f1",
    beta: float | None = None,
    at_least: float | None = None,
    min_positives: int = 10,
    pool_by: str | Mapping[str, Sequence[int]] = "groups",
    train_counts: Sequence[float] | Mapping[str, float] | np.ndarray | str | os.PathLike[str] | None = None,
    bounds: Bounds = DEFAULT_BOUNDS,
    groups: Any = None,
    class_names: Sequence[str] | str | os.PathLike[str] | None = None,
    ids: Any = None,
    label_ids: Any = None,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    header: bool | None = None,
    label_form: str | None = None,
    join: str = "exact",
    mask: Any = None,
    unknown: Any = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Thresholds:
    """Choose a threshold for each class on a validation set, to predict the class where its score is at least that.

    Pass the result to ``evaluate(..., thresholds=...)`` with a test set. On the validation set itself precision, recall
    and F1 are optimistic, most of all in classes with few positives. Therefore classes with fewer than
    ``min_positives`` share one threshold, which is chosen on all of their cells together. See docs/thresholds.md.

    Args:
        scores: See `vltr_eval.evaluate`, as all that are not listed here.
        labels: See there.
        by: "f1" or "fbeta" for the largest F1 or F-beta; of equal ones, the higher threshold. "precision" for the
            largest recall of the thresholds with a precision of ``at_least``; without one, the class is never
            predicted. "recall" for the highest threshold with a recall of ``at_least``.
        beta: The weight of recall in F-beta: 2 counts it twice as much as precision.
        at_least: The least precision or recall, above 0 and up to 1.
        min_positives: Classes with fewer positives share a threshold; 0 for none. Then, or if no class of a pool has a
            positive, a class without positives is never predicted.
        pool_by: The classes that share a threshold: "groups" for those of the same group (head, medium, tail), which
            needs train counts; "overall" for all; or a mapping from names of pools to class indices. Classes in no
            pool, and those of a pool without positives, share that of all classes with few positives.
        train_counts: See `EvalOptions`.
        bounds: See `EvalOptions`.
        groups: See `EvalOptions`; pools too. A class in several groups is in the pool of the first.
        class_names: See `EvalOptions`.
        threads: Number of CPU threads; all cores if None.
        progress: Called with the fraction done.

    Returns:
        The `Thresholds`.

    Raises:
        ValueError: An option is out of range, a score is NaN, or the inputs do not belong together.
        TypeError: An input is neither an array nor a file.

    Example:
        >>> scores = np.float32([[.9, .2], [.8, .1], [.7, .4], [.2, .3]])
        >>> thresholds = choose_thresholds(scores, [[0], [0], [1], []], min_positives=1)
        >>> [round(float(value), 4) for value in thresholds.values], thresholds
        ([0.8, 0.4], <Thresholds of 2 classes by largest F1: 2 own>)
    """
    is_given = not isinstance(pool_by, str)
    rule = ThresholdRule(by, beta, at_least, min_positives, "given" if is_given else str(pool_by))
    if pool_by == "given":
        raise ValueError("pool_by: expected 'groups', 'overall' or a mapping, got 'given'")
    chosen = EvalOptions(
        sap=None, topk=None, train_counts=train_counts, bounds=bounds, class_names=class_names, groups=groups
    )
    reading = ReadingOptions(ids, label_ids, columns, exclude, header, label_form, join, mask, unknown)
    inputs, _, class_info = read_with_options(scores, labels, chosen, reading)
    pools = _checked_pools(pool_by, inputs.scores.num_classes) if isinstance(pool_by, Mapping) else None
    thresholds, _ = choose_thresholds_of(
        inputs.scores,
        inputs.positives(form=label_form, threads=threads),
        class_info,
        rule,
        pools=pools,
        ids=None if join == POSITION else inputs.ids,
        threads=threads,
        progress=progress,
    )
    return thresholds


def choose_thresholds_of(
    matrix: Matrix,
    positives: Positives,
    class_info: ClassInfo,
    rule: ThresholdRule,
    *,
    pools: Mapping[str, np.ndarray] | None = None,
    ids: Any = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[Thresholds, RankTable]:
    """Choose thresholds for inputs that are read; return them with the rank table.

    Args:
        matrix: The scores.
        positives: Their labels.
        class_info: The groups and names of the classes.
        rule: The rule.
        pools: Class indices of own pools, with ``pool_by="given"``.
        ids: (N,) row ids, or None.
        threads: CPU threads.
        progress: Called with the fraction done.
    """
    counts = positives.counts
    few = counts < rule.min_positives
    of_scan = _OF_SCAN if few.any() else 1.0
    table = rank_scan(matrix, positives, threads=threads, progress=part_of(progress, 0.0, of_scan)).table
    at = _choose(table, rule)
    has = (at >= 0) & ~few
    values = np.full(matrix.num_classes, never_reached(table.thresholds.dtype), table.thresholds.dtype)
    values[has] = table.thresholds[at[has]]
    pool_of: list[str | None] = [None] * matrix.num_classes
    shared = list(_split(few, counts, rule, class_info, pools).items())
    for number, (name, (members, cells)) in enumerate(shared):
        for c in members.tolist():
            pool_of[c] = name
        if not counts[cells].any():
            continue
        done = part_of(progress, *(of_scan + (1 - of_scan) * (number + k) / len(shared) for k in (0, 1)))
        pool = pooled_table(matrix, positives, cells, threads=threads, progress=done)
        (best,) = _choose(pool, rule).tolist()
        if best >= 0:
            has[members] = True
            values[members] = pool.thresholds[best]
    if progress is not None:
        progress(1.0)
    labels, of_ids = fingerprints_of(positives, ids)
    thresholds = Thresholds(
        values=values,
        chosen=tuple(
            NONE if not own else OWN if pool is None else POOLED for own, pool in zip(has, pool_of, strict=True)
        ),
        pools=tuple(pool_of),
        rule=rule,
        dtype=matrix.dtype,
        num_rows=matrix.num_rows,
        label_fingerprints=labels,
        id_fingerprint=of_ids,
        class_names=class_info.names,
    )
    return thresholds, table


def _checked_pools(pools: Mapping[str, Sequence[int]], num_classes: int) -> dict[str, np.ndarray]:
    """Own pools as class indices. Raises ValueError for a class that is not there or is in two pools."""
    found: dict[str, np.ndarray] = {}
    seen: dict[int, str] = {}
    for name, classes in pools.items():
        members = np.asarray(classes)
        if not isinstance(name, str) or members.ndim != 1 or (len(members) and members.dtype.kind not in "iu"):
            raise ValueError(f"pool_by: expected lists of class indices by name, got {classes!r} for {name!r}")
        for c in members.tolist():
            if not 0 <= c < num_classes:
                raise ValueError(f"pool_by: expected classes from 0 to {num_classes - 1}, got {c} in {name!r}")
            if c in seen:
                raise ValueError(f"pool_by: expected each class in one pool, got {c} in {seen[c]!r} and in {name!r}")
            seen[c] = name
        found[name] = np.sort(members).astype(np.int64)
    return found


def _split(
    few: np.ndarray,
    counts: np.ndarray,
    rule: ThresholdRule,
    class_info: ClassInfo,
    given: Mapping[str, np.ndarray] | None,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The pools of the classes with few positives: those that share its threshold, and those it is chosen on.

    A class in several groups belongs to the first of them whose pool has a positive. Classes in no such pool share the
    threshold that is chosen on all classes with few positives.
    """
    pools: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    left = few.copy()
    for name, classes in (given or (class_info.groups if rule.pool_by == "groups" else {})).items():
        members = classes[left[classes]]
        if counts[members].sum():
            pools[name] = members, members
            left[members] = False
    if left.any():
        pools[OVERALL] = np.flatnonzero(left), np.flatnonzero(few)
    return pools


def _choose(table: RankTable, rule: ThresholdRule) -> np.ndarray:
    """The index of the chosen threshold of each class in the table, -1 without one: (C,) int64.

    The distinct scores of the positives are the only candidates that are needed. Let t be another threshold. If no
    positive reaches it, it has no true positive: F-beta is 0 and no candidate has less, and recall is 0. Otherwise
    raise t to the lowest score of a positive that reaches it. The same positives reach the new threshold, and no more
    negatives. So recall is the same and precision and F-beta are no lower, at a threshold that is higher.
    """
    tp, reached = table.tp, table.tp + table.fp
    sizes = np.diff(table.indptr)
    positives = np.repeat(table.num_positives, sizes)
    if rule.by in ("f1", "fbeta"):
        # F-beta without its constant factor 1 + beta^2. Equal ratios of integers are equal doubles where beta^2 is one.
        value = tp / ((1.0 if rule.beta is None else rule.beta**2) * positives + reached)
        best = np.zeros(table.num_classes)
        best[sizes > 0] = np.maximum.reduceat(value, table.indptr[:-1][sizes > 0]) if len(value) else []
        allowed = value == np.repeat(best, sizes)
    else:
        allowed = tp / (reached if rule.by == "precision" else positives) >= rule.at_least
    at = np.flatnonzero(allowed)
    classes = np.repeat(np.arange(table.num_classes), sizes)[at]
    if rule.by == "precision":  # the lowest threshold has the largest recall; of the others the highest is chosen
        at, classes = at[::-1], classes[::-1]
    found = np.full(table.num_classes, -1, np.int64)
    distinct, first = np.unique(classes, return_index=True)
    found[distinct] = at[first]
    return found


def pooled_table(
    matrix: Matrix,
    positives: Positives,
    classes: np.ndarray,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> RankTable:
    """Return the rank table of the cells of some classes together, as those of one class.

    The cells are copied in blocks of rows and counted against the scores of all positives of the classes, so memory is
    that of a block and O(positives).
    """
    counts = np.zeros(positives.num_classes, np.int64)
    counts[classes] = positives.counts[classes]
    rows = np.concatenate([positives.rows_of(c) for c in classes.tolist()])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    own = Positives(positives.num_rows, positives.num_classes, indptr, rows)
    distinct = np.unique(find_positive_scores(matrix, own, threads=threads).scores)[::-1].copy()
    thresholds = PositiveScores(np.array([0, len(distinct)], np.int64), distinct)
    # Row r and class number k of a block are row r * len(classes) + k of its column.
    cells = np.sort(rows.astype(np.int64) * len(classes) + np.repeat(np.arange(len(classes)), counts[classes]))
    table: RankTable | None = None
    for first, stop, shard in _blocks(matrix, classes):
        begin, end = np.searchsorted(cells, (first * len(classes), stop * len(classes)))
        of_block = (cells[begin:end] - first * len(classes)).astype(np.uint32)
        block = Positives((stop - first) * len(classes), 1, np.array([0, len(of_block)], np.int64), of_block)
        bits = _copy_classes(shard, classes)
        if positives.unknown is not None:
            known = _known_cells(positives.unknown, classes, first, stop).reshape(-1)
            numbers = np.cumsum(known) - 1
            of_known = numbers[block.rows].astype(np.uint32)
            block = Positives(int(np.count_nonzero(known)), 1, block.indptr, of_known)
            bits = bits[known]
            if not len(bits):
                continue
        column = borrow_matrix("scores", of_bits(bits, shard.dtype))
        counted = rank_scan(column, block, thresholds=thresholds, threads=threads).table
        table = counted if table is None else table.merge(counted)
        if progress is not None:
            progress(stop / matrix.num_rows)
    if table is None:
        raise ValueError("scores: expected at least one row, got none")
    return table


def _blocks(matrix: Matrix, classes: np.ndarray) -> list[tuple[int, int, Array]]:
    """Blocks of rows: the first row, the end and the scores of each."""
    blocks, start = [], 0
    for shard in matrix.shards:
        num_rows = shard.shape[0]
        at_once = max(1, _BLOCK_BYTES // (shard.itemsize * len(classes)))
        for first in range(0, num_rows, at_once):
            stop = min(num_rows, first + at_once)
            blocks.append((start + first, start + stop, shard.rows(first, stop)))
        start += num_rows
    return blocks


def _copy_classes(rows: Array, classes: np.ndarray) -> np.ndarray:
    """A copy of the bits of some classes of a block of rows, as one column."""
    bits = to_host(rows).bits()
    return np.ascontiguousarray(bits.reshape(len(bits), -1)[:, classes].reshape(-1, 1))


def _known_cells(unknown: UnknownCells, classes: np.ndarray, first: int, stop: int) -> np.ndarray:
    """Whether the rows from first to stop - 1 know some classes: (n, number of classes) bool."""
    if unknown.bits is not None:
        words = np.ascontiguousarray(unknown.bits[classes, first // 64 : -(-stop // 64)].astype("<u8"))
        flags = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
        known: np.ndarray = flags[:, first % 64 : first % 64 + stop - first].T == 0
        return known
    known = np.ones((stop - first, len(classes)), bool)
    for k, c in enumerate(classes.tolist()):
        rows = unknown.rows_of(c)
        begin, end = np.searchsorted(rows, (first, stop))
        known[rows[begin:end].astype(np.int64) - first, k] = False
    return known
