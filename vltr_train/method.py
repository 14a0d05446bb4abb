"""The base class of training methods, and the configuration and stages of a method. Each method is a file of methods/.

The engine knows no method by name. It runs the stages in order, gives each step its batches, and minimises the loss
that `Method.forward` returns. A method keeps its state besides weights in buffers (FrameStack: running AP). Buffers are
saved, moved and resumed together with the weights.
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
from vltr_train.aggregators import AGGREGATOR_NOTES, CLUSTERED, VideoClassifier, make_aggregator
from vltr_train.call_order import CALLS, CallOrder, check_loss, noting_call
from vltr_train.data.dataset import Dataset
from vltr_train.data.loader import FRAME_SAMPLING, Batch
from vltr_train.own_code import note_code
from vltr_train.samplers import InstanceSampler, Sampler

__all__ = [
    "Method",
    "Preset",
    "Resampled",
    "ResampledConfig",
    "ResampledLast",
    "Stage",
    "StepDecay",
    "Task",
    "TrainConfig",
]


@dataclass(frozen=True)
class Task:
    """The facts about the data that a method may use.

    Attributes:
        num_classes: C, the number of classes.
        feature_dim: D, the numbers of a frame's feature vector.
        train_counts: (C,) int64, the videos of each class among those that are trained on: for priors and weights.
        bounds: Head classes have more training videos than the first bound; tail classes have at most the second. See
            `group_counts`.
        num_videos: N, the number of videos that are trained on. None for the sum of the counts, as if each had one
            label.
        published_counts: (C,) int64, the training videos of each class in the published set, where the data set is a
            part of it and keeps its groups. None otherwise.

    Raises:
        ValueError: There is not one count for each class, or a class has more videos than there are.

    Example:
        >>> Task(3, 4, np.array([5, 2, 1]), (3, 1)).total
        8
    """

    num_classes: int
    feature_dim: int
    train_counts: np.ndarray
    bounds: tuple[float, float] = (500, 100)
    num_videos: int | None = None
    published_counts: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("train_counts", *["published_counts"] * (self.published_counts is not None)):
            counts = np.asarray(getattr(self, name))
            if counts.shape != (self.num_classes,):
                raise ValueError(f"{name}: expected shape ({self.num_classes},), one a class, got {counts.shape}")
            object.__setattr__(self, name, counts)
        most = self.train_counts.max(initial=0)
        if self.num_videos is not None and self.num_videos < most:
            raise ValueError(
                f"num_videos: expected at least {most}, the videos of the most frequent class, got {self.num_videos}; "
                "pass the counts of a larger set as published_counts"
            )

    @classmethod
    def of(cls, dataset: Dataset) -> Task:
        """Collect the facts about a data set."""
        counts = dataset.train.labels.counts()
        facts = (dataset.num_classes, dataset.dim, counts, dataset.bounds, len(dataset.train))
        return cls(*facts, dataset.published_counts)

    @property
    def group_counts(self) -> np.ndarray:
        """The counts that the bounds divide into head, medium and tail: the published ones, or ``train_counts``."""
        return self.train_counts if self.published_counts is None else self.published_counts

    @property
    def total(self) -> int:
        """The number of training videos, or the sum of the counts if that is unknown."""
        return int(self.train_counts.sum()) if self.num_videos is None else self.num_videos

    def __repr__(self) -> str:
        return f"Task({self.num_classes:,} classes, {self.feature_dim:,} features, bounds {self.bounds})"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings that every method has; a method's ``Config`` extends them.

    The defaults are those of the scripts of VideoLT's published code (17Skye17/VideoLT), except where a comment says
    DIFFERS. The names of aggregators are those of `AGGREGATORS`.

    Attributes:
        aggregator: The module that pools the frames of a clip into one vector.
        dropout: The share of numbers that dropout sets to 0 in the aggregator, from 0 to below 1; None for the
            aggregator's own, which is 0 in netvlad and netvlad-centers and 0.5 elsewhere.
        clusters: The number of clusters of a VLAD or codebook, at least 1; None for 64. Other aggregators have none.
        epochs: The epochs of the main stage.
        batch_size: The videos of a batch, of all ranks together.
        lr: The learning rate at the start, above 0.
        lr_steps: The epochs from which on the rate is multiplied by ``lr_decay``, once for each.
        lr_decay: The factor by which the rate is multiplied at each of ``lr_steps``.
        clip_norm: The largest norm of the gradients, above 0; larger ones are scaled down to it. None for no clipping.
        clip_scope: The parameters whose gradients are clipped. "all" clips those of all parameters; "classifier" clips
            only those behind pooled vectors, as in the Agg rows of MOVE's tables.
        train_frames: The number of frames of a training clip.
        test_frames: The number of frames of a clip in evaluation, at equal distances.
        frame_sampling: The rule that chooses the frames of a training clip. "with_replacement" draws random frames that
            may repeat, as in the published code; "without_replacement" draws random frames that repeat only in a
            shorter video; "uniform" takes frames at equal distances, as in evaluation.
        eval_every: The number of epochs between two evaluations.
        select_on: The rule that selects the best checkpoint. "validate" keeps the highest mAP on the validation split;
            "test" keeps the highest mAP on the test split; "last" keeps the last epoch.
        absent: The AP of a class without positives. "nan" leaves the class out of means; "zero" counts it as AP 0.
        precision: The float type of the forward pass. "float32" has 32 bits; "bfloat16" has 16 bits and the range of
            float32; "float16" has 16 bits and a small range, so the loss is scaled.
        compile: Whether torch compiles the model, which is the modules of `Method.compiled`.
        seed: The seed of all draws, at least 0.

    Raises:
        ValueError: A setting is outside its choices or its range.

    Example:
        >>> TrainConfig(epochs=20, aggregator="netvlad")
        TrainConfig(aggregator='netvlad', epochs=20)
    """

    aggregator: str = field(default="nonlinear", metadata={"choices": AGGREGATOR_NOTES})
    dropout: float | None = None
    clusters: int | None = None
    epochs: int = 100
    batch_size: int = 128
    lr: float = 1e-4
    lr_steps: tuple[int, ...] = (30, 60)
    lr_decay: float = 0.1
    clip_norm: float | None = 20.0
    clip_scope: str = field(default="all", metadata={"choices": ("all", "classifier")})
    train_frames: int = 60
    test_frames: int = 150
    frame_sampling: str = field(default="with_replacement", metadata={"choices": tuple(FRAME_SAMPLING)})
    eval_every: int = 5
    # DIFFERS: the published code selects on the test split.
    select_on: str = field(default="validate", metadata={"choices": ("validate", "test", "last")})
    # DIFFERS: the published code counts a class without positives as AP 0. VideoLT has no such class.
    absent: str = field(default="nan", metadata={"choices": ("nan", "zero")})
    precision: str = field(default="float32", metadata={"choices": ("float32", "bfloat16", "float16")})
    compile: bool = False
    seed: int = 2021

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # Without this the decorator gives each subclass a __repr__ of all its fields.
        cls.__repr__ = TrainConfig.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        """Show the settings that differ from their defaults."""
        changed = (
            f"{entry.name}={value!r}" for entry in fields(self) if (value := getattr(self, entry.name)) != entry.default
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, choices = getattr(self, entry.name), entry.metadata.get("choices")
            if choices is None:
                continue
            known = ", ".join(map(str, choices))
            if not isinstance(value, tuple):
                if value not in choices:
                    raise ValueError(f"{entry.name}: expected one of {known}, got {value!r}")
            elif not set(value) <= set(choices) or len(set(value)) < len(value):
                raise ValueError(f"{entry.name}: expected different ones of {known}, got {', '.join(map(str, value))}")
        for name in ("epochs", "batch_size", "train_frames", "test_frames", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.clusters is not None and (self.clusters < 1 or self.aggregator not in CLUSTERED):
            legal = "at least 1 or none" if self.aggregator in CLUSTERED else f"none with aggregator={self.aggregator}"
            raise ValueError(f"clusters: expected {legal}, got {self.clusters}")
        # The order has no effect on the rate, so one order keeps equal trainings equal to `table` and a resumption.
        if list(self.lr_steps) != sorted(self.lr_steps) or min(self.lr_steps, default=0) < 0:
            steps = ",".join(map(str, self.lr_steps))
            raise ValueError(f"lr_steps: expected epochs from 0 up in rising order, such as 30,60, got {steps}")
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
    """The settings of methods that draw videos by class; the defaults are those of VideoLT's published code.

    Attributes:
        mask_other_positives: Whether the loss leaves out the labels that a video was not drawn for. Each class is then
            seen as often as it was drawn. See `losses.resampled_bce`.
        over_classes: The reduction over classes of the loss of videos that are drawn by class. "sum" adds up the
            classes, as in VideoLT's published code; "mean" averages over them. The sum is C times the mean, so gradient
            clipping acts on it more often.
    """

    mask_other_positives: bool = True
    over_classes: str = field(default="sum", metadata={"choices": ("sum", "mean")})


SAME_RANKING = (
    "it maps the logits of each class by an increasing function, so AP, ROC-AUC and SAP are those of the classifier "
    "before, but for rounding; it changes Acc@k alone"
)
"""A note of methods that only rescale or shift trained logits by class."""

ABSORBED = (
    "the bias of the classifier absorbs the offsets, so at the optimum AP, ROC-AUC and SAP are those of the loss "
    "without them; Acc@k changes"
)
"""A note of losses that add a constant to the logits of each class, and have a sigmoid of each."""

NORMALISED_BY_VIDEO = (
    "predictions are log probabilities of the softmax, which divides each video by a sum of its own; so the offsets "
    "change AP, ROC-AUC and SAP as well as Acc@k"
)
"""A note of a softmax whose logits have a constant added for each class."""

FUSED_ADAM = partial(torch.optim.Adam, fused=True)

OFFICIAL = {"select_on": "test", "absent": "zero"}
"""Settings of ``protocol=official``, which follows the published code, or without one the paper.

Checkpoints are selected on the test set, and classes without positives count as AP 0, as in VideoLT's code.
`Method.official` has choices of the method's own source that are no defaults. docs/training/departures.md lists these,
and what remains."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """The settings that reproduce a row of a paper, and the numbers of that row.

    Attributes:
        row: The name of the row in the paper's table.
        tables: The tables that print the row, such as "videolt-1"; the first one printed it first.
        backbone: The backbone of the features.
        printed: The numbers All, Head, Medium, Tail (mAP), Acc@1, Acc@5 as fractions; None where the paper has none.
        settings: The settings of the row that differ from the method's defaults.
        columns: The headings of ``printed``, of `tables.PRINTABLE`, if they are not those six.
        data: The variant of the data set, or "".
        quoted: The numbers of tables that repeat the row with other numbers, by table.
        official: Further settings of ``protocol=official`` on this data, beside `Method.official`.
    """

    row: str = ""
    tables: tuple[str, ...] = ()
    backbone: str = ""
    printed: tuple[float | None, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    data: str = ""
    quoted: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    official: Mapping[str, Any] = field(default_factory=dict)


AveragePrecision = Callable[[str], np.ndarray]
"""A function from "train" or "validate" to the AP of each class, (C,) float64, by the method's present predictions.

A class without positives in the split has NaN."""


LabelledLogits = Callable[[], tuple[Tensor, np.ndarray] | None]
"""A function that returns this rank's logits (n, C) and labels (n, C) uint8 of the validation split.

It returns None without such a split. All ranks must call it the same number of times."""


@dataclass(frozen=True)
class StepDecay:
    """A learning rate that falls in steps.

    Args:
        lr: The rate at the start.
        steps: The epochs from which on the rate is multiplied by ``decay``, once for each.
        decay: The factor.

    Example:
        >>> rate = StepDecay(1.0, (30, 60), 0.5)
        >>> rate(29.9), rate(30), rate(60)
        (1.0, 0.5, 0.25)
    """

    lr: float
    steps: Sequence[int]
    decay: float

    def __call__(self, progress: float) -> float:
        return self.lr * self.decay ** sum(progress >= step for step in self.steps)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of training with an optimizer of its own.

    Attributes:
        name: The name of the stage in logs.
        epochs: The epochs of the stage.
        batch_size: The videos of a batch, of all ranks together.
        rate: The learning rate by the finished epochs of this stage, a fraction inside an epoch.
        clip_norm: The largest norm of the gradients; None for no clipping.
        samplers: One sampler for each batch of a step; `Method.forward` gets that many batches.
        optimizer: Makes the optimizer of a list of parameters and the keyword ``lr``.
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
    """The base class of training methods: a model, the stages of its training, and the loss of a step.

    A subclass defines `forward`, and overrides whatever else it changes. Evaluation ranks videos by the logits of
    `predict`.

    A loop of your own calls a method as the engine does: for each stage `begin_stage`, then for each epoch
    `begin_epoch`, the steps, and `end_epoch`. A class that overrides none of them needs no such call. With another
    class a step in training mode, or the next call, raises RuntimeError where a call is seen to be missing: that of a
    stage before all steps, or one of an epoch between steps. A loop that calls `begin_epoch` once for all its epochs,
    or gives batches of a later stage without its `begin_stage`, is not found out.

    Args:
        config: The settings, an instance of the method's ``Config``.
        task: The facts about the data.

    Raises:
        TypeError: The configuration is of another class.

    Attributes:
        paper: The paper of the method, a line for ``vltr-train methods``; "" if there is none.
        Config: The class of the settings.
        presets: The rows of papers that the method reproduces, by name.
        official: The settings of ``protocol=official``, beside `OFFICIAL`.
        model: The module to train, made by `make_model`.

    Example:
        >>> class Plain(Method):
        ...     def forward(self, batch):
        ...         return losses.bce(self.model(batch.features), batch.targets)
        >>> plain = Plain(TrainConfig(), Task(3, 4, np.array([5, 2, 1]), (3, 1)))
        >>> plain.predict(torch.zeros(2, 6, 4)).shape
        torch.Size([2, 3])
    """

    paper: ClassVar[str] = ""
    config: TrainConfig
    model: nn.Module
    Config: ClassVar[type[TrainConfig]] = TrainConfig
    presets: ClassVar[Mapping[str, Preset]] = {}
    official: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        note_code(cls)
        for name in CALLS:
            if name in vars(cls):
                setattr(cls, name, noting_call(vars(cls)[name]))

    def __init__(self, config: TrainConfig, task: Task) -> None:
        super().__init__()
        if not isinstance(config, self.Config):
            expected = f"{type(self).__name__}.Config, a {self.Config.__name__}"
            raise TypeError(f"config: expected an instance of {expected}, got {type(config).__name__}")
        self.config, self.task = config, task
        self._frozen: list[nn.Module] = []
        self.register_forward_pre_hook(CallOrder(type(self), Method))
        self.register_forward_hook(check_loss)
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
        """Return the stages of training, in order.

        The engine calls this again after `begin_stage` of each stage, for its samplers: these may depend on the state.
        """
        return (self.stage(),)

    def stage(self, **changes: Any) -> Stage:
        """Make a stage with the settings of the configuration.

        Args:
            **changes: Fields of `Stage` that differ from the configuration.
        """
        config = self.config
        usual: dict[str, Any] = {
            "epochs": config.epochs,
            "batch_size": config.batch_size,
            "rate": StepDecay(config.lr, config.lr_steps, config.lr_decay),
            "clip_norm": config.clip_norm,
        }
        return Stage(**(usual | changes))

    def notes(self) -> list[str]:
        """Return sentences to print before training, about settings that have no effect."""
        return []

    @noting_call
    def begin_stage(self, stage: Stage) -> None:
        """Prepare a stage: override this to `freeze` modules or to initialise them anew.

        The engine calls this on all ranks before the stage starts, and before a checkpoint of the stage is loaded. A
        resumed run also gets this call for each finished stage.
        """

    def end_stage(self, stage: Stage, average_precision: AveragePrecision) -> str | None:
        """Finish a stage: override this to compute results that later stages need.

        The engine calls this on all ranks, after the last epoch of the stage and its evaluation, and before it saves
        the checkpoint. Store results in buffers, so that the checkpoint has them. Buffers set in the last stage are not
        in best.pt, which is saved earlier and by which a run predicts.

        Args:
            stage: The finished stage.
            average_precision: Gives the AP of each class, (C,) float64, on "train" or "validate". All ranks must call
                it the same number of times.

        Returns:
            A message to print, or None.
        """

    def calibrate(self, validation: LabelledLogits) -> Mapping[str, float] | None:
        """Choose what only predictions need: override this to set buffers by the logits of the validation split.

        The engine calls this on all ranks in the last stage, before each evaluation. The buffers are saved with the
        checkpoint. The test split is never given.

        Args:
            validation: Returns the logits and labels of the validation split, or None without such a split.

        Returns:
            The chosen numbers by their names, for metrics.csv, or None.
        """
        return None

    def freeze(self, *modules: nn.Module, in_eval: bool = True) -> None:
        """Exclude modules from training: their parameters get no gradients.

        Args:
            *modules: The modules.
            in_eval: Keep them in eval mode even after ``train()``. Without it dropout acts on them in training, and
                batches move their running statistics.
        """
        self.unfreeze(*modules)
        for module in modules:
            module.requires_grad_(False)
            if in_eval:
                module.eval()
                self._frozen.append(module)

    def unfreeze(self, *modules: nn.Module) -> None:
        """Include modules in training again, after `freeze`."""
        self._frozen = [frozen for frozen in self._frozen if frozen not in modules]
        for module in modules:
            module.requires_grad_(True)
            module.train(self.training)

    def clipped(self) -> list[nn.Parameter]:
        """Return the parameters whose gradients are clipped, together, to a norm of `Stage.clip_norm`."""
        scope = cast("nn.Module", self.model.head) if self.config.clip_scope == "classifier" else self
        return [parameter for parameter in scope.parameters() if parameter.requires_grad]

    def compiled(self) -> tuple[nn.Module, ...]:
        """Return the modules that ``compile=true`` compiles."""
        return (self.model,)

    def train(self, mode: bool = True) -> Method:
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    @noting_call
    def begin_epoch(self, epoch: int, num_rows: int) -> None:
        """Prepare an epoch; the engine calls this before each epoch of a stage.

        Args:
            epoch: The number of the epoch in its stage, from 0.
            num_rows: The rows that each sampler gives this rank in the epoch.
        """

    @noting_call
    def end_epoch(self) -> None:
        """Finish an epoch; the engine calls this after each epoch, on all ranks."""

    # Any, so that a subclass may name its batches.
    def forward(self, *batches: Any, **options: Any) -> Tensor:
        """Compute the loss of a step.

        Args:
            *batches: One `Batch` for each sampler of the stage.
            **options: None; a subclass need not take any.

        Returns:
            A scalar, the mean over the rows of the batches.
        """
        raise NotImplementedError

    def predict(self, features: Tensor) -> Tensor:
        """Score clips for evaluation.

        Args:
            features: (B, T, D), the frames of the clips.

        Returns:
            (B, C) float32, the logits.
        """
        return self.model(features)


class Resampled(Method):
    """The base class of methods that draw videos by class: BCE with the settings of `ResampledConfig`.

    Raises:
        ValueError: A sampler of the stage does not draw by class.
    """

    config: ResampledConfig
    model: VideoClassifier
    Config = ResampledConfig

    def forward(self, batch: Batch) -> Tensor:
        if batch.classes is None:
            raise ValueError("batch: expected the classes that videos were drawn for, got none; draw by a ClassSampler")
        return losses.resampled_bce(
            self.predict(batch.features),
            batch.targets,
            batch.classes,
            mask_other_positives=self.config.mask_other_positives,
            over_classes=self.config.over_classes,
        )


class ResampledLast(Resampled):
    """The base class of methods whose last stage draws videos by class: BCE in the stages before it."""

    def forward(self, batch: Batch) -> Tensor:
        if batch.classes is None:
            return losses.bce(self.predict(batch.features), batch.targets)
        return super().forward(batch)
