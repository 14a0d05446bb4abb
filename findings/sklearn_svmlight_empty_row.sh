#!/usr/bin/env bash
# scikit-learn 1.9.1
#
# A multilabel svmlight file loses a row without labels and features, so that the rows after it move up.
#
# dump_svmlight_file writes such a row as a blank line, and load_svmlight_file skips blank lines. The loaded data have
# fewer rows than the saved data, without an error.
#
# Output seen:
#   saved 3 rows; loaded [[1.0, 0.0], [3.0, 0.0]] with labels [(0.0,), (1.0,)]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

features = np.array([[1.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
labels = np.array([[1, 0], [0, 0], [0, 1]])
dump_svmlight_file(features, labels, "a.txt", multilabel=True)
loaded, found = load_svmlight_file("a.txt", multilabel=True, n_features=2)
print(f"saved {len(features)} rows; loaded {loaded.toarray().tolist()} with labels {found}")
assert loaded.toarray().tolist() == [[1.0, 0.0], [3.0, 0.0]]
assert found == [(0.0,), (1.0,)]
PYTHON
