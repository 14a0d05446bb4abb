"""The ``vltr-eval`` program: arguments in, result on stdout, everything else on stderr.

Exit codes: 0 fine; 1 bad data, one sentence; 2 bad usage; 3 a limit (--fail-under, --max-drop) was not met.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vltr_eval._base.arguments import check_seed
from vltr_eval._base.arrays import Matrix, borrow_matrix, num_threads
from vltr_eval._base.files import PendingFile
from vltr_eval._base.groups import DEFAULT_BOUNDS, checked_bounds
from vltr_eval._base.progress import part_of
from vltr_eval._base.ranks import SINGLE_PROCESS, Communicator, SingleProcess, launched_group, propagate_errors
from vltr_eval._base.terminal import BAD_DATA, OK, ProgressBar, add_command, answer, as_called, text_width, wants_style
from vltr_eval._base.version import __version__
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.inputs import Inputs, read_inputs
from vltr_eval._engine.labels import Positives, rows_between
from vltr_eval._engine.mean_effects import Clusters, read_clusters
from vltr_eval._engine.rank_table import RankTable
from vltr_eval._engine.results import ClassInfo, EvaluationCounts, share_of_counting
from vltr_eval.formats import (
    FORMS,
    ClassNames,
    InputError,
    input_files,
    natural_order,
    read_class_names,
    read_prior,
    read_scores,
    read_train_counts,
)
from vltr_eval.formats.align import JOINS, POSITION
from vltr_eval.intervals.distributions import check_level
from vltr_eval.priors.results import add_prior_results
from vltr_eval.priors.weights import NEEDS_COUNTS, PRIORS, PriorWeights, read_priors, weightings_of
from vltr_eval.program.limits import (
    Verdict,
    add_fail_under,
    add_gate,
    check_fail_under,
    check_gate,
    judge_drops,
    judge_limits,
    report_drops,
    summary,
)
from vltr_eval.report.report import Report
from vltr_eval.report.settings import MAX_TRIALS, Settings
from vltr_eval.report.text import read_sort

if TYPE_CHECKING:
    from vltr_eval.comparison import Comparison, Evaluation
    from vltr_eval.compat.ava import AvaReport

STDOUT = "-"

_PROGRAM = "vltr-eval"


def main(argv: Sequence[str] | None = None, *, launched: bool = False) -> int:
    """Run the program and return its exit code; bad usage ends it by SystemExit(2), as argparse does.

    launched: whether a launcher such as torchrun started this process to be one of several. A program that is merely
    called by such a process inherits the same environment, and must not wait for the others.
    """
    command, *arguments = _with_command(list(sys.argv[1:] if argv is None else argv))
    args, others = _parser(command).parse_known_args([command, *arguments])
    if others:
        args.refuse(f"unrecognized arguments: {' '.join(others)}")
    args.launched = launched
    return answer(_PROGRAM, lambda: args.run(args), debug=args.debug)


# ---------------------------------------------------------------------------------------------------------------------
# Commands
# ---------------------------------------------------------------------------------------------------------------------


def _evaluate(args: argparse.Namespace) -> int:
    settings = Settings(args.sap, args.seed, args.topk, args.bounds if args.counts else None, args.absent, args.ci)
    _check_names(args, settings)
    check_gate(args, settings)
    _check_priors(args)
    if args.clusters is not None and args.ci is None and not _needs_effects(args):
        args.refuse("argument --clusters: give --ci as well, whose intervals use it, or --save-evaluation")
    files = [args.labels, args.baseline, args.counts, args.class_names, args.clusters]
    _check_outputs(args, *args.preds, *files, *_prior_files(args), *_id_files(args))
    with launched_group() if args.launched else nullcontext(SINGLE_PROCESS) as communicator, ExitStack() as stack:
        with propagate_errors(communicator):
            is_first = communicator.rank == 0
            if args.prior and communicator.size > 1:
                raise ValueError(
                    f"--prior: expected one process, which has all rows to weight, got {communicator.size}"
                )
            if args.clusters and communicator.size > 1:
                raise ValueError(
                    f"--clusters: expected one process, which has all rows of a cluster, got {communicator.size}"
                )
            outputs = stack.enter_context(_Outputs(args)) if is_first else None
            with ProgressBar(sys.stderr, enabled=is_first and not args.quiet) as reading:
                inputs = _read_inputs(args, lambda fraction: reading(fraction, "reading"))
            matrix = inputs.scores
            class_info = _class_info(args, matrix.num_classes, inputs.class_names)
            chunks = _share(matrix, inputs.labels, communicator, args.threads)
            clusters = read_clusters(args.clusters, matrix)
            if clusters is not None:
                chunks = [replace(chunk, clusters=clusters) for chunk in chunks]
            weightings = _weightings(args, class_info, chunks)
            baseline = _read_baseline(args) if is_first else None
            if baseline is not None and not (args.max_drop or args.summary):
                _note(args, "vltr-eval: note: --baseline changes nothing without --max-drop or --summary")
        progress = stack.enter_context(ProgressBar(sys.stderr, enabled=is_first and not args.quiet))
        counted = share_of_counting(settings)
        start = time.perf_counter()
        found = count_chunks(
            _counted_settings(args, settings),
            chunks,
            matrix.num_classes,
            class_info=class_info,
            communicator=communicator,
            threads=args.threads,
            progress=part_of(progress, 0.0, counted),
        )
        seconds = time.perf_counter() - start
        _refuse_no_positives(found.table.num_positives)
        if outputs is None:
            return OK
        progress.wipe()
        _note(args, _speed(matrix, seconds))
        report = _report_counts(found, settings).report(class_info, part_of(progress, counted, 1.0))
        progress.wipe()
        if weightings:
            report = add_prior_results(report, found, class_info, chunks[0], weightings, threads=args.threads)
        report = replace(report, notes=(*inputs.notes, *report.notes))
        evaluation = _keep(args, report, found, inputs, clusters) if _needs_effects(args) else None
        verdicts: list[Verdict] = []
        text = ""
        if evaluation is not None and baseline is not None:
            comparison = _compare(baseline, evaluation)
            verdicts = judge_drops(args, comparison)
            text = summary(comparison, verdicts)
        outputs.deliver(report, found.table, evaluation, text)
    return max(judge_limits(args, report), report_drops(verdicts))


def _needs_effects(args: argparse.Namespace) -> bool:
    return args.save_evaluation is not None or args.baseline is not None


def _counted_settings(args: argparse.Namespace, settings: Settings) -> Settings:
    """The settings of the count, which has the effects of rows where they are kept or compared."""
    if not _needs_effects(args):
        return settings
    from vltr_eval.comparison.evaluation import with_effects  # not above: few evaluations are kept

    return with_effects(settings)


def _report_counts(found: EvaluationCounts, settings: Settings) -> EvaluationCounts:
    """The counts that the report is made of, without effects that are kept alone."""
    if found.settings == settings:
        return found
    from vltr_eval.comparison.evaluation import without_effects

    return without_effects(found, settings)


def _keep(
    args: argparse.Namespace, report: Report, found: EvaluationCounts, inputs: Inputs, clusters: Clusters | None
) -> Evaluation:
    """The evaluation of all rows, with the effects of each."""
    from vltr_eval.comparison.evaluation import keep_evaluation

    ids = None if args.join == POSITION else inputs.ids
    positives = inputs.positives(form=args.label_form, threads=args.threads)
    return keep_evaluation(report, found, positives, ids, None if clusters is None else clusters.of_row)[0]


def _read_baseline(args: argparse.Namespace) -> Evaluation | None:
    if args.baseline is None:
        return None
    from vltr_eval.comparison import Evaluation

    return Evaluation.load(args.baseline)


def _compare(baseline: Evaluation, evaluation: Evaluation) -> Comparison:
    from vltr_eval.comparison.systems import compare_evaluations

    return compare_evaluations(baseline, evaluation, ("baseline", "this evaluation"))


def _share(matrix: Matrix, labels: Any, communicator: SingleProcess | Communicator, threads: int | None) -> list[Chunk]:
    """The rows that this process evaluates: all of them, or its share when there are several."""
    first, end = (matrix.num_rows * rank // communicator.size for rank in (communicator.rank, communicator.rank + 1))
    if first == end:
        return []
    if communicator.size > 1:
        matrix = matrix.select([(first, end)])
        labels = rows_between(labels, first, end)
    positives = Positives.from_labels(
        labels, end - first, matrix.num_classes, first_row=first, threads=threads, scores=matrix
    )
    return [Chunk(matrix, positives, None, first)]


def _table(args: argparse.Namespace) -> int:
    settings = Settings("exact", topk=(), bounds=args.bounds if args.counts else None, absent=args.absent)
    _check_names(args, settings)
    _check_outputs(args, args.file, args.counts, args.class_names)
    with _Outputs(args) as outputs:
        table = RankTable.load(args.file)
        _refuse_no_positives(table.num_positives)
        with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
            report = EvaluationCounts(settings, table).report(_class_info(args, table.num_classes), progress)
        outputs.deliver(report, table)
    return judge_limits(args, report)


def _ava(args: argparse.Namespace) -> int:
    from vltr_eval.compat.ava import AvaSettings, evaluate

    settings = AvaSettings(args.sap, args.seed, bounds=args.bounds if args.counts else None, iou=args.iou)
    _check_names(args, settings)
    _check_outputs(args, args.detections, args.groundtruth, args.labelmap, args.exclude, args.counts)
    with _Outputs(args) as outputs, ProgressBar(sys.stderr, enabled=not args.quiet) as reading:
        start = time.perf_counter()
        report = evaluate(
            args.detections,
            args.groundtruth,
            labelmap=args.labelmap,
            exclude=args.exclude,
            protocol=args.protocol,
            iou=args.iou,
            interpolation=args.interpolation,
            sap=args.sap,
            seed=args.seed,
            train_counts=None if args.counts is None else read_train_counts(args.counts),
            bounds=args.bounds,
            progress=lambda fraction: reading(fraction, "reading"),
        )
        reading.wipe()
        _note(args, f"{report.num_detections:,} detections in {time.perf_counter() - start:.3f} s")
        outputs.deliver(report)
    return judge_limits(args, report)


def _check(args: argparse.Namespace) -> int:
    from vltr_eval.program.check import inspect

    with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
        found = inspect(
            lambda: _read_inputs(args),
            lambda: _read_scores_alone(args),
            lambda num_classes, names: _class_info(args, num_classes, names),
            progress=progress,
        )
    sys.stdout.write(found.to_text())
    if not found.problems:
        return OK
    _say(f"error: {found.problems[0]}")
    return BAD_DATA


def _doctor(args: argparse.Namespace) -> int:
    from vltr_eval.program.doctor import diagnose

    text, works = diagnose()
    sys.stdout.write(text)
    return OK if works else BAD_DATA


def _demo(args: argparse.Namespace) -> int:
    import shlex

    from vltr_eval.program.demo import write_demo

    demo = write_demo(args.directory, args.scale, args.seed, args.quality)
    preds, labels, counts, names = (
        os.path.join(args.directory, name)
        for name in ("preds.npy", "labels.npy", "train_counts.lst", "class_names.txt")
    )
    sys.stdout.write("".join(f"{path}\n" for path in (preds, labels, counts, names)))
    rows, classes = demo.scores.shape
    command = shlex.join([*as_called("vltr-eval"), preds, labels, "--counts", counts, "--class-names", names])
    _note(args, f"{rows:,} x {classes:,}; now try: {command}")
    return OK


# ---------------------------------------------------------------------------------------------------------------------
# Input
# ---------------------------------------------------------------------------------------------------------------------


def _preds(args: argparse.Namespace) -> str | list[str]:
    """PREDS as a spec for `read_scores`; warns when a shell's sorting seems to have shuffled the shards."""
    preds: list[str] = args.preds
    if len(preds) == 1:
        return preds[0]
    for first, second in pairwise(preds):
        if first < second and natural_order(first) > natural_order(second):
            message = (
                f"{first} comes before {second} in PREDS, so its rows come first; quote a pattern for natural order"
            )
            _note(args, f"vltr-eval: warning: {message}")
            break
    return preds


def _read_inputs(args: argparse.Namespace, progress: Callable[[float], None] | None = None) -> Inputs:
    """PREDS and LABELS, brought together as the options say."""
    return read_inputs(
        _preds(args),
        args.labels,
        ids=args.ids,
        label_ids=args.label_ids,
        columns=args.columns,
        exclude=args.exclude_columns,
        header=args.header,
        label_form=args.label_form,
        class_names=None if args.class_names is None else read_class_names(args.class_names),
        join=args.join,
        progress=progress,
    )


def _id_files(args: argparse.Namespace) -> list[str]:
    return [ids for ids in (args.ids, args.label_ids) if ids is not None and os.path.isfile(ids)]


def _read_scores_alone(args: argparse.Namespace) -> Matrix:
    scores = read_scores(
        _preds(args), ids=args.ids, columns=args.columns, exclude=args.exclude_columns, header=args.header
    )
    return borrow_matrix("scores", scores.values)


def _class_info(args: argparse.Namespace, num_classes: int, names: tuple[str, ...] | None = None) -> ClassInfo:
    if names is None and args.class_names is not None:
        names = read_class_names(args.class_names, num_classes).names
    counts = None if args.counts is None else read_train_counts(args.counts, num_classes, _named_classes(args, names))
    return ClassInfo.checked(num_classes, counts, getattr(args, "bounds", DEFAULT_BOUNDS), names)


def _named_classes(args: argparse.Namespace, names: tuple[str, ...] | None) -> ClassNames | None:
    """The classes by which numbers with names are matched."""
    return None if names is None else ClassNames.from_names(names, args.class_names or "the evaluation")


def _prior_files(args: argparse.Namespace) -> list[str]:
    return [prior for prior in args.prior if prior not in PRIORS]


def _prior_name(prior: str) -> str:
    """A file's distribution has the name of the file."""
    return prior if prior in PRIORS else Path(prior).stem


def _check_priors(args: argparse.Namespace) -> None:
    names = list(map(_prior_name, args.prior))
    for number, (prior, name) in enumerate(zip(args.prior, names, strict=True)):
        if name in names[:number]:
            args.refuse(f"argument --prior: expected different names, got {name} twice")
        if prior in NEEDS_COUNTS and args.counts is None:
            args.refuse(f"argument --prior: {prior} needs the training samples of each class, --counts FILE")
        if prior not in PRIORS and name in PRIORS:
            args.refuse(f"argument --prior: expected a file of another name than {', '.join(PRIORS)}, got {prior!r}")
        if prior not in PRIORS and not any(map(os.path.exists, _files_of(prior))):
            known = ", ".join(PRIORS)
            args.refuse(f"argument --prior: expected {known} or a file, got {prior!r}; there is no such file")


def _weightings(args: argparse.Namespace, class_info: ClassInfo, chunks: Sequence[Chunk]) -> dict[str, PriorWeights]:
    """The weights of the rows under each requested distribution."""
    if not args.prior:
        return {}
    positives = chunks[0].positives
    _refuse_no_positives(positives.counts)
    known = _named_classes(args, class_info.names)
    stated = {
        _prior_name(prior): prior if prior in PRIORS else read_prior(prior, positives.num_classes, known)
        for prior in args.prior
    }
    frequencies = read_priors(stated, positives.num_classes, class_info.train_counts)
    return weightings_of(positives, frequencies)


def _refuse_no_positives(counts: Any) -> None:
    if not counts.any():
        raise ValueError("labels: no positives in any class, so no metric is defined")


# ---------------------------------------------------------------------------------------------------------------------
# Output
# ---------------------------------------------------------------------------------------------------------------------


class _Outputs:
    """The destinations of the report; reserves files on entry, so that an unwritable one is found early."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._files: dict[str, PendingFile] = {}
        self._stack = ExitStack()

    def __enter__(self) -> _Outputs:
        with ExitStack() as stack:
            for kind in ("json", "csv", "save_table", "save_evaluation", "summary"):
                path = getattr(self._args, kind, None)
                if path not in (None, STDOUT):
                    self._files[kind] = stack.enter_context(PendingFile(path))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *reason: Any) -> None:
        self._stack.__exit__(*reason)

    def deliver(
        self,
        report: Report | AvaReport,
        table: RankTable | None = None,
        evaluation: Evaluation | None = None,
        summary_text: str = "",
    ) -> None:
        """Write the requested files, then the one result that belongs on stdout."""
        for note in report.notes:
            _note(self._args, f"vltr-eval: note: {note}")
        if table is not None and "save_table" in self._files:
            self._files["save_table"].write(table.save)
        if evaluation is not None and "save_evaluation" in self._files:
            self._files["save_evaluation"].write(evaluation.fill)
        if "summary" in self._files:
            self._files["summary"].write_text(summary_text)
        if "csv" in self._files:
            self._files["csv"].write_text(report.to_csv())
        if "json" in self._files:
            self._files["json"].write_text(report.to_json())
        sys.stdout.write(self._on_stdout(report, summary_text))

    def _on_stdout(self, report: Report | AvaReport, summary_text: str) -> str:
        if self._args.json == STDOUT:
            return report.to_json()
        if self._args.csv == STDOUT:
            return report.to_csv()
        if getattr(self._args, "summary", None) == STDOUT:
            return summary_text
        args = self._args
        return report.to_text(
            per_class=args.per_class,
            sort=args.sort,
            limit=args.limit,
            width=text_width(),
            bold=wants_style(sys.stdout),
        )


def _check_outputs(args: argparse.Namespace, *inputs: str | None) -> None:
    """Refuse outputs that would overwrite each other or an input."""
    kinds = ("json", "csv", "save_table", "save_evaluation", "summary")
    outputs = [path for kind in kinds if (path := getattr(args, kind, None)) is not None]
    targets = [path if path == STDOUT else os.path.realpath(path) for path in outputs]
    taken = {os.path.realpath(file) for spec in inputs if spec is not None for file in _files_of(spec)}
    for number, (path, target) in enumerate(zip(outputs, targets, strict=True)):
        if target in targets[:number]:
            args.refuse(f"two outputs cannot both go to {path}")
        if target in taken:
            args.refuse(f"{path} is an input and cannot be an output as well")


def _files_of(spec: str) -> Sequence[str | os.PathLike[str]]:
    """The files of an input; none where reading it will fail anyway, with a better sentence than one about outputs."""
    try:
        return input_files(spec)
    except InputError:
        return ()


def _speed(matrix: Matrix, seconds: float) -> str:
    rate = matrix.nbytes / max(seconds, 1e-9) / 1e9
    return f"{matrix.num_rows:,} x {matrix.num_classes:,} {matrix.dtype} in {seconds:.3f} s, {rate:.1f} GB/s"


def _say(message: str) -> None:
    sys.stderr.write(f"vltr-eval: {message}\n")


def _note(args: argparse.Namespace, message: str) -> None:
    """Something good to know, on stderr, unless --quiet."""
    if not args.quiet:
        sys.stderr.write(f"{message}\n")


# ---------------------------------------------------------------------------------------------------------------------
# Names of metrics and columns
# ---------------------------------------------------------------------------------------------------------------------


def _check_names(args: argparse.Namespace, settings: Settings) -> None:
    """Refuse names in --fail-under and --sort that the report will not have, before the work."""
    for option in ("sort", "limit"):
        if getattr(args, option) is not None and not args.per_class:
            args.refuse(f"argument --{option}: give --per-class as well, whose lines it chooses")
    priors = list(map(_prior_name, getattr(args, "prior", ())))
    check_fail_under(args, settings, priors)
    if args.sort is not None:
        # Without that option, as in `vltr-eval ava`, the classes have names already.
        names = [] if getattr(args, "class_names", "") is None else ["name"]
        counts = [] if args.counts is None else ["group", "train_count"]
        try:
            clustered = getattr(args, "clusters", None) is not None
            read_sort(args.sort, settings.class_columns([*names, *counts], priors, clustered=clustered))
        except ValueError as error:
            args.refuse(f"argument --{error}")


# ---------------------------------------------------------------------------------------------------------------------
# Arguments
# ---------------------------------------------------------------------------------------------------------------------

_DESCRIPTION = """\
Exact evaluation of many-class, long-tailed, multi-label predictions: average precision, sampled AP, ROC-AUC and Acc@k,
overall and for head, medium and tail classes, in one pass over the scores."""

_EPILOG = """\
other commands, each with its own --help:
  vltr-eval compare BASE NEW... --labels LABELS
                                        differences of systems, with paired intervals and tests
  vltr-eval table FILE                  the report of a rank table that --save-table wrote
  vltr-eval ava DETECTIONS GROUNDTRUTH  AVA's frame mAP, and sampled AP over its boxes
  vltr-eval check PREDS LABELS          what is in the inputs: NaN, labels, absent classes, ties, saturation
  vltr-eval doctor                      versions, compiled core, CPU features, devices, self-check
  vltr-eval demo DIR                    write a demo set of VideoLT's shape

exit codes: 0 fine, 1 bad data, 2 bad usage, 3 a limit (--fail-under, --max-drop) was not met"""


def _with_command(argv: list[str]) -> list[str]:
    """The arguments with their command first: a first positional that names none is PREDS, which are evaluated."""
    for index, argument in enumerate(argv):
        if argument in _COMMANDS:
            return [argument, *argv[:index], *argv[index + 1 :]]
        if argument not in ("--quiet", "--debug"):
            break
    return ["evaluate", *argv]


def _parser(command: str) -> argparse.ArgumentParser:
    """The parser with one of its commands: the modules that the others need are not imported."""
    parser = argparse.ArgumentParser(prog=_PROGRAM, allow_abbrev=False)
    _COMMANDS[command](parser.add_subparsers(required=True, metavar="COMMAND"))
    return parser


def _add_evaluate(commands: Any) -> None:
    parser = add_command(
        commands,
        "evaluate",
        _evaluate,
        _DESCRIPTION,
        prog=_PROGRAM,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vltr-eval {__version__}")
    _add_inputs(parser)
    _add_sap_options(parser)
    parser.add_argument(
        "--topk",
        type=_topk,
        default=(1, 5),
        metavar="K,...",
        help="Acc@k for these k, or none (default: 1,5)",
    )
    parser.add_argument(
        "--prior",
        type=_priors,
        action="extend",
        default=[],
        metavar="P,...",
        help="AP and Acc@k under other class distributions as well, rows being weighted: longtail, uniform, inverse, "
        "or a FILE of a number for each class (formats of --counts)",
    )
    parser.add_argument(
        "--ci",
        type=_level,
        nargs="?",
        const=0.95,
        metavar="LEVEL",
        help="add the interval of each mean and of each class at this level (0.95 if no LEVEL follows)",
    )
    parser.add_argument(
        "--clusters",
        metavar="FILE",
        help="for --ci and --save-evaluation: the video (frame, patient, ...) of each row of PREDS, in the formats of "
        "an --ids FILE; rows of one cluster count as one observation",
    )
    _add_report_options(parser)
    parser.add_argument(
        "--save-table", type=_real_file, metavar="FILE", help="save the rank table (.npz) for `vltr-eval table`"
    )
    parser.add_argument(
        "--save-evaluation",
        type=_binary_file,
        metavar="FILE",
        help="save the evaluation with the effects of its rows (.npz) for `vltr-eval compare` and --baseline",
    )
    add_gate(parser)
    parser.add_argument(
        "--threads", type=_accepted(num_threads), metavar="N", help="CPU threads (default: all, or VLTR_NUM_THREADS)"
    )


def _add_compare(commands: Any) -> None:
    from vltr_eval.program import compare

    description = (
        "Compare systems with a baseline on the same test rows: paired intervals and tests of every mean, and of "
        "every class with enough positives."
    )
    parser = add_command(commands, "compare", compare.run, description)
    compare.add_arguments(parser)
    parser.add_argument(
        "--threads", type=_accepted(num_threads), metavar="N", help="CPU threads (default: all, or VLTR_NUM_THREADS)"
    )
    _add_reading_options(parser)
    _add_class_options(parser)
    saved = "that of the first saved evaluation"
    bounds = "head has more than HIGH training samples, tail at most LOW"
    parser.add_argument("--bounds", type=_bounds, metavar="HIGH,LOW", help=f"{bounds} (default: {saved}, or 500,100)")
    topk = "Acc@k for these k, or none"
    parser.add_argument("--topk", type=_topk, metavar="K,...", help=f"{topk} (default: {saved}, or 1,5)")
    absent = "classes without positives: left out of means, or AP and SAP 0"
    parser.add_argument("--absent", choices=("nan", "zero"), help=f"{absent} (default: {saved}, or nan)")
    parser.add_argument(
        "--sap", choices=("exact", "none"), help=f"compare exact SAP, or leave SAP out (default: {saved}, or exact)"
    )


def _add_table(commands: Any) -> None:
    parser = add_command(
        commands, "table", _table, "Report on a rank table that --save-table wrote: all but SAP trials and Acc@k."
    )
    parser.add_argument("file", metavar="FILE", help="rank table (.npz)")
    _add_report_options(parser)


def _add_ava(commands: Any) -> None:
    from vltr_eval.compat.ava import INTERPOLATIONS, PROTOCOLS

    description = "Frame mAP of action detections as AVA's official script computes it, and sampled AP over the boxes."
    parser = add_command(commands, "ava", _ava, description)
    parser.add_argument(
        "detections", metavar="DETECTIONS", help="CSV without header: video,time,x1,y1,x2,y2,class,score"
    )
    parser.add_argument("groundtruth", metavar="GROUNDTRUTH", help="CSV without header: video,time,x1,y1,x2,y2,class")
    parser.add_argument("--labelmap", metavar="FILE", help="the classes to evaluate, .pbtxt (default: all that occur)")
    parser.add_argument("--exclude", metavar="FILE", help="CSV of video,time: images to leave out")
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="official",
        help="which detections count and how they find boxes (default: official)",
    )
    parser.add_argument(
        "--iou", type=_overlap, default=0.5, metavar="X", help="overlap from which a box is found (default: 0.5)"
    )
    parser.add_argument(
        "--interpolation",
        choices=INTERPOLATIONS,
        default="voc",
        help="AP and SAP under the envelope of the precision-recall curve, or its steps (default: voc)",
    )
    _add_sap_options(parser)
    _add_counts(parser)
    _add_output_options(parser)


def _add_check(commands: Any) -> None:
    description = (
        "Say what is in the inputs and what in them would fail or mislead; exit 1 when an evaluation would fail."
    )
    parser = add_command(commands, "check", _check, description)
    _add_inputs(parser)
    _add_class_options(parser)


def _add_doctor(commands: Any) -> None:
    add_command(commands, "doctor", _doctor, "Describe this installation and verify its results.")


def _add_demo(commands: Any) -> None:
    description = "Write a demo set: VideoLT's shape and class frequencies, scores from a planted model."
    parser = add_command(commands, "demo", _demo, description)
    parser.add_argument("directory", metavar="DIR", help="folder to write preds.npy, labels.npy, ... into")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is 51,239 x 1,004 (default: 1)")
    parser.add_argument("--seed", type=_whole(0), default=0, metavar="S", help="default: 0")
    parser.add_argument("--quality", choices=("good", "poor"), default="good", help="of the model (default: good)")


_COMMANDS: dict[str, Callable[[Any], None]] = {
    "evaluate": _add_evaluate,
    "compare": _add_compare,
    "table": _add_table,
    "ava": _add_ava,
    "check": _add_check,
    "doctor": _add_doctor,
    "demo": _add_demo,
}


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "preds",
        nargs="+",
        metavar="PREDS",
        help="(N, C) scores: .npy .npz .pt .safetensors .parquet .csv .tsv .txt .json .jsonl, FILE::KEY for one of "
        "several arrays; "
        "row shards as several files, in the order given, or as a quoted pattern like 'part_*.npy', in natural order",
    )
    parser.add_argument(
        "labels",
        metavar="LABELS",
        help="(N, C) of 0/1, (N,) class indices or class lists: these formats, sparse .npz or .pt, .lst",
    )
    _add_reading_options(parser)


def _add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Options that say how predictions and labels are read and brought together."""
    parser.add_argument(
        "--ids",
        metavar="COLUMN|FILE",
        help="row ids: a column of the files, or a file with an id for each row of PREDS; rows are joined by id "
        "(default: the column whose name or type tells)",
    )
    parser.add_argument("--label-ids", metavar="COLUMN|FILE", help="the same of LABELS (default: the column of --ids)")
    parser.add_argument(
        "--join",
        choices=JOINS,
        default="exact",
        help="exact: both files must have the same ids; inner: evaluate the rows that both have; position: leave ids "
        "out (default: exact)",
    )
    parser.add_argument(
        "--columns",
        type=_names,
        metavar="NAME,...",
        help="the columns that are classes: names, patterns like 'class_*', positions, or ranges like 3:",
    )
    parser.add_argument(
        "--exclude-columns", "--exclude", type=_names, default=(), metavar="NAME,...", help="columns to leave out"
    )
    parser.add_argument(
        "--header",
        type=_yes_or_no,
        metavar="yes|no",
        help="whether a first line that can be a header or a row is a header",
    )
    parser.add_argument(
        "--label-form", choices=FORMS, metavar="FORM", help=f"how to read LABELS: {', '.join(FORMS)} (default: by rule)"
    )


def _add_sap_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sap",
        type=_sap,
        default=15,
        metavar="N|exact|none",
        help="sampled AP: N trials beside the exact value, the exact value alone, or none (default: 15)",
    )
    parser.add_argument(
        "--seed", type=_accepted(check_seed), default=0, metavar="S", help="seed of the SAP trials (default: 0)"
    )


def _add_counts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--counts",
        metavar="FILE",
        help="training samples of each class, for head, medium and tail, matched by name where both have names: .lst, "
        "a number for each class, or the training labels",
    )


def _add_class_options(parser: argparse.ArgumentParser) -> None:
    _add_counts(parser)
    parser.add_argument(
        "--class-names",
        metavar="FILE",
        help="the names and the order of the classes, to which columns with names are matched: one name a line, a "
        "count .lst, a table with an index column, or .json",
    )


def _add_report_options(parser: argparse.ArgumentParser) -> None:
    _add_class_options(parser)
    parser.add_argument(
        "--absent",
        choices=("nan", "zero"),
        default="nan",
        help="classes without positives: left out of means, or AP and SAP 0 (default: nan)",
    )
    _add_output_options(parser)


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that makes a report: bounds of the groups, output files, limits."""
    parser.add_argument(
        "--bounds",
        type=_bounds,
        default=DEFAULT_BOUNDS,
        metavar="HIGH,LOW",
        help="head has more than HIGH training samples, tail at most LOW (default: {},{})".format(*DEFAULT_BOUNDS),
    )
    parser.add_argument("--per-class", action="store_true", help="add a line for each class to the printed table")
    parser.add_argument(
        "--sort",
        metavar="COLUMN[:asc|:desc]",
        help="order of the --per-class lines, by a column of --csv: AP:asc has the lowest AP first (default: by class; "
        "numbers descend)",
    )
    parser.add_argument(
        "--limit", type=_whole(1), metavar="N", help="print only the first N of the --per-class lines; --csv has all"
    )
    parser.add_argument("--json", metavar="FILE|-", help="write the report as JSON; - is stdout, instead of the table")
    parser.add_argument("--csv", metavar="FILE|-", help="write the per-class table as CSV; - is stdout")
    add_fail_under(parser)


def _real_file(text: str) -> str:
    if text == STDOUT:
        raise argparse.ArgumentTypeError("a rank table is binary and needs a file, got -")
    return text


def _binary_file(text: str) -> str:
    if text == STDOUT:
        raise argparse.ArgumentTypeError("an evaluation is binary and needs a file, got -")
    return text


def _sap(text: str) -> int | str | None:
    if text in ("exact", "none"):
        return None if text == "none" else text
    return _whole(1, MAX_TRIALS)(text)


def _topk(text: str) -> tuple[int, ...]:
    ks = () if text == "none" else tuple(map(_whole(1), text.split(",")))
    if len(set(ks)) < len(ks):
        raise argparse.ArgumentTypeError(f"expected different numbers, got {text!r}")
    return ks


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected column names, got {text!r}")
    return names


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"expected yes or no, got {text!r}")
    return text == "yes"


def _priors(text: str) -> list[str]:
    priors = text.split(",")
    if not all(map(_prior_name, priors)):
        raise argparse.ArgumentTypeError(f"expected names or files, got {text!r}")
    return priors


def _level(text: str) -> float:
    try:
        return check_level(float(text))
    except ValueError as error:
        is_number = not str(error).startswith("could not")
        hint = "".join(str(error).partition(";")[1:]) if is_number else "; write --ci=0.95 before PREDS"
        raise argparse.ArgumentTypeError(
            f"expected a level between 0 and 1, such as 0.95, got {text!r}{hint}"
        ) from None


def _bounds(text: str) -> tuple[float, float]:
    try:
        return checked_bounds(tuple(map(_whole(0), text.split(","))))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected HIGH,LOW with HIGH >= LOW, got {text!r}") from None


def _overlap(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and up to 1, got {text!r}")
    return value


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
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


def _accepted(check: Callable[[int], int]) -> Callable[[str], int]:
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
