"""Running AP."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vltr_eval._engine.rank_table import RankTable
from vltr_eval.compat.torchmetrics.batches import OverBatches
from vltr_eval.compat.torchmetrics.evaluation import evaluated, reduced
from vltr_eval.compat.torchmetrics.inputs import check_average, check_num_labels
from vltr_eval.compat.torchmetrics.originals import Metric

__all__ = ["RunningAveragePrecision"]


class RunningAveragePrecision(OverBatches, Metric):
    """Running AP, by which FrameStack mixes videos (VideoLT, arXiv 2105.02668, Algorithm 1): AP over an epoch's stream.

    Scores are ranked as they are, in their own dtype; labels are 0/1 of any dtype and kept in a byte each. No `update`
    waits for a device: a bad label is a ValueError of `compute`.

    A label without positives has AP 0, as in VideoLT's published code, and so has every label before the first update.

    Args:
        num_labels: C, at least 2.
        capacity: The most rows between two `reset`; one more is a ValueError, not an exhausted memory.
        average: As `MultilabelAveragePrecision`, but None by default, so that `compute` gives (C,).
        kwargs: The arguments of torchmetrics' Metric.

    Example:
        >>> running = RunningAveragePrecision(num_labels=2, capacity=3)
        >>> running.update(torch.tensor([[.9, .1], [.8, .2]]), torch.tensor([[1, 0], [0, 0]]))
        >>> running.update(torch.tensor([[.7, .3]]), torch.tensor([[1, 0]]))
        >>> running.compute()
        tensor([0.8333, 0.0000])
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    plot_legend_name = "Label"
    _kept = ("scores", "labels")
    scores: list[Tensor]
    labels: list[Tensor]

    def __init__(self, num_labels: int, capacity: int, average: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_num_labels(num_labels)
        check_average(average)
        if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1:
            raise ValueError(f"capacity: expected a positive integer, got {capacity!r}")
        self.num_labels, self.capacity, self.average = num_labels, capacity, average
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Takes a batch: (B, C) scores of any real dtype and labels."""
        if preds.ndim != 2 or preds.shape[1] != self.num_labels:
            raise ValueError(f"preds: expected shape (B, {self.num_labels}), got {tuple(preds.shape)}")
        if target.shape != preds.shape:
            raise ValueError(f"target: expected shape {tuple(preds.shape)} as preds, got {tuple(target.shape)}")
        self._check_room(preds)
        self._keep(preds.detach().clone(), _as_bytes(target))

    def forward(self, preds: Tensor, target: Tensor) -> Tensor:
        """Takes a batch and gives the AP of that batch alone."""
        self._check_room(preds)  # before earlier batches are put aside, which `update` then cannot see
        value: Tensor = super().forward(preds, target)
        return value

    def _check_room(self, preds: Tensor) -> None:
        free = self.capacity - sum(map(len, self.labels))
        if len(preds) > free:
            raise ValueError(
                f"preds: expected at most {free} more rows for a capacity of {self.capacity}, got {len(preds)}; "
                "call reset() after each epoch"
            )

    def compute(self) -> Tensor:
        """AP of all rows since the last `reset`, and under torch.distributed of those of all processes."""
        scores, labels = self._shards()
        if self._group is None and not any(map(len, scores)):
            return reduced(np.zeros(self.num_labels), self.average, np.zeros(self.num_labels), self.device)
        metric = functools.partial(RankTable.average_precision, absent="zero")
        return evaluated(metric, scores, labels, self.average, self._group)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """As torchmetrics' metrics: the values of one or several `compute`."""
        return self._plot(val, ax)


def _as_bytes(labels: Tensor) -> Tensor:
    """0, 1, or 2 for anything else, which `compute` then refuses."""
    if labels.dtype == torch.bool:
        return labels.clone()
    return torch.where((labels == 0) | (labels == 1), labels, 2).to(torch.uint8)
