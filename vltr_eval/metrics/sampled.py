"""Sampled AP: AP over balanced resamples ("A Study on Action Detection in the Wild", arXiv 1904.12993)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arguments import check_seed, check_trials
from vltr_eval._engine.draws import mean_and_std
from vltr_eval._engine.inputs import positives_alone, read_matrix_and_positives
from vltr_eval._engine.rank_scan import rank_scan
from vltr_eval._engine.rank_table import absent_value, mean_of_defined

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
    matrix_of_trials = rank_scan(matrix, positives, trials=check_trials(trials), seed=seed, threads=threads).trials
    matrix_of_trials[:, positives.counts == 0] = value
    return SampledAP(*mean_and_std(matrix_of_trials), matrix_of_trials if return_trials else None)


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
