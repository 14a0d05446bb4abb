"""Class-balanced sampling: every class is drawn alike, then a video of it.

Paper: VideoLT, arXiv 2105.02668, "CBS", after Kang et al., arXiv 1910.09217, Eq. 1 with q = 0: p_c = 1 / C.
L = mean over b of the sum over c of m_bc l_bc; l is the BCE, and m is 0 at labels that a video was not drawn for.
Code: https://github.com/17Skye17/VideoLT (ResamplingDataset_Mask).
Command: vltr-train fit cbs:r101 --data DIR
Expected: All .507, head .660, medium .559, tail .390, Acc@1 .652, Acc@5 .828.
"""

from __future__ import annotations

from types import MappingProxyType

from vltr_train.data.samplers import ClassSampler
from vltr_train.method import Resampled, Stage
from vltr_train.presets import published

__all__ = ["CBS"]


class CBS(Resampled):
    paper = "Class-balanced sampling (arXiv 1910.09217)"
    presets = MappingProxyType(
        published(
            "CBS",
            {
                "r50": (0.491, 0.649, 0.545, 0.371, 0.640, 0.820),
                "r101": (0.507, 0.660, 0.559, 0.390, 0.652, 0.828),
                "tsm": (0.558, 0.733, 0.612, 0.435, None, None),
                "tsm-netvlad": (0.662, 0.806, 0.708, 0.558, None, None),
                "r50-agg": (0.672, 0.781, 0.713, 0.582, 0.697, 0.856),
                "r101-agg": (0.685, 0.794, 0.723, 0.601, 0.709, 0.864),
                "tsm-agg": (0.674, 0.816, 0.721, 0.570, 0.709, 0.869),
            },
        )
        | published(
            "CBS",
            {
                "r101-charadeslt": (0.129, 0.208, 0.124, 0.047),
                "r101-charadesegolt": (0.163, 0.255, 0.142, 0.079),
            },
            mask_other_positives=False,  # videos there have 6.9 and 9.6 labels
        )
        | published(
            "balancing",
            {"i3d-ava": (0.419, 0.476, 0.402, 0.113)},
            tables=("ava-2",),
            mask_other_positives=False,  # there it is the baseline with videos of rare classes duplicated
            over_classes="mean",
        )
    )

    def stages(self) -> tuple[Stage, ...]:
        return (self.stage(samplers=(ClassSampler(power=0.0),)),)
