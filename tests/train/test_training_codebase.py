"""The rooms of vltr_train: which way imports point, and what works without torch."""

from __future__ import annotations

import ast
import doctest
import graphlib
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vltr_train

PACKAGE = Path(vltr_train.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py" and path != PACKAGE / "__init__.py"
)
METHODS = [module for module in MODULES if module.startswith("methods.")]
WITHOUT_TORCH = (
    *("cli", "methods", "settings", "papers", "ops.frames", "runs.run_folder", "runs.tables", "data.dataset"),
    *("runs.curves", "runs.page", "runs.repetitions"),
    *("data.frame_store", "data.label_lists", "data.pack", "samplers", "data.synth"),
)
FOR_METHODS = {
    *("aggregators", "losses", "method", "presets"),
    *("data.loader", "samplers", "ops.dropout", "ops.frames"),
}
PUBLIC = {
    *("vltr_eval", "vltr_eval.distributed"),
    *(f"vltr_eval.{name}" for name in ("comparison", "formats", "intervals", "page", "plot", "priors", "report")),
}


def imports_of(module: str, *, at_once: bool = False) -> set[str]:
    """Modules of the package that one of them imports, or imports when it is imported; type hints do not count."""
    path = PACKAGE / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set()
    for node in _walk(ast.parse(path.read_text(encoding="utf-8")), at_once):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            if node.module == "vltr_train":
                found |= {alias.name for alias in node.names}
            elif (node.module or "").startswith("vltr_train."):
                package = node.module.removeprefix("vltr_train.")
                names = {f"{package}.{alias.name}" for alias in node.names}
                found |= {name if name in MODULES else package for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("vltr_train.")}
    return found


def _walk(node, at_once):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
            continue
        if at_once and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        yield child
        yield from _walk(child, at_once)


def test_rooms_are_found():
    assert {"engine", "method", "data.loader", "methods.framestack"} <= set(MODULES)
    assert set(WITHOUT_TORCH) | FOR_METHODS <= set(MODULES)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_training_stands_on_the_public_face_and_the_base(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else names
        for name in names:
            if name.partition(".")[0] == "vltr_eval":
                assert name in PUBLIC or name.startswith("vltr_eval._base"), name
        if isinstance(node, ast.ImportFrom) and node.module == "vltr_eval._base":
            assert "_core" not in {alias.name for alias in node.names} or path.parent.name == "ops"


def test_imports_have_no_cycle():
    graph = {module: imports_of(module, at_once=True) & set(MODULES) for module in MODULES}
    list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("module", METHODS)
def test_a_method_stands_on_what_methods_share(module):
    """And on no other method, nor on the engine."""
    assert imports_of(module) <= FOR_METHODS


@pytest.mark.parametrize("module", sorted(set(MODULES) - set(METHODS)))
def test_nothing_else_knows_a_method_by_name(module):
    assert not {name for name in imports_of(module) if name.startswith("methods.")}


def test_the_engine_is_short():
    assert len((PACKAGE / "engine.py").read_text(encoding="utf-8").splitlines()) <= 300


def test_data_and_tables_work_without_torch():
    code = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Blocker())
import importlib, vltr_train
for module in {WITHOUT_TORCH!r}:
    importlib.import_module(f"vltr_train.{{module}}")
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("line", "code"),
    [
        *(("methods", 0), ("--help", 0), ("--version", 0), ("fit --help", 0), ("sweep --help", 0), ("synth --help", 0)),
        *(("fit bce", 2), ("fit bce --data d --epochs=3", 2), ("fit bec --data d", 1), ("sweep bce bec --data d", 1)),
        *(("methods bec", 1), ("table nowhere", 1), ("inspect nowhere", 1)),
        ("plot nowhere --html page.html", 1),
    ],
)
def test_the_program_imports_torch_for_no_list_of_names_and_no_mistake(line, code):
    program = """
import sys
from vltr_train.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(code, *sorted({"torch", "pandas"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program, *line.split()], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == str(code)


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_run(module):
    pytest.importorskip("torch")
    loaded = importlib.import_module(f"vltr_train.{module}")
    assert doctest.testmod(loaded, extraglobs={"np": np}, raise_on_error=False).failed == 0


@pytest.mark.parametrize("module", ["losses", "samplers", "aggregators"])
def test_public_names_that_need_no_engine_have_examples(module):
    pytest.importorskip("torch")
    loaded = importlib.import_module(f"vltr_train.{module}")
    others = {"Aggregator", "Draw", "Sampler", "Labels"}  # a base class, a result, a protocol and a type
    for name in set(loaded.__all__) - others:
        thing = getattr(loaded, name)
        if not callable(thing):  # the tables of names
            continue
        docstrings = [inspect.getdoc(thing) or ""]
        if isinstance(thing, type):
            docstrings += [inspect.getdoc(member) or "" for key, member in vars(thing).items() if key[0] != "_"]
        assert any(">>>" in text for text in docstrings), name


def test_the_package_says_its_names():
    assert set(vltr_train.__all__) <= set(dir(vltr_train))


@pytest.mark.parametrize("name", vltr_train.__all__)
def test_public_names_are_there(name):
    assert getattr(vltr_train, name) is not None
