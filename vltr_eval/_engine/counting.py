"""Evaluation of rows in several chunks, in a stream or on several ranks, with the bits of one matrix of all rows.

One chunk in one process takes one pass. Everything else takes two passes over the chunks, between which the ranks of a
distributed run exchange O(positives) numbers:

1. the distinct scores of the positives, which become the thresholds of all;
2. with sample ids, which rows there are (`row_numbers`): each is counted once, wherever and however often it came;
3. with SAP trials, the rows of the positives and the unknown cells, so that every rank draws the same negatives;
4. the counts of every threshold, summed;
5. for each drawn negative that reaches a threshold, which one;
6. with intervals, the effect of each row on each mean, after a third pass.

Thresholds that are applied, and calibration, read the scores of each chunk once more for counts of their own.

All counts are integers, so the result has the same bits however the rows are spread, and as one scan of all rows. Rows
are numbered in the order of ranks, chunks and rows within them, or in the order of their ids.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from vltr_eval._base.arrays import Matrix
from vltr_eval._base.progress import part_of
from vltr_eval._base.ranks import SINGLE_PROCESS, Communicator, SingleProcess, propagate_errors
from vltr_eval._engine.applied_thresholds import count_predicted
from vltr_eval._engine.calibration import Calibration, NoProbability, calibration_sums
from vltr_eval._engine.draws import average_trials, draw_rows, draws_per_trial
from vltr_eval._engine.effects import clustered_variances
from vltr_eval._engine.hits import Hits
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.mean_effects import (
    CORE_METRICS,
    Clusters,
    EffectColumns,
    EffectGroups,
    MeanEffect,
    effect_passes,
    in_order,
)
from vltr_eval._engine.rank_scan import NaNScore, count_reached, find_positive_scores, rank_scan
from vltr_eval._engine.rank_table import PositiveScores, RankTable
from vltr_eval._engine.results import ClassInfo, ClusterCounts, EvaluationCounts
from vltr_eval._engine.row_numbers import RowNumbers, number_by_id, number_by_order, sample_of
from vltr_eval._engine.sample_ids import id_kind, pack_ids
from vltr_eval._engine.unknown import UnknownCells
from vltr_eval.report.names import accuracy_at
from vltr_eval.report.settings import Settings

__all__ = ["Chunk", "count_chunks"]

_DRAWS_AT_ONCE = 1 << 21  # some 60 bytes each
_LEAST_MERGE = 1 << 16

# Fractions of the time of a count, roughly: when the first and, with SAP trials, the second pass ends; and the share
# of the trials' time that goes into looking up the drawn cells.
_FIRST_PASS, _SECOND_PASS, _LOOKING_UP = 0.1, 0.6, 0.8
_BEFORE_EFFECTS = 0.5  # share of the time of a count before the pass of the effects, if there is one


@dataclass(frozen=True, eq=False)
class Chunk:
    """Rows in one memory.

    Attributes:
        scores: (N, C).
        positives: The labels of these rows.
        ids: (N,) int64 or strings, as `read_ids` gives them; None where every row is a sample of its own.
        first_row: The number of the first row, for messages.
        clusters: The clusters of the rows, if all rows are in this chunk and clustered.
    """

    scores: Matrix
    positives: Positives
    ids: np.ndarray | None = None
    first_row: int = 0
    clusters: Clusters | None = None

    @property
    def num_rows(self) -> int:
        return self.scores.num_rows

    def select(self, kept: np.ndarray) -> Chunk:
        """The kept rows, at least one: a view of the scores. kept: (N,) bool."""
        if kept.all():
            return self
        runs = np.flatnonzero(np.diff(kept, prepend=False, append=False)).reshape(-1, 2).tolist()
        return Chunk(self.scores.select((start, stop) for start, stop in runs), self.positives.select(kept))


def count_chunks(
    settings: Settings,
    chunks: Iterable[Chunk],
    num_classes: int,
    *,
    class_info: ClassInfo | None = None,
    communicator: SingleProcess | Communicator = SINGLE_PROCESS,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    keep_effects: bool = False,
) -> EvaluationCounts:
    """Count everything that the settings ask for, over the chunks of all ranks.

    Args:
        settings: The conventions; the same on all ranks.
        chunks: An iterable that gives the same chunks in all passes; a rank may have none.
        num_classes: C.
        class_info: The class names, train counts and groups of the report; the same on all ranks. Intervals need the
            groups.
        communicator: The ranks.
        threads: Threads of this process.
        progress: Called with the fraction done, which never falls and ends at 1.
        keep_effects: Whether the effects of rows on groups of one's own are kept. Otherwise their errors alone are.

    Returns:
        The counts over all ranks. ``repeated_rows`` says how many rows were left out, because a row with the same id
        was counted.

    Raises:
        ValueError: Where dtypes, settings, the kind of ids or the classes differ, where one id has rows with different
            labels, and as `rank_scan`; on every rank, when it raises on one.
    """
    progress = _Progress(progress, 1.0 if settings.interval is None else _BEFORE_EFFECTS)
    class_info = class_info or ClassInfo()
    if communicator.size == 1 and isinstance(chunks, Sequence) and len(chunks) == 1 and _is_in_order(chunks[0].ids):
        found = _count_at_once(settings, chunks[0], class_info, threads, progress, keep_effects)
    else:
        passes = _TwoPasses(settings, chunks, num_classes, class_info, communicator, threads, progress, keep_effects)
        found = passes.counts()
    progress.end()
    return found


class _Progress:
    """The fraction done of a count, which has phases: what is reported never falls.

    report: called with the fraction. counted: the fraction at which all is counted, and the pass of the effects begins.
    """

    def __init__(self, report: Callable[[float], None] | None, counted: float) -> None:
        self._report = report
        self._counted = counted
        self._start, self._stop = 0.0, 1.0
        self._reported = 0.0

    def begin(self, start: float, stop: float) -> None:
        """Begins a phase that lasts from one fraction of the counting to another."""
        self._start, self._stop = start * self._counted, stop * self._counted
        self(0.0)

    def begin_effects(self) -> None:
        """Begins the phase of the effects, the last one."""
        self._start, self._stop = self._counted, 1.0
        self(0.0)

    def part(self, first: float, last: float) -> Callable[[float], None] | None:
        """A function that reports the fraction done of a part of the phase; None where nothing is reported.

        first, last: The fractions of the phase at which the part begins and ends.
        """
        return None if self._report is None else part_of(self, first, last)

    def end(self) -> None:
        """Reports that all is done."""
        self._start, self._stop = 1.0, 1.0
        self(1.0)

    def __call__(self, fraction: float) -> None:
        """Reports the fraction done of the phase."""
        if self._report is not None:
            self._reported = max(self._reported, self._start + (self._stop - self._start) * fraction)
            self._report(self._reported)


@contextlib.contextmanager
def _rows_named(chunk: Chunk, kept: np.ndarray | None = None) -> Iterator[None]:
    """A context that names a NaN by its row of all rows. kept: (N,) bool, the rows of the chunk that are counted."""
    try:
        yield
    except NaNScore as error:
        row = error.row if kept is None else int(np.flatnonzero(kept)[error.row])
        raise NaNScore(chunk.first_row + row, error.col) from None
    except NoProbability as error:
        row = error.row if kept is None else int(np.flatnonzero(kept)[error.row])
        raise NoProbability(chunk.first_row + row, error.col, error.value) from None


def _is_in_order(ids: np.ndarray | None) -> bool:
    return ids is None or bool(np.all(ids[1:] > ids[:-1]))


def _count_at_once(
    settings: Settings,
    chunk: Chunk,
    class_info: ClassInfo,
    threads: int | None,
    progress: _Progress,
    keep_effects: bool,
) -> EvaluationCounts:
    more = _MoreCounts(settings, class_info)
    if more.share:
        progress.begin(0.0, more.share)
        more.check_labels(chunk.positives)
        with _rows_named(chunk):
            more.add(chunk, threads, progress.part(0.0, 1.0))
    progress.begin(more.share, 1.0)
    with _rows_named(chunk):
        found = rank_scan(
            chunk.scores,
            chunk.positives,
            trials=settings.trials,
            seed=settings.seed,
            ranks=bool(settings.topk),
            threads=threads,
            progress=progress.part(0.0, 1.0),
        )
    hits = Hits.from_ranks(found.ranks, chunk.positives, settings.topk, threads=threads)
    counts = more.complete(EvaluationCounts(settings, found.table, found.trials, hits, found.ranks))
    if settings.interval is None:
        return counts
    progress.begin_effects()
    clusters = chunk.clusters
    factors = None if clusters is None else clusters.effect_factors(chunk.positives)
    clustered = None if clusters is None else (clusters, chunk.positives)
    passes = _effect_passes(settings, class_info, chunk.num_rows, keep_effects)
    kept = _KeptEffects(keep_effects, clusters)
    for number, groups in enumerate(passes):
        columns = EffectColumns(
            settings, groups.members, found.table, hits, factors, clustered, with_overall=groups.with_overall
        )
        share = progress.part(number / len(passes), (number + 1) / len(passes))
        of_rows = columns.of_rows(chunk.scores, chunk.positives, found.ranks, threads=threads, progress=share)
        kept.add(groups, columns.effects(*of_rows))
    of_clusters = None if clusters is None else _count_clusters(counts, hits, chunk, clusters, threads)
    return replace(counts, effects=kept.effects, errors=kept.errors, clustered=of_clusters)


def _effect_passes(settings: Settings, class_info: ClassInfo, num_rows: int, keep_effects: bool) -> list[EffectGroups]:
    """The groups of each pass of the effects. Raises ValueError for more effects than can be kept."""
    own = sum(len(groups) for _, groups in class_info.own_partitions)
    if keep_effects and 8 * num_rows * own * len(settings.estimated) > _MOST_KEPT:
        most = _MOST_KEPT // (8 * num_rows * len(settings.estimated))
        raise ValueError(
            f"groups: expected at most {most:,} groups of one's own in an evaluation that is kept for comparisons of "
            f"{num_rows:,} rows, got {own:,}; leave partitions out"
        )
    return effect_passes(settings, class_info.groups, class_info.partitions, num_rows)


_MOST_KEPT = 2 << 30  # bytes


class _KeptEffects:
    """The effects that are kept, and the errors of the others.

    keep_own: keep those on groups of one's own, which may be hundreds. clusters: of the rows, if they are clustered.
    """

    def __init__(self, keep_own: bool, clusters: Clusters | None) -> None:
        self.effects: dict[str, MeanEffect] = {}
        self.errors: dict[str, float] = {}
        self._keep_own = keep_own
        self._clusters = clusters

    def add(self, groups: EffectGroups, effects: dict[str, MeanEffect]) -> None:
        """Keep the effects of one pass, or their errors."""
        if self._keep_own or not groups.is_own:
            self.effects |= effects
        else:
            self.errors |= {name: effect.clustered_error(self._clusters) for name, effect in effects.items()}


def _count_clusters(
    counts: EvaluationCounts, hits: Hits, chunk: Chunk, clusters: Clusters, threads: int | None
) -> ClusterCounts:
    positives, variances = chunk.positives, {}
    for metric in counts.settings.estimated:
        if metric in CORE_METRICS:
            variances[metric] = clustered_variances(
                chunk.scores, positives, counts.table, CORE_METRICS[metric], clusters.of_row, threads=threads
            )
    ranks = np.asarray(counts.ranks)  # there are ranks if there is a k
    for k in hits.topk:
        variances[accuracy_at(k)] = clusters.accuracy_variances(positives, (ranks >= 0) & (ranks < k))
    return ClusterCounts(clusters, clusters.with_positives(positives), clusters.labelled(positives), variances)


class _MoreCounts:
    """The counts at thresholds and of calibration, chunk by chunk. They are integers, which add up over chunks."""

    def __init__(self, settings: Settings, class_info: ClassInfo) -> None:
        self._applied = None if settings.thresholds is None else class_info.thresholds
        self._bins = settings.calibration
        self._dtype = ""
        self._num_rows = 0
        self._predicted: np.ndarray | None = None
        self._sums: np.ndarray | None = None

    @property
    def share(self) -> float:
        """The share of these counts in the time of a count, roughly."""
        return 0.15 * (self._applied is not None) + 0.25 * (self._bins is not None)

    @property
    def checks_labels(self) -> bool:
        """Whether `check_labels` needs the labels of all rows."""
        return self._applied is not None and self._applied.source is not None and self._applied.same_set is None

    def check_labels(self, positives: Positives) -> None:
        """Raise ValueError if the thresholds were chosen on these labels of all rows, unless that is allowed."""
        if self._applied is not None:
            self._applied = self._applied.checked_for(positives)

    def add(self, chunk: Chunk, threads: int | None, progress: Callable[[float], None] | None = None) -> None:
        """Count the rows of a chunk."""
        both = self._applied is not None and self._bins is not None
        if self._bins is not None:
            sums = calibration_sums(
                chunk.scores,
                chunk.positives,
                self._bins,
                threads=threads,
                progress=part_of(progress, 0.0, 0.6 if both else 1.0),
            )
            self._sums = sums if self._sums is None else self._sums + sums
        if self._applied is not None:
            self._dtype = chunk.scores.dtype
            predicted = count_predicted(
                chunk.scores,
                self._applied.for_scores(self._dtype),
                unknown=chunk.positives.unknown,
                threads=threads,
                progress=part_of(progress, 0.6 if both else 0.0, 1.0),
            )
            self._predicted = predicted if self._predicted is None else self._predicted + predicted
        self._num_rows += chunk.num_rows

    def reduce(self, communicator: SingleProcess | Communicator, num_classes: int, dtype: str) -> None:
        """Sum the counts of all ranks, some of which may have no rows. dtype: that of the scores of all ranks."""
        self._dtype = dtype

        def own() -> np.ndarray:
            parts = [np.array([self._num_rows], np.int64)]
            if self._applied is not None:
                parts.append(np.zeros(num_classes, np.int64) if self._predicted is None else self._predicted)
            if self._bins is not None:
                shape = num_classes, 4 * self._bins + 4
                parts.append((np.zeros(shape, np.int64) if self._sums is None else self._sums).ravel())
            return np.concatenate(parts)

        if self._applied is None and self._bins is None:
            return
        total = communicator.all_reduce(own, most=2**63 - 1)
        self._num_rows, total = int(total[0]), total[1:]
        if self._applied is not None:
            self._predicted, total = total[:num_classes], total[num_classes:]
        if self._bins is not None:
            self._sums = total.reshape(num_classes, 4 * self._bins + 4)

    def complete(self, counts: EvaluationCounts) -> EvaluationCounts:
        """The counts of an evaluation with these."""
        calibration = None
        if self._bins is not None and self._sums is not None:
            calibration = Calibration(self._bins, self._num_rows, self._sums)
        return replace(
            counts,
            applied=self._applied,
            predicted=self._predicted,
            dtype=self._dtype,
            calibration=calibration,
        )


@dataclass(frozen=True, eq=False)
class _Seen:
    """The results of a rank's first pass, which it sends to all ranks."""

    settings: Settings
    num_classes: int
    class_info: str  # ClassInfo.fingerprint
    num_rows: int
    dtype: str | None  # None: no rows
    id_kind: str | None  # None: no ids
    id_sample: np.ndarray | None
    scores: PositiveScores | None
    has_unknown: bool


class _TwoPasses:
    """The protocol above, step by step."""

    def __init__(
        self,
        settings: Settings,
        chunks: Iterable[Chunk],
        num_classes: int,
        class_info: ClassInfo,
        communicator: SingleProcess | Communicator,
        threads: int | None,
        progress: _Progress,
        keep_effects: bool,
    ) -> None:
        self._keep_effects = keep_effects
        self._settings = settings
        self._chunks = chunks
        self._num_classes = num_classes
        self._class_info = class_info
        self._communicator = communicator
        self._threads = threads
        self._progress = progress
        # A stream may be costly to go through, and may not be the same again.
        self._is_stream = not isinstance(chunks, Sequence)

    def counts(self) -> EvaluationCounts:
        with propagate_errors(self._communicator):
            found = self._counts()
            self._communicator.barrier()  # so that a last failure on one rank is raised on all
        return found

    def _counts(self) -> EvaluationCounts:
        self._progress.begin(0.0, _FIRST_PASS)
        everyone = self._communicator.all_gather(self._first_pass)
        _check_agreement(everyone)
        thresholds = _merged([seen.scores for seen in everyone if seen.scores is not None])
        self._has_unknown = any(seen.has_unknown for seen in everyone)
        self._numbers = self._number_rows(everyone)
        more = self._more = _MoreCounts(self._settings, self._class_info)
        positives = self._positives_of_all() if self._settings.trials or more.checks_labels else None
        if positives is not None:
            more.check_labels(positives)
        positives = positives if self._settings.trials else None
        self._progress.begin(_FIRST_PASS, _SECOND_PASS if self._settings.trials else 1.0)
        sums = self._communicator.all_reduce(lambda: self._second_pass(thresholds, positives), most=self._numbers.total)
        more.reduce(self._communicator, self._num_classes, next(seen.dtype for seen in everyone if seen.dtype))
        hits, table = self._unpack(sums, thresholds)
        # Thresholds that only rows left out have are removed.
        kept = table.positives_at() > 0
        table = table.select(kept)
        self._progress.begin(_SECOND_PASS, 1.0)
        trials = None if positives is None else self._sample(table, kept, thresholds, positives)
        counts = EvaluationCounts(self._settings, table, trials, hits, repeated_rows=self._numbers.repeated)
        if self._settings.interval is not None:
            of_rows = self._effects(table, hits)
            counts = replace(counts, effects=of_rows.effects, errors=of_rows.errors)
        return more.complete(counts)

    # The first pass, and the numbers of rows.

    def _first_pass(self) -> _Seen:
        scores: list[PositiveScores] = []
        rows: list[np.ndarray] = []
        classes: list[np.ndarray] = []
        ids: list[np.ndarray] = []
        unknown: list[UnknownCells | None] = []
        sizes: list[int] = []
        self._prints = []
        dtype, num_rows, unmerged = None, 0, 0
        total = None if self._is_stream else sum(chunk.num_rows for chunk in self._chunks)
        for chunk in self._chunks:
            self._check_chunk(chunk, dtype, ids[-1:] if num_rows else None)
            dtype = chunk.scores.dtype
            with _rows_named(chunk):
                scores.append(find_positive_scores(chunk.scores, chunk.positives, threads=self._threads))
            if self._is_stream:
                self._prints.append(_fingerprint(chunk, scores[-1]))
            rows.append(chunk.positives.rows.astype(np.int64) + num_rows)
            classes.append(np.repeat(np.arange(self._num_classes, dtype=np.uint32), chunk.positives.counts))
            unknown.append(chunk.positives.unknown)
            sizes.append(chunk.num_rows)
            if chunk.ids is not None:
                ids.append(chunk.ids)
            num_rows += chunk.num_rows
            if total is not None:
                self._progress(num_rows / total)
            unmerged += len(scores[-1].scores) + self._num_classes
            # Merge when as many are unmerged as merged, so that each score is sorted O(log) times.
            if unmerged > max(len(scores[0].scores), _LEAST_MERGE):
                scores, unmerged = [_merged(scores)], 0
        self._rows = np.concatenate([np.empty(0, np.int64), *rows])
        self._classes = np.concatenate([np.empty(0, np.uint32), *classes])
        self._ids = np.concatenate(ids) if ids else None
        # Cells are needed for draws and for rows that come twice. Other counts take them from the chunks.
        needed = self._settings.trials > 0 or self._ids is not None
        self._unknown = UnknownCells.joined(unknown, sizes) if needed else None
        self._num_rows = num_rows
        return _Seen(
            self._settings,
            self._num_classes,
            self._class_info.fingerprint,
            num_rows,
            dtype,
            id_kind(self._ids),
            None if self._ids is None else sample_of(self._ids),
            _merged(scores) if scores else None,
            any(cells is not None for cells in unknown),
        )

    def _check_chunk(self, chunk: Chunk, dtype: str | None, last_ids: list[np.ndarray] | None) -> None:
        """Raise for a chunk that does not fit those before it. last_ids: ids of the last one; None: there is none."""
        if chunk.scores.num_classes != self._num_classes:
            raise ValueError(f"scores: expected {self._num_classes} classes, got {chunk.scores.num_classes}")
        if dtype not in (None, chunk.scores.dtype):
            raise ValueError(f"scores: expected {dtype} as before, got {chunk.scores.dtype}")
        if last_ids is None:
            return
        if bool(last_ids) != (chunk.ids is not None):
            raise ValueError("ids: expected sample ids with all rows or with none, got them with some")
        if last_ids and id_kind(chunk.ids) != id_kind(last_ids[0]):
            raise ValueError(f"ids: expected {id_kind(last_ids[0])} as before, got {id_kind(chunk.ids)}")

    def _number_rows(self, everyone: Sequence[_Seen]) -> RowNumbers:
        samples = [seen.id_sample for seen in everyone if seen.id_sample is not None]
        if not samples:
            return number_by_order(self._communicator, [seen.num_rows for seen in everyone])
        return number_by_id(self._communicator, samples, self._ids, self._rows, self._classes, self._unknown)

    def _positives_of_all(self) -> Positives:
        if self._numbers.total >= 2**32:
            raise ValueError(f"sap: expected fewer than {2**32} rows to draw from, got {self._numbers.total}")

        def own() -> tuple[np.ndarray, np.ndarray]:
            numbers = self._numbers.of(self._rows)
            kept = numbers >= 0
            return self._classes[kept], numbers[kept].astype(np.uint32)

        def own_unknown() -> tuple[np.ndarray, UnknownCells | None]:
            if self._unknown is None:
                return np.empty(0, np.int64), None
            return self._numbers.of(np.arange(self._num_rows)), self._unknown

        classes, rows = (np.concatenate(column) for column in zip(*self._communicator.all_gather(own), strict=True))
        unknown = None
        if self._has_unknown:
            cells = self._communicator.all_gather(own_unknown)
            unknown = UnknownCells.joined_by_number(cells, self._numbers.total, self._num_classes)
        indptr = np.zeros(self._num_classes + 1, np.int64)
        np.cumsum(np.bincount(classes, minlength=self._num_classes), out=indptr[1:])
        return Positives(self._numbers.total, self._num_classes, indptr, rows[np.lexsort((rows, classes))], unknown)

    # The second pass, and the trials.

    def _each_chunk(self) -> Iterator[tuple[int, Chunk]]:
        """Parts with the number of their first row on this rank."""
        start = 0
        for chunk in self._chunks:
            yield start, chunk
            start += chunk.num_rows

    def _second_pass(self, thresholds: PositiveScores, positives: Positives | None) -> np.ndarray:
        settings = self._settings
        # The draws of a stream are looked up while it passes.
        draws = None
        if self._is_stream and positives is not None:
            draws = self._draws = self._draw(range(settings.trials), positives, in_order=True)
        self._ranks: list[np.ndarray | None] = []
        hits = np.zeros(1 + len(settings.topk) * (1 + self._num_classes), np.int64)
        counts = np.zeros((3, len(thresholds.scores)), np.int64)
        unknown = np.zeros(self._num_classes if self._has_unknown else 0, np.int64)
        again = iter(self._prints)
        for start, chunk in self._each_chunk():
            if self._is_stream and next(again, None) != _fingerprint(chunk, threads=self._threads):
                raise _not_again()
            kept = self._numbers.kept(start, start + chunk.num_rows)
            if kept.any():
                counted = chunk.select(kept)
                with _rows_named(chunk, kept):
                    self._more.add(counted, self._threads)
                    found = rank_scan(
                        counted.scores,
                        counted.positives,
                        ranks=bool(settings.topk),
                        thresholds=thresholds,
                        threads=self._threads,
                        progress=self._progress.part(start / self._num_rows, (start + chunk.num_rows) / self._num_rows),
                    )
                if settings.interval is not None:
                    self._ranks.append(found.ranks)
                of_chunk = Hits.from_ranks(found.ranks, counted.positives, settings.topk)
                hits += np.concatenate([[of_chunk.labelled], of_chunk.rows, of_chunk.classes.ravel()])
                counts += (found.table.tp, found.table.fp, found.table.tied)
                if counted.positives.unknown is not None:
                    unknown += counted.positives.unknown.counts
            if draws is not None:
                draws.look_up(start, chunk, thresholds)
        if self._is_stream and next(again, None) is not None:
            raise _not_again()
        return np.concatenate([hits, unknown, counts.ravel()])

    def _unpack(self, sums: np.ndarray, thresholds: PositiveScores) -> tuple[Hits, RankTable]:
        topk, num_classes = self._settings.topk, self._num_classes
        sizes = [1, len(topk), len(topk) * num_classes, num_classes if self._has_unknown else 0]
        labelled, rows, classes, unknown, counts = np.split(sums, np.cumsum(sizes))
        hits = Hits(topk, int(labelled[0]), rows, classes.reshape(len(topk), num_classes))
        counts = counts.reshape(3, len(thresholds.scores))
        of_classes = unknown if unknown.any() else None
        return hits, RankTable(self._numbers.total, thresholds.indptr, thresholds.scores, *counts, unknown=of_classes)

    def _sample(
        self,
        table: RankTable,
        kept: np.ndarray,
        thresholds: PositiveScores,
        positives: Positives,
    ) -> np.ndarray:
        """AP of each trial: (T, C) float64."""
        num_trials = self._settings.trials
        at_once = num_trials
        if not self._is_stream:
            at_once = _trials_at_once(positives, len(kept))
        trials = []
        for first in range(0, num_trials, at_once):
            block = range(first, min(num_trials, first + at_once))
            found = self._communicator.all_gather(partial(self._find, block, positives, thresholds))
            drawn = _by_threshold(np.concatenate(found).astype(np.int64), len(block), thresholds.indptr, kept)
            trials.append(average_trials(table, drawn, threads=self._threads))
            self._progress(block.stop / num_trials)
        return np.concatenate(trials)

    # The third pass.

    def _effects(self, table: RankTable, hits: Hits) -> _KeptEffects:
        """The effects of the rows of all ranks; groups of one's own take further passes."""
        self._progress.begin_effects()
        passes = _effect_passes(self._settings, self._class_info, self._numbers.total, self._keep_effects)
        kept = _KeptEffects(self._keep_effects, None)
        for number, groups in enumerate(passes):
            columns = EffectColumns(self._settings, groups.members, table, hits, with_overall=groups.with_overall)
            share = number / len(passes), 1 / len(passes)
            everyone = self._communicator.all_gather(partial(self._third_pass, columns, *share))
            with_rows = [part for part in everyone if len(part[0])]
            exponents = with_rows[0][2]  # of the table alone, so the same on all ranks
            in_columns = in_order([(numbers, of_rank) for numbers, of_rank, _ in with_rows], self._numbers.total)
            kept.add(groups, columns.effects(in_columns, exponents))
        return kept

    def _third_pass(
        self, columns: EffectColumns, done: float, share: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The numbers of the counted rows of this rank, their columns and the exponents of these.

        done, share: the fractions of the passes of the effects that come before this one, and that it is.
        """
        parts: list[np.ndarray] = []
        numbers: list[np.ndarray] = []
        exponents = np.empty(0, np.int64)
        again, ranks = iter(self._prints), iter(self._ranks)
        for start, chunk in self._each_chunk():
            stop = start + chunk.num_rows
            if self._is_stream and next(again, None) != _fingerprint(chunk, threads=self._threads):
                raise _not_again("all passes", "third")
            kept = self._numbers.kept(start, stop)
            if kept.any():
                counted = chunk.select(kept)
                with _rows_named(chunk, kept):
                    part, exponents = columns.of_rows(
                        counted.scores,
                        counted.positives,
                        next(ranks),
                        threads=self._threads,
                        progress=self._progress.part(
                            done + share * start / self._num_rows, done + share * stop / self._num_rows
                        ),
                    )
                parts.append(part)
                numbers.append(self._numbers.of(np.flatnonzero(kept) + start))
        if self._is_stream and next(again, None) is not None:
            raise _not_again("all passes", "third")
        if not parts:
            return np.empty(0, np.int64), np.empty((0, 0), np.int64), exponents
        return np.concatenate(numbers), np.concatenate(parts), exponents

    def _find(self, trials: range, positives: Positives, thresholds: PositiveScores) -> np.ndarray:
        """The thresholds that the draws of this rank reach, as `_Draws.found`."""
        if self._is_stream:
            return self._draws.found()
        draws = self._draw(trials, positives, in_order=isinstance(self._chunks, Sequence) and len(self._chunks) > 1)
        for start, chunk in self._each_chunk():
            draws.look_up(start, chunk, thresholds)
            done = (start + chunk.num_rows) / self._num_rows
            self._progress((trials.start + len(trials) * _LOOKING_UP * done) / self._settings.trials)
        return draws.found()

    def _draw(self, trials: range, positives: Positives, *, in_order: bool) -> _Draws:
        seed = self._settings.seed
        return _Draws(positives, trials, seed, self._numbers, in_order=in_order, threads=self._threads)


def _trials_at_once(positives: Positives, num_thresholds: int = 0) -> int:
    """So many that neither their draws nor their counts at the thresholds take much memory."""
    return max(1, _DRAWS_AT_ONCE // max(1, int(draws_per_trial(positives).sum()), num_thresholds))


def _check_agreement(everyone: Sequence[_Seen]) -> None:
    first = everyone[0]
    with_rows = [(rank, seen) for rank, seen in enumerate(everyone) if seen.num_rows]
    if not with_rows:
        raise ValueError("scores: expected at least one row, got none")
    for rank, seen in enumerate(everyone):
        if (seen.settings, seen.num_classes) != (first.settings, first.num_classes):
            raise ValueError(
                f"settings: expected the same on all ranks, got {first.num_classes} classes and {first.settings} on "
                f"rank 0, {seen.num_classes} classes and {seen.settings} on rank {rank}"
            )
        if seen.class_info != first.class_info:
            raise ValueError(
                "train_counts and class_names: expected the same on all ranks, got different ones on rank 0 and on "
                f"rank {rank}{'; groups must be the same too' if first.settings.partitions else ''}"
            )
    (one, seen), *others = with_rows
    for rank, other in others:
        if other.dtype != seen.dtype:
            raise ValueError(
                f"scores: expected one dtype on all ranks, got {seen.dtype} on rank {one} and {other.dtype} on {rank}"
            )
        if None in (other.id_kind, seen.id_kind) and other.id_kind != seen.id_kind:
            raise ValueError(
                f"ids: expected sample ids on all ranks or on none, got them on rank {one if seen.id_kind else rank} "
                f"and not on {rank if seen.id_kind else one}"
            )
        if other.id_kind != seen.id_kind:
            raise ValueError(
                f"ids: expected one kind on all ranks, got {seen.id_kind} on rank {one} and {other.id_kind} on {rank}"
            )


def _merged(scores: Sequence[PositiveScores]) -> PositiveScores:
    return scores[0].merge(*scores[1:]) if len(scores) > 1 else scores[0]


def _fingerprint(chunk: Chunk, scores: PositiveScores | None = None, *, threads: int | None = None) -> tuple[int, int]:
    """The number of rows of a chunk, and a checksum of its ids, its positives, their scores and its unknown cells."""
    positives = chunk.positives
    if scores is None:
        scores = find_positive_scores(chunk.scores, positives, threads=threads)
    arrays = [positives.indptr, positives.rows, scores.indptr, scores.scores]
    arrays += [] if positives.unknown is None else positives.unknown.compact().arrays()
    arrays += [] if chunk.ids is None else pack_ids(chunk.ids).values()
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, crc)
    return chunk.num_rows, crc


def _not_again(passes: str = "both passes", which: str = "second") -> ValueError:
    return ValueError(f"batches: expected the same scores and labels in {passes}, got different ones in the {which}")


class _Draws:
    """The negatives of some trials that this rank has, and what has been found of them.

    in_order: sort the draws by row, for lookups chunk by chunk.
    """

    def __init__(
        self,
        positives: Positives,
        trials: range,
        seed: int,
        numbers: RowNumbers,
        *,
        in_order: bool,
        threads: int | None = None,
    ) -> None:
        self._num_trials = len(trials)
        self._in_order = in_order
        self._threads = threads
        self._found: list[np.ndarray] = []
        self._draws = draws_per_trial(positives)
        at_once = _trials_at_once(positives)
        blocks = [trials[first : first + at_once] for first in range(0, len(trials), at_once)]
        own = [self._own(positives, block, trials.start, seed, numbers) for block in blocks]
        columns = [np.concatenate(column) for column in zip(*own, strict=True)]
        if in_order:
            order = np.argsort(columns[0], kind="stable")
            columns = [column[order] for column in columns]
        self._rows, self._classes, self._trials = columns

    def _own(
        self, positives: Positives, trials: range, first_trial: int, seed: int, numbers: RowNumbers
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, class and trial, counted from the first, of the draws that this rank has: 4 bytes each."""
        drawn = draw_rows(positives, trials.start, len(trials), seed, threads=self._threads)
        rows = numbers.find(drawn)
        own = np.flatnonzero(rows >= 0)
        first_of_class = np.concatenate([[0], np.cumsum(self._draws * len(trials))])
        classes = np.searchsorted(first_of_class, own, side="right") - 1
        trial = (own - first_of_class[classes]) // self._draws[classes] + (trials.start - first_trial)
        return rows[own].astype(np.uint32), classes.astype(np.uint32), trial.astype(np.uint32)

    def look_up(self, start: int, chunk: Chunk, thresholds: PositiveScores) -> None:
        """Look up the draws in a chunk whose first row is row ``start`` of this rank."""
        here = slice(None)
        if self._in_order:
            here = slice(*np.searchsorted(self._rows, (start, start + chunk.num_rows)))
        classes, trials = self._classes[here], self._trials[here]
        if not len(classes):
            return
        of_cells = count_reached(chunk.scores, self._rows[here] - start, classes, thresholds, threads=self._threads)
        above = np.flatnonzero(of_cells)
        first_reached = thresholds.indptr[classes[above] + 1] - of_cells[above]
        keys = len(thresholds.scores)
        found = trials[above].astype(np.int64) * keys + first_reached
        self._found.append(found.astype(np.uint32 if self._num_trials * keys < 2**32 else np.int64))

    def found(self) -> np.ndarray:
        """trial * K + the first threshold that is reached, of every draw that reaches one."""
        return np.concatenate(self._found or [np.empty(0, np.uint32)])


def _by_threshold(found: np.ndarray, num_trials: int, indptr: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Draws by trial and by the first of the kept thresholds that they reach: (T, K) int32."""
    trials, first = np.divmod(found, len(kept))
    before = np.concatenate([[0], np.cumsum(kept)])
    classes = np.searchsorted(indptr, first, side="right") - 1
    stays = before[first] < before[indptr[classes + 1]]
    keys = int(before[-1])
    found = trials[stays] * keys + before[first[stays]]
    return np.bincount(found, minlength=num_trials * keys).reshape(num_trials, keys).astype(np.int32)
