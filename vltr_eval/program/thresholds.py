"""The command ``vltr-eval thresholds``: a threshold for each class, chosen on a validation set."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import Any

import numpy as np

from vltr_eval._base.files import PendingFile
from vltr_eval._base.progress import part_of
from vltr_eval._base.terminal import OK, ProgressBar, add_command, text_width, wants_style
from vltr_eval._base.text_table import Column, text_table
from vltr_eval._engine.applied_thresholds import count_predicted, read_thresholds, threshold_result, true_positives
from vltr_eval._engine.results import ClassInfo
from vltr_eval._engine.thresholds import NONE, OWN, POOLED, ThresholdRule, Thresholds
from vltr_eval.formats.align import POSITION
from vltr_eval.metrics.thresholds import choose_thresholds_of
from vltr_eval.program.inputs import (
    id_files,
    notes_on_groups,
    read_class_info,
    read_command_inputs,
    read_stated_groups,
    refuse_no_positives,
    say_notes,
)
from vltr_eval.program.options import (
    add_bounds,
    add_class_options,
    add_inputs,
    add_threads,
    parse_share,
    whole_number,
)
from vltr_eval.program.outputs import check_outputs
from vltr_eval.report.names import OVERALL
from vltr_eval.report.text import shortlist
from vltr_eval.report.thresholds import ThresholdResult

_DESCRIPTION = """\
Choose a threshold for each class on a validation set, to apply to a test set by `vltr-eval PREDS LABELS --thresholds
FILE`. A class is predicted where its score is at least its threshold."""

_SHOWN = {"OF1": "OF1", "CF1": "CF1", "macro_F1": "macro F1"}


def add(commands: Any) -> None:
    parser = add_command(commands, "thresholds", run, _DESCRIPTION)
    add_inputs(parser)
    parser.add_argument("--save", metavar="FILE", help="write the thresholds as JSON")
    rules = parser.add_mutually_exclusive_group()
    rules.add_argument(
        "--max",
        choices=("f1", "fbeta"),
        help="choose the largest F1, or F-beta with --beta; of equal ones the higher threshold (default: f1)",
    )
    rules.add_argument(
        "--precision-at-least",
        type=parse_share,
        metavar="P",
        help="choose the largest recall with this precision; a class that cannot have it is never predicted",
    )
    rules.add_argument(
        "--recall-at-least", type=parse_share, metavar="R", help="choose the highest threshold with this recall"
    )
    parser.add_argument("--beta", type=_parse_beta, metavar="B", help="the weight of recall in --max fbeta, such as 2")
    parser.add_argument(
        "--min-positives",
        type=whole_number(0),
        default=10,
        metavar="N",
        help="classes with fewer positives share one threshold with the others of their group (default: 10)",
    )
    parser.add_argument(
        "--pool",
        choices=("groups", OVERALL),
        default="groups",
        help="share it with the group, which needs --counts or --groups, or with all such classes (default: groups)",
    )
    add_class_options(parser)
    add_bounds(parser)
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    rule = _rule(args)
    groups = read_stated_groups(args)
    check_outputs(args, *args.preds, args.labels, args.counts, args.groups, args.class_names, *id_files(args))
    with ExitStack() as stack:
        file = None if args.save is None else stack.enter_context(PendingFile(args.save))
        with ProgressBar(sys.stderr, enabled=not args.quiet) as reading:
            inputs = read_command_inputs(args, lambda fraction: reading(fraction, "reading"))
        matrix = inputs.scores
        class_info = read_class_info(args, matrix.num_classes, inputs.class_names, groups)
        positives = inputs.positives(form=args.label_form, threads=args.threads)
        refuse_no_positives(positives.counts)
        say_notes(args, [*inputs.notes, *notes_on_groups(class_info.own_groups)])
        with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
            thresholds, table = choose_thresholds_of(
                matrix,
                positives,
                class_info,
                rule,
                ids=None if args.join == POSITION else inputs.ids,
                threads=args.threads,
                progress=part_of(progress, 0.0, 0.8),
            )
            applied = read_thresholds(thresholds, matrix.num_classes, allow_same_set=True)
            limits = applied.for_scores(matrix.dtype)
            predicted = count_predicted(
                matrix,
                limits,
                unknown=positives.unknown,
                threads=args.threads,
                progress=part_of(progress, 0.8, 0.9),
            )
            progress(1.0)
        members = {OVERALL: np.arange(matrix.num_classes), **class_info.groups}
        counts = true_positives(table, limits), predicted, positives.counts
        result, _ = threshold_result(applied, members, counts, "nan")
        if file is not None:
            file.write_text(thresholds.to_json())
        sys.stdout.write(_text(thresholds, class_info, result))
    if args.save is None:
        say_notes(args, ["the thresholds are not saved; add --save FILE, for --thresholds FILE on a test set"])
    return OK


def _rule(args: argparse.Namespace) -> ThresholdRule:
    for by, at_least in (("precision", args.precision_at_least), ("recall", args.recall_at_least)):
        if at_least is not None:
            if args.beta is not None:
                args.refuse(f"argument --beta: give it with --max fbeta, not with --{by}-at-least")
            return ThresholdRule(by, None, at_least, args.min_positives, args.pool)
    if (args.beta is None) == (args.max == "fbeta"):
        args.refuse(f"argument --beta: {'give --beta B as well' if args.beta is None else 'give it with --max fbeta'}")
    return ThresholdRule(args.max or "f1", args.beta, None, args.min_positives, args.pool)


def _parse_beta(text: str) -> float:
    try:
        return float(ThresholdRule("fbeta", float(text)).beta or 0.0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}") from None


def _text(thresholds: Thresholds, class_info: ClassInfo, result: ThresholdResult) -> str:
    """The table that the command prints: how the thresholds were chosen, and F1 on the validation set."""
    groups = {OVERALL: np.arange(thresholds.num_classes), **class_info.groups}
    chosen = np.array(thresholds.chosen)
    columns = [
        Column("", list(groups), is_name=True),
        Column("classes", [f"{len(members):,}" for members in groups.values()]),
    ]
    for how in (OWN, POOLED, NONE):
        columns.append(Column(how, [f"{np.count_nonzero(chosen[members] == how):,}" for members in groups.values()]))
    for name, heading in _SHOWN.items():
        values = [result.groups[group][name] for group in groups]
        columns.append(Column(heading, ["-" if value != value else f"{value:.4f}" for value in values]))
    text = f"{thresholds.num_rows:,} rows, thresholds by {thresholds.rule}\n"
    text += text_table(columns, width=text_width(), bold=wants_style(sys.stdout))
    text += "F1 is that on these labels, on which the thresholds were chosen, so it is optimistic: see a test set\n"
    pools: dict[str, list[int]] = {}
    for c, (how, pool) in enumerate(zip(thresholds.chosen, thresholds.pools, strict=True)):
        if how == POOLED:
            pools.setdefault(str(pool), []).append(c)
    for pool, classes in pools.items():
        value = thresholds.values[classes[0]]
        few = f"fewer than {thresholds.rule.min_positives} positives"
        text += f"pool {pool}: {len(classes):,} classes with {few} share the threshold {value:.6g}\n"
    none = [c for c, how in enumerate(thresholds.chosen) if how == NONE]
    if none:
        text += f"none: {len(none):,} classes are never predicted: {shortlist(none)}\n"
    return text
