"""Evaluation of a stream of batches, which is read twice and never held in memory as a whole."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vltr_eval._base.arguments import unknown_keyword
from vltr_eval._base.arrays import as_columns, borrow_matrix, num_threads
from vltr_eval._base.progress import part_of
from vltr_eval._base.ranks import current_group, propagate_errors
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.label_marks import positives_with_unknown, read_positives
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.options import EvalOptions, EvalOptionsDict, Unpack
from vltr_eval._engine.results import share_of_counting
from vltr_eval._engine.row_store import RowStore
from vltr_eval._engine.sample_ids import id_kind, read_ids
from vltr_eval._engine.unknown import UnknownCells
from vltr_eval.evaluator import check_no_labels, check_whole
from vltr_eval.formats import ClassNames, InputError, LabelPairs, Spec, is_spec, read_pair, split_spec
from vltr_eval.formats.unknown_marks import read_marks
from vltr_eval.report.report import Report

__all__ = ["ShardFiles", "evaluate_batches"]

_PILE_BYTES = 16 << 20


def evaluate_batches(
    batches: Iterable[Any] | Callable[[], Iterable[Any]],
    num_classes: int,
    *,
    unknown: Any = None,
    process_group: Any = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    **options: Unpack[EvalOptionsDict],
) -> Report:
    """Evaluate a stream of batches that is never in memory as a whole.

    The stream is read twice. The first pass looks only at the scores of positives; the second counts all scores. With
    ``interval`` a third pass follows, for the effect of each row. Under torch.distributed this is a collective: each
    rank reads its own batches and gets the report over all rows.

    Extra memory: small batches are copied together, 16 MiB at a time. Each label takes a dozen bytes. Each draw of a
    SAP trial that is a row of this process takes 12 bytes to keep and 24 to sort. Intervals take some 8 bytes for each
    row, metric and group.

    Args:
        batches: An iterable of (scores, labels) or (scores, labels, ids), as `Evaluator.update` takes them, or a
            function that returns one. It must give the same batches each time: a list, a data loader that does not
            shuffle, or `ShardFiles`. Labels may be `Positives` with unknown cells.
        num_classes: C.
        unknown: The value of labels that marks an unknown cell; see `vltr_eval.evaluate`.
        process_group: Process group of the ranks; None for all ranks.
        threads: Number of CPU threads of this process; all cores if None.
        progress: Called with the fraction done, which never falls and ends at 1.
        **options: sap, seed, topk, train_counts, bounds, groups, class_names, absent, interval, thresholds,
            allow_same_set and calibration; see `EvalOptions`.

    Returns:
        The `Report` of all rows.

    Raises:
        TypeError: The batches are an iterator, which can be read only once, or an option does not exist.
        ValueError: The second pass has other rows, ids, labels or scores of positives than the first. (The scores of
            negatives are read only in the second pass.) Or one id has different labels.
        RankFailure: Another rank raised an error.

    Example:
        >>> batches = [(np.float32([[.9], [.8]]), [[0], []]), (np.float32([[.7]]), [{0}])]
        >>> evaluate_batches(batches, 1, sap=None, topk=None).metrics()["mAP"]
        0.8333333333333333
    """
    communicator = current_group(process_group)
    with propagate_errors(communicator):
        num_classes = check_whole("num_classes", num_classes, 1)
        num_threads(threads)  # raises
        chosen = EvalOptions.from_keywords(options, evaluate_batches)
        settings, class_info = chosen.checked(num_classes)
        stream = _Stream(batches, num_classes, threads, class_info.names, unknown)
    counted = share_of_counting(settings)
    counting = part_of(progress, 0.0, counted)
    counts = count_chunks(
        settings,
        stream,
        num_classes,
        class_info=class_info,
        communicator=communicator,
        threads=threads,
        progress=counting,
    )
    everyone = communicator.all_gather(
        lambda: (stream.files.read_names, stream.files.read_notes) if stream.files else None
    )
    read = [of_rank for of_rank in everyone if of_rank is not None]
    class_info = replace(class_info, names=_names_of_all([names for names, _ in read]) or class_info.names)
    report = counts.report(class_info, part_of(progress, counted, 1.0))
    return replace(report, notes=(*_shortened([note for _, notes in read for note in notes]), *report.notes))


class ShardFiles:
    """Predictions and labels in files, shard by shard, for `evaluate_batches`; one shard is open at a time.

    The first shard that names its classes decides the class order. The columns of all scores and labels are matched to
    these names, and other names are refused. Columns without names are matched by position. If both files of a shard
    have ids, their rows are joined by id; otherwise by position.

    Several rows may have the id of one video, so ids only join by default. With ``sample_ids=True`` a row whose id came
    before is the same sample again and is counted once.

    Args:
        preds: Files of scores: a list or a pattern, in any format that `read_scores` reads.
        labels: The same number of label files, in the same order.
        sample_ids: Whether the row ids identify samples. Every shard must then have ids.
        class_names: C names, in class order, used instead of those of the first shard. The ``class_names`` of
            `evaluate_batches` take precedence over both.
        **reading: How each pair of files is read: ids, label_ids (names of columns), columns, exclude, header,
            label_form, join and unknown (no file), as in `evaluate`.

    Raises:
        InputError: There is no file, or the number of label files differs. Reading the files raises as `evaluate` does.
        TypeError: An option of reading does not exist.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/preds_0.npy", np.float32([[.9, .1], [.8, .7], [.7, .2]]))
        ...     np.save(f"{folder}/labels_0.npy", np.uint8([[1, 0], [0, 1], [1, 0]]))
        ...     files = ShardFiles(f"{folder}/preds_*.npy", f"{folder}/labels_*.npy")
        ...     report = evaluate_batches(files, num_classes=2, sap=None, topk=None)
        >>> round(report.metrics()["mAP"], 4)
        0.9167
    """

    def __init__(
        self,
        preds: Spec,
        labels: Spec,
        *,
        sample_ids: bool = False,
        class_names: Sequence[str] | None = None,
        **reading: Any,
    ) -> None:
        if unknown := set(reading) - _READING:
            raise unknown_keyword(min(unknown), sorted(_READING))
        self._files = list(zip(*_paired(split_spec(preds), split_spec(labels)), strict=True))
        self._sample_ids = sample_ids
        self._class_names = None if class_names is None else ClassNames.from_names(class_names)
        self._reading = reading
        # Class names and notes of the last pass over the files.
        self.read_names: tuple[str, ...] | None = None
        self.read_notes: tuple[str, ...] = ()

    def in_order(self, class_names: Sequence[str] | None) -> ShardFiles:
        """The same files, with their classes in the requested order, if any."""
        files = copy.copy(self)
        if class_names is not None:
            files._class_names = ClassNames.from_names(class_names)
        return files

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        names = self._class_names
        marks = read_marks(self._reading.get("unknown"))
        notes: list[str] = []
        for preds, labels in self._files:
            pair = read_pair(preds, labels, class_names=names, **self._reading)
            named = pair.class_names
            if names is None and named is not None:
                names = ClassNames.from_names(named, preds)
            notes.extend(pair.notes)
            if self._sample_ids and pair.ids is None:
                raise InputError(f"{preds}: expected ids of the samples, got none; name their column by ids=")
            ids = pair.ids if self._sample_ids else None
            if marks is not None or pair.masks:
                scores = borrow_matrix("scores", pair.scores)
                shape = scores.num_rows, scores.num_classes
                positives = positives_with_unknown(pair.labels, *shape, marks, pair.masks, scores=scores)
                yield pair.scores, positives, ids
            else:
                yield (pair.scores, pair.labels, ids) if self._sample_ids else (pair.scores, pair.labels)
        self.read_names, self.read_notes = None if names is None else names.names, tuple(notes)


_READING = frozenset({"ids", "label_ids", "columns", "exclude", "header", "label_form", "join", "unknown"})
_MOST_NOTES = 5


def _names_of_all(of_ranks: Sequence[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """The class names that the shards of all ranks have in common."""
    named = {names for names in of_ranks if names is not None}
    if len(named) > 1:
        raise ValueError("class_names: expected one order of classes on all ranks, got several; pass class_names=")
    return next(iter(named), None)


def _shortened(notes: Sequence[str]) -> Sequence[str]:
    """The first notes and the number of the others, since many shards may have the same note."""
    if len(notes) <= _MOST_NOTES:
        return notes
    return (*notes[:_MOST_NOTES], f"{len(notes) - _MOST_NOTES} more notes of this kind about other shards")


def _paired(preds: list[str], labels: list[str]) -> tuple[list[str], list[str]]:
    if len(preds) != len(labels):
        raise ValueError(f"labels: expected a file for each of {len(preds)} shards, got {len(labels)}")
    return preds, labels


class _Stream:
    """The batches as chunks; each iteration reads them again."""

    def __init__(
        self,
        batches: Iterable[Any] | Callable[[], Iterable[Any]],
        num_classes: int,
        threads: int | None,
        class_names: Sequence[str] | None,
        unknown: Any = None,
    ) -> None:
        self._unknown = read_marks(unknown)
        if isinstance(batches, Iterator):
            raise TypeError(
                f"batches: expected what can be gone through twice, got {type(batches).__name__}; pass a function that "
                "makes it anew"
            )
        if is_spec(batches):
            raise TypeError("batches: expected an iterable or a function, got a path; pass ShardFiles(preds, labels)")
        if not isinstance(batches, Iterable) and not callable(batches):
            raise TypeError(f"batches: expected an iterable or a function, got {type(batches).__name__}")
        self._batches = batches
        self._num_classes = num_classes
        self._threads = threads
        self._class_names = class_names
        self.files: ShardFiles | None = None  # the batches of the last pass, if they are files

    def __iter__(self) -> Iterator[Chunk]:
        batches = self._batches() if callable(self._batches) else self._batches
        if isinstance(batches, ShardFiles):
            batches = self.files = batches.in_order(self._class_names)
        first_row = 0
        pile: _Pile | None = None
        for i, batch in enumerate(batches):
            try:
                chunk = self._chunk(batch, first_row)
            except (TypeError, ValueError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"batch {i}: {error}") from None
            if chunk is None:
                continue
            first_row += chunk.num_rows
            if pile is not None and not pile.takes(chunk):
                yield pile.chunk()
                pile = None
            if chunk.scores.nbytes > _PILE_BYTES:
                yield chunk
            elif pile is None:
                pile = _Pile(chunk)
            else:
                pile.add(chunk)
        if pile is not None:
            yield pile.chunk()

    def _chunk(self, batch: Any, first_row: int) -> Chunk | None:
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            got = f"{len(batch)} values" if isinstance(batch, (tuple, list)) else type(batch).__name__
            raise TypeError(f"expected (scores, labels) or (scores, labels, ids), got {got}")
        scores, labels, *ids = batch
        if tuple(getattr(scores, "shape", ()))[:1] == (0,):
            check_no_labels(labels)
            return None
        matrix = borrow_matrix("scores", scores)
        if matrix.num_classes != self._num_classes:
            raise ValueError(f"scores: expected {self._num_classes} classes, got {matrix.num_classes}")
        positives = read_positives(
            labels,
            matrix.num_rows,
            self._num_classes,
            unknown=self._unknown,
            threads=self._threads,
            scores=matrix,
        )
        numbers = read_ids(ids[0], matrix.num_rows) if ids and ids[0] is not None else None
        return Chunk(matrix, positives, numbers, first_row)


class _Pile:
    """Small batches copied together, because counting a chunk costs time for all thresholds, however few its rows."""

    def __init__(self, chunk: Chunk) -> None:
        self._kind = _kind(chunk)
        self._first_row = chunk.first_row
        self._num_classes = chunk.scores.num_classes
        row_bytes = max(1, chunk.scores.nbytes // chunk.num_rows)
        self._store = RowStore(self._num_classes, num_rows=max(chunk.num_rows, _PILE_BYTES // row_bytes))
        self._rows: list[np.ndarray] = []  # rows of the positives, and below their classes
        self._classes: list[np.ndarray] = []
        self._ids: list[np.ndarray] = []
        self._unknown: list[UnknownCells | None] = []
        self._sizes: list[int] = []
        self._num_bytes = 0
        self.add(chunk)

    def takes(self, chunk: Chunk) -> bool:
        """Whether a batch is of the same kind as the pile's batches and fits into it."""
        return _kind(chunk) == self._kind and self._num_bytes + chunk.scores.nbytes <= _PILE_BYTES

    def add(self, chunk: Chunk) -> None:
        self._rows.append(chunk.positives.rows + np.int64(len(self._store)))
        self._classes.append(np.repeat(np.arange(self._num_classes), chunk.positives.counts))
        if chunk.ids is not None:
            self._ids.append(chunk.ids)
        self._unknown.append(chunk.positives.unknown)
        self._sizes.append(chunk.num_rows)
        self._num_bytes += chunk.scores.nbytes
        self._store.append(*map(as_columns, chunk.scores.shards))

    def chunk(self) -> Chunk:
        """All batches of the pile as one chunk."""
        (shards,) = self._store.shards()
        shape = len(self._store), self._num_classes
        pairs = LabelPairs(*shape, np.concatenate(self._rows), np.concatenate(self._classes))
        ids = np.concatenate(self._ids) if self._ids else None
        unknown = UnknownCells.joined(self._unknown, self._sizes)
        positives = Positives.from_labels(pairs, *shape).with_unknown(unknown)
        return Chunk(borrow_matrix("scores", shards), positives, ids, self._first_row)


def _kind(chunk: Chunk) -> tuple[str, int | None, str | None]:
    """The key of batches that may be copied together: dtype, device and kind of ids."""
    return chunk.scores.dtype, chunk.scores.device.index, id_kind(chunk.ids)
