"""Precision, recall and F1 of a report at the thresholds of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from vltr_eval.report.document import read_count, read_number, read_text
from vltr_eval.report.names import THRESHOLD_METRICS

_NUMBERS = ("beta", "at_least")
_RULES = {"f1": "largest F1", "fbeta": "largest F-beta", "precision": "precision at least", "recall": "recall at least"}


@dataclass(frozen=True, eq=False)
class ThresholdResult:
    """Precision, recall and F1 at a threshold for each class, by group.

    Attributes:
        fingerprint: SHA-256 of the thresholds.
        by: The rule by which they were chosen; None, as all of the rule, for plain numbers.
        beta: The weight of recall in F-beta.
        at_least: The least precision or recall.
        min_positives: Classes with fewer positives share a threshold.
        num_own: Classes with a threshold of their own.
        num_pooled: Classes that share one.
        num_none: Classes without a threshold, which are never predicted.
        same_set: Whether they were chosen on the labels of this report, so that the values are optimistic.
        groups: OP, OR, OF1, CP, CR, CF1 and macro_F1 of each group, "overall" first. See docs/thresholds.md.
    """

    fingerprint: str
    by: str | None
    beta: float | None
    at_least: float | None
    min_positives: int | None
    num_own: int | None
    num_pooled: int | None
    num_none: int | None
    same_set: bool
    groups: dict[str, dict[str, float]]

    def means(self) -> dict[str, dict[str, float]]:
        """Return the means of each group."""
        return self.groups

    @property
    def signature(self) -> str:
        """The part of the signature of a report."""
        by = self.by or "given"
        number = self.beta if self.at_least is None else self.at_least
        return f"thresholds:{by}{'' if number is None else f'{number:g}'}/{self.fingerprint[:8]}"

    def document(self) -> dict[str, Any]:
        """Return the JSON of this part of a report."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any], names: Sequence[str]) -> ThresholdResult:
        """Read the JSON of `document`. names: The groups of the report."""
        counts = {
            name: None if document[name] is None else read_count(document[name])
            for name in ("min_positives", "num_own", "num_pooled", "num_none")
        }
        beta, at_least = (
            None if document[name] is None else read_number(document[name]) for name in ("beta", "at_least")
        )
        if not isinstance(document["same_set"], bool):
            raise TypeError(f"{document['same_set']!r} where true or false belongs")
        return cls(
            fingerprint=read_text(document["fingerprint"]),
            by=None if document["by"] is None else read_text(document["by"]),
            same_set=document["same_set"],
            groups={
                name: {metric.name: read_number(document["groups"][name][metric.name]) for metric in THRESHOLD_METRICS}
                for name in names
            },
            beta=beta,
            at_least=at_least,
            **counts,
        )

    def in_words(self) -> str:
        """Return a line on how the thresholds were chosen."""
        if self.by is None:
            return "given"
        text = _RULES.get(self.by, self.by)
        text += "" if self.at_least is None else f" {self.at_least:g}"
        text += "" if self.beta is None else f" with beta {self.beta:g}"
        text += f", own in {self.num_own:,} classes"
        if self.num_pooled:
            text += f", pooled in {self.num_pooled:,} with fewer than {self.min_positives} positives"
        if self.num_none:
            text += f", none in {self.num_none:,}, which are never predicted"
        return f"{text}; chosen on these labels, so optimistic" if self.same_set else text
