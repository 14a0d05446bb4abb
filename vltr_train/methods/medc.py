"""MEDC: three experts train on long-tailed, balanced and reversed classes; each models a video as a Gaussian.

Paper: Hu, Gao and Xu, "Learning Muti-experts Distribution Calibration for Long-tailed Video Classification", Eq. 1-8.
For a clip of frames x_l an expert computes mu = mean_l phi(x_l). With h_l = MLP(x_l) and a_l = h_l - mu, it computes
sigma = sum_l alpha_l f_v(|a_l|), alpha = softmax_l(f_q(a_l) . f_k(a_l) / sqrt(d)). It classifies z = mu + eps sigma,
eps ~ N(0, 1). Loss: the sum over experts of l1 L_mu + l2 L_cls + l3 L_sigma. L_mu pulls together the mu of videos that
share a class. L_sigma pulls sigma^2 to gamma_k, which is larger for classes k that the expert trains on more often.
Prediction: the mean of the experts' probabilities at eps = 0. There logits are affine in the mean frame, unless phi is
an MLP.
Code: none is published. Eq. 3, 6, 7 and 8 cannot be trained as printed, so the default implements the intended ones;
`literal=` and `learn_lambdas=` select the printed ones. See `sorting_loss`, `classification_loss`, `region_loss` and
`MEDCConfig`.
Command: vltr-train fit medc:r101 --data DIR
Expected: All .583, head .725, medium .622, tail .476, Acc@1 .670, Acc@5 .845. The groups' mean is .577, not .583.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize, softplus

from vltr_eval.priors import reverse_by_rank
from vltr_train import losses
from vltr_train.data.loader import FRAME_SAMPLING, Batch
from vltr_train.method import Method, Stage, Task, TrainConfig
from vltr_train.ops.dropout import Dropout
from vltr_train.presets import published
from vltr_train.samplers import ClassSampler, InstanceSampler, Sampler

__all__ = [
    "MEDC",
    "Expert",
    "FrameMean",
    "MEDCConfig",
    "TemporalAttention",
    "class_regions",
    "class_weights",
    "classification_loss",
    "logit_of_mean_probability",
    "logit_offsets",
    "region_loss",
    "sorting_loss",
]

EXPERTS = ("longtail", "uniform", "inverse")
LITERAL = ("sorting", "classification", "region")


@dataclass(frozen=True, kw_only=True)
class MEDCConfig(TrainConfig):
    # Here each expert pools frames itself. The only choice is "gaussian", a mean and a spread of the frames.
    aggregator: str = field(default="gaussian", metadata={"choices": ("gaussian",)})
    dropout: float | None = None  # Here it acts on z, and none is 0.
    # The paper gives 120 epochs, but no steps and no clipping. Those are from VideoLT's code for 120 epochs.
    epochs: int = 120
    lr_steps: tuple[int, ...] = (50, 100)
    clip_norm: float | None = None
    clip_scope: str = field(default="all", metadata={"choices": ("all",)})  # Here "all" is the only choice.
    train_frames: int = 150
    frame_sampling: str = field(default="uniform", metadata={"choices": tuple(FRAME_SAMPLING)})
    # The experts of the model, one or more; subsets are rows of Table II. "longtail" trains on videos as they come;
    # "uniform" trains on each class equally often; "inverse" trains on rare classes most often (inverse_law).
    experts: tuple[str, ...] = field(default=EXPERTS, metadata={"choices": EXPERTS})
    embedding_dim: int = 1024  # The length of mu, sigma and z (d), at least 1; the paper does not give it.
    # The layers that embed a frame for mu (phi). "linear" is one layer, as in the section Implementation Details; "mlp"
    # is two layers with a ReLU between them (Eq. 2).
    # DIFFERS: Eq. 2 has an MLP.
    phi: str = field(default="linear", metadata={"choices": ("linear", "mlp")})
    # The attention that weights frames in sigma. "diag" weights a frame by itself alone, as Eq. 4 reads; "full" weights
    # it by all frames, as the mean over queries (the paper: directly related to other frames); "none" computes sigma
    # like mu (No Temporal-Attention of Table II).
    attn: str = field(default="diag", metadata={"choices": ("diag", "full", "none")})
    # The class frequencies of the inverse expert; the paper says both. "rank_reversal" gives the class of the r-th most
    # videos the count of the class of the r-th fewest; "inverse_frequency" draws classes in proportion to 1 / n.
    inverse_law: str = field(default="rank_reversal", metadata={"choices": ("rank_reversal", "inverse_frequency")})
    # Whether all experts train on one batch of videos as they come; their class frequencies then differ by
    # `logit_offsets` alone.
    shared_batch: bool = False
    # The similarity of two mu in the sorting loss. "cosine" is the cosine of their angle; "dot" is their dot product.
    # DIFFERS: Eq. 3 compares by dot products.
    similarity: str = field(default="cosine", metadata={"choices": ("cosine", "dot")})
    # The divisor of the similarities in the sorting loss, above 0.
    # DIFFERS: Eq. 3 has none, so 1. Cosines from -1 to 1 need a lower one.
    temperature: float = 0.1
    # The target of sigma^2 (gamma) for the expert's rarest and most frequent class: two numbers from 0 up, not falling.
    gamma_range: tuple[float, ...] = (0.0, 1.0)
    gamma_uniform: float = 0.5  # The target of sigma^2 (gamma) for every class of the uniform expert, at least 0.
    # The losses that are computed as printed; none by default. "sorting" is Eq. 3, which lacks the minus;
    # "classification" is Eq. 6, which lacks the term of negatives; "region" is Eq. 7, which lacks the square.
    # DIFFERS: Eq. 3, 6 and 7 cannot be trained as printed, so the default implements the intended ones.
    literal: tuple[str, ...] = field(default=(), metadata={"choices": LITERAL})
    # The weights of the sorting, classification and region loss: three numbers from 0 up.
    # DIFFERS: the paper gives no numbers for them. The second is
    # a mean over classes, so it is by far the smallest: on synthetic features (100 classes, one run each) 1, 1, 1
    # reaches an mAP of .046, these reach .103, and bce reaches .044.
    lambdas: tuple[float, ...] = (0.01, 1.0, 0.01)
    # Whether the weights of the losses are learnt with a sum of 1; they start in proportion to `lambdas`.
    # DIFFERS: the paper learns the lambdas with a sum of 1. The minimum of that puts all weight on the smallest loss.
    # Here they are constant unless this is set.
    learn_lambdas: bool = False
    # The numbers that predictions average over experts. "probabilities" averages their probabilities;
    # "logits" averages their logits.
    average: str = field(default="probabilities", metadata={"choices": ("probabilities", "logits")})
    mc_samples: int = 0  # The number of draws of z that predictions are averaged over; 0 for a single one at eps = 0.

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.experts:
            raise ValueError(f"experts: expected some of {', '.join(EXPERTS)}, got none")
        if self.embedding_dim < 1:
            raise ValueError(f"embedding_dim: expected at least 1, got {self.embedding_dim}")
        if self.mc_samples < 0:
            raise ValueError(f"mc_samples: expected at least 0, got {self.mc_samples}")
        if not self.temperature > 0:
            raise ValueError(f"temperature: expected a positive number, got {self.temperature}")
        if self.gamma_uniform < 0:
            raise ValueError(f"gamma_uniform: expected at least 0, got {self.gamma_uniform}")
        if len(self.gamma_range) != 2 or not 0 <= self.gamma_range[0] <= self.gamma_range[1]:
            raise ValueError(f"gamma_range: expected two numbers rising from 0 up, got {self.gamma_range}")
        least = "positive numbers" if self.learn_lambdas else "numbers from 0 up"
        if len(self.lambdas) != 3 or min(self.lambdas) < 0 or (self.learn_lambdas and min(self.lambdas) == 0):
            raise ValueError(f"lambdas: expected three {least}, got {self.lambdas}")


class MEDC(Method):
    paper = "MEDC (Hu, Gao and Xu)"
    config: MEDCConfig
    model: nn.ModuleDict
    noise: Tensor
    Config = MEDCConfig
    official = MappingProxyType({"phi": "mlp", "similarity": "dot", "temperature": 1.0})
    presets = MappingProxyType(
        published("medc", "MEDC")
        | published("medc", "No Temporal-Attention", attn="none")
        | published("medc", "Expert1", experts=("longtail",))
        | published("medc", "Expert2", experts=("uniform",))
        | published("medc", "Expert3", experts=("inverse",))
    )

    def __init__(self, config: MEDCConfig, task: Task) -> None:
        super().__init__(config, task)
        self.log_lambdas = nn.Parameter(torch.tensor(config.lambdas).log()) if config.learn_lambdas else None
        # All videos and experts share eps, so that chance does not rank one video above another.
        draws = torch.Generator().manual_seed(config.seed)
        noise = torch.randn(config.mc_samples, 1, config.embedding_dim, generator=draws)
        self.register_buffer("noise", noise, persistent=False)

    def make_model(self) -> nn.ModuleDict:
        # DIFFERS: each expert of the paper has its own last stages of a ResNet; here features are frozen. But the paper
        # also says that it extracts features with a ResNet pretrained on ImageNet.
        return nn.ModuleDict({name: self._make_expert(name) for name in self.config.experts})

    def _make_expert(self, name: str) -> Expert:
        config, counts = self.config, self.task.train_counts
        weights = class_weights(name, counts, config.inverse_law)
        # SADE (arXiv 2107.09249) squares the frequencies of its inverse expert.
        priors = logit_offsets(counts, weights, 2.0 if name == "inverse" else 1.0) if config.shared_batch else None
        return Expert(
            self.task.feature_dim,
            self.task.num_classes,
            config,
            class_regions(weights, config.gamma_range, config.gamma_uniform),
            priors,
        )

    def compiled(self) -> tuple[nn.Module, ...]:
        return tuple(self.model.values())

    def stages(self) -> tuple[Stage, ...]:
        if self.config.shared_batch:
            return (self.stage(samplers=(InstanceSampler(),)),)
        # DIFFERS: the paper has batches of 128, and no word on whether the experts share their number. Here each has a
        # batch of its own, 3 x 128 videos a step.
        return (self.stage(samplers=tuple(map(self._sampler, self.config.experts))),)

    def _sampler(self, name: str) -> Sampler:
        if name == "longtail":
            return InstanceSampler()
        weights = class_weights(name, self.task.train_counts, self.config.inverse_law)
        # DIFFERS: the paper speaks of samples of a class. A video of several classes is drawn for one of them, and is a
        # positive of all, so the frequencies of labels are those of the expert only for videos of one label.
        return ClassSampler(probabilities=weights)

    def forward(self, *batches: Batch) -> Tensor:
        if self.config.shared_batch:
            batches = batches * len(self.model)
        experts = zip(self._experts(), batches, strict=True)
        return torch.stack([self._loss(expert, batch) for expert, batch in experts]).sum()

    def _experts(self) -> list[Expert]:
        return cast("list[Expert]", list(self.model.values()))

    def _loss(self, expert: Expert, batch: Batch) -> Tensor:
        """Compute Eq. 8 for an expert and its batch."""
        config, targets = self.config, batch.targets
        logits, mean, spread = expert(batch.features)
        weights = config.lambdas if self.log_lambdas is None else self.log_lambdas.softmax(0)
        with torch.autocast(mean.device.type, enabled=False):
            parts = (
                # DIFFERS: each of several ranks compares its own videos only.
                sorting_loss(
                    mean,
                    targets,
                    similarity=config.similarity,
                    temperature=config.temperature,
                    literal="sorting" in config.literal,
                ),
                classification_loss(logits, targets, expert.offsets, literal="classification" in config.literal),
                region_loss(spread, targets, expert.regions, literal="region" in config.literal),
            )
            return sum(weight * part for weight, part in zip(weights, parts, strict=True))

    def predict(self, features: Tensor) -> Tensor:
        noise = self.noise if len(self.noise) else None
        logits = torch.cat([expert.predict(features, noise) for expert in self._experts()])
        return logits.mean(0) if self.config.average == "logits" else logit_of_mean_probability(logits)


class Expert(nn.Module):
    """A Gaussian for each clip, and a classifier of draws from it.

    Args:
        dim: D, the numbers of a frame's feature vector.
        num_classes: C.
        config: The settings.
        regions: (C,) float32, gamma: the target of sigma^2 for each class.
        offsets: (C,) float32, added to the logits in training; None for none.
    """

    spread: FrameMean | TemporalAttention
    regions: Tensor
    offsets: Tensor | None

    def __init__(
        self, dim: int, num_classes: int, config: MEDCConfig, regions: Tensor, offsets: Tensor | None = None
    ) -> None:
        super().__init__()
        width = config.embedding_dim
        self.mean = FrameMean(dim, width, hidden=config.phi == "mlp")
        if config.attn == "none":
            self.spread = FrameMean(dim, width)
        else:
            self.spread = TemporalAttention(dim, width, full=config.attn == "full")
        self.dropout = Dropout(config.dropout or 0.0)
        self.classifier = nn.Linear(width, num_classes)
        self.register_buffer("regions", regions, persistent=False)
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Classify one draw for each clip (B, T, D).

        Returns:
            The logits (B, C), mu (B, d) and sigma (B, d), all float32. sigma may have either sign.
        """
        mean, spread = self.gaussian(features)
        return self.classify(mean + torch.randn_like(mean) * spread), mean, spread

    def predict(self, features: Tensor, noise: Tensor | None = None) -> Tensor:
        """Classify the draws of a noise (n, 1, d), or mu without noise: logits (n, B, C) or (1, B, C)."""
        if noise is None:
            return self.classify(self.mean(features).float().unsqueeze(0))
        mean, spread = self.gaussian(features)
        return self.classify(mean + noise * spread)

    def gaussian(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mu and sigma, (B, d) float32 each."""
        mean = self.mean(features)
        spread = self.spread(features) if isinstance(self.spread, FrameMean) else self.spread(features, mean)
        return mean.float(), spread.float()

    def classify(self, vectors: Tensor) -> Tensor:
        with torch.autocast(vectors.device.type, enabled=False):
            return self.classifier(self.dropout(vectors))


class FrameMean(nn.Module):
    """mu (B, d) of clips (B, T, D): the mean over frames of BatchNorm(phi(x)), with statistics over all frames.

    phi is Linear(D, d), or Linear(ReLU(Linear(D, d))) if ``hidden``.
    """

    def __init__(self, dim: int, width: int, *, hidden: bool = False) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(dim, width), nn.ReLU()) if hidden else nn.Identity()
        self.linear = nn.Linear(width if hidden else dim, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, features: Tensor) -> Tensor:
        frames = self.hidden(features)
        if not self.training:  # the rest is affine, so the mean comes first, for a T-th of the work
            return self.norm(self.linear(frames.mean(1)))
        frames = self.linear(frames)
        return self.norm(frames.flatten(0, 1)).view_as(frames).mean(1)


class TemporalAttention(nn.Module):
    """sigma (B, d) of clips (B, T, D) and their mu (B, d), Eq. 4: see the top of this file. d_k is d.

    With ``full``, frames attend to each other, and alpha is the mean over queries. Otherwise each frame weights itself.
    """

    def __init__(self, dim: int, width: int, *, full: bool = False) -> None:
        super().__init__()
        self.full = full
        self.hidden = nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, width))
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, features: Tensor, mean: Tensor) -> Tensor:
        away = self.hidden(features) - mean.unsqueeze(1)
        queries, keys = self.query(away) * away.shape[-1] ** -0.5, self.key(away)
        scores = queries @ keys.mT if self.full else (queries * keys).sum(-1).unsqueeze(1)
        shares = scores.softmax(-1).mean(1)  # (B, T)
        # f_v is affine and the shares sum to 1, so it comes last, for a T-th of the work.
        return self.value(torch.einsum("bt,btd->bd", shares, away.abs()))


def class_weights(expert: str, counts: np.ndarray, inverse_law: str = "rank_reversal") -> np.ndarray:
    """Compute the class frequencies of an expert.

    Args:
        expert: "longtail" for the frequencies of the data, "uniform" for equal ones, or "inverse".
        counts: (C,), the training videos of each class.
        inverse_law: The law of "inverse". "rank_reversal": the class with the r-th most videos gets the count of the
            class with the r-th fewest; classes of equal counts share the mean. "inverse_frequency": 1 / n.

    Returns:
        (C,) float64 of any sum; 0 for classes without videos.

    Example:
        >>> class_weights("inverse", np.array([900, 90, 9, 0]))
        array([  9.,  90., 900.,   0.])
    """
    weights, present = np.zeros(len(counts)), np.flatnonzero(counts)
    found = np.asarray(counts, np.float64)[present]
    if expert == "uniform":
        found = np.ones_like(found)
    elif expert == "inverse" and inverse_law == "inverse_frequency":
        found = 1 / found
    elif expert == "inverse":
        found = reverse_by_rank(found)
    weights[present] = found
    return weights


def class_regions(weights: np.ndarray, bounds: tuple[float, ...] = (0.0, 1.0), uniform: float = 0.5) -> Tensor:
    """Compute gamma of an expert, linear in the class frequencies from one bound to the other.

    Args:
        weights: (C,), from `class_weights`.
        bounds: The gamma of the rarest and of the most frequent class. Classes with weight 0 get the lower bound.
        uniform: The gamma of all classes if their frequencies are equal.

    Returns:
        (C,) float32.

    Example:
        >>> class_regions(np.array([9.0, 90.0, 900.0]))
        tensor([0.0000, 0.0909, 1.0000])
    """
    met, (low, high) = weights[weights > 0], bounds
    if not met.size or met.min() == met.max():
        return torch.full((len(weights),), uniform, dtype=torch.float32)
    share = ((weights - met.min()) / (met.max() - met.min())).clip(0)
    return torch.from_numpy((low + (high - low) * share).astype(np.float32))


def logit_offsets(counts: np.ndarray, weights: np.ndarray, power: float = 1.0) -> Tensor:
    """Compute the offsets that are added to an expert's logits in training, for other class frequencies in prediction.

    The expert trains on videos with the data's class frequencies. Without the offsets, its logits are those of the
    frequencies `weights` ** power, scaled to the sum of the counts.

    If the share of a class changes from p to q, and its videos look the same, Bayes' rule moves its logit by
    logit(q) - logit(p). So training adds logit(p) - logit(q). SADE adds log p and log p - 2 log q. For a softmax and
    small odds this is the same up to a constant. A sigmoid has no such freedom: without the common sum the experts'
    probabilities would differ a thousandfold, and one expert would dominate their mean. p and q are shares of all
    labels, as in the paper.

    Args:
        counts: (C,), the training videos of each class.
        weights: (C,), from `class_weights`.
        power: The power of the weights.

    Returns:
        (C,) float32; 0 for classes without videos, and for a single class.

    Source:
        SADE, arXiv 2107.09249.

    Example:
        >>> logit_offsets(np.array([1, 3]), np.array([1.0, 1.0]))
        tensor([-1.0986,  1.0986])
    """
    offsets, met = np.zeros(len(counts)), (counts > 0) & (weights > 0)
    if met.sum() > 1:
        before, after = (values / values.sum() for values in (counts[met].astype(np.float64), weights[met] ** power))
        offsets[met] = np.log(before / (1 - before)) - np.log(after / (1 - after))
    return torch.from_numpy(offsets.astype(np.float32))


def sorting_loss(
    means: Tensor,
    targets: Tensor,
    *,
    similarity: str = "cosine",
    temperature: float = 0.1,
    literal: bool = False,
) -> Tensor:
    """Compute L_mu (Eq. 3) as InfoNCE, -log(e^s+ / (e^s+ + sum e^s-)).

    s+ is the similarity of a video to one that shares a class, and s- to each that shares none. The loss is the mean
    over the former, then the mean over the videos that have any.

    Args:
        means: (B, d).
        targets: (B, C).
        similarity: "cosine" or "dot".
        temperature: The divisor of the similarities.
        literal: Drop the minus, as Eq. 3 is printed. That pushes positives apart.

    Returns:
        A scalar; 0 if no two videos share a class.
    """
    vectors = normalize(means) if similarity == "cosine" else means
    scores = vectors @ vectors.T / temperature
    shared = targets @ targets.T > 0
    positive = shared & ~torch.eye(len(means), dtype=torch.bool, device=means.device)
    negatives = scores.masked_fill(shared, -torch.inf).logsumexp(1, keepdim=True)
    count = positive.sum(1)
    of_video = (softplus(negatives - scores) * positive).sum(1) / count.clamp_min(1)
    loss = of_video.sum() / (count > 0).sum().clamp_min(1)
    return -loss if literal else loss


def classification_loss(
    logits: Tensor, targets: Tensor, offsets: Tensor | None = None, *, literal: bool = False
) -> Tensor:
    """Compute L_cls (Eq. 6) as binary cross entropy.

    Args:
        logits: (B, C).
        targets: (B, C).
        offsets: (C,), added to the logits; None for none.
        literal: Drop the term of the negatives, as Eq. 6 is printed. Its minimum is p = 1 everywhere.

    Returns:
        A scalar, the mean over B x C.
    """
    if offsets is not None:
        logits = logits + offsets
    return (targets * softplus(-logits)).mean() if literal else losses.bce(logits, targets)


def region_loss(spread: Tensor, targets: Tensor, regions: Tensor, *, literal: bool = False) -> Tensor:
    """Compute L_sigma (Eq. 7), the mean of (sigma^2 - gamma)^2.

    Args:
        spread: (B, d), sigma.
        targets: (B, C).
        regions: (C,), gamma. The gamma of a video is the mean over its labels, or 0 without labels.
        literal: Drop the outer square, as Eq. 7 is printed. Its minimum is sigma = 0 for every gamma.

    Returns:
        A scalar, the mean over B x d.
    """
    gamma = targets @ regions / targets.sum(1).clamp_min(1)
    off = spread.square() - gamma.unsqueeze(1)
    return off.mean() if literal else off.square().mean()


def logit_of_mean_probability(logits: Tensor) -> Tensor:
    """Compute the logit of the mean probability, log sum p - log sum (1 - p).

    The result ranks even where p rounds to 0 or 1.

    Args:
        logits: (n, ...).

    Returns:
        (...), the shape without the first axis.

    Example:
        >>> logit_of_mean_probability(torch.tensor([100.0, 101.0]))
        tensor(100.3799)
    """
    return logsigmoid(logits).logsumexp(0) - logsigmoid(-logits).logsumexp(0)
