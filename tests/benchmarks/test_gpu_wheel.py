"""A wheel for a machine with a GPU: whether it fits, and what happens if it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace

import gpu_wheel
import pytest
from gpu import build, source, wheel
from gpu.commands import FAILED, PASSED, Finished, Outcome, Runner
from gpu.machine import Machine
from gpu.visit import Visit, environment_of
from gpu.wheel import Wheel

MACHINE = Machine(python="", torch="", numpy="", cuda="", missing=[], name="A GPU", arch="90")


@pytest.fixture
def made():
    return Wheel(f"vltr-0.1.0-{wheel.tag_of_this_python()}.whl", "90", source.fingerprint(), "abc1234")


@pytest.fixture
def visit(tmp_path, made):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "wheel.json").write_text(json.dumps(asdict(made)))
    runner = Runner(tmp_path / "work", tmp_path / "log")
    return Visit(False, 420.0, tmp_path, tmp_path / "wheels", tmp_path, runner, MACHINE, "abc1234")


def test_a_wheel_fits_the_machine_that_it_was_made_for(made):
    assert made.misfit(MACHINE) is None
    assert replace(made, arch=wheel.EMULATED).misfit(replace(MACHINE, name=None)) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"file": "vltr-0.1.0-cp27-cp27-linux_x86_64.whl"}, "another Python and platform: expected cp3"),
        ({"arch": "80"}, "another device: expected 90, got 80"),
        ({"package": "0123456789abcdef"}, "other sources: expected"),
    ],
)
def test_a_wheel_that_does_not_fit_says_why(made, change, reason):
    assert reason in replace(made, **change).misfit(MACHINE)


def test_only_machine_code_of_one_architecture_is_built():
    assert wheel.build_settings("90") == {"VLTR_CUDA": "ON", "CUDAARCHS": "90-real"}
    assert wheel.build_settings(wheel.EMULATED) == {"VLTR_CUDA": "EMULATED"}


@pytest.mark.parametrize("code", [0, 1])
def test_a_wheel_that_does_not_import_is_replaced_by_a_build(visit, monkeypatch, code):
    def run(_, title, command, seconds, *patience, **environment):
        return Finished(code if title == "import" else 0, "version `GLIBC_2.99' not found")

    monkeypatch.setattr(Runner, "run", run)
    monkeypatch.setattr(build, "compile_here", lambda *_: Outcome(PASSED, "pip, 90"))
    outcome = build.install(visit, 60.0)
    assert outcome.status == PASSED
    assert outcome.summary == ["wheel of abc1234, 90", "pip, 90; import: version `GLIBC_2.99' not found"][code]


@pytest.mark.parametrize("text", ["{", "[]", '{"file": "vltr.whl"}'])
def test_a_damaged_description_of_a_wheel_is_no_wheel(visit, monkeypatch, text):
    (visit.wheels / "wheel.json").write_text(text)
    monkeypatch.setattr(build, "compile_here", lambda *_: Outcome(PASSED, "pip, 90"))
    outcome = build.install(visit, 60.0)
    assert outcome.summary == "pip, 90; wheel.json cannot be read: it is damaged, or of another version"


def pack(file) -> None:
    """Write a wheel of two packages and a program."""
    files = {
        "vltr_eval/__init__.py": "build_info = lambda: {'cuda': 'yes'}\ndef main(): print('ran'); return 4\n",
        "vltr_train/__init__.py": "",
        "vltr-0.1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: vltr\nVersion: 0.1.0\n",
        "vltr-0.1.0.dist-info/WHEEL": "Wheel-Version: 1.0\n",
        "vltr-0.1.0.dist-info/RECORD": "",
        "vltr-0.1.0.dist-info/entry_points.txt": "[console_scripts]\nvltr-eval = vltr_eval:main\n",
    }
    with zipfile.ZipFile(file, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)


@pytest.mark.parametrize("has_pip", [True, False])
def test_a_wheel_is_installed_by_pip_and_unpacked_without_it(visit, made, monkeypatch, has_pip):
    pack(visit.wheels / made.file)
    find_spec = build.find_spec
    monkeypatch.setattr(build, "find_spec", lambda name: find_spec(name) if has_pip or name != "pip" else None)
    visit.runner.environment = environment_of(visit.site)
    outcome = build.install(visit, 120.0)
    assert outcome.summary == "wheel of abc1234, 90", visit.runner.log.read_text()
    environment = os.environ | visit.runner.environment
    ran = subprocess.run([visit.site / "bin" / "vltr-eval"], env=environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (4, "ran\n")


def test_the_plan_of_a_build_by_cmake(visit, monkeypatch):
    asked = []

    def run(_, title, command, seconds, *patience, **environment):
        asked.append((title, [str(word) for word in command], environment))
        return Finished(0, "/pybind11")

    monkeypatch.setattr(Runner, "run", run)
    monkeypatch.setattr(build.shutil, "which", lambda name: name)
    assert build.compile_by_cmake(visit, 60.0).status == PASSED
    steps = {title: command for title, command, _ in asked}
    assert list(steps)[-3:] == ["configure", "build by CMake", "install"]
    project = (source.ROOT / "CMakeLists.txt").read_text() + "Python_EXECUTABLE pybind11_DIR CMAKE_BUILD_TYPE"
    given = [word[2:].partition("=")[0] for word in steps["configure"] if word.startswith("-D")]
    assert given
    assert [name for name in given if name not in project] == []
    assert asked[-1][2]["CUDAARCHS"] == "90-real"
    assert (visit.site / "vltr_eval" / "__init__.py").exists()
    assert not list(visit.site.rglob("*.so"))


def test_a_wheel_is_made_for_one_architecture_and_described(tmp_path, monkeypatch):
    asked = []

    def pip(command, check, env):
        asked.append((command, env["CUDAARCHS"]))
        (tmp_path / "vltr-0.1.0-cp312-cp312-linux_x86_64.whl").write_text("made")

    (tmp_path / "vltr-0.0.9-cp312-cp312-linux_x86_64.whl").write_text("old")
    monkeypatch.setattr(wheel.subprocess, "run", pip)
    monkeypatch.setattr(source, "commit", lambda: "abc1234")
    monkeypatch.setattr(sys, "argv", ["gpu_wheel.py", "--python", "python3.12", "--arch", "90", "--out", str(tmp_path)])
    assert gpu_wheel.main() == 0
    (command, arch) = asked[0]
    assert (command[:4], command[-1], arch) == (["python3.12", "-m", "pip", "wheel"], str(source.ROOT), "90-real")
    expected = Wheel("vltr-0.1.0-cp312-cp312-linux_x86_64.whl", "90", source.fingerprint(), "abc1234")
    assert wheel.find(tmp_path) == expected
    assert not list(tmp_path.glob("vltr-0.0.9*"))


def test_without_a_wheel_and_a_compiler_the_build_fails_with_both_reasons(visit, monkeypatch):
    (visit.wheels / "wheel.json").unlink()
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    outcome = build.install(visit, 60.0)
    assert outcome.status == FAILED
    assert outcome.summary == "neither scikit-build-core nor cmake was found; there is no wheel"
