"""A visit of gpu_check.py: its budget, its order, what the next visit repeats, and how programs are judged."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, replace

import pytest
from gpu import machine as machines
from gpu import source
from gpu.commands import CUT_SHORT, FAILED, NOT_RUN, PASSED, UNAVAILABLE, Finished, Outcome, Runner, judged, overall
from gpu.machine import Machine
from gpu.record import Entry, Record
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
    assert record.exit_status(["first"]) == 3


@pytest.mark.parametrize("change", ["driver", "torch", "cuda", "python"])
def test_other_software_repeats_a_stage(visit, record, change):
    calls = []
    run_stages(visit, record, [counted(calls, "first")])
    visit.machine = replace(visit.machine, **{change: "another"})
    run_stages(visit, record, [counted(calls, "first")])
    run_stages(visit, record, [counted(calls, "first")])
    assert calls == ["first", "first"]


def test_changed_tools_repeat_a_stage(visit, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "ROOT", tmp_path)
    file = tmp_path / "tools" / "gpu" / "stages" / "bits.py"
    file.parent.mkdir(parents=True)
    file.write_text("one")
    before = visit.sources_of(STAGES[0])
    file.write_text("two")
    assert visit.sources_of(STAGES[0]) != before


def test_an_installed_package_has_sources_of_its_own(visit, tmp_path, monkeypatch):
    for package in ("vltr_eval", "vltr_train"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("__version__ = '9.9'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    described, first = machines.installed_package(visit.runner)
    assert described == "installed 9.9, sources unknown"
    (tmp_path / "vltr_eval" / "_core.so").write_text("another build")
    assert machines.installed_package(visit.runner)[1] != first
    of_the_tree = visit.sources_of(STAGES[0])
    visit.installed = first
    assert visit.sources_of(STAGES[0]) != of_the_tree


def partial(amount, status=CUT_SHORT, resume="", summary=""):
    return stage("first", lambda *_: Outcome(status, summary or f"{amount} rows", f"rows: {amount}", amount, resume))


@pytest.mark.parametrize("status", [CUT_SHORT, UNAVAILABLE])
def test_a_result_with_less_of_the_same_sources_does_not_replace_a_better_one(visit, record, status):
    run_stages(visit, record, [partial(9)])
    run_stages(visit, next_visit(record), [partial(4, status)])
    found = next_visit(record).entries["first"]
    assert (found.detail, found.amount, found.status) == ("rows: 9", 9, CUT_SHORT)
    assert found.summary.startswith("9 rows; a later visit measured less")
    run_stages(visit, next_visit(record), [partial(10)])
    assert next_visit(record).entries["first"].detail == "rows: 10"
    changed = replace(partial(2), reads=("Makefile", "README.md"))
    run_stages(visit, next_visit(record), [changed])
    assert next_visit(record).entries["first"].detail == "rows: 2"  # other sources


def test_an_interrupt_does_not_replace_a_result(visit, record):
    def interrupted(*_):
        raise KeyboardInterrupt

    run_stages(visit, record, [partial(9)])
    run_stages(visit, record, [stage("first", interrupted)])
    assert record.entries["first"].detail == "rows: 9"


def test_a_stage_that_can_continues_until_it_is_done(visit, record):
    starts = []

    def a_third(visit, seconds):
        begin = int(visit.resume or 0)
        starts.append(begin)
        status = PASSED if begin == 20 else CUT_SHORT
        return Outcome(status, f"from {begin}", f"part {begin}", 10, "" if status == PASSED else str(begin + 10))

    for _ in range(4):
        run_stages(visit, next_visit(record), [stage("first", a_third)])
    found = next_visit(record).entries["first"]
    assert starts == [0, 10, 20]
    assert (found.status, found.amount, found.summary) == (PASSED, 30, "from 0; then from 10; then from 20")
    assert [f"part {begin}" in found.detail for begin in starts] == [True] * 3
    run_stages(visit, next_visit(record), [stage("first", a_third)], ["first"])
    assert starts[3:] == [0]


@pytest.mark.parametrize("text", ["{", '{"stages": 3}', '{"stages": [{"name": "first"}]}', "[]"])
def test_results_that_cannot_be_read_count_as_none_and_are_kept(record, tmp_path, capsys, text):
    file = tmp_path / "results" / "gpu-dry-run.json"
    file.parent.mkdir()
    file.write_text(text)
    record.load()
    assert record.entries == {}
    assert "earlier results do not count" in capsys.readouterr().err
    assert file.with_suffix(".damaged").read_text() == text


def test_results_of_other_versions_of_the_tools_are_read(record, tmp_path):
    entry = Entry("first", "the first stage", PASSED, "", "", 1.0, "2026-01-01", "abc1234", "0123")
    stored = asdict(entry)
    del stored["amount"], stored["resume"]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "gpu-dry-run.json").write_text(json.dumps({"stages": [stored | {"new": 1}]}))
    record.load()
    assert record.entries == {"first": entry}


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
    outcome = judged(finished, "two rows")
    assert (outcome.status, outcome.summary) == (CUT_SHORT, "two rows; stopped, out of time")
    assert "three rows" in outcome.detail


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

    def run(_, title, command, seconds, *patience, **environment):
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


@pytest.mark.parametrize("name", ["bits", "headline", "sanitizer", "training"])
def test_a_failure_before_the_time_was_over_is_a_failure(visit, monkeypatch, name):
    monkeypatch.setattr(sanitizer.shutil, "which", lambda name: name)
    said = {
        "bits": "compare_devices: DIFFERENT: top-k, one row: item 0",
        "headline": "| frame_stack | **failed**: OutOfMemoryError |",
        "sanitizer": "compare_devices: DIFFERENT: top-k, one row: item 0",
        "training": "| bce | - | **failed**: RuntimeError |",
    }[name]
    scripted(visit, monkeypatch, -9, said + "\nthen it hung\n", out_of_time=True)
    outcome = {each.name: each for each in STAGES}[name].run(visit, 60.0)
    assert outcome.status == FAILED
    assert said in outcome.detail


def test_bits_continues_after_the_comparisons_that_were_made(visit, monkeypatch):
    text = "1,204 comparisons of CPU with CUDA\n"
    commands = scripted(visit, monkeypatch, bits.ENDED_EARLY, report=("bits", text))
    visit.resume = "300"
    outcome = bits.run(visit, 60.0)
    assert commands[0][commands[0].index("--skip") + 1] == "300"
    assert (outcome.amount, outcome.resume) == (1204, "1504")


def test_the_exit_status_of_an_early_end_is_the_one_of_the_scripts():
    import bench_cuda
    import compare_devices

    assert (bits.ENDED_EARLY, headline.ENDED_EARLY) == (compare_devices.CUT_SHORT, bench_cuda.ENDED_EARLY)
    assert headline.NO_TIME == bench_cuda.NO_TIME


def test_a_training_benchmark_without_time_for_all_is_cut_short(visit, monkeypatch):
    pytest.importorskip("torch")
    import bench_train_cuda

    assert training.ENDED_EARLY == bench_train_cuda.ENDED_EARLY
    assert training.NO_TIME in bench_train_cuda.NO_TIME
    report = ("training", f"two epochs\n| move | 1 s |\n| crt | {bench_train_cuda.NO_TIME} |\n")
    scripted(visit, monkeypatch, training.ENDED_EARLY, report=report)
    outcome = training.measure(visit, 60.0)
    assert (outcome.status, outcome.amount) == (CUT_SHORT, 1)


KILLED = """
import os, signal
def test_passes(): pass
def test_fails(): assert 1 == 2, "a wrong sum"
def test_is_killed(): os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_test_that_failed_is_known_though_pytest_is_killed_later(visit, tmp_path):
    (tmp_path / "test_before.py").write_text("def test_passes(): pass\n")
    (tmp_path / "test_killed.py").write_text(KILLED)
    failures, done = tmp_path / "failures", tmp_path / "done"
    command = [sys.executable, tests.SCRIPT, failures, done, "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path]
    command += [tmp_path / "test_before.py", tmp_path / "test_killed.py"]
    finished = replace(visit.runner.run("tests", command, 120.0), out_of_time=True)
    assert finished.code < 0
    assert done.read_text() == "test_before.py\n"
    outcome = tests.outcome_of(finished, failures.read_text())
    assert (outcome.status, outcome.summary) == (FAILED, "1 failed; stopped, out of time")
    assert "- FAILED test_killed.py::test_fails: AssertionError: a wrong sum" in outcome.detail


def test_tests_continue_with_the_files_that_are_not_done(visit, monkeypatch):
    given = []

    def run(_, title, command, seconds, patience, **environment):
        given.append([str(word) for word in command])
        visit.report_of("suite.done").write_text("tests/b.py\n" if len(given) == 1 else "")
        return Finished([-2, tests.NO_TESTS][len(given) - 1], "== 5 passed in 3.1s ==\n", len(given) == 1)

    monkeypatch.setattr(Runner, "run", run)
    monkeypatch.setattr(tests, "test_files", lambda _: ["tests/a.py", "tests/b.py", "tests/c.py"])
    visit.resume = "tests/a.py"
    outcome = tests.run_whole(visit, 60.0)
    assert (outcome.status, outcome.resume, outcome.amount) == (CUT_SHORT, "tests/a.py tests/b.py", 1)
    visit.resume = outcome.resume
    assert tests.run_whole(visit, 60.0).status == PASSED  # the last file has no tests of this kind
    assert [[word.endswith(f"/{name}.py") for word in given[1]].count(True) for name in "abc"] == [0, 0, 1]


def test_all_files_of_tests_are_in_the_suite():
    found = tests.test_files(dry=False)
    assert "tests/benchmarks/test_gpu_check.py" in found
    assert all((source.ROOT / file).exists() for file in (*found, *tests.test_files(dry=True)))


def test_a_test_that_failed_before_the_time_was_over_is_a_failure():
    failed = Finished(-2, "== 1 failed, 5 passed in 3.1s ==\n", True)
    outcome = tests.outcome_of(failed, "FAILED tests/eval/a.py::b: c\n")
    assert (outcome.status, outcome.summary) == (FAILED, "1 failed, 5 passed in 3.1s; stopped, out of time")
    assert "- FAILED tests/eval/a.py::b" in outcome.detail
    late = tests.outcome_of(Finished(-2, "== 5 passed in 3.1s ==\n", True), "")
    assert late.status == CUT_SHORT


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([PASSED, PASSED, UNAVAILABLE], PASSED),
        ([CUT_SHORT, FAILED], FAILED),
        ([PASSED, FAILED, CUT_SHORT], FAILED),
        ([PASSED, NOT_RUN, NOT_RUN], CUT_SHORT),
        ([UNAVAILABLE, UNAVAILABLE, UNAVAILABLE], UNAVAILABLE),
    ],
)
def test_several_programs_pass_if_none_failed_or_is_missing(statuses, expected):
    assert overall(statuses) == expected


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
