"""Counts of calls, their time, their fallbacks, and an estimate of the time of the originals."""

from __future__ import annotations

import dataclasses
import inspect
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vltr_eval.patching.known import Known


@dataclasses.dataclass
class Counts:
    """The counts of one known function."""

    calls: int = 0
    cells: int = 0
    """Rows times classes of all calls."""
    shapes: set[tuple[int, int]] = dataclasses.field(default_factory=set)
    """(rows, classes) of the calls; at most two are kept."""
    seconds: float = 0.0
    """The time of the drop-in, without that of fallbacks."""
    fallbacks: dict[str, int] = dataclasses.field(default_factory=dict)
    """The reasons for which the original was called, and how often."""
    fallback_seconds: float = 0.0
    errors: int = 0
    """Calls that raised."""
    estimated: float = 0.0
    """Seconds that the original would have taken for the calls that did not fall back, by the estimate."""
    estimated_calls: int = 0
    unknown_calls: int = 0
    """Calls that did not fall back, whose original has no estimate."""
    verified: int = 0
    """Calls that the original repeated."""
    verified_seconds: float = 0.0
    """The time of the original for them."""
    largest_difference: float = 0.0
    disagreements: list[str] = dataclasses.field(default_factory=list)
    """Results that cannot be compared as numbers; at most three are kept."""


class Inside(threading.local):
    """The drop-in that runs in this thread. Below it, the originals are called."""

    known: Known | None = None
    is_original = False
    """Whether an original runs; nothing is counted then."""
    fallbacks: list[tuple[str, float]]


inside = Inside()


class Originals:
    """A context in which every replaced function calls its original, and nothing is counted."""

    def __enter__(self) -> None:
        self.before, inside.is_original = inside.is_original, True

    def __exit__(self, *_: object) -> None:
        inside.is_original = self.before


# Sizes


def size_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[int, int]:
    """Return the rows and classes of a call: of its largest array, or of a list of rows; (0, 0) without either."""
    rows = classes = 0
    for value in (*args, *kwargs.values()):
        shape = shape_of(value)
        if not shape or (rows and shape[0] != rows):
            continue
        rows = shape[0]
        classes = max(classes, math.prod(shape[1:]))
    return rows, classes


def shape_of(value: Any) -> tuple[int, ...]:
    shape = getattr(value, "shape", None)
    if shape is not None:
        try:
            return tuple(map(int, shape))
        except (TypeError, ValueError):
            return ()
    if not isinstance(value, (list, tuple)):
        return ()
    return (len(value), *shape_of(value[0])[:1]) if len(value) else (0,)


# Reasons and differences


def reason_of(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Name the arguments of a call that differ from their defaults, as the likely reason for a fallback."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
        parameters = bound.signature.parameters
    except (TypeError, ValueError):
        return "its arguments"
    named = []
    for name, value in bound.arguments.items():
        default = parameters[name].default
        if default is inspect.Parameter.empty or value is default:
            continue
        if not isinstance(value, (str, int, float, bool, type(None))):
            named.append(name)
        elif value != default:
            named.append(f"{name}={value!r}")
    return ", ".join(named) or "its arguments"


def difference(ours: Any, original: Any) -> float | str:
    """Return the largest difference of two results, or a sentence if they are of different forms."""
    if isinstance(original, Mapping):
        if not isinstance(ours, Mapping) or list(ours) != list(original):
            return f"expected a mapping with the keys {_short(original)}, got {_short(ours)}"
        return _worst(difference(ours[key], original[key]) for key in original)
    if original is None or isinstance(original, (str, bytes)):
        return 0.0 if ours == original else f"expected {_short(original)}, got {_short(ours)}"
    if isinstance(original, (list, tuple)):
        if not isinstance(ours, (list, tuple)) or len(ours) != len(original):
            return f"expected {len(original)} values, got {_short(ours)}"
        return _worst(difference(a, b) for a, b in zip(ours, original, strict=True))
    try:
        a, b = (np.asarray(_host(value), dtype=np.float64) for value in (ours, original))
    except (TypeError, ValueError):
        return 0.0 if type(ours) is type(original) else f"expected {_short(original)}, got {_short(ours)}"
    if a.shape != b.shape:
        return f"expected shape {b.shape}, got {a.shape}"
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return "expected NaN in the same places"
    with np.errstate(invalid="ignore"):
        gap = np.where((a == b) | np.isnan(a), 0.0, np.abs(a - b))
    return float(gap.max()) if gap.size else 0.0


def _host(value: Any) -> Any:
    detach = getattr(value, "detach", None)
    return value if detach is None else detach().cpu().double().numpy()


def _worst(gaps: Iterable[float | str]) -> float | str:
    gaps = list(gaps)
    return next(
        (gap for gap in gaps if isinstance(gap, str)), max((g for g in gaps if not isinstance(g, str)), default=0.0)
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
