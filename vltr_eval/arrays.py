"""The one place that knows array types: makes addresses, strides and dtype codes for the core of any library's arrays.

Nothing is copied and nothing is moved: what cannot be borrowed as it is, is an error that names the fix. CPU or CUDA is
decided here, from where an array lives.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltr_eval import _core

__all__ = ["Array", "Matrix", "borrow", "borrow_matrix", "num_threads"]

# Codes of DType in csrc/core/element.hpp, in its order.
_CODES = {
    name: code
    for code, name in enumerate(
        [
            "bool",
            "uint8",
            "int8",
            "uint16",
            "int16",
            "uint32",
            "int32",
            "uint64",
            "int64",
            "float16",
            "bfloat16",
            "float32",
            "float64",
        ]
    )
}
_MAX_ROWS = 2**32 - 1


@dataclass(frozen=True)
class Array:
    """A borrowed array: address, shape, strides in bytes, dtype name; ``owner`` keeps the memory alive."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    owner: Any

    @property
    def itemsize(self) -> int:
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.itemsize


def _borrow_torch(name: str, tensor: Any) -> Array:
    """A torch tensor, by its own methods: torch itself is never imported."""
    if tensor.device.type != "cpu":
        raise ValueError(
            f"{name}: expected an array in CPU memory, got a tensor on {tensor.device}; this build has no CUDA "
            f"kernels, pass {name}.cpu()"
        )
    if tensor.layout.__str__() != "torch.strided":
        raise TypeError(f"{name}: expected a dense tensor, got layout {tensor.layout}; pass {name}.to_dense()")
    if tensor.is_neg():
        raise TypeError(f"{name}: expected a tensor in memory, got a lazy negation; pass {name}.resolve_neg()")
    tensor = tensor.detach()
    dtype = str(tensor.dtype).removeprefix("torch.")
    itemsize = tensor.element_size()
    strides = tuple(stride * itemsize for stride in tensor.stride())
    return Array(tensor.data_ptr(), tuple(tensor.shape), strides, dtype, tensor)


def _to_numpy(name: str, array: Any) -> np.ndarray:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected an array without a mask, got a masked one; pass {name}.filled(value)")
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "__cuda_array_interface__"):
        raise ValueError(
            f"{name}: expected an array in CPU memory, got one on a CUDA device; this build has no CUDA kernels"
        )
    if hasattr(array, "__array_interface__"):
        return np.asarray(array)
    if hasattr(array, "__dlpack__"):
        return np.from_dlpack(array)
    if isinstance(array, (list, tuple)):
        try:
            return np.array(array)
        except ValueError:
            raise ValueError(f"{name}: expected rows of equal length, got a ragged list") from None
    if hasattr(array, "__array__"):
        raise TypeError(
            f"{name}: expected an array that can be borrowed, got {type(array).__name__}, which would be copied; "
            f"pass np.asarray({name})"
        )
    raise TypeError(f"{name}: expected an array, got {type(array).__name__}")


def borrow(name: str, array: Any) -> Array:
    """Borrows an array of any library. Raises TypeError for a dtype the core cannot compare, ValueError off the CPU."""
    if hasattr(array, "data_ptr") and hasattr(array, "is_neg"):  # torch's own, or a subclass of theirs
        borrowed = _borrow_torch(name, array)
    else:
        array = _to_numpy(name, array)
        if not array.dtype.isnative:
            raise TypeError(
                f"{name}: expected native byte order, got {array.dtype.str}; "
                f"pass {name}.astype({name}.dtype.newbyteorder())"
            )
        borrowed = Array(array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.name, array)
    if borrowed.dtype not in _CODES:
        raise TypeError(f"{name}: expected a bool, integer or float dtype of at most 64 bits, got {borrowed.dtype}")
    return borrowed


def _shards(name: str, array: Any) -> list[Array]:
    """One array, or a list of row shards (a list of arrays; a list of numbers or of lists is an array itself)."""
    if isinstance(array, (list, tuple)) and array and all(len(getattr(part, "shape", ())) > 0 for part in array):
        return [borrow(f"{name}[{i}]", part) for i, part in enumerate(array)]
    return [borrow(name, array)]


@dataclass(frozen=True)
class Matrix:
    """A borrowed (N, C) matrix of one or more row shards. ``core`` is what the C++ operations take."""

    shards: tuple[Array, ...]
    num_rows: int
    num_classes: int
    core: Any

    @property
    def dtype(self) -> str:
        return self.shards[0].dtype

    @property
    def nbytes(self) -> int:
        return sum(shard.nbytes for shard in self.shards)

    def value(self, row: int, col: int) -> Any:
        """One element as a Python number, for messages."""
        for shard in self.shards:
            if row < shard.shape[0]:
                element = shard.owner[row] if len(shard.shape) == 1 else shard.owner[row, col]
                return element.item()
            row -= shard.shape[0]
        raise IndexError(row)


def borrow_matrix(name: str, array: Any) -> Matrix:
    """Borrows an (N, C) matrix, an (N,) column, or a list of row shards that agree in classes and dtype."""
    shards = _shards(name, array)
    first = shards[0]
    for i, shard in enumerate(shards):
        if len(shard.shape) not in (1, 2):
            raise ValueError(f"{name}: expected an (N, C) matrix or an (N,) column, got shape {shard.shape}")
        if shard.shape[1:] != first.shape[1:] or shard.dtype != first.dtype:
            wanted = f"{first.shape[1]} classes" if len(first.shape) == 2 else "a column"
            got = shard.shape[1] if len(shard.shape) == 2 else "a column"
            raise ValueError(
                f"{name}[{i}]: expected {wanted} of {first.dtype} as in {name}[0], got {got} of {shard.dtype}"
            )
    num_classes = first.shape[1] if len(first.shape) == 2 else 1
    num_rows = sum(shard.shape[0] for shard in shards)
    if num_rows == 0 or num_classes == 0:
        raise ValueError(f"{name}: expected at least one row and one class, got shape ({num_rows}, {num_classes})")
    if num_rows > _MAX_ROWS:
        raise ValueError(
            f"{name}: expected at most {_MAX_ROWS} rows, got {num_rows}; evaluate shards and merge their rank tables"
        )
    core = _core.Matrix(_CODES[first.dtype], num_classes)
    for shard in shards:
        col_stride = shard.strides[1] if len(shard.shape) == 2 else shard.itemsize
        core.append(shard.address, shard.shape[0], shard.strides[0], col_stride)
    return Matrix(tuple(shards), num_rows, num_classes, core)


def num_threads(threads: int | None = None) -> int:
    """Threads of a call: the argument, else VLTR_NUM_THREADS, else all cores this process may use."""
    source = "threads"
    if threads is None:
        text = os.environ.get("VLTR_NUM_THREADS", "")
        if not text:
            return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
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
