"""Collectives of the ranks of a distributed run, which fail together.

All ranks call the same methods in the same order. A method takes a function that makes this rank's share, and calls it.
If the function raises on one rank, every rank raises an error with the reason; no rank waits for one that has gone.
Messages are few and small (`vltr_eval._engine.counting` has the protocol).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

__all__ = [
    "SINGLE_PROCESS",
    "Communicator",
    "RankFailure",
    "SingleProcess",
    "current_group",
    "end_launched",
    "launched_group",
    "propagate_errors",
]


class RankFailure(RuntimeError):
    """The error of another rank; the message names the rank and the error."""


class SingleProcess:
    """The communicator of a process that is alone."""

    rank = 0
    size = 1

    def all_to_all(self, make: Callable[[], Sequence[Any]]) -> list[Any]:
        """Send one message to each rank. Return the messages of all ranks to this one, in the order of ranks."""
        return list(make())

    def all_gather(self, make: Callable[[], Any]) -> list[Any]:
        """Send one message to all ranks. Return the messages of all ranks, in their order."""
        return [make()]

    def all_reduce(self, make: Callable[[], np.ndarray], most: int) -> np.ndarray:
        """Return the sums over all ranks, int64, of an array of whole numbers; the sums are at most ``most``."""
        return make()

    def barrier(self) -> None:
        """Wait until all ranks call this."""

    def abort(self, error: BaseException) -> None:
        """Send the error to the other ranks, which wait in another method. Does nothing once all have received one."""


SINGLE_PROCESS = SingleProcess()


class Communicator:
    """The communicator of a process group of torch.distributed, by gloo or nccl.

    group: as torch.distributed takes it; None is the default group of all ranks.
    """

    def __init__(self, group: Any = None) -> None:
        import torch
        import torch.distributed as dist

        self._torch, self._dist, self._group = torch, dist, group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        if self.rank < 0:
            raise ValueError("group: expected a process group with this process in it, got one without")
        # Messages are made in CPU memory, which gloo moves and nccl does not; a group may have both.
        self._over_gloo = None if "cpu" in dist.get_backend_config(group) else _over_gloo(group)
        self._has_failed = False  # and all ranks know it

    def all_to_all(self, make: Callable[[], Sequence[Any]]) -> list[Any]:
        return self._exchange(lambda: [pickle.dumps(message, protocol=5) for message in make()])

    def all_gather(self, make: Callable[[], Any]) -> list[Any]:
        return self._exchange(lambda: [pickle.dumps(make(), protocol=5)] * self.size)

    def all_reduce(self, make: Callable[[], np.ndarray], most: int) -> np.ndarray:
        # Not by torch's all_reduce: ranks wait for neighbours there, so only the neighbours of a killed rank notice.
        dtype = np.int32 if most < 2**31 else np.int64
        slices = self._all_to_all(lambda: [part.astype(dtype).tobytes() for part in np.array_split(make(), self.size)])
        local = functools.reduce(np.add, (np.frombuffer(part, dtype) for part in slices)).tobytes()
        sums = b"".join(self._all_to_all(lambda: [local] * self.size))
        return np.frombuffer(sums, dtype).astype(np.int64)

    def abort(self, error: BaseException) -> None:
        if self._has_failed:
            return

        def fail() -> list[bytes]:
            raise error

        try:
            self._all_to_all(fail)
        except BaseException as raised:
            if raised is not error and not isinstance(raised, RankFailure):
                raise

    def barrier(self) -> None:
        self._all_to_all(lambda: [b""] * self.size)

    def _exchange(self, make: Callable[[], list[bytes]]) -> list[Any]:
        messages = self._all_to_all(make)
        if not all(messages):
            self._has_failed = True
            raise RankFailure(f"rank {messages.index(b'')}: has left, and was expected to send a message")
        return [pickle.loads(message) for message in messages]

    def _all_to_all(self, make: Callable[[], list[bytes]]) -> list[bytes]:
        """Send each rank its message, and return the messages to this one. No other byte moves.

        A rank that cannot make its messages sends its error to all ranks, which then raise it.
        """
        failure: BaseException | None = None
        try:
            messages = make()
        except BaseException as error:
            failure = error
            sentence = " ".join(f"rank {self.rank}: {type(error).__name__}: {error}".split())
            messages = [sentence.encode(errors="backslashreplace")] * self.size
        # First the lengths, those of errors being negative (~length).
        lengths = [~len(message) if failure else len(message) for message in messages]
        sent = self._torch.tensor(lengths, dtype=self._torch.int64)
        received = self._torch.empty_like(sent)
        self._deal(received, sent, [], [])
        lengths = received.tolist()
        failed = self._has_failed = any(length < 0 for length in lengths)
        if failed and failure is None:
            messages = [b""] * self.size
        arrived = self._move(messages, [max(~length, 0) if failed else length for length in lengths])
        if failure is not None:
            raise failure
        if failed:
            raise RankFailure("; ".join(sentence.decode() for sentence in arrived if sentence))
        return arrived

    def _move(self, messages: list[bytes], lengths: list[int]) -> list[bytes]:
        torch = self._torch
        joined = bytearray().join(messages)
        sent = torch.frombuffer(joined, dtype=torch.uint8) if joined else torch.empty(0, dtype=torch.uint8)
        received = torch.empty(sum(lengths), dtype=torch.uint8)
        self._deal(received, sent, lengths, list(map(len, messages)))
        whole = memoryview(received.numpy())
        ends = np.cumsum(lengths).tolist()
        return [bytes(whole[end - length : end]) for end, length in zip(ends, lengths, strict=True)]

    def _deal(self, received: Any, sent: Any, lengths_received: list[int], lengths_sent: list[int]) -> None:
        try:
            if self._over_gloo is None:
                self._dist.all_to_all_single(received, sent, lengths_received, lengths_sent, group=self._group)
            else:
                self._over_gloo.alltoall_base(received, sent, lengths_received, lengths_sent).wait()
        except RuntimeError as error:
            self._has_failed = True
            reason = " ".join(str(error).split())
            raise RankFailure(f"a rank went away without saying why ({reason})") from error


_groups_over_gloo: list[tuple[Any, tuple[int, ...], Any]] = []


def _over_gloo(group: Any) -> Any:
    """Return a gloo group of the same ranks, made by the first collective that needs one.

    new_group would not do: all ranks of the run must call it. With use_local_synchronization it names the new group by
    the number of groups this rank is in, and ranks in more or fewer groups wait for each other for ever.
    """
    from torch import distributed

    dist: Any = distributed  # PrefixStore and ProcessGroupGloo are not declared
    world = dist.group.WORLD
    ranks = tuple(dist.get_process_group_ranks(world if group is None else group))
    for of_world, of_ranks, over_gloo in _groups_over_gloo:
        if of_world is world and of_ranks == ranks:
            return over_gloo
    made_before = sum(of_ranks == ranks for _, of_ranks, _ in _groups_over_gloo)
    name = f"vltr_eval/{made_before}/{'_'.join(map(str, ranks))}"
    store = dist.PrefixStore(name, dist.distributed_c10d._get_default_store())
    over_gloo = dist.ProcessGroupGloo(store, ranks.index(dist.get_rank()), len(ranks))
    _groups_over_gloo.append((world, ranks, over_gloo))
    return over_gloo


def current_group(group: Any = None) -> SingleProcess | Communicator:
    """Return the communicator of a process group, by default of all ranks; `SINGLE_PROCESS` without torch.distributed.

    This imports no torch: a program that uses torch.distributed has imported it.
    """
    dist = getattr(sys.modules.get("torch"), "distributed", None)
    if dist is None or not dist.is_available() or not dist.is_initialized() or dist.get_world_size(group) == 1:
        return SINGLE_PROCESS
    return Communicator(group)


@contextlib.contextmanager
def propagate_errors(communicator: SingleProcess | Communicator) -> Iterator[None]:
    """Wrap rank-local work before a collective: its error is raised on every rank, instead of a wait for ever."""
    try:
        yield
    except BaseException as error:
        communicator.abort(error)
        raise


@contextlib.contextmanager
def launched_group(backend: str = "gloo") -> Iterator[SingleProcess | Communicator]:
    """Join the processes that ``torchrun`` started, or any launcher that sets WORLD_SIZE and the other variables."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield SINGLE_PROCESS
        return
    try:
        import torch.distributed as dist
    except ImportError:
        raise ImportError('WORLD_SIZE: several processes need torch: pip install "vltr[torch]"') from None
    dist.init_process_group(backend)
    try:
        yield Communicator()
    finally:
        dist.destroy_process_group()


def end_launched(code: int) -> NoReturn:
    """End a process that `launched_group` served: as ``sys.exit(code)`` does, but without Python's own teardown.

    A DistributedDataParallel model keeps gloo's threads alive after destroy_process_group (torch 2.13). Such a thread
    may release a tensor late, when Python is being torn down, and then aborts the process, whose work is done.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
