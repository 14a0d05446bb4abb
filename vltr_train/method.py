"""A training method: its configuration, its stages, and its loss of a step. A method is a file of methods/.

The engine knows nothing of any method: it runs the stages in order, gives each step its batches, and minimises what
`Method.forward` returns. A method keeps what it learns besides weights (FrameStack: running AP) in buffers, which are
saved, moved and resumed with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from vltr_train import losses
from vltr_train.aggregators import AGGREGATORS, CLUSTERED, VideoClassifier, make_aggregator
from vltr_train.data.loader import FRAME_SAMPLING, Batch
from vltr_train.data.samplers import InstanceSampler, Sampler

__all__ = [
    "Method",
    "Preset",
    "Resampled",
    "ResampledConfig",
    "Stage",
    "StepDecay",
    "Task",
    "TrainConfig",
]


@dataclass(frozen=True)
class Task:
    """The data as a method knows them: C classes, D features, (C,) int64 training counts, bounds of head and tail."""

    num_classes: int
    feature_dim: int
    train_counts: np.ndarray
    bounds: tuple[float, float]

    def __repr__(self) -> str:
        return f"Task({self.num_classes:,} classes, {self.feature_dim:,} features, bounds {self.bounds})"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of every method. The defaults are the scripts of VideoLT's published code (17Skye17/VideoLT)."""

    aggregator: str = field(default="nonlinear", metadata={"choices": tuple(AGGREGATORS)})
    dropout: float | None = None  # none: the aggregator's own, which is 0 in netvlad and 0.5 elsewhere
    clusters: int | None = None  # of a VLAD or codebook; none: 64
    epochs: int = 100
    batch_size: int = 128  # of all ranks together
    lr: float = 1e-4
    lr_steps: tuple[int, ...] = (30, 60)
    lr_decay: float = 0.1
    clip_norm: float | None = 20.0
    # The parameters whose gradients are clipped. "classifier": those behind pooled vectors, as in MOVE's "Agg" rows.
    clip_scope: str = field(default="all", metadata={"choices": ("all", "classifier")})
    train_frames: int = 60
    test_frames: int = 150
    # Which frames a training clip has; the published code draws them with replacement.
    frame_sampling: str = field(default="with_replacement", metadata={"choices": tuple(FRAME_SAMPLING)})
    eval_every: int = 5
    # DIFFERS: the published code selects on the test split.
    select_on: str = field(default="validate", metadata={"choices": ("validate", "test", "last")})
    # DIFFERS: a class without positives is AP 0 there. VideoLT has none.
    absent: str = field(default="nan", metadata={"choices": ("nan", "zero")})
    precision: str = field(default="float32", metadata={"choices": ("float32", "bfloat16", "float16")})
    compile: bool = False
    seed: int = 2021

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # Without this the decorator gives each subclass a __repr__ of all its fields.
        cls.__repr__ = TrainConfig.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        """The settings that differ from their defaults."""
        changed = (
            f"{entry.name}={value!r}" for entry in fields(self) if (value := getattr(self, entry.name)) != entry.default
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, choices = getattr(self, entry.name), entry.metadata.get("choices")
            if choices is not None and value not in choices:
                raise ValueError(f"{entry.name}: expected one of {', '.join(map(str, choices))}, got {value!r}")
        for name in ("epochs", "batch_size", "train_frames", "test_frames", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.clusters is not None and (self.clusters < 1 or self.aggregator not in CLUSTERED):
            wanted = "at least 1 or none" if self.aggregator in CLUSTERED else f"none with aggregator={self.aggregator}"
            raise ValueError(f"clusters: expected {wanted}, got {self.clusters}")
        if self.seed < 0:
            raise ValueError(f"seed: expected at least 0, got {self.seed}")
        if not self.lr > 0:
            raise ValueError(f"lr: expected a positive number, got {self.lr}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected from 0 to below 1 or none, got {self.dropout}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm: expected a positive number or none, got {self.clip_norm}")


@dataclass(frozen=True, kw_only=True)
class ResampledConfig(TrainConfig):
    """Settings of methods that draw videos by class: see `losses.resampled_bce`. Defaults are the published code's."""

    mask_other_positives: bool = True
    over_classes: str = field(default="sum", metadata={"choices": ("sum", "mean")})


FUSED_ADAM = partial(torch.optim.Adam, fused=True)

OFFICIAL = {"select_on": "test", "absent": "zero"}
"""``protocol=official``: checkpoints are selected on the test set and classes without positives count as AP 0, as in
the published code. Its other choices are the default here already, or are in `Method.official`."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A row that a paper prints: what to set for it, and the numbers in it.

    tables: names such as "videolt-1", in whose printed rows it stands. backbone: of the features that it wants.
    printed: All, Head, Medium, Tail (mAP), Acc@1, Acc@5 as fractions; None where the paper has no number. columns:
    their headings where they are others, of `tables.PRINTABLE`. data: the variant of a data set that the row is of.
    quoted: by the tables that repeat the row with other numbers, what these print. official: what ``protocol=official``
    sets beside `Method.official`, where the published code does something else on this data.
    """

    row: str
    tables: tuple[str, ...]
    backbone: str
    printed: tuple[float | None, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    data: str = ""
    quoted: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    official: Mapping[str, Any] = field(default_factory=dict)


AveragePrecision = Callable[[str], np.ndarray]
"""AP of each class (C,) float64, of "train" or "validate" by what `predict` says now; NaN where it has no positives."""


@dataclass(frozen=True)
class StepDecay:
    """Learning rate by the epochs gone: ``lr``, times ``decay`` from each of the steps on."""

    lr: float
    steps: Sequence[int]
    decay: float

    def __call__(self, progress: float) -> float:
        return self.lr * self.decay ** sum(progress >= step for step in self.steps)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of training with an optimizer of its own.

    samplers: one for each batch of a step, so `Method.forward` gets as many batches. rate: the learning rate by the
    epochs of this stage that are gone, a fraction within an epoch.
    """

    name: str = "train"
    epochs: int
    batch_size: int
    rate: Callable[[float], float]
    clip_norm: float | None
    samplers: tuple[Sampler, ...] = (InstanceSampler(),)
    optimizer: Callable[..., torch.optim.Optimizer] = FUSED_ADAM

    def __repr__(self) -> str:
        return f"Stage({self.name!r}, {self.epochs:,} epochs, batches of {self.batch_size:,})"


class Method(nn.Module):
    """A method of training: a model, the stages it goes through, and the loss of a step.

    Subclasses say what they change. `forward` is the loss of a step and `predict` what evaluation ranks by.
    """

    paper: ClassVar[str]
    config: TrainConfig
    model: nn.Module
    Config: ClassVar[type[TrainConfig]] = TrainConfig
    presets: ClassVar[Mapping[str, Preset]] = {}
    official: ClassVar[Mapping[str, Any]] = {}
    """Settings of ``protocol=official`` beside `OFFICIAL`."""

    def __init__(self, config: TrainConfig, task: Task) -> None:
        super().__init__()
        self.config, self.task = config, task
        self._frozen: list[nn.Module] = []
        self.model = self.make_model()

    def make_model(self) -> nn.Module:
        """Make the model to train: for most methods one classifier."""
        return self.make_classifier()

    def make_classifier(self) -> VideoClassifier:
        """Make a classifier of all classes with the aggregator of the configuration."""
        config, task = self.config, self.task
        aggregator = make_aggregator(
            config.aggregator, task.feature_dim, dropout=config.dropout, clusters=config.clusters
        )
        return VideoClassifier(aggregator, task.num_classes)

    def stages(self) -> tuple[Stage, ...]:
        """The parts of training, in order. Asked again before each, whose samplers may depend on what was learnt."""
        return (self.stage(),)

    def stage(self, **changes: Any) -> Stage:
        """A stage as the configuration says, but for the changes."""
        config = self.config
        usual: dict[str, Any] = {
            "epochs": config.epochs,
            "batch_size": config.batch_size,
            "rate": StepDecay(config.lr, config.lr_steps, config.lr_decay),
            "clip_norm": config.clip_norm,
        }
        return Stage(**(usual | changes))

    def notes(self) -> list[str]:
        """Sentences that a training prints before it starts, about settings that have no effect in it."""
        return []

    def begin_stage(self, stage: Stage) -> None:
        """Called before a stage, and before a checkpoint of it is loaded: `freeze` and begin parts anew here."""

    def end_stage(self, stage: Stage, average_precision: AveragePrecision) -> str | None:
        """Called after the last epoch of a stage, on all ranks; what it finds out is kept in buffers. Returns what is
        to be said of it. The best checkpoint, by which a run predicts, is older than what it leaves in the last stage.
        """

    def freeze(self, *modules: nn.Module) -> None:
        """Takes modules out of training: no gradients, and from here on in eval mode, whatever `train` says."""
        self._frozen.extend(modules)
        for module in modules:
            module.requires_grad_(False)
            module.eval()

    def unfreeze(self, *modules: nn.Module) -> None:
        """Takes modules that `freeze` was given back into training."""
        self._frozen = [frozen for frozen in self._frozen if frozen not in modules]
        for module in modules:
            module.requires_grad_(True)
            module.train(self.training)

    def clipped(self) -> list[nn.Parameter]:
        """The parameters whose gradients together have a norm of at most `Stage.clip_norm`."""
        scope = cast("nn.Module", self.model.head) if self.config.clip_scope == "classifier" else self
        return [parameter for parameter in scope.parameters() if parameter.requires_grad]

    def compiled(self) -> tuple[nn.Module, ...]:
        """The modules that ``compile=true`` compiles."""
        return (self.model,)

    def train(self, mode: bool = True) -> Method:
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def begin_epoch(self, epoch: int, num_rows: int) -> None:
        """Called before each epoch of a stage. num_rows: how many rows each stream will give this rank in it."""

    def end_epoch(self) -> None:
        """Called after each epoch, on all ranks."""

    # Any, so that a subclass may name its batches.
    def forward(self, *batches: Any, **options: Any) -> Tensor:
        """The loss of a step, a mean over the rows of its batches: one batch for each sampler of the stage."""
        raise NotImplementedError

    def predict(self, features: Tensor) -> Tensor:
        """Logits (B, C) float32 of clips (B, T, D)."""
        return self.model(features)


class Resampled(Method):
    """Methods that draw videos by class: BCE with the settings of `ResampledConfig`."""

    config: ResampledConfig
    model: VideoClassifier
    Config = ResampledConfig

    def forward(self, batch: Batch) -> Tensor:
        if batch.classes is None:
            raise ValueError("batch: expected the classes that videos were drawn for, got none; draw by a ClassSampler")
        return losses.resampled_bce(
            self.model(batch.features),
            batch.targets,
            batch.classes,
            mask_other_positives=self.config.mask_other_positives,
            over_classes=self.config.over_classes,
        )
