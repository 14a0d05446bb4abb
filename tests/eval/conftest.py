"""What the tests of vltr_eval share: bounded hypothesis profiles, and each instruction set in turn."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import vltr_eval

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode adds nothing, and tests import reference.py by its name

SIMD_LEVELS = vltr_eval.build_info()["simd_available"]

# The same examples every time, so that a red run is red for its author too; "thorough" looks for new ones.
settings.register_profile("quick", max_examples=60, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "thorough",
    max_examples=2000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile(os.environ.get("VLTR_HYPOTHESIS", "quick"))


@pytest.fixture(params=SIMD_LEVELS)
def simd(request, monkeypatch) -> str:
    """Each instruction set of this processor in turn."""
    monkeypatch.setenv("VLTR_SIMD", request.param)
    return request.param
