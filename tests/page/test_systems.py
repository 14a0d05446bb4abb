"""The table of the systems of a comparison has the values and marks of that in Markdown."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import vltr_eval

COUNTS = [900, 600, 300, 90, 8]
DAGGER = "\u2020"
NAMES = ["base", "a b <i>1</i>", "close \u202eby"]


def compared(runs: tuple[int, ...], names: list[str] = NAMES) -> vltr_eval.Comparison:
    """Return a comparison in which the last system is close to the best."""
    rng = np.random.default_rng(3)
    labels = rng.random((80, 5)) < [0.4, 0.3, 0.3, 0.2, 0.1]
    labels[0] = True
    shared = rng.normal(size=labels.shape)
    systems = [
        [(shared + 0.5 * rng.normal(size=labels.shape) + lift * labels).astype(np.float32) for _ in range(count)]
        for lift, count in zip((1.0, 1.6, 1.5), runs, strict=False)
    ]
    return vltr_eval.compare(*systems, labels=labels, train_counts=COUNTS, names=names[: len(runs)])


def markdown_lines(comparison: vltr_eval.Comparison) -> list[list[str]]:
    """Return the cells of the table of systems in Markdown, without its names."""
    table = comparison.to_markdown().split("### systems")[1].strip().split("\n\n")[0]
    head, _, *lines = table.split("\n")
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in (head.lstrip("| "), *lines)]


@pytest.fixture
def open_comparison(open_page, files, tmp_path):
    def opened(comparison: vltr_eval.Comparison, **options: Any) -> Any:
        files["own"] = tmp_path / "own.html"
        comparison.to_html(files["own"])
        return open_page("own", **options)

    return opened


@pytest.mark.parametrize("runs", [(1, 1, 1), (3, 2, 1)])
def test_the_values_and_marks_are_those_of_markdown(open_comparison, runs):
    comparison = compared(runs)
    page = open_comparison(comparison)
    head, *wanted = markdown_lines(comparison)
    headings = page.eval_on_selector_all("#systems thead th", "all => all.map(one => one.textContent)")
    assert headings == ["system", *head]
    shown = page.eval_on_selector_all(
        "#systems tbody tr",
        "rows => rows.map(row => [...row.querySelectorAll('td')].map("
        "cell => cell.querySelector('strong') ? `**${cell.textContent}**` : cell.textContent))",
    )
    assert shown == [cells for _, *cells in wanted]
    text = "".join(cell for cells in shown for cell in cells)
    assert "**" in text
    assert DAGGER in text
    assert ("\u00b1" in text) == (max(runs) > 1)
    note = page.locator("#systems .note").inner_text()
    assert "Bold: the highest value" in note
    assert f"{DAGGER}: not significantly lower than the highest value of its column at the level 95 %" in note
    assert ("\u00b1: the standard deviation" in note) == (max(runs) > 1)


def test_the_table_comes_first_and_names_lead_to_their_sections(open_comparison):
    page = open_comparison(compared((3, 2, 1)))
    assert page.locator("h1").inner_text() == "a b <i>1</i>, close [U+202E]by beside base"
    assert page.locator("section[aria-labelledby]").first.get_attribute("id") == "systems"
    names = page.locator("#systems tbody th").all_inner_texts()
    assert names == ["base (3 runs)", "a b <i>1</i> (2 runs)", "close [U+202E]by"]
    sections = page.eval_on_selector_all("section.system", "all => all.map(one => `#${one.id}`)")
    links = page.eval_on_selector_all("#systems tbody a", "all => all.map(one => one.getAttribute('href'))")
    in_bar = page.eval_on_selector_all(".bar nav a", "all => all.map(one => one.getAttribute('href'))")
    assert links == sections
    assert in_bar == ["#systems", *sections]


def test_many_columns_scroll_in_their_box(open_comparison):
    page = open_comparison(compared((3, 2, 1)), width=360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("#systems .scroll").evaluate("box => box.scrollWidth > box.clientWidth")


def test_one_system_beside_the_baseline_has_no_table_of_systems(open_comparison):
    page = open_comparison(compared((1, 1)))
    assert page.locator("#systems").count() == 0
    assert not re.search("Systems", page.locator(".bar").inner_text())
