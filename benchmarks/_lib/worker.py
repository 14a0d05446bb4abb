"""A separate process that answers requests for measurements: the server is _lib/measure.py.

One process for each measurement keeps imports, loaded inputs and leftovers of other rows out of its peak memory. A
process that stays alive lets two builds of vltr_eval be measured in alternation, on inputs that each has loaded once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Timer

import numpy as np

BENCHMARKS = Path(__file__).resolve().parents[1]
TIMEOUT = 1_800  # seconds; a slower measurement is stopped, and its row states this
_MAX_REASON = 120


class Worker:
    """Run tasks of _lib/measure.py in one process, until the worker is closed.

    Args:
        threads: Threads of OpenMP and BLAS in the process.
        build: Folder with another installed vltr_eval; None uses that of this environment.
        environment: Further variables of the process.
    """

    def __init__(self, threads: int, build: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
        variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        if build is not None:
            variables["PYTHONPATH"] = os.pathsep.join(filter(None, (str(build), os.environ.get("PYTHONPATH"))))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self._process = subprocess.Popen(
            [sys.executable, "-m", "_lib.measure"],
            cwd=BENCHMARKS,
            env=os.environ | variables | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __call__(self, task: str, **arguments: object) -> dict:
        """Return the answer of one task; {"failed": reason} if the process ended or was stopped."""
        request = {"task": task, **arguments}
        timer = Timer(TIMEOUT, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps(request, default=str) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            timed_out = timer.finished.is_set()
            timer.cancel()
        if answer:
            return json.loads(answer)
        return {"failed": f"stopped after {TIMEOUT} s" if timed_out else f"failed: {self._reason(arguments)}"}

    def close(self) -> None:
        with suppress(BrokenPipeError):  # a request that the ended process never read
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._errors.close()

    def _reason(self, arguments: Mapping[str, object]) -> str:
        """Return the last line that the ended process wrote to stderr, or its signal."""
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"ended by signal {-code}" if code < 0 else f"exit status {code}"
        return reason.replace(str(arguments.get("directory", "")), "").replace("|", "/")[:_MAX_REASON]


class Workers:
    """Start one worker for each request, or keep them, which is quicker but mixes the memory of requests."""

    def __init__(self, threads: int, keep: bool) -> None:
        self._threads, self._keep = threads, keep
        self._kept: dict[frozenset[tuple[str, str]], Worker] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._kept.values():
            worker.close()

    def __call__(self, task: str, environment: Mapping[str, str] | None = None, **arguments: object) -> dict:
        """Return the answer of one task, from a process with further variables."""
        key = frozenset((environment or {}).items())
        worker = self._kept.pop(key, None) or Worker(self._threads, environment=environment)
        answer = worker(task, **arguments)
        if self._keep and "failed" not in answer:
            self._kept[key] = worker
        else:
            worker.close()
        return answer


@cache
def fastest_numpy() -> Mapping[str, str]:
    """Return the variables with which numpy sorts fastest on this machine: with its AVX-512 code, or without.

    That code stores through a mask. Some processors (AMD's Zen 4) have such stores in microcode, and the sort takes
    several times as long as with AVX2. A peer should not lose by this.
    """
    variables = {"NPY_DISABLE_CPU_FEATURES": " ".join(_avx512_features())}
    seconds = []
    for environment in ({}, variables):
        with Worker(1, environment=environment) as worker:
            seconds.append(worker("time_of_numpy_sort").get("seconds", np.inf))
    return variables if seconds[1] < seconds[0] else {}


def _avx512_features() -> list[str]:
    """Return the names of numpy's AVX-512 code; they differ between its versions."""
    try:
        from numpy._core._multiarray_umath import __cpu_dispatch__ as names
    except ImportError:
        return []
    return [name for name in names if name.startswith("AVX512") or name == "X86_V4"]
