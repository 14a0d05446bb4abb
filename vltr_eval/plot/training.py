"""Learning curves of training runs, from plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vltr_eval.plot.style import (
    BLACK,
    DARK,
    GREY,
    LIGHT,
    PLAIN,
    THIN,
    WIDTH,
    Mark,
    add_axes,
    add_legend_above,
    add_title,
    drawing,
    group_marks,
    mark_of,
    new_figure,
    plain_number,
    readable,
    set_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Run = Mapping[str, Any]
"""A run as plain data.

"epochs" has the numbers of the epochs, and "columns" a list of the same length for each name, None where an epoch has
no value. Runs with the same "group" are repetitions with other seeds; without it, "name" takes its place. "stages" has
pairs of a name and its first epoch. The column "lr", if a run has it, gives the epochs from which on the learning rate
is lower.
"""

_PANEL = 1.25  # inches
_BAND = 0.2  # the opacity of a band: that of another group stays visible through it
_MARGIN = 0.15  # of the y-axis, where names of stages stand above the lines
_GRADUAL = 3  # a rate that falls in so many epochs one after the other has no steps to mark
_STAGE_LINE: Any = (0, (3, 2))
_RATE_LINE: Any = (0, (1, 1.5))


def learning_curves(runs: Sequence[Run], columns: Sequence[str] = ("loss",), *, ax: Axes | None = None) -> Axes:
    """Draw columns of training runs by epoch. Repetitions are one line, their mean, in a band from lowest to highest.

    The band spans the epochs in which all repetitions have a value; a run with other epochs also has a thin line. The
    first epoch of a stage has a dashed vertical line, and an epoch from which on the learning rate is lower a dotted
    one. A rate that falls in three or more epochs one after the other is gradual, and has none.

    Args:
        runs: The runs as plain data, see `Run`.
        columns: The columns, such as "loss", or "mAP_head" and "mAP_tail".
        ax: The axes to draw on; None makes a figure of one column.

    Returns:
        The axes.

    Raises:
        ValueError: There is no run, or no run has a value in a column.
        ImportError: matplotlib is not installed.

    Example:
        >>> run = {"name": "bce", "epochs": [0, 1], "columns": {"loss": [0.7, 0.5]}}
        >>> learning_curves([run]).get_ylabel()
        'loss'
    """
    columns = list(columns)
    _check(runs, columns)
    with drawing(ax) as ax:
        handles, names = _draw(ax, runs, columns)
        _add_stages(ax, runs, True)
        marked = _add_rate_falls(ax, runs)
        ax.set_xlabel("epoch")
        _add_legend(ax, handles, names, runs, marked)
    return ax


def training_figure(
    runs: Sequence[Run],
    panels: Sequence[Sequence[str]] | None = None,
    *,
    width: float = WIDTH,
    title: str | None = None,
) -> Figure:
    """Draw learning curves in panels above each other: the loss, then the validation metrics.

    Runs of one method have one panel of metrics, with a line for each group. Runs of several methods have a panel for
    each metric. Bands and vertical lines are those of `learning_curves`.

    Args:
        runs: The runs as plain data, see `Run`.
        panels: The columns of each panel; None chooses the loss and mAP, overall and by group.
        width: Inches.
        title: A title above the panels.

    Returns:
        The figure.

    Raises:
        ValueError: There is no run, or no run has a value in a column.
        ImportError: matplotlib is not installed.

    Example:
        >>> run = {"name": "bce", "epochs": [0, 1], "columns": {"loss": [0.7, 0.5], "mAP": [None, 0.3]}}
        >>> [ax.get_ylabel() for ax in training_figure([run]).axes]
        ['loss', 'mAP']
    """
    chosen = default_panels(runs) if panels is None else [list(panel) for panel in panels]
    for panel in chosen:
        _check(runs, panel, "panels (--panel)")
    with new_figure(0.35 + _PANEL * len(chosen)) as figure:
        set_width(figure, width)
        axes: list[Axes] = []
        for number, panel in enumerate(chosen, 1):
            ax = add_axes(figure, len(chosen), 1, number, **({"sharex": axes[0]} if axes else {}))
            axes.append(ax)
            handles, names = _draw(ax, runs, panel)
            _add_stages(ax, runs, number == 1)
            marked = _add_rate_falls(ax, runs)
            if number == 1:
                _add_legend(ax, handles, names, runs, marked, width)
            elif len(panel) > 1:
                add_legend_above(ax, handles, names, width=width)
            if number < len(chosen):
                ax.tick_params(labelbottom=False)
        axes[-1].set_xlabel("epoch")
        figure.align_ylabels(axes)
        if title is not None:
            add_title(figure, title)
    return figure


def default_panels(runs: Sequence[Run]) -> list[list[str]]:
    """Return the columns of each panel: the loss, then mAP, overall and by group."""
    known = {name for run in runs for name, values in run["columns"].items() if any(map(_is_number, values))}
    metrics = [name for name in ("mAP", *_by_group(runs, known)) if name in known]
    of_metrics = [metrics] if len(_repetitions(runs)) == 1 else [[name] for name in metrics]
    return [["loss"], *(panel for panel in of_metrics if panel)]


def _by_group(runs: Sequence[Run], known: set[str]) -> list[str]:
    """The columns of mAP by group, in the order of the run's columns."""
    names = dict.fromkeys(name for run in runs for name in run["columns"] if name in known)
    ends = ("_se", "_low", "_high")
    return [name for name in names if name.startswith("mAP_") and not name.endswith(ends)]


def _draw(ax: Axes, runs: Sequence[Run], columns: Sequence[str]) -> tuple[list[Any], list[str]]:
    """Draw the runs; return the lines of the legend and their names."""
    handles, names = [], []
    repetitions = _repetitions(runs)
    for number, (group, own) in enumerate(repetitions.items()):
        for column, mark in zip(columns, _marks(columns, number, len(repetitions)), strict=True):
            lines = [_points(run, column) for run in own]
            handles.append(_draw_line(ax, *lines[0], mark) if len(own) == 1 else _draw_band(ax, lines, mark))
            words = [readable(group, 24)] if len(repetitions) > 1 else []
            words += [_column_name(column)] if len(columns) > 1 else []
            names.append(", ".join(words) or readable(group, 24))
    metric, _, part = columns[0].partition("_")
    label = f"{metric}, {part}" if metric == "mAP" and part else columns[0]
    ax.set_ylabel(readable(label if len(columns) == 1 else metric), **PLAIN)
    ax.yaxis.set_major_formatter(plain_number)
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    return handles, names


def _draw_line(ax: Axes, epochs: list[float], values: list[float], mark: Mark) -> Any:
    """Draw one line, and return it. A single point is a marker."""
    marker = mark.marker if len(epochs) == 1 else ""
    (line,) = ax.plot(epochs, values, color=mark.color, linestyle=mark.dash, linewidth=1.1, marker=marker, zorder=3)
    return line


def _draw_band(ax: Axes, lines: Sequence[tuple[list[float], list[float]]], mark: Mark) -> Any:
    """Draw the mean of repetitions in a band from the lowest to the highest, and return the mean's line."""
    values = [dict(zip(*line, strict=True)) for line in lines]
    shared = sorted(set.intersection(*map(set, values)))
    rows = [[run[epoch] for run in values] for epoch in shared]
    low, high = list(map(min, rows)), list(map(max, rows))
    if len(shared) == 1:
        ax.vlines(shared, low, high, color=mark.color, linewidth=3.0, alpha=_BAND, zorder=2)
    elif shared:
        ax.fill_between(shared, low, high, color=mark.color, linewidth=0.0, alpha=_BAND, zorder=2)
    for epochs, own in lines:
        if epochs != shared:
            ax.plot(epochs, own, color=mark.color, linewidth=0.4, marker=mark.marker if len(epochs) == 1 else "")
    return _draw_line(ax, shared, [math.fsum(row) / len(row) for row in rows], mark)


def _add_legend(
    ax: Axes, handles: list[Any], names: list[str], runs: Sequence[Run], marks_rates: bool, width: float = WIDTH
) -> None:
    """Add the legend of lines, bands and vertical lines."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    numbers = sorted({len(own) for own in _repetitions(runs).values()} - {1})
    if numbers:
        several = " to ".join(f"{number}" for number in dict.fromkeys((numbers[0], numbers[-1])))
        handles.append((Patch(color=GREY, alpha=2 * _BAND, linewidth=0.0), Line2D([], [], color=DARK, linewidth=1.1)))
        names.append(f"mean, min to max of {several} runs")
    if marks_rates:
        handles.append(Line2D([], [], color=GREY, linewidth=THIN, linestyle=_RATE_LINE))
        names.append("learning rate falls")
    add_legend_above(ax, handles, names, width=width)


def _marks(columns: Sequence[str], number: int, num_groups: int) -> list[Mark]:
    """The look of the columns of one group of runs. One group has a colour for each column, several have one each."""
    if num_groups > 1:
        return [mark_of(number)._replace(dash=mark_of(place or number).dash) for place in range(len(columns))]
    if len(columns) == 1:
        return [mark_of(number)]
    marks = group_marks(list(dict.fromkeys(_column_name(column) for column in columns if column not in _OVERALL)))
    return [Mark(BLACK, "o", "-", "") if column in _OVERALL else marks[_column_name(column)] for column in columns]


_OVERALL = ("mAP",)


def _column_name(column: str) -> str:
    """The group of a metric, or the column."""
    return readable(column.partition("_")[2] if column.startswith("mAP_") else column, 16)


def _points(run: Run, column: str) -> tuple[list[float], list[float]]:
    """The epochs with a value, and the values."""
    pairs = zip(run["epochs"], run["columns"].get(column, [None] * len(run["epochs"])), strict=True)
    known = [(epoch, value) for epoch, value in pairs if _is_number(value)]
    return [epoch for epoch, _ in known], [value for _, value in known]


def _add_stages(ax: Axes, runs: Sequence[Run], has_names: bool) -> None:
    """Add a line at the beginning of each stage but the first, and the names of several stages."""
    stages = sorted(dict.fromkeys((first, str(name)) for run in runs for name, first in run.get("stages", ())))
    if len({first for first, _ in stages}) < 2:
        return
    last = max(epoch for run in runs for epoch in run["epochs"])
    ends = [*(first for first, _ in stages[1:]), last + 1]
    if has_names:
        ax.margins(y=_MARGIN)
    for number, ((first, name), end) in enumerate(zip(stages, ends, strict=True)):
        if number:
            ax.axvline(first - 0.5, color=LIGHT, linewidth=THIN, linestyle=_STAGE_LINE, zorder=1)
        if has_names:
            ax.annotate(
                readable(name, 16), ((first + end - 1) / 2, 1.0), (0, -1), xycoords=("data", "axes fraction"),
                textcoords="offset points", ha="center", va="top", color=GREY, fontsize="small", **PLAIN,
            )  # fmt: skip


def _add_rate_falls(ax: Axes, runs: Sequence[Run]) -> bool:
    """Add a line where the learning rate falls, and return whether there is one.

    A fall of one group among several has its colour.
    """
    falls = [{epoch for run in own for epoch in _rate_falls(run)} for own in _repetitions(runs).values()]
    for epoch in sorted(set().union(*falls)):
        groups = [number for number, epochs in enumerate(falls) if epoch in epochs]
        color = mark_of(groups[0]).color if len(groups) == 1 < len(falls) else GREY
        ax.axvline(epoch - 0.5, color=color, linewidth=THIN, linestyle=_RATE_LINE, zorder=1)
    return any(falls)


def _rate_falls(run: Run) -> list[float]:
    """The epochs whose learning rate is below that of the epoch before, in the same stage, by steps."""
    epochs, rates = _points(run, "lr")
    begun = {first for _, first in run.get("stages", ())}
    found: list[float] = []
    row: list[float] = []  # falls one after the other
    for epoch, before, rate in zip(epochs[1:], rates, rates[1:], strict=False):
        if rate < before and epoch not in begun:
            row.append(epoch)
        else:
            found += row if len(row) < _GRADUAL else []
            row = []
    return found + (row if len(row) < _GRADUAL else [])


def _repetitions(runs: Sequence[Run]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(str(run.get("group") or run["name"]), []).append(run)
    return found


def _check(runs: Sequence[Run], columns: Sequence[str], argument: str = "columns") -> None:
    if not runs:
        raise ValueError("runs: expected at least one run, got none")
    if not columns:
        raise ValueError(f"{argument}: expected at least one column, got none")
    for column in columns:
        if not any(map(_is_number, (value for run in runs for value in run["columns"].get(column, ())))):
            known = dict.fromkeys(name for run in runs for name in run["columns"])
            raise ValueError(f"{argument}: expected columns with values, among {', '.join(known)}, got {column!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
