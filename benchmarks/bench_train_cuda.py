"""Measure training at VideoLT's size on a GPU: epochs of FrameStack, their time by kernel, and a step of every method.

    python benchmarks/bench_train_cuda.py --out FILE                   offline; a GPU with 128 GiB for all frames
    python benchmarks/bench_train_cuda.py --scale 0.2                  a fifth of the videos, for smaller ones
    python benchmarks/bench_train_cuda.py --device cpu --scale 0.0005  tiny, without a GPU: does the benchmark work?

`vltr_train.fit` does the training. The frames are made on the device, where `fit` copies those of a data set; the
labels are those of the synthetic VideoLT. The file is rewritten after each training, so a training that hangs loses
only its own results. The epochs of FrameStack run first; the steps of all methods (_lib/method_steps.py) get the
remaining time. Exit status 1: a training failed; 3: none failed, but there was no time for one.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from _lib.device_data import SHAPES, Shape, make_data, release, synchronize
from _lib.machine import cpu_model, process_start, versions, write_whole
from _lib.method_steps import NO_TIME, Measured, measure_methods, method_section
from _lib.tables import duration, figure, one_line, size, table
from torch.profiler import ProfilerActivity, profile, record_function

from vltr_eval import RunningAP
from vltr_train.data.dataset import Dataset, TrainSplit
from vltr_train.data.loader import Batch, Loader
from vltr_train.engine import fit
from vltr_train.methods import find_method
from vltr_train.runs.run_folder import RunFolder

METHOD = "framestack"
KINDS = tuple((precision, source) for precision in ("float32", "bfloat16") for source in ("clean_train_mode", "reuse"))
EPOCHS = 2  # the first is not mixed, the second is
PROFILED_EPOCH = 2  # in the short training, after one epoch to warm up and one for its time
LEAST_SECONDS = 6.0  # a training does not start with less time
SETTLING = 2.0  # seconds of a training outside its epochs: checkpoints, the test split
ENDED_EARLY = 3  # exit status
SHARE = 0.55  # of the time after the data are made; the methods get the rest


def only_some(data: Dataset, count: int) -> Dataset:
    """Return the data set with `count` of its training videos, evenly spaced over all memory."""
    rows = np.arange(count) * len(data.train) // count
    return replace(data, train=TrainSplit(data.train.labels.select(rows), rows, data.frames))


# Time by group of kernels

MODEL = f"{METHOD}.forward"
PRODUCTS, ELEMENTWISE = "model and loss: matrix products", "model and loss: elementwise and reductions"
OPTIMIZER, OTHER = "optimizer and clipping", "other"
# Substrings of the names of the core's kernels; the first match counts.
CORE = ("gather_frames", "sample_frames", "frame_stack_gradient", "frame_stack", "append")
GROUPS = (PRODUCTS, ELEMENTWISE, OPTIMIZER, *(f"vltr: {kernel}" for kernel in (*CORE, "others")), OTHER)
_IS_PRODUCT = re.compile(r"^aten::(addmm|mm|bmm|baddbmm|_addmm_activation)$|gemm|cutlass|nvjet|xmma", re.IGNORECASE)


def group_of(names: tuple[str, ...]) -> str:
    """Return the group of a kernel. names: of the kernel, of the operator that launched it, and of its callers.

    The names of kernels for products and for the optimizer also decide, because no other part of a step has any.
    """
    if core_name := next((name for name in names if "vltr" in name), None):
        return f"vltr: {next((kernel for kernel in CORE if kernel in core_name), 'others')}"
    if any(name.startswith("Optimizer.") or "multi_tensor" in name for name in names):
        return OPTIMIZER
    if any(map(_IS_PRODUCT.search, names)):
        return PRODUCTS
    is_models = any(name == MODEL or name.startswith("autograd::engine") for name in names)
    return ELEMENTWISE if is_models else OTHER


def is_on_host(event: Any) -> bool:
    return "CPU" in str(event.device_type)


def ancestry(event: Any) -> Iterator[str]:
    while event is not None:
        yield event.name
        event = event.cpu_parent


def seconds_by_group(events: Iterable[Any], on_device: bool) -> Counter[str]:
    """Sum a profiler's events by group: times of kernels, or without a device those of operators alone.

    Kernels of the core and of the loader's thread have no operator, so only their names decide.
    """
    spent: Counter[str] = Counter()
    host = [event for event in events if is_on_host(event)]
    if not on_device:
        for event in host:
            spent[group_of(tuple(ancestry(event)))] += event.self_cpu_time_total * 1e-6
        return spent
    alone: Counter[str] = Counter()
    for event in kernels_of(events):
        alone[event.name] += event.time_range.elapsed_us()
    for event in host:
        for kernel in event.kernels:
            if kernel.name in alone:
                alone[kernel.name] -= kernel.duration
                spent[group_of((kernel.name, *ancestry(event)))] += kernel.duration * 1e-6
    for name, left in alone.items():
        spent[group_of((name,))] += max(left, 0.0) * 1e-6
    return spent


def kernels_of(events: Iterable[Any]) -> list[Any]:
    """Return kernels, copies and fills. Named ranges also appear on the device, with the same name; skip them."""
    ranges = {event.name for event in events if is_on_host(event)}
    return [event for event in events if not is_on_host(event) and event.name not in ranges]


def busy_seconds(events: Iterable[Any], on_device: bool) -> float:
    """Return the seconds in which at least one kernel ran; overlapping kernels count once."""
    chosen = kernels_of(events) if on_device else [event for event in events if event.cpu_parent is None]
    total = end = 0.0
    for start, stop in sorted((event.time_range.start, event.time_range.end) for event in chosen):
        total += max(stop - max(start, end), 0.0)
        end = max(end, stop)
    return total * 1e-6


class StepProfile:
    """Context that profiles the last steps of the epoch `PROFILED_EPOCH`."""

    def __init__(self, shape: Shape, device: torch.device) -> None:
        self._warm, self._device = shape.warm, device
        self._on_device = device.type == "cuda"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_device else [])]
        self._profiler = profile(activities=activities)
        self._steps = 0
        self._patches = ExitStack()

    def __enter__(self) -> StepProfile:
        for owner, name, label in (
            (find_method(METHOD), "forward", MODEL),
            (torch.nn.utils, "clip_grad_norm_", "Optimizer.clip"),
            (sys.modules[find_method(METHOD).__module__], "frame_stack", "vltr: frame_stack"),
            (RunningAP, "update", "vltr: append"),
        ):
            self._patches.enter_context(patch.object(owner, name, ranged(label, getattr(owner, name))))
        self._patches.enter_context(patch.object(Loader, "epoch", self._watched(Loader.epoch)))
        return self

    def __exit__(self, *error: object) -> None:
        self._patches.close()

    def a_step(self) -> tuple[dict[str, float], float]:
        """Return the seconds of a step by group, and the seconds in which the device was busy."""
        events = self._profiler.events()
        spent = seconds_by_group(events, self._on_device)
        parts = {group: spent[group] / self._steps for group in GROUPS}
        return parts, busy_seconds(events, self._on_device) / self._steps

    def _watched(self, function: Callable[..., Iterator[Batch]]) -> Callable[..., Iterator[Batch]]:
        def watched(loader: Loader, epoch: int) -> Iterator[Batch]:
            if epoch != PROFILED_EPOCH:
                yield from function(loader, epoch)
                return
            for number, batch in enumerate(function(loader, epoch)):
                if number == self._warm:
                    synchronize(self._device)
                    self._profiler.start()
                yield batch
            synchronize(self._device)
            self._profiler.stop()
            self._steps = loader.num_batches - self._warm

        return watched


def ranged(label: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        with record_function(label):
            return function(*args, **options)

    return call


# The trainings


@dataclass
class Trained:
    """The measurements of one kind of training.

    Attributes:
        videos: Videos of an epoch.
        unmixed: Seconds of the unmixed epoch.
        mixed: Seconds of the mixed epoch.
        ap: Seconds of the running AP at the end of the mixed epoch, which `mixed` includes.
        peak: Bytes of torch's allocator.
        parts: Seconds of a mixed step by group.
        busy: Seconds of a mixed step in which the device is busy.
    """

    precision: str
    rap_source: str
    remark: str = ""
    videos: int = 0
    steps: int = 0
    unmixed: float = 0.0
    mixed: float = 0.0
    ap: float = 0.0
    peak: int = 0
    parts: dict[str, float] = field(default_factory=dict)
    busy: float = 0.0

    @property
    def title(self) -> str:
        return f"{self.precision}, {self.rap_source}"

    @property
    def wall(self) -> float:
        """The seconds of a mixed step without a profiler."""
        return (self.mixed - self.ap) / self.steps


@dataclass
class Bench:
    """The device, the data on it, and the clock."""

    device: torch.device
    shape: Shape
    data: Dataset
    deadline: float

    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()

    def train(self, precision: str, rap_source: str, videos: int, epochs: int) -> RunFolder:
        shape = self.shape
        with tempfile.TemporaryDirectory(prefix="vltr-bench-") as folder:
            run = fit(
                METHOD,
                only_some(self.data, videos),
                Path(folder) / "run",
                device=str(self.device),
                quiet=True,
                epochs=epochs,
                batch_size=shape.batch,
                train_frames=shape.clip,
                test_frames=shape.frames,
                select_on="last",
                precision=precision,
                rap_source=rap_source,
            )
        return run.folder

    def measure(self, trained: Trained, seconds: float) -> None:
        """Profile a short training, then time one with as many videos as the time allows."""
        shape, total = self.shape, len(self.data.train)
        end = time.monotonic() + seconds
        few = min((shape.warm + shape.profiled) * shape.batch, total)
        with StepProfile(shape, self.device) as steps:
            short = self.train(trained.precision, trained.rap_source, few, PROFILED_EPOCH + 1)
        parts, busy = steps.a_step()
        rate = few / short.epochs[1]["seconds"]
        affordable = int((end - time.monotonic() - SETTLING) / EPOCHS * rate) // shape.batch * shape.batch
        trained.videos = min(total, max(few // shape.batch * shape.batch, affordable))
        trained.steps = math.ceil(trained.videos / shape.batch)
        with timed_ends() as ends:
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            run = self.train(trained.precision, trained.rap_source, trained.videos, EPOCHS)
            if self.device.type == "cuda":
                trained.peak = torch.cuda.max_memory_allocated()
        trained.unmixed, trained.mixed = (line["seconds"] for line in run.epochs)
        trained.ap, trained.parts, trained.busy = ends[-1], parts, busy


@contextmanager
def timed_ends() -> Iterator[list[float]]:
    """Collect the seconds of the method's `end_epoch`. The loop has waited for the device before it."""
    kind, seconds = find_method(METHOD), []

    def timed(method: Any) -> None:
        start = time.perf_counter()
        end_epoch(method)
        seconds.append(time.perf_counter() - start)

    end_epoch = kind.end_epoch
    with patch.object(kind, "end_epoch", timed):
        yield seconds


def run_all(bench: Bench) -> Iterator[Trained]:
    """Train all kinds until the deadline."""
    for number, kind in enumerate(KINDS):
        trained = Trained(*kind)
        share = bench.seconds_left() / (len(KINDS) - number)
        sys.stderr.write(f"bench_train_cuda: {trained.title} ({bench.seconds_left():.0f} s left)\n")
        if bench.seconds_left() < LEAST_SECONDS:
            trained.remark = NO_TIME
        else:
            try:
                bench.measure(trained, share)
            except Exception as error:  # the other kinds still run
                trained.remark = f"**failed**: {one_line(error)}"
        release(bench.device)
        yield trained


# The report


def report(bench: Bench, note: str, making: float, every: list[Trained], methods: list[Measured]) -> str:
    """Return the report. Its first line is the summary."""
    data, shape, frames = bench.data, bench.shape, bench.data.frames
    total, on_device = len(data.train), bench.device.type == "cuda"
    measured = [trained for trained in every if not trained.remark]
    times = "; ".join(f"{duration(trained.mixed * total / trained.videos)} ({trained.title})" for trained in measured)
    summary = f"a mixed epoch of {total:,} videos: {times or 'not measured'}"
    notes = [] if on_device else ["**A check of the benchmark itself, on the CPU: its numbers mean nothing.**", ""]
    notes += [note, ""] if note else []
    if any(trained.videos < total for trained in measured):
        notes += ["The time was too short for whole epochs; each row states the videos of its epochs.", ""]
    store = frames.frames.nbytes
    name = torch.cuda.get_device_name() if on_device else cpu_model()
    return "\n".join(
        [
            summary,
            "",
            *notes,
            f"FrameStack, NonLinear, {total:,} training videos of {frames.lengths[0]} frames, D {frames.dim}, "
            f"{data.num_classes:,} classes; batches of {shape.batch}, {shape.clip} frames of each video. The frames "
            f"are {size(store)} of float16; making the data took {duration(making)}. {name}; "
            f"{versions('torch', 'numpy')}; float32 matrix products: {torch.get_float32_matmul_precision()}.",
            "",
            "## Epochs",
            "",
            "The seconds are those of metrics.csv, which `vltr_train.fit` writes. The first epoch is not mixed; the "
            "second is mixed by the running AP of the first, and the rates are those of the second. Seconds for all "
            "videos are scaled if an epoch has fewer. Peak memory is that of torch's allocator and includes the "
            "frames. It does not include the memory that the core uses to rank at the end of an epoch.",
            "",
            epoch_table(every, total, store),
            "## A mixed step",
            "",
            f"By torch.profiler, mean of up to {shape.profiled} steps. "
            + ("Kernels" if on_device else "Operators' own time, without the loader's thread,")
            + " by the operator that launched them. Idle is the rest of a step of the timed epoch, which has no "
            "profiler.",
            "",
            step_table(measured),
            *method_section(methods, shape, len(data.train.labels) * data.num_classes),
        ]
    )


def epoch_table(every: list[Trained], total: int, store: int) -> str:
    head = ["precision", "rap_source", "videos", "unmixed epoch", "mixed epoch", "of it running AP", "all videos"]
    head += ["videos/s", "steps/s", "peak memory", "remark"]
    cells = []
    for trained in every:
        row = [trained.precision, trained.rap_source]
        if trained.remark:
            cells.append([*row, *["-"] * (len(head) - 3), trained.remark])
            continue
        seconds = [trained.unmixed, trained.mixed, trained.ap, trained.mixed * total / trained.videos]
        rates = [figure(count / trained.mixed) for count in (trained.videos, trained.steps)]
        memory = f"{size(trained.peak)}, frames {store / trained.peak:.0%}" if trained.peak else "-"
        cells.append([*row, f"{trained.videos:,}", *map(duration, seconds), *rates, memory, ""])
    return table(head, cells, left=2)


def step_table(measured: list[Trained]) -> str:
    def row(title: str, part: Callable[[Trained], float], whole: Callable[[Trained], float]) -> list[str]:
        return [title, *(f"{duration(part(kind))} ({part(kind) / whole(kind):.1%})" for kind in measured)]

    def kernels(kind: Trained) -> float:
        return sum(kind.parts.values())

    def outside(kind: Trained) -> float:
        return kernels(kind) - kind.parts[PRODUCTS] - kind.parts[ELEMENTWISE]

    present = [group for group in GROUPS if any(kind.parts[group] for kind in measured)]
    rows = [row(group, lambda kind, group=group: kind.parts[group], kernels) for group in present]
    rows.append(row("**all but model and loss**", outside, kernels))
    rows.append(row("all", kernels, kernels))
    rows.append(row("step, wall time", lambda kind: kind.wall, lambda kind: kind.wall))
    rows.append(row("**of it idle**", lambda kind: max(kind.wall - kind.busy, 0.0), lambda kind: kind.wall))
    return table(("", *(kind.title for kind in measured)), rows)


def main(start: float | None = None) -> int:
    """Run. start: when the time begins, by `time.monotonic`; None: now."""
    start = time.monotonic() if start is None else start
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=tuple(SHAPES), default="cuda", help="cpu: only to check this script")
    parser.add_argument("--scale", type=float, default=1.0, help="share of VideoLT's number of videos (default 1)")
    parser.add_argument(
        "--seconds", type=float, default=240.0, help="for the whole run; epochs get shorter if necessary"
    )
    parser.add_argument("--methods", nargs="+", metavar="METHOD[:PRESET]", default=(), help="steps of these alone")
    parser.add_argument("--out", type=Path, help="also write the results to this file, after each training")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.exit(2, "bench_train_cuda: torch sees no CUDA device (--device cpu needs none)\n")
    device, shape = torch.device(args.device), SHAPES[args.device]
    try:
        began = time.monotonic()
        data, note = make_data(args.scale, shape, device)
        making = time.monotonic() - began
    except ValueError as error:
        parser.exit(2, f"bench_train_cuda: {error}\n")
    end, now = start + args.seconds, time.monotonic()
    bench = Bench(device, shape, data, now + SHARE * (end - now))
    every: list[Trained] = []
    methods: list[Measured] = []
    with patch("vltr_train.context.resident_frames", lambda frames, *_: frames.frames):
        of_methods = measure_methods(device, shape, data, end, args.methods)
        for section, measuring in ((every, run_all(bench)), (methods, of_methods)):
            for measured in measuring:
                section.append(measured)
                if args.out:
                    write_whole(args.out, report(bench, note, making, every, methods))
    sys.stdout.write(report(bench, note, making, every, methods))
    remarks = [row.remark for row in (*every, *methods)]
    return 1 if any("**failed**" in remark for remark in remarks) else ENDED_EARLY if NO_TIME in remarks else 0


if __name__ == "__main__":
    sys.exit(main(process_start()))
