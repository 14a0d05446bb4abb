"""The built assets are those of the sources in web/, small, and in the wheel."""

from __future__ import annotations

import importlib.resources
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB, ASSETS = ROOT / "web", ROOT / "vltr_eval/page/assets"
NAMES = ("page.js", "page.css", "LICENSES.txt")
SOURCES = {path.relative_to(WEB).as_posix(): path for path in sorted((WEB / "src").rglob("*.*"))}


def test_the_assets_are_built_from_the_sources(tmp_path):
    subprocess.run(["node", "build.mjs", str(tmp_path)], cwd=WEB, check=True, timeout=120)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in ASSETS.iterdir())
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (ASSETS / name).read_bytes(), f"{name}: run `make page` and commit it"


def test_the_package_has_the_assets():
    installed = importlib.resources.files("vltr_eval") / "page/assets"
    for name in NAMES:
        assert (installed / name).read_bytes() == (ASSETS / name).read_bytes()


def test_the_assets_are_small():
    assert sum((ASSETS / name).stat().st_size for name in ("page.js", "page.css")) < 150_000


def test_every_bundled_package_has_its_licence():
    text = (ASSETS / "LICENSES.txt").read_text(encoding="utf-8")
    packages = re.findall(r"^([\w@/-]+) [\d.]+ \((.+)\)$", text, re.MULTILINE)
    assert {"d3-axis", "d3-scale", "d3-selection", "d3-quadtree", "d3-format"} <= {name for name, _ in packages}
    assert {licence for _, licence in packages} <= {"ISC", "BSD-3-Clause", "MIT"}


def test_versions_are_pinned_and_no_registry_is_named():
    package, lock = ((WEB / name).read_text(encoding="utf-8") for name in ("package.json", "package-lock.json"))
    assert "resolved" not in lock
    assert not re.search(r"https?://(?!github\.com|opencollective\.com|www\.patreon)", lock)
    versions = re.findall(r'^    "[\w@/-]+": "(.+?)",?$', package, re.MULTILINE)
    assert versions
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions if not version.startswith("node "))


@pytest.mark.parametrize("name", SOURCES)
def test_sources_make_no_markup_of_data(name):
    text = SOURCES[name].read_text(encoding="utf-8")
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 120
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "fetch("):
        assert word not in text
    assert 'setAttribute("style"' not in text  # the policy of the page refuses style attributes


def test_the_script_can_stand_in_a_page():
    script = (ASSETS / "page.js").read_text(encoding="utf-8")
    assert script.isascii()
    assert not re.search(r"</script|<!--|\beval\(|new Function|https?://(?!www\.w3\.org)", script)
    assert "</style" not in (ASSETS / "page.css").read_text(encoding="utf-8")
