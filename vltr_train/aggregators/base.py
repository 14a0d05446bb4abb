"""What an aggregator is, and the two that need no more than a mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vltr_train.ops.dropout import Dropout

__all__ = ["Aggregator", "Mean", "NonLinear", "masked_mean"]


class Aggregator(nn.Module):
    """What makes one vector of a clip, in three steps. `embed` is what it does to each frame by itself, so that who
    only moves frames about (FrameStack) may embed them once for several clips; `pool` makes vectors of them, and who
    mixes videos when their frames are gone (MOVE) mixes these; `project` is what the linear classifier sees of them.

    out_dim: of what `project` gives.
    """

    out_dim: int

    def embed(self, features: Tensor) -> Tensor:
        """Frames (B, T, D') of features (B, T, D): no dropout, no statistics of other frames, no order."""
        return features

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """The vectors (B, P) of embedded frames."""
        raise NotImplementedError

    def project(self, vectors: Tensor) -> Tensor:
        """Vectors (..., P) as (..., out_dim)."""
        return vectors

    def projection(self) -> tuple[nn.Module, ...]:
        """The modules that `project` runs, which the papers count as the classifier's."""
        return ()

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.project(self.pool(self.embed(features), mask))


def masked_mean(frames: Tensor, mask: Tensor | None = None) -> Tensor:
    """Means (B, D) of the frames (B, T, D) that a mask (B, T) keeps, or (B, V, D) of V masks (B, V, T); of none 0."""
    if mask is None:
        return frames.sum(1) / frames.shape[1]  # of which the gradient is a view where a mean's is not
    kept = mask.to(frames.dtype)
    return torch.einsum("b...t,btd->b...d", kept, frames) / kept.sum(-1, keepdim=True).clamp_min(1)


class Mean(Aggregator):
    """Dropout of the mean over the frames, without a weight: behind it the model is linear."""

    def __init__(self, dim: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.out_dim = dim
        self.dropout = Dropout(dropout)

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.dropout(masked_mean(frames, mask))


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
        return masked_mean(self.dropout(frames), mask)
