"""mixup: a batch is averaged with a permutation of itself, both frames (or pooled vectors) and labels.

Paper: Zhang et al., arXiv 1710.09412: x = l x_i + (1 - l) x_j, y = l y_i + (1 - l) y_j, l ~ Beta(alpha, alpha).
Code: https://github.com/17Skye17/VideoLT (ops/Augment.py): one l and one permutation a batch, alpha 1, and the t-th
frame is mixed with the t-th. https://github.com/wjun0830/MOVE mixes the vectors that its aggregators pool.
Command: vltr-train fit mixup:r101 --data DIR
Expected: All .495, head .660, medium .546, tail .381, Acc@1 .641, Acc@5 .824.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor
from torch.distributions import Beta

from vltr_train import losses
from vltr_train.aggregators import VideoClassifier
from vltr_train.data.loader import Batch
from vltr_train.method import Method, TrainConfig
from vltr_train.presets import published

__all__ = ["Mixup", "MixupConfig"]


@dataclass(frozen=True, kw_only=True)
class MixupConfig(TrainConfig):
    # The parameter of Beta(alpha, alpha), from which the share of a clip is drawn, above 0. With 1 all shares are
    # equally likely; a smaller one mixes less.
    alpha: float = 1.0
    # The numbers that are mixed. "frames" mixes the frames of two clips; "vectors" mixes their pooled vectors.
    mix: str = field(default="frames", metadata={"choices": ("frames", "vectors")})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.alpha > 0:
            raise ValueError(f"alpha: expected a positive number, got {self.alpha}")
        if self.compile and self.mix == "vectors":
            raise ValueError("compile: expected false with mix=vectors, whose steps call parts of the model, got true")


class Mixup(Method):
    paper = "mixup (arXiv 1710.09412)"
    config: MixupConfig
    model: VideoClassifier
    Config = MixupConfig
    presets = MappingProxyType(
        published("mixup", "mixup", without="*-agg*") | published("mixup", "mixup", only="*-agg*", mix="vectors")
    )

    def forward(self, batch: Batch) -> Tensor:
        clips, targets = batch.features, batch.targets
        if self.config.mix == "vectors":
            # float32 like the share, even if autocast made them in 16 bits
            clips = self.model.aggregator.pool(self.model.embed(clips)).float()
        alpha = torch.full((), self.config.alpha, device=clips.device)
        # DIFFERS: each of several ranks has a share and partners of its own.
        share = Beta(alpha, alpha, validate_args=False).sample()  # a check of the arguments would wait for the device
        partner = torch.randperm(len(clips), device=clips.device)
        clips = torch.lerp(clips[partner], clips, share)
        targets = torch.lerp(targets[partner], targets, share)
        logits = self.model.classify(clips) if self.config.mix == "vectors" else self.model(clips)
        return losses.bce(logits, targets)
