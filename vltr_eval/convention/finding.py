"""The conventions that can have printed a number, the reasons why there are several, and the nearest if there is none.

The steps are those of docs/conventions.md: the digits first, then absent classes, ties, saturation, and number formats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltr_eval.convention.convention_value import ConventionValue
from vltr_eval.convention.printed import INSIDE, ROUNDED, TRUNCATED, PrintedNumber, Reading

__all__ = ["Found", "Match", "counted", "find_number"]

IN_ROWS = "rounded, in row order"

_NUM_NEAREST = 3
_MIN_POSITIVES = (1, 2, 3, 5, 10, 20)
_ABSENT = {"left out": math.nan, "counted as 0": 0.0, "counted as 1": 1.0, "counted as 0.5": 0.5}


@dataclass(frozen=True)
class Match:
    """A convention whose value is printed so.

    Attributes:
        value: The convention and its value.
        how: "rounded", "rounded, in row order", "truncated" or "inside the tie interval".
        reading: "fraction" or "percent", the meaning of the number.
    """

    value: ConventionValue
    how: str
    reading: str


@dataclass(frozen=True)
class Found:
    """The answer for one printed number.

    Attributes:
        text: The number.
        matches: The conventions that can have printed it.
        others: Sentences about means that no published code is known to use, but that have this value.
        nearest: The nearest conventions, if none matches.
        reasons: Sentences: why several match, or likely causes if none does.
    """

    text: str
    matches: tuple[Match, ...]
    others: tuple[str, ...]
    nearest: tuple[ConventionValue, ...]
    reasons: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the conventions that match."""
        return tuple(dict.fromkeys(match.value.key for match in self.matches))

    def document(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
        return {
            "number": self.text,
            "matches": [{"key": match.value.key, "how": match.how, "read_as": match.reading} for match in self.matches],
            "others": list(self.others),
            "nearest": [value.key for value in self.nearest],
            "reasons": list(self.reasons),
        }


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "class"), counted(1200, "class")
    ('1 class', '1,200 classes')
    """
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{plural if number != 1 else ''}"


def find_number(
    printed: PrintedNumber,
    values: Sequence[ConventionValue],
    facts: Mapping[str, Any],
    class_values: Mapping[str, np.ndarray],
    counts: np.ndarray,
) -> Found:
    """Find the conventions of a printed number.

    Args:
        printed: The number.
        values: The values of all conventions.
        facts: Facts about the input; see `vltr_eval.convention.result.Conventions`.
        class_values: The values of each class under some definitions, for means that are not published.
        counts: (C,) positives of each class.
    """
    if printed.is_nan:
        matches = tuple(Match(value, ROUNDED, "nan") for value in values if value.why.startswith("nan"))
        reasons = () if matches else ("No convention is NaN on this input; is it a loss, or was a score NaN?",)
        return Found(printed.text, matches, (), (), reasons)
    matches = tuple(_matches(printed.readings, values))
    exact = [match for match in matches if match.how in (ROUNDED, IN_ROWS)]
    if matches:
        others = () if exact else _unpublished(printed.readings, class_values, counts)
        return Found(printed.text, matches, others, (), tuple(_why_several(matches, facts)))
    others = _unpublished(printed.readings, class_values, counts)
    nearest = _nearest(printed.readings, values)
    return Found(printed.text, (), others, nearest, tuple(_likely_causes(printed.readings[0], facts)))


def _matches(readings: Sequence[Reading], values: Sequence[ConventionValue]) -> list[Match]:
    """The matches, the rounded ones first; an interval matches as a whole."""
    found = []
    for reading in readings:
        for value in values:
            if value.why:
                continue
            if value.is_interval:
                how = INSIDE if reading.lies_between(value.low, value.high) else ""
                if reading.agrees(value.in_rows) == ROUNDED:  # never of NaN
                    how = IN_ROWS
            else:
                how = reading.agrees(value.low)
            if how:
                found.append(Match(value, how, reading.kind))
    rank = {ROUNDED: 0, IN_ROWS: 1, TRUNCATED: 2, INSIDE: 3}
    # A fraction is the first meaning: as percent, a number below 1 is a value below 0.01.
    return sorted(found, key=lambda match: (rank[match.how], match.reading != readings[0].kind))


def _why_several(matches: Sequence[Match], facts: Mapping[str, Any]) -> list[str]:
    """Sentences that say why several conventions have the number."""
    exact = [match.value for match in matches if match.how == ROUNDED]
    conventions = [value.convention for value in exact]
    reasons = []
    if len(exact) > 1:
        if len({convention.absent for convention in conventions}) > 1 and not facts["absent_classes"]:
            reasons.append("No class is absent, so the rules of absent classes give one number.")
        if len({convention.ties for convention in conventions}) > 1 and not facts["tied_positives"]:
            reasons.append("No positive shares its score with a negative, so the rules of ties give one number.")
        if len({convention.squash for convention in conventions}) > 1:
            if not facts["outside"]:
                reasons.append("All scores lie from 0 to 1, so a sigmoid for other scores is not applied.")
            elif not facts["saturated"]:
                reasons.append("The sigmoid makes no two scores equal that decide a rank.")
        if any(value.variant for value in exact):
            reasons.append("Rounding to a shorter number format gives this number as well.")
        spread = max(value.low for value in exact) - min(value.low for value in exact)
        if spread > 1e-6:
            reasons.append(f"These values differ by up to {spread:.2g}; a number with more digits tells them apart.")
        if not reasons:
            reasons.append("These conventions agree on this input.")
    if any(match.how == TRUNCATED for match in matches):
        reasons.append("Truncated matches have the digits without rounding.")
    if any(match.how == IN_ROWS for match in matches):
        reasons.append("torch.sort can have kept the row order of equal scores; stable=True keeps it always.")
    if any(match.how == INSIDE for match in matches):
        reasons.append(
            "Inside a tie interval the rows, the sort and the CPU decide the number, so scores and labels cannot "
            "confirm it."
        )
    if facts["saturated"] and any(match.value.convention.ties != "joined" or match.value.variant for match in matches):
        reasons.append(
            f"{counted(facts['saturated'], 'saturated score')} (0 or 1, or so after a sigmoid) can be ties of "
            "different logits; compare with the logits."
        )
    return reasons


def _unpublished(
    readings: Sequence[Reading], class_values: Mapping[str, np.ndarray], counts: np.ndarray
) -> tuple[str, ...]:
    """Sentences about means of other rules that round to the number."""
    found: dict[str, None] = {}
    for name, values in class_values.items():
        for absent, stand_in in _ABSENT.items():
            if absent != "left out" and not (counts == 0).any():
                continue
            filled = np.where(counts == 0, stand_in, values)
            for least in _MIN_POSITIVES:
                if absent != "left out" and least > 1:
                    continue
                chosen = filled[(counts >= least) | (counts == 0)]
                chosen = chosen[~np.isnan(chosen)]
                if not len(chosen):
                    continue
                value = float(chosen.mean())
                if any(reading.agrees(value) == ROUNDED for reading in readings):
                    rule = f", classes with at least {least} positives" if least > 1 else ""
                    state = f", absent classes {absent}" if (counts == 0).any() else ""
                    found.setdefault(f"{name}{state}{rule}: {value:.8g}")
    return tuple(found)


def _nearest(readings: Sequence[Reading], values: Sequence[ConventionValue]) -> tuple[ConventionValue, ...]:
    defined = [value for value in values if not value.why]
    distances = [
        min(max(value.low - reading.value, reading.value - value.high, 0.0) for reading in readings)
        for value in defined
    ]
    order = sorted(range(len(defined)), key=distances.__getitem__)
    kept: list[ConventionValue] = []
    for index in order:
        if all(abs(defined[index].low - other.low) > 1e-9 for other in kept):
            kept.append(defined[index])
        if len(kept) == _NUM_NEAREST:
            break
    return tuple(kept)


def _likely_causes(reading: Reading, facts: Mapping[str, Any]) -> list[str]:
    """Sentences about causes that scores and labels cannot confirm."""
    causes = []
    absent, classes = facts["absent_classes"], facts["classes"]
    means = {
        0: reading.value * classes / (classes - absent),
        1: (reading.value * classes - absent) / (classes - absent),
    }
    possible = [f"as {score}, the mean of the others is {mean:.6g}" for score, mean in means.items() if 0 <= mean <= 1]
    if absent and possible:
        rules = "; if they count ".join(possible)
        causes.append(f"{counted(absent, 'class')} of {classes:,} without positives: if they count {rules}.")
    if facts["tied_positives"]:
        causes.append(
            f"{counted(facts['tied_positives'], 'positive')} tied with a negative: another tie rule is possible."
        )
    if facts["saturated"]:
        causes.append(
            f"{counted(facts['saturated'], 'saturated score')}: the number can come from the logits, without ties."
        )
    causes += [
        "Code that keeps the best k scores of a row loses the positives below them (top_k=).",
        "A subset of classes or rows was evaluated, or the rows are in another order than the labels.",
        "A mean of the mAP of batches, or of processes, is not the mAP of all rows.",
    ]
    return causes
