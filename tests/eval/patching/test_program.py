"""The program ``python -m vltr_eval.patch``: scripts run as Python runs them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LIBRARY = """
def score(labels, scores):
    return sum(scores)
"""

# Starts the program with a table of its own, and a library that is quick to import.
START = """
import sys, types
from vltr_eval.patching import known, program
from vltr_eval.patching.fingerprints import definitions_of, fingerprint
digest = fingerprint(definitions_of("def copied(values):\\n    return sum(values)"), ["copied"])
source = known.Source("a/b", "0" * 40, "x.py", digest)
known.LIBRARIES = (
    known.Library("mine", (known.Known("score", "_of_tests:score", "library_of_tests"),), package="library_of_tests"),
    known.Library("copies", (known.Known("copied", "_of_tests:copied", sources=(source,)),)),
)
module = types.ModuleType("vltr_eval.compat._of_tests")
module.score = lambda labels, scores: 1.0
module.copied = lambda values: -1
sys.modules[module.__name__] = module
program.main()
"""

SCRIPT = """
import sys
from library_of_tests import score

def one():
    return score([0, 1], [0.25, 0.75])

def fail():
    raise KeyError("own")

if __name__ == "__main__":
    print(sys.argv[1:], sys.path[0], __file__, sys.modules["__main__"].__dict__ is globals(), __package__, one())
    if "fail" in sys.argv:
        fail()
    if "interrupt" in sys.argv:
        raise KeyboardInterrupt
    if "hook" in sys.argv:
        sys.excepthook = lambda kind, value, trace: print("hook", kind.__name__, trace.tb_frame.f_code.co_filename)
        fail()
    sys.exit(7)
"""


@pytest.fixture
def script(tmp_path):
    for name, text in (("start.py", START), ("library_of_tests.py", LIBRARY), ("script.py", SCRIPT)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / "script.py"


def run(*command, cwd=None):
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=120, cwd=cwd, check=False
    )


def patched(*command, cwd):
    return run("start.py", *command, cwd=cwd)


@pytest.mark.parametrize("arguments", [["--only", "x", "-m"], ["fail"], ["interrupt"], ["hook"]])
def test_a_script_runs_as_without_the_program(script, arguments):
    ours, plain = (call(script, *arguments, cwd=script.parent) for call in (patched, run))
    assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
    summary = "vltr_eval.patch: 1 calls of 1 known functions, 0 fallbacks to the original; "
    start = ours.stderr.index(summary)
    end = ours.stderr.find("Traceback")
    parts = (ours.stderr[:start], ours.stderr[start:]) if end < start else ("", ours.stderr[start:])
    assert plain.stderr in "".join(parts)


def test_a_module_runs_as_without_the_program(script):
    folder = script.parent / "package"
    folder.mkdir()
    (folder / "__init__.py").touch()
    script.rename(folder / "script.py")
    ours, plain = (call("-m", "package.script", "a", cwd=script.parent) for call in (patched, run))
    assert ours.returncode == plain.returncode == 7
    assert ours.stdout == plain.stdout
    assert "1 calls" in ours.stderr
    (folder / "__main__.py").write_text("import sys\nprint(__name__, __package__, sys.argv[1:])\n")
    ours, plain = (call("-m", "package", "--x", cwd=script.parent) for call in (patched, run))
    assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout) == (0, "__main__ package ['--x']\n")


def test_options_are_those_before_the_script(tmp_path):
    pytest.importorskip("sklearn")
    (tmp_path / "script.py").write_text(
        "import sys\nfrom sklearn.metrics import roc_auc_score\n"
        "print(sys.argv[1:], roc_auc_score([0, 1, 1], [0.1, 0.2, 0.3]))\n"
    )
    options = ("--only", "sklearn", "--quiet", "--json", tmp_path / "s.json", "--verify")
    done = run("-m", "vltr_eval.patch", *options, tmp_path / "script.py", "--quiet", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "['--quiet', '--json'] 1.0\n", "")
    summary = json.loads((tmp_path / "s.json").read_text())
    (one,) = summary["functions"]
    assert one["name"] == "sklearn.metrics._ranking.roc_auc_score"
    assert (one["calls"], one["shape"], one["largest_difference"]) == (1, [3, 1], 0.0)
    assert one["original_seconds_are"] == "measured"
    assert summary["saved_seconds"] == one["saved_seconds"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["absent.py"], "No such file or directory: "),
        (["-m", "absent_module"], "-m: expected a module that can be run, got absent_module"),
        (["--json", "no_folder/s.json", "x.py"], "--json: expected a file in a folder that exists, got no_folder/"),
    ],
)
def test_bad_usage_is_one_sentence(command, message, tmp_path):
    done = run("-m", "vltr_eval.patch", *command, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "no known function was called" not in done.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([], "expected SCRIPT or -m MODULE, got neither"),
        (["-m"], "expected SCRIPT or -m MODULE, got neither"),
        (["--only", "scikit", "x.py"], "--only: expected some of sklearn, "),
        (["--unknown", "x.py"], "unrecognized arguments: --unknown"),
        (["--vrify", "x.py"], "unrecognized arguments: --vrify; did you mean --verify?"),
        (["--only", "sklern", "x.py"], "got sklern; did you mean sklearn?"),
    ],
)
def test_bad_options_are_one_sentence(command, message, capsys):
    from vltr_eval.patching import program

    with pytest.raises(SystemExit) as ended:
        program.main(command)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_script_that_leaves_at_once_says_nothing(script):
    script.write_text(
        "import os\nfrom library_of_tests import score\nprint(score([0], [1]), flush=True)\nos._exit(3)\n"
    )
    done = patched("script.py", cwd=script.parent)
    assert (done.returncode, done.stdout, done.stderr) == (3, "1.0\n", "")


def test_a_syntax_error_is_that_of_the_script(script):
    script.write_text("def f(:\n")
    ours, plain = (call("script.py", cwd=script.parent) for call in (patched, run))
    assert ours.returncode == plain.returncode == 1
    assert plain.stderr.partition(", line 1")[2] in ours.stderr
    assert "Traceback" not in ours.stderr


@pytest.mark.parametrize(
    ("first", "printed"), [("", "<class 'int'>\n"), ("from __future__ import annotations\n", "int\n")]
)
def test_future_statements_are_those_of_the_script(script, first, printed):
    script.write_text(first + "def f(a: int): pass\nprint(f.__annotations__['a'])\n")
    assert patched("script.py", cwd=script.parent).stdout == printed


CHILDREN = """
import multiprocessing, os, sys
from library_of_tests import score

def one(scores):
    return float(score([0, 1], scores))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print(pool.map(one, [[0.25, 0.5], [0.5, 1]]), flush=True)
    child = os.fork()
    if not child:
        one([0.1])
        sys.exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize(("method", "printed"), [("fork", "[1.0, 1.0]\n"), ("spawn", "[0.75, 1.5]\n")])
def test_forked_children_inherit_the_patch_and_are_silent(script, method, printed):
    script.write_text(CHILDREN)
    done = patched("script.py", method, cwd=script.parent)
    assert (done.returncode, done.stdout) == (0, printed), done.stderr
    assert done.stderr.count("vltr_eval.patch:") == 1


def test_a_copy_in_the_script_itself_is_replaced(script):
    text = "def copied(values):\n    return sum(values)\n\nprint(copied([1]))\n"
    text += "print([name for name in globals() if 'vltr' in name])\n"
    script.write_text(text)
    done = patched("script.py", cwd=script.parent)
    assert (done.returncode, done.stdout) == (0, "-1\n[]\n"), done.stderr
    assert "1 calls of 1 known functions" in done.stderr
    script.write_text(text.replace("sum(values)", "sum(values, 0)"))
    assert patched("script.py", cwd=script.parent).stdout == "1\n[]\n"


def test_the_module_is_the_function():
    import vltr_eval
    import vltr_eval.patch as module

    assert vltr_eval.patch is module
    assert sys.modules["vltr_eval.patch"] is module
    with vltr_eval.patch(only="torcheval", quiet=True) as one:
        assert one.libraries == ("torcheval",)
    with pytest.raises(AttributeError, match="no attribute 'pach'"):
        vltr_eval.pach  # noqa: B018


def test_starting_does_not_import_the_patch():
    code = "import sys, vltr_eval; print([name for name in sys.modules if 'patch' in name and 'vltr' in name])"
    assert run("-c", code).stdout == "[]\n"
