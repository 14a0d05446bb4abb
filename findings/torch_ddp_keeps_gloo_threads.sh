#!/usr/bin/env bash
# torch 2.13.0
#
# After a DistributedDataParallel model was made, `destroy_process_group` does not end the threads of gloo.
#
# Without such a model the process group goes away with destroy_process_group, and its threads with it. The model's
# reducer keeps the group, also when no Python object of the model is left, so the threads live until Python itself is
# torn down, when a thread that still releases a tensor can no longer take the interpreter's lock.
#
# Output seen:
#   without a model: 0 threads of gloo are left
#   with a model: 3 threads of gloo are left
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
cat > threads.py <<'PYTHON'
import gc
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

with_model = sys.argv[1] == "with"


def work():
    """Nothing that is made here is left behind."""
    if with_model:
        torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 4))
    dist.all_reduce(torch.ones(4))


dist.init_process_group("gloo", init_method=f"file://{os.getcwd()}/{sys.argv[1]}", rank=0, world_size=1)
work()
dist.destroy_process_group()
gc.collect()
names = [(thread / "comm").read_text() for thread in Path("/proc/self/task").iterdir()]
left = sum("gloo" in name for name in names)
print(f"{sys.argv[1]} a model: {left} threads of gloo are left", flush=True)
assert (left > 0) == with_model
os._exit(0)
PYTHON
env/bin/python threads.py without
env/bin/python threads.py with
