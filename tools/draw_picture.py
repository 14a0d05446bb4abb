"""Draw docs/picture.svg, the AP of each class of the demo set, and docs/_static/figures.png, figures of all kinds.

`make picture` runs it. The same report and the same matplotlib give the same bytes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import vltr_eval
from vltr_eval import plot
from vltr_eval.plot.output import figure_of
from vltr_eval.plot.style import add_axes, add_title, new_figure, set_width
from vltr_eval.program.demo import Skill, make_demo, planted_scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALE = 0.1  # of `make demo`, so that the picture and the table of the README show the same numbers
OVERVIEW_SCALE = 0.3
WIDTH, HEIGHT = 5.5, 2.8  # inches


DOCS = Path(__file__).parents[1] / "docs"
BALANCED = Skill(base=3.3, slope=0.12)  # of the second system: better in the tail, worse in the head


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of both (default: docs)")
    out = parser.parse_args().out
    (out / "_static").mkdir(parents=True, exist_ok=True)
    (out / "picture.svg").write_text(draw_picture(), encoding="ascii", newline="\n")
    plot.save(draw_overview(), out / "_static" / "figures.png", dpi=130)


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


def draw_overview() -> Figure:
    """Draw figures of two planted systems: six functions of `vltr_eval.plot` on axes of one figure."""
    demo = make_demo(OVERVIEW_SCALE)
    counts = demo.train_counts
    bias = np.log(counts / counts.sum())
    skill = BALANCED.of_classes(counts)
    other = planted_scores(demo.labels, len(counts), skill, bias=bias)
    systems = {"plain": demo.scores, "balanced": other}
    reports = {
        name: vltr_eval.evaluate(scores, demo.labels, train_counts=counts, sap="exact", interval=0.95)
        for name, scores in systems.items()
    }
    table = vltr_eval.rank_table(demo.scores, demo.labels)
    found = vltr_eval.compare(*systems.values(), labels=demo.labels, train_counts=counts, names=list(systems))
    middle = np.argsort(counts)[[5, len(counts) // 2, -3]]
    with new_figure(6.4) as figure:
        set_width(figure, 7.0)
        axes = [add_axes(figure, 3, 2, number) for number in range(1, 7)]
        plot.ap_by_train_count(reports["plain"], ax=axes[0])
        plot.group_bars(reports, ax=axes[1])
        plot.precision_recall(table, middle.tolist(), ax=axes[2])
        plot.class_scatter(found, ax=axes[3])
        plot.group_outcomes(found, ax=axes[4])
        plot.head_tail_trade(found, ax=axes[5])
    return figure


if __name__ == "__main__":
    main()
