"""The cases of docs/formats.md for Arrow files, folders of save_to_disk, TFRecords and pickles."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode adds nothing

from tfrecord_bytes import example, sequence, write_records

SCORES, LABELS = "scores", "labels"
NAMES = ("cat", "dog", "owl")
LISTS = [[1], [0], [0, 1]]
BITS = np.array([[0, 1, 0], [1, 0, 0], [1, 1, 0]])

# format, dtype, layout, role, make, and the expected values or None: the fields of a Case
Row = tuple[str, str, str, str, Callable[[Path], Any], Any]

_NUMBERS = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "halffloat", "float", "double"),
)


def make_record_cases() -> Iterator[Row]:
    for family in (_arrow_files, _saved, _tfrecords, _pickles):
        yield from family()


def _array(kind: str, values: np.ndarray) -> pa.Array:
    return (
        pa.array(values.astype(np.float16)) if kind == "halffloat" else pa.array(values).cast(pa.type_for_alias(kind))
    )


def _write(suffix: str, table: pa.Table, make: Any = pa.ipc.new_file, **options: Any) -> Callable[[Path], Path]:
    def write(stem: Path) -> Path:
        path = stem.with_suffix(suffix)
        rows = options.pop("rows", None)
        with (
            pa.OSFile(str(path), "wb") as sink,
            make(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer,
        ):
            writer.write_table(table, max_chunksize=rows)
        return path

    return write


def _arrow_files() -> Iterator[Row]:
    for kind in _NUMBERS:
        columns = pa.table({name: _array(kind, BITS[:, k]) for k, name in enumerate(NAMES)})
        fixed = pa.table({"scores": pa.FixedSizeListArray.from_arrays(_array(kind, BITS.reshape(-1)), 3)})
        yield (".arrow", kind, "file or stream, a column for each class", SCORES, _write(".arrow", columns), BITS)
        stream = _write(".arrow", columns, pa.ipc.new_stream)
        yield (".arrow", kind, "file or stream, a column for each class", SCORES, stream, BITS)
        yield (".arrow", kind, "one fixed-size-list column", SCORES, _write(".arrow", fixed), BITS)
        for compression in ("lz4", "zstd"):
            packed = _write(".feather", columns, compression=compression)
            yield (".feather", kind, "version 2, lz4 or zstd", SCORES, packed, BITS)
    lists = pa.table({"id": ["v2", "v0", "v1"], "labels": LISTS})
    yield (".arrow", "int64", "ids and a list column of class indices", LABELS, _write(".arrow", lists), BITS)
    null = pa.table({"cat": [0.5, None, 1.0]})
    yield (".arrow", "double", "with a null", SCORES, _write(".arrow", null), None)

    def version_1(stem: Path) -> Path:
        path = stem.with_suffix(".feather")
        path.write_bytes(b"FEA1" + bytes(16) + b"FEA1")
        return path

    yield (".feather", "any", "version 1", SCORES, version_1, None)


def _saved() -> Iterator[Row]:
    names = {"names": list(NAMES), "_type": "ClassLabel"}
    for kind, feature, column in (
        ("List(ClassLabel)", {"feature": names, "_type": "List"}, LISTS),
        ("ClassLabel", names, pa.array([1, 0, 2], pa.int64())),
    ):

        def save(stem: Path, feature: Any = feature, column: Any = column) -> Path:
            folder = stem.with_suffix(".saved")
            folder.mkdir()
            table = pa.table({"labels": column})
            info = {"features": {"labels": feature}}
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": info})})
            name = "data-00000-of-00001.arrow"
            _write(".arrow", table, pa.ipc.new_stream)(folder / name)
            (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
            (folder / "dataset_info.json").write_text(json.dumps(info))
            return folder

        expected = BITS if kind.startswith("List") else np.array([1, 0, 2])
        yield ("folder of save_to_disk", kind, "datasets 5.2, one split", LABELS, save, expected)


def _tfrecords() -> Iterator[Row]:
    def write(*messages: bytes) -> Callable[[Path], Path]:
        return lambda stem: write_records(stem.with_suffix(".tfrecord"), messages)

    video = [example(id=b"v%d" % row, labels=own) for row, own in enumerate(LISTS)]
    frames = [sequence({"id": b"v%d" % row, "labels": own}, {"rgb": [b"1234"]}) for row, own in enumerate(LISTS)]
    yield (".tfrecord", "int64", "YouTube-8M, video level", LABELS, write(*video), BITS)
    yield (".tfrecord", "int64", "YouTube-8M, frame level", LABELS, write(*frames), BITS)
    yield (".tfrecord", "int64", "YouTube-8M, any level", SCORES, write(*video), None)
    yield (".tfrecord", "float", "labels of another kind", LABELS, write(example(id=b"a", labels=np.ones(2))), None)


def _pickles() -> Iterator[Row]:
    def write(content: Any, protocol: int = 4) -> Callable[[Path], Path]:
        def make(stem: Path) -> Path:
            path = stem.with_suffix(".pkl")
            path.write_bytes(pickle.dumps(content, protocol))
            return path

        return make

    for dtype in ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"):
        tensor = torch.from_numpy(BITS).to(getattr(torch, dtype))
        rows = [{"pred_score": row, "gt_label": torch.tensor([1])} for row in tensor]
        yield (".pkl", dtype, "mmengine: a list of dicts of tensors", SCORES, write(rows), BITS)
        both = [tensor, torch.tensor([1, 0, 1])]
        yield (".pkl", dtype, "PySlowFast: [scores, labels]", SCORES, write(both), BITS)
        if dtype != "bfloat16":
            arrays = list(BITS.astype(dtype))
            yield (".pkl", dtype, "mmaction 0.x: a list of arrays", SCORES, write(arrays, 2), BITS)
            yield (
                ".pkl",
                dtype,
                "a dict of arrays, protocols 2 to 5",
                SCORES,
                write({"preds": BITS.astype(dtype)}, 5),
                BITS,
            )
    hot = [{"pred_score": torch.zeros(3), "gt_label": row} for row in torch.from_numpy(BITS).float()]
    yield (".pkl", "float32", "mmengine: gt_label of 0 and 1", LABELS, write(hot), BITS)
    one = [{"pred_score": torch.zeros(3), "gt_label": torch.tensor([k])} for k in (1, 0, 2)]
    yield (".pkl", "int64", "mmengine: gt_label of one class", LABELS, write(one), np.array([1, 0, 2]))
    yield (".pkl", "complex64", "a dict of arrays", SCORES, write({"preds": BITS.astype(np.complex64)}), None)
    yield (".pkl", "any", "an object of another class", SCORES, write({"preds": Path("x")}), None)
