"""Arrow's own files (.arrow, .feather) and the folders of Hugging Face `save_to_disk`; pyarrow is imported on use.

Files are memory-mapped. Where all rows lie in one uncompressed batch, a column of fixed-size lists, a column of lists
of equal lengths, and columns of one dtype that follow each other evenly become arrays without a copy. Scores in several
batches become one row shard a batch, without a copy too. Everything else is decoded some thousand rows at a time.

The package datasets is not needed: such a folder holds Arrow streams and some JSON. The class names are those of its
ClassLabel features.

Legend: N rows, C classes, K columns.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats import arrow
from vltr_eval.formats.columns import Progress
from vltr_eval.formats.roles import SCORES, Role, choose
from vltr_eval.formats.sources import Source, check_regular, listing, require
from vltr_eval.formats.table import LIST, MATRIX, NUMBER, Column, Lists, Table, check_distinct_names

SUFFIXES = (".arrow", ".feather", ".ipc")

_STATE, _DICT, _INFO = "state.json", "dataset_dict.json", "dataset_info.json"
_FILE, _FEATHER_V1 = b"ARROW1", b"FEA1"
_MAX_JSON = 64 << 20


@dataclass(frozen=True, eq=False)
class _File:
    """One file of Arrow: its schema, the rows of each of its batches, and whether some are compressed."""

    path: Path
    schema: Any
    lengths: tuple[int, ...]
    compressed: bool


def read_arrow(source: Source, role: Role, *, progress: Progress | None = None) -> Table:
    """Describe the columns of an Arrow file or stream; their values are read on request.

    Args:
        source: The file, whose key picks one column.
        role: Its use.
        progress: Called with the share of the rows that is read.

    Returns:
        A table of columns.

    Raises:
        InputError: No such file, no Arrow file, version 1 of Feather, a damaged one, or two columns of one name.
    """
    return _table(source, role, [_describe(source, source.path)], progress)


def is_saved_dataset(path: Path) -> bool:
    """Whether a folder was made by `save_to_disk` of a Dataset or a DatasetDict."""
    return (path / _STATE).is_file() or (path / _DICT).is_file()


def read_saved_dataset(source: Source, role: Role, *, progress: Progress | None = None) -> Table:
    """Describe the columns of a folder of `save_to_disk`; ``FOLDER::SPLIT`` picks a split of a DatasetDict.

    Args:
        source: The folder, whose key picks a split of a DatasetDict, or a column of a Dataset.
        role: Its use.
        progress: Called with the share of the rows that is read.

    Raises:
        InputError: A split in doubt, files that are missing or damaged, or files of different columns.
    """
    if (source.path / _DICT).is_file():
        splits = _json_of(source, _DICT).get("splits")
        if not isinstance(splits, list) or not all(map(_is_plain_name, splits)):
            raise InputError(f"{source.path}: a damaged {_DICT}: expected the names of splits")
        if source.key not in splits:
            raise InputError(
                f"{source}: expected one of the splits {listing(splits)}; pick one as FOLDER::SPLIT, "
                "and one of its columns as FOLDER/SPLIT::COLUMN"
            )
        source = Source(source.path / str(source.key))
    state = _json_of(source, _STATE)
    names = _file_names(source, state, "_data_files")
    if not names:
        raise InputError(f"{source.path}: a damaged {_STATE}: expected the names of files")
    files = [_describe(source, source.path / name) for name in names]
    for file in files[1:]:
        if not file.schema.equals(files[0].schema):
            raise InputError(f"{file.path}: has other columns or types than {files[0].path.name}")
    indices = _file_names(source, state, "_indices_data_files") or _file_names(source, state, "_indices_files")
    table = _table(source, role, [_with_features(source, files[0]), *files[1:]], progress)
    return table if not indices else _taken(source, table, [source.path / name for name in indices])


def _json_of(source: Source, name: str) -> dict[str, Any]:
    path = source.path / name
    own = Source(path)
    check_regular(own)
    if own.size > _MAX_JSON:
        raise InputError(f"{path}: expected at most {_MAX_JSON:,} bytes, got {own.size:,}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        raise InputError(f"{path}: not a whole JSON file") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _file_names(source: Source, state: dict[str, Any], key: str) -> list[str]:
    entries = state.get(key) or []
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries]
    if not all(map(_is_plain_name, names)):
        raise InputError(f"{source.path}: a damaged {_STATE}: expected names of files of this folder in {key}")
    return [str(name) for name in names]


def _is_plain_name(name: Any) -> bool:
    return isinstance(name, str) and Path(name).name == name and name not in ("", "..") and "\0" not in name


def _with_features(source: Source, file: _File) -> _File:
    """The file, with the features of dataset_info.json where its own schema states none."""
    metadata = file.schema.metadata or {}
    if b"huggingface" in metadata or not (source.path / _INFO).is_file():
        return file
    features = {"info": {"features": _json_of(source, _INFO).get("features")}}
    return replace(file, schema=file.schema.with_metadata({**metadata, b"huggingface": json.dumps(features).encode()}))


def _taken(source: Source, table: Table, paths: Sequence[Path]) -> Table:
    """The rows that a table of indices picks: datasets before 2.0 saved a shuffled data set in this way."""
    parts = []
    for path in paths:
        file = _describe(source, path)
        for batch in _batches(file, [0]):
            parts.append(np.asarray(batch.column(0).to_numpy(zero_copy_only=False)))
    order = np.concatenate(parts) if parts else np.empty(0, np.int64)
    if order.dtype.kind not in "iu" or (order.size and not 0 <= int(order.min()) <= int(order.max()) < table.num_rows):
        raise InputError(f"{source.path}: damaged: its indices are not row numbers below {table.num_rows:,}")
    order = order.astype(np.int64)

    def read_column(position: int) -> Any:
        values = table.read_column(position)
        if isinstance(values, list):
            values = np.concatenate(values)
        if not isinstance(values, Lists):
            return values[order]
        lengths = values.lengths[order]
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        positions = np.arange(indptr[-1]) + np.repeat(values.indptr[:-1][order] - indptr[:-1], lengths)
        return Lists(indptr, values.values[positions], values.num_null)

    return replace(
        table,
        num_rows=len(order),
        read_matrix=lambda positions: table.read_matrix(positions)[order],
        read_column=read_column,
    )


# Files


def _describe(source: Source, path: Path) -> _File:
    """The schema and the batches of a file, from the metadata of its messages: no data is read or decompressed."""
    own = Source(path)
    check_regular(own)
    with _opened(own) as (reader, mapped):
        ipc = require("pyarrow.ipc", "parquet", own)
        is_file = hasattr(reader, "num_record_batches")
        start = len(_FILE) + 2 if is_file else 0  # the messages of a file are a stream behind its magic
        lengths, compressed = [], False
        for message in ipc.MessageReader.open_stream(mapped.slice(start)):
            if message.type == "record batch":
                length, is_compressed = _batch_header(message.metadata)
                lengths.append(length)
                compressed |= is_compressed
        if is_file and len(lengths) != reader.num_record_batches:
            raise InputError(f"{path}: damaged: states {reader.num_record_batches} batches, but has {len(lengths)}")
        file = _File(path, reader.schema, tuple(lengths), compressed)
    if sum(lengths) > own.size and len(file.schema):  # memory is allocated by these numbers, so they are not believed
        kinds = [field.type for field in file.schema]
        for _ in _batches(file, [min(range(len(kinds)), key=lambda position: arrow.width_of(kinds[position]))]):
            pass
    return file


def _batch_header(metadata: Any) -> tuple[int, bool]:
    """The number of rows of a record batch and whether it is compressed, from the flatbuffer of its message."""
    data = memoryview(metadata)

    def field(table: int, number: int) -> int:
        """The position of a field of a table, 0 where it has its default."""
        vtable = table - struct.unpack_from("<i", data, table)[0]
        (size,) = struct.unpack_from("<H", data, vtable)
        at = 4 + 2 * number
        offset = struct.unpack_from("<H", data, vtable + at)[0] if at < size else 0
        return table + offset if offset else 0

    try:
        (message,) = struct.unpack_from("<I", data, 0)
        header = field(message, 2)
        batch = header + struct.unpack_from("<I", data, header)[0]
        length, compression = field(batch, 0), field(batch, 3)
        rows = struct.unpack_from("<q", data, length)[0] if length else 0
    except struct.error:
        raise ValueError("a damaged message") from None
    if rows < 0:
        raise ValueError("a negative number of rows")
    return rows, compression != 0


@contextmanager
def _opened(source: Source, positions: Sequence[int] | None = None) -> Iterator[Any]:
    """A reader of the batches of a file or stream, and the mapping of the whole file that it reads."""
    pyarrow = require("pyarrow", "parquet", source)
    ipc = require("pyarrow.ipc", "parquet", source)
    with arrow.decoding(source, source.suffix or "Arrow"):
        with open(source.path, "rb") as stream:
            start = stream.read(len(_FILE))
        if start.startswith(_FEATHER_V1):
            raise InputError(
                f"{source}: is version 1 of Feather, which pyarrow no longer writes; "
                "save it by pyarrow.feather.write_feather(table, FILE)"
            )
        if not start:
            raise InputError(f"{source}: not an Arrow file: it is empty")
        options = ipc.IpcReadOptions(included_fields=None if positions is None else sorted(set(positions)))
        with pyarrow.memory_map(str(source.path)) as stream:
            mapped = stream.read_buffer()
            stream.seek(0)
            yield (ipc.open_file if start == _FILE else ipc.open_stream)(stream, options=options), mapped


def _each(reader: Any) -> Iterator[Any]:
    """The batches of a reader of a file or a stream."""
    if hasattr(reader, "num_record_batches"):
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)
    else:
        while True:
            try:
                yield reader.read_next_batch()
            except StopIteration:
                return


def _batches(file: _File, positions: Sequence[int]) -> Iterator[Any]:
    """The batches of a file, with the columns at some positions in that order, checked against their buffers."""
    # pyarrow copies the columns that it is asked for out of a mapping; all columns together it does not copy.
    read = sorted(set(positions)) if file.compressed else None
    with _opened(Source(file.path), read) as (reader, _):
        for whole in _each(reader):
            batch = whole.select([read.index(k) for k in positions] if read else list(positions))
            batch.validate(full=True)  # an offset outside its buffer would be followed otherwise
            yield batch


def _table(source: Source, role: Role, files: Sequence[_File], progress: Progress | None) -> Table:
    schema = files[0].schema
    num_rows = sum(sum(file.lengths) for file in files)

    def whole(positions: Sequence[int]) -> Iterator[Any]:
        for file in files:
            yield from _batches(file, positions)

    def batches(positions: Sequence[int]) -> Iterator[Any]:
        most = arrow.rows_at_a_time(schema, positions)
        for batch in whole(positions):
            yield from (batch.slice(start, most) for start in range(0, batch.num_rows, most))

    if source.key is not None:
        choose(source, role, dict.fromkeys(schema.names, 1))
    table = arrow.table_of_schema(source, schema, num_rows, batches, progress)
    check_distinct_names(table)
    if [column.name for column in table.columns].count("") > 1:
        raise table.error("expected at most one column with an empty name, got several; rename them")
    return _without_copies(source, role, table, schema, files, whole)


# Arrays without a copy


def _without_copies(
    source: Source,
    role: Role,
    table: Table,
    schema: Any,
    files: Sequence[_File],
    whole: Callable[[Sequence[int]], Iterator[Any]],
) -> Table:
    """The table, whose arrays are views of the mapped file where its layout allows."""
    num_batches = sum(length > 0 for file in files for length in file.lengths)
    position_of = {name: position for position, name in enumerate(schema.names)}

    def arrays(chosen: Sequence[int]) -> Iterator[list[Any]]:
        for batch in whole([position_of[str(table.columns[k].name)] for k in chosen]):
            if batch.num_rows:
                yield batch.columns

    def read_column(chosen: int) -> Any:
        column = table.columns[chosen]
        is_view = num_batches == 1 or (role is SCORES and num_batches > 1 and column.kind == MATRIX)
        if column.kind not in (NUMBER, LIST, MATRIX) or not is_view or column.name not in position_of:
            return table.read_column(chosen)
        found, start = [], 0
        for (array,) in arrays([chosen]):
            found.append(arrow.convert(source, column, start, array))
            start += len(array)
        if column.kind != LIST:
            return found[0] if num_batches == 1 else found
        lengths, values = found[0]
        if values.dtype.kind != "f":
            return table.read_column(chosen)
        return Lists(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)]), values)

    def read_matrix(chosen: Sequence[int]) -> Any:
        requested = [table.columns[k] for k in chosen]
        same = len({column.dtype for column in requested}) == 1 and all(column.kind == NUMBER for column in requested)
        if num_batches == 1 and same and all(column.name in position_of for column in requested):
            file = next(file for file in files if any(file.lengths))
            view = _evenly_spaced(file, requested, [position_of[str(column.name)] for column in requested])
            if view is not None:
                return view
        return table.read_matrix(chosen)

    return replace(table, read_column=read_column, read_matrix=read_matrix)


def _evenly_spaced(file: _File, columns: Sequence[Column], positions: Sequence[int]) -> np.ndarray | None:
    """Columns of numbers as one (N, K) view of the mapped file; None where they do not lie there at one distance."""
    source = Source(file.path)
    if file.compressed:
        return None
    with _opened(source) as (reader, mapped):
        (whole,) = (batch for batch in _each(reader) if batch.num_rows)
        batch = whole.select(list(positions))
        batch.validate(full=True)
        arrays = batch.columns
        views = [arrow.convert(source, column, 0, array) for column, array in zip(columns, arrays, strict=True)]
    offsets = np.array([view.__array_interface__["data"][0] for view in views], np.int64) - mapped.address
    steps, dtype = set(np.diff(offsets).tolist()), views[0].dtype
    if len(steps) > 1 or any(view.strides != (dtype.itemsize,) for view in views):
        return None
    step = steps.pop() if steps else dtype.itemsize
    if not (step > 0 and offsets[0] >= 0 and offsets[-1] + views[0].nbytes <= mapped.size):
        return None
    shape, strides = (len(views[0]), len(views)), (dtype.itemsize, int(step))
    view: np.ndarray = np.ndarray(shape, dtype, mapped, int(offsets[0]), strides)
    return view
