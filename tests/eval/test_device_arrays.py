"""Arrays of every library and protocol, on the CPU and on CUDA devices: borrowed without a copy, or refused.

Code that only reads array descriptions is tested in every build, with a fake device.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections import deque
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
import torch
from devices import EMULATED, LEGACY_STREAM, THREAD_STREAM, CudaArray, on_device, to_host, torch_on_device
from reference import assert_same_bits

import vltr_eval
from vltr_eval._base import _core, arrays
from vltr_eval._base.arrays import (
    CPU,
    Device,
    borrow,
    borrow_matrix,
    common_device,
    empty_like,
    release_inputs_after_launch,
)
from vltr_eval._base.groups import class_groups
from vltr_eval.program.check import summarize_scores

DTYPES = [np.dtype(name) if name != "bfloat16" else np.dtype(ml_dtypes.bfloat16) for name in _core.DTYPES]
ADDRESS = 0x7F00_0000_0000  # never dereferenced
ON_CUDA = Device(3, LEGACY_STREAM)


@pytest.fixture
def waits(monkeypatch) -> list[tuple[int, int, int]]:
    """Fake a CUDA device 3 and return the recorded stream waits: (device, stream, other)."""
    calls = []
    monkeypatch.setattr(_core, "device_count", lambda: 4)
    monkeypatch.setattr(_core, "device_of", lambda address: 3, raising=False)
    monkeypatch.setattr(_core, "wait_for", lambda *call: calls.append(call), raising=False)
    monkeypatch.setattr(_core, "Event", lambda *at: SimpleNamespace(done=lambda: True), raising=False)
    monkeypatch.setattr(arrays, "_in_use", deque())
    return calls


class Offers:
    """An array that has only the given attributes."""

    def __init__(self, **attributes):
        vars(self).update(attributes)


def offering_cuda(**changes) -> Offers:
    interface = {"shape": (3, 4), "typestr": "<f4", "data": (ADDRESS, False), "version": 3} | changes
    return Offers(__cuda_array_interface__=interface)


def offering_dlpack(array) -> Offers:
    return Offers(__dlpack__=array.__dlpack__, __dlpack_device__=array.__dlpack_device__)


@pytest.mark.any_device
@pytest.mark.parametrize("make", [np.zeros, lambda shape: np.zeros(shape)[...], lambda shape: np.zeros(shape).tolist()])
def test_every_input_of_a_test_of_any_device_is_on_the_device_of_the_run(request, make):
    on_cuda = request.config.getoption("--device") == "cuda"
    assert (borrow("scores", make((3, 2))).device.index is not None) == on_cuda


# __cuda_array_interface__


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("read_only", [True, False])
def test_cuda_array_interface_is_read(waits, version, read_only):
    array = offering_cuda(version=version, data=(ADDRESS, read_only))
    borrowed = borrow("scores", array)
    assert (borrowed.address, borrowed.shape, borrowed.strides) == (ADDRESS, (3, 4), (16, 4))
    assert (borrowed.dtype, borrowed.device, borrowed.owner) == ("float32", ON_CUDA, array)
    assert str(borrowed.device) == "cuda:3"
    assert borrowed.writable is not read_only
    assert not waits


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cuda_array_interface_of_every_dtype(waits, dtype):
    array = offering_cuda(typestr=dtype.str if dtype.name != "bfloat16" else "<V2")
    array.dtype = dtype
    borrowed = borrow("scores", array)
    assert (borrowed.dtype, borrowed.itemsize) == (dtype.name, dtype.itemsize)
    assert borrowed.strides == (4 * dtype.itemsize, dtype.itemsize)


@pytest.mark.parametrize("typestr", ["<V2", "<c8", "<f16", "<M8[s]", "|S4"])
def test_cuda_array_interface_of_other_dtypes_is_refused(waits, typestr):
    with pytest.raises(TypeError, match=r"^scores: expected a bool, integer or float dtype of at most 64 bits, got "):
        borrow("scores", offering_cuda(typestr=typestr))


def test_cuda_array_interface_of_foreign_byte_order_is_refused(waits):
    with pytest.raises(TypeError, match=r"^scores: expected native byte order, got >f4; "):
        borrow("scores", offering_cuda(typestr=">f4"))


@pytest.mark.parametrize("strides", [(16, 4), (4, 12), (-16, 4), (0, 0), (64, -8)])
def test_cuda_array_interface_has_any_strides(waits, strides):
    assert borrow("scores", offering_cuda(strides=strides)).strides == strides


@pytest.mark.parametrize("changes", [{"data": (ADDRESS + 2, False)}, {"strides": (18, 4)}, {"strides": (16, 6)}])
def test_unaligned_device_elements_are_refused(waits, changes):
    with pytest.raises(ValueError, match=r"^scores: expected aligned elements on a device, got "):
        borrow("scores", offering_cuda(**changes))


@pytest.mark.parametrize(("entry", "stream"), [(None, 1), (1, 1), (2, 2), (0x5555, 0x5555)])
def test_cuda_array_interface_names_the_stream_of_the_work(waits, entry, stream):
    assert borrow("scores", offering_cuda(stream=entry)).device == Device(3, stream)
    assert not waits


def test_cuda_array_interface_of_stream_0_is_refused(waits):
    with pytest.raises(ValueError, match=r"^scores: expected a stream of None, 1, 2 or a handle in .*, got 0$"):
        borrow("scores", offering_cuda(stream=0))


@pytest.mark.parametrize("version", [0, 1, 4, None])
def test_cuda_array_interface_of_other_versions_is_refused(waits, version):
    with pytest.raises(
        TypeError, match=rf"^scores: expected __cuda_array_interface__ of version 2 or 3, got {version}$"
    ):
        borrow("scores", offering_cuda(version=version))


def test_cuda_array_interface_with_a_mask_is_refused(waits):
    with pytest.raises(TypeError, match=r"^scores: expected an array without a mask, got a masked one$"):
        borrow("scores", offering_cuda(mask=offering_cuda()))


@pytest.mark.parametrize("address", [0, None])
def test_empty_device_arrays_need_no_address(waits, monkeypatch, address):
    monkeypatch.setattr(_core, "device_of", lambda address: pytest.fail("it has no address"))
    empty = borrow("scores", offering_cuda(shape=(0, 4), data=(address, False)))
    assert (empty.address, empty.shape, empty.nbytes) == (0, (0, 4), 0)


def test_host_addresses_in_a_cuda_array_interface_are_refused(waits, monkeypatch):
    def device_of(address):
        raise RuntimeError("not a device's")

    monkeypatch.setattr(_core, "device_of", device_of)
    with pytest.raises(
        ValueError, match=r"^scores: expected the address of device memory, got 0x7f0+ \(not a device's\)$"
    ):
        borrow("scores", offering_cuda())


# torch


class PretendedTensor(torch.Tensor):
    """A tensor whose device is CUDA device 3."""

    @property
    def device(self):
        return torch.device("cuda", 3)


@pytest.fixture
def torch_stream(monkeypatch) -> SimpleNamespace:
    """Fake torch's current stream on device 3; a test sets it."""
    stream = SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream if device == 3 else pytest.fail("device"))
    monkeypatch.setattr(torch.version, "hip", None)
    return stream


@pytest.mark.parametrize("handle", [0, 0x5555])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.bool, torch.int64])
def test_torch_cuda_tensors_are_read_in_torchs_current_stream(waits, torch_stream, handle, dtype):
    tensor = torch.zeros((6, 4)).to(dtype)[::2, 1:].as_subclass(PretendedTensor)
    torch_stream.cuda_stream = handle
    borrowed = borrow("scores", tensor)
    assert borrowed.device == Device(3, handle or LEGACY_STREAM)
    assert (borrowed.address, borrowed.shape) == (tensor.data_ptr(), (3, 3))
    assert borrowed.strides == (8 * dtype.itemsize, dtype.itemsize)
    assert borrowed.dtype == str(dtype).removeprefix("torch.")


def test_torch_parameters_are_borrowed_without_their_gradient(waits, torch_stream):
    tensor = torch.zeros((3, 4), requires_grad=True).as_subclass(PretendedTensor)
    assert borrow("scores", tensor).address == tensor.data_ptr()


def test_rocm_tensors_are_refused(waits, torch_stream, monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.0")
    with pytest.raises(
        ValueError, match=r"^scores: expected .* CUDA device, got one on a ROCm device; pass scores\.cpu"
    ):
        borrow("scores", torch.zeros(3).as_subclass(PretendedTensor))


# DLPack


class DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class Managed(ctypes.Structure):
    _fields_ = (("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class ManagedVersioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", DLTensor),
    )


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype, new_capsule.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


class Producer:
    """Makes DLPack capsules of fake arrays, and counts the deletions of each."""

    def __init__(
        self,
        *,
        versioned=True,
        device=(1, 0),
        dtype=(2, 32, 1),
        shape=(3, 4),
        strides=(4, 1),
        offset=0,
        major=1,
        flags=0,
        **tensor,
    ):
        self.versioned, self.device = versioned, device
        self.deleted, self.requests = 0, []
        self._extents = (ctypes.c_int64 * 2)(*shape)
        self._strides = (ctypes.c_int64 * 2)(*strides) if strides else None
        self._deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._delete)
        self._managed = ManagedVersioned(major=major, flags=flags) if versioned else Managed()
        self._managed.tensor = DLTensor(ADDRESS, *device, 2, *dtype, self._extents, self._strides, offset)
        for field, value in tensor.items():
            setattr(self._managed.tensor, field, value)
        self._managed.deleter = ctypes.cast(self._deleter, ctypes.c_void_p)

    def _delete(self, managed):
        assert managed == ctypes.addressof(self._managed)
        self.deleted += 1

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **options):
        self.requests.append(options)
        if not self.versioned and "max_version" in options:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        name = b"dltensor_versioned" if self.versioned else b"dltensor"
        return new_capsule(ctypes.addressof(self._managed), name, None)


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("strides", [None, (4, 1), (1, 3), (0, 0), (-4, 1)])
def test_dlpack_capsules_of_both_kinds_are_read_and_deleted_once(versioned, strides):
    producer = Producer(versioned=versioned, strides=strides, offset=64)
    borrowed = borrow("scores", producer)
    assert (borrowed.address, borrowed.shape, borrowed.dtype) == (ADDRESS + 64, (3, 4), "float32")
    assert borrowed.strides == tuple(4 * stride for stride in strides or (4, 1))
    assert borrowed.device == CPU
    assert producer.requests[-1] == ({"max_version": (1, 0)} if versioned else {})
    assert producer.deleted == 0
    del borrowed
    assert producer.deleted == 1


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ((0, 8, 1), "int8"),
        ((0, 64, 1), "int64"),
        ((1, 16, 1), "uint16"),
        ((2, 16, 1), "float16"),
        ((2, 64, 1), "float64"),
        ((4, 16, 1), "bfloat16"),
        ((6, 8, 1), "bool"),
    ],
)
def test_dlpack_dtypes_have_their_names(dtype, name):
    borrowed = borrow("scores", Producer(dtype=dtype))
    assert (borrowed.dtype, borrowed.strides) == (name, (dtype[1] // 2, dtype[1] // 8))


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ((5, 64, 1), "complex64"),
        ((2, 32, 4), "float32x4"),
        ((3, 64, 1), "opaque64"),
        ((9, 8, 1), "type code 9 of 8 bits"),
    ],
)
def test_other_dlpack_dtypes_are_refused_and_deleted_once(dtype, name):
    producer = Producer(dtype=dtype)
    with pytest.raises(TypeError, match=rf"^scores: expected a bool, .*, got {name}$"):
        borrow("scores", producer)
    gc.collect()
    assert producer.deleted == 1


def test_dlpack_of_another_major_version_is_refused_and_deleted_once():
    producer = Producer(major=2)
    with pytest.raises(TypeError, match=r"^scores: .* Producer that says: expected DLPack version 1, got 2$"):
        borrow("scores", producer)
    gc.collect()
    assert producer.deleted == 1


def test_a_dlpack_capsule_is_consumed_once():
    producer = Producer()
    capsule = producer.__dlpack__()
    taken = _core.from_dlpack(capsule)
    assert "used_dltensor_versioned" in repr(capsule)
    with pytest.raises(BufferError, match="expected an unused DLPack capsule"):
        _core.from_dlpack(capsule)
    del taken, capsule
    assert producer.deleted == 1


@pytest.mark.parametrize("offset", [0, 64])
def test_dlpack_without_memory_is_refused(offset):
    with pytest.raises(TypeError, match=r"^scores: expected an array with memory, got .* of \(3, 4\) without any; "):
        borrow("scores", Producer(data=None, offset=offset))


@pytest.mark.parametrize(
    ("tensor", "error", "sentence"),
    [
        ({"ndim": -1}, TypeError, r"Producer that says: expected a shape of at most 64 axes, got -1$"),
        ({"ndim": 1000}, TypeError, r"Producer that says: expected a shape of at most 64 axes, got 1000$"),
        ({"shape": (-3, 4)}, TypeError, r"expected a shape and strides of its axes, got \(-3, 4\) and "),
        ({"strides": (2**62, 1)}, ValueError, r"expected elements within its memory of .* bytes, got bytes "),
        ({"strides": (-(2**62), 1)}, ValueError, r"expected elements within its memory of .* bytes, got bytes "),
        ({"shape": (2**62, 4), "strides": None}, ValueError, r"expected elements within its memory of .* bytes, got "),
        (
            {"shape": (2**62, 4), "strides": (0, 0)},
            ValueError,
            r"expected elements within its memory of .* bytes, got ",
        ),
        ({"offset": 2**64 - 64}, ValueError, r"expected elements within its memory of .* bytes, got bytes "),
        ({"device_type": 2}, TypeError, r"expected memory of DLPack's device 1, 0, got that of 2, 0$"),
    ],
)
def test_impossible_dlpack_capsules_are_refused_and_deleted_once(tensor, error, sentence):
    producer = Producer(**tensor)
    with pytest.raises(error, match=rf"^scores: .*{sentence}"):
        borrow("scores", producer)
    gc.collect()
    assert producer.deleted == 1


def test_dlpack_of_another_device_than_declared_is_refused(waits):
    with pytest.raises(TypeError, match=r"^scores: .* expected memory of DLPack's device 2, 3, got that of 1, 3$"):
        borrow("scores", Producer(device=(2, 3), device_type=1))
    with pytest.raises(TypeError, match=r"^scores: .* expected memory of cuda:1, got that of cuda:3$"):
        borrow("scores", Producer(device=(2, 1)))


def test_dlpack_of_host_memory_as_a_device_is_refused(waits, monkeypatch):
    def device_of(address):
        raise RuntimeError("address: expected device memory, got host memory")

    monkeypatch.setattr(_core, "device_of", device_of, raising=False)
    with pytest.raises(ValueError, match=r"^scores: expected the address of device memory, got 0x7f0000000000 "):
        borrow("scores", Producer(device=(2, 3)))


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"data": (0, False)}, TypeError, r"expected an array with memory, got "),
        ({"shape": (-3, 4), "strides": (16, 4)}, TypeError, r"expected a shape and strides of its axes, got "),
        ({"strides": (16,)}, TypeError, r"expected a shape and strides of its axes, got "),
        ({"strides": (2**62, 4)}, ValueError, r"expected elements within its memory of "),
    ],
)
def test_impossible_cuda_array_interfaces_are_refused(waits, changes, error, sentence):
    with pytest.raises(error, match=rf"^scores: {sentence}"):
        borrow("scores", offering_cuda(**changes))


@pytest.mark.parametrize("kind", [2, 13])
def test_dlpack_of_cuda_devices_is_requested_on_the_legacy_default_stream(waits, kind):
    producer = Producer(device=(kind, 3))
    assert borrow("scores", producer).device == ON_CUDA
    assert producer.requests == [{"stream": LEGACY_STREAM, "max_version": (1, 0)}]
    older = Producer(device=(kind, 3), versioned=False)
    assert borrow("scores", older).device == ON_CUDA
    assert older.requests[-1] == {"stream": LEGACY_STREAM}


def test_dlpack_of_page_locked_memory_is_in_cpu_memory():
    producer = Producer(device=(3, 0))
    assert borrow("scores", producer).device == CPU
    assert "stream" not in producer.requests[0]


@pytest.mark.parametrize("kind", [4, 8, 10])
def test_dlpack_of_other_devices_is_refused(waits, kind):
    with pytest.raises(ValueError, match=rf"^scores: expected .*, got one on DLPack's device type {kind}$"):
        borrow("scores", Producer(device=(kind, 0)))


def test_dlpack_producers_that_refuse_are_quoted():
    with pytest.raises(
        TypeError, match=r"^scores: expected an array that can be borrowed, got Offers that says: .*grad"
    ):
        borrow("scores", offering_dlpack(torch.zeros(3, requires_grad=True)))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 6), np.float16)[::-2, 1:],
        np.broadcast_to(np.float64(1), (3, 2)),
        torch.zeros((4, 6), dtype=torch.bfloat16)[1::2, ::3],
        torch.zeros((4, 6), dtype=torch.bool).T,
        torch.zeros((2, 3, 4), dtype=torch.uint8),
        torch.zeros(()),
    ],
    ids=lambda array: f"{type(array).__module__}-{array.dtype}",
)
def test_dlpack_of_numpy_and_torch_has_their_shapes_and_dtypes(array):
    direct, exchanged = borrow("scores", array), borrow("scores", offering_dlpack(array))
    for field in ("address", "shape", "strides", "dtype", "device"):
        assert getattr(direct, field) == getattr(exchanged, field)


def test_read_only_memory_is_marked_read_only():
    array = np.zeros((3, 4))
    array.flags.writeable = False
    for fixed in (array, offering_dlpack(array), Offers(__array_interface__=array.__array_interface__)):
        assert borrow("out", fixed).writable is False
    for free in (np.zeros(3), offering_dlpack(np.zeros(3)), torch.zeros(3), [1, 2]):
        assert borrow("out", free).writable is True
    for flags, writable in ((0, True), (1, False), (2, True), (3, False)):
        assert borrow("out", Producer(flags=flags)).writable is writable
    assert borrow("out", Producer(versioned=False)).writable is True


@pytest.mark.parametrize("array", [np.zeros((0, 4)), np.zeros((3, 0)), torch.zeros((0, 4)), torch.zeros((3, 0))])
def test_dlpack_of_empty_arrays(array):
    borrowed = borrow("scores", offering_dlpack(array))
    assert (borrowed.shape, borrowed.nbytes) == (tuple(array.shape), 0)


def test_dlpack_keeps_its_producer_alive_and_releases_it():
    array = np.zeros((3, 4))
    before = sys.getrefcount(array)
    borrowed = borrow("scores", offering_dlpack(array))
    assert sys.getrefcount(array) > before
    del borrowed
    gc.collect()
    assert sys.getrefcount(array) == before


def test_borrowing_holds_one_reference(waits, torch_stream):
    for array in (np.zeros((3, 4)), offering_cuda()):
        before = sys.getrefcount(array)
        borrowed = borrow("scores", array)
        assert sys.getrefcount(array) == before + 1
        del borrowed
        assert sys.getrefcount(array) == before


# No device


@pytest.mark.parametrize("why", ["this build has no CUDA kernels", "no driver"])
def test_errors_on_cuda_arrays_without_a_device_have_the_reason(monkeypatch, torch_stream, why):
    monkeypatch.setattr(_core, "device_count", lambda: 0)
    monkeypatch.setattr(_core, "why_no_device", lambda: why)
    producer = Producer(device=(2, 0))
    for array in (offering_cuda(), producer, torch.zeros(3).as_subclass(PretendedTensor)):
        with pytest.raises(
            ValueError, match=rf"^scores: expected an array in CPU memory, got .* on .*; {why}, pass scores\.cpu\(\)$"
        ):
            borrow("scores", array)
    assert not producer.requests


def test_a_build_without_kernels_says_so():
    if vltr_eval.build_info()["cuda"] == "not built":
        assert (_core.device_count(), _core.why_no_device()) == (0, "this build has no CUDA kernels")
    assert bool(_core.why_no_device()) == (_core.device_count() == 0)


# Several arrays


def test_arrays_on_one_device_are_accepted(waits):
    assert common_device(scores=borrow("scores", np.zeros(3)), labels=borrow("labels", torch.zeros(3))) == CPU
    assert common_device(scores=borrow("scores", offering_cuda()), labels=borrow("labels", offering_cuda())) == ON_CUDA
    assert not waits


def test_arrays_of_several_streams_are_synchronized_on_the_first(waits):
    on = {name: borrow(name, offering_cuda(stream=stream)) for name, stream in zip("abcd", (7, 8, 7, 9), strict=True)}
    device = common_device(**on)
    assert device == Device(3, 7)
    assert sorted(waits) == [(3, 7, 8), (3, 7, 9)]
    waits.clear()
    release_inputs_after_launch(device, *on.values())
    assert sorted(waits) == [(3, 8, 7), (3, 9, 7)]


def test_arrays_on_several_devices_are_refused(waits, torch_stream, monkeypatch):
    on_cuda, on_host = borrow("a", offering_cuda()), borrow("b", np.zeros(3))
    tensor = borrow("b", torch.zeros(3))
    with pytest.raises(
        ValueError, match=r"^labels: expected an array on cuda:3 as scores, got one in CPU memory; move one of them$"
    ):
        common_device(scores=on_cuda, labels=on_host)
    with pytest.raises(
        ValueError, match=r"^labels: expected an array on cuda:3 as scores, got .*; pass labels\.to\('cuda:3'\)$"
    ):
        common_device(scores=on_cuda, labels=tensor)
    with pytest.raises(
        ValueError,
        match=r"^labels: expected an array in CPU memory as scores, got one on cuda:3; pass labels\.cpu\(\)$",
    ):
        common_device(scores=tensor, labels=on_cuda)
    monkeypatch.setattr(_core, "device_of", lambda address: 1)
    with pytest.raises(ValueError, match=r"^labels: expected an array on cuda:3 as scores, got one on cuda:1; "):
        common_device(scores=on_cuda, labels=borrow("labels", offering_cuda()))


def test_empty_arrays_fit_any_device(waits):
    nothing = borrow("a", offering_cuda(shape=(0,), data=(0, False)))
    assert common_device(scores=nothing, labels=borrow("b", np.zeros(3))) == CPU
    assert common_device(scores=borrow("a", offering_cuda()), labels=borrow("b", torch.zeros(0))) == ON_CUDA


def test_release_ignores_empty_arrays_and_cpu_memory(waits):
    nothing = borrow("a", offering_cuda(shape=(0,), data=(0, False)))
    release_inputs_after_launch(CPU, borrow("b", np.zeros(3)), nothing)
    release_inputs_after_launch(Device(3, 7), borrow("a", offering_cuda(stream=7)), borrow("b", torch.zeros(0)))
    assert not waits


def test_dlpack_owners_are_kept_until_their_kernels_end(waits, monkeypatch):
    events = []

    class Event(SimpleNamespace):
        def __init__(self, *at):
            super().__init__(at=at, done=lambda: False)
            events.append(self)

    monkeypatch.setattr(_core, "Event", Event, raising=False)
    first, second = Producer(device=(2, 3)), Producer(device=(2, 3))
    device = Device(3, 7)
    release_inputs_after_launch(device, borrow("a", offering_cuda()), borrow("b", first))
    release_inputs_after_launch(device, borrow("a", second))
    assert [event.at for event in events] == [(3, 7), (3, 7)]
    release_inputs_after_launch(device)
    assert (first.deleted, second.deleted) == (0, 0)
    events[1].done = lambda: True
    release_inputs_after_launch(device)
    assert (first.deleted, second.deleted) == (0, 1)
    events[0].done = lambda: True
    release_inputs_after_launch(device)
    assert (first.deleted, second.deleted) == (1, 1)
    assert not arrays._in_use


def test_row_shards_are_on_one_device(waits):
    with pytest.raises(
        ValueError, match=r"^scores\[1\]: expected an array in CPU memory as scores\[0\], got one on cuda"
    ):
        borrow_matrix("scores", [np.zeros((3, 4), np.float32), numpy_shaped(offering_cuda())])


def numpy_shaped(array):
    array.shape = array.__cuda_array_interface__["shape"]
    return array


# New arrays


def test_new_arrays_are_of_the_library():
    made = empty_like(borrow("a", np.zeros(3, np.float32)), (2, 3), "int64")
    assert (type(made), made.shape, made.dtype) == (np.ndarray, (2, 3), np.int64)
    made = empty_like(borrow("a", np.zeros(3, ml_dtypes.bfloat16)), (2,), "bfloat16")
    assert made.dtype == ml_dtypes.bfloat16
    made = empty_like(borrow("a", torch.nn.Parameter(torch.zeros(3))), (2, 3), "bfloat16")
    assert (type(made), made.shape, made.dtype) == (torch.Tensor, (2, 3), torch.bfloat16)
    assert not made.requires_grad
    assert type(empty_like(borrow("a", offering_dlpack(torch.zeros(3))), (2,), "float64")) is np.ndarray


def test_new_cupy_arrays_are_made_by_cupy_on_its_device(waits, monkeypatch):
    """A fake cupy, because the real one needs a GPU at import."""
    calls = []

    class Device:
        def __init__(self, index):
            self.index = index

        def __enter__(self):
            calls.append(("enter", self.index))

        def __exit__(self, *raised):
            calls.append(("exit", self.index))

    class CupyArray(Offers):
        __module__ = "cupy"

    cupy = SimpleNamespace(cuda=SimpleNamespace(Device=Device), empty=lambda *arguments: calls.append(arguments))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    array = borrow("a", CupyArray(**vars(offering_cuda()), dtype=np.dtype(np.float32)))
    empty_like(array, (5,), "float64")
    empty_like(array, (5,), "float32")
    assert calls == [
        ("enter", 3),
        ((5,), "float64"),
        ("exit", 3),
        ("enter", 3),
        ((5,), np.dtype(np.float32)),
        ("exit", 3),
    ]
    with pytest.raises(ValueError, match=r"; pass labels\.get\(\)$"):
        common_device(scores=borrow("a", np.zeros(3)), labels=array)


# Numpy views


@pytest.mark.parametrize("wrap", [lambda array: array, offering_dlpack], ids=["itself", "DLPack"])
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype.name != "bfloat16"], ids=str)
def test_numpy_views_share_memory(dtype, wrap):
    array = np.arange(24).reshape(4, 6).astype(dtype)[::-1, 1::2]
    view = borrow("a", wrap(array)).to_numpy()
    assert_same_bits(view, array)
    assert np.shares_memory(view, array)
    assert view.flags.writeable


@pytest.mark.parametrize("array", [np.zeros((0, 4)), np.float32(3), np.broadcast_to(1, (3, 2))], ids=str)
def test_numpy_views_of_any_shape(array):
    view = borrow("a", np.asarray(array)).to_numpy()
    assert_same_bits(view, np.asarray(array))
    assert view.flags.writeable is np.asarray(array).flags.writeable


def test_numpy_views_keep_the_owner():
    producer = Producer()
    view = borrow("a", producer).to_numpy()[1:]
    gc.collect()
    assert producer.deleted == 0
    del view
    gc.collect()
    assert producer.deleted == 1


def test_bfloat16_becomes_float32():
    values = np.array([1.5, -0.0, np.inf, 2.0**-133]).astype(ml_dtypes.bfloat16)
    for array in (values, torch.tensor(values.astype(np.float32)).to(torch.bfloat16)):
        assert_same_bits(borrow("a", array).to_numpy(), values.astype(np.float32))


def test_device_arrays_have_no_numpy_view(waits):
    with pytest.raises(ValueError, match=r"^bits: expected an array in CPU memory, got one on cuda:3$"):
        borrow("a", offering_cuda()).to_numpy()


# Arguments beside the scores


def test_class_indices_come_from_any_library():
    scores, indices = np.random.default_rng(1).random((20, 3)), np.arange(20) % 3
    expected = vltr_eval.average_precision(scores, indices)
    for labels in (offering_dlpack(indices), torch.tensor(indices), [offering_shaped(indices[:9]), indices[9:]]):
        assert_same_bits(vltr_eval.average_precision(scores, labels), expected)


def offering_shaped(array) -> Offers:
    offers = offering_dlpack(array)
    offers.shape = array.shape
    return offers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_of_any_library_are_summarized(dtype):
    scores = torch.tensor([[0.5, 2.0], [torch.nan, -1.0], [0.25, 8.0]]).to(dtype)
    for given in (scores, offering_dlpack(scores)):
        summary = summarize_scores(borrow_matrix("scores", given))
        assert (summary.lowest, summary.highest, summary.nan.first) == (-1, 8, (1, 0))


def test_weights_come_from_any_library(device):
    scores, labels = (np.random.default_rng(2).random((20, 3)), np.arange(60).reshape(20, 3) % 4 == 0)
    weights = np.arange(20.0)
    expected = vltr_eval.average_precision(scores, labels, sample_weight=weights)
    tensor = torch.tensor(weights)
    for given in (tensor.to(torch.bfloat16), tensor.clone().requires_grad_(), tensor.to(torch.uint8)):
        weighted = vltr_eval.average_precision(
            *(on_device(array, device) for array in (scores, labels)), sample_weight=torch_on_device(given, device)
        )
        assert_same_bits(weighted, expected)
    assert_same_bits(vltr_eval.average_precision(scores, labels, sample_weight=offering_dlpack(weights)), expected)


def test_weights_on_another_device_than_scores_are_refused(waits):
    with pytest.raises(
        ValueError, match=r"^sample_weight: expected .* in CPU memory, got one on cuda:3; pass sample_weight\.cpu\(\)$"
    ):
        vltr_eval.average_precision(np.zeros(3), np.array([0, 1, 0]), sample_weight=offering_cuda(shape=(3,)))


def test_train_counts_come_from_any_library_in_cpu_memory(waits):
    for counts in (torch.tensor([501, 7]), torch.tensor([501.0, 7.0], dtype=torch.float64, requires_grad=True)):
        assert class_groups(counts)["tail"].tolist() == [1]
    with pytest.raises(
        ValueError, match=r"^train_counts: expected .* in CPU memory, got one on cuda:3; pass train_counts\.cpu\(\)$"
    ):
        class_groups(offering_cuda(shape=(3,)))


# Elements


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_elements_are_read_as_python_numbers(device, dtype):
    values = np.array([[0, 1, 2], [3, 100, 1]]).astype(dtype)
    array = on_device(values[:, ::-1], device)  # the core does not keep it
    core = borrow("a", array).core
    for device in np.ndindex(2, 3):
        element = core.item(device)
        assert element == values[:, ::-1][device].item()
        assert type(element) is type(values[device].item())
    for outside in ((2, 0), (0, 3), (-1, 0), (0,), (0, 0, 0)):
        with pytest.raises(IndexError):
            core.item(outside)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_elements_of_64_bits_are_exact(device, dtype):
    values = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max])
    array = on_device(values, device)
    core = borrow("a", array).core
    assert [core.item((i,)) for i in range(2)] == values.tolist()


def test_tensors_are_filled_from_numpy_arrays(device):
    values = np.arange(12.0).reshape(3, 4)
    array = on_device(np.zeros((3, 4)), device)
    borrow("a", array).core.assign(values)
    assert_same_bits(to_host(array), values)
    strided = borrow("a", on_device(np.zeros((3, 8))[:, ::2], device)).core
    for core, wrong in ((borrow("a", array).core, values[:2]), (borrow("a", array).core, values.T), (strided, values)):
        with pytest.raises(ValueError, match="as many bytes"):
            core.assign(wrong)


@pytest.mark.parametrize("address", [1, 2])
def test_the_core_refuses_unaligned_device_elements(address):
    """A kernel that reads one leaves the process without a usable CUDA context."""
    with pytest.raises(ValueError, match="aligned"):
        _core.Tensor(ADDRESS + address, (3,), (4,), arrays._CODES["float32"], 0, 1)
    _core.Tensor(ADDRESS + address, (3,), (4,), arrays._CODES["float32"], -1, 0)


# Device memory that vltr allocates


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_device_arrays_on_cuda_offer_every_protocol(cuda, dtype):
    code = arrays._CODES[dtype.name]
    array = _core.DeviceArray((2, 3, 4), code, 0, LEGACY_STREAM)
    values = np.arange(24).astype(dtype).reshape(2, 3, 4)
    by_interface = borrow("a", array)
    assert (by_interface.shape, by_interface.dtype, by_interface.owner) == ((2, 3, 4), dtype.name, array)
    by_interface.core.assign(values)
    assert_same_bits(array.to_numpy(), values)
    assert array.__dlpack_device__() == (2, 0)
    by_dlpack = borrow("a", offering_dlpack(array))
    for field in ("address", "shape", "strides", "dtype", "device"):
        assert getattr(by_dlpack, field) == getattr(by_interface, field)
    assert by_dlpack.address == array.address


@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 1)])
def test_device_arrays_on_cuda_live_as_long_as_their_borrowers(cuda, version):
    array = _core.DeviceArray((4,), arrays._CODES["float32"], 0, LEGACY_STREAM)
    borrow("a", array).core.assign(np.float32([1, 2, 3, 4]))
    capsule = array.__dlpack__(max_version=version)
    assert ("dltensor_versioned" if version and version[0] >= 1 else '"dltensor"') in repr(capsule)
    address, shape, strides, _, owner, _, _ = _core.from_dlpack(capsule)
    unused = array.__dlpack__()
    del array, capsule, unused
    gc.collect()
    kept = _core.Tensor(address, shape, strides, arrays._CODES["float32"], 0, LEGACY_STREAM)
    assert [kept.item((i,)) for i in range(4)] == [1, 2, 3, 4]
    del owner


def test_device_arrays_on_cuda_follow_the_stream_rules_of_producers(cuda):
    array = _core.DeviceArray((4,), arrays._CODES["float32"], 0, LEGACY_STREAM)
    for stream in (None, -1, LEGACY_STREAM, THREAD_STREAM):
        array.__dlpack__(stream=stream)
    for stream in (0, -2):
        with pytest.raises(ValueError, match=rf"^stream: expected None, -1, 1, 2 or a CUDA stream, got {stream}$"):
            array.__dlpack__(stream=stream)
    for refused in ({"copy": True}, {"dl_device": (1, 0)}, {"dl_device": (2, 1)}):
        with pytest.raises(BufferError):
            array.__dlpack__(**refused)
    array.__dlpack__(copy=False, dl_device=(2, 0))
    own = _core.DeviceArray((4,), arrays._CODES["float32"], 0, THREAD_STREAM)
    assert own.__cuda_array_interface__["stream"] == THREAD_STREAM


@pytest.mark.parametrize("shape", [(0,), (3, 0), ()])
def test_device_arrays_on_cuda_may_be_empty_or_single(cuda, shape):
    array = _core.DeviceArray(shape, arrays._CODES["float64"], 0, LEGACY_STREAM)
    assert array.to_numpy().shape == array.shape == shape
    assert borrow("a", array).shape == shape


def test_too_much_device_memory_on_cuda_is_a_memory_error_and_the_process_continues(cuda):
    with pytest.raises(MemoryError, match=f"expected {2**52:,} bytes on cuda:0"):
        _core.DeviceArray((2**49,), arrays._CODES["float64"], 0, LEGACY_STREAM)
    with pytest.raises(ValueError, match=r"2\^63 bytes"):
        _core.DeviceArray((2**40, 2**40), arrays._CODES["float64"], 0, LEGACY_STREAM)
    assert _core.DeviceArray((8,), arrays._CODES["float64"], 0, LEGACY_STREAM).to_numpy().shape == (8,)


# On a device


@pytest.mark.parametrize("stream", [None, LEGACY_STREAM, THREAD_STREAM])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray, lambda a: a[::-1, ::2], lambda a: a[2:2]])
def test_arrays_on_cuda_keep_every_bit(cuda, layout, stream):
    values = layout(np.arange(48, dtype=np.float32).reshape(6, 8))
    array = CudaArray(values, stream=stream)
    borrowed = borrow("a", array)
    assert (borrowed.shape, borrowed.device) == (values.shape, Device(0, stream or LEGACY_STREAM))
    assert_same_bits(array.to_numpy(), values)
    assert_same_bits(
        np.array(
            [[borrowed.core.item((i, j)) for j in range(values.shape[1])] for i in range(len(values))], np.float32
        ).reshape(values.shape),
        values,
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.bool])
def test_torch_tensors_on_cuda_are_borrowed_without_a_copy(cuda, dtype):
    values = torch.tensor([[0.0, 1, 2], [3, 4, 5]]).to(dtype)
    tensor = torch_on_device(values, cuda)[:, ::2]
    borrowed = borrow("a", tensor)
    assert (borrowed.device.index, borrowed.address) == (0, tensor.data_ptr())
    assert [borrowed.core.item((1, j)) for j in range(2)] == values[1, ::2].tolist()
    made = empty_like(borrowed, (2, 2), "float64")
    assert borrow("a", made).device.index == 0
    borrow("a", made).core.assign(np.eye(2))
    assert_same_bits(to_host(made), np.eye(2))


def test_streams_on_cuda_wait_for_each_other(cuda):
    _core.wait_for(0, THREAD_STREAM, LEGACY_STREAM)
    device = common_device(
        a=borrow("a", CudaArray(np.zeros(3), stream=THREAD_STREAM)), b=borrow("b", CudaArray(np.zeros(3)))
    )
    assert device == Device(0, THREAD_STREAM)


def test_events_on_cuda_complete(cuda):
    event = _core.Event(0, LEGACY_STREAM)
    _core.DeviceArray((1,), arrays._CODES["float32"], 0, LEGACY_STREAM).to_numpy()
    assert event.done()


@pytest.mark.skipif(EMULATED, reason="the emulator's device memory is host memory")
def test_host_memory_is_no_device_memory_on_cuda(cuda):
    with pytest.raises(ValueError, match=r"^scores: expected the address of device memory, got "):
        borrow("scores", Offers(__cuda_array_interface__=dict(np.zeros(3).__array_interface__, version=3, stream=None)))
