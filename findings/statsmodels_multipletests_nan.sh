#!/usr/bin/env bash
# statsmodels 0.14.5
#
# One NaN among the p-values makes every adjusted p-value of Benjamini-Hochberg NaN, without an error.
#
# The reject column is still filled, so a program that reads only that column sees nothing. Holm and Bonferroni keep
# their values, but count the NaN as one more test. A NaN is common: scipy's paired t-test of two equal samples is NaN.
#
# Output seen:
#   fdr_bh [nan, nan, nan] [True, False, False]
#   bonferroni [0.003, 0.6, nan] where two tests give [0.002, 0.4]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet statsmodels==0.14.5 scipy==1.17.1 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
from statsmodels.stats.multitest import multipletests


def adjusted(p_values, method):
    reject, corrected, *_ = multipletests(p_values, method=method)
    return corrected.tolist(), reject.tolist()


false_discovery, reject = adjusted([0.001, 0.2, np.nan], "fdr_bh")
print("fdr_bh", false_discovery, reject)
assert np.isnan(false_discovery).all() and reject == [True, False, False]

with_nan, _ = adjusted([0.001, 0.2, np.nan], "bonferroni")
without, _ = adjusted([0.001, 0.2], "bonferroni")
print("bonferroni", np.round(with_nan, 4).tolist(), "where two tests give", np.round(without, 4).tolist())
assert np.allclose(with_nan[:2], [0.003, 0.6]) and np.allclose(without, [0.002, 0.4])
PYTHON
