"""What an evaluation found, as plain data: its numbers, their names, and the ways to write them down.

This is the one place that names metrics. ``Metric.name`` is the key in ``Report.metrics()``, in the JSON file and in
``vltr-eval --fail-under``; a group's name is appended for its mean (``mAP``, ``mAP_tail``). ``Metric.class_name`` is
the per-class column in CSV, JSON and the pandas frame; the headings are what the text tables print above them. Under
another class distribution the distribution's name stands before both (``inverse/mAP_tail``, ``inverse/AP``).
`plain_name` is the rule for loggers that refuse some characters of these names.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from vltr_eval._base.files import InputError, PendingFile
from vltr_eval._base.groups import checked_bounds
from vltr_eval._base.text_table import WIDTH, Column, text_table
from vltr_eval.report.document import (
    csv_table,
    flat_means,
    group_sizes,
    read_column,
    read_count,
    read_groups,
    read_number,
    read_text,
    read_texts,
    render_json,
)
from vltr_eval.report.means import Group, PriorResult, decimal
from vltr_eval.report.names import AP, RANKS, ROC_AUC, SAP, name_under_prior, plain_name
from vltr_eval.report.settings import Settings
from vltr_eval.report.text import cell, metric_columns, shortlist, sorted_lines, undefined_column

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False, repr=False)
class BaseReport(ABC):
    """What all reports are; `Report` has the meaning of the fields. Compares equal when its JSON is the same.

    SCHEMA: its name in JSON.
    COUNTS: columns of counts that the text table shows, and their headings; a class without the first is absent.
    UNTIED, TIED: what the text says when there are no ties, and of what share there are.
    notes: sentences about inputs that were changed or are doubtful; see `Report`.
    """

    SCHEMA: ClassVar[str]
    COUNTS: ClassVar[Mapping[str, str]]
    UNTIED: ClassVar[str]
    TIED: ClassVar[str]

    version: str
    settings: Settings
    num_classes: int
    tie_rate: float
    mAP_tie_interval: tuple[float, float]
    groups: tuple[Group, ...]
    classes: dict[str, tuple]
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def absent_classes(self) -> list[int]:
        """Classes without a positive in the evaluated set: NaN and left out of means, or 0 with absent="zero"."""
        counts = self.classes[next(iter(self.COUNTS))]
        return [c for c, count in zip(self._columns["class"], counts, strict=True) if count == 0]

    @property
    def signature(self) -> str:
        """What was computed and under which conventions, in one line to paste beside a number."""
        settings, parts = self.settings, self._conventions()
        if settings.trials:
            parts.append(f"sap:{settings.trials}/seed:{settings.seed}")
        elif settings.sap is not None:
            parts.append(f"sap:{settings.sap}")
        if settings.bounds is not None:
            parts.append("groups:train" + ",".join(f">{bound!r}" for bound in settings.bounds))
        return "|".join([*parts, f"vltr:{self.version}"])

    def metrics(self, *, plain_names: bool = False) -> dict[str, float]:
        """Every mean by its flat name: ``{"mAP": ..., "mAP_head": ..., "inverse/mAP": ..., ...}``.

        Args:
            plain_names: give the names that every logger takes, ``Acc_at_1`` for ``Acc@1``. MLflow refuses ``@``.
                Letters, digits and ``_ - . /`` stay as they are, all else becomes ``_``.

        Raises:
            ValueError: two names are the same as plain names.
        """
        found = self._metrics()
        if not plain_names:
            return found
        plain: dict[str, str] = {}
        for name in found:
            other = plain.setdefault(plain_name(name), name)
            if other != name:
                raise ValueError(
                    f"plain_names: expected names that differ in letters and digits, got {other!r} and {name!r}; "
                    "give the priors other names"
                )
        return {name: found[own] for name, own in plain.items()}

    def to_json(self) -> str:
        """The report as JSON, its schema named in it: fixed key order, shortest floats, NaN as null."""
        return render_json(self._document()) + "\n"

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """The per-class table as CSV, one line a class, undefined values empty; returned when no path is given."""
        text = csv_table(self._columns)
        if path is None:
            return text
        with PendingFile(path) as pending:
            pending.write_text(text)
        return None

    def to_text(
        self,
        *,
        per_class: bool = False,
        sort: str | None = None,
        limit: int | None = None,
        width: int | None = WIDTH,
        bold: bool = False,
    ) -> str:
        """The report as aligned tables to read, without its notes; ``str(report)`` ends with the notes.

        A table that is wider than ``width`` gets shorter headings, then fewer spaces, then shorter class names. After
        that columns are dropped in the reverse order of `RANKS`, and a line under the table lists them. Undefined
        values are shown as ``-``.

        Args:
            per_class: add a table with a line for each class.
            sort: the column of `classes`, or "class", to sort the classes by. ``AP:asc`` puts the smallest AP first,
                ``AP:desc`` the largest. Without either, class, name and group ascend and numbers descend. Undefined
                values come last, and equal values stay in the order of classes.
            limit: show only so many classes; a line under the table has the number of the others.
            width: terminal cells of a line of a table, None for no limit.
            bold: mark the headings for a terminal.

        Raises:
            ValueError: sort is no column, limit is not positive, or one of them is given without per_class.
        """
        blocks = [self._group_table(width, bold), self._summary(), *self._more_tables(width, bold)]
        if per_class:
            blocks.append(self._class_table(sort, limit, width, bold))
        elif sort is not None or limit is not None:
            name = "limit" if sort is None else "sort"
            raise ValueError(f"{name}: expected per_class=True beside it, got a report without its classes")
        return "\n".join(blocks)

    @property
    def _columns(self) -> dict[str, Sequence[Any]]:
        """The per-class table with its first column: the index of each class where ``classes`` has no other id."""
        return {"class": range(self.num_classes), **self.classes}

    @property
    def _num_defined(self) -> int:
        return self.num_classes - len(self.absent_classes)

    @abstractmethod
    def _conventions(self) -> list[str]:
        """The parts of the signature that come before those of SAP and groups."""

    @abstractmethod
    def _totals(self) -> dict[str, int | None]:
        """What was evaluated, by its names in JSON."""

    @abstractmethod
    def _totals_in_words(self) -> str:
        """The first line of the summary."""

    def _metrics(self) -> dict[str, float]:
        return flat_means(self.groups, self.settings.metrics)

    def _more_tables(self, width: int | None, bold: bool) -> list[str]:
        """What is printed between the summary and the classes."""
        return []

    def _group_table(self, width: int | None, bold: bool) -> str:
        """A line for each group: its classes, and the mean of each metric over them."""
        groups = self.groups
        columns = [
            Column("", [group.name for group in groups], is_name=True),
            Column("classes", [f"{group.num_classes:,}" for group in groups], rank=RANKS["counts"]),
            undefined_column(groups),
            *metric_columns(self.settings.metrics, [group.values for group in groups]),
        ]
        return text_table(columns, width=width, bold=bold)

    def _class_table(self, sort: str | None, limit: int | None, width: int | None, bold: bool) -> str:
        """A line for each class: what is known of it, its counts, then the metrics."""
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise ValueError(f"limit: expected a number of classes from 1 up, got {limit!r}")
        columns = self._columns
        chosen = sorted_lines(columns, sort)[:limit]
        rows = [{name: column[line] for name, column in columns.items()} for line in chosen]
        headings = {"class": "class", "name": "name", "group": "group", "train_count": "train", **self.COUNTS}
        known = [
            Column(
                heading,
                [str(row[name]) for row in rows],
                rank=0 if name in ("class", "name") else RANKS.get(name, RANKS["counts"]),
                is_name=name in ("name", "group"),
            )
            for name, heading in headings.items()
            if name in columns
        ]
        text = text_table([*known, *metric_columns(self.settings.metrics, rows, by_class=True)], width=width, bold=bold)
        if len(rows) < self.num_classes:
            text += f"{self.num_classes - len(rows):,} of {self.num_classes:,} classes left out by the limit\n"
        return text

    def _document(self) -> dict[str, Any]:
        return {
            "schema": self.SCHEMA,
            "version": self.version,
            "signature": self.signature,
            "settings": asdict(self.settings),
            "notes": self.notes,
            **self._totals(),
            "absent_classes": self.absent_classes,
            "tie_rate": self.tie_rate,
            "mAP_tie_interval": self.mAP_tie_interval,
            "groups": group_sizes(self.groups),
            "metrics": self.metrics(),
            "classes": self.classes,
        }

    def _summary(self) -> str:
        lines = [self._totals_in_words()]
        absent = self.absent_classes
        if absent:
            meaning = "count as 0 in AP and SAP" if self.settings.absent == "zero" else "left out of means"
            share = f"{len(absent):,} of {self.num_classes:,} classes"
            what = next(iter(self.COUNTS.values()))
            lines.append(f"absent: no {what} in {share}, {meaning}: {shortlist(absent)}")
        tied = self.UNTIED
        if self.tie_rate > 0:
            lower, upper = map(decimal, self.mAP_tie_interval)
            tied = f"{self.tie_rate:.2%} of {self.TIED}; their order could move mAP within [{lower}, {upper}]"
        return "\n".join([*lines, f"ties: {tied}", f"signature: {self.signature}"]) + "\n"

    def __eq__(self, other: object) -> bool:
        # By text, because NaN != NaN would make two equal reports differ.
        return self.to_json() == other.to_json() if isinstance(other, BaseReport) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __str__(self) -> str:
        return self.to_text() + "".join(f"note: {note}\n" for note in self.notes)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} mAP={decimal(self.groups[0].values[AP.name])} {self.signature}>"


@dataclass(frozen=True, eq=False, repr=False)
class Report(BaseReport):
    """Every number of one evaluation, overall, by group and by class; compares equal when its JSON is the same.

    groups: "overall" first, then head, medium and tail when train counts were given.
    classes: columns of the per-class table, each of length num_classes: num_positives, num_negatives, AP, ...;
        also name, group and train_count where these are known.
    rows_without_labels: None when the report was made from a saved rank table, which does not know it.
    tie_rate: share of all positives that share their score with a negative of their class.
    mAP_tie_interval: lowest and highest mAP that an order of tied scores could give; mAP itself needs no such choice.
    prior_results: the means under other class distributions, if requested. Each adds columns to ``classes``: its AP and
        Acc@k, the share of the weighted labels, and the effective number of positives.
    notes: sentences about inputs that were changed to be evaluated, or that make the numbers doubtful; none otherwise.
        JSON has them, ``str(report)`` ends with them, and the program writes them to stderr instead of into the text.

    A report holds no time, host or path: the same input gives the same bytes.
    """

    SCHEMA: ClassVar[str] = "vltr-eval/report/1"
    COUNTS: ClassVar[Mapping[str, str]] = {"num_positives": "positives"}
    UNTIED: ClassVar[str] = "no positive shares its score with a negative"
    TIED: ClassVar[str] = "positives share their score with a negative"

    num_rows: int
    rows_without_labels: int | None
    prior_results: tuple[PriorResult, ...] = ()

    @property
    def num_labels(self) -> int:
        """Positives of all classes together."""
        return sum(self.classes["num_positives"])

    def per_class(self) -> pandas.DataFrame:
        """The per-class table as a pandas frame, indexed by class; needs ``pip install "vltr[pandas]"``."""
        try:
            import pandas
        except ImportError:
            raise ImportError('Report.per_class() needs pandas: pip install "vltr[pandas]"') from None
        return pandas.DataFrame(self.classes, index=pandas.RangeIndex(self.num_classes, name="class"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Report:
        """The report that ``to_json`` wrote (schema "vltr-eval/report/1").

        Raises ValueError for text that is no report of this schema.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"report: expected JSON, got text that is none ({error})") from None
        schema = document.get("schema") if isinstance(document, dict) else None
        if schema != cls.SCHEMA:
            raise InputError(f"report: expected schema {cls.SCHEMA!r}, got {schema!r}")
        try:
            return cls._from_document(document)
        except KeyError as error:
            raise InputError(f"report: key {error} is missing") from None
        except (TypeError, AttributeError, ValueError) as error:
            raise InputError(f"report: expected the values of schema {cls.SCHEMA!r}, got others ({error})") from None

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> Report:
        asked = document["settings"]
        bounds = None if asked["bounds"] is None else checked_bounds(asked["bounds"])
        plain = {"seed": read_count(asked["seed"]), "topk": tuple(map(read_count, asked["topk"])), "bounds": bounds}
        settings = Settings(**{**asked, **plain})
        num_classes = read_count(document["num_classes"])
        metrics = document["metrics"]
        groups = read_groups(document["groups"], settings.metrics, metrics)
        results = tuple(
            PriorResult(
                name,
                *(read_number(result[key]) for key in _PRIOR_NUMBERS),
                read_groups(result["groups"], settings.prior_metrics, metrics, name_under_prior(name, "")),
            )
            for name, result in document.get("shifts", {}).items()
        )
        lower, upper = document["mAP_tie_interval"]
        classes = {name: read_column(name, column, num_classes) for name, column in document["classes"].items()}
        for name in ("num_positives", *(metric.class_name for metric in settings.metrics)):
            if name not in classes:
                raise KeyError(name)
        unlabelled = document["rows_without_labels"]
        return cls(
            version=read_text(document["version"]),
            settings=settings,
            num_rows=read_count(document["num_rows"]),
            num_classes=num_classes,
            rows_without_labels=None if unlabelled is None else read_count(unlabelled),
            tie_rate=read_number(document["tie_rate"]),
            mAP_tie_interval=(read_number(lower), read_number(upper)),
            groups=groups,
            classes=classes,
            prior_results=results,
            notes=read_texts(document.get("notes", [])),  # reports of before had none
        )

    def _metrics(self) -> dict[str, float]:
        found = super()._metrics()
        for result in self.prior_results:
            means = flat_means(result.groups, self.settings.prior_metrics)
            found |= {name_under_prior(result.name, name): value for name, value in means.items()}
        return found

    def _conventions(self) -> list[str]:
        settings = self.settings
        names = [metric.class_heading for metric in (AP, ROC_AUC)]
        if settings.sap is not None:
            names.insert(1, SAP.class_name)
        if settings.topk:
            names.append("Acc@" + ",".join(map(str, settings.topk)))
        return [
            "+".join(names),
            "ties:threshold",
            f"absent:{settings.absent}",
            f"classes:{self._num_defined}/{self.num_classes}",
            *(["priors:" + ",".join(result.name for result in self.prior_results)] if self.prior_results else []),
        ]

    def _document(self) -> dict[str, Any]:
        document = super()._document()
        if self.prior_results:  # a report without stays as it is
            document["shifts"] = {
                result.name: {key: getattr(result, key) for key in _PRIOR_NUMBERS}
                | {"groups": group_sizes(result.groups)}
                for result in self.prior_results
            }
        return document

    def _more_tables(self, width: int | None, bold: bool) -> list[str]:
        if not self.prior_results:
            return []
        labelled = self.num_rows - (self.rows_without_labels or 0)
        table = text_table(self._prior_columns(labelled), width=width, bold=bold)
        lines = ["under other class distributions\n", table]
        for result in self.prior_results:
            if result.left_out:
                lines.append(f"{result.name}: {result.left_out:.2%} of it is of absent classes and left out\n")
            if result.total_variation > _REACHED:
                lines.append(
                    f"{result.name}: the labels allow it to be met to a total variation of "
                    f"{decimal(result.total_variation)}\n"
                )
            if result.effective_rows < labelled * _FEW:
                lines.append(
                    f"{result.name}: rests on few rows, as {result.effective_rows:,.1f} of {labelled:,} would\n"
                )
        return ["".join(lines)]

    def _prior_columns(self, labelled: int) -> list[Column]:
        """A line for each class distribution, that of the set first: mAP overall and of the groups, Acc@k, rows."""
        mean, *accuracies = self.settings.prior_metrics
        lines = [self.groups, *(result.groups for result in self.prior_results)]
        means = [
            Column(
                mean.heading if number == 0 else group.name, [cell(line[number].values[mean.name]) for line in lines]
            )
            for number, group in enumerate(self.groups)
        ]
        effective = [f"{labelled:,}", *(f"{result.effective_rows:,.1f}" for result in self.prior_results)]
        return [
            Column("", ["as it is", *(result.name for result in self.prior_results)], is_name=True),
            undefined_column([line[0] for line in lines]),
            *means,
            *metric_columns(accuracies, [line[0].values for line in lines]),
            Column("effective rows", effective, "eff.rows", RANKS["counts"]),
        ]

    def _totals(self) -> dict[str, int | None]:
        return {
            "num_rows": self.num_rows,
            "num_classes": self.num_classes,
            "num_labels": self.num_labels,
            "rows_without_labels": self.rows_without_labels,
        }

    def _totals_in_words(self) -> str:
        text = f"{self.num_rows:,} rows, {self.num_labels:,} labels"
        if self.rows_without_labels:
            text += f"; no labels in {self.rows_without_labels:,} rows"
            text += ", left out of Acc@k" if self.settings.topk else ""
        return text


_PRIOR_NUMBERS = ("effective_rows", "total_variation", "left_out")
_REACHED = 1e-6  # total variation that no number in a table would show
_FEW = 0.1  # of the labelled rows
