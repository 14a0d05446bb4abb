"""Aggregators, which make one vector of the frames of a clip, and the classifier behind them.

All take features (B, T, D) of any float dtype that the weights can meet (or autocast casts) and an optional mask (B, T)
of bool, True where a frame is kept, and give (B, out_dim). What a mask leaves out must still be finite numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from vltr_train.aggregators.attention import MSA, PSA, Attentive
from vltr_train.aggregators.base import Aggregator, Mean, NonLinear
from vltr_train.aggregators.vlad import NetVLAD, NeXtVLAD

__all__ = [
    "AGGREGATORS",
    "CLUSTERED",
    "MSA",
    "PSA",
    "Aggregator",
    "Attentive",
    "Mean",
    "NeXtVLAD",
    "NetVLAD",
    "NonLinear",
    "VideoClassifier",
    "make_aggregator",
]

AGGREGATORS: Mapping[str, Callable[..., Aggregator]] = {
    "mean": Mean,
    "nonlinear": NonLinear,
    "netvlad": NetVLAD,
    "netvlad-centers": partial(NetVLAD, residual_centers=True),
    "nextvlad": NeXtVLAD,
    "msa": MSA,
    "psa": partial(Attentive, codebook=False),
    "codebook": partial(Attentive, psa=False),
    "psa-codebook": Attentive,
}
"""By the names of a configuration: each takes D and, where it shall not be its own default, dropout."""

CLUSTERED = ("netvlad", "netvlad-centers", "nextvlad", "codebook", "psa-codebook")
"""Those of them that take clusters too."""


def make_aggregator(name: str, dim: int, *, dropout: float | None = None, clusters: int | None = None) -> Aggregator:
    """The aggregator of this name for D features; None is its own default."""
    options = {"dropout": dropout, "clusters": clusters}
    return AGGREGATORS[name](dim, **{key: value for key, value in options.items() if value is not None})


class VideoClassifier(nn.Module):
    """Logits (B, C) of clips: an aggregator and a linear classifier.

    Logits are float32, whatever autocast does to the aggregator: classes are ranked by them, and scores of 16 bits tie.
    """

    classifier: nn.Module

    def __init__(self, aggregator: Aggregator, num_classes: int) -> None:
        super().__init__()
        self.aggregator = aggregator
        self.classifier = nn.Linear(aggregator.out_dim, num_classes)

    @property
    def head(self) -> nn.ModuleList:
        """All that is behind pooled vectors."""
        return nn.ModuleList([*self.aggregator.projection(), self.classifier])

    def reset_classifier(self) -> None:
        """Initialise the linear classifier anew."""
        for module in self.classifier.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()

    def embed(self, features: Tensor) -> Tensor:
        """See `Aggregator.embed`."""
        return self.aggregator.embed(features)

    def classify(self, vectors: Tensor) -> Tensor:
        """Logits (..., C) of pooled vectors (..., P), which may be mixtures of several clips'."""
        projected = self.aggregator.project(vectors)
        with torch.autocast(projected.device.type, enabled=False):
            return self.classifier(projected.float())

    def forward(self, features: Tensor, mask: Tensor | None = None, *, embedded: bool = False) -> Tensor:
        """features: (B, T, D), or frames that `embed` gave. mask: (B, T) of bool, True where a frame is kept."""
        return self.classify(self.aggregator.pool(features if embedded else self.embed(features), mask))
