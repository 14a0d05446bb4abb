"""Fixtures of the drop-in tests: the published originals, re-expressed in benchmarks/published."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
