"""Learnable weight scaling (LWS): after training, one scale for each class is learnt on class-balanced videos.

Paper: Kang et al., arXiv 1910.09217, Section 4.2. Stage "train": L = mean of the BCE. Stage "scales": the model is
frozen, and predictions are s_c (w_c x + b_c), s = 1 at the start. Its loss is the mean over videos of the sum over
classes of m_bc l_bc; l is the BCE, and m is 0 at the labels that a video was not drawn for.
An increasing map of a class's logits leaves AP, ROC-AUC and SAP as they are but for rounding, so positive scales
change Acc@k alone, unless features_mode=train moves batch statistics.
Code: https://github.com/facebookresearch/classifier-balancing (models/TauNormClassifier.py, config/ImageNet_LT), for
images and with the softmax: SGD, lr 0.2, momentum 0.9, weight decay 5e-4, 5 epochs, cosine.
Command: vltr-train fit lws --data DIR
Expected: no number is available.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor, nn

from vltr_train.method import SAME_RANKING, AveragePrecision, ResampledConfig, ResampledLast, Stage, Task
from vltr_train.samplers import ClassSampler

__all__ = ["LWS", "LWSConfig"]


@dataclass(frozen=True, kw_only=True)
class LWSConfig(ResampledConfig):
    """The settings of learnable weight scaling; ``scales_epochs``, ``_lr`` and ``_decay`` are the published ones.

    Attributes:
        scales_epochs: The number of epochs of the second stage, at least 1.
        scales_lr: The learning rate of the second stage at its start, above 0; it falls to 0 as a cosine.
        scales_decay: The weight decay of the scales, at least 0. It pulls them to 0.
        select_on: The mAP does not depend on the scales, so it cannot select an epoch of the second stage. The default
            keeps the last.
        features_mode: The mode of the frozen model in the second stage, as in cRT. "eval" leaves the model as the first
            stage has learnt it, so scales are learnt for the logits of evaluation; "train" lets dropout act on it, and
            balanced batches move the running statistics of batch normalisation.
    """

    scales_epochs: int = 5
    scales_lr: float = 0.2
    scales_decay: float = 5e-4
    select_on: str = field(default="last", metadata={"choices": ("validate", "test", "last")})
    # DIFFERS: the published code leaves the frozen model in train mode.
    features_mode: str = field(default="eval", metadata={"choices": ("eval", "train")})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scales_epochs < 1:
            raise ValueError(f"scales_epochs: expected at least 1, got {self.scales_epochs}")
        if not self.scales_lr > 0:
            raise ValueError(f"scales_lr: expected a positive number, got {self.scales_lr}")
        if self.scales_decay < 0:
            raise ValueError(f"scales_decay: expected at least 0, got {self.scales_decay}")


class LWS(ResampledLast):
    paper = "Learnable weight scaling, two-stage (arXiv 1910.09217)"
    config: LWSConfig
    Config = LWSConfig
    official = MappingProxyType({"select_on": "last", "batch_size": 512, "clip_norm": None, "features_mode": "train"})

    def __init__(self, config: LWSConfig, task: Task) -> None:
        super().__init__(config, task)
        self.scales = nn.Parameter(torch.ones(task.num_classes))

    def notes(self) -> list[str]:
        if self.config.features_mode == "train" and any("running" in name for name, _ in self.model.named_buffers()):
            return ["features_mode: train moves batch statistics, so AP, ROC-AUC and SAP change as well as Acc@k"]
        found = [f"scales: where positive, {SAME_RANKING}"]
        if self.config.select_on != "last":
            found.append(f"select_on: {self.config.select_on} cannot tell the epochs of stage scales apart")
        return found

    def stages(self) -> tuple[Stage, ...]:
        config = self.config
        # DIFFERS: the published code has the cross entropy of a softmax, of one label, in both stages.
        # DIFFERS: the published code has batches of 512, and clips no gradients.
        # DIFFERS: the published sampler draws C n_max rows, four of a class at a time. Here there are as many draws as
        # videos, with replacement.
        scales = self.stage(
            name="scales",
            epochs=config.scales_epochs,
            rate=lambda done: config.scales_lr * (1 + math.cos(math.pi * done / config.scales_epochs)) / 2,
            samplers=(ClassSampler(),),
            optimizer=partial(torch.optim.SGD, momentum=0.9, weight_decay=config.scales_decay),
        )
        return (self.stage(), scales)

    def begin_stage(self, stage: Stage) -> None:
        is_last = stage.name == "scales"
        self.scales.requires_grad_(is_last)
        if is_last:
            self.freeze(self.model, in_eval=self.config.features_mode == "eval")

    def clipped(self) -> list[nn.Parameter]:
        """Return the parameters whose gradients are clipped: the scales are a part of the classifier."""
        is_left_out = self.config.clip_scope == "classifier" and self.scales.requires_grad
        return super().clipped() + [self.scales] * is_left_out

    def end_stage(self, stage: Stage, average_precision: AveragePrecision) -> str | None:
        """Return a message with the range of the scales."""
        if stage.name != "scales":
            return None
        scales = self.scales.detach()
        reversed_classes = int((scales <= 0).sum())
        warning = f"; {reversed_classes} are not positive, which reverses these classes" * (reversed_classes > 0)
        return f"scales: {float(scales.min()):.3f} to {float(scales.max()):.3f}{warning}"

    def predict(self, features: Tensor) -> Tensor:
        """Return the scaled logits."""
        return self.scales * self.model(features)
