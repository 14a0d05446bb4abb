#!/usr/bin/env bash
# torch 2.13.0
#
# `torch.save` writes uint16 in the old file format, but no setting of `torch.load` can read that file.
#
# The old format is that of _use_new_zipfile_serialization=False. int16 can be saved and loaded. uint16 is saved without
# an error, but neither the default loader nor weights_only=False can load it.
#
# Output seen:
#   torch.int16 weights_only=True: [1, 1]
#   torch.int16 weights_only=False: [1, 1]
#   torch.uint16 weights_only=True: AttributeError: type object 'torch.storage.UntypedStorage' has no attribute 'dtype'
#   torch.uint16 weights_only=False: AttributeError: type object 'torch.storage.UntypedStorage' has no attribute 'dtype'
#   torch.uint32 weights_only=True: AttributeError: type object 'torch.storage.UntypedStorage' has no attribute 'dtype'
#   torch.uint32 weights_only=False: AttributeError: type object 'torch.storage.UntypedStorage' has no attribute 'dtype'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import torch

results = {}
for dtype in (torch.int16, torch.uint16, torch.uint32):
    torch.save(torch.ones(2, dtype=dtype), "a.pt", _use_new_zipfile_serialization=False)
    for weights_only in (True, False):
        try:
            results[dtype, weights_only] = torch.load("a.pt", weights_only=weights_only).tolist()
        except Exception as error:
            results[dtype, weights_only] = f"{type(error).__name__}: {error}"
        print(dtype, f"weights_only={weights_only}:", results[dtype, weights_only])
assert results[torch.int16, True] == results[torch.int16, False] == [1, 1]
for dtype in (torch.uint16, torch.uint32):
    assert all("has no attribute 'dtype'" in results[dtype, weights_only] for weights_only in (True, False))
PYTHON
