"""docs/formats.md is true: each of its rows is read with the right values, or refused with the sentence that it shows.

VLTR_UPDATE_DOCS=1 writes the page anew. Versions of the libraries are recorded in it and not compared.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import vltr_eval
from vltr_eval.formats import LabelPairs, Scores, read_pair

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode adds nothing

from format_cases import BITS, LABELS, NAMES, SCORES, Case, make_cases

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"
LIBRARIES = ("numpy", "scipy", "torch", "safetensors", "pyarrow", "pandas", "polars", "h5py", "zarr")
CASES = list(make_cases())

INTRODUCTION = """\
# Formats, dtypes and layouts

Each row is proved by `tests/eval/formats/test_format_table.py`: the library writes the file, vltr reads it, and the
values are compared; or vltr refuses it with the sentence shown. `docs/reading.md` has the rules. FILE stands for the
file's name, DTYPE for the dtype of the row.

`VLTR_UPDATE_DOCS=1 pytest tests/eval/formats/test_format_table.py` writes this page anew.

"""


def read_case(case: Case, stem: Path) -> np.ndarray | str:
    """The values of a case, or the sentence that refuses it, without the file's folder and name."""
    value = case.make(stem)
    try:
        if isinstance(value, torch.Tensor):
            return _through_ranks(value)
        other = Scores(np.zeros((3, 3)), NAMES) if case.role == LABELS else np.zeros((3, 3))
        if case.role == LABELS:
            return _dense(read_pair(other, value).labels)
        return _numbers(vltr_eval.read_scores(value) if isinstance(value, Path) else _frame_scores(value))
    except (ValueError, TypeError) as error:
        return str(error).replace(str(value), "FILE") if isinstance(value, Path) else str(error)


def _frame_scores(frame) -> Scores:
    labels = vltr_eval.formats.Labels(BITS, None)
    return Scores(read_pair(frame, labels).scores)


def _numbers(scores: Scores) -> np.ndarray:
    values = scores.values
    return values.double().numpy() if isinstance(values, torch.Tensor) else np.asarray(values).astype(np.float64)


def _dense(labels) -> np.ndarray:
    if isinstance(labels, LabelPairs):
        dense = np.zeros((labels.num_rows, 3))
        dense[labels.rows, labels.classes] = 1
        return dense
    return labels.double().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels).astype(np.float64)


def _through_ranks(tensor: torch.Tensor) -> np.ndarray:
    """The values of a tensor in memory, as the thresholds of a rank table in which every row is positive."""
    labels = np.ones(tuple(tensor.shape), np.uint8)
    thresholds = vltr_eval.rank_table(tensor, labels).thresholds
    values = np.array([vltr_eval.rank_table(row[None], labels[:1]).thresholds for row in tensor], np.float64)
    assert set(thresholds.tolist()) == set(values.reshape(-1).tolist())
    return values


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> list[np.ndarray | str]:
    folder = tmp_path_factory.mktemp("formats")
    return [read_case(case, folder / f"file{number}") for number, case in enumerate(CASES)]


def test_every_case_has_its_values_or_a_sentence(outcomes):
    for case, outcome in zip(CASES, outcomes, strict=True):
        name = f"{case.format}, {case.dtype}, {case.layout}, {case.role}"
        if case.expected is None:
            assert isinstance(outcome, str), f"{name}: read as {outcome}"
            assert "\n" not in outcome, name
        else:
            assert not isinstance(outcome, str), f"{name}: {outcome}"
            np.testing.assert_array_equal(outcome, case.expected, err_msg=name)


def rows_of_table(outcomes) -> list[str]:
    """The rows of the table; dtypes with the same result share one."""
    dtypes: dict[tuple[str, str, str, str], dict[str, None]] = {}
    for case, outcome in zip(CASES, outcomes, strict=True):
        result = "read" if not isinstance(outcome, str) else "refused: " + _without_dtype(outcome, case.dtype)
        dtypes.setdefault((case.format, case.layout, case.role, result), {})[case.dtype] = None
    lines = ["| format | dtype | layout | as | result |", "|---|---|---|---|---|"]
    for (format, layout, role, result), names in dtypes.items():
        cells = (format, ", ".join(names), layout, role, result)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |")
    return lines


def _without_dtype(sentence: str, dtype: str) -> str:
    return re.sub(rf"(got (?:torch\.)?){re.escape(dtype)}(?=;|$)", r"\1DTYPE", sentence)


def versions() -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)


def test_page_shows_these_rows(outcomes):
    rows = rows_of_table(outcomes)
    if os.environ.get("VLTR_UPDATE_DOCS"):
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(f"{INTRODUCTION}Tried with {versions()}.\n\n" + "\n".join(rows) + "\n", encoding="utf-8")
    shown = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    if importlib.util.find_spec("zarr") is None:  # it needs Python 3.11
        shown = [line for line in shown if not line.startswith("| .zarr")]
    assert shown == rows, "VLTR_UPDATE_DOCS=1 writes docs/formats.md anew"


def test_table_has_every_format(outcomes):
    formats = {case.format for case in CASES}
    assert {".npy", ".npz", ".safetensors", ".pt", ".parquet", ".csv", ".tsv", ".txt", ".json", ".jsonl"} <= formats
    assert {case.role for case in CASES} == {SCORES, LABELS}
    assert all(re.fullmatch(r"[ -~]+", line) for line in rows_of_table(outcomes))
