"""Binary AP and AUROC: all cells of a batch are one column."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # noqa: F401  # the examples use it
from torch import Tensor

from vltr_eval._engine.rank_table import RankTable
from vltr_eval.compat.torchmetrics.batches import OverBatches
from vltr_eval.compat.torchmetrics.evaluation import auroc_of, average_precision_of, evaluated
from vltr_eval.compat.torchmetrics.inputs import check_cells, check_ignore_index, squashed
from vltr_eval.compat.torchmetrics.originals import (
    OriginalBinaryAUROC,
    OriginalBinaryAveragePrecision,
    original_function,
)

if TYPE_CHECKING:
    # The mixin below calls methods of the classes that it is combined with.
    class _MixedWithBinary(OriginalBinaryAveragePrecision):
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...
else:
    _MixedWithBinary = object

__all__ = ["BinaryAUROC", "BinaryAveragePrecision", "binary_auroc", "binary_average_precision"]


def _cells(preds: Tensor, target: Tensor, ignore_index: int | None, squash: bool) -> tuple[Tensor, Tensor]:
    """Return (N,) scores and labels; ignored cells leave before the sigmoid is decided, as in torchmetrics."""
    scores, labels = preds.detach().flatten(), target.flatten()
    if ignore_index is not None:
        counted = labels != ignore_index
        scores, labels = scores[counted], labels[counted]
    return squashed(scores) if squash else scores, labels


def _binary(
    metric: Callable[[RankTable], np.ndarray],
    preds: Tensor,
    target: Tensor,
    ignore_index: int | None,
    validate_args: bool,
) -> Tensor:
    if validate_args:
        check_ignore_index(ignore_index)
        check_cells(preds, target, ignore_index)
    scores, labels = _cells(preds, target, ignore_index, squash=True)
    return evaluated(metric, [scores], [labels == 1], "micro")


def binary_average_precision(
    preds: Tensor,
    target: Tensor,
    thresholds: Any = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """`torchmetrics.functional.classification.binary_average_precision`, with its arguments and numbers.

    Args:
        preds: (N, ...) floating point probabilities or logits.
        target: (N, ...) of 0/1, bool or integer; with ``validate_args=False`` of any dtype, where 1 is positive.
        thresholds: torchmetrics does the work where these are given.
        ignore_index: A value of target that is left out.
        validate_args: Whether to check the inputs.

    Returns:
        A scalar of torch's default dtype on the device of preds; 0 without positives, with a UserWarning.

    Raises:
        ValueError: A NaN score, or an input that torchmetrics refuses by a ValueError.
        RuntimeError: An input that torchmetrics refuses by a RuntimeError.
        ImportError: torchmetrics is needed and missing.

    Example:
        >>> binary_average_precision(torch.tensor([0, 0.5, 0.7, 0.8]), torch.tensor([0, 1, 1, 0]))
        tensor(0.5833)
    """
    if thresholds is not None:
        original = original_function("binary_average_precision", "thresholds")
        found: Tensor = original(preds, target, thresholds, ignore_index, validate_args)
        return found
    return _binary(average_precision_of, preds, target, ignore_index, validate_args)


def binary_auroc(
    preds: Tensor,
    target: Tensor,
    max_fpr: float | None = None,
    thresholds: Any = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """`torchmetrics.functional.classification.binary_auroc`, with its arguments and numbers.

    Args and errors are those of `binary_average_precision`; torchmetrics does the work if ``max_fpr`` is given.

    Returns:
        A scalar of torch's default dtype on the device of preds; 0 without positives or without negatives, with a
        UserWarning.

    Example:
        >>> binary_auroc(torch.tensor([0, 0.5, 0.7, 0.8]), torch.tensor([0, 1, 1, 0]))
        tensor(0.5000)
    """
    if thresholds is not None or max_fpr is not None:
        original = original_function("binary_auroc", "max_fpr or thresholds")
        found: Tensor = original(preds, target, max_fpr, thresholds, ignore_index, validate_args)
        return found
    return _binary(auroc_of, preds, target, ignore_index, validate_args)


class _OfCells(OverBatches, _MixedWithBinary):
    """torchmetrics' binary metrics, with its arguments and states, computed from a rank table."""

    _metric: Callable[[RankTable], np.ndarray]

    @property
    def _exact(self) -> bool:  # type: ignore[override]
        own = getattr(self, "max_fpr", None) is None and getattr(self, "normalization", None) in (None, "sigmoid")
        return self.thresholds is None and own

    def _num_columns(self) -> int:
        return 1

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Takes a batch: (N, ...) scores and labels of 0/1."""
        if not self._exact:
            super().update(preds, target)
            return
        if self.validate_args:
            check_cells(preds, target, self.ignore_index)
        # The argument `normalization` is younger than torchmetrics 1.0.
        squash = getattr(self, "normalization", "sigmoid") is not None
        self._keep(*_cells(preds, target, self.ignore_index, squash))

    def compute(self) -> Tensor:  # type: ignore[override]  # as torchmetrics' own subclasses of the curve do
        """The metric of all batches, and under torch.distributed of those of all processes."""
        if not self._exact:
            original: Tensor = super().compute()
            return original
        scores, labels = self._shards()
        if self._group is None and not any(map(len, scores)):
            raise ValueError("compute: expected at least one row from update(), got none")
        return evaluated(type(self)._metric, scores, [shard == 1 for shard in labels], "micro", self._group)


class BinaryAveragePrecision(_OfCells, OriginalBinaryAveragePrecision):
    """`torchmetrics.classification.BinaryAveragePrecision`, with its arguments, states and numbers.

    The arguments are those of torchmetrics; see `binary_average_precision`.

    Example:
        >>> metric = BinaryAveragePrecision()
        >>> metric.update(torch.tensor([0, 0.5]), torch.tensor([0, 1]))
        >>> metric.update(torch.tensor([0.7, 0.8]), torch.tensor([1, 0]))
        >>> metric.compute()
        tensor(0.5833)
    """

    _metric = staticmethod(average_precision_of)


class BinaryAUROC(_OfCells, OriginalBinaryAUROC):
    """`torchmetrics.classification.BinaryAUROC`, with its arguments, states and numbers.

    The arguments are those of torchmetrics; see `binary_auroc`.

    Example:
        >>> metric = BinaryAUROC()
        >>> metric(torch.tensor([0, 0.5, 0.7, 0.8]), torch.tensor([0, 1, 1, 0]))
        tensor(0.5000)
    """

    _metric = staticmethod(auroc_of)
