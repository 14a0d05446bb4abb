"""Charts: the pointer and the keys name a class, click and Enter open it."""

from __future__ import annotations

import numpy as np
import pytest
from pages import document_in

import vltr_eval


def chart(page, title: str):
    return page.locator("figure.chart").filter(has=page.get_by_role("heading", name=title, exact=True))


def place_of(page, title: str, c: int) -> dict[str, float]:
    """Return where a class is drawn, found by arrow keys: they move in the order of x."""
    classes = document_in(page)["report"]["classes"]
    drawn = [c for c in range(len(classes["AP"])) if classes["AP"][c] is not None]
    order = sorted(drawn, key=lambda c: (classes["train_count"][c], c))
    box = chart(page, title).locator(".plot")
    box.focus()
    page.keyboard.press("Home")
    for _ in range(order.index(c)):
        page.keyboard.press("ArrowRight")
    return box.locator(".ring").evaluate(
        "ring => { const box = ring.getBoundingClientRect();"
        " return {x: box.x + box.width / 2, y: box.y + box.height / 2} }"
    )


def test_the_pointer_names_a_class_and_a_click_opens_it(open_page):
    page = open_page("report")
    place = place_of(page, "AP by training count", 12)
    page.keyboard.press("Escape")
    tip = chart(page, "AP by training count").locator(".tip")
    assert not tip.is_visible()
    page.mouse.move(place["x"] + 2, place["y"])
    classes = document_in(page)["report"]["classes"]
    text = tip.inner_text()
    assert text.startswith("activity 12")
    assert f"{classes['AP'][12]:.4f}" in text
    assert f"{classes['train_count'][12]:,}" in text
    page.mouse.click(place["x"], place["y"])
    assert page.locator(".panel h2").inner_text() == "activity 12"
    assert page.evaluate("location.hash") == "#class=12"


def test_keys_move_from_class_to_class_aloud(open_page):
    page = open_page("report")
    box = chart(page, "AP by training count").locator(".plot")
    box.focus()
    page.keyboard.press("Home")
    classes = document_in(page)["report"]["classes"]
    order = sorted((c for c in range(90) if classes["AP"][c] is not None), key=lambda c: (classes["train_count"][c], c))
    said = page.get_by_role("status")
    assert said.inner_text().startswith(f"activity {order[0]:02d}: AP {classes['AP'][order[0]]:.4f}")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert said.inner_text().startswith(f"activity {order[2]:02d}")
    page.keyboard.press("End")
    assert said.inner_text().startswith(f"activity {order[-1]:02d}")
    page.keyboard.press("Enter")
    assert page.locator(".panel h2").inner_text() == f"activity {order[-1]:02d}"
    page.keyboard.press("Escape")
    assert not page.locator(".panel").is_visible()
    assert box.evaluate("box => box === document.activeElement")


def test_lines_are_read_by_keys(open_page):
    page = open_page("report")
    chart(page, "Distribution of AP").locator(".plot").focus()
    page.keyboard.press("End")
    assert page.get_by_role("status").inner_text() == "AP up to 1.00: head 100 %, medium 100 %, tail 100 %"
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("status").inner_text().startswith("AP up to 0.99")


def test_the_distribution_counts_classes(open_page):
    page = open_page("report")
    classes = document_in(page)["report"]["classes"]
    chart(page, "Distribution of AP").locator(".plot").focus()
    for key in ("Home", *["PageUp"] * 5):
        page.keyboard.press(key)
    tail = [ap for ap, group in zip(classes["AP"], classes["group"], strict=True) if group == "tail" and ap is not None]
    share = f"{100 * sum(ap <= 0.5 for ap in tail) / len(tail):.1f}".removesuffix(".0")
    assert f"tail {share} %" in page.get_by_role("status").inner_text()


AGAINST = "AP of \u2068focal\u2069 against \u2068bce\u2069"


@pytest.mark.parametrize("title", [AGAINST, "Differences in order", "Difference by training count"])
def test_charts_of_comparisons_open_classes(open_page, title):
    page = open_page("comparison")
    chart(page, title).locator(".plot").focus()
    page.keyboard.press("End")
    assert "difference" in page.get_by_role("status").inner_text()
    page.keyboard.press("Enter")
    assert page.locator(".panel").is_visible()


def test_charts_of_comparisons_name_the_systems(open_page):
    page = open_page("comparison")
    names = "\u2068focal\u2069", "\u2068bce\u2069"
    labels = chart(page, AGAINST).locator("text.label").all_text_contents()
    assert set(labels) == {f"AP of {name}" for name in names}
    for title in ("Trade between groups: mAP", "Differences in order", "Difference by training count"):
        assert " minus ".join(names) in chart(page, title).locator("text.label").all_text_contents()
    chart(page, AGAINST).locator(".plot").focus()
    page.keyboard.press("End")
    told = page.get_by_role("status").inner_text()
    assert all(f"{name} 0." in told for name in names)


def test_long_names_of_systems_differ_in_charts(open_page, files, tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.random((60, 4)) < 0.5
    names = [f"{'runs/' * 20}\u202e{seed} seed" for seed in range(2)]
    scores = [rng.random((60, 4)) for _ in names]
    files["long"] = tmp_path / "long.html"
    vltr_eval.compare(*scores, labels=labels, names=names).to_html(files["long"])
    page = open_page("long", width=360)
    against = page.locator(".chart").filter(has_text="Classes above the diagonal")
    # The character that turns the text around is shown as text.
    wanted = {f"AP of \u2068runs/runs/\u20262E]{seed} seed\u2069" for seed in range(2)}
    assert set(against.locator("text.label").all_text_contents()) == wanted
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize(("lift", "is_drawn"), [(0.0, True), (30.0, False)])
def test_a_dashed_diagonal_is_explained(open_page, files, tmp_path, lift, is_drawn):
    rng = np.random.default_rng(0)
    labels = rng.random((60, 4)) < 0.3
    files["diagonal"] = tmp_path / "diagonal.html"
    scores = rng.normal(size=(60, 4)) + lift * labels
    vltr_eval.evaluate(scores, labels, sap="exact").to_html(files["diagonal"])
    figure = chart(open_page("diagonal"), "SAP by AP")
    assert figure.locator("path.guide").count() == is_drawn
    assert ("On the dashed line both are equal." in figure.inner_text()) == is_drawn


@pytest.mark.parametrize("name", ["comparison", "own_groups"])
def test_bands_are_those_of_the_training_counts(open_page, name):
    bands = chart(open_page(name), "Difference by training count").locator("rect.band")
    places = bands.evaluate_all("all => all.map((band) => [+band.getAttribute('x'), +band.getAttribute('width')])")
    head, medium, tail = places
    assert tail[0] < medium[0] < head[0]
    assert [medium[0], head[0]] == pytest.approx([tail[0] + tail[1], medium[0] + medium[1]])


def test_reports_without_training_counts_use_positives(open_page):
    page = open_page("bare")
    assert chart(page, "AP by number of positives").is_visible()
    assert page.get_by_role("heading", name="AP by training count").count() == 0


def test_learning_curves_are_read_by_epoch(open_page):
    page = open_page("training")
    run = document_in(page)["training"]["runs"][0]
    chart(page, "validate mAP").locator(".plot").focus()
    page.keyboard.press("End")
    last = {name: values[-1] for name, values in run["columns"].items()}
    wanted = [
        f"{group} {last[f'validate_mAP{part}']:.4f}"
        for group, part in (("overall", ""), ("head", "_head"), ("medium", "_medium"), ("tail", "_tail"))
    ]
    assert page.get_by_role("status").inner_text() == f"epoch 20: {', '.join(wanted)}"


def test_runs_share_a_chart(open_page):
    page = open_page("runs")
    assert chart(page, "loss").locator(".line").count() == 3
    assert chart(page, "validate mAP tail").locator(".line").count() == 3
    assert "bce seed 2" in chart(page, "loss").locator(".legend").inner_text()


def test_dots_are_sharp(open_page):
    page = open_page("report")
    for canvas in page.locator("canvas").all():
        assert canvas.evaluate("canvas => canvas.width / canvas.clientWidth") >= 2
