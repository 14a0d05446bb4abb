"""The outputs of a command that makes a report: files, the result on stdout, notes on stderr."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from vltr_eval._base.arrays import Matrix
from vltr_eval._base.files import PendingFile
from vltr_eval._base.terminal import ProgressBar, text_width, wants_style
from vltr_eval._engine.rank_table import RankTable
from vltr_eval.formats import InputError, input_files
from vltr_eval.program.limits import check_fail_under
from vltr_eval.program.options import STDOUT, prior_name
from vltr_eval.report.report import BaseReport
from vltr_eval.report.settings import Settings
from vltr_eval.report.text import read_sort

if TYPE_CHECKING:
    from vltr_eval.comparison import Evaluation


class Outputs:
    """The destinations of the report; reserves files on entry, so that an unwritable one is found early."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._files: dict[str, PendingFile] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Outputs:
        with ExitStack() as stack:
            for kind in ("json", "csv", "html", "save_table", "save_evaluation", "summary"):
                path = getattr(self._args, kind, None)
                if path not in (None, STDOUT):
                    self._files[kind] = stack.enter_context(PendingFile(path))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *reason: Any) -> None:
        self._stack.__exit__(*reason)

    def deliver(
        self,
        report: BaseReport,
        table: RankTable | None = None,
        evaluation: Evaluation | None = None,
        summary_text: str = "",
        details: Any = None,
    ) -> None:
        """Write the requested files, then the one result that belongs on stdout.

        details: those of single classes for the page, see `Report.to_html`.
        """
        for sentence in report.notes:
            note(self._args, f"vltr-eval: note: {sentence}")
        with ProgressBar(sys.stderr, enabled=not self._args.quiet) as bar:
            if table is not None and "save_table" in self._files:
                self._files["save_table"].write(partial(table.save, progress=bar))
            if evaluation is not None and "save_evaluation" in self._files:
                bar.restart()
                self._files["save_evaluation"].write(partial(evaluation.fill, progress=bar))
        if "summary" in self._files:
            self._files["summary"].write_text(summary_text)
        if "html" in self._files:
            self._files["html"].write_text(report.to_html(details=details))
        if "csv" in self._files:
            self._files["csv"].write_text(report.to_csv())
        if "json" in self._files:
            self._files["json"].write_text(report.to_json())
        sys.stdout.write(self._on_stdout(report, summary_text))
        if "html" in self._files:
            note(self._args, f"page: {self._args.html}")

    def _on_stdout(self, report: BaseReport, summary_text: str) -> str:
        if self._args.json == STDOUT:
            return report.to_json()
        if self._args.csv == STDOUT:
            return report.to_csv()
        if getattr(self._args, "summary", None) == STDOUT:
            return summary_text
        args = self._args
        shown: dict[str, Any] = {"per_class": args.per_class, "sort": args.sort, "limit": args.limit}
        if args.markdown:
            return report.to_markdown(**shown)
        if args.latex:
            return report.to_latex(**shown)
        return report.to_text(**shown, width=text_width(), bold=wants_style(sys.stdout))


def check_outputs(args: argparse.Namespace, *inputs: str | None) -> None:
    """Refuse outputs that would overwrite each other or an input."""
    kinds = ("json", "csv", "html", "save_table", "save_evaluation", "summary", "save")
    outputs = [path for kind in kinds if (path := getattr(args, kind, None)) is not None]
    targets = [path if path == STDOUT else os.path.realpath(path) for path in outputs]
    taken = {os.path.realpath(file) for spec in inputs if spec is not None for file in files_of(spec)}
    for number, (path, target) in enumerate(zip(outputs, targets, strict=True)):
        if target in targets[:number]:
            args.refuse(f"two outputs cannot both go to {path}")
        if target in taken:
            args.refuse(f"{path} is an input and cannot be an output as well")
    check_form(args, *(kind for kind in kinds if getattr(args, kind, None) == STDOUT))


def check_form(args: argparse.Namespace, *on_stdout: str) -> None:
    """Refuse --markdown and --latex beside another output on stdout."""
    for form in ("markdown", "latex"):
        for kind in on_stdout:
            if getattr(args, form, False):
                args.refuse(f"argument --{form}: expected no other output on stdout, got --{kind.replace('_', '-')} -")


def files_of(spec: str) -> Sequence[str | os.PathLike[str]]:
    """The files of an input; none where reading it will fail anyway, with a better sentence than one about outputs."""
    try:
        return input_files(spec)
    except InputError:
        return ()


def speed(matrix: Matrix, seconds: float) -> str:
    rate = matrix.nbytes / max(seconds, 1e-9) / 1e9
    return f"{matrix.num_rows:,} x {matrix.num_classes:,} {matrix.dtype} in {seconds:.3f} s, {rate:.1f} GB/s"


def say(message: str) -> None:
    sys.stderr.write(f"vltr-eval: {message}\n")


def note(args: argparse.Namespace, message: str) -> None:
    """Something good to know, on stderr, unless --quiet."""
    if not args.quiet:
        sys.stderr.write(f"{message}\n")


def check_report_names(args: argparse.Namespace, report: BaseReport) -> None:
    """Refuse names in --fail-under and --sort that a report does not have."""
    for option in ("sort", "limit"):
        if getattr(args, option) is not None and not args.per_class:
            args.refuse(f"argument --{option}: give --per-class as well, whose lines it chooses")
    means = report.metrics()
    for name, _ in args.fail_under:
        if name not in means:
            args.refuse(f"argument --fail-under: expected one of {', '.join(means)}, got {name!r}")
    if args.sort is not None:
        try:
            read_sort(args.sort, ["class", *report.classes])
        except ValueError as error:
            args.refuse(f"argument --{error}")


def check_names(args: argparse.Namespace, settings: Settings) -> None:
    """Refuse names in --fail-under and --sort that the report will not have, before the work."""
    for option in ("sort", "limit"):
        if getattr(args, option) is not None and not args.per_class:
            args.refuse(f"argument --{option}: give --per-class as well, whose lines it chooses")
    priors = list(map(prior_name, getattr(args, "prior", ())))
    check_fail_under(args, settings, priors)
    if args.sort is not None:
        # Without that option, as in `vltr-eval ava`, the classes have names already.
        names = [] if getattr(args, "class_names", "") is None else ["name"]
        counts = [] if args.counts is None else ["group", "train_count"]
        try:
            clustered = getattr(args, "clusters", None) is not None
            unknown = getattr(args, "unknown", None) is not None
            columns = settings.class_columns([*names, *counts], priors, clustered=clustered, unknown=unknown)
            read_sort(args.sort, columns)
        except ValueError as error:
            args.refuse(f"argument --{error}")
