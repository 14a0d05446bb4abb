"""The results of an evaluation under other class distributions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from vltr_eval._engine.counting import Chunk
from vltr_eval._engine.results import ClassInfo, EvaluationCounts, means_by_group
from vltr_eval.metrics.rank_metrics import average_precision
from vltr_eval.priors.weights import PriorWeights
from vltr_eval.report.means import PriorResult
from vltr_eval.report.names import AP, accuracy_at, name_under_prior
from vltr_eval.report.report import Report


def add_prior_results(
    report: Report,
    counts: EvaluationCounts,
    class_info: ClassInfo,
    chunk: Chunk,
    weightings: Mapping[str, PriorWeights],
    *,
    threads: int | None = None,
) -> Report:
    """Add AP and Acc@k of the same rows under each weighting to a report.

    Sums of weights are correctly rounded, so the order of the rows changes no bit.

    Args:
        report: The report without weights.
        counts: The counts of the rows.
        class_info: Facts about the classes.
        chunk: The rows, all in one chunk.
        weightings: The weights of the rows, by the name of the distribution.
        threads: Number of CPU threads.
    """
    results: list[PriorResult] = []
    columns: dict[str, tuple[Any, ...]] = {}
    for name, weighting in weightings.items():
        result, by_class = _prior_result(name, weighting, counts, class_info, chunk, threads)
        results.append(result)
        columns |= {name_under_prior(name, column): tuple(values) for column, values in by_class.items()}
    return replace(report, prior_results=tuple(results), classes=report.classes | columns)


def _prior_result(
    name: str,
    weighting: PriorWeights,
    counts: EvaluationCounts,
    class_info: ClassInfo,
    chunk: Chunk,
    threads: int | None,
) -> tuple[PriorResult, dict[str, Sequence[float]]]:
    settings, positives, weights = counts.settings, chunk.positives, weighting.weights
    of_positive = weights[positives.rows]
    total = _sums(of_positive, positives.indptr)
    by_class = {
        AP: average_precision(chunk.scores, positives, absent=settings.absent, sample_weight=weights, threads=threads)
    }
    labelled = weights[positives.labels_per_row() > 0]
    rates = {}
    ranks = np.asarray(counts.ranks)  # there are ranks if there is a k
    for k in settings.topk:
        hit = (ranks >= 0) & (ranks < k)
        by_class[accuracy_at(k)] = _ratio(_sums(of_positive * hit[positives.rows], positives.indptr), total)
        rates[accuracy_at(k).name] = float(_ratio(_sum(weights[hit]), _sum(labelled)))
    overall, *groups = means_by_group(class_info, by_class, total == 0, None)
    overall = replace(overall, values=overall.values | rates)
    result = PriorResult(
        name,
        effective_rows=_sum(labelled) ** 2 / _sum(labelled**2),
        total_variation=weighting.total_variation,
        left_out=weighting.left_out,
        groups=(overall, *groups),
    )
    columns = {metric.class_name: values.tolist() for metric, values in by_class.items()}
    columns["share"] = weighting.shares.tolist()
    columns["effective_positives"] = _ratio(total**2, _sums(of_positive**2, positives.indptr)).tolist()
    return result, columns


def _sum(values: np.ndarray) -> float:
    return math.fsum(values.tolist())


def _sums(values: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """The (C,) sums of the values of each class."""
    listed = values.tolist()
    return np.array([math.fsum(listed[start:stop]) for start, stop in pairwise(indptr.tolist())])


def _ratio(part: Any, whole: Any) -> np.ndarray:
    """part / whole, NaN where the whole is 0."""
    out = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=out, where=np.asarray(whole) > 0)
    return out
