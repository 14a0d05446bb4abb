"""The numbers of reports that figures draw, and the errors of reports that lack them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vltr_eval.report.means import Group
from vltr_eval.report.names import OVERALL, interval_names
from vltr_eval.report.report import Report


def train_groups(report: Report) -> list[Group]:
    """Return the groups by training counts, the one with the most first; none without training counts."""
    return [group for group in report.groups if group.name != OVERALL and not getattr(group, "partition", "")]


def column(report: Report, name: str) -> np.ndarray:
    """Return a numeric column of the per-class table as (C,) float64."""
    return np.array(report.classes[name], np.float64)


def require_train_counts(report: Report) -> np.ndarray:
    """Return the training samples of each class, (C,) float64.

    Raises:
        ValueError: The report has none.
    """
    if "train_count" not in report.classes:
        raise ValueError(
            "report: expected the training samples of the classes, got a report without them; evaluate with "
            "train_counts= (--counts)"
        )
    return column(report, "train_count")


def class_ends(report: Report, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the intervals of a per-class column, (C,) each.

    Raises:
        ValueError: The report has no intervals.
    """
    _, low, high = interval_names(name)
    if low not in report.classes:
        raise ValueError(
            "intervals: expected a report with intervals, got one without; evaluate with interval=0.95 (--ci)"
        )
    return column(report, low), column(report, high)


def members(report: Report, groups: Sequence[str]) -> dict[str, np.ndarray]:
    """Return a mask (C,) for the classes of each group; all classes under one name, "", without groups."""
    if not groups or "group" not in report.classes:
        return {"": np.ones(report.num_classes, bool)}
    of_class = np.array(report.classes["group"], object)
    return {name: of_class == name for name in groups}


def named_reports(reports: Report | Mapping[str, Report] | Sequence[Report]) -> dict[str, Report]:
    """Return reports by their names; "report 1" and so on without names.

    Raises:
        TypeError: There is an object among them that is no report.
        ValueError: There is none.
    """
    if isinstance(reports, Report):
        named = {"": reports}
    elif isinstance(reports, Mapping):
        named = {str(name): report for name, report in reports.items()}
    else:
        named = {f"report {number}": report for number, report in enumerate(reports, 1)}
    for report in named.values():
        if not isinstance(report, Report):
            raise TypeError(f"reports: expected a Report, or several by name, got {type(report).__name__}")
    if not named:
        raise ValueError("reports: expected at least one report, got none")
    return named
