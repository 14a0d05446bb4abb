"""Drop-in for BirdSet's metrics (DBD-research-group/BirdSet, birdset/modules/metrics at 86a0777c).

Names, arguments, states and numbers are those of ``multilabel.py`` and ``multiclass.py`` there; ``load_metrics``, which
reads a configuration of hydra, stays BirdSet's. The classes are torchmetrics', as the originals are.

Quirks of the originals, which are kept:

- Scores outside 0 to 1 become probabilities by a sigmoid, as in torchmetrics: `cmAP`, `mAP` and `pcmAP` decide that
  for each batch, `cmAP5` once for all rows. The two can therefore differ if some batches look like probabilities.
- `mAP` pools all cells (micro), and is no mean over classes.
- `cmAP5` equals `cmAP` of all rows. Its threshold has no effect on the number, because the mean over classes is taken
  before the classes are selected. It is NaN only if no class has ``sample_threshold`` positives.
- `pcmAP` pads each batch of a call, and not the rows of `update`. The number depends on the number of batches.
- A class without positives follows the installed torchmetrics: it has AP 0 from version 1.4.0 on, and is left out of
  macro averages before. BirdSet pins 1.2.0.
- `BalancedAccuracy` divides by the number of predictions of a class, not by its number of targets: it is the mean
  precision of the classes that are predicted.
- `BalancedAccuracyTop5` gives the share of targets among the 5 highest scores, without any balance.

Two arguments of our own give the intended numbers: ``cmAP(..., min_positives=5)`` and ``pcmAP(..., pad_once=True)``.

The deliberate differences: a NaN score is a ValueError; `pcmAP` and `cmAP5` work on every device; `cmAP5` keeps no
second copy of all rows in its inner metric.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vltr_eval._engine.rank_table import RankTable

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise ImportError("vltr_eval.compat.birdset needs torch: pip install torch") from error

from vltr_eval.compat.torchmetrics.evaluation import average_precision_of, make_rank_table
from vltr_eval.compat.torchmetrics.multilabel import MultilabelAveragePrecision
from vltr_eval.compat.torchmetrics.originals import Metric

__all__ = ["BalancedAccuracy", "BalancedAccuracyTop5", "TopKAccuracy", "cmAP", "cmAP5", "mAP", "pcmAP"]


def _leaves_absent_out() -> bool:
    """Whether the installed torchmetrics leaves classes without positives out of averages."""
    import torchmetrics

    major, minor = torchmetrics.__version__.split(".")[:2]
    return (int(major), int(minor)) < (1, 4)


def _average_precision(table: RankTable) -> np.ndarray:
    """AP of each class as the installed torchmetrics has it."""
    return table.average_precision(absent="nan") if _leaves_absent_out() else average_precision_of(table)


class _OfInstalled(MultilabelAveragePrecision):
    """Multilabel AP with the absent classes of the installed torchmetrics."""

    _metric = staticmethod(_average_precision)


class cmAP(_OfInstalled):
    """BirdSet's ``cmAP``: the mean of AP over classes.

    Args:
        num_labels: C, at least 2.
        thresholds: As of `vltr_eval.compat.torchmetrics.MultilabelAveragePrecision`.
        min_positives: Leave classes with fewer positives out of the mean, as `cmAP5` was meant to do. The result is NaN
            if no class has that many. The original has no such argument.

    Example:
        >>> metric = cmAP(num_labels=2)
        >>> metric(torch.tensor([[.75, .05], [.45, .75], [.05, .55]]), torch.tensor([[1, 0], [0, 0], [0, 1]]))
        tensor(0.7500)
    """

    def __init__(self, num_labels: int, thresholds: Any = None, *, min_positives: int = 0) -> None:
        super().__init__(num_labels=num_labels, average="macro", thresholds=thresholds)
        if isinstance(min_positives, bool) or not isinstance(min_positives, int) or min_positives < 0:
            raise ValueError(f"min_positives: expected an integer from 0 on, got {min_positives!r}")
        if min_positives and thresholds is not None:
            raise ValueError(f"min_positives: expected 0 with thresholds, got {min_positives}")
        self.min_positives = min_positives

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Takes a batch and gives the value of that batch alone."""
        value: Tensor = super().__call__(logits, labels)
        return value

    def _evaluate(self, scores: list[Tensor], labels: list[Tensor]) -> Tensor:
        if not self.min_positives:
            return super()._evaluate(scores, labels)
        table = make_rank_table(scores, labels, self._group)
        chosen = table.average_precision(absent="zero")[table.num_positives >= self.min_positives]
        mean = chosen.mean() if len(chosen) else np.nan
        return torch.as_tensor(mean, dtype=torch.get_default_dtype(), device=scores[0].device)


class mAP(_OfInstalled):
    """BirdSet's ``mAP``: AP of all cells in one list (micro).

    Args:
        num_labels: C, at least 2.
        thresholds: As of `vltr_eval.compat.torchmetrics.MultilabelAveragePrecision`.

    Example:
        >>> metric = mAP(num_labels=2)
        >>> metric(torch.tensor([[.75, .05], [.45, .75], [.05, .55]]), torch.tensor([[1, 0], [0, 0], [0, 1]]))
        tensor(0.8333)
    """

    def __init__(self, num_labels: int, thresholds: Any = None) -> None:
        super().__init__(num_labels=num_labels, average="micro", thresholds=thresholds)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Takes a batch and gives the value of that batch alone."""
        value: Tensor = super().__call__(logits, labels)
        return value


class pcmAP(_OfInstalled):
    """BirdSet's ``pcmAP``: the mean of AP over classes, with rows of ones that are positives of all classes.

    A call pads its batch; `update` does not pad. A row of ones ranks highest among probabilities.

    Args:
        num_labels: C, at least 2.
        padding_factor: The number of rows of ones.
        average: As of `vltr_eval.compat.torchmetrics.MultilabelAveragePrecision`.
        thresholds: See there.
        pad_once: Pad in `compute`, once for all rows, however they came. The original has no such argument.
        kwargs: See there.

    Example:
        >>> metric = pcmAP(num_labels=2, padding_factor=1)
        >>> metric(torch.tensor([[.75, .05], [.45, .75], [.05, .55]]), torch.tensor([[1, 0], [0, 0], [0, 1]]))
        tensor(0.9167)
    """

    def __init__(
        self,
        num_labels: int,
        padding_factor: int = 5,
        average: str = "macro",
        thresholds: Any = None,
        *,
        pad_once: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_labels=num_labels, average=average, thresholds=thresholds, **kwargs)
        if pad_once and thresholds is not None:
            raise ValueError("pad_once: expected False with thresholds, got True")
        self.padding_factor = padding_factor
        self.pad_once = pad_once

    def __call__(self, logits: Tensor, targets: Tensor, **kwargs: Any) -> Tensor:
        """Takes a batch with its padding and gives the value of that batch alone."""
        if not self.pad_once:
            ones = torch.ones(self.padding_factor, logits.shape[1], device=logits.device)
            logits = torch.cat((logits, ones), dim=0)
            targets = torch.cat((targets, ones.int().to(targets.device)), dim=0)
        value: Tensor = super().__call__(logits, targets, **kwargs)
        return value

    def _shards(self) -> tuple[list[Tensor], list[Tensor]]:
        scores, labels = super()._shards()
        is_first = self._group is None or torch.distributed.get_rank(self._group) == 0
        if self.pad_once and is_first:
            shape = (self.padding_factor, self.num_labels)
            scores = [*scores, scores[0].new_ones(shape)]
            labels = [*labels, labels[0].new_ones(shape)]
        return scores, labels


class cmAP5(Metric):
    """BirdSet's ``cmAP5``: the number of `cmAP`, or NaN if no class has ``sample_threshold`` positives.

    ``cmAP(num_labels, min_positives=5)`` is the mean over the classes with at least 5 positives.

    Args:
        num_labels: C, at least 2.
        sample_threshold: The least number of positives that one class must have.
        thresholds: As of `vltr_eval.compat.torchmetrics.MultilabelAveragePrecision`.
        dist_sync_on_step: As of torchmetrics' Metric.

    Example:
        >>> metric = cmAP5(num_labels=2, sample_threshold=2)
        >>> metric.update(torch.tensor([[.75, .05], [.45, .75], [.05, .55]]), torch.tensor([[1, 0], [1, 0], [0, 1]]))
        >>> metric.compute()
        tensor(0.7500)
    """

    accumulated_predictions: Any  # a list, or a tensor after a `sync`
    accumulated_labels: Any

    def __init__(
        self, num_labels: int, sample_threshold: int, thresholds: Any = None, dist_sync_on_step: bool = False
    ) -> None:
        super().__init__(dist_sync_on_step=dist_sync_on_step)
        self.num_labels = num_labels
        self.sample_threshold = sample_threshold
        self.thresholds = thresholds
        inner = _OfInstalled if _leaves_absent_out() else MultilabelAveragePrecision
        self.multilabel_ap = inner(average="macro", num_labels=num_labels, thresholds=thresholds)
        self.add_state("accumulated_predictions", default=[], dist_reduce_fx="cat")
        self.add_state("accumulated_labels", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Takes a batch: (B, C) scores and labels. They are checked in `compute`, as in the original."""
        self.accumulated_predictions.append(logits)
        self.accumulated_labels.append(labels)

    def compute(self) -> Tensor:
        """The value of all batches."""
        scores, labels = (
            state if isinstance(state, Tensor) else torch.cat(state, dim=0)
            for state in (self.accumulated_predictions, self.accumulated_labels)
        )
        inner = self.multilabel_ap
        value: Tensor = inner(scores, labels)
        inner.reset()
        if self.sample_threshold > 1:
            value = torch.where(labels.sum(dim=0) >= self.sample_threshold, value, torch.nan)
        return torch.nanmean(value)


class TopKAccuracy(Metric):
    """BirdSet's ``TopKAccuracy``: the share of rows with a positive among their k highest scores.

    Rows without labels do not count. With ``include_nocalls`` they count, and are right if all their k highest scores
    are below the threshold. Ties are torch's.

    Args:
        topk: k.
        include_nocalls: Whether rows without labels count.
        threshold: The score below which a class is not predicted. Scores are not squashed for it.
        kwargs: Those of torchmetrics' Metric.

    Example:
        >>> metric = TopKAccuracy(topk=1)
        >>> metric(torch.tensor([[.75, .05], [.45, .75], [.05, .55]]), torch.tensor([[1, 0], [0, 0], [1, 0]]))
        tensor(0.5000)
    """

    correct: Tensor
    total: Tensor

    def __init__(self, topk: int = 1, include_nocalls: bool = False, threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.topk = topk
        self.include_nocalls = include_nocalls
        self.threshold = threshold
        self.add_state("correct", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, targets: Tensor) -> None:
        """Takes a batch: (B, C) scores and labels."""
        highest = preds.topk(self.topk, dim=1)
        targets = targets.to(preds.device)
        is_empty = targets.sum(dim=1) == 0
        self.correct += targets.gather(1, highest.indices).any(dim=1).sum()
        self.total += len(targets)
        if self.include_nocalls:
            self.correct += (is_empty & (highest.values < self.threshold).all(dim=1)).sum()
        else:
            self.total -= is_empty.sum()

    def compute(self) -> Tensor:
        """The value of all batches; NaN without rows."""
        return self.correct.float() / self.total


class BalancedAccuracy(Metric):
    """BirdSet's ``BalancedAccuracy``: the mean precision of the classes that are predicted, in spite of its name.

    Args:
        adjusted: Subtract the value of chance and scale, so that chance is 0.
        num_classes: C.

    Example:
        >>> metric = BalancedAccuracy(num_classes=2)
        >>> metric(torch.tensor([[.9, .1], [.8, .2], [.3, .7]]), torch.tensor([0, 1, 1]))
        tensor(0.7500)
    """

    conf_matrix: Tensor

    def __init__(self, adjusted: bool = False, num_classes: int | None = None) -> None:
        super().__init__(dist_sync_on_step=False)
        self.adjusted = adjusted
        self.num_classes = num_classes
        # Without a number of classes this is torch's TypeError, as in the original.
        self.add_state("conf_matrix", default=torch.zeros(num_classes, num_classes), dist_reduce_fx="sum")  # type: ignore[arg-type]

    def _count(self, y_pred: Tensor, y_true: Tensor) -> None:
        """Add the counts of (predicted class, target), which are float32 as in the original."""
        num_classes = len(self.conf_matrix)
        pairs = num_classes * y_pred.argmax(dim=1).float() + y_true.float()
        counts = torch.histc(pairs, bins=num_classes**2, min=0, max=num_classes**2 - 1)
        self.conf_matrix += counts.view(num_classes, num_classes)

    def update(self, y_pred: Tensor, y_true: Tensor) -> None:
        """Takes a batch: (B, C) scores and (B,) classes."""
        self._count(y_pred, y_true)

    def compute(self) -> Tensor:
        """The value of all batches; NaN without rows."""
        with torch.no_grad():
            shares = self.conf_matrix.diag() / self.conf_matrix.sum(dim=1)
            score = shares[~shares.isnan()].mean()
            if self.adjusted:
                chance = 1 / len(self.conf_matrix)
                score = (score - chance) / (1 - chance)
            return score


class BalancedAccuracyTop5(BalancedAccuracy):
    """BirdSet's ``BalancedAccuracyTop5``: the share of targets among the 5 highest scores, in spite of its name.

    Args:
        adjusted: Has no effect on the result, as in the original.
        num_classes: C, at least 5.

    Example:
        >>> metric = BalancedAccuracyTop5(num_classes=6)
        >>> metric(torch.tensor([[.9, .8, .7, .6, .5, .4], [.4, .5, .6, .7, .8, .9]]), torch.tensor([5, 5]))
        tensor(0.5000)
    """

    top5_correct: Tensor
    total: Tensor

    def __init__(self, adjusted: bool = False, num_classes: int | None = None) -> None:
        super().__init__(adjusted, num_classes)
        self.add_state("top5_correct", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, y_pred: Tensor, y_true: Tensor) -> None:
        """Takes a batch: (B, C) scores and (B,) classes."""
        self._count(y_pred, y_true)
        highest = y_pred.topk(5, dim=1).indices
        self.top5_correct += (highest == y_true.view(-1, 1)).sum()
        self.total += y_true.numel()

    def compute(self) -> Tensor:
        """The value of all batches; NaN without rows."""
        return self.top5_correct.float() / self.total
