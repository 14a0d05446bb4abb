"""The draws of sampled AP: which negatives a trial takes, and the AP of trials."""

from __future__ import annotations

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import num_threads
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_table import RankTable


def mean_and_std(trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over the first axis; the deviation with ddof 1, and so NaN for one trial."""
    if len(trials) == 1:
        return trials[0].copy(), np.full(trials.shape[1:], np.nan)
    return trials.mean(axis=0), trials.std(axis=0, ddof=1)


def draws_per_trial(positives: Positives) -> np.ndarray:
    """Negatives of each class that a trial draws: (C,) int64; 0 where it takes all of them."""
    counts = positives.counts
    return np.where(counts < positives.num_negatives, counts, 0)


def draw_rows(
    positives: Positives, first_trial: int, trials: int, seed: int, *, threads: int | None = None
) -> np.ndarray:
    """Rows of the negatives that trials draw: (M,) uint32, class after class, in each trial after trial."""
    return _core.draw_rows(
        positives.indptr,
        positives.rows,
        positives.num_rows,
        first_trial,
        trials,
        seed,
        num_threads(threads),
        None if positives.unknown is None else positives.unknown.core,
    )


def average_trials(table: RankTable, drawn: np.ndarray, *, threads: int | None = None) -> np.ndarray:
    """AP of trials: (T, C) float64, the same bits as of `rank_scan`.

    drawn: (T, K) int32, drawn negatives that reach a threshold of the table but not the one before it.
    """
    columns = table.indptr, table.tp, table.fp
    return _core.average_trials(*columns, drawn, table.num_rows, num_threads(threads), table.unknown)
