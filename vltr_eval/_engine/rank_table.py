"""The rank table: all that average precision and its relatives need to know of the scores, in O(positives) integers."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arguments import describe_offsets
from vltr_eval._base.arrays import num_threads
from vltr_eval._base.files import PendingFile
from vltr_eval._base.lazy import lazy_property
from vltr_eval._base.progress import Progress
from vltr_eval._engine.npz import write_npz

if TYPE_CHECKING:
    import zipfile

    from vltr_eval._base._core import CudaRankTable

__all__ = ["PositiveScores", "PrecisionRecallCurve", "RankTable"]

_FORMAT = "vltr-eval/rank-table/1"
_FORMAT_WITH_UNKNOWN = "vltr-eval/rank-table/2"
_MAX_ROWS = 2**53  # up to which metrics, which take counts as doubles, are exact; a bound of the core too
_MOST_FOR_SUMMARY = 500_000  # thresholds of a table whose mAP takes a few milliseconds
_ARRAYS = ("indptr", "thresholds", "tp", "fp", "tied")


class PrecisionRecallCurve(NamedTuple):
    """The step-wise precision-recall curve of a class. Recall rises, and its last value is 1.

    Args:
        precision: (K,) float64.
        recall: (K,) float64.
        thresholds: (K,) distinct scores of the positives, descending.
    """

    precision: np.ndarray
    recall: np.ndarray
    thresholds: np.ndarray

    def __repr__(self) -> str:
        return f"<PrecisionRecallCurve of {len(self.thresholds)} thresholds>"


def absent_value(absent: str) -> float:
    """The value of a class without positives: NaN (left out of means), or the 0 of VideoLT's published code."""
    if absent not in ("nan", "zero"):
        raise ValueError(f"absent: expected 'nan' or 'zero', got {absent!r}")
    return np.nan if absent == "nan" else 0.0


def checked_prevalence(prevalence: float) -> float:
    """The prevalence as the core takes it. Raises ValueError if it is no number between 0 and 1."""
    if not isinstance(prevalence, (int, float, np.number)) or not 0 < prevalence < 1:
        raise ValueError(f"prevalence: expected a number between 0 and 1, got {prevalence!r}")
    return max(float(prevalence), 1e-280)  # below that results stay the same, and products with it would vanish


def mean_of_defined(values: np.ndarray) -> float:
    """Mean of what is not NaN, correctly rounded, so that the order of classes cannot move it; NaN of nothing."""
    defined = values[~np.isnan(values)].tolist()
    return math.fsum(defined) / len(defined) if defined else math.nan


def exact_sums(values: np.ndarray, indptr: np.ndarray, *, threads: int | None = None) -> np.ndarray:
    """Sums of ``values[indptr[i]:indptr[i + 1]]``, (L,) float64, each rounded once as by math.fsum."""
    return _core.exact_sums(values, indptr, num_threads(threads))


def sum_unknown(counts: Iterable[np.ndarray | None]) -> np.ndarray | None:
    """The unknown cells of each class, of shards together; None if there are none."""
    with_cells = [of_shard for of_shard in counts if of_shard is not None]
    total: np.ndarray | None = sum(with_cells[1:], with_cells[0]) if with_cells else None
    return total


def means_of_defined(values: np.ndarray) -> np.ndarray:
    """`mean_of_defined` of each row: (T, C) to (T,)."""
    defined = ~np.isnan(values)
    counts = np.count_nonzero(defined, axis=1)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    means = np.full(len(values), np.nan)
    np.divide(exact_sums(values[defined], indptr, threads=1), counts, out=means, where=counts > 0)
    return means


@dataclass(frozen=True, eq=False)
class PositiveScores:
    """Distinct scores of the positives of each class, descending, class after class.

    Args:
        indptr: (C + 1,) int64; class c has ``scores[indptr[c]:indptr[c + 1]]``.
        scores: (K,) float32, float64, int64 or uint64: the type that holds the values of the input exactly.
    """

    indptr: np.ndarray
    scores: np.ndarray

    def __repr__(self) -> str:
        return f"<PositiveScores of {self.num_classes} classes, {len(self.scores)} distinct {self.scores.dtype} scores>"

    @property
    def num_classes(self) -> int:
        return len(self.indptr) - 1

    def check_fits(self, num_classes: int, dtype: str) -> None:
        if self.num_classes != num_classes:
            raise ValueError(f"thresholds: {self.num_classes} classes, but scores has {num_classes}")
        indptr, scores = self.indptr, self.scores
        rises = len(indptr) > 0 and indptr[0] == 0 and indptr[-1] == len(scores) and bool(np.all(np.diff(indptr) >= 0))
        if not rises or indptr.dtype != np.int64:
            raise ValueError(
                f"thresholds: expected int64 offsets that rise from 0 to the number of scores, {len(scores)}, got "
                f"{describe_offsets(indptr)} of {indptr.dtype}"
            )
        within = np.ones(max(0, len(scores) - 1), bool)  # neighbours of one class
        starts = indptr[1:-1]
        within[starts[(starts > 0) & (starts < len(scores))] - 1] = False
        falls = (scores[1:] < scores[:-1]) | ~within
        if not bool(np.all(falls)):
            at = int(np.argmin(falls))
            raise ValueError(
                f"thresholds: expected scores that fall within each class, got {scores[at]} before {scores[at + 1]}"
            )
        if bool(np.any(scores != scores)):
            raise ValueError("thresholds: expected scores that fall within each class, got NaN")
        expected = lane_dtype(dtype)
        if self.scores.dtype != expected:
            raise TypeError(
                f"thresholds: expected {expected} for {dtype} scores, got {self.scores.dtype}; "
                "were all shards of one dtype?"
            )

    def merge(self, *others: PositiveScores) -> PositiveScores:
        """The scores of all shards together, in any order and grouping. Raises where classes or dtypes differ."""
        for other in others:
            if (other.num_classes, other.scores.dtype) != (self.num_classes, self.scores.dtype):
                raise ValueError(
                    f"others: expected {self.num_classes} classes of {self.scores.dtype}, "
                    f"got {other.num_classes} of {other.scores.dtype}"
                )
        shards = (self, *others)
        scores = np.concatenate([shard.scores for shard in shards])
        classes = np.concatenate([np.repeat(np.arange(self.num_classes), np.diff(shard.indptr)) for shard in shards])
        order = np.lexsort((scores, classes))[::-1]  # both descending
        scores, classes = scores[order], classes[order]
        new = np.ones(len(scores), bool)
        new[1:] = (scores[1:] != scores[:-1]) | (classes[1:] != classes[:-1])
        scores, classes = scores[new], classes[new]
        order = np.argsort(classes, kind="stable")
        indptr = np.zeros(self.num_classes + 1, np.int64)
        np.cumsum(np.bincount(classes, minlength=self.num_classes), out=indptr[1:])
        return PositiveScores(indptr, scores[order])


def lane_dtype(dtype: str) -> np.dtype:
    """The dtype of the thresholds of scores of ``dtype``: the smallest lane that holds every value exactly."""
    if dtype in ("int64", "uint64"):
        return np.dtype(dtype)
    return np.dtype(np.float64 if dtype in ("float64", "int32", "uint32") else np.float32)


class ClassStatistics(NamedTuple):
    """The (C,) values that a report takes from a rank table: float64, and int64 for ``tied_positives``."""

    average_precision: np.ndarray
    roc_auc: np.ndarray
    sampled_average_precision_chance: np.ndarray
    tied_positives: np.ndarray
    tie_lower: np.ndarray
    tie_upper: np.ndarray


_TOP_BIT = np.uint64(1 << 63)


def to_compare_keys(thresholds: np.ndarray, dtype: str) -> np.ndarray:
    """Thresholds to or from the core, where uint64 is compared as int64 with its top bit flipped (an involution)."""
    if dtype == "uint64" and thresholds.dtype == np.int64:
        thresholds = thresholds.view(np.uint64) ^ _TOP_BIT
    elif dtype == "uint64":
        thresholds = (thresholds ^ _TOP_BIT).view(np.int64)
    return thresholds


@dataclass(frozen=True, eq=False)
class RankTable:
    """Counts at the distinct scores of each class's positives, thresholds descending, class after class.

    The table has the same bits for any row order, thread count, device and order of shards.

    Args:
        num_rows: N.
        indptr: (C + 1,) int64; class c has the thresholds ``indptr[c]`` to ``indptr[c + 1]``.
        thresholds: (K,) distinct scores of positives.
        tp: (K,) int64 positives that score at least the threshold.
        fp: (K,) int64 negatives that score at least the threshold.
        tied: (K,) int64 negatives that equal the threshold.
        unknown: (C,) int64 rows that each class does not know, which are left out of it; None if all are known.
    """

    num_rows: int
    indptr: np.ndarray
    thresholds: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    tied: np.ndarray
    unknown: np.ndarray | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        shape = f"{self.num_rows} rows and {self.num_classes} classes"
        return f"<RankTable of {shape}, {self.num_positives.sum()} positives at {len(self.thresholds)} thresholds>"

    def _repr_html_(self) -> str:
        from vltr_eval._base.notebook_html import notebook_html, paragraph

        positives, thresholds = int(self.num_positives.sum()), len(self.thresholds)
        facts = [f"{self.num_rows:,} rows", f"{positives:,} positives at {thresholds:,} thresholds"]
        if thresholds <= _MOST_FOR_SUMMARY:
            facts.append(f"mAP {self.mean_average_precision():.4f}")
        return notebook_html(f"Rank table of {self.num_classes:,} classes", paragraph(", ".join(facts)))

    @property
    def num_classes(self) -> int:
        return len(self.indptr) - 1

    @lazy_property
    def num_positives(self) -> np.ndarray:
        """(C,) int64"""
        ends = self.indptr[1:]
        has = ends > self.indptr[:-1]
        counts = np.zeros(self.num_classes, np.int64)
        counts[has] = self.tp[ends[has] - 1]
        return counts

    @lazy_property
    def num_negatives(self) -> np.ndarray:
        """(C,) int64"""
        unknown = 0 if self.unknown is None else self.unknown
        negatives: np.ndarray = self.num_rows - self.num_positives - unknown
        return negatives

    @property
    def _core_columns(self) -> tuple[Any, ...]:
        """The columns that the core's metrics take."""
        return self.indptr, self.tp, self.fp, self.tied

    @lazy_property
    def statistics(self) -> ClassStatistics:
        """All that a report needs but exact sampled AP, in one pass over the columns in CPU memory."""
        columns = (self.indptr, self.tp, self.fp, self.tied)
        return ClassStatistics(*_core.class_statistics(*columns, self.num_rows, num_threads(None), self.unknown))

    @property
    def _core_negatives(self) -> dict[str, Any]:
        """Further arguments of the core's metrics that need the negatives of each class."""
        return {} if self.unknown is None else {"unknown": self.unknown}

    def _per_class(self, metric: str, *arguments: Any, absent: str = "nan", threads: int | None = None) -> np.ndarray:
        value = absent_value(absent)
        more = {} if metric == "average_precision" else self._core_negatives
        columns = *self._core_columns, self.num_rows, num_threads(threads)
        out: np.ndarray = getattr(_core, metric)(*columns, *arguments, **more)
        if absent == "zero":
            out[np.isnan(out)] = value  # AP and its kin are undefined without positives only
        return out

    def average_precision(self, *, absent: str = "nan") -> np.ndarray:
        """AP of each class: (C,) float64. See `vltr_eval.average_precision`."""
        return self._per_class("average_precision", absent=absent)

    def mean_average_precision(self, *, absent: str = "nan") -> float:
        """Mean AP over the defined classes. See `vltr_eval.mean_average_precision`."""
        return mean_of_defined(self.average_precision(absent=absent))

    def roc_auc(self) -> np.ndarray:
        """Area under the ROC curve of each class: (C,) float64. See `vltr_eval.roc_auc`."""
        return self._per_class("roc_auc")

    def expected_sampled_average_precision(
        self, *, absent: str = "nan", threads: int | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """Sampled AP in the limit of infinitely many trials: (C,) float64.

        See `vltr_eval.expected_sampled_average_precision`. progress: called with the fraction done, but for a table on
        a device.
        """
        name, callbacks = "expected_sampled_average_precision", () if progress is None else (progress,)
        return self._per_class(name, *callbacks, absent=absent, threads=threads)

    def sampled_average_precision_chance(self) -> np.ndarray:
        """Sampled AP that random scores are expected to reach: (C,) float64, above 0.5 for rare classes."""
        return self._per_class("sampled_average_precision_chance")

    def calibrated_average_precision(self, prevalence: float = 0.5, *, absent: str = "nan") -> np.ndarray:
        """AP restated at a class prevalence: (C,) float64. See `vltr_eval.calibrated_average_precision`."""
        return self._per_class("calibrated_average_precision", checked_prevalence(prevalence), absent=absent)

    def precision_recall_curve(self, class_index: int) -> PrecisionRecallCurve:
        """The curve of one class at its positives' distinct scores. Raises IndexError for a class that is not there."""
        if not 0 <= class_index < self.num_classes:
            raise IndexError(f"class_index: expected 0 to {self.num_classes - 1}, got {class_index}")
        part = slice(self.indptr[class_index], self.indptr[class_index + 1])
        precisions, recalls = self._precision_recall()
        return PrecisionRecallCurve(precisions[part], recalls[part], self.thresholds[part])

    def _best(self, values: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """Largest allowed value of each class; 0 where none is allowed, NaN without positives."""
        best = np.full(self.num_classes, np.nan)
        has = np.diff(self.indptr) > 0
        if has.any():
            best[has] = np.maximum.reduceat(np.where(allowed, values, 0.0), self.indptr[:-1][has])
        best[self.num_positives == 0] = np.nan
        return best

    def _precision_recall(self) -> tuple[np.ndarray, np.ndarray]:
        """(K,) each; 0 where no row reaches the threshold, as of other shards, and where the class has no positives."""
        positives = np.repeat(self.num_positives, np.diff(self.indptr))
        reached = self.tp + self.fp
        zeros = np.zeros(len(self.tp))
        return (
            np.divide(self.tp, reached, out=zeros.copy(), where=reached > 0),
            np.divide(self.tp, positives, out=zeros, where=positives > 0),
        )

    def precision_at_recall(self, recall: float) -> np.ndarray:
        """Best precision among the thresholds with at least this recall: (C,) float64."""
        if not 0 <= recall <= 1:
            raise ValueError(f"recall: expected a number from 0 to 1, got {recall!r}")
        precisions, recalls = self._precision_recall()
        return self._best(precisions, recalls >= recall)

    def recall_at_precision(self, precision: float) -> np.ndarray:
        """Best recall among the thresholds with at least this precision, 0 when there is none: (C,) float64."""
        if not 0 <= precision <= 1:
            raise ValueError(f"precision: expected a number from 0 to 1, got {precision!r}")
        precisions, recalls = self._precision_recall()
        return self._best(recalls, precisions >= precision)

    def positives_at(self) -> np.ndarray:
        """Positives that equal each threshold: (K,)"""
        new: np.ndarray = self.tp.copy()
        new[1:] -= self.tp[:-1]
        starts = self.indptr[:-1][np.diff(self.indptr) > 0]
        new[starts] = self.tp[starts]
        return new

    def tied_positives(self) -> np.ndarray:
        """Positives of each class whose score is also a negative's: (C,) int64."""
        counts: np.ndarray = self.statistics.tied_positives.copy()
        return counts

    def tie_rate(self) -> np.ndarray:
        """Share of each class's positives whose score is also a negative's: (C,) float64, NaN without positives."""
        positives, rate = self.num_positives, np.full(self.num_classes, np.nan)
        np.divide(self.statistics.tied_positives, positives, out=rate, where=positives > 0)
        return rate

    def tie_interval(self) -> tuple[np.ndarray, np.ndarray]:
        """How far the order of tied rows could move the AP of each class: lower (C,), upper (C,) float64.

        The smallest interval that holds the AP of every order of the rows within ties, as a library without a tie rule
        may report it, and the AP reported here, which takes tied rows together.
        """
        return self.statistics.tie_lower.copy(), self.statistics.tie_upper.copy()

    def select(self, kept: np.ndarray) -> RankTable:
        """The table without some of its thresholds. kept: (K,) bool."""
        indptr = np.concatenate([[0], np.cumsum(kept)])[self.indptr]
        columns = (getattr(self, name)[kept] for name in ("thresholds", "tp", "fp", "tied"))
        return RankTable(self.num_rows, indptr, *columns, unknown=self.unknown)

    def merge(self, *others: RankTable) -> RankTable:
        """The table of all shards together, in any order and grouping.

        All tables must have been counted against the same thresholds: `positive_scores` of every shard, merged, and
        then ``rank_table(..., thresholds=merged)`` for each. Raises ValueError where they were not.
        """
        for other in others:
            same = np.array_equal(self.indptr, other.indptr) and np.array_equal(self.thresholds, other.thresholds)
            if not same or self.thresholds.dtype != other.thresholds.dtype:
                raise ValueError(
                    "others: expected tables counted against the same thresholds, got different ones; "
                    "merge positive_scores() of all shards first and pass them as thresholds="
                )
        tables = (self, *others)
        return RankTable(
            sum(table.num_rows for table in tables),
            self.indptr,
            self.thresholds,
            *(sum(getattr(table, name) for table in tables) for name in ("tp", "fp", "tied")),
            unknown=sum_unknown(table.unknown for table in tables),
        )

    def save(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """Writes the table as one compressed .npz, whole or not at all. Raises OutputError where it cannot.

        progress: called with the fraction done.
        """
        arrays = {"format": np.array(_FORMAT), "num_rows": np.array(self.num_rows, np.int64)}
        arrays |= {name: getattr(self, name) for name in _ARRAYS}
        if self.unknown is not None:  # a reader of the first format would count unknown rows as negatives
            arrays |= {"format": np.array(_FORMAT_WITH_UNKNOWN), "unknown": self.unknown}
        with PendingFile(path) as pending:
            pending.write(lambda unfinished: write_npz(unfinished, arrays, progress))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, progress: Progress | None = None) -> RankTable:
        """Reads what `save` wrote. Raises FileNotFoundError, or ValueError for a file that is no rank table.

        progress: called with the fraction done.
        """
        name = os.fspath(path)
        with open(path, "rb") as file:
            try:
                table = cls._read(file, progress)
            except Exception as error:  # a damaged zip or array header fails in many ways; all of them mean this
                raise ValueError(
                    f"{name}: expected a rank table (an .npz that RankTable.save wrote), got another or a damaged file"
                ) from (None if isinstance(error, ValueError) else error)
        if not 0 <= table.num_rows <= _MAX_ROWS:
            raise ValueError(f"{name}: expected a rank table of at most {_MAX_ROWS} rows, got {table.num_rows}")
        if not table.is_sound():
            raise ValueError(f"{name}: expected the arrays of a rank table to fit together, got damaged ones")
        return table

    @classmethod
    def _read(cls, file: BinaryIO, progress: Progress | None) -> RankTable:
        import zipfile  # not above: few programs load a table, and it loads threading

        with zipfile.ZipFile(file) as archive:
            names = ("format", "num_rows", *_ARRAYS)
            form, num_rows, *arrays = (read_member(archive, name, progress) for name in names)
            unknown = read_member(archive, "unknown", progress) if str(form) == _FORMAT_WITH_UNKNOWN else None
        if str(form) not in (_FORMAT, _FORMAT_WITH_UNKNOWN) or num_rows.shape != () or num_rows.dtype.kind not in "iu":
            raise ValueError(f"format {form}, rows {num_rows}")
        return cls(int(num_rows), *arrays, unknown=unknown)

    def is_sound(self) -> bool:
        """Whether a scan could have made this table; the core trusts its offsets."""
        arrays = [getattr(self, name) for name in _ARRAYS]
        if any(array.ndim != 1 for array in arrays) or self.thresholds.dtype.kind not in "fiu":
            return False
        k = len(self.thresholds)
        counts = (self.tp, self.fp, self.tied)
        if any(array.dtype != np.int64 for array in (self.indptr, *counts)) or any(len(count) != k for count in counts):
            return False
        offsets = self.indptr
        if not (len(offsets) and offsets[0] == 0 and offsets[-1] == k and bool(np.all(np.diff(offsets) >= 0))):
            return False
        if self.unknown is not None:
            if self.unknown.dtype != np.int64 or self.unknown.shape != (len(offsets) - 1,):
                return False
            if bool(np.any(self.unknown < 0)) or bool(np.any(self.num_negatives < 0)):
                return False
        first = np.zeros(k, bool)
        first[offsets[:-1][np.diff(offsets) > 0]] = True
        again = ~first[1:]  # a threshold after another of its class
        falls = (self.thresholds[1:] < self.thresholds[:-1])[again]
        grows = [(np.diff(count) >= 0)[again] for count in (self.tp, self.fp)]
        negatives = np.repeat(self.num_negatives, np.diff(offsets))
        ordered = bool(np.all(falls)) and all(bool(np.all(grow)) for grow in grows)
        bounded = all(bool(np.all(count >= 0)) for count in counts) and bool(np.all(self.fp <= negatives))
        nan = bool(np.any(self.thresholds != self.thresholds))
        above = np.concatenate([np.zeros(1, np.int64), self.fp])[:-1] * ~first  # negatives above each threshold
        return ordered and bounded and bool(np.all(self.tied <= self.fp - above)) and not nan


def read_member(archive: zipfile.ZipFile, name: str, progress: Progress | None = None) -> np.ndarray:
    """One array of an .npz. Takes no more memory than its file can hold: deflate packs about 1 : 1000 at most.

    progress: called with the fraction of the archive that ends with this member.
    """
    from zipfile import ZIP_DEFLATED, ZIP_STORED

    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError(f"{name}: compression {info.compress_type}")
    content = io.BytesIO(archive.read(info))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a header of Python 2 is read rightly
        array = np.lib.format.read_array(content, allow_pickle=False)
    if content.read(1):
        raise ValueError(f"{name}: more bytes than its header says")
    if progress is not None:
        sizes = [(other.header_offset <= info.header_offset, other.file_size) for other in archive.infolist()]
        progress(sum(size for is_before, size in sizes if is_before) / max(1, sum(size for _, size in sizes)))
    return array


class DeviceRankTable(RankTable):
    """A rank table on a CUDA device, where its metrics are computed, with the same bits.

    Its columns are copied from there on first use.
    """

    _dtype: str
    _core: CudaRankTable

    def __init__(self, num_rows: int, dtype: str, core: CudaRankTable, unknown: np.ndarray | None = None) -> None:
        self.__dict__.update(num_rows=num_rows, _dtype=dtype, _core=core, unknown=unknown)

    def __repr__(self) -> str:
        return f"<RankTable of {self.num_rows} rows of {self._dtype} scores on a CUDA device>"

    def _repr_html_(self) -> str:
        from vltr_eval._base.notebook_html import notebook_html

        # Facts about classes would copy the columns from the device.
        return notebook_html(f"Rank table of {self.num_rows:,} rows of {self._dtype} scores on a CUDA device")

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are tables in CPU memory."""
        make = RankTable if self.unknown is None else partial(RankTable, unknown=self.unknown)
        return make, (self.num_rows, *(getattr(self, name) for name in _ARRAYS))

    @property
    def _core_columns(self) -> tuple[Any, ...]:
        return (self._core,)

    def expected_sampled_average_precision(
        self, *, absent: str = "nan", threads: int | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """As that of a `RankTable`; a kernel does not say how far it is."""
        return super().expected_sampled_average_precision(absent=absent, threads=threads)

    @property
    def _core_negatives(self) -> dict[str, Any]:
        return {}  # the table on the device has them

    @lazy_property
    def _on_host(self) -> RankTable:
        indptr, thresholds, *counts = self._core.to_numpy()
        return RankTable(self.num_rows, indptr, to_compare_keys(thresholds, self._dtype), *counts, unknown=self.unknown)

    @property
    def indptr(self) -> np.ndarray:
        return self._on_host.indptr

    @property
    def thresholds(self) -> np.ndarray:
        return self._on_host.thresholds

    @property
    def tp(self) -> np.ndarray:
        return self._on_host.tp

    @property
    def fp(self) -> np.ndarray:
        return self._on_host.fp

    @property
    def tied(self) -> np.ndarray:
        return self._on_host.tied
