"""Thresholds that an evaluation applies: how they are read and checked, and precision, recall and F1 at them.

A cell is predicted positive if its score is at least the threshold of its class. Scores and thresholds are compared
exactly: a threshold between two numbers of the scores' dtype is replaced by the higher of them, which predicts the
same cells.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vltr_eval._base.arrays import Matrix, read_numbers
from vltr_eval._base.lazy import lazy_property
from vltr_eval._base.progress import Progress
from vltr_eval._engine.fingerprints import sha256_of
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_scan import rank_scan
from vltr_eval._engine.rank_table import PositiveScores, RankTable, lane_dtype, mean_of_defined
from vltr_eval._engine.thresholds import NONE, OWN, POOLED, Thresholds, fingerprints_of
from vltr_eval._engine.unknown import UnknownCells
from vltr_eval.report.thresholds import ThresholdResult


def _round_up(values: np.ndarray, lane: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The smallest number of a dtype that is at least each value, and whether there is one: (C,) each."""
    if values.dtype == lane:
        return values + lane.type(0), np.ones(len(values), bool)  # -0 + 0 is +0
    if values.dtype.kind == "f" and lane.kind == "f":
        with np.errstate(over="ignore"):
            rounded = values.astype(lane)
            below = rounded.astype(np.float64) < values.astype(np.float64)
            rounded[below] = np.nextafter(rounded[below], lane.type(np.inf))
        return rounded + lane.type(0), np.ones(len(values), bool)
    pairs = [_round_up_one(value, lane) for value in values.tolist()]
    return np.array([pair[0] for pair in pairs], lane), np.array([pair[1] for pair in pairs], bool)


def _round_up_one(value: float, lane: np.dtype) -> tuple[Any, bool]:
    """As `_round_up`. Python compares integers and floats exactly."""
    if lane.kind == "f":
        rounded = lane.type(value)
        return (np.nextafter(rounded, lane.type(np.inf)) if rounded.item() < value else rounded), True
    limits = np.iinfo(lane)
    if value > limits.max:
        return limits.max, False
    return (limits.min if value <= limits.min else math.ceil(value)), True


@dataclass(frozen=True, eq=False)
class AppliedThresholds:
    """The thresholds that an evaluation applies.

    Attributes:
        values: (C,) numbers.
        has_threshold: (C,) bool, False for classes that are never predicted.
        source: The thresholds with how they were chosen; None for plain numbers.
        allow_same_set: Whether the labels may be those on which they were chosen.
        same_set: Whether the labels of the evaluation are those on which they were chosen; None if that is not checked.
    """

    values: np.ndarray
    has_threshold: np.ndarray
    source: Thresholds | None = None
    allow_same_set: bool = False
    same_set: bool | None = None

    @lazy_property
    def fingerprint(self) -> str:
        """SHA-256 of the thresholds, for settings and signatures."""
        rule = "" if self.source is None else repr(self.source.rule)
        text = f"{self.values.dtype}{self.values.tolist()}{self.has_threshold.tolist()}{rule}"
        return sha256_of(np.frombuffer(text.encode(), np.uint8))

    def check_names(self, names: Sequence[str] | None) -> None:
        """Raise ValueError if they were chosen for classes of other names."""
        known = None if self.source is None else self.source.class_names
        for index, (own, name) in enumerate(zip(known or (), names or (), strict=False)):
            if own != name:
                raise ValueError(
                    f"thresholds: expected the classes of the evaluation in their order, got {own!r} as class {index} "
                    f"instead of {name!r}; choose them again with class_names= (--class-names) of the evaluation"
                )

    def for_scores(self, dtype: str) -> PositiveScores:
        """The thresholds as counting takes them for scores of a dtype.

        Raises:
            ValueError: They were chosen on integers and the scores are none, or the reverse.
        """
        if self.source is not None and (_is_integer(self.source.dtype) != _is_integer(dtype)):
            raise ValueError(
                f"thresholds: expected thresholds of {'integer' if _is_integer(dtype) else 'float'} scores as those of "
                f"the evaluation ({dtype}), got thresholds chosen on {self.source.dtype} scores"
            )
        values, exists = _round_up(self.values, lane_dtype(dtype))
        has = self.has_threshold & exists
        return PositiveScores(np.concatenate([[0], np.cumsum(has)]).astype(np.int64), values[has])

    def checked_for(self, positives: Positives, ids: Any = None) -> AppliedThresholds:
        """Return these thresholds, checked for the labels of all rows of an evaluation.

        Args:
            positives: The labels.
            ids: (N,) row ids, or None. Rows with other ids are other rows, even if their labels are equal.

        Raises:
            ValueError: They were chosen on these labels, and that is not allowed.
        """
        if self.source is None or self.same_set is not None:
            return self
        labels, of_ids = fingerprints_of(positives, ids)
        same = bool(set(labels) & set(self.source.label_fingerprints))
        if of_ids is not None and self.source.id_fingerprint is not None:
            same = same and of_ids == self.source.id_fingerprint
        if same and not self.allow_same_set:
            raise ValueError(
                "thresholds: expected labels of another set than the one they were chosen on, got the same labels, on "
                "which precision, recall and F1 are optimistic; evaluate a test set, or pass allow_same_set=True "
                "(--allow-same-set)"
            )
        return replace(self, same_set=same)


SAME_SET_NOTE = (
    "the thresholds were chosen on these labels, so precision, recall and F1 are optimistic: they show how well the "
    "thresholds fit, not how well they do on new rows"
)


def _is_integer(dtype: str) -> bool:
    return not dtype.startswith(("float", "bfloat"))


def read_thresholds(
    thresholds: Any, num_classes: int, class_names: Sequence[str] | None = None, *, allow_same_set: bool = False
) -> AppliedThresholds:
    """Read the thresholds of an evaluation.

    Args:
        thresholds: `Thresholds`, a path of them, (C,) numbers, or one number for all classes.
        num_classes: C.
        class_names: The names of the classes, if known.
        allow_same_set: See `AppliedThresholds`.

    Raises:
        ValueError: They are not one number for each class, a number is NaN, or the classes have other names.
        TypeError: They are no numbers.
    """
    if isinstance(thresholds, (str, os.PathLike)):
        thresholds = Thresholds.load(thresholds)
    source = thresholds if isinstance(thresholds, Thresholds) else None
    if source is not None:
        values, has = source.values, source.has_threshold
    else:
        values = read_numbers("thresholds", thresholds)
        if values.dtype.kind not in "iuf" or values.dtype.itemsize > 8:
            raise TypeError(f"thresholds: expected numbers of at most 64 bits, got dtype {values.dtype}")
        if values.dtype.kind == "f":
            values = values.astype(np.float64)
        values = np.full(num_classes, values) if values.ndim == 0 else values
        if values.ndim != 1:
            raise ValueError(f"thresholds: expected one number a class (C,), got shape {values.shape}")
        has = np.ones(len(values), bool)
    if len(values) != num_classes:
        raise ValueError(f"thresholds: {len(values)} classes, but scores has {num_classes}")
    if bool(np.any(values != values)):
        raise ValueError(f"thresholds: expected numbers, got NaN for class {int(np.argmax(values != values))}")
    applied = AppliedThresholds(values, has, source, allow_same_set)
    applied.check_names(class_names)
    return applied


def count_predicted(
    matrix: Matrix,
    thresholds: PositiveScores,
    *,
    unknown: UnknownCells | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Count the scores of each class that are at least its threshold: (C,) int64. Counts of shards add up.

    Args:
        matrix: The scores.
        thresholds: At most one for each class; a class without one has none predicted.
        unknown: The cells that are not counted, or None.
        threads: CPU threads.
        progress: Called with the fraction done.
    """
    none = Positives(
        matrix.num_rows, matrix.num_classes, np.zeros(matrix.num_classes + 1, np.int64), np.empty(0, np.uint32)
    ).with_unknown(unknown)
    # Without positives every score that is at least the threshold counts as a negative.
    table = rank_scan(matrix, none, thresholds=thresholds, threads=threads, progress=progress).table
    counts = np.zeros(matrix.num_classes, np.int64)
    counts[np.diff(thresholds.indptr) > 0] = table.fp
    return counts


def true_positives(table: RankTable, thresholds: PositiveScores) -> np.ndarray:
    """Positives of each class that score at least its threshold: (C,) int64, from the rank table alone."""
    has = np.diff(thresholds.indptr) > 0
    least = np.zeros(table.num_classes, table.thresholds.dtype)
    least[has] = thresholds.scores
    classes = np.repeat(np.arange(table.num_classes), np.diff(table.indptr))
    reaches = (table.thresholds >= least[classes]) & has[classes]
    reached = np.bincount(classes[reaches], minlength=table.num_classes)
    counts = np.zeros(table.num_classes, np.int64)
    some = reached > 0
    counts[some] = table.tp[(table.indptr[:-1] + reached - 1)[some]]
    return counts


def threshold_result(
    applied: AppliedThresholds,
    groups: Mapping[str, np.ndarray],
    counts: tuple[np.ndarray, np.ndarray, np.ndarray],
    absent: str,
) -> tuple[ThresholdResult, dict[str, tuple[float, ...]]]:
    """Compute precision, recall and F1 at the thresholds.

    Args:
        applied: The thresholds.
        groups: Class indices of each group, "overall" first.
        counts: (C,) true positives, predicted positives and positives.
        absent: "nan" leaves classes without positives out of the means over classes, "zero" counts them as 0.

    Returns:
        The means of the groups, and the columns of the classes.
    """
    tp, predicted, positives = counts
    undefined = 0.0 if absent == "zero" else math.nan
    columns = {
        "precision": _ratio(tp, predicted),
        "recall": _ratio(tp, positives),
        "F1": _ratio(2 * tp, predicted + positives),
    }
    for column in columns.values():
        column[positives == 0] = undefined
    shown = np.where(applied.has_threshold, applied.values.astype(np.float64), np.nan)
    shown[np.isinf(shown)] = np.nan  # JSON has no infinity
    source = applied.source
    chosen = None if source is None else source.chosen
    result = ThresholdResult(
        fingerprint=applied.fingerprint,
        by=None if source is None else source.rule.by,
        beta=None if source is None else source.rule.beta,
        at_least=None if source is None else source.rule.at_least,
        min_positives=None if source is None else source.rule.min_positives,
        num_own=None if chosen is None else chosen.count(OWN),
        num_pooled=None if chosen is None else chosen.count(POOLED),
        num_none=None if chosen is None else chosen.count(NONE),
        same_set=bool(applied.same_set),
        groups={
            name: _group_means(tp[members], predicted[members], positives[members], undefined)
            | _class_means({key: column[members] for key, column in columns.items()})
            for name, members in groups.items()
        },
    )
    return result, {key: tuple(column.tolist()) for key, column in {"threshold": shown, **columns}.items()}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where the whole is 0."""
    ratio: np.ndarray = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return ratio


def _group_means(tp: np.ndarray, predicted: np.ndarray, positives: np.ndarray, undefined: float) -> dict[str, float]:
    """Micro averages: the ratios of the summed counts of all classes of a group, absent ones included."""
    hits, reached, wanted = (int(counts.sum()) for counts in (tp, predicted, positives))
    if not wanted:
        value = undefined if len(tp) else math.nan
        return {"OP": value, "OR": value, "OF1": value}
    return {"OP": hits / reached if reached else 0.0, "OR": hits / wanted, "OF1": 2 * hits / (reached + wanted)}


def _class_means(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Macro averages: the means over the defined classes of a group."""
    precision, recall, f1 = (mean_of_defined(columns[name]) for name in ("precision", "recall", "F1"))
    total = precision + recall
    return {"CP": precision, "CR": recall, "CF1": 2 * precision * recall / total if total else total, "macro_F1": f1}
