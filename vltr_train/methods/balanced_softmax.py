"""Balanced softmax: a softmax whose classes are weighted by their training videos, or its form with sigmoids.

Paper: Ren et al., arXiv 2007.10740, Eq. 4, for one label: p_c = n_c exp(z_c) / sum_k n_k exp(z_k), L = -log p_y. Here
the k labels of a video have a target of 1/k each, after Mahajan et al., arXiv 1805.00932.
With sigmoids (Bal-BCE, Xu et al., arXiv 2212.02015): L = BCE of (z + log(pi / (1 - pi)), y), pi = n / sum n.
Predictions are log softmax(z), whose ranking is that of the published evaluation. The loss does not determine z: a
number that is added to all logits of a video changes no loss, but the ranking of videos by z. The offsets change AP,
ROC-AUC, SAP and Acc@k. With sigmoids predictions are z. There the classifier's bias absorbs the offsets, so at the
optimum AP, ROC-AUC and SAP are those of the loss without them, and Acc@k changes.
Code: https://github.com/jiawei-ren/BalancedMetaSoftmax-Classification (loss/BalancedSoftmaxLoss.py);
https://github.com/XuZhengzhuo/LiVT (util/loss.py) for sigmoids.
Command: vltr-train fit balanced_softmax --data DIR
Expected: no number on these data is printed. Gen2Balance (arXiv 2606.22416) compares by class-average accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor
from torch.nn.functional import log_softmax

from vltr_train import losses
from vltr_train.data.loader import Batch
from vltr_train.method import ABSORBED, NORMALISED_BY_VIDEO, Method, Task, TrainConfig

__all__ = ["BalancedSoftmax", "BalancedSoftmaxConfig"]


@dataclass(frozen=True, kw_only=True)
class BalancedSoftmaxConfig(TrainConfig):
    """The settings of the balanced softmax.

    Attributes:
        activation: The function that makes probabilities of logits. "softmax" is the paper's loss, with targets that
            are divided by the number of labels; "sigmoid" is Bal-BCE.
        prior: The share of a class in Bal-BCE. "labels" is n / sum n as in LiVT's published code; "videos" is n / N.
            The two are the same if each video has one label. With the softmax they differ by a constant.
        over_classes: The reduction of Bal-BCE over classes. "mean" averages over classes; "sum" adds them up, as in the
            published code.
        smoothing: The share s of label smoothing in Bal-BCE: labels y become (1 - s) y + s / C. The softmax has none.
    """

    activation: str = field(default="softmax", metadata={"choices": ("softmax", "sigmoid")})
    prior: str = field(default="labels", metadata={"choices": ("labels", "videos")})
    # DIFFERS: LiVT has the sum, and smooths labels by 0.1. The mean has the scale of the other losses, for `clip_norm`.
    over_classes: str = field(default="mean", metadata={"choices": ("mean", "sum")})
    # DIFFERS: LiVT smooths by 0.1. Methods are compared on the same labels here.
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing: expected from 0 to below 1, got {self.smoothing}")


class BalancedSoftmax(Method):
    paper = "Balanced softmax (arXiv 2007.10740), Bal-BCE (arXiv 2212.02015)"
    config: BalancedSoftmaxConfig
    offsets: Tensor
    Config = BalancedSoftmaxConfig
    # Neither published code clips gradients. The other two act on Bal-BCE, which alone departs from its code there.
    official = MappingProxyType({"over_classes": "sum", "smoothing": 0.1, "clip_norm": None})

    def __init__(self, config: BalancedSoftmaxConfig, task: Task) -> None:
        super().__init__(config, task)
        # DIFFERS: a class without videos counts as having one. The published offset is -inf.
        offsets = losses.log_priors(task.train_counts)
        if config.activation == "sigmoid":
            offsets = losses.log_odds(task.train_counts, task.total if config.prior == "videos" else None)
        self.register_buffer("offsets", offsets, persistent=False)

    def notes(self) -> list[str]:
        is_softmax = self.config.activation == "softmax"
        return [f"balanced softmax: {NORMALISED_BY_VIDEO if is_softmax else ABSORBED}"]

    def forward(self, batch: Batch) -> Tensor:
        logits = self.model(batch.features) + self.offsets
        if self.config.activation == "softmax":
            # DIFFERS: the paper has one label a row. Here k labels have a target of 1/k each.
            return losses.softmax_cross_entropy(logits, batch.targets)
        share = self.config.smoothing
        targets = (1 - share) * batch.targets + share / batch.targets.shape[1]
        entropies = losses.bce(logits, targets, reduction="none")
        return losses.mean_over_batch(entropies, self.config.over_classes)

    def predict(self, features: Tensor) -> Tensor:
        """Return the log probabilities of the softmax without offsets, or the logits of sigmoids."""
        logits = self.model(features)
        return log_softmax(logits, 1) if self.config.activation == "softmax" else logits
