"""The panel of a class: permalink, focus, curve, threshold, rows that are most wrong."""

from __future__ import annotations

import numpy as np
import pytest
from pages import document_in, planted

import vltr_eval


def test_a_link_opens_a_class(open_page):
    page = open_page("report", hash="#class=17")
    assert page.locator(".panel h2").inner_text() == "activity 17"


@pytest.mark.parametrize("hash", ["#class=90", "#class=-1", "#class=x", "#class=1e9", "#groups"])
def test_other_addresses_open_none(open_page, hash):
    page = open_page("report", hash=hash)
    assert not page.locator(".panel").is_visible()


def test_escape_closes_and_the_focus_returns(open_page):
    page = open_page("report")
    link = page.get_by_role("link", name="activity 05", exact=True)
    link.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#class=5"
    assert page.evaluate("document.activeElement.textContent") == "activity 05"
    page.keyboard.press("Escape")
    assert not page.locator(".panel").is_visible()
    assert page.evaluate("location.hash") == ""
    assert link.evaluate("link => link === document.activeElement")


def test_the_arrows_follow_the_order_of_the_table(open_page):
    page = open_page("report")
    page.get_by_role("button", name="worst", exact=True).click()
    first = page.locator(".class-table tbody a").first
    names = page.locator(".class-table tbody a").all_inner_texts()
    first.click()
    assert page.get_by_role("button", name="Previous class").is_disabled()
    page.get_by_role("button", name="Next class").click()
    assert page.locator(".panel h2").inner_text() == names[1]
    page.get_by_role("button", name="Next class").click()
    assert page.locator(".panel h2").inner_text() == names[2]


def test_a_narrow_screen_has_the_panel_alone(open_page):
    page = open_page("report", width=360, hash="#class=3")
    assert page.locator(".page").evaluate("page => page.inert")
    assert page.locator(".panel").get_attribute("aria-modal") == "true"
    assert page.locator(".panel").bounding_box()["width"] == 360
    page.get_by_role("button", name="Close the panel").click()
    assert not page.locator(".page").evaluate("page => page.inert")


def readout(page) -> dict[str, str]:
    return dict(
        page.eval_on_selector_all(
            ".readout > div", "all => all.map(e => [e.children[0].innerText, e.children[1].innerText])"
        )
    )


def test_the_threshold_moves_by_keys_along_the_curve(open_page):
    page = open_page("report", hash="#class=2")
    data = planted()
    curve = vltr_eval.precision_recall_curve(data["scores"], data["labels"])[2]
    slider = page.get_by_role("slider", name="Threshold")
    slider.focus()
    page.keyboard.press("Home")
    shown = readout(page)
    first = {key: float(shown[key]) for key in ("precision", "recall")}
    assert np.isclose(first["recall"], curve.recall[0], atol=1e-4)
    assert np.isclose(first["precision"], curve.precision[0], atol=1e-4)
    assert np.isclose(float(shown["threshold"]), curve.thresholds[0], rtol=1e-5)
    page.keyboard.press("End")
    shown = readout(page)
    assert shown["recall"] == "1.0000"
    assert np.isclose(float(shown["precision"]), curve.precision[-1], atol=1e-4)
    positives = int(data["labels"][:, 2].sum())
    assert shown["true positives"] == f"{positives} of {positives}"


def test_the_panel_begins_at_the_largest_f1(open_page):
    page = open_page("report", hash="#class=2")
    data = planted()
    curve = vltr_eval.precision_recall_curve(data["scores"], data["labels"])[2]
    p, r = np.array(curve.precision), np.array(curve.recall)
    assert np.isclose(float(readout(page)["F1"]), (2 * p * r / (p + r)).max(), atol=2e-4)


def test_the_pointer_moves_the_threshold(open_page):
    page = open_page("report", hash="#class=2")
    box = page.locator(".panel figure .plot").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 16, box["y"] + box["height"] / 2)
    assert readout(page)["recall"] == "1.0000"


def test_the_rows_that_are_most_wrong_have_ids(open_page):
    page = open_page("report", hash="#class=2")
    data = planted()
    scores, labels = data["scores"][:, 2], data["labels"][:, 2]
    missed, false = page.locator(".panel .mistakes").all()
    positives, negatives = np.flatnonzero(labels), np.flatnonzero(~labels)
    for shown, rows in (
        (missed, positives[np.argsort(scores[positives], kind="stable")][:5]),
        (false, negatives[np.argsort(-scores[negatives], kind="stable")][:5]),
    ):
        assert shown.locator("bdi").all_inner_texts() == [f"clip_{row:05d}" for row in rows]
        texts = [float(text) for text in shown.locator(".value").all_inner_texts()]
        np.testing.assert_allclose(texts, scores[rows], rtol=1e-5)


def test_all_numbers_of_a_class_are_shown(open_page):
    page = open_page("report", hash="#class=4")
    classes = document_in(page)["report"]["classes"]
    shown = dict(
        page.eval_on_selector_all(
            ".numbers > div", "all => all.map(e => [e.dataset.key, e.children[1].innerText.replaceAll('\u2212', '-')])"
        )
    )
    assert list(shown) == [key for key in classes if key != "name"]
    assert shown["AP"] == f"{classes['AP'][4]:.4f}"
    assert shown["AP_low"] == f"{classes['AP_low'][4]:.4f}"


def test_a_class_without_positives_says_so(open_page):
    doc_page = open_page("report")
    (absent,) = document_in(doc_page)["report"]["absent_classes"]
    page = open_page("report", hash=f"#class={absent}")
    assert "no positive, so it has no curve" in page.locator(".panel").inner_text()
    assert "absent" in page.locator(".findings").inner_text().lower()


def test_a_page_without_details_says_so(open_page):
    page = open_page("bare", hash="#class=3")
    assert "The page has no curves" in page.locator(".panel").inner_text()
    assert page.locator(".panel h2").inner_text() == "class 3"


def test_comparisons_show_the_curves_of_all_systems(open_page):
    page = open_page("systems", hash="#class=30")
    panel = page.locator(".panel")
    assert panel.locator("figure").first.locator(".line").count() == 3
    before = readout(page)
    panel.get_by_role("button", name="reweighted").click()
    assert readout(page) != before
    assert panel.locator("tbody tr").count() == 2


def test_scores_close_to_zero_have_a_panel(open_page):
    page = open_page("tiny", hash="#class=0")
    assert page.locator(".panel svg").count() >= 2
