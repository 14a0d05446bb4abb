"""The tables of a comparison as text, Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vltr_eval._base.text_table import Column, printable, text_table
from vltr_eval.comparison.differences import ADJUSTMENTS, MeanDifference, Outcomes
from vltr_eval.report.means import decimal

_SMALLEST_P = 0.0001  # a smaller p-value would be 0.0000 in a table


@dataclass(frozen=True, eq=False)
class Table:
    """A table with a title, and sentences that follow it.

    Attributes:
        title: One line; "" for none.
        columns: The columns, all with the same number of cells.
        notes: Sentences below it.
    """

    title: str
    columns: list[Column]
    notes: tuple[str, ...] = ()

    def rows(self) -> list[list[str]]:
        """The cells, row by row."""
        return [list(cells) for cells in zip(*(column.cells for column in self.columns), strict=True)]


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


def as_text(tables: Sequence[Table], *, width: int | None, bold: bool) -> str:
    """Write tables as aligned text."""
    blocks = []
    for table in tables:
        title = f"{printable(table.title)}\n" if table.title else ""
        body = text_table(table.columns, width=width, bold=bold) if table.columns else ""
        blocks.append(title + body + "".join(f"{note}\n" for note in table.notes))
    return "\n".join(blocks)


def as_markdown(tables: Sequence[Table]) -> str:
    """Write tables as Markdown."""
    blocks = []
    for table in tables:
        lines = [f"### {_markdown(table.title)}", ""] if table.title else []
        if table.columns:
            lines.append(_markdown_row([column.heading for column in table.columns]))
            lines.append("|" + "|".join("---" if column.is_name else "---:" for column in table.columns) + "|")
            lines += [*map(_markdown_row, table.rows()), ""]
        lines += [f"- {_markdown(note)}" for note in table.notes]
        blocks.append("\n".join(lines).rstrip("\n") + "\n")
    return "\n".join(blocks)


def as_latex(tables: Sequence[Table]) -> str:
    """Write tables as LaTeX for the package booktabs; titles and notes are comments."""
    blocks = []
    for table in tables:
        lines = [f"% {printable(line)}" for line in (table.title, *table.notes) if line]
        if table.columns:
            kinds = "".join("l" if column.is_name else "r" for column in table.columns)
            head, *rows = (
                " & ".join(map(_latex, row)) + r" \\"
                for row in ([column.heading for column in table.columns], *table.rows())
            )
            lines += [f"\\begin{{tabular}}{{{kinds}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
            lines.append(r"\end{tabular}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


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


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_markdown(cell).replace("|", "\\|") for cell in cells) + " |"


def _markdown(text: str) -> str:
    """Text in which no character is a mark of Markdown or HTML."""
    escaped = printable(text).replace("\\", "\\\\")
    for mark in "*_`<[":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


def _latex(text: str) -> str:
    """Text in which no character is a command of LaTeX; a minus before a digit is a minus sign."""
    escaped = "".join(_LATEX.get(char, char) for char in printable(text))
    # A bracket at the start of a row would be an argument of the line break before it.
    escaped = f"{{}}{escaped}" if escaped.startswith("[") else escaped
    return escaped.replace("[-", "[$-$").replace(" -", " $-$") if "[" in escaped else _minus(escaped)


def _minus(text: str) -> str:
    return f"$-${text[1:]}" if text.startswith("-") and text != "-" else text
