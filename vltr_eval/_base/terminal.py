"""Parts that all programs of the project share: how they end, the progress bar, and facts about the terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from vltr_eval._base.ranks import RankFailure
from vltr_eval._base.text_table import WIDTH

if TYPE_CHECKING:
    import argparse

OK, BAD_DATA, INTERRUPTED = 0, 1, 130
"""Exit codes; 2 is bad usage, by which argparse ends a program."""

_PATIENCE = 2.0
"""Seconds that pass before a bar appears: whatever is faster needs none."""

_WIDTH = 40

_PAUSE = 0.2
"""Seconds between two true values of `ProgressBar.is_due`."""


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], description: str, **how: Any
) -> argparse.ArgumentParser:
    """Add a command of a program, with the options that all commands have.

    Args:
        commands: The result of argparse's ``add_subparsers``.
        name: The name of the command.
        run: The function that runs the command and returns the exit code; the arguments have it as ``run``.
        description: The text of the command's help.
        **how: Other arguments of ``ArgumentParser``.

    Returns:
        The parser of the command. Its ``error`` is in the arguments as ``refuse``.
    """
    parser: argparse.ArgumentParser = commands.add_parser(name, description=description, allow_abbrev=False, **how)
    parser.add_argument("--quiet", action="store_true", help="nothing on stderr but errors")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run, refuse=parser.error)
    return parser


def did_you_mean(parser: argparse.ArgumentParser, words: Sequence[str]) -> str:
    """Return the advice for words that a parser does not know: the nearest of its options, or nothing."""
    import re  # not above, as the next: few command lines are wrong

    from vltr_eval._base.arguments import nearest_name

    known = re.findall(r"--[\w-]+", parser.format_usage())
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    near = [found for option in options if (found := nearest_name(option, known)) is not None]
    return f"; did you mean {' and '.join(dict.fromkeys(near))}?" if near else ""


def answer(program: str, run: Callable[[], int], *, debug: bool = False) -> int:
    """Runs a command and gives its exit code: an error is one sentence on stderr, and a traceback only for debug."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Class names may hold what the terminal's encoding lacks: show it escaped instead of failing.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = run()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout has gone (`| head`); point it elsewhere so that Python's own flush at exit is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        if debug:
            raise
        sys.stderr.write(f"{program}: error: {_sentence(error)}\n")
        return BAD_DATA


def _sentence(error: Exception) -> str:
    """The message of an error, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return "out of memory"
    text = " ".join(str(error).split())
    if isinstance(error, (ValueError, TypeError, ImportError, RankFailure)):
        return text
    return f"unexpected {type(error).__name__}: {text} (--debug shows where)"


def wants_style(stream: TextIO) -> bool:
    """Whether ANSI styles may go to the stream: a terminal that understands them, and no NO_COLOR."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def text_width() -> int:
    """Cells of a line on stdout: COLUMNS if it is set, the width of the terminal, and 80 where stdout is none."""
    return shutil.get_terminal_size((WIDTH, 0)).columns or WIDTH


def as_called(program: str) -> list[str]:
    """The words that start this program again from the same folder: a path when the name alone is not on PATH."""
    path, package = sys.argv[0], program.replace("-", "_")
    if path.endswith(os.path.join(package, "__main__.py")):
        return [sys.executable, "-m", package]
    if os.path.basename(path) != program or not os.path.exists(path):
        return [program]
    found = shutil.which(program)
    return [program] if found is not None and os.path.samefile(found, path) else [path]


class ProgressBar:
    """A bar that shows up after two seconds and leaves nothing behind; call it with the fraction done.

    A stream that is no terminal gets no bar. Used as a context manager, which wipes the bar. done: the fraction that
    was done before, which took no time now.
    """

    def __init__(self, stream: TextIO, *, enabled: bool = True, done: float = 0.0) -> None:
        self._stream = stream
        self._done = done
        self._enabled = enabled and stream.isatty()
        self._start = time.monotonic()
        self._fraction = 0.0
        self._shown = ""
        self._due = self._start + _PATIENCE

    @property
    def is_due(self) -> bool:
        """Whether a call would draw. Check it first if the note is expensive to compute."""
        return self._enabled and time.monotonic() >= self._due

    def __call__(self, fraction: float, note: str = "") -> None:
        self._fraction = max(self._fraction, fraction)  # a later phase counts from 0 again: wait until it catches up
        elapsed = time.monotonic() - self._start
        if self._enabled and elapsed >= _PATIENCE:
            self._show(self._fraction, elapsed, note)

    def _show(self, fraction: float, elapsed: float, note: str) -> None:
        filled = int(_WIDTH * fraction)
        rest = elapsed * (1 - fraction) / (fraction - self._done) if fraction > self._done else None
        left = "" if rest is None else f", {rest:.0f} s left"
        line = f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {fraction:4.0%}{left}{', ' * bool(note)}{note}"
        self._stream.write("\r" + line.ljust(len(self._shown)))
        self._stream.flush()
        self._shown = line
        self._due = time.monotonic() + _PAUSE

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def restart(self) -> None:
        """Take the bar away, and count time and fraction from here: another part of the work begins."""
        self.wipe()
        self._start = time.monotonic()
        self._fraction = self._done = 0.0
        self._due = self._start + _PATIENCE

    def wipe(self) -> None:
        """Take the bar away; it comes again when it is called again."""
        if self._shown:
            self._stream.write("\r" + " " * len(self._shown) + "\r")
            self._stream.flush()
            self._shown = ""
