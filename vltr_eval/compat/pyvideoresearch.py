"""The mAP of PyVideoResearch (gsig/PyVideoResearch metrics/utils.py@46307b1a).

    from vltr_eval.compat.pyvideoresearch import charades_map, map

`vltr_eval.compat.charades` lists the conventions. One is not as there: a class without positives is left out of the
mean (np.nanmean). Its AP and its weighted AP are NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vltr_eval.compat.charades import average_precisions, empty_rows_last

__all__ = ["charades_map", "map"]


def map(submission_array: Any, gt_array: Any) -> tuple[Any, Any, Any]:
    """Mean of AP over classes with positives, weighted AP of each class, and AP of each class.

    See `vltr_eval.compat.charades.map`. Without any positive, the mean is NaN and numpy warns.

    Example:
        >>> scores, labels = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]), np.array([[1, 0], [0, 0], [1, 0]])
        >>> float(map(scores, labels)[0])
        0.8333333333333333
    """
    values, weighted = average_precisions(submission_array, gt_array)
    return np.nanmean(values), weighted, values


def charades_map(submission_array: Any, gt_array: Any) -> tuple[Any, Any, Any]:
    """`map` after rows without labels were moved to the end; the arrays are unchanged.

    Example:
        >>> scores, labels = np.array([[0.9], [0.8], [0.7]]), np.array([[0], [1], [1]])
        >>> float(charades_map(scores, labels)[0])
        1.0
    """
    return map(empty_rows_last(submission_array, gt_array), gt_array)
