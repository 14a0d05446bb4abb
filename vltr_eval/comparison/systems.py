"""The comparison of several systems with a baseline on the same rows: their reading and evaluation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vltr_eval._base.progress import Progress, part_of
from vltr_eval._engine.class_details import details_of
from vltr_eval._engine.inputs import ReadingOptions
from vltr_eval._engine.options import EvalOptions, EvalOptionsDict, Unpack
from vltr_eval.comparison.archive import is_archive
from vltr_eval.comparison.evaluation import Evaluation, evaluate_predictions
from vltr_eval.comparison.names import name_systems
from vltr_eval.comparison.result import Comparison
from vltr_eval.comparison.runs import CLASS_METRICS, Run, compare_runs, name_of_run
from vltr_eval.intervals import check_level
from vltr_eval.page.details import ClassDetails


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
    mask: Any = None,
    unknown: Any = None,
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
        mask: See there.
        unknown: See there.
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
    reading = ReadingOptions(ids, label_ids, columns, exclude, header, label_form, join, mask, unknown)
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
                    error.args = (f"{name_of_run(own_name, number, len(system))}: {error}",)
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
