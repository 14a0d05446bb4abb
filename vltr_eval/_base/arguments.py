"""Checks of arguments that both packages take."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def check_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ValueError(f"seed: expected an integer from 0 to 2**64 - 1, got {seed!r}")
    return int(seed)


def check_trials(trials: int) -> int:
    if isinstance(trials, bool) or not isinstance(trials, (int, np.integer)) or not 1 <= trials < 2**31:
        raise ValueError(f"trials: expected a positive integer, got {trials!r}")
    return int(trials)


def check_level(level: Any, name: str = "level") -> float:
    """Return a confidence level as a float.

    Raises:
        TypeError: The level is no number.
        ValueError: The level is not between 0 and 1.
    """
    if isinstance(level, (bool, np.bool_)) or not isinstance(level, numbers.Real):
        raise TypeError(f"{name}: expected a level such as 0.95, got {level!r}")
    share = float(level)
    if not 0 < share < 1:
        hint = f"; did you mean {share / 100:g}?" if 50 <= share < 100 else ""
        raise ValueError(f"{name}: expected a level between 0 and 1, such as 0.95, got {share:g}{hint}")
    return share


def describe_offsets(offsets: np.ndarray) -> str:
    """Offsets for a message: the first two that fall, or else the first and the last."""
    falls = np.flatnonzero(offsets[1:] < offsets[:-1])
    if falls.size:
        return f"{offsets[falls[0]]} before {offsets[falls[0] + 1]}"
    return f"{offsets[0]} to {offsets[-1]}" if offsets.size else "none"


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that was most likely meant; None where none is like it."""
    folded = {other.casefold(): other for other in known}
    near = _close_matches(name.casefold(), folded, 1)
    return folded[near[0]] if near else None


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """The end of an error's sentence that suggests the nearest known name; "" where none is like it."""
    near = nearest_name(name, known)
    return "" if near is None else f"; did you mean {near}?"


def unknown_keyword(name: str, known: Sequence[str]) -> TypeError:
    """Return the error for a keyword argument that does not exist; it suggests the nearest known name."""
    return TypeError(f"{name}: expected one of {', '.join(known)}{nearest_hint(name, known)}")


def unknown_name(what: str, name: str, known: Iterable[str]) -> ValueError:
    """Return the error for a name that does not exist: it suggests the nearest known names, or lists all of them.

    Args:
        what: The argument, such as "method".
        name: The name that came.
        known: The names that exist.
    """
    known = list(known)
    near = _close_matches(name.lower(), known, 3)
    if near:
        return ValueError(f"{what}: expected a known name, got {name!r}; did you mean {' or '.join(near)}?")
    expected = f"one of {', '.join(known)}" if known else "none, because there is none to choose from"
    return ValueError(f"{what}: expected {expected}, got {name!r}")


def _close_matches(name: str, known: Iterable[str], most: int) -> list[str]:
    from difflib import get_close_matches  # not above: only mistakes need it

    return get_close_matches(name, list(known), most)
