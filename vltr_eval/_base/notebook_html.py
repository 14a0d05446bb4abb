"""HTML by which notebooks show objects: static, without scripts and other files, in the colours of the notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vltr_eval._base.table_forms import html_text

__all__ = ["curve", "folded", "notebook_html", "paragraph"]

# Lines are grey and text has the colour of the page, so light and dark notebooks can be read alike. The rules hold
# within the class alone. A viewer that removes them still shows plain tables.
_STYLE = (
    ".vltr{overflow-x:auto}"
    ".vltr table{border-collapse:collapse;margin:.6em 0;width:max-content;font-variant-numeric:tabular-nums}"
    ".vltr caption{caption-side:top;text-align:left;font-weight:bold;color:inherit}"
    ".vltr th,.vltr td{padding:.1em .6em;text-align:right;vertical-align:top;white-space:nowrap;border:0;"
    "border-bottom:1px solid rgba(128,128,128,.35);background:transparent;color:inherit}"
    ".vltr tbody th{font-weight:normal}"
    ".vltr .name{text-align:left;white-space:normal;max-width:30em;overflow-wrap:anywhere}"
    ".vltr p{margin:.2em 0;overflow-wrap:anywhere}"
    ".vltr svg{vertical-align:middle}"
)


def notebook_html(heading: str, *parts: str) -> str:
    """Join parts that are HTML below a heading that is text."""
    body = "".join(parts)
    return f'<div class="vltr">\n<style>{_STYLE}</style>\n<p><strong>{html_text(heading)}</strong></p>\n{body}</div>\n'


def paragraph(text: str) -> str:
    """A text as a paragraph of HTML."""
    return f"<p>{html_text(text)}</p>\n"


def folded(summary: str, content: str) -> str:
    """HTML that is shown after a click on a summary, which is text."""
    return f"<details>\n<summary>{html_text(summary)}</summary>\n{content}</details>\n"


def curve(name: str, xs: Sequence[float], ys: Sequence[float]) -> str:
    """A paragraph with a name, a small curve, and its first and last value; "" without a finite value.

    Args:
        name: The text before the curve.
        xs: Ascending numbers.
        ys: As many values; those that are not finite are left out.
    """
    points = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
    if not points:
        return ""
    first, last = points[0][1], points[-1][1]
    words = f"{name} from {first:.4g} to {last:.4g}"
    step = math.ceil(len(points) / _MOST_POINTS)
    points = points[:-1:step] + points[-1:]
    low, high = min(y for _, y in points), max(y for _, y in points)
    wide, tall = points[-1][0] - points[0][0] or 1, high - low or 1
    path = " ".join(
        f"{1 + (_WIDTH - 2) * (x - points[0][0]) / wide:.1f},{1 + (_HEIGHT - 2) * (high - y) / tall:.1f}"
        for x, y in points
    )
    return (
        f'<p>{html_text(name)} <svg role="img" aria-label="{html_text(words)}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}"><polyline points="{path}" fill="none" stroke="currentColor"/></svg> '
        f"{first:.4g} to {last:.4g}</p>\n"
    )


_WIDTH, _HEIGHT, _MOST_POINTS = 160, 24, 100
