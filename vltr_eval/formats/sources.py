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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from vltr_eval._base.files import InputError

Spec = Union[str, "os.PathLike[str]", Sequence[Any]]


@dataclass(frozen=True)
class Source:
    """One file, and the name of the array in it when the user picked one."""

    path: Path
    key: str | None = None

    @property
    def suffix(self) -> str:
        """The last suffix in lower case; the official name of AVA's label map, ``.pbtxt.txt``, counts as one."""
        return self.path.suffix.lower()

    @property
    def name(self) -> str:
        """The file's name without its folder, for notes: a report holds no path."""
        return self.path.name

    @property
    def size(self) -> int:
        with reading(self):
            return self.path.stat().st_size

    def __str__(self) -> str:
        return str(self.path) if self.key is None else f"{self.path}::{self.key}"


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
    if os.path.exists(name):
        return [Source(Path(name), key)]
    import glob  # not above: most files are named outright

    if not glob.has_magic(name):
        return [Source(Path(name), key)]
    matches = sorted(glob.glob(name, recursive=True), key=natural_order)
    if not matches:
        raise InputError(f"{name}: no file matches this pattern")
    return [Source(Path(match), key) for match in matches]


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
    return name, key


def natural_order(name: str) -> list[str | int]:
    """Sort key that compares digit runs as numbers; text and numbers alternate, so equal kinds are compared."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


@contextmanager
def reading(source: Source) -> Iterator[None]:
    """Turn the messages of the operating system and of the text decoder into one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{source.path}: no such file") from None
    except OSError as error:
        reason = error.strerror or str(error).split("\n")[0]
        raise InputError(f"{source.path}: cannot be read ({reason})") from error
    except UnicodeDecodeError:
        raise InputError(f"{source.path}: expected UTF-8 text, got binary data") from None


def check_regular(source: Source) -> None:
    """Raise InputError for what is no regular file: a device or a pipe can be endless, or wait for ever."""
    with reading(source):
        mode = source.path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise InputError(f"{source.path}: cannot be read ({os.strerror(errno.EISDIR)})")
    if not stat.S_ISREG(mode):
        raise InputError(f"{source.path}: expected a regular file, got a pipe or a device; save it to a file first")


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
