"""How batches of tensors are handed over: promoted as torch.cat would, and brought where this build works on them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vltr_eval.compat import _tensors as tensors
from vltr_eval.compat._tensors import on_one_device, one_dtype, to_supported_device


def elsewhere(kind):
    """A tensor on a device that this machine may not have."""
    return SimpleNamespace(device=torch.device(kind), cpu=lambda: "in CPU memory")


@pytest.mark.parametrize(
    "dtypes", [("float32",), ("float16", "bfloat16"), ("float16", "float64", "float32"), ("uint8", "float16")]
)
def test_dtypes_are_promoted_as_joining_would(dtypes):
    batches = [torch.ones(2, dtype=getattr(torch, dtype)) for dtype in dtypes]
    assert {batch.dtype for batch in one_dtype(batches)} == {torch.cat(batches).dtype}


def test_what_lies_in_cpu_memory_is_not_copied():
    batch = torch.ones(2)
    assert to_supported_device([batch])[0] is batch


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_devices_without_kernels_are_copied_from(kind):
    assert to_supported_device([elsewhere(kind)]) == ["in CPU memory"]


@pytest.mark.parametrize(("works", "hip"), [(True, None), (True, "6.2"), (False, None)])
def test_cuda_stays_where_this_build_has_kernels(works, hip, monkeypatch):
    monkeypatch.setattr(tensors, "cuda_is_usable", lambda: works)
    monkeypatch.setattr(torch.version, "hip", hip)
    batch = elsewhere("cuda")
    assert to_supported_device([batch]) == [batch if works and hip is None else "in CPU memory"]


def test_batches_of_two_devices_meet_in_cpu_memory():
    """MOVE's Framestack_kinetics.py adds ``prediction.cpu()`` with a target on the GPU."""
    batch, array = torch.ones(2), np.ones(2)
    assert on_one_device([elsewhere("cuda:0"), elsewhere("cuda:1")]) == ["in CPU memory"] * 2
    joined = on_one_device([batch, array, elsewhere("cuda")])
    assert joined[1] is array
    assert joined[2] == "in CPU memory"
    pair = [elsewhere("cuda"), elsewhere("cuda")]
    assert on_one_device(pair) == pair
    assert on_one_device([batch, array])[0] is batch
