"""Square-root sampling: a class is drawn in proportion to the square root of its videos, then a video of it.

Paper: Kang et al., arXiv 1910.09217, Eq. 1 with q = 1/2: p_c = n_c^(1/2) / sum_k n_k^(1/2).
L = mean over b of the sum over c of m_bc l_bc; l is the BCE, and m is 0 at the labels that a video was not drawn for.
Code: https://github.com/17Skye17/VideoLT (ResamplingDataset_Mask); the numbers are those of its MODELZOO.
Command: vltr-train fit srs:r101 --data DIR
Expected: All .516, head .680, medium .568, tail .399.
"""

from __future__ import annotations

from types import MappingProxyType

from vltr_train.method import Resampled, Stage
from vltr_train.presets import published
from vltr_train.samplers import ClassSampler

__all__ = ["SRS"]


class SRS(Resampled):
    paper = "Square-root sampling (arXiv 1910.09217)"
    presets = MappingProxyType(published("srs", "SRS"))

    def stages(self) -> tuple[Stage, ...]:
        return (self.stage(samplers=(ClassSampler(power=0.5),)),)
