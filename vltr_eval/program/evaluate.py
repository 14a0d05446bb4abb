"""The command ``vltr-eval PREDS LABELS``: the report of a score matrix."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vltr_eval._base.option_types import level_type
from vltr_eval._base.progress import part_of
from vltr_eval._base.ranks import SINGLE_PROCESS, launched_group, propagate_errors
from vltr_eval._base.terminal import OK, ProgressBar, add_command
from vltr_eval._base.version import __version__
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.inputs import Inputs
from vltr_eval._engine.mean_effects import Clusters, read_clusters
from vltr_eval._engine.results import BEFORE_SLICES, EvaluationCounts, share_of_counting
from vltr_eval.formats.align import POSITION
from vltr_eval.priors.results import add_prior_results
from vltr_eval.program.inputs import (
    check_priors,
    check_thresholds,
    group_settings,
    id_files,
    notes_on_groups,
    prior_files,
    read_class_info,
    read_command_inputs,
    read_command_thresholds,
    read_stated_groups,
    read_weightings,
    refuse_no_positives,
    say_notes,
    share_of_rows,
)
from vltr_eval.program.limits import Verdict, add_gate, check_gate, judge_drops, judge_limits, report_drops, summary
from vltr_eval.program.options import (
    add_inputs,
    add_report_options,
    add_sap_options,
    add_slices,
    add_threads,
    add_threshold_options,
    parse_evaluation_file,
    parse_priors,
    parse_table_file,
    parse_topk,
)
from vltr_eval.program.outputs import Outputs, check_names, check_outputs, note, speed
from vltr_eval.report.report import Report
from vltr_eval.report.settings import Settings

if TYPE_CHECKING:
    from vltr_eval.comparison import Comparison, Evaluation


_DESCRIPTION = """\
Exact evaluation of many-class, long-tailed, multi-label predictions: average
precision, sampled AP, ROC-AUC and Acc@k, overall and for head, medium and tail
classes, in one pass over the scores."""

_EPILOG = """\
other commands, each with its own --help:
  vltr-eval compare BASE NEW... --labels LABELS
                                        paired differences and tests of systems
  vltr-eval thresholds PREDS LABELS     thresholds chosen on a validation set
  vltr-eval table FILE                  a saved table or evaluation as a report
  vltr-eval plot KIND INPUT... --out FIGURE
                                        figures for papers; needs "vltr[plot]"
  vltr-eval ava DETECTIONS GROUNDTRUTH  AVA's frame mAP, and SAP over its boxes
  vltr-eval check PREDS LABELS          NaN, labels, absent classes and ties
  vltr-eval doctor                      versions, compiled core, CPU, self-check
  vltr-eval demo DIR                    write a demo set of VideoLT's shape

exit codes: 0 fine, 1 bad data, 2 bad usage, 3 a limit (--fail-under,
--max-drop) was not met"""


def add(commands: Any) -> None:
    parser = add_command(
        commands,
        "evaluate",
        run,
        _DESCRIPTION,
        prog="vltr-eval",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vltr-eval {__version__}")
    add_inputs(parser)
    add_sap_options(parser)
    parser.add_argument(
        "--topk",
        type=parse_topk,
        default=(1, 5),
        metavar="K,...",
        help="Acc@k for these k, or none (default: 1,5)",
    )
    parser.add_argument(
        "--prior",
        type=parse_priors,
        action="extend",
        default=[],
        metavar="P,...",
        help="AP and Acc@k under other class distributions as well, rows being weighted: longtail, uniform, inverse, "
        "or a FILE of a number for each class (formats of --counts)",
    )
    parser.add_argument(
        "--ci",
        type=level_type("PREDS"),
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
    add_slices(parser)
    add_threshold_options(parser)
    add_report_options(parser)
    parser.add_argument(
        "--save-table", type=parse_table_file, metavar="FILE", help="save the rank table (.npz) for `vltr-eval table`"
    )
    parser.add_argument(
        "--save-evaluation",
        type=parse_evaluation_file,
        metavar="FILE",
        help="save the evaluation with the effects of its rows (.npz) for `vltr-eval compare` and --baseline",
    )
    add_gate(parser)
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    _refuse_saved(args)
    groups = read_stated_groups(args)
    settings = Settings(
        args.sap,
        args.seed,
        args.topk,
        absent=args.absent,
        interval=args.ci,
        thresholds=args.thresholds,
        calibration=args.calibration,
        **group_settings(args, groups),
    )
    check_thresholds(args)
    check_names(args, settings)
    check_gate(args, settings)
    check_priors(args)
    if args.clusters is not None and args.ci is None and not _needs_effects(args):
        args.refuse("argument --clusters: give --ci as well, whose intervals use it, or --save-evaluation")
    files = [args.labels, args.baseline, args.counts, args.groups, args.class_names]
    files += [args.clusters, args.slices, args.thresholds]
    check_outputs(args, *args.preds, *files, *prior_files(args), *id_files(args))
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
            if args.slices and communicator.size > 1:
                raise ValueError(
                    f"--slices: expected one process, which has all rows of a slice, got {communicator.size}"
                )
            outputs = stack.enter_context(Outputs(args)) if is_first else None
            with ProgressBar(sys.stderr, enabled=is_first and not args.quiet) as reading:
                inputs = read_command_inputs(args, lambda fraction: reading(fraction, "reading"))
            matrix = inputs.scores
            class_info = read_class_info(args, matrix.num_classes, inputs.class_names, groups)
            settings = replace(settings, partitions=class_info.own_partitions)
            settings, class_info = read_command_thresholds(args, settings, class_info, matrix.num_classes)
            chunks = share_of_rows(inputs, communicator, args.threads)
            if chunks and communicator.size == 1:
                class_info = class_info.checked_for(chunks[0].positives, None if args.join == POSITION else inputs.ids)
            clusters = read_clusters(args.clusters, matrix)
            if clusters is not None:
                chunks = [replace(chunk, clusters=clusters) for chunk in chunks]
            weightings = read_weightings(args, class_info, chunks)
            slices = inputs.row_slices(args.slices)
            baseline = _read_baseline(args) if is_first else None
            if baseline is not None and not (args.max_drop or args.summary):
                note(args, "vltr-eval: note: --baseline changes nothing without --max-drop or --summary")
        progress = stack.enter_context(ProgressBar(sys.stderr, enabled=is_first and not args.quiet))
        whole = part_of(progress, 0.0, BEFORE_SLICES) if slices else progress
        counted = share_of_counting(settings)
        start = time.perf_counter()
        found = count_chunks(
            _counted_settings(args, settings),
            chunks,
            matrix.num_classes,
            class_info=class_info,
            communicator=communicator,
            threads=args.threads,
            progress=part_of(whole, 0.0, counted),
            keep_effects=_needs_effects(args),
        )
        seconds = time.perf_counter() - start
        refuse_no_positives(found.table.num_positives)
        if outputs is None:
            return OK
        progress.wipe()
        note(args, speed(matrix, seconds))
        say_notes(args, notes_on_groups(class_info.own_groups))
        report = _report_counts(found, settings).report(class_info, part_of(whole, counted, 1.0))
        if slices:
            from vltr_eval._engine.slices import evaluate_slices  # not above: few evaluations have slices

            rest = part_of(progress, BEFORE_SLICES, 1.0)
            parts = evaluate_slices(settings, chunks[0], class_info, slices, threads=args.threads, progress=rest)
            report = replace(report, slices=parts)
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
        outputs.deliver(report, found.table, evaluation, text, _details(args, inputs, chunks, found, progress))
    return max(judge_limits(args, report), report_drops(verdicts))


def _refuse_saved(args: argparse.Namespace) -> None:
    """Refuse a saved evaluation in place of predictions."""
    first = args.preds[0]
    if not first.endswith(".npz"):
        return
    from vltr_eval.comparison.archive import is_archive  # not above: predictions are seldom in .npz

    if is_archive(first):
        args.refuse(
            f"{first}: expected predictions, got a file of --save-evaluation; `vltr-eval table {first}` reports on it, "
            "and `vltr-eval compare` compares such files"
        )


def _details(
    args: argparse.Namespace, inputs: Inputs, chunks: Sequence[Chunk], found: EvaluationCounts, progress: ProgressBar
) -> Any:
    """The details of single classes for the page: those of all rows, or the curves where other processes have rows."""
    if args.html is None or not chunks or chunks[0].num_rows < found.table.num_rows:
        return found.table
    from vltr_eval._engine.class_details import details_of  # not above: few evaluations become pages

    ids = None if args.join == POSITION else inputs.ids
    chunk = chunks[0]
    details = details_of(
        chunk.scores,
        chunk.positives,
        found.table,
        ids=ids,
        threads=args.threads,
        progress=lambda fraction: progress(fraction, "details of classes"),
    )
    progress.wipe()
    return details


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

    with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
        return Evaluation.load(args.baseline, progress=progress)


def _compare(baseline: Evaluation, evaluation: Evaluation) -> Comparison:
    from vltr_eval.comparison.runs import compare_evaluations

    return compare_evaluations(baseline, evaluation, ("baseline", "this evaluation"))
