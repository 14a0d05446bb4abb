"""Compare each drop-in of vltr_eval.compat with its original: time, peak extra memory, largest difference.

    python benchmarks/bench_compat.py --out             all drop-ins (about ten minutes), into results/compat-DATE.md
    python benchmarks/bench_compat.py --quick           small shapes: does the benchmark itself work?
    python benchmarks/bench_compat.py --libraries sklearn,ava

Each row is one call, written once and run with both modules. It shows the effect of a changed import. The table goes
to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from _lib.machine import RESULTS, TODAY, num_cpus, provenance, write_whole
from _lib.measure import PeakMemory
from _lib.shapes import SHAPES, write_case
from _lib.tables import duration, figure, one_line, size, table

BATCH = 256  # rows of an update, for drop-ins that take batches
_WARM_UP_ROWS = 64
_QUICK_DIVISOR = 32  # --quick divides the rows of each drop-in by this; `write_case` shrinks the shape itself
_OUR_RUNS = 5  # at least; the original runs at least once
_MIN_SECONDS = 1.0  # both repeat for this long,
_MAX_RUNS = 50  # at most this often

# The title of each original in the table, and its modules. A later module overrides the names of an earlier one.
ORIGINALS = {
    "sklearn": ("scikit-learn", ("sklearn.metrics",)),
    "torchmetrics": ("torchmetrics", ("torchmetrics.functional.classification", "torchmetrics.classification")),
    "torcheval": ("torcheval", ("torcheval.metrics.functional", "torcheval.metrics")),
    "torchnet": ("torchnet (*)", ("published.torchnet",)),
    "mlgcn": ("ML-GCN (*)", ("published.mlgcn",)),
    "asl": ("ASL, Query2Label (*)", ("published.asl",)),
    "clip_benchmark": ("CLIP_benchmark (*)", ("published.clip_benchmark",)),
    "charades": ("Charades, W-TALC (*)", ("published.charades",)),
    "oltr": ("OLTR (*)", ("published.oltr",)),
    "pyxclib": ("pyxclib (*)", ("published.pyxclib",)),
    "youtube8m": ("YouTube-8M (*)", ("published.youtube8m",)),
    "ava": ("AVA (*)", ("published.ava",)),
    "ast": ("AST (*)", ("published.ast",)),
    "panns": ("PANNs (*)", ("published.panns",)),
    "slowfast": ("SlowFast (*)", ("published.slowfast",)),
    "mmaction2": ("mmaction2 (*)", ("published.mmaction2",)),
    "mmpretrain": ("mmpretrain (*)", ("published.mmpretrain",)),
    "birdset": ("BirdSet (*)", ("published.birdset",)),
    "birdclef": ("BirdCLEF (*)", ("published.birdclef",)),
    "ava.mmaction2": ("mmaction2 (*)", ("published.ava",)),
    "ava.slowfast": ("SlowFast (*)", ("published.ava",)),
}
PACKAGES = ("numpy", "scikit-learn", "torch", "torchmetrics", "torcheval")


# Inputs: (directory, rows) -> the text for the table, and the arguments


Inputs = tuple[str, tuple[Any, ...]]


def matrix(directory: Path, rows: int, *, scores: str = "scores", columns: int | None = None) -> Inputs:
    """Return scores (N, C) float32 and labels (N, C) uint8. scores: "distinct" for scores without ties."""
    cells = np.s_[:rows, :columns]
    arrays = tuple(np.load(directory / f"{name}.npy", mmap_mode="r")[cells].copy() for name in (scores, "labels"))
    return _shape(arrays[0]), arrays


def tensors(directory: Path, rows: int, *, scores: str = "scores", columns: int | None = None) -> Inputs:
    import torch

    shape, arrays = matrix(directory, rows, scores=scores, columns=columns)
    return shape, tuple(map(torch.from_numpy, arrays))


def one_label(directory: Path, rows: int, *, torch_tensors: bool = False) -> Inputs:
    """Return scores (N, C) and the first label of each row, (N,) int64."""
    make = tensors if torch_tensors else matrix
    shape, (scores, labels) = make(directory, rows)
    return shape, (scores, labels.argmax(1))


def sparse_labels(directory: Path, rows: int, *, listed: int | None = None) -> Inputs:
    """Return scores (N, C), or the highest of each row as a sparse matrix, sparse labels, and inverse propensities."""
    from scipy.sparse import csr_matrix

    shape, (scores, labels) = matrix(directory, rows, scores="distinct")
    if listed is not None:
        lowest = np.partition(scores, -listed, axis=1)[:, [-listed]]
        scores = csr_matrix(np.where(scores >= lowest, scores, 0))
        shape += f", {listed} listed"
    return shape, (scores, csr_matrix(labels.astype(np.float32)), 1 + np.arange(labels.shape[1]) / 100)


def without_absent(directory: Path, rows: int) -> Inputs:
    """Return tensors as `tensors` does, with a positive in each class, without which ML-GCN's meter fails."""
    shape, (scores, labels) = tensors(directory, rows, scores="distinct", columns=500)
    classes = np.arange(labels.shape[1])
    labels[classes % rows, classes] = 1
    return shape, (scores, labels)


def score_files(directory: Path, rows: int) -> Inputs:
    """Write a file of scores and labels, as Query2Label does."""
    shape, arrays = matrix(directory, rows, scores="distinct", columns=80)
    path = directory / f"scores-{rows}.txt"
    np.savetxt(path, np.hstack(arrays))
    return shape, (str(path), 80)


def column(directory: Path, rows: int, *, scores: str = "scores") -> Inputs:
    """Return all cells of the first rows as one class."""
    _, arrays = matrix(directory, rows, scores=scores)
    flat = tuple(array.reshape(-1) for array in arrays)
    return _shape(flat[0]), flat


def column_tensors(directory: Path, rows: int) -> Inputs:
    """Return all cells of the first rows as one class, in tensors."""
    import torch

    shape, arrays = column(directory, rows)
    return shape, tuple(map(torch.from_numpy, arrays))


def frames(directory: Path, rows: int) -> Inputs:
    """Return a solution and a submission as pandas frames, with 500 classes."""
    import pandas as pd

    shape, arrays = matrix(directory, rows, columns=500)
    return shape, tuple(map(pd.DataFrame, arrays[::-1]))


def ava_files(directory: Path, frames: int) -> Inputs:
    """Write detections, ground truth and label map of some key frames, with 60 scores for each detected box."""
    rng = np.random.default_rng(frames)
    folder = directory / f"ava-{frames}"
    folder.mkdir(exist_ok=True)
    paths = tuple(str(folder / name) for name in ("detections.csv", "groundtruth.csv", "labelmap.pbtxt"))
    ids = [c for c in range(1, 81) if c % 4]
    Path(paths[2]).write_text("".join(f'item {{\n  name: "action {c}"\n  id: {c}\n}}\n' for c in ids))

    persons = 1 + rng.poisson(0.9, frames)
    frame = np.repeat(np.arange(frames), persons)
    low = rng.uniform(0, 0.6, (len(frame), 2))
    corners = np.hstack([low, low + rng.uniform(0.15, 0.4, (len(frame), 2))])
    frequency = 1 / np.arange(1, len(ids) + 1)
    acts = rng.random((len(frame), len(ids))) < frequency / frequency.sum()
    acts[np.arange(len(frame)), rng.choice(len(ids), len(frame), p=frequency / frequency.sum())] = True
    seen = corners + rng.normal(0, 0.02, corners.shape)
    logits = rng.normal(0, 1, acts.shape) + 2.5 * acts + np.log(frequency)
    scores = np.empty(acts.size)
    scores[np.argsort(logits, axis=None)] = (np.arange(acts.size) + 1) / (acts.size + 1)  # all distinct

    def lines(chosen: np.ndarray, boxes: np.ndarray, last: np.ndarray | None) -> Iterator[str]:
        for i, c in zip(*np.nonzero(chosen), strict=True):
            box = ",".join(f"{corner:.4f}" for corner in boxes[i])
            score = "" if last is None else f",{last[i * len(ids) + c]:.9f}"
            yield f"video{frame[i] // 900:05d},{902 + frame[i] % 900},{box},{ids[c]}{score}\n"

    Path(paths[0]).write_text("".join(lines(np.ones_like(acts), seen, scores)))
    Path(paths[1]).write_text("".join(lines(acts, corners, None)))
    return f"{frames:,} frames, {acts.size:,} detections, {acts.sum():,} boxes", paths


def ava_tensors(directory: Path, frames: int) -> Inputs:
    """Return what SlowFast's AVAMeter gives to evaluate_ava, for the detections of `ava_files`."""
    import torch

    from vltr_eval.compat.ava import slowfast

    shape, (found, truth, names) = ava_files(directory, frames)
    categories, ids = slowfast.read_labelmap(names)
    boxes, _, scores = slowfast.read_csv(found, ids, load_score=True)
    videos = sorted({key.rsplit(",", 1)[0] for key in boxes})
    rows, values, metadata = [], [], []
    for key in boxes:
        video, second = key.rsplit(",", 1)
        count = len(boxes[key]) // len(ids)
        corners = np.array(boxes[key]).reshape(count, len(ids), 4)[:, 0, [1, 0, 3, 2]]
        rows.append(np.hstack([np.zeros((count, 1)), corners]))
        matrix = np.zeros((count, max(ids)))
        matrix[:, np.array(sorted(ids)) - 1] = np.reshape(scores[key], (count, len(ids)))
        values.append(matrix)
        metadata += [[videos.index(video), int(second)]] * count
    arguments = (torch.from_numpy(np.vstack(values)), torch.from_numpy(np.vstack(rows)), metadata, set())
    return shape, (*arguments, ids, categories, slowfast.read_csv(truth, ids), videos)


def write_distinct(directory: Path) -> None:
    """Write distinct.npy: scores in the same order without ties, for originals whose sort decides the order of ties."""
    scores = np.load(directory / "scores.npy")
    least, most = np.float32([2.0**-20, 1.0]).view(np.uint32)
    floats = np.linspace(least, most, scores.size, endpoint=False, dtype=np.uint32).view(np.float32)  # ascending
    distinct = np.empty(scores.size, np.float32)
    distinct[np.argsort(scores, axis=None, kind="stable")] = floats
    np.save(directory / "distinct.npy", distinct.reshape(scores.shape))


def _shape(array: Any) -> str:
    return " x ".join(f"{length:,}" for length in array.shape)


# The calls: m is the module of the original or of vltr, s the scores, y the labels


def silently(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function without its output."""
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*arguments)


def within_folder(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that writes into the working directory."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return silently(function, *arguments)
        finally:
            os.chdir(before)


def batches(s: Any, y: Any) -> Iterator[tuple[Any, Any]]:
    for start in range(0, len(s), BATCH):
        yield s[start : start + BATCH], y[start : start + BATCH]


def updated(metric: Any, s: Any, y: Any) -> Any:
    for batch in batches(s, y):
        metric.update(*batch)
    return metric.compute()


def added(meter: Any, s: Any, y: Any) -> Any:
    for batch in batches(s, y):
        meter.add(*batch)
    return meter


def one_list(m: Any, s: np.ndarray, y: np.ndarray) -> float:
    calculator = m.AveragePrecisionCalculator()
    for batch in batches(s, y):
        calculator.accumulate(*batch)
    return calculator.peek_ap_at_n()


def mean_calculator(m: Any, s: np.ndarray, y: np.ndarray) -> list[float]:
    calculator = m.MeanAveragePrecisionCalculator(s.shape[1])
    for scores, labels in batches(s, y):
        calculator.accumulate(scores.T, labels.T)
    return calculator.peek_map_at_n()


def evaluation_metrics(m: Any, s: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    metrics = m.EvaluationMetrics(s.shape[1], 20)
    for scores, labels in batches(s, y):
        metrics.accumulate(scores, labels, 0.5)
    return metrics.get()


def evaluated(m: Any, s: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Evaluate a model that returns its input, so that the scores are the waveforms. Its output is not shown."""
    import torch

    class Model(torch.nn.Linear):
        def forward(self, waveform: Any) -> dict[str, Any]:
            return {"clipwise_output": waveform}

    loader = [
        {"audio_name": np.arange(len(scores)), "waveform": scores, "target": labels} for scores, labels in batches(s, y)
    ]
    with redirect_stdout(StringIO()):
        statistics: dict[str, Any] = m.Evaluator(Model(1, 1)).evaluate(loader)
    return statistics


def clips_of_videos(m: Any, s: Any, y: Any) -> float:
    """Return the mAP of videos of ten clips, from batches of clips."""
    import torch

    labels, ids = y[::10].float().repeat_interleave(10, 0)[: len(s)], torch.arange(len(s))
    meter = m.TestMeter(-(-len(s) // 10), 10, s.shape[1], 1, multi_label=True, ensemble_method="max")
    for start in range(0, len(s), BATCH):
        clips = slice(start, start + BATCH)
        meter.update_stats(s[clips], labels[clips], ids[clips])
    meter.finalize_metrics()
    return float(meter.stats["map"])


def meter_numbers(meter: Any) -> np.ndarray:
    return np.concatenate([meter.value().numpy(), meter.overall()])


def kaggle_score(m: Any, solution: Any, submission: Any) -> float:
    """Call with copies, because the drop-in deletes the row ids of its arguments."""
    return m.score(*(frame.assign(row_id=range(len(frame))) for frame in (solution, submission)), "row_id")


def thirds(num_classes: int) -> list[list[int]]:
    return [group.tolist() for group in np.array_split(np.arange(num_classes), 3)]


@dataclass(frozen=True)
class DropIn:
    """One row: the call, its inputs and their number of rows."""

    title: str
    call: Callable[..., Any]
    rows: int
    inputs: Callable[[Path, int], Inputs]
    original: Callable[..., Any] | None = None  # if the original needs another call


ALL = SHAPES["videolt"].num_rows
_distinct, _distinct_tensors = partial(matrix, scores="distinct"), partial(tensors, scores="distinct")
_500, _500_tensors = partial(matrix, columns=500), partial(tensors, columns=500)

# A number of rows below that of the shape keeps an original to about half a minute.
DROP_INS: dict[str, tuple[DropIn, ...]] = {
    "sklearn": (
        DropIn(
            "average_precision_score, average=None",
            lambda m, s, y: m.average_precision_score(y, s, average=None),
            ALL,
            matrix,
        ),
        DropIn(
            "average_precision_score, micro",
            lambda m, s, y: m.average_precision_score(y, s, average="micro"),
            ALL,
            matrix,
        ),
        DropIn(
            "average_precision_score, samples",
            lambda m, s, y: m.average_precision_score(y, s, average="samples"),
            16_384,
            matrix,
        ),
        DropIn("roc_auc_score, average=None", lambda m, s, y: m.roc_auc_score(y, s, average=None), ALL, matrix),
        DropIn("precision_recall_curve", lambda m, s, y: m.precision_recall_curve(y, s), 5_000, column),
        DropIn("roc_curve, rates", lambda m, s, y: m.roc_curve(y, s)[:2], 5_000, column),
        DropIn(
            "label_ranking_average_precision_score",
            lambda m, s, y: m.label_ranking_average_precision_score(y, s),
            ALL,
            matrix,
        ),
        DropIn(
            "top_k_accuracy_score, k=5",
            lambda m, s, y: m.top_k_accuracy_score(y, s, k=5, labels=np.arange(s.shape[1])),
            ALL,
            one_label,
        ),
    ),
    "torchmetrics": (
        DropIn(
            "multilabel_average_precision, average=None",
            lambda m, s, y: m.multilabel_average_precision(s, y, s.shape[1], average=None),
            ALL,
            tensors,
        ),
        DropIn(
            "MultilabelAveragePrecision, batches",
            lambda m, s, y: updated(m.MultilabelAveragePrecision(s.shape[1], average=None), s, y),
            ALL,
            tensors,
        ),
        DropIn(
            "multilabel_auroc, average=None",
            lambda m, s, y: m.multilabel_auroc(s, y, s.shape[1], average=None),
            ALL,
            tensors,
        ),
        DropIn(
            "MultilabelAUROC, batches",
            lambda m, s, y: updated(m.MultilabelAUROC(s.shape[1], average=None), s, y),
            ALL,
            tensors,
        ),
        DropIn(
            "MulticlassAccuracy(top_k=5), batches",
            lambda m, s, y: updated(m.MulticlassAccuracy(s.shape[1], top_k=5), s, y),
            ALL,
            partial(one_label, torch_tensors=True),
        ),
        DropIn(
            'AveragePrecision(task="multilabel"), batches',
            lambda m, s, y: updated(m.AveragePrecision(task="multilabel", num_labels=s.shape[1]), s, y),
            20_000,
            _500_tensors,
        ),
        DropIn(
            'AveragePrecision(task="multiclass"), batches',
            lambda m, s, y: updated(m.AveragePrecision(task="multiclass", num_classes=s.shape[1]), s, y),
            8_192,
            partial(one_label, torch_tensors=True),
        ),
        DropIn(
            'AUROC(task="binary")',
            lambda m, s, y: updated(m.AUROC(task="binary"), s, y),
            5_000,
            column_tensors,
        ),
    ),
    "torcheval": (
        DropIn("multilabel_auprc, average=None", lambda m, s, y: m.multilabel_auprc(s, y, average=None), ALL, tensors),
        DropIn(
            "MultilabelAUPRC, batches",
            lambda m, s, y: updated(m.MultilabelAUPRC(num_labels=s.shape[1], average=None), s, y),
            ALL,
            tensors,
        ),
    ),
    "torchnet": (
        DropIn("APMeter, batches", lambda m, s, y: added(m.APMeter(), s, y).value(), ALL, _distinct_tensors),
        DropIn("mAPMeter, batches", lambda m, s, y: added(m.mAPMeter(), s, y).avg(), ALL, _distinct_tensors),
        DropIn(
            "LTMeter, batches",
            lambda m, s, y: added(m.LTMeter(thirds(s.shape[1])), s, y).value(),
            ALL,
            _distinct_tensors,
        ),
    ),
    "mlgcn": (
        DropIn(
            "AveragePrecisionMeter, batches, value and overall",
            lambda m, s, y: meter_numbers(added(m.AveragePrecisionMeter(), s, y)),
            20_000,
            without_absent,
        ),
    ),
    "asl": (
        DropIn("mAP", lambda m, s, y: m.mAP(y, s), 20_000, partial(_500, scores="distinct")),
        DropIn("voc_mAP, from a file", lambda m, path, num: m.voc_mAP(path, num), 500, score_files),
    ),
    "clip_benchmark": (
        DropIn(
            "average_precision_per_class",
            lambda m, s, y: m.average_precision_per_class(s, y),
            20_000,
            partial(_500_tensors, scores="distinct"),
        ),
    ),
    "charades": (
        DropIn("charades_map", lambda m, s, y: m.charades_map(s, y), 20_000, partial(_500, scores="distinct")),
        DropIn(
            "getClassificationMAP",
            lambda m, s, y: m.getClassificationMAP(s, y),
            20_000,
            partial(_500, scores="distinct"),
        ),
    ),
    "oltr": (DropIn("shot_acc", lambda m, s, y: m.shot_acc(s.argmax(1), y, np.sort(y)), ALL, one_label),),
    "pyxclib": (
        DropIn("precision, dense scores", lambda m, s, y, w: m.precision(s, y, k=5), 5_000, sparse_labels),
        DropIn(
            "psprecision, sparse scores",
            lambda m, s, y, w: m.psprecision(s, y, w, k=5),
            20_000,
            partial(sparse_labels, listed=100),
        ),
        DropIn(
            "ndcg, sparse scores",
            lambda m, s, y, w: m.ndcg(s, y, k=5),
            20_000,
            partial(sparse_labels, listed=100),
        ),
    ),
    "youtube8m": (
        DropIn("AveragePrecisionCalculator, batches", one_list, 1_000, partial(column, scores="distinct")),
        DropIn("MeanAveragePrecisionCalculator, batches", mean_calculator, 4_096, _distinct),
        DropIn("EvaluationMetrics(top_k=20), batches", evaluation_metrics, ALL, _distinct),
        DropIn("calculate_gap, top_k=20", lambda m, s, y: m.calculate_gap(s, y), ALL, _distinct),
        DropIn("calculate_hit_at_one", lambda m, s, y: m.calculate_hit_at_one(s, y), ALL, _distinct),
        DropIn(
            "calculate_precision_at_equal_recall_rate",
            lambda m, s, y: m.calculate_precision_at_equal_recall_rate(s, y),
            ALL,
            _distinct,
        ),
    ),
    "birdset": (
        DropIn("cmAP, batches", lambda m, s, y: updated(m.cmAP(s.shape[1]), s, y), 20_000, _500_tensors),
        DropIn("cmAP5, batches", lambda m, s, y: updated(m.cmAP5(s.shape[1], 5), s, y), 20_000, _500_tensors),
        DropIn("mAP, batches", lambda m, s, y: updated(m.mAP(s.shape[1]), s, y), 20_000, _500_tensors),
        DropIn("pcmAP, one call", lambda m, s, y: m.pcmAP(s.shape[1])(s, y), 20_000, _500_tensors),
        DropIn("TopKAccuracy(3), batches", lambda m, s, y: updated(m.TopKAccuracy(3), s, y), 20_000, _500_tensors),
    ),
    "birdclef": (
        DropIn("padded_cmap", lambda m, solution, submission: m.padded_cmap(solution, submission), 20_000, frames),
        DropIn("score", kaggle_score, 20_000, frames),
    ),
    "ava": (
        DropIn(
            "frame mAP and AP of classes, from files",
            lambda m, found, truth, names: m.evaluate(found, truth, labelmap=names, sap=None).official_metrics(),
            4_000,
            ava_files,
            original=lambda m, *files: m.official_metrics(*files),
        ),
        DropIn(
            "the same of 200,000 detections",
            lambda m, found, truth, names: m.evaluate(found, truth, labelmap=names, sap=None).official_metrics(),
            1_750,
            ava_files,
            original=lambda m, *files: m.official_metrics(*files),
        ),
    ),
    "ava.mmaction2": (
        DropIn(
            "ava_eval",
            lambda m, found, truth, names: silently(m.ava_eval, found, "mAP", names, truth, None),
            1_750,
            ava_files,
            original=lambda m, *files: m.ava_eval(*files),
        ),
    ),
    "ava.slowfast": (
        DropIn(
            "evaluate_ava, with its two files",
            lambda m, *arguments: within_folder(m.evaluate_ava, *arguments),
            1_750,
            ava_tensors,
        ),
    ),
    "ast": (DropIn("calculate_stats", lambda m, s, y: m.calculate_stats(s, y), 20_000, _500_tensors),),
    "panns": (DropIn("Evaluator, batches", evaluated, 20_000, _500),),
    "slowfast": (
        DropIn("get_map", lambda m, s, y: m.get_map(s, y), 20_000, _500),
        DropIn("TestMeter, 10 clips of a video", clips_of_videos, 20_000, _500_tensors),
    ),
    "mmaction2": (
        DropIn("mean_average_precision", lambda m, s, y: m.mean_average_precision(s, y), 20_000, _500),
        DropIn("mean_average_precision, lists", lambda m, s, y: m.mean_average_precision([*s], [*y]), 20_000, _500),
        DropIn("mmit_mean_average_precision", lambda m, s, y: m.mmit_mean_average_precision(s, y), 20_000, _500),
        DropIn("top_k_accuracy, k=1, 5", lambda m, s, y: m.top_k_accuracy(s, y.argmax(1), (1, 5)), 20_000, _500),
        DropIn("mean_class_accuracy", lambda m, s, y: m.mean_class_accuracy(s, y.argmax(1)), 20_000, _500),
    ),
    "mmpretrain": (
        DropIn(
            "AveragePrecision.calculate",
            lambda m, s, y: m.AveragePrecision.calculate(s, y.long()),
            20_000,
            partial(tensors, scores="distinct", columns=500),
        ),
        DropIn(
            "MultiLabelMetric.calculate",
            lambda m, s, y: m.MultiLabelMetric.calculate(s, y, thr=0.3),
            20_000,
            _500_tensors,
        ),
    ),
}


# One measurement, in a separate process


@dataclass
class Measured:
    """A row. None marks a value that was not measured; the remark gives the reason."""

    shape: str = "-"
    seconds: float | None = None
    extra_bytes: int | None = None
    original_seconds: float | None = None
    original_extra_bytes: int | None = None
    difference: float | None = None
    remark: str = ""


def original_of(library: str) -> SimpleNamespace:
    """Return the names of the original's modules in one namespace, as the drop-in has them. Raises ImportError."""
    names: dict[str, Any] = {}
    for module in ORIGINALS[library][1]:
        names |= vars(import_module(module))
    return SimpleNamespace(**names)


def measure(library: str, index: int, rows: int, directory: Path, threads: int) -> Measured:
    """Measure both modules on the same inputs. vltr runs first: memory left in the heap can only help the original."""
    drop_in = DROP_INS[library][index]
    warnings.simplefilter("ignore")  # originals warn of classes without positives in the first rows
    try:
        original = partial(drop_in.original or drop_in.call, original_of(library))
    except ImportError:
        return Measured(remark="not installed")
    ours = partial(drop_in.call, import_module(f"vltr_eval.compat.{library}"))
    if library.startswith(("torch", "birdset")):
        import torch

        torch.set_num_threads(threads)
    _, warm_up = drop_in.inputs(directory, _WARM_UP_ROWS)
    shape, arguments = drop_in.inputs(directory, rows)

    ours(*warm_up)
    with PeakMemory(anonymous=False) as memory:
        expected = ours(*arguments)
    seconds, _ = timed(partial(ours, *arguments), _OUR_RUNS)
    measured = Measured(shape, seconds, memory.extra)
    try:
        original(*warm_up)
        with PeakMemory(anonymous=False) as memory:
            measured.original_seconds, result = timed(partial(original, *arguments), 1)
    except Exception as error:  # an original that fails leaves its cells empty
        measured.remark = one_line(error)
        return measured
    measured.original_extra_bytes = memory.extra
    measured.difference = largest_difference(values_of(expected), values_of(result))
    return measured


def timed(call: Callable[[], Any], min_runs: int) -> tuple[float, Any]:
    """Return the median seconds of some runs, and the last result."""
    seconds: list[float] = []
    while len(seconds) < min_runs or (sum(seconds) < _MIN_SECONDS and len(seconds) < _MAX_RUNS):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


def values_of(result: Any) -> np.ndarray:
    """Return all numbers of a result in one array; the values of a dictionary in the order of its keys."""
    if isinstance(result, dict):
        result = [result[key] for key in sorted(result)]
    if isinstance(result, (list, tuple)):
        return np.concatenate([np.empty(0), *map(values_of, result)])
    return np.asarray(result, np.float64).reshape(-1)


def largest_difference(ours: np.ndarray, original: np.ndarray) -> float:
    """Return the largest absolute difference. NaN in both counts as 0; NaN in one gives NaN."""
    if ours.shape != original.shape:
        raise ValueError(f"results: expected as many numbers from both, got {ours.size} from vltr and {original.size}")
    difference = np.abs(ours - original)
    difference[np.isnan(ours) & np.isnan(original)] = 0.0
    return float(difference.max(initial=0.0))


# The table


def cells(library: str, title: str, row: Measured) -> list[str]:
    def optional(write: Callable[[Any], str], value: float | None) -> str:
        return "-" if value is None else write(value)

    ratio = row.original_seconds / row.seconds if row.original_seconds and row.seconds else None
    return [
        ORIGINALS[library][0],
        title,
        row.shape,
        optional(duration, row.original_seconds),
        optional(duration, row.seconds),
        row.remark or optional(lambda value: f"{figure(value)}x", ratio),
        optional(size, row.original_extra_bytes),
        optional(size, row.extra_bytes),
        optional(lambda value: f"{value:.1e}", row.difference),
    ]


HEAD = ("original", "call", "shape", "its time", "vltr", "ratio", "its memory", "vltr", "largest difference")


def header(threads: int, quick: bool) -> str:
    warning = "\n**Quick run** on small shapes: its ratios are not those of the real ones.\n" if quick else ""
    return f"""# Drop-ins against their originals, {TODAY}

{provenance(*PACKAGES)}{threads} threads for vltr and for torch.
{warning}
- Data: VideoLT's test shape, good model (`_lib/shapes.py`), float32 scores and uint8 labels in memory. If the original
  takes over about half a minute on all rows, both are timed on the first rows; the row gives the shape. "batches" are
  updates of {BATCH} rows and the result at the end, all timed. AVA: planted CSV files, which both read.
- The rows of torchnet, YouTube-8M and AVA have distinct scores. These originals order equal scores by their sort, and
  vltr groups them. So do the rows of ML-GCN to pyxclib, whose originals use unstable sorts, and vltr a stable one. The
  other rows have the few ties of the data (one positive in a thousand).
- (*) No registry has a package of these. The originals are those of `published/`, written plainly from their
  definition. Their time is that of the definition in loops, not that of the authors' files.
- time: each row in a separate process, after a warm-up on {_WARM_UP_ROWS} rows; the median of at least {_OUR_RUNS} runs
  of vltr and of at least one run of the original. memory: peak resident memory over imports and inputs, for the first
  call of vltr, then for the runs of the original.
- largest difference: over all numbers of the result. Those of torch are float32.
"""


def progress(text: str) -> None:
    sys.stderr.write(f"bench_compat: {text}\n")
    sys.stderr.flush()


def names_of_libraries(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in DROP_INS]
    if unknown:
        raise argparse.ArgumentTypeError(f"expected names among {', '.join(DROP_INS)}, got {unknown[0]!r}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--libraries", type=names_of_libraries, default=list(DROP_INS), help=f"of {','.join(DROP_INS)}")
    parser.add_argument("--quick", action="store_true", help="use small shapes, to test the benchmark itself")
    parser.add_argument("--threads", type=int, default=num_cpus(), help="for vltr and torch")
    parser.add_argument("--out", nargs="?", type=Path, const=RESULTS, help="also write compat-<date>.md there")
    args = parser.parse_args()
    limits = ("VLTR_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    os.environ.update(dict.fromkeys(limits, str(args.threads)))

    top = header(args.threads, args.quick)
    rows = []
    with tempfile.TemporaryDirectory(prefix="vltr-bench-") as name:
        directory = Path(name)
        progress("making the data")
        write_case(directory, "videolt", "good", args.quick)
        write_distinct(directory)
        for library in args.libraries:
            for index, drop_in in enumerate(DROP_INS[library]):
                progress(f"{library}: {drop_in.title}")
                num_rows = drop_in.rows // (_QUICK_DIVISOR if args.quick else 1)
                with ProcessPoolExecutor(1, get_context("spawn")) as process:
                    row = process.submit(measure, library, index, num_rows, directory, args.threads).result()
                rows.append(cells(library, drop_in.title, row))
    text = f"{top}\n{table(HEAD, rows, left=3)}"
    sys.stdout.write(text)
    if args.out:
        path = args.out / f"compat-{'quick-' if args.quick else ''}{TODAY}.md"
        write_whole(path, text)
        progress(f"written: {path}")


if __name__ == "__main__":
    main()
