"""Every setting of every method says what it means, where its author wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

pytest.importorskip("torch")

from vltr_train.method import TrainConfig
from vltr_train.methods import all_methods
from vltr_train.setting_notes import setting_notes
from vltr_train.settings import settings_document

METHODS = all_methods()


@dataclass(frozen=True, kw_only=True)
class Parent(TrainConfig):
    """Settings.

    Attributes:
        depth: The layers, of which
            there are several.
        width: The units.

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


@dataclass(frozen=True, kw_only=True)
class Child(Parent):
    # Deeper than its parent.
    depth: int = 5


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_of_every_method_is_described(name):
    notes = setting_notes(METHODS[name].Config)
    assert [note.name for note in notes] == list(settings_document(METHODS[name].Config()))
    assert [note.name for note in notes if not note.text] == []


def test_docstrings_and_comments_are_joined():
    notes = {note.name: note for note in setting_notes(Child)}
    assert notes["depth"].text == "The layers, of which there are several. Deeper than its parent."
    assert notes["depth"].default == 5
    assert notes["width"].text == "The units. A comment above. and one behind"
    assert notes["kind"].text == "DIFFERS: the kind"
    assert notes["kind"].choices == ("a", "b")
    assert notes["epochs"].text == "The epochs of the main stage."


def test_a_class_without_source_has_its_docstring_alone():
    scope = {"__name__": "builtins", "TrainConfig": TrainConfig, "dataclass": dataclass}
    exec("@dataclass(frozen=True, kw_only=True)\nclass Made(TrainConfig):\n    depth: int = 1  # lost\n", scope)
    assert setting_notes(scope["Made"])[-1].text == ""
