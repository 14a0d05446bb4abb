"""The result of a comparison as plain data, and the ways to write it down."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, overload

from vltr_eval._base.arguments import unknown_name
from vltr_eval._base.files import PendingFile
from vltr_eval._base.groups import COUNTS_PARTITION, flat_group_name
from vltr_eval._base.text_table import WIDTH, Table, as_text
from vltr_eval.comparison.differences import ADJUSTMENTS, MIN_POSITIVES, BestOfMean, MeanDifference, Outcomes
from vltr_eval.comparison.tables import (
    class_table,
    default_means,
    error_table,
    mean_table,
    outcome_table,
    system_table,
)
from vltr_eval.report.document import render_json
from vltr_eval.report.logged import class_numbers, logged, safe_names_of
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
        partitions: The names of the groups of each partition; that by training counts has the name "".
    """

    name: str
    runs: int
    means: tuple[MeanDifference, ...]
    classes: dict[str, tuple[Any, ...]]
    is_tested: bool
    partitions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

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
        members = self._members()
        found = []
        for adjustment in ADJUSTMENTS:
            p_values, differences = self.classes[adjustment], self.classes["difference"]
            for group, classes in members.items():
                rows = [(p_values[c], differences[c]) for c in classes if not math.isnan(p_values[c])]
                decided = [difference for p, difference in rows if p <= 1 - level]
                wins = sum(difference > 0 for difference in decided)
                losses = len(decided) - wins
                found.append(Outcomes(group, adjustment, len(rows), wins, losses, len(rows) - len(decided)))
        return tuple(found)

    def _members(self) -> dict[str, list[int]]:
        """The classes of each group that has any, "overall" first."""
        found: dict[str, list[int]] = {OVERALL: list(range(len(self.classes["base"])))}
        own = len(self.partitions) - (COUNTS_PARTITION in self.partitions)
        for partition, names in self.partitions.items():
            is_by_counts = partition == COUNTS_PARTITION
            members: dict[str, list[int]] = {name: [] for name in names}
            for c, group in enumerate(self.classes["group" if is_by_counts else partition]):
                if group is not None:
                    members[group if is_by_counts else flat_group_name(partition, group, own)].append(c)
            found |= {name: classes for name, classes in members.items() if classes}
        return found

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


@dataclass(frozen=True, eq=False)
class SliceComparison:
    """All systems beside the baseline on a slice of the rows.

    Attributes:
        name: The name of the slice.
        partition: The name of its partition.
        num_rows: Its rows.
        systems: The systems; single classes are not tested.
    """

    name: str
    partition: str
    num_rows: int
    systems: tuple[SystemComparison, ...]

    def __repr__(self) -> str:
        return f"<SliceComparison on {self.name} of {self.num_rows} rows: {', '.join(map(repr, self.systems))}>"


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
        best: The best system on each mean, and its tests against each other one. JSON has them if there are several
            systems beside the baseline; the difference of two systems has the same test.
        slices: The comparison on each slice of the rows, if requested.
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
    best: tuple[BestOfMean, ...] = ()
    slices: tuple[SliceComparison, ...] = ()

    def metrics(
        self,
        prefix: str = "",
        *,
        per_class: bool | str | Sequence[str] = False,
        style: str = "as_is",
        plain_names: bool = False,
    ) -> dict[str, float]:
        """Return the numbers of all means by flat names, for loggers.

        ``mAP_tail_difference``, ``mAP_tail_difference_se``, ``..._low``, ``..._high``, ``..._p`` and
        ``..._detectable``. With several systems, the name of the system comes first: ``new 2/mAP_difference``.

        Args:
            prefix: Text in front of every name, such as ``"test/"``.
            per_class: Whether to add the numbers of single classes, such as ``per_class/difference/playing violin``, by
                the rules of `Report.metrics`.
            style: "as_is" or "safe"; see there.
            plain_names: True means ``style="safe"``, under an older name.

        Raises:
            ValueError: Two names are the same as safe names, ``per_class`` names no column of numbers, or the style
                does not exist.
        """
        safe = safe_names_of(style, plain_names)
        found: dict[str, float] = {}
        for system in self.systems:
            first = f"{system.name}/" if len(self.systems) > 1 else ""
            for mean in system.means:
                name = f"{first}{mean.name}_difference"
                found[name] = mean.difference
                found |= {f"{name}_{key}": getattr(mean, attribute) for key, attribute in _METRIC_KEYS.items()}
            columns = {"class": range(self.num_classes), **system.classes}
            of_classes = class_numbers(columns, per_class, safe is not None)
            found |= {first + name: value for name, value in of_classes.items()}
        return logged(found, prefix, safe)

    def to_json(self) -> str:
        """Return the comparison as JSON: its schema is named in it, the key order is fixed, NaN and infinity are null.

        The same comparison gives the same bytes.
        """
        document: dict[str, Any] = {
            "schema": self.SCHEMA,
            **{
                entry.name: getattr(self, entry.name)
                for entry in fields(self)
                if entry.name not in ("systems", "base", "base_runs", "best", "slices")
            },
            "base": {"name": self.base, "runs": self.base_runs},
            **self._best_in_json(),
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
        if self.slices:  # the key is absent from other comparisons
            document["slices"] = self._slices_in_json()
        return render_json(document, levels=4) + "\n"

    def _slices_in_json(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for part in self.slices:
            found.setdefault(part.partition, {})[part.name] = {
                "num_rows": part.num_rows,
                "systems": {
                    system.name: {mean.name: _entries(mean) for mean in system.means} for system in part.systems
                },
            }
        return found

    def to_text(self, *, width: int | None = WIDTH, bold: bool = False, limit: int = 10) -> str:
        """Return the comparison as aligned tables with their notes.

        Args:
            width: Terminal cells of a line of a table, None for no limit.
            bold: Whether to mark the headings for a terminal.
            limit: Number of the classes that moved most to show.
        """
        return as_text(self._tables(limit), width=width, bold=bold)

    def to_markdown(self, *, limit: int = 10, means: Sequence[str] | None = None) -> str:
        """Return the comparison as Markdown, for a page of a CI system.

        Args:
            limit: As in `to_text`.
            means: As in `to_latex`.

        Raises:
            ValueError: The comparison does not have one of the means.
        """
        from vltr_eval._base.table_forms import as_markdown  # not above: the text needs none

        return as_markdown([*self._system_table(means), *self._tables(limit)])

    def to_latex(self, *, means: Sequence[str] | None = None) -> str:
        """Return the systems and the differences of the means as LaTeX tables for booktabs.

        The table of the systems has a line for each system, the baseline first. The best value of a column is bold, and
        values that are not significantly lower have a dagger: the p-value of the paired test of both systems is above
        1 - level, without an adjustment for the number of systems or means.

        Args:
            means: The flat names of the means in the table of the systems. Default: mAP of all classes and by group,
                exact SAP and Acc@k, if there are several systems beside the baseline. One system beside it has no such
                table by default, because the differences have both values.

        Raises:
            ValueError: The comparison does not have one of the means.
        """
        from vltr_eval._base.table_forms import as_latex

        tables = [*self._system_table(means), *map(self._mean_table, self.systems), Table("", [], self.notes)]
        return as_latex(tables)

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
            self.systems[0].partitions,
            signature=self.signature,
            notes=self.notes,
            details=details,
            has_runs=max(self.base_runs, *(system.runs for system in self.systems)) > 1,
        )

    def _tables(self, limit: int) -> list[Table]:
        tables: list[Table] = []
        for system in self.systems:
            tables += [*self._tables_of(system), *self._class_tables(system, limit)]
        return [*tables, *self._slice_tables(), self._closing_notes()]

    def _slice_tables(self) -> list[Table]:
        """The table of the means for each slice and system."""
        several = len({part.partition for part in self.slices}) > 1
        return [
            replace(
                self._mean_table(system),
                title=f"{f'{part.partition}:' * several}{part.name}, {part.num_rows:,} rows: {self._title(system)}",
            )
            for part in self.slices
            for system in part.systems
        ]

    def _tables_of(self, system: SystemComparison) -> list[Table]:
        """The tables of a system but that of single classes."""
        tables = [self._mean_table(system)]
        if max(system.runs, self.base_runs) > 1:
            tables.append(error_table("standard errors of the differences", system.means))
        outcomes = system.outcomes(self.level)
        if outcomes:
            tables.append(outcome_table(f"{self.class_metric} of single classes: wins / losses / undecided", outcomes))
        return tables

    def _class_tables(self, system: SystemComparison, limit: int) -> list[Table]:
        """The table of the classes that moved most, if there are any."""
        shown = system.moved_most(limit)
        title = f"{self.class_metric} of the classes that moved most"
        return [class_table(title, system.classes, shown, self.level)] if shown else []

    def _closing_notes(self) -> Table:
        size = f"{self.num_rows:,} rows"
        if self.num_clusters is not None:
            size += f" in {self.num_clusters:,} clusters"
        return Table("", [], (size, *self.notes, f"signature: {self.signature}"))

    def _mean_table(self, system: SystemComparison) -> Table:
        return mean_table(self._title(system), system.means, self.level)

    def _title(self, system: SystemComparison) -> str:
        return f"{_with_runs(system.name, system.runs)} minus {_with_runs(self.base, self.base_runs)}"

    def _system_table(self, means: Sequence[str] | None) -> list[Table]:
        """The table of the systems, if there is one."""
        if means is None and len(self.systems) == 1:
            return []
        known = {mean.name: mean for mean in self.best}
        names = default_means(list(known)) if means is None else list(means)
        for name in names:
            if name not in known:
                error = unknown_name("means", name, list(known))
                if not self.systems[0].partitions and any(name.startswith(f"{mean}_") for mean in known):
                    error = ValueError(f"{error}; groups need train_counts= (--counts) or groups= (--groups)")
                raise error
        systems = [(self.base, self.base_runs), *((system.name, system.runs) for system in self.systems)]
        return [system_table([_with_runs(*system) for system in systems], [known[name] for name in names], self.level)]

    def _best_in_json(self) -> dict[str, Any]:
        if len(self.systems) == 1:  # the key is absent, because the difference has the same test
            return {}
        names = [self.base, *(system.name for system in self.systems)]

        def by_name(values: Sequence[float | None]) -> dict[str, float | None]:
            known = zip(names, values, strict=True)
            return {name: None if value is None or math.isnan(value) else value for name, value in known}

        return {
            "best": {
                mean.name: {
                    "system": None if mean.best is None else names[mean.best],
                    "p_values": by_name(mean.p_values),
                    "deviations": by_name(mean.deviations),
                }
                for mean in self.best
            }
        }

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        from vltr_eval._base.notebook_html import folded, notebook_html
        from vltr_eval._base.table_forms import as_html

        parts = [as_html(self._system_table(None))]
        for system in self.systems:
            classes = self._class_tables(system, _FEW_CLASSES)
            content = as_html(self._tables_of(system)) + "".join(folded(one.title, as_html([one])) for one in classes)
            parts.append(content if len(self.systems) == 1 else folded(self._title(system), content))
        return notebook_html(f"Comparison with {self.base}", *parts, as_html([self._closing_notes()]))

    def __repr__(self) -> str:
        return f"<Comparison with {self.base}: {', '.join(map(repr, self.systems))}>"

    def __eq__(self, other: object) -> bool:
        # By text, because NaN != NaN would make two equal comparisons differ.
        return self.to_json() == other.to_json() if isinstance(other, Comparison) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_json())


def _with_runs(name: str, runs: int) -> str:
    return name if runs == 1 else f"{name} ({runs} runs)"


_FEW_CLASSES = 10  # of those that moved most in a notebook
_METRIC_KEYS = {"se": "error", "low": "low", "high": "high", "p": "p_value", "detectable": "detectable"}


def _entries(entry: MeanDifference | Outcomes, without: Sequence[str] = ("name",)) -> Mapping[str, Any]:
    """The fields of a dataclass for JSON, where infinity is null."""
    values = {field.name: getattr(entry, field.name) for field in fields(entry) if field.name not in without}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
