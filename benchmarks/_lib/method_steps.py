"""Time and memory of a step of every method at VideoLT's size, in each of its stages. bench_train_cuda.py runs this.

`vltr_train.fit` trains each method with its defaults. An epoch ends after a few steps, and checkpoints stay in
memory. No step waits for the device; CUDA events mark the start of each step.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from _lib.device_data import Shape, release, synchronize
from _lib.tables import duration, figure, one_line, size, table
from vltr_train.data.dataset import Dataset
from vltr_train.data.label_lists import LabelList
from vltr_train.data.loader import Batch, Loader
from vltr_train.engine import fit
from vltr_train.method import Method, Stage
from vltr_train.methods import all_methods, find_method
from vltr_train.runs.run_folder import RunFolder

PRECISIONS = ("float32", "bfloat16")
VARIANTS = ("bce:r101-netvlad", "meid:r101-netvlad")  # longer pooled vectors than those of the defaults
FIRST = ("framestack", "move", "bce:r101-netvlad")  # in a short time
EPOCHS = 2  # in a stage; the first warms up, and FrameStack does not mix in it
NO_TIME = "not run: no time was left"  # a remark
LEAST_SECONDS = 8.0  # a method does not start with less time


@dataclass
class StageSteps:
    """The steps of a stage's last epoch.

    Attributes:
        title: Name of the stage.
        clips: (streams, B, T).
        marks: The start of each step, then the end of the last.
        peak: Bytes of torch's allocator beyond those before the training.
    """

    title: str
    clips: tuple[int, int, int] = (0, 0, 0)
    marks: list[Any] = field(default_factory=list)
    peak: int = 0

    @property
    def seconds(self) -> float:
        """The median time of a step."""
        return statistics.median(seconds_between(*marks) for marks in pairwise(self.marks))


@dataclass
class Measured:
    """A method, or METHOD:PRESET, in one precision: its stages, or a remark that explains why it has none."""

    spec: str
    precision: str
    stages: list[StageSteps] = field(default_factory=list)
    remark: str = ""


def measure_methods(
    device: torch.device, shape: Shape, data: Dataset, deadline: float, chosen: Sequence[str] = ()
) -> Iterator[Measured]:
    """Measure all methods, or the chosen ones, in float32 and then in bfloat16, until the deadline."""
    specs = chosen or (*all_methods(), *VARIANTS)
    # Each stream keeps the labels on the device. To make them on the host takes longer than a method's steps.
    with patch.object(LabelList, "multi_hot", cache(LabelList.multi_hot)):
        for precision, spec in product(PRECISIONS, sorted(specs, key=lambda spec: spec not in FIRST)):
            found = Measured(spec, precision)
            left = deadline - time.monotonic()
            if left < LEAST_SECONDS:
                found.remark = NO_TIME
            else:
                sys.stderr.write(f"bench_train_cuda: {spec}, {precision} ({left:.0f} s left)\n")
                try:
                    found.stages = stages_of(spec, precision, device, shape, data)
                except (MemoryError, torch.cuda.OutOfMemoryError) as error:
                    found.remark = f"memory did not suffice: {one_line(error)}"
                except Exception as error:  # the other methods still run
                    found.remark = f"**failed**: {one_line(error)}"
            release(device)
            yield found


def stages_of(spec: str, precision: str, device: torch.device, shape: Shape, data: Dataset) -> list[StageSteps]:
    """Train the method briefly; return the steps of each stage."""
    kind = find_method(spec.partition(":")[0])
    with (
        tempfile.TemporaryDirectory(prefix="vltr-bench-") as folder,
        watched(kind, device) as found,
        epochs_of(shape.few),
        checkpoints_in_memory(),
    ):
        fit(
            spec,
            replace(data, test=None),  # no evaluation but that at the end of a stage
            Path(folder) / "run",
            device=str(device),
            quiet=True,
            precision=precision,
            select_on="last",
            **short_settings(kind, device, shape),
        )
    synchronize(device)
    return found


def short_settings(kind: type[Method], device: torch.device, shape: Shape) -> dict[str, int]:
    """Return settings for few epochs in each stage, and on the CPU for small batches and clips."""
    names = [entry.name for entry in fields(kind.Config)]
    settings = {name: EPOCHS for name in names if name.endswith("epochs") and name != "warm_epochs"}
    if device.type == "cpu":
        settings |= {name: shape.batch for name in names if name.endswith("batch_size")} | {"train_frames": shape.clip}
    return settings


@contextmanager
def watched(kind: type[Method], device: torch.device) -> Iterator[list[StageSteps]]:
    """Record the steps of each stage while methods of this class train."""
    on_device, found = device.type == "cuda", []
    begin_stage, begin_epoch, forward, end_epoch = kind.begin_stage, kind.begin_epoch, kind.forward, kind.end_epoch
    there = torch.cuda.memory_allocated() if on_device else 0

    def begin_watched_stage(method: Method, stage: Stage) -> None:
        found.append(StageSteps(stage.name))
        begin_stage(method, stage)

    def begin_watched_epoch(method: Method, epoch: int, num_rows: int) -> None:
        found[-1].marks.clear()
        if on_device:
            torch.cuda.reset_peak_memory_stats()
        begin_epoch(method, epoch, num_rows)

    def watched_forward(method: Method, *batches: Batch) -> torch.Tensor:
        found[-1].marks.append(mark(device))
        found[-1].clips = (len(batches), *batches[0].features.shape[:2])
        return forward(method, *batches)

    def end_watched_epoch(method: Method) -> None:
        found[-1].marks.append(mark(device))
        if on_device:
            found[-1].peak = torch.cuda.max_memory_allocated() - there
        end_epoch(method)

    with patch.multiple(
        kind,
        begin_stage=begin_watched_stage,
        begin_epoch=begin_watched_epoch,
        forward=watched_forward,
        end_epoch=end_watched_epoch,
    ):
        yield found


def mark(device: torch.device) -> Any:
    """Return the current time: on a GPU a recorded event, which does not wait; on the CPU seconds."""
    if device.type == "cpu":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def seconds_between(start: Any, end: Any) -> float:
    return end - start if isinstance(start, float) else start.elapsed_time(end) * 1e-3


def epochs_of(steps: int) -> Any:
    """Return a context in which an epoch ends after this many steps. Its rows are drawn from all videos."""
    make = Loader.__init__

    def made(loader: Loader, *args: Any, **options: Any) -> None:
        make(loader, *args, **options)
        del loader._batches[steps:]

    return patch.object(Loader, "__init__", made)


@contextmanager
def checkpoints_in_memory() -> Iterator[None]:
    """Keep checkpoints in memory: they are not part of a step, and those of a VLAD take longer than all its steps."""
    kept: dict[str, Any] = {}

    def keep(_: RunFolder, name: str, state: Any) -> None:
        kept[name] = state
        if name == "checkpoint" and "next_best" in kept:  # as on a disk
            kept["best"] = kept.pop("next_best")

    with (
        patch.object(RunFolder, "save_checkpoint", keep),
        patch.object(RunFolder, "load_checkpoint", lambda _, name: kept[name]),
    ):
        yield


# The report


def method_section(every: list[Measured], shape: Shape, num_labels: int) -> list[str]:
    """Return the lines of the section. num_labels: n x C, one byte each on the device."""
    return [
        "## A step of each method",
        "",
        "`vltr_train.fit` with the defaults of each method or preset. An epoch ends after "
        f"{shape.few} steps, and its videos are drawn from all. The time of a step is the median over epoch {EPOCHS} "
        "of a stage, from the start of a step to the start of the next, by the device's clock; the host does not "
        "wait. Videos are those of one stream, as in metrics.csv. Memory is the peak of torch's allocator beyond the "
        "frames: weights, optimizer, activations, prepared batches, and for each stream the labels of all videos "
        f"({size(num_labels)}). There is no validation list, so ava_two_stage trains its judge and then chooses head "
        "classes by counts.",
        "",
        method_table(every),
    ]


def method_table(every: list[Measured]) -> str:
    head = ["method", "stage", "precision", "streams x rows x frames", "step", "videos/s", "peak memory", "remark"]
    specs = list(dict.fromkeys(found.spec for found in every))
    cells = []
    for found in sorted(every, key=lambda found: specs.index(found.spec)):
        if found.remark:
            cells.append([found.spec, "-", found.precision, *["-"] * 4, found.remark])
        for stage in found.stages:
            rate, memory = figure(stage.clips[1] / stage.seconds), size(stage.peak) if stage.peak else "-"
            clips = " x ".join(map(str, stage.clips))
            cells.append([found.spec, stage.title, found.precision, clips, duration(stage.seconds), rate, memory, ""])
    return table(head, cells, left=3)
