"""The measured shapes, and their data: classes with few positives, and dense classes.

Shapes of the tail have planted models with a known skill, one good and one poor. A good model (mAP about 0.5) scores
most negatives below the lowest positive of their class. A positives-only method drops these with one comparison. A
poor model (mAP about 0.05) does not, so most negatives need a search among the thresholds. With thousands of positives
a class, as in "rows", one positive is always low, and nearly all negatives need the search.

Dense shapes have one share of positives in all classes, and one model: unit normal scores, 1.5 more for positives.

Legend: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

QUALITIES = ("good", "poor")
DENSE_QUALITY = "only"  # dense shapes have one model


@dataclass(frozen=True)
class Shape:
    """One shape: its size, and either the share of positives or the positives by frequency rank and two models."""

    title: str
    num_rows: int
    num_classes: int
    counts: Callable[[int, np.ndarray], np.ndarray] | None  # (N, rank 1..C) -> positives; None: those of the demo set
    models: dict[str, tuple[float, float]]  # quality -> lift of a median class's positives, spread; found by trial
    share: float | None = None  # of positives, in each class of a dense shape

    @property
    def is_dense(self) -> bool:
        return self.share is not None

    @property
    def qualities(self) -> tuple[str, ...]:
        return (DENSE_QUALITY,) if self.is_dense else QUALITIES

    def case_title(self, quality: str) -> str:
        return self.title if self.is_dense else f"{self.title}, {quality} model"

    def size(self, quick: bool) -> tuple[int, int]:
        """Return N and C as measured; --quick shrinks both."""
        divisor = _QUICK_DIVISOR if quick and self.num_rows * self.num_classes > _QUICK_CELLS else 1
        return self.num_rows // divisor, max(1, self.num_classes // divisor)


def _dense(num_rows: int, num_classes: int, share: float) -> Shape:
    return Shape(f"{num_rows:,} x {num_classes:,} at {share:g}", num_rows, num_classes, None, {}, share)


def _ava_counts(num_rows: int, rank: np.ndarray) -> np.ndarray:
    """Three classes that more than half of the rows carry (stand, watch, talk), then a steep tail."""
    return np.where(rank <= 3, (0.80 - 0.08 * rank) * num_rows, 0.2 * num_rows * np.maximum(1, rank - 3) ** -1.2)


def _many_rows_counts(num_rows: int, rank: np.ndarray) -> np.ndarray:
    """About one label a row; the largest class has a fifth of the rows as its thresholds."""
    return 0.2 * num_rows / rank


def _many_classes_counts(num_rows: int, rank: np.ndarray) -> np.ndarray:
    """Extreme classification: three labels a row, a few positives in most classes."""
    return 0.1 * num_rows * rank**-0.8


_TAIL = {
    "videolt": Shape("VideoLT test", 51_239, 1_004, None, {}),
    "ava": Shape("AVA-like, huge head classes", 2_000, 60, _ava_counts, {"good": (2.4, 1.0), "poor": (-0.6, 0.5)}),
    "rows": Shape("many rows", 1_000_000, 100, _many_rows_counts, {"good": (2.6, 1.0), "poor": (0.2, 1.0)}),
    "classes": Shape("many classes", 20_000, 20_000, _many_classes_counts, {"good": (3.6, 1.0), "poor": (-1.0, 2.5)}),
}
_DENSE = {
    "10m-0.5": _dense(10_000_000, 1, 0.5),
    "10m-0.1": _dense(10_000_000, 1, 0.1),
    "10m-0.01": _dense(10_000_000, 1, 0.01),
    "1m-0.5": _dense(1_000_000, 1, 0.5),
    "1mx100-0.1": _dense(1_000_000, 100, 0.1),
    "1mx100-0.01": _dense(1_000_000, 100, 0.01),
    "200kx500-0.03": _dense(200_000, 500, 0.03),
    "10k-0.5": _dense(10_000, 1, 0.5),
    "1k-0.5": _dense(1_000, 1, 0.5),
    "100x10-0.3": _dense(100, 10, 0.3),
}
SHAPES: dict[str, Shape] = _TAIL | _DENSE
GROUPS = {"tail": tuple(_TAIL), "dense": tuple(_DENSE)}  # names that stand for several shapes

_QUICK_DIVISOR = 8  # --quick: an eighth of the rows and of the classes,
_QUICK_CELLS = 1_000_000  # of shapes with more cells than this
_DENSE_LIFT = np.float32(1.5)
_HEAD_SKILL = 0.3  # extra lift of a class with e times the median's positives


def write_case(directory: Path, name: str, quality: str, quick: bool) -> None:
    """Write one shape in one quality: scores.npy float32, labels.npy uint8 (both (N, C)) and train_counts.npy (C,)."""
    shape = SHAPES[name]
    if shape.share is not None:
        write_dense(directory, *shape.size(quick), shape.share)
    elif shape.counts is None:
        _write_arrays(directory, *_demo_case(quality, quick))
    else:
        _write_arrays(directory, *_planted_case(shape, quality, quick))


def write_dense(directory: Path, num_rows: int, num_classes: int, share: float) -> None:
    """Write a case as `write_case` does, with one share of positives in all classes, and at least one in each."""
    rng = np.random.default_rng(0)
    labels = (rng.random((num_rows, num_classes), np.float32) < share).view(np.uint8)
    missing = np.flatnonzero(~labels.any(axis=0))
    labels[rng.integers(num_rows, size=missing.size), missing] = 1
    scores = rng.standard_normal((num_rows, num_classes), np.float32)
    scores += _DENSE_LIFT * labels
    _write_arrays(directory, scores, labels, labels.sum(axis=0, dtype=np.int64))


def _write_arrays(directory: Path, scores: np.ndarray, labels: np.ndarray, train_counts: np.ndarray) -> None:
    np.save(directory / "scores.npy", scores)
    np.save(directory / "labels.npy", labels)
    np.save(directory / "train_counts.npy", train_counts)


def _demo_case(quality: str, quick: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from vltr_eval.program.demo import make_demo

    demo = make_demo(scale=1 / _QUICK_DIVISOR if quick else 1.0, quality=quality)
    return demo.scores, demo.labels.view(np.uint8), demo.train_counts


def _planted_case(shape: Shape, quality: str, quick: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from vltr_eval.program.demo import planted_scores

    num_rows, num_classes = shape.size(quick)
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
