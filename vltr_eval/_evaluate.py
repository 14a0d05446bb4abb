"""Every metric of a score matrix in one pass over it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vltr_eval._base.groups import DEFAULT_BOUNDS
from vltr_eval._base.progress import part_of
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.inputs import read_inputs
from vltr_eval._engine.options import read_options
from vltr_eval._engine.results import share_of_counting
from vltr_eval.formats import ClassNames, read_class_names, read_train_counts
from vltr_eval.priors.results import add_prior_results
from vltr_eval.priors.weights import read_priors, require_cpu, reweighted
from vltr_eval.report.report import Report


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
    sap: int | str | None = 15,
    seed: int = 0,
    topk: Iterable[int] | None = (1, 5),
    train_counts: Sequence[float] | np.ndarray | str | os.PathLike[str] | None = None,
    bounds: tuple[float, float] = DEFAULT_BOUNDS,
    class_names: Sequence[str] | str | os.PathLike[str] | None = None,
    absent: str = "nan",
    prior: str | Sequence[Any] | Mapping[str, Any] | np.ndarray | None = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Report:
    """Average precision, sampled AP, ROC-AUC and Acc@k of a score matrix, reading the scores once for all of them.

    Args:
        scores: (N, C) real array, a list of its row shards, a data frame, or a path (or a list of paths, or a pattern)
            of files; raw logits are best (a saturated sigmoid makes ties).
        labels: Dense (N, C) of 0/1, scipy.sparse, a list of class-index lists, (N,) class indices, ``Positives``, a
            data frame or Series, or a path.
        ids: Row ids of the scores: (N,) strings or integers, a file with an id a row, or the name of a column. Rows are
            joined to those of the labels by id. Files and frames that have ids on both sides are joined without it.
        label_ids: The same for the labels.
        columns: The columns of files and frames that are classes: names, patterns, positions or ranges (``3:``).
        exclude: Columns to leave out.
        header: Whether a first line of text files that can be a header or a row is a header.
        label_form: "dense", "indices", "lists", "names", "long" or "videofolder", where the labels do not tell.
        join: "exact": both sides must have the same ids. "inner": evaluate the rows that both have.
        sap: SAP trials to draw, "exact" for the closed form alone, None for no SAP.
        seed: Seed of the SAP trials.
        topk: The k of Acc@k, None for no Acc@k.
        train_counts: (C,) samples of each class in training, or a file of them or of training labels; adds the means of
            head, medium and tail classes.
        bounds: Head has more than bounds[0] training samples, tail at most bounds[1].
        class_names: C names, or a file of them. Files and frames with named columns are matched to these by name.
        absent: "nan" leaves classes without positives out of every mean; "zero" counts their AP and SAP as 0, as the
            published VideoLT code does.
        prior: Class distributions under which AP and Acc@k are reported as well, the rows being weighted: "longtail",
            "uniform", "inverse", several of these, (C,) numbers, or a mapping of names to any of them; see
            `vltr_eval.prior_weights`. Scores and labels must be in CPU memory.
        threads: CPU threads.
        progress: Called with the fraction done, at most some twenty times a second.

    Returns:
        A `Report`. Its ``notes`` say what was left out, reordered or joined.

    Raises:
        ValueError: Inputs that do not belong together, a NaN score, or a label other than 0/1, with its place.
        TypeError: An object that is neither an array nor a file.

    Acc@k overall is the share of labelled rows with a label among their k highest scores; of a class, the share of its
    positive rows that are such hits; of a group, the mean over its classes (as MOVE's published code has it).

    >>> scores = np.float32([[.9, .1], [.8, .7], [.7, .2]])
    >>> report = evaluate(scores, [[0], [1], [0]], sap="exact", topk=(1,))
    >>> {name: round(value, 4) for name, value in report.metrics().items()}
    {'mAP': 0.9167, 'expected_SAP': 0.9167, 'SAP_chance': 0.7778, 'ROC_AUC': 0.75, 'Acc@1': 0.6667}
    """
    inputs = read_inputs(
        scores,
        labels,
        ids=ids,
        label_ids=label_ids,
        columns=columns,
        exclude=exclude,
        header=header,
        label_form=label_form,
        class_names=_read_names(class_names),
        join=join,
    )
    matrix = inputs.scores
    if isinstance(train_counts, (str, os.PathLike)):
        known = None if inputs.class_names is None else ClassNames.of(inputs.class_names)
        train_counts = read_train_counts(train_counts, matrix.num_classes, known)
    settings, class_info = read_options(
        matrix.num_classes,
        sap=sap,
        seed=seed,
        topk=topk,
        train_counts=train_counts,
        bounds=bounds,
        class_names=inputs.class_names,
        absent=absent,
    )
    priors = read_priors(prior, matrix.num_classes, class_info.train_counts)
    require_cpu(priors, matrix)
    positives = inputs.positives(form=label_form, threads=threads)
    chunk = Chunk(matrix, positives)
    weightings = {name: reweighted(positives, wanted) for name, wanted in priors.items()}
    counted = share_of_counting(settings)
    found = count_chunks(
        settings, [chunk], matrix.num_classes, threads=threads, progress=part_of(progress, 0.0, counted)
    )
    report = found.report(class_info, part_of(progress, counted, 1.0))
    report = add_prior_results(report, found, class_info, chunk, weightings, threads=threads)
    return replace(report, notes=(*inputs.notes, *report.notes))


def _read_names(names: Any) -> Any:
    return read_class_names(names) if isinstance(names, (str, os.PathLike)) else names
