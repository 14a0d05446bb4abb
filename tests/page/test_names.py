"""Class names are data: they are shown whole, and none can change the page."""

from __future__ import annotations

import pytest
from pages import HOSTILE_NAMES, hostile_names


@pytest.mark.parametrize("name", ["hostile", "systems"])
@pytest.mark.parametrize("width", [360, 1440])
def test_no_name_becomes_markup(open_page, name, width):
    page = open_page(name, width=width)
    for c in range(len(HOSTILE_NAMES)):
        page.evaluate(f"location.hash = '#class={c}'")
        page.locator(f'.panel[data-shown="{c}"]').wait_for()
        assert page.evaluate("globalThis.hacked === undefined")
        assert page.locator("#app img, #app script, #app b b, #app i").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        panel = page.locator(".panel")
        assert panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth")


def test_names_are_shown_whole(open_page):
    page = open_page("hostile")
    for c in (0, 1, 2, 3, 5, 6, 7, 13):
        page.evaluate(f"location.hash = '#class={c}'")
        page.locator(f'.panel[data-shown="{c}"]').wait_for()
        assert page.locator(".panel h2").evaluate("head => head.textContent") == HOSTILE_NAMES[c]
    names = page.eval_on_selector_all(".class-table tbody bdi.name", "all => all.map(n => [n.textContent, n.title])")
    assert [text for text, _ in names[:4]] == list(HOSTILE_NAMES[:4])
    assert all(text == title for text, title in names)


def test_hidden_characters_are_visible(open_page):
    page = open_page("hostile")
    names = page.eval_on_selector_all(".class-table tbody bdi.name", "all => all.map(n => n.textContent)")
    assert names[9] == "tricky [U+202E]gnp.exe"
    assert names[10] == "isolate [U+2066]never ended"
    assert names[11] == "tab[U+0009]line[U+000A]null[U+0000]bell[U+0007][U+007F][U+009B]"
    assert names[12] == "separators [U+2028] and [U+2029]"


def test_names_of_either_direction_are_isolated(open_page):
    page = open_page("hostile")
    directions = page.eval_on_selector_all(
        ".class-table tbody bdi.name",
        "all => all.map(n => [getComputedStyle(n).direction, getComputedStyle(n).unicodeBidi])",
    )
    assert directions[7] == ["rtl", "isolate"]
    assert directions[0] == ["ltr", "isolate"]


def test_long_names_keep_the_table_narrow(open_page):
    page = open_page("hostile")
    for box in page.locator(".class-table tbody bdi.name").all():
        assert box.bounding_box()["width"] < 320
    assert len(hostile_names()[6]) == 300


def test_names_of_prototypes_are_only_names(open_page):
    page = open_page("hostile")
    page.get_by_role("searchbox").fill("__proto__")
    assert page.locator(".class-table tbody tr").count() == 1
    page.get_by_role("searchbox").fill("constructor")
    assert page.locator(".class-table tbody tr").count() == 1
