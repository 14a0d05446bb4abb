"""Reading of the files that arguments name: scores, labels, facts about the classes, class distributions."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from vltr_eval._base.arrays import Matrix, borrow_matrix
from vltr_eval._base.groups import DEFAULT_BOUNDS, flat_group_name, preset_of, read_bounds
from vltr_eval._base.ranks import Communicator, SingleProcess
from vltr_eval._engine.counting import Chunk
from vltr_eval._engine.inputs import Inputs, ReadingOptions, read_inputs
from vltr_eval._engine.label_marks import advice_on_indices
from vltr_eval._engine.labels import Positives, rows_between
from vltr_eval._engine.options import add_thresholds
from vltr_eval._engine.results import ClassInfo
from vltr_eval.formats import (
    ClassNames,
    natural_order,
    read_class_names,
    read_prior,
    read_scores,
    read_train_counts,
)
from vltr_eval.priors.weights import NEEDS_COUNTS, PRIORS, PriorWeights, read_priors, weightings_of
from vltr_eval.program.options import prior_name
from vltr_eval.program.outputs import files_of, note
from vltr_eval.report.settings import Settings

if TYPE_CHECKING:
    from vltr_eval.formats.group_files import StatedGroups


def preds_spec(args: argparse.Namespace) -> str | list[str]:
    """PREDS as a spec for `read_scores`; warns when a shell's sorting seems to have shuffled the shards."""
    preds: list[str] = args.preds
    if len(preds) == 1:
        return preds[0]
    for first, second in pairwise(preds):
        if first < second and natural_order(first) > natural_order(second):
            message = (
                f"{first} comes before {second} in PREDS, so its rows come first; quote a pattern for natural order"
            )
            note(args, f"vltr-eval: warning: {message}")
            break
    return preds


def read_command_inputs(args: argparse.Namespace, progress: Callable[[float], None] | None = None) -> Inputs:
    """PREDS and LABELS, brought together as the options say."""
    return read_inputs(
        preds_spec(args),
        args.labels,
        class_names=None if args.class_names is None else read_class_names(args.class_names),
        threads=getattr(args, "threads", None),
        progress=progress,
        **vars(reading_options(args)),
    )


def reading_options(args: argparse.Namespace) -> ReadingOptions:
    """The options of reading."""
    return ReadingOptions(
        args.ids,
        args.label_ids,
        args.columns,
        args.exclude_columns,
        args.header,
        args.label_form,
        args.join,
        getattr(args, "reduce", None),
        None,
        args.unknown,
    )


def id_files(args: argparse.Namespace) -> list[str]:
    """The files of --ids, --label-ids and --unknown, which are inputs too."""
    named = (args.ids, args.label_ids, args.unknown)
    return [name for name in named if name is not None and os.path.isfile(name)]


def read_scores_alone(args: argparse.Namespace) -> Matrix:
    scores = read_scores(
        preds_spec(args), ids=args.ids, columns=args.columns, exclude=args.exclude_columns, header=args.header
    )
    return borrow_matrix("scores", scores.values)


def read_stated_groups(args: argparse.Namespace) -> StatedGroups | None:
    """The groups of --groups, whose names are checked before the work; None without the option."""
    if args.groups is None:
        return None
    from vltr_eval.formats.group_files import read_group_file  # not above: few evaluations have groups of their own

    return read_group_file(args.groups)


_NAMES_AS_GROUPS = "groups: each class is a group of its own; is the file a list of class names?"


def notes_on_groups(own: Mapping[str, Sequence[str | None]]) -> list[str]:
    """The note on groups that may be names of classes, given by mistake; none on others.

    Args:
        own: The group of each class in each partition of one's own, None for a class in no group.
    """
    alone = (len(groups) > 1 and None not in groups and len(set(groups)) == len(groups) for groups in own.values())
    return [_NAMES_AS_GROUPS] if any(alone) else []


def say_notes(args: argparse.Namespace, notes: Sequence[str]) -> None:
    """Write notes on stderr, unless --quiet."""
    for sentence in notes:
        note(args, f"vltr-eval: note: {sentence}")


def group_settings(args: argparse.Namespace, groups: StatedGroups | None) -> dict[str, Any]:
    """The fields of `Settings` that name the groups of the report."""
    own = {} if groups is None else groups.names
    partitions = tuple(
        (name, tuple(flat_group_name(name, group, len(own)) for group in members)) for name, members in own.items()
    )
    if args.counts is None:
        return {"partitions": partitions}
    return {"bounds": read_bounds(args.bounds).bounds, "preset": preset_of(args.bounds), "partitions": partitions}


def read_class_info(
    args: argparse.Namespace,
    num_classes: int,
    names: tuple[str, ...] | None = None,
    groups: StatedGroups | None = None,
) -> ClassInfo:
    if names is None and args.class_names is not None:
        names = read_class_names(args.class_names, num_classes).names
    counts = None if args.counts is None else read_train_counts(args.counts, num_classes, named_classes(args, names))
    matched = None if groups is None else groups.matched(num_classes, named_classes(args, names))
    return ClassInfo.checked(num_classes, counts, getattr(args, "bounds", DEFAULT_BOUNDS), names, matched)


def named_classes(args: argparse.Namespace, names: tuple[str, ...] | None) -> ClassNames | None:
    """The classes by which numbers with names are matched."""
    return None if names is None else ClassNames.from_names(names, args.class_names or "the evaluation")


def check_thresholds(args: argparse.Namespace) -> None:
    """Refuse --thresholds that are no file and no number, and options that need them."""
    text = args.thresholds
    if text is None:
        if args.allow_same_set:
            args.refuse("argument --allow-same-set: give --thresholds FILE as well, which it is about")
        return
    if not os.path.exists(text) and number_of(text) is None:
        args.refuse(f"argument --thresholds: expected a file or a number, got {text!r}; there is no such file")


def number_of(text: str) -> float | None:
    """The number that a text is, None if it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return None if number != number else number


def read_command_thresholds(
    args: argparse.Namespace, settings: Settings, class_info: ClassInfo, num_classes: int
) -> tuple[Settings, ClassInfo]:
    """The settings and facts of an evaluation that applies --thresholds, if they are given."""
    if args.thresholds is None:
        return settings, class_info
    thresholds = args.thresholds if os.path.exists(args.thresholds) else number_of(args.thresholds)
    return add_thresholds(settings, class_info, num_classes, thresholds, allow_same_set=args.allow_same_set)


def prior_files(args: argparse.Namespace) -> list[str]:
    return [prior for prior in args.prior if prior not in PRIORS]


def check_priors(args: argparse.Namespace) -> None:
    names = list(map(prior_name, args.prior))
    for number, (prior, name) in enumerate(zip(args.prior, names, strict=True)):
        if name in names[:number]:
            args.refuse(f"argument --prior: expected different names, got {name} twice")
        if prior in NEEDS_COUNTS and args.counts is None:
            args.refuse(f"argument --prior: {prior} needs the training samples of each class, --counts FILE")
        if prior not in PRIORS and name in PRIORS:
            args.refuse(f"argument --prior: expected a file of another name than {', '.join(PRIORS)}, got {prior!r}")
        if prior not in PRIORS and not any(map(os.path.exists, files_of(prior))):
            known = ", ".join(PRIORS)
            args.refuse(f"argument --prior: expected {known} or a file, got {prior!r}; there is no such file")


def read_weightings(
    args: argparse.Namespace, class_info: ClassInfo, chunks: Sequence[Chunk]
) -> dict[str, PriorWeights]:
    """The weights of the rows under each requested distribution."""
    if not args.prior:
        return {}
    positives = chunks[0].positives
    refuse_no_positives(positives.counts)
    known = named_classes(args, class_info.names)
    stated = {
        prior_name(prior): prior if prior in PRIORS else read_prior(prior, positives.num_classes, known)
        for prior in args.prior
    }
    frequencies = read_priors(stated, positives.num_classes, class_info.train_counts)
    return weightings_of(positives, frequencies)


def refuse_no_positives(counts: Any) -> None:
    if not counts.any():
        raise ValueError("labels: no positives in any class, so no metric is defined")


def share_of_rows(inputs: Inputs, communicator: SingleProcess | Communicator, threads: int | None) -> list[Chunk]:
    """The rows that this process evaluates: all of them, or its share when there are several."""
    matrix, labels = inputs.scores, inputs.labels
    first, end = (matrix.num_rows * rank // communicator.size for rank in (communicator.rank, communicator.rank + 1))
    if first == end:
        return []
    if inputs.marks is not None or inputs.masks or isinstance(labels, Positives):
        positives = inputs.positives(threads=threads)
        if communicator.size > 1:
            kept = np.zeros(matrix.num_rows, bool)
            kept[first:end] = True
            positives = positives.select(kept)
            matrix = matrix.select([(first, end)])
        return [Chunk(matrix, positives, None, first)]
    if communicator.size > 1:
        matrix = matrix.select([(first, end)])
        labels = rows_between(labels, first, end)
    with advice_on_indices():
        positives = Positives.from_labels(
            labels, end - first, matrix.num_classes, first_row=first, threads=threads, scores=matrix
        )
    return [Chunk(matrix, positives, None, first)]
