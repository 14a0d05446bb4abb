"""Where the frames of videos lie: one packed array of all of them, or a .npy file a video. Both are read alike.

Legend: V videos, F frames of all of them, B picked videos, K picked frames of each, D features.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import mmap
import os
import threading
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vltr_eval._base.arrays import num_threads
from vltr_eval._base.files import OutputError, PendingFile
from vltr_eval.formats import InputError
from vltr_train.ops.frames import gather_frames

__all__ = ["FrameStore", "StoreWriter", "VideoFolder", "open_video", "read_headers", "video_file"]

_FORMAT = 1
_DTYPES = ("float16", "float32")
_UNFINISHED = "frames.npy.unfinished"
_INDEX_CHECKSUM = "index_crc32"  # its key in store.json
_HEADER_START = 10  # bytes of a .npy up to and with the length of its header
_HEADER_BYTES = 128  # of a .npy of two dimensions: numpy pads to multiples of 64, and leaves room for growth
_SYNC_BYTES = 256 << 20
_CHUNK = 256  # videos that a task of a thread looks at: a task a video would cost more than a short video

Progress = Callable[[float], object]


class FrameStore:
    """The packed frames of V videos, memory-mapped: only what is gathered is read. Open one with `FrameStore.open`.

    ids: V names; lengths: (V,) int64; dim: D; dtype: "float16" or "float32"; frames: (F, D); offsets: (V + 1,) int64,
    the frames of video v are frames[offsets[v]:offsets[v + 1]]; checksums: (V,) uint32, crc32 of each video's bytes.
    """

    def __init__(
        self, folder: Path, ids: tuple[str, ...], frames: np.ndarray, offsets: np.ndarray, checksums: np.ndarray
    ) -> None:
        self.folder, self.ids, self.frames, self.offsets, self.checksums = folder, ids, frames, offsets, checksums
        self.lengths = np.diff(offsets)
        self.dim = frames.shape[1]
        self.dtype = frames.dtype.name

    @staticmethod
    def is_at(folder: str | os.PathLike[str]) -> bool:
        """Whether the folder holds a whole store."""
        return (Path(folder) / "frames.npy").exists()

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> FrameStore:
        """Open the store of a folder that `StoreWriter` made. Raises InputError where it is not whole."""
        root = Path(folder)
        try:
            described = json.loads((root / "store.json").read_text())
            if described["format"] != _FORMAT:
                raise InputError(f"{root}/store.json: expected format {_FORMAT}, got {described['format']!r}")
            ids = tuple((root / "ids.txt").read_text(encoding="utf-8").splitlines())
            frames = _map_array(root / "frames.npy", 2, *_DTYPES)
            # Copies, because the files are small and read at every gather.
            offsets = _map_array(root / "offsets.npy", 1, "int64").copy()
            checksums = _map_array(root / "checksums.npy", 1, "uint32").copy()
            found = {
                "dtype": frames.dtype.name,
                "dim": frames.shape[1],
                "videos": len(ids),
                "frames": len(frames),
            }
            expected = {name: described[name] for name in found}
        except InputError:
            raise
        except FileNotFoundError as error:
            raise InputError(f"{root}: not a whole frame store (no {Path(error.filename).name})") from None
        except Exception as error:  # damaged JSON raises more than ValueError: RecursionError, TypeError, LookupError
            raise InputError(f"{root}: a damaged frame store ({_first_line(error)})") from None
        if found != expected or offsets.shape != (len(ids) + 1,) or checksums.shape != (len(ids),):
            raise InputError(f"{root}: a frame store of files that do not belong together")
        if offsets[0] != 0 or offsets[-1] != len(frames) or (np.diff(offsets) < 1).any():
            raise InputError(f"{root}: a damaged frame store (offsets.npy does not rise from 0 to {len(frames)})")
        is_checked = _INDEX_CHECKSUM in described  # stores of version 0.1 are not
        if is_checked and described[_INDEX_CHECKSUM] != _index_checksum(ids, offsets, checksums):
            raise InputError(f"{root}: a damaged frame store (ids.txt, offsets.npy or checksums.npy has changed)")
        return cls(root, ids, frames, offsets, checksums)

    def __repr__(self) -> str:
        return f"FrameStore({str(self.folder)!r}, {_summary(self)})"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the checksums of all videos, in hexadecimal: the same for the same frames."""
        return hashlib.sha256(self.checksums.tobytes()).hexdigest()

    def gather(
        self,
        videos: np.ndarray,
        frame_indices: np.ndarray,
        *,
        dtype: str = "float32",
        out: Any = None,
        threads: int | None = None,
    ) -> Any:
        """Picked frames (B, K, D) of the videos (B,) int64 by their indices (B, K) int64 within the video.

        dtype: of the result, rounded once to nearest. out: an array to fill in its place, numpy or torch in CPU memory.
        Raises ValueError that names the place of a video or frame that is not there.
        """
        target = {"dtype": dtype} if out is None else {"out": out}
        return gather_frames(self.frames, self.offsets, videos, frame_indices, threads=threads, **target)

    def verify(self, progress: Progress | None = None, threads: int | None = None) -> None:
        """Read every frame; raises InputError that names the first damaged video."""
        _verify(self.folder / "frames.npy", self.ids, self.frames, self.offsets, self.checksums, progress, threads)


class VideoFolder:
    """Frames that lie as one ``<id>.npy`` a video, (n, D) of float16, float32 or float64; n may differ.

    ids: the videos to open; default all of the folder, by name. An id may name a subfolder: "a/b" is the file a/b.npy.
    Headers are read here, frames when they are gathered.
    Raises InputError that names the first video that cannot be used, and how many there are.
    """

    fingerprint = None  # it would take reading them all

    def __init__(
        self, folder: str | os.PathLike[str], ids: Iterable[str] | None = None, threads: int | None = None
    ) -> None:
        self.folder = Path(folder)
        self.ids = self.ids_in(folder) if ids is None else tuple(ids)
        headers = read_headers(self.folder, self.ids, threads)
        bad = [f"{name}: {header}" for name, header in zip(self.ids, headers, strict=True) if isinstance(header, str)]
        known = [header for header in headers if not isinstance(header, str)]
        if bad or not headers:
            more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
            raise InputError(
                f"{self.folder}: {bad[0]}{more}" if bad else f"{self.folder}: expected .npy files, got none"
            )
        self.lengths = np.array([length for length, _, _ in known], np.int64)
        self.dim = known[0][1]
        self.dtype = np.result_type(*{dtype for _, _, dtype in known}).name

    def __repr__(self) -> str:
        return f"VideoFolder({str(self.folder)!r}, {_summary(self)})"

    @classmethod
    def present(cls, folder: str | os.PathLike[str], ids: Iterable[str]) -> tuple[str, ...]:
        """The ids that have a .npy in the folder. Raises InputError for an id that leads out of it."""
        flat = set(cls.ids_in(folder))  # one look at the folder: a look at each file takes long on a network disk
        return tuple(name for name in ids if name in flat or (os.sep in name and video_file(folder, name).is_file()))

    @staticmethod
    def ids_in(folder: str | os.PathLike[str]) -> tuple[str, ...]:
        """The ids of the .npy files of a folder, by name; subfolders are not searched. Raises InputError."""
        try:
            with os.scandir(folder) as entries:
                return tuple(sorted(entry.name[:-4] for entry in entries if entry.name.endswith(".npy")))
        except OSError as error:
            raise InputError(f"{folder}: cannot be read ({error.strerror})") from None

    def gather(
        self,
        videos: np.ndarray,
        frame_indices: np.ndarray,
        *,
        dtype: str = "float32",
        out: Any = None,
        threads: int | None = None,
    ) -> Any:
        """As `FrameStore.gather`, but each video is a file to be opened.

        Raises InputError for a frame with NaN or infinity, which packing would have refused, and names it.
        """
        rows, picks = np.asarray(videos), np.asarray(frame_indices)
        _check_picks(rows, picks, self.lengths)
        if out is None:
            out = np.empty((*picks.shape, self.dim), dtype)
        filled = np.asarray(out)

        def read(row: int) -> None:
            path = video_file(self.folder, self.ids[rows[row]])
            picked = open_video(path)[picks[row]]
            with np.errstate(over="ignore"):
                filled[row] = picked
            if not _all_finite(filled[row]):
                frame, message = _not_finite(picked, filled[row])
                raise InputError(f"{path}: {message.format(frame=picks[row][frame])}")

        with ThreadPoolExecutor(num_threads(threads)) as pool:
            for _ in pool.map(read, range(len(rows))):
                pass
        return out


def video_file(folder: str | os.PathLike[str], name: str) -> Path:
    """The .npy of a video by its id, which may name a subfolder.

    Raises InputError for an id that is absolute or goes up, because its file would lie outside the folder.
    """
    parts = name.split("/")
    if os.path.isabs(name) or ".." in parts or "\0" in name:
        raise InputError(f"{folder}: expected ids of videos inside this folder, got {name!r}; rename that video")
    return Path(folder) / f"{name}.npy"


def _check_picks(videos: np.ndarray, picks: np.ndarray, lengths: np.ndarray) -> None:
    if picks.ndim != 2 or videos.shape != picks.shape[:1]:
        raise ValueError(f"videos: expected shape {picks.shape[:1]} as frame_indices has rows, got {videos.shape}")
    outside = (videos < 0) | (videos >= len(lengths))
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(f"videos: expected from 0 to {len(lengths) - 1}, got {videos[row]} at row {row}")
    beyond = (picks < 0) | (picks >= lengths[videos][:, None])
    if beyond.any():
        row, col = divmod(int(np.argmax(beyond)), beyond.shape[1])
        raise ValueError(
            f"frame_indices: expected from 0 to {lengths[videos[row]] - 1} for video {videos[row]}, "
            f"got {picks[row, col]} at row {row}, column {col}"
        )


def open_video(path: str | os.PathLike[str]) -> np.ndarray:
    """The frames (n, D) of a .npy, memory-mapped. Raises InputError that says why they cannot be used.

    n and D are at least 1, the dtype is float16, float32 or float64 of any byte order.
    """
    try:
        with open(path, "rb") as stream:
            start = stream.read(_HEADER_START)
            header = start + stream.read(int.from_bytes(start[-2:], "little"))
            shape, is_fortran, dtype = _parse_header(header)
            if len(shape) != 2:
                raise InputError(f"{path}: expected frames of shape (n, D), got shape {shape}")
            if dtype.kind != "f" or dtype.itemsize > 8:
                raise InputError(f"{path}: expected frames of float16, float32 or float64, got {dtype}")
            if min(shape) < 1:
                raise InputError(f"{path}: expected at least one frame, got shape {shape}")
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            promised = len(header) + math.prod(shape) * dtype.itemsize
            if len(content) > promised:
                raise InputError(
                    f"{path}: expected {promised} bytes, as its header says, got {len(content)}; save it again"
                )
            return np.ndarray(shape, dtype, content, len(header), order="F" if is_fortran else "C")
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception:  # whatever the parser trips over, or too few bytes for the shape
        raise InputError(f"{path}: not a whole .npy file") from None


@lru_cache(maxsize=4096)  # a folder has few different headers, and parsing one takes longer than opening its file
def _parse_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype of the header of a .npy of version 1.0, which all arrays of numbers have."""
    stream = io.BytesIO(header)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("another version")
    return np.lib.format.read_array_header_1_0(stream)


def read_headers(folder: Path, ids: Sequence[str], threads: int | None = None) -> list[tuple[int, int, str] | str]:
    """(n, D, dtype) of each video's .npy, or the reason why it cannot be used. D is what most of them have.

    Raises InputError for an id that leads out of the folder.
    """
    paths = [video_file(folder, name) for name in ids]

    def read(chunk: range) -> list[tuple[int, int, str] | str]:
        return [_header(path) for path in paths[chunk.start : chunk.stop]]

    with ThreadPoolExecutor(num_threads(threads)) as pool:
        headers = [header for part in pool.map(read, _chunks(len(ids))) for header in part]
    dims = Counter(header[1] for header in headers if not isinstance(header, str))
    if len(dims) < 2:
        return headers
    usual = dims.most_common(1)[0][0]
    return [
        header
        if isinstance(header, str) or header[1] == usual
        else f"expected {usual} features a frame as most videos have, got {header[1]}"
        for header in headers
    ]


def _header(path: Path) -> tuple[int, int, str] | str:
    try:
        frames = open_video(path)
    except InputError as error:
        return str(error).removeprefix(f"{path}: ")
    return len(frames), frames.shape[1], frames.dtype.name


class StoreWriter:
    """Writes a frame store of V videos whose lengths are known, video by video, from any threads in any order.

    folder: made where it is not there. ids: V names; lengths: (V,) frames of each; dim: D; dtype: "float16" or
    "float32".

    Unfinished work lies beside as frames.npy.unfinished and a journal; a writer of the same arguments goes on from
    there. Used as a context manager, which leaves the unfinished files in place where `finish` was not reached.
    Raises OutputError where a store is there already, or an unfinished one of other videos.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        ids: Iterable[str],
        lengths: Sequence[int] | np.ndarray,
        dim: int,
        dtype: str = "float16",
    ) -> None:
        self.folder, self.ids = Path(folder), tuple(ids)
        self.dim, self.dtype = dim, dtype
        self._lengths = np.array(lengths, np.int64)
        self._check()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be made ({error.strerror})") from None
        self._frames_path = self.folder / _UNFINISHED
        self._journal_path = self.folder / "journal.unfinished"
        if FrameStore.is_at(self.folder):
            raise OutputError(f"{self.folder}: holds a frame store already; remove it or choose another folder")
        self._left_out: dict[int, str] = {}
        self._checksums = np.zeros(len(self.ids), np.uint32)
        self._settled = np.zeros(len(self.ids), bool)
        self._durable = self._unsynced = 0
        self._lock, self._syncing = threading.Lock(), threading.Lock()
        if self.is_begun_at(self.folder):
            self._resume()
        else:
            self._write_journal()
        self._offsets = self._bounds()
        try:
            self._file: int | None = os.open(self._frames_path, os.O_RDWR | os.O_CREAT, 0o666)
            os.truncate(self._file, self._file_offset(self._offsets[-1]))
        except OSError as error:
            raise OutputError(f"{self._frames_path}: cannot be written ({error.strerror})") from None

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"StoreWriter({str(self.folder)!r}, {self.finished:,} of {len(self.ids):,} videos finished)"

    @staticmethod
    def is_begun_at(folder: str | os.PathLike[str]) -> bool:
        """Whether the folder holds an unfinished store, from which a writer goes on."""
        return (Path(folder) / _UNFINISHED).exists()

    @property
    def finished(self) -> int:
        """How many leading videos are settled and durable: a writer that goes on from here starts at this one."""
        return self._durable

    @property
    def left_out(self) -> dict[int, str]:
        """The number of each video that was left out, with the reason."""
        return dict(self._left_out)

    def write(self, video: int, frames: Any) -> None:
        """Write the frames (n, D) of a video, of any float dtype, rounded to nearest.

        Raises ValueError that names the video for another shape, NaN, inf, and what overflows the dtype.
        """
        if video in self._left_out:
            raise ValueError(f"{self.ids[video]}: expected a video that is not left out")
        self._put(video, self._prepare(video, frames))

    def leave_out(self, video: int, reason: str) -> None:
        """Leave a video out of the store. Raises ValueError when a later one is written already: those move up."""
        with self._lock:
            if self._settled[video:].any():
                raise ValueError(f"{self.ids[video]}: expected to be left out before it or a later video is written")
            self._left_out[video] = reason
            self._offsets = self._bounds()
        self._settle(video, 0)

    def fill(
        self,
        read: Callable[[int], Any],
        *,
        skip_bad: bool = False,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write what is not finished yet, in order; threads get the frames by ``read(video)``, a few videos ahead.

        skip_bad: where a video is refused, by `read` or here, with a ValueError, leave it out with that reason.
        progress: called with the fraction done. Raises OutputError where the last finished video reads otherwise now:
        features of another network have the same ids and shapes, and must not go on from these.
        """
        count = num_threads(threads)
        self._check_source(read)
        remaining = range(self.finished, len(self.ids))
        with ThreadPoolExecutor(count) as pool:
            prepared = _ahead(pool, lambda video: self._prepare(video, read(video)), remaining, 2 * count)
            for video, preparing in zip(remaining, prepared, strict=True):
                try:
                    stored = preparing.result()
                except ValueError as error:
                    if not skip_bad:
                        raise
                    self.leave_out(video, str(error))
                else:
                    self._put(video, stored)
                if progress is not None:
                    progress((video + 1) / len(self.ids))

    def verify(self, progress: Progress | None = None, threads: int | None = None) -> None:
        """Read what was written; raises InputError that names the first damaged video."""
        shape = (int(self._offsets[-1]), self.dim)
        frames = np.memmap(self._frames_path, self.dtype, "r", _HEADER_BYTES, shape)
        _verify(self._frames_path, self.ids, frames, self._offsets, self._checksums, progress, threads)

    def finish(self) -> FrameStore:
        """Put the store in place, whole, and open it. Raises ValueError that names a video that was not written."""
        if not self._settled.all():
            raise ValueError(f"{self.ids[int(np.argmin(self._settled))]}: expected to be written before the end")
        kept = np.array([row for row in range(len(self.ids)) if row not in self._left_out], np.int64)
        if not kept.size:
            raise ValueError(f"{self.folder}: expected at least one video, but all were left out")
        shape = (int(self._offsets[-1]), self.dim)
        os.pwrite(self._open_file, _npy_header(shape, self.dtype), 0)
        os.truncate(self._open_file, self._file_offset(shape[0]))
        self._sync()
        described = {
            "format": _FORMAT,
            "dtype": self.dtype,
            "dim": self.dim,
            "videos": len(kept),
            "frames": shape[0],
        }
        ids = tuple(self.ids[row] for row in kept.tolist())
        offsets, checksums = self._offsets[np.append(kept, len(self.ids))], self._checksums[kept]
        described[_INDEX_CHECKSUM] = _index_checksum(ids, offsets, checksums)
        _write_array(self.folder / "offsets.npy", offsets)
        _write_array(self.folder / "checksums.npy", checksums)
        _write_durably(self.folder / "ids.txt", "".join(f"{name}\n" for name in ids).encode())
        _write_durably(self.folder / "store.json", json.dumps(described, indent=1).encode())
        os.replace(self._frames_path, self.folder / "frames.npy")
        self._journal_path.unlink()
        os.close(self._open_file)
        self._file = None
        return FrameStore.open(self.folder)

    def close(self) -> None:
        """Make what is written durable and let go of the files."""
        if self._file is not None:
            self._sync()
            os.close(self._file)
            self._file = None

    @property
    def _open_file(self) -> int:
        if self._file is None:
            raise ValueError(f"{self.folder}: expected an open writer, got one that is closed")
        return self._file

    def _prepare(self, video: int, frames: Any) -> np.ndarray:
        """The frames of a video as they are stored: checked, and rounded to nearest."""
        given = np.asarray(frames)
        expected = (int(self._lengths[video]), self.dim)
        if given.shape != expected:
            raise ValueError(f"{self.ids[video]}: expected frames of shape {expected}, got {given.shape}")
        native = np.ascontiguousarray(given, given.dtype.newbyteorder("="))
        everything = np.arange(len(native))[None]
        # Not astype: the core rounds to the same bits several times faster.
        stored = gather_frames(native, np.array([0, len(native)]), [0], everything, dtype=self.dtype, threads=1)[0]
        if not _all_finite(stored):
            frame, message = _not_finite(given, stored)
            raise ValueError(f"{self.ids[video]}: {message.format(frame=frame)}")
        return stored

    def _check_source(self, read: Callable[[int], Any]) -> None:
        """Compare the last finished video with what is read of it now."""
        stored = (video for video in reversed(range(self.finished)) if video not in self._left_out)
        last = next(stored, None)
        if last is not None and zlib.crc32(self._prepare(last, read(last)).data) != self._checksums[last]:
            raise OutputError(
                f"{self._frames_path}: was begun with other frames of {self.ids[last]}; remove it to start anew"
            )

    def _put(self, video: int, stored: np.ndarray) -> None:
        content = stored.data.cast("B")
        try:
            done = 0
            while done < len(content):
                done += os.pwrite(self._open_file, content[done:], self._file_offset(self._offsets[video]) + done)
        except OSError as error:
            raise OutputError(f"{self._frames_path}: cannot be written ({error.strerror})") from None
        self._checksums[video] = zlib.crc32(content)
        self._settle(video, len(content))

    def _settle(self, video: int, num_bytes: int) -> None:
        """Note that a video is written or left out; now and then, make that durable."""
        with self._lock:
            self._settled[video] = True
            self._unsynced += num_bytes
            due = self._unsynced >= _SYNC_BYTES
            if due:
                self._unsynced = 0
        if due:
            self._sync()

    def _sync(self) -> None:
        """Bring the leading settled videos to the disk, and then say so in the journal."""
        with self._syncing:
            with self._lock:
                waiting = np.flatnonzero(~self._settled[self._durable :])
                leading = self._durable + int(waiting[0]) if waiting.size else len(self.ids)
            os.fsync(self._open_file)
            self._durable = leading
            self._write_journal()

    def _check(self) -> None:
        if self.dtype not in _DTYPES:
            raise ValueError(f"dtype: expected {' or '.join(_DTYPES)}, got {self.dtype!r}")
        if self.dim < 1:
            raise ValueError(f"dim: expected at least 1, got {self.dim}")
        if not self.ids or self._lengths.shape != (len(self.ids),):
            raise ValueError(
                f"lengths: expected one for each of at least one id, got {self._lengths.shape} for {len(self.ids)}"
            )
        if self._lengths.min() < 1:
            raise ValueError(f"lengths: expected at least 1, got {self._lengths.min()}")
        if len(set(self.ids)) < len(self.ids):
            twice = Counter(self.ids).most_common(1)[0][0]
            raise ValueError(f"ids: expected each video once, got {twice} twice")
        for name in self.ids:
            if name.split() != [name]:
                raise ValueError(f"ids: expected names without white space, got {name!r}")

    def _resume(self) -> None:
        """Take over what the journal says was finished."""
        try:
            journal = json.loads(self._journal_path.read_text())
            checksums, left_out = journal["checksums"], journal["left_out"]
            same = journal["plan"] == self._plan()
            self._left_out = {int(row): str(reason) for row, reason in left_out.items()}
            self._durable = len(checksums)
            self._checksums[: self._durable] = checksums
        except Exception:  # a damaged journal raises what its JSON leads to
            same = False
        if not same or not all(0 <= row < self._durable for row in self._left_out):
            raise OutputError(
                f"{self._frames_path}: is of other videos, lengths, dim or dtype; remove it to start anew"
            )
        self._settled[: self._durable] = True

    def _write_journal(self) -> None:
        left_out = {row: reason for row, reason in self._left_out.items() if row < self._durable}
        checksums = self._checksums[: self._durable].tolist()
        journal = {"plan": self._plan(), "left_out": left_out, "checksums": checksums}
        _write_durably(self._journal_path, json.dumps(journal).encode())

    def _plan(self) -> str:
        """A digest of what the store will hold."""
        digest = hashlib.sha256(json.dumps([_FORMAT, self.dtype, self.dim, *self.ids]).encode())
        digest.update(self._lengths.tobytes())
        return digest.hexdigest()

    def _bounds(self) -> np.ndarray:
        """(V + 1,) int64: where the frames of each video start; one that is left out has none."""
        lengths = self._lengths.copy()
        lengths[list(self._left_out)] = 0
        return np.concatenate([[0], np.cumsum(lengths)])

    def _file_offset(self, frame: int) -> int:
        """Where a frame starts in the file."""
        return _HEADER_BYTES + int(frame) * self.dim * np.dtype(self.dtype).itemsize


def _all_finite(stored: np.ndarray) -> bool:
    """np.isfinite(stored).all(), for which numpy takes many times longer where it is float16."""
    bits = stored.view(f"u{stored.itemsize}")
    exponent = np.array(np.inf, stored.dtype).view(bits.dtype)
    return bool((bits & exponent).max(initial=0) < exponent)


def _not_finite(given: np.ndarray, stored: np.ndarray) -> tuple[int, str]:
    """The row of the first frame that is not finite once stored, and a sentence with a place for the frame's number."""
    finite = np.isfinite(stored)
    row, col = np.unravel_index(int(np.argmin(finite)), finite.shape)
    value = given[row, col]
    expected = f"features within {stored.dtype}" if np.isfinite(value) else "finite features"
    return int(row), f"expected {expected}, got {value} in frame {{frame}}, feature {col}"


def _map_array(path: Path, ndim: int, *dtypes: str) -> np.ndarray:
    """A C-ordered .npy array, memory-mapped. Raises InputError for another shape or dtype, and for a damaged file."""
    with open(path, "rb") as stream:
        start = stream.read(_HEADER_START)
        header = start + stream.read(int.from_bytes(start[-2:], "little"))
        try:
            shape, is_fortran, dtype = _parse_header(header)
            promised = len(header) + math.prod(shape) * dtype.itemsize
        except Exception:  # the parser of a damaged header raises many types: TokenError, SyntaxError, OverflowError
            raise InputError(f"{path.parent}: a damaged frame store ({path.name} is not a whole .npy file)") from None
    if len(shape) != ndim or is_fortran or dtype.name not in dtypes or not dtype.isnative:
        raise InputError(f"{path}: expected {ndim} dimensions of {' or '.join(dtypes)}, got {dtype} of shape {shape}")
    if path.stat().st_size != promised:
        raise InputError(f"{path}: expected {promised} bytes, as its header says, got {path.stat().st_size}")
    if not math.prod(shape):  # an empty region cannot be mapped
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", len(header), shape)


def _index_checksum(ids: tuple[str, ...], offsets: np.ndarray, checksums: np.ndarray) -> int:
    """crc32 of the names, places and checksums of all videos: a damaged index would give the frames of another."""
    return zlib.crc32(checksums.data, zlib.crc32(offsets.data, zlib.crc32("\n".join(ids).encode())))


def _summary(frames: FrameStore | VideoFolder) -> str:
    """The size of a store in some words, for its repr."""
    total = int(frames.lengths.sum())
    return f"{len(frames.ids):,} videos, {total:,} frames of {frames.dim:,} features, {frames.dtype}"


def _npy_header(shape: tuple[int, int], dtype: str) -> bytes:
    stream = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


def _write_array(path: Path, array: np.ndarray) -> None:
    stream = io.BytesIO()
    np.save(stream, array)
    _write_durably(path, stream.getvalue())


def _write_durably(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and to the disk: what is renamed later relies on it."""

    def write(unfinished: Path) -> None:
        with open(unfinished, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())

    with PendingFile(path) as file:
        file.write(write)


def _verify(
    path: Path,
    ids: tuple[str, ...],
    frames: np.ndarray,
    offsets: np.ndarray,
    checksums: np.ndarray,
    progress: Progress | None,
    threads: int | None,
) -> None:
    """Compare the crc32 of each video's bytes with its checksum."""

    def damaged(chunk: range) -> list[int]:
        return [v for v in chunk if zlib.crc32(frames[offsets[v] : offsets[v + 1]].data) != checksums[v]]

    with ThreadPoolExecutor(num_threads(threads)) as pool:
        for chunk, found in zip(_chunks(len(ids)), pool.map(damaged, _chunks(len(ids))), strict=True):
            if found:
                raise InputError(f"{path}: video {ids[found[0]]} is damaged: its checksum is another")
            if progress is not None:
                progress(offsets[chunk.stop] / offsets[-1])


def _ahead(
    pool: ThreadPoolExecutor, task: Callable[[int], np.ndarray], items: Iterable[int], most: int
) -> Iterator[Future[np.ndarray]]:
    """The tasks of the items in order, of which at most so many are under way or wait to be taken."""
    waiting: deque[Future[np.ndarray]] = deque()
    for item in items:
        if len(waiting) == most:
            yield waiting.popleft()
        waiting.append(pool.submit(task, item))
    yield from waiting


def _chunks(num_videos: int) -> Iterator[range]:
    return (range(start, min(start + _CHUNK, num_videos)) for start in range(0, num_videos, _CHUNK))


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
