"""Compare training steps of MOVE and of VLAD with published ones on the CPU: in all, by part and by operation.

    python benchmarks/bench_move.py --out                # some minutes, 12 GiB of memory, an otherwise idle machine
    python benchmarks/bench_move.py --quick              # a tiny shape: does the benchmark itself work?

published/move_loop.py and the method of vltr_train both train PSA and the codebook, on the same batch with the same
threads. FrameStack trains NetVLAD, and binary cross entropy NeXtVLAD, of published/vlad.py and of vltr_train.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from _lib.machine import RESULTS, TODAY, load, num_cpus, provenance, write_whole
from _lib.tables import duration, figure, table
from bench_train import BATCH, FRAMES, in_process
from published import framestack_loop, move_loop, vlad
from published.framestack_loop import Clock
from published.torchnet import APMeter
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from vltr_train.data.loader import Batch
from vltr_train.method import FUSED_ADAM, Task
from vltr_train.methods import find_method
from vltr_train.ops import vlad as vlad_ops

PARTS = ("draw", "forward", "meters", "backward", "update")
MOST, LEAST = 1912, 44  # videos of VideoLT's largest and smallest class
CLUSTERS, HIDDEN = 64, 1024  # of the codebook
LR = 1e-4
TARGET = 3.0
CLIP = 20.0  # the largest norm of gradients
OPERATIONS = 12  # shown of a profile


@dataclass(frozen=True)
class Shape:
    """Sizes of the training: B rows of T frames of D features, C classes, and the number of timed steps."""

    title: str
    dim: int
    num_classes: int
    steps: int
    batch: int = BATCH
    frames: int = FRAMES


@dataclass(frozen=True)
class Row:
    """One training step. fused: with torch's fused Adam, which vltr always uses."""

    title: str
    published: bool = False
    fused: bool = False


ROWS = (
    Row("published step", published=True),
    Row("published step, fused Adam", published=True, fused=True),
    Row("vltr_train"),
)


@dataclass
class Measured:
    """The timed steps: seconds, seconds by part, flop of a step's matrix products, and the last loss."""

    seconds: list[float]
    parts: dict[str, list[float]]
    flop: int
    loss: float


SHAPES = {
    "small": Shape("128 features, 225 classes", 128, 225, steps=30),
    "full": Shape("VideoLT's 2,048 features and 1,004 classes", 2048, 1004, steps=5),
}
QUICK = {"tiny": Shape("8 features, 12 classes", 8, 12, steps=2, batch=6, frames=10)}


CLOCK = "VLTR_BENCH_PROCESSOR_TIME"  # in the environment, which the process of a measurement inherits


def now() -> float:
    """Return the seconds of the clock, or those that the processor has spent on this process."""
    return time.process_time() if CLOCK in os.environ else time.perf_counter()


def counts_of(shape: Shape) -> np.ndarray:
    """Return the videos of each class (C,), a geometric sequence from VideoLT's largest class to its smallest."""
    return np.geomspace(MOST, LEAST, shape.num_classes).round()


def batch_of(shape: Shape) -> tuple[Batch, list[list[int]]]:
    """Return a batch of rectified noise, and its labels as lists: one a video, drawn by class frequency."""
    rng = np.random.default_rng(0)
    counts = counts_of(shape)
    labels = [[int(c)] for c in rng.choice(len(counts), shape.batch, p=counts / counts.sum())]
    targets = np.zeros((shape.batch, shape.num_classes), np.float32)
    for row, classes in enumerate(labels):
        targets[row, classes] = 1
    features = np.maximum(rng.standard_normal((shape.batch, shape.frames, shape.dim), np.float32), 0)
    return Batch(torch.from_numpy(features), torch.from_numpy(targets), torch.arange(shape.batch)), labels


def published_step(shape: Shape, row: Row, clock: Clock) -> Callable[[], float]:
    model = move_loop.Model(shape.dim, shape.num_classes)
    bounds, factors = move_loop.class_constants(counts_of(shape), shape.frames)
    optimizer = torch.optim.Adam(model.parameters(), LR, fused=row.fused or None)
    step = move_loop.Step(model, optimizer, bounds, factors, move_loop.ClassMeters(shape.num_classes), clock)
    batch, labels = batch_of(shape)
    return lambda: step(batch.features, batch.targets, labels)


def our_step(shape: Shape, clock: Clock) -> Callable[[], float]:
    kind = find_method("move")
    task = Task(shape.num_classes, shape.dim, counts_of(shape), (500, 100))
    method = kind(kind.Config(train_frames=shape.frames), task).train()
    method.begin_epoch(0, shape.batch)
    optimizer = FUSED_ADAM((p for p in method.parameters() if p.requires_grad), lr=LR)
    batch, _ = batch_of(shape)
    draw = method._masks

    def timed_draw(*arguments: Any) -> torch.Tensor:
        with clock.part("draw"):
            return draw(*arguments)

    method._masks = timed_draw

    def step() -> float:
        with clock.part("forward"):
            loss = method(batch)
        with clock.part("backward"):
            optimizer.zero_grad()
            loss.backward()
        with clock.part("update"):
            optimizer.step()
        return loss.item()

    return step


def method_of(
    name: str, shape: Shape, **settings: Any
) -> tuple[Callable[[Batch], torch.Tensor], torch.optim.Optimizer]:
    kind = find_method(name)
    task = Task(shape.num_classes, shape.dim, counts_of(shape), (500, 100))
    method = kind(kind.Config(train_frames=shape.frames, **settings), task).train()
    method.begin_epoch(1, shape.batch * (1 + shape.steps))
    return method, FUSED_ADAM((p for p in method.parameters() if p.requires_grad), lr=LR)


def published_netvlad(shape: Shape) -> Callable[[], object]:
    model = vlad.NetVLADClassifier(shape.dim, shape.num_classes)
    step = framestack_loop.Step(model, torch.optim.Adam(model.parameters(), LR, fused=True), APMeter())
    batch, _ = batch_of(shape)

    def run() -> None:
        step.meter = APMeter()  # which would grow without end
        step(batch.features, batch.targets, torch.rand(shape.num_classes))

    return run


def published_nextvlad(shape: Shape) -> Callable[[], object]:
    model = vlad.NeXtVLADClassifier(shape.dim, shape.num_classes)
    optimizer = torch.optim.Adam(model.parameters(), LR, fused=True)
    batch, _ = batch_of(shape)
    return lambda: update(
        lambda: binary_cross_entropy_with_logits(model(batch.features), batch.targets), model, optimizer
    )


def our_other(name: str, shape: Shape, **settings: Any) -> Callable[[], object]:
    method, optimizer = method_of(name, shape, **settings)
    batch, _ = batch_of(shape)
    return lambda: update(lambda: method(batch), method, optimizer)


def update(loss: Callable[[], torch.Tensor], model: Any, optimizer: torch.optim.Optimizer) -> None:
    """Make a step with clipped gradients, as both loops of FrameStack have it."""
    value = loss()
    optimizer.zero_grad()
    value.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()


def measure_others(shape: Shape, threads: int) -> dict[str, tuple[float, float]]:
    """Return the median seconds of the published step and of vltr's, which alternate, for each other model."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    found = {}
    for title, make in OTHERS.items():
        steps = make(shape)
        spent: tuple[list[float], list[float]] = ([], [])
        for number in range(1 + shape.steps):
            for step, seconds in zip(steps, spent, strict=True):
                start = now()
                step()
                if number:
                    seconds.append(now() - start)
        found[title] = (statistics.median(spent[0]), statistics.median(spent[1]))
    return found


OTHERS: dict[str, Callable[[Shape], tuple[Callable[[], object], Callable[[], object]]]] = {
    "FrameStack, NetVLAD": lambda shape: (
        published_netvlad(shape),
        our_other("framestack", shape, aggregator="netvlad"),
    ),
    "BCE, NeXtVLAD": lambda shape: (published_nextvlad(shape), our_other("bce", shape, aggregator="nextvlad")),
}


def profile_ours(shape: Shape, threads: int) -> list[tuple[str, int, float]]:
    """Return the operations of a step of vltr's MOVE that take longest: name, calls, seconds by themselves."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    step = our_step(shape, Clock())
    step()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    found = sorted(profiled.key_averages(), key=lambda event: -event.self_cpu_time_total)
    return [(event.key, event.count, event.self_cpu_time_total * 1e-6) for event in found[:OPERATIONS]]


@contextlib.contextmanager
def core_products() -> Iterator[list[int]]:
    """Collect the flop of each product that the core computes. torch's counter sees only its own."""
    found: list[int] = []
    product = vlad_ops._product

    def counted(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor, *, in_core: bool) -> torch.Tensor:
        if in_core:
            found.append(2 * a.shape[1] * out.numel())
        return product(a, b, out, in_core=in_core)

    with patch.object(vlad_ops, "_product", counted):
        yield found


def measure(shape: Shape, threads: int) -> dict[Row, Measured]:
    """Measure all rows. They alternate step by step, so a slower machine affects all of them."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    clocks = {row: Clock() for row in ROWS}
    steps = {
        row: published_step(shape, row, clock) if row.published else our_step(shape, clock)
        for row, clock in clocks.items()
    }
    measured = {}
    for row, step in steps.items():
        with FlopCounterMode(display=False) as counter, core_products() as in_core:
            loss = step()  # warms up
        measured[row] = Measured([], {name: [] for name in PARTS}, counter.get_total_flops() + sum(in_core), loss)
    for _ in range(shape.steps):
        for row, it in measured.items():
            spent = clocks[row].seconds
            spent.clear()
            start = now()
            it.loss = steps[row]()
            it.seconds.append(now() - start)
            if not row.published:
                spent["forward"] -= spent["draw"]
            for name in PARTS:
                it.parts[name].append(spent[name])
    return measured


def product_rates(shape: Shape, threads: int) -> tuple[float, float]:
    """Return the flop a second of the largest matrix products of both steps, by torch and by vltr.

    They are those of two views with the hidden layer of the codebook: forward, and both gradients. Each is the best of
    six runs, in memory that was used before.
    """
    torch.set_num_threads(threads)
    vectors, weights = torch.rand(2 * shape.batch, CLUSTERS * shape.dim), torch.rand(HIDDEN, CLUSTERS * shape.dim)
    hidden = torch.rand(len(vectors), HIDDEN)
    triples = (
        (vectors, weights.T, torch.empty_like(hidden)),
        (hidden, weights, torch.empty_like(vectors)),
        (hidden.T, vectors, torch.empty_like(weights)),
    )
    rates = []
    for in_core in (False, True):
        product = functools.partial(vlad_ops._product, in_core=in_core)
        least = 0.0
        for triple in triples:
            spent = []
            for _ in range(6):
                start = now()
                product(*triple)
                spent.append(now() - start)
            least += min(spent)
        rates.append(3 * 2 * weights.numel() * len(vectors) / least)
    return rates[0], rates[1]


# The tables


def shape_tables(shape: Shape, threads: int, run: Callable[..., Any]) -> list[str]:
    progress(f"{shape.title} (load {load()})")
    measured = run(measure, shape, threads)
    rates = run(product_rates, shape, threads)
    published = min((measured[row] for row in ROWS if row.published), key=middle)
    cells, part_cells = [], []
    for row, it in measured.items():
        ratio = "-" if row.published else f"{figure(middle(published) / middle(it))}x"
        low, high = np.quantile(it.seconds, (0.25, 0.75))
        rate = rates[0] if row.published else rates[1]
        cells.append(
            [
                row.title,
                duration(middle(it)),
                f"{duration(low)} to {duration(high)}",
                ratio,
                f"{figure(it.flop / 1e9)}",
                duration(it.flop / rate),
                f"{it.loss:.4f}",
            ]
        )
        part_cells.append([row.title, *(duration(statistics.median(it.parts[name])) for name in PARTS)])
    others = run(measure_others, shape, threads)
    other_cells = [
        [title, duration(slow), duration(fast), f"{figure(slow / fast)}x"] for title, (slow, fast) in others.items()
    ]
    operations = [[name, f"{calls}", duration(spent)] for name, calls, spent in run(profile_ours, shape, threads)]
    ours = measured[ROWS[-1]]
    best, bound = middle(published) / middle(ours), middle(published) * rates[1] / ours.flop
    verdict = "met" if best >= TARGET else "missed"
    head = ("", "a step", "middle half", "faster", "products, Gflop", "products alone", "last loss")
    return [
        f"## {shape.title}",
        "",
        f"{shape.steps} steps of {shape.batch} clips of {shape.frames} frames. The products of the codebook's hidden "
        f"layer run at {rates[0] / 1e9:.0f} Gflop/s in torch, and at {rates[1] / 1e9:.0f} in vltr. At this rate the "
        f"products of vltr's step alone would be {figure(bound)}x as fast as the published step. The step is "
        f"{figure(best)}x as fast; the target of {TARGET:.0f}x is {verdict}.",
        "",
        table(head, cells),
        "Time of a step by part:",
        "",
        table(("", *PARTS), part_cells),
        "Operations of a step of vltr that take longest, each by itself, in torch's profiler:",
        "",
        table(("", "calls", "time"), operations),
        "Steps of other models, with the fused Adam on both sides:",
        "",
        table(("", "step, published", "step of vltr", "faster"), other_cells),
    ]


def middle(measured: Measured) -> float:
    return statistics.median(measured.seconds)


def header(threads: int, quick: bool) -> str:
    warning = "\n**Quick run** on a tiny shape: its ratios are not those of the real ones.\n" if quick else ""
    if CLOCK in os.environ:
        warning += (
            "\n**Times of the processor**, not of the clock: the machine had other load. Times of parts and operations "
            "are of the clock.\n"
        )
    return f"""# MOVE's training step against the published one, {TODAY}

{provenance("torch", "numpy")}{threads} threads for torch on both sides, and for vltr.
{warning}
- The published step is `published/move_loop.py`, written plainly from its definition. Its time is that of the
  definition in loops, not that of the authors' file. A test compares its loss and gradients with those of vltr, for
  equal draws and frozen batch statistics: those of the published codebook count the frames that it blanks.
- PSA and the codebook ({CLUSTERS} clusters, {HIDDEN} hidden), extrapolation, calibrated interpolation, Adam, float32.
  A step draws frames, runs both passes and the update, always on one batch in memory; it reads no file. Rows alternate
  step by step, after a warm-up. The published step has torch's default Adam, and the fused one that vltr uses.
  faster: than the faster of these two.
- products, Gflop: all matrix products of a step, two operations each. products alone: their time at the separately
  measured rate of the hidden layer, forward and both gradients: torch's for the published steps, vltr's for its own.
- meters: training accuracy and the hits and scores of classes, which vltr leaves to the evaluation.
- Losses differ because weights, frames and partners are drawn differently.
"""


def progress(text: str) -> None:
    sys.stderr.write(f"bench_move: {text}\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="use a tiny shape, to test the benchmark itself")
    parser.add_argument("--shapes", help=f"of {','.join(SHAPES)}; default: all")
    parser.add_argument("--steps", type=int, help="steps to time; default: those of each shape")
    parser.add_argument("--threads", type=int, default=num_cpus(), help="for vltr and torch")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="time the processor instead of the clock: on a machine with other load, with --threads 1",
    )
    parser.add_argument("--out", nargs="?", type=Path, const=RESULTS, help="also write move-<date>.md there")
    args = parser.parse_args()
    os.environ.update(dict.fromkeys(("VLTR_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(args.threads)))

    if args.processor_time:
        if args.threads != 1:
            parser.error("argument --processor-time: expected --threads 1, as a thread that waits is timed too")
        os.environ[CLOCK] = "1"

    known = QUICK if args.quick else SHAPES
    parts = [header(args.threads, args.quick)]
    for name in args.shapes.split(",") if args.shapes else known:
        if name not in known:
            parser.error(f"argument --shapes: expected names among {', '.join(known)}, got {name!r}")
        shape = known[name]
        parts += shape_tables(replace(shape, steps=args.steps or shape.steps), args.threads, in_process)
    text = "\n".join(parts)
    sys.stdout.write(text)
    if args.out:
        path = args.out / f"move-{'quick-' if args.quick else ''}{TODAY}.md"
        write_whole(path, text)
        progress(f"written: {path}")


if __name__ == "__main__":
    main()
