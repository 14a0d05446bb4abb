"""The stages of a visit, the most valuable first. A new one is a file with a `Stage` and a line here."""

from __future__ import annotations

from gpu.stages import bits, headline, sanitizer, tests, training
from gpu.visit import Stage

STAGES: tuple[Stage, ...] = (bits.STAGE, headline.STAGE, tests.ON_DEVICE, sanitizer.STAGE, training.STAGE, tests.WHOLE)
