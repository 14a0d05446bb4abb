"""Means of metrics over groups of classes."""

from __future__ import annotations

from dataclasses import dataclass

from vltr_eval.report.names import AP


@dataclass(frozen=True, eq=False)
class Group:
    """The means over one group of classes: ``values`` maps Metric.name to the mean over its defined classes.

    num_undefined: classes of the group without a positive in the evaluated set.
    """

    name: str
    num_classes: int
    num_undefined: int
    values: dict[str, float]

    def __repr__(self) -> str:
        mean = decimal(self.values[AP.name])
        return f"<Group {self.name} of {self.num_classes} classes, {self.num_undefined} undefined, mAP={mean}>"


@dataclass(frozen=True, eq=False)
class PriorResult:
    """The means under another class distribution, for which the rows were weighted (`vltr_eval.prior_weights`).

    effective_rows: as many labelled rows of equal weight would tell as much (Kish): the squared sum of their weights
        over the sum of squares. total_variation: from the distribution that was asked for to that of the weighted
        labels. left_out: the share that was asked for classes without positives. groups: as of the report, AP and Acc@k
        only; a class that has no weight is undefined.
    """

    name: str
    effective_rows: float
    total_variation: float
    left_out: float
    groups: tuple[Group, ...]

    def __repr__(self) -> str:
        mean = decimal(self.groups[0].values[AP.name])
        return f"<PriorResult to {self.name}, {self.effective_rows:.1f} effective rows, mAP={mean}>"


def decimal(value: float) -> str:
    """A number as the text tables print it."""
    return f"{value:.4f}"
