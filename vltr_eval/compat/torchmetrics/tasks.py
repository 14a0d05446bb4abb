"""torchmetrics' classes and functions that choose one by ``task``."""

from __future__ import annotations

from typing import Any

import torch  # noqa: F401  # the examples use it
from torch import Tensor

from vltr_eval.compat.torchmetrics.binary import (
    BinaryAUROC,
    BinaryAveragePrecision,
    binary_auroc,
    binary_average_precision,
)
from vltr_eval.compat.torchmetrics.class_accuracy import MulticlassAccuracy, multiclass_accuracy
from vltr_eval.compat.torchmetrics.multiclass import (
    MulticlassAUROC,
    MulticlassAveragePrecision,
    multiclass_auroc,
    multiclass_average_precision,
)
from vltr_eval.compat.torchmetrics.multilabel import (
    MultilabelAUROC,
    MultilabelAveragePrecision,
    multilabel_auroc,
    multilabel_average_precision,
)
from vltr_eval.compat.torchmetrics.originals import (
    Metric,
    OriginalAccuracy,
    OriginalAUROC,
    OriginalAveragePrecision,
    original_class,
    original_function,
)

__all__ = ["AUROC", "Accuracy", "AveragePrecision", "accuracy", "auroc", "average_precision"]

_TASKS = ("binary", "multiclass", "multilabel")


def _read_task(task: str) -> str:
    """Return the task in lower case. torchmetrics takes any case, and "-" for "_"."""
    name = str(getattr(task, "value", task)).replace("-", "_").lower()
    if not isinstance(task, str) or name not in _TASKS:
        raise (ValueError if isinstance(task, str) else AttributeError)(
            f"task: expected one of {', '.join(_TASKS)}, got {task!r}"
        )
    return name


def _check_integer(name: str, value: Any, task: str) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{name}: expected an integer for task={task!r}, got {value!r}")
    return value


def _size(task: str, num_classes: int | None, num_labels: int | None) -> int:
    """The number of classes of a multiclass task, or of labels of a multilabel one."""
    if task == "multiclass":
        return _check_integer("num_classes", num_classes, task)
    return _check_integer("num_labels", num_labels, task)


class AveragePrecision(OriginalAveragePrecision):
    """`torchmetrics.AveragePrecision`: a call gives `BinaryAveragePrecision` and so on, according to the task.

    Args:
        task: "binary", "multiclass" or "multilabel".
        thresholds: torchmetrics does the work where these are given.
        num_classes: C of a multiclass task.
        num_labels: C of a multilabel task.
        average: "macro", "weighted", "micro" (multilabel only), or None or "none"; a binary task has no average.
        ignore_index: A value of target that is left out.
        validate_args: Whether arguments and batches are checked.
        kwargs: Those of torchmetrics' Metric.

    Raises:
        ValueError: The task does not exist, or its number of classes is missing.

    Example:
        >>> metric = AveragePrecision(task="multilabel", num_labels=2, average=None)
        >>> type(metric).__name__
        'MultilabelAveragePrecision'
    """

    def __new__(  # type: ignore[misc]  # as the original's, it gives another class
        cls: type[AveragePrecision],
        task: str,
        thresholds: Any = None,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "macro",
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Metric:
        """Return the metric of the task."""
        task = _read_task(task)
        kwargs |= {"thresholds": thresholds, "ignore_index": ignore_index, "validate_args": validate_args}
        if task == "binary":
            return BinaryAveragePrecision(**kwargs)
        size = _size(task, num_classes, num_labels)
        of_task = MulticlassAveragePrecision if task == "multiclass" else MultilabelAveragePrecision
        return of_task(size, average, **kwargs)


class AUROC(OriginalAUROC):
    """`torchmetrics.AUROC`: a call gives `BinaryAUROC`, `MulticlassAUROC` or `MultilabelAUROC`, according to the task.

    Args and errors are those of `AveragePrecision`; ``max_fpr`` is for binary tasks, and torchmetrics does its work.

    Example:
        >>> metric = AUROC(task="binary")
        >>> metric(torch.tensor([0, 0.5, 0.7, 0.8]), torch.tensor([0, 1, 1, 0]))
        tensor(0.5000)
    """

    def __new__(  # type: ignore[misc]  # as the original's, it gives another class
        cls: type[AUROC],
        task: str,
        thresholds: Any = None,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "macro",
        max_fpr: float | None = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Metric:
        """Return the metric of the task."""
        task = _read_task(task)
        kwargs |= {"thresholds": thresholds, "ignore_index": ignore_index, "validate_args": validate_args}
        if task == "binary":
            return BinaryAUROC(max_fpr, **kwargs)
        size = _size(task, num_classes, num_labels)
        return (MulticlassAUROC if task == "multiclass" else MultilabelAUROC)(size, average, **kwargs)


class Accuracy(OriginalAccuracy):
    """`torchmetrics.Accuracy`: a call gives `MulticlassAccuracy`, or torchmetrics' own class for the other tasks.

    Args:
        task: "binary", "multiclass" or "multilabel".
        threshold: The score from which on a binary or multilabel prediction is positive.
        num_classes: C of a multiclass task.
        num_labels: C of a multilabel task.
        average: "micro", "macro", "weighted", or None or "none".
        multidim_average: "global" or "samplewise".
        top_k: Of a multiclass task: a label among the k highest scores is a hit.
        ignore_index: A target that is left out.
        validate_args: Whether arguments and batches are checked.
        kwargs: Those of torchmetrics' Metric.

    Raises:
        ValueError: The task does not exist, or its number of classes is missing.

    Example:
        >>> metric = Accuracy(task="multiclass", num_classes=3, top_k=2)
        >>> metric(torch.tensor([[.1, .2, .7], [.5, .4, .1]]), torch.tensor([2, 2]))
        tensor(0.5000)
    """

    def __new__(  # type: ignore[misc]  # as the original's, it gives another class
        cls: type[Accuracy],
        task: str,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "micro",
        multidim_average: str = "global",
        top_k: int | None = 1,
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Metric:
        """Return the metric of the task."""
        task = _read_task(task)
        kwargs |= {"multidim_average": multidim_average, "ignore_index": ignore_index, "validate_args": validate_args}
        found: Metric
        if task == "binary":
            found = original_class("BinaryAccuracy")(threshold, **kwargs)
        elif task == "multilabel":
            num_labels = _check_integer("num_labels", num_labels, task)
            found = original_class("MultilabelAccuracy")(num_labels, threshold, average, **kwargs)
        else:
            num_classes = _check_integer("num_classes", num_classes, task)
            found = MulticlassAccuracy(num_classes, _check_integer("top_k", top_k, task), average, **kwargs)  # type: ignore[arg-type]
        return found


def average_precision(
    preds: Tensor,
    target: Tensor,
    task: str,
    thresholds: Any = None,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = "macro",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor | None:
    """`torchmetrics.functional.average_precision`: the function of the task, such as `multilabel_average_precision`.

    Example:
        >>> preds, target = torch.tensor([[.75, .05], [.45, .75], [.05, .55]]), torch.tensor([[1, 0], [0, 0], [0, 1]])
        >>> average_precision(preds, target, task="multilabel", num_labels=2)
        tensor(0.7500)
    """
    task = _read_task(task)
    if task == "binary":
        return binary_average_precision(preds, target, thresholds, ignore_index, validate_args)
    size = _size(task, num_classes, num_labels)
    of_task = multiclass_average_precision if task == "multiclass" else multilabel_average_precision
    return of_task(preds, target, size, average, thresholds, ignore_index, validate_args)


def auroc(
    preds: Tensor,
    target: Tensor,
    task: str,
    thresholds: Any = None,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = "macro",
    max_fpr: float | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor | None:
    """`torchmetrics.functional.auroc`: the function of the task, such as `multilabel_auroc`.

    Example:
        >>> auroc(torch.tensor([0, 0.5, 0.7, 0.8]), torch.tensor([0, 1, 1, 0]), task="binary")
        tensor(0.5000)
    """
    task = _read_task(task)
    if task == "binary":
        return binary_auroc(preds, target, max_fpr, thresholds, ignore_index, validate_args)
    size = _size(task, num_classes, num_labels)
    of_task = multiclass_auroc if task == "multiclass" else multilabel_auroc
    return of_task(preds, target, size, average, thresholds, ignore_index, validate_args)


def accuracy(
    preds: Tensor,
    target: Tensor,
    task: str,
    threshold: float = 0.5,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = "micro",
    multidim_average: str = "global",
    top_k: int | None = 1,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """`torchmetrics.functional.accuracy`: `multiclass_accuracy`, or torchmetrics' function for the other tasks.

    Example:
        >>> accuracy(torch.tensor([2, 1, 0]), torch.tensor([2, 1, 1]), task="multiclass", num_classes=3)
        tensor(0.6667)
    """
    task = _read_task(task)
    if task == "multiclass":
        num_classes = _check_integer("num_classes", num_classes, task)
        k = _check_integer("top_k", top_k, task)
        return multiclass_accuracy(
            preds, target, num_classes, average, k, multidim_average, ignore_index, validate_args
        )
    found: Tensor
    if task == "binary":
        original = original_function("binary_accuracy")
        found = original(preds, target, threshold, multidim_average, ignore_index, validate_args)
    else:
        size = _check_integer("num_labels", num_labels, task)
        original = original_function("multilabel_accuracy")
        found = original(preds, target, size, threshold, average, multidim_average, ignore_index, validate_args)
    return found
