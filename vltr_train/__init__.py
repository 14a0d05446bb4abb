"""Training of long-tailed video models on frame features: methods by name, their data, and fused gathers of frames.

Names are imported when they are first used, because some need torch, which takes a second.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import vltr_eval  # noqa: F401  # now, because it explains a missing core

if TYPE_CHECKING:
    from vltr_train import aggregators, losses, samplers
    from vltr_train.data.dataset import Dataset, open_dataset
    from vltr_train.data.loader import Batch, Loader
    from vltr_train.data.synth import synthesize
    from vltr_train.engine import Run, fit
    from vltr_train.method import Method
    from vltr_train.methods import all_methods, find_method
    from vltr_train.ops.frames import (
        StackedClips,
        dynamic_frame_bounds,
        dynamic_frame_masks,
        frame_stack,
        gather_frames,
        sample_frames,
    )
    from vltr_train.predict import evaluate_run
    from vltr_train.runs.curves import learning_curves, training_runs
    from vltr_train.runs.page import training_page
    from vltr_train.runs.run_folder import RunFolder
    from vltr_train.runs.tables import table

_MODULES = {
    "data.dataset": ("Dataset", "open_dataset"),
    "data.loader": ("Batch", "Loader"),
    "data.synth": ("synthesize",),
    "engine": ("Run", "fit"),
    "method": ("Method",),
    "methods": ("all_methods", "find_method"),
    "ops.frames": (
        "StackedClips",
        "dynamic_frame_bounds",
        "dynamic_frame_masks",
        "frame_stack",
        "gather_frames",
        "sample_frames",
    ),
    "predict": ("evaluate_run",),
    "runs.curves": ("learning_curves", "training_runs"),
    "runs.page": ("training_page",),
    "runs.run_folder": ("RunFolder",),
    "runs.tables": ("table",),
}
_PUBLIC_MODULES = ("aggregators", "losses", "samplers")

__all__ = [
    "Batch",
    "Dataset",
    "Loader",
    "Method",
    "Run",
    "RunFolder",
    "StackedClips",
    "aggregators",
    "all_methods",
    "dynamic_frame_bounds",
    "dynamic_frame_masks",
    "evaluate_run",
    "find_method",
    "fit",
    "frame_stack",
    "gather_frames",
    "learning_curves",
    "losses",
    "open_dataset",
    "sample_frames",
    "samplers",
    "synthesize",
    "table",
    "training_page",
    "training_runs",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC_MODULES:
        return importlib.import_module(f"vltr_train.{name}")
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"vltr_train.{module}"), name)
    raise AttributeError(f"module 'vltr_train' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
