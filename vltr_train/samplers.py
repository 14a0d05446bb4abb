"""Which videos an epoch visits: each once, or drawn by class. A draw depends on seed, epoch and stream alone.

Legend: n videos (rows of a split), C classes, n_c videos that carry class c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from vltr_train.data.label_lists import LabelList

__all__ = ["ClassSampler", "Draw", "InstanceSampler", "Sampler"]


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

    def draw(self, labels: LabelList, seed: int, epoch: int, stream: int = 0) -> Draw:
        """The rows of an epoch; streams of one seed and epoch are independent of each other."""
        ...


@dataclass(frozen=True, eq=False)
class InstanceSampler:
    """Each row once an epoch, shuffled: a class is seen as often as it occurs.

    rows: (m,) integers, the only rows to visit; None for all. classes: (C,) bool; of these, only rows that carry one of
    the classes.
    """

    rows: Any = None
    classes: Any = None

    def draw(self, labels: LabelList, seed: int, epoch: int, stream: int = 0) -> Draw:
        """A permutation of the rows. Raises ValueError where `rows` names one that the labels lack."""
        rng, rows = _generator(seed, epoch, stream), self._chosen(len(labels))
        if self.classes is not None:
            rows = rows[np.isin(rows, labels.rows_with(self.classes))]
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

    def draw(self, labels: LabelList, seed: int, epoch: int, stream: int = 0) -> Draw:
        """Rows and the class each was drawn for, as many as there are rows. Raises as `probabilities_of` does."""
        rng = _generator(seed, epoch, stream)
        offsets, rows_by_class = labels.by_class()
        counts = np.diff(offsets)
        classes = rng.choice(len(counts), size=len(labels), p=self.probabilities_of(counts))
        return Draw(rows_by_class[offsets[classes] + rng.integers(counts[classes])], classes)


def _generator(seed: int, epoch: int, stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, stream)))
