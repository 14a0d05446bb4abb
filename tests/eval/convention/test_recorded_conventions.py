"""Each convention has the number that its original printed on small inputs, or an interval that contains it.

recorded_numbers.csv holds the numbers: one line for each original, made by running it. ~ marks a number that changed
when numpy's SIMD sort was switched off; lines "without SIMD" have the other one.
"""

from __future__ import annotations

import csv
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from small_inputs import LABELS_A, LABELS_B, LABELS_C, A, B, C

from vltr_eval import conventions
from vltr_eval.convention.definitions import ABSENT_RULES, CONVENTIONS, FAMILIES, SQUASH_RULES, TIE_RULES

COLUMNS = ("A", "B", "B reversed", "B3", "C", "C after sigmoid")
DIFFICULT = ((4, 0), (9, 3), (2, 1))  # cells that the lines with "3 difficult" leave out

# Conventions of this package, without a published original.
OURS = {"roc-auc-error", "roc-auc-left-out", "sampled", "sampled-exact"}


def read_recorded():
    with open(Path(__file__).with_name("recorded_numbers.csv"), encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


RECORDED = read_recorded()


def float32_sigmoid(scores):
    """Each step in float32, as torch computes the sigmoid on a CPU."""
    one = np.float32(1)
    return one / (one + np.exp(-np.float64(np.float32(scores))).astype(np.float32))


INPUTS = {
    "A": (A, LABELS_A),
    "B": (B, LABELS_B),
    "B reversed": (B[::-1], LABELS_B[::-1]),
    "B3": (B[:, :3], LABELS_B[:, :3]),
    "C": (C, LABELS_C),
    "C after sigmoid": (float32_sigmoid(C), LABELS_C),
}


@cache
def result_of(column, top_k=20, difficult=False):
    scores, labels = INPUTS[column]
    mask = None
    if difficult:
        mask = np.ones((12, 4), bool)
        mask[tuple(zip(*DIFFICULT, strict=True))] = False
        mask = mask[:, : labels.shape[1]] | (labels == 1)  # a positive is not difficult
    return conventions(scores, labels, top_k=top_k, mask=mask, threads=1)


CASES = [(line, column) for line in RECORDED for column in COLUMNS if line[column]]


@pytest.mark.parametrize(("line", "column"), CASES, ids=[f"{line['original']} on {column}" for line, column in CASES])
def test_conventions_have_the_recorded_number(line, column):
    original = line["original"]
    top_k = 2 if "top_k=2" in original or "GAP@2," in f"{original}," else 20
    value = result_of(column, top_k, "3 difficult" in original)[line["convention"]]
    text, tolerance = line[column], float(line["tolerance"])
    if text == "nan":
        assert value.why.startswith("nan: ")
    elif text.endswith("Error"):
        assert value.why.startswith("error: ")
    else:
        number = float(text.rstrip("~")) / float(line["scale"])
        assert not value.why
        assert value.low - tolerance <= number <= value.high + tolerance
        if value.convention.ties not in ("unstable", "shuffled"):
            assert value.value == pytest.approx(number, rel=0, abs=tolerance)


def test_intervals_are_where_the_order_of_ties_is_open():
    for column in COLUMNS:
        for value in result_of(column):
            if value.convention.ties not in ("unstable", "shuffled"):
                assert not value.is_interval
    assert result_of("B")["step-unstable-left-out"].is_interval
    assert not any(value.is_interval for value in result_of("A"))


def test_every_convention_has_a_recorded_original():
    recorded = {line["convention"] for line in RECORDED}
    assert {convention.key for convention in CONVENTIONS} == recorded | OURS


def test_tie_bounds_are_those_that_were_recorded():
    """The ends over all orders, made by trying them."""
    for column, bounds, envelope in (
        ("B3", (0.763150, 0.841017), (0.770595, 0.841017)),
        ("C after sigmoid", (0.441561, 0.903803), (0.591964, 0.912500)),
    ):
        result = result_of(column)
        step, highest = result["step-unstable-left-out"], result["envelope-left-out"]
        assert (step.low, step.high) == pytest.approx(bounds, abs=1e-6)
        assert (highest.low, highest.high) == pytest.approx(envelope, abs=1e-6)


def test_registry_uses_known_rules():
    keys = [convention.key for convention in CONVENTIONS]
    assert len(set(keys)) == len(keys)
    for convention in CONVENTIONS:
        assert convention.family in FAMILIES
        assert convention.absent in ABSENT_RULES
        assert convention.ties in TIE_RULES
        assert convention.squash in SQUASH_RULES
        assert convention.used_by
        assert convention.definition.endswith(".")
        assert (
            convention.definition.count(".") == 1 or "0.1" in convention.definition or "0.01" in convention.definition
        )


def test_sources_have_a_commit_or_a_version():
    for convention in CONVENTIONS:
        for use in convention.used_by:
            pinned = "@" in use.source or any(character.isdigit() for character in use.source)
            assert pinned or use.source in ("jhuus/HawkEars core/metrics.py", "vltr_eval.evaluate"), use


def test_undefined_values_are_no_numbers():
    for value in result_of("B"):
        assert math.isnan(value.low) == bool(value.why)
