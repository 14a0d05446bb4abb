"""The evaluation functions of mmaction2, and its accuracy metric for mmengine, under their own names.

    from vltr_eval.compat.mmaction2 import mean_average_precision     # was: from mmaction.evaluation import
    val_evaluator = dict(type="vltr_eval.compat.mmaction2.AccMetric")   # was: dict(type="AccMetric")

The numbers are those of open-mmlab/mmaction2 mmaction/evaluation/functional/accuracy.py at commit 4d6c9347 (1.2), whose
functions here are equal to those of 0.x (mmaction/core/evaluation/accuracy.py at dbb8f064), with their quirks:

- A label is positive if it equals 1; every other value is negative.
- `mean_average_precision` leaves out classes without positives, and is NaN if none is left. If scores and labels have
  different numbers of classes, the further classes of the longer one are ignored.
- `mmit_mean_average_precision` is the mean of the AP of each ROW. One row without labels makes it NaN.
- Equal scores are one threshold, but equal infinities are not: the higher row has the higher rank.
- `top_k_accuracy` counts a label that is no class as a miss. k = 0 means all classes.
- `mean_class_accuracy` is the mean over the classes that occur as a label or as a prediction. A class that is predicted
  and never a label counts as 0. The class of `top_k_classes` is a position among these classes.
- `confusion_matrix` has a row for each class that occurs. A label -1 ("no label") counts as the greatest class.

Different on purpose:

- A NaN score is a ValueError that names row and class, in the two mean AP and in `top_k_accuracy`. The original ranks
  NaN first. `mean_class_accuracy` takes NaN as the highest score, as there.
- `top_k_accuracy` and `top_k_classes` sort equal numbers by the higher index first, as a stable sort that is reversed.
  With ties the original's number depends on numpy and the CPU; ours lies in the same tie interval.
- Labels of `top_k_accuracy` must be (N,). The original gives a number without meaning for some matrices.
- A call warns once of all classes, or rows, without positives.

The functions need numpy alone, and `AccMetric` needs torch and mmengine. Names of the original that are not native are
those of the installed mmaction2: `average_precision_at_temporal_iou`, `average_recall_at_avg_proposals`,
`pairwise_temporal_iou`, `read_labelmap`, `results2csv`, `ActivityNetLocalization` and `ConfusionMatrix`. `ava_eval` is
that of `vltr_eval.compat.ava.mmaction2`.
"""

from __future__ import annotations

import importlib
from typing import Any

from vltr_eval.compat.mmaction2.accuracy import (
    binary_precision_recall_curve,
    confusion_matrix,
    get_weighted_score,
    interpolated_precision_recall,
    mean_average_precision,
    mean_class_accuracy,
    mmit_mean_average_precision,
    softmax,
    top_k_accuracy,
    top_k_classes,
)

__all__ = [
    "AccMetric",
    "binary_precision_recall_curve",
    "confusion_matrix",
    "get_weighted_score",
    "interpolated_precision_recall",
    "mean_average_precision",
    "mean_class_accuracy",
    "mmit_mean_average_precision",
    "softmax",
    "top_k_accuracy",
    "top_k_classes",
]

# Names whose modules are imported when they are first used: they need more than numpy.
_ELSEWHERE = {"AccMetric": "mmaction2.metrics", "ava_eval": "ava.mmaction2"}
_ORIGINAL = (
    "ActivityNetLocalization",
    "ConfusionMatrix",
    "average_precision_at_temporal_iou",
    "average_recall_at_avg_proposals",
    "pairwise_temporal_iou",
    "read_labelmap",
    "results2csv",
)


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(importlib.import_module(f"vltr_eval.compat.{_ELSEWHERE[name]}"), name)
    if name not in _ORIGINAL:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in ("mmaction.evaluation", "mmaction.core.evaluation"):
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"{name} is not native and needs mmaction2, which is not installed: pip install mmaction2")
