"""The measured shapes, and their data: planted models with a known skill, one good and one poor.

A good model (mAP about 0.5) scores most negatives below the lowest positive of their class. A positives-only method
drops these with one comparison. A poor model (mAP about 0.05) does not, so most negatives need a search among the
thresholds. With thousands of positives a class, as in "rows", one positive is always low, and nearly all negatives
need the search.

Legend: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

QUALITIES = ("good", "poor")


@dataclass(frozen=True)
class Shape:
    """One shape: its size, the number of positives for each frequency rank, and its two models."""

    title: str
    num_rows: int
    num_classes: int
    counts: Callable[[int, np.ndarray], np.ndarray] | None  # (N, rank 1..C) -> positives; None: those of the demo set
    models: dict[str, tuple[float, float]]  # quality -> lift of a median class's positives, spread; found by trial


def _ava_counts(num_rows: int, rank: np.ndarray) -> np.ndarray:
    """Three classes that more than half of the rows carry (stand, watch, talk), then a steep tail."""
    return np.where(rank <= 3, (0.80 - 0.08 * rank) * num_rows, 0.2 * num_rows * np.maximum(1, rank - 3) ** -1.2)


def _many_rows_counts(num_rows: int, rank: np.ndarray) -> np.ndarray:
    """About one label a row; the largest class has a fifth of the rows as its thresholds."""
    return 0.2 * num_rows / rank


def _many_classes_counts(num_rows: int, rank: np.ndarray) -> np.ndarray:
    """Extreme classification: three labels a row, a few positives in most classes."""
    return 0.1 * num_rows * rank**-0.8


SHAPES: dict[str, Shape] = {
    "videolt": Shape("VideoLT test", 51_239, 1_004, None, {}),
    "ava": Shape("AVA-like, huge head classes", 2_000, 60, _ava_counts, {"good": (2.4, 1.0), "poor": (-0.6, 0.5)}),
    "rows": Shape("many rows", 1_000_000, 100, _many_rows_counts, {"good": (2.6, 1.0), "poor": (0.2, 1.0)}),
    "classes": Shape("many classes", 20_000, 20_000, _many_classes_counts, {"good": (3.6, 1.0), "poor": (-1.0, 2.5)}),
}

_QUICK_DIVISOR = 8  # --quick: an eighth of the rows and of the classes,
_QUICK_CELLS = 1_000_000  # of shapes with more cells than this
_HEAD_SKILL = 0.3  # extra lift of a class with e times the median's positives


def write_case(directory: Path, name: str, quality: str, quick: bool) -> None:
    """Write one shape in one quality: scores.npy float32, labels.npy uint8 (both (N, C)) and train_counts.npy (C,)."""
    shape = SHAPES[name]
    if shape.counts is None:
        scores, labels, train_counts = _demo_case(quality, quick)
    else:
        scores, labels, train_counts = _planted_case(shape, quality, quick)
    np.save(directory / "scores.npy", scores)
    np.save(directory / "labels.npy", labels)
    np.save(directory / "train_counts.npy", train_counts)


def _demo_case(quality: str, quick: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from vltr_eval.program.demo import make_demo

    demo = make_demo(scale=1 / _QUICK_DIVISOR if quick else 1.0, quality=quality)
    return demo.scores, demo.labels.view(np.uint8), demo.train_counts


def _planted_case(shape: Shape, quality: str, quick: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from vltr_eval.program.demo import planted_scores

    divisor = _QUICK_DIVISOR if quick and shape.num_rows * shape.num_classes > _QUICK_CELLS else 1
    num_rows, num_classes = shape.num_rows // divisor, shape.num_classes // divisor
    rng = np.random.default_rng(0)
    # In random order of frequency, a subset of the classes is a fair sample of them.
    rank = rng.permutation(np.arange(1.0, num_classes + 1))
    counts = np.clip(shape.counts(num_rows, rank).round().astype(np.int64), 1, num_rows)
    labels = np.zeros((num_rows, num_classes), np.uint8)
    for c, count in enumerate(counts):
        labels[rng.choice(num_rows, count, replace=False, shuffle=False), c] = 1
    lift, spread = shape.models[quality]
    skill = lift + _HEAD_SKILL * np.log(counts / np.median(counts))
    return planted_scores(labels, num_classes, skill, seed=0, spread=spread), labels, counts
