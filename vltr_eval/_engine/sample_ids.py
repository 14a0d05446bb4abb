"""Sample ids, integers or strings, and the arrays that a saved state keeps of them.

In memory, ids are an (N,) array of int64 or an (N,) object array of str. Python orders str by code point, which is the
order of their UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from vltr_eval._base.arrays import read_numbers

__all__ = ["distinct_ids", "id_kind", "pack_ids", "read_ids", "unpack_ids"]

# A string may hold a lone surrogate, as file names from `os.fsdecode` do. UTF-8 with this handler keeps it.
_SURROGATES = "surrogatepass"


def id_kind(ids: np.ndarray | None) -> str | None:
    """The kind of ids as messages name it: "integers" or "strings", or None without ids."""
    if ids is None:
        return None
    return "strings" if ids.dtype.kind == "O" else "integers"


def read_ids(ids: Any, num_rows: int) -> np.ndarray:
    """Reads sample ids of any library.

    Args:
        ids: (N,) integers of any dtype, or (N,) strings: a list, a numpy array of str, bytes (UTF-8) or objects, a
            pandas or polars Series, a pyarrow array, or a tensor of integers in CPU memory.
        num_rows: N.

    Returns:
        (N,) int64, or an (N,) object array of str.

    Raises:
        TypeError: For ids of another type or of mixed types.
        ValueError: For another shape, an integer of 2**63 or more, and bytes that are not UTF-8.
    """
    values = _as_array(ids)
    if values.shape != (num_rows,):
        raise ValueError(f"ids: expected shape ({num_rows},) as scores has rows, got {values.shape}")
    if values.dtype.kind == "O" and all(_is_integer(value) for value in values):
        values = np.array(values.tolist())
    if values.size == 0:
        return np.empty(0, np.int64)
    if values.dtype.kind in "iu":
        if int(values.max()) >= 2**63:
            raise ValueError(f"ids: expected integers below 2**63, got {int(values.max())}")
        return values.astype(np.int64)
    if values.dtype.kind in "OSUT":
        return _as_strings(values)
    raise TypeError(f"ids: expected integers or strings, got {values.dtype}")


def distinct_ids(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the distinct ids, as numpy.unique: themselves, ascending; the first row of each; and which each row has."""
    if id_kind(ids) == "integers":
        distinct, first, group = np.unique(ids, return_index=True, return_inverse=True)
        return distinct, first, group.reshape(-1)  # numpy 2.0 gives it another shape
    # Python sorts strings ten times as fast as numpy sorts objects.
    order = np.array(sorted(range(len(ids)), key=ids.tolist().__getitem__), np.int64)
    ordered = ids[order]
    is_new = np.ones(len(ids), bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    group = np.empty(len(ids), np.int64)
    group[order] = np.cumsum(is_new) - 1
    return ordered[is_new], order[is_new], group


def pack_ids(ids: np.ndarray) -> dict[str, np.ndarray]:
    """Gives ids as arrays of numbers: ``ids``, or for strings their UTF-8 bytes and where each string ends."""
    if id_kind(ids) == "integers":
        return {"ids": ids}
    encoded = [name.encode(errors=_SURROGATES) for name in ids]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    return {"id_bytes": np.array(bytearray().join(encoded), np.uint8), "id_ends": np.cumsum(lengths)}


def unpack_ids(arrays: Mapping[str, Any], num_rows: int) -> np.ndarray | None:
    """Reads what `pack_ids` gave; None where the mapping has no ids.

    Raises:
        TypeError: For arrays of another dtype.
        ValueError: For arrays that do not fit together or to the number of rows.
    """
    if "ids" in arrays:
        return read_ids(arrays["ids"], num_rows)
    if "id_bytes" not in arrays:
        return None
    text, ends = (read_numbers(name, arrays[name]) for name in ("id_bytes", "id_ends"))
    if text.dtype != np.uint8 or (ends.size and ends.dtype.kind not in "iu"):
        raise TypeError(f"id_bytes: expected uint8, and integers as id_ends, got {text.dtype} and {ends.dtype}")
    if ends.shape != (num_rows,):
        raise ValueError(f"id_ends: expected shape ({num_rows},) as scores has rows, got {ends.shape}")
    bounds = [0, *ends.tolist()]
    if text.ndim != 1 or bounds[-1] != len(text) or bounds != sorted(bounds):
        got = np.array2string(ends, threshold=6)
        raise ValueError(f"id_ends: expected numbers that rise to the size of id_bytes, {text.size}, got {got}")
    joined = text.tobytes()
    names = [joined[start:end] for start, end in pairwise(bounds)]
    try:
        return _objects([name.decode(errors=_SURROGATES) for name in names])
    except UnicodeDecodeError as error:
        raise ValueError(f"id_bytes: expected UTF-8, got {error.object!r}") from None


def _as_array(ids: Any) -> np.ndarray:
    if isinstance(ids, np.ma.MaskedArray):
        raise TypeError("ids: expected an array without a mask, got a masked one; pass ids.filled(value)")
    if isinstance(ids, (list, tuple)) and any(isinstance(name, (str, bytes)) for name in ids):
        return _objects(ids)  # numpy would make strings of numbers among them
    if hasattr(ids, "isna") and hasattr(ids, "tolist"):  # pandas, whose missing values `read_numbers` takes for cells
        return _objects(ids.tolist()) if ids.isna().any() else np.asarray(ids)
    if hasattr(ids, "to_pylist"):  # pyarrow, which offers DLPack also for strings, which DLPack does not have
        return np.asarray(ids)
    try:
        return read_numbers("ids", ids)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError("ids: expected one id a row, got a ragged list") from None


def _objects(values: Any) -> np.ndarray:
    """(N,) objects, whatever each of them is."""
    objects = np.empty(len(values), object)
    for row, value in enumerate(values):
        objects[row] = value
    return objects


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _as_strings(values: np.ndarray) -> np.ndarray:
    names = np.empty(len(values), object)
    for row, value in enumerate(values.tolist()):
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError:
                raise ValueError(f"ids: expected bytes of UTF-8, got {value!r} at row {row}; decode them") from None
        if not isinstance(value, str):
            raise TypeError(f"ids: expected integers alone or strings alone, got {value!r} at row {row}")
        names[row] = str(value)  # numpy's own str would take more memory
    return names
