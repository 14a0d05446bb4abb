#!/usr/bin/env bash
# torch 2.13.0
#
# `torch.save(pickle_protocol=p)` accepts 0 to 5, but `torch.load` reads only 2 and 3 by default, and never 0.
#
# torch.save writes files of all six pickle protocols. The default loader raises an error for protocols 0, 1, 4 and 5.
# weights_only=False loads all protocols except 0.
#
# Output seen:
#   default:            ['UnpicklingError', 'UnpicklingError', True, True, 'UnpicklingError', 'UnpicklingError']
#   weights_only=False: ['AssertionError', True, True, True, True, True]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import torch


def loads(**options):
    try:
        return bool(torch.equal(torch.load("a.pt", **options), torch.ones(2)))
    except Exception as error:
        return type(error).__name__


default, unrestricted = [], []
for protocol in range(6):
    torch.save(torch.ones(2), "a.pt", pickle_protocol=protocol)
    default.append(loads())
    unrestricted.append(loads(weights_only=False))
print("default:           ", default)
print("weights_only=False:", unrestricted)
assert default == ["UnpicklingError"] * 2 + [True] * 2 + ["UnpicklingError"] * 2
assert unrestricted == ["AssertionError"] + [True] * 5
PYTHON
