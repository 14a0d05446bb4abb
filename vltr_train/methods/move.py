"""MOVE: the vectors of two samples of a clip's frames are extrapolated, further for rarer classes, then mixed.

Paper: MOVE, AAAI 2023 (arXiv 2211.13471), Eq. 4 and 7 to 12. With tau_c from 0 of the rarest class to 1 of the most
frequent, u and v the vectors of a clip by random frames, at least max(tau T, sigma) of them: z = w u + (1 - w) v, w of
Beta(2, 2) + 1; z' = l z_i + (1 - l) z_j and y' = min((l y_i + (1 - l) y_j) (1 - tau + gamma), 1), l of Beta(1, 1).
Loss: BCE. Evaluation sees all frames.
Code: https://github.com/wjun0830/MOVE (VideoLT/MOVE.py, models/models.py). Sigma, gamma and the parameters of both Beta
are those of the code; the paper's are in an appendix that is not published.
Command: vltr-train fit move:r101 --data DIR
Expected: All .719, head .815, medium .753, tail .644, Acc@1 .730, Acc@5 .883.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor
from torch.distributions import Beta

from vltr_train import losses
from vltr_train.aggregators import AGGREGATOR_NOTES, Attentive, VideoClassifier
from vltr_train.data.loader import Batch
from vltr_train.method import Method, Task, TrainConfig
from vltr_train.ops.frames import dynamic_frame_bounds, dynamic_frame_masks
from vltr_train.presets import published

__all__ = ["Move", "MoveConfig"]


@dataclass(frozen=True, kw_only=True)
class MoveConfig(TrainConfig):
    # DIFFERS: Eq. 2 and 10 subtract cluster centers, and Eq. 3 has a bias. The published code has neither, but a gate
    # and a batch normalisation, whose shift is a bias. psa-codebook-centers subtracts centers too.
    aggregator: str = field(
        default="psa-codebook",
        metadata={
            "choices": {
                name: AGGREGATOR_NOTES[name] for name in ("psa-codebook", "psa", "codebook", "psa-codebook-centers")
            }
        },
    )
    clip_norm: float | None = None
    # Whether the vectors of two random views of a clip are extrapolated (Section 3.1). If false, a clip has one
    # vector, of all its frames, as frames are only sampled for extrapolation.
    extrapolation: bool = True
    interpolation: bool = True  # Whether the vectors of two clips are mixed (Section 3.2).
    label_calibration: bool = True  # Whether interpolated labels are multiplied by 1 - tau + gamma, up to 1.
    lower_bound: float = 3.0  # The least number of frames of a view (sigma), from 0 to train_frames.
    calibration_bias: float = 0.5  # The gamma of the factor 1 - tau + gamma of labels, at least 0.
    # The parameter of the share w of extrapolation, above 0: w - 1 is drawn from Beta(alpha, alpha).
    extrapolation_alpha: float = 2.0
    # The parameter of the share l of interpolation, above 0: l is drawn from Beta(alpha, alpha).
    interpolation_alpha: float = 1.0
    # The rows that share a draw of w and of l. "batch" draws them once for a batch; "sample" draws them for each clip.
    # DIFFERS: Eq. 11 and 12 have an expectation for each pair, so w and l of its own. Here, as in the published code,
    # they are drawn once for a batch.
    mix_granularity: str = field(default="batch", metadata={"choices": ("batch", "sample")})
    # The frames that PSA attends to in a view. "view" takes those of the view's own query; "drop" leaves out the frames
    # of a third mask of both views, as in the published code; "keep" takes the frames of that mask alone, which no
    # source has; "none" takes all frames.
    # DIFFERS: the paper multiplies the frames of a view by one mask before they are pooled, projected and attended to
    # (Eq. 8 and 9). Masked frames are left out here, because zeros would share in the softmax and shrink the mean. The
    # published code draws a third mask.
    psa_key_mask: str = field(default="view", metadata={"choices": ("view", "drop", "keep", "none")})
    # The treatment of masked frames in the codebook. "drop" leaves them out of the sum (Eq. 10); "zero" replaces them
    # by zeros, which count in the batch statistics of the assignment.
    # DIFFERS: the published code gives the codebook zeros for masked frames.
    codebook_masking: str = field(default="drop", metadata={"choices": ("drop", "zero")})
    # Whether the weights of the normalisation before the codebook stay untrained.
    # DIFFERS: in the published code no gradient reaches the normalisation before the codebook.
    detach_codebook_input: bool = False
    # Whether only the frames of a batch's first clip are sampled. The queries of the other clips are then their first
    # and their second frame, and all their frames are keys and in the codebook.
    # DIFFERS: the published code for MiniKinetics samples only the frames of a batch's first clip.
    minikinetics_code: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("extrapolation_alpha", "interpolation_alpha"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if not 0 <= self.lower_bound <= self.train_frames:
            raise ValueError(
                f"lower_bound: expected from 0 to the {self.train_frames} of train_frames, got {self.lower_bound}"
            )
        if self.calibration_bias < 0:
            raise ValueError(f"calibration_bias: expected at least 0, got {self.calibration_bias}")
        if self.compile:
            raise ValueError("compile: expected false, as steps of move call parts of the model, got true")


class Move(Method):
    paper = "MOVE (arXiv 2211.13471)"
    config: MoveConfig
    model: VideoClassifier
    bounds: Tensor
    factors: Tensor
    Config = MoveConfig
    official = MappingProxyType({"psa_key_mask": "drop", "codebook_masking": "zero", "detach_codebook_input": True})
    presets = MappingProxyType(
        published("move", "MOVE", without="*-mk*")
        | published("move", "MOVE", only="*-mk*", official={"minikinetics_code": True})
        # The check marks of rows (e) and (f) are taken in the order of their columns, Ex. and In.
        | published("move", "MOVE, extrapolation alone", interpolation=False)
        | published("move", "MOVE, interpolation alone", extrapolation=False)
    )

    def __init__(self, config: MoveConfig, task: Task) -> None:
        super().__init__(config, task)
        bounds = dynamic_frame_bounds(task.train_counts, config.train_frames, config.lower_bound)
        tau = dynamic_frame_bounds(task.train_counts, 1, lower=0)
        factors = torch.from_numpy(1 - tau + config.calibration_bias).float()
        self.register_buffer("bounds", torch.from_numpy(bounds), persistent=False)  # (C,) frames
        self.register_buffer("factors", factors, persistent=False)  # (C,)
        self._seed = self._step = 0  # for the masks
        codebook = self.aggregator.codebook
        if config.detach_codebook_input and codebook is not None:
            # No parameters stand before this normalisation. `freeze` would stop its statistics, so it is not used.
            codebook.input_norm.requires_grad_(False)

    @property
    def aggregator(self) -> Attentive:
        """The aggregator of the model: all choices of `MoveConfig.aggregator` are of this class."""
        return cast("Attentive", self.model.aggregator)

    def begin_epoch(self, epoch: int, num_rows: int) -> None:
        # Drawn here, because a draw in a step would wait for the device. The number of the step varies the masks.
        self._seed, self._step = int(torch.randint(2**63 - 1, ())), 0

    def forward(self, batch: Batch) -> Tensor:
        config, targets = self.config, batch.targets
        frames = self.model.embed(batch.features)
        vectors = self._extrapolated(frames, targets) if config.extrapolation else self.aggregator.pool(frames)
        if config.interpolation:
            # DIFFERS: each of several ranks has shares and partners of its own.
            share = self._shares(config.interpolation_alpha, vectors)
            partner = torch.randperm(len(vectors), device=vectors.device)
            vectors = torch.lerp(vectors[partner].float(), vectors.float(), share)
            targets = torch.lerp(targets[partner], targets, share)
            if config.label_calibration:
                targets = (targets * self.factors).clamp(max=1)
        return losses.bce(self.model.classify(vectors), targets)

    def _extrapolated(self, frames: Tensor, targets: Tensor) -> Tensor:
        """The extrapolated vectors (B, P) of clips (B, T, D), from two views of each."""
        masks = self._masks(targets, frames.shape[1])
        views = self.aggregator.views(frames, *masks, zeroed=self.config.codebook_masking == "zero").float()
        return torch.lerp(views[:, 1], views[:, 0], 1 + self._shares(self.config.extrapolation_alpha, views))

    def _masks(self, targets: Tensor, num_frames: int) -> tuple[Tensor, Tensor | None, Tensor]:
        """Masks of bool, True for frames to keep: of the views' queries, of their keys, and of their codebooks.

        Those of queries and codebooks are (B, 2, T), and those of keys (B, 2, T), (B, T) or None.
        """
        self._step += 1
        whole_batch = self.config.minikinetics_code
        sampled = targets.sum(0, keepdim=True) if whole_batch else targets  # the labels determine the number of frames
        drawn = dynamic_frame_masks(sampled, self.bounds, num_frames, seed=self._seed, epoch=self._step)
        queries, keys, codebooks = drawn[:, :2], self._key_masks(drawn), drawn[:, 3:]
        if whole_batch:
            others = drawn.new_ones(len(targets) - 1, 2, num_frames)
            single = torch.eye(2, num_frames, dtype=torch.bool, device=drawn.device)  # frame 0, and frame 1
            queries, codebooks = torch.cat([queries, others & single]), torch.cat([codebooks, others])
            if keys is not None:
                keys = torch.cat([keys, others if keys.dim() == 3 else others[:, 0]])
        return queries, keys, codebooks

    def _key_masks(self, drawn: Tensor) -> Tensor | None:
        """The masks of keys from those that are drawn, (B, 5, T): of two queries, the keys, and two codebooks."""
        kind = self.config.psa_key_mask
        if kind == "view":
            return drawn[:, :2]
        if kind == "none":
            return None
        return ~drawn[:, 2] if kind == "drop" else drawn[:, 2]

    def _shares(self, alpha: float, vectors: Tensor) -> Tensor:
        """Draw shares from Beta(alpha, alpha): a scalar, or (B, 1)."""
        shape = (len(vectors), 1) if self.config.mix_granularity == "sample" else ()
        parameter = torch.full((), alpha, device=vectors.device)
        return Beta(parameter, parameter, validate_args=False).sample(shape)  # validation would wait for the device
