"""Benchmark the CUDA kernels: times of vltr, of the peers on the same device, and of one read, as Markdown.

    python benchmarks/bench_cuda.py --seconds 170 --out FILE    sections in order of importance, until the time is up
    python benchmarks/bench_cuda.py --dry-run                   every line at tiny sizes, without a GPU

The file is rewritten after each section, so a section that hangs loses only its own results. A row that fails states
its error. A dry run uses the emulated build, or else the CPU; its times have no meaning. Exit status 1: a row failed;
3: none failed, but the time was too short for some.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _lib.device_timing import Bandwidth, Device, DryDevice, Gpu, Row, measure_bandwidth, time_calls, time_queued
from _lib.machine import process_start
from _lib.shapes import QUALITIES, SHAPES, write_case
from _lib.tables import duration, figure, one_line, size, table
from bench_frames import published_gather, share_read
from published import framestack_loop

import vltr_eval
import vltr_train
from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._engine.effects import row_effects

ENDED_EARLY = 3  # exit status
NO_TIME = "no time left"
MANY_TRIALS = 1_000
IN_MEMORY = ("ap", "evaluate", "sap_many")  # operations whose device memory is measured
IN_KERNELS = ("ap", "sap", "effects")  # operations whose kernels are listed
ROTATED_BYTES = 512 << 20  # calls cycle through inputs of this size: several times any L2 cache
PEER_SECONDS = 6.0  # a slower peer runs on some of the classes


# Peers, on tensors of the device


def torchmetrics_average_precision(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """torchmetrics, functional, exact mode (thresholds=None)."""
    from torchmetrics.functional.classification import multilabel_average_precision

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes without positives; the comparison skips them
        return multilabel_average_precision(scores, labels, num_labels=scores.shape[1], average=None)


def torcheval_average_precision(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """torcheval, functional, exact mode."""
    from torcheval.metrics.functional import multilabel_auprc

    return multilabel_auprc(scores, labels, num_labels=scores.shape[1], average=None)


def torchnet_average_precision(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The loop of the published meter on the device, from its definition (_lib/peers.py): one sort a class."""
    rank = torch.arange(1, scores.shape[0] + 1, dtype=torch.float32, device=scores.device)
    ap = torch.zeros(scores.shape[1], device=scores.device)
    for c in range(scores.shape[1]):
        order = torch.sort(scores[:, c], descending=True).indices
        hit = labels[order, c].float()
        ap[c] = (hit.cumsum(0) / rank * hit).sum() / hit.sum().clamp(min=1)
    return ap


AP_PEERS: dict[str, tuple[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "torchmetrics": ("torchmetrics", torchmetrics_average_precision),
    "torcheval": ("torcheval", torcheval_average_precision),
    "torch": ("published APMeter loop", torchnet_average_precision),
}


# Sections


@dataclass
class Bench:
    """Data that all sections share. `results` holds the figures for the table of targets."""

    device: Device
    deadline: float
    directory: Path
    bandwidth: Bandwidth
    results: dict[str, float] = field(default_factory=dict)

    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()

    def row(self, title: str, measure: Callable[[Row], None]) -> Row:
        """Measure a row. A failure, including a lack of memory, becomes its remark."""
        row = Row(title)
        try:
            if self.seconds_left() < 2:
                row.remark = f"not run: {NO_TIME}"
            else:
                sys.stderr.write(f"bench_cuda:   {title}\n")
                measure(row)
        except Exception as error:
            row.wall.clear()
            row.remark = f"**failed**: {one_line(error)}"
        return row


def bandwidth_section(bench: Bench) -> str:
    rate = bench.bandwidth
    return (
        "## Bandwidth of device memory\n\n"
        f"Copy of {size(rate.size)}: {figure(rate.copy / 1e9)} GB/s, bytes read and bytes written both counted. "
        f"Sum of the same size: {figure(rate.read / 1e9)} GB/s.\n"
    )


def eval_table(bench: Bench, rows: dict[str, Row], num_bytes: int) -> str:
    """Return the table of one case. The column "/ AP" compares each row with the row of AP."""
    one_read = num_bytes / bench.bandwidth.copy
    ap = rows["ap"].time

    def cells(row: Row) -> list[str]:
        if row.time is None:
            return [row.title, *"-" * 9, row.remark]
        return [
            row.title,
            duration(row.time),
            duration(row.device_time) if row.device_time else "-",
            duration(row.kernels) if row.kernels else "-",
            figure(num_bytes / row.time / 1e9),
            f"{num_bytes / row.time / bench.bandwidth.copy:.1%}",
            figure(row.time / one_read),
            figure(row.time / ap) if ap else "-",
            "-" if row.extra_bytes is None else f"{row.extra_bytes / 2**20:,.1f}",
            "-" if row.difference is None else f"{row.difference:.1e}",
            row.remark,
        ]

    head = ("", "whole call", "between events", "kernels alone", "GB/s", "of copy bandwidth", "/ one read", "/ AP")
    note = f"One read of both inputs ({size(num_bytes)}) at the copy bandwidth: {duration(one_read)}.\n\n"
    return note + table((*head, "extra MiB", "max AP difference", "remark"), [cells(row) for row in rows.values()])


def our_operations(scores: Any, labels: Any, train_counts: np.ndarray) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Return the calls of vltr, as a user makes them, with their titles."""
    positives = vltr_eval.Positives.from_labels(labels, *scores.shape)
    rank_table, groups = vltr_eval.rank_table(scores, positives), np.arange(scores.shape[1]) % 3
    matrix, metrics = borrow_matrix("scores", scores), ["average_precision", "roc_auc"]
    weights = torch.poisson(torch.ones_like(scores[:, 0], dtype=torch.float64))
    return {
        "table": ("rank table", lambda: vltr_eval.rank_table(scores, labels)),
        "ap": ("**AP**", lambda: vltr_eval.average_precision(scores, labels)),
        "ap_positives": (
            "AP, labels prepared (`Positives`)", lambda: vltr_eval.average_precision(scores, positives)
        ),
        "sap": ("SAP, 15 trials", lambda: vltr_eval.sampled_average_precision(scores, labels, trials=15)),
        "sap_many": (
            f"SAP, {MANY_TRIALS:,} trials",
            lambda: vltr_eval.sampled_average_precision(scores, labels, trials=MANY_TRIALS),
        ),
        "evaluate": (
            "`evaluate`, SAP 15 (everything)",
            lambda: vltr_eval.evaluate(scores, labels, sap=15, train_counts=train_counts),
        ),
        "effects": (
            "effects of rows on AP and ROC-AUC of three groups, table prepared",
            lambda: row_effects(matrix, positives, rank_table, groups, metrics),
        ),
        "intervals": (
            "`evaluate` with intervals, SAP 15",
            lambda: vltr_eval.evaluate(scores, labels, sap=15, train_counts=train_counts, interval=0.95),
        ),
        "replicate": (
            "AP with weights of rows, one replicate of a bootstrap",
            lambda: vltr_eval.average_precision(scores, labels, sample_weight=weights),
        ),
        "roc_auc": ("ROC-AUC", lambda: vltr_eval.roc_auc(scores, labels)),
        "topk": ("Acc@1,5", lambda: vltr_eval.topk_accuracy(scores, labels)),
    }  # fmt: skip


def load_case(directory: Path, dry: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Load scores float32, labels bool and train_counts of a case of `write_case`; a corner of it in a dry run."""
    scores, labels = np.load(directory / "scores.npy"), np.load(directory / "labels.npy").view(bool)
    counts = np.load(directory / "train_counts.npy")
    if dry:
        scores, labels, counts = scores[:250, :37].copy(), labels[:250, :37].copy(), counts[:37]
    return scores, labels, counts


def videolt_case(bench: Bench, quality: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Load VideoLT's shape; the first call for a quality writes it."""
    directory = bench.directory / quality
    if not directory.exists():
        directory.mkdir()
        write_case(directory, "videolt", quality, quick=bench.device.dry)
    return load_case(directory, bench.device.dry)


def videolt_section(bench: Bench, quality: str, with_peers: bool) -> str:
    device = bench.device
    scores, labels, counts = videolt_case(bench, quality)
    num_bytes = scores.nbytes + labels.nbytes
    sets = max(2, -(-ROTATED_BYTES // num_bytes)) if not device.dry else 2
    inputs = [(device.put(scores), device.put(labels)) for _ in range(sets)]
    turns = [our_operations(*pair, counts) for pair in inputs]
    rows: dict[str, Row] = {}
    for name, (title, _) in turns[0].items():
        calls = [operations[name][1] for operations in turns]

        def measure(row: Row, calls: list[Callable[[], Any]] = calls) -> None:
            time_calls(device, row, calls)
            row.kernels = sum(device.kernel_times(calls[0]).values())

        rows[name] = bench.row(title, measure)
    if with_peers:
        reference = vltr_eval.average_precision(*inputs[0])
        for package, (title, function) in AP_PEERS.items():
            rows[package] = bench.row(
                title, lambda r, p=package, f=function: time_peer(device, r, p, f, inputs[0], reference)
            )
        note_results(bench, rows, num_bytes)
    shape = f"{scores.shape[0]:,} x {scores.shape[1]:,}"
    title = f"{SHAPES['videolt'].title} shape, {quality} model: {shape} float32, bool labels"
    note = "`vltr_eval.bootstrap` needs arrays in CPU memory. One replicate is the AP with weights of rows.\n"
    return "\n".join([f"## {title}\n", note, eval_table(bench, rows, num_bytes)])


def details_section(bench: Bench) -> str:
    """Measure the memory and the kernels of single calls, in VideoLT's shape."""
    device = bench.device
    scores, labels, counts = videolt_case(bench, QUALITIES[0])
    operations = our_operations(device.put(scores), device.put(labels), counts)
    measured = ((operations[name][0], memory_of(bench, bench.directory / QUALITIES[0], name)) for name in IN_MEMORY)
    memory = [(title, "not read" if extra is None else size(extra)) for title, extra in measured]
    parts = ["## Memory and kernels of one call, VideoLT shape\n", table(("", "extra memory"), memory)]
    for title, call in (operations[name] for name in IN_KERNELS):
        try:
            parts.append(kernel_table(f"Kernels of one call: {title}", device.kernel_times(call)))
        except Exception as error:
            parts.append(f"Kernels of one call: **not read** ({one_line(error)})\n")
    return "\n".join(parts)


def note_results(bench: Bench, rows: dict[str, Row], num_bytes: int) -> None:
    one_read = num_bytes / bench.bandwidth.copy
    ap = rows["ap"]
    if ap.time is None:
        return
    bench.results["AP / one read, whole call"] = ap.time / one_read
    bench.results["AP / one read, kernels alone"] = (ap.kernels or float("nan")) / one_read
    if (sap := rows["sap"].time) is not None:
        bench.results["SAP 15 adds"] = sap / ap.time - 1
    if (many := rows["sap_many"].time) is not None:
        bench.results["SAP 1,000"] = many
    if ap.kernels and (effects := rows["effects"].kernels):
        bench.results["effects of rows / AP, kernels alone"] = effects / ap.kernels
    if (peer := rows["torchmetrics"].time) is not None:
        bench.results["torchmetrics / AP"] = peer / ap.time


def time_peer(
    device: Device,
    row: Row,
    package: str,
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    inputs: tuple[torch.Tensor, torch.Tensor],
    reference: np.ndarray,
) -> None:
    """Time a peer on all classes, or on a block of adjacent ones if all would take too long."""
    if find_spec(package) is None:
        row.remark = "not installed"
        return
    scores, labels = map(plain, inputs)
    labels = labels.to(torch.uint8)  # faster than int64 for the peers, and some do not take bool
    num_classes = scores.shape[1]
    pilot = min(8, num_classes)
    function(scores[:, :pilot], labels[:, :pilot])
    device.synchronize()
    start = time.perf_counter()
    function(scores[:, :pilot], labels[:, :pilot])
    device.synchronize()
    per_class = (time.perf_counter() - start) / pilot
    classes = min(num_classes, max(pilot, int(PEER_SECONDS / 3 / per_class)))
    if classes < num_classes:
        row.scale, row.remark = num_classes / classes, f"scaled from {classes:,} classes (memory is theirs)"
    scores, labels = scores[:, :classes], labels[:, :classes]
    with device.peak_of_torch() as peak:
        result = function(scores, labels)
        device.synchronize()
    row.extra_bytes = peak.extra
    defined = ~np.isnan(reference[:classes])
    difference = np.abs(result.cpu().numpy().astype(np.float64) - reference[:classes])[defined]
    row.difference = float(difference.max(initial=0.0))
    time_calls(device, row, [lambda: function(scores, labels)], seconds=PEER_SECONDS / 4)


def kernel_table(title: str, times: dict[str, float]) -> str:
    """Return a table of the kernels and copies of a call, the longest first."""
    rows = [(readable(name), duration(spent)) for name, spent in sorted(times.items(), key=lambda item: -item[1])]
    return f"{title}\n\n" + table(("kernel", "time"), rows)


def readable(name: str) -> str:
    """Return a kernel's name without namespaces and parameters."""
    name = name.replace("vltr::cuda::", "").replace("(anonymous namespace)::", "").removeprefix("void ")
    return name.partition("(")[0][:100]


def memory_of(bench: Bench, directory: Path, operation: str) -> int | None:
    """Measure the device memory of an operation's first call in a separate process (`extra_memory`)."""
    command = [sys.executable, __file__, "--memory", operation, "--case", str(directory)]
    command += ["--dry-run"] if bench.device.dry else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError):
        return None


def extra_memory(device: Device, directory: Path, operation: str) -> int:
    """Return the bytes of device memory that one call needs beyond inputs, loaded kernels and the smallest pool.

    The core's memory pool keeps up to 64 MiB. A smaller peak therefore shows in the free memory after the call. A
    thread samples the free memory during the call to find a larger one.
    """
    from threading import Event, Thread

    scores, labels, counts = load_case(directory, device.dry)
    corner = our_operations(device.put(scores[:100]), device.put(labels[:100]), counts)
    corner[operation][1]()  # loads the kernels
    call = our_operations(device.put(scores), device.put(labels), counts)[operation][1]
    device.synchronize()
    before = lowest = device.free_bytes()
    over = Event()

    def watch() -> None:
        nonlocal lowest
        while not over.wait(0.0002):
            lowest = min(lowest, device.free_bytes())

    watcher = Thread(target=watch)
    watcher.start()
    call()
    over.set()
    watcher.join()
    return before - min(lowest, device.free_bytes())


def frames_section(bench: Bench) -> str:
    """Measure the training layer on a batch of 128 clips of 60 frames, 2,048 features a frame."""
    device = bench.device
    batch, frames, dims, classes, videos = (4, 6, 16, 9, 8) if device.dry else (128, 60, 2048, 1004, 1500)
    rng = np.random.default_rng(0)
    sets = 2 if device.dry else 8
    clips = [device.put(rng.standard_normal((batch, frames, dims), np.float32)) for _ in range(sets)]
    targets = device.put((rng.random((batch, classes)) < 1.1 / classes).astype(np.float32))
    rap = device.put(rng.random(classes, np.float32))
    partner = device.put(rng.permutation(batch))
    stored = 2 * frames
    store = device.empty((videos * stored, dims), torch.float32)
    store.normal_()
    half = device.put(store.to(torch.float16))
    starts = np.arange(0, videos * stored + 1, stored)
    chosen_on_host = [rng.choice(videos, batch, replace=False) for _ in range(sets)]
    offsets, chosen = device.put(starts), [device.put(rows) for rows in chosen_on_host]
    picks = [device.put(np.sort(rng.integers(0, stored, (batch, frames)), axis=1)) for _ in range(sets)]
    lengths = device.put(np.full(batch, stored))
    clip_bytes = 4 * batch * frames * dims

    def stack(i: int) -> Any:
        return vltr_train.frame_stack(clips[i], targets, rap, partner, frames)

    def gather(source: torch.Tensor, i: int) -> Any:
        return vltr_train.gather_frames(source, offsets, chosen[i], picks[i], dtype="float32")

    def backward(i: int) -> None:
        leaf = clips[i].detach().requires_grad_()
        vltr_train.frame_stack(leaf, targets, rap, partner, frames).features.backward(clips[i - 1])

    # Each frame holds its number here, so the results show how many distinct frames a call reads for each one written.
    numbers = torch.arange(videos * stored, dtype=torch.float64)[:, None]
    numbered = device.put(numbers[: batch * frames].reshape(batch, frames, 1))
    stacked_read = share_read(plain(vltr_train.frame_stack(numbered, targets, rap, partner, frames).features))
    gathered = [vltr_train.gather_frames(device.put(numbers), offsets, chosen[i], picks[i]) for i in range(sets)]
    gathered_read = statistics.mean(share_read(plain(frames_of_set)) for frames_of_set in gathered)

    outputs = [device.empty((batch, frames, dims), torch.float32) for _ in range(2)]
    bounds = device.put(vltr_train.dynamic_frame_bounds(rng.integers(1, 500, classes), frames))
    ours: dict[str, tuple[str, float, Callable[[int], Any]]] = {
        "copy": ("copy of one clip batch (torch)", 2 * clip_bytes, lambda i: outputs[i % 2].copy_(clips[i])),
        "frame_stack": ("**frame_stack**", (stacked_read + 1) * clip_bytes, stack),
        "gather_frames": ("**gather_frames**, float32", (gathered_read + 1) * clip_bytes, lambda i: gather(store, i)),
        "gather_half": (
            "gather_frames, float16 to float32", (gathered_read / 2 + 1) * clip_bytes, lambda i: gather(half, i)
        ),
        "backward": ("frame_stack, forward and backward", (stacked_read + 3) * clip_bytes, backward),
        "sample_frames": (
            "sample_frames", 8 * batch * frames, lambda i: vltr_train.sample_frames(lengths, frames, epoch=i)
        ),
        "masks": (
            "dynamic_frame_masks", 5 * batch * frames,
            lambda i: vltr_train.dynamic_frame_masks(targets, bounds, frames, epoch=i),
        ),
    }  # fmt: skip
    loops: dict[str, tuple[str, str, Callable[[int], Any]]] = {
        "frame_stack_loop": (
            "published FrameStack loop", "frame_stack",
            lambda i: framestack_loop.frame_stack(*map(plain, (clips[i], targets, rap, partner)), frames),
        ),
        "gather_loop": (
            "published loop over videos", "gather_frames",
            lambda i: published_gather(plain(store), starts, chosen_on_host[i], plain(picks[i])),
        ),
    }  # fmt: skip
    rows: dict[str, Row] = {}
    kept: list[Any] = [None] * sets  # outputs alternate too, so none is in the cache

    def call_and_keep(call: Callable[[int], Any], i: int) -> None:
        kept[i] = call(i)

    for name, (title, moved, call) in ours.items():
        calls = [lambda i=i, call=call: call_and_keep(call, i) for i in range(sets)]
        measure = time_calls if name == "backward" else time_queued
        rows[name] = bench.row(title, lambda row, calls=calls, measure=measure: measure(device, row, calls))
        rows[name].moved = moved
    for name, (title, _, call) in loops.items():
        calls = [lambda i=i, call=call: call(i) for i in range(sets)]
        rows[name] = bench.row(title, lambda row, calls=calls: time_calls(device, row, calls, seconds=2.0))
    agrees = check_loops(stack(0), loops["frame_stack_loop"][2](0), gather(store, 0), loops["gather_loop"][2](0))

    for name, (_, kernel, _) in loops.items():
        if rows[name].time and rows[kernel].time:
            bench.results[f"published loop / {kernel}"] = rows[name].time / rows[kernel].time
            bench.results[f"{kernel} of copy bandwidth"] = (
                rows[kernel].moved / rows[kernel].device_time / bench.bandwidth.copy
            )

    def cells(row: Row) -> list[str]:
        if row.time is None:
            return [row.title, *"-" * 4, row.remark]
        rate = row.moved / row.device_time if row.device_time else 0
        share = [figure(rate / 1e9), f"{rate / bench.bandwidth.copy:.1%}"] if row.moved else ["-", "-"]
        return [row.title, duration(row.time), duration(row.device_time), *share, row.remark]

    return (
        f"## Gathers: {batch} clips of {frames} frames of {dims:,} float32, {classes:,} classes\n\n"
        "Device time is that of calls queued behind a busy device. Bytes are the output, and each distinct frame in "
        "it once. Draws with replacement repeat frames, and the two parts of a clip share some: "
        f"{gathered_read:.0%} of the picks of gather_frames are distinct, and {stacked_read:.0%} of those of "
        "frame_stack. "
        f"{agrees}\n\n"
        + table(
            ("", "whole call", "device", "GB/s", "of copy bandwidth", "remark"), [cells(row) for row in rows.values()]
        )
    )


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor as torch.Tensor. The emulated build has a subclass."""
    return tensor.as_subclass(torch.Tensor)


def check_loops(stacked: Any, loop_stacked: Any, gathered: torch.Tensor, loop_gathered: torch.Tensor) -> str:
    """State whether the published loops and vltr gave the same results."""

    clips = torch.equal(plain(stacked.features), loop_stacked[0])
    labels = torch.allclose(plain(stacked.targets), loop_stacked[1], atol=1e-6)
    frames = torch.equal(plain(gathered), loop_gathered)
    verdicts = [f"{name} {'equal' if same else '**differ**'}" for name, same in
            (("clips", clips), ("labels", labels), ("gathered frames", frames))]  # fmt: skip
    return f"Against the published loops: {', '.join(verdicts)}."


def running_section(bench: Bench) -> str:
    """Measure RunningAP: the update in a training step, and the result at the end of an epoch."""
    device = bench.device
    batch, classes, rows_of_epoch = (8, 9, 40) if device.dry else (128, 1004, 51_200)
    rng = np.random.default_rng(1)
    scores = device.put(rng.standard_normal((batch, classes), np.float32))
    labels = device.put(rng.random((batch, classes)) < 1.1 / classes)
    running = vltr_eval.RunningAP(classes, rows_of_epoch)

    def update() -> None:
        if len(running) == rows_of_epoch:
            running.reset()
        running.update(scores, labels)

    rows = [bench.row("update of 128 rows", lambda row: time_queued(device, row, [update] * 4))]
    running.reset()
    while len(running) < rows_of_epoch:
        running.update(scores, labels)
    rows.append(bench.row("compute", lambda row: time_calls(device, row, [running.compute])))
    return f"## RunningAP: {rows_of_epoch:,} x {classes:,} float32\n\n" + table(
        ("", "whole call", "device", "remark"),
        [(r.title, *(duration(t) if t else "-" for t in (r.time, r.device_time)), r.remark) for r in rows],
    )


def drawn_case(
    device: Device, num_rows: int, num_classes: int, dtype: torch.dtype, share: float, lift: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw scores and bool labels on the device, 50,000 rows at a time. Scores of positives are higher by `lift`."""
    scores = device.empty((num_rows, num_classes), dtype)
    labels = device.empty((num_rows, num_classes), torch.bool)
    for start in range(0, num_rows, 50_000):
        block, flags = scores[start : start + 50_000], labels[start : start + 50_000]
        flags.copy_(torch.rand(flags.shape, device=None if device.dry else "cuda") < share)
        block.normal_()
        block += lift * flags.to(block.dtype)
    return scores, labels


def same_bits(scores: torch.Tensor, labels: torch.Tensor, count: int) -> str:
    """Compare the AP of the last classes with that of the CPU, and say the result."""
    whole = vltr_eval.average_precision(scores, labels)[-count:]
    host = [plain(array)[:, -count:].cpu().contiguous().numpy() for array in (scores, labels)]
    same = whole.tobytes() == vltr_eval.average_precision(*host).tobytes()
    return f"AP of the last {count} classes against the CPU: {'the same bits' if same else '**different**'}.\n\n"


def dense_section(bench: Bench) -> str:
    """Measure dense classes beside a sort of all their scores, which is the easy way."""
    device = bench.device
    num_rows, num_classes = (120, 7) if device.dry else (1_000_000, 100)
    scores, labels = drawn_case(device, num_rows, num_classes, torch.float32, 0.1, 1.5)
    columns = plain(scores).t().contiguous()
    calls: dict[str, tuple[str, Callable[[], Any]]] = {
        "ap": ("**AP**", lambda: vltr_eval.average_precision(scores, labels)),
        "roc_auc": ("ROC-AUC", lambda: vltr_eval.roc_auc(scores, labels)),
        "sap": ("SAP, 15 trials", lambda: vltr_eval.sampled_average_precision(scores, labels)),
        "sort": ("torch.sort of the columns, contiguous", lambda: torch.sort(columns, dim=1)),
    }
    rows = {
        name: bench.row(title, lambda row, call=call: time_calls(device, row, [call]))
        for name, (title, call) in calls.items()
    }
    if rows["ap"].time and rows["sort"].time:
        bench.results["dense AP / torch.sort"] = rows["ap"].time / rows["sort"].time
    return (
        f"## Dense classes: {num_rows:,} x {num_classes:,} float32, a tenth positive\n\n"
        + same_bits(scores, labels, 2)
        + eval_table(bench, rows, scores.numel() * 4 + labels.numel())
    )


def large_section(bench: Bench, num_rows: int, num_classes: int, what: str) -> str:
    """Measure one large case on random data, and check four of its classes against the CPU, bit by bit."""
    device = bench.device
    if device.dry:
        num_rows, num_classes = 120, 37
    scores, labels = drawn_case(device, num_rows, num_classes, torch.float16, 1.1 / num_classes, 3.6)
    num_bytes = scores.numel() * 2 + labels.numel()
    rows = {
        "ap": bench.row(
            "**AP**", lambda row: time_calls(device, row, [lambda: vltr_eval.average_precision(scores, labels)])
        )
    }
    rows["sap"] = bench.row(
        "SAP, 15 trials",
        lambda row: time_calls(device, row, [lambda: vltr_eval.sampled_average_precision(scores, labels)]),
    )
    return (
        f"## {what}: {num_rows:,} x {num_classes:,} float16 ({num_rows * num_classes / 2**31:.2f} x 2^31 scores)\n\n"
        + same_bits(scores, labels, 4)
        + eval_table(bench, rows, num_bytes)
    )


TARGETS: tuple[tuple[str, str, float, bool, Callable[[float], str]], ...] = (
    ("AP within 3 times one read of both inputs, whole call", "AP / one read, whole call", 3, False, figure),
    ("the same, kernels alone", "AP / one read, kernels alone", 3, False, figure),
    ("SAP 15 adds at most 20 %", "SAP 15 adds", 0.2, False, "{:.1%}".format),
    ("SAP, 1,000 trials, under 20 ms", "SAP 1,000", 0.020, False, duration),
    ("effects of rows within 1.5 times AP, kernels alone", "effects of rows / AP, kernels alone", 1.5, False, figure),
    ("AP of dense classes within the time of torch.sort alone", "dense AP / torch.sort", 1, False, figure),
    ("over 300 times torchmetrics", "torchmetrics / AP", 300, True, figure),
    ("frame_stack at 85 % of copy bandwidth", "frame_stack of copy bandwidth", 0.85, True, "{:.1%}".format),
    ("gather_frames at 85 % of copy bandwidth", "gather_frames of copy bandwidth", 0.85, True, "{:.1%}".format),
    ("frame_stack over 20 times the published loop", "published loop / frame_stack", 20, True, figure),
    ("gather_frames over 20 times the published loop", "published loop / gather_frames", 20, True, figure),
)


def targets_section(results: dict[str, float]) -> str:
    rows = []
    for title, name, limit, at_least, write in TARGETS:
        value = results.get(name)
        if value is None or value != value:
            rows.append((title, "-", "not measured"))
        else:
            reached = value >= limit if at_least else value <= limit
            rows.append((title, write(value), "reached" if reached else "**not reached**"))
    return "## Targets (set for an H200)\n\n" + table(("target", "measured", ""), rows)


def run_sections(bench: Bench, out: Path | None) -> str:
    """Run the sections until the deadline, and rewrite the file after each."""
    sections: list[tuple[str, float, Callable[[], str]]] = [
        ("bandwidth", 0, lambda: bandwidth_section(bench)),
        ("VideoLT, good model", 10, lambda: videolt_section(bench, QUALITIES[0], with_peers=True)),
        ("gathers", 10, lambda: frames_section(bench)),
        ("dense classes", 6, lambda: dense_section(bench)),
        ("VideoLT, poor model", 10, lambda: videolt_section(bench, QUALITIES[1], with_peers=False)),
        ("RunningAP", 5, lambda: running_section(bench)),
        ("memory and kernels", 15, lambda: details_section(bench)),
        ("many classes", 10, lambda: large_section(bench, 20_000, 20_000, "Many classes")),
        ("more than 2^31 scores", 15, lambda: large_section(bench, 2_200_000, 1_004, "More than 2^31 scores")),
    ]
    note = ["**Dry run on tiny inputs: the numbers mean nothing.**\n"] if bench.device.dry else []
    parts: list[str] = []
    text = ""
    for title, least, section in sections:
        sys.stderr.write(f"bench_cuda: {title} ({bench.seconds_left():.0f} s left)\n")
        try:
            if bench.seconds_left() < least:
                parts.append(f"## {title}\n\nNot run: {NO_TIME}.\n")
            else:
                parts.append(section())
        except Exception as error:
            parts.append(f"## {title}\n\n**Failed**: {one_line(error)}\n")
        gc.collect()
        if not bench.device.dry:
            torch.cuda.empty_cache()
        text = "\n".join([*note, targets_section(bench.results), *parts])
        if out:
            replaced = out.with_name(out.name + ".part")
            replaced.write_text(text)
            replaced.replace(out)
    return text


def main(start: float | None = None) -> int:
    """Run. start: when the time begins, by `time.monotonic`; None: now."""
    start = time.monotonic() if start is None else start
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=170.0, help="no section starts after this time")
    parser.add_argument("--out", type=Path, help="also write the sections to this file, each at its end")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the emulated build or the CPU")
    parser.add_argument("--bandwidth", action="store_true", help="only the bandwidth of device memory")
    parser.add_argument("--memory", help=argparse.SUPPRESS)  # measure this row on --case, in a separate process
    parser.add_argument("--case", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.dry_run and not torch.cuda.is_available():
        parser.exit(2, "bench_cuda: torch sees no CUDA device (--dry-run needs none)\n")
    device = DryDevice() if args.dry_run else Gpu()
    if args.memory:
        sys.stdout.write(f"{extra_memory(device, args.case, args.memory)}\n")
        return 0
    with tempfile.TemporaryDirectory(prefix="vltr-bench-") as directory:
        bench = Bench(device, start + args.seconds, Path(directory), measure_bandwidth(device))
        text = bandwidth_section(bench) if args.bandwidth else run_sections(bench, args.out)
    sys.stdout.write(text)
    if any(mark in text for mark in ("**failed**", "**Failed**", "**different**", "**differ**")):
        return 1
    return ENDED_EARLY if NO_TIME in text else 0


if __name__ == "__main__":
    sys.exit(main(process_start()))
