"""bench_reduce.py on few videos: every row has a time, and the peers compute what vltr computes."""

from __future__ import annotations

import sys

import bench_reduce as bench
import numpy as np

from vltr_eval import reduce_rows


def test_every_row_of_the_tables_has_a_time(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_reduce.py", "--quick"])
    assert bench.main() == 0
    text = capsys.readouterr().out
    assert text.count("## 600 clips of 20 videos") == 4
    assert text.count("| `reduce_rows`, logmeanexp |") == 4
    assert "inf" not in text


def test_peers_compute_the_same_means():
    videos = np.repeat(np.arange(4), bench.VIEWS)
    scores = np.random.default_rng(0).random((len(videos), 3), np.float32)
    expected = reduce_rows(scores, videos).scores
    np.testing.assert_allclose(bench.pandas_mean(scores, videos).to_numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(bench.add_at(scores, videos, 4), expected, rtol=1e-6)
