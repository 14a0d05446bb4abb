"""What an evaluation counted, and how that becomes a report: overall, for head, medium and tail, and class by class.

Means over classes are correctly rounded (math.fsum), so neither the order of the classes nor the machine moves a bit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vltr_eval._base.groups import DEFAULT_BOUNDS, checked_bounds, checked_train_counts, class_groups
from vltr_eval._base.lazy import lazy_property
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._base.version import __version__
from vltr_eval._engine.draws import mean_and_std
from vltr_eval._engine.hits import Hits
from vltr_eval._engine.rank_table import RankTable, absent_value, mean_of_defined
from vltr_eval.formats.class_files import numbers_in_memory
from vltr_eval.report.means import Group
from vltr_eval.report.names import AP, EXPECTED_SAP, OVERALL, ROC_AUC, SAP, SAP_CHANCE, SAP_STD, Metric, accuracy_at
from vltr_eval.report.report import Report
from vltr_eval.report.settings import Settings


@dataclass(frozen=True, eq=False)
class ClassInfo:
    """What is known of the classes beside their scores and labels."""

    names: tuple[str, ...] | None = None
    train_counts: np.ndarray | None = None
    bounds: tuple[float, float] | None = None
    groups: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def checked(
        cls,
        num_classes: int,
        train_counts: Sequence[float] | np.ndarray | None = None,
        bounds: tuple[float, float] = DEFAULT_BOUNDS,
        names: Sequence[str] | None = None,
    ) -> ClassInfo:
        """What is known, after checking lengths and values; without train counts there are no groups and no bounds."""
        if names is not None and len(names) != num_classes:
            raise ValueError(f"class_names: {len(names)} names, but scores has {num_classes} classes")
        names = None if names is None else tuple(map(str, names))
        bounds = checked_bounds(bounds)
        if train_counts is None:
            return cls(names)
        counts = checked_train_counts(numbers_in_memory(train_counts, names), num_classes)
        return cls(names, counts, bounds, class_groups(counts, bounds))

    @property
    def fingerprint(self) -> str:
        """By which ranks tell whether they know the same."""
        known = (self.names, None if self.train_counts is None else self.train_counts.tolist(), self.bounds)
        return hashlib.sha256(repr(known).encode()).hexdigest()

    def columns(self) -> dict[str, tuple]:
        """What is known, as columns of the per-class table."""
        columns: dict[str, tuple] = {}
        if self.names is not None:
            columns["name"] = self.names
        if self.train_counts is not None:
            group_of = {c: name for name, members in self.groups.items() for c in members.tolist()}
            columns["group"] = tuple(group_of[c] for c in range(len(self.train_counts)))
            columns["train_count"] = tuple(self.train_counts.tolist())
        return columns


def means_by_group(
    class_info: ClassInfo, by_class: Mapping[Metric, np.ndarray], absent: np.ndarray, trials: np.ndarray | None
) -> tuple[Group, ...]:
    """The means over all classes, then over head, medium and tail where train counts are known.

    by_class: (C,) values of each metric. absent: (C,) bool, classes without positives. trials: (T, C) AP of each SAP
    trial, or None.
    """
    groups = {OVERALL: np.arange(len(absent)), **class_info.groups}
    return tuple(_means(name, members, by_class, absent, trials) for name, members in groups.items())


def _means(
    name: str,
    members: np.ndarray,
    by_class: Mapping[Metric, np.ndarray],
    absent: np.ndarray,
    trials: np.ndarray | None,
) -> Group:
    values = {metric.name: mean_of_defined(column[members]) for metric, column in by_class.items()}
    if trials is not None:
        # The spread of the group's mean over trials, not the mean of its classes' spreads.
        means = np.array([mean_of_defined(trial) for trial in trials[:, members]])
        values[SAP.name], values[SAP_STD.name] = map(float, mean_and_std(means))
    return Group(name, len(members), int(np.count_nonzero(absent[members])), values)


def chance_note(table: RankTable) -> str | None:
    """A sentence for scores that rank no better than random ones; None where they do, or where labels are too few.

    The mean ROC-AUC over the defined classes is compared with 0.5, the mean of random scores. The variance of one
    class is (P + N + 1) / (12 P N) for P positives and N negatives (Mann and Whitney 1947). Classes count as
    independent, and there is no correction for ties. A mean above 0.5 by three standard errors is never noted, so no
    mean above 0.65 is.
    """
    auc = table.roc_auc()
    defined = ~np.isnan(auc)
    positives, negatives = (counts[defined].astype(np.float64) for counts in (table.num_positives, table.num_negatives))
    if not positives.size:
        return None
    variance = (positives + negatives + 1) / (12 * positives * negatives)
    mean, error = mean_of_defined(auc), math.sqrt(math.fsum(variance.tolist())) / len(variance)
    if error > _MOST_ERROR or mean > 0.5 + _SURE * error:
        return None
    found = f"the mean ROC-AUC {mean:.4f} is"
    if mean < min(_REVERSED, 0.5 - _SURE * error):
        return (
            f"{found} far below the 0.5 of random scores: does a higher score mean a surer prediction? "
            "Negate distances and losses"
        )
    return (
        f"{found} no better than the 0.5 of random scores (standard error {error:.4f}): "
        "are the rows and the classes of scores and labels in the same order?"
    )


_SURE = 3  # standard errors
_MOST_ERROR = 0.05  # of a mean ROC-AUC that says anything about the whole set
_REVERSED = 0.4  # a mean ROC-AUC that an exchange of rows does not explain


_OF_METRICS = 0.9  # of the time of a report; the rest is for ties, means and notes
_OF_REPORT = 0.5  # of the time of counting and reporting, where the report has expected SAP


def share_of_counting(settings: Settings) -> float:
    """The fraction of an evaluation at which the counts are made, roughly, and the report begins."""
    return 0.95 if settings.sap is None else 1.0 - _OF_REPORT


@dataclass(frozen=True, eq=False)
class EvaluationCounts:
    """What an evaluation counted, to be read under the conventions of the settings.

    trials: (T, C) AP of each SAP trial. hits: None when only a saved table is at hand. ranks: (N,) those of `scan`, of
    rows that lie in one place. repeated_rows: rows of samples that came before, which were not counted again.
    """

    settings: Settings
    table: RankTable
    trials: np.ndarray | None = None
    hits: Hits | None = None
    ranks: np.ndarray | None = None
    repeated_rows: int = 0

    def report(self, class_info: ClassInfo, progress: Progress | None = None) -> Report:
        """The findings as plain data: overall, by group and by class.

        Args:
            about: What is known of the classes.
            progress: Called with the fraction done, which never falls and ends at 1.
        """
        table, by_class = self.table, self._by_class(part_of(progress, 0.0, _OF_METRICS))
        lower, upper = map(self._filled, table.tie_interval())
        columns = {metric.class_name: column for metric, column in by_class.items()}
        columns |= {"tie_rate": table.tie_rate(), "AP_tie_lower": lower, "AP_tie_upper": upper}
        note = chance_note(table)
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
                **{name: tuple(column.tolist()) for name, column in columns.items()},
            },
            notes=() if note is None else (note,),
        )

    def __repr__(self) -> str:
        trials = 0 if self.trials is None else len(self.trials)
        shape = f"{self.table.num_rows} rows and {self.table.num_classes} classes"
        return f"<EvaluationCounts of {shape}, {trials} SAP trials>"

    def _by_class(self, progress: Progress | None) -> dict[Metric, np.ndarray]:
        """The values (C,) of every metric that the settings ask for, in their order."""
        table, settings = self.table, self.settings
        values = {AP: self._filled(table.average_precision()), ROC_AUC: table.roc_auc()}
        if self.trials is not None:
            values[SAP], values[SAP_STD] = map(self._filled, mean_and_std(self.trials))
        if settings.sap is not None:
            values[EXPECTED_SAP] = self._filled(table.expected_sampled_average_precision(progress=progress))
            values[SAP_CHANCE] = self._filled(table.sampled_average_precision_chance())
        if self.hits is not None:
            values.update({accuracy_at(k): self.hits.rate_per_class(k, table.num_positives) for k in settings.topk})
        return {metric: values[metric] for metric in settings.metrics}

    def _groups(self, class_info: ClassInfo, by_class: Mapping[Metric, np.ndarray]) -> tuple[Group, ...]:
        trials = None if self.trials is None else self._filled(self.trials)
        overall, *parts = means_by_group(class_info, by_class, self._absent, trials)
        if self.hits is not None:
            rates = {accuracy_at(k).name: self.hits.rate(k) for k in self.settings.topk}
            overall = replace(overall, values=overall.values | rates)
        return overall, *parts

    @lazy_property
    def _absent(self) -> np.ndarray:
        return self.table.num_positives == 0

    def _filled(self, values: np.ndarray) -> np.ndarray:
        """The values (..., C), with what the convention asks for at classes without positives."""
        return np.where(self._absent, absent_value(self.settings.absent), values)

    def _overall_tie_rate(self) -> float:
        """Share of all positives that are tied with at least one negative of their class."""
        tied, positives = int(self.table.tied_positives().sum()), int(self.table.num_positives.sum())
        return tied / positives if positives else math.nan

    def _rows_without_labels(self) -> int | None:
        return None if self.hits is None else int(self.table.num_rows - self.hits.labelled)
