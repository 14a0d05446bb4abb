"""mixup: a batch is averaged with itself in another order, frames and labels alike.

Paper: Zhang et al., arXiv 1710.09412: x = l x_i + (1 - l) x_j, y = l y_i + (1 - l) y_j, l ~ Beta(alpha, alpha).
Code: https://github.com/17Skye17/VideoLT (ops/Augment.py): one l and one order a batch, alpha 1, t-th frame with t-th.
Command: vltr-train fit mixup:r101 --data DIR
Expected: All .495, head .660, medium .546, tail .381, Acc@1 .641, Acc@5 .824.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.distributions import Beta

from vltr_train import losses
from vltr_train.loader import Batch
from vltr_train.method import Method, Preset, TrainConfig

__all__ = ["Mixup", "MixupConfig"]


@dataclass(frozen=True, kw_only=True)
class MixupConfig(TrainConfig):
    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.alpha > 0:
            raise ValueError(f"alpha: expected a positive number, got {self.alpha}")


class Mixup(Method):
    paper = "mixup (arXiv 1710.09412)"
    Config = MixupConfig
    presets = MappingProxyType(
        {
            "r50": Preset(
                row="mixup",
                tables=("videolt-1", "videolt-modelzoo"),
                backbone="ResNet50",
                printed=(0.484, 0.649, 0.535, 0.368, 0.633, 0.818),
            ),
            "r101": Preset(
                row="mixup",
                tables=("videolt-1", "videolt-modelzoo"),
                backbone="ResNet101",
                printed=(0.495, 0.660, 0.546, 0.381, 0.641, 0.824),
            ),
            "tsm": Preset(
                row="mixup",
                tables=("videolt-2",),
                backbone="TSM-R50",
                printed=(0.548, 0.736, 0.602, 0.425, None, None),
            ),
            "tsm-netvlad": Preset(
                row="mixup",
                tables=("videolt-2",),
                backbone="TSM-R50",
                printed=(0.659, 0.800, 0.706, 0.556, None, None),
                settings={"aggregator": "netvlad"},
            ),
        }
    )

    def forward(self, batch: Batch) -> Tensor:
        features, targets = batch.features, batch.targets
        alpha = torch.full((), self.config.alpha, device=features.device)
        # DIFFERS: of several ranks each has a share and partners of its own.
        share = Beta(alpha, alpha, validate_args=False).sample()  # checking the arguments would wait for the device
        partner = torch.randperm(len(features), device=features.device)
        features = torch.lerp(features[partner], features, share)
        targets = torch.lerp(targets[partner], targets, share)
        return losses.bce(self.model(features), targets)
