"""Runs in notebooks: static HTML from config.json and metrics.csv, whatever the names in them."""

from __future__ import annotations

from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from vltr_train.runs.run_folder import RunFolder

DOCUMENT = {
    "method": "<script>m",
    "preset": "r50",
    "settings": {"lr": 0.1, "note": "<b>&", "seed": 3},
    "dataset": {"name": 'toy "set"', "labels": "0123", "videos": [9, 3, 3]},
}


class Page(HTMLParser):
    """The tags and the text of a fragment."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self.attributes = list[str](), list[str](), dict[str, str | None]()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "a <run>", DOCUMENT)


def test_a_run_shows_its_method_data_and_metrics(run):
    for epoch, loss in enumerate([1.5, 0.75, 1.0]):
        values = {"epoch": epoch, "stage": "train", "loss": loss, "seconds": 1.0}
        run.append_epoch(values | ({"mAP": 0.5 - 0.1 * epoch, "mAP_tail": 0.25, "Acc@1": 0.5} if epoch != 1 else {}))
    page = Page(run._repr_html_())
    assert set(page.tags) <= {
        *("div", "style", "p", "strong", "svg", "polyline", "table", "thead", "tbody", "tr", "th", "td", "details"),
        "summary",
    }
    assert page.tags.count("svg") == 3  # loss, mAP and mAP_tail
    texts = page.texts[1:]  # the first is the style
    assert texts[:2] == [
        "Run of <script>m:r50",
        f'data toy "set", seed 3, 3 epochs, folder {run.path}',
    ]
    assert texts[2:8] == ["loss", "1.5 to 1", "mAP", "0.5 to 0.3", "mAP_tail", "0.25 to 0.25"]
    assert texts[8:11] == ["last", "best", "in epoch"]
    assert texts[11:23] == [
        *("loss", "1.0000", "0.7500", "1"),
        *("mAP", "0.3000", "0.5000", "0"),
        *("mAP_tail", "0.2500", "0.2500", "0"),
    ]
    assert texts[23:] == ["3 settings", "value", "lr", "0.1", "note", "<b>&", "seed", "3"]
    assert RunFolder.open(run.path)._repr_html_() == run._repr_html_()


def test_a_run_without_epochs_has_no_curves(run):
    page = Page(run._repr_html_())
    assert "svg" not in page.tags
    assert any("0 epochs" in text for text in page.texts)


def test_epochs_without_finite_numbers_have_no_curve(run):
    run.append_epoch({"epoch": 0, "loss": float("nan"), "mAP": "none"})
    assert "svg" not in Page(run._repr_html_()).tags


def test_the_result_of_fit_shows_run_and_report(run):
    pytest.importorskip("torch")
    from vltr_train.engine import Run

    report = SimpleNamespace(_repr_html_=lambda: "<p>report</p>")
    assert Run(run, None, report)._repr_html_() == run._repr_html_() + "<p>report</p>"
    assert Run(run, None, None)._repr_html_() == run._repr_html_()
