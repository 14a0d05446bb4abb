"""A visit of gpu_check.py: its budget, its order, what the next visit repeats, and how programs are judged."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import pytest
from gpu import machine as machines
from gpu import source
from gpu.commands import CUT_SHORT, FAILED, NOT_RUN, PASSED, UNAVAILABLE, Finished, Outcome, Runner, judged
from gpu.machine import Machine
from gpu.record import Record
from gpu.stages import STAGES, bits, headline, sanitizer, tests, training
from gpu.visit import BUDGET, Stage, Visit, own_limit, run_stages

MACHINE = Machine(python="3.12.3", torch="2.11", numpy="2.5", cuda="13.0", missing=[])


@pytest.fixture
def visit(tmp_path):
    runner = Runner(tmp_path / "work", tmp_path / "log")
    return Visit(False, 1_000.0, tmp_path, tmp_path / "wheels", tmp_path, runner, MACHINE, "abc1234")


@pytest.fixture
def record(tmp_path):
    return Record(MACHINE, "wheel", [tmp_path / "results", tmp_path / "out"], ["first", "second", "third"])


def stage(name, run=lambda *_: Outcome(PASSED), limit=100.0, least=50.0):
    return Stage(name, f"the {name} stage", limit, least, ("Makefile",), run)


def statuses(record):
    return {name: entry.status for name, entry in record.entries.items()}


# Budget


def test_a_stage_gets_its_limit_and_later_ones_what_is_left(visit, record):
    given = {}

    def run(name):
        return lambda _, seconds: given.update({name: seconds}) or Outcome(PASSED)

    visit.budget = 160.0
    clock = {"first": 0.0, "second": 95.0}
    for name, spent in clock.items():
        visit.start = time.monotonic() - spent
        run_stages(visit, record, [stage(name, run(name))])
    assert given["first"] == 100.0
    assert 50 < given["second"] < 56  # 160 - 95, less the time to write


def test_a_stage_is_not_begun_with_less_than_its_least_time(visit, record):
    visit.budget = 10 + 40
    run_stages(visit, record, [stage("first"), stage("second", least=30.0)])
    assert statuses(record) == {"first": NOT_RUN, "second": PASSED}
    assert record.exit_status(["first", "second"]) == 3
    assert record.exit_status(["second"]) == 0


def test_the_stages_fit_the_budget_in_the_order_of_their_value():
    assert [each.name for each in STAGES] == ["bits", "headline", "tests", "sanitizer", "training", "suite"]
    assert all(each.least <= each.limit for each in STAGES)
    first_four = sum(each.limit for each in STAGES[:4])
    assert first_four <= BUDGET - 30  # the build by a wheel, and the first look
    for each in STAGES:
        assert all((source.ROOT / path).exists() for path in each.reads), each.name


def test_a_program_is_told_less_time_than_it_gets():
    assert [own_limit(seconds) for seconds in (40.0, 400.0)] == ["30", "385"]


# Results


def test_every_stage_is_written_whole_into_every_folder_as_soon_as_it_ends(visit, record, tmp_path):
    seen = []

    def look(*_):
        for folder in ("results", "out"):
            seen.extend(sorted(file.name for file in (tmp_path / folder).iterdir()))
        return Outcome(FAILED, "a | b", "why it failed")

    run_stages(visit, record, [stage("first", lambda *_: Outcome(PASSED, "all equal")), stage("second", look)])
    assert seen == ["gpu-dry-run.json", "gpu-dry-run.md"] * 2
    text = (tmp_path / "out" / "gpu-dry-run.md").read_text()
    assert f"| the first stage | {PASSED} | 0 |" in text
    assert "| abc1234 | a / b |" in text
    assert "# the second stage\n\nwhy it failed\n" in text
    assert record.exit_status(["first", "second"]) == 1


def test_an_error_of_a_stage_is_recorded_and_the_next_one_runs(visit, record):
    def broken(*_):
        visit.report_of("first").write_text("two rows")
        raise OSError("no\nroom")

    run_stages(visit, record, [stage("first", broken), stage("second")])
    assert statuses(record) == {"first": FAILED, "second": PASSED}
    assert (record.entries["first"].summary, record.entries["first"].detail) == ("OSError: no room", "two rows")
    assert not visit.report_of("first").exists()


def test_an_interrupt_keeps_what_was_measured_and_ends_the_visit(visit, record):
    def interrupted(*_):
        visit.report_of("first").write_text("two rows")
        raise KeyboardInterrupt

    run_stages(visit, record, [stage("first", interrupted), stage("second")])
    assert statuses(record) == {"first": CUT_SHORT}
    assert record.entries["first"].detail == "two rows"


# The next visit


def next_visit(record):
    later = replace(record, entries={})
    later.load()
    return later


def counted(calls, name, status=PASSED):
    return stage(name, lambda *_: calls.append(name) or Outcome(status))


def test_the_next_visit_runs_what_is_missing_and_then_what_was_cut_short(visit, record):
    calls = []
    visit.budget = 70.0
    run_stages(visit, record, [counted(calls, "first", CUT_SHORT), counted(calls, "second", FAILED)])
    visit.budget = 20.0
    run_stages(visit, record, [counted(calls, "third")])
    assert statuses(record) == {"first": CUT_SHORT, "second": FAILED, "third": NOT_RUN}

    visit.budget, later = 70.0, next_visit(record)
    assert later.entries == record.entries
    calls.clear()
    run_stages(visit, later, [counted(calls, name) for name in ("first", "second", "third")])
    assert calls == ["third", "first"]
    calls.clear()
    run_stages(visit, next_visit(later), [counted(calls, name) for name in ("first", "second", "third")], ["second"])
    assert calls == ["second"]


def test_a_stage_whose_sources_changed_is_repeated_and_keeps_its_result_until_then(visit, record):
    calls = []
    run_stages(visit, record, [counted(calls, "first")])
    changed = replace(counted(calls, "first"), reads=("Makefile", "README.md"))
    visit.budget = 20.0
    run_stages(visit, record, [changed])
    assert statuses(record) == {"first": PASSED}  # no time for it: the earlier result stays, with its commit
    visit.budget = 70.0
    run_stages(visit, record, [changed])
    assert calls == ["first", "first"]


def test_a_stage_that_had_no_program_is_tried_again(visit, record):
    calls = []
    for _ in range(2):
        run_stages(visit, record, [counted(calls, "first", UNAVAILABLE)])
    assert calls == ["first", "first"]
    assert record.exit_status(["first"]) == 0


def test_the_fingerprint_is_of_names_and_bytes_and_not_of_what_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "ROOT", tmp_path)
    (tmp_path / "csrc" / "deep").mkdir(parents=True)
    (tmp_path / "csrc" / "deep" / "scan.cu").write_text("one")
    before = source.fingerprint(("csrc",))
    (tmp_path / "csrc" / "_core.so").write_text("made")
    assert source.fingerprint(("csrc",)) == before
    (tmp_path / "csrc" / "deep" / "scan.cu").write_text("two")
    changed = source.fingerprint(("csrc",))
    (tmp_path / "csrc" / "deep" / "scan.cu").rename(tmp_path / "csrc" / "scan.cu")
    assert len({before, changed, source.fingerprint(("csrc",))}) == 3


# Programs


def test_a_program_that_outlasts_its_time_is_ended_with_its_children_and_its_output_kept(tmp_path):
    runner = Runner(tmp_path, tmp_path / "log")
    code = "import subprocess, sys, time; print('three rows', flush=True); "
    code += "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    start = time.monotonic()
    finished = runner.run("sleeper", [sys.executable, "-c", code], 2.0)
    assert time.monotonic() - start < 20
    assert finished.out_of_time
    assert "three rows" in finished.output
    assert "out of time" in (tmp_path / "log").read_text()
    outcome = judged(finished, "three rows")
    assert (outcome.status, outcome.summary) == (CUT_SHORT, "three rows; stopped, out of time")


def test_a_failure_shows_the_last_lines():
    outcome = judged(Finished(1, "\n".join(f"line {number}" for number in range(99))), "nine inputs")
    assert outcome.status == FAILED
    assert "line 98" in outcome.detail
    assert "line 73\n" not in outcome.detail


def test_packages_that_tests_import_are_looked_for(visit, monkeypatch):
    monkeypatch.setattr(machines, "OF_TESTS", ("pytest", "no_such_package"))
    found = machines.look(visit.runner, needs_device=False)
    assert found.missing == ["no_such_package"]
    visit.machine = found
    outcome = tests.run_whole(visit, 60)
    assert (outcome.status, "no_such_package" in outcome.summary) == (UNAVAILABLE, True)


# Stages


def scripted(visit, monkeypatch, code=0, output="", report=None, out_of_time=False):
    """Let programs end so, and return their commands."""
    commands = []

    def run(_, title, command, seconds, **environment):
        commands.append([str(word) for word in command])
        if report is not None:
            name, text = report
            visit.report_of(name).write_text(text)
        return Finished(code, output, out_of_time, 1.0)

    monkeypatch.setattr(Runner, "run", run)
    return commands


@pytest.mark.parametrize(
    ("code", "out_of_time", "status"),
    [(0, False, PASSED), (bits.ENDED_EARLY, False, CUT_SHORT), (1, False, FAILED), (-9, True, CUT_SHORT)],
)
@pytest.mark.parametrize("name", ["bits", "headline"])
def test_what_a_stage_measured_is_kept_however_it_ends(visit, monkeypatch, name, code, out_of_time, status):
    run = {"bits": bits.run, "headline": headline.run}[name]
    text = "9 comparisons\n\n| a target | 1 | reached |\n| other | - | not measured |\n"
    commands = scripted(visit, monkeypatch, code, report=(name, text), out_of_time=out_of_time)
    outcome = run(visit, 60.0)
    assert outcome.status == status
    assert "| a target | 1 | reached |" in outcome.detail
    assert outcome.summary.startswith({"bits": "9 comparisons", "headline": "1 targets reached, 0 not, 1"}[name])
    assert commands[0][commands[0].index("--seconds") + 1] == "45"


def test_the_exit_status_of_an_early_end_is_the_one_of_the_scripts():
    import bench_cuda
    import compare_devices

    assert (bits.ENDED_EARLY, headline.ENDED_EARLY) == (compare_devices.CUT_SHORT, bench_cuda.ENDED_EARLY)


def test_a_test_that_failed_before_the_time_was_over_is_a_failure():
    failed = Finished(-2, "FAILED tests/eval/a.py::b - c\n== 1 failed, 5 passed in 3.1s ==\n", True)
    outcome = tests.outcome_of(failed)
    assert (outcome.status, outcome.summary) == (FAILED, "1 failed, 5 passed in 3.1s; stopped, out of time")
    assert "- FAILED tests/eval/a.py::b" in outcome.detail
    late = tests.outcome_of(Finished(-2, "== 5 passed in 3.1s ==\n", True))
    assert late.status == CUT_SHORT


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([PASSED, PASSED, UNAVAILABLE], PASSED),
        ([PASSED, FAILED, CUT_SHORT], FAILED),
        ([PASSED, NOT_RUN, NOT_RUN], CUT_SHORT),
        ([UNAVAILABLE, UNAVAILABLE, UNAVAILABLE], UNAVAILABLE),
    ],
)
def test_the_sanitizer_passes_if_no_tool_failed_or_is_missing(statuses, expected):
    assert sanitizer.overall(statuses) == expected


def test_each_tool_of_the_sanitizer_runs_and_the_last_ones_can_lack_time(visit, monkeypatch):
    monkeypatch.setattr(sanitizer.shutil, "which", lambda name: name)
    output = "========= ERROR SUMMARY: 0 errors\n12 comparisons of CPU with CUDA: all have the same bits.\n"
    commands = scripted(visit, monkeypatch, 0, output)
    outcome = sanitizer.run(visit, 60.0)
    assert (outcome.status, [command[2] for command in commands]) == (PASSED, list(sanitizer.TOOLS))
    assert "0 errors; 12 comparisons" in outcome.detail
    assert sanitizer.run(visit, 20.0).status == CUT_SHORT


def test_a_training_that_differs_fails_the_stage_and_the_benchmark_still_runs(visit, monkeypatch):
    report = ("training", "two seconds an epoch\n\n## Epochs\n")
    commands = scripted(visit, monkeypatch, 1, "3 of 4 short trainings agree\n\n| move |\n", report)
    outcome = training.run(visit, 100.0)
    assert (outcome.status, len(commands)) == (FAILED, 2)
    assert outcome.summary == "3 of 4 short trainings agree; two seconds an epoch"
    assert "| move |" in outcome.detail
    assert "## Epochs" in outcome.detail


def test_frames_that_are_read_twice_count_once():
    torch = pytest.importorskip("torch")
    from bench_frames import share_read

    assert share_read(torch.tensor([[3.0, 4.0], [3.0, 3.0]])) == 0.5


def test_short_trainings_of_the_same_device_agree(monkeypatch, capsys):
    pytest.importorskip("torch")
    import compare_training

    monkeypatch.setattr(sys, "argv", ["compare_training.py", "--device", "cpu", "--methods", "framestack"])
    assert compare_training.main() == 0
    assert capsys.readouterr().out.startswith("1 of 1 short trainings on cpu agree with the CPU\n")


def test_short_trainings_whose_losses_differ_are_found(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    import compare_training

    ends = iter([([2.0, 1.0], 0.5), ([2.0, 1.001], 0.5), ([2.0, 1.0], 0.5), ([2.0, 1.0], 0.4)])
    monkeypatch.setattr(compare_training, "train", lambda *_: compare_training.Trained(*next(ends)))
    rows = [compare_training.compare("bce", tmp_path, "cpu") for _ in range(2)]
    assert [agree for _, agree in rows] == [False, False]
    assert "| 1.0e-03 |" in rows[0][0]
