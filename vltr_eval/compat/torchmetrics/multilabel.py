"""Multilabel AP and AUROC, and sampled AP."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # noqa: F401  # the examples use it
from torch import Tensor

from vltr_eval._base.arguments import check_seed, check_trials
from vltr_eval._engine.rank_table import RankTable
from vltr_eval.compat._tensors import to_supported_device
from vltr_eval.compat.torchmetrics.batches import OverBatches
from vltr_eval.compat.torchmetrics.evaluation import (
    as_columns,
    auroc_of,
    average_precision_of,
    evaluated,
    evaluators,
    make_rank_table,
    reduced,
)
from vltr_eval.compat.torchmetrics.inputs import (
    as_rows,
    check_average,
    check_cells,
    check_num_labels,
    check_squash,
    squashed,
)
from vltr_eval.compat.torchmetrics.originals import (
    OriginalMultilabelAUROC,
    OriginalMultilabelAveragePrecision,
    original_function,
)

if TYPE_CHECKING:
    # The mixin below calls methods of the classes that it is combined with.
    class _MixedWithMultilabel(OriginalMultilabelAveragePrecision):
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...
else:
    _MixedWithMultilabel = object

__all__ = [
    "MultilabelAUROC",
    "MultilabelAveragePrecision",
    "SampledAveragePrecision",
    "multilabel_auroc",
    "multilabel_average_precision",
]


def _multilabel(
    name: str,
    metric: Callable[[RankTable], np.ndarray],
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    average: str | None,
    thresholds: Any,
    ignore_index: int | None,
    validate_args: bool,
    squash: bool,
) -> Tensor:
    if check_squash(squash, thresholds, ignore_index):
        original: Callable[..., Tensor] = original_function(name, "thresholds")
        return original(preds, target, num_labels, average, thresholds, ignore_index, validate_args)
    check_average(average)
    if validate_args:
        check_num_labels(num_labels)
        check_cells(preds, target, ignore_index)
    scores, labels = as_rows("preds", preds.detach(), num_labels), as_rows("target", target, num_labels)
    if not validate_args and ignore_index is None:
        labels = labels == 1
    return evaluated(metric, [squashed(scores) if squash else scores], [labels], average, ignore_index=ignore_index)


def multilabel_average_precision(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    average: str | None = "macro",
    thresholds: Any = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    squash: bool = True,
) -> Tensor:
    """`torchmetrics.functional.classification.multilabel_average_precision`, with its arguments and numbers.

    Args:
        preds: (N, C, ...) floating point probabilities or logits.
        target: (N, C, ...) of 0/1, bool or integer; with ``validate_args=False`` of any dtype, where 1 is positive.
        num_labels: C, at least 2.
        average: "macro", "weighted", "micro", or None or "none" for each label.
        thresholds: torchmetrics does the work where these are given.
        ignore_index: A value of target that marks unknown cells; each label leaves its own out.
        validate_args: Whether to check the inputs.
        squash: Apply torchmetrics' sigmoid to logits; False ranks scores as they are.

    Returns:
        A scalar, or (C,), of torch's default dtype on the device of preds.
        A label without positives has AP 0, with a UserWarning, and counts in averages.

    Raises:
        ValueError: A NaN score, or an input that torchmetrics refuses by a ValueError.
        RuntimeError: An input that torchmetrics refuses by a RuntimeError.
        ImportError: torchmetrics is needed and missing.

    Example:
        >>> preds, target = torch.tensor([[.75, .05], [.45, .75], [.05, .55]]), torch.tensor([[1, 0], [0, 0], [0, 1]])
        >>> multilabel_average_precision(preds, target, num_labels=2, average=None)
        tensor([1.0000, 0.5000])
    """
    return _multilabel(
        "multilabel_average_precision",
        average_precision_of,
        preds,
        target,
        num_labels,
        average,
        thresholds,
        ignore_index,
        validate_args,
        squash,
    )


def multilabel_auroc(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    average: str | None = "macro",
    thresholds: Any = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    squash: bool = True,
) -> Tensor:
    """`torchmetrics.functional.classification.multilabel_auroc`, with its arguments and numbers.

    Args and errors are those of `multilabel_average_precision`.

    Returns:
        A scalar, or (C,), of torch's default dtype on the device of preds. A label without positives or without
        negatives has AUROC 0, with a UserWarning, and counts in averages.

    Example:
        >>> preds, target = torch.tensor([[.75, .05], [.45, .75], [.05, .55]]), torch.tensor([[1, 0], [0, 0], [0, 1]])
        >>> multilabel_auroc(preds, target, num_labels=2, average=None)
        tensor([1.0000, 0.5000])
    """
    return _multilabel(
        "multilabel_auroc",
        auroc_of,
        preds,
        target,
        num_labels,
        average,
        thresholds,
        ignore_index,
        validate_args,
        squash,
    )


class _OfLabels(OverBatches, _MixedWithMultilabel):
    """torchmetrics' multilabel metrics, with its states, computed from a rank table."""

    _metric: Callable[[RankTable], np.ndarray]

    def __init__(
        self,
        num_labels: int,
        average: str | None = "macro",
        thresholds: Any = None,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        squash: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_labels, average, thresholds, ignore_index, validate_args, **kwargs)
        check_average(average)
        self._exact = not check_squash(squash, thresholds, ignore_index)
        self.squash = squash
        if not squash:  # a state of its own keeps a MetricCollection from sharing squashed batches
            self.add_state("scores", default=[], dist_reduce_fx="cat")
            self._kept = ("scores", "target")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Takes a batch: (N, C, ...) scores and labels of 0/1."""
        if not self._exact:
            super().update(preds, target)
            return
        if self.validate_args:
            check_cells(preds, target, self.ignore_index)
        scores, labels = as_rows("preds", preds.detach(), self.num_labels), as_rows("target", target, self.num_labels)
        self._keep(squashed(scores) if self.squash else scores, labels)

    def compute(self) -> Tensor:  # type: ignore[override]  # as torchmetrics' own subclasses of the curve do
        """The metric of all batches, and under torch.distributed of those of all processes."""
        if not self._exact:
            original: Tensor = super().compute()
            return original
        return self._evaluate(*self._shards())

    def _shards(self) -> tuple[list[Tensor], list[Tensor]]:
        scores, labels = super()._shards()
        if self._group is None and not any(map(len, scores)):
            raise ValueError("compute: expected at least one row from update(), got none")
        as_they_are = self.validate_args or self.ignore_index is not None
        return scores, labels if as_they_are else [shard == 1 for shard in labels]

    def _evaluate(self, scores: list[Tensor], labels: list[Tensor]) -> Tensor:
        return evaluated(type(self)._metric, scores, labels, self.average, self._group, self.ignore_index)


class MultilabelAveragePrecision(_OfLabels, OriginalMultilabelAveragePrecision):
    """`torchmetrics.classification.MultilabelAveragePrecision`, with its arguments, states and numbers.

    Args:
        num_labels: C, at least 2.
        average: "macro", "micro", "weighted", or None or "none" for a value of each label.
        thresholds: As of `multilabel_average_precision`.
        ignore_index: A value of target that is left out.
        validate_args: Whether arguments and batches are checked.
        kwargs: Those of torchmetrics' Metric.

    Raises:
        ValueError, RuntimeError: As `multilabel_average_precision`.

    Example:
        >>> metric = MultilabelAveragePrecision(num_labels=2, average=None)
        >>> metric.update(torch.tensor([[.75, .05], [.45, .75]]), torch.tensor([[1, 0], [0, 0]]))
        >>> metric.update(torch.tensor([[.05, .55]]), torch.tensor([[0, 1]]))
        >>> metric.compute()
        tensor([1.0000, 0.5000])
    """

    _metric = staticmethod(average_precision_of)


class MultilabelAUROC(_OfLabels, OriginalMultilabelAUROC):
    """`torchmetrics.classification.MultilabelAUROC`, with its arguments, states and numbers.

    Args and errors are those of `MultilabelAveragePrecision` and `multilabel_auroc`.

    Example:
        >>> metric = MultilabelAUROC(num_labels=2, average=None)
        >>> metric.update(torch.tensor([[.75, .05], [.45, .75]]), torch.tensor([[1, 0], [0, 0]]))
        >>> metric.update(torch.tensor([[.05, .55]]), torch.tensor([[0, 1]]))
        >>> metric.compute()
        tensor([1.0000, 0.5000])
    """

    _metric = staticmethod(auroc_of)


class SampledAveragePrecision(MultilabelAveragePrecision):
    """Sampled AP (arXiv 1904.12993): the mean over trials of AP on all positives and as many drawn negatives.

    A label without positives is NaN and left out of averages, with a UserWarning. The rows drawn depend on labels and
    their order, which is that of updates and, among processes, of ranks. A MetricCollection shares the batches with
    `MultilabelAveragePrecision`.

    Args:
        num_labels: C, at least 2.
        trials: The number of draws; see `vltr_eval.sampled_average_precision`.
        seed: The seed of the draws; see `vltr_eval.sampled_average_precision`.
        exact: Compute the limit of infinitely many trials instead, in closed form.
        average: As `MultilabelAveragePrecision`.
        validate_args: As `MultilabelAveragePrecision`.
        squash: As `MultilabelAveragePrecision`.
        kwargs: The arguments of torchmetrics' Metric.

    Example:
        >>> metric = SampledAveragePrecision(num_labels=2, exact=True, average=None)
        >>> metric.update(torch.tensor([[.7, .1], [.4, .7], [.1, .5]]), torch.tensor([[1, 0], [0, 0], [0, 1]]))
        >>> metric.compute()
        tensor([1.0000, 0.7500])
    """

    def __init__(
        self,
        num_labels: int,
        trials: int = 15,
        seed: int = 0,
        exact: bool = False,
        average: str | None = "macro",
        validate_args: bool = True,
        *,
        squash: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_labels, average, validate_args=validate_args, squash=squash, **kwargs)
        self.trials = check_trials(trials)
        self.seed = check_seed(seed)
        self.exact = exact

    def _evaluate(self, scores: list[Tensor], labels: list[Tensor]) -> Tensor:
        if self.exact:
            return evaluated(RankTable.expected_sampled_average_precision, scores, labels, self.average, self._group)
        device = scores[0].device
        if self.average == "micro":
            scores, labels = as_columns(scores), as_columns(labels)
        _, sample = evaluators(self._group)
        values = sample(
            to_supported_device(scores), to_supported_device(labels), trials=self.trials, seed=self.seed
        ).mean
        support = make_rank_table(scores, labels, self._group).num_positives if self.average == "weighted" else None
        return reduced(values, self.average, support, device)
