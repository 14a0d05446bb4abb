"""Write scores and labels to every container that vltr reads, some rows at a time.

Each writer gets a path that no one else reads, and the content. It returns sentences about what the format cannot hold.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval._base.progress import Progress
from vltr_eval.formats.column_roles import is_aside
from vltr_eval.formats.content import BLOCK, Content, DenseRows, compressed_rows
from vltr_eval.formats.roles import role_of
from vltr_eval.formats.sources import Source, quote, require
from vltr_eval.formats.table import NUMBER, Column

Notes = list[str]


@dataclass(frozen=True)
class Layout:
    """The user's choices about the output.

    Attributes:
        suffix: The suffix of the output, which a temporary file lacks.
        key: The name of the array, None for the name of its role.
        chunk_rows: Rows of a chunk, a row group or a batch.
    """

    suffix: str
    key: str | None = None
    chunk_rows: int | None = None


Writer = Callable[[Content, Path, Layout, "Progress | None"], Notes]


def writer_of(path: str) -> Writer:
    """The writer for the suffix of a path.

    Raises:
        InputError: A suffix that is not written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise InputError(f"{path}: cannot write a {suffix!r} file; expected one of {', '.join(WRITERS)}")
    return WRITERS[suffix]


def _key(content: Content, layout: Layout) -> str:
    return content.role if layout.key is None else layout.key.strip("/")


def _dense(content: Content, notes: Notes, form: str) -> Content:
    """Sparse labels as a matrix, for formats that hold nothing else."""
    if content.pairs is None:
        return content
    rows = DenseRows(content.pairs, _total(content))
    notes.append(f"the labels are sparse and {form} is not, so they are written as a matrix of uint8")
    return replace(content, shards=[rows], pairs=None, dtype=rows.dtype)


def _total(content: Content) -> int:
    """C of sparse labels."""
    total = content.num_classes if content.class_names is None else len(content.class_names)
    if total is None:
        raise InputError(
            f"{content.name}: expected the number of classes, which these labels do not tell; give --num-classes or "
            "--class-names"
        )
    return total


def _plain(content: Content, notes: Notes, form: str) -> Content:
    """bfloat16, which numpy lacks, as float32."""
    if str(content.dtype) != "bfloat16":
        return content
    notes.append(f"{form} has no bfloat16, so the numbers are written as float32, which holds them exactly")
    return replace(content, dtype=np.dtype(np.float32))


def _without(content: Content, notes: Notes, form: str, *, ids: bool = True, names: bool = True) -> None:
    """Say that ids and class names are not held."""
    if ids and content.ids is not None:
        notes.append(f"{form} holds no row ids, so they are left out; rows keep their order")
    if names and content.class_names is not None:
        notes.append(f"{form} holds no class names, so they are left out; classes keep their order")


# .npy and .npz


def write_npy(content: Content, path: Path, layout: Layout, progress: Progress | None) -> Notes:
    notes: Notes = []
    _without(content, notes, ".npy")
    content = _dense(_plain(content, notes, ".npy"), notes, ".npy")
    with open(path, "wb") as stream:
        _write_array(stream, content, progress)
    return notes


def _write_array(stream: IO[bytes], content: Content, progress: Progress | None) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(content.stored_dtype),
        "fortran_order": False,
        "shape": content.shape,
    }
    np.lib.format.write_array_header_1_0(stream, header)
    for _, block in content.blocks(content.rows_of(BLOCK), progress):
        stream.write(_bytes(block))


def _bytes(block: np.ndarray) -> Any:
    """The bytes of a C-contiguous array, without a copy."""
    return block.reshape(-1).view(np.uint8).data


def write_npz(content: Content, path: Path, layout: Layout, progress: Progress | None) -> Notes:
    notes: Notes = []
    content = _plain(content, notes, ".npz")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        if content.pairs is None:
            with _member(archive, _key(content, layout)) as stream:
                _write_array(stream, content, progress)
        else:
            indptr, indices = compressed_rows(content.pairs)
            arrays = {
                "indices": indices,
                "indptr": indptr,
                "format": np.array(b"csr"),
                "shape": np.array([content.num_rows, _total(content)]),
                "data": np.ones(len(indices), np.uint8),
            }
            for name, array in arrays.items():
                _write_member(archive, name, array)
        for name, values in _beside(content).items():
            _write_member(archive, name, np.array(values.tolist()) if values.dtype == object else values)
    return notes


@contextmanager
def _member(archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
    with archive.open(info, "w", force_zip64=True) as stream:
        yield stream


def _write_member(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with _member(archive, name) as stream:
        np.lib.format.write_array(stream, array, allow_pickle=False)


def _beside(content: Content) -> dict[str, np.ndarray]:
    """The arrays of ids and of class names."""
    found = {}
    if content.ids is not None:
        found["ids"] = content.ids
    if content.class_names is not None:
        found["class_names"] = np.array(content.class_names, object)
    return found


# .h5


def write_h5(content: Content, path: Path, layout: Layout, progress: Progress | None) -> Notes:
    """Contiguous, which is mapped when it is read; compressed chunks if their rows are given."""
    from vltr_eval.formats.tiles import run

    h5py = require("h5py", "h5", Source(path))
    notes: Notes = []
    content = _plain(content, notes, ".h5")
    with h5py.File(path, "w", locking=False) as file:  # the temporary file is locked already
        key = _key(content, layout)
        group = file.require_group(key.rpartition("/")[0] or "/")
        if content.pairs is None:
            how: dict[str, Any] = {}
            if layout.chunk_rows is not None and content.num_rows:
                rows = min(layout.chunk_rows, content.num_rows)
                how = {
                    "chunks": (rows, *content.shape[1:]),
                    "compression": "gzip",
                    "compression_opts": 1,
                    "shuffle": True,
                }
            array = file.create_dataset(key, content.shape, content.stored_dtype, **how)
            rows = content.rows_of(BLOCK // 8)  # a Ctrl-C waits for one block
            step = rows if not how else how["chunks"][0] * max(1, rows // how["chunks"][0])

            def write(part: tuple[int, np.ndarray]) -> None:
                array[part[0] : part[0] + len(part[1])] = part[1]

            total = -(-content.num_rows // step)
            run(content.blocks(step), total, write, progress=progress, threads=1)
        else:
            indptr, indices = compressed_rows(content.pairs)
            group = file.require_group(key)
            group["data"], group["indices"], group["indptr"] = np.ones(len(indices), np.uint8), indices, indptr
            group["shape"] = np.array([content.num_rows, _total(content)])
        for name, values in _beside(content).items():
            if values.dtype == object:
                group.create_dataset(name, data=values, dtype=h5py.string_dtype())
            else:
                group[name] = values
    return notes


def _step(content: Content, chunk_rows: int | None) -> int:
    """Rows of a block: whole chunks."""
    rows = content.rows_of(BLOCK)
    return rows if chunk_rows is None else chunk_rows * max(1, rows // chunk_rows)


# .zarr


def write_zarr(content: Content, path: Path, layout: Layout, progress: Progress | None) -> Notes:
    """Format 3, in chunks of whole rows; a folder, or a zip file by the suffix."""
    import warnings

    zarr = require("zarr", "zarr", Source(path))
    notes: Notes = []
    content = _plain(content, notes, ".zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # text is no settled part of format 3, and zip files hold metadata twice
        is_zip = layout.suffix == ".zip"
        store: Any = zarr.storage.ZipStore(path, mode="w") if is_zip else str(path)
        key = _key(content, layout)
        root = zarr.create_group(store, zarr_format=3, overwrite=not is_zip)
        name, folder = key.rpartition("/")[2], key.rpartition("/")[0]
        group = root.require_group(folder) if folder else root
        if content.pairs is None:
            rows = min(layout.chunk_rows or content.rows_of(BLOCK // 4), max(1, content.num_rows))
            shape = content.shape
            array = group.create_array(name, shape=shape, chunks=(rows, *shape[1:]), dtype=content.stored_dtype)
            for first, block in content.blocks(_step(content, rows), progress):
                array[first : first + len(block)] = block
        else:
            indptr, indices = compressed_rows(content.pairs)
            group = group.require_group(name)
            parts = {"data": np.ones(len(indices), np.uint8), "indices": indices, "indptr": indptr}
            for part, values in {**parts, "shape": np.array([content.num_rows, _total(content)])}.items():
                group.create_array(part, data=values)
        for part, values in _beside(content).items():
            if values.dtype == object:
                group.create_array(part, shape=values.shape, dtype=str)[:] = values
            else:
                group.create_array(part, data=values)
        if is_zip:
            store.close()
    return notes


# .safetensors and .pt

_CODES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32",
    "uint64": "U64", "int64": "I64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
}  # fmt: skip


def write_safetensors(content: Content, path: Path, layout: Layout, progress: Progress | None) -> Notes:
    notes: Notes = []
    is_numbered = content.ids is not None and content.ids.dtype != object
    _without(content, notes, ".safetensors", ids=not is_numbered)
    content = _dense(content, notes, ".safetensors")
    ids = np.empty(0, np.int64) if content.ids is None or not is_numbered else content.ids
    size = int(np.prod(content.shape, dtype=np.int64)) * content.stored_dtype.itemsize
    entries: dict[str, Any] = {
        _key(content, layout): {
            "dtype": _CODES[str(content.dtype)],
            "shape": list(content.shape),
            "data_offsets": [0, size],
        }
    }
    if is_numbered:
        entries["ids"] = {"dtype": "I64", "shape": [len(ids)], "data_offsets": [size, size + ids.nbytes]}
    header = json.dumps(entries).encode("utf-8")
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        for _, block in content.blocks(content.rows_of(BLOCK), progress):
            stream.write(_bytes(block))
        stream.write(ids.astype("<i8").tobytes())
    return notes


def write_pt(content: Content, path: Path, layout: Layout, progress: Progress | None) -> Notes:
    """A dict of tensors; the array is gathered in memory, or in a temporary file if it is large."""
    import warnings

    from vltr_eval.formats.tiles import decode

    torch = require("torch", "torch", Source(path))
    if content.pairs is None:
        step = content.rows_of(BLOCK)

        def fill(array: np.ndarray, part: tuple[int, np.ndarray]) -> None:
            array[part[0] : part[0] + len(part[1])] = part[1]

        total = -(-content.num_rows // step)
        parts = content.blocks(step)
        array = decode(
            Source(path), content.shape, content.stored_dtype, parts, total, fill, progress=progress, threads=1
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the array is read-only; so is our use of it
            tensor = torch.from_numpy(array)
        tensor = tensor.view(torch.bfloat16) if str(content.dtype) == "bfloat16" else tensor
    else:
        indptr, indices = compressed_rows(content.pairs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sparse tensors, which are in beta
            ones = torch.ones(len(indices), dtype=torch.uint8)
            size = (content.num_rows, _total(content))
            tensor = torch.sparse_csr_tensor(torch.from_numpy(indptr), torch.from_numpy(indices), ones, size)
    held = {name: values.tolist() for name, values in _beside(content).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({_key(content, layout): tensor, **held}, path)
    return []


# .parquet, .arrow and .feather


def write_parquet(content: Content, path: Path, layout: Layout, progress: Progress | None) -> Notes:
    parquet = require("pyarrow.parquet", "parquet", Source(path))
    schema, batches, notes = _arrow_table(content, layout, progress, ".parquet")
    with parquet.ParquetWriter(path, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return notes


def write_arrow(content: Content, path: Path, layout: Layout, progress: Progress | None) -> Notes:
    """Arrow's IPC file format, which is also that of .feather version 2, without compression: it can be mapped."""
    ipc = require("pyarrow.ipc", "parquet", Source(path))
    schema, batches, notes = _arrow_table(content, layout, progress, ".arrow")
    with open(path, "wb") as stream, ipc.new_file(stream, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return notes


def _arrow_table(
    content: Content, layout: Layout, progress: Progress | None, form: str
) -> tuple[Any, Iterator[Any], Notes]:
    """The schema and the record batches: a column of ids, and the values.

    A matrix with class names has a column for each class, one without names is one column of fixed-size lists. Sparse
    labels are lists, with the class names in the metadata of Hugging Face's datasets.
    """
    import pyarrow as pa

    notes: Notes = []
    content = _plain(content, notes, form)
    key = layout.key or content.role
    is_named = content.is_matrix and content.class_names is not None and not _misread(content.class_names)
    metadata = None
    if content.pairs is not None:
        values = [pa.field(key, pa.list_(pa.int64()))]
        if content.class_names is not None:
            label = {"names": list(content.class_names), "_type": "ClassLabel"}
            metadata = {"huggingface": json.dumps({"info": {"features": {key: {"feature": label, "_type": "List"}}}})}
    else:
        kind = pa.from_numpy_dtype(content.stored_dtype)
        if is_named:
            values = [pa.field(name, kind) for name in content.class_names or ()]
        elif content.is_matrix:
            _without(content, notes, f"{form} without a column for each class", ids=False)
            values = [pa.field(key, pa.list_(kind, content.shape[1]))]
        else:
            values = [pa.field("label" if content.role == "labels" else "score", kind)]
    ids = content.ids
    first = [] if ids is None else [pa.field("id", pa.string() if ids.dtype == object else pa.int64())]
    schema = pa.schema([*first, *values], metadata=metadata)

    def columns(block: np.ndarray) -> list[Any]:
        if is_named:
            return [pa.array(column) for column in np.ascontiguousarray(block.T)]
        if content.is_matrix:
            return [pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), content.shape[1])]
        return [pa.array(block)]

    def batches() -> Iterator[Any]:
        for start, stop, block in _parts(content, layout.chunk_rows, progress):
            named = [] if ids is None else [pa.array(ids[start:stop].tolist(), schema.field(0).type)]
            if isinstance(block, np.ndarray):
                made = columns(block)
            else:
                indptr, indices = block
                made = [pa.ListArray.from_arrays(pa.array((indptr - indptr[0]).astype(np.int32)), pa.array(indices))]
            yield pa.record_batch([*named, *made], schema=schema)

    return schema, batches(), notes


def _parts(content: Content, chunk_rows: int | None, progress: Progress | None) -> Iterator[tuple[int, int, Any]]:
    """First and last row of each part, with the block, or with indptr and indices of sparse labels."""
    if content.pairs is None:
        for first, block in content.blocks(chunk_rows or content.rows_of(BLOCK), progress):
            yield first, first + len(block), block
        return
    indptr, indices = compressed_rows(content.pairs)
    step = chunk_rows or 1 << 18
    for start in range(0, content.num_rows, step):
        stop = min(start + step, content.num_rows)
        bounds = indptr[start : stop + 1]
        yield start, stop, (bounds, indices[bounds[0] : bounds[-1]])
        if progress is not None:
            progress(stop / content.num_rows)


def _misread(names: tuple[str, ...]) -> list[str]:
    """Class names that a reader of columns could take for an id, for labels or for no class."""
    return [
        name
        for name in names
        if role_of(name) is not None or is_aside(Column(name, NUMBER)) or name.strip() != name or not name.isprintable()
    ] + ["" for _ in range(len(names) - len({*names, ""} - {""}))]


# .csv


def write_csv(content: Content, path: Path, layout: Layout, progress: Progress | None) -> Notes:
    """Numbers with the digits that give them back exactly as float64."""
    notes: Notes = []
    if content.pairs is not None:
        _without(content, notes, ".csv with a list of class indices a row", ids=False)
    content = _plain(content, notes, ".csv")
    separator = "\t" if layout.suffix == ".tsv" else ","
    if content.is_matrix and content.class_names is not None and (wrong := _misread(content.class_names)):
        raise InputError(
            f"{content.name}: a column of the class {quote(wrong[0])} would not be read as a class again; write .npz "
            "or .h5"
        )
    for row, own in enumerate([] if content.ids is None or content.ids.dtype != object else content.ids.tolist()):
        if own.strip() != own or "\r" in own:
            raise InputError(
                f"{content.name}: row {row}: the id {quote(own)} would not be read as it is again; write .npz or .h5"
            )
    with open(path, "w", encoding="utf-8", newline="") as stream:
        header = _header(content)
        if header is not None:
            csv.writer(stream, delimiter=separator, lineterminator="\n").writerow(header)
        for start, stop, block in _parts(content, None, progress):
            names = None if content.ids is None else _cells(content.ids[start:stop].tolist(), separator)
            for number, line in enumerate(_lines(block, separator)):
                stream.write(f"{line}\n" if names is None else f"{names[number]}{separator}{line}\n")
    return notes


def _header(content: Content) -> list[str] | None:
    """The names of the columns; None for a plain matrix, whose first line is the first row."""
    ids = [] if content.ids is None else ["id"]
    if content.pairs is not None:
        return [*ids, "labels"]
    if not content.is_matrix:
        return [*ids, "label" if content.role == "labels" else "score"]
    if content.class_names is None and not ids:
        return None
    return [*ids, *(content.class_names or map(str, range(content.shape[1])))]


def _cells(values: list[Any], separator: str) -> list[str]:
    """Text as cells, in quotes where it needs them."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
    found = []
    for value in values:
        text = str(value)
        if not (text and text.isalnum()):
            stream.seek(0)
            stream.truncate()
            writer.writerow([text])
            text = stream.getvalue()[:-1]
        found.append(text)
    return found


def _lines(block: Any, separator: str) -> Iterator[str]:
    """The cells of each row."""
    if not isinstance(block, np.ndarray):
        indptr, indices = block
        offsets, values = (indptr - indptr[0]).tolist(), list(map(str, indices.tolist()))
        for start, stop in pairwise(offsets):
            yield f'"{";".join(values[start:stop])}"'
        return
    if block.dtype.kind == "b":
        block = block.astype(np.uint8)
    if block.dtype.kind == "f":
        block = block.astype(np.float64)
    for row in block.reshape(len(block), -1):
        yield separator.join(map(repr, row.tolist()))


WRITERS: dict[str, Writer] = {
    ".npy": write_npy,
    ".npz": write_npz,
    ".h5": write_h5,
    ".hdf5": write_h5,
    ".zarr": write_zarr,
    ".zip": write_zarr,
    ".parquet": write_parquet,
    ".arrow": write_arrow,
    ".feather": write_arrow,
    ".safetensors": write_safetensors,
    ".pt": write_pt,
    ".csv": write_csv,
    ".tsv": write_csv,
}
KEYED = frozenset({".npz", ".h5", ".hdf5", ".zarr", ".zip", ".parquet", ".arrow", ".feather", ".safetensors", ".pt"})
CHUNKED = frozenset({".h5", ".hdf5", ".zarr", ".zip", ".parquet", ".arrow", ".feather"})
