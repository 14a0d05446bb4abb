"""Binary cross entropy on videos as they come: the baseline of every table.

Paper: VideoLT, arXiv 2105.02668, "baseline" of Tables 1 to 5. L = mean over b, c of BCE(sigmoid(z_bc), y_bc).
Code: https://github.com/17Skye17/VideoLT (base_main.py).
Command: vltr-train fit bce:r101 --data DIR
Expected: All .516, head .687, medium .568, tail .396, Acc@1 .663, Acc@5 .837.
"""

from __future__ import annotations

from types import MappingProxyType

from torch import Tensor

from vltr_train import losses
from vltr_train.loader import Batch
from vltr_train.method import Method, Preset

__all__ = ["BCE"]


class BCE(Method):
    paper = "VideoLT (arXiv 2105.02668), baseline"
    presets = MappingProxyType(
        {
            "r50": Preset(
                row="baseline",
                tables=("videolt-1", "videolt-modelzoo"),
                backbone="ResNet50",
                printed=(0.499, 0.675, 0.553, 0.376, 0.650, 0.828),
            ),
            "r101": Preset(
                row="baseline",
                tables=("videolt-1", "videolt-modelzoo", "videolt-3", "videolt-4"),
                backbone="ResNet101",
                printed=(0.516, 0.687, 0.568, 0.396, 0.663, 0.837),
            ),
            "tsm": Preset(
                row="baseline",
                tables=("videolt-2", "videolt-4"),
                backbone="TSM-R50",
                printed=(0.565, 0.757, 0.620, 0.436, 0.680, 0.851),
            ),
            "r101-netvlad": Preset(
                row="baseline",
                tables=("videolt-3", "videolt-4"),
                backbone="ResNet101",
                printed=(0.668, 0.775, 0.707, 0.584, 0.700, 0.864),
                settings={"aggregator": "netvlad"},
            ),
            "tsm-netvlad": Preset(
                row="baseline",
                tables=("videolt-2", "videolt-4"),
                backbone="TSM-R50",
                printed=(0.660, 0.803, 0.708, 0.554, 0.695, 0.870),
                settings={"aggregator": "netvlad"},
            ),
        }
    )

    def forward(self, batch: Batch) -> Tensor:
        return losses.bce(self.model(batch.features), batch.targets)
