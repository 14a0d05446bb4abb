"""The multi-label metrics of mmpretrain, written plainly from their definition.

AP in percent, one class after another: cells of label -1 are left out, the others sorted by score, and the float32
precision at the positives is summed and divided by their number. Precision, recall and F1 at a threshold, in percent.
"""

from __future__ import annotations

import torch

EPS = torch.finfo(torch.float32).eps


class AveragePrecision:
    @staticmethod
    def calculate(pred, target, average="macro"):
        values = pred.new_zeros(pred.shape[1])
        for c in range(pred.shape[1]):
            known = target[:, c] > -1
            truth = target[known, c][torch.argsort(pred[known, c], descending=True)] == 1
            hits = truth.cumsum(0)
            precision = torch.where(truth, hits, 0) / torch.arange(1, len(truth) + 1).float()
            values[c] = precision.sum() / max(hits[-1].item(), EPS)
        return values.mean() * 100 if average == "macro" else values * 100


class MultiLabelMetric:
    @staticmethod
    def calculate(pred, target, average="macro", thr=0.5):
        target = target.long()
        predicted = (pred >= thr).long()
        predicted[target == -1] = 0
        target = torch.where(target == -1, 0, target)
        dims = (0, 1) if average == "micro" else 0
        hits, found, support = (cells.sum(dims) for cells in (predicted * target, predicted, target))
        precision = hits / found.clamp(min=1).float() * 100
        recall = hits / support.clamp(min=1).float() * 100
        f1 = 2 * precision * recall / (precision + recall).clamp(min=EPS)
        if average is None:
            return precision, recall, f1, support
        return precision.mean(), recall.mean(), f1.mean(), support.sum()
