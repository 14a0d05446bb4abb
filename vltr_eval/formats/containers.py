"""Files of several named arrays in groups, h5 and zarr: the choice of an array, and the row ids and names beside it.

An array is known by its path, such as ``test/scores``. Its last part tells its role, by the names of `roles`. Sparse
labels are a group of the arrays ``data``, ``indices``, ``indptr`` and a ``shape``, as scipy and anndata store them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.arrays import (
    CLASS_NAME_KEYS,
    Names,
    check_numbers,
    check_shape,
    damaged,
    dtype_name,
    expand_compressed,
    is_numeric,
    label_pairs,
    refuse_sparse,
    with_names,
)
from vltr_eval.formats.roles import IDS, LABELS, SCORES, Role, choose, has_role, plain, role_of
from vltr_eval.formats.sources import Source, listing
from vltr_eval.formats.table import Table

_SPARSE = ("data", "indices", "indptr")


@dataclass(frozen=True)
class Stored:
    """One array of a container, not read yet.

    Attributes:
        shape: The shape; () for one value.
        dtype: The dtype of numbers, None for text and for types that numpy lacks.
        kind: "text", "number", or the name of another type, for messages.
        read: Reads the values: numbers in native byte order, or objects of str. It is called with the source, for
            messages, and returns the values and notes on what was never written.
        remedy: For an array that cannot be read: how to store it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None
    kind: str
    read: Callable[[Source], tuple[np.ndarray, tuple[str, ...]]]
    remedy: str = ""

    @property
    def is_numeric(self) -> bool:
        return self.dtype is not None and is_numeric(self.dtype)


def table_of(
    source: Source, role: Role, arrays: Mapping[str, Stored], attributes: Callable[[str], Mapping[str, Any]]
) -> Table:
    """Read the array of a container that has the role, with the row ids and the class names of its group.

    Args:
        source: The file; its key picks an array.
        role: The use of the array.
        arrays: The arrays by their paths.
        attributes: Gives the attributes of a group by its path.

    Raises:
        InputError: No array or several that could be meant, or one that cannot be read.
    """
    if source.key is not None:
        source = replace(source, key=source.key.strip("/"))
    sparse = _sparse_groups(arrays)
    chosen = _choose(source, role, arrays, sparse)
    own = replace(source, key=chosen or None)
    if chosen in sparse:
        group, table = chosen, _read_sparse(source, role, chosen, arrays, attributes)
    else:
        group, table = chosen.rpartition("/")[0], _read_array(source, own, role, arrays[chosen])
    prefix = group + "/" if group else ""
    beside = {
        name[len(prefix) :]: _names(replace(source, key=name), stored)
        for name, stored in arrays.items()
        if name.startswith(prefix)
        and "/" not in name[len(prefix) :]
        and len(stored.shape) == 1
        and _may_be_names(name, stored)
    }
    return _without_unnamed(with_names(table, role, beside), role)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _read_array(source: Source, own: Source, role: Role, stored: Stored) -> Table:
    check_type(own, role, stored)
    check_shape(own, stored.shape)
    array, notes = stored.read(own)
    if role is not SCORES:  # an array of labels leaves rows of zeros out rightly
        notes = ()
    return Table(source, array.shape[0] if array.ndim else 1, array=array, notes=notes)


def check_type(source: Source, role: Role, stored: Stored) -> None:
    """Raise InputError unless the array holds numbers."""
    if stored.dtype is not None:
        check_numbers(source, role, stored.dtype)
    else:
        remedy = f"; {stored.remedy}" if stored.remedy else ""
        raise InputError(f"{source}: expected {role.name} of bool, integer or float dtype, got {stored.kind}{remedy}")


# The choice


def _choose(source: Source, role: Role, arrays: Mapping[str, Stored], sparse: Mapping[str, Any]) -> str:
    parts = {f"{group}/{name}".lstrip("/") for group in sparse for name in (*_SPARSE, "shape")}
    dims = {name: len(stored.shape) for name, stored in arrays.items()}
    if source.key is not None:
        return choose(source, role, {**dims, **dict.fromkeys(filter(None, sparse), 2)})
    if "" in sparse:
        return ""
    candidates = dict.fromkeys(sparse, 2)
    candidates |= {
        name: dims[name] for name, stored in arrays.items() if stored.is_numeric and stored.shape and name not in parts
    }
    named = [name for name in candidates if has_role(_last(name), role)]
    if not named:  # so that the error of an array of another type is given
        named = [
            name
            for name, stored in arrays.items()
            if name not in candidates and has_role(_last(name), role) and not _may_be_names(name, stored)
        ]
    if len(named) == 1:
        return named[0]
    if not named:
        free = {name: dim for name, dim in candidates.items() if role_of(_last(name)) is None}
        return choose(source, role, free or dims)
    raise InputError(
        f"{source}: cannot tell which array holds the {role.name}; pick one as FILE::KEY (found {listing(named)})"
    )


def _may_be_names(name: str, stored: Stored) -> bool:
    if len(stored.shape) != 1:
        return False
    return has_role(_last(name), IDS) or (plain(_last(name)) in CLASS_NAME_KEYS and stored.kind == "text")


def _names(source: Source, stored: Stored) -> Names:
    kind = stored.kind
    if stored.dtype is not None:
        kind = "integer" if stored.dtype.kind in "iu" else dtype_name(stored.dtype)
    return Names(kind, stored.shape[0], lambda: stored.read(source)[0])


# Rows without an id


def _without_unnamed(table: Table, role: Role) -> Table:
    """Leave out the rows whose id is empty: packers of audio clips keep a row for a clip that they did not find."""
    if table.ids is None or table.ids.dtype != object or table.array is None:
        return table
    kept = table.ids != ""
    if kept.all():
        return table
    if role is LABELS and np.asarray(table.array)[~kept].any():
        row = int(np.flatnonzero(~kept)[np.asarray(table.array)[~kept].reshape(int((~kept).sum()), -1).any(1)][0])
        raise table.error(f"row {row}: expected an id, since the row has labels, got an empty one")
    count = int((~kept).sum())
    rows = "1 row without an id is" if count == 1 else f"{count:,} rows without an id are"
    left = replace(table, array=table.array[kept], ids=table.ids[kept], num_rows=int(kept.sum()))
    return left.with_notes(f"{table.name}: {rows} left out")


# Sparse labels


def _sparse_groups(arrays: Mapping[str, Stored]) -> dict[str, None]:
    """The groups that hold a sparse matrix."""
    groups = {name.rpartition("/")[0] for name in arrays if _last(name) == "indptr"}
    return {
        group: None
        for group in groups
        if all(len(stored.shape) == 1 for stored in (arrays.get(_path(group, name)) for name in _SPARSE) if stored)
        and all(_path(group, name) in arrays for name in _SPARSE)
    }


def _path(group: str, name: str) -> str:
    return f"{group}/{name}" if group else name


def _read_sparse(
    source: Source,
    role: Role,
    group: str,
    arrays: Mapping[str, Stored],
    attributes: Callable[[str], Mapping[str, Any]],
) -> Table:
    own = replace(source, key=group or None)
    refuse_sparse(own, role)
    stated = attributes(group)
    layout = "csc" if "csc" in str(stated.get("encoding-type", stated.get("h5sparse_format", "csr"))) else "csr"
    shape = stated.get("shape", stated.get("h5sparse_shape"))
    if _path(group, "shape") in arrays:
        shape = arrays[_path(group, "shape")].read(own)[0]
    sizes = [] if shape is None else np.asarray(shape).ravel().tolist()
    if len(sizes) != 2 or any(type(size) is not int for size in sizes):
        raise damaged(own, layout, "its shape is missing or is no list of two whole numbers")
    for name in _SPARSE:
        stored = arrays[_path(group, name)]
        if not stored.is_numeric:
            raise damaged(own, layout, f"{name} holds {stored.kind}")
    values, indices, indptr = (arrays[_path(group, name)].read(own)[0] for name in _SPARSE)
    rows, classes = expand_compressed(own, layout, sizes, indptr, indices)
    pairs = label_pairs(own, layout, sizes, rows, classes, values)
    return Table(source, pairs.num_rows, pairs=pairs)
