#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.13.0
#
# A class without targets counts as 0 in multiclass average precision if all targets are class 0, else it is left out.
#
# The check for "no positive samples" looks for targets other than 0, not for targets of the class. With one class in
# the data the macro average is 1 for class 1, and 1/3 for class 0, with three classes and the same ranking.
#
# Output seen:
#   all targets are class 0: [1.0, 0.0, 0.0], macro 0.3333
#   all targets are class 1: [nan, 1.0, nan], macro 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 torchmetrics==1.9.0 numpy==2.4.6
env/bin/python -W ignore - <<'PYTHON'
import torch
from torchmetrics.functional.classification import multiclass_average_precision

scores = torch.tensor([[0.4, 0.4, 0.2], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]])
found = {}
for target in (0, 1):
    targets = torch.full((3,), target)
    values = (multiclass_average_precision(scores, targets, 3, None) + 0.0).tolist()
    mean = round(multiclass_average_precision(scores, targets, 3).item(), 4)
    print(f"all targets are class {target}: {values}, macro {mean}")
    found[target] = mean
assert found == {0: 0.3333, 1: 1.0}, found
PYTHON
