"""Read .safetensors and .pt: tensors in memory-mapped files.

torch's weights-only loader reads the pickle of a .pt file after a look at it; the protocols that it does not take are
followed opcode by opcode. Nothing else is ever unpickled.
"""

from __future__ import annotations

import functools
import importlib
import json
import math
import mmap
import os
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.arrays import (
    Names,
    check_numbers,
    check_shape,
    damaged,
    expand_compressed,
    is_numeric,
    label_pairs,
    map_array,
    open_archive,
    refuse_sparse,
    with_names,
)
from vltr_eval.formats.pickles import PickledName, PickleSummary, UnknownObjectError, build, summarize
from vltr_eval.formats.roles import LABELS, Role, choose, has_role, role_of
from vltr_eval.formats.sources import Source, listing, printable, require
from vltr_eval.formats.table import Lists, Table

# ---------------------------------------------------------------------------------------------------------------------
# .safetensors: 8 bytes with the length of a JSON header, the header, the data
# ---------------------------------------------------------------------------------------------------------------------

_SAFETENSORS_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
_MAX_HEADER = 4 << 20  # enough for 40,000 tensors; a parsed header takes several times its bytes


@dataclass(frozen=True)
class _Entry:
    """One tensor in the header of a .safetensors file; ``begin`` and ``end`` count from the start of the file."""

    code: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_safetensors(source: Source, role: Role) -> Table:
    """Read one tensor of a .safetensors file as a read-only memory map, with integer row ids beside it.

    Raises:
        InputError: No .safetensors file, no tensor or several that could be meant, or a dtype that is no number.
    """
    entries = _read_entries(source)
    dims = {name: len(entry.shape) for name, entry in entries.items()}
    chosen = entries[choose(source, role, dims if source.key else _without_scalars(dims))]
    _check_code(source, role, chosen.code)
    array = _map_entry(source, chosen)
    table = Table(source, chosen.shape[0] if chosen.shape else 1, array=array)
    beside = {
        name: Names(_kind_of_code(entry.code), entry.shape[0], functools.partial(_map_entry, source, entry))
        for name, entry in entries.items()
        if len(entry.shape) == 1
    }
    return with_names(table, role, beside)


def _read_entries(source: Source) -> dict[str, _Entry]:
    """Read the header: every tensor of the file, after a check that their bytes are the file's bytes."""
    with open(source.path, "rb") as stream:
        start = stream.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > source.size - 8:
            raise InputError(f"{source}: not a .safetensors file, or it is truncated")
        if length > _MAX_HEADER:
            raise InputError(f"{source}: expected a header of at most {_MAX_HEADER:,} bytes, got {length:,}")
        text = stream.read(length)
    try:
        header = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_int=_whole,
            parse_float=_whole,
            parse_constant=_whole,
        )
        entries = {name: _entry(entry, 8 + length) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError(f"{source}: not a .safetensors file: its header is damaged") from None
    _check_places(source, entries, 8 + length)
    return entries


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict; a key that is there twice is an error, since either value could be meant."""
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a key is there twice")
    return entries


def _whole(text: str) -> int:
    if len(text) > 20 or not text.isdecimal():
        raise ValueError("expected a whole number below 2**63")
    return int(text)


def _entry(entry: Mapping[str, Any], start: int) -> _Entry:
    code, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(code) is not str or any(type(number) is not int for number in (*shape, begin, end)):
        raise ValueError("expected a dtype and whole numbers")
    return _Entry(code, tuple(shape), start + begin, start + end)


def _check_places(source: Source, entries: Mapping[str, _Entry], start: int) -> None:
    """Raise InputError unless the tensors follow each other from the header to the end of the file."""
    position = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        check_shape(source, entry.shape)
        dtype = _SAFETENSORS_DTYPES.get(entry.code)
        num_bytes = entry.end - entry.begin
        if entry.begin != position or num_bytes < 0:
            raise InputError(
                f"{source}: not a .safetensors file: the data of {printable(name)} are not behind those before it"
            )
        if dtype is not None and num_bytes != math.prod(entry.shape) * np.dtype(dtype).itemsize:
            raise InputError(
                f"{source}: not a .safetensors file: {printable(name)} of shape {entry.shape} "
                f"does not fit its {num_bytes} bytes"
            )
        position = entry.end
    promised, present = position - start, source.size - start
    if promised > present:
        raise InputError(f"{source}: truncated: the header promises {promised} bytes of data, but {present} are there")
    if promised < present:
        raise InputError(f"{source}: expected {promised} bytes of data as its header says, got {present}")


def _check_code(source: Source, role: Role, code: str) -> None:
    if code not in _SAFETENSORS_DTYPES:
        raise InputError(
            f"{source}: expected {role.name} of bool, integer or float dtype, got {printable(code)}; "
            "save tensor.float()"
        )


def _kind_of_code(code: str) -> str:
    return "integer" if code in _SAFETENSORS_DTYPES and code[0] in "IU" else code


def _map_entry(source: Source, entry: _Entry) -> Any:
    array = map_array(source, np.dtype(_SAFETENSORS_DTYPES[entry.code]), entry.shape, entry.begin)
    return _as_bfloat16(source, array) if entry.code == "BF16" else array


def _as_bfloat16(source: Source, bits: np.ndarray) -> Any:
    """View 16-bit patterns as bfloat16: a numpy array with ml_dtypes, else a torch tensor."""
    try:
        return bits.view(importlib.import_module("ml_dtypes").bfloat16)
    except ImportError:
        torch = require("torch", "bfloat16", source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the mapping is read-only; so is our use of it
        return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)


def _without_scalars(dims: Mapping[str, int]) -> dict[str, int]:
    """The arrays that can hold rows; all of them where there are only scalars, so that their error is given."""
    return {name: ndim for name, ndim in dims.items() if ndim} or dict(dims)


# ---------------------------------------------------------------------------------------------------------------------
# .pt: a zip archive of a pickle and of one record for each storage, or the container of torch before 1.6
# ---------------------------------------------------------------------------------------------------------------------

_ZIP_MAGIC = b"PK\x03\x04"
_PICKLE_MAGIC = b"\x80"  # followed by the protocol
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, pickled
_NO_PT = "not a readable .pt file of tensors"
_LOADED_PROTOCOLS = (2, 3)  # by the weights-only loader
_COMPRESSED_LAYOUTS = {
    "torch.sparse_csr": ("csr", "crow_indices", "col_indices"),
    "torch.sparse_csc": ("csc", "ccol_indices", "row_indices"),
}


def read_pt(source: Source, role: Role) -> Table:
    """Read one tensor of a .pt file as a torch CPU tensor, memory-mapped where the file allows it.

    Labels may also be a sparse or a nested tensor, or lists of class indices. Lists of text beside the tensor are its
    row ids and class names.

    Raises:
        InputError: No .pt file of tensors, no tensor or several that could be meant, or one that has no plain values.
    """
    torch = require("torch", "torch", source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that sparse and nested tensors are in beta
        content = _load_pt(torch, source)
        values = _leaves(source, content)
        if values is None and source.key is not None:
            raise InputError(f"{source}: the file holds one unnamed object, so ::{source.key} cannot pick one")
        if values is None:
            return _table_of(torch, source, role, content)
        chosen = _choose_leaf(torch, source, role, values)
        table = _table_of(torch, source, role, values[chosen])
    outer = chosen.rpartition(".")[0]
    same_dict = {name.rpartition(".")[2]: value for name, value in values.items() if name.rpartition(".")[0] == outer}
    beside = {name: names for name, value in same_dict.items() if (names := _names_of(torch, value))}
    return with_names(table, role, beside)


def _load_pt(torch: Any, source: Source) -> Any:
    with open(source.path, "rb") as stream:
        start = stream.read(2 + len(_LEGACY_MAGIC))
    if start.startswith(_ZIP_MAGIC):
        summary = _check_archive(source)
    elif start.startswith(_PICKLE_MAGIC) and start[2:] == _LEGACY_MAGIC:
        summary = _check_legacy(source)
    else:
        kind = "a plain pickle" if start.startswith(_PICKLE_MAGIC) else "another format"
        raise InputError(f"{source}: expected a file of torch.save, got {kind}; save torch.save(tensor, FILE)")
    if summary.foreign:
        raise InputError(
            f"{source}: holds {listing(summary.foreign, 3)}, and objects other than tensors are never unpickled; "
            "save tensors only, torch.save(torch.as_tensor(array), FILE)"
        )
    try:
        if start.startswith(_ZIP_MAGIC) and summary.protocol not in _LOADED_PROTOCOLS:
            return _build_archive(torch, source, summary.protocol)
        path = os.fspath(source.path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=start.startswith(_ZIP_MAGIC))
    except (OSError, InputError):
        raise
    except Exception as error:  # its unpickler raises whatever a damaged file leads to
        raise _unreadable(source) from error


def _unreadable(source: Source) -> InputError:
    return InputError(f"{source}: {_NO_PT}, or it is truncated or damaged")


def _check_archive(source: Source) -> PickleSummary:
    """Check that each record has the size that the pickle states, since torch maps whatever is there."""
    with open_archive(source, _NO_PT) as archive:
        records = {info.filename: info for info in archive.infolist()}
        if any(PurePosixPath(name).name == "constants.pkl" for name in records):
            raise InputError(f"{source}: expected a file of torch.save, got a TorchScript model; save tensors only")
        pickled = _pickle_record(archive)
        if len(records) < len(archive.infolist()):
            raise _unreadable(source)
        for info in records.values():
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise InputError(
                    f"{source}: expected records as torch.save writes them, got {printable(info.filename)} "
                    "compressed or encrypted; load the file with torch.load and save it with torch.save"
                )
            if max(info.file_size, info.compress_size) > source.size:
                raise _unreadable(source)
        with archive.open(pickled) as stream:
            summary = summarize(stream)
        if "torch.storage.UntypedStorage" in summary.names and _is_swapped(archive, pickled):
            # torch swaps the bytes by the dtype of the storage, and this one has none.
            raise InputError(
                f"{source}: holds a dtype that torch cannot load from a machine of another byte order; save float32"
            )
        for key, num_bytes in summary.storages.items():
            record = records.get(_record_name(pickled, f"data/{key}"))
            if record is not None:
                archive.open(record).close()  # raises where the record's own header does not agree with the list
            present = record.file_size if record else 0
            if present != num_bytes:
                raise InputError(
                    f"{source}: damaged: the pickle promises {num_bytes} bytes in record data/{printable(key)}, "
                    f"but {present} are there"
                )
    return summary


def _pickle_record(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    (record,) = (info for info in archive.infolist() if PurePosixPath(info.filename).name == "data.pkl")
    return record


def _record_name(pickled: zipfile.ZipInfo, name: str) -> str:
    """The full name of a record of the folder that the pickle lies in."""
    return str(PurePosixPath(pickled.filename).parent / name)


def _is_swapped(archive: zipfile.ZipFile, pickled: zipfile.ZipInfo) -> bool:
    """True if the file states another byte order than this machine's."""
    name = _record_name(pickled, "byteorder")
    return name in archive.namelist() and archive.read(name) != sys.byteorder.encode()


def _check_legacy(source: Source) -> PickleSummary:
    """Check that the file has the bytes that its storages promise; torch allocates them before it reads."""
    # A mapping reads what is there; a file would allocate whatever length an opcode states.
    with open(source.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        try:
            for _ in range(3):  # the magic number, the protocol, the system
                summarize(stream)
            summary = summarize(stream)
        except ValueError as error:
            raise _unreadable(source) from error
    if "torch.storage.UntypedStorage" in summary.names:  # of uint16, float8 and other dtypes since torch 2.0
        raise InputError(
            f"{source}: holds a dtype that torch cannot load from the container of torch before 1.6; "
            "save it by torch.save(tensor, FILE) in the zip container"
        )
    promised = sum(summary.storages.values())
    if promised > source.size:
        raise InputError(
            f"{source}: truncated: the pickle promises {promised} bytes of data, but the file has {source.size}"
        )
    return summary


# The pickle protocols of torch.save that torch's weights-only loader does not take

_STORAGE_DTYPES = {
    **{"DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16"},
    **{"LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8"},
    **{"ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "uint8"},
    **{"ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128"},
}
_MAX_DIMS = 64  # torch's own limit


@dataclass(frozen=True)
class _Storage:
    """The bytes of one record of the file, and the dtype of its class."""

    data: Any
    dtype: Any


def _build_archive(torch: Any, source: Source, protocol: int) -> Any:
    """Make the tensors of a zip archive over a private mapping of it, as torch.load does; its records are checked."""
    with open_archive(source, _NO_PT) as archive:
        pickled = _pickle_record(archive)
        try:
            if _is_swapped(archive, pickled):
                raise UnknownObjectError("numbers of another byte order")
            with archive.open(pickled) as stream:
                return build(stream, _functions(torch), _storage_loader(torch, source, archive, pickled))
        except UnknownObjectError as error:
            raise InputError(
                f"{source}: expected plain tensors in a pickle of protocol {protocol or '0 or 1'}, got {error}; "
                "save it by torch.save(tensor, FILE) without pickle_protocol"
            ) from error


def _storage_loader(
    torch: Any, source: Source, archive: zipfile.ZipFile, pickled: zipfile.ZipInfo
) -> Callable[[PickledName, str], _Storage]:
    """Return the function that gives a storage by its class and the key of its record."""
    data = torch.UntypedStorage.from_file(os.fspath(source.path), False, source.size)

    def load(kind: PickledName, key: str) -> _Storage:
        dtype = _STORAGE_DTYPES.get(kind.path.rpartition(".")[2])
        if dtype is None:
            raise UnknownObjectError(kind.path)
        record = archive.getinfo(_record_name(pickled, f"data/{key}"))
        begin = _data_offset(source, record)
        return _Storage(data[begin : begin + record.file_size], getattr(torch, dtype))

    return load


def _functions(torch: Any) -> dict[str, Callable[..., Any]]:
    """Our functions by the names of those that torch.save writes.

    They take a fixed number of arguments and copy none, since the memo of a pickle could repeat a long one.
    """

    def tensor(
        storage: _Storage, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, lazy: Any = None
    ) -> Any:
        return typed_tensor(storage, offset, shape, strides, grad, hooks, None, lazy)

    def typed_tensor(
        storage: _Storage, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, named: Any, lazy: Any = None
    ) -> Any:
        if lazy:
            raise UnknownObjectError("a lazily negated or conjugated view")
        dtype = vars(torch)[named.path.removeprefix("torch.")] if named else storage.dtype
        return _view(torch, storage, dtype, offset, shape, strides)

    def sparse(layout: Any, parts: Any) -> Any:
        # The positions are checked where the labels are made of them.
        if layout == "torch.sparse_coo":
            indices, values, shape, _ = parts
            return torch.sparse_coo_tensor(indices, values, shape, check_invariants=False)
        if type(layout) is not str or layout not in _COMPRESSED_LAYOUTS:
            raise UnknownObjectError("a tensor of another layout than coo, csr and csc")
        outer, inner, values, shape = parts
        form = getattr(torch, layout.removeprefix("torch."))
        return torch.sparse_compressed_tensor(outer, inner, values, shape, layout=form, check_invariants=False)

    return {
        "torch._utils._rebuild_tensor_v2": tensor,
        "torch._utils._rebuild_tensor_v3": typed_tensor,
        "torch._utils._rebuild_parameter": lambda value, grad, hooks: value,
        "torch._utils._rebuild_sparse_tensor": sparse,
        "torch.serialization._get_layout": lambda layout: layout,
        "torch.Size": lambda shape: shape,
        "collections.OrderedDict": lambda: {},
    }


def _data_offset(source: Source, record: zipfile.ZipInfo) -> int:
    """The offset of a stored record: behind its header of 30 bytes, its name and its extra field."""
    with open(source.path, "rb") as stream:
        stream.seek(record.header_offset + 26)
        name_length, extra_length = struct.unpack("<2H", stream.read(4))
    return int(record.header_offset + 30 + name_length + extra_length)


def _view(torch: Any, storage: _Storage, dtype: Any, offset: Any, shape: Any, strides: Any) -> Any:
    """A tensor over a storage that holds all its elements."""
    if len(shape) != len(strides) or len(shape) > _MAX_DIMS:
        raise ValueError("a tensor of an unknown shape")
    if any(type(number) is not int or not 0 <= number < 2**63 for number in (offset, *shape, *strides)):
        raise ValueError("a tensor of an unknown shape")
    tensor = torch.empty(0, dtype=dtype)
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and (last + 1) * tensor.element_size() > storage.data.nbytes():
        raise ValueError("a tensor outside its storage")
    return tensor.set_(storage.data, offset, shape, strides)


# The content of a .pt file


def _leaves(source: Source, content: Any) -> dict[str, Any] | None:
    """The values of a dict by their names, those of the dicts in it as "outer.inner"; None if it is no dict."""
    if not isinstance(content, Mapping):
        return None
    pairs: list[tuple[str, Any]] = []
    for name, value in content.items():
        if isinstance(value, Mapping):
            pairs += [(f"{name}.{key}", leaf) for key, leaf in value.items()]
        else:
            pairs.append((str(name), value))
    leaves = dict(pairs)
    if len(leaves) < len(pairs):
        raise InputError(f"{source}: expected values of different names, got one name twice")
    return leaves


def _choose_leaf(torch: Any, source: Source, role: Role, values: Mapping[str, Any]) -> str:
    """Choose a tensor by its own name, without that of the dict around it."""
    dims = {
        name: value.dim() if torch.is_tensor(value) else 1
        for name, value in values.items()
        if torch.is_tensor(value) or (role is LABELS and _is_index_lists(value))
    }
    if source.key is not None:
        return choose(source, role, dims)
    own = {name: name.rpartition(".")[2] for name in dims}
    stated = [name for name in dims if has_role(own[name], role)]
    if len(stated) == 1:
        return stated[0]
    return choose(
        source, role, _without_scalars({name: dims[name] for name in dims if role_of(own[name]) in (role, None)})
    )


def _is_index_lists(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(isinstance(row, (list, tuple)) and all(type(index) is int for index in row) for row in value)
    )


def _names_of(torch: Any, value: Any) -> Names | None:
    """A list of text or of whole numbers, or a tensor of one dimension, that may be names."""
    if torch.is_tensor(value):
        if value.dim() != 1 or value.layout != torch.strided or value.is_nested or value.device.type != "cpu":
            return None
        integer = is_numeric(value.dtype) and not (value.is_floating_point() or value.dtype == torch.bool)
        return Names("integer" if integer else str(value.dtype), len(value), lambda: value.detach().numpy())
    if not isinstance(value, (list, tuple)) or not value:
        return None
    kinds = {type(entry) for entry in value}
    if kinds == {str}:
        return Names("text", len(value), lambda: np.array(value, object))
    if kinds == {int} and min(value) >= -(2**63) and max(value) < 2**63:
        return Names("integer", len(value), lambda: np.array(value, np.int64))
    return Names("a list of " + listing(sorted(kind.__name__ for kind in kinds)), len(value), lambda: value)


def _table_of(torch: Any, source: Source, role: Role, value: Any) -> Table:
    """The table of one tensor, or of lists of class indices."""
    if role is LABELS and _is_index_lists(value):
        lists = Lists.from_rows(value)
        return Table(source, lists.num_rows, lists=lists)
    if not torch.is_tensor(value):
        kind = type(value).__name__
        if isinstance(value, (list, tuple)):
            kind = f"a {kind} of {len(value)} values"
        raise InputError(
            f"{source}: expected a tensor or a dict of named tensors, got {kind}; "
            "save {'preds': preds, 'labels': labels}, or torch.cat(tensors) of batches"
        )
    tensor = value.detach()
    if tensor.device.type != "cpu":
        raise InputError(f"{source}: expected a tensor with values, got one on the device {tensor.device.type}")
    if tensor.is_quantized:
        raise InputError(
            f"{source}: expected {role.name} of bool, integer or float dtype, got a quantized tensor; "
            "save tensor.dequantize()"
        )
    if tensor.is_nested:
        return _nested_table(torch, source, role, tensor)
    check_numbers(source, role, tensor.dtype)
    if tensor.layout != torch.strided:
        return _sparse_table(torch, source, role, tensor)
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise InputError(
            f"{source}: expected a tensor with its own values, got an expanded view of shape {tuple(tensor.shape)}; "
            "save tensor.contiguous()"
        )
    check_shape(source, tuple(tensor.shape))
    tensor = tensor.resolve_neg()
    return Table(source, len(tensor) if tensor.dim() else 1, array=tensor)


def _nested_table(torch: Any, source: Source, role: Role, tensor: Any) -> Table:
    """Labels with one list of class indices a row, as a nested tensor of either layout."""
    if role is not LABELS or tensor.dtype.is_floating_point or tensor.dtype == torch.bool or tensor.dim() != 2:
        raise InputError(
            f"{source}: expected a tensor with one row length, got a nested tensor of {tensor.dtype}; "
            "save torch.nested.to_padded_tensor(tensor, 0.0)"
        )
    try:
        rows = tensor.unbind()
    except RuntimeError as error:
        raise InputError(f"{source}: a damaged nested tensor: its rows do not fit its values") from error
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(row) for row in rows], dtype=np.int64)])
    if rows and indptr[-1] * tensor.element_size() > rows[0].untyped_storage().nbytes():
        raise InputError(f"{source}: a damaged nested tensor: its rows do not fit its values")
    values = np.concatenate([row.numpy().astype(np.int64) for row in rows]) if rows else np.empty(0, np.int64)
    return Table(source, len(rows), lists=Lists(indptr, values))


def _sparse_table(torch: Any, source: Source, role: Role, tensor: Any) -> Table:
    """Labels of a sparse tensor; its indices are checked before they are used, as torch does not check them."""
    refuse_sparse(source, role)
    layout = str(tensor.layout)
    if tensor.dim() != 2 or (layout != "torch.sparse_coo" and layout not in _COMPRESSED_LAYOUTS):
        raise InputError(
            f"{source}: expected a sparse tensor of 2 dimensions in coo, csr or csc form, "
            f"got {tensor.dim()} dimensions in {layout}; save tensor.to_dense()"
        )
    shape = tuple(tensor.shape)
    if layout == "torch.sparse_coo":
        name, values, indices = "coo", tensor._values(), tensor._indices().numpy()
        if indices.shape[:1] != (2,):
            raise damaged(source, name, f"its indices have shape {indices.shape}")
        rows, classes = indices
    else:
        name, outer, inner = _COMPRESSED_LAYOUTS[layout]
        values = tensor.values()
        rows, classes = expand_compressed(
            source, name, shape, getattr(tensor, outer)().numpy(), getattr(tensor, inner)().numpy()
        )
    if values.dim() != 1:
        raise damaged(source, name, f"its values have {values.dim()} dimensions")
    values = values.double() if values.dtype == torch.bfloat16 else values
    pairs = label_pairs(source, name, shape, rows, classes, values.numpy())
    return Table(source, pairs.num_rows, pairs=pairs)
