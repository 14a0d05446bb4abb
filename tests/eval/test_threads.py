"""Threads and the process: the GIL, Ctrl-C, fork, progress, and the number of threads."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from cases import make_case
from reference import assert_same_bits, assert_same_table

from vltr_eval import (
    Positives,
    RankTable,
    average_precision,
    build_info,
    evaluate,
    rank_table,
    sampled_average_precision,
)
from vltr_eval._base.arrays import num_threads
from vltr_eval._engine.rank_scan import rank_scan

# A broadcast matrix takes no memory and any time to read: 2^26 x 256 cells take seconds.
LONG = """
import numpy as np
import vltr_eval
from vltr_eval import Positives, RankTable

def endless(num_rows=2**26, num_classes=256, positives=1):
    rows = np.tile(np.arange(positives, dtype=np.uint32), num_classes)
    labels = Positives(num_rows, num_classes, np.arange(num_classes + 1) * positives, rows)
    return np.broadcast_to(np.float32(1), (num_rows, num_classes)), labels
"""


def run_python(code: str, timeout: float = 60, **environment: str) -> str:
    """Run code in a new interpreter, assert that it exits with 0, and return its output."""
    done = subprocess.run(
        [sys.executable, "-c", LONG + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# The GIL


@pytest.mark.parametrize("threads", [1, 2])
def test_other_python_threads_run_meanwhile(threads):
    scores = np.broadcast_to(np.float32(1), (2**22, 256))
    labels = Positives(2**22, 256, np.arange(257), np.arange(256, dtype=np.uint32))
    began, ended = threading.Event(), threading.Event()

    def work():
        began.set()
        rank_table(scores, labels, threads=threads)
        ended.set()

    worker = threading.Thread(target=work)
    worker.start()
    began.wait()
    start, ticks = time.perf_counter(), 0
    while not ended.is_set():
        ticks += 1
        time.sleep(0.001)
    seconds = time.perf_counter() - start
    worker.join()
    assert ticks > 20 * seconds  # if the GIL were held, it could pass only at the checks for Ctrl-C, every 50 ms


def test_calls_from_many_python_threads_do_not_disturb_each_other():
    cases = [make_case(400 + 50 * i, 60, seed=i, levels=20) for i in range(6)]
    expected = [rank_scan(s, Positives.from_labels(y, *y.shape), trials=5, ranks=True) for s, y in cases]

    def work(i):
        scores, labels = cases[i % 6]
        return i % 6, rank_scan(
            scores, Positives.from_labels(labels, *labels.shape), trials=5, ranks=True, threads=1 + i % 4
        )

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for i, result in pool.map(work, range(120)):
            assert_same_table(result.table, expected[i].table)
            assert_same_bits(result.trials, expected[i].trials)
            assert_same_bits(result.ranks, expected[i].ranks)


def test_an_error_in_one_python_thread_does_not_affect_the_others():
    scores, labels = make_case(3000, 60, seed=7)
    spoiled = scores.copy()
    spoiled[2999, 59] = np.nan
    expected = rank_table(scores, labels)

    def work(i):
        if i % 2:
            with pytest.raises(ValueError, match=r"NaN at row 2999, class 59$"):
                rank_table(spoiled, labels)
        else:
            assert_same_table(rank_table(scores, labels), expected)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(40)))


# Ctrl-C

LONG_CALLS = {
    "rank table": """
scores, labels = endless()
call = lambda: vltr_eval.rank_table(scores, labels)
""",
    "rank table on one thread": """
scores, labels = endless()
call = lambda: vltr_eval.rank_table(scores, labels, threads=1)
""",
    "evaluate": """
scores, labels = endless(2**25)
call = lambda: vltr_eval.evaluate(scores, labels)
""",
    "labels": """
labels = np.broadcast_to(np.float32(0), (2**28, 256))
call = lambda: Positives.from_labels(labels, *labels.shape)
""",
    "weights": """
scores, labels = endless(2**20, 2**14)
weights = np.ones(len(scores))
call = lambda: vltr_eval.average_precision(scores, labels, sample_weight=weights)
""",
    "trials of many classes": """
scores, labels = endless(10**5, 400, positives=10**4)
call = lambda: vltr_eval.sampled_average_precision(scores, labels, trials=2000)
""",
    "trials of one class": """
scores, labels = endless(10**6, 1, positives=10**5)
call = lambda: vltr_eval.sampled_average_precision(scores, labels, trials=10**5)
""",
    "expected SAP of many classes": """
num_classes = 800_000
tp = np.tile(np.append(np.arange(1, 10), 10_000), num_classes)
table = RankTable(10**9, np.arange(num_classes + 1) * 10, -tp, tp, np.full(len(tp), 2 * 10**6), np.zeros_like(tp))
call = lambda: table.expected_sampled_average_precision(threads=1)
""",
    "calibration": """
scores, labels = endless()
def call(): vltr_eval.calibration(scores, labels, threads=2)""",
    "choose_thresholds": """
scores, labels = endless(2**22, 256)
def call(): vltr_eval.choose_thresholds(scores, labels, threads=2)""",
}


@pytest.mark.parametrize("call", LONG_CALLS.values(), ids=LONG_CALLS.keys())
def test_ctrl_c_ends_a_long_call_within_a_second(call):
    """The process interrupts itself during the call, waits at most 8 seconds, and prints the elapsed time."""
    code = f"""
import os, signal, threading, time

def give_up():
    print("no end in sight", flush=True)
    os._exit(0)

def interrupt():
    global sent
    sent = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)

{call}
for delay, action in ((0.5, interrupt), (8, give_up)):
    timer = threading.Timer(delay, action)
    timer.daemon = True
    timer.start()
try:
    call()
    print("finished too early")
except KeyboardInterrupt:
    print(time.monotonic() - sent)
"""
    assert float(run_python(code)) < 1.5  # one second, plus scheduling time on a busy machine


def test_the_next_call_after_ctrl_c_works():
    code = """
    import _thread, threading
    scores, labels = endless()
    for _ in range(3):
        threading.Timer(0.2, _thread.interrupt_main).start()
        try:
            vltr_eval.rank_table(scores, labels)
            print("finished too early")
        except KeyboardInterrupt:
            print(vltr_eval.average_precision(np.array([3.0, 2.0, 1.0]), np.array([0, 1, 1]))[0].round(4))
    """
    assert run_python(code).split() == ["0.5833"] * 3


# Progress


def test_progress_rises_within_0_and_1_on_the_calling_thread():
    scores = np.broadcast_to(np.float32(1), (2**22, 256))
    labels = Positives(2**22, 256, np.arange(257), np.arange(256, dtype=np.uint32))
    seen = []
    rank_scan(scores, labels, progress=lambda fraction: seen.append((fraction, threading.get_ident())))
    fractions = [fraction for fraction, _ in seen]
    assert fractions
    assert fractions == sorted(fractions)
    assert all(0 <= fraction <= 1 for fraction in fractions)
    assert {thread for _, thread in seen} == {threading.get_ident()}


@pytest.mark.parametrize("trials", [0, 3, 40])
def test_progress_rises_through_all_phases_of_a_scan(trials):
    """With many positives, reading, sorting, drawing and averaging take a visible share of the time."""
    rng = np.random.default_rng(0)
    num_rows, num_classes, num_positives = 1_000_000, 12, 375_000
    scores = rng.random((num_rows, num_classes), np.float32)
    rows = np.sort(
        rng.permuted(np.tile(np.arange(num_rows, dtype=np.uint32), (num_classes, 1)), axis=1)[:, :num_positives]
    )
    labels = Positives(num_rows, num_classes, np.arange(num_classes + 1) * num_positives, rows.ravel())
    seen = []
    rank_scan(scores, labels, trials=trials, threads=1, progress=seen.append)
    assert len(seen) >= 2
    assert seen == sorted(seen)
    assert seen[0] >= 0
    assert seen[-1] <= 1
    assert len(set(seen)) == len(seen)  # no long pause


def test_progress_of_expected_sampled_ap_rises_to_the_end():
    num_rows, num_classes = 10**9, 100_000
    tp = np.tile(np.append(np.arange(1, 10), 10_000), num_classes)
    table = RankTable(num_rows, np.arange(num_classes + 1) * 10, -tp.astype(float), tp, tp * 0 + 2 * 10**6, tp * 0)
    seen = []
    values = table.expected_sampled_average_precision(threads=1, progress=seen.append)
    assert (values == table.expected_sampled_average_precision()).all()
    assert seen
    assert seen == sorted(seen)
    assert all(0 <= fraction <= 1 for fraction in seen)


def test_an_error_in_progress_ends_the_call():
    scores = np.broadcast_to(np.float32(1), (2**26, 256))
    labels = Positives(2**26, 256, np.arange(257), np.arange(256, dtype=np.uint32))

    def fail(fraction):
        raise LookupError("from progress")

    start = time.perf_counter()
    with pytest.raises(LookupError, match=r"^from progress$"):
        rank_scan(scores, labels, progress=fail)
    assert time.perf_counter() - start < 5


# Fork


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_children_of_a_fork_can_evaluate():
    code = """
    import multiprocessing, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads: this is the test
    rng = np.random.default_rng(0)
    scores, labels = rng.random((3000, 40)), rng.random((3000, 40)) < 0.1

    def work(i):
        return vltr_eval.evaluate(scores, labels, threads=1 + i).to_json()

    expected = work(2)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(all(result == expected for result in pool.map(work, range(6))))
    print(work(3) == expected)
    """
    assert run_python(code).split() == ["True", "True"]


# How many threads


def test_threads_are_the_requested_number():
    code = """
    import os
    scores, labels = endless(2**20)
    before = len(os.listdir("/proc/self/task"))
    vltr_eval.rank_table(scores, labels)
    print(len(os.listdir("/proc/self/task")) - before)
    vltr_eval.rank_table(scores, labels, threads=6)
    print(len(os.listdir("/proc/self/task")) - before)
    """
    assert run_python(code, VLTR_NUM_THREADS="4").split() == ["3", "5"]  # the calling thread works too


def test_the_environment_sets_the_default_and_the_argument_overrides_it(monkeypatch):
    monkeypatch.setenv("VLTR_NUM_THREADS", "3")
    assert num_threads() == 3
    assert num_threads(5) == 5
    assert num_threads(np.int64(2)) == 2
    assert build_info()["threads"] == 3


@pytest.mark.parametrize("text", [None, ""])
def test_the_default_is_the_cores_this_process_may_use(monkeypatch, text):
    if text is None:
        monkeypatch.delenv("VLTR_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("VLTR_NUM_THREADS", text)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert num_threads() == cores


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0", r"^VLTR_NUM_THREADS: expected an integer from 1 to 4096, got 0$"),
        ("-2", r"^VLTR_NUM_THREADS: expected an integer from 1 to 4096, got -2$"),
        ("99999", r"^VLTR_NUM_THREADS: expected an integer from 1 to 4096, got 99999$"),
        ("two", r"^VLTR_NUM_THREADS: expected a positive integer, got 'two'$"),
        ("1.5", r"^VLTR_NUM_THREADS: expected a positive integer, got '1\.5'$"),
    ],
)
def test_a_bad_environment_is_named(monkeypatch, text, sentence):
    monkeypatch.setenv("VLTR_NUM_THREADS", text)
    scores, labels = make_case(5, 2)
    for call in (average_precision, sampled_average_precision, evaluate):
        with pytest.raises(ValueError, match=sentence):
            call(scores, labels)


@pytest.mark.parametrize(
    ("threads", "error"),
    [(0, ValueError), (-1, ValueError), (4097, ValueError), (1.0, TypeError), (True, TypeError), ("2", TypeError)],
)
def test_a_bad_argument_is_named(threads, error):
    with pytest.raises(error, match=r"^threads: expected a(n integer from 1 to 4096| positive integer), got "):
        rank_table(*make_case(5, 2), threads=threads)


def test_an_unknown_instruction_set_is_named(monkeypatch):
    monkeypatch.setenv("VLTR_SIMD", "mmx")
    with pytest.raises(ValueError, match=r"^VLTR_SIMD: expected one of generic.* on this processor, got 'mmx'$"):
        rank_table(*make_case(5, 2))


def test_the_forced_instruction_set_is_reported(simd):
    assert build_info()["simd"] == simd
