#!/usr/bin/env bash
# pyarrow 26.0.1, pandas 3.1.1
#
# A pyarrow table made from a data frame with a RangeIndex keeps the old order of the index after sort_by or take.
#
# Table.from_pandas stores a RangeIndex as three numbers in the metadata, and no column. sort_by and take keep these
# numbers, so to_pandas labels the rows 5, 6, 7 in their new order. The same index as a list of integers moves with its
# rows. After slice the length differs from the stored one, and the index starts at 0.
#
# Output seen:
#   range, sorted: {5: 0.9, 6: 0.5, 7: 0.1}
#   list, sorted: {6: 0.9, 7: 0.5, 5: 0.1}
#   range, sliced: {0: 0.9, 1: 0.5}
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6
env/bin/python - <<'PYTHON'
import pandas as pd
import pyarrow as pa


def rows(index, change):
    frame = pd.DataFrame({"score": [0.1, 0.9, 0.5]}, index=index)
    return change(pa.Table.from_pandas(frame)).to_pandas()["score"].to_dict()


def descending(table):
    return table.sort_by([("score", "descending")])


results = {
    "range, sorted": rows(pd.RangeIndex(5, 8), descending),
    "list, sorted": rows(pd.Index([5, 6, 7]), lambda table: descending(table)),
    "range, sliced": rows(pd.RangeIndex(5, 8), lambda table: table.slice(1)),
}
for name, result in results.items():
    print(f"{name}: {result}")
assert results["range, sorted"] == {5: 0.9, 6: 0.5, 7: 0.1}
assert results["list, sorted"] == {6: 0.9, 7: 0.5, 5: 0.1}
assert results["range, sliced"] == {0: 0.9, 1: 0.5}
PYTHON
