"""The command ``vltr-eval table``: the report of a saved rank table."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

from vltr_eval._base.groups import DEFAULT_BOUNDS
from vltr_eval._base.terminal import ProgressBar, add_command
from vltr_eval._engine.rank_table import RankTable
from vltr_eval._engine.results import EvaluationCounts
from vltr_eval.comparison import Evaluation
from vltr_eval.comparison.archive import is_archive
from vltr_eval.program.inputs import (
    group_settings,
    notes_on_groups,
    read_class_info,
    read_stated_groups,
    refuse_no_positives,
    say_notes,
)
from vltr_eval.program.limits import judge_limits
from vltr_eval.program.options import add_report_options
from vltr_eval.program.outputs import Outputs, check_names, check_outputs, check_report_names
from vltr_eval.report.settings import Settings


def add(commands: Any) -> None:
    description = (
        "Report on a rank table that --save-table wrote, with all but SAP trials and Acc@k, or on a file that "
        "--save-evaluation wrote, with all that it has."
    )
    parser = add_command(commands, "table", run, description)
    parser.add_argument("file", metavar="FILE", help="rank table or evaluation (.npz)")
    add_report_options(parser)


def run(args: argparse.Namespace) -> int:
    if is_archive(args.file):
        return _report_saved(args)
    groups = read_stated_groups(args)
    settings = Settings("exact", topk=(), absent=args.absent, **group_settings(args, groups))
    check_names(args, settings)
    check_outputs(args, args.file, args.counts, args.groups, args.class_names)
    with Outputs(args) as outputs:
        with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
            table = RankTable.load(args.file, progress=progress)
            refuse_no_positives(table.num_positives)
            progress.restart()
            class_info = read_class_info(args, table.num_classes, groups=groups)
            settings = replace(settings, partitions=class_info.own_partitions)
            report = EvaluationCounts(settings, table).report(class_info, progress)
        say_notes(args, notes_on_groups(class_info.own_groups))
        outputs.deliver(report, table, details=table)
    return judge_limits(args, report)


def _report_saved(args: argparse.Namespace) -> int:
    """Deliver the report of a saved evaluation, which has its own settings and classes."""
    unset = {"counts": None, "groups": None, "class_names": None, "absent": "nan", "bounds": DEFAULT_BOUNDS}
    for option, default in unset.items():
        if getattr(args, option) != default:
            args.refuse(
                f"argument --{option.replace('_', '-')}: expected a rank table to report on with it, got a saved "
                "evaluation, whose report is made; leave it out"
            )
    check_outputs(args, args.file)
    with Outputs(args) as outputs:
        with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
            evaluation = Evaluation.load(args.file, progress=progress)
        report = evaluation.report
        check_report_names(args, report)
        outputs.deliver(report, evaluation.table, details=evaluation.table)
    return judge_limits(args, report)
