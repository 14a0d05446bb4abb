"""Drop-in for torchmetrics: its multilabel AP and AUROC and its multiclass accuracy, and sampled AP and running AP.

Arguments, inputs, states, shapes, dtypes and numbers are those of torchmetrics 1.9; classes are subclasses of the
installed torchmetrics', so that collections, Lightning, `state_dict` and checkpoints take one for the other. The
deliberate differences:

- `compute` counts in the list of batches as it is, without joining or sorting it.
- Under torch.distributed `compute` exchanges the scores of positives and sums counts; other scores stay where they are.
  `sync` and `sync_context`, a ``dist_sync_fn``, and ``thresholds`` of the multilabel metrics go torchmetrics' own way.
- Cells of ``ignore_index`` are unknown labels: each label leaves its own out. A label whose cells are all ignored has
  no positives, where torchmetrics raises an IndexError (Lightning-AI/torchmetrics#2685).
- `forward` copies no batch that came before, so that a step costs the same all through an epoch.
- A NaN score is a ValueError that names row and class. One warning says how many labels have no AP or AUROC.
- ``squash=False`` ranks scores as they are. By default, as torchmetrics does, a sigmoid is applied to each batch with a
  value outside 0 to 1, so that the batch size may matter and large logits may tie.

Functions need torch, classes torchmetrics as well: 1.9, or one with the same numbers (1.0 leaves labels without
positives out of macro averages).
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from vltr_eval import distributed
from vltr_eval._base.arguments import check_seed, check_trials
from vltr_eval._engine.rank_table import RankTable, mean_of_defined
from vltr_eval.metrics.rank_metrics import rank_table
from vltr_eval.metrics.sampled import sampled_average_precision

try:
    import torch
    import torch.distributed as dist
    from torch import Tensor
except ImportError as error:
    raise ImportError("vltr_eval.compat.torchmetrics needs torch: pip install torch") from error

from vltr_eval.compat._tensors import one_dtype, to_supported_device

if TYPE_CHECKING:
    from torchmetrics import Metric
    from torchmetrics.classification import MulticlassAccuracy as OriginalMulticlassAccuracy
    from torchmetrics.classification import MultilabelAUROC as OriginalMultilabelAUROC
    from torchmetrics.classification import MultilabelAveragePrecision as OriginalMultilabelAveragePrecision
    from torchmetrics.utilities import rank_zero_warn as warn

    # The mixins below call methods of the classes that they are combined with.
    class _MixedWithMetric(Metric):
        num_labels: int

    class _MixedWithMultilabel(OriginalMultilabelAveragePrecision):
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...
else:
    _MixedWithMetric = _MixedWithMultilabel = object
    try:
        from torchmetrics import Metric
        from torchmetrics.classification import MulticlassAccuracy as OriginalMulticlassAccuracy
        from torchmetrics.classification import MultilabelAUROC as OriginalMultilabelAUROC
        from torchmetrics.classification import MultilabelAveragePrecision as OriginalMultilabelAveragePrecision
        from torchmetrics.utilities import rank_zero_warn as warn
    except ImportError:
        warn = warnings.warn

        class Metric:
            """Stand-in for torchmetrics' classes if torchmetrics is not installed."""

            def __new__(cls, *_: Any, **__: Any) -> NoReturn:
                raise ImportError(f"{cls.__name__} needs torchmetrics: pip install torchmetrics")

        OriginalMulticlassAccuracy = OriginalMultilabelAUROC = OriginalMultilabelAveragePrecision = Metric

__all__ = [
    "MulticlassAccuracy",
    "MultilabelAUROC",
    "MultilabelAveragePrecision",
    "RunningAveragePrecision",
    "SampledAveragePrecision",
    "multiclass_accuracy",
    "multilabel_auroc",
    "multilabel_average_precision",
]

_AVERAGES = ("micro", "macro", "weighted", "none", None)


# Inputs of the multilabel metrics: (N, C, ...) scores and labels


def _check_average(average: str | None) -> None:
    if average not in _AVERAGES:
        raise ValueError(f"average: expected one of {_AVERAGES}, got {average!r}")


def _check_num_labels(num_labels: int) -> None:
    if not isinstance(num_labels, int) or num_labels < 2:
        raise ValueError(f"num_labels: expected an integer larger than 1, got {num_labels!r}")


def _check_squash(squash: bool, thresholds: Any, ignore_index: int | None) -> bool:
    """Whether thresholds hand the work to torchmetrics. It always squashes, and so do metrics with ignore_index."""
    if (thresholds is not None or ignore_index is not None) and not squash:
        raise ValueError("squash: expected True with thresholds or ignore_index, got False")
    return thresholds is not None


def _check_cells(preds: Tensor, target: Tensor, ignore_index: int | None = None) -> None:
    """Raises what torchmetrics raises, and waits for a device as it does, without its sort of all labels."""
    if preds.shape != target.shape:
        raise RuntimeError(f"preds: expected the shape of target, {tuple(target.shape)}, got {tuple(preds.shape)}")
    if target.is_floating_point():
        raise ValueError(f"target: expected a bool or integer tensor, got {target.dtype}")
    if not preds.is_floating_point():
        raise ValueError(f"preds: expected a floating point tensor, got {preds.dtype}")
    if target.dtype == torch.bool:
        return
    if ignore_index is not None:
        target = target.masked_fill(target == ignore_index, 0)
    if bool(_reaches_out(target)):
        also = "" if ignore_index is None else f", or {ignore_index} to be ignored"
        raise RuntimeError(f"target: expected 0 and 1{also}, got {torch.unique(target).tolist()}")


def _rows(name: str, cells: Tensor, num_labels: int) -> Tensor:
    """(N, C, ...) as (rows, C), without a copy where there are no further dimensions."""
    if cells.ndim < 2 or cells.shape[1] != num_labels:
        raise ValueError(f"{name}: expected {num_labels} labels in its second dimension, got {tuple(cells.shape)}")
    return cells if cells.ndim == 2 else cells.movedim(1, -1).reshape(-1, num_labels)


def _reaches_out(cells: Tensor) -> Tensor:
    """Whether there are values outside 0 to 1: a bool where the values are. One pass, where comparing takes four."""
    if not cells.numel():
        return torch.zeros((), dtype=torch.bool, device=cells.device)
    low, high = cells.aminmax()
    return (low < 0) | (high > 1)


def _squashed(scores: Tensor) -> Tensor:
    """torchmetrics' rule: logits are what has a value outside 0 to 1. On a device, decided there."""
    logits = _reaches_out(scores)
    if scores.device.type != "cpu":
        return torch.where(logits, scores.sigmoid(), scores)
    return scores.sigmoid() if logits else scores


# Evaluation of shards, in this process or in all processes of a group


def _evaluators(group: Any) -> tuple[Callable[..., RankTable], Callable[..., Any]]:
    """`rank_table` and `sampled_average_precision`, of own rows or, collectively, of those of a whole group."""
    if group is None:
        return rank_table, sampled_average_precision
    return (
        functools.partial(distributed.rank_table, group=group),
        functools.partial(distributed.sampled_average_precision, group=group),
    )


def _rank_table(
    scores: list[Tensor], labels: list[Tensor], group: Any = None, ignore_index: int | None = None
) -> RankTable:
    count, _ = _evaluators(group)
    mask = None
    if ignore_index is not None:  # those cells are unknown: their class leaves them out
        known = [shard != ignore_index for shard in labels]
        labels = [(shard == 1) & own for shard, own in zip(labels, known, strict=True)]
        mask = torch.cat(known).cpu()
    return count(to_supported_device(scores), to_supported_device(labels), mask=mask)


def _columns(shards: list[Tensor]) -> list[Tensor]:
    """All cells as those of one class, for micro averages."""
    return [shard.reshape(-1, 1) for shard in shards]


def _average_precision(table: RankTable) -> np.ndarray:
    _warn_of(table.num_positives, "No positive samples found in target, average precision is set to 0")
    return table.average_precision(absent="zero")


def _auroc(table: RankTable) -> np.ndarray:
    _warn_of(table.num_positives, "No positive samples in targets, AUROC is set to 0")
    _warn_of(table.num_negatives, "No negative samples in targets, AUROC is set to 0")
    return np.asarray(np.nan_to_num(table.roc_auc()))


def _warn_of(counts: np.ndarray, what: str) -> None:
    """The first words are torchmetrics', on which filters may depend."""
    without = int(np.count_nonzero(counts == 0))
    if without:
        warn(f"{what}: {without} of {len(counts)} labels", UserWarning)


def _reduced(values: np.ndarray, average: str | None, support: np.ndarray | None, device: Any) -> Tensor:
    """As torchmetrics: a label whose value is NaN has no part in an average. support: (C,), for weighted ones."""
    if average == "micro":
        result = values[0]
    elif average is None or average == "none":
        result = values
    else:
        defined = ~np.isnan(values)
        if not defined.all():
            warn(f"{(~defined).sum()} of {len(values)} labels are nan and left out of the {average} average")
        if average == "macro" or support is None:
            result = mean_of_defined(values)
        else:
            result = np.dot(values[defined], support[defined]) / max(1, support[defined].sum())
    return torch.as_tensor(result, dtype=torch.get_default_dtype(), device=device)


def _evaluated(
    metric: Callable[[RankTable], np.ndarray],
    scores: list[Tensor],
    labels: list[Tensor],
    average: str | None,
    group: Any = None,
    ignore_index: int | None = None,
) -> Tensor:
    if average == "micro":
        scores, labels = _columns(scores), _columns(labels)
    table = _rank_table(scores, labels, group, ignore_index)
    return _reduced(metric(table), average, table.num_positives, scores[0].device)


# Multilabel functions


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
    if _check_squash(squash, thresholds, ignore_index):
        try:
            from torchmetrics.functional import classification
        except ImportError as error:
            raise ImportError(f"{name}: thresholds need torchmetrics: pip install torchmetrics") from error
        original: Callable[..., Tensor] = getattr(classification, name)
        return original(preds, target, num_labels, average, thresholds, ignore_index, validate_args)
    _check_average(average)
    if validate_args:
        _check_num_labels(num_labels)
        _check_cells(preds, target, ignore_index)
    scores, labels = _rows("preds", preds.detach(), num_labels), _rows("target", target, num_labels)
    if not validate_args and ignore_index is None:
        labels = labels == 1
    return _evaluated(metric, [_squashed(scores) if squash else scores], [labels], average, ignore_index=ignore_index)


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
        _average_precision,
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
        "multilabel_auroc", _auroc, preds, target, num_labels, average, thresholds, ignore_index, validate_args, squash
    )


# Metrics over batches


class _OverBatches(_MixedWithMetric):
    """Mixin of metrics that keep their batches: states are not copied, and `compute` is collective."""

    _exact = True  # whether `compute` reads the batches; if not, it is torchmetrics'
    _computes = False  # whether `compute` is running
    _group: Any = None  # the processes that compute together
    _kept = ("preds", "target")  # the states with scores and labels

    def _keep(self, scores: Tensor, labels: Tensor) -> None:
        """Takes a batch by one step, the last: scores without labels, of an interrupted call, do not count."""
        kept, kept_labels = (getattr(self, name) for name in self._kept)
        del kept[len(kept_labels) :]
        kept.append(scores)
        kept_labels.append(labels)

    def _shards(self) -> tuple[list[Tensor], list[Tensor]]:
        states = (getattr(self, name) for name in self._kept)
        scores, labels = ([state] if isinstance(state, Tensor) else state for state in states)  # one after a `sync`
        scores = scores[: len(labels)]
        if not scores:
            empty = torch.empty((0, self.num_labels), device=self.device)
            return [empty], [empty.bool()]
        return one_dtype(scores), one_dtype(labels)

    def _copy_state_dict(self) -> dict[str, Any]:
        """Batches are never written to, so what torchmetrics keeps aside while it works need not be a copy."""
        states = {name: getattr(self, name) for name in self._defaults}
        return {name: state.clone() if isinstance(state, Tensor) else list(state) for name, state in states.items()}

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        """torchmetrics synchronises states around `compute`; there alone they may stay where they are."""
        synchronised = super()._wrap_compute(compute)

        @functools.wraps(compute)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self._computes = True
            try:
                return synchronised(*args, **kwargs)
            finally:
                self._computes = False

        return wrapped

    @contextlib.contextmanager
    def sync_context(
        self,
        dist_sync_fn: Callable[..., Any] | None = None,
        process_group: Any = None,
        should_sync: bool = True,
        should_unsync: bool = True,
        distributed_available: Callable[..., Any] | None = None,
    ) -> Iterator[None]:
        """Synchronise as torchmetrics does, except `compute`, which already covers all processes."""
        collective = self._computes and self._exact and should_sync and dist_sync_fn is None and not self._is_synced
        if not (collective and dist.is_available() and dist.is_initialized()):
            with super().sync_context(dist_sync_fn, process_group, should_sync, should_unsync, distributed_available):
                yield
            return
        if (distributed_available or self.distributed_available_fn)():
            group = process_group or self.process_group or dist.group.WORLD
            self._group = group if dist.get_world_size(group) > 1 else None
        try:
            yield
        finally:
            self._group = None


class _OfLabels(_OverBatches, _MixedWithMultilabel):
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
        _check_average(average)
        self._exact = not _check_squash(squash, thresholds, ignore_index)
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
            _check_cells(preds, target, self.ignore_index)
        scores, labels = _rows("preds", preds.detach(), self.num_labels), _rows("target", target, self.num_labels)
        self._keep(_squashed(scores) if self.squash else scores, labels)

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
        return _evaluated(type(self)._metric, scores, labels, self.average, self._group, self.ignore_index)


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

    _metric = staticmethod(_average_precision)


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

    _metric = staticmethod(_auroc)


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
            return _evaluated(RankTable.expected_sampled_average_precision, scores, labels, self.average, self._group)
        device = scores[0].device
        if self.average == "micro":
            scores, labels = _columns(scores), _columns(labels)
        _, sample = _evaluators(self._group)
        values = sample(
            to_supported_device(scores), to_supported_device(labels), trials=self.trials, seed=self.seed
        ).mean
        support = _rank_table(scores, labels, self._group).num_positives if self.average == "weighted" else None
        return _reduced(values, self.average, support, device)


class RunningAveragePrecision(_OverBatches, Metric):
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
        _check_num_labels(num_labels)
        _check_average(average)
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
            return _reduced(np.zeros(self.num_labels), self.average, np.zeros(self.num_labels), self.device)
        metric = functools.partial(RankTable.average_precision, absent="zero")
        return _evaluated(metric, scores, labels, self.average, self._group)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """As torchmetrics' metrics: the values of one or several `compute`."""
        return self._plot(val, ax)


def _as_bytes(labels: Tensor) -> Tensor:
    """0, 1, or 2 for anything else, which `compute` then refuses."""
    if labels.dtype == torch.bool:
        return labels.clone()
    return torch.where((labels == 0) | (labels == 1), labels, 2).to(torch.uint8)


# Multiclass accuracy


def _check_accuracy(
    num_classes: int | None, average: str | None, top_k: int, multidim_average: str, ignore_index: int | None
) -> None:
    _check_average(average)
    if num_classes is None and average != "micro":
        raise ValueError(f"num_classes: expected an integer for average={average!r}, got None")
    if num_classes is not None and (not isinstance(num_classes, int) or num_classes < 2):
        raise ValueError(f"num_classes: expected an integer larger than 1, got {num_classes!r}")
    if not isinstance(top_k, int) or not 1 <= top_k <= (num_classes or 1):
        raise ValueError(f"top_k: expected an integer from 1 to {num_classes or 1} classes, got {top_k!r}")
    if multidim_average not in ("global", "samplewise"):
        raise ValueError(f"multidim_average: expected 'global' or 'samplewise', got {multidim_average!r}")
    if ignore_index is not None and not isinstance(ignore_index, int):
        raise ValueError(f"ignore_index: expected None or an integer, got {ignore_index!r}")


def _check_classes(
    preds: Tensor, target: Tensor, num_classes: int | None, multidim_average: str, ignore_index: int | None
) -> None:
    """Raises what torchmetrics raises; as there, labels beside scores are not looked at."""
    scored = preds.ndim == target.ndim + 1
    if scored and not preds.is_floating_point():
        raise ValueError(f"preds: expected floating point scores with a dimension more than target, got {preds.dtype}")
    if scored and num_classes is not None and preds.shape[1] != num_classes:
        raise ValueError(f"preds: expected {num_classes} classes in its second dimension, got {preds.shape[1]}")
    if (preds.shape[:1] + preds.shape[2:] if scored else preds.shape) != target.shape:
        raise ValueError(
            f"preds: expected shape (N, C, ...) or (N, ...) for a target of {tuple(target.shape)}, "
            f"got {tuple(preds.shape)}"
        )
    if multidim_average == "samplewise" and target.ndim < 2:
        raise ValueError(f"target: expected shape (N, ...) for samplewise averages, got {tuple(target.shape)}")
    if num_classes is None or preds.is_floating_point():
        return
    most = num_classes + (ignore_index is not None)
    for name, labels in (("target", target), ("preds", preds)):
        found = len(torch.unique(labels))
        if found > most:
            raise RuntimeError(f"{name}: expected at most {most} different values, got {found}")


def _class_counts(
    preds: Tensor,
    target: Tensor,
    num_classes: int | None,
    top_k: int,
    average: str | None,
    multidim_average: str,
    ignore_index: int | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """tp, fp, tn, fn as torchmetrics counts them: (C,), (N, C) samplewise, or scalars for the top-1 micro average.

    One of the k guesses counts: the target if it is among them, else the best. The guesses take O(N C), the counts
    O(N + C), where torchmetrics makes (N, C) one-hot integers or a (C, C) matrix. Nothing waits for a device.
    """
    labels = target.reshape(len(target), -1)  # (N, X)
    if preds.ndim == target.ndim + 1:
        guess = _best_guess(preds.reshape(*preds.shape[:2], -1), labels, top_k)
    elif top_k == 1:
        guess = preds.reshape(labels.shape)
    else:
        raise ValueError(f"preds: expected shape (N, C, ...) with top_k={top_k}, got {tuple(preds.shape)}")
    if multidim_average == "global":
        labels, guess = labels.reshape(1, -1), guess.reshape(1, -1)
    counted = torch.ones_like(labels, dtype=torch.bool) if ignore_index is None else labels != ignore_index
    hit = (guess == labels) & counted
    rows = counted.sum(dim=1, keepdim=True)
    if average == "micro" and top_k == 1 and multidim_average == "global":
        tp = hit.sum()
        miss = rows.sum() - tp
        return tp, miss, (num_classes or 1) * rows.sum() - miss - miss - tp, miss

    if ignore_index is not None:  # which need not be a class
        labels, guess = torch.where(counted, labels, 0), torch.where(counted, guess, 0)

    def count(classes: Tensor, which: Tensor) -> Tensor:
        zeros = torch.zeros(len(classes), num_classes or 1, dtype=torch.long, device=classes.device)
        return zeros.scatter_add_(1, classes, which)

    labels, guess, one = labels.long(), guess.long(), counted.long()
    tp = count(labels, hit.long())
    fn, fp = count(labels, one) - tp, count(guess, one) - tp
    counts = tp, fp, rows - tp - fp - fn, fn
    return (tp[0], fp[0], counts[2][0], fn[0]) if multidim_average == "global" else counts


def _best_guess(scores: Tensor, labels: Tensor, top_k: int) -> Tensor:
    """(N, C, X) scores, (N, X) labels -> (N, X) classes: the label if it is among the k best, else the best."""
    if top_k == 1:
        return scores.argmax(dim=1)
    best = scores.topk(top_k, dim=1).indices
    return torch.where((best == labels.unsqueeze(1)).any(dim=1), labels, best[:, 0])


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """In float32, whatever torch's default dtype; 0 of nothing."""
    return torch.where(whole != 0, part.float() / whole.float(), 0.0)


def multiclass_accuracy(
    preds: Tensor,
    target: Tensor,
    num_classes: int | None = None,
    average: str | None = "macro",
    top_k: int = 1,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """`torchmetrics.functional.classification.multiclass_accuracy`, with its arguments and numbers.

    Args:
        preds: (N, C, ...) floating point scores, or (N, ...) predicted classes.
        target: (N, ...) classes.
        num_classes: C; may be None for ``average="micro"``.
        average: "macro" (classes that occur), "weighted", "micro", or None or "none" for each class.
        top_k: A label among the k highest scores is a hit; ties are torch's.
        multidim_average: "global", or "samplewise" for a result for each of N.
        ignore_index: A target that is left out.
        validate_args: Whether to check the inputs.

    Returns:
        A scalar, (C,), (N,) or (N, C) of float32 on the device of preds.

    Raises:
        ValueError: An input that torchmetrics refuses by a ValueError.
        RuntimeError: An input that torchmetrics refuses by a RuntimeError.

    Example:
        >>> preds, target = torch.tensor([[.1, .2, .7], [.5, .4, .1], [.3, .6, .1]]), torch.tensor([2, 1, 0])
        >>> multiclass_accuracy(preds, target, num_classes=3, average="micro", top_k=2)
        tensor(1.)
        >>> multiclass_accuracy(preds, target, num_classes=3, average=None)
        tensor([0., 0., 1.])
    """
    if validate_args:
        _check_accuracy(num_classes, average, top_k, multidim_average, ignore_index)
        _check_classes(preds, target, num_classes, multidim_average, ignore_index)
    tp, fp, _, fn = _class_counts(preds, target, num_classes, top_k, average, multidim_average, ignore_index)
    if average == "micro":
        return _ratio(tp.sum(-1), (tp + fn).sum(-1))
    score = _ratio(tp, tp + fn)
    if average is None or average == "none":
        return score
    occurs = tp + fn + fp if top_k == 1 else tp + fn  # guesses of a class count where there is one guess
    weights = tp + fn if average == "weighted" else (occurs > 0).long()
    return _ratio(weights * score, weights.sum(-1, keepdim=True)).sum(-1)


class MulticlassAccuracy(OriginalMulticlassAccuracy):
    """`torchmetrics.classification.MulticlassAccuracy`, with its arguments, states and numbers.

    The arguments are those of `multiclass_accuracy`, and ``kwargs`` those of torchmetrics' Metric with its
    ``zero_division``. States are counts, so processes exchange as little as they do in torchmetrics.

    Example:
        >>> metric = MulticlassAccuracy(num_classes=3, average="micro", top_k=2)
        >>> metric.update(torch.tensor([[.1, .2, .7], [.5, .4, .1]]), torch.tensor([2, 2]))
        >>> metric.compute()
        tensor(0.5000)
    """

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Takes a batch: (N, C, ...) scores or (N, ...) predicted classes, and (N, ...) classes."""
        if self.validate_args:
            _check_classes(preds, target, self.num_classes, self.multidim_average, self.ignore_index)
        self._update_state(
            *_class_counts(
                preds,
                target,
                self.num_classes,
                self.top_k,
                self.average,
                self.multidim_average,
                self.ignore_index,
            )
        )
