"""Learning curves of runs as plain data, and `vltr-train plot`."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vltr_eval
from vltr_eval import plot
from vltr_train import learning_curves, table, training_page, training_runs
from vltr_train.cli import main
from vltr_train.runs.run_folder import RunFolder

OK, BAD_DATA, BAD_USAGE = 0, 1, 2
LINES = (
    {"stage": "train", "lr": 0.1, "loss": 0.9},
    {"stage": "train", "lr": 0.1, "loss": 0.7, "mAP": 0.25, "mAP_head": 0.5, "mAP_tail": 0.125},
    {"stage": "classifier", "lr": 0.01, "loss": 0.5},
    {"stage": "classifier", "lr": 0.01, "loss": 0.4, "mAP": 0.375, "mAP_head": 0.5, "mAP_tail": 0.25},
)


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Return a function that makes the folder of a run of four epochs in two stages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vltr_train.runs.run_folder._summary_writer", lambda: None)

    def make(name="run", method="crt", seed=0, lines=LINES, **settings):
        settings = {"lr": 0.1, "select_on": "validate", **settings, "seed": seed}
        dataset = {"name": "videolt", "labels": "0123456789", "videos": [9, 3, 3]}
        run = RunFolder.create(name, {"method": method, "preset": None, "settings": settings, "dataset": dataset})
        for epoch, line in enumerate(lines):
            run.append_epoch({"epoch": epoch, **line, "seconds": 1.5, "videos_per_second": 100.0})
        return RunFolder.open(name)

    return make


@pytest.fixture
def run(capsys):
    """Return a function that runs `vltr-train plot`, checks its exit code and returns the last line on stderr."""

    def run_program(*arguments, code=OK):
        try:
            found = main(["plot", *map(str, arguments)])
        except SystemExit as stop:
            found = stop.code
        done = capsys.readouterr()
        assert (found, done.out) == (code, ""), done.err
        return (done.err.splitlines() or [""])[-1]

    return run_program


def test_curves_are_the_columns_of_the_run_without_times(make_run):
    assert learning_curves(make_run()) == {
        "epochs": [0, 1, 2, 3],
        "columns": {
            "lr": [0.1, 0.1, 0.01, 0.01],
            "loss": [0.9, 0.7, 0.5, 0.4],
            "mAP": [None, 0.25, None, 0.375],
            "mAP_head": [None, 0.5, None, 0.5],
            "mAP_tail": [None, 0.125, None, 0.25],
        },
        "stages": [["train", 0], ["classifier", 2]],
    }


def test_runs_are_given_by_their_folders_too(make_run):
    run = make_run()
    assert learning_curves(run.path) == learning_curves(str(run.path)) == learning_curves(run)
    assert training_runs([str(run.path)]) == training_runs([run])
    assert training_page([run.path]) == training_page([run])


@pytest.mark.parametrize("function", [training_runs, training_page, table])
def test_a_single_run_is_no_list(make_run, function):
    run = make_run()
    for single in (run, str(run.path)):
        with pytest.raises(ValueError, match=r"^runs: expected a list of runs, got a single one; pass \["):
            function(single)


def test_values_without_a_number_are_missing(make_run):
    lines = [{"loss": math.nan, "mAP": math.inf, "note": "text"}, {"loss": 1, "mAP": 0.5}]
    found = learning_curves(make_run(lines=lines))
    assert found["columns"] == {"loss": [None, 1], "mAP": [None, 0.5], "note": [None, None]}
    assert found["stages"] == []
    json.dumps(found, allow_nan=False)


def test_runs_of_a_group_differ_in_their_seed(make_run):
    runs = [
        make_run("a", seed=0),
        make_run("b", "bce"),
        make_run("c", seed=7),
        make_run("d", seed=7),
        make_run("e", lr=1),
    ]
    found = [(run["name"], run["group"]) for run in training_runs(runs)]
    assert found == [
        ("crt lr=0.1, seed 0", "crt lr=0.1"),
        ("crt lr=0.1, seed 7", "crt lr=0.1"),
        ("crt lr=0.1, seed 7 (2)", "crt lr=0.1"),
        ("bce", "bce"),
        ("crt lr=1", "crt lr=1"),
    ]


def test_runs_without_an_epoch_are_refused(make_run):
    with pytest.raises(ValueError, match="RUN: expected a run with an epoch, got none; train first"):
        training_runs([make_run(lines=())])
    assert len(training_runs([make_run("empty", lines=()), make_run("full")])) == 2


def test_program_draws_the_figure_of_the_library(make_run, run):
    pytest.importorskip("matplotlib")
    runs = [make_run(f"crt-{seed}", seed=seed) for seed in (0, 1)]
    run("crt-0", "crt-1", "--out", "curves.svg")
    figure = plot.training_figure(training_runs(runs))
    plot.save(figure, "expected.svg")
    assert Path("curves.svg").read_bytes() == Path("expected.svg").read_bytes()
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "mAP"]
    run("crt-0", "--panel", "loss", "--panel", "mAP_head,mAP_tail", "--width", 5, "--title", "a_b", "--out", "b.pdf")
    panels = [["loss"], ["mAP_head", "mAP_tail"]]
    plot.save(plot.training_figure(training_runs(runs[:1]), panels, width=5, title="a_b"), "expected.pdf")
    assert Path("b.pdf").read_bytes() == Path("expected.pdf").read_bytes()


def document_of(html):
    return json.loads(
        re.search(r'<script type="application/json" id="vltr-data">\n(.*?)\n</script>', html, re.DOTALL)[1]
    )


def test_page_of_several_runs_has_their_curves(make_run, run):
    runs = [make_run("a"), make_run("b", "<script>alert(1)</script>")]
    run("a", "b", "--html", "page.html")
    html = Path("page.html").read_text()
    assert html == training_page(runs)
    document = document_of(html)
    shown = [document[key] for key in ("kind", "title", "report")]
    assert shown == ["training", "Training of 2 runs", None]
    assert document["training"] == {"runs": training_runs(runs)}
    assert "<td>0.4000</td><td>0.3750</td>" in html
    assert "<script>alert" not in html
    assert str(Path.cwd()) not in html


def test_page_of_an_evaluated_run_has_its_report(make_run, run):
    folder = make_run()
    labels = np.random.default_rng(0).random((40, 6)) < 0.4
    preds = (np.random.default_rng(1).normal(size=(40, 6)) + labels).astype(np.float32)
    folder.save_predictions(preds, labels)
    folder.save_report(vltr_eval.evaluate(preds, labels, train_counts=[900, 600, 300, 200, 50, 7]))
    run("run", "--html", "page.html")
    document = document_of(Path("page.html").read_text())
    assert document["kind"] == "report"
    assert document["report"] == json.loads(folder.load_report().to_json())
    assert document["training"] == {"runs": training_runs([folder])}
    assert document["details"][0]["histograms"] is not None
    run("run", "--html", "again.html")
    assert Path("page.html").read_bytes() == Path("again.html").read_bytes()


def test_page_of_a_run_needs_no_matplotlib(make_run):
    make_run()
    code = """
import sys
sys.modules["matplotlib"] = None
from vltr_train.cli import main
sys.exit(main(["plot", "run", "--html", "page.html"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == OK, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["run"], BAD_USAGE, "the following arguments are required: --out or --html"),
        (["run", "--html", "none/a.html"], BAD_DATA, "none/a.html: cannot be written"),
        (["run", "--out", "a.gif"], BAD_USAGE, "argument --out: expected a name that ends in one of .pdf, .svg, .png"),
        (
            ["run", "--out", "a.svg", "--panel", "lozz"],
            BAD_DATA,
            "panels (--panel): expected columns with values, among lr",
        ),
        (["run", "--out", "a.svg", "--width", "99"], BAD_DATA, "width: expected inches from 1 to 40, got 99"),
        (["none", "--out", "a.svg"], BAD_DATA, "none: expected the folder of a run, got no such folder"),
        (["run", "--html", "a.html", "--panel", "lr"], BAD_USAGE, "argument --panel: give --out as well"),
    ],
)
def test_mistakes_of_plot_are_one_sentence(make_run, run, arguments, code, sentence):
    pytest.importorskip("matplotlib")
    make_run()
    assert sentence in run(*arguments, code=code)
    assert not Path("a.svg").exists()
