"""The average precision of each class under every definition that published code uses.

`ClassValues` computes the values. Its callers decide what a class without positives counts in a mean.

All of them follow from few passes over the scores: the rank table; the cells that reach thresholds of all classes; the
order of rows within mixed ties; and the best cells of each row. A transform of the scores moves thresholds alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from vltr_eval._base.arrays import Matrix, as_columns, borrow_matrix, to_host
from vltr_eval._engine.inputs import read_matrix_and_positives
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.positive_ranks import (
    TIE_ORDERS,
    PositiveRanks,
    count_tied_between,
    interpolated_within,
    means_within,
    rank_ends,
    rank_positives,
)
from vltr_eval._engine.rank_scan import rank_scan
from vltr_eval._engine.rank_table import PositiveScores, RankTable, lane_dtype
from vltr_eval._engine.score_counts import count_at_both, count_at_common, count_in_rows, top_of_rows
from vltr_eval._engine.unknown import UnknownCells
from vltr_eval.convention.bins import equal_thresholds, keras_area, keras_thresholds
from vltr_eval.convention.cell_tables import distinct_within, table_of_cells
from vltr_eval.convention.transforms import TRANSFORMS, Transform

__all__ = ["TIES", "TRANSFORMS", "ClassValues"]

TIES = ("threshold", *TIE_ORDERS)

T = TypeVar("T")

# Which of equal scores at the end of a row's best cells are taken, by the order of ties.
_PREFERENCES = {
    "threshold": "low class",
    "rows": "low class",
    "reversed": "high class",
    "worst": "negative",
    "best": "positive",
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
        self._matrix: Matrix = matrix
        self._positives = positives
        self._threads = threads
        self._kept: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.num_positives)} classes>"

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

    def _whole(self) -> ClassValues:
        """These values from a matrix of scores; it is made where nothing shorter will do."""
        return self

    def _ordered(self, order: str) -> PositiveRanks:
        """Ranks of the positives under "rows" or "reversed"."""
        return rank_positives(self._matrix, self._positives, self.table, order, threads=self._threads)

    def _negatives_at(self, thresholds: np.ndarray) -> np.ndarray:
        """Negatives of each class that reach each of the ascending thresholds: (C, n) int64."""
        wanted = self._lanes(thresholds)
        common, reached, _, _ = self._common_counts()
        place = np.minimum(np.searchsorted(common, wanted), len(common) - 1)
        if np.array_equal(common[place], wanted):
            found = reached[:, place]
        else:
            found = count_at_common(self._matrix, self._positives, wanted, threads=self._threads)
        negatives: np.ndarray = found - self._positives_at(thresholds)
        return negatives

    def expect(self, *, tables: Iterable[str] = (), counts: Iterable[str] = ()) -> None:
        """Say which transforms will be asked for, so that one pass over the scores serves all of them.

        Args:
            tables: Transforms whose ranks are needed.
            counts: Transforms whose counts at common thresholds, or over all cells, are needed.
        """
        self._kept["expected tables"], self._kept["expected counts"] = tuple(tables), tuple(counts)

    def _lanes(self, thresholds: np.ndarray) -> np.ndarray:
        """Thresholds as the core compares scores with them."""
        dtype = lane_dtype(self._matrix.dtype)
        return (thresholds if np.dtype(dtype).kind == "f" else np.ceil(thresholds)).astype(dtype)

    def _common_counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Known cells at thresholds of all classes: thresholds, (C, m), and those of all cells together, (n,)."""

        def count() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
            own, of_all = [self._usual], [self._pool()[0]]
            others = (self.after(name) for name in self._kept.get("expected counts", ()))
            for other in (other for other in others if isinstance(other, _Transformed)):
                own.append(other.bounds_of(self._usual))
                of_all.append(other.bounds_of_pool(other._pool()[0]))
            common = np.unique(np.concatenate([self._lanes(part) for part in own]))
            every = np.unique(np.concatenate([common, *(self._lanes(part) for part in of_all)]))
            counts = count_at_both(self._matrix, self._positives, common, every, threads=self._threads)
            return common, counts[0], every, counts[1]

        return self._once("common counts", count)

    @property
    def _usual(self) -> np.ndarray:
        """The common thresholds of all usual calls."""
        return self._once("usual thresholds", _usual_thresholds)

    def _bounds_reached(self, asked: _Transformed) -> tuple[np.ndarray, np.ndarray]:
        """Known cells that reach the bounds of each group of a transform; one scan counts those of all expected."""
        kept: dict[str, tuple[np.ndarray, np.ndarray]] = self._once("bounds reached", dict)
        if asked.name not in kept:
            names = [asked.name, *self._kept.get("expected tables", ())]
            found = {name: self.after(name) for name in dict.fromkeys(names) if name not in kept}
            several = [view for view in found.values() if isinstance(view, _Transformed)]
            parts = [view.groups() for view in several]
            bounds = np.concatenate([side for part in parts for side in (part.low, part.high)])
            classes = np.concatenate([part.classes for part in parts for _ in range(2)])
            indptr, distinct, place = distinct_within(classes, bounds, self._matrix.num_classes)
            unlabelled = Positives(
                self._matrix.num_rows,
                self._matrix.num_classes,
                np.zeros_like(indptr),
                np.zeros(0, np.uint32),
                self._positives.unknown,
            )
            given = PositiveScores(indptr, distinct)
            reached = rank_scan(self._matrix, unlabelled, thresholds=given, threads=self._threads).table.fp[place]
            sizes = np.repeat([len(part.low) for part in parts], 2)
            sides = np.split(reached, np.cumsum(sizes)[:-1])
            for number, view in enumerate(several):
                kept[view.name] = sides[2 * number], sides[2 * number + 1]
        return kept[asked.name]

    def _positives_at(self, thresholds: np.ndarray) -> np.ndarray:
        """Positives of each class that reach each of the ascending thresholds: (C, n) int64."""
        table, width = self.table, len(thresholds) + 1
        place = np.searchsorted(thresholds, table.thresholds, side="right")
        place += np.repeat(np.arange(table.num_classes) * width, np.diff(table.indptr))
        counts = np.bincount(place, weights=table.positives_at(), minlength=table.num_classes * width)
        counts = counts.reshape(-1, width)[:, ::-1]
        reached: np.ndarray = np.cumsum(counts, axis=1)[:, -2::-1].astype(np.int64)
        return reached

    @property
    def _is_double(self) -> bool:
        """Whether float32 does not hold all scores."""
        return self._matrix.dtype in ("float64", "int32", "uint32", "int64", "uint64")

    # The matrix, for what is computed from a copy

    @property
    def _cells(self) -> np.ndarray:
        """(N, C) scores."""

        def read() -> np.ndarray:
            shards = [as_columns(shard).to_numpy() for shard in self._matrix.shards]
            return shards[0] if len(shards) == 1 else np.concatenate(shards)

        return self._once("cells", read)

    def _rows_of(self, chosen: np.ndarray) -> np.ndarray:
        """A copy of the scores of some rows. chosen: (N,) bool."""
        shards = [as_columns(shard).to_numpy() for shard in self._matrix.shards]
        bounds = np.cumsum([len(shard) for shard in shards])[:-1]
        parts = [shard[own] for shard, own in zip(shards, np.split(chosen, bounds), strict=True)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

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

    def _with(self, cells: Any, labels: Any, mask: Any = None) -> ClassValues:
        return ClassValues(cells, labels, mask=mask, threads=self._threads)

    # Values of each class

    def precision_at_positives(self, ties: str) -> tuple[np.ndarray, np.ndarray]:
        """The precision at each positive, descending in score in its class, with offsets of the classes.

        Returns:
            (C + 1,) int64 and (P,) float64.
        """
        if ties not in TIES:
            raise ValueError(f"ties: expected one of {', '.join(TIES)}, got {ties!r}")

        def compute() -> tuple[np.ndarray, np.ndarray]:
            table = self.table
            if ties == "threshold":
                reached = table.tp + table.fp
                indptr = np.concatenate([[0], np.cumsum(table.num_positives)])
                return indptr, np.repeat(table.tp / reached, table.positives_at())
            if ties != "best" and not table.tied.any():
                return self.precision_at_positives("best")  # no order changes a rank
            ranks = self._ordered(ties) if ties in ("rows", "reversed") else rank_ends(table, ties)
            return ranks.indptr, ranks.precision()

        return self._once(("precision", ties), compute)

    def _of_precision(self, key: Any, ties: str, function: Callable[..., np.ndarray]) -> np.ndarray:
        """A value of each class from the precision at its positives, once for orders that give the same."""
        found = self.precision_at_positives(ties)
        return self._once((key, id(found)), lambda: function(*found))

    def step(self, ties: str = "threshold") -> np.ndarray:
        """Sum of (R_k - R_(k-1)) P_k over the points: the average precision of scikit-learn, and of sorting code."""
        return self._of_precision("step", ties, means_within)

    def plus_epsilon(self, eps: float = 1e-8, ties: str = "reversed") -> np.ndarray:
        """Precision at the positives, summed and divided by (P + eps), as ASL and ML-Decoder do."""
        positives = self.num_positives
        values: np.ndarray = self.step(ties) * positives / (positives + eps)
        return values

    def envelope(self, ties: str = "threshold") -> np.ndarray:
        """Area under the precision made non-increasing in recall: PASCAL VOC 2010 and later."""
        return self._of_precision("envelope", ties, partial(interpolated_within, points=None))

    def interpolated(self, points: int = 11, ties: str = "threshold") -> np.ndarray:
        """Mean of the highest precision at recalls of at least 0, 0.1, ..., 1 (11) or 0, 0.01, ..., 1 (101).

        The recalls are those of py-faster-rcnn, ``np.arange(0, 1.1, 0.1)``, and of pycocotools,
        ``np.linspace(0, 1, 101)``: some of them are a bit above the decimal number.
        """
        if points not in (11, 101):
            raise ValueError(f"points: expected 11 or 101, got {points!r}")
        return self._of_precision(("interpolated", points), ties, partial(interpolated_within, points=points))

    def _jumps(self) -> tuple[np.ndarray, ...]:
        """The counts just above and at each threshold: tp before, fp before, tp, fp. And the positives of the class."""
        table = self.table
        positives = np.repeat(table.num_positives, np.diff(table.indptr))
        return table.tp - table.positives_at(), table.fp - table.tied, table.tp, table.fp, positives

    def _sums(self, values: np.ndarray) -> np.ndarray:
        """Sums of a value at each threshold: (C,) float64, NaN without positives."""
        counts = np.diff(self.table.indptr)
        means: np.ndarray = means_within(self.table.indptr, values) * counts
        return means

    def trapezoid(self) -> np.ndarray:
        """Area under straight lines between the points of precision and recall: `auc(recall, precision)`.

        Absent classes are NaN here; with scikit-learn 1.1 and later they are 0.5.
        """

        def compute() -> np.ndarray:
            tp0, fp0, tp, fp, positives = self._jumps()
            # A threshold of negatives alone has no width, but it moves the point at which the next line begins.
            before = np.divide(tp0, tp0 + fp0, out=np.ones(len(tp)), where=tp0 + fp0 > 0)
            return self._sums((tp - tp0) * (before + tp / (tp + fp)) / (2 * positives))

        return self._once("trapezoid", compute)

    def davis_goadrich(self) -> np.ndarray:
        """Area under Davis and Goadrich's interpolation between distinct scores: xgboost's aucpr.

        xgboost gives NaN for a class without negatives, too; here such a class is 1.
        """

        def compute() -> np.ndarray:
            tp0, fp0, tp, fp, positives = self._jumps()
            slope = 1 + (fp - fp0) / (tp - tp0)  # of the positive predictions in the true ones
            offset = (fp0 - (slope - 1) * tp0) / positives
            recall0, recall = tp0 / positives, tp / positives
            bent = np.abs(offset) > 1e-15
            log = np.zeros(len(tp))
            with np.errstate(divide="ignore", invalid="ignore"):
                np.log((slope * recall + offset) / (slope * recall0 + offset), out=log, where=bent)
            return self._sums((recall - recall0 - np.where(bent, offset / slope * log, 0.0)) / slope)

        return self._once("davis_goadrich", compute)

    # Thresholds that are the same for all classes

    def _counts_at(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positives and negatives of each class that reach each of the ascending thresholds: (C, n) int64 each."""
        # The thresholds of all usual calls are counted in one pass.
        usual = self._usual
        places = np.minimum(np.searchsorted(usual, thresholds), len(usual) - 1)
        if not np.array_equal(usual[places], thresholds):
            return self._positives_at(thresholds), self._negatives_at(thresholds)
        tp = self._once("usual positives", lambda: self._positives_at(usual))
        fp = self._once("usual negatives", lambda: self._negatives_at(usual))
        return tp[:, places], fp[:, places]

    def binned(self, bins: int = 100) -> np.ndarray:
        """The step sum over equally spaced thresholds from 0 to 1: ``thresholds=`` of torchmetrics and torcheval.

        A threshold is reached by scores that equal it. Scores below 0 are never reached.
        """

        def compute() -> np.ndarray:
            tp, fp = self._counts_at(equal_thresholds(bins))
            precision = np.divide(tp, tp + fp, out=np.zeros(tp.shape), where=tp + fp > 0)
            new = tp - np.concatenate([tp[:, 1:], np.zeros((len(tp), 1), np.int64)], axis=1)
            with np.errstate(invalid="ignore"):
                values: np.ndarray = np.sum(new * precision, axis=1) / self.num_positives
            return values

        return self._once(("binned", bins), compute)

    def davis_goadrich_binned(self, bins: int = 200) -> np.ndarray:
        """Davis and Goadrich's interpolation between thresholds: the AUC of Keras, ``curve="PR"``.

        Scores are float32. All cells reach the first threshold and none the last, whatever the scores.
        """

        def compute() -> np.ndarray:
            scores = self.after("float32") if self._is_double else self
            found = scores._counts_at(keras_thresholds(bins))
            counts = self.num_positives, self.num_negatives
            none = np.zeros((len(counts[0]), 1), np.int64)
            tp, fp = (np.hstack([all_[:, None], inner, none]) for all_, inner in zip(counts, found, strict=True))
            return keras_area(tp, fp, self.num_positives)

        return self._once(("davis_goadrich_binned", bins), compute)

    # Other rows

    def padded(self, rows: int = 5, score: float = 1.0, positive: bool = True) -> np.ndarray:
        """AP with further rows of one score that are positive in every class: BirdCLEF's padded cmAP.

        Args:
            rows: The number of rows.
            score: Their score.
            positive: Whether they are positive. Negative ones leave a class without positives NaN.

        Returns:
            The values, ties as one threshold.
        """

        def compute() -> np.ndarray:
            table, at = self.table, np.array([score])
            tp0, fp0 = (counts[:, 0] for counts in self._counts_at(at))
            more = np.where(table.thresholds <= score, rows, 0)
            tp, fp = (table.tp + more, table.fp) if positive else (table.tp, table.fp + more)
            sums = np.nan_to_num(self._sums(table.positives_at() * (tp / (tp + fp))))
            if positive:
                sums += rows * ((tp0 + rows) / (tp0 + rows + fp0))
            with np.errstate(invalid="ignore"):
                values: np.ndarray = sums / (self.num_positives + (rows if positive else 0))
            return values

        return self._once(("padded", rows, score, positive), compute)

    def unlabelled_last(self, ties: str = "rows") -> np.ndarray:
        """AP where the rows without labels rank last in every class: the official numbers of Charades."""

        def compute() -> ClassValues:
            if not np.isneginf(self.table.thresholds.astype(np.float64)).any():
                return self.labelled_rows()
            whole = self._whole()  # not all rows without labels are last among scores of -inf
            empty = whole._positives.labels_per_row() == 0
            if not empty.any():
                return self
            cells = whole._cells.astype(np.result_type(whole._cells, np.float32))
            cells[empty] = -np.inf
            return self._with(cells, whole._positives)

        return self._once("unlabelled last", compute).step(ties)

    def labelled_rows(self) -> ClassValues:
        """The values of the rows with labels alone."""

        def compute() -> ClassValues:
            whole = self._whole()
            empty = whole._positives.labels_per_row() == 0
            return _LabelledRows(whole, empty) if empty.any() and not empty.all() else self

        return self._once("labelled rows", compute)

    def last_labels(self, softmax: bool = False) -> ClassValues:
        """The values of one label for each labelled row, the highest class of its labels; no other row counts.

        Args:
            softmax: Whether scores are replaced with their softmax over the row, in float32.
        """
        return self._once(("last labels", softmax), lambda: _LastLabels(self._whole(), softmax))

    # The best cells of each row

    @property
    def _by_row(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The positives by row: (N + 1,) int64 offsets, classes that ascend in each row, and rows."""

        def sort() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            positives = self._positives
            classes = np.repeat(np.arange(positives.num_classes, dtype=np.uint32), positives.counts)
            order = np.argsort(positives.rows, kind="stable")
            indptr = np.concatenate([[0], np.cumsum(np.bincount(positives.rows, minlength=positives.num_rows))])
            return indptr, classes[order], positives.rows[order]

        return self._once("by row", sort)

    def top(self, k: int, ties: str = "threshold") -> ClassValues:
        """The values of the k best cells of each row alone.

        If equal scores stand at the end of the k, those of the lower classes are kept; "reversed" keeps the higher
        classes, "worst" the negatives and "best" the positives.
        """
        if k < 1:
            raise ValueError(f"k: expected at least 1, got {k!r}")
        if k >= self._matrix.num_classes:
            return self
        preference = _PREFERENCES[ties]
        # Few rows have more equal cells than places; without any, the preference changes nothing.
        first: _ListedCells = self._once(("top", k, "low class"), lambda: self._top(k, "low class"))
        if first.open_rows == 0:
            return first
        return self._once(("top", k, preference), lambda: self._top(k, preference))

    def _top(self, k: int, preference: str) -> _ListedCells:
        indptr, classes, _ = self._by_row
        *cells, open_rows = top_of_rows(
            self._matrix, self._positives, indptr, classes, k, preference, threads=self._threads
        )
        found = cells[0].ravel() >= 0
        rows = np.repeat(np.arange(self._matrix.num_rows), k)[found]
        listed = _ListedCells(self, rows, *(part.ravel()[found] for part in cells))
        listed.open_rows = open_rows
        return listed

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
        return self._once("pooled", lambda: _Pooled(self))

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
        return self._once("transposed", lambda: _Transposed(self))

    def samples(self, ties: str = "threshold") -> np.ndarray:
        """AP of each row over its classes: (N,) float64, NaN for a row without positives."""
        return self.transposed().step(ties)

    # Transformed scores

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
        return self._once(("after", transform), lambda: self._after(TRANSFORMS[transform]))

    def _after(self, transform: Transform) -> ClassValues:
        if self._matrix.dtype in ("int64", "uint64"):
            return self._with(transform(self._cells), self._positives)
        if transform.name == "float32" and not self._is_double:
            return self
        return _Transformed(self, transform)

    # Scores that reach values of these scores; transformed scores have others

    def _source(self) -> ClassValues:
        """The values of the scores that `_bounds` are bounds of."""
        return self

    def _seen(self, scores: np.ndarray) -> np.ndarray:
        """The values that rank in place of scores."""
        return scores

    def _bounds(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The least scores that reach the value of each, and that are above it, and whether there are any above it."""
        values = scores
        if values.dtype.kind == "f":
            with np.errstate(over="ignore"):
                return values, np.nextafter(values, values.dtype.type(np.inf)), values < np.inf
        some = values < np.iinfo(values.dtype).max
        return values, values + some.astype(values.dtype), some

    def _pool(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct scores of all positives, ascending, and the number of positives with each."""
        table = self.table
        values, inverse = np.unique(table.thresholds, return_inverse=True)
        return values, np.bincount(inverse, weights=table.positives_at(), minlength=len(values)).astype(np.int64)

    def _cells_reaching_values(self, values: np.ndarray) -> np.ndarray:
        """All known cells that reach each of the ascending values: (n,) int64."""
        wanted = self._lanes(values)
        _, _, every, total = self._common_counts()
        place = np.minimum(np.searchsorted(every, wanted), max(0, len(every) - 1))
        if np.array_equal(every[place], wanted):
            reached: np.ndarray = total[place]
            return reached
        alone = count_at_common(self._matrix, self._positives, wanted, pooled=True, threads=self._threads)
        reached = alone[0]
        return reached

    def _scores_at(self, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Scores of single cells, as the table has them."""
        out = np.empty(len(rows), self.table.thresholds.dtype)
        first = 0
        for shard in map(as_columns, self._matrix.shards):
            own = (rows >= first) & (rows < first + shard.shape[0])
            found = shard.bits()[rows[own] - first, classes[own]]
            if shard.dtype == "bfloat16":
                found = (found.astype(np.uint32) << 16).view(np.float32)
            out[own] = found
            first += shard.shape[0]
        return out


class _Derived(ClassValues):
    """Values of other scores, labels or cells than those of a matrix. The matrix is made on demand."""

    def __init__(self, base: ClassValues) -> None:
        self._base = base
        self._threads = base._threads
        self._kept = {}

    def _make(self) -> ClassValues:
        """The values of a matrix."""
        raise NotImplementedError

    def _whole(self) -> ClassValues:
        return self._once("whole", self._make)

    @property
    def _matrix(self) -> Matrix:  # type: ignore[override]
        return self._whole()._matrix

    @property
    def _positives(self) -> Positives:  # type: ignore[override]
        return self._whole()._positives

    @property
    def num_positives(self) -> np.ndarray:
        return self.table.num_positives

    @property
    def num_negatives(self) -> np.ndarray:
        return self.table.num_negatives

    def _ordered(self, order: str) -> PositiveRanks:
        whole = self._whole()
        return rank_positives(whole._matrix, whole._positives, whole.table, order, threads=self._threads)

    def top(self, k: int, ties: str = "threshold") -> ClassValues:
        return self._whole().top(k, ties)

    def pooled(self) -> ClassValues:
        return self._whole().pooled()

    def transposed(self) -> ClassValues:
        return self._whole().transposed()

    def after(self, transform: str) -> ClassValues:
        return self._whole().after(transform)

    @property
    def _is_double(self) -> bool:
        return self._base._is_double


class _Groups(NamedTuple):
    """Thresholds of a class that a transform makes equal, descending in each class.

    Attributes:
        indptr: (C + 1,) offsets of the classes.
        classes: (G,) the class of each group.
        seen: (G,) the transformed score.
        starts: (G,) the first threshold of the table.
        ends: (G,) the last one.
        low: (G,) the least score with the transformed one.
        high: (G,) the least score with a higher one.
        some: (G,) whether there is a higher one.
    """

    indptr: np.ndarray
    classes: np.ndarray
    seen: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    low: np.ndarray
    high: np.ndarray
    some: np.ndarray


class _Transformed(_Derived):
    """The values of transformed scores: thresholds of the scores themselves."""

    def __init__(self, base: ClassValues, transform: Transform) -> None:
        super().__init__(base)
        self._transform = transform

    def _make(self) -> ClassValues:
        return self._with(self._transform(self._base._cells), self._base._positives)

    @property
    def num_positives(self) -> np.ndarray:
        return self._base.num_positives

    @property
    def num_negatives(self) -> np.ndarray:
        return self._base.num_negatives

    @property
    def _is_double(self) -> bool:
        return False

    @property
    def table(self) -> RankTable:
        return self._once("table", self._count)

    @property
    def name(self) -> str:
        """The name of the transform."""
        return self._transform.name

    def groups(self) -> _Groups:
        """The thresholds that are equal after the transform."""

        def find() -> _Groups:
            raw = self._base.table
            seen = self._transform(raw.thresholds)
            first = np.zeros(len(seen), bool)  # of a group
            first[raw.indptr[:-1][np.diff(raw.indptr) > 0]] = True
            first[1:] |= seen[1:] != seen[:-1]
            starts = np.flatnonzero(first)
            ends = np.append(starts[1:], len(seen))[: len(starts)] - 1
            low = self._transform.least(seen[ends], raw.thresholds[ends])
            high, some = self._transform.above(seen[starts], raw.thresholds[starts])
            high = np.where(some, high, raw.thresholds[starts])  # some number of which nothing is counted
            per_class = np.diff(np.concatenate([[0], np.cumsum(first)])[raw.indptr])
            indptr = np.concatenate([[0], np.cumsum(per_class)])
            classes = np.repeat(np.arange(len(per_class)), per_class)
            return _Groups(indptr, classes, seen[starts], starts, ends, low, high, some)

        return self._once("groups", find)

    def _count(self) -> RankTable:
        raw, groups = self._base.table, self.groups()
        if not len(groups.seen):
            return raw
        reached, above = self._base._bounds_reached(self)
        tp = raw.tp[groups.ends]
        before = raw.tp[groups.starts] - raw.positives_at()[groups.starts]
        fp = reached - tp
        fp_above = np.where(groups.some, above - before, 0)
        return RankTable(raw.num_rows, groups.indptr, groups.seen, tp, fp, fp - fp_above, unknown=raw.unknown)

    def _ordered(self, order: str) -> PositiveRanks:
        table, groups, base = self.table, self.groups(), self._base
        found = rank_ends(table, order)
        with_ties = np.add.reduceat(np.append(table.tied, 0), groups.indptr[:-1]) > 0
        with_ties &= np.diff(groups.indptr) > 0
        chosen = with_ties[groups.classes]
        sizes = table.positives_at()[chosen]
        # The bounds of each group, descending. The upper one is often the lower one of the group before.
        kept = np.column_stack([groups.some[chosen], np.ones(len(sizes), bool)]).ravel()
        bounds = np.column_stack([groups.high[chosen], groups.low[chosen]]).ravel()[kept]
        positives = np.column_stack([np.zeros_like(sizes), sizes]).ravel()[kept]
        classes = np.repeat(groups.classes[chosen], 2)[kept]
        again = np.zeros(len(bounds), bool)
        again[1:] = (bounds[1:] == bounds[:-1]) & (classes[1:] == classes[:-1])
        bounds, classes, positives = bounds[~again], classes[~again], positives[~again]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(classes, minlength=table.num_classes))])
        start = np.concatenate([[0], np.cumsum(positives)])
        before = count_tied_between(
            base._matrix, base._positives, PositiveScores(indptr, bounds), start, threads=self._threads
        )
        if order == "reversed":
            stop = np.cumsum(sizes)
            first, last = np.repeat(stop - sizes, sizes), np.repeat(stop - 1, sizes)
            before = np.repeat(table.tied[chosen], sizes) - before[first + last - np.arange(len(before))]
        found.ranks[np.repeat(chosen, table.positives_at())] += before
        return found

    def bounds_of(self, thresholds: np.ndarray) -> np.ndarray:
        """The least scores that reach ascending thresholds; those that nothing reaches get the highest."""
        values = thresholds.astype(np.float32)
        dtype = self._base.table.thresholds.dtype.type
        highest = self._transform(np.array([np.inf], dtype))
        return self._transform.least(np.minimum(values, highest), np.full(len(values), np.inf, dtype))

    def bounds_of_pool(self, values: np.ndarray) -> np.ndarray:
        """The least scores that reach ascending values of positives."""
        raw = np.sort(self._base.table.thresholds)
        ends = np.searchsorted(self._transform(raw), values, side="right") - 1  # a score of each value
        return self._transform.least(values, raw[ends])

    def _negatives_at(self, thresholds: np.ndarray) -> np.ndarray:
        counted = self._base._negatives_at(self.bounds_of(thresholds))
        counted[:, thresholds.astype(np.float32) > self._transform(np.array([np.inf]))] = 0
        return counted

    def _source(self) -> ClassValues:
        return self._base

    def _seen(self, scores: np.ndarray) -> np.ndarray:
        return self._transform(scores)

    def _bounds(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        seen = self._transform(scores)
        low = self._transform.least(seen, scores)
        high, some = self._transform.above(seen, scores)
        return low, np.where(some, high, scores), some

    def pooled(self) -> ClassValues:
        return self._once("pooled", lambda: _Pooled(self))

    def transposed(self) -> ClassValues:
        return self._once("transposed", lambda: _Transposed(self))

    def _cells_reaching_values(self, values: np.ndarray) -> np.ndarray:
        return self._base._cells_reaching_values(self.bounds_of_pool(values))


class _LabelledRows(_Derived):
    """The rows with labels alone: the counts of all rows without those of the others."""

    def __init__(self, base: ClassValues, empty: np.ndarray) -> None:
        super().__init__(base)
        self._empty = empty

    def _make(self) -> ClassValues:
        base = self._base
        labelled = base._positives.select(~self._empty)
        return ClassValues(base._rows_of(~self._empty), labelled, threads=self._threads)

    @property
    def num_positives(self) -> np.ndarray:
        return self._base.num_positives

    @property
    def table(self) -> RankTable:
        return self._once("table", self._count)

    def _count(self) -> RankTable:
        if 2 * np.count_nonzero(self._empty) > len(self._empty):
            return self._make().table  # its copy of the scores is not kept
        base, raw = self._base, self._base.table
        given = PositiveScores(raw.indptr, raw.thresholds)
        others = base._positives.select(self._empty)
        counted = rank_scan(base._rows_of(self._empty), others, thresholds=given, threads=self._threads).table
        kept = base._positives.select(~self._empty).unknown
        return RankTable(
            int(np.count_nonzero(~self._empty)),
            raw.indptr,
            raw.thresholds,
            raw.tp,
            raw.fp - counted.fp,
            raw.tied - counted.tied,
            unknown=None if kept is None else kept.counts,
        )


class _LastLabels(_Derived):
    """The highest label of each labelled row as its only one. Unknown cells count as negatives."""

    def __init__(self, base: ClassValues, softmax: bool) -> None:
        super().__init__(base)
        self._softmax = softmax

    def _positives_of_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """The highest label of each row, -1 for none, and whether each positive is one: (N,) int64 and (P,) bool."""
        positives = self._base._positives
        classes = np.repeat(np.arange(positives.num_classes), positives.counts)
        last = np.full(positives.num_rows, -1)
        last[positives.rows] = classes  # classes ascend, and the last assignment stays
        return last, last[positives.rows] == classes

    def _make(self) -> ClassValues:
        last, _ = self._positives_of_rows()
        labelled = last >= 0
        every = labelled.all() and not self._softmax
        cells = self._base._cells if every else self._base._rows_of(labelled)
        if self._softmax:
            cells = _softmax(cells)
        one = one_label_positives(last[labelled], len(self._base.num_positives))
        return ClassValues(cells, one, threads=self._threads)

    @property
    def table(self) -> RankTable:
        return self._once("table", self._count)

    def _count(self) -> RankTable:
        positives = self._base._positives
        if self._softmax or positives.unknown is not None:
            return self._make().table  # its copy of the scores is not kept
        seen = self._base.labelled_rows().table  # its thresholds are those of all labels
        classes = np.repeat(np.arange(positives.num_classes), positives.counts)
        scores = self._base._scores_at(positives.rows.astype(np.int64), classes)
        order = np.lexsort([-scores if scores.dtype.kind == "f" else ~scores, classes])
        threshold = np.empty(len(order), np.int64)
        threshold[order] = np.repeat(np.arange(len(seen.tp)), seen.positives_at())
        own = np.bincount(threshold[self._positives_of_rows()[1]], minlength=len(seen.tp))
        total = np.concatenate([[0], np.cumsum(own)])
        tp = total[1:] - np.repeat(total[seen.indptr[:-1]], np.diff(seen.indptr))
        kept = own > 0
        return RankTable(
            seen.num_rows,
            np.concatenate([[0], np.cumsum(kept)])[seen.indptr],
            seen.thresholds[kept],
            tp[kept],
            (seen.tp + seen.fp - tp)[kept],
            (seen.tied + seen.positives_at() - own)[kept],
        )


def _softmax(cells: np.ndarray) -> np.ndarray:
    """The softmax of each row in float32. Overwrites a float32 copy."""
    shifted = cells.astype(np.float32, copy=False)
    for rows in np.array_split(shifted, max(1, min(len(shifted), shifted.nbytes >> 18))):  # a cache holds each part
        rows -= rows.max(axis=1, keepdims=True)
        np.exp(rows, out=rows)
        rows /= rows.sum(axis=1, keepdims=True, dtype=np.float32)
    return shifted


def one_label_positives(labels: np.ndarray, num_classes: int) -> Positives:
    """The positives of rows with one label each. labels: (N,) the class of each row."""
    indptr = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=num_classes))])
    return Positives(len(labels), num_classes, indptr, np.argsort(labels, kind="stable").astype(np.uint32))


class _Pooled(_Derived):
    """All cells as one class."""

    def _make(self) -> ClassValues:
        whole = self._base._whole()
        known = None if whole._positives.unknown is None else whole._known.reshape(-1, 1)
        return self._with(whole._cells.reshape(-1, 1), whole._labels.reshape(-1, 1), known)

    @property
    def num_positives(self) -> np.ndarray:
        total: np.ndarray = self._base.num_positives.sum(keepdims=True)
        return total

    @property
    def num_negatives(self) -> np.ndarray:
        total: np.ndarray = self._base.num_negatives.sum(keepdims=True)
        return total

    @property
    def table(self) -> RankTable:
        return self._once("table", lambda: self._whole().table)

    def _counts_at(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tp, fp = self._base._counts_at(thresholds)
        return tp.sum(axis=0, keepdims=True), fp.sum(axis=0, keepdims=True)

    def step(self, ties: str = "threshold") -> np.ndarray:
        if ties != "threshold":
            return super().step(ties)

        def compute() -> np.ndarray:
            values, counts = self._base._pool()
            if not len(values):
                return np.full(1, np.nan)
            tp = np.cumsum(counts[::-1])[::-1]
            reached = self._base._cells_reaching_values(values)
            precision: np.ndarray = np.sum(counts * (tp / reached), keepdims=True) / tp[0]
            return precision

        return self._once("step", compute)


class _Transposed(_Derived):
    """Rows in place of classes."""

    def _make(self) -> ClassValues:
        whole = self._base._whole()
        indptr, classes, _ = whole._by_row
        unknown = whole._positives.unknown
        positives = Positives(whole._matrix.num_classes, whole._matrix.num_rows, indptr, classes)
        if unknown is not None:
            rows, of_classes = unknown.pairs()
            cells = UnknownCells.of_pairs(of_classes, rows, positives.num_rows, positives.num_classes)
            positives = positives.with_unknown(cells)
        return self._with(whole._cells.T, positives)

    @property
    def table(self) -> RankTable:
        return self._once("table", self._count)

    def _count(self) -> RankTable:
        base = self._base
        source = base._source()
        indptr, classes, rows = source._by_row
        scores = source._scores_at(rows.astype(np.int64), classes.astype(np.int64))
        order = np.lexsort([-scores if scores.dtype.kind == "f" else ~scores, rows])
        low, high, some = base._bounds(scores[order])
        scores = base._seen(scores[order])
        matrix, positives = source._matrix, source._positives
        fp, above = (
            _in_rows(matrix, positives, indptr, classes, order, bounds, base._threads) for bounds in (low, high)
        )
        above[~some] = 0
        last = np.ones(len(scores), bool)  # of equal scores of a row
        last[:-1] = (scores[1:] != scores[:-1]) | (rows[1:] != rows[:-1])
        counts = np.arange(len(scores)) - np.repeat(indptr[:-1], np.diff(indptr)) + 1
        unknown = None
        if positives.unknown is not None:
            unknown = np.bincount(positives.unknown.pairs()[0], minlength=matrix.num_rows).astype(np.int64)
        return RankTable(
            matrix.num_classes,
            np.concatenate([[0], np.cumsum(last)])[indptr],
            scores[last],
            counts[last],
            fp[last],
            (fp - above)[last],
            unknown=unknown,
        )


def _in_rows(
    matrix: Matrix,
    positives: Positives,
    indptr: np.ndarray,
    classes: np.ndarray,
    order: np.ndarray,
    bounds: np.ndarray,
    threads: int | None,
) -> np.ndarray:
    """Negatives of its row that reach the bound of each positive, in an order of the positives."""
    in_class_order = np.empty_like(bounds)
    in_class_order[order] = bounds
    counts: np.ndarray = count_in_rows(matrix, positives, indptr, classes, in_class_order, threads=threads)[order]
    return counts


class _ListedCells(_Derived):
    """Some cells alone, which are listed."""

    def __init__(
        self, base: ClassValues, rows: np.ndarray, classes: np.ndarray, scores: np.ndarray, hits: np.ndarray
    ) -> None:
        super().__init__(base)
        self.rows, self.classes, self.scores, self.hits = rows, classes, scores, hits
        self.open_rows = 0

    def _make(self) -> ClassValues:
        whole = self._base._whole()
        kept = np.zeros((whole._matrix.num_rows, whole._matrix.num_classes), bool)
        kept[self.rows, self.classes] = True
        return self._with(whole._cells, whole._labels & kept, kept)

    @property
    def table(self) -> RankTable:
        num_classes = len(self._base.num_positives)
        return self._once(
            "table", lambda: table_of_cells(self.classes, num_classes, self.scores, self.hits, self._threads)
        )

    def pooled(self) -> ClassValues:
        return self._once("pooled", lambda: _ListedPool(self))


class _ListedPool(_Derived):
    """Listed cells as one class."""

    def __init__(self, base: _ListedCells) -> None:
        super().__init__(base)
        self._cells_of = base

    def _make(self) -> ClassValues:
        return self._with(self._cells_of.scores.reshape(-1, 1), self._cells_of.hits.reshape(-1, 1))

    @property
    def table(self) -> RankTable:
        return self._once("table", self._count)

    def _count(self) -> RankTable:
        cells = self._cells_of
        return table_of_cells(np.zeros_like(cells.classes), 1, cells.scores, cells.hits, self._threads)


def _usual_thresholds() -> np.ndarray:
    one = np.ones(1, np.float32)  # the padding, which passes the sigmoid, too
    padding = [transform(one) for name, transform in TRANSFORMS.items() if name.startswith("sigmoid")]
    return np.unique(np.concatenate([equal_thresholds(100), equal_thresholds(200), keras_thresholds(200), *padding]))
