"""Figures with a point for each class of a report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vltr_eval.plot.report_data import class_ends, column, members, require_train_counts, train_groups
from vltr_eval.plot.style import (
    BLACK,
    LIGHT,
    PALE,
    THIN,
    ZERO,
    Mark,
    add_diagonal,
    add_legend_above,
    count_axis,
    drawing,
    group_marks,
    readable,
    share_axis,
)
from vltr_eval.report.names import AP, EXPECTED_SAP, SAP
from vltr_eval.report.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST_FOR_MEDIAN = 20
"""Classes: with fewer, a running median says less than the points."""


def ap_by_train_count(
    report: Report, *, ax: Axes | None = None, running_median: bool = True, intervals: bool = False
) -> Axes:
    """Draw the AP of each class against its number of training samples, on a logarithmic axis.

    The legend has the mean of each group. Classes without positives have no point, and the count 0 stands left of 1.

    Args:
        report: A report with training counts.
        ax: The axes to draw on; None makes a figure of one column.
        running_median: Whether to add the median AP of neighbouring classes (`running_medians`).
        intervals: Whether to add the interval of each class.

    Returns:
        The axes.

    Raises:
        ValueError: The report lacks training counts, or the intervals that are requested.
        ImportError: matplotlib is not installed.

    Example:
        >>> import vltr_eval
        >>> scores, labels = np.float32([[0.9, 0.1], [0.8, 0.7], [0.7, 0.2]]), np.uint8([[1, 0], [0, 1], [1, 0]])
        >>> report = vltr_eval.evaluate(scores, labels, train_counts=[900, 20])
        >>> ap_by_train_count(report).get_xlabel()
        'training samples of the class'
    """
    counts, values = require_train_counts(report), column(report, AP.class_name)
    ends = class_ends(report, AP.class_name) if intervals else None
    shown = ~np.isnan(values)
    positions = np.maximum(counts, ZERO)
    groups = train_groups(report)
    marks = group_marks([group.name for group in groups])
    with drawing(ax) as ax:
        count_axis(ax, *_range(positions))
        if report.settings.bounds is not None:
            _add_bands(ax, report.settings.bounds)
        handles, names = [], []
        masks = members(report, list(marks))
        for group in groups[::-1]:  # from left to right, as the bands
            mask = masks.get(group.name, np.zeros(len(counts), bool)) & shown
            mark = marks[group.name]
            if ends is not None:
                known = mask & ~np.isnan(ends[0])
                low, high = (end[known] for end in ends)
                ax.vlines(positions[known], low, high, color=mark.color, linewidth=0.4, alpha=0.5, zorder=2)
            if not mask.any():
                continue
            handles.append(_add_points(ax, positions[mask], values[mask], mark, len(counts)))
            mean = group.values[AP.name]
            names.append(f"{readable(group.name, 14)} {mean:.2f}")
        if running_median and np.count_nonzero(shown) >= FEWEST_FOR_MEDIAN:
            x, y = running_medians(positions[shown], values[shown])
            (line,) = ax.plot(x, y, color=BLACK, linewidth=1.0, zorder=4)
            handles.append(line)
            names.append("median")
        share_axis(ax.yaxis)
        ax.set_xlabel("training samples of the class")
        ax.set_ylabel(AP.class_heading)
        add_legend_above(ax, handles, names)
    return ax


def running_medians(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the median of y over windows of neighbouring points, and the median of x, which ascends.

    A window has a twelfth of the points, at least 9 and always an odd number. Windows with the same median of x are
    one point, at the median of theirs. Many points have 500 to 1,000 windows, evenly among all of them.

    Args:
        x: (n,) positions, n >= 9.
        y: (n,) values.

    Example:
        >>> running_medians(np.arange(10.0), np.arange(10.0) ** 2)
        (array([4., 5.]), array([16., 25.]))
    """
    order = np.lexsort((y, x))
    window = max(9, 2 * int(len(x) / 24 + 0.5) + 1)  # as in the HTML page
    step = max(1, (len(x) - window) // 500)
    windows = [np.lib.stride_tricks.sliding_window_view(values[order], window)[::step] for values in (x, y)]
    middles, medians = (np.median(values, axis=1) for values in windows)
    positions, starts = np.unique(middles, return_index=True)
    return positions, np.array([np.median(part) for part in np.split(medians, starts[1:])])


def sap_by_ap(report: Report, *, ax: Axes | None = None) -> Axes:
    """Draw the sampled AP of each class against its AP.

    The figure has the exact value of sampled AP. A class with few positives has a higher sampled AP at the same AP,
    because its positives meet few negatives in a sample.

    Args:
        report: A report with sampled AP.
        ax: The axes to draw on; None makes a figure of one column.

    Returns:
        The axes.

    Raises:
        ValueError: The report has no sampled AP.
        ImportError: matplotlib is not installed.

    Example:
        >>> import vltr_eval
        >>> scores, labels = np.float32([[0.9, 0.1], [0.8, 0.7], [0.7, 0.2]]), np.uint8([[1, 0], [0, 1], [1, 0]])
        >>> sap_by_ap(vltr_eval.evaluate(scores, labels, sap="exact")).get_ylabel()
        'exact SAP'
    """
    metric = next((metric for metric in (EXPECTED_SAP, SAP) if metric.class_name in report.classes), None)
    if metric is None:
        raise ValueError(
            "report: expected sampled AP, got a report without it; evaluate with sap='exact' (--sap exact)"
        )
    x, y = column(report, AP.class_name), column(report, metric.class_name)
    shown = ~(np.isnan(x) | np.isnan(y))
    groups = [group.name for group in train_groups(report)]
    with drawing(ax) as ax:
        handles, names = [], []
        masks = members(report, groups)
        for name, mark in group_marks([name for name in masks if masks[name].any()]).items():
            handles.append(_add_points(ax, x[masks[name] & shown], y[masks[name] & shown], mark, len(x)))
            names.append(readable(name, 14))
        low = min(math.floor(10 * np.min(y[shown], initial=1.0)) / 10, 0.9)
        if low < 0.5:
            handles.append(add_diagonal(ax, low))
            names.append("equal")
        share_axis(ax.xaxis)
        share_axis(ax.yaxis, low)
        ax.set_xlabel(AP.class_heading)
        ax.set_ylabel(metric.class_heading if metric is EXPECTED_SAP else metric.name)
        if groups:
            add_legend_above(ax, handles, names)
    return ax


def _add_points(ax: Axes, x: np.ndarray, y: np.ndarray, mark: Mark, num_classes: int) -> object:
    """Add a point for each class of a group. Points are smaller if there are many classes in all."""
    size = 3.0 if num_classes <= 400 else 2.4
    (points,) = ax.plot(
        x,
        y,
        color=mark.color,
        marker=mark.marker,
        markersize=size,
        markeredgewidth=0,
        alpha=0.7,
        linestyle="none",
        zorder=3,
    )
    return points


def _add_bands(ax: Axes, bounds: tuple[float, float]) -> None:
    """Shade the middle group, between the bounds."""
    high, low = (max(bound, ZERO) for bound in bounds)
    ax.axvspan(low, high, color=PALE, linewidth=0, zorder=0)
    for bound in (low, high):
        ax.axvline(bound, color=LIGHT, linewidth=THIN, zorder=1)


def _range(positions: np.ndarray) -> tuple[float, float]:
    return float(np.min(positions, initial=np.inf)), float(np.max(positions, initial=ZERO))
