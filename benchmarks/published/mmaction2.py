"""The accuracy functions of mmaction2, written plainly from their definition.

Step AP of each class or row from a merge sort: equal scores are one threshold, and a label is positive if it is 1.
Top-k accuracy sorts every row. The accuracy of a class is that of the rows of its label.
"""

from __future__ import annotations

import numpy as np


def _step_average_precision(scores, labels):
    order = np.argsort(scores, kind="mergesort")[::-1]
    scores, positive = scores[order], labels[order] == 1
    ends = np.append(np.nonzero(np.diff(scores))[0], len(scores) - 1)
    found = np.cumsum(positive)[ends]
    if not found[-1]:
        return np.nan
    recall = found / found[-1]
    return np.sum(np.diff(np.append(0.0, recall)) * (found / (ends + 1)))


def mean_average_precision(scores, labels):
    values = [_step_average_precision(*pair) for pair in zip(np.stack(scores).T, np.stack(labels).T, strict=True)]
    values = [value for value in values if not np.isnan(value)]
    return np.mean(values) if values else np.nan


def mmit_mean_average_precision(scores, labels):
    return np.mean([_step_average_precision(*pair) for pair in zip(scores, labels, strict=True)])


def top_k_accuracy(scores, labels, topk=(1,)):
    found = []
    for k in topk:
        best = np.argsort(scores, axis=1)[:, ::-1][:, :k]
        found.append(np.mean(np.any(best == np.asarray(labels)[:, None], axis=1)))
    return found


def mean_class_accuracy(scores, labels):
    predicted, labels = np.argmax(scores, axis=1), np.asarray(labels)
    classes = np.union1d(predicted, labels)
    return np.mean([np.mean(predicted[labels == c] == c) if np.any(labels == c) else 0.0 for c in classes])
