"""Read .h5 and .hdf5 files; h5py is imported on use.

- A contiguous data set without filters is memory-mapped where it lies: nothing is read or copied.
- Chunks that are compressed by gzip, with or without the shuffle filter, are decoded on several threads. The HDF5
  library would decode one at a time, because h5py holds a lock during each call.
- Other filters (lzf, szip, fletcher32 and plugins) are decoded by h5py, some rows at a time.

Links to other files, data sets stored in other files, and virtual data sets, which are made of others, are refused: a
file that comes from elsewhere must not choose which files are read.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval._base.progress import Progress
from vltr_eval.formats.arrays import map_array
from vltr_eval.formats.containers import Stored, table_of
from vltr_eval.formats.roles import Role
from vltr_eval.formats.sources import Source, printable, reading, require
from vltr_eval.formats.table import Table
from vltr_eval.formats.tiles import blocks, check_chunks, decode

_DEFLATE, _SHUFFLE = 1, 2
_FILTERS = {3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
_PLUGINS = {32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32013: "zfp", 32015: "zstd", 32026: "blosc2"}
_MAX_DEPTH = 16  # of groups in groups, and of links to links
_MAX_ARRAYS = 10_000


def read_h5(source: Source, role: Role, progress: Progress | None = None) -> Table:
    """Read one array of an .h5 file, with the row ids and the class names of its group.

    Args:
        source: The file; its key is the path of an array, ``group/name``.
        role: The use of the array.
        progress: Called with the share that is decoded.

    Raises:
        InputError: No such file, no .h5 file, a damaged one, or an array that cannot be read.
    """
    h5py = require("h5py", "h5", source)
    with _decoding(source), h5py.File(source.path, "r") as file:
        arrays, external = _arrays_of(h5py, source, file, progress)
        if source.key is not None and source.key.strip("/") not in arrays:
            node = _resolve(h5py, source, file, source.key.strip("/"))
            if isinstance(node, h5py.Dataset):
                arrays[source.key.strip("/")] = _stored(h5py, node, progress)
        if external and not arrays:
            name, target = next(iter(external.items()))
            raise _foreign(source, name, target)
        return table_of(source, role, arrays, lambda group: _attributes(file[group or "/"]))


def _foreign(source: Source, name: str, target: str) -> InputError:
    return InputError(
        f"{source}: {printable(name)} is a link to another file, {printable(target)}, which is not followed; read that "
        "file instead"
    )


@contextmanager
def _decoding(source: Source) -> Iterator[None]:
    """Turn the errors of h5py into one sentence: those of a damaged file can be of any of its types."""
    try:
        with reading(source):
            try:
                yield
            except OSError as error:
                if error.errno is not None:
                    raise
                raise RuntimeError(str(error)) from error
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{source}: this machine's memory is too small to read it, or it is damaged") from error
    except (RuntimeError, ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
        raise InputError(f"{source}: not an .h5 file, or it is truncated or damaged") from error


# The arrays of a file


def _arrays_of(
    h5py: Any, source: Source, file: Any, progress: Progress | None
) -> tuple[dict[str, Stored], dict[str, str]]:
    """The arrays by their paths, and the links to other files. Soft links give no array a second name."""
    arrays: dict[str, Stored] = {}
    external: dict[str, str] = {}
    seen: set[Any] = set()

    def walk(group: Any, prefix: str, depth: int) -> None:
        info = h5py.h5o.get_info(group.id)
        if depth > _MAX_DEPTH or (info.fileno, info.addr) in seen:
            return
        seen.add((info.fileno, info.addr))
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                external[prefix + name] = str(link.filename)
            if not isinstance(link, h5py.HardLink):
                continue
            node = group[name]
            if isinstance(node, h5py.Group):
                walk(node, f"{prefix}{name}/", depth + 1)
            elif isinstance(node, h5py.Dataset) and node.shape is not None:
                arrays[prefix + name] = _stored(h5py, node, progress)
            if len(arrays) > _MAX_ARRAYS:
                raise InputError(f"{source}: expected at most {_MAX_ARRAYS:,} arrays, got more")

    walk(file, "", 0)
    return arrays, external


def _resolve(h5py: Any, source: Source, file: Any, path: str, depth: int = 0) -> Any:
    """The object of a path, without following a link to another file; None where there is none."""
    node, walked = file, ""
    for part in filter(None, path.split("/")):
        if not isinstance(node, h5py.Group) or (
            part not in node and node.get(part, getlink=True, default=None) is None
        ):
            return None
        link = node.get(part, getlink=True)
        walked = f"{walked}/{part}".lstrip("/")
        if isinstance(link, h5py.ExternalLink):
            raise _foreign(source, walked, str(link.filename))
        if isinstance(link, h5py.SoftLink):
            if depth > _MAX_DEPTH:
                return None
            target = link.path if link.path.startswith("/") else f"{node.name}/{link.path}"
            node = _resolve(h5py, source, file, target, depth + 1)
        else:
            node = node[part]
        if node is None:
            return None
    return node


def _attributes(group: Any) -> Mapping[str, Any]:
    """The attributes that describe a sparse matrix."""
    found = {}
    for name in ("shape", "encoding-type", "h5sparse_shape", "h5sparse_format"):
        if name in group.attrs:
            value = group.attrs[name]
            found[name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return found


def _stored(h5py: Any, dataset: Any, progress: Progress | None) -> Stored:
    dtype, kind, remedy = _type_of(h5py, dataset)

    def read(source: Source) -> tuple[np.ndarray, tuple[str, ...]]:
        _refuse_foreign_data(source, dataset)
        return (_read_text(h5py, source, dataset), ()) if kind == "text" else _read(h5py, source, dataset, progress)

    return Stored(tuple(dataset.shape), dtype, kind, read, remedy)


def _type_of(h5py: Any, dataset: Any) -> tuple[np.dtype[Any] | None, str, str]:
    """The dtype of numbers, the name of another type for messages, and a remedy."""
    try:
        dtype = dataset.dtype
    except TypeError:
        return None, "a type that numpy lacks", "save it as float32"
    if h5py.check_string_dtype(dtype) is not None:
        return None, "text", ""
    if h5py.check_vlen_dtype(dtype) is not None:
        return None, "rows of different lengths (vlen)", "save a dense or a sparse matrix"
    if h5py.check_ref_dtype(dtype) is not None:
        return None, "references", "save the array itself"
    if dtype.hasobject:
        return None, "objects", "save numbers"
    if dtype.subdtype is not None:
        return None, "an array in each cell", "save an array of two dimensions"
    return np.dtype(dtype.str) if dtype.names is None else dtype, "number", ""


def _refuse_foreign_data(source: Source, dataset: Any) -> None:
    if dataset.is_virtual:
        raise InputError(
            f"{source}: a virtual data set, which is made of other arrays and files; save the array itself, "
            "file.create_dataset(name, data=dataset[:])"
        )
    if dataset.id.get_create_plist().get_external_count():
        raise InputError(f"{source}: its data are in another file, which is not read; save the array itself")


def _read_text(h5py: Any, source: Source, dataset: Any) -> np.ndarray:
    if len(dataset.shape) != 1:
        raise InputError(f"{source}: expected text of one dimension, got shape {dataset.shape}")
    values = dataset[:]
    try:
        return np.array([value if isinstance(value, str) else bytes(value).decode("utf-8") for value in values], object)
    except UnicodeDecodeError:
        raise InputError(f"{source}: expected names in UTF-8, got other bytes; save text") from None


# The values


def _read(h5py: Any, source: Source, dataset: Any, progress: Progress | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers in native byte order, mapped if they lie in one piece, and a note on chunks that were never written."""
    plist = dataset.id.get_create_plist()
    stored = np.dtype(dataset.dtype.str)
    native = stored.newbyteorder("=")
    shape = tuple(dataset.shape)
    is_plain = dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype, logical=True))
    if math.prod(shape) == 0:
        return np.empty(shape, native), ()
    if plist.get_layout() == h5py.h5d.CONTIGUOUS:
        offset = dataset.id.get_offset()
        if offset is None:
            raise _never_written(source)
        if offset + math.prod(shape) * stored.itemsize > source.size:
            raise InputError(f"{source}: not an .h5 file, or it is truncated or damaged")
        if is_plain and offset % stored.itemsize == 0:  # a map of other offsets would be copied into memory
            return map_array(source, stored, shape, offset), ()
    notes: tuple[str, ...] = ()
    chunks = dataset.chunks or (1, *shape[1:])
    if dataset.chunks is not None:
        check_chunks(source, chunks, stored.itemsize)
        filters = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
        _check_filters(h5py, source, filters)
        infos = _chunk_infos(dataset)
        expected = math.prod(-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True))
        if not infos:
            raise _never_written(source)
        if len(infos) < expected:
            notes = (
                f"{source.name}: {expected - len(infos):,} of {expected:,} chunks were never written; their cells are "
                f"the fill value, {dataset.fillvalue}",
            )
        is_decoded = set(filters) <= {_DEFLATE, _SHUFFLE} and not dataset.file.userblock_size and hasattr(os, "pread")
        if is_plain and is_decoded:
            with suppress(_UndecodableError):
                return _decode_chunks(source, dataset, stored, filters, infos, expected, progress), notes
    parts = blocks(shape, chunks, stored.itemsize)

    def fill(array: np.ndarray, part: tuple[slice, ...]) -> None:
        array[part] = dataset[part]

    return decode(source, shape, native, parts, len(parts), fill, progress=progress, threads=1), notes


def _never_written(source: Source) -> InputError:
    return InputError(f"{source}: the array was created but never written; was the program that saves it stopped?")


def _check_filters(h5py: Any, source: Source, filters: Sequence[int]) -> None:
    """Raise InputError for a filter that this installation lacks; hdf5plugin brings many where it is installed."""
    missing = [number for number in filters if not h5py.h5z.filter_avail(number)]
    if not missing:
        return
    with suppress(ImportError):
        import hdf5plugin  # type: ignore[import-not-found, unused-ignore]  # noqa: F401  # which registers its filters

        missing = [number for number in filters if not h5py.h5z.filter_avail(number)]
    if missing:
        known = {**_FILTERS, **_PLUGINS}
        name = known.get(missing[0], f"number {missing[0]}")
        raise InputError(
            f"{source}: is compressed by the filter {name}, which h5py lacks here; pip install hdf5plugin, or save it "
            "with compression='gzip'"
        )


def _chunk_infos(dataset: Any) -> list[Any]:
    infos: list[Any] = []
    dataset.id.chunk_iter(infos.append)
    return infos


class _UndecodableError(Exception):
    """A chunk that is not as its filters say; h5py is left to say what it is."""


def _decode_chunks(
    source: Source,
    dataset: Any,
    stored: np.dtype[Any],
    filters: Sequence[int],
    infos: Sequence[Any],
    expected: int,
    progress: Progress | None,
) -> np.ndarray:
    """Decode all chunks on several threads; the bytes of a chunk are read from the file itself, without h5py."""
    shape, chunks = tuple(dataset.shape), tuple(dataset.chunks)
    value = dataset.fillvalue if len(infos) < expected else None
    descriptor = os.open(source.path, os.O_RDONLY)

    def fill(array: np.ndarray, info: Any) -> None:
        starts = info.chunk_offset
        ends = [min(start + chunk, size) for start, chunk, size in zip(starts, chunks, shape, strict=True)]
        here = tuple(slice(start, end) for start, end in zip(starts, ends, strict=True))
        within = tuple(slice(0, end - start) for start, end in zip(starts, ends, strict=True))
        raw = os.pread(descriptor, info.size, info.byte_offset)
        array[here] = _decode_chunk(raw, info.filter_mask, filters, stored, chunks)[within]

    try:
        native = stored.newbyteorder("=")
        return decode(source, shape, native, infos, len(infos), fill, value=value, progress=progress)
    finally:
        os.close(descriptor)


def _decode_chunk(
    raw: bytes, mask: int, filters: Sequence[int], dtype: np.dtype[Any], chunks: Sequence[int]
) -> np.ndarray:
    """Undo the filters of one chunk, the last one first; bit i of the mask says that filter i was not applied."""
    num_bytes = math.prod(chunks) * dtype.itemsize
    data: Any = raw
    for number in reversed(range(len(filters))):
        if mask >> number & 1:
            continue
        if filters[number] == _DEFLATE:
            try:
                data = zlib.decompressobj().decompress(data, num_bytes + 1)
            except zlib.error as error:
                raise _UndecodableError from error
        elif dtype.itemsize > 1:
            if len(data) != num_bytes:
                raise _UndecodableError
            planes = np.frombuffer(data, np.uint8).reshape(dtype.itemsize, -1)
            data = np.empty(planes.shape[::-1], np.uint8)
            for number_of_byte, plane in enumerate(planes):  # several times faster than a copy of planes.T
                data[:, number_of_byte] = plane
    if memoryview(data).nbytes != num_bytes:
        raise _UndecodableError
    return np.frombuffer(data, dtype).reshape(tuple(chunks))
