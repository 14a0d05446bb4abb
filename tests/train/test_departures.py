"""The comments DIFFERS of the package and the tables of docs/training/departures.md hold the same departures."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("torch")

import vltr_train
from vltr_train.method import OFFICIAL
from vltr_train.methods import all_methods
from vltr_train.settings import build_config, parse_settings, settings_document

PACKAGE = Path(vltr_train.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "training" / "departures.md"
MARK = "DIFFERS" + ":"
SETTING = re.compile(r"`(\w+)=([^`]*)`")


class Row(NamedTuple):
    file: str
    place: str
    source: str
    default: str
    by: str
    official: str


def rows() -> list[Row]:
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == len(Row._fields), line
            found.append(Row(cells[0].strip("`"), cells[1].strip("`"), *cells[2:]))
    return found


def marks(source: str) -> list[str]:
    """Return the places of the comments: the setting that a comment precedes or follows, or the function around it."""
    lines, tree, found = source.splitlines(), ast.parse(source), []
    settings = {node.lineno: node.target.id for node in ast.walk(tree) if _is_setting(node)}
    for number, line in enumerate(lines, start=1):
        if MARK not in line:
            continue
        at = number
        while at < len(lines) and lines[at - 1].lstrip().startswith("#"):
            at += 1
        found.append(settings.get(at) or ".".join(_scopes(tree, at)))
    return found


def _is_setting(node: ast.AST) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)


def _scopes(node: ast.AST, line: int) -> list[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.ClassDef, ast.FunctionDef)) and child.lineno <= line <= child.end_lineno:
            return [child.name, *_scopes(child, line)]
    return []


def methods_by_file() -> dict[str, type]:
    return {f"methods/{name}.py": kind for name, kind in all_methods().items()}


def test_places_are_settings_and_functions():
    source = f"""class A:
    # {MARK} one,
    # on two lines
    x: int = 1
    y: int = 2  # {MARK} behind

    def f(self):
        # {MARK} inside
        return 1  # {MARK} behind
"""
    assert marks(source) == ["x", "y", "A.f", "A.f"]


def test_every_mark_is_a_row_and_every_row_a_mark():
    in_code = Counter()
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        in_code.update((file, place) for place in marks(path.read_text(encoding="utf-8")))
    on_page = Counter((row.file, row.place) for row in rows())
    assert sum(in_code.values()) > 40
    assert in_code - on_page == Counter(), "comments without a row in docs/training/departures.md"
    assert on_page - in_code == Counter(), "rows of docs/training/departures.md without a comment"


def test_settings_of_the_page_are_those_of_the_official_protocol():
    """For each file: what is on the page is what the protocol sets, no more and no less."""
    for file, kind in {"method.py": None, **methods_by_file()}.items():
        texts = SETTING.findall(" ".join(row.official for row in rows() if row.file == file))
        if kind is None:
            assert texts == list(OFFICIAL.items())
            continue
        official = [*kind.official.items()]
        for preset in kind.presets.values():
            official += [item for item in preset.official.items() if item not in official]
        # A method whose own default is another than that of all methods keeps it under the protocol.
        defaults = settings_document(kind.Config())
        official = [item for item in official if item[1] != defaults[item[0]]]
        on_page = [item for key, text in texts for item in parse_settings(kind.Config, [f"{key}={text}"]).items()]
        assert sorted(on_page, key=str) == sorted(official, key=str), file


def test_official_settings_are_departures_of_the_defaults():
    """A setting of the protocol that is the default would undo nothing."""
    for name, kind in all_methods().items():
        defaults = settings_document(kind.Config())
        for key, value in (OFFICIAL | dict(kind.official)).items():
            keeps_its_own = key in OFFICIAL and key in kind.official
            assert defaults[key] != value or keeps_its_own, (name, key)
        assert settings_document(build_config(kind, protocol="official")).items() >= dict(kind.official).items()


def test_settings_by_which_a_source_is_restored_are_accepted():
    kinds = methods_by_file()
    for row in rows():
        for key, text in SETTING.findall(row.by):
            config = kinds[row.file].Config
            changed = parse_settings(config, [f"{key}={text}"])
            assert settings_document(config(**changed)) != settings_document(config()), row


def test_settings_of_rows_exist():
    """A row names a setting of the method's configuration, or a function or class of its file."""
    for row in rows():
        if row.file in (kinds := methods_by_file()) and row.place.islower() and not row.place.startswith("_"):
            assert row.place in settings_document(kinds[row.file].Config())
        assert row.source
        assert row.default
