"""Files behind a URL, such as s3://bucket/preds.npy: their sizes, patterns and errors; fsspec is imported on use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vltr_eval._base.files import InputError


def size_of(url: str) -> int:
    """Bytes of a remote file; 0 where its server does not say."""
    with remote(url):
        system, path = file_system(url)
        return int(system.info(path).get("size") or 0)


def matches_of(url: str) -> list[str]:
    """Return the URLs that a URL with a pattern names; one without a pattern names itself."""
    import glob

    if "::" in url or not glob.has_magic(url.partition("?")[0] if url.startswith("http") else url):
        return [url]
    with remote(url):
        system, path = file_system(url)
        found = [system.unstrip_protocol(match) for match in system.glob(path)]
    if not found:
        raise InputError(f"{url}: no file matches this pattern")
    return found


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it."""
    try:
        from fsspec import core
    except ImportError:
        raise InputError(f'{url}: reading it needs fsspec; pip install "vltr[fsspec]"') from None
    system, path = core.url_to_fs(url)
    return system, str(path)


@contextmanager
def remote(url: str) -> Iterator[None]:
    """Turn the errors of a file system into one sentence: each package has its own classes."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(f"{url}: no such file") from None
    except Exception as error:
        text = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"{url}: cannot be read ({text})") from error
