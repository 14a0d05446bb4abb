"""Equalization loss: now and then a tail class does not learn from a negative.

Paper: Tan et al., arXiv 2003.05176: L = mean of (1 - E T_c (1 - y_bc)) l_bc, where T_c is 1 for tail classes and
E is 1 with probability gamma.
Code: https://github.com/17Skye17/VideoLT (ops/losses.py). Its gamma, 1.76e-3, is the paper's threshold of frequency;
with it two negatives in a thousand are dropped and the loss is all but plain BCE. Try eql_gamma=0.9.
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
    eql_gamma: float = 1.76e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eql_gamma <= 1:
            raise ValueError(f"eql_gamma: expected from 0 to 1, got {self.eql_gamma}")


class EQL(Method):
    paper = "Equalization loss (arXiv 2003.05176)"
    Config = EQLConfig
    presets = MappingProxyType(
        published(
            "EQL",
            {
                "r50": (0.502, 0.679, 0.557, 0.378, 0.653, 0.829),
                "r101": (0.518, 0.690, 0.571, 0.398, 0.664, 0.838),
                "tsm": (0.567, 0.757, 0.623, 0.439, None, None),
                "tsm-netvlad": (0.665, 0.808, 0.713, 0.557, None, None),
                "r50-agg": (0.676, 0.794, 0.717, 0.585, 0.704, 0.862),
                "r101-agg": (0.690, 0.805, 0.729, 0.602, 0.714, 0.870),
                "tsm-agg": (0.680, 0.825, 0.727, 0.575, 0.713, 0.874),
                "r101-charadeslt": (0.121, 0.203, 0.113, 0.042),
                "r101-charadesegolt": (0.158, 0.250, 0.136, 0.076),
            },
        )
    )

    def __init__(self, config: EQLConfig, task: Task) -> None:
        super().__init__(config, task)
        _, most_of_tail = task.bounds
        self.register_buffer("tail", torch.from_numpy(task.train_counts <= most_of_tail), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        return losses.eql(self.model(batch.features), batch.targets, self.tail, self.config.eql_gamma)
