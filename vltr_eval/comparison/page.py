"""The page of a comparison: its document, the headings of its columns, and tables for readers without JavaScript."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vltr_eval._base.groups import GROUP_NAMES
from vltr_eval.comparison.differences import MeanDifference
from vltr_eval.page import ClassDetails, Page, StaticTable, render_page
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


def comparison_page(
    text: str,
    names: Sequence[str],
    means: Sequence[Sequence[MeanDifference]],
    classes: Mapping[str, Sequence[Any]],
    *,
    signature: str,
    notes: Sequence[str],
    details: Sequence[Any] = (),
) -> str:
    """Return the page of a comparison as HTML.

    Args:
        text: The comparison as JSON.
        names: The names of the systems, the baseline first.
        means: The differences of the means of each system but the baseline.
        classes: The per-class table of the first of these.
        signature: The signature of the evaluations.
        notes: The notes of the comparison.
        details: For each system a `ClassDetails` or a rank table; empty for a page without details.

    Raises:
        ValueError: There are not as many details as systems, or they are those of other classes.
        TypeError: The details are neither.
    """
    if details and len(details) != len(names):
        raise ValueError(f"details: expected those of {len(names)} systems, the baseline first, got {len(details)}")
    found = [ClassDetails.of(one, name) for one, name in zip(details, names, strict=False)]
    for one in found:
        check_details(one, classes["num_positives"])
    groups = set(classes.get("group", ()))
    base, *others = names
    return render_page(
        Page(
            kind="comparison",
            title=f"{', '.join(others)} beside {base}",
            comparison=text,
            headings={name: heading for name, heading in _HEADINGS.items() if name == "class" or name in classes},
            partitions={"": [name for name in GROUP_NAMES if name in groups]} if groups else {},
            details=found,
            signature=signature,
            notes=notes,
            remarks=remarks_on(found),
            tables=[_mean_table(f"{name} minus {base}", rows) for name, rows in zip(others, means, strict=True)],
        )
    )


def _mean_table(caption: str, means: Sequence[MeanDifference]) -> StaticTable:
    lines = [
        [mean.name, *map(_number, (mean.base, mean.new, mean.difference, mean.low, mean.high, mean.p_value))]
        for mean in means
    ]
    return StaticTable(caption, ["mean", "base", "new", "difference", "low", "high", "p"], lines)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else decimal(value)
