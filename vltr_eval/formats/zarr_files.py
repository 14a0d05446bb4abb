"""Read zarr of format 2 and 3, as a folder (.zarr) or a zip file (.zarr.zip, .zip); zarr is imported on use.

zarr decodes the chunks of some rows at a time, several at once. A missing chunk is the fill value, since zarr leaves
chunks of fill values out when it writes. Format 2 knows codecs that unpickle Python objects: they are refused before
any data are read.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval._base.progress import Progress
from vltr_eval.formats.containers import Stored, table_of
from vltr_eval.formats.roles import Role
from vltr_eval.formats.sources import Source, is_url, printable, reading, require
from vltr_eval.formats.table import Table
from vltr_eval.formats.tiles import blocks, check_chunks, decode

# Codecs whose decoders compute numbers or text from bytes, and nothing else.
_CODECS = frozenset(
    {"blosc", "zlib", "gzip", "bz2", "lzma", "zstd", "lz4", "shuffle", "delta", "fixedscaleoffset", "quantize"}
    | {"bitround", "packbits", "astype", "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3", "zfpy"}
    | {"bytes", "transpose", "sharding_indexed", "vlen-utf8", "vlen-bytes", "pcodec", "cast_value", "scale_offset"}
)
_MAX_ARRAYS = 10_000


def read_zarr(source: Source, role: Role, progress: Progress | None = None) -> Table:
    """Read one array of a zarr store, with the row ids and the class names of its group.

    Args:
        source: The folder, the zip file or the URL; its key is the path of an array, ``group/name``.
        role: The use of the array.
        progress: Called with the share that is decoded.

    Raises:
        InputError: No zarr, a damaged one, or an array that cannot be read.
    """
    zarr = require("zarr", "zarr", source)
    with _decoding(source), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dtypes that format 3 has not settled, and of files beside the arrays
        store = _open_store(zarr, source)
        node = zarr.open(store, mode="r")
        is_array = not hasattr(node, "arrays")
        arrays = {"": node} if is_array else dict(_walk(source, node))
        if is_array:
            if source.key is not None:
                raise InputError(f"{source}: the file holds one unnamed array, so ::{source.key} cannot pick one")
            from vltr_eval.formats.containers import check_type

            stored = _stored(node, progress)
            check_type(source, role, stored)
            values, notes = stored.read(source)
            return Table(source, values.shape[0] if values.ndim else 1, array=values, notes=notes)
        held = {name: _stored(array, progress) for name, array in arrays.items()}
        return table_of(source, role, held, lambda group: dict((node[group] if group else node).attrs))


def _open_store(zarr: Any, source: Source) -> Any:
    if source.address is not None and is_url(source.address) and source.copy is None:
        require("fsspec", "fsspec", source)
        return zarr.storage.FsspecStore.from_url(source.address, read_only=True)
    if source.suffix == ".zip":
        return zarr.storage.ZipStore(source.path, mode="r")
    if not source.path.is_dir():
        with reading(source):
            source.path.stat()
        raise InputError(f"{source}: expected a folder, got a file; a zarr zip file ends in .zip")
    return str(source.path)


@contextmanager
def _decoding(source: Source) -> Iterator[None]:
    """Turn the errors of zarr into one sentence: those of damaged chunks and metadata can be of any type."""
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{source}: this machine's memory is too small to read it, or it is damaged") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{source}: not a zarr array or group of format 2 or 3") from error
    except ImportError as error:
        raise InputError(f"{source}: reading it needs another package ({str(error).splitlines()[0]})") from error
    except Exception as error:
        text = " ".join(str(error).split())[:120]
        raise InputError(f"{source}: not readable by zarr, or it is truncated or damaged ({text})") from error


def _walk(source: Source, group: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The arrays of a group and of the groups in it, by their paths."""
    if depth > 16:
        return
    for count, (name, array) in enumerate(group.arrays()):
        if count == _MAX_ARRAYS:
            raise InputError(f"{source}: expected at most {_MAX_ARRAYS:,} arrays, got more")
        yield prefix + name, array
    for name, inner in group.groups():
        yield from _walk(source, inner, f"{prefix}{name}/", depth + 1)


def _stored(array: Any, progress: Progress | None) -> Stored:
    dtype: np.dtype[Any] | None = None
    kind, remedy = "number", ""
    try:
        found = array.dtype
        if found.kind in "SUT" or (found.kind == "O" and _is_text(array)):
            kind = "text"
        elif found.kind == "O":
            kind, remedy = "Python objects", "save numbers; objects are never unpickled"
        else:
            dtype = found
    except (AttributeError, TypeError):
        kind = "a type that numpy lacks"

    def read(source: Source) -> tuple[np.ndarray, tuple[str, ...]]:
        _check_codecs(source, array)
        return (_read_text(source, array), ()) if kind == "text" else _read(source, array, progress)

    return Stored(tuple(array.shape), dtype, kind, read, remedy)


def _metadata(array: Any) -> Mapping[str, Any]:
    """The metadata of an array as JSON has them."""
    metadata = array.metadata
    found: Mapping[str, Any] = metadata.to_dict() if hasattr(metadata, "to_dict") else json.loads(json.dumps(metadata))
    return found


def _codec_names(value: Any) -> Iterator[str]:
    """The names of all codecs in metadata, those within a shard included."""
    if isinstance(value, Mapping):
        name = value.get("id", value.get("name"))
        if isinstance(name, str):
            yield name.removeprefix("numcodecs.")
        for inner in (
            (value.get("configuration") or {}).values() if isinstance(value.get("configuration"), Mapping) else ()
        ):
            if isinstance(inner, (list, tuple)):
                yield from _codec_names(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _codec_names(inner)
    elif value is not None and hasattr(value, "to_dict"):
        yield from _codec_names(value.to_dict())
    elif value is not None and hasattr(value, "get_config"):
        yield from _codec_names(value.get_config())


def _check_codecs(source: Source, array: Any) -> None:
    """Raise InputError for a codec that is not known to be safe; unpickling can run any program."""
    if hasattr(array, "metadata"):
        metadata = _metadata(array)
        stated = [metadata.get(name) for name in ("codecs", "filters", "compressor")]
    else:
        stated = [array.filters, array.compressor]
    for name in _codec_names(stated):
        if name not in _CODECS:
            raise InputError(
                f"{source}: is encoded by the codec {printable(name)}, which vltr does not run; save it with zstd, "
                "gzip or blosc"
            )


def _is_text(array: Any) -> bool:
    return any(name == "vlen-utf8" for name in _codec_names([getattr(array, "filters", None)]))


def _read_text(source: Source, array: Any) -> np.ndarray:
    try:
        values = array[:].tolist()
        return np.array([value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values], object)
    except UnicodeDecodeError:
        raise InputError(f"{source}: expected names in UTF-8, got other bytes; save text") from None


def _read(source: Source, array: Any, progress: Progress | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers in native byte order, and a note on chunks that are missing."""
    shape = tuple(array.shape)
    native = np.dtype(array.dtype).newbyteorder("=")
    if not shape or math.prod(shape) == 0:
        return np.asarray(array[...]).astype(native, copy=False).reshape(shape), ()
    chunks = tuple(getattr(array, "shards", None) or array.chunks)
    check_chunks(source, chunks, native.itemsize)
    notes: tuple[str, ...] = ()
    total, present = int(array.nchunks), int(array.nchunks_initialized)
    if present < total:
        if array.fill_value is None:
            raise InputError(
                f"{source}: {total - present:,} of {total:,} chunks are missing and there is no fill value; was the "
                "program that saves it stopped?"
            )
        notes = (
            f"{source.name}: {total - present:,} of {total:,} chunks are missing; their cells are the fill value, "
            f"{array.fill_value}",
        )
    parts = blocks(shape, chunks, native.itemsize)

    def fill(values: np.ndarray, part: tuple[slice, ...]) -> None:
        values[part] = array[part]

    return decode(source, shape, native, parts, len(parts), fill, progress=progress, threads=1), notes
