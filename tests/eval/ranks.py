"""Rank processes for distributed tests, kept for many tests because starting one costs more than its work.

`group_of` returns the ranks of one gloo group. They run functions of test files. A rank receives the path of the file
and the name of the function, whose first argument is the rank. A rank that does not answer in time is killed.
"""

from __future__ import annotations

import functools
import importlib.util
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import ModuleType
from typing import Any

import torch.distributed as dist

SECONDS_TO_START, SECONDS_TO_ANSWER = 120, 50  # long, because a busy machine takes ten seconds to import torch

# The fork server imports the slow modules once. It runs nothing else before it forks the ranks.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch.distributed", "pytest", "scipy.sparse", "hypothesis", "vltr_eval", "ml_dtypes"])


@dataclass(frozen=True)
class Raised:
    """An error that a rank raised."""

    kind: str
    message: str


GONE = Raised("", "the process is gone")


class Ranks:
    """The ranks of one group; every result is a list by rank. grouped: whether they have joined a process group."""

    def __init__(self, size: int, *, grouped: bool = True) -> None:
        self.size = size
        store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        self._store = store  # the group lives as long
        self._pipes, self._processes = [], []
        for rank in range(size):
            here, there = _CONTEXT.Pipe()
            arguments = (rank, size, store.port if grouped else None, there)
            process = _CONTEXT.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)
        assert self._answers(SECONDS_TO_START) == [None] * size

    def outcomes(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Return the result of ``function(rank, *arguments)`` on each rank, or Raised."""
        for pipe in self._pipes:
            pipe.send((function.__code__.co_filename, function.__name__, arguments))
        return self._answers(SECONDS_TO_ANSWER)

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Return the result of each rank; fail if a rank raises."""
        outcomes = self.outcomes(function, *arguments)
        assert not [outcome for outcome in outcomes if isinstance(outcome, Raised)], outcomes
        return outcomes

    def errors(self, function: Callable[..., Any], *arguments: Any) -> list[Raised]:
        """Return the error of each rank; fail if a rank raises none."""
        outcomes = self.outcomes(function, *arguments)
        assert all(isinstance(outcome, Raised) for outcome in outcomes), outcomes
        return outcomes

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    @property
    def are_alive(self) -> bool:
        return all(process.is_alive() for process in self._processes)

    def _answers(self, seconds: float) -> list[Any]:
        until = time.monotonic() + seconds
        answers = []
        for rank, pipe in enumerate(self._pipes):
            if not pipe.poll(max(0.0, until - time.monotonic())):
                self.stop()
                raise TimeoutError(f"rank {rank} of {self.size} did not answer within {seconds} s")
            try:
                answers.append(pipe.recv())
            except EOFError:
                answers.append(GONE)
        return answers


_GROUPS: dict[int, Ranks] = {}


def group_of(size: int) -> Ranks:
    """Return the shared group of this size; start a new one if the last was killed."""
    if size not in _GROUPS or not _GROUPS[size].are_alive:
        _GROUPS[size] = Ranks(size)
    return _GROUPS[size]


def _serve(rank: int, size: int, port: int | None, pipe: Any) -> None:
    os.environ["VLTR_NUM_THREADS"] = "1"
    if port is not None:
        store = dist.TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False)
        # Longer than the tests wait, so that a collective that only a timeout ends counts as a hang.
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=timedelta(minutes=30))
    pipe.send(None)
    while True:
        try:
            path, name, arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = getattr(_module_at(path), name)(rank, *arguments)
        except BaseException as error:
            answer = Raised(type(error).__name__, str(error))
        pipe.send(answer)


@functools.cache
def _module_at(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"of_ranks_{os.path.basename(path)[:-3]}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
