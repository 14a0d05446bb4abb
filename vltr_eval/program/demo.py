"""A planted demo set: VideoLT's shape and class frequencies, scores from a model whose skill is known.

Legend: N videos (rows), C classes, P positives (row, class pairs).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vltr_eval._base.files import OutputError, PendingFile
from vltr_eval._base.long_tail import (
    VIDEOLT_TRAIN_TAIL,
    even_pick,
    labels_of_rows,
    plant_labels,
    round_to_sum,
    tail_counts,
)
from vltr_eval._base.progress import part_of
from vltr_eval._base.terminal import OK, ProgressBar, add_command, as_called
from vltr_eval.program.options import whole_number
from vltr_eval.program.outputs import note

# VideoLT's published test split.
_ROWS = 51_239
_CLASSES = 1_004
_ROWS_BY_LABEL_COUNT = (46_973, 3_697, 481, 80, 8)  # videos that carry 1, 2, 3, 4, 5 labels
_TEST_COUNT_BOUNDS = (7, 517)
_MEAN_TEST_COUNT = 56_170 / _CLASSES

_CELLS_PER_BLOCK = 1 << 20  # scores drawn at a time: 4 MiB of float32 scratch


_SPREAD = 0.6  # standard deviation of the lift among a class's positives: some examples are hard


@dataclass(frozen=True)
class Skill:
    """How far a planted model lifts the logit of a positive, in standard deviations of the negatives' logits.

    A class with n training examples is lifted by ``base + slope * log(n / 100)``.
    """

    base: float
    slope: float

    def of_classes(self, train_counts: np.ndarray) -> np.ndarray:
        """Lift of each class, (C,) float64, from its training count (C,)."""
        return self.base + self.slope * np.log(train_counts / 100.0)


QUALITIES = {"good": Skill(base=3.16, slope=0.35), "poor": Skill(base=1.37, slope=0.3)}


@dataclass(frozen=True)
class Demo:
    """Planted predictions and everything `evaluate` wants beside them."""

    scores: np.ndarray  # (N, C) float32 probabilities
    labels: np.ndarray  # (N, C) bool
    train_counts: np.ndarray  # (C,) int64
    class_names: list[str]  # C names


def make_demo(
    scale: float = 1.0, seed: int = 0, quality: str = "good", progress: Callable[[float], None] | None = None
) -> Demo:
    """Make a long-tailed multi-label test set and a planted model's predictions for it.

    scale: 1 is VideoLT's test split, 51,239 x 1,004 with 56,170 labels, 7 to 517 a class. Rows grow with ``scale``;
        classes with its square root and never beyond 1,004, so a small set still has several positives a class:
        0.02 gives 1,025 x 142. Training counts are not scaled (44 to 1,912; 47 head, 617 medium and 340 tail classes
        at the bounds 500 and 100): fewer classes are an even pick along the tail, with all three groups present.
    quality: "good" or "poor", a key of `QUALITIES`.
    progress: called with the fraction done.
    Raises ValueError for a scale that is not positive and finite, or another quality.

    Measured at scale 1, seed 0 (AP at distinct scores, means of classes; share of a class's scores that are not below
    its lowest positive; share of positives tied with a negative):

        quality   mAP     head    medium  tail    not below   tied
        good      0.500   0.797   0.564   0.341   0.25        0.001
        poor      0.051   0.182   0.058   0.019   0.82        0.004

    Smaller sets have fewer negatives for each positive, hence a higher mAP: 0.67 and 0.18 at scale 0.02.
    The same arguments give the same set, on any number of cores; another numpy or CPU may change last bits of a score.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"scale: expected a positive number, got {scale!r}")
    if quality not in QUALITIES:
        raise ValueError(f"quality: expected one of {', '.join(QUALITIES)}, got {quality!r}")
    num_classes = max(9, min(_CLASSES, round(_CLASSES * np.sqrt(scale))))
    num_rows = max(2 * num_classes, round(_ROWS * scale))

    rng = np.random.default_rng(seed)
    train_counts = rng.permutation(even_pick(tail_counts(VIDEOLT_TRAIN_TAIL), num_classes))
    labels = _plant_labels(num_rows, train_counts, rng)
    scores = planted_scores(
        labels,
        num_classes,
        QUALITIES[quality].of_classes(train_counts),
        seed=seed,
        bias=np.log(train_counts / train_counts.sum()),
        progress=progress,
    )
    return Demo(scores, labels, train_counts, [f"class{c:04d}" for c in range(num_classes)])


def planted_scores(
    labels: Any,
    num_classes: int,
    skill: np.ndarray,
    seed: int = 0,
    *,
    spread: float = _SPREAD,
    bias: np.ndarray | float = -5.0,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Probabilities of a planted model: normal logits, lifted at the positives by the skill of their class.

    labels: dense (N, C) of 0/1, or the positives alone: a `vltr_eval._engine.labels.Positives` or `LabelPairs`.
    skill: (C,) or scalar, mean lift of a positive; spread: its standard deviation among a class's positives.
    bias: (C,) or scalar, mean logit of a negative. Keep it below 0: a float32 sigmoid saturates near +16, into ties.
    progress: called with the fraction done.
    Returns (N, C) float32, C-contiguous.

    Blocks of rows are drawn on two threads, each block from its own stream: besides the result only some MiB are used,
    and threads do not change it.
    """
    num_rows, rows, classes = _positive_pairs(labels)
    scores = np.empty((num_rows, num_classes), np.float32)
    block_rows = max(1, _CELLS_PER_BLOCK // max(1, num_classes))
    bias = np.asarray(bias, np.float32)

    def draw(start: int) -> None:
        block = scores[start : start + block_rows]
        np.random.default_rng((seed, start)).standard_normal(out=block, dtype=np.float32)
        block += bias

    def squash(start: int) -> None:
        block = scores[start : start + block_rows]
        np.negative(block, out=block)
        np.exp(block, out=block)
        block += np.float32(1)
        np.reciprocal(block, out=block)

    starts = range(0, num_rows, block_rows)
    deviates = np.random.default_rng((seed, num_rows)).standard_normal(len(rows))
    lift = np.broadcast_to(skill, num_classes)[classes] + spread * deviates
    with ThreadPoolExecutor(max_workers=2) as pool:
        _follow(pool.map(draw, starts), len(starts), part_of(progress, 0.0, 0.6))
        scores[rows, classes] += lift.astype(np.float32)
        _follow(pool.map(squash, starts), len(starts), part_of(progress, 0.6, 1.0))
    return scores


def _follow(parts: Iterable[object], count: int, progress: Callable[[float], None] | None) -> None:
    """Wait for all parts of a work."""
    for done, _ in enumerate(parts, 1):
        if progress is not None:
            progress(done / count)


def _positive_pairs(labels: Any) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of rows, and row and class of each positive, from any of the label forms of `planted_scores`."""
    if hasattr(labels, "indptr"):  # Positives: rows grouped by class
        return labels.num_rows, labels.rows, np.repeat(np.arange(labels.num_classes), np.diff(labels.indptr))
    if hasattr(labels, "classes"):  # LabelPairs
        return labels.num_rows, labels.rows, labels.classes
    rows, classes = np.nonzero(labels)
    return len(labels), rows, classes


def _plant_labels(num_rows: int, train_counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels (N, C) bool: each row has 1 to 5 as in VideoLT, each class about its share of the training counts."""
    num_classes = len(train_counts)
    labels_of_row = labels_of_rows(num_rows, _ROWS_BY_LABEL_COUNT, rng)
    total = int(labels_of_row.sum())
    shrink = (total / num_classes) / _MEAN_TEST_COUNT
    smallest, largest = (round(bound * shrink) for bound in _TEST_COUNT_BOUNDS)
    expected = train_counts * (total / train_counts.sum())
    counts = round_to_sum(rng.poisson(expected), total, max(1, smallest), min(largest, num_rows // 2))

    rows, classes = plant_labels(labels_of_row, counts, rng)
    labels = np.zeros((num_rows, num_classes), bool)
    labels[rows, classes] = True
    return labels


def write_demo(
    directory: str | os.PathLike[str],
    scale: float = 1.0,
    seed: int = 0,
    quality: str = "good",
    progress: Callable[[float], None] | None = None,
) -> Demo:
    """Write `make_demo`'s set into ``directory`` (made if missing) and return it.

    preds.npy (N, C) float32, labels.npy (N, C) bool, train_counts.lst ("<name> <index> <count>.0" a line, as VideoLT's
    count-labels-train.lst) and class_names.txt. The files are moved into place once all are written, so a run that
    fails leaves none of them half-written. Raises ValueError as `make_demo` does and
    OutputError when writing fails.

    progress: called with the fraction done.
    """
    demo = make_demo(scale, seed, quality, part_of(progress, 0.0, _OF_MAKING))
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{directory}: cannot be made ({error.strerror or error})") from None
    named_counts = enumerate(zip(demo.class_names, demo.train_counts, strict=True))
    contents: dict[str, np.ndarray | str] = {
        "preds.npy": demo.scores,
        "labels.npy": demo.labels,
        "train_counts.lst": "".join(f"{name} {index} {count}.0\n" for index, (name, count) in named_counts),
        "class_names.txt": "".join(f"{name}\n" for name in demo.class_names),
    }
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context(PendingFile(directory / name)) for name in contents}
        writing = part_of(progress, _OF_MAKING, 1.0)  # of the scores, which are nearly all bytes
        for name, content in contents.items():
            files[name].fill(functools.partial(_write, content, writing if name == "preds.npy" else None))
        for file in files.values():
            file.put_in_place()
    return demo


_OF_MAKING = 0.6  # share of the time; the rest is for writing


def _write(content: np.ndarray | str, progress: Callable[[float], None] | None, path: Path) -> None:
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8", newline="")
        return
    with open(path, "wb") as file:
        if progress is None:
            np.save(file, content)  # by its path np.save would add .npy to it
            return
        header = np.lib.format.header_data_from_array_1_0(content)
        np.lib.format.write_array_header_1_0(file, header)
        step = max(1, _BYTES_PER_WRITE // max(1, content[:1].nbytes))
        for start in range(0, len(content), step):
            file.write(content[start : start + step].data)
            progress(min(1.0, (start + step) / len(content)))


_BYTES_PER_WRITE = 1 << 24


def add(commands: Any) -> None:
    description = "Write a demo set: VideoLT's shape and class frequencies, scores from a planted model."
    parser = add_command(commands, "demo", run, description)
    parser.add_argument("directory", metavar="DIR", help="folder to write preds.npy, labels.npy, ... into")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is 51,239 x 1,004 (default: 1)")
    parser.add_argument("--seed", type=whole_number(0), default=0, metavar="S", help="default: 0")
    parser.add_argument("--quality", choices=("good", "poor"), default="good", help="of the model (default: good)")


def run(args: argparse.Namespace) -> int:
    import shlex

    with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
        demo = write_demo(args.directory, args.scale, args.seed, args.quality, progress)
    preds, labels, counts, names = (
        os.path.join(args.directory, name)
        for name in ("preds.npy", "labels.npy", "train_counts.lst", "class_names.txt")
    )
    sys.stdout.write("".join(f"{path}\n" for path in (preds, labels, counts, names)))
    rows, classes = demo.scores.shape
    page = os.path.join(args.directory, "report.html")
    options = ["--counts", counts, "--class-names", names, "--html", page]
    command = shlex.join([*as_called("vltr-eval"), preds, labels, *options])
    note(args, f"{rows:,} x {classes:,}; now try: {command}")
    return OK
