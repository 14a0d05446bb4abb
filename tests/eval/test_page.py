"""Pages as files: the document says what the report says, and nothing in it can act or be fetched."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vltr_eval
from vltr_eval import ClassDetails, Evaluation, RankTable, class_details, compare, evaluate, rank_table
from vltr_eval.page import Curves
from vltr_eval.page.document import Page, StaticTable, best_f1, curve_points, merged_bins, thin_curves
from vltr_eval.page.template import render_page

RTL = "\u0634\u062c\u0631\u0629"
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "]]>",
    "--><img src=x onerror=alert(1)>",
    "\"quotes\" 'and' `marks`",
    "\u2028line\u2029paragraph",
    "\ud800lone surrogate\udfff",
    "x" * 300,
    RTL,
    "\u202eoverride\u202c",
    "\x00\x07\x1b[31m",
    "&lt;script&gt;",
    "</ScRiPt >",
    "\U0001f333\ufffe\ufeff",
    " ",
    "{{constructor}}",
    "https://example.org/class",
)


class Reader(HTMLParser):
    """The elements of a page: tags with their attributes, and the text of the elements that hold text alone."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self._open = [], {}, []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open.append((tag, dict(attributes).get("id", tag)))

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self._open:
            name = self._open[-1][1]
            self.texts[name] = self.texts.get(name, "") + data

    @property
    def document(self):
        return json.loads(self.texts["vltr-data"])


def make_inputs(rows=400, classes=17, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.random((rows, classes)) < 0.1
    scores = (labels + rng.normal(size=(rows, classes))).astype(np.float32)
    return scores, labels


def make_report(scores, labels, **options):
    return evaluate(scores, labels, train_counts=np.arange(scores.shape[1]) * 60, interval=0.95, **options)


@pytest.fixture(scope="module")
def inputs():
    return make_inputs()


@pytest.fixture(scope="module")
def page(inputs):
    report = make_report(*inputs, class_names=list(HOSTILE))
    return report, Reader(report.to_html(details=class_details(*inputs)))


def unpack(text, dtype):
    return np.frombuffer(base64.b64decode(text), f"<{dtype}")


# The document


def test_the_report_is_that_of_its_json(page):
    report, reader = page
    assert reader.document["report"] == json.loads(report.to_json())
    assert (reader.document["schema"], reader.document["kind"]) == ("vltr-eval/page/1", "report")


def test_the_json_of_the_report_is_in_the_file_as_it_is(inputs):
    report = make_report(*inputs)
    assert report.to_json().strip().replace("<", "\\u003c") in report.to_html()


def test_hostile_names_come_back_as_they_are(page):
    _, reader = page
    assert reader.document["report"]["classes"]["name"] == list(HOSTILE)


def test_hostile_names_make_no_element(page, inputs):
    _, reader = page
    plain = Reader(make_report(*inputs).to_html(details=class_details(*inputs)))
    assert reader.tags == plain.tags


def test_hostile_texts_outside_the_document_come_back_as_text():
    table = StaticTable("<b>caption", ["<i>", "b"], [[name, name] for name in HOSTILE])
    page = Page("report", "</title><script>", signature="<s>", notes=HOSTILE, remarks=HOSTILE, tables=[table])
    html = render_page(page)
    html.encode("ascii")
    reader = Reader(html)
    plain = replace(
        page,
        title="t",
        signature="s",
        notes=["n"] * len(HOSTILE),
        remarks=["r"] * len(HOSTILE),
        tables=[StaticTable("c", ["a", "b"], [["n", "n"]] * len(HOSTILE))],
    )
    assert reader.tags == Reader(render_page(plain)).tags
    assert reader.texts["title"] == "</title><script>"
    for name in HOSTILE[:5]:
        assert name in reader.texts["bdi"]
    assert RTL in reader.texts["bdi"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(codec=None), max_size=12), min_size=3, max_size=3))
def test_any_names_come_back_as_they_are(names):
    scores, labels = make_inputs(20, 3)
    labels[:3] = np.eye(3)
    html = evaluate(scores, labels, class_names=names, sap=None, topk=()).to_html()
    assert Reader(html.encode("ascii").decode()).document["report"]["classes"]["name"] == names


def test_groups_and_headings(page):
    report, reader = page
    document = reader.document
    assert document["group_names"] == [group.name for group in report.groups]
    assert document["partitions"] == {"": ["head", "medium", "tail"]}
    headings = document["headings"]
    assert set(headings) == {"class", *report.classes}
    assert list(headings)[:6] == ["class", "name", "group", "train_count", "num_positives", "AP"]
    assert (headings["num_positives"], headings["expected_SAP"]) == ("positives", "exact SAP")
    assert headings["AP_low"] == "AP 95% low"
    assert all(headings.values())


def test_the_page_says_its_numbers_without_a_script(page):
    report, reader = page
    cells = [tag for tag, _ in reader.tags]
    assert cells.count("table") == 1
    for group in report.groups:
        assert group.name in reader.texts["bdi"]
        assert f"{group.values['mAP']:.4f}" in reader.texts["td"]
    assert reader.texts["code"] == report.signature


# Curves


def points_of(curves, c):
    first, last = unpack(curves["indptr"], "i4")[c : c + 2]
    part = slice(first, last)
    return [
        unpack(curves["recall"], "u2")[part],
        unpack(curves["precision"], "u2")[part],
        unpack(curves["threshold"], curves["dtype"])[part],
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("rows", [60, 6000])
def test_points_are_those_of_the_curve(dtype, rows):
    scores, labels = make_inputs(rows, 5)
    labels[:, 4] = False
    labels[:, 3] = True
    scores = (scores * 30 + 100).astype(dtype)
    table = rank_table(scores, labels)
    document = Reader(evaluate(scores, labels, sap=None, topk=()).to_html(details=table)).document
    (details,) = document["details"]
    assert details["histograms"] is details["mistakes"] is None
    most = curve_points([ClassDetails.of(table)])
    for c in range(5):
        recall, precision, threshold = points_of(details["curves"], c)
        curve = table.precision_recall_curve(c)
        places = np.searchsorted(-curve.thresholds.astype(float), -threshold.astype(float))
        assert np.array_equal(curve.thresholds[places].astype(float), threshold.astype(float))
        assert np.array_equal(np.rint(curve.recall[places] * 65535), recall)
        assert np.array_equal(np.rint(curve.precision[places] * 65535), precision)
        assert np.all(np.diff(places) > 0)
        count = len(curve.thresholds)
        assert len(places) == count if count <= most else len(places) <= most
        if count:
            f1 = [2 * p * r / (p + r) if p + r else 0 for p, r in zip(curve.precision, curve.recall, strict=True)]
            assert max(f1[place] for place in places) == max(f1)
            assert {0, count - 1} <= set(places.tolist())
        if count > most:  # even in recall: no gap is much longer than the mean one
            assert np.max(np.diff(curve.recall[places])) < 3 / most
            assert len(places) > most // 2


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40), max_size=5), st.integers(4, 20))
def test_thinning_keeps_what_it_promises(classes, most):
    """Also of tables of shards, whose first thresholds may have no positive."""
    steps = [np.cumsum(np.array(steps, np.int64).reshape(-1, 2), axis=0) for steps in classes]
    counts = np.concatenate([np.empty((0, 2), np.int64), *steps])
    indptr = np.cumsum([0, *map(len, steps)])
    curves = Curves(indptr, np.zeros(len(counts)), *np.ascontiguousarray(counts.T))
    kept, best = thin_curves(curves, most), best_f1(curves)
    for c, step in enumerate(steps):
        own = kept[indptr[c] : indptr[c + 1]]
        if not len(step):
            continue
        positives = step[-1, 0]
        f1 = [2 * tp / max(tp + fp + positives, 1) for tp, fp in step.tolist()]
        assert best[c] == indptr[c] + f1.index(max(f1))
        assert own.sum() <= max(most, 0)
        assert own.all() or len(step) > most
        assert own[0]
        assert own[-1]
        assert own[f1.index(max(f1))]


# Histograms and mistakes


def test_histograms_and_mistakes_are_those_of_the_details(inputs):
    details = class_details(*inputs)
    document = Reader(make_report(*inputs).to_html(details=details)).document
    packed, histograms, mistakes = document["details"][0], details.histograms, details.mistakes
    shape = (17, histograms.bins)
    assert packed["histograms"]["bins"] == histograms.bins
    for name in ("positives", "negatives"):
        assert np.array_equal(unpack(packed["histograms"][name], "u4").reshape(shape), getattr(histograms, name))
    for name in ("low", "high"):
        assert np.array_equal(unpack(packed["histograms"][name], "f4"), getattr(histograms, name))
    assert packed["mistakes"]["limit"] == mistakes.limit
    for key, rows, scores in (
        ("missed", mistakes.missed_rows, mistakes.missed_scores),
        ("false", mistakes.false_rows, mistakes.false_scores),
    ):
        assert np.array_equal(unpack(packed["mistakes"][key]["rows"], "i4").reshape(rows.shape), rows)
        assert np.array_equal(unpack(packed["mistakes"][key]["scores"], "f4").reshape(rows.shape), scores)
    assert document["ids"] is None


@pytest.mark.filterwarnings("error")
def test_scores_beyond_single_precision_have_finite_bins():
    scores, labels = np.array([[1e300], [-1e300], [0.5]]), np.uint8([[1], [0], [1]])
    html = evaluate(scores, labels, sap=None, topk=None).to_html(details=class_details(scores, labels))
    (details,) = Reader(html).document["details"]
    ends = [unpack(details["histograms"][end], "f4") for end in ("low", "high")]
    assert np.isfinite(ends).all()
    assert ends[0] < ends[1]
    assert unpack(details["curves"]["threshold"], "f8").tolist() == [1e300, 0.5]


def test_ids_of_mistakes_are_in_the_document():
    scores, labels = make_inputs(30, 2)
    ids = [f"video </script> {n}" for n in range(30)]
    details = class_details(scores, labels, ids=ids, label_ids=ids, limit=2)
    document = Reader(make_report(scores, labels).to_html(details=details)).document
    rows = np.concatenate([details.mistakes.missed_rows, details.mistakes.false_rows], axis=None)
    assert document["ids"] == {str(row): ids[row] for row in np.unique(rows) if row >= 0}


def test_many_classes_have_fewer_points_and_bins():
    def of(num_classes):
        empty = np.zeros(0, np.int64)
        return ClassDetails(Curves(np.zeros(num_classes + 1, np.int64), empty, empty, empty))

    assert [curve_points([of(n)]) for n in (1, 256, 1004, 5000, 20_000)] == [256, 256, 65, 13, 12]
    assert curve_points([of(1004), of(1004)]) == 32
    assert [merged_bins([of(n)]) for n in (1, 4096, 4097)] == [1, 1, 2]
    rng = np.random.default_rng(0)
    scores = rng.random((30, 4100)).astype(np.float32)
    labels = rng.random((30, 4100)) < 0.2
    details = class_details(scores, labels)
    histograms = Reader(evaluate(scores, labels, sap=None, topk=()).to_html(details=details)).document["details"][0]
    merged = details.histograms.negatives.reshape(4100, 12, 2).sum(axis=2)
    assert histograms["histograms"]["bins"] == 12
    assert np.array_equal(unpack(histograms["histograms"]["negatives"], "u4").reshape(4100, 12), merged)


def test_details_of_other_classes_are_refused(inputs):
    scores, labels = inputs
    report = make_report(scores, labels)
    with pytest.raises(ValueError, match="details: expected those of 17 classes, got 16"):
        report.to_html(details=rank_table(scores[:, 1:], labels[:, 1:]))
    with pytest.raises(ValueError, match=r"details: expected .* positives of class 0 as in the report, got "):
        report.to_html(details=rank_table(scores[:, ::-1], labels[:, ::-1]))
    with pytest.raises(TypeError, match="details: expected ClassDetails or a RankTable, got dict"):
        report.to_html(details={})


# Security of the file


def hash_of(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_policy_allows_the_style_and_the_script_alone(page):
    _, reader = page
    (policy,) = [tag["content"] for _, tag in reader.tags if tag.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "style-src": f"'{hash_of(reader.texts['style'])}'",
        "script-src": f"'{hash_of(reader.texts['script'])}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    scripts = [tag.get("type") for name, tag in reader.tags if name == "script"]
    assert scripts == ["application/json", None, "text/plain"]
    names = [name for name, _ in reader.tags]
    policy_at = next(at for at, (_, tag) in enumerate(reader.tags) if tag.get("http-equiv"))
    assert policy_at < names.index("style") < names.index("main")


def test_nothing_in_the_file_is_fetched(page):
    _, reader = page
    for name, attributes in reader.tags:
        for attribute, value in attributes.items():
            assert attribute not in ("src", "srcset", "action", "formaction", "poster", "data"), name
            assert attribute != "href" or value == "data:,", name
            assert not attribute.startswith("on"), name
    assert not re.search(r"url\(|@import", reader.texts["style"])
    assert set(re.findall(r"https?://[^\"'\s)]*", reader.texts["script"])) <= {
        "http://www.w3.org/1999/xhtml",
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/2000/xmlns/",
        "http://www.w3.org/XML/1998/namespace",
    }


def test_the_head_says_language_width_and_title(page):
    report, reader = page
    assert reader.tags[0] == ("html", {"lang": "en"})
    named = {tag.get("name"): tag.get("content") for _, tag in reader.tags}
    assert named["viewport"] == "width=device-width, initial-scale=1"
    assert reader.texts["title"] == reader.texts["h1"] == f"Evaluation of {report.num_classes} classes"


def test_the_licences_of_the_script_are_in_the_file(page):
    _, reader = page
    assert "Permission to use" in reader.texts["licences"]


# The same bytes


CODE = """
import sys, numpy as np, vltr_eval
rng = np.random.default_rng(3)
labels = rng.random((3000, 40)) < 0.05
scores = (labels + rng.normal(size=labels.shape)).astype(np.float32)
ids = [f"video{n}" for n in range(3000)]
details = vltr_eval.class_details(scores, labels, ids=ids, label_ids=ids)
report = vltr_eval.evaluate(scores, labels, train_counts=np.arange(40) * 30, interval=0.95)
sys.stdout.write(report.to_html(details=details))
"""


def test_the_same_input_gives_the_same_bytes():
    pages = set()
    for seed, threads in (("0", "1"), ("1", "2"), ("77", "5")):
        env = {**os.environ, "PYTHONHASHSEED": seed, "VLTR_NUM_THREADS": threads}
        done = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, check=True, timeout=100)
        pages.add(done.stdout)
    (page,) = pages
    page.decode("ascii")
    assert os.path.expanduser("~").encode() not in page


def test_a_page_of_videolt_is_small():
    """With intervals, ids of 16 characters and three columns of one's own; scores are any."""
    rng = np.random.default_rng(0)
    rows, classes = 12_000, 1_004
    labels = np.zeros((rows, classes), bool)
    labels[np.arange(rows), rng.integers(0, classes, rows)] = True
    labels |= rng.random((rows, classes)) < 0.004
    scores = (2 * labels + rng.normal(size=(rows, classes))).astype(np.float32)
    ids = [f"videolt_{n:08d}" for n in range(rows)]
    names = [f"a class of videos, {c}" for c in range(classes)]
    report = evaluate(scores, labels, train_counts=rng.integers(1, 2000, classes), class_names=names, interval=0.95)
    columns = {f"column {k}": tuple(map(float, rng.random(classes))) for k in range(3)}
    report = replace(report, classes=report.classes | columns)
    html = report.to_html(details=class_details(scores, labels, ids=ids, label_ids=ids))
    assert len(html) <= 2_000_000
    assert set(columns) <= set(Reader(html).document["headings"])


# Files


def test_a_file_has_the_text(tmp_path, inputs):
    report = make_report(*inputs)
    assert report.to_html(tmp_path / "page.html") is None
    assert (tmp_path / "page.html").read_text() == report.to_html()
    assert os.listdir(tmp_path) == ["page.html"]


def test_a_failed_page_keeps_the_file_that_was_there(tmp_path, inputs, monkeypatch):
    report, path = make_report(*inputs), tmp_path / "page.html"
    path.write_text("before")
    with pytest.raises(TypeError):
        report.to_html(path, details=3)
    assert path.read_text() == "before"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ValueError, match=r"page\.html: cannot be written"):
        report.to_html(path)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["page.html"]


def test_a_page_that_cannot_be_written_is_said(tmp_path, inputs):
    with pytest.raises(ValueError, match="cannot be written"):
        make_report(*inputs).to_html(tmp_path / "missing" / "page.html")


# Evaluations and comparisons


def test_a_saved_evaluation_has_curves_and_says_what_it_lacks(tmp_path, inputs):
    evaluation = Evaluation.from_predictions(*inputs, interval=0.95)
    evaluation.save(tmp_path / "e.npz")
    loaded = Evaluation.load(tmp_path / "e.npz")
    assert loaded.to_html() == evaluation.to_html()
    document = Reader(loaded.to_html()).document
    assert document["report"] == json.loads(evaluation.report.to_json())
    (details,) = document["details"]
    assert details["curves"] is not None
    assert details["histograms"] is details["mistakes"] is None
    (remark,) = document["remarks"]
    assert remark.startswith("This page has no histograms and mistakes of single classes")
    loaded.to_html(tmp_path / "e.html")
    assert (tmp_path / "e.html").read_text() == loaded.to_html()


def test_a_report_alone_says_that_it_has_no_details(inputs):
    document = Reader(make_report(*inputs).to_html()).document
    assert document["details"] == []
    assert document["remarks"] == [
        "This page has no curves, histograms and mistakes of single classes, which need the scores."
    ]


@pytest.mark.parametrize("seed", range(20))
def test_saturated_scores_are_said(seed):
    rng = np.random.default_rng(seed)
    labels = rng.random((400, 5)) < 0.1
    labels[:, 2] = False
    scores = np.round(rng.random((400, 5)), 1).astype(np.float32)
    positives = scores[labels]
    details = class_details(scores, labels)
    lowest, highest = details.curves.at_extremes()
    assert lowest == (positives.min(), (positives == positives.min()).sum())
    assert highest == (positives.max(), (positives == positives.max()).sum())
    report = evaluate(scores, labels, sap=None, topk=None)
    said = "".join(Reader(report.to_html(details=details)).document["remarks"])
    ends = (("lowest", lowest), ("highest", highest))
    assert said.startswith("Saturation: ") == any(count >= 5 for _, (_, count) in ends)
    for which, (score, count) in ends:
        sentence = f"{count / len(positives):.2%} of the positives have the {which} score of a positive, {score:g}"
        assert (sentence in said) == (count >= 5)


def test_a_complete_page_has_no_remark(page):
    assert page[1].document["remarks"] == []


@pytest.fixture(scope="module")
def compared(inputs):
    scores, labels = inputs
    better = scores + labels * np.float32(0.5)
    names = ["base", "</script>"]
    return compare(scores, better, labels=labels, names=names, train_counts=np.arange(17) * 60), [scores, better]


def test_a_comparison_is_that_of_its_json(inputs, compared, tmp_path):
    found, systems = compared
    details = [class_details(scores, inputs[1]) for scores in systems]
    html = found.to_html(details=details)
    reader = Reader(html)
    document = reader.document
    assert document["comparison"] == json.loads(found.to_json())
    assert (document["kind"], document["report"], document["remarks"]) == ("comparison", None, [])
    assert [one["name"] for one in document["details"]] == ["base", "</script>"]
    assert document["partitions"] == {"": ["head", "medium", "tail"]}
    assert set(document["headings"]) == {"class", *found.systems[0].classes}
    assert f"{found.systems[0].means[0].difference:.4f}" in reader.texts["td"]
    found.to_html(tmp_path / "c.html", details=details)
    assert (tmp_path / "c.html").read_text() == html


def test_details_of_a_comparison_fit_its_systems(inputs, compared):
    found, systems = compared
    tables = [rank_table(scores, inputs[1]) for scores in systems]
    assert Reader(found.to_html(details=tables)).document["details"][1]["curves"] is not None
    with pytest.raises(ValueError, match="details: expected those of 2 systems, the baseline first, got 1"):
        found.to_html(details=tables[:1])
    assert Reader(found.to_html()).document["details"] == []


def test_runs_are_said(inputs):
    scores, labels = inputs
    found = compare([scores, scores + 1], [scores * 2, scores * 3], labels=labels)
    remarks = Reader(found.to_html(details=[rank_table(scores, labels)] * 2)).document["remarks"]
    assert any("first run" in remark for remark in remarks)
    assert not any("first run" in remark for remark in Reader(found.to_html()).document["remarks"])


def test_reports_of_boxes_are_pages(tmp_path):
    from vltr_eval.compat.ava import evaluate as evaluate_boxes

    (tmp_path / "d.csv").write_text("v,1,0,0,1,1,3,0.9\nv,1,0,0,.5,.5,3,0.8\n")
    (tmp_path / "g.csv").write_text("v,1,0,0,1,1,3\n")
    report = evaluate_boxes(tmp_path / "d.csv", tmp_path / "g.csv")
    document = Reader(report.to_html()).document
    assert document["report"] == json.loads(report.to_json())
    assert set(document["headings"]) == {"class", *report.classes}


def test_a_table_on_disk_gives_the_same_page(tmp_path, inputs):
    table = rank_table(*inputs)
    table.save(tmp_path / "t.npz")
    report = make_report(*inputs)
    assert report.to_html(details=table) == report.to_html(details=RankTable.load(tmp_path / "t.npz"))


def test_the_script_is_ascii_and_ends_no_element():
    assets = os.path.join(os.path.dirname(vltr_eval.__file__), "page", "assets")
    for name in ("page.js", "page.css", "LICENSES.txt"):
        with open(os.path.join(assets, name), encoding="ascii") as file:
            text = file.read()
        assert not re.search(r"</(script|style)|<!--", text, re.IGNORECASE)
    assert sum(os.path.getsize(os.path.join(assets, name)) for name in ("page.js", "page.css")) < 150_000
