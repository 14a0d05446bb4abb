"""Tests of this folder import the scripts of benchmarks/, tools/ and experiments/ by their names."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / folder) for folder in ("benchmarks", "tools", "experiments")]
