#!/usr/bin/env bash
# scipy 1.17.1
#
# `scipy.sparse.save_npz` of a 1-D coo array writes `coords` in place of `row` and `col`, under the same format name.
#
# The members of the .npz file depend on the number of dimensions: row and col for two, coords for one. The member
# `format` is coo for both, so a reader that expects row and col in a coo file fails on a 1-D array.
#
# Output seen:
#   2-D: ['_is_array', 'col', 'data', 'format', 'row', 'shape'] b'coo'
#   1-D: ['_is_array', 'coords', 'data', 'format', 'shape'] b'coo'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet scipy==1.17.1 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
from scipy import sparse

members = {}
for array in (np.array([[0.0, 1.0, 0.0]]), np.array([0.0, 1.0, 0.0])):
    sparse.save_npz("a.npz", sparse.coo_array(array))
    with np.load("a.npz") as archive:
        members[array.ndim] = sorted(archive.files)
        print(f"{array.ndim}-D:", members[array.ndim], archive["format"].item())
        assert archive["format"].item() == b"coo"
assert members[2] == ["_is_array", "col", "data", "format", "row", "shape"]
assert members[1] == ["_is_array", "coords", "data", "format", "shape"]
PYTHON
