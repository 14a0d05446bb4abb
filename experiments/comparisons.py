"""The plan of `compare_methods.py`: data sets, rows, and the claims of the papers with their preconditions.

Sizes, limits, rates and most epochs were fixed before the seeds that decide had been trained on. `HEADER` of
`compare_methods.py` names the rows that were added or trained for longer afterwards. The signal was chosen by the
baselines `bce` (nonlinear, psa-codebook) alone, on the data of the tuning seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from vltr_train.aggregators import CLUSTERED
from vltr_train.data.synth import synthesize
from vltr_train.method import Preset, TrainConfig
from vltr_train.methods import find_method
from vltr_train.runs.tables import COLUMNS
from vltr_train.settings import build_config

__all__ = ["CLAIMS", "COMPARISONS", "MAIN", "PRIORS", "VARIANTS", "Claim", "Comparison", "Row"]

RATES = (0.01, 0.003, 0.001)
TUNING_SEED = 101  # of the data on which rates are chosen
SEEDS = (6, 7, 8, 9, 10)  # of the data that decide; each is reported
TRAINING_SEED = 1
CLUSTERS = 16  # in every VLAD and codebook, for 64 features; the papers have 64 for 2,048
EVALUATIONS = 20  # of a training, on the validation split
PRIORS = ("longtail", "uniform", "inverse")
QUICK = {"batch_size": 64, "train_frames": 4, "test_frames": 6}
"""Settings of all rows in a quick run, which shows that everything runs."""


@dataclass(frozen=True)
class Row:
    """A method or METHOD:PRESET and its settings.

    Attributes:
        name: The name in tables.
        spec: METHOD or METHOD:PRESET; the preset gives the numbers that the paper prints.
        settings: Settings beside those of the comparison.
        epochs: Epochs, if not those of the comparison.
        tuning_epochs: Epochs on the tuning seed, if fewer: a rate is chosen by shorter trainings.
        tuned_as: The row whose rate this one takes, without trainings of its own on the tuning seed.
    """

    name: str
    spec: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    tuning_epochs: int | None = None
    tuned_as: str | None = None

    @property
    def method(self) -> str:
        return self.spec.partition(":")[0]

    def smaller(self) -> Row:
        """Return this row with the sizes of `QUICK` and a few epochs."""
        settings = {**self.settings, **{name: QUICK[name] for name in QUICK if name in self.settings}}
        if self.method == "ava_two_stage":
            settings |= {"judge_epochs": 2, "classifier_epochs": 2}
        return replace(self, settings=settings, epochs=None, tuning_epochs=None)


@dataclass(frozen=True)
class Comparison:
    """Rows to train on the same data.

    Attributes:
        title: The data in words.
        make: Writes the data set of a seed into a folder.
        epochs: Epochs of a row that names no others.
        settings: Settings of all rows.
        rows: The rows.
        rates: The learning rates to choose from.
        seeds: The data seeds that decide.
        overlap: See `verdicts.Difference`.
        priors: The rows to evaluate under other class distributions too.
        left_out: Rows that are not trained, because a look at the baseline showed that no claim about them is testable.
    """

    title: str
    make: Callable[..., object]
    epochs: int
    settings: Mapping[str, Any]
    rows: tuple[Row, ...]
    rates: tuple[float, ...] = RATES
    seeds: tuple[int, ...] = SEEDS
    overlap: float = 0.0
    priors: tuple[str, ...] = ()
    left_out: tuple[Row, ...] = ()

    def row(self, name: str) -> Row:
        return next(row for row in self.rows + self.left_out if row.name == name)

    def epochs_of(self, row: Row, seed: int) -> int:
        """Return the epochs of a run on the data of a seed."""
        tuning = row.tuning_epochs if seed == TUNING_SEED else None
        return tuning or row.epochs or self.epochs

    def config_settings(self, row: Row, rate: float, seed: int) -> dict[str, Any]:
        """Return all settings of a run on the data of a seed."""
        epochs = self.epochs_of(row, seed)
        settings: dict[str, Any] = {
            "lr": rate,
            "epochs": epochs,
            "lr_steps": (epochs * 7 // 12, epochs * 5 // 6),
            "eval_every": max(1, epochs // EVALUATIONS),
            "seed": TRAINING_SEED,
            **self.settings,
            **_of_method(row.method, epochs, rate),
            **row.settings,
        }
        return settings | ({"clusters": CLUSTERS} if self.config(row, settings).aggregator in CLUSTERED else {})

    def config(self, row: Row, settings: Mapping[str, Any]) -> TrainConfig:
        return build_config(find_method(row.method), row.spec.partition(":")[2] or None, settings)

    def smaller(self) -> Comparison:
        """Return a comparison of the same rows that runs in seconds, to show that the script runs."""
        make = partial(_synthesize, {"scale": 0.002, "dim": 8, "frames": 8, "feature_std": 2.0})
        rows = tuple(row.smaller() for row in self.rows)
        return replace(self, make=make, epochs=2, settings=QUICK, rows=rows, rates=RATES[:2], seeds=SEEDS[:2])


def _of_method(method: str, epochs: int, rate: float) -> dict[str, Any]:
    """Return the settings that adapt one method to this schedule and to 64 features."""
    return {
        # The paper's rates of its experts are 1e-3 and 1e-4, and it trains both equally long.
        "meid": {"expert2_epochs": epochs, "expert2_lr": rate / 10, "attention_dim": 64},
        "medc": {"embedding_dim": 64},
        "ldam_drw": {"drw_epoch": epochs // 2},
    }.get(method, {})


def _synthesize(arguments: Mapping[str, Any], folder: Path, seed: int) -> None:
    synthesize(folder, seed=seed, **arguments)


def _pen_strokes(folder: Path, seed: int) -> None:
    from pen_strokes import make_pen_strokes

    make_pen_strokes(folder, seed=seed)


MAIN = {
    "profile": "videolt",
    "scale": 0.01,
    "dim": 64,
    "feature_std": 2.0,
    "frames": 60,
    "signal": 1.35,
    "scene": 0.5,
    "informative": (0.5, 1.0),
    "video_share": 0.5,
    "cooccurrence": 0.5,
}
"""The stated default of the experiment: arguments of `synthesize`."""

MOTION = MAIN | {"frames": 150, "cooccurrence": 0.0, "motion": 0.5}

VARIANTS: dict[str, dict[str, Any]] = {
    "the default": {},
    "few informative frames": {"informative": (0.03, 0.2)},
    "some informative frames": {"informative": (0.2, 0.5)},
    "correlated neighbours": {"correlation": 0.8},
    "more of the video": {"video_share": 0.7},
    "less of the video": {"video_share": 0.2},
    "bursts of 1 to 16 frames": {"informative": (0.2, 0.5), "burst_frames": (1, 16)},
    "no co-occurring words": {"cooccurrence": 0.0},
    "co-occurring words alone": {"cooccurrence": 1.0},
    "half of the classes in motion": {"cooccurrence": 0.0, "motion": 0.5},
    "a fifth of the labels wrong": {"label_noise": 0.2},
    "stronger signal": {"signal": 1.8},
    "weaker signal": {"signal": 1.0},
}
"""One change of the default at a time; the bursts are to be compared with "some informative frames"."""

SHORT = {"batch_size": 32, "train_frames": 16, "test_frames": 40}
AGG = {"aggregator": "psa-codebook"}
AGG_EPOCHS = 60
MOVE_EPOCHS = 120
LONG_EPOCHS = 180
MEDC_EPOCHS = 60
MEID_EPOCHS = 90
STROKES_EPOCHS = 600
STROKES_AGG = ("Agg BCE", "Agg FrameStack-FL")
STROKES_AGG_EPOCHS = 180
AS_CODED = {**AGG, "psa_key_mask": "drop", "codebook_masking": "zero", "detach_codebook_input": True}

NONLINEAR = (
    Row("BCE", "bce:r101"),
    Row("focal", "focal"),
    Row("FrameStack-FL", "framestack:r101"),
    Row("FrameStack-BCE", "framestack:r101-bce"),
    Row("mixup", "mixup:r101"),
    Row("CBS", "cbs:r101"),
)
AGGREGATED = (
    Row("Agg BCE", "bce:r101-agg", AGG, AGG_EPOCHS),
    Row("Agg mixup", "mixup:r101-agg", AGG, AGG_EPOCHS),
    Row("Agg FrameStack-FL", "framestack:r101-agg", AGG, AGG_EPOCHS),
    Row("MOVE", "move:r101", AGG, MOVE_EPOCHS, AGG_EPOCHS),
    Row("MOVE as coded", "move:r101", AS_CODED, MOVE_EPOCHS, AGG_EPOCHS),
    Row("Agg BCE, as long as MOVE", "bce:r101-agg", AGG, MOVE_EPOCHS, tuned_as="Agg BCE"),
)
LONGER = (
    Row("Agg BCE, longer than MOVE", "bce:r101-agg", AGG, LONG_EPOCHS, tuned_as="Agg BCE"),
    Row("Agg mixup, as long as MOVE", "mixup:r101-agg", AGG, MOVE_EPOCHS, tuned_as="Agg mixup"),
    Row("Agg FrameStack-FL, as long as MOVE", "framestack:r101-agg", AGG, MOVE_EPOCHS, tuned_as="Agg FrameStack-FL"),
)
MEDC = (
    Row("MEDC", "medc:r101", epochs=MEDC_EPOCHS),
    Row("MEDC longtail", "medc:r101-expert1", epochs=MEDC_EPOCHS),
    Row("MEDC uniform", "medc:r101-expert2", epochs=MEDC_EPOCHS),
)
AVA_STEPS = {"classifier_epochs": 48}  # about 100 steps
PAPER_STEPS = {"classifier_videos": "duplicated", "classifier_batch_size": 20}  # about 900
PAPER_RATES = {"classifier_lr": 1e-3, "classifier_last_lr": 1e-4, "classifier_clip_norm": None}
AVA = (
    Row("AVA", "ava_two_stage", AVA_STEPS),
    Row("AVA all classes first", "ava_two_stage", {**AVA_STEPS, "stage1": "all"}),
    Row("AVA, paper's steps", "ava_two_stage", PAPER_STEPS),
    Row("AVA, paper's steps and rates", "ava_two_stage", {**PAPER_STEPS, **PAPER_RATES}),
)
CHOICES = (
    Row("cRT", "crt", tuned_as="BCE"),
    Row("cRT, features in train mode", "crt", {"features_mode": "train"}, tuned_as="BCE"),
    Row("MEDC, a third of the videos", "medc:r101", {"batch_size": 11}, MEDC_EPOCHS, tuned_as="MEDC"),
)
ORDERED = {"train_frames": 150, "test_frames": 150, "frame_sampling": "uniform"}
MEID = (
    Row("BCE", "bce:r50", ORDERED),
    Row("CBS", "cbs:r50", ORDERED),
    Row("MEID", "meid:r50", ORDERED),
    Row("MEID expert 1", "meid:r50-e1", ORDERED),
    Row("MEID without motion", "meid:r50", {**ORDERED, "motion": False}),
    Row("MEID 60 random frames", "meid:r50", {"train_frames": 60, "frame_sampling": "without_replacement"}),
)

COMPARISONS = {
    "main": Comparison(
        "VideoLT's profile, dense informative frames, half of the classes made of co-occurring words",
        partial(_synthesize, MAIN),
        100,
        SHORT,
        NONLINEAR + AGGREGATED + LONGER + MEDC + AVA + CHOICES,
        priors=("BCE", "CBS", "MEDC", "MEDC longtail", "MEDC uniform"),
    ),
    "motion": Comparison(
        "VideoLT's profile, 150 frames, half of the classes told apart by the order of frames alone",
        partial(_synthesize, MOTION),
        MEID_EPOCHS,
        {"batch_size": 64, "test_frames": 150},
        MEID,
    ),
    "strokes": Comparison(
        "Pen strokes of characters, labelled by components (real)",
        _pen_strokes,
        STROKES_EPOCHS,
        SHORT,
        (
            *(replace(row, tuning_epochs=STROKES_EPOCHS // 3) for row in NONLINEAR),
            *(
                replace(row, epochs=STROKES_AGG_EPOCHS, tuning_epochs=AGG_EPOCHS)
                for row in AGGREGATED
                if row.name in STROKES_AGG
            ),
        ),
        overlap=1.0,
        # A view of the strokes keeps .74 of the mAP of Agg BCE on the tuning seed, so MOVE cannot be tested.
        left_out=tuple(row for row in AGGREGATED if row.name not in STROKES_AGG),
    ),
}


@dataclass(frozen=True)
class Claim:
    """The claim that row `one` is above row `other` in a metric, and what it needs to be testable.

    Attributes:
        data: A name of `COMPARISONS`.
        metric: A heading of `tables.PRINTABLE`; "All, inverse" names a class distribution too.
        needs: Preconditions of `verdicts.LIMITS` beside the plateau of both rows.
        as_printed: The presets with the paper's numbers, if they differ from those of the rows.
    """

    text: str
    data: str
    one: str
    other: str
    metric: str = "All"
    needs: tuple[str, ...] = ()
    as_printed: tuple[str, str] | None = None

    @property
    def baseline(self) -> str:
        """The row of which `needs` asks whether it overfits: plain BCE over the same aggregator."""
        return "Agg BCE" if "Agg BCE" in (self.one, self.other) or self.needs == VIEWS else "BCE"

    @property
    def printed(self) -> float | None:
        """The difference in the paper; None for two rows of one preset."""
        rows = COMPARISONS[self.data]
        specs = self.as_printed or (rows.row(self.one).spec, rows.row(self.other).spec)
        one, other = (printed(spec, self.metric) for spec in specs)
        return None if specs[0] == specs[1] or one is None or other is None else one - other


def printed(spec: str, metric: str) -> float | None:
    """Return the number that the paper of a preset prints."""
    method, _, name = spec.partition(":")
    preset: Preset | None = find_method(method).presets.get(name)
    columns = () if preset is None else preset.columns or tuple(COLUMNS)
    return preset.printed[columns.index(metric)] if preset is not None and metric in columns else None


REGULARISER = ("overfits",)
VIEWS = ("overfits", "aggregators", "views")


def _framestack(data: str) -> tuple[Claim, ...]:
    return (
        Claim("FrameStack with its focal loss is above BCE", data, "FrameStack-FL", "BCE", "All", REGULARISER),
        Claim("and in the tail", data, "FrameStack-FL", "BCE", "Tail", REGULARISER),
        Claim("mixing alone, both with focal loss", data, "FrameStack-FL", "focal", "All", REGULARISER),
        Claim("and in the tail", data, "FrameStack-FL", "focal", "Tail", REGULARISER),
        Claim("mixing alone, both with BCE", data, "FrameStack-BCE", "BCE", "All", REGULARISER),
        Claim("and in the tail", data, "FrameStack-BCE", "BCE", "Tail", REGULARISER),
        Claim("it is above mixup", data, "FrameStack-FL", "mixup", "All", REGULARISER),
        Claim("mixup itself is below the baseline", data, "BCE", "mixup", "All", REGULARISER),
        Claim("over the aggregators it is above BCE", data, "Agg FrameStack-FL", "Agg BCE", "All", REGULARISER),
    )


def _move(data: str) -> tuple[Claim, ...]:
    return (
        Claim("the aggregators lift the baseline", data, "Agg BCE", "BCE"),
        *(
            Claim(f"{row} is above its baseline{place}", data, row, "Agg BCE", metric, VIEWS)
            for row in ("MOVE", "MOVE as coded")
            for metric, place in (("All", ""), ("Tail", " in the tail"))
        ),
        Claim("MOVE is above BCE of as many epochs", data, "MOVE", "Agg BCE, as long as MOVE", "All", VIEWS),
        Claim("and in the tail", data, "MOVE", "Agg BCE, as long as MOVE", "Tail", VIEWS),
        Claim("it is above mixup of vectors", data, "MOVE", "Agg mixup", "All", VIEWS),
        Claim("it is above FrameStack", data, "MOVE", "Agg FrameStack-FL", "All", VIEWS),
    )


AVA_PRINTED = ("ava_two_stage:i3d-ava", "bce:i3d-ava")
AVA_STAGE1 = ("ava_two_stage:i3d-ava", "ava_two_stage:i3d-ava-stage1-all")
AVA_BALANCING = ("bce:i3d-ava", "cbs:i3d-ava")

CLAIMS: dict[str, tuple[Claim, ...]] = {
    "FrameStack (VideoLT)": _framestack("main") + _framestack("strokes"),
    "MOVE": (
        *_move("main"),
        Claim("MOVE is above BCE of more epochs", "main", "MOVE", "Agg BCE, longer than MOVE", "All", VIEWS),
        Claim("and in the tail", "main", "MOVE", "Agg BCE, longer than MOVE", "Tail", VIEWS),
        Claim("above mixup of as many epochs", "main", "MOVE", "Agg mixup, as long as MOVE", "All", VIEWS),
        Claim("above FrameStack of as many epochs", "main", "MOVE", "Agg FrameStack-FL, as long as MOVE", "All", VIEWS),
        *_move("strokes"),
    ),
    "MEID": (
        Claim("two experts on ordered frames lift the baseline", "motion", "MEID", "BCE"),
        Claim("and its tail", "motion", "MEID", "BCE", "Tail"),
        Claim("and are above sampling by class", "motion", "MEID", "CBS", "Tail"),
        Claim("the second expert adds to the first", "motion", "MEID", "MEID expert 1"),
        Claim("motion adds to selection and balance", "motion", "MEID", "MEID without motion"),
    ),
    "MEDC": (
        Claim("three experts lift the baseline", "main", "MEDC", "BCE"),
        Claim("and its tail", "main", "MEDC", "BCE", "Tail"),
        Claim("together above the long-tailed one", "main", "MEDC", "MEDC longtail"),
        Claim("and above the uniform one", "main", "MEDC", "MEDC uniform"),
        *(
            Claim(f"whatever the test distribution: {prior}", "main", "MEDC", "BCE", f"All, {prior}")
            for prior in PRIORS
        ),
    ),
    "AVA, two stages": (
        Claim("head first lifts the tail's SAP", "main", "AVA", "BCE", "SAP tail", (), AVA_PRINTED),
        Claim("and lifts that of all", "main", "AVA", "BCE", "SAP", (), AVA_PRINTED),
        *(
            Claim(f"with the {row.partition(', ')[2]}: {words}", "main", row, "BCE", metric, (), AVA_PRINTED)
            for row in ("AVA, paper's steps", "AVA, paper's steps and rates")
            for metric, words in (("SAP tail", "the tail's SAP"), ("SAP", "SAP"))
        ),
        Claim("head classes first, not all", "main", "AVA", "AVA all classes first", "SAP", (), AVA_STAGE1),
        Claim("balancing alone is below in SAP", "main", "BCE", "CBS", "SAP", (), AVA_BALANCING),
    ),
    "no paper: choices of ours": (
        *(
            Claim("MOVE: masks of the paper are above those of the code", data, "MOVE", "MOVE as coded", "All", VIEWS)
            for data in ("main", "strokes")
        ),
        Claim("MEID: 150 ordered frames are above 60 random ones", "motion", "MEID", "MEID 60 random frames"),
        Claim("cRT: eval mode is above train mode (dropout)", "main", "cRT", "cRT, features in train mode"),
        Claim(
            "MEDC: 96 videos a step above 33, in three times the steps", "main", "MEDC", "MEDC, a third of the videos"
        ),
    ),
}
"""The claims of each paper that this data can decide, and choices of this package."""
