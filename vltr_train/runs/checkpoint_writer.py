"""Writes checkpoints in a thread, while the training goes on.

A snapshot copies the state first, so that later steps do not change what is written. At most one snapshot exists: the
next one waits for it, and takes its memory.
"""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from vltr_train.runs.run_folder import RunFolder, check_plain

__all__ = ["CheckpointWriter"]


class CheckpointWriter:
    """The thread that writes the checkpoints of a run; used as a context manager.

    Leaving the context waits for the write under way, also after an error or Ctrl-C: what it holds is then not lost. A
    second Ctrl-C abandons it; the checkpoint before it stays. If a write fails after an error or Ctrl-C, a line on
    stderr says so, as the error of the training is the one that is raised.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._snapshot = _Snapshot()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._is_abandoned = False

    def save(self, **states: Mapping[str, Any]) -> None:
        """Copy the states and start to write them, in their order, each as a checkpoint of its name.

        Args:
            **states: As `RunFolder.save_checkpoint` takes them, by the name of the checkpoint. A tensor that is in
                several of them is copied once.

        Raises:
            OutputError: The write before this one failed.
            ValueError: A state holds anything but tensors and plain data.
        """
        for state in states.values():
            check_plain("state", dict(state))
        if not states:
            return
        self.wait()
        copies, is_copied = self._snapshot.take(states)
        self._thread = threading.Thread(
            target=self._write, args=(copies, is_copied), name="vltr-checkpoint", daemon=True
        )
        self._thread.start()

    def check(self) -> None:
        """Raise the error of a failed write. Does not wait."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def wait(self) -> None:
        """Wait until the last states are on the disk. Raise the error of a failed write."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, *_: object) -> None:
        raised = error
        while True:
            try:
                self.wait()
            except KeyboardInterrupt as interrupt:
                if isinstance(raised, KeyboardInterrupt):  # the second one
                    self._is_abandoned = True
                    self._folder.remove_unfinished()  # a file without a name cannot be put in place
                    raise
                raised = interrupt
                continue
            except Exception as failed:
                if raised is None:
                    raise
                sys.stderr.write(f"The last checkpoint was not saved: {failed}\n")
            break
        if raised is not None and raised is not error:
            raise raised

    def _write(self, states: Mapping[str, Mapping[str, Any]], is_copied: Callable[[], object]) -> None:
        try:
            is_copied()
            for name, state in states.items():
                if not self._is_abandoned:
                    self._folder.save_checkpoint(name, state)
        except BaseException as error:  # raised in the thread that trains
            self._error = error


class _Snapshot:
    """Copies of states in CPU memory, which the next snapshot takes over where shapes are equal.

    Tensors of a GPU are copied into page-locked memory by a stream of their own. Later work of the caller's stream
    waits for that copy, and the host does not.
    """

    def __init__(self) -> None:
        self._memory: dict[tuple[Any, ...], Tensor] = {}
        self._copied: dict[tuple[Any, ...], Tensor] = {}
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    def take(self, states: Mapping[str, Any]) -> tuple[dict[str, Any], Callable[[], object]]:
        """Return the copies, and a function that waits until they are made."""
        self._copied = {}
        used: set[torch.device] = set()
        copies = {name: self._copy(state, used) for name, state in states.items()}
        self._memory, self._copied = self._copied, {}
        events = [self._streams[device].record_event() for device in used]
        for device in used:
            torch.cuda.current_stream(device).wait_stream(self._streams[device])
        return copies, lambda: [event.synchronize() for event in events]

    def _copy(self, value: Any, used: set[torch.device]) -> Any:
        if isinstance(value, Tensor):
            return self._copy_tensor(value.detach(), used)
        if isinstance(value, dict):
            copied = copy.copy(value)  # with the versions of modules, an attribute of what state_dict() returns
            copied.update((key, self._copy(item, used)) for key, item in value.items())
            return copied
        if isinstance(value, (list, tuple)):
            return type(value)(self._copy(item, used) for item in value)
        return value

    def _copy_tensor(self, tensor: Tensor, used: set[torch.device]) -> Tensor:
        # Its memory identifies a tensor: state_dict() returns another object for it each time.
        form = (tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)
        key = (tensor.data_ptr(), *form)
        if key in self._copied:
            return self._copied[key]
        memory = self._memory.pop(key, None)
        is_cuda = tensor.device.type == "cuda"
        if memory is None:
            memory = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=is_cuda)
        self._copied[key] = memory
        if not is_cuda:
            return memory.copy_(tensor)
        if tensor.device not in self._streams:
            self._streams[tensor.device] = torch.cuda.Stream(tensor.device)
        stream = self._streams[tensor.device]
        if tensor.device not in used:
            stream.wait_stream(torch.cuda.current_stream(tensor.device))
            used.add(tensor.device)
        with torch.cuda.stream(stream):
            return memory.copy_(tensor, non_blocking=True)
