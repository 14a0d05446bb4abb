"""Types of option values that both programs take."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from vltr_eval._base.arguments import check_level


def level_type(values: str = "") -> Callable[[str], float]:
    """Return the type of a confidence level for argparse.

    Args:
        values: The name of the arguments that follow an option whose level may be left out, such as "PREDS". Such an
            option takes the first of them as its level, so the message shows how to write the level. "" for an option
            that needs a level.
    """

    def parse(text: str) -> float:
        try:
            level = float(text)
        except ValueError:
            if not values:
                raise argparse.ArgumentTypeError(f"expected a number such as 0.95, got {text!r}") from None
            raise _refused(text, f"; write --ci=0.95 before {values}") from None
        try:
            return check_level(level)
        except ValueError as error:
            raise _refused(text, "".join(str(error).partition(";")[1:])) from None

    return parse


def _refused(text: str, remedy: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"expected a level between 0 and 1, such as 0.95, got {text!r}{remedy}")
