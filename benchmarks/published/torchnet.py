"""The meters of torchnet, as the published long-tailed video code uses them, written plainly from their definition.

They keep scores as float32 and targets as int64. They sort each class and give each row a separate rank. AP is the sum
of the precision at the positives over max(positives, 1). A class without positives has AP 0 and counts in the means.
With weights, precision is the cumulative weight of the positives over that of all rows.
"""

from __future__ import annotations

import torch


class APMeter:
    def __init__(self):
        self.reset()

    def reset(self):
        self.scores, self.targets, self.weights = [], [], []

    def add(self, output, target, weight=None):
        output, target = torch.as_tensor(output), torch.as_tensor(target)
        if not torch.equal(target * target, target):
            raise AssertionError("targets must be 0 or 1")
        self.scores.append(output.reshape(len(output), -1).float())
        self.targets.append(target.reshape(len(target), -1).long())
        if weight is not None:
            self.weights.append(torch.as_tensor(weight).reshape(-1).float())

    def value(self):
        if not self.scores:
            return 0
        scores, targets = torch.cat(self.scores), torch.cat(self.targets)
        weights = torch.cat(self.weights) if self.weights else torch.ones(len(scores))
        ap = torch.zeros(scores.shape[1])
        for c in range(scores.shape[1]):
            order = torch.sort(scores[:, c], descending=True).indices
            truth, weight = targets[order, c], weights[order]
            precision = (truth * weight).cumsum(0) / weight.cumsum(0)
            ap[c] = precision[truth == 1].sum() / max(int(truth.sum()), 1)
        return ap


class mAPMeter(APMeter):
    def avg(self):
        return self.value().mean()


class LTMeter:
    """indices: class indices of each group."""

    def __init__(self, indices):
        self.indices = indices
        self.meter = mAPMeter()
        self.reset, self.add, self.avg = self.meter.reset, self.meter.add, self.meter.avg

    def value(self):
        ap = self.meter.value()
        return [ap[torch.tensor(group, dtype=torch.long)].mean() for group in self.indices]


def get_indices(counts, head=500, tail=100):
    """Return the classes [tail, medium, head] by their training counts."""
    groups = [[], [], []]
    for index, count in enumerate(counts):
        groups[0 if count <= tail else 1 if count <= head else 2].append(index)
    return groups
