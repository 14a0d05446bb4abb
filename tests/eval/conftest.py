"""Fixtures of the tests of vltr_eval: each instruction set in turn."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import vltr_eval

sys.path.insert(0, str(Path(__file__).parent))  # for tests that import reference.py by name

SIMD_LEVELS = vltr_eval.build_info()["simd_available"]


@pytest.fixture(params=SIMD_LEVELS)
def simd(request, monkeypatch) -> str:
    """Force each instruction set of this processor in turn."""
    monkeypatch.setenv("VLTR_SIMD", request.param)
    return request.param
