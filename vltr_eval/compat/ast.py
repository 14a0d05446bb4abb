"""The statistics of AST, PSLA, SSAST and CAV-MAE: ``calculate_stats`` and ``d_prime`` in one pass.

    from vltr_eval.compat.ast import calculate_stats, d_prime          # was: from utilities.stats import

The originals are src/utilities/stats.py of YuanGongND/ast (31088be8), psla (ad3ea6f6), ssast (a1a3eecb) and cav-mae
(2aadc6c5), which call scikit-learn for each class. The four give the same results. This has the results, with
scikit-learn of 1.6 or later:

- ``acc`` is the accuracy of the classes with the highest output and target of each row, and the same for all classes.
  It means something for data with one label a row alone.
- A class without positives has AP 0, and its ``auc`` and ``fnr`` are NaN. So the mean of ``auc`` is NaN. CAV-MAE writes
  -1 instead and prints a line if scikit-learn raises an error, as versions before 1.6 do.
- The curves have every 1,000th point alone. Those of ``fpr`` and ``fnr`` are taken after scikit-learn has left out the
  points on straight lines, so they often have one point.
- ``d_prime`` of the mean AUC is not the mean of the d-primes.

Three differences are deliberate. The warnings of undefined results come once a call, not once a class. A score that is
NaN or infinite is a ValueError that names it. Tensors may be on a device, require gradients or be bfloat16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vltr_eval._base.arrays import borrow_matrix, read_numbers
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_scan import rank_scan
from vltr_eval.compat import sklearn
from vltr_eval.compat.sklearn._arguments import check_finite
from vltr_eval.compat.sklearn._original import warn_no_positives, warn_undefined
from vltr_eval.intervals.distributions import normal_inverse
from vltr_eval.metrics.curves import CurveRequest, ScoreCurves, find_curves

__all__ = ["calculate_stats", "d_prime"]

_STEP = 1000  # every so many points of a curve are saved
# Points of precision and recall ascend and end with (1, 0). Those of the ROC curve descend after (0, 0).
_REQUESTS = (CurveRequest("all", True, 0, _STEP), CurveRequest("corners", False, _STEP - 1, _STEP))


def calculate_stats(output: Any, target: Any) -> list[dict[str, Any]]:
    """Compute the statistics of each class, as utilities.stats.calculate_stats.

    Args:
        output: (N, C) scores.
        target: (N, C) labels of 0 and 1.

    Returns:
        A dictionary for each class: ``precisions`` and ``recalls`` with every 1,000th point from the lowest threshold
        on, ``AP``, ``fpr`` and ``fnr`` with every 1,000th point from the highest threshold on, ``auc``, and ``acc``.

    Raises:
        ValueError: NaN, infinities, labels of a class that are not two values, or shapes that do not fit.

    Example:
        >>> stats = calculate_stats(np.float32([[.9, .2], [.8, .3], [.1, .7]]), np.uint8([[1, 0], [0, 1], [1, 1]]))
        >>> [round(of_class["AP"], 4) for of_class in stats], stats[0]["acc"]
        ([0.8333, 1.0], 1.0)
    """
    scores, labels = (_to_host(name, values) for name, values in (("output", output), ("target", target)))
    num_classes = labels.shape[-1]
    best = np.argmax(labels, 1), np.argmax(scores, 1)
    if len(best[0]) != len(best[1]) or len(best[0]) == 0:
        raise ValueError(f"output: expected rows, as many as target has, got {len(best[1])} and {len(best[0])}")
    accuracy = float(np.mean(best[0] == best[1]))
    if scores.shape[1] < num_classes:
        raise IndexError(f"output: expected a column for each of the {num_classes} classes, got {scores.shape[1]}")
    scores = scores[:, :num_classes]
    try:
        positives = Positives.from_labels(labels, *scores.shape)
    except (TypeError, ValueError):
        return [_of_class(scores[:, c], labels[:, c], accuracy) for c in range(num_classes)]
    check_finite(scores, "output")
    return _of_all(scores, positives, accuracy)


def d_prime(auc: Any) -> Any:
    """Compute d-prime, the distance of two normal distributions with this area under the ROC curve.

    Args:
        auc: A number or an array.

    Returns:
        sqrt(2) times the normal quantile, a float64 or an array of the shape of ``auc``: infinite at 0 and 1, and NaN
        outside of them.

    Example:
        >>> round(float(d_prime(0.9)), 6)
        1.812388
    """
    values = np.asarray(auc)
    quantiles = np.array([_quantile(value) for value in values.reshape(-1).tolist()]).reshape(values.shape)
    if values.dtype in (np.float16, np.float32):
        quantiles = quantiles.astype(np.float32).astype(np.float64)  # as scipy's quantile
    return quantiles[()] * np.sqrt(2.0)


def _quantile(p: float) -> float:
    if 0 < p < 1:
        return normal_inverse(p)
    return {0.0: -np.inf, 1.0: np.inf}.get(p, np.nan)


def _to_host(name: str, values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return read_numbers(name, values)


def _of_class(scores: np.ndarray, labels: np.ndarray, accuracy: float) -> dict[str, Any]:
    """The statistics of a class by its definition, for labels that are not 0 and 1."""
    precisions, recalls, _ = sklearn.precision_recall_curve(labels, scores)
    fpr, tpr, _ = sklearn.roc_curve(labels, scores)
    return {
        "precisions": precisions[::_STEP],
        "recalls": recalls[::_STEP],
        "AP": sklearn.average_precision_score(labels, scores, average=None),
        "fpr": fpr[::_STEP],
        "fnr": 1.0 - tpr[::_STEP],
        "auc": sklearn.roc_auc_score(labels, scores, average=None),
        "acc": accuracy,
    }


def _of_all(scores: np.ndarray, positives: Positives, accuracy: float) -> list[dict[str, Any]]:
    matrix = borrow_matrix("output", scores)
    table = rank_scan(matrix, positives).table
    precision_recall, roc = find_curves(matrix, positives, _REQUESTS)
    num_positives, num_negatives = table.num_positives, table.num_negatives
    _warn(num_positives, num_negatives)
    average_precision, auc = table.average_precision(absent="zero").tolist(), table.roc_auc().tolist()
    recalls = _rates(precision_recall, precision_recall.tp, num_positives, 1.0)[::-1]
    precisions = (precision_recall.tp / precision_recall.reached)[::-1]
    fpr = _rates(roc, roc.fp, num_negatives, np.nan)
    fnr = 1.0 - _rates(roc, roc.tp, num_positives, np.nan)
    with_end = precision_recall.kept % _STEP == 0
    bounds = (len(precisions) - precision_recall.indptr).tolist()
    roc_bounds = roc.indptr.tolist()
    stats = []
    for c in range(len(num_positives)):
        of_class = slice(bounds[c + 1], bounds[c])
        of_roc = slice(roc_bounds[c], roc_bounds[c + 1])
        end = ((1.0,), (0.0,)) if with_end[c] else ((), ())
        stats.append(
            {
                "precisions": np.concatenate((precisions[of_class], end[0])),
                "recalls": np.concatenate((recalls[of_class], end[1])),
                "AP": average_precision[c],
                "fpr": np.concatenate(((0.0 if num_negatives[c] else np.nan,), fpr[of_roc])),
                "fnr": np.concatenate(((1.0 if num_positives[c] else np.nan,), fnr[of_roc])),
                "auc": auc[c],
                "acc": accuracy,
            }
        )
    return stats


def _rates(curves: ScoreCurves, counts: np.ndarray, totals: np.ndarray, undefined: float) -> np.ndarray:
    """Counts over the total of their class, or another value where that is 0."""
    of_count = np.repeat(totals, np.diff(curves.indptr))
    rates = np.full(len(counts), undefined)
    np.divide(counts, of_count, out=rates, where=of_count > 0)
    return rates


def _warn(num_positives: np.ndarray, num_negatives: np.ndarray) -> None:
    if not num_positives.all():
        warn_no_positives()
    if not (num_positives.all() and num_negatives.all()):
        warn_undefined("Only one class is present in y_true. ROC AUC score is not defined in that case.")
    if not num_negatives.all():
        warn_undefined("No negative samples in y_true, false positive value should be meaningless")
    if not num_positives.all():
        warn_undefined("No positive samples in y_true, true positive value should be meaningless")
