"""Rows that are views of one video, reduced to one row: the scores by their mean, max, sum or log-mean-exp.

The result has the same bits for any order of rows, shards, batches, threads and ranks:

- mean and sum: the exact sum of the scores, rounded once to float64; the mean divides that by the number of views.
- max: the largest score, in the dtype of the scores.
- logmeanexp: ``m + log(mean(exp(x - m)))``, where m is the largest score. exp and log are the core's own, without libm,
  and the exponentials are rounded to whole multiples of a small number, whose sum is exact.

All but max are then rounded to float32 for scores of float16, bfloat16, float32, bool and integers of 8 and 16 bits.
They are float64 for others. The views must have the same labels and the same unknown cells.

On ranks, a video stays where it has the most views. The other ranks send their rows of it there, or for max one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import (
    Array,
    Matrix,
    as_columns,
    borrow,
    borrow_matrix,
    empty_bits,
    empty_like,
    num_threads,
    of_bits,
)
from vltr_eval._base.progress import Progress
from vltr_eval._base.ranks import Communicator, SingleProcess, propagate_errors
from vltr_eval._engine.counting import Chunk
from vltr_eval._engine.label_marks import positives_with_unknown
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_scan import NaNScore
from vltr_eval._engine.row_numbers import sample_of
from vltr_eval._engine.sample_ids import distinct_ids, id_kind
from vltr_eval._engine.unknown import UnknownCells
from vltr_eval.formats.table import LabelPairs
from vltr_eval.formats.unknown_marks import CellMask, UnknownMarks
from vltr_eval.formats.views import Views
from vltr_eval.report.settings import REDUCTIONS

__all__ = ["Reduced", "reduce_chunks", "reduce_matrix", "reduce_positives", "reduced_pair"]

_NARROW = ("bool", "uint8", "int8", "uint16", "int16", "float16", "bfloat16", "float32")
_NUM_NAMED = 3
_MAX_LABELS_SHOWN = 10


@dataclass(frozen=True)
class Reduced:
    """The numbers of a reduction, for its note.

    Attributes:
        num_rows: Rows of scores that were reduced.
        num_videos: Videos.
        fewest: The least number of views of a video.
        most: The largest.
    """

    num_rows: int
    num_videos: int
    fewest: int
    most: int

    @classmethod
    def of_counts(cls, counts: np.ndarray) -> Reduced:
        """counts: (V,) the views of each video, at least one video."""
        return cls(int(counts.sum()), len(counts), int(counts.min()), int(counts.max()))

    def note(self, how: str) -> str:
        """The sentence of the report."""
        each = f"{self.most:,} view{'s' * (self.most != 1)} each"
        if self.fewest != self.most:
            each = f"{self.fewest:,} to {self.most:,} views each"
        rows, videos = (
            f"{n:,} {word}{'s' * (n != 1)}" for n, word in ((self.num_rows, "row"), (self.num_videos, "video"))
        )
        return f"{rows} became {videos} by {how}: {each}"


def reduce_matrix(
    matrix: Matrix,
    offset: np.ndarray,
    rows: np.ndarray,
    how: str,
    names: np.ndarray,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Any:
    """Reduce the scores of each video.

    Args:
        matrix: (N, C) scores in CPU memory.
        offset: (V + 1,) int64; video v has the rows ``rows[offset[v]:offset[v + 1]]``, at least one.
        rows: (M,) uint32.
        how: The reduction.
        names: (V,) the ids of the videos, for messages.
        threads: CPU threads.
        progress: Called with the fraction done.

    Returns:
        (V, C) in the library of the scores.

    Raises:
        ValueError: A score is NaN, a sum has infinities of both signs, or the scores are on a device.
    """
    if matrix.device.index is not None:
        raise ValueError(
            f"scores: expected an array in CPU memory to reduce, got one on {matrix.device}; pass scores.cpu()"
        )
    dtype = matrix.dtype if how == "max" else "float32" if matrix.dtype in _NARROW else "float64"
    out = empty_like(matrix.shards[0], (len(offset) - 1, matrix.num_classes), dtype)
    target = borrow("out", out).core
    try:
        _core.reduce_rows(matrix.core, offset, rows, REDUCTIONS.index(how), target, num_threads(threads), progress)
    except _core.BadValue as error:
        argument, row, col = error.args
        if argument == "scores":
            raise NaNScore(row, col) from None
        raise ValueError(
            f"scores: expected a {how} of each video, but the views of {_quoted(names[row])} have inf and -inf in "
            f"class {col}; use max, or make the scores finite"
        ) from None
    return out


def reduce_positives(
    positives: Positives, of_row: np.ndarray, names: np.ndarray, *, rows_named: bool = True
) -> Positives:
    """Give each video the labels of its rows: its positives and its unknown cells.

    Args:
        positives: The labels of L rows.
        of_row: (L,) int64, the video of each row; -1 for a row that is left out.
        names: (V,) the ids of the videos, each with at least one row.
        rows_named: Whether the message names rows, beside ids.

    Raises:
        ValueError: The rows of a video have different labels, or different unknown cells.
    """
    num_videos = len(names)
    counts = np.bincount(of_row[of_row >= 0], minlength=num_videos)
    classes = np.repeat(np.arange(positives.num_classes), positives.counts)
    cells, wrong = _cells_of_videos(positives.rows, classes, of_row, counts)
    of_cell = cells % num_videos
    if positives.unknown is not None:
        wrong = np.union1d(wrong, _partly_unknown(positives.unknown, of_row, counts))
    if len(wrong):
        raise _different_labels(positives, classes, of_row, names, wrong, rows_named)
    indptr = np.zeros(positives.num_classes + 1, np.int64)
    np.cumsum(np.bincount(cells // num_videos, minlength=positives.num_classes), out=indptr[1:])
    reduced = Positives(num_videos, positives.num_classes, indptr, of_cell.astype(np.uint32))
    if positives.unknown is None:
        return reduced
    return reduced.with_unknown(positives.unknown.renumbered(of_row, num_videos))


def _cells_of_videos(
    rows: np.ndarray, classes: np.ndarray, of_row: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The cells of videos that some of their rows have, and the videos of which not all rows have them.

    Args:
        rows: (P,) the rows of cells.
        classes: (P,) the classes of these.
        of_row: (L,) the video of each row, -1 for a row that is left out.
        counts: (V,) the rows of each video.

    Returns:
        ``class * V + video`` of each cell, ascending; and the numbers of videos.
    """
    videos = of_row[rows]
    kept = videos >= 0
    cells, found = np.unique(classes[kept] * len(counts) + videos[kept], return_counts=True)
    of_cell = cells % max(len(counts), 1)
    return cells, np.unique(of_cell[found != counts[of_cell]])


def _partly_unknown(unknown: UnknownCells, of_row: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The videos that have a cell which is unknown in some of their rows and known in others."""
    if unknown.bits is None:
        return _cells_of_videos(*unknown.pairs(), of_row, counts)[1]
    is_wrong = np.zeros(len(counts), bool)
    for c in range(unknown.num_classes):  # one class at a time, because pairs of all cells could fill the memory
        videos = of_row[unknown.flags_of(c)]
        found = np.bincount(videos[videos >= 0], minlength=len(counts))
        is_wrong |= (found > 0) & (found != counts)
    return np.flatnonzero(is_wrong)


def _different_labels(
    positives: Positives,
    classes: np.ndarray,
    of_row: np.ndarray,
    names: np.ndarray,
    wrong: np.ndarray,
    rows_named: bool,
) -> ValueError:
    """The error for videos whose rows have different labels."""
    listed = []
    for video in wrong[:_NUM_NAMED].tolist():
        rows = np.flatnonzero(of_row == video)
        held = np.isin(positives.rows, rows)
        without = _unknown_classes(positives, rows)
        labels = {
            row: (classes[held & (positives.rows == row)].tolist(), unknown)
            for row, unknown in zip(rows.tolist(), without, strict=True)
        }
        first = int(rows[0])
        other = next(row for row in labels if labels[row] != labels[first])
        one, another = (_shown(*labels[row]) + f" at row {row}" * rows_named for row in (first, other))
        listed.append(f"{_quoted(names[video])} has {one} and {another}")
    more = f"; {len(wrong):,} videos in all" if len(wrong) > 1 else ""
    return ValueError(
        f"labels: expected the same labels for all views of a video, but {'; '.join(listed)}{more}; correct the "
        "labels, or give different videos different ids"
    )


def _unknown_classes(positives: Positives, rows: np.ndarray) -> list[list[int]]:
    """The classes that each of some rows does not know."""
    if positives.unknown is None:
        return [[] for _ in rows]
    every = np.arange(positives.num_classes)
    flags = positives.unknown.hold(np.repeat(rows, len(every)), np.tile(every, len(rows)))
    return [np.flatnonzero(of_row).tolist() for of_row in flags.reshape(len(rows), -1)]


def _shown(labels: list[int], unknown: list[int]) -> str:
    return _listed(labels) + (f" and unknown {_listed(unknown)}" if unknown else "")


def _quoted(name: Any) -> str:
    return repr(name.item() if isinstance(name, np.generic) else name)


def _listed(labels: list[int]) -> str:
    if len(labels) <= _MAX_LABELS_SHOWN:
        return str(labels)
    return f"[{', '.join(map(str, labels[:_MAX_LABELS_SHOWN]))}, ...] ({len(labels)} labels)"


def reduced_pair(
    matrix: Matrix,
    labels: Any,
    views: Views,
    how: str,
    *,
    marks: UnknownMarks | None = None,
    masks: Sequence[CellMask] = (),
    form: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[Matrix, LabelPairs | Positives, Reduced]:
    """Reduce scores and labels that were read together.

    Args:
        matrix: (N, C) scores.
        labels: The labels of L rows.
        views: The video of each row of both.
        how: The reduction.
        marks: The values of the labels that mark unknown cells, or None.
        masks: Masks of the L rows.
        form: See `Positives.from_labels`.
        threads: CPU threads.
        progress: Called with the fraction done.

    Returns:
        Scores, labels and numbers. Labels without unknown cells are pairs.
    """
    positives = positives_with_unknown(
        labels, len(views.of_label), matrix.num_classes, marks, masks, form=form, threads=threads, scores=None
    )
    positives = reduce_positives(positives, views.of_label, views.ids)
    scores = reduce_matrix(matrix, *views.rows(), how, views.ids, threads=threads, progress=progress)
    if positives.unknown is not None:
        return borrow_matrix("scores", scores), positives, Reduced.of_counts(views.counts)
    classes = np.repeat(np.arange(positives.num_classes, dtype=np.int64), positives.counts)
    pairs = LabelPairs(views.num_videos, matrix.num_classes, positives.rows.astype(np.int64), classes)
    return borrow_matrix("scores", scores), pairs, Reduced.of_counts(views.counts)


# ---------------------------------------------------------------------------------------------------------------------
# Ranks
# ---------------------------------------------------------------------------------------------------------------------


def reduce_chunks(
    chunks: Sequence[Chunk],
    how: str,
    communicator: SingleProcess | Communicator,
    *,
    threads: int | None = None,
) -> tuple[list[Chunk], Reduced | None]:
    """Reduce the rows of all ranks, whose ids name videos. All ranks call this.

    Args:
        chunks: The rows of this rank, with ids and in CPU memory; none for a rank without rows.
        how: The reduction.
        communicator: The ranks.
        threads: CPU threads.

    Returns:
        The videos of this rank as one chunk, in the order of their ids, or no chunk; and the numbers of all ranks, None
        if no rank has rows.

    Raises:
        ValueError: On all ranks, as `reduce_matrix` and `reduce_positives`, or where ranks differ in dtype or ids.
    """
    with propagate_errors(communicator):
        local = _LocalViews.of_chunks(chunks, how, threads) if chunks else None
    if communicator.size > 1:
        local = _gathered(local, how, communicator, threads)
    with propagate_errors(communicator):
        done, counts = ([], None) if local is None else local.reduced(how, threads)
        numbers = None if counts is None or not len(counts) else Reduced.of_counts(counts)
    everyone = [found for found in communicator.all_gather(lambda: numbers) if found is not None]
    if not everyone:
        return done, None
    return done, Reduced(
        sum(found.num_rows for found in everyone),
        sum(found.num_videos for found in everyone),
        min(found.fewest for found in everyone),
        max(found.most for found in everyone),
    )


@dataclass(frozen=True, eq=False)
class _LocalViews:
    """The rows of one rank, sorted by video.

    Attributes:
        matrix: The scores of all rows.
        positives: The labels of each video.
        ids: (V,) the videos, ascending.
        offset: (V + 1,) int64, where the rows of each video begin in ``rows``.
        rows: (M,) uint32.
        views: (V,) int64, the views of each video: its rows, unless max has made one row of several.
    """

    matrix: Matrix
    positives: Positives
    ids: np.ndarray
    offset: np.ndarray
    rows: np.ndarray
    views: np.ndarray

    @classmethod
    def of_chunks(cls, chunks: Sequence[Chunk], how: str, threads: int | None) -> _LocalViews:
        """Sort the rows by video and check their labels."""
        if any(chunk.ids is None for chunk in chunks):
            raise ValueError("reduce: expected ids that name the video of each row, got none; give ids=")
        if any(chunk.scores.device.index is not None for chunk in chunks):
            raise ValueError("scores: expected arrays in CPU memory to reduce, got one on a device; pass scores.cpu()")
        matrix = borrow_matrix("scores", [as_columns(shard) for chunk in chunks for shard in chunk.scores.shards])
        ids = np.concatenate([np.asarray(chunk.ids) for chunk in chunks])
        distinct, _, of_row = distinct_ids(ids)
        rows, classes, start = [], [], 0
        for chunk in chunks:
            rows.append(chunk.positives.rows.astype(np.int64) + start)
            classes.append(np.repeat(np.arange(matrix.num_classes), chunk.positives.counts))
            start += chunk.num_rows
        pairs = LabelPairs(matrix.num_rows, matrix.num_classes, np.concatenate(rows), np.concatenate(classes))
        positives = Positives.from_labels(pairs, matrix.num_rows, matrix.num_classes).with_unknown(
            UnknownCells.joined([chunk.positives.unknown for chunk in chunks], [chunk.num_rows for chunk in chunks])
        )
        views = Views(distinct, of_row, of_row)
        offset, order = views.rows()
        return cls(matrix, reduce_positives(positives, of_row, distinct), distinct, offset, order, np.diff(offset))

    def reduced(self, how: str, threads: int | None) -> tuple[list[Chunk], np.ndarray]:
        """The videos as one chunk, and the views of each."""
        if not len(self.ids):
            return [], self.views
        scores = reduce_matrix(self.matrix, self.offset, self.rows, how, self.ids, threads=threads)
        return [Chunk(borrow_matrix("scores", scores), self.positives, self.ids)], self.views

    def labels_of(self, videos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels of some videos: how many each has, and all of them, ascending in each."""
        position = np.full(len(self.ids), -1, np.int64)
        position[videos] = np.arange(len(videos))
        classes = np.repeat(np.arange(self.positives.num_classes), self.positives.counts)
        found = position[self.positives.rows]
        classes, found = classes[found >= 0], found[found >= 0]
        return np.bincount(found, minlength=len(videos)), classes[np.argsort(found, kind="stable")]

    def unknown_of(self, videos: np.ndarray) -> UnknownCells | None:
        """The unknown cells of some videos, whose rows are numbered as in ``videos``."""
        if self.positives.unknown is None:
            return None
        position = np.full(len(self.ids), -1, np.int64)
        position[videos] = np.arange(len(videos))
        return self.positives.unknown.renumbered(position, len(videos))

    def rows_of(self, videos: np.ndarray, how: str, threads: int | None) -> tuple[np.ndarray, np.ndarray]:
        """The rows of some videos to send: the bits of the scores, and how many rows each video has."""
        counts = np.diff(self.offset)[videos]
        ends = np.cumsum(counts)
        positions = np.arange(counts.sum()) + np.repeat(self.offset[videos] - (ends - counts), counts)
        rows = self.rows[positions].astype(np.int64)
        if how == "max" and len(videos):
            offset = np.concatenate([np.zeros(1, np.int64), ends])
            scores = reduce_matrix(self.matrix, offset, self.rows[positions], how, self.ids[videos], threads=threads)
            return borrow("scores", scores).bits().copy(), np.ones(len(videos), np.int64)
        bits = empty_bits((len(rows), self.matrix.num_classes), self.matrix.dtype)
        start = 0
        for shard in map(as_columns, self.matrix.shards):
            here = np.flatnonzero((rows >= start) & (rows < start + shard.shape[0]))
            bits[here] = shard.bits()[rows[here] - start]
            start += shard.shape[0]
        _refuse_nan(of_bits(bits, self.matrix.dtype), rows)
        return bits, counts


def _refuse_nan(scores: Array, rows: np.ndarray) -> None:
    """Raise NaNScore for a NaN among copied rows, which no longer have their row numbers where they are reduced."""
    values = scores.to_numpy()
    if values.dtype.kind == "f" and (bad := np.isnan(values)).any():
        row, col = min((int(rows[at]), int(col)) for at, col in np.argwhere(bad).tolist())
        raise NaNScore(row, col)


def _gathered(
    local: _LocalViews | None, how: str, communicator: Communicator | SingleProcess, threads: int | None
) -> _LocalViews | None:
    """Bring all rows of a video to one rank: the one with the most, and of equal ones to each in turn."""
    kinds = communicator.all_gather(
        lambda: None if local is None else (local.matrix.dtype, id_kind(local.ids), sample_of(local.ids))
    )
    known = [kind for kind in kinds if kind is not None]
    for name, values in (("scores", {kind[0] for kind in known}), ("ids", {kind[1] for kind in known})):
        if len(values) > 1:
            raise ValueError(f"{name}: expected one type on all ranks, got {' and '.join(sorted(map(str, values)))}")
    if not known:
        return None
    ids = known[0][2][:0] if local is None else local.ids
    views = np.empty(0, np.int64) if local is None else local.views
    homes = _homes(ids, views, [kind[2] for kind in known], communicator)
    videos_to = [np.flatnonzero(homes == rank) for rank in range(communicator.size)]
    videos_to[communicator.rank] = videos_to[communicator.rank][:0]

    def messages() -> list[tuple[Any, ...] | None]:
        if local is None:
            return [None] * communicator.size
        return [
            (
                local.ids[own],
                local.views[own],
                *local.labels_of(own),
                *local.rows_of(own, how, threads),
                local.unknown_of(own),
            )
            if len(own)
            else None
            for own in videos_to
        ]

    received = [message for message in communicator.all_to_all(messages) if message is not None]
    with propagate_errors(communicator):
        return _merged(local, np.flatnonzero(homes == communicator.rank), received, known[0][0])


def _homes(
    ids: np.ndarray, views: np.ndarray, samples: Sequence[np.ndarray], communicator: Communicator | SingleProcess
) -> np.ndarray:
    """The rank to which each video of this rank goes. Each rank decides it for the ids of one range."""
    ranks = range(communicator.size)
    sample = np.sort(np.concatenate(samples))
    splitters = sample[[len(sample) * rank // communicator.size for rank in ranks[1:]]]
    owner = np.searchsorted(splitters, ids, side="right")
    parts = [np.flatnonzero(owner == rank) for rank in ranks]
    received = communicator.all_to_all(lambda: [(ids[own], views[own]) for own in parts])
    held = np.concatenate([counts for _, counts in received])
    of_rank = np.repeat(np.arange(communicator.size), [len(part) for part, _ in received])
    distinct, _, group = distinct_ids(np.concatenate([part for part, _ in received]))
    most = np.zeros(len(distinct), np.int64)
    np.maximum.at(most, group, held)
    best = np.flatnonzero(held == most[group])
    best = best[np.argsort(group[best], kind="stable")]  # by video, then by rank
    sizes = np.bincount(group[best], minlength=len(distinct))
    chosen = best[np.cumsum(sizes) - sizes + np.arange(len(distinct)) % np.maximum(sizes, 1)]
    ends = np.cumsum([len(part) for part, _ in received])[:-1]
    answers = communicator.all_to_all(lambda: np.split(of_rank[chosen][group], ends))
    homes = np.empty(len(ids), np.int64)
    for own, answer in zip(parts, answers, strict=True):
        homes[own] = answer
    return homes


def _merged(
    local: _LocalViews | None, kept: np.ndarray, received: Sequence[tuple[Any, ...]], dtype: str
) -> _LocalViews | None:
    """The videos that stay here, with the rows of them that came from other ranks."""
    shards: list[Array] = []
    parts: list[tuple[np.ndarray, ...]] = []  # ids, views, labels a video, labels, rows a video
    rows: list[np.ndarray] = []
    unknown: list[UnknownCells | None] = []
    start = 0
    if local is not None:
        shards += map(as_columns, local.matrix.shards)
        start = local.matrix.num_rows
        counts = np.diff(local.offset)[kept]
        positions = np.arange(counts.sum()) + np.repeat(local.offset[kept] - (np.cumsum(counts) - counts), counts)
        rows.append(local.rows[positions].astype(np.int64))
        parts.append((local.ids[kept], local.views[kept], *local.labels_of(kept), counts))
        unknown.append(local.unknown_of(kept))
    for ids, views, num_labels, labels, bits, counts, cells in received:
        shards.append(of_bits(bits, dtype))
        rows.append(start + np.arange(len(bits)))
        start += len(bits)
        parts.append((ids, views, num_labels, labels, counts))
        unknown.append(cells)
    if not parts:
        return None
    sizes = [len(part[0]) for part in parts]
    ids, views, num_labels, labels, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
    matrix = borrow_matrix("scores", shards)
    distinct, _, group = distinct_ids(ids)
    pairs = LabelPairs(len(ids), matrix.num_classes, np.repeat(np.arange(len(ids)), num_labels), labels)
    positives = Positives.from_labels(pairs, len(ids), matrix.num_classes).with_unknown(
        UnknownCells.joined(unknown, sizes)
    )
    of_row = np.repeat(group, counts)
    order = np.argsort(of_row, kind="stable")
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(of_row, minlength=len(distinct)))])
    return _LocalViews(
        matrix,
        reduce_positives(positives, group, distinct, rows_named=False),
        distinct,
        offset,
        np.concatenate(rows)[order].astype(np.uint32),
        np.bincount(group, weights=views, minlength=len(distinct)).astype(np.int64),
    )
