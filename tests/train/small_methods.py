"""Methods of ten classes and eight features, and batches for them: what tests of single steps share."""

from __future__ import annotations

import numpy as np
import torch

from vltr_train.data.loader import Batch
from vltr_train.method import Task
from vltr_train.methods import find_method
from vltr_train.samplers import InstanceSampler

B, T, D, C = 8, 6, 8, 10
COUNTS = np.array([600, 501, 500, 300, 150, 101, 100, 44, 7, 3])
TASK = Task(C, D, COUNTS, (500, 100))


def make(method: str, task=TASK, seed=0, **settings):
    torch.manual_seed(seed)
    kind = find_method(method)
    return kind(kind.Config(**{"train_frames": T, "dropout": 0.0} | settings), task)


def make_batch(seed=0, num_rows=B, classes=True) -> Batch:
    """Clips in which class c shows in dimension c; every third video has a second label."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, D, num_rows)
    targets = np.zeros((num_rows, C), np.float32)
    targets[np.arange(num_rows), drawn] = 1
    targets[np.arange(0, num_rows, 3), (drawn[::3] + 1) % C] = 1
    features = rng.standard_normal((num_rows, T, D), np.float32) + 3 * targets[:, None, :D]
    drawn = torch.from_numpy(drawn) if classes else None
    return Batch(torch.from_numpy(features), torch.from_numpy(targets), torch.arange(num_rows), drawn)


def make_batches(method, stage, seed=0, num_rows=B) -> list[Batch]:
    """Return the batches of one step: one for each sampler, with classes if the sampler draws classes."""
    samplers = method.stages()[stage].samplers
    return [
        make_batch(seed + stream, num_rows, classes=not isinstance(sampler, InstanceSampler))
        for stream, sampler in enumerate(samplers)
    ]


def begin(method, stage=-1, epoch=1):
    """A method in an epoch of one of its stages, mixing where it mixes."""
    method.train()
    method.begin_stage(method.stages()[stage])
    method.begin_epoch(epoch, 100 * B)
    return method
