"""Runs that differ in their seed alone, and the name that tells them from other runs of the method."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vltr_train.runs.run_folder import RunFolder

__all__ = ["Repetitions", "repetitions"]


@dataclass(frozen=True)
class Repetitions:
    """Runs that differ in their seed alone.

    Attributes:
        spec: METHOD or METHOD:PRESET.
        changes: The settings that distinguish these runs from others of this spec; "" if there are none.
        data: The name of the data set.
        runs: The runs, in the order in which they came.
    """

    spec: str
    changes: str
    data: str
    runs: tuple[RunFolder, ...]

    @property
    def name(self) -> str:
        """The spec and the changes."""
        return f"{self.spec} {self.changes}".rstrip()

    @property
    def seeds(self) -> list[int]:
        """The seed of each run."""
        return [run.value("settings", "seed") for run in self.runs]


def repetitions(runs: Iterable[RunFolder]) -> list[Repetitions]:
    """Bring the runs together that differ in their seed alone, in the order of the first of each."""
    alike: dict[str, list[RunFolder]] = {}
    for run in runs:
        alike.setdefault(json.dumps([_spec(run), _traits(run)], sort_keys=True), []).append(run)
    variants = [(_spec(first), _traits(first)) for first, *_ in alike.values()]
    found = []
    for (spec, traits), group in zip(variants, alike.values(), strict=True):
        others = [theirs for name, theirs in variants if name == spec]
        differing = [key for key, value in traits.items() if any(theirs.get(key) != value for theirs in others)]
        changes = " ".join(f"{key}={_setting(traits[key])}" for key in differing)
        found.append(Repetitions(spec, changes, traits["data"], tuple(group)))
    return found


def _spec(run: RunFolder) -> str:
    method, preset = run.document["method"], run.document["preset"]
    return method if preset is None else f"{method}:{preset}"


def _traits(run: RunFolder) -> dict[str, Any]:
    """The values that runs share if they are repetitions of each other."""
    traits = {"data": run.value("dataset", "name"), "labels": run.value("dataset", "labels")[:8]}
    code = run.document.get("code")  # of a method from outside: other code is another method
    if isinstance(code, dict):
        traits["code"] = str(code.get("sha256"))[:8]
    return traits | {key: value for key, value in run.value("settings").items() if key != "seed"}


def _setting(value: Any) -> str:
    """The value as text of the command line."""
    if isinstance(value, list):
        return ",".join(map(_setting, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
