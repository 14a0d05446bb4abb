"""What the command line shows beside its result: a progress bar, and bold headings where a terminal wants them."""

from __future__ import annotations

import os
import time
from typing import TextIO

_PATIENCE = 2.0
"""Seconds that pass before a bar appears: whatever is faster needs none."""

_WIDTH = 40


def wants_style(stream: TextIO) -> bool:
    """Whether ANSI styles may go to the stream: a terminal that understands them, and no NO_COLOR."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


class ProgressBar:
    """A bar that shows up after two seconds and leaves nothing behind; call it with the fraction done.

    A stream that is no terminal gets no bar. Used as a context manager, which wipes the bar.
    """

    def __init__(self, stream: TextIO, *, enabled: bool = True) -> None:
        self._stream = stream
        self._enabled = enabled and stream.isatty()
        self._start = time.monotonic()
        self._fraction = 0.0
        self._shown = ""

    def __call__(self, fraction: float) -> None:
        self._fraction = max(self._fraction, fraction)  # a later phase counts from 0 again: wait until it catches up
        elapsed = time.monotonic() - self._start
        if self._enabled and elapsed >= _PATIENCE:
            self._show(self._fraction, elapsed)

    def _show(self, fraction: float, elapsed: float) -> None:
        filled = int(_WIDTH * fraction)
        left = f", {elapsed / fraction - elapsed:.0f} s left" if fraction > 0 else ""
        line = f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {fraction:4.0%}{left}"
        self._stream.write("\r" + line.ljust(len(self._shown)))
        self._stream.flush()
        self._shown = line

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def wipe(self) -> None:
        """Take the bar away; it comes again when it is called again."""
        if self._shown:
            self._stream.write("\r" + " " * len(self._shown) + "\r")
            self._stream.flush()
            self._shown = ""
