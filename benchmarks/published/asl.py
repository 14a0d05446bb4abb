"""The mAP of ASL and the envelope mAP of Query2Label, written plainly from their definition.

Each class is sorted by itself. AP is the sum of the precision at the positives over the number of positives plus 1e-8.
The envelope AP goes over all rows in a loop and takes the highest precision at each recall or above.
"""

from __future__ import annotations

import numpy as np


def average_precision(output, target):
    truth = target[np.argsort(output, kind="stable")[::-1]] == 1
    precision = truth.cumsum() / np.arange(1, len(truth) + 1)
    return (precision * truth).sum() / (truth.sum() + 1e-8)


def mAP(targs, preds):
    return 100 * np.mean([average_precision(preds[:, c], targs[:, c]) for c in range(preds.shape[1])])


def envelope(scores, labels):
    truth = [bool(labels[row] > 0) for row in np.argsort(-scores, kind="stable")]
    precision = [sum(truth[:n]) / n for n in range(1, len(truth) + 1)]
    best, total = 0.0, 0.0
    for rank in reversed(range(len(truth))):
        best = max(best, precision[rank])
        total += best * truth[rank]
    return total / sum(truth) if any(truth) else np.nan


def voc_mAP(path, num):
    with open(path) as file:
        cells = np.array([[float(word) for word in line.split(" ")] for line in file])
    return 100 * np.mean([envelope(cells[:, c], cells[:, num + c]) for c in range(num)])
