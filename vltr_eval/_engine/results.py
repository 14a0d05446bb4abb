"""The counts of an evaluation, and the report that they give: overall, for head, medium and tail, and class by class.

Means over classes are correctly rounded (math.fsum), so neither the order of the classes nor the machine changes a bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vltr_eval._base.groups import (
    COUNTS_PARTITION,
    DEFAULT_BOUNDS,
    Bounds,
    checked_train_counts,
    class_groups,
    partition_groups,
    preset_of,
    read_bounds,
)
from vltr_eval._base.lazy import lazy_property
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._base.version import __version__
from vltr_eval._engine.applied_thresholds import SAME_SET_NOTE, AppliedThresholds, threshold_result, true_positives
from vltr_eval._engine.calibration import Calibration, calibration_result
from vltr_eval._engine.draws import mean_and_std
from vltr_eval._engine.effects import class_variances
from vltr_eval._engine.hits import Hits
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.mean_effects import CORE_METRICS, Clusters, MeanEffect
from vltr_eval._engine.rank_table import RankTable, absent_value, mean_of_defined, means_of_defined
from vltr_eval.formats.class_files import numbers_in_memory
from vltr_eval.intervals.means import interval
from vltr_eval.intervals.one_class import MIN_POSITIVES, effective_n, wilson
from vltr_eval.report.means import Group
from vltr_eval.report.names import (
    AP,
    EXPECTED_SAP,
    OVERALL,
    ROC_AUC,
    SAP,
    SAP_CHANCE,
    SAP_STD,
    Metric,
    accuracy_at,
    grouped_name,
    interval_names,
)
from vltr_eval.report.report import Report
from vltr_eval.report.settings import CLUSTERS_COLUMN, UNKNOWN_COLUMN, Settings


@dataclass(frozen=True, eq=False)
class ClassInfo:
    """Facts about the classes beside their scores and labels.

    Attributes:
        names: C names, or None.
        train_counts: (C,) int64, or None.
        bounds: The numbers that separate the groups by training counts; None without counts.
        groups: The class indices of each group of every partition, by its name in a report.
        partitions: The names of the groups of each partition. That by training counts has the name "".
        preset: The name of the preset that the bounds are of, if its groups are not head, medium and tail.
        own_groups: The group of each class in each partition of one's own, None for a class in no group.
        thresholds: Those that the evaluation applies, or None.
    """

    names: tuple[str, ...] | None = None
    train_counts: np.ndarray | None = None
    bounds: tuple[float, float] | None = None
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    partitions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    preset: str | None = None
    own_groups: dict[str, tuple[str | None, ...]] = field(default_factory=dict)
    thresholds: AppliedThresholds | None = None

    @classmethod
    def checked(
        cls,
        num_classes: int,
        train_counts: Sequence[float] | Mapping[str, float] | np.ndarray | None = None,
        bounds: Bounds = DEFAULT_BOUNDS,
        names: Sequence[str] | None = None,
        groups: Any = None,
    ) -> ClassInfo:
        """Check the lengths and values of these facts.

        Args:
            num_classes: C.
            train_counts: (C,) numbers, or numbers by class name.
            bounds: Two numbers or a preset, for the groups by training counts.
            names: C names.
            groups: Partitions of one's own, see `vltr_eval.formats.group_files.read_groups`.

        Raises:
            ValueError: A length is not ``num_classes``, or a value is out of range.
            TypeError: The train counts are no numbers, or the groups no text.
        """
        if names is not None and len(names) != num_classes:
            raise ValueError(f"class_names: {len(names)} names, but scores has {num_classes} classes")
        names = None if names is None else tuple(map(str, names))
        numbers = read_bounds(bounds).bounds
        own: dict[str, tuple[str | None, ...]] = {}
        if groups is not None:
            from vltr_eval.formats.group_files import read_groups  # not above: few evaluations have groups of their own

            own = read_groups(groups, num_classes, names)
        found: dict[str, dict[str, np.ndarray]] = {}
        counts = None
        if train_counts is not None:
            counts = checked_train_counts(numbers_in_memory(train_counts, names), num_classes)
            found[COUNTS_PARTITION] = class_groups(counts, bounds)
        found |= partition_groups(own)
        partitions = {partition: tuple(members) for partition, members in found.items()}
        return cls(
            names,
            counts,
            None if counts is None else numbers,
            {name: indices for members in found.values() for name, indices in members.items()},
            partitions,
            None if counts is None else preset_of(bounds),
            own,
        )

    def checked_for(self, positives: Positives, ids: Any = None) -> ClassInfo:
        """These facts, with the thresholds checked for the labels of all rows, see `AppliedThresholds.checked_for`."""
        if self.thresholds is None:
            return self
        return replace(self, thresholds=self.thresholds.checked_for(positives, ids))

    @property
    def own_partitions(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The partitions of one's own as `Settings` has them."""
        return tuple((name, groups) for name, groups in self.partitions.items() if name != COUNTS_PARTITION)

    @property
    def fingerprint(self) -> str:
        """A hash that is equal on two ranks if they have the same facts."""
        counts = None if self.train_counts is None else self.train_counts.tolist()
        known = (self.names, counts, self.bounds, self.preset, self.own_groups)
        import hashlib  # not above: it loads OpenSSL, which takes milliseconds

        return hashlib.sha256(repr(known).encode()).hexdigest()

    def columns(self) -> dict[str, tuple[Any, ...]]:
        """These facts as columns of the per-class table."""
        columns: dict[str, tuple[Any, ...]] = {}
        if self.names is not None:
            columns["name"] = self.names
        if self.train_counts is not None:
            group_of = np.empty(len(self.train_counts), object)
            for name in self.partitions[COUNTS_PARTITION]:
                group_of[self.groups[name]] = name
            columns["group"] = tuple(group_of.tolist())
            columns["train_count"] = tuple(self.train_counts.tolist())
        return columns | self.own_groups


def means_by_group(
    class_info: ClassInfo, by_class: Mapping[Metric, np.ndarray], absent: np.ndarray, trials: np.ndarray | None
) -> tuple[Group, ...]:
    """Compute the means over all classes, then over the groups of each partition.

    Args:
        class_info: Facts about the classes.
        by_class: (C,) values of each metric.
        absent: (C,) bool, classes without positives.
        trials: (T, C) AP of each SAP trial, or None.
    """
    overall = _means(OVERALL, np.arange(len(absent)), by_class, absent, trials)
    parts = [
        replace(_means(name, class_info.groups[name], by_class, absent, trials), partition=partition)
        for partition, names in class_info.partitions.items()
        for name in names
    ]
    return (overall, *parts)


def _means(
    name: str,
    members: np.ndarray,
    by_class: Mapping[Metric, np.ndarray],
    absent: np.ndarray,
    trials: np.ndarray | None,
) -> Group:
    columns = np.array([column[members] for column in by_class.values()])
    means = means_of_defined(columns.reshape(len(by_class), len(members)))
    values = dict(zip((metric.name for metric in by_class), means.tolist(), strict=True))
    if trials is not None:
        # The spread of the group's mean over trials, not the mean of its classes' spreads.
        spread = mean_and_std(means_of_defined(trials[:, members]))
        values[SAP.name], values[SAP_STD.name] = map(float, spread)
    return Group(name, len(members), int(np.count_nonzero(absent[members])), values)


def chance_note(table: RankTable) -> str | None:
    """Return a sentence if the scores rank no better than random ones; None if they do, or with too few labels.

    The mean ROC-AUC over the defined classes is compared with 0.5, the mean of random scores. The variance of one
    class is (P + N + 1) / (12 P N) for P positives and N negatives (Mann and Whitney 1947). Classes count as
    independent, and there is no correction for ties. A mean above 0.5 by three standard errors has no note. No mean
    above 0.65 has one.
    """
    auc = table.statistics.roc_auc
    defined = ~np.isnan(auc)
    positives, negatives = (counts[defined].astype(np.float64) for counts in (table.num_positives, table.num_negatives))
    if not positives.size:
        return None
    variance = (positives + negatives + 1) / (12 * positives * negatives)
    mean, error = mean_of_defined(auc), math.sqrt(math.fsum(variance.tolist())) / len(variance)
    if error > _MOST_ERROR or mean > 0.5 + _SURE * error:
        return None
    sentence = f"the mean ROC-AUC {mean:.4f} is"
    if mean < min(_REVERSED, 0.5 - _SURE * error):
        return (
            f"{sentence} far below the 0.5 of random scores: does a higher score mean a surer prediction? "
            "Negate distances and losses"
        )
    return (
        f"{sentence} no better than the 0.5 of random scores (standard error {error:.4f}): "
        "are the rows and the classes of scores and labels in the same order?"
    )


_SURE = 3  # standard errors
_MOST_ERROR = 0.05  # a larger standard error makes the mean ROC-AUC useless
_REVERSED = 0.4  # a lower mean ROC-AUC cannot come from exchanged rows

BEFORE_SLICES = 0.4
"""Share of the time of an evaluation with slices that comes before them."""

_OF_METRICS = 0.9  # share of the report's time; the rest is for ties, means and notes
_OF_REPORT = 0.5  # share of the time of counting and reporting, if the report has expected SAP


def share_of_counting(settings: Settings) -> float:
    """Estimate the fraction of an evaluation's time after which the counts are complete and the report begins."""
    return 0.95 if settings.sap is None else 1.0 - _OF_REPORT


@dataclass(frozen=True, eq=False)
class ClusterCounts:
    """The counts of clusters of rows that intervals need.

    Attributes:
        clusters: The cluster of each row.
        positives: (C,) int64, clusters with a positive of each class.
        labelled: Clusters with a labelled row.
        variances: The variance (C,) of each metric with influences that are summed within clusters.
    """

    clusters: Clusters
    positives: np.ndarray
    labelled: int
    variances: dict[Metric, np.ndarray]


@dataclass(frozen=True, eq=False)
class EvaluationCounts:
    """The counts of an evaluation, with the settings that turn them into a report.

    Attributes:
        settings: The conventions.
        table: The rank table.
        trials: (T, C) AP of each SAP trial, or None.
        hits: None for counts of a saved table.
        ranks: (N,) ranks of `rank_scan`, if all rows are on one device; else None.
        repeated_rows: Number of rows of samples that came before. They are not counted again.
        effects: The drop-one effect of each row on each mean by its flat name, if the settings have an interval. For
            clustered rows they have `Clusters.effect_factors`, so that sums within clusters are effects of clusters.
        clustered: The clusters of the rows, if they are clustered.
        errors: The standard errors of means over groups of one's own, by their flat names, where effects are not kept.
        applied: The thresholds of the classes, if any are applied.
        predicted: (C,) int64, the scores that are at least the threshold of their class.
        dtype: The dtype of the scores.
        calibration: The sums of the scores in bins, if requested.
    """

    settings: Settings
    table: RankTable
    trials: np.ndarray | None = None
    hits: Hits | None = None
    ranks: np.ndarray | None = None
    repeated_rows: int = 0
    effects: dict[str, MeanEffect] | None = None
    clustered: ClusterCounts | None = None
    errors: dict[str, float] = field(default_factory=dict)
    applied: AppliedThresholds | None = None
    predicted: np.ndarray | None = None
    dtype: str = ""
    calibration: Calibration | None = None

    def report(self, class_info: ClassInfo, progress: Progress | None = None) -> Report:
        """Turn the counts into plain data: overall, by group and by class.

        Args:
            class_info: Facts about the classes.
            progress: Called with the fraction done, which never falls and ends at 1.
        """
        table, by_class = self.table, self._by_class(part_of(progress, 0.0, _OF_METRICS))
        lower, upper = map(self._filled, (table.statistics.tie_lower, table.statistics.tie_upper))
        columns = self._columns(by_class)
        parts, more_columns = self._more_parts(class_info)
        columns |= {name: np.array(column) for name, column in more_columns.items()}
        columns |= {"tie_rate": table.tie_rate(), "AP_tie_lower": lower, "AP_tie_upper": upper}
        same_set = self.applied is not None and self.applied.same_set
        unknown = table.unknown
        notes = [note for note in (chance_note(table), SAME_SET_NOTE if same_set else None) if note is not None]
        if progress is not None:
            progress(1.0)
        return Report(
            version=__version__,
            settings=self.settings,
            num_rows=int(table.num_rows),
            num_classes=int(table.num_classes),
            rows_without_labels=self._rows_without_labels(),
            tie_rate=self._overall_tie_rate(),
            mAP_tie_interval=(mean_of_defined(lower), mean_of_defined(upper)),
            groups=self._groups(class_info, by_class),
            classes={
                **class_info.columns(),
                "num_positives": tuple(table.num_positives.tolist()),
                "num_negatives": tuple(table.num_negatives.tolist()),
                **({} if unknown is None or not unknown.any() else {UNKNOWN_COLUMN: tuple(unknown.tolist())}),
                **({} if self.clustered is None else {CLUSTERS_COLUMN: tuple(self.clustered.positives.tolist())}),
                **{name: tuple(column.tolist()) for name, column in columns.items()},
            },
            notes=tuple(notes),
            num_clusters=None if self.clustered is None else self.clustered.clusters.count,
            **parts,
        )

    def means(self, class_info: ClassInfo, progress: Progress | None = None) -> tuple[Group, ...]:
        """Compute the means of the report, without its values of single classes; the arguments of `report`."""
        found = self._groups(class_info, self._by_class(part_of(progress, 0.0, _OF_METRICS)))
        if progress is not None:
            progress(1.0)
        return found

    def _more_parts(self, class_info: ClassInfo) -> tuple[dict[str, Any], dict[str, tuple[float, ...]]]:
        """The parts of the report on thresholds and calibration, and their columns."""
        parts: dict[str, Any] = {}
        columns: dict[str, tuple[float, ...]] = {}
        groups = {OVERALL: np.arange(self.table.num_classes), **class_info.groups}
        applied = self.applied
        if applied is not None and self.predicted is not None:
            applied.check_names(class_info.names)
            tp = true_positives(self.table, applied.for_scores(self.dtype))
            counts = tp, self.predicted, self.table.num_positives
            parts["thresholds"], found = threshold_result(applied, groups, counts, self.settings.absent)
            columns |= found
        if self.calibration is not None:
            parts["calibration"], found = calibration_result(self.calibration, groups)
            columns |= found
        return parts, columns

    def __repr__(self) -> str:
        trials = 0 if self.trials is None else len(self.trials)
        shape = f"{self.table.num_rows} rows and {self.table.num_classes} classes"
        return f"<EvaluationCounts of {shape}, {trials} SAP trials>"

    def _by_class(self, progress: Progress | None) -> dict[Metric, np.ndarray]:
        """The values (C,) of every metric of the settings, in their order."""
        accuracies = {accuracy_at(k): k for k in self.settings.topk}
        return {
            metric: self._accuracy(accuracies[metric]) if metric in accuracies else _VALUES[metric](self, progress)
            for metric in self.settings.metrics
        }

    def _accuracy(self, k: int) -> np.ndarray:
        if self.hits is None:
            raise ValueError(f"topk: expected () for the counts of a saved table, which has no hits, got {k}")
        return self.hits.rate_per_class(k, self.table.num_positives)

    @lazy_property
    def _trial_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (C,) over the SAP trials."""
        if self.trials is None:
            raise ValueError(f"sap: expected no trials for counts without them, got {self.settings.sap}")
        mean, std = map(self._filled, mean_and_std(self.trials))
        return mean, std

    def _groups(self, class_info: ClassInfo, by_class: Mapping[Metric, np.ndarray]) -> tuple[Group, ...]:
        trials = None if self.trials is None else self._filled(self.trials)
        overall, *parts = means_by_group(class_info, by_class, self._absent, trials)
        if self.hits is not None:
            rates = {accuracy_at(k).name: self.hits.rate(k) for k in self.settings.topk}
            overall = replace(overall, values=overall.values | rates)
        return tuple(map(self._with_intervals, (overall, *parts)))

    def _with_intervals(self, group: Group) -> Group:
        """The group with the error and the interval of each mean, if the settings have an interval."""
        level = self.settings.interval
        if level is None:
            return group
        if self.effects is None:
            raise ValueError(f"interval: expected None for the counts of a saved table, which has no rows, got {level}")
        errors, intervals = {}, {}
        for metric in self.settings.estimated:
            name, value = grouped_name(metric, group.name), group.values[metric.name]
            error = self.errors[name] if name in self.errors else self._error(self.effects[name])
            errors[metric.name] = error if error > 0 else math.nan  # 0: the rows say nothing about the spread
            if metric.interval == "share" and group.name == OVERALL:
                intervals[metric.name] = self._interval_of_accuracy(value, error, level)
            else:
                intervals[metric.name] = interval(value, error, level)
        return replace(group, errors=errors, intervals=intervals)

    def _error(self, effect: MeanEffect) -> float:
        return effect.clustered_error(None if self.clustered is None else self.clustered.clusters)

    def _interval_of_accuracy(self, value: float, error: float, level: float) -> tuple[float, float]:
        """Wilson's interval of the share of hits among the labelled rows."""
        rows = 0 if self.hits is None else self.hits.labelled
        n = np.float64(rows)
        if self.clustered is not None:
            # Many clusters vary as their rows say. Few, or clusters that are all alike, count as one trial each.
            varies = error > 0 and self.clustered.labelled >= MIN_POSITIVES
            n = effective_n(value, error * error, rows if varies else self.clustered.labelled, "ap")
        low, high = wilson(value, n, level)
        return float(low), float(high)

    def _columns(self, by_class: Mapping[Metric, np.ndarray]) -> dict[str, np.ndarray]:
        """The values of each metric, followed by the ends of their intervals if there are any."""
        columns, level = {}, self.settings.interval
        for metric, values in by_class.items():
            columns[metric.class_name] = values
            if level is not None and metric.interval:
                _, low, high = interval_names(metric.class_name)
                columns[low], columns[high] = wilson(values, self._effective_n(metric, values), level)
        return columns

    def _effective_n(self, metric: Metric, values: np.ndarray) -> np.ndarray:
        """The effective number of positives (C,) of each class."""
        if self.clustered is not None:
            kind = "ap" if metric.interval == "share" else metric.interval
            return effective_n(values, self.clustered.variances[metric], self.clustered.positives, kind)
        of_influences = metric in CORE_METRICS
        variances = class_variances(self.table, CORE_METRICS[metric]) if of_influences else np.zeros(len(values))
        return effective_n(values, variances, self.table.num_positives, metric.interval)

    @lazy_property
    def _absent(self) -> np.ndarray:
        absent: np.ndarray = self.table.num_positives == 0
        return absent

    def _filled(self, values: np.ndarray) -> np.ndarray:
        """The values (..., C), with those of absent classes replaced as the settings require."""
        filled: np.ndarray = np.where(self._absent, absent_value(self.settings.absent), values)
        return filled

    def _overall_tie_rate(self) -> float:
        """Share of all positives that are tied with at least one negative of their class."""
        tied, positives = int(self.table.statistics.tied_positives.sum()), int(self.table.num_positives.sum())
        return tied / positives if positives else math.nan

    def _rows_without_labels(self) -> int | None:
        return None if self.hits is None else int(self.table.num_rows - self.hits.labelled)


_VALUES: dict[Metric, Callable[[EvaluationCounts, Progress | None], np.ndarray]] = {
    AP: lambda counts, _: counts._filled(counts.table.statistics.average_precision),
    SAP: lambda counts, _: counts._trial_statistics[0],
    SAP_STD: lambda counts, _: counts._trial_statistics[1],
    EXPECTED_SAP: lambda counts, progress: counts._filled(
        counts.table.expected_sampled_average_precision(progress=progress)
    ),
    SAP_CHANCE: lambda counts, _: counts._filled(counts.table.statistics.sampled_average_precision_chance),
    ROC_AUC: lambda counts, _: counts.table.statistics.roc_auc,
}
"""The values (C,) of each metric of `vltr_eval.report.names.METRICS`."""
