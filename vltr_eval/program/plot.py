"""The command ``vltr-eval plot``: a figure for a paper as PDF, SVG or PNG."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vltr_eval._base.arguments import unknown_name
from vltr_eval._base.files import PendingFile
from vltr_eval._base.groups import DEFAULT_BOUNDS
from vltr_eval._base.option_types import level_type
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._base.ranks import SINGLE_PROCESS
from vltr_eval._base.terminal import OK, ProgressBar, add_command
from vltr_eval._engine.counting import count_chunks
from vltr_eval._engine.rank_table import RankTable
from vltr_eval._engine.results import ClassInfo, EvaluationCounts, share_of_counting
from vltr_eval.comparison import Comparison, Evaluation
from vltr_eval.comparison.names import name_systems
from vltr_eval.comparison.systems import checked_names, is_saved
from vltr_eval.plot.output import figure_of, fill, format_of
from vltr_eval.plot.pairs import SORTS
from vltr_eval.plot.style import WIDTH, add_title, require_matplotlib, set_width
from vltr_eval.program.compare import (
    add_systems,
    checked_systems,
    compare_systems,
    refuse_options_of_predictions,
)
from vltr_eval.program.inputs import (
    group_settings,
    id_files,
    read_class_info,
    read_command_inputs,
    read_stated_groups,
    refuse_no_positives,
    share_of_rows,
)
from vltr_eval.program.options import (
    add_absent,
    add_bounds,
    add_class_options,
    add_reading_options,
    add_threads,
    parse_names,
    whole_number,
)
from vltr_eval.report.names import AP, EXPECTED_SAP, SAP, SAP_CHANCE, SAP_STD
from vltr_eval.report.report import Report
from vltr_eval.report.settings import Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DESCRIPTION = """\
Draw a figure for one column of a paper. The same inputs give the same bytes."""

_LEVEL = 0.95
_BINS = 15  # as of --calibration

_BINS = 15  # of the reliability of predictions

_OF_REPORTS = "INPUT is PREDS LABELS as of `vltr-eval`, a file that --save-evaluation wrote, or a report (--json)."


def add(commands: Any) -> None:
    parser = commands.add_parser("plot", description=_DESCRIPTION, allow_abbrev=False)
    parser.set_defaults(refuse=parser.error)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND", title="kinds of figures")
    _add_report_kind(kinds, "train-count", "AP of each class against its number of training samples")
    groups = _add_report_kind(kinds, "groups", "bars of a mean, overall and by group; several reports side by side")
    groups.add_argument(
        "--metric", default=AP.name, metavar="NAME", help="mean by its flat name, such as SAP (default: mAP)"
    )
    groups.add_argument("--names", type=parse_names, metavar="NAME,...", help="names of the reports")
    _add_report_kind(kinds, "sap", "sampled AP of each class against its AP")
    _add_report_kind(kinds, "reliability", "share of positives against the mean score, by group")
    curves = _add_report_kind(
        kinds, "pr", "precision-recall curves of classes", "a file that --save-evaluation or --save-table wrote"
    )
    curves.add_argument(
        "--classes", type=parse_names, required=True, metavar="NAME,...", help="names or indices of the classes"
    )
    curves.add_argument("--no-iso-f1", action="store_true", help="leave out the lines of equal F1")
    for name, summary in _COMPARISONS.items():
        parser = _add_kind(kinds, name, summary, _draw_comparison, f"{summary}. The inputs are those of `compare`.")
        add_systems(parser)
        if name in ("scatter", "differences"):
            parser.add_argument("--system", metavar="NAME", help="the system to show, if there are several")
        if name == "differences":
            parser.add_argument(
                "--limit", type=_limit, default=20, metavar="N|all", help="classes that moved most (default: 20)"
            )
            parser.add_argument("--sort", choices=SORTS, default=SORTS[0], help=f"(default: {SORTS[0]})")


_COMPARISONS = {
    "scatter": "the metric of each class with a system against that with the baseline",
    "differences": "differences of single classes with their intervals",
    "outcomes": "classes that are worse, undecided and better, by group",
    "trade": "the difference in the head against that in the tail",
}


def _add_report_kind(kinds: Any, name: str, summary: str, saved: str = "") -> argparse.ArgumentParser:
    """Add a kind of figure of reports, or of curves: one evaluation, or a saved one."""
    inputs = _OF_REPORTS if not saved else f"INPUT is PREDS LABELS as of `vltr-eval`, or {saved}."
    parser = _add_kind(kinds, name, summary, _draw_report, f"{summary}. {inputs}")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help=inputs)
    add_reading_options(parser)
    add_class_options(parser)
    add_bounds(parser, None)
    add_absent(parser, None)
    if name == "train-count":
        parser.add_argument("--intervals", action="store_true", help="add the interval of each class")
    if name == "groups":
        parser.add_argument(
            "--ci",
            type=level_type("INPUT"),
            nargs="?",
            const=_LEVEL,
            metavar="LEVEL",
            help="add intervals at this level (0.95 if no LEVEL follows)",
        )
    add_threads(parser)
    return parser


def _add_kind(
    kinds: Any, name: str, summary: str, draw: Callable[..., int], description: str
) -> argparse.ArgumentParser:
    parser = add_command(kinds, name, run, description[0].upper() + description[1:], help=summary)
    parser.set_defaults(draw=draw)
    parser.add_argument(
        "--out", type=_figure_file, required=True, metavar="FIGURE", help="the file: .pdf, .svg or .png"
    )
    parser.add_argument(
        "--width", type=float, metavar="INCHES", help=f"of the figure (default: {WIDTH}, one column of a paper)"
    )
    parser.add_argument("--title", metavar="TEXT", help="of the figure (default: none)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    require_matplotlib()
    code: int = args.draw(args)
    return code


def _deliver(args: argparse.Namespace, inputs: Sequence[str | None], make: Callable[[Progress], Axes]) -> int:
    """Draw and write the figure. The file is reserved before the work."""
    taken = {os.path.realpath(path) for path in inputs if path is not None}
    if os.path.realpath(args.out) in taken:
        args.refuse(f"{args.out} is an input and cannot be an output as well")
    with PendingFile(args.out) as pending:
        with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
            ax = make(progress)
        if args.width is not None:
            set_width(figure_of(ax), args.width)
        if args.title is not None:
            add_title(figure_of(ax), args.title)
        kind = format_of(args.out)
        pending.write(lambda unfinished: fill(ax, unfinished, kind))
    return OK


# Reports and curves


def _draw_report(args: argparse.Namespace) -> int:
    draw = _draw_curves if args.kind == "pr" else _draw_reports
    return _deliver(args, [*args.inputs, args.counts, args.groups, args.class_names, *id_files(args)], draw(args))


def _draw_curves(args: argparse.Namespace) -> Callable[[Progress], Axes]:
    """Return the function that draws precision-recall curves."""
    from vltr_eval.plot.curves import precision_recall

    if len(args.inputs) == 1:
        (path,) = args.inputs
        if _is_report(path):
            args.refuse(
                f"{path}: expected predictions, a saved evaluation or a rank table, got a report, which has no curves"
            )
        refuse_options_of_predictions(args, (*_OF_READING, *_OF_COUNTING), "a saved evaluation")
        args.bounds = DEFAULT_BOUNDS

    def draw(progress: Progress) -> Axes:
        if len(args.inputs) > 1:
            found, class_info = _evaluate(args, Settings(None, topk=()), progress)
            table, names = found.table, class_info.names
        else:
            saved = Evaluation.load(path) if is_saved(path) else None
            table = RankTable.load(path) if saved is None else saved.table
            names = None if saved is None else saved.report.classes.get("name")
            names = names or read_class_info(args, table.num_classes).names
        return precision_recall(table, args.classes, names=names, iso_f1=not args.no_iso_f1)

    return draw


def _draw_reports(args: argparse.Namespace) -> Callable[[Progress], Axes]:
    """Return the function that draws a figure of reports."""
    are_saved = all(is_saved(path) or _is_report(path) for path in args.inputs)
    if not are_saved and len(args.inputs) == 1:
        args.refuse(f"INPUT: expected PREDS LABELS, a saved evaluation or a report, got {args.inputs[0]} alone")
    if are_saved:
        options = [name for name in (*_OF_READING, "class_names", *_OF_COUNTING, "ci") if name in args]
        refuse_options_of_predictions(args, options, "saved ones")
        if len(args.inputs) > 1 and args.kind != "groups":
            args.refuse(f"INPUT: expected one evaluation, got {len(args.inputs)}")
    elif args.kind == "train-count" and args.counts is None:
        args.refuse("the following arguments are required: --counts, because predictions have no training samples")
    if getattr(args, "names", None) is not None:
        given = [[path] for path in args.inputs] if are_saved else [args.inputs[:1]]
        try:
            checked_names(args.names, given)
        except ValueError as error:
            args.refuse(f"argument --{error}")

    def draw(progress: Progress) -> Axes:
        if are_saved:
            reports: list[Any] = [_read_report(path, args.kind) for path in args.inputs]
        else:
            found, class_info = _evaluate(args, _settings(args), progress)
            reports = [found.report(class_info, part_of(progress, 0.95, 1.0))]
        return _figure_of_reports(args, reports)

    return draw


def _figure_of_reports(args: argparse.Namespace, reports: Sequence[Any]) -> Axes:
    from vltr_eval import plot

    if args.kind == "groups":
        names = args.names
        if names is None and len(reports) > 1:
            names = name_systems([[path] for path in args.inputs])
        return plot.group_bars(dict(zip(names, reports, strict=True)) if names else reports[0], args.metric)
    if args.kind == "train-count":
        return plot.ap_by_train_count(reports[0], intervals=args.intervals)
    return plot.sap_by_ap(reports[0]) if args.kind == "sap" else plot.reliability(reports[0])


def _settings(args: argparse.Namespace) -> Settings:
    """The settings under which predictions have the numbers of the figure, and few others."""
    args.bounds = args.bounds or DEFAULT_BOUNDS
    metric = getattr(args, "metric", AP.name)
    has_sap = args.kind == "sap" or metric in {each.name for each in (SAP, SAP_STD, EXPECTED_SAP, SAP_CHANCE)}
    accuracy = re.fullmatch(r"Acc@(\d+)", metric)
    settings = Settings(
        ("exact" if args.kind == "sap" else 15) if has_sap else None,
        topk=(int(accuracy[1]),) if accuracy else (),
        absent=args.absent or "nan",
        interval=_LEVEL if getattr(args, "intervals", False) else getattr(args, "ci", None),
        calibration=_BINS if args.kind == "reliability" else None,
        **group_settings(args, read_stated_groups(args)),
    )
    if metric not in {each.name for each in settings.metrics}:
        raise unknown_name("metric", metric, [each.name for each in Settings().metrics])
    return settings


def _evaluate(args: argparse.Namespace, settings: Settings, progress: Progress) -> tuple[EvaluationCounts, ClassInfo]:
    """Evaluate PREDS LABELS as `vltr-eval` does."""
    *args.preds, args.labels = args.inputs
    args.bounds = args.bounds or DEFAULT_BOUNDS
    inputs = read_command_inputs(args, part_of(progress, 0.0, 0.5))
    matrix = inputs.scores
    class_info = read_class_info(args, matrix.num_classes, inputs.class_names, read_stated_groups(args))
    settings = replace(settings, partitions=class_info.own_partitions)
    chunks = share_of_rows(inputs, SINGLE_PROCESS, args.threads)
    found = count_chunks(
        settings,
        chunks,
        matrix.num_classes,
        class_info=class_info,
        threads=args.threads,
        progress=part_of(progress, 0.5, 0.5 + 0.45 * share_of_counting(settings)),
    )
    refuse_no_positives(found.table.num_positives)
    return found, class_info


_OF_COUNTING = ("counts", "groups", "bounds", "absent")
_OF_READING = ("ids", "label_ids", "columns", "exclude_columns", "header", "label_form", "unknown")


def _is_report(path: str) -> bool:
    """Whether a file begins as a report in JSON does."""
    try:
        with open(path, "rb") as file:
            return re.match(rb'\s*\{\s*"schema"\s*:\s*"vltr-eval/report/', file.read(100)) is not None
    except OSError:
        return False


def _read_report(path: str, kind: str) -> Report | Mapping[str, Any]:
    """The report of a saved evaluation, or the one in JSON; the section of calibration for its figure."""
    if is_saved(path):
        return Evaluation.load(path).report
    text = Path(path).read_text(encoding="utf-8")
    try:
        report = Report.from_json(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if kind == "reliability":
        import json  # not above: few figures need it

        section: Mapping[str, Any] | None = json.loads(text).get("calibration")
        return report if section is None else section
    return report


# Comparisons


def _draw_comparison(args: argparse.Namespace) -> int:
    base, new = checked_systems(args)
    files = [path for system in (base, *new) for path in system]
    inputs = [*files, args.labels, args.counts, args.groups, args.class_names, args.clusters, *id_files(args)]
    return _deliver(
        args, inputs, lambda progress: _figure_of_comparison(args, compare_systems(args, base, new, progress)[0])
    )


def _figure_of_comparison(args: argparse.Namespace, comparison: Comparison) -> Axes:
    from vltr_eval import plot

    if args.kind == "scatter":
        return plot.class_scatter(comparison, args.system)
    if args.kind == "differences":
        return plot.class_differences(comparison, args.system, limit=args.limit, sort=args.sort)
    return plot.group_outcomes(comparison) if args.kind == "outcomes" else plot.head_tail_trade(comparison)


# Values of options


def _figure_file(text: str) -> str:
    try:
        format_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).partition(": ")[2]) from None
    return text


def _limit(text: str) -> int | None:
    return None if text == "all" else whole_number(1)(text)
