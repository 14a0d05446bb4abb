"""References to the originals: those that a patch reaches, those that it does not, and none that it keeps."""

from __future__ import annotations

import functools
import gc
import sys
import threading
import weakref

import numpy as np
import pytest

import vltr_eval
from vltr_eval.patching.known import Known, Library

SCORE = "def score(values):\n    return float(sum(values))\n"

CLIENT = """
import functools
from home_of_tests import score

def late():
    from home_of_tests import score
    return score([1])

def default(function=score):
    return function([1])

def decorated(function):
    return lambda: function([1])

class Holder:
    metric = staticmethod(score)

partial = functools.partial(score, [1])
listed = {"score": score}
closed = decorated(score)
"""


@pytest.fixture
def home(table, write_module):
    write_module("home_of_tests", SCORE)
    write_module("client_of_tests", CLIENT)
    table(
        Library("mine", (Known("score", "_of_tests:score", "home_of_tests"),), package="home_of_tests"),
        score=lambda values: -1.0,
    )
    import home_of_tests

    return home_of_tests


def values_of(client):
    held = (
        client.default,
        client.closed,
        lambda: client.Holder.metric([1]),
        client.partial,
        lambda: client.listed["score"]([1]),
    )
    return client.late(), client.score([1]), *(call() for call in held)


def test_references_that_code_holds_call_the_original(home):
    import client_of_tests

    with vltr_eval.patch(quiet=True) as patched:
        assert values_of(client_of_tests) == (-1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    assert patched.summary().functions[0].calls == 2
    assert values_of(client_of_tests) == (1.0,) * 7


def test_references_made_during_the_patch_end_with_it(home):
    with vltr_eval.patch(quiet=True):
        import client_of_tests

        assert values_of(client_of_tests) == (-1.0,) * 7
    assert values_of(client_of_tests) == (1.0,) * 7


def test_a_module_that_was_deleted_is_no_obstacle(home):
    original = [home.score]
    with vltr_eval.patch(quiet=True):
        import client_of_tests

        replaced = [client_of_tests.score]
        del sys.modules["client_of_tests"], sys.modules["home_of_tests"]
    assert client_of_tests.score is replaced[0]  # nothing finds the module; its name goes to the original
    assert client_of_tests.score([1]) == original[0]([1]) == 1.0


def test_no_array_of_the_caller_is_kept(home):
    with vltr_eval.patch(quiet=True), vltr_eval.patch(quiet=True, verify=True):
        values = np.ones(4000)
        kept = weakref.ref(values)
        assert home.score(values) == -1.0
        del values
        gc.collect()
        assert kept() is None
        with pytest.raises(TypeError):
            home.score()


def test_threads_call_while_patches_end(home):
    wrong = []
    stop = threading.Event()

    def call():
        while not stop.is_set():
            value = functools.partial(home.score, [1])()
            if value not in (1.0, -1.0):
                wrong.append(value)

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            with vltr_eval.patch(quiet=True):
                pass
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert home.score([1]) == 1.0
