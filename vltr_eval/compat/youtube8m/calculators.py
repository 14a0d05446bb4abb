"""Calculators of AP@n, MAP@n, GAP, Hit@1 and PERR, batch by batch."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vltr_eval._base.arrays import read_numbers
from vltr_eval._base.lazy import lazy_property
from vltr_eval.compat.youtube8m.ranked_lists import Entries, RankedLists

__all__ = [
    "AveragePrecisionCalculator",
    "EvaluationMetrics",
    "MeanAveragePrecisionCalculator",
    "calculate_gap",
    "calculate_hit_at_one",
    "calculate_precision_at_equal_recall_rate",
    "top_k_by_class",
]

_FOLDS = 16  # columns in a group, at most, where a row is folded to the maxima of groups


class AveragePrecisionCalculator:
    """AP@n of one ranked list that arrives in pieces.

    Args:
        top_n: n, or None for the whole list. With n, only scores that can be among the n highest are kept.

    Example:
        >>> calculator = AveragePrecisionCalculator()
        >>> calculator.accumulate([.9, .8], [1, 0])
        >>> calculator.accumulate([.7], [1])
        >>> calculator.heap_size, calculator.num_accumulated_positives, f"{calculator.peek_ap_at_n():.4f}"
        (3, 2, '0.8333')
    """

    def __init__(self, top_n: int | None = None) -> None:
        self._top_n = None if top_n is None else _check_positive("top_n", top_n)
        self._lists = RankedLists(1, self._top_n)

    @property
    def heap_size(self) -> int:
        """How many scores are kept: at most ``top_n``."""
        return int(self._lists.heap_sizes()[0])

    @property
    def num_accumulated_positives(self) -> int | float:
        """The positives so far, counted or as stated by ``num_positives``."""
        number: int | float = self._lists.num_positives[0].item()
        return number

    def accumulate(self, predictions: Any, actuals: Any, num_positives: Any = None) -> None:
        """Takes a piece of the list. predictions: (N,) scores; actuals: (N,), positive above 0.

        num_positives: how many positives the piece stands for, where it was truncated before; else they are counted.
        Raises ValueError for lengths that differ, a NaN score, or a negative ``num_positives``.
        """
        given = None if num_positives is None else _read_num_positives("num_positives", num_positives, 1)
        lists = copy.copy(self._lists)
        lists.add([predictions], [actuals], given)
        self._lists = lists

    def clear(self) -> None:
        """Remove everything that was accumulated."""
        self._lists = RankedLists(1, self._top_n)

    def peek_ap_at_n(self) -> float:
        """AP@n of what was accumulated; 0 when there was nothing, or no positive."""
        return float(self._lists.average_precision()[0])

    @staticmethod
    def ap(predictions: Any, actuals: Any) -> float:
        """AP of a whole list.

        >>> AveragePrecisionCalculator.ap([.9, .8, .7, .6], [1, 0, 0, 1])
        0.75
        """
        return AveragePrecisionCalculator.ap_at_n(predictions, actuals, n=None)

    @staticmethod
    def ap_at_n(predictions: Any, actuals: Any, n: int | None = 20, total_num_positives: Any = None) -> float:
        """AP@n of a list: (N,) scores and (N,) actuals, positive above 0; total_num_positives where it is truncated.

        Raises ValueError for lengths that differ, a NaN score, an n that is not positive.

        >>> AveragePrecisionCalculator.ap_at_n([.9, .8, .7, .6], [1, 0, 0, 1], n=2)
        0.5
        """
        ranked = RankedLists(1, None if n is None else _check_positive("n", n))
        total = total_num_positives
        if total is None:
            total = np.count_nonzero(read_numbers("actuals", actuals) > 0)
        ranked.add([predictions], [actuals], _read_num_positives("total_num_positives", total, 1))
        return float(ranked.average_precision()[0])


class MeanAveragePrecisionCalculator:
    """AP@n of each class.

    Args:
        num_class: C.
        filter_empty_classes: Whether `peek_map_at_n` leaves out classes without positives; its list then does not state
            the classes of its numbers. Otherwise they are 0.
        top_n: As of `AveragePrecisionCalculator`.

    Example:
        >>> calculator = MeanAveragePrecisionCalculator(num_class=3, filter_empty_classes=False)
        >>> calculator.accumulate([[.9, .8], [.2, .3], [.5, .4]], [[1, 0], [1, 0], [0, 0]])
        >>> calculator.peek_map_at_n()
        [1.0, 0.5, 0.0]
    """

    def __init__(self, num_class: int, filter_empty_classes: bool = True, top_n: int | None = None) -> None:
        self._num_class = _check_positive("num_class", num_class)
        self._filter_empty_classes = filter_empty_classes
        self._top_n = None if top_n is None else _check_positive("top_n", top_n)
        self._lists = RankedLists(self._num_class, self._top_n)

    def accumulate(self, predictions: Any, actuals: Any, num_positives: Any = None) -> None:
        """Add a piece to the list of each class.

        Args:
            predictions: (C, N) scores, or C lists of any lengths.
            actuals: The same shape or lengths, positive above 0.
            num_positives: (C,), the positives that the lists stand for; by default they are counted.

        Raises:
            ValueError: Shapes that do not fit, or a NaN score.
        """
        for name, lists in (("predictions", predictions), ("actuals", actuals)):
            if len(lists) != self._num_class:
                raise ValueError(f"{name}: expected a list for each of {self._num_class} classes, got {len(lists)}")
        given = None if num_positives is None else _read_num_positives("num_positives", num_positives, self._num_class)
        lists = copy.copy(self._lists)
        lists.add(predictions, actuals, given)
        self._lists = lists

    def clear(self) -> None:
        """Remove everything that was accumulated."""
        self._lists = RankedLists(self._num_class, self._top_n)

    def accumulate_entries(self, entries: Entries, num_positives: np.ndarray) -> None:
        """Takes scores of any classes, in any order. num_positives: (C,)"""
        lists = copy.copy(self._lists)
        lists.add_entries(entries, num_positives)
        self._lists = lists

    def is_empty(self) -> bool:
        """Whether no class has any score."""
        return not self._lists.sizes.any()

    def peek_map_at_n(self) -> list[float]:
        """AP@n of each class, of those with positives where empty ones are filtered."""
        values = self._lists.average_precision()
        return list((values[self._lists.num_positives > 0] if self._filter_empty_classes else values).tolist())


@dataclass(frozen=True, eq=False)
class _Epoch:
    """The accumulated batches. It is immutable: the metrics replace it by another one."""

    map_calculator: MeanAveragePrecisionCalculator
    global_ap_calculator: AveragePrecisionCalculator
    num_examples: int = 0
    sums: dict[str, float] = field(default_factory=lambda: {"hit_at_one": 0.0, "perr": 0.0, "loss": 0.0})

    def with_batch(self, pooled: Entries, num_positives: np.ndarray, num_rows: int, means: dict[str, float]) -> _Epoch:
        of_classes, of_all = copy.copy(self.map_calculator), copy.copy(self.global_ap_calculator)
        of_classes.accumulate_entries(pooled, num_positives)
        of_all.accumulate(pooled.scores, pooled.actuals, num_positives.sum(dtype=np.float64))
        sums = {name: self.sums[name] + value * num_rows for name, value in means.items()}
        return _Epoch(of_classes, of_all, self.num_examples + num_rows, sums)


class EvaluationMetrics:
    """Hit@1, PERR, GAP, the AP of each class, and the mean loss of an epoch.

    Args:
        num_class: C.
        top_k: Scores of each row that count in GAP and the APs. The starter code's default is 20, so its mAP ignores
            lower scores.
        top_n: As of `AveragePrecisionCalculator`, for the APs.

    Example:
        >>> metrics = EvaluationMetrics(num_class=3, top_k=2)
        >>> metrics.accumulate([[.9, .8, .1], [.2, .7, .4]], [[1, 0, 0], [0, 0, 1]], loss=[.3, .5])
        {'hit_at_one': 0.5, 'perr': 0.5, 'loss': 0.4}
        >>> metrics.get()["aps"]
        [1.0, 1.0]
    """

    def __init__(self, num_class: int, top_k: int, top_n: int | None = None) -> None:
        self._num_class = _check_positive("num_class", num_class)
        self._top_k = _check_positive("top_k", top_k)
        self._top_n = top_n
        self._epoch = self._empty_epoch()

    @property
    def num_examples(self) -> int:
        """The rows so far."""
        return self._epoch.num_examples

    @property
    def map_calculator(self) -> MeanAveragePrecisionCalculator:
        """The AP of each class so far; each `accumulate` makes another one."""
        return self._epoch.map_calculator

    @property
    def global_ap_calculator(self) -> AveragePrecisionCalculator:
        """GAP so far; each `accumulate` makes another one."""
        return self._epoch.global_ap_calculator

    def accumulate(self, predictions: Any, labels: Any, loss: Any) -> dict[str, float]:
        """Takes a batch. predictions, labels: (B, C); loss: a number or (B,).

        Returns its ``hit_at_one``, ``perr`` and mean ``loss``. Raises ValueError where shapes do not fit, for NaN, and
        for a batch without rows.
        """
        batch = _Batch.read(predictions, labels, "labels")
        num_rows, num_classes = batch.scores.shape
        if num_rows == 0 or num_classes != self._num_class:
            expected = f"(B, {self._num_class}) with at least one row"
            raise ValueError(f"predictions: expected {expected}, got {batch.scores.shape}")
        top = batch.top(max(self._top_k, batch.most_labels))
        means = {
            "hit_at_one": batch.hit_at_one(top),
            "perr": batch.precision_at_equal_recall(top),
            "loss": float(np.mean(read_numbers("loss", loss))),
        }
        pooled = batch.pooled(top[:, : self._top_k])
        self._epoch = self._epoch.with_batch(pooled, batch.num_positives, num_rows, means)
        return means

    def get(self) -> dict[str, Any]:
        """``avg_hit_at_one``, ``avg_perr``, ``avg_loss``, ``gap``, and ``aps``, a list without the empty classes.

        Raises ValueError when nothing was accumulated.
        """
        if not self.num_examples:
            raise ValueError("get: expected at least one row from accumulate(), got none")
        averages = {f"avg_{name}": value / self.num_examples for name, value in self._epoch.sums.items()}
        return averages | {
            "aps": self.map_calculator.peek_map_at_n(),
            "gap": self.global_ap_calculator.peek_ap_at_n(),
        }

    def clear(self) -> None:
        """Remove everything that was accumulated."""
        self._epoch = self._empty_epoch()

    def _empty_epoch(self) -> _Epoch:
        return _Epoch(MeanAveragePrecisionCalculator(self._num_class, top_n=self._top_n), AveragePrecisionCalculator())


def calculate_hit_at_one(predictions: Any, actuals: Any) -> float:
    """Share of the rows whose highest score is at one of their labels; rows without labels are misses.

    Args:
        predictions: (N, C) scores; equal scores rank by the lower class.
        actuals: (N, C) of 0/1.

    Returns:
        The share, NaN for no rows.

    Example:
        >>> calculate_hit_at_one([[.9, .8, .1], [.2, .7, .4]], [[1, 0, 0], [0, 0, 1]])
        0.5
    """
    batch = _Batch.read(predictions, actuals)
    return batch.hit_at_one(batch.top(1))


def calculate_precision_at_equal_recall_rate(predictions: Any, actuals: Any) -> float:
    """PERR: mean over the rows of the precision among their highest scores, as many as the row has labels.

    Only scores above 0 count as hits; a row without labels counts as 0. Ties are as in `calculate_hit_at_one`.

    Args:
        predictions: (N, C) scores.
        actuals: (N, C) labels; positives are above 0.

    Returns:
        PERR; NaN of no rows.

    Example:
        >>> calculate_precision_at_equal_recall_rate([[.9, .8, .1], [.2, .7, .4]], [[1, 0, 1], [0, 1, 1]])
        0.75
    """
    batch = _Batch.read(predictions, actuals)
    return batch.precision_at_equal_recall(batch.top(batch.most_labels))


def calculate_gap(predictions: Any, actuals: Any, top_k: int = 20) -> float:
    """Global AP: AP of the ``top_k`` highest scores of every row in one list, with all labels as positives.

    Ties within a row are as in `calculate_hit_at_one`.

    Args:
        predictions: (N, C) scores.
        actuals: (N, C) labels; positives are above 0.
        top_k: Scores of each row that count.

    Returns:
        GAP; 0 of no rows.

    Example:
        >>> calculate_gap([[.9, .8, .1], [.2, .7, .4]], [[1, 0, 0], [0, 0, 1]], top_k=2)
        0.75
    """
    batch = _Batch.read(predictions, actuals)
    pooled = batch.pooled(batch.top(_check_positive("top_k", top_k)))
    return AveragePrecisionCalculator.ap_at_n(
        pooled.scores, pooled.actuals, n=None, total_num_positives=batch.num_positives.sum(dtype=np.float64)
    )


def top_k_by_class(
    predictions: Any, labels: Any, k: int = 20
) -> tuple[list[np.ndarray], list[np.ndarray], list[int | float]]:
    """The ``k`` highest scores of every row, sorted by class: what `MeanAveragePrecisionCalculator` accumulates.

    Args and ties as `calculate_hit_at_one`.

    Returns:
        For each of the C classes its scores, their labels (arrays of one length, in the order of the rows), and the
        number of its positives in all rows.

    Example:
        >>> scores, labels, num_positives = top_k_by_class([[.9, .8, .1], [.2, .7, .4]], [[1, 0, 0], [0, 0, 1]], k=1)
        >>> [len(of_class) for of_class in scores], num_positives
        ([1, 1, 0], [1, 0, 1])
    """
    batch = _Batch.read(predictions, labels, "labels")
    pooled = batch.pooled(batch.top(_check_positive("k", k)))
    order = np.argsort(pooled.classes, kind="stable")
    num_classes = batch.labels.shape[1]
    ends = np.cumsum(np.bincount(pooled.classes, minlength=num_classes))[:-1]
    scores, actuals = (np.split(column[order], ends) for column in (pooled.scores, pooled.actuals))
    return scores, actuals, batch.num_positives.tolist()


@dataclass(frozen=True, eq=False)
class _Batch:
    """Scores (N, C) and labels (N, C) of whole rows."""

    scores: np.ndarray
    labels: np.ndarray
    labels_name: str  # of the argument that they came as

    @classmethod
    def read(cls, predictions: Any, labels: Any, name: str = "actuals") -> _Batch:
        scores, labels = read_numbers("predictions", predictions), read_numbers(name, labels)
        if scores.ndim != 2 or scores.shape[1] == 0:
            raise ValueError(f"predictions: expected (N, C) with at least one class, got {scores.shape}")
        if labels.shape != scores.shape:
            raise ValueError(f"{name}: expected shape {scores.shape} as predictions, got {labels.shape}")
        return cls(scores, labels, name)

    @lazy_property
    def labels_per_row(self) -> np.ndarray:
        """(N,) int64"""
        return self._sum_of_labels(axis=1).astype(np.int64)

    @property
    def most_labels(self) -> int:
        """The most labels of any row, but at least 1."""
        return int(self.labels_per_row.max(initial=1))

    @lazy_property
    def num_positives(self) -> np.ndarray:
        """The number of positives of each class: (C,), integers for integer labels."""
        return self._sum_of_labels(axis=0)

    def _sum_of_labels(self, axis: int) -> np.ndarray:
        dtype = self.labels.dtype
        sums = self.labels.sum(axis, dtype=np.result_type(dtype, np.float32) if dtype.kind == "f" else np.int64)
        bad = np.flatnonzero(~(sums >= 0))
        if bad.size:
            where = f"{('class', 'row')[axis]} {bad[0]}"
            raise ValueError(f"{self.labels_name}: expected labels of 0 and 1, got a sum of {sums[bad[0]]} in {where}")
        return np.asarray(sums)

    def top(self, k: int) -> np.ndarray:
        """Classes of the k highest scores of each row, the highest first, equal scores by the lower class: (N, k)."""
        num_rows, num_classes = self.scores.shape
        k = min(k, num_classes)
        if k == 1:
            top: np.ndarray = np.argmax(self.scores, axis=1)[:, None]
            self._check_highest(np.take_along_axis(self.scores, top, axis=1))
            return top
        # At least k a row, often just those: what reaches the k-th highest of the maxima of as many sets of classes.
        highest = np.partition(_folded(self.scores, k), -k, axis=1)[:, -k:]
        self._check_highest(highest)
        rows, classes = np.divmod(np.flatnonzero(self.scores >= highest[:, :1]), num_classes)
        # Backwards, so that equal scores, whose order a stable sort keeps, are in descending order of their classes.
        rows, classes = rows[::-1], classes[::-1]
        order = np.lexsort((self.scores[rows, classes], rows))
        counts = np.bincount(rows)
        rank = np.repeat(np.cumsum(counts), counts) - np.arange(len(rows)) - 1
        return np.asarray(classes[order[rank < k]].reshape(num_rows, k)[:, ::-1])

    @staticmethod
    def _check_highest(highest: np.ndarray) -> None:
        """Raises for NaN, which numpy takes for the highest of its row."""
        bad = np.flatnonzero((highest != highest).any(axis=1))
        if bad.size:
            raise ValueError(f"predictions: expected numbers, got NaN in row {bad[0]}")

    def pooled(self, top: np.ndarray) -> Entries:
        """The scores and labels at (N, k) classes, row after row."""
        scores, labels = (np.take_along_axis(matrix, top, axis=1).ravel() for matrix in (self.scores, self.labels))
        return Entries(top.ravel(), scores, labels)

    def hit_at_one(self, top: np.ndarray) -> float:
        return _mean(np.take_along_axis(self.labels, top[:, :1], axis=1))

    def precision_at_equal_recall(self, top: np.ndarray) -> float:
        scores, labels = (np.take_along_axis(matrix, top, axis=1) for matrix in (self.scores, self.labels))
        counted = (np.arange(top.shape[1]) < self.labels_per_row[:, None]) & (scores > 0)
        hits = np.where(counted, labels, 0).sum(axis=1, dtype=np.float64)
        return _mean(hits / np.maximum(self.labels_per_row, 1))


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values, dtype=np.float64)) if values.size else np.nan


def _folded(scores: np.ndarray, k: int) -> np.ndarray:
    """(N, C) scores folded to the maxima of groups of columns, each column in one, of which there are at least k."""
    width = max(k, -(-scores.shape[1] // _FOLDS))
    folded = scores[:, :width].copy()
    for start in range(width, scores.shape[1], width):
        part = scores[:, start : start + width]
        np.maximum(folded[:, : part.shape[1]], part, out=folded[:, : part.shape[1]])
    return np.asarray(folded)


def _check_positive(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}: expected a positive integer, got {value!r}")
    return int(value)


def _read_num_positives(name: str, num_positives: Any, num_classes: int) -> np.ndarray:
    """(C,) int64 or float64."""
    given = read_numbers(name, num_positives)
    if given.size != num_classes or given.dtype.kind not in "biuf" or not (given >= 0).all():
        expected = "a number that is" if num_classes == 1 else f"{num_classes} numbers that are"
        raise ValueError(f"{name}: expected {expected} not negative, got {num_positives!r}")
    return given.reshape(num_classes).astype(np.float64 if given.dtype.kind == "f" else np.int64)
