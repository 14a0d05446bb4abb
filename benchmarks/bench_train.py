"""Compare an epoch of FrameStack with the published loop, end to end on the CPU, and measure the bytes of the loader.

    python benchmarks/bench_train.py --out               # 2 GiB under $TMPDIR, an otherwise idle machine
    python benchmarks/bench_train.py --quick             # tiny shapes: does the benchmark itself work?

Both train NonLinear by FrameStack on the same videos with the same threads. published/framestack_loop.py reads one
float32 .npy file a video. `vltr_train.fit` reads the float16 store that `pack` makes of these files, and the files.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial, wraps
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from _lib.machine import RESULTS, TODAY, load, num_cpus, provenance, write_whole
from _lib.tables import duration, figure, size, table
from published import framestack_loop
from published.torchnet import APMeter
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from vltr_eval import RunningAP
from vltr_train.data.dataset import Dataset, open_dataset
from vltr_train.data.label_lists import LabelList, write_videolt_list
from vltr_train.data.loader import Batch, Loader
from vltr_train.data.pack import pack, videolt
from vltr_train.data.synth import synthesize
from vltr_train.engine import fit
from vltr_train.method import Task
from vltr_train.methods import find_method
from vltr_train.samplers import InstanceSampler

BATCH, FRAMES = 128, 60  # as in the published scripts
VIDEO_FRAMES = 150
MIXED_EPOCHS = 3  # measured, after an unmixed epoch that warms the page cache
TARGET = 5.0
PARTS = ("load", "mix", "forward", "clean forward", "meters", "backward and update")
_PAGE = 4096
_NPY_HEADER = 128
_PACKAGES = ("torch", "numpy")


# The data


@dataclass(frozen=True)
class Shape:
    """A data set to train on. write: writes lists and float32 features/<id>.npy files into a folder."""

    title: str
    write: Callable[[Path], object]
    workers: tuple[int, ...]  # of the published loop's DataLoader; they have no effect if products dominate


def write_random(folder: Path, *, videos: int, classes: int, dim: int) -> None:
    """Write rectified noise with one class a video. It takes time to train on, and there is nothing to learn."""
    (folder / "features").mkdir(parents=True)
    rng = np.random.default_rng(0)
    ids = [f"video{number:06d}" for number in range(videos)]
    for name in ids:
        frames = rng.standard_normal((VIDEO_FRAMES, dim), np.float32)
        np.save(folder / "features" / f"{name}.npy", np.maximum(frames, 0, out=frames))
    labels = [[number % classes] for number in range(videos)]
    write_videolt_list(folder / "train.lst", LabelList.from_lists(ids, labels, classes))


def shapes(quick: bool) -> dict[str, Shape]:
    small = partial(
        synthesize, profile="videolt", scale=0.002 if quick else 0.05, dim=128, layout="npy", dtype="float32"
    )
    counts = {"videos": 256, "classes": 100, "dim": 256} if quick else {"videos": 1024, "classes": 1004, "dim": 2048}
    return {
        "small": Shape("Synthetic VideoLT, 128 features", small, workers=(0, 2)),
        "full": Shape("VideoLT's features and classes, random values", partial(write_random, **counts), workers=(0,)),
    }


def opened(folder: Path, layout: str) -> Dataset:
    """Open the training split alone. No evaluation adds to the time of an epoch."""
    return replace(open_dataset(folder / layout), validate=None, test=None)


# Time per epoch: each row in a separate process


@dataclass(frozen=True)
class Row:
    """One way of training."""

    title: str
    published: bool = False
    layout: str = "npy"
    rap_source: str = "clean_train_mode"
    precision: str = "float32"
    workers: int = 0


@dataclass
class Measured:
    """The mixed epochs: seconds, seconds by part, the last loss, and the flop of a mixed step's products."""

    seconds: list[float]
    parts: dict[str, float]
    loss: float
    flop: int


def rows_of(shape: Shape) -> list[Row]:
    ours = "vltr_train, {}, rap_source {}"
    kinds = (("packed", "clean_train_mode"), ("npy", "clean_train_mode"), ("packed", "reuse"))
    names = {"packed": "packed store", "npy": "file a video"}
    return [
        *(Row(f"published loop, {workers} workers", published=True, workers=workers) for workers in shape.workers),
        *(Row(ours.format(names[layout], source), layout=layout, rap_source=source) for layout, source in kinds),
        *(
            Row(f"{ours.format(names['packed'], source)}, bfloat16", False, "packed", source, "bfloat16")
            for source in ("clean_train_mode", "reuse")
        ),
    ]


def measure(row: Row, folder: Path, threads: int, epochs: int) -> Measured:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return measure_published(row, folder, epochs) if row.published else measure_ours(row, folder, threads, epochs)


def measure_published(row: Row, folder: Path, epochs: int) -> Measured:
    data = opened(folder, "npy")
    root, shape = folder / "npy", (data.num_classes, data.dim)
    measured = framestack_loop.train_epochs(
        root / "train.lst", root / "features", *shape, epochs=1 + epochs, num_workers=row.workers
    )[1:]
    model = framestack_loop.NonlinearClassifier(data.dim, data.num_classes)
    step = framestack_loop.Step(model, torch.optim.Adam(model.parameters()), APMeter())
    flop = flop_of(lambda batch: step(batch.features, batch.targets, torch.rand(data.num_classes)), data)
    parts = {name: statistics.median(epoch.parts[name] for epoch in measured) for name in PARTS}
    return Measured([epoch.seconds for epoch in measured], parts, measured[-1].loss, flop)


def measure_ours(row: Row, folder: Path, threads: int, epochs: int) -> Measured:
    data = opened(folder, row.layout)
    settings = {"epochs": 1 + epochs, "rap_source": row.rap_source, "batch_size": BATCH, "train_frames": FRAMES}
    settings["precision"] = row.precision
    with tempfile.TemporaryDirectory(dir=folder) as name, EpochParts() as parts:
        run = fit("framestack", data, Path(name) / "run", device="cpu", threads=threads, quiet=True, **settings)
        lines = run.folder.epochs[1:]
    kind = find_method("framestack")
    task = Task(data.num_classes, data.dim, data.train_counts, data.bounds)
    method = kind(kind.Config(rap_source=row.rap_source), task).train()
    method.begin_epoch(1, BATCH)
    flop = flop_of(lambda batch: method(batch).backward(), data)
    seconds = [line["seconds"] for line in lines]
    return Measured(seconds, parts.medians(seconds), lines[-1]["loss"], flop)


def flop_of(step: Callable[[Batch], object], data: Dataset) -> int:
    """Count the floating-point operations of the matrix products of a step."""
    rows = min(BATCH, len(data.train))
    targets = torch.from_numpy(data.train.labels.multi_hot(np.arange(rows)))
    batch = Batch(torch.rand(rows, FRAMES, data.dim), targets, torch.arange(rows))
    with FlopCounterMode(display=False) as counter:
        step(batch)
    return counter.get_total_flops()


class EpochParts:
    """Context that times `fit` of FrameStack by part. "backward and update" is the rest of an epoch."""

    def __init__(self) -> None:
        self._epochs: list[dict[str, float]] = []
        self._clock = framestack_loop.Clock()
        self._patches = ExitStack()

    def __enter__(self) -> EpochParts:
        method = find_method("framestack")
        for owner, name, part in (
            (method, "forward", "whole forward"),
            (method, "_mixed", "mix"),
            (method, "_clean_logits", "clean forward"),
            (RunningAP, "update", "update"),
        ):
            self._patches.enter_context(patch.object(owner, name, self._timed(part, getattr(owner, name))))
        self._patches.enter_context(patch.object(Loader, "epoch", self._timed_batches(Loader.epoch)))
        self._patches.enter_context(patch.object(method, "end_epoch", self._ended(method.end_epoch)))
        return self

    def __exit__(self, *error: object) -> None:
        self._patches.close()

    def medians(self, seconds: list[float]) -> dict[str, float]:
        """Return the median of each part over the last epochs. seconds: of each of these epochs."""
        epochs = []
        for whole, spent in zip(seconds, self._epochs[-len(seconds) :], strict=True):
            inner = {name: spent.get(name, 0.0) for name in ("mix", "clean forward", "update")}
            forward = spent["whole forward"] - sum(inner.values())
            parts = {"load": spent["load"], "mix": inner["mix"], "forward": forward}
            parts |= {"clean forward": inner["clean forward"], "meters": inner["update"] + spent["end"]}
            epochs.append(parts | {"backward and update": whole - sum(parts.values())})
        return {name: statistics.median(parts[name] for parts in epochs) for name in PARTS}

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            with self._clock.part(part):
                return function(*args, **options)

        return timed

    def _timed_batches(self, function: Callable[..., Iterator[Batch]]) -> Callable[..., Iterator[Batch]]:
        def timed(*args: Any) -> Iterator[Batch]:
            batches = function(*args)
            while True:
                with self._clock.part("load"):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch

        return timed

    def _ended(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def ended(method: Any) -> None:
            self._timed("end", function)(method)
            self._epochs.append(dict(self._clock.seconds))
            self._clock.seconds.clear()

        return ended


def product_rate(dim: int, threads: int) -> float:
    """Return the flop a second of the hidden layer's matrix product; the best of six runs."""
    torch.set_num_threads(threads)
    frames, weights = torch.rand(BATCH * FRAMES, dim), torch.rand(dim, dim)
    best = min(_seconds(lambda: frames @ weights) for _ in range(6))
    return 2 * BATCH * FRAMES * dim * dim / best


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# The loader


class CountedFrames:
    """A frame store that counts the bytes of the gathered frames, and those of the pages that hold them."""

    def __init__(self, frames: Any) -> None:
        self._frames = frames
        self.gathered = self.touched = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._frames, name)

    def gather(self, videos: np.ndarray, frame_indices: np.ndarray, **options: Any) -> Any:
        packed = hasattr(self._frames, "offsets")
        before = self._frames.offsets[videos][:, None] if packed else 0
        header = self._frames.frames.offset if packed else _NPY_HEADER
        row = self.dim * np.dtype(self.dtype).itemsize
        first = header + (before + frame_indices) * row
        start, stop = first // _PAGE, (first + row - 1) // _PAGE  # ascending along a video
        start[:, 1:] = np.maximum(start[:, 1:], stop[:, :-1] + 1)
        self.touched += int(np.maximum(stop - start + 1, 0).sum()) * _PAGE
        self.gathered += frame_indices.size * row
        return self._frames.gather(videos, frame_indices, **options)


@dataclass
class Loaded:
    """The speed of a loader. videos_per_second: median over epochs. gathered, touched: bytes of a full step."""

    videos_per_second: float
    gathered: float
    touched: float


def measure_loaders(layouts: tuple[str | None, ...], folder: Path, threads: int, epochs: int) -> dict:
    return {layout: measure_loader(layout, folder, threads, epochs) for layout in layouts}


def measure_loader(layout: str | None, folder: Path, threads: int, epochs: int) -> Loaded:
    """Time the batches of an epoch without training. layout: of vltr's data set; None for the published loader."""
    torch.set_num_threads(threads)
    data = opened(folder, layout or "npy").train
    share = BATCH / len(data)  # of an epoch's bytes
    if layout is None:
        root = folder / "npy"
        dataset = framestack_loop.VideoDataset(root / "train.lst", root / "features", data.num_classes, FRAMES)
        loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=0 if threads == 1 else threads)
        epoch = partial(iter, loader)
        bytes_of_files = sum((root / "features" / f"{name}.npy").stat().st_size for name in data.labels.ids)
        counts = (bytes_of_files, bytes_of_files)
    else:
        how = {"batch_size": BATCH, "num_frames": FRAMES, "sampler": InstanceSampler(), "threads": threads}
        counted = CountedFrames(data.frames)
        for _ in Loader(replace(data, frames=counted), **how).epoch(0):
            pass
        epoch = partial(Loader(data, **how).epoch, 1)
        counts = (counted.gathered, counted.touched)

    def drain() -> None:
        for _ in epoch():
            pass

    drain()
    seconds = statistics.median(_seconds(drain) for _ in range(epochs))
    return Loaded(len(data) / seconds, *(count * share for count in counts))


# The tables


def epoch_tables(shape: Shape, folder: Path, threads: int, epochs: int, run: Callable[..., Any]) -> list[str]:
    rows = rows_of(shape)
    measured = {}
    for row in rows:
        progress(f"{shape.title}: {row.title} (load {load()})")
        measured[row] = run(measure, row, folder, threads, epochs)
    data = opened(folder, "packed")
    rate = run(product_rate, data.dim, threads)
    published = min((row for row in rows if row.published), key=lambda row: middle(measured[row]))
    cells, part_cells = [], []
    steps = -(-len(data.train) // BATCH)
    for row in rows:
        it = measured[row]
        seconds = middle(it)
        spread = f"{duration(min(it.seconds))} to {duration(max(it.seconds))}"
        ratio = "-" if row.published else f"{figure(middle(measured[published]) / seconds)}x"
        products = it.flop * steps / rate
        bound = "-" if row.published else f"{figure(measured[published].flop / it.flop)}x"
        cells.append([row.title, duration(seconds), spread, ratio, duration(products), bound, f"{it.loss:.5f}"])
        part_cells.append([row.title, *(duration(max(it.parts[name], 0.0)) for name in PARTS)])
    head = ("", "an epoch", "fastest to slowest", "faster", "products alone", "fewer products", "last loss")
    best = max(middle(measured[published]) / middle(measured[row]) for row in rows if not row.published)
    return [
        f"## {shape.title}",
        "",
        f"{len(data.train):,} videos of {VIDEO_FRAMES} frames, D {data.dim}, {data.num_classes} classes: {steps} steps "
        f"of {BATCH}. Matrix products run at {rate / 1e9:.0f} Gflop/s. "
        f"At best {figure(best)}x; the target of {TARGET:.0f}x is {'met' if best >= TARGET else 'missed'}.",
        "",
        table(head, cells),
        "Time of an epoch by part:",
        "",
        table(("", *PARTS), part_cells),
    ]


def middle(measured: Measured) -> float:
    return statistics.median(measured.seconds)


def loader_table(shape: Shape, folder: Path, epochs: int, run: Callable[..., Any]) -> list[str]:
    titles = {None: "np.load of each file", "npy": "file a video", "packed": "packed store"}
    cells = []
    for threads in (1, 2):
        progress(f"{shape.title}: loaders, {threads} threads (load {load()})")
        measured = run(measure_loaders, tuple(titles), folder, threads, epochs)
        for layout, title in titles.items():
            rate = measured[layout].videos_per_second
            faster = f"{figure(rate / measured[None].videos_per_second)}x" if layout else "-"
            numbers = (f"{rate:,.0f}", faster, size(measured[layout].gathered), size(measured[layout].touched))
            cells.append([title, str(threads), *numbers])
    head = ("", "threads", "videos a second", "faster", "bytes read a step", "of whole pages")
    return [f"## Loader: {shape.title}", "", table(head, cells)]


def header(threads: int, quick: bool) -> str:
    warning = "\n**Quick run** on tiny shapes: its ratios are not those of the real ones.\n" if quick else ""
    return f"""# FrameStack's training against the published loop, {TODAY}

{provenance(*_PACKAGES)}{threads} threads for torch on both sides, and for vltr.
{warning}
- The published loop is `published/framestack_loop.py`, written plainly from its definition. Its time is that of the
  definition in loops, not that of the authors' file. A test compares its loss, gradients and running AP with vltr's.
- NonLinear, batches of {BATCH}, {FRAMES} of {VIDEO_FRAMES} frames, Adam, half of each batch mixed. Rows are float32
  unless they say bfloat16. Published: one float32 .npy file a video. vltr: the float16 store packed from these files,
  and the files. The page cache holds all of them.
- an epoch: the median of {MIXED_EPOCHS} mixed epochs, each with the running AP at its end, each row in a separate
  process. For vltr it is "seconds" in metrics.csv. faster: than the faster row of the published loop. The losses differ
  because weights, frames and partners are drawn differently.
- products alone: the time of the row's matrix products at the separately measured float32 rate of the hidden layer.
  fewer products: those of the published loop over those of the row. If products dominate, no faster loader or meter
  helps.
- Loader: the batches of an epoch without training. bytes read: the gathered frames, or the whole files. of whole pages:
  the pages of {_PAGE} bytes that hold them, which a disk must read. np.load with 1 thread runs in the process itself,
  with 2 in that many workers of torch's DataLoader.
"""


def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def progress(text: str) -> None:
    sys.stderr.write(f"bench_train: {text}\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default="small,full", help="of small,full")
    parser.add_argument("--quick", action="store_true", help="use tiny shapes, to test the benchmark itself")
    parser.add_argument("--threads", type=int, default=num_cpus(), help="for vltr and torch")
    parser.add_argument("--out", nargs="?", type=Path, const=RESULTS, help="also write train-<date>.md there")
    args = parser.parse_args()
    os.environ.update(dict.fromkeys(("VLTR_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(args.threads)))

    known = shapes(args.quick)
    parts = [header(args.threads, args.quick)]
    for name in args.shapes.split(","):
        if name not in known:
            parser.error(f"argument --shapes: expected names among {', '.join(known)}, got {name!r}")
        shape = known[name]
        with tempfile.TemporaryDirectory(prefix="vltr-bench-") as made:
            folder = Path(made)
            progress(f"{shape.title}: making the data")
            shape.write(folder / "npy")
            pack(videolt(folder / "npy", folder / "npy" / "features"), folder / "packed")
            parts += epoch_tables(shape, folder, args.threads, MIXED_EPOCHS, in_process)
            parts += loader_table(shape, folder, MIXED_EPOCHS, in_process)
    text = "\n".join(parts)
    sys.stdout.write(text)
    if args.out:
        path = args.out / f"train-{'quick-' if args.quick else ''}{TODAY}.md"
        write_whole(path, text)
        progress(f"written: {path}")


if __name__ == "__main__":
    main()
