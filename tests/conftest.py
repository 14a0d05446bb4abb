"""What a run tells before its tests: what it runs on, and what it cannot test here."""

from __future__ import annotations

import importlib.metadata
import os
import sys

import pytest

import vltr_eval

ALL_SIMD_LEVELS = ("generic", "avx2", "avx512")
WITNESSES = ("numpy", "scipy", "scikit-learn", "torch", "ml_dtypes", "pandas", "pyarrow", "hypothesis")


def pytest_configure(config):
    """VLTR_REQUIRE=cuda,avx512 turns what would be left out into an error."""
    build = vltr_eval.build_info()
    for wanted in filter(None, os.environ.get("VLTR_REQUIRE", "").split(",")):
        there = build["cuda"] != "not built" if wanted == "cuda" else wanted in build["simd_available"]
        if not there:
            raise pytest.UsageError(f"VLTR_REQUIRE: {wanted} is required, and this build on this machine has none")


def pytest_report_header(config):
    build = vltr_eval.build_info()
    missing = [level for level in ALL_SIMD_LEVELS if level not in build["simd_available"]]
    return [
        f"vltr: {build['version']}, {build['compiler']}, {build['threads']} threads; Python {sys.version.split()[0]}",
        f"cuda: {build['cuda']}",
        f"simd: {build['simd']}, tested {' '.join(build['simd_available'])}, NOT TESTED {' '.join(missing) or 'none'}",
        "with: " + ", ".join(f"{name} {_version(name)}" for name in WITNESSES),
    ]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "MISSING"
