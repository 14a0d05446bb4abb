"""Compare containers: time and extra memory of reading and evaluating the same scores from each, beside .npy.

    python benchmarks/bench_containers.py --scale 1 --out results.md

The scores are those of the demo set, 51,239 x 1,004 float32 at scale 1 (206 MB), in the page cache. Each run is a
process of its own: it reads the scores, evaluates them without sampled AP, and prints a checksum of the report, which
must be the same for all. The time excludes imports. Extra memory is the growth of private memory (RssAnon), so pages of
mapped files do not count. Runs alternate, and the table has the smallest time of each.

A case is a line of CASES: a name, a function that writes the file, and whether a large file is simulated: an array that
is decoded goes into a temporary file then, instead of memory.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _lib.machine import provenance, write_whole
from _lib.measure import PeakMemory
from _lib.tables import duration, size, table
from container_records import RECORD_CASES


@dataclass(frozen=True)
class Case:
    """One container.

    Attributes:
        name: The row of the table.
        suffix: The suffix of the file.
        write: Writes the file from scores.npy; None writes it by `vltr-eval convert`.
        options: Options of convert.
        is_large: Decode into a temporary file, as for an array that memory does not hold.
        needs: The package that reads it.
    """

    name: str
    suffix: str
    write: Callable[[Path, Path], None] | None = None
    options: tuple[str, ...] = ()
    is_large: bool = False
    needs: str = "numpy"


def _lzf(source: Path, target: Path) -> None:
    import h5py

    with h5py.File(target, "w") as file:
        scores = np.load(source, mmap_mode="r")
        chunks = (min(1000, len(scores)), scores.shape[1])
        file.create_dataset("scores", data=scores, chunks=chunks, compression="lzf", shuffle=True)


def _gzip(source: Path, target: Path) -> None:
    with open(source, "rb") as stream, gzip.open(target, "wb", 1) as packed:
        shutil.copyfileobj(stream, packed, 1 << 20)


def _zstandard(source: Path, target: Path) -> None:
    import zstandard

    with open(source, "rb") as stream, open(target, "wb") as packed:
        zstandard.ZstdCompressor().copy_stream(stream, packed)


_ROWS = ("--chunk-rows", "1000")
CASES = (
    Case(".npy", ".npy"),
    Case(".npz", ".npz"),
    Case(".h5, contiguous", ".h5", needs="h5py"),
    Case(".h5, gzip and shuffle", ".h5", None, _ROWS, needs="h5py"),
    Case(".h5, gzip and shuffle, as a large file", ".h5", None, _ROWS, is_large=True, needs="h5py"),
    Case(".h5, lzf and shuffle", ".h5", _lzf, needs="h5py"),
    Case(".zarr, zstd", ".zarr", None, _ROWS, needs="zarr"),
    Case(".zarr, zstd, as a large file", ".zarr", None, _ROWS, is_large=True, needs="zarr"),
    Case(".zarr in a .zip", ".zip", None, _ROWS, needs="zarr"),
    Case(".safetensors", ".safetensors"),
    Case(".pt", ".pt", needs="torch"),
    Case(".parquet", ".parquet", needs="pyarrow.parquet"),
    Case(".npy.gz", ".npy.gz", _gzip),
    Case(".npy.zst", ".npy.zst", _zstandard, needs="zstandard"),
    *(Case(name, suffix, write, needs=needs) for name, suffix, write, needs in RECORD_CASES),
)


def measure(path: str, labels: str, needs: str, is_large: bool) -> None:
    """Read and evaluate in this process, and print the time, the extra memory and a checksum of the report."""
    import vltr_eval
    from vltr_eval.formats import tiles

    importlib.import_module(needs)
    if is_large:
        tiles.IN_MEMORY = 0
        tiles._free_memory = lambda: 0
    truth = np.load(labels)
    vltr_eval.evaluate(np.zeros((4, 2), np.float32), np.eye(4, 2), sap=None)
    with PeakMemory(True) as memory:
        start = time.perf_counter()
        scores = vltr_eval.read_scores(path).values
        middle = time.perf_counter()
        report = vltr_eval.evaluate(scores, truth, sap=None)
        end = time.perf_counter()
    digest = hashlib.sha256(report.to_json().encode()).hexdigest()
    sys.stdout.write(json.dumps([middle - start, end - middle, memory.extra, digest]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare containers of scores.")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the demo set (default: 1)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each case (default: 5)")
    parser.add_argument("--out", help="write the table here as well")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        path, labels, needs, kind = args.measure
        measure(path, labels, needs, kind == "large")
        return
    with tempfile.TemporaryDirectory(prefix="vltr-bench-") as name:
        text = compare(Path(name), args.scale, args.runs)
    sys.stdout.write(text)
    if args.out:
        write_whole(Path(args.out), text)


def compare(folder: Path, scale: float, runs: int) -> str:
    """The table of all cases whose packages are here."""
    from vltr_eval.program.cli import main as program
    from vltr_eval.program.demo import make_demo

    demo = make_demo(scale)
    np.save(folder / "scores.npy", demo.scores)
    np.save(folder / "labels.npy", demo.labels)
    cases = [case for case in CASES if importlib.util.find_spec(case.needs.partition(".")[0])]
    paths = {}
    for number, case in enumerate(cases):
        paths[case] = folder / f"case{number}{case.suffix}"
        if case.write is not None:
            case.write(folder / "scores.npy", paths[case])
        elif program(["convert", str(folder / "scores.npy"), str(paths[case]), "--quiet", *case.options]):
            raise SystemExit(f"{case.name}: not written")
    found: dict[Case, list[list[float]]] = {case: [] for case in cases}
    digests = set()
    for _ in range(runs):
        for case in cases:
            command = [sys.executable, __file__, "--measure", str(paths[case]), str(folder / "labels.npy")]
            command += [case.needs, "large" if case.is_large else "small"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            *numbers, digest = json.loads(done.stdout)
            found[case].append(numbers)
            digests.add(digest)
    if len(digests) != 1:
        raise SystemExit("reports differ")
    rows = []
    for case in cases:
        best = min(found[case], key=lambda run: run[0] + run[1])
        stored = _stored(paths[case])
        extra = min(run[2] for run in found[case])
        rows.append([case.name, size(stored), duration(best[0]), duration(best[1]), size(extra)])
    shape = f"{demo.scores.shape[0]:,} x {demo.scores.shape[1]:,} float32, {size(demo.scores.nbytes)}"
    head = ["container", "stored", "read", "evaluate", "extra memory"]
    return f"{provenance()}\n\n{shape}; the reports are the same bytes.\n\n{table(head, rows)}\n"


def _stored(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


if __name__ == "__main__":
    main()
