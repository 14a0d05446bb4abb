"""The page of a comparison: its document, the headings of its columns, and tables for readers without JavaScript."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vltr_eval.comparison.differences import MeanDifference
from vltr_eval.page.details import ClassDetails
from vltr_eval.page.document import Page, StaticTable
from vltr_eval.page.template import render_page
from vltr_eval.report.means import decimal
from vltr_eval.report.page import check_details, remarks_on

_HEADINGS = {
    "class": "class",
    "name": "name",
    "group": "group",
    "train_count": "train",
    "num_positives": "positives",
    "positive_clusters": "clusters",
    "base": "base",
    "new": "new",
    "difference": "difference",
    "error": "standard error",
    "low": "low",
    "high": "high",
    "p_value": "p",
    "holm": "p (Holm)",
    "benjamini_hochberg": "p (BH)",
}


_FIRST_RUN = "Curves, histograms and mistakes of single classes are those of the first run of each system."


def comparison_page(
    text: str,
    names: Sequence[str],
    means: Sequence[Sequence[MeanDifference]],
    classes: Mapping[str, Sequence[Any]],
    partitions: Mapping[str, Sequence[str]],
    *,
    signature: str,
    notes: Sequence[str],
    details: Sequence[Any] = (),
    has_runs: bool = False,
) -> str:
    """Return the page of a comparison as HTML.

    Args:
        text: The comparison as JSON.
        names: The names of the systems, the baseline first.
        means: The differences of the means of each system but the baseline.
        classes: The per-class table of the first of these.
        partitions: The groups of each partition of the classes.
        signature: The signature of the evaluations.
        notes: The notes of the comparison.
        details: For each system a `ClassDetails` or a rank table; empty for a page without details.
        has_runs: Whether a system has several runs.

    Raises:
        ValueError: There are not as many details as systems, or they are those of other classes.
        TypeError: The details are neither.
    """
    if details and len(details) != len(names):
        raise ValueError(f"details: expected those of {len(names)} systems, the baseline first, got {len(details)}")
    found = [ClassDetails.of(one, name) for one, name in zip(details, names, strict=False)]
    for one in found:
        check_details(one, classes["num_positives"])
    base, *others = names
    return render_page(
        Page(
            kind="comparison",
            title=f"{', '.join(others)} beside {base}",
            comparison=text,
            headings=_headings(classes),
            partitions=partitions,
            details=found,
            signature=signature,
            notes=notes,
            remarks=[*remarks_on(found), *([_FIRST_RUN] if found and has_runs else [])],
            tables=[_mean_table(f"{name} minus {base}", rows) for name, rows in zip(others, means, strict=True)],
        )
    )


def _headings(classes: Mapping[str, Any]) -> dict[str, str]:
    """The headings of the per-class columns; columns without a heading of their own come last."""
    known = {name: heading for name, heading in _HEADINGS.items() if name == "class" or name in classes}
    return known | {name: name for name in classes if name not in known}


def _mean_table(caption: str, means: Sequence[MeanDifference]) -> StaticTable:
    lines = [
        [mean.name, *map(_number, (mean.base, mean.new, mean.difference, mean.low, mean.high, mean.p_value))]
        for mean in means
    ]
    return StaticTable(caption, ["mean", "base", "new", "difference", "low", "high", "p"], lines)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else decimal(value)
