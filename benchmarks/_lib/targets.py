"""Targets of the project, which a measured case reaches or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from _lib.tables import figure, table


@dataclass(frozen=True)
class Target:
    """A target of the project: a value of a case, and the most that it may be."""

    title: str
    value: Callable[[Any], float]
    limit: float

    def line(self, case: Any) -> tuple[str, str, str]:
        value = self.value(case)
        return self.title, figure(value), "reached" if value <= self.limit else "**not reached**"


def targets_text(targets: Iterable[Target], case: Any, note: str) -> str:
    """Return the section of the targets, with a note on what they are set for."""
    lines = [target.line(case) for target in targets]
    return "\n".join(["## Targets", "", note, "", table(("", "value", ""), lines)])
