#!/usr/bin/env bash
# pandas 3.1.1, pyarrow 26.0.1
#
# One `np.array([])` in a column of integer arrays makes `DataFrame.to_parquet` store lists of double; `[]` does not.
#
# np.array([]) is float64. If a row without labels is written this way, the class indices of all rows are stored as
# floats. A number above 2**53 in any row then makes the whole column fail.
#
# Output seen:
#   lists:                list<element: int64>
#   arrays:               list<element: int64>
#   one np.array([]):     list<element: double>
#   2**53 + 1 beside it:  ArrowInvalid of the whole column
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def stored(rows):
    pd.DataFrame({"labels": rows}).to_parquet("a.parquet")
    return str(pq.read_schema("a.parquet").field("labels").type)


lists = stored([[1, 2], [], [3]])
arrays = stored([np.array([1, 2]), np.array([], int), np.array([3])])
mixed = stored([np.array([1, 2]), np.array([]), np.array([3])])
print("lists:               ", lists)
print("arrays:              ", arrays)
print("one np.array([]):    ", mixed)
assert lists == arrays == "list<element: int64>"
assert mixed == "list<element: double>"
try:
    stored([np.array([2**53 + 1]), np.array([])])
    raise SystemExit("expected an error")
except pa.ArrowInvalid as error:
    print("2**53 + 1 beside it: ", type(error).__name__, "of the whole column" if "column labels" in str(error) else error)
PYTHON
