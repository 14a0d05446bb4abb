"""Every setting of every method says what it means, where its author wrote it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

pytest.importorskip("torch")

from vltr_train.aggregators import AGGREGATOR_NOTES, AGGREGATORS
from vltr_train.method import TrainConfig
from vltr_train.methods import all_methods
from vltr_train.setting_notes import setting_notes
from vltr_train.settings import build_config, parse_settings, settings_document

METHODS = all_methods()
PHRASES = {"x": "the first form", "y-z": "another form"}
REFERENCE = re.compile(r"\(.*?\)|\bSee .*?\.(?= |$)|\b(?:Tables?|Eq\.|Sections?|Algorithm) [\dIVX.]+")


@dataclass(frozen=True, kw_only=True)
class Parent(TrainConfig):
    """Settings.

    Attributes:
        depth: The layers, of which
            there are several.
        width: The units.
        form: The form of it.

    Raises:
        ValueError: Never.
    """

    depth: int = 3
    # A comment above.
    width: int = 4  # and one behind
    kind: str = field(
        default="a",
        metadata={"choices": ("a", "b")},
    )  # DIFFERS: the kind
    parts: tuple[str, ...] = field(default=("a",), metadata={"choices": ("a", "b")})
    rate: float | None = None
    steps: tuple[int, ...] = (1, 2)
    is_deep: bool = False
    only: str = field(default="a", metadata={"choices": ("a",)})
    title: str = ""
    form: str = field(default="x", metadata={"choices": PHRASES})  # with a comment


@dataclass(frozen=True, kw_only=True)
class Child(Parent):
    # Deeper than its parent.
    depth: int = 5
    # Others are not wanted.
    form: str = field(default="x", metadata={"choices": {"x": PHRASES["x"]}})
    shape: str = field(default="x", metadata={"choices": PHRASES})


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_of_every_method_is_described(name):
    notes = setting_notes(METHODS[name].Config)
    assert [note.name for note in notes] == list(settings_document(METHODS[name].Config()))
    assert [note.name for note in notes if not note.text] == []


@pytest.mark.parametrize("name", METHODS)
def test_every_description_begins_with_a_sentence(name):
    """A reference such as "Table 3", and the rest of a sentence such as "of the focal loss", explain nothing."""
    for note in setting_notes(METHODS[name].Config):
        text = " ".join(REFERENCE.sub("", note.text).split())
        assert len(re.findall(r"[A-Za-z]{2,}", text)) >= 3, note
        assert re.match(r"[A-Z][a-z]*\b", text), note
        assert note.text.endswith("."), note


@pytest.mark.parametrize("name", METHODS)
def test_every_choice_is_described(name):
    """A choice stands in quotes, and at least two words that explain it follow."""
    for note in setting_notes(METHODS[name].Config):
        for choice in note.choices:
            _, _, behind = note.text.partition(f'"{choice}"')
            phrase = REFERENCE.sub("", re.split(r'"|;|\.(?: |$)', behind)[0])
            assert len(re.findall(r"\w+", phrase)) >= 2, (note.name, choice, note.text)


@pytest.mark.parametrize("name", METHODS)
def test_no_other_choice_is_described(name):
    """An aggregator that a method does not take is not among its phrases."""
    (note,) = (note for note in setting_notes(METHODS[name].Config) if note.name == "aggregator")
    assert {found for found in re.findall(r'"([^"]*)"', note.text) if found in AGGREGATORS} <= set(note.choices)


def test_every_aggregator_has_a_phrase():
    assert list(AGGREGATOR_NOTES) == list(AGGREGATORS)


def test_phrases_of_choices_follow_the_first_description():
    notes = {note.name: note for note in setting_notes(Parent)}
    assert notes["form"].text == 'The form of it. "x": the first form; "y-z": another form. with a comment'
    assert notes["form"].choices == ("x", "y-z")
    assert notes["form"].type == "one of x, y-z"
    notes = {note.name: note for note in setting_notes(Child)}
    assert notes["form"].text == 'The form of it. "x": the first form. with a comment Others are not wanted.'
    assert notes["form"].choices == ("x",)
    assert notes["shape"].text == '"x": the first form; "y-z": another form.'
    with pytest.raises(ValueError, match=r"^form: expected one of x, y-z, got 'z'$"):
        Parent(form="z")


def test_docstrings_and_comments_are_joined():
    notes = {note.name: note for note in setting_notes(Child)}
    assert notes["depth"].text == "The layers, of which there are several. Deeper than its parent."
    assert notes["depth"].default == 5
    assert notes["width"].text == "The units. A comment above. and one behind"
    assert notes["kind"].text == "DIFFERS: the kind"
    assert notes["kind"].choices == ("a", "b")
    assert notes["epochs"].text == "The epochs of the main stage."


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("depth", "a whole number"),
        ("kind", "one of a, b"),
        ("parts", "different ones of a, b, with commas between"),
        ("rate", "a number or none"),
        ("steps", "values with commas between, each a whole number"),
        ("is_deep", "true or false"),
        ("only", "only a"),
        ("title", "text"),
        ("lr", "a number"),
        ("precision", "one of float32, bfloat16, float16"),
    ],
)
def test_the_type_of_a_setting_is_in_plain_words(name, type_):
    (found,) = (note.type for note in setting_notes(Parent) if note.name == name)
    assert found == type_


@pytest.mark.parametrize("name", METHODS)
def test_a_wrong_value_is_answered_by_the_type_that_is_printed(name):
    """So the two cannot drift apart: an error names what `vltr-train methods` prints."""
    config_class = METHODS[name].Config
    for note in setting_notes(config_class):
        if note.choices:
            with pytest.raises(ValueError, match=f"^{note.name}: expected .*{re.escape(', '.join(note.choices))}"):
                build_config(METHODS[name], settings=[f"{note.name}=neither"])
        elif note.type != "text":
            with pytest.raises(ValueError, match=f"^{note.name}: expected {note.type}, got 'neither'"):
                parse_settings(config_class, [f"{note.name}=neither"])


def test_several_choices_are_checked_one_by_one():
    assert Parent(parts=("b", "a")).parts == ("b", "a")
    for parts, given in ((("a", "c"), "a, c"), (("a", "a"), "a, a")):
        with pytest.raises(ValueError, match=f"^parts: expected different ones of a, b, got {given}$"):
            Parent(parts=parts)


def test_a_class_without_source_has_its_docstring_alone():
    scope = {"__name__": "builtins", "TrainConfig": TrainConfig, "dataclass": dataclass}
    exec("@dataclass(frozen=True, kw_only=True)\nclass Made(TrainConfig):\n    depth: int = 1  # lost\n", scope)
    assert setting_notes(scope["Made"])[-1].text == ""
