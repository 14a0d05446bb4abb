"""bench_eval.py and bench_grid.py: the easy versions are right, targets are judged right, and small runs work whole."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import bench_eval
import bench_grid
import numpy as np
import pytest
from _lib import measure, worker
from _lib.measure import OPERATIONS
from _lib.peers import PEERS, easy_average_precision, easy_roc_auc
from _lib.shapes import GROUPS, SHAPES, write_case, write_dense
from bench_eval import Case, Row, Target

import vltr_eval


def textbook(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """AP by its sum over distinct scores, and AUC by all pairs."""
    high, low = scores[labels == 1], scores[labels == 0]
    ap = 0.0
    for score in np.unique(high):
        precision = (high >= score).sum() / (scores >= score).sum()
        ap += (high == score).sum() / len(high) * precision
    pairs = (high[:, None] > low).mean() + 0.5 * (high[:, None] == low).mean()
    return ap, float(pairs)


@pytest.mark.parametrize("num_values", [3, 1_000])
def test_easy_versions_are_the_textbook_ones(num_values):
    rng = np.random.default_rng(0)
    values = np.sort(rng.standard_normal(num_values).astype(np.float32) * 100)
    assert values[0] < 0 < values[-1]
    scores = rng.choice(values, (200, 4))
    labels = (rng.random((200, 4)) < 0.3).astype(np.uint8)
    expected = np.array([textbook(scores[:, c], labels[:, c]) for c in range(4)])
    assert easy_average_precision(scores, labels) == pytest.approx(expected[:, 0], rel=1e-12)
    assert easy_roc_auc(scores, labels) == pytest.approx(expected[:, 1], rel=1e-12)


def test_easy_versions_of_classes_with_one_label():
    scores = np.float32([[1, 2], [3, 4]])
    labels = np.uint8([[0, 1], [0, 1]])
    np.testing.assert_array_equal(easy_average_precision(scores, labels), [np.nan, 1])
    np.testing.assert_array_equal(easy_roc_auc(scores, labels), [np.nan, np.nan])


@pytest.mark.parametrize("share", [1 / 400, 0.5])
def test_dense_data_has_its_share_and_a_positive_in_each_class(tmp_path, share):
    write_dense(tmp_path, 400, 50, share)
    scores, labels, counts = (np.load(tmp_path / f"{name}.npy") for name in ("scores", "labels", "train_counts"))
    assert (scores.dtype, scores.shape, labels.dtype, labels.shape) == (np.float32, (400, 50), np.uint8, (400, 50))
    assert counts.tolist() == labels.sum(axis=0).tolist()
    assert counts.min() >= 1
    assert counts.mean() / 400 == pytest.approx(share, rel=0.1 if share == 0.5 else 1.0)
    assert scores[labels == 1].mean() - scores[labels == 0].mean() == pytest.approx(1.5, abs=0.5)


def test_shapes_have_groups_and_shrink(tmp_path):
    assert {name for names in GROUPS.values() for name in names} == set(SHAPES)
    assert all(SHAPES[name].is_dense == (group == "dense") for group, names in GROUPS.items() for name in names)
    assert SHAPES["10m-0.5"].size(quick=True) == (1_250_000, 1)
    assert SHAPES["1mx100-0.1"].size(quick=True) == (125_000, 12)
    assert SHAPES["10k-0.5"].size(quick=True) == SHAPES["10k-0.5"].size(quick=False) == (10_000, 1)
    write_case(tmp_path, "100x10-0.3", "only", quick=False)
    assert np.load(tmp_path / "scores.npy").shape == (100, 10)


def case(name: str, **seconds: float) -> Case:
    facts = {"num_rows": SHAPES[name].num_rows, "num_classes": SHAPES[name].num_classes}
    quality = SHAPES[name].qualities[0]
    return Case(name, quality, SHAPES[name].title, facts, {row: Row(row, [spent]) for row, spent in seconds.items()})


def test_every_target_has_rows_that_are_measured():
    assert set(bench_eval.OUR_ROWS) == set(OPERATIONS) | {f"{row}_mapped" for row in ("floor", "ap", "evaluate")}
    everything = [case(name, **dict.fromkeys((*bench_eval.OUR_ROWS, *PEERS), 1.0)) for name in SHAPES]
    for each in everything:
        for row in each.rows.values():
            row.extra_bytes = 1
    for target in bench_eval.TARGETS:
        chosen = [each for each in everything if target.is_set_for(each)]
        assert chosen
        assert all(target.is_reached(each) is not None for each in chosen)


def test_targets_are_judged_at_their_limit():
    at_least = bench_eval._at_least("two", "sklearn", "ap", 2, lambda case: True)
    at_most = bench_eval._at_most("two", "sklearn", "ap", 2, lambda case: True)
    assert [t.is_reached(case("1k-0.5", sklearn=4, ap=2)) for t in (at_least, at_most)] == [True, True]
    assert [t.is_reached(case("1k-0.5", sklearn=5, ap=2)) for t in (at_least, at_most)] == [True, False]
    assert [t.is_reached(case("1k-0.5", sklearn=3, ap=2)) for t in (at_least, at_most)] == [False, True]
    assert at_least.is_reached(case("1k-0.5", ap=2)) is None
    assert at_least.verdict(case("1k-0.5", ap=2)) == "not measured"


def test_summary_counts_cases_and_marks_misses(monkeypatch):
    target = Target("AP, at most 1 s", lambda case: case.rows["ap"].time, 1.0, False, " s", lambda c: c.name != "rows")
    monkeypatch.setattr(bench_eval, "TARGETS", (target,))
    text = bench_eval.summary_table([case("rows", ap=9), case("1k-0.5", ap=0.5), case("10k-0.5", ap=3)])
    assert "| AP, at most 1 s | **not reached** (1 of 2) |" in text
    assert "1,000 x 1 at 0.5: 0.500 s; 10,000 x 1 at 0.5: **3.00 s** |" in text
    assert "| AP, at most 1 s | reached |" in bench_eval.summary_table([case("rows", ap=9), case("1k-0.5", ap=1)])


def test_a_lead_is_over_the_same_metric():
    measured = case("1k-0.5", ap=1, roc_auc=2, sklearn=10, sklearn_auc=40)
    assert measured.lead("sklearn", "ap") == 10
    assert measured.lead("sklearn", "roc_auc") == 20
    assert measured.lead("easy", "ap") is None


def test_cells_of_the_grid():
    cells = [(cell.num_rows, cell.num_classes, cell.share) for cell in bench_grid.grid(10**8)]
    assert len(cells) == len(set(cells))
    assert max(rows * classes for rows, classes, _ in cells) == 10**8
    assert all(share * rows >= 1 for rows, _, share in cells)
    assert {share for rows, classes, share in cells if (rows, classes) == (10**4, 1)} == {1e-4, 1e-3, 0.01, 0.1, 0.5}


def test_a_cell_is_too_slow_beyond_each_limit():
    fast = {"ap": 1.0, "easy": 1.0, "other": 1.0, "ap_one_thread": 1.7, "exact_sap_added": 1.0}
    large = bench_grid.Cell(10**6, 10, 0.1, fast)
    assert not any(large.is_slow().values())
    for row, seconds, words in (
        ("easy", 0.9, "slower than easy"),
        ("other", 0.95, bench_grid.THAN_OTHER),
        ("ap_one_thread", 1.6, "threads gain little"),
        ("exact_sap_added", 1.1, "exact SAP slower than AP"),
    ):
        slow = bench_grid.Cell(10**6, 10, 0.1, fast | {row: seconds}).is_slow()
        assert [word for word, is_slow in slow.items() if is_slow] == [words]
    assert not any(bench_grid.Cell(10**6, 1, 0.1, fast | {"ap_one_thread": 1.0}).is_slow().values())
    del fast["other"]
    assert math.isnan(bench_grid.Cell(10**6, 1, 0.1, fast).ratio("ap", "other"))


@pytest.fixture
def default_numpy(monkeypatch):
    for module in (bench_eval, bench_grid):
        monkeypatch.setattr(module, "fastest_numpy", dict)


def test_a_small_case_whole(monkeypatch, tmp_path, capsys, default_numpy):
    arguments = ["--quick", "--shapes", "100x10-0.3", "--peers", "sort,easy,easy_auc", "--runs", "1", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["bench_eval.py", *arguments, "--out", str(tmp_path)])
    assert bench_eval.main() == 0
    text = capsys.readouterr().out
    for row in bench_eval.OUR_ROWS.values():
        (line,) = (line for line in text.splitlines() if line.startswith(f"| {row} |"))
        assert line.split("|")[2].strip().endswith(("ms", "s"))
    for peer in ("easy", "easy_auc"):
        (line,) = (line for line in text.splitlines() if line.startswith(f"| {PEERS[peer].title} "))
        assert float(line.split("|")[10]) < 1e-14  # the difference from vltr
    assert "| np.sort of the columns (1 thread) |" in text
    (written,) = tmp_path.iterdir()
    assert "## Targets" in written.read_text()


def test_a_small_grid_against_the_same_build(monkeypatch, tmp_path, capsys, default_numpy):
    folder, out = Path(vltr_eval.__file__).parents[1], tmp_path / "grid.md"
    for name, value in {"ROWS": (1_000,), "CLASSES": (2,), "SHARES": (0.5,), "SECONDS": 0.001}.items():
        monkeypatch.setattr(bench_grid, name, value)
    arguments = ["--against", str(folder), "--threads", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["bench_grid.py", *arguments])
    assert bench_grid.main() == 0
    text = capsys.readouterr().out
    assert out.read_text() == text
    assert str(folder) not in text
    assert [line.split("|")[3].strip() for line in text.splitlines() if line.startswith("| 1,000 |")] == [
        "0.001",
        "0.01",
        "0.5",
    ]
    assert text.rstrip().splitlines()[-1].startswith("Too slow, of 3 cells: slower than easy: ")


def test_a_folder_without_a_build_is_an_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_grid.py", "--against", str(tmp_path)])
    with pytest.raises(SystemExit):
        bench_grid.main()
    assert "--against: expected a folder with vltr_eval" in capsys.readouterr().err


def test_a_worker_reports_the_error_that_ended_it(tmp_path):
    with worker.Worker(1) as process:
        answer = process("best_seconds", directory=str(tmp_path), rows=["ap"], threads=1, seconds=0)
        assert answer["failed"].startswith("failed: FileNotFoundError")
        assert "failed" in process("describe_build")


def test_kept_workers_are_replaced_after_a_failure(tmp_path):
    with worker.Workers(1, keep=True) as workers:
        assert "failed" in workers("describe_case", directory=str(tmp_path))
        first = workers("describe_build")
        assert first == workers("describe_build")
        assert first["version"] == vltr_eval.__version__


class SlowTable:
    """A rank table whose exact SAP reports progress once."""

    def expected_sampled_average_precision(self, threads, progress):
        progress(0.5)


@pytest.mark.parametrize("is_stopped", [True, False])
def test_exact_sap_that_is_too_slow_is_stopped(monkeypatch, is_stopped):
    monkeypatch.setattr(measure, "load_inputs", lambda *_: SimpleNamespace(table=SlowTable(), threads=1))
    monkeypatch.setattr(measure, "_STOP_SECONDS", -1.0 if is_stopped else 1e9)
    answer = measure.best_seconds("", ["exact_sap_added"], threads=1, seconds=0)
    assert answer["stopped"] == ["exact_sap_added"] * is_stopped
    assert (answer["best"]["exact_sap_added"] == -1.0) == is_stopped


def test_rows_that_would_take_too_long_are_left_out():
    seconds = {"ap": 1.0, "sap": 1.3, "exact_sap_added": 1.0}
    measure._check_is_bearable("sap_many", seconds, 21.0)  # a trial takes 0.02 s
    measure._check_is_bearable("exact_sap", seconds, 21.0)
    with pytest.raises(measure.TooSlowError, match="it would take about 20 s"):
        measure._check_is_bearable("sap_many", seconds, 19.0)
    del seconds["exact_sap_added"]
    with pytest.raises(measure.TooSlowError):
        measure._check_is_bearable("exact_sap", seconds, 21.0)
