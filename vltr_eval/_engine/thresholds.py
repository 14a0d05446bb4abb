"""Thresholds of classes: the file that holds them, and the counts at them.

A cell is predicted positive if its score is at least the threshold of its class. Scores and thresholds are compared
exactly: a threshold between two numbers of the scores' dtype is replaced by the higher of them, which predicts the
same cells.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import Matrix, read_numbers
from vltr_eval._base.files import PendingFile
from vltr_eval._base.lazy import lazy_property
from vltr_eval._base.progress import Progress
from vltr_eval._base.version import __version__
from vltr_eval._engine.fingerprints import label_fingerprint, order_by_id, sha256_of
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_scan import rank_scan
from vltr_eval._engine.rank_table import PositiveScores, RankTable, lane_dtype, mean_of_defined
from vltr_eval.report.document import read_count, read_text
from vltr_eval.report.names import OVERALL
from vltr_eval.report.thresholds import ThresholdResult

__all__ = ["AppliedThresholds", "ThresholdRule", "Thresholds", "read_thresholds"]

_SCHEMA = "vltr-eval/thresholds/1"
_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}

OWN, POOLED, NONE = "own", "pooled", "none"
"""How the threshold of a class was chosen: from its own positives, from those of a pool, or not at all."""

RULES = ("f1", "fbeta", "precision", "recall")
POOLS = ("groups", OVERALL, "given")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


@dataclass(frozen=True)
class ThresholdRule:
    """The rule by which thresholds are chosen.

    Attributes:
        by: "f1", "fbeta", "precision" or "recall".
        beta: The weight of recall with "fbeta", else None.
        at_least: The least precision or recall, else None.
        min_positives: Classes with fewer positives share a threshold.
        pool_by: "groups" if they share it with their group, "overall" if with all such classes, "given" for own pools.

    Raises:
        ValueError: The values do not fit together.
    """

    by: str = "f1"
    beta: float | None = None
    at_least: float | None = None
    min_positives: int = 10
    pool_by: str = "groups"

    def __post_init__(self) -> None:
        if self.by not in RULES:
            raise ValueError(f"by: expected one of {', '.join(RULES)}, got {self.by!r}")
        if (self.beta is not None) != (self.by == "fbeta"):
            expected = 'a number above 0 with by="fbeta"' if self.by == "fbeta" else f'None with by="{self.by}"'
            raise ValueError(f"beta: expected {expected}, got {self.beta!r}")
        if self.beta is not None:
            if not _is_number(self.beta) or not (self.beta > 0 and 0 < float(self.beta) ** 2 < math.inf):
                raise ValueError(f"beta: expected a number above 0, got {self.beta!r}")
            object.__setattr__(self, "beta", float(self.beta))
        has_limit = self.by in ("precision", "recall")
        if (self.at_least is not None) != has_limit:
            expected = f'a number above 0 with by="{self.by}"' if has_limit else f'None with by="{self.by}"'
            raise ValueError(f"at_least: expected {expected}, got {self.at_least!r}")
        if self.at_least is not None:
            if not _is_number(self.at_least) or not 0 < self.at_least <= 1:
                raise ValueError(f"at_least: expected a number above 0 and up to 1, got {self.at_least!r}")
            object.__setattr__(self, "at_least", float(self.at_least))
        least = self.min_positives
        if isinstance(least, bool) or not isinstance(least, (int, np.integer)) or least < 0:
            raise ValueError(f"min_positives: expected an integer from 0 up, got {least!r}")
        object.__setattr__(self, "min_positives", int(least))
        if self.pool_by not in POOLS:
            raise ValueError(f"pool_by: expected 'groups', 'overall' or a mapping, got {self.pool_by!r}")

    def __str__(self) -> str:
        if self.by == "f1":
            return "largest F1"
        if self.by == "fbeta":
            return f"largest F-beta with beta {self.beta:g}"
        return f"{self.by} at least {self.at_least:g}"


@dataclass(frozen=True, eq=False)
class Thresholds:
    """A threshold for each class, with how it was chosen; `choose_thresholds` makes them.

    A class is predicted where its score is at least its threshold.

    Attributes:
        values: (C,) float32, float64, int64 or uint64: the type that holds the scores exactly. A class without a
            threshold has infinity, or the largest integer.
        chosen: For each class "own", "pooled", or "none" for a class without a threshold, which is never predicted.
        pools: For each class the name of the pool that it shares its threshold with, else None.
        rule: How they were chosen.
        dtype: The dtype of the scores they were chosen on.
        num_rows: The number of rows they were chosen on.
        label_fingerprints: SHA-256 of the labels they were chosen on: in the order of their rows and, if the rows have
            ids, in the order of these.
        id_fingerprint: SHA-256 of the row ids, None without ids.
        class_names: C names, or None.
        version: The version of vltr that chose them.

    Raises:
        ValueError: The attributes do not fit together.

    Example:
        >>> from vltr_eval import choose_thresholds
        >>> scores, labels = np.float32([[.9, .2], [.8, .1], [.7, .4]]), np.uint8([[1, 0], [0, 0], [1, 1]])
        >>> thresholds = choose_thresholds(scores, labels, min_positives=1)
        >>> [round(float(value), 4) for value in thresholds.values], thresholds.chosen
        ([0.7, 0.4], ('own', 'own'))
    """

    values: np.ndarray
    chosen: tuple[str, ...]
    pools: tuple[str | None, ...]
    rule: ThresholdRule
    dtype: str
    num_rows: int
    label_fingerprints: tuple[str, ...]
    id_fingerprint: str | None = None
    class_names: tuple[str, ...] | None = None
    version: str = __version__

    def __post_init__(self) -> None:
        if self.dtype not in _core.DTYPES:
            raise ValueError(f"dtype: expected a dtype of scores, got {self.dtype!r}")
        values, lane = np.asarray(self.values), lane_dtype(self.dtype)
        if values.ndim != 1 or values.dtype != lane or not len(values):
            raise ValueError(
                f"values: expected (C,) of {lane} for {self.dtype} scores, got {values.shape} of {values.dtype}"
            )
        if bool(np.any(values != values)):
            raise ValueError(f"values: expected numbers, got NaN for class {int(np.argmax(values != values))}")
        for name in ("chosen", "pools", "class_names"):
            column = getattr(self, name)
            if column is not None and len(column) != len(values):
                raise ValueError(f"{name}: expected one for each of {len(values)} classes, got {len(column)}")
        for index, (how, pool) in enumerate(zip(self.chosen, self.pools, strict=True)):
            if how not in (OWN, POOLED, NONE) or (how == OWN and pool is not None) or (how == POOLED and pool is None):
                raise ValueError(
                    f"chosen: expected 'own', 'pooled' with its pool, or 'none', got {how!r} for class {index}"
                )

    @property
    def num_classes(self) -> int:
        return len(self.values)

    @property
    def has_threshold(self) -> np.ndarray:
        """(C,) bool, False for classes that are never predicted."""
        return np.array([how != NONE for how in self.chosen], bool)

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.chosen.count(how)} {how}" for how in (OWN, POOLED, NONE) if how in self.chosen)
        return f"<Thresholds of {self.num_classes} classes by {self.rule}: {counts}>"

    def to_json(self) -> str:
        """Return the thresholds as JSON, which holds every number exactly. The same thresholds give the same bytes."""
        from vltr_eval.report.document import render_json

        numbers: list[Any] = self.values.tolist()
        names = {value: name for name, value in _INFINITIES.items()}
        written = [
            names.get(number, number) if how != NONE else None for number, how in zip(numbers, self.chosen, strict=True)
        ]
        rule = {option.name: getattr(self.rule, option.name) for option in fields(self.rule)}
        document = {
            "schema": _SCHEMA,
            "version": self.version,
            **rule,
            "dtype": self.dtype,
            "num_rows": self.num_rows,
            "num_classes": self.num_classes,
            "label_fingerprints": self.label_fingerprints,
            "id_fingerprint": self.id_fingerprint,
            "class_names": self.class_names,
            "thresholds": written,
            "chosen": self.chosen,
            "pools": self.pools,
        }
        return render_json(document, levels=1) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the thresholds as JSON, whole or not at all.

        Raises:
            OutputError: The file cannot be written.
        """
        with PendingFile(path) as pending:
            pending.write_text(self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Thresholds:
        """Read thresholds that `save` wrote. Every value is checked.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file has no thresholds, or it is damaged.
        """
        import json  # not above: few programs read thresholds

        name = os.fspath(path)
        with open(path, "rb") as file:
            content = file.read()
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        schema = document.get("schema") if isinstance(document, dict) else None
        if schema != _SCHEMA:
            raise ValueError(
                f"{name}: expected thresholds that `vltr-eval thresholds --save` wrote (schema {_SCHEMA!r}), got "
                + ("another file" if schema is None else f"schema {schema!r}")
            )
        try:
            return cls._from_document(document)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            reason = f"key {error} is missing" if isinstance(error, KeyError) else error
            raise ValueError(
                f"{name}: expected the values of schema {_SCHEMA!r}, got a damaged file ({reason})"
            ) from None

    @classmethod
    def _from_document(cls, document: Mapping[str, Any]) -> Thresholds:
        names = document["class_names"]
        chosen, pools = map(tuple, (_listed(document["chosen"]), _listed(document["pools"])))
        if document["dtype"] not in _core.DTYPES:
            raise ValueError(f"dtype {document['dtype']!r}")
        lane = lane_dtype(document["dtype"])
        numbers = _listed(document["thresholds"])
        if len(numbers) != document["num_classes"]:
            raise ValueError(f"{len(numbers)} thresholds of {document['num_classes']} classes")
        for number, how in zip(numbers, chosen, strict=True):
            if (number is None) != (how == NONE):
                raise ValueError(f"threshold {number!r} of a class with {how!r}")
        fingerprints = tuple(map(_checked_fingerprint, _listed(document["label_fingerprints"])))
        ids = document["id_fingerprint"]
        return cls(
            values=np.array([_read_value(number, lane) for number in numbers], lane),
            chosen=chosen,
            pools=tuple(None if pool is None else read_text(pool) for pool in pools),
            rule=ThresholdRule(**{option.name: document[option.name] for option in fields(ThresholdRule)}),
            dtype=document["dtype"],
            num_rows=read_count(document["num_rows"]),
            label_fingerprints=fingerprints,
            id_fingerprint=None if ids is None else _checked_fingerprint(ids),
            class_names=None if names is None else tuple(map(read_text, _listed(names))),
            version=read_text(document["version"]),
        )


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} where a list belongs")
    return value


def _checked_fingerprint(text: Any) -> str:
    if not isinstance(text, str) or len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError(f"fingerprint {text!r}")
    return text


def placeholder(lane: np.dtype) -> Any:
    """The value of a class without a threshold."""
    return lane.type(np.inf) if lane.kind == "f" else np.iinfo(lane).max


def _read_value(number: Any, lane: np.dtype) -> Any:
    """A threshold of JSON in its dtype. Raises if it is no number of that dtype."""
    if number is None:
        return placeholder(lane)
    number = _INFINITIES.get(number, number) if isinstance(number, str) else number
    if isinstance(number, bool) or not isinstance(number, int if lane.kind in "iu" else (int, float)):
        raise TypeError(f"threshold {number!r} of {lane}")
    with np.errstate(over="ignore"):
        value = lane.type(number)
    if not value.item() == number:  # numpy would compare a float32 with the float32 nearest to the number
        raise ValueError(f"threshold {number!r}, which {lane} does not hold")
    return value


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


def fingerprints_of(positives: Positives, ids: Any = None) -> tuple[tuple[str, ...], str | None]:
    """Return the fingerprints of labels, by row and by id, and that of the ids; None without ids."""
    labels = [label_fingerprint(positives)]
    of_ids, order = (None, None) if ids is None else order_by_id(ids, positives.num_rows)
    if order is not None:
        labels.append(label_fingerprint(positives, order))
    return tuple(labels), of_ids


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
    matrix: Matrix, thresholds: PositiveScores, *, threads: int | None = None, progress: Progress | None = None
) -> np.ndarray:
    """Count the scores of each class that are at least its threshold: (C,) int64.

    thresholds: At most one for each class; a class without one has none predicted. Counts of shards add up.
    """
    none = Positives(
        matrix.num_rows, matrix.num_classes, np.zeros(matrix.num_classes + 1, np.int64), np.empty(0, np.uint32)
    )
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
