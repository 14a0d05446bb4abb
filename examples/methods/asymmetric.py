"""Asymmetric loss: an easy negative label counts far less than an easy positive one.

Paper: Ridnik et al., arXiv 2009.14119, Eq. 4 to 7. With p the sigmoid and q = max(p - margin, 0):
L = -y (1 - p)^gamma_positive log p - (1 - y) q^gamma_negative log(1 - q), a mean over videos and classes.
"""

from dataclasses import dataclass

import torch

from vltr_train import Batch, Method


@dataclass(frozen=True, kw_only=True)
class AsymmetricConfig(Method.Config):
    gamma_positive: float = 0.0
    gamma_negative: float = 4.0
    margin: float = 0.05


class Asymmetric(Method):
    paper = "Asymmetric loss (arXiv 2009.14119)"
    Config = AsymmetricConfig

    def forward(self, batch: Batch) -> torch.Tensor:
        config, targets = self.config, batch.targets
        present = self.model(batch.features).sigmoid().clamp(1e-6, 1 - 1e-6)
        shifted = (present - config.margin).clamp_min(0)
        positive = targets * (1 - present) ** config.gamma_positive * present.log()
        negative = (1 - targets) * shifted**config.gamma_negative * (1 - shifted).log()
        return -(positive + negative).mean()
