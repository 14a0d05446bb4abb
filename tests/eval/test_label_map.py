"""Label maps: accepted forms, damaged files, and linear time on adversarial files."""

from __future__ import annotations

import time

import pytest

from vltr_eval.formats import InputError
from vltr_eval.formats.label_map import read_labelmap


@pytest.fixture
def read(tmp_path):
    """Read a text as a label map; return the error message without the path if it is refused."""
    path = tmp_path / "map.pbtxt"

    def read_text(text: str | bytes) -> dict[int, str] | str:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        try:
            return read_labelmap(path)
        except InputError as error:
            return str(error).removeprefix(f"{path}: ")

    return read_text


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('item {\n  name: "stand"\n  id: 12\n}\nlabel {\n  name: "sit"\n  label_id: 3\n}\n', {3: "sit", 12: "stand"}),
        ('label {\n name: "a"\n label_id: 1\n label_type: PERSON_MOVEMENT\n}\n', {1: "a"}),
        ('item { id: 1 name: "a" } item { id: 2, name: "b"; }', {1: "a", 2: "b"}),
        ('item{id:1 name:"a"}item:{id:2 name:"b"}item<id:3 name:"c">', {1: "a", 2: "b", 3: "c"}),
        ('item {\r\n  name: "a"\r\n  id: 1\r\n}\r\n', {1: "a"}),
        ('item {\r  name: "a"\r  id: 1\r}\r', {1: "a"}),
        ('\ufeffitem { name: "a" id: 1 }', {1: "a"}),
        ('item { name: "open {a} door } # 1" id: 1 }', {1: "open {a} door } # 1"}),
        ("# item { id: 9 }\nitem { # first\n  name: 'a' # } id: 3\n  id: 1 }\n# end", {1: "a"}),
        ("""item { name: 'say "hi"' id: 1 } item { name: "it's" id: 2 }""", {1: 'say "hi"', 2: "it's"}),
        (r'item { name: "\"a\" \\ \x41\101\tb" id: 1 }', {1: '"a" \\ AA\tb'}),
        (r"item { name: 'it\'s \303\251' id: 1 }", {1: "it's \xe9"}),
        ('item { name: "one "\n "name" id: 1 }', {1: "one name"}),
        ('item { id: 1 name: "a" keypoints { id: 7 name: "nose" } display_name: "b" }', {1: "a"}),
        ('item { id: 1 name: "\xe9t\xe9" }', {1: "\xe9t\xe9"}),
    ],
)
def test_forms_of_label_maps_are_read(read, text, names):
    assert read(text) == names
    assert list(read(text)) == sorted(names)


NONE = 'expected a label map of item { name: "..." id: N }, got none'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", NONE),
        ("# item\n", NONE),
        ("# {\n", NONE),
        (
            'item {\n  name: "a"\n  id: 1\n  id: 2\n}\n',
            "line 4: expected one id in a block, got another; start a block for each class",
        ),
        (
            'item { name: "a" id: 1\n label_id: 1 }',
            "line 2: expected one id in a block, got another; start a block for each class",
        ),
        (
            'item {\n  name: "a"\n  id: 1\n  name: "b"\n}',
            "line 4: expected one name in a block, got another; start a block for each class",
        ),
        ('item { name: "a" id: 1 }\nitem { name: "a" id: 2 }', "line 2: the name 'a' is that of class 1 already"),
        ('item { name: "a" id: 1 }\nitem { name: "b" id: 1 }', "line 2: class 1 is listed twice"),
        ('item {\n  name: "a"\n}\n', 'line 1: expected a class with name and id, got item { name: "a" }'),
        ('\nitem {\n name: "a"\n id: -1 }', "line 4: expected a whole number under 1,000,000,000 as id, got -1"),
        ('item {\n name: "a"\n id: "1" }', 'line 3: expected a whole number under 1,000,000,000 as id, got "1"'),
        ('item {\n name: "a"\n id: 1000000000 }', "line 3: expected a whole number under 1,000,000,000 as id"),
        ("item { name: a id: 1 }", "line 1: expected quotes around the name, got a"),
        ("item { name: ' ' id: 1 }", "line 1: expected a name, got an empty one"),
        ('item {\n name: "a\n id: 1 }', 'line 2: expected name: "...", id: N or a bracket, got name: "a'),
        ('item { name "a" id: 1 }', 'line 1: expected name: "...", id: N or a bracket, got name "a" id: 1 }'),
        ('item { id: 1 "a" name: "b" }', 'line 1: expected name: "...", id: N or a bracket, got "a" name: "b" }'),
        (
            'item {\n name: "a"\n id: 1\n',
            "line 1: expected a closing } for this block, got the end of the file",
        ),
        ('item { name: "a" id: 1 }\n}', "line 2: expected item { or label {, got }"),
        ('item { name: "a" id: 1 >', "line 1: expected }, got >"),
        ('name: "a"\nid: 1\nitem {}', 'line 1: expected item { or label {, got name: "a"'),
        ('class { name: "a" id: 1 }', "line 1: expected item { or label {, got class {"),
        ("item " + "{ x " * 20, "line 1: expected at most 16 blocks inside one another, got more"),
        (r'item { name: "\q" id: 1 }', "line 1: expected escapes of a protocol buffer in the name, got \\q"),
        (r'item { name: "\xff" id: 1 }', "line 1: expected escapes of a protocol buffer in the name, got \\xff"),
        (b"item { \xff\x00 }", "expected UTF-8 text, got binary data"),
    ],
)  # fmt: skip
def test_damaged_label_maps_are_refused_by_line(read, text, sentence):
    got = read(text)
    assert isinstance(got, str)
    assert got.startswith(sentence)
    assert len(got.splitlines()) == 1


def test_a_missing_label_map_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.pbtxt: no such file$"):
        read_labelmap(tmp_path / "none.pbtxt")
    with pytest.raises(InputError, match="cannot be read"):
        read_labelmap(tmp_path)


def test_a_label_map_without_end_is_refused():
    with pytest.raises(
        InputError, match="/dev/zero: expected a label map of at most 67,108,864 bytes, got a larger file"
    ):
        read_labelmap("/dev/zero")


@pytest.mark.parametrize(
    "text",
    [
        "item {\n" * 20_000,
        'item { name: "a" id: 1 ' * 20_000,
        "item" + " " * 300_000 + "@ {",
        "item {" + "\n" * 300_000 + "@",
        'item { name: "' + "\\" * 300_000,
        'item { name: "a" ' + '"b" ' * 100_000,
        "{" + "#" * 300_000,
        "a" * 300_000 + "{",
        "".join(f'item {{\n  name: "class {i}"\n  id: {i}\n}}\n' for i in range(200_000)),
    ],
    ids=["open blocks", "open classes", "spaces", "lines", "escapes", "strings", "comments", "letters", "classes"],
)
def test_time_grows_in_step_with_the_size(read, text):
    """A reader that searches the rest of the file for each block takes over 40 s."""
    start = time.process_time()
    got = read(text)
    assert time.process_time() - start < 4
    assert len(got) == 200_000 or isinstance(got, str)
