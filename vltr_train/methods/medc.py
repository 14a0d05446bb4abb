"""MEDC: three experts see the classes long-tailed, balanced and reversed, and a video is a Gaussian to each of them.

Paper: Hu, Gao and Xu, "Learning Muti-experts Distribution Calibration for Long-tailed Video Classification", Eq. 1-8.
Of a clip of frames x_l an expert has mu = mean_l phi(x_l) and, with h_l = MLP(x_l) and a_l = h_l - mu, sigma =
sum_l alpha_l f_v(|a_l|), alpha = softmax_l(f_q(a_l) . f_k(a_l) / sqrt(d)); what it classifies is z = mu + eps sigma,
eps ~ N(0, 1). Loss: the sum over experts of l1 L_mu + l2 L_cls + l3 L_sigma. L_mu: the mu of videos that share a class
are near each other. L_sigma: sigma^2 is near gamma_k, the larger the more often the expert meets class k. Prediction:
the mean of the experts' probabilities at eps = 0, where logits are affine in the mean frame, unless phi is an MLP.
Code: none is published, and of Eq. 3, 6, 7 and 8 as printed none can be trained by: see `sorting_loss`,
`classification_loss`, `region_loss` and `MEDCConfig`, of which `literal` and `learn_lambdas` have them all the same.
Command: vltr-train fit medc:r101 --data DIR
Expected: All .583, head .725, medium .622, tail .476, Acc@1 .670, Acc@5 .845. Its groups' mean is .577, not .583.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize, softplus

from vltr_eval.priors import reverse_by_rank
from vltr_train import losses
from vltr_train.data.loader import FRAME_SAMPLING, Batch
from vltr_train.data.samplers import ClassSampler, InstanceSampler, Sampler
from vltr_train.method import Method, Stage, Task, TrainConfig
from vltr_train.ops.dropout import Dropout
from vltr_train.presets import published

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
    aggregator: str = field(default="gaussian", metadata={"choices": ("gaussian",)})  # each expert is one
    dropout: float | None = None  # of z; none is 0
    # 120 is the paper's, which says nothing of steps and clipping: they are what VideoLT's code has beside 120.
    epochs: int = 120
    lr_steps: tuple[int, ...] = (50, 100)
    clip_norm: float | None = None
    clip_scope: str = field(default="all", metadata={"choices": ("all",)})
    train_frames: int = 150
    frame_sampling: str = field(default="uniform", metadata={"choices": tuple(FRAME_SAMPLING)})
    experts: tuple[str, ...] = EXPERTS  # some of them alone are rows of Table II
    embedding_dim: int = 1024  # d, which the paper does not give
    # One layer, as "Implementation Details" has it, or the MLP of Eq. 2.
    phi: str = field(default="linear", metadata={"choices": ("linear", "mlp")})
    # The weight of a frame is by itself, as Eq. 4 reads; or by all others ("directly related to other frames"), the
    # mean over the frames that ask; or sigma is made as mu is, "No Temporal-Attention" of Table II.
    attn: str = field(default="diag", metadata={"choices": ("diag", "full", "none")})
    # What the inverse expert meets: reversed label frequencies, or frequencies in proportion to 1 / n. The paper says
    # both.
    inverse_law: str = field(default="rank_reversal", metadata={"choices": ("rank_reversal", "inverse_frequency")})
    shared_batch: bool = False  # one batch for all experts, who see other classes by `logit_offsets` alone
    similarity: str = field(default="cosine", metadata={"choices": ("cosine", "dot")})  # Eq. 3 has "dot"
    temperature: float = 0.1  # Eq. 3 has none, which is 1
    gamma_range: tuple[float, ...] = (0.0, 1.0)  # of the class met least often, and of the one met most
    gamma_uniform: float = 0.5
    # DIFFERS: none of Eq. 3, 6 and 7 can be trained by as it is printed. Those of LITERAL that are named here are so.
    literal: tuple[str, ...] = ()
    # Of the sorting, classification and region loss. The second is a mean over classes, and so by far the smallest: on
    # synthetic features (100 classes, one run each) 1, 1, 1 reaches an mAP of .046 and these .103; bce has .044.
    lambdas: tuple[float, ...] = (0.01, 1.0, 0.01)
    # DIFFERS: the paper learns the lambdas, with a sum of 1, and what minimises that is the smallest loss alone. Here
    # they stand still unless this is set; then they begin in proportion to `lambdas`.
    learn_lambdas: bool = False
    average: str = field(default="probabilities", metadata={"choices": ("probabilities", "logits")})  # over experts
    mc_samples: int = 0  # z that predictions are averaged over; 0: one, of eps = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("experts", EXPERTS), ("literal", LITERAL)):
            values = getattr(self, name)
            if not set(values) <= set(known) or len(set(values)) < len(values):
                raise ValueError(f"{name}: expected different ones of {', '.join(known)}, got {', '.join(values)}")
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
    Config = MEDCConfig
    presets = MappingProxyType(
        published(
            "MEDC",
            {
                "r50": (0.554, 0.720, 0.607, 0.436, 0.666, 0.834),
                "r101": (0.583, 0.725, 0.622, 0.476, 0.670, 0.845),
            },
            tables=("videolt-medc-1", "videolt-medc-2", "videolt-meid-2"),
            quoted={
                "r50": {"videolt-meid-2": (0.567, 0.720, 0.607, 0.436)},
                "r101": {"videolt-meid-2": (0.603, 0.737, 0.657, 0.499)},
            },
        )
        | published(
            "No Temporal-Attention",
            {
                "r50-no-attention": (0.545, 0.712, 0.589, 0.425, 0.659, 0.825),
                "r101-no-attention": (0.580, 0.709, 0.614, 0.468, 0.668, 0.837),
            },
            tables=("videolt-medc-2",),
            attn="none",
        )
        | published(
            "Expert1",
            {
                "r50-expert1": (0.506, 0.683, 0.562, 0.377, 0.649, 0.812),
                "r101-expert1": (0.546, 0.679, 0.588, 0.461, 0.646, 0.828),
            },
            tables=("videolt-medc-2",),
            experts=("longtail",),
        )
        | published(
            "Expert2",
            {
                "r50-expert2": (0.497, 0.679, 0.554, 0.370, 0.647, 0.801),
                "r101-expert2": (0.531, 0.670, 0.577, 0.465, 0.643, 0.815),
            },
            tables=("videolt-medc-2",),
            experts=("uniform",),
        )
        | published(
            "Expert3",
            {
                "r50-expert3": (0.507, 0.679, 0.561, 0.384, 0.643, 0.807),
                "r101-expert3": (0.547, 0.676, 0.586, 0.462, 0.649, 0.826),
            },
            tables=("videolt-medc-2",),
            experts=("inverse",),
        )
    )

    def __init__(self, config: MEDCConfig, task: Task) -> None:
        super().__init__(config, task)
        self.log_lambdas = nn.Parameter(torch.tensor(config.lambdas).log()) if config.learn_lambdas else None
        # The same eps for all videos and experts, so that chance does not rank one video above another.
        draws = torch.Generator().manual_seed(config.seed)
        noise = torch.randn(config.mc_samples, 1, config.embedding_dim, generator=draws)
        self.register_buffer("noise", noise, persistent=False)

    def make_model(self) -> nn.ModuleDict:
        # DIFFERS: the paper's experts have the last stages of a ResNet of their own, where features are frozen here;
        # but it also extracts features with a ResNet pretrained on ImageNet.
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
        return (self.stage(samplers=tuple(map(self._sampler, self.config.experts))),)

    def _sampler(self, name: str) -> Sampler:
        if name == "longtail":
            return InstanceSampler()
        weights = class_weights(name, self.task.train_counts, self.config.inverse_law)
        return ClassSampler(probabilities=weights)

    def forward(self, *batches: Batch) -> Tensor:
        if self.config.shared_batch:
            batches = batches * len(self.model)
        experts = zip(self.model.values(), batches, strict=True)
        return torch.stack([self._loss(expert, batch) for expert, batch in experts]).sum()

    def _loss(self, expert: Expert, batch: Batch) -> Tensor:
        """Eq. 8 of an expert and its batch."""
        config, targets = self.config, batch.targets
        logits, mean, spread = expert(batch.features)
        weights = config.lambdas if self.log_lambdas is None else self.log_lambdas.softmax(0)
        with torch.autocast(mean.device.type, enabled=False):
            parts = (
                # DIFFERS: of several ranks each compares its own videos alone.
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
        logits = torch.cat([expert.predict(features, noise) for expert in self.model.values()])
        return logits.mean(0) if self.config.average == "logits" else logit_of_mean_probability(logits)


class Expert(nn.Module):
    """A Gaussian of each clip, and a classifier of draws from it.

    regions: (C,) gamma, the sigma^2 wanted of each class. offsets: (C,), what is added to its logits in training, or
    None.
    """

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
        """Logits (B, C) of a draw for each clip (B, T, D), mu (B, d) and sigma (B, d), of either sign: all float32."""
        mean, spread = self.gaussian(features)
        return self.classify(mean + torch.randn_like(mean) * spread), mean, spread

    def predict(self, features: Tensor, noise: Tensor | None = None) -> Tensor:
        """Logits (n, B, C) of the draws that a noise (n, 1, d) makes, or (1, B, C) of mu without."""
        if noise is None:
            return self.classify(self.mean(features).float().unsqueeze(0))
        mean, spread = self.gaussian(features)
        return self.classify(mean + noise * spread)

    def gaussian(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """mu and sigma."""
        mean = self.mean(features)
        spread = self.spread(features) if isinstance(self.spread, FrameMean) else self.spread(features, mean)
        return mean.float(), spread.float()

    def classify(self, vectors: Tensor) -> Tensor:
        with torch.autocast(vectors.device.type, enabled=False):
            return self.classifier(self.dropout(vectors))


class FrameMean(nn.Module):
    """mu (B, d) of clips (B, T, D): the mean over frames of BatchNorm(phi(x)), its statistics those of all frames.

    phi: Linear(D, d), or with ``hidden`` Linear(ReLU(Linear(D, d))).
    """

    def __init__(self, dim: int, width: int, *, hidden: bool = False) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(dim, width), nn.ReLU()) if hidden else nn.Identity()
        self.linear = nn.Linear(width if hidden else dim, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, features: Tensor) -> Tensor:
        frames = self.hidden(features)
        if not self.training:  # all that is left is affine, so the mean may come first: for a T-th of the work
            return self.norm(self.linear(frames.mean(1)))
        frames = self.linear(frames)
        return self.norm(frames.flatten(0, 1)).view_as(frames).mean(1)


class TemporalAttention(nn.Module):
    """sigma (B, d) of clips (B, T, D) and their mu (B, d), Eq. 4: see the top of this file. d_k is d.

    full: frames weigh each other, and alpha is the mean over those that ask; else each weighs itself.
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
        # f_v is affine and the shares sum to 1, so it may come last: for a T-th of the work.
        return self.value(torch.einsum("bt,btd->bd", shares, away.abs()))


def class_weights(expert: str, counts: np.ndarray, inverse_law: str = "rank_reversal") -> np.ndarray:
    """How often an expert meets each class, (C,) float64 of any sum: 0 for those without videos.

    "longtail": as they occur. "uniform": all alike. "inverse", by law: "rank_reversal", the class of the r-th most
    videos as often as that of the r-th fewest occurs (classes of equal counts alike: the mean of what they would get);
    "inverse_frequency", in proportion to 1 / n.

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
    """gamma (C,) float32 of an expert: from one bound to the other, linear in how often it meets a class (C,).

    uniform: of all, where an expert meets all alike. Classes that it never meets have the lower bound.

    >>> class_regions(np.array([9.0, 90.0, 900.0]))
    tensor([0.0000, 0.0909, 1.0000])
    """
    met, (low, high) = weights[weights > 0], bounds
    if not met.size or met.min() == met.max():
        return torch.full((len(weights),), uniform, dtype=torch.float32)
    place = ((weights - met.min()) / (met.max() - met.min())).clip(0)
    return torch.from_numpy((low + (high - low) * place).astype(np.float32))


def logit_offsets(counts: np.ndarray, weights: np.ndarray, power: float = 1.0) -> Tensor:
    """What is added to the logits of an expert that learns from videos as they come, (C,) float32, so that without it
    its logits are those of other class frequencies: `weights` to the power, brought to the sum of the counts.

    Where only the share of a class changes, from p to q, and not what its videos look like, Bayes' rule moves its logit
    by logit(q) - logit(p); so what is trained has logit(p) - logit(q) on top. SADE adds log p and log p - 2 log q,
    which for a softmax is the same up to what all classes share and to the odds being small. A sigmoid has no such
    freedom: without the common sum the experts' probabilities would differ a thousandfold, and their mean would be one
    expert's. p and q are of all labels, as the paper's. Classes without videos, and one alone, have 0.

    >>> logit_offsets(np.array([1, 3]), np.array([1.0, 1.0]))
    tensor([-1.0986,  1.0986])
    """
    offsets, met = np.zeros(len(counts)), (counts > 0) & (weights > 0)
    if met.sum() > 1:
        given, wanted = (values / values.sum() for values in (counts[met].astype(np.float64), weights[met] ** power))
        offsets[met] = np.log(given / (1 - given)) - np.log(wanted / (1 - wanted))
    return torch.from_numpy(offsets.astype(np.float32))


def sorting_loss(
    means: Tensor,
    targets: Tensor,
    *,
    similarity: str = "cosine",
    temperature: float = 0.1,
    literal: bool = False,
) -> Tensor:
    """Eq. 3, L_mu, as InfoNCE: -log(e^s+ / (e^s+ + sum e^s-)), a number.

    means: (B, d). targets: (B, C). s: "cosine" or "dot" of two means, over the temperature. Of each video, s+ is with
    one that shares a class and s- with all that share none; the mean over the former, and then over the videos that
    have any (0 where none has). literal: without the minus, as Eq. 3 is printed: that pushes positives apart.
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
    """Eq. 6, L_cls, as binary cross entropy: the mean over (B, C), a number.

    offsets: (C,), added to the logits. literal: without the term of the negatives, as Eq. 6 is printed: p = 1 for all
    classes of all videos is its minimum.
    """
    if offsets is not None:
        logits = logits + offsets
    return (targets * softplus(-logits)).mean() if literal else losses.bce(logits, targets)


def region_loss(spread: Tensor, targets: Tensor, regions: Tensor, *, literal: bool = False) -> Tensor:
    """Eq. 7, L_sigma: the mean over (B, d) of (sigma^2 - gamma)^2, a number.

    spread: sigma (B, d). regions: gamma (C,); of a video the mean over its labels, without one 0. literal: without the
    square, as Eq. 7 is printed: sigma = 0 is its minimum whatever gamma.
    """
    wanted = targets @ regions / targets.sum(1).clamp_min(1)
    off = spread.square() - wanted.unsqueeze(1)
    return off.mean() if literal else off.square().mean()


def logit_of_mean_probability(logits: Tensor) -> Tensor:
    """logit(mean_n sigmoid(x_n)) of logits (n, ...): log sum p - log sum (1 - p), which ranks where p rounds to 0 or 1.

    >>> logit_of_mean_probability(torch.tensor([100.0, 101.0]))
    tensor(100.3799)
    """
    return logsigmoid(logits).logsumexp(0) - logsigmoid(-logits).logsumexp(0)
