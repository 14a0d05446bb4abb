"""The command ``vltr-eval compare``: systems beside a baseline, as a table on stdout."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from vltr_eval._base.files import PendingFile
from vltr_eval._base.option_types import level_type
from vltr_eval._base.terminal import OK, ProgressBar, add_command, text_width, wants_style
from vltr_eval.comparison.result import Comparison
from vltr_eval.comparison.runs import CLASS_METRICS, Run
from vltr_eval.comparison.systems import checked_names, compare_and_keep, details_of_runs, is_saved
from vltr_eval.program.inputs import notes_on_groups, reading_options, say_notes
from vltr_eval.program.options import (
    STDOUT,
    add_absent,
    add_bounds,
    add_class_options,
    add_forms,
    add_html,
    add_reading_options,
    add_slices,
    add_threads,
    parse_names,
    parse_topk,
)
from vltr_eval.program.outputs import check_form, note


def add(commands: Any) -> None:
    description = (
        "Compare systems with a baseline on the same test rows: paired intervals and tests of every mean, and of "
        "every class with enough positives."
    )
    parser = add_command(commands, "compare", run, description)
    add_systems(parser)
    _add_forms(parser)


def add_systems(parser: argparse.ArgumentParser) -> None:
    """Add the systems, how they are read and evaluated, and how they are compared."""
    _add_files(parser)
    add_threads(parser)
    add_reading_options(parser)
    add_class_options(parser)
    add_slices(parser)
    saved = "that of the first saved evaluation"
    add_bounds(parser, None, saved)
    topk = "Acc@k for these k, or none"
    parser.add_argument("--topk", type=parse_topk, metavar="K,...", help=f"{topk} (default: {saved}, or 1,5)")
    add_absent(parser, None, saved)
    parser.add_argument(
        "--sap", choices=("exact", "none"), help=f"compare exact SAP, or leave SAP out (default: {saved}, or exact)"
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    """Add the systems, and the options that only comparisons have."""
    parser.add_argument(
        "systems",
        nargs="*",
        metavar="BASE NEW",
        help="the baseline, then the systems that are compared with it: PREDS of `vltr-eval`, or files that "
        "--save-evaluation wrote",
    )
    parser.add_argument(
        "--base",
        nargs="+",
        metavar="PREDS",
        help="several runs of the baseline, such as training seeds: --base runs/a-*/preds.npy",
    )
    parser.add_argument(
        "--new",
        nargs="+",
        action="append",
        default=[],
        metavar="PREDS",
        help="several runs of one system; may be repeated for other systems",
    )
    parser.add_argument("--labels", metavar="LABELS", help="LABELS of `vltr-eval`; not needed for saved evaluations")
    parser.add_argument("--names", type=_names, metavar="NAME,...", help="names of the systems, the baseline first")
    parser.add_argument(
        "--clusters",
        metavar="FILE",
        help="the cluster of each row, one a line, such as the video of a clip: rows of a cluster are not independent",
    )
    parser.add_argument(
        "--class-metric", choices=tuple(CLASS_METRICS), default="AP", help="metric of single classes (default: AP)"
    )
    parser.add_argument(
        "--level",
        type=level_type(),
        default=0.95,
        metavar="X",
        help="confidence level of the intervals (default: 0.95)",
    )


def _add_forms(parser: argparse.ArgumentParser) -> None:
    """Add the options of what is written."""
    add_forms(parser)
    parser.add_argument(
        "--means",
        type=parse_names,
        metavar="NAME,...",
        help="for --markdown and --latex: the columns of the table of systems, such as mAP,mAP_tail (default: mAP by "
        "group, exact SAP and Acc@k, if there are three systems or more)",
    )
    parser.add_argument("--json", metavar="FILE|-", help="write the comparison as JSON; - is stdout, instead of text")
    add_html(parser, "the comparison")
    parser.add_argument(
        "--limit", type=_count, default=10, metavar="N", help="number of the classes that moved most (default: 10)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    base, new = checked_systems(args)
    files = [path for system in (base, *new) for path in system]
    inputs = (*files, args.labels, args.counts, args.groups, args.clusters, args.slices, args.unknown)
    taken = {os.path.realpath(path) for path in inputs if path is not None}
    check_form(args, *(["json"] if args.json == STDOUT else []))
    if args.means is not None and not (args.markdown or args.latex):
        args.refuse("argument --means: give --markdown or --latex as well, whose table it is for")
    outputs = [path for path in (args.json, args.html) if path not in (None, STDOUT)]
    for path in outputs:
        if os.path.realpath(path) in taken:
            args.refuse(f"{path} is an input and cannot be an output as well")
    if len({os.path.realpath(path) for path in outputs}) < len(outputs):
        args.refuse(f"two outputs cannot both go to {args.html}")
    with ExitStack() as stack:
        output = None if args.json in (None, STDOUT) else stack.enter_context(PendingFile(args.json))
        page = None if args.html is None else stack.enter_context(PendingFile(args.html))
        with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
            found, runs = compare_systems(args, base, new, progress)
        if args.groups is not None:
            first = found.systems[0]
            say_notes(args, notes_on_groups({name: first.classes[name] for name in first.partitions if name}))
        text = _on_stdout(args, found)
        if page is not None:
            with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
                names = [found.base, *(system.name for system in found.systems)]
                details = details_of_runs(runs, names, threads=args.threads, progress=progress)
            page.write_text(found.to_html(details=details))
        if output is not None:
            output.write_text(found.to_json())
        sys.stdout.write(text)
        if page is not None:
            note(args, f"page: {args.html}")
    return OK


def checked_systems(args: argparse.Namespace) -> tuple[list[str], list[list[str]]]:
    """The runs of the baseline, and those of each other system. Refuses options that do not fit them."""
    base, new = _systems(args)
    files = [path for system in (base, *new) for path in system]
    predictions = [path for path in files if not is_saved(path)]
    if args.labels is None and predictions:
        args.refuse(
            f"the following arguments are required: --labels, because {predictions[0]} is no file that "
            "--save-evaluation wrote"
        )
    if not predictions:
        refuse_options_of_predictions(args, _OF_PREDICTIONS)
    if args.names is not None:
        try:
            checked_names(args.names, [base, *new])
        except ValueError as error:
            args.refuse(f"argument --{error}")
    return base, new


def compare_systems(
    args: argparse.Namespace, base: list[str], new: list[list[str]], progress: Callable[[float], None] | None
) -> tuple[Comparison, list[list[Run]]]:
    """Compare the systems of `checked_systems` under the options, and return their runs too."""
    options = {
        "topk": args.topk,
        "absent": args.absent,
        "bounds": args.bounds,
        "train_counts": args.counts,
        "groups": args.groups,
        "class_names": args.class_names,
    }
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if args.sap is not None:
        given["sap"] = None if args.sap == "none" else args.sap
    found, runs = compare_and_keep(
        base,
        *new,
        labels=args.labels,
        clusters=args.clusters,
        slices=args.slices,
        level=args.level,
        class_metric=args.class_metric,
        names=args.names,
        reading=reading_options(args),
        threads=args.threads,
        progress=progress,
        **given,
    )
    if not any(found.systems[0].classes["num_positives"]):
        raise ValueError("labels: no positives in any class, so no metric is defined")
    return found, runs


def refuse_options_of_predictions(
    args: argparse.Namespace, options: Sequence[str], given: str = "saved evaluations"
) -> None:
    """Refuse options that predictions alone have. given: the inputs that came instead."""
    for option in options:
        unset = () if option == "exclude_columns" else None
        if getattr(args, option) != unset:
            args.refuse(
                f"argument --{option.replace('_', '-')}: expected predictions to evaluate with it, got "
                f"{given}; leave it out"
            )


_OF_PREDICTIONS = (
    "labels",
    "clusters",
    "slices",
    "ids",
    "label_ids",
    "columns",
    "exclude_columns",
    "header",
    "label_form",
    "unknown",
    "counts",
    "groups",
    "class_names",
    "bounds",
    "topk",
    "absent",
    "sap",
)


def _systems(args: argparse.Namespace) -> tuple[list[str], list[list[str]]]:
    """The runs of the baseline, and those of each other system."""
    systems = [[path] for path in args.systems]
    base = systems.pop(0) if args.base is None and systems else args.base
    new = [*systems, *args.new]
    if base is None or not new:
        args.refuse("expected a baseline and at least one system: BASE NEW, or --base PREDS... --new PREDS...")
    return base, new


def _on_stdout(args: argparse.Namespace, found: Comparison) -> str:
    if args.json == STDOUT:
        return found.to_json()
    if args.markdown:
        return found.to_markdown(limit=args.limit, means=args.means)
    if args.latex:
        return found.to_latex(means=args.means)
    return found.to_text(width=text_width(), bold=wants_style(sys.stdout), limit=args.limit)


def _names(text: str) -> list[str]:
    return text.split(",")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 up, got {text!r}")
    return int(text)
