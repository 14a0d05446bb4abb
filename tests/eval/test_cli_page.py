"""The option --html of each command: one page, written whole, of the report that the command prints."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from vltr_eval import Evaluation, RankTable, class_details, compare, evaluate
from vltr_eval.program.cli import main

OK, BAD_DATA, BAD_USAGE, LIMIT_NOT_MET = 0, 1, 2, 3


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = rng.random((90, 7)) < 0.2
    labels[0] = True
    np.save("labels.npy", labels)
    for name, skill in (("preds.npy", 1.0), ("other.npy", 2.0)):
        np.save(name, (rng.normal(size=labels.shape) + skill * labels).astype(np.float32))
    np.save("counts.npy", np.arange(7) * 120)
    return tmp_path


def document_of(path):
    html = Path(path).read_text(encoding="ascii")
    return json.loads(re.search(r'id="vltr-data">(.*?)</script>', html, re.DOTALL)[1])


def arrays():
    return np.load("preds.npy"), np.load("labels.npy")


def test_evaluate_writes_a_page_with_details(capsys):
    assert main(["preds.npy", "labels.npy", "--counts", "counts.npy", "--ci", "--html", "r.html"]) == OK
    report = evaluate(*arrays(), train_counts=np.load("counts.npy"), interval=0.95)
    out, err = capsys.readouterr()
    assert out == report.to_text()
    assert err.splitlines()[-1] == "page: r.html"
    assert Path("r.html").read_text() == report.to_html(details=class_details(*arrays()))


def test_quiet_does_not_say_where_the_page_is(capsys):
    assert main(["preds.npy", "labels.npy", "--quiet", "--html", "r.html"]) == OK
    assert capsys.readouterr().err == ""


def test_rows_with_ids_are_named_in_the_page():
    scores, labels = arrays()
    for name, values in (("p.csv", scores), ("l.csv", labels.astype(int))):
        lines = [",".join(["id", *(f"c{c}" for c in range(7))])]
        lines += [",".join([f"video{n}", *map(str, row.tolist())]) for n, row in enumerate(values)]
        Path(name).write_text("\n".join(lines) + "\n")
    assert main(["p.csv", "l.csv", "--quiet", "--html", "r.html"]) == OK
    ids = document_of("r.html")["ids"]
    assert ids
    assert all(name == f"video{row}" for row, name in ids.items())
    assert main(["p.csv", "l.csv", "--quiet", "--join", "position", "--html", "r.html"]) == OK
    assert document_of("r.html")["ids"] is None


def test_table_writes_a_page_with_curves(capsys):
    assert main(["preds.npy", "labels.npy", "--quiet", "--save-table", "t.npz"]) == OK
    assert main(["table", "t.npz", "--counts", "counts.npy", "--html", "t.html"]) == OK
    assert capsys.readouterr().err.splitlines()[-1] == "page: t.html"
    document = document_of("t.html")
    (details,) = document["details"]
    assert details["curves"] is not None
    assert details["histograms"] is details["mistakes"] is None
    assert len(document["remarks"]) == 1


@pytest.fixture
def saved():
    arguments = ["--counts", "counts.npy", "--ci", "--quiet"]
    assert main(["preds.npy", "labels.npy", *arguments, "--save-evaluation", "e.npz"]) == OK
    return Evaluation.load("e.npz")


def test_table_reports_on_a_saved_evaluation(saved, capsys):
    capsys.readouterr()
    assert (
        main(["table", "e.npz", "--html", "e.html", "--json", "e.json", "--per-class", "--sort", "train_count"]) == OK
    )
    out, err = capsys.readouterr()
    assert out == saved.report.to_text(per_class=True, sort="train_count")
    assert err == "page: e.html\n"
    assert Path("e.json").read_text() == saved.report.to_json()
    assert Path("e.html").read_text() == saved.to_html()


def test_limits_hold_for_a_saved_evaluation(saved, capsys):
    assert main(["table", "e.npz", "--fail-under", "mAP_tail=1.5"]) == LIMIT_NOT_MET
    assert main(["table", "e.npz", "--fail-under", "mAP_tail=0"]) == OK


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--counts", "counts.npy"], "argument --counts: expected a rank table to report on with it"),
        (["--absent", "zero"], "argument --absent: expected a rank table"),
        (["--bounds", "9,3"], "argument --bounds: expected a rank table"),
        (["--fail-under", "foo=1"], "argument --fail-under: expected one of mAP, "),
        (["--per-class", "--sort", "nothing"], "argument --sort: expected a column"),
        (["--sort", "AP"], "argument --sort: give --per-class as well"),
        (["--html", "e.npz"], "e.npz is an input and cannot be an output as well"),
        (["--html", "-"], "argument --html: a page is read in a browser and needs a file, got -"),
        (["--html", "x", "--json", "x"], "two outputs cannot both go to x"),
    ],
)
def test_options_that_a_saved_evaluation_refuses(saved, capsys, arguments, message):
    before = Path("e.npz").read_bytes()
    with pytest.raises(SystemExit) as end:
        main(["table", "e.npz", *arguments])
    assert end.value.code == BAD_USAGE
    assert message in capsys.readouterr().err
    assert Path("e.npz").read_bytes() == before


def test_a_damaged_evaluation_leaves_the_page_that_was_there(saved, capsys):
    content = bytearray(Path("e.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    Path("e.npz").write_bytes(content)
    Path("e.html").write_text("before")
    assert main(["table", "e.npz", "--html", "e.html"]) == BAD_DATA
    assert "e.npz: expected" in capsys.readouterr().err
    assert Path("e.html").read_text() == "before"


def test_compare_writes_a_page_of_all_systems(capsys):
    arguments = ["--labels", "labels.npy", "--counts", "counts.npy"]
    assert main(["compare", "preds.npy", "other.npy", *arguments, "--html", "c.html"]) == OK
    assert capsys.readouterr().err.splitlines()[-1] == "page: c.html"
    scores, labels = arrays()
    systems = [scores, np.load("other.npy")]
    names = ["preds", "other"]
    found = compare(*systems, labels=labels, train_counts=np.load("counts.npy"), names=names)
    expected = found.to_html(details=[class_details(one, labels) for one in systems])
    assert Path("c.html").read_text() == expected


def test_rows_of_compared_systems_are_numbered_by_their_ids():
    """The files have their rows in another order, and the page names the same rows."""
    scores, labels = arrays()
    rng = np.random.default_rng(1)
    ids = np.array([f"v{n:03d}" for n in rng.permutation(90)])
    order = rng.permutation(90)
    heads = ["id", *(f"c{c}" for c in range(7))]
    for name, values, rows in (("p.csv", scores, np.arange(90)), ("q.csv", scores, order), ("l.csv", labels, order)):
        lines = [",".join(heads)]
        lines += [",".join([ids[n], *map(str, (values[n] * 1).tolist())]) for n in rows]
        Path(name).write_text("\n".join(lines) + "\n")
    assert main(["compare", "p.csv", "q.csv", "--labels", "l.csv", "--quiet", "--html", "c.html"]) == OK
    document = document_of("c.html")
    one, two = document["details"]
    assert one["mistakes"]["missed"] == two["mistakes"]["missed"]
    assert one["histograms"] == two["histograms"]
    ascending = sorted(ids)
    assert all(name == ascending[int(row)] for row, name in document["ids"].items())


def test_compare_of_saved_evaluations_has_curves(saved):
    arguments = ["--names", "a,b", "--quiet", "--html", "c.html"]
    assert main(["compare", "e.npz", "e.npz", *arguments]) == OK
    document = document_of("c.html")
    assert [one["histograms"] for one in document["details"]] == [None, None]
    assert len(document["remarks"]) == 1


def test_a_page_of_a_saved_evaluation_beside_predictions(saved):
    arguments = ["--labels", "labels.npy", "--names", "a,b", "--quiet", "--html", "c.html"]
    assert main(["compare", "e.npz", "other.npy", *arguments]) == OK
    assert [one["histograms"] is None for one in document_of("c.html")["details"]] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--html", "-"], "argument --html: a page is read in a browser"),
        (["--html", "labels.npy"], "labels.npy is an input and cannot be an output as well"),
        (["--html", "x", "--json", "x"], "two outputs cannot both go to x"),
    ],
)
def test_outputs_of_compare_are_checked_before_the_work(capsys, arguments, message):
    before = Path("labels.npy").read_bytes()
    with pytest.raises(SystemExit) as end:
        main(["compare", "preds.npy", "other.npy", "--labels", "labels.npy", *arguments])
    assert end.value.code == BAD_USAGE
    assert message in capsys.readouterr().err
    assert Path("labels.npy").read_bytes() == before


def test_ava_writes_a_page_without_details(capsys):
    Path("d.csv").write_text("v,1,0,0,1,1,3,0.9\nv,1,0,0,.5,.5,3,0.8\n")
    Path("g.csv").write_text("v,1,0,0,1,1,3\n")
    assert main(["ava", "d.csv", "g.csv", "--html", "a.html", "--json", "a.json"]) == OK
    assert capsys.readouterr().err.splitlines()[-1] == "page: a.html"
    document = document_of("a.html")
    assert document["report"] == json.loads(Path("a.json").read_text())
    assert document["details"] == []


@pytest.mark.parametrize(
    "command", [["preds.npy", "labels.npy"], ["compare", "preds.npy", "other.npy", "--labels", "labels.npy"]]
)
def test_a_page_that_cannot_be_written_is_found_before_the_work(capsys, command):
    assert main([*command, "--html", "missing/r.html"]) == BAD_DATA
    (line,) = capsys.readouterr().err.splitlines()
    assert line.strip() == "vltr-eval: error: missing/r.html: cannot be written (there is no folder missing)"


def test_bad_data_keeps_the_page_that_was_there(capsys):
    Path("r.html").write_text("before")
    scores, _ = arrays()
    scores[3, 4] = np.nan
    np.save("nan.npy", scores)
    assert main(["nan.npy", "labels.npy", "--html", "r.html"]) == BAD_DATA
    assert "NaN" in capsys.readouterr().err
    assert Path("r.html").read_text() == "before"
    assert not [name for name in os.listdir() if name.endswith("unfinished")]


def test_demo_suggests_a_page(capsys):
    assert main(["demo", "set", "--scale", "0.002"]) == OK
    assert capsys.readouterr().err.rstrip().endswith(f"--html {os.path.join('set', 'report.html')}")


def test_a_saved_table_gives_the_curves_of_its_evaluation():
    assert main(["preds.npy", "labels.npy", "--quiet", "--save-table", "t.npz", "--html", "r.html"]) == OK
    assert main(["table", "t.npz", "--quiet", "--html", "t.html"]) == OK
    assert document_of("t.html")["details"][0]["curves"] == document_of("r.html")["details"][0]["curves"]
    assert RankTable.load("t.npz").num_rows == 90
