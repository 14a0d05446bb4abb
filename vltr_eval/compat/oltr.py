"""The accuracies of OLTR and of the codebases that copied them: Decoupling (classifier-balancing), BALMS and others.

    from vltr_eval.compat.oltr import F_measure, mic_acc_cal, shot_acc, weighted_mic_acc_cal, weighted_shot_acc

The functions are those of facebookresearch/classifier-balancing utils.py@f162adef, which
jiawei-ren/BalancedMetaSoftmax-Classification utils.py@34a61e43 has unchanged. `many_shot_thr` and `low_shot_thr` are
numbers of training samples: a class is many-shot above 100, low-shot below 20, and median-shot from 20 to 100. The
number of a group is the mean accuracy of its classes. Classes without test samples are in no group. An empty group is 0
in `shot_acc`, and NaN with numpy's warning in `weighted_shot_acc`. Accuracies are fractions.

zhmiao/OpenLongTailRecognition-OLTR utils.py@f50e375f, the first of them, differs: many-shot is from 100 up, low-shot up
to 20, an empty group is NaN with numpy's warning, and the open-set F-measure counts each wrong prediction of a known
class as a false positive, also -1. ``published="OLTR"`` gives its numbers.

Different on purpose:

- The functions count in one pass over the samples. The originals go through all samples for each class.
- ``train_data`` may also be a list, and predictions and labels may be of different kinds.
- `weighted_shot_acc` adds weights in float64, and then rounds to the type of the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["F_measure", "class_count", "mic_acc_cal", "shot_acc", "weighted_mic_acc_cal", "weighted_shot_acc"]

_PUBLISHED = ("classifier-balancing", "OLTR")


def shot_acc(
    preds: Any,
    labels: Any,
    train_data: Any,
    many_shot_thr: float = 100,
    low_shot_thr: float = 20,
    acc_per_cls: bool = False,
    *,
    published: str = _PUBLISHED[0],
) -> tuple[Any, ...]:
    """Accuracy of many-shot, median-shot and low-shot classes.

    Args:
        preds: (N,) predicted classes, a torch tensor or a numpy array.
        labels: (N,) classes.
        train_data: The classes of the training samples, an array or a list, or a data loader whose
            ``dataset.labels`` has them.
        many_shot_thr: Many-shot classes have more training samples than this.
        low_shot_thr: Low-shot classes have fewer than this.
        acc_per_cls: Whether to return also the accuracy of each class that labels have, ascending.
        published: "OLTR" for the limits and the empty groups of OLTR's own code.

    Returns:
        Three float64, and with ``acc_per_cls`` a list of float64.

    Raises:
        TypeError: Predictions of another kind.

    Example:
        >>> train = np.repeat([0, 1, 2], [500, 50, 5])
        >>> result = shot_acc(np.array([0, 1, 1, 0]), np.array([0, 0, 1, 2]), train)
        >>> [float(accuracy) for accuracy in result]
        [0.5, 1.0, 0.0]
    """
    preds, labels = _pair(preds, labels)
    counts, classes, of_class = _counts(labels, train_data)
    sizes = np.bincount(of_class, minlength=len(classes))
    correct = np.bincount(of_class[preds == labels], minlength=len(classes))
    accuracies = correct / np.maximum(sizes, 1)
    means = _group_means(accuracies, counts, many_shot_thr, low_shot_thr, published, published == _PUBLISHED[0])
    return (*means, list(accuracies)) if acc_per_cls else means


def weighted_shot_acc(
    preds: Any,
    labels: Any,
    ws: Any,
    train_data: Any,
    many_shot_thr: float = 100,
    low_shot_thr: float = 20,
) -> tuple[Any, ...]:
    """`shot_acc` with a weight for each sample; an empty group is NaN.

    Args:
        preds: (N,) predicted classes, a torch tensor or a numpy array.
        labels: (N,) classes.
        ws: (N,) weights.
        train_data: As for `shot_acc`.
        many_shot_thr: As for `shot_acc`.
        low_shot_thr: As for `shot_acc`.

    Returns:
        Three numbers of the type of the weights.

    Raises:
        TypeError: Predictions of another kind.

    Example:
        >>> train, weights = np.repeat([0, 1, 2], [500, 50, 5]), np.array([3.0, 1, 1, 1])
        >>> result = weighted_shot_acc(np.array([0, 1, 1, 0]), np.array([0, 0, 1, 2]), weights, train)
        >>> [float(accuracy) for accuracy in result]
        [0.75, 1.0, 0.0]
    """
    preds, labels = _pair(preds, labels)
    weights = _to_numpy(ws)
    counts, classes, of_class = _counts(labels, train_data)
    dtype = weights.dtype if weights.dtype.kind == "f" else np.dtype(np.float64)
    total = np.bincount(of_class, weights, len(classes)).astype(dtype)
    correct = np.bincount(of_class, weights * (preds == labels), len(classes)).astype(dtype)
    return _group_means(correct / total, counts, many_shot_thr, low_shot_thr, _PUBLISHED[0], False)


def mic_acc_cal(preds: Any, labels: Any) -> Any:
    """Accuracy of all samples.

    Args:
        preds: (N,) predicted classes.
        labels: (N,) classes; or a tuple (classes a, classes b, lam) of tensors from mixup, for lam times the accuracy
            against a and 1 - lam times that against b.

    Returns:
        A float; for mixup a tensor.

    Raises:
        ZeroDivisionError: There are no samples.

    Example:
        >>> mic_acc_cal(np.array([0, 1, 1, 0]), np.array([0, 0, 1, 2]))
        0.5
    """
    if isinstance(labels, tuple):
        if len(labels) != 3:
            raise AssertionError(f"labels: expected (classes a, classes b, lam), got a tuple of {len(labels)}")
        first, second, share = labels
        hits, other = (preds.eq(classes.data).cpu().sum().float() for classes in (first, second))
        return (share * hits + (1 - share) * other) / len(preds)
    return (preds == labels).sum().item() / len(labels)


def weighted_mic_acc_cal(preds: Any, labels: Any, ws: Any) -> Any:
    """Weighted accuracy of all samples, a number of the kind of the weights.

    Example:
        >>> float(weighted_mic_acc_cal(np.array([0, 1]), np.array([0, 0]), np.array([3.0, 1])))
        0.75
    """
    return ws[preds == labels].sum() / ws.sum()


def F_measure(
    preds: Any, labels: Any, openset: bool = False, theta: Any = None, *, published: str = _PUBLISHED[0]
) -> float:
    """F1 of classes, or of an open set.

    Args:
        preds: (N,) predicted classes, torch tensors or numpy arrays; -1 is unknown in an open set.
        labels: (N,) classes.
        openset: Whether to compute one F1 in which samples of unknown classes, -1, are those to reject. Otherwise F1 is
            averaged over classes, as by scikit-learn's ``f1_score(average="macro")``.
        theta: Unused, as in the original.
        published: "OLTR" for the false positives of OLTR's own code.

    Returns:
        A float.

    Raises:
        ZeroDivisionError: In an open set, there is neither a true positive nor a false one, or no false negative.

    Example:
        >>> F_measure(np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1]))
        0.5
    """
    _check_published(published)
    preds, labels = _to_numpy(preds), _to_numpy(labels)
    if not openset:
        return _macro_f1(preds, labels)
    equal, known = preds == labels, labels != -1
    true_positives = float((equal & known).sum())
    wrong = ~equal & known
    if published == _PUBLISHED[0]:
        wrong &= preds != -1
    precision = true_positives / (true_positives + float(wrong.sum()))
    recall = true_positives / (true_positives + float((~equal & ~known).sum()))
    return 2 * ((precision * recall) / (precision + recall + 1e-12))


def class_count(data: Any) -> list[int]:
    """Number of samples of each class that ``data.dataset.labels`` has, ascending.

    Example:
        >>> from types import SimpleNamespace
        >>> class_count(SimpleNamespace(dataset=SimpleNamespace(labels=[0, 2, 2])))
        [1, 2]
    """
    counts: list[int] = np.unique(np.array(data.dataset.labels), return_counts=True)[1].tolist()
    return counts


def _to_numpy(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu().numpy() if hasattr(values, "detach") else values)


def _pair(preds: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    if not (hasattr(preds, "detach") or isinstance(preds, np.ndarray)):
        raise TypeError(f"preds: expected a torch tensor or a numpy array, got {type(preds)}")
    preds, labels = _to_numpy(preds), _to_numpy(labels)
    if preds.shape != labels.shape:
        raise IndexError(f"preds: expected shape {labels.shape} as labels, got {preds.shape}")
    return preds.ravel(), labels.ravel()


def _counts(labels: np.ndarray, train_data: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The number of training samples of each class of the labels, these classes, and the one of each label."""
    in_memory = isinstance(train_data, (np.ndarray, list, tuple))
    trained = np.array(train_data if in_memory else train_data.dataset.labels).astype(int)
    classes, of_class = np.unique(labels, return_inverse=True)
    known, counts = np.unique(trained, return_counts=True)
    if not len(known):
        return np.zeros(len(classes), np.int64), classes, of_class
    index = np.searchsorted(known, classes).clip(max=len(known) - 1)
    return np.where(known[index] == classes, counts[index], 0), classes, of_class


def _group_means(
    accuracies: np.ndarray, counts: np.ndarray, many: float, low: float, published: str, empty_is_zero: bool
) -> tuple[Any, Any, Any]:
    _check_published(published)
    is_many, is_low = (counts >= many, counts <= low) if published == "OLTR" else (counts > many, counts < low)
    groups = (accuracies[is_many], accuracies[~is_many & ~is_low], accuracies[~is_many & is_low])
    empty = np.zeros(1 if empty_is_zero else 0)
    means = [np.mean(group if len(group) else empty) for group in groups]
    return means[0], means[1], means[2]


def _check_published(published: str) -> None:
    if published not in _PUBLISHED:
        raise ValueError(f"published: expected one of {', '.join(_PUBLISHED)}, got {published!r}")


def _macro_f1(preds: np.ndarray, labels: np.ndarray) -> float:
    """Mean of F1 over the classes that occur among predictions or labels."""
    classes, index = np.unique(np.concatenate([preds, labels]), return_inverse=True)
    predicted, truth = index[: len(preds)], index[len(preds) :]
    hits = np.bincount(truth[predicted == truth], minlength=len(classes))
    total = np.bincount(index, minlength=len(classes))
    return float(np.mean(2 * hits / total))
