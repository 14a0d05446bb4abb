"""The mAP of Charades, written plainly from its definition: a loop over the sorted rows of each class."""

from __future__ import annotations

import numpy as np


def map(submission_array, gt_array):
    values = []
    for c in range(submission_array.shape[1]):
        truth = gt_array[np.argsort(-submission_array[:, c], kind="stable"), c] == 1
        precision = np.cumsum(truth) / np.arange(1, len(truth) + 1)
        total = 0.0
        for rank in range(len(truth)):
            if truth[rank]:
                total += precision[rank]
        values.append(total / truth.sum() if truth.any() else np.nan)
    return np.mean(values), np.array(values) * gt_array.sum(0) / gt_array.sum(), np.array(values)


def charades_map(submission_array, gt_array):
    scores = submission_array.copy()
    scores[gt_array.sum(1) == 0] = -np.inf
    return map(scores, gt_array)


def getClassificationMAP(confidence, labels):
    return 100 * map(confidence, labels)[0]
