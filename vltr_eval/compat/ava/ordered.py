"""Matching and AP where the order of rows decides, as in the code that was copied from AVA's official script."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from vltr_eval.compat.ava.matching import iou_of

__all__ = ["OrderedBoxes", "average_precision", "find_boxes", "first_appearances", "split_by_class"]


class OrderedBoxes(NamedTuple):
    """Boxes in the order in which the original goes through them."""

    frame: np.ndarray  # (N,) int64, a number for each image
    cls: np.ndarray  # (N,) int64
    corners: np.ndarray  # (N, 4) float64 or float32: x1, y1, x2, y2

    def take(self, index: np.ndarray) -> OrderedBoxes:
        return OrderedBoxes(*(column[index] for column in self))


def first_appearances(numbers: np.ndarray) -> np.ndarray:
    """The distinct numbers in the order of their first appearance."""
    values, first = np.unique(numbers, return_index=True)
    return np.asarray(values[np.argsort(first)])


def find_boxes(detections: OrderedBoxes, truth: OrderedBoxes, iou: float = 0.5) -> np.ndarray:
    """Which detections find a box, (N,) bool.

    Each detection looks at the box of its frame and class that it overlaps most, the first of equal ones. The earliest
    detection with an overlap of at least ``iou`` takes the box.

    Raises:
        ValueError: A box of the truth that a detection of its frame and class looks at has x1 > x2 or y1 > y2.
    """
    num_classes = 1 + max(detections.cls.max(initial=0), truth.cls.max(initial=0))
    group = truth.frame * num_classes + truth.cls
    order = np.argsort(group, kind="stable")
    group, corners = group[order], truth.corners[order]
    requested = detections.frame * num_classes + detections.cls
    first = np.searchsorted(group, requested, side="left")
    count = np.searchsorted(group, requested, side="right") - first
    detection = np.repeat(np.arange(len(requested)), count)
    box = np.arange(len(detection)) + np.repeat(first - (np.cumsum(count) - count), count)
    seen = corners[box]
    wrong = (seen[:, :2] > seen[:, 2:]).any(axis=1)
    if wrong.any():
        got = seen[np.argmax(wrong)].tolist()
        raise ValueError(f"groundtruth: expected boxes with x1 <= x2 and y1 <= y2, got {got}; exchange the corners")
    overlap = iou_of(detections.corners[detection], seen)
    near = overlap >= iou
    detection, box, overlap = detection[near], box[near], overlap[near]
    # The best box of each detection stands first, and of each box the earliest detection.
    best = np.lexsort((box, -overlap, detection))
    best = best[np.diff(detection[best], prepend=-1) != 0]
    detection, box = detection[best], box[best]
    _, earliest = np.unique(box, return_index=True)  # detections are in order, so the first one is the earliest
    found = np.zeros(len(requested), bool)
    found[detection[earliest]] = True
    return found


def average_precision(scores: np.ndarray, found: np.ndarray, num_boxes: int) -> float:
    """Area under the envelope of the precision-recall curve; of equal scores, the later row ranks first.

    NaN without boxes, 0 without detections.

    Raises:
        ValueError: More detections found a box than there are boxes.
    """
    if num_boxes < np.count_nonzero(found):
        raise ValueError(f"groundtruth: expected a box for each of {np.count_nonzero(found)} matches, got {num_boxes}")
    if not num_boxes:
        return np.nan
    hits = np.flatnonzero(found[np.argsort(scores, kind="stable")[::-1]])
    number = np.arange(1, len(hits) + 1)
    # Precision is highest at a hit, so that the envelope needs the ranks of hits alone.
    precision = np.maximum.accumulate((number.astype(float) / (hits + 1))[::-1])[::-1]
    recall = np.concatenate([[0.0], number.astype(float) / num_boxes])
    steps = (recall[1:] - recall[:-1]) * precision
    if len(hits) < num_boxes:
        steps = np.append(steps, 0.0)  # the original has this summand, and np.sum rounds by the number of summands
    result: float = np.sum(steps)
    return result


def split_by_class(cls: np.ndarray, *columns: np.ndarray) -> Iterable[tuple[int, tuple[np.ndarray, ...]]]:
    """Each class that occurs, ascending, with its rows of the columns in their order."""
    order = np.argsort(cls, kind="stable")
    values, starts = np.unique(cls[order], return_index=True)
    bounds = [*starts.tolist(), len(order)]
    for number, first, last in zip(values.tolist(), bounds[:-1], bounds[1:], strict=True):
        yield number, tuple(column[order[first:last]] for column in columns)
