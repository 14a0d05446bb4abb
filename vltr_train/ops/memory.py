"""Memory of large tensors that is used again in the next step.

A C library gives memory of many megabytes back to the system at once, and its next use costs a page fault for every 4
KiB: writing 512 MiB into new memory took nine times as long as into memory that was used before.
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


class Memory:
    """Gives out new tensors, of memory of earlier ones that nobody holds any more.

    The memory is given back when a tensor and all its views are gone, by themselves. Copies of a module that has a
    memory start with an empty one. On devices torch keeps memory itself.
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []

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

    def _block(self, size: int) -> np.ndarray:
        # Lists pop and append in one step, so that a block which another thread gives back is not lost.
        blocks = []
        while self._free:
            blocks.append(self._free.pop())
        enough = [block for block in blocks if len(block) >= size]
        if enough:
            found = min(enough, key=len)
            self._free.extend(block for block in blocks if block is not found)
        else:
            found = np.empty(size, np.uint8)  # in place of those that were too small
        lent = found[:size]
        weakref.finalize(lent, self._free.append, found).atexit = False
        return lent

    def __deepcopy__(self, _copied: dict[int, Any]) -> Memory:
        return Memory()

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return Memory, ()
