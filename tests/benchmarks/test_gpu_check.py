"""How gpu_check.py judges the end of its steps, and how bench_frames.py counts the bytes of a gather."""

from __future__ import annotations

import gpu_check
import pytest
from gpu_check import CUT_SHORT, FAILED, NOT_RUN, PASSED, WRITING, Check, Finished, Outcome, Step


@pytest.fixture
def check(tmp_path):
    return Check(dry=True, budget=540, log=tmp_path / "log", facts={"missing": []})


def test_packages_that_tests_import_are_looked_for(check, monkeypatch):
    monkeypatch.setattr(gpu_check, "OF_TESTS", ("pytest", "no_such_package"))
    assert gpu_check.look(check) is None
    assert check.facts["missing"] == ["no_such_package"]
    outcome = gpu_check.tests(check, 60, [])
    assert (outcome.status, "no_such_package" in outcome.summary) == (NOT_RUN, True)


@pytest.mark.parametrize(
    ("code", "out_of_time", "status"),
    [(0, False, PASSED), (CUT_SHORT, False, PASSED), (1, False, FAILED), (CUT_SHORT, True, FAILED), (0, True, FAILED)],
)
def test_a_comparison_that_is_cut_short_passed_in_part(code, out_of_time, status):
    outcome = gpu_check.judged_comparison(Finished(code, "said", out_of_time, 1.0), "9 comparisons")
    assert outcome.status == status
    assert outcome.summary.startswith("in part: ") == (code == CUT_SHORT and not out_of_time)


def test_a_step_is_not_begun_with_less_than_its_least_time(check):
    check.budget = WRITING + 75
    steps = [Step(name, 100, least, lambda seconds: Outcome(PASSED)) for name, least in (("long", 50), ("short", 30))]
    assert [outcome.status for outcome in gpu_check.run_steps(check, steps).values()] == [NOT_RUN, PASSED]


def test_whatever_the_build_takes_the_later_steps_have_their_least(check):
    check.dry = False
    build, *later = gpu_check.steps_of(check)
    assert gpu_check.BUDGET - WRITING - sum(step.least for step in later) >= 150
    assert all(step.least <= step.limit for step in (build, *later))
    assert later[-1].title == "training"


@pytest.mark.parametrize("dry", [True, False])
def test_the_training_is_told_its_time_and_its_first_line_is_the_summary(check, monkeypatch, tmp_path, dry):
    def run(title, command, seconds):
        command = [str(part) for part in command]
        assert command[command.index("--seconds") + 1] == "40"
        assert ("cpu" in command) == dry
        (tmp_path / "train.md").write_text("two seconds an epoch\n\n## Epochs\n")
        return Finished(0, "said", False, 1.0)

    check.dry = dry
    monkeypatch.setattr(gpu_check, "BUILD", tmp_path)
    monkeypatch.setattr(check, "command", run)
    outcome = gpu_check.train(check, 60)
    assert (outcome.status, outcome.summary) == (PASSED, "two seconds an epoch")
    assert "## Epochs" in outcome.detail


def test_frames_that_are_read_twice_count_once():
    torch = pytest.importorskip("torch")
    from bench_frames import share_read

    assert share_read(torch.tensor([[3.0, 4.0], [3.0, 3.0]])) == 0.5
