#!/usr/bin/env bash
# safetensors 0.8.0
#
# `safetensors.numpy.save` ignores the strides: a transposed or stepped array is saved with other values, without an
# error.
#
# safetensors.torch raises an error for a tensor that is not contiguous. safetensors.numpy saves the first bytes of the
# memory of such an array with its shape.
#
# Output seen:
#   transposed: saved [[0, 3], [1, 4], [2, 5]], loaded [[0, 1], [2, 3], [4, 5]]
#   every second: saved [0, 2, 4], loaded [0, 1, 2]
#   a column: saved [1, 4], loaded [1, 2]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet safetensors==0.8.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
from safetensors.numpy import load, save

grid = np.arange(6).reshape(2, 3)
for name, array in {"transposed": grid.T, "every second": np.arange(6)[::2], "a column": grid[:, 1]}.items():
    loaded = load(save({"x": array}))["x"]
    print(f"{name}: saved {array.tolist()}, loaded {loaded.tolist()}")
    assert loaded.shape == array.shape and not np.array_equal(loaded, array)
contiguous = load(save({"x": np.ascontiguousarray(grid.T)}))["x"]
assert np.array_equal(contiguous, grid.T)
PYTHON
