"""The tables of a report: groups, classes, and other class distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vltr_eval._base.arguments import nearest_name
from vltr_eval._base.text_table import Column, Table, fits
from vltr_eval.report.document import is_nan
from vltr_eval.report.means import Group, PriorResult, Slice, decimal
from vltr_eval.report.names import RANKS, Metric, interval_names

_ASCENDING = ("class", "name", "group")
_SMALLEST_DISTANCE = 1e-6  # a total variation below this would be 0.0000 in a table
_FEW = 0.1  # share of the labelled rows


def group_table(groups: Sequence[Group], metrics: Sequence[Metric]) -> Table:
    """Build the table with a line for each group: its classes, and the mean of each metric over them.

    Means with intervals have half the width behind them, as in ``0.4683 +- 0.0121``.
    """
    return Table("", _group_columns(groups, metrics, beside=True))


def group_text(groups: Sequence[Group], metrics: Sequence[Metric], *, width: int | None, bold: bool) -> str:
    """Write the table of groups as text.

    In a narrow table, half the width of an interval has a line of its own below the mean, because no column should be
    dropped for it.
    """
    table = group_table(groups, metrics)
    if any(group.intervals for group in groups) and not fits(table.columns, width):
        table = Table("", _group_columns(groups, metrics, beside=False))
    return table.to_text(width=width, bold=bold)


def _group_columns(groups: Sequence[Group], metrics: Sequence[Metric], *, beside: bool) -> list[Column]:
    """The columns of `group_table`. beside: whether half the width of an interval stands in the cell of the mean."""
    columns = [
        Column("", [group.name for group in groups], is_name=True),
        Column("classes", [f"{group.num_classes:,}" for group in groups], rank=RANKS["counts"]),
        _undefined_column(groups),
        *_metric_columns(metrics, [group.values for group in groups]),
    ]
    of_columns = [None, None, None, *(metric for metric in metrics if metric.heading)]
    found = []
    for column, metric in zip(columns, of_columns, strict=True):
        halves = [None if metric is None else _half_width(metric, group) for group in groups]
        if beside:
            cells = [
                cell if half is None else f"{cell} +- {half}" for cell, half in zip(column.cells, halves, strict=True)
            ]
        else:
            below = [half or ("  +-" if column.is_name else "") for half in halves]
            cells = [cell for pair in zip(column.cells, below, strict=True) for cell in pair]
        found.append(column._replace(cells=cells))
    return found


def _half_width(metric: Metric, group: Group) -> str | None:
    """Half the width of the interval of a group's mean, None without one."""
    if metric.name not in group.intervals or is_nan(group.values[metric.name]):
        return None
    low, high = group.intervals[metric.name]
    return _cell((high - low) / 2)


def means_table(title: str, groups: Mapping[str, Mapping[str, float]], metrics: Sequence[Metric]) -> Table:
    """Build a table with a title and a line for each group: the mean of each metric over its classes."""
    columns = [Column("", list(groups), is_name=True), *_metric_columns(metrics, list(groups.values()))]
    return Table(title, columns)


def level_in_words(level: float) -> str:
    """Return a level as a text table prints it: 0.95 is ``95%``."""
    return f"{100 * level:.10g}%"


def class_table(
    columns: Mapping[str, Sequence[Any]],
    metrics: Sequence[Metric],
    counts: Mapping[str, str],
    *,
    level: float | None = None,
    partitions: Sequence[str] = (),
    sort: str | None,
    limit: int | None,
) -> Table:
    """Build the table with a line for each class: its name and group, its counts, then the metrics.

    Args:
        columns: The per-class table, with the column "class".
        metrics: The metrics to show.
        counts: The columns of counts to show, and their headings.
        level: The level of the intervals; they have columns of their own. None without intervals.
        partitions: The columns of groups of one's own.
        sort: See `read_sort`.
        limit: Number of classes to show.

    Raises:
        ValueError: ``sort`` is no column, or ``limit`` is not positive.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"limit: expected a number of classes from 1 up, got {limit!r}")
    num_classes = len(columns["class"])
    chosen = _sorted_lines(columns, sort, partitions)[:limit]
    rows = [{name: column[line] for name, column in columns.items()} for line in chosen]
    headings = {"class": "class", "name": "name", "group": "group", "train_count": "train"}
    headings |= {**dict(zip(partitions, partitions, strict=True)), **counts}
    ranks = RANKS | {"class": 0, "name": 0, **dict.fromkeys(partitions, RANKS["group"])}
    known = [
        Column(
            heading,
            ["-" if row[name] is None else str(row[name]) for row in rows],
            rank=ranks.get(name, RANKS["counts"]),
            is_name=name in ("name", "group", *partitions),
        )
        for name, heading in headings.items()
        if name in columns
    ]
    intervals = [] if level is None else _interval_columns(metrics, rows, level)
    notes = []
    if len(rows) < num_classes:
        notes.append(f"{num_classes - len(rows):,} of {num_classes:,} classes left out by the limit")
    return Table("", [*known, *_metric_columns(metrics, rows, by_class=True), *intervals], notes)


def slice_table(slices: Sequence[Slice], metrics: Sequence[Metric]) -> Table:
    """Build the table with a line for each slice: its rows, its classes with positives, and the overall means."""
    overall = [part.groups[0] for part in slices]
    several = len({part.partition for part in slices}) > 1
    columns = [
        Column("", [f"{part.partition}:{part.name}" if several else part.name for part in slices], is_name=True),
        Column("rows", [f"{part.num_rows:,}" for part in slices], rank=RANKS["counts"]),
        Column("classes", [f"{group.num_classes - group.num_undefined:,}" for group in overall], rank=RANKS["counts"]),
        *_metric_columns(metrics, [group.values for group in overall]),
    ]
    return Table(f"by {' and '.join(dict.fromkeys(part.partition for part in slices))}", columns)


def prior_table(
    groups: Sequence[Group], results: Sequence[PriorResult], metrics: Sequence[Metric], labelled: int
) -> Table:
    """Build the table with a line for each class distribution, and sentences on distributions to be careful with.

    Args:
        groups: The means without weights, as the first line.
        results: The means under each distribution.
        metrics: mAP, shown for each group, then the Acc@k.
        labelled: Number of labelled rows.
    """
    mean, *accuracies = metrics
    lines = [groups, *(result.groups for result in results)]
    means = [
        Column(mean.heading if number == 0 else group.name, [_cell(line[number].values[mean.name]) for line in lines])
        for number, group in enumerate(groups)
    ]
    effective = [f"{labelled:,}", *(f"{result.effective_rows:,.1f}" for result in results)]
    columns = [
        Column("", ["as it is", *(result.name for result in results)], is_name=True),
        _undefined_column([line[0] for line in lines]),
        *means,
        *_metric_columns(accuracies, [line[0].values for line in lines]),
        Column("effective rows", effective, "eff.rows", RANKS["counts"]),
    ]
    cautions = [caution for result in results for caution in _cautions(result, labelled)]
    return Table("under other class distributions", columns, cautions)


def _cautions(result: PriorResult, labelled: int) -> list[str]:
    """A sentence for each reason to be careful with the result."""
    name, sentences = result.name, []
    if result.left_out:
        sentences.append(f"{name}: {result.left_out:.2%} of it is of absent classes and left out")
    if result.total_variation > _SMALLEST_DISTANCE:
        distance = decimal(result.total_variation)
        sentences.append(f"{name}: the labels allow it to be met to a total variation of {distance}")
    if result.effective_rows < labelled * _FEW:
        sentences.append(f"{name}: rests on few rows, as {result.effective_rows:,.1f} of {labelled:,} would")
    return sentences


def read_sort(sort: str, columns: Sequence[str], partitions: Sequence[str] = ()) -> tuple[str, bool]:
    """Return the column to sort by, and whether its largest value comes first.

    Args:
        sort: A column, or one with ``:asc`` or ``:desc``. Without these, class, name and group ascend and numbers
            descend.
        columns: The columns that there are.
        partitions: Those of them that are groups of one's own, which ascend too.

    Raises:
        ValueError: There is no such column.
    """
    name, colon, direction = sort.rpartition(":")
    if sort in columns:
        return sort, sort not in (*_ASCENDING, *partitions)
    if colon and name in columns and direction in ("asc", "desc"):
        return name, direction == "desc"
    column = name if colon and direction in ("asc", "desc") else sort
    near = nearest_name(column, columns)
    hint = "" if near is None else f"did you mean {near}? "
    raise ValueError(
        f"sort: expected a column, COLUMN:asc or COLUMN:desc, got {sort!r}; {hint}the columns are {', '.join(columns)}"
    )


def shortlist(classes: Sequence[int], most: int = 20) -> str:
    """List the first class indices for a sentence, and the number of the others."""
    listed = ", ".join(map(str, classes[:most]))
    return listed if len(classes) <= most else f"{listed} and {len(classes) - most:,} more"


def _sorted_lines(columns: Mapping[str, Sequence[Any]], sort: str | None, partitions: Sequence[str]) -> list[int]:
    """Indices of the table's lines in the order that `read_sort` describes; undefined values come last."""
    lines = range(len(columns["class"]))
    if sort is None:
        return list(lines)
    name, descending = read_sort(sort, list(columns), partitions)
    values = columns[name]
    undefined = [line for line in lines if values[line] is None or is_nan(values[line])]
    defined = [line for line in lines if not (values[line] is None or is_nan(values[line]))]
    return sorted(defined, key=values.__getitem__, reverse=descending) + undefined


def _undefined_column(groups: Sequence[Group]) -> Column:
    return Column("undefined", [f"{group.num_undefined:,}" for group in groups], "undef", RANKS["undefined"])


def _metric_columns(
    metrics: Sequence[Metric], rows: Sequence[Mapping[str, Any]], *, by_class: bool = False
) -> list[Column]:
    """A column for each metric with a heading; each row has the values by name. A spread stands in the same cell."""
    columns = []
    for metric in metrics:
        heading = metric.class_heading if by_class else metric.heading
        if heading:
            cells = [_metric_cell(metric, row, by_class) for row in rows]
            columns.append(Column(heading, cells, metric.short, metric.rank))
    return columns


def _interval_columns(metrics: Sequence[Metric], rows: Sequence[Mapping[str, Any]], level: float) -> list[Column]:
    """A column for the interval of each metric that has one."""
    columns = []
    for metric in metrics:
        if metric.interval:
            _, low, high = interval_names(metric.class_name)
            cells = ["-" if is_nan(row[low]) else f"[{decimal(row[low])}, {decimal(row[high])}]" for row in rows]
            heading = f"{metric.class_heading} {level_in_words(level)}"
            columns.append(Column(heading, cells, heading.replace(" ", ""), RANKS["interval"]))
    return columns


def _metric_cell(metric: Metric, row: Mapping[str, Any], by_class: bool) -> str:
    value = row[metric.class_name if by_class else metric.name]
    text = "-" if is_nan(value) else format(value, metric.form)
    if metric.spread is None:
        return text
    spread = row[metric.spread.class_name if by_class else metric.spread.name]
    return text if is_nan(spread) else f"{text} +- {decimal(spread)}"


def _cell(value: float) -> str:
    """A number as the tables show it, - where it is undefined."""
    return "-" if is_nan(value) else decimal(value)
