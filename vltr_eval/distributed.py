"""Metrics over the rows of all ranks of a distributed run, as functions: each rank passes its own rows.

Every function is a collective of torch.distributed (gloo or nccl): all ranks of the group call it, and all get the
exact result, with the same bits as one process with all rows would get. Ranks exchange the scores of
positives and their counts, never all scores (`chunks`). When a rank fails, all do, with its message.

The functions take these arguments:

scores: (N, C) of this rank, or a list of row shards; (0, C) for a rank without rows.
labels: Those of these rows, as `vltr_eval.rank_table` takes them.
ids: (N,) integers or strings that tell samples apart, for runs whose sampler repeats some, as `Evaluator.update` takes
    them: each is counted once, and must have the same labels each time.
group: As torch.distributed takes it, None for all ranks; where torch.distributed is not in use, the process is the only
    one.
"""

from __future__ import annotations

from typing import Any

from vltr_eval._base.arguments import check_seed, check_trials
from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._base.ranks import RankFailure, current_group, propagate_errors
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.draws import mean_and_std
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.options import read_options
from vltr_eval._engine.rank_table import RankTable, absent_value
from vltr_eval._engine.results import ClassInfo, EvaluationCounts
from vltr_eval._engine.sample_ids import read_ids
from vltr_eval.metrics.sampled import SampledAP
from vltr_eval.report.report import Report
from vltr_eval.report.settings import Settings

__all__ = ["RankFailure", "evaluate", "rank_table", "sampled_average_precision"]


def rank_table(
    scores: Any, labels: Any, *, ids: Any = None, group: Any = None, threads: int | None = None
) -> RankTable:
    """The rank table of the rows of all ranks. See `vltr_eval.rank_table`."""
    return _count(Settings(None, topk=()), scores, labels, ids, group, threads).table


def sampled_average_precision(
    scores: Any,
    labels: Any,
    *,
    trials: int = 15,
    seed: int = 0,
    absent: str = "nan",
    return_trials: bool = False,
    ids: Any = None,
    group: Any = None,
    threads: int | None = None,
) -> SampledAP:
    """Sampled AP over the rows of all ranks, numbered in the order of ranks or of ids for its draws.

    See `vltr_eval.sampled_average_precision`.
    """
    with propagate_errors(current_group(group)):
        value = absent_value(absent)
        settings = Settings(check_trials(trials), check_seed(seed), topk=())
    found = _count(settings, scores, labels, ids, group, threads)
    found.trials[:, found.table.num_positives == 0] = value
    return SampledAP(*mean_and_std(found.trials), found.trials if return_trials else None)


def evaluate(
    scores: Any, labels: Any, *, ids: Any = None, group: Any = None, threads: int | None = None, **conventions: Any
) -> Report:
    """The report over the rows of all ranks. conventions: sap, seed, topk, ..., as `vltr_eval.evaluate`."""
    with propagate_errors(current_group(group)):
        settings, class_info = read_options(_num_classes(scores), **conventions)
    return _count(settings, scores, labels, ids, group, threads, class_info).report(class_info)


def _count(
    settings: Settings,
    scores: Any,
    labels: Any,
    ids: Any,
    group: Any,
    threads: int | None,
    class_info: ClassInfo | None = None,
) -> EvaluationCounts:
    communicator = current_group(group)
    with propagate_errors(communicator):
        num_classes = _num_classes(scores)
        chunks = _chunks(scores, labels, ids, threads)
    return count_chunks(
        settings, chunks, num_classes, class_info=class_info, communicator=communicator, threads=threads
    )


def _num_classes(scores: Any) -> int:
    """The number of classes of scores that may have no rows."""
    shape = getattr(_with_rows(scores), "shape", None)
    if shape is None:
        return borrow_matrix("scores", scores).num_classes
    if len(shape) not in (1, 2):
        raise ValueError(f"scores: expected an (N, C) matrix or an (N,) column, got shape {tuple(shape)}")
    return shape[1] if len(shape) == 2 else 1


def _with_rows(scores: Any) -> Any:
    """The first of a list of shards, rather one with rows; anything else as it is."""
    if not (isinstance(scores, (list, tuple)) and scores and all(hasattr(shard, "shape") for shard in scores)):
        return scores
    return next((shard for shard in scores if shard.shape[0]), scores[0])


def _chunks(scores: Any, labels: Any, ids: Any, threads: int | None) -> list[Chunk]:
    if getattr(_with_rows(scores), "shape", (1,))[0] == 0:
        return []
    matrix = borrow_matrix("scores", scores)
    positives = Positives.from_labels(
        labels, matrix.num_rows, matrix.num_classes, device=matrix.device, threads=threads, scores=matrix
    )
    return [Chunk(matrix, positives, None if ids is None else read_ids(ids, matrix.num_rows))]
