"""Arrays of any library as addresses, strides and dtype codes for the core. No other module knows array types.

Nothing is copied, moved or synchronised. An array that cannot be borrowed as it is raises an error that names the fix.
The memory of an array decides between CPU and CUDA. `_check_memory` checks every address from outside before its use,
with the shape, the strides and, if the library gives it, the memory that the array is a view of.

On a device, a call works on the stream of its first array, and joins the streams of the others (`common_device`). The
caller keeps nothing alive for the device after a call. A result of numbers has waited for its kernels. If kernels may
still run when a call returns, `release_inputs_after_launch` makes it safe to free or overwrite their inputs. Allocators
of device memory (torch's and cupy's pools, cudaFreeAsync) reuse memory in the order of the stream it was taken on, so
its next owner's kernels come after ours, and other streams are made to wait for us.
Arrays of libraries that may free them in no such order (jax) are kept here until the device is done with them.

The caller owns its streams. Positives and rank tables on a device move to a stream of ours. An array that we make there
(`empty_like`) and a RunningAP stay on the stream they were made on, which must live as long as they do.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np

from vltr_eval._base import _core

__all__ = [
    "CPU",
    "MAX_ROWS",
    "Array",
    "Device",
    "Matrix",
    "as_columns",
    "borrow",
    "borrow_matrix",
    "check_device",
    "check_from_zero",
    "common_device",
    "copy_rows",
    "cuda_is_usable",
    "empty_bits",
    "empty_like",
    "num_threads",
    "of_bits",
    "read_numbers",
    "release_inputs_after_launch",
    "to_host",
]

_CODES = {name: code for code, name in enumerate(_core.DTYPES)}
# Native dtypes of numpy. numpy makes a dtype's name anew each time, which takes longer than a small evaluation.
_NAMES = {np.dtype(name): name for name in _CODES if name != "bfloat16"}
MAX_ROWS = 2**32 - 1  # of one call; row numbers are uint32
_END_OF_MEMORY = 2**63  # addresses and sizes are below it
_LEGACY_STREAM = 1  # CUDA's default stream, which is in order with every other one that was not made to be apart

_ALLOCATE_IN_ORDER = ("torch", "cupy")

# Events after which kernels read no more, each with the owners of memory that must live until then.
_in_use: deque[tuple[Any, list[Any]]] = deque()

# Device types of DLPack; page-locked host memory is host memory, managed memory is a device's.
_DLPACK_HOST, _DLPACK_CUDA = (1, 3), (2, 13)


@dataclass(frozen=True)
class Device:
    """CPU memory (``index`` None) or a CUDA device, with the stream on which an array is ready."""

    index: int | None = None
    stream: int = 0

    def __str__(self) -> str:
        return "CPU memory" if self.index is None else f"cuda:{self.index}"

    @property
    def _preposition(self) -> str:
        return "in" if self.index is None else "on"


CPU = Device()


class _Borrowed:
    """An object that holds addresses: they mean nothing in another process, and a copy in this one would share them."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__}: expected what owns memory to be copied or pickled, got what borrows it"
        )

    @classmethod
    def _of(cls, **fields: Any) -> Any:
        """An instance with all of its fields; the constructor of a frozen dataclass takes a microsecond longer."""
        instance = object.__new__(cls)
        instance.__dict__.update(fields)
        return instance


@dataclass(frozen=True)
class Array(_Borrowed):
    """A borrowed array: address, shape, strides in bytes, dtype name, device; ``owner`` keeps the memory alive.

    block: address and bytes of the memory that the array is a view of, where its library tells them.
    """

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    owner: Any
    device: Device = CPU
    writable: bool = True
    block: tuple[int, int] | None = None

    @property
    def itemsize(self) -> int:
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.itemsize

    @property
    def is_aligned(self) -> bool:
        return not any(offset % self.itemsize for offset in (self.address, *self.strides))

    @property
    def core(self) -> Any:
        """The array as C++ operations on arrays of any rank take it."""
        index = -1 if self.device.index is None else self.device.index
        return _core.Tensor(self.address, self.shape, self.strides, _CODES[self.dtype], index, self.device.stream)

    def rows(self, start: int, stop: int) -> Array:
        """A view of some of the rows."""
        shape = (stop - start, *self.shape[1:])
        return replace(self, address=self.address + start * self.strides[0], shape=shape)

    def bits(self) -> np.ndarray:
        """A view of an array in CPU memory; one of bfloat16, which numpy does not have, is seen as uint16."""
        if self.device.index is not None:
            raise ValueError(f"bits: expected an array in CPU memory, got one on {self.device}")
        return np.asarray(
            SimpleNamespace(
                __array_interface__={
                    "shape": self.shape,
                    "typestr": np.dtype(_numpy_name(self.dtype)).str,
                    "data": (self.address, not self.writable),
                    "strides": self.strides,
                    "version": 3,
                },
                owner=self.owner,
            )
        )

    def to_numpy(self) -> np.ndarray:
        """A view of an array in CPU memory; of bfloat16 an exact copy in float32."""
        view = self.bits()
        return (view.astype(np.uint32) << 16).view(np.float32) if self.dtype == "bfloat16" else view


def _numpy_name(dtype: str) -> str:
    """The dtype as which numpy holds elements."""
    return "uint16" if dtype == "bfloat16" else dtype


def of_bits(bits: np.ndarray, dtype: str) -> Array:
    """An array in CPU memory from what `Array.bits` shows of it."""
    address, read_only = bits.__array_interface__["data"]
    return Array(address, bits.shape, bits.strides, dtype, bits, writable=not read_only)


def empty_bits(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Memory for an array, not yet filled, as `Array.bits` would show it."""
    return np.empty(shape, _numpy_name(dtype))


def _borrow_owner(array: np.ndarray, dtype: str) -> Array:
    """Borrow an array that owns its memory. numpy keeps its elements within it."""
    address = _core.address_of(array)
    borrowed: Array = Array._of(
        address=address,
        shape=array.shape,
        strides=array.strides,
        dtype=dtype,
        owner=array,
        device=CPU,
        writable=array.flags.writeable,
        block=(address, array.nbytes),
    )
    return borrowed


def _borrow_numpy(name: str, array: np.ndarray) -> Array:
    is_owner = type(array) is np.ndarray and array.base is None and array.flags.owndata
    if is_owner and (dtype := _NAMES.get(array.dtype)) is not None:
        return _borrow_owner(array, dtype)
    _check_complete(name, array)
    _check_byte_order(name, array.dtype, array)
    plain = np.asarray(array)  # subclasses may redefine every attribute
    address, read_only = plain.__array_interface__["data"]
    root = _root_of(name, array)
    block = None
    if root is not None:
        root = np.asarray(root)
        block = (root.__array_interface__["data"][0], root.nbytes)
    borrowed = Array(address, plain.shape, plain.strides, plain.dtype.name, plain, writable=not read_only, block=block)
    return _checked(name, borrowed, array)


def _root_of(name: str, array: np.ndarray) -> np.ndarray | None:
    """The array whose memory an array is a view of; None where numpy knows of none.

    Raises ValueError for a mapped file that has been cut: to read it would end the process.
    """
    while (base := array.base) is not None:
        if isinstance(base, mmap.mmap) and isinstance(array, np.memmap):
            needed, held = array.offset + array.nbytes, base.size()
            if held < needed:
                raise ValueError(
                    f"{name}: expected a mapped file of at least {needed} bytes, got {held}: it was cut after it was "
                    "opened; open it again"
                )
            return array
        if not isinstance(base, np.ndarray) and type(base).__name__ != "DummyArray":  # that of as_strided
            return None
        array = base
    return array if array.flags.owndata else None


def _check_byte_order(name: str, dtype: np.dtype, array: Any) -> None:
    if not dtype.isnative:
        values = name if hasattr(array, "astype") else f"np.asarray({name})"
        raise TypeError(
            f"{name}: expected native byte order, got {dtype.str}; pass {values}.astype({name}.dtype.newbyteorder())"
        )


def _check_complete(name: str, array: Any) -> None:
    """Raise ValueError where cells are missing: behind a mask, or as the null of pandas and pyarrow."""
    if type(array) is np.ndarray:
        return
    if isinstance(array, np.ndarray):
        missing = getattr(array, "mask", None) if array.dtype.names is None else None
    elif _library(array) == "pandas" and hasattr(array, "isna"):
        missing = array.isna()
    elif getattr(array, "null_count", 0) and hasattr(array, "is_null"):  # pyarrow
        missing = array.is_null()
    else:
        missing = (getattr(array, "__array_interface__", None) or {}).get("mask")
    if missing is None or not (missing := np.atleast_1d(np.asarray(missing, bool))).any():
        return
    cell = np.unravel_index(np.argmax(missing), missing.shape)
    first = ", ".join(f"{axis} {at}" for axis, at in zip(("row", "column"), cell, strict=False))
    raise ValueError(
        f"{name}: expected a number in every cell, got {np.count_nonzero(missing)} missing, the first at {first}; "
        "leave out the rows with missing cells, since any value in their place would count"
    )


def cuda_is_usable() -> bool:
    """Whether this build on this machine can work on CUDA arrays."""
    return _core.device_count() > 0


def _check_device(name: str, got: str) -> None:
    """Raise where this build on this machine cannot work on CUDA arrays."""
    if not cuda_is_usable():
        raise ValueError(
            f"{name}: expected an array in CPU memory, got {got}; {_core.why_no_device()}, pass {name}.cpu()"
        )


def _borrow_torch(name: str, tensor: Any) -> Array:
    """A torch tensor, by its own methods: torch itself is never imported."""
    device = CPU
    if tensor.device.type == "cuda":
        _check_device(name, f"a tensor on {tensor.device}")
        torch = sys.modules["torch"]
        if torch.version.hip:  # AMD's devices have the same name there
            raise ValueError(f"{name}: expected an array on a CUDA device, got one on a ROCm device; pass {name}.cpu()")
        index = tensor.device.index
        # torch calls the legacy default stream 0.
        device = Device(index, torch.cuda.current_stream(index).cuda_stream or _LEGACY_STREAM)
    elif tensor.device.type != "cpu":
        raise ValueError(f"{name}: expected an array in CPU memory, got a tensor on {tensor.device}")
    if tensor.layout.__str__() != "torch.strided":
        raise TypeError(f"{name}: expected a dense tensor, got layout {tensor.layout}; pass {name}.to_dense()")
    if tensor.is_neg():
        raise TypeError(f"{name}: expected a tensor in memory, got a lazy negation; pass {name}.resolve_neg()")
    tensor = tensor.detach()
    dtype = str(tensor.dtype).removeprefix("torch.")
    itemsize = tensor.element_size()
    # The stride of an axis of one element says nothing, and may be any number.
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    strides = tuple(stride * itemsize if size > 1 else itemsize for size, stride in sizes)
    try:
        storage = tensor.untyped_storage()
        block = storage.data_ptr(), storage.nbytes()
    except RuntimeError:  # a wrapper of other tensors, which holds no memory
        block = 0, 0
    # A view of a tensor without memory has an address: the offset of its first element.
    address = tensor.data_ptr() if block[0] else 0
    return Array(address, tuple(tensor.shape), strides, dtype, tensor, device, block=block)


def _borrow_cuda(name: str, array: Any, interface: dict[str, Any]) -> Array:
    """An array that offers ``__cuda_array_interface__``: cupy's, numba's, our own."""
    _check_device(name, "one on a CUDA device")
    version = interface.get("version")
    if version not in (2, 3):
        raise TypeError(f"{name}: expected __cuda_array_interface__ of version 2 or 3, got {version}")
    if interface.get("mask") is not None:
        raise TypeError(f"{name}: expected an array without a mask, got a masked one")
    shape, typestr, (address, read_only) = tuple(interface["shape"]), interface["typestr"], interface["data"]
    if typestr == "<V2" and str(getattr(array, "dtype", "")).endswith("bfloat16"):  # numpy has no letter for it
        dtype, itemsize = "bfloat16", 2
    else:
        numpy_dtype = np.dtype(typestr)
        _check_byte_order(name, numpy_dtype, array)
        dtype, itemsize = numpy_dtype.name, numpy_dtype.itemsize
    strides = interface.get("strides")
    if strides is None:
        strides = [math.prod(shape[axis + 1 :]) * itemsize for axis in range(len(shape))]
    # No stream: nothing to wait for. The protocol forbids 0, which could be either of two streams.
    stream = interface.get("stream")
    if stream == 0:
        raise ValueError(f"{name}: expected a stream of None, 1, 2 or a handle in __cuda_array_interface__, got 0")
    index = _device_of(name, address) if address else 0  # that of an array without an address matters to nobody
    device = Device(index, stream or _LEGACY_STREAM)
    return Array(address or 0, shape, tuple(strides), dtype, array, device, not read_only)


def _device_of(name: str, address: int) -> int:
    """The CUDA device of an address. Raises ValueError for one of other memory."""
    try:
        return _core.device_of(address)
    except RuntimeError as error:
        raise ValueError(f"{name}: expected the address of device memory, got {address:#x} ({error})") from None


def _borrow_dlpack(name: str, array: Any) -> Array:
    kind, index = map(int, array.__dlpack_device__())
    device, stream = CPU, {}
    if kind in _DLPACK_CUDA:
        _check_device(name, "one on a CUDA device")
        device, stream = Device(index, _LEGACY_STREAM), {"stream": _LEGACY_STREAM}
    elif kind not in _DLPACK_HOST:
        raise ValueError(
            f"{name}: expected an array in CPU memory or on a CUDA device, got one on DLPack's device type {kind}"
        )
    try:
        capsule = array.__dlpack__(**stream, max_version=(1, 0))
    except TypeError:  # a producer from before version 1
        capsule = array.__dlpack__(**stream)
    address, shape, strides, dtype, owner, writable, found = _core.from_dlpack(capsule)
    if not (found[0] in _DLPACK_HOST if device is CPU else found[0] in _DLPACK_CUDA and found[1] == index):
        raise BufferError(f"expected memory of DLPack's device {kind}, {index}, got that of {found[0]}, {found[1]}")
    if device is not CPU and address and (actual := _device_of(name, address)) != device.index:
        raise BufferError(f"expected memory of {device}, got that of cuda:{actual}")
    return Array(address, shape, strides, dtype, owner, device, writable)


def _borrow_list(name: str, values: list[Any] | tuple[Any, ...]) -> Array:
    try:
        array = np.array(values)
    except ValueError:
        raise ValueError(f"{name}: expected rows of equal length, got a ragged list") from None
    return _borrow_numpy(name, array)


def _borrow_offered(name: str, array: Any, borrow_by: Callable[[str, Any], Array]) -> Array:
    """Borrow an array through a protocol of its library. Errors name the argument."""
    try:
        return borrow_by(name, array)
    except Exception as error:
        if isinstance(error, MemoryError) or str(error).startswith(f"{name}: "):
            raise
        dtype = str(getattr(array, "dtype", "float32")).removeprefix("torch.")
        if dtype not in _CODES:
            raise _dtype_error(name, dtype) from None
        reason = " ".join((str(error) or type(error).__name__).split()).rstrip(".")
        how = f"; pass {_READ_BY[_library(array)].format(name)}" if _library(array) in _READ_BY else ""
        raise TypeError(
            f"{name}: expected an array that can be borrowed, got {type(array).__name__} that says: {reason}{how}"
        ) from None


def _dtype_error(name: str, dtype: str) -> TypeError:
    wider = next((wide for kind, wide in _WIDER.items() if dtype.startswith(kind)), None)
    how = f"; pass {name}.astype('{wider}')" if wider else ""
    return TypeError(f"{name}: expected a bool, integer or float dtype of at most 64 bits, got {dtype}{how}")


# Dtypes that hold every number of the small ones of jax and ml_dtypes: int4, float8_e4m3fn and their kin.
_WIDER = {"int2": "int8", "int4": "int8", "uint2": "uint8", "uint4": "uint8", "float8": "float32", "float4": "float32"}


# How libraries whose np.asarray would copy, or drop a mask, give what can be borrowed.
_READ_BY = {
    "netCDF4": "{}[...]",
    "h5py": "{}[...]",
    "zarr": "{}[...]",
    "tables": "{}[...]",
    "pandas": "{}.to_numpy()",
    "polars": "{}.to_numpy()",
    "pyarrow": "{}.to_numpy()",
    "xarray": "{}.to_numpy()",
    "jaxlib": "np.asarray({})",  # of several devices
}

# Methods that make ordinary tensors of tensors without memory: DTensor, AsyncCollectiveTensor, MaskedTensor.
_MADE_ORDINARY_BY = {
    "full_tensor": "pass {}.full_tensor()",
    "wait": "pass {}.wait()",
    "get_mask": "pass {0}.get_data() if all of {0}.get_mask() is True, else leave out the masked rows",
}


def _checked(name: str, borrowed: Array, array: Any) -> Array:
    """The borrowed array, if the core can read it. array: the array it was borrowed from."""
    if borrowed.dtype not in _CODES:
        raise _dtype_error(name, str(getattr(array, "dtype", borrowed.dtype)).removeprefix("torch."))
    _check_memory(name, borrowed)
    if borrowed.device is not CPU and not borrowed.is_aligned:
        raise ValueError(f"{name}: expected aligned elements on a device, got an address or strides between them")
    return borrowed


def _check_memory(name: str, array: Array) -> None:
    """Raise if the elements cannot be at the stated address. Reads no element."""
    shape, strides = array.shape, array.strides
    if len(shape) != len(strides) or any(extent < 0 for extent in shape):
        raise TypeError(f"{name}: expected a shape and strides of its axes, got {shape} and {strides}")
    if 0 in shape:
        return
    if not array.address:
        remedies = (remedy.format(name) for by, remedy in _MADE_ORDINARY_BY.items() if hasattr(array.owner, by))
        remedy = next(remedies, "pass one that holds numbers, outside of tracing and transforms")
        raise TypeError(
            f"{name}: expected an array with memory, got {type(array.owner).__name__} of {shape} without any; {remedy}"
        )
    reach = [(extent - 1) * stride for extent, stride in zip(shape, strides, strict=True)]
    first = array.address + sum(offset for offset in reach if offset < 0)
    last = array.address + sum(offset for offset in reach if offset > 0) + array.itemsize
    start, held = array.block or (1, _END_OF_MEMORY)
    if first < start or last > start + held or math.prod(shape) * array.itemsize >= _END_OF_MEMORY:
        raise ValueError(
            f"{name}: expected elements within its memory of {held} bytes, got bytes {first - start} to {last - start} "
            f"for shape {shape} and strides {strides}"
        )


def borrow(name: str, array: Any) -> Array:
    """Borrow an array of any library, in CPU memory or on a CUDA device.

    Taken are numpy arrays, torch tensors, whatever offers ``__cuda_array_interface__``, ``__array_interface__`` or
    DLPack, and lists of numbers. A masked array is its data if nothing is masked. Raises TypeError for what the core
    cannot read as it is, ValueError for a device of another kind, for missing cells and for elements outside of the
    array's memory.
    """
    if isinstance(array, np.ndarray):
        return _borrow_numpy(name, array)
    if isinstance(array, Array):
        return array
    if hasattr(array, "data_ptr") and hasattr(array, "is_neg"):  # torch's own, or a subclass of theirs
        borrowed = _borrow_offered(name, array, _borrow_torch)
    elif (interface := getattr(array, "__cuda_array_interface__", None)) is not None and (
        interface.get("stream") is not None or not hasattr(array, "__dlpack__")  # which would put it on our stream
    ):
        borrowed = _borrow_cuda(name, array, interface)
    elif hasattr(array, "__array_interface__"):
        _check_complete(name, array)
        borrowed = _borrow_offered(name, array, lambda name, array: _borrow_numpy(name, np.asarray(array)))
    elif hasattr(array, "__dlpack__"):
        _check_complete(name, array)
        borrowed = _borrow_offered(name, array, _borrow_dlpack)
    elif _is_path(array) or (isinstance(array, (list, tuple)) and _how_to_read(name, "") and _are_paths(array)):
        kind = type(array).__name__ if _is_path(array) else "paths"
        raise TypeError(f"{name}: expected an array, got {kind}{_how_to_read(name, 'path')}")
    elif isinstance(array, (list, tuple)):
        borrowed = _borrow_offered(name, array, _borrow_list)
    elif hasattr(array, "__array__"):
        _check_complete(name, array)
        how = f"; pass {_READ_BY.get(_library(array), 'np.asarray({})').format(name)}"
        if hasattr(array, "columns"):  # of a data frame, of which one may hold ids
            how = f"{_how_to_read(name, name)}{how.replace('; pass', ', or')} where all columns are classes"
        raise TypeError(
            f"{name}: expected an array that can be borrowed, got {type(array).__name__}, which would be copied{how}"
        )
    else:
        raise TypeError(f"{name}: expected an array, got {type(array).__name__}")
    return _checked(name, borrowed, array)


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


def _are_paths(values: list[Any] | tuple[Any, ...]) -> bool:
    return len(values) > 0 and all(map(_is_path, values))


def _how_to_read(name: str, value: str) -> str:
    """The end of a message: how the content of files or data frames is read, where there is a function for it."""
    role = name.partition("[")[0]
    return f"; pass vltr_eval.read_{role}({value}).values" if role in ("scores", "labels") else ""


def common_device(**arrays: Array | Matrix) -> Device:
    """Check that all arrays are on one device; return that device with the first array's stream.

    On a CUDA device, that stream then waits for the streams of the others. Empty arrays without an address are ignored.
    Raises ValueError for arrays on different devices.
    """
    located = {name: array for name, array in arrays.items() if getattr(array, "address", 1)} or arrays
    (first, device), *others = ((name, array.device) for name, array in located.items())
    for name, _ in others:
        check_device(name, arrays[name], device, first)
    if device.index is not None:
        for stream in {other.stream for _, other in others} - {device.stream}:
            _core.wait_for(device.index, device.stream, stream)
    return device


def check_device(name: str, array: Array | Matrix, device: Device, first: str) -> None:
    """Raise ValueError for an array on another device than that of the array called ``first``."""
    if array.device.index != device.index:
        raise ValueError(
            f"{name}: expected an array {device._preposition} {device} as {first}, got one {array.device._preposition} "
            f"{array.device}; {_how_to_move(name, array, device)}"
        )


def release_inputs_after_launch(device: Device, *arrays: Array | Matrix) -> None:
    """Call this after launching asynchronous kernels; the caller may then overwrite or free the inputs at once.

    Other streams of the arrays wait for the kernels. Owners whose library may free memory in any order are kept until
    the kernels are done. Arrays on no device or on another one, the empty ones of `common_device`, are ignored.
    """
    if device.index is None:
        return
    _let_go_of_unused()
    beside = [array for array in arrays if array.device.index == device.index]
    for stream in {array.device.stream for array in beside} - {device.stream}:
        _core.wait_for(device.index, stream, device.stream)
    shards = [shard for array in beside for shard in (array.shards if isinstance(array, Matrix) else (array,))]
    owners = [shard.owner for shard in shards if _library(shard.owner) not in _ALLOCATE_IN_ORDER]
    if owners:
        _in_use.append((_core.Event(device.index, device.stream), owners))


def _let_go_of_unused() -> None:
    # Other threads do the same at the same time: each entry is in the hands of one of them, or in the queue.
    for _ in range(len(_in_use)):
        try:
            entry = _in_use.popleft()
        except IndexError:
            return
        if not entry[0].done():
            _in_use.append(entry)


def _how_to_move(name: str, array: Array | Matrix, device: Device) -> str:
    owner = array.owner if isinstance(array, Array) else array.shards[0].owner
    if device.index is None:
        return f"pass {name}.get()" if _library(owner) == "cupy" else f"pass {name}.cpu()"
    return f"pass {name}.to('{device}')" if hasattr(owner, "data_ptr") else "move one of them"


def _library(owner: Any) -> str:
    return type(owner).__module__.partition(".")[0]


def empty_like(array: Array, shape: tuple[int, ...], dtype: str) -> Any:
    """A new C-ordered array, not yet filled, in the library and on the device of a borrowed one.

    A library that cannot give memory to be filled, such as jax, gets a numpy array, or on a device a
    `_core.DeviceArray`, which offers itself by DLPack. Raises MemoryError, or torch's own error, where there is not as
    much memory.
    """
    if hasattr(array.owner, "new_empty"):
        return array.owner.new_empty(shape, dtype=getattr(sys.modules["torch"], dtype))
    if array.device.index is None:
        # numpy may not know bfloat16 by its name, but an array of it knows.
        same = isinstance(array.owner, np.ndarray) and dtype == array.dtype
        return np.empty(shape, array.owner.dtype if same else dtype)
    if _library(array.owner) == "cupy":
        cupy = sys.modules["cupy"]
        with cupy.cuda.Device(array.device.index):
            return cupy.empty(shape, array.owner.dtype if dtype == array.dtype else dtype)
    return _core.DeviceArray(shape, _CODES[dtype], array.device.index, array.device.stream)


def copy_rows(batch: Array, out: Array) -> None:
    """Copy (B, C) into a C-ordered array of the same shape and dtype on the same device; does not wait."""
    if batch.device.index is None:
        out.bits()[...] = batch.bits()
        return
    device = common_device(out=out, batch=batch)
    _core.copy_rows(batch.core, out.core)
    release_inputs_after_launch(device, batch)


def to_host(array: Array) -> Array:
    """An array in CPU memory: the array itself, or a copy once its device has got there. (B, C)"""
    if array.device.index is None:
        return array
    name = _numpy_name(array.dtype)
    copy = _core.DeviceArray(array.shape, _CODES[name], array.device.index, array.device.stream)
    copy_rows(replace(array, dtype=name), borrow("copy", copy))
    return of_bits(copy.to_numpy(), array.dtype)


def read_numbers(name: str, values: Any) -> np.ndarray:
    """Numbers in CPU memory as a numpy array: all that numpy makes one of, and arrays of any library, as `borrow`.

    The dtype is for the caller to check. Raises ValueError for an array on a device.
    """
    exchanged = any(hasattr(values, by) for by in ("data_ptr", "__cuda_array_interface__", "__dlpack__"))
    if isinstance(values, np.ndarray) or not exchanged:
        _check_complete(name, values)
        values = np.asanyarray(values)
        _check_complete(name, values)  # __array__ may give a mask, as that of netCDF4 does
        return np.asarray(values)
    array = borrow(name, values)
    if array.device.index is not None:
        raise ValueError(
            f"{name}: expected an array in CPU memory, got one on {array.device}; {_how_to_move(name, array, CPU)}"
        )
    return array.to_numpy()


def check_from_zero(name: str, numbers: np.ndarray) -> None:
    """Refuse numbers (C,) of classes of which one is negative, infinite or NaN, with the first of them."""
    legal = np.isfinite(numbers) & (numbers >= 0)
    if not legal.all():
        wrong = int(np.argmin(legal))
        raise ValueError(f"{name}: expected numbers from 0 up, got {numbers[wrong]} for class {wrong}")


def _shards(name: str, array: Any) -> list[Array]:
    """One array, or a list of row shards (a list of arrays; a list of numbers or of lists is an array itself)."""
    if isinstance(array, (list, tuple)) and array and all(len(getattr(part, "shape", ())) > 0 for part in array):
        # Columns of different lengths can only be shards of one class.
        is_doubtful = len({tuple(part.shape) for part in array}) == 1 and len(array[0].shape) == 1
        if is_doubtful and not isinstance(array[0], Array):
            raise ValueError(
                f"{name}: expected one matrix or (n, C) row shards of it, got a list of {len(array)} arrays of one "
                f"dimension; pass stack({name}) if each is a row, stack({name}, axis=1) if each is a class, or "
                f"concatenate({name}) if they are shards of one class"
            )
        return [borrow(f"{name}[{i}]", part) for i, part in enumerate(array)]
    return [borrow(name, array)]


@dataclass(frozen=True)
class Matrix(_Borrowed):
    """A borrowed (N, C) matrix of one or more row shards. ``core`` is what the C++ operations take."""

    shards: tuple[Array, ...]
    num_rows: int
    num_classes: int
    core: Any
    device: Device = CPU

    @property
    def dtype(self) -> str:
        return self.shards[0].dtype

    @property
    def nbytes(self) -> int:
        return sum(shard.nbytes for shard in self.shards)

    def select(self, runs: Iterable[tuple[int, int]]) -> Matrix:
        """A view of some runs of rows, (start, stop) each, in the order given. At least one row."""
        ends = np.cumsum([shard.shape[0] for shard in self.shards])
        pieces = []
        for start, stop in runs:
            k = int(np.searchsorted(ends, start, side="right"))
            while start < stop:
                first, end = int(ends[k]) - self.shards[k].shape[0], min(stop, int(ends[k]))
                pieces.append(self.shards[k].rows(start - first, end - first))
                start, k = end, k + 1
        return borrow_matrix("scores", pieces)

    def value(self, row: int, col: int) -> Any:
        """One element as a Python number, for messages."""
        for shard in self.shards:
            if row < shard.shape[0]:
                return shard.core.item((row, col)[: len(shard.shape)])
            row -= shard.shape[0]
        raise IndexError(row)


def as_columns(array: Array) -> Array:
    """A view of (N,) as (N, 1); (N, C) as it is."""
    if len(array.shape) == 2:
        return array
    return replace(array, shape=(*array.shape, 1), strides=(*array.strides, array.itemsize))


def borrow_matrix(name: str, array: Any) -> Matrix:
    """Borrow an (N, C) matrix, an (N,) column, or a list of row shards that agree in classes and dtype."""
    if isinstance(array, Matrix):
        return array
    shards = _shards(name, array)
    first = shards[0]
    num_rows = 0
    for i, shard in enumerate(shards):
        shape = shard.shape
        if len(shape) not in (1, 2):
            raise ValueError(f"{name}: expected an (N, C) matrix or an (N,) column, got shape {shape}")
        if i and (shape[1:] != first.shape[1:] or shard.dtype != first.dtype):
            expected = f"{first.shape[1]} classes" if len(first.shape) == 2 else "a column"
            got = shape[1] if len(shape) == 2 else "a column"
            raise ValueError(
                f"{name}[{i}]: expected {expected} of {first.dtype} as in {name}[0], got {got} of {shard.dtype}"
            )
        num_rows += shape[0]
    num_classes = first.shape[1] if len(first.shape) == 2 else 1
    if num_rows == 0 or num_classes == 0:
        raise ValueError(f"{name}: expected at least one row and one class, got shape ({num_rows}, {num_classes})")
    if num_rows > MAX_ROWS:
        raise ValueError(
            f"{name}: expected at most {MAX_ROWS} rows, got {num_rows}; evaluate shards and merge their rank tables"
        )
    device = first.device
    if len(shards) > 1:
        device = common_device(**{f"{name}[{i}]": shard for i, shard in enumerate(shards)})
    core: _core.Matrix | _core.CudaMatrix
    if device.index is None:
        core = _core.Matrix(_CODES[first.dtype], num_classes)
    else:
        core = _core.CudaMatrix(_CODES[first.dtype], num_classes, device.index, device.stream)
    for shard in shards:
        col_stride = shard.strides[1] if len(shard.shape) == 2 else shard.itemsize
        core.append(shard.address, shard.shape[0], shard.strides[0], col_stride)
    matrix: Matrix = Matrix._of(
        shards=tuple(shards), num_rows=num_rows, num_classes=num_classes, core=core, device=device
    )
    return matrix


def num_threads(threads: int | None = None) -> int:
    """Threads of a call: the argument, else VLTR_NUM_THREADS, else all cores this process may use.

    Where torchrun started several processes on the machine, each may use its share of the cores.
    """
    source = "threads"
    if threads is None:
        text = os.environ.get("VLTR_NUM_THREADS", "")
        if not text:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
            return max(1, cores // int(processes)) if processes.isdecimal() and processes != "0" else cores
        source = "VLTR_NUM_THREADS"
        try:
            threads = int(text)
        except ValueError:
            raise ValueError(f"{source}: expected a positive integer, got {text!r}") from None
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)):
        raise TypeError(f"{source}: expected a positive integer, got {threads!r}")
    if not 1 <= threads <= 4096:
        raise ValueError(f"{source}: expected an integer from 1 to 4096, got {threads}")
    return int(threads)
