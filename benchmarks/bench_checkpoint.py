"""Time how long a checkpoint stops the training: written by the training itself, and by the thread from a copy.

    python benchmarks/bench_checkpoint.py --out          # a checkpoint of 1.2 GB: 4 GB of memory, 2.5 GB of $TMPDIR
    python benchmarks/bench_checkpoint.py --megabytes 10

The state has the sizes of a model with Adam: the weights, and two moments for each.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _lib.machine import RESULTS, TODAY, provenance, write_whole
from _lib.tables import duration, table

from vltr_train.runs.checkpoint_writer import CheckpointWriter
from vltr_train.runs.run_folder import RunFolder

ROWS = 1024  # of each weight
LAYERS = 10
DOCUMENT = {"method": "bench", "preset": None, "settings": {}, "dataset": {}}  # of the run


def state_of(megabytes: float) -> dict[str, object]:
    """Return weights and two moments of each, of so many MB in all."""
    numbers = int(megabytes * 1e6 / 4 / 3 / LAYERS / ROWS)
    weights = {f"layer{i}": torch.rand(ROWS, numbers) for i in range(LAYERS)}
    moments = {name: {"exp_avg": torch.rand_like(w), "exp_avg_sq": torch.rand_like(w)} for name, w in weights.items()}
    return {"method": weights, "optimizer": moments}


def seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(megabytes: float, runs: int) -> list[list[str]]:
    """Return the rows of the table. Both ways alternate, so a slower disk affects both."""
    state = state_of(megabytes)
    direct, blocked, whole = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.create(Path(folder) / "run", DOCUMENT)
        with CheckpointWriter(run) as writer:
            for _ in range(1 + runs):
                direct.append(seconds_of(lambda: run.save_checkpoint("checkpoint", state)))
                start = time.perf_counter()
                blocked.append(seconds_of(lambda: writer.save(checkpoint=state)))
                writer.wait()
                whole.append(time.perf_counter() - start)
    first, later = blocked[0], statistics.median(blocked[1:])
    return [
        ["the training writes it", duration(statistics.median(direct[1:])), "-"],
        ["a thread writes it: the first copy", duration(first), duration(whole[0])],
        ["a thread writes it: later copies", duration(later), duration(statistics.median(whole[1:]))],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=1200)
    parser.add_argument("--runs", type=int, default=5, help="after the first, which makes the memory of the copy")
    parser.add_argument("--out", nargs="?", type=Path, const=RESULTS, help="also write checkpoint-<date>.md there")
    args = parser.parse_args()
    head = (f"checkpoint of {args.megabytes:,.0f} MB", "the training waits", "until it is on the disk")
    text = f"""# Checkpoints while the training goes on, {TODAY}

{provenance("torch")}
Medians of {args.runs} checkpoints; nothing is trained meanwhile, so the thread has a processor for itself.

{table(head, measure(args.megabytes, args.runs))}"""
    sys.stdout.write(text)
    if args.out:
        write_whole(args.out / f"checkpoint-{TODAY}.md", text)


if __name__ == "__main__":
    main()
