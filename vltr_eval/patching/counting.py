"""Counts of calls, their time, their fallbacks, and an estimate of the time of the originals."""

from __future__ import annotations

import dataclasses
import inspect
import math
import random
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vltr_eval.patching.known import Known

# An estimate runs the original on three slices at least, each four times as long as the last, until one takes this
# long. It ends earlier if one takes three times as long.
_LONG_ENOUGH = 0.12
_FIRST_CELLS = 1 << 13
_FARTHEST = 16  # times the rows of the largest slice: an estimate is rather too low than too high


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
    verified: int = 0
    """Calls that the original repeated."""
    verified_seconds: float = 0.0
    """The time of the original for them."""
    largest_difference: float = 0.0
    disagreements: list[str] = dataclasses.field(default_factory=list)
    """Results that cannot be compared as numbers; at most three are kept."""


@dataclasses.dataclass
class Cost:
    """The time of an original, from its time on slices of one call."""

    slices: list[tuple[int, float]]
    """Rows and seconds, ascending by rows."""
    classes: int

    def __call__(self, rows: int, classes: int) -> float:
        """Interpolate between the slices, and extrapolate from the last two; classes take equal time."""
        sizes, times = (list(column) for column in zip(*self.slices, strict=True))
        if rows <= sizes[-1]:
            seconds = float(np.interp(rows, [0, *sizes], [0.0, *times]))
        else:
            slope = 0.0  # the time of a call that does not depend on its rows is not scaled
            if len(sizes) > 1:
                slope = max(0.0, times[-1] - times[-2]) / (sizes[-1] - sizes[-2])
            seconds = times[-1] + slope * (min(rows, _FARTHEST * sizes[-1]) - sizes[-1])
        return seconds * classes / self.classes


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
        shape = _shape(value)
        if not shape or (rows and shape[0] != rows):
            continue
        rows = shape[0]
        classes = max(classes, math.prod(shape[1:]))
    return rows, classes


def _shape(value: Any) -> tuple[int, ...]:
    shape = getattr(value, "shape", None)
    if shape is not None:
        try:
            return tuple(map(int, shape))
        except (TypeError, ValueError):
            return ()
    if not isinstance(value, (list, tuple)):
        return ()
    return (len(value), *_shape(value[0])[:1]) if len(value) else (0,)


def sliced(values: Sequence[Any], rows: int, kept: int) -> list[Any]:
    """Copies of the values, with ``kept`` of their rows if they have ``rows``."""
    step = rows // kept
    result = []
    for value in values:
        if _shape(value)[:1] == (rows,):
            value = value[::step][:kept]
            copy = getattr(value, "copy", None) or getattr(value, "clone", None)
            value = value if copy is None else copy()
        result.append(value)
    return result


# Time of the originals


def estimate(run: Callable[[int], None], rows: int, classes: int, most: int) -> Cost | None:
    """Return the cost of an original from its time on slices; None if it raises.

    Args:
        run: Calls the original with so many rows.
        rows: The rows of the call.
        classes: The classes of the call.
        most: The most rows that ``run`` can take.
    """
    if not rows or not classes:
        return None
    kept = min(rows, max(2, _FIRST_CELLS // classes))
    slices = []
    try:
        with _Undisturbed():
            slices.append((kept, _time_of(run, kept)))
            while kept < most and slices[-1][1] < (_LONG_ENOUGH if len(slices) > 2 else 3 * _LONG_ENOUGH):
                kept = min(most, 4 * kept)
                slices.append((kept, _time_of(run, kept)))
    except Exception:
        return None
    return Cost(slices, classes)


def _time_of(run: Callable[[int], None], kept: int) -> float:
    """The shorter of two runs, because the first one may import modules and fill caches."""
    seconds = math.inf
    for _ in range(2):
        start = time.perf_counter()
        run(kept)
        seconds = min(seconds, time.perf_counter() - start)
        if seconds > _LONG_ENOUGH / 2:
            break
    return seconds


class _Undisturbed:
    """Leaves random generators as they were, and shows no warnings."""

    def __enter__(self) -> None:
        self._states = random.getstate(), np.random.get_state()  # noqa: NPY002  # the originals use these generators
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *error: Any) -> None:
        self._warnings.__exit__(*error)
        random.setstate(self._states[0])
        np.random.set_state(self._states[1])  # noqa: NPY002


class _Silent:
    """Stands in for a logger or a print function."""

    def __call__(self, *_: object, **__: object) -> None: ...

    def __getattr__(self, _: str) -> _Silent:
        return self


def silent(function: Any, names: Sequence[str]) -> Any:
    """Return a plain function whose globals of these names do nothing."""
    if not names or not isinstance(function, types.FunctionType):
        return function
    namespace = {**function.__globals__, **dict.fromkeys(names, _Silent())}
    twin = types.FunctionType(function.__code__, namespace, function.__name__, function.__defaults__)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


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
