"""The comparison of all methods: its claims name trained rows, its verdicts are right, and a small one runs whole."""

from __future__ import annotations

import csv
import io
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

import compare_methods as compare


def test_every_claim_is_of_rows_that_are_trained():
    claims = [claim for of_paper in compare.CLAIMS.values() for claim in of_paper]
    for claim in claims:
        comparison = compare.COMPARISONS[claim.data]
        names = {row.name for row in comparison.rows + comparison.ablations}
        assert {claim.one, claim.other} <= names
        heading, _, prior = claim.metric.partition(", ")
        assert heading in compare.PRINTABLE
        assert prior in ("", *compare.PRIORS)
        assert prior == "" or {claim.one, claim.other} <= set(comparison.priors)
    assert len({(claim.data, claim.one, claim.other, claim.metric) for claim in claims}) == len(claims)


def test_printed_differences_are_those_of_the_papers():
    every = (claim for of_paper in compare.CLAIMS.values() for claim in of_paper)
    claims = {(claim.one, claim.other, claim.metric): claim for claim in every}
    for key, printed in {
        ("framestack:r101", "bce:r101", "Tail"): 0.021,
        ("move:r101", "bce:r101-agg", "All"): 0.029,
        ("move:r101-mk0.01", "bce:r101-agg-mk0.01", "Acc@1"): 0.017,
        ("meid:r50", "bce:r101", "All"): 0.120,  # .619 and .499, of ResNet-50
        ("meid:r101-charadeslt", "cbs:r101-charadeslt", "Tail"): 0.029,
        ("medc:r101", "medc:r101-expert1", "All"): 0.037,
        ("ava_two_stage", "bce:r101", "SAP tail"): 0.062,
    }.items():
        assert claims[key].printed == pytest.approx(printed)
    assert claims["medc:r101", "bce:r101", "All, inverse"].printed is None


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((0.02, 0.03, 0.025), "holds"),
        ((-0.02, -0.03, -0.025), "**the opposite**"),
        ((0.02, -0.001, 0.03), "undecided"),  # differs in sign between seeds
        ((0.001, 0.03, 0.001), "undecided"),  # positive in every seed, by less than two standard errors
    ],
)
def test_three_seeds_decide_or_do_not(differences, verdict):
    assert compare.judged(np.array(differences)) == verdict


@pytest.mark.parametrize(
    ("differences", "row_error", "verdict"),
    [
        ((0.02, 0.03, 0.025), 0.001, "holds"),
        ((0.02, 0.03, 0.025), 0.02, "undecided"),  # other test rows could turn the sign
        ((-0.02, -0.03, -0.025), 0.001, "**the opposite**"),
        ((0.0197, 0.037, 0.0543), 0.007, "undecided"),  # the sum alone would decide, by its degrees of freedom
        ((0.02, 0.02, 0.02), 0.009, "holds"),
        ((0.02, 0.02, 0.02), 0.011, "undecided"),
    ],
)
def test_a_verdict_needs_the_seeds_and_the_test_rows(differences, row_error, verdict):
    assert compare.judged(np.array(differences), row_error) == verdict
    if verdict != "undecided":
        assert compare.judged(np.array(differences)) == verdict


def test_every_row_is_configured():
    for comparison in compare.COMPARISONS.values():
        for row in comparison.rows + comparison.ablations:
            settings = row.all_settings(comparison.epochs)
            assert settings["lr"] == compare.COMMON["lr"]
            has_clusters = any(word in row.name for word in ("agg", "codebook", "nextvlad", "charadeslt", "move"))
            assert ("clusters" in settings) == has_clusters


def test_a_small_comparison_whole(monkeypatch, tmp_path, capsys):
    small = compare.Comparison(
        "A small one",
        2,
        {"profile": "videolt", "scale": 0.002, "dim": 8, "feature_std": 2.0},
        compare.rows("bce:r101", "framestack:r101"),
        papers=("videolt-1",),
        priors=("bce:r101",),
    )
    monkeypatch.setattr(compare, "COMPARISONS", {"videolt": small})
    monkeypatch.setattr(compare, "CLAIMS", {"FrameStack": compare.CLAIMS["FrameStack (VideoLT)"][:1]})
    arguments = ["--work", str(tmp_path / "work"), "--out", str(tmp_path), "--jobs", "1"]
    monkeypatch.setattr(sys, "argv", ["compare_methods.py", *arguments])
    compare.main()
    text = capsys.readouterr().out
    (page,) = tmp_path.glob("methods-*.md")
    assert page.read_text() == text
    for part in ("| framestack:r101 - bce:r101 | All | +0.016 |", "### Beside videolt-1, as printed", "All, inverse"):
        assert part in text
    (claim,) = (line for line in text.splitlines() if "| framestack:r101 - bce:r101 | All |" in line)
    assert float(claim.split("|")[8]) > 0  # the standard error by test rows
    assert "| **minus bce:r101** |" in text
    (table,) = tmp_path.glob("methods-videolt-*.csv")
    assert [(line["method"], line["n"]) for line in csv.DictReader(io.StringIO(table.read_text()))] == [
        ("bce:r101", "3"),
        ("framestack:r101", "3"),
    ]
    capsys.readouterr()
    monkeypatch.setattr(compare, "train", None)  # finished runs are kept
    compare.main()
    assert capsys.readouterr().out.splitlines()[8:] == text.splitlines()[8:]
