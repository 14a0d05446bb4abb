"""Every metric of a score matrix in one pass over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vltr_eval._base.progress import part_of
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.inputs import ReadingOptions
from vltr_eval._engine.mean_effects import check_clusters, read_clusters
from vltr_eval._engine.options import EvalOptions, EvalOptionsDict, Unpack, read_with_options, share_of_reading
from vltr_eval._engine.results import BEFORE_SLICES, share_of_counting
from vltr_eval.formats.align import POSITION
from vltr_eval.priors.results import add_prior_results
from vltr_eval.priors.weights import read_priors, require_cpu, weightings_of
from vltr_eval.report.report import Report

if TYPE_CHECKING:
    pass


def evaluate(
    scores: Any,
    labels: Any,
    *,
    ids: Any = None,
    label_ids: Any = None,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    header: bool | None = None,
    label_form: str | None = None,
    join: str = "exact",
    mask: Any = None,
    unknown: Any = None,
    prior: str | Sequence[Any] | Mapping[str, Any] | np.ndarray | None = None,
    clusters: Any = None,
    slices: Any = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    **options: Unpack[EvalOptionsDict],
) -> Report:
    """Compute AP, sampled AP, ROC-AUC and Acc@k of a score matrix in one pass over the scores.

    Args:
        scores: (N, C) array of any real dtype, a list of its row shards, or a data frame. A path, a list of paths or a
            pattern of files is read. Raw logits are best, because a saturated sigmoid makes ties.
        labels: (N, C) array of 0/1, a scipy.sparse matrix, a list of class-index lists, (N,) class indices,
            `Positives`, a data frame or Series, or a path.
        ids: Row ids of the scores: (N,) strings or integers, a file with one id per row, or the name of a column. Rows
            are joined to those of the labels by id. Files and frames with ids on both sides are joined without it.
        label_ids: Row ids of the labels, in the same forms.
        columns: Columns of files and frames that are classes: names, patterns, positions or ranges (``3:``).
        exclude: Columns to leave out.
        header: Whether the first line of a text file is a header, if it can be a header or a row.
        label_form: "dense", "indices", "lists", "names", "long" or "videofolder", if the labels can be read in several
            ways.
        join: "exact" requires the same ids on both sides. "inner" evaluates the rows that both sides have.
            "position" ignores ids.
        mask: Which labels are known, for labels that nobody knows: an (N, C) array that is True where the label is
            known, or the unknown cells as a sparse matrix, `LabelPairs` or a pair of arrays (rows, classes); or a file
            of either. A class leaves its unknown cells out. Without ids of its own a mask has the rows of the labels.
            See docs/unknown_labels.md.
        unknown: The value of ``labels`` that marks an unknown cell: -1, "nan" (also an empty cell and a null) or
            "-1,nan"; the codes "voc" (0 is difficult, -1 absent) and "chexpert" (-1 is uncertain, missing absent); or
            "unlisted" for cells that a list of verified labels lacks, as those of OpenImages and LVIS.
        prior: Class distributions under which AP and Acc@k are also reported, by weighting the rows: "longtail",
            "uniform", "inverse", several of these, (C,) numbers, or a mapping from names to any of them. See
            `prior_weights`. Scores and labels must be in CPU memory.
        clusters: Clusters of rows that are not independent, such as the clips of one video, for ``interval``: (N,)
            strings or integers, the same for rows of one cluster, or a file with one a line. Rows are added up within
            their cluster before the spread is estimated. Scores and labels must be in CPU memory.
        slices: Slices of the rows, for a table of each beside that of all rows: (N,) strings or integers, a mapping
            from the names of several partitions to such, a data frame or a .csv with a column of ids, or a file with
            one a line. None and "" put a row in no slice. See docs/groups.md.
        threads: Number of CPU threads; all cores if None.
        progress: Called with the fraction done, about twenty times a second at most.
        **options: sap, seed, topk, train_counts, bounds, groups, class_names, absent, interval, thresholds,
            allow_same_set and calibration; see `EvalOptions`.

    Returns:
        A `Report`. Its ``notes`` list what was left out, reordered or joined. The overall Acc@k is the share of the
        labelled rows with one of their labels among their k highest scores. The Acc@k of a class is the share of its
        positive rows that are such hits. The Acc@k of a group is the mean over its classes.

    Raises:
        ValueError: The inputs do not belong together, a score is NaN, or a label is not 0/1. The message has the
            position.
        TypeError: An input is neither an array nor a file, or an option does not exist.

    Example:
        >>> scores = np.float32([[.9, .1], [.8, .7], [.7, .2]])
        >>> report = evaluate(scores, [[0], [1], [0]], sap="exact", topk=(1,))
        >>> {name: round(value, 4) for name, value in report.metrics().items()}
        {'mAP': 0.9167, 'expected_SAP': 0.9167, 'SAP_chance': 0.7778, 'ROC_AUC': 0.75, 'Acc@1': 0.6667}

    Source:
        Acc@k of classes and groups follows MOVE's published code.
    """
    chosen = EvalOptions.from_keywords(options, evaluate)
    check_clusters(clusters, chosen.interval)
    reading = ReadingOptions(ids, label_ids, columns, exclude, header, label_form, join, mask, unknown)
    read = share_of_reading(scores, labels)
    inputs, settings, class_info = read_with_options(scores, labels, chosen, reading, part_of(progress, 0.0, read))
    progress = part_of(progress, read, 1.0)
    matrix = inputs.scores
    priors = read_priors(prior, matrix.num_classes, class_info.train_counts)
    require_cpu(priors, matrix)
    positives = inputs.positives(form=label_form, threads=threads)
    chunk = Chunk(matrix, positives, clusters=read_clusters(clusters, matrix))
    class_info = class_info.checked_for(positives, None if join == POSITION else inputs.ids)
    weightings = weightings_of(positives, priors)
    parts = inputs.row_slices(slices)
    of_slices = part_of(progress, BEFORE_SLICES, 1.0)
    progress = part_of(progress, 0.0, BEFORE_SLICES) if parts else progress
    counted = share_of_counting(settings)
    counts = count_chunks(
        settings,
        [chunk],
        matrix.num_classes,
        class_info=class_info,
        threads=threads,
        progress=part_of(progress, 0.0, counted),
    )
    report = counts.report(class_info, part_of(progress, counted, 1.0))
    report = add_prior_results(report, counts, class_info, chunk, weightings, threads=threads)
    report = replace(report, notes=(*inputs.notes, *report.notes))
    if not parts:
        return report
    from vltr_eval._engine.slices import evaluate_slices  # not above: few evaluations have slices

    found = evaluate_slices(settings, chunk, class_info, parts, threads=threads, progress=of_slices)
    return replace(report, slices=found)
