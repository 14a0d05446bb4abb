"""Losses of multi-label classification with a long tail.

Logits and targets are (B, C). Targets are from 0 to 1 and may be soft unless a function says otherwise. ``reduction``
is "mean" over all B x C, or "none" for the (B, C) matrix. Weights and margins of classes are computed once, in float64
on the CPU, and returned as (C,) float32. No loss waits for a device.

Arguments are tensors, arrays of numpy or another library, or lists. An array is read without a copy. Integers and bools
become the float dtype of the logits; logits of integers, and lists of fractions, become float32. Results are tensors.
Gradients flow to tensors alone.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, logsigmoid

from vltr_eval._base.arrays import check_from_zero, read_numbers
from vltr_train.ops.tensors import as_tensor

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
    "mean_over_batch",
    "other_positives_mask",
    "rebalanced_weights",
    "resampled_bce",
    "softmax_cross_entropy",
]


def bce(logits: Any, targets: Any, weight: Any = None, *, reduction: str = "mean") -> Tensor:
    """Compute the binary cross entropy of logits.

    Args:
        logits: (B, C) floats.
        targets: (B, C) numbers from 0 to 1.
        weight: Numbers, the weights of the terms, broadcast to (B, C). The mean still divides by B x C.
        reduction: "mean" or "none".

    Returns:
        A scalar, or (B, C).

    Raises:
        ValueError: The reduction is neither, or an argument has another shape or device.
        TypeError: An argument holds no numbers.

    Source:
        The baseline of VideoLT, arXiv 2105.02668; 17Skye17/VideoLT, base_main.py.

    Example:
        >>> bce([[0.0, 0.0]], [[1, 0]])
        tensor(0.6931)
        >>> bce(np.zeros((1, 2)), np.array([[1, 0]]), weight=[2.0, 1.0], reduction="none")
        tensor([[1.3863, 0.6931]], dtype=torch.float64)
    """
    logits, targets = _batch(logits, targets)
    weight = None if weight is None else _broadcast("weight", weight, logits)
    return binary_cross_entropy_with_logits(logits, targets, weight, reduction=_known(reduction))


def focal(logits: Any, targets: Any, gamma: float = 1.0, alpha: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """Compute the focal loss, alpha (1 - p)**gamma l, with l the binary cross entropy and p = exp(-l).

    The minimum of l at a soft target is above 0, so p stays below 1 there.

    Args:
        logits: (B, C) floats.
        targets: (B, C) numbers from 0 to 1.
        gamma: The power; 0 gives alpha times the binary cross entropy.
        alpha: The factor of all terms, positives and negatives, as in VideoLT's published code.
        reduction: "mean" or "none".

    Returns:
        A scalar, or (B, C).

    Raises:
        ValueError: The reduction is neither, gamma or alpha is below 0, or an argument has another shape or device.
        TypeError: An argument holds no numbers.

    Source:
        Lin et al., arXiv 1708.02002, Eq. 4.

    Example:
        >>> focal([[0.0, 2.0]], [[0, 1]], gamma=2.0, reduction="none")
        tensor([[0.1733, 0.0018]])
    """
    _check_at_least_zero(gamma=gamma, alpha=alpha)
    entropy = bce(logits, targets, reduction="none")
    return _reduced(alpha * _focus(entropy, gamma) * entropy, reduction)


def class_balanced_weights(counts: Any, beta: float = 0.9999) -> Tensor:
    """Compute the class weights of the class-balanced loss, (1 - beta) / (1 - beta**n), scaled to the sum C.

    Args:
        counts: (C,) numbers, the training videos of each class. A class without videos counts as having one.
        beta: From 0, for equal weights, to below 1.

    Returns:
        (C,) float32.

    Raises:
        ValueError: beta is outside its range, or the counts are no list of numbers from 0 up.

    Source:
        Cui et al., arXiv 1901.05555.

    Example:
        >>> class_balanced_weights([1, 2], beta=0.5)
        tensor([1.2000, 0.8000])
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta: expected from 0 to below 1, got {beta}")
    weights = 1 / (1 - beta ** _at_least_one(counts))
    return _float32(weights * len(weights) / weights.sum())


def ldam_margins(counts: Any, largest: float = 0.5) -> Tensor:
    """Compute the class margins of LDAM, proportional to n**(-1/4).

    Args:
        counts: (C,) numbers, the training videos of each class. A class without videos counts as having one.
        largest: The largest margin, which scales the others.

    Returns:
        (C,) float32.

    Raises:
        ValueError: The counts are no list of numbers from 0 up, or the largest margin is below 0.

    Source:
        Cao et al., arXiv 1906.07413, Eq. 13.

    Example:
        >>> ldam_margins([16, 1])
        tensor([0.2500, 0.5000])
    """
    _check_at_least_zero(largest=largest)
    margins = _at_least_one(counts) ** -0.25
    return _float32(margins * largest / margins.max())


def ldam(
    logits: Any,
    targets: Any,
    margins: Any,
    scale: float = 30.0,
    weight: Any = None,
    *,
    summed: bool = True,
    reduction: str = "mean",
) -> Tensor:
    """Compute the LDAM loss for several labels, as in VideoLT's published code.

    The loss is bce(scale * z), with z the logit minus a margin at the labels of the video.

    Args:
        logits: (B, C) floats.
        targets: (B, C) numbers from 0 to 1. A label is a target of 1; soft targets below 1 have no margin.
        margins: (C,) numbers, from `ldam_margins`.
        scale: The factor of the logits.
        weight: As for `bce`; deferred re-weighting passes the class weights.
        summed: Use the sum of the margins of a video's labels at each label, as the published code does. If False, each
            label has its own margin.
        reduction: "mean" or "none".

    Returns:
        A scalar, or (B, C).

    Raises:
        ValueError: The reduction is neither, or an argument has another shape or device.
        TypeError: An argument holds no numbers.

    Source:
        Cao et al., arXiv 1906.07413, Eq. 13; 17Skye17/VideoLT, ops/losses.py.

    Example:
        >>> ldam([[0.5, 0.5]], [[1, 0]], ldam_margins([16, 1]), scale=2.0, reduction="none")
        tensor([[0.4741, 1.3133]])
    """
    logits, targets = _batch(logits, targets)
    labels = (targets >= 1).to(logits.dtype)
    margin = labels * _per_class("margins", margins, logits)
    if summed:
        margin = labels * margin.sum(1, keepdim=True)
    return bce(scale * (logits - margin), targets, weight, reduction=reduction)


def eql(logits: Any, targets: Any, tail: Any, gamma: float = 1.76e-3, *, reduction: str = "mean") -> Tensor:
    """Compute the equalization loss with sigmoids: `bce` weighted by 1 - E T (1 - target).

    T is 1 at tail classes. E is 1 with probability gamma, drawn for each video and class. With that probability a tail
    class does not learn from a negative.

    Args:
        logits: (B, C) floats.
        targets: (B, C) numbers from 0 to 1.
        tail: (C,) bool or 0/1, the tail classes.
        gamma: The probability that E is 1.
        reduction: "mean" or "none".

    Returns:
        A scalar, or (B, C).

    Raises:
        ValueError: The reduction is neither, gamma is no probability, or an argument has another shape or device.
        TypeError: An argument holds no numbers.

    Source:
        Tan et al., arXiv 2003.05176; 17Skye17/VideoLT, ops/losses.py.

    Example:
        >>> eql([[0.0, 0.0]], [[1, 0]], tail=[False, True], gamma=1.0, reduction="none")
        tensor([[0.6931, 0.0000]])
    """
    _check_at_least_zero(gamma=gamma)
    if gamma > 1:
        raise ValueError(f"gamma: expected a probability from 0 to 1, got {gamma!r}")
    logits, targets = _batch(logits, targets)
    dropped = (torch.rand_like(logits) < gamma) & _per_class("tail", tail, logits).bool()
    return bce(logits, targets, 1 - dropped * (1 - targets), reduction=reduction)


def other_positives_mask(targets: Any, classes: Any) -> Tensor:
    """Mask the labels of each video other than the class that it was drawn for.

    Args:
        targets: (B, C) of 0/1.
        classes: (B,) integers, the classes that the videos were drawn for.

    Returns:
        (B, C), 0 at the other labels and 1 elsewhere, of the dtype of the targets; float32 for integers.

    Raises:
        ValueError: An argument has another shape or device, or a class does not exist. The last cannot be seen on a
            device without waiting for it.
        TypeError: The classes are no integers.

    Source:
        17Skye17/VideoLT, ResamplingDataset_Mask.

    Example:
        >>> other_positives_mask([[1, 1, 0]], [0])
        tensor([[1., 0., 1.]])
    """
    targets = _matrix("targets", targets)
    drawn = _drawn_classes(classes, targets)
    try:
        return (1 - targets).scatter(1, drawn.unsqueeze(1), 1.0)
    except (IndexError, RuntimeError):
        low, high = int(drawn.min()), int(drawn.max())
        if low >= 0 and high < targets.shape[1]:
            raise
        raise ValueError(f"classes: expected 0 to {targets.shape[1] - 1}, got {low} to {high}") from None


def masked_sum(losses: Any, mask: Any) -> Tensor:
    """Sum the losses over classes where the mask is 1, and return the mean over the batch.

    Args:
        losses: (B, C) floats.
        mask: 0/1 or bool, broadcast to (B, C).

    Returns:
        A scalar.

    Raises:
        ValueError: An argument has another shape or device.
        TypeError: An argument holds no numbers.

    Source:
        17Skye17/VideoLT, ResamplingDataset_Mask.

    Example:
        >>> masked_sum([[1.0, 2.0], [4.0, 8.0]], [True, False])
        tensor(2.5000)
    """
    losses = _matrix("losses", losses)
    return (losses * _broadcast("mask", mask, losses)).sum(1).mean()


def mean_over_batch(losses: Any, over_classes: str = "mean") -> Tensor:
    """Reduce the losses of a batch to a number: the mean or the sum over classes, then the mean over the batch.

    The sum is C times the mean, so gradient clipping acts on it more often.

    Args:
        losses: (B, C) floats, such as those of ``reduction="none"``.
        over_classes: "mean" or "sum".

    Returns:
        A scalar.

    Raises:
        ValueError: over_classes is neither, or the losses have another shape.
        TypeError: The losses are no numbers.

    Example:
        >>> mean_over_batch([[1.0, 2.0], [4.0, 8.0]], "sum")
        tensor(7.5000)
    """
    _check_over_classes(over_classes)
    losses = _matrix("losses", losses)
    return losses.sum(1).mean() if over_classes == "sum" else losses.mean()


def resampled_bce(
    logits: Any, targets: Any, classes: Any, *, mask_other_positives: bool = True, over_classes: str = "sum"
) -> Tensor:
    """Compute the binary cross entropy of videos that were drawn by class.

    Args:
        logits: (B, C) floats.
        targets: (B, C) of 0/1.
        classes: (B,) integers, the classes that the videos were drawn for.
        mask_other_positives: Leave out the labels that a video was not drawn for, so that each class is seen as often
            as it was drawn.
        over_classes: "sum", as in VideoLT's published code, or "mean". The sum is C times the mean, so gradient
            clipping acts on it more often.

    Returns:
        A scalar, the mean over the batch.

    Raises:
        ValueError: over_classes is neither, or an argument is refused as by `other_positives_mask`.
        TypeError: An argument holds no numbers, or the classes are no integers.

    Source:
        17Skye17/VideoLT, ResamplingDataset_Mask.

    Example:
        >>> resampled_bce([[0.0, 5.0, 0.0]], [[1, 1, 0]], classes=[0])
        tensor(1.3863)
    """
    _check_over_classes(over_classes)
    logits, targets = _batch(logits, targets)
    losses = bce(logits, targets, reduction="none")
    mask = other_positives_mask(targets, classes) if mask_other_positives else torch.ones_like(targets)
    loss = masked_sum(losses, mask)
    return loss if over_classes == "sum" else loss / logits.shape[1]


def asymmetric(
    logits: Any,
    targets: Any,
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
        logits: (B, C) floats. 16-bit logits are computed in float32.
        targets: (B, C) numbers from 0 to 1.
        gamma_negative: The power of negatives, from 0 up.
        gamma_positive: The power of positives, from 0 up: 0 in the published COCO script, and 1 in the published class.
        margin: The probability by which negatives are shifted, from 0 to below 1: below it their loss is 0.
        focus_gradient: Whether gradients pass through f. The published COCO script stops them.
        reduction: "mean" or "none". The published code has the sum over B x C.

    Returns:
        A scalar, or (B, C).

    Raises:
        ValueError: The reduction is neither, a power or the margin is out of its range, or an argument has another
            shape or device.
        TypeError: An argument holds no numbers.

    Source:
        Ridnik et al., arXiv 2009.14119, Eq. 7; Alibaba-MIIL/ASL, src/loss_functions/losses.py.

    Example:
        >>> asymmetric([[0.0, 0.0]], [[1, 0]], reduction="none")
        tensor([[0.6931, 0.0245]])
    """
    _check_at_least_zero(gamma_negative=gamma_negative, gamma_positive=gamma_positive)
    if not 0 <= margin < 1:
        raise ValueError(f"margin: expected from 0 to below 1, got {margin}")
    logits, targets = _batch(logits, targets)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    log_negative = logsigmoid(-logits)
    if margin > 0:
        log_negative = (torch.sigmoid(-logits) + margin).clamp(max=1).log()
    entropy = -(targets * logsigmoid(logits) + (1 - targets) * log_negative)
    # 1 - p and 1 - q, each without a difference of close numbers.
    missing = targets * torch.sigmoid(-logits) + (1 - targets) * (torch.sigmoid(logits) - margin).clamp_min(0)
    powers = gamma_positive * targets + gamma_negative * (1 - targets)
    focus = missing.clamp_min(torch.finfo(missing.dtype).tiny) ** powers
    return _reduced((focus if focus_gradient else focus.detach()) * entropy, reduction)


def log_priors(counts: Any) -> Tensor:
    """Compute the logarithms of the shares of classes among all labels, log(n / sum n).

    Args:
        counts: (C,) numbers, the training videos of each class. A class without videos counts as having one.

    Returns:
        (C,) float32.

    Raises:
        ValueError: The counts are no list of numbers from 0 up.

    Source:
        Menon et al., arXiv 2007.07314. Ren et al., arXiv 2007.10740, have log n, which differs by a constant.

    Example:
        >>> log_priors([3, 1])
        tensor([-0.2877, -1.3863])
    """
    counts = _at_least_one(counts)
    return _float32(np.log(counts / counts.sum()))


def log_odds(counts: Any, total: int | None = None) -> Tensor:
    """Compute the logits of the shares of classes, log(n / (N - n)): those that predict the share of each class.

    Args:
        counts: (C,) numbers, the training videos of each class. A class without videos counts as having one, and a
            class that all videos have as lacking in one.
        total: N, the number of training videos, at least the largest count. None for the sum of the counts, as in
            LiVT's published code, which is larger than N if videos have several labels.

    Returns:
        (C,) float32.

    Raises:
        ValueError: The counts are no list of numbers from 0 up, or one is above the total.

    Source:
        Menon et al., arXiv 2007.07314; for sigmoids Xu et al. (LiVT), arXiv 2212.02015.

    Example:
        >>> log_odds([3, 1], total=6)
        tensor([ 0.0000, -1.6094])
    """
    counts = _at_least_one(counts)
    if total is not None and not total >= counts.max():
        raise ValueError(f"total: expected at least {counts.max():g}, the largest of the counts, got {total}")
    others = (counts.sum() if total is None else total) - counts
    return _float32(np.log(counts / np.maximum(others, 1)))


def softmax_cross_entropy(logits: Any, targets: Any, *, reduction: str = "mean") -> Tensor:
    """Compute the cross entropy of the softmax over classes, where the k labels of a video have 1/k each.

    Args:
        logits: (B, C) floats.
        targets: (B, C) numbers from 0 to 1. They are divided by their sum if it is above 1. A video without labels has
            the loss 0.
        reduction: "mean" over the rows, or "none".

    Returns:
        A scalar, or (B,).

    Raises:
        ValueError: The reduction is neither, or an argument has another shape or device.
        TypeError: An argument holds no numbers.

    Source:
        Mahajan et al., arXiv 1805.00932, Section 2, for several labels.

    Example:
        >>> softmax_cross_entropy([[0.0, 0.0, 0.0, 0.0]], [[1, 1, 0, 0]])
        tensor(1.3863)
    """
    logits, targets = _batch(logits, targets)
    shares = targets / targets.sum(1, keepdim=True).clamp_min(1)
    return _reduced(-(shares * log_softmax(logits, 1)).sum(1), reduction)


def rebalanced_weights(targets: Any, counts: Any, alpha: float = 0.1, beta: float = 10.0, mu: float = 0.2) -> Tensor:
    """Compute the weights of re-balanced BCE, alpha + sigmoid(beta (r - mu)).

    r is 1 / n_c over the sum of 1 / n_k at the labels of the video: the chance that class-balanced sampling draws the
    video for class c, over the chance that it draws the video at all. A video without labels has alpha + 1.

    Args:
        targets: (B, C) of 0/1. The targets of mixed videos weight the sum, as in the published code.
        counts: (C,) numbers from 0 up, the videos of each class among those that are drawn from. A class without videos
            counts as having one.
        alpha: The least weight.
        beta: The steepness.
        mu: The r of half the slope; the published configurations have 0.2 for COCO and 0.3 for VOC.

    Returns:
        (B, C), without gradient to the targets. 16-bit targets have weights in float32.

    Raises:
        ValueError: An argument has another shape or device, or a count, alpha, beta or mu is not a number from 0 up.
            The values of tensors are not read for this.
        TypeError: An argument holds no numbers.

    Source:
        Wu et al., arXiv 2007.09654; wutong16/DistributionBalancedLoss, mllt/models/losses/resample_loss.py.

    Example:
        >>> rebalanced_weights([[1, 1]], [8, 2], beta=1.0)
        tensor([[0.6000, 0.7457]])
    """
    _check_at_least_zero(alpha=alpha, beta=beta, mu=mu)
    targets = _matrix("targets", targets).detach()
    inverse = 1 / _counts(counts, targets).clamp_min(1)
    # A sum and no product of matrices, which autocast would compute in 16 bits.
    chances = (targets * inverse).sum(1, keepdim=True)
    # Without labels the ratio is infinite, and a beta of 0 times it would be NaN.
    return alpha + torch.sigmoid(beta * (inverse / chances - mu)).where(chances > 0, 1.0)


def distribution_balanced(
    logits: Any,
    targets: Any,
    weight: Any = None,
    bias: Any = None,
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
        logits: (B, C) floats. They are not changed; the published code writes into them.
        targets: (B, C) numbers from 0 to 1. A soft target mixes both scales linearly, as in the published code.
        weight: Numbers, the weights, broadcast to (B, C), from `rebalanced_weights`. None for 1.
        bias: (C,) numbers, or None for 0: kappa times `log_odds` in the paper, and that divided by ``negative_scale``
            in the published code. Each class has a bias of its own in the classifier, which absorbs this one.
        negative_scale: lambda, above 0; 1 turns the regularisation off.
        gamma: The power of the focal loss; 0 turns it off.
        factor: The factor of all terms: 2 in the published code with the focal loss, and 1 without it.
        reduction: "mean" or "none".

    Returns:
        A scalar, or (B, C).

    Raises:
        ValueError: The reduction is neither, ``negative_scale`` is not positive, gamma or factor is below 0, or an
            argument has another shape or device.
        TypeError: An argument holds no numbers.

    Source:
        Wu et al., arXiv 2007.09654, Eq. 8; wutong16/DistributionBalancedLoss, mllt/models/losses/resample_loss.py.

    Example:
        >>> distribution_balanced([[0.0, 0.0]], [[1, 0]], reduction="none")
        tensor([[0.3466, 0.1733]])
    """
    if not negative_scale > 0:
        raise ValueError(f"negative_scale: expected a positive number, got {negative_scale}")
    _check_at_least_zero(gamma=gamma, factor=factor)
    logits, targets = _batch(logits, targets)
    scale = targets + negative_scale * (1 - targets)
    shifted = logits if bias is None else logits + _per_class("bias", bias, logits)
    entropy = bce(scale * shifted, targets, reduction="none")
    losses = factor * (targets + (1 - targets) / negative_scale) * _focus(entropy, gamma) * entropy
    return _reduced(losses if weight is None else _broadcast("weight", weight, logits) * losses, reduction)


def _check_at_least_zero(**numbers: float) -> None:
    """Refuse powers and factors below 0. The values of tensors are not read."""
    for name, number in numbers.items():
        if not isinstance(number, Tensor) and not (isinstance(number, Real) and 0 <= number < math.inf):
            raise ValueError(f"{name}: expected at least 0, got {number!r}")


def _focus(entropy: Tensor, gamma: float) -> Tensor:
    """The factor (1 - p)**gamma of the focal loss, with p = exp(-entropy)."""
    # 1 - p is kept above 0: rounding may make it negative at a soft target, and x**gamma has no finite slope at 0 for
    # gamma below 1.
    return (-torch.expm1(-entropy)).clamp_min(torch.finfo(entropy.dtype).tiny) ** gamma


def _batch(logits: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Logits and targets as tensors of floats and of one shape (B, C)."""
    logits = _matrix("logits", logits)
    targets = _numbers("targets", targets, logits.dtype)
    if targets.shape != logits.shape:
        raise ValueError(f"targets: expected shape {_text(logits)} as logits, got {_text(targets)}")
    # torch computes the binary cross entropy in the dtype of the targets, which would round wider logits.
    targets = targets.to(torch.promote_types(logits.dtype, targets.dtype))
    return logits, _checked_device("targets", targets, logits)


def _matrix(name: str, values: Any) -> Tensor:
    """A (B, C) tensor of floats."""
    found = _numbers(name, values, torch.get_default_dtype())
    if found.dim() != 2:
        raise ValueError(f"{name}: expected shape (B, C), got {_text(found)}")
    return found


def _per_class(name: str, values: Any, matrix: Tensor, first: str = "logits") -> Tensor:
    """A (C,) tensor of floats for a (B, C) one."""
    found = _numbers(name, values, matrix.dtype)
    if found.shape != matrix.shape[1:]:
        raise ValueError(f"{name}: expected shape ({matrix.shape[1]},), one a class, got {_text(found)}")
    return _checked_device(name, found, matrix, first)


def _counts(values: Any, targets: Tensor) -> Tensor:
    """A (C,) tensor of counts in float32 or wider: 16 bits would round them, or make them infinite."""
    found = _numbers("counts", values, torch.promote_types(targets.dtype, torch.float32))
    found = _per_class("counts", found.to(torch.promote_types(found.dtype, torch.float32)), targets, first="targets")
    # The values of tensors are not read in each step: on a device that would wait.
    if found.device.type == "cpu" and not isinstance(values, Tensor):
        check_from_zero("counts", found.numpy())
    return found


def _broadcast(name: str, values: Any, matrix: Tensor) -> Tensor:
    """A tensor of floats that can be multiplied with a (B, C) one without making it larger."""
    found = _numbers(name, values, matrix.dtype)
    sizes = zip(reversed(found.shape), reversed(matrix.shape), strict=False)
    if found.dim() > 2 or not all(size in (1, other) for size, other in sizes):
        raise ValueError(f"{name}: expected a shape that broadcasts to {_text(matrix)}, got {_text(found)}")
    return _checked_device(name, found, matrix)


def _drawn_classes(classes: Any, targets: Tensor) -> Tensor:
    """The (B,) int64 classes of rows. Their values are not read, because that would wait for a device."""
    found = as_tensor("classes", classes)
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise TypeError(f"classes: expected integers, got {_dtype(found)}")
    if found.shape != targets.shape[:1]:
        raise ValueError(f"classes: expected shape ({len(targets)},), one a row, got {_text(found)}")
    return _checked_device("classes", found, targets, "targets").long()


def _numbers(name: str, values: Any, dtype: torch.dtype) -> Tensor:
    """A tensor of floats. Integers and bools become the dtype; floats keep theirs."""
    found = as_tensor(name, values)
    if found.is_complex():
        raise TypeError(f"{name}: expected real numbers, got {_dtype(found)}")
    return found if found.is_floating_point() else found.to(dtype)


def _checked_device(name: str, values: Tensor, other: Tensor, first: str = "logits") -> Tensor:
    if values.device != other.device:
        raise ValueError(
            f"{name}: expected a tensor on {other.device} as {first}, got one on {values.device}; "
            f"pass {name}.to({first}.device)"
        )
    return values


def _text(values: Tensor) -> str:
    return str(tuple(values.shape))


def _dtype(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def _check_over_classes(over_classes: str) -> None:
    if over_classes not in ("sum", "mean"):
        raise ValueError(f"over_classes: expected 'sum' or 'mean', got {over_classes!r}")


def _known(reduction: str) -> str:
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction: expected 'mean' or 'none', got {reduction!r}")
    return reduction


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    return losses.mean() if _known(reduction) == "mean" else losses


def _at_least_one(counts: Any) -> np.ndarray:
    """Counts (C,) as float64, and those of classes without videos as 1."""
    found = read_numbers("counts", counts)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "biuf":
        raise ValueError(f"counts: expected (C,) numbers, got {found.dtype} of shape {found.shape}")
    check_from_zero("counts", found)
    # DIFFERS: the published code divides by 0 for a class without videos, and then all weights or margins are NaN.
    return np.maximum(found.astype(np.float64), 1)


def _float32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
