"""Inputs of the multilabel metrics, (N, C, ...) scores and labels, and the checks that torchmetrics makes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = [
    "AVERAGES",
    "as_rows",
    "check_average",
    "check_cells",
    "check_ignore_index",
    "check_num_labels",
    "check_squash",
    "reaches_out",
    "squashed",
]

AVERAGES = ("micro", "macro", "weighted", "none", None)


def check_average(average: str | None) -> None:
    if average not in AVERAGES:
        raise ValueError(f"average: expected one of {AVERAGES}, got {average!r}")


def check_ignore_index(ignore_index: Any) -> None:
    if ignore_index is not None and not isinstance(ignore_index, int):
        raise ValueError(f"ignore_index: expected None or an integer, got {ignore_index!r}")


def check_num_labels(num_labels: int) -> None:
    if not isinstance(num_labels, int) or num_labels < 2:
        raise ValueError(f"num_labels: expected an integer larger than 1, got {num_labels!r}")


def check_squash(squash: bool, thresholds: Any, ignore_index: int | None) -> bool:
    """Whether thresholds hand the work to torchmetrics. It always squashes, and so do metrics with ignore_index."""
    if (thresholds is not None or ignore_index is not None) and not squash:
        raise ValueError("squash: expected True with thresholds or ignore_index, got False")
    return thresholds is not None


def check_cells(preds: Tensor, target: Tensor, ignore_index: int | None = None) -> None:
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
    if bool(reaches_out(target)):
        also = "" if ignore_index is None else f", or {ignore_index} to be ignored"
        raise RuntimeError(f"target: expected 0 and 1{also}, got {torch.unique(target).tolist()}")


def as_rows(name: str, cells: Tensor, num_labels: int) -> Tensor:
    """(N, C, ...) as (rows, C), without a copy where there are no further dimensions."""
    if cells.ndim < 2 or cells.shape[1] != num_labels:
        raise ValueError(f"{name}: expected {num_labels} labels in its second dimension, got {tuple(cells.shape)}")
    return cells if cells.ndim == 2 else cells.movedim(1, -1).reshape(-1, num_labels)


def reaches_out(cells: Tensor) -> Tensor:
    """Whether there are values outside 0 to 1: a bool where the values are. One pass, where comparing takes four."""
    if not cells.numel():
        return torch.zeros((), dtype=torch.bool, device=cells.device)
    low, high = cells.aminmax()
    return (low < 0) | (high > 1)


def squashed(scores: Tensor) -> Tensor:
    """torchmetrics' rule: logits are what has a value outside 0 to 1. On a device, decided there."""
    logits = reaches_out(scores)
    if scores.device.type != "cpu":
        return torch.where(logits, scores.sigmoid(), scores)
    return scores.sigmoid() if logits else scores
