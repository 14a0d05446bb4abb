"""Tables of runs: measured numbers beside the numbers that a paper prints, as text, Markdown, CSV or LaTeX.

Printed numbers come from the presets of methods, which read `vltr_train.papers`. A table of a paper is named after its
data: DATASET-NUMBER or DATASET-PAPER-NUMBER, such as "videolt-1". A variant of a data set is named DATASET-VARIANT.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from vltr_eval._base.arguments import unknown_name
from vltr_eval._base.groups import GROUP_NAMES
from vltr_eval._base.text_table import BEST, NOT_WORSE, Column, Table, as_text
from vltr_eval.intervals import check_level
from vltr_eval.report import AP, EXPECTED_SAP, SAP, accuracy_at, grouped_name
from vltr_train.papers import method_order
from vltr_train.runs.repetitions import repetitions
from vltr_train.runs.run_folder import RunFolder, open_runs

if TYPE_CHECKING:
    from vltr_eval.comparison import BestOfMean, MeanDifference
    from vltr_train.method import Preset
    from vltr_train.runs.row_errors import RowErrors

    Presets = Mapping[str, Mapping[str, Preset]]

__all__ = ["FORMATS", "paper_tables", "table"]

FORMATS = ("text", "markdown", "csv", "latex")

COLUMNS = {
    "All": AP.name,
    **{group.capitalize(): grouped_name(AP, group) for group in GROUP_NAMES},
    **{f"Acc@{k}": accuracy_at(k).name for k in (1, 5)},
}
"""The columns of papers in the order of `Preset.printed`: the name in a report of each heading's metric."""

SAP_COLUMNS = {"SAP": SAP.name, "exact SAP": EXPECTED_SAP.name}
PRINTABLE = COLUMNS | SAP_COLUMNS | {f"SAP {group}": grouped_name(SAP, group) for group in GROUP_NAMES}
"""The columns that `Preset.columns` may name."""
WORDS = ("row", "method")
UNPRINTED = "not in this table"
ERROR = "se"
"""The heading of the standard error by test rows."""

CSV_ERRORS = {
    "_row_se": "",
    "_difference": "difference",
    "_difference_row_se": "row_error",
    "_difference_seed_se": "seed_error",
    "_difference_low": "low",
    "_difference_high": "high",
    "_difference_p": "p_value",
}
"""The columns of CSV that a table with intervals adds, and their attributes of a difference."""


def paper_tables(presets: Presets) -> list[str]:
    """Return the names of the papers' tables that presets reproduce.

    Args:
        presets: The presets of each method, by the method's name.

    Returns:
        The names in alphabetical order.
    """
    return sorted({name for rows in presets.values() for preset in rows.values() for name in preset.tables})


def table(
    runs: Iterable[RunFolder | str | os.PathLike[str]],
    *,
    presets: Presets | None = None,
    paper: str | None = None,
    format: str = "text",
    interval: float | None = None,
    baseline: str | None = None,
    threads: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> str:
    """Write runs as a table. Runs that differ only in their seed are one line: mean +- standard deviation (n - 1).

    With ``interval`` the table also has, for each mean, its standard error by the choice of test rows, and a second
    table has the differences to the baseline with their intervals and p-values. These come from the predictions in the
    run folders.

    In Markdown and LaTeX, the highest measured value of each column is bold, among the lines of one block on the same
    data. With ``interval``, values that are not significantly lower have a dagger, by the paired test of both methods.

    Args:
        runs: Evaluated runs, or their folders.
        presets: The presets of each method, by the method's name; needed for ``paper``.
        paper: One of ``paper_tables(presets)``. The table has the columns and rows that the paper prints, with the
            measured numbers beside the printed ones and "-" for missing numbers. Runs that are no row of it come last.
            None for the runs alone, with SAP.
        format: One of `FORMATS`. "csv" has numbers in full, and data and selection in columns instead of notes.
        interval: The confidence level of intervals, such as 0.95. None for a table without them.
        baseline: The method that others are compared with, as the table writes it. Default: the first line.
        threads: Threads of the core.
        progress: Called with the fraction done of the intervals, which take time.

    Returns:
        The table, with a line break at its end.

    Raises:
        ValueError: The paper, the format or the baseline is unknown, a run has no report, or there is neither a run
            nor a paper.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    lines, columns = _measured(open_runs(runs)), COLUMNS | SAP_COLUMNS
    if not lines and paper is None:
        raise ValueError("runs: expected at least one run, got none; only with paper has a table rows without runs")
    if interval is not None:
        check_level(interval, "interval")
    elif baseline is not None:
        raise ValueError(f"baseline: expected interval beside it, such as 0.95, got {baseline!r} alone")
    if paper is not None:
        presets = presets or {}
        names = paper_tables(presets)
        if paper not in names:
            raise unknown_name("paper", paper, names)
        lines, columns = _beside_printed(lines, presets, paper), _printed_columns(presets, paper)
    notes, rows = _notes(lines, paper), None
    if interval is not None:
        from vltr_train.runs.row_errors import RowErrors  # not above: it evaluates predictions, and most tables do not

        rows = RowErrors(threads=threads)
        lines = _with_errors(lines, interval, baseline, rows, progress)
        notes += _notes_on_errors(lines)
    blocks: dict[str, list[_Line]] = {}
    for line in lines:
        blocks.setdefault(line.group, []).append(line)
    has_errors = rows is not None
    if format == "csv":
        return _csv(blocks, columns, paper, has_errors)
    words, beside = _words(paper), _beside(paper, has_errors)
    cells = {name: [_cells(line, columns, paper, has_errors) for line in block] for name, block in blocks.items()}
    headings = [*words, *chain.from_iterable((column, *beside) for column in columns)]
    tables = [_table(headings, cells, notes)]
    if format != "text":
        found = _best_values(list(chain.from_iterable(blocks.values())), columns, interval, rows)
        marks = {(row, len(words) + place * (1 + len(beside))): mark for (row, place), mark in found.items()}
        tables[0] = replace(tables[0], marks=marks, legend=_legend(marks, interval))
    differing = [line for line in lines if line.differences]
    if interval is not None and differing:
        tables.append(_table(*_difference_cells(differing, columns), _notes_on_differences(differing, interval)))
    return _rendered(tables, format)


def _rendered(tables: Sequence[Table], format: str) -> str:
    if format == "text":
        return as_text(tables, width=None)
    from vltr_eval._base.table_forms import as_latex, as_markdown  # not above: the text needs none

    return as_markdown(tables) if format == "markdown" else as_latex(tables)


@dataclass(frozen=True)
class _Line:
    """A row that a paper prints, runs that differ only in their seed, or both.

    spec: METHOD or METHOD:PRESET. changes: the settings that distinguish these runs from others of this spec. metrics:
    those of each run. printed: the paper's numbers by heading. source: the numbers that the row's first table prints
    otherwise. variant: the variant of the data set that the row is on. row_errors: the standard error of each mean by
    the choice of test rows. base: the baseline. differences: those to the baseline, by the name of the
    metric. reason: why there are no errors or differences.
    """

    spec: str
    changes: str = ""
    data: str = ""
    select_on: str = ""
    seeds: Sequence[int] = ()
    metrics: Sequence[Mapping[str, float]] = ()
    group: str = ""
    row: str = ""
    printed: Mapping[str, float | None] = field(default_factory=dict)
    source: str = ""
    variant: str = ""
    runs: Sequence[RunFolder] = ()
    row_errors: Mapping[str, float] = field(default_factory=dict)
    base: _Line | None = None
    differences: Mapping[str, MeanDifference] = field(default_factory=dict)
    reason: str = ""

    @property
    def name(self) -> str:
        return f"{self.spec} {self.changes}".rstrip()

    def measured(self, metric: str) -> tuple[float | None, float | None]:
        """The mean and standard deviation; None if a run lacks the number, and for the deviation of a single run."""
        values = [metrics.get(metric, math.nan) for metrics in self.metrics]
        if not values or any(map(math.isnan, values)):
            return None, None
        return fmean(values), stdev(values) if len(values) > 1 else None


def _measured(runs: Iterable[RunFolder]) -> list[_Line]:
    return [
        _Line(
            spec=alike.spec,
            changes=alike.changes,
            data=alike.data,
            select_on=_selected_on(alike.runs[0]),
            seeds=alike.seeds,
            metrics=[run.load_report().metrics() for run in alike.runs],
            runs=alike.runs,
        )
        for alike in repetitions(runs)
    ]


def _selected_on(run: RunFolder) -> str:
    """The split that selected the checkpoint, or "last" without a validation split."""
    select_on = run.value("settings", "select_on")
    num_validation = run.value("dataset", "videos")[1]
    return select_on if num_validation or select_on != "validate" else "last"


def _beside_printed(lines: Sequence[_Line], presets: Presets, paper: str) -> list[_Line]:
    by_spec: dict[str, list[_Line]] = {}
    for line in lines:
        by_spec.setdefault(line.spec, []).append(line)
    rows = []
    for method in sorted(presets, key=_position):
        for name, preset in presets[method].items():
            if paper in preset.tables:
                group = ", ".join(filter(None, (preset.data, preset.backbone, preset.settings.get("aggregator"))))
                spec = f"{method}:{name}"
                found = by_spec.pop(spec, [_Line(spec)])
                rows += [
                    replace(
                        line,
                        group=group,
                        row=preset.row,
                        printed=_printed(preset, paper),
                        source=_source(preset, paper),
                        variant=preset.data,
                    )
                    for line in found
                ]
    return rows + [replace(line, group=UNPRINTED) for line in lines if line.spec in by_spec]


def _printed(preset: Preset, paper: str) -> dict[str, float | None]:
    """The numbers of a row in a table, by heading."""
    return dict(zip(preset.columns or COLUMNS, preset.quoted.get(paper, preset.printed), strict=False))


def _source(preset: Preset, paper: str) -> str:
    """A note of the numbers that were printed first, if a table repeats the row with other numbers."""
    first = preset.tables[0]
    original = _printed(preset, first)
    others = [
        f"{heading} {_decimal(original[heading], 3)}"
        for heading, number in _printed(preset, paper).items()
        if number not in (None, original[heading])
    ]
    return f"{first} prints {', '.join(others)}" if others else ""


def _printed_columns(presets: Presets, paper: str) -> dict[str, str]:
    """The columns that all rows of a table have and that hold a number.

    A paper that repeats rows of others may leave out columns.
    """
    rows = [
        _printed(preset, paper)
        for of_method in presets.values()
        for preset in of_method.values()
        if paper in preset.tables
    ]
    return {
        name: PRINTABLE[name]
        for name in rows[0]
        if all(name in row for row in rows) and any(row[name] is not None for row in rows)
    }


def _position(method: str) -> int:
    """The position of a method's rows in all tables; methods that no paper names come last."""
    order = method_order()
    return order.index(method) if method in order else len(order)


def _notes(lines: Sequence[_Line], paper: str | None) -> list[str]:
    """Notes to read before comparing: the data, the split that selected checkpoints, and repeated seeds."""
    measured = [line for line in lines if line.metrics]
    data = list(dict.fromkeys(line.data for line in measured))
    notes = [f"measured on {', '.join(data)}"] if data else []
    if paper is not None:
        printed_on = paper.partition("-")[0]
        others = [name for name in data if name.partition("-")[0] != printed_on]
        notes = [f"measured on {', '.join(others)}, which is not the paper's data ({printed_on})"] if others else []
    selection = Counter(line.select_on for line in measured for _ in line.metrics)
    if selection:
        counted = (f"{select_on} ({number:,} of the runs)" for select_on, number in selection.items())
        notes.append(f"checkpoints selected on: {', '.join(counted if len(selection) > 1 else selection)}")
    notes += dict.fromkeys(f"{line.spec}: {line.source}" for line in lines if line.source)
    for line in measured:
        if not line.data.endswith(line.variant):  # the name of a synthetic set ends with that of the data it imitates
            notes.append(f"{line.name}: measured on {line.data}, and the row is of {line.variant}")
        notes += [f"{line.name}: {note}" for note in line.runs[0].document.get("notes", ())]
        if len(set(line.seeds)) < len(line.seeds):
            notes.append(f"{line.name}: its {len(line.seeds)} runs have {len(set(line.seeds))} seeds between them")
    return notes


def _words(paper: str | None) -> list[str]:
    return ["method", "n"] if paper is None else ["row", "method", "n"]


def _beside(paper: str | None, has_errors: bool) -> list[str]:
    """The headings of the columns beside each measured one."""
    return [ERROR] * has_errors + ["printed"] * (paper is not None)


def _cells(line: _Line, columns: Mapping[str, str], paper: str | None, has_errors: bool) -> list[str]:
    cells = [line.name, str(len(line.metrics) or "-")]
    if paper is not None:
        cells = [line.row, *cells]
    for heading, metric in columns.items():
        mean, std = line.measured(metric)
        cells.append(_decimal(mean, 4) + (f" +- {_decimal(std, 4)}" if std is not None else ""))
        if has_errors:
            cells.append(_decimal(line.row_errors.get(metric) or None, 4))  # 0 says that nothing is known
        if paper is not None:
            cells.append(_decimal(line.printed.get(heading), 3))
    return cells


# Errors by test rows, and differences to a baseline


def _with_errors(
    lines: Sequence[_Line],
    level: float,
    baseline: str | None,
    rows: RowErrors,
    progress: Callable[[float], object] | None = None,
) -> list[_Line]:
    """Add the errors by test rows to lines, and their differences to the baseline."""
    base, found = _baseline(lines, baseline), []
    for line in lines:
        if line.runs and base is not None:
            try:
                line = replace(line, row_errors=rows.of_mean(line.runs))
                if line.runs is not base.runs:
                    differences = rows.differences(base.runs, line.runs, level, (base.name, line.name))
                    line = replace(line, base=base, differences=differences)
            except ValueError as error:
                line = replace(line, reason=str(error))
        found.append(line)
        if progress is not None:
            progress(len(found) / len(lines))
    return found


def _baseline(lines: Sequence[_Line], baseline: str | None) -> _Line | None:
    """The line to compare with; None without measured lines."""
    measured = [line for line in lines if line.metrics]
    if baseline is None:
        return measured[0] if measured else None
    found = [line for line in measured if baseline in (line.name, line.spec)]
    if not found:
        raise unknown_name("baseline", baseline, [line.name for line in measured])
    return found[0]


def _notes_on_errors(lines: Sequence[_Line]) -> list[str]:
    notes = []
    if any(line.row_errors for line in lines):
        notes.append(
            f"+-: standard deviation over seeds; {ERROR}: standard error of the mean by the choice of test rows"
        )
    return notes + [f"{line.name}: not compared; {line.reason}" for line in lines if line.reason]


def _difference_cells(
    lines: Sequence[_Line], columns: Mapping[str, str]
) -> tuple[list[str], dict[str, list[list[str]]]]:
    """Return the headings and the rows of the table of differences, for the means that have effects of rows."""
    shown = [heading for heading, metric in columns.items() if all(metric in line.differences for line in lines)]
    headings = ["method", *chain.from_iterable((heading, "p") for heading in shown)]
    cells = []
    for line in lines:
        cells.append([line.name])
        for heading in shown:
            found = line.differences[columns[heading]]
            cells[-1] += [_interval(found.difference, found.low, found.high), _p_value(found.p_value)]
    return headings, {f"minus {_base_name(lines[0])}": cells}


def _notes_on_differences(lines: Sequence[_Line], level: float) -> list[str]:
    """State which variance the intervals hold: a side with one run has no variance of seeds."""
    notes = [f"{100 * level:g} % intervals and p-values of differences, paired by test row"]
    single = {name for line in lines for name, runs in _sides(line) if runs == 1}
    if all(runs == 1 for line in lines for _, runs in _sides(line)):
        return [*notes, "the intervals hold the variance of test rows, and not that of training seeds"]
    notes.append("the intervals hold the variance of test rows and of training seeds")
    if single:
        named = ", ".join(dict.fromkeys(name for line in lines for name, _ in _sides(line) if name in single))
        notes.append(f"one run, so without the variance of its seeds: {named}")
    return notes


def _base_name(line: _Line) -> str:
    return "" if line.base is None else line.base.name


def _sides(line: _Line) -> list[tuple[str, int]]:
    """The names and numbers of runs of the baseline and of a line."""
    return [(side.name, len(side.metrics)) for side in (line.base, line) if side is not None]


def _interval(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "-"
    ends = "" if math.isnan(low) else f" [{low:+.4f}, {high:+.4f}]"
    return f"{value:+.4f}{ends}"


def _p_value(p: float) -> str:
    if math.isnan(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _decimal(value: float | None, digits: int) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


# Best values


def _best_values(
    lines: Sequence[_Line], columns: Mapping[str, str], level: float | None, rows: RowErrors | None
) -> dict[tuple[int, int], str]:
    """The marks of measured values by the numbers of line and column, among lines of one block on the same data."""
    alike: dict[tuple[str, str], list[int]] = {}
    for number, line in enumerate(lines):
        if line.runs:
            alike.setdefault((line.group, line.runs[0].value("dataset", "labels")), []).append(number)
    marks: dict[tuple[int, int], str] = {}
    for numbers in alike.values():
        tested = [number for number in numbers if lines[number].row_errors and not lines[number].reason]
        tests: Mapping[str, BestOfMean] = {}
        if rows is not None and level is not None and len(tested) > 1:
            tests = rows.best([lines[number].runs for number in tested], level)
        for place, metric in enumerate(columns.values()):
            means = {number: lines[number].measured(metric)[0] for number in numbers}
            values = {number: mean for number, mean in means.items() if mean is not None}
            if len(values) < 2:
                continue
            highest = max(values.values())
            best = [number for number, value in values.items() if value == highest]
            marks |= {(number, place): BEST for number in best}
            test = tests.get(metric)
            if test is None or level is None or test.best is None or tested[test.best] not in best:
                continue
            for position, number in enumerate(tested):
                if number not in best and test.is_not_worse(position, level):
                    marks[number, place] = NOT_WORSE
    return marks


def _legend(marks: Mapping[tuple[int, int], str], level: float | None) -> dict[str, str]:
    where = "of its column, among the lines of one block on the same data"
    legend = {BEST: f"the highest measured value {where}"}
    if level is not None:
        legend[NOT_WORSE] = (
            f"not significantly lower than that value at the level {100 * level:g} %, by a paired test of both "
            "methods; p is not adjusted for the number of methods or columns"
        )
    return {mark: meaning for mark, meaning in legend.items() if mark in marks.values()}


def _table(headings: Sequence[str], blocks: Mapping[str, list[list[str]]], notes: Sequence[str]) -> Table:
    rows = [row for block in blocks.values() for row in block]
    columns = [
        Column(heading, [row[number] for row in rows], is_name=heading in WORDS)
        for number, heading in enumerate(headings)
    ]
    starts = accumulate((len(block) for block in blocks.values()), initial=0)
    return Table("", columns, notes, dict(zip(starts, blocks, strict=False)))


def _csv(blocks: Mapping[str, list[_Line]], columns: Mapping[str, str], paper: str | None, has_errors: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = ["", "_std"] + ["_printed"] * (paper is not None) + [*CSV_ERRORS] * has_errors
    words = ["method", "n", "data", "select_on"]
    if paper is not None:
        words = ["group", "row", *words]
    if has_errors:
        words.append("baseline")
    writer.writerow([*words, *(f"{column}{part}" for column in columns for part in parts)])
    for line in chain.from_iterable(blocks.values()):
        cells = [line.name, len(line.metrics), line.data, line.select_on]
        if paper is not None:
            cells = [line.group, line.row, *cells]
        if has_errors:
            cells.append(_base_name(line))
        for heading, metric in columns.items():
            values = dict(zip(("", "_std"), line.measured(metric), strict=True))
            values["_printed"] = line.printed.get(heading)
            values["_row_se"] = line.row_errors.get(metric)
            difference = line.differences.get(metric)
            if difference is not None:
                values |= {part: getattr(difference, name) for part, name in CSV_ERRORS.items() if name}
            cells += [_unless_nan(values.get(part)) for part in parts]
        writer.writerow(cells)
    return text.getvalue()


def _unless_nan(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
