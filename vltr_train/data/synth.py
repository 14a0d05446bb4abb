"""Data sets to train on where no features are at hand: labels of a published long tail, frames with planted classes.

Legend: V videos of all splits, n frames of one, D features, C classes, S scenes, W ways of looking.

Frames look like what a network's last ReLU gives. Each video shows one or two scenes of a pool that all share, and for
each of its labels a short stretch in which the class appears in one of the ways it has of looking. Classes come in
families that look alike, and a class with many videos has more ways of looking than one with few.

Draws depend on the seed and the number of the video alone: any video can be made without the others.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vltr_eval._base.arguments import check_seed
from vltr_eval._base.arrays import num_threads
from vltr_eval._base.files import PendingFile
from vltr_eval._base.groups import class_groups
from vltr_eval._base.long_tail import (
    VIDEOLT_TRAIN_TAIL,
    Stretch,
    even_pick,
    labels_of_rows,
    plant_labels,
    round_to_sum,
    tail_counts,
)
from vltr_train.data.dataset import DatasetLists
from vltr_train.data.frame_store import FrameStore, StoreWriter
from vltr_train.data.label_lists import LabelList, default_class_names
from vltr_train.data.synth_signal import Looks, SyntheticSignal, draw_looks, frames_of_video

__all__ = ["PROFILES", "Profile", "SyntheticSet", "SyntheticWorld", "make_world", "synthesize"]


@dataclass(frozen=True, eq=False)
class Profile:
    """The shape of a published set at scale 1.

    train_counts: (C,) of the classes, falling. videos: of each split, all of ``frames`` frames. label_shares: of the
    videos with 1, 2, ... labels. bounds: of head and tail. fewest_classes: at any scale. balanced_test: as many test
    videos for each class.
    """

    train_counts: np.ndarray
    videos: dict[str, int]
    label_shares: tuple[float, ...]
    bounds: tuple[int, int]
    frames: int
    fewest_classes: int = 9
    balanced_test: bool = False

    def __repr__(self) -> str:
        return f"Profile({len(self.train_counts):,} classes, {self.videos}, {self.frames:,} frames)"


def _poisson_shares(mean: float, most: int) -> tuple[float, ...]:
    """Shares of videos with 1 to ``most`` labels, where those beyond the first are Poisson with this mean."""
    return tuple(mean**k / math.factorial(k) for k in range(most))


# Only sizes, group sizes, imbalance, labels a video and bounds of the Charades sets are published (MEID, Tab. 1), and
# of AVA the boxes, the 60 classes evaluated, the most and least frequent of them and 46 head to 14 tail classes
# (arXiv 1904.12993); the counts between are interpolated and AVA's labels a box are a guess.
PROFILES = {
    "videolt": Profile(
        train_counts=tail_counts(VIDEOLT_TRAIN_TAIL),
        videos={"train": 179_334, "validate": 25_619, "test": 51_239},
        label_shares=(164_298, 12_978, 1_737, 276, 42, 2, 1),
        bounds=(500, 100),
        frames=150,
    ),
    "minikinetics": Profile(
        train_counts=np.full(200, 399),  # without imbalance
        videos={"test": 4_999},
        label_shares=(1,),
        bounds=(300, 40),
        frames=150,
        balanced_test=True,
    ),
    "charadeslt": Profile(
        train_counts=tail_counts((Stretch(41, 494, 104, 10_712), Stretch(81, 96, 22, 4_100), Stretch(35, 19, 8, 458))),
        videos={"train": 2_213, "validate": 469, "test": 1_012},
        label_shares=_poisson_shares(5.9, 20),
        bounds=(100, 20),
        frames=200,
    ),
    "charadesegolt": Profile(
        train_counts=tail_counts((Stretch(43, 430, 104, 10_079), Stretch(89, 96, 22, 4_500), Stretch(25, 19, 8, 330))),
        videos={"train": 1_553, "validate": 764, "test": 748},
        label_shares=_poisson_shares(8.6, 24),
        bounds=(100, 20),
        frames=200,
    ),
    "ava": Profile(
        train_counts=tail_counts((Stretch(46, 164_932, 510, 503_000), Stretch(14, 490, 96, 3_400))),
        videos={"train": 211_000, "test": 57_000},
        label_shares=(0.2, 0.4, 0.25, 0.1, 0.05),
        bounds=(500, 500),
        frames=36,
        fewest_classes=60,  # a tail this steep is lost in fewer
    ),
}

_FEWEST = {"train": 4, "validate": 2, "test": 2}  # videos of a class in each split, at any scale
_MEAN_AT_LEAST = {"train": 10, "validate": 3, "test": 3}  # videos of a class; a small scale gets more videos for it
_MOST = 0.8  # of the videos of a split may carry one class

_IMBALANCE = 0.01
_LENGTH = 8192  # of the noise of a frame, squared: a model of few features too learns in some hundred steps


@dataclass(frozen=True, eq=False)
class SyntheticWorld:
    """All that decides a data set; `frames_of` makes the frames of any video.

    labels: of the V videos of all splits, in the order of ``splits``. shown: the labels that frames show, which differ
    in training videos with label noise. lengths: (V,) int64. bounds: of head and tail.
    """

    name: str
    class_names: tuple[str, ...]
    bounds: tuple[int, int]
    splits: dict[str, slice]
    labels: LabelList
    shown: LabelList
    lengths: np.ndarray
    seed: int
    feature_std: float
    signal: SyntheticSignal
    looks: Looks

    def __repr__(self) -> str:
        return f"SyntheticWorld({self.name!r}, {self.labels!r}, {self.dim:,} features, seed {self.seed})"

    @property
    def dim(self) -> int:
        """D."""
        return self.looks.scenes.shape[1]

    def split_labels(self, split: str) -> LabelList:
        """Labels of the videos of one split."""
        return self.labels.select(np.arange(len(self.labels))[self.splits[split]])

    def frames_of(self, video: int) -> np.ndarray:
        """Frames (n, D) float32 of a video by its number among all V, the same whatever was made before."""
        rng = _generator(self.seed, _FRAMES, video)
        shown = self.shown.classes[self.shown.offsets[video] : self.shown.offsets[video + 1]]
        return frames_of_video(int(self.lengths[video]), shown, self.looks, self.signal, self.feature_std, rng)


_LABELS, _LOOKS, _FRAMES, _NOISE = range(4)  # purposes, each with separate random numbers


def _generator(seed: int, *purpose: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=purpose))


def make_world(
    profile: str = "videolt",
    *,
    scale: float = 0.01,
    dim: int = 128,
    seed: int = 0,
    imbalance: float | None = None,
    frames: int | None = None,
    length_spread: float = 0.0,
    feature_std: float | None = None,
    **signal: Any,
) -> SyntheticWorld:
    """Decide a data set; arguments and errors as of `synthesize`."""
    how = SyntheticSignal(**signal)
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale: expected a positive number, got {scale!r}")
    imbalance = _checked_imbalance(profile, imbalance)
    check_seed(seed)
    if dim < 1:
        raise ValueError(f"dim: expected at least 1, got {dim!r}")
    if frames is not None and frames < 1:
        raise ValueError(f"frames: expected at least 1, got {frames!r}")
    if not (math.isfinite(length_spread) and length_spread >= 0):
        raise ValueError(f"length_spread: expected a number from 0 up, got {length_spread!r}")
    if feature_std is not None and not (math.isfinite(feature_std) and feature_std > 0):
        raise ValueError(f"feature_std: expected a positive number, got {feature_std!r}")
    shape = _shape_of(profile, imbalance)

    most_classes = len(shape.train_counts)
    num_classes = min(most_classes, max(shape.fewest_classes, round(most_classes * math.sqrt(scale))))
    tail = even_pick(shape.train_counts, num_classes)
    rng = _generator(seed, _LABELS)
    if not shape.balanced_test:  # published by falling counts: class 0 is the largest
        tail = rng.permutation(tail)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    splits: dict[str, slice] = {}
    ids: list[str] = []
    for split, num_videos in shape.videos.items():
        law = np.full(num_classes, tail.mean()) if shape.balanced_test and split == "test" else tail
        rows, classes = _deal_labels(split, round(num_videos * scale), law, shape.label_shares, rng)
        splits[split] = slice(len(ids), len(ids) + int(rows[-1]) + 1)
        pairs.append((rows + len(ids), classes))
        ids += [f"{split}-{row:06d}" for row in range(int(rows[-1]) + 1)]
    rows, classes = np.concatenate(pairs, axis=1)
    shown = LabelList.from_pairs(tuple(ids), rows, classes, num_classes)
    listed = _deal_anew(classes, rows, splits["train"], how.label_noise, _generator(seed, _NOISE))
    labels = LabelList.from_pairs(tuple(ids), rows, listed, num_classes) if how.label_noise else shown

    train_counts = np.bincount(pairs[0][1])
    shrink = train_counts.sum() / tail.sum()
    high, low = (max(int(train_counts.min()), round(bound * shrink)) for bound in shape.bounds)
    groups = class_groups(train_counts, (high, low))
    return SyntheticWorld(
        name=f"synthetic-{profile}" + (f"-{imbalance:g}" if profile == "minikinetics" else ""),
        class_names=default_class_names(num_classes),
        bounds=(high, low),
        splits=splits,
        labels=labels,
        shown=shown,
        lengths=_draw_lengths(len(labels), frames or shape.frames, length_spread, rng),
        seed=seed,
        feature_std=math.sqrt(_LENGTH / dim) if feature_std is None else feature_std,
        signal=how,
        looks=draw_looks(groups, train_counts, dim, how, _generator(seed, _LOOKS)),
    )


def _checked_imbalance(profile: str, imbalance: float | None) -> float:
    """The imbalance, or its default. Other profiles than MiniKinetics have that of their published counts."""
    if profile not in PROFILES:
        raise ValueError(f"profile: expected one of {', '.join(PROFILES)}, got {profile!r}")
    if imbalance is None:
        return _IMBALANCE
    if profile != "minikinetics":
        raise ValueError(
            f"imbalance: expected none with profile {profile}, whose tail is the published one, got {imbalance!r}; "
            "leave it out, or take profile minikinetics"
        )
    if not 0 < imbalance <= 1:
        raise ValueError(f"imbalance: expected above 0 to 1, got {imbalance!r}")
    return imbalance


def _shape_of(name: str, imbalance: float) -> Profile:
    """The profile of this name; that of MiniKinetics as its construction makes it, class k having 399 r^(k / 199)."""
    if name != "minikinetics":
        return PROFILES[name]
    counts = (399 * imbalance ** (np.arange(200) / 199)).astype(np.int64)
    return replace(PROFILES[name], train_counts=counts, videos={"train": int(counts.sum()), **PROFILES[name].videos})


def _deal_labels(
    split: str, num_videos: int, law: np.ndarray, shares: tuple[float, ...], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and classes of the labels of a split, by row: each class about its share of ``law`` (C,), each row some."""
    num_classes = len(law)
    most = num_classes // 3
    mean = np.average(np.minimum(np.arange(1, len(shares) + 1), most), weights=shares)
    num_videos = max(num_videos, math.ceil(_MEAN_AT_LEAST[split] * num_classes / mean))
    labels_of_row = np.minimum(labels_of_rows(num_videos, shares, rng), most)
    total = int(labels_of_row.sum())
    expected = law * (total / law.sum())
    if split != "train" and not (law == law[0]).all():
        expected = rng.poisson(expected)
    counts = round_to_sum(expected, total, min(_FEWEST[split], int(law.min())), int(_MOST * num_videos))
    return plant_labels(labels_of_row, counts, rng)


def _draw_lengths(num_videos: int, frames: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Frames of each video, (V,) int64: lognormal around a mean, within reason."""
    factors = np.exp(spread * rng.standard_normal(num_videos) - spread**2 / 2)
    return np.clip(np.round(frames * factors), min(8, frames), 4 * frames).astype(np.int64)


def _deal_anew(
    classes: np.ndarray, rows: np.ndarray, videos: slice, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Deal the labels of a share of some videos out anew among these: the classes (P,) of pairs with these rows (P,).

    Each video keeps its number of labels, and each class its number of videos.
    """
    numbers = np.arange(videos.start, videos.stop)
    noisy = rng.choice(numbers, round(share * len(numbers)), replace=False)
    dealt, chosen = classes.copy(), np.isin(rows, noisy)
    if chosen.any():
        labels_of_row = np.unique(rows[chosen], return_counts=True)[1]
        dealt[chosen] = plant_labels(labels_of_row, np.bincount(classes[chosen]), rng)[1]
    return dealt


class SyntheticSet(NamedTuple):
    """Numbers of videos by split, of classes and frames that `synthesize` wrote, and the group bounds."""

    videos: dict[str, int]
    num_classes: int
    frames: int
    bounds: tuple[int, int]


def synthesize(
    folder: str | os.PathLike[str],
    *,
    profile: str = "videolt",
    scale: float = 0.01,
    dim: int = 128,
    seed: int = 0,
    layout: str = "packed",
    dtype: str = "float16",
    imbalance: float | None = None,
    frames: int | None = None,
    length_spread: float = 0.0,
    feature_std: float | None = None,
    signal: float = SyntheticSignal.signal,
    scene: float = SyntheticSignal.scene,
    informative: tuple[float, float] = SyntheticSignal.informative,
    correlation: float = SyntheticSignal.correlation,
    video_share: float = SyntheticSignal.video_share,
    burst_frames: tuple[int, int] | None = SyntheticSignal.burst_frames,
    cooccurrence: float = SyntheticSignal.cooccurrence,
    motion: float = SyntheticSignal.motion,
    label_noise: float = SyntheticSignal.label_noise,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> SyntheticSet:
    """Write a data set with a known structure into ``folder``, to be opened by `vltr_train.open_dataset`.

    The same arguments give the same bytes in any number of threads, but for last bits on another CPU or numpy. The same
    call continues an interrupted write.

    Args:
        folder: Folder of the data set.
        profile: A key of `PROFILES`, the published set whose labels it has.
        scale: 1 is the published size. Videos grow with it; classes, and with them training counts and the bounds of
            head and tail, grow with its square root, so that the long tail and its groups stay. Each class keeps 4
            training videos and 2 of each other split; sets too small for that get more videos. VideoLT at 0.05: 225
            classes, 8,967 training videos, 418 to 10 a class.
        dim: D, the number of features of a frame.
        seed: Seed of all draws.
        layout: "packed", one array as `vltr-train pack` makes it, or "npy", one features/<id>.npy a video.
        dtype: "float16" or "float32".
        imbalance: For minikinetics alone, the smallest class's share of the largest; None for 0.01.
        frames: Frames of a video; by default those of the profile.
        length_spread: 0 if all lengths are equal, else the standard deviation of the logarithm of lengths with that
            mean (VideoLT's at one frame a second: 0.73).
        feature_std: Standard deviation of the noise in a feature. The default, sqrt(8192 / dim), lets few features too
            be learnt from in some hundred steps. 2, the value of 2,048 features, is fair to methods that normalise
            frames or attend to them.
        signal: Standard deviation of a class's look where the noise of a frame has 1, at 128 features; D features have
            sqrt(128 / D) times it.
        scene: Standard deviation of a scene, one or two of which a video shows.
        informative: The smallest and the largest share of a video's frames that show a label.
        correlation: Correlation of the noise of neighbouring frames (AR(1)), from 0 to below 1.
        video_share: Share of the variance of a class's look that belongs to the single video.
        burst_frames: The shortest and the longest burst of frames that show a label; lengths are log-uniform. The last
            burst is cut to fit, and bursts that meet make a longer run. None for one burst that holds all of them.
        cooccurrence: Share of classes made of co-occurring visual words: two classes share four words, and differ in
            which words a frame shows together. Before the ReLU their mean frames are the same on average; after it a
            mean frame tells them apart in part.
        motion: Share of classes that come in pairs with the same set of frames, in opposite order.
        label_noise: Share of the training videos whose labels are dealt out anew among these videos. Counts stay.
        threads: Threads of the core; every core by default.
        progress: Called with the fraction done.

    Raises:
        ValueError: An argument does not fit, or the folder holds another data set.
    """
    if layout not in ("packed", "npy"):
        raise ValueError(f"layout: expected packed or npy, got {layout!r}")
    if dtype not in ("float16", "float32"):
        raise ValueError(f"dtype: expected float16 or float32, got {dtype!r}")
    shape: dict[str, Any] = {
        "profile": profile,
        "scale": scale,
        "dim": dim,
        "seed": seed,
        "imbalance": imbalance,
        "frames": frames,
        "length_spread": length_spread,
        "feature_std": feature_std,
    }
    how: dict[str, Any] = {
        "signal": signal,
        "scene": scene,
        "informative": informative,
        "correlation": correlation,
        "video_share": video_share,
        "burst_frames": burst_frames,
        "cooccurrence": cooccurrence,
        "motion": motion,
        "label_noise": label_noise,
    }
    world = make_world(**shape, **how)
    folder = Path(folder)
    # A number for every profile, as the notes in older folders have it
    shape["imbalance"] = _checked_imbalance(profile, imbalance)
    origin = {**shape, "layout": layout, "dtype": dtype, **how}
    _claim(folder, origin)
    write = _write_packed if layout == "packed" else _write_files
    write(world, folder, dtype, num_threads(threads), progress or (lambda fraction: None))
    splits: dict[str, Any] = {split: world.split_labels(split) for split in world.splits}
    DatasetLists(world.name, world.bounds, world.class_names, **splits).write(folder)
    return SyntheticSet(
        {split: part.stop - part.start for split, part in world.splits.items()},
        world.labels.num_classes,
        int(world.lengths.sum()),
        world.bounds,
    )


def _claim(folder: Path, origin: dict[str, object]) -> None:
    """Note in the folder what it is for; refuse one that is for something else."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "synth.json"
    if note.exists():
        try:
            found = dict(json.loads(note.read_text(encoding="utf-8")))
        except Exception:  # damaged JSON raises more than ValueError
            raise ValueError(f"{note}: expected the settings of a synthetic set, got a damaged file") from None
        for name, value in json.loads(json.dumps(origin)).items():
            there = found.get(name, _plain(getattr(SyntheticSignal, name, None)))  # notes of before have no signal
            if there != value:
                raise ValueError(f"{folder}: expected a new folder or the set of {name} {there!r}, got {value!r}")
    elif any(folder.iterdir()):
        raise ValueError(f"{folder}: expected a new or empty folder, got one with other files")
    _write_json(note, origin)


def _plain(value: object) -> object:
    """The value as JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _write_packed(
    world: SyntheticWorld, folder: Path, dtype: str, threads: int, progress: Callable[[float], None]
) -> None:
    if not FrameStore.is_at(folder):
        with StoreWriter(folder, world.labels.ids, world.lengths, world.dim, dtype) as writer:
            writer.fill(world.frames_of, threads=threads, progress=progress)
            writer.finish()


def _write_files(
    world: SyntheticWorld, folder: Path, dtype: str, threads: int, progress: Callable[[float], None]
) -> None:
    features = folder / "features"
    features.mkdir(exist_ok=True)

    def write(video: int) -> None:
        path = features / f"{world.labels.ids[video]}.npy"
        if not path.exists():
            with PendingFile(path) as file:
                file.write(partial(_save, frames=world.frames_of(video).astype(dtype)))

    with ThreadPoolExecutor(threads) as pool:
        for done, _ in enumerate(pool.map(write, range(len(world.labels))), start=1):
            progress(done / len(world.labels))


def _save(path: Path, frames: np.ndarray) -> None:
    with path.open("wb") as file:  # np.save would append .npy to a path
        np.save(file, frames)


def _write_json(path: Path, document: dict[str, object]) -> None:
    with PendingFile(path) as file:
        file.write_text(json.dumps(document, indent=2) + "\n")
