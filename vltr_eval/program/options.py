"""The options that commands of ``vltr-eval`` share, and the types of their values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from vltr_eval._base.arguments import check_seed
from vltr_eval._base.arrays import num_threads
from vltr_eval._base.groups import DEFAULT_BOUNDS, PRESETS, Bounds, checked_bounds
from vltr_eval.formats import FORMS
from vltr_eval.formats.align import JOINS
from vltr_eval.formats.unknown_marks import split_unknown
from vltr_eval.priors.weights import PRIORS
from vltr_eval.program.limits import add_fail_under
from vltr_eval.report.settings import MAX_BINS, MAX_TRIALS, REDUCTIONS, check_bins

STDOUT = "-"


def add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "preds",
        nargs="+",
        metavar="PREDS",
        help="(N, C) scores: .npy .npz .h5 .zarr .pt .safetensors .parquet .csv .tsv .txt .json .jsonl, "
        "FILE::KEY for one of several arrays; "
        "row shards as several files, in the order given, or as a quoted pattern like 'part_*.npy', in natural order",
    )
    parser.add_argument(
        "labels",
        metavar="LABELS",
        help="(N, C) of 0/1, (N,) class indices or class lists: these formats, sparse .npz or .pt, .lst",
    )
    add_reading_options(parser)


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Options that say how predictions and labels are read and brought together."""
    parser.add_argument(
        "--ids",
        metavar="COLUMN|FILE",
        help="row ids: a column of the files, or a file with an id for each row of PREDS; rows are joined by id "
        "(default: the column whose name or type tells)",
    )
    parser.add_argument("--label-ids", metavar="COLUMN|FILE", help="the same of LABELS (default: the column of --ids)")
    add_join(parser)
    parser.add_argument(
        "--columns",
        type=parse_names,
        metavar="NAME,...",
        help="the columns that are classes: names, patterns like 'class_*', positions, or ranges like 3:",
    )
    parser.add_argument(
        "--exclude-columns", "--exclude", type=parse_names, default=(), metavar="NAME,...", help="columns to leave out"
    )
    parser.add_argument(
        "--header",
        type=parse_yes_or_no,
        metavar="yes|no",
        help="whether a first line that can be a header or a row is a header",
    )
    parser.add_argument(
        "--unknown",
        type=parse_unknown,
        metavar="MARK|FILE",
        help="cells of LABELS that are neither positive nor negative, which their class leaves out: -1, nan (an empty "
        "cell, a null), -1,nan, voc, chexpert, unlisted, or a file of a mask, True where a label is known",
    )
    add_label_form(parser)


def add_join(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--join",
        choices=JOINS,
        default="exact",
        help="exact: both files must have the same ids; inner: evaluate the rows that both have; position: leave ids "
        "out (default: exact)",
    )


def add_label_form(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label-form", choices=FORMS, metavar="FORM", help=f"how to read LABELS: {', '.join(FORMS)} (default: by rule)"
    )


def add_reduce(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reduce",
        choices=REDUCTIONS,
        help="rows with one id are views of one video, which become one row by this; labels have a row for each view, "
        "or for each video if they have ids",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=accepted(num_threads), metavar="N", help="CPU threads (default: all, or VLTR_NUM_THREADS)"
    )


def add_sap_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sap",
        type=parse_sap,
        default=15,
        metavar="N|exact|none",
        help="sampled AP: N trials beside the exact value, the exact value alone, or none (default: 15)",
    )
    parser.add_argument(
        "--seed", type=accepted(check_seed), default=0, metavar="S", help="seed of the SAP trials (default: 0)"
    )


def add_counts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--counts",
        metavar="FILE",
        help="training samples of each class, for head, medium and tail, matched by name where both have names: .lst, "
        "a number for each class, or the training labels",
    )


def add_groups(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--groups",
        metavar="FILE",
        help="groups of your own, beside those of --counts: .csv or .tsv of a class column and one column for each "
        "partition, .json, or .txt of a group a line in class order; classes are matched by name",
    )


def add_slices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--slices",
        metavar="FILE",
        help="a table for each slice of the rows: .csv, .tsv or .parquet of an id column and one column for each "
        "partition, joined by id, or .txt or .npy of a slice for each row of PREDS",
    )


def add_class_options(parser: argparse.ArgumentParser) -> None:
    add_counts(parser)
    add_groups(parser)
    parser.add_argument(
        "--class-names",
        metavar="FILE",
        help="the names and the order of the classes, to which columns with names are matched: one name a line, a "
        "count .lst, a table with an index column, or .json",
    )


def add_threshold_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--thresholds",
        metavar="FILE|T",
        help="add precision, recall and F1 at the thresholds that `vltr-eval thresholds` saved, or at one number",
    )
    parser.add_argument(
        "--allow-same-set",
        action="store_true",
        help="apply --thresholds to the labels they were chosen on as well, where precision, recall and F1 are "
        "optimistic; the report says so",
    )
    parser.add_argument(
        "--calibration",
        type=parse_bins,
        nargs="?",
        const=15,
        metavar="BINS",
        help="add ECE, Brier score and reliability in so many bins (15 if no BINS follow), for probabilities",
    )


def add_bounds(parser: argparse.ArgumentParser, default: Bounds | None = DEFAULT_BOUNDS, instead: str = "") -> None:
    """Add the bounds of the groups.

    A default of None tells an option that was not given. `instead` names the bounds that then come before the usual.
    """
    parser.add_argument(
        "--bounds",
        type=parse_bounds,
        default=default,
        metavar="HIGH,LOW|PRESET",
        help="head has more than HIGH training samples, tail at most LOW; or the groups of a preset: {} "
        "(default: {}{},{})".format(", ".join(PRESETS), instead and f"{instead}, or ", *DEFAULT_BOUNDS),
    )


def add_absent(parser: argparse.ArgumentParser, default: str | None = "nan", instead: str = "") -> None:
    """Add the value of classes without positives; see `add_bounds` for the others."""
    parser.add_argument(
        "--absent",
        choices=("nan", "zero"),
        default=default,
        help="classes without positives: left out of means, or AP and SAP 0 (default: {}nan)".format(
            instead and f"{instead}, or "
        ),
    )


def add_report_options(parser: argparse.ArgumentParser) -> None:
    add_class_options(parser)
    add_absent(parser)
    add_output_options(parser)


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that makes a report: bounds of the groups, output files, limits."""
    add_bounds(parser)
    parser.add_argument("--per-class", action="store_true", help="add a line for each class to the printed table")
    parser.add_argument(
        "--sort",
        metavar="COLUMN[:asc|:desc]",
        help="order of the --per-class lines, by a column of --csv: AP:asc has the lowest AP first (default: by class; "
        "numbers descend)",
    )
    parser.add_argument(
        "--limit",
        type=whole_number(1),
        metavar="N",
        help="print only the first N of the --per-class lines; --csv has all",
    )
    parser.add_argument("--json", metavar="FILE|-", help="write the report as JSON; - is stdout, instead of the table")
    parser.add_argument("--csv", metavar="FILE|-", help="write the per-class table as CSV; - is stdout")
    add_forms(parser)
    add_html(parser, "the report")
    add_fail_under(parser)


def add_forms(parser: argparse.ArgumentParser) -> None:
    """Options of every command that prints tables."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print Markdown instead of aligned text")
    form.add_argument("--latex", action="store_true", help="print LaTeX tables for booktabs instead of aligned text")


def add_html(parser: argparse.ArgumentParser, subject: str) -> None:
    parser.add_argument(
        "--html",
        type=parse_html_file,
        metavar="FILE",
        help=f"write {subject} as one HTML file with charts and a table of all classes, which needs no network",
    )


def parse_html_file(text: str) -> str:
    if text == STDOUT:
        raise argparse.ArgumentTypeError("a page is read in a browser and needs a file, got -")
    return text


def parse_table_file(text: str) -> str:
    if text == STDOUT:
        raise argparse.ArgumentTypeError("a rank table is binary and needs a file, got -")
    return text


def parse_evaluation_file(text: str) -> str:
    if text == STDOUT:
        raise argparse.ArgumentTypeError("an evaluation is binary and needs a file, got -")
    return text


def parse_sap(text: str) -> int | str | None:
    if text in ("exact", "none"):
        return None if text == "none" else text
    return whole_number(1, MAX_TRIALS)(text)


def parse_topk(text: str) -> tuple[int, ...]:
    ks = () if text == "none" else tuple(map(whole_number(1), text.split(",")))
    if len(set(ks)) < len(ks):
        raise argparse.ArgumentTypeError(f"expected different numbers, got {text!r}")
    return ks


def parse_names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected column names, got {text!r}")
    return names


def parse_unknown(text: str) -> str:
    try:
        split_unknown(text, None)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).partition(": ")[2]) from None
    return text


def parse_yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"expected yes or no, got {text!r}")
    return text == "yes"


def prior_name(prior: str) -> str:
    """A file's distribution has the name of the file."""
    return prior if prior in PRIORS else Path(prior).stem


def parse_priors(text: str) -> list[str]:
    priors = text.split(",")
    if not all(map(prior_name, priors)):
        raise argparse.ArgumentTypeError(f"expected names or files, got {text!r}")
    return priors


def parse_bins(text: str) -> int:
    try:
        return check_bins(int(text))
    except ValueError:
        hint = "" if text.lstrip("-").isdecimal() else "; write --calibration=15 before PREDS"
        raise argparse.ArgumentTypeError(
            f"expected a number of bins from 1 to {MAX_BINS}, got {text!r}{hint}"
        ) from None


def parse_bounds(text: str) -> Bounds:
    if text in PRESETS:
        return text
    try:
        return checked_bounds(tuple(map(int, text.split(","))))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected HIGH,LOW with HIGH >= LOW, or one of {', '.join(PRESETS)}, got {text!r}"
        ) from None


def parse_share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and up to 1, got {text!r}")
    return value


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    limits = f"from {least} " + ("up" if most is None else f"to {most}")

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"expected a whole number {limits}, got {text!r}")
        return value

    return parse


def accepted(check: Callable[[int], int]) -> Callable[[str], int]:
    """A whole number that the library's own check takes, so that both know the same limits."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
        try:
            return check(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).partition(": ")[2]) from None

    return parse
