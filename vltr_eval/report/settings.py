"""The settings of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

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
    name_under_prior,
)

MAX_TRIALS = 2**31 - 1


@dataclass(frozen=True)
class Settings:
    """What was asked for; with the input and the version it determines every number of a report.

    sap: number of SAP trials, "exact" for the closed form alone, None for no SAP at all.
    bounds: train counts that part head, medium and tail; None when there were no train counts.
    """

    COUNT_COLUMNS: ClassVar[tuple[str, ...]] = ("num_positives", "num_negatives")
    TIE_COLUMNS: ClassVar[tuple[str, ...]] = ("tie_rate", "AP_tie_lower", "AP_tie_upper")

    sap: int | str | None = 15
    seed: int = 0
    topk: tuple[int, ...] = (1, 5)
    bounds: tuple[float, float] | None = None
    absent: str = "nan"

    def __post_init__(self) -> None:
        is_trials = isinstance(self.sap, int) and not isinstance(self.sap, bool)
        if not (self.sap in ("exact", None) or (is_trials and 1 <= self.sap <= MAX_TRIALS)):
            expected = f'a number of trials from 1 to {MAX_TRIALS}, "exact" or None'
            raise ValueError(f"sap: expected {expected}, got {self.sap!r}")
        if self.absent not in ("nan", "zero"):
            raise ValueError(f'absent: expected "nan" or "zero", got {self.absent!r}')

    @property
    def trials(self) -> int:
        """SAP trials to draw."""
        return self.sap if isinstance(self.sap, int) else 0

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that these settings ask for, in the order in which they are reported."""
        sampled = (SAP, SAP_STD) if self.trials else ()
        exact = () if self.sap is None else (EXPECTED_SAP, SAP_CHANCE)
        return (AP, *sampled, *exact, ROC_AUC, *map(accuracy_at, self.topk))

    @property
    def prior_metrics(self) -> tuple[Metric, ...]:
        """Those of the metrics that are shown under other class distributions."""
        return (AP, *map(accuracy_at, self.topk))

    def metric_names(self, groups: Sequence[str] = (OVERALL,), priors: Iterable[str] = ()) -> list[str]:
        """The keys that ``Report.metrics()`` has under these settings."""
        own = [grouped_name(metric, group) for group in groups for metric in self.metrics]
        under_prior = [grouped_name(metric, group) for group in groups for metric in self.prior_metrics]
        return own + [name_under_prior(prior, name) for prior in priors for name in under_prior]

    def class_columns(self, known: Iterable[str] = (), priors: Iterable[str] = ()) -> list[str]:
        """The columns that the per-class table has under these settings.

        known: those of name, group and train_count that are known.
        """
        own = ["class", *known, *self.COUNT_COLUMNS, *(metric.class_name for metric in self.metrics), *self.TIE_COLUMNS]
        under_prior = [*(metric.class_name for metric in self.prior_metrics), "share", "effective_positives"]
        return own + [name_under_prior(prior, name) for prior in priors for name in under_prior]
