"""Output files that appear whole or not at all, and whose place is known to be writable before the work starts."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


class OutputError(ValueError):
    """A file that cannot be written; the message is one sentence naming the file."""


class PendingFile:
    """A file that is reserved now and written later; used as a context manager, which removes what was not finished.

    path: where the file shall be. A device or a pipe (``/dev/stdout``, ``>(command)``) is written to, never replaced.
    Raises OutputError when the place cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            # Through a symbolic link the file behind it is replaced, not the link.
            self._target = Path(os.path.realpath(path))
            self._is_stream = self.path.exists() and not self.path.is_file() and not self.path.is_dir()
            self._unfinished = self._reserve()
        except OSError as error:
            raise self._failure(error) from None

    def write(self, writer: Callable[[Path], object]) -> None:
        """Let ``writer(temporary path)`` write the content, then put it in place."""
        try:
            writer(self._unfinished)
            if self._is_stream:
                with open(self._unfinished, "rb") as source, open(self.path, "wb") as stream:
                    shutil.copyfileobj(source, stream)
            else:
                os.replace(self._unfinished, self._target)
        except OSError as error:
            raise self._failure(error) from None

    def write_text(self, text: str) -> None:
        """Write the text as UTF-8, then put the file in place."""
        self.write(lambda path: path.write_text(text, encoding="utf-8", newline=""))

    def _reserve(self) -> Path:
        if self._target.is_dir():
            raise IsADirectoryError(None, "it is a directory")
        folder = Path(tempfile.gettempdir()) if self._is_stream else self._target.parent
        unfinished = folder / f".{self._target.name}.{secrets.token_hex(4)}.unfinished"
        # Not by tempfile: its files are readable by their owner alone, and so would the result be.
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        return unfinished

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(f"{self.path}: cannot be written ({error.strerror or error})")

    def __enter__(self) -> PendingFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._unfinished.unlink(missing_ok=True)
