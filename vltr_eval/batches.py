"""Evaluation of what never lies in one place: a stream that is gone through twice, once for its positives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from vltr_eval.arrays import borrow_matrix, num_threads
from vltr_eval.evaluator import check_whole, read_ids
from vltr_eval.exchange import current_group, telling
from vltr_eval.findings import read_conventions
from vltr_eval.io import Spec, read_labels, read_scores, split_spec
from vltr_eval.labels import Positives
from vltr_eval.parts import Part, count
from vltr_eval.report import Report

__all__ = ["ShardFiles", "evaluate_batches"]


def evaluate_batches(
    batches: Iterable[Any] | Callable[[], Iterable[Any]],
    num_classes: int,
    *,
    process_group: Any = None,
    threads: int | None = None,
    **conventions: Any,
) -> Report:
    """The report of all rows of a stream, of which one batch is in memory at a time.

    batches: an iterable of (scores, labels) or (scores, labels, ids), as `Evaluator.update` takes them, that gives the
    same each time it is gone through (a list, a data loader that does not shuffle, `ShardFiles`), or a function that
    returns one. It is gone through twice: first only the scores of positives are looked at, then all are counted.
    conventions: sap, seed, topk, train_counts, bounds, class_names, absent, as `evaluate`.
    Under torch.distributed a collective: each rank goes through its own batches, and gets the report of all rows.

    Extra memory: a few bytes a label and 16 for each draw of each SAP trial. Raises TypeError for an iterator, which
    could be gone through once, and ValueError where the second time differs from the first.

    >>> batches = [(np.float32([[.9], [.8]]), [[0], []]), (np.float32([[.7]]), [[0]])]
    >>> evaluate_batches(batches, 1, sap=None, topk=None).metrics()["mAP"]
    0.8333333333333333
    """
    exchange = current_group(process_group)
    with telling(exchange):
        num_classes = check_whole("num_classes", num_classes, 1)
        num_threads(threads)  # raises
        settings, about = read_conventions(num_classes, **conventions)
        stream = _Stream(batches, num_classes, threads)
    return count(settings, stream, num_classes, exchange=exchange, threads=threads).report(about)


class ShardFiles:
    """Predictions and labels in files, shard by shard: what `evaluate_batches` goes through, one shard open at a time.

    preds, labels: as many files each, as lists or patterns; every format that the program reads.
    """

    def __init__(self, preds: Spec, labels: Spec) -> None:
        self._files = list(zip(*_paired(split_spec(preds), split_spec(labels)), strict=True))

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for preds, labels in self._files:
            scores = read_scores(preds)
            num_classes = scores.shape[1] if len(scores.shape) == 2 else 1
            yield scores, read_labels(labels, scores.shape[0], num_classes)


def _paired(preds: list[str], labels: list[str]) -> tuple[list[str], list[str]]:
    if len(preds) != len(labels):
        raise ValueError(f"labels: expected a file for each of {len(preds)} shards, got {len(labels)}")
    return preds, labels


class _Stream:
    """Batches as parts, each time anew."""

    def __init__(
        self, batches: Iterable[Any] | Callable[[], Iterable[Any]], num_classes: int, threads: int | None
    ) -> None:
        if isinstance(batches, Iterator):
            raise TypeError(
                f"batches: expected what can be gone through twice, got {type(batches).__name__}; pass a function that "
                "makes it anew"
            )
        if not isinstance(batches, Iterable) and not callable(batches):
            raise TypeError(f"batches: expected an iterable or a function, got {type(batches).__name__}")
        self._batches = batches
        self._num_classes = num_classes
        self._threads = threads

    def __iter__(self) -> Iterator[Part]:
        batches = self._batches() if callable(self._batches) else self._batches
        first_row = 0
        for i, batch in enumerate(batches):
            try:
                part = self._part(batch, first_row)
            except (TypeError, ValueError) as error:
                raise type(error)(f"batch {i}: {error}") from None
            if part is not None:
                first_row += part.num_rows
                yield part

    def _part(self, batch: Any, first_row: int) -> Part | None:
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            got = f"{len(batch)} values" if isinstance(batch, (tuple, list)) else type(batch).__name__
            raise TypeError(f"expected (scores, labels) or (scores, labels, ids), got {got}")
        scores, labels, *ids = batch
        if tuple(getattr(scores, "shape", ()))[:1] == (0,):
            return None
        matrix = borrow_matrix("scores", scores)
        if matrix.num_classes != self._num_classes:
            raise ValueError(f"scores: expected {self._num_classes} classes, got {matrix.num_classes}")
        positives = Positives.from_labels(labels, matrix.num_rows, self._num_classes, threads=self._threads)
        numbers = read_ids(ids[0], matrix.num_rows) if ids and ids[0] is not None else None
        return Part(matrix, positives, numbers, first_row)
