"""Packing: label lists of a published format and one .npy a video become one data set that is read by memory map.

Legend: V videos of all splits, D features.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, replace
from pathlib import Path

from vltr_eval.arrays import num_threads
from vltr_eval.groups import DEFAULT_BOUNDS
from vltr_eval.io import InputError
from vltr_eval.label_map import read_labelmap
from vltr_eval.outputs import OutputError
from vltr_train.dataset import DatasetLists
from vltr_train.frame_store import FrameStore, Progress, StoreWriter, open_video, read_headers
from vltr_train.label_lists import MINIKINETICS_CLASS_ORDER, read_ava, read_minikinetics

__all__ = [
    "CHARADES_BOUNDS",
    "MINIKINETICS_BOUNDS",
    "PackSource",
    "PackSummary",
    "ava",
    "charades",
    "minikinetics",
    "pack",
    "videolt",
]

CHARADES_BOUNDS = (100, 20)
"""Head and tail of CharadesLT and CharadesEgoLT (MEID)."""

MINIKINETICS_BOUNDS = (300, 40)
VIDEOLT_SIZE = (1_004, 179_334)  # classes, training videos
"""Head and tail of Imbalanced-MiniKinetics200 (MOVE's published code)."""

_COPY_SHARE = 0.8  # of the progress; the rest is the check

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class PackSource:
    """What is to be packed. features: the folder with <id>.npy of each video, (n, D) of any float dtype."""

    lists: DatasetLists
    features: Path


@dataclass(frozen=True)
class PackSummary:
    """videos and frames that were packed, bytes of these frames, and (id, reason) of each video that was left out."""

    videos: int
    frames: int
    bytes: int
    skipped: tuple[tuple[str, str], ...]


def videolt(labels: PathLike, features: PathLike) -> PackSource:
    """VideoLT, or any lists in its format: a folder that `DatasetLists.read` reads. Raises InputError.

    Lists of VideoLT's own size are called videolt, whatever their folder is called.
    """
    lists = DatasetLists.read(labels)
    is_videolt = (len(lists.class_names), len(lists.train)) == VIDEOLT_SIZE
    return PackSource(replace(lists, name="videolt") if is_videolt else lists, Path(features))


def charades(labels: PathLike, features: PathLike, name: str = "own-charadeslt") -> PackSource:
    """CharadesLT or CharadesEgoLT: lists of one's own in VideoLT's format, as none were published, hence the name.

    Raises InputError.
    """
    return PackSource(DatasetLists.read(labels, name=name, bounds=CHARADES_BOUNDS), Path(features))


def minikinetics(labels: PathLike, features: PathLike, imbalance: float = 0.01) -> PackSource:
    """Imbalanced-MiniKinetics200 out of the published train.lst and val.lst; the latter is the test split.

    Classes have their names where kinetics_val.csv lies beside, else the numbers of the published lists: kinetics007.
    Raises InputError.
    """
    place = Path(labels)
    train, test = read_minikinetics(place / "train.lst", place / "val.lst", imbalance)
    names = _kinetics_names(place / "kinetics_val.csv")
    ordered = tuple(names[original] for original in MINIKINETICS_CLASS_ORDER)
    lists = DatasetLists(f"minikinetics-{imbalance:g}", MINIKINETICS_BOUNDS, ordered, train, test=test)
    return PackSource(lists, Path(features))


def _kinetics_names(path: Path) -> list[str]:
    """Names of the 200 classes by their published numbers, which are alphabetical."""
    total = len(MINIKINETICS_CLASS_ORDER)
    if not path.exists():
        return [f"kinetics{number:03d}" for number in range(total)]
    with open(path, encoding="utf-8-sig", newline="") as stream:
        names = sorted({row.get("label") or "" for row in csv.DictReader(stream)})
    if len(names) != total or not all(names):
        raise InputError(f"{path}: expected a column 'label' with {total} names, got {len(names)}")
    return names


def ava(labels: PathLike, features: PathLike) -> PackSource:
    """AVA's person boxes: a folder with ava_train_v*.csv and ava_val_v*.csv, and for each box <id>.npy of its clip.

    The classes are those of *for_activitynet*.pbtxt or .pbtxt.txt (the 60 that are evaluated), or all 80 where there is
    none. Ids are those of `read_ava`. Raises InputError.
    """
    # DIFFERS: the paper (arXiv 1904.12993) names neither its 46 head and 14 tail classes nor bounds; VideoLT's here.
    place = Path(labels)
    # The list of v2.1 is published as .pbtxt.txt.
    action_lists = sorted(path for end in ("", ".txt") for path in place.glob(f"*for_activitynet*.pbtxt{end}"))
    classes = read_labelmap(action_lists[-1]) if action_lists else None
    train, test = (read_ava(_one_match(place, f"ava_{split}_v*.csv"), classes) for split in ("train", "val"))
    if classes is None:
        names = tuple(f"class{index:04d}" for index in range(train.num_classes))
    else:
        names = tuple(classes[action] for action in sorted(classes))
    return PackSource(DatasetLists("ava", DEFAULT_BOUNDS, names, train, test=test), Path(features))


def _one_match(folder: Path, pattern: str) -> Path:
    matches = sorted(folder.glob(pattern))
    if len(matches) != 1:
        raise InputError(f"{folder}: expected one file {pattern}, got {len(matches)}")
    return matches[0]


def pack(
    source: PackSource,
    folder: PathLike,
    *,
    dtype: str = "float16",
    skip_bad: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> PackSummary:
    """Pack a source into a folder for `vltr_train.dataset.open_dataset`; the same call goes on after an interruption.

    dtype: "float16" or "float32", rounded to nearest. skip_bad: leave out videos that are missing or corrupt (not a
    whole .npy, no float frames (n, D), another D than most, NaN, inf, or what overflows the dtype), and say which.
    progress: called with the fraction done. What is packed is read again and compared before it is put in place.
    Raises ValueError (InputError where its file cannot be read) that names the first video that is missing or corrupt,
    and OutputError where the folder holds a store or label lists already, or an unfinished store of other videos.
    """
    if DatasetLists.are_at(folder) and not (FrameStore.is_at(folder) or StoreWriter.is_begun_at(folder)):
        raise OutputError(f"{folder}: holds label lists, which packing would replace; choose another folder")
    count = num_threads(threads)
    ids = source.lists.ids
    headers = dict(zip(ids, read_headers(source.features, ids, count), strict=True))
    skipped = {name: header for name, header in headers.items() if isinstance(header, str)}
    if skipped and not skip_bad:
        name, reason = next(iter(skipped.items()))
        more = f", and {len(skipped) - 1} more videos cannot be packed" if len(skipped) > 1 else ""
        raise InputError(f"{_path(source, name)}: {reason}{more}")
    usable = {name: header for name, header in headers.items() if name not in skipped}
    source.lists.only(usable)  # raises here, not after hours, where nothing would be left of a list
    lengths, dims, _ = zip(*usable.values(), strict=True)
    with StoreWriter(folder, usable, lengths, dims[0], dtype) as writer:
        writer.fill(
            lambda video: open_video(_path(source, writer.ids[video])),
            skip_bad=skip_bad,
            threads=count,
            progress=_part(progress, 0, _COPY_SHARE),
        )
        writer.verify(_part(progress, _COPY_SHARE, 1), count)
        for video, reason in writer.left_out.items():
            name = writer.ids[video]
            skipped[name] = reason.removeprefix(f"{_path(source, name)}: ").removeprefix(f"{name}: ")
        source.lists.only(headers.keys() - skipped.keys()).write(folder)
        store = writer.finish()
    return PackSummary(len(store.ids), len(store.frames), store.frames.nbytes, tuple(skipped.items()))


def _path(source: PackSource, name: str) -> Path:
    return source.features / f"{name}.npy"


def _part(progress: Progress | None, start: float, stop: float) -> Progress | None:
    """What shows a part of the work as that share of the whole."""
    return None if progress is None else lambda fraction: progress(start + (stop - start) * fraction)
