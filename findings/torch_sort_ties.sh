#!/usr/bin/env bash
# torch 2.13.0
#
# `torch.sort` and `torch.argsort` on the CPU keep the order of equal elements up to 16 elements, and not beyond.
#
# The documentation promises the order with stable=True alone. A small test passes without it, so that metrics which sort
# scores (torchnet's APMeter, mmpretrain's AveragePrecision) look as if the order of rows decided ties.
#
# Output seen:
#   16 elements: order kept
#   1000 elements: order not kept
#   1000 elements with stable=True: order kept
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import torch


def keeps_order(size, **options):
    scores = torch.arange(size) % 3 / 4
    order = torch.sort(scores, descending=True, **options).indices
    assert torch.equal(order, torch.argsort(scores, descending=True, **options))
    return torch.equal(order, torch.argsort(scores, descending=True, stable=True))


for size, options in ((16, {}), (1000, {}), (1000, {"stable": True})):
    text = " with stable=True" if options else ""
    print(f"{size} elements{text}: order {'kept' if keeps_order(size, **options) else 'not kept'}")
assert all(keeps_order(size) for size in range(1, 17))
assert not keeps_order(1000)
PYTHON
