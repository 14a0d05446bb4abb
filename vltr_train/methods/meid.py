"""MEID: a second expert trains on balanced videos, on the frames that the first attends to least and on motion.

Paper: Li and Xu, "MEID: Mixture-of-Experts with Internal Distillation for Long-Tailed Video Recognition", AAAI 2023,
Eq. 2 to 14. Frames X (B, N, D), logits Y (B, C).
Expert 1: T = FrameEmbedding(X), A = FrameAttention(X) in (0, 1), Y = Linear(aggregate(T A)).
Expert 2: R = 1 / (A + beta), X_C = FrameEmbedding(X) R, X_M = [x_2 - x_1, ..., x_N - x_{N-1}, mean of all x],
X_F = Linear([X_C, FrameEmbedding(X_M)]), Y_F = Linear(aggregate(X_F)). Its modules are its own; only A is expert 1's.
Stage "expert1": focal(Y) + 0.1 L_d(Y). Stage "expert2", expert 1 frozen, class-balanced: focal(Y + Y_F) + 0.1 L_d(Y_F).
L_d = |Var(Linear_head(Y at head classes)) - Var(Linear_tail(Y at tail classes))|^2. Prediction: Y + Y_F.
Code: none; the repository that the paper names, VisionLanguageLab/MEID, has a README only. The comments give reasons
for choices that the paper leaves open.
Frames must be in temporal order, or X_M is meaningless. The published script of MiniKinetics extracts them out of
order.
Neither lists nor features of Charades are published, so runs on your own split do not reproduce the paper's.
Command: vltr-train fit meid:r50 --data DIR
Expected: All .619, head .750, medium .661, tail .524.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vltr_eval._base.groups import class_groups
from vltr_train import losses
from vltr_train.aggregators import AGGREGATOR_NOTES, Mean, VideoClassifier
from vltr_train.data.loader import FRAME_SAMPLING, Batch
from vltr_train.method import Method, Stage, StepDecay, Task, TrainConfig
from vltr_train.presets import published
from vltr_train.samplers import ClassSampler, InstanceSampler

__all__ = ["MEID", "MEIDConfig"]


@dataclass(frozen=True, kw_only=True)
class MEIDConfig(TrainConfig):
    # The frame embedding is the linear layer and ReLU of VideoLT's Nonlinear, followed by a mean.
    # DIFFERS: here dropout acts on the mean, and in VideoLT's Nonlinear on each frame; the paper has no word on it.
    aggregator: str = field(
        default="mean", metadata={"choices": {name: AGGREGATOR_NOTES[name] for name in ("mean", "netvlad", "nextvlad")}}
    )
    clip_scope: str = field(default="all", metadata={"choices": ("all",)})  # Here "all" is the only choice.
    lr: float = 1e-3
    # DIFFERS: the paper has all 150 frames of a video, in order. 60 random ones are those of VideoLT's code.
    train_frames: int = 60
    # DIFFERS: VideoLT's code draws with replacement. A frame that is drawn twice would have no motion. With
    # train_frames=150, uniform is all frames of the paper's videos.
    frame_sampling: str = field(default="without_replacement", metadata={"choices": tuple(FRAME_SAMPLING)})
    # The power of the focal loss, at least 0. The paper only says that it follows VideoLT, whose scripts have 1.
    gamma: float = 1.0
    # The normalisation of frames before the linear layer and ReLU of the frame embedding. "bn" is batch normalisation
    # over all frames of a batch; "ln" is layer normalisation of each frame; "l2" scales each frame to length 1.
    norm: str = field(default="bn", metadata={"choices": ("bn", "ln", "l2")})
    # The function that makes attention A of scores of frames. "sigmoid" gives each frame a number from 0 to 1;
    # "softmax" is multiplied by the number of frames N, so its mean is 1; "none" uses no attention (Table 4).
    # DIFFERS: the paper names no function after the two linear layers. 1 / (A + beta) needs an A above 0, and one that
    # differs between frames. With a plain softmax, about 1 / N, its 1 / (A + 0.5) would be equal for all frames.
    attention: str = field(default="sigmoid", metadata={"choices": ("sigmoid", "softmax", "none")})
    attention_dim: int = 512  # The number of units between the two linear layers of the attention, at least 1.
    # Whether there is a ReLU between the two linear layers of the attention.
    # DIFFERS: the paper puts a ReLU behind the linear layer of the frame embedding, and names none between the two of
    # the attention. Without one they are a single linear layer.
    attention_relu: bool = True
    # Whether A and R are divided by their mean in a clip, so that the mean over frames is a weighted mean.
    weighted_mean: bool = False
    # The weight of the distillation loss L_d in both stages, at least 0; 0 for none (Table 4).
    distillation: float = 0.1
    neck_dim: int = 256  # The number of units of the two layers (necks) that L_d compares, at least 1.
    # The numbers whose variance L_d compares. "units" takes the units of a neck, for each video; "batch" takes the
    # videos of a rank's batch, for each unit.
    variance_over: str = field(default="units", metadata={"choices": ("units", "batch")})
    # The reduction of the squared differences of variances in L_d. "mean" averages over videos, or over units with
    # variance_over=batch; "sum" adds them up, as a squared length does (Eq. 7).
    # DIFFERS: Eq. 7 is a squared length, which is a sum. The weight of a mean depends neither on the batch nor on
    # neck_dim.
    distance: str = field(default="mean", metadata={"choices": ("mean", "sum")})
    # Whether the gradient of L_d stops at the logits of head classes, so that it moves those of tail classes alone.
    detach_head: bool = False
    # The second expert (Table 6). "complementary" is the paper's, with R and motion; "copy" is a new expert like the
    # first, with its own attention; "none" leaves the second stage out.
    second_expert: str = field(default="complementary", metadata={"choices": ("complementary", "copy", "none")})
    # Whether R = 1 / (A + beta) weights the frames of the second expert (Table 5); if false, all are equal.
    selection: bool = True
    # The number that is added to A in R, above 0 (Table 7). A smaller one weights neglected frames more.
    beta: float = 0.5
    # Whether the second expert sees X_M, the differences of successive frames (Table 5). Without it X_F is X_C.
    motion: bool = True
    class_balanced: bool = True  # Whether the second stage draws videos by class, each class equally often (Table 5).
    # Whether the loss leaves out the labels that a video was not drawn for, in the second stage.
    # DIFFERS: the paper only names class-balanced sampling. VideoLT's code for it leaves out labels that a video was
    # not drawn for, and so does the default; not on Charades, with 7 labels a video.
    mask_other_positives: bool = True
    expert2_epochs: int = 100  # The number of epochs of the second stage, at least 1.
    expert2_lr: float = 1e-4  # The learning rate of the second stage at its start, above 0.

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("attention_dim", "neck_dim", "expert2_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("beta", "expert2_lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        for name in ("gamma", "distillation"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        if self.attention == "none" and self.second_expert == "complementary" and self.selection:
            raise ValueError("attention: expected sigmoid or softmax, by which selection=true selects, got 'none'")


class FrameEmbedding(nn.Module):
    """ReLU(Linear(D, D)) of normalised frames: (B, N, D) of (B, N, D)."""

    def __init__(self, dim: int, norm: str) -> None:
        super().__init__()
        self.norm = {"bn": nn.BatchNorm1d, "ln": nn.LayerNorm}[norm](dim) if norm != "l2" else None
        self.linear = nn.Linear(dim, dim)

    def forward(self, features: Tensor) -> Tensor:
        rows = features.flatten(0, 1)
        rows = normalize(rows, dim=1) if self.norm is None else self.norm(rows)
        return self.linear(rows).relu_().view(features.shape)


class FrameAttention(nn.Module):
    """The weight of each frame, by two linear layers: float32 (B, N) of (B, N, D)."""

    def __init__(self, dim: int, hidden: int, kind: str, *, relu: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU() if relu else nn.Identity(), nn.Linear(hidden, 1))
        self.kind = kind

    def forward(self, features: Tensor) -> Tensor:
        scores = self.layers(features).squeeze(-1).float()
        return scores.sigmoid() if self.kind == "sigmoid" else scores.softmax(1) * scores.shape[1]


class Distillation(nn.Module):
    """L_d of logits (B, C), through one neck for head classes and one for tail classes; a scalar."""

    head: Tensor
    tail: Tensor

    def __init__(self, config: MEIDConfig, head: Any, tail: Any) -> None:
        super().__init__()
        self.register_buffer("head", torch.as_tensor(head), persistent=False)
        self.register_buffer("tail", torch.as_tensor(tail), persistent=False)
        self.head_neck, self.tail_neck = nn.Linear(len(head), config.neck_dim), nn.Linear(len(tail), config.neck_dim)
        self.distance = config.distance
        self.axis, self.detach_head = {"batch": 0, "units": 1}[config.variance_over], config.detach_head

    def forward(self, logits: Tensor) -> Tensor:
        head, tail = logits[:, self.head], logits[:, self.tail]
        with torch.autocast(logits.device.type, enabled=False):
            necks = self.head_neck(head.detach() if self.detach_head else head), self.tail_neck(tail)
        head_variance, tail_variance = (neck.var(self.axis, correction=0) for neck in necks)
        squares = (head_variance - tail_variance).square()
        return squares.sum() if self.distance == "sum" else squares.mean()


class Expert(nn.Module):
    """The base class of the experts: embed frames, weight and classify them, and distil.

    A call takes clips (B, N, D) and the A (B, N) of the previous expert. It returns logits (B, C) and the expert's A.
    """

    distillation: Distillation | None

    def __init__(self, config: MEIDConfig, task: Task, classifier: VideoClassifier) -> None:
        super().__init__()
        groups = class_groups(task.group_counts, task.bounds)
        self.weighted_mean = config.weighted_mean
        self.embedding = FrameEmbedding(task.feature_dim, config.norm)
        self.classifier = classifier
        # Distillation needs head and tail classes. Necks outside the loss would get no gradient.
        distils = config.distillation > 0 and groups["head"].size and groups["tail"].size
        self.distillation = Distillation(config, groups["head"], groups["tail"]) if distils else None

    def weigh(self, frames: Tensor, weights: Tensor | None) -> Tensor:
        """Multiply frames (B, N, D) by weights (B, N)."""
        if weights is None:
            return frames
        if self.weighted_mean:
            weights = weights / weights.mean(1, keepdim=True)
        return frames * weights.unsqueeze(-1).to(frames.dtype)


class AttentiveExpert(Expert):
    """The first expert: frames weighted by its own attention."""

    attention: FrameAttention | None

    def __init__(self, config: MEIDConfig, task: Task, classifier: VideoClassifier) -> None:
        super().__init__(config, task, classifier)
        attends, size = config.attention != "none", (task.feature_dim, config.attention_dim)
        self.attention = FrameAttention(*size, config.attention, relu=config.attention_relu) if attends else None

    def forward(self, features: Tensor, inherited: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        attention = None if self.attention is None else self.attention(features)
        return self.classifier(self.weigh(self.embedding(features), attention)), attention


class ComplementaryExpert(Expert):
    """The second expert: frames that the first attends to less weigh more, fused with their motion."""

    motion: FrameEmbedding | None

    def __init__(self, config: MEIDConfig, task: Task, classifier: VideoClassifier) -> None:
        super().__init__(config, task, classifier)
        dim = task.feature_dim
        self.beta = config.beta if config.selection else None
        self.motion = FrameEmbedding(dim, config.norm) if config.motion else None
        self.fusion = nn.Linear(2 * dim, dim) if config.motion else None

    def forward(self, features: Tensor, inherited: Tensor | None) -> tuple[Tensor, Tensor | None]:
        weights = None if self.beta is None or inherited is None else 1 / (inherited + self.beta)
        frames = self.weigh(self.embedding(features), weights)
        if self.motion is not None and self.fusion is not None:
            frames = torch.cat([frames, self.motion(motion_features(features))], -1)
            if isinstance(self.classifier.aggregator, Mean):
                frames = frames.mean(1, keepdim=True)  # fusion is affine: the same mean, for an N-th of the work
            frames = self.fusion(frames)
        return self.classifier(frames), inherited


def motion_features(features: Tensor) -> Tensor:
    """X_M (B, N, D) of clips (B, N, D): the difference to the next frame, and for the last frame the mean frame."""
    return torch.cat([features.diff(dim=1), features.mean(1, keepdim=True)], 1)


class MEID(Method):
    paper = "MEID (AAAI 2023)"
    config: MEIDConfig
    model: nn.ModuleDict
    num_experts: Tensor
    Config = MEIDConfig
    official = MappingProxyType(
        {"train_frames": 150, "frame_sampling": "uniform", "attention_relu": False, "distance": "sum"}
    )
    presets = MappingProxyType(
        published("meid", "MEID", without="*-charades*")
        | published("meid", "MEID", only="*-charades*", official={"train_frames": 200}, mask_other_positives=False)
        | published("meid", "Expert 1", second_expert="none")
        | published("meid", "Expert 1 without distillation", second_expert="none", distillation=0.0)
        | published(
            "meid",
            "Expert 1 without distillation and attention",
            second_expert="none",
            distillation=0.0,
            attention="none",
        )
        # Table 5 has lost its check marks for the next two rows. They are read in the order of the text.
        | published("meid", "MEID, selection alone", motion=False, class_balanced=False)
        | published("meid", "MEID, selection and motion", class_balanced=False)
        # The row is "without our designed modules", and Table 5 counts balanced sampling as one of these.
        | published("meid", "Expert 1 twice", second_expert="copy", class_balanced=False)
        | published("meid", "MEID, beta = 0.3", beta=0.3)
        | published("meid", "MEID, beta = 0.7", beta=0.7)
    )

    def __init__(self, config: MEIDConfig, task: Task) -> None:
        super().__init__(config, task)
        # The experts that predict: a buffer, so that it is saved, and an int, so that no step waits for the device.
        self.register_buffer("num_experts", torch.tensor(1))
        self._num_experts = 1

    def make_model(self) -> nn.ModuleDict:
        """Make the experts, named like their stages."""
        config, task = self.config, self.task
        experts: dict[str, nn.Module] = {"expert1": AttentiveExpert(config, task, self.make_classifier())}
        if config.second_expert != "none":
            kind = ComplementaryExpert if config.second_expert == "complementary" else AttentiveExpert
            experts["expert2"] = kind(config, task, self.make_classifier())
        return nn.ModuleDict(experts)

    def stages(self) -> tuple[Stage, ...]:
        config = self.config
        second = self.stage(
            name="expert2",
            epochs=config.expert2_epochs,
            rate=StepDecay(config.expert2_lr, config.lr_steps, config.lr_decay),
            samplers=(ClassSampler() if config.class_balanced else InstanceSampler(),),
        )
        return (self.stage(name="expert1"), second)[: len(self.model)]

    def begin_stage(self, stage: Stage) -> None:
        for name, expert in self.model.items():
            (self.unfreeze if name == stage.name else self.freeze)(expert)
        self._num_experts = list(self.model).index(stage.name) + 1
        self.num_experts.fill_(self._num_experts)

    def load_state_dict(self, *args: Any, **options: Any) -> Any:
        found = super().load_state_dict(*args, **options)
        self._num_experts = int(self.num_experts)
        return found

    def compiled(self) -> tuple[nn.Module, ...]:
        return tuple(self.model.values())

    def _expert(self, name: str) -> Expert:
        return cast("Expert", self.model[name])

    def forward(self, batch: Batch) -> Tensor:
        expert, known = self._expert("expert1"), 0.0
        logits, attention = expert(batch.features)
        if self._num_experts == 2:  # the first is frozen then, so no gradient reaches it
            expert, known = self._expert("expert2"), logits
            logits, _ = expert(batch.features, attention)
        loss = self._focal(known + logits, batch)
        if expert.distillation is not None:
            loss = loss + self.config.distillation * expert.distillation(logits)
        return loss

    def _focal(self, logits: Tensor, batch: Batch) -> Tensor:
        """The focal loss; its mean is over all B x C, masked or not."""
        found = losses.focal(logits, batch.targets, self.config.gamma, reduction="none")
        if batch.classes is not None and self.config.mask_other_positives:
            found = found * losses.other_positives_mask(batch.targets, batch.classes)
        return found.mean()

    def predict(self, features: Tensor) -> Tensor:
        """Sum the experts' logits; before stage "expert2" return those of the first."""
        logits, attention = self._expert("expert1")(features)
        if self._num_experts == 2:
            logits = logits + self._expert("expert2")(features, attention)[0]
        return logits
