"""Bars of the means by group, and reliability by group."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vltr_eval._base.arguments import unknown_name
from vltr_eval._base.text_table import display_width
from vltr_eval.plot.report_data import named_reports
from vltr_eval.plot.style import (
    BLACK,
    DARK,
    PLAIN,
    add_diagonal,
    add_legend,
    add_legend_above,
    axes_width,
    drawing,
    group_marks,
    mark_of,
    readable,
    share_axis,
    square_axes,
)
from vltr_eval.report.names import OVERALL
from vltr_eval.report.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NUMBERS = 8
"""Bars: more of them have no numbers on top, which would overlap."""

MOST_WITHIN = 6
"""Lines: the legend of more is above the axes, where it hides none."""

_CHARACTERS = 17  # of an inch in tick labels, with their gaps


def group_bars(
    reports: Report | Mapping[str, Report] | Sequence[Report],
    metric: str = "mAP",
    *,
    groups: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a mean as bars: overall and of each group, with its interval if the report has intervals.

    Args:
        reports: A report; or several, which stand side by side, best by name: ``{"bce": one, "framestack": other}``.
        metric: The flat name of the mean over all classes, such as "mAP", "SAP" or "Acc@1".
        groups: The names of the groups in their order; default: overall and all groups of the reports.
        ax: The axes to draw on; None makes a figure of one column.

    Returns:
        The axes.

    Raises:
        ValueError: A report lacks the metric, or no report has a group.
        TypeError: ``reports`` has something that is no report.
        ImportError: matplotlib is not installed.

    Example:
        >>> import vltr_eval
        >>> scores, labels = np.float32([[0.9, 0.1], [0.8, 0.7], [0.7, 0.2]]), np.uint8([[1, 0], [0, 1], [1, 0]])
        >>> report = vltr_eval.evaluate(scores, labels, train_counts=[900, 20], bounds=(100, 100))
        >>> [text.get_text() for text in group_bars(report).get_xticklabels()]
        ['overall', 'head', 'medium', 'tail']
    """
    named = named_reports(reports)
    heading = metric
    for report in named.values():
        known = {shown.name: shown for shown in report.settings.metrics}
        if metric not in known:
            raise unknown_name("metric", metric, known)
        heading = known[metric].heading.partition(" +-")[0] or metric
    names = list(dict.fromkeys(group.name for report in named.values() for group in report.groups))
    for name in groups or ():
        if name not in names:
            raise unknown_name("groups", name, names)
    names = names if groups is None else list(groups)
    width = 0.8 / len(named)
    with drawing(ax, 2.0) as ax:
        handles, highest = [], 0.0
        for number, report in enumerate(named.values()):
            mark, by_name = mark_of(number), {group.name: group for group in report.groups}
            positions = [
                index + (number - (len(named) - 1) / 2) * width for index, name in enumerate(names) if name in by_name
            ]
            own = [by_name[name] for name in names if name in by_name]
            values = [group.values[metric] for group in own]
            ends = [group.intervals.get(metric, (math.nan, math.nan)) for group in own]
            handles.append(
                ax.bar(
                    positions,
                    values,
                    width * 0.92,
                    color=mark.color,
                    edgecolor="white" if mark.hatch else mark.color,
                    hatch=mark.hatch,
                    linewidth=0,
                    zorder=2,
                )
            )
            _add_errors(ax, positions, values, ends)
            tops = [high if high == high else value for value, (_, high) in zip(values, ends, strict=True)]
            highest = max(highest, *(top for top in tops if top == top), 0.0)
            if len(named) * len(names) <= MOST_NUMBERS:
                _add_numbers(ax, positions, values, tops, 3 if len(named) == 1 else 2)
        shown = [readable(name, 16) for name in names]
        fits = max(map(display_width, shown), default=0) * len(shown) <= _CHARACTERS * axes_width(ax)
        slant: dict[str, Any] = {} if fits else {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
        ax.set_xticks(range(len(names)), labels=shown, **PLAIN, **slant)
        ax.tick_params(axis="x", length=0)
        ax.set_xlim(-0.55, len(names) - 0.45)
        share_axis(ax.yaxis, 0.0, 1.0)
        ax.set_ylim(0.0, max(1.0, highest + 0.08) if highest > 0.5 else highest * 1.15 + 0.02)
        ax.set_ylabel(heading, **PLAIN)
        if len(named) > 1:
            add_legend_above(ax, handles, [readable(name) for name in named], 3)
    return ax


def _add_errors(
    ax: Axes, positions: Sequence[float], values: Sequence[float], ends: Sequence[tuple[float, float]]
) -> None:
    """Add the intervals, which need not be symmetric and need not contain the value to the last bit."""
    known = [index for index, (low, _) in enumerate(ends) if low == low and values[index] == values[index]]
    if known:
        lengths = np.array(
            [[max(values[index] - ends[index][0], 0.0), max(ends[index][1] - values[index], 0.0)] for index in known]
        )
        ax.errorbar(
            [positions[index] for index in known],
            [values[index] for index in known],
            lengths.T,
            fmt="none",
            ecolor=BLACK,
            elinewidth=0.8,
            capsize=1.5,
            capthick=0.8,
            zorder=3,
        )


def _add_numbers(
    ax: Axes, positions: Sequence[float], values: Sequence[float], tops: Sequence[float], digits: int
) -> None:
    for position, value, top in zip(positions, values, tops, strict=True):
        text, height = (f"{value:.{digits}f}", top) if value == value else ("-", 0.0)
        ax.annotate(
            text, (position, height), (0, 1.5), textcoords="offset points", ha="center", va="bottom", color=DARK
        )


def reliability(source: Report | Mapping[str, Any], *, ax: Axes | None = None) -> Axes:
    """Draw how often the labels are positive against the mean score, in bins of scores and by group.

    A calibrated model lies on the diagonal. The legend has the expected calibration error (ECE) of each group. Bins
    without scores have no point.

    Args:
        source: A report with calibration, or that section of its JSON: "bins", and "groups" with the "count",
            "mean_score", "frequency" and "ECE" of each.
        ax: The axes to draw on; None makes a figure of one column.

    Returns:
        The axes.

    Raises:
        ValueError: The report has no calibration, or the section lacks a part.
        ImportError: matplotlib is not installed.

    Example:
        >>> section = {"count": [8, 2], "mean_score": [0.1, 0.9], "frequency": [0.125, 0.5], "ECE": 0.1}
        >>> reliability({"bins": 2, "groups": {"overall": section}}).get_xlabel()
        'mean score'
    """
    groups = _calibration(source)
    with drawing(ax, 3.1) as ax:
        add_diagonal(ax)
        handles, names = [], []
        marks = group_marks([name for name in groups if name != OVERALL])
        for name, (scores, frequencies, error) in groups.items():
            is_overall = name == OVERALL
            mark = marks.get(name, mark_of(0))
            (line,) = ax.plot(
                scores,
                frequencies,
                color=BLACK if is_overall else mark.color,
                marker="." if is_overall else mark.marker,
                linestyle="-" if is_overall else mark.dash,
                linewidth=1.2 if is_overall else 0.9,
                markersize=4.0 if is_overall else 3.0,
                markeredgewidth=0,
                zorder=2,
            )
            handles.append(line)
            names.append(f"{readable(name, 16)}, ECE {error:.3f}" if error == error else readable(name, 16))
        square_axes(ax)
        ax.set_xlabel("mean score")
        ax.set_ylabel("share of positives")
        corner = None if len(names) > MOST_WITHIN else _free_corner(groups.values(), names)
        if corner is None:
            add_legend_above(ax, handles, names, 2)
        else:
            add_legend(ax, handles, names, loc=corner)
    return ax


def _free_corner(curves: Iterable[tuple[list[float], list[float], float]], names: Sequence[str]) -> str | None:
    """The corner off the diagonal in which a legend covers no curve: the upper left one, or the lower right one."""
    width = 0.12 + 0.021 * max(map(len, names), default=0)  # of the axes, which are from 0 to 1
    height = 0.04 + 0.055 * len(names)
    x = np.linspace(0, 1, 201)
    is_free = {"upper left": True, "lower right": True}
    for scores, frequencies, _ in curves:
        if scores:
            y = np.interp(x, scores, frequencies, left=np.nan, right=np.nan)
            is_free["upper left"] &= not np.any((x < width) & (y > 1 - height))
            is_free["lower right"] &= not np.any((x > 1 - width) & (y < height))
    return next((corner for corner, free in is_free.items() if free), None)


def _calibration(source: Any) -> dict[str, tuple[list[float], list[float], float]]:
    """The mean scores and frequencies of the filled bins, and the error, by group."""
    section = source if isinstance(source, Mapping) else getattr(source, "calibration", None)
    if section is None:
        raise ValueError(
            "report: expected calibration, got a report without it; evaluate with calibration= (--calibration)"
        )
    found = {}
    try:
        section = section if isinstance(section, Mapping) else section.document()
        for name, group in section["groups"].items():
            bins = zip(group["count"], group["mean_score"], group["frequency"], strict=True)
            filled = [(float(score), float(share)) for count, score, share in bins if count]
            error = group["ECE"]
            scores, shares = ([pair[index] for pair in filled] for index in (0, 1))
            found[str(name)] = scores, shares, math.nan if error is None else float(error)
    except KeyError as error:
        raise ValueError(
            f"source: expected groups with count, mean_score, frequency and ECE, got none of the name {error}"
        ) from None
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"source: expected groups with lists of numbers, one for each bin, got {error}") from None
    return found
