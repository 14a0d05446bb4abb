"""Fixtures of the patch: no patch survives a test, and a test may have a table of known functions of its own."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

import pytest

import vltr_eval
from vltr_eval.patching import known, session

TESTS = str(Path(__file__).parents[2])


@pytest.fixture
def names_of_all_modules():
    """Return the identity of every name of every module, but those of test runners and of this project's own files."""
    others = ("vltr", "_pytest", "py", "warn", "hypothesis")

    def is_foreign(name, module):
        own_file = str(getattr(module, "__file__", None)).startswith(TESTS)
        return isinstance(module, types.ModuleType) and not name.startswith(others) and not own_file

    def names():
        return {
            (module_name, name): id(value)
            for module_name, module in list(sys.modules.items())
            if is_foreign(module_name, module)
            for name, value in list(object.__getattribute__(module, "__dict__").items())
            if name != "__warningregistry__"
        }

    return names


@pytest.fixture(autouse=True)
def no_patch_survives():
    yield
    left = 0
    while vltr_eval.unpatch() is not None:
        left += 1
    assert not left


@pytest.fixture
def table(monkeypatch):
    """Put libraries in place of the table, and modules of drop-ins under vltr_eval.compat."""

    def use(*libraries, **drop_ins):
        monkeypatch.setattr(known, "LIBRARIES", tuple(libraries))
        module = types.ModuleType("vltr_eval.compat._of_tests")
        vars(module).update(drop_ins)
        monkeypatch.setitem(sys.modules, module.__name__, module)

    replacements, objects = dict(session._replacements), dict(session.by_object)
    yield use
    for mapping, before in ((session._replacements, replacements), (session.by_object, objects)):
        mapping.clear()
        mapping.update(before)


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """Write modules that can be imported, and forget them after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name, text):
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in path.relative_to(tmp_path).parents:
            if folder.name:
                (tmp_path / folder / "__init__.py").touch()
        path.write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return path

    yield write
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
