"""A wheel for a machine with a GPU: whether it fits, and what happens if it does not."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from gpu import build, source, wheel
from gpu.commands import FAILED, PASSED, Finished, Outcome, Runner
from gpu.machine import Machine
from gpu.visit import Visit
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
    def run(_, title, command, seconds, **environment):
        return Finished(code if title == "import" else 0, "version `GLIBC_2.99' not found")

    monkeypatch.setattr(Runner, "run", run)
    monkeypatch.setattr(build, "compile_here", lambda *_: Outcome(PASSED, "pip, 90"))
    outcome = build.install(visit, 60.0)
    assert outcome.status == PASSED
    assert outcome.summary == ["wheel of abc1234, 90", "pip, 90; import: version `GLIBC_2.99' not found"][code]


def test_without_a_wheel_and_a_compiler_the_build_fails_with_both_reasons(visit, monkeypatch):
    (visit.wheels / "wheel.json").unlink()
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    outcome = build.install(visit, 60.0)
    assert outcome.status == FAILED
    assert outcome.summary == "neither scikit-build-core nor cmake was found; there is no wheel"
