"""The tables of a comparison."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vltr_eval._base.text_table import BEST, NOT_WORSE, Column, Table
from vltr_eval.comparison.differences import ADJUSTMENTS, BestOfMean, MeanDifference, Outcomes
from vltr_eval.report.means import decimal
from vltr_eval.report.names import AP, EXPECTED_SAP, ROC_AUC, grouped_name

_SMALLEST_P = 0.0001  # a smaller p-value would be 0.0000 in a table


def mean_table(title: str, means: Sequence[MeanDifference], level: float) -> Table:
    """Build the table with a line for each mean: both values, the difference, its interval and its p-value."""
    columns = [
        Column("", [mean.name for mean in means], is_name=True),
        Column("base", [_number(mean.base) for mean in means]),
        Column("new", [_number(mean.new) for mean in means]),
        Column("difference", [_signed(mean.difference) for mean in means], "diff"),
        _interval_column([(mean.low, mean.high) for mean in means], level),
        Column("p", [p_text(mean.p_value) for mean in means]),
    ]
    columns.append(Column("detectable", [_number(mean.detectable) for mean in means], "detect.", 1))
    return Table(title, columns)


def system_table(names: Sequence[str], means: Sequence[BestOfMean], level: float) -> Table:
    """Build the table of a paper: a line for each system, a column for each mean, and the best value of each marked.

    Args:
        names: The names of the systems.
        means: The means to show, with the values of the systems in this order.
        level: The confidence level of the tests.
    """
    columns = [Column("", names, is_name=True)]
    marks = {}
    for place, mean in enumerate(means, 1):
        spreads = ["" if spread is None else f" +- {_number(spread)}" for spread in mean.deviations]
        cells = [
            _number(value) + ("" if math.isnan(value) else spread)
            for value, spread in zip(mean.values, spreads, strict=True)
        ]
        columns.append(Column(_mean_heading(mean.name), cells))
        for row in range(len(names)):
            if mean.is_best(row):
                marks[row, place] = BEST
            elif mean.is_not_worse(row, level):
                marks[row, place] = NOT_WORSE
    notes = []
    if any(spread is not None for mean in means for spread in mean.deviations):
        notes.append("+-: the standard deviation over the runs of a system")
    legend = {
        BEST: "the highest value of its column",
        NOT_WORSE: f"not significantly lower than the highest value of its column at the level {percent(level)}, by a "
        "paired test of these two systems; p is not adjusted for the number of systems or means",
    }
    used = {mark: meaning for mark, meaning in legend.items() if mark in marks.values()}
    return Table("systems", columns, notes, marks=marks, legend=used)


def default_means(names: Sequence[str]) -> list[str]:
    """The means that a table of systems shows: mAP of all classes and by group, exact SAP and Acc@k."""
    of_groups = grouped_name(AP, "")
    return [
        name
        for name in names
        if name in (AP.name, EXPECTED_SAP.name) or name.startswith(of_groups) or re.fullmatch(r"Acc@\d+", name)
    ]


def _mean_heading(name: str) -> str:
    """The heading of a mean by its flat name: ``mAP tail`` for ``mAP_tail``."""
    for metric in (AP, EXPECTED_SAP, ROC_AUC):
        if name == metric.name or name.startswith(grouped_name(metric, "")):
            return metric.heading + name[len(metric.name) :].replace("_", " ", 1)
    return name.replace("_", " ", 1)


def error_table(title: str, means: Sequence[MeanDifference]) -> Table:
    """Build the table of standard errors with a line for each mean: those of rows and of seeds, and both together."""
    seeds = [math.nan if mean.seed_error is None else mean.seed_error for mean in means]
    columns = [
        Column("", [mean.name for mean in means], is_name=True),
        Column("rows", [_number(mean.row_error) for mean in means]),
        Column("seeds", [_number(seed) for seed in seeds]),
        Column("both", [_number(mean.error) for mean in means]),
        Column("degrees of freedom", [_freedom(mean.degrees_of_freedom) for mean in means], "df"),
    ]
    return Table(title, columns)


def outcome_table(title: str, outcomes: Sequence[Outcomes]) -> Table:
    """Build the table with a line for each group: tested classes, and wins, losses and undecided ones."""
    groups = list(dict.fromkeys(outcome.group for outcome in outcomes))
    by_key = {(outcome.adjustment, outcome.group): outcome for outcome in outcomes}
    columns = [
        Column("", groups, is_name=True),
        Column("tested", [f"{by_key[next(iter(ADJUSTMENTS)), group].tested:,}" for group in groups]),
    ]
    for adjustment, short in ADJUSTMENTS.items():
        found = [by_key[adjustment, group] for group in groups]
        columns.append(Column(short, [f"{one.wins:,} / {one.losses:,} / {one.undecided:,}" for one in found]))
    return Table(title, columns)


def class_table(title: str, classes: Mapping[str, Sequence[Any]], shown: Sequence[int], level: float) -> Table:
    """Build the table of some classes: counts, both values, the difference and its interval."""

    def column(name: str) -> list[Any]:
        return [classes[name][c] for c in shown]

    columns = [Column("class", [str(c) for c in shown])]
    columns += [
        Column(name, list(map(str, column(name))), is_name=True) for name in ("name", "group") if name in classes
    ]
    if "train_count" in classes:
        columns.append(Column("train", [f"{count:,}" for count in column("train_count")], rank=2))
    columns.append(Column("positives", [f"{count:,}" for count in column("num_positives")], "pos."))
    if "positive_clusters" in classes:
        columns.append(Column("clusters", [f"{count:,}" for count in column("positive_clusters")], "clus.", 1))
    columns += [
        Column("base", list(map(_number, column("base"))), rank=3),
        Column("new", list(map(_number, column("new"))), rank=3),
        Column("difference", list(map(_signed, column("difference"))), "diff"),
    ]
    if not all(math.isnan(low) for low in column("low")):
        columns.append(_interval_column(list(zip(column("low"), column("high"), strict=True)), level))
        for name, short in ADJUSTMENTS.items():
            columns.append(Column(f"p ({short})", list(map(p_text, column(name))), f"p({short})", 4))
    return Table(title, columns)


def p_text(p_value: float) -> str:
    """Format a p-value as the tables show it."""
    if math.isnan(p_value):
        return "-"
    return f"<{_SMALLEST_P}" if p_value < _SMALLEST_P else decimal(p_value)


def percent(level: float) -> str:
    """Format a confidence level: ``95 %``."""
    return f"{100 * level:.10g} %"


def _interval_column(ends: Sequence[tuple[float, float]], level: float) -> Column:
    cells = ["-" if math.isnan(low) else f"[{_signed(low)}, {_signed(high)}]" for low, high in ends]
    return Column(f"{percent(level)} interval", cells, percent(level).replace(" ", ""))


def _number(value: float) -> str:
    return "-" if math.isnan(value) else decimal(value)


def _freedom(value: float) -> str:
    return "-" if math.isinf(value) or math.isnan(value) else f"{value:.1f}"


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value + 0.0:+.4f}"
