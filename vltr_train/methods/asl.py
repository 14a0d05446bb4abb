"""Asymmetric loss (ASL): easy negatives count less than easy positives, and very easy ones not at all.

Paper: Ridnik et al., arXiv 2009.14119, Eq. 4 to 7. With p = sigmoid(z) and q = min(1 - p + m, 1):
L = mean of -(1 - p)^g+ log p at labels and of -(1 - q)^g- log q elsewhere.
Code: https://github.com/Alibaba-MIIL/ASL (src/loss_functions/losses.py, train.py): g- 4, g+ 0, m 0.05 on COCO, and no
gradient through the two powers. The adaptive asymmetry of Section 2.7 is not in the code, and not here.
Command: vltr-train fit asl --data DIR
Expected: no number on these data is printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor

from vltr_train import losses
from vltr_train.data.loader import Batch
from vltr_train.method import Method, TrainConfig

__all__ = ["ASL", "ASLConfig"]


@dataclass(frozen=True, kw_only=True)
class ASLConfig(TrainConfig):
    """The settings of the asymmetric loss; the defaults are those of the published COCO script.

    Attributes:
        gamma_negative: The power of negatives, at least 0. A larger one lowers the loss of easy negatives more. Powers
            and margin of 0 give BCE.
        gamma_positive: The power of positives, at least 0. A larger one lowers the loss of easy positives more.
        margin: The probability by which negatives are shifted, from 0 to below 1; below it their loss is 0.
        focus_gradient: Whether gradients pass through the powers.
        over_classes: The reduction of the loss over classes. "mean" averages over classes; "sum" adds them up. The
            published code has the sum over the batch too.
    """

    gamma_negative: float = 4.0
    gamma_positive: float = 0.0
    margin: float = 0.05
    focus_gradient: bool = False
    # DIFFERS: the published code sums over B x C, which is 128,512 times the mean for a batch of VideoLT. `clip_norm`
    # would act in every step.
    over_classes: str = field(default="mean", metadata={"choices": ("mean", "sum")})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gamma_negative", "gamma_positive"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin: expected from 0 to below 1, got {self.margin}")


class ASL(Method):
    paper = "Asymmetric loss (arXiv 2009.14119)"
    config: ASLConfig
    Config = ASLConfig
    # The published script clips no gradients. The mean over the batch stays: without clipping, Adam's steps do not
    # depend on a factor of the loss, but for its epsilon.
    official = MappingProxyType({"over_classes": "sum", "clip_norm": None})

    def forward(self, batch: Batch) -> Tensor:
        config = self.config
        # DIFFERS: log p is exact. The published code clamps p at 1e-8, so positives below z = -18.4 have no gradient.
        found = losses.asymmetric(
            self.model(batch.features),
            batch.targets,
            config.gamma_negative,
            config.gamma_positive,
            config.margin,
            focus_gradient=config.focus_gradient,
            reduction="none",
        )
        return losses.mean_over_batch(found, config.over_classes)
