"""Aggregators, which pool the frames of a clip into one vector, and the classifier on top of them.

Each takes features (B, T, D) of the dtype of the weights (or of any float dtype under autocast), and an optional mask
(B, T) of bool that is True for frames to keep. It returns (B, out_dim). Masked frames must still be finite numbers.

Features and masks are tensors, arrays of numpy or another library, or lists. An array is read without a copy. Results
are tensors. Gradients flow to tensors alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vltr_eval._base.arguments import nearest_hint
from vltr_train.aggregators.attention import MSA, PSA, Attentive
from vltr_train.aggregators.base import Aggregator, Mean, NonLinear, check_clips
from vltr_train.aggregators.vlad import NetVLAD, NeXtVLAD

__all__ = [
    "AGGREGATORS",
    "AGGREGATOR_NOTES",
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
    "psa-codebook-centers": partial(Attentive, residual_centers=True),
}
"""The aggregators by their names in a configuration. Each takes D and, optionally, ``dropout``."""

AGGREGATOR_NOTES: Mapping[str, str] = {
    "mean": "the mean of the frames",
    "nonlinear": "a linear layer and a ReLU on each frame, then the mean (Nonlinear of VideoLT)",
    "netvlad": "NetVLAD with a gate instead of cluster centers, as in VideoLT's published code",
    "netvlad-centers": "NetVLAD with the gate, of frames minus cluster centers",
    "nextvlad": "NeXtVLAD, which is VLAD of groups of a frame's features (MEID's rows of Charades)",
    "msa": "self-attention with each frame as a query, then nonlinear (Table 5 of MOVE)",
    "psa": "self-attention with the mean frame as the only query, and a linear layer (MOVE)",
    "codebook": "MOVE's codebook alone, which is netvlad and a linear layer",
    "psa-codebook": "psa and codebook side by side (Agg of MOVE's tables)",
    "psa-codebook-centers": "psa-codebook with cluster centers in the codebook (Eq. 2 of MOVE)",
}
"""A phrase for each aggregator, in the order of `AGGREGATORS`: the choices of the setting ``aggregator``."""

CLUSTERED = ("netvlad", "netvlad-centers", "nextvlad", "codebook", "psa-codebook", "psa-codebook-centers")
"""The names of the aggregators that also take ``clusters``."""


def make_aggregator(name: str, dim: int, *, dropout: float | None = None, clusters: int | None = None) -> Aggregator:
    """Make an aggregator by its name.

    Args:
        name: A name of `AGGREGATORS`.
        dim: D, the numbers of a frame's feature vector.
        dropout: The dropout; None for the aggregator's own default.
        clusters: The number of clusters; None for the default. Only the aggregators of `CLUSTERED` take it.

    Returns:
        The aggregator, with weights of torch's present seed.

    Raises:
        ValueError: The name is unknown, a number is outside its range, or the aggregator has no clusters.

    Example:
        >>> make_aggregator("netvlad", 16, clusters=4).out_dim
        1024
        >>> make_aggregator("mean", 2).eval()([[[1.0, 2.0], [3.0, 6.0]]])
        tensor([[2., 4.]])
    """
    if not isinstance(name, str) or name not in AGGREGATORS:
        hint = nearest_hint(name, AGGREGATORS) if isinstance(name, str) else ""
        raise ValueError(f"name: expected one of {', '.join(AGGREGATORS)}, got {name!r}{hint}")
    if dim < 1:
        raise ValueError(f"dim: expected at least 1, got {dim}")
    if dropout is not None and not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected from 0 to below 1 or None, got {dropout}")
    if clusters is not None and (clusters < 1 or name not in CLUSTERED):
        allowed = "at least 1 or None" if name in CLUSTERED else f"None for {name}, which has no clusters"
        raise ValueError(f"clusters: expected {allowed}, got {clusters}")
    options = {"dropout": dropout, "clusters": clusters}
    return AGGREGATORS[name](dim, **{key: value for key, value in options.items() if value is not None})


class VideoClassifier(nn.Module):
    """An aggregator and a linear classifier of its vectors.

    Logits are always float32, even if autocast runs the aggregator in 16 bits. Evaluation ranks by them, and 16-bit
    scores would tie.

    Args:
        aggregator: The aggregator.
        num_classes: C.

    Example:
        >>> VideoClassifier(Mean(4), 3)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 3])
    """

    classifier: nn.Module

    def __init__(self, aggregator: Aggregator, num_classes: int) -> None:
        super().__init__()
        self.aggregator = aggregator
        self.classifier = nn.Linear(aggregator.out_dim, num_classes)

    @property
    def head(self) -> nn.ModuleList:
        """The modules after pooling: the aggregator's projection and the classifier."""
        return nn.ModuleList([*self.aggregator.projection(), self.classifier])

    def reset_classifier(self) -> None:
        """Initialise the linear classifier anew."""
        for module in self.classifier.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()

    def embed(self, features: Tensor) -> Tensor:
        """Embed each frame: see `Aggregator.embed`."""
        return self.aggregator.embed(features)

    def classify(self, vectors: Tensor) -> Tensor:
        """Classify pooled vectors, which may be mixtures of the vectors of several clips.

        Args:
            vectors: (..., P), from `Aggregator.pool`.

        Returns:
            (..., C) float32, the logits.
        """
        projected = self.aggregator.project(vectors)
        with torch.autocast(projected.device.type, enabled=False):
            return self.classifier(projected.float())

    def forward(self, features: Any, mask: Any = None, *, embedded: bool = False) -> Tensor:
        """Classify clips.

        Args:
            features: (B, T, D), or the result of `embed` if ``embedded``.
            mask: (B, T) bool, True for frames to keep; None for all.
            embedded: Whether ``features`` are embedded already.

        Returns:
            (B, C) float32, the logits.

        Raises:
            ValueError: An argument has another shape.
            TypeError: The mask is not bool, or the features are no numbers.
        """
        features, mask = check_clips(features, mask)
        return self.classify(self.aggregator.pool(features if embedded else self.embed(features), mask))
