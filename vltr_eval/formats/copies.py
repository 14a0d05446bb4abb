"""Local copies of files that are compressed as a whole, such as preds.npy.gz, or that lie behind a URL.

A copy is a file in the folder of temporary files. It is deleted once nothing refers to its `Source` any more: a memory
map of it stays valid. gzip, bzip2 and xz are read by Python's own modules; .zst and .lz4 need zstandard and lz4, and
URLs need fsspec with the package of their protocol (s3fs, gcsfs, ...).

A small compressed file can grow to any size. The header of a .npy file bounds its copy; other copies may be
`MAX_RATIO` times as large as the compressed file.
"""

from __future__ import annotations

import io
import os
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from vltr_eval._base.files import InputError
from vltr_eval._base.progress import Progress
from vltr_eval.formats.remote import file_system, remote
from vltr_eval.formats.sources import COMPRESSIONS, Source, is_url, reading, require

MAX_RATIO = 1_100  # that of deflate is at most 1,032
_LEAST_LIMIT = 64 << 20
_BLOCK = 1 << 20
_HEADER = 10_500  # bytes that hold the header of any .npy file that is read


class _Copy:
    """A temporary file that is deleted with this object, or when Python ends."""

    def __init__(self, path: Path) -> None:
        self.delete = weakref.finalize(self, _unlink, path)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def make_copy(source: Source, progress: Progress | None = None) -> Source:
    """Copy a compressed or remote file, decompressed, into a temporary file.

    Args:
        source: A source with an address.
        progress: Called with the share of the stored bytes that is read.

    Returns:
        The source with the path of the copy, which lives as long as the source.

    Raises:
        InputError: A file that is missing, damaged or too large, or a package that is missing.
    """
    import tempfile  # not above: it loads random

    address = str(source.address)
    size = source.size
    descriptor, name = tempfile.mkstemp(prefix="vltr-", suffix=source.suffix)
    copied = replace(source, path=Path(name), copy=_Copy(Path(name)))
    kind = Path(address).suffix.lower()
    try:
        with os.fdopen(descriptor, "wb") as target, remote(address), _open(source, address) as stored:
            report = _reporter(stored, size, progress)
            if kind not in COMPRESSIONS:
                _pump(source, stored, target, None, report)
            else:
                with _decompressing(source):
                    limit, content = _limit(copied, _decompressed(source, stored, kind), size)
                    _pump(source, content, target, limit, report)
    except BaseException:
        copied.copy.delete()  # the traceback would keep it
        raise
    return copied


def _reporter(stored: Any, size: int, progress: Progress | None) -> Callable[[], None]:
    def report() -> None:
        if progress is not None and size:
            progress(min(1.0, stored.tell() / size))

    return report


def _pump(source: Source, content: Any, target: IO[bytes], limit: int | None, report: Callable[[], None]) -> None:
    """Copy the content; more than ``limit`` bytes are an error."""
    copied = 0
    while block := content.read(_BLOCK):
        copied += len(block)
        if limit is not None and copied > limit:
            raise InputError(
                f"{source}: expected at most {limit:,} bytes after decompression, got more; decompress it to a file "
                "first if that is right"
            )
        try:
            target.write(block)
        except OSError as error:
            raise _no_room(source, error) from error
        report()
    try:
        target.flush()
    except OSError as error:
        raise _no_room(source, error) from error


def _no_room(source: Source, error: OSError) -> InputError:
    import tempfile

    return InputError(
        f"{source}: cannot be copied to the folder of temporary files, {tempfile.gettempdir()} ({error.strerror}); set "
        "TMPDIR to a folder on a larger disk"
    )


def _limit(source: Source, content: Any, size: int) -> tuple[int, Any]:
    """The most bytes that the content may have, and the content from its first byte."""
    if source.suffix != ".npy":
        return max(_LEAST_LIMIT, MAX_RATIO * size), content
    from vltr_eval.formats.numpy_files import bytes_of_npy

    head = bytearray()
    while len(head) < _HEADER and (block := content.read(_HEADER - len(head))):
        head += block
    return bytes_of_npy(io.BytesIO(head), source) + 1, _Chain(io.BytesIO(head), content)


class _Chain:
    """Two streams, one behind the other."""

    def __init__(self, *streams: Any) -> None:
        self._streams = list(streams)

    def read(self, count: int) -> bytes:
        while self._streams:
            if block := self._streams[0].read(count):
                return bytes(block)
            del self._streams[0]
        return b""


class _Zstandard:
    """The decompressed bytes of zstandard frames; the package's own reader takes a truncated frame for a whole one."""

    _INPUT = 1 << 12  # bytes at a time, which become 128 MiB at most

    def __init__(self, zstandard: Any, stored: Any) -> None:
        self._make = zstandard.ZstdDecompressor().decompressobj
        self._stored = stored
        self._frame: Any = None
        self._waiting = b""
        self._made, self._given = b"", 0

    def read(self, count: int) -> bytes:
        while self._given == len(self._made):
            data = self._waiting or self._stored.read(self._INPUT)
            self._waiting = b""
            if not data:
                if self._frame is not None:
                    raise EOFError("a truncated frame")
                return b""
            self._frame = self._frame or self._make()
            self._made, self._given = self._frame.decompress(data), 0
            if self._frame.eof:
                self._waiting, self._frame = self._frame.unused_data, None
        first, self._given = self._given, min(len(self._made), self._given + count)
        return self._made[first : self._given]


def _decompressed(source: Source, stored: Any, kind: str) -> Any:
    """The stream of the decompressed bytes."""
    if kind == ".gz":
        import gzip

        return gzip.GzipFile(fileobj=stored)
    if kind == ".bz2":
        import bz2

        return bz2.BZ2File(stored)
    if kind == ".xz":
        import lzma

        return lzma.LZMAFile(stored)
    if kind == ".zst":
        return _Zstandard(require("zstandard", "fsspec", source), stored)
    return require("lz4.frame", "fsspec", source).LZ4FrameFile(stored)


@contextmanager
def _decompressing(source: Source) -> Iterator[None]:
    """Turn the errors of the decompressors into one sentence: each module has its own."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(source) from error
    except (EOFError, zlib.error, ValueError, RuntimeError) as error:
        raise _damaged(source) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("_lzma", "lzma", "zstandard", "zstd", "lz4"):
            raise _damaged(source) from error
        raise


def _damaged(source: Source) -> InputError:
    kind = Path(str(source.address)).suffix.lower()
    return InputError(f"{source}: not a {kind} file, or it is truncated or damaged")


@contextmanager
def _open(source: Source, address: str) -> Iterator[Any]:
    """Open the stored bytes."""
    if not is_url(address):
        with reading(source), open(address, "rb") as stream:
            yield stream
        return
    system, path = file_system(address)
    with system.open(path, "rb") as stream:
        yield stream
