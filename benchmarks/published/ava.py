"""AVA's official frame mAP, rewritten from its description: a loop over images, classes, detections and rows.

It is slow and plain on purpose. Tests compare `vltr_eval.compat.ava` with it, and a benchmark times both. It uses
numpy and the standard library, no code of the original (ActivityNet, Evaluation/get_ava_performance.py), and no code
of vltr_eval.
"""

from __future__ import annotations

import csv
import heapq
import re
from collections import defaultdict
from collections.abc import Collection
from decimal import Decimal

import numpy as np


def official_metrics(
    detections: str,
    groundtruth: str,
    labelmap: str,
    *,
    exclude: str | None = None,
    iou: float = 0.5,
    whole_seconds: bool = False,
    max_per_image: int | None = 50,
    unlisted_images: str = "ignore",
    order: str = "score",
    second_choice: bool = False,
    prefixes: tuple[str, str] = ("PascalBoxes_Precision/", "PascalBoxes_"),
) -> dict[str, float]:
    """Return mAP and the AP of each class of the label map, under the names of the official script.

    prefixes: the beginnings of these names; mmaction2 0.x has none.

    The defaults are the official protocol; the options are those of vltr_eval's ``Protocol``.
    """
    names = read_labelmap(labelmap)
    excluded = set() if exclude is None else read_keys(exclude, whole_seconds)
    truth, listed = read_csv(groundtruth, names, whole_seconds, None, "score")
    found, _ = read_csv(detections, names, whole_seconds, max_per_image, order)
    found = {key: rows for key, rows in found.items() if unlisted_images != "ignore" or key in listed}
    by_class = ap_by_class(truth, found, excluded, names, iou, second_choice)
    at = f"@{iou}IOU"
    defined = [value for value in by_class.values() if value == value]
    return {
        f"{prefixes[0]}mAP{at}": sum(defined) / len(defined),
        **{f"{prefixes[1]}PerformanceByCategory/AP{at}/{names[action]}": value for action, value in by_class.items()},
    }


def ap_by_class(
    truth: dict[str, list[tuple]],
    found: dict[str, list[tuple]],
    excluded: Collection[str],
    names: Collection[int],
    iou: float,
    second_choice: bool = False,
) -> dict[int, float]:
    """Return the AP of each class from rows (score, action, y1, x1, y2, x2) by image."""
    num_boxes: dict[int, int] = defaultdict(int)
    for key, rows in truth.items():
        for _, action, *_ in rows:
            num_boxes[action] += key not in excluded
    scores = defaultdict(list)
    labels = defaultdict(list)
    for key, rows in found.items():
        if key in excluded:
            continue
        for action in names:
            own = [row for row in rows if row[1] == action and row[2] < row[4] and row[3] < row[5]]
            boxes = np.array([row[2:] for row in truth.get(key, ()) if row[1] == action]).reshape(-1, 4)
            scores[action] += [row[0] for row in own]
            labels[action] += match([row[2:] for row in own], boxes, iou, second_choice)
    return {
        action: average_precision(np.array(scores[action]), np.array(labels[action], bool), num_boxes[action])
        for action in names
    }


def evaluate_ava(
    preds: np.ndarray,
    original_boxes: np.ndarray,
    metadata: list[list[float]],
    excluded_keys: Collection[str],
    class_whitelist: Collection[int],
    categories: list[dict],
    groundtruth: tuple[dict, dict, dict],
    video_idx_to_name: list[str],
) -> float:
    """Return the mAP of SlowFast (slowfast/utils/ava_eval_helper.py): lists by frame, text files, and the loop."""
    found: dict[str, list[tuple]] = defaultdict(list)
    for scores, box, (video, second) in zip(preds, original_boxes, metadata, strict=True):
        key = f"{video_idx_to_name[round(video)]},{round(second):04d}"
        _, x1, y1, x2, y2 = box.tolist()
        found[key] += [(s, c, y1, x1, y2, x2) for c, s in enumerate(scores.tolist(), 1) if c in class_whitelist]
    truth = {
        key: [(1.0, c, *box) for box, c in zip(groundtruth[0][key], groundtruth[1][key], strict=True)]
        for key in groundtruth[0]
    }
    for name, frames in (("detections", found), ("groundtruth", truth)):
        with open(f"{name}_published.csv", "w") as file:
            for key, rows in frames.items():
                for s, c, y1, x1, y2, x2 in rows:
                    file.write(f"{key},{x1:.03f},{y1:.03f},{x2:.03f},{y2:.03f},{c},{s:.04f}\n")
    return mean(list(ap_by_class(truth, found, excluded_keys, [c["id"] for c in categories], 0.5).values()))


def ava_eval(
    detections: str,
    groundtruth: str,
    labelmap: str,
    *,
    exclude: str | None = None,
    ignore_empty_frames: bool = True,
) -> dict[str, float]:
    """Return the means of mmaction2 1.x: over all detected classes, and over three ranges of their ids.

    The loop is that of mmaction2 (mmaction/evaluation/functional/ava_utils.py, 1.0.0 to 1.2.0) in one process.
    """
    names = read_labelmap(labelmap)
    excluded = set() if exclude is None else read_keys(exclude, True)
    truth, _ = read_csv(groundtruth, names, True, None, "score")
    found, _ = read_csv(detections, names, True, None, "score")
    scores = defaultdict(list)
    labels = defaultdict(list)
    for key in truth if ignore_empty_frames else found:
        if key in excluded:
            continue
        rows = found.get(key, ())
        for action in {row[1] for row in rows}:
            own = [row for row in rows if row[1] == action]
            boxes = np.array([row[2:] for row in truth.get(key, ()) if row[1] == action], np.float32).reshape(-1, 4)
            scores[action] += [row[0] for row in own]
            labels[action] += match(list(np.array([row[2:] for row in own], np.float32)), boxes, 0.5, False)
    num_boxes = {action: sum(row[1] == action for rows in truth.values() for row in rows) for action in names}
    by_class = {
        action: average_precision(np.array(scores[action], np.float32), np.array(labels[action]), num_boxes[action])
        for action in scores
    }
    ranges = {
        "overall": (0, 10**9), "person_movement": (0, 14), "object_manipulation": (15, 63),
        "person_interaction": (64, 10**9),
    }  # fmt: skip
    return {
        name: mean([value for action, value in by_class.items() if first <= action <= last])
        for name, (first, last) in ranges.items()
    }


def mean(values: list[float]) -> float:
    """Return the mean of the values that are not NaN."""
    defined = [value for value in values if value == value]
    return sum(defined) / len(defined) if defined else float("nan")


def read_labelmap(path: str) -> dict[int, str]:
    """Read the names by id: a line with the name, then one with the id, each indented by two spaces."""
    names = {}
    name = ""
    with open(path) as file:
        for line in file:
            if line.startswith("  name:"):
                name = line.split('"')[1]
            elif re.match("  (label_)?id:", line):
                names[int(line.split()[-1])] = name
    return names


def image_key(video: str, time: str, whole_seconds: bool) -> str:
    return f"{video},{int(float(time)):04d}" if whole_seconds else f"{video},{Decimal(time):.6f}"


def read_keys(path: str, whole_seconds: bool) -> set[str]:
    with open(path, newline="") as file:
        return {image_key(row[0], row[1], whole_seconds) for row in csv.reader(file)}


def read_csv(
    path: str, actions: Collection[int], whole_seconds: bool, limit: int | None, order: str
) -> tuple[dict[str, list[tuple]], set[str]]:
    """Return the rows (score, action, y1, x1, y2, x2) of each image, and all images that the file names.

    Once an image has ``limit`` rows, another row replaces the worst one if its score is greater.
    """
    rows: dict[str, list[tuple]] = defaultdict(list)
    keys = set()
    with open(path, newline="") as file:
        for row in csv.reader(file):
            key = image_key(row[0], row[1], whole_seconds)
            keys.add(key)
            if len(row) == 2 or int(row[6]) not in actions:
                continue
            x1, y1, x2, y2 = map(float, row[2:6])
            entry = (float(row[7]) if len(row) == 8 else 1.0, int(row[6]), y1, x1, y2, x2)
            if limit is None:
                rows[key].append(entry)
            elif len(rows[key]) < limit:
                heapq.heappush(rows[key], entry)
            elif entry[0] > rows[key][0][0]:
                heapq.heapreplace(rows[key], entry)
    if order == "score":
        for entries in rows.values():
            entries.sort(key=lambda entry: -entry[0])
    return rows, keys


def match(detected: list[tuple], boxes: np.ndarray, iou: float, second_choice: bool) -> list[bool]:
    """Match the detections of one image and class with its boxes, in order; return which of them match."""
    free = np.ones(len(boxes), bool)
    hits = []
    for corners in detected:
        overlaps = np.array([overlap(corners, box) for box in boxes])
        choices = np.argsort(-overlaps, kind="stable")[: None if second_choice else 1]
        taken = next((i for i in choices if overlaps[i] >= iou and free[i]), None)
        if taken is not None:
            free[taken] = False
        hits.append(taken is not None)
    return hits


def overlap(a: tuple, b: np.ndarray) -> float:
    """Return the intersection over union of two boxes y1, x1, y2, x2."""
    height = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = np.float64(height) * np.float64(width)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union else 0.0


def average_precision(scores: np.ndarray, labels: np.ndarray, num_boxes: int) -> float:
    """Return the area under the monotone envelope of the precision-recall curve. The sort orders tied scores."""
    if num_boxes == 0:
        return float("nan")
    hits = 0
    recall, precision = [0.0], [0.0]
    for rank, row in enumerate(np.argsort(scores)[::-1], start=1):
        hits += int(labels[row])
        recall.append(hits / num_boxes)
        precision.append(hits / rank)
    for i in range(len(precision) - 1, 0, -1):
        precision[i - 1] = max(precision[i - 1], precision[i])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))
