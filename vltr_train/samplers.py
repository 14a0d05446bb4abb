"""Which videos an epoch visits: each once, or drawn by class. A draw depends on seed, epoch and stream alone.

Labels are a `LabelList`, or an array of any library in CPU memory, or a list: (n,) the class of each row, or (n, C) of
0 and 1. Rows and classes that are drawn are numpy arrays of int64.

Legend: n videos (rows of a split), C classes, n_c videos that carry class c.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np

from vltr_eval._base.arrays import check_from_zero, read_numbers
from vltr_train.data.label_lists import LabelList

__all__ = ["ClassSampler", "Draw", "InstanceSampler", "Labels", "Sampler"]

Labels = LabelList | Any
"""A `LabelList`, or an array or a list: (n,) integers, or (n, C) of 0 and 1."""


@dataclass(frozen=True, eq=False)
class Draw:
    """The rows of an epoch, in order. A row that carries several classes may have been drawn for any one of them.

    ``DataLoader(dataset, sampler=draw.rows)`` of torch visits them.

    Attributes:
        rows: (n,) int64, rows of the split.
        classes: (n,) int64, the class each was drawn for, or None where no class was.
    """

    rows: np.ndarray
    classes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)


class Sampler(Protocol):
    """Draws the rows of an epoch. It keeps no state, so a resumed training draws the same rows."""

    def draw(self, labels: Labels, seed: int, epoch: int, stream: int = 0) -> Draw:
        """Draw the rows of an epoch.

        Args:
            labels: The labels of the n rows.
            seed: The seed of the training.
            epoch: The number of the epoch.
            stream: Streams of one seed and epoch are independent of each other.
        """
        ...


@dataclass(frozen=True, eq=False)
class InstanceSampler:
    """Each row once an epoch, shuffled: a class is seen as often as it occurs.

    Args:
        rows: (m,) integers, the only rows to visit; None for all.
        classes: (C,) bool; only rows that carry one of these classes are visited. None for all.
    """

    rows: Any = None
    classes: Any = None

    def draw(self, labels: Labels, seed: int, epoch: int, stream: int = 0) -> Draw:
        """Draw a permutation of the rows.

        Args:
            labels: The labels of the n rows.
            seed: The seed of the training.
            epoch: The number of the epoch.
            stream: Streams of one seed and epoch are independent of each other.

        Returns:
            The rows, without classes.

        Raises:
            ValueError: ``rows`` or ``classes`` do not fit the labels, the labels have another form, or the seed, the
                epoch or the stream is negative.
            TypeError: The labels are no numbers.

        Example:
            >>> InstanceSampler().draw(np.array([0, 1, 1, 2]), seed=0, epoch=0).rows.tolist()
            [1, 3, 2, 0]
        """
        found = _label_list(labels)
        rng, rows = _generator(seed, epoch, stream), self._chosen(len(found))
        if self.classes is not None:
            rows = rows[np.isin(rows, found.rows_with(self.classes))]
        return Draw(rng.permutation(rows))

    def _chosen(self, num_rows: int) -> np.ndarray:
        if self.rows is None:
            return np.arange(num_rows)
        rows = read_numbers("rows", self.rows)
        if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise ValueError(f"rows: expected a list of integers, got {rows.dtype} of shape {rows.shape}")
        if rows.size and not (rows.min() >= 0 and rows.max() < num_rows):
            raise ValueError(f"rows: expected 0 to {num_rows - 1}, got {rows.min()} to {rows.max()}")
        return rows.astype(np.int64)


@dataclass(frozen=True, eq=False)
class ClassSampler:
    """A class by chance, then one of its rows by chance, with replacement: as many draws as there are rows.

    Classes without rows are never drawn.

    Args:
        power: Class c has a chance in proportion to n_c ** power. 0 is class-balanced sampling (CBS), 0.5 square-root
            sampling (SRS, as in the published VideoLT model zoo), 1 each (row, class) pair alike, -1 the inverse
            frequency.
        probabilities: (C,) chances instead of that law, in any unit.

    Raises:
        ValueError: The power is no finite number.

    Source:
        17Skye17/VideoLT, ResamplingDataset_Mask; Mahajan et al., arXiv 1805.00932, for the square root.
    """

    power: float = 0.0
    probabilities: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.power, bool) or not isinstance(self.power, Real) or not np.isfinite(self.power):
            raise ValueError(f"power: expected a finite number, got {self.power!r}")

    def probabilities_of(self, counts: Any) -> np.ndarray:
        """Return the chance of each class.

        Args:
            counts: (C,) numbers, the rows of each class.

        Returns:
            (C,) float64, with sum 1.

        Raises:
            ValueError: The counts are no list of numbers from 0 up, the probabilities have another length, or one is
                negative or not finite, or no class can be drawn.

        Example:
            >>> ClassSampler(0.5).probabilities_of([9, 1, 0])
            array([0.75, 0.25, 0.  ])
        """
        counts = _weights("counts", counts)
        present = counts > 0
        with np.errstate(over="ignore"):
            weights = self._weights_of(counts, present)
            if weights.sum() == np.inf:
                weights = weights / weights.max()
        if not weights.any():
            raise ValueError("labels: expected rows of a class that can be drawn, got none")
        return weights / weights.sum()

    def _weights_of(self, counts: np.ndarray, present: np.ndarray) -> np.ndarray:
        """The finite weight of each class, (C,) float64; 0 for those without rows."""
        if self.probabilities is not None:
            weights = _weights("probabilities", self.probabilities)
            if weights.shape != present.shape:
                raise ValueError(f"probabilities: expected shape {present.shape}, one a class, got {weights.shape}")
            return weights * present
        weights = np.where(present, counts, 1) ** float(self.power) * present
        if not present.any() or np.finfo(np.float64).tiny <= weights.max() < np.inf:
            return weights
        # The same law for powers that overflow or underflow: in logarithms, relative to the likeliest class.
        logs = float(self.power) * np.log(counts[present])
        weights[present] = np.exp(logs - logs.max())
        return weights

    def draw(self, labels: Labels, seed: int, epoch: int, stream: int = 0) -> Draw:
        """Draw as many rows as there are, and the class each was drawn for.

        Args:
            labels: The labels of the n rows.
            seed: The seed of the training.
            epoch: The number of the epoch.
            stream: Streams of one seed and epoch are independent of each other.

        Returns:
            The rows, and the class each was drawn for.

        Raises:
            ValueError: As of `probabilities_of`, or the labels have another form, or the seed, the epoch or the stream
                is negative.
            TypeError: The labels are no numbers.

        Example:
            >>> draw = ClassSampler().draw(np.array([[1, 0], [1, 0], [1, 1]]), seed=0, epoch=0)
            >>> draw.rows.tolist(), draw.classes.tolist()
            ([2, 2, 0], [1, 1, 0])
        """
        rng, found = _generator(seed, epoch, stream), _label_list(labels)
        offsets, rows_by_class = found.by_class()
        counts = np.diff(offsets)
        classes = rng.choice(len(counts), size=len(found), p=self.probabilities_of(counts))
        return Draw(rows_by_class[offsets[classes] + rng.integers(counts[classes])], classes)


def _weights(name: str, values: Any) -> np.ndarray:
    """Check that there is a number from 0 up for each class; return them as float64."""
    found = read_numbers(name, values)
    if found.dtype.kind not in "biuf":
        raise ValueError(f"{name}: expected numbers, got {found.dtype}")
    if found.ndim != 1:
        raise ValueError(f"{name}: expected shape (C,), one a class, got {found.shape}")
    found = found.astype(np.float64)
    check_from_zero(name, found)
    return found


def _label_list(labels: Labels) -> LabelList:
    if isinstance(labels, LabelList):
        return labels
    try:
        array = read_numbers("labels", labels)
    except ValueError as error:
        if str(error).startswith("labels: "):
            raise
        raise ValueError(f"labels: expected {_FORMS}, got a ragged list; pass LabelList.from_lists") from None
    ids = tuple(map(str, range(len(array) if array.ndim else 0)))
    if array.ndim == 1 and array.dtype.kind in "iu" and array.size and array.min() >= 0:
        return LabelList.from_pairs(ids, np.arange(len(array)), array.astype(np.int64), int(array.max()) + 1)
    if array.ndim != 2 or not np.isin(array, (0, 1)).all():
        raise ValueError(f"labels: expected {_FORMS}, got {array.dtype} of shape {array.shape}")
    rows, classes = np.nonzero(array)
    return LabelList.from_pairs(ids, rows, classes, array.shape[1])


_FORMS = "the class of each row, (n,) integers from 0 up, or (n, C) of 0 and 1"


def _generator(seed: int, epoch: int, stream: int) -> np.random.Generator:
    for name, number in (("seed", seed), ("epoch", epoch), ("stream", stream)):
        if isinstance(number, bool) or not isinstance(number, Integral) or number < 0:
            raise ValueError(f"{name}: expected an integer from 0 up, got {number!r}")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, stream)))
