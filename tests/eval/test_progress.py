"""Everything that can take seconds reports its progress, and the programs show it. No test waits: the clock is ours."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import vltr_eval.comparison.evaluation
from vltr_eval import compare, evaluate
from vltr_eval._base.terminal import ProgressBar
from vltr_eval._engine.npz import write_npz
from vltr_eval._engine.rank_table import RankTable
from vltr_eval.comparison import Evaluation
from vltr_eval.compat.ava import Boxes, Images
from vltr_eval.compat.ava import evaluate as evaluate_ava
from vltr_eval.formats import read_pair
from vltr_eval.program import check
from vltr_eval.program.cli import main
from vltr_eval.program.demo import write_demo

NUM_ROWS, NUM_CLASSES = 60, 4


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a working folder with scores and labels as arrays and as CSV, and saved results of both."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = rng.random((NUM_ROWS, NUM_CLASSES)) < 0.3
    labels[0], labels[1] = True, False
    scores = (rng.normal(size=labels.shape) + labels).astype(np.float32)
    for name, array, form in (("preds", scores, "%.6f"), ("labels", labels, "%d")):
        np.save(f"{name}.npy", array)
        np.savetxt(f"{name}.csv", array, form, ",")
    evaluation = Evaluation.from_predictions(scores, labels)
    evaluation.save("base.npz")
    evaluation.save("new.npz")
    return tmp_path


def rises_to_one(seen):
    return len(set(seen)) > 1 and seen == sorted(seen) and seen[0] >= 0 and seen[-1] == 1.0


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Return a terminal for stderr; the clock gains three seconds whenever somebody looks at it."""
    seconds = count(100, 3)
    monkeypatch.setattr("vltr_eval._base.terminal.time.monotonic", lambda: float(next(seconds)))
    return Terminal()


def left_on_screen(line):
    """Return what a terminal shows of a line after the last of its carriage returns."""
    shown = ""
    for part in line.split("\r"):
        shown = part + shown[len(part) :]
    return shown


# The bar


def test_a_new_part_starts_the_bar_again(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("vltr_eval._base.terminal.time.monotonic", lambda: now[0])
    stream = Terminal()
    bar = ProgressBar(stream, done=0.5)
    now[0] += 3
    bar(0.9)
    bar.restart()
    assert stream.getvalue().endswith(" \r")
    shown = len(stream.getvalue())
    now[0] += 1.9
    bar(0.1)
    assert len(stream.getvalue()) == shown
    now[0] += 2.1
    bar(0.2)
    assert " 20%, 16 s left" in stream.getvalue()[shown:]


# Reading


@pytest.mark.parametrize("call", ["evaluate", "compare", "from_predictions"])
def test_a_call_reports_while_it_reads_files(folder, call, monkeypatch):
    def fail(fraction):
        raise LookupError(f"at {fraction}")

    def refuse(*arguments, **options):
        raise AssertionError("counted before the progress of reading was reported")

    for module in ("vltr_eval._evaluate", "vltr_eval.comparison.evaluation"):
        monkeypatch.setattr(f"{module}.count_chunks", refuse)
    calls = {
        "evaluate": lambda: evaluate("preds.csv", "labels.csv", progress=fail),
        "compare": lambda: compare("preds.csv", "preds.npy", labels="labels.csv", progress=fail),
        "from_predictions": lambda: Evaluation.from_predictions("preds.csv", "labels.csv", progress=fail),
    }
    with pytest.raises(LookupError, match=r"^at 0\.[0-4]"):
        calls[call]()


@pytest.mark.parametrize(
    "files", [("preds.csv", "labels.csv"), ("preds.npy", "labels.npy"), ("preds.npy", "labels.csv")]
)
def test_progress_of_files_rises_to_one(folder, files):
    seen = []
    evaluate(*files, sap="exact", progress=seen.append)
    assert rises_to_one(seen)
    seen.clear()
    Evaluation.from_predictions(*files, progress=seen.append)
    assert rises_to_one(seen)


def test_a_pair_of_files_counts_bytes(folder):
    seen = []
    sizes = [Path(name).stat().st_size for name in ("preds.csv", "labels.csv")]
    read_pair("preds.csv", "labels.csv", progress=seen.append)
    assert rises_to_one(seen)
    assert pytest.approx(sizes[0] / sum(sizes)) in seen
    shards = []
    np.savetxt("long-1.csv", np.load("preds.npy")[:50], "%.6f", ",")
    np.savetxt("long-2.csv", np.load("preds.npy")[50:], "%.6f", ",")
    sizes = [Path(name).stat().st_size for name in ("long-1.csv", "long-2.csv")]
    vltr_eval.formats.read_scores(["long-1.csv", "long-2.csv"], progress=shards.append)
    assert pytest.approx(sizes[0] / sum(sizes)) in shards


# Saved results


def test_npz_files_have_the_bytes_of_numpy(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "format": np.array("text"),
        "number": np.array(3, np.int64),
        "empty": np.empty(0),
        "planes": rng.integers(0, 3, (4, 1000)).astype(np.uint8),
        "turned": np.asfortranarray(rng.normal(size=(30, 20))),
        "long": np.arange(3 * 2**20),  # numpy writes 16 MiB at a time
    }
    seen = []
    write_npz(tmp_path / "ours.npz", arrays, seen.append)
    np.savez_compressed(tmp_path / "numpy.npz", **arrays)
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "numpy.npz").read_bytes()
    assert rises_to_one(seen)
    assert any(0.4 < fraction < 0.8 for fraction in seen)  # within the long array


def test_saved_results_report_their_writing_and_reading(folder):
    for kind, name in ((Evaluation, "base.npz"), (RankTable, "table.npz")):
        seen = []
        if kind is RankTable:
            Evaluation.load("base.npz").table.save(name)
        found = kind.load(name, progress=seen.append)
        assert rises_to_one(seen)
        seen.clear()
        found.save("again.npz", progress=seen.append)
        assert rises_to_one(seen)
        assert Path("again.npz").read_bytes() == Path(name).read_bytes()


def test_a_comparison_of_saved_evaluations_reports_their_reading(folder):
    seen = []
    compare("base.npz", "new.npz", progress=seen.append)
    assert seen == sorted(seen)
    assert {0.4, 0.8} <= {round(fraction, 6) for fraction in seen}
    mixed = []
    compare("base.npz", "preds.npy", labels="labels.npy", progress=mixed.append)
    assert mixed[-1] == seen[-1] == 1.0
    assert mixed == sorted(mixed)
    assert min(mixed) < 0.2 < 0.6 < max(mixed)


# Demo and AVA


def test_a_demo_reports_its_making_and_writing(folder):
    seen = []
    demo = write_demo("demo", 0.002, progress=seen.append)
    assert rises_to_one(seen)
    for name, array in (("preds", demo.scores), ("labels", demo.labels)):
        np.save("as numpy.npy", array)
        assert Path(f"demo/{name}.npy").read_bytes() == Path("as numpy.npy").read_bytes()


def test_ava_reports_its_evaluation():
    rng = np.random.default_rng(0)
    frames = Images(["film"] * 40, np.arange(40.0))
    corners = np.sort(rng.random((40, 2, 2)), axis=1).reshape(40, 4)
    truth = Boxes(frames, corners, np.arange(40) % 5, np.ones(40), Images([], np.array([])))
    found = Boxes(frames, corners, np.arange(40) % 5, rng.random(40), Images([], np.array([])))
    seen = []
    report = evaluate_ava(found, truth, sap=3, progress=seen.append)
    assert rises_to_one(seen)
    assert len(seen) >= 2 * 5  # pools and trials of each class
    assert report == evaluate_ava(found, truth, sap=3)


# The program


@pytest.mark.parametrize(
    "command",
    [
        ["preds.csv", "labels.csv"],
        ["preds.csv", "labels.csv", "--baseline", "base.npz", "--max-drop", "mAP=0.5"],
        ["preds.npy", "labels.npy", "--save-table", "out.npz"],
        ["preds.npy", "labels.npy", "--save-evaluation", "out.npz"],
        ["check", "preds.csv", "labels.csv"],
        ["compare", "preds.csv", "preds.npy", "--labels", "labels.csv"],
        ["compare", "base.npz", "new.npz"],
        ["demo", "set", "--scale", "0.002"],
    ],
    ids=" ".join,
)
def test_the_program_shows_a_bar_and_takes_it_away(folder, terminal, command):
    with redirect_stderr(terminal):
        assert main(command) == 0
    shown = terminal.getvalue()
    assert re.search(r"\r\[[#.]{40}\] +\d+%", shown)
    assert "%" not in "".join(map(left_on_screen, shown.split("\n")))
    with redirect_stderr(terminal):
        assert main([*command, "--quiet"]) == 0
    assert terminal.getvalue() == shown


def test_check_says_that_it_reads(folder, terminal):
    with redirect_stderr(terminal):
        assert main(["check", "preds.csv", "labels.csv"]) == 0
    assert re.search(r"%.*, reading\r", terminal.getvalue())


def test_check_starts_its_bar_again_after_reading(folder, monkeypatch):
    calls = []
    monkeypatch.setattr(check.ProgressBar, "restart", lambda bar: calls.append(bar._fraction))
    assert main(["check", "preds.csv", "labels.csv"]) == 0
    assert calls == [1.0]
