"""The options and the results of an AVA evaluation, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vltr_eval._engine.rank_table import mean_of_defined
from vltr_eval.compat.ava.matching import PROTOCOLS, Protocol
from vltr_eval.report.names import AP, RANKS, SAP, SAP_STD, Metric
from vltr_eval.report.report import BaseReport
from vltr_eval.report.settings import Settings

__all__ = ["EXPECTED_STEP_SAP", "INTERPOLATIONS", "STEP_SAP_CHANCE", "AvaReport", "AvaSettings"]

INTERPOLATIONS = ("voc", "step")

_RANGES = {
    "person_movement": (-math.inf, 14),
    "object_manipulation": (15, 63),
    "person_interaction": (64, math.inf),
}
"""The classes of each mean that mmaction2 1.x prints: their first and last id."""

EXPECTED_STEP_SAP = Metric(
    "expected_step_SAP", "expected_step_SAP", "exact step SAP", "exact step SAP", "exact", RANKS["exact_SAP"]
)
STEP_SAP_CHANCE = Metric(
    "step_SAP_chance", "step_SAP_chance", "chance step SAP", "chance step SAP", "chance", RANKS["SAP_chance"]
)


@dataclass(frozen=True)
class AvaSettings(Settings):
    """The options of the evaluation; see `evaluate`. topk is always empty, and absent is "nan"."""

    COUNT_COLUMNS: ClassVar[tuple[str, ...]] = ("num_boxes", "num_found", "num_false_positives")
    TIE_COLUMNS: ClassVar[tuple[str, ...]] = ("AP_tie_lower", "AP_tie_upper")

    topk: tuple[int, ...] = ()
    protocol: Protocol = PROTOCOLS["official"]
    iou: float = 0.5
    interpolation: str = "voc"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.iou <= 1:
            raise ValueError(f"iou: expected a number above 0 and up to 1, got {self.iou!r}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation: expected one of {INTERPOLATIONS}, got {self.interpolation!r}")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that these settings ask for, in the order in which they are reported."""
        sampled = (SAP, SAP_STD) if self.trials else ()
        exact = () if self.sap is None else (EXPECTED_STEP_SAP, STEP_SAP_CHANCE)
        return (AP, *sampled, *exact)


@dataclass(frozen=True, eq=False, repr=False)
class AvaReport(BaseReport):
    """Every number of one evaluation, overall, by group and by class; compares equal when its JSON is the same.

    num_images, num_boxes, num_found: of the ground truth. num_detections: that count under the protocol.
    groups: "overall" first, then head, medium and tail when train counts were given.
    classes: columns of the per-class table, ids ascending: class (the id), name, num_boxes, num_found, AP, ...
    tie_rate: share of boxes that were found with the score of a false positive of their class.
    mAP_tie_interval: lowest and highest mAP that an order of tied detections could give.
    notes: sentences on rows that were ignored, and on what is unusual in the files.
    """

    SCHEMA: ClassVar[str] = "vltr-eval/ava/1"
    COUNTS: ClassVar[Mapping[str, str]] = {"num_boxes": "boxes", "num_found": "found"}
    UNTIED: ClassVar[str] = "no box was found with the score of a false positive"
    TIED: ClassVar[str] = "boxes were found with the score of a false positive"

    settings: AvaSettings
    num_images: int
    num_detections: int
    num_boxes: int
    num_found: int

    def official_metrics(self) -> dict[str, float]:
        """The numbers of the protocol's original under its names.

        These are mAP and the AP of each class. mmaction2 1.x has the mean over all classes, and those over three ranges
        of ids: person_movement up to 14, object_manipulation up to 63, person_interaction from 64 on.
        """
        mean = self.groups[0].values[AP.name]
        protocol = self.settings.protocol
        if protocol == PROTOCOLS["mmaction2-1.x"]:
            return {"overall": mean, **self._means_of_ranges()}
        at = f"@{self.settings.iou}IOU"
        prefix, total = ("", "") if protocol == PROTOCOLS["mmaction2-0.x"] else ("PascalBoxes_", "Precision/")
        by_name = zip(self.classes["name"], self.classes[AP.class_name], strict=True)
        return {
            f"{prefix}{total}mAP{at}": mean,
            **{f"{prefix}PerformanceByCategory/AP{at}/{name}": value for name, value in by_name},
        }

    def _means_of_ranges(self) -> dict[str, float]:
        ids, values = np.array(self.classes["class"]), np.array(self.classes[AP.class_name], float)
        ranges = {name: values[(first <= ids) & (ids <= last)] for name, (first, last) in _RANGES.items()}
        return {name: mean_of_defined(part) for name, part in ranges.items()}

    @property
    def _num_defined(self) -> int:
        values = np.array(self.classes[AP.class_name], float)
        return int(np.count_nonzero(~np.isnan(values)))

    def _conventions(self) -> list[str]:
        settings = self.settings
        return [
            "frame-AP" if settings.sap is None else "frame-AP+SAP",
            f"protocol:{settings.protocol}",
            f"iou:{settings.iou:g}",
            f"interpolation:{settings.interpolation}",
            "ties:threshold",
            f"classes:{self._num_defined}/{self.num_classes}",
            f"images:{self.num_images}",
        ]

    def _totals(self) -> dict[str, int | None]:
        return {
            "num_images": self.num_images,
            "num_detections": self.num_detections,
            "num_boxes": self.num_boxes,
            "num_found": self.num_found,
        }

    def _totals_in_words(self) -> str:
        found = f"{self.num_found:,} of {self.num_boxes:,} boxes found"
        return f"{self.num_images:,} images, {self.num_detections:,} detections, {found}"

    def _document(self) -> dict[str, Any]:
        return {**super()._document(), "official_metrics": self.official_metrics()}
