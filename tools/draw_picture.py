"""Draw docs/picture.svg: the AP of each class of the demo set against its number of training videos.

`make picture` runs it. The standard library writes the SVG, so the same report always gives the same bytes. Colours and
text sizes are CSS in the file: a dark page gets the dark palette, and a narrow page gets larger text.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import vltr_eval
from vltr_eval.program.demo import make_demo

SCALE = 0.1  # of `make demo`, so that the picture and the table of the README show the same numbers
BOUNDS = (500, 100)  # head has more training videos than the first, tail at most the second

WIDTH, HEIGHT = 800, 450
LEFT, RIGHT, TOP, BOTTOM = 66, 786, 78, 382  # of the plot
COUNTS = (40, 2000)  # of the logarithmic axis

STYLE = """
text { font: 15px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #59636e; }
text.title { font-size: 17px; font-weight: 600; fill: #1f2328; }
text.name { font-size: 16px; font-weight: 600; }
.middle { text-anchor: middle; } .end { text-anchor: end; } .narrow { display: none; }
.page { fill: #ffffff; } .band { fill: #f3f5f8; }
circle { fill-opacity: 0.55; }
circle.head, text.head { fill: #0969da; } circle.medium, text.medium { fill: #1a7f37; }
circle.tail, text.tail { fill: #bc4c00; }
line { stroke: #d1d9e0; } line.mean { stroke-width: 3; } line.bound { stroke-dasharray: 4 4; }
line.head { stroke: #0969da; } line.medium { stroke: #1a7f37; } line.tail { stroke: #bc4c00; }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1; } text.title { fill: #e6edf3; } .page { fill: #0d1117; } .band { fill: #161b22; }
  circle { fill-opacity: 0.7; }
  circle.head, text.head { fill: #4493f8; } circle.medium, text.medium { fill: #3fb950; }
  circle.tail, text.tail { fill: #f0883e; }
  line { stroke: #3d444d; }
  line.head { stroke: #4493f8; } line.medium { stroke: #3fb950; } line.tail { stroke: #f0883e; }
}
@media (max-width: 560px) {
  text, text.name { font-size: 26px; } text.title { font-size: 28px; }
  .wide { display: none; } .narrow { display: inline; } circle { r: 5px; } line.mean { stroke-width: 5; }
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "picture.svg")
    out = parser.parse_args().out
    out.write_text(draw_picture(), encoding="ascii", newline="\n")


def draw_picture() -> str:
    """Evaluate the demo set and return the SVG as text."""
    demo = make_demo(SCALE)
    average_precision = vltr_eval.average_precision(demo.scores, demo.labels)
    report = vltr_eval.evaluate(demo.scores, demo.labels, train_counts=demo.train_counts, bounds=BOUNDS)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>AP of each class against its number of training videos</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" class="page"/>',
        *_axes(report.metrics()["mAP"]),
        *_points(demo.train_counts, average_precision),
        *_means(report),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _axes(mean: float) -> Iterator[str]:
    yield _text(LEFT, 32, f"AP of each class; the mean, mAP, is {mean:.2f}", "title")
    yield (
        f'<rect x="{_x(BOUNDS[1]):.1f}" y="{TOP}" width="{_x(BOUNDS[0]) - _x(BOUNDS[1]):.1f}" '
        f'height="{BOTTOM - TOP}" class="band"/>'
    )
    for step in range(5):
        value = step / 4
        yield _line(LEFT, RIGHT, _y(value), _y(value))
        yield _text(LEFT - 8, _y(value) + 6, f"{value:g}", "end" if step % 2 == 0 else "end wide")
    for count in (50, 100, 200, 500, 1000, 2000):
        label = "middle" if count in (100, 500) else "middle wide"
        yield _text(_x(count), BOTTOM + 25, f"{count:,}", label if count < COUNTS[1] else "end wide")
    for bound in BOUNDS:
        yield _line(_x(bound), _x(bound), TOP, BOTTOM, "bound")
    yield _text((LEFT + RIGHT) / 2, BOTTOM + 51, "training videos of the class (logarithmic)", "middle wide")
    yield _text((LEFT + RIGHT) / 2, BOTTOM + 57, "training videos of the class", "middle narrow")


def _points(train_counts: np.ndarray, average_precision: np.ndarray) -> Iterator[str]:
    for count, value in sorted(zip(train_counts.tolist(), average_precision.tolist(), strict=True)):
        if not math.isnan(value):
            yield f'<circle cx="{_x(count):.1f}" cy="{_y(value):.1f}" r="3" class="{_group(count)}"/>'


def _means(report: vltr_eval.Report) -> Iterator[str]:
    metrics = report.metrics()
    edges = {"tail": (COUNTS[0], BOUNDS[1]), "medium": (BOUNDS[1], BOUNDS[0]), "head": (BOUNDS[0], COUNTS[1])}
    for group, (low, high) in edges.items():
        mean = metrics[f"mAP_{group}"]
        yield _line(_x(low), _x(high), _y(mean), _y(mean), f"mean {group}")
        yield _text((_x(low) + _x(high)) / 2, TOP - 9, f"{group}: {mean:.2f}", f"name middle {group}")


def _group(count: int) -> str:
    return "head" if count > BOUNDS[0] else "tail" if count <= BOUNDS[1] else "medium"


def _x(count: float) -> float:
    low, high = COUNTS
    return LEFT + (RIGHT - LEFT) * math.log(count / low) / math.log(high / low)


def _y(value: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * value


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{text}</text>'


def _line(x0: float, x1: float, y0: float, y1: float, style: str = "") -> str:
    attribute = f' class="{style}"' if style else ""
    return f'<line x1="{x0:.1f}" x2="{x1:.1f}" y1="{y0:.1f}" y2="{y1:.1f}"{attribute}/>'


if __name__ == "__main__":
    main()
