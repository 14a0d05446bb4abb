"""The devices that a test run covers, and arrays on them.

Without a GPU the CUDA backend can be built for an emulator, which runs the kernels' source on the CPU. The emulator's
device memory is host memory. `CudaArray` copies any numpy array to either kind of device and keeps its strides.

In the emulator's deferred mode (VLTR_EMULATOR_DEFER) arrays are as unfriendly as CUDA allows. `CudaArray` is filled by
work on its stream, and its memory is freed when it is deleted, with no wait for work of other streams. The memory of
emulated tensors is freed in the order of torch's stream, which is one that the default streams are not in order with.
"""

from __future__ import annotations

import functools
import math
import os
import sys
from types import SimpleNamespace

import numpy as np

import vltr_eval
from vltr_eval._base import _core

DEVICES = ["cpu", "cuda"] if _core.device_count() else ["cpu"]
EMULATED = "emulated" in vltr_eval.build_info()["cuda"].lower()
BYTE = _core.DTYPES.index("uint8")

# Streams that exist on every device: the legacy default stream and the per-thread one.
LEGACY_STREAM, THREAD_STREAM = 1, 2


def describe_devices() -> str:
    """Return a line on the devices, for the header of a run."""
    if "cuda" not in DEVICES:
        return f"CUDA: NOT TESTED ({_core.why_no_device()})"
    if EMULATED:
        return (
            "CUDA: emulated on the CPU; NOT TESTED: a GPU, gradcheck on a device, host addresses offered as its memory"
        )
    import torch

    return f"CUDA: {torch.cuda.get_device_name()}"


class CudaArray:
    """An array in device memory that offers ``__cuda_array_interface__`` and nothing else.

    It has the values, strides and alignment of a numpy array. stream: the entry of the interface (None: left out).
    version: 2 or 3.
    """

    def __init__(self, array: np.ndarray, *, stream: int | None = None, version: int = 3, read_only: bool = False):
        self.shape, self.strides, self.dtype = array.shape, array.strides, array.dtype
        self._low, bytes_spanned = _span(array)
        self._stream = stream or LEGACY_STREAM
        self._memory = _to_device(_bytes_at(_address(array) + self._low, bytes_spanned), self._stream)
        if EMULATED and stream is None:  # such an array is ready
            _core._emulator.synchronize(LEGACY_STREAM)
        address = _address(self._memory) - self._low if array.size else 0
        self.__cuda_array_interface__ = {
            "shape": self.shape,
            "typestr": "<V2" if self.dtype.name == "bfloat16" else self.dtype.str,
            "data": (address, read_only),
            "strides": None if array.flags.c_contiguous else self.strides,
            "version": version,
        }
        if stream is not None:
            self.__cuda_array_interface__["stream"] = stream

    def to_numpy(self) -> np.ndarray:
        if EMULATED:
            _core._emulator.synchronize(self._stream)
        memory = self._memory.view() if EMULATED else self._memory.cpu().numpy()
        view = np.ndarray(self.shape, self.dtype, memory.data if memory.size else None, -self._low, self.strides)
        return view.copy()


def _span(array: np.ndarray) -> tuple[int, int]:
    """Return the start of an array's memory, as an offset from its first element, and its size in bytes."""
    if not array.size:
        return 0, 0
    reach = [(extent - 1) * stride for extent, stride in zip(array.shape, array.strides, strict=True)]
    low, high = sum(min(0, r) for r in reach), sum(max(0, r) for r in reach)
    return low, high - low + array.itemsize


def _bytes_at(address: int, count: int) -> np.ndarray:
    interface = {"shape": (count,), "typestr": "|u1", "data": (address or 1, True), "version": 3}
    return np.asarray(SimpleNamespace(__array_interface__=interface)) if count else np.empty(0, np.uint8)


def _address(array) -> int:
    if isinstance(array, _EmulatedMemory):
        return array.address
    return array.__array_interface__["data"][0] if isinstance(array, np.ndarray) else array.data_ptr()


class _EmulatedMemory:
    """Device memory of the emulator. It is allocated and freed in the order of a stream."""

    def __init__(self, size: int, stream: int, alignment: int = 0):
        self._filled = None
        self._room = _core.DeviceArray((size + 32,), BYTE, 0, stream)
        self.address, self.size = self._room.address + (alignment - self._room.address) % 16, size

    def view(self) -> np.ndarray:
        """Return the bytes; the owner is kept."""
        interface = {"shape": (self.size,), "typestr": "|u1", "data": (self.address, False), "version": 3}
        return np.asarray(SimpleNamespace(__array_interface__=interface, owner=self))

    def fill(self, memory: np.ndarray, stream: int) -> None:
        """Copy bytes there, as work of a stream."""
        _core.Tensor(self.address, memory.shape, (1,), BYTE, 0, stream).assign(memory)
        self._filled = _core.Event(0, stream)

    def __del__(self):
        """Wait for the copy, as every library does before it frees memory, and for no later work of the stream."""
        while self._filled is not None and not self._filled.done():
            pass


@functools.cache
def _idle_stream() -> int:
    """Return a stream without work. Memory freed there is freed at once, as by a library that waits for nobody."""
    return _core._emulator.make_stream()


@functools.cache
def producer_streams() -> tuple[int, ...]:
    """Return streams on which arrays are made: the default streams, a stream beside them, and streams apart."""
    make = _core._emulator.make_stream
    return LEGACY_STREAM, THREAD_STREAM, make(blocking=True), make(), make()


def is_deferred() -> bool:
    """Return whether the emulator runs work only when something waits for it."""
    return EMULATED and bool(os.environ.get("VLTR_EMULATOR_DEFER"))


@functools.cache
def _stream_apart() -> int:
    return _core._emulator.make_stream()


def _torch_stream() -> int:
    """Return torch's current stream: in deferred mode as within `torch.cuda.stream`, else the legacy default stream."""
    return _stream_apart() if is_deferred() else LEGACY_STREAM


def _to_device(memory: np.ndarray, stream: int):
    """Return device memory with these bytes, filled on a stream, with the original's alignment to 16 bytes."""
    if EMULATED:
        there = _EmulatedMemory(memory.size, _idle_stream(), _address(memory) % 16)
        _core._emulator.synchronize(_idle_stream())  # any stream may use the memory
        there.fill(memory, stream)
        return there
    import torch

    start = _address(memory) % 16
    room = torch.empty(memory.size + 32, dtype=torch.uint8, device="cuda")  # at a multiple of 512
    part = room[start : start + memory.size]
    part.copy_(torch.from_numpy(memory.copy()))
    return part


def on_device(array, device: str):
    """Return the array itself for "cpu", and a copy in device memory for "cuda"."""
    return array if device == "cpu" else CudaArray(np.asarray(array))


def torch_on_device(tensor, device: str):
    """Return a torch tensor on the device; on the emulator, a tensor in its memory whose device is CUDA."""
    if device == "cpu" or not EMULATED:
        return tensor.to(device)
    if tensor.requires_grad:  # a copy would not be the leaf that gets the gradient
        return tensor.as_subclass(_emulated_tensor_type())
    storage = _emulated_storage(tensor.untyped_storage().nbytes())
    _core._emulator.synchronize(_torch_stream())
    storage.copy_(tensor.untyped_storage())
    moved = tensor.new_empty(0).set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())
    return moved.as_subclass(_emulated_tensor_type())


def _emulated_storage(size: int):
    """Return memory as torch's allocator gives it: freed in the order of torch's stream."""
    import torch

    return torch.from_numpy(_EmulatedMemory(size, _torch_stream()).view()).untyped_storage()


# Functions of torch that read no elements.
_OF_THE_SHAPE = {
    *("__get__", "as_subclass", "data_ptr", "detach", "dim", "element_size", "is_contiguous", "is_neg", "numel"),
    *("requires_grad_", "set_", "size", "stride", "storage_offset", "t", "untyped_storage", "view"),
}


@functools.cache
def _emulated_tensor_type():
    import torch

    class EmulatedTensor(torch.Tensor):
        """A tensor in CPU memory with the attributes of a CUDA tensor."""

        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            # The CPU stands for torch's stream: its work comes after all that was issued there.
            if function.__name__ not in _OF_THE_SHAPE:
                _core._emulator.synchronize(_torch_stream())
            return super().__torch_function__(function, types, args, kwargs or {})

        @property
        def device(self):
            return torch.device("cuda", 0)

        def __deepcopy__(self, memo):
            return self.clone()

        def new_empty(self, shape, dtype=None):
            made, shape = torch.empty(0, dtype=dtype or self.dtype), np.atleast_1d(shape).tolist()
            room = _emulated_storage(made.element_size() * math.prod(shape))
            return made.set_(room, 0, shape).as_subclass(EmulatedTensor)

    # A CPU build of torch has no streams; 0 is torch's name of the legacy default stream.
    torch.cuda.current_stream = lambda device=None: SimpleNamespace(cuda_stream=_torch_stream() if is_deferred() else 0)
    return EmulatedTensor


def to_host(array) -> np.ndarray:
    """Return the values of an array on any device as a numpy array."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "to_numpy"):
        return array.to_numpy()
    torch = sys.modules["torch"]
    tensor = array.detach().cpu().as_subclass(torch.Tensor)
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()
