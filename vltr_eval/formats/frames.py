"""Data frames in memory: of pandas, polars, pyarrow, DuckDB, HF datasets, any that exports arrow; structured arrays.

No library is imported here but pyarrow, through which all but pandas and numpy are read: a value of a library's type
shows that the library is loaded. Values are copied into new arrays, except for neighbouring columns of one numpy dtype
in one block of a pandas frame.

The index of a pandas frame is a column with ``is_index``, whatever its dtype, as it is in a parquet file; labels that
occur twice are kept. A default index is none: a RangeIndex 0..N-1, or such integers in order without a name. The levels
of a MultiIndex are a column each.

Legend: N rows (videos), C classes, K columns.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.arrow import column_of_chunks, table_of_arrow
from vltr_eval.formats.columns import stack_columns
from vltr_eval.formats.table import BOOL, LIST, MATRIX, NUMBER, OTHER, TEXT, Column, Lists, Table, check_distinct_names

# A column, and a function that reads it.
Part = tuple[Column, Callable[[], Any]]


def is_frame(value: Any) -> bool:
    """Whether a value is a data frame, or one column of one, which `table_of_frame` describes or refuses by name.

    Arrays of pandas are frames too, since some of them have missing values, which numpy arrays do not have.
    """
    return (
        _is_of(value, "pandas", "DataFrame", "Series", "Index", "api.extensions.ExtensionArray")
        or _is_of(value, "polars", "DataFrame", "Series", "LazyFrame")
        or _is_of(value, "narwhals", "DataFrame", "Series", "LazyFrame")
        or _is_of(value, "pyarrow", "Table", "RecordBatch", "ChunkedArray", "Array")
        or _is_of(value, "datasets", "Dataset")
        or _is_of(value, "duckdb", "DuckDBPyRelation")
        or (isinstance(value, np.ndarray) and value.dtype.names is not None)
        or _exports_arrow(value)
    )


def table_of_frame(name: str, frame: Any) -> Table:
    """Describe a data frame in memory, or one column of one; see the module for the rules of its index.

    Args:
        name: The argument's name; begins every message.
        frame: A value for which `is_frame` is true.

    Returns:
        A table of columns. Column names that are not text are written as text; a column without a frame has its own
        name, or None.

    Raises:
        InputError: A frame that is not computed yet, two columns of one name, or pyarrow is needed and not installed.

    Example:
        >>> import numpy as np
        >>> rows = np.array([("v1", 0.5), ("v2", 0.25)], [("video", "U8"), ("dog", "f4")])
        >>> table = table_of_frame("scores", rows)
        >>> [(column.name, column.kind, column.dtype) for column in table.columns]
        [('video', 'text', ''), ('dog', 'number', 'float32')]
        >>> table.read_matrix([1])
        array([[0.5 ],
               [0.25]], dtype=float32)
    """
    if _is_of(frame, "polars", "LazyFrame"):
        raise InputError(
            f"{name}: expected a data frame, got a LazyFrame, which has no rows yet; pass {name}.collect()"
        )
    if _is_of(frame, "narwhals", "DataFrame", "Series", "LazyFrame"):
        return table_of_frame(name, frame.to_native())
    if _is_of(frame, "pandas", "DataFrame", "Series", "Index", "api.extensions.ExtensionArray"):
        table = _table_of_pandas(name, frame)
    elif isinstance(frame, np.ndarray):
        table = _table_of_structured(name, frame)
    elif _is_of(frame, "polars", "DataFrame"):
        _require_pyarrow(name, frame)
        parts = [_describe_polars(name, series.name, series) for series in frame.get_columns()]
        table = _table_of_parts(name, len(frame), parts)
        table = replace(table, read_marked=lambda positions: _marked_of_polars(name, frame, positions))
    elif _is_of(frame, "polars", "Series"):
        _require_pyarrow(name, frame)
        table = _table_of_parts(name, len(frame), [_describe_polars(name, frame.name or None, frame)])
    else:
        table = _table_of_arrow(name, frame)
    check_distinct_names(table)
    return table


def _is_of(value: Any, module: str, *types: str) -> bool:
    """Whether a value has one of the types of a library, which is not imported for that."""
    if module not in sys.modules:
        return False
    for name in types:
        kind: Any = sys.modules[module]
        for part in name.split("."):
            kind = getattr(kind, part, None)
        if isinstance(kind, type) and isinstance(value, kind):
            return True
    return False


def _exports_arrow(value: Any) -> bool:
    is_type = isinstance(value, type)
    return not is_type and (hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__"))


def _table_of_parts(name: str, num_rows: int, parts: Sequence[Part]) -> Table:
    columns = tuple(column for column, _ in parts)

    def read_matrix(positions: Sequence[int]) -> np.ndarray:
        requested = [columns[position] for position in positions]
        return stack_columns(name, requested, num_rows, lambda group: [(parts[positions[k]][1]() for k in group)])

    return Table(name, num_rows, columns, read_matrix, lambda position: parts[position][1]())


def _refused(name: str, column: Column) -> Part:
    """A column of a kind that nothing can be read from; it is refused only when it is read."""

    def read() -> Any:
        raise InputError(f"{name}: column {column.name}: expected numbers, text or lists of them, got {column.dtype}")

    return column, read


def _check_missing(name: str, column: Column, missing: np.ndarray) -> None:
    if missing.any():
        at = f"row {missing.argmax()}" + ("" if column.name is None else f", column {column.name}")
        expected = "text" if column.kind == TEXT else "a number"
        raise InputError(f"{name}: {at}: expected {expected}, got a missing value")


# ---------------------------------------------------------------------------------------------------------------------
# pandas
# ---------------------------------------------------------------------------------------------------------------------


def _table_of_pandas(name: str, frame: Any) -> Table:
    pandas = sys.modules["pandas"]
    if isinstance(frame, (pandas.Index, pandas.api.extensions.ExtensionArray)):
        frame = pandas.Series(frame)
    if isinstance(frame, pandas.Series):
        label = None if frame.name is None else str(frame.name)
        parts = [_describe_series(name, Column(label, OTHER), frame)]
    else:
        parts = [
            _describe_series(name, Column(str(label), OTHER), frame.iloc[:, position])
            for position, label in enumerate(frame.columns)
        ]
    num_columns = len(parts)
    parts += _index_parts(name, frame.index, {column.name for column, _ in parts})
    table = _table_of_parts(name, len(frame), parts)

    def read_matrix(positions: Sequence[int]) -> np.ndarray:
        """Columns of one numpy dtype leave pandas as one block, without a copy where they are neighbours in it."""
        positions = list(positions)
        if frame.ndim == 2 and positions and max(positions) < num_columns:
            dtypes = set(frame.dtypes.iloc[positions])
            if len(dtypes) == 1 and _is_plain(dtypes.pop()):
                are_neighbours = positions == list(range(positions[0], positions[-1] + 1))
                chosen = slice(positions[0], positions[-1] + 1) if are_neighbours else positions
                return np.asarray(frame.iloc[:, chosen].to_numpy())
        return np.asarray(table.read_matrix(positions))

    def read_marked(positions: Sequence[int]) -> np.ndarray:
        chosen = frame.to_frame() if frame.ndim == 1 else frame.iloc[:, list(positions)]
        return np.asarray(chosen.to_numpy(dtype=np.float64, na_value=np.nan))

    blank = frozenset(
        position
        for position, (column, _) in enumerate(parts[:num_columns])
        if column.kind == OTHER and column.dtype in ("objects (empty)", "null")
    )
    return Table(name, len(frame), table.columns, read_matrix, table.read_column, read_marked=read_marked, blank=blank)


def _is_plain(dtype: Any) -> bool:
    """Whether a dtype is numpy's, of numbers that the core knows, in this machine's byte order."""
    return isinstance(dtype, np.dtype) and dtype.kind in "biuf" and dtype.itemsize <= 8 and dtype.isnative


def _index_parts(name: str, index: Any, taken: set[str | None]) -> list[Part]:
    """The index as columns; none for a default one. A level whose name is taken is named as one without a name."""
    pandas = sys.modules["pandas"]
    if isinstance(index, pandas.MultiIndex):
        levels = [index.get_level_values(level) for level in range(index.nlevels)]
    else:
        is_range = isinstance(index, pandas.RangeIndex)
        is_integer = isinstance(index.dtype, np.dtype) and index.dtype.kind in "iu"
        counts_rows = is_integer and np.array_equal(index.to_numpy(), np.arange(len(index)))
        if counts_rows and (is_range or index.name is None):
            return []
        levels = [index]
    parts = []
    for position, level in enumerate(levels):
        label = f"__index_level_{position}__" if level.name is None or str(level.name) in taken else str(level.name)
        taken.add(label)
        parts.append(_describe_series(name, Column(label, OTHER, is_index=True), pandas.Series(level)))
    return parts


def _describe_series(name: str, column: Column, series: Any) -> Part:
    """Describe one pandas column; ``column`` has its name."""
    pandas, dtype = sys.modules["pandas"], series.dtype

    def of(kind: str, dtype: str = "") -> Column:
        return Column(column.name, kind, dtype, column.is_index)

    if isinstance(dtype, np.dtype):
        if dtype.kind == "O":
            return _describe_objects(name, of, series)
        return _describe_numpy(name, of, series.to_numpy())
    if isinstance(dtype, pandas.CategoricalDtype):
        inner, read_names = _describe_series(name, column, pandas.Series(dtype.categories))
        codes = series.cat.codes.to_numpy()

        def read_categories() -> np.ndarray:
            _check_missing(name, inner, codes < 0)
            names = read_names()
            return np.asarray(names[codes] if len(codes) else names[:0])

        return inner, read_categories
    if isinstance(dtype, pandas.SparseDtype):
        return _describe_series(name, column, series.sparse.to_dense())
    if _is_of(dtype, "pandas", "ArrowDtype"):
        return _describe_arrow(name, of, series.array.__arrow_array__())
    if isinstance(dtype, pandas.StringDtype):
        found, own = of(TEXT), np.dtype(object)
    elif hasattr(dtype, "numpy_dtype"):  # Int64, Float32, boolean
        own = dtype.numpy_dtype
        found = of(BOOL if own.kind == "b" else NUMBER, own.name)
    else:
        return _refused(name, of(OTHER, str(dtype)))

    def read() -> np.ndarray:
        _check_missing(name, found, series.isna().to_numpy())
        values: np.ndarray = series.to_numpy(dtype=own)
        return values

    return found, read


def _describe_numpy(name: str, of: Callable[..., Column], values: np.ndarray) -> Part:
    """Describe a numpy array of one value a row, or of one row of numbers a row."""
    dtype = values.dtype
    if values.ndim == 1 and dtype.kind == "U":
        return of(TEXT), lambda: values.astype(object)
    if not _is_plain(dtype.newbyteorder("=")) or values.ndim > 2:
        return _refused(name, of(OTHER, str(dtype) if values.ndim < 3 else f"{dtype} of shape {values.shape[1:]}"))
    kind = MATRIX if values.ndim == 2 else BOOL if dtype.kind == "b" else NUMBER
    return of(kind, dtype.name), lambda: values.astype(dtype.newbyteorder("="), copy=False)


def _describe_objects(name: str, of: Callable[..., Column], series: Any) -> Part:
    """Describe Python objects: text, numbers or lists where all are that, perhaps with missing ones."""
    inferred = sys.modules["pandas"].api.types.infer_dtype(series, skipna=True)
    cells, missing = series.to_numpy(), series.isna().to_numpy()
    if inferred == "string" or len(cells) == 0:
        column, dtype = of(TEXT), np.dtype(object)
    elif inferred in ("boolean", "integer", "floating", "mixed-integer-float"):
        dtype = np.dtype({"boolean": bool, "integer": np.int64}.get(inferred, np.float64))
        column = of(BOOL if inferred == "boolean" else NUMBER, dtype.name)
    else:
        lists = _lists_of(cells, missing)
        if lists is None:
            return _refused(name, of(OTHER, f"objects ({inferred})"))
        column = of(LIST, "" if lists.is_text else lists.values.dtype.name)
        return column, lambda: _checked_items(name, column, lists)

    def read() -> np.ndarray:
        _check_missing(name, column, missing)
        try:
            values: np.ndarray = cells.astype(dtype)
        except OverflowError:
            raise InputError(f"{name}: column {column.name}: expected whole numbers of at most 64 bits") from None
        if dtype.kind == "f" and (values != cells).any():
            row = int((values != cells).argmax())
            raise InputError(
                f"{name}: row {row}, column {column.name}: expected a number that float64 holds exactly, as the column "
                f"has fractions, got {cells[row]}"
            )
        return values

    return column, read


def _lists_of(cells: np.ndarray, missing: np.ndarray) -> Lists | None:
    """Lists of cells that are lists, tuples, sets or 1-D arrays, or missing; None for other cells."""
    rows = [() if gone else cell for cell, gone in zip(cells, missing, strict=True)]
    for row in rows:
        is_flat = row.ndim == 1 if isinstance(row, np.ndarray) else isinstance(row, (list, tuple, set, frozenset))
        if not is_flat:
            return None
    if missing.all():
        return None
    filled = [row for row in rows if len(row)]
    dtypes = {row.dtype if isinstance(row, np.ndarray) else None for row in filled}
    dtype = dtypes.pop() if len(dtypes) == 1 else None
    if dtype is not None and _is_plain(dtype) and dtype != np.uint64:
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        values = np.concatenate(filled).astype(np.int64 if dtype.kind in "iu" else dtype, copy=False)
        return Lists(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), values, int(missing.sum()))
    kinds = set(map(type, chain.from_iterable(filled)))
    if any(issubclass(kind, (list, tuple, set, frozenset, dict, np.ndarray)) for kind in kinds):
        return None
    if any(issubclass(kind, np.generic) for kind in kinds) or not all(type(row) is list for row in filled):
        rows = [_items(row) for row in rows]
    lists = Lists.from_rows(rows)
    return Lists(lists.indptr, lists.values, int(missing.sum()))


def _items(cell: Any) -> list[Any]:
    """The items of a list as Python objects; those of a set in order, so that a frame is always read alike."""
    if isinstance(cell, np.ndarray):
        return list(cell.tolist())
    items = [item.item() if isinstance(item, np.generic) else item for item in cell]
    if isinstance(cell, (set, frozenset)):
        items.sort(key=lambda item: (str(type(item)), item))
    return items


def _checked_items(name: str, column: Column, lists: Lists) -> Lists:
    """The lists, whose items are of one kind and none is missing; a NaN among floats is a number."""
    if lists.values.dtype != object:
        return lists
    kinds = set(map(type, lists.values))
    if kinds <= {str}:
        return lists
    for position, item in enumerate(lists.values):
        if item is None or item is sys.modules["pandas"].NA or item != item:
            row = int(np.searchsorted(lists.indptr, position, side="right")) - 1
            at = f"row {row}" + ("" if column.name is None else f", column {column.name}")
            raise InputError(f"{name}: {at}: expected class indices or names in the list, got a missing value")
    got = " and ".join(sorted(kind.__name__ for kind in kinds))
    raise InputError(
        f"{name}: column {column.name}: expected lists of class indices, of numbers or of class names, got {got}"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Structured arrays of numpy
# ---------------------------------------------------------------------------------------------------------------------


def _table_of_structured(name: str, array: np.ndarray) -> Table:
    """Each field is a column; one of several numbers is a matrix."""
    if array.ndim != 1:
        raise InputError(f"{name}: expected a structured array of one dimension, got shape {array.shape}")
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(f"{name}: expected a structured array without a mask; fill the masked values first")
    parts = []
    for label in array.dtype.names or ():

        def of(kind: str, dtype: str = "", label: str = label) -> Column:
            return Column(label, kind, dtype)

        parts.append(_describe_numpy(name, of, array[label]))
    return _table_of_parts(name, len(array), parts)


# ---------------------------------------------------------------------------------------------------------------------
# Through pyarrow
# ---------------------------------------------------------------------------------------------------------------------


def _require_pyarrow(name: str, frame: Any) -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        library = type(frame).__module__.partition(".")[0]
        raise InputError(
            f'{name}: reading a {type(frame).__name__} of {library} needs pyarrow; pip install "vltr[parquet]"'
        ) from None


def _describe_arrow(name: str, of: Callable[..., Column], chunks: Any) -> Part:
    import pyarrow

    chunks = chunks if isinstance(chunks, pyarrow.ChunkedArray) else pyarrow.chunked_array([chunks])
    return column_of_chunks(name, of, chunks)


def _describe_polars(name: str, label: str | None, series: Any) -> Part:
    """Describe one polars column; a type that arrow does not have is refused only when it is read."""

    def of(kind: str, dtype: str) -> Column:
        return Column(label, kind, str(series.dtype) if kind == OTHER else dtype)

    try:
        return _describe_arrow(name, of, series.to_arrow())
    except ValueError:  # Int128
        return _refused(name, of(OTHER, str(series.dtype)))


def _marked_of_polars(name: str, frame: Any, positions: Sequence[int]) -> np.ndarray:
    """Columns of numbers of a polars frame, with NaN for a null."""
    read = table_of_arrow(name, frame[:, list(positions)].to_arrow()).read_marked
    return np.empty((len(frame), 0)) if read is None else read(range(len(positions)))


def _table_of_arrow(name: str, frame: Any) -> Table:
    """Describe what holds or exports arrow's data: a table, or one column."""
    pyarrow = _require_pyarrow(name, frame)
    if _is_of(frame, "datasets", "Dataset"):
        frame = frame.with_format("arrow")[:]
    elif _is_of(frame, "duckdb", "DuckDBPyRelation"):
        frame = frame.to_arrow_table() if hasattr(frame, "to_arrow_table") else frame.arrow()
    try:
        data = _import_arrow(pyarrow, frame)
    except pyarrow.ArrowException as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{name}: pyarrow cannot read this {type(frame).__name__} ({reason})") from error
    if isinstance(data, pyarrow.Table):
        return table_of_arrow(name, data)

    def of(kind: str, dtype: str = "") -> Column:
        return Column(None, kind, dtype)

    return _table_of_parts(name, len(data), [_describe_arrow(name, of, data)])


def _import_arrow(pyarrow: Any, frame: Any) -> Any:
    """A pyarrow.Table, ChunkedArray or Array of the same memory."""
    if isinstance(frame, (pyarrow.Table, pyarrow.ChunkedArray, pyarrow.Array)):
        return frame
    if isinstance(frame, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([frame])
    if not hasattr(pyarrow.RecordBatchReader, "from_stream"):
        raise pyarrow.ArrowNotImplementedError(f"version {pyarrow.__version__} is too old")
    if hasattr(frame, "__arrow_c_stream__"):
        try:
            return pyarrow.RecordBatchReader.from_stream(frame).read_all()
        except pyarrow.ArrowInvalid:  # one column, not a struct of columns
            return pyarrow.chunked_array(frame)
    if not hasattr(frame, "__arrow_c_array__"):
        raise pyarrow.ArrowNotImplementedError("it does not export arrow's format")
    data = pyarrow.array(frame)  # a struct or one column
    is_table = pyarrow.types.is_struct(data.type)
    return pyarrow.Table.from_batches([pyarrow.RecordBatch.from_struct_array(data)]) if is_table else data
