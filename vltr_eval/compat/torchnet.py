"""The meters of torchnet as the published VideoLT and MOVE code has them in ops/apmeter.py and ops/mapmeter.py.

    from vltr_eval.compat.torchnet import APMeter, LTMeter, get_indices, mAPMeter

Their conventions are kept: AP is the mean over a class's positives of the precision at their rank; a class without
positives has AP 0 and counts in every mean; groups of classes are index lists, in the order tail, medium, head.

Different on purpose:

- Equal scores are one threshold. The published meters leave their order to an unstable sort, so that the order of rows
  decides (1 or 0.27 for six equal scores); without ties the numbers are the same.
- Scores are ranked in their own precision, not cast to float32, and so must be of one dtype in all batches. AP is
  summed in float64 before it is made float32.
- Targets other than 0/1, NaN scores and shapes that do not fit raise ValueError. The published meters reject them by
  an assertion, or rank them as if they were valid.
- On a device for which vltr_eval was built without kernels, batches are copied to CPU memory.
- The result is computed once and kept until the next `add`; the published validation reads it seven times.
- An `add` that raises or is interrupted (Ctrl-C) has taken nothing, or its whole batch.
- `LTMeter.value` is one tensor, which is also read by name: ``value()["head"]``, as the published scripts read it.

The scripts of VideoLT and MOVE run unchanged: `get_indices` takes the file of training counts as VideoLT does, or the
counts themselves as MOVE's scripts for Mini-Kinetics do, and output and target may be on different devices.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vltr_eval._base.arrays import borrow, of_bits, read_numbers
from vltr_eval._base.groups import DEFAULT_BOUNDS, GROUP_NAMES, class_groups
from vltr_eval._engine.rank_scan import NaNScore
from vltr_eval.evaluator import Evaluator

try:
    import torch
except ImportError:
    raise ImportError("vltr_eval.compat.torchnet needs torch: pip install torch") from None

from vltr_eval.compat._tensors import on_one_device, to_supported_device

__all__ = ["APMeter", "LTMeter", "get_indices", "mAPMeter"]


class _Added:
    """All batches of a meter. One step takes a batch: the update of the evaluator, whose rows alone count."""

    def __init__(self, num_classes: int) -> None:
        self._evaluator = Evaluator(num_classes, sync_on_compute=False, sap=None, topk=None)
        self._weights: dict[int, np.ndarray | None] = {}  # of each batch, by the number of rows before it
        self._computed: tuple[int, np.ndarray] | None = None  # the number of rows, and their AP

    def __len__(self) -> int:
        return len(self._evaluator)

    def add(self, scores: Any, labels: Any, weights: np.ndarray | None) -> None:
        num_rows = len(self)
        if num_rows and (weights is None) != (self._weights[0] is None):
            raise ValueError("weight: expected one for every batch or for none, got it for some")
        self._weights[num_rows] = weights  # replaces the weights of an interrupted call
        self._evaluator.update(scores, labels)

    def average_precision(self) -> np.ndarray:
        """(C,) float64"""
        num_rows = len(self)
        if self._computed is None or self._computed[0] != num_rows:
            if self._weights[0] is None:
                values = self._evaluator.rank_table().average_precision(absent="zero")
            else:
                weights = [w for first, w in self._weights.items() if first < num_rows and w is not None]
                values = _weighted_average_precision(self._evaluator, np.concatenate(weights))
            self._computed = num_rows, values
        return self._computed[1]


class APMeter:
    """Average precision of each class over all that was added.

    >>> meter = APMeter()
    >>> meter.add(torch.tensor([[.9, .1], [.8, .2]]), torch.tensor([[1, 0], [0, 0]]))
    >>> meter.add(torch.tensor([[.7, .3]]), torch.tensor([[1, 0]]))
    >>> meter.value()
    tensor([0.8333, 0.0000])
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Remove everything that was added."""
        self._added: _Added | None = None

    def add(self, output: Any, target: Any, weight: Any = None) -> None:
        """Add a batch; a copy of its scores is kept.

        Args:
            output: (B, C) or (B,) scores of any real dtype, a torch tensor or a numpy array, in CPU memory or on a CUDA
                device; the same C and dtype every time. If target is on another device, both are copied to CPU memory.
            target: 0/1 of the same shape, in any bool, integer or float dtype.
            weight: (B,) or (B, 1) weights of the rows, finite and not negative, for every batch or for none.

        Raises:
            ValueError: Values or shapes of another kind; the batch is not added.
            TypeError: An argument of another type; the batch is not added.
        """
        output, target = on_one_device([output, target])
        scores, labels = _as_columns("output", output), _as_columns("target", target)
        if labels.shape != scores.shape:
            raise ValueError(f"target: expected shape {tuple(scores.shape)} as output, got {tuple(labels.shape)}")
        weights = None if weight is None else _read_weights(weight, scores.shape[0])
        added = self._added or _Added(scores.shape[1])
        try:
            added.add(scores, labels, weights)
        except (TypeError, ValueError) as error:
            sentence = str(error).replace("scores and labels", "output and target").replace("the scores", "the outputs")
            sentence = sentence.replace("scores:", "output:", 1).replace("labels:", "target:", 1)
            raise type(error)(sentence) from None
        if len(added):
            self._added = added

    def value(self) -> Any:
        """AP of each class: (C,) FloatTensor in CPU memory, 0 for a class without positives; 0 when nothing was added.

        With weights, precision is the weight of the positives at or above a score over that of all rows there, and AP
        its plain mean over the positives: the published definition, in which scikit-learn's differs by weighing the
        mean too. A positive above which nothing weighs anything makes it NaN. Raises ValueError for a NaN score.
        """
        return 0 if self._added is None else _float_tensor(self._added.average_precision())


class mAPMeter(APMeter):
    """`APMeter` and the mean over all classes, those without positives included.

    `value` gives each class, as running AP needs it, and `avg` the mean. (In torchnet's own mAPMeter, which has no
    `avg`, `value` is the mean.)

    >>> meter = mAPMeter()
    >>> meter.add(torch.tensor([[.9, .1], [.8, .2], [.7, .3]]), torch.tensor([[1, 0], [0, 1], [1, 0]]))
    >>> meter.value(), f"{meter.avg():.3f}"
    (tensor([0.8333, 0.5000]), '0.667')
    """

    def avg(self) -> Any:
        """Mean of `value` over all classes: a FloatTensor without dimensions; 0 when nothing was added."""
        return 0 if self._added is None else _float_tensor(self._added.average_precision().mean())


class LTMeter(mAPMeter):
    """Means of AP over groups of classes; `avg` is over all classes.

    indices: a list of class indices for each group, such as `get_indices` gives. `add`, `avg` and `reset` as those of
    `mAPMeter`. Three groups have the names tail, medium and head, as attributes too.

    >>> meter = LTMeter(get_indices([700, 20, 200, 30]))
    >>> scores = torch.tensor([[.9, .1, .3, .2], [.2, .8, .1, .3], [.3, .2, .7, .1]])
    >>> meter.add(scores, torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]))
    >>> meter.value()
    tensor([0.5000, 1.0000, 1.0000])
    >>> f"{meter.value()['head']:.5f}"
    '1.00000'
    """

    def __init__(self, indices: Iterable[Any]) -> None:
        self.indices = [_read_indices(group) for group in indices]
        if len(self.indices) == len(_GROUPS):
            self.tail, self.medium, self.head = self.indices
        super().__init__()

    def value(self) -> Any:
        """Mean AP of each group, in the order of the groups: (G,) FloatTensor.

        Three groups can also be read by name, as those of a dictionary: ``value()["head"]``, ``.keys()``, ``.items()``.

        NaN for a group without classes. 0 for any other when nothing was added. Raises IndexError for a class index
        that the scores do not have.
        """
        if self._added is None:
            means = [0.0 if len(group) else np.nan for group in self.indices]
        else:
            values = self._added.average_precision()
            means = [values[group].mean() if len(group) else np.nan for group in self.indices]
        tensor = _float_tensor(means)
        return tensor.as_subclass(_GroupMeans) if len(means) == len(_GROUPS) else tensor


_GROUPS = tuple(reversed(GROUP_NAMES))


class _GroupMeans(torch.Tensor):
    """(3,) means of tail, medium and head, by index or by name. Operations on it give plain tensors."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        if key not in _GROUPS:
            raise KeyError(key)
        return super().__getitem__(_GROUPS.index(key))

    def __contains__(self, key: Any) -> bool:
        return key in _GROUPS if isinstance(key, str) else bool(super().__contains__(key))

    def keys(self) -> tuple[str, ...]:
        return _GROUPS

    def values(self) -> list[Any]:  # type: ignore[override]
        return list(self)

    def items(self) -> Iterator[tuple[str, Any]]:
        return zip(_GROUPS, self, strict=True)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return repr(self.as_subclass(torch.Tensor))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.clone().as_subclass(_GroupMeans)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _named, (self.as_subclass(torch.Tensor),)


def _named(tensor: Any) -> Any:
    return tensor.as_subclass(_GroupMeans)


def get_indices(
    counts: Sequence[float] | str | os.PathLike[str],
    head: float = DEFAULT_BOUNDS[0],
    tail: float = DEFAULT_BOUNDS[1],
) -> list[list[int]]:
    """The classes of each group by their number of training samples: lists of class indices [tail, medium, head].

    Args:
        counts: (C,) whole numbers, or the file that has them, as VideoLT's count-labels-train.lst: a line for each
            class, ``river 0 1912.0``, with the count in the third column.
        head: The head has classes of more samples than this.
        tail: The tail has classes of at most so many samples; medium lies between (VideoLT's tools/utils.py).

    Raises:
        ValueError: ``counts`` are not whole numbers of one dimension, or head < tail.
        IndexError: A line of the file has fewer than three columns.

    Example:
        >>> get_indices([501, 500, 101, 100, 7])
        [[3, 4], [1, 2], [0]]
    """
    if isinstance(counts, (str, os.PathLike)):
        counts = [float(line.strip().split(" ")[2]) for line in Path(counts).read_text("utf-8").splitlines()]
    groups = class_groups(counts, (head, tail))
    return [groups[name].tolist() for name in _GROUPS]


def _as_columns(name: str, batch: Any) -> Any:
    """A batch as (B, C), where (B,) is one class."""
    if not hasattr(batch, "reshape"):
        raise TypeError(f"{name}: expected a torch tensor or a numpy array, got {type(batch).__name__}")
    shape = tuple(batch.shape)
    if len(shape) not in (1, 2) or 0 in shape[1:]:
        raise ValueError(f"{name}: expected shape (B, C) or (B,), got {shape}")
    if isinstance(batch, torch.Tensor):
        (batch,) = to_supported_device([batch])
    return batch.reshape((*shape, 1)[:2])


def _read_weights(weight: Any, num_rows: int) -> np.ndarray:
    weights = read_numbers("weight", weight)
    if weights.shape not in ((num_rows,), (num_rows, 1)):
        raise ValueError(f"weight: expected shape ({num_rows},) as output has rows, got {weights.shape}")
    weights = weights.reshape(num_rows).astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        raise ValueError(
            f"weight: expected finite weights that are not negative, got {weights[bad[0]]} at row {bad[0]}"
        )
    return weights


def _read_indices(group: Any) -> np.ndarray:
    indices = read_numbers("indices", group)
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
        raise ValueError(f"indices: expected a list of class indices for each group, got {group!r}")
    return indices.astype(np.int64)


def _weighted_average_precision(evaluator: Evaluator, weights: np.ndarray) -> np.ndarray:
    state = evaluator.state_dict()
    scores = of_bits(borrow("scores", state["scores"]).bits(), state["dtype"]).to_numpy()
    rows, classes = (read_numbers(name, state[name]) for name in ("rows", "classes"))
    bad = np.argwhere(np.isnan(scores))
    if bad.size:
        raise NaNScore(*bad[0])
    return np.array([_weighted_class(scores[:, c], rows[classes == c], weights) for c in range(scores.shape[1])])


def _weighted_class(scores: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> float:
    """scores (N,) and weights (N,) of all rows, and the rows of the positives."""
    if not len(rows):
        return 0.0
    thresholds, threshold_of, new = np.unique(scores[rows], return_inverse=True, return_counts=True)
    reached = np.searchsorted(thresholds, scores, side="right")  # number of thresholds that a score reaches
    total = np.bincount(reached, weights, len(thresholds) + 1)[:0:-1].cumsum()
    hits = np.bincount(threshold_of, weights[rows], len(thresholds))[::-1].cumsum()
    precision = np.divide(hits, total, out=np.full(len(thresholds), np.nan), where=total > 0)
    return float(precision @ new[::-1] / len(rows))


def _float_tensor(values: Any) -> Any:
    return torch.tensor(np.asarray(values), dtype=torch.float32)
