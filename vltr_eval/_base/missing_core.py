"""The sentence for an installation whose compiled core cannot be imported."""

from __future__ import annotations

import sys
from pathlib import Path


def why_no_core(error: ImportError) -> str:
    """Why importing the core failed, and the remedy: there is none, it is for another Python, or it does not load."""
    folder = Path(__file__).parent
    found = sorted(file.name for file in folder.glob("_core.*") if file.suffix in (".so", ".pyd"))
    if not found:
        return (
            f"vltr_eval: expected the compiled core in {folder}, got the sources alone; start Python in another folder "
            "to use an installed vltr (after `make demo`: .venv/bin/python, or the program .venv/bin/vltr-eval from "
            "any folder), or install the sources in place with 'pip install -e .'"
        )
    if "cannot import name" in str(error):  # the interpreter takes none of these files for its own
        version = ".".join(map(str, sys.version_info[:2]))
        return (
            f"vltr_eval: expected a compiled core for Python {version} in {folder}, got {', '.join(found)}; "
            "install vltr with this Python: 'pip install .' in its source folder"
        )
    return f"vltr_eval: expected a compiled core that loads, got {error}; install vltr again: 'pip install .'"
