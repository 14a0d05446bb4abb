#!/usr/bin/env bash
# scikit-learn 1.9.1
#
# label_ranking_average_precision_score ranks scores of an unsigned type with 0 first, without an error.
#
# It negates the scores to rank them, and the negative of an unsigned number wraps: -0 is 0, and -1 is 255. The same
# numbers give another result as uint8 than as int16. average_precision_score with average="samples" is not affected.
#
# Output seen:
#   int16 1.0
#   uint8 0.5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

labels, scores = np.array([[1, 0], [0, 1]]), np.array([[9, 0], [0, 5]])
found = {dtype: float(label_ranking_average_precision_score(labels, scores.astype(dtype))) for dtype in ("int16", "uint8")}
for dtype, value in found.items():
    print(dtype, value)
assert found == {"int16": 1.0, "uint8": 0.5}
assert average_precision_score(labels, scores.astype("uint8"), average="samples") == 1
PYTHON
