#!/usr/bin/env bash
# torch 2.13.0
#
# torch.sort without stable=True keeps the order of equal values on the CPU for up to 16 values, and not above.
#
# So a test on few rows shows a stable sort, and average precision of real data with ties still depends on torch. With 20
# equal scores whose first 10 rows are positive, AP is 0.33 in place of 1. torch.argsort behaves alike.
#
# Output seen:
#   16 values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
#   20 values: [10, 19, 18, 17, 16, 15, 14, 13, 12, 11, 0, 9, 8, 7, 6, 5, 4, 3, 2, 1]
#   stable=True: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
#   AP 0.33
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import torch

orders = {n: torch.sort(torch.zeros(n), descending=True).indices.tolist() for n in (16, 20)}
stable = torch.sort(torch.zeros(20), descending=True, stable=True).indices.tolist()
for n, order in orders.items():
    print(f"{n} values: {order}")
print(f"stable=True: {stable}")
truth = (torch.tensor(orders[20]) < 10).double()
precision = truth.cumsum(0) / torch.arange(1, 21)
print(f"AP {precision[truth == 1].mean():.2f}")
assert orders[16] == list(range(16)) and stable == list(range(20))
assert orders[20] != stable
assert torch.argsort(torch.zeros(20), descending=True).tolist() == orders[20]
PYTHON
