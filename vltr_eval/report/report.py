"""Reports of evaluations as plain data, and the ways to write them down.

`vltr_eval.report.names` has the names of the metrics, `vltr_eval.report.text` the tables and
`vltr_eval.report.document` JSON and CSV.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, overload

from vltr_eval._base.files import InputError, PendingFile
from vltr_eval._base.groups import checked_bounds, flat_group_name
from vltr_eval._base.text_table import WIDTH, Table
from vltr_eval.report.calibration import CalibrationResult
from vltr_eval.report.document import (
    csv_table,
    flat_means,
    group_sizes,
    read_column,
    read_count,
    read_groups,
    read_number,
    read_partitions,
    read_slices,
    read_text,
    read_texts,
    render_json,
    slices_in_json,
)
from vltr_eval.report.logged import class_numbers, logged, safe_names_of
from vltr_eval.report.means import Group, PriorResult, Slice, decimal
from vltr_eval.report.names import (
    AP,
    CALIBRATION_METRICS,
    THRESHOLD_METRICS,
    grouped_name,
    interval_names,
    name_under_prior,
)
from vltr_eval.report.settings import UNKNOWN_COLUMN, Settings
from vltr_eval.report.text import (
    class_table,
    group_table,
    group_text,
    level_in_words,
    means_table,
    prior_table,
    shortlist,
    slice_table,
)
from vltr_eval.report.thresholds import ThresholdResult

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False, repr=False)
class BaseReport(ABC):
    """The common part of all reports. Two reports are equal if their JSON is the same.

    Attributes:
        SCHEMA: The name of the schema in JSON.
        COUNTS: Columns of counts that the text table shows, and their headings. A class whose first count is 0 is
            absent.
        UNTIED: The text when there are no ties.
        TIED: The text after the share of ties.

    `Report` describes the fields.
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
    classes: dict[str, tuple[Any, ...]]
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def absent_classes(self) -> list[int]:
        """Indices of the classes without a positive in the evaluated set.

        Their values are NaN and left out of means, or 0 with absent="zero".
        """
        counts = self.classes[next(iter(self.COUNTS))]
        return [c for c, count in zip(self._columns["class"], counts, strict=True) if count == 0]

    @property
    def signature(self) -> str:
        """The metrics and conventions in one line, to paste beside a number."""
        settings, parts = self.settings, self._conventions()
        if settings.trials:
            parts.append(f"sap:{settings.trials}/seed:{settings.seed}")
        elif settings.sap is not None:
            parts.append(f"sap:{settings.sap}")
        if settings.signature_of_groups:
            parts.append(f"groups:{settings.signature_of_groups}")
        return "|".join([*parts, f"vltr:{self.version}"])

    def metrics(
        self,
        prefix: str = "",
        *,
        per_class: bool | str | Sequence[str] = False,
        style: str = "as_is",
        plain_names: bool = False,
    ) -> dict[str, float]:
        """Return the numbers by flat names, for loggers: ``{"mAP": ..., "mAP_head": ..., "inverse/mAP": ..., ...}``.

        Args:
            prefix: Text in front of every name, such as ``"val/"``.
            per_class: Whether to add the numbers of single classes, as ``per_class/AP/playing violin``: all columns of
                `classes` that hold numbers, or those whose names are given, such as ``["AP", "num_positives"]``. A
                class without a name has its index. Classes that share a name have their index in front of it
                (``per_class/AP/3 violin``). Undefined values, as the AP of an absent class, are left out. Undefined
                means are NaN.
            style: "as_is", or "safe" for the names that every logger takes, such as ``Acc_at_1`` for ``Acc@1``, because
                MLflow refuses ``@``. ASCII letters, digits and ``_ - . /`` stay as they are; all else becomes ``_``,
                and so does a slash within the name of a class. Names of more than 250 characters are cut.
            plain_names: True means ``style="safe"``, under an older name.

        Raises:
            ValueError: Two names are the same as safe names, ``per_class`` names no column of numbers, or the style
                does not exist.

        Example:
            >>> from vltr_eval import evaluate
            >>> scores, names = np.float32([[.9, .1], [.8, .6]]), ["playing violin", "dog"]
            >>> report = evaluate(scores, [[0], [1]], sap=None, topk=(1,), class_names=names)
            >>> report.metrics("val/")
            {'val/mAP': 1.0, 'val/ROC_AUC': 1.0, 'val/Acc@1': 0.5}
            >>> list(report.metrics("val/", per_class="AP", style="safe"))[2:]
            ['val/Acc_at_1', 'val/per_class/AP/playing_violin', 'val/per_class/AP/dog']
        """
        safe = safe_names_of(style, plain_names)
        return logged(self._metrics() | class_numbers(self._columns, per_class, safe is not None), prefix, safe)

    def to_json(self) -> str:
        """Return the report as JSON: its schema is named in it, the key order is fixed, NaN is null.

        The same report gives the same bytes. `Report.from_json` reads it.
        """
        return render_json(self._document()) + "\n"

    @overload
    def to_csv(self, path: None = None) -> str: ...

    @overload
    def to_csv(self, path: str | os.PathLike[str]) -> None: ...

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Write the per-class table as CSV with one line per class; undefined values are empty.

        Args:
            path: The file to write; None returns the text.
        """
        text = csv_table(self._columns)
        if path is None:
            return text
        with PendingFile(path) as pending:
            pending.write_text(text)
        return None

    @overload
    def to_html(self, path: None = None, *, details: Any = None, training: Mapping[str, Any] | None = None) -> str: ...

    @overload
    def to_html(
        self, path: str | os.PathLike[str], *, details: Any = None, training: Mapping[str, Any] | None = None
    ) -> None: ...

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        details: Any = None,
        training: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Write the report as one HTML file that fetches nothing: groups, charts, and a table of all classes.

        The same report and details give the same bytes.

        Args:
            path: The file to write; None returns the text.
            details: The details of single classes: the result of `vltr_eval.class_details`, or a
                `vltr_eval.RankTable`, which has their precision-recall curves alone. None leaves them out.
            training: Learning curves to show below: "runs" is a list of runs, each with "name", "epochs" and "columns".

        Raises:
            ValueError: The details are those of other classes.
            TypeError: The details are neither.
            OutputError: The file cannot be written; a ValueError.
        """
        if path is None:
            return self._page(details, training)
        with PendingFile(path) as pending:
            pending.write_text(self._page(details, training))
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
        """Return the report as aligned tables, without its notes; ``str(report)`` also has the notes.

        A table that is wider than ``width`` gets shorter headings, then fewer spaces, then shorter class names. After
        that columns are dropped, in the reverse order of `RANKS`, and a line under the table lists them. Undefined
        values are shown as ``-``.

        Args:
            per_class: Whether to add a table with a line for each class.
            sort: Column of ``classes``, or "class", to sort the classes by. ``AP:asc`` puts the smallest AP first,
                ``AP:desc`` the largest. Without either, class, name and group ascend and numbers descend. Undefined
                values come last, and equal values stay in the order of classes.
            limit: Number of classes to show; a line under the table has the number of the others.
            width: Terminal cells of a line of a table, None for no limit.
            bold: Whether to mark the headings for a terminal.

        Raises:
            ValueError: ``sort`` is no column, ``limit`` is not positive, or one of them is given without ``per_class``.
        """
        tables = self._tables(per_class, sort, limit)[2:]
        groups = group_text(self.groups, self.settings.metrics, width=width, bold=bold)
        return "\n".join([groups, self._summary(), *(table.to_text(width=width, bold=bold) for table in tables)])

    def to_markdown(self, *, per_class: bool = False, sort: str | None = None, limit: int | None = None) -> str:
        """Return the tables of `to_text` as Markdown, without the notes of the report.

        Args:
            per_class: See `to_text`, as all that follow.
            sort: See there.
            limit: See there.

        Raises:
            ValueError: See there.
        """
        from vltr_eval._base.table_forms import as_markdown  # not above: the text needs none

        return as_markdown(self._tables(per_class, sort, limit))

    def to_latex(self, *, per_class: bool = False, sort: str | None = None, limit: int | None = None) -> str:
        """Return the tables of `to_text` as LaTeX for the package booktabs. Sentences are comments.

        Args:
            per_class: See `to_text`, as all that follow.
            sort: See there.
            limit: See there.

        Raises:
            ValueError: See there.
        """
        from vltr_eval._base.table_forms import as_latex

        return as_latex(self._tables(per_class, sort, limit))

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
        """The size of the evaluated input, by names in JSON."""

    @abstractmethod
    def _totals_in_words(self) -> str:
        """The first line of the summary."""

    def _metrics(self) -> dict[str, float]:
        return flat_means(self.groups, self.settings.metrics)

    def _tables(self, per_class: bool, sort: str | None, limit: int | None) -> list[Table]:
        """All tables: that of the groups first, then the sentences of the summary as the notes of an empty table."""
        if not per_class and (sort is not None or limit is not None):
            name = "limit" if sort is None else "sort"
            raise ValueError(f"{name}: expected per_class=True beside it, got a report without its classes")
        summary = Table("", [], self._summary().removesuffix("\n").split("\n"))
        tables = [group_table(self.groups, self.settings.metrics), summary, *self._more_tables()]
        if per_class:
            tables.append(self._class_table(sort, limit))
        return tables

    def _class_table(self, sort: str | None, limit: int | None) -> Table:
        return class_table(
            self._columns,
            (*self.settings.metrics, *self.settings.more_columns),
            {**self.COUNTS, UNKNOWN_COLUMN: "unknown"},
            level=self.settings.interval,
            partitions=[name for name, _ in self.settings.partitions],
            sort=sort,
            limit=limit,
        )

    def _more_tables(self) -> list[Table]:
        """The tables between the summary and the classes."""
        return []

    def _document(self) -> dict[str, Any]:
        return {
            "schema": self.SCHEMA,
            "version": self.version,
            "signature": self.signature,
            "settings": self._settings_in_json(),
            "notes": self.notes,
            **self._totals(),
            "absent_classes": self.absent_classes,
            "tie_rate": self.tie_rate,
            "mAP_tie_interval": self.mAP_tie_interval,
            "groups": group_sizes(self.groups),
            "metrics": self.metrics(),
            "classes": self.classes,
        }

    def _page(self, details: Any, training: Mapping[str, Any] | None) -> str:
        from vltr_eval.report.page import report_page  # not above: few reports become pages

        return report_page(
            self.to_json(),
            self.classes,
            self.COUNTS,
            self.groups,
            self.settings,
            signature=self.signature,
            notes=self.notes,
            details=details,
            training=training,
        )

    def _settings_in_json(self) -> dict[str, Any]:
        settings = asdict(self.settings)
        for name in (
            "interval",
            "preset",
            "thresholds",
            "calibration",
            "reduce",
        ):  # keys of reports that have these alone
            if settings[name] is None:
                del settings[name]
        settings["partitions"] = dict(self.settings.partitions)
        if not self.settings.partitions:
            del settings["partitions"]
        return settings

    def _intervals_in_words(self) -> list[str]:
        """The lines of the summary on intervals."""
        return []

    def _summary(self) -> str:
        lines = [self._totals_in_words()]
        absent = self.absent_classes
        if absent:
            meaning = "count as 0 in AP and SAP" if self.settings.absent == "zero" else "left out of means"
            share = f"{len(absent):,} of {self.num_classes:,} classes"
            counted = next(iter(self.COUNTS.values()))
            lines.append(f"absent: no {counted} in {share}, {meaning}: {shortlist(absent)}")
        tied = self.UNTIED
        if self.tie_rate > 0:
            lower, upper = map(decimal, self.mAP_tie_interval)
            tied = f"{self.tie_rate:.2%} of {self.TIED}; their order could move mAP within [{lower}, {upper}]"
        lines += [f"ties: {tied}", *self._intervals_in_words(), f"signature: {self.signature}"]
        return "\n".join(lines) + "\n"

    def __eq__(self, other: object) -> bool:
        # By text, because NaN != NaN would make two equal reports differ.
        return self.to_json() == other.to_json() if isinstance(other, BaseReport) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __str__(self) -> str:
        return self.to_text() + "".join(f"note: {note}\n" for note in self.notes)

    def _repr_html_(self) -> str:
        from vltr_eval._base.notebook_html import folded, notebook_html, paragraph
        from vltr_eval._base.table_forms import as_html

        worst = self._class_table(f"{AP.class_name}:asc", _FEW_CLASSES)
        return notebook_html(
            f"{type(self).__name__} of {self.num_classes:,} classes",
            as_html(self._tables(False, None, None)),
            *(paragraph(f"note: {note}") for note in self.notes),
            folded(f"{len(worst.rows()):,} classes with the lowest AP", as_html([worst])),
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} mAP={decimal(self.groups[0].values[AP.name])} {self.signature}>"


@dataclass(frozen=True, eq=False, repr=False)
class Report(BaseReport):
    """All numbers of one evaluation: overall, by group and by class. Two reports are equal if their JSON is the same.

    A report holds no time, host or path, so the same input gives the same bytes.

    Attributes:
        version: The version of vltr that made the report.
        settings: The conventions; see `vltr_eval.report.Settings`.
        num_rows: Number of rows N.
        num_classes: Number of classes C.
        rows_without_labels: Number of rows without labels. None if the report was made from a saved rank table, which
            does not have it.
        tie_rate: Share of all positives that share their score with a negative of their class.
        mAP_tie_interval: Lowest and highest mAP that an order of tied scores could give. mAP itself does not depend on
            that order.
        groups: The means of "overall" first, then of head, medium and tail if there are train counts, then of
            the groups of one's own.
        classes: Columns of the per-class table, C values each: num_positives, num_negatives, AP, ... Also name, group
            and train_count where they are known, and num_unknown if there are unknown labels. Each partition of one's
            own has a column of its name, with None for a class in no group.
        prior_results: The means under other class distributions, if requested. Each adds columns to ``classes``: its AP
            and Acc@k, the share of the weighted labels, and the effective number of positives.
        num_clusters: Number of clusters, if the intervals are of clustered rows; else None. ``classes`` then has
            num_positive_clusters, the clusters with a positive of each class.
        slices: The means over slices of the rows, if requested.
        thresholds: Precision, recall and F1 by group at the thresholds of the evaluation, if it has any. ``classes``
            then has threshold, precision, recall and F1.
        calibration: Calibration errors and reliability by group, if requested. ``classes`` then has ECE and Brier.
        notes: Sentences about inputs that were changed for the evaluation, or that make the numbers doubtful. JSON has
            them, ``str(report)`` ends with them, and the program writes them to stderr.

    Example:
        >>> from vltr_eval import evaluate
        >>> report = evaluate(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]), sap=None, topk=(1,))
        >>> report.metrics()
        {'mAP': 0.8333333333333333, 'ROC_AUC': 0.5, 'Acc@1': 1.0}
        >>> report.classes["num_positives"], report.signature.split("|")[0]
        ((2,), 'AP+ROC-AUC+Acc@1')
    """

    SCHEMA: ClassVar[str] = "vltr-eval/report/1"
    COUNTS: ClassVar[Mapping[str, str]] = {"num_positives": "positives"}
    UNTIED: ClassVar[str] = "no positive shares its score with a negative"
    TIED: ClassVar[str] = "positives share their score with a negative"

    num_rows: int
    rows_without_labels: int | None
    prior_results: tuple[PriorResult, ...] = ()
    num_clusters: int | None = None
    slices: tuple[Slice, ...] = ()
    thresholds: ThresholdResult | None = None
    calibration: CalibrationResult | None = None

    @property
    def num_labels(self) -> int:
        """Number of positives of all classes."""
        return sum(self.classes["num_positives"])

    @property
    def num_unknown(self) -> int:
        """Number of cells that are neither positive nor negative, which their classes leave out."""
        return sum(self.classes.get(UNKNOWN_COLUMN, ()))

    def per_class(self) -> pandas.DataFrame:
        """Return the per-class table as a pandas frame, indexed by class; needs ``pip install "vltr[pandas]"``.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError('Report.per_class() needs pandas: pip install "vltr[pandas]"') from None
        return pandas.DataFrame(self.classes, index=pandas.RangeIndex(self.num_classes, name="class"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Report:
        """Read a report that ``to_json`` wrote (schema "vltr-eval/report/1").

        Raises:
            InputError: The text is no report of this schema; a ValueError.
        """
        import json  # not above: few programs read a report

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
            raise InputError(f"report: expected the values of schema {cls.SCHEMA!r}, got {error}") from None

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> Report:
        values = document["settings"]
        bounds = None if values["bounds"] is None else checked_bounds(values["bounds"])
        plain = {
            "seed": read_count(values["seed"]),
            "topk": tuple(map(read_count, values["topk"])),
            "bounds": bounds,
            "partitions": read_partitions(values.get("partitions", {})),
            "thresholds": read_text(values["thresholds"]) if "thresholds" in values else None,
        }
        settings = Settings(**{**values, **plain})
        num_classes = read_count(document["num_classes"])
        metrics = document["metrics"]
        groups = read_groups(document["groups"], settings.metrics, metrics, estimated=settings.estimated)
        results = tuple(
            PriorResult(
                name,
                **{key: read_number(result[key]) for key in _PRIOR_NUMBERS},
                groups=read_groups(result["groups"], settings.prior_metrics, metrics, name_under_prior(name, "")),
            )
            for name, result in document.get("shifts", {}).items()
        )
        lower, upper = document["mAP_tie_interval"]
        partitions = dict(settings.partitions)
        classes = {
            name: read_column(name, column, num_classes, partitions) for name, column in document["classes"].items()
        }
        ends = [end for metric in settings.estimated for end in interval_names(metric.class_name)[1:]]
        columns = (metric.class_name for metric in (*settings.metrics, *settings.more_columns))
        for name in ("num_positives", *partitions, *columns, *ends):
            if name not in classes:
                raise KeyError(name)
        _check_partitions(partitions, groups, classes)
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
            num_clusters=read_count(document["num_clusters"]) if "num_clusters" in document else None,
            slices=read_slices(document.get("slices", {}), settings.metrics, settings.estimated),
            thresholds=None
            if settings.thresholds is None
            else ThresholdResult.from_document(document["thresholds"], [group.name for group in groups]),
            calibration=None
            if settings.calibration is None
            else CalibrationResult.from_document(
                document["calibration"], [group.name for group in groups], settings.calibration
            ),
            notes=read_texts(document.get("notes", [])),  # older reports have none
        )

    def _metrics(self) -> dict[str, float]:
        means = super()._metrics()
        for result in self.prior_results:
            weighted = flat_means(result.groups, self.settings.prior_metrics)
            means |= {name_under_prior(result.name, name): value for name, value in weighted.items()}
        for group, values in self._more_means().items():
            means |= {grouped_name(metric, group): values[metric.name] for metric in self.settings.more_metrics}
        return means

    def _more_means(self) -> dict[str, dict[str, float]]:
        """The means of each group at thresholds and of calibration."""
        found: dict[str, dict[str, float]] = {}
        for part in (self.thresholds, self.calibration):
            for name, values in {} if part is None else part.means().items():
                found[name] = found.get(name, {}) | values
        return found

    def _conventions(self) -> list[str]:
        settings = self.settings
        names = [metric.signature for metric in settings.metrics if metric.signature]
        if settings.topk:
            names.append("Acc@" + ",".join(map(str, settings.topk)))
        return [
            "+".join(names),
            "ties:threshold",
            f"absent:{settings.absent}",
            f"classes:{self._num_defined}/{self.num_classes}",
            *([f"unknown:{self.num_unknown}"] if self.num_unknown else []),
            *(["priors:" + ",".join(result.name for result in self.prior_results)] if self.prior_results else []),
            *([] if settings.interval is None else [f"ci:{settings.interval!r}"]),
            *([] if self.num_clusters is None else [f"clusters:{self.num_clusters}"]),
            *([] if self.thresholds is None else [self.thresholds.signature]),
            *([] if settings.calibration is None else [f"calibration:{settings.calibration}"]),
            *([] if settings.reduce is None else [f"reduce:{settings.reduce}"]),
        ]

    def _intervals_in_words(self) -> list[str]:
        level = self.settings.interval
        if level is None:
            return []
        units = "rows" if self.num_clusters is None else f"{self.num_clusters:,} clusters of rows"
        return [
            f"intervals: +- is half the width of the {level_in_words(level)} interval"
            + ("; that of SAP is the deviation of its trials" if self.settings.trials else ""),
            f"intervals: for the expected value on a test set of this size; {units} vary, training seeds do not",
        ]

    def _document(self) -> dict[str, Any]:
        document = super()._document()
        if self.prior_results:  # the key is absent from other reports
            document["shifts"] = {
                result.name: {key: getattr(result, key) for key in _PRIOR_NUMBERS}
                | {"groups": group_sizes(result.groups)}
                for result in self.prior_results
            }
        if self.slices:  # as is this one
            document["slices"] = slices_in_json(self.slices, self.settings.metrics)
        for name, part in (("thresholds", self.thresholds), ("calibration", self.calibration)):
            if part is not None:
                document[name] = part.document()
        return document

    def _more_tables(self) -> list[Table]:
        tables = []
        if self.prior_results:
            labelled = self.num_rows - (self.rows_without_labels or 0)
            tables.append(prior_table(self.groups, self.prior_results, self.settings.prior_metrics, labelled))
        if self.slices:
            tables.append(slice_table(self.slices, self.settings.metrics))
        if self.thresholds is not None:
            title = f"at thresholds: {self.thresholds.in_words()}"
            tables.append(means_table(title, self.thresholds.means(), THRESHOLD_METRICS))
        if self.calibration is not None:
            title = f"calibration in {self.calibration.bins} bins of equal width"
            tables.append(means_table(title, self.calibration.means(), CALIBRATION_METRICS))
        return tables

    def _totals(self) -> dict[str, int | None]:
        return {
            "num_rows": self.num_rows,
            "num_classes": self.num_classes,
            "num_labels": self.num_labels,
            "rows_without_labels": self.rows_without_labels,
            **({"num_unknown": self.num_unknown} if self.num_unknown else {}),
            **({} if self.num_clusters is None else {"num_clusters": self.num_clusters}),
        }

    def _totals_in_words(self) -> str:
        text = f"{self.num_rows:,} rows, {self.num_labels:,} labels"
        if self.rows_without_labels:
            text += f"; no labels in {self.rows_without_labels:,} rows"
            text += ", left out of Acc@k" if self.settings.topk else ""
        if self.num_unknown:
            classes = sum(count > 0 for count in self.classes[UNKNOWN_COLUMN])
            cells = self.num_rows * self.num_classes
            text += (
                f"\nlabels: {self.num_unknown:,} of {cells:,} cells unknown ({self.num_unknown / cells:.1%}), in "
                f"{classes:,} class{'es' * (classes != 1)}, which leave them out"
            )
        return text


_FEW_CLASSES = 10  # of those with the lowest AP in a notebook


def _check_partitions(
    partitions: Mapping[str, tuple[str, ...]], groups: Sequence[Group], classes: Mapping[str, Sequence[Any]]
) -> None:
    """Raise TypeError if the groups, or those of the classes, are not the groups of the partitions."""
    stated: dict[str, list[str]] = {}
    for group in groups:
        if group.partition:
            stated.setdefault(group.partition, []).append(group.name)
    of_classes = {
        partition: {flat_group_name(partition, group, len(partitions)) for group in classes[partition] if group}
        for partition in partitions
    }
    if {name: tuple(names) for name, names in stated.items()} != partitions or any(
        of_classes[name] != set(names) for name, names in partitions.items()
    ):
        raise TypeError("groups that are not those of the partitions")


_PRIOR_NUMBERS = ("effective_rows", "total_variation", "left_out")
