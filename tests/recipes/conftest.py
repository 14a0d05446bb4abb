"""The tests of docs/trackers.md are collected only where all trackers are installed: `make test-recipes`."""

from __future__ import annotations

import importlib.util

TRACKERS = ("tensorboard", "wandb", "mlflow", "pytorch_lightning", "transformers", "accelerate", "ignite", "keras")

collect_ignore_glob = [] if all(map(importlib.util.find_spec, TRACKERS)) else ["test_*.py"]
