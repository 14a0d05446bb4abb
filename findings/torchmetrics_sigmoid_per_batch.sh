#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.13.0
#
# torchmetrics applies a sigmoid only to batches with logits outside [0, 1], so the metric depends on the batches.
#
# A batch whose logits all lie in [0, 1] is treated as probabilities. compute() then ranks probabilities and logits
# together, and the average precision of the same rows changes with the batch size.
#
# Output seen:
#   one batch: [0.75, 0.5833], two batches: [0.75, 0.5]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 torchmetrics==1.9.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import torch
from torchmetrics.classification import MultilabelAveragePrecision

logits = torch.tensor([[0.55, 0.9], [0.60, 0.1], [3.0, -2.0], [0.58, -1.0]])
labels = torch.tensor([[1, 0], [0, 1], [1, 0], [0, 1]])


def average_precision(batch_size):
    metric = MultilabelAveragePrecision(num_labels=2, average=None)
    for start in range(0, 4, batch_size):
        metric.update(logits[start : start + batch_size], labels[start : start + batch_size])
    return [round(value, 4) for value in metric.compute().tolist()]


whole, halves = average_precision(4), average_precision(2)
print(f"one batch: {whole}, two batches: {halves}")
assert whole == [0.75, 0.5833] and halves == [0.75, 0.5]
PYTHON
