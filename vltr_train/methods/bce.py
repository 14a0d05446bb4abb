"""Binary cross entropy, with each video drawn once an epoch: the baseline of every table.

Paper: VideoLT, arXiv 2105.02668, "baseline" of Tables 1 to 5. L = mean over b, c of BCE(sigmoid(z_bc), y_bc).
Code: https://github.com/17Skye17/VideoLT (base_main.py).
Command: vltr-train fit bce:r101 --data DIR
Expected: All .516, head .687, medium .568, tail .396, Acc@1 .663, Acc@5 .837.
"""

from __future__ import annotations

from types import MappingProxyType

from torch import Tensor

from vltr_train import losses
from vltr_train.data.loader import Batch
from vltr_train.method import Method
from vltr_train.presets import published

__all__ = ["BCE"]


class BCE(Method):
    paper = "VideoLT (arXiv 2105.02668), baseline"
    presets = MappingProxyType(published("bce", "baseline", "PSA", "codebook", "MSA"))

    def forward(self, batch: Batch) -> Tensor:
        return losses.bce(self.model(batch.features), batch.targets)
