"""Which files a spec names, and the errors that reading them gives.

A *spec* is a path, a glob pattern, or a list of these. Several files are row shards, in the order given; a glob's
matches are in natural order (shard_2 before shard_10). ``FILE::KEY`` picks one array of a file that holds several.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import stat
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

from vltr_eval._base.files import InputError

Spec = Union[str, "os.PathLike[str]", Sequence[Any]]

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".lz4")
"""Suffixes of whole files that are compressed: ``preds.npy.gz``."""


@dataclass(frozen=True)
class Source:
    """One file, and the name of the array in it when the user picked one.

    Attributes:
        path: The file to read. For a compressed or remote file that has no local copy yet, the path as it was given.
        key: The name of the array.
        address: The URL, or the path of the compressed file; None for a plain file. `formats.copies` makes the copy.
        copy: An object that deletes the local copy once nothing refers to it.
    """

    path: Path
    key: str | None = None
    address: str | None = None
    copy: Any = field(default=None, compare=False, repr=False)

    @property
    def needs_copy(self) -> bool:
        """Whether the file is compressed or remote, and has no local copy yet. A remote zarr folder needs none."""
        return self.address is not None and self.copy is None and self.suffix != ".zarr"

    @property
    def suffix(self) -> str:
        """The last suffix in lower case, without that of a compression.

        The official name of AVA's label map, ``.pbtxt.txt``, counts as one.
        """
        path = self.path if self.address is None else Path(self.address)
        return (path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path).suffix.lower()

    @property
    def name(self) -> str:
        """The file's name without its folder, for notes: a report holds no path."""
        return self.path.name if self.address is None else self.address.rstrip("/").rpartition("/")[2]

    @property
    def shown(self) -> str:
        """The path or the URL as it was given."""
        return str(self.path) if self.address is None else self.address

    @property
    def size(self) -> int:
        """Bytes of the file; for a compressed or remote file without a local copy, those that are stored."""
        if self.copy is None and self.address is not None and is_url(self.address):
            from vltr_eval.formats.remote import size_of  # not above: few files are remote

            return size_of(self.address)
        with reading(self):
            return self.path.stat().st_size

    def __str__(self) -> str:
        return self.shown if self.key is None else f"{self.shown}::{self.key}"


def is_spec(value: Any) -> bool:
    """Whether a value names files: a path, or a list of paths."""
    if isinstance(value, (str, os.PathLike)):
        return True
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(isinstance(part, (str, os.PathLike)) for part in value)
    )


def expand(spec: Spec) -> list[Source]:
    """Return the files that a spec names, at least one; a glob's matches are in natural order.

    Raises:
        InputError: A pattern without a match, or an empty list.
    """
    if not isinstance(spec, (str, os.PathLike)):
        sources = [source for part in spec for source in expand(part)]
        if not sources:
            raise InputError("expected at least one file, got an empty list")
        return sources
    name, key = _split_key(os.fspath(spec))
    if is_url(name):
        from vltr_eval.formats.remote import matches_of  # not above: few files are remote

        return [Source(Path(match), key, match) for match in sorted(matches_of(name), key=natural_order)]
    if os.path.exists(name):
        return [_local(name, key)]
    import glob  # not above: most files are named outright

    if not glob.has_magic(name):
        return [_local(name, key)]
    matches = sorted(glob.glob(name, recursive=True), key=natural_order)
    if not matches:
        raise InputError(f"{name}: no file matches this pattern")
    return [_local(match, key) for match in matches]


def is_url(text: str) -> bool:
    """Whether a spec is a URL, such as ``s3://bucket/preds.npy``."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def _local(name: str, key: str | None) -> Source:
    """A file on this machine, which may be compressed as a whole."""
    path = Path(name)
    return Source(path, key, name if path.suffix.lower() in COMPRESSIONS else None)


def expand_one(path: Spec) -> Source:
    """Return the one file that a spec names."""
    sources = expand(path)
    if len(sources) > 1:
        raise InputError(f"{path}: expected one file, but {len(sources)} match")
    return sources[0]


def input_files(spec: Spec) -> list[Path]:
    """Return the files that a spec names, without reading them; a file that is named outright need not exist.

    Raises:
        InputError: A pattern without a match.
    """
    return [source.path for source in expand(spec)]


def split_spec(spec: Spec) -> list[str]:
    """Return a spec of each of the files that a spec names, with the key that picks its array.

    Raises:
        InputError: A pattern without a match.
    """
    return [str(source) for source in expand(spec)]


def _split_key(text: str) -> tuple[str, str | None]:
    if os.path.exists(text) or "::" not in text:
        return text, None
    name, _, key = text.rpartition("::")
    return (text, None) if is_url(key) else (name, key)  # "zip://preds.npy::s3://..." is a chain of fsspec


def natural_order(name: str) -> list[str | int]:
    """Sort key that compares digit runs as numbers; text and numbers alternate, so equal kinds are compared."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


@contextmanager
def reading(source: Source) -> Iterator[None]:
    """Turn the messages of the operating system and of the text decoder into one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{source.shown}: no such file") from None
    except OSError as error:
        reason = error.strerror or str(error).split("\n")[0]
        raise InputError(f"{source.shown}: cannot be read ({reason})") from error
    except UnicodeDecodeError:
        raise InputError(f"{source.shown}: expected UTF-8 text, got binary data") from None


def check_regular(source: Source) -> None:
    """Raise InputError for what is no regular file: a device or a pipe can be endless, or wait for ever."""
    with reading(source):
        mode = source.path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise InputError(f"{source.shown}: cannot be read ({os.strerror(errno.EISDIR)})")
    if not stat.S_ISREG(mode):
        raise InputError(f"{source.shown}: expected a regular file, got a pipe or a device; save it to a file first")


def require(module: str, extra: str, source: Source) -> Any:
    """Import an optional package, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise InputError(f'{source}: reading it needs {package}; pip install "vltr[{extra}]"') from None


def shorten(text: str, limit: int = 40) -> str:
    """The beginning of a text, for a message."""
    return text if len(text) <= limit else text[:limit] + "..."


def quote(text: str, limit: int = 40) -> str:
    """Text for a message, shortened and in quotes."""
    return repr(shorten(text, limit))


def printable(name: Any) -> str:
    """A name from a file for a message: on one line, whatever it holds."""
    text = str(name)
    return text if text.isprintable() else repr(text)


def repeated(values: Iterable[Hashable]) -> list[Any]:
    """Values that occur more than once, in the order in which they are found to be repeated."""
    seen: set[Hashable] = set()
    found: dict[Hashable, None] = {}
    for value in values:
        if value in seen:
            found[value] = None
        seen.add(value)
    return list(found)


def listing(names: Iterable[Any], limit: int = 12) -> str:
    """Names for a message: the first few, and how many more there are."""
    names = list(names)
    return ", ".join(map(printable, names[:limit])) + (
        f" and {len(names) - limit:,} more" if len(names) > limit else ""
    )
