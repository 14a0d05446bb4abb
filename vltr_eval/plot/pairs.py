"""Figures of comparisons: a system beside its baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vltr_eval._base.arguments import unknown_name
from vltr_eval.comparison.differences import ADJUSTMENTS
from vltr_eval.comparison.result import Comparison, SystemComparison
from vltr_eval.plot.style import (
    BLACK,
    DARK,
    GREY,
    GROUP_PLACES,
    LIGHT,
    MARKS,
    PLAIN,
    THIN,
    add_diagonal,
    add_legend_above,
    drawing,
    group_marks,
    mark_of,
    readable,
    signed_axis,
    square_axes,
)
from vltr_eval.report.names import AP, OVERALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ORDERS = {"difference": "classes by difference", "train_count": "classes by training samples", "class": "class"}

SORTS = tuple(_ORDERS)
"""The orders of `class_differences`."""

_TRADES = (("head", "tail"), ("many", "few"), ("f", "r"))
_WIN, _LOSS = MARKS[0], MARKS[2]
_LINE_HEIGHT = 0.135  # inches of a class in a list


def class_scatter(comparison: Comparison, system: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the metric of each class with a system against that with the baseline; above the diagonal it is better.

    Filled points are classes whose difference is significant after Benjamini and Hochberg's adjustment. Without tests
    of single classes all points are filled.

    Args:
        comparison: The comparison.
        system: The name of the system; not needed if there is one.
        ax: The axes to draw on; None makes a figure of one column.

    Returns:
        The axes.

    Raises:
        ValueError: There is no such system, or several and none is named.
        ImportError: matplotlib is not installed.

    Example:
        >>> class_scatter(_example()).get_ylabel()
        'AP of new'
    """
    chosen = _system_of(comparison, system)
    base, new = (np.array(chosen.classes[side], np.float64) for side in ("base", "new"))
    is_significant = np.array(chosen.classes["benjamini_hochberg"], np.float64) <= 1 - comparison.level
    shown = ~(np.isnan(base) | np.isnan(new))
    is_share = bool(np.all((base[shown] >= 0) & (new[shown] >= 0)))
    low = 0.5 if is_share and np.min([base[shown], new[shown]], initial=1.0) >= 0.5 else 0.0
    with drawing(ax, 3.1) as ax:
        add_diagonal(ax, low)
        handles, names = [], []
        of_class = chosen.classes.get("group")
        groups = _train_groups(comparison) or [""]
        for name, mark in group_marks(groups).items():
            mask = shown if of_class is None or not name else shown & (np.array(of_class, object) == name)
            filled = mask & (is_significant if chosen.is_tested else True)
            style: dict[str, Any] = {
                "color": mark.color,
                "marker": mark.marker,
                "linestyle": "none",
                "markersize": 3.0,
                "markeredgewidth": 0.5,
                "zorder": 3,
            }
            ax.plot(base[mask & ~filled], new[mask & ~filled], fillstyle="none", alpha=0.5, **style)
            (points,) = ax.plot(base[filled], new[filled], alpha=0.9, **style)
            handles.append(points)
            names.append(readable(name, 14))
        square_axes(ax, low)
        ax.set_xlabel(f"{comparison.class_metric} of {readable(comparison.base)}", **PLAIN)
        ax.set_ylabel(f"{comparison.class_metric} of {readable(chosen.name)}", **PLAIN)
        if groups != [""]:
            add_legend_above(ax, handles, names)
        if chosen.is_tested:
            overall = next(outcome for outcome in chosen.outcomes(comparison.level) if _is_overall_bh(outcome))
            text = f"{overall.wins:,} better\n{overall.losses:,} worse\n{overall.undecided:,} undecided"
            untested = int(np.count_nonzero(shown)) - overall.tested
            text += f"\n{untested:,} not tested" if untested else ""
            is_above = float(np.mean(new[shown] - base[shown])) > 0  # most points, so the other corner is free
            place: dict[str, Any] = {"x": 0.97, "y": 0.03, "ha": "right", "va": "bottom"}
            if not is_above:
                place = {"x": 0.03, "y": 0.97, "ha": "left", "va": "top"}
            ax.text(s=text, transform=ax.transAxes, color=DARK, **place, **PLAIN)
    return ax


def class_differences(
    comparison: Comparison,
    system: str | None = None,
    *,
    limit: int | None = 20,
    sort: str = "difference",
    ax: Axes | None = None,
) -> Axes:
    """Draw the differences of single classes with their intervals, in order.

    With a limit the classes that moved most are a list with names. Without one all classes with enough positives are a
    curve. Intervals need predictions of both systems; saved evaluations have the differences alone.

    Args:
        comparison: The comparison.
        system: The name of the system; not needed if there is one.
        limit: The number of the classes that moved most; None for all classes.
        sort: The order: "difference", "train_count" or "class".
        ax: The axes to draw on; None makes a figure of one column, as high as the list needs.

    Returns:
        The axes.

    Raises:
        ValueError: The system or the order does not exist, or no class has enough positives.
        ImportError: matplotlib is not installed.

    Example:
        >>> len(class_differences(_example(), limit=2).get_yticks())
        2
    """
    chosen = _system_of(comparison, system)
    if sort not in SORTS:
        raise unknown_name("sort", sort, SORTS)
    if limit is not None and limit < 1:
        raise ValueError(f"limit: expected a number from 1 up, or None for all classes, got {limit}")
    if sort == "train_count" and "train_count" not in chosen.classes:
        raise ValueError("sort: expected training counts for the order by train_count, got a comparison without them")
    moved = chosen.moved_most(comparison.num_classes if limit is None else limit)
    if not moved:
        raise ValueError("comparison: expected a class with at least 10 positives, got none")
    keys = {"class": moved, **{name: chosen.classes.get(name, ()) for name in SORTS[:2]}}
    order = sorted(moved, key=(lambda c: (keys[sort][c], c)) if sort != "class" else None)
    columns = {name: np.array([chosen.classes[name][c] for c in order]) for name in ("difference", "low", "high")}
    height = 2.0 if limit is None else 0.55 + _LINE_HEIGHT * len(order)
    with drawing(ax, height) as ax:
        if limit is None:
            _draw_all(ax, columns, sort)
        else:
            _draw_list(ax, columns, order, chosen)
        if limit is None:
            ax.set_ylabel(f"difference in {comparison.class_metric}", **PLAIN)
            ax.set_xlabel(_ORDERS[sort], **PLAIN)
        else:
            sides = f"{readable(chosen.name, 14)} \N{MINUS SIGN} {readable(comparison.base, 14)}"
            ax.set_xlabel(f"difference in {comparison.class_metric}, {sides}", **PLAIN)
    return ax


def _draw_list(ax: Axes, columns: dict[str, np.ndarray], order: Sequence[int], chosen: SystemComparison) -> None:
    """A line for each class, from the bottom up."""
    values, low, high = columns["difference"], columns["low"], columns["high"]
    rows = np.arange(len(order))
    of_class = chosen.classes.get("group")
    groups = list(dict.fromkeys(of_class)) if of_class is not None else [""]
    marks = group_marks(_ordered(groups))
    ax.axvline(0, color=GREY, linewidth=THIN, zorder=1)
    known = ~np.isnan(low)
    ax.hlines(rows[known], low[known], high[known], color=DARK, linewidth=0.8, zorder=2)
    handles, names = [], []
    for name, mark in marks.items():
        mask = np.array([of_class is None or of_class[c] == name for c in order])
        if mask.any():
            (points,) = ax.plot(
                values[mask],
                rows[mask],
                color=mark.color,
                marker=mark.marker,
                linestyle="none",
                markersize=3.5,
                markeredgewidth=0,
                zorder=3,
            )
            handles.append(points)
            names.append(readable(name, 14))
    class_names = chosen.classes.get("name")
    labels = [f"class {c}" if class_names is None else readable(class_names[c], 24) for c in order]
    ax.set_yticks(rows, labels=labels, **PLAIN)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(-0.7, len(order) - 0.3)
    signed_axis(ax.xaxis, 4)
    if of_class is not None:
        add_legend_above(ax, handles, names)


def _draw_all(ax: Axes, columns: dict[str, np.ndarray], sort: str) -> None:
    """A curve through all classes, with their intervals as a band."""
    values, low, high = columns["difference"], columns["low"], columns["high"]
    positions = np.arange(len(values))
    ax.axhline(0, color=GREY, linewidth=THIN, zorder=1)
    known, width = ~np.isnan(low), max(0.2, min(1.5, 120 / len(values)))
    ax.vlines(positions[known], low[known], high[known], color=LIGHT, linewidth=width, zorder=2)
    is_curve = sort == "difference"
    ax.plot(
        positions,
        values,
        color=BLACK,
        linewidth=1.0 if is_curve else 0,
        marker="" if is_curve else ".",
        markersize=2.0,
        zorder=3,
    )
    ax.set_xlim(-0.5 - 0.01 * len(values), len(values) - 0.5 + 0.01 * len(values))
    signed_axis(ax.yaxis)


def group_outcomes(comparison: Comparison, *, adjustment: str = "benjamini_hochberg", ax: Axes | None = None) -> Axes:
    """Draw the shares of classes that are worse, undecided and better, by group, with their numbers.

    Args:
        comparison: A comparison with tests of single classes, which needs predictions of all systems.
        adjustment: "benjamini_hochberg" or "holm", for the number of tested classes.
        ax: The axes to draw on; None makes a figure of one column, as high as the list needs.

    Returns:
        The axes.

    Raises:
        ValueError: The comparison has no tests of single classes, or there is no such adjustment.
        ImportError: matplotlib is not installed.

    Example:
        >>> [text.get_text() for text in group_outcomes(_example()).get_yticklabels()]
        ['overall']
    """
    if adjustment not in ADJUSTMENTS:
        raise unknown_name("adjustment", adjustment, ADJUSTMENTS)
    lines = []
    for system in comparison.systems:
        if not system.is_tested:
            raise ValueError(
                "comparison: expected tests of single classes, got a comparison of saved evaluations; compare the "
                "predictions instead"
            )
        for outcome in system.outcomes(comparison.level):
            if outcome.adjustment == adjustment:
                prefix = f"{readable(system.name, 14)}, " if len(comparison.systems) > 1 else ""
                lines.append((f"{prefix}{readable(outcome.group, 14)}", outcome))
    with drawing(ax, 0.7 + 0.2 * len(lines)) as ax:
        rows = np.arange(len(lines))[::-1]
        starts = np.zeros(len(lines))
        handles = []
        for part, mark in (("losses", _LOSS), ("undecided", None), ("wins", _WIN)):
            counts = np.array([getattr(outcome, part) for _, outcome in lines], np.float64)
            tested = np.array([max(outcome.tested, 1) for _, outcome in lines], np.float64)
            shares = counts / tested
            handles.append(
                ax.barh(
                    rows,
                    shares,
                    0.72,
                    starts,
                    color=LIGHT if mark is None else mark.color,
                    hatch="" if mark is None else mark.hatch,
                    edgecolor="white",
                    linewidth=0,
                )
            )
            for row, start, share, count in zip(rows, starts, shares, counts, strict=True):
                if share > 0.04 + 0.025 * len(f"{count:,.0f}"):
                    box = {"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none"}
                    ax.text(
                        start + share / 2, row, f"{count:,.0f}", ha="center", va="center_baseline",
                        bbox=box if mark is not None else None, zorder=3, **PLAIN,
                    )  # fmt: skip
            starts = starts + shares
        ax.set_yticks(rows, labels=[name for name, _ in lines], **PLAIN)
        ax.tick_params(axis="y", length=0)
        ax.set_xlim(0, 1)
        ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        size = f"{100 * (1 - comparison.level):.10g} %"
        ax.set_xlabel(f"share of tested classes, {ADJUSTMENTS[adjustment]} at {size}", **PLAIN)
        add_legend_above(ax, handles, ["worse", "undecided", "better"])
    return ax


def head_tail_trade(
    comparison: Comparison, *, groups: tuple[str, str] | None = None, metric: str = AP.name, ax: Axes | None = None
) -> Axes:
    """Draw the difference of each system to the baseline in the head and in the tail, with both intervals.

    The baseline is the origin. A system above and left of it pays for its tail with its head.

    Args:
        comparison: A comparison with groups.
        groups: The groups of the two axes; default: head and tail, many and few, or f and r.
        metric: The flat name of the mean over all classes.
        ax: The axes to draw on; None makes a figure of one column.

    Returns:
        The axes.

    Raises:
        ValueError: The comparison lacks the groups or the metric.
        ImportError: matplotlib is not installed.

    Example:
        >>> head_tail_trade(_example(train_counts=[900, 300, 20])).get_xlabel()
        'difference in mAP, head'
    """
    known = {mean.name for mean in comparison.systems[0].means}
    pairs = [groups] if groups is not None else _TRADES
    chosen = next((pair for pair in pairs if all(f"{metric}_{group}" in known for group in pair)), None)
    if chosen is None:
        wanted = " and ".join(f"{metric}_{group}" for group in pairs[0])
        raise ValueError(
            f"comparison: expected the means {wanted}, got {', '.join(sorted(known))}; compare evaluations with "
            "train_counts= (--counts)"
        )
    for group in chosen:
        if all(math.isnan(system.of(f"{metric}_{group}").difference) for system in comparison.systems):
            raise ValueError(f"comparison: expected a class with positives in {group}, got none")
    with drawing(ax, 3.2) as ax:
        for line in (ax.axhline, ax.axvline):
            line(0, color=GREY, linewidth=THIN, zorder=1)
        handles = [ax.plot([0], [0], color=BLACK, marker="x", markersize=4, linestyle="none", zorder=3)[0]]
        names = [readable(comparison.base)]
        for number, system in enumerate(comparison.systems):
            x, y = (system.of(f"{metric}_{group}") for group in chosen)
            mark = mark_of(number)
            lengths = [
                [[0.0 if math.isnan(end) else abs(end - mean.difference)] for end in (mean.low, mean.high)]
                for mean in (x, y)
            ]
            container = ax.errorbar(
                [x.difference], [y.difference], xerr=lengths[0], yerr=lengths[1], color=mark.color, marker=mark.marker,
                markersize=4, linestyle="none", elinewidth=0.9, capsize=1.5, zorder=4,
            )  # fmt: skip
            handles.append(container.lines[0])
            names.append(readable(system.name))
        reach = 1.2 * max(map(abs, (*ax.get_xlim(), *ax.get_ylim())))
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
        for axis in (ax.xaxis, ax.yaxis):
            signed_axis(axis, 4)
        for place, text in (
            ("left", f"{readable(chosen[1], 12)} for {readable(chosen[0], 12)}"),
            ("right", "both better"),
        ):
            ax.text(
                0.02 if place == "left" else 0.98, 0.98, text, transform=ax.transAxes, ha=place, va="top", color=GREY,
                fontstyle="italic", **PLAIN,
            )  # fmt: skip
        ax.set_aspect("equal")
        ax.set_xlabel(f"difference in {metric}, {readable(chosen[0])}", **PLAIN)
        ax.set_ylabel(f"difference in {metric}, {readable(chosen[1])}", **PLAIN)
        add_legend_above(ax, handles, names, 3)
    return ax


def _system_of(comparison: Comparison, name: str | None) -> SystemComparison:
    """The system of this name, or the only one."""
    names = [system.name for system in comparison.systems]
    if name is None and len(names) > 1:
        raise ValueError(f"system: expected one of {', '.join(names)}, got none; a figure shows one of them")
    if name is not None and name not in names:
        raise unknown_name("system", name, names)
    return comparison.systems[0 if name is None else names.index(name)]


def _train_groups(comparison: Comparison) -> list[str]:
    """The groups of the classes by training counts, the one with the most first."""
    return _ordered(comparison.systems[0].classes.get("group", ()))


def _ordered(groups: Sequence[str]) -> list[str]:
    """The different groups; those of known names from head to tail."""
    known = list(dict.fromkeys(groups))
    return sorted(known, key=lambda name: (GROUP_PLACES.get(name, len(GROUP_PLACES)), known.index(name)))


def _is_overall_bh(outcome: Any) -> bool:
    return bool(outcome.group == OVERALL and outcome.adjustment == "benjamini_hochberg")


def _example(**options: Any) -> Comparison:
    """The comparison of the docstrings."""
    from vltr_eval.comparison.systems import compare

    rng = np.random.default_rng(0)
    labels = rng.random((300, 3)) < 0.2
    base = labels + rng.normal(size=labels.shape)
    return compare(base, base + 0.3 * labels, labels=labels, **options)
