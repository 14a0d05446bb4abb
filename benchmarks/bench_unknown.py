"""Time an evaluation with unknown labels: sparse (2 %) and dense (50 %) masks beside none, and a loop over the classes.

    python benchmarks/bench_unknown.py --rows 20000 --classes 1000 --threads 2 --out results.md

The loop is the easy way: for each class, delete the rows that do not know it, then call the metric of one column. It
runs with scikit-learn where that is installed, and with `vltr_eval` itself. Rows alternate, so a drift of the machine
affects all. The table has the minimum of the runs. Memory is that of the unknown cells.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

import vltr_eval
from vltr_eval._engine.label_marks import read_positives

SHARES = {"none": 0.0, "sparse, 2 %": 0.02, "dense, 50 %": 0.5}


def loop_over_classes(metric, scores, labels, known) -> np.ndarray:
    """Return the metric of each class on the rows that know it."""
    return np.array([metric(labels[known[:, c], c], scores[known[:, c], c]) for c in range(scores.shape[1])])


def peers() -> dict[str, Callable]:
    """Return the metrics of one column that the loop calls."""
    found = {"vltr_eval": lambda truth, scores: vltr_eval.average_precision(scores, truth)[0]}
    try:
        from sklearn.metrics import average_precision_score
    except ImportError:
        return found
    return found | {"scikit-learn": average_precision_score}


def run(rows: int, classes: int, threads: int | None, runs: int) -> list[str]:
    rng = np.random.default_rng(0)
    labels = rng.random((rows, classes)) < 0.01
    scores = (labels + rng.normal(size=labels.shape)).astype(np.float32)
    calls: dict[str, Callable[[], object]] = {}
    memory = {}
    for name, share in SHARES.items():
        known = rng.random(labels.shape) >= share
        mask = None if share == 0 else known
        positives = read_positives(labels, rows, classes, mask=mask)
        unknown = positives.unknown
        arrays = [] if unknown is None else [unknown.indptr, unknown.rows, unknown.bits]
        memory[name] = sum(array.nbytes for array in arrays if array is not None)
        calls[f"rank table, mask read before: {name}"] = lambda p=positives: vltr_eval.rank_table(
            scores, p, threads=threads
        )
        calls[f"evaluate: {name}"] = lambda m=mask: vltr_eval.evaluate(scores, labels, mask=m, threads=threads)
        for peer, metric in peers().items() if share else ():
            calls[f"loop over classes, AP alone, {peer}: {name}"] = lambda m=metric, k=known: loop_over_classes(
                m, scores, labels, k
            )
    best = dict.fromkeys(calls, np.inf)
    for _ in range(runs):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    lines = ["| call and mask | seconds | to none |", "|---|---|---|"]
    for name, seconds in best.items():
        call, _, mask = name.rpartition(": ")
        base = best.get(f"{call}: none")
        lines.append(f"| {name} | {seconds:.3f} | {'' if base is None else f'{seconds / base:.2f}'} |")
    cells = rows * classes
    lines += ["", "| mask | bytes of the unknown cells | bits a cell |", "|---|---|---|"]
    lines += [f"| {name} | {size:,} | {8 * size / cells:.2f} |" for name, size in memory.items()]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="No positive class")
    text = "\n".join(run(args.rows, args.classes, args.threads, args.runs)) + "\n"
    sys.stdout.write(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
