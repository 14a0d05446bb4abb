"""Settings: text and plain data to typed fields and back, the order of precedence, and errors of wrong ones."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vltr_train.settings import build_config, check_defaults, config_from_document, parse_settings, settings_document

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class Config:
    epochs: int = 100
    lr: float = 1e-4
    lr_steps: tuple[int, ...] = (30, 60)
    scales: tuple[float, ...] = ()
    clip_norm: float | None = 20.0
    replacement: bool = True
    select_on: str = "validate"
    absent: str = "nan"
    derived: int = field(default=0, init=False)

    def __post_init__(self):
        if self.epochs < 1:
            raise ValueError(f"epochs: expected at least 1, got {self.epochs}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("epochs=7", 7),
        ("lr=1e-3", 1e-3),
        ("lr=1", 1.0),
        ("lr_steps=30,60", (30, 60)),
        ("lr_steps=5", (5,)),
        ("lr_steps=", ()),
        ("scales=0.5, 2", (0.5, 2.0)),
        ("clip_norm=none", None),
        ("clip_norm=None", None),
        ("clip_norm=5", 5.0),
        ("replacement=false", False),
        ("replacement=True", True),
        ("select_on=a=b", "a=b"),
        ("protocol=official", "official"),
    ],
)
def test_text_becomes_the_type_of_its_field(text, value):
    (parsed,) = parse_settings(Config, [text]).values()
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", "setting: expected key=value, got 'lr'"),
        ("epochs=1.5", "epochs: expected a whole number, got '1.5'"),
        ("lr=fast", "lr: expected a number, got 'fast'"),
        ("lr=nan", "lr: expected a number, got 'nan'"),
        ("lr=inf", "lr: expected a number, got 'inf'"),
        ("lr=none", "lr: expected a number, got 'none'"),
        ("clip_norm=off", "clip_norm: expected a number or none, got 'off'"),
        ("replacement=1", "replacement: expected true or false, got '1'"),
        ("lr_steps=30;60", "lr_steps: expected values with commas between, each a whole number, got '30;60'"),
        ("lr_steps=30,", "lr_steps: expected values with commas between, each a whole number, got '30,'"),
        ("replacment=true", "setting: expected a known name, got 'replacment'; did you mean replacement?"),
        ("LR_Step=3", "setting: expected a known name, got 'LR_Step'; did you mean lr_steps?"),
        ("derived=3", "setting: expected one of epochs, lr, lr_steps, scales, clip_norm, "),
        ("zzz=3", "setting: expected one of epochs, lr, lr_steps, scales, clip_norm, "),
    ],
)
def test_wrong_settings_are_told_in_one_sentence(text, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        parse_settings(Config, [text])


def test_a_repeated_key_is_an_error():
    with pytest.raises(ValueError, match=r"^lr: expected one value, got a second one by 'lr=2'$"):
        parse_settings(Config, ["lr=1", "epochs=2", "lr=2"])


def test_a_type_that_settings_cannot_have_is_the_authors_error():
    @dataclass
    class Odd:
        weights: dict = field(default_factory=dict)

    Odd.__annotations__["weights"] = dict
    with pytest.raises(ValueError, match=r"^weights: expected the type int, float, bool, .*, got dict$"):
        parse_settings(Odd, ["weights=3"])


@dataclass
class Missing:
    share: float


@dataclass
class Unknown:
    sizes: Sequence[int] = (1,)


@pytest.mark.parametrize(
    ("annotation", "default", "message"),
    [
        (int, 1.5, "^x: expected a whole number, got 1.5$"),
        (bool, 1, "^x: expected true or false, got 1$"),
        (float, float("nan"), "^x: expected a number, got nan$"),
        (int | float, 1, r"^x: expected the type int, .*, got int \| float$"),
        (tuple[int, ...], (1, 2.0), "^x: expected values with commas between, each a whole number, got"),
    ],
)
def test_a_default_that_no_run_could_record_is_refused(annotation, default, message):
    @dataclass
    class Own:
        x: int = default

    Own.__annotations__["x"] = annotation
    with pytest.raises(ValueError, match=message):
        check_defaults(Own)


def test_settings_without_default_or_with_an_unknown_type_are_named():
    with pytest.raises(ValueError, match=r"^share: expected a default in Missing, got none$"):
        check_defaults(Missing)
    with pytest.raises(
        ValueError, match=r"^Unknown: expected types that are imported .* name 'Sequence' is not defined"
    ):
        check_defaults(Unknown)
    check_defaults(Config)


finite = st.floats(allow_nan=False, allow_infinity=False)
configs = st.builds(
    Config,
    epochs=st.integers(min_value=1),
    lr=finite,
    lr_steps=st.lists(st.integers()).map(tuple),
    scales=st.lists(finite).map(tuple),
    clip_norm=st.none() | finite,
    replacement=st.booleans(),
    select_on=st.text(),
)


@given(configs)
def test_a_configuration_survives_json(config):
    assert config_from_document(Config, json.loads(json.dumps(settings_document(config)))) == config


@given(configs)
def test_a_configuration_survives_text(config):
    config = Config(**{**{f.name: getattr(config, f.name) for f in fields(config) if f.init}, "select_on": "test"})

    def as_text(value):
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

    texts = [f"{name}={as_text(getattr(config, name))}" for name in settings_document(config)]
    assert Config(**parse_settings(Config, texts)) == config


def test_a_document_of_another_version():
    assert config_from_document(Config, {"lr": 1}) == Config(lr=1.0)
    with pytest.raises(ValueError, match=r"^settings of this version: .* got 'lr_step'; did you mean lr_steps\?$"):
        config_from_document(Config, {"lr_step": [3]})


@pytest.mark.parametrize("value", [True, "3", 3.5, None, [3]])
def test_documents_are_not_guessed_at(value):
    with pytest.raises(ValueError, match=r"^epochs: expected a whole number, got "):
        config_from_document(Config, {"epochs": value})


def preset(**settings):
    return SimpleNamespace(settings=settings, official={})


METHOD = SimpleNamespace(
    Config=Config,
    official={},
    presets={"r101-fl": preset(epochs=3, lr=0.5, absent="nan"), "tsm": preset(lr_steps=(1, 2))},
)


def test_the_user_wins_over_the_preset_and_that_over_the_protocol():
    pytest.importorskip("torch")
    assert build_config(METHOD) == Config()
    official = build_config(METHOD, protocol="official")
    assert (official.select_on, official.absent) == ("test", "zero")
    assert build_config(METHOD, settings=["protocol=official"]) == official
    preset_of_data = SimpleNamespace(settings={"epochs": 3}, official={"lr": 7.0, "epochs": 9})
    strict = SimpleNamespace(Config=Config, official={"lr": 5.0, "absent": "nan"}, presets={"mk": preset_of_data})
    assert build_config(strict, "mk", protocol="official") == Config(epochs=3, lr=7.0, absent="nan", select_on="test")
    assert build_config(strict, protocol="official") == Config(lr=5.0, absent="nan", select_on="test")
    assert build_config(strict, "mk") == Config(epochs=3)
    layered = build_config(METHOD, "r101-fl", ["lr=2", "select_on=last"], protocol="official")
    assert layered == Config(epochs=3, lr=2.0, absent="nan", select_on="last")
    assert build_config(METHOD, "tsm", {"lr": 1, "protocol": "default"}, protocol="official") == Config(
        lr=1.0, lr_steps=(1, 2)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("r101",), "preset: expected a known name, got 'r101'; did you mean r101-fl?"),
        (("zzz",), "preset: expected one of r101-fl, tsm, got 'zzz'"),
        ((None, ["protocol=offical"]), "protocol: expected a known name, got 'offical'; did you mean official?"),
        ((None, ["protocl=official"]), "setting: expected a known name, got 'protocl'; did you mean protocol?"),
        ((None, ["epochs=0"]), "epochs: expected at least 1, got 0"),
        ((None, {"lr": "1"}), "lr: expected a number, got '1'"),
        ((None, {"lr": math.inf}), "lr: expected a number, got inf"),
        ((None, {"lrs": 1}), "setting: expected a known name, got 'lrs'; did you mean lr?"),
    ],
)
def test_a_configuration_that_cannot_be_built(arguments, message):
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        build_config(METHOD, *arguments)


def test_a_method_without_presets():
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"^preset: expected none, because there is none to choose from, got 'r50'$"):
        build_config(SimpleNamespace(Config=Config, official={}, presets={}), "r50")


def test_the_fields_of_every_method_can_be_set():
    pytest.importorskip("torch")
    from vltr_train.method import TrainConfig

    config = TrainConfig(lr_steps=(), clip_norm=None)
    assert config_from_document(TrainConfig, json.loads(json.dumps(settings_document(config)))) == config


def test_settings_tables_and_run_folders_do_without_torch():
    modules = "vltr_train.settings, vltr_train.runs.tables, vltr_train.runs.run_folder"
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
