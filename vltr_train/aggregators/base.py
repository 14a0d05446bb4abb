"""The base class of aggregators, and the two that only need a mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vltr_train.ops.dropout import Dropout
from vltr_train.ops.tensors import as_tensor

__all__ = ["Aggregator", "Mean", "NonLinear", "check_clips", "masked_mean"]


class Aggregator(nn.Module):
    """The base class of aggregators, which turn the frames of a clip into one vector, in three steps.

    1. `embed` transforms each frame on its own. FrameStack only moves frames, so it embeds them once for several clips.
    2. `pool` makes one vector of the frames. MOVE mixes videos by these vectors.
    3. `project` makes the input of the linear classifier from the vector.

    Attributes:
        out_dim: The length of the vectors of `project`.
    """

    out_dim: int

    def embed(self, features: Tensor) -> Tensor:
        """Transform each frame on its own: without dropout, statistics of other frames, or the order of frames.

        Args:
            features: (B, T, D).

        Returns:
            (B, T, D'), the embedded frames.
        """
        return features

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool embedded frames.

        Args:
            frames: (B, T, D'), from `embed`.
            mask: (B, T) bool, True for frames to keep; None for all.

        Returns:
            (B, P), one vector for each clip.
        """
        raise NotImplementedError

    def project(self, vectors: Tensor) -> Tensor:
        """Project pooled vectors (..., P) to the classifier's input (..., out_dim)."""
        return vectors

    def projection(self) -> tuple[nn.Module, ...]:
        """Return the modules that `project` runs; the papers count them as part of the classifier."""
        return ()

    def forward(self, features: Any, mask: Any = None) -> Tensor:
        """Pool clips.

        Args:
            features: (B, T, D) floats.
            mask: (B, T) bool, True for frames to keep; None for all.

        Returns:
            (B, out_dim).

        Raises:
            ValueError: An argument has another shape.
            TypeError: The mask is not bool, or the features are no numbers.
        """
        features, mask = check_clips(features, mask)
        return self.project(self.pool(self.embed(features), mask))


def check_clips(features: Any, mask: Any) -> tuple[Tensor, Tensor | None]:
    """Return features (B, T, D) and a mask (B, T) as tensors.

    Raises:
        ValueError: An argument has another shape.
        TypeError: The mask is not bool, or the features are no floats.
    """
    features = as_tensor("features", features)
    if features.dim() != 3 or not features.shape[1]:
        raise ValueError(f"features: expected shape (B, T, D) with frames, got {tuple(features.shape)}")
    if not features.is_floating_point():
        raise TypeError(f"features: expected floats, got {str(features.dtype).removeprefix('torch.')}")
    if mask is None:
        return features, None
    mask = as_tensor("mask", mask)
    if mask.dtype != torch.bool:
        raise TypeError(f"mask: expected bool, got {str(mask.dtype).removeprefix('torch.')}")
    if mask.shape != features.shape[:2]:
        raise ValueError(f"mask: expected shape {tuple(features.shape[:2])} as features, got {tuple(mask.shape)}")
    return features, mask


def masked_mean(frames: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute the mean of the frames that a mask keeps.

    Args:
        frames: (B, T, D).
        mask: (B, T) bool, or (B, V, T) for V masks of each clip; None for all frames.

    Returns:
        (B, D), or (B, V, D); 0 where a mask keeps no frame.

    Example:
        >>> masked_mean(torch.tensor([[[1.0], [3.0], [8.0]]]), torch.tensor([[True, True, False]]))
        tensor([[2.]])
    """
    if mask is None:
        return frames.sum(1) / frames.shape[1]  # the gradient of this is a view, and that of a mean is not
    kept = mask.to(frames.dtype)
    return torch.einsum("b...t,btd->b...d", kept, frames) / kept.sum(-1, keepdim=True).clamp_min(1)


class Mean(Aggregator):
    """The mean over the frames, then dropout. It has no weights, so the whole model is linear.

    Args:
        dim: D, which is ``out_dim`` too.
        dropout: The dropout of the mean.

    Example:
        >>> Mean(2).eval()([[[1.0, 2.0], [3.0, 6.0]]], mask=[[True, False]])
        tensor([[1., 2.]])
    """

    def __init__(self, dim: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.out_dim = dim
        self.dropout = Dropout(dropout)

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.dropout(masked_mean(frames, mask))


class NonLinear(Aggregator):
    """The mean over the frames of Dropout(ReLU(Linear(D, D))), "Nonlinear" of VideoLT.

    VideoLT puts the classifier before the mean. The classifier is affine, so with the mean first the logits are exactly
    the same, for a T-th of the work. Masked frames do not count in the mean. A clip without frames gives 0.

    Args:
        dim: D, which is ``out_dim`` too.
        dropout: The dropout of each frame.

    Source:
        arXiv 2105.02668, Table 1.

    Example:
        >>> NonLinear(4)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, dim: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.out_dim = dim
        self.hidden = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def embed(self, features: Tensor) -> Tensor:
        # Rows of one matrix: on a view, which the layer returns for clips, the in-place ReLU would copy its gradients.
        return self.hidden(features.flatten(0, -2)).relu_().view(*features.shape[:-1], -1)

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        return masked_mean(self.dropout(frames), mask)
