"""A data set of one format: VideoLT's label lists, and frames that are packed or lie as one .npy a video.

    train.lst  [validate.lst]  [test.lst]  [count-labels-train.lst]  [dataset.json]
    frames.npy and what belongs to it, or features/ with such a store or with <id>.npy

`pack` and `synth` write it. Legend: V videos of all splits, n of one, C classes, D features.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vltr_eval._base.files import PendingFile
from vltr_eval._base.groups import DEFAULT_BOUNDS, checked_bounds
from vltr_eval.formats import InputError
from vltr_train.data.frame_store import FrameStore, VideoFolder
from vltr_train.data.label_lists import (
    LabelList,
    default_class_names,
    read_class_counts,
    read_videofolder,
    read_videolt_list,
    write_class_counts,
    write_videolt_list,
)

__all__ = ["Dataset", "DatasetLists", "Split", "TestSplit", "TrainSplit", "ValSplit", "open_dataset", "selecting_split"]

_FORMAT = 1
_COUNTS = "count-labels-train.lst"
_PUBLISHED = "published"  # in dataset.json: the counts are of more videos than train.lst has


@dataclass(frozen=True, eq=False)
class DatasetLists:
    """All of a data set but its frames.

    bounds: (high, low) of head and tail by training counts; class_names: C; the lists have C classes too.
    published_counts: (C,) training videos of each class in the published set, where the lists hold a part of it and
    groups come from the whole; None: groups come from the lists.
    """

    name: str
    bounds: tuple[float, float]
    class_names: tuple[str, ...]
    train: LabelList
    validate: LabelList | None = None
    test: LabelList | None = None
    published_counts: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"DatasetLists({self.name!r}, {len(self.class_names):,} classes, {_sizes(self.splits)})"

    @property
    def train_counts(self) -> np.ndarray:
        """Training videos of each class, (C,) int64, which make head, medium and tail."""
        return self.train.counts() if self.published_counts is None else self.published_counts

    @property
    def splits(self) -> dict[str, LabelList]:
        """The lists that there are, by name."""
        every = {"train": self.train, "validate": self.validate, "test": self.test}
        return {split: labels for split, labels in every.items() if labels is not None}

    @property
    def ids(self) -> tuple[str, ...]:
        """Every video once, in the order of the lists."""
        return tuple(dict.fromkeys(name for labels in self.splits.values() for name in labels.ids))

    def select(self, ids: Container[str]) -> DatasetLists:
        """The lists of some videos. Raises ValueError where none is left of a list."""
        kept: dict[str, Any] = {}
        for split, labels in self.splits.items():
            rows = np.array([row for row, name in enumerate(labels.ids) if name in ids], np.int64)
            if not rows.size:
                raise ValueError(f"{split}.lst: none of its {len(labels)} videos has features that can be used")
            kept[split] = labels if len(rows) == len(labels) else labels.select(rows)
        return replace(self, **kept)

    @staticmethod
    def are_at(folder: str | os.PathLike[str]) -> bool:
        """Whether the folder holds a list of any split."""
        return any((Path(folder) / f"{split}.lst").exists() for split in _SPLITS)

    @classmethod
    def read(
        cls, folder: str | os.PathLike[str], *, name: str | None = None, bounds: tuple[float, float] | None = None
    ) -> DatasetLists:
        """Read the lists of a folder, of which train.lst must be there.

        The other splits are validate.lst and test.lst, or else VideoLT's val_videofolder.txt and test_videofolder.txt.

        name, bounds: instead of those in dataset.json, or else the folder's name and VideoLT's bounds. Without
        count-labels-train.lst classes are named by number, and there are as many as the lists have.
        Raises InputError, also for a class whose count is not that of train.lst, and a video in two of the lists.
        """
        root = Path(folder)
        if not (root / "train.lst").is_file():
            raise InputError(f"{root}: not a data set, it has no train.lst")
        card_name, card_bounds, is_published = _read_card(root)
        names, counts = read_class_counts(root / _COUNTS) if (root / _COUNTS).exists() else (None, None)
        num_classes = None if names is None else len(names)
        files = {split: path for split in _SPLITS for path in reversed(_list_files(root, split)) if path.exists()}
        lists = {
            split: (read_videolt_list if path.suffix == ".lst" else read_videofolder)(path, num_classes)
            for split, path in files.items()
        }
        if names is None or counts is None:
            total = max(labels.num_classes for labels in lists.values())
            lists = {split: replace(labels, num_classes=total) for split, labels in lists.items()}
            names = list(default_class_names(total))
        else:
            _check_counts(root / _COUNTS, names, counts, lists["train"].counts(), is_published)
        found = cls(
            card_name if name is None else name,
            card_bounds if bounds is None else bounds,
            tuple(names),
            **lists,
            published_counts=counts if is_published else None,
        )
        found.check_apart(files)
        return found

    def check_apart(self, files: Mapping[str, Path]) -> None:
        """Refuse a video that is in two splits: it would be evaluated on what it was trained on.

        files: the file of each split. Raises InputError.
        """
        split_of: dict[str, str] = {}
        for split, labels in self.splits.items():
            for name in labels.ids:
                if split_of.setdefault(name, split) != split:
                    raise InputError(
                        f"{files[split]}: expected videos of this split alone, "
                        f"got {name} of {files[split_of[name]].name}"
                    )

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write the lists, the counts and dataset.json. Raises OutputError."""
        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        for split, labels in self.splits.items():
            write_videolt_list(root / f"{split}.lst", labels)
        write_class_counts(root / _COUNTS, self.class_names, self.train_counts)
        card = {"format": _FORMAT, "name": self.name, "bounds": list(self.bounds)}
        if self.published_counts is not None:
            card["counts"] = _PUBLISHED
        with PendingFile(root / "dataset.json") as file:
            file.write_text(json.dumps(card) + "\n")


def _list_files(folder: Path, split: str) -> tuple[Path, ...]:
    """The files that may hold the list of a split, the preferred one first."""
    videofolder = {"validate": ("val_videofolder.txt",), "test": ("test_videofolder.txt",)}
    return tuple(folder / name for name in (f"{split}.lst", *videofolder.get(split, ())))


def _sizes(splits: Mapping[str, Sized]) -> str:
    """The splits with their numbers of videos, for a repr."""
    return ", ".join(f"{len(labels):,} {split}" for split, labels in splits.items())


def _read_card(folder: Path) -> tuple[str, tuple[float, float], bool]:
    """Name and bounds of dataset.json, and whether the counts are of the published set; or the defaults."""
    path = folder / "dataset.json"
    if not path.exists():
        return folder.resolve().name, DEFAULT_BOUNDS, False
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if card["format"] != _FORMAT:
            raise ValueError(f"format: expected {_FORMAT}, got {card['format']!r}")
        return str(card["name"]), checked_bounds(card["bounds"]), card.get("counts") == _PUBLISHED
    except Exception as error:  # damaged JSON raises more than ValueError: RecursionError, TypeError, LookupError
        raise InputError(f"{path}: not the card of a data set ({error})") from None


def _check_counts(
    path: Path, names: Sequence[str], counts: np.ndarray, present: np.ndarray, is_published: bool
) -> None:
    wrong = np.flatnonzero(present > counts if is_published else present != counts)
    if wrong.size:
        first = wrong[0]
        least = "at least " * is_published
        advice = '; if it counts more videos than train.lst has, write "counts": "published" into dataset.json'
        raise InputError(
            f"{path}: expected {least}{present[first]} for class {first} ({names[first]}) as in train.lst, "
            f"got {counts[first]}{'' if is_published else advice}"
        )


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled videos. labels: of n videos; videos: (n,) int64, the number of each in ``frames``."""

    labels: LabelList
    videos: np.ndarray
    frames: FrameStore | VideoFolder

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,} videos, {self.num_classes:,} classes)"

    @property
    def num_classes(self) -> int:
        return self.labels.num_classes

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each video, (n,) int64."""
        return self.frames.lengths[self.videos]


class TrainSplit(Split):
    """The videos that a method is trained on."""


class ValSplit(Split):
    """The videos that checkpoints are selected on."""


class TestSplit(Split):
    """The videos of the report; they select nothing unless `select_on` is "test"."""

    __test__ = False  # pytest: this is no test


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set with its frames: `open_dataset` opens one.

    Attributes:
        name: The name of the data set.
        class_names: The names of the C classes.
        bounds: (high, low): head has more training videos than high, tail at most low.
        frames: The frames of all videos.
        train: The training split.
        validate: The validation split, or None.
        test: The test split, or None.
        num_skipped: The number of videos left out for missing features.
        folder: The folder that `open_dataset` read.
        features: Its argument of this name.
        published_counts: (C,) training videos of each class in the published set; None: groups come from the lists.
    """

    name: str
    class_names: tuple[str, ...]
    bounds: tuple[float, float]
    frames: FrameStore | VideoFolder
    train: TrainSplit
    validate: ValSplit | None
    test: TestSplit | None
    num_skipped: int = 0
    folder: Path | None = None
    features: Path | None = None
    published_counts: np.ndarray | None = None

    def __repr__(self) -> str:
        splits = {"train": self.train, "validate": self.validate, "test": self.test}
        sizes = _sizes({name: split for name, split in splits.items() if split is not None})
        return f"Dataset({self.name!r}, {self.num_classes:,} classes, {sizes}, {self.frames!r})"

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def dim(self) -> int:
        return self.frames.dim

    @property
    def counts_file(self) -> Path | None:
        """Where `train_counts` stand, if they stand in a file."""
        is_partial = self.num_skipped and self.published_counts is None
        path = None if self.folder is None or is_partial else self.folder / _COUNTS
        return path if path is not None and path.exists() else None

    @property
    def train_counts(self) -> np.ndarray:
        """Training videos of each class, (C,) int64: of those that are not left out, or `published_counts`."""
        return self.train.labels.counts() if self.published_counts is None else self.published_counts


_SPLITS = ("train", "validate", "test")


def open_dataset(
    folder: str | os.PathLike[str], *, features: str | os.PathLike[str] | None = None, skip_missing: bool = False
) -> Dataset:
    """Open the data set of a folder; frames are read when they are gathered.

    Args:
        folder: The folder with train.lst and perhaps validate.lst, test.lst and dataset.json.
        features: A packed store or a folder of .npy; default: the folder, or its features/.
        skip_missing: Leave out and count videos without features instead of raising. Groups come from the remaining
            videos, unless the data set keeps published counts.

    Returns:
        The `Dataset`.

    Raises:
        InputError: A file is missing or wrong, the count of a class is not that of train.lst, or videos have no
            features; the first is named.

    Example:
        >>> dataset = open_dataset("data")      # doctest: +SKIP
        >>> dataset.train_counts.sum()          # doctest: +SKIP
    """
    root = Path(folder)
    lists = DatasetLists.read(root)
    frames = _open_frames(root, features, lists.ids)
    number_of = {name: number for number, name in enumerate(frames.ids)}
    missing = {split: [name for name in labels.ids if name not in number_of] for split, labels in lists.splits.items()}
    for split, ids in missing.items():
        if ids and not skip_missing:
            raise InputError(f"{root / split}.lst: no features of {ids[0]}, and of {len(ids)} videos in all")
    if any(missing.values()):
        try:
            lists = lists.select(number_of)
        except ValueError as error:
            raise InputError(f"{root}/{error}") from None
    videos = {
        split: np.array([number_of[name] for name in labels.ids], np.int64) for split, labels in lists.splits.items()
    }
    return Dataset(
        lists.name,
        lists.class_names,
        lists.bounds,
        frames,
        TrainSplit(lists.train, videos["train"], frames),
        None if lists.validate is None else ValSplit(lists.validate, videos["validate"], frames),
        None if lists.test is None else TestSplit(lists.test, videos["test"], frames),
        sum(map(len, missing.values())),
        root,
        None if features is None else Path(features),
        lists.published_counts,
    )


def _open_frames(folder: Path, features: str | os.PathLike[str] | None, ids: Sequence[str]) -> FrameStore | VideoFolder:
    """Open the packed store, or the requested videos of a folder of .npy."""
    folders = [Path(features)] if features is not None else [folder, folder / "features"]
    for candidate in folders:
        if FrameStore.is_at(candidate):
            return FrameStore.open(candidate)
    root = folders[-1]
    if not root.is_dir():
        raise InputError(f"{root}: no frames there, neither frames.npy nor a folder of .npy")
    present = VideoFolder.present(root, ids)
    if not present:
        raise InputError(f"{root}: no .npy of any video of the lists")
    return VideoFolder(root, present)


def selecting_split(dataset: Dataset, select_on: str) -> Split | None:
    """Return the split that selects checkpoints: the test split only if `select_on` names it."""
    if not isinstance(dataset.train, TrainSplit):
        raise TypeError(f"dataset: expected a TrainSplit to train on, got {type(dataset.train).__name__}")
    if select_on == "test":
        if not isinstance(dataset.test, TestSplit):
            raise ValueError("select_on: expected a data set with a test split, got one without")
        return dataset.test
    if not isinstance(dataset.validate, ValSplit | None):
        raise TypeError(f"dataset: expected a ValSplit to select on, got {type(dataset.validate).__name__}")
    return dataset.validate
