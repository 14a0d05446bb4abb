"""Metrics that keep their batches: states are not copied, and `compute` is collective."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from vltr_eval.compat._tensors import one_dtype

if TYPE_CHECKING:
    from vltr_eval.compat.torchmetrics.originals import Metric

    # The mixin below calls methods of the classes that it is combined with.
    class _MixedWithMetric(Metric):
        num_labels: int
else:
    _MixedWithMetric = object

__all__ = ["OverBatches"]


class OverBatches(_MixedWithMetric):
    """Mixin of metrics that keep their batches: states are not copied, and `compute` is collective."""

    _exact = True  # whether `compute` reads the batches; if not, it is torchmetrics'
    _computes = False  # whether `compute` is running
    _group: Any = None  # the processes that compute together
    _kept = ("preds", "target")  # the states with scores and labels

    def _num_columns(self) -> int:
        return self.num_labels

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
            empty = torch.empty((0, self._num_columns()), device=self.device)
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
