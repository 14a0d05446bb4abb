"""The fair test of the papers' claims: its rules on made-up numbers, its plan, and a small one that runs whole."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import compare_methods as compare
import comparisons as plan
import kept_runs
from kept_runs import full_rate_phases
from verdicts import Difference, plateau_rise, unmet, verdict


def test_every_claim_is_of_rows_that_are_trained():
    claims = [claim for of_paper in plan.CLAIMS.values() for claim in of_paper]
    for claim in claims:
        comparison = plan.COMPARISONS[claim.data]
        trained = {row.name for row in comparison.rows}
        assert {claim.one, claim.other} <= trained | {row.name for row in comparison.left_out}
        assert claim.baseline in trained
        heading, _, prior = claim.metric.partition(", ")
        assert heading in compare.PRINTABLE
        assert prior in ("", *plan.PRIORS)
        assert prior == "" or {claim.one, claim.other} <= set(comparison.priors)
    assert len({(claim.data, claim.one, claim.other, claim.metric) for claim in claims}) == len(claims)


def test_printed_differences_are_those_of_the_papers():
    claims = {
        (claim.data, claim.one, claim.other, claim.metric): claim
        for of_paper in plan.CLAIMS.values()
        for claim in of_paper
    }
    for key, printed in {
        ("main", "FrameStack-FL", "BCE", "Tail"): 0.021,
        ("main", "MOVE", "Agg BCE", "All"): 0.029,
        ("strokes", "Agg BCE", "BCE", "All"): 0.174,
        ("motion", "MEID", "BCE", "All"): 0.120,  # .619 and .499, of ResNet-50
        ("main", "MEDC", "MEDC longtail", "All"): 0.037,
        ("main", "AVA", "BCE", "SAP tail"): 0.062,
    }.items():
        assert claims[key].printed == pytest.approx(printed)
    assert claims["main", "MEDC", "BCE", "All, inverse"].printed is None
    assert claims["main", "MOVE", "MOVE as coded", "All"].printed is None  # two rows of one preset
    assert claims["motion", "MEID", "MEID without motion", "All"].printed is None


def test_regularisers_are_judged_by_the_baseline_of_their_aggregator():
    baselines = {(claim.one, claim.other): claim.baseline for claim in plan.CLAIMS["MOVE"] if claim.needs}
    assert set(baselines.values()) == {"Agg BCE"}
    framestack = {(claim.one, claim.other): claim.baseline for claim in plan.CLAIMS["FrameStack (VideoLT)"]}
    assert framestack["BCE", "mixup"] == framestack["FrameStack-FL", "focal"] == "BCE"
    assert framestack["Agg FrameStack-FL", "Agg BCE"] == "Agg BCE"


def test_the_command_of_the_docs_makes_the_main_set():
    page = Path(__file__).parents[2] / "docs" / "training" / "synthetic_data.md"
    command = page.read_text(encoding="utf-8").split("```")[1].replace("\\\n", " ").split()
    given = dict(zip(command[3::2], command[4::2], strict=True))  # after vltr-train synth data
    wanted = {f"--{name.replace('_', '-')}": value for name, value in plan.MAIN.items() if name != "profile"}
    texts = {name: ",".join(f"{each:g}" for each in np.atleast_1d(value)) for name, value in wanted.items()}
    assert given == texts
    assert plan.MAIN["profile"] == "videolt"  # the default


def test_seeds_of_tuning_decide_nothing():
    assert plan.TUNING_SEED not in plan.SEEDS
    assert len(set(plan.SEEDS)) == 5


@pytest.mark.parametrize(
    ("by_seed", "found"),
    [
        ((0.02, 0.03, 0.025, 0.022, 0.028), "holds"),
        ((-0.02, -0.03, -0.025, -0.022, -0.028), "**the opposite**"),
        ((0.02, -0.03, 0.03, 0.01, -0.01), "undecided"),
    ],
)
def test_verdicts_are_those_of_the_seeds(by_seed, found):
    assert verdict(Difference(by_seed), []) == found
    assert verdict(Difference(by_seed), ["views"]) == "not testable on this data (views)"


def test_a_training_that_diverged_decides_nothing():
    assert verdict(Difference((0.02, math.nan, 0.025)), []) == "not testable: a training diverged"


def test_an_interval_is_that_of_student_over_the_seeds():
    difference = Difference((0.01, 0.02, 0.03, 0.04, 0.05), (0.001,) * 5)
    error = math.sqrt(0.00025 / 5)  # the variance of 1 to 5 hundredths is 2.5e-4
    assert difference.mean == pytest.approx(0.03)
    assert difference.error == pytest.approx(error)
    assert difference.half_width == pytest.approx(2.776445 * error)  # t of 4 degrees of freedom
    assert difference.row_error == pytest.approx(0.001 / math.sqrt(5))
    assert difference.training_error == pytest.approx(math.sqrt(error**2 - 0.001**2 / 5))


def test_splits_of_the_same_videos_have_wider_intervals():
    apart, overlapping = (Difference((0.01, 0.02, 0.03, 0.04, 0.05), None, overlap) for overlap in (0.0, 0.25 / 0.6))
    assert overlapping.half_width / apart.half_width == pytest.approx(math.sqrt((1 / 5 + 0.25 / 0.6) * 5))


def test_plateaus_compare_the_last_two_fifths():
    assert plateau_rise([0.1, 0.2, 0.3, 0.4, 0.44]) == pytest.approx(0.1)
    assert plateau_rise([0.0] * 6 + [0.4, 0.4, 0.4, 0.4]) == pytest.approx(0.0)
    assert plateau_rise([0.3]) == math.inf


def test_stages_are_read_until_their_rate_falls():
    lines = [{"stage": "expert1", "lr": 0.1 if epoch < 6 else 0.01, "mAP": epoch / 10} for epoch in range(10)]
    lines += [{"stage": "expert2", "lr": 0.01 if epoch < 6 else 0.001, "mAP": 1 + epoch} for epoch in range(10)]
    lines += [{"stage": "classifier", "lr": 0.5**epoch} for epoch in range(4)]
    assert full_rate_phases(lines) == [[0, 0.1, 0.2, 0.3, 0.4, 0.5], [1, 2, 3, 4, 5, 6]]


def test_preconditions_are_named_where_they_are_not_met():
    facts = {"aggregators": 0.06, "overfits": 0.1, "views": 0.95, "plateau": 0.03}
    assert unmet(("aggregators", "views"), facts) == []
    assert unmet(("plateau", "overfits", "views"), facts) == ["plateau", "overfits"]


def results(text, lines):
    """The results without the load of the machine, which the provenance names."""
    return [line for line in text.splitlines() if not line.startswith("Load of the machine")], lines


def test_a_small_test_runs_whole_and_is_taken_up_again(tmp_path, monkeypatch, capsys):
    rows = (plan.Row("BCE", "bce:r101"), plan.Row("Agg BCE", "bce:r101-agg", plan.AGG))
    small = replace(plan.COMPARISONS["main"], rows=rows, priors=("BCE",), left_out=(plan.Row("mixup", "mixup:r101"),))
    claim = plan.Claim("the aggregators lift the baseline", "main", "Agg BCE", "BCE", "All", ("overfits", "views"))
    monkeypatch.setattr(plan, "COMPARISONS", {"main": small})
    of_others = plan.Claim("mixup is below the baseline", "main", "BCE", "mixup", "All", ("overfits",))
    monkeypatch.setattr(plan, "CLAIMS", {"MOVE": (claim,), "VideoLT": (of_others,)})
    monkeypatch.setattr(plan, "VARIANTS", {"the default": {}})
    monkeypatch.setattr(compare, "VARIANT_ROWS", (*rows, plan.Row("NetVLAD BCE", "bce", {"aggregator": "netvlad"})))
    text, lines = compare.compare(tmp_path, ["main", "variants"], 1, is_quick=True)
    (line,) = (line for line in text.splitlines() if line.startswith("| MOVE"))
    assert "Agg BCE - BCE" in line
    assert "+0.174" in line  # .690 and .516, as printed
    (line,) = (line for line in text.splitlines() if line.startswith("| VideoLT"))
    assert "| +0.021 | not trained |" in line  # .516 and .495, as printed
    assert "not testable on this data (" in line
    runs = list(csv.DictReader(io.StringIO(lines)))
    assert len(runs) == 2 * (2 + 2)  # two rates on the tuning seed, two seeds
    assert {run["row"] for run in runs} == {"BCE", "Agg BCE"}
    chosen = [run for run in runs if run["row"] == "BCE" and run["chosen"] == "1"]
    tuned = {float(run["validation"]): run["rate"] for run in runs if run["row"] == "BCE" and run["chosen"] == "0"}
    assert {run["rate"] for run in chosen} == {tuned[max(tuned)]}

    capsys.readouterr()
    assert results(*compare.compare(tmp_path, ["main", "variants"], 1, is_quick=True)) == results(text, lines)
    assert "/runs/" not in capsys.readouterr().err  # no run is made again
    unfinished = f"bce-lr{float(chosen[0]['rate']):g}-data{plan.SEEDS[0]}"
    (tmp_path / "main" / "runs" / unfinished / "facts.json").unlink()
    assert results(*compare.compare(tmp_path, ["main", "variants"], 1, is_quick=True)) == results(text, lines)
    assert f"1/1: {tmp_path / 'main' / 'runs' / unfinished}" in capsys.readouterr().err
    assert np.isfinite([float(run["mAP"]) for run in chosen]).all()

    (tmp_path / "main" / "runs" / unfinished / "facts.json").write_text("{}")  # as after a loss that is not finite
    text, _ = compare.compare(tmp_path, ["main"], 1, is_quick=True)
    (line,) = (line for line in text.splitlines() if line.startswith("| MOVE"))
    assert "not testable: a training diverged" in line


def test_a_row_of_more_epochs_takes_the_rate_of_a_shorter_one(tmp_path):
    rows = (plan.Row("BCE", "bce:r101"), plan.Row("BCE for longer", "bce:r101", {}, 3, tuned_as="BCE"))
    kept_runs.run_comparison(tmp_path, replace(plan.COMPARISONS["main"], rows=rows).smaller(), 1)
    folders = [folder.name for folder in (tmp_path / "runs").iterdir()]
    tuned = [name for name in folders if name.endswith(f"-data{plan.TUNING_SEED}")]
    assert len(tuned) == 2  # two rates, of the short row alone
    rates = {name.rpartition("-data")[0].rpartition("-lr")[2] for name in set(folders) - set(tuned)}
    assert len(rates) == 1


def test_rates_are_taken_from_rows_that_are_tuned():
    for comparison in plan.COMPARISONS.values():
        for row in comparison.rows:
            if row.tuned_as:
                assert comparison.row(row.tuned_as) in comparison.rows
                assert comparison.row(row.tuned_as).tuned_as is None
                assert row.tuning_epochs is None


def test_quick_rows_have_the_quick_sizes():
    for comparison in plan.COMPARISONS.values():
        small = comparison.smaller()
        assert [row.name for row in small.rows] == [row.name for row in comparison.rows]
        for row in small.rows:
            assert row.epochs is None
            assert row.tuning_epochs is None
            assert all(row.settings.get(name, size) == size for name, size in plan.QUICK.items())
