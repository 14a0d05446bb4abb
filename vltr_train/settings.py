"""Settings as text and as plain data: ``key=value`` to the typed fields of a configuration, and back.

The fields of the configuration's dataclass are the only list of keys and types; what values make sense together is
for its ``__post_init__`` to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from vltr_eval._base.arguments import unknown_name

if TYPE_CHECKING:
    from vltr_train.method import Method, TrainConfig

__all__ = [
    "build_config",
    "check_defaults",
    "config_from_document",
    "parse_settings",
    "setting_types",
    "settings_document",
]

Config = TypeVar("Config")
Settings = Iterable[str] | Mapping[str, Any]


def parse_settings(config_class: type, settings: Iterable[str]) -> dict[str, Any]:
    """The values of texts such as ``lr=1e-3``, ``lr_steps=30,60``, ``clip_norm=none``, typed as the dataclass says.

    ``protocol=official`` is no field but may be among them: `build_config` knows what it means.

    Raises ValueError for a text without "=", for a key that is unknown (naming the nearest, or all when none is near)
    or repeated, and for a value that is not of the type.
    """
    kinds, values = _kinds(config_class) | PROTOCOL, {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals:
            raise ValueError(f"setting: expected key=value, got {setting!r}")
        if key not in kinds:
            raise unknown_name("setting", key, kinds)
        if key in values:
            raise ValueError(f"{key}: expected one value, got a second one by {setting!r}")
        values[key] = _converted(key, kinds[key].expected, kinds[key].from_text, text.strip())
    return values


def build_config(
    method: type[Method], preset: str | None = None, settings: Settings = (), protocol: str = "default"
) -> TrainConfig:
    """The configuration of a run: the method's defaults, then the protocol, the preset, and the user's settings.

    settings: texts as for `parse_settings`, or a mapping of values. ``protocol=official`` among them is the protocol.

    Raises ValueError for unknown presets, keys and protocols, and for what the method's ``Config`` refuses.
    """
    from vltr_train.method import OFFICIAL  # not above: that module needs torch, and this one shall not

    protocols = {"default": {}, "official": dict(OFFICIAL) | dict(method.official)}
    kinds = _kinds(method.Config)
    given = settings if isinstance(settings, Mapping) else parse_settings(method.Config, settings)
    given = _checked(kinds | PROTOCOL, given)
    protocol = given.pop("protocol", protocol)
    if protocol not in protocols:
        raise unknown_name("protocol", protocol, protocols)
    if preset is not None and preset not in method.presets:
        raise unknown_name("preset", preset, method.presets)
    printed = {}
    if preset is not None:
        printed = _checked(kinds, method.presets[preset].settings)
        protocols["official"] |= method.presets[preset].official
    return method.Config(**{**protocols[protocol], **printed, **given})


def setting_types(config_class: type) -> dict[str, str]:
    """The type of each setting in plain words, as errors state it: "a whole number", "a number or none".

    Settings with ``choices`` in their metadata have these instead.
    """
    kinds = _kinds(config_class)
    types = {name: kind.expected for name, kind in kinds.items()}
    for entry in fields(config_class):
        if entry.name in kinds and (choices := entry.metadata.get("choices")) is not None:
            form = kinds[entry.name].chosen if len(choices) > 1 else "only {}"
            types[entry.name] = form.format(", ".join(map(str, choices)))
    return types


def check_defaults(config_class: type) -> None:
    """Refuse a class of settings with one that has no default, or a type or a default that no run could record.

    Raises ValueError that names the setting.
    """
    kinds = _kinds(config_class)
    for entry in fields(config_class):
        if entry.name in kinds:
            if entry.default is MISSING and entry.default_factory is MISSING:
                raise ValueError(f"{entry.name}: expected a default in {config_class.__name__}, got none")
            default = entry.default if entry.default_factory is MISSING else entry.default_factory()
            _checked(kinds, {entry.name: default})


def settings_document(config: Any) -> dict[str, Any]:
    """The fields of a configuration as plain data for JSON; `config_from_document` is its inverse."""
    values = {name: getattr(config, name) for name in _kinds(type(config))}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def config_from_document(config_class: type[Config], document: Mapping[str, Any]) -> Config:
    """The configuration that `settings_document` wrote; fields that it does not have keep their defaults.

    Raises ValueError for keys that the class does not have, as a newer version may have written them, and for values
    of other types.
    """
    return config_class(**_checked(_kinds(config_class), document, "settings of this version"))


class _Kind(NamedTuple):
    """A type of setting: its name in errors, and how text or a plain value becomes it, with ValueError if it cannot.

    chosen: its name where it has choices, which take the place of the braces.
    """

    expected: str
    from_text: Callable[[str], Any]
    from_value: Callable[[Any], Any]
    chosen: str = "one of {}"


def _kinds(config_class: type) -> dict[str, _Kind]:
    try:
        hints = get_type_hints(config_class)
    except NameError as error:
        raise ValueError(
            f"{config_class.__name__}: expected types that are imported when the program runs, and {error}"
        ) from None
    return {entry.name: _kind(entry.name, hints[entry.name]) for entry in fields(config_class) if entry.init}


def _kind(setting: str, annotation: Any) -> _Kind:
    arguments = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        inner = [argument for argument in arguments if argument is not NoneType]
        if len(inner) == 1:
            return _or_none(_kind(setting, inner[0]))
    elif get_origin(annotation) is tuple and arguments[1:] == (...,):
        return _tuple_of(_kind(setting, arguments[0]))
    elif annotation in _PLAIN:
        return _PLAIN[annotation]
    name = annotation.__name__ if isinstance(annotation, type) and not arguments else annotation
    raise ValueError(f"{setting}: expected the type int, float, bool, str, X | None or tuple[X, ...], got {name}")


def _or_none(inner: _Kind) -> _Kind:
    return _Kind(
        f"{inner.expected} or none",
        lambda text: None if text.lower() == "none" else inner.from_text(text),
        lambda value: None if value is None else inner.from_value(value),
    )


def _tuple_of(item: _Kind) -> _Kind:
    def from_value(values: Any) -> tuple:
        if not isinstance(values, (list, tuple)):
            raise ValueError
        return tuple(map(item.from_value, values))

    return _Kind(
        f"values with commas between, each {item.expected}",
        lambda text: tuple(map(item.from_text, text.split(","))) if text else (),
        from_value,
        "different ones of {}, with commas between",
    )


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _truth_from_text(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


_PLAIN = {
    int: _Kind("a whole number", int, _whole),
    float: _Kind("a number", lambda text: _number(float(text)), _number),
    bool: _Kind("true or false", _truth_from_text, _truth),
    str: _Kind("text", str, _text),
}
PROTOCOL = {"protocol": _PLAIN[str]}


def _checked(kinds: Mapping[str, _Kind], values: Mapping[str, Any], what: str = "setting") -> dict[str, Any]:
    for key in values:
        if key not in kinds:
            raise unknown_name(what, key, kinds)
    return {key: _converted(key, kinds[key].expected, kinds[key].from_value, value) for key, value in values.items()}


def _converted(key: str, expected: str, convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{key}: expected {expected}, got {value!r}") from None
