"""Time all conventions of average precision beside one evaluation of the same input, as Markdown.

    python benchmarks/bench_conventions.py --threads 2 --out
    python benchmarks/bench_conventions.py --quick            shrunk shapes, to test the benchmark

Three inputs a shape: scores without mixed ties; scores of two digits, which tie in every class; and logits, for which a
sigmoid and shorter formats are computed as well. Calls alternate in one process, and the shortest run of each counts.
The target is six times one evaluation.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _lib.machine import RESULTS, TODAY, provenance, write_results
from _lib.tables import duration, table

import vltr_eval

TARGET = 6.0
SHAPES = ((20_000, 500), (51_239, 1_004))
LABELS_PER_ROW = 1.1  # as in VideoLT


def inputs_of(rows: int, classes: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return labels, and scores by the name of the input."""
    rng = np.random.default_rng(0)
    labels = rng.random((rows, classes), np.float32) < LABELS_PER_ROW / classes
    labels[np.arange(classes) % rows, np.arange(classes)] = True
    logits = rng.standard_normal((rows, classes), np.float32)
    logits += 2 * labels
    probabilities = 1 / (1 + np.exp(-logits))
    return labels, {
        "probabilities": probabilities,
        "two digits": np.round(probabilities, 2),
        "logits": 8 * logits,
    }


def shortest(calls: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Return the seconds of the shortest run of each call; the calls alternate."""
    best = dict.fromkeys(calls, np.inf)
    for _ in range(runs):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def measure(shapes: list[tuple[int, int]], threads: int | None, runs: int) -> list[list[str]]:
    """Return a row of the table for each shape and input."""
    found = []
    for rows, classes in shapes:
        labels, inputs = inputs_of(rows, classes)
        for name, scores in inputs.items():
            sys.stderr.write(f"{rows} x {classes}, {name}\n")
            best = shortest(
                {
                    "evaluate": lambda s=scores, y=labels: vltr_eval.evaluate(s, y, threads=threads),
                    "conventions": lambda s=scores, y=labels: vltr_eval.conventions(s, y, threads=threads),
                },
                runs,
            )
            ratio = best["conventions"] / best["evaluate"]
            found.append(
                [
                    f"{rows:,} x {classes:,}, {name}",
                    duration(best["evaluate"]),
                    duration(best["conventions"]),
                    f"{ratio:.1f}",
                    "met" if ratio <= TARGET else "missed",
                ]
            )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    default = RESULTS / f"conventions-{TODAY}.md"
    parser.add_argument("--out", nargs="?", type=Path, const=default, default=None, metavar="FILE")
    args = parser.parse_args()
    shapes = [(200, 20)] if args.quick else list(SHAPES)
    head = ("input", "evaluate", "conventions", "ratio", f"target {TARGET:g}")
    rows = table(head, measure(shapes, args.threads, args.runs))
    text = f"# Conventions beside one evaluation\n\n{provenance('numpy')}\n\n{rows}\n"
    write_results(text, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
