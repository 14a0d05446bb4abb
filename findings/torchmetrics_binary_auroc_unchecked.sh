#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.13.0
#
# The class BinaryAUROC never checks its batches, whatever validate_args says.
#
# Its constructor checks the arguments and leaves validate_args False for the updates. BinaryAveragePrecision and the
# function binary_auroc do check. A target of 2 for "positive" then gives AUROC 0 with a warning, in place of an error.
#
# Output seen:
#   binary_auroc: RuntimeError
#   BinaryAveragePrecision: RuntimeError
#   BinaryAUROC: 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 torchmetrics==1.9.0 numpy==2.4.6
env/bin/python -W ignore - <<'PYTHON'
import torch
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision
from torchmetrics.functional.classification import binary_auroc

scores, labels = torch.tensor([0.1, 0.6, 0.8]), torch.tensor([0, 2, 2])


def result_of(call):
    try:
        return round(call(scores, labels).item(), 4)
    except Exception as error:
        return type(error).__name__


found = {
    "binary_auroc": result_of(binary_auroc),
    "BinaryAveragePrecision": result_of(BinaryAveragePrecision(validate_args=True)),
    "BinaryAUROC": result_of(BinaryAUROC(validate_args=True)),
}
for name, value in found.items():
    print(f"{name}: {value}")
assert found == {"binary_auroc": "RuntimeError", "BinaryAveragePrecision": "RuntimeError", "BinaryAUROC": 0.0}, found
PYTHON
