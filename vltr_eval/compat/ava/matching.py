"""Which rows of the AVA evaluation's files count, and which detections find a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from vltr_eval._engine.boxes import order_boxes
from vltr_eval.compat.ava.checks import (
    COUNTS,
    EMPTY,
    EXCLUDED,
    OTHER_CLASS,
    UNLISTED,
    Source,
    ignored_note,
    no_area_note,
    no_match_error,
)
from vltr_eval.compat.ava.files import Boxes, Images, VideoNames

__all__ = ["PROTOCOLS", "Protocol", "Rows", "image_numbers", "iou_of", "match", "select"]


@dataclass(frozen=True)
class Protocol:
    """The detections that count, and how they find boxes; `PROTOCOLS` has those of published code.

    Args:
        whole_seconds: Identify images by whole seconds, cut off, instead of times to six decimals.
        max_per_image: Number of best detections of an image that count, None for all.
        unlisted_images: "ignore" detections in images that the ground truth does not list, or count them as "false"
            positives.
        order: Within image and class, detections take boxes by "score", or in the order of the "file".
        second_choice: A detection whose best box is taken or too far goes on to its next best, as in COCO's evaluation.
        empty_images: "count" detections in listed images without a box of the classes to evaluate as false positives,
            or "ignore" them.
        excluded_boxes: "drop" the boxes of excluded images, or count them as "missed": they stay in the denominator of
            recall.
        undetected_classes: AP of a class with boxes and without a detection that counts: "zero", or "nan", which leaves
            the class out of means.
        no_area: "drop" detections without area, or count them as "false" positives. With "false", corners the wrong way
            round are an error.
        single_precision: Round corners and scores to float32 before boxes are compared and scores are ranked.
    """

    whole_seconds: bool = False
    max_per_image: int | None = 50
    unlisted_images: str = "ignore"
    order: str = "score"
    second_choice: bool = False
    empty_images: str = "count"
    excluded_boxes: str = "drop"
    undetected_classes: str = "zero"
    no_area: str = "drop"
    single_precision: bool = False

    def __post_init__(self) -> None:
        cap = self.max_per_image
        if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
            raise ValueError(f"max_per_image: expected a whole number from 1 or None, got {cap!r}")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {allowed}, got {getattr(self, name)!r}")

    def __str__(self) -> str:
        for name, protocol in PROTOCOLS.items():
            if protocol == self:
                return name
        default = Protocol()
        changed = [field.name for field in fields(self) if getattr(self, field.name) != getattr(default, field.name)]
        return "official" + "".join(f",{name}={getattr(self, name)}" for name in changed)


_CHOICES = {
    "unlisted_images": ("ignore", "false"),
    "order": ("score", "file"),
    "empty_images": ("count", "ignore"),
    "excluded_boxes": ("drop", "missed"),
    "undetected_classes": ("zero", "nan"),
    "no_area": ("drop", "false"),
}
_MMACTION2_0 = Protocol(whole_seconds=True, max_per_image=None, unlisted_images="false")
PROTOCOLS = {
    "official": Protocol(),
    "slowfast": Protocol(whole_seconds=True, max_per_image=None, unlisted_images="false", order="file"),
    "mmaction2": _MMACTION2_0,
    "mmaction2-0.x": _MMACTION2_0,
    "mmaction2-1.x": Protocol(
        whole_seconds=True,
        max_per_image=None,
        empty_images="ignore",
        excluded_boxes="missed",
        undetected_classes="nan",
        no_area="false",
        single_precision=True,
    ),
}
"""The protocols of published code.

official: the script of the ActivityNet challenge. slowfast: PySlowFast. mmaction2-0.x: mmaction2 up to 1.0.0rc3, with
``verbose``, without which it excludes nothing. mmaction2-1.x: mmaction2 from 1.0.0 on, with ``ignore_empty_frames``.
mmaction2 is an older name of mmaction2-0.x: it keeps the meaning that it had before mmaction2-1.x was added.
"""


_INT32 = np.iinfo(np.int32)
_LARGEST_TABLE = 2**20  # ids, for which a table by id is smaller than the rows


class Rows(NamedTuple):
    """Rows of boxes in an order that only their content decides: by image, class, corners and score."""

    image: np.ndarray  # (N,) int64
    cls: np.ndarray  # (N,) int64, index among the classes to evaluate
    score: np.ndarray  # (N,) float64
    line: np.ndarray  # (N,) int64, row of the table, from 0
    all_corners: np.ndarray  # (M, 4) float64 of all rows of the table: few are looked at, so none are copied

    def corners(self, index: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The corners of some rows, of all without an index."""
        return np.asarray(self.all_corners[self.line[index]])


class Selection(NamedTuple):
    """The rows that count, the number of images, and notes on the rows that do not count."""

    truth: Rows
    kept: Rows
    num_images: int
    notes: list[str]
    num_excluded: np.ndarray  # (C,) int64, boxes of excluded images that count as missed


def select(detections: Source, groundtruth: Source, excluded: Images, ids: np.ndarray, protocol: Protocol) -> Selection:
    """Take the rows of ground truth and detections that count.

    Raises ValueError where nothing counts, and for a box of the ground truth with corners the wrong way round.
    """
    found, true = detections.boxes, groundtruth.boxes
    tables = (true.images, true.empty, found.images, excluded)
    *numbers, excluded_images = image_numbers(tables, protocol.whole_seconds)
    true_images, empty_images, found_images = numbers
    left_out = np.unique(excluded_images.values)
    every = np.unique(np.concatenate([true_images.values, empty_images.values]))
    filled = every
    if protocol.empty_images == "ignore":
        filled = np.unique(true_images.rows()[_are_ids(true.classes, ids)])
    notes = []
    if len(left_out) and not any(_are_in(images.values, left_out).any() for images in numbers):
        notes.append(f"exclude: none of its {len(left_out):,} images is in the ground truth or the detections")

    reasons = _why_ignored(true, true_images, ids, left_out, every, every)
    missed = true.classes[reasons == EXCLUDED] if protocol.excluded_boxes == "missed" else true.classes[:0]
    if reasons.any():
        notes.append(ignored_note(groundtruth, reasons, true))
    if len(missed):
        notes.append(f"{groundtruth.name}: the {len(missed):,} boxes in excluded images count as missed")
    lines = np.flatnonzero(reasons == COUNTS)
    if not len(lines):
        why = f" ({notes[-1]})" if reasons.any() else ""
        raise ValueError(f"groundtruth: no boxes of the classes to evaluate, so no metric is defined{why}")
    truth = _rows_of(true, ids, *_ordered(true, true_images, ids, lines))
    _check_corners(truth, groundtruth)

    reasons = _why_ignored(found, found_images, ids, left_out, every, filled)
    if reasons.all() and len(found):
        raise no_match_error(detections, reasons, true, ids)
    counts = reasons == COUNTS
    if protocol.unlisted_images == "false":
        counts |= reasons == UNLISTED
    if reasons.any():
        notes.append(ignored_note(detections, reasons, true, unlisted_count=protocol.unlisted_images == "false"))
    lines = np.flatnonzero(counts)
    dropped = protocol.no_area == "drop"
    if not dropped:
        _refuse_reversed(detections, lines, protocol)
    elif len(lines) and not _have_area(found.corners)[lines].any():
        raise ValueError(no_area_note(detections, lines, len(lines)))
    kept, kept_images = _ordered(found, found_images, ids, lines, protocol.max_per_image)
    with_area = _have_area(found.corners)[kept]
    if not with_area.all():
        notes.append(no_area_note(detections, kept[~with_area], len(with_area), dropped=dropped))
        if dropped:
            kept, kept_images = kept[with_area], kept_images[with_area]
    num_excluded = np.bincount(np.searchsorted(ids, missed), minlength=len(ids))
    rows = _rows_of(found, ids, kept, kept_images)
    return Selection(truth, rows, int((~_are_in(filled, left_out)).sum()), notes, num_excluded)


def _refuse_reversed(detections: Source, lines: np.ndarray, protocol: Protocol) -> None:
    """Raise ValueError for a detection that counts and has corners the wrong way round, as mmaction2 1.x does."""
    corners = detections.boxes.corners[lines]
    if protocol.single_precision:
        corners = corners.astype(np.float32)
    wrong = (corners[:, :2] > corners[:, 2:]).any(axis=1)
    if wrong.any():
        row = int(lines[np.argmax(wrong)])
        got = detections.boxes.corners[row].tolist()
        raise ValueError(f"{detections.where(row)}: expected x1 <= x2 and y1 <= y2, got {got}; exchange the corners")


def _have_area(corners: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = corners.T
    return np.asarray((x2 > x1) & (y2 > y1))


def _why_ignored(
    boxes: Boxes, images: Runs, ids: np.ndarray, left_out: np.ndarray, listed: np.ndarray, filled: np.ndarray
) -> np.ndarray:
    """The first reason for which each row does not count, (N,) uint8; `COUNTS` where there is none.

    filled: the images whose detections count. Those of other listed images do not.
    """
    reasons = np.where(_are_in(images.values, listed), COUNTS, UNLISTED)
    if filled is not listed:
        reasons[(reasons == COUNTS) & ~_are_in(images.values, filled)] = EMPTY
    reasons[_are_in(images.values, left_out)] = EXCLUDED
    reasons = np.repeat(reasons, images.lengths)
    reasons[~_are_ids(boxes.classes, ids)] = OTHER_CLASS
    return reasons


def _are_ids(classes: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Which classes are among the ids, which rise."""
    if not len(ids) or not len(classes) or ids[-1] - ids[0] >= _LARGEST_TABLE:
        return _are_in(classes, ids)
    # Two entries more, for the classes below and above.
    table = np.zeros(ids[-1] - ids[0] + 3, bool)
    table[ids - ids[0] + 1] = True
    if classes.min() >= ids[0] and classes.max() <= ids[-1]:
        return np.asarray(table[classes - (ids[0] - 1)])
    return np.asarray(table[np.clip(classes, ids[0] - 1, ids[-1] + 1) - (ids[0] - 1)])


def _are_in(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Which values are among those of an array that is sorted; takes less memory than ``np.isin`` for many values."""
    if not len(among):
        return np.zeros(len(values), bool)
    positions = np.searchsorted(among, values)
    np.minimum(positions, len(among) - 1, out=positions)
    return np.asarray(among[positions] == values)


class Runs(NamedTuple):
    """A number for each row, stored once for rows in succession that have the same one."""

    values: np.ndarray  # (R,)
    lengths: np.ndarray  # (R,) int64

    def rows(self) -> np.ndarray:
        """The number of each row."""
        return np.repeat(self.values, self.lengths)


def image_numbers(tables: Sequence[Images], whole_seconds: bool) -> list[Runs]:
    """A number for each row's image, rising with video and time; equal across tables where the images are the same."""
    videos = [VideoNames.from_names(images.videos) for images in tables]
    number_of = {name: number for number, name in enumerate(sorted(set().union(*(part.names for part in videos))))}
    starts = [_run_starts(part.codes, images.times) for part, images in zip(videos, tables, strict=True)]
    times = [images.times[first] for first, images in zip(starts, tables, strict=True)]
    times = [np.trunc(column) if whole_seconds else np.rint(column * 1e6) for column in times]
    moments = np.unique(np.concatenate([np.unique(column) for column in times]))
    runs = []
    for part, first, column in zip(videos, starts, times, strict=True):
        video = np.array([number_of[name] * len(moments) for name in part.names], np.int64)[part.codes[first]]
        runs.append(Runs(video + np.searchsorted(moments, column), np.diff(first, append=len(part.codes))))
    return runs


def _run_starts(codes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The rows where another video or time begins."""
    if not len(codes):
        return np.empty(0, np.int64)
    changes = codes[1:] != codes[:-1]
    changes |= times[1:] != times[:-1]
    return np.concatenate([[0], np.flatnonzero(changes) + 1])


def _ordered(
    boxes: Boxes, images: Runs, ids: np.ndarray, rows: np.ndarray, limit: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Some rows in the order of their content, and their images; of each the ``limit`` highest scores, all if None."""
    image = images.rows()
    if len(rows) < len(image):
        image = image[rows]
    order = rows
    if (image[1:] < image[:-1]).any():
        by_image = np.argsort(image, kind="stable")
        order, image = rows[by_image], image[by_image]
    starts = np.flatnonzero(image[1:] != image[:-1]) + 1
    if len(image):
        starts = np.append(0, starts)
    classes = boxes.classes
    if classes.dtype != np.int32 and len(ids) and (ids[0] < _INT32.min or ids[-1] > _INT32.max):
        classes = np.searchsorted(ids, classes)
    columns = (
        np.ascontiguousarray(classes, np.int32),
        np.ascontiguousarray(boxes.corners, np.float64),
        np.ascontiguousarray(boxes.scores, np.float64),
    )
    kept = order_boxes(order, np.append(starts, len(order)), *columns, limit=limit)
    if len(kept) < len(image):
        sizes = np.diff(starts, append=len(order))
        image = np.repeat(image[starts], sizes if limit is None else np.minimum(sizes, limit))
    return kept, image


def _rows_of(boxes: Boxes, ids: np.ndarray, rows: np.ndarray, image: np.ndarray) -> Rows:
    corners = np.ascontiguousarray(boxes.corners, np.float64)
    return Rows(image, _index_of(boxes.classes[rows], ids), boxes.scores[rows], rows, corners)


def _index_of(classes: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The index among the ids of each class, all of which are there."""
    if ids[-1] - ids[0] >= _LARGEST_TABLE:
        return np.searchsorted(ids, classes)
    return np.asarray(np.searchsorted(ids, np.arange(ids[0], ids[-1] + 1))[classes - ids[0]])


def _check_corners(truth: Rows, groundtruth: Source) -> None:
    """The original refuses such a box too; of one without area it says nothing, and none can find it."""
    corners = truth.corners()
    wrong = truth.line[(corners[:, :2] > corners[:, 2:]).any(axis=1)]
    if wrong.size:
        got = groundtruth.boxes.corners[wrong.min()].tolist()
        raise ValueError(f"{groundtruth.where(wrong.min())}: expected x1 <= x2 and y1 <= y2, got {got}")


def match(kept: Rows, truth: Rows, protocol: Protocol, iou: float) -> np.ndarray:
    """Which detections find a box, as a mask (N,)."""
    detection, box, overlap = _overlaps(kept, truth, np.float32 if protocol.single_precision else np.float64)
    near = overlap >= iou
    detection, box, overlap = detection[near], box[near], overlap[near]
    # The choices of a detection stand together, its best first.
    order = np.lexsort((box, -overlap, detection))
    detection, box = detection[order], box[order]
    starts = np.flatnonzero(np.diff(detection, prepend=-1))
    ends = np.append(starts[1:], len(detection))
    # The first row of equal scores takes its box first.
    turn = kept.line if protocol.order == "file" else -kept.score
    # Deferred acceptance: each detection proposes to its best box; the box keeps the earliest in `order`; with second
    # choices, losers propose to their next. All boxes rank detections alike, so the result is that of greedy matching.
    proposals = starts
    while True:
        proposers = detection[proposals]
        order = np.lexsort((proposers, turn[proposers], box[proposals]))
        proposals, ends = proposals[order], ends[order]
        lost = np.diff(box[proposals], prepend=-1) == 0
        if not (protocol.second_choice and lost.any()):
            break
        proposals = proposals + lost
        still = proposals < ends
        proposals, ends = proposals[still], ends[still]
    found = np.zeros(len(kept.score), bool)
    found[detection[proposals[~lost]]] = True
    return found


def _overlaps(kept: Rows, truth: Rows, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Detection, box and IoU of all pairs of the same image and class."""
    num_classes = 1 + max(truth.cls.max(initial=0), kept.cls.max(initial=0))
    groups = truth.image * num_classes + truth.cls
    requested = kept.image * num_classes + kept.cls
    # Both rise. The ground truth has far fewer groups than there are detections, so its groups look for detections.
    values, first, count = np.unique(groups, return_index=True, return_counts=True)
    start = np.searchsorted(requested, values, side="left")
    size = np.searchsorted(requested, values, side="right") - start
    looking = np.arange(size.sum()) + np.repeat(start - (np.cumsum(size) - size), size)
    first, count = np.repeat(first, size), np.repeat(count, size)
    detection = np.repeat(looking, count)
    box = np.arange(len(detection)) + np.repeat(first - (np.cumsum(count) - count), count)
    corners: list[np.ndarray] = [
        rows.astype(dtype, copy=False) for rows in (kept.corners(detection), truth.corners(box))
    ]
    return detection, box, iou_of(*corners)


def iou_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of pairs of boxes, (N,) float64. NaN for two boxes without area.

    Differences and areas have the type of the corners, the rest is float64, as in the originals.
    """
    sides = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    width, height = sides.astype(np.float64, copy=False).T
    shared = width * height
    with np.errstate(invalid="ignore"):
        return np.asarray(shared / (_area(a) + _area(b) - shared))


def _area(corners: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = corners.T
    return np.asarray((y2 - y1) * (x2 - x1))
