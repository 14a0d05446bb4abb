"""A small real data set: how characters are drawn, and the components that each contains.

    python experiments/pen_strokes.py DIR [--seed 0]

The package kanjivg (KanjiVG by Ulrich Apel, CC BY-SA 3.0, https://kanjivg.tagaini.net) holds the pen strokes of 6,422
Chinese characters of Japanese in their order of writing, and marks the components of each. A character is a video
here: its frames are points at equal distances along the pen's path, in the order of writing. Its labels are the
components, at every depth. So a video has several labels, a class is in a stretch of the frames at any position and
size, and the frequencies of classes are those of the script: a long tail that nobody made.

The strokes are drawn models of each character, one each, and not the hand of many writers. The features are a fixed
random layer of a few geometric numbers, and not those of a trained network.
"""

from __future__ import annotations

import argparse
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from svg.path import CubicBezier, parse_path

from vltr_train.data.dataset import DatasetLists
from vltr_train.data.frame_store import FrameStore, StoreWriter
from vltr_train.data.label_lists import LabelList

__all__ = ["Character", "characters", "make_pen_strokes"]

FRAMES = 60
DIM = 64
LEAST = 20  # characters of a class
SHARES = {"train": 0.2, "validate": 0.15, "test": 0.2}
"""Of all characters. With three times as many in training the nonlinear baseline does not overfit: its training minus
test mAP was .06 after 60 epochs, so that no claim about a regulariser could be tested."""
BOUNDS = (30, 8)  # of head and tail, in training videos
REACH = 4  # points before and after a frame that describe it
_BOX = 109  # the side of a character's square, in units of the drawings
_CURVE = np.linspace(0, 1, 17)[1:, None]  # where a curve is cut into straight pieces
_KVG = "{http://kanjivg.tagaini.net}"


class Character(NamedTuple):
    """One character.

    Attributes:
        name: The character.
        strokes: The points of each stroke's path, (points, 2) float64, in units of the drawing's side.
        components: The names of the components, sorted.
    """

    name: str
    strokes: tuple[np.ndarray, ...]
    components: tuple[str, ...]


def characters() -> Iterator[Character]:
    """Read the characters of the package kanjivg, in the order of their code points.

    Yields:
        The Chinese characters that have a component; variants of drawing, other scripts and signs are left out.
    """
    try:
        paths = [path for path in files("kanjivg") or () if path.suffix == ".svg" and "-" not in path.stem]
    except PackageNotFoundError:
        raise SystemExit(
            "pen_strokes: the package kanjivg is missing; run `make compare`, or pip install kanjivg"
        ) from None
    for path in sorted(paths, key=lambda path: int(path.stem, 16)):
        if int(path.stem, 16) >= 0x3400:
            character = _read(Path(str(path.locate())))
            if character.components:
                yield character


def _read(path: Path) -> Character:
    name = chr(int(path.stem, 16))
    root = ElementTree.parse(path).getroot()
    components = {group.get(f"{_KVG}element") for group in root.iter()} - {None, name}
    strokes = [_points(str(path.get("d"))) for path in root.iter("{http://www.w3.org/2000/svg}path")]
    return Character(name, tuple(strokes), tuple(sorted(map(str, components))))


def _points(path: str) -> np.ndarray:
    """The points of a stroke's path, which is made of cubic Bezier curves."""
    curves = [part for part in parse_path(path) if isinstance(part, CubicBezier)]
    pieces = [np.array([[curves[0].start]])]
    for curve in curves:
        a, b, c, d = curve.start, curve.control1, curve.control2, curve.end
        t, s = _CURVE, 1 - _CURVE
        pieces.append(a * s**3 + 3 * b * s**2 * t + 3 * c * s * t**2 + d * t**3)
    points = np.concatenate(pieces)[:, 0]
    return np.stack([points.real, points.imag], 1) / _BOX


def describe(strokes: Sequence[np.ndarray], num_frames: int = FRAMES) -> np.ndarray:
    """Describe points at equal distances along the pen's path.

    Args:
        strokes: The points of each stroke, (points, 2) float64.
        num_frames: T.

    Returns:
        (T, 6 + 4 x REACH) float64: of each frame the place in the square, from -1 to 1; the direction of the pen; how
        much of the stroke is drawn, and whether it is the end of a stroke; and the places of the REACH points before
        and after, seen from the frame.
    """
    lengths = np.array([np.linalg.norm(np.diff(stroke, axis=0), axis=1).sum() for stroke in strokes])
    ends = np.cumsum(lengths)
    at = (np.arange(num_frames) + 0.5) / num_frames * ends[-1]
    stroke = np.minimum(np.searchsorted(ends, at, side="right"), len(strokes) - 1)
    drawn = at - (ends - lengths)[stroke]
    points, ahead = (
        np.stack([_along(strokes[k], d + step) for k, d in zip(stroke, drawn, strict=True)]) for step in (0.0, 0.01)
    )
    direction = ahead - points
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
    is_last = np.append(stroke[1:] != stroke[:-1], True)
    padded = np.pad(points, ((REACH, REACH), (0, 0)), mode="edge")
    steps = [step for step in range(2 * REACH + 1) if step != REACH]
    around = np.concatenate([padded[step : step + num_frames] - points for step in steps], 1)
    share = drawn / np.maximum(lengths[stroke], 1e-9)
    return np.concatenate([2 * points - 1, direction, share[:, None], is_last[:, None], around], 1)


def _along(stroke: np.ndarray, distance: float) -> np.ndarray:
    """The point (2,) of a stroke at a distance from its start."""
    pieces = np.linalg.norm(np.diff(stroke, axis=0), axis=1)
    reached = np.concatenate([[0], np.cumsum(pieces)])
    if distance > reached[-1]:  # straight on, for the direction at the end
        return stroke[-1] + (stroke[-1] - stroke[-2]) / max(pieces[-1], 1e-9) * (distance - reached[-1])
    return np.array([np.interp(distance, reached, stroke[:, axis]) for axis in (0, 1)])


def random_layer(size: int, dim: int = DIM) -> tuple[np.ndarray, np.ndarray]:
    """Draw the weights (size, D) and biases (D,) of the layer that makes features, the same for every data set."""
    draw = np.random.default_rng(2004)
    return draw.normal(0, size**-0.5, (size, dim)), draw.normal(0, 0.3, dim)


def make_pen_strokes(folder: str | os.PathLike[str], *, seed: int = 0) -> None:
    """Write the data set, to be opened by `vltr_train.open_dataset`.

    Args:
        folder: A new folder, or one that holds the set of this seed already.
        seed: The seed of the split into training, validation and test videos. The frames do not depend on it.
    """
    every = list(characters())
    counts: dict[str, int] = {}
    for character in every:
        for component in character.components:
            counts[component] = counts.get(component, 0) + 1
    names = sorted((name for name, count in counts.items() if count >= LEAST), key=lambda name: (-counts[name], name))
    class_of = {name: number for number, name in enumerate(names)}
    kept = [character for character in every if class_of.keys() & set(character.components)]
    ids = [f"U{ord(character.name):05X}" for character in kept]
    labels = [sorted(class_of[name] for name in character.components if name in class_of) for character in kept]
    order = np.random.default_rng(seed).permutation(len(kept))
    stops = np.round(np.cumsum(list(SHARES.values())) * len(kept)).astype(int)
    lists = {
        split: LabelList.from_lists([ids[row] for row in rows], [labels[row] for row in rows], len(names))
        for split, rows in zip(SHARES, np.split(order, stops), strict=False)  # the rest is left out
    }
    if not FrameStore.is_at(folder):
        _write_frames(folder, kept, ids)
    DatasetLists("pen-strokes", BOUNDS, tuple(names), **lists).write(folder)


def _write_frames(folder: str | os.PathLike[str], kept: Sequence[Character], ids: Sequence[str]) -> None:
    described = np.stack([describe(character.strokes) for character in kept])
    described = (described - described.mean((0, 1))) / described.std((0, 1))
    weights, biases = random_layer(described.shape[-1])
    features = np.maximum(described @ weights + biases, 0).astype(np.float32)
    with StoreWriter(folder, ids, [FRAMES] * len(kept), DIM, "float16") as writer:
        writer.fill(features.__getitem__)
        writer.finish()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", metavar="DIR", help="a new folder for the data set")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the split")
    chosen = parser.parse_args(arguments)
    make_pen_strokes(chosen.folder, seed=chosen.seed)


if __name__ == "__main__":
    main()
