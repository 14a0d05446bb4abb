"""Class-balanced sampling: every class is drawn alike, then a video of it.

Paper: VideoLT, arXiv 2105.02668, "CBS", after Kang et al., arXiv 1910.09217, Eq. 1 with q = 0: p_c = 1 / C.
L = mean over b of the sum over c of m_bc l_bc; l is the BCE, and m is 0 at labels that a video was not drawn for.
Code: https://github.com/17Skye17/VideoLT (ResamplingDataset_Mask).
Command: vltr-train fit cbs:r101 --data DIR
Expected: All .507, head .660, medium .559, tail .390, Acc@1 .652, Acc@5 .828.
"""

from __future__ import annotations

from types import MappingProxyType

from vltr_train.method import Preset, Resampled, Stage
from vltr_train.samplers import ClassSampler

__all__ = ["CBS"]


class CBS(Resampled):
    paper = "Class-balanced sampling (arXiv 1910.09217)"
    presets = MappingProxyType(
        {
            "r50": Preset(
                row="CBS",
                tables=("videolt-1", "videolt-modelzoo"),
                backbone="ResNet50",
                printed=(0.491, 0.649, 0.545, 0.371, 0.640, 0.820),
            ),
            "r101": Preset(
                row="CBS",
                tables=("videolt-1", "videolt-modelzoo"),
                backbone="ResNet101",
                printed=(0.507, 0.660, 0.559, 0.390, 0.652, 0.828),
            ),
            "tsm": Preset(
                row="CBS",
                tables=("videolt-2",),
                backbone="TSM-R50",
                printed=(0.558, 0.733, 0.612, 0.435, None, None),
            ),
            "tsm-netvlad": Preset(
                row="CBS",
                tables=("videolt-2",),
                backbone="TSM-R50",
                printed=(0.662, 0.806, 0.708, 0.558, None, None),
                settings={"aggregator": "netvlad"},
            ),
        }
    )

    def stages(self) -> tuple[Stage, ...]:
        return (self.stage(samplers=(ClassSampler(power=0.0),)),)
