"""``python -m vltr_eval`` is the ``vltr-eval`` program, and what ``torchrun -m vltr_eval`` starts on every rank."""

from __future__ import annotations

from vltr_eval._base.ranks import end_launched
from vltr_eval.program.cli import main

if __name__ == "__main__":
    end_launched(main(launched=True))
