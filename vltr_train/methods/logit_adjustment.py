"""Logit adjustment: training adds the logarithm of a class's prior to its logit, or prediction subtracts it.

Paper: Menon et al., arXiv 2007.07314, Eq. 10 (loss) and Eq. 9 (post hoc), for one label. With sigmoids the offset is
tau log(pi / (1 - pi)), pi_c = n_c / N over training videos; with the softmax it is tau log pi, pi = n / sum n.
L = loss of (z + offset, y); predictions are z. Post hoc: L = loss of (z, y), and predictions are z - offset.
With sigmoids an increasing map of a class's logits leaves AP, ROC-AUC and SAP as they are but for rounding, so post-hoc
adjustment changes Acc@k alone. An offset in training is absorbed by the classifier's bias: it moves AP by the path of
optimisation alone. With the softmax predictions are log softmax of these logits, because the loss determines logits up
to a number for each video. That number ranks videos, so there the offsets change AP, ROC-AUC and SAP too.
Code: https://github.com/google-research/google-research (logit_adjustment), with the softmax, for images. It takes
log(pi^tau + 1e-12).
Command: vltr-train fit logit_adjustment --data DIR
Expected: no number on these data is printed. Gen2Balance (arXiv 2606.22416) compares by class-average accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor
from torch.nn.functional import log_softmax

from vltr_train import losses
from vltr_train.data.loader import Batch
from vltr_train.method import ABSORBED, NORMALISED_BY_VIDEO, SAME_RANKING, Method, Task, TrainConfig

__all__ = ["LogitAdjustment", "LogitAdjustmentConfig"]


@dataclass(frozen=True, kw_only=True)
class LogitAdjustmentConfig(TrainConfig):
    """The settings of logit adjustment.

    Attributes:
        tau: The factor of the offsets, at least 0; 0 turns them off.
        post_hoc: Whether predictions subtract the offsets from logits, and training has none.
        activation: The function that makes probabilities of logits. "sigmoid" trains by BCE; "softmax" trains by the
            cross entropy of `losses.softmax_cross_entropy`.
    """

    tau: float = 1.0
    post_hoc: bool = False
    # DIFFERS: the paper has the softmax, for one label. With it k labels have a target of 1/k each here.
    activation: str = field(default="sigmoid", metadata={"choices": ("sigmoid", "softmax")})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tau < 0:
            raise ValueError(f"tau: expected at least 0, got {self.tau}")


class LogitAdjustment(Method):
    paper = "Logit adjustment (arXiv 2007.07314)"
    config: LogitAdjustmentConfig
    offsets: Tensor
    Config = LogitAdjustmentConfig
    official = MappingProxyType({"activation": "softmax"})

    def __init__(self, config: LogitAdjustmentConfig, task: Task) -> None:
        super().__init__(config, task)
        # DIFFERS: the published code adds 1e-12 in the logarithm, after the power, so tau 2 ends at pi = 1e-6.
        counts = task.train_counts
        is_sigmoid = config.activation == "sigmoid"
        prior = losses.log_odds(counts, task.total) if is_sigmoid else losses.log_priors(counts)
        # Saved, so that predictions on other data subtract the prior of the training.
        self.register_buffer("offsets", config.tau * prior)

    def notes(self) -> list[str]:
        if self.config.activation == "softmax":
            return [f"logit adjustment: {NORMALISED_BY_VIDEO}"]
        return [f"post_hoc: {SAME_RANKING}" if self.config.post_hoc else f"logit adjustment: {ABSORBED}"]

    def forward(self, batch: Batch) -> Tensor:
        logits = self.model(batch.features)
        if not self.config.post_hoc:
            logits = logits + self.offsets
        loss = losses.bce if self.config.activation == "sigmoid" else losses.softmax_cross_entropy
        return loss(logits, batch.targets)

    def predict(self, features: Tensor) -> Tensor:
        """Return the logits, less the offsets if ``post_hoc``; the log probabilities of these with a softmax."""
        logits = self.model(features)
        if self.config.post_hoc:
            logits = logits - self.offsets
        return log_softmax(logits, 1) if self.config.activation == "softmax" else logits
