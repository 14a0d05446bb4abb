"""The peers: one function each, from scores (N, C) float32 and labels (N, C) uint8 to per-class AP (C,).

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


@dataclass(frozen=True)
class Peer:
    """One peer: its function, its packages, and whether it uses several threads."""

    title: str
    function: Callable[[np.ndarray, np.ndarray], np.ndarray]
    modules: tuple[str, ...]  # must be importable; the table states the version of the first
    threaded: bool


PEERS: dict[str, Peer] = {
    "sklearn": Peer("scikit-learn", sklearn_average_precision, ("sklearn",), threaded=False),
    "torchmetrics": Peer("torchmetrics", torchmetrics_average_precision, ("torchmetrics", "torch"), threaded=True),
    "torcheval": Peer("torcheval", torcheval_average_precision, ("torcheval", "torch"), threaded=True),
    "torchnet": Peer("torchnet-style APMeter", torchnet_average_precision, ("torch",), threaded=True),
    "numpy": Peer("numpy, positives only", numpy_positives_only, ("numpy",), threaded=False),
}
