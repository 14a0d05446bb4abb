"""The patch of modules to come: libraries at their first import, copies in any module, and no trace of the hook."""

from __future__ import annotations

import hashlib
import importlib
import sys
import types

import pytest

import vltr_eval
from vltr_eval.patching.fingerprints import definitions_of, fingerprint
from vltr_eval.patching.known import LIBRARIES, Known, Library, Source

SCORE = "def score(values):\n    return sum(values)\n"


def ours(values):
    return -1.0


@pytest.fixture
def package(table, write_module):
    """A package whose metric is in a submodule, as in torchmetrics."""
    write_module("package_of_tests.home", SCORE)
    write_module("package_of_tests.__init__", "from package_of_tests.home import score\ndone = True\n")
    known = Known("score", "_of_tests:score", "package_of_tests.home")
    table(Library("mine", (known,), package="package_of_tests"), score=ours)
    return write_module


def test_a_library_is_replaced_when_it_is_imported(package):
    package("client_of_tests", "from package_of_tests import score\nvalue = score([1])\n")
    with vltr_eval.patch(quiet=True) as patched:
        import client_of_tests
        import package_of_tests

        assert client_of_tests.value == -1.0
        assert client_of_tests.score is package_of_tests.score is package_of_tests.home.score
    assert client_of_tests.score([2]) == package_of_tests.home.score([2]) == 2
    assert client_of_tests.score.__code__.co_filename == package_of_tests.home.__file__
    assert [one.calls for one in patched.summary().functions] == [1]


def test_a_reload_is_replaced_too(package):
    with vltr_eval.patch(quiet=True):
        import package_of_tests.home as home

        first = [home.score]
        importlib.reload(home)
        assert home.score is not first[0]
        assert home.score([1]) == -1.0
        assert first[0]([1]) == -1.0
    assert home.score([1]) == 1
    assert home.score.__code__.co_filename == home.__file__


def test_the_hook_leaves_no_trace(package):
    before = list(sys.meta_path)
    package("plain_of_tests", "")
    with vltr_eval.patch(quiet=True):
        assert len(sys.meta_path) == len(before) + 1
        import plain_of_tests

        with vltr_eval.patch(quiet=True):
            assert len(sys.meta_path) == len(before) + 1
    assert sys.meta_path == before
    assert type(plain_of_tests.__loader__) is importlib.machinery.SourceFileLoader
    assert plain_of_tests.__spec__.loader is plain_of_tests.__loader__
    assert "exec_module" not in vars(plain_of_tests.__loader__)


def test_a_module_that_raises_raises_its_own_error(package):
    package("broken_of_tests", "raise KeyError('own')\n")
    with vltr_eval.patch(quiet=True):
        with pytest.raises(KeyError, match="own"):
            importlib.import_module("broken_of_tests")
        with pytest.raises(ModuleNotFoundError, match="absent_of_tests"):
            importlib.import_module("absent_of_tests")


def test_finders_that_ask_all_finders_are_no_obstacle(package):
    class Delegate:
        def find_spec(self, name, path=None, target=None):
            for finder in sys.meta_path:
                spec = None if finder is self else finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
            return None

    delegate = Delegate()
    with vltr_eval.patch(quiet=True):
        sys.meta_path.insert(0, delegate)
        try:
            import package_of_tests
        finally:
            sys.meta_path.remove(delegate)
        assert package_of_tests.score([1]) == -1.0


# Copies


COPY = '''
def helper(values):
    """Sum."""
    return sum(values)


def copied(values, factor=1):
    """Documented."""
    # a comment
    return helper(values) * factor
'''


def digest(text, *names):
    return fingerprint(definitions_of(text), names)


@pytest.fixture
def copies(table, write_module):
    source = Source("owner/name", "0" * 40, "x.py", digest(COPY, "copied", "helper"))
    known = Known("copied", "_of_tests:copied", helpers=("helper",), sources=(source,))
    table(Library("mine", (known,)), copied=ours)
    return write_module


def value_in(write_module, text):
    name = f"copy_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    write_module(name, text)
    with vltr_eval.patch(quiet=True):
        return importlib.import_module(name).copied([1, 2])


def test_a_copy_is_recognised_in_any_module(copies):
    assert value_in(copies, COPY) == -1.0
    other = (
        COPY.replace('"""Sum."""', "# nothing").replace("* factor", " *\\\n        factor").replace("# a comment", "")
    )
    assert other != COPY
    assert value_in(copies, "import os\n" + other) == -1.0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("* factor", "* factor + 0"),
        ("factor=1", "factor=2"),
        ("return sum(values)", "return sum(values) + 0"),
        ("def helper", "def unused"),
        ("def copied", "@staticmethod\ndef copied"),
    ],
)
def test_a_changed_copy_is_left_alone(copies, old, new):
    text = COPY.replace(old, new)
    if "unused" in text:
        text = "from math import fsum as helper\n" + text
    assert value_in(copies, text) in (3, 6)


@pytest.mark.parametrize(
    "end",
    [
        "copied = (lambda function: lambda values: function(values))(copied)",
        "helper = max\ncopied_before = copied",
        "copied.__code__ = (lambda values, factor=1: 7).__code__",
    ],
)
def test_a_name_that_the_module_binds_again_is_left_alone(copies, end):
    assert value_in(copies, COPY + "\n" + end + "\n") != -1.0


def test_a_copy_that_was_imported_before_is_replaced_and_put_back(copies):
    copies("copy_of_tests", COPY)
    copies("client_of_tests", "from copy_of_tests import copied as mine\n")
    import client_of_tests
    import copy_of_tests

    original = [client_of_tests.mine]
    with vltr_eval.patch(quiet=True) as patched:
        assert client_of_tests.mine([1]) == copy_of_tests.copied([1]) == -1.0
    assert client_of_tests.mine is copy_of_tests.copied is original[0]
    assert [one.name for one in patched.summary().functions] == ["copy_of_tests.copied"]


def test_a_module_without_text_is_left_alone(copies, monkeypatch):
    module = types.ModuleType("made_of_tests")
    exec(COPY, module.__dict__)
    module.copied.__module__ = module.__name__
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with vltr_eval.patch(quiet=True):
        assert module.copied([1, 2]) == 3


def test_fingerprints_are_of_code_alone():
    one = digest(COPY, "copied")
    assert one == digest(COPY.replace("Documented", "Other"), "copied")
    assert one != digest(COPY, "copied", "helper")
    assert digest(COPY, "absent") is None
    zero, false, none = (digest(f"def f():\n    return {value}", "f") for value in ("0", "False", "None"))
    assert len({zero, false, none, digest("def f():\n    return", "f")}) == 4
    assert digest("class A:\n    'x'\n    b: int = 1", "A") == digest("class A:\n    b:int=1", "A")


def test_the_fingerprint_of_a_function_does_not_change():
    """The table holds fingerprints, so their definition is fixed, for each version of Python."""
    expected = "ed49f0c7c9a13776"
    assert (
        digest("def f(a, *, b=None):\n    return f'{a!r:>{b}}' if a else [b, 1.5, 'x', b'y', ...]", "f")[:16]
        == expected
    )


def test_the_table_has_sound_entries():
    names = [library.name for library in LIBRARIES]
    assert len(set(names)) == len(names)
    for library in LIBRARIES:
        for known in library.functions:
            assert bool(known.home) != bool(known.sources), known
            assert bool(known.home) == bool(library.package)
            for source in known.sources:
                assert len(source.fingerprint) == 64
                assert len(source.commit) == 40


@pytest.mark.parametrize(
    "drop_in", sorted({known.drop_in for library in LIBRARIES for known in library.functions}), ids=str
)
def test_every_drop_in_imports(drop_in):
    module, _, name = drop_in.partition(":")
    needs = {"torch": ("torchmetrics", "torcheval", "torchnet", "mlgcn", "addgcn", "birdset", "clip_benchmark", "oltr")}
    for package, modules in needs.items():
        if module in modules:
            pytest.importorskip(package)
    if module == "mmpretrain":
        pytest.importorskip("mmengine")
    assert callable(getattr(importlib.import_module(f"vltr_eval.compat.{module}"), name))
