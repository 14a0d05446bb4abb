"""Aggregators that sum frames by cluster: NetVLAD and NeXtVLAD."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from vltr_train.aggregators.base import Aggregator
from vltr_train.ops.dropout import Dropout
from vltr_train.ops.memory import Memory
from vltr_train.ops.vlad import LargeLinear, score_frames, vlad

__all__ = ["NeXtVLAD", "NetVLAD"]


class NetVLAD(Aggregator):
    """NetVLAD as in VideoLT's published code, with a gate instead of the centers.

    x = BatchNorm(features); a = softmax over K clusters of BatchNorm(Linear(x)); v_k = sigmoid(gate_k) sum_t a_tk x_t.
    Each v_k is scaled to length 1, and then all of them together. The result is ReLU6(BatchNorm(Linear(v))).

    Masked frames belong to no cluster, so they add nothing to any v_k. In training they still count in the batch
    statistics of both normalisations of frames. The result is differentiable once in float32, and any number of times
    in float64.

    Args:
        dim: D.
        dropout: The dropout of the result; VideoLT has none.
        clusters: K.
        hidden: The length of the result, ``out_dim``.
        residual_centers: Use v_k = sigmoid(gate_k) sum_t a_tk (x_t - c_k), with centers as in the paper of NetVLAD.

    Source:
        Arandjelovic et al., CVPR 2016; 17Skye17/VideoLT.

    Example:
        >>> NetVLAD(4, clusters=2, hidden=8)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 8])
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
        self._memory = Memory()
        self.hidden = nn.Sequential(
            LargeLinear(dim * clusters, hidden, self._memory), nn.BatchNorm1d(hidden), nn.ReLU6(), Dropout(dropout)
        )

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.encode(*self.assign(frames), mask)

    def assign(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Assign frames to clusters.

        Args:
            features: (B, T, D).

        Returns:
            The normalised frames (B, T, D), and the share of each that belongs to each cluster, (B, T, K).
        """
        num_rows, num_frames, dim = features.shape
        frames = self.input_norm(features.reshape(-1, dim))
        scores, frames = score_frames(frames, self.assignment.weight, self._memory)
        shares = self.assignment_norm(scores).softmax(-1)
        return frames.view(num_rows, num_frames, dim), shares.view(num_rows, num_frames, -1)

    def encode(self, frames: Tensor, shares: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode assigned frames; several masks of the same frames need only one `assign`.

        Args:
            frames: (B, T, D), from `assign`.
            shares: (B, T, K), from `assign`.
            mask: (B, T) bool, or (B, V, T) for V views of each clip; None for all frames.

        Returns:
            (B, hidden), or (B, V, hidden). Batch statistics are over all B x V rows.
        """
        shares = shares.unsqueeze(0)  # (V, B, T, K)
        if mask is not None:
            masks = mask.transpose(0, 1) if mask.dim() == 3 else mask.unsqueeze(0)
            shares = shares * masks.unsqueeze(-1).to(shares.dtype)
        centers = None if self.centers is None else self.centers.mT
        codes = vlad(frames, shares, gate=self.gate, centers=centers, memory=self._memory)
        vectors = self.hidden(codes.flatten(0, 1))
        several = mask is not None and mask.dim() == 3
        return vectors.unflatten(0, codes.shape[:2]).transpose(0, 1) if several else vectors


class NeXtVLAD(Aggregator):
    """NeXtVLAD, which MEID uses: VLAD of the groups that each frame is split into.

    x = Linear(features), (B, T, expansion x D), split into G groups; attention = sigmoid(Linear(x)), one number for
    each group; a = softmax over K clusters of BatchNorm(Linear(x)), times attention; v_k = the sum over frames and
    groups of a_tgk (x_tg - c_k), each scaled to length 1; h = BatchNorm(Linear(Dropout(BatchNorm(v)))). The result is
    h x sigmoid(Linear(ReLU(BatchNorm(Linear(h))))), (B, hidden).

    Masked frames get no attention. In training they still count in the batch statistics of the assignment. The result
    is differentiable once in float32, and any number of times in float64.

    Args:
        dim: D.
        dropout: The dropout of v.
        clusters: K.
        hidden: The length of the result, ``out_dim``.
        groups: G.
        expansion: The factor by which the first layer widens a frame.
        gating_reduction: The factor by which the gate's inner layer is narrower than ``hidden``.

    Raises:
        ValueError: G does not divide expansion x D.

    Source:
        Lin, Xiao and Fan, arXiv 1811.05014.

    Example:
        >>> NeXtVLAD(4, clusters=2, hidden=8)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 8])
    """

    # DIFFERS: the published code is TensorFlow; initial weights and batch statistics are those of torch's layers here.
    def __init__(
        self,
        dim: int,
        dropout: float = 0.5,
        *,
        clusters: int = 64,
        hidden: int = 1024,
        groups: int = 8,
        expansion: int = 2,
        gating_reduction: int = 8,
    ) -> None:
        super().__init__()
        width = expansion * dim
        if width % groups:
            raise ValueError(f"groups: expected a divisor of expansion x D, which is {width}, got {groups}")
        self.out_dim = hidden
        self.expansion = nn.Linear(dim, width)
        self.attention = nn.Linear(width, groups)
        self.assignment = nn.Linear(width, groups * clusters, bias=False)
        self.assignment_norm = nn.BatchNorm1d(groups * clusters)
        self.centers = nn.Parameter(torch.randn(width // groups, clusters) * (width // groups) ** -0.5)
        self._memory = Memory()
        self.hidden = nn.Sequential(
            nn.BatchNorm1d(width // groups * clusters),
            Dropout(dropout),
            LargeLinear(width // groups * clusters, hidden, self._memory),
            nn.BatchNorm1d(hidden),
        )
        narrow = hidden // gating_reduction
        self.gate = nn.Sequential(
            nn.Linear(hidden, narrow, bias=False),
            nn.BatchNorm1d(narrow),
            nn.ReLU(),
            nn.Linear(narrow, hidden, bias=False),
            nn.Sigmoid(),
        )

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        num_rows, (part, num_clusters) = len(frames), self.centers.shape
        features, frames = frames, self.expansion(frames)
        attention = self._of_expanded(self.attention, features, frames).sigmoid()  # (B, T, G)
        if mask is not None:
            attention = attention * mask.unsqueeze(-1).to(attention.dtype)
        scores = self.assignment_norm(self._of_expanded(self.assignment, features, frames).flatten(0, 1))
        shares = scores.view(num_rows, -1, num_clusters).softmax(-1) * attention.view(num_rows, -1, 1)  # (B, T x G, K)
        parts = frames.reshape(num_rows, -1, part)
        codes = vlad(parts, shares.unsqueeze(0), centers=self.centers, whole=False, memory=self._memory)
        vectors = self.hidden(codes.squeeze(0))
        return vectors * self.gate(vectors)

    def _of_expanded(self, layer: nn.Linear, features: Tensor, frames: Tensor) -> Tensor:
        """Apply a layer to the expanded frames (B, T, expansion x D)."""
        if frames.shape[:-1].numel() <= 2 * features.shape[-1]:
            return layer(frames)
        # Both maps are linear, so the layer's map of the features is the product of the two. With many frames this
        # product costs less than it saves: the features are narrower, and no gradient goes back to each frame.
        expansion = self.expansion
        bias = layer.weight @ expansion.bias
        return linear(features, layer.weight @ expansion.weight, bias if layer.bias is None else bias + layer.bias)
