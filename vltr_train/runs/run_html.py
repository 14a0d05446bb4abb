"""A run in a notebook: its method and data, the last and best metrics, small learning curves, and its settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vltr_eval._base.notebook_html import curve, folded, notebook_html, paragraph
from vltr_eval._base.table_forms import as_html
from vltr_eval._base.text_table import Column, Table
from vltr_eval.report import AP, grouped_name

if TYPE_CHECKING:
    from vltr_train.runs.run_folder import RunFolder

__all__ = ["run_html"]

_LOSS = "loss"


def run_html(run: RunFolder) -> str:
    """Return a run as HTML for a notebook, from config.json and metrics.csv alone."""
    document, epochs = run.document, run.epochs
    settings, data = document.get("settings", {}), document.get("dataset", {})
    preset = document.get("preset")
    name = str(document.get("method")) + (f":{preset}" if preset else "")
    count = f"{len(epochs):,} epoch" + "s" * (len(epochs) != 1)
    facts = [f"data {data.get('name')}", f"seed {settings.get('seed')}", count, f"folder {run.path}"]
    shown = [_LOSS, *(column for column in _columns(epochs) if column.startswith((AP.name, grouped_name(AP, ""))))]
    numbers = {column: _numbers(epochs, column) for column in shown}
    numbers = {column: values for column, values in numbers.items() if values}
    curves = [curve(column, [x for x, _ in values], [y for _, y in values]) for column, values in numbers.items()]
    rows = Table("", [Column("", list(settings), is_name=True), Column("value", list(map(str, settings.values())))])
    parts = [paragraph(", ".join(facts)), *curves]
    if numbers:
        parts.append(as_html([_metric_table(numbers)]))
    return notebook_html(f"Run of {name}", *parts, folded(f"{len(settings):,} settings", as_html([rows])))


def _columns(epochs: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for line in epochs for column in line))


def _numbers(epochs: Sequence[dict[str, Any]], column: str) -> list[tuple[int, float]]:
    """The epochs that have a finite number in the column, and the numbers."""
    found = [(line["epoch"], line[column]) for line in epochs if isinstance(line.get(column), (int, float))]
    return [(epoch, float(value)) for epoch, value in found if math.isfinite(value)]


def _metric_table(numbers: dict[str, list[tuple[int, float]]]) -> Table:
    """The last and the best value of each column: the lowest loss, and the highest metric."""
    best = [(min if column == _LOSS else max)(values, key=lambda value: value[1]) for column, values in numbers.items()]
    return Table(
        "",
        [
            Column("", list(numbers), is_name=True),
            Column("last", [f"{values[-1][1]:.4f}" for values in numbers.values()]),
            Column("best", [f"{value:.4f}" for _, value in best]),
            Column("in epoch", [f"{epoch:,}" for epoch, _ in best]),
        ],
    )
