"""Shared by the formats of named arrays: mapping, dtypes, sparse labels, and the names beside an array."""

from __future__ import annotations

import errno
import math
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.roles import COUNTS, IDS, LABELS, MASK, Role, has_role, plain
from vltr_eval.formats.sources import Source, listing
from vltr_eval.formats.table import LabelPairs, Table

if TYPE_CHECKING:
    import zipfile

MAX_CLASSES = 2**31  # an index beyond it is a mistake, not a class
MAX_SPARSE_ROWS = 2**31  # a sparse matrix states its rows without a byte for each

_MAX_DIMS = 32  # of numpy before 2.0

CLASS_NAME_KEYS = frozenset({"class_names", "classes", "label_names", "categories", "columns"})

_NUMERIC = re.compile(r"(torch\.)?(bool|u?int(8|16|32|64)|b?float(16|32|64))")
_REMEDIES = (
    (r"complex", "save its real part"),
    (r"float(80|96|128)|longdouble", "save array.astype(np.float64)"),
    (r"void16", "numpy writes bfloat16 in this way; save array.astype(np.float32)"),
    (r"structured", "save one of its fields"),
    (r"float[48]|F[48]", "save it as float32"),
)


def is_numeric(dtype: Any) -> bool:
    """Whether a numpy or torch dtype is one of the bool, integer and float dtypes that vltr computes with."""
    return bool(_NUMERIC.fullmatch(dtype_name(dtype)))


def dtype_name(dtype: Any) -> str:
    """The dtype for messages, without its byte order."""
    if getattr(dtype, "names", None):
        return f"a structured dtype with the fields {listing(dtype.names)}"
    return "Python objects" if getattr(dtype, "hasobject", False) else getattr(dtype, "name", str(dtype))


def check_numbers(source: Source, role: Role, dtype: Any) -> None:
    """Raise InputError unless the dtype is numeric; the message says how to save the array."""
    if not is_numeric(dtype):
        name = dtype_name(dtype)
        remedy = next((f"; {text}" for pattern, text in _REMEDIES if re.search(pattern, name)), "")
        raise InputError(f"{source}: expected {role.name} of bool, integer or float dtype, got {name}{remedy}")


def check_shape(source: Source, shape: Sequence[Any]) -> None:
    """Raise InputError for a shape in a file's header that no array has, or whose rows have no bytes in the file."""
    if len(shape) > _MAX_DIMS:
        raise InputError(f"{source}: expected an array of 1 or 2 dimensions, got {len(shape)}")
    if any(type(size) is not int or size < 0 for size in shape):
        raise InputError(f"{source}: expected a shape of whole numbers >= 0 in the header, got {tuple(shape)}")
    if 0 in shape and math.prod(size or 1 for size in shape) > source.size:
        raise InputError(f"{source}: expected an array with values, got the empty shape {tuple(shape)}")


def map_array(
    source: Source, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, order: Literal["C", "F"] = "C"
) -> np.ndarray:
    """Return the array at ``offset`` of the file: read-only and not read yet, or a copy if it is not in native form."""
    native = dtype.newbyteorder("=")
    if math.prod(shape) == 0:  # an empty region cannot be mapped
        return np.empty(shape, native)
    mapped = np.memmap(source.path, dtype, "r", offset, shape, order)
    if not dtype.isnative:
        return np.asarray(mapped).astype(native)
    return np.require(mapped, requirements="A")


# All that zipfile raises for a damaged archive, beside its BadZipFile.
_ARCHIVE_ERRORS = (
    *(zlib.error, struct.error, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)
_END_RECORD = struct.Struct("<10xH10x")  # of a zip archive: the number of its members


@contextmanager
def open_archive(source: Source, complaint: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive; the errors of zipfile and zlib become one sentence, which begins with ``complaint``."""
    import zipfile  # not above: a plain array needs none, and it loads threading

    try:
        with zipfile.ZipFile(source.path) as archive:
            if len(archive.infolist()) != _num_entries(source, archive):
                raise zipfile.BadZipFile("members are hidden by a damaged length")
            yield archive
    except InputError:
        raise
    except (zipfile.BadZipFile, *_ARCHIVE_ERRORS, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: a position before the file's start
            raise
        raise InputError(f"{source}: {complaint}, or it is truncated or damaged") from error


def _num_entries(source: Source, archive: zipfile.ZipFile) -> int:
    """How many members the end of the archive states; zipfile does not compare it with those that it finds."""
    with open(source.path, "rb") as stream:
        stream.seek(-_END_RECORD.size - len(archive.comment), os.SEEK_END)
        (stated,) = _END_RECORD.unpack(stream.read(_END_RECORD.size))
    return stated if stated < 0xFFFF else len(archive.infolist())  # 0xFFFF: too many for this field


# Sparse labels


def label_pairs(
    source: Source, layout: str, shape: Sequence[int], rows: np.ndarray, classes: np.ndarray, values: np.ndarray
) -> LabelPairs:
    """Return the labels of a sparse matrix, given by the position and the value of each entry.

    Entries of 0 are left out. Nothing is allocated by the shape.

    Raises:
        InputError: A position outside the shape, a value that is neither 0 nor 1, or a label that is there twice.
    """
    num_rows, num_classes = map(int, shape)
    if not (0 <= num_rows <= MAX_SPARSE_ROWS and 0 <= num_classes <= MAX_CLASSES):
        raise InputError(
            f"{source}: expected at most {MAX_SPARSE_ROWS:,} rows and {MAX_CLASSES:,} classes, "
            f"got a sparse matrix of shape ({num_rows}, {num_classes})"
        )
    if values.dtype.kind not in "biuf":
        raise InputError(f"{source}: expected labels 0 or 1, got values of dtype {values.dtype.name}")
    if not len(rows) == len(classes) == len(values):
        raise damaged(source, layout, f"{len(values)} values at {min(len(rows), len(classes))} places")
    rows, classes = _indices(source, layout, rows, num_rows), _indices(source, layout, classes, num_classes)
    stored = values != 0
    foreign = np.flatnonzero(stored & (values != 1))
    if foreign.size:
        at = foreign[0]
        raise InputError(
            f"{source}: expected labels 0 or 1, got {values[at]} at row {rows[at]}, class {classes[at]}; "
            "a label that is added twice becomes 2"
        )
    rows, classes = rows[stored], classes[stored]
    cells = rows * num_classes + classes  # below 2**62
    if not (cells[1:] > cells[:-1]).all():
        order = np.argsort(cells, kind="stable")
        twice = np.flatnonzero(np.diff(cells[order]) == 0)
        if twice.size:
            at = order[twice[0]]
            raise InputError(f"{source}: row {rows[at]}: class {classes[at]} is listed twice")
    return LabelPairs(num_rows, num_classes, rows, classes)


def expand_compressed(
    source: Source, layout: str, shape: Sequence[int], indptr: np.ndarray, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the row and the column of each entry of a csr or csc matrix."""
    majors = int(shape[0] if layout == "csr" else shape[1])
    indptr = _indices(source, layout, indptr, len(indices) + 1)
    steps = np.diff(indptr)
    is_whole = 0 < len(indptr) == majors + 1 and indptr[0] == 0 and indptr[-1] == len(indices)
    if not is_whole or (steps < 0).any():
        raise damaged(source, layout, "indptr does not fit the shape and the indices")
    major = np.repeat(np.arange(majors), steps)
    return (major, indices) if layout == "csr" else (indices, major)


def damaged(source: Source, layout: str, reason: str) -> InputError:
    return InputError(f"{source}: a damaged {layout} matrix: {reason}")


def refuse_sparse(source: Source, role: Role) -> None:
    """Raise InputError unless the role is labels: what is not stored counts as 0, and only a label means that."""
    if role not in (LABELS, MASK):
        raise InputError(f"{source}: a sparse matrix can hold labels, not {role.name}; save it as a dense array")


def _indices(source: Source, layout: str, index: np.ndarray, size: int) -> np.ndarray:
    """Indices in [0, size) as int64."""
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise damaged(source, layout, f"expected indices of one dimension and an integer dtype, got {index.dtype.name}")
    if index.size and (index.min() < 0 or index.max() >= size):
        raise damaged(source, layout, "an index is outside its shape")
    return index.astype(np.int64, copy=False)


# Names beside an array


@dataclass(frozen=True)
class Names:
    """Values of one dimension beside an array, perhaps row ids or class names.

    Attributes:
        kind: "text", "integer", or the name of another dtype for messages.
        length: How many there are.
        read: Reads them: (length,) objects of str, or integers.
    """

    kind: str
    length: int
    read: Callable[[], Any]


def with_names(table: Table, role: Role, beside: Mapping[str, Names]) -> Table:
    """Return the table with the row ids and the class names that stand beside its array.

    Row ids have a name that says so and one entry a row; class names have one entry a class.

    Raises:
        InputError: Row ids that cannot be read, unless the user picked the array by ``FILE::KEY``.
    """
    return _with_class_names(_with_ids(table, beside), role, beside)


def _with_ids(table: Table, beside: Mapping[str, Names]) -> Table:
    fitting = {name: names for name, names in beside.items() if has_role(name, IDS) and names.length == table.num_rows}
    readable = [name for name, names in fitting.items() if names.kind in ("text", "integer")]
    if readable:
        ids = [_as_ids(fitting[name].read()) for name in readable]
        chosen = next((at for at, values in enumerate(ids) if len(set(values.tolist())) == len(values)), 0)
        if len(readable) > 1:
            table = table.with_notes(f"row ids are those of {readable[chosen]}, not of {_others(readable, chosen)}")
        return replace(table, ids=ids[chosen])
    if not fitting:
        return _without_ids(table, beside)
    name, names = next(iter(fitting.items()))
    if isinstance(table.source, Source) and table.source.key is None:
        raise table.error(
            f"expected row ids of text or whole numbers in {name}, got {names.kind}; save {name}.astype('U'), "
            "or pick the array as FILE::KEY to take its rows in their order"
        )
    return table.with_notes(f"the row ids in {name} are not read, because they are {names.kind}")


def _without_ids(table: Table, beside: Mapping[str, Names]) -> Table:
    """The table, with a note about row ids of another number of rows."""
    for name, names in beside.items():
        is_ids = has_role(name, IDS) and plain(name) not in ("name", "names")  # which can be those of the classes
        if is_ids and names.length > 1:
            return table.with_notes(
                f"{table.name}: the row ids in {name} are not used: {names.length:,} for {table.num_rows:,} rows"
            )
    return table


def _others(names: Sequence[str], chosen: int) -> str:
    return listing(name for at, name in enumerate(names) if at != chosen)


def _as_ids(values: np.ndarray) -> np.ndarray:
    """Objects of str, or int64; integers beyond int64 become their digits."""
    if values.dtype.kind == "u" and values.size and values.max() > np.iinfo(np.int64).max:
        return np.array([str(value) for value in values.tolist()], object)
    return values if values.dtype == object else values.astype(np.int64)


def _with_class_names(table: Table, role: Role, beside: Mapping[str, Names]) -> Table:
    found = {name: names for name, names in beside.items() if plain(name) in CLASS_NAME_KEYS and names.kind == "text"}
    if not found:
        return table
    num_classes = _num_classes(table, role)
    fitting = [name for name, names in found.items() if num_classes in (None, names.length)]
    if not fitting:
        name, names = next(iter(found.items()))
        return table.with_notes(f"{name} is not used: it has {names.length} entries for {num_classes} classes")
    return replace(table, class_names=tuple(found[fitting[0]].read().tolist()))


def _num_classes(table: Table, role: Role) -> int | None:
    """How many classes the table has; None for class indices, which do not tell."""
    if table.pairs is not None:
        return table.pairs.num_classes
    if table.array is None:
        return None
    if table.array.ndim == 1:
        return {LABELS: None, COUNTS: table.num_rows}.get(role, 1)
    return table.array.shape[-1] if table.array.ndim else 1
