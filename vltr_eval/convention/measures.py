"""The mean of each convention, from the average precisions of the classes that `ClassValues` computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from vltr_eval._base.arrays import Matrix, as_columns, borrow_matrix, to_host
from vltr_eval._engine.labels import Positives
from vltr_eval.convention.values import TRANSFORMS, ClassValues
from vltr_eval.intervals.distributions import normal_inverse
from vltr_eval.metrics.sampled import sampled_average_precision

__all__ = ["Measure", "Measures", "Outcome"]

T = TypeVar("T")

# A function of the values of one view of the input and of an order of equal scores.
PerClass = Callable[[ClassValues, str], np.ndarray]

_MOST_SORTED_IN_ROWS = 16  # values that torch.sort sorts without changing the order of equal ones, on a CPU
_MOST_LISTED = 3  # classes that a sentence names
_HALF_DTYPES = {"float16": "sigmoid-float16", "bfloat16": "sigmoid-bfloat16"}

# The score of a class without positives, by the name of the rule. "left out", "nan" and "error" are no numbers.
ABSENT_VALUES = {"zero": 0.0, "half": 0.5, "one": 1.0}


class Outcome(NamedTuple):
    """The value of one convention.

    Attributes:
        low: The value under the worst order of equal scores; NaN if the convention gives none.
        high: The value under the best order; the same number unless the original leaves the order open.
        joined: The value with equal scores as one threshold.
        why: The reason of a NaN; "" if there is a value.
        in_rows: The value in row order, if the original has an interval but keeps this order in some cases; else NaN.
    """

    low: float
    high: float
    joined: float
    why: str = ""
    in_rows: float = math.nan


Measure = Callable[["Measures"], Outcome]


class Measures:
    """Everything that conventions are computed from, for one input. Each part is computed on first use and kept.

    Args:
        matrix: (N, C) scores; those on a device are copied to the host.
        positives: The labels.
        top_k: The best cells of each row that YouTube-8M's metrics keep.
        trials: Trials of sampled AP.
        threads: Number of CPU threads; all cores if None.
    """

    def __init__(
        self, matrix: Matrix, positives: Positives, *, top_k: int = 20, trials: int = 15, threads: int | None = None
    ) -> None:
        if matrix.device.index is not None:
            matrix = borrow_matrix("scores", [to_host(as_columns(shard)) for shard in matrix.shards])
            indptr, rows = positives.indptr, positives.rows
            positives = Positives(matrix.num_rows, matrix.num_classes, indptr, rows, positives.unknown)
        self.matrix, self.positives = matrix, positives
        self.top_k, self.trials, self.threads = top_k, trials, threads
        self._kept: dict[Any, Any] = {}

    def once(self, key: Any, compute: Callable[[], T]) -> T:
        """Compute on the first call with a key, and return the kept result after that."""
        if key not in self._kept:
            self._kept[key] = compute()
        found: T = self._kept[key]
        return found

    # Facts

    @property
    def num_classes(self) -> int:
        return self.matrix.num_classes

    @property
    def absent(self) -> np.ndarray:
        """The classes without positives: (K,) int64."""
        return np.flatnonzero(self.positives.counts == 0)

    @property
    def full(self) -> np.ndarray:
        """The classes with positives and without negatives: (K,) int64."""
        return np.flatnonzero((self.positives.counts > 0) & (self.positives.num_negatives == 0))

    @property
    def unlabelled(self) -> np.ndarray:
        """The rows without labels: (K,) int64."""
        return np.flatnonzero(self.positives.labels_per_row() == 0)

    @property
    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest score."""

        def look() -> tuple[float, float]:
            ends = [(block.min(), block.max()) for block in self._blocks() if block.size]
            return float(min(low for low, _ in ends)), float(max(high for _, high in ends))

        return self.once("extremes", look)

    @property
    def is_outside(self) -> bool:
        """Whether a score is below 0 or above 1, which makes torchmetrics take a sigmoid."""
        low, high = self.extremes
        return low < 0 or high > 1

    @property
    def formats(self) -> tuple[str, ...]:
        """Number formats that are shorter than that of the scores; sigmoids for scores outside 0..1 alone."""
        rounded = {"float64": ("float32", "float16", "bfloat16"), "float32": ("float16", "bfloat16")}
        sigmoids = ("sigmoid", "sigmoid-float16", "sigmoid-bfloat16") if self.is_outside else ()
        return (*rounded.get(self.matrix.dtype, ()), *sigmoids)

    def num_beyond(self, low: float, high: float) -> int:
        """The scores that are at most one number or at least the other."""
        lowest, highest = self.extremes
        found = 0
        for block in self._blocks() if lowest <= low or highest >= high else ():
            found += int(np.count_nonzero(block <= low)) + int(np.count_nonzero(block >= high))
        return found

    def _blocks(self) -> Iterator[np.ndarray]:
        """The scores in blocks that a cache holds."""
        for shard in self.matrix.shards:
            rows = as_columns(shard).to_numpy()
            yield from np.array_split(rows, max(1, min(len(rows), rows.nbytes >> 18)))

    @property
    def cells(self) -> np.ndarray:
        """(N, C) scores."""

        def read() -> np.ndarray:
            shards = [as_columns(shard).to_numpy() for shard in self.matrix.shards]
            return shards[0] if len(shards) == 1 else np.concatenate(shards)

        return self.once("cells", read)

    # Views: the values of the input, or of another one that is made from it

    @property
    def raw(self) -> ClassValues:
        """The scores as they are."""

        def compute() -> ClassValues:
            values = ClassValues([*self.matrix.shards], self.positives, threads=self.threads)
            squash = _HALF_DTYPES.get(self.matrix.dtype, "sigmoid")
            values.expect(tables=(*self.formats, squash), counts=(squash,) if self.is_outside else ())
            return values

        return self.once("raw", compute)

    @property
    def sigmoid(self) -> ClassValues:
        """The sigmoid of the scores in float32, or in their own format if that is shorter."""
        return self.raw.after(_HALF_DTYPES.get(self.matrix.dtype, "sigmoid"))

    def sigmoid_of(self, scores: np.ndarray) -> np.ndarray:
        """The sigmoid of other scores, as `sigmoid` computes it."""
        values: np.ndarray = TRANSFORMS[_HALF_DTYPES.get(self.matrix.dtype, "sigmoid")](scores)
        return values

    @property
    def squashed(self) -> ClassValues:
        """The sigmoid if a score is below 0 or above 1, else the scores as they are."""
        return self.sigmoid if self.is_outside else self.raw

    def view(self, squash: str) -> ClassValues:
        """The values under a rule: "none", "outside" or "always"."""
        return {"none": lambda: self.raw, "outside": lambda: self.squashed, "always": lambda: self.sigmoid}[squash]()

    def last_label(self, softmax: bool) -> ClassValues:
        """One label for each labelled row, the highest class of its labels."""

        return self.raw.last_labels(softmax and self.is_outside)

    def tops(self) -> tuple[ClassValues, ClassValues]:
        """The values of the best cells of each row, which keep the negatives or the positives of equal scores."""

        def compute() -> tuple[ClassValues, ClassValues]:
            return self.raw.top(self.top_k, "worst"), self.raw.top(self.top_k, "best")

        return self.once(("tops", self.top_k), compute)

    def rounded(self, transform: str) -> Measures:
        """The measures of scores that are rounded, or squashed, by a transform of `ClassValues.after`."""
        other = Measures(self.matrix, self.positives, top_k=self.top_k, trials=self.trials, threads=self.threads)
        other._kept["raw"] = self.raw.after(transform)
        return other

    # Means

    def listed(self, classes: np.ndarray) -> str:
        """Some classes in words."""
        names = ", ".join(map(str, classes[:_MOST_LISTED].tolist()))
        more = f" and {len(classes) - _MOST_LISTED:,} more" if len(classes) > _MOST_LISTED else ""
        return f"class{'es' if len(classes) > 1 else ''} {names}{more}"


def mean_of(values: np.ndarray, absent: str, kept: np.ndarray | None = None) -> float:
    """The mean of values, with NaN ones replaced or left out. NaN of nothing."""
    chosen = values if kept is None else values[kept]
    if absent in ABSENT_VALUES:
        chosen = np.where(np.isnan(chosen), ABSENT_VALUES[absent], chosen)
    elif absent == "left out":
        chosen = chosen[~np.isnan(chosen)]
    return math.fsum(chosen.tolist()) / len(chosen) if len(chosen) else math.nan


def by_order(ties: str, mean: Callable[[str], float]) -> Outcome:
    """The outcome of a mean as a function of the order of equal scores."""
    joined = mean("threshold")
    if ties == "joined":
        return Outcome(joined, joined, joined)
    if ties in ("unstable", "shuffled", "torch"):
        low, high = mean("worst"), mean("best")
        in_rows = mean("rows") if ties == "torch" and low < high else math.nan
        # joined can lie outside: tied positives take one precision
        return Outcome(low, max(low, high), joined, in_rows=in_rows)
    value = mean(ties)
    return Outcome(value, value, joined)


def over_classes(
    curve: PerClass,
    *,
    ties: str = "joined",
    absent: str,
    squash: str = "none",
    view: Callable[[Measures], ClassValues] | None = None,
    min_positives: int = 1,
    full: str = "",
    weighted: bool = False,
) -> Measure:
    """A measure: the mean over classes of a value of each.

    Args:
        curve: The value of each class.
        ties: The rule of equal scores.
        absent: The rule of classes without positives.
        squash: The rule of the sigmoid.
        view: The values to use, if they are not those of the squashed scores.
        min_positives: Positives that a class needs to count.
        full: "nan" if a class without negatives makes the mean NaN; "error" if it raises.
        weighted: Whether classes weigh as their positives.
    """

    def measure(m: Measures) -> Outcome:
        seen = m.view(squash) if view is None else view(m)
        missing = np.flatnonzero(seen.num_positives == 0)
        if absent in ("nan", "error") and len(missing):
            return _undefined(f"{absent}: {m.listed(missing)} without positives")
        if full:
            whole = np.flatnonzero((seen.num_positives > 0) & (seen.num_negatives == 0))
            if len(whole):
                return _undefined(f"{full}: {m.listed(whole)} without negatives")
        kept = seen.num_positives >= min_positives if min_positives > 1 else None
        if kept is not None and not kept.any():
            return _undefined(f"nan: no class has {min_positives} positives")

        def mean(order: str) -> float:
            values = curve(seen, order)
            if weighted:
                counts = seen.num_positives
                products = np.where(counts > 0, np.nan_to_num(values) * counts, 0.0)
                return math.fsum(products.tolist()) / max(1, int(counts.sum()))
            return mean_of(values, absent, kept)

        order = "rows" if ties == "torch" and m.matrix.num_rows <= _MOST_SORTED_IN_ROWS else ties
        return by_order(order, mean)

    return measure


def over_cells(value: Callable[[ClassValues], float], squash: str = "none") -> Measure:
    """A measure: the value of all cells as one class."""

    def measure(m: Measures) -> Outcome:
        found = value(m.view(squash).pooled())
        return Outcome(found, found, found)

    return measure


def over_rows(ties: str, absent: str, squash: str = "none") -> Measure:
    """A measure: the mean over rows of the AP of the row's classes. `absent` is the rule of rows without labels."""

    def measure(m: Measures) -> Outcome:
        if absent == "nan" and len(m.unlabelled):
            row = int(m.unlabelled[0])
            return _undefined(f"nan: row {row} without labels")
        seen = m.view(squash).transposed()
        return by_order(ties, lambda order: mean_of(seen.step(order), absent))

    return measure


def unlabelled_last(absent: str) -> Measure:
    """A measure: the step curve where rows without labels rank last in every class."""

    def curve(values: ClassValues, order: str) -> np.ndarray:
        return values.unlabelled_last(order)

    return over_classes(curve, ties="unstable", absent=absent)


def _precisions(values: ClassValues, order: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The number of each positive within its class, from 1, its precision and its class; descending in score."""
    indptr, precision = values.precision_at_positives(order)
    counts = np.diff(indptr)
    number = np.arange(len(precision)) - np.repeat(indptr[:-1], counts) + 1
    return number, precision, np.repeat(np.arange(len(counts)), counts)


def first_rows(limit: int) -> Measure:
    """A measure: precision at the positives among the first rows, over at most so many positives; absent is 1."""

    def measure(m: Measures) -> Outcome:
        number, precision, classes = _precisions(m.raw, "rows")
        counts = m.positives.counts
        inside = number / precision < limit + 0.5
        sums = np.bincount(classes, weights=np.where(inside, precision, 0.0), minlength=m.num_classes)
        value = mean_of(np.where(counts > 0, sums / np.clip(counts, 1, limit), np.nan), "one")
        return Outcome(value, value, value)

    return measure


def above_zero(m: Measures) -> Outcome:
    """A measure: positives with a score of at most 0 are negatives. They rank behind the others, and change no rank."""
    table = m.raw.table
    of_class = np.repeat(np.arange(m.num_classes), np.diff(table.indptr))
    weights = np.where(table.thresholds > 0, table.positives_at(), 0)
    kept = np.bincount(of_class, weights=weights, minlength=m.num_classes)

    def mean(order: str) -> float:
        number, precision, classes = _precisions(m.raw, order)
        sums = np.bincount(classes, np.where(number <= kept[classes], precision, 0.0), m.num_classes)
        return mean_of(np.divide(sums, kept, out=np.full(m.num_classes, np.nan), where=kept > 0), "zero")

    return by_order("unstable", mean)


def padded(squash: str, score: float, positive: bool) -> Measure:
    """A measure: step AP with five further rows of one score, positive or negative in every class."""

    def measure(m: Measures) -> Outcome:
        shown = score
        if squash == "outside" and m.is_outside:  # the padding passes the sigmoid, too
            shown = float(m.sigmoid_of(np.array([score], np.float32))[0])
        value = mean_of(m.view(squash).padded(5, shown, positive), "padding" if positive else "left out")
        return Outcome(value, value, value)

    return measure


def top_of_rows(pooled: bool) -> Measure:
    """A measure of YouTube-8M: the best cells of each row, of each class or in one list."""

    def measure(m: Measures) -> Outcome:
        counts = m.positives.counts

        def mean(top: ClassValues, order: str) -> float:
            if pooled:
                found = int(top.num_positives.sum())
                return top.micro(order) * found / int(counts.sum()) if found else 0.0
            sums = np.nan_to_num(top.step(order)) * top.num_positives
            return mean_of(np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0), "left out")

        worst, best = m.tops()
        low, high = mean(worst, "worst"), mean(best, "best")
        joined = mean(m.raw.top(m.top_k), "threshold") if low < high else low
        return Outcome(low, max(low, high), joined)

    return measure


def roc(absent: str) -> Measure:
    """A measure: the mean ROC-AUC; NaN, or an error, if a class has no positives or no negatives."""

    def measure(m: Measures) -> Outcome:
        undefined = np.union1d(m.absent, m.full)
        if absent != "left out" and len(undefined):
            return _undefined(f"{absent}: {m.listed(undefined)} without positives or without negatives")
        if len(undefined) == m.num_classes:
            return _undefined("nan: no class has positives and negatives")
        value = mean_of(m.once("roc", lambda: m.raw.table.roc_auc()), "left out")
        return Outcome(value, value, value)

    return measure


def d_prime(m: Measures) -> Outcome:
    """The d' of the mean ROC-AUC: sqrt(2) times its normal quantile."""
    area = roc("nan")(m)
    if math.isnan(area.low) or not 0 < area.low < 1:
        return _undefined(area.why or f"inf: the mean ROC-AUC is {area.low:g}")
    value = math.sqrt(2) * normal_inverse(area.low)
    return Outcome(value, value, value)


def sampled(exact: bool) -> Measure:
    """A measure: sampled AP, by trials or in closed form."""

    def measure(m: Measures) -> Outcome:
        if exact:
            values = m.raw.table.expected_sampled_average_precision(threads=m.threads)
        else:
            matrix, trials = [*m.matrix.shards], m.trials
            values = sampled_average_precision(matrix, m.positives, trials=trials, threads=m.threads).mean
        value = mean_of(values, "left out")
        return Outcome(value, value, value)

    return measure


def difficult_misused(m: Measures) -> Outcome:
    """Every negative counts as difficult, so nothing but positives is ranked."""
    if len(m.absent):
        return _undefined(f"error: {m.listed(m.absent)} without positives")
    return Outcome(1.0, 1.0, 1.0)


def _undefined(why: str) -> Outcome:
    return Outcome(math.nan, math.nan, math.nan, why)
