"""Devices of bench_cuda.py and the times of calls on them: a GPU, and its stand-in of a dry run."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

SECONDS_A_ROW = 0.6
MOST_RUNS = 200


# Devices


class Gpu:
    """The CUDA device."""

    name = "cuda"
    dry = False

    def put(self, array: np.ndarray | torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(array).to("cuda")

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device="cuda")

    def synchronize(self) -> None:
        torch.cuda.synchronize()

    def event(self) -> torch.cuda.Event:
        return torch.cuda.Event(enable_timing=True)

    def hold(self) -> None:
        """Keep the device busy for some milliseconds, so that asynchronous calls queue behind this."""
        torch.cuda._sleep(10_000_000)

    def free_bytes(self) -> int:
        return torch.cuda.mem_get_info()[0]

    @contextmanager
    def peak_of_torch(self) -> Iterator[SimpleNamespace]:
        """Measure the peak bytes of torch's allocator over those at the start."""
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        peak = SimpleNamespace(extra=0)
        yield peak
        peak.extra = torch.cuda.max_memory_allocated() - before

    def kernel_times(self, call: Callable[[], Any]) -> dict[str, float]:
        """Return the profiler's seconds of each kernel and copy of one call, by name."""
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            call()
            torch.cuda.synchronize()
        times: dict[str, float] = {}
        for event in profiler.key_averages():
            if "CUDA" in str(event.device_type) and event.self_device_time_total > 0:
                times[event.key] = times.get(event.key, 0.0) + event.self_device_time_total * 1e-6
        return times


class DryDevice:
    """Stand-in for a device in a dry run: the emulated build, or the CPU."""

    dry = True

    def __init__(self) -> None:
        sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
        from devices import DEVICES, torch_on_device

        self.name = DEVICES[-1]
        self._put = torch_on_device

    def put(self, array: np.ndarray | torch.Tensor) -> torch.Tensor:
        return self._put(torch.as_tensor(array).clone(), self.name)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return self.put(torch.zeros(shape, dtype=dtype))

    def synchronize(self) -> None: ...

    def event(self) -> Any:
        def record() -> None:
            event.at = time.perf_counter()

        event = SimpleNamespace(at=0.0, record=record, elapsed_time=lambda end: (end.at - event.at) * 1e3)
        return event

    def hold(self) -> None: ...

    def free_bytes(self) -> int:
        return 0

    @contextmanager
    def peak_of_torch(self) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(extra=0)

    def kernel_times(self, call: Callable[[], Any]) -> dict[str, float]:
        start = time.perf_counter()
        call()
        return {"all": time.perf_counter() - start}


Device = Gpu | DryDevice


# Timing


@dataclass
class Row:
    """One measured row. A row without times has only its remark."""

    title: str
    wall: list[float] = field(default_factory=list)  # host time of the call and of the wait for its end
    device: list[float] = field(default_factory=list)  # between events on the stream
    kernels: float | None = None  # sum of the kernels alone
    moved: float = 0.0  # bytes that the call must move
    extra_bytes: int | None = None
    difference: float | None = None
    scale: float = 1.0
    remark: str = ""

    @property
    def time(self) -> float | None:
        return statistics.median(self.wall) * self.scale if self.wall else None

    @property
    def device_time(self) -> float | None:
        return statistics.median(self.device) * self.scale if self.device else None


def time_calls(device: Device, row: Row, calls: list[Callable[[], Any]], seconds: float = SECONDS_A_ROW) -> None:
    """Time whole calls, one after another, each on the next of the inputs."""
    for call in calls:
        call()
    start = time.perf_counter()
    while len(row.wall) < 3 or (time.perf_counter() - start < seconds and len(row.wall) < MOST_RUNS):
        call = calls[len(row.wall) % len(calls)]
        begin, end = device.event(), device.event()
        device.synchronize()
        called = time.perf_counter()
        begin.record()
        call()
        end.record()
        device.synchronize()
        row.wall.append(time.perf_counter() - called)
        row.device.append(begin.elapsed_time(end) * 1e-3)
        if device.dry:
            break


def time_queued(device: Device, row: Row, calls: list[Callable[[], Any]]) -> None:
    """Time asynchronous calls: whole calls as `time_calls` does, and device time of calls that are already queued."""
    time_calls(device, row, calls, SECONDS_A_ROW / 2)
    row.device.clear()
    for _ in range(1 if device.dry else 20):
        events = [device.event() for _ in range(len(calls) + 1)]
        device.synchronize()
        device.hold()
        events[0].record()
        for call, event in zip(calls, events[1:], strict=True):
            call()
            event.record()
        device.synchronize()
        row.device += [a.elapsed_time(b) * 1e-3 for a, b in pairwise(events)]


@dataclass
class Bandwidth:
    """The measured bandwidth of device memory in bytes a second, on arrays of `size` bytes."""

    size: int
    copy: float  # counts bytes read and bytes written
    read: float


def measure_bandwidth(device: Device) -> Bandwidth:
    """Measure a copy and a sum of 2 GiB; medians of 20."""
    elements = 1 << (12 if device.dry else 29)
    source, target = device.empty((elements,), torch.float32), device.empty((elements,), torch.float32)
    source.fill_(1.0)
    copy, read = Row("copy"), Row("read")
    for row, call in ((copy, lambda: target.copy_(source)), (read, lambda: source.sum())):
        for _ in range(3):
            call()
        for _ in range(20):
            begin, end = device.event(), device.event()
            begin.record()
            call()
            end.record()
            device.synchronize()
            row.device.append(begin.elapsed_time(end) * 1e-3)
    return Bandwidth(4 * elements, 2 * 4 * elements / copy.device_time, 4 * elements / read.device_time)
