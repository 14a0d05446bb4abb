"""Reports as Markdown, LaTeX and the HTML of notebooks, and the options of the program that print them."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from vltr_eval import Evaluation, compare, evaluate, rank_table
from vltr_eval.program.cli import main

OK, BAD_USAGE = 0, 2
SCORES = np.float32([[0.9, 0.1], [0.8, 0.7], [0.7, 0.2], [0.1, 0.6]])
LABELS = np.uint8([[1, 0], [0, 1], [1, 0], [0, 0]])
SIGN = "AP+ROC-AUC+Acc@1|ties:threshold|absent:nan|classes:2/2"

MARKDOWN = rf"""|  | classes | undefined | mAP | ROC-AUC | Acc@1 |
|---|---:|---:|---:|---:|---:|
| overall | 2 | 0 | 0.9167 | 0.8750 | 0.6667 |
| head | 1 | 0 | 0.8333 | 0.7500 | 1.0000 |
| medium | 0 | 0 | - | - | - |
| tail | 1 | 0 | 1.0000 | 1.0000 | 0.0000 |

- 4 rows, 3 labels; no labels in 1 rows, left out of Acc@k
- ties: no positive shares its score with a negative
- signature: {SIGN}|groups:train>500,>100|vltr:VERSION

| class | name | group | train | positives | AP | ROC-AUC | Acc@1 |
|---:|---|---|---:|---:|---:|---:|---:|
| 0 | a\_b\| | head | 900 | 2 | 0.8333 | 0.7500 | 1.0000 |

- 1 of 2 classes left out by the limit
"""

LATEX = rf"""\begin{{tabular}}{{lrrrrr}}
\toprule
 & classes & undefined & mAP & ROC-AUC & Acc@1 \\
\midrule
overall & 2 & 0 & 0.9167 & 0.8750 & 0.6667 \\
head & 1 & 0 & 0.8333 & 0.7500 & 1.0000 \\
medium & 0 & 0 & - & - & - \\
tail & 1 & 0 & 1.0000 & 1.0000 & 0.0000 \\
\bottomrule
\end{{tabular}}

% 4 rows, 3 labels; no labels in 1 rows, left out of Acc@k
% ties: no positive shares its score with a negative
% signature: {SIGN}|groups:train>500,>100|vltr:VERSION

\begin{{tabular}}{{rllrrrrr}}
\toprule
class & name & group & train & positives & AP & ROC-AUC & Acc@1 \\
\midrule
0 & a\_b\textbar{{}} & head & 900 & 2 & 0.8333 & 0.7500 & 1.0000 \\
1 & $<$i$>$ & tail & 5 & 1 & 1.0000 & 1.0000 & 0.0000 \\
\bottomrule
\end{{tabular}}
"""


@pytest.fixture(scope="module")
def report():
    return evaluate(SCORES, LABELS, train_counts=[900, 5], class_names=["a_b|", "<i>"], sap=None, topk=(1,))


def test_markdown_has_the_reference_text(report):
    expected = MARKDOWN.replace("VERSION", report.version)
    assert report.to_markdown(per_class=True, sort="AP:asc", limit=1) == expected
    assert report.to_markdown() == expected.partition("\n\n| class")[0] + "\n"


def test_latex_has_the_reference_text(report):
    expected = LATEX.replace("VERSION", report.version)
    assert report.to_latex(per_class=True) == expected
    assert report.to_latex() == expected.partition("\n\n\\begin{tabular}{rll")[0] + "\n"


def test_forms_have_spreads_intervals_and_priors():
    rng = np.random.default_rng(0)
    labels = rng.random((90, 3)) < 0.4
    scores = labels + rng.normal(size=labels.shape)
    found = evaluate(scores, labels, sap=2, interval=0.9, prior=("uniform", "inverse"), train_counts=[900, 300, 5])
    text = found.to_text(per_class=True, width=None)
    for form, plus_minus in ((found.to_markdown, "\u00b1"), (found.to_latex, r"$\pm$")):
        shown = form(per_class=True)
        numbers = re.findall(r"\d\.\d{4} \+- \d\.\d{4}", text)
        assert len(numbers) > 8
        for number in numbers:
            assert number.replace("+-", plus_minus) in shown
        intervals = re.findall(r"\[\d\.\d{4}, \d\.\d{4}\]", text)
        assert len(intervals) == 3 * 5  # classes, and AP, SAP, ROC-AUC, Acc@1 and Acc@5
        bracket = r"\[" if form == found.to_markdown else "["
        assert all(interval.replace("[", bracket) in shown for interval in intervals)
        assert "under other class distributions" in shown
        assert f"SAP {plus_minus} std" in shown
        assert shown.count("inverse") == text.count("inverse")


@pytest.mark.parametrize("form", ["to_markdown", "to_latex"])
def test_forms_refuse_what_the_text_refuses(report, form):
    with pytest.raises(ValueError, match=r"^sort: expected per_class=True beside it"):
        getattr(report, form)(sort="AP")
    with pytest.raises(ValueError, match=r"^limit: expected per_class=True beside it"):
        getattr(report, form)(limit=3)
    with pytest.raises(ValueError, match=r"^sort: expected a column"):
        getattr(report, form)(per_class=True, sort="nothing")


# ---------------------------------------------------------------------------------------------------------------------
# The program
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs the program beside small inputs and checks its exit code."""
    monkeypatch.chdir(tmp_path)
    np.save("preds.npy", SCORES)
    np.save("labels.npy", LABELS)
    Path("counts.lst").write_text("a_b| 0 900.0\n<i> 1 5.0\n")
    Path("gt.csv").write_text("v,902,0,0,1,1,1\nv,903,0,0,1,1,2\n")
    Path("det.csv").write_text("v,902,0,0,1,1,1,.9\nv,903,0,0,1,1,2,.8\n")

    def run_program(*arguments, code=OK):
        try:
            found = main([*arguments, "--quiet"])
        except SystemExit as stop:
            found = stop.code
        done = capsys.readouterr()
        assert found == code, done.err
        return done

    return run_program


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_the_program_prints_the_form(run, form):
    done = run("preds.npy", "labels.npy", "--sap", "none", "--topk", "1", f"--{form}", "--json", "r.json")
    found = evaluate(SCORES, LABELS, sap=None, topk=(1,))
    assert done.out == getattr(found, f"to_{form}")()
    assert Path("r.json").read_text() == found.to_json()
    shown = ("--per-class", "--sort", "AP", "--limit", "1")
    done = run("preds.npy", "labels.npy", "--sap", "none", "--topk", "1", f"--{form}", *shown)
    assert done.out == getattr(found, f"to_{form}")(per_class=True, sort="AP", limit=1)


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_other_commands_print_the_form_too(run, form):
    run("preds.npy", "labels.npy", "--save-table", "t.npz")
    table = run("table", "t.npz", f"--{form}").out
    found = evaluate(SCORES, LABELS, sap="exact", topk=())
    first = getattr(found, f"to_{form}")()
    assert table.splitlines()[:4] == first.splitlines()[:4]
    ava = run("ava", "det.csv", "gt.csv", "--sap", "2", f"--{form}").out
    assert "mAP" in ava
    assert (r"\toprule" in ava) == (form == "latex")
    assert ("|---|" in ava) == (form == "markdown")


def test_the_text_of_a_report_needs_no_other_form(run, tmp_path):
    code = """
import sys
from vltr_eval.program.cli import main
main(["preds.npy", "labels.npy", "--per-class", "--quiet"])
print(sorted({"vltr_eval._base.table_forms", "vltr_eval._base.notebook_html", "html"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--markdown", "--latex"], "argument --latex: not allowed with argument --markdown"),
        (["--markdown", "--json", "-"], "argument --markdown: expected no other output on stdout, got --json -"),
        (["--latex", "--csv", "-"], "argument --latex: expected no other output on stdout, got --csv -"),
    ],
)
def test_one_output_goes_to_stdout(run, arguments, sentence):
    assert sentence in run("preds.npy", "labels.npy", *arguments, code=BAD_USAGE).err


def test_compare_prints_chosen_means(run):
    systems = ("compare", "preds.npy", "preds.npy", "--labels", "labels.npy", "--names", "a,b")
    done = run(*systems, "--latex", "--means", "mAP,Acc@1")
    expected = compare(SCORES, SCORES, labels=LABELS, names=["a", "b"])
    assert done.out == expected.to_latex(means=["mAP", "Acc@1"])
    assert run(*systems, "--markdown", "--means", "mAP").out == expected.to_markdown(means=["mAP"])
    sentence = "argument --means: give --markdown or --latex as well"
    assert sentence in run(*systems, "--means", "mAP", code=BAD_USAGE).err
    sentence = "argument --latex: expected no other output on stdout, got --json -"
    assert sentence in run(*systems, "--latex", "--json", "-", code=BAD_USAGE).err
    done = run(*systems, "--latex", "--means", "mPA", "--json", "out.json", code=1)
    assert "means: expected one of mAP, expected_SAP, ROC_AUC, Acc@1, Acc@5, got 'mPA'\n" in done.err
    done = run(*systems, "--latex", "--means", "mAP_tail", code=1)
    assert "got 'mAP_tail'; groups need train_counts= (--counts) or groups= (--groups)\n" in done.err
    assert not Path("out.json").exists()


# ---------------------------------------------------------------------------------------------------------------------
# Notebooks
# ---------------------------------------------------------------------------------------------------------------------

TAGS = {
    *("div", "style", "p", "strong", "table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary"),
}


class Page(HTMLParser):
    """Tags, attributes and text of a fragment whose elements must be nested and closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text, self.attributes = "", set[tuple[str, str | None]]()
        self.seen = set[str]()
        self.folded = 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes |= set(attrs)
        self.folded += tag == "details"
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data


def page_of(shown) -> Page:
    """Parse the HTML of an object; it must be static and hold nothing from elsewhere."""
    html = shown._repr_html_()
    page = Page(html)
    assert page.seen <= TAGS
    assert {name for name, _ in page.attributes} <= {"class", "scope", "colspan", "dir"}
    assert "http" not in "".join(value or "" for _, value in page.attributes)
    return page


HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u05d0\u05d1 \u202e<b>", "x" * 300, "&lt;"]


@pytest.fixture(scope="module")
def long_tail():
    """Return labels, scores of three systems, training counts and hostile names of 1,004 classes."""
    rng = np.random.default_rng(0)
    labels = rng.random((1500, 1004)) < 0.01
    base = rng.normal(size=labels.shape).astype(np.float32) + labels
    counts = np.geomspace(2000, 3, 1004).astype(int)
    return labels, [base, base + labels * np.float32(0.1), base + labels * np.float32(0.2)], counts


def test_a_report_of_1004_classes_is_a_small_static_page(long_tail):
    labels, (scores, *_), counts = long_tail
    names = [f"{HOSTILE[c % len(HOSTILE)]} {c}" for c in range(1004)]
    shown = evaluate(scores, labels, train_counts=counts, class_names=names, interval=0.95, prior=("inverse",))
    page = page_of(shown)
    assert len(shown._repr_html_().encode()) < 20_000
    assert page.folded == 1
    for name, value in shown.metrics().items():
        if name in ("mAP", "mAP_tail", "Acc@1", "inverse/mAP_head"):
            assert f"{value:.4f}" in page.text
    worst = sorted(range(1004), key=lambda c: (np.isnan(shown.classes["AP"][c]), shown.classes["AP"][c]))[:10]
    for c in worst:
        assert names[c].replace("\u202e", "\\u202e") in page.text
    assert shown.signature in page.text
    assert shown._repr_html_() == shown._repr_html_()


def test_notes_of_a_report_are_shown_as_text():
    found = replace(evaluate(SCORES, LABELS), notes=("<b>left</b> out",))
    assert "note: <b>left</b> out" in page_of(found).text


def test_a_comparison_has_the_systems_and_folds_the_classes(long_tail):
    labels, systems, counts = long_tail
    names = ["<script>1</script>", "b", "c"]
    found = compare(*systems, labels=labels, train_counts=counts, names=names, sap=None)
    page = page_of(found)
    assert page.folded == 4
    for system in found.systems:
        mean = system.of("mAP_tail")
        assert f"{mean.difference:+.4f}" in page.text
        assert f"{system.name} minus <script>1</script>" in page.text
    for note in found.notes:
        assert note in page.text
    two = compare(*systems[:2], labels=labels, train_counts=counts, sap=None)
    assert page_of(two).folded == 1


def test_an_evaluation_shows_its_report():
    ids = [f"v{row}" for row in range(4)]
    found = Evaluation.from_predictions(
        SCORES, LABELS, sap=None, topk=(1,), ids=ids, label_ids=ids, clusters=[0, 0, 1, 2]
    )
    text = page_of(found).text
    assert f"effects of 4 rows on {len(found.effects)} means, rows numbered by their ids, in 3 clusters" in text
    assert found.report.signature in text
    plain = Evaluation.from_predictions(SCORES, LABELS, sap=None, topk=(1,))
    assert "means, without row ids\n" in page_of(plain).text


def test_a_rank_table_is_a_line(monkeypatch):
    table = rank_table(SCORES, LABELS)
    text = page_of(table).text
    assert "Rank table of 2 classes" in text
    assert "4 rows, 3 positives at 3 thresholds, mAP 0.9167" in text
    monkeypatch.setattr("vltr_eval._engine.rank_table._MOST_FOR_SUMMARY", 2)
    assert "mAP" not in page_of(table).text


def test_notebook_shows_an_ava_report(run):
    from vltr_eval.compat.ava import evaluate as evaluate_ava

    found = evaluate_ava("det.csv", "gt.csv", sap=2)
    assert "AvaReport of 2 classes" in page_of(found).text
