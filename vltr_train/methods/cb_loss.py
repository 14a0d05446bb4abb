"""Class-balanced loss: the weight of a class falls with the effective number of its training videos.

Paper: Cui et al., arXiv 1901.05555: w_c = (1 - beta) / (1 - beta^n_c), scaled to the sum C; L = mean of w_c l_bc.
Code: https://github.com/17Skye17/VideoLT (ops/losses.py), which weights class c in every row, positives and negatives.
Command: vltr-train fit cb_loss:r101 --data DIR
Expected: All .511, head .665, medium .561, tail .398, Acc@1 .656, Acc@5 .832.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor

from vltr_train import losses
from vltr_train.data.loader import Batch
from vltr_train.method import Method, Task, TrainConfig
from vltr_train.presets import published

__all__ = ["CBLoss", "CBLossConfig"]


@dataclass(frozen=True, kw_only=True)
class CBLossConfig(TrainConfig):
    # The beta of the effective number of videos, (1 - beta^n) / (1 - beta), from 0 to below 1. A larger one weights
    # rare classes more; 0 gives equal weights.
    cb_beta: float = 0.9999
    # The terms that a class weight multiplies. "column" weights the terms of class c in every row by w_c; "sample"
    # weights all terms of a row by the sum of the weights of its labels.
    # DIFFERS: the paper weights a row by the weight of its label. VideoLT's code, and the default, weight the column.
    cb_axis: str = field(default="column", metadata={"choices": ("column", "sample")})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.cb_beta < 1:
            raise ValueError(f"cb_beta: expected from 0 to below 1, got {self.cb_beta}")


class CBLoss(Method):
    paper = "Class-balanced loss (arXiv 1901.05555)"
    config: CBLossConfig
    class_weights: Tensor
    Config = CBLossConfig
    presets = MappingProxyType(published("cb_loss", "CB loss"))

    def __init__(self, config: CBLossConfig, task: Task) -> None:
        super().__init__(config, task)
        weights = losses.class_balanced_weights(task.train_counts, config.cb_beta)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        weight = self.class_weights
        if self.config.cb_axis == "sample":
            weight = (batch.targets @ weight).unsqueeze(1)
        return losses.bce(self.model(batch.features), batch.targets, weight)
