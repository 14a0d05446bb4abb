"""Compare CPU and CUDA bit by bit: every operation on adversarial inputs, then on random ones until the time is up.

    python tools/compare_devices.py --seconds 60        exit status 1 if anything differs
    python tools/compare_devices.py --small             each kernel a few times on small inputs, for sanitizers
    python tools/compare_devices.py --only random-17    one input again
    python tools/compare_devices.py --skip 300          continue after so many planned comparisons

Two results are the same if shape, dtype and every bit are equal, including NaN. If the CPU refuses an input, the device
must refuse it with the same sentence. The name of an input determines its data. Without a GPU this script needs the
emulated build. The file of --out is written before each comparison and names it, so that it has the differences, and
the input that hangs, of a run that is stopped.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from _lib.machine import process_start, write_whole
from devices import DEVICES, describe_devices, on_device, to_host

import vltr_eval
import vltr_train
from vltr_eval._base import _core
from vltr_eval._base.arrays import borrow, borrow_matrix
from vltr_eval._engine.effects import METRICS, row_effects
from vltr_eval._engine.label_marks import read_positives

CUT_SHORT = 3  # exit status if nothing differed, but the time was too short for all planned inputs
MOST_REPORTED = 40  # differences in the report; the rest are counted

SCORE_DTYPES = (
    "float16", "bfloat16", "float32", "float64", "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32",
    "uint64", "int64",
)  # fmt: skip
LABEL_DTYPES = ("bool", "uint8", "int64", "float32", "int8", "float16", "float64", "bfloat16")
FRAME_DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Input:
    """The input of one comparison: arrays in CPU memory by name, and the other arguments."""

    name: str
    arrays: dict[str, Any]  # an array, or a list of row shards
    options: dict[str, Any] = field(default_factory=dict)


def dtype_of(name: str) -> np.dtype | None:
    """Return a dtype by its name; None for bfloat16 if ml_dtypes is not installed."""
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        return None
    return np.dtype(ml_dtypes.bfloat16)


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


# Evaluation: inputs


def planted(rng: np.random.Generator, num_rows: int, num_classes: int, prevalence: float, lift: float = 1.0) -> Any:
    """Return scores (N, C) float64 that are higher at the labels (N, C) bool."""
    labels = rng.random((num_rows, num_classes)) < prevalence
    return rng.normal(size=labels.shape) + lift * labels, labels


def adversarial_matrices(small: bool) -> Iterator[Input]:
    """Yield ties, extremes, empty and full classes, long classes, every dtype and layout, and invalid inputs."""
    rng = generator("adversarial")
    rows, cols = (70, 37) if small else (1_500, 70)
    scores, labels = planted(rng, rows, cols, 0.1)
    scores = scores.astype(np.float32)

    def case(name: str, scores: Any, labels: Any, **options: Any) -> Input:
        return Input(name, {"scores": scores, "labels": labels}, options)

    for name in SCORE_DTYPES:
        if (dtype := dtype_of(name)) is not None:
            spread = scores * (1 if dtype.kind in "fV" or name == "bfloat16" else 20)
            lowest = 0.0 if dtype.kind in "bu" else -100.0
            yield case(f"scores {name}", np.clip(spread, lowest, 100).astype(dtype), labels)
    for name in LABEL_DTYPES:
        if (dtype := dtype_of(name)) is not None:
            yield case(f"labels {name}", scores, labels.astype(dtype))

    yield case("one row, one class", scores[:1, :1], np.ones((1, 1), bool))
    yield case("one row", scores[:1], labels[:1])
    yield case("one class", scores[:, :1], labels[:, :1])
    yield case("a column", scores[:, 0].copy(), labels[:, 0].copy())
    yield case("31 classes", scores[:, :31].copy(), labels[:, :31].copy())
    yield case("33 classes, 127 rows", scores[:127, :33].copy(), labels[:127, :33].copy())
    yield case("all scores equal", np.zeros_like(scores), labels)
    yield case("two scores", (scores > 0).astype(np.float32), labels)
    yield case("seven scores", np.floor(scores * 2).clip(-3, 3), labels)
    yield case("minus zero and zero", np.where(scores > 0, np.float32(0), np.float32(-0.0)), labels)
    extremes = np.float32([-np.inf, np.inf, 0, -0.0, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, -3.4028235e38, 1])
    yield case("extremes", extremes[rng.integers(0, extremes.size, scores.shape)], labels)
    neighbours = np.nextafter(np.float32(0.5), np.float32(1)) - np.float32(0.5)
    yield case("neighbouring floats", np.float32(0.5) + neighbours * rng.integers(0, 9, scores.shape), labels)
    big = np.array([-(2**63), 2**63 - 1, 2**53, 2**53 + 1, 0, -1], np.int64)
    yield case("int64 extremes", big[rng.integers(0, big.size, scores.shape)], labels)
    yield case("uint64 extremes", big.view(np.uint64)[rng.integers(0, big.size, scores.shape)], labels)
    yield case("ascending", np.arange(scores.size, dtype=np.float32).reshape(scores.shape), labels)
    yield case("descending", -np.arange(scores.size, dtype=np.float32).reshape(scores.shape), labels)
    yield case("positives highest", scores + 100 * labels, labels)
    yield case("positives lowest", scores - 100 * labels, labels)

    yield case("no positives", scores, np.zeros_like(labels))
    yield case("all positives", scores, np.ones_like(labels))
    yield case("one positive a class", scores, np.arange(rows)[:, None] == rng.integers(0, rows, cols))
    yield case("one negative a class", scores, np.arange(rows)[:, None] != rng.integers(0, rows, cols))
    yield case("half positives", scores, rng.random(scores.shape) < 0.5)
    counts = np.linspace(0, rows, cols).astype(int)
    yield case("none to all positives", scores, rng.permuted(np.arange(rows)[:, None] < counts, axis=0))
    indices = rng.integers(0, cols, rows)
    yield case("labels as class indices", scores, indices)
    yield case("labels as int32 class indices", scores, indices.astype(np.int32))

    yield case("column order", np.asfortranarray(scores), np.asfortranarray(labels))
    yield case("column order of scores alone", np.asfortranarray(scores), labels)
    yield case("rows backwards", scores[::-1], labels[::-1])
    yield case("classes backwards", scores[:, ::-1], labels[:, ::-1])
    yield case("every third row", np.repeat(scores, 3, 0)[::3], np.repeat(labels, 3, 0)[::3])
    yield case("a window", np.pad(scores, 5)[5:-5, 5:-5], np.pad(labels, 3)[3:-3, 3:-3])
    yield case("one row repeated", np.broadcast_to(scores[:1], scores.shape), labels)
    cuts = [rows // 7, rows // 7, rows // 2]
    yield case("row shards", np.split(scores, cuts), labels)
    yield case("shards of several layouts", [scores[: rows // 2], np.asfortranarray(scores[rows // 2 :])], labels)

    nan = scores.copy()
    nan[[rows // 2, rows // 2 + 1], [cols // 2, 0]] = np.nan
    yield case("NaN", nan, labels)
    nan = np.where(labels & (np.arange(cols) == 3), np.float32(np.nan), scores)
    yield case("NaN among the positives", nan, labels)
    bad = labels.astype(np.int64)
    bad[rows // 3, cols - 1], bad[-1, 0] = 2, -1
    yield case("labels that are neither 0 nor 1", scores, bad)
    yield case("labels of 0.5", scores, np.where(labels, np.float32(0.5), np.float32(0)))
    yield case("a class index too many", scores, np.where(np.arange(rows) == rows // 2, cols, indices))

    if not small:
        # Thresholds of a class, thresholds of a strip and counts of a trial that exceed the shared memory of a block.
        long_scores, long_labels = planted(rng, 9_000, 40, 0.02)
        long_labels[:, 3] = rng.random(9_000) < 0.4
        long_labels[:, 17] = rng.random(9_000) < 0.15
        yield case("long classes", long_scores.astype(np.float32), long_labels)
        yield case("long classes, float64", long_scores, long_labels)
        yield case("long classes, ties", np.floor(long_scores * 50).astype(np.float32), long_labels)
        yield case("long classes, column order", np.asfortranarray(long_scores.astype(np.float32)), long_labels)
        wide_scores, wide_labels = planted(rng, 64, 5_001, 0.02)
        yield case("more classes than rows", wide_scores.astype(np.float16), wide_labels)
        tall_scores, tall_labels = planted(rng, 200_000, 3, 0.001)
        yield case("many rows", tall_scores.astype(np.float32), tall_labels)


def random_matrix(number: int) -> Input:
    """Draw a matrix of up to a few hundred thousand scores: shape, dtype, layout, prevalence, ties and shards."""
    name = f"random-{number}"
    rng = generator(name)
    num_rows = int(np.exp(rng.uniform(0, np.log(8_000))))
    num_classes = int(np.exp(rng.uniform(0, np.log(max(2, min(1_500, 300_000 // num_rows))))))
    scores, labels = planted(rng, num_rows, num_classes, rng.choice([0.001, 0.01, 0.1, 0.5]), rng.choice([0, 1, 4]))
    if rng.random() < 0.4:
        scores = np.floor(scores * rng.choice([1, 4, 60]))
    dtype = dtype_of(str(rng.choice(SCORE_DTYPES, p=[0.15, 0.1, 0.3, 0.09] + [0.04] * 9))) or np.dtype(np.float32)
    if dtype.kind in "biu":
        scores = np.clip(scores * 8, 0 if dtype.kind in "bu" else -100, 100)
    scores = scores.astype(dtype)
    labels = labels.astype(dtype_of(str(rng.choice(LABEL_DTYPES))) or np.dtype(bool))
    layout = rng.integers(0, 5)
    if layout == 1:
        scores = np.asfortranarray(scores)
    elif layout == 2:
        scores = scores[::-1, ::-1]
    elif layout == 3:
        scores = np.pad(scores, [(0, 0), (1, 2)])[:, 1:-2]
    elif layout == 4 and num_rows > 2:
        scores = np.split(scores, np.sort(rng.integers(0, num_rows, 2)))
    if rng.random() < 0.3:
        labels = np.asfortranarray(labels)
    return Input(name, {"scores": scores, "labels": labels}, {"seed": int(rng.integers(0, 2**63))})


# Evaluation: operations. Each takes the arrays on one device and returns host values.


def table_of(scores: Any, labels: Any, **_: Any) -> dict[str, Any]:
    """Return the rank table and all metrics from it."""
    table = vltr_eval.rank_table(scores, labels)
    return {
        "indptr": table.indptr,
        "thresholds": table.thresholds,
        "tp": table.tp,
        "fp": table.fp,
        "tied": table.tied,
        "AP": table.average_precision(),
        "calibrated AP": table.calibrated_average_precision(0.3),
        "exact SAP": table.expected_sampled_average_precision(),
        "SAP of chance": table.sampled_average_precision_chance(),
        "ROC-AUC": table.roc_auc(),
        "tie rate": table.tie_rate(),
        "tie interval": table.tie_interval(),
    }


def trials_of(scores: Any, labels: Any, seed: int = 0, **_: Any) -> Any:
    return vltr_eval.sampled_average_precision(scores, labels, trials=5, seed=seed, return_trials=True)


def topk_of(scores: Any, labels: Any, **_: Any) -> Any:
    return vltr_eval.topk_accuracy(scores, labels, k=(1, 2, 5, 100))


def report_of(scores: Any, labels: Any, seed: int = 0, **_: Any) -> str:
    return vltr_eval.evaluate(scores, labels, sap=3, seed=seed).to_json()


def shards_of(scores: Any, labels: Any, **_: Any) -> dict[str, Any]:
    """Return the thresholds that shards exchange, and the counts at them."""
    thresholds = vltr_eval.positive_scores(scores, labels)
    table = vltr_eval.rank_table(scores, labels, thresholds=thresholds)
    return {"positive scores": (thresholds.indptr, thresholds.scores), "fp": table.fp, "tied": table.tied}


def weighted_of(scores: Any, labels: Any, weights: Any, **_: Any) -> Any:
    return vltr_eval.average_precision(scores, labels, sample_weight=weights)


def effects_of(scores: Any, labels: Any, **_: Any) -> dict[str, Any]:
    """Return the drop-one effects of the rows, summed over three groups of classes."""
    matrix = borrow_matrix("scores", scores)
    positives = vltr_eval.Positives.from_labels(labels, matrix.num_rows, matrix.num_classes)
    table = vltr_eval.rank_table(matrix, positives)
    effects = row_effects(matrix, positives, table, np.arange(matrix.num_classes) % 3, METRICS)
    return {"sums": effects.sums, "exponents": effects.exponents}


MATRIX_OPERATIONS: dict[str, Callable[..., Any]] = {
    "rank table": table_of,
    "sampled AP": trials_of,
    "top-k": topk_of,
    "evaluate": report_of,
    "shards": shards_of,
    "weighted AP": weighted_of,
    "row effects": effects_of,
}


def with_weights(given: Input) -> Input:
    """Return the input with weights of its rows, some of them 0."""
    scores = given.arrays["scores"]
    num_rows = sum(len(shard) for shard in scores) if isinstance(scores, list) else len(scores)
    rng = generator(given.name + " weights")
    weights = rng.random(num_rows) * (rng.random(num_rows) < 0.9)
    return Input(given.name, {**given.arrays, "weights": weights}, given.options)


# Unknown labels: marks in the labels, masks on the device and in CPU memory, and lists


def unknown_inputs(small: bool) -> Iterator[Input]:
    """Yield matrices whose unknown cells are marked in the labels, or left out by a mask of known cells."""
    rng = generator("unknown")
    rows, cols = (70, 37) if small else (1_500, 70)
    scores, labels = planted(rng, rows, cols, 0.1)
    scores = scores.astype(np.float32)
    for share in (0.02, 0.6):
        known = rng.random((rows, cols)) >= share
        known[:, 1], known[:, 2] = True, False
        text = f"{share:.0%} unknown"

        def case(name: str, labels: Any, text: str = text, scores: Any = scores, **more: Any) -> Input:
            arrays = {"scores": scores, "labels": labels}
            arrays |= {key: more.pop(key) for key in ("mask",) if key in more}
            return Input(f"{text}, {name}", arrays, more)

        for name in ("int64", "int8", "float32", "float16"):
            yield case(f"marked in {name}", np.where(known, labels, -1).astype(name), unknown=-1)
        yield case("NaN", np.where(known, labels, np.nan).astype(np.float32), unknown="nan")
        yield case("NaN in column order", np.asfortranarray(np.where(known, labels, np.nan)), unknown="nan")
        for name in ("bool", "uint8", "float32"):
            yield case(f"mask of {name}", labels, mask=known.astype(name))
        yield case("mask in column order", np.asfortranarray(labels), mask=np.asfortranarray(known))
        yield case("mask and marks", np.where(known, labels, -1).astype(np.int8), mask=known[::-1].copy(), unknown=-1)
        listed = tuple(part.astype(np.int64) for part in np.nonzero(~known & ~labels))
        yield case("listed", labels, cells=listed)
        yield case("mask in CPU memory", labels, cells=known)
        cuts = [rows // 7, rows // 7, rows // 2]
        yield case("row shards", labels, scores=np.split(scores, cuts), mask=known)
    bad = np.ones((rows, cols), np.int64)
    bad[rows // 2, cols - 1] = 2
    yield Input("a mask that is neither 0 nor 1", {"scores": scores, "labels": labels, "mask": bad})
    yield Input(
        "a mask with a row too few", {"scores": scores, "labels": labels, "mask": np.ones((rows - 1, cols), bool)}
    )


def unknown_report_of(scores: Any, labels: Any, mask: Any = None, cells: Any = None, **options: Any) -> str:
    mask = cells if mask is None else mask
    return vltr_eval.evaluate(scores, labels, mask=mask, sap=3, seed=5, **options).to_json()


def unknown_table_of(scores: Any, labels: Any, mask: Any = None, cells: Any = None, unknown: Any = None) -> Any:
    """Return the positives, the unknown cells that came back to the host, and the rank table without them."""
    matrix = borrow_matrix("scores", scores)
    mask = cells if mask is None else mask
    positives = read_positives(labels, matrix.num_rows, matrix.num_classes, mask=mask, unknown=unknown)
    found = positives.unknown
    return {"cells": None if found is None else (found.counts, *found.pairs()), **table_of(matrix, positives)}


UNKNOWN_OPERATIONS: dict[str, Callable[..., Any]] = {
    "evaluate, unknown labels": unknown_report_of,
    "rank table, unknown labels": unknown_table_of,
}


# Running AP and the gathers of the training layer


def running_input(name: str, small: bool) -> Input:
    rng = generator(name)
    scores, labels = planted(rng, 60 if small else 2_000, 33, 0.05)
    return Input(name, {"scores": scores.astype(np.float32), "labels": labels})


def running_of(scores: Any, labels: Any, device: str) -> Any:
    """Run an epoch of updates, a reset, and the epoch again."""
    num_rows, num_classes = scores.shape
    running = vltr_eval.RunningAP(num_classes, num_rows)
    result = []
    for _ in range(2):
        for start in range(0, num_rows, 16):
            batch = on_device(scores[start : start + 16], device), on_device(labels[start : start + 16], device)
            running.update(*batch)
        result.append(to_host(running.compute()))
        running.reset()
    return result


def frame_inputs(small: bool) -> Iterator[tuple[str, Input]]:
    """Yield (operation, input): every dtype and option, all edge cases of the picks, and widths of all alignments."""
    batch, frames, dims, classes = (5, 7, 36, 11) if small else (32, 60, 512, 203)
    for number, name in enumerate(FRAME_DTYPES):
        dtype = dtype_of(name)
        if dtype is None:
            continue
        rng = generator(f"frames {name}")
        for width in (dims, dims + 1, 1):
            stored = rng.normal(size=(batch * frames, width)).astype(dtype)
            clips = stored.reshape(batch, frames, width)
            targets = (rng.random((batch, classes)) < 0.05).astype((np.float32, np.float64, np.int64, bool)[number])
            rap = rng.random(classes).astype((np.float64, np.float32)[number % 2])
            partner = rng.permutation(batch).astype((np.int64, np.int32)[number % 2])
            arrays = {"features": clips, "targets": targets, "rap": rap, "partner": partner}
            label = f"{name}, width {width}"
            yield "frame_stack", Input(f"frame_stack {label}", arrays, {"clip_length": frames})
            for rule in ("mean", "min"):
                options = {"clip_length": frames // 2 + 1, "multilabel_rap": rule, "order": "own_first"}
                yield "frame_stack", Input(f"frame_stack {label}, {rule}", arrays, {**options, "eps_scale": "paper"})
            half = {**arrays, "partner": rng.permutation(batch // 2)}
            options = {"clip_length": frames, "num_mixed": batch // 2}
            yield "frame_stack", Input(f"frame_stack {label}, half", half, options)
            backwards = {**arrays, "features": clips[::-1, ::-1], "targets": targets[:, ::-1]}
            yield "frame_stack", Input(f"frame_stack {label}, backwards", backwards, {"clip_length": 1})
            given = {**arrays, "rap": None, "beta": rng.random(batch).astype(np.float32)}
            yield "frame_stack", Input(f"frame_stack {label}, given beta", given, {"clip_length": frames + 3})
            picked = {
                "store": stored,
                "offsets": np.arange(0, batch * frames + 1, frames),
                "videos": rng.integers(0, batch, 2 * batch),
                "frame_indices": np.sort(rng.integers(0, frames, (2 * batch, 9)), axis=1),
            }
            for to in FRAME_DTYPES:
                if dtype_of(to) is None:
                    continue
                yield "gather_frames", Input(f"gather_frames {label} to {to}", picked, {"dtype": to})
            part = {**picked, "store": np.pad(stored, [(1, 1), (0, 3)])[1:-1, : width or None]}
            yield "gather_frames", Input(f"gather_frames {label}, strided", part)
        masks = {"targets": targets, "bounds": vltr_train.dynamic_frame_bounds(rng.integers(1, 500, classes), frames)}
        yield "dynamic_frame_masks", Input(f"masks, {targets.dtype} labels", masks, {"num_frames": frames, "seed": 3})
    lengths = generator("lengths").integers(1, 400, 3 * batch)
    lengths[:3] = 1, 2, 2**31 + 5
    for mode, replacement in (("random", True), ("random", False), ("uniform", True)):
        for count in (1, 60, 150):
            options = {"num_frames": count, "mode": mode, "replacement": replacement, "seed": 2**64 - 1, "epoch": 7}
            yield (
                "sample_frames",
                Input(f"{mode}, replacement {replacement}, {count} frames", {"lengths": lengths}, options),
            )


FRAME_OPERATIONS: dict[str, Callable[..., Any]] = {
    "frame_stack": vltr_train.frame_stack,
    "gather_frames": vltr_train.gather_frames,
    "sample_frames": vltr_train.sample_frames,
    "dynamic_frame_masks": vltr_train.dynamic_frame_masks,
}


def frame_stack_gradient(device: str, dtype_name: str, small: bool) -> Any:
    """Return the gradients of frame_stack, from a backward pass in torch."""
    import torch
    from devices import torch_on_device

    rng = generator(f"gradient {dtype_name}")
    batch, frames, dims, classes = (4, 5, 9, 6) if small else (24, 40, 257, 50)
    dtype = getattr(torch, dtype_name)

    def put(values: np.ndarray, as_type: torch.dtype) -> torch.Tensor:
        return torch_on_device(torch.from_numpy(values).to(as_type), device)

    features = put(rng.normal(size=(batch, frames, dims)), dtype).requires_grad_()
    targets = put((rng.random((batch, classes)) < 0.2).astype(np.float32), torch.float32)
    rap = put(rng.random(classes), torch.float32)
    partner = put(rng.permutation(batch), torch.int64)
    stacked = vltr_train.frame_stack(features, targets, rap, partner, frames)
    stacked.features.backward(put(rng.normal(size=(batch, frames, dims)), dtype))
    return [to_host(array) for array in (*stacked, features.grad)]


VLAD_INPUTS = (
    *("vlad", "vlad centers", "vlad factors", "vlad centers factors"),
    *("vlad by cluster", "vlad by cluster centers factors", "vlad wide", "vlad wide centers factors"),
    *("vlad short", "vlad short by cluster", "vlad short centers factors"),
)


def vlad_scaling(device: str, name: str, small: bool) -> Any:
    """Return the scaled sums of VLAD, their lengths, and the gradients of sums, mass, centers and factors.

    name: one of VLAD_INPUTS. wide: more clusters than a block has threads. short: clusters of length 0, and shorter
    than the least length. by cluster: only clusters are scaled, not the whole.
    """
    rng = generator(f"vlad {name}")
    rows, dims, clusters = (5, 37, 6) if small else (70, 300, 64)
    if "wide" in name:
        rows, dims, clusters = (2, 33, 515) if small else (7, 90, 1_100)
    has_centers, has_factors, whole = "centers" in name, "factors" in name, "by cluster" not in name
    size = rng.choice(np.float32([1, 1, 0, 1e-14] if "short" in name else [1]), (rows, 1, clusters))

    def put(*shape: int) -> Any:
        return on_device(rng.standard_normal(shape, np.float32), device)

    sums = on_device(rng.standard_normal((rows, dims, clusters), np.float32) * size, device)
    gradient = put(rows, dims, clusters)
    mass = on_device(rng.random((rows, clusters), np.float32) * size[:, 0], device)
    given = [mass if has_centers else None, put(dims, clusters) if has_centers else None]
    given.append(put(dims, clusters) if has_factors else None)
    outs = [None if array is None else put(*to_host(array).shape) for array in (sums, *given)]
    lengths, scratch = on_device(np.zeros((rows, clusters)), device), put(rows, 3, clusters)

    def lend(*arrays: Any) -> list[Any]:
        return [None if array is None else borrow("array", array).core for array in arrays]

    _core.scale_vlad(*lend(sums, *given), whole, *lend(lengths), 2)
    _core.scale_vlad_gradient(*lend(sums, gradient, *given), whole, *lend(lengths, scratch, *outs), 2)
    return [None if array is None else to_host(array) for array in (sums, lengths, *outs)]


# The comparison


def bits(value: Any) -> Any:
    """Convert a result to nested tuples that must be equal: shapes, dtypes and bytes of arrays."""
    if isinstance(value, dict):
        return tuple((key, bits(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(bits(item) for item in value)
    if isinstance(value, float):
        return np.float64(value).tobytes()
    if isinstance(value, (str, int, type(None))):
        return value
    array = to_host(value)
    return array.shape, array.dtype.name, np.ascontiguousarray(array).tobytes()


@dataclass(frozen=True)
class Refused:
    """The error message of an operation that refuses its inputs."""

    sentence: str


def outcome(operation: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return the bits of an operation's result, or its refusal."""
    try:
        return bits(operation(*arguments, **options))
    except (ValueError, TypeError) as error:
        return Refused(f"{type(error).__name__}: {error}")


def moved(array: Any, device: str) -> Any:
    if array is None:
        return None
    return [on_device(shard, device) for shard in array] if isinstance(array, list) else on_device(array, device)


def difference(expected: Any, got: Any) -> str:
    """Describe the first difference of two outcomes in a few words."""
    if isinstance(expected, Refused) or isinstance(got, Refused):
        one, other = (repr(side.sentence) if isinstance(side, Refused) else "a result" for side in (expected, got))
        return f"CPU {one}, CUDA {other}"
    if not isinstance(expected, tuple) or not isinstance(got, tuple):
        return f"CPU {str(expected)[:100]!r}, CUDA {str(got)[:100]!r}"
    if len(expected) == len(got) == 3 and isinstance(expected[2], bytes) and isinstance(got[2], bytes):
        if expected[:2] != got[:2]:
            return f"CPU {expected[:2]}, CUDA {got[:2]}"
        one, other = (np.frombuffer(value[2], np.uint8) for value in (expected, got))
        unlike = np.flatnonzero(one != other)
        return f"{unlike.size} of {one.size} bytes of {expected[1]} {expected[0]}, the first at byte {unlike[0]}"
    for at, (one, other) in enumerate(zip(expected, got, strict=False)):
        if one != other:
            if isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str):
                return f"{one[0]}: {difference(one[1], other[1])}"
            return f"item {at}: {difference(one, other)}"
    return f"CPU {len(expected)} items, CUDA {len(got)}"


def attempt(run: Callable[[str], Any], device: str) -> Any:
    """Run on a device. A fault is a difference too, even one on both, and the next input may work."""
    try:
        return run(device)
    except Exception as error:
        return Refused(f"on {device}: {type(error).__name__}: {error}")


@dataclass
class Tally:
    """The number of comparisons, and the differences.

    Attributes:
        deadline: No comparison starts later.
        file: Where the report is after each comparison.
        skip: Comparisons still to skip, which an earlier run made.
        left_out: Planned comparisons for which there was no time.
    """

    deadline: float
    file: Path | None = None
    skip: int = 0
    made: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    left_out: int = 0
    start: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.deadline

    def compare(self, operation: str, name: str, run: Callable[[str], Any]) -> None:
        """Compare one input. run: takes "cpu" or "cuda" and returns an `outcome`."""
        if self.skip > 0:
            self.skip -= 1
            return
        if self.is_over:
            self.left_out += 1
            return
        self.write(f"Stopped in {operation}, {name}.")
        expected, got = attempt(run, "cpu"), attempt(run, "cuda")
        self.made[operation] = self.made.get(operation, 0) + 1
        if expected != got:
            self.differences.append(f"{operation}, {name}: {difference(expected, got)}")
            sys.stderr.write(f"compare_devices: DIFFERENT: {self.differences[-1]}\n")
            self.write("Stopped before the next comparison.")

    def write(self, state: str = "") -> None:
        """Write the report to the file, if there is one. state: where the run is, if it is not at its end."""
        if self.file:
            write_whole(self.file, f"{self.report()}{state and state + chr(10)}")

    def report(self) -> str:
        seconds, total = time.monotonic() - self.start, sum(self.made.values())
        lines = [
            f"{total:,} comparisons of CPU with CUDA ({describe_devices().removeprefix('CUDA: ')}) in {seconds:.0f} s: "
            + (f"**{len(self.differences)} differ**." if self.differences else "all have the same bits.")
            + (f" **The time was too short for {self.left_out:,} planned ones.**" if self.left_out else ""),
            "",
            "| operation | inputs |",
            "|---|---:|",
            *(f"| {operation} | {count:,} |" for operation, count in self.made.items()),
        ]
        if self.differences:
            lines += ["", *(f"- {text.replace('|', '/')}" for text in self.differences[:MOST_REPORTED])]
        if len(self.differences) > MOST_REPORTED:
            lines.append(f"- and {len(self.differences) - MOST_REPORTED} more")
        return "\n".join(lines) + "\n"


def compare_matrix(tally: Tally, given: Input) -> None:
    weighted = with_weights(given)
    for name, operation in MATRIX_OPERATIONS.items():
        arrays = (weighted if operation is weighted_of else given).arrays

        def run(device: str, operation: Callable[..., Any] = operation, arrays: dict[str, Any] = arrays) -> Any:
            on_one_device = {key: moved(array, device) for key, array in arrays.items()}
            return outcome(operation, **on_one_device, **given.options)

        tally.compare(name, given.name, run)


def compare_unknown(tally: Tally, given: Input) -> None:
    for name, operation in UNKNOWN_OPERATIONS.items():

        def run(device: str, operation: Callable[..., Any] = operation) -> Any:
            on_one_device = {key: moved(array, device) for key, array in given.arrays.items()}
            return outcome(operation, **on_one_device, **given.options)

        tally.compare(name, given.name, run)


def compare_frames(tally: Tally, operation: str, given: Input) -> None:
    def run(device: str) -> Any:
        on_one_device = {key: moved(array, device) for key, array in given.arrays.items()}
        return outcome(FRAME_OPERATIONS[operation], **on_one_device, **given.options)

    tally.compare(operation, given.name, run)


def compare_all(small: bool, only: str | None, tally: Tally) -> None:
    """Compare all planned inputs, then random matrices, until the deadline. It can also end the planned ones."""
    deadline = tally.deadline

    def is_requested(name: str) -> bool:
        return only is None or only == name

    for operation, given in frame_inputs(small):
        if is_requested(given.name):
            compare_frames(tally, operation, given)
    for name in FRAME_DTYPES:
        if dtype_of(name) is not None and is_requested(f"gradient {name}"):
            tally.compare(
                "frame_stack gradient",
                f"gradient {name}",
                lambda device, name=name: outcome(frame_stack_gradient, device, name, small),
            )
    for name in VLAD_INPUTS:
        if is_requested(name):
            tally.compare("scale_vlad", name, lambda device, name=name: outcome(vlad_scaling, device, name, small))
    for name in ("running AP", "running AP again"):
        if is_requested(name):
            given = running_input(name, small)
            tally.compare(
                "running AP", name, lambda device, given=given: outcome(running_of, **given.arrays, device=device)
            )
    for given in adversarial_matrices(small):
        if is_requested(given.name):
            compare_matrix(tally, given)
    for given in unknown_inputs(small):
        if is_requested(given.name):
            compare_unknown(tally, given)
    tally.skip = 0
    if only is not None and only.startswith("random-"):
        compare_matrix(tally, random_matrix(int(only.removeprefix("random-"))))
    tally.deadline = math.inf  # finish a random input that has started
    number = 0
    while only is None and not small and time.monotonic() < deadline:
        compare_matrix(tally, random_matrix(number))
        number += 1


def main(start: float | None = None) -> int:
    """Run. start: when the time begins, by `time.monotonic`; None: now."""
    start = time.monotonic() if start is None else start
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="small inputs only, a few for each kernel")
    parser.add_argument("--seconds", type=float, default=60.0, help="no input starts after this time")
    parser.add_argument("--only", metavar="NAME", help="one input, by its name in a reported difference")
    parser.add_argument("--skip", type=int, default=0, metavar="COUNT", help="planned comparisons to leave out")
    parser.add_argument("--out", type=Path, help="also write the report to this file, after each comparison")
    args = parser.parse_args()
    if "cuda" not in DEVICES:
        parser.exit(2, f"compare_devices: expected a CUDA device or the emulated build, got {describe_devices()}\n")
    tally = Tally(start + args.seconds, args.out, args.skip)
    compare_all(args.small, args.only, tally)
    tally.write()
    sys.stdout.write(tally.report())
    return 1 if tally.differences else CUT_SHORT if tally.left_out else 0


if __name__ == "__main__":
    sys.exit(main(process_start()))
