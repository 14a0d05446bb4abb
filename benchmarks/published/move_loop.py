"""MOVE's training step (arXiv 2211.13471) on the CPU, written plainly from its definition.

It keeps the slow parts on purpose. It draws frames one sample at a time as lists of indices. It computes keys and
values of all frames for two queries. The codebook gets two copies of the clips with zeros in them, and the meters of
classes take one number at a time.

Legend: B rows of a batch, T frames, D features, K clusters, C classes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from published.framestack_loop import Clock, accuracy
from published.vlad import NetVLAD
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

DRAWS = 5  # sets of frames a sample: two queries, the keys, two views of the codebook
HIDDEN = 2048  # units before the classifier, for every D


class SelfAttentive(nn.Module):
    """Attention of queries over frames: vectors (B, Q, D), each the attended value plus the query."""

    def __init__(self, dim: int, dropout: float, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        self.attention_dropout, self.output_dropout = nn.Dropout(dropout), nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, frames: Tensor, queries: Tensor, kept: Tensor) -> Tensor:
        """frames: (B, T, D). queries: (B, Q, D). kept: (B, 1, T), 0 at frames without attention."""
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, queries), (self.key, frames), (self.value, frames))
        )
        scores = (q / q.shape[-1] ** 0.5) @ k.transpose(2, 3)
        scores = scores.masked_fill(kept.unsqueeze(1) == 0, -1e9)
        found = (self.attention_dropout(scores.softmax(3)) @ v).transpose(1, 2).flatten(2)
        return self.norm(self.output_dropout(self.output(found)) + queries)


class CodebookAttentive(NetVLAD):
    """The codebook: vectors (B, H) of two views of each clip."""

    def forward(self, frames: Tensor, views: Sequence[Sequence[Sequence[int]]]) -> tuple[Tensor, Tensor]:
        """frames: (B, T, D). views: for each sample, the frames that its two views keep."""
        num_rows, num_frames, _ = frames.shape
        normal = self.normal(frames).detach()
        copies = [normal.clone(), normal.clone()]
        for i in range(num_rows):
            for copy, picks in zip(copies, views[i], strict=True):
                blank = torch.ones(num_frames)
                blank[picks] = 0
                copy[i, blank.nonzero().flatten()] = 0
        first, second = self.encode(torch.cat(copies)).split(num_rows)
        return first, second


class Aggregators(nn.Module):
    """Attention, codebook, and the hidden layer of the classifier."""

    def __init__(self, dim: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.psa, self.codebook = SelfAttentive(dim, attention_dropout), CodebookAttentive(dim)
        self.hidden = nn.Sequential(nn.Linear(dim + 1024, HIDDEN), nn.ReLU(), nn.Dropout(dropout))


class Model(nn.Module):
    def __init__(self, dim: int, num_classes: int, dropout: float = 0.5, attention_dropout: float = 0.1) -> None:
        super().__init__()
        self.aggregator = Aggregators(dim, dropout, attention_dropout)
        self.classifier = nn.Linear(HIDDEN, num_classes)


def class_constants(
    counts: np.ndarray, num_frames: int, lowest: float = 3.0, bias: float = 0.5
) -> tuple[list[float], Tensor]:
    """Return, for each class, the fewest frames of a sample and the factor of its label."""
    shares = counts / counts.sum()
    tau = (shares - shares.min()) / (shares.max() - shares.min())
    return [max(t * num_frames, lowest) for t in tau], torch.tensor(1 - tau + bias, dtype=torch.float32)


def draw_frames(labels: list[list[int]], bounds: list[float], num_frames: int) -> list[list[list[int]]]:
    """Draw `DRAWS` lists of distinct frames for each sample. The labels bound the random length of each list."""
    drawn = []
    for classes in labels:
        lowest = int(sum(bounds[c] for c in classes) / len(classes))
        sizes = [random.randint(lowest, num_frames) for _ in range(DRAWS)]
        drawn.append([random.sample(range(num_frames), count) for count in sizes])
    return drawn


class ClassMeters:
    """Meters of each class over its videos: hits among the first 1 and 5, and the mean score; also over all videos."""

    def __init__(self, num_classes: int) -> None:
        self.hits = {k: torch.zeros(num_classes) for k in (1, 5)}
        self.scores, self.videos = torch.zeros(num_classes), torch.zeros(num_classes)
        self.scores_of_all, self.videos_of_all = torch.zeros(num_classes), 0

    def add(self, logits: Tensor, targets: Tensor, labels: list[list[int]]) -> None:
        scores, top = torch.sigmoid(logits), logits.topk(5, dim=1).indices
        self.scores_of_all += scores.sum(0)
        self.videos_of_all += len(scores)
        for i, classes in enumerate(labels):
            for k, hits in self.hits.items():
                chosen = torch.zeros(targets.shape[1])
                chosen[top[i, :k]] = 1
                hit = float(len((chosen * targets[i]).nonzero()) > 0)
                for c in classes:
                    hits[c] += hit
            for c in classes:
                self.scores[c] += scores[i, c].item()
                self.videos[c] += 1


@dataclass
class Step:
    """A step of training.

    bounds, factors: from `class_constants`. Arguments can replace the draws: frames as `draw_frames` returns them, the
    share of the first view, the partners (B,) int64, and the clip's share in the mix with its partner.
    """

    model: Model
    optimizer: torch.optim.Optimizer
    bounds: list[float]
    factors: Tensor
    meters: ClassMeters
    clock: Clock = field(default_factory=Clock)

    def __call__(
        self,
        features: Tensor,
        targets: Tensor,
        labels: list[list[int]],
        *,
        drawn: list[list[list[int]]] | None = None,
        beyond: float | None = None,
        partner: Tensor | None = None,
        share: float | None = None,
    ) -> float:
        """Return the loss. labels: the classes of each sample, as in targets."""
        with self.clock.part("draw"):
            num_rows, num_frames, _ = features.shape
            drawn = draw_frames(labels, self.bounds, num_frames) if drawn is None else drawn
            beyond = np.random.beta(2, 2) + 1 if beyond is None else beyond  # noqa: NPY002 as published
            share = np.random.beta(1, 1) if share is None else share  # noqa: NPY002 as published
            partner = torch.randperm(num_rows) if partner is None else partner
        with self.clock.part("forward"):
            logits = self.logits(features, drawn, beyond, partner, share)
            mixed = ((share * targets + (1 - share) * targets[partner]) * self.factors).clamp(0, 1)
            loss = binary_cross_entropy_with_logits(logits, mixed)
            said = loss.item()
        with self.clock.part("meters"):
            accuracy(logits.detach(), targets)
            self.meters.add(logits.detach(), targets, labels)
        with self.clock.part("backward"):
            self.optimizer.zero_grad()
            loss.backward()
        with self.clock.part("update"):
            self.optimizer.step()
        return said

    def logits(
        self, features: Tensor, drawn: list[list[list[int]]], beyond: float, partner: Tensor, share: float
    ) -> Tensor:
        num_rows, num_frames, dim = features.shape
        queries, kept = torch.zeros(num_rows, 2, dim), torch.ones(num_rows, 1, num_frames)
        for i, (first, second, keys, *_) in enumerate(drawn):
            queries[i, 0] = features[i][first].mean(0)
            queries[i, 1] = features[i][second].mean(0)
            kept[i, 0, keys] = 0  # the keys leave out the drawn frames
        aggregator = self.model.aggregator
        prototypes = aggregator.psa(features, queries, kept)
        codes = aggregator.codebook(features, [picks[3:] for picks in drawn])
        u, v = (torch.cat([prototypes[:, view], codes[view]], 1) for view in range(2))
        vectors = beyond * u + (1 - beyond) * v
        vectors = share * vectors + (1 - share) * vectors[partner]
        return self.model.classifier(aggregator.hidden(vectors))
