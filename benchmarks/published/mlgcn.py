"""The meter of ML-GCN, written plainly from its definition.

It keeps scores as float32. For each class it walks down the sorted rows in a loop and sums the precision at the
positives. With difficult examples a target of 0 is skipped. Precision, recall and F1 are counted class by class.
"""

from __future__ import annotations

import numpy as np
import torch


class AveragePrecisionMeter:
    def __init__(self, difficult_examples=False):
        self.difficult_examples = difficult_examples
        self.batches = []

    def add(self, output, target):
        self.batches.append((torch.as_tensor(output).float(), torch.as_tensor(target).long()))

    def value(self):
        scores, targets = (torch.cat(parts) for parts in zip(*self.batches, strict=True))
        ap = torch.zeros(scores.shape[1])
        for c in range(scores.shape[1]):
            rank, hits, total = 0, 0, 0.0
            for row in torch.sort(scores[:, c], descending=True, stable=True).indices:
                target = targets[row, c]
                if self.difficult_examples and target == 0:
                    continue
                rank += 1
                if target == 1:
                    hits += 1
                    total += hits / rank
            ap[c] = total / hits
        return ap

    def overall(self):
        scores, targets = (torch.cat(parts).numpy() for parts in zip(*self.batches, strict=True))
        num_classes = scores.shape[1]
        hits, predicted, truth = (np.zeros(num_classes) for _ in range(3))
        for c in range(num_classes):
            reached = scores[:, c] >= 0
            predicted[c] = max(reached.sum(), 1)
            truth[c] = (targets[:, c] == 1).sum()
            hits[c] = (reached & (targets[:, c] == 1)).sum()
        pooled = hits.sum() / predicted.sum(), hits.sum() / truth.sum()
        means = (hits / predicted).mean(), (hits / truth).mean()
        return *pooled, 2 * np.prod(pooled) / sum(pooled), *means, 2 * np.prod(means) / sum(means)
