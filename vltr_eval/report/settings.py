"""The settings of an evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from vltr_eval._base.arguments import check_level
from vltr_eval._base.groups import (
    COUNTS_PARTITION,
    GROUP_NAMES,
    PRESETS,
)
from vltr_eval.report.names import (
    AP,
    CALIBRATION_METRICS,
    METRICS,
    OVERALL,
    THRESHOLD_COLUMNS,
    THRESHOLD_METRICS,
    Metric,
    accuracy_at,
    grouped_name,
    interval_names,
    name_under_prior,
)

MAX_TRIALS = 2**31 - 1

CLUSTERS_COLUMN = "num_positive_clusters"
"""The per-class column with the number of clusters that have a positive of the class."""

UNKNOWN_COLUMN = "num_unknown"
"""The per-class column with the number of cells that are neither positive nor negative, if there are any."""

MAX_BINS = 1000


def check_bins(bins: int, name: str = "bins") -> int:
    """Return the number of bins of a calibration error.

    Raises:
        ValueError: It is no integer from 1 to `MAX_BINS`.
    """
    if isinstance(bins, bool) or not hasattr(bins, "__index__") or not 1 <= int(bins) <= MAX_BINS:
        raise ValueError(f"{name}: expected a number of bins from 1 to {MAX_BINS}, got {bins!r}")
    return int(bins)


@dataclass(frozen=True)
class Settings:
    """The conventions of an evaluation; with the input and the version they determine every number of a report.

    Attributes:
        sap: Number of SAP trials, "exact" for the closed form alone, None for no SAP.
        seed: Seed of the SAP trials.
        topk: The values of k for Acc@k, ascending.
        bounds: Train counts that separate head, medium and tail; None without train counts.
        absent: "nan" or "zero", the AP and SAP of classes without positives.
        interval: Level of the intervals, such as 0.95; None for no intervals.
        preset: The preset that names the groups by training counts otherwise than head, medium and tail; else None.
        partitions: Partitions of one's own: the name of each, and the names of its groups in the report.
        thresholds: SHA-256 of the thresholds that are applied; None for none.
        calibration: Number of bins of the calibration errors; None for none.

    Raises:
        ValueError: ``sap`` or ``absent`` has another value, ``interval`` is not between 0 and 1, ``calibration`` is out
            of range, or the name of a partition or of a group is taken.
        TypeError: ``interval`` is no number.
    """

    COUNT_COLUMNS: ClassVar[tuple[str, ...]] = ("num_positives", "num_negatives")
    TIE_COLUMNS: ClassVar[tuple[str, ...]] = ("tie_rate", "AP_tie_lower", "AP_tie_upper")

    sap: int | str | None = 15
    seed: int = 0
    topk: tuple[int, ...] = (1, 5)
    bounds: tuple[float, float] | None = None
    absent: str = "nan"
    interval: float | None = None
    preset: str | None = None
    partitions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    thresholds: str | None = None
    calibration: int | None = None

    def __post_init__(self) -> None:
        is_trials = isinstance(self.sap, int) and not isinstance(self.sap, bool) and 1 <= self.sap <= MAX_TRIALS
        if not (is_trials or self.sap in ("exact", None)):
            expected = f'a number of trials from 1 to {MAX_TRIALS}, "exact" or None'
            raise ValueError(f"sap: expected {expected}, got {self.sap!r}")
        if self.absent not in ("nan", "zero"):
            raise ValueError(f'absent: expected "nan" or "zero", got {self.absent!r}')
        if self.interval is not None:
            object.__setattr__(self, "interval", check_level(self.interval, "interval"))
        if self.preset is not None and (self.preset not in PRESETS or PRESETS[self.preset].bounds != self.bounds):
            raise ValueError(f"preset: expected one of the bounds {self.bounds}, got {self.preset!r}")
        if self.calibration is not None:
            object.__setattr__(self, "calibration", check_bins(self.calibration, "calibration"))
        if self.partitions:
            self._check_partitions()

    def _check_partitions(self) -> None:
        """Raise ValueError if a column or a mean of the report would have the name of another one."""
        columns = {
            "class",
            "name",
            "group",
            "train_count",
            CLUSTERS_COLUMN,
            UNKNOWN_COLUMN,
            *self.COUNT_COLUMNS,
            *self.TIE_COLUMNS,
        }
        for metric in (*METRICS, *self.metrics, *THRESHOLD_COLUMNS, *CALIBRATION_METRICS):
            columns |= {metric.class_name, *interval_names(metric.class_name)}
        columns |= {"share", "effective_positives"}  # under other class distributions, behind their name and a slash
        names = [name for name, _ in self.partitions]
        for number, name in enumerate(names):
            if not name or name in names[:number] or name.rpartition("/")[2] in columns:
                raise ValueError(
                    "groups: expected a partition whose name no other column of the per-class table has, got "
                    f"{name!r}; rename it"
                )
        # With or without intervals: a mean over the group "low" would have the name of an end of an interval, mAP_low.
        known = (*METRICS, *self.metrics, *THRESHOLD_METRICS, *CALIBRATION_METRICS)
        metrics = {metric.name: metric for metric in known}.values()
        owners: dict[str, str] = {}
        seen: set[str] = set()
        for group in self.group_names:
            means = [grouped_name(metric, group) for metric in metrics]
            means += [name for mean in means for name in interval_names(mean)]
            taken = next((mean for mean in means if owners.setdefault(mean, group) != group), None)
            if group in seen or taken is not None:
                other = group if taken is None else owners[taken]
                raise ValueError(
                    f"groups: expected names that give every mean a name of its own, got the group {group!r} beside "
                    f"{other!r}; rename it"
                )
            seen.add(group)

    @property
    def trials(self) -> int:
        """Number of SAP trials to draw."""
        return self.sap if isinstance(self.sap, int) else 0

    @property
    def count_names(self) -> tuple[str, ...]:
        """The names of groups by training counts, whether or not there are counts."""
        return GROUP_NAMES if self.preset is None else PRESETS[self.preset].names

    @property
    def all_partitions(self) -> dict[str, tuple[str, ...]]:
        """The names of the groups of every partition. That by training counts, if there are any, has the name ""."""
        by_counts = {} if self.bounds is None else {COUNTS_PARTITION: self.count_names}
        return {**by_counts, **dict(self.partitions)}

    @property
    def group_names(self) -> tuple[str, ...]:
        """The names of the groups of a report, "overall" first."""
        return (OVERALL, *(name for groups in self.all_partitions.values() for name in groups))

    @property
    def signature_of_groups(self) -> str:
        """The part of the signature that names the groups; "" without groups."""
        parts = []
        if self.bounds is not None:
            cuts = "train" + ",".join(f">{bound!r}" for bound in self.bounds)
            parts.append(cuts if self.preset is None else f"{cuts}({self.preset})")
        parts += [f"{_in_signature(name)}({len(groups)})" for name, groups in self.partitions]
        return "+".join(parts)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of a report under these settings, in their order."""
        met = {"", *(["sap"] if self.sap is not None else []), *(["trials"] if self.trials else [])}
        return (*(metric for metric in METRICS if metric.needs in met), *map(accuracy_at, self.topk))

    @property
    def estimated(self) -> tuple[Metric, ...]:
        """The metrics that have intervals under these settings.

        SAP of trials has none: its uncertainty over rows is that of expected SAP.
        """
        return () if self.interval is None else tuple(metric for metric in self.metrics if metric.interval)

    @property
    def prior_metrics(self) -> tuple[Metric, ...]:
        """The metrics that a report also has under other class distributions."""
        return (AP, *map(accuracy_at, self.topk))

    @property
    def more_metrics(self) -> tuple[Metric, ...]:
        """The metrics of groups that a report has beside `metrics`: at thresholds, and of calibration."""
        at_thresholds = () if self.thresholds is None else THRESHOLD_METRICS
        return (*at_thresholds, *(() if self.calibration is None else CALIBRATION_METRICS))

    @property
    def more_columns(self) -> tuple[Metric, ...]:
        """The metrics of classes that a report has beside `metrics`."""
        at_thresholds = () if self.thresholds is None else THRESHOLD_COLUMNS
        calibration = () if self.calibration is None else CALIBRATION_METRICS
        return (*at_thresholds, *(metric for metric in calibration if metric.class_name))

    def metric_names(self, groups: Sequence[str] = (OVERALL,), priors: Iterable[str] = ()) -> list[str]:
        """Return the keys that ``Report.metrics()`` has under these settings."""
        names: list[str] = []
        groups, estimated = tuple(groups), self.estimated
        for group in groups:
            for metric in self.metrics:
                name = grouped_name(metric, group)
                names += [name, *(interval_names(name) if metric in estimated else ())]
            names += [grouped_name(metric, group) for metric in self.more_metrics]
        under_prior = [grouped_name(metric, group) for group in groups for metric in self.prior_metrics]
        return names + [name_under_prior(prior, name) for prior in priors for name in under_prior]

    def class_columns(
        self,
        known: Iterable[str] = (),
        priors: Iterable[str] = (),
        *,
        clustered: bool = False,
        unknown: bool = False,
    ) -> list[str]:
        """Return the columns that the per-class table has under these settings.

        Args:
            known: Those of name, group and train_count that are known. Partitions of one's own have columns too.
            priors: The names of other class distributions.
            clustered: Whether the intervals are of clustered rows.
            unknown: Whether there may be unknown labels.
        """
        estimated = self.estimated
        metrics: list[str] = []
        for metric in self.metrics:
            name = metric.class_name
            metrics += [name, *(interval_names(name)[1:] if metric in estimated else ())]
        counts = [*self.COUNT_COLUMNS, *([UNKNOWN_COLUMN] if unknown else [])]
        counts += [CLUSTERS_COLUMN] if clustered else []
        metrics += [metric.class_name for metric in self.more_columns]
        columns = ["class", *known, *(name for name, _ in self.partitions), *counts, *metrics, *self.TIE_COLUMNS]
        under_prior = [*(metric.class_name for metric in self.prior_metrics), "share", "effective_positives"]
        return columns + [name_under_prior(prior, name) for prior in priors for name in under_prior]


def _in_signature(name: str) -> str:
    """A name of the user's in which no character separates the parts of a signature: others than words are escaped."""
    return re.sub(r"[^\w.-]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode(errors="replace")), name)
