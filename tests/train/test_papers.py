"""The papers' files are well-formed, and no number that a paper prints stands in code."""

from __future__ import annotations

import ast
from importlib import resources
from pathlib import Path

import pytest

pytest.importorskip("torch")

import vltr_train
from vltr_train.methods import all_methods
from vltr_train.papers import PAPERS, method_order, printed_rows, read_rows
from vltr_train.runs.tables import PRINTABLE

METHODS = all_methods()
HEAD = "table,row,method,preset,features,All"


def test_each_file_is_a_paper():
    files = {entry.name for entry in resources.files("vltr_train.papers").iterdir() if entry.name.endswith(".csv")}
    assert files == {f"{paper}.csv" for paper in PAPERS}


@pytest.mark.parametrize("paper", PAPERS)
def test_files_are_well_formed(paper):
    text = resources.files("vltr_train.papers").joinpath(f"{paper}.csv").read_bytes().decode("ascii")
    assert text.endswith("\n")
    assert "\r" not in text
    head, *lines = text.splitlines()
    assert len(set(lines)) == len(lines)
    assert head.split(",")[:6] == ["table", "repeated_in", "row", "method", "preset", "features"]
    headings = [column for column in head.split(",")[6:] if column != "data"]
    assert set(headings) <= set(PRINTABLE)
    for row in read_rows(text.splitlines()):
        assert list(row.numbers) == headings
        assert any(number is not None for number in row.numbers.values())
        assert row.method in METHODS
        assert row.table not in row.repeated_in
        assert len(set(row.repeated_in)) == len(row.repeated_in)
        assert row.data.startswith(row.table.partition("-")[0] if row.data else "")


@pytest.mark.parametrize("row", printed_rows(), ids=lambda row: f"{row.table} {row.method}:{row.preset}")
def test_a_preset_reproduces_each_row(row):
    preset = METHODS[row.method].presets[row.preset]
    assert (preset.row, preset.backbone, preset.data) == (row.row, row.features, row.data)
    assert row.table in preset.tables
    of_table = preset.printed if row.table == preset.tables[0] else preset.quoted[row.table]
    expected = [number for number in row.numbers.values() if number is not None]
    assert sorted(number for number in of_table if number is not None) == sorted(expected)


def test_presets_are_of_papers():
    rows = {(row.method, row.preset) for row in printed_rows()}
    assert rows == {(name, preset) for name, kind in METHODS.items() for preset in kind.presets}


def test_rows_have_the_order_of_the_papers():
    assert method_order()[:5] == ("bce", "ldam_drw", "eql", "cbs", "srs")
    assert method_order()[-1] == "ava_two_stage"
    assert set(method_order()) == {name for name, kind in METHODS.items() if kind.presets}


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["table,row"], "paper: expected the columns .*, got none named method, preset, features"),
        ([], "paper: expected the columns .*"),
        ([HEAD, "videolt-1,a,b,c,d"], "paper, line 2: expected a cell for each column, got more or fewer"),
        ([HEAD, "videolt-1,a,b,c,d,0.1,0.2"], "paper, line 2: expected a cell for each column, got more or fewer"),
        ([HEAD, "videolt-1,a,,c,d,0.1"], "paper, line 2: expected text .*, got an empty method"),
        ([HEAD, "videolt-1,a,b,c,d,51.6"], "paper, line 2, All: expected a fraction .*, got '51.6'"),
        ([HEAD, "videolt-1,a,b,c,d,-"], "paper, line 2, All: expected a fraction .*, got '-'"),
        ([HEAD, "videolt-1,a,b,c,d,nan"], "paper, line 2, All: expected a fraction .*, got 'nan'"),
    ],
)
def test_wrong_files(lines, error):
    with pytest.raises(ValueError, match=f"^{error}$"):
        read_rows(lines)


def _has_printed_numbers(tree: ast.AST) -> bool:
    """Whether a tuple or list holds three fractions or more, as rows of printed tables do."""
    sequences = [node.elts for node in ast.walk(tree) if isinstance(node, (ast.Tuple, ast.List))]
    fractions = [
        [element for element in elements if isinstance(element, ast.Constant) and isinstance(element.value, float)]
        for elements in sequences
    ]
    return any(sum(0 < element.value < 1 for element in found) >= 3 for found in fractions)


CODE = [*Path(vltr_train.__file__).parent.glob("methods/*.py"), Path(vltr_train.__file__).parent / "presets.py"]


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.stem)
def test_no_printed_numbers_in_code(path):
    assert not _has_printed_numbers(ast.parse(path.read_text(encoding="utf-8")))


def test_printed_numbers_in_code_would_be_found():
    assert _has_printed_numbers(ast.parse("published('x', {'r50': (0.1, 0.2, 0.3, None)})"))
