"""The drop-one effect of each row on each mean of a report; the jackknife makes their standard errors of it.

The effects are integers on a common scale, so their sums over rows and clusters have the same bits in any order of
rows, chunks and ranks.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from vltr_eval._base.arrays import Matrix
from vltr_eval._base.groups import COUNTS_PARTITION
from vltr_eval._base.lazy import lazy_property
from vltr_eval._base.progress import Progress
from vltr_eval._engine.effects import row_effects
from vltr_eval._engine.hits import Hits
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_table import RankTable, exact_sums, mean_of_defined
from vltr_eval._engine.sample_ids import distinct_ids, read_ids
from vltr_eval.formats import read_ids as read_id_file
from vltr_eval.intervals.means import jackknife_error
from vltr_eval.report.names import AP, CALIBRATED_AP, EXPECTED_SAP, ROC_AUC, Metric, accuracy_at, grouped_name
from vltr_eval.report.settings import Settings

__all__ = [
    "CORE_METRICS",
    "Clusters",
    "EffectColumns",
    "EffectGroups",
    "MeanEffect",
    "check_clusters",
    "effect_passes",
    "in_order",
    "read_clusters",
]

CORE_METRICS = {
    AP: "average_precision",
    EXPECTED_SAP: "expected_sampled_average_precision",
    ROC_AUC: "roc_auc",
    CALIBRATED_AP: "calibrated_average_precision",
}
"""The metrics whose effects `vltr_eval._engine.effects` computes, by their name there."""

_SUM_BITS = 47  # the sum of a row's effects stays below 2^47, and so is exact as a double
_BITS = _SUM_BITS - 2
_MOST_FACTORS, _STEPS = 64, 16
_MOST_BYTES = 128 << 20  # of the columns of one pass
_LARGEST, _LOW_BITS, _AT_ONCE = 1 << _SUM_BITS, 24, 1 << 15  # 2^15 products of 24 bits each fit into 63 bits


@dataclass(frozen=True, eq=False)
class MeanEffect:
    """The drop-one effect of each row, or of each cluster of rows, on one mean: the mean without it minus the mean.

    Attributes:
        sums: (N,) int64, in the order of the row numbers.
        exponent: The effect of row i is ``sums[i] * 2.0 ** -exponent / count``.
        count: The number of values in the mean.
    """

    sums: np.ndarray
    exponent: int
    count: int

    def __repr__(self) -> str:
        return f"<MeanEffect of {len(self.sums)} rows on a mean of {self.count}>"

    @property
    def values(self) -> np.ndarray:
        """(N,) float64; NaN if the mean has no values."""
        if self.count == 0:
            return np.full(len(self.sums), np.nan)
        values: np.ndarray = np.ldexp(self.sums.astype(np.float64), -self.exponent) / self.count
        return values

    def by_cluster(self, clusters: np.ndarray) -> MeanEffect:
        """Add the effects of the rows of each cluster. clusters: (N,) numbers from 0 up."""
        sums = np.zeros(int(clusters.max(initial=-1)) + 1, np.int64)
        np.add.at(sums, clusters, self.sums)
        return MeanEffect(sums, self.exponent, self.count)

    def clustered_error(self, clusters: Clusters | None) -> float:
        """The error of rows in clusters, or of independent rows without them."""
        return (self if clusters is None else self.by_cluster(clusters.of_row)).error()

    def error(self) -> float:
        """The jackknife standard error of the mean, as `jackknife_error` of the values; NaN for fewer than two rows."""
        n = len(self.sums)
        if n < 2 or self.count == 0 or not -_LARGEST < int(self.sums.min()) <= int(self.sums.max()) < _LARGEST:
            return jackknife_error(self.values)
        total, squares = _moments(self.sums)
        # (N - 1) / N times the sum of squared deviations, in integers up to the last step
        variance = (n - 1) * (n * squares - total * total) / (n * n)
        return math.ldexp(math.sqrt(variance), -self.exponent) / self.count


def _moments(values: np.ndarray) -> tuple[int, int]:
    """The sum and the sum of squares of integers below 2^47, exactly."""
    total = squares = 0
    for first in range(0, len(values), _AT_ONCE):
        part = values[first : first + _AT_ONCE]
        high, low = part >> _LOW_BITS, part & ((1 << _LOW_BITS) - 1)
        of_high, of_low = int(high.sum()), int(low.sum())
        total += (of_high << _LOW_BITS) + of_low
        squares += int(high @ high) << (2 * _LOW_BITS)
        squares += (int(high @ low) << (_LOW_BITS + 1)) + int(low @ low)
    return total, squares


@dataclass(frozen=True, eq=False)
class Clusters:
    """The cluster of each row, such as the video of a clip.

    Attributes:
        of_row: (N,) int64, numbers from 0 up in the order of the cluster ids.
        count: Number of clusters.
    """

    of_row: np.ndarray
    count: int

    def with_positives(self, positives: Positives) -> np.ndarray:
        """Clusters with a positive of each class: (C,) int64."""
        return np.diff(self._cells(positives)[0])

    def effect_factors(self, positives: Positives) -> np.ndarray:
        """The factors (C,) that turn sums of drop-one effects within clusters into effects of dropping a cluster.

        The effect of one of P positives is its influence times P / (P - 1), nearly. That of one of G clusters with a
        positive is the sum of its influences times G / (G - 1). A class with one such cluster has the factor 1.
        """
        total = positives.counts.astype(np.float64)
        clusters = self.with_positives(positives).astype(np.float64)
        factors = np.ones(len(total))
        np.divide(clusters * (total - 1), (clusters - 1) * total, out=factors, where=clusters > 1)
        return factors

    def labelled(self, positives: Positives) -> int:
        """Number of clusters with a labelled row."""
        return len(np.unique(self.of_row[positives.rows]))

    def accuracy_variances(self, positives: Positives, hit: np.ndarray) -> np.ndarray:
        """The variance of the share of hits among the positives of each class: (C,) float64, NaN for one cluster.

        It is G / (G - 1) times the sum of squared influences, which are summed within each of the class's G clusters.

        Args:
            positives: The labels.
            hit: (N,) bool.
        """
        indptr, cell = self._cells(positives)
        counts = np.diff(indptr)
        of_class = np.repeat(np.arange(positives.num_classes), counts)
        rows, hits = (
            np.bincount(cell, minlength=indptr[-1]),
            np.bincount(cell[hit[positives.rows]], minlength=indptr[-1]),
        )
        total = np.maximum(positives.counts, 1)
        rate = np.bincount(of_class, hits, minlength=positives.num_classes) / total
        influence = (hits - rate[of_class] * rows) / total[of_class]
        variances = exact_sums(influence * influence, indptr, threads=1)
        out = np.full(positives.num_classes, np.nan)
        np.divide(variances * counts, counts - 1, out=out, where=counts > 1)
        return out

    def _cells(self, positives: Positives) -> tuple[np.ndarray, np.ndarray]:
        """The pairs of a class and a cluster that have a positive: where each class's begin, and that of a positive."""
        classes = np.repeat(np.arange(positives.num_classes, dtype=np.int64), positives.counts)
        cells, cell = np.unique(classes * self.count + self.of_row[positives.rows], return_inverse=True)
        starts = np.arange(positives.num_classes + 1, dtype=np.int64) * self.count
        return np.searchsorted(cells, starts), cell.reshape(-1)


def check_clusters(clusters: Any, level: float | None) -> None:
    """Check that clusters come with intervals, which alone use them.

    Raises:
        ValueError: There is no level.
    """
    if clusters is not None and level is None:
        raise ValueError("clusters: expected interval beside them, such as interval=0.95, got interval=None")


def read_clusters(clusters: Any, scores: Matrix) -> Clusters | None:
    """Read the cluster of each row.

    Args:
        clusters: (N,) integers or strings, in the forms of `read_ids`; a file of them; or None.
        scores: (N, C).

    Raises:
        TypeError: The ids of the clusters have another type.
        ValueError: There is not one id for each row, or the scores are on a device.
    """
    if clusters is None:
        return None
    if scores.device.index is not None:
        raise ValueError(f"clusters: expected scores in CPU memory beside them, got them on {scores.device}")
    name = "clusters"
    if isinstance(clusters, (str, os.PathLike)):
        name, clusters = os.fspath(clusters), read_id_file(clusters)
    num_rows = scores.num_rows
    if hasattr(clusters, "__len__") and len(clusters) != num_rows:
        raise ValueError(
            f"{name}: expected a cluster for each of the {num_rows} evaluated rows, got {len(clusters)}; leave out "
            "those of rows that are not evaluated"
        )
    try:
        distinct, _, of_row = distinct_ids(read_ids(clusters, num_rows))
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {str(error).removeprefix('ids: ')}") from None
    return Clusters(of_row.astype(np.int64), len(distinct))


class EffectColumns:
    """The effects of rows as columns of integers, which chunks and ranks can put together row by row.

    Args:
        settings: The conventions, with an interval.
        groups: The class indices of the groups of one partition, or of some of its groups; a class may be in none.
        table: The rank table of all rows.
        hits: The hits of all rows; None without Acc@k.
        factors: (C,) factors of the effects on each class, from 1 to 2, for clustered rows. Those on the metrics of the
            core are rounded to sixteenths, so that few sums are needed for each row. None: 1.
        clustered: The clusters and the labels of all rows, for clustered rows. A class with all of its positives in one
            cluster is lost without it, as one with one positive is without its row.
        metrics: The metrics of `CORE_METRICS` whose means have effects; None for those of the settings.
        prevalence: The class prevalence of calibrated AP.
        with_overall: Whether the means over all classes have effects too.
    """

    def __init__(
        self,
        settings: Settings,
        groups: Mapping[str, np.ndarray],
        table: RankTable,
        hits: Hits | None,
        factors: np.ndarray | None = None,
        clustered: tuple[Clusters, Positives] | None = None,
        metrics: Sequence[Metric] | None = None,
        prevalence: float = 0.5,
        *,
        with_overall: bool = True,
    ) -> None:
        self._with_overall = with_overall
        self._absent = settings.absent
        self._table = table
        self._hits: Any = hits  # not None where there is Acc@k
        self._prevalence = prevalence
        known = settings.estimated if metrics is None else metrics
        self._core = [metric for metric in known if metric in CORE_METRICS]
        self._groups = groups
        self._group_of = np.full(table.num_classes, len(groups), np.int64)  # that of the classes in no group
        for number, members in enumerate(groups.values()):
            self._group_of[members] = number
        self._num_groups = max(1, len(groups) + bool((self._group_of == len(groups)).any()))
        self._factors = np.ones(table.num_classes) if factors is None else factors
        # The classes that are lost without a cluster, and a row of it.
        self._is_lone = np.zeros(table.num_classes, bool)
        if clustered is not None:
            clusters, positives = clustered
            self._is_lone = (clusters.with_positives(positives) == 1) & (table.num_positives > 1)
            first_rows = np.unique(clusters.of_row, return_index=True)[1]
            self._row_of_lone = first_rows[clusters.of_row[positives.rows[positives.indptr[:-1][self._is_lone]]]]
        # The core sums over classes of one group and one factor, and over those of a group that a cluster takes along.
        steps = np.where(self._is_lone, 0, np.rint(self._factors * _STEPS).astype(np.int64))
        keys = self._group_of * _MOST_FACTORS + steps
        distinct, sum_of = np.unique(keys, return_inverse=True)
        self._sum_of = sum_of.reshape(-1).astype(np.int64)
        self._group_of_sum, steps = np.divmod(distinct, _MOST_FACTORS)
        self._factor_of_sum = steps / _STEPS
        self._topk = settings.topk
        self._exponent = _BITS - table.num_classes.bit_length()  # of the effects on class rates, each at most 2
        self._has_single = bool((table.num_positives == 1).any())

    def of_rows(
        self,
        scores: Matrix,
        positives: Positives,
        ranks: np.ndarray | None,
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the columns of some rows.

        Args:
            scores: (n, C).
            positives: Their labels.
            ranks: (n,) of `rank_scan`; None without Acc@k.
            threads: CPU threads.
            progress: Called with the fraction done.

        Returns:
            (n, W) int64, and the exponents of the metrics of the core, which are the same for all rows.
        """
        found = row_effects(
            scores,
            positives,
            self._table,
            self._sum_of,
            [CORE_METRICS[metric] for metric in self._core],
            prevalence=self._prevalence,
            threads=threads,
            progress=progress,
        )
        num_rows = scores.num_rows
        columns = [self._of_groups(found.sums, positives).reshape(num_rows, -1)]
        if ranks is not None:
            labelled = ranks >= 0
            for k in self._topk:
                hit = labelled & (ranks < k)
                if self._with_overall:
                    columns.append(self._of_accuracy(k, labelled, hit)[:, None])
                if self._groups:
                    columns.append(self._of_rates(k, positives, hit))
        if self._has_single:
            columns.append(self._of_single(positives))
        return np.concatenate(columns, axis=1), found.exponents

    def _of_groups(self, found: np.ndarray, positives: Positives) -> np.ndarray:
        """The sums (n, G, M) over the classes of each group, of those over classes of one group and one factor."""
        if (self._factor_of_sum == 1).all() and len(self._factor_of_sum) == self._num_groups:
            return found
        sums = np.zeros((len(found), self._num_groups, len(self._core)), np.int64)
        for number, (group, factor) in enumerate(zip(self._group_of_sum, self._factor_of_sum, strict=True)):
            part = found[:, number]
            if factor == 0:  # the loss of such a class is added later, in place of the effects of its positives
                part = part.copy()
                part[positives.rows[np.repeat(self._is_lone, positives.counts)]] = 0
            elif factor != 1:
                part = np.rint(part * factor).astype(np.int64)
            sums[:, group] += part
        return sums

    @lazy_property
    def _by_class(self) -> dict[Metric, np.ndarray]:
        """The values (C,) of each metric whose mean over classes has effects."""
        values: dict[Metric, np.ndarray] = {}
        for metric in self._core:
            prevalence = [self._prevalence] if metric == CALIBRATED_AP else []
            values[metric] = getattr(self._table, CORE_METRICS[metric])(*prevalence)
        for k in self._topk if self._groups else ():
            values[accuracy_at(k)] = self._hits.rate_per_class(k, self._table.num_positives)
        return values

    def _of_single(self, positives: Positives) -> np.ndarray:
        """The classes of which a row is the only positive, by group: (n, G) of their number, and of their values."""
        classes = np.repeat(np.arange(positives.num_classes), positives.counts)
        single = self._table.num_positives[classes] == 1
        cells = positives.rows[single].astype(np.int64) * self._num_groups + self._group_of[classes[single]]
        columns = np.zeros((1 + len(self._by_class), positives.num_rows * self._num_groups), np.int64)
        np.add.at(columns[0], cells, 1)
        for column, values in zip(columns[1:], self._by_class.values(), strict=True):
            scaled = np.rint(np.ldexp(values[classes[single]], self._exponent))
            np.add.at(column, cells, np.nan_to_num(scaled).astype(np.int64))
        return np.concatenate([column.reshape(-1, self._num_groups) for column in columns], axis=1)

    def _of_accuracy(self, k: int, labelled: np.ndarray, hit: np.ndarray) -> np.ndarray:
        """Without row i the share H / L is (H - h_i) / (L - 1); the difference is (H - L h_i) / (L (L - 1))."""
        total, hits = self._hits.labelled, int(self._hits.rows[self._hits.topk.index(k)])
        return np.where(labelled, hits - total * hit.astype(np.int64), 0)

    def _of_rates(self, k: int, positives: Positives, hit: np.ndarray) -> np.ndarray:
        """The effects on the rates of the classes of each group: (n, G), but for classes that go with the row."""
        hits, total = self._hits.classes[self._hits.topk.index(k)], self._table.num_positives
        pairs = total * (total - 1)
        scaled = np.zeros((2, len(total)))
        np.divide(np.stack([hits, hits - total]), pairs, out=scaled, where=pairs > 0)
        scaled = np.rint(np.ldexp(scaled * self._factors, self._exponent))
        scaled[:, self._is_lone] = 0
        classes = np.repeat(np.arange(positives.num_classes), positives.counts)
        cells = positives.rows.astype(np.int64) * self._num_groups + self._group_of[classes]
        of_positives = scaled[hit[positives.rows].astype(np.int64), classes]
        sums = np.bincount(cells, of_positives, minlength=positives.num_rows * self._num_groups)  # of whole numbers
        return sums.astype(np.int64).reshape(positives.num_rows, self._num_groups)

    def effects(self, columns: np.ndarray, exponents: np.ndarray) -> dict[str, MeanEffect]:
        """Turn the columns of all rows into the effect on each mean, by its flat name.

        Args:
            columns: (N, W), in the order of the row numbers.
            exponents: Those that `of_rows` returns.
        """
        effects: dict[str, MeanEffect] = {}
        single = None
        if self._has_single:
            width = self._num_groups * (1 + len(self._by_class))
            columns, last = columns[:, :-width], columns[:, -width:]
            single = last.reshape(-1, 1 + len(self._by_class), self._num_groups)
        per_group = columns[:, : self._num_groups * len(self._core)].reshape(-1, self._num_groups, len(self._core))
        for number, metric in enumerate(self._core):
            self._add(effects, metric, per_group[:, :, number], int(exponents[number]), self._defined(metric), single)
        rest = columns[:, self._num_groups * len(self._core) :]
        for k in self._topk:
            metric = accuracy_at(k)
            of_rows = rest[:, 0]
            rest = rest[:, 1:] if self._with_overall else rest
            if self._groups:
                of_groups, rest = rest[:, : self._num_groups], rest[:, self._num_groups :]
                self._add(effects, metric, of_groups, self._exponent, self._table.num_positives > 0, single)
            if self._with_overall:  # the overall Acc@k is a mean over rows, not over classes
                total = self._hits.labelled
                effects[metric.name] = MeanEffect(np.ascontiguousarray(of_rows), 0, total * (total - 1))
        return effects

    def _add(
        self,
        effects: dict[str, MeanEffect],
        metric: Metric,
        sums: np.ndarray,
        exponent: int,
        defined: np.ndarray,
        single: np.ndarray | None,
    ) -> None:
        """Add the effects on the means of a metric over all classes and over each group."""
        members: dict[str, tuple[np.ndarray, np.ndarray, slice]] = {}
        if self._with_overall:
            overall = sums[:, 0].copy()
            for number in range(1, sums.shape[1]):
                overall += sums[:, number]
            members[metric.name] = overall, defined, slice(None)
        for number, (name, classes) in enumerate(self._groups.items()):
            of_group = np.zeros(len(defined), bool)
            of_group[classes] = defined[classes]
            column = np.ascontiguousarray(sums[:, number])
            members[grouped_name(metric, name)] = column, of_group, slice(number, number + 1)
        for name, (column, counted, groups) in members.items():
            effect = MeanEffect(column, exponent, int(np.count_nonzero(counted)))
            if single is not None:
                number = 1 + list(self._by_class).index(metric)
                lost = single[:, 0, groups].sum(axis=1), single[:, number, groups].sum(axis=1)
                effect = self._without_single(effect, metric, counted, *lost)
            if (self._is_lone & counted).any():
                effect = self._without_lone(effect, metric, counted)
            effects[name] = effect

    def _without_single(
        self, effect: MeanEffect, metric: Metric, counted: np.ndarray, lost: np.ndarray, value: np.ndarray
    ) -> MeanEffect:
        """The effect where rows are the only positives of classes, which then leave the mean or count as 0.

        Without such a row, s of C classes are lost, whose values add to V. The mean A changes by (e + s A - V)/(C - s)
        where the effects on the other classes add to e, and by (e - V)/C if lost classes count as 0.

        Args:
            effect: The effects on the other classes.
            metric: The metric of the mean.
            counted: (C,) bool, the classes in the mean.
            lost: (N,) number of classes that are lost without each row.
            value: (N,) sum of their values, scaled as the effects on class rates.
        """
        leaves = self._leaves(metric)
        rows = np.flatnonzero((lost > 0) & ((effect.count > lost) | (not leaves)))
        values = self._by_class[metric][counted]
        change = np.ldexp(effect.sums[rows].astype(np.float64), -effect.exponent)
        change -= np.ldexp(value[rows].astype(np.float64), -self._exponent)
        if leaves:
            change += lost[rows] * mean_of_defined(values)
            change *= effect.count / (effect.count - lost[rows])
        effect = self._rescaled(effect, change)
        sums = effect.sums.copy()
        sums[rows] = np.rint(np.ldexp(change, effect.exponent)).astype(np.int64)
        return replace(effect, sums=sums)

    def _without_lone(self, effect: MeanEffect, metric: Metric, counted: np.ndarray) -> MeanEffect:
        """The effect where clusters have all positives of classes; the loss of s classes is at one row of the cluster.

        It is (s A - V) C/(C - s), or -V if lost classes count as 0, and is added to the effects on the other classes.
        """
        values = self._by_class[metric]
        of_lone = np.flatnonzero(self._is_lone & counted)
        rows, where = np.unique(self._row_of_lone[counted[self._is_lone]], return_inverse=True)
        lost = np.bincount(where.reshape(-1), minlength=len(rows))
        change = 0.0 - np.bincount(where.reshape(-1), values[of_lone], minlength=len(rows)).astype(np.float64)
        if self._leaves(metric):
            left = effect.count - lost
            change += lost * mean_of_defined(values[counted])
            change = np.where(left > 0, change * effect.count / np.maximum(left, 1), 0.0)
        effect = self._rescaled(effect, change)
        sums = effect.sums.copy()
        sums[rows] += np.rint(np.ldexp(change, effect.exponent)).astype(np.int64)
        return replace(effect, sums=sums)

    def _leaves(self, metric: Metric) -> bool:
        """Whether a class without positives leaves the mean, and does not count as 0."""
        return metric == ROC_AUC or self._absent == "nan" or metric not in CORE_METRICS

    def _rescaled(self, effect: MeanEffect, change: np.ndarray) -> MeanEffect:
        """The effect on a scale that has room for changes.

        They may be larger than any effect that the exponent was chosen for, or the only ones that are not 0.
        """
        exponent = effect.exponent if effect.sums.any() else self._exponent
        largest = float(np.max(np.abs(change), initial=0.0))
        if largest > 0:
            exponent = min(exponent, _SUM_BITS - math.frexp(largest)[1])
        sums = effect.sums
        if exponent < effect.exponent:
            sums = np.rint(np.ldexp(sums.astype(np.float64), exponent - effect.exponent)).astype(np.int64)
        return replace(effect, sums=sums, exponent=exponent)

    def _defined(self, metric: Metric) -> np.ndarray:
        """The classes that the mean of a metric counts: (C,) bool."""
        has_positives: np.ndarray = self._table.num_positives > 0
        if metric == ROC_AUC:
            return has_positives & (self._table.num_negatives > 0)
        return has_positives | (self._absent == "zero")


class EffectGroups(NamedTuple):
    """The groups whose effects one pass over the scores computes.

    Attributes:
        members: The class indices of each group, in no two of them.
        with_overall: Whether the pass computes the effects on the means over all classes too.
        is_own: Whether the groups are of a partition of one's own.
    """

    members: dict[str, np.ndarray]
    with_overall: bool = True
    is_own: bool = False


def effect_passes(
    settings: Settings, groups: Mapping[str, np.ndarray], partitions: Mapping[str, Sequence[str]], num_rows: int
) -> list[EffectGroups]:
    """Divide the groups of all partitions among passes over the scores, so that each has columns of bounded size.

    The first pass has the groups by training counts, and the means over all classes. Its effects are the same whatever
    other partitions there are.

    Args:
        settings: The conventions, with an interval.
        groups: The class indices of each group of every partition.
        partitions: The names of the groups of each partition.
        num_rows: N of all rows.
    """
    passes = [EffectGroups({name: groups[name] for name in partitions.get(COUNTS_PARTITION, ())})]
    at_once = max(1, _MOST_BYTES // max(1, 8 * num_rows * (1 + 2 * len(settings.estimated))))
    for partition, names in partitions.items():
        if partition != COUNTS_PARTITION:
            for first in range(0, len(names), at_once):
                own = {name: groups[name] for name in names[first : first + at_once]}
                passes.append(EffectGroups(own, with_overall=False, is_own=True))
    return passes


def in_order(parts: Iterable[tuple[np.ndarray, np.ndarray]], num_rows: int) -> np.ndarray:
    """Put the columns of rows in the order of their numbers.

    Args:
        parts: The numbers (n,) and the columns (n, W) of some rows; together they have each number once.
        num_rows: N.
    """
    parts = [part for part in parts if len(part[0])]
    columns = np.empty((num_rows, parts[0][1].shape[1]), np.int64)
    for numbers, of_part in parts:
        columns[numbers] = of_part
    return columns
