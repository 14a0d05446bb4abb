"""Containers of records for `bench_containers.py`: Arrow files, folders of save_to_disk and pickles.

Each case is (name, suffix, a function that writes it from scores.npy, the package that reads it). The mmengine case
clones each row, since a pickle of the rows of one tensor holds the tensor once for each row.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RecordCase = tuple[str, str, Callable[[Path, Path], Any], str]

_ROWS = 1000  # of a batch, as datasets writes them


def _table(source: Path, wide: bool) -> Any:
    import pyarrow as pa

    scores = np.load(source)
    if wide:
        return pa.table({f"c{k}": np.ascontiguousarray(column) for k, column in enumerate(scores.T)})
    return pa.table({"scores": pa.FixedSizeListArray.from_arrays(pa.array(scores.reshape(-1)), scores.shape[1])})


def _arrow(wide: bool, compression: str | None = None, rows: int | None = None, stream: bool = False) -> Any:
    def write(source: Path, target: Path) -> None:
        import pyarrow as pa

        table = _table(source, wide)
        options = pa.ipc.IpcWriteOptions(compression=compression)
        make = pa.ipc.new_stream if stream else pa.ipc.new_file
        with pa.OSFile(str(target), "wb") as sink, make(sink, table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=rows)

    return write


def _saved(source: Path, target: Path) -> None:
    """A folder as `Dataset.save_to_disk` writes it, in one file of batches of 1,000 rows."""
    target.mkdir()
    _arrow(wide=False, rows=_ROWS, stream=True)(source, target / "data-00000-of-00001.arrow")
    (target / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))


def _slowfast(source: Path, target: Path) -> None:
    import torch

    scores = torch.from_numpy(np.load(source))
    with open(target, "wb") as stream:
        pickle.dump([scores, torch.zeros(len(scores), dtype=torch.int64)], stream, 4)


def _mmengine(source: Path, target: Path) -> None:
    import torch

    rows = [{"pred_score": torch.from_numpy(row.copy()), "num_classes": len(row)} for row in np.load(source)]
    with open(target, "wb") as stream:
        pickle.dump(rows, stream, 4)


RECORD_CASES: tuple[RecordCase, ...] = (
    (".arrow, one batch, fixed-size lists", ".arrow", _arrow(wide=False), "pyarrow"),
    (".arrow, one batch, a column a class", ".arrow", _arrow(wide=True), "pyarrow"),
    (".arrow, batches of 1,000 rows", ".arrow", _arrow(wide=False, rows=_ROWS), "pyarrow"),
    (".feather, lz4, fixed-size lists", ".feather", _arrow(wide=False, compression="lz4", rows=_ROWS), "pyarrow"),
    (".feather, zstd, a column a class", ".feather", _arrow(wide=True, compression="zstd"), "pyarrow"),
    ("folder of save_to_disk", ".saved", _saved, "pyarrow"),
    (".pkl of PySlowFast", ".pkl", _slowfast, "numpy"),
    (".pkl of mmengine", ".pkl", _mmengine, "numpy"),
)
