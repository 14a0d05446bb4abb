"""mmaction2's ``ava_eval`` (mmaction/evaluation/functional/ava_utils.py, 1.0.0 to 1.2.0), without a loop over boxes.

``from vltr_eval.compat.ava.mmaction2 import ava_eval`` stands for ``from mmaction.evaluation import ava_eval``. The
result is the original's to the last bit where the scores of a class differ. These rules of the original are kept:

* A frame is a video and a whole second. With ``ignore_empty_frames`` the frames are those of the ground truth that have
  a box of the evaluated classes; detections of all others are ignored. Without it they are the frames with detections.
* Boxes of excluded frames stay in the denominator of recall. Their detections are ignored.
* A class without a detection in these frames has no AP and is left out of every mean. A class without a box is NaN.
* Detections without area are false positives. There is no limit on the detections of a frame.
* Corners and scores are rounded to float32. Scores that differ by less are ties.
* Within a frame, detections take boxes in order of score, and equal scores in the order of the file.

With ties the original's number depends on numpy and the CPU; ours lies in the same tie interval: it is that of a stable
ascending sort that is then reversed.

DIFFERS from the original: files are read faster, with errors that name file and line (`InputError`, a ValueError).
Empty lines are skipped, and classes may be written as 12.0. Scores that are not finite are refused. The original starts
32 processes, and needs numpy < 2 if a detected class has no box.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from vltr_eval.compat.ava.checks import Source
from vltr_eval.compat.ava.files import Boxes, Images, read_boxes, read_images
from vltr_eval.compat.ava.labels import read_categories
from vltr_eval.compat.ava.matching import image_numbers
from vltr_eval.compat.ava.ordered import (
    OrderedBoxes,
    average_precision,
    find_boxes,
    first_appearances,
    split_by_class,
)

__all__ = ["ava_eval"]


def ava_eval(
    result_file: str | os.PathLike[str],
    result_type: str,
    label_file: str | os.PathLike[str],
    ann_file: str | os.PathLike[str],
    exclude_file: str | os.PathLike[str] | None,
    verbose: bool = True,
    ignore_empty_frames: bool = True,
    custom_classes: Sequence[int] | None = None,
) -> dict[str, float]:
    """Frame mAP at an overlap of 0.5 as mmaction2 1.x computes it.

    Args:
        result_file: Detections, CSV of video, second, x1, y1, x2, y2, class, score.
        result_type: "mAP".
        label_file: The label map.
        ann_file: The ground truth, CSV of video, second, x1, y1, x2, y2, class.
        exclude_file: CSV of video, second: frames to leave out. None for none.
        verbose: Print the time of each step, and the AP of each class once more.
        ignore_empty_frames: Ignore detections in frames without a box.
        custom_classes: Ids of the classes to evaluate, after a first element that is not used.

    Returns:
        The means "overall", "person_movement" (ids up to 14), "object_manipulation" (15 to 63) and
        "person_interaction" (from 64).

    Raises:
        AssertionError: ``result_type`` is another, or ``custom_classes`` are not in the label map.
        ValueError: A file is not as described, the ground truth has no box, or corners are the wrong way round.

    Example:
        >>> import contextlib, io, pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> names = {12: "stand", 17: "write", 80: "watch"}
        >>> items = (f'item {{\\n  name: "{name}"\\n  id: {c}\\n}}\\n' for c, name in names.items())
        >>> _ = (folder / "map.pbtxt").write_text("".join(items))
        >>> boxes = "".join(f"film,{second},.1,.1,.4,.9,{c}\\n" for second in (902, 903) for c in names)
        >>> _ = (folder / "truth.csv").write_text(boxes)
        >>> _ = (folder / "found.csv").write_text("".join(f"film,0902,.1,.1,.4,.8,{c},.7\\n" for c in names))
        >>> files = [folder / name for name in ("found.csv", "map.pbtxt", "truth.csv")]
        >>> with contextlib.redirect_stdout(io.StringIO()):
        ...     results = ava_eval(files[0], "mAP", files[1], files[2], None)
        >>> float(results["overall"])
        0.5
    """
    if result_type not in ["mAP"]:
        raise AssertionError(f"result_type: expected 'mAP', got {result_type!r}")
    start = time.time()
    names, ids = _classes(label_file, custom_classes)
    truth = _read(ann_file)
    _print_time(verbose, "Reading GT results", start)
    excluded = Images([], np.empty(0)) if exclude_file is None else read_images(exclude_file)
    _check_seconds(exclude_file, excluded)
    start = time.time()
    found = _read(result_file)
    _print_time(verbose, "Reading Detection results", start)

    start = time.time()
    tables = truth.boxes.images, found.boxes.images, excluded
    frames = [runs.rows() for runs in image_numbers(tables, whole_seconds=True)]
    true_rows, found_rows = (
        np.flatnonzero(np.isin(source.boxes.classes, ids)) if len(ids) else np.arange(len(source.boxes))
        for source in (truth, found)
    )
    if not len(true_rows):
        raise ValueError(f"{truth.name}: expected boxes of the classes to evaluate, got none")
    num_boxes = dict(zip(*np.unique(truth.boxes.classes[true_rows], return_counts=True), strict=True))
    order = first_appearances(frames[0][true_rows] if ignore_empty_frames else frames[1][found_rows])
    order = order[~np.isin(order, frames[2])]
    found_rows = _in_order(found.boxes, found_rows, frames[1][found_rows], order)
    boxes = OrderedBoxes(frames[0], truth.boxes.classes, truth.boxes.corners.astype(np.float32)).take(true_rows)
    detections = OrderedBoxes(
        frames[1][found_rows],
        found.boxes.classes[found_rows],
        found.boxes.corners[found_rows].astype(np.float32),
    )
    _check_corners(found, detections.corners, found_rows)
    hits = find_boxes(detections, boxes)
    scores = found.boxes.scores[found_rows].astype(np.float32)
    _print_time(verbose, "Calculating TP/FP", start)

    start = time.time()
    by_class = {
        cls: average_precision(scores_of_class, hits_of_class, int(num_boxes.get(cls, 0)))
        for cls, (scores_of_class, hits_of_class) in split_by_class(detections.cls, scores, hits)
    }
    values = [(cls, _name_of(cls, names), by_class[cls]) for cls in _order_of_classes(detections)]
    _print_time(verbose, "Run Evaluator", start)
    return _printed(values, verbose)


def _classes(
    label_file: str | os.PathLike[str], custom_classes: Sequence[int] | None
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The categories, and the ids to evaluate: none for all."""
    with open(label_file) as file:
        categories, ids = read_categories(file)
    if custom_classes is None:
        return categories, np.array(sorted(ids), np.int64)
    chosen = list(custom_classes[1:])
    if not set(chosen) <= ids:
        raise AssertionError(f"custom_classes: expected ids of {label_file}, got {sorted(set(chosen) - ids)} as well")
    return [category for category in categories if category["id"] in chosen], np.array(sorted(set(chosen)), np.int64)


def _read(path: str | os.PathLike[str]) -> Source:
    boxes = read_boxes(path)
    if len(boxes.empty):
        raise ValueError(f"{path}: expected 7 or 8 columns, got 2; mmaction2 has no rows for frames without boxes")
    _check_seconds(path, boxes.images)
    return Source(str(path), boxes, boxes.lines)


def _check_seconds(path: str | os.PathLike[str] | None, images: Images) -> None:
    part = images.times % 1 != 0
    if part.any():
        raise ValueError(f"{path}: expected whole seconds in column 2, got {images.times[np.argmax(part)]:g}")


def _in_order(boxes: Boxes, rows: np.ndarray, frame: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The rows of the frames in ``order``, frame by frame, by falling score, and as in the file where scores tie."""
    by_number = np.argsort(order)
    position = np.searchsorted(order, frame, sorter=by_number)
    position[position == len(order)] = 0
    turn = by_number[position] if len(order) else position
    listed = order[turn] == frame if len(order) else np.zeros(len(rows), bool)
    rows, turn = rows[listed], turn[listed]
    return np.asarray(rows[np.lexsort((-boxes.scores[rows], turn))])


def _check_corners(found: Source, corners: np.ndarray, rows: np.ndarray) -> None:
    wrong = (corners[:, :2] > corners[:, 2:]).any(axis=1)
    if wrong.any():
        row = int(rows[wrong].min())
        got = found.boxes.corners[row].tolist()
        raise ValueError(f"{found.where(row)}: expected x1 <= x2 and y1 <= y2, got {got}; exchange the corners")


def _name_of(cls: int, categories: list[dict[str, Any]]) -> str:
    names = [category["name"] for category in categories if category["id"] == cls]
    if len(names) != 1:
        raise AssertionError(f"label_file: expected class {cls} once, got it {len(names)} times")
    return str(names[0])


def _order_of_classes(detections: OrderedBoxes) -> list[int]:
    """The classes in the order of the original's output: frame by frame, and within one as a Python set has them."""
    starts = np.flatnonzero(np.diff(detections.frame, prepend=-1))
    ends = np.append(starts[1:], len(detections.frame))
    _, first = np.unique(detections.cls, return_index=True)
    classes: dict[int, None] = {}
    for number in np.unique(np.searchsorted(starts, first, side="right") - 1).tolist():
        classes.update(dict.fromkeys(set(detections.cls[starts[number] : ends[number]].tolist())))
    return list(classes)


def _printed(values: list[tuple[int, str, float]], verbose: bool) -> dict[str, float]:
    _say("Per-class results: ")
    for cls, name, value in values:
        _say(f"Index: {cls}, Action: {name}: AP: {value:.4f};")
    results: dict[str, Any] = {
        "overall": np.nanmean([value for _, _, value in values]),
        "person_movement": np.nanmean([value for cls, _, value in values if cls <= 14]),
        "object_manipulation": np.nanmean([value for cls, _, value in values if 14 < cls < 64]),
        "person_interaction": np.nanmean([value for cls, _, value in values if cls >= 64]),
    }
    _say("Overall Results: ")
    titles = ("Overall", "Person Movement", "Object Manipulation", "Person Interaction")
    for title, value in zip(titles, results.values(), strict=True):
        _say(f"{title} mAP: {value:.4f}")
    if verbose:
        for _, name, value in values:
            _say(f"Class {name} AP: {value:.4f}")
    return results


def _print_time(verbose: bool, step: str, start: float) -> None:
    if verbose:
        _say(f"==> {time.time() - start:g} seconds to {step}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
