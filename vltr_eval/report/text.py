"""Text tables of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vltr_eval._base.arguments import nearest_name
from vltr_eval._base.text_table import Column
from vltr_eval.report.document import is_nan
from vltr_eval.report.means import Group, decimal
from vltr_eval.report.names import RANKS, SAP, SAP_STD, Metric


def read_sort(sort: str, columns: Sequence[str]) -> tuple[str, bool]:
    """The column to sort by, and whether its largest value comes first.

    sort: a column, or one with ``:asc`` or ``:desc``. Without, class, name and group ascend and numbers descend.
    Raises ValueError for a column that is not there.
    """
    name, colon, direction = sort.rpartition(":")
    if sort in columns:
        return sort, sort not in _ASCENDING
    if colon and name in columns and direction in ("asc", "desc"):
        return name, direction == "desc"
    wanted = name if colon and direction in ("asc", "desc") else sort
    near = nearest_name(wanted, columns)
    hint = "" if near is None else f"did you mean {near}? "
    raise ValueError(
        f"sort: expected a column, COLUMN:asc or COLUMN:desc, got {sort!r}; {hint}the columns are {', '.join(columns)}"
    )


_ASCENDING = ("class", "name", "group")


def shortlist(classes: Sequence[int], most: int = 20) -> str:
    """Class indices for a sentence: the first few, and how many more there are."""
    listed = ", ".join(map(str, classes[:most]))
    return listed if len(classes) <= most else f"{listed} and {len(classes) - most:,} more"


def sorted_lines(columns: Mapping[str, Sequence[Any]], sort: str | None) -> list[int]:
    """Indices of the table's lines in the order that `read_sort` describes; undefined values come last."""
    lines = range(len(columns["class"]))
    if sort is None:
        return list(lines)
    name, descending = read_sort(sort, list(columns))
    values = columns[name]
    defined = [line for line in lines if not is_nan(values[line])]
    undefined = [line for line in lines if is_nan(values[line])]
    return sorted(defined, key=values.__getitem__, reverse=descending) + undefined


def undefined_column(groups: Sequence[Group]) -> Column:
    return Column("undefined", [f"{group.num_undefined:,}" for group in groups], "undef", RANKS["undefined"])


def metric_columns(
    metrics: Sequence[Metric], rows: Sequence[Mapping[str, Any]], *, by_class: bool = False
) -> list[Column]:
    """A column for each metric, its values found in each row by its name; the spread of SAP stands in SAP's cells."""
    columns = []
    for metric in metrics:
        name, heading = (metric.class_name, metric.class_heading) if by_class else (metric.name, metric.heading)
        if metric is SAP_STD:
            continue
        cells = [cell(row[name]) for row in rows]
        if metric is SAP:
            spreads = [row[SAP_STD.class_name if by_class else SAP_STD.name] for row in rows]
            cells = [
                f"{cell} +- {spread:.4f}" if spread == spread else cell
                for cell, spread in zip(cells, spreads, strict=True)
            ]
        columns.append(Column(heading, cells, metric.short, metric.rank))
    return columns


def cell(value: float) -> str:
    """A number as the tables show it, - where it is undefined."""
    return "-" if is_nan(value) else decimal(value)
