"""Packing: label lists of a published format and one .npy a video become one data set that is read by memory map.

Legend: V videos of all splits, D features.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vltr_eval._base.arrays import num_threads
from vltr_eval._base.files import OutputError
from vltr_eval._base.groups import DEFAULT_BOUNDS, checked_bounds
from vltr_eval.formats import InputError, read_labelmap
from vltr_train.data.dataset import DatasetLists
from vltr_train.data.frame_store import FrameStore, Progress, StoreWriter, open_video, read_headers, video_file
from vltr_train.data.label_lists import (
    MINIKINETICS_CLASS_ORDER,
    LabelList,
    class_total,
    default_class_names,
    is_index,
    read_ava,
    read_minikinetics,
)
from vltr_train.data.own_labels import read_own_labels
from vltr_train.data.record_frames import RecordFrames, record_files

__all__ = [
    "CHARADES_BOUNDS",
    "MINIKINETICS_BOUNDS",
    "PackSource",
    "PackSummary",
    "ava",
    "charades",
    "minikinetics",
    "own",
    "pack",
    "videolt",
    "youtube8m",
]

CHARADES_BOUNDS = (100, 20)
"""Head and tail of CharadesLT and CharadesEgoLT (MEID)."""

MINIKINETICS_BOUNDS = (300, 40)
"""Head and tail of Imbalanced-MiniKinetics200 (MOVE's published code)."""

YOUTUBE8M_CLASSES = {"id": 3_862, "video_id": 4_716}
"""Classes of YouTube-8M of 2018 and of 2017, by the name of the ids in their records."""

VIDEOLT_SIZE = (1_004, 179_334)
"""Classes and training videos of VideoLT."""

_COPY_SHARE = 0.8  # of the progress; the rest is the check

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class PackSource:
    """Labels and features to pack.

    features: the folder with <id>.npy of each video, (n, D) of any float dtype; or the records of YouTube-8M's files. A
    folder of TFRecord files is read as such records.

    note: one sentence about something that the labels lack, or nothing.
    """

    lists: DatasetLists
    features: Path | RecordFrames
    note: str = ""


@dataclass(frozen=True)
class PackSummary:
    """videos and frames that were packed, bytes of these frames, and (id, reason) of each video that was left out."""

    videos: int
    frames: int
    bytes: int
    skipped: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return f"PackSummary({self.videos:,} videos, {self.frames:,} frames, {len(self.skipped):,} videos left out)"


def videolt(labels: PathLike, features: PathLike) -> PackSource:
    """Read VideoLT, or any lists in its format: a folder that `DatasetLists.read` reads. Raises InputError.

    Lists of VideoLT's size are called videolt; other lists have the name of their folder.
    """
    lists = DatasetLists.read(labels)
    is_videolt = (len(lists.class_names), len(lists.train)) == VIDEOLT_SIZE
    return PackSource(replace(lists, name="videolt") if is_videolt else lists, Path(features))


def charades(labels: PathLike, features: PathLike, name: str = "own-charadeslt") -> PackSource:
    """Read CharadesLT or CharadesEgoLT from lists in VideoLT's format; no lists were published, hence the name.

    Raises InputError.
    """
    return PackSource(DatasetLists.read(labels, name=name, bounds=CHARADES_BOUNDS), Path(features))


def minikinetics(labels: PathLike, features: PathLike, imbalance: float = 0.01) -> PackSource:
    """Read Imbalanced-MiniKinetics200 from the published train.lst and val.lst; the latter is the test split.

    Classes have their names where kinetics_val.csv lies beside, else the numbers of the published lists: kinetics007.
    Raises InputError.
    """
    folder = Path(labels)
    train, test = read_minikinetics(folder / "train.lst", folder / "val.lst", imbalance)
    names = _kinetics_names(folder / "kinetics_val.csv")
    ordered = tuple(names[original] for original in MINIKINETICS_CLASS_ORDER)
    lists = DatasetLists(f"minikinetics-{imbalance:g}", MINIKINETICS_BOUNDS, ordered, train, test=test)
    return PackSource(lists, Path(features))


def _kinetics_names(path: Path) -> list[str]:
    """Names of the 200 classes by their published numbers, which are alphabetical."""
    total = len(MINIKINETICS_CLASS_ORDER)
    if not path.exists():
        return [f"kinetics{number:03d}" for number in range(total)]
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            names = sorted({row.get("label") or "" for row in csv.DictReader(stream)})
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV file ({error})") from None
    if len(names) != total or not all(names):
        raise InputError(f"{path}: expected a column 'label' with {total} names, got {len(names)}")
    return names


def ava(labels: PathLike, features: PathLike) -> PackSource:
    """Read AVA's person boxes from ava_train_v*.csv and ava_val_v*.csv of a folder; each box has <id>.npy of its clip.

    The classes are those of *for_activitynet*.pbtxt or .pbtxt.txt (the 60 that are evaluated), or all 80 where there
    is none. Ids are those of `read_ava`. Raises InputError.
    """
    # DIFFERS: the paper (arXiv 1904.12993) names neither its 46 head and 14 tail classes nor bounds; VideoLT's here.
    folder = Path(labels)
    # The official file of v2.1 ends in .pbtxt.txt.
    action_lists = sorted(path for end in ("", ".txt") for path in folder.glob(f"*for_activitynet*.pbtxt{end}"))
    classes = read_labelmap(action_lists[-1]) if action_lists else None
    train, test = (read_ava(_one_match(folder, f"ava_{split}_v*.csv"), classes) for split in ("train", "val"))
    note = ""
    if classes is None:
        names = default_class_names(train.num_classes)
        actions = f"all {len(names)} actions are classes, called {names[0]} and so on"
        note = f"{folder}: no *for_activitynet*.pbtxt, so {actions}"
    else:
        names = tuple(classes[action] for action in sorted(classes))
    return PackSource(DatasetLists("ava", DEFAULT_BOUNDS, names, train, test=test), Path(features), note)


def youtube8m(
    labels: PathLike,
    features: PathLike,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    threads: int | None = None,
) -> PackSource:
    """Read YouTube-8M's TFRecord files of the frame level: train*.tfrecord, validate*.tfrecord, test*.tfrecord.

    Args:
        labels: The folder of these files, which may be compressed: .tfrecord.gz. Test files without labels, which were
            not published, are left out.
        features: The same folder, or another one with the records of these videos.
        num_classes: Default 3,862 as in 2018, or 4,716 where ids are called video_id as in 2017.
        class_names: Names in class order. Default: class0000 and so on.
        threads: Threads of the core.

    Returns:
        The source for `pack`. A frame has the numbers of rgb and then those of audio.

    Raises:
        InputError: No train*.tfrecord, a damaged file, a class that is not below the number of classes, or a video
            twice.
    """
    folder = Path(labels)
    files = {split: record_files(folder, split) for split in ("train", "validate", "test")}
    if not files["train"]:
        raise InputError(f"{folder}: expected files train*.tfrecord, got none")
    every = [path for paths in files.values() for path in paths]
    records = RecordFrames(every, threads)
    if class_names is not None:
        num_classes = len(class_names)
    total = num_classes or YOUTUBE8M_CLASSES["video_id" if records.old_names else "id"]
    names = default_class_names(total) if class_names is None else tuple(class_names)
    lists: dict[str, Any] = {}  # of LabelList
    note = ""
    split_of = {path: split for split, paths in files.items() for path in paths}
    rows: dict[str, list[int]] = {split: [] for split in files}
    for row, video in enumerate(records.ids):
        rows[split_of[records.file_of(video)]].append(row)
        largest = max(records.classes[row], default=0)
        if largest >= total:
            raise InputError(
                f"{records.name_of(video)}: expected classes below {total:,}, got {largest}; give num_classes "
                "(--num-classes)"
            )
    for split, members in rows.items():
        if split == "test" and members and not any(records.classes[row] for row in members):
            note = f"{folder}: the {len(members):,} test videos have no labels and are left out"
        elif members:
            videos = [records.ids[row] for row in members]
            lists[split] = LabelList.from_lists(videos, [records.classes[row] for row in members], total)
    if "train" not in lists:
        raise InputError(f"{folder}: expected videos in train*.tfrecord, got none")
    elsewhere = Path(features).resolve() != folder.resolve()
    frames = _records_of(Path(features), threads) if elsewhere else records
    return PackSource(DatasetLists("youtube8m", DEFAULT_BOUNDS, names, **lists), frames or Path(features), note)


class _VideoFiles:
    """A folder with a .npy of each video, as the source of frames that `RecordFrames` is too."""

    def __init__(self, folder: Path, threads: int | None) -> None:
        self._folder, self._threads = folder, threads

    def headers(self, ids: Sequence[str]) -> list[tuple[int, int, str] | str]:
        return read_headers(self._folder, ids, self._threads)

    def name_of(self, video: str) -> str:
        return str(video_file(self._folder, video))

    def open(self, video: str) -> np.ndarray:
        return open_video(video_file(self._folder, video))


def _records_of(folder: Path, threads: int | None) -> RecordFrames | None:
    """The records of a folder of TFRecord files; None for another folder."""
    paths = record_files(folder) if folder.is_dir() else []
    return RecordFrames(paths, threads) if paths else None


def own(
    labels: PathLike,
    features: PathLike,
    *,
    validate: PathLike | None = None,
    test: PathLike | None = None,
    class_names: Sequence[str] | None = None,
    frame_counts: bool | None = None,
    name: str | None = None,
    bounds: tuple[float, float] = DEFAULT_BOUNDS,
) -> PackSource:
    """Read the labels of your data: one file with a column of splits, or a file for each split.

    Args:
        labels: A file that `read_own_labels` reads. Videos without a split are for training.
        features: The folder with <id>.npy of each video.
        validate: A file of validation videos, if `labels` has no column of splits.
        test: A file of test videos, likewise.
        class_names: The names of the classes in the order of their indices. None: classes that are named are numbered
            in the order of their names, and classes that are numbers are named class0000 and so on.
        frame_counts: Whether lines of a list have a number of frames behind the path; see `read_own_labels`.
        name: The name of the data set; default that of the file without its suffix.
        bounds: Head has more training videos than the first, tail at most as many as the second.

    Returns:
        The source for `pack`.

    Raises:
        InputError: A file cannot be read, a class is unknown, or no video is for training.

    Example:
        >>> source = own("labels.csv", "features", name="kitchen", bounds=(100, 20))   # doctest: +SKIP
        >>> pack(source, "data")                                                       # doctest: +SKIP
    """
    files = {"train": labels, "validate": validate, "test": test}
    rows = [
        (Path(path), split, read_own_labels(path, class_names, frame_counts=frame_counts))
        for split, path in files.items()
        if path is not None
    ]
    pairs: dict[str, list[tuple[str, list[str], Path]]] = {}
    for path, of_file, (ids, classes, splits) in rows:
        for video, its_classes, split in zip(ids, classes, splits, strict=True):
            if split is not None and len(rows) > 1:
                raise InputError(f"{path}: expected no column of splits where each split has a file, got {split!r}")
            pairs.setdefault(split or of_file, []).append((video, its_classes, path))
    if "train" not in pairs:
        raise InputError(f"{labels}: expected videos of split train, got none")
    names, index_of = _class_indices([row for split in pairs.values() for row in split], class_names)
    lists: dict[str, Any] = {}  # of LabelList
    for split, videos in pairs.items():
        indices = [sorted({index_of[token] for token in tokens}) for _, tokens, _ in videos]
        lists[split] = LabelList.from_lists([video for video, _, _ in videos], indices, len(names))
    found = DatasetLists(Path(labels).stem if name is None else name, checked_bounds(bounds), names, **lists)
    found.check_apart({split: path for path, split, _ in rows})
    return PackSource(found, Path(features))


def _class_indices(
    rows: Sequence[tuple[str, list[str], Path]], class_names: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The names of the classes, and the index of each word that stands for one: a name, or else a number."""
    words = {word: (video, path) for video, tokens, path in reversed(rows) for word in tokens}
    if not words:
        raise InputError(f"{rows[0][2]}: expected a class for some video, got none")
    numbers = {word: int(word) for word in words if is_index(word)}
    if class_names is not None:
        names = tuple(class_names)
    elif len(numbers) == len(words):
        largest = max(numbers, key=numbers.__getitem__)
        names = default_class_names(class_total(words[largest][1], numbers[largest], sum(len(row[1]) for row in rows)))
    else:
        for word, (video, path) in reversed(words.items()):
            if _is_number(word):  # such as -1 for no label, which as a name would be one more class
                raise InputError(
                    f"{path}: video {video}: expected names throughout, or indices from 0 up throughout, got {word!r}; "
                    "correct it, or give class_names (--class-names)"
                )
        names = tuple(sorted(words))
    if len(set(names)) < len(names):
        raise InputError("class_names: expected each name once")
    index_of = numbers | {name: index for index, name in enumerate(names)}
    for word, (video, path) in reversed(words.items()):
        if not 0 <= index_of.get(word, -1) < len(names):
            raise InputError(f"{path}: video {video}: expected one of the {len(names)} classes, got {word!r}")
    return names, index_of


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


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
    published_counts: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> PackSummary:
    """Pack a source into a folder for `vltr_train.open_dataset`.

    After an interruption the same call continues the unfinished pack. A finished pack is not packed again: the call
    raises OutputError. Packed frames are read again and compared before they get their final name.

    Args:
        source: The labels and the folder of features.
        folder: The folder of the new data set.
        dtype: "float16" or "float32", rounded to nearest.
        skip_bad: Leave out videos that are missing or corrupt (not a whole .npy, no float frames (n, D), another D than
            most, NaN, inf, or values that overflow the dtype), and return them in the summary.
        published_counts: Head, medium and tail come from the counts of all listed training videos, also of those that
            are left out. Otherwise they come from the packed ones.
        threads: Threads of the core.
        progress: Called with the fraction done.

    Raises:
        ValueError: A video is missing or corrupt; the first is named (InputError where its file cannot be read, or its
            id leads out of the folder of features).
        OutputError: The folder holds a finished store, label lists, or an unfinished store of other videos.
    """
    if DatasetLists.are_at(folder) and not (FrameStore.is_at(folder) or StoreWriter.is_begun_at(folder)):
        raise OutputError(f"{folder}: holds label lists, which packing would replace; choose another folder")
    count = num_threads(threads)
    ids = source.lists.ids
    features = source.features
    files: RecordFrames | _VideoFiles
    if isinstance(features, RecordFrames):
        files = features
    else:
        files = _records_of(features, count) or _VideoFiles(features, count)
    headers = dict(zip(ids, files.headers(ids), strict=True))
    skipped = {name: header for name, header in headers.items() if isinstance(header, str)}
    if skipped and not skip_bad:
        name, reason = next(iter(skipped.items()))
        more = f", and {len(skipped) - 1} more videos cannot be packed" if len(skipped) > 1 else ""
        raise InputError(f"{files.name_of(name)}: {reason}{more}; skip_bad=True (--skip-bad) packs the others")
    usable = {name: header for name, header in headers.items() if name not in skipped}
    lists = source.lists
    if published_counts:
        lists = replace(lists, published_counts=lists.train_counts)
    lists.select(usable)  # raises here, not after hours, where nothing would be left of a list
    lengths, dims, _ = zip(*usable.values(), strict=True)
    with StoreWriter(folder, usable, lengths, dims[0], dtype) as writer:
        writer.fill(
            lambda video: files.open(writer.ids[video]),
            skip_bad=skip_bad,
            threads=count,
            progress=_part(progress, 0, _COPY_SHARE),
        )
        writer.verify(_part(progress, _COPY_SHARE, 1), count)
        for video, reason in writer.left_out.items():
            name = writer.ids[video]
            path = files.name_of(name)
            skipped[name] = reason.removeprefix(f"{path}: ").removeprefix(f"{name}: ")
        lists.select(headers.keys() - skipped.keys()).write(folder)
        store = writer.finish()
    return PackSummary(len(store.ids), len(store.frames), store.frames.nbytes, tuple(skipped.items()))


def _part(progress: Progress | None, start: float, stop: float) -> Progress | None:
    """A function that shows a part of the work as that share of the whole."""
    return None if progress is None else lambda fraction: progress(start + (stop - start) * fraction)
