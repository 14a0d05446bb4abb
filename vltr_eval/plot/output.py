"""Figures as files: PDF, SVG and PNG whose bytes depend on the figure and the versions alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vltr_eval._base.files import PendingFile
from vltr_eval.plot.style import require_matplotlib, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 300
"""Dots per inch of PNG."""

# No date and no version: the same figure gives the same bytes.
_METADATA: Mapping[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}

FORMATS = tuple(_METADATA)
"""The formats of `save`, each the suffix of its files."""

_SETTINGS: Mapping[str, Any] = {
    "pdf.compression": 6,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3, and its text can be found and copied
    "pdf.use14corefonts": False,
    "savefig.bbox": None,  # the width of the figure is that of the column
    "savefig.transparent": False,
    "svg.fonttype": "path",  # the same picture without the fonts of this machine
    "svg.hashsalt": "vltr",
    "svg.image_inline": True,
}


def save(target: Axes | Figure, path: str | os.PathLike[str], *, dpi: float = DPI) -> None:
    """Write a figure as PDF, SVG or PNG, by the suffix of its name, whole or not at all.

    The same figure gives the same bytes: the file has no date, no version and no random name. PDF embeds its fonts as
    TrueType. SVG has its text as outlines, so it looks the same without these fonts.

    Args:
        target: Axes of the figure, as the functions of `vltr_eval.plot` return them, or the figure.
        path: The file; its name ends in .pdf, .svg or .png.
        dpi: Dots per inch of PNG.

    Raises:
        ValueError: The name has another suffix.
        OutputError: The file cannot be written.
        ImportError: matplotlib is not installed.

    Example:
        >>> import tempfile, vltr_eval
        >>> scores, labels = np.float32([[0.9], [0.8], [0.7]]), np.uint8([[1], [0], [1]])
        >>> report = vltr_eval.evaluate(scores, labels, interval=0.95)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(vltr_eval.plot.group_bars(report), f"{folder}/groups.pdf")
        ...     os.listdir(folder)
        ['groups.pdf']
    """
    kind = format_of(path)
    require_matplotlib()
    with PendingFile(path) as pending:
        pending.write(lambda unfinished: fill(target, unfinished, kind, dpi=dpi))


def fill(target: Axes | Figure, path: Path, kind: str, *, dpi: float = DPI) -> None:
    """Write a figure to the temporary file of a `PendingFile`. kind: one of `FORMATS`."""
    import matplotlib

    figure, settings = figure_of(target), cast(Any, dict(_SETTINGS))
    with styled(figure), matplotlib.rc_context(settings):
        figure.savefig(path, format=kind, dpi=dpi, metadata=dict(_METADATA[kind]))


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the format that the suffix of a file says.

    Raises:
        ValueError: It says none of `FORMATS`.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        suffixes = ", ".join(f".{name}" for name in FORMATS)
        raise ValueError(f"path: expected a name that ends in one of {suffixes}, got {os.fspath(path)!r}")
    return kind


def figure_of(target: Axes | Figure) -> Figure:
    """Return the figure of axes, or the figure that is given; not one of its subfigures."""
    found: Any = target
    while getattr(found, "figure", None) not in (None, found):
        found = found.figure
    return cast("Figure", found)
