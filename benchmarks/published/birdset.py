"""BirdSet's multilabel metrics from their definitions: torchmetrics over all rows, as in birdset/modules/metrics.

``cmAP5`` takes the mean before it selects classes, as the original does (see vltr_eval/compat/birdset.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torchmetrics import Metric
from torchmetrics.classification import MultilabelAveragePrecision

__all__ = ["TopKAccuracy", "cmAP", "cmAP5", "mAP", "pcmAP"]


def cmAP(num_labels: int, thresholds: Any = None) -> Metric:
    """The mean of AP over classes."""
    return MultilabelAveragePrecision(num_labels, average="macro", thresholds=thresholds)


def mAP(num_labels: int, thresholds: Any = None) -> Metric:
    """AP of all cells."""
    return MultilabelAveragePrecision(num_labels, average="micro", thresholds=thresholds)


class pcmAP(MultilabelAveragePrecision):
    """The mean of AP over classes, with rows of ones in each call."""

    def __init__(self, num_labels: int, padding_factor: int = 5) -> None:
        super().__init__(num_labels, average="macro")
        self.padding_factor = padding_factor

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        pad = torch.ones(self.padding_factor, logits.shape[1])
        return super().__call__(torch.cat([logits, pad]), torch.cat([targets, pad.int()]))


class cmAP5(Metric):
    """The mean of AP over classes; the threshold has no effect but NaN."""

    def __init__(self, num_labels: int, sample_threshold: int) -> None:
        super().__init__()
        self.sample_threshold = sample_threshold
        self.inner = cmAP(num_labels)
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        self.scores.append(logits)
        self.labels.append(labels)

    def compute(self) -> torch.Tensor:
        labels = torch.cat(self.labels)
        value = self.inner(torch.cat(self.scores), labels)
        return torch.where(labels.sum(dim=0) >= self.sample_threshold, value, torch.nan).nanmean()


class TopKAccuracy(Metric):
    """The share of rows with labels that have a positive among their k highest scores."""

    def __init__(self, topk: int = 1) -> None:
        super().__init__()
        self.topk = topk
        self.add_state("correct", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: torch.Tensor, targets: torch.Tensor) -> None:
        _, best = preds.topk(self.topk, dim=1, largest=True, sorted=True)
        found = targets.unsqueeze(1).expand(-1, self.topk, -1).gather(2, best.unsqueeze(-1)).any(dim=1)
        self.correct += found.sum()
        self.total += targets.size(0) - (targets.sum(dim=1) == 0).sum()

    def compute(self) -> torch.Tensor:
        return self.correct.float() / self.total
