"""Read .npy and .npz: arrays that numpy wrote, and the sparse matrices that scipy writes as .npz.

No Python object is ever unpickled, and nothing is allocated before the file has shown the bytes for it.
"""

from __future__ import annotations

import io
import math
import struct
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Literal

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
    map_array,
    open_archive,
    refuse_sparse,
    with_names,
)
from vltr_eval.formats.roles import IDS, Role, choose, has_role, plain
from vltr_eval.formats.sources import Source, printable
from vltr_eval.formats.table import Table

if TYPE_CHECKING:
    import zipfile

_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}  # of the header's length, by format version
_MAX_HEADER = 10_000  # numpy's own limit; that of an array of numbers has about 100 bytes
_BLOCK = 1 << 20
_SPARSE_KEYS = ("format", "coords")  # one of them is in a sparse matrix, beside its shape and its data


def read_npy(source: Source, role: Role) -> Table:
    """Read a .npy file as a read-only memory map, or as a copy in native byte order.

    Raises:
        InputError: No .npy file, a dtype that is no number, or data of another size than the header says.
    """
    with open(source.path, "rb") as stream:
        header = _read_header(stream, source)
        offset = stream.tell()
        _check_no_objects(source, header.dtype)
        check_numbers(source, role, header.dtype)
        present = source.size - offset
        if present < header.num_bytes:
            raise _truncated(source, header.num_bytes, present)
        if present > header.num_bytes:
            stream.seek(header.num_bytes, io.SEEK_CUR)
            raise InputError(f"{source}: {_surplus(stream.read(len(_MAGIC)), header.num_bytes, present)}")
    return _table(source, map_array(source, header.dtype, header.shape, offset, header.order))


def bytes_of_npy(stream: IO[bytes], source: Source) -> int:
    """Return the bytes of a whole .npy file, as the header at the start of a stream says.

    Raises:
        InputError: No header of a .npy file.
    """
    header = _read_header(stream, source)
    return stream.tell() + header.num_bytes


def read_names(source: Source) -> np.ndarray:
    """Read strings or integers of one dimension from a .npy file: (N,) objects of str, or integers.

    Raises:
        InputError: No .npy file, or an array of another kind.
    """
    with open(source.path, "rb") as stream:
        header = _read_header(stream, source)
        if len(header.shape) != 1 or header.dtype.kind not in "USiu" or header.dtype.itemsize == 0:
            raise InputError(
                f"{source}: expected strings or integers of one dimension, got {dtype_name(header.dtype)} of shape "
                f"{header.shape}"
            )
        return _as_names(source, _read_array(source, header, stream))


def read_npz(source: Source, role: Role) -> Table:
    """Read one array of an .npz file, or its sparse matrix, with the row ids and class names beside it.

    Raises:
        InputError: No .npz file, no array or several that could be meant, or the chosen one cannot be read.
    """
    with open_archive(source, "not a .npz archive") as archive:
        members = _members(source, archive)
        if source.key is None and members.keys() >= {"shape", "data"} and not members.keys().isdisjoint(_SPARSE_KEYS):
            table = _read_sparse(source, role, members)
        else:
            member = members[_choose_member(source, role, members)]
            table = _table(source, member.read(role))
        beside = {name: member.names() for name, member in members.items() if _may_be_names(name, member)}
        return with_names(table, role, beside)


def read_arrays(source: Source, names: Iterable[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read those of some arrays that an .npz file has; also the names of all its arrays.

    Raises:
        InputError: No .npz file, or an array that cannot be read.
    """
    with open_archive(source, "not a .npz archive") as archive:
        members = _members(source, archive)
        return {name: members[name].read() for name in names if name in members}, list(members)


def _table(source: Source, array: np.ndarray) -> Table:
    return Table(source, array.shape[0] if array.ndim else 1, array=array)


# The header of .npy


@dataclass(frozen=True)
class _Header:
    """Shape, order and dtype from the header of .npy data."""

    shape: tuple[int, ...]
    order: Literal["C", "F"]
    dtype: np.dtype

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def _read_header(stream: IO[bytes], source: Source) -> _Header:
    """Read the header of the .npy data that starts where the stream stands; it ends where the data begins."""
    magic = stream.read(len(_MAGIC) + 2)
    width = _LENGTH_BYTES.get(magic[len(_MAGIC) :])
    if not magic.startswith(_MAGIC) or width is None:
        raise _no_array(source)
    length = int.from_bytes(stream.read(width), "little")
    if length > _MAX_HEADER:
        raise InputError(f"{source}: expected a header of at most {_MAX_HEADER:,} bytes, got {length:,}; save numbers")
    text = stream.read(length)
    try:
        if magic.endswith(b"\x03\x00"):  # in UTF-8, for the sake of field names
            text = text.decode("utf-8").encode("latin1", "backslashreplace")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers of Python 2, deprecated type codes
            prefixed = io.BytesIO(struct.pack("<I", len(text)) + text)
            shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(prefixed)
    except Exception:  # whatever the parser trips over, the header is not one
        raise _no_array(source) from None
    check_shape(source, shape)
    if dtype.itemsize == 0 and math.prod(shape) > 0:  # text of no characters: no bytes would bound the shape
        raise _no_array(source)
    return _Header(shape, "F" if fortran_order else "C", dtype)


def _no_array(source: Source) -> InputError:
    return InputError(f"{source}: not a .npy array, or its header is damaged")


def _check_no_objects(source: Source, dtype: np.dtype) -> None:
    if dtype.hasobject:
        raise InputError(
            f"{source}: holds Python objects, which are never unpickled; save an array of numbers, "
            "or labels as a JSON file with one list of class indices a row"
        )


def _truncated(source: Source, promised: int, present: int) -> InputError:
    return InputError(f"{source}: truncated: the header promises {promised} bytes of data, but {present} are there")


def _surplus(behind: bytes, promised: int, present: int) -> str:
    """The sentence for data behind the array that begins with ``behind``."""
    if behind == _MAGIC:
        return "expected one array, got another one behind it; save each array in its own file, or all with np.savez"
    return (
        f"expected {promised} bytes of data as its header says, got {present}; "
        "was the file appended to, or written by two processes?"
    )


# The members of .npz


@dataclass(frozen=True)
class _Member:
    """One array of an archive, not read yet."""

    source: Source
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    header: _Header
    offset: int

    @property
    def is_text(self) -> bool:
        return self.header.dtype.kind in "US"

    def read(self, role: Role | None = None) -> np.ndarray:
        """Read the array into memory in native byte order: numbers, if it is read for a role."""
        _check_no_objects(self.source, self.header.dtype)
        if role is not None:
            check_numbers(self.source, role, self.header.dtype)
        with self.archive.open(self.info) as stream:
            stream.read(self.offset)
            return _read_array(self.source, self.header, stream)

    def names(self) -> Names:
        dtype = self.header.dtype
        kind = "text" if self.is_text else "integer" if dtype.kind in "iu" else dtype_name(dtype)
        return Names(kind, self.header.shape[0], self._read_names)

    def _read_names(self) -> np.ndarray:
        return _as_names(self.source, self.read())


def _read_array(source: Source, header: _Header, stream: IO[bytes]) -> np.ndarray:
    """Read the data behind a header into memory, in native byte order.

    At most one byte more than the header promises is read, so that a larger member of an archive ends early.
    """
    promised = header.num_bytes
    data = bytearray()
    while block := stream.read(min(_BLOCK, promised + 1 - len(data))):
        data += block
    if len(data) < promised:
        raise _truncated(source, promised, len(data))
    if len(data) > promised:
        raise InputError(f"{source}: expected {promised} bytes of data as its header says, got more")
    if promised == 0:
        return np.zeros(header.shape, header.dtype.newbyteorder("="))
    array: np.ndarray = np.ndarray(header.shape, header.dtype, data, order=header.order)
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))
    return array


def _as_names(source: Source, values: np.ndarray) -> np.ndarray:
    """Text as objects of str; integers as they are."""
    if values.dtype.kind == "U":
        codes = np.frombuffer(values.tobytes(), np.uint32)
        if ((codes > sys.maxunicode) | ((codes >= 0xD800) & (codes < 0xE000))).any():
            raise InputError(f"{source}: expected names in Unicode, got numbers that are no characters; is it damaged?")
        return values.astype(object)
    if values.dtype.kind != "S":
        return values
    try:
        return np.array([value.decode("utf-8") for value in values.tolist()], object)
    except UnicodeDecodeError:
        raise InputError(f"{source}: expected names in UTF-8, got other bytes; save .astype('U')") from None


def _members(source: Source, archive: zipfile.ZipFile) -> dict[str, _Member]:
    """The arrays of an archive by their names without .npy; what is no array is left out."""
    from zipfile import ZIP_DEFLATED, ZIP_STORED

    members: dict[str, _Member] = {}
    repeated = [name for name, count in Counter(archive.namelist()).items() if count > 1]
    if repeated:
        name = printable(repeated[0].removesuffix(".npy"))
        raise InputError(f"{source}: expected arrays of different names, got two of the name {name}")
    for info in archive.infolist():
        name = printable(info.filename)
        if info.flag_bits & 1:
            raise InputError(f"{source}: expected an archive without a password, got an encrypted {name}")
        if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise InputError(
                f"{source}: expected arrays as np.savez or np.savez_compressed writes them, "
                f"got {name} compressed by method {info.compress_type}"
            )
        name = info.filename.removesuffix(".npy")
        with archive.open(info) as stream:
            if name == info.filename and stream.read(len(_MAGIC)) != _MAGIC:
                continue
        if name in members:
            raise InputError(f"{source}: expected arrays of different names, got two of the name {printable(name)}")
        own = replace(source, key=name)
        with archive.open(info) as stream:
            header = _read_header(stream, own)
            members[name] = _Member(own, archive, info, header, stream.tell())
    return members


def _choose_member(source: Source, role: Role, members: Mapping[str, _Member]) -> str:
    """Choose among the arrays of numbers; others are candidates by their names only, so that their error is given."""
    if source.key is not None:
        key = source.key if source.key in members else source.key.removesuffix(".npy")
        return choose(replace(source, key=key), role, _dims(members, members))
    numbers = [name for name, member in members.items() if is_numeric(member.header.dtype) and member.header.shape]
    if not any(has_role(name, role) for name in numbers):
        numbers += [
            name
            for name, member in members.items()
            if has_role(name, role) and name not in numbers and not _may_be_names(name, member)
        ]
    return choose(source, role, _dims(members, numbers or members))


def _dims(members: Mapping[str, _Member], names: Mapping[str, _Member] | list[str]) -> dict[str, int]:
    return {name: len(members[name].header.shape) for name in names}


def _may_be_names(name: str, member: _Member) -> bool:
    if len(member.header.shape) != 1:
        return False
    return has_role(name, IDS) or (plain(name) in CLASS_NAME_KEYS and member.is_text)


# Sparse matrices in .npz


def _read_sparse(source: Source, role: Role, members: Mapping[str, _Member]) -> Table:
    """Read the labels of a matrix that scipy.sparse.save_npz wrote (csr, csc, coo), or sparse.save_npz (coo)."""
    refuse_sparse(source, role)
    layout = _text_of(members["format"]) if "format" in members else "coo"
    if layout not in ("csr", "csc", "coo"):
        raise InputError(f"{source}: expected a sparse matrix in csr, csc or coo form, got {layout}; save .tocsr()")
    shape = _read_shape(source, layout, members["shape"])
    coo_keys = ("coords",) if "coords" in members else ("row", "col")
    keys = coo_keys if layout == "coo" else ("indptr", "indices")
    if missing := [key for key in keys if key not in members]:
        raise damaged(source, layout, f"the array {missing[0]} is missing")
    values, *positions = (members[key].read() for key in ("data", *keys))
    if keys == ("coords",):
        if positions[0].ndim != 2 or len(positions[0]) != 2:
            raise damaged(source, layout, f"coords has shape {positions[0].shape}")
        positions = list(positions[0])
    if any(array.ndim != 1 for array in (values, *positions)):
        raise damaged(source, layout, "its arrays do not have one dimension")
    if "fill_value" in members and members["fill_value"].read().any():
        raise InputError(f"{source}: expected a sparse matrix with the fill value 0, got another one")
    rows, classes = positions if layout == "coo" else expand_compressed(source, layout, shape, *positions)
    pairs = label_pairs(source, layout, shape, rows, classes, values)
    return Table(source, pairs.num_rows, pairs=pairs)


def _read_shape(source: Source, layout: str, member: _Member) -> list[int]:
    """The two sizes of a sparse matrix."""
    if len(member.header.shape) != 1 or member.header.dtype.kind not in "iu":
        raise damaged(source, layout, "its shape is no list of whole numbers")
    num_dims = member.header.shape[0]
    if num_dims != 2:
        advice = "; save it as a dense array" if num_dims == 1 else ""
        raise InputError(f"{source}: expected a sparse matrix of 2 dimensions, got {num_dims}{advice}")
    sizes: list[int] = member.read().tolist()
    return sizes


def _text_of(member: _Member) -> str:
    """The text of an array with one string, such as the name of a sparse layout."""
    if member.header.shape not in ((), (1,)) or not member.is_text:
        return f"an array of {member.header.dtype.name}"
    text = member.read().reshape(-1)[0]
    return text.decode("ascii", "replace") if isinstance(text, bytes) else str(text)
