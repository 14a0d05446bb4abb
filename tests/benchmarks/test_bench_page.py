"""bench_page.py on shrunk shapes: each row has a time, and the parts of a page add up to less than the whole."""

from __future__ import annotations

import bench_page as bench


def case(num_bytes: int, **seconds: float) -> bench.Case:
    return bench.Case(100, 10, num_bytes, seconds=dict.fromkeys(bench.ROWS, 1.0) | seconds)


def test_targets_are_judged_at_their_limit():
    reached = case(2_000_000, ap=0.125, details=0.375, html=0.125)
    assert [target.line(reached)[2] for target in bench.TARGETS] == ["reached"] * 3
    missed = case(2_010_000, ap=0.125, details=0.376, html=0.126)
    assert [target.line(missed)[2] for target in bench.TARGETS] == ["**not reached**"] * 3


def test_small_cases_whole(tmp_path, capsys):
    out = tmp_path / "page.md"
    assert bench.main(["--quick", "--threads", "1", "--turns", "1", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert out.read_text() == text
    assert text.count("A page adds ") == 2
    for row in bench.ROWS.values():
        assert text.count(f"| {row.title} |") == 2
    assert "## 600 x 90" in text
    assert "## Targets" in text


def test_the_parts_of_a_page_add_up_to_most_of_it():
    found = bench.measure_case(*bench.QUICK["videolt"], 1, 1)
    assert 0.9 * found.num_bytes < sum(found.parts.values()) < found.num_bytes
