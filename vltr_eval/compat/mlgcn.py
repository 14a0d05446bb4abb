"""The AveragePrecisionMeter of ML-GCN (Megvii-Nanjing/ML-GCN util.py@5517d6ff) and of the codebases that copied it.

    from vltr_eval.compat.mlgcn import AveragePrecisionMeter

ADD-GCN (Yejin0111/ADD-GCN util.py@b7653fe6) has the same meter with file names: see `vltr_eval.compat.addgcn`.

Its conventions are kept:

- Scores are stored as float32, targets as int64. AP is the mean of the precision at the positives, in float64, and is
  stored as float32.
- A target is positive if it is 1. With ``difficult_examples`` a target of 0 is difficult and has no rank, and negatives
  are -1. If negatives are 0 there, no negative is left, and every AP is exactly 1 (a printed mAP of 100.000).
- A class without positives raises ZeroDivisionError.
- `overall` and `overall_topk` count a score as predicted from 0 up, so they expect logits. A class without predictions
  counts one prediction. They turn targets of -1 into 0 in the meter too: with ``difficult_examples``, call `value`
  before them, as the published engine does, or every AP is 1.

Different on purpose:

- Equal scores rank in the order of their rows, as in a stable sort. The original's torch.sort keeps that order on the
  CPU for up to 16 rows (torch 2.13.0). Above, with ties its number depends on torch, and ours lies in the same tie
  interval.
- A NaN score is a ValueError that names row and class. The original ranks it first.
- A batch whose output and target differ in shape is a ValueError. The original stores both and mixes the rows up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vltr_eval.metrics.tie_orders import positive_ranks

try:
    import torch
except ImportError:
    raise ImportError("vltr_eval.compat.mlgcn needs torch: pip install torch") from None

__all__ = ["AveragePrecisionMeter"]

_GROWTH = 1.5  # the published factor
_EVALUATED_ROWS = 256  # whose comparisons fit into the cache


class AveragePrecisionMeter:
    """Average precision of each class over all that was added, and precision, recall and F1 at a score of 0.

    Attributes:
        scores: (N, C) float32 tensor in CPU memory.
        targets: (N, C) int64 tensor.
        difficult_examples: Whether a target of 0 is difficult.

    Example:
        >>> meter = AveragePrecisionMeter()
        >>> meter.add(torch.tensor([[2.0, -1], [1, 1], [-1, 2]]), torch.tensor([[1, 0], [0, 1], [1, 0]]))
        >>> meter.value()
        tensor([0.8333, 0.5000])
        >>> [round(float(number), 3) for number in meter.overall()]
        [0.5, 0.667, 0.571, 0.5, 0.75, 0.6]
    """

    def __init__(self, difficult_examples: bool = False) -> None:
        self.reset()
        self.difficult_examples = difficult_examples

    def reset(self) -> None:
        """Remove everything that was added."""
        self.scores = torch.empty(0, dtype=torch.float32)
        self.targets = torch.empty(0, dtype=torch.int64)

    def add(self, output: Any, target: Any) -> None:
        """Add a batch; a copy is kept.

        Args:
            output: (B, C) or (B,) scores, a torch tensor of any dtype on any device, or a numpy array.
            target: Targets of the same shape: 1 positive, anything else negative; with ``difficult_examples`` 0
                difficult.

        Raises:
            AssertionError: More than two dimensions, or another number of classes than before.
            ValueError: Another shape of target than of output.
        """
        output, target = _as_matrix("output", output), _as_matrix("target", target)
        if self.scores.numel() and target.shape[1] != self.targets.shape[1]:
            raise AssertionError(f"target: expected {self.targets.shape[1]} classes as before, got {target.shape[1]}")
        if output.shape != target.shape:
            raise ValueError(f"target: expected shape {tuple(output.shape)} as output, got {tuple(target.shape)}")
        self.scores = _appended(self.scores, output)
        self.targets = _appended(self.targets, target)

    def value(self) -> Any:
        """AP of each class: (C,) FloatTensor; 0 when nothing was added.

        Raises:
            ZeroDivisionError: A class has no positives.
            ValueError: A score is NaN.
        """
        if not self.scores.numel():
            return 0
        values = torch.zeros(self.scores.shape[1])
        values.copy_(torch.from_numpy(_average_precision(self.scores, self.targets, self.difficult_examples)))
        return values

    @staticmethod
    def average_precision(output: Any, target: Any, difficult_examples: bool = True) -> float:
        """AP of one class.

        Args:
            output: (N,) tensor of scores.
            target: (N,) tensor of targets.
            difficult_examples: Whether a target of 0 is difficult.

        Raises:
            ZeroDivisionError: There is no positive.
            ValueError: A score is NaN.
        """
        return float(_average_precision(output.reshape(-1, 1), target.reshape(-1, 1), difficult_examples)[0])

    def overall(self) -> Any:
        """Precision, recall and F1 of all cells, then their class means: (OP, OR, OF1, CP, CR, CF1).

        Fractions, not percent and not rounded; 0 when nothing was added. A denominator of 0 gives NaN and numpy's
        warning, as in the original.
        """
        if not self.scores.numel():
            return 0
        return self.evaluation(self.scores.cpu().numpy(), self._targets_to_evaluate())

    def overall_topk(self, k: int) -> tuple[Any, ...]:
        """`overall` if only the k highest scores of a row can be predictions."""
        rows, classes = self.scores.shape
        scores = np.full((rows, classes), -1.0)
        index = self.scores.topk(k, 1, True, True)[1].cpu().numpy()
        highest = np.take_along_axis(self.scores.cpu().numpy(), index, 1)
        np.put_along_axis(scores, index, np.where(highest >= 0, 1.0, -1.0), 1)
        return self.evaluation(scores, self._targets_to_evaluate())

    def evaluation(self, scores_: Any, targets_: Any) -> tuple[Any, ...]:
        """`overall` of these arrays (N, C). Targets of -1 become 0 in place."""
        num_classes = scores_.shape[1]
        truth, hits, reached = np.zeros((3, num_classes))
        for start in range(0, len(scores_), _EVALUATED_ROWS):
            predicted, targets = (
                scores_[start : start + _EVALUATED_ROWS] >= 0,
                targets_[start : start + _EVALUATED_ROWS],
            )
            negative = targets == -1
            if negative.any():
                targets[negative] = 0
            truth += (targets == 1).sum(0)
            hits += (targets * predicted).sum(0)
            reached += predicted.sum(0)
        reached[reached == 0] = 1
        precision, recall = np.sum(hits) / np.sum(reached), np.sum(hits) / np.sum(truth)
        class_precision, class_recall = np.sum(hits / reached) / num_classes, np.sum(hits / truth) / num_classes
        return (
            *(precision, recall, _f1(precision, recall)),
            *(class_precision, class_recall, _f1(class_precision, class_recall)),
        )

    def _targets_to_evaluate(self) -> np.ndarray:
        """The targets of the meter, which `evaluation` changes."""
        targets: np.ndarray = self.targets.cpu().numpy()
        return targets


def _as_matrix(name: str, batch: Any) -> Any:
    if not torch.is_tensor(batch):
        batch = torch.from_numpy(batch)
    if batch.dim() == 1:
        return batch.view(-1, 1)
    if batch.dim() != 2:
        raise AssertionError(f"{name}: expected 1 or 2 dimensions (rows, classes), got {batch.dim()}")
    return batch


def _appended(stored: Any, batch: Any) -> Any:
    """The stored rows and those of the batch, in the same memory while it suffices.

    numpy copies: torch would start its threads for each batch, and wait for them on a busy machine.
    """
    batch = batch.detach().cpu()
    if batch.dtype == torch.bfloat16:
        batch = batch.float()
    rows = stored.shape[0] if stored.numel() else 0
    needed = (rows + batch.shape[0]) * batch.shape[1]
    own = stored.is_contiguous() and stored.storage_offset() == 0  # a caller may have put another tensor here
    capacity = stored.untyped_storage().nbytes() // stored.element_size() if own else 0
    if needed > capacity:
        larger = torch.empty(max(needed, int(capacity * _GROWTH) + batch.numel()), dtype=stored.dtype)
        larger[: stored.numel()].numpy()[:] = stored.reshape(-1).numpy()
        stored = larger
    stored = stored.as_strided((rows + batch.shape[0], batch.shape[1]), (batch.shape[1], 1))
    with np.errstate(over="ignore", invalid="ignore"):
        stored[rows:].numpy()[:] = batch.numpy()
    return stored


def _average_precision(scores: Any, targets: Any, difficult_examples: bool) -> np.ndarray:
    """(C,) float64"""
    scores, targets = scores.detach().cpu(), targets.detach().cpu().numpy()
    if scores.dtype in (torch.float16, torch.bfloat16):
        scores = scores.float()
    known = targets != 0 if difficult_examples else None
    ranks = positive_ranks(scores.numpy(), targets == 1, order="rows", mask=known)
    absent = np.flatnonzero(ranks.num_positives == 0)
    if len(absent):
        raise ZeroDivisionError(f"target: expected a positive of each class, got none of class {absent[0]}")
    values: np.ndarray = ranks.average_precision()
    return values


def _f1(precision: Any, recall: Any) -> Any:
    return (2 * precision * recall) / (precision + recall)
