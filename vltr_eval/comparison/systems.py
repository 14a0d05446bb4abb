"""The comparison of several systems with a baseline on the same rows."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from vltr_eval._base.arrays import Matrix
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._engine.class_details import details_of
from vltr_eval._engine.effects import paired_variances
from vltr_eval._engine.inputs import ReadingOptions
from vltr_eval._engine.mean_effects import MeanEffect
from vltr_eval._engine.options import EvalOptions, EvalOptionsDict, Unpack
from vltr_eval.comparison.archive import is_archive
from vltr_eval.comparison.differences import MIN_POSITIVES, BestOfMean, best_of_mean, class_tests, mean_difference
from vltr_eval.comparison.evaluation import Evaluation, Predictions, evaluate_predictions
from vltr_eval.comparison.names import name_systems
from vltr_eval.comparison.result import Comparison, SliceComparison, SystemComparison
from vltr_eval.intervals import check_level, jackknife_error
from vltr_eval.page.details import ClassDetails
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


def compare(
    base: Any,
    *new: Any,
    labels: Any = None,
    clusters: Any = None,
    slices: Any = None,
    level: float = 0.95,
    class_metric: str = "AP",
    names: Sequence[str] | None = None,
    ids: Any = None,
    label_ids: Any = None,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    header: bool | None = None,
    label_form: str | None = None,
    join: str = "exact",
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    **options: Unpack[EvalOptionsDict],
) -> Comparison:
    """Compare systems with a baseline on the same test rows: every mean, and every class with ten positives or more.

    All intervals and tests are paired: the effects of a row on both systems are subtracted first. The interval is that
    of the difference of the expected metrics on a test set of this size. Variance of training seeds is in it only if
    a system has several runs.

    Args:
        base: The baseline: scores in any form that `vltr_eval.evaluate` takes, an `Evaluation`, or the path of a saved
            one. A list has several runs of one system, such as training seeds; row shards of one run are a list in it.
        *new: The other systems, in the same forms. Each is compared with the baseline.
        labels: The labels, as in `vltr_eval.evaluate`. Evaluations have theirs, so it is an error if all systems are
            evaluations.
        clusters: (N,) the cluster of each row, as integers or strings, or a file with one a line. The rows of a cluster
            depend on each other, as the clips of one video do.
        slices: Slices of the rows, in the forms of `vltr_eval.evaluate`: the differences on each are compared too. All
            systems must then be predictions.
        level: The confidence level of the intervals. Tests have the size 1 - level.
        class_metric: The metric of single classes: "AP", "expected_SAP" or "ROC_AUC".
        names: The names of the systems, the baseline first. Without them, names come from paths.
        ids: See `vltr_eval.evaluate`, as all up to ``progress``.
        label_ids: See there.
        columns: See there.
        exclude: See there.
        header: See there.
        label_form: See there.
        join: See there.
        threads: See there.
        progress: See there.
        **options: See `vltr_eval.EvalOptions`. Options that are not given come from the first saved evaluation, if
            there is one. SAP is compared by its exact value, so its number of trials and its seed do not matter.

    Returns:
        A `Comparison`.

    Raises:
        ValueError: The systems do not have the same rows, labels, classes or settings, or an input cannot be read.
        TypeError: An input is neither an array nor a file, or an option does not exist.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.random((500, 2)) < 0.1
        >>> base = labels + rng.normal(size=(500, 2))
        >>> new = base + labels * 0.3
        >>> found = compare(base, new, labels=labels).systems[0].of("mAP")
        >>> found.difference > 0, found.p_value < 0.05
        (True, True)
    """
    reading = ReadingOptions(ids, label_ids, columns, exclude, header, label_form, join)
    return compare_and_keep(
        base,
        *new,
        labels=labels,
        clusters=clusters,
        slices=slices,
        level=level,
        class_metric=class_metric,
        names=names,
        reading=reading,
        threads=threads,
        progress=progress,
        **options,
    )[0]


def compare_and_keep(
    base: Any,
    *new: Any,
    labels: Any,
    clusters: Any,
    slices: Any,
    level: float,
    class_metric: str,
    names: Sequence[str] | None,
    reading: ReadingOptions,
    threads: int | None,
    progress: Callable[[float], None] | None,
    **options: Unpack[EvalOptionsDict],
) -> tuple[Comparison, list[list[Run]]]:
    """Return what `compare` returns, and the runs of each system, with their predictions if these were read."""
    check_level(level)
    if class_metric not in CLASS_METRICS:
        raise ValueError(f"class_metric: expected one of {', '.join(CLASS_METRICS)}, got {class_metric!r}")
    if not new:
        raise TypeError("new: expected at least one system beside the baseline, got none")
    chosen = EvalOptions.from_keywords(options, compare)
    if "interval" in options:
        raise TypeError("interval: expected level= as the confidence level of a comparison, got interval=")
    for name in ("thresholds", "allow_same_set", "calibration"):
        if name in options:
            raise TypeError(f"{name}: expected vltr_eval.evaluate, which has it for one system, got vltr_eval.compare")
    systems = [_runs_of(system) for system in (base, *new)]
    named = checked_names(names, systems)
    loaded, progress = _load_all(systems, progress)
    chosen = _complete(chosen, options, [run for system in loaded for run in system if isinstance(run, Evaluation)])
    if labels is None and any(not isinstance(run, Evaluation) for system in loaded for run in system):
        raise TypeError("labels: expected the labels of the predictions, got None; saved evaluations alone need none")
    count = sum(not isinstance(run, Evaluation) for system in loaded for run in system)
    of_rows = {"labels": labels, "clusters": clusters, "slices": slices}
    unused = [*options, *(name for name, value in of_rows.items() if value is not None)]
    if count == 0 and unused:
        name = unused[0]
        raise TypeError(f"{name}: expected predictions to evaluate with it, got saved evaluations; leave it out")
    if slices is not None and count < sum(map(len, loaded)):
        raise TypeError(
            "slices: expected predictions of all systems, got a saved evaluation, which has no scores of its rows"
        )
    found: list[list[Run]] = []
    done = 0
    for own_name, system in zip(named, loaded, strict=True):
        runs = []
        for number, run in enumerate(system, 1):
            if isinstance(run, Evaluation):
                runs.append(Run(run, None))
                continue
            share = part_of(progress, _OF_EVALUATIONS * done / count, _OF_EVALUATIONS * (done + 1) / count)
            done += 1
            try:
                evaluation, predictions = evaluate_predictions(
                    run, labels, chosen, reading, clusters=clusters, slices=slices, threads=threads, progress=share
                )
            except (ValueError, TypeError) as error:
                # Each system has scores, so the message alone may not tell which are wrong.
                if not (isinstance(run, (str, os.PathLike)) and str(error).startswith(os.fspath(run))):
                    error.args = (f"{_name_of_run(own_name, number, len(system))}: {error}",)
                raise
            runs.append(Run(evaluation, predictions))
        found.append(runs)
    compared = compare_runs(
        found,
        named,
        level=level,
        class_metric=class_metric,
        threads=threads,
        progress=part_of(progress, _OF_EVALUATIONS if count else 0.0, 1.0),
    )
    if progress is not None:
        progress(1.0)
    return compared, found


def details_of_runs(
    systems: Sequence[Sequence[Run]],
    names: Sequence[str],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[ClassDetails]:
    """Return the details of the classes of each system, those of its first run; of an archive its curves alone."""
    details = []
    for number, (runs, name) in enumerate(zip(systems, names, strict=True)):
        predictions = runs[0].predictions
        if predictions is None:
            details.append(ClassDetails.of(runs[0].evaluation.table, name))
            continue
        share = part_of(progress, number / len(systems), (number + 1) / len(systems))
        details.append(
            details_of(
                predictions.scores,
                predictions.positives,
                predictions.table,
                ids=predictions.ids,
                order=predictions.order,
                name=name,
                threads=threads,
                progress=share,
            )
        )
    return details


_OF_EVALUATIONS = 0.6  # share of the time; the rest is for the tests of single classes


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
                own = _name_of_run(name, number, len(runs))
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


def _name_of_run(name: str, number: int, count: int) -> str:
    return name if count == 1 else f"{name}, run {number}"


def _runs_of(system: Any) -> list[Any]:
    """The runs of a system: those of a list, or the one that it is."""
    if not isinstance(system, (list, tuple)):
        return [system]
    for run in system:
        if not isinstance(run, (str, os.PathLike, Evaluation, list, tuple)) and len(getattr(run, "shape", ())) == 0:
            raise TypeError(
                f"base and new: expected a list to have the runs of one system, arrays or paths, got {run!r} in it; "
                "pass scores as an array"
            )
    if not system:
        raise ValueError("base and new: expected at least one run of each system, got an empty list")
    return list(system)


def checked_names(names: Sequence[str] | None, systems: Sequence[Sequence[Any]]) -> list[str]:
    """The names of the systems, or short ones from their paths. Raises ValueError if they do not fit."""
    if names is None:
        return name_systems(systems)
    names = [names] if isinstance(names, str) else [str(name) for name in names]
    if len(names) != len(systems):
        raise ValueError(f"names: expected a name for each of {len(systems)} systems, got {len(names)}")
    if len(set(names)) < len(names) or not all(names):
        raise ValueError(f"names: expected different names, got {', '.join(map(repr, names))}")
    return names


def _load_all(systems: Sequence[Sequence[Any]], progress: Progress | None) -> tuple[list[list[Any]], Progress | None]:
    """The evaluations that runs are, or their scores; and the progress that is left for the rest of the call."""
    are_saved = [[is_saved(run) for run in system] for system in systems]
    count, done = sum(map(sum, are_saved)), 0
    share = 0.0 if count == 0 else _OF_LOADING if all(map(all, are_saved)) else _OF_LOADING / 4
    loaded = []
    for system, saved in zip(systems, are_saved, strict=True):
        runs = []
        for run, load in zip(system, saved, strict=True):
            if load:
                part = part_of(progress, share * done / count, share * (done + 1) / count)
                run = Evaluation.load(run, progress=part)
                done += 1
            runs.append(run)
        loaded.append(runs)
    return loaded, part_of(progress, share, 1.0)


_OF_LOADING = 0.8  # share of the time of a comparison of saved evaluations alone


def is_saved(run: Any) -> bool:
    """Whether a run is a file that `Evaluation.save` wrote."""
    return isinstance(run, (str, os.PathLike)) and os.path.isfile(run) and is_archive(run)


def _complete(chosen: EvalOptions, options: Mapping[str, Any], known: Sequence[Evaluation]) -> EvalOptions:
    """The options; those that are not given are those of the first saved evaluation."""
    if known:
        report = known[0].report
        settings = report.settings
        saved: dict[str, Any] = {"topk": settings.topk, "absent": settings.absent, "sap": settings.sap}
        if settings.bounds is not None:
            saved["bounds"] = settings.bounds if settings.preset is None else settings.preset
        if settings.partitions:
            saved["groups"] = {name: report.classes[name] for name, _ in settings.partitions}
        for option, column in (("train_counts", "train_count"), ("class_names", "name")):
            if column in report.classes:
                saved[option] = report.classes[column]
        chosen = replace(chosen, **{name: value for name, value in saved.items() if name not in options})
    return replace(chosen, sap=None if chosen.sap is None else "exact")


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
