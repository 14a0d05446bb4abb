"""The comparison of systems whose runs are evaluated: means, single classes, slices, and notes on their limits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from vltr_eval._base.arrays import Matrix
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._engine.effects import paired_variances
from vltr_eval._engine.mean_effects import MeanEffect
from vltr_eval.comparison.differences import MIN_POSITIVES, BestOfMean, best_of_mean, class_tests, mean_difference
from vltr_eval.comparison.evaluation import Evaluation, Predictions
from vltr_eval.comparison.result import Comparison, SliceComparison, SystemComparison
from vltr_eval.intervals import jackknife_error
from vltr_eval.report.names import accuracy_at, grouped_name

CLASS_METRICS = {
    "AP": "average_precision",
    "expected_SAP": "expected_sampled_average_precision",
    "ROC_AUC": "roc_auc",
}
"""The metrics of single classes that can be tested, and their names in the core."""


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a system. predictions: None of an archive."""

    evaluation: Evaluation
    predictions: Predictions | None


def compare_evaluations(
    base: Evaluation, new: Evaluation, names: tuple[str, str], *, level: float = 0.95, class_metric: str = "AP"
) -> Comparison:
    """Compare two evaluations without their predictions."""
    runs = [[Run(base, None)], [Run(new, None)]]
    return compare_runs(runs, list(names), level=level, class_metric=class_metric)


def compare_runs(
    systems: Sequence[Sequence[Run]],
    names: Sequence[str],
    *,
    level: float,
    class_metric: str,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare systems whose runs are evaluated; the first is the baseline."""
    base, *others = systems
    reference = base[0].evaluation
    for name, runs in zip(names, systems, strict=True):
        for number, run in enumerate(runs, 1):
            if run.evaluation is not reference:
                own = name_of_run(name, number, len(runs))
                reference.check_comparable(run.evaluation, names[0], own)
    compared = tuple(
        _compare_system(
            name, base, runs, level, class_metric, threads, part_of(progress, k / len(others), (k + 1) / len(others))
        )
        for k, (name, runs) in enumerate(zip(names[1:], others, strict=True))
    )
    report = reference.report
    num_clusters = None if reference.clusters is None else int(reference.clusters.max()) + 1
    settings = replace(report.settings, sap=None if report.settings.sap is None else "exact", interval=None)
    settings = replace(settings, thresholds=None, calibration=None)
    plain = replace(report, settings=settings, num_clusters=num_clusters, prior_results=(), thresholds=None)
    return Comparison(
        version=report.version,
        signature=plain.signature,
        level=level,
        class_metric=class_metric,
        num_rows=report.num_rows,
        num_classes=report.num_classes,
        num_clusters=num_clusters,
        base=names[0],
        base_runs=len(base),
        systems=compared,
        slices=_compare_slices(systems, names, level, class_metric),
        notes=tuple(_notes(systems, names, compared, class_metric)),
        best=tuple(_best_of_means(systems, compared, level)),
    )


def _compare_slices(
    systems: Sequence[Sequence[Run]], names: Sequence[str], level: float, class_metric: str
) -> tuple[SliceComparison, ...]:
    """The differences on each slice of the rows; none without slices."""
    first = systems[0][0].predictions
    if first is None or not first.slices:
        return ()
    sliced: list[list[Mapping[tuple[str, str], Evaluation]]] = [
        [{} if run.predictions is None else run.predictions.slices for run in runs] for runs in systems
    ]
    found = []
    for partition, name in first.slices:
        part = _in_words(partition, name)
        for own_name, runs in zip(names, sliced, strict=True):
            if any((partition, name) not in of_run for of_run in runs):
                raise ValueError(f"slices: expected the slices of {names[0]} with {own_name}, got none of {part}")
        of_slice = [[Run(of_run[partition, name], None) for of_run in runs] for runs in sliced]
        try:
            compared = compare_runs(of_slice, names, level=level, class_metric=class_metric)
        except ValueError as error:
            error.args = (f"{part}: {error}",)
            raise
        found.append(SliceComparison(name, partition, compared.num_rows, compared.systems))
    return tuple(found)


def _in_words(partition: str, name: str) -> str:
    return f"slice {name!r} of {partition!r}"


def name_of_run(name: str, number: int, count: int) -> str:
    return name if count == 1 else f"{name}, run {number}"


def _compare_system(
    name: str,
    base: Sequence[Run],
    new: Sequence[Run],
    level: float,
    class_metric: str,
    threads: int | None,
    progress: Progress | None,
) -> SystemComparison:
    reports = [[run.evaluation.report for run in runs] for runs in (base, new)]
    values = [[report.metrics() for report in side] for side in reports]
    means = tuple(
        mean_difference(
            mean,
            [found[mean] for found in values[0]],
            [found[mean] for found in values[1]],
            _row_error(mean, base, new),
            level,
        )
        for mean in _mean_names(base[0].evaluation)
    )
    first = reports[0][0]
    by_class = [np.array([report.classes[class_metric] for report in side], np.float64) for side in reports]
    positives = np.array(first.classes["num_positives"], np.int64)
    variances = _class_variances(base, new, class_metric, threads, progress)
    columns: dict[str, tuple[Any, ...]] = {
        column: first.classes[column]
        for column in ("name", "group", "train_count", *dict(first.settings.partitions), "num_positives")
        if column in first.classes
    }
    clusters = base[0].evaluation.clusters
    if clusters is not None and base[0].predictions is not None:
        positives = _positive_clusters(base[0].predictions, clusters)
        columns["positive_clusters"] = tuple(positives.tolist())
    tests = class_tests(by_class[0], by_class[1], variances, positives, level)
    columns |= {"base": tuple(by_class[0].mean(axis=0).tolist()), "new": tuple(by_class[1].mean(axis=0).tolist())}
    columns |= {column: tuple(getattr(tests, column).tolist()) for column in _TEST_COLUMNS}
    return SystemComparison(name, len(new), means, columns, variances is not None, first.settings.all_partitions)


def _best_of_means(
    systems: Sequence[Sequence[Run]], compared: Sequence[SystemComparison], level: float
) -> Iterator[BestOfMean]:
    """Find the best system on each mean, and test it against each other one as the baseline is tested."""
    metrics = [[run.evaluation.report.metrics() for run in runs] for runs in systems]
    for position, mean in enumerate(_mean_names(systems[0][0].evaluation)):
        values = [[found[mean] for found in runs] for runs in metrics]

        def p_value(one: int, other: int, mean: str = mean, values: Any = values, position: int = position) -> float:
            if 0 in (one, other):  # compared with the baseline already
                return compared[max(one, other) - 1].means[position].p_value
            error = _row_error(mean, systems[one], systems[other])
            return mean_difference(mean, values[one], values[other], error, level).p_value

        yield best_of_mean(mean, values, p_value)


_TEST_COLUMNS = ("difference", "error", "low", "high", "p_value", "holm", "benjamini_hochberg")


def _mean_names(evaluation: Evaluation) -> list[str]:
    """The means that have effects, metric by metric."""
    report = evaluation.report
    metrics = [*report.settings.metrics, *map(accuracy_at, report.settings.topk)]
    names = [grouped_name(metric, group.name) for metric in metrics for group in report.groups]
    return [name for name in dict.fromkeys(names) if name in evaluation.effects]


def _row_error(mean: str, base: Sequence[Run], new: Sequence[Run]) -> float:
    """The jackknife standard error of the difference of two means over runs.

    The effects are subtracted as integers on the scale of the finest, so neither rows nor runs have an order.
    """
    found = [[_effect(mean, run) for run in runs] for runs in (base, new)]
    exponent = max(effect.exponent for effects in found for effect in effects)
    weights = (-len(new), len(base))  # of the integers, whose count is multiplied by the numbers of runs
    most = sum(
        abs(weight) * (int(np.max(np.abs(effect.sums), initial=0)) << (exponent - effect.exponent))
        for effects, weight in zip(found, weights, strict=True)
        for effect in effects
    )
    counts = {effect.count for effects in found for effect in effects}
    if most >= _LARGEST or len(counts) > 1:
        means = [np.sum([effect.values for effect in effects], axis=0) / len(effects) for effects in found]
        return jackknife_error(means[1] - means[0])
    total = np.zeros(len(found[0][0].sums), np.int64)
    for effects, weight in zip(found, weights, strict=True):
        for effect in effects:
            total += (effect.sums << (exponent - effect.exponent)) * weight
    return MeanEffect(total, exponent, counts.pop() * len(base) * len(new)).error()


_LARGEST = 1 << 62  # of an integer of 64 bits


def _effect(mean: str, run: Run) -> MeanEffect:
    """The effects of the rows, or of the clusters of rows."""
    effect, clusters = run.evaluation.effects[mean], run.evaluation.clusters
    return effect if clusters is None else effect.by_cluster(clusters)


def _positive_clusters(predictions: Predictions, clusters: np.ndarray) -> np.ndarray:
    """The number of clusters with a positive of each class: (C,) int64."""
    positives = predictions.positives
    of_row = _in_row_order(clusters, predictions.order)
    classes = np.repeat(np.arange(positives.num_classes), positives.counts)
    pairs = np.unique(classes * (int(clusters.max()) + 1) + of_row[positives.rows])
    return np.bincount(pairs // (int(clusters.max()) + 1), minlength=positives.num_classes)


def _in_row_order(values: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    """Values of the numbered rows in the order of the scores' rows."""
    if order is None:
        return values
    found = np.empty_like(values)
    found[order] = values
    return found


def _class_variances(
    base: Sequence[Run], new: Sequence[Run], class_metric: str, threads: int | None, progress: Progress | None
) -> np.ndarray | None:
    """The variance of each class's difference of the means over runs, (C,); None without all predictions.

    The influences of the runs are only ever subtracted in pairs. A sum of influences with coefficients that add to 0
    has the variance -1/2 sum_jk c_j c_k variance(U_j - U_k), so the variances of all pairs of runs give that of the
    mean, whatever their number.
    """
    predictions = [run.predictions for run in (*base, *new) if run.predictions is not None]
    if len(predictions) < len(base) + len(new) or _devices(predictions):
        return None
    first = predictions[0]
    scores = [_in_order_of(first, other) for other in predictions]
    clusters = base[0].evaluation.clusters
    of_row = None if clusters is None else _in_row_order(clusters, first.order)
    coefficients = [-1 / len(base)] * len(base) + [1 / len(new)] * len(new)
    pairs = list(combinations(range(len(predictions)), 2))
    total = np.zeros(first.positives.num_classes)
    largest = np.zeros(first.positives.num_classes)
    for k, (i, j) in enumerate(pairs):
        variance = paired_variances(
            scores[i],
            predictions[i].table,
            scores[j],
            predictions[j].table,
            first.positives,
            CLASS_METRICS[class_metric],
            clusters=of_row,
            threads=threads,
            progress=part_of(progress, k / len(pairs), (k + 1) / len(pairs)),
        )
        total -= coefficients[i] * coefficients[j] * variance
        largest = np.fmax(largest, abs(coefficients[i] * coefficients[j]) * variance)
    # Rounding must not make a variance of 0 negative, or give two equal systems an error.
    return np.where(total > _ROUNDING * len(pairs) * largest, total, np.where(np.isnan(total), np.nan, 0.0))


_ROUNDING = 1e-14


def _devices(predictions: Sequence[Predictions]) -> list[str]:
    """The devices of scores that are not in CPU memory, where single classes are not tested."""
    found = (str(one.scores.device) for one in predictions if one.scores.device.index is not None)
    return list(dict.fromkeys(found))


def _in_order_of(first: Predictions, other: Predictions) -> Matrix:
    """The scores with their rows in the order of the first system: a view, however they are sorted."""
    if first.order is other.order or (
        first.order is not None and other.order is not None and np.array_equal(first.order, other.order)
    ):
        return other.scores
    number_of = _in_row_order(np.arange(first.positives.num_rows), first.order)
    rows = number_of if other.order is None else other.order[number_of]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(rows) != 1) + 1, [len(rows)]])
    runs = [(int(rows[start]), int(rows[start]) + stop - start) for start, stop in pairwise(starts.tolist())]
    return other.scores.select(runs)


def _notes(
    systems: Sequence[Sequence[Run]], names: Sequence[str], compared: Sequence[SystemComparison], class_metric: str
) -> list[str]:
    """Sentences about the limits of the comparison."""
    notes = []
    single = [name for name, runs in zip(names, systems, strict=True) if len(runs) == 1]
    if len(single) == len(names):
        notes.append("the variance of training seeds is not in the intervals: each system has one run")
    elif single:
        notes.append(f"the variance of training seeds is in the intervals but for {', '.join(single)}, of one run each")
    else:
        notes.append("the intervals have the variance of test rows and, by Welch's t, that of training seeds")
    notes.append(
        "p-values of means are those of single tests; they are not adjusted for the number of means"
        + (f" or of the {len(compared)} systems" if len(compared) > 1 else "")
    )
    if any(system.is_tested for system in compared):
        clusters = "clusters with a positive" if systems[0][0].evaluation.clusters is not None else "positives"
        notes.append(
            f"single classes are tested by t from {MIN_POSITIVES} {clusters} up, and p is adjusted for their number"
        )
    if not all(system.is_tested for system in compared):
        known = [run.predictions for runs in systems for run in runs if run.predictions is not None]
        needed = "the predictions of all systems"
        if devices := _devices(known):
            needed = f"scores in CPU memory, and these are on {', '.join(devices)}"
        notes.append(f"tests of the {class_metric} of single classes need {needed}")
    undefined = [
        mean.name
        for system in compared
        for mean in system.means
        if not math.isnan(mean.difference) and math.isnan(mean.p_value)
    ]
    if undefined:
        notes.append(f"no interval where no row has an effect: {', '.join(dict.fromkeys(undefined))}")
    base = systems[0]
    notes += [
        f"{name}: its metrics and the effects of its rows are those of {names[0]}; is one system given twice?"
        for name, runs in zip(names[1:], systems[1:], strict=True)
        if len(runs) == len(base) and all(map(_is_same, base, runs))
    ]
    notes += [
        f"{name}: run {second} has the metrics and the effects of run {first}, so seeds seem to vary too little; "
        "is one run given twice?"
        for name, runs in zip(names, systems, strict=True)
        for (first, one), (second, two) in combinations(enumerate(runs, 1), 2)
        if _is_same(one, two)
    ]
    for name, runs in zip(names, systems, strict=True):
        inputs = dict.fromkeys(note for run in runs for note in run.evaluation.report.notes)
        notes += [f"{name}: {note}" for note in inputs]
    versions = sorted({run.evaluation.report.version for runs in systems for run in runs})
    if len(versions) > 1:
        notes.append(f"the evaluations were made by different versions of vltr: {', '.join(versions)}")
    return notes


def _is_same(one: Run, two: Run) -> bool:
    """Whether two runs have the same values in every class, and the same effects of every row."""
    mine, its = one.evaluation, two.evaluation
    return repr(mine.report.classes) == repr(its.report.classes) and all(
        effect.exponent == its.effects[name].exponent and np.array_equal(effect.sums, its.effects[name].sums)
        for name, effect in mine.effects.items()
    )
