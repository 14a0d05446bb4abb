"""The evaluation of spatio-temporal detections: from files or tables to an `AvaReport`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from vltr_eval._base.arguments import check_seed
from vltr_eval._base.groups import DEFAULT_BOUNDS, Bounds, preset_of, read_bounds
from vltr_eval._base.progress import Progress, part_of
from vltr_eval._base.version import __version__
from vltr_eval._engine.draws import draw_rows, mean_and_std
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_table import RankTable, mean_of_defined
from vltr_eval._engine.results import ClassInfo, means_by_group
from vltr_eval.compat.ava.checks import Source, check_classes, check_corners, check_scores
from vltr_eval.compat.ava.files import Boxes, Images, read_boxes, read_images
from vltr_eval.compat.ava.matching import PROTOCOLS, Protocol, Rows, match, select
from vltr_eval.compat.ava.report import EXPECTED_STEP_SAP, STEP_SAP_CHANCE, AvaReport, AvaSettings
from vltr_eval.formats import ClassNames, InputError
from vltr_eval.formats.label_map import read_labelmap
from vltr_eval.metrics.rank_metrics import rank_table
from vltr_eval.report.names import AP, SAP, SAP_STD, Metric
from vltr_eval.report.text import shortlist

__all__ = ["evaluate"]

_Part = TypeVar("_Part")


def evaluate(
    detections: str | os.PathLike[str] | Boxes,
    groundtruth: str | os.PathLike[str] | Boxes,
    *,
    labelmap: str | os.PathLike[str] | Mapping[int, str] | None = None,
    exclude: str | os.PathLike[str] | Images | None = None,
    protocol: str | Protocol = "official",
    iou: float = 0.5,
    interpolation: str = "voc",
    sap: int | str | None = 15,
    seed: int = 0,
    train_counts: Sequence[float] | np.ndarray | None = None,
    bounds: Bounds = DEFAULT_BOUNDS,
    groups: Any = None,
    progress: Progress | None = None,
) -> AvaReport:
    """Frame AP of each class of actions, as AVA's official script has it, and sampled AP over boxes.

    Args:
        detections: CSV file (`read_boxes`), or `Boxes`.
        groundtruth: The same.
        labelmap: The classes to evaluate: a .pbtxt file (`read_labelmap`) or their names by id; None for all that
            occur, without negative ids.
        exclude: Images to leave out of both: a CSV file (`read_images`) or `Images`. The official script of the
            challenge of 2019 reads none; that of 2018, SlowFast and mmaction2 do.
        protocol: A name of `PROTOCOLS`, or a `Protocol`.
        iou: Overlap from which a box is found.
        interpolation: "voc" for AP and SAP under the upper envelope of the precision-recall curve, as in the official
            script; "step" for the curve itself, as in the rest of vltr_eval.
        sap: SAP trials to draw, "exact" for the closed form (of the step-wise AP) alone, None for no SAP.
        seed: Seed of the trials.
        train_counts: (C,) training samples of each class, ids ascending; adds the means of head (n > bounds[0]), medium
            and tail (n <= bounds[1]) classes.
        bounds: The two bounds of these groups, or a preset, as in `vltr_eval.EvalOptions`.
        groups: Groups of one's own, as there; classes are named or given by their ids.
        progress: Called with the fraction done.

    Returns:
        The report. Its notes say how many rows were ignored and why, and what is unusual in the files.

    Raises:
        InputError: A file is not as described.
        ValueError: Detections and ground truth do not belong together: they were swapped, no image is in both, only one
            has corners in pixels, or ids of classes are shifted. Or the ground truth has no boxes of any class, or
            corners the wrong way round.

    >>> frame = Images(["film"] * 2, np.array([902.0, 902.0]))
    >>> none = Images([], np.array([]))
    >>> boxes = np.array([[.1, .1, .4, .9], [.5, .1, .9, .9]])
    >>> truth = Boxes(frame, boxes, np.array([12, 12]), np.ones(2), none)
    >>> found = Boxes(frame, boxes + [[0, 0, .01, 0], [.4, 0, .4, 0]], np.array([12, 12]), np.array([.9, .8]), none)
    >>> evaluate(found, truth, labelmap={12: "stand", 17: "write"}, sap=None).official_metrics()
    {'PascalBoxes_Precision/mAP@0.5IOU': 0.5, 'PascalBoxes_PerformanceByCategory/AP@0.5IOU/stand': 0.5,\
 'PascalBoxes_PerformanceByCategory/AP@0.5IOU/write': nan}
    """
    settings = AvaSettings(
        sap=int(sap) if isinstance(sap, np.integer) else sap,
        seed=check_seed(seed),
        bounds=None if train_counts is None else read_bounds(bounds).bounds,
        preset=None if train_counts is None else preset_of(bounds),
        protocol=_protocol(protocol),
        iou=float(iou),
        interpolation=interpolation,
    )
    is_read = isinstance(detections, Boxes) and isinstance(groundtruth, Boxes)
    matched, counted = (0.4, 0.6) if is_read else (0.8, 0.9)
    sources = _read((detections, groundtruth), part_of(progress, 0.0, 0.0 if is_read else _OF_READING))
    names = _class_names(labelmap, *(source.boxes for source in sources))
    class_info = _class_info(names, train_counts, bounds, groups)
    settings = replace(settings, partitions=class_info.own_partitions)
    ids = np.array(list(names), np.int64)
    notes = check_scores(*sources) + check_corners(*sources)
    _check_ids(sources, ids, labelmap)
    selection = select(*sources, _excluded(exclude), ids, settings.protocol)
    del sources  # large, and the rows that count are copies
    kept = selection.kept
    found = match(kept, selection.truth, settings.protocol, settings.iou)
    if settings.protocol.single_precision:
        kept = kept._replace(score=kept.score.astype(np.float32).astype(np.float64))
    num_boxes = np.bincount(selection.truth.cls, minlength=len(ids)) + selection.num_excluded
    pools = _pools(kept, found, num_boxes, part_of(progress, matched, counted))
    sentences = [*notes, *selection.notes]
    if protocol == "mmaction2":
        sentences.append(_NAME_OF_0)
    report = _report(settings, class_info, ids, pools, selection.num_images, sentences, part_of(progress, counted, 1.0))
    if progress is not None:
        progress(1.0)
    return report


_NAME_OF_0 = (
    "protocol mmaction2 is that of mmaction2 0.x; mmaction2 1.0.0 and later print other numbers: protocol mmaction2-1.x"
)
_OF_READING = 0.7  # share of the time in which files are read


def _read(
    inputs: tuple[str | os.PathLike[str] | Boxes, str | os.PathLike[str] | Boxes],
    progress: Progress | None,
) -> tuple[Source, Source]:
    """Detections and ground truth. Progress counts the bytes of both files."""
    sizes = [0 if isinstance(boxes, Boxes) else os.stat(boxes).st_size for boxes in inputs]
    sources, done = [], 0
    for name, boxes, size in zip(("detections", "groundtruth"), inputs, sizes, strict=True):
        if isinstance(boxes, Boxes):
            sources.append(Source(name, boxes, None))
            continue
        report = None
        if progress is not None and size:
            report = part_of(progress, done / sum(sizes), (done + size) / sum(sizes))
        read = read_boxes(boxes, report)
        if not len(read) and not len(read.empty):
            raise InputError(f"{boxes}: expected lines video,time,x1,y1,x2,y2,class, got an empty file")
        sources.append(Source(str(boxes), read, read.lines))
        done += size
    return sources[0], sources[1]


def _check_ids(
    sources: tuple[Source, Source], ids: np.ndarray, labelmap: str | os.PathLike[str] | Mapping[int, str] | None
) -> None:
    """Refuse classes that are shifted against the label map, or without one against the ground truth."""
    detections, groundtruth = sources
    if labelmap is None:
        check_classes(detections, _classes_of(groundtruth.boxes), "the ground truth")
    else:
        for source in sources:
            check_classes(source, ids, "the label map")


def _classes_of(boxes: Boxes) -> np.ndarray:
    """The classes that occur, ascending, without the negative ones: these mark rows to be left out."""
    classes = np.unique(boxes.classes)
    return classes[classes >= 0]


def _protocol(protocol: str | Protocol) -> Protocol:
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol: expected a Protocol or one of {tuple(PROTOCOLS)}, got {protocol!r}")
    return PROTOCOLS[protocol]


def _excluded(exclude: str | os.PathLike[str] | Images | None) -> Images:
    if exclude is None:
        return Images([], np.empty(0))
    return exclude if isinstance(exclude, Images) else read_images(exclude)


def _class_names(
    labelmap: str | os.PathLike[str] | Mapping[int, str] | None, detections: Boxes, groundtruth: Boxes
) -> dict[int, str]:
    """The name of each class by its id, ids ascending."""
    if labelmap is None:
        return {c: str(c) for c in np.union1d(_classes_of(detections), _classes_of(groundtruth)).tolist()}
    if isinstance(labelmap, Mapping):
        if len(set(labelmap.values())) < len(labelmap):
            raise ValueError(f"labelmap: expected another name for each class, got {list(labelmap.values())}")
        return dict(sorted(labelmap.items()))
    return read_labelmap(labelmap)


def _class_info(
    names: Mapping[int, str], train_counts: Sequence[float] | np.ndarray | None, bounds: Bounds, groups: Any
) -> ClassInfo:
    if not names:
        raise ValueError("labelmap: expected at least one class, got none")
    if train_counts is not None and len(train_counts) != len(names):
        raise ValueError(f"train_counts: {len(train_counts)} counts, but {len(names)} classes are evaluated")
    if groups is not None:
        from vltr_eval.formats.group_files import read_group_file, read_groups  # not above: few evaluations have them

        if isinstance(groups, (str, os.PathLike)):
            groups = read_group_file(groups)
        known = ClassNames.from_names(list(names.values()), "the label map")
        ids = {str(number): position for position, number in enumerate(names)}
        known = replace(known, index_of={**ids, **known.index_of})
        groups = read_groups(groups, len(names), known)
    return ClassInfo.checked(len(names), train_counts, bounds, list(names.values()), groups)


# ---------------------------------------------------------------------------------------------------------------------
# Results of one class
# ---------------------------------------------------------------------------------------------------------------------


_NO_ROWS = RankTable(0, np.zeros(2, np.int64), np.empty(0), *(np.empty(0, np.int64) for _ in range(3)))


@dataclass(frozen=True, eq=False)
class _Pool:
    """One class: its boxes, found or missed, and the scores of its false positives by image, corners and score.

    table: of the scores of found boxes, -inf for the missed ones, and false positives.
    """

    num_boxes: int
    num_found: int
    false: np.ndarray
    table: RankTable

    @classmethod
    def from_detections(cls, num_boxes: int, scores: np.ndarray, found: np.ndarray) -> _Pool:
        false = scores[~found]
        missed = np.full(num_boxes - np.count_nonzero(found), -np.inf)
        pool = np.concatenate([scores[found], missed, false])
        table = _NO_ROWS
        if len(pool):
            table = rank_table(pool[:, None], (np.arange(len(pool)) < num_boxes)[:, None], threads=1)
        return cls(num_boxes, num_boxes - len(missed), false, table)

    @property
    def _num_missed(self) -> int:
        return self.num_boxes - self.num_found

    @property
    def _num_drawn(self) -> int:
        return min(self.num_boxes, len(self.false))

    def _counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """tp, fp and tied of the table at the scores of found boxes."""
        reached = slice(None, -1 if self._num_missed else None)
        return self.table.tp[reached], self.table.fp[reached], self.table.tied[reached]

    def average_precision(self, interpolation: str) -> float:
        tp, fp, _ = self._counts()
        return float(_average_precision(tp, fp, self.num_boxes, interpolation))

    def tie_interval(self, interpolation: str) -> tuple[float, float]:
        """Lowest and highest AP among the orders of tied detections and what `average_precision` says."""
        tp, fp, tied = self._counts()
        new = np.diff(tp, prepend=0)
        one_by_one = np.arange(1, self.num_found + 1)
        ends = [
            float(_average_precision(one_by_one, np.repeat(above, new), self.num_boxes, interpolation))
            for above in (fp, fp - tied)
        ]
        together = self.average_precision(interpolation)
        return min(together, ends[0]), max(together, ends[1])

    def num_tied(self) -> int:
        """Found boxes that share their score with a false positive."""
        return int(self.table.tied_positives()[0])

    def sampled_average_precisions(self, class_index: int, trials: int, seed: int, interpolation: str) -> np.ndarray:
        """AP of each trial: (T,) float64."""
        tp, fp, _ = self._counts()
        drawn = fp[None]
        if self.num_boxes < len(self.false):
            thresholds = self.table.thresholds[: len(tp)]
            # The first threshold that each false positive is at or above.
            reaches = len(tp) - np.searchsorted(thresholds[::-1], self.false, side="right")
            draws = self._draws(class_index, trials, seed)
            drawn = np.stack([np.bincount(reaches[row], minlength=len(tp) + 1)[: len(tp)] for row in draws])
            drawn = np.cumsum(drawn, axis=1)
        return np.broadcast_to(_average_precision(tp, drawn, self.num_boxes, interpolation), (trials,))

    def _draws(self, class_index: int, trials: int, seed: int) -> np.ndarray:
        """Which false positives each trial draws: (T, P)."""
        # The class's number is part of the draw's key: those before it are there, without rows.
        positives = Positives(
            num_rows=len(self.false) + self.num_boxes,
            num_classes=class_index + 1,
            indptr=np.append(np.zeros(class_index + 1, np.int64), self.num_boxes),
            rows=np.arange(len(self.false), len(self.false) + self.num_boxes, dtype=np.uint32),
        )
        return draw_rows(positives, 0, trials, seed, threads=1).reshape(trials, self.num_boxes)

    def expected_step_sap(self) -> float:
        # The table's last threshold holds the missed boxes, under everything drawn: its summand is known, and not ours.
        if not self.num_found:
            return 0.0 if self.num_boxes else np.nan
        whole = float(self.table.expected_sampled_average_precision(threads=1)[0])
        return whole - self._num_missed / (self.num_boxes + self._num_drawn)

    def step_sap_chance(self) -> float:
        """Expected AP of a random order of the found boxes and the drawn false positives."""
        if not self.num_found:
            return 0.0 if self.num_boxes else np.nan
        size = self.num_found + self._num_drawn
        harmonic = float(np.sum(1 / np.arange(1, size + 1)))
        others = (self.num_found - 1) / (size - 1) * (size - harmonic) if size > 1 else 0.0
        return self.num_found / self.num_boxes * (others + harmonic) / size


def _pools(kept: Rows, found: np.ndarray, num_boxes: np.ndarray, progress: Progress | None = None) -> list[_Pool]:
    num_classes = len(num_boxes)
    # numpy sorts 16 bits by their digits, several times as fast.
    cls = kept.cls.astype(np.uint16) if num_classes <= 2**16 else kept.cls
    order = np.argsort(cls, kind="stable")
    ends = np.cumsum(np.bincount(kept.cls, minlength=num_classes))[:-1]
    parts = zip(np.split(kept.score[order], ends), np.split(found[order], ends), strict=True)
    pools = (_Pool.from_detections(number, *part) for number, part in zip(num_boxes.tolist(), parts, strict=True))
    return list(_followed(pools, num_classes, progress))


def _followed(parts: Iterable[_Part], count: int, progress: Progress | None) -> Iterator[_Part]:
    """The results of a work in parts, with its progress."""
    for done, part in enumerate(parts, 1):
        if progress is not None:
            progress(done / count)
        yield part


def _average_precision(tp: np.ndarray, fp: np.ndarray, num_boxes: int, interpolation: str) -> np.ndarray:
    """AP from counts (..., K) at falling thresholds: of the curve's steps, or of its upper envelope."""
    if not num_boxes:
        return np.full(fp.shape[:-1], np.nan)
    precision = tp / (tp + fp)
    if interpolation == "voc":
        precision = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    return np.asarray((precision * np.diff(tp, prepend=0)).sum(axis=-1) / num_boxes)


# ---------------------------------------------------------------------------------------------------------------------
# Report
# ---------------------------------------------------------------------------------------------------------------------


def _report(
    settings: AvaSettings,
    class_info: ClassInfo,
    ids: np.ndarray,
    pools: Sequence[_Pool],
    num_images: int,
    notes: list[str],
    progress: Progress | None = None,
) -> AvaReport:
    trials = _trials(settings, pools, progress)
    by_class = _by_class(settings, pools, trials)
    num_boxes, num_found, num_false = np.array([[p.num_boxes, p.num_found, len(p.false)] for p in pools]).T
    lower, upper = np.array([pool.tie_interval(settings.interpolation) for pool in pools]).T
    undefined = num_boxes == 0
    if settings.protocol.undetected_classes == "nan":
        undetected = ~undefined & (num_found + num_false == 0)
        if undetected.any():
            notes.append(_undetected_note(ids[undetected], len(ids)))
        undefined |= undetected
        for column in (lower, upper, *by_class.values(), *(() if trials is None else (trials.T,))):
            column[undetected] = np.nan
    columns = {
        "num_boxes": num_boxes,
        "num_found": num_found,
        "num_false_positives": num_false,
        **{metric.class_name: column for metric, column in by_class.items()},
        "AP_tie_lower": lower,
        "AP_tie_upper": upper,
    }
    return AvaReport(
        version=__version__,
        settings=settings,
        num_classes=len(pools),
        num_images=num_images,
        num_detections=int(num_found.sum() + num_false.sum()),
        num_boxes=int(num_boxes.sum()),
        num_found=int(num_found.sum()),
        tie_rate=sum(pool.num_tied() for pool in pools) / int(num_boxes.sum()),
        mAP_tie_interval=(mean_of_defined(lower), mean_of_defined(upper)),
        groups=means_by_group(class_info, by_class, undefined, trials),
        classes={
            "class": tuple(ids.tolist()),
            **class_info.columns(),
            **{name: tuple(column.tolist()) for name, column in columns.items()},
        },
        notes=tuple(notes),
    )


def _undetected_note(ids: np.ndarray, num_classes: int) -> str:
    return (
        f"detections: {len(ids):,} of {num_classes:,} classes have boxes and no detection; the protocol leaves them "
        f"out of means: {shortlist(ids.tolist())}"
    )


def _trials(settings: AvaSettings, pools: Sequence[_Pool], progress: Progress | None) -> np.ndarray | None:
    """(T, C) sampled AP of each trial, None where none are requested."""
    if not settings.trials:
        return None
    requested = settings.trials, settings.seed, settings.interpolation
    of_pools = (pool.sampled_average_precisions(c, *requested) for c, pool in enumerate(pools))
    return np.column_stack(list(_followed(of_pools, len(pools), progress)))


def _by_class(settings: AvaSettings, pools: Sequence[_Pool], trials: np.ndarray | None) -> dict[Metric, np.ndarray]:
    """The values (C,) of every metric that the settings ask for, in their order."""
    values = {AP: np.array([pool.average_precision(settings.interpolation) for pool in pools])}
    if trials is not None:
        values[SAP], values[SAP_STD] = mean_and_std(trials)
    if settings.sap is not None:
        values[EXPECTED_STEP_SAP] = np.array([pool.expected_step_sap() for pool in pools])
        values[STEP_SAP_CHANCE] = np.array([pool.step_sap_chance() for pool in pools])
    return values
