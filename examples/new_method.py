"""Train a method of your own: a subclass of `Method` that defines the loss of a step.

Run: python examples/new_method.py

`fit` takes the class, and the settings are the fields of its `Config`. Stages, checkpoints, resuming, `evaluate_run`
and `table` work as for the methods of the package. The command line takes the class from its file:

    vltr-train fit examples/new_method.py:Asymmetric --data DIR gamma_negative=2
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

import vltr_train
import vltr_train.cli

SETTINGS = {"epochs": 12, "eval_every": 4, "batch_size": 64, "lr": 1e-2, "train_frames": 10, "test_frames": 20}


@dataclass(frozen=True, kw_only=True)
class AsymmetricConfig(vltr_train.Method.Config):
    gamma_negative: float = 4.0  # the power of negatives: a larger one ignores more of the easy ones
    margin: float = 0.05  # negatives of a lower probability have no loss


class Asymmetric(vltr_train.Method):
    """L = -y log p - (1 - y) q^gamma_negative log(1 - q), with p = sigmoid(logit) and q = max(p - margin, 0)."""

    paper = "Asymmetric loss (arXiv 2009.14119)"
    Config = AsymmetricConfig

    def forward(self, batch: vltr_train.Batch) -> torch.Tensor:
        present = self.model(batch.features).sigmoid().clamp(1e-6, 1 - 1e-6)
        shifted = (present - self.config.margin).clamp_min(0)
        negative = shifted**self.config.gamma_negative * (1 - shifted).log()
        return -(batch.targets * present.log() + (1 - batch.targets) * negative).mean()


def main():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        vltr_train.synthesize(root / "data", scale=0.005, dim=64)
        runs = []
        for method, settings in (("bce", {}), (Asymmetric, {"gamma_negative": 2.0})):
            name = method if isinstance(method, str) else method.__name__
            run = vltr_train.fit(method, root / "data", root / name, device="cpu", quiet=True, **SETTINGS, **settings)
            print(f"{name}: test mAP {run.report.metrics()['mAP']:.4f}")
            runs.append(run.folder)
        print(vltr_train.table(runs, format="markdown"))

        data = vltr_train.open_dataset(root / "data")
        again = vltr_train.evaluate_run(root / "Asymmetric", data, method=Asymmetric, device="cpu")
        print(f"evaluated again: test mAP {again.metrics()['mAP']:.4f}")
    vltr_train.cli.main(["methods", f"{__file__}:Asymmetric"])


if __name__ == "__main__":
    main()
