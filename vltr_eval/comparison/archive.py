"""The file of an evaluation: one .npz, written whole or not at all, and read without pickles.

Integers are stored as byte planes: the lowest bytes of all numbers, then the next ones. The high planes are zero almost
everywhere, so deflate packs them to nothing. The sign is moved to the lowest bit (zigzag), and numbers that rise are
stored as differences.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from vltr_eval._base.files import PendingFile
from vltr_eval._base.progress import Progress
from vltr_eval._engine.npz import write_npz
from vltr_eval._engine.rank_table import RankTable, read_member

FORMAT = "vltr-eval/evaluation/1"
FORMAT_WITH_UNKNOWN = "vltr-eval/evaluation/2"
"""The format of archives with unknown cells, which programs that do not know of them refuse."""

_TEXTS = ("report", "facts")
_TABLE = ("indptr", "tp", "fp", "tied")
_UNKNOWN = "unknown"  # of each class; absent if all cells are known
_START = b"PK"  # of every zip file


def to_planes(values: np.ndarray) -> np.ndarray:
    """Return the byte planes of (n,) int64 numbers: (8, n) uint8."""
    zigzag = (values << 1) ^ (values >> 63)
    return np.ascontiguousarray(zigzag.astype("<i8").view(np.uint8).reshape(-1, 8).T)


def from_planes(planes: np.ndarray) -> np.ndarray:
    """Return the numbers of `to_planes`: (n,) int64."""
    zigzag = np.ascontiguousarray(planes.T).view("<u8").reshape(-1).astype(np.uint64)
    values: np.ndarray = (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64)
    return values


def write_archive(
    path: str | os.PathLike[str],
    texts: Mapping[str, str],
    table: RankTable,
    numbers: Mapping[str, np.ndarray],
    progress: Progress | None = None,
) -> None:
    """Write an archive.

    Args:
        path: The file.
        texts: The report and the facts about the input, as JSON.
        table: The rank table.
        numbers: Other arrays of int64, by name.
        progress: Called with the fraction done.

    Raises:
        OutputError: The file cannot be written.
    """
    with PendingFile(path) as pending:
        pending.write(lambda unfinished: fill_archive(unfinished, texts, table, numbers, progress))


def fill_archive(
    path: str | os.PathLike[str],
    texts: Mapping[str, str],
    table: RankTable,
    numbers: Mapping[str, np.ndarray],
    progress: Progress | None = None,
) -> None:
    """Write an archive to a file that the caller puts in place."""
    form = FORMAT if table.unknown is None else FORMAT_WITH_UNKNOWN
    arrays: dict[str, np.ndarray] = {"format": np.array(form), "num_rows": np.array(table.num_rows, np.int64)}
    if table.unknown is not None:
        arrays[_UNKNOWN] = to_planes(table.unknown)
    arrays |= {name: np.frombuffer(texts[name].encode(), np.uint8) for name in _TEXTS}
    arrays |= {name: to_planes(np.diff(getattr(table, name), prepend=0)) for name in _TABLE}
    thresholds = table.thresholds
    bits = thresholds.view(np.uint8).reshape(len(thresholds), thresholds.dtype.itemsize)
    arrays |= {"dtype": np.array(thresholds.dtype.str), "thresholds": np.ascontiguousarray(bits.T)}
    arrays |= {name: np.stack([to_planes(row) for row in np.atleast_2d(values)]) for name, values in numbers.items()}
    write_npz(path, arrays, progress)


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an archive of an evaluation, or says that it is one."""
    import zipfile  # not above: few programs read an archive, and it loads threading

    try:
        with open(path, "rb") as file:
            if file.read(len(_START)) != _START:
                return False
            with zipfile.ZipFile(file) as archive:
                return str(read_member(archive, "format")).startswith(FORMAT.rpartition("/")[0] + "/")
    except Exception:  # a damaged zip fails in many ways; the reader of predictions then has the better message
        return False


def read_archive(
    path: str | os.PathLike[str], names: tuple[str, ...], progress: Progress | None = None
) -> tuple[dict[str, str], RankTable, dict[str, np.ndarray]]:
    """Read what `write_archive` wrote; the inverse of its arguments.

    Args:
        path: The file.
        names: The names of the arrays to read beside the table; an array that the file lacks is left out.
        progress: Called with the fraction done.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no archive, or it is damaged.
    """
    with open(path, "rb") as file:
        try:
            return _read(file, names, progress)
        except Exception as error:  # a damaged zip or array header fails in many ways; all of them mean this
            raise ValueError(
                f"{os.fspath(path)}: expected an evaluation (an .npz that Evaluation.save or --save-evaluation wrote), "
                "got another or a damaged file"
            ) from (None if isinstance(error, ValueError) else error)


def _read(
    file: BinaryIO, names: tuple[str, ...], progress: Progress | None
) -> tuple[dict[str, str], RankTable, dict[str, np.ndarray]]:
    import zipfile  # not above: few programs read an archive, and it loads threading

    with zipfile.ZipFile(file) as archive:
        form = str(read_member(archive, "format"))
        if form not in (FORMAT, FORMAT_WITH_UNKNOWN):
            raise ValueError(f"format {form}")
        unknown = None
        if form == FORMAT_WITH_UNKNOWN:
            unknown = _numbers(read_member(archive, _UNKNOWN, progress))
        texts = {name: _bytes(read_member(archive, name, progress), 1).tobytes().decode() for name in _TEXTS}
        columns = {name: np.cumsum(_numbers(read_member(archive, name, progress))) for name in _TABLE}
        dtype = np.dtype(str(read_member(archive, "dtype")))
        thresholds = np.ascontiguousarray(_bytes(read_member(archive, "thresholds", progress), 2).T)
        if dtype.kind not in "fiu" or thresholds.shape[1] != dtype.itemsize:
            raise ValueError(f"thresholds of {dtype}")
        table = RankTable(
            int(read_member(archive, "num_rows")),
            columns["indptr"],
            thresholds.view(dtype).reshape(-1),
            columns["tp"],
            columns["fp"],
            columns["tied"],
            unknown=unknown,
        )
        if not table.is_sound():
            raise ValueError("table")
        known = {name: f"{name}.npy" in archive.namelist() for name in names}
        numbers: dict[str, Any] = {
            name: _bytes(read_member(archive, name, progress), 3) for name in names if known[name]
        }
    return texts, table, {name: np.array([_numbers(row) for row in rows]) for name, rows in numbers.items()}


def _bytes(array: np.ndarray, dimensions: int) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim != dimensions:
        raise ValueError(f"{array.dtype} of shape {array.shape}")
    return array


def _numbers(planes: np.ndarray) -> np.ndarray:
    if _bytes(planes, 2).shape[0] != 8:
        raise ValueError(f"{planes.shape[0]} planes")
    return from_planes(planes)
