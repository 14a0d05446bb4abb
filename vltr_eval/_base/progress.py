"""The fraction done of a call that has parts, one after the other."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "part_of"]

Progress = Callable[[float], None]


def part_of(progress: Progress | None, first: float, last: float) -> Progress | None:
    """Gives a function that reports the fraction done of a part of a call; None where nothing is reported.

    Args:
        progress: Called with the fraction done of the call.
        first: The fraction at which the part begins.
        last: The fraction at which it ends.

    Example:
        >>> part_of(print, 0.5, 1.0)(0.5)
        0.75
    """
    return None if progress is None else lambda fraction: progress(first + (last - first) * fraction)
