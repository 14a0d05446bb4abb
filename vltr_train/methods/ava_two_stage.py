"""From head to tail (AVA): head classes train the features, then balanced videos train a classifier of all classes.

Paper: Zhang et al., "A Study on Action Detection in the Wild", arXiv 1904.12993, Section 5.2 and Algorithm 1.
Stage "judge": BCE of all classes, for a few epochs. Head classes have AP_train - AP_validate >= margin; the others have
too few videos for the model to fit even the training set. If this criterion separates no classes, head classes are
those with n > the lower bound of the groups.
Stage "features": the model is initialised anew and trained on videos with a head label; L = mean over b and head
classes c of l_bc.
Stage "classifier": the trunk is frozen. A new linear classifier of all classes, with dropout, is trained on videos that
are drawn by class, each class equally often; L = mean over b of the sum over c of l_bc. SGD runs for one epoch in
batches of 1000, and its rate falls linearly to a tenth.
Code: none is published. The presets are for one vector a box, as ROI pooling gives it. Set train_frames and test_frames
for other data. AVA has no list for validation; without your own list, counts select the head classes.
Command: vltr-train fit ava_two_stage:i3d-ava --data DIR
Expected: SAP .491, tail SAP .539, head SAP .477, mAP .176. The paper measures these on detected boxes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from vltr_train import losses
from vltr_train.aggregators import AGGREGATOR_NOTES, VideoClassifier, make_aggregator
from vltr_train.data.loader import Batch
from vltr_train.method import AveragePrecision, Method, Stage, Task, TrainConfig
from vltr_train.ops.dropout import Dropout
from vltr_train.presets import published
from vltr_train.samplers import ClassSampler, InstanceSampler

__all__ = ["AVATwoStage", "AVATwoStageConfig"]


@dataclass(frozen=True, kw_only=True)
class AVATwoStageConfig(TrainConfig):
    # DIFFERS: the paper's trunk is a video network that pools boxes. Here it is an aggregator of frames. The mean has
    # no weights to transfer.
    aggregator: str = field(
        default="nonlinear",
        metadata={"choices": {name: note for name, note in AGGREGATOR_NOTES.items() if name != "mean"}},
    )
    # Here it acts on the input of the linear classifier in all stages, and not in the aggregator.
    dropout: float = 0.3
    # The rule that selects head classes. "criterion" selects them by the gap between their AP in training and in
    # validation, as the paper; "count" selects those with more training videos than the tail bound.
    head_rule: str = field(default="criterion", metadata={"choices": ("criterion", "count")})
    judge_epochs: int = 10  # The number of epochs of the model by which the criterion judges.
    # The least gap of a head class by the criterion: AP in training minus AP in validation.
    margin: float = 0.0
    # The least share of tail classes, from 0 to 1. The criterion is used if it finds at least this share, and at least
    # one class. Otherwise counts select the head classes.
    # DIFFERS: the paper selects head classes by its criterion alone, and does not say how far the APs are apart.
    least_tail: float = 0.05
    # The classes whose labels the features are trained on in the first stage (Table 3). "head" takes the head classes
    # alone; "all" takes every class.
    stage1: str = field(default="head", metadata={"choices": ("head", "all")})
    # The parts that the second stage trains (Table 4). "linear" trains the new linear classifier alone; "all" trains
    # the whole model.
    stage2: str = field(default="linear", metadata={"choices": ("linear", "all")})
    stage2_balance: bool = True  # Whether the second stage draws videos by class, each class equally often (Table 5).
    classifier_epochs: int = 1  # The number of epochs of the second stage.
    # The number of videos in an epoch of the second stage. "videos" draws as many by class as there are; "duplicated"
    # draws as many as the paper's set with duplicates has.
    # DIFFERS: the paper duplicates the videos of tail classes until all classes have about as many. An epoch of that
    # set has about C n_max labels, and so C n_max / (mean labels of a video) videos.
    classifier_videos: str = field(default="videos", metadata={"choices": ("videos", "duplicated")})
    classifier_batch_size: int = 1000  # The videos of a batch in the second stage, of all ranks together.
    # The learning rate of the second stage at its start, above 0.
    # DIFFERS: the paper has 1e-3 to 1e-4 and no clipping (protocol=official). With these, the 180 steps of an epoch of
    # VideoLT hardly move a new classifier from chance: on synthetic features its SAP is .61, and .93 with the
    # defaults. At these rates unclipped gradients of a sum over classes destroy a trunk that is trained too
    # (stage2=all).
    classifier_lr: float = 0.1
    classifier_last_lr: float = 0.01  # The learning rate to which that of the second stage falls linearly, above 0.
    classifier_clip_norm: float | None = 5.0  # The largest norm of gradients in the second stage; none for no clipping.

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("judge_epochs", "classifier_epochs", "classifier_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("classifier_lr", "classifier_last_lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if self.classifier_clip_norm is not None and not self.classifier_clip_norm > 0:
            raise ValueError(
                f"classifier_clip_norm: expected a positive number or none, got {self.classifier_clip_norm}"
            )
        if not 0 <= self.least_tail <= 1:
            raise ValueError(f"least_tail: expected from 0 to 1, got {self.least_tail}")


class AVATwoStage(Method):
    paper = "A Study on Action Detection in the Wild (arXiv 1904.12993)"
    config: AVATwoStageConfig
    model: VideoClassifier
    head: Tensor
    by_criterion: Tensor
    Config = AVATwoStageConfig
    official = MappingProxyType(
        {
            "classifier_videos": "duplicated",
            "classifier_lr": 1e-3,
            "classifier_last_lr": 1e-4,
            "classifier_clip_norm": None,
        }
    )
    presets = MappingProxyType(
        published("ava_two_stage", "ours")
        | published("ava_two_stage", "1st stage all", stage1="all")
        | published("ava_two_stage", "2nd stage all", stage2="all")
        | published("ava_two_stage", "original distribution", stage2_balance=False)
    )

    def __init__(self, config: AVATwoStageConfig, task: Task) -> None:
        super().__init__(config, task)
        self._by_count = task.group_counts > task.bounds[1]
        if config.stage1 == "head" and not self._by_count.any():
            raise ValueError(
                f"stage1: expected a class of more than {task.bounds[1]:g} training videos to be head, got none"
            )
        head = self._by_count if config.stage1 == "head" else np.ones(task.num_classes, bool)
        self.register_buffer("head", torch.tensor(head))
        self.register_buffer("by_criterion", torch.tensor(False))

    @property
    def rule(self) -> str:
        """The rule that selected `head`, the (C,) bool classes of the features: "criterion", "count" or "all"."""
        if self.config.stage1 == "all":
            return "all"
        return "criterion" if self.by_criterion else "count"

    def make_model(self) -> VideoClassifier:
        config, task = self.config, self.task
        aggregator = make_aggregator(config.aggregator, task.feature_dim, dropout=0.0, clusters=config.clusters)
        model = VideoClassifier(aggregator, task.num_classes)
        # The aggregator's own dropout would be frozen together with it.
        model.classifier = nn.Sequential(Dropout(config.dropout), model.classifier)
        return model

    def stages(self) -> tuple[Stage, ...]:
        config = self.config
        # DIFFERS: the paper fine-tunes a pre-trained network by SGD, with its batch statistics frozen. This trunk is
        # new, so it is trained like the trunks of all methods that it is compared with.
        judge = self.stage(name="judge", epochs=config.judge_epochs)
        # A video without any label is a negative of all classes, but it has no head label.
        head = None if config.stage1 == "all" else self.head.cpu().numpy()
        features = self.stage(name="features", samplers=(InstanceSampler(classes=head),))
        epochs = config.classifier_epochs * (self._epochs_of_duplicated() if self._duplicates else 1)
        fall = (config.classifier_last_lr - config.classifier_lr) / epochs
        # The outputs of the frozen trunk are not cached: each epoch draws frames anew, and there is only one.
        classifier = Stage(
            name="classifier",
            epochs=epochs,
            batch_size=config.classifier_batch_size,
            rate=lambda progress: config.classifier_lr + fall * progress,
            clip_norm=config.classifier_clip_norm,
            samplers=(ClassSampler() if config.stage2_balance else InstanceSampler(),),
            # DIFFERS: the paper has SGD without a word on momentum.
            optimizer=partial(torch.optim.SGD, momentum=0.9),
        )
        is_judged = config.stage1 == "head" and config.head_rule == "criterion"
        return (*[judge] * is_judged, features, classifier)

    @property
    def _duplicates(self) -> bool:
        return self.config.stage2_balance and self.config.classifier_videos == "duplicated"

    def _epochs_of_duplicated(self) -> int:
        """The epochs that draw as many videos as the set in which each class has the videos of the most frequent one.

        That set has C n_max labels, and the videos as they come have sum n. Both have the same mean number of labels a
        video, so the ratio of labels is that of videos.
        """
        counts = self.task.train_counts[self.task.train_counts > 0]
        return max(1, round(len(counts) * int(counts.max()) / int(counts.sum())))

    def begin_stage(self, stage: Stage) -> None:
        self._stage = stage.name
        if stage.name == "features":
            self.model.load_state_dict(self.make_model().state_dict())
        elif stage.name == "classifier":
            if self.config.stage2 == "linear":
                self.freeze(self.model.aggregator)
            self.model.reset_classifier()

    def end_stage(self, stage: Stage, average_precision: AveragePrecision) -> str | None:
        """Select `head` by the APs of stage "judge"; return a message with the rule."""
        if stage.name != "judge":
            return None
        # DIFFERS: the paper compares AP_train with the AP on the set that it reports results on.
        gap = average_precision("train") - average_precision("validate")
        is_tail, is_head = (
            gap < self.config.margin,
            gap >= self.config.margin,
        )  # NaN is neither
        least, compared = max(1, math.ceil(self.config.least_tail * len(gap))), int((is_tail | is_head).sum())
        by = f"more than {self.task.bounds[1]:g} training videos"
        if least <= is_tail.sum() < compared:
            self.head.copy_(torch.from_numpy(np.where(is_tail | is_head, is_head, self._by_count)))
            self.by_criterion.fill_(True)
            by = f"AP in training less AP in validation, at least {self.config.margin:g}"
        elif compared:
            by += f": AP in training less AP in validation is below {self.config.margin:g} in {is_tail.sum()} of "
            by += f"{compared} classes, where {least} to {compared - 1} were expected"
        else:
            by += ": no class has an AP in training and in validation"
        return f"head: {int(self.head.sum())} of {len(gap)} classes by {by}"

    def forward(self, batch: Batch) -> Tensor:
        entropies = losses.bce(self.model(batch.features), batch.targets, reduction="none")
        if self._stage == "judge":
            return losses.mean_over_batch(entropies)
        if self._stage == "features":
            return losses.masked_sum(entropies, self.head) / self.head.sum()
        # A sum, because each class is a classifier of its own: a C-th of its gradient would not move it at these rates.
        return losses.mean_over_batch(entropies, "sum")
