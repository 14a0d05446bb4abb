"""Why one printed number became another: the pairs of conventions that differ in the fewest rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vltr_eval.convention.convention_value import ConventionValue
from vltr_eval.convention.definitions import ABSENT_RULES, CONVENTIONS, SQUASH_RULES, TIE_RULES, Convention
from vltr_eval.convention.finding import Found
from vltr_eval.convention.printed import ROUNDED

__all__ = ["Change", "Rule", "fewest_changes"]

_MOST = 3
_COST_OF_DEFINITION = 3  # another curve is a larger step than another rule of the same curve
_COST_OF_DOUBT = 2  # only a tie interval, or truncation, brings the value to the number
_DEFINITION = "definition"
_FORMATS = {"": "as they are", "sigmoid": "through a float32 sigmoid"} | {
    name: f"rounded to {name}" for name in ("float32", "float16", "bfloat16")
}

# Definitions in other words of one curve; the rules of equal scores and of the positives of a class say the rest.
_SAME_CURVE = (
    ("step-joined-zero", "step-rows-zero", "step-epsilon", "step-reversed-left-out-5-positives"),
    ("weighted", "weighted-unstable"),
    ("rows-zero", "rows-one", "rows-reversed"),
)


@dataclass(frozen=True)
class Rule:
    """A rule in which two conventions differ.

    Attributes:
        name: The subject of the rule.
        before: The rule of the first convention.
        after: The rule of the second convention.
    """

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class Change:
    """Two conventions, one for each number, and the rules in which they differ.

    Attributes:
        before: The convention of the first number.
        after: The convention of the second number.
        rules: The rules in which they differ.
    """

    before: ConventionValue
    after: ConventionValue
    rules: tuple[Rule, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.rules))

    def document(self) -> dict[str, Any]:
        """Return the change as JSON values."""
        rules = [{"rule": rule.name, "before": rule.before, "after": rule.after} for rule in self.rules]
        return {"before": self.before.key, "after": self.after.key, "rules": rules}


def fewest_changes(first: Found, second: Found, facts: Mapping[str, Any]) -> tuple[Change, ...]:
    """Find the pairs of conventions of two numbers that differ in the fewest rules.

    Args:
        first: The conventions of the first number.
        second: Those of the second number.
        facts: Facts about the input; see `vltr_eval.convention.result.Conventions`.

    Returns:
        At most three pairs with different rules, those of one library first. None if a number has no convention, or if
        one convention has both.
    """
    pairs = []
    for before in first.matches:
        for after in second.matches:
            if before.value is after.value and not before.value.is_interval:
                return ()
            rules = tuple(_rules(before.value, after.value, facts)) or _last_rule(before.value, after.value)
            if not rules:
                continue
            change = Change(before.value, after.value, rules)
            cost = sum(_COST_OF_DEFINITION if rule.name == _DEFINITION else 1 for rule in change.rules)
            cost += _COST_OF_DOUBT * ((before.how != ROUNDED) + (after.how != ROUNDED))
            pairs.append((cost, not _libraries(before.value) & _libraries(after.value), change))
    if not pairs:
        return ()
    pairs.sort(key=lambda pair: pair[:2])  # stable, so the order of the registry decides the rest
    kept: dict[tuple[object, ...], Change] = {}
    for cost, _, change in pairs:
        if cost == pairs[0][0]:
            # The first pair stands for all others of two definitions: a list of them would explain nothing.
            kept.setdefault(tuple("" if rule.name == _DEFINITION else rule for rule in change.rules), change)
    return tuple(kept.values())[:_MOST]


def _rules(first: ConventionValue, second: ConventionValue, facts: Mapping[str, Any]) -> Iterator[Rule]:
    """The rules in which two conventions differ, without those that have no effect on this input."""
    one, other = first.convention, second.convention
    if _curve(one) != _curve(other):
        yield Rule(_DEFINITION, _curve(one), _curve(other))
    if one.absent != other.absent and (facts["absent_classes"] or facts["unlabelled_rows"]):
        subject = "a row without labels" if one.family == other.family == "rows" else "an absent class"
        yield Rule(subject, ABSENT_RULES[one.absent], ABSENT_RULES[other.absent])
    if one.ties != other.ties and facts["tied_positives"]:
        yield Rule("equal scores", TIE_RULES[one.ties], TIE_RULES[other.ties])
    if one.squash != other.squash and facts["outside"]:
        yield Rule("sigmoid", SQUASH_RULES[one.squash], SQUASH_RULES[other.squash])
    if one.min_positives != other.min_positives:
        yield Rule("positives of a class, at least", str(one.min_positives), str(other.min_positives))
    if first.variant != second.variant:
        yield Rule("scores", _FORMATS.get(first.variant, first.variant), _FORMATS.get(second.variant, second.variant))


def _last_rule(first: ConventionValue, second: ConventionValue) -> tuple[Rule, ...]:
    """The rule of conventions that seem to be the same: an order of equal scores, or the words of the definition."""
    if first.is_interval and second.is_interval:
        return (Rule("equal scores", "one order", "another order, by the rows, the sort or the CPU"),)
    one, other = first.convention.definition, second.convention.definition
    return (Rule(_DEFINITION, one, other),) if one != other else ()


def _curve(convention: Convention) -> str:
    """The definition of a convention; the same for definitions in other words."""
    definitions = {known.key: known.definition for known in CONVENTIONS}
    for keys in _SAME_CURVE:
        if convention.definition in {definitions[key] for key in keys}:
            return definitions[keys[0]]
    return convention.definition


def _libraries(value: ConventionValue) -> set[str]:
    """The projects that use a convention, without their versions."""
    return {use.project.split()[0] for use in value.convention.used_by}
