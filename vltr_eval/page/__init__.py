"""One HTML file that shows a report, a comparison or a training: all that people look at, and nothing to fetch.

This package knows plain documents and arrays alone. `vltr_eval.report` and `vltr_eval.comparison` give it their JSON.
`vltr_eval.page.document` and `vltr_eval.page.template` are loaded when a page is made.
"""

from __future__ import annotations

from vltr_eval.page.details import ClassDetails, Curves, Histograms, Mistakes

__all__ = ["ClassDetails", "Curves", "Histograms", "Mistakes"]
