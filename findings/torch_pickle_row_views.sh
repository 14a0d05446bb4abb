#!/usr/bin/env bash
# torch 2.13.0
#
# A pickle of the rows of one tensor holds the whole tensor once for each row.
#
# A row is a view, and torch pickles the storage behind a view. `torch.save` writes a shared storage once, but
# `pickle.dumps` of a list of rows does not, as in the test results that mmengine pickles. row.clone() is small.
#
# Output seen:
#   one tensor: 40403 bytes
#   torch.save of its rows: below 400 kB
#   pickle of its rows: 1000 times the tensor
#   pickle of cloned rows: below 400 kB
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import io
import pickle

import torch

tensor = torch.zeros(1000, 10)
rows = list(tensor)
whole = len(pickle.dumps(tensor))
stream = io.BytesIO()
torch.save(rows, stream)
pickled = len(pickle.dumps(rows))
cloned = len(pickle.dumps([row.clone() for row in rows]))
print(f"one tensor: {whole} bytes")
print(f"torch.save of its rows: {'below' if len(stream.getvalue()) < 400_000 else 'above'} 400 kB")
print(f"pickle of its rows: {round(pickled / 40_000 / 1.007)} times the tensor")
print(f"pickle of cloned rows: {'below' if cloned < 400_000 else 'above'} 400 kB")
assert len(stream.getvalue()) < 400_000
assert cloned < 400_000
assert pickled > 1000 * 40_000
PYTHON
