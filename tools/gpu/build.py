"""Install the package for the checks: a wheel that fits, or else a build on this machine."""

from __future__ import annotations

import re
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from gpu import wheel
from gpu.commands import FAILED, PASSED, Finished, Outcome, judged
from gpu.machine import jobs
from gpu.source import ROOT
from gpu.visit import Visit

PIP = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check"]
_IMPORT = "import vltr_eval, vltr_train; print('build:', vltr_eval.build_info()['cuda'])"

# A wheel is a zip whose files are those of the site. The programs, which pip would write, come from its entry points.
_UNPACK = """
import sys, zipfile
from importlib.metadata import distributions
from pathlib import Path
file, site = sys.argv[1:]
zipfile.ZipFile(file).extractall(site)
programs = Path(site, "bin")
programs.mkdir(exist_ok=True)
for made in distributions(path=[site]):
    for entry in made.entry_points.select(group="console_scripts"):
        program = programs / entry.name
        lines = [f"#!{sys.executable}", "import sys", f"from {entry.module} import {entry.attr}"]
        lines.append(f"sys.exit({entry.attr}())")
        program.write_text("\\n".join(lines))
        program.chmod(0o755)
"""


def install(visit: Visit, seconds: float) -> Outcome:
    """Install into the visit's folder. The summary says how, and why not by the wheel."""
    shutil.rmtree(visit.site, ignore_errors=True)
    start = time.monotonic()
    why_not = install_wheel(visit, seconds)
    if why_not is None:
        return Outcome(PASSED, f"wheel of {wheel.find(visit.wheels).commit}, {visit.arch}")
    outcome = compile_here(visit, seconds - (time.monotonic() - start))
    outcome.summary = f"{outcome.summary}; {why_not}"
    return outcome


def install_wheel(visit: Visit, seconds: float) -> str | None:
    """Install the wheel. Return None, or why it cannot be used."""
    found = wheel.find(visit.wheels)
    if found is None:
        return wheel.why_none(visit.wheels)
    if misfit := found.misfit(visit.machine):
        return misfit
    file = visit.wheels / found.file
    command = [*PIP, "--target", visit.site, file]
    if not find_spec("pip"):
        command = [sys.executable, "-c", _UNPACK, file, visit.site]
    for title, step in (("install the wheel", command), ("import", [sys.executable, "-c", _IMPORT])):
        finished = visit.runner.run(title, step, seconds)
        if finished.code != 0:
            shutil.rmtree(visit.site, ignore_errors=True)
            return f"{title}: {(finished.last_lines.splitlines() or ['failed'])[-1]}"
    return None


def compile_here(visit: Visit, seconds: float) -> Outcome:
    """Compile by pip if its build back end is installed, else, or if that fails, by CMake alone."""
    start = time.monotonic()
    detail = ""
    if find_spec("scikit_build_core") and find_spec("pybind11") and find_spec("pip"):
        finished = compile_by_pip(visit, seconds)
        outcome = judged(finished, f"pip, {visit.arch}")
        if outcome.status == PASSED or finished.out_of_time:
            return outcome
        detail = outcome.detail
    outcome = compile_by_cmake(visit, seconds - (time.monotonic() - start))
    outcome.detail = detail + outcome.detail
    return outcome


def settings_of(visit: Visit) -> dict[str, str]:
    return wheel.build_settings(visit.arch) | {"CMAKE_BUILD_PARALLEL_LEVEL": str(jobs())}


def compile_by_pip(visit: Visit, seconds: float) -> Finished:
    command = [*PIP, "--no-build-isolation", "--target", visit.site, "-v", ROOT]
    settings = settings_of(visit) | {"SKBUILD_BUILD_DIR": str(visit.folder / "scikit-build")}
    return visit.runner.run("build by pip", command, seconds, **settings)


def compile_by_cmake(visit: Visit, seconds: float) -> Outcome:
    """Build as scikit-build-core does: configure, build, install, and copy the Python packages."""
    if not (cmake := shutil.which("cmake")):
        return Outcome(FAILED, "neither scikit-build-core nor cmake was found")
    start = time.monotonic()
    for title, command in cmake_commands(visit, cmake):
        finished = visit.runner.run(title, command, seconds - (time.monotonic() - start), **settings_of(visit))
        if finished.code != 0 or finished.out_of_time:
            return judged(finished, f"CMake, {title}")
    for package in sorted(path.parent for path in ROOT.glob("vltr_*/__init__.py")):
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(package, visit.site / package.name, dirs_exist_ok=True, ignore=ignored)
    return Outcome(PASSED, f"CMake, {visit.arch}")


def cmake_commands(visit: Visit, cmake: str) -> list[tuple[str, list[str | Path]]]:
    project = (ROOT / "pyproject.toml").read_text()
    tree = visit.folder / "cmake"
    definitions = {
        "CMAKE_BUILD_TYPE": "Release",
        "VLTR_CUDA": settings_of(visit)["VLTR_CUDA"],
        "SKBUILD_PROJECT_VERSION": re.search(r'^version = "(.+)"$', project, re.MULTILINE).group(1),
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11_directory(visit),
    }
    configure = [cmake, "-S", ROOT, "-B", tree, *(f"-D{name}={value}" for name, value in definitions.items())]
    return [
        ("configure", configure),
        ("build by CMake", [cmake, "--build", tree, "--target", "_core", "-j", str(jobs())]),
        ("install", [cmake, "--install", tree, "--prefix", visit.site]),
    ]


def pybind11_directory(visit: Visit) -> Path:
    """Return the folder of pybind11's CMake files: of the package, or new ones for the headers in torch."""
    if find_spec("pybind11"):
        finished = visit.runner.run("pybind11", [sys.executable, "-m", "pybind11", "--cmakedir"], 30)
        if finished.code == 0:
            return Path(finished.output.strip().splitlines()[-1])
    torch = Path(find_spec("torch").origin).parent
    folder = visit.folder / "pybind11"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pybind11Config.cmake").write_text(
        "function(pybind11_add_module name)\n"
        "  list(REMOVE_ITEM ARGN MODULE NO_EXTRAS)\n"
        "  Python_add_library(${name} MODULE WITH_SOABI ${ARGN})\n"
        f'  target_include_directories(${{name}} SYSTEM PRIVATE "{torch / "include"}")\n'
        "endfunction()\n"
    )
    return folder
