"""``python -m vltr_train`` is the ``vltr-train`` program, and what ``torchrun -m vltr_train`` starts on every rank."""

from __future__ import annotations

from vltr_eval._base.ranks import end_launched
from vltr_train.cli import main

if __name__ == "__main__":
    end_launched(main(launched=True))
