"""Every metric of a score matrix in one pass over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vltr_eval.arrays import borrow_matrix
from vltr_eval.findings import read_conventions
from vltr_eval.groups import DEFAULT_BOUNDS
from vltr_eval.labels import Positives
from vltr_eval.parts import Part, count
from vltr_eval.priors import check_at_hand, read_priors, reweighted, under_priors
from vltr_eval.report import Report


def evaluate(
    scores: Any,
    labels: Any,
    *,
    sap: int | str | None = 15,
    seed: int = 0,
    topk: Iterable[int] | None = (1, 5),
    train_counts: Sequence[float] | np.ndarray | None = None,
    bounds: tuple[float, float] = DEFAULT_BOUNDS,
    class_names: Sequence[str] | None = None,
    absent: str = "nan",
    prior: str | Sequence[Any] | Mapping[str, Any] | np.ndarray | None = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Report:
    """Average precision, sampled AP, ROC-AUC and Acc@k of a score matrix, reading the scores once for all of them.

    scores: (N, C) real array, or a list of its row shards; raw logits are best (a saturated sigmoid makes ties).
    labels: dense (N, C) of 0/1, scipy.sparse, a list of class-index lists, (N,) class indices, or ``Positives``.
    sap: SAP trials to draw, "exact" for the closed form alone, None for no SAP.
    topk: the k of Acc@k, None for no Acc@k.
    train_counts, bounds: (C,) samples of each class in training; adds the means of head (n > bounds[0]),
        medium and tail (n <= bounds[1]) classes.
    absent: "nan" leaves classes without positives out of every mean; "zero" counts their AP and SAP as 0, as the
        published VideoLT code does.
    prior: class distributions under which AP and Acc@k are reported as well, the rows being weighted: "longtail",
        "uniform", "inverse", several of these, (C,) numbers, or a mapping of names to any of them; see
        `vltr_eval.prior_weights`. Scores and labels must be in CPU memory.
    progress: called with the fraction done, at most some twenty times a second.

    Acc@k overall is the share of labelled rows with a label among their k highest scores; of a class, the share of its
    positive rows that are such hits; of a group, the mean over its classes (as MOVE's published code has it).

    >>> scores = np.float32([[.9, .1], [.8, .7], [.7, .2]])
    >>> report = evaluate(scores, [[0], [1], [0]], sap="exact", topk=(1,))
    >>> {name: round(value, 4) for name, value in report.metrics().items()}
    {'mAP': 0.9167, 'expected_SAP': 0.9167, 'SAP_chance': 0.7778, 'ROC_AUC': 0.75, 'Acc@1': 0.6667}
    """
    matrix = borrow_matrix("scores", scores)
    settings, about = read_conventions(
        matrix.num_classes,
        sap=sap,
        seed=seed,
        topk=topk,
        train_counts=train_counts,
        bounds=bounds,
        class_names=class_names,
        absent=absent,
    )
    priors = read_priors(prior, matrix.num_classes, train_counts)
    check_at_hand(priors, matrix)
    positives = Positives.from_labels(labels, matrix.num_rows, matrix.num_classes, place=matrix.place, threads=threads)
    part = Part(matrix, positives)
    weightings = {name: reweighted(positives, wanted) for name, wanted in priors.items()}
    found = count(settings, [part], matrix.num_classes, threads=threads, progress=progress)
    return under_priors(found.report(about), found, about, part, weightings, threads=threads)
