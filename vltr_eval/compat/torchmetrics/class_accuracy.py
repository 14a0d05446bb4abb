"""Multiclass accuracy."""

from __future__ import annotations

import torch
from torch import Tensor

from vltr_eval.compat.torchmetrics.inputs import check_average
from vltr_eval.compat.torchmetrics.originals import OriginalMulticlassAccuracy

__all__ = ["MulticlassAccuracy", "multiclass_accuracy"]


def _check_accuracy(
    num_classes: int | None, average: str | None, top_k: int, multidim_average: str, ignore_index: int | None
) -> None:
    check_average(average)
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
