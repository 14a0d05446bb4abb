"""Short names of compared systems from the paths of their files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import takewhile
from pathlib import PurePath
from typing import Any

BASE, NEW = "base", "new"


def name_systems(systems: Sequence[Sequence[Any]]) -> list[str]:
    """Name systems by the parts of their paths that differ; "base", "new", "new 2" where they are not paths.

    Args:
        systems: The runs of each system, the baseline first.

    Example:
        >>> name_systems([["runs/a/preds.npy"], ["runs/b/preds.npy"]])
        ['a', 'b']
        >>> name_systems([["runs/a-0.npy", "runs/a-1.npy"], ["runs/b-0.npy", "runs/b-1.npy"]])
        ['a-*', 'b-*']
    """
    default = [BASE, *(NEW if number == 1 else f"{NEW} {number}" for number in range(1, len(systems)))]
    runs = [run for system in systems for run in system]
    if not all(isinstance(run, (str, os.PathLike)) for run in runs):
        return default
    paths = [_parts(os.fspath(run)) for run in runs]
    first = min(_shared(paths), *(len(path) - 1 for path in paths))
    last = min(_shared([path[::-1] for path in paths]), *(len(path) - 1 - first for path in paths))
    short = iter(["/".join(path[first : len(path) - last]) for path in paths])
    names = [_common([next(short) for _ in system]) for system in systems]
    return names if len(set(names)) == len(names) and all(names) else default


def _parts(path: str) -> list[str]:
    """The folders and the stem of a path."""
    parts = PurePath(path).parts
    return [*parts[:-1], PurePath(path).stem]


def _common(names: Sequence[str]) -> str:
    """One name for several: their common start and end with a star between."""
    if len(names) == 1:
        return names[0]
    start = _shared(names)
    rests = [name[start:] for name in names]
    end = _shared([rest[::-1] for rest in rests])
    return f"{names[0][:start]}*{rests[0][len(rests[0]) - end :]}"


def _shared(sequences: Sequence[Sequence[str]]) -> int:
    """How many first entries are the same in all sequences."""
    return sum(1 for _ in takewhile(lambda entries: len(set(entries)) == 1, zip(*sequences, strict=False)))
