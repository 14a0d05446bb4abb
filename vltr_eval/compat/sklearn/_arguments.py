"""Arguments of scikit-learn's functions: their constraints, and labels, scores and weights as arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from vltr_eval._base.arrays import read_numbers
from vltr_eval._engine.labels import Positives
from vltr_eval.compat.sklearn._original import NotNative, invalid_parameter

__all__ = [
    "check_arguments",
    "check_columns",
    "check_finite",
    "check_native",
    "classes_of_columns",
    "distinct_labels",
    "one_column",
    "read_arguments",
    "read_scores",
    "read_weights",
    "to_positives",
]

_AVERAGES = ("micro", "macro", "samples", "weighted")
_TILE = 1 << 17  # elements that are looked at together, few enough for what is made of them to stay in the cache


# Constraints: those of scikit-learn's own functions


def _is_array_like(value: Any) -> bool:
    return any(hasattr(value, name) for name in ("__len__", "shape", "__array__")) and not np.isscalar(value)


def _is_label(value: Any) -> bool:
    return isinstance(value, (Real, str, np.bool_))


def _one_of(*texts: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in texts


_CONSTRAINTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "y_true": ("an array", _is_array_like),
    "y_score": ("an array", _is_array_like),
    "sample_weight": ("an array or None", lambda value: value is None or _is_array_like(value)),
    "labels": ("an array or None", lambda value: value is None or _is_array_like(value)),
    "average": (
        f"one of {', '.join(_AVERAGES)} or None",
        lambda value: value is None or _one_of(*_AVERAGES)(value),
    ),
    "multi_class": ("'raise', 'ovr' or 'ovo'", _one_of("raise", "ovr", "ovo")),
    "pos_label": ("a number, a text or a boolean", _is_label),
    "pos_label of a curve": ("a number, a text, a boolean or None", lambda value: value is None or _is_label(value)),
    "max_fpr": (
        "None or a number above 0 and at most 1",
        lambda value: value is None or (isinstance(value, Real) and 0 < float(value) <= 1),
    ),
    "k": ("a positive integer", lambda value: isinstance(value, Integral) and int(value) >= 1),
    "normalize": ("a boolean", lambda value: isinstance(value, (bool, np.bool_))),
    "drop_intermediate": ("a boolean", lambda value: isinstance(value, (bool, np.bool_))),
}


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise InvalidParameterError for an argument that scikit-learn's function does not take."""
    is_curve = "drop_intermediate" in arguments
    for name, value in arguments.items():
        expected, is_satisfied = _CONSTRAINTS[f"{name} of a curve" if is_curve and name == "pos_label" else name]
        if name == "y_true" and hasattr(value, "tocoo"):
            continue  # has a message of its own where it is not taken
        if not is_satisfied(value):
            raise invalid_parameter(f"{name}: expected {expected}, got {value!r}")


# Arrays


def read_arguments(y_true: Any, y_score: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Labels (N,) or (N, C > 1), scores (N,) or (N, C), weights (N,) or None, which fit together."""
    if hasattr(y_true, "tocoo"):
        raise invalid_parameter(f"y_true: expected a dense array, got {type(y_true).__name__}; pass y_true.toarray()")
    labels = _read_rows("y_true", y_true)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    scores = read_scores(y_score)
    if labels.ndim not in (1, 2) or len(labels) != len(scores):
        raise ValueError(f"y_true: expected {len(scores)} rows as y_score, got shape {labels.shape}")
    if labels.ndim == 2 and labels.shape != scores.shape:
        raise ValueError(f"y_score: expected shape {labels.shape} as y_true, got {scores.shape}")
    weights = read_weights(sample_weight, scores)
    check_finite(scores)
    return labels, scores, weights


def _read_rows(name: str, values: Any) -> np.ndarray:
    array = read_numbers(name, values)
    if array.ndim == 0:  # of a set, a dictionary or another object
        raise invalid_parameter(f"{name}: expected an array of rows, got {type(values).__name__}")
    return array


def read_scores(y_score: Any) -> np.ndarray:
    scores = _read_rows("y_score", y_score)
    if scores.ndim not in (1, 2) or 0 in scores.shape:
        raise ValueError(f"y_score: expected (N,) or (N, C) with rows and columns, got shape {scores.shape}")
    check_native("y_score", scores)
    return scores


def check_native(name: str, array: np.ndarray) -> None:
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8 or not array.dtype.isnative:
        raise NotNative(f"{name} of dtype {array.dtype.str}")


def read_weights(sample_weight: Any, scores: np.ndarray, *, is_column: bool = True) -> np.ndarray | None:
    """The weights of the rows, (N,). is_column: they may be (N, 1) as well."""
    if sample_weight is None:
        return None
    weights = read_numbers("sample_weight", sample_weight)
    if weights.dtype.kind not in "biuf" or weights.dtype.itemsize > 8:
        raise NotNative(f"sample_weight of dtype {weights.dtype.str}")
    if weights.shape == (len(scores), 1):
        if not is_column:
            raise NotNative("a column as sample_weight")
        weights = weights[:, 0]
    if weights.shape != (len(scores),):
        raise ValueError(f"sample_weight: expected shape ({len(scores)},), got {weights.shape}")
    return weights


def check_finite(scores: np.ndarray, name: str = "y_score") -> None:
    if scores.dtype.kind != "f":
        return
    rows = scores.T if scores.flags.f_contiguous else scores
    step = max(1, _TILE // max(1, rows[0].size))
    for start in range(0, len(rows), step):
        tile = rows[start : start + step]
        finite = _isfinite(tile)
        if not finite.all():
            first, *other = np.argwhere(~finite)[0]
            cell = [start + first, *other]
            row, *column = cell if rows is scores else cell[::-1]
            where = f"row {row}, class {column[0]}" if column else f"row {row}"
            raise ValueError(f"{name}: expected finite numbers, got {tile[~finite][0]} at {where}")


def _isfinite(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.float16:
        finite: np.ndarray = np.isfinite(array)
    else:
        finite = (array.view(np.uint16) & 0x7C00) != 0x7C00  # numpy's own takes eight times as long, and longer than AP
    return finite


def check_columns(scores: np.ndarray, num_classes: int, remedy: str = "") -> None:
    """Raise ValueError unless scores have a column for each class. remedy: what the message says at its end."""
    if scores.ndim != 2 or scores.shape[1] != num_classes:
        raise ValueError(
            f"y_score: expected (N, {num_classes}), a column for each of the {num_classes} classes, got "
            f"{scores.shape}{remedy}"
        )


def one_column(scores: np.ndarray) -> np.ndarray:
    """The scores of one class as (N,)."""
    if scores.ndim == 2 and scores.shape[1] != 1:
        raise ValueError(f"y_score: expected (N,) scores for (N,) labels of two values, got shape {scores.shape}")
    return scores.reshape(-1)


def distinct_labels(labels: np.ndarray) -> np.ndarray:
    """The labels that are there, ascending. Raises ValueError for soft ones."""
    kind = labels.dtype.kind
    if kind == "U" or (kind == "O" and isinstance(labels[0], str)):
        return np.unique(labels)
    if kind not in "biuf":
        raise NotNative(f"y_true of dtype {labels.dtype.str}")
    if kind == "f" and not (np.isfinite(labels).all() and (labels == np.trunc(labels)).all()):
        raise ValueError("y_true: expected class labels, got real numbers; continuous format is not supported")
    ends = np.unique(np.array([labels.min(), labels.max()]))
    if bool(np.all((labels == ends[0]) | (labels == ends[-1]))):
        return ends  # two labels need no sort
    return np.unique(labels)


def classes_of_columns(present: np.ndarray, labels: Any) -> np.ndarray:
    """The classes of the columns of y_score: the given labels, or those that are there."""
    if labels is None:
        return present
    classes = read_numbers("labels", labels).reshape(-1)
    if not np.array_equal(np.unique(classes), classes):
        shown = ", ".join(map(str, classes[:10].tolist())) + ", ..." * (len(classes) > 10)
        raise ValueError(f"labels: expected distinct labels in ascending order, got {shown}")
    if len(np.setdiff1d(present, classes)):
        raise ValueError("labels: expected all labels of y_true among them, got fewer")
    return classes


def to_positives(labels: np.ndarray, scores: np.ndarray) -> Positives:
    """Positives of dense or sparse labels in the shape of scores, or of (N,) class indices."""
    num_rows, num_classes = scores.shape if scores.ndim == 2 else (len(scores), 1)
    if isinstance(labels, np.ndarray):
        check_native("y_true", labels)
    try:
        return Positives.from_labels(labels, num_rows, num_classes)
    except ValueError:
        distinct = np.unique(labels)
    if len(distinct) <= 2 and bool(np.all(distinct == np.trunc(distinct))):
        raise NotNative(f"y_true with the values {distinct.tolist()}")
    raise ValueError(
        f"y_true: expected 0 and 1, got {len(distinct)} distinct values from {distinct[0]} to {distinct[-1]}; "
        "multiclass-multioutput format is not supported"
    )
