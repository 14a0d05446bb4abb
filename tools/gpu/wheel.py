"""A wheel for another machine: made where there is time to compile, used if it fits the machine and the sources."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from gpu import source
from gpu.machine import Machine
from gpu.source import ROOT

FOLDER = ROOT / "build" / "gpu-wheel"
EMULATED = "emulated"  # in place of an architecture, for dry runs
_MANIFEST = "wheel.json"


@dataclass(frozen=True)
class Wheel:
    """A wheel and what it was built from. package: the fingerprint of its sources."""

    file: str
    arch: str
    package: str
    commit: str

    def misfit(self, machine: Machine) -> str | None:
        """Return why this machine, with this Python and tree, cannot use the wheel; None if it can."""
        tag, here = "-".join(self.file.removesuffix(".whl").rsplit("-", 3)[1:]), tag_of_this_python()
        arch = machine.arch if machine.name else EMULATED
        for what, of_wheel, wanted in (
            ("for another Python and platform", tag, here),
            ("for another device", self.arch, arch),
            ("of other sources", self.package, source.fingerprint()),
        ):
            if of_wheel != wanted:
                return f"the wheel is {what}: expected {wanted}, got {of_wheel}"
        return None


def tag_of_this_python() -> str:
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return f"{version}-{version}-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def find(folder: Path) -> Wheel | None:
    """Return the wheel of a folder, None if there is none or its description cannot be read."""
    try:
        described = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return Wheel(**{each.name: str(described[each.name]) for each in fields(Wheel)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def why_none(folder: Path) -> str:
    """Return why `find` returns None."""
    file = folder / _MANIFEST
    return f"{_MANIFEST} cannot be read: it is damaged, or of another version" if file.exists() else "there is no wheel"


def make(python: str, arch: str, folder: Path) -> Path:
    """Build a wheel for one Python and one architecture, such as 90, into a folder that holds nothing else.

    pip builds it in isolation, so this Python needs pip and its headers only.

    Raises:
        subprocess.CalledProcessError: The build failed; its output went to the terminal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.whl"), folder / _MANIFEST):
        old.unlink(missing_ok=True)
    package = source.fingerprint()  # before the build: a file that changes during it makes a misfit
    command = [python, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, env=build_environment(arch, ROOT / "build" / "gpu-tree"))
    file = next(folder.glob("*.whl"))
    described = asdict(Wheel(file.name, arch, package, source.commit() or "unknown"))
    (folder / _MANIFEST).write_text(json.dumps(described, indent=1) + "\n")
    return file


def build_settings(arch: str) -> dict[str, str]:
    """Return the variables that choose machine code for one architecture alone, without PTX."""
    if arch == EMULATED:
        return {"VLTR_CUDA": "EMULATED"}
    return {"VLTR_CUDA": "ON", "CUDAARCHS": f"{arch}-real"}


def build_environment(arch: str, tree: Path) -> dict[str, str]:
    return os.environ | build_settings(arch) | {"SKBUILD_BUILD_DIR": str(tree / "{wheel_tag}")}
