"""Which videos an epoch visits: each once, or drawn by class. A draw depends on seed, epoch and stream alone.

Labels are a `LabelList`, or a plain array: (n,) the class of each row, or (n, C) of 0 and 1, of numpy or torch.

Legend: n videos (rows of a split), C classes, n_c videos that carry class c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vltr_train.data.label_lists import LabelList

__all__ = ["ClassSampler", "Draw", "InstanceSampler", "Labels", "Sampler"]

Labels = LabelList | Any
"""A `LabelList`, or an array of numpy or torch: (n,) integers, or (n, C) of 0 and 1."""


@dataclass(frozen=True, eq=False)
class Draw:
    """The rows of an epoch, in order. A row that carries several classes may have been drawn for any one of them.

    rows: (n,) int64, rows of the split. classes: (n,) int64, the class each was drawn for, or None where no class was.
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

    rows: (m,) integers, the only rows to visit; None for all. classes: (C,) bool; of these, only rows that carry one of
    the classes.
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

        Raises:
            ValueError: `rows` names one that the labels lack, or the labels have another form.

        Example:
            >>> InstanceSampler().draw(np.array([0, 1, 1, 2]), seed=0, epoch=0).rows.tolist()
            [2, 1, 0, 3]
        """
        found = _label_list(labels)
        rng, rows = _generator(seed, epoch, stream), self._chosen(len(found))
        if self.classes is not None:
            rows = rows[np.isin(rows, found.rows_with(self.classes))]
        return Draw(rng.permutation(rows))

    def _chosen(self, num_rows: int) -> np.ndarray:
        if self.rows is None:
            return np.arange(num_rows)
        rows = np.asarray(self.rows)
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
    """

    power: float = 0.0
    probabilities: Any = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.power):
            raise ValueError(f"power: expected a finite number, got {self.power}")

    def probabilities_of(self, counts: np.ndarray) -> np.ndarray:
        """Chance of each class, (C,) float64 with sum 1, from the number of its rows (C,).

        Raises ValueError for probabilities of another length, negative or not finite, and where no class can be drawn.
        """
        present = np.asarray(counts) > 0
        if self.probabilities is None:
            weights = np.where(present, counts, 1) ** float(self.power) * present
        else:
            weights = np.asarray(self.probabilities, np.float64)
            if weights.shape != present.shape:
                raise ValueError(f"probabilities: expected shape {present.shape}, one a class, got {weights.shape}")
            if not (np.isfinite(weights) & (weights >= 0)).all():
                wrong = int(np.argmin(np.isfinite(weights) & (weights >= 0)))
                raise ValueError(f"probabilities: expected numbers from 0 up, got {weights[wrong]} for class {wrong}")
            weights = weights * present
        if not weights.any():
            raise ValueError("labels: expected rows of a class that can be drawn, got none")
        return weights / weights.sum()

    def draw(self, labels: Labels, seed: int, epoch: int, stream: int = 0) -> Draw:
        """Draw as many rows as there are, and the class each was drawn for.

        Args:
            labels: The labels of the n rows.
            seed: The seed of the training.
            epoch: The number of the epoch.
            stream: Streams of one seed and epoch are independent of each other.

        Raises:
            ValueError: As of `probabilities_of`, or the labels have another form.

        Example:
            >>> draw = ClassSampler().draw(np.array([[1, 0], [1, 0], [1, 1]]), seed=0, epoch=0)
            >>> draw.rows.tolist(), draw.classes.tolist()
            ([2, 1, 0], [1, 0, 0])
        """
        rng, found = _generator(seed, epoch, stream), _label_list(labels)
        offsets, rows_by_class = found.by_class()
        counts = np.diff(offsets)
        classes = rng.choice(len(counts), size=len(found), p=self.probabilities_of(counts))
        return Draw(rows_by_class[offsets[classes] + rng.integers(counts[classes])], classes)


def _label_list(labels: Labels) -> LabelList:
    if isinstance(labels, LabelList):
        return labels
    array = np.asarray(labels)
    ids = tuple(map(str, range(len(array) if array.ndim else 0)))
    if array.ndim == 1 and array.dtype.kind in "iu" and array.size and array.min() >= 0:
        return LabelList.from_pairs(ids, np.arange(len(array)), array.astype(np.int64), int(array.max()) + 1)
    if array.ndim != 2 or not np.isin(array, (0, 1)).all():
        raise ValueError(
            "labels: expected the class of each row, (n,) integers from 0 up, or (n, C) of 0 and 1, got "
            f"{array.dtype} of shape {array.shape}"
        )
    rows, classes = np.nonzero(array)
    return LabelList.from_pairs(ids, rows, classes, array.shape[1])


def _generator(seed: int, epoch: int, stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, stream)))
