"""Class-balanced sampling: each class is drawn with the same probability, then a video of it.

Paper: VideoLT, arXiv 2105.02668, "CBS", after Kang et al., arXiv 1910.09217, Eq. 1 with q = 0: p_c = 1 / C.
L = mean over b of the sum over c of m_bc l_bc; l is the BCE, and m is 0 at the labels that a video was not drawn for.
Code: https://github.com/17Skye17/VideoLT (ResamplingDataset_Mask).
Command: vltr-train fit cbs:r101 --data DIR
Expected: All .507, head .660, medium .559, tail .390, Acc@1 .652, Acc@5 .828.
"""

from __future__ import annotations

from types import MappingProxyType

from vltr_train.method import Resampled, Stage
from vltr_train.presets import published
from vltr_train.samplers import ClassSampler

__all__ = ["CBS"]


class CBS(Resampled):
    paper = "Class-balanced sampling (arXiv 1910.09217)"
    presets = MappingProxyType(
        published("cbs", "CBS", without="*-charades*")
        # Videos of Charades have 6.9 labels and videos of CharadesEgo 9.6.
        | published("cbs", "CBS", only="*-charades*", mask_other_positives=False)
        # The row is the baseline with videos of rare classes duplicated.
        | published("cbs", "balancing", mask_other_positives=False, over_classes="mean")
    )

    def stages(self) -> tuple[Stage, ...]:
        return (self.stage(samplers=(ClassSampler(power=0.0),)),)
