#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.13.0
#
# A probability of exactly 1 has a bin of its own in BinaryCalibrationError, so there is one bin more than n_bins says.
#
# The bins hold their lower edge, [k / n, (k + 1) / n), and 1 is the lower edge of an extra bin. Saturated scores are
# therefore never averaged with those just below them. With one bin, the error must be |mean label - mean score|.
#
# Output seen:
#   n_bins=1: 0.7500, and |mean label - mean score| is 0.2500
#   0.95 and 1.0 in ten bins: 0.5250, and together 0.4750
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 torchmetrics==1.9.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import torch
from torchmetrics.functional.classification import binary_calibration_error

labels = torch.tensor([0, 1])
wide, narrow = torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.95])
one = float(binary_calibration_error(wide, labels, n_bins=1))
gap = float((labels.float().mean() - wide.mean()).abs())
ten = float(binary_calibration_error(narrow, labels, n_bins=10))
together = float((labels.float().mean() - narrow.mean()).abs())
print(f"n_bins=1: {one:.4f}, and |mean label - mean score| is {gap:.4f}")
print(f"0.95 and 1.0 in ten bins: {ten:.4f}, and together {together:.4f}")
assert (one, gap) == (0.75, 0.25) and (round(ten, 4), round(together, 4)) == (0.525, 0.475)
PYTHON
