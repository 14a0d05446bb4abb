"""Identify the sources that a wheel was built from, or that a stage checked, also where there is no git."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ("CMakeLists.txt", "pyproject.toml", "cmake", "csrc", "vltr_eval", "vltr_train")
_MADE = {".so", ".pyc", ".pyd", ".dylib"}  # made from the sources


def digest_of(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def fingerprint(paths: Iterable[str] = PACKAGE) -> str:
    """Return a digest of the names and bytes of all files below these paths of the tree."""
    return digest_of_files(files_below(paths), ROOT)


def digest_of_files(files: Iterable[Path], root: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:16]


def files_below(paths: Iterable[str]) -> list[Path]:
    found = {file for path in paths for file in ((ROOT / path).rglob("*") if (ROOT / path).is_dir() else [ROOT / path])}
    return sorted(file for file in found if file.is_file() and file.suffix not in _MADE)


def commit() -> str | None:
    """Return the commit, with "-dirty" if files changed since; None without git or a repository."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
