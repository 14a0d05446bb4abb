"""Rows that are views of one video, such as the clips of a thirty-view test, reduced to one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._engine.label_marks import read_positives
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.reduction import reduce_matrix, reduce_positives
from vltr_eval._engine.sample_ids import read_ids
from vltr_eval.formats.views import Views, group_by_id
from vltr_eval.report.settings import check_reduce

__all__ = ["ReducedRows", "reduce_rows"]


class ReducedRows(NamedTuple):
    """One row for each video, in the order of their first rows.

    Attributes:
        scores: (V, C) in the library of the scores.
        ids: (V,) int64 or objects of str.
        num_views: (V,) int64, the rows of each video.
        labels: The labels of the videos; None if none were given.
    """

    scores: Any
    ids: np.ndarray
    num_views: np.ndarray
    labels: Positives | None


def reduce_rows(
    scores: Any,
    ids: Any,
    how: str = "mean",
    labels: Any = None,
    *,
    mask: Any = None,
    unknown: Any = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> ReducedRows:
    """Reduce the rows of each id, the views of one video, to one row.

    The result has the same bits for any order of the rows of an id, any row shards and any number of threads.

    Args:
        scores: (N, C) array in CPU memory, or a list of row shards. It is read once and not copied.
        ids: (N,) integers or strings: the video of each row.
        how: "mean", "max", "sum" or "logmeanexp". Mean and sum are exact and then rounded; logmeanexp is the logarithm
            of the mean of exp(score).
        labels: Labels of the N rows in any form that `evaluate` takes, or None.
        mask: Which labels of the N rows are known, see `evaluate`; no file.
        unknown: The value of labels that marks an unknown cell, see there.
        threads: Number of CPU threads; all cores if None.
        progress: Called with the fraction done.

    Returns:
        `ReducedRows`. ``max`` keeps the dtype of the scores. The others are float32 for scores of float16, bfloat16,
        float32, bool and integers of 8 and 16 bits, and float64 for others.

    Raises:
        ValueError: A score is NaN, a sum has infinities of both signs, the views of one video have different labels,
            some labels are unknown, or the shapes do not fit.
        TypeError: An input is no array, no labels or no ids.

    Example:
        >>> scores = np.float32([[.25, .5], [.75, .5], [.5, .125]])
        >>> reduced = reduce_rows(scores, ["a", "a", "b"], labels=[[0], [0], [1]])
        >>> reduced.scores.tolist(), reduced.ids.tolist(), reduced.labels.counts.tolist()
        ([[0.5, 0.5], [0.5, 0.125]], ['a', 'b'], [1, 1])
    """
    how = check_reduce(how, "how")
    matrix = borrow_matrix("scores", scores)
    names, of_row = group_by_id(read_ids(ids, matrix.num_rows))
    positives = None
    if labels is not None:
        positives = read_positives(
            labels,
            matrix.num_rows,
            matrix.num_classes,
            mask=mask,
            unknown=unknown,
            threads=threads,
            scores=matrix,
        )
        positives = reduce_positives(positives, of_row, names)
    views = Views(names, of_row, of_row)
    offset, rows = views.rows()
    reduced = reduce_matrix(matrix, offset, rows, how, names, threads=threads, progress=progress)
    return ReducedRows(reduced, names, np.diff(offset), positives)
