"""Stack frames with a fault planted in the handling of streams or lifetimes: python planted_streams.py FAULT.

Writes "right" or "wrong" for the result, if the process gets there. Its environment decides whether work is deferred.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from devices import CudaArray, to_host

from vltr_eval._base import _core
from vltr_train import frame_stack
from vltr_train.ops import frames


def forget_joins(_streams: list[int]) -> None:
    """The kernel waits for no stream but its own."""
    frames.common_device = lambda **arrays: next(iter(arrays.values())).device


def allocate_after_joins(streams: list[int]) -> None:
    """The kernel waits for the inputs, and not for the memory of the mixed labels, which the second stream gives."""
    for stream in streams[1:]:
        _core.wait_for(0, streams[0], stream)
    forget_joins(streams)


def forget_inputs(_streams: list[int]) -> None:
    """Nothing keeps the inputs while the kernel is queued."""
    frames.release_inputs_after_launch = lambda *_: None


FAULTS = {
    "none": lambda _streams: None,
    "forget_joins": forget_joins,
    "allocate_after_joins": allocate_after_joins,
    "forget_inputs": forget_inputs,
    "end_the_stream": lambda _streams: None,  # below
}


def main(fault: str) -> None:
    """Stack the frames of arrays that are each on a stream of their own and dropped at once."""
    rng = np.random.default_rng(2)
    clips, targets = rng.standard_normal((5, 7, 6)).astype(np.float32), rng.random((5, 9), np.float32)
    arrays = (clips, targets, rng.random(9, np.float32), rng.integers(0, 5, 5))
    expected = frame_stack(*arrays, 7)
    streams = [_core._emulator.make_stream() for _ in arrays]
    lent = [CudaArray(array, stream=stream) for array, stream in zip(arrays, streams, strict=True)]
    FAULTS[fault](streams)
    stacked = frame_stack(*lent, 7)
    del lent
    gc.collect()
    found = [to_host(array) for array in stacked]
    if fault == "end_the_stream":  # and then free the results in its order
        _core._emulator.destroy_stream(streams[0])
    del stacked
    gc.collect()
    _core._emulator.synchronize_device()
    is_right = all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True))
    sys.stdout.write("right" if is_right else "wrong")


if __name__ == "__main__":
    main(sys.argv[1])
