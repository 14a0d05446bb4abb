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
from vltr_train.data.loader import Batch
from vltr_train.method import Method
from vltr_train.presets import COMPARED, published

__all__ = ["BCE"]


class BCE(Method):
    paper = "VideoLT (arXiv 2105.02668), baseline"
    presets = MappingProxyType(
        published(
            "baseline",
            {
                "r50": (0.499, 0.675, 0.553, 0.376, 0.650, 0.828),
                "r101": (0.516, 0.687, 0.568, 0.396, 0.663, 0.837),
                "tsm": (0.565, 0.757, 0.620, 0.436, 0.680, 0.851),
                "r101-netvlad": (0.668, 0.775, 0.707, 0.584, 0.700, 0.864),
                "tsm-netvlad": (0.660, 0.803, 0.708, 0.554, 0.695, 0.870),
                "r50-agg": (0.676, 0.793, 0.717, 0.585, 0.702, 0.861),
                "r101-agg": (0.690, 0.806, 0.730, 0.601, 0.715, 0.869),
                "tsm-agg": (0.680, 0.825, 0.727, 0.575, 0.714, 0.873),
                "r50-mk0.01": (0.466, 0.397),
                "r50-mk0.02": (0.510, 0.456),
                "r50-mk0.05": (0.555, 0.525),
                "r50-mk0.1": (0.589, 0.573),
                "r101-mk0.01": (0.492, 0.429),
                "r101-mk0.02": (0.534, 0.480),
                "r101-mk0.05": (0.579, 0.548),
                "r101-mk0.1": (0.611, 0.594),
                "r50-agg-mk0.01": (0.559, 0.490),
                "r50-agg-mk0.02": (0.595, 0.531),
                "r50-agg-mk0.05": (0.633, 0.591),
                "r50-agg-mk0.1": (0.662, 0.623),
                "r101-agg-mk0.01": (0.581, 0.511),
                "r101-agg-mk0.02": (0.619, 0.562),
                "r101-agg-mk0.05": (0.658, 0.611),
                "r101-agg-mk0.1": (0.686, 0.640),
            },
            tables={
                "r50": (*COMPARED, "videolt-medc-2"),
                "r101": (*COMPARED, "videolt-medc-2", "videolt-3", "videolt-4", "videolt-move-4"),
                "tsm": ("videolt-2", "videolt-4", "videolt-move-2", "videolt-move-5"),
                "r101-netvlad": ("videolt-3", "videolt-4"),
                "tsm-netvlad": ("videolt-2", "videolt-4"),
                "r101-agg": ("videolt-move-1", "videolt-move-4"),
            },
        )
        | published("PSA", {"r101-psa": (0.681, 0.795, 0.719, 0.595, 0.706, 0.866)}, tables=("videolt-move-4",))
        | published(
            "codebook", {"r101-codebook": (0.677, 0.787, 0.714, 0.593, 0.716, 0.863)}, tables=("videolt-move-4",)
        )
        | published("MSA", {"tsm-msa": (0.642, 0.794, 0.689, 0.535, 0.685, 0.848)}, tables=("videolt-move-5",))
        | published("PSA", {"tsm-psa": (0.669, 0.817, 0.716, 0.563, 0.702, 0.867)}, tables=("videolt-move-5",))
        | published("baseline", {"i3d-ava": (0.478, 0.477, 0.478, 0.167)}, tables=("ava-2", "ava-3", "ava-4", "ava-5"))
    )

    def forward(self, batch: Batch) -> Tensor:
        return losses.bce(self.model(batch.features), batch.targets)
