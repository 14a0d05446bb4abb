"""Frames of synthetic videos: noise, scenes, and how a class shows itself. `synth` has their labels and files.

Legend: n frames of a video, D features, C classes, S scenes, W ways of looking, P parts of a way.

A plain class shows one look in all its frames, so a mean frame shows it. Classes of two more kinds come in pairs of
neighbours along the tail, and a mean frame tells the pair from other classes rather than its two classes apart:

- Co-occurrence: the pair shares four visual words a, b, c, d. A frame shows two words at once: a with b or c with d for
  one class, a with d or c with b for the other. Both classes have each word equally often on average, so before the
  ReLU they have the same mean frame. The ReLU is not linear, so after it a mean frame tells them apart in part. A class
  with more ways of looking than its partner has words of its own in the rest.
- Motion: the pair shares three looks in each way, and the number of ways. Successive frames go through the looks in a
  cycle, in one direction for one class and in the other for the other. Both classes have the same set of frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

__all__ = ["Looks", "SyntheticSignal", "draw_looks", "frames_of_video"]

SCENES = 48
CLASSES_OF_FAMILY = 5
FAMILY_SHARE = 0.35  # of a class's variance that its family has in common
WAY_SHARE = 0.5  # of the variance of a way of looking that no other shares
WORDS = 24  # visual words of all classes of co-occurring words
THRESHOLD = 0.5  # what the ReLU takes off first: about two thirds of the features of a frame are 0
PLAIN, COOCCURRENCE, MOTION = range(3)  # kinds of classes
PARTS = 3  # of a way where there are classes of other kinds than plain


@dataclass(frozen=True)
class SyntheticSignal:
    """How frames show the classes of their video. The noise of a frame has standard deviation 1 in each feature.

    Attributes:
        signal: Standard deviation of the look of a class at 128 features; other numbers D have sqrt(128 / D) times it.
        scene: Standard deviation of a scene.
        informative: The smallest and the largest share of a video's frames that show a label.
        correlation: Correlation of the noise of neighbouring frames, an autoregressive process of order 1.
        video_share: Share of the variance of a class's look that belongs to the single video.
        burst_frames: The shortest and the longest burst of frames that show a label; lengths are log-uniform. The last
            burst is cut to fit, and bursts that meet make a longer run. None for one burst that holds all of them.
        cooccurrence: Share of classes made of co-occurring visual words.
        motion: Share of classes that only the order of frames tells from another class.
        label_noise: Share of training videos whose labels are dealt out anew among these videos. Their frames show the
            labels from before.

    Raises:
        ValueError: A value is out of its range.
    """

    signal: float = 2.5
    scene: float = 0.3
    informative: tuple[float, float] = (0.03, 0.2)
    correlation: float = 0.0
    video_share: float = 0.6
    burst_frames: tuple[int, int] | None = None
    cooccurrence: float = 0.0
    motion: float = 0.0
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.signal) and self.signal > 0):
            raise ValueError(f"signal: expected a positive number, got {self.signal!r}")
        if not (math.isfinite(self.scene) and self.scene >= 0):
            raise ValueError(f"scene: expected a number from 0 up, got {self.scene!r}")
        if len(self.informative) != 2 or not 0 < self.informative[0] <= self.informative[1] <= 1:
            raise ValueError(f"informative: expected two rising shares above 0 to 1, got {self.informative!r}")
        if not 0 <= self.correlation < 1:
            raise ValueError(f"correlation: expected from 0 to below 1, got {self.correlation!r}")
        for name in ("video_share", "cooccurrence", "motion", "label_noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected from 0 to 1, got {getattr(self, name)!r}")
        bursts = self.burst_frames
        if bursts is not None and (len(bursts) != 2 or not 1 <= bursts[0] <= bursts[1]):
            raise ValueError(f"burst_frames: expected two rising numbers of frames from 1 up, got {bursts!r}")
        if self.cooccurrence + self.motion > 1:
            raise ValueError(
                f"cooccurrence, motion: expected shares that sum to at most 1, got {self.cooccurrence!r} and "
                f"{self.motion!r}"
            )

    def __repr__(self) -> str:
        changed = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if self._differs(each.name))
        return f"{type(self).__name__}({', '.join(changed)})"

    def _differs(self, name: str) -> bool:
        return bool(getattr(self, name) != getattr(type(self), name))


@dataclass(frozen=True, eq=False)
class Looks:
    """The looks of scenes and classes.

    Attributes:
        scenes: (S, D) float32.
        ways: (W, P, D) float32, the ways in which classes look. A frame shows one of the P parts of a way.
        first_way: (C + 1,) int64; class c has the ways from ``first_way[c]`` to ``first_way[c + 1]``.
        kinds: (C,) int64: PLAIN, COOCCURRENCE or MOTION.
    """

    scenes: np.ndarray
    ways: np.ndarray
    first_way: np.ndarray
    kinds: np.ndarray

    def __repr__(self) -> str:
        return f"Looks({len(self.kinds):,} classes, {len(self.ways):,} ways, {self.scenes.shape[1]:,} features)"


def draw_looks(
    groups: dict[str, np.ndarray], counts: np.ndarray, dim: int, signal: SyntheticSignal, rng: np.random.Generator
) -> Looks:
    """Draw scenes and the ways in which each class looks: 4 for a head class, 3 for a medium, 2 for a tail one.

    A pair in motion of two groups has the ways of the smaller class, as a way of one alone would tell them apart.

    Args:
        groups: The classes of "head" and "tail".
        counts: (C,) the training videos of each class.
        dim: D.
        signal: How frames show classes.
        rng: The source of all draws.
    """
    num_classes = len(counts)
    num_ways = np.full(num_classes, 3)
    num_ways[groups["head"]], num_ways[groups["tail"]] = 4, 2
    first_way = np.concatenate([[0], np.cumsum(num_ways)])

    families = _directions(math.ceil(num_classes / CLASSES_OF_FAMILY), dim, rng)
    family = rng.integers(len(families), size=num_classes)
    classes = blend(families[family], _directions(num_classes, dim, rng), FAMILY_SHARE)
    ways = blend(_directions(first_way[-1], dim, rng), np.repeat(classes, num_ways, axis=0), WAY_SHARE)
    ways *= np.float32(strength(signal, dim))
    scenes = _directions(SCENES, dim, rng) * np.float32(signal.scene)

    pairs, kinds = pairs_of_kinds(counts, signal.cooccurrence, signal.motion)
    parts = np.repeat(ways[:, None], PARTS if len(pairs) else 1, axis=1)
    words = _directions(WORDS, dim, rng) if len(pairs) else ways
    for one, other in pairs:
        number = max(num_ways[one], num_ways[other])
        draw = _word_pairs(number, words, rng) if kinds[one] == COOCCURRENCE else _cycles(number, dim, rng)
        for shown, looks in zip((one, other), draw, strict=True):
            parts[first_way[shown] : first_way[shown + 1]] = looks[: num_ways[shown]] * np.float32(
                strength(signal, dim)
            )
    # After all draws, so that every other class looks as it would without such a pair.
    in_motion = pairs[kinds[pairs[:, 0]] == MOTION]
    num_kept = num_ways.copy()
    num_kept[in_motion] = num_ways[in_motion].min(1, keepdims=True)
    is_kept = np.arange(first_way[-1]) < np.repeat(first_way[:-1] + num_kept, num_ways)
    return Looks(scenes, parts[is_kept], np.concatenate([[0], np.cumsum(num_kept)]), kinds)


def pairs_of_kinds(counts: np.ndarray, cooccurrence: float, motion: float) -> tuple[np.ndarray, np.ndarray]:
    """Select pairs of classes that are not plain, evenly along the tail: pairs (n, 2), and the kind of each class (C,).

    The classes of a pair are neighbours in the order of training videos.
    """
    order = np.argsort(-counts, kind="stable")
    pairs = order[: len(order) // 2 * 2].reshape(-1, 2)
    chosen = pairs[_even_share(len(pairs), cooccurrence + motion)]
    kinds = np.full(len(counts), PLAIN)
    if len(chosen):
        kinds[chosen] = COOCCURRENCE
        kinds[chosen[_even_share(len(chosen), motion / (cooccurrence + motion))]] = MOTION
    return chosen, kinds


def _even_share(number: int, share: float) -> np.ndarray:
    """Whether each of ``number`` things is chosen, evenly along them: (number,) bool."""
    chosen: np.ndarray = np.diff(np.floor(np.arange(number + 1) * share + 0.5)) > 0
    return chosen


def _word_pairs(number: int, words: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The ways (number, P, D) of two classes, which pair the same four words differently."""
    four = np.stack([rng.choice(len(words), 4, replace=False) for _ in range(number)])
    a, b, c, d = (words[column] for column in four.T)
    half = np.float32(math.sqrt(0.5))
    # Frames draw one of the first two parts.
    return half * np.stack([a + b, c + d, a + b], 1), half * np.stack([a + d, c + b, a + d], 1)


def _cycles(number: int, dim: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The ways (number, P, D) of two classes that go through the same looks in opposite directions."""
    shared = _directions(PARTS, dim, rng)
    own = _directions(number * PARTS, dim, rng).reshape(number, PARTS, dim)
    ways = blend(own, shared[None], WAY_SHARE)
    return ways, ways[:, ::-1]


def frames_of_video(
    length: int,
    shown: np.ndarray,
    looks: Looks,
    signal: SyntheticSignal,
    feature_std: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Make the frames (n, D) float32 of a video.

    Args:
        length: n.
        shown: The classes that the frames show.
        looks: The looks of scenes and classes.
        signal: How frames show classes.
        feature_std: Standard deviation of the noise in a feature.
        rng: The source of all draws.
    """
    dim = looks.scenes.shape[1]
    frames = rng.standard_normal((length, dim), dtype=np.float32)
    if signal.correlation:
        _correlate(frames, signal.correlation)
    before, after = rng.integers(len(looks.scenes), size=2)
    change = rng.integers(1, 2 * length)  # half of the videos stay in their first scene
    frames[:change] += looks.scenes[before]
    frames[change:] += looks.scenes[after]
    for label in shown:
        way = rng.integers(looks.first_way[label], looks.first_way[label + 1])
        num_shown = max(1, round(length * rng.uniform(*signal.informative)))
        where = _shown_frames(length, num_shown, signal.burst_frames, rng)
        own = rng.standard_normal(dim, dtype=np.float32) * np.float32(strength(signal, dim))
        parts = looks.ways[way]
        shows = _parts_shown(where, int(looks.kinds[label]), rng)
        frames[where] += blend(own, parts[shows], signal.video_share)
    frames -= np.float32(THRESHOLD)
    frames *= np.float32(feature_std)
    return np.maximum(frames, 0, out=frames)


def _correlate(noise: np.ndarray, correlation: float) -> None:
    """Make white noise (n, D) an autoregressive process with the same variance, in place."""
    noise[1:] *= np.float32(math.sqrt(1 - correlation**2))
    for step in range(1, len(noise)):
        noise[step] += np.float32(correlation) * noise[step - 1]


def _shown_frames(
    length: int, num_shown: int, burst_frames: tuple[int, int] | None, rng: np.random.Generator
) -> np.ndarray:
    """The frames that show a label, rising: in one burst, or in bursts of log-uniform length at random places.

    Bursts never overlap, but two may meet, and then they are one run of frames.
    """
    if burst_frames is None:
        return rng.integers(length - num_shown + 1) + np.arange(num_shown)
    low, high = np.log(burst_frames)
    bursts: list[int] = []
    while (missing := num_shown - sum(bursts)) > 0:
        bursts.append(min(missing, max(1, round(math.exp(rng.uniform(low, high))))))
    others_before = np.sort(rng.integers(length - num_shown + 1, size=len(bursts)))
    return np.repeat(others_before, bursts) + np.arange(num_shown)


def _parts_shown(where: np.ndarray, kind: int, rng: np.random.Generator) -> np.ndarray | int:
    """The part of a way that each frame shows."""
    if kind == PLAIN:
        return 0
    if kind == COOCCURRENCE:
        return rng.integers(2, size=len(where))
    return (where + rng.integers(PARTS)) % PARTS


def strength(signal: SyntheticSignal, dim: int) -> float:
    """The standard deviation of a class's look. Fewer features separate fewer classes, so they get a stronger one."""
    return signal.signal * math.sqrt(128 / dim)


def blend(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """A mixture with a share of the variance from the first and the rest from the second."""
    return np.float32(math.sqrt(share)) * first + np.float32(math.sqrt(1 - share)) * second


def _directions(count: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((count, dim), dtype=np.float32)
