"""The stub of the compiled core has the names and parameters of the core."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import vltr_eval
from vltr_eval._base import _core

STUB = ast.parse((Path(vltr_eval.__file__).parent / "_base" / "_core.pyi").read_text(encoding="utf-8"))
FUNCTIONS: dict[str, list[ast.FunctionDef]] = {}
for node in STUB.body:
    if isinstance(node, ast.FunctionDef):
        FUNCTIONS.setdefault(node.name, []).append(node)
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
VALUES = {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign)}
FOR_DEVICES = {"copy_rows", "device_of", "index_positives", "upload_positives", "wait_for"}
FOR_DEVICES |= {"CudaMatrix", "CudaPositives", "CudaRankTable", "CudaUnknownCells", "DeviceArray", "Event"}
FOR_DEVICES |= {"read_mask", "upload_unknown"}


def parameters(signature: str) -> list[str]:
    """Return the parameter names of a pybind11 signature, "" for those without a name."""
    depth, names, inner = 0, [""], signature[signature.index("(") + 1 : signature.rindex(") ->")]
    for char in inner:
        depth += char in "[(" or -(char in "])")
        if char == "," and depth == 0:
            names.append("")
        else:
            names[-1] += char
    named = [name.split(":")[0].strip() for name in names if name.strip()]
    return ["" if re.fullmatch(r"arg\d+", name) else name for name in named]


def signatures(function) -> list[list[str]]:
    lines = [line for line in function.__doc__.splitlines() if ") -> " in line]
    return [parameters(line) for line in (lines[1:] if "Overloaded" in function.__doc__ else lines[:1])]


def test_the_stub_has_the_names_of_the_core():
    built = {name for name in dir(_core) if not name.startswith("_")}
    named = {*FUNCTIONS, *CLASSES, *VALUES} - {"__version__"}
    assert named - built <= (set() if "CudaMatrix" in built else FOR_DEVICES)
    assert built <= named


@pytest.mark.parametrize("name", sorted(name for name in FUNCTIONS if hasattr(_core, name)))
def test_the_stub_has_the_parameters_of_the_core(name):
    declared = []
    for node in FUNCTIONS[name]:
        unnamed = [""] * len(node.args.posonlyargs)
        declared.append(unnamed + [argument.arg for argument in node.args.args])
    for found in signatures(getattr(_core, name)):
        assert found in declared


@pytest.mark.parametrize("name", sorted(name for name in CLASSES if hasattr(_core, name)))
def test_the_stub_has_the_members_of_the_core(name):
    members = {node.name for node in CLASSES[name].body if isinstance(node, ast.FunctionDef)}
    built = {member for member in vars(getattr(_core, name)) if not member.startswith("_")}
    assert built - {"args"} == {member for member in members if not member.startswith("_")}
