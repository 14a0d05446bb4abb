"""The accuracies of OLTR's utils, written plainly from their definition: a pass over all samples for each class."""

from __future__ import annotations

import numpy as np


def shot_acc(preds, labels, train_data, many_shot_thr=100, low_shot_thr=20, acc_per_cls=False):
    groups, each = ([], [], []), []
    for c in sorted(set(labels.tolist())):
        of_class = labels == c
        accuracy = (preds[of_class] == c).sum() / of_class.sum()
        count = (train_data == c).sum()
        groups[0 if count > many_shot_thr else 2 if count < low_shot_thr else 1].append(accuracy)
        each.append(accuracy)
    means = tuple(np.mean(group or [0]) for group in groups)
    return (*means, each) if acc_per_cls else means


def weighted_shot_acc(preds, labels, ws, train_data, many_shot_thr=100, low_shot_thr=20):
    groups = ([], [], [])
    for c in sorted(set(labels.tolist())):
        weights = ws[labels == c]
        accuracy = (weights * (preds[labels == c] == c)).sum() / weights.sum()
        count = (train_data == c).sum()
        groups[0 if count > many_shot_thr else 2 if count < low_shot_thr else 1].append(accuracy)
    return tuple(np.mean(group) if group else np.nan for group in groups)
