"""Losses of multi-label classification with a long tail.

logits: (B, C). targets: (B, C) from 0 to 1, soft ones too unless said. reduction: "mean" over all B x C, or "none" for
the (B, C) matrix. Weights and margins of classes are made once, in float64 on the CPU, and come as (C,) float32. No
loss waits for a device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

__all__ = [
    "bce",
    "class_balanced_weights",
    "eql",
    "focal",
    "ldam",
    "ldam_margins",
    "masked_sum",
    "other_positives_mask",
    "resampled_bce",
]


def bce(logits: Tensor, targets: Tensor, weight: Tensor | None = None, *, reduction: str = "mean") -> Tensor:
    """Binary cross entropy. weight: anything that broadcasts to (B, C); the mean is over B x C all the same."""
    return binary_cross_entropy_with_logits(logits, targets, weight, reduction=_known(reduction))


def focal(
    logits: Tensor, targets: Tensor, gamma: float = 1.0, alpha: float = 1.0, *, reduction: str = "mean"
) -> Tensor:
    """Focal loss (arXiv 1708.02002): alpha (1 - p)**gamma l, where l is the binary cross entropy and p = exp(-l).

    alpha scales all of it, as in VideoLT's published code. Soft targets keep a loss, and so a p below 1, at their best.

    >>> focal(torch.zeros(1, 1), torch.zeros(1, 1))
    tensor(0.3466)
    """
    entropy = bce(logits, targets, reduction="none")
    # 1 - p, kept from 0: rounding may bring a soft target's below it, and x**gamma has no slope at 0 for gamma below 1.
    missing = (-torch.expm1(-entropy)).clamp_min(torch.finfo(entropy.dtype).tiny)
    return _reduced(alpha * missing**gamma * entropy, reduction)


def class_balanced_weights(counts: np.ndarray, beta: float = 0.9999) -> Tensor:
    """Weights (C,) of the class-balanced loss (arXiv 1901.05555), brought to sum C: (1 - beta) / (1 - beta**n).

    counts: (C,) training videos of each class; one without any counts as having one. beta: from 0 (all alike) to
    below 1.

    >>> class_balanced_weights(np.array([1, 2]), beta=0.5)
    tensor([1.2000, 0.8000])
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta: expected from 0 to below 1, got {beta}")
    weights = 1 / (1 - beta ** _at_least_one(counts))
    return _float32(weights * len(weights) / weights.sum())


def ldam_margins(counts: np.ndarray, largest: float = 0.5) -> Tensor:
    """Margins (C,) of LDAM (arXiv 1906.07413, Eq. 13): proportional to n**(-1/4), the largest as given.

    counts: (C,) training videos of each class; one without any counts as having one.

    >>> ldam_margins(np.array([16, 1]))
    tensor([0.2500, 0.5000])
    """
    margins = _at_least_one(counts) ** -0.25
    return _float32(margins * largest / margins.max())


def ldam(
    logits: Tensor,
    targets: Tensor,
    margins: Tensor,
    scale: float = 30.0,
    weight: Tensor | None = None,
    *,
    summed: bool = True,
    reduction: str = "mean",
) -> Tensor:
    """LDAM for several labels, as VideoLT's code has it: bce(scale * z), z being the logit less a margin at positives.

    The margin of a video is the sum of those of its labels, or with ``summed=False`` at each label its own. Labels are
    where a target is 1; soft targets below have no margin. weight: as `bce`, for deferred re-weighting.
    """
    labels = (targets >= 1).to(logits.dtype)
    margin = labels * margins
    if summed:
        margin = labels * margin.sum(1, keepdim=True)
    return bce(scale * (logits - margin), targets, weight, reduction=reduction)


def eql(logits: Tensor, targets: Tensor, tail: Tensor, gamma: float = 1.76e-3, *, reduction: str = "mean") -> Tensor:
    """Equalization loss (arXiv 2003.05176), with sigmoids: `bce` weighted by 1 - E T (1 - target).

    T is 1 at tail classes and E is 1 with probability gamma, drawn for each video and class: with that probability a
    tail class does not learn from a negative. tail: (C,) bool.
    """
    dropped = (torch.rand_like(logits) < gamma) & tail
    return bce(logits, targets, 1 - dropped * (1 - targets), reduction=reduction)


def other_positives_mask(targets: Tensor, classes: Tensor) -> Tensor:
    """(B, C): 0 at the labels of a video other than the class that it was drawn for, 1 elsewhere.

    targets: (B, C) of 0/1. classes: (B,) int64, the classes that the videos were drawn for.

    >>> other_positives_mask(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([0]))
    tensor([[1., 0., 1.]])
    """
    return (1 - targets).scatter(1, classes.unsqueeze(1), 1.0)


def masked_sum(losses: Tensor, mask: Tensor) -> Tensor:
    """Losses (B, C) where the mask is 1: their sum over classes, its mean over the batch."""
    return (losses * mask).sum(1).mean()


def resampled_bce(
    logits: Tensor, targets: Tensor, classes: Tensor, *, mask_other_positives: bool = True, over_classes: str = "sum"
) -> Tensor:
    """`bce` of videos that were drawn by class: a number.

    mask_other_positives: the labels that a video was not drawn for have no part in it, so that each class is seen as
    often as it was drawn. over_classes: "sum", as VideoLT's code has it, which is C times "mean" and so meets the
    clipping of gradients.
    """
    if over_classes not in ("sum", "mean"):
        raise ValueError(f"over_classes: expected 'sum' or 'mean', got {over_classes!r}")
    losses = bce(logits, targets, reduction="none")
    mask = other_positives_mask(targets, classes) if mask_other_positives else torch.ones_like(targets)
    loss = masked_sum(losses, mask)
    return loss if over_classes == "sum" else loss / logits.shape[1]


def _known(reduction: str) -> str:
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction: expected 'mean' or 'none', got {reduction!r}")
    return reduction


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    return losses.mean() if _known(reduction) == "mean" else losses


def _at_least_one(counts: np.ndarray) -> np.ndarray:
    return np.maximum(np.asarray(counts, np.float64), 1)


def _float32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
