"""Frame operations whose arrays are each made late on a stream of their own, on the emulator's deferred mode.

A result is allocated by the library of one of the inputs, so on that input's stream. The kernel runs on another one.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from devices import EMULATED, CudaArray, to_host

from vltr_eval._base import _core
from vltr_train import dynamic_frame_masks, frame_stack, gather_frames, sample_frames

pytestmark = pytest.mark.skipif(not EMULATED, reason="needs the emulated build")
RNG = np.random.default_rng(11)
CLIPS, TARGETS = RNG.standard_normal((5, 7, 6)).astype(np.float32), (RNG.random((5, 9)) < 0.3).astype(np.float32)
RAP, PARTNER, BETA = RNG.random(9, np.float32), RNG.integers(0, 5, 5), RNG.random(5, np.float32)
BOUNDS = RNG.uniform(1, 7, 9)

# Each operation with its arrays: the function, and its inputs in order.
CALLS = {
    "frame_stack": (lambda *arrays: frame_stack(*arrays, 7), (CLIPS, TARGETS, RAP, PARTNER)),
    "frame_stack_beta": (
        lambda clips, targets, partner, beta: frame_stack(clips, targets, None, partner, 7, beta=beta),
        (CLIPS, TARGETS, PARTNER, BETA),
    ),
    "gather_frames": (
        gather_frames,
        (CLIPS.reshape(35, 6), np.array([0, 20, 35]), np.array([1, 0, 1]), np.array([[0, 14], [3, 19], [2, 2]])),
    ),
    "sample_frames": (
        lambda lengths, samples: sample_frames(lengths, 4, seed=3, samples=samples),
        (np.array([7, 30, 2]), np.array([5, 6, 7])),
    ),
    "dynamic_frame_masks": (
        lambda targets, bounds, samples: dynamic_frame_masks(targets, bounds, 7, seed=3, samples=samples),
        (TARGETS, BOUNDS, np.arange(5)),
    ),
}


@pytest.fixture(params=("forward", "reverse", "1", "2", "3"))
def order(request, monkeypatch, cuda) -> str:
    """Defer work, in each order in turn."""
    monkeypatch.setenv("VLTR_EMULATOR_DEFER", request.param)
    yield request.param
    _core._emulator.synchronize_device()


def to_bytes(result) -> list[bytes]:
    return [to_host(array).tobytes() for array in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize("name", CALLS)
def test_results_are_those_of_ready_arrays(order, name):
    function, arrays = CALLS[name]
    lent = [CudaArray(array, stream=_core._emulator.make_stream()) for array in arrays]
    result = function(*lent)
    del lent
    gc.collect(1)  # of young objects, which is quick
    assert to_bytes(result) == to_bytes(function(*arrays))


def test_a_result_may_be_dropped_before_its_kernel_ran(order):
    function, arrays = CALLS["frame_stack"]
    for _ in range(2):
        function(*(CudaArray(array, stream=_core._emulator.make_stream()) for array in arrays))
        gc.collect(1)  # of young objects, which is quick
    _core._emulator.synchronize_device()


def run_planted(fault: str, order: str) -> str:
    """Return "right", "wrong", or the first line of an error, of the emulator or of AddressSanitizer."""
    options = os.environ.get("ASAN_OPTIONS", "") + ":log_path=stderr"  # no report of the run itself
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("planted_streams.py"), fault],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"VLTR_EMULATOR_DEFER": order, "ASAN_OPTIONS": options},
    )
    if done.returncode == 0:
        return done.stdout.strip()
    found = [line for line in done.stderr.splitlines() if "emulator:" in line or "ERROR: AddressSanitizer" in line]
    assert found, done.stderr
    return found[0]


@pytest.mark.parametrize("fault", ["none", "forget_joins", "allocate_after_joins", "forget_inputs", "end_the_stream"])
def test_planted_faults_show_in_deferred_mode_alone(cuda, fault):
    assert run_planted(fault, "") == "right"
    assert (run_planted(fault, "forward") == "right") == (fault == "none")
