"""Multiclass AP and AUROC: each class against the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vltr_eval._engine.rank_table import RankTable
from vltr_eval.compat.torchmetrics.batches import OverBatches
from vltr_eval.compat.torchmetrics.evaluation import auroc_of, average_precision_of, evaluated
from vltr_eval.compat.torchmetrics.inputs import check_ignore_index, reaches_out
from vltr_eval.compat.torchmetrics.originals import (
    OriginalMulticlassAUROC,
    OriginalMulticlassAveragePrecision,
    original_function,
)

if TYPE_CHECKING:
    # The mixin below calls methods of the classes that it is combined with.
    class _MixedWithMulticlass(OriginalMulticlassAveragePrecision):
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...
else:
    _MixedWithMulticlass = object

__all__ = ["MulticlassAUROC", "MulticlassAveragePrecision", "multiclass_auroc", "multiclass_average_precision"]

_AVERAGES = ("macro", "weighted", "none", None)
# torchmetrics' words, on which filters may depend.
_LEFT_OUT = "Average precision score for one or more classes was `nan`. Ignoring these classes"


def _average_precision(table: RankTable) -> np.ndarray:
    """AP of each class; NaN if it is absent, but 0 if all targets are class 0.

    torchmetrics looks for the index 0, not for negatives of the class, when it decides whether recall is undefined.
    """
    if table.num_negatives[0] == 0:
        return average_precision_of(table)
    return table.average_precision(absent="nan")


def _check_average(average: str | None) -> None:
    if average not in _AVERAGES:
        raise ValueError(f"average: expected one of {_AVERAGES}, got {average!r}")


def _check_classes(preds: Tensor, target: Tensor, num_classes: int, ignore_index: int | None) -> None:
    """Raises what torchmetrics raises; as there, a target that is no class is found only among too many values."""
    if preds.ndim != target.ndim + 1:
        raise ValueError(f"preds: expected a dimension more than target, got {preds.ndim} and {target.ndim}")
    if target.is_floating_point():
        raise ValueError(f"target: expected an integer tensor, got {target.dtype}")
    if not preds.is_floating_point():
        raise ValueError(f"preds: expected a floating point tensor, got {preds.dtype}")
    if preds.shape[1] != num_classes:
        raise ValueError(f"preds: expected {num_classes} classes in its second dimension, got {preds.shape[1]}")
    if preds.shape[0] != target.shape[0] or preds.shape[2:] != target.shape[1:]:
        raise ValueError(
            f"preds: expected shape (N, C, ...) for a target of {tuple(target.shape)}, got {tuple(preds.shape)}"
        )
    if not target.numel() or target.dtype == torch.bool:
        return
    low, high = target.aminmax()
    if low < 0 or high >= num_classes:  # else there cannot be too many values
        most = num_classes + (ignore_index is not None)
        found = len(torch.unique(target))
        if found > most:
            raise RuntimeError(f"target: expected at most {most} different values, got {found}")


def _rows(preds: Tensor, target: Tensor, num_classes: int, ignore_index: int | None) -> tuple[Tensor, Tensor]:
    """Return (N, C) scores and (N,) classes; ignored rows leave before the softmax is decided, as in torchmetrics."""
    scores = preds.detach()
    scores = scores if scores.ndim == 2 else scores.movedim(1, -1).reshape(-1, num_classes)
    classes = target.flatten()
    if ignore_index is not None:
        counted = classes != ignore_index
        scores, classes = scores[counted], classes[counted]
    logits = reaches_out(scores)
    if scores.device.type != "cpu":
        return torch.where(logits, scores.softmax(dim=1), scores), classes
    return scores.softmax(dim=1) if logits else scores, classes


def _one_hot(classes: Tensor, num_classes: int) -> Tensor:
    """(N,) classes -> (N, C) bool. A target of C or more is a negative of all; torchmetrics fails at one below 0."""
    if classes.numel() and classes.dtype != torch.bool and bool((classes < 0).any()):
        raise RuntimeError(
            f"target: expected classes from 0 on, got {int(classes.min())}; pass ignore_index= to leave it out"
        )
    return classes.unsqueeze(1) == torch.arange(num_classes, device=classes.device)


def _multiclass(
    name: str,
    metric: Callable[[RankTable], np.ndarray],
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None,
    thresholds: Any,
    ignore_index: int | None,
    validate_args: bool,
) -> Tensor:
    if thresholds is not None:
        found: Tensor = original_function(name, "thresholds")(
            preds, target, num_classes, average, thresholds, ignore_index, validate_args
        )
        return found
    if validate_args:
        if not isinstance(num_classes, int) or num_classes < 2:
            raise ValueError(f"num_classes: expected an integer larger than 1, got {num_classes!r}")
        check_ignore_index(ignore_index)
    _check_average(average)
    if validate_args:
        _check_classes(preds, target, num_classes, ignore_index)
    scores, classes = _rows(preds, target, num_classes, ignore_index)
    return evaluated(metric, [scores], [_one_hot(classes, num_classes)], average, message=_LEFT_OUT)


def multiclass_average_precision(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    thresholds: Any = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """`torchmetrics.functional.classification.multiclass_average_precision`, with its arguments and numbers.

    Args:
        preds: (N, C, ...) floating point probabilities, or logits, to which a softmax is applied.
        target: (N, ...) classes.
        num_classes: C, at least 2.
        average: "macro", "weighted", or None or "none" for each class.
        thresholds: torchmetrics does the work where these are given.
        ignore_index: A target that is left out.
        validate_args: Whether to check the inputs.

    Returns:
        A scalar, or (C,), of torch's default dtype on the device of preds. A class without positives is NaN and left
        out of averages, with a UserWarning. If every target is class 0, the other classes have AP 0 and count.

    Raises:
        ValueError: A NaN score, or an input that torchmetrics refuses by a ValueError.
        RuntimeError: An input that torchmetrics refuses by a RuntimeError.
        ImportError: torchmetrics is needed and missing.

    Example:
        >>> preds = torch.tensor([[.75, .15, .1], [.05, .75, .2], [.2, .7, .1]])
        >>> multiclass_average_precision(preds, torch.tensor([0, 1, 0]), num_classes=3, average=None)
        tensor([1., 1., nan])
    """
    return _multiclass(
        "multiclass_average_precision",
        _average_precision,
        preds,
        target,
        num_classes,
        average,
        thresholds,
        ignore_index,
        validate_args,
    )


def multiclass_auroc(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    thresholds: Any = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """`torchmetrics.functional.classification.multiclass_auroc`, with its arguments and numbers.

    Args and errors are those of `multiclass_average_precision`.

    Returns:
        A scalar, or (C,), of torch's default dtype on the device of preds. A class without positives or without
        negatives has AUROC 0, with a UserWarning, and counts in averages.

    Example:
        >>> preds = torch.tensor([[.75, .15, .1], [.05, .75, .2], [.2, .7, .1]])
        >>> multiclass_auroc(preds, torch.tensor([0, 1, 2]), num_classes=3, average=None)
        tensor([1.0000, 1.0000, 0.2500])
    """
    return _multiclass(
        "multiclass_auroc",
        auroc_of,
        preds,
        target,
        num_classes,
        average,
        thresholds,
        ignore_index,
        validate_args,
    )


class _OfClasses(OverBatches, _MixedWithMulticlass):
    """torchmetrics' multiclass metrics, with its arguments and states, computed from a rank table."""

    _metric: Callable[[RankTable], np.ndarray]

    @property
    def _exact(self) -> bool:  # type: ignore[override]
        return self.thresholds is None

    def _num_columns(self) -> int:
        return self.num_classes

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Takes a batch: (N, C, ...) scores and (N, ...) classes."""
        if not self._exact:
            super().update(preds, target)
            return
        if self.validate_args:
            _check_classes(preds, target, self.num_classes, self.ignore_index)
        self._keep(*_rows(preds, target, self.num_classes, self.ignore_index))

    def compute(self) -> Tensor:  # type: ignore[override]  # as torchmetrics' own subclasses of the curve do
        """The metric of all batches, and under torch.distributed of those of all processes."""
        if not self._exact:
            original: Tensor = super().compute()
            return original
        scores, classes = self._shards()
        if self._group is None and not any(map(len, scores)):
            raise ValueError("compute: expected at least one row from update(), got none")
        average: str | None = self.average
        _check_average(average)
        # A process without batches has an empty matrix of labels already.
        labels = [shard if shard.ndim == 2 else _one_hot(shard, self.num_classes) for shard in classes]
        return evaluated(type(self)._metric, scores, labels, average, self._group, message=_LEFT_OUT)


class MulticlassAveragePrecision(_OfClasses, OriginalMulticlassAveragePrecision):
    """`torchmetrics.classification.MulticlassAveragePrecision`, with its arguments, states and numbers.

    The arguments are those of torchmetrics; see `multiclass_average_precision`.

    Example:
        >>> metric = MulticlassAveragePrecision(num_classes=3, average=None)
        >>> metric.update(torch.tensor([[.75, .15, .1], [.05, .75, .2]]), torch.tensor([0, 1]))
        >>> metric.update(torch.tensor([[.2, .7, .1]]), torch.tensor([0]))
        >>> metric.compute()
        tensor([1., 1., nan])
    """

    _metric = staticmethod(_average_precision)


class MulticlassAUROC(_OfClasses, OriginalMulticlassAUROC):
    """`torchmetrics.classification.MulticlassAUROC`, with its arguments, states and numbers.

    The arguments are those of torchmetrics; see `multiclass_auroc`.

    Example:
        >>> metric = MulticlassAUROC(num_classes=3, average=None)
        >>> metric(torch.tensor([[.75, .15, .1], [.05, .75, .2], [.2, .7, .1]]), torch.tensor([0, 1, 2]))
        tensor([1.0000, 1.0000, 0.2500])
    """

    _metric = staticmethod(auroc_of)
