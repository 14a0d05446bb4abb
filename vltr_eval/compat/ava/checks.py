"""Checks that detections and ground truth of AVA belong together, and notes on the rows that do not count.

Files that do not belong together give a metric all the same, a low one. These functions refuse such files, and say how
many rows an evaluation ignores and why.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from vltr_eval.compat.ava.files import Boxes, Images, VideoNames

__all__ = [
    "COUNTS",
    "EMPTY",
    "EXCLUDED",
    "OTHER_CLASS",
    "UNLISTED",
    "Source",
    "check_classes",
    "check_corners",
    "check_scores",
    "ignored_note",
    "no_area_note",
    "no_match_error",
]

_PIXELS = 2.0  # no relative corner is above this, however far a detector's box leaves the image
_PIXELS_SHARE = 0.1
_MARGIN = 0.1
_CORNERS = ("x1", "y1", "x2", "y2")


class Source(NamedTuple):
    """Boxes and the name by which messages call them. lines: of each row in its file, None for boxes of no file."""

    name: str
    boxes: Boxes
    lines: Sequence[int] | np.ndarray | None

    def where(self, row: int) -> str:
        """The name and the line of a row."""
        return f"{self.name}: box {row}" if self.lines is None else f"{self.name}: line {self.lines[row]}"


# ---------------------------------------------------------------------------------------------------------------------
# Columns of one kind in place of another
# ---------------------------------------------------------------------------------------------------------------------


def check_scores(detections: Source, groundtruth: Source) -> list[str]:
    """Refuse files that were swapped. Returns notes."""
    scores = detections.boxes.scores
    if not len(scores):
        return []
    fraction = _first(groundtruth.boxes.scores % 1 != 0)
    if fraction is not None and not (scores % 1 != 0).any():
        raise ValueError(
            f"{groundtruth.where(fraction)}: expected a person's number in column 8 of a ground truth, got the score "
            f"{groundtruth.boxes.scores[fraction]:g}, and {detections.name} has no scores; were they swapped?"
        )
    notes = []
    if fraction is not None:
        notes.append(f"{groundtruth.where(fraction)}: column 8 has scores, as a file of detections; they are unused")
    if len(scores) > 1 and (scores == scores[0]).all():
        notes.append(f"{detections.name}: every box has the score {scores[0]:g}, so their order says nothing")
    return notes


def check_corners(detections: Source, groundtruth: Source) -> list[str]:
    """Refuse corners in pixels beside relative ones. Returns notes."""
    outside = [_share_in_pixels(source.boxes.corners) >= _PIXELS_SHARE for source in (detections, groundtruth)]
    if outside[0] != outside[1]:
        source, other = (detections, groundtruth) if outside[0] else (groundtruth, detections)
        row, corner, value = _first_beyond(source.boxes.corners, -_PIXELS, _PIXELS)
        raise ValueError(
            f"{source.where(row)}: expected corners from 0 to 1, as in {other.name}, got {corner} = {value:g}; divide "
            f"pixels by the image's width and height"
        )
    return [] if outside[0] else [note for source in (detections, groundtruth) for note in _notes_outside(source)]


def _share_in_pixels(corners: np.ndarray) -> float:
    if not len(corners) or corners.max() <= _PIXELS:
        return 0.0
    return float((corners > _PIXELS).any(axis=1).mean())


def _first_beyond(corners: np.ndarray, lowest: float, highest: float) -> tuple[int, str, float]:
    row = int(np.argmax(((corners < lowest) | (corners > highest)).any(axis=1)))
    column = int(np.argmax((corners[row] < lowest) | (corners[row] > highest)))
    return row, _CORNERS[column], float(corners[row, column])


def _notes_outside(source: Source) -> list[str]:
    corners = source.boxes.corners
    if not len(corners) or (corners.min() >= -_MARGIN and corners.max() <= 1 + _MARGIN):
        return []
    number = np.count_nonzero(((corners < -_MARGIN) | (corners > 1 + _MARGIN)).any(axis=1))
    row, corner, value = _first_beyond(corners, -_MARGIN, 1 + _MARGIN)
    where = source.where(row).removeprefix(f"{source.name}: ")
    return [
        f"{source.name}: {number:,} of {len(corners):,} boxes have a corner outside 0 to 1 by more than {_MARGIN:g}, "
        f"the first in {where} ({corner} = {value:g})"
    ]


def check_classes(source: Source, evaluated: np.ndarray, of: str) -> None:
    """Refuse ids that are shifted by one: 0 occurs, where the ids to evaluate start above it, and their last does not.

    evaluated: the ids, ascending. of: where they are from, for the message.
    """
    classes = source.boxes.classes
    if not len(evaluated) or evaluated[0] < 1 or not len(classes):
        return
    zero = _first(classes == 0)
    if zero is not None and not (classes == evaluated[-1]).any():
        raise ValueError(
            f"{source.where(zero)}: expected a class of {of} ({evaluated[0]} to {evaluated[-1]}), got class 0, and no "
            f"box has class {evaluated[-1]}: are these indices from 0, or ids shifted by one?"
        )


def _first(mask: np.ndarray) -> int | None:
    row = int(np.argmax(mask)) if len(mask) else 0
    return row if len(mask) and mask[row] else None


# ---------------------------------------------------------------------------------------------------------------------
# Images that do not match
# ---------------------------------------------------------------------------------------------------------------------


COUNTS, OTHER_CLASS, EXCLUDED, UNLISTED, EMPTY = np.arange(5, dtype=np.uint8)
"""Why a row does not count: its class is not evaluated, its image is excluded, the ground truth lacks its image, or
lists it without a box of the classes to evaluate."""


def ignored_note(source: Source, reasons: np.ndarray, groundtruth: Boxes, *, unlisted_count: bool = False) -> str:
    """The note about the rows that are ignored.

    reasons: why each row is, (N,). unlisted_count: rows in images that the ground truth lacks are false positives.
    """
    unlisted = np.flatnonzero(reasons == UNLISTED)
    cause = _likely_cause(source.boxes.images.take(unlisted), groundtruth) if len(unlisted) else ""
    total = f"{source.name}: {np.count_nonzero(reasons):,} of {len(reasons):,} boxes"
    if unlisted_count and len(unlisted):
        return f"{total} match nothing: {_in_words(source, reasons)} (they are false positives){cause}"
    return f"{total} are ignored: {_in_words(source, reasons)}{cause}"


def no_match_error(detections: Source, reasons: np.ndarray, groundtruth: Boxes, ids: np.ndarray) -> ValueError:
    """The error where no detection counts. ids: the classes that are evaluated, ascending."""
    sentence = f"{detections.name}: expected boxes in the images and classes of the ground truth, got none"
    sentence += f" ({_in_words(detections, reasons)})"
    if (reasons == UNLISTED).any():
        images = detections.boxes.images.take(np.flatnonzero(reasons == UNLISTED))
        listed = _some_images(groundtruth)
        sentence += f"; the first is {_first_image(images)}, in the ground truth {_first_image(listed)}"
        sentence += _likely_cause(images, groundtruth)
    elif (reasons == OTHER_CLASS).any():
        classes = np.unique(detections.boxes.classes)
        sentence += f"; classes here are {classes[0]} to {classes[-1]}, those that are evaluated {ids[0]} to {ids[-1]}"
        if any(np.isin(classes + shift, ids).all() for shift in (-1, 1)):
            sentence += ": are the ids shifted by one?"
    return ValueError(sentence)


def no_area_note(source: Source, rows: np.ndarray, total: int, *, dropped: bool = True) -> str:
    """The note about detections without an area, which are dropped or count as false positives."""
    row = rows.min()
    corners = source.boxes.corners[row].tolist()
    where = source.where(row).removeprefix(f"{source.name}: ")
    fate = "are dropped" if dropped else "count as false positives"
    return (
        f"{source.name}: {len(rows):,} of {total:,} boxes have no area (x2 <= x1 or y2 <= y1) and {fate}, "
        f"the first in {where} ({corners}); corners are x1, y1, x2, y2, without width and height"
    )


def _in_words(source: Source, reasons: np.ndarray) -> str:
    """The number of rows for each reason."""
    words = []
    number = np.bincount(reasons, minlength=5).tolist()
    if number[OTHER_CLASS]:
        row = int(np.argmax(reasons == OTHER_CLASS))
        first = f"class {source.boxes.classes[row]}, {source.where(row).removeprefix(f'{source.name}: ')}"
        words.append(f"{number[OTHER_CLASS]:,} of classes that are not evaluated (the first: {first})")
    if number[EXCLUDED]:
        words.append(f"{number[EXCLUDED]:,} in excluded images")
    if number[UNLISTED]:
        words.append(f"{number[UNLISTED]:,} in images that the ground truth does not list")
    if number[EMPTY]:
        words.append(f"{number[EMPTY]:,} in images without a box of the classes to evaluate")
    return ", ".join(words)


def _likely_cause(images: Images, groundtruth: Boxes) -> str:
    """Why images are not in the ground truth, as the end of a sentence; empty where nothing is likely."""
    listed = _some_images(groundtruth)
    requested = {name for part in (groundtruth.images, groundtruth.empty) for name in _used_names(part)}
    names = _used_names(images)
    others = [name for name in names if name not in requested]
    if not others:
        return _cause_of_times(images, listed)
    for change, simplified in _SIMPLIFIED.items():
        known = {simplified(name): name for name in requested}
        same = next((name for name in others if simplified(name) in known), None)
        if same is not None:
            return f"; {same} and {known[simplified(same)]} are equal {change}"
    return ""


_SIMPLIFIED: dict[str, Callable[[str], str]] = {
    "but for spaces": str.strip,
    "but for the extension": lambda name: os.path.splitext(name)[0],
    "but for the folder": os.path.basename,
    "but for capitals": str.lower,
    "but for leading zeros": lambda name: re.sub(r"0*(\d+)", r"\1", name),
    "but for all of extension, folder, capitals and leading zeros": lambda name: re.sub(
        r"0*(\d+)", r"\1", os.path.splitext(os.path.basename(name.strip()))[0].lower()
    ),
}
"""How names that differ become equal; the likeliest first."""


def _cause_of_times(images: Images, listed: Images) -> str:
    if listed.times.min() <= images.times.min() and images.times.max() <= listed.times.max():
        return ""
    ranges = [f"{images.times.min():g} to {images.times.max():g}" for images in (images, listed)]
    return f"; the videos are the same, but times here are {ranges[0]} and there {ranges[1]}; AVA counts seconds"


def _some_images(boxes: Boxes) -> Images:
    return boxes.images if len(boxes.images) else boxes.empty


def _first_image(images: Images) -> str:
    return f"{images.videos[0]} at {images.times[0]:g}"


def _used_names(images: Images) -> list[str]:
    videos = VideoNames.from_names(images.videos)
    return [
        videos.names[code] for code in np.flatnonzero(np.bincount(videos.codes, minlength=len(videos.names))).tolist()
    ]
