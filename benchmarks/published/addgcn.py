"""The meter of ADD-GCN: that of ML-GCN, with the names of files."""

from __future__ import annotations

from . import mlgcn


class AveragePrecisionMeter(mlgcn.AveragePrecisionMeter):
    def __init__(self, difficult_examples=True):
        super().__init__(difficult_examples)
        self.filenames = []

    def add(self, output, target, filename):
        super().add(output, target)
        self.filenames += filename
