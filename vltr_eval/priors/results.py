"""The results of an evaluation under other class distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vltr_eval._engine.counting import Chunk
from vltr_eval._engine.rank_table import exact_sums
from vltr_eval._engine.results import ClassInfo, EvaluationCounts, means_by_group
from vltr_eval.metrics.rank_metrics import weighted_average_precisions
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
    if not weightings:
        return report
    average_precisions = weighted_average_precisions(
        chunk.scores,
        chunk.positives,
        np.stack([weighting.weights for weighting in weightings.values()]),
        absent=counts.settings.absent,
        threads=threads,
    )
    rows = _Rows(counts, chunk, threads)
    results: list[PriorResult] = []
    columns: dict[str, tuple[Any, ...]] = {}
    for (name, weighting), average_precision in zip(weightings.items(), average_precisions, strict=True):
        result, by_class = _prior_result(name, weighting, average_precision, class_info, rows)
        results.append(result)
        columns |= {name_under_prior(name, column): tuple(values) for column, values in by_class.items()}
    return replace(report, prior_results=tuple(results), classes=report.classes | columns)


class _Rows:
    """The rows of an evaluation, as sums over them need them under every weighting."""

    def __init__(self, counts: EvaluationCounts, chunk: Chunk, threads: int | None) -> None:
        self.positives = chunk.positives
        self.labelled = np.zeros(chunk.num_rows, bool)
        self.labelled[self.positives.rows] = True
        ranks = np.asarray(counts.ranks)  # there are ranks if there is a k
        self.hits = {k: (ranks >= 0) & (ranks < k) for k in counts.settings.topk}
        self._threads = threads

    def sum(self, values: np.ndarray) -> float:
        """The sum of the values of rows."""
        return float(exact_sums(values, np.array([0, len(values)]), threads=1)[0])

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The (C,) sums of the values of the positives of each class."""
        return exact_sums(values, self.positives.indptr, threads=self._threads)


def _prior_result(
    name: str, weighting: PriorWeights, average_precision: np.ndarray, class_info: ClassInfo, rows: _Rows
) -> tuple[PriorResult, dict[str, Sequence[float]]]:
    weights = weighting.weights
    of_positive = weights[rows.positives.rows]
    total = rows.sums(of_positive)
    labelled = weights[rows.labelled]
    sum_labelled = rows.sum(labelled)
    by_class = {AP: average_precision}
    rates = {}
    for k, hit in rows.hits.items():
        by_class[accuracy_at(k)] = _ratio(rows.sums(of_positive * hit[rows.positives.rows]), total)
        rates[accuracy_at(k).name] = float(_ratio(rows.sum(weights[hit]), sum_labelled))
    overall, *groups = means_by_group(class_info, by_class, total == 0, None)
    overall = replace(overall, values=overall.values | rates)
    result = PriorResult(
        name,
        effective_rows=sum_labelled**2 / rows.sum(labelled**2),
        total_variation=weighting.total_variation,
        left_out=weighting.left_out,
        groups=(overall, *groups),
    )
    columns = {metric.class_name: values.tolist() for metric, values in by_class.items()}
    columns["share"] = weighting.shares.tolist()
    columns["effective_positives"] = _ratio(total**2, rows.sums(of_positive**2)).tolist()
    return result, columns


def _ratio(part: Any, whole: Any) -> np.ndarray:
    """part / whole, NaN where the whole is 0."""
    out = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=out, where=np.asarray(whole) > 0)
    return out
