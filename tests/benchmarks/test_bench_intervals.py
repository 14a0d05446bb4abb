"""bench_intervals.py on shrunk shapes: each row has a time, and each peer a time for a replicate."""

from __future__ import annotations

import sys

import bench_intervals as bench
import numpy as np
import pytest


def case(**seconds: float) -> bench.Case:
    times = dict.fromkeys(bench.rows_of(1_000), 1.0) | seconds
    return bench.Case("a case", 100, 10, 50, 1_000, times, dict.fromkeys(times, 2**20))


def test_targets_are_judged_at_their_limit():
    reached = case(ap=1.0, evaluate=1.0, interval=2.5, compare=6.0, bootstrap=1.5, bootstrap_all=4.0)
    reached.extra_bytes["bootstrap_all"] = 128 << 20
    assert [target.line(reached)[2] for target in bench.TARGETS] == ["reached"] * 5
    missed = case(ap=1.0, evaluate=1.0, interval=2.6, compare=6.1, bootstrap=1.6, bootstrap_all=4.1)
    missed.extra_bytes["bootstrap_all"] = 129 << 20
    assert [target.line(missed)[2] for target in bench.TARGETS] == ["**not reached**"] * 5


def test_memory_that_was_not_measured_reaches_no_target():
    unknown = case()
    unknown.extra_bytes["bootstrap_all"] = None
    assert bench.TARGETS[-1].line(unknown)[2] == "**not reached**"


def test_the_shortest_run_counts(monkeypatch):
    rows = {"ap": bench.Row("AP", lambda i: None), "other": bench.Row("other", lambda i: None)}
    times = {"ap": iter([3.0, 1.0, 2.0]), "other": iter([5.0, 6.0, 4.0])}
    titles = {"AP": "ap", "other": "other"}
    monkeypatch.setattr(bench, "timed", lambda inputs, row: next(times[titles[row.title]]))
    assert bench.shortest_runs(None, rows, 3) == {"ap": 1.0, "other": 4.0}


def test_a_peer_is_scaled_to_all_classes(monkeypatch):
    class Models:
        scores = np.zeros((100, 40), np.float32)
        labels = np.zeros((100, 40), np.uint8)
        threads = 2

    Models.labels[0, 5:] = 1
    calls = []
    monkeypatch.setitem(bench.PEERS, "mine", ("mine", lambda s, y, r, t: calls.append((s.shape, y.sum(), r, t)), False))
    monkeypatch.setattr(bench.time, "perf_counter", iter([0.0, 8.0]).__next__)
    peer = bench.measure_peer(Models, "mine", 1_000)
    assert calls[1] == ((100, 10), 10, bench.PEER_REPLICATES, 1)
    assert (peer.seconds, peer.classes) == (8.0 / bench.PEER_REPLICATES * 4, 10)

    def missing(*arguments):
        raise ImportError

    monkeypatch.setitem(bench.PEERS, "mine", ("mine", missing, False))
    assert bench.measure_peer(Models, "mine", 1_000) is None


def test_a_small_case_whole(monkeypatch, tmp_path, capsys):
    pytest.importorskip("sklearn")
    out = tmp_path / "intervals.md"
    arguments = ["--quick", "--shapes", "100x10-0.3", "--peers", "sklearn", "--threads", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["bench_intervals.py", *arguments])
    monkeypatch.setattr(bench, "memory_of", lambda *arguments: 1 << 20)  # without a process for each row
    monkeypatch.setattr(bench, "QUALITY", "only")
    assert bench.main() == 0
    text = capsys.readouterr().out
    assert out.read_text() == text
    for row in bench.rows_of(16).values():
        (line,) = (line for line in text.splitlines() if line.startswith(f"| {row.title} |"))
        assert line.split("|")[2].strip().endswith("s")
        assert line.split("|")[4].strip() == "1.00 MiB"
    assert "| scikit-learn in a loop (1 thread) |" in text
    assert "scaled from 10 classes, 2 replicates" in text
