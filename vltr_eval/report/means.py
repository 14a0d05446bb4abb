"""Means of metrics over groups of classes."""

from __future__ import annotations

from dataclasses import dataclass, field

from vltr_eval.report.names import AP


@dataclass(frozen=True, eq=False)
class Group:
    """The means over one group of classes.

    Attributes:
        name: "overall", or the name of the group: "head", "medium" or "tail" by training counts.
        num_classes: Classes of the group.
        num_undefined: Classes of the group without a positive in the evaluated set.
        values: The mean of each metric over its defined classes, by ``Metric.name``.
        errors: The standard error of each mean, if the report has intervals; NaN where it cannot be estimated, as in a
            group of perfect classes.
        intervals: The lower and upper end of each mean's interval.
        partition: The partition of one's own that the group is of; "" for overall and for groups by training counts.
    """

    name: str
    num_classes: int
    num_undefined: int
    values: dict[str, float]
    errors: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    partition: str = ""

    def __repr__(self) -> str:
        mean = decimal(self.values[AP.name])
        return f"<Group {self.name} of {self.num_classes} classes, {self.num_undefined} undefined, mAP={mean}>"


@dataclass(frozen=True, eq=False)
class Slice:
    """The means over a slice of the rows, with the bits that an evaluation of these rows alone gives.

    Attributes:
        name: The name of the slice.
        partition: The name of its partition.
        num_rows: Its rows.
        groups: The means over the groups of the report, "overall" first.
    """

    name: str
    partition: str
    num_rows: int
    groups: tuple[Group, ...]

    def __repr__(self) -> str:
        return f"<Slice {self.name} of {self.num_rows} rows, mAP={decimal(self.groups[0].values[AP.name])}>"


@dataclass(frozen=True, eq=False)
class PriorResult:
    """The means under another class distribution, by weighted rows (`vltr_eval.prior_weights`).

    Attributes:
        name: The name of the distribution.
        effective_rows: Kish's effective sample size of the labelled rows: the squared sum of their weights over the sum
            of squared weights. A small value means that the result rests on few rows.
        total_variation: Distance from the requested distribution to that of the weighted labels, 0 to 1.
        left_out: Share that the distribution gives to classes without positives.
        groups: The means over the groups of the report, AP and Acc@k only. A class without weight is undefined.
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
    """Format a number as the text tables print it."""
    return f"{value:.4f}"
