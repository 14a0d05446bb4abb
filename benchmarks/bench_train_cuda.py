"""Training at VideoLT's size on a GPU: FrameStack's epochs and where their time goes, and a step of every method.

    python benchmarks/bench_train_cuda.py --out FILE                   offline; a GPU with 128 GiB for all frames
    python benchmarks/bench_train_cuda.py --scale 0.2                  a fifth of the videos, for smaller ones
    python benchmarks/bench_train_cuda.py --device cpu --scale 0.0005  tiny, without a GPU: does the benchmark work?

What trains is `vltr_train.fit`. The frames are made on the device, where `fit` would have copied them; the labels are
those of the synthetic VideoLT. The file is rewritten after each training: one that never ends costs only itself.
FrameStack's epochs come first; the steps of all methods (method_steps.py) have the time that these leave.
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
from _lib.machine import cpu_model, versions, write_whole
from _lib.method_steps import Measured, measure_methods, method_section
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
PROFILED_EPOCH = 2  # of the short training, after one that warms up and one that is timed
LEAST_SECONDS = 6.0  # for a training to be begun
SETTLING = 2.0  # seconds of a training that are not in its epochs: checkpoints, the test split
SHARE = 0.55  # of the time that is left when the data are made; the methods have the rest


def only_some(data: Dataset, count: int) -> Dataset:
    """The data set with so many of its training videos, evenly spaced over all memory."""
    rows = np.arange(count) * len(data.train) // count
    return replace(data, train=TrainSplit(data.train.labels.only(rows), rows, data.frames))


# Where the time goes

MODEL = f"{METHOD}.forward"
PRODUCTS, ELEMENTWISE = "model and loss: matrix products", "model and loss: elementwise and reductions"
OPTIMIZER, OTHER = "optimizer and clipping", "other"
# Kernels of the core, by a part of their names: the first that fits.
CORE = ("gather_frames", "sample_frames", "frame_stack_gradient", "frame_stack", "append")
GROUPS = (PRODUCTS, ELEMENTWISE, OPTIMIZER, *(f"vltr: {kernel}" for kernel in (*CORE, "others")), OTHER)
_IS_PRODUCT = re.compile(r"^aten::(addmm|mm|bmm|baddbmm|_addmm_activation)$|gemm|cutlass|nvjet|xmma", re.IGNORECASE)


def group_of(names: tuple[str, ...]) -> str:
    """The group of a kernel's time. names: of the kernel, of the operator that launched it, of what that is part of.

    Products and the optimizer's kernels are known by their own names too: nothing else in a step has any.
    """
    if own := next((name for name in names if "vltr" in name), None):
        return f"vltr: {next((kernel for kernel in CORE if kernel in own), 'others')}"
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
    """Of a profiler's events: the kernels' time, or without a device the operators' own.

    A kernel that no operator launched is known by its name alone: those of the core, and what the loader's thread did.
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
    """Kernels, copies and fills. Named ranges appear on the device too, by the name that they have on the host."""
    ranges = {event.name for event in events if is_on_host(event)}
    return [event for event in events if not is_on_host(event) and event.name not in ranges]


def busy_seconds(events: Iterable[Any], on_device: bool) -> float:
    """Time in which anything ran: kernels that overlap count once."""
    chosen = kernels_of(events) if on_device else [event for event in events if event.cpu_parent is None]
    total = end = 0.0
    for start, stop in sorted((event.time_range.start, event.time_range.end) for event in chosen):
        total += max(stop - max(start, end), 0.0)
        end = max(end, stop)
    return total * 1e-6


class StepProfile:
    """While it is entered, the last steps of the epoch `PROFILED_EPOCH` are profiled."""

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
        """Seconds of a step by group, and those in which the device was busy."""
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
    """Of one kind of training. videos: of an epoch. unmixed, mixed: seconds of an epoch, ap: of them the running AP at
    the mixed one's end; peak: bytes of torch's allocator; parts, busy: seconds of a mixed step."""

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
        """Seconds of a mixed step, without a profiler."""
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

    def measure(self, found: Trained, seconds: float) -> None:
        """Profiles a short training, then times one of as many videos as the time allows."""
        shape, total = self.shape, len(self.data.train)
        end = time.monotonic() + seconds
        few = min((shape.warm + shape.profiled) * shape.batch, total)
        with StepProfile(shape, self.device) as steps:
            short = self.train(found.precision, found.rap_source, few, PROFILED_EPOCH + 1)
        parts, busy = steps.a_step()
        rate = few / short.epochs[1]["seconds"]
        affordable = int((end - time.monotonic() - SETTLING) / EPOCHS * rate) // shape.batch * shape.batch
        found.videos = min(total, max(few // shape.batch * shape.batch, affordable))
        found.steps = math.ceil(found.videos / shape.batch)
        with timed_ends() as ends:
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            run = self.train(found.precision, found.rap_source, found.videos, EPOCHS)
            if self.device.type == "cuda":
                found.peak = torch.cuda.max_memory_allocated()
        found.unmixed, found.mixed = (line["seconds"] for line in run.epochs)
        found.ap, found.parts, found.busy = ends[-1], parts, busy


@contextmanager
def timed_ends() -> Iterator[list[float]]:
    """Seconds that the end of each epoch takes a method. The loop has waited for the device before."""
    kind, seconds = find_method(METHOD), []

    def timed(method: Any) -> None:
        start = time.perf_counter()
        end_epoch(method)
        seconds.append(time.perf_counter() - start)

    end_epoch = kind.end_epoch
    with patch.object(kind, "end_epoch", timed):
        yield seconds


def run_all(bench: Bench) -> Iterator[Trained]:
    """All kinds, trained where there is time."""
    for number, kind in enumerate(KINDS):
        found = Trained(*kind)
        share = bench.seconds_left() / (len(KINDS) - number)
        sys.stderr.write(f"bench_train_cuda: {found.title} ({bench.seconds_left():.0f} s left)\n")
        if bench.seconds_left() < LEAST_SECONDS:
            found.remark = "not run: no time was left"
        else:
            try:
                bench.measure(found, share)
            except Exception as error:  # the other kinds can still tell something
                found.remark = f"**failed**: {one_line(error)}"
        release(bench.device)
        yield found


# The report


def report(bench: Bench, note: str, making: float, every: list[Trained], methods: list[Measured]) -> str:
    """Its first line is the summary."""
    data, shape, frames = bench.data, bench.shape, bench.data.frames
    total, on_device = len(data.train), bench.device.type == "cuda"
    measured = [found for found in every if not found.remark]
    times = "; ".join(f"{duration(found.mixed * total / found.videos)} ({found.title})" for found in measured)
    summary = f"a mixed epoch of {total:,} videos: {times or 'not measured'}"
    notes = [] if on_device else ["**A check of the benchmark itself, on the CPU: its numbers mean nothing.**", ""]
    notes += [note, ""] if note else []
    if any(found.videos < total for found in measured):
        notes += ["The time was too short for whole epochs: see the videos that each row's epochs have.", ""]
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
            "Of `vltr_train.fit`: the seconds that its metrics.csv has. The first epoch is not mixed; the second is, "
            "by the running AP of the first, and the rates are its own. Seconds for all videos are scaled where an "
            "epoch has fewer. Peak memory is that of torch's allocator, the frames included; what the core itself "
            "takes while it ranks at an epoch's end is not in it.",
            "",
            epoch_table(every, total, store),
            "## A mixed step",
            "",
            f"By torch.profiler, mean of up to {shape.profiled} steps. "
            + ("Kernels" if on_device else "Operators' own time, without the loader's thread,")
            + " by what launched them; idle is what they leave of a step of the timed epoch, in which no profiler ran.",
            "",
            step_table(measured),
            *method_section(methods, shape, len(data.train.labels) * data.num_classes),
        ]
    )


def epoch_table(every: list[Trained], total: int, store: int) -> str:
    head = ["precision", "rap_source", "videos", "unmixed epoch", "mixed epoch", "of it running AP", "all videos"]
    head += ["videos/s", "steps/s", "peak memory", "remark"]
    cells = []
    for found in every:
        row = [found.precision, found.rap_source]
        if found.remark:
            cells.append([*row, *["-"] * (len(head) - 3), found.remark])
            continue
        seconds = [found.unmixed, found.mixed, found.ap, found.mixed * total / found.videos]
        rates = [figure(count / found.mixed) for count in (found.videos, found.steps)]
        memory = f"{size(found.peak)}, frames {store / found.peak:.0%}" if found.peak else "-"
        cells.append([*row, f"{found.videos:,}", *map(duration, seconds), *rates, memory, ""])
    return table(head, cells, left=2)


def step_table(measured: list[Trained]) -> str:
    def row(title: str, part: Callable[[Trained], float], whole: Callable[[Trained], float]) -> list[str]:
        return [title, *(f"{duration(part(found))} ({part(found) / whole(found):.1%})" for found in measured)]

    def kernels(found: Trained) -> float:
        return sum(found.parts.values())

    def outside(found: Trained) -> float:
        return kernels(found) - found.parts[PRODUCTS] - found.parts[ELEMENTWISE]

    there = [group for group in GROUPS if any(found.parts[group] for found in measured)]
    rows = [row(group, lambda found, group=group: found.parts[group], kernels) for group in there]
    rows.append(row("**all but model and loss**", outside, kernels))
    rows.append(row("all", kernels, kernels))
    rows.append(row("step, wall time", lambda found: found.wall, lambda found: found.wall))
    rows.append(row("**of it idle**", lambda found: max(found.wall - found.busy, 0.0), lambda found: found.wall))
    return table(("", *(found.title for found in measured)), rows)


def main() -> int:
    start = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=tuple(SHAPES), default="cuda", help="cpu: a check of this script alone")
    parser.add_argument("--scale", type=float, default=1.0, help="of VideoLT's number of videos (default 1)")
    parser.add_argument("--seconds", type=float, default=240.0, help="for all of it: shorter epochs where need be")
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
        for part, measuring in ((every, run_all(bench)), (methods, measure_methods(device, shape, data, end))):
            for found in measuring:
                part.append(found)
                if args.out:
                    write_whole(args.out, report(bench, note, making, every, methods))
    sys.stdout.write(report(bench, note, making, every, methods))
    return 1 if any("**failed**" in found.remark for found in (*every, *methods)) else 0


if __name__ == "__main__":
    sys.exit(main())
