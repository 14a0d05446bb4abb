"""The command ``vltr-eval table``: the report of a saved rank table."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from vltr_eval._base.groups import DEFAULT_BOUNDS
from vltr_eval._base.terminal import ProgressBar, add_command
from vltr_eval._engine.rank_table import RankTable
from vltr_eval._engine.results import EvaluationCounts
from vltr_eval.comparison import Evaluation
from vltr_eval.comparison.archive import is_archive
from vltr_eval.program.inputs import read_class_info, refuse_no_positives
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
    settings = Settings("exact", topk=(), bounds=args.bounds if args.counts else None, absent=args.absent)
    check_names(args, settings)
    check_outputs(args, args.file, args.counts, args.class_names)
    with Outputs(args) as outputs:
        table = RankTable.load(args.file)
        refuse_no_positives(table.num_positives)
        with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
            report = EvaluationCounts(settings, table).report(read_class_info(args, table.num_classes), progress)
        outputs.deliver(report, table, details=table)
    return judge_limits(args, report)


def _report_saved(args: argparse.Namespace) -> int:
    """Deliver the report of a saved evaluation, which has its own settings and classes."""
    for option, unset in (("counts", None), ("class_names", None), ("absent", "nan"), ("bounds", DEFAULT_BOUNDS)):
        if getattr(args, option) != unset:
            args.refuse(
                f"argument --{option.replace('_', '-')}: expected a rank table to report on with it, got a saved "
                "evaluation, whose report is made; leave it out"
            )
    check_outputs(args, args.file)
    with Outputs(args) as outputs:
        evaluation = Evaluation.load(args.file)
        report = evaluation.report
        check_report_names(args, report)
        outputs.deliver(report, evaluation.table, details=evaluation.table)
    return judge_limits(args, report)
