"""Compare frame_stack and gather_frames with a plain copy of their output and with the published loops.

    python benchmarks/bench_frames.py --device cpu --threads 2 --out results.md

torch makes the copy, into newly allocated memory as the results have. On the CPU new pages cost more than the copy, so
both are also timed into existing memory. GB/s count the output, and each distinct frame in it once: draws with
replacement repeat frames, and the two parts of a clip share some. The published loops are rewritten from their
definition. That of FrameStack runs over the samples of a batch; that of the feature loader reads each video whole and
then picks its frames. Rows alternate, so a drift of the clock affects all. The table has medians.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from published import framestack_loop

import vltr_eval
from vltr_train import frame_stack, gather_frames

_VIDEOS, _VIDEO_FRAMES = 256, 150  # in the store
_MIN_RUNS, _MIN_SECONDS = 7, 1.0

Rows = dict[str, tuple[int, Callable[[], object]]]  # the bytes that a call must move, and the call


def share_read(numbers: torch.Tensor) -> float:
    """Return the share of distinct frames among gathered frames. numbers: each frame holds its number."""
    return torch.unique(numbers).numel() / numbers.numel()


def published_gather(store, offsets, videos, picks):
    """Read each video whole, pick its frames and stack the clips, as a loader of one file a video does."""
    clips = [store[offsets[v] : offsets[v + 1]].clone()[index] for v, index in zip(videos, picks, strict=True)]
    return torch.stack(clips).float()


def frame_stack_rows(device, threads, rows, frames, dims, classes) -> Rows:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(rows, frames, dims, generator=generator).to(device)
    targets = torch.zeros(rows, classes)
    targets[torch.arange(rows), torch.randint(classes, (rows,), generator=generator)] = 1
    targets, rap = targets.to(device), torch.rand(classes, generator=generator).to(device)
    partner = torch.randperm(rows, generator=generator).to(device)
    leaf = features.clone().requires_grad_()
    stacked = frame_stack(leaf, targets, rap, partner, frames).features
    output = torch.empty_like(features)
    numbers = torch.arange(rows * frames, dtype=torch.float64, device=device).reshape(rows, frames, 1)
    read = share_read(frame_stack(numbers, targets, rap, partner, frames).features)
    copied, moved = 2 * features.nbytes, round((read + 1) * features.nbytes)

    inputs = (features, targets, rap, partner, frames)
    return {
        "copy": (copied, lambda: features.clone()),
        "copy, existing memory": (copied, lambda: output.copy_(features)),
        "frame_stack": (moved, lambda: frame_stack(*inputs, threads=threads)),
        "frame_stack, existing memory": (moved, lambda: frame_stack(*inputs, out=output, threads=threads)),
        "frame_stack, its gradient": (
            copied,
            lambda: torch.autograd.grad(stacked, leaf, features, retain_graph=True),
        ),
        "published loop": (moved, lambda: framestack_loop.frame_stack(features, targets, rap, partner, frames)),
    }


def gather_rows(device, threads, rows, frames, dims, dtype) -> Rows:
    rng = np.random.default_rng(0)
    store = torch.randn(_VIDEOS * _VIDEO_FRAMES, dims).to(device, dtype)
    offsets = np.arange(_VIDEOS + 1) * _VIDEO_FRAMES
    videos = rng.integers(0, _VIDEOS, rows)
    picks = np.sort(rng.integers(0, _VIDEO_FRAMES, (rows, frames)))
    arrays = [torch.from_numpy(array).to(device) for array in (offsets, videos, picks)]
    output, source = (torch.empty(rows, frames, dims, device=device) for _ in range(2))
    numbers = torch.arange(len(store), dtype=torch.float64, device=device)[:, None]
    read = share_read(gather_frames(numbers, *arrays))
    copied, moved = 2 * output.nbytes, output.nbytes + round(read * output.numel() * store.itemsize)
    return {
        "copy": (copied, lambda: source.clone()),
        "copy, existing memory": (copied, lambda: output.copy_(source)),
        "gather_frames": (moved, lambda: gather_frames(store, *arrays, dtype="float32", threads=threads)),
        "gather_frames, existing memory": (moved, lambda: gather_frames(store, *arrays, out=output, threads=threads)),
        "published loop": (moved, lambda: published_gather(store, offsets, videos, arrays[2])),
    }


def seconds_of(rows: Rows, device: str) -> dict[str, float]:
    """Return the median seconds of each row; the rows alternate.

    On a device, events give the time, and each call is queued behind enough work to hide its launch.
    """
    spent: dict[str, list[float]] = {name: [] for name in rows}
    for _, call in rows.values():
        call()
    for _ in range(100):
        for name, (_, call) in rows.items():
            if len(spent[name]) < _MIN_RUNS or sum(spent[name]) < _MIN_SECONDS:
                spent[name].append(_seconds(call, device))
    return {name: statistics.median(times) for name, times in spent.items()}


def _seconds(call: Callable[[], object], device: str) -> float:
    if device == "cpu":
        start = time.perf_counter()
        result = call()
        elapsed = time.perf_counter() - start
        del result  # the time to free memory is not measured
        return elapsed
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000)  # keeps the device busy for a millisecond during the launch
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000


def table(title: str, rows: Rows, device: str) -> list[str]:
    seconds = seconds_of(rows, device)
    lines = [f"## {title}", "", "| | ms | GB/s | times the copy | times faster than the published loop |"]
    lines.append("|---|---:|---:|---:|---:|")
    for name, spent in seconds.items():
        copy = seconds["copy, existing memory" if name.endswith("existing memory") or device != "cpu" else "copy"]
        ratio, faster = spent / copy, seconds["published loop"] / spent
        rate = rows[name][0] / spent / 1e9
        lines.append(f"| {name} | {spent * 1e3:.3f} | {rate:.0f} | {ratio:.2f} | {faster:.1f} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shape", default="128,60,2048,1004", help="rows, frames, dims, classes")
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, threads = options.device, options.threads
    rows, frames, dims, classes = map(int, options.shape.split(","))
    size = f"{rows} x {frames} x {dims}"

    name = torch.cuda.get_device_name() if device != "cpu" else f"{platform.machine()}, {threads} threads"
    lines = [f"# Frames: {name}", "", f"vltr {vltr_eval.__version__}, torch {torch.__version__}", ""]
    lines += table(
        f"frame_stack, {size}, {classes} classes, float32",
        frame_stack_rows(device, threads, rows, frames, dims, classes),
        device,
    )
    for dtype in (torch.float32, torch.float16):
        title = f"gather_frames, {size}, {str(dtype).removeprefix('torch.')} store to float32"
        lines += table(title, gather_rows(device, threads, rows, frames, dims, dtype), device)
    sys.stdout.write("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
