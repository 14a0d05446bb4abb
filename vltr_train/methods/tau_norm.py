"""tau-normalisation: after training, the weights of each class are divided by a power of their norm.

Paper: Kang et al., arXiv 1910.09217, Section 4.2. Training is the baseline's: L = mean of the BCE. Predictions are
(w_c / ||w_c||^tau) x, without the bias. The norm of frequent classes is larger, so tau > 0 lifts rare classes.
An increasing map of a class's logits leaves AP, ROC-AUC and SAP as they are but for rounding, so this changes Acc@k
alone.
Code: https://github.com/facebookresearch/classifier-balancing (tau_norm.py), for images. It tries tau from 0 to 2 in
steps of 0.1 and prints accuracies on the test set. Here tau is chosen on the validation set alone.
Command: vltr-train fit tau_norm --data DIR
Expected: no number is available.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from vltr_eval import distributed
from vltr_eval._base.groups import GROUP_NAMES
from vltr_train import losses
from vltr_train.aggregators import VideoClassifier
from vltr_train.data.loader import Batch
from vltr_train.method import SAME_RANKING, LabelledLogits, Method, Task, TrainConfig

__all__ = ["TauNorm", "TauNormConfig", "normalised"]

TAUS = tuple(round(step / 10, 1) for step in range(21))
"""The powers to choose from, those of the published code."""


@dataclass(frozen=True, kw_only=True)
class TauNormConfig(TrainConfig):
    """The settings of tau-normalisation.

    Attributes:
        tau: The power of the norm, at least 0: 0 only drops the bias, and 1 gives rows of norm 1. None chooses it on
            the validation set before each evaluation; without a validation set it is 1 then.
        tau_by: The accuracy that chooses tau. "groups" is the mean of Acc@1 over head, medium and tail; "overall" is
            Acc@1 of all labels.
    """

    tau: float | None = None
    # DIFFERS: the paper has the mean accuracy over classes, of one label a row.
    tau_by: str = field(default="groups", metadata={"choices": ("groups", "overall")})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tau is not None and self.tau < 0:
            raise ValueError(f"tau: expected at least 0 or none, got {self.tau}")


class TauNorm(Method):
    paper = "tau-normalisation (arXiv 1910.09217)"
    config: TauNormConfig
    model: VideoClassifier
    tau: Tensor
    Config = TauNormConfig

    def __init__(self, config: TauNormConfig, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("tau", torch.tensor(1.0 if config.tau is None else config.tau))

    def notes(self) -> list[str]:
        return [f"tau: {SAME_RANKING}"]

    def forward(self, batch: Batch) -> Tensor:
        # DIFFERS: the published code has the cross entropy of a softmax, of one label.
        return losses.bce(self.model(batch.features), batch.targets)

    def calibrate(self, validation: LabelledLogits) -> dict[str, float]:
        """Choose `tau` by the accuracy on the validation set; the smallest of equally good ones."""
        if self.config.tau is not None:
            return {}
        self.tau.zero_()
        found = validation()
        chosen = 1.0
        if found is not None:
            logits, labels = found
            norms = _norms(self._weight.detach())
            chosen = max(TAUS, key=lambda tau: self._accuracy(logits / norms**tau, labels))
        self.tau.fill_(chosen)
        return {"tau": chosen}

    def _accuracy(self, logits: Tensor, labels: np.ndarray) -> float:
        """Acc@1 over all ranks, by ``tau_by``; 0 where nothing is counted."""
        options: dict[str, Any] = {"train_counts": self.task.group_counts, "bounds": self.task.bounds}
        metrics = distributed.evaluate(logits, labels, sap=None, topk=[1], **options).metrics()
        names = ["Acc@1"] if self.config.tau_by == "overall" else [f"Acc@1_{group}" for group in GROUP_NAMES]
        values = [metrics[name] for name in names]
        return float(np.mean([value for value in values if not np.isnan(value)] or [0.0]))

    @property
    def _weight(self) -> Tensor:
        """The weights (C, D) of the classifier."""
        return cast("Tensor", self.model.classifier.weight)

    def predict(self, features: Tensor) -> Tensor:
        """Return the logits of the normalised classifier."""
        vectors = self.model.aggregator(features)
        with torch.autocast(vectors.device.type, enabled=False):
            return linear(vectors.float(), normalised(self._weight, self.tau))


def normalised(weight: Tensor, tau: Tensor | float) -> Tensor:
    """Divide each row of weights (C, D) by its norm to the power tau. A row of zeros stays."""
    return weight / _norms(weight).unsqueeze(1) ** tau


def _norms(weight: Tensor) -> Tensor:
    norms = weight.norm(dim=1)
    return norms.where(norms > 0, 1.0)  # DIFFERS: the published code gives NaN for a row of zeros
