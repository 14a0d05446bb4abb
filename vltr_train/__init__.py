"""Training of long-tailed video models on frame features: methods by name, their data, and fused gathers of frames.

Names that need torch are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vltr_train.data.dataset import Dataset, open_dataset
from vltr_train.data.synth import synthesize
from vltr_train.ops.frames import (
    StackedClips,
    dynamic_frame_bounds,
    dynamic_frame_masks,
    frame_stack,
    gather_frames,
    sample_frames,
)
from vltr_train.runs.run_folder import RunFolder
from vltr_train.runs.tables import table

if TYPE_CHECKING:
    from vltr_train.data.loader import Batch, Loader
    from vltr_train.engine import Run, fit
    from vltr_train.method import Method
    from vltr_train.methods import all_methods, find_method
    from vltr_train.predict import evaluate_run

_WITH_TORCH = {
    "engine": ("Run", "fit"),
    "data.loader": ("Batch", "Loader"),
    "method": ("Method",),
    "methods": ("all_methods", "find_method"),
    "predict": ("evaluate_run",),
}

__all__ = [
    "Batch",
    "Dataset",
    "Loader",
    "Method",
    "Run",
    "RunFolder",
    "StackedClips",
    "all_methods",
    "dynamic_frame_bounds",
    "dynamic_frame_masks",
    "evaluate_run",
    "find_method",
    "fit",
    "frame_stack",
    "gather_frames",
    "open_dataset",
    "sample_frames",
    "synthesize",
    "table",
]


def __getattr__(name: str) -> Any:
    for module, names in _WITH_TORCH.items():
        if name in names:
            return getattr(importlib.import_module(f"vltr_train.{module}"), name)
    raise AttributeError(f"module 'vltr_train' has no attribute {name!r}")
