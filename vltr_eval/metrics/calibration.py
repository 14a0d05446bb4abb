"""Calibration errors of scores that are probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vltr_eval._engine.calibration import Calibration, calibration_sums
from vltr_eval._engine.inputs import read_inputs
from vltr_eval.report.settings import check_bins

__all__ = ["Calibration", "calibration"]


def calibration(
    scores: Any,
    labels: Any,
    *,
    bins: int = 15,
    mask: Any = None,
    unknown: Any = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Calibration:
    """Compare probabilities with the frequency of positives: ECE, Brier score and reliability of each class.

    Each cell (row, class) is one yes-or-no prediction. All sums are integers, so the result has the same bits for any
    order of rows, number of threads and division into shards.

    Args:
        scores: (N, C) probabilities of any real dtype; see `vltr_eval.evaluate`. Scores on a CUDA device are copied to
            CPU memory in parts.
        labels: Labels of the rows; see `vltr_eval.evaluate`.
        bins: The number of bins of equal width from 0 to 1, at most 1,000. Bin k holds k / bins < score <=
            (k + 1) / bins, and the first one 0 as well.
        mask: Which labels are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.
        progress: Called with the fraction done.

    Returns:
        The `Calibration`: count, mean_score and frequency of the bins of each class, ece and brier of each class.

    Raises:
        ValueError: A score is outside [0, 1]; the message has its row, class and value. No sigmoid is guessed.

    Example:
        >>> found = calibration(np.float32([[.9], [.8], [.3], [.1]]), np.uint8([[1], [1], [0], [0]]), bins=2)
        >>> [round(float(value), 4) for value in (found.ece[0], found.brier[0])]
        [0.175, 0.0375]

    Source:
        Naeini, Cooper and Hauskrecht, AAAI 2015, and Guo et al., ICML 2017, for the binned error; Brier, 1950.
    """
    bins = check_bins(bins)
    inputs = read_inputs(scores, labels, mask=mask, unknown=unknown)
    sums = calibration_sums(inputs.scores, inputs.positives(threads=threads), bins, threads=threads, progress=progress)
    return Calibration(bins, inputs.scores.num_rows, sums)
