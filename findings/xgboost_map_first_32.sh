#!/usr/bin/env bash
# xgboost-cpu 3.2.0
#
# With a ranking objective, the metric "map" counts the first 32 rows of a group alone; "map@N" sets another limit.
#
# The sum of the precision at positives ends at row 32, but it is divided by all positives, up to 32. So the mAP of a
# longer list is too low, and no message says so.
#
# Output seen:
#   map: 0.500, 1/1 alone, divided by 2 positives
#   map@40: 0.525, (1/1 + 2/40) / 2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet xgboost-cpu==3.2.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
import xgboost

labels = np.zeros(40)
labels[[0, 39]] = 1  # the best row of a list of 40, and the last one
data = xgboost.DMatrix(np.zeros((40, 1)), label=labels, base_margin=np.arange(40, 0, -1))
data.set_group([40])


def average_precision(metric):
    booster = xgboost.train({"objective": "rank:map", "eval_metric": metric}, data, num_boost_round=0)
    return float(booster.eval(data).split(":")[-1])


first, whole = average_precision("map"), average_precision("map@40")
print(f"map: {first:.3f}, 1/1 alone, divided by 2 positives")
print(f"map@40: {whole:.3f}, (1/1 + 2/40) / 2")
assert first == 0.5 and abs(whole - 0.525) < 1e-6
PYTHON
