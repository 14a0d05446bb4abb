"""What an evaluation found, as plain data: its numbers, their names, and the ways to write them down.

This is the one place that names metrics. ``Metric.name`` is the key in ``Report.metrics()``, in the JSON file and in
``vltr-eval --fail-under``; a group's name is appended for its mean (``mAP``, ``mAP_tail``). ``Metric.class_name`` is
the per-class column in CSV, JSON and the pandas frame; the headings are what the text tables print above them. Under
another class distribution the distribution's name stands before both (``inverse/mAP_tail``, ``inverse/AP``).
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from vltr_eval.groups import checked_bounds
from vltr_eval.outputs import PendingFile

if TYPE_CHECKING:
    import pandas

OVERALL = "overall"
MAX_TRIALS = 2**31 - 1


class Metric(NamedTuple):
    """The names of one metric: of its mean over classes and of its value for one class."""

    name: str
    class_name: str
    heading: str
    class_heading: str


AP = Metric("mAP", "AP", "mAP", "AP")
SAP = Metric("SAP", "SAP", "SAP +- std", "SAP +- std")
SAP_STD = Metric("SAP_std", "SAP_std", "", "")  # has no column of its own: it is printed inside SAP's
EXPECTED_SAP = Metric("expected_SAP", "expected_SAP", "exact SAP", "exact SAP")
SAP_CHANCE = Metric("SAP_chance", "SAP_chance", "chance SAP", "chance SAP")
ROC_AUC = Metric("ROC_AUC", "ROC_AUC", "ROC-AUC", "ROC-AUC")


def accuracy_at(k: int) -> Metric:
    """The metric Acc@k, the only one whose name carries a number."""
    return Metric(*[f"Acc@{k}"] * 4)


@dataclass(frozen=True)
class Settings:
    """What was asked for; with the input and the version it determines every number of a report.

    sap: number of SAP trials, "exact" for the closed form alone, None for no SAP at all.
    bounds: train counts that part head, medium and tail; None when there were no train counts.
    """

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
    def shifted_metrics(self) -> tuple[Metric, ...]:
        """Those of the metrics that are shown under other class distributions."""
        return (AP, *map(accuracy_at, self.topk))

    def metric_names(self, groups: Sequence[str] = (OVERALL,), priors: Iterable[str] = ()) -> list[str]:
        """The keys that ``Report.metrics()`` has under these settings."""
        own = [grouped_name(metric, group) for group in groups for metric in self.metrics]
        shifted = [grouped_name(metric, group) for group in groups for metric in self.shifted_metrics]
        return own + [shifted_name(prior, name) for prior in priors for name in shifted]


def grouped_name(metric: Metric, group: str) -> str:
    """The flat name of a metric's mean over a group: ``mAP``, ``mAP_tail``."""
    return metric.name if group == OVERALL else f"{metric.name}_{group}"


def shifted_name(prior: str, name: str) -> str:
    """The name of a metric, flat or of a column, under another class distribution: ``inverse/mAP_tail``."""
    return f"{prior}/{name}"


@dataclass(frozen=True, eq=False)
class Group:
    """The means over one group of classes: ``values`` maps Metric.name to the mean over its defined classes.

    num_undefined: classes of the group without a positive in the evaluated set.
    """

    name: str
    num_classes: int
    num_undefined: int
    values: dict[str, float]


@dataclass(frozen=True, eq=False)
class Shift:
    """The means under another class distribution, for which the rows were weighted (`vltr_eval.prior_weights`).

    effective_rows: as many labelled rows of equal weight would tell as much (Kish): the squared sum of their weights
        over the sum of squares. total_variation: from the distribution that was asked for to that of the weighted
        labels. left_out: the share that was asked for classes without positives. groups: as of the report, AP and Acc@k
        only; a class that has no weight is undefined.
    """

    name: str
    effective_rows: float
    total_variation: float
    left_out: float
    groups: tuple[Group, ...]


@dataclass(frozen=True, eq=False, repr=False)
class BaseReport(ABC):
    """What all reports are; `Report` has the meaning of the fields. Compares equal when every number is the same.

    SCHEMA: its name in JSON.
    COUNTS: columns of counts that the text table shows, and their headings; a class without the first is absent.
    UNTIED, TIED: what the notes say when there are no ties, and of what share there are.
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

    def metrics(self) -> dict[str, float]:
        """Every mean by its flat name: ``{"mAP": ..., "SAP": ..., "mAP_head": ..., ...}``."""
        return _flat(self.groups, self.settings.metrics)

    def to_json(self) -> str:
        """The report as JSON, its schema named in it: fixed key order, shortest floats, NaN as null."""
        return _render_json(self._document()) + "\n"

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """The per-class table as CSV, one line a class, undefined values empty; returned when no path is given."""
        text = _csv_table(self._columns)
        if path is None:
            return text
        with PendingFile(path) as pending:
            pending.write_text(text)
        return None

    def to_text(self, *, per_class: bool = False, bold: bool = False) -> str:
        """The report as an aligned table to read; bold: mark the headings for a terminal."""
        blocks = [_group_table(self.groups, self.settings.metrics, bold), self._notes(), *self._more_tables(bold)]
        if per_class:
            headings = {"class": "class", "name": "name", "group": "group", "train_count": "train", **self.COUNTS}
            columns = self._columns
            shown = {name: heading for name, heading in headings.items() if name in columns}
            blocks.append(_class_table(columns, shown, self.settings.metrics, bold))
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
        """The first line of the notes."""

    def _more_tables(self, bold: bool) -> list[str]:
        """What is printed between the notes and the classes."""
        return []

    def _document(self) -> dict[str, Any]:
        return {
            "schema": self.SCHEMA,
            "version": self.version,
            "signature": self.signature,
            "settings": asdict(self.settings),
            **self._totals(),
            "absent_classes": self.absent_classes,
            "tie_rate": self.tie_rate,
            "mAP_tie_interval": self.mAP_tie_interval,
            "groups": _sizes(self.groups),
            "metrics": self.metrics(),
            "classes": self.classes,
        }

    def _notes(self) -> str:
        lines = [self._totals_in_words()]
        absent = self.absent_classes
        if absent:
            meaning = "count as 0 in AP and SAP" if self.settings.absent == "zero" else "left out of means"
            share = f"{len(absent):,} of {self.num_classes:,} classes"
            what = next(iter(self.COUNTS.values()))
            lines.append(f"absent: no {what} in {share}, {meaning}: {shortlist(absent)}")
        tied = self.UNTIED
        if self.tie_rate > 0:
            lower, upper = map(_decimal, self.mAP_tie_interval)
            tied = f"{self.tie_rate:.2%} of {self.TIED}; their order could move mAP within [{lower}, {upper}]"
        return "\n".join([*lines, f"ties: {tied}", f"signature: {self.signature}"]) + "\n"

    def __eq__(self, other: object) -> bool:
        # By text, because NaN != NaN would make two equal reports differ.
        return self.to_json() == other.to_json() if isinstance(other, BaseReport) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} mAP={_decimal(self.groups[0].values[AP.name])} {self.signature}>"


@dataclass(frozen=True, eq=False, repr=False)
class Report(BaseReport):
    """Every number of one evaluation, overall, by group and by class; compares equal when every number is the same.

    groups: "overall" first, then head, medium and tail when train counts were given.
    classes: columns of the per-class table, each of length num_classes: num_positives, num_negatives, AP, ...;
        also name, group and train_count where these are known.
    rows_without_labels: None when the report was made from a saved rank table, which does not know it.
    tie_rate: share of all positives that share their score with a negative of their class.
    mAP_tie_interval: lowest and highest mAP that an order of tied scores could give; mAP itself needs no such choice.
    shifts: the means under other class distributions, where any were asked for. Each then adds columns to ``classes``:
        its AP and Acc@k, the share of the weighted labels, and how many positives of equal weight would tell as much.

    A report holds no time, host or path: the same input gives the same bytes.
    """

    SCHEMA: ClassVar[str] = "vltr-eval/report/1"
    COUNTS: ClassVar[Mapping[str, str]] = {"num_positives": "positives"}
    UNTIED: ClassVar[str] = "no positive shares its score with a negative"
    TIED: ClassVar[str] = "positives share their score with a negative"

    num_rows: int
    rows_without_labels: int | None
    shifts: tuple[Shift, ...] = ()

    @property
    def num_labels(self) -> int:
        """Positives of all classes together."""
        return sum(self.classes["num_positives"])

    def metrics(self) -> dict[str, float]:
        """Every mean by its flat name: ``{"mAP": ..., "mAP_head": ..., "inverse/mAP": ..., ...}``."""
        found = super().metrics()
        for shift in self.shifts:
            means = _flat(shift.groups, self.settings.shifted_metrics)
            found |= {shifted_name(shift.name, name): value for name, value in means.items()}
        return found

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
            raise ValueError(f"report: expected JSON, got text that is none ({error})") from None
        schema = document.get("schema") if isinstance(document, dict) else None
        if schema != cls.SCHEMA:
            raise ValueError(f"report: expected schema {cls.SCHEMA!r}, got {schema!r}")
        try:
            return cls._from_document(document)
        except KeyError as error:
            raise ValueError(f"report: key {error} is missing") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(f"report: expected the values of schema {cls.SCHEMA!r}, got others ({error})") from None

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> Report:
        asked = document["settings"]
        bounds = None if asked["bounds"] is None else checked_bounds(asked["bounds"])
        plain = {"seed": _count(asked["seed"]), "topk": tuple(map(_count, asked["topk"])), "bounds": bounds}
        settings = Settings(**{**asked, **plain})
        num_classes = _count(document["num_classes"])
        metrics = document["metrics"]
        groups = _read_groups(document["groups"], settings.metrics, metrics)
        shifts = tuple(
            Shift(
                name,
                *(_number(shift[key]) for key in _SHIFT_NUMBERS),
                _read_groups(shift["groups"], settings.shifted_metrics, metrics, shifted_name(name, "")),
            )
            for name, shift in document.get("shifts", {}).items()
        )
        lower, upper = document["mAP_tie_interval"]
        classes = {name: _column(name, column, num_classes) for name, column in document["classes"].items()}
        for name in ("num_positives", *(metric.class_name for metric in settings.metrics)):
            if name not in classes:
                raise KeyError(name)
        unlabelled = document["rows_without_labels"]
        return cls(
            version=_text(document["version"]),
            settings=settings,
            num_rows=_count(document["num_rows"]),
            num_classes=num_classes,
            rows_without_labels=None if unlabelled is None else _count(unlabelled),
            tie_rate=_number(document["tie_rate"]),
            mAP_tie_interval=(_number(lower), _number(upper)),
            groups=groups,
            classes=classes,
            shifts=shifts,
        )

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
            *(["priors:" + ",".join(shift.name for shift in self.shifts)] if self.shifts else []),
        ]

    def _document(self) -> dict[str, Any]:
        document = super()._document()
        if self.shifts:  # a report without stays as it is
            document["shifts"] = {
                shift.name: {key: getattr(shift, key) for key in _SHIFT_NUMBERS} | {"groups": _sizes(shift.groups)}
                for shift in self.shifts
            }
        return document

    def _more_tables(self, bold: bool) -> list[str]:
        if not self.shifts:
            return []
        labelled = self.num_rows - (self.rows_without_labels or 0)
        lines = [_shift_table(self.groups, labelled, self.shifts, self.settings.shifted_metrics, bold)]
        for shift in self.shifts:
            if shift.left_out:
                lines.append(f"{shift.name}: {shift.left_out:.2%} of it is of absent classes and left out\n")
            if shift.total_variation > _REACHED:
                lines.append(
                    f"{shift.name}: the labels allow it to be met to a total variation of "
                    f"{_decimal(shift.total_variation)}\n"
                )
            if shift.effective_rows < labelled * _FEW:
                lines.append(f"{shift.name}: rests on few rows, as {shift.effective_rows:,.1f} of {labelled:,} would\n")
        return ["".join(lines)]

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


_SHIFT_NUMBERS = ("effective_rows", "total_variation", "left_out")
_REACHED = 1e-6  # total variation that no number in a table would show
_FEW = 0.1  # of the labelled rows


def _flat(groups: Sequence[Group], metrics: Sequence[Metric]) -> dict[str, float]:
    """The means of groups by their flat names."""
    return {grouped_name(metric, group.name): group.values[metric.name] for group in groups for metric in metrics}


def _sizes(groups: Sequence[Group]) -> dict[str, dict[str, int]]:
    """All of the groups but their means, for JSON."""
    return {group.name: {"num_classes": group.num_classes, "num_undefined": group.num_undefined} for group in groups}


def _read_groups(
    sizes: Mapping[str, Any], metrics: Sequence[Metric], values: Mapping[str, Any], prefix: str = ""
) -> tuple[Group, ...]:
    """What `_sizes` and `_flat` made of groups."""
    groups = tuple(
        Group(
            name,
            _count(counts["num_classes"]),
            _count(counts["num_undefined"]),
            {metric.name: _number(values[prefix + grouped_name(metric, name)]) for metric in metrics},
        )
        for name, counts in sizes.items()
    )
    if [group.name for group in groups[:1]] != [OVERALL]:
        raise TypeError(f"groups without {OVERALL!r} as the first")
    return groups


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _number(value: Any) -> float:
    """A JSON value as a number: null is how JSON writes NaN. Like all that read JSON here, raises TypeError."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -math.inf < value < math.inf:
        raise TypeError(f"{value!r} where a number belongs")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} where a count belongs")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where text belongs")
    return value


_COLUMN_READERS = {"name": _text, "group": _text, "num_positives": _count, "num_negatives": _count}


def _column(name: str, values: Any, num_classes: int) -> tuple:
    """A column of the per-class table, from JSON."""
    column = tuple(map(_COLUMN_READERS.get(name, _number), values))
    if len(column) != num_classes:
        raise TypeError(f"{len(column)} values of {name} for {num_classes} classes")
    return column


def _without_nan(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if _is_nan(value) else value


def _render_json(value: Any, levels: int = 2, indent: str = "") -> str:
    """JSON with a line for each entry of the outer objects and none within an array: 1,004 classes stay readable."""
    if not isinstance(value, dict) or levels == 0:
        return json.dumps(_without_nan(value), allow_nan=False)
    inner = indent + "  "
    entries = (f"{inner}{json.dumps(key)}: {_render_json(item, levels - 1, inner)}" for key, item in value.items())
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"


def _decimal(value: float) -> str:
    """A number as the text tables print it."""
    return f"{value:.4f}"


def shortlist(classes: Sequence[int], most: int = 20) -> str:
    """Class indices for a sentence: the first few, and how many more there are."""
    listed = ", ".join(map(str, classes[:most]))
    return listed if len(classes) <= most else f"{listed} and {len(classes) - most:,} more"


def _group_table(groups: Sequence[Group], metrics: Sequence[Metric], bold: bool) -> str:
    """A line for each group: its classes, and the mean of each metric over them."""
    headings = ["", "classes", "undefined", *_headings(metrics, "heading")]
    rows = [
        [group.name, f"{group.num_classes:,}", f"{group.num_undefined:,}", *_cells(metrics, group.values, "name")]
        for group in groups
    ]
    return _aligned(headings, rows, bold)


def _shift_table(
    groups: Sequence[Group], labelled: int, shifts: Sequence[Shift], metrics: Sequence[Metric], bold: bool
) -> str:
    """A line for each class distribution, that of the set first: mAP overall and of the groups, Acc@k, rows."""
    (mean, *accuracies), parts = metrics, [group.name for group in groups[1:]]
    headings = ["", "undefined", mean.heading, *parts, *_headings(accuracies, "heading"), "effective rows"]

    def line(name: str, groups: Sequence[Group], rows: str) -> list[str]:
        means = [_decimal(group.values[mean.name]) for group in groups]
        return [name, f"{groups[0].num_undefined:,}", *means, *_cells(accuracies, groups[0].values, "name"), rows]

    lines = [line("as it is", groups, f"{labelled:,}")]
    lines += [line(shift.name, shift.groups, f"{shift.effective_rows:,.1f}") for shift in shifts]
    return "under other class distributions\n" + _aligned(headings, lines, bold)


def _class_table(
    columns: Mapping[str, Sequence[Any]], shown: Mapping[str, str], metrics: Sequence[Metric], bold: bool
) -> str:
    """A line for each class: the columns that are shown, given with their headings, then the metrics."""
    headings = [*shown.values(), *_headings(metrics, "class_heading")]
    rows = []
    for row in zip(*columns.values(), strict=True):
        values = dict(zip(columns, row, strict=True))
        rows.append([*(str(values[name]) for name in shown), *_cells(metrics, values, "class_name")])
    return _aligned(headings, rows, bold)


def _csv_table(columns: Mapping[str, Sequence[Any]]) -> str:
    """Columns of one length as CSV, undefined values empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow(["" if _is_nan(value) else value for value in row])
    return text.getvalue()


def _headings(metrics: Sequence[Metric], field: str) -> list[str]:
    return [getattr(metric, field) for metric in metrics if metric is not SAP_STD]


def _cells(metrics: Sequence[Metric], values: Mapping[str, Any], field: str) -> list[str]:
    """The metrics among values as text, each found under its ``field``; the spread of SAP joins SAP's cell."""
    cells: list[str] = []
    for metric in metrics:
        text = _decimal(values[getattr(metric, field)])
        if metric is SAP_STD:
            cells[-1] += f" +- {text}"
        else:
            cells.append(text)
    return cells


def _aligned(headings: Sequence[str], rows: Sequence[Sequence[str]], bold: bool) -> str:
    """Lines of a table: words flush left, numbers flush right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    flush = [str.ljust if heading in ("", "name", "group") else str.rjust for heading in headings]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(put(cell, width) for put, cell, width in zip(flush, cells, widths, strict=True)).rstrip()

    head = line(headings)
    return "\n".join([f"\033[1m{head}\033[0m" if bold else head, *map(line, rows)]) + "\n"
