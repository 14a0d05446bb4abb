"""Tests of the code base itself: import directions, C++ includes, and docstring examples that run."""

from __future__ import annotations

import ast
import doctest
import graphlib
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import vltr_eval

ROOT = Path(__file__).parents[2]
PACKAGE = Path(vltr_eval.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py" and path != PACKAGE / "__init__.py"
)
SOURCES = {
    name: {path: path.read_text(encoding="utf-8") for pattern in patterns for path in sorted(ROOT.glob(pattern))}
    for name, patterns in {
        "python": ["vltr_eval/**/*.py"],
        "training": ["vltr_train/**/*.py"],
        "tests": ["tests/**/*.py"],
        "benchmarks": ["benchmarks/**/*.py", "tools/**/*.py", "experiments/*.py", "examples/*.py"],
        "core": ["csrc/core/*"],
        "cpu": ["csrc/cpu/*"],
        "cuda": ["csrc/cuda/*"],
        "c++": ["csrc/**/*.?pp", "csrc/**/*.inl", "csrc/**/*.cu", "csrc/**/*.cuh"],
        "page": ["web/src/**/*.*", "web/*.mjs", "web/package.json"],
        "build": ["CMakeLists.txt", "cmake/*", "pyproject.toml", "Makefile", ".clang-format"],
    }.items()
}

# Drop-ins import the libraries that they replace; the rest of the package imports without them.
NEEDS = {f"compat.{module}": "torch" for module in ("_tensors", "torcheval", "torchmetrics", "torchnet")}
NEEDS |= dict.fromkeys(("compat.addgcn", "compat.birdset", "compat.clip_benchmark", "compat.mlgcn"), "torch")
NEEDS |= {module: "torch" for module in MODULES if module.startswith("compat.torchmetrics.")}
NEEDS |= {"compat.pyxclib": "scipy"}
NEEDS |= {f"compat.{module}": "torch" for module in ("_mmengine", "mmaction2.metrics", "mmengine", "mmpretrain")}

CORE = "_base._core"

# The packages that call the C++ core: the conversion of arrays to addresses, and the operations.
CALLS_CORE = ("_base.", "_engine.", "metrics.")

# The packages by layer, lowest first: a module imports modules of its layer and of lower ones.
FLOORS = (
    *(("_base",), ("intervals",), ("formats",), ("page",), ("report",), ("_engine",), ("metrics",), ("priors",)),
    ("ranked_lists",),
    *(("_evaluate", "evaluator", "batches", "distributed"), ("comparison",), ("convention",), ("plot",)),
    *(("compat",), ("patching", "patch"), ("program",)),
)


def source_of(module: str) -> str:
    path = PACKAGE / module.replace(".", "/")
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


def imports_of(module: str) -> set[str]:
    """Return the modules of the package that a module imports anywhere in its text; "" is the package itself."""
    found = set()
    for node in ast.walk(ast.parse(source_of(module))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            if node.module == "vltr_eval":
                found |= {alias.name if alias.name in MODULES else "" for alias in node.names}
            elif (node.module or "").startswith("vltr_eval."):
                package = node.module.removeprefix("vltr_eval.")
                names = {f"{package}.{alias.name}" for alias in node.names}
                found |= {name if name in (*MODULES, CORE) else package for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[2] for alias in node.names if alias.name.split(".")[0] == "vltr_eval"}
    return found


def includes_of(text: str) -> set[str]:
    return set(re.findall(r'^\s*#\s*include\s+["<]([^">]+)[">]', text, re.MULTILINE))


# Imports


def test_modules_are_found():
    assert {"_base.arrays", "_engine.labels", "metrics.sampled", "formats.reading", "program.cli"} <= set(MODULES)
    assert all(SOURCES.values())


def test_imports_have_no_cycle():
    graph = {module: imports_of(module) - {""} for module in MODULES}
    list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("module", MODULES)
def test_only_operations_call_the_core(module):
    assert (CORE in imports_of(module)) <= module.startswith(CALLS_CORE)


def floor_of(module: str) -> int:
    room = module.partition(".")[0]
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


@pytest.mark.parametrize("module", MODULES)
def test_no_module_imports_a_higher_layer(module):
    for name in imports_of(module) - {CORE, ""}:
        assert floor_of(name) <= floor_of(module), name


@pytest.mark.parametrize("package", ["vltr_eval", "vltr_train"])
def test_no_name_shadows_a_module(package):
    """`import package.name` gives the module, not a function of the same name."""
    for folder in [ROOT / package, *(path.parent for path in (ROOT / package).rglob("__init__.py"))]:
        name = ".".join(folder.relative_to(ROOT).parts)
        exported = set(getattr(importlib.import_module(name), "__all__", ())) if name not in NEEDS else set()
        for module in {path.stem for path in folder.glob("*.py")} & exported:
            assert isinstance(getattr(importlib.import_module(name), module), ModuleType), f"{name}.{module}"


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_modules_not_the_package(module):
    """An import through the package would put its __init__ in a cycle."""
    assert "" not in imports_of(module)


@pytest.mark.parametrize("module", MODULES)
def test_only_the_program_imports_the_drop_ins(module):
    known = {name for name in imports_of(module) if name.startswith("compat")}
    assert not known or module.startswith("compat") or module == "program.ava"


def test_vltr_eval_does_not_import_training():
    for path, text in SOURCES["python"].items():
        assert "vltr_train" not in text, path


def test_every_public_name_is_exported():
    for module in ["", *MODULES]:
        loaded = importlib.import_module(f"vltr_eval.{module}" if module else "vltr_eval")
        for name in getattr(loaded, "__all__", ()):
            assert hasattr(loaded, name), f"{module}.{name}"


OPTIONAL = (
    "torch",
    "torchmetrics",
    "torcheval",
    "lightning",
    "pandas",
    "scipy",
    "sklearn",
    "pyarrow",
    "polars",
    "duckdb",
    "datasets",
    "narwhals",
    "safetensors",
    "ml_dtypes",
    "h5py",
    "zarr",
    "fsspec",
    "zstandard",
    "lz4",
    "matplotlib",
    "tqdm",
    "rich",
)
BLOCKED_IMPORTS = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OPTIONAL!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocker())
"""


def run_without_extras(code: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "error", "-c", BLOCKED_IMPORTS + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


IMPORT_EACH = """
import importlib, json, os, sys, traceback, warnings
import vltr_eval

found = {}
for module in sys.argv[1:]:
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside the threads of numpy
        child = os.fork()
    if child == 0:
        try:
            importlib.import_module(f"vltr_eval.{module}")
        except BaseException:
            os.write(theirs, traceback.format_exc().encode()[-4096:])
        os._exit(0)
    os.close(theirs)
    with open(ours, encoding="utf-8") as pipe:
        found[module] = pipe.read()
    _, status = os.waitpid(child, 0)
    found[module] += f"status {status}" if status else ""
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def errors_of_imports():
    """The error that the import of each module raises in a process of its own, where numpy is the only extra."""
    done = run_without_extras(IMPORT_EACH, *MODULES)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_imports_with_numpy_alone(module, errors_of_imports):
    if module in NEEDS:
        # A module of a package is imported after the package, whose error it is.
        first = min(name for name in NEEDS if f"{module}.".startswith(f"{name}."))
        sentence = f"ImportError: vltr_eval.{first} needs {NEEDS[first]}: pip install {NEEDS[first]}"
        assert errors_of_imports[module].splitlines()[-1] == sentence
    else:
        assert errors_of_imports[module] == ""


def test_everything_works_with_numpy_alone():
    code = """
import numpy as np, vltr_eval
scores, labels = np.random.default_rng(0).random((40, 3)), np.eye(40, 3)
report = vltr_eval.evaluate(scores, labels, train_counts=[900, 300, 10])
report.to_json(), report.to_text()
vltr_eval.topk_accuracy(scores, labels), vltr_eval.sap_subset(labels, 0, 0), vltr_eval.tie_interval(scores, labels)
print(report.metrics()["mAP"] > 0)
"""
    done = run_without_extras(code)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


def test_using_vltr_eval_imports_no_extra():
    code = f"""
import sys, numpy as np, vltr_eval
vltr_eval.evaluate(np.zeros((4, 2)), np.eye(4, 2))
print(sorted(set(sys.modules) & set({OPTIONAL!r})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


# C++


@pytest.mark.parametrize("path", SOURCES["core"], ids=lambda path: path.name)
def test_core_includes_no_thread_cuda_or_python_header(path):
    allowed = {
        "algorithm",
        "cstdint",
        "cstddef",
        "cstdlib",
        "cstring",
        "limits",
        "memory",
        "new",
        "stdexcept",
        "string",
        "sys/mman.h",
        "type_traits",
        "utility",
        "variant",
        "vector",
    }
    for header in includes_of(SOURCES["core"][path]):
        assert header.startswith("core/") or header in allowed, header


@pytest.mark.parametrize("path", SOURCES["cpu"], ids=lambda path: path.name)
def test_cpu_includes_nothing_above_it(path):
    for header in includes_of(SOURCES["cpu"][path]):
        assert not re.match(r"pybind11|Python\.h|cuda|torch|ATen|c10|numpy", header), header
        assert "/" not in header or header.startswith(("core/", "cpu/", "sys/")), header


@pytest.mark.parametrize("path", SOURCES["cuda"], ids=lambda path: path.name)
def test_cuda_includes_the_core_alone(path):
    for header in includes_of(SOURCES["cuda"][path]):
        assert "/" not in header or header.startswith(("core/", "cuda/")), header
        assert not re.match(r"cub|thrust|cooperative|torch|numpy|Python", header), header
    if path.suffix == ".hpp":  # the headers that code without CUDA may include
        assert not re.search(r"cuda_runtime|\.cuh", " ".join(includes_of(SOURCES["cuda"][path])))


def test_only_the_bindings_include_pybind11():
    assert {path.parent.name for path, text in SOURCES["c++"].items() if "pybind11" in text} == {"bindings"}


def test_no_fast_math_and_no_native_code():
    for path, text in SOURCES["build"].items():
        assert not re.search(
            r"^[^#]*(-ffast-math|-Ofast|-march=native|-funsafe-math|use_fast_math)", text, re.MULTILINE
        ), path


# Text


@pytest.mark.parametrize("kind", SOURCES)
def test_sources_are_ascii(kind):
    for path, text in SOURCES[kind].items():
        assert text.isascii(), path


@pytest.mark.parametrize("kind", SOURCES)
def test_no_file_name_is_generic(kind):
    for path in SOURCES[kind]:
        assert not re.fullmatch(r"_?(utils?|helpers?|misc|commons?|tools)", path.stem), path


@pytest.mark.parametrize("kind", SOURCES)
def test_every_todo_names_an_issue(kind):
    for path, text in SOURCES[kind].items():
        if path == Path(__file__):
            continue
        for line in text.splitlines():
            assert not re.search(r"\b(TODO|FIXME|XXX)\b(?!\(#\d+\))", line), f"{path}: {line}"


def test_every_test_says_what_it_expects():
    for path, text in SOURCES["tests"].items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert re.fullmatch(r"test_[a-z0-9]+(_[a-z0-9]+)+", node.name), f"{path}: {node.name}"


@pytest.mark.parametrize("kind", ["python", "training"])
def test_no_attribute_holds_a_lock_while_it_computes(kind):
    """functools.cached_property holds one on Python 3.10 and 3.11, so a forked child can hang; use lazy_property."""
    for path, text in SOURCES[kind].items():
        for node in ast.walk(ast.parse(text)):
            names = {node.attr} if isinstance(node, ast.Attribute) else set()
            names |= {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set()
            assert "cached_property" not in names, path


def test_no_module_asserts():
    for path, text in {**SOURCES["python"], **SOURCES["training"]}.items():
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(text))), path


# Docstrings


@pytest.mark.parametrize(
    "module", ["vltr_eval", *(f"vltr_eval.{module}" for module in MODULES), "vltr_train", "vltr_train.ops.frames"]
)
def test_examples_in_docstrings_run(module):
    loaded = importlib.import_module(module)
    result = doctest.testmod(loaded, extraglobs={"np": np}, raise_on_error=False)
    assert result.failed == 0


def test_public_functions_have_examples():
    missing = [
        name
        for name in vltr_eval.__all__
        if callable(getattr(vltr_eval, name))
        and not isinstance(getattr(vltr_eval, name), type)
        and ">>>" not in (getattr(vltr_eval, name).__doc__ or "")
    ]
    assert set(missing) <= {"build_info", "rank_table", "positive_scores"}  # their results have no short repr
