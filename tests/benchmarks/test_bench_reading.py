"""bench_reading.py on its smallest input: every format has readers, and each gives a line of the table."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("pyarrow")
import bench_reading
from bench_reading import FORMATS, READERS


def test_every_reader_gives_a_row(monkeypatch, tmp_path, capsys):
    out = tmp_path / "reading.md"
    monkeypatch.setattr(sys, "argv", ["bench_reading.py", "--scale", "0.0001", "--runs", "1", "--out", str(out)])
    monkeypatch.setattr(bench_reading, "measure", bench_reading.measure_here)  # in this process
    assert bench_reading.main() == 0
    text = out.read_text()
    assert capsys.readouterr().out == text
    assert READERS.keys() == FORMATS.keys()
    for name, (file_name, *_) in FORMATS.items():
        assert f"| {file_name} | " in text
        assert "vltr" in READERS[name]


def test_reader_that_is_not_installed_is_left_out(monkeypatch, tmp_path):
    def missing():
        raise ImportError

    path = tmp_path / "p.csv"
    path.write_text("a,b\n10,0.25\n")
    monkeypatch.setitem(READERS, "csv", {"missing": missing, "vltr": READERS["csv"]["vltr"]})
    monkeypatch.setattr(bench_reading, "measure", bench_reading.measure_here)
    (row,) = bench_reading.rows_of("csv", path, 1)
    assert row[:3] == ["p.csv", "12 B", "vltr"]
