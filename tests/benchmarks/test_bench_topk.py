"""bench_topk.py and bench_scale.py on their smallest inputs."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("scipy")
import bench_scale
import bench_topk
from bench_topk import METHODS

from vltr_eval.ranked_lists import evaluate_topk, read_ranked_lists
from vltr_eval.ranked_lists.files import read_list_labels


def test_methods_agree_on_the_files(monkeypatch, tmp_path, capsys):
    arguments = ["--rows", "300", "--classes", "2000", "--k", "20", "--runs", "1", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["bench_topk.py", *arguments, "--out", str(tmp_path / "out.md")])
    monkeypatch.setattr(bench_topk, "measure", bench_topk.measure_here)  # in this process
    assert bench_topk.main() == 0
    assert capsys.readouterr().out == (tmp_path / "out.md").read_text()
    counts = np.load(tmp_path / "counts.npy")
    found = []
    for kind in ("npz", "csv"):
        lists = read_ranked_lists(tmp_path / f"lists.{kind}", 2000)
        labels = read_list_labels(tmp_path / f"labels.{kind}", num_classes=2000)
        found.append(evaluate_topk(lists, labels, train_counts=counts, num_train_rows=900).metrics())
    easy = METHODS["a loop in numpy (P, nDCG, PSP), .npz"]()(tmp_path)
    for name, value in easy.items():
        assert found[0][f"{name}@5"] == pytest.approx(value, abs=1e-12)
        assert found[1][f"{name}@5"] == pytest.approx(value, abs=1e-12)


def test_every_operation_of_the_large_matrix_gives_a_row(monkeypatch, tmp_path, capsys):
    arguments = ["--rows", "70", "--classes", "900", "--runs", "1", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["bench_scale.py", *arguments])
    assert bench_scale.main() == 0
    text = capsys.readouterr().out
    for name in ("read() of the file", "average_precision", "evaluate: AP, ROC-AUC, Acc@1,5"):
        assert f"| {name} | " in text
