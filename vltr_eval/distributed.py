"""Metrics over the rows of all ranks of a distributed run, as functions: each rank passes its own rows.

Every function is a collective of torch.distributed (gloo or nccl). All ranks of the group call it, and all get the
exact result, with the same bits as one process with all rows would get. Ranks exchange the scores of positives and
their counts, never all scores. If a rank fails, all ranks raise its message.

All functions take these arguments:

Args:
    scores: (N, C) array of this rank, or a list of row shards; (0, C) for a rank without rows.
    labels: Labels of these rows, in any form that `vltr_eval.rank_table` takes.
    ids: (N,) integers or strings that identify samples, as in `Evaluator.update`. Pass them if the sampler repeats
        samples: each is counted once and must have the same labels each time.
    mask: Which labels of these rows are known, as in `vltr_eval.evaluate`.
    unknown: The value of labels that marks an unknown cell, as there.
    group: Process group, as in torch.distributed; None for all ranks. Without torch.distributed the process is the only
        rank.
    threads: Number of CPU threads of this process; all cores if None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from vltr_eval._base.arguments import check_seed, check_trials
from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._base.ranks import RankFailure, current_group, propagate_errors
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.draws import mean_and_std
from vltr_eval._engine.label_marks import read_positives
from vltr_eval._engine.options import EvalOptions, EvalOptionsDict, Unpack
from vltr_eval._engine.rank_table import RankTable, absent_value
from vltr_eval._engine.results import ClassInfo, EvaluationCounts
from vltr_eval._engine.sample_ids import read_ids
from vltr_eval.metrics.sampled import SampledAP
from vltr_eval.report.report import Report
from vltr_eval.report.settings import Settings

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RankFailure", "evaluate", "rank_table", "sampled_average_precision"]


def rank_table(
    scores: Any,
    labels: Any,
    *,
    ids: Any = None,
    mask: Any = None,
    unknown: Any = None,
    group: Any = None,
    threads: int | None = None,
) -> RankTable:
    """Make the rank table of the rows of all ranks.

    Args:
        scores: (N, C) array of this rank, or a list of row shards; (0, C) for a rank without rows.
        labels: Labels of these rows.
        ids: (N,) integers or strings that identify samples, so that a repeated sample is counted once.
        mask: Which labels of these rows are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        group: Process group; None for all ranks.
        threads: Number of CPU threads of this process; all cores if None.

    Returns:
        The `RankTable` of `vltr_eval.rank_table` on the rows of all ranks.

    Raises:
        ValueError: The inputs do not fit together, a score is NaN, or one id has different labels.
        RankFailure: Another rank raised an error.

    Example:
        >>> rank_table(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]])).average_precision()
        array([0.83333333])
    """
    return _count(Settings(None, topk=()), scores, labels, ids, mask, unknown, group, threads).table


def sampled_average_precision(
    scores: Any,
    labels: Any,
    *,
    trials: int = 15,
    seed: int = 0,
    absent: str = "nan",
    return_trials: bool = False,
    ids: Any = None,
    mask: Any = None,
    unknown: Any = None,
    group: Any = None,
    threads: int | None = None,
) -> SampledAP:
    """Compute sampled AP over the rows of all ranks.

    The draws number the rows in the order of ranks, or of ids if there are any.

    Args:
        scores: (N, C) array of this rank, or a list of row shards; (0, C) for a rank without rows.
        labels: Labels of these rows.
        trials: Number of trials T.
        seed: Seed of the draws.
        absent: Value of classes without positives: "nan", or "zero" for 0.
        return_trials: Whether the result has the AP of each trial.
        ids: (N,) integers or strings that identify samples, so that a repeated sample is counted once.
        mask: Which labels of these rows are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        group: Process group; None for all ranks.
        threads: Number of CPU threads of this process; all cores if None.

    Returns:
        The `SampledAP` of `vltr_eval.sampled_average_precision` on the rows of all ranks.

    Raises:
        ValueError: The inputs do not fit together, a score is NaN, or one id has different labels.
        RankFailure: Another rank raised an error.

    Example:
        >>> sampled_average_precision(np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [0]]), trials=2).mean
        array([1.])
    """
    with propagate_errors(current_group(group)):
        value = absent_value(absent)
        settings = Settings(check_trials(trials), check_seed(seed), topk=())
    counts = _count(settings, scores, labels, ids, mask, unknown, group, threads)
    of_trials = cast("np.ndarray", counts.trials)  # the settings have trials
    of_trials[:, counts.table.num_positives == 0] = value
    return SampledAP(*mean_and_std(of_trials), of_trials if return_trials else None)


def evaluate(
    scores: Any,
    labels: Any,
    *,
    ids: Any = None,
    mask: Any = None,
    unknown: Any = None,
    group: Any = None,
    threads: int | None = None,
    **options: Unpack[EvalOptionsDict],
) -> Report:
    """Evaluate the rows of all ranks: every rank gets the same report.

    Args:
        scores: (N, C) array of this rank, or a list of row shards; (0, C) for a rank without rows.
        labels: Labels of these rows.
        ids: (N,) integers or strings that identify samples, so that a repeated sample is counted once.
        mask: Which labels of these rows are known; see `vltr_eval.evaluate`.
        unknown: The value of labels that marks an unknown cell; see there.
        group: Process group; None for all ranks.
        threads: Number of CPU threads of this process; all cores if None.
        **options: sap, seed, topk, train_counts, bounds, groups, class_names, absent, interval, thresholds,
            allow_same_set and calibration; see `EvalOptions`.

    Returns:
        The `Report` of `vltr_eval.evaluate` on the rows of all ranks.

    Raises:
        ValueError: The inputs do not fit together, a score is NaN, or one id has different labels.
        TypeError: An option does not exist.
        RankFailure: Another rank raised an error.

    Example:
        >>> scores, labels = np.float32([[.9], [.8], [.7]]), np.uint8([[1], [0], [1]])
        >>> evaluate(scores, labels, sap=None, topk=None).metrics()
        {'mAP': 0.8333333333333333, 'ROC_AUC': 0.5}
    """
    with propagate_errors(current_group(group)):
        chosen = EvalOptions.from_keywords(options, evaluate)
        settings, class_info = chosen.checked(_num_classes(scores))
    return _count(settings, scores, labels, ids, mask, unknown, group, threads, class_info).report(class_info)


def _count(
    settings: Settings,
    scores: Any,
    labels: Any,
    ids: Any,
    mask: Any,
    unknown: Any,
    group: Any,
    threads: int | None,
    class_info: ClassInfo | None = None,
) -> EvaluationCounts:
    communicator = current_group(group)
    with propagate_errors(communicator):
        num_classes = _num_classes(scores)
        chunks = _chunks(scores, labels, ids, mask, unknown, threads)
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
    return int(shape[1]) if len(shape) == 2 else 1


def _with_rows(scores: Any) -> Any:
    """The first shard with rows of a list of shards, else its first shard; anything else as it is."""
    if not (isinstance(scores, (list, tuple)) and scores and all(hasattr(shard, "shape") for shard in scores)):
        return scores
    return next((shard for shard in scores if shard.shape[0]), scores[0])


def _chunks(scores: Any, labels: Any, ids: Any, mask: Any, unknown: Any, threads: int | None) -> list[Chunk]:
    if getattr(_with_rows(scores), "shape", (1,))[0] == 0:
        return []
    matrix = borrow_matrix("scores", scores)
    positives = read_positives(
        labels,
        matrix.num_rows,
        matrix.num_classes,
        mask=mask,
        unknown=unknown,
        device=matrix.device,
        threads=threads,
        scores=matrix,
    )
    return [Chunk(matrix, positives, None if ids is None else read_ids(ids, matrix.num_rows))]
