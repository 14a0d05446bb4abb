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

import csv
import functools
import logging
import os
import pprint
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

import numpy as np

from vltr_eval.compat.ava.files import Images, VideoNames, read_images, read_rows
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
_ROWS_AT_ONCE = 2**16
_COLUMNS = 8  # of a line with a score


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
        IndexError: ``load_score``, and a line of these classes has no score.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "truth.csv"
        >>> _ = path.write_text("film,0902,.1,.2,.4,.9,12,0\\nfilm,902,.5,.2,.9,.9,80,0\\n")
        >>> boxes, labels, scores = read_csv(path, class_whitelist={12})
        >>> dict(boxes), dict(labels), dict(scores)
        ({'film,0902': [[0.2, 0.1, 0.9, 0.4]]}, {'film,0902': [12]}, {'film,0902': [1.0]})
    """
    table, unscored = read_rows(csv_file)
    if len(table.empty):
        raise ValueError(f"{csv_file}: expected 7 or 8 columns, got 2; SlowFast has no rows for frames without boxes")
    rows = np.arange(len(table))
    if class_whitelist:
        rows = np.flatnonzero(np.isin(table.classes, list(class_whitelist)))
    if load_score and unscored and table.lines is not None:
        _refuse_unscored(csv_file, set(np.asarray(table.lines)[rows].tolist()))
    keys, numbers = _keys_of(csv_file, table.images.take(rows))
    corners = table.corners[rows][:, [1, 0, 3, 2]]
    scores = table.scores[rows] if load_score else np.ones(len(rows))
    return _grouped(keys, numbers, corners, table.classes[rows], scores)


def _refuse_unscored(path: str | os.PathLike[str], lines: set[int]) -> None:
    """Raise IndexError for the first of some lines of a file that has no score."""
    with open(path, encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if number in lines and len(row) < _COLUMNS:
                raise IndexError(
                    f"{path}: line {number}: expected a score in column {_COLUMNS}, got {len(row)} columns;"
                    " use load_score=False for boxes without scores"
                )


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


def _write_output(output: _Output, filename: str | os.PathLike[str]) -> None:
    """Write what `write_results` writes of a model's scores: each box once, with the texts of usual scores at hand."""
    start = time.time()
    line = "%s,%.03f,%.03f,%.03f,%.03f"
    at_once = max(_ROWS_AT_ONCE // max(len(output.classes), 1), 1)
    classes = [f",{c}," for c in output.classes.tolist()]
    with open(filename, "w") as file:
        for first in range(0, len(output.frame), at_once):
            some = slice(first, first + at_once)
            rows = zip(output.frame[some].tolist(), output.corners[some].tolist(), strict=True)
            boxes = [line % (output.keys[frame], *corners) for frame, corners in rows]
            parts = (
                chain.from_iterable(repeat(box, len(classes)) for box in boxes),
                classes * len(boxes),
                _four_decimals(output.scores[some].ravel()),
                repeat("\n"),
            )
            file.write("".join(chain.from_iterable(zip(*parts))))  # noqa: B905  # the last one has no end
    logger.info("AVA results wrote to %s", filename)
    logger.info("\ttook %d seconds.", time.time() - start)


def _four_decimals(values: np.ndarray) -> list[str]:
    """Each number as "%.04f" writes it."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = values * 10_000
        nearest = np.rint(scaled)
        # Near a half the product may round to the wrong side. A minus sign stays before zero.
        usual = (np.abs(scaled - nearest) < 0.4999) & (nearest <= 10_000) & ~np.signbit(values)
    texts = list(map(_usual_texts().__getitem__, np.where(usual, nearest, 0).astype(np.int64).tolist()))
    for row in np.flatnonzero(~usual).tolist():
        texts[row] = f"{values[row]:.04f}"
    return texts


@functools.cache
def _usual_texts() -> list[str]:
    """From "0.0000" to "1.0000"."""
    return [f"{number / 10_000:.04f}" for number in range(10_001)]


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
    output = _Output.of(preds, original_boxes, metadata, class_whitelist, video_idx_to_name).by_frame()
    logger.info("Evaluating with %d unique GT frames.", len(groundtruth[0]))
    logger.info("Evaluating with %d unique detection frames", len(output.keys))
    _write_output(output, f"detections_{name}.csv")
    write_results(groundtruth, f"groundtruth_{name}.csv")
    _check_categories(categories)
    number_of: dict[str, int] = {}
    true = _Table.from_lists(groundtruth, _kept_frames(groundtruth[0], excluded_keys, _TRUTH, number_of), _NO_SCORES)
    kept = _kept_frames(output.keys, excluded_keys, _FOUND, number_of)
    results = _results(categories, true, _Table.from_output(output, kept), number_of)
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
    output = _Output.of(scores, boxes, metadata, class_whitelist, video_idx_to_name)
    count = len(output.classes)
    return _grouped(
        output.keys,
        np.repeat(output.frame, count),
        np.repeat(output.corners, count, axis=0)[:, [1, 0, 3, 2]],
        np.tile(output.classes, len(output.frame)),
        output.scores.ravel(),
    )


class _Output(NamedTuple):
    """A model's scores for the K classes that are kept."""

    keys: list[str]  # distinct frames, in the order of their first appearance
    frame: np.ndarray  # (N,) int64, the number of each row's key
    corners: np.ndarray  # (N, 4) float64: x1, y1, x2, y2
    classes: np.ndarray  # (K,) int64
    scores: np.ndarray  # (N, K) float64

    @classmethod
    def of(
        cls,
        scores: Any,
        boxes: Any,
        metadata: Any,
        class_whitelist: Collection[int],
        video_idx_to_name: Sequence[str] | Mapping[int, str] | None,
    ) -> _Output:
        if video_idx_to_name is None:
            raise TypeError("video_idx_to_name: expected the names of videos, got None")
        values = _to_numpy(scores)
        num_classes = values.shape[1] if values.ndim > 1 else 0
        kept = np.array([c for c in range(num_classes) if c + 1 in class_whitelist], np.int64)
        numbers: dict[str, int] = {}
        rows = np.empty(len(values), np.int64)
        for row, (video, second) in enumerate(_frames(metadata, len(values))):
            rows[row] = numbers.setdefault(f"{video_idx_to_name[video]},{second:04d}", len(numbers))
        if not len(kept) or not len(rows):
            return cls([], rows[:0], np.empty((0, 4)), kept + 1, np.empty((0, len(kept))))
        corners = _to_numpy(boxes)[: len(rows)].reshape(len(rows), -1)[:, 1:5]
        return cls(list(numbers), rows, corners, kept + 1, values[:, kept])

    def by_frame(self) -> _Output:
        """The rows of each frame together, in their order."""
        order = np.argsort(self.frame, kind="stable")
        return self._replace(frame=self.frame[order], corners=self.corners[order], scores=self.scores[order])


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
    def from_lists(cls, lists: _Lists, frames: Sequence[tuple[str, int]], name: str) -> _Table:
        """The boxes of some frames, each with its number. name: of the argument; `_NO_SCORES` leaves scores out."""
        scored = name != _NO_SCORES
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

    @classmethod
    def from_output(cls, output: _Output, frames: Sequence[tuple[str, int]]) -> _Table:
        """The boxes of some frames of an output by frame, each with its number."""
        number_of = dict(frames)
        numbers = np.array([number_of.get(key, -1) for key in output.keys], np.int64)[output.frame]
        rows = np.flatnonzero(numbers >= 0)
        count = len(output.classes)
        boxes = OrderedBoxes(
            np.repeat(numbers[rows], count),
            np.tile(output.classes, len(rows)),
            np.repeat(output.corners[rows], count, axis=0),
        )
        return cls(boxes, output.scores[rows].ravel())


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
    _check_categories(categories)
    number_of: dict[str, int] = {}
    kept = _kept_frames(groundtruth[0], excluded_keys, _TRUTH, number_of)
    kept_found = _kept_frames(detections[0], excluded_keys, _FOUND, number_of)
    true = _Table.from_lists(groundtruth, kept, _NO_SCORES)
    return _results(categories, true, _Table.from_lists(detections, kept_found, "detections"), number_of)


def _check_categories(categories: Sequence[Mapping[str, Any]]) -> None:
    if min(category["id"] for category in categories) < 1:
        raise ValueError("categories: expected ids from 1 up; are these indices from 0?")


def _results(
    categories: Sequence[Mapping[str, Any]], true: _Table, found: _Table, number_of: Mapping[str, int]
) -> dict[str, float]:
    """See `run_evaluation`."""
    num_classes = max(category["id"] for category in categories)
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


_NO_SCORES = "groundtruth"
_TRUTH = "Found excluded timestamp in ground truth: %s. It will be ignored."
_FOUND = "Found excluded timestamp in detections: %s. It will be ignored."


def _kept_frames(
    keys: Iterable[str], excluded_keys: Collection[str], sentence: str, number_of: dict[str, int]
) -> list[tuple[str, int]]:
    """The frames that are not excluded, each with its number, which ``number_of`` gets."""
    kept = []
    for key in keys:
        if key in excluded_keys:
            logging.info(sentence, key)
        else:
            kept.append((key, number_of.setdefault(key, len(number_of))))
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
