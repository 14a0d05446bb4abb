"""bench_containers.py on its smallest input: each container that is installed gives a line of the table."""

from __future__ import annotations

from pathlib import Path

import bench_containers
import numpy as np
import pytest
from bench_containers import CASES


def test_each_container_gives_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_containers, "CASES", [case for case in CASES if case.needs in ("numpy", "h5py")])
    text = bench_containers.compare(tmp_path, 0.001, 1)
    lines = [line.split("|") for line in text.splitlines() if line.startswith("| .")]
    assert [cells[1].strip() for cells in lines] == [case.name for case in bench_containers.CASES]
    assert "the reports are the same bytes" in text


def test_a_container_with_other_values_is_found(tmp_path, monkeypatch):
    def wrong(source: Path, target: Path) -> None:
        np.save(target, np.load(source) ** 2 - np.load(source))

    cases = [CASES[0], bench_containers.Case("wrong", ".npy", wrong)]
    monkeypatch.setattr(bench_containers, "CASES", cases)
    with pytest.raises(SystemExit, match="reports differ"):
        bench_containers.compare(tmp_path, 0.001, 1)
