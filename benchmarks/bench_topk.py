"""Evaluate ranked lists of the size of Amazon-670K from files: time and peak memory, beside easy versions in Python.

    python benchmarks/bench_topk.py --rows 150000 --classes 670000 --out results.md

The files are made first: up to 100 scored classes a row with a long tail, about 5 labels a row, and training counts.
Each line of the table is a process of its own: it reads the files from the page cache, evaluates, and writes the text.
The time excludes imports; memory is the peak of the process over its imports. The easy version sorts each row with
numpy and looks labels up in a set, and has P@k, nDCG@k and PSP@k alone. pyxclib's functions are timed where `xclib` can
be imported; it does not stand in the package index.
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
from _lib.machine import provenance, write_whole
from _lib.measure import PeakMemory
from _lib.tables import duration, size, table

KS = (1, 3, 5)
_ROWS_AT_ONCE = 10_000


def _block(rng: np.random.Generator, rows: int, classes: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, classes and scores of listed pairs, in random order within a row, no class twice."""
    drawn = np.sort((classes * rng.random((rows, k)) ** 4).astype(np.int32), axis=1)
    kept = np.ones(drawn.shape, bool)
    kept[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    return np.nonzero(kept)[0], drawn[kept], rng.random(int(kept.sum()), np.float32)


def make_files(folder: Path, rows: int, classes: int, k: int) -> None:
    """Write the files of a case."""
    from scipy import sparse

    rng = np.random.default_rng(0)
    parts, label_rows, label_classes = [], [], []
    with open(folder / "lists.csv", "w") as stream:
        stream.write("Id,LabelConfidencePairs\n")
        for start in range(0, rows, _ROWS_AT_ONCE):
            count = min(_ROWS_AT_ONCE, rows - start)
            block_rows, listed, scores = _block(rng, count, classes, k)
            parts.append((block_rows + start, listed, scores))
            ends = np.searchsorted(block_rows, np.arange(count + 1))
            pairs = [f"{c} {score:.6g}" for c, score in zip(listed.tolist(), scores.tolist(), strict=True)]
            for row in range(count):
                stream.write(f"row{start + row},{' '.join(pairs[ends[row] : ends[row + 1]])}\n")
            # Three labels of five are listed, those with high scores more often.
            order = np.lexsort((-scores, block_rows))
            rank = np.arange(len(order)) - ends[block_rows[order]]
            hits = order[(rng.random(len(order)) < 0.4 / (1 + rank)) | (rank == 0)]
            others = (classes * rng.random((count, 3)) ** 4).astype(np.int64)
            label_rows += [block_rows[hits] + start, np.repeat(np.arange(count) + start, 3)]
            label_classes += [listed[hits], others.ravel()]
    of_row, listed, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    indptr = np.searchsorted(of_row, np.arange(rows + 1))
    matrix = sparse.csr_matrix((scores, listed, indptr), (rows, classes))
    sparse.save_npz(folder / "lists.npz", matrix, compressed=False)
    cells = np.unique(np.stack([np.concatenate(label_rows), np.concatenate(label_classes)]), axis=1)
    labels = sparse.csr_matrix((np.ones(cells.shape[1], np.uint8), (cells[0], cells[1])), (rows, classes))
    sparse.save_npz(folder / "labels.npz", labels, compressed=False)
    with open(folder / "labels.csv", "w") as stream:
        stream.write("id,labels\n")
        for row in range(rows):
            own = " ".join(map(str, labels.indices[labels.indptr[row] : labels.indptr[row + 1]].tolist()))
            stream.write(f"row{row},{own}\n")
    np.save(folder / "counts.npy", np.bincount(cells[1], minlength=classes) * 3 + 1)


def _ours(lists: str, labels: str) -> Callable[[Path], Any]:
    from vltr_eval.formats import read_train_counts
    from vltr_eval.ranked_lists import evaluate_topk, read_ranked_lists
    from vltr_eval.ranked_lists.files import read_list_labels

    def run(folder: Path) -> str:
        counts = read_train_counts(folder / "counts.npy")
        own = read_list_labels(folder / labels, num_classes=len(counts))
        found = read_ranked_lists(folder / lists, len(counts))
        return evaluate_topk(found, own, k=KS, train_counts=counts, num_train_rows=3 * found.num_rows).to_text()

    return run


def _easy(folder: Path) -> dict[str, float]:
    """P@5, nDCG@5 and PSP@5 by a loop over rows."""
    from scipy import sparse

    lists, labels = (sparse.load_npz(folder / name) for name in ("lists.npz", "labels.npz"))
    counts, rows = np.load(folder / "counts.npy"), lists.shape[0]
    weights = 1 + (np.log(3 * rows) - 1) * 2.5**0.55 * (counts + 1.5) ** -0.55
    discount = 1 / np.log2(np.arange(5) + 2)
    hits, gain, own_weight, best_weight = 0, 0.0, 0.0, 0.0
    for row in range(rows):
        first, last = lists.indptr[row : row + 2]
        listed = lists.indices[first:last][np.argsort(-lists.data[first:last])[:5]]
        own = labels.indices[labels.indptr[row] : labels.indptr[row + 1]]
        found = np.isin(listed, own)
        hits += found.sum()
        gain += discount[: len(listed)][found].sum() / discount[: len(own)].sum()
        own_weight += weights[listed[found]].sum()
        best_weight += np.sort(weights[own])[::-1][:5].sum()
    return {"P": hits / 5 / rows, "nDCG": gain / rows, "PSP": own_weight / best_weight}


def _pyxclib() -> Callable[[Path], Any]:
    from scipy import sparse
    from xclib.evaluation import xc_metrics

    def run(folder: Path) -> Any:
        lists, labels = (sparse.load_npz(folder / name) for name in ("lists.npz", "labels.npz"))
        counts = np.load(folder / "counts.npy")
        weights = 1 + (np.log(3 * lists.shape[0]) - 1) * 2.5**0.55 * (counts + 1.5) ** -0.55
        return xc_metrics.Metrics(labels, weights).eval(lists, 5)

    return run


METHODS: dict[str, Callable[[], Callable[[Path], Any]]] = {
    "vltr, lists.npz and labels.npz": lambda: _ours("lists.npz", "labels.npz"),
    "vltr, lists.csv and labels.csv, joined by id": lambda: _ours("lists.csv", "labels.csv"),
    "pyxclib's Metrics (P, nDCG, PSP, PSnDCG), .npz": _pyxclib,
    "a loop in numpy (P, nDCG, PSP), .npz": lambda: _easy,
}


def measure_here(method: str, folder: Path) -> dict[str, float] | None:
    """Evaluate once in this process; return None without the package."""
    try:
        run = METHODS[method]()
    except ImportError:
        return None
    with PeakMemory(anonymous=False) as memory:
        start, start_cpu = time.perf_counter(), time.process_time()
        run(folder)
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return {"seconds": seconds, "cpu": cpu, "bytes": memory.extra or 0}


def measure(method: str, folder: Path) -> dict[str, float] | None:
    """Run `measure_here` in a separate process."""
    command = [sys.executable, __file__, "--measure", method, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=15_000)
    parser.add_argument("--classes", type=int, default=67_000)
    parser.add_argument("--k", type=int, default=100, help="listed classes of a row, at most")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--folder", type=Path, help="where the files are made, or were (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="file for the table")
    parser.add_argument("--measure", nargs=2, metavar=("METHOD", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        sys.stdout.write(json.dumps(measure_here(arguments.measure[0], Path(arguments.measure[1]))) + "\n")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        if not (folder / "counts.npy").exists():
            make_files(folder, arguments.rows, arguments.classes, arguments.k)
        results = {method: [measure(method, folder) for _ in range(arguments.runs)] for method in arguments.methods}
        best = {
            method: min((one for one in found if one), key=lambda one: one["seconds"], default=None)
            for method, found in results.items()
        }
        rows = [
            [method, duration(one["seconds"]), duration(one["cpu"]), size(one["bytes"])]
            for method, one in best.items()
            if one is not None
        ]
    head = f"{arguments.rows:,} rows, {arguments.classes:,} classes, at most {arguments.k} scores a row\n\n"
    text = (
        provenance("numpy", "scipy") + "\n" + head + table(["method", "time", "CPU time", "peak memory"], rows, left=1)
    )
    sys.stdout.write(text)
    if arguments.out:
        write_whole(arguments.out, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
