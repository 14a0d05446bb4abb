"""Aggregators, which make one vector of the frames of a clip, and the classifier behind them.

All take features (B, T, D) of any float dtype that the weights can meet (or autocast casts) and an optional mask (B, T)
of bool, True where a frame is kept, and give (B, out_dim). What a mask leaves out must still be finite numbers.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vltr_train.dropout import Dropout

__all__ = ["AGGREGATORS", "Aggregator", "NetVLAD", "NonLinear", "VideoClassifier"]


class Aggregator(nn.Module):
    """What makes one vector of a clip. `embed` is what it does to each frame by itself, so that who only moves frames
    about (FrameStack) may embed them once for several clips; `pool` does the rest.

    out_dim: of the vector.
    """

    out_dim: int

    def embed(self, features: Tensor) -> Tensor:
        """Frames (B, T, D') of features (B, T, D): no dropout, no statistics of other frames, no order."""
        return features

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """The vectors (B, out_dim) of embedded frames."""
        raise NotImplementedError

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.pool(self.embed(features), mask)


class NonLinear(Aggregator):
    """Mean over the frames of Dropout(ReLU(Linear(D, D))): "Nonlinear" of VideoLT (arXiv 2105.02668, Table 1).

    There the classifier comes before the mean. It is affine, so the mean may come first: the same logits, exactly, for
    a T-th of the work. mask: frames left out are no part of the mean; a clip without any frame is 0.
    """

    def __init__(self, dim: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.out_dim = dim
        self.hidden = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def embed(self, features: Tensor) -> Tensor:
        return self.hidden(features).relu_()

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        frames = self.dropout(frames)
        if mask is None:
            return frames.sum(1) / frames.shape[1]  # of which the gradient is a view where a mean's is not
        kept = mask.unsqueeze(-1).to(frames.dtype)
        return (frames * kept).sum(1) / kept.sum(1).clamp_min(1)


class NetVLAD(Aggregator):
    """NetVLAD (Arandjelovic et al., CVPR 2016) as VideoLT has it, with a gate in the place of the centers.

    x = BatchNorm(features); a = softmax over K clusters of BatchNorm(Linear(x)); v_k = sigmoid(gate_k) sum_t a_tk x_t;
    each v_k and then all of them together brought to length 1; ReLU6(BatchNorm(Linear(v))), which is (B, hidden).

    clusters: K. residual_centers: v_k = sum_t a_tk (x_t - c_k), as the paper of NetVLAD; the published code of VideoLT
    has no centers. dropout: of the result; none in VideoLT. mask: frames left out are assigned to no cluster, and so
    add nothing to any v_k; in training they still count in the batch statistics of both normalisations of frames.
    """

    def __init__(
        self,
        dim: int,
        dropout: float = 0.0,
        *,
        clusters: int = 64,
        hidden: int = 1024,
        residual_centers: bool = False,
    ) -> None:
        super().__init__()
        self.out_dim = hidden
        self.input_norm = nn.BatchNorm1d(dim)
        self.assignment = nn.Linear(dim, clusters, bias=False)
        self.assignment_norm = nn.BatchNorm1d(clusters)
        self.gate = nn.Parameter(nn.init.xavier_normal_(torch.empty(clusters, dim)))
        centers = torch.randn(clusters, dim) * dim**-0.5 if residual_centers else None
        self.centers = None if centers is None else nn.Parameter(centers)
        self.hidden = nn.Sequential(
            nn.Linear(dim * clusters, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU6(), Dropout(dropout)
        )

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.encode(*self.assign(frames), mask)

    def assign(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The normalised frames (B, T, D) and how much of each belongs to each cluster, (B, T, K)."""
        num_rows, num_frames, dim = features.shape
        frames = self.input_norm(features.reshape(-1, dim))
        shares = self.assignment_norm(self.assignment(frames)).softmax(-1)
        return frames.view(num_rows, num_frames, dim), shares.view(num_rows, num_frames, -1)

    def encode(self, frames: Tensor, shares: Tensor, mask: Tensor | None = None) -> Tensor:
        """What `assign` gave, as (B, hidden): other masks of the same frames need not assign them again."""
        if mask is not None:
            shares = shares * mask.unsqueeze(-1).to(shares.dtype)
        sums = frames.mT @ shares.to(frames.dtype)  # (B, D, K)
        if self.centers is not None:
            sums = sums - shares.sum(1, keepdim=True) * self.centers.mT
        clusters = normalize(sums * self.gate.sigmoid().mT, dim=1)
        return self.hidden(normalize(clusters.flatten(1), dim=1))


AGGREGATORS = {
    "nonlinear": NonLinear,
    "netvlad": NetVLAD,
    "netvlad-centers": partial(NetVLAD, residual_centers=True),
}
"""By the names of a configuration: each takes D and, where it shall not be its own default, dropout."""


class VideoClassifier(nn.Module):
    """Logits (B, C) of clips: an aggregator and a linear classifier.

    Logits are float32, whatever autocast does to the aggregator: classes are ranked by them, and scores of 16 bits tie.
    """

    def __init__(self, aggregator: Aggregator, num_classes: int) -> None:
        super().__init__()
        self.aggregator = aggregator
        self.classifier = nn.Linear(aggregator.out_dim, num_classes)

    def embed(self, features: Tensor) -> Tensor:
        """See `Aggregator.embed`."""
        return self.aggregator.embed(features)

    def forward(self, features: Tensor, mask: Tensor | None = None, *, embedded: bool = False) -> Tensor:
        """features: (B, T, D), or frames that `embed` gave. mask: (B, T) of bool, True where a frame is kept."""
        pooled = self.aggregator.pool(features, mask) if embedded else self.aggregator(features, mask)
        with torch.autocast(pooled.device.type, enabled=False):
            return self.classifier(pooled.float())
