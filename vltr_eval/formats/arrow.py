"""Parquet files, and tables in arrow's memory format from any library; pyarrow is imported on use.

Each column keeps its own type. Rows are decoded some thousands at a time into one array, so that reading needs little
more memory than its result. The number of rows that a parquet file states is believed only as far as it can be checked:
its row groups must have as many, the result must fit into this machine's memory, and as many must be decoded. A small
file can rightly hold a large matrix (a run of zeros takes some bytes), so the file's size is no bound.

Legend: N rows (videos), C classes, K columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.columns import Progress, RowBuffer, allocate, stack_columns
from vltr_eval.formats.roles import IDS, Role, choose, has_role
from vltr_eval.formats.sources import Source, check_regular, listing, reading, require
from vltr_eval.formats.table import BOOL, LIST, MATRIX, NUMBER, OTHER, TEXT, Column, Lists, Table, check_distinct_names

Batches = Callable[[Sequence[int]], Iterable[Any]]

# Values decoded at a time. pyarrow keeps up to two megabytes of each column that it reads, its page and its dictionary.
_CELLS, _COLUMNS = 2**21, 128
_MAX_ROWS = 2**16
_LIST_WIDTH = 2**8  # a guess, where the type does not say how long lists are
_INDEX_LEVEL = re.compile(r"__index_level_\d+__")  # pandas' name for an index without one

# Extension types whose storage is the values themselves. A period's storage, for one, is a number that counts months.
_PLAIN_EXTENSIONS = {"arrow.bool8", "arrow.fixed_shape_tensor", "arrow.json"}


# ---------------------------------------------------------------------------------------------------------------------
# Parquet
# ---------------------------------------------------------------------------------------------------------------------


def read_parquet(source: Source, role: Role, *, progress: Progress | None = None) -> Table:
    """Describe the columns of a parquet file; their values are read on request.

    ``FILE::KEY`` picks one column. The columns that say which row is which stay beside it: the index that pandas
    declares, and those whose name says that they are row ids.

    Args:
        source: The file.
        role: Its use, for messages.
        progress: Called with the share of the rows that is read.

    Returns:
        A table of columns.

    Raises:
        InputError: No such file, no parquet file, a damaged one, or two columns of one name.
    """
    parquet = require("pyarrow.parquet", "parquet", source)
    check_regular(source)
    with _decoding(source), parquet.ParquetFile(source.path, memory_map=True) as file:
        schema, metadata = file.schema_arrow, file.metadata
        num_rows = metadata.num_rows
        held = sum(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
    if held != num_rows:
        raise InputError(f"{source}: damaged: states {num_rows:,} rows, but its row groups have {held:,}")

    def batches(positions: Sequence[int]) -> Iterator[Any]:
        names = [schema.names[position] for position in positions]
        with _decoding(source), parquet.ParquetFile(source.path, memory_map=True) as file:
            for batch in file.iter_batches(_rows_at_a_time(schema, positions), columns=names):
                yield batch.select(names)  # iter_batches takes "a.b" for the field b of a struct a, too

    if source.key is not None:
        choose(source, role, dict.fromkeys(schema.names, 1))
    table = table_of_schema(source, schema, num_rows, batches, progress)
    check_distinct_names(table)
    if [column.name for column in table.columns].count("") > 1:
        raise table.error("expected at most one column with an empty name, got several; rename them")
    return table


def _rows_at_a_time(schema: Any, positions: Sequence[int]) -> int:
    return max(1, min(_MAX_ROWS, _CELLS // max(1, sum(_width(schema.field(position).type) for position in positions))))


def _width(kind: Any) -> int:
    """Values in one cell."""
    own = _stored_type(kind)
    return getattr(own, "list_size", _LIST_WIDTH) if hasattr(own, "value_field") else 1


@contextmanager
def _decoding(source: Source) -> Iterator[None]:
    """Turn pyarrow's errors into one sentence; those of a damaged file can be of any of its types."""
    import pyarrow

    try:
        with reading(source):
            try:
                yield
            except (OSError, UnicodeDecodeError) as error:
                if getattr(error, "errno", None) is not None:
                    raise
                raise pyarrow.ArrowInvalid(str(error)) from error  # damaged metadata or pages, not the system
    except InputError:
        raise
    except pyarrow.ArrowNotImplementedError as error:
        raise InputError(f"{source}: uses a feature that pyarrow cannot read ({_first_line(error)})") from error
    except MemoryError as error:
        raise InputError(f"{source}: this machine's memory is too small to read it, or it is damaged") from error
    except (pyarrow.ArrowException, ValueError, KeyError, OverflowError) as error:
        raise InputError(f"{source}: not a .parquet file, or it is truncated or damaged") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


# ---------------------------------------------------------------------------------------------------------------------
# Tables in arrow's memory format
# ---------------------------------------------------------------------------------------------------------------------


def table_of_arrow(source: Source | str, data: Any) -> Table:
    """Describe a ``pyarrow.Table``.

    Raises:
        InputError: Two columns of one name.
    """

    def batches(positions: Sequence[int]) -> Iterator[Any]:
        yield from data.select(list(positions)).to_batches(max_chunksize=_rows_at_a_time(data.schema, positions))

    table = table_of_schema(source, data.schema, data.num_rows, batches)
    check_distinct_names(table)
    return table


def table_of_schema(
    source: Source | str, schema: Any, num_rows: int, batches: Batches, progress: Progress | None = None
) -> Table:
    """Describe columns in arrow's memory format, wherever they are.

    Args:
        source: The file or the argument's name; a file's key picks one column.
        schema: The ``pyarrow.Schema``, with the metadata of pandas and of HF datasets.
        num_rows: N.
        batches: Gives the columns at some positions of the schema, in that order, as record batches.
        progress: Called with the share of the rows that is read.
    """
    names = _class_names(schema)
    index, index_range = _pandas_index(schema, num_rows)
    index |= {name for name in schema.names if _INDEX_LEVEL.fullmatch(name)}
    fields = list(enumerate(schema))
    if isinstance(source, Source) and source.key is not None:
        kept = {name for name in schema.names if name == source.key or name in index or has_role(name, IDS)}
        fields = [(position, field) for position, field in fields if field.name in kept]
        names = {name: value for name, value in names.items() if name == source.key}
    positions = [position for position, _ in fields]
    columns = [Column(field.name, *_kind(field), field.name in index) for _, field in fields]
    if index_range is not None:
        name, labels = index_range
        columns.append(Column(name, NUMBER, "int64", True))

    def read_matrix(chosen: Sequence[int]) -> np.ndarray:
        requested = [columns[k] for k in chosen]

        def read(group: Sequence[int]) -> Iterator[Iterator[np.ndarray]]:
            return _blocks(source, [requested[k] for k in group], batches([positions[chosen[k]] for k in group]))

        return stack_columns(source, requested, num_rows, read, progress, _COLUMNS)

    def read_marked(chosen: Sequence[int]) -> np.ndarray:
        rows, start = RowBuffer(source, allocate(source, (num_rows, len(chosen)), np.float64, "F"), progress), 0
        for batch in batches([positions[k] for k in chosen]):
            target = rows.next_rows(batch.num_rows)
            for k, array in enumerate(batch.columns):
                target[:, k] = _with_nan(source, columns[chosen[k]], start, array)
            start += batch.num_rows
        return rows.finish()

    def read_column(chosen: int) -> Any:
        if chosen == len(positions):
            return np.arange(labels.start, labels.stop, labels.step)
        arrays = (batch.column(0) for batch in batches([positions[chosen]]))
        return _read(source, columns[chosen], arrays, num_rows, schema.field(positions[chosen]).type, progress)

    stated = set(names.values())
    notes: tuple[str, ...] = ()
    if len(stated) > 1:
        remedy = "pick one as FILE::KEY" if isinstance(source, Source) else "pass one column to use its names"
        notes = (f"columns {listing(names)} state different class names, so none are used; {remedy}",)
    return Table(
        source,
        num_rows,
        tuple(columns),
        read_matrix,
        read_column,
        class_names=stated.pop() if len(stated) == 1 else None,
        notes=notes,
        read_marked=read_marked,
        blank=frozenset(k for k, column in enumerate(columns) if (column.kind, column.dtype) == (OTHER, "null")),
    )


def column_of_chunks(
    source: Source | str, column_of: Callable[[str, str], Column], chunks: Any
) -> tuple[Column, Callable[[], Any]]:
    """Describe one ``pyarrow.ChunkedArray``: its column, made of its kind and dtype, and a function that reads it."""
    import pyarrow

    column = column_of(*_kind(pyarrow.field("", chunks.type)))
    return column, lambda: _read(source, column, chunks.chunks, len(chunks), chunks.type, None)


# Schemas


def _kind(field: Any) -> tuple[str, str]:
    """Kind and dtype of a column."""
    import pyarrow

    extension = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode(errors="replace")
    if isinstance(field.type, pyarrow.BaseExtensionType):
        extension = field.type.extension_name
    if extension and extension not in _PLAIN_EXTENSIONS:
        return OTHER, extension
    if len(getattr(field.type, "shape", (1,))) != 1:  # a tensor a row
        return OTHER, f"{extension} of shape {list(field.type.shape)}"
    own, types = _stored_type(field.type), pyarrow.types
    if types.is_boolean(own):
        return BOOL, "bool"
    if types.is_integer(own) or types.is_floating(own):
        return NUMBER, np.dtype(own.to_pandas_dtype()).name
    if _is_text(own):
        return TEXT, ""
    if hasattr(own, "value_field") and not types.is_map(own):
        kind, dtype = _kind(own.value_field)
        if types.is_null(_stored_type(own.value_type)):  # every list is empty
            return LIST, "int64"
        if kind in (NUMBER, BOOL):
            return (MATRIX if types.is_fixed_size_list(own) else LIST), dtype
        if kind == TEXT:
            return LIST, ""
    return OTHER, str(field.type)


def _stored_type(kind: Any) -> Any:
    """The type of the values, without a dictionary, runs or an extension around them."""
    import pyarrow

    while True:
        if isinstance(kind, pyarrow.BaseExtensionType):
            kind = kind.storage_type
        elif pyarrow.types.is_dictionary(kind) or _is_run_ends(kind):
            kind = kind.value_type
        else:
            return kind


def _is_run_ends(kind: Any) -> bool:
    return hasattr(kind, "run_end_type")


def _is_text(kind: Any) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


def _pandas_index(schema: Any, num_rows: int) -> tuple[set[str], tuple[str, range] | None]:
    """The names of the columns that pandas declares as the index, and the name and labels of one that is no column."""
    entries = _json_metadata(schema, b"pandas").get("index_columns")
    names, found = set(), None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, str):
            names.add(entry)
        elif isinstance(entry, dict) and entry.get("kind") == "range":
            bounds = [bound for key in ("start", "stop", "step") if isinstance(bound := entry.get(key), int)]
            if len(bounds) == 3 and bounds[2] != 0:
                labels = range(*bounds)
                # Rows that another library cut or joined keep the metadata of the first frame.
                if len(labels) == num_rows and labels != range(num_rows):
                    found = entry.get("name") or "__index_level_0__", labels
    return names, found


def _class_names(schema: Any) -> dict[str, tuple[str, ...]]:
    """The class names that HF datasets state for columns of class indices."""
    info = _json_metadata(schema, b"huggingface").get("info")
    features = info.get("features") if isinstance(info, dict) else None
    found = {}
    for name, feature in features.items() if isinstance(features, dict) else ():
        names = _names_of_feature(feature)
        if names and name in schema.names:
            found[name] = tuple(map(str, names))
    return found


def _names_of_feature(feature: Any) -> list[Any] | None:
    """The names of a ClassLabel, or of the ClassLabel in a list (Sequence, List, LargeList; before that [feature])."""
    if isinstance(feature, list) and len(feature) == 1:
        return _names_of_feature(feature[0])
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") == "ClassLabel":
        return feature["names"] if isinstance(feature.get("names"), list) else None
    return _names_of_feature(feature.get("feature"))


def _json_metadata(schema: Any, key: bytes) -> dict[str, Any]:
    import json  # not above: frames of other kinds need none

    try:
        content = json.loads((schema.metadata or {}).get(key, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


# Values


def _blocks(source: Source | str, columns: Sequence[Column], batches: Iterable[Any]) -> Iterator[Iterator[np.ndarray]]:
    """The batches of number columns as numpy arrays."""
    start = 0
    for batch in batches:
        yield (_convert(source, column, start, array) for column, array in zip(columns, batch.columns, strict=True))
        start += batch.num_rows


def _read(
    source: Source | str,
    column: Column,
    arrays: Iterable[Any],
    num_rows: int,
    kind: Any,
    progress: Progress | None,
) -> Any:
    """The values of one column, given as consecutive arrays of arrow."""
    if column.kind == OTHER:
        raise InputError(f"{source}: column {column.name}: expected numbers, text or lists of them, got {column.dtype}")
    if column.kind == LIST:
        return _read_lists(source, column, arrays, num_rows, progress)
    dtype = np.dtype(object) if column.kind == TEXT else np.dtype(column.dtype)
    shape = (num_rows, _stored_type(kind).list_size) if column.kind == MATRIX else (num_rows,)
    rows, start = RowBuffer(source, allocate(source, shape, dtype), progress), 0
    for array in arrays:
        rows.next_rows(len(array))[...] = _convert(source, column, start, array)
        start += len(array)
    return rows.finish()


def _read_lists(
    source: Source | str, column: Column, arrays: Iterable[Any], num_rows: int, progress: Progress | None
) -> Lists:
    """Lists of numbers or text; a row without a list is an empty list."""
    kind = np.dtype(column.dtype) if column.dtype else np.dtype(object)
    dtype = np.dtype(np.int64) if kind.kind in "iu" else kind
    rows, values = RowBuffer(source, allocate(source, (num_rows,), np.int64), progress), [np.empty(0, dtype)]
    start = num_null = 0
    for array in arrays:
        lengths, flat = _convert(source, column, start, array)
        if flat.dtype == np.uint64 and len(flat) and flat.max() >= 2**63:
            raise InputError(f"{source}: column {column.name}: expected class indices, got {flat.max()}")
        rows.next_rows(len(array))[...] = lengths
        values.append(flat.astype(dtype, copy=False))
        num_null += array.null_count
        start += len(array)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(rows.finish())])
    return Lists(indptr, np.concatenate(values), num_null)


def _convert(source: Source | str, column: Column, start: int, array: Any) -> Any:
    """Some rows of a column as a numpy array, and of lists as their lengths and their values."""
    import pyarrow

    convert = {MATRIX: _matrix, LIST: _lists}.get(column.kind, _values)
    try:
        return convert(source, column, start, _plain(array))
    except pyarrow.ArrowNotImplementedError as error:
        raise InputError(
            f"{source}: column {column.name}: pyarrow {pyarrow.__version__} cannot convert {array.type} "
            f"({_first_line(error)})"
        ) from error
    except (UnicodeDecodeError, pyarrow.ArrowException):  # arrow looks at text only when it is converted
        raise InputError(f"{source}: column {column.name}: expected UTF-8 text, got other bytes") from None


def _values(source: Source | str, column: Column, start: int, array: Any) -> np.ndarray:
    _check_nulls(source, column, start, array, "text" if column.kind == TEXT else "a number")
    values: np.ndarray = array.to_numpy(zero_copy_only=False)
    return values


def _with_nan(source: Source | str, column: Column, start: int, array: Any) -> np.ndarray:
    """Some rows of a column of numbers, as float64 with NaN for a null."""
    array = _plain(array)
    if str(array.type) == "null":
        return np.full(len(array), np.nan)
    if not array.null_count:
        return np.asarray(_convert(source, column, start, array), np.float64)
    missing: np.ndarray = array.is_null().to_numpy(zero_copy_only=False)
    values = np.full(len(array), np.nan)
    values[~missing] = _convert(source, column, start, array.drop_null())
    return values


def _matrix(source: Source | str, column: Column, start: int, array: Any) -> np.ndarray:
    size = array.type.list_size
    _check_nulls(source, column, start, array, f"{size} numbers")
    values = _plain(array.flatten())
    _check_nulls(source, column, start, values, "a number", lambda index: index // size)
    matrix: np.ndarray = values.to_numpy(zero_copy_only=False).reshape(len(array), size)
    return matrix


def _lists(source: Source | str, column: Column, start: int, array: Any) -> tuple[np.ndarray, np.ndarray]:
    from pyarrow import compute

    lengths = compute.fill_null(compute.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    values = _plain(array.flatten())  # without the values under a null
    expected = "a class index or a number" if column.dtype else "a class name"
    ends = np.cumsum(lengths)
    _check_nulls(source, column, start, values, expected, lambda index: int(np.searchsorted(ends, index, side="right")))
    return lengths, values.to_numpy(zero_copy_only=False)


def _plain(array: Any) -> Any:
    """The values without a dictionary, runs or an extension around them."""
    import pyarrow
    from pyarrow import compute

    while True:
        if isinstance(array, pyarrow.ExtensionArray):
            array = array.storage
        elif pyarrow.types.is_dictionary(array.type):
            names = array.dictionary
            if str(names.type) == "string_view":  # which arrow cannot take from
                names = names.cast(pyarrow.large_string())
            array = names.take(array.indices)
        elif _is_run_ends(array.type):
            array = compute.run_end_decode(array)
        else:
            return array


def _check_nulls(
    source: Source | str,
    column: Column,
    start: int,
    array: Any,
    expected: str,
    row_of: Callable[[int], int] = lambda index: index,
) -> None:
    """Raise InputError for the first null, which is no number and no text."""
    if array.null_count:
        row = start + row_of(int(array.is_null().to_numpy(zero_copy_only=False).argmax()))
        where = f"row {row}" if column.name is None else f"row {row}, column {column.name}"
        raise InputError(f"{source}: {where}: expected {expected}, got a null")
