"""Valid files for the fuzz harness, written by the usual library of each format.

Legend: N rows, C classes.
"""

from __future__ import annotations

import csv
import io
import json
import pickle
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
import scipy.sparse
import torch

import vltr_eval

sys.path.insert(0, str(Path(__file__).parents[1] / "eval" / "formats"))  # importlib mode adds nothing

from tfrecord_bytes import example, record, sequence

FLOATS = ("<f2", "<f4", "<f8", ">f2", ">f4", ">f8")
WHOLES = ("?", "i1", "u1", "<i2", ">i2", "<u2", "<i4", ">i4", "<u4", "<i8", ">i8", "<u8", ">u8")
TORCH_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TORCH_WHOLES = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class Seed:
    """One valid file.

    Attributes:
        format: The kind of mutations, a key of `mutations._OF_FORMAT`.
        suffix: The end of the file's name.
        target: The reader; a key of `readings.TARGETS`.
        data: The content.
        truth: The right values, (N, C) or (N,); None if the harness has no independent values.
    """

    format: str
    suffix: str
    target: str
    data: bytes
    truth: np.ndarray | None = None


def make_seeds(rng: Random) -> list[Seed]:
    """Make at least one seed of every format; ``rng`` decides shapes, dtypes and layouts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about layouts in beta, and of numpy about version 3.0 of .npy
        return [seed for writer in WRITERS for seed in writer(rng)]


def _scores(rng: Random, dtype: Any = np.float64) -> np.ndarray:
    shape = rng.randint(1, 12), rng.randint(1, 7)
    return np.random.default_rng(rng.getrandbits(32)).normal(size=shape).astype(dtype)


def _labels(rng: Random, dtype: Any = np.uint8) -> np.ndarray:
    shape = rng.randint(1, 12), rng.randint(2, 7)
    return (np.random.default_rng(rng.getrandbits(32)).random(shape) < 0.3).astype(dtype)


def _names(count: int) -> list[str]:
    return [f"class {k:02d}" if k % 3 else f"cat_{k}" for k in range(count)]


def _ids(count: int) -> list[str]:
    return [f"v{row:03d}" for row in range(count)]


def _saved(write: Callable[[Path], Any], name: str = "file") -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def _buffered(write: Callable[[io.BytesIO], Any]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


# numpy and scipy


def _npy(rng: Random) -> Iterator[Seed]:
    for dtype, target, values in (
        (rng.choice(FLOATS), "scores", _scores(rng)),
        (rng.choice(WHOLES), "labels", _labels(rng)),
        ("<i8", "counts", np.arange(rng.randint(1, 9))),
        ("<f8", "prior", np.arange(1.0, rng.randint(2, 9))),
    ):
        array = np.asarray(values.astype(dtype), order=rng.choice("CF"))
        version = rng.choice([(1, 0), (2, 0), (3, 0)])
        data = _buffered(lambda stream, a=array, v=version: np.lib.format.write_array(stream, a, version=v))
        yield Seed("npy", ".npy", target, data, array.astype(dtype.replace(">", "<")))
    ids = rng.choice([np.array(_ids(rng.randint(1, 6))), np.arange(rng.randint(1, 6))])
    yield Seed("npy", ".npy", "ids", _buffered(lambda stream: np.save(stream, ids)), ids)


def _npz(rng: Random) -> Iterator[Seed]:
    save = rng.choice([np.savez, np.savez_compressed])
    scores, labels = _scores(rng, rng.choice(FLOATS[:3])), _labels(rng)
    extra = rng.choice([{}, {"ids": np.array(_ids(len(scores)))}, {"class_names": np.array(_names(scores.shape[1]))}])
    yield Seed("zip", ".npz", "scores", _buffered(lambda stream: save(stream, preds=scores, **extra)), scores)
    yield Seed("zip", ".npz", "labels", _buffered(lambda stream: save(stream, labels=labels)), labels)
    layout = rng.choice(["csr", "csc", "coo", "bsr", "dia"])
    sparse = scipy.sparse.coo_matrix(labels).asformat(layout)
    data = _buffered(lambda stream: scipy.sparse.save_npz(stream, sparse, compressed=rng.random() < 0.5))
    yield Seed("zip", ".npz", "labels", data, labels if layout in ("csr", "csc", "coo") else None)


# Tensors


def _safetensors(rng: Random) -> Iterator[Seed]:
    scores, labels = _scores(rng, rng.choice(FLOATS[:3])), _labels(rng, rng.choice(["u1", "?", "i8", "i4"]))
    extra = rng.choice([{}, {"ids": np.arange(len(scores))}, {"other": np.zeros(3)}])
    metadata = rng.choice([None, {"made": "here"}])
    yield Seed("safetensors", ".safetensors", "scores", safetensors.numpy.save({"preds": scores, **extra}, metadata),
               scores)  # fmt: skip
    yield Seed("safetensors", ".safetensors", "labels", safetensors.numpy.save({"labels": labels}), labels)


def _pt(rng: Random) -> Iterator[Seed]:
    scores = torch.from_numpy(_scores(rng)).to(rng.choice(TORCH_FLOATS))
    labels = torch.from_numpy(_labels(rng)).to(rng.choice(TORCH_WHOLES))
    view = rng.choice([scores, scores.T.contiguous().T, torch.cat([scores, scores], 1)[:, : scores.shape[1]]])
    content = rng.choice([view, {"preds": view}, {"preds": view, "ids": _ids(len(view))}, {"a": {"preds": view}}])
    yield Seed("zip", ".pt", "scores", _buffered(lambda s: torch.save(content, s)), scores.double().numpy())
    as_layout = rng.choice([torch.Tensor.to_dense, torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr])
    yield Seed("zip", ".pt", "labels", _buffered(lambda s: torch.save(as_layout(labels), s)), labels.numpy())
    lists = [row.nonzero()[:, 0].tolist() for row in labels]
    yield Seed("zip", ".pt", "labels", _buffered(lambda s: torch.save(lists, s)))
    data = _buffered(lambda s: torch.save(content, s, _use_new_zipfile_serialization=False))
    yield Seed("legacy_pt", ".pt", "scores", data, scores.double().numpy())


# Tables


def _parquet(rng: Random) -> Iterator[Seed]:
    scores, labels = _scores(rng, rng.choice(FLOATS[:3])), _labels(rng)
    num_rows, num_classes = scores.shape
    columns: dict[str, Any] = dict(zip(_names(num_classes), scores.T.copy(), strict=True))
    if rng.random() < 0.5:
        columns = {"video_id": _ids(num_rows), **columns}
    table = pa.table(columns)
    if rng.random() < 0.3:
        flat = pa.array(scores.astype(np.float32).reshape(-1))
        table = pa.table({"scores": pa.FixedSizeListArray.from_arrays(flat, num_classes)})
        scores = scores.astype(np.float32)
    options = {
        "compression": rng.choice(["none", "snappy", "zstd", "gzip"]),
        "use_dictionary": rng.random() < 0.5,
        "row_group_size": rng.choice([2, 1000]),
        "data_page_version": rng.choice(["1.0", "2.0"]),
    }
    yield Seed("parquet", ".parquet", "scores", _buffered(lambda s: pq.write_table(table, s, **options)), scores)
    lists = [row.nonzero()[0].tolist() for row in labels]
    named = pa.table(
        {"id": _ids(len(labels)), "labels": pa.array(lists, pa.list_(rng.choice([pa.int64(), pa.int32()])))}
    )
    yield Seed("parquet", ".parquet", "labels", _buffered(lambda s: pq.write_table(named, s, **options)))
    frame = pd.DataFrame(labels, columns=_names(labels.shape[1]), index=_ids(len(labels)))
    yield Seed("parquet", ".parquet", "labels", _buffered(frame.to_parquet), labels)


def _arrow(rng: Random) -> Iterator[Seed]:
    """Arrow files and streams of columns, in one batch or in several."""
    scores, labels = _scores(rng, rng.choice(FLOATS[:3])), _labels(rng)
    options = pa.ipc.IpcWriteOptions(compression=rng.choice([None, None, "lz4", "zstd"]))
    rows, make = rng.choice([None, 2]), rng.choice([pa.ipc.new_file, pa.ipc.new_stream])
    columns = {name: pa.array(scores[:, k]) for k, name in enumerate(_names(scores.shape[1]))}
    lists = {"labels": pa.array([row.nonzero()[0].tolist() for row in labels], pa.list_(pa.int64()))}
    for target, content, truth in (
        ("scores", {"id": _ids(len(scores)), **columns}, scores),
        ("labels", {"id": _ids(len(labels)), **lists}, None),
    ):
        table = pa.table(content)

        def write(stream: io.BytesIO, table: pa.Table = table) -> None:
            with make(stream, table.schema, options=options) as writer:
                writer.write_table(table, max_chunksize=rows)

        yield Seed("arrow", rng.choice([".arrow", ".feather"]), target, _buffered(write), truth)


def _pickle(rng: Random) -> Iterator[Seed]:
    """Results as mmengine and PySlowFast pickle them."""
    scores, protocol = _scores(rng, np.float32), rng.choice([2, 3, 4, 5])
    tensor = torch.from_numpy(scores)
    dumped = [{"pred_score": row, "gt_label": torch.tensor([1])} for row in tensor.unbind()]
    for content in (dumped, [tensor, torch.zeros(len(tensor), dtype=torch.int64)], {"preds": scores, "a": {1, 2}}):
        yield Seed("pickle", ".pkl", "scores", pickle.dumps(content, protocol), scores)


def _tfrecord(rng: Random) -> Iterator[Seed]:
    """One record of YouTube-8M's video level, or one of its frame level."""
    labels = sorted(rng.sample(range(200), rng.randint(0, 4)))
    own = example(id=b"abcd", labels=labels, mean_rgb=np.zeros(3))
    frames = sequence({"id": b"abcd", "labels": labels}, {"rgb": [b"1234", b"5678"]})
    for message in (own, frames):
        yield Seed("tfrecord", ".tfrecord", "labels", record(message) * rng.randint(1, 2))


def _csv(rng: Random) -> Iterator[Seed]:
    scores, labels = _scores(rng), _labels(rng)
    frame = pd.DataFrame(scores, columns=_names(scores.shape[1]))
    if rng.random() < 0.5:
        frame.insert(0, "video_id", _ids(len(frame)))
    suffix, separator = rng.choice([(".csv", ","), (".csv", ";"), (".tsv", "\t"), (".txt", "\t")])
    text = frame.to_csv(index=False, sep=separator, lineterminator=rng.choice(["\n", "\r\n"]))
    yield Seed("text", suffix, "scores", text.encode(rng.choice(["utf-8", "utf-8-sig"])), scores)
    plain = _buffered(lambda s: np.savetxt(s, scores, fmt="%.17g", delimiter=rng.choice([" ", ","])))
    yield Seed("text", ".txt", "scores", plain, scores)
    dense = pd.DataFrame(labels, columns=_names(labels.shape[1]), index=pd.Index(_ids(len(labels)), name="id"))
    yield Seed("text", ".csv", "labels", dense.to_csv().encode(), labels)
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    glue = rng.choice([";", ",", "|", " "])
    writer.writerow(["id", "labels"])
    writer.writerows(
        [name, glue.join(map(str, np.flatnonzero(row)))] for name, row in zip(_ids(99), labels, strict=False)
    )
    yield Seed("text", ".csv", "labels", stream.getvalue().encode())
    counts = pd.DataFrame({"class": _names(6), "count": rng.sample(range(900), 6)})
    yield Seed("text", ".csv", "counts", counts.to_csv(index=False).encode(), counts["count"].to_numpy())
    names = pd.DataFrame({"index": range(5), "mid": [f"/m/0{k}" for k in range(5)], "display_name": _names(5)})
    yield Seed("text", ".csv", "class_names", names.to_csv(index=False).encode())
    yield Seed("text", ".csv", "ids", dense.to_csv().encode())
    events = "ImageID,Source,LabelName,Confidence\na1,verification,/m/01,1\na1,verification,/m/02,0\nb2,x,/m/01,1\n"
    strong = "segment_id,start_time_seconds,end_time_seconds,label\nx_1,0.0,1.5,/m/01\nx_1,2.0,3.0,/m/02\n"
    yield Seed("text", ".csv", "named_labels", rng.choice([events, strong]).encode())


def _lists_as_text(rng: Random) -> Iterator[Seed]:
    labels = _labels(rng)
    rows = [np.flatnonzero(row).tolist() or [0] for row in labels]
    ids = _ids(len(rows))
    lst = "".join(f"{name} {','.join(map(str, row))}\n" for name, row in zip(ids, rows, strict=True))
    yield Seed("text", ".lst", "labels", lst.encode())
    yield Seed("text", ".txt", "labels", lst.encode())
    folder = "".join(f"multiple/{name} 30 {','.join(map(str, row))},\n" for name, row in zip(ids, rows, strict=True))
    yield Seed("text", ".lst", "labels", folder.encode())
    counts = "".join(f"{name} {k} {float(900 // (k + 1))}\n" for k, name in enumerate(_names(6)))
    yield Seed("text", ".lst", "counts", counts.encode(), 900 // np.arange(1, 7))
    yield Seed("text", ".lst", "class_names", counts.encode())
    yield Seed("text", ".txt", "class_names", "\n".join(_names(6)).encode())
    yield Seed("text", ".txt", "ids", "\n".join(ids).encode())
    yield Seed("text", ".lst", "ids", lst.encode())


def _json(rng: Random) -> Iterator[Seed]:
    scores, labels = _scores(rng), _labels(rng)
    lists = [np.flatnonzero(row).tolist() for row in labels]
    ids, names = _ids(len(lists)), _names(labels.shape[1])
    records = [{"id": name, "labels": row} for name, row in zip(ids, lists, strict=True)]
    yield Seed("json", ".json", "scores", json.dumps(scores.tolist()).encode(), scores)
    frame = pd.DataFrame(scores, columns=_names(scores.shape[1]))
    frame.insert(0, "video_id", _ids(len(frame)))
    yield Seed("json", ".json", "scores", frame.to_json(orient="records", double_precision=15).encode())
    yield Seed("json", ".jsonl", "scores", frame.to_json(orient="records", lines=True, double_precision=15).encode())
    content = rng.choice([lists, dict(zip(ids, lists, strict=True)), records, {"data": records}])
    yield Seed("json", ".json", "labels", json.dumps(content, indent=rng.choice([None, 1])).encode())
    yield Seed("json", ".jsonl", "labels", "\n".join(map(json.dumps, rng.choice([records, lists]))).encode())
    worded = [{"id": name, "labels": [names[k] for k in row]} for name, row in zip(ids, lists, strict=True)]
    yield Seed("json", ".json", "named_labels", json.dumps(worded).encode())
    indexed = rng.choice([names, {name: k for k, name in enumerate(names)}, dict(enumerate(names))])
    yield Seed("json", ".json", "class_names", json.dumps(indexed).encode())
    yield Seed("json", ".json", "counts", json.dumps([5, 4, 3, 2]).encode(), np.array([5, 4, 3, 2]))
    yield Seed("json", ".json", "ids", json.dumps(ids).encode())


# Other readers of both packages


def _ava(rng: Random) -> Iterator[Seed]:
    boxes = "".join(
        f"vid{k % 3},{900 + k:04d},0.1,0.2,0.{k + 3},0.9,{k + 1}" + rng.choice(["", f",0.{k}"]) + "\n" for k in range(6)
    )
    yield Seed("text", ".csv", "boxes", boxes.encode())
    # Lines with the name of the line before, and forms that take a slower way: quotes, exponents, blanks, no boxes.
    name, end = rng.choice(["film", '"a, b"', "\u6620"]), rng.choice(["\n", "\r\n"])
    forms = ("902,.1,.2,.3,.4,12,0.123456789", "903,1e-1,+.2,-0,1.,80.0", "0904", " 905 ,0,0,1,1,1e1,1E-3")
    rows = [f"{name},{rng.choice(forms)}" for _ in range(rng.randint(1, 9))] + [""]
    yield Seed("text", ".csv", "boxes", end.join(rows).encode(rng.choice(["utf-8", "utf-8-sig"])))
    yield Seed("text", ".csv", "images", "".join(f"vid{k},{900 + k:04d}\n" for k in range(4)).encode())
    items = "".join(f'item {{\n  name: "{name}"\n  id: {k + 1}\n}}\n' for k, name in enumerate(_names(4)))
    yield Seed("text", ".pbtxt", "labelmap", items.encode())


def _results(rng: Random) -> Iterator[Seed]:
    scores = np.round(_scores(rng), 1)
    labels = (np.random.default_rng(rng.getrandbits(32)).random(scores.shape) < 0.4).astype(np.uint8)
    labels[0] = 1  # a prior needs a class with positives
    table = vltr_eval.rank_table(scores, labels)
    yield Seed("zip", ".npz", "rank_table", _saved(table.save, "table.npz"))
    counts = np.arange(scores.shape[1]) + 1
    options = rng.choice([{}, {"train_counts": counts}, {"train_counts": counts, "prior": np.ones(len(counts))}])
    report = vltr_eval.evaluate(scores, labels, sap=rng.choice([2, "exact", None]), topk=(1,), **options)
    yield Seed("json", ".json", "report", report.to_json().encode())


def _training(rng: Random) -> Iterator[Seed]:
    frames = _scores(rng, rng.choice(["<f2", "<f4", "<f8", ">f4"]))
    yield Seed("npy", ".npy", "video", _buffered(lambda stream: np.save(stream, frames)), frames.astype(np.float64))
    lst = "".join(f"v{row} {row % 4},{row % 4 + 1}\n" for row in range(5))
    yield Seed("text", ".lst", "videolt_list", lst.encode())
    yield Seed("text", ".txt", "videofolder", "".join(f"multiple/v{r} 12 {r},{r + 1},\n" for r in range(4)).encode())
    own = "id,labels,split\n" + "".join(
        f"v{row},{row % 3};{row % 3 + 1},{'train' if row % 3 else 'test'}\n" for row in range(8)
    )
    yield Seed("text", ".csv", "own_labels", own.encode())


WRITERS = (
    *(_npy, _npz, _safetensors, _pt, _parquet, _arrow, _pickle, _tfrecord),
    *(_csv, _lists_as_text, _json, _ava, _results, _training),
)
