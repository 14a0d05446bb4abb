"""The HTML page of training runs: learning curves, and the report of a single run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import vltr_eval
from vltr_eval._base.progress import Progress
from vltr_eval.page import Page, StaticTable, render_page
from vltr_train.runs.curves import training_runs
from vltr_train.runs.run_folder import RunFolder, open_runs

__all__ = ["training_page"]

_SHOWN = {"loss": "loss", "mAP": "mAP"}


def training_page(
    runs: Iterable[RunFolder | str | os.PathLike[str]], *, threads: int | None = None, progress: Progress | None = None
) -> str:
    """Return the learning curves of runs as one HTML file that fetches nothing.

    The page of one run that was evaluated also has its report, with the curves, histograms and mistakes of single
    classes from its predictions.

    Args:
        runs: The runs, or their folders.
        threads: Threads of the core.
        progress: Called with the fraction done.

    Returns:
        The HTML. The same runs give the same bytes.

    Raises:
        ValueError: No run has an epoch, or a file of a run cannot be read.

    Example:
        >>> page = training_page(["runs/crt"])      # doctest: +SKIP
    """
    runs = open_runs(runs)
    training = {"runs": training_runs(runs)}
    if len(runs) == 1 and runs[0].has_report:
        (run,) = runs
        report = run.load_report()
        details = vltr_eval.class_details(*run.load_predictions(), threads=threads, progress=progress)
        return report.to_html(details=details, training=training)
    number = len(training["runs"])
    return render_page(
        Page(
            kind="training",
            title="Training of a run" if number == 1 else f"Training of {number:,} runs",
            training=training,
            tables=[_last_values(training["runs"])],
        )
    )


def _last_values(runs: Sequence[dict[str, Any]]) -> StaticTable:
    """The epochs of each run, and its last loss and mAP."""
    lines = [
        [run["name"], f"{len(run['epochs']):,}", *(_last(run["columns"].get(column, ())) for column in _SHOWN)]
        for run in runs
    ]
    return StaticTable("Last values of each run", ["run", "epochs", *_SHOWN.values()], lines)


def _last(values: Sequence[float | None]) -> str:
    return next((f"{value:.4f}" for value in reversed(values) if value is not None), "-")
