"""Losses of multi-label classification with a long tail.

Logits and targets are (B, C). Targets are from 0 to 1 and may be soft unless a function says otherwise. ``reduction``
is "mean" over all B x C, or "none" for the (B, C) matrix. Weights and margins of classes are computed once, in float64
on the CPU, and returned as (C,) float32. No loss waits for a device.
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
    """Compute the binary cross entropy of logits.

    Args:
        logits: (B, C).
        targets: (B, C), from 0 to 1.
        weight: The weights of the terms, broadcast to (B, C). The mean still divides by B x C.
        reduction: "mean" or "none".

    Returns:
        A scalar, or (B, C).

    Raises:
        ValueError: The reduction is neither.

    Example:
        >>> bce(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
        tensor(0.6931)
    """
    return binary_cross_entropy_with_logits(logits, targets, weight, reduction=_known(reduction))


def focal(
    logits: Tensor, targets: Tensor, gamma: float = 1.0, alpha: float = 1.0, *, reduction: str = "mean"
) -> Tensor:
    """Compute the focal loss, alpha (1 - p)**gamma l, with l the binary cross entropy and p = exp(-l).

    The minimum of l at a soft target is above 0, so p stays below 1 there.

    Args:
        logits: (B, C).
        targets: (B, C), from 0 to 1.
        gamma: The power; 0 gives alpha times the binary cross entropy.
        alpha: The factor of all terms, positives and negatives, as in VideoLT's published code.
        reduction: "mean" or "none".

    Returns:
        A scalar, or (B, C).

    Raises:
        ValueError: The reduction is neither.

    Source:
        Lin et al., arXiv 1708.02002, Eq. 4.

    Example:
        >>> focal(torch.zeros(1, 1), torch.zeros(1, 1))
        tensor(0.3466)
    """
    entropy = bce(logits, targets, reduction="none")
    # 1 - p, kept above 0: rounding may make it negative at a soft target, and x**gamma has no finite slope at 0 for
    # gamma below 1.
    missing = (-torch.expm1(-entropy)).clamp_min(torch.finfo(entropy.dtype).tiny)
    return _reduced(alpha * missing**gamma * entropy, reduction)


def class_balanced_weights(counts: np.ndarray, beta: float = 0.9999) -> Tensor:
    """Compute the class weights of the class-balanced loss, (1 - beta) / (1 - beta**n), scaled to the sum C.

    Args:
        counts: (C,), the training videos of each class. A class without videos counts as having one.
        beta: From 0, for equal weights, to below 1.

    Returns:
        (C,) float32.

    Raises:
        ValueError: beta is outside its range.

    Source:
        Cui et al., arXiv 1901.05555.

    Example:
        >>> class_balanced_weights(np.array([1, 2]), beta=0.5)
        tensor([1.2000, 0.8000])
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta: expected from 0 to below 1, got {beta}")
    weights = 1 / (1 - beta ** _at_least_one(counts))
    return _float32(weights * len(weights) / weights.sum())


def ldam_margins(counts: np.ndarray, largest: float = 0.5) -> Tensor:
    """Compute the class margins of LDAM, proportional to n**(-1/4).

    Args:
        counts: (C,), the training videos of each class. A class without videos counts as having one.
        largest: The largest margin, which scales the others.

    Returns:
        (C,) float32.

    Source:
        Cao et al., arXiv 1906.07413, Eq. 13.

    Example:
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
    """Compute the LDAM loss for several labels, as in VideoLT's published code.

    The loss is bce(scale * z), with z the logit minus a margin at the labels of the video.

    Args:
        logits: (B, C).
        targets: (B, C), from 0 to 1. A label is a target of 1; soft targets below 1 have no margin.
        margins: (C,), from `ldam_margins`.
        scale: The factor of the logits.
        weight: As for `bce`; deferred re-weighting passes the class weights.
        summed: Use the sum of the margins of a video's labels at each label, as the published code does. If False, each
            label has its own margin.
        reduction: "mean" or "none".

    Returns:
        A scalar, or (B, C).

    Raises:
        ValueError: The reduction is neither.

    Source:
        Cao et al., arXiv 1906.07413, Eq. 13; 17Skye17/VideoLT, ops/losses.py.
    """
    labels = (targets >= 1).to(logits.dtype)
    margin = labels * margins
    if summed:
        margin = labels * margin.sum(1, keepdim=True)
    return bce(scale * (logits - margin), targets, weight, reduction=reduction)


def eql(logits: Tensor, targets: Tensor, tail: Tensor, gamma: float = 1.76e-3, *, reduction: str = "mean") -> Tensor:
    """Compute the equalization loss with sigmoids: `bce` weighted by 1 - E T (1 - target).

    T is 1 at tail classes. E is 1 with probability gamma, drawn for each video and class. With that probability a tail
    class does not learn from a negative.

    Args:
        logits: (B, C).
        targets: (B, C), from 0 to 1.
        tail: (C,) bool, the tail classes.
        gamma: The probability that E is 1.
        reduction: "mean" or "none".

    Returns:
        A scalar, or (B, C).

    Raises:
        ValueError: The reduction is neither.

    Source:
        Tan et al., arXiv 2003.05176.
    """
    dropped = (torch.rand_like(logits) < gamma) & tail
    return bce(logits, targets, 1 - dropped * (1 - targets), reduction=reduction)


def other_positives_mask(targets: Tensor, classes: Tensor) -> Tensor:
    """Mask the labels of each video other than the class that it was drawn for.

    Args:
        targets: (B, C) of 0/1.
        classes: (B,) int64, the classes that the videos were drawn for.

    Returns:
        (B, C), 0 at the other labels and 1 elsewhere.

    Example:
        >>> other_positives_mask(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([0]))
        tensor([[1., 0., 1.]])
    """
    return (1 - targets).scatter(1, classes.unsqueeze(1), 1.0)


def masked_sum(losses: Tensor, mask: Tensor) -> Tensor:
    """Sum the losses over classes where the mask is 1, and return the mean over the batch.

    Args:
        losses: (B, C).
        mask: 0/1 or bool, broadcast to (B, C).

    Returns:
        A scalar.
    """
    return (losses * mask).sum(1).mean()


def resampled_bce(
    logits: Tensor, targets: Tensor, classes: Tensor, *, mask_other_positives: bool = True, over_classes: str = "sum"
) -> Tensor:
    """Compute the binary cross entropy of videos that were drawn by class.

    Args:
        logits: (B, C).
        targets: (B, C) of 0/1.
        classes: (B,) int64, the classes that the videos were drawn for.
        mask_other_positives: Leave out the labels that a video was not drawn for, so that each class is seen as often
            as it was drawn.
        over_classes: "sum", as in VideoLT's published code, or "mean". The sum is C times the mean, so gradient
            clipping acts on it more often.

    Returns:
        A scalar, the mean over the batch.

    Raises:
        ValueError: over_classes is neither.

    Source:
        17Skye17/VideoLT, ResamplingDataset_Mask.
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
    # DIFFERS: the published code divides by 0 for a class without videos, and then all weights or margins are NaN.
    return np.maximum(np.asarray(counts, np.float64), 1)


def _float32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
