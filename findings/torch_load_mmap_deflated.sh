#!/usr/bin/env bash
# torch 2.13.0
#
# `torch.load(mmap=True)` returns wrong numbers, without an error, for a .pt file whose zip records are compressed.
#
# A .pt file is a zip archive, and zip tools that pack it again compress its records. torch.load without mmap
# decompresses them and returns the right tensor. With mmap=True it reads the compressed bytes as numbers.
#
# Output seen:
#   saved:  [0.0, 0.8414709568023682, 0.9092974066734314]
#   plain:  [0.0, 0.8414709568023682, 0.9092974066734314]
#   mapped: [0.015355837531387806, -39929.328125, 2.0692954293356165e+26]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import zipfile

import torch

saved = torch.arange(1000).sin()
torch.save({"x": saved}, "a.pt")
with zipfile.ZipFile("a.pt") as stored, zipfile.ZipFile("b.pt", "w", zipfile.ZIP_DEFLATED) as deflated:
    for name in stored.namelist():
        deflated.writestr(name, stored.read(name))

plain = torch.load("b.pt")["x"]
mapped = torch.load("b.pt", mmap=True)["x"]
print("saved: ", saved[:3].tolist())
print("plain: ", plain[:3].tolist())
print("mapped:", mapped[:3].tolist())
assert torch.equal(plain, saved)
assert mapped.shape == saved.shape and not torch.equal(mapped, saved)
PYTHON
