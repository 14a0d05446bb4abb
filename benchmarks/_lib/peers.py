"""The peers: one function each, from scores (N, C) float32 and labels (N, C) uint8 to per-class AP or ROC-AUC (C,).

Each peer gets its inputs in the form that is cheapest for it: arrays in memory, uint8 labels (int64 labels double the
time of torchmetrics), torch tensors that share memory with the numpy arrays. Each function imports its own package:
a peer that is not installed gets a row that states this, and a subprocess loads only the package that it measures.

To add a peer: write its function, add it to `PEERS`, add its package to requirements.txt.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


def sklearn_average_precision(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """scikit-learn: one stable argsort of N scores a class, one thread."""
    from sklearn.metrics import average_precision_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn gives 0 to classes without positives; the comparison skips them
        return np.atleast_1d(average_precision_score(labels, scores, average=None))


def sklearn_roc_auc(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """scikit-learn: as for AP, one stable argsort a class."""
    from sklearn.metrics import roc_auc_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.atleast_1d(roc_auc_score(labels, scores, average=None))


def torchmetrics_average_precision(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """torchmetrics, functional, exact mode (thresholds=None): one torch.sort of N scores a class."""
    import torch
    from torchmetrics.functional.classification import multilabel_average_precision

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ap = multilabel_average_precision(
            torch.from_numpy(scores), torch.from_numpy(labels), num_labels=scores.shape[1], average=None
        )
    return ap.numpy()


def torcheval_average_precision(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """torcheval, functional, exact mode: one torch sort of N scores a class."""
    import torch
    from torcheval.metrics.functional import multilabel_auprc

    ap = multilabel_auprc(torch.from_numpy(scores), torch.from_numpy(labels), num_labels=scores.shape[1], average=None)
    return ap.numpy()


def torchnet_average_precision(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The torchnet-style meter of the published long-tailed video code, written from its definition.

    Precision at rank i is (positives among the i best) / i; AP is its mean over the positives. Each sample has a
    separate rank, so the sort's order of equal scores decides the result; vltr groups equal scores. The published
    meter also stores each score and an int64 label a second time; this version does not, which makes it faster.
    """
    import torch

    scores, labels = torch.from_numpy(scores), torch.from_numpy(labels)
    rank = torch.arange(1, scores.shape[0] + 1, dtype=torch.float32)
    ap = torch.zeros(scores.shape[1])
    for c in range(scores.shape[1]):
        order = torch.sort(scores[:, c], descending=True).indices
        hit = labels[order, c].float()
        ap[c] = (hit.cumsum(0) / rank * hit).sum() / hit.sum().clamp(min=1)
    return ap.numpy()


def numpy_sort(scores: np.ndarray, labels: np.ndarray) -> None:
    """One sort of each column: a measure of the machine. It computes no metric."""
    np.sort(scores, axis=0)


def numpy_positives_only(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The simple numpy version: only scores of positives can be thresholds, so it sorts nothing else."""
    ap = np.full(scores.shape[1], np.nan)
    for c in range(scores.shape[1]):
        column = scores[:, c]
        threshold, n_pos = np.unique(column[labels[:, c] != 0], return_counts=True)
        if threshold.size == 0:
            continue
        gap = np.searchsorted(threshold, column, side="right")  # number of thresholds that a score reaches
        n_all = np.bincount(gap, minlength=threshold.size + 1)[1:]  # gap 0: below every positive, changes no AP
        at_least = np.cumsum(n_all[::-1])
        tp = np.cumsum(n_pos[::-1])
        ap[c] = np.sum(n_pos[::-1] * (tp / at_least)) / tp[-1]
    return ap


def easy_average_precision(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The easy numpy version for dense classes: one SIMD sort of integers a class, no permutation.

    A positive's step in recall times the precision there, summed over the distinct scores.
    """
    ap = np.full(scores.shape[1], np.nan)
    for c in range(scores.shape[1]):
        tp, rows = _easy_counts(scores[:, c], labels[:, c])
        if tp[-1] > 0:
            ap[c] = np.sum(np.diff(tp, prepend=0) * (tp / rows)) / tp[-1]
    return ap


def easy_roc_auc(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The easy numpy version of ROC-AUC: trapezoids between the distinct scores."""
    auc = np.full(scores.shape[1], np.nan)
    for c in range(scores.shape[1]):
        tp, rows = _easy_counts(scores[:, c], labels[:, c])
        fp = rows - tp
        if tp[-1] > 0 and fp[-1] > 0:
            area = np.sum(np.diff(fp, prepend=0) * (tp - 0.5 * np.diff(tp, prepend=0)))
            auc[c] = area / (float(tp[-1]) * float(fp[-1]))
    return auc


def _easy_counts(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positives and the rows at or above each distinct score, from the highest to the lowest.

    The bits of a float are in the order of the numbers once those of negative numbers are flipped. The key is
    their complement, so it ascends as scores descend, with the label below it: one sort moves both. The two zeros
    are distinct here.
    """
    bits = np.ascontiguousarray(scores).view(np.int32)
    keys = (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).astype(np.int64)
    np.invert(keys, out=keys)
    keys <<= 1
    keys |= labels
    keys.sort()
    tp = np.cumsum(keys & 1)
    keys >>= 1
    ends = np.append(np.flatnonzero(keys[1:] != keys[:-1]), len(keys) - 1)
    return tp[ends], ends + 1


@dataclass(frozen=True)
class Peer:
    """One peer: its function, its packages, and whether it uses several threads."""

    title: str
    function: Callable[[np.ndarray, np.ndarray], np.ndarray | None]
    modules: tuple[str, ...]  # must be importable; the table states the version of the first
    threaded: bool
    metric: str = "ap"  # or "roc_auc": the row of vltr that its result is compared with
    on_dense: bool = True  # False: not measured on dense shapes


PEERS: dict[str, Peer] = {
    "sort": Peer("np.sort of the columns", numpy_sort, ("numpy",), threaded=False),
    "sklearn": Peer("scikit-learn AP", sklearn_average_precision, ("sklearn",), threaded=False),
    "sklearn_auc": Peer("scikit-learn ROC-AUC", sklearn_roc_auc, ("sklearn",), threaded=False, metric="roc_auc"),
    "easy": Peer("easy numpy AP", easy_average_precision, ("numpy",), threaded=False),
    "easy_auc": Peer("easy numpy ROC-AUC", easy_roc_auc, ("numpy",), threaded=False, metric="roc_auc"),
    "torchmetrics": Peer(
        "torchmetrics", torchmetrics_average_precision, ("torchmetrics", "torch"), threaded=True, on_dense=False
    ),
    "torcheval": Peer("torcheval", torcheval_average_precision, ("torcheval", "torch"), threaded=True, on_dense=False),
    "torchnet": Peer("torchnet-style APMeter", torchnet_average_precision, ("torch",), threaded=True, on_dense=False),
    "numpy": Peer("numpy, positives only", numpy_positives_only, ("numpy",), threaded=False, on_dense=False),
}
