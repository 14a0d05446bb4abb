"""Sampled AP: AP over balanced resamples ("A Study on Action Detection in the Wild", arXiv 1904.12993)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vltr_eval import _core
from vltr_eval.arrays import num_threads
from vltr_eval.inputs import read_matrix_and_positives, to_labels
from vltr_eval.labels import Positives
from vltr_eval.rank_table import RankTable, absent_value, mean_of_defined
from vltr_eval.scan import check_seed, check_trials, scan

__all__ = ["SampledAP", "sampled_average_precision", "sap_subset"]


class SampledAP(NamedTuple):
    """mean, std: (C,) over the trials (std with ddof 1, NaN for one trial); trials: (T, C) of AP, when asked for."""

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
    threads: int | None = None,
) -> SampledAP:
    """Sampled AP of each class: the mean over trials of AP on its positives and as many negatives drawn at random.

    scores, labels: see `rank_table`. Each trial draws without replacement from the rows without the label; a class with
    no more negatives than positives takes all of them every time. A class without positives is NaN (0 with
    ``absent="zero"``), one without negatives 1. The rows drawn depend on labels, class, trial and seed alone
    (`sap_subset` gives them): the same on every device and thread count, and for every model that is compared.

    >>> sampled_average_precision(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [0]]), trials=2).mean
    array([1.])
    """
    value = absent_value(absent)
    matrix, positives = read_matrix_and_positives(scores, labels, threads)
    matrix_of_trials = scan(matrix, positives, trials=check_trials(trials), seed=seed, threads=threads).trials
    matrix_of_trials[:, positives.counts == 0] = value
    return SampledAP(*mean_and_std(matrix_of_trials), matrix_of_trials if return_trials else None)


def mean_and_std(trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over the first axis; the deviation with ddof 1, and so NaN for one trial."""
    if len(trials) == 1:
        return trials[0].copy(), np.full(trials.shape[1:], np.nan)
    return trials.mean(axis=0), trials.std(axis=0, ddof=1)


def sap_subset(
    labels: Any, class_index: int, trial: int, seed: int = 0, *, num_classes: int | None = None
) -> np.ndarray:
    """Rows that a trial of `sampled_average_precision` scores for one class: all positives and the drawn negatives.

    labels: any form that `rank_table` takes; lists and class indices need ``num_classes``. Returns (2 P,) int64,
    ascending, or (N,) where the class has no more negatives than positives. Any other library's AP on these rows is
    the trial's AP.

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
    own = positives.rows_of(class_index)
    if 2 * len(own) >= positives.num_rows:
        return np.arange(positives.num_rows if len(own) else 0)
    drawn = _core.draw_negatives(own, positives.num_rows, class_index, int(trial), check_seed(seed))
    return np.sort(np.concatenate([own, drawn]).astype(np.int64))


def draws_per_trial(positives: Positives) -> np.ndarray:
    """Negatives of each class that a trial draws: (C,) int64; 0 where it takes all of them."""
    counts = positives.counts
    return np.where(2 * counts < positives.num_rows, counts, 0)


def draw_rows(
    positives: Positives, first_trial: int, trials: int, seed: int, *, threads: int | None = None
) -> np.ndarray:
    """Rows of the negatives that trials draw: (M,) uint32, class after class, in each trial after trial."""
    return _core.draw_rows(
        positives.indptr, positives.rows, positives.num_rows, first_trial, trials, seed, num_threads(threads)
    )


def average_trials(table: RankTable, drawn: np.ndarray, *, threads: int | None = None) -> np.ndarray:
    """AP of trials: (T, C) float64, the same bits as of `scan`.

    drawn: (T, K) int32, drawn negatives that reach a threshold of the table but not the one before it.
    """
    return _core.average_trials(table.indptr, table.tp, table.fp, drawn, table.num_rows, num_threads(threads))


def positives_alone(labels: Any, num_classes: int | None) -> Positives:
    """Labels without scores: their own shape tells rows and, if they are dense or sparse, classes."""
    labels = to_labels(labels, num_classes)
    if isinstance(labels, Positives):
        return labels
    shape = getattr(labels, "shape", None)
    if shape is None:
        shape = (getattr(labels, "num_rows", None) or len(labels),)
        num_classes = num_classes or getattr(labels, "num_classes", None)
    if len(shape) == 2:
        num_classes = shape[1]
    if num_classes is None:
        raise ValueError("num_classes: expected the number of classes with labels that do not tell it, got None")
    return Positives.from_labels(labels, shape[0], num_classes)
