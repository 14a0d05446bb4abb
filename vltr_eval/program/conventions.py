"""The command ``vltr-eval conventions``: every published convention of average precision on one input."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import Any

from vltr_eval._base.files import PendingFile
from vltr_eval._base.progress import part_of
from vltr_eval._base.terminal import OK, ProgressBar, add_command, text_width, wants_style
from vltr_eval.convention.printed import read_number
from vltr_eval.convention.side_by_side import conventions_of
from vltr_eval.program.inputs import id_files, preds_spec, read_command_inputs, say_notes
from vltr_eval.program.options import STDOUT, add_inputs, add_reduce, add_threads, whole_number
from vltr_eval.program.outputs import check_outputs
from vltr_eval.report.settings import MAX_TRIALS

_DESCRIPTION = """\
Answer "which mAP is this?": one set of scores and labels under every published convention of average precision, equal
values together. They differ in absent classes, in ties, in a sigmoid before the sort, and by versions of libraries.
--find names the conventions that a printed number can come from. Two of them also say in which rules these conventions
differ: `--find 37.2 --find 36.9` answers "why did 37.2 become 36.9?"."""


def add(commands: Any) -> None:
    parser = add_command(commands, "conventions", run, _DESCRIPTION)
    add_inputs(parser)
    add_reduce(parser)
    parser.add_argument(
        "--find",
        action="append",
        type=_parse_number,
        default=[],
        metavar="NUMBER",
        help="name the conventions that equal a printed number within its digits: 0.372, 37.2, '37.20 %%' or nan, "
        "instead of the table; may be repeated: the change from each number to the next is explained",
    )
    parser.add_argument("--table", action="store_true", help="the table below the answers of --find")
    parser.add_argument(
        "--class-names", metavar="FILE", help="the names and the order of the classes, to which columns are matched"
    )
    parser.add_argument(
        "--top-k",
        type=whole_number(1),
        default=20,
        metavar="K",
        help="the best scores of each row that the metrics of YouTube-8M keep (default: 20)",
    )
    parser.add_argument(
        "--trials", type=whole_number(1, MAX_TRIALS), default=15, metavar="N", help="trials of sampled AP (default: 15)"
    )
    parser.add_argument(
        "--definitions", action="store_true", help="describe each convention of the output, with its sources"
    )
    add_threads(parser)
    parser.add_argument("--json", metavar="FILE|-", help="write everything as JSON; - is stdout, instead of the table")
    parser.add_argument("--csv", metavar="FILE|-", help="write a line for each convention as CSV; - is stdout")


def run(args: argparse.Namespace) -> int:
    spec = preds_spec(args)
    check_outputs(args, *([spec] if isinstance(spec, str) else spec), args.labels, args.class_names, *id_files(args))
    with ExitStack() as stack:
        files = {
            kind: stack.enter_context(PendingFile(path))
            for kind in ("json", "csv")
            if (path := getattr(args, kind)) not in (None, STDOUT)
        }
        with ProgressBar(sys.stderr, enabled=not args.quiet) as bar:
            inputs = read_command_inputs(args, part_of(bar, 0.0, 0.2))
            result = conventions_of(
                inputs,
                find=args.find,
                top_k=args.top_k,
                sap=args.trials,
                threads=args.threads,
                progress=part_of(bar, 0.2, 1.0),
            )
        say_notes(args, inputs.notes)
        if "json" in files:
            files["json"].write_text(result.to_json())
        if "csv" in files:
            files["csv"].write_text(result.to_csv())
        if args.json == STDOUT:
            sys.stdout.write(result.to_json())
        elif args.csv == STDOUT:
            sys.stdout.write(result.to_csv())
        else:
            style = wants_style(sys.stdout)
            table = args.table or not args.find
            sys.stdout.write(result.to_text(width=text_width(), bold=style, definitions=args.definitions, table=table))
    return OK


def _parse_number(text: str) -> str:
    try:
        read_number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).partition(": ")[2]) from None
    return text
