"""Arrays whose producers are late and whose owners are early, on the emulator's deferred mode.

The emulator then runs work only when something waits for it. A missing wait, or memory that nothing keeps, gives a
wrong result here, and a report of AddressSanitizer if the build has it.
"""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from devices import BYTE, EMULATED, LEGACY_STREAM, CudaArray, to_host, torch_on_device

import vltr_eval
from vltr_eval._base import _core

pytestmark = pytest.mark.skipif(not EMULATED, reason="needs the emulated build")
ORDERS = ("forward", "reverse", "1", "2", "3")
RNG = np.random.default_rng(5)
LABELS = RNG.random((300, 7)) < 0.2
SCORES = (LABELS + RNG.normal(size=LABELS.shape)).astype(np.float32)
EXPECTED = vltr_eval.average_precision(SCORES, LABELS)


@pytest.fixture(params=ORDERS)
def order(request, monkeypatch, cuda) -> str:
    """Defer work, in each order in turn."""
    monkeypatch.setenv("VLTR_EMULATOR_DEFER", request.param)
    yield request.param
    _core._emulator.synchronize_device()


def make_stream(blocking: bool = False) -> int:
    return _core._emulator.make_stream(blocking)


class DlpackProducer:
    """An array that is filled late on a stream of its own, and follows DLPack's rule for the consumer's stream."""

    def __init__(self, array: np.ndarray):
        self.stream = make_stream()
        self.array = _core.DeviceArray(array.shape, _core.DTYPES.index(array.dtype.name), 0, self.stream)
        strides = np.empty(array.shape, array.dtype).strides
        code = _core.DTYPES.index(array.dtype.name)
        _core.Tensor(self.array.address, array.shape, strides, code, 0, self.stream).assign(array)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)


def test_work_waits_until_something_needs_it(cuda, monkeypatch):
    monkeypatch.setenv("VLTR_EMULATOR_DEFER", "forward")
    _core._emulator.synchronize_device()
    array = CudaArray(SCORES, stream=make_stream())
    assert _core._emulator.pending() == 2  # the copy, and the event behind it
    assert array.to_numpy().tobytes() == SCORES.tobytes()
    assert _core._emulator.pending() == 0


def test_calls_wait_for_producers_on_streams_of_their_own(order):
    for blocking in (False, True):
        scores, labels = (CudaArray(array, stream=make_stream(blocking)) for array in (SCORES, LABELS))
        assert vltr_eval.average_precision(scores, labels).tobytes() == EXPECTED.tobytes()


def test_calls_wait_for_dlpack_producers(order):
    found = vltr_eval.average_precision(DlpackProducer(SCORES), DlpackProducer(LABELS))
    assert found.tobytes() == EXPECTED.tobytes()


def test_a_producer_that_names_another_stream_is_read_too_early(cuda, monkeypatch):
    """The mode sees a missing wait: here the producer's, whose interface has not the stream that fills it."""

    def average() -> bytes:
        scores = CudaArray(SCORES, stream=make_stream())
        scores.__cuda_array_interface__["stream"] = make_stream()
        try:
            return vltr_eval.average_precision(scores, CudaArray(LABELS)).tobytes()
        finally:
            _core._emulator.synchronize_device()

    monkeypatch.delenv("VLTR_EMULATOR_DEFER", raising=False)
    assert average() == EXPECTED.tobytes()
    monkeypatch.setenv("VLTR_EMULATOR_DEFER", "forward")
    assert average() != EXPECTED.tobytes()


def update_and_drop(running, scores, labels) -> None:
    """Update with arrays that are freed when this returns."""
    running.update(scores, labels)
    del scores, labels
    gc.collect(1)  # of young objects, which is quick


@pytest.mark.parametrize("library", ["interface", "dlpack", "torch"])
def test_inputs_may_be_freed_right_after_an_update_that_does_not_wait(order, library):
    make = {
        "interface": lambda array: CudaArray(array, stream=make_stream()),
        "dlpack": DlpackProducer,
        "torch": lambda array: torch_on_device(torch.from_numpy(array.copy()), "cuda"),
    }[library]
    running = vltr_eval.RunningAP(7, capacity=300)
    for start in range(0, 300, 50):
        update_and_drop(running, *(make(array[start : start + 50]) for array in (SCORES, LABELS)))
    assert to_host(running.compute(absent="nan")).tobytes() == EXPECTED.tobytes()


def test_inputs_may_be_overwritten_right_after_an_update(order):
    running = vltr_eval.RunningAP(7, capacity=300)
    stream = make_stream()
    scores, labels = CudaArray(SCORES, stream=stream), CudaArray(LABELS, stream=make_stream())
    running.update(scores, labels)
    address = labels.__cuda_array_interface__["data"][0]
    zeros = np.zeros(LABELS.size, np.uint8)
    _core.Tensor(address, zeros.shape, (1,), BYTE, 0, labels.__cuda_array_interface__["stream"]).assign(zeros)
    assert to_host(running.compute(absent="nan")).tobytes() == EXPECTED.tobytes()


def test_streams_may_end_right_after_a_call_that_returns_numbers(order):
    streams = [make_stream(), make_stream()]
    scores, labels = (CudaArray(array, stream=stream) for array, stream in zip((SCORES, LABELS), streams, strict=True))
    table = vltr_eval.rank_table(scores, labels)
    for stream in streams:
        _core._emulator.destroy_stream(stream)
    assert table.average_precision().tobytes() == EXPECTED.tobytes()


def test_memory_lent_by_dlpack_outlives_the_stream_of_its_consumer(order):
    """The consumer's stream may be gone, with work still on it, when it gives the memory back."""
    array = _core.DeviceArray((300, 7), _core.DTYPES.index("float32"), 0, LEGACY_STREAM)
    strides = SCORES.strides
    _core.Tensor(array.address, (300, 7), strides, array_code(), 0, LEGACY_STREAM).assign(SCORES)
    consumer = make_stream()
    address, _, _, _, owner, _, _ = _core.from_dlpack(array.__dlpack__(stream=consumer))
    copy = _core.DeviceArray((300, 7), array_code(), 0, LEGACY_STREAM)
    _core.wait_for(0, consumer, LEGACY_STREAM)
    lent = _core.Tensor(address, (300, 7), strides, array_code(), 0, consumer)
    _core.copy_rows(lent, _core.Tensor(copy.address, (300, 7), strides, array_code(), 0, consumer))
    reader = make_stream()
    _core.wait_for(0, reader, consumer)
    _core._emulator.destroy_stream(consumer)
    del array, lent, owner
    gc.collect(1)  # of young objects, which is quick
    out = _core.DeviceArray((300, 7), array_code(), 0, reader)
    source = _core.Tensor(copy.address, (300, 7), strides, array_code(), 0, reader)
    _core.copy_rows(source, _core.Tensor(out.address, (300, 7), strides, array_code(), 0, reader))
    assert out.to_numpy().tobytes() == SCORES.tobytes()


def array_code() -> int:
    return _core.DTYPES.index("float32")
