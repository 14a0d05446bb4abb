"""An evaluation that can be kept and compared later, without its predictions."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from vltr_eval._base.arrays import Matrix
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.fingerprints import label_fingerprint, order_by_id, read_fingerprint
from vltr_eval._engine.inputs import ReadingOptions
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.mean_effects import MeanEffect, read_clusters
from vltr_eval._engine.options import EvalOptions, EvalOptionsDict, Unpack, read_with_options, share_of_reading
from vltr_eval._engine.rank_table import RankTable
from vltr_eval._engine.results import BEFORE_SLICES, ClassInfo, EvaluationCounts, share_of_counting
from vltr_eval.comparison.archive import fill_archive, read_archive, write_archive
from vltr_eval.formats.align import POSITION
from vltr_eval.report.names import OVERALL, accuracy_at, grouped_name
from vltr_eval.report.report import Report
from vltr_eval.report.settings import Settings

if TYPE_CHECKING:
    from vltr_eval.formats.slice_files import RowSlice

_MOST_VALUES = 2**64  # in a mean: Acc@k over L rows has L (L - 1)
_SHORT = 12  # digits of a fingerprint in a message


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The report of an evaluation with the effect of each row on its means, to compare it with other systems.

    `save` keeps it in a file of a few megabytes. Comparing saved evaluations gives the bits of comparing predictions.
    Tests of single classes need the predictions.

    Attributes:
        report: The report.
        table: The rank table.
        effects: The drop-one effects of the rows on each mean, by its flat name.
        label_fingerprint: SHA-256 of the labels: rows, classes, positives, and unknown cells if there are any.
        id_fingerprint: SHA-256 of the row ids in ascending order; None without ids. With ids, rows are numbered in
            their order, so evaluations of differently sorted files can be compared.
        clusters: (N,) the cluster of each row, as numbers; None if every row is independent of the others.

    Example:
        >>> scores, labels = np.float32([[0.9], [0.8], [0.7]]), np.uint8([[1], [0], [1]])
        >>> evaluation = Evaluation.from_predictions(scores, labels, topk=None)
        >>> round(evaluation.report.metrics()["mAP"], 4), sorted(evaluation.effects)
        (0.8333, ['ROC_AUC', 'expected_SAP', 'mAP'])
    """

    report: Report
    table: RankTable
    effects: Mapping[str, MeanEffect]
    label_fingerprint: str
    id_fingerprint: str | None = None
    clusters: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"<Evaluation of {self.report.num_rows} rows and {self.report.num_classes} classes: {self.report!r}>"

    def _repr_html_(self) -> str:
        from vltr_eval._base.notebook_html import notebook_html, paragraph

        rows = f"effects of {self.report.num_rows:,} rows on {len(self.effects):,} means"
        ids = "without row ids" if self.id_fingerprint is None else "rows numbered by their ids"
        clusters = "" if self.clusters is None else f", in {int(self.clusters.max(initial=-1)) + 1:,} clusters"
        facts = notebook_html(
            f"Evaluation of {self.report.num_classes:,} classes", paragraph(f"{rows}, {ids}{clusters}")
        )
        return facts + self.report._repr_html_()

    @classmethod
    def from_predictions(
        cls,
        scores: Any,
        labels: Any,
        *,
        ids: Any = None,
        label_ids: Any = None,
        columns: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        header: bool | None = None,
        label_form: str | None = None,
        join: str = "exact",
        mask: Any = None,
        unknown: Any = None,
        clusters: Any = None,
        threads: int | None = None,
        progress: Callable[[float], None] | None = None,
        **options: Unpack[EvalOptionsDict],
    ) -> Evaluation:
        """Evaluate predictions, as `vltr_eval.evaluate` does, and keep the effects of the rows.

        Args:
            scores: See `vltr_eval.evaluate`, as all that are not listed here.
            labels: See there.
            clusters: (N,) integers or strings, the cluster of each row of the scores, or a file with one a line. The
                rows of one cluster depend on each other, as the clips of one video do.
            **options: See `vltr_eval.EvalOptions`.

        Raises:
            ValueError: See `vltr_eval.evaluate`.
            TypeError: See there.
        """
        chosen = EvalOptions.from_keywords(options, cls.from_predictions)
        reading = ReadingOptions(ids, label_ids, columns, exclude, header, label_form, join, mask, unknown)
        found, _ = evaluate_predictions(
            scores, labels, chosen, reading, clusters=clusters, threads=threads, progress=progress
        )
        return found

    def save(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """Write the evaluation as one compressed .npz, whole or not at all.

        Args:
            path: The file.
            progress: Called with the fraction done.

        Raises:
            OutputError: The file cannot be written.
        """
        write_archive(path, *self._contents(), progress)

    def fill(self, path: Path, progress: Progress | None = None) -> None:
        """Write the evaluation to the temporary file of a `PendingFile`."""
        fill_archive(path, *self._contents(), progress)

    @overload
    def to_html(self, path: None = None) -> str: ...

    @overload
    def to_html(self, path: str | os.PathLike[str]) -> None: ...

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Write the report as one HTML file, with the precision-recall curve of each class.

        Histograms of scores and single rows need the predictions: see `vltr_eval.Report.to_html`.

        Args:
            path: The file to write; None returns the text.

        Raises:
            OutputError: The file cannot be written; a ValueError.
        """
        return self.report.to_html(path, details=self.table)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, progress: Progress | None = None) -> Evaluation:
        """Read an evaluation that `save` wrote. Every value is checked, and nothing is unpickled.

        Args:
            path: The file.
            progress: Called with the fraction done.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is no evaluation, or it is damaged.
        """
        texts, table, numbers = read_archive(path, ("effects", "clusters"), progress)
        try:
            return cls._from_contents(texts, table, numbers)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
            raise ValueError(
                f"{os.fspath(path)}: expected the parts of an evaluation to fit together, got a damaged file ({error})"
            ) from None

    def _contents(self) -> tuple[dict[str, str], RankTable, dict[str, np.ndarray]]:
        """The arguments of `write_archive`."""
        derived = self._derived()
        stored = [name for name in self.effects if name not in derived]
        facts = {
            "label_fingerprint": self.label_fingerprint,
            "id_fingerprint": self.id_fingerprint,
            "effects": {
                name: {"exponent": effect.exponent, "count": effect.count, "is_sum": name in derived}
                for name, effect in self.effects.items()
            },
        }
        numbers = {}
        if stored:
            numbers["effects"] = np.stack([self.effects[name].sums for name in stored])
        if self.clusters is not None:
            numbers["clusters"] = self.clusters
        import json  # not above: few programs save or read an evaluation

        return {"report": self.report.to_json(), "facts": json.dumps(facts)}, self.table, numbers

    def _derived(self) -> set[str]:
        """The overall effects that are the sums of those of the groups, which saves a quarter of the file."""
        return {
            name
            for name, parts in _parts_of(self.report).items()
            if name in self.effects and _is_sum(self.effects[name], [self.effects.get(part) for part in parts])
        }

    @classmethod
    def _from_contents(
        cls, texts: Mapping[str, str], table: RankTable, numbers: Mapping[str, np.ndarray]
    ) -> Evaluation:
        import json  # see above

        report, facts = Report.from_json(texts["report"]), json.loads(texts["facts"])
        num_rows = report.num_rows
        if (table.num_rows, table.num_classes) != (num_rows, report.num_classes):
            raise ValueError(f"a table of {table.num_rows} rows and {table.num_classes} classes")
        if tuple(table.num_positives.tolist()) != report.classes["num_positives"]:
            raise ValueError("a table with other positives")
        if tuple(table.num_negatives.tolist()) != report.classes["num_negatives"]:
            raise ValueError("a table with other negatives")
        stored = list(numbers.get("effects", ()))
        parts, means = _parts_of(report), report.metrics()
        kept: dict[str, MeanEffect] = {}
        entries = facts["effects"]
        for name, entry in entries.items():
            if name not in means or not isinstance(entry["is_sum"], bool):
                raise ValueError(f"effects of {name}")
            if not entry["is_sum"]:
                kept[name] = _effect(stored.pop(0), entry, num_rows)
        for name, entry in entries.items():
            if entry["is_sum"]:
                total = np.sum([kept[part].sums for part in parts[name]], axis=0)
                kept[name] = _effect(total, entry, num_rows)
        if stored:
            raise ValueError("more effects than names")
        clusters = numbers.get("clusters")
        if clusters is not None:
            (clusters,) = clusters
            if clusters.shape != (num_rows,):
                raise ValueError(f"{len(clusters)} clusters")
            if not np.array_equal(clusters, number_by_appearance(clusters)):
                raise ValueError("clusters that are not numbered as they appear")
        return cls(
            report,
            table,
            {name: kept[name] for name in entries},
            read_fingerprint(facts["label_fingerprint"]),
            None if facts["id_fingerprint"] is None else read_fingerprint(facts["id_fingerprint"]),
            clusters,
        )

    def check_comparable(self, other: Evaluation, own_name: str, other_name: str) -> None:
        """Raise ValueError, with the reason, if the other evaluation is not of the same labels, rows and settings."""
        mine, its = self.report, other.report
        for name in ("num_rows", "num_classes"):
            expected, got = getattr(mine, name), getattr(its, name)
            if expected != got:
                what = name.removeprefix("num_")
                raise ValueError(f"{other_name}: expected {expected:,} {what} as {own_name} has, got {got:,}")
        if (self.id_fingerprint is None) != (other.id_fingerprint is None):
            with_ids, without = (own_name, other_name) if other.id_fingerprint is None else (other_name, own_name)
            raise ValueError(
                f"{other_name}: expected row ids with both systems or with none, got them with {with_ids} and not with "
                f"{without}; evaluate both with ids=, or both with join='position'"
            )
        if self.id_fingerprint != other.id_fingerprint:
            raise ValueError(f"{other_name}: expected the row ids of {own_name}, got ids of other rows")
        unknown = [one.table.unknown for one in (self, other)]
        counts = [0 if cells is None else int(cells.sum()) for cells in unknown]
        if counts[0] != counts[1]:
            raise ValueError(
                f"{other_name}: expected the {counts[0]:,} unknown cells of {own_name}, got {counts[1]:,}; evaluate "
                "both with the same mask= or unknown= (--unknown)"
            )
        if self.label_fingerprint != other.label_fingerprint:
            raise ValueError(
                f"{other_name}: expected the labels of {own_name} (SHA-256 {self.label_fingerprint[:_SHORT]}), got "
                f"labels with {other.label_fingerprint[:_SHORT]}; are the rows in another order?"
            )
        names = [report.classes["name"] for report in (mine, its) if "name" in report.classes]
        for index, pair in enumerate(zip(*names, strict=True)):
            if len(set(pair)) > 1:
                raise ValueError(
                    f"{other_name}: expected the classes of {own_name}, got {pair[1]!r} as class {index} instead of "
                    f"{pair[0]!r}"
                )
        self._check_settings(other, own_name, other_name)
        one, two = self.clusters, other.clusters
        if one is not None and two is not None and not np.array_equal(one, two):
            raise ValueError(
                f"{other_name}: expected the clusters of {own_name}, got another division of the rows; are the rows in "
                "another order?"
            )
        if (one is None) != (two is None):
            raise ValueError(
                f"{other_name}: expected clusters of rows with both systems or with none, got none with "
                f"{own_name if one is None else other_name}; evaluate it with clusters= (--clusters)"
            )

    def _check_settings(self, other: Evaluation, own_name: str, other_name: str) -> None:
        mine, its = self.report, other.report
        pairs: dict[str, tuple[Any, Any]] = {
            "sap": (mine.settings.sap is not None, its.settings.sap is not None),
            **{name: (getattr(mine.settings, name), getattr(its.settings, name)) for name in ("topk", "absent")},
            "bounds": (mine.settings.bounds, its.settings.bounds),
            "preset": (mine.settings.preset or "head, medium, tail", its.settings.preset or "head, medium, tail"),
            "train_counts": (mine.classes.get("train_count"), its.classes.get("train_count")),
            "groups": (_own_groups(mine), _own_groups(its)),
        }
        for name, (expected, got) in pairs.items():
            if expected == got:
                continue
            if name == "groups":
                raise ValueError(
                    f"{other_name}: groups: expected the groups of one's own of {own_name}, got other ones; evaluate "
                    "both with the same groups= (--groups)"
                )
            if name == "train_counts" or None in (expected, got):
                shown = ["none" if value is None else "counts" for value in (expected, got)]
                reason = f"expected the training counts of {own_name}, got other ones"
                if None in (expected, got):
                    reason = f"expected {shown[0]} as with {own_name}, got {shown[1]}"
                raise ValueError(f"{other_name}: train_counts: {reason}; groups must have the same classes")
            raise ValueError(
                f"{other_name}: expected the settings of {own_name}, {name}={expected!r}, got {name}={got!r}"
            )


@dataclass(frozen=True, eq=False)
class Predictions:
    """The scores behind an evaluation, for tests of single classes.

    Attributes:
        scores: The (N, C) matrix.
        positives: The labels of its rows.
        table: The rank table.
        order: (N,) the rows in ascending order of their ids; None if that is their order.
        slices: The evaluation of each slice of the rows, by its partition and name.
        ids: (N,) the ids of the rows, or None.
    """

    scores: Matrix
    positives: Positives
    table: RankTable
    order: np.ndarray | None = None
    slices: Mapping[tuple[str, str], Evaluation] = field(default_factory=dict)
    ids: np.ndarray | None = None


def evaluate_predictions(
    scores: Any,
    labels: Any,
    chosen: EvalOptions,
    reading: ReadingOptions,
    *,
    clusters: Any = None,
    slices: Any = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[Evaluation, Predictions]:
    """Evaluate predictions and keep what comparisons need.

    Args:
        scores: See `vltr_eval.evaluate`.
        labels: See there.
        chosen: The options.
        reading: The options of reading.
        clusters: See `Evaluation.from_predictions`.
        slices: Slices of the rows, which are evaluated too; see `vltr_eval.evaluate`.
        threads: CPU threads.
        progress: Called with the fraction done.
    """
    read = share_of_reading(scores, labels)
    inputs, settings, class_info = read_with_options(scores, labels, chosen, reading, part_of(progress, 0.0, read))
    progress = part_of(progress, read, 1.0)
    matrix = inputs.scores
    positives = inputs.positives(form=reading.label_form, threads=threads)
    parts = inputs.row_slices(slices)
    of_slices = part_of(progress, BEFORE_SLICES, 1.0)
    progress = part_of(progress, 0.0, BEFORE_SLICES) if parts else progress
    ids = None if reading.join == POSITION else inputs.ids
    class_info = class_info.checked_for(positives, ids)
    counted = share_of_counting(settings)
    known_clusters = read_clusters(clusters, matrix)
    chunk = Chunk(matrix, positives, clusters=known_clusters)
    counts = count_chunks(
        with_effects(settings),
        [chunk],
        matrix.num_classes,
        class_info=class_info,
        threads=threads,
        progress=part_of(progress, 0.0, counted),
        keep_effects=True,
    )
    report = without_effects(counts, settings).report(class_info, part_of(progress, counted, 1.0))
    report = replace(report, notes=(*inputs.notes, *report.notes))
    of_row = None if known_clusters is None else known_clusters.of_row
    found, order = keep_evaluation(report, counts, positives, ids, of_row)
    sliced = _evaluate_slices(parts, settings, chunk, class_info, ids, threads, of_slices) if parts else {}
    return found, Predictions(matrix, positives, counts.table, order, sliced, ids)


def _evaluate_slices(
    slices: Sequence[RowSlice],
    settings: Settings,
    chunk: Chunk,
    class_info: ClassInfo,
    ids: np.ndarray | None,
    threads: int | None,
    progress: Progress | None,
) -> dict[tuple[str, str], Evaluation]:
    """The evaluation of each slice, with the effects of its rows. ids: (N,), or None."""
    from vltr_eval._engine.slices import SliceCounter  # see above

    plain = replace(settings, thresholds=None, calibration=None)
    counter = SliceCounter(with_effects(plain), chunk, class_info, threads=threads)
    found = {}
    for number, part in enumerate(slices):
        share = part_of(progress, number / len(slices), (number + 1) / len(slices))
        counts, positives = counter.count(part.rows, keep_effects=True, progress=share)
        report = without_effects(counts, plain).report(class_info)
        own_ids = None if ids is None else ids[part.rows]
        clusters = None if chunk.clusters is None else chunk.clusters.of_row[part.rows]
        found[part.partition, part.name] = keep_evaluation(report, counts, positives, own_ids, clusters)[0]
    return found


def with_effects(settings: Settings) -> Settings:
    """The settings under which a count has the effects of rows; the level is that of no printed interval."""
    return settings if settings.interval is not None else replace(settings, interval=_ANY_LEVEL)


_ANY_LEVEL = 0.95


def without_effects(counts: EvaluationCounts, settings: Settings) -> EvaluationCounts:
    """The counts of a report under the settings, which may have no intervals."""
    return replace(counts, settings=settings, clustered=None if settings.interval is None else counts.clustered)


def keep_evaluation(
    report: Report, counts: EvaluationCounts, positives: Positives, ids: Any = None, clusters: np.ndarray | None = None
) -> tuple[Evaluation, np.ndarray | None]:
    """Make an evaluation of counts that have effects.

    Args:
        report: The report of the counts.
        counts: The counts of all rows.
        positives: The labels of all rows.
        ids: (N,) row ids, or None.
        clusters: (N,) the cluster of each row, or None.

    Returns:
        The evaluation, and the rows in ascending order of their ids, or None if they are in that order.
    """
    effects = counts.effects
    if effects is None:
        raise ValueError("interval: expected counts with the effects of rows, got counts without them")
    id_fingerprint, order = None, None
    if ids is not None:
        id_fingerprint, order = order_by_id(ids, report.num_rows)
    if order is not None:
        effects = {name: replace(effect, sums=effect.sums[order]) for name, effect in effects.items()}
        clusters = None if clusters is None else clusters[order]
    if clusters is not None:
        clusters = number_by_appearance(clusters)
    fingerprint = label_fingerprint(positives, order)
    return Evaluation(report, counts.table, effects, fingerprint, id_fingerprint, clusters), order


def number_by_appearance(clusters: np.ndarray) -> np.ndarray:
    """Clusters as numbers from 0 in the order in which they appear, so that equal divisions have equal numbers."""
    _, first, group = np.unique(clusters, return_index=True, return_inverse=True)
    number_of = np.empty(len(first), np.int64)
    number_of[np.argsort(first)] = np.arange(len(first))
    return number_of[group.reshape(-1)]


def _own_groups(report: Report) -> dict[str, tuple[str | None, ...]]:
    """The group of each class in each partition of one's own."""
    return {name: report.classes[name] for name, _ in report.settings.partitions}


def _parts_of(report: Report) -> dict[str, list[str]]:
    """The flat names of the groups by training counts of each overall mean."""
    groups = [group.name for group in report.groups if group.name != OVERALL and not group.partition]
    metrics = [*report.settings.metrics, *map(accuracy_at, report.settings.topk)]
    return {metric.name: [grouped_name(metric, group) for group in groups] for metric in metrics}


def _is_sum(total: MeanEffect, parts: Sequence[MeanEffect | None]) -> bool:
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts) or any(part.exponent != total.exponent for part in known):
        return False
    return bool(np.array_equal(total.sums, np.sum([part.sums for part in known], axis=0)))


def _effect(sums: np.ndarray, entry: Mapping[str, Any], num_rows: int) -> MeanEffect:
    exponent, count = entry["exponent"], entry["count"]
    for value in (exponent, count):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{value!r} where a whole number belongs")
    if sums.shape != (num_rows,) or not 0 <= count < _MOST_VALUES or abs(exponent) > 2000:
        raise ValueError(f"effects of {len(sums)} rows, exponent {exponent}, count {count}")
    return MeanEffect(sums, exponent, count)
