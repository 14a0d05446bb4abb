"""One HTML file that shows a report, a comparison or a training: all that people look at, and nothing to fetch.

This package knows plain documents and arrays alone. `vltr_eval.report` and `vltr_eval.comparison` give it their JSON.
`vltr_eval.page.document` and `vltr_eval.page.template` are loaded when a page is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vltr_eval.page.details import ClassDetails, Curves, Histograms, Mistakes

if TYPE_CHECKING:
    from vltr_eval.page.document import Page, StaticTable
    from vltr_eval.page.template import render_page

__all__ = ["ClassDetails", "Curves", "Histograms", "Mistakes", "Page", "StaticTable", "render_page"]


def __getattr__(name: str) -> Any:
    if name in ("Page", "StaticTable"):
        from vltr_eval.page import document

        return getattr(document, name)
    if name == "render_page":
        from vltr_eval.page.template import render_page

        return render_page
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
