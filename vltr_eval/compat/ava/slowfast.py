"""PySlowFast's AVA evaluation without a loop over boxes (slowfast/utils/ava_eval_helper.py at 287ec00).

The functions stand for those of ``slowfast.utils.ava_eval_helper`` that ``AVAMeter`` calls, on tensors or arrays. The
results are the original's to the last bit where the scores of a class differ. These rules of the original are kept:

* A frame is a video and a whole second, rounded half to even in metadata. Every detection of a frame counts, and one in
  a frame that the ground truth lacks is a false positive.
* Detections with x2 <= x1 or y2 <= y1 are dropped. Excluded frames are left out of both.
* Within a frame, detections take boxes in their order, not in order of score.
* The mean is over the classes from 1 to the last category that have a box, listed or not.
* `evaluate_ava` writes detections_NAME.csv and groundtruth_NAME.csv into the working directory.

With ties the original's number depends on numpy and the CPU; ours lies in the same tie interval: it is that of a stable
ascending sort that is then reversed.

DIFFERS from the original: NaN scores are refused, files are read faster, with errors that name file and line
(`InputError`, a ValueError), and a ground truth with corners the wrong way round is an error naming the corners.
"""

from __future__ import annotations

import logging
import os
import pprint
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from vltr_eval.compat.ava.files import Images, VideoNames, read_boxes, read_images
from vltr_eval.compat.ava.labels import read_categories
from vltr_eval.compat.ava.ordered import (
    OrderedBoxes,
    average_precision,
    find_boxes,
    split_by_class,
)

__all__ = [
    "evaluate_ava",
    "evaluate_ava_from_files",
    "get_ava_eval_data",
    "make_image_key",
    "read_csv",
    "read_exclusions",
    "read_labelmap",
    "run_evaluation",
    "write_results",
]

logger = logging.getLogger(__name__)

_Lists = tuple[dict[str, list[Any]], dict[str, list[Any]], dict[str, list[Any]]]
_FRAMES_AT_ONCE = 512  # of a text


def make_image_key(video_id: str, timestamp: Any) -> str:
    """Return the key of a frame: the video and its second, with four digits or more."""
    return f"{video_id},{int(timestamp):04d}"


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------


def read_csv(
    csv_file: str | os.PathLike[str], class_whitelist: Collection[int] | None = None, load_score: bool = False
) -> _Lists:
    """Read boxes from a CSV without header: video, second, x1, y1, x2, y2, class[, score].

    Args:
        csv_file: The file.
        class_whitelist: Classes to keep; all if None or empty.
        load_score: Read the scores of column 8. Without it every score is 1.

    Returns:
        Three dicts by frame ("video,0902"), in the order of the file: lists of boxes [y1, x1, y2, x2], of classes, and
        of scores.

    Raises:
        InputError: A line is not as described.
        ValueError: A time is no whole number.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "truth.csv"
        >>> _ = path.write_text("film,0902,.1,.2,.4,.9,12,0\\nfilm,902,.5,.2,.9,.9,80,0\\n")
        >>> boxes, labels, scores = read_csv(path, class_whitelist={12})
        >>> dict(boxes), dict(labels), dict(scores)
        ({'film,0902': [[0.2, 0.1, 0.9, 0.4]]}, {'film,0902': [12]}, {'film,0902': [1.0]})
    """
    table = read_boxes(csv_file)
    if len(table.empty):
        raise ValueError(f"{csv_file}: expected 7 or 8 columns, got 2; SlowFast has no rows for frames without boxes")
    rows = np.arange(len(table))
    if class_whitelist:
        rows = np.flatnonzero(np.isin(table.classes, list(class_whitelist)))
    keys, numbers = _keys_of(csv_file, table.images.take(rows))
    corners = table.corners[rows][:, [1, 0, 3, 2]]
    scores = table.scores[rows] if load_score else np.ones(len(rows))
    return _grouped(keys, numbers, corners, table.classes[rows], scores)


def read_exclusions(exclusions_file: str | os.PathLike[str] | None) -> set[str]:
    """Read the keys of excluded frames from a CSV of video, second; an empty set if the file is None or "".

    Raises:
        InputError: A line has other columns, or a time that is no number.
        ValueError: A time is no whole number.
    """
    if not exclusions_file:
        return set()
    return set(_keys_of(exclusions_file, read_images(exclusions_file))[0])


def read_labelmap(labelmap_file: str | os.PathLike[str]) -> tuple[list[dict[str, Any]], set[int]]:
    """Read a label map: the categories ``{"id": 12, "name": "stand"}`` in the order of the file, and their ids."""
    with open(labelmap_file) as file:
        return read_categories(file)


def _keys_of(path: str | os.PathLike[str], images: Images) -> tuple[list[str], np.ndarray]:
    """The distinct keys in the order of their first appearance, and the number of each row's key."""
    part = images.times % 1 != 0
    if part.any():
        raise ValueError(f"{path}: expected whole seconds in column 2, got {images.times[np.argmax(part)]:g}")
    videos = VideoNames.from_names(images.videos)
    moments, seconds = np.unique(images.times, return_inverse=True)
    cells = videos.codes.astype(np.int64) * len(moments) + seconds
    cells, first, numbers = np.unique(cells, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    pairs = (divmod(cell, len(moments)) for cell in cells[order].tolist())
    return [make_image_key(videos.names[code], moments[second]) for code, second in pairs], rank[numbers]


def _grouped(
    keys: Sequence[str], numbers: np.ndarray, corners: np.ndarray, classes: np.ndarray, scores: np.ndarray
) -> _Lists:
    """The rows of each key as lists, in their order."""
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=len(keys))).tolist()
    columns = corners[order].tolist(), classes[order].tolist(), scores[order].tolist()
    grouped: tuple[dict[str, list[Any]], ...] = tuple(defaultdict(list) for _ in columns)
    for key, first, last in zip(keys, [0, *ends], ends, strict=False):
        for lists, column in zip(grouped, columns, strict=True):
            lists[key] = column[first:last]
    return grouped[0], grouped[1], grouped[2]


def write_results(detections: _Lists, filename: str | os.PathLike[str]) -> None:
    """Write boxes as a CSV in AVA's format: corners with three decimals, scores with four."""
    start = time.time()
    boxes, labels, scores = detections
    line = "%s,%.03f,%.03f,%.03f,%.03f,%d,%.04f\n"
    keys = list(boxes)
    with open(filename, "w") as file:
        for first in range(0, len(keys), _FRAMES_AT_ONCE):
            some = keys[first : first + _FRAMES_AT_ONCE]
            lengths = [min(len(boxes[key]), len(labels[key]), len(scores[key])) for key in some]
            columns = (
                chain.from_iterable([key] * length for key, length in zip(some, lengths, strict=True)),
                chain.from_iterable(boxes[key][:length] for key, length in zip(some, lengths, strict=True)),
                chain.from_iterable(labels[key][:length] for key, length in zip(some, lengths, strict=True)),
                chain.from_iterable(scores[key][:length] for key, length in zip(some, lengths, strict=True)),
            )
            values = ((key, x1, y1, x2, y2, c, s) for key, (y1, x1, y2, x2), c, s in zip(*columns, strict=True))
            file.write(line * sum(lengths) % tuple(chain.from_iterable(values)))
    logger.info("AVA results wrote to %s", filename)
    logger.info("\ttook %d seconds.", time.time() - start)


# ---------------------------------------------------------------------------------------------------------------------
# Evaluation
# ---------------------------------------------------------------------------------------------------------------------


def evaluate_ava_from_files(
    labelmap: str | os.PathLike[str],
    groundtruth: str | os.PathLike[str],
    detections: str | os.PathLike[str],
    exclusions: str | os.PathLike[str] | None,
) -> None:
    """Evaluate files, and print the metrics."""
    categories, whitelist = read_labelmap(labelmap)
    excluded = read_exclusions(exclusions)
    truth = read_csv(groundtruth, whitelist, load_score=False)
    run_evaluation(categories, truth, read_csv(detections, whitelist, load_score=True), excluded)


def evaluate_ava(
    preds: Any,
    original_boxes: Any,
    metadata: Any,
    excluded_keys: Collection[str],
    class_whitelist: Collection[int],
    categories: Sequence[Mapping[str, Any]],
    groundtruth: _Lists | None = None,
    video_idx_to_name: Sequence[str] | Mapping[int, str] | None = None,
    name: str = "latest",
) -> float:
    """Mean average precision at an overlap of 0.5 of a model's scores for boxes.

    Args:
        preds: (N, C) scores; column c is class c + 1.
        original_boxes: (N, 5) index in the batch, x1, y1, x2, y2.
        metadata: (N, 2) index of the video, second.
        excluded_keys: Frames to leave out, as `read_exclusions` reads them.
        class_whitelist: Classes to evaluate.
        categories: The categories, as `read_labelmap` reads them.
        groundtruth: Boxes, classes and scores, as `read_csv` reads them.
        video_idx_to_name: The name of each video.
        name: Part of the names of the two files that are written.

    Returns:
        The value of "PascalBoxes_Precision/mAP@0.5IOU".

    Raises:
        ValueError: See `run_evaluation`.
    """
    if groundtruth is None:
        raise TypeError("groundtruth: expected three dicts as of read_csv, got None")
    start = time.time()
    detections = get_ava_eval_data(
        preds, original_boxes, metadata, class_whitelist, video_idx_to_name=video_idx_to_name
    )
    logger.info("Evaluating with %d unique GT frames.", len(groundtruth[0]))
    logger.info("Evaluating with %d unique detection frames", len(detections[0]))
    write_results(detections, f"detections_{name}.csv")
    write_results(groundtruth, f"groundtruth_{name}.csv")
    results = run_evaluation(categories, groundtruth, detections, excluded_keys)
    logger.info("AVA eval done in %f seconds.", time.time() - start)
    return results["PascalBoxes_Precision/mAP@0.5IOU"]


def get_ava_eval_data(
    scores: Any,
    boxes: Any,
    metadata: Any,
    class_whitelist: Collection[int],
    verbose: bool = False,
    video_idx_to_name: Sequence[str] | Mapping[int, str] | None = None,
) -> _Lists:
    """Group a model's scores by frame: boxes, classes and scores, as `read_csv` returns them.

    Args:
        scores: (N, C) scores; column c is class c + 1.
        boxes: (N, 5) index in the batch, x1, y1, x2, y2.
        metadata: (N, 2) index of the video, second.
        class_whitelist: Classes to keep.
        verbose: Has no effect, as in the original.
        video_idx_to_name: The name of each video.

    Example:
        >>> scores, boxes = np.array([[.25, .5, .75]]), np.array([[0, .125, .25, .5, 1]])
        >>> boxes, labels, scores = get_ava_eval_data(scores, boxes, [[0, 902]], {1, 3}, video_idx_to_name=["film"])
        >>> dict(boxes), dict(labels), dict(scores)
        ({'film,0902': [[0.25, 0.125, 1.0, 0.5], [0.25, 0.125, 1.0, 0.5]]}, {'film,0902': [1, 3]}, \
{'film,0902': [0.25, 0.75]})
    """
    if video_idx_to_name is None:
        raise TypeError("video_idx_to_name: expected the names of videos, got None")
    values = _to_numpy(scores)
    kept = np.array([c for c in range(values.shape[1] if values.ndim > 1 else 0) if c + 1 in class_whitelist], np.int64)
    numbers: dict[str, int] = {}
    rows = np.empty(len(values), np.int64)
    for row, (video, second) in enumerate(_frames(metadata, len(values))):
        rows[row] = numbers.setdefault(f"{video_idx_to_name[video]},{second:04d}", len(numbers))
    if not len(kept):
        numbers, rows = {}, rows[:0]
        values = values[:0].reshape(0, 0)
    corners = _to_numpy(boxes)[: len(rows)].reshape(len(rows), -1)[:, [2, 1, 4, 3]] if len(rows) else np.empty((0, 4))
    return _grouped(
        list(numbers),
        np.repeat(rows, len(kept)),
        np.repeat(corners, len(kept), axis=0),
        np.tile(kept + 1, len(rows)),
        values[:, kept].ravel() if len(rows) else np.empty(0),
    )


def _frames(metadata: Any, count: int) -> list[tuple[int, int]]:
    """The video and the second of each row, rounded half to even."""
    if not count:
        return []
    table = _to_numpy(metadata) if hasattr(metadata, "shape") else np.array([row[:2] for row in metadata], float)
    pairs = np.rint(table[:count, :2].astype(np.float64)).astype(np.int64).tolist()
    return [(video, second) for video, second in pairs]


def _to_numpy(values: Any) -> np.ndarray:
    """A tensor of any device, or an array, as float64."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, np.float64)


class _Table(NamedTuple):
    """Boxes of the frames of a dict, in its order."""

    boxes: OrderedBoxes
    scores: np.ndarray

    @classmethod
    def from_lists(cls, lists: _Lists, frames: Sequence[tuple[str, int]], name: str, scored: bool) -> _Table:
        boxes, labels, scores = lists
        keys = [key for key, _ in frames]
        lengths = np.array([len(labels[key]) for key in keys], np.int64)
        total = int(lengths.sum())
        corners = np.fromiter(chain.from_iterable(chain.from_iterable(boxes[key] for key in keys)), np.float64)
        values = np.fromiter(chain.from_iterable(scores[key] for key in keys), np.float64) if scored else np.empty(0)
        if corners.size != 4 * total or (scored and len(values) != total):
            got = f"{total} classes and {corners.size // 4} boxes"
            raise ValueError(f"{name}: expected a class and a score for each box, got {got}")
        classes = np.fromiter(chain.from_iterable(labels[key] for key in keys), np.int64, total)
        frame = np.repeat(np.array([number for _, number in frames], np.int64), lengths)
        return cls(OrderedBoxes(frame, classes, corners.reshape(total, 4)[:, [1, 0, 3, 2]]), values)


def run_evaluation(
    categories: Sequence[Mapping[str, Any]],
    groundtruth: _Lists,
    detections: _Lists,
    excluded_keys: Collection[str],
    verbose: bool = True,
) -> dict[str, float]:
    """AP at an overlap of 0.5 of each category, and their mean.

    Args:
        categories: ``{"id": 12, "name": "stand"}`` for each category.
        groundtruth: Boxes [y1, x1, y2, x2] and classes by frame, as `read_csv` reads them.
        detections: Boxes, classes and scores by frame.
        excluded_keys: Frames to leave out.
        verbose: Has no effect, as in the original.

    Returns:
        "PascalBoxes_Precision/mAP@0.5IOU" and "PascalBoxes_PerformanceByCategory/AP@0.5IOU/NAME", ids ascending. They
        are printed too, by one of each eight ranks where torch.distributed runs.

    Raises:
        ValueError: An id is below 1, there are no categories, a score is NaN, lists do not fit, or corners of the
            ground truth are the wrong way round.

    Example:
        >>> truth = {"film,0902": [[.1, .1, .9, .4]]}, {"film,0902": [12]}, {"film,0902": [1.0]}
        >>> found = {"film,0902": [[.1, .1, .8, .4]]}, {"film,0902": [12]}, {"film,0902": [.7]}
        >>> results = run_evaluation([{"id": 12, "name": "stand"}], truth, found, set())
        { 'PascalBoxes_PerformanceByCategory/AP@0.5IOU/stand': np.float64(1.0),
          'PascalBoxes_Precision/mAP@0.5IOU': np.float64(1.0)}
    """
    num_classes = max(category["id"] for category in categories)
    if min(category["id"] for category in categories) < 1:
        raise ValueError("categories: expected ids from 1 up; are these indices from 0?")
    kept = [_kept_keys(lists[0], excluded_keys, name) for lists, name in ((groundtruth, _TRUTH), (detections, _FOUND))]
    number_of: dict[str, int] = {}
    true, found = (
        _Table.from_lists(lists, [(key, number_of.setdefault(key, len(number_of))) for key in keys], name, scored)
        for lists, keys, name, scored in (
            (groundtruth, kept[0], "groundtruth", False),
            (detections, kept[1], "detections", True),
        )
    )
    boxes = true.boxes.take(_are_listed(true.boxes.cls, num_classes))
    x1, y1, x2, y2 = found.boxes.corners.T
    rows = _are_listed(found.boxes.cls, num_classes) & (x1 < x2) & (y1 < y2)
    scores, candidates = found.scores[rows], found.boxes.take(rows)
    _refuse_nan(scores, candidates, number_of)
    hits = find_boxes(candidates, boxes)
    num_boxes = np.bincount(boxes.cls, minlength=num_classes + 1)[1:]
    if not num_boxes.all():
        logging.info("The following classes have no ground truth examples: %s", np.flatnonzero(num_boxes == 0) + 1)
    values = np.where(num_boxes == 0, np.nan, 0.0)
    for cls, (scores_of_class, hits_of_class) in split_by_class(candidates.cls, scores, hits):
        values[cls - 1] = average_precision(scores_of_class, hits_of_class, int(num_boxes[cls - 1]))
    names = {category["id"]: category["name"] for category in categories}
    results: dict[str, Any] = {"PascalBoxes_Precision/mAP@0.5IOU": np.nanmean(values)}
    for number, value in enumerate(values, 1):
        if number in names:
            results[f"PascalBoxes_PerformanceByCategory/AP@0.5IOU/{names[number]}"] = value
    if _is_first_rank():
        pprint.pprint(results, indent=2)  # noqa: T203  # the original prints them
    return results


_TRUTH = "Found excluded timestamp in ground truth: %s. It will be ignored."
_FOUND = "Found excluded timestamp in detections: %s. It will be ignored."


def _kept_keys(boxes: Mapping[str, Any], excluded_keys: Collection[str], sentence: str) -> list[str]:
    kept = []
    for key in boxes:
        if key in excluded_keys:
            logging.info(sentence, key)
        else:
            kept.append(key)
    return kept


def _are_listed(classes: np.ndarray, num_classes: int) -> np.ndarray:
    return np.asarray((classes >= 1) & (classes <= num_classes))


def _refuse_nan(scores: np.ndarray, boxes: OrderedBoxes, number_of: Mapping[str, int]) -> None:
    nan = np.isnan(scores)
    if nan.any():
        row = int(np.argmax(nan))
        key = list(number_of)[boxes.frame[row]]
        raise ValueError(
            f"detections: expected scores that are numbers, got NaN in frame {key}, class {boxes.cls[row]}"
        )


def _is_first_rank() -> bool:
    """Whether this process prints: rank 0 of each eight, or one without torch.distributed."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return True
    return bool(distributed.get_rank() % 8 == 0)
