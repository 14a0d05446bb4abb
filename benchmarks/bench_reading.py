"""Readers of score files: ours beside those of pyarrow, pandas and polars, each in a process of its own.

    python benchmarks/bench_reading.py --scale 1 --formats csv --out results.md

The scores are 51,239 x 1,004 at scale 1, with an id column, written with six digits and with all digits, as pandas
writes. Each reader opens a file that is in the page cache and ends with its own kind of table; ours ends with a matrix.
The time excludes imports. Memory is the growth of the peak over the imports. Readers take turns; the table has the
smallest time, with the CPU time and the memory of that run. On a busy machine CPU time tells more.

A format is a line of FORMATS, and a reader a line of READERS; a reader that cannot be imported is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import provenance, write_whole
from measure import PeakMemory
from tables import duration, size, table

NUM_ROWS, NUM_CLASSES = 51_239, 1_004
_ROWS_AT_ONCE = 1_000


# Files


def _write_text(path: Path, rows: int, form: str) -> None:
    """An id column and the scores, as text."""
    rng = np.random.default_rng(0)
    with open(path, "w") as stream:
        stream.write(",".join(["id", *(f"class{column}" for column in range(NUM_CLASSES))]) + "\n")
        for start in range(0, rows, _ROWS_AT_ONCE):
            scores = rng.random((min(_ROWS_AT_ONCE, rows - start), NUM_CLASSES)) ** 3
            if form == "repr":
                lines = (",".join(map(repr, row)) for row in scores.tolist())
            else:
                line = ",".join([form] * NUM_CLASSES)
                lines = (line % tuple(row) for row in scores.tolist())
            stream.writelines(f"video{start + row:07d},{text}\n" for row, text in enumerate(lines))


# Each format: its name, the file's name, and the function that writes the file with so many rows.
FORMATS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "csv": ("six_digits.csv", lambda path, rows: _write_text(path, rows, "%.6g")),
    "csv-all-digits": ("all_digits.csv", lambda path, rows: _write_text(path, rows, "repr")),
}


# Readers


def _ours(use_pyarrow: bool) -> Callable[[Path], Any]:
    import vltr_eval.formats.text as text
    from vltr_eval.formats.sources import Source

    if use_pyarrow:
        import pyarrow.csv  # noqa: F401
    else:
        text._ARROW_FROM = sys.maxsize

    def read(path: Path) -> Any:
        content = text.read_text(Source(path))
        return content.read_matrix(range(1, len(content.columns))), content.read_column(0)

    return read


def _pyarrow() -> Callable[[Path], Any]:
    from pyarrow import csv

    return csv.read_csv


def _pandas() -> Callable[[Path], Any]:
    import pandas

    return pandas.read_csv


def _polars() -> Callable[[Path], Any]:
    import polars

    return polars.read_csv


# Each reader of a format: its name, and the function that imports it and returns what is timed.
READERS: dict[str, dict[str, Callable[[], Callable[[Path], Any]]]] = {
    "csv": {
        "vltr": lambda: _ours(True),
        "vltr without pyarrow": lambda: _ours(False),
        "pyarrow.csv.read_csv": _pyarrow,
        "pandas.read_csv": _pandas,
        "polars.read_csv": _polars,
    },
}
READERS["csv-all-digits"] = READERS["csv"]


def measure_here(format_name: str, reader: str, path: Path) -> dict[str, float] | None:
    """Seconds, CPU seconds and extra bytes of one reading in this process; None if the reader is not installed."""
    try:
        read = READERS[format_name][reader]()
    except ImportError:
        return None
    with PeakMemory(anonymous=False) as memory:
        start, start_cpu = time.perf_counter(), time.process_time()
        content = read(path)
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    del content
    return {"seconds": seconds, "cpu": cpu, "bytes": memory.extra or 0}


def measure(format_name: str, reader: str, path: Path) -> dict[str, float] | None:
    """`measure_here` in a process of its own."""
    command = [sys.executable, __file__, "--measure", format_name, reader, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def rows_of(format_name: str, path: Path, runs: int) -> list[list[str]]:
    """A row of the table for each reader of a format."""
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(runs):
        for reader in READERS[format_name]:
            result = measure(format_name, reader, path)
            if result is not None:
                found.setdefault(reader, []).append(result)
    best = {reader: min(results, key=lambda result: result["seconds"]) for reader, results in found.items()}
    return [
        [
            *(path.name, size(path.stat().st_size), reader),
            *(duration(result["seconds"]), duration(result["cpu"]), size(result["bytes"])),
        ]
        for reader, result in best.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=0.1, help="share of the 51,239 rows")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--runs", type=int, default=3, help="readings by each reader")
    parser.add_argument("--out", type=Path, help="file for the table")
    parser.add_argument("--measure", nargs=3, metavar=("FORMAT", "READER", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, reader, path = arguments.measure
        sys.stdout.write(json.dumps(measure_here(name, reader, Path(path))) + "\n")
        return 0
    head = provenance("numpy", "pyarrow", "pandas", "polars")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.formats:
            file_name, write = FORMATS[name]
            path = Path(folder) / file_name
            write(path, max(1, round(NUM_ROWS * arguments.scale)))
            rows += rows_of(name, path, arguments.runs)
            path.unlink()
    text = head + "\n" + table(["file", "size", "reader", "time", "CPU time", "extra memory"], rows, left=3)
    sys.stdout.write(text)
    if arguments.out:
        write_whole(arguments.out, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
