"""Memory of large tensors that is used again in the next step.

A C library gives memory of many megabytes back to the system at once, and its next use costs a page fault for every 4
KiB, beside the write itself.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Memory"]

_LEAST = 2**20  # bytes; smaller blocks are kept by the C library itself
_WASTE = 2  # the size of a block over that of the tensor it is lent to, at most
_IDLE_TAKES = 32  # after which an unused block is freed: those of several steps


class Memory:
    """Gives out new tensors, of memory of earlier ones that nobody holds any more.

    The memory is given back when a tensor and all its views are gone, by themselves. Copies of a module that has a
    memory start with an empty one. On devices torch keeps memory itself.

    A tensor gets a block of at most twice its size. A block that 32 tensors in a row did not need is freed.
    """

    def __init__(self) -> None:
        self._free: list[tuple[int, np.ndarray]] = []  # the number of tensors at its return, and the block
        self._taken = 0

    def take(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return an unfilled tensor of a shape, in C order, of the dtype and on the device of ``like``.

        Example:
            >>> memory = Memory()
            >>> memory.take((512, 1024), torch.zeros(1)).shape
            torch.Size([512, 1024])
        """
        count = math.prod(shape)
        if like.device.type != "cpu" or count * like.element_size() < _LEAST:
            return like.new_empty(shape)
        return torch.from_numpy(self._block(count * like.element_size())).view(like.dtype).view(shape)

    def clear(self) -> None:
        """Free the blocks that nobody holds."""
        self._free.clear()

    def _block(self, size: int) -> np.ndarray:
        self._taken += 1
        # Lists pop and append in one step, so that a block which another thread gives back is not lost.
        blocks = []
        while self._free:
            blocks.append(self._free.pop())
        fitting = [block for _, block in blocks if size <= len(block) <= _WASTE * size]
        found = min(fitting, key=len) if fitting else None
        oldest = self._taken - _IDLE_TAKES
        self._free.extend(entry for entry in blocks if entry[1] is not found and entry[0] >= oldest)
        if found is None:
            found = np.empty(size, np.uint8)
        lent = found[:size]
        weakref.finalize(lent, self._give_back, found).atexit = False
        return lent

    def _give_back(self, block: np.ndarray) -> None:
        self._free.append((self._taken, block))

    def __deepcopy__(self, _copied: dict[int, Any]) -> Memory:
        return Memory()

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return Memory, ()
