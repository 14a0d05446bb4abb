"""Evaluation of lists of batches, in this process or in all processes of a group."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vltr_eval import distributed
from vltr_eval._engine.rank_table import RankTable, mean_of_defined
from vltr_eval.compat._tensors import to_supported_device
from vltr_eval.compat.torchmetrics.originals import warn
from vltr_eval.metrics.rank_metrics import rank_table
from vltr_eval.metrics.sampled import sampled_average_precision

__all__ = [
    "as_columns",
    "auroc_of",
    "average_precision_of",
    "evaluated",
    "evaluators",
    "make_rank_table",
    "reduced",
    "warn_of",
]


def evaluators(group: Any) -> tuple[Callable[..., RankTable], Callable[..., Any]]:
    """`rank_table` and `sampled_average_precision`, of own rows or, collectively, of those of a whole group."""
    if group is None:
        return rank_table, sampled_average_precision
    return (
        functools.partial(distributed.rank_table, group=group),
        functools.partial(distributed.sampled_average_precision, group=group),
    )


def make_rank_table(
    scores: list[Tensor], labels: list[Tensor], group: Any = None, ignore_index: int | None = None
) -> RankTable:
    count, _ = evaluators(group)
    mask = None
    if ignore_index is not None:  # those cells are unknown: their class leaves them out
        known = [shard != ignore_index for shard in labels]
        labels = [(shard == 1) & own for shard, own in zip(labels, known, strict=True)]
        mask = torch.cat(known).cpu()
    return count(to_supported_device(scores), to_supported_device(labels), mask=mask)


def as_columns(shards: list[Tensor]) -> list[Tensor]:
    """All cells as those of one class, for micro averages."""
    return [shard.reshape(-1, 1) for shard in shards]


def average_precision_of(table: RankTable) -> np.ndarray:
    warn_of(table.num_positives, "No positive samples found in target, average precision is set to 0")
    return table.average_precision(absent="zero")


def auroc_of(table: RankTable) -> np.ndarray:
    warn_of(table.num_positives, "No positive samples in targets, AUROC is set to 0")
    warn_of(table.num_negatives, "No negative samples in targets, AUROC is set to 0")
    return np.asarray(np.nan_to_num(table.roc_auc()))


def warn_of(counts: np.ndarray, what: str) -> None:
    """The first words are torchmetrics', on which filters may depend."""
    without = int(np.count_nonzero(counts == 0))
    if without:
        warn(f"{what}: {without} of {len(counts)} labels", UserWarning)


def reduced(
    values: np.ndarray, average: str | None, support: np.ndarray | None, device: Any, message: str | None = None
) -> Tensor:
    """As torchmetrics: a label whose value is NaN has no part in an average. support: (C,), for weighted ones.

    The message begins the warning of such labels, if torchmetrics has words for it.
    """
    if average == "micro":
        result = values[0]
    elif average is None or average == "none":
        result = values
    else:
        defined = ~np.isnan(values)
        if not defined.all():
            count = f"{(~defined).sum()} of {len(values)} labels"
            warn(
                f"{message} in {average}-average: {count}"
                if message
                else f"{count} are nan and left out of the {average} average",
                UserWarning,
            )
        if average == "macro" or support is None:
            result = mean_of_defined(values)
        else:
            result = np.dot(values[defined], support[defined]) / max(1, support[defined].sum())
    return torch.as_tensor(result, dtype=torch.get_default_dtype(), device=device)


def evaluated(
    metric: Callable[[RankTable], np.ndarray],
    scores: list[Tensor],
    labels: list[Tensor],
    average: str | None,
    group: Any = None,
    ignore_index: int | None = None,
    message: str | None = None,
) -> Tensor:
    if average == "micro":
        scores, labels = as_columns(scores), as_columns(labels)
    table = make_rank_table(scores, labels, group, ignore_index)
    return reduced(metric(table), average, table.num_positives, scores[0].device, message)
