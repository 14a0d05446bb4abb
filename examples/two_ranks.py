"""Evaluate on two ranks of torch.distributed and get the report of one process, byte for byte.

Run: python examples/two_ranks.py

1,001 rows do not divide by two, so the DistributedSampler repeats one. `Evaluator` gets the ids of the rows and counts
a repeated row once. Use the same code under torchrun, without `spawn`. No scores leave their rank.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.multiprocessing import spawn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import vltr_eval

NUM_ROWS, NUM_CLASSES, NUM_RANKS = 1001, 12, 2


def make_data(seed=0):
    """Scores (N, C) float32 and labels (N, C) uint8, the same on every rank."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((NUM_ROWS, NUM_CLASSES)) < 0.1).astype(np.uint8)
    return (rng.standard_normal(labels.shape) + labels).astype(np.float32), labels


def evaluate_share(rank, folder):
    """Evaluate the rows of this rank; `compute` joins the ranks."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=NUM_RANKS)
    rows = TensorDataset(*map(torch.from_numpy, make_data()), torch.arange(NUM_ROWS))
    sampler = DistributedSampler(rows, shuffle=True, seed=3)
    with vltr_eval.Evaluator(NUM_CLASSES, sap=5) as evaluator:  # the block makes all ranks fail together
        for scores, labels, ids in DataLoader(rows, batch_size=64, sampler=sampler):
            evaluator.update(scores, labels, ids)
        report = evaluator.compute()
    Path(folder, f"rank{rank}.json").write_text(report.to_json())
    print(f"rank {rank}: {evaluator.num_rows} rows, mAP {report.metrics()['mAP']:.6f}", flush=True)
    dist.destroy_process_group()


def main():
    alone = vltr_eval.evaluate(*make_data(), sap=5)
    with tempfile.TemporaryDirectory() as folder:
        spawn(evaluate_share, (folder,), nprocs=NUM_RANKS)
        reports = [Path(folder, f"rank{rank}.json").read_text() for rank in range(NUM_RANKS)]
    print(f"one process: {NUM_ROWS} rows, mAP {alone.metrics()['mAP']:.6f}")
    print(f"ranks whose JSON equals that of one process: {sum(text == alone.to_json() for text in reports)}")


if __name__ == "__main__":
    main()
