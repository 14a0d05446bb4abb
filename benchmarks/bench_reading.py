"""Compare readers of score files: vltr, pyarrow, pandas and polars, each in a separate process.

    python benchmarks/bench_reading.py --scale 1 --formats csv --out results.md

The scores have an id column and 1,004 classes. At scale 1 each file has about 1 GB: text with six digits, text with all
digits as pandas writes it, parquet of float64, and JSON lines of an id and a list. boxes are 12 million detections in
AVA's format, which are also evaluated. Each reader opens a file in the page
cache and returns its kind of table; vltr returns a matrix. The time excludes imports. Memory is the growth of the peak
over the imports. Readers alternate. The table has the smallest time, with the CPU time and the memory of that run. On
a busy machine, compare CPU times.

A format is a line of FORMATS, and a reader a line of READERS. A reader that cannot be imported is skipped.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _lib.machine import provenance, write_whole
from _lib.measure import PeakMemory
from _lib.tables import duration, size, table

NUM_CLASSES = 1_004
_ROWS_AT_ONCE = 1_000


# Files


def _write_text(path: Path, rows: int, form: str) -> None:
    """Write an id column and the scores as text."""
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


def _blocks(rows: int) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield the ids and scores of up to _ROWS_AT_ONCE rows at a time."""
    rng = np.random.default_rng(0)
    for start in range(0, rows, _ROWS_AT_ONCE):
        count = min(_ROWS_AT_ONCE, rows - start)
        yield [f"video{start + row:07d}" for row in range(count)], rng.random((count, NUM_CLASSES)) ** 3


def _write_parquet(path: Path, rows: int) -> None:
    import pyarrow
    from pyarrow import parquet

    names = ["id", *(f"class{column}" for column in range(NUM_CLASSES))]
    writer = None
    for ids, scores in _blocks(rows):
        block = pyarrow.table([pyarrow.array(ids), *map(pyarrow.array, scores.T)], names=names)
        writer = writer or parquet.ParquetWriter(path, block.schema)
        writer.write_table(block, row_group_size=rows)
    if writer is not None:
        writer.close()


def _write_json_lines(path: Path, rows: int) -> None:
    with open(path, "w") as stream:
        for ids, scores in _blocks(rows):
            for name, row in zip(ids, scores, strict=True):
                values = ", ".join([f"{value:.6g}" for value in row])
                stream.write(f'{{"id": "{name}", "scores": [{values}]}}\n')


def _write_boxes(path: Path, rows: int) -> None:
    """Write detections in AVA's format, 120 a frame."""
    rng = np.random.default_rng(0)
    with open(path, "w") as stream:
        for start in range(0, rows, 120_000):
            count = min(120_000, rows - start)
            number = np.arange(start, start + count)
            corners = np.sort(rng.random((count, 2, 2)), axis=1).reshape(count, 4)
            columns = (number // 108_000, 902 + number // 120 % 900, *corners.T, 1 + number % 60, rng.random(count))
            for video, second, x1, y1, x2, y2, c, score in zip(*(column.tolist() for column in columns), strict=True):
                box = f"{x1:.4f},{y1:.4f},{x2:.4f},{y2:.4f}"
                stream.write(f"video{video:05d},{second:04d},{box},{c},{score:.9f}\n")


# Each format: its name, the file's name, its rows at scale 1, and the function that writes the file.
FORMATS: dict[str, tuple[str, int, Callable[[Path, int], None]]] = {
    "csv": ("six_digits.csv", 107_600, lambda path, rows: _write_text(path, rows, "%.6g")),
    "csv-all-digits": ("all_digits.csv", 52_000, lambda path, rows: _write_text(path, rows, "repr")),
    "parquet": ("scores.parquet", 124_000, _write_parquet),
    "jsonl": ("scores.jsonl", 97_500, _write_json_lines),
    "boxes": ("detections.csv", 12_000_000, _write_boxes),
}


# Readers


def _ours(use_pyarrow: bool) -> Callable[[Path], Any]:
    import vltr_eval
    import vltr_eval.formats.text as text

    if use_pyarrow:
        import pyarrow.csv
        import pyarrow.parquet  # noqa: F401
    else:
        text._ARROW_FROM = sys.maxsize
    return vltr_eval.read_scores


def _ours_boxes(evaluated: bool) -> Callable[[Path], Any]:
    """Return the reader of boxes, or the evaluation of a file against part of itself."""
    from vltr_eval.compat import ava
    from vltr_eval.compat.ava.files import read_boxes

    if not evaluated:
        return read_boxes

    def evaluate(path: Path) -> Any:
        return ava.evaluate(path, truth_of(path), labelmap={c: str(c) for c in range(1, 61)})

    return evaluate


def truth_of(path: Path) -> Path:
    """Write each 41st line of a file of detections as its ground truth, once."""
    truth = path.with_suffix(".truth.csv")
    if not truth.exists():
        with open(path) as lines, open(truth, "w") as stream:
            stream.writelines(f"{line.rpartition(',')[0]}\n" for number, line in enumerate(lines) if number % 41 == 0)
    return truth


def _pandas_boxes() -> Callable[[Path], Any]:
    return partial(importlib.import_module("pandas").read_csv, header=None)


def _pyarrow() -> Callable[[Path], Any]:
    from pyarrow import csv

    return csv.read_csv


def _pandas() -> Callable[[Path], Any]:
    import pandas

    return pandas.read_csv


def _polars() -> Callable[[Path], Any]:
    import polars

    return polars.read_csv


# Each reader of a format: its name, and the function that imports it and returns the call to time.
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
READERS["parquet"] = {
    "vltr": lambda: _ours(True),
    "pyarrow.parquet.read_table": lambda: importlib.import_module("pyarrow.parquet").read_table,
    "pandas.read_parquet": lambda: importlib.import_module("pandas").read_parquet,
    "polars.read_parquet": lambda: importlib.import_module("polars").read_parquet,
}
READERS["jsonl"] = {
    "vltr": lambda: _ours(True),
    "pyarrow.json.read_json": lambda: importlib.import_module("pyarrow.json").read_json,
    "pandas.read_json": lambda: partial(importlib.import_module("pandas").read_json, lines=True),
    "polars.read_ndjson": lambda: importlib.import_module("polars").read_ndjson,
}
READERS["boxes"] = {
    "vltr": lambda: _ours_boxes(False),
    "vltr, with the evaluation": lambda: _ours_boxes(True),
    "pandas.read_csv": _pandas_boxes,
}


def measure_here(format_name: str, reader: str, path: Path) -> dict[str, float] | None:
    """Read once in this process; return seconds, CPU seconds and extra bytes, or None without the package."""
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
    """Run `measure_here` in a separate process."""
    command = [sys.executable, __file__, "--measure", format_name, reader, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def rows_of(format_name: str, path: Path, runs: int) -> list[list[str]]:
    """Return a row of the table for each reader of a format."""
    by_reader: dict[str, list[dict[str, float]]] = {}
    for _ in range(runs):
        for reader in READERS[format_name]:
            result = measure(format_name, reader, path)
            if result is not None:
                by_reader.setdefault(reader, []).append(result)
    best = {reader: min(results, key=lambda result: result["seconds"]) for reader, results in by_reader.items()}
    return [
        [
            *(path.name, size(path.stat().st_size), reader),
            *(duration(result["seconds"]), duration(result["cpu"]), size(result["bytes"])),
        ]
        for reader, result in best.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=0.1, help="share of about 1 GB")
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
            file_name, full_rows, write = FORMATS[name]
            path = Path(folder) / file_name
            write(path, max(1, round(full_rows * arguments.scale)))
            if name == "boxes":
                truth_of(path)
            rows += rows_of(name, path, arguments.runs)
            path.unlink()
    text = head + "\n" + table(["file", "size", "reader", "time", "CPU time", "extra memory"], rows, left=3)
    sys.stdout.write(text)
    if arguments.out:
        write_whole(arguments.out, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
