"""Equalization loss: with a small probability a tail class does not learn from a negative.

Paper: Tan et al., arXiv 2003.05176: L = mean of (1 - E T_c (1 - y_bc)) l_bc, where T_c is 1 for tail classes and
E is 1 with probability gamma.
Code: https://github.com/17Skye17/VideoLT (ops/losses.py). Its gamma, 1.76e-3, is the paper's frequency threshold.
With it two negatives in a thousand are dropped, and the loss is nearly plain BCE. Try eql_gamma=0.9.
Command: vltr-train fit eql:r101 --data DIR
Expected: All .518, head .690, medium .571, tail .398, Acc@1 .664, Acc@5 .838.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from vltr_train import losses
from vltr_train.data.loader import Batch
from vltr_train.method import Method, Task, TrainConfig
from vltr_train.presets import published

__all__ = ["EQL", "EQLConfig"]


@dataclass(frozen=True, kw_only=True)
class EQLConfig(TrainConfig):
    # The probability that a tail class does not learn from a negative, from 0 to 1.
    # DIFFERS: the paper's 1.76e-3 is the frequency below which a class is rare, and its gamma is near 1. VideoLT's
    # code, and the default, take it for gamma.
    eql_gamma: float = 1.76e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eql_gamma <= 1:
            raise ValueError(f"eql_gamma: expected from 0 to 1, got {self.eql_gamma}")


class EQL(Method):
    paper = "Equalization loss (arXiv 2003.05176)"
    config: EQLConfig
    tail: Tensor
    Config = EQLConfig
    presets = MappingProxyType(published("eql", "EQL"))

    def __init__(self, config: EQLConfig, task: Task) -> None:
        super().__init__(config, task)
        # DIFFERS: the paper's T is 1 for classes of a low frequency. In VideoLT's code, and here, T is 1 for
        # tail classes.
        _, most_of_tail = task.bounds
        self.register_buffer("tail", torch.from_numpy(task.group_counts <= most_of_tail), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        return losses.eql(self.model(batch.features), batch.targets, self.tail, self.config.eql_gamma)
