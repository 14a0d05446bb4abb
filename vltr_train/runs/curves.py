"""Learning curves of runs as plain data, for figures and pages."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from vltr_train.runs.repetitions import repetitions
from vltr_train.runs.run_folder import RunFolder, open_runs

__all__ = ["learning_curves", "training_runs"]

_NO_CURVES = ("epoch", "stage", "seconds", "videos_per_second")


def learning_curves(run: RunFolder | str | os.PathLike[str]) -> dict[str, Any]:
    """Return the learning curves of a run: the loss, the learning rate and the metrics of the selecting split.

    Times are left out, so the same training gives the same curves.

    Args:
        run: The run, or its folder.

    Returns:
        "epochs", the numbers of the epochs; "columns", a list of the same length for each column of metrics.csv, None
        where an epoch has no value; and "stages", pairs of the name of a stage and its first epoch.

    Example:
        >>> learning_curves("runs/crt")["columns"]["loss"]      # doctest: +SKIP
        [0.0342, 0.0297, 0.0281]
    """
    epochs = RunFolder.of(run).epochs
    names = dict.fromkeys(name for line in epochs for name in line if name not in _NO_CURVES)
    stages: list[list[Any]] = []
    for line in epochs:
        if "stage" in line and (not stages or stages[-1][0] != line["stage"]):
            stages.append([line["stage"], line["epoch"]])
    return {
        "epochs": [line["epoch"] for line in epochs],
        "columns": {name: [_number(line.get(name)) for line in epochs] for name in names},
        "stages": stages,
    }


def training_runs(runs: Iterable[RunFolder | str | os.PathLike[str]]) -> list[dict[str, Any]]:
    """Return the learning curves of several runs with their names, for `vltr_eval.plot` and the HTML page.

    Args:
        runs: The runs, or their folders.

    Returns:
        The curves of each run, with its "name" and its "group". Runs of one group differ in their seed alone.

    Raises:
        ValueError: No run has an epoch, or config.json lacks a value.
    """
    found: list[dict[str, Any]] = []
    taken: set[str] = set()
    for alike in repetitions(open_runs(runs)):
        for run, seed in zip(alike.runs, alike.seeds, strict=True):
            base = alike.name if len(alike.runs) == 1 else f"{alike.name}, seed {seed}"
            name, number = base, 1
            while name in taken:
                number += 1
                name = f"{base} ({number})"
            taken.add(name)
            found.append({"name": name, "group": alike.name, **learning_curves(run)})
    if not any(run["epochs"] for run in found):
        raise ValueError("RUN: expected a run with an epoch, got none; train first")
    return found


def _number(value: Any) -> float | None:
    """A cell of metrics.csv as a number of JSON; None for a missing one, text, NaN and infinity."""
    is_number = isinstance(value, (int, float)) and value - value == 0
    return value if is_number else None
