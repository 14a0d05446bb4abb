"""Numbers in a page are those of its document, as Python writes them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pages import document_in, report_page

import vltr_eval
from vltr_eval.intervals import MIN_POSITIVES
from vltr_eval.page.template import render_page

UNDEFINED = "\u2013"


def decimal(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:.4f}"


def signed(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value + 0.0:+.4f}"


def plain(text: str) -> str:
    return text.replace("\u2212", "-")


def cells(page: Any, selector: str) -> dict[str, list[str]]:
    """Return the lines of the cells by the flat name of their means."""
    found = page.eval_on_selector_all(selector, "cells => cells.map(c => [c.dataset.name, c.innerText])")
    return {name: plain(text).split("\n") for name, text in found}


def test_group_means_are_those_of_the_report(open_page):
    page = open_page("report")
    report = document_in(page)["report"]
    shown = cells(page, "#groups td[data-name]")
    groups = list(report["groups"])
    wanted = ["mAP", "SAP", "expected_SAP", "SAP_chance", "ROC_AUC", "Acc@1", "Acc@5"]
    assert set(shown) == {name if group == "overall" else f"{name}_{group}" for name in wanted for group in groups}
    for name, lines in shown.items():
        assert lines[0] == decimal(report["metrics"][name])
        low, high = (report["metrics"].get(f"{name}_{end}") for end in ("low", "high"))
        if low is not None:
            assert lines[1] == f"{decimal(low)}\u2013{decimal(high)}"


def test_other_distributions_and_slices_are_shown(open_page):
    page = open_page("report")
    report = document_in(page)["report"]
    shown = cells(page, "#other-class-distributions td[data-name]")
    assert {f"inverse/mAP{group}" for group in ("", "_head", "_medium", "_tail")} <= set(shown)
    for name, lines in shown.items():
        assert lines == [decimal(report["metrics"][name])]
    slices = cells(page, "#slices-of-rows > .scroll td[data-name]")
    assert slices["mAP"][0] == decimal(report["metrics"]["mAP"])
    assert "<i>night</i>" in page.locator("#slices-of-rows").inner_text()
    assert slices["SAP"] == [decimal(report["metrics"]["SAP"]), f"\u00b1 {decimal(report['metrics']['SAP_std'])}"]
    page.get_by_text("<i>night</i> by group of classes").click()
    assert cells(page, "#slices-of-rows details[open] td[data-name]")["mAP_tail"][0] == decimal(
        report["metrics"]["mAP_tail"]
    )
    values = cells(page, "#slices-of-rows details[open] td[data-name]")["SAP_tail"]
    assert values == [decimal(report["metrics"]["SAP_tail"]), f"\u00b1 {decimal(report['metrics']['SAP_std_tail'])}"]


@pytest.mark.parametrize(("name", "is_said"), [("report", True), ("bare", False), ("boxes", False)])
def test_the_table_of_classes_says_why_some_have_no_interval(open_page, name, is_said):
    page = open_page(name)
    notes = page.locator(".class-table > .note").all_inner_texts()
    if not is_said:
        assert notes == []
        return
    classes = document_in(page)["report"]["classes"]
    few = sum(low is None for low in classes["AP_low"])
    assert few == sum(count < MIN_POSITIVES for count in classes["num_positives"]) > 0
    assert notes == [f"Classes with fewer than {MIN_POSITIVES} positives have no interval: {few} of 90."]


def test_a_report_of_many_positives_needs_no_such_sentence(open_page, files, tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.random((60, 4)) < 0.5
    report = vltr_eval.evaluate(rng.random((60, 4)), labels, interval=0.95)
    files["many"] = tmp_path / "many.html"
    report.to_html(files["many"])
    page = open_page("many")
    assert page.locator('td[data-key="AP_interval"]').count() == 4
    assert page.locator(".class-table > .note").count() == 0


def test_the_sentence_counts_clusters_where_rows_are_clustered(open_page, files, tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.random((60, 4)) < [0.5, 0.5, 0.5, 0.0]
    labels[:6, 3] = True  # six positives in one cluster
    report = vltr_eval.evaluate(rng.random((60, 4)), labels, interval=0.95, clusters=np.arange(60) // 6)
    files["clusters"] = tmp_path / "clusters.html"
    report.to_html(files["clusters"])
    note = open_page("clusters").locator(".class-table > .note").inner_text()
    assert note == "Classes with fewer than 5 clusters with a positive have no interval: 1 of 4."


@pytest.mark.parametrize(("section", "id"), [("thresholds", "at-thresholds"), ("calibration", "calibration")])
def test_thresholds_and_calibration_are_shown_by_group(open_page, section, id):
    page = open_page("report")
    report = document_in(page)["report"]
    shown = cells(page, f"#{id} td[data-name]")
    count = 0
    for group, values in report[section]["groups"].items():
        for name, value in values.items():
            if not isinstance(value, list):
                assert shown[name if group == "overall" else f"{name}_{group}"] == [decimal(value)]
                count += 1
    assert count == len(shown)


def test_optimistic_thresholds_are_said_to_be(open_page):
    page = open_page("report")
    text = page.locator("#at-thresholds").inner_text()
    assert "chosen on the labels of this report" in text
    assert "39 with fewer than 10 positives share that of their pool" in text


def test_class_values_are_those_of_the_report(open_page):
    page = open_page("report")
    classes = document_in(page)["report"]["classes"]
    page.get_by_label("Rows", exact=True).select_option("100")
    page.get_by_text("Columns", exact=True).click()
    for box in page.get_by_role("checkbox").all():
        box.check()
    rows = page.eval_on_selector_all(
        ".class-table tbody tr",
        "rows => rows.map(r => Object.fromEntries([...r.querySelectorAll('td[data-key]')]"
        ".map(c => [c.dataset.key, c.innerText])))",
    )
    assert len(rows) == len(classes["AP"])
    counts = {"train_count", "num_positives", "num_negatives"}
    compared = 0
    for c, row in enumerate(rows):
        for key, text in row.items():
            if key in counts:
                assert text == f"{classes[key][c]:,}"
            elif key.endswith("_interval"):
                low, high = (classes[key.replace("interval", end)][c] for end in ("low", "high"))
                assert text == (UNDEFINED if low is None else f"{decimal(low)}\u2013{decimal(high)}")
            elif key != "group":
                assert plain(text) == decimal(classes[key][c])
            compared += 1
    assert compared == 90 * (len(classes) - 1 - 5)  # five intervals have two columns each


def test_means_of_comparisons_are_those_of_the_document(open_page):
    page = open_page("comparison")
    means = document_in(page)["comparison"]["systems"]["focal"]["means"]
    rows = page.eval_on_selector_all(
        ".differences tr[data-name]",
        "rows => rows.map(r => [r.dataset.name, [...r.querySelectorAll('td:not(.graphic)')].map(c => c.innerText)])",
    )
    assert [name for name, _ in rows] == list(means)
    for name, (base, new, difference, ends, p, detectable) in rows:
        mean = means[name]
        assert (base, new) == (decimal(mean["base"]), decimal(mean["new"]))
        assert plain(difference) == signed(mean["difference"])
        expected = UNDEFINED if mean["low"] is None else f"{signed(mean['low'])} to {signed(mean['high'])}"
        assert plain(ends) == expected
        assert p == ("<0.0001" if mean["p_value"] < 0.0001 else decimal(mean["p_value"]))
        assert detectable == decimal(mean["detectable"])


def test_slices_of_a_comparison_have_their_own_means(open_page):
    page = open_page("systems")
    comparison = document_in(page)["comparison"]
    page.eval_on_selector_all("section.system details", "all => all.forEach(one => { one.open = true })")
    for number, system in enumerate(comparison["systems"]):
        section = page.locator("section.system").nth(number)
        folded = section.locator(".folded details").all()
        parts = [(name, part) for slices in comparison["slices"].values() for name, part in slices.items()]
        assert len(folded) == len(parts) == 4
        for shown, (name, part) in zip(folded, parts, strict=True):
            assert shown.locator("summary").inner_text() == f"{name}, {part['num_rows']:,} rows"
            for mean, values in part["systems"][system].items():
                line = plain(shown.locator(f'tr[data-name="{mean}"]').inner_text()).split()
                if values["difference"] is not None:
                    assert {decimal(values["base"]), decimal(values["new"]), signed(values["difference"])} <= set(line)


def test_wins_and_losses_are_those_of_the_document(open_page):
    page = open_page("comparison")
    outcomes = document_in(page)["comparison"]["systems"]["focal"]["outcomes"]
    rows = page.eval_on_selector_all(
        ".outcomes tr[data-group]",
        "rows => rows.map(r => [r.dataset.group, [...r.querySelectorAll('td:not(.graphic)')].map(c => c.innerText)])",
    )
    for group, (tested, *numbers) in rows:
        for adjustment, shown in (("holm", numbers[:3]), ("benjamini_hochberg", numbers[3:])):
            (one,) = (o for o in outcomes if (o["group"], o["adjustment"]) == (group, adjustment))
            assert [int(n) for n in shown] == [one["wins"], one["losses"], one["undecided"]]
            assert int(tested) == one["tested"]


def test_differences_of_classes_are_those_of_the_document(open_page):
    page = open_page("comparison")
    classes = document_in(page)["comparison"]["systems"]["focal"]["classes"]
    page.get_by_label("Rows", exact=True).select_option("100")
    rows = page.eval_on_selector_all(
        ".class-table tbody tr",
        "rows => rows.map(r => [...r.querySelectorAll('td[data-key]')].map(c => [c.dataset.key, c.innerText]))",
    )
    for c, row in enumerate(rows):
        shown = dict(row)
        assert plain(shown["difference"]) == signed(classes["difference"][c])
        assert (shown["base"], shown["new"]) == (decimal(classes["base"][c]), decimal(classes["new"][c]))


HALVES = [k / 32 for k in range(33)] + [k / 64 for k in range(0, 65, 5)]


@pytest.mark.parametrize("values", [HALVES, [1e-5, 4.9999e-5, 5.0001e-5, 0.12345, 0.99995, 0.99994999, 1.0]])
def test_four_decimals_are_rounded_as_python_does(open_page, files, tmp_path, values):
    report = json.loads(report_page().report)
    report["classes"]["AP"][: len(values)] = values
    files["rounding"] = tmp_path / "rounding.html"
    files["rounding"].write_text(render_page(replace(report_page(), report=json.dumps(report))), encoding="utf-8")
    page = open_page("rounding")
    page.get_by_label("Rows", exact=True).select_option("100")
    shown = page.eval_on_selector_all('td[data-key="AP"]', "cells => cells.map(c => c.innerText)")
    assert shown[: len(values)] == [f"{value:.4f}" for value in values]
