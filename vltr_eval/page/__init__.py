"""One HTML file that shows a report, a comparison or a training: all that people look at, and nothing to fetch.

This package knows plain documents and arrays alone. `vltr_eval.report` and `vltr_eval.comparison` give it their JSON.
"""

from __future__ import annotations

from vltr_eval.page.details import ClassDetails, Curves, Histograms, Mistakes
from vltr_eval.page.document import SCHEMA, Page, StaticTable
from vltr_eval.page.template import render_page

__all__ = [
    "SCHEMA",
    "ClassDetails",
    "Curves",
    "Histograms",
    "Mistakes",
    "Page",
    "StaticTable",
    "render_page",
]
