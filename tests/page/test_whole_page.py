"""The page as a whole: widths, colours, copying, printing, accessibility, many classes."""

from __future__ import annotations

import io
import re
import sys

import pypdf
import pytest
from pages import document_in

PAGES = ["report", "bare", "boxes", "partitions", "hostile", "comparison", "systems", "training", "runs"]


@pytest.mark.parametrize("width", [360, 768, 1100, 1440])
@pytest.mark.parametrize("name", PAGES)
def test_pages_never_scroll_sideways(open_page, name, width):
    page = open_page(name, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if name not in ("training", "runs"):
        page.evaluate("location.hash = '#class=6'")
        page.wait_for_selector(".panel:not([hidden])")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("name", "table", "column"),
    [("report", "#groups", "mAP"), ("hostile", ".rows", "AP"), ("comparison", ".differences", "difference")],
)
def test_the_first_number_is_in_sight_on_a_phone(open_page, name, table, column):
    heading = open_page(name, width=360).locator(f"{table} th").filter(has_text=re.compile(f"^{column}$")).first
    box = heading.bounding_box()
    assert box["x"] + box["width"] <= 360


def background(page) -> str:
    return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")


def test_colours_follow_the_system_and_the_button(open_page):
    light, dark = open_page("report"), open_page("report", scheme="dark")
    assert background(light) != background(dark)
    assert light.locator("canvas").first.screenshot() != dark.locator("canvas").first.screenshot()
    button = dark.get_by_role("button", name="Colours: system")
    button.click()
    assert background(dark) == background(light)
    assert dark.locator("canvas").first.screenshot() == light.locator("canvas").first.screenshot()
    dark.get_by_role("button", name="Colours: light").click()
    dark.get_by_role("button", name="Colours: dark").click()
    assert background(dark) != background(light)


def test_the_signature_is_copied(open_page):
    page = open_page("report")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy signature").click()
    page.get_by_text("Copied", exact=True).wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == document_in(page)["report"]["signature"]


def test_the_signature_is_copied_without_a_clipboard(open_page):
    page = open_page("report")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.get_by_role("button", name="Copy signature").click()
    page.get_by_text("Copied", exact=True).wait_for()
    page.get_by_role("searchbox").focus()
    page.keyboard.press("Control+v")
    assert page.get_by_role("searchbox").input_value() == document_in(page)["report"]["signature"]


def pdf_text(page) -> tuple[int, str]:
    reader = pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True, print_background=True)))
    sizes = {(round(float(sheet.mediabox.width)), round(float(sheet.mediabox.height))) for sheet in reader.pages}
    assert sizes == {(595, 842)}  # A4 in points
    return len(reader.pages), " ".join(" ".join(sheet.extract_text().split()) for sheet in reader.pages)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_reports_are_printed_whole(open_page, scheme):
    page = open_page("report", scheme=scheme, hash="#class=17")
    num_sheets, text = pdf_text(page)
    assert 3 <= num_sheets <= 12
    for part in (
        *("Groups of classes", "AP by training count", "Distribution of AP", "SAP by AP", "All classes"),
        *(
            "Calibration",
            "At thresholds",
            "Slices of rows",
            "Other class distributions",
            "activity 17",
            "Rows that are most wrong",
        ),
    ):
        assert part in text, part
    absent = document_in(page)["report"]["absent_classes"][0]
    assert f"activity {absent:02d}" in text  # the folded list of absent classes


def test_printing_uses_light_colours_and_sharp_dots(open_page):
    page = open_page("report", scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_selector("html[data-theme=light]")
    assert background(page) == "rgb(255, 255, 255)"
    canvas = page.locator("canvas").first
    assert canvas.evaluate("canvas => canvas.width / canvas.clientWidth") >= 3
    assert page.locator(".bar").is_hidden()
    page.emulate_media(media="screen", color_scheme="dark")
    page.wait_for_selector("html:not([data-theme])")
    assert page.locator(".bar").is_visible()


@pytest.mark.parametrize("name", ["comparison", "training"])
def test_other_pages_are_printed(open_page, name):
    _, text = pdf_text(open_page(name))
    parts = {
        "comparison": ("Trade between groups", "Differences in order", "wins and losses"),
        "training": ("Learning curves", "loss", "validate mAP"),
    }
    for part in parts[name]:
        assert part in text, part


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("name", ["report", "comparison", "training", "hostile", "partitions"])
def test_axe_finds_no_serious_fault(open_page, axe, name, width, scheme):
    hash = "" if name == "training" else "#class=17"
    page = open_page(name, width=width, scheme=scheme, hash=hash)
    for is_open in [True, False] if hash else [False]:
        if hash and not is_open:
            page.keyboard.press("Escape")
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        faults = [
            (fault["id"], fault["impact"], [node["html"][:200] for node in fault["nodes"][:3]])
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical", "moderate")
        ]
        assert faults == []


def test_everything_is_reached_by_keys(open_page):
    page = open_page("report")
    seen = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                "(e => e === document.body ? '' : e.className || e.getAttribute('aria-label') || e.innerText || e.type)"
                "(document.activeElement)"
            )
        )
    assert {"plot interactive", "scroll", "quiet copy", "quiet theme", "search"} <= seen


def test_unknown_documents_keep_the_static_page(files, tmp_path, browser):
    page = browser.new_context().new_page()
    html = files["bare"].read_text(encoding="utf-8").replace("vltr-eval/page/1", "vltr-eval/page/99")
    path = tmp_path / "page.html"
    path.write_text(html, encoding="utf-8")
    page.goto(path.as_uri())
    assert page.locator("h1").inner_text() == "Evaluation of 90 classes"
    assert page.get_by_role("table").locator("tbody th").all_inner_texts() == ["overall"]
    page.context.close()


def test_reports_on_boxes_are_shown_by_their_own_counts(open_page):
    page = open_page("boxes", hash="#class=2")
    report = document_in(page)["report"]
    sizes = page.locator(".size").inner_text()
    assert f"{report['num_images']:,} images" in sizes.replace("\n", " ")
    assert f"{report['num_boxes']:,} boxes" in sizes.replace("\n", " ")
    assert "class 5" in page.locator(".panel .facts").inner_text()  # the ids are odd
    assert page.locator(".class-table td.index").all_inner_texts() == [str(c) for c in report["classes"]["class"]]
    assert "share their score with a false positive" in page.locator(".findings").inner_text()


def test_still_charts_for_those_who_want_no_motion(open_page):
    page = open_page("report")
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_twenty_thousand_classes_open_in_two_seconds(open_page, capsys):
    """The best of some tries, because other programs share the processor."""
    times = []
    for _ in range(6):
        page = open_page("large")
        # The mark is set after the charts and the table are drawn; the paint follows.
        times.append(page.evaluate("performance.getEntriesByName('vltr-ready')[0].startTime"))
        page.context.close()
        if times[-1] < 1500:
            break
    with capsys.disabled():
        sys.stdout.write(f" 20,000 classes are ready {min(times):.0f} ms after the start of navigation ")
    assert min(times) < 2000


def test_twenty_thousand_classes_are_searched_and_sorted(open_page):
    page = open_page("large")
    page.get_by_role("searchbox").fill("number 12345")
    assert page.locator(".class-table tbody tr").count() == 1
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="worst", exact=True).click()
    classes = document_in(page)["report"]["classes"]["AP"]
    first = page.locator(".class-table tbody tr").first.get_attribute("data-class")
    assert int(first) == min(range(len(classes)), key=lambda c: classes[c])
