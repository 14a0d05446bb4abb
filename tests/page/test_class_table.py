"""The table of all classes: order, search, presets, groups, pages and CSV."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from pages import document_in


def shown_classes(page) -> list[int]:
    return page.eval_on_selector_all(
        ".class-table tbody tr[data-class]", "rows => rows.map(row => Number(row.dataset.class))"
    )


def in_order(values: list, descending: bool) -> list[int]:
    """Return the classes by value: undefined ones last, equal ones in the order of classes."""
    known = [c for c, value in enumerate(values) if value is not None]
    missing = [c for c, value in enumerate(values) if value is None]
    return sorted(known, key=lambda c: (-values[c] if descending else values[c], c)) + missing


def test_columns_sort_and_say_so(open_page):
    page = open_page("report")
    values = document_in(page)["report"]["classes"]["AP"]
    for descending, word in ((True, "descending"), (False, "ascending")):
        page.click('.class-table thead button[data-key="AP"]')
        assert shown_classes(page) == in_order(values, descending)[:25]
        sorted_by = page.eval_on_selector_all(
            "thead th[aria-sort]:not([aria-sort=none])",
            "heads => heads.map(h => [h.querySelector('button').dataset.key, h.ariaSort])",
        )
        assert sorted_by == [["AP", word]]
    assert page.evaluate("document.activeElement.dataset.key") == "AP"


def test_names_sort_as_people_count(open_page):
    page = open_page("hostile")
    page.click('.class-table thead button[data-key="name"]')
    names = page.eval_on_selector_all(".class-table tbody th bdi", "names => names.map(n => n.textContent)")
    assert len(names) == 25
    assert "".join(names).isprintable()


def presets_of(classes: dict) -> dict[str, list]:
    widths = [
        None if low is None else high - low for low, high in zip(classes["AP_low"], classes["AP_high"], strict=True)
    ]
    return {
        "worst": in_order(classes["AP"], False),
        "best": in_order(classes["AP"], True),
        "most uncertain": in_order(widths, True),
        "most ties": in_order(classes["tie_rate"], True),
    }


@pytest.mark.parametrize("preset", ["worst", "best", "most uncertain", "most ties"])
def test_presets_show_the_extreme_classes(open_page, preset):
    page = open_page("report")
    page.get_by_role("button", name=preset, exact=True).click()
    assert shown_classes(page) == presets_of(document_in(page)["report"]["classes"])[preset][:25]
    assert page.get_by_role("button", name=preset, exact=True).get_attribute("aria-pressed") == "true"


def test_search_finds_names_and_indices(open_page):
    page = open_page("report")
    search = page.get_by_role("searchbox")
    search.fill("ACTIVITY 1")
    assert shown_classes(page) == list(range(10, 20))
    search.fill("33")
    assert shown_classes(page) == [33]
    search.fill("no such class")
    assert shown_classes(page) == []
    assert "No class fits" in page.locator(".class-table tbody").inner_text()


def test_a_group_is_chosen_for_table_and_charts(open_page):
    page = open_page("report")
    groups = document_in(page)["report"]["classes"]["group"]
    before = page.locator("#overview canvas").first.screenshot()
    page.get_by_role("button", name="tail").click()
    assert shown_classes(page) == [c for c, group in enumerate(groups) if group == "tail"][:25]
    assert page.locator("#overview canvas").first.screenshot() != before
    page.get_by_role("button", name="all", exact=False).first.click()
    assert shown_classes(page) == list(range(25))


def test_another_partition_of_the_classes_is_chosen(open_page):
    page = open_page("partitions")
    page.get_by_label("Partition of the classes").select_option("genus")
    buttons = page.locator(".groups button").all_inner_texts()
    assert [text.split() for text in buttons] == [["all", "90"], ["genus:birds", "30"], ["genus:fish", "30"]]
    page.get_by_role("button", name="genus:fish").click()
    assert shown_classes(page) == list(range(1, 75, 3))
    assert "by genus" in page.locator("#groups").inner_text()
    assert "genus:fish\n30" in page.locator("#overview .legend").first.inner_text()


def test_pages_turn(open_page):
    page = open_page("report")
    page.get_by_role("button", name="Next", exact=True).click()
    assert shown_classes(page) == list(range(25, 50))
    page.get_by_role("button", name="Last", exact=True).click()
    assert shown_classes(page)[-1] == 89
    assert page.get_by_role("button", name="Next", exact=True).is_disabled()
    page.get_by_label("Rows", exact=True).select_option("100")
    assert shown_classes(page) == list(range(90))


def test_columns_can_be_hidden_and_shown(open_page):
    page = open_page("report")
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("checkbox", name="Acc@1", exact=True).check()
    page.get_by_role("checkbox", name="ROC-AUC", exact=True).uncheck()
    heads = page.locator(".class-table thead").inner_text()
    assert "Acc@1" in heads
    assert "ROC-AUC" not in heads
    page.keyboard.press("Escape")
    assert not page.get_by_role("checkbox", name="Acc@1", exact=True).is_visible()


def downloaded(page) -> list[list[str]]:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="CSV of all classes").first.click()
    with Path(waiting.value.path()).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def check_csv(rows: list[list[str]], classes: dict) -> None:
    columns = {"class": list(range(len(rows) - 1)), **classes}  # reports on boxes have ids
    assert rows[0] == list(columns)
    for column, texts in zip(columns.values(), zip(*rows[1:], strict=True), strict=True):
        for value, text in zip(column, texts, strict=True):
            if isinstance(value, str):
                assert text == value
            elif value is None:
                assert text == ""
            else:
                assert float(text) == value  # in full precision


@pytest.mark.parametrize("name", ["report", "hostile", "bare", "boxes"])
def test_csv_has_all_numbers_of_the_report(open_page, name):
    page = open_page(name)
    check_csv(downloaded(page), document_in(page)["report"]["classes"])


def test_csv_has_all_numbers_of_the_comparison(open_page):
    page = open_page("comparison")
    check_csv(downloaded(page), document_in(page)["comparison"]["systems"]["focal"]["classes"])


@pytest.mark.parametrize(("preset", "descending"), [("largest drop", False), ("largest gain", True)])
def test_comparisons_have_presets_of_differences(open_page, preset, descending):
    page = open_page("comparison")
    page.get_by_role("button", name=preset).click()
    values = document_in(page)["comparison"]["systems"]["focal"]["classes"]["difference"]
    assert shown_classes(page) == in_order(values, descending)[:25]
    assert not math.isclose(values[shown_classes(page)[0]], 0)
