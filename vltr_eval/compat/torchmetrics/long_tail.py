"""An Evaluator as a metric of torchmetrics, for trainers that take one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from vltr_eval._base.arguments import nearest_name
from vltr_eval._engine.options import EvalOptions
from vltr_eval.compat.torchmetrics.originals import Metric
from vltr_eval.evaluator import Evaluator
from vltr_eval.report.report import Report

__all__ = ["LongTailMetrics"]

_STATE = "evaluator"


class LongTailMetrics(Metric):
    """All means of a report as one metric: `compute` gives the dict of `vltr_eval.report.Report.metrics`.

    The rows are kept once, in a `vltr_eval.Evaluator`, and no state of torchmetrics holds them. Under torch.distributed
    `compute` is collective and gives every process the numbers of all rows; no scores leave their process.

    The metric resets itself: the first `update` after a `compute` begins a new epoch. A trainer that resets metrics at
    the end of an epoch, as Lightning does with those that it logs, does no harm. `compute` may be repeated before.

    Args:
        num_classes: C.
        prefix: Text in front of every name, such as ``"val/"``.
        per_class: Whether to add the numbers of single classes; see `Report.metrics`.
        style: "as_is", or "safe" for names that every logger takes; see there.
        keep_rows: Do not reset after `compute`, so that the numbers are those of all updates since `reset`.
        sync_on_compute: Whether `compute` covers all processes.
        dist_sync_on_step: Whether the value of a `forward` covers all processes.
        process_group: These processes; None for all.
        **options: Those of `vltr_eval.Evaluator`: sap, topk, train_counts, class_names, memory_budget and so on.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument has the wrong type, or an option does not exist.

    Example:
        >>> metric = LongTailMetrics(num_classes=2, prefix="val/", sap=None, topk=(1,))
        >>> metric.update(torch.tensor([[.9, .1], [.8, .6]]), torch.tensor([[1, 0], [0, 1]]))
        >>> metric.update(torch.tensor([[.1, .2]]), torch.tensor([[0, 1]]))
        >>> {name: round(float(value), 4) for name, value in metric.compute().items()}
        {'val/mAP': 1.0, 'val/ROC_AUC': 1.0, 'val/Acc@1': 0.6667}
        >>> metric.report.num_rows
        3
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(
        self,
        num_classes: int,
        *,
        prefix: str = "",
        per_class: bool | str | Sequence[str] = False,
        style: str = "as_is",
        keep_rows: bool = False,
        sync_on_compute: bool = True,
        dist_sync_on_step: bool = False,
        process_group: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            sync_on_compute=sync_on_compute, dist_sync_on_step=dist_sync_on_step, process_group=process_group
        )
        self.prefix, self.per_class, self.style, self.keep_rows = prefix, per_class, style, keep_rows
        self._options = options
        _check_names(options)
        self.evaluator = self._new_evaluator(num_classes, sync_on_compute)
        self.report: Report | None = None
        """The whole report of the last `compute`, in double precision; None before it."""
        self._is_finished = False  # whether the rows have been computed, so that the next update begins anew
        self._is_persistent = False

    def _new_evaluator(self, num_classes: int, sync_on_compute: bool) -> Evaluator:
        return Evaluator(
            num_classes, sync_on_compute=sync_on_compute, process_group=self.process_group, **self._options
        )

    def update(self, preds: Any, target: Any, ids: Any = None, *, mask: Any = None, unknown: Any = None) -> None:
        """Takes a batch; the arguments are those of `vltr_eval.Evaluator.update`.

        Args:
            preds: (B, C) scores of any real dtype, on any device. They are copied.
            target: Labels of these rows, in any form that `vltr_eval.evaluate` takes.
            ids: (B,) ids of the samples. With them, a row that a DistributedSampler repeats counts once.
            mask: Which labels are known.
            unknown: The value of target that marks an unknown label.
        """
        if self._is_finished:
            self.evaluator.reset()
            self._is_finished = False
        scores = preds.detach() if isinstance(preds, Tensor) else preds
        self.evaluator.update(scores, target, ids, mask=mask, unknown=unknown)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Takes a batch and gives the numbers of that batch alone."""
        self.update(*args, **kwargs)
        batch = self._new_evaluator(self.evaluator.num_classes, self.dist_sync_on_step)
        preds, *others = args if args else (kwargs.pop("preds"),)
        others = others or [kwargs.pop("target")]
        batch.update(preds.detach() if isinstance(preds, Tensor) else preds, *others, **kwargs)
        return self._numbers(batch.compute())

    def compute(self) -> dict[str, Tensor]:
        """The numbers of all rows since the start or the last `compute`, as tensors of torch's default dtype."""
        self.report = self.evaluator.compute()
        self._is_finished = not self.keep_rows
        return self._numbers(self.report)

    def _numbers(self, report: Report) -> dict[str, Tensor]:
        numbers = report.metrics(self.prefix, per_class=self.per_class, style=self.style)
        dtype = torch.get_default_dtype()
        return {name: torch.tensor(value, dtype=dtype, device=self.device) for name, value in numbers.items()}

    def reset(self) -> None:
        """Discard all rows. The last report is kept."""
        super().reset()
        self.evaluator.reset()
        self._is_finished = False

    def merge_state(self, incoming_state: Any) -> None:
        """Append the rows of another such metric."""
        if not isinstance(incoming_state, LongTailMetrics):
            raise ValueError(f"incoming_state: expected LongTailMetrics, got {type(incoming_state).__name__}")
        self.evaluator.merge(incoming_state.evaluator)
        self._update_count += incoming_state._update_count
        self._computed = None

    def persistent(self, mode: bool = False) -> None:
        """Whether `state_dict` has the rows, as `vltr_eval.Evaluator.state_dict` gives them."""
        self._is_persistent = mode

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As of every Module. The rows are part of it after ``persistent(True)``."""
        found = super().state_dict(*args, **kwargs)
        if self._is_persistent:
            prefix = kwargs.get("prefix", args[1] if len(args) > 1 else "")
            found[prefix + _STATE] = self.evaluator.state_dict()
        return found

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        rows = state_dict.pop(prefix + _STATE, None)
        if isinstance(rows, Mapping):
            self.evaluator.load_state_dict(rows)
            self._is_finished = False
        super()._load_from_state_dict(state_dict, prefix, *args)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """As torchmetrics' metrics: the values of one or several `compute`."""
        return self._plot(val, ax)


def _check_names(options: Mapping[str, Any]) -> None:
    """Suggest an argument of `LongTailMetrics` that an option resembles; `Evaluator` knows its own options alone."""
    known = {*signature(Evaluator).parameters, *(option.name for option in fields(EvalOptions))}
    for name in options:
        near = None if name in known else nearest_name(name, ("prefix", "per_class", "style", "keep_rows"))
        if near is not None:
            raise TypeError(f"{name}: expected an argument of LongTailMetrics or Evaluator; did you mean {near}?")
