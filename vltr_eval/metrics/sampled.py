"""Sampled AP: AP over balanced resamples ("A Study on Action Detection in the Wild", arXiv 1904.12993)."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arguments import check_seed, check_trials
from vltr_eval._engine.draws import mean_and_std
from vltr_eval._engine.inputs import positives_alone, read_matrix_and_positives
from vltr_eval._engine.rank_scan import rank_scan
from vltr_eval._engine.rank_table import absent_value, mean_of_defined

__all__ = ["SampledAP", "sampled_average_precision", "sap_subset"]


class SampledAP(NamedTuple):
    """Sampled AP of each class.

    Attributes:
        mean: (C,) float64, the mean over the trials.
        std: (C,) float64, the standard deviation over the trials with ddof 1; NaN for one trial.
        trials: (T, C) float64, the AP of each trial, or None if not requested.
    """

    mean: np.ndarray
    std: np.ndarray
    trials: np.ndarray | None

    def __repr__(self) -> str:
        kept = "not kept" if self.trials is None else f"{len(self.trials)} kept"
        return f"<SampledAP of {len(self.mean)} classes, mean {mean_of_defined(self.mean):.4f}, trials {kept}>"


def sampled_average_precision(
    scores: Any,
    labels: Any,
    *,
    trials: int = 15,
    seed: int = 0,
    absent: str = "nan",
    return_trials: bool = False,
    mask: Any = None,
    unknown: Any = None,
    threads: int | None = None,
) -> SampledAP:
    """Compute sampled AP: the mean over trials of AP on all positives and as many random negatives.

    Each trial draws without replacement from the rows without the label. A class with no more negatives than positives
    takes all of them in every trial. The drawn rows depend on labels, class, trial and seed alone; `sap_subset` returns
    them. So they are the same on every device and thread count, and for every model of a comparison.

    Args:
        scores: (N, C) array of any real dtype; see `rank_table`.
        labels: Labels of the rows, (N, C) of 0/1 or another form; see `rank_table`.
        trials: Number of trials T.
        seed: Seed of the draws, an integer from 0 to 2**64 - 1.
        absent: Value of classes without positives: "nan", or "zero" for 0.
        return_trials: Whether the result has the AP of each trial.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Returns:
        A `SampledAP`. A class without positives is NaN, or 0 with ``absent="zero"``. A class without negatives is 1.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or the shapes do not fit; the message has row and class.
        TypeError: An input has no form of scores or labels.

    Example:
        >>> sampled_average_precision(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [0]]), trials=2).mean
        array([1.])

    Source:
        "A Study on Action Detection in the Wild" (arXiv 1904.12993).
    """
    value = absent_value(absent)
    matrix, positives = read_matrix_and_positives(scores, labels, threads, mask, unknown)
    scan = rank_scan(matrix, positives, trials=check_trials(trials), seed=seed, threads=threads)
    of_trials = cast("np.ndarray", scan.trials)  # the scan has trials
    of_trials[:, positives.counts == 0] = value
    return SampledAP(*mean_and_std(of_trials), of_trials if return_trials else None)


def sap_subset(
    labels: Any, class_index: int, trial: int, seed: int = 0, *, num_classes: int | None = None
) -> np.ndarray:
    """Return the rows that a trial of `sampled_average_precision` scores for one class: all positives and the draws.

    The AP of any other library on these rows is the AP of the trial.

    Args:
        labels: Labels of N rows in any form that `rank_table` takes. Lists and class indices need ``num_classes``.
        class_index: The class.
        trial: The trial, from 0.
        seed: Seed of the draws.
        num_classes: C, if the labels do not have it.

    Returns:
        (2 P,) int64 row numbers, ascending, for P positives; all rows that the class knows if it has no more negatives
        than positives. Unknown rows are never drawn.

    Raises:
        IndexError: There is no such class.
        ValueError: ``trial`` or ``seed`` is out of range, or the number of classes is unknown.
        TypeError: ``class_index`` is no integer.

    Example:
        >>> sap_subset(np.uint8([[0], [1], [0], [0]]), 0, 0).size
        2
    """
    positives = positives_alone(labels, num_classes)
    if isinstance(class_index, bool) or not isinstance(class_index, (int, np.integer)):
        raise TypeError(f"class_index: expected an integer, got {class_index!r}")
    if not 0 <= class_index < positives.num_classes:
        raise IndexError(f"class_index: expected 0 to {positives.num_classes - 1}, got {class_index}")
    if isinstance(trial, bool) or not isinstance(trial, (int, np.integer)) or not 0 <= trial < 2**31:
        raise ValueError(f"trial: expected an integer from 0, got {trial!r}")
    rows = positives.rows_of(class_index)
    unknown = rows[:0] if positives.unknown is None else positives.unknown.rows_of(class_index)
    if len(rows) >= positives.num_negatives[class_index]:
        known = np.arange(positives.num_rows if len(rows) else 0)
        return known if not len(unknown) else np.setdiff1d(known, unknown)
    excluded = np.union1d(rows, unknown)
    drawn = _core.draw_negatives(rows, positives.num_rows, class_index, int(trial), check_seed(seed), excluded)
    return np.sort(np.concatenate([rows, drawn]).astype(np.int64))
