"""Compare short trainings on the CPU with the same ones on a device: the loss of every epoch, and the mAP on test.

    python tools/compare_training.py                  exit status 1 if a training differs by more than rounding
    python tools/compare_training.py --device cpu     without a GPU, to check this script: one thread beside two

The batches, frames and initial weights are the same on every device; dropout is off, because its draws are not.
The order of float32 sums is the only difference.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from vltr_train import fit, open_dataset
from vltr_train.data.synth import synthesize

METHODS = ("bce", "framestack", "move", "bce:r101-netvlad")
SETTINGS = {"epochs": 2, "batch_size": 32, "train_frames": 10, "test_frames": 10, "dropout": 0.0, "select_on": "last"}
MOST_OF_LOSS = 1e-4  # relative; the CPU with one thread and with two differ by far less
MOST_OF_MAP = 5e-3  # absolute; two test videos whose scores swap move it
_DATA = {"scale": 0.001, "dim": 32, "frames": 12}


@dataclass(frozen=True)
class Trained:
    """The losses of the epochs, and the mAP of a training's end."""

    losses: list[float]
    mean_ap: float


def train(spec: str, data: Path, device: str) -> Trained:
    with tempfile.TemporaryDirectory(prefix="vltr-compare-") as folder:
        run = fit(spec, open_dataset(data), Path(folder) / "run", device=device, quiet=True, **SETTINGS)
        losses = [line["loss"] for line in run.folder.epochs]
        return Trained(losses, run.report.metrics()["mAP"])


def compare(spec: str, data: Path, device: str) -> tuple[str, bool]:
    """Train on both. Return a row of the table, and whether they agree."""
    with threads_of_torch(1):
        here = train(spec, data, "cpu")
    with threads_of_torch(2):
        there = train(spec, data, device)
    off = max(abs(a - b) / abs(a) for a, b in zip(here.losses, there.losses, strict=True))
    mean_ap = abs(here.mean_ap - there.mean_ap)
    agree = off <= MOST_OF_LOSS and mean_ap <= MOST_OF_MAP
    return f"| {spec} | {here.losses[-1]:.6g} | {off:.1e} | {mean_ap:.1e} | {'yes' if agree else '**no**'} |", agree


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def report(rows: list[tuple[str, bool]], device: str) -> str:
    agreeing = sum(agree for _, agree in rows)
    return "\n".join(
        [
            f"{agreeing} of {len(rows)} short trainings on {device} agree with the CPU",
            "",
            f"The losses of {SETTINGS['epochs']} epochs may differ by {MOST_OF_LOSS:g} of them, and the mAP by "
            f"{MOST_OF_MAP:g}.",
            "",
            "| method | last loss | largest difference of a loss, relative | difference of mAP | agree |",
            "|---|---:|---:|---:|---|",
            *(row for row, _ in rows),
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="beside the CPU (default cuda)")
    parser.add_argument("--methods", nargs="+", default=METHODS, help=f"default: {' '.join(METHODS)}")
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.exit(2, "compare_training: torch sees no CUDA device (--device cpu needs none)\n")
    with tempfile.TemporaryDirectory(prefix="vltr-compare-") as folder:
        synthesize(folder, **_DATA)
        rows = [compare(spec, Path(folder), args.device) for spec in args.methods]
    sys.stdout.write(report(rows, args.device))
    return 0 if all(agree for _, agree in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
