"""Aggregators with attention over frames: PSA and MSA of MOVE, and its pair of PSA and a codebook."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vltr_train.aggregators.base import Aggregator, NonLinear, masked_mean
from vltr_train.aggregators.vlad import NetVLAD
from vltr_train.ops.dropout import Dropout

__all__ = ["MSA", "PSA", "Attentive"]


class PSA(Aggregator):
    """Prototypical self-attention of MOVE: the mean of the frames is the query.

    q is the mean, and k = v are the frames, without positions. In each head, the softmax over T of
    (Wq q . Wk k) / sqrt(d) weights Wv v. The result is LayerNorm(q + Dropout(Wo heads)), (B, D). Masked frames count
    neither in the mean nor in the attention.

    Args:
        dim: D, which is ``out_dim`` too.
        dropout: The dropout of the attention and after Wo.
        heads: The number of heads, each of d = max(1, D // heads) numbers.

    Source:
        MOVE, arXiv 2211.13471.

    Example:
        >>> PSA(4)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, dim: int, dropout: float = 0.1, *, heads: int = 4) -> None:
        super().__init__()
        # DIFFERS: MOVE's code has four heads of 512 numbers for every D.
        self.out_dim, self.heads, self.head_dim = dim, heads, max(1, dim // heads)
        width = heads * self.head_dim
        self.query, self.key, self.value = (nn.Linear(dim, width, bias=False) for _ in range(3))
        self.output = nn.Linear(width, dim, bias=False)
        self.attention_dropout, self.output_dropout = Dropout(dropout), Dropout(dropout)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.attend(frames, masked_mean(frames, mask).unsqueeze(1), mask).squeeze(1)

    def attend(self, frames: Tensor, queries: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Attend to the frames, add the result to each query, and normalise.

        Args:
            frames: (B, T, D).
            queries: (B, Q, D).
            key_mask: (B, T) bool, True for frames that all queries of the row may attend to, or (B, Q, T) for each
                query; None for all.

        Returns:
            (B, Q, D).
        """
        # Q is small, so the frames are not projected: q . Wk k = Wk^T q . k, and sum_t a_t Wv v_t = Wv sum_t a_t v_t,
        # as both maps are linear and have no bias. Each then costs B Q D^2 + B Q heads T D instead of B T D^2.
        split = (self.heads, self.head_dim)
        asked = self.query(queries).unflatten(-1, split) * self.head_dim**-0.5
        asked = torch.einsum("bqhd,hdn->bqhn", asked, self.key.weight.unflatten(0, split))
        if key_mask is not None and key_mask.dim() == 3:
            key_mask = key_mask.repeat_interleave(self.heads, 1)
        shares = self.weigh(asked.flatten(1, 2) @ frames.mT, key_mask)  # (B, Q x heads, T)
        found = (shares @ frames).unflatten(1, (-1, self.heads))
        found = torch.einsum("bqhn,hdn->bqhd", found, self.value.weight.unflatten(0, split))
        return self.add(found.flatten(2), queries)

    def weigh(self, scores: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Compute the attention weights of scores (B, R, T), with dropout. The mask is (B, T) or (B, R, T).

        Masked scores are one finite number. So a row with all frames masked attends to all equally, with 1 / T, as with
        the -1e9 of the published code.
        """
        if key_mask is not None:
            kept = key_mask if key_mask.dim() == 3 else key_mask.unsqueeze(1)
            scores = scores.masked_fill(~kept, torch.finfo(scores.dtype).min)
        return self.attention_dropout(scores.softmax(-1))

    def add(self, found: Tensor, queries: Tensor) -> Tensor:
        """Add the output of the heads, (B, Q, heads x d), to the queries (B, Q, D), and normalise."""
        return self.norm(self.output_dropout(self.output(found)) + queries)


class MSA(PSA):
    """Ordinary self-attention with each frame as a query, then NonLinear. MOVE compares PSA with it (Table 5).

    No code of it is published. Here everything except the queries is as in PSA. Masked frames count neither in the
    attention nor in the mean.

    Args:
        dim: D, which is ``out_dim`` too.
        dropout: The dropout of NonLinear.
        attention_dropout: The dropout of the attention and after Wo.
        heads: The number of heads.

    Source:
        MOVE, arXiv 2211.13471, Table 5.

    Example:
        >>> MSA(4)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, dim: int, dropout: float = 0.5, *, attention_dropout: float = 0.1, heads: int = 4) -> None:
        super().__init__(dim, attention_dropout, heads=heads)
        self.late = NonLinear(dim, dropout)

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.late(self.attend(frames, frames, mask), mask)

    def attend(self, frames: Tensor, queries: Tensor, key_mask: Tensor | None = None) -> Tensor:
        # With as many queries as frames it is cheaper to project the frames, once for all queries.
        asked, keys, values = (
            layer(vectors).unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)
            for layer, vectors in ((self.query, queries), (self.key, frames), (self.value, frames))
        )  # (B, heads, Q or T, d)
        scores = (asked * self.head_dim**-0.5) @ keys.mT
        shares = self.weigh(scores.flatten(1, 2), key_mask).unflatten(1, (self.heads, -1))
        return self.add((shares @ values).transpose(1, 2).flatten(2), queries)


class Attentive(Aggregator):
    """MOVE's self-attentive and codebook-attentive aggregators side by side ("Agg" in its tables), or one alone.

    Pooled vectors are [PSA; NetVLAD], of P = D + 1024 numbers. The projection is Dropout(ReLU(Linear(P, hidden))).

    Args:
        dim: D.
        dropout: The dropout of the projection.
        psa: Whether PSA is a part.
        codebook: Whether NetVLAD is a part.
        clusters: The clusters of NetVLAD.
        hidden: The length of the result, ``out_dim``. MOVE's code has 2048 for every D: as few as D features would be
            a bottleneck where D is small.
        residual_centers: Whether NetVLAD subtracts centers, as Eq. 2 of MOVE prints; its code has none.

    Raises:
        ValueError: Neither is a part.

    Source:
        MOVE, arXiv 2211.13471.

    Example:
        >>> Attentive(4, clusters=2, hidden=8)(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 8])
    """

    psa: PSA | None
    codebook: NetVLAD | None

    def __init__(
        self,
        dim: int,
        dropout: float = 0.5,
        *,
        psa: bool = True,
        codebook: bool = True,
        clusters: int = 64,
        hidden: int = 2048,
        residual_centers: bool = False,
    ) -> None:
        super().__init__()
        if not (psa or codebook):
            raise ValueError("psa, codebook: expected at least one of them, got neither")
        self.out_dim = hidden
        self.psa = PSA(dim) if psa else None
        self.codebook = NetVLAD(dim, clusters=clusters, residual_centers=residual_centers) if codebook else None
        pooled = sum(part.out_dim for part in self._parts())
        self.hidden = nn.Sequential(nn.Linear(pooled, hidden), nn.ReLU(), Dropout(dropout))

    def _parts(self) -> list[Aggregator]:
        return [part for part in (self.psa, self.codebook) if part is not None]

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        return torch.cat([part.pool(frames, mask) for part in self._parts()], -1)

    def views(
        self,
        frames: Tensor,
        query_masks: Tensor,
        key_mask: Tensor | None,
        codebook_masks: Tensor,
        *,
        zeroed: bool = False,
    ) -> Tensor:
        """Pool V views of each clip, without projecting them: MOVE's dynamic frame sampling.

        Args:
            frames: (B, T, D).
            query_masks: (B, V, T) bool, the frames whose mean is the query of a view.
            key_mask: (B, T) bool, the frames that all views may attend to, or (B, V, T) for each view; None for all.
            codebook_masks: (B, V, T) bool, the frames that the codebook pools.
            zeroed: Whether masked frames are zeros in the codebook, which count in the statistics of its assignment.

        Returns:
            (B, V, P).
        """
        found = []
        if self.psa is not None:
            found.append(self.psa.attend(frames, masked_mean(frames, query_masks), key_mask))
        if self.codebook is not None:
            encode = _encode_zeroed_views if zeroed else _encode_views
            found.append(encode(self.codebook, frames, codebook_masks))
        return torch.cat(found, -1)

    def project(self, vectors: Tensor) -> Tensor:
        return self.hidden(vectors)

    def projection(self) -> tuple[nn.Module, ...]:
        return (self.hidden,)


def _encode_views(codebook: NetVLAD, frames: Tensor, masks: Tensor) -> Tensor:
    """Encode V views (B, V, hidden) of frames (B, T, D). All frames are assigned once; masked ones are not summed."""
    return codebook.encode(*codebook.assign(frames), masks)


def _encode_zeroed_views(codebook: NetVLAD, frames: Tensor, masks: Tensor) -> Tensor:
    """Encode V views (B, V, hidden) of frames (B, T, D). Each view is a clip whose masked frames are zeros.

    As in MOVE's published code. The zeros have a share of each cluster and add nothing to its sum, but they count in
    the batch statistics of the assignment. So this needs an assignment for each view.
    """
    normal = codebook.input_norm(frames.flatten(0, 1)).view_as(frames)
    clips = (normal.unsqueeze(1) * masks.unsqueeze(-1).to(normal.dtype)).flatten(0, 1)
    shares = codebook.assignment_norm(codebook.assignment(clips.flatten(0, 1))).softmax(-1)
    return codebook.encode(clips, shares.view(*clips.shape[:2], -1)).unflatten(0, masks.shape[:2])
