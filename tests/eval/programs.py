"""Programs that tests run: within their own process, which spares the start of Python, or as two ranks of a group."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from unittest import mock


def run_within(main: Callable[[list[str]], int], program: str, arguments: list[str]) -> subprocess.CompletedProcess:
    """Run the ``main`` of a program and return what `subprocess.run` of its file would return as text.

    An exception that the program does not handle reaches the test.
    """
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2)]
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "argv", [program, *arguments]))
        stack.enter_context(redirect_stdout(streams[0]))
        stack.enter_context(redirect_stderr(streams[1]))
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
    for stream in streams:
        stream.flush()
    texts = [stream.buffer.getvalue().decode() for stream in streams]
    return subprocess.CompletedProcess([program, *arguments], code or 0, *texts)


def run_two_ranks(code: str, *arguments: str, options: tuple[str, ...] = ()) -> None:
    """Run ``python *options -c code RANK *arguments`` for ranks 0 and 1 at once; each must print "fine" alone and end.

    The code joins its group and may end by os._exit, because gloo's threads can abort a teardown of Python.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "VLTR_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, *options, "-c", code, str(rank), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    try:
        results = [rank.communicate(timeout=120) for rank in ranks]
    finally:
        for rank in ranks:
            if rank.poll() is None:
                rank.kill()
    for (out, err), rank in zip(results, ranks, strict=True):
        assert (rank.returncode, out.strip()) == (0, "fine"), err
