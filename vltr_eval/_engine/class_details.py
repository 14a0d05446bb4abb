"""The details of single classes for a page: one call reads the scores twice, for their range and for histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import Matrix, num_threads
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._engine.inputs import read_inputs
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_scan import NaNScore, rank_scan
from vltr_eval._engine.rank_table import RankTable, to_compare_keys
from vltr_eval._engine.sample_ids import read_ids
from vltr_eval.formats.align import POSITION
from vltr_eval.page.details import NO_ROW, ClassDetails, Curves, Histograms, Mistakes

__all__ = ["class_details", "details_of"]

BINS = 24
LIMIT = 5
_OF_TABLE = 0.3  # share of the time


def class_details(
    scores: Any,
    labels: Any,
    *,
    ids: Any = None,
    label_ids: Any = None,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    header: bool | None = None,
    label_form: str | None = None,
    class_names: Sequence[str] | None = None,
    join: str = "exact",
    mask: Any = None,
    unknown: Any = None,
    limit: int = LIMIT,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> ClassDetails:
    """Find what `Report.to_html` shows of single classes: curves, histograms of scores, and the worst mistakes.

    Args:
        scores: See `vltr_eval.evaluate`, as all that are not listed here. They must be in CPU memory.
        labels: See there.
        ids: See there. The page then names the rows of mistakes by their ids.
        label_ids: See there.
        columns: See there.
        exclude: See there.
        header: See there.
        label_form: See there.
        class_names: The names of the classes, to which columns of files are matched.
        join: See there.
        mask: See there.
        unknown: See there.
        limit: Number of the lowest-scored positives and of the highest-scored negatives of each class.
        threads: See there.
        progress: See there.

    Returns:
        The details. They do not depend on threads, and not on the dtype of equal scores.

    Raises:
        ValueError: The inputs do not belong together, a score is NaN, or a label is not 0/1.
        TypeError: An input is neither an array nor a file.

    Example:
        >>> details = class_details(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]]))
        >>> details.histograms.negatives.sum(axis=1).tolist(), details.mistakes.missed_rows[0].tolist()
        ([1], [2, 0, -1, -1, -1])
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
        class_names=class_names,
        join=join,
        mask=mask,
        unknown=unknown,
    )
    require_cpu(inputs.scores)
    positives = inputs.positives(form=label_form, threads=threads)
    found = rank_scan(inputs.scores, positives, threads=threads, progress=part_of(progress, 0.0, _OF_TABLE))
    row_ids = None if join == POSITION else inputs.ids
    rest = part_of(progress, _OF_TABLE, 1.0)
    return details_of(inputs.scores, positives, found.table, ids=row_ids, limit=limit, threads=threads, progress=rest)


def require_cpu(scores: Matrix) -> None:
    """Raise ValueError unless scores are in CPU memory."""
    if scores.device.index is not None:
        raise ValueError(
            f"scores: expected scores in CPU memory for the details of classes, got them on {scores.device}; pass "
            "scores.cpu(), or the rank table, which gives the curves"
        )


def details_of(
    scores: Matrix,
    positives: Positives,
    table: RankTable,
    *,
    ids: Any = None,
    order: np.ndarray | None = None,
    limit: int = LIMIT,
    name: str = "scores",
    threads: int | None = None,
    progress: Progress | None = None,
) -> ClassDetails:
    """Find the details of classes whose rank table is known.

    Args:
        scores: The (N, C) matrix, in CPU memory.
        positives: Its labels.
        table: Its rank table.
        ids: (N,) ids of the rows, or None.
        order: (N,) the rows in the order in which they are numbered; None if that is their order.
        limit: See `class_details`.
        name: The name of the system.
        threads: CPU threads.
        progress: Called with the fraction done.

    Raises:
        ValueError: A score is NaN, or ``limit`` is no number of rows.
    """
    if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)) or not 1 <= limit <= _MOST_ROWS:
        raise ValueError(f"limit: expected a number of rows from 1 to {_MOST_ROWS}, got {limit!r}")
    require_cpu(scores)
    known, offset, rows = positives.core_with(scores)
    workers = num_threads(threads)
    try:
        low, high, missed_rows, missed_scores, false_rows, false_scores = _core.class_extremes(
            known, offset, rows, int(limit), workers, part_of(progress, 0.0, 0.5)
        )
    except _core.BadValue as error:
        raise NaNScore(*error.args[1:]) from None
    counts = _core.score_histograms(known, offset, rows, low, high, BINS, workers, part_of(progress, 0.5, 1.0))
    low, high, missed_scores, false_scores = (
        to_compare_keys(values, scores.dtype) for values in (low, high, missed_scores, false_scores)
    )
    missed_scores[missed_rows == NO_ROW] = 0  # not so in the keys of unsigned integers
    false_scores[false_rows == NO_ROW] = 0
    mistakes = Mistakes(missed_rows, missed_scores, false_rows, false_scores)
    known_ids = None if ids is None else _ids_of(mistakes, ids, order)
    if progress is not None:
        progress(1.0)
    return ClassDetails(
        Curves(table.indptr, table.thresholds, table.tp, table.fp),
        Histograms(low, high, *counts),
        _renumbered(mistakes, order),
        known_ids,
        name,
    )


_MOST_ROWS = 1000


def _renumbered(mistakes: Mistakes, order: np.ndarray | None) -> Mistakes:
    """The mistakes with the numbers of the rows in another order."""
    if order is None:
        return mistakes
    number_of = np.empty(len(order) + 1, np.int64)
    number_of[order] = np.arange(len(order))
    number_of[NO_ROW] = NO_ROW
    return replace(mistakes, missed_rows=number_of[mistakes.missed_rows], false_rows=number_of[mistakes.false_rows])


def _ids_of(mistakes: Mistakes, ids: Any, order: np.ndarray | None) -> dict[int, str]:
    """The ids of the rows among the mistakes, by the numbers of the rows."""
    rows = np.unique(np.concatenate([mistakes.missed_rows, mistakes.false_rows], axis=None))
    rows = rows[rows != NO_ROW]
    chosen = ids[rows] if isinstance(ids, np.ndarray) else read_ids(ids, len(ids))[rows]
    known = read_ids(chosen, len(rows))
    numbers = rows
    if order is not None:
        number_of = np.empty(len(order), np.int64)
        number_of[order] = np.arange(len(order))
        numbers = number_of[rows]
    return dict(zip(numbers.tolist(), map(str, known.tolist()), strict=True))
