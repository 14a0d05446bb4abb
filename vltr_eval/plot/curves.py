"""Precision-recall curves of chosen classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vltr_eval._base.arguments import unknown_name
from vltr_eval._engine.rank_table import PrecisionRecallCurve, RankTable
from vltr_eval.comparison.evaluation import Evaluation
from vltr_eval.plot.style import (
    GREY,
    LIGHT,
    PLAIN,
    THIN,
    add_legend,
    drawing,
    mark_of,
    readable,
    share_axis,
)
from vltr_eval.report.names import AP

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 12
"""Curves: more of them cannot be told apart."""

MOST_POINTS = 2000
"""Points of a curve in a figure; a curve of more thresholds is drawn by that many of its points, evenly in recall."""

_ISO_F1 = (0.2, 0.4, 0.6, 0.8)
_MOST_INSIDE = 3  # curves: the legend of more stands below the axes


def precision_recall(
    source: RankTable | Evaluation,
    classes: Sequence[int | str] | int | str,
    *,
    ax: Axes | None = None,
    iso_f1: bool = True,
    names: Sequence[str] | None = None,
) -> Axes:
    """Draw the step-wise precision-recall curves of some classes; the area under each is the AP in the legend.

    Args:
        source: An evaluation, or a rank table.
        classes: Indices or names of the classes, at most 12.
        ax: The axes to draw on; None makes a figure of one column.
        iso_f1: Whether to add lines of equal F1.
        names: (C,) names of the classes. An evaluation that was made with names has them.

    Returns:
        The axes.

    Raises:
        ValueError: A class does not exist or has no positives, or there are too many.
        TypeError: ``source`` is something else.
        ImportError: matplotlib is not installed.

    Example:
        >>> import vltr_eval
        >>> table = vltr_eval.rank_table(np.float32([[0.9], [0.8], [0.7]]), np.uint8([[1], [0], [1]]))
        >>> precision_recall(table, [0]).get_xlabel()
        'recall'
    """
    table, known = _table_of(source)
    names = known if names is None else list(names)
    if names is not None and len(names) != table.num_classes:
        raise ValueError(f"names: expected {table.num_classes:,} names, one for each class, got {len(names):,}")
    chosen = [classes] if isinstance(classes, (int, str, np.integer)) else list(classes)
    if not 1 <= len(chosen) <= MOST_CLASSES:
        raise ValueError(
            f"classes: expected 1 to {MOST_CLASSES} classes, whose curves can be told apart, got {len(chosen)}"
        )
    indices = [_index_of(choice, table, names) for choice in chosen]
    values = table.average_precision()
    labels = [
        f"{f'class {index}' if names is None else readable(names[index], 24)}, {AP.class_heading} {values[index]:.3f}"
        for index in indices
    ]
    is_inside = len(indices) <= _MOST_INSIDE
    columns = 2 if max(map(len, labels)) <= 24 else 1
    with drawing(ax, 2.5 if is_inside else 2.5 + 0.14 * math.ceil(len(labels) / columns)) as ax:
        if iso_f1:
            _add_iso_f1(ax)
        handles = []
        for number, index in enumerate(indices):
            curve, mark = thinned(table.precision_recall_curve(index)), mark_of(number)
            # The precision at a threshold holds from the recall above it: the area of these steps is AP.
            (line,) = ax.plot(
                np.concatenate([[0.0], curve.recall]),
                np.concatenate([curve.precision[:1], curve.precision]),
                drawstyle="steps-pre",
                color=mark.color,
                linestyle=mark.dash,
                linewidth=1.1,
                zorder=3,
            )
            handles.append(line)
        share_axis(ax.xaxis)
        share_axis(ax.yaxis)
        ax.set_xlabel("recall")
        ax.set_ylabel("precision")
        if is_inside:
            add_legend(ax, handles, labels, loc="lower left", frameon=True, framealpha=0.85, edgecolor="none")
        else:
            add_legend(ax, handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.19), ncols=columns)
    return ax


def thinned(curve: PrecisionRecallCurve, most: int = MOST_POINTS) -> PrecisionRecallCurve:
    """Return at most ``most`` points of a curve, evenly in recall and with the last one.

    Example:
        >>> curve = PrecisionRecallCurve(np.ones(9), np.arange(1, 10) / 9, np.arange(9, 0, -1.0))
        >>> thinned(curve, 3).recall.round(2)
        array([0.33, 0.67, 1.  ])
    """
    if len(curve.recall) <= most:
        return curve
    goals = np.arange(1, most + 1) / most
    points = np.unique(np.minimum(np.searchsorted(curve.recall, goals - 1e-12), len(curve.recall) - 1))
    return PrecisionRecallCurve(curve.precision[points], curve.recall[points], curve.thresholds[points])


def _table_of(source: Any) -> tuple[RankTable, list[str] | None]:
    if isinstance(source, RankTable):
        return source, None
    if isinstance(source, Evaluation):
        names = source.report.classes.get("name")
        return source.table, None if names is None else list(names)
    raise TypeError(f"source: expected an Evaluation or a RankTable, got {type(source).__name__}")


def _index_of(choice: Any, table: RankTable, names: Sequence[str] | None) -> int:
    """The index of a class by its name or its index. Text of digits is an index if no class has that name."""
    if isinstance(choice, str) and names is not None and choice in names:
        index = names.index(choice)
    elif isinstance(choice, str) and not choice.isdecimal():
        if names is None:
            raise ValueError(
                f"classes: expected indices from 0 to {table.num_classes - 1}, because the classes have no names, got "
                f"{choice!r}"
            )
        raise unknown_name("classes", choice, names)
    else:
        index = int(choice)
        if not 0 <= index < table.num_classes:
            raise ValueError(f"classes: expected indices from 0 to {table.num_classes - 1}, got {index}")
    if not table.num_positives[index]:
        raise ValueError(f"classes: expected classes with positives, got {choice!r}, which has none")
    return index


def _add_iso_f1(ax: Axes) -> None:
    """Add the lines of equal F1, each with its value at the right."""
    for value in _ISO_F1:
        recall = np.linspace(value / (2 - value), 1.0, 60)
        ax.plot(recall, value * recall / (2 * recall - value), color=LIGHT, linewidth=THIN, zorder=1)
        end = value / (2 - value)
        text = f"F1 {value:g}" if value == _ISO_F1[-1] else f"{value:g}"
        ax.annotate(
            text, (1.0, end), (2, 0), textcoords="offset points", va="center", color=GREY, fontsize="small", **PLAIN
        )
