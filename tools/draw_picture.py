"""Draw docs/picture.svg: the AP of each class of the demo set against its number of training videos.

`make picture` runs it. The same report and the same matplotlib give the same bytes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import vltr_eval
from vltr_eval import plot
from vltr_eval.plot.output import figure_of
from vltr_eval.plot.style import add_title, set_width
from vltr_eval.program.demo import make_demo

SCALE = 0.1  # of `make demo`, so that the picture and the table of the README show the same numbers
WIDTH, HEIGHT = 5.5, 2.8  # inches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "picture.svg")
    out = parser.parse_args().out
    out.write_text(draw_picture(), encoding="ascii", newline="\n")


def draw_picture() -> str:
    """Evaluate the demo set and return the SVG as text."""
    demo = make_demo(SCALE)
    report = vltr_eval.evaluate(demo.scores, demo.labels, sap=None, train_counts=demo.train_counts)
    ax = plot.ap_by_train_count(report)
    ax.set_xlabel("training videos of the class")
    figure = figure_of(ax)
    set_width(figure, WIDTH)
    figure.set_figheight(HEIGHT)
    add_title(figure, f"AP of each class; the mean, mAP, is {report.metrics()['mAP']:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "picture.svg")
        plot.save(figure, path)
        return path.read_text(encoding="ascii")


if __name__ == "__main__":
    main()
