"""Aggregators that attend to frames: PSA and MSA of MOVE, and its pair of PSA and a codebook."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vltr_train.aggregators.base import Aggregator, NonLinear, masked_mean
from vltr_train.aggregators.vlad import NetVLAD
from vltr_train.ops.dropout import Dropout

__all__ = ["MSA", "PSA", "Attentive"]


class PSA(Aggregator):
    """Prototypical self-attention of MOVE: the mean of the frames asks, and what it finds in them is added to it.

    q = the mean, k = v = the frames, without positions: in each head softmax over T of (Wq q . Wk k) / sqrt(d) weights
    Wv v; LayerNorm(q + Dropout(Wo heads)), which is (B, D).

    heads: each of d = D // heads numbers, at least one. dropout: of the attention, and behind Wo.
    mask: frames left out are no part of the mean, nor attended to.
    """

    def __init__(self, dim: int, dropout: float = 0.1, *, heads: int = 4) -> None:
        super().__init__()
        self.out_dim, self.heads, self.head_dim = dim, heads, max(1, dim // heads)
        width = heads * self.head_dim
        self.query, self.key, self.value = (nn.Linear(dim, width, bias=False) for _ in range(3))
        self.output = nn.Linear(width, dim, bias=False)
        self.attention_dropout, self.output_dropout = Dropout(dropout), Dropout(dropout)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.attend(frames, masked_mean(frames, mask).unsqueeze(1), mask).squeeze(1)

    def attend(self, frames: Tensor, queries: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """What each of the queries (B, Q, D) finds in the frames (B, T, D), added to it and normalised: (B, Q, D).

        key_mask: (B, T) of bool, True where a frame may be attended to, by all queries of its row alike.
        """
        # Q is small, so the frames are not projected: q . Wk k = Wk^T q . k, and sum_t a_t Wv v_t = Wv sum_t a_t v_t,
        # as both maps are linear and have no bias. Each costs B Q D^2 + B Q heads T D then, in the place of B T D^2.
        split = (self.heads, self.head_dim)
        asked = self.query(queries).unflatten(-1, split) * self.head_dim**-0.5
        asked = torch.einsum("bqhd,hdn->bqhn", asked, self.key.weight.unflatten(0, split))
        shares = self.weigh(asked.flatten(1, 2) @ frames.mT, key_mask)  # (B, Q x heads, T)
        found = (shares @ frames).unflatten(1, (-1, self.heads))
        found = torch.einsum("bqhn,hdn->bqhd", found, self.value.weight.unflatten(0, split))
        return self.add(found.flatten(2), queries)

    def weigh(self, scores: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """The shares of frames, of scores (B, R, T), with dropout. Blocked scores are all the same finite number, so a
        row of which all frames are blocked attends to all alike, 1 / T, as with the -1e9 of the published code."""
        if key_mask is not None:
            scores = scores.masked_fill(~key_mask.unsqueeze(1), torch.finfo(scores.dtype).min)
        return self.attention_dropout(scores.softmax(-1))

    def add(self, found: Tensor, queries: Tensor) -> Tensor:
        """What the heads found, (B, Q, heads x d), on top of the queries (B, Q, D)."""
        return self.norm(self.output_dropout(self.output(found)) + queries)


class MSA(PSA):
    """Ordinary self-attention, in which each frame asks, and then NonLinear: what MOVE compares PSA with (Table 5).

    No code of it is published; all but the queries is PSA's here. dropout: of NonLinear.
    mask: frames left out are not attended to, nor part of the mean.
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

    Pooled vectors are [PSA; NetVLAD], of D + 1024 numbers; the classifier sees Dropout(ReLU(Linear(P, D))) of them.

    dropout: of the classifier. psa, codebook: which of the two there are; ValueError without either. clusters: of the
    codebook.
    """

    psa: PSA | None
    codebook: NetVLAD | None

    def __init__(
        self, dim: int, dropout: float = 0.5, *, psa: bool = True, codebook: bool = True, clusters: int = 64
    ) -> None:
        super().__init__()
        if not (psa or codebook):
            raise ValueError("psa, codebook: expected at least one of them, got neither")
        self.out_dim = dim
        self.psa = PSA(dim) if psa else None
        self.codebook = NetVLAD(dim, clusters=clusters) if codebook else None
        pooled = sum(part.out_dim for part in self._parts())
        # DIFFERS: there 2048 are hidden, whatever D is.
        self.hidden = nn.Sequential(nn.Linear(pooled, dim), nn.ReLU(), Dropout(dropout))

    def _parts(self) -> list[Aggregator]:
        return [part for part in (self.psa, self.codebook) if part is not None]

    def pool(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        return torch.cat([part.pool(frames, mask) for part in self._parts()], -1)

    def views(self, frames: Tensor, query_masks: Tensor, key_mask: Tensor | None, codebook_masks: Tensor) -> Tensor:
        """Vectors (B, V, P) of V views of each clip, not projected yet: MOVE's dynamic frame sampling.

        frames: (B, T, D). query_masks: (B, V, T), the frames whose mean asks in a view. key_mask: (B, T), those that
        all views may attend to. codebook_masks: (B, V, T), those that the codebook sees.
        """
        # DIFFERS: there the codebook sees zeros for the frames left out, which count in its batch statistics.
        found = []
        if self.psa is not None:
            found.append(self.psa.attend(frames, masked_mean(frames, query_masks), key_mask))
        if self.codebook is not None:
            found.append(self.codebook.encode(*self.codebook.assign(frames), codebook_masks))
        return torch.cat(found, -1)

    def project(self, vectors: Tensor) -> Tensor:
        return self.hidden(vectors)

    def projection(self) -> tuple[nn.Module, ...]:
        return (self.hidden,)
