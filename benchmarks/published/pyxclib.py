"""The metrics of pyxclib, written plainly from their definition: a loop over the rows and their k best classes.

Labels are sparse; scores are dense, or sparse with the classes that a row lists.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix, issparse


def _places(X, Y, k):
    """The labels at the first k places, and all labels, of each row."""
    for row in range(Y.shape[0]):
        own = dict(zip(*(part[Y.indptr[row] : Y.indptr[row + 1]] for part in (Y.indices, Y.data)), strict=True))
        if issparse(X):
            part = slice(X.indptr[row], X.indptr[row + 1])
            classes, scores = X.indices[part], X.data[part]
        else:
            classes, scores = np.arange(X.shape[1]), X[row]
        yield [c for _, c in sorted(zip(-scores, classes, strict=True))[:k]], own


def precision(X, true_labels, k=5):
    means = np.zeros(k)
    for best, own in _places(X, true_labels, k):
        means += [sum(own.get(c, 0) for c in best[:n]) / n for n in range(1, k + 1)]
    return means / true_labels.shape[0]


def recall(X, true_labels, k=5):
    means = np.zeros(k)
    for best, own in _places(X, true_labels, k):
        means += [sum(own.get(c, 0) for c in best[:n]) / (sum(own.values()) or 1) for n in range(1, k + 1)]
    return means / true_labels.shape[0]


def ndcg(X, true_labels, k=5):
    means = np.zeros(k)
    for best, own in _places(X, true_labels, k):
        for n in range(1, k + 1):
            gain = sum(own.get(c, 0) / np.log2(place + 2) for place, c in enumerate(best[:n]))
            limit = sum(1 / np.log2(place + 2) for place in range(min(n, int(sum(own.values())))))
            means[n - 1] += gain / limit if gain else 0
    return (means / true_labels.shape[0]).astype(np.float32)


def _scored(metric, X, true_labels, inv_psp, k):
    scaled = csr_matrix(true_labels.multiply(inv_psp))
    return metric(X, scaled, k) / metric(scaled, scaled, k)


def psprecision(X, true_labels, inv_psp, k=5):
    return _scored(precision, X, true_labels, inv_psp, k)


def compute_inv_propesity(labels, A, B):
    factor = (np.log(labels.shape[0]) - 1) * (B + 1) ** A
    return 1 + factor * (np.asarray(labels.sum(axis=0)).ravel() + B) ** -A
