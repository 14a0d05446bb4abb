"""Programs run within the process of the tests, which spares each call the start of Python and its imports."""

from __future__ import annotations

import io
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
