"""Read score, label, training-count and class-name files into arrays, without copying what can be mapped.

A *spec* names the input: a path, a glob pattern, or a list of these. Several files are row shards, in the order given;
a glob's matches are in natural order (shard_2 before shard_10). ``FILE::KEY`` picks one array of a file that holds
several. Every failure is an `InputError` of one sentence that starts with the file's name. No Python object is
ever unpickled: object arrays are refused, and .pt is read with torch's ``weights_only``.

Legend: N rows (videos), C classes.
"""

from __future__ import annotations

import glob
import importlib
import json
import math
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from vltr_eval.labels import LabelPairs

Spec = str | os.PathLike | Sequence


class InputError(ValueError):
    """A file that cannot be read as asked; the message is one sentence naming the file."""


# ---------------------------------------------------------------------------------------------------------------------
# What users call
# ---------------------------------------------------------------------------------------------------------------------


def read_scores(spec: Spec) -> Any:
    """Read the scores: one (N, C) or (N,) array, or a list of such row shards when the spec names several files.

    .npy, .safetensors and .pt are memory-mapped; .npz, .parquet, .csv and .tsv are read into memory. The dtype is the
    file's (text is float64). .pt gives torch CPU tensors, everything else numpy arrays.
    Raises InputError for a file that is missing, truncated, foreign or of another shape, and for shards that disagree
    in columns or dtype.
    """
    sources = _expand(spec)
    shards = [_read(source, _SCORES) for source in sources]
    _check_shards_agree(sources, shards)
    return shards[0] if len(shards) == 1 else shards


def read_labels(spec: Spec, num_rows: int | None = None, num_classes: int | None = None) -> Any:
    """Read the labels: a dense (N, C) array of 0/1, (N,) class indices, or `LabelPairs`.

    Every format of `read_scores`, and as LabelPairs: scipy sparse .npz (csr, csc or coo; read without scipy),
    .lst lines ``<id> <class>[,<class>...]`` and .json lists of class indices, one list a row.
    Row shards are joined. Dense values are not looked at here; those of sparse files must be 0 or 1.
    num_rows, num_classes: what the scores have, None where not known yet.
    Raises InputError as `read_scores` does, and for a shape or class index that disagrees with the scores.
    """
    sources = _expand(spec)
    parts = [_read(source, _LABELS) for source in sources]
    if num_classes is not None:
        for source, part in zip(sources, parts, strict=True):
            _check_classes(source, part, num_classes)
    labels = parts[0] if len(parts) == 1 else _join_labels(sources, parts)
    rows, _ = _extent(labels)
    if num_rows is not None and rows != num_rows:
        name = f"{sources[0]}" if len(sources) == 1 else f"{sources[0]} and {len(sources) - 1} more"
        raise InputError(f"{name}: {rows} rows of labels, but the scores have {num_rows} rows")
    return labels


def read_train_counts(path: str | os.PathLike, num_classes: int | None = None) -> np.ndarray:
    """Read the number of training examples of each class, (C,) int64.

    .lst: ``<name> <index> <count>`` a line, as VideoLT's count-labels-train.lst (``river 0 1912.0``), in any order;
    .npy, .npz, .csv, .tsv or .txt: one number a class.
    Raises InputError for a count that is not a whole number >= 0, or another number of classes than ``num_classes``.
    """
    source, counts = _read_class_numbers(path, num_classes, "counts")
    whole = (counts >= 0) & (counts < 2**53) & (counts == np.floor(counts))
    if not whole.all():
        c = int(np.argmin(whole))
        raise InputError(f"{source}: expected whole numbers >= 0, got {counts[c]} for class {c}")
    return counts.astype(np.int64)


def read_prior(path: str | os.PathLike, num_classes: int | None = None) -> np.ndarray:
    """Read a class distribution, (C,) of numbers from 0 up of any sum; the formats of `read_train_counts`.

    Raises InputError for a number that is negative or not finite, where all are 0, or for another number of classes.
    """
    source, shares = _read_class_numbers(path, num_classes, "shares")
    bad = np.flatnonzero(~((shares >= 0) & (shares < np.inf)))
    if bad.size:
        raise InputError(f"{source}: expected finite numbers >= 0, got {shares[bad[0]]} for class {bad[0]}")
    if not shares.any():
        raise InputError(f"{source}: expected a share above 0 for some class, got none")
    return shares


def _read_class_numbers(path: str | os.PathLike, num_classes: int | None, what: str) -> tuple[_Source, np.ndarray]:
    """One number a class, of a count list or an array: (C,)."""
    source = _expand_one(path)
    if source.suffix == ".lst":
        numbers = np.array([count for _, count in _read_count_list(source)])
    else:
        numbers = np.asarray(_read(source, _COUNTS))
        numbers = numbers.reshape(-1) if 1 in numbers.shape else numbers
    if numbers.ndim != 1:
        raise InputError(f"{source}: expected one number a class, got an array of shape {numbers.shape}")
    _check_class_total(source, len(numbers), what, num_classes)
    return source, numbers


def read_class_names(path: str | os.PathLike, num_classes: int | None = None) -> list[str]:
    """Read the class names, C strings in class order: one a line, or the names of a training-count .lst.

    Raises InputError for an empty name or another number of names than ``num_classes``.
    """
    source = _expand_one(path)
    if source.suffix == ".lst":
        names = [name for name, _ in _read_count_list(source)]
    else:
        names = [line.strip() for line in _lines(source)]
        if "" in names:
            raise InputError(f"{source}: line {names.index('') + 1}: expected a class name, got an empty line")
    _check_class_total(source, len(names), "names", num_classes)
    return names


def input_files(spec: Spec) -> list[Path]:
    """The files that a spec names, without reading them; a file that is named outright need not exist.

    Raises InputError for a pattern without a match.
    """
    return [source.path for source in _expand(spec)]


def split_spec(spec: Spec) -> list[str]:
    """A spec of each of the files that a spec names, with the key that picks its array.

    Raises InputError for a pattern without a match.
    """
    return [str(source) for source in _expand(spec)]


# ---------------------------------------------------------------------------------------------------------------------
# Which files, and which array of a file
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """One file, and the name of the array in it when the user picked one."""

    path: Path
    key: str | None = None

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower()

    def __str__(self) -> str:
        return str(self.path) if self.key is None else f"{self.path}::{self.key}"


@dataclass(frozen=True)
class _Role:
    """What a file is read for: its name in messages, and the array names that say so in files that hold several."""

    name: str
    keys: frozenset[str]


_SCORES = _Role(
    "scores",
    frozenset({"scores", "preds", "predictions", "probs", "probabilities", "logits", "outputs", "y_score"}),
)
_LABELS = _Role("labels", frozenset({"labels", "label", "targets", "target", "y_true", "ground_truth"}))
_COUNTS = _Role("training counts", frozenset({"counts", "train_counts"}))


def _expand(spec: Spec) -> list[_Source]:
    """The files that a spec names, at least one; a glob's matches in natural order."""
    if not isinstance(spec, (str, os.PathLike)):
        sources = [source for part in spec for source in _expand(part)]
        if not sources:
            raise InputError("expected at least one file, got an empty list")
        return sources
    name, key = _split_key(os.fspath(spec))
    if os.path.exists(name) or not glob.has_magic(name):
        return [_Source(Path(name), key)]
    matches = sorted(glob.glob(name, recursive=True), key=natural_order)
    if not matches:
        raise InputError(f"{name}: no file matches this pattern")
    return [_Source(Path(match), key) for match in matches]


def _split_key(text: str) -> tuple[str, str | None]:
    if os.path.exists(text) or "::" not in text:
        return text, None
    name, _, key = text.rpartition("::")
    return name, key


def natural_order(name: str) -> list[str | int]:
    """Sort key that compares digit runs as numbers; text and numbers alternate, so like meets like."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _expand_one(path: Spec) -> _Source:
    sources = _expand(path)
    if len(sources) > 1:
        raise InputError(f"{path}: expected one file, but {len(sources)} match")
    return sources[0]


def _choose(source: _Source, role: _Role, dims: Mapping[str, int]) -> str:
    """Name of the array to read among ``dims`` (name -> number of dimensions); never a guess between two."""
    if source.key is not None:
        if source.key not in dims:
            raise InputError(f"{source}: no such array; the file holds {_listing(dims)}")
        return source.key
    if len(dims) == 1:
        return next(iter(dims))
    by_name = [name for name in dims if name in role.keys]
    matrices = [name for name, ndim in dims.items() if ndim == 2]
    for candidates in (by_name, matrices):
        if len(candidates) == 1:
            return candidates[0]
    holds = _listing(dims) if dims else "no array"
    raise InputError(f"{source}: cannot tell which array holds the {role.name}; pick one as FILE::KEY (found {holds})")


def _listing(names: Iterable[str], limit: int = 12) -> str:
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


# ---------------------------------------------------------------------------------------------------------------------
# Reading one file
# ---------------------------------------------------------------------------------------------------------------------

_NUMERIC = re.compile(r"(torch\.)?(bool|u?int(8|16|32|64)|b?float(16|32|64))")


def _read(source: _Source, role: _Role) -> Any:
    """One file's array, of numbers and 1-D or 2-D; or its LabelPairs."""
    readers = _READERS | _LABEL_READERS if role is _LABELS else _READERS
    reader = readers.get(source.suffix)
    if reader is None:
        formats = ", ".join(readers)
        raise InputError(f"{source}: cannot read {role.name} from a {source.suffix!r} file; expected one of {formats}")
    if source.key is not None and source.suffix not in _SEVERAL_ARRAYS:
        raise InputError(f"{source}: a {source.suffix} file holds one array, so ::{source.key} cannot pick one")
    with _reading(source):
        array = reader(source, role)
    if not _is_pairs(array):
        dtype = getattr(array.dtype, "name", str(array.dtype))
        if not _NUMERIC.fullmatch(dtype):
            raise InputError(f"{source}: expected {role.name} of bool, integer or float dtype, got {dtype}")
        if array.ndim not in (1, 2):
            raise InputError(f"{source}: expected {role.name} of 1 or 2 dimensions, got shape {tuple(array.shape)}")
    return array


@contextmanager
def _reading(source: _Source) -> Iterator[None]:
    """Turn what the operating system and the text decoder say into one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{source.path}: no such file") from None
    except OSError as error:
        reason = error.strerror or str(error).split("\n")[0]
        raise InputError(f"{source.path}: cannot be read ({reason})") from error
    except UnicodeDecodeError:
        raise InputError(f"{source.path}: expected UTF-8 text, got binary data") from None


def _require(module: str, extra: str, source: _Source) -> Any:
    """Import an optional package, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        package = module.partition(".")[0]
        raise InputError(f'{source}: reading it needs {package}; pip install "vltr[{extra}]"') from None


def _map(source: _Source, dtype: np.dtype, shape: tuple[int, ...], offset: int, order: str = "C") -> np.ndarray:
    """The array at ``offset`` of the file, read-only and not read yet."""
    promised = math.prod(shape) * dtype.itemsize
    present = source.path.stat().st_size - offset
    if promised > present:
        raise InputError(f"{source}: truncated: the header promises {promised} bytes of data, but {present} are there")
    if promised == 0:  # an empty region cannot be mapped
        return np.empty(shape, dtype)
    return np.memmap(source.path, dtype, "r", offset, shape, order)


# .npy and .npz


def _npy_header(stream: BinaryIO, source: _Source) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype of the .npy data that starts where the stream then stands."""
    try:
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[np.lib.format.read_magic(stream)]
        shape, fortran_order, dtype = read(stream)
    except OSError:
        raise
    except Exception:  # whatever the parser trips over, the header is not one
        raise InputError(f"{source}: not a .npy array, or its header is damaged") from None
    if min(shape, default=0) < 0:
        raise InputError(f"{source}: not a .npy array: its header says shape {shape}")
    if dtype.hasobject:
        raise InputError(f"{source}: holds Python objects, which are never unpickled; save an array of numbers")
    return shape, fortran_order, dtype


def _read_npy(source: _Source, role: _Role) -> np.ndarray:
    with open(source.path, "rb") as stream:
        shape, fortran_order, dtype = _npy_header(stream, source)
        offset = stream.tell()
    return _map(source, dtype, shape, offset, "F" if fortran_order else "C")


def _read_npz(source: _Source, role: _Role) -> np.ndarray | LabelPairs:
    try:
        with zipfile.ZipFile(source.path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            if _SPARSE_KEYS.issubset(names) and source.key is None:
                return _read_sparse(source, role, archive)
            dims = {name: _member_ndim(source, archive, name) for name in names}
            return _read_member(source, archive, _choose(source, role, dims))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{source}: not a .npz archive, or it is truncated or damaged") from error


def _member_ndim(source: _Source, archive: zipfile.ZipFile, name: str) -> int:
    with archive.open(f"{name}.npy") as stream:
        return len(_npy_header(stream, _Source(source.path, name))[0])


def _read_member(source: _Source, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    member = _Source(source.path, name)
    with archive.open(f"{name}.npy") as stream:
        shape, fortran_order, dtype = _npy_header(stream, member)
        data = stream.read()
    promised = math.prod(shape) * dtype.itemsize
    if promised > len(data):
        raise InputError(
            f"{member}: truncated: the header promises {promised} bytes of data, but {len(data)} are there"
        )
    return np.frombuffer(data, dtype, math.prod(shape)).reshape(shape, order="F" if fortran_order else "C")


_SPARSE_KEYS = {"format", "shape", "data"}  # of scipy.sparse.save_npz


def _read_sparse(source: _Source, role: _Role, archive: zipfile.ZipFile) -> LabelPairs:
    """Labels of a scipy sparse file: csr, csc or coo."""
    if role is not _LABELS:
        raise InputError(f"{source}: a sparse matrix can hold labels, not {role.name}")
    layout = _text_of(_read_member(source, archive, "format"))
    if layout not in ("csr", "csc", "coo"):
        raise InputError(f"{source}: expected a sparse matrix in csr, csc or coo form, got {layout}; save .tocsr()")
    keys = ("row", "col") if layout == "coo" else ("indices", "indptr")
    if missing := [key for key in keys if f"{key}.npy" not in archive.namelist()]:
        raise InputError(f"{source}: a damaged {layout} matrix without the array {missing[0]}")
    shape, values, *places = (_read_member(source, archive, key) for key in ("shape", "data", *keys))
    if shape.shape != (2,) or min(shape) < 0 or any(array.ndim != 1 for array in (values, *places)):
        raise InputError(f"{source}: a damaged {layout} matrix: its arrays do not have the form they should")
    num_rows, num_classes = map(int, shape)
    if layout == "coo":
        rows, classes = places
    else:
        minor, indptr = places
        majors = num_rows if layout == "csr" else num_classes
        steps = np.diff(indptr)
        if len(indptr) != majors + 1 or indptr[0] != 0 or (steps < 0).any() or indptr[-1] != len(minor):
            raise InputError(f"{source}: a damaged {layout} matrix: indptr does not fit the shape and the indices")
        major = np.repeat(np.arange(majors), steps)
        rows, classes = (major, minor) if layout == "csr" else (minor, major)
    if not len(rows) == len(classes) == len(values):
        raise InputError(f"{source}: a damaged {layout} matrix: {len(values)} values at {len(rows)} places")
    for index, size in ((rows, num_rows), (classes, num_classes)):
        if len(index) and (index.min() < 0 or index.max() >= size):
            raise InputError(f"{source}: a damaged {layout} matrix: an index is outside its shape")
    stored = values != 0
    if (foreign := np.flatnonzero(stored & (values != 1))).size:
        at = foreign[0]
        raise InputError(f"{source}: expected labels 0 or 1, got {values[at]} at row {rows[at]}, class {classes[at]}")
    return _label_pairs(source, num_rows, num_classes, rows[stored], classes[stored])


def _text_of(array: np.ndarray) -> str:
    text = array.item() if array.size == 1 else ""
    return text.decode("ascii", "replace") if isinstance(text, bytes) else str(text)


# .safetensors and .pt

_SAFETENSORS_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip


def _read_safetensors(source: _Source, role: _Role) -> Any:
    """One tensor of the file: 8 bytes header length, a JSON header, the data."""
    size = source.path.stat().st_size
    with open(source.path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > size - 8:
            raise InputError(f"{source}: not a .safetensors file, or it is truncated")
        header = stream.read(length)
    try:
        entries = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        name = _choose(source, role, {name: len(entry["shape"]) for name, entry in entries.items()})
        code, shape = entries[name]["dtype"], tuple(map(int, entries[name]["shape"]))
        begin, end = map(int, entries[name]["data_offsets"])
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError(f"{source}: not a .safetensors file: its header is damaged") from None
    if code not in _SAFETENSORS_DTYPES:
        raise InputError(f"{source}: expected {role.name} of bool, integer or float dtype, got {code}")
    dtype = np.dtype(_SAFETENSORS_DTYPES[code])
    if begin < 0 or min(shape, default=0) < 0 or end - begin != math.prod(shape) * dtype.itemsize:
        raise InputError(f"{source}: not a .safetensors file: {name} of shape {shape} does not fit its place")
    array = np.require(_map(source, dtype, shape, 8 + length + begin), requirements="A")  # a copy only if misaligned
    return _as_bfloat16(source, array) if code == "BF16" else array


def _as_bfloat16(source: _Source, bits: np.ndarray) -> Any:
    """View 16-bit patterns as bfloat16: a numpy array with ml_dtypes, else a torch tensor."""
    try:
        return bits.view(importlib.import_module("ml_dtypes").bfloat16)
    except ModuleNotFoundError:
        torch = _require("torch", "bfloat16", source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the mapping is read-only; so is our use of it
        return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)


def _read_pt(source: _Source, role: _Role) -> Any:
    torch = _require("torch", "torch", source)
    try:
        mappable = zipfile.is_zipfile(source.path)  # torch before 1.6 wrote another container
        content = torch.load(source.path, map_location="cpu", weights_only=True, mmap=mappable)
    except OSError:
        raise
    except Exception as error:  # its unpickler raises whatever a damaged or foreign file leads to
        raise InputError(f"{source}: not a readable .pt file of tensors (other objects are never unpickled)") from error
    if isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if torch.is_tensor(value)}
        content = tensors[_choose(source, role, {name: tensor.ndim for name, tensor in tensors.items()})]
    elif source.key is not None:
        raise InputError(f"{source}: the file holds one unnamed object, so ::{source.key} cannot pick one")
    if not torch.is_tensor(content) or content.layout != torch.strided:
        raise InputError(f"{source}: expected a dense tensor or a dict of them, got {type(content).__name__}")
    return content.detach()


# .parquet

_PARQUET_ROWS = 4096  # rows decoded at a time


def _read_parquet(source: _Source, role: _Role) -> np.ndarray:
    """All columns in their common dtype, (N, C), or (N,) if there is one or one is picked; without pandas' index."""
    parquet = _require("pyarrow.parquet", "parquet", source)
    try:
        with parquet.ParquetFile(source.path, memory_map=True) as file:
            columns = [name for name in file.schema_arrow.names if not re.fullmatch(r"__index_level_\d+__", name)]
            if source.key is not None:
                columns = [_choose(source, role, dict.fromkeys(columns, 1))]
            dtype = np.result_type(*(_column_dtype(source, file.schema_arrow.field(name)) for name in columns))
            matrix = np.empty((file.metadata.num_rows, len(columns)), dtype)
            start = 0
            for batch in file.iter_batches(_PARQUET_ROWS, columns=columns):
                block = matrix[start : start + batch.num_rows]
                for index, name in enumerate(columns):
                    block[:, index] = _without_nulls(source, name, start, batch.column(name))
                start += batch.num_rows
            return matrix[:, 0] if len(columns) == 1 else matrix
    except InputError:
        raise
    except (ValueError, KeyError) as error:  # pyarrow's ArrowInvalid and ArrowKeyError
        raise InputError(f"{source}: not a .parquet file, or it is truncated or damaged") from error


def _column_dtype(source: _Source, field: Any) -> np.dtype:
    dtype = np.dtype(field.type.to_pandas_dtype())
    if not _NUMERIC.fullmatch(dtype.name):
        raise InputError(f"{source}: expected columns of numbers, but column {field.name} holds {field.type}")
    return dtype


def _without_nulls(source: _Source, name: str, start: int, column: Any) -> np.ndarray:
    if column.null_count:
        row = start + column.is_null().to_numpy(zero_copy_only=False).argmax()
        raise InputError(f"{source}: row {row}, column {name}: expected a number, got a null")
    return column.to_numpy(zero_copy_only=False)


# .csv, .tsv, .txt

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": None}  # None: any white space


def _read_text(source: _Source, role: _Role) -> np.ndarray:
    """A table of numbers as (N, C) float64, or (N,) if it has one column; a first line without any number is a header.

    A single column of whole numbers that is read for labels is int64: class indices.
    """
    delimiter = _DELIMITERS[source.suffix]
    with open(source.path, encoding="utf-8-sig") as stream:
        first = stream.readline().rstrip("\r\n").split(delimiter)
    header = not any(map(_is_number, first))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "input contained no data": an empty matrix says so too
            table = np.loadtxt(
                source.path, delimiter=delimiter, skiprows=int(header), comments=None, ndmin=2, encoding="utf-8-sig"
            )
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        raise InputError(_text_complaint(source, delimiter, header) or f"{source}: {error}") from None
    if table.shape[1] != 1:
        return table
    column = table[:, 0]
    return column.astype(np.int64) if role is _LABELS and _all_whole(column) else column


def _text_complaint(source: _Source, delimiter: str | None, header: bool) -> str | None:
    """The first thing that is wrong with a table of numbers, found line by line."""
    width = None
    with open(source.path, encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            fields = line.rstrip("\r\n").split(delimiter)
            if (header and number == 1) or not line.strip():
                continue
            for column, field in enumerate(fields, start=1):
                if not _is_number(field):
                    return f"{source}: line {number}, column {column}: expected a number, got {_quote(field)}"
            width = width or len(fields)
            if len(fields) != width:
                return f"{source}: line {number}: expected {width} columns as in the lines above, got {len(fields)}"
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_000, files do not mean it


def _all_whole(values: np.ndarray) -> bool:
    return bool((np.abs(values) < 2**53).all() and (values == np.floor(values)).all())


def _quote(text: str, limit: int = 40) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "...")


def _lines(source: _Source) -> list[str]:
    """The lines of a text file, without the empty ones at its end: index + 1 is the line number of an editor."""
    with _reading(source):
        text = source.path.read_text(encoding="utf-8-sig")
    return text.rstrip().split("\n") if text.strip() else []


# Labels as lists of class indices: .lst and .json

_MAX_CLASSES = 2**31  # beyond it an index is a mistake, not a class


def _read_lst(source: _Source, role: _Role) -> LabelPairs:
    """VideoLT's lists, ``<id> <class>[,<class>...]`` a line; an id alone is a row without labels."""
    rows = [line.split() for line in _lines(source)]
    lists = [fields[1].removesuffix(",") for fields in rows if len(fields) == 2]
    tokens = ",".join(lists).split(",") if lists else []
    try:
        if not (lists and all(1 <= len(fields) <= 2 for fields in rows) and _only_digits("".join(tokens))):
            raise ValueError
        classes = np.fromiter(map(int, tokens), np.int64, len(tokens))
    except (ValueError, OverflowError):
        raise InputError(_lst_complaint(source, rows)) from None
    lengths = [0 if len(fields) == 1 else fields[1].removesuffix(",").count(",") + 1 for fields in rows]
    return _label_pairs(source, len(rows), None, np.repeat(np.arange(len(rows)), lengths), classes)


def _only_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _lst_complaint(source: _Source, rows: list[list[str]]) -> str:
    """The first thing that is wrong with the lines of a .lst, given as their fields."""
    for number, fields in enumerate(rows, start=1):
        if not 1 <= len(fields) <= 2:
            return f"{source}: line {number}: expected '<id> <class>[,<class>...]', got {len(fields)} fields"
        for token in fields[1].removesuffix(",").split(",") if len(fields) == 2 else []:
            if not _only_digits(token) or len(token) > 18:
                return f"{source}: line {number}: expected a class index (0, 1, ...), got {_quote(token)}"
    return f"{source}: expected lines '<id> <class>[,<class>...]', but no line has a class"


def _read_json(source: _Source, role: _Role) -> LabelPairs | np.ndarray:
    """A list with one list of class indices a row, or a flat list with one class index a row."""
    try:
        content = json.loads(source.path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise
    except json.JSONDecodeError as error:
        raise InputError(f"{source}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError):  # numbers of thousands of digits, thousands of brackets
        raise InputError(f"{source}: not JSON of class indices") from None
    expected = "expected a list with one list of class indices a row"
    if not isinstance(content, list):
        raise InputError(f"{source}: {expected}, got a JSON {type(content).__name__}")
    flat = bool(content) and not any(isinstance(row, list) for row in content)
    lists = [[index] for index in content] if flat else content
    for row, indices in enumerate(lists):
        if not isinstance(indices, list):
            raise InputError(f"{source}: row {row}: {expected}, got {_quote(json.dumps(indices))}")
        for index in indices:
            if type(index) is not int or not 0 <= index < _MAX_CLASSES:  # True is an int to isinstance
                raise InputError(
                    f"{source}: row {row}: expected a class index (0, 1, ...), got {_quote(json.dumps(index))}"
                )
    classes = np.fromiter(chain.from_iterable(lists), np.int64)
    if flat:
        return classes
    return _label_pairs(source, len(lists), None, np.repeat(np.arange(len(lists)), list(map(len, lists))), classes)


def _label_pairs(
    source: _Source, num_rows: int, num_classes: int | None, rows: np.ndarray, classes: np.ndarray
) -> LabelPairs:
    """LabelPairs of one file, after a look for classes that cannot be and for pairs named twice."""
    from vltr_eval.labels import LabelPairs

    rows, classes = rows.astype(np.int64, copy=False), classes.astype(np.int64, copy=False)
    _check_class_range(source, rows, classes, _MAX_CLASSES)
    order = np.lexsort((classes, rows))
    twice = np.flatnonzero((np.diff(rows[order]) == 0) & (np.diff(classes[order]) == 0))
    if twice.size:
        at = order[twice[0]]
        raise InputError(f"{source}: {_place(source, rows[at])}: class {classes[at]} is listed twice")
    return LabelPairs(num_rows, num_classes, rows, classes)


def _check_class_range(source: _Source, rows: np.ndarray, classes: np.ndarray, num_classes: int) -> None:
    beyond = np.flatnonzero(classes >= num_classes)
    if beyond.size:
        at = beyond[0]
        known = f"the scores have {num_classes} classes" if num_classes < _MAX_CLASSES else "no index is that large"
        raise InputError(f"{source}: {_place(source, rows[at])}: class index {classes[at]}, but {known}")


def _check_classes(source: _Source, labels: Any, num_classes: int) -> None:
    _, own = _extent(labels)
    if own is not None and own != num_classes:
        raise InputError(f"{source}: labels of {own} classes, but the scores have {num_classes} classes")
    if own is None and _is_pairs(labels):
        _check_class_range(source, labels.rows, labels.classes, num_classes)


def _place(source: _Source, row: int) -> str:
    return f"line {row + 1}" if source.suffix == ".lst" else f"row {row}"


# Training counts and class names


def _read_count_list(source: _Source) -> list[tuple[str, float]]:
    """(name, count) of each class in class order, from lines ``<name> <index> <count>``."""
    lines = _lines(source)
    entries: dict[int, tuple[str, float]] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.rsplit(None, 2)
        if len(fields) != 3 or not _only_digits(fields[1]) or not _is_number(fields[2]):
            raise InputError(f"{source}: line {number}: expected '<name> <index> <count>', got {_quote(line)}")
        name, index, count = fields[0].strip(), int(fields[1][:18]), float(fields[2])
        if index >= len(lines):
            raise InputError(f"{source}: line {number}: class index {index}, but the file has {len(lines)} classes")
        if index in entries:
            raise InputError(f"{source}: line {number}: class index {index} is listed twice")
        entries[index] = name, count
    return [entries[index] for index in range(len(lines))]


def _check_class_total(source: _Source, total: int, what: str, num_classes: int | None) -> None:
    if num_classes is not None and total != num_classes:
        raise InputError(f"{source}: {total} {what}, but the scores have {num_classes} classes")


# ---------------------------------------------------------------------------------------------------------------------
# Row shards
# ---------------------------------------------------------------------------------------------------------------------


def _is_pairs(labels: Any) -> bool:
    return hasattr(labels, "num_rows")


def _extent(array: Any) -> tuple[int, int | None]:
    """Rows and classes of scores or labels; None classes where class indices do not tell."""
    if _is_pairs(array):
        return array.num_rows, array.num_classes
    return (array.shape[0], array.shape[1]) if array.ndim == 2 else (array.shape[0], None)


def _check_shards_agree(sources: Sequence[_Source], shards: Sequence[Any]) -> None:
    """Row shards of one matrix have the same dtype and columns."""
    for source, shard in zip(sources, shards, strict=True):
        for own, first in zip(_form(shard), _form(shards[0]), strict=True):
            if own != first:
                raise InputError(f"{source}: {own}, but {sources[0]} has {first}")


def _form(shard: Any) -> tuple[str, str]:
    """What row shards must have in common, in words."""
    columns = f"{shard.shape[1]} columns" if shard.ndim == 2 else "no columns"
    return columns, str(shard.dtype)


def _join_labels(sources: Sequence[_Source], parts: Sequence[Any]) -> Any:
    """Row shards of labels as one: LabelPairs, or an array."""
    if not any(map(_is_pairs, parts)):
        _check_shards_agree(sources, parts)
        return np.concatenate([np.asarray(part) for part in parts])
    from vltr_eval.labels import LabelPairs

    for source, part in zip(sources, parts, strict=True):
        if not _is_pairs(part) or part.num_classes != parts[0].num_classes:
            raise InputError(f"{source}: labels of another form or number of classes than {sources[0]}")
    starts = np.cumsum([0, *(part.num_rows for part in parts)])
    rows = [part.rows + start for part, start in zip(parts, starts[:-1], strict=True)]
    classes = [part.classes for part in parts]
    return LabelPairs(int(starts[-1]), parts[0].num_classes, np.concatenate(rows), np.concatenate(classes))


_Reader = Callable[[_Source, _Role], Any]
_READERS: dict[str, _Reader] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".pt": _read_pt,
    ".pth": _read_pt,
    ".parquet": _read_parquet,
    ".csv": _read_text,
    ".tsv": _read_text,
    ".txt": _read_text,
}
_LABEL_READERS: dict[str, _Reader] = {".lst": _read_lst, ".json": _read_json}
_SEVERAL_ARRAYS = {".npz", ".safetensors", ".pt", ".pth", ".parquet"}
