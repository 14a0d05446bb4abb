"""The table of docs/drop_ins.md has every section, with its module, its version, and its rules, which are measured."""

from __future__ import annotations

import importlib
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from vltr_eval.patching.known import LIBRARIES

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "drop_ins.md").read_text(encoding="utf-8")
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in PAGE.splitlines()
    if line.startswith("| [") and "`compat." in line
]
MODULE = {cells[1].strip("`").removeprefix("compat."): cells for cells in ROWS}
SCORES = np.float32([[0.9, 0.3], [0.8, 0.2]])
EQUAL = np.full((2, 2), 0.5, np.float32)


def load(name):
    return importlib.import_module(f"vltr_eval.compat.{name}")


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def of_meter(meter, *more):
    """Return the mean of a meter's values."""

    def mean(scores, labels):
        torch = pytest.importorskip("torch")
        meter_of_two = meter()
        meter_of_two.add(torch.tensor(scores), torch.tensor(labels), *more)
        return meter_of_two.value().mean()

    return mean


def of_tensors(function):
    """Return a function of arrays that calls one of tensors."""

    def call(scores, labels):
        torch = pytest.importorskip("torch")
        return function(torch.tensor(scores), torch.tensor(labels))

    return call


def of_youtube8m(scores, labels):
    calculator = load("youtube8m").MeanAveragePrecisionCalculator(2)
    calculator.accumulate(scores.T.tolist(), labels.T.tolist())
    return np.mean(calculator.peek_map_at_n())


def of_panns(scores, labels):
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Linear):
        def forward(self, waveform):
            return {"clipwise_output": waveform}

    batch = {"audio_name": ["a", "b"], "waveform": scores, "target": labels}
    return load("panns").Evaluator(Model(1, 1)).evaluate([batch])["average_precision"].mean()


MEANS = {
    "sklearn": lambda s, y: load("sklearn").average_precision_score(y, s),
    "torchmetrics": of_tensors(lambda s, y: load("torchmetrics").MultilabelAveragePrecision(num_labels=2)(s, y)),
    "torcheval": of_tensors(lambda s, y: load("torcheval").multilabel_auprc(s, y, num_labels=2)),
    "birdset": of_tensors(lambda s, y: load("birdset").cmAP(num_labels=2)(s, y)),
    "torchnet": lambda s, y: of_meter(load("torchnet").APMeter)(s, y),
    "mlgcn": lambda s, y: of_meter(load("mlgcn").AveragePrecisionMeter)(s, y),
    "addgcn": lambda s, y: of_meter(load("addgcn").AveragePrecisionMeter, ["a", "b"])(s, 2 * y - 1),
    "asl": lambda s, y: load("asl").mAP(y, s) / 100,
    "clip_benchmark": of_tensors(lambda s, y: load("clip_benchmark").average_precision_per_class(s, y).mean()),
    "charades": lambda s, y: load("charades").map(s, y)[0],
    "pyvideoresearch": lambda s, y: load("pyvideoresearch").map(s, y)[0],
    "youtube8m": of_youtube8m,
    "ast": lambda s, y: np.mean([of_class["AP"] for of_class in load("ast").calculate_stats(s, y)]),
    "panns": of_panns,
    "slowfast": lambda s, y: load("slowfast").get_map(s, y),
    "mmaction2": lambda s, y: load("mmaction2").mean_average_precision(list(s), list(y)),
    "mmpretrain": of_tensors(lambda s, y: load("mmpretrain").AveragePrecision.calculate(s, y) / 100),
}


def mean_of(module, scores, labels):
    """Return the mean AP of two classes, or the name of the error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return round(float(MEANS[module](scores, np.int64(labels))), 6)
        except ZeroDivisionError as error:
            return type(error).__name__


def test_the_table_has_a_row_for_each_section():
    headings = re.findall(r"^###? (.+)$", PAGE, re.MULTILINE)
    assert [cells[0] for cells in ROWS] == [f"[{heading}](#{slug(heading)})" for heading in headings]


@pytest.mark.parametrize("module", sorted(MODULE))
def test_a_row_names_the_module_and_its_version(module):
    heading = re.match(r"\[(.+?)\]", MODULE[module][0])[1]
    section = re.split(r"^###? ", PAGE, flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(f"{heading}\n")]
    parent, _, child = f"vltr_eval.compat.{module}".rpartition(".")
    assert f"{parent}.{child}" in text or f"from {parent} import {child}" in text
    version = MODULE[module][2]
    sources = [*(ROOT / "vltr_eval" / "compat").rglob("*.py"), ROOT / "vltr_eval" / "convention" / "definitions.py"]
    for commit in re.findall(r"\b[0-9a-f]{8}\b", version):
        assert any(commit in path.read_text(encoding="utf-8") for path in sources)
    (tested,) = [library.tested for library in LIBRARIES if library.name == module] or [("", "")]
    if tested[0]:
        numbers = [
            [int(number) for number in text.split(".")] for text in (*re.findall(r"\d[\d.]*", version), tested[1])
        ]
        assert re.findall(r"\d[\d.]*", version)[0] == tested[0]
        assert [*numbers[-2][:-1], numbers[-2][-1] + 1] == numbers[-1]  # the last one, before the first untested one


@pytest.mark.parametrize("module", sorted(MEANS))
def test_the_rules_of_a_row_are_measured(module):
    absent, ties = MODULE[module][3:]
    found = mean_of(module, SCORES, [[1, 0], [0, 0]])
    assert {0.5: "0", 1.0: "left out", "ZeroDivisionError": "ZeroDivisionError"}.get(found, "NaN") == absent
    first, last = (mean_of(module, EQUAL, labels) for labels in ([[1, 1], [0, 0]], [[0, 0], [1, 1]]))
    known = {(0.5, 0.5): "one threshold", (1.0, 0.5): "lower row first", (0.5, 1.0): "higher row first"}
    assert known[first, last] == ties
