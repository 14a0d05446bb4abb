#!/usr/bin/env bash
# torch 2.13.0
#
# A uint8 tensor is compared with -1 as with 255, so `labels > -1` is false for every label.
#
# A number takes the dtype of the tensor, also where it does not fit. numpy 2 gives True for the same comparison. Code
# that keeps labels above -1 (mmpretrain's AveragePrecision) keeps none if the labels are uint8.
#
# Output seen:
#   torch: [False, False] [True]
#   numpy: [True, True] [False]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
import torch

labels, most = np.uint8([0, 1]), np.uint8([255])
by_torch = (torch.from_numpy(labels) > -1).tolist(), (torch.from_numpy(most) == -1).tolist()
by_numpy = (labels > -1).tolist(), (most == -1).tolist()
print("torch:", *by_torch)
print("numpy:", *by_numpy)
assert by_torch == ([False, False], [True])
assert by_numpy == ([True, True], [False])
PYTHON
