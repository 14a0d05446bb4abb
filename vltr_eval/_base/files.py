"""Output files that appear whole or not at all, and whose folder is known to be writable before the work starts."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # a system without file locks
    fcntl = None  # type: ignore[assignment]  # a module that is not there

__all__ = ["OutputError", "PendingFile", "replace_on_disk"]

_LONGEST_NAME = 100  # bytes of a name that its temporary file carries: with what is added, every file system takes it


class OutputError(ValueError):
    """A file that cannot be written; the message is one sentence naming the file."""


class PendingFile:
    """A file that is reserved now and written later; used as a context manager, which removes what was not finished.

    path: where the file shall be. A device or a pipe (``/dev/stdout``, ``>(command)``) is written to, never replaced.
    Raises OutputError when the path cannot be written.

    The content is written to a temporary file beside it, ``.NAME.12345678.unfinished``, reaches the disk, and then
    replaces the old file. A killed process leaves its temporary file behind; the next PendingFile of that path removes
    it. A temporary file is locked as long as it is in use, so that one of a running process is never removed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            # Through a symbolic link the file behind it is replaced, not the link.
            self._target = Path(os.path.realpath(path))
            self._is_stream = self.path.exists() and not self.path.is_file() and not self.path.is_dir()
            if self._target.is_dir():
                raise IsADirectoryError(None, "it is a directory")
            _remove_leftovers(self._folder, self._prefix)
            self._unfinished, self._lock = self._reserve()
        except OSError as error:
            raise self._failure(error) from None

    def write(self, writer: Callable[[Path], object]) -> None:
        """Let ``writer(temporary path)`` write the content, then put it in place."""
        self.fill(writer)
        self.put_in_place()

    def write_text(self, text: str) -> None:
        """Write the text as UTF-8, then put the file in place."""
        self.write(lambda path: path.write_text(text, encoding="utf-8", newline=""))

    def fill(self, writer: Callable[[Path], object]) -> None:
        """Let ``writer(temporary path)`` write the content. `put_in_place` follows, once other files are filled too."""
        with self._failing():
            writer(self._unfinished)
            if not self._is_stream:
                _reach_disk(self._unfinished)

    def put_in_place(self) -> None:
        """Move the finished temporary file to its path."""
        with self._failing():
            if self._is_stream:
                import shutil  # not above: few outputs are streams, and it loads bz2 and lzma

                with open(self._unfinished, "rb") as source, open(self.path, "wb") as stream:
                    shutil.copyfileobj(source, stream)
                return
            replace_on_disk(self._unfinished, self._target)

    @property
    def _folder(self) -> Path:
        if not self._is_stream:
            return self._target.parent
        import tempfile  # not above: few programs need it, and it loads random

        return Path(tempfile.gettempdir())

    @property
    def _prefix(self) -> str:
        name = os.fsencode(self._target.name)
        if len(name) <= _LONGEST_NAME:
            return f".{self._target.name}."
        import hashlib  # not above: it loads OpenSSL, which takes milliseconds

        return f".{hashlib.sha256(name).hexdigest()}."

    def _reserve(self) -> tuple[Path, int]:
        """A new temporary file, and a descriptor that holds its lock."""
        while True:
            unfinished = self._folder / f"{self._prefix}{os.urandom(4).hex()}.unfinished"
            # Not by tempfile: its files are readable by their owner alone, and so would the result be.
            descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
            _lock(descriptor)
            if unfinished.exists():
                return unfinished, descriptor
            os.close(descriptor)  # another process took it for a leftover before it was locked

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError) -> OutputError:
        reason = error.strerror or error
        if isinstance(error, FileNotFoundError) and not self._target.parent.exists():
            reason = f"there is no folder {self._target.parent.name}"
        return OutputError(f"{self.path}: cannot be written ({reason})")

    def __enter__(self) -> PendingFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._unfinished.unlink(missing_ok=True)
        os.close(self._lock)


# Errors by which file systems, or a folder that may not be listed, refuse to bring a folder's entries to the disk.
_NOT_FOR_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF)


def replace_on_disk(source: Path, target: Path) -> None:
    """Move a file over another one in the same file system; the new entry reaches the disk."""
    os.replace(source, target)
    try:
        _reach_disk(target.parent)
    except OSError as error:
        if error.errno not in _NOT_FOR_FOLDERS:
            raise


def _reach_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Whether this process holds the lock of a file now; False where another one does, or where there are no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_leftovers(folder: Path, prefix: str) -> None:
    """Removes temporary files of a name whose processes have ended, which released their locks."""
    pattern = re.compile(re.escape(prefix) + r"[0-9a-f]{8}\.unfinished")
    try:
        names = os.listdir(folder)
    except OSError:  # not there, which the caller will see, or not to be listed
        return
    for name in filter(pattern.fullmatch, names):
        with contextlib.suppress(OSError):  # of another user, or gone already
            descriptor = os.open(folder / name, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                if _lock(descriptor):
                    os.unlink(folder / name)
            finally:
                os.close(descriptor)


class InputError(ValueError):
    """A file that cannot be read as requested; the message is one sentence that begins with the file's name.

    Messages quote files, so characters that no terminal shows are written as escapes: a message is one line.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))
