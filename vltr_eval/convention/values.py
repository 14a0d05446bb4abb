"""The average precision of each class under every definition that published code uses.

`ClassValues` computes the values. Its callers decide what a class without positives counts in a mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from vltr_eval._base.arrays import as_columns, borrow_matrix, to_host
from vltr_eval._engine.inputs import read_matrix_and_positives
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.positive_ranks import TIE_ORDERS
from vltr_eval._engine.rank_scan import rank_scan
from vltr_eval._engine.rank_table import RankTable
from vltr_eval.metrics.tie_orders import positive_ranks

__all__ = ["TIES", "TRANSFORMS", "ClassValues"]

TIES = ("threshold", *TIE_ORDERS)

T = TypeVar("T")


def _sigmoid(scores: np.ndarray) -> np.ndarray:
    """The float32 sigmoid, 1 / (1 + exp(-x)) with each step rounded to float32, as torch computes it on a CPU."""
    with np.errstate(over="ignore"):
        grown = np.exp(-scores.astype(np.float32).astype(np.float64)).astype(np.float32)
    values: np.ndarray = np.float32(1) / (np.float32(1) + grown)
    return values


def _float16(scores: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        values: np.ndarray = scores.astype(np.float16).astype(np.float32)
    return values


def _float32(scores: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        values: np.ndarray = scores.astype(np.float32)
    return values


def _bfloat16(scores: np.ndarray) -> np.ndarray:
    bits = _float32(scores).view(np.uint32).astype(np.uint64)
    rounded = bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1)) & np.uint64(0xFFFF0000)  # half to even
    values: np.ndarray = rounded.astype(np.uint32).view(np.float32)
    return values


# Names of what may happen to scores before they are ranked. All are monotone: they can only make scores equal.
TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float32": _float32,
    "float16": _float16,
    "bfloat16": _bfloat16,
    "sigmoid": lambda scores: _sigmoid(_float32(scores)),
    "sigmoid-float16": lambda scores: _float16(_sigmoid(_float16(scores))),
    "sigmoid-bfloat16": lambda scores: _bfloat16(_sigmoid(_bfloat16(scores))),
}


class ClassValues:
    """The average precisions of each class of one evaluation, each computed on first use and kept.

    `after`, `top`, `pooled` and `transposed` give other instances: of transformed scores, of the best cells of a row,
    of all cells as one class, and of rows in place of classes. Their methods are the same.

    Methods give (C,) float64, NaN for a class without positives. ``ties`` says what happens to equal scores:
    "threshold" takes them together, as one threshold; the others are orders of `vltr_eval.positive_ranks`: "rows",
    "reversed", "worst" (negatives first) and "best" (positives first).

    Args:
        scores: (N, C) array; see `vltr_eval.rank_table`. Scores on a device are copied to the host.
        labels: Labels of the rows; see there.
        mask: Which labels are known; see `vltr_eval.evaluate`. Unknown cells are left out of their class.
        unknown: The value of labels that marks an unknown cell; see there.
        threads: Number of CPU threads; all cores if None.

    Raises:
        ValueError: A score is NaN, a label is not 0/1, or shapes that do not fit.

    Example:
        >>> values = ClassValues(np.float32([[.9], [.5], [.5], [.1]]), np.uint8([[0], [0], [1], [0]]))
        >>> values.step().item(), values.step("worst").item(), values.step("best").item()
        (0.3333333333333333, 0.3333333333333333, 0.5)
    """

    def __init__(
        self, scores: Any, labels: Any, *, mask: Any = None, unknown: Any = None, threads: int | None = None
    ) -> None:
        matrix, positives = read_matrix_and_positives(scores, labels, threads, mask, unknown)
        if matrix.device.index is not None:
            matrix = borrow_matrix("scores", [to_host(as_columns(shard)) for shard in matrix.shards])
            positives = Positives(
                matrix.num_rows, matrix.num_classes, positives.indptr, positives.rows, positives.unknown
            )
        self._matrix = matrix
        self._positives = positives
        self._threads = threads
        self._kept: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"<ClassValues of {self._matrix.num_rows} rows and {self._matrix.num_classes} classes>"

    def _once(self, key: Any, compute: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = compute()
        found: T = self._kept[key]
        return found

    # Facts

    @property
    def num_positives(self) -> np.ndarray:
        """(C,) int64"""
        return self._positives.counts

    @property
    def num_negatives(self) -> np.ndarray:
        """(C,) int64: known cells that are not positive."""
        return self._positives.num_negatives

    @property
    def table(self) -> RankTable:
        """The rank table."""
        return self._once("table", lambda: rank_scan(self._matrix, self._positives, threads=self._threads).table)

    @property
    def _cells(self) -> np.ndarray:
        """(N, C) scores."""

        def read() -> np.ndarray:
            shards = [as_columns(shard).to_numpy() for shard in self._matrix.shards]
            return shards[0] if len(shards) == 1 else np.concatenate(shards)

        return self._once("cells", read)

    @property
    def _labels(self) -> np.ndarray:
        """(N, C) bool"""
        flags = np.zeros((self._matrix.num_rows, self._matrix.num_classes), bool)
        flags[self._positives.rows, np.repeat(np.arange(self._matrix.num_classes), self.num_positives)] = True
        return flags

    @property
    def _known(self) -> np.ndarray:
        """(N, C) bool"""
        unknown = self._positives.unknown
        if unknown is None:
            return np.ones((self._matrix.num_rows, self._matrix.num_classes), bool)
        return ~np.column_stack([unknown.flags_of(c) for c in range(self._matrix.num_classes)])

    # Points of the curve: the positives at or above each, and its precision

    def _points(self, ties: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(C + 1,) offsets, and the positives reached and the precision at each point, descending in score."""
        if ties not in TIES:
            raise ValueError(f"ties: expected one of {', '.join(TIES)}, got {ties!r}")

        def compute() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            if ties == "threshold":
                table = self.table
                return table.indptr, table.tp, table.tp / (table.tp + table.fp)
            ranks = positive_ranks(self._cells, self._positives, order=ties, threads=self._threads)
            number = np.arange(len(ranks.ranks)) - np.repeat(ranks.indptr[:-1], ranks.num_positives) + 1
            return ranks.indptr, number, ranks.precision()

        return self._once(("points", ties), compute)

    def _per_class(self, function: Callable[..., float], indptr: np.ndarray, *columns: np.ndarray) -> np.ndarray:
        out = np.full(len(indptr) - 1, np.nan)
        for c in np.flatnonzero(self.num_positives > 0):
            part = slice(indptr[c], indptr[c + 1])
            out[c] = function(*(column[part] for column in columns), int(self.num_positives[c]))
        return out

    def step(self, ties: str = "threshold") -> np.ndarray:
        """Sum of (R_k - R_(k-1)) P_k over the points: the average precision of scikit-learn, and of sorting code."""

        def area(tp: np.ndarray, precision: np.ndarray, positives: int) -> float:
            return float(np.sum(np.diff(tp, prepend=0) * precision) / positives)

        return self._once(("step", ties), lambda: self._per_class(area, *self._points(ties)))

    def plus_epsilon(self, eps: float = 1e-8, ties: str = "reversed") -> np.ndarray:
        """Precision at the positives, summed and divided by (P + eps), as ASL and ML-Decoder do."""
        positives = self.num_positives
        with np.errstate(invalid="ignore"):
            values: np.ndarray = self.step(ties) * positives / (positives + eps)
        return values

    def envelope(self, ties: str = "threshold") -> np.ndarray:
        """Area under the precision made non-increasing in recall: PASCAL VOC 2010 and later."""

        def area(tp: np.ndarray, precision: np.ndarray, positives: int) -> float:
            highest = np.maximum.accumulate(precision[::-1])[::-1]
            return float(np.sum(np.diff(tp, prepend=0) * highest) / positives)

        return self._once(("envelope", ties), lambda: self._per_class(area, *self._points(ties)))

    def interpolated(self, points: int = 11, ties: str = "threshold") -> np.ndarray:
        """Mean of the highest precision at recalls of at least 0, 0.1, ..., 1 (11) or 0, 0.01, ..., 1 (101).

        The recalls are those of py-faster-rcnn, ``np.arange(0, 1.1, 0.1)``, and of pycocotools,
        ``np.linspace(0, 1, 101)``: some of them are a bit above the decimal number.
        """
        if points not in (11, 101):
            raise ValueError(f"points: expected 11 or 101, got {points!r}")
        recalls = np.arange(0.0, 1.1, 0.1) if points == 11 else np.linspace(0.0, 1.0, 101)

        def mean(tp: np.ndarray, precision: np.ndarray, positives: int) -> float:
            highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
            return float(np.mean(highest[np.searchsorted(tp / positives, recalls)]))

        return self._once(("interpolated", points, ties), lambda: self._per_class(mean, *self._points(ties)))

    def _jumps(self) -> tuple[np.ndarray, ...]:
        """Offsets, and the counts just above and at each threshold: tp before, fp before, tp, fp."""
        table = self.table
        return table.indptr, table.tp - table.positives_at(), table.fp - table.tied, table.tp, table.fp

    def trapezoid(self) -> np.ndarray:
        """Area under straight lines between the points of precision and recall: `auc(recall, precision)`.

        Absent classes are NaN here; with scikit-learn 1.1 and later they are 0.5.
        """

        def area(tp0: np.ndarray, fp0: np.ndarray, tp: np.ndarray, fp: np.ndarray, positives: int) -> float:
            # A threshold of negatives alone has no width, but it moves the point at which the next line begins.
            before = np.divide(tp0, tp0 + fp0, out=np.ones(len(tp)), where=tp0 + fp0 > 0)
            return float(np.sum((tp - tp0) * (before + tp / (tp + fp))) / (2 * positives))

        return self._once("trapezoid", lambda: self._per_class(area, *self._jumps()))

    def davis_goadrich(self) -> np.ndarray:
        """Area under Davis and Goadrich's interpolation between distinct scores: xgboost's aucpr.

        xgboost gives NaN for a class without negatives, too; here such a class is 1.
        """

        def area(tp0: np.ndarray, fp0: np.ndarray, tp: np.ndarray, fp: np.ndarray, positives: int) -> float:
            slope = 1 + (fp - fp0) / (tp - tp0)  # of the positive predictions in the true ones
            offset = (fp0 - (slope - 1) * tp0) / positives
            recall0, recall = tp0 / positives, tp / positives
            bent = np.abs(offset) > 1e-15
            log = np.zeros(len(tp))
            with np.errstate(divide="ignore", invalid="ignore"):
                np.log((slope * recall + offset) / (slope * recall0 + offset), out=log, where=bent)
            return float(np.sum((recall - recall0 - np.where(bent, offset / slope * log, 0.0)) / slope))

        return self._once("davis_goadrich", lambda: self._per_class(area, *self._jumps()))

    # Counts at thresholds that are the same for all classes

    def _counts_at(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positives and negatives of each class that reach each of the ascending thresholds: (C, n) int64 each."""
        cells, labels, known = self._cells, self._labels, self._known
        found = []
        for chosen in (labels & known, ~labels & known):
            counts = np.empty((cells.shape[1], len(thresholds)), np.int64)
            for c in range(cells.shape[1]):
                column = np.sort(cells[chosen[:, c], c])
                counts[c] = len(column) - np.searchsorted(column, thresholds)
            found.append(counts)
        return found[0], found[1]

    def binned(self, bins: int = 100) -> np.ndarray:
        """The step sum over equally spaced thresholds from 0 to 1: ``thresholds=`` of torchmetrics and torcheval.

        A threshold is reached by scores that equal it. Scores below 0 are never reached.
        """

        def compute() -> np.ndarray:
            tp, fp = self._counts_at(equal_thresholds(bins))
            positives = self.num_positives
            precision = np.divide(tp, tp + fp, out=np.zeros(tp.shape), where=tp + fp > 0)
            new = tp - np.concatenate([tp[:, 1:], np.zeros((len(tp), 1), np.int64)], axis=1)
            with np.errstate(invalid="ignore"):
                values: np.ndarray = np.sum(new * precision, axis=1) / positives
            return values

        return self._once(("binned", bins), compute)

    def davis_goadrich_binned(self, bins: int = 200) -> np.ndarray:
        """Davis and Goadrich's interpolation between thresholds: the AUC of Keras, ``curve="PR"``.

        Scores are float32. All cells reach the first threshold and none the last, whatever the scores.
        """

        def compute() -> np.ndarray:
            scores = self.after("float32") if self._matrix.dtype == "float64" else self
            found = scores._counts_at(keras_thresholds(bins))
            counts = self.num_positives, self.num_negatives
            none = np.zeros((len(counts[0]), 1), np.int64)
            tp, fp = (np.hstack([all_[:, None], inner, none]) for all_, inner in zip(counts, found, strict=True))
            return keras_area(tp, fp, self.num_positives)

        return self._once(("davis_goadrich_binned", bins), compute)

    # Other rows and cells

    def _with(self, cells: np.ndarray, labels: Any, mask: Any = None) -> ClassValues:
        return ClassValues(cells, labels, mask=mask, threads=self._threads)

    def padded(self, rows: int = 5, ties: str = "threshold") -> np.ndarray:
        """AP with further rows of score 1 that are positive in every class: BirdCLEF's padded cmAP."""

        def compute() -> np.ndarray:
            ones = np.ones((rows, self._matrix.num_classes), self._cells.dtype)
            flags = np.ones(ones.shape, bool)
            cells = np.concatenate([self._cells, ones])
            labels = np.concatenate([self._labels, flags])
            return self._with(cells, labels, np.concatenate([self._known, flags])).step(ties)

        return self._once(("padded", rows, ties), compute)

    def unlabelled_last(self, ties: str = "rows") -> np.ndarray:
        """AP where the rows without labels rank last in every class: the official numbers of Charades."""

        def compute() -> np.ndarray:
            cells = self._cells.astype(np.result_type(self._cells, np.float32))
            cells[self._positives.labels_per_row() == 0] = -np.inf
            return self._with(cells, self._positives).step(ties)

        return self._once(("unlabelled_last", ties), compute)

    def top(self, k: int, ties: str = "threshold") -> ClassValues:
        """The values of the k best cells of each row alone.

        If equal scores stand at the end of the k, those of the lower classes are kept; "reversed" keeps the higher
        classes, "worst" the negatives and "best" the positives.
        """

        def compute() -> ClassValues:
            first = (
                self._labels if ties == "best" else ~self._labels if ties == "worst" else np.zeros_like(self._labels)
            )
            keys = [self._cells, first, self._known]  # the last is the first to decide
            forward = ties == "reversed"  # a stable sort, read from its end
            if not forward:
                keys = [key[:, ::-1] for key in keys]
            order = np.lexsort([keys[1], keys[0], keys[2]], axis=1)[:, ::-1]
            if not forward:
                order = self._matrix.num_classes - 1 - order
            kept = np.zeros(self._known.shape, bool)
            np.put_along_axis(kept, order[:, :k], True, axis=1)
            kept &= self._known
            return self._with(self._cells, self._labels & kept, kept)

        # Threshold and row order choose the same cells.
        return self._once(("top", k, "rows" if ties == "threshold" else ties), compute)

    def top_n(self, k: int = 20, ties: str = "threshold") -> np.ndarray:
        """AP over the k best cells of each row, divided by all positives of the class: the MAP of YouTube-8M."""
        top = self.top(k, ties)
        values: np.ndarray = np.nan_to_num(top.step(ties)) * top.num_positives
        with np.errstate(invalid="ignore"):
            values /= self.num_positives
        return values

    # Over all cells, and by row

    def pooled(self) -> ClassValues:
        """The values of all cells as one class, row after row."""

        def compute() -> ClassValues:
            mask = None if self._positives.unknown is None else self._known.reshape(-1, 1)
            return self._with(self._cells.reshape(-1, 1), self._labels.reshape(-1, 1), mask)

        return self._once("pooled", compute)

    def micro(self, ties: str = "threshold") -> float:
        """AP of all cells as one class; NaN without positives. An order of rows is that of rows, then of classes."""
        return float(self.pooled().step(ties)[0])

    def gap(self, k: int = 20, ties: str = "threshold") -> float:
        """AP of the k best cells of each row as one class, divided by all positives: GAP of YouTube-8M."""
        top, positives = self.top(k, ties), int(self.num_positives.sum())
        if positives == 0:
            return float("nan")
        kept = int(top.num_positives.sum())
        return top.micro(ties) * kept / positives if kept else 0.0

    def transposed(self) -> ClassValues:
        """The values where each row is ranked over its classes: rows and classes change places."""

        def compute() -> ClassValues:
            mask = None if self._positives.unknown is None else self._known.T
            return self._with(self._cells.T, self._labels.T, mask)

        return self._once("transposed", compute)

    def samples(self, ties: str = "threshold") -> np.ndarray:
        """AP of each row over its classes: (N,) float64, NaN for a row without positives."""
        return self.transposed().step(ties)

    def after(self, transform: str) -> ClassValues:
        """The values of transformed scores: another `ClassValues` with the same methods.

        Args:
            transform: "float32", "float16" or "bfloat16" rounds scores; "sigmoid" is torch's float32 sigmoid;
                "sigmoid-float16" and "sigmoid-bfloat16" round scores, take the sigmoid in float32, and round it.

        Returns:
            The values.
        """
        if transform not in TRANSFORMS:
            raise ValueError(f"transform: expected one of {', '.join(TRANSFORMS)}, got {transform!r}")
        return self._once(("after", transform), lambda: self._with(TRANSFORMS[transform](self._cells), self._positives))


def equal_thresholds(bins: int) -> np.ndarray:
    """Thresholds from 0 to 1 as torch.linspace gives them: (bins,) float32, counted from both ends."""
    step = np.float32(1) / np.float32(bins - 1)
    number = np.arange(bins, dtype=np.float32)
    values: np.ndarray = np.where(number < bins // 2, step * number, np.float32(1) - step * number[::-1])
    return values


def keras_thresholds(bins: int) -> np.ndarray:
    """The least scores that AUC of Keras puts above its inner thresholds i / (bins - 1): (bins - 2,) float32.

    Keras multiplies a score by bins - 1 in float32 and takes the integer below, if it is not an integer.
    """
    factor, number = np.float32(bins - 1), np.arange(1, bins - 1, dtype=np.float32)
    least = number / factor
    for _ in range(4):  # each step moves by one float32; the quotient is less than two away
        lower = np.nextafter(least, np.float32(-1))
        least = np.where(least * factor <= number, np.nextafter(least, np.float32(2)), least)
        least = np.where(lower * factor > number, lower, least)
    values: np.ndarray = least
    return values


def keras_area(tp: np.ndarray, fp: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """The area from counts above ascending thresholds, (C, n) each: (C,) float64, NaN without positives."""
    reached = tp + fp
    new_tp, new = tp[:, :-1] - tp[:, 1:], reached[:, :-1] - reached[:, 1:]
    slope = np.divide(new_tp, new, out=np.zeros(new.shape), where=new > 0)
    intercept = tp[:, 1:] - slope * reached[:, 1:]
    both = (reached[:, :-1] > 0) & (reached[:, 1:] > 0)
    ratio = np.divide(reached[:, :-1], reached[:, 1:], out=np.ones(new.shape), where=both)
    with np.errstate(invalid="ignore"):
        values: np.ndarray = np.sum(slope * (new_tp + intercept * np.log(ratio)), axis=1) / positives
    return values
