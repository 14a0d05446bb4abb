"""VideoLT's training by FrameStack (arXiv 2105.02668) on the CPU, written plainly from its definition.

It keeps the slow parts on purpose: it reads each video whole, mixes and scores samples one by one, classifies every
frame before the mean, and sorts classes one by one, all of it twice.

Legend: B rows of a batch, T frames, D features, C classes, n training videos.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from published.torchnet import APMeter
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, Dataset


class VideoDataset(Dataset):
    """Items (id, frames (T, D), multi-hot (C,) float64) of a list "<id> <class>,<class>" and a folder of <id>.npy."""

    def __init__(self, list_file: str | Path, folder: str | Path, num_classes: int, num_frames: int) -> None:
        self.rows = [line.split() for line in Path(list_file).read_text().splitlines()]
        self.folder, self.num_frames = Path(folder), num_frames
        self.one_hot = np.eye(num_classes)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[str, np.ndarray, np.ndarray]:
        name, classes = self.rows[row]
        frames = np.load(self.folder / f"{name}.npy")
        picks = np.sort(np.random.randint(0, len(frames), size=self.num_frames))  # noqa: NPY002 as published
        return name, frames[picks], sum(self.one_hot[int(label)] for label in classes.split(","))


class NonlinearClassifier(nn.Module):
    """A classifier of each frame and the mean over the frames: clips (B, T, D) to logits (B, C)."""

    def __init__(self, dim: int, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.hidden, self.classifier = nn.Linear(dim, dim), nn.Linear(dim, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.hidden(features).relu())).mean(1)


def frame_stack(
    features: Tensor, targets: Tensor, rap: Tensor, partner: Tensor, clip_length: int
) -> tuple[Tensor, Tensor]:
    """Mix clips (B, L, D) and labels (B, C) one sample at a time. partner: (B,) int64.

    A sample has one scalar share, two index arrays for its frames, and a clip of two pieces.
    """
    scores = (targets * rap).mean(dim=1)
    clips, labels = [], []
    for i, j in enumerate(partner.tolist()):
        both = scores[i] + scores[j]
        share = scores[i] / both if both >= 1e-5 else 0.5
        theirs = int(share * clip_length)
        pieces = []
        for row, count in ((j, theirs), (i, clip_length - theirs)):
            index = torch.from_numpy(np.linspace(0, features.shape[1] - 1, count).astype(np.int64))
            pieces.append(features[row][index.to(features.device)])
        clips.append(torch.cat(pieces))
        labels.append((1 - share) * targets[i] + share * targets[j])
    return torch.stack(clips), torch.stack(labels)


def focal_loss(logits: Tensor, targets: Tensor, gamma: float = 1.0) -> Tensor:
    entropy = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return ((1 - torch.exp(-entropy)) ** gamma * entropy).mean()


def accuracy(logits: Tensor, targets: Tensor, ks: tuple[int, ...] = (1, 5)) -> list[float]:
    """Return, for each k, the percentage of rows that have a true class among their first k."""
    top = logits.topk(max(ks), dim=1).indices
    percents = []
    for k in ks:
        hits = 0
        for i in range(len(targets)):
            chosen = torch.zeros(targets.shape[1])
            chosen[top[i, :k]] = 1
            if len((chosen * targets[i]).nonzero()):
                hits += 1
        percents.append(100 * hits / len(targets))
    return percents


@dataclass
class Clock:
    """The seconds of each part of the loop."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


@dataclass
class Step:
    """A step of training. rap: running AP (C,), or None to mix nothing."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    meter: APMeter
    ratio: float = 0.5
    clip_norm: float = 20.0
    clock: Clock = field(default_factory=Clock)

    def __call__(self, features: Tensor, targets: Tensor, rap: Tensor | None, partner: Tensor | None = None) -> float:
        """Return the loss; the clipped gradients stay. partner: of the mixed rows, default a permutation."""
        with self.clock.part("mix"):
            mixed, labels = self.mixed(features, targets, rap, partner)
        with self.clock.part("forward"):
            logits = self.model(mixed)
            loss = focal_loss(logits, labels)
            said = loss.item()
        with self.clock.part("clean forward"), torch.no_grad():
            clean = self.model(features).sigmoid()
        with self.clock.part("meters"):
            accuracy(logits.detach(), targets)
            self.meter.add(clean, targets)
        with self.clock.part("backward and update"):
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
            self.optimizer.step()
        return said

    def mixed(
        self, features: Tensor, targets: Tensor, rap: Tensor | None, partner: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the batch with its first rows stacked with each other."""
        if rap is None:
            return features, targets
        count = int(len(features) * self.ratio)
        partner = torch.randperm(count) if partner is None else partner
        clips, labels = frame_stack(features[:count], targets[:count], rap, partner, features.shape[1])
        return torch.cat([clips, features[count:]]), torch.cat([labels, targets[count:]])


@dataclass
class Epoch:
    """The result of an epoch. rap: running AP (C,). parts: seconds by part."""

    seconds: float
    loss: float
    rap: Tensor
    parts: dict[str, float]


def train_epochs(
    list_file: str | Path,
    folder: str | Path,
    num_classes: int,
    dim: int,
    *,
    epochs: int,
    batch_size: int = 128,
    num_frames: int = 60,
    dropout: float = 0.5,
    lr: float = 1e-4,
    num_workers: int = 0,
) -> list[Epoch]:
    """Train a `NonlinearClassifier`. The first epoch is not mixed, because there is no running AP yet."""
    dataset = VideoDataset(list_file, folder, num_classes, num_frames)
    loader = DataLoader(dataset, batch_size, shuffle=True, num_workers=num_workers)
    model = NonlinearClassifier(dim, num_classes, dropout)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    rap, found = None, []
    for _ in range(epochs):
        start = time.perf_counter()
        step = Step(model, optimizer, APMeter())
        model.train()
        total, batches = 0.0, iter(loader)
        for _ in range(len(loader)):
            with step.clock.part("load"):
                _, features, targets = next(batches)
                targets = targets.float()
            total += step(features, targets, rap) * len(targets)
        with step.clock.part("meters"):
            rap = step.meter.value()
            rap = step.meter.value()  # the published code computes it twice: to print it and to use it
        found.append(Epoch(time.perf_counter() - start, total / len(dataset), rap, dict(step.clock.seconds)))
    return found
