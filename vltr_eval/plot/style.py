"""The look of all figures: one column of a paper, thin lines, and marks that also differ in grey.

Nothing here touches pyplot. Settings of matplotlib change within `drawing` and `styled` alone, and are restored.
"""

from __future__ import annotations

import math
import unicodedata
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vltr_eval._base.text_table import display_width, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.3
"""Inches: one column of most papers."""

BLACK, DARK, GREY, LIGHT, PALE = "#000000", "#444444", "#808080", "#C8C8C8", "#F0F0F0"

PLAIN: Mapping[str, Any] = {"parse_math": False, "usetex": False}
"""Properties of text that is data: no character of it is a command."""

THIN = 0.6
"""Points: the width of frames, grids and error bars."""

_TEXT = 7.0
_LONGEST_NAME = 28


class Mark(NamedTuple):
    """The look of one group, system or class. Every part differs from those of its neighbours.

    Attributes:
        color: A colour of Okabe and Ito, which colour-blind readers tell apart.
        marker: A marker of matplotlib.
        dash: A line style of matplotlib.
        hatch: A hatch of matplotlib, for bars.
    """

    color: str
    marker: str
    dash: Any
    hatch: str


MARKS = (
    Mark("#0072B2", "o", "-", ""),
    Mark("#E69F00", "s", (0, (4, 1.5)), "/////"),
    Mark("#D55E00", "^", (0, (1, 1)), "....."),
    Mark("#009E73", "D", (0, (4, 1, 1, 1)), "\\\\\\\\\\"),
    Mark("#56B4E9", "v", (0, (7, 1.5)), "xxxxx"),
    Mark("#CC79A7", "P", (0, (2, 2)), "-----"),
    Mark("#444444", "X", (0, (4, 1, 1, 1, 1, 1)), "|||||"),
)

_GROUP_COLORS = ("#0072B2", "#009E73", "#D55E00", "#E69F00", "#CC79A7", "#56B4E9", "#444444")
"""The colours of groups: head, medium and tail are points on a page, and need no contrast of areas."""

_STYLE: Mapping[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": False,
    "axes.labelpad": 2.5,
    "axes.labelsize": _TEXT,
    "axes.linewidth": THIN,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlepad": 4.0,
    "axes.titlesize": 8.0,
    "figure.constrained_layout.h_pad": 0.02,
    "figure.constrained_layout.w_pad": 0.02,
    "figure.dpi": 100.0,
    "font.size": _TEXT,
    "hatch.linewidth": 0.4,
    "legend.borderaxespad": 0.3,
    "legend.columnspacing": 1.0,
    "legend.fontsize": _TEXT,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.handletextpad": 0.4,
    "legend.labelspacing": 0.25,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.labelsize": _TEXT,
    "ytick.labelsize": _TEXT,
}
_TICKS: Mapping[str, Any] = {"which": "both", "width": THIN, "pad": 2.0, "labelsize": _TEXT}
_FONTS = ("font.family", "font.sans-serif", "font.serif", "font.monospace", "font.cursive", "font.fantasy")

_own_figures: weakref.WeakSet[Figure] = weakref.WeakSet()


def require_matplotlib() -> None:
    """Raise ImportError, with the way to install it, if matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError('vltr_eval.plot needs matplotlib: pip install "vltr[plot]"') from None


@contextmanager
def drawing(ax: Axes | None, height: float = 2.2) -> Iterator[Axes]:
    """Give the axes to draw on: those of the caller as they are, or new ones in the style of this module.

    Args:
        ax: The axes of the caller, or None.
        height: Inches of a new figure.
    """
    require_matplotlib()
    if ax is not None:
        yield ax
        return
    with new_figure(height) as figure:
        yield add_axes(figure)


@contextmanager
def new_figure(height: float) -> Iterator[Figure]:
    """Give a new figure of one column in the style of this module, which holds until the block ends."""
    require_matplotlib()
    from matplotlib.figure import Figure

    with _own_style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        _own_figures.add(figure)
        yield figure


def add_axes(figure: Figure, *position: Any, **how: Any) -> Axes:
    """Add axes to a figure of `new_figure`. Ticks are made when they are drawn, so their look is stored here."""
    axes: Axes = figure.add_subplot(*position, **how)
    axes.tick_params(length=2.5, **_TICKS)
    axes.tick_params(which="minor", length=1.5)
    return axes


def add_title(figure: Figure, text: str) -> None:
    """Add a title above all of a figure. The text is data."""
    with styled(figure):
        figure.suptitle(readable(text, 200), fontsize=8.0, **PLAIN)


def set_width(figure: Figure, width: float) -> None:
    """Give a figure its width in inches.

    Raises:
        ValueError: The width is not from 1 to 40.
    """
    if not 1 <= width <= 40:
        raise ValueError(f"width: expected inches from 1 to 40, got {width:g}")
    figure.set_figwidth(width)


def styled(figure: Figure) -> AbstractContextManager[Any]:
    """The settings under which a figure was made: those of this module for its own figures."""
    return _own_style() if figure in _own_figures else nullcontext()


def _own_style() -> AbstractContextManager[Any]:
    """The defaults of matplotlib with the changes of this module. The fonts are those that the user chose."""
    import matplotlib
    from matplotlib import style

    settings: Any = matplotlib.rcParams
    fonts = {key: settings[key] for key in _FONTS}
    changed: AbstractContextManager[Any] = style.context(["default", {**_STYLE, **fonts}])
    return changed


# Names


def readable(name: object, most: int = _LONGEST_NAME) -> str:
    """Return a name as figures show it: one line, shortened, and characters without a glyph as escapes.

    Args:
        name: The name of a class, a group or a system.
        most: The largest width, in cells of a terminal.
    """
    text = str(name)
    if not text.strip():
        return repr(text)
    pieces, start = [printable(char) for char in text], ""
    if not text.isascii():
        known = _glyphs()
        pieces = [
            piece if piece.isascii() or any(piece in glyphs for glyphs in known) else _escape(piece) for piece in pieces
        ]
        is_mixed = any(unicodedata.bidirectional(char) in ("R", "AL") for char in text)
        start = _LEFT_TO_RIGHT if is_mixed and any(_LEFT_TO_RIGHT in glyphs for glyphs in known) else ""
    shown = "".join(pieces)
    if display_width(shown) > most:  # no escape is cut
        widths = accumulate(map(display_width, pieces))
        shown = "".join(piece for piece, width in zip(pieces, widths, strict=True) if width <= most - 3) + "..."
    return start + shown


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


_LEFT_TO_RIGHT = "\u200e"  # numbers that follow a name of a right-to-left script stay behind it


class _Glyphs:
    """The characters of one font file."""

    def __init__(self, path: str) -> None:
        from matplotlib.font_manager import get_font

        self._font = get_font(path)

    def __contains__(self, char: str) -> bool:
        return bool(self._font.get_char_index(ord(char)))


def _glyphs() -> list[_Glyphs]:
    """The fonts that text is set in; the later ones have the glyphs that the first lacks."""
    from matplotlib.font_manager import FontProperties, findfont

    families = FontProperties().get_family()
    return [_Glyphs(str(findfont(FontProperties(family=[family])))) for family in families]


def add_legend(ax: Axes, handles: Sequence[Any], names: Sequence[str], **how: Any) -> None:
    """Add a legend whose texts are data: marks of mathtext and leading underscores have no meaning in it."""
    legend = ax.legend(handles, [f"{number}" for number in range(len(names))], **how)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, **PLAIN)


def add_legend_above(
    ax: Axes, handles: Sequence[Any], names: Sequence[str], most: int = 4, width: float = WIDTH
) -> None:
    """Add a legend above the axes. Rows have at most ``most`` entries, and fewer if these are long.

    width: inches of the figure, if the axes are as wide as it.
    """
    if handles:
        numbers = range(min(most, len(names)), 0, -1)
        columns = next(number for number in numbers if number == 1 or _fits(names, number, width))
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": columns, "borderaxespad": 0.1}
        add_legend(ax, handles, names, **place)


def _fits(names: Sequence[str], columns: int, width: float) -> bool:
    """Whether a legend of so many columns, which are filled one after the other, is narrow enough for a figure."""
    rows = np.array_split(np.array(list(map(display_width, names))), columns)
    return sum(int(max(row)) + _HANDLE for row in rows) <= _LEGEND * width / WIDTH


_HANDLE, _LEGEND = 6, 62  # characters: the width of a handle with its gaps, and that of a figure of one column


# Groups


GROUP_PLACES: Mapping[str, int] = {
    name: place
    for place, names in enumerate((("head", "many", "f"), ("medium", "c"), ("tail", "few", "r")))
    for name in names
}
"""The places of groups by training counts, from head to tail."""


def group_marks(names: Sequence[str]) -> dict[str, Mark]:
    """Return the mark of each group. Head, medium and tail have the same ones in every figure."""
    named = {name: GROUP_PLACES[name] for name in names if name in GROUP_PLACES}
    free = (place for place in range(len(names) + len(named)) if place not in named.values())
    places = [named[name] if name in named else next(free) for name in names]
    return {
        name: mark_of(place)._replace(color=_GROUP_COLORS[place % len(_GROUP_COLORS)])
        for name, place in zip(names, places, strict=True)
    }


def mark_of(number: int) -> Mark:
    """Return the mark of the group, system or class with this number. The first 49 differ in two parts or more."""
    turn, place = divmod(number, len(MARKS))
    marker, dash = (MARKS[(place + step * turn) % len(MARKS)] for step in (1, 2))
    return MARKS[place]._replace(marker=marker.marker, dash=dash.dash, hatch=marker.hatch)


# Axes


def share_axis(axis: Any, low: float = 0.0, high: float = 1.0) -> None:
    """Give an axis of values from 0 to 1 its limits and ticks."""
    from matplotlib.ticker import MaxNLocator

    margin = 0.02 * (high - low)
    axis.axes.set(**{f"{axis.axis_name}lim": (low - margin, high + margin)})
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(plain_number)


def add_diagonal(ax: Axes, low: float = 0.0) -> Any:
    """Draw the line of equal values from ``low`` to 1, behind the data, and return it."""
    (line,) = ax.plot([low, 1], [low, 1], color=GREY, linewidth=THIN, linestyle=(0, (3, 2)), zorder=1)
    return line


def square_axes(ax: Axes, low: float = 0.0) -> None:
    """Give both axes the values from ``low`` to 1, at the same scale."""
    share_axis(ax.xaxis, low)
    share_axis(ax.yaxis, low)
    ax.set_aspect("equal")


def signed_axis(axis: Any, ticks: int = 5) -> None:
    """Give an axis of differences its ticks, with signs."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(_signed_number)


def plain_number(value: float, _: object = None) -> str:
    """Write a tick: ``0.5``, ``1``, ``1,000``."""
    return f"{value:,.10g}"


def _signed_number(value: float, _: object = None) -> str:
    return "0" if abs(value) < 1e-12 else f"{value:+.6g}".replace("-", "\N{MINUS SIGN}")


def count_axis(ax: Axes, low: float, high: float) -> None:
    """Make x the logarithmic axis of counts from ``low`` to ``high``, with a few round numbers as ticks.

    The axis has the count 0 at `ZERO`.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    ax.set_xscale("log")
    reach = max(high / low, 2.0) ** 0.04
    ax.set_xlim(low / reach, high * reach)
    ax.xaxis.set_major_locator(FixedLocator(_round_counts(low / reach, high * reach)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: "0" if value == ZERO else f"{value:,.0f}")


ZERO = 0.5
"""The position of the count 0 on a logarithmic axis."""


def _round_counts(low: float, high: float) -> list[float]:
    """A few round numbers between two counts: 1, 2 and 5 times powers of ten, or the powers alone."""
    decades = math.log10(high / low)
    steps = (1, 2, 5) if decades <= 2 else (1, 3) if decades <= 3 else (1,)
    powers = range(0, math.ceil(math.log10(high)) + 1)
    ticks = [float(step * 10**power) for power in powers for step in steps]
    return [ZERO] * (low <= ZERO) + [tick for tick in ticks if low <= tick <= high]


def axes_width(ax: Axes) -> float:
    """Return the width of axes in inches, which a layout may still change a little."""
    return float(ax.get_window_extent().width / ax.figure.dpi)
