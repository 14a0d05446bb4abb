"""bench_conventions.py on a shrunk shape: each input has a ratio."""

from __future__ import annotations

import sys

import bench_conventions as bench


def test_a_quick_run_has_a_ratio_for_each_input(monkeypatch, tmp_path, capsys):
    out = tmp_path / "conventions.md"
    monkeypatch.setattr(sys, "argv", ["bench_conventions.py", "--quick", "--runs", "1", "--out", str(out)])
    assert bench.main() == 0
    text = capsys.readouterr().out
    assert out.read_text() == text
    for name in ("probabilities", "two digits", "logits"):
        (line,) = (line for line in text.splitlines() if line.startswith(f"| 200 x 20, {name} |"))
        assert float(line.split("|")[4]) > 0


def test_every_class_has_a_positive():
    labels, inputs = bench.inputs_of(50, 8)
    assert labels.any(axis=0).all()
    assert {scores.shape for scores in inputs.values()} == {(50, 8)}
