#!/usr/bin/env bash
# torch 2.13.0
#
# `torch.load` swaps the bytes of a big-endian .pt file, but not those of uint16, uint32 and uint64.
#
# A .pt file has its byte order in the record `byteorder`, and torch.load swaps the bytes if the machine has the other
# order. The newer unsigned dtypes are stored in a storage of bytes, which is not swapped: 1 becomes 256, without an
# error. The script writes the record and the data as a big-endian machine does.
#
# Output seen:
#   torch.int16 [1, 2]
#   torch.float32 [1.0, 2.0]
#   torch.uint16 [256, 512]
#   torch.uint32 [16777216, 33554432]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import sys
import zipfile

import torch

assert sys.byteorder == "little"


def load_from_big_endian(tensor):
    torch.save(tensor, "a.pt")
    with zipfile.ZipFile("a.pt") as little, zipfile.ZipFile("b.pt", "w") as big:
        for name in little.namelist():
            content = little.read(name)
            if name.endswith("/byteorder"):
                content = b"big"
            elif "/data/" in name:
                content = tensor.numpy().byteswap().tobytes()
            big.writestr(name, content)
    return torch.load("b.pt").tolist()


results = {dtype: load_from_big_endian(torch.tensor([1, 2], dtype=dtype)) for dtype in (
    torch.int16, torch.float32, torch.uint16, torch.uint32
)}
for dtype, values in results.items():
    print(dtype, values)
assert results[torch.int16] == [1, 2] and results[torch.float32] == [1.0, 2.0]
assert results[torch.uint16] == [256, 512] and results[torch.uint32] == [1 << 24, 2 << 24]
PYTHON
