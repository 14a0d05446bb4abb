"""Time to reduce the clips of videos to one row each, relative to one read of them, as Markdown.

    python benchmarks/bench_reduce.py --threads 2 --out
    python benchmarks/bench_reduce.py --quick              few videos, to test the benchmark

Thirty-view tests of 1,004 classes in the dtypes that models write. The clips of a video lie together, or in any order,
as the ranks of a test write them. Beside them: the mean of a pandas groupby, numpy's add.at, and the loop of SlowFast's
TestMeter, which adds clip by clip. The loop runs on some of the clips, and its time is scaled.

Rows alternate in one process, and the shortest run of each counts.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _lib.floor import read_floor
from _lib.machine import RESULTS, TODAY, num_cpus, provenance, write_results
from _lib.tables import duration, figure, size, table

VIEWS, NUM_CLASSES = 30, 1_004
TURNS = 7
LOOP_CLIPS = 3_000  # of SlowFast's loop


def slowfast_loop(scores: np.ndarray, videos: np.ndarray, num_videos: int) -> float:
    """Run the loop of TestMeter, and return the time that it would take for all clips."""
    import torch

    clips = torch.from_numpy(scores[:LOOP_CLIPS].astype(np.float32))
    sums = torch.zeros(num_videos, scores.shape[1])
    start = time.perf_counter()
    for row, video in enumerate(videos[:LOOP_CLIPS].tolist()):
        sums[video] += clips[row]
    return (time.perf_counter() - start) * len(scores) / len(clips)


def pandas_mean(scores: np.ndarray, videos: np.ndarray) -> object:
    import pandas

    return pandas.DataFrame(scores).groupby(videos, sort=False).mean()


def add_at(scores: np.ndarray, videos: np.ndarray, num_videos: int) -> np.ndarray:
    sums = np.zeros((num_videos, scores.shape[1]), np.float32)
    np.add.at(sums, videos, scores)
    return sums / VIEWS


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call took, or those that it returns."""
    start = time.perf_counter()
    found = call()
    return found if isinstance(found, float) else time.perf_counter() - start


def measure(num_videos: int, dtype: str, order: str, threads: int, turns: int) -> dict[str, float]:
    """Return the shortest time of each row."""
    import vltr_eval

    rng = np.random.default_rng(0)
    videos = np.repeat(np.arange(num_videos), VIEWS)
    if order == "shuffled":
        videos = rng.permutation(videos)
    scores = rng.random((len(videos), NUM_CLASSES), np.float32).astype(dtype)
    rows: dict[str, Callable[[], object]] = {"one read": lambda: read_floor(scores, threads)}
    for how in ("mean", "max", "sum", "logmeanexp"):
        rows[f"`reduce_rows`, {how}"] = lambda how=how: vltr_eval.reduce_rows(scores, videos, how, threads=threads)
    if dtype == "float32":
        rows["pandas, groupby mean"] = lambda: pandas_mean(scores, videos)
        rows["numpy, add.at"] = lambda: add_at(scores, videos, num_videos)
        rows["SlowFast's loop (scaled)"] = lambda: slowfast_loop(scores, videos, num_videos)
    best = dict.fromkeys(rows, math.inf)
    for turn in range(turns):
        for name in rows if turn % 2 else reversed(rows):
            if turn < 2 or name.startswith(("one", "`")):
                best[name] = min(best[name], timed(rows[name]))
    return best


def text_of(num_videos: int, dtype: str, order: str, best: dict[str, float]) -> str:
    clips = num_videos * VIEWS
    num_bytes = clips * NUM_CLASSES * np.dtype(dtype).itemsize
    lines = [
        (name, duration(s), f"{clips / s:,.0f}", figure(num_bytes / s / 1e9), figure(s / best["one read"]))
        for name, s in best.items()
    ]
    title = f"## {clips:,} clips of {num_videos:,} videos, {dtype}, {order} ({size(num_bytes)})\n\n"
    return title + table(["", "time", "clips/s", "GB/s", "reads"], lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=2_000)
    parser.add_argument("--threads", type=int, default=num_cpus())
    parser.add_argument("--quick", action="store_true", help="few videos and one turn")
    parser.add_argument(
        "--out", nargs="?", type=Path, const=RESULTS / f"reduce-{TODAY}.md", help="also write the tables to this file"
    )
    args = parser.parse_args()
    num_videos, turns = (args.videos, TURNS) if not args.quick else (20, 1)
    parts = ["# Clips reduced to videos\n\n" + provenance("numpy", "pandas", "torch")]
    for dtype in ("float32", "float16"):
        for order in ("in order", "shuffled"):
            best = measure(num_videos, dtype, order, args.threads, turns)
            parts.append(text_of(num_videos, dtype, order, best))
    write_results("\n".join(parts), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
