"""What the tests of vltr_train share: the folder of their reference."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode adds nothing, and tests import frame_reference
