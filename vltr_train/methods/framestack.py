"""FrameStack: clips of two videos are joined, with fewer frames of the video whose classes the model knows better.

Paper: VideoLT, arXiv 2105.02668, Eq. 1 to 4 and Algorithm 1. With s_i the sum of the running AP (rAP) over the labels
of video i: beta = s_i / (s_i + s_j), floor(beta L) frames from j and the rest from i, y = (1 - beta) y_i + beta y_j.
rAP is the AP of each class over the predictions of the previous epoch. Loss: focal, gamma 1.
Code: https://github.com/17Skye17/VideoLT (dy_main.py, ops/Augment.py).
Command: vltr-train fit framestack:r101 --data DIR
Expected: All .532, head .695, medium .584, tail .417, Acc@1 .667, Acc@5 .843.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from vltr_eval import RunningAP, distributed, positive_ranks
from vltr_eval._base.ranks import current_group
from vltr_train import losses
from vltr_train.aggregators import VideoClassifier
from vltr_train.data.loader import Batch
from vltr_train.method import Method, Task, TrainConfig
from vltr_train.ops.frames import frame_stack
from vltr_train.presets import published

__all__ = ["FrameStack", "FrameStackConfig"]


@dataclass(frozen=True, kw_only=True)
class FrameStackConfig(TrainConfig):
    # The share of a batch that is mixed, from 0 to 1 (eta); these are its first rows.
    # DIFFERS: 0 mixes nothing, as in Table 5. With 0 the published code mixes whole batches.
    ratio: float = 0.5
    # The number of first epochs without mixing, as there is no rAP yet. With 0 the first epoch has a beta of 0.5
    # (Algorithm 1).
    warm_epochs: int = 1
    # The rule for beta, the share of frames that a video takes from its partner (Table 3). "rap" computes it from the
    # running AP of both videos' classes; "constant" uses constant_beta for every pair; "frequency" uses the training
    # counts of the classes in place of the rAP.
    beta: str = field(default="rap", metadata={"choices": ("rap", "constant", "frequency")})
    constant_beta: float = 0.5  # The share of the partner's frames with beta=constant, from 0 to 1.
    # The loss of a batch (Table 4). "focal" is the focal loss with the power gamma; "bce" is the binary cross
    # entropy.
    loss: str = field(default="focal", metadata={"choices": ("focal", "bce")})
    gamma: float = 1.0  # The power of the focal loss, at least 0; 0 gives the binary cross entropy.
    # The number of frames of a mixed clip (L), at least 1; none for train_frames. Another value needs ratio=1.
    clip_length: int | None = None
    # The predictions that the rAP is computed from. "clean_train_mode" takes a second forward of the clean clips in
    # train mode, as in the published code (dropout acts, and batch statistics move twice); "clean_eval_mode" takes the
    # same forward in eval mode; "reuse" takes the first forward, and a second one for the mixed rows alone.
    rap_source: str = field(
        default="clean_train_mode", metadata={"choices": ("clean_train_mode", "clean_eval_mode", "reuse")}
    )
    # The scores that the rAP ranks. "logits" ranks logits, of which equal ones are one threshold and none are rounded,
    # so the rAP depends on no order of rows; "probabilities" ranks float32 sigmoids one after another, and of equal
    # ones the lower row first.
    # DIFFERS: the published code ranks sigmoids, in its sort's order of equal ones; large logits round to 1.
    rap_scores: str = field(default="logits", metadata={"choices": ("logits", "probabilities")})
    # The score of a video with several labels. "sum" adds up the rAP of its labels; "mean" averages them; "min" takes
    # the lowest of them.
    # DIFFERS: the paper has one label a video. The published code sums the rAP of all, and so does the default.
    multilabel_rap: str = field(default="sum", metadata={"choices": ("sum", "mean", "min")})
    # The least sum of the scores of two videos; below it beta is 0.5. "code" has 1e-5 C for C classes, because the
    # published code divides scores by C; "paper" has 1e-5 (Algorithm 1).
    # DIFFERS: the default is that of the published code.
    eps_scale: str = field(default="code", metadata={"choices": ("code", "paper")})
    # The order of frames in a mixed clip. "partner_first" puts the partner's frames first; "own_first" puts the video's
    # own frames first. Aggregators that ignore the order of frames give the same result.
    # DIFFERS: Eq. 2 has the video's own frames first. The published code, and the default, have the partner's first.
    order: str = field(default="partner_first", metadata={"choices": ("partner_first", "own_first")})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("ratio", "constant_beta"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected from 0 to 1, got {getattr(self, name)}")
        if self.gamma < 0:
            raise ValueError(f"gamma: expected at least 0, got {self.gamma}")
        if self.clip_length is not None and self.clip_length < 1:
            raise ValueError(f"clip_length: expected at least 1 or none, got {self.clip_length}")
        if self.warm_epochs < 0:
            raise ValueError(f"warm_epochs: expected at least 0, got {self.warm_epochs}")
        if self.ratio < 1 and self.clip_length not in (None, self.train_frames):
            raise ValueError(
                f"clip_length: expected the {self.train_frames} of train_frames where ratio is below 1, "
                f"got {self.clip_length}"
            )


class FrameStack(Method):
    paper = "VideoLT / FrameStack (arXiv 2105.02668)"
    config: FrameStackConfig
    model: VideoClassifier
    rap: Tensor
    Config = FrameStackConfig
    official = MappingProxyType({"rap_scores": "probabilities"})
    presets = MappingProxyType(
        published("framestack", "FrameStack")
        | published("framestack", "FrameStack-BCE", loss="bce")
        | published("framestack", "FrameStack, beta = 0.5", beta="constant")
        | published("framestack", "FrameStack, class frequency", beta="frequency")
        # The paper prints the baseline's numbers here, and the baseline has BCE.
        | published("framestack", "FrameStack, eta = 0", ratio=0.0, loss="bce")
        | published("framestack", "FrameStack, eta = 0.3", ratio=0.3)
        | published("framestack", "FrameStack, eta = 0.7", ratio=0.7)
        | published("framestack", "FrameStack, eta = 0.9", ratio=0.9)
    )

    def __init__(self, config: FrameStackConfig, task: Task) -> None:
        super().__init__(config, task)
        counts = torch.tensor(task.train_counts, dtype=torch.float32)
        # (C,), the rAP that the next epoch mixes by, saved with the weights. The counts are "CF" of Table 3.
        self.register_buffer("rap", counts if config.beta == "frequency" else torch.zeros_like(counts))
        self._running: RunningAP | None = None
        self._mixes = False
        self._stacked: Tensor | None = None

    def notes(self) -> list[str]:
        if self.config.warm_epochs < self.config.epochs:
            return []
        return [f"warm_epochs: {self.config.warm_epochs} of {self.config.epochs} epochs, so no clips are mixed"]

    def begin_epoch(self, epoch: int, num_rows: int) -> None:
        config = self.config
        self._mixes = epoch >= config.warm_epochs
        if config.beta != "rap" or config.ratio == 0:
            return
        if self._running is None or self._running.capacity < num_rows:
            self._running = RunningAP(self.task.num_classes, num_rows)
        self._running.reset()

    def end_epoch(self) -> None:
        if self._running is not None:
            by_rows = self.config.rap_scores == "probabilities"
            self.rap.copy_(torch.from_numpy(_average_precision(*self._running.rows(), by_rows=by_rows)))

    def forward(self, batch: Batch) -> Tensor:
        num_mixed = self._num_mixed(len(batch.features))
        # Stacking only moves frames, so they are embedded once for both the mixed and the clean clips.
        clean = self.model.embed(batch.features)
        frames, targets = self._mixed(clean, batch.targets, num_mixed) if num_mixed else (clean, batch.targets)
        logits = self.model(frames, embedded=True)
        loss = self._loss(logits, targets)
        if self._running is not None:
            # After the first forward: autocast caches weights, and it would cache them without gradients here.
            scores = self._clean_logits(clean.detach(), logits.detach(), num_mixed)
            scores = scores.sigmoid() if self.config.rap_scores == "probabilities" else scores
            self._running.update(scores, batch.targets)
        return loss

    def _num_mixed(self, num_rows: int) -> int:
        """The number of rows of a batch that are mixed."""
        # DIFFERS: each of several ranks mixes within its own rows; the published code has one batch on all GPUs.
        num_mixed = int(num_rows * self.config.ratio) if self._mixes else 0
        return num_mixed if num_mixed >= 2 else 0  # DIFFERS: the published code stacks a single row with itself

    def _mixed(self, frames: Tensor, targets: Tensor, num_mixed: int) -> tuple[Tensor, Tensor]:
        """Frames (B, T, D) and targets (B, C), with the first rows stacked with each other."""
        config = self.config
        length = config.clip_length or frames.shape[1]
        stacked = frame_stack(
            frames,
            targets,
            self.rap,
            torch.randperm(num_mixed, device=frames.device),
            length,
            num_mixed=num_mixed,
            beta=config.constant_beta if config.beta == "constant" else None,
            multilabel_rap=config.multilabel_rap,
            eps_scale=config.eps_scale,
            order=config.order,
            out=None if frames.requires_grad else self._room_for(frames, length),
        )
        return stacked.features, stacked.targets

    def _room_for(self, frames: Tensor, length: int) -> Tensor:
        """Memory for stacked frames: the previous step's if it fits, as fresh memory costs more than stacking."""
        num_rows, _, dim = frames.shape
        room = self._stacked
        if room is None or (room.shape, room.dtype, room.device) != (
            (num_rows, length, dim),
            frames.dtype,
            frames.device,
        ):
            room = self._stacked = frames.new_empty(num_rows, length, dim)
        return room

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self.config.loss == "bce":
            return losses.bce(logits, targets)
        return losses.focal(logits, targets, self.config.gamma)

    @torch.no_grad()
    def _clean_logits(self, frames: Tensor, logits: Tensor, num_mixed: int) -> Tensor:
        """Logits (B, C) of the clean clips. The first forward has computed those of rows that were not mixed."""
        if self.config.rap_source == "reuse":
            return (
                torch.cat([self.model(frames[:num_mixed], embedded=True), logits[num_mixed:]]) if num_mixed else logits
            )
        self.model.train(self.config.rap_source == "clean_train_mode")
        clean = self.model(frames, embedded=True)
        self.model.train(self.training)
        return clean


def _average_precision(scores: Tensor, labels: Tensor, *, by_rows: bool) -> np.ndarray:
    """The AP of each class over the rows (n, C) of all ranks: (C,) float64, 0 without positives.

    Equal scores are one threshold, or with ``by_rows`` ranked one after another: by rank, then by row.
    """
    table = distributed.rank_table(scores, labels)
    found = table.average_precision(absent="zero")
    if by_rows and table.tied.any():
        # Only classes in which a positive and a negative are equal depend on the order, so only these are exchanged.
        tied = np.unique(np.repeat(np.arange(len(found)), np.diff(table.indptr))[table.tied > 0])
        chosen = [rows[:, torch.from_numpy(tied).to(rows.device)].cpu().numpy() for rows in (scores, labels)]
        shards = zip(*current_group().all_gather(lambda: chosen), strict=True)
        found[tied] = positive_ranks(*map(np.concatenate, shards), order="rows").average_precision()
    return found
