#!/usr/bin/env bash
# pytorch-lightning 2.6.6, torch 2.13.0
#
# `LightningModule.log` rounds Python numbers to float32: loggers get 16777216 for 16777217, and 0.1 is not 0.1.
#
# Every logged number becomes a tensor of torch's default dtype, integers too. Counts above 2**24 and values that are
# compared with `==` change on the way to the logger, to `callback_metrics` and to `ModelCheckpoint`. A float64 tensor
# is kept, and with it the number.
#
# Output seen:
#   int 16777217:   16777216.0
#   float 0.1:      0.10000000149011612
#   float64 tensor: 0.1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet pytorch-lightning==2.6.6 torch==2.13.0 numpy==2.4.6
env/bin/python -W ignore - <<'PYTHON'
import logging

import pytorch_lightning as lightning
import torch
from torch.utils.data import DataLoader

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Module(lightning.LightningModule):
    def validation_step(self, batch):
        self.log("count", 16777217)
        self.log("float", 0.1)
        self.log("tensor", torch.tensor(0.1, dtype=torch.float64))


trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
(found,) = trainer.validate(Module(), DataLoader([0.0]), verbose=False)
print("int 16777217:  ", found["count"])
print("float 0.1:     ", found["float"])
print("float64 tensor:", found["tensor"])
assert found == {"count": 16777216.0, "float": 0.10000000149011612, "tensor": 0.1}
PYTHON
