"""The mAP of ASL, ML-Decoder and their forks, and the VOC envelope mAP of Query2Label and SSGRL.

    from vltr_eval.compat.asl import mAP          # Alibaba-MIIL/ASL src/helper_functions/helper_functions.py@8c9e0bd8,
                                                  # Alibaba-MIIL/ML_Decoder (src_files, the same code)@8a9e984f
    from vltr_eval.compat.asl import voc_mAP      # SlongLiu/query2labels lib/utils/metric.py@55eb0506
    from vltr_eval.compat.asl import voc12_mAP    # HCPLab-SYSU/SSGRL utils/metrics.py@ea47ccb2

Their conventions are kept:

- `mAP` is in percent. AP is the sum of the precision at the positives over the number of positives plus 1e-8. A class
  without positives has AP 0 and counts in the mean. A target is positive if it is 1.
- `voc_mAP` reads files of scores and labels. Precision at a recall is the highest one at that recall or above. A class
  without positives has AP NaN, and so is the mean. A label is positive if it is above 0 as an integer.

Different on purpose:

- Among equal scores the higher row ranks first in `mAP`, as in a stable argsort read backwards, and the lower row in
  `voc_mAP`. The originals use numpy's unstable argsort: with ties their number depends on numpy and the CPU, and ours
  lies in the same tie interval.
- A NaN score is a ValueError that names row and class. The originals rank it first, or last in `voc_mAP`.
- A masked cell of a masked array is a ValueError.
- Blank lines in a file are skipped. The originals fail there.
- numpy's print options stay those of the caller. The originals set precision 6 in Query2Label, 3 in SSGRL, and
  ``suppress=True`` for the rest of the process. A log with the originals' digits needs
  ``np.set_printoptions(precision=6, suppress=True)`` of its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from vltr_eval._engine.positive_ranks import PositiveRanks
from vltr_eval.metrics.tie_orders import positive_ranks

__all__ = ["average_precision", "mAP", "voc12_mAP", "voc_mAP"]

_EPSILON = 1e-8


def average_precision(output: Any, target: Any) -> Any:
    """AP of one class.

    Args:
        output: (N,) array of scores.
        target: (N,) array; 1 is positive.

    Returns:
        A float64 between 0 and 1.

    Raises:
        ValueError: A score is NaN.
        IndexError: There are no rows, or fewer targets than scores.

    Example:
        >>> round(float(average_precision(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1]))), 9)
        0.833333329
    """
    output, target = np.asanyarray(output), np.asanyarray(target)
    if not len(output):
        raise IndexError("output: expected at least one row, got none")
    return _average_precision(output.reshape(-1, 1), target.reshape(-1, 1))[0]


def mAP(targs: Any, preds: Any) -> Any:
    """Mean of AP over all classes, in percent.

    Args:
        targs: (N, C) array; 1 is positive.
        preds: (N, C) array of scores.

    Returns:
        A float64 between 0 and 100; 0 without scores.

    Raises:
        ValueError: A score is NaN.
        IndexError: There are fewer rows or classes of targets than of scores.

    Example:
        >>> float(mAP(np.array([[1, 0], [0, 1], [1, 0]]), np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])))
        66.66666620833334
    """
    if np.size(preds) == 0:
        return 0
    return 100 * _average_precision(np.asanyarray(preds), np.asanyarray(targs)).mean()


def voc_mAP(imagessetfilelist: str | Sequence[str], num: int, return_each: bool = False) -> Any:
    """Mean of the envelope AP over all classes of files, in percent, as Query2Label has it.

    Args:
        imagessetfilelist: A file, or several that are read one after another. A line has the ``num`` scores of a row,
            then its ``num`` labels, with one space between.
        num: The number of classes.
        return_each: Whether to return the AP of each class too.

    Returns:
        A float64, or with ``return_each`` that and a (num,) array. NaN for a class without positives.

    Raises:
        ValueError: A line has another number of columns, or a score is NaN.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "scores.txt")
        ...     _ = path.write_text("0.9 0.1 1 0\\n0.8 0.2 0 0\\n0.7 0.3 1 1\\n")
        ...     print(round(float(voc_mAP(str(path), 2)), 3))
        91.667
    """
    files = [imagessetfilelist] if isinstance(imagessetfilelist, (str, os.PathLike)) else list(imagessetfilelist)
    values = _envelope_average_precision(files, num) * 100
    mean = np.mean(values)
    return (mean, values) if return_each else mean


def voc12_mAP(imagessetfile: str, num: int) -> Any:
    """Mean of the envelope AP over all classes of a file, a fraction, as SSGRL has it; see `voc_mAP`."""
    values = _envelope_average_precision([imagessetfile], num)
    return np.mean(values)


def _average_precision(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(C,) float64"""
    if any(have < need for have, need in zip(targets.shape, scores.shape, strict=True)):
        raise IndexError(f"targets: expected at least the shape of the scores {scores.shape}, got {targets.shape}")
    ranks = positive_ranks(scores, targets[: len(scores), : scores.shape[1]] == 1, order="reversed")
    sums: np.ndarray = _sums(ranks, ranks.precision()) / (ranks.num_positives + _EPSILON)
    return sums


def _sums(ranks: PositiveRanks, values: np.ndarray) -> np.ndarray:
    """Sum of the values of each class; 0 without positives."""
    out = np.zeros(ranks.num_classes)
    has = ranks.num_positives > 0
    if has.any():
        out[has] = np.add.reduceat(values, ranks.indptr[:-1][has])
    return out


def _envelope_average_precision(files: list[Any], num: int) -> np.ndarray:
    """(num,) float64, NaN without positives."""
    cells = np.concatenate([np.loadtxt(file, delimiter=" ", comments=None, ndmin=2) for file in files])
    labels = cells[:, num:].astype(np.int32)[:, :num] > 0
    ranks = positive_ranks(np.ascontiguousarray(cells[:, :num]), labels, order="rows")
    return ranks.interpolated_average_precision()
