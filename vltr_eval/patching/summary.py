"""The summary of a patch: its counts as an object, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vltr_eval.patching.counting import Counts


@dataclass(frozen=True)
class FunctionSummary:
    """The counts of one known function, and the time that it saved.

    Attributes:
        name: The module that defines the original, and its name.
        calls: Calls; for a class, calls of its computing methods.
        cells: Rows times classes, of all calls together.
        shape: (rows, classes) if all calls have the same, otherwise None.
        seconds: The time of the drop-in, without that of fallbacks.
        fallbacks: How often the original was called, by reason.
        fallback_seconds: The time of these calls.
        errors: Calls that raised.
        original_seconds: The time that the original would have taken for the calls that did not fall back. An
            estimate, or under ``verify`` the time that it took. None if it is unknown.
        largest_difference: The largest difference from the original's results under ``verify``; otherwise None.
        disagreements: Under ``verify``, results that cannot be compared as numbers; at most three.
    """

    name: str
    calls: int
    cells: int
    shape: tuple[int, int] | None
    seconds: float
    fallbacks: dict[str, int]
    fallback_seconds: float
    errors: int
    original_seconds: float | None
    largest_difference: float | None
    disagreements: list[str]

    @classmethod
    def of(cls, name: str, counts: Counts, *, verify: bool) -> FunctionSummary:
        original: float | None = counts.verified_seconds if verify else counts.estimated
        if not (counts.verified if verify else counts.estimated_calls) or (counts.unknown_calls and not verify):
            original = None
        return cls(
            name,
            counts.calls,
            counts.cells,
            next(iter(counts.shapes)) if len(counts.shapes) == 1 else None,
            counts.seconds,
            dict(counts.fallbacks),
            counts.fallback_seconds,
            counts.errors,
            original,
            counts.largest_difference if verify and counts.verified else None,
            list(counts.disagreements),
        )

    @property
    def saved_seconds(self) -> float | None:
        """The time of the original less that of the drop-in; None without an estimate."""
        return None if self.original_seconds is None else self.original_seconds - self.seconds


@dataclass(frozen=True)
class Summary:
    """The counts of a patch.

    Attributes:
        functions: The known functions that were called.
        left_alone: Names of libraries and functions that stay as they are, with the reason.
        verify: Whether the originals were called as well.
    """

    functions: list[FunctionSummary]
    left_alone: dict[str, str] = field(default_factory=dict)
    verify: bool = False

    @classmethod
    def of(cls, counts: Mapping[str, Counts], left_alone: Mapping[str, str], *, verify: bool) -> Summary:
        functions = [FunctionSummary.of(name, one, verify=verify) for name, one in sorted(counts.items()) if one.calls]
        return cls(functions, dict(left_alone), verify)

    @property
    def saved_seconds(self) -> float:
        """The time saved by all functions that have an estimate."""
        return sum(one.saved_seconds or 0.0 for one in self.functions)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as numbers, strings, lists and dictionaries."""
        functions = [
            {
                "name": one.name,
                "calls": one.calls,
                "cells": one.cells,
                "shape": None if one.shape is None else list(one.shape),
                "seconds": one.seconds,
                "fallbacks": one.fallbacks,
                "fallback_seconds": one.fallback_seconds,
                "errors": one.errors,
                "original_seconds": one.original_seconds,
                "original_seconds_are": "measured" if self.verify else "estimated",
                "saved_seconds": one.saved_seconds,
                "largest_difference": one.largest_difference,
                "disagreements": one.disagreements,
            }
            for one in self.functions
        ]
        return {"functions": functions, "left_alone": self.left_alone, "saved_seconds": self.saved_seconds}

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def to_text(self) -> str:
        """Return a table of the functions, and sentences on fallbacks and on the time saved."""
        lines = [f"vltr_eval.patch: {self._headline()}"]
        if self.functions:
            time = "original" if self.verify else "original (est.)"
            header = ("function", "calls", "rows x classes", "seconds", time, "fallbacks")
            rows = [header, *(self._row(one) for one in self.functions)]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            for row in rows:
                cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
                lines.append("  " + "  ".join(cells).rstrip())
        for one in self.functions:
            for reason, times in one.fallbacks.items():
                lines.append(f"  fallback to the original: {one.name}, {times} x {reason}")
            if one.errors:
                lines.append(f"  errors raised: {one.name}, {one.errors} x")
            if one.largest_difference is not None:
                lines.append(f"  largest difference: {one.name}, {one.largest_difference:.3g}")
            lines += [f"  NOT EQUAL: {one.name}, {sentence}" for sentence in one.disagreements]
        lines += [f"  left as it is: {name} ({reason})" for name, reason in self.left_alone.items()]
        return "\n".join(lines) + "\n"

    def _headline(self) -> str:
        if not self.functions:
            return "no known function was called"
        calls = sum(one.calls for one in self.functions)
        fallbacks = sum(sum(one.fallbacks.values()) for one in self.functions)
        headline = f"{calls:,} calls of {len(self.functions)} known functions, {fallbacks:,} fallbacks to the original"
        if not any(one.original_seconds is not None for one in self.functions):
            return headline
        saved = f"{self.saved_seconds:.3g} s saved"
        how = "measured" if self.verify else "an estimate from parts of the first calls"
        return f"{headline}; {saved} ({how})"

    @staticmethod
    def _row(one: FunctionSummary) -> tuple[str, ...]:
        size = f"{one.cells:,} cells" if one.shape is None else f"{one.shape[0]:,} x {one.shape[1]:,}"
        fallbacks = sum(one.fallbacks.values())
        nothing = "-" if fallbacks + one.errors == one.calls else "unknown"
        original = nothing if one.original_seconds is None else f"{one.original_seconds:.3g}"
        return one.name, f"{one.calls:,}", size, f"{one.seconds:.3g}", original, str(fallbacks)
