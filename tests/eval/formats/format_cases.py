"""Every format in every dtype and layout that its libraries write: the cases behind docs/formats.md.

Legend: N rows, C classes.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import scipy.sparse
import torch

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode adds nothing

from record_cases import make_record_cases

SCORES, LABELS = "scores", "labels"
BITS = np.array([[0, 1, 0], [1, 0, 0], [1, 1, 0]])
LISTS = [[1], [0], [0, 1]]
NAMES = ("cat", "dog", "owl")
IDS = ("v2", "v0", "v1")

NUMPY_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32"),
    *(
        "float64",
        "longdouble",
        "complex64",
        "complex128",
        "datetime64[s]",
        "timedelta64[s]",
        "S3",
        "U3",
        "object",
        "V4",
    ),
)
TORCH_DTYPES = (
    *(
        "bool",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "bfloat16",
        "float32",
    ),
    *("float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2"),
)
ARROW_TYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "halffloat", "float", "double"),
    *("decimal128(5, 1)", "date32", "timestamp[s]", "time32[s]", "duration[s]"),
)


@dataclass(frozen=True, eq=False)
class Case:
    """One file or object to read.

    Attributes:
        format: The format, as the table names it.
        dtype: The dtype, which joins rows of the table that are otherwise equal.
        layout: The layout, or the library's call.
        role: SCORES or LABELS.
        make: Writes a file under a stem, or makes an object; returns the path or the object.
        expected: (N, C) or (N,) values; None where it should be refused.
    """

    format: str
    dtype: str
    layout: str
    role: str
    make: Callable[[Path], Any]
    expected: np.ndarray | None = field(default_factory=lambda: BITS)


def make_cases() -> Iterator[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's and scipy's notes about layouts in beta
        for family in (_npy, _npz, _sparse_npz, _safetensors, _pt, _parquet, _text, _json, _lists, _frames, _tensors):
            yield from family()
        yield from _h5()
        yield from _zarr()
        yield from (Case(*row) for row in make_record_cases())


def _file(suffix: str, write: Callable[[Path], Any]) -> Callable[[Path], Path]:
    def make(stem: Path) -> Path:
        path = stem.with_suffix(suffix)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write(path)
        return path

    return make


def _text_file(suffix: str, content: str) -> Callable[[Path], Path]:
    return _file(suffix, lambda path: path.write_bytes(content.encode()))


# numpy


def _is_read(dtype: str) -> bool:
    return np.dtype(dtype).kind in "biuf" and np.dtype(dtype).itemsize <= 8


def _array(dtype: str) -> np.ndarray:
    return BITS.astype("S3").astype("V4") if dtype == "V4" else BITS.astype(dtype)


def _npy() -> Iterator[Case]:
    for dtype in NUMPY_DTYPES:
        array = _array(dtype)
        expected = BITS if _is_read(dtype) else None
        yield Case(".npy", dtype, "C order", SCORES, _file(".npy", lambda path, a=array: np.save(path, a)), expected)
        if expected is None:
            continue
        yield Case(".npy", dtype, "Fortran order", SCORES,
                   _file(".npy", lambda path, a=array: np.save(path, np.asfortranarray(a))))  # fmt: skip
        if array.dtype.itemsize > 1:
            swapped = array.astype(array.dtype.newbyteorder(">"))
            yield Case(".npy", dtype, "big-endian", SCORES, _file(".npy", lambda path, a=swapped: np.save(path, a)))
        for version in (2, 3):
            yield Case(".npy", dtype, "versions 2.0 and 3.0 of the header", SCORES,
                       _file(".npy", lambda path, a=array, v=version: _write_npy(path, a, v)))  # fmt: skip
    structured = np.array([(0, 1), (1, 0)], [("cat", "f4"), ("dog", "f4")])
    yield Case(".npy", "structured", "C order", SCORES, _file(".npy", lambda path: np.save(path, structured)), None)
    yield Case(".npy", "float64", "three dimensions", SCORES, _file(".npy", lambda path: np.save(path, BITS[None] / 2)),
               None)  # fmt: skip
    index = np.array([1, 0, 2])
    for dtype in ("int64", "int32", "uint8"):
        yield Case(".npy", dtype, "(N,) class indices", LABELS,
                   _file(".npy", lambda path, d=dtype: np.save(path, index.astype(d))), index)  # fmt: skip


def _write_npy(path: Path, array: np.ndarray, version: int) -> None:
    with open(path, "wb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.lib.format.write_array(stream, array, version=(version, 0))


def _npz() -> Iterator[Case]:
    for dtype in NUMPY_DTYPES:
        array, expected = _array(dtype), BITS if _is_read(dtype) else None
        for save in (np.savez, np.savez_compressed):
            make = _file(".npz", lambda path, a=array, s=save: s(path, preds=a))
            yield Case(".npz", dtype, "savez, savez_compressed", SCORES, make, expected)
    two = _file(".npz", lambda path: np.savez(path, one=BITS, two=BITS))
    yield Case(".npz", "any", "several arrays without a telling name", SCORES, two, None)


def _sparse_npz() -> Iterator[Case]:
    for layout in ("csr", "csc", "coo", "bsr", "dia"):
        for dtype in ("bool", "int8", "uint8", "int32", "int64", "float32", "float64"):
            sparse = scipy.sparse.coo_matrix(BITS.astype(dtype)).asformat(layout)
            expected = BITS if layout in ("csr", "csc", "coo") else None
            make = _file(".npz", lambda path, s=sparse: scipy.sparse.save_npz(path, s))
            yield Case("scipy .npz", dtype, f"{layout} matrix", LABELS, make, expected)
    csr = scipy.sparse.csr_matrix(BITS)
    make = _file(".npz", lambda path: scipy.sparse.save_npz(path, csr))
    yield Case("scipy .npz", "any", "a sparse matrix", SCORES, make, None)


# Tensors


def _torch_is_read(dtype: str) -> bool:
    return not dtype.startswith(("complex", "float8"))


def _tensor(dtype: str) -> torch.Tensor:
    return torch.from_numpy(BITS).to(getattr(torch, dtype))


def _safetensors() -> Iterator[Case]:
    for dtype in TORCH_DTYPES:
        if dtype == "complex128":  # the format has none
            continue
        tensors = {"preds": _tensor(dtype)}
        make = _file(".safetensors", lambda path, t=tensors: safetensors.torch.save_file(t, path))
        yield Case(".safetensors", dtype, "one tensor", SCORES, make, BITS if _torch_is_read(dtype) else None)


def _pt() -> Iterator[Case]:
    def saved(content: Any, **options: Any) -> Callable[[Path], Path]:
        return _file(".pt", lambda path: torch.save(content, path, **options))

    for dtype in TORCH_DTYPES:
        tensor, expected = _tensor(dtype), BITS if _torch_is_read(dtype) else None
        yield Case(".pt", dtype, "contiguous", SCORES, saved(tensor), expected)
        if expected is None:
            continue
        yield Case(".pt", dtype, "transposed or sliced view", SCORES, saved(tensor.T.contiguous().T))
        yield Case(".pt", dtype, "transposed or sliced view", SCORES, saved(torch.cat([tensor, tensor], 1)[:, :3]))
        yield Case(".pt", dtype, "dict of tensors", SCORES, saved({"preds": tensor, "loss": torch.tensor(0.5)}))
        if dtype not in ("uint16", "uint32", "uint64"):
            legacy = saved(tensor, _use_new_zipfile_serialization=False)
            yield Case(".pt", dtype, "container of torch before 1.6", SCORES, legacy)
    expanded = torch.tensor([[0.5, 1.0, 2.0]]).expand(3, 3)
    yield Case(".pt", "float32", "expanded view", SCORES, saved(expanded), None)
    yield Case(".pt", "float32", "meta tensor", SCORES, saved(torch.empty(3, 3, device="meta")), None)
    quantized = torch.quantize_per_tensor(torch.from_numpy(BITS).float(), 0.1, 0, torch.quint8)
    yield Case(".pt", "quint8", "quantized", SCORES, saved(quantized), None)
    yield Case(".pt", "any", "list of batches", SCORES, saved([_tensor("float32"), _tensor("float32")]), None)
    for dtype in ("bool", "uint8", "int64", "float32", "bfloat16"):
        tensor = _tensor(dtype)
        for layout, sparse in (
            ("sparse coo", tensor.to_sparse()),
            ("sparse csr", tensor.to_sparse_csr()),
            ("sparse csc", tensor.to_sparse_csc()),
            ("sparse bsr", torch.eye(4, dtype=tensor.dtype).to_sparse_bsr((2, 2))),
        ):
            yield Case(".pt", dtype, layout, LABELS, saved(sparse), None if layout == "sparse bsr" else BITS)
    yield Case(".pt", "any", "sparse coo", SCORES, saved(_tensor("float32").to_sparse()), None)
    nested = [torch.tensor(row) for row in LISTS]
    yield Case(".pt", "int64", "nested tensor of class indices", LABELS, saved(torch.nested.nested_tensor(nested)))
    yield Case(".pt", "int64", "nested tensor of class indices", LABELS,
               saved(torch.nested.nested_tensor(nested, layout=torch.jagged)))  # fmt: skip
    yield Case(".pt", "list", "list of class-index lists", LABELS, saved(LISTS))


# Parquet


def _parquet_file(table: pa.Table, **options: Any) -> Callable[[Path], Path]:
    return _file(".parquet", lambda path: pq.write_table(table, path, **options))


def _arrow_column(kind: str, values: np.ndarray) -> pa.Array:
    own = {"decimal128(5, 1)": pa.decimal128(5, 1)}.get(kind) or pa.type_for_alias(kind)
    if kind.startswith("decimal"):
        return pa.array(values.tolist(), pa.int32()).cast(pa.decimal128(12, 1)).cast(own)
    if kind == "halffloat":
        return pa.array(values.astype(np.float16))
    storage = pa.int32() if kind in ("date32", "time32[s]") else pa.int64()
    is_time = kind.startswith(("date", "time", "duration"))
    return pa.array(values.tolist(), storage).cast(own) if is_time else pa.array(values).cast(own)


def _parquet() -> Iterator[Case]:
    for kind in ARROW_TYPES:
        table = pa.table({name: _arrow_column(kind, BITS[:, c]) for c, name in enumerate(NAMES)})
        is_read = not kind.startswith(("decimal", "date", "time", "duration"))
        yield Case(".parquet", kind, "a column for each class", SCORES, _parquet_file(table), BITS if is_read else None)
        if not is_read:
            continue
        flat = _arrow_column(kind, BITS.reshape(-1))
        fixed = pa.table({"scores": pa.FixedSizeListArray.from_arrays(flat, 3)})
        yield Case(".parquet", kind, "one fixed-size-list column", SCORES, _parquet_file(fixed))
        listed = pa.table({"scores": pa.ListArray.from_arrays(pa.array([0, 3, 6, 9], pa.int32()), flat)})
        expected = None if kind == "halffloat" and not hasattr(pa.types, "is_float16") else BITS
        yield Case(".parquet", kind, "one list column of equal lengths", SCORES, _parquet_file(listed), expected)
    doubles = {name: BITS[:, c] / 2 for c, name in enumerate(NAMES)}
    with_ids = pa.table({"video_id": list(IDS), **doubles})
    for options in (
        {"compression": "zstd"},
        {"compression": "snappy", "row_group_size": 1},
        {"data_page_version": "2.0"},
    ):
        yield Case(".parquet", "double", "with ids; any compression, row groups, pages", SCORES,
                   _parquet_file(with_ids, **options), BITS / 2)  # fmt: skip
    words = pa.table({"video_id": pa.array(IDS).dictionary_encode(), **doubles})
    yield Case(".parquet", "double", "with ids in a dictionary", SCORES, _parquet_file(words), BITS / 2)
    null = pa.table({**doubles, "cat": [0.5, None, 1.0]})
    yield Case(".parquet", "double", "with a null", SCORES, _parquet_file(null), None)
    for kind in ("int32", "int64", "uint8"):
        lists = pa.table({"id": list(IDS), "labels": pa.array(LISTS, pa.list_(pa.type_for_alias(kind)))})
        yield Case(".parquet", kind, "ids and a list column of class indices", LABELS, _parquet_file(lists))
    named = pa.table({"id": list(IDS), "labels": [[NAMES[k] for k in row] for row in LISTS]})
    yield Case(".parquet", "string", "ids and a list column of class names", LABELS, _parquet_file(named))


# Text


def _rows(separator: str, header: bool = True, ids: bool = True, end: str = "\n", bits: Any = BITS / 2) -> str:
    lines = [separator.join([*(["id"] if ids else []), *NAMES])] if header else []
    for name, row in zip(IDS, bits.tolist(), strict=True):
        lines.append(separator.join([*([name] if ids else []), *map(str, row)]))
    return "".join(line + end for line in lines)


def _text() -> Iterator[Case]:
    half = BITS / 2
    for format, suffix, separator in ((".csv", ".csv", ","), (".csv", ".csv", ";"), (".tsv", ".tsv", "\t")):
        for header, ids in ((True, True), (True, False), (False, True), (False, False)):
            text = _rows(separator, header, ids)
            layout = f"{'a header' if header else 'no header'}, {'ids' if ids else 'no ids'}"
            yield Case(format, "fractions", layout, SCORES, _text_file(suffix, text), half)
    for separator in (" ", "\t", ","):
        plain = _rows(separator, False, False)
        yield Case(".txt", "fractions", "blanks, tabs or commas", SCORES, _text_file(".txt", plain),
                   half)  # fmt: skip
    windows = "\ufeff" + _rows(",", end="\r\n")
    yield Case(".csv", "fractions", "CRLF, byte order mark", SCORES, _text_file(".csv", windows),
               half)  # fmt: skip
    yield Case(".csv", "fractions", "an empty cell", SCORES, _text_file(".csv", "cat,dog\n0.5,\n0.25,1\n"), None)
    yield Case(".csv", "fractions", "ragged lines", SCORES, _text_file(".csv", "cat,dog\n0.5,1,2\n0.25,1\n"), None)
    yield Case(".csv", "0 and 1", "a column for each class", LABELS, _text_file(".csv", _rows(",", bits=BITS)))
    yield Case(".csv", "True and False", "a column for each class", LABELS,
               _text_file(".csv", _rows(",", bits=BITS.astype(bool))))  # fmt: skip
    for glue in (";", "|", " ", ","):
        cells = "".join(f'{name},"{glue.join(map(str, row))}"\n' for name, row in zip(IDS, LISTS, strict=True))
        yield Case(
            ".csv", "class indices", 'id,"3;17" (or | , blank)', LABELS, _text_file(".csv", "id,labels\n" + cells)
        )
    words = "".join(f"{name},{';'.join(NAMES[k] for k in row)}\n" for name, row in zip(IDS, LISTS, strict=True))
    yield Case(".csv", "class names", 'id,"cat;dog"', LABELS, _text_file(".csv", "id,labels\n" + words))
    single = "id,label\nv2,1\nv0,0\nv1,2\n"
    yield Case(".csv", "class indices", "a column named label", LABELS, _text_file(".csv", single),
               np.array([1, 0, 2]))  # fmt: skip


# JSON


def _json() -> Iterator[Case]:
    half = (BITS / 2).tolist()
    records = [dict(zip(("id", *NAMES), (name, *row), strict=True)) for name, row in zip(IDS, half, strict=True)]
    lists = [{"id": name, "labels": row} for name, row in zip(IDS, LISTS, strict=True)]
    words = [{"id": name, "labels": [NAMES[k] for k in row]} for name, row in zip(IDS, LISTS, strict=True)]
    for dtype, layout, role, content, expected in (
        ("numbers", "list of rows", SCORES, half, BITS / 2),
        ("numbers", "records, a field for each class", SCORES, records, BITS / 2),
        ("class indices", "list of class-index lists", LABELS, LISTS, BITS),
        ("class indices", "records of id and labels", LABELS, lists, BITS),
        ("class names", "records of id and labels", LABELS, words, BITS),
        ("mixed", "a null among numbers", SCORES, [[0.5, None], [1, 2]], None),
    ):
        yield Case(".json", dtype, layout, role, _text_file(".json", json.dumps(content)), expected)
        yield Case(".jsonl", dtype, layout, role, _text_file(".jsonl", "\n".join(map(json.dumps, content))), expected)
    by_id = json.dumps(dict(zip(IDS, LISTS, strict=True)))
    yield Case(".json", "class indices", "an object {id: [...]}", LABELS, _text_file(".json", by_id))
    twice = '{"v1": [0], "v1": [1]}'
    yield Case(".json", "class indices", "an object with one id twice", LABELS, _text_file(".json", twice), None)


def _lists() -> Iterator[Case]:
    lines = "".join(f"{name} {','.join(map(str, row))}\n" for name, row in zip(IDS, LISTS, strict=True))
    for suffix in (".lst", ".txt"):
        yield Case(".lst, .txt", "class indices", "<id> <class>,<class>", LABELS, _text_file(suffix, lines))
    folder = "".join(f"multiple/{name} 30 {','.join(map(str, row))},\n" for name, row in zip(IDS, LISTS, strict=True))
    yield Case(".lst, .txt", "class indices", "<class>/<id> <frames> <class>,", LABELS, _text_file(".lst", folder))
    open_form = "v2 1 0\nv0 0 2\nv1 0 1\n"
    yield Case(".lst, .txt", "class indices", "<id> <number> <number>", LABELS, _text_file(".txt", open_form), None)


# Containers


def _h5() -> Iterator[Case]:
    def saved(write: Callable[[Any], Any], **options: Any) -> Callable[[Path], Path]:
        def make(path: Path) -> None:
            with h5py.File(path, "w", **options) as file:
                write(file)

        return _file(".h5", make)

    for dtype in NUMPY_DTYPES:
        if dtype in ("datetime64[s]", "timedelta64[s]", "U3", "object"):  # h5py writes none of them
            continue
        array, expected = _array(dtype), BITS if _is_read(dtype) else None
        for layout, how in (
            ("contiguous", {}),
            ("chunks; gzip, shuffle, lzf, fletcher32", {"chunks": (2, 2)}),
            ("chunks; gzip, shuffle, lzf, fletcher32", {"chunks": (2, 2), "compression": "gzip", "shuffle": True}),
            ("chunks; gzip, shuffle, lzf, fletcher32", {"chunks": (2, 2), "compression": "lzf", "fletcher32": True}),
        ):
            yield Case(".h5", dtype, layout, SCORES,
                       saved(lambda f, a=array, h=how: f.create_dataset("preds", data=a, **h)), expected)  # fmt: skip
        if expected is not None and array.dtype.itemsize > 1:
            swapped = array.astype(array.dtype.newbyteorder(">"))
            yield Case(
                ".h5", dtype, "big-endian", SCORES, saved(lambda f, a=swapped: f.create_dataset("preds", data=a))
            )
    half = BITS / 2
    structured = np.array([(0, 1), (1, 0)], [("cat", "f4"), ("dog", "f4")])
    yield Case(".h5", "structured", "contiguous", SCORES, saved(lambda f: f.create_dataset("preds", data=structured)),
               None)  # fmt: skip
    vlen = h5py.vlen_dtype(np.int64)
    yield Case(".h5", "vlen", "rows of different lengths", LABELS,
               saved(lambda f: f.create_dataset("labels", (3,), vlen)), None)  # fmt: skip
    yield Case(".h5", "float64", "in a group, with ids and class names", SCORES, saved(_write_group), half)
    yield Case(".h5", "float64", "scale-offset filter", SCORES,
               saved(lambda f: f.create_dataset("preds", data=half, chunks=(3, 3), scaleoffset=3)), half)  # fmt: skip
    link = h5py.ExternalLink("other.h5", "/preds")
    yield Case(".h5", "any", "a link to another file", SCORES, saved(lambda f: f.__setitem__("preds", link)), None)
    virtual = h5py.VirtualLayout((3, 3), "f8")
    yield Case(".h5", "any", "virtual data set", SCORES,
               saved(lambda f: f.create_virtual_dataset("preds", virtual)), None)  # fmt: skip
    yield Case(".h5", "any", "never written", SCORES, saved(lambda f: f.create_dataset("preds", (3, 3))), None)
    for dtype in ("bool", "uint8", "int64", "float32"):
        yield Case(".h5", dtype, "csr matrix in a group", LABELS, saved(lambda f, d=dtype: _write_csr(f, d)))
    for dtype in ("int64", "int32", "uint8"):
        index = np.array([1, 0, 2], dtype)
        yield Case(".h5", dtype, "(N,) class indices", LABELS,
                   saved(lambda f, a=index: f.create_dataset("labels", data=a)), index)  # fmt: skip


def _write_group(file: Any) -> None:
    file["test/preds"], file["test/video_id"], file["test/class_names"] = BITS / 2, list(IDS), list(NAMES)


def _write_csr(file: Any, dtype: str) -> None:
    matrix = scipy.sparse.csr_matrix(BITS.astype(dtype))
    for name, values in (("data", matrix.data), ("indices", matrix.indices), ("indptr", matrix.indptr)):
        file[f"labels/{name}"] = values
    file["labels"].attrs["shape"] = matrix.shape


def _zarr() -> Iterator[Case]:
    try:
        import zarr
    except ImportError:  # it needs Python 3.11
        return

    def saved(array: np.ndarray, format: int, **how: Any) -> Callable[[Path], Path]:
        def make(path: Path) -> None:
            group = zarr.open_group(path, mode="w", zarr_format=format)
            group.create_array("preds", shape=array.shape, dtype=array.dtype, **how)[...] = array

        return _file(".zarr", make)

    for dtype in NUMPY_DTYPES:
        array, expected = _array(dtype), BITS if _is_read(dtype) else None
        if dtype in ("longdouble", "object", "V4"):  # zarr writes none of them
            continue
        yield Case(".zarr", dtype, "format 2 and 3", SCORES, saved(array, 2, chunks=(2, 2)), expected)
        yield Case(".zarr", dtype, "format 2 and 3", SCORES, saved(array, 3, chunks=(2, 2)), expected)
        if expected is None:
            continue
        plain = {"chunks": (2, 2), "compressors": None}
        yield Case(".zarr", dtype, "without compression, sharded", SCORES, saved(array, 3, **plain))
        sharded = saved(array, 3, chunks=(1, 1), shards=(2, 2))
        yield Case(".zarr", dtype, "without compression, sharded", SCORES, sharded)
        if array.dtype.itemsize > 1:
            swapped = array.astype(array.dtype.newbyteorder(">"))
            yield Case(".zarr", dtype, "big-endian", SCORES, saved(swapped, 2, chunks=(2, 2)))


# In memory


def _frames() -> Iterator[Case]:
    half = {name: BITS[:, c] / 2 for c, name in enumerate(NAMES)}
    bits = {name: BITS[:, c] for c, name in enumerate(NAMES)}
    for dtype in ("float32", "float64", "Float32", "Float64", "float64[pyarrow]"):
        yield Case("pandas", dtype, "DataFrame", SCORES, lambda stem, d=dtype: pd.DataFrame(half).astype(d), BITS / 2)
    for dtype in ("bool", "boolean", "int64", "Int64", "uint8", "int64[pyarrow]", "bool[pyarrow]"):
        yield Case("pandas", dtype, "DataFrame", LABELS, lambda stem, d=dtype: pd.DataFrame(bits).astype(d))
    yield Case("pandas", "Float64", "DataFrame with <NA>", SCORES,
               lambda stem: pd.DataFrame({**half, "cat": pd.array([0.5, None, 1.0], "Float64")}), None)  # fmt: skip
    yield Case("pandas", "object", "Series of lists", LABELS, lambda stem: pd.Series(LISTS))
    for dtype in (pl.Float32, pl.Float64):
        yield Case(
            "polars", str(dtype), "DataFrame", SCORES, lambda stem, d=dtype: pl.DataFrame(half).cast(d), BITS / 2
        )
    for dtype in (pl.Boolean, pl.Int64, pl.UInt8):
        yield Case("polars", str(dtype), "DataFrame", LABELS, lambda stem, d=dtype: pl.DataFrame(bits).cast(d))
    yield Case("polars", "Float64", "LazyFrame", SCORES, lambda stem: pl.LazyFrame(half), None)
    yield Case("polars", "List(Int64)", "Series of lists", LABELS, lambda stem: pl.Series(LISTS))
    yield Case("pyarrow", "double", "Table, RecordBatch", SCORES, lambda stem: pa.table(half), BITS / 2)
    yield Case("pyarrow", "double", "Table, RecordBatch", SCORES, lambda stem: pa.record_batch(half), BITS / 2)
    yield Case("pyarrow", "list<int64>", "Array of lists", LABELS, lambda stem: pa.array(LISTS))


def _tensors() -> Iterator[Case]:
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        tensor = _tensor(dtype) / 2
        yield Case("torch tensor", dtype, "contiguous", SCORES, lambda stem, t=tensor: t, BITS / 2)
        view = tensor.T.contiguous().T
        yield Case("torch tensor", dtype, "transposed or sliced view", SCORES, lambda stem, t=view: t,
                   BITS / 2)  # fmt: skip
    row = torch.tensor([[0.5, 1.0, 2.0]])
    yield Case(
        "torch tensor", "float32", "expanded view", SCORES, lambda stem: row.expand(3, 3), row.expand(3, 3).numpy()
    )
    yield Case("torch tensor", "float32", "requires grad", SCORES,
               lambda stem: (_tensor("float32") / 2).requires_grad_(), BITS / 2)  # fmt: skip
    yield Case("torch tensor", "float32", "negative bit", SCORES,
               lambda stem: torch._neg_view(_tensor("float32")), None)  # fmt: skip
    yield Case("torch tensor", "float32", "meta tensor", SCORES, lambda stem: torch.empty(3, 3, device="meta"), None)
    yield Case("torch tensor", "float32", "sparse coo", SCORES, lambda stem: _tensor("float32").to_sparse(), None)
    yield Case("torch tensor", "complex64", "contiguous", SCORES, lambda stem: _tensor("complex64"), None)
