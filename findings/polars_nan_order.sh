#!/usr/bin/env bash
# polars 2.1.0
#
# polars sorts NaN as the largest number and NaN > 2 is true, but `max` ignores NaN.
#
# The first row of a descending sort and rank 1 are NaN, but the maximum is not. A filter by a threshold keeps NaN.
#
# Output seen:
#   sort: nan, rank: [3.0, 1.0, 2.0], above 2: [False, True, True], max: 3.0, nan_max: nan
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet polars==2.1.0
env/bin/python - <<'PYTHON'
import polars as pl

scores = pl.Series([1.0, float("nan"), 3.0])
first = scores.sort(descending=True)[0]
rank = scores.rank(descending=True).to_list()
above = (scores > 2).to_list()
print(f"sort: {first}, rank: {rank}, above 2: {above}, max: {scores.max()}, nan_max: {scores.nan_max()}")
assert first != first and rank == [3.0, 1.0, 2.0] and above == [False, True, True]
assert scores.max() == 3.0 and scores.nan_max() != scores.nan_max()
PYTHON
