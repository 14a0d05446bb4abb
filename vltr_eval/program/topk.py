"""The command ``vltr-eval topk``: lists of classes and scores, instead of a full matrix."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import Any

from vltr_eval._base.files import PendingFile
from vltr_eval._base.progress import part_of
from vltr_eval._base.terminal import OK, ProgressBar, add_command, text_width, wants_style
from vltr_eval.formats import read_class_names
from vltr_eval.program.inputs import say_notes
from vltr_eval.program.options import (
    STDOUT,
    add_bounds,
    add_join,
    add_label_form,
    add_threads,
    parse_topk,
    whole_number,
)
from vltr_eval.program.outputs import check_outputs
from vltr_eval.ranked_lists.files import LIST_FORMS, read_cells, read_counts, read_list_labels, read_ranked_lists
from vltr_eval.ranked_lists.report import evaluate_topk

_DESCRIPTION = """\
Evaluate ranked lists: for each row some classes with their scores, as in submissions of YouTube-8M and Kaggle, and in
extreme classification. Acc@k, P@k, nDCG@k, recall@k, PSP@k and GAP are exact; mAP and ROC-AUC have a lower and an upper
bound, because they depend on scores that the lists leave out."""


def add(commands: Any) -> None:
    parser = add_command(commands, "topk", run, _DESCRIPTION)
    parser.add_argument(
        "preds",
        metavar="PREDS",
        help=".csv of `ID,CLASS SCORE CLASS SCORE ...` or `ID,CLASS CLASS ...` (the best first), .npz of a scipy CSR "
        "matrix or of classes and scores (N, k), .txt of `CLASS:SCORE ...` below the numbers of rows and classes",
    )
    parser.add_argument(
        "labels", metavar="LABELS", help="any file of labels, or .txt of `CLASS:1 CLASS:1 ...`; joined by id"
    )
    parser.add_argument(
        "--k", type=parse_topk, default=(1, 3, 5), metavar="K,...", help="the values of k (default: 1,3,5)"
    )
    parser.add_argument(
        "--gap",
        type=whole_number(1),
        default=20,
        metavar="N",
        help="pairs of each row that GAP counts (default: 20)",
    )
    parser.add_argument(
        "--unlisted",
        type=_parse_limit,
        metavar="T",
        help="for lists that were cut at a threshold: an unlisted score is at most T; -inf ties all of them at the end "
        "(default: at most the lowest listed score of the row)",
    )
    parser.add_argument(
        "--unknown", metavar="FILE", help="cells to leave out: a row and a class on each line, both from 0"
    )
    parser.add_argument("--list-form", choices=LIST_FORMS, help="how to read a .csv whose header does not tell")
    parser.add_argument("--label-ids", metavar="COLUMN", help="the column of LABELS with the row ids")
    add_label_form(parser)
    add_join(parser)
    parser.add_argument("--class-names", metavar="FILE", help="the names of the classes, for LABELS of names")
    parser.add_argument(
        "--counts",
        metavar="FILE",
        help="training rows of each class, for head, medium and tail and for PSP@k: .lst, a number for each class, or "
        "the training labels",
    )
    add_bounds(parser)
    parser.add_argument(
        "--train-rows",
        type=whole_number(3),
        metavar="N",
        help="number of training rows, for PSP@k (default: that of --counts, where it is a sparse matrix)",
    )
    parser.add_argument(
        "--propensity",
        type=_parse_propensity,
        default=(0.55, 1.5),
        metavar="A,B",
        help="parameters of PSP@k: 0.5,0.4 for Wikipedia, 0.6,2.6 for Amazon (default: 0.55,1.5)",
    )
    add_threads(parser)
    parser.add_argument("--json", metavar="FILE|-", help="write the report as JSON; - is stdout, instead of the table")
    parser.add_argument("--csv", metavar="FILE|-", help="write the per-class table as CSV; - is stdout")


def run(args: argparse.Namespace) -> int:
    if not args.k:
        args.refuse("argument --k: expected numbers, got none")
    if args.train_rows is not None and args.counts is None:
        args.refuse("argument --train-rows: give --counts FILE as well, the training rows of each class")
    check_outputs(args, args.preds, args.labels, args.counts, args.unknown, args.class_names)
    with ExitStack() as stack:
        files = {
            kind: stack.enter_context(PendingFile(path))
            for kind in ("json", "csv")
            if (path := getattr(args, kind)) not in (None, STDOUT)
        }
        with ProgressBar(sys.stderr, enabled=not args.quiet) as bar:
            report = _evaluate(args, bar)
        say_notes(args, report.notes)
        if "json" in files:
            files["json"].write_text(report.to_json())
        if "csv" in files:
            files["csv"].write_text(report.to_csv())
        if args.json == STDOUT:
            sys.stdout.write(report.to_json())
        elif args.csv == STDOUT:
            sys.stdout.write(report.to_csv())
        else:
            sys.stdout.write(report.to_text(width=text_width(), bold=wants_style(sys.stdout)))
    return OK


def _evaluate(args: argparse.Namespace, progress: Any) -> Any:
    names = None if args.class_names is None else read_class_names(args.class_names)
    counts, num_train_rows = (None, None) if args.counts is None else read_counts(args.counts, names, args.threads)
    num_classes = None if counts is None else len(counts)
    lists = read_ranked_lists(
        args.preds, form=args.list_form, threads=args.threads, progress=part_of(progress, 0.0, 0.5)
    )
    labels = read_list_labels(
        args.labels,
        ids=args.label_ids,
        label_form=args.label_form,
        class_names=names,
        num_classes=num_classes if num_classes is not None else lists.num_classes if lists.states_classes else None,
        threads=args.threads,
        progress=part_of(progress, 0.5, 0.6),
    )
    return evaluate_topk(
        lists,
        labels,
        k=args.k,
        gap_depth=args.gap,
        unlisted=args.unlisted,
        unknown=None if args.unknown is None else read_cells(args.unknown, lists.num_rows),
        train_counts=counts,
        bounds=args.bounds,
        num_train_rows=num_train_rows if args.train_rows is None else args.train_rows,
        propensity=args.propensity,
        join=args.join,
        threads=args.threads,
        progress=part_of(progress, 0.6, 1.0),
    )


def _parse_limit(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != value:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return value


def _parse_propensity(text: str) -> tuple[float, float]:
    try:
        a, b = map(float, text.split(","))
    except ValueError:
        a = b = 0.0
    if not (0 < a < float("inf") and 0 < b < float("inf")):
        raise argparse.ArgumentTypeError(f"expected two positive numbers A,B, got {text!r}")
    return a, b
