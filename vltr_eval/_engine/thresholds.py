"""Thresholds of classes, how they were chosen, and the file that holds them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.files import PendingFile
from vltr_eval._base.version import __version__
from vltr_eval._engine.fingerprints import label_fingerprint, order_by_id, read_fingerprint
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_table import lane_dtype
from vltr_eval.report.document import read_count, read_text
from vltr_eval.report.names import OVERALL

__all__ = ["ThresholdRule", "Thresholds"]

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
        fingerprints = tuple(map(read_fingerprint, _listed(document["label_fingerprints"])))
        ids = document["id_fingerprint"]
        return cls(
            values=np.array([_read_value(number, lane) for number in numbers], lane),
            chosen=chosen,
            pools=tuple(None if pool is None else read_text(pool) for pool in pools),
            rule=ThresholdRule(**{option.name: document[option.name] for option in fields(ThresholdRule)}),
            dtype=document["dtype"],
            num_rows=read_count(document["num_rows"]),
            label_fingerprints=fingerprints,
            id_fingerprint=None if ids is None else read_fingerprint(ids),
            class_names=None if names is None else tuple(map(read_text, _listed(names))),
            version=read_text(document["version"]),
        )


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} where a list belongs")
    return value


def never_reached(lane: np.dtype) -> Any:
    """The value of a class without a threshold, which no score reaches by itself."""
    return lane.type(np.inf) if lane.kind == "f" else np.iinfo(lane).max


def _read_value(number: Any, lane: np.dtype) -> Any:
    """A threshold of JSON in its dtype. Raises if it is no number of that dtype."""
    if number is None:
        return never_reached(lane)
    number = _INFINITIES.get(number, number) if isinstance(number, str) else number
    if isinstance(number, bool) or not isinstance(number, int if lane.kind in "iu" else (int, float)):
        raise TypeError(f"threshold {number!r} of {lane}")
    with np.errstate(over="ignore"):
        value = lane.type(number)
    if not value.item() == number:  # numpy would compare a float32 with the float32 nearest to the number
        raise ValueError(f"threshold {number!r}, which {lane} does not hold")
    return value


def fingerprints_of(positives: Positives, ids: Any = None) -> tuple[tuple[str, ...], str | None]:
    """Return the fingerprints of labels, by row and by id, and that of the ids; None without ids."""
    labels = [label_fingerprint(positives)]
    of_ids, order = (None, None) if ids is None else order_by_id(ids, positives.num_rows)
    if order is not None:
        labels.append(label_fingerprint(positives, order))
    return tuple(labels), of_ids
