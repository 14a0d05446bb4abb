"""Errors of the means of runs by the choice of test rows, and the differences between methods.

The training seeds are one source of variance, and the rows of the test split are another. The standard deviation over
runs shows the first, and nothing of the second, because all runs have the same test rows. The second comes from the
effect of each row on each mean, which the predictions in a run folder give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vltr_eval.comparison import Evaluation, compare
from vltr_eval.intervals import jackknife_error

if TYPE_CHECKING:
    from vltr_eval import EvalOptionsDict
    from vltr_eval.comparison import BestOfMean, MeanDifference
    from vltr_train.runs.run_folder import RunFolder

__all__ = ["RowErrors"]


class RowErrors:
    """Errors by test rows. Each run is evaluated once, from its predictions.

    Args:
        threads: Threads of the core.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        self._threads = threads
        self._evaluations: dict[Path, Evaluation] = {}

    def of_mean(self, runs: Sequence[RunFolder]) -> dict[str, float]:
        """Return the standard error of each mean over runs, by its flat name.

        Raises:
            ValueError: A run has no predictions.
        """
        evaluations = [self.evaluation(run) for run in runs]
        return {name: jackknife_error(_effects(evaluations, name)) for name in _names(evaluations)}

    def of_difference(self, one: Sequence[RunFolder], other: Sequence[RunFolder]) -> dict[str, float]:
        """Return the standard error by test rows of the difference of each mean, paired by row.

        Raises:
            ValueError: A run has no predictions, or the runs were tested on other rows.
        """
        sides = [[self.evaluation(run) for run in runs] for runs in (one, other)]
        first = sides[0][0]
        for run, evaluation in zip((*one, *other), (*sides[0], *sides[1]), strict=True):
            first.check_comparable(evaluation, str(one[0].path), str(run.path))
        names = [name for name in _names(sides[0]) if name in _names(sides[1])]
        return {name: jackknife_error(_effects(sides[0], name) - _effects(sides[1], name)) for name in names}

    def differences(
        self, base: Sequence[RunFolder], new: Sequence[RunFolder], level: float, names: tuple[str, str]
    ) -> Mapping[str, MeanDifference]:
        """Return the difference ``new - base`` of each mean, by its flat name, as `vltr_eval.compare` does.

        Args:
            base: Runs of the baseline.
            new: Runs of another method.
            level: The confidence level of the intervals.
            names: The names of both in messages.

        Raises:
            ValueError: A run has no predictions, or the runs were tested on other rows.
        """
        sides = [[self.evaluation(run) for run in runs] for runs in (base, new)]
        (system,) = compare(*sides, level=level, names=names).systems
        return {mean.name: mean for mean in system.means}

    def best(self, systems: Sequence[Sequence[RunFolder]], level: float) -> Mapping[str, BestOfMean]:
        """Return the best of several methods on each mean and its tests against the others, by the mean's flat name.

        Args:
            systems: The runs of each method, at least two.
            level: The confidence level of the tests.

        Raises:
            ValueError: A run has no predictions, or the runs were tested on other rows.
        """
        evaluations = [[self.evaluation(run) for run in runs] for runs in systems]
        names = [str(number) for number in range(len(systems))]
        return {mean.name: mean for mean in compare(*evaluations, level=level, names=names).best}

    def evaluation(self, run: RunFolder) -> Evaluation:
        """Return the evaluation of a run's predictions, with the conventions of its report."""
        if run.path not in self._evaluations:
            preds, labels = run.load_predictions()
            report = run.load_report()
            settings, counts = report.settings, report.classes.get("train_count")
            options: EvalOptionsDict = {"topk": settings.topk, "absent": settings.absent}
            options["sap"] = None if settings.sap is None else "exact"
            if counts is not None and settings.bounds is not None:
                options["train_counts"], options["bounds"] = np.array(counts), settings.bounds
            self._evaluations[run.path] = Evaluation.from_predictions(preds, labels, threads=self._threads, **options)
        return self._evaluations[run.path]


def _names(evaluations: Sequence[Evaluation]) -> list[str]:
    return [name for name in evaluations[0].effects if all(name in each.effects for each in evaluations)]


def _effects(evaluations: Sequence[Evaluation], name: str) -> np.ndarray:
    """The effects of the rows on the mean over runs."""
    effects: np.ndarray = np.sum([each.effects[name].values for each in evaluations], axis=0) / len(evaluations)
    return effects
