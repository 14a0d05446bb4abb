"""The tests that run published code are collected only where all of it is installed: `make test-originals`."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
os.environ.setdefault("KERAS_BACKEND", "torch")

ORIGINALS = (
    *("sklearn", "torchmetrics", "torcheval", "keras", "xgboost", "lightgbm", "pycocotools"),
    "pytrec_eval",
)

collect_ignore_glob = [] if all(map(importlib.util.find_spec, ORIGINALS)) else ["test_*.py"]
