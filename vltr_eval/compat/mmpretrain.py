"""The multi-label metrics of mmpretrain (mmcls 1.x) under their own names, arguments and results.

    from vltr_eval.compat.mmpretrain import AveragePrecision             # was: from mmpretrain.evaluation import
    val_evaluator = dict(type="vltr_eval.compat.mmpretrain.AveragePrecision")    # was: dict(type="AveragePrecision")

The numbers are those of open-mmlab/mmpretrain mmpretrain/evaluation/metrics/multi_label.py and voc_multi_label.py at
commit ee7f2e88 (1.2), with their quirks:

- All numbers are percent, and tensors: AP in the dtype of ``pred``, the others in float32. Float16 scores give AP that
  is rounded to float16, and integer ones AP without decimals.
- AP is the mean over a class's positives of the precision at their rank, where equal scores have one rank after
  another. There is no envelope, though the original's docstring describes one.
- A class without positives has AP 0, and counts in the mean. A class whose labels are all -1 is an IndexError.
- A label -1 is an unknown cell ("difficult" in VOC), which is left out. AP takes labels other than 1 and above -1 as
  negative, also the 2 that a class listed twice in ``gt_label`` becomes.
- ``thr=0`` of `MultiLabelMetric` selects as 0, and its results have the suffix "_topNone".
- In `MultiLabelMetric` a class without predictions, or without positives, has precision, or recall, 0.

Different on purpose:

- Equal scores rank by their row, the lower one first. The original sorts with torch.argsort, which orders them so up to
  16 rows, and in another way beyond. With ties its number depends on torch; ours lies in the same tie interval.
- A NaN score of `AveragePrecision` is a ValueError that names row and class. The original ranks NaN first.
- AP is summed in float64 and then rounded to float32, so that the last digits may differ (1e-5 percent).
- AP takes labels of uint8 as 0 and 1. The original compares them with -1, which torch takes as 255 there, so that all
  cells are unknown, an IndexError.
- `MultiLabelMetric.calculate` does not change its arguments. The original sets -1 in an int64 ``target`` to 0, so that
  `AveragePrecision.calculate` on the same tensor gives another number afterwards.

The module needs torch. `calculate` works without mmengine, and instances need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    import torch
    from torch import Tensor
except ImportError:
    raise ImportError("vltr_eval.compat.mmpretrain needs torch: pip install torch") from None

from vltr_eval.compat._mmengine import BaseMetric
from vltr_eval.compat._tensors import to_supported_device
from vltr_eval.metrics.tie_orders import positive_ranks

__all__ = ["AveragePrecision", "MultiLabelMetric", "VOCAveragePrecision", "VOCMetricMixin", "VOCMultiLabelMetric"]

_ITEMS = ("precision", "recall", "f1-score", "support")

if TYPE_CHECKING:
    _MixedWithMetric = BaseMetric
else:
    _MixedWithMetric = object


class _FromSamples(BaseMetric):
    """Reads data samples with ``pred_score`` (C,), and ``gt_score`` (C,) or ``gt_label`` with class indices."""

    default_prefix = "multi-label"

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Take the scores and labels of a batch; ``data_batch`` is not used."""
        self.results.extend(map(_read_sample, data_samples))

    @staticmethod
    def _stacked(results: list[dict[str, Tensor]]) -> tuple[Tensor, Tensor]:
        return tuple(torch.stack([result[key] for result in results]) for key in ("pred_score", "gt_score"))  # type: ignore[return-value]


class AveragePrecision(_FromSamples):
    """Mean AP in percent, as mmpretrain.evaluation.AveragePrecision.

    Args:
        average: "macro" for the mean, with the result "multi-label/mAP"; None for a list, "multi-label/AP_classwise".
        collect_device: "cpu" or "gpu", the memory in which mmengine gathers.
        prefix: Text in front of the name, "multi-label" by default.

    Raises:
        ImportError: mmengine is not installed.
    """

    def __init__(self, average: str | None = "macro", collect_device: str = "cpu", prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.average = average

    def compute_metrics(self, results: list[dict[str, Tensor]]) -> dict[str, Any]:
        """The result of all samples."""
        values = self.calculate(*self._stacked(results), self.average)
        return {"AP_classwise": values.tolist()} if self.average is None else {"mAP": values.item()}

    @staticmethod
    def calculate(pred: Any, target: Any, average: str | None = "macro") -> Tensor:
        """AP in percent.

        Args:
            pred: (N, C) scores: a tensor, an array or a list of lists.
            target: (N, C) of 0/1, and -1 for unknown cells.
            average: "macro" or None.

        Returns:
            A tensor of the dtype and device of ``pred``: the mean, or (C,) with ``average=None``.

        Raises:
            AssertionError: Another average, or shapes that are not (N, C).
            TypeError: An argument of another type.
            IndexError: There are no rows, or all labels of a class are -1.
            ValueError: A score is NaN.

        Example:
            >>> pred = torch.tensor([[.9, .8, .3, .2], [.1, .2, .2, .1], [.7, .5, .9, .3], [.8, .1, .1, .2]])
            >>> target = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]])
            >>> AveragePrecision.calculate(pred, target)
            tensor(70.8333)
        """
        _check_average(average, ("macro", None))
        pred, target = _to_tensor(pred), _to_tensor(target)
        if pred.ndim != 2 or pred.shape != target.shape:
            raise AssertionError(
                f"Both `pred` and `target` must be (N, C), got {tuple(pred.shape)} and {tuple(target.shape)}"
            )
        values = pred.new_zeros(pred.shape[1])
        if len(values):
            values.copy_(_average_precision(pred.detach(), target.detach()))
        percent: Tensor = values.mean() * 100.0 if average == "macro" else values * 100
        return percent


class MultiLabelMetric(_FromSamples):
    """Precision, recall, F1 and support in percent at a threshold or of the top k, as mmpretrain's MultiLabelMetric.

    Args:
        thr: Scores of at least this are positive; 0.5 if ``topk`` is None too.
        topk: The k highest scores of each row are positive; not used with ``thr``.
        items: The results to give: "precision", "recall", "f1-score" and "support".
        average: "macro", "micro", or None for a list of all classes.
        collect_device: "cpu" or "gpu", the memory in which mmengine gathers.
        prefix: Text in front of the names, "multi-label" by default.

    Raises:
        AssertionError: An item that does not exist.
        ImportError: mmengine is not installed.
    """

    def __init__(
        self,
        thr: float | None = None,
        topk: int | None = None,
        items: Sequence[str] = ("precision", "recall", "f1-score"),
        average: str | None = "macro",
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        from mmengine.logging import MMLogger

        if thr is None and topk is None:
            thr = 0.5
            MMLogger.get_current_instance().warning("Neither thr nor topk is given: thr is 0.5.")
        elif thr is not None and topk is not None:
            MMLogger.get_current_instance().warning("Both thr and topk are given: topk is not used.")
        for item in items:
            if item not in _ITEMS:
                raise AssertionError(f"items: expected names among {', '.join(_ITEMS)}, got {item!r}")
        self.thr, self.topk, self.average, self.items = thr, topk, average, tuple(items)
        super().__init__(collect_device=collect_device, prefix=prefix)

    def compute_metrics(self, results: list[dict[str, Tensor]]) -> dict[str, Any]:
        """The results of all samples, by name."""
        pred, target = self._stacked(results)
        values = self.calculate(pred, target, average=self.average, thr=self.thr, topk=self.topk)
        suffix = f"_thr-{self.thr:.2f}" if self.thr else f"_top{self.topk}"
        if self.thr == 0.5:
            suffix = ""
        if self.average != "macro":
            suffix += "_classwise" if self.average is None else f"_{self.average}"
        return {
            f"{item}{suffix}": value.tolist() for item, value in zip(_ITEMS, values, strict=True) if item in self.items
        }

    @staticmethod
    def calculate(
        pred: Any,
        target: Any,
        pred_indices: bool = False,
        target_indices: bool = False,
        average: str | None = "macro",
        thr: float | None = None,
        topk: int | None = None,
        num_classes: int | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Precision, recall, F1 and support.

        Args:
            pred: (N, C) scores or 0/1: a tensor, an array or a list of rows; with ``pred_indices`` a list of lists of
                classes.
            target: (N, C) of 0/1, and -1 for unknown cells; with ``target_indices`` a list of lists of classes.
            pred_indices: Whether ``pred`` are class indices.
            target_indices: Whether ``target`` are class indices.
            average: "macro", "micro" or None.
            thr: As the class's.
            topk: As the class's.
            num_classes: C, for class indices.

        Returns:
            Four tensors: precision, recall and F1 in percent, and the number of positives; (C,) with ``average=None``.

        Raises:
            AssertionError: Another average, or shapes that do not fit.
            TypeError: An argument of another type.

        Example:
            >>> MultiLabelMetric.calculate(
            ...     [[0], [1], [0, 1], [3]], [[0, 3], [0, 2], [1], [3]], pred_indices=True, target_indices=True,
            ...     num_classes=4)
            (tensor(50.), tensor(50.), tensor(45.8333), tensor(6))
        """
        _check_average(average, ("micro", "macro", None))
        pred = _read_labels("pred", pred, num_classes, pred_indices)
        target = _read_labels("target", target, num_classes, target_indices)
        if target.dtype not in (torch.int8, torch.int16, torch.int32):
            target = target.long()
        if pred.shape != target.shape:
            raise AssertionError(
                f"The size of pred must be that of target, got {tuple(pred.shape)} and {tuple(target.shape)}"
            )
        if num_classes not in (None, pred.size(1)):
            raise AssertionError(f"num_classes: expected {pred.size(1)} as pred, got {num_classes}")
        if thr is not None or topk is None:
            positive = pred >= (0.5 if thr is None else thr)
        else:
            positive = torch.zeros(pred.shape, dtype=torch.bool, device=pred.device)
            positive.scatter_(1, pred.topk(topk).indices, True)
        known = target != -1
        positive &= known
        is_odd = (target.to(torch.uint8) & 1).view(torch.bool)  # the original takes bits of labels other than 0 and 1
        support = target.sum(0) + len(target) - _column_sums(known)
        num_hits, num_positive = _column_sums(positive & is_odd), _column_sums(positive)
        if average == "micro":
            num_hits, num_positive, support = num_hits.sum(), num_positive.sum(), support.sum()
        precision = num_hits / num_positive.clamp(min=1).float() * 100
        recall = num_hits / support.clamp(min=1).float() * 100
        f1 = 2 * precision * recall / (precision + recall).clamp(min=torch.finfo(torch.float32).eps)
        if average is None:
            return precision, recall, f1, support
        return precision.mean(0), recall.mean(0), f1.mean(0), support.sum(0)


class VOCMetricMixin(_MixedWithMetric):
    """Reads the difficult objects of VOC, as mmpretrain's class: the classes of ``gt_label_difficult``.

    Args:
        difficult_as_positive: Label of a class with difficult objects alone: None for -1, which is left out, True for
            1, False for 0.
        *args: Arguments of the metric.
        **kwargs: Arguments of the metric.
    """

    def __init__(self, *args: Any, difficult_as_positive: bool | None = None, **kwargs: Any) -> None:
        self.difficult_as_positive = difficult_as_positive
        super().__init__(*args, **kwargs)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Take the scores and labels of a batch; ``data_batch`` is not used."""
        for sample in data_samples:
            result = _read_sample(sample)
            difficult = sorted(set(sample["gt_label_difficult"]) - set(sample["gt_label"].tolist()))
            if self.difficult_as_positive is not False:
                result["gt_score"][difficult] = 1 if self.difficult_as_positive else -1
            self.results.append(result)


class VOCAveragePrecision(VOCMetricMixin, AveragePrecision):
    """`AveragePrecision` of VOC, as mmpretrain's class: difficult objects are left out, or are positives or negatives.

    Args:
        difficult_as_positive: See `VOCMetricMixin`.
        **kwargs: Arguments of `AveragePrecision`.
    """


class VOCMultiLabelMetric(VOCMetricMixin, MultiLabelMetric):
    """`MultiLabelMetric` of VOC, as mmpretrain's class.

    Args:
        difficult_as_positive: See `VOCMetricMixin`.
        **kwargs: Arguments of `MultiLabelMetric`.
    """


def _check_average(average: str | None, options: tuple[str | None, ...]) -> None:
    if average not in options:
        raise AssertionError(f"Invalid `average` argument, expected one of {options}, got {average!r}")


def _average_precision(pred: Tensor, target: Tensor) -> Tensor:
    """AP of each class as a fraction in float32, 0 without positives: (C,)."""
    mask = None
    if not len(target) or (target.dtype.is_signed and bool((target <= -1).any())):
        known = target > -1
        empty = np.flatnonzero(_column_sums(known).cpu().numpy() == 0)
        if len(empty):
            raise IndexError(f"target: expected labels in each class, got none in class {empty[0]}")
        (mask,) = to_supported_device([known])
    scores, labels = to_supported_device([pred, target == 1])
    ranks = positive_ranks(scores, labels, order="rows", mask=mask)
    return torch.from_numpy(np.nan_to_num(ranks.average_precision())).float()


def _column_sums(cells: Tensor) -> Tensor:
    """Number of true cells of each column: (C,) int64."""
    if cells.device.type != "cpu":
        return cells.sum(0)
    # much faster than torch's sum of bools
    return torch.from_numpy(np.add.reduce(cells.numpy().view(np.uint8), axis=0, dtype=np.int64))


def _read_sample(sample: dict[str, Any]) -> dict[str, Tensor]:
    scores = sample["pred_score"].clone()
    if "gt_score" in sample:
        return {"pred_score": scores, "gt_score": sample["gt_score"].clone()}
    return {"pred_score": scores, "gt_score": _one_hot(sample["gt_label"], scores.shape[-1])}


def _one_hot(label: Any, num_classes: int) -> Tensor:
    """Class indices as (C,) int64; a class that is listed twice is 2."""
    if isinstance(label, int) or (isinstance(label, (Tensor, np.ndarray)) and label.ndim == 0):
        label = [int(label)]
    if not isinstance(label, Tensor):
        label = _to_tensor(label).long()
    if label.ndim != 1:
        raise AssertionError(f"gt_label: expected (K,) class indices, got shape {tuple(label.shape)}")
    counts: Tensor = torch.nn.functional.one_hot(label, num_classes).sum(0)
    return counts


def _read_labels(name: str, label: Any, num_classes: int | None, are_indices: bool) -> Tensor:
    if isinstance(label, (np.ndarray, Tensor)):
        if label.ndim != 2:
            raise AssertionError(f"{name}: expected (N, C), got shape {tuple(label.shape)}")
        return _to_tensor(label)
    if not isinstance(label, Sequence):
        raise TypeError(f"The `pred` and `target` must be tensors, arrays or sequences, got {type(label)} as {name}")
    if not are_indices:
        return torch.stack([_to_tensor(row) for row in label])
    if num_classes is None:
        raise AssertionError(f"num_classes: expected a number, because {name} are class indices")
    return torch.stack([_one_hot(row, num_classes) for row in label])


def _to_tensor(value: Any) -> Tensor:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError(f"{type(value)} is not an available argument; pass a tensor, an array or a list")
    return torch.tensor(value)
