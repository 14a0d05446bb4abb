"""A small set in AVA's format, and a generator of random ones. Every rule of the protocols changes a number of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

LABELMAP = {12: "stand", 14: "walk", 17: "carry", 63: "write", 64: "fight", 80: "watch"}
# 79 is not in the label map, 14 is in the ground truth alone, 63 in the detections alone, 80 has ties.
GROUNDTRUTH = """\
film,0902,0.1,0.1,0.4,0.9,12,0
film,0902,0.5,0.1,0.9,0.9,12,1
film,0902,0.5,0.1,0.9,0.9,80,1
film,0902,0.1,0.1,0.4,0.9,14,0
film,0903,0.1,0.1,0.4,0.9,79,0
film,0904,0.1,0.1,0.4,0.9,12,0
film,0904,0.1,0.1,0.4,0.9,17,0
film,0905,0.2,0.2,0.6,0.7,80,0
film,0905,0.2,0.2,0.6,0.7,64,0
film,0906,0.1,0.1,0.4,0.9,12,0
film,0906,0.1,0.1,0.4,0.9,17,0
other,0902,0.3,0.3,0.7,0.9,17,0
other,0902,0.3,0.3,0.7,0.9,64,0
other,0902,0.3,0.3,0.7,0.9,80,0
"""
DETECTIONS = """\
film,0902,0.1,0.1,0.4,0.8,12,0.4
film,0902,0.1,0.1,0.4,0.9,12,0.9
film,0902,0.5,0.1,0.9,0.85,12,0.5
film,0902,0.5,0.1,0.9,0.9,80,0.6
film,0902,0.5,0.1,0.5,0.9,12,0.95
film,0903,0.1,0.1,0.4,0.9,12,0.85
film,0904,0.1,0.1,0.4,0.9,12,0.8
film,0904,0.1,0.1,0.4,0.9,17,0.75
film,0905,0.2,0.2,0.6,0.7,64,0.2
film,0905,0.2,0.2,0.6,0.7,80,0.6
film,0905,0.7,0.7,0.9,0.9,80,0.6
film,0905,0.7,0.7,0.9,0.9,63,0.3
film,0906,0.1,0.1,0.4,0.9,12,0.99
film,0906,0.1,0.1,0.4,0.9,17,0.98
film,0907,0.1,0.1,0.4,0.9,17,0.97
other,0902,0.3,0.3,0.7,0.9,17,0.4
other,0902,0.3,0.3,0.7,0.6,64,0.7
other,0902,0.3,0.3,0.7,0.59,80,0.1
"""
EXCLUDED = "film,0906\n"


def write_small(folder: Path) -> dict[str, str]:
    """Write the four files; return their paths by name: detections, groundtruth, exclude, labelmap."""
    return _write(folder, DETECTIONS, GROUNDTRUTH, EXCLUDED, LABELMAP)


def write_random(folder: Path, seed: int, levels: int | None = None) -> dict[str, str]:
    """Write random files: few frames, many overlaps, boxes without area; ``levels`` distinct scores or no ties."""
    rng = np.random.default_rng(seed)
    ids = [1, 2, 13, 14, 15, 40, 63, 64, 80][: rng.integers(2, 10)]
    grid = np.arange(11) / 10

    def frame() -> str:
        return f"{rng.choice(['film', 'other film'])},{rng.choice(['0902', '903', '904', '0905', '1000'])}"

    def corners() -> np.ndarray:
        if rng.random() < 0.8:
            return np.concatenate([rng.choice(grid[:4], 2), rng.choice(grid[-4:], 2)])
        return np.sort(rng.choice(grid, (2, 2)), axis=0).ravel()

    truth = [(frame(), corners(), int(rng.choice([*ids, 3, 79]))) for _ in range(rng.integers(1, 30))]
    truth.append((frame(), corners(), ids[0]))
    number = int(rng.integers(1, 70))
    scores = rng.permutation(number) / number if levels is None else rng.integers(0, levels, number) / levels
    detections = ""
    for score in scores:
        key, box, c = truth[rng.integers(len(truth))]
        if rng.random() < 0.4:
            key, box, c = frame(), corners(), int(rng.choice([*ids, 3, 79]))
        box = box + rng.choice([0, 0, 0.05, -0.05], 4)
        low, high = np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])
        if rng.random() < 0.1:
            high[0] = low[0]
        detections += f"{key},{','.join(f'{x:.4f}' for x in (*low, *high))},{c},{score:.6f}\n"
    groundtruth = "".join(f"{key},{','.join(map(str, box))},{c},1\n" for key, box, c in truth)
    excluded = "".join(f"{frame()}\n" for _ in range(rng.integers(3)))
    return _write(folder, detections, groundtruth, excluded, {c: f"act {c}" for c in ids})


def _write(folder: Path, detections: str, groundtruth: str, excluded: str, names: dict[int, str]) -> dict[str, str]:
    labelmap = "".join(f'item {{\n  name: "{name}"\n  id: {c}\n}}\n' for c, name in names.items())
    texts = {"detections": detections, "groundtruth": groundtruth, "exclude": excluded, "labelmap": labelmap}
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    return {name: str(folder / f"{name}.csv") for name in texts}
