"""The page of a report: its document, the headings of its columns, and its tables for readers without JavaScript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vltr_eval.page.details import ClassDetails
from vltr_eval.page.document import Page, StaticTable
from vltr_eval.page.template import render_page
from vltr_eval.report.document import is_nan
from vltr_eval.report.means import Group, decimal
from vltr_eval.report.names import OVERALL, Metric, interval_names
from vltr_eval.report.settings import Settings
from vltr_eval.report.text import level_in_words

NO_DETAILS = "This page has no curves, histograms and mistakes of single classes, which need the scores."
NO_ROWS = "This page has no histograms and mistakes of single classes, which need the scores of the rows."

_NAMES = {"class": "class", "name": "name", "group": "group", "train_count": "train"}
_OTHERS = {
    "num_negatives": "negatives",
    "SAP_std": "SAP std",
    "tie_rate": "tied",
    "AP_tie_lower": "AP, ties last",
    "AP_tie_upper": "AP, ties first",
    "num_positive_clusters": "clusters",
    "num_unknown": "unknown",
}


def report_page(
    text: str,
    classes: Mapping[str, Sequence[Any]],
    counts: Mapping[str, str],
    groups: Sequence[Group],
    settings: Settings,
    *,
    signature: str,
    notes: Sequence[str],
    details: Any = None,
    training: Mapping[str, Any] | None = None,
) -> str:
    """Return the page of a report as HTML.

    Args:
        text: The report as JSON.
        classes: Its per-class table.
        counts: The columns of counts that the text table shows, and their headings.
        groups: Its means.
        settings: Its settings.
        signature: Its signature.
        notes: Its notes.
        details: A `ClassDetails` or a rank table; None for a page without details of single classes.
        training: The learning curves of the training; None leaves them out.

    Raises:
        ValueError: The details are those of other classes.
        TypeError: The details are neither.
    """
    found = [] if details is None else [ClassDetails.of(details)]
    for one in found:
        check_details(one, classes[next(iter(counts))])
    return render_page(
        Page(
            kind="report",
            title=f"Evaluation of {groups[0].num_classes:,} classes",
            report=text,
            headings=column_headings(classes, settings.metrics, counts, settings.interval),
            partitions=partitions_of(groups),
            details=found,
            training=training,
            signature=signature,
            notes=notes,
            remarks=remarks_on(found),
            tables=[group_means(groups, settings.metrics)],
        )
    )


def check_details(details: ClassDetails, counts: Sequence[int]) -> None:
    """Raise ValueError unless details are those of classes with so many positives."""
    found = details.curves.num_positives
    if len(found) != len(counts):
        raise ValueError(f"details: expected those of {len(counts):,} classes, got {len(found):,}")
    differ = np.flatnonzero(found != np.array(counts))
    if differ.size:
        at = int(differ[0])
        raise ValueError(
            f"details: expected {counts[at]:,} positives of class {at} as in the report, got {found[at]:,}; "
            "are they of the same labels?"
        )


def remarks_on(details: Sequence[ClassDetails]) -> list[str]:
    """Return sentences on saturated scores, and on what a page with these details lacks, if it lacks anything."""
    if not details:
        return [NO_DETAILS]
    remarks = [_saturation(one, several=len(details) > 1) for one in details]
    lacks = [NO_ROWS] if any(one.histograms is None for one in details) else []
    return [*filter(None, remarks), *lacks]


_FEWEST_EXTREME = 5  # positives on one extreme score
_SHARE_EXTREME = 0.001  # of the positives, which a continuous model does not reach by chance


def _saturation(details: ClassDetails, *, several: bool) -> str:
    """A sentence if many positives have the lowest or the highest score; "" if not."""
    curves = details.curves
    total = int(curves.num_positives.sum())
    if not total:
        return ""
    parts = [
        f"{count / total:.2%} of the positives have the {which} score of a positive, {score:g}"
        for which, (score, count) in zip(("lowest", "highest"), curves.at_extremes(), strict=True)
        if count >= max(_FEWEST_EXTREME, _SHARE_EXTREME * total)
    ]
    if not parts:
        return ""
    subject = f"Saturation of {details.name}" if several else "Saturation"
    return f"{subject}: {', and '.join(parts)}. Save logits where a sigmoid or softmax gives such scores."


def column_headings(
    columns: Mapping[str, Any], metrics: Sequence[Metric], counts: Mapping[str, str], level: float | None
) -> dict[str, str]:
    """Return the headings of the per-class columns in the order of the text table; columns that it lacks come last."""
    known = {"class": "class", **{name: _NAMES[name] for name in _NAMES if name in columns}, **counts}
    known |= {metric.class_name: metric.class_heading or _OTHERS.get(metric.class_name, "") for metric in metrics}
    for metric in metrics:
        if metric.interval and level is not None:
            _, low, high = interval_names(metric.class_name)
            known[low] = f"{metric.class_heading} {level_in_words(level)} low"
            known[high] = f"{metric.class_heading} {level_in_words(level)} high"
    known |= {name: heading for name, heading in _OTHERS.items() if name not in known}
    named = {name: heading or name for name, heading in known.items() if name == "class" or name in columns}
    return named | {name: name for name in columns if name not in named}


def partitions_of(groups: Sequence[Group]) -> dict[str, list[str]]:
    """Return the names of the groups of each partition; the partition by training counts is "", and comes first."""
    found: dict[str, list[str]] = {}
    for group in groups:
        if group.name != OVERALL:
            found.setdefault(getattr(group, "partition", ""), []).append(group.name)
    return {name: found[name] for name in sorted(found, key=bool)}


def group_means(groups: Sequence[Group], metrics: Sequence[Metric]) -> StaticTable:
    """Return the means of the groups as a table, with the ends of their intervals."""
    shown = [metric for metric in metrics if metric.heading]
    lines = [
        [
            group.name,
            f"{group.num_classes:,}",
            f"{group.num_undefined:,}",
            *(_mean(group, metric) for metric in shown),
        ]
        for group in groups
    ]
    headings = ["group", "classes", "undefined", *(metric.heading for metric in shown)]
    return StaticTable("Means over the classes of each group", headings, lines)


def _mean(group: Group, metric: Metric) -> str:
    value = group.values[metric.name]
    if is_nan(value):
        return "-"
    text = decimal(value)
    if metric.spread is not None and not is_nan(group.values[metric.spread.name]):
        text += f" +- {decimal(group.values[metric.spread.name])}"
    if metric.name in group.intervals and not is_nan(group.intervals[metric.name][0]):
        low, high = map(decimal, group.intervals[metric.name])
        text += f" [{low}, {high}]"
    return text
