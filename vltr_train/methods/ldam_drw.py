"""LDAM with deferred re-weighting: rarer classes have a larger margin and, in later epochs, a larger weight.

Paper: Cao et al., arXiv 1906.07413, Eq. 13 and Algorithm 1: margins m_c ~ n_c^(-1/4), L = BCE(s (z - m y), y), with
the weights of the class-balanced loss from epoch `drw_epoch` on.
Code: https://github.com/17Skye17/VideoLT (ops/losses.py): s = 30 on logits of any length, margins summed over labels.
Command: vltr-train fit ldam_drw:r101 --data DIR
Expected: All .518, head .687, medium .572, tail .397, Acc@1 .664, Acc@5 .820.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from vltr_train import losses
from vltr_train.data.loader import Batch
from vltr_train.method import Method, Task, TrainConfig
from vltr_train.presets import published

__all__ = ["LDAMDRW", "LDAMDRWConfig"]


@dataclass(frozen=True, kw_only=True)
class LDAMDRWConfig(TrainConfig):
    # The factor of the logits after the margins are subtracted.
    # DIFFERS: the paper's logits are cosines, for which it has the scale 30. In VideoLT's code, and here, the logits of
    # any length are scaled by it.
    scale: float = 30.0
    largest_margin: float = 0.5  # The margin of the rarest class, in logits before `scale`. Others are smaller.
    # Whether each label of a video has the sum of the margins of all its labels; false for its own margin.
    # DIFFERS: the paper has one label, with its own margin. VideoLT's code, and the default, subtract the sum
    # of the margins of a video's labels at each of them.
    summed_margins: bool = True
    # The first epoch in which class weights multiply the loss, counted from 0.
    # DIFFERS: the weights stay on from this epoch. The published code indexes a list of two by epoch // 50, so it ends
    # with an IndexError in epoch 100.
    drw_epoch: int = 50
    cb_beta: float = 0.9999  # The beta of these class weights, from 0 to below 1; 0 gives equal weights. See cb_loss.

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.cb_beta < 1:
            raise ValueError(f"cb_beta: expected from 0 to below 1, got {self.cb_beta}")


class LDAMDRW(Method):
    paper = "LDAM + DRW (arXiv 1906.07413)"
    config: LDAMDRWConfig
    margins: Tensor
    class_weights: Tensor
    Config = LDAMDRWConfig
    presets = MappingProxyType(published("ldam_drw", "LDAM + DRW"))

    def __init__(self, config: LDAMDRWConfig, task: Task) -> None:
        super().__init__(config, task)
        margins = losses.ldam_margins(task.train_counts, config.largest_margin)
        weights = losses.class_balanced_weights(task.train_counts, config.cb_beta)
        self.register_buffer("margins", margins, persistent=False)
        self.register_buffer("class_weights", weights, persistent=False)
        self._reweights = False

    def notes(self) -> list[str]:
        if self.config.drw_epoch < self.config.epochs:
            return []
        return [f"drw_epoch: {self.config.drw_epoch} is never reached, so classes are not re-weighted"]

    def begin_epoch(self, epoch: int, num_rows: int) -> None:
        self._reweights = epoch >= self.config.drw_epoch

    def forward(self, batch: Batch) -> Tensor:
        return losses.ldam(
            self.model(batch.features),
            batch.targets,
            self.margins,
            self.config.scale,
            self.class_weights if self._reweights else None,
            summed=self.config.summed_margins,
        )
