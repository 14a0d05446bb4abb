"""The command ``vltr-eval table``: the report of a saved rank table."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from vltr_eval._base.terminal import ProgressBar, add_command
from vltr_eval._engine.rank_table import RankTable
from vltr_eval._engine.results import EvaluationCounts
from vltr_eval.program.inputs import read_class_info, refuse_no_positives
from vltr_eval.program.limits import judge_limits
from vltr_eval.program.options import add_report_options
from vltr_eval.program.outputs import Outputs, check_names, check_outputs
from vltr_eval.report.settings import Settings


def add(commands: Any) -> None:
    parser = add_command(
        commands, "table", run, "Report on a rank table that --save-table wrote: all but SAP trials and Acc@k."
    )
    parser.add_argument("file", metavar="FILE", help="rank table (.npz)")
    add_report_options(parser)


def run(args: argparse.Namespace) -> int:
    settings = Settings("exact", topk=(), bounds=args.bounds if args.counts else None, absent=args.absent)
    check_names(args, settings)
    check_outputs(args, args.file, args.counts, args.class_names)
    with Outputs(args) as outputs:
        with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
            table = RankTable.load(args.file, progress=progress)
            refuse_no_positives(table.num_positives)
            progress.restart()
            report = EvaluationCounts(settings, table).report(read_class_info(args, table.num_classes), progress)
        outputs.deliver(report, table)
    return judge_limits(args, report)
