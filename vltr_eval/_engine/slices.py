"""The means over slices of the rows, each with the bits of an evaluation of its rows alone.

All slices of a partition together have the rows of one pass. Scattered rows are copied together first, because a scan
of single rows takes ten times as long as the copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from vltr_eval._base.arrays import Array, Matrix, as_columns, borrow_matrix, of_bits
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.mean_effects import Clusters
from vltr_eval._engine.results import ClassInfo, EvaluationCounts, share_of_counting
from vltr_eval.formats.slice_files import RowSlice
from vltr_eval.report.means import Slice
from vltr_eval.report.settings import Settings

_LONG_RUN = 64  # rows in a row, on average, that need no copy
_MOST_BYTES = 256 << 20  # of a copy
_AT_ONCE = 16 << 20  # bytes that are copied between two looks at signals


class SliceCounter:
    """Counts slices of one matrix; the memory of copies is used again.

    Args:
        settings: The conventions.
        chunk: All rows.
        class_info: Facts about the classes.
        threads: CPU threads.
    """

    def __init__(self, settings: Settings, chunk: Chunk, class_info: ClassInfo, *, threads: int | None = None) -> None:
        # A slice has means alone: neither thresholds nor calibration.
        self._settings = replace(settings, thresholds=None, calibration=None)
        self._chunk = chunk
        self._class_info = replace(class_info, thresholds=None)
        self._threads = threads
        self._memory = np.empty(0, np.uint8)

    def count(
        self, rows: np.ndarray, *, keep_effects: bool = False, progress: Progress | None = None
    ) -> tuple[EvaluationCounts, Positives]:
        """Count some rows as `count_chunks` counts a matrix of these alone.

        Args:
            rows: (n,) int64, ascending, at least one.
            keep_effects: As in `count_chunks`.
            progress: Called with the fraction done.

        Returns:
            The counts, and the positives of the rows.
        """
        kept = np.zeros(self._chunk.num_rows, bool)
        kept[rows] = True
        positives = self._chunk.positives.select(kept)
        counts = count_chunks(
            self._settings,
            self._chunks(rows, kept, positives),
            self._chunk.scores.num_classes,
            class_info=self._class_info,
            threads=self._threads,
            progress=progress,
            keep_effects=keep_effects,
        )
        return counts, positives

    def _chunks(self, rows: np.ndarray, kept: np.ndarray, positives: Positives) -> Sequence[Chunk] | _CopiedRows:
        """The rows as one chunk, or as a stream of copies where one copy would take too much memory."""
        scores, clusters = self._chunk.scores, self._chunk.clusters
        if clusters is not None:
            numbers, of_row = np.unique(clusters.of_row[rows], return_inverse=True)
            clusters = Clusters(of_row.reshape(-1), len(numbers))
        num_runs = 1 + int(np.count_nonzero(np.diff(rows) != 1))
        row_bytes = max(1, scores.nbytes // scores.num_rows)
        is_small = len(rows) * row_bytes <= _MOST_BYTES
        is_scattered = len(rows) < _LONG_RUN * num_runs and num_runs > 1
        if not is_scattered or scores.device.index is not None or (clusters is not None and not is_small):
            return [replace(self._chunk.select(kept), positives=positives, ids=None, clusters=clusters)]
        if not is_small:
            return _CopiedRows(self, rows, positives, max(1, _MOST_BYTES // row_bytes))
        return [Chunk(self.copied(rows), positives, clusters=clusters)]

    def copied(self, rows: np.ndarray) -> Matrix:
        """Copy rows of the scores into the memory of this object, which the next copy uses again."""
        scores = self._chunk.scores
        shards, start = [], 0
        for shard in map(as_columns, scores.shards):
            first, stop = np.searchsorted(rows, (start, start + shard.shape[0]))
            if first < stop:
                shards.append((shard, rows[first:stop] - start))
            start += shard.shape[0]
        size = len(rows) * scores.num_classes * shards[0][0].itemsize
        if len(self._memory) < size:
            self._memory = np.empty(size, np.uint8)
        used, copies = 0, []
        for shard, own in shards:
            stop = used + len(own) * shard.shape[1] * shard.itemsize
            copies.append(_copied(shard, own, self._memory[used:stop]))
            used = stop
        return borrow_matrix("scores", copies)


class _CopiedRows:
    """Rows as a stream of copies, which is no sequence: each copy replaces the one before."""

    def __init__(self, counter: SliceCounter, rows: np.ndarray, positives: Positives, at_once: int) -> None:
        self._counter = counter
        self._rows = rows
        self._positives = positives
        self._at_once = at_once

    def __iter__(self) -> Iterator[Chunk]:
        for first in range(0, len(self._rows), self._at_once):
            stop = min(len(self._rows), first + self._at_once)
            kept = np.zeros(len(self._rows), bool)
            kept[first:stop] = True
            scores = self._counter.copied(self._rows[first:stop])
            yield Chunk(scores, self._positives.select(kept), first_row=first)


def _copied(shard: Array, rows: np.ndarray, memory: np.ndarray) -> Array:
    """Copy rows of a matrix in CPU memory, in its own order of elements."""
    bits = shard.bits()
    by_class = bits.T.flags.c_contiguous and not bits.flags.c_contiguous
    shape = (bits.shape[1], len(rows)) if by_class else (len(rows), bits.shape[1])
    out = memory.view(bits.dtype).reshape(shape)
    at_once = max(1, _AT_ONCE // max(1, bits.shape[1] * bits.itemsize))
    for first in range(0, len(rows), at_once):
        part = rows[first : first + at_once]
        if by_class:
            out[:, first : first + len(part)] = bits.T[:, part]
        elif bits.flags.c_contiguous:
            np.take(bits, part, axis=0, out=out[first : first + len(part)], mode="clip")  # other modes buffer
        else:
            out[first : first + len(part)] = bits[part]
    return of_bits(out.T if by_class else out, shard.dtype)


def evaluate_slices(
    settings: Settings,
    chunk: Chunk,
    class_info: ClassInfo,
    slices: Sequence[RowSlice],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[Slice, ...]:
    """Compute the means over each slice.

    Args:
        settings: The conventions.
        chunk: All rows.
        class_info: Facts about the classes.
        slices: The slices.
        threads: CPU threads.
        progress: Called with the fraction done.

    Returns:
        The slices, with the bits that an evaluation of their rows alone gives.
    """
    counter = SliceCounter(settings, chunk, class_info, threads=threads)
    total = sum(len(part.rows) for part in slices)
    counted, done, found = share_of_counting(settings), 0, []
    for part in slices:
        share = part_of(progress, done / total, (done + len(part.rows)) / total)
        done += len(part.rows)
        counts, _ = counter.count(part.rows, progress=part_of(share, 0.0, counted))
        groups = counts.means(class_info, part_of(share, counted, 1.0))
        found.append(Slice(part.name, part.partition, len(part.rows), groups))
    return tuple(found)
