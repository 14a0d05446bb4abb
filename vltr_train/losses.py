"""Losses of multi-label classification with a long tail.

Logits and targets are (B, C). Targets are from 0 to 1 and may be soft unless a function says otherwise. ``reduction``
is "mean" over all B x C, or "none" for the (B, C) matrix. Weights and margins of classes are computed once, in float64
on the CPU, and returned as (C,) float32. No loss waits for a device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, logsigmoid

__all__ = [
    "asymmetric",
    "bce",
    "class_balanced_weights",
    "distribution_balanced",
    "eql",
    "focal",
    "ldam",
    "ldam_margins",
    "log_odds",
    "log_priors",
    "masked_sum",
    "other_positives_mask",
    "rebalanced_weights",
    "resampled_bce",
    "softmax_cross_entropy",
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
    return _reduced(alpha * _focus(entropy, gamma) * entropy, reduction)


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


def asymmetric(
    logits: Tensor,
    targets: Tensor,
    gamma_negative: float = 4.0,
    gamma_positive: float = 0.0,
    margin: float = 0.05,
    *,
    focus_gradient: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Compute the asymmetric loss (ASL): negatives have a larger power than positives, and easy ones a loss of 0.

    With p = sigmoid(z) and q = min(1 - p + margin, 1), the loss is f (-y log p - (1 - y) log q). The focus f is
    (1 - p)**gamma_positive at labels and (1 - q)**gamma_negative elsewhere. Powers and margin of 0 give `bce`.

    The logarithm of p is exact at any logit. The published code clamps p at 1e-8, so a positive below z = -18.4 has no
    gradient there. A soft target mixes both logarithms linearly, and the two powers too, as in the published code.

    Args:
        logits: (B, C). 16-bit logits are computed in float32.
        targets: (B, C), from 0 to 1.
        gamma_negative: The power of negatives.
        gamma_positive: The power of positives: 0 in the published COCO script, and 1 in the published class.
        margin: The probability by which negatives are shifted: below it their loss is 0.
        focus_gradient: Whether gradients pass through f. The published COCO script stops them.
        reduction: "mean" or "none". The published code has the sum over B x C.

    Returns:
        A scalar, or (B, C).

    Raises:
        ValueError: The reduction is neither.

    Source:
        Ridnik et al., arXiv 2009.14119, Eq. 7; Alibaba-MIIL/ASL, src/loss_functions/losses.py.

    Example:
        >>> asymmetric(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), reduction="none")
        tensor([[0.6931, 0.0245]])
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    log_negative = logsigmoid(-logits)
    if margin > 0:
        log_negative = (torch.sigmoid(-logits) + margin).clamp(max=1).log()
    entropy = -(targets * logsigmoid(logits) + (1 - targets) * log_negative)
    # 1 - p and 1 - q, each without a difference of close numbers.
    missing = targets * torch.sigmoid(-logits) + (1 - targets) * (torch.sigmoid(logits) - margin).clamp_min(0)
    power = gamma_positive * targets + gamma_negative * (1 - targets)
    focus = missing.clamp_min(torch.finfo(missing.dtype).tiny) ** power
    return _reduced((focus if focus_gradient else focus.detach()) * entropy, reduction)


def log_priors(counts: np.ndarray) -> Tensor:
    """Compute the logarithms of the shares of classes among all labels, log(n / sum n).

    Args:
        counts: (C,), the training videos of each class. A class without videos counts as having one.

    Returns:
        (C,) float32.

    Source:
        Menon et al., arXiv 2007.07314. Ren et al., arXiv 2007.10740, have log n, which differs by a constant.

    Example:
        >>> log_priors(np.array([3, 1]))
        tensor([-0.2877, -1.3863])
    """
    counts = _at_least_one(counts)
    return _float32(np.log(counts / counts.sum()))


def log_odds(counts: np.ndarray, total: int | None = None) -> Tensor:
    """Compute the logits of the shares of classes, log(n / (N - n)): those that predict the share of each class.

    Args:
        counts: (C,), the training videos of each class. A class without videos counts as having one, and a class that
            all videos have as lacking in one.
        total: N, the number of training videos. None for the sum of the counts, as in LiVT's published code, which is
            larger than N if videos have several labels.

    Returns:
        (C,) float32.

    Source:
        Menon et al., arXiv 2007.07314; for sigmoids Xu et al. (LiVT), arXiv 2212.02015.

    Example:
        >>> log_odds(np.array([3, 1]), 6)
        tensor([ 0.0000, -1.6094])
    """
    counts = _at_least_one(counts)
    others = (counts.sum() if total is None else total) - counts
    return _float32(np.log(counts / np.maximum(others, 1)))


def softmax_cross_entropy(logits: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
    """Compute the cross entropy of the softmax over classes, where the k labels of a video have 1/k each.

    Args:
        logits: (B, C).
        targets: (B, C), from 0 to 1. They are divided by their sum if it is above 1. A video without labels has the
            loss 0.
        reduction: "mean" over the rows, or "none".

    Returns:
        A scalar, or (B,).

    Raises:
        ValueError: The reduction is neither.

    Source:
        Mahajan et al., arXiv 1805.00932, Section 2, for several labels.

    Example:
        >>> softmax_cross_entropy(torch.zeros(1, 4), torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
        tensor(1.3863)
    """
    shares = targets / targets.sum(1, keepdim=True).clamp_min(1)
    return _reduced(-(shares * log_softmax(logits, 1)).sum(1), reduction)


def rebalanced_weights(
    targets: Tensor, counts: Tensor, alpha: float = 0.1, beta: float = 10.0, mu: float = 0.2
) -> Tensor:
    """Compute the weights of re-balanced BCE, alpha + sigmoid(beta (r - mu)).

    r is 1 / n_c over the sum of 1 / n_k at the labels of the video: the chance that class-balanced sampling draws the
    video for class c, over the chance that it draws the video at all. A video without labels has alpha + 1.

    Args:
        targets: (B, C) of 0/1. The targets of mixed videos weight the sum, as in the published code.
        counts: (C,) float, the training videos of each class. A class without videos counts as having one.
        alpha: The least weight.
        beta: The steepness.
        mu: The r of half the slope; the published configurations have 0.2 for COCO and 0.3 for VOC.

    Returns:
        (B, C), without gradient to the targets' source.

    Source:
        Wu et al., arXiv 2007.09654; wutong16/DistributionBalancedLoss, mllt/models/losses/resample_loss.py.

    Example:
        >>> rebalanced_weights(torch.tensor([[1.0, 0.0]]), torch.tensor([8.0, 2.0]))
        tensor([[1.0997, 1.1000]])
    """
    inverse = 1 / counts.clamp_min(1)
    # A sum and no product of matrices, which autocast would compute in 16 bits. Without labels the ratio is infinite.
    ratio = inverse / (targets * inverse).sum(1, keepdim=True)
    return alpha + torch.sigmoid(beta * (ratio - mu))


def distribution_balanced(
    logits: Tensor,
    targets: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    negative_scale: float = 2.0,
    gamma: float = 2.0,
    factor: float = 2.0,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Compute the distribution-balanced loss, factor w (1 - exp(-l))**gamma l.

    l is the binary cross entropy of s (z + bias). At labels s is 1 and w is the weight. Elsewhere s is
    ``negative_scale`` and w is the weight divided by it, so that the slope at 0 stays and a well-ranked negative soon
    has a small loss (negative-tolerant regularisation). The focus is of l without its weight.

    Args:
        logits: (B, C). They are not changed; the published code writes into them.
        targets: (B, C), from 0 to 1. A soft target mixes both scales linearly, as in the published code.
        weight: The weights, broadcast to (B, C), from `rebalanced_weights`. None for 1.
        bias: (C,) or None for 0: kappa times `log_odds` in the paper, and that divided by ``negative_scale`` in the
            published code. Each class has a bias of its own in the classifier, which absorbs this one.
        negative_scale: lambda, above 0; 1 turns the regularisation off.
        gamma: The power of the focal loss; 0 turns it off.
        factor: The factor of all terms: 2 in the published code with the focal loss, and 1 without it.
        reduction: "mean" or "none".

    Returns:
        A scalar, or (B, C).

    Raises:
        ValueError: The reduction is neither.

    Source:
        Wu et al., arXiv 2007.09654, Eq. 8; wutong16/DistributionBalancedLoss, mllt/models/losses/resample_loss.py.

    Example:
        >>> distribution_balanced(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), reduction="none")
        tensor([[0.3466, 0.1733]])
    """
    scale = targets + negative_scale * (1 - targets)
    shifted = logits if bias is None else logits + bias
    entropy = bce(scale * shifted, targets, reduction="none")
    losses = factor * (targets + (1 - targets) / negative_scale) * _focus(entropy, gamma) * entropy
    return _reduced(losses if weight is None else weight * losses, reduction)


def _focus(entropy: Tensor, gamma: float) -> Tensor:
    """The factor (1 - p)**gamma of the focal loss, with p = exp(-entropy)."""
    # 1 - p is kept above 0: rounding may make it negative at a soft target, and x**gamma has no finite slope at 0 for
    # gamma below 1.
    return (-torch.expm1(-entropy)).clamp_min(torch.finfo(entropy.dtype).tiny) ** gamma


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
