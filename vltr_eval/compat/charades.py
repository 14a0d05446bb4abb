"""The mAP of Charades (gsig/charades-algorithms pytorch/utils/map.py@927794cd), and the one of W-TALC.

    from vltr_eval.compat import charades as map                          # for map.map and map.charades_map
    from vltr_eval.compat.charades import getClassificationMAP as cmAP    # sujoyp/wtalc-pytorch
                                                                          # classificationMAP.py@81ea9826

PyVideoResearch has the same functions, where a class without positives is left out of the mean: see
`vltr_eval.compat.pyvideoresearch`. Their conventions are kept:

- AP is the mean of the precision at the positives, a fraction. A label is positive if it is 1. A class without
  positives has AP NaN, and so is the mean.
- `charades_map` first gives rows without labels the score -inf in all classes, so that they rank last.
- The weighted AP of a class is its AP times its share of the sum of all labels. The vector sums to the weighted mAP.
- `getClassificationMAP` is in percent. Its numbers of positives are the sums of labels.

Different on purpose:

- Equal scores rank in the order of their rows, as in a stable argsort. The originals use numpy's unstable argsort: with
  ties their number depends on numpy and the CPU, and ours lies in the same tie interval.
- A NaN score is a ValueError that names row and class. The originals rank it last.
- A masked cell of a masked array is a ValueError.
- They run on numpy 2, where the originals lack np.NINF.
- `getClassificationMAP` sums in float64 before it rounds to float32; W-TALC adds float32 numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vltr_eval.metrics.tie_orders import positive_ranks

__all__ = ["charades_map", "getClassificationMAP", "map"]


def map(submission_array: Any, gt_array: Any) -> tuple[Any, Any, Any]:
    """Mean of AP, weighted AP of each class, and AP of each class.

    Args:
        submission_array: (N, C) array of scores.
        gt_array: (N, C) array of labels; 1 is positive.

    Returns:
        A float64 and two (C,) float64 arrays, with NaN for a class without positives.

    Raises:
        ValueError: A score is NaN.

    Example:
        >>> scores, labels = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]), np.array([[1, 0], [0, 1], [1, 0]])
        >>> mean, weighted, each = map(scores, labels)
        >>> float(mean), float(weighted.sum()), each.tolist()
        (0.6666666666666666, 0.7222222222222221, [0.8333333333333333, 0.5])
    """
    values, weighted = average_precisions(submission_array, gt_array)
    return np.mean(values), weighted, values


def charades_map(submission_array: Any, gt_array: Any) -> tuple[Any, Any, Any]:
    """`map` after rows without labels were moved to the end; the arrays are unchanged.

    Example:
        >>> scores, labels = np.array([[0.9], [0.8], [0.7]]), np.array([[0], [1], [1]])
        >>> float(charades_map(scores, labels)[0])
        1.0
    """
    return map(empty_rows_last(submission_array, gt_array), gt_array)


def getClassificationMAP(confidence: Any, labels: Any) -> Any:
    """Mean of AP in percent.

    Args:
        confidence: (N, C) array of scores.
        labels: (N, C) array of labels; 1 is positive.

    Returns:
        A float64; NaN if a class has no positives.

    Raises:
        ValueError: A score is NaN.
        ZeroDivisionError: There are no classes.

    Example:
        >>> round(float(getClassificationMAP(np.array([[0.9], [0.8], [0.7]]), np.array([[1], [0], [1]]))), 4)
        83.3333
    """
    labels = np.asanyarray(labels)
    each, num_positives = _of_classes(np.asanyarray(confidence)[:, : labels.shape[1]], labels)
    values = np.nan_to_num(each * num_positives).astype(np.float32) / np.sum(labels, axis=0)
    return 100 * sum(values) / len(values)


def average_precisions(submission_array: Any, gt_array: Any) -> tuple[np.ndarray, np.ndarray]:
    """AP and weighted AP of each class."""
    values, _ = _of_classes(submission_array, gt_array[:, : submission_array.shape[1]])
    return values, values * gt_array.sum(axis=0) / gt_array.sum().astype(float)


def empty_rows_last(submission_array: Any, gt_array: Any) -> Any:
    """A copy of the scores, -inf in rows whose labels sum to 0."""
    scores = submission_array.copy()
    scores[np.sum(gt_array, axis=1) == 0, :] = -np.inf
    return scores


def _of_classes(scores: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """AP, NaN without positives, and the number of positives of each class."""
    if not len(scores):
        return np.full(scores.shape[1], np.nan), np.zeros(scores.shape[1], np.int64)
    ranks = positive_ranks(_descending(scores), labels == 1, order="rows")
    return ranks.average_precision(), ranks.num_positives


def _descending(scores: Any) -> Any:
    """Scores that rank as the originals' ascending sort of ``-scores``, where unsigned integers wrap around."""
    scores = np.asanyarray(scores)
    return ~(-scores) if scores.dtype.kind in "iu" else scores
