"""The metrics of CLIP_benchmark, written plainly from their definition: AP of each class by a sort in float32."""

from __future__ import annotations

import torch


def average_precision_per_class(scores, targets):
    ap = torch.zeros(scores.shape[1])
    for c in range(scores.shape[1]):
        order = torch.sort(scores[:, c], descending=True, stable=True).indices
        truth = targets[order, c].float()
        precision = truth.cumsum(0) / torch.arange(1, len(truth) + 1)
        ap[c] = precision[truth == 1].sum() / max(float(truth.sum()), 1)
    return ap


def accuracy(output, target, topk=(1,)):
    order = output.sort(dim=1, descending=True, stable=True).indices
    return [float((order[:, :k] == target[:, None]).any(1).double().mean()) for k in topk]
