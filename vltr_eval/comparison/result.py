"""The result of a comparison as plain data, and the ways to write it down."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, overload

from vltr_eval._base.files import PendingFile
from vltr_eval._base.groups import GROUP_NAMES
from vltr_eval._base.text_table import WIDTH
from vltr_eval.comparison.differences import ADJUSTMENTS, MIN_POSITIVES, MeanDifference, Outcomes
from vltr_eval.comparison.tables import (
    Table,
    as_latex,
    as_markdown,
    as_text,
    class_table,
    error_table,
    mean_table,
    outcome_table,
)
from vltr_eval.report.document import render_json
from vltr_eval.report.names import OVERALL


@dataclass(frozen=True, eq=False, repr=False)
class SystemComparison:
    """One system beside the baseline.

    Attributes:
        name: The name of the system.
        runs: Number of its runs.
        means: The difference of each mean.
        classes: Columns of C values: what is known of the classes, then base, new, difference, error, low, high,
            p_value, holm and benjamini_hochberg. Values are NaN where a class is not tested.
        is_tested: Whether single classes were tested; it needs predictions of all systems.
    """

    name: str
    runs: int
    means: tuple[MeanDifference, ...]
    classes: dict[str, tuple[Any, ...]]
    is_tested: bool

    def __repr__(self) -> str:
        first = self.means[0]
        return f"<SystemComparison of {self.name}: {first.name} {first.difference:+.4f}, p = {first.p_value:.3g}>"

    def of(self, name: str) -> MeanDifference:
        """Return the difference of one mean by its flat name.

        Raises:
            KeyError: The comparison does not have the mean.
        """
        for mean in self.means:
            if mean.name == name:
                return mean
        raise KeyError(f"name: expected one of {', '.join(mean.name for mean in self.means)}, got {name!r}")

    def outcomes(self, level: float) -> tuple[Outcomes, ...]:
        """Count wins, losses and undecided classes, by group and adjustment; nothing where classes are not tested."""
        if not self.is_tested:
            return ()
        groups = self.classes.get("group", ())
        found = []
        for adjustment in ADJUSTMENTS:
            for group in (OVERALL, *(name for name in GROUP_NAMES if name in groups)):
                rows = [
                    (p, difference)
                    for p, difference, own in zip(
                        self.classes[adjustment],
                        self.classes["difference"],
                        groups or [OVERALL] * len(self.classes["base"]),
                        strict=True,
                    )
                    if not math.isnan(p) and group in (OVERALL, own)
                ]
                decided = [difference for p, difference in rows if p <= 1 - level]
                wins = sum(difference > 0 for difference in decided)
                losses = len(decided) - wins
                found.append(Outcomes(group, adjustment, len(rows), wins, losses, len(rows) - len(decided)))
        return tuple(found)

    def moved_most(self, limit: int = 10) -> list[int]:
        """Return the classes with the largest differences among those with enough positives, the largest first."""
        differences = self.classes["difference"]
        counts = self.classes["num_positives"]
        known = [
            c
            for c, difference in enumerate(differences)
            if counts[c] >= MIN_POSITIVES
            and not math.isnan(self.classes["p_value"][c] if self.is_tested else difference)
        ]
        return sorted(known, key=lambda c: (-abs(differences[c]), c))[:limit]


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """All systems beside a baseline, on the same rows. Two comparisons are equal if their JSON is the same.

    A comparison holds no time, host or path, so the same input gives the same bytes.

    Attributes:
        version: The version of vltr that made the comparison.
        signature: The metrics and conventions of the evaluations.
        level: The confidence level of all intervals; tests have the size 1 - level.
        class_metric: The metric of single classes.
        num_rows: Number of rows.
        num_classes: Number of classes.
        num_clusters: Number of clusters of rows; None if every row is independent of the others.
        base: The name of the baseline.
        base_runs: Number of its runs.
        systems: The other systems.
        notes: Sentences about the limits of the comparison.
    """

    SCHEMA: ClassVar[str] = "vltr-eval/comparison/1"

    version: str
    signature: str
    level: float
    class_metric: str
    num_rows: int
    num_classes: int
    num_clusters: int | None
    base: str
    base_runs: int
    systems: tuple[SystemComparison, ...]
    notes: tuple[str, ...] = ()

    def metrics(self) -> dict[str, float]:
        """Return the numbers of all means by flat names, for loggers.

        ``mAP_tail_difference``, ``mAP_tail_difference_se``, ``..._low``, ``..._high``, ``..._p`` and
        ``..._detectable``. With several systems, the name of the system comes first: ``new 2/mAP_difference``.
        """
        found = {}
        for system in self.systems:
            prefix = f"{system.name}/" if len(self.systems) > 1 else ""
            for mean in system.means:
                name = f"{prefix}{mean.name}_difference"
                found[name] = mean.difference
                found |= {f"{name}_{key}": getattr(mean, attribute) for key, attribute in _METRIC_KEYS.items()}
        return found

    def to_json(self) -> str:
        """Return the comparison as JSON: its schema is named in it, the key order is fixed, NaN and infinity are null.

        The same comparison gives the same bytes.
        """
        document: dict[str, Any] = {
            "schema": self.SCHEMA,
            **{
                entry.name: getattr(self, entry.name)
                for entry in fields(self)
                if entry.name not in ("systems", "base", "base_runs")
            },
            "base": {"name": self.base, "runs": self.base_runs},
            "systems": {
                system.name: {
                    "runs": system.runs,
                    "means": {mean.name: _entries(mean) for mean in system.means},
                    "outcomes": [_entries(outcome, ()) for outcome in system.outcomes(self.level)],
                    "classes": system.classes,
                }
                for system in self.systems
            },
        }
        return render_json(document, levels=4) + "\n"

    def to_text(self, *, width: int | None = WIDTH, bold: bool = False, limit: int = 10) -> str:
        """Return the comparison as aligned tables with their notes.

        Args:
            width: Terminal cells of a line of a table, None for no limit.
            bold: Whether to mark the headings for a terminal.
            limit: Number of the classes that moved most to show.
        """
        return as_text(self._tables(limit), width=width, bold=bold)

    def to_markdown(self, *, limit: int = 10) -> str:
        """Return the comparison as Markdown, for a page of a CI system. limit: as in `to_text`."""
        return as_markdown(self._tables(limit))

    def to_latex(self) -> str:
        """Return the differences of the means as a LaTeX table for booktabs."""
        return as_latex([*map(self._mean_table, self.systems), Table("", [], self.notes)])

    @overload
    def to_html(self, path: None = None, *, details: Sequence[Any] = ()) -> str: ...

    @overload
    def to_html(self, path: str | os.PathLike[str], *, details: Sequence[Any] = ()) -> None: ...

    def to_html(self, path: str | os.PathLike[str] | None = None, *, details: Sequence[Any] = ()) -> str | None:
        """Write the comparison as one HTML file that fetches nothing: differences of means, groups and classes.

        The same comparison and details give the same bytes.

        Args:
            path: The file to write; None returns the text.
            details: The details of single classes: for each system, the baseline first, the result of
                `vltr_eval.class_details`, or a `vltr_eval.RankTable`, which has their precision-recall curves alone.
                Rows must have the same numbers in all systems. Empty leaves them out.

        Raises:
            ValueError: There are not as many details as systems, or they are those of other classes.
            TypeError: The details are neither.
            OutputError: The file cannot be written; a ValueError.
        """
        if path is None:
            return self._page(details)
        with PendingFile(path) as pending:
            pending.write_text(self._page(details))
        return None

    def _page(self, details: Sequence[Any]) -> str:
        from vltr_eval.comparison.page import comparison_page  # not above: few comparisons become pages

        return comparison_page(
            self.to_json(),
            [self.base, *(system.name for system in self.systems)],
            [system.means for system in self.systems],
            self.systems[0].classes,
            self._partitions(),
            signature=self.signature,
            notes=self.notes,
            details=details,
            has_runs=max(self.base_runs, *(system.runs for system in self.systems)) > 1,
        )

    def _partitions(self) -> dict[str, list[str]]:
        """The groups of each partition of the classes; the partition by training counts is ""."""
        groups = self.systems[0].classes.get("group")
        return {} if groups is None else {"": [name for name in GROUP_NAMES if name in groups]}

    def _tables(self, limit: int) -> list[Table]:
        tables = []
        for system in self.systems:
            tables.append(self._mean_table(system))
            if max(system.runs, self.base_runs) > 1:
                tables.append(error_table("standard errors of the differences", system.means))
            outcomes = system.outcomes(self.level)
            if outcomes:
                tables.append(
                    outcome_table(f"{self.class_metric} of single classes: wins / losses / undecided", outcomes)
                )
            shown = system.moved_most(limit)
            if shown:
                title = f"{self.class_metric} of the classes that moved most"
                tables.append(class_table(title, system.classes, shown, self.level))
        size = f"{self.num_rows:,} rows"
        if self.num_clusters is not None:
            size += f" in {self.num_clusters:,} clusters"
        return [*tables, Table("", [], (size, *self.notes, f"signature: {self.signature}"))]

    def _mean_table(self, system: SystemComparison) -> Table:
        names = [
            name if runs == 1 else f"{name} ({runs} runs)"
            for name, runs in ((system.name, system.runs), (self.base, self.base_runs))
        ]
        return mean_table(" minus ".join(names), system.means, self.level)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<Comparison with {self.base}: {', '.join(map(repr, self.systems))}>"

    def __eq__(self, other: object) -> bool:
        # By text, because NaN != NaN would make two equal comparisons differ.
        return self.to_json() == other.to_json() if isinstance(other, Comparison) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_json())


_METRIC_KEYS = {"se": "error", "low": "low", "high": "high", "p": "p_value", "detectable": "detectable"}


def _entries(entry: MeanDifference | Outcomes, without: Sequence[str] = ("name",)) -> Mapping[str, Any]:
    """The fields of a dataclass for JSON, where infinity is null."""
    values = {field.name: getattr(entry, field.name) for field in fields(entry) if field.name not in without}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
