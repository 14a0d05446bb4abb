"""The statistics of AST and PSLA, written plainly from their definition: scikit-learn's functions for each class."""

from __future__ import annotations

import numpy as np
from sklearn import metrics

STEP = 1000  # every so many points of a curve are kept


def calculate_stats(output, target):
    accuracy = metrics.accuracy_score(np.argmax(target, 1), np.argmax(output, 1))
    found = []
    for c in range(target.shape[-1]):
        truth, scores = target[:, c], output[:, c]
        precisions, recalls, _ = metrics.precision_recall_curve(truth, scores)
        fpr, tpr, _ = metrics.roc_curve(truth, scores)
        found.append(
            {
                "precisions": precisions[::STEP],
                "recalls": recalls[::STEP],
                "AP": metrics.average_precision_score(truth, scores, average=None),
                "fpr": fpr[::STEP],
                "fnr": 1.0 - tpr[::STEP],
                "auc": metrics.roc_auc_score(truth, scores, average=None),
                "acc": accuracy,
            }
        )
    return found


def d_prime(auc):
    from scipy.stats import norm

    return np.sqrt(2.0) * norm.ppf(auc)
