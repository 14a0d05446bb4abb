"""Arguments of the frame functions that have no memory are refused before anything reads them."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vltr_train.ops.frames import dynamic_frame_bounds, dynamic_frame_masks, frame_stack, gather_frames, sample_frames

B, T, D, C, K, L = 4, 5, 6, 3, 2, 5


def whole() -> dict[str, torch.Tensor]:
    return {
        "features": torch.rand(B, T, D),
        "targets": torch.eye(B, C),
        "rap": torch.rand(C),
        "partner": torch.arange(B),
        "beta": torch.rand(B),
        "store": torch.rand(B * T, D),
        "offsets": torch.arange(B + 1) * T,
        "videos": torch.arange(B),
        "frame_indices": torch.zeros((B, K), dtype=torch.int64),
        "out": torch.zeros(B, K, D),
        "lengths": torch.full((B,), T),
        "samples": torch.arange(B),
        "bounds": torch.rand(C) + 1,
        "train_counts": torch.arange(C) + 1,
    }


CALLS = {
    frame_stack: [("features", "targets", "rap", "partner"), ("features", "targets", "partner", "beta")],
    gather_frames: [("store", "offsets", "videos", "frame_indices", "out")],
    sample_frames: [("lengths", "samples")],
    dynamic_frame_masks: [("targets", "bounds", "samples")],
    dynamic_frame_bounds: [("train_counts",)],
}
CASES = [(function, names, name) for function, calls in CALLS.items() for names in calls for name in names]


def call(function, arguments):
    if function is frame_stack:
        return function(**{"rap": None, "clip_length": L} | arguments)
    return function(**arguments) if function is gather_frames else function(**arguments, num_frames=10)


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize(("function", "names", "name"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_tensors_without_memory_are_refused_by_name(function, names, name):
    arguments = {key: whole()[key] for key in names}
    call(function, arguments)  # all of them whole: it works
    with FakeTensorMode():
        arguments[name] = torch.empty(arguments[name].shape, dtype=arguments[name].dtype)
    with pytest.raises(TypeError, match=rf"^{name}: expected an array with memory, got FakeTensor of .* without any; "):
        call(function, arguments)
