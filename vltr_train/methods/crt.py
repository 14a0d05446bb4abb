"""Classifier re-training (cRT): all videos train the features, then balanced videos train a new classifier.

Paper: Kang et al., arXiv 1910.09217, Section 4.1; VideoLT (arXiv 2105.02668) reports it in its supplement only.
Stage "train": BCE. Stage "classifier": the aggregator is frozen, and a new classifier is trained on class-balanced
videos. Its loss is the mean over videos of the sum over classes of m_bc l_bc; m is 0 at the labels that a video was not
drawn for.
Code: none for videos; https://github.com/facebookresearch/classifier-balancing for images.
Command: vltr-train fit crt --data DIR
Expected: no number is available.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from vltr_train.method import ResampledConfig, ResampledLast, Stage
from vltr_train.samplers import ClassSampler

__all__ = ["CRT", "CRTConfig"]


@dataclass(frozen=True, kw_only=True)
class CRTConfig(ResampledConfig):
    classifier_epochs: int = 10  # The number of epochs of the second stage, at least 1.
    # The mode of the frozen features in the second stage. "eval" leaves them as the first stage has learnt them, in
    # training as in evaluation; "train" lets dropout act on them and normalises them by the statistics of balanced
    # batches, which move their running statistics too.
    # DIFFERS: the published code leaves the frozen features in train mode.
    features_mode: str = field(default="eval", metadata={"choices": ("eval", "train")})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classifier_epochs < 1:
            raise ValueError(f"classifier_epochs: expected at least 1, got {self.classifier_epochs}")


class CRT(ResampledLast):
    paper = "cRT, two-stage (arXiv 1910.09217)"
    config: CRTConfig
    Config = CRTConfig
    official = MappingProxyType({"features_mode": "train"})

    def stages(self) -> tuple[Stage, ...]:
        epochs = self.config.classifier_epochs
        # DIFFERS: the published code has the cross entropy of a softmax, of one label, in both stages.
        # DIFFERS: the published sampler draws C n_max rows, four of a class at a time. Here there are as many draws as
        # videos, with replacement.
        # DIFFERS: the published code has SGD with momentum 0.9, weight decay 5e-4, a rate that falls as a cosine and
        # batches of 512, and clips no gradients. Here both stages have all that from VideoLT's methods.
        return (self.stage(), self.stage(name="classifier", epochs=epochs, samplers=(ClassSampler(),)))

    def begin_stage(self, stage: Stage) -> None:
        if stage.name == "classifier":
            self.freeze(self.model.aggregator, in_eval=self.config.features_mode == "eval")
            self.model.reset_classifier()
