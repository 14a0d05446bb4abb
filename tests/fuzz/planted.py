"""Workers that hang or die, so that a test sees the harness notice them."""

from __future__ import annotations

import argparse
import os
import signal
import time
from pathlib import Path


def hang(options: argparse.Namespace, first: int, stop_at: float, state: Path, log: Path) -> None:
    _begin(first, state, log)
    time.sleep(600)


def die(options: argparse.Namespace, first: int, stop_at: float, state: Path, log: Path) -> None:
    _begin(first, state, log)
    os.kill(os.getpid(), signal.SIGKILL)


def _begin(first: int, state: Path, log: Path) -> None:
    log.write_text("")
    state.write_text(f"{first:<12} npy scores file")
