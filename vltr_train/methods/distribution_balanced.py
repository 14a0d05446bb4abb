"""Distribution-balanced loss: class-balanced videos, weights for their other labels, and tolerance of negatives.

Paper: Wu et al., arXiv 2007.09654. Videos are drawn by class. With r_bc = (1 / n_c) / sum_k y_bk / n_k:
w = alpha + sigmoid(beta (r - mu)) corrects for videos that are drawn for another label (R-BCE);
nu_c = kappa log(n_c / (N - n_c)) shifts logits, and negatives have lambda (z + nu) and w / lambda (NTR).
L = mean of 2 (1 - exp(-l))^2 w l, l the BCE of the shifted and scaled logit (focal loss).
nu moves AP by the path of optimisation alone, because the classifier's bias absorbs it. Weights and lambda move AP.
Code: https://github.com/wutong16/DistributionBalancedLoss (mllt/models/losses/resample_loss.py, configs/coco). Its nu
is divided by lambda, which its authors call a mistake (issue 8); `kappa_form=paper` is without that.
Command: vltr-train fit distribution_balanced --data DIR
Expected: no number on video is printed. On COCO-MLT: mAP .536, head .511, medium .571, tail .511 (repository).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vltr_train import losses
from vltr_train.data.loader import Batch
from vltr_train.method import Method, Stage, Task, TrainConfig
from vltr_train.samplers import ClassSampler, InstanceSampler

__all__ = ["DistributionBalanced", "DistributionBalancedConfig"]


@dataclass(frozen=True, kw_only=True)
class DistributionBalancedConfig(TrainConfig):
    """The settings of the distribution-balanced loss; the defaults are those of the published COCO configuration.

    Attributes:
        class_balanced: Whether videos are drawn by class, each class equally often. The weights are made for this.
        rebalance: Whether the terms are weighted by alpha + sigmoid(beta (r - mu)) (R-BCE).
        tolerant: Whether logits are shifted, and those of negatives scaled (NTR).
        focal: Whether the loss is the focal loss, with the published factor 2.
        alpha: The least weight, at least 0.
        beta: The steepness of the weights as a function of r, at least 0.
        mu: The ratio r at the middle of the sigmoid, at least 0: 0.2 for COCO and 0.3 for VOC in the published
            configurations.
        negative_scale: The factor of the logits of negatives (lambda), above 0: 2 for COCO and 5 for VOC.
        kappa: The factor of the shift, at least 0; 0 turns it off.
        kappa_form: The form of the shift. "code" divides the shift by lambda; "paper" does not divide it.
        gamma: The power of the focal loss, at least 0; 0 turns it off.
    """

    class_balanced: bool = True
    rebalance: bool = True
    tolerant: bool = True
    focal: bool = True
    alpha: float = 0.1
    beta: float = 10.0
    mu: float = 0.2
    negative_scale: float = 2.0
    kappa: float = 0.05
    kappa_form: str = field(default="code", metadata={"choices": ("code", "paper")})
    gamma: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "beta", "mu", "kappa", "gamma"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        if not self.negative_scale > 0:
            raise ValueError(f"negative_scale: expected a positive number, got {self.negative_scale}")


class DistributionBalanced(Method):
    paper = "Distribution-balanced loss (arXiv 2007.09654)"
    config: DistributionBalancedConfig
    counts: Tensor
    offsets: Tensor
    Config = DistributionBalancedConfig

    def __init__(self, config: DistributionBalancedConfig, task: Task) -> None:
        super().__init__(config, task)
        # DIFFERS: a class without videos counts as having one, and one that all videos have as lacking in one. The
        # published weights and shifts are infinite or NaN there, and a NaN is in all weights of a row.
        offsets = config.kappa * losses.log_odds(task.train_counts, task.total)
        if config.kappa_form == "code":
            offsets = offsets / config.negative_scale
        counts = torch.tensor(task.train_counts, dtype=torch.float32)
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("offsets", offsets, persistent=False)

    def notes(self) -> list[str]:
        if self.config.rebalance and not self.config.class_balanced:
            return ["class_balanced: false, so the weights of rebalance correct for a sampling that does not happen"]
        return []

    def stages(self) -> tuple[Stage, ...]:
        # DIFFERS: an epoch has as many draws as videos. The published sampler has C n_max / 4 draws, and three videos
        # of a class at a time. The published optimizer is SGD.
        return (self.stage(samplers=(ClassSampler() if self.config.class_balanced else InstanceSampler(),)),)

    def forward(self, batch: Batch) -> Tensor:
        # No label of a video is masked: the weights correct for the labels that it was not drawn for.
        config, targets = self.config, batch.targets
        # DIFFERS: without weights the published code cannot scale negatives, and ends with a TypeError.
        weight = None
        if config.rebalance:
            weight = losses.rebalanced_weights(targets, self.counts, config.alpha, config.beta, config.mu)
        return losses.distribution_balanced(
            self.model(batch.features),
            targets,
            weight,
            self.offsets if config.tolerant else None,
            config.negative_scale if config.tolerant else 1.0,
            config.gamma if config.focal else 0.0,
            2.0 if config.focal else 1.0,
        )
