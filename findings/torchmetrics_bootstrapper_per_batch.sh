#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.13.0
#
# BootStrapper resamples the rows within each update, so its standard error depends on the batch size.
#
# With sampling_strategy="multinomial" each update draws as many of its own rows as it has. A loader that sorts its rows,
# by class or by difficulty, then makes the standard error too small. Here the hits come in runs of ten: with updates of
# ten rows, and always with updates of one row, every replicate has the same accuracy.
#
# Output seen:
#   rows per update 200: standard error 0.0335
#   rows per update 10: standard error 0.0
#   rows per update 1: standard error 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 torchmetrics==1.9.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import torch
from torchmetrics.classification import BinaryAccuracy
from torchmetrics.wrappers import BootStrapper

labels = torch.arange(200) % 2
is_hit = torch.arange(200) // 10 % 3 > 0
scores = torch.where(is_hit, labels, 1 - labels).float()


def standard_error(batch_size):
    torch.manual_seed(0)
    metric = BootStrapper(BinaryAccuracy(), num_bootstraps=500, sampling_strategy="multinomial")
    for start in range(0, 200, batch_size):
        metric.update(scores[start : start + batch_size], labels[start : start + batch_size])
    return round(metric.compute()["std"].item(), 4)


errors = {batch_size: standard_error(batch_size) for batch_size in (200, 10, 1)}
for batch_size, error in errors.items():
    print(f"rows per update {batch_size}: standard error {error}")
assert 0.03 < errors[200] < 0.04 and errors[10] == errors[1] == 0.0
PYTHON
