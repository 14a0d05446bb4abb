"""Evaluate a dense float16 matrix of very many classes from a mapped file, beside one read of the same bytes.

    python benchmarks/bench_scale.py --rows 20000 --classes 100000 --folder /tmp/scale --out results.md

The file is made first: 4 GB at 20,000 x 100,000. About 5 labels a row have a long tail. The operations
alternate with the system's read() of the file, all from the page cache, and each maps the file anew. The table has the
smallest time and CPU time of each, its rate, its share of the rate of read(), and the peak of anonymous memory, which
leaves out the pages of the file. On a busy machine, compare CPU times. The aim is 60 % of the rate of read().
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _lib.floor import read_floor
from _lib.machine import provenance, write_whole
from _lib.measure import PeakMemory
from _lib.tables import duration, size, table

import vltr_eval
from vltr_eval._engine.labels import Positives

READ = "read() of the file"
_ROWS_AT_ONCE = 500


def make_files(folder: Path, rows: int, classes: int) -> None:
    """Write scores.npy, and labels.npz with the rows and classes of the labels."""
    rng = np.random.default_rng(0)
    label_rows = np.repeat(np.arange(rows), 5)
    label_classes = (classes * rng.random(5 * rows) ** 3).astype(np.int64)
    pairs = np.unique(np.stack([label_rows, label_classes]), axis=1)
    block = rng.normal(size=(_ROWS_AT_ONCE, classes)).astype(np.float32)
    scores = np.lib.format.open_memmap(folder / "scores.npy", "w+", np.float16, (rows, classes))
    for start in range(0, rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, rows)
        # Other rows of the same numbers: new random numbers would take minutes.
        scores[start:stop] = np.roll(block[: stop - start], start * 7919 % classes, axis=1)
    scores[pairs[0], pairs[1]] += np.float16(2)
    scores.flush()
    np.savez(folder / "labels.npz", rows=pairs[0], classes=pairs[1])


def read_file(path: Path, threads: int) -> None:
    """Read the file into memory, 1 MiB at a time, each thread its part."""
    total = path.stat().st_size

    def read(part: int) -> None:
        buffer = bytearray(1 << 20)
        with open(path, "rb", buffering=0) as stream:
            end = total * (part + 1) // threads
            stream.seek(total * part // threads)
            while stream.tell() < end and stream.readinto(buffer):
                pass

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, range(threads)))


def operations(path: Path, positives: Positives, threads: int) -> dict[str, Callable[[], object]]:
    """The operations to time, by name. Each maps the file anew."""
    counts = positives.counts * 3 + 1

    def scores() -> np.ndarray:
        return np.load(path, mmap_mode="r")

    def evaluate(**how: object) -> vltr_eval.Report:
        return vltr_eval.evaluate(scores(), positives, train_counts=counts, threads=threads, **how)

    return {
        READ: lambda: read_file(path, threads),
        "one look at the mapped bytes": lambda: read_floor(scores(), threads),
        "average_precision": lambda: vltr_eval.average_precision(scores(), positives, threads=threads),
        "evaluate: AP, ROC-AUC, Acc@1,5": lambda: evaluate(sap=None),
        "evaluate with exact SAP and its text": lambda: evaluate(sap="exact").to_text(),
    }


@dataclass
class Cost:
    """The smallest time and CPU time of some runs in seconds, and the largest peak memory."""

    seconds: float = math.inf
    cpu: float = math.inf
    memory: int = 0

    def add(self, call: Callable[[], object]) -> None:
        with PeakMemory(anonymous=True) as memory:
            start, start_cpu = time.perf_counter(), time.process_time()
            call()
            seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        self.seconds, self.cpu = min(self.seconds, seconds), min(self.cpu, cpu)
        self.memory = max(self.memory, memory.extra or 0)


def rate_of(scores: np.ndarray, seconds: float) -> str:
    return f"{scores.nbytes / seconds / 1e9:.2f} GB/s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--classes", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5, help="how often all operations are measured, in turn")
    parser.add_argument("--folder", type=Path, help="where the files are made, or were (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="file for the table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        if not (folder / "labels.npz").exists():
            make_files(folder, arguments.rows, arguments.classes)
        scores = np.load(folder / "scores.npy", mmap_mode="r")
        labels = np.load(folder / "labels.npz")
        pairs = vltr_eval.LabelPairs(*scores.shape, labels["rows"], labels["classes"])
        positives = Positives.from_labels(pairs, *scores.shape)
        costs: dict[str, Cost] = {}
        for _ in range(arguments.runs):
            for name, call in operations(folder / "scores.npy", positives, arguments.threads).items():
                costs.setdefault(name, Cost()).add(call)
        floor = costs[READ]
        rows = [
            [
                *(name, duration(cost.seconds), rate_of(scores, cost.seconds), f"{floor.seconds / cost.seconds:.0%}"),
                *(duration(cost.cpu), f"{floor.cpu / cost.cpu:.0%}", size(cost.memory)),
            ]
            for name, cost in costs.items()
        ]
        head = f"{scores.shape[0]:,} x {scores.shape[1]:,} {scores.dtype}, {size(scores.nbytes)}\n\n"
    heading = ["operation", "time", "rate", "of reading", "CPU time", "of reading", "peak memory"]
    text = provenance("numpy") + f"\n{arguments.threads} threads, " + head + table(heading, rows, left=1)
    sys.stdout.write(text)
    if arguments.out:
        write_whole(arguments.out, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
