"""Tables of text: the right cells, the kinds of the columns, what the first line is, and sentences for all else."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vltr_eval.formats.text as text_module
from vltr_eval._base.files import InputError
from vltr_eval.formats.sources import Source
from vltr_eval.formats.text import read_text


@pytest.fixture
def table(tmp_path):
    """Write a file and read it."""

    def read(content, name="p.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_text(Source(path), **options)

    return read


@pytest.fixture
def complaint(table, tmp_path):
    """The message of reading a file, and one of its columns if none is wrong before."""

    def read(content, name="p.csv", column=None, **options):
        with pytest.raises(InputError) as caught:
            table(content, name, **options).read_column(column)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return read


def kinds(table):
    return [column.dtype or column.kind for column in table.columns]


def names(table):
    return [column.name for column in table.columns]


def columns(table):
    return [table.read_column(position).tolist() for position in range(len(table.columns))]


# Cells


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\n  \n"])
def test_csv_gives_header_ids_and_numbers(table, newline, mark, end):
    read = table((mark + "id,a,b\nv1,0.5,1\nv2,-2e3,inf" + end).replace("\n", newline))
    assert names(read) == ["id", "a", "b"]
    assert read.num_rows == 2
    assert read.first_line is None
    assert read.read_column(0).tolist() == ["v1", "v2"]
    np.testing.assert_array_equal(read.read_matrix([1, 2]), [[0.5, 1], [-2000, np.inf]])
    np.testing.assert_array_equal(read.read_matrix([2, 1]), [[1, 0.5], [np.inf, -2000]])


def test_quotes_and_blanks_follow_rfc_4180(table):
    read = table('"id","a, b","say ""x"""\n "v 1 " ,"0.5", 1 \n"v\n2"," 0.25 ",2\t\n')
    assert names(read) == ["id", "a, b", 'say "x"']
    assert columns(read) == [["v 1 ", "v\n2"], [0.5, 0.25], [1, 2]]


def test_audioset_comments_name_the_columns(table):
    read = table(
        "# Segments csv created Sun Mar  5 10:54:31 2017\n"
        "# num_ytids=2, num_segs=2, num_unique_labels=3, num_positive_labels=3\n"
        "# YTID, start_seconds, end_seconds, positive_labels\n"
        '--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"\n'
        '--ZhevVpy1s, 50.000, 60.000, "/m/012xff"\n'
    )
    assert names(read) == ["YTID", "start_seconds", "end_seconds", "positive_labels"]
    assert kinds(read) == ["text", "float64", "float64", "text"]
    assert columns(read) == [
        ["--PJHxphWEs", "--ZhevVpy1s"],
        [30, 50],
        [40, 60],
        ["/m/09x0r,/t/dd00088", "/m/012xff"],
    ]


def test_savetxt_header_and_white_space_are_read(table):
    stream = io.BytesIO()
    scores = np.array([[0.125, 1e-30], [np.nan, 3.0]])
    np.savetxt(stream, scores, header="cat dog")
    read = table(stream.getvalue(), "p.txt")
    assert names(read) == ["cat", "dog"]
    np.testing.assert_array_equal(read.read_matrix([0, 1]), scores)


def test_comments_of_another_width_name_nothing(table):
    read = table("# made by us\n1,2\n3,5\n")
    assert names(read) == [None, None]
    assert columns(read) == [[1, 3], [2, 5]]


def test_hash_without_a_blank_is_a_cell(table):
    assert columns(table("#a,0.5\n#b,0.25\n")) == [["#a", "#b"], [0.5, 0.25]]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("v1;0.5;3\nv2;0.25;4\n", "p.csv"),
        ("v1\t0.5\t3\nv2\t0.25\t4\n", "p.csv"),
        ("v1|0.5|3\nv2|0.25|4\n", "p.csv"),
        ("v1\t0.5\t3\nv2\t0.25\t4\n", "p.tsv"),
        ("v1\t0.5\t3\nv2\t0.25\t4\n", "p.txt"),
        ("v1, 0.5, 3\nv2, 0.25, 4\n", "p.txt"),
        ("v1  0.5   3 \n v2 0.25\t4\n", "p.txt"),
        ('"v1" 0.5 3\n"v2"  0.25 "4"\n', "p.txt"),
    ],
)
def test_separator_is_found_by_counting(table, content, name):
    assert columns(table(content, name)) == [["v1", "v2"], [0.5, 0.25], [3, 4]]


def test_semicolons_around_lists_of_commas_separate(table):
    assert columns(table("id;labels\nv1;3,17\nv2;4,5\n")) == [["v1", "v2"], ["3,17", "4,5"]]
    assert columns(table("v1;3,17\nv2;4,5\n")) == [["v1", "v2"], ["3,17", "4,5"]]
    assert columns(table("v1,3;17\nv2,4;5\n")) == [["v1", "v2"], ["3;17", "4;5"]]


def test_two_separators_in_doubt_are_refused(complaint):
    assert complaint("0,5;0\n0,3;1\n") == (
        "p.csv: cannot tell whether ',' or ';' separates the columns; name them in a first line"
    )


def test_given_delimiter_is_used(table):
    assert columns(table("0,5;0\n0,3;1\n", delimiter=";")) == [["0,5", "0,3"], [0, 1]]
    assert columns(table("a  1\nb 2\n", "p.csv", delimiter=" ")) == [["a", "b"], [1, 2]]
    with pytest.raises(ValueError, match="delimiter: expected one ASCII character, got '::'"):
        table("a::1\n", delimiter="::")


# Kinds of columns


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", "+3"], "int64"),
        (["1", "2.0"], "float64"),
        (["1", "1e3"], "float64"),
        (["nan", "-inf"], "float64"),
        (["9223372036854775807", "1"], "int64"),
        (["9223372036854775808", "1"], "float64"),
        (["True", "false"], "bool"),
        (["007", "008"], "text"),
        (["123", "007"], "text"),
        (["000046_3840", "000046_3841"], "text"),
        (["000052e7", "1e10"], "text"),
        (["NA", "x"], "text"),
        (["", "x"], "text"),
        (["3;17", "4"], "text"),
        (["[3, 17]", "[]"], "text"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_kind_is_that_of_all_cells(table, cells, kind, order):
    cells = cells[::order]
    read = table("key,value\n" + "".join(f'z,"{cell}"\n' for cell in cells))
    assert kinds(read) == ["text", kind]
    if kind == "text":
        assert read.read_column(1).tolist() == cells


@pytest.mark.parametrize(("late", "kind"), [("0.5", "float64"), ("007", "text"), ("3;17", "text")])
def test_kind_counts_cells_at_the_end(table, late, kind):
    """The first 100 rows are whole numbers; the last row says something else."""
    cells = [str(number) for number in range(500)] + [late]
    read = table("id,x\n" + "".join(f"v{row},{cell}\n" for row, cell in enumerate(cells)))
    assert kinds(read) == ["text", kind]
    assert read.read_column(1).tolist() == (cells if kind == "text" else [*range(500), 0.5])


@pytest.mark.parametrize("word", ["NA", "null", "None", "x", "1_000", "0x1F", "00.5", "0.5.5"])
def test_cell_that_is_no_number_is_named(complaint, word):
    content = "id,a,b\nv1,1,0.5\n\nv2,2," + word + "\n"
    assert complaint(content, column=2) == f"p.csv: line 4, column 3 (b): expected a number, got '{word}'"


def test_empty_cell_is_named_only_where_it_is_read(table, complaint):
    content = 'id,a,b\n"v\n1",1,0.5\nv2,2,\n'
    assert complaint(content, column=2) == "p.csv: line 4, column 3 (b): expected a number, got an empty cell"
    read = table(content)
    assert read.read_column(1).tolist() == [1, 2]
    with pytest.raises(InputError, match=r"line 4, column 3 \(b\): expected a number, got an empty cell"):
        read.read_matrix([1, 2])


def test_message_stays_one_line_whatever_the_names(complaint):
    content = 'id,"a\nb"\nv1,1\nv2,\n'
    assert complaint(content, column=1) == r"p.csv: line 4, column 2 (a\nb): expected a number, got an empty cell"


def test_text_column_read_as_numbers_names_its_first_word(table):
    read = table("id,a\nv1,1\nv2,2\n")
    with pytest.raises(InputError, match=r"line 2, column 1 \(id\): expected a number, got 'v1'"):
        read.read_matrix([0, 1])


def test_columns_of_ids_and_labels_may_mix(table):
    content = "id,labels\n1,3\n2,\n3,river\nx4,5\n"
    assert columns(table(content)) == [["1", "2", "3", "x4"], ["3", "", "river", "5"]]


def test_whole_numbers_beyond_float64_stay_exact(table):
    read = table("a,b,c\n9007199254740993,5,0.5\n-9007199254740993,9223372036854775807,2\n")
    assert read.read_column(0).tolist() == [2**53 + 1, -(2**53) - 1]
    both = read.read_matrix([0, 1])
    assert both.dtype == np.int64
    assert both.tolist() == [[2**53 + 1, 5], [-(2**53) - 1, 2**63 - 1]]
    with pytest.raises(InputError, match=r"got larger ones in column 1 \(a\) beside column 3 \(c\); leave one"):
        read.read_matrix([0, 2])


def test_minus_zero_is_zero(table):
    read = table("a,b\n-0,-0.0\n1,0.5\n")
    assert kinds(read) == ["int64", "float64"]
    assert not np.signbit(read.read_matrix([0, 1])).any()


def test_logical_columns_are_bool(table):
    read = table("id,a,b\nv1,True,False\nv2,FALSE,TRUE\n")
    assert kinds(read) == ["text", "bool", "bool"]
    assert read.read_matrix([1, 2]).dtype == bool
    assert read.read_matrix([1, 2]).tolist() == [[True, False], [False, True]]
    assert read.read_column(2).tolist() == [False, True]


# The first line


@pytest.mark.parametrize(
    ("content", "header"),
    [
        ("a,b\n0.5,1\n", ["a", "b"]),
        ("river,3,7\n0.5,0.1,0.2\n", ["river", "3", "7"]),
        (",a,b\n0,0.5,1\n1,0.5,1\n", ["", "a", "b"]),
        ("Unnamed: 0,a,b\n0,0.5,1\n", ["", "a", "b"]),
        (",a,b\nv1,0.5,1\n", ["", "a", "b"]),
        (",labels\nv1,3;17\n", ["", "labels"]),
        (",0,1\n0,0.5,1\n1,0.5,1\n", ["", "0", "1"]),
        ("0,1,2\n0.5,1.0,0.25\n", ["0", "1", "2"]),
        ("0,1,2\n0.5,1,0.25\n1,0,0.5\n", None),
        ("0,1\n0.5,1.0\n", ["0", "1"]),
        ("0,1,2\n0,1,0\n1,0,1\n", ["0", "1", "2"]),
        ("0,1\nTrue,False\n", ["0", "1"]),
        ("id,0,1\nv1,1,0\n", ["id", "0", "1"]),
        ("id,labels\nv1,river\n", ["id", "labels"]),
        ("fname,labels,mids,split\n64760,Bark,/m/01,train\n", ["fname", "labels", "mids", "split"]),
        ("YTID,positive_labels\nx,/m/01\n", ["YTID", "positive_labels"]),
        ("label\n2\n0\n", ["label"]),
        ("id,label\n1,3\n2,4\n", ["id", "label"]),
        ("id,0,1\n17,0.5,0.25\n", ["id", "0", "1"]),
    ],
)
def test_header_is_told_by_the_rule(table, content, header):
    read = table(content)
    if header is None:  # in doubt
        assert read.num_rows == content.count("\n")
        assert names(read.first_line) == ["0", "1", "2"]
        return
    assert names(read) == header
    assert [column.is_index for column in read.columns] == [name == "" for name in header]
    assert read.num_rows == content.count("\n") - 1
    assert read.first_line is None


@pytest.mark.parametrize(
    "content",
    [
        "0.5,1\n0.25,1\n",
        "v1,0.5\nv2,0.25\n",
        "v1,0\nv2,1\n",
        "v1,3;17\nv2,4\n",
        "v1,river\nv2,river\n",
        "1,2\n3,4\n",
        "0,1,2.5\n0.5,1.5,0.25\n",
        "2\n0\n1\n",
        "True,False\nFalse,True\n",
        "1,0,0\n0,1,0\n",
        "007,river\n008,lake\n",
    ],
)
def test_first_row_is_told_by_the_rule(table, content):
    read = table(content)
    assert read.first_line is None
    assert read.num_rows == content.count("\n")
    assert names(read) == [None] * len(read.columns)


@pytest.mark.parametrize(
    "content", ["0\n2\n1\n", "0,1\n1,0\n0,1\n", "0,1,2\n3,4,5\n", "v1,river\nv2,lake\n", "3,7\n0.5,0.25\n"]
)
def test_first_line_in_doubt_is_read_both_ways(table, content):
    read = table(content)
    cells = [line.split(",") for line in content.splitlines()]
    assert read.num_rows == len(cells)
    assert names(read) == [None] * len(cells[0])
    assert read.first_line.num_rows == len(cells) - 1
    assert names(read.first_line) == cells[0]
    for both, skip in ((read, 0), (read.first_line, 1)):
        for position, values in enumerate(columns(both)):
            assert values == [type(value)(row[position]) for value, row in zip(values, cells[skip:], strict=True)]


def test_separator_at_the_end_of_lines_is_an_empty_column(table):
    read = table("a,b,\n1,2,\n3,4,\n")
    assert names(read) == ["a", "b", ""]
    assert not any(column.is_index for column in read.columns)
    assert columns(read) == [[1, 3], [2, 4], ["", ""]]


def test_missing_first_score_is_no_index(table, complaint):
    assert complaint(",0.5\n0.25,1\n", column=0) == "p.csv: line 1, column 1: expected a number, got an empty cell"
    assert complaint(",1,0\n0,1,1\n", column=0) == "p.csv: line 1, column 1: expected a number, got an empty cell"


def test_mistyped_first_row_is_no_header(complaint):
    assert complaint("id,0.5\n1,2\n", column=0) == "p.csv: line 1, column 1: expected a number, got 'id'"


def test_pandas_default_csv_declares_its_index(table):
    pandas = pytest.importorskip("pandas")
    scores = np.random.default_rng(0).random((4, 3))
    frame = pandas.DataFrame(scores)
    read = table(frame.to_csv())
    assert [column.is_index for column in read.columns] == [True, False, False, False]
    assert names(read) == ["", "0", "1", "2"]
    np.testing.assert_array_equal(read.read_matrix([1, 2, 3]), scores)
    np.testing.assert_array_equal(table(frame.to_csv(index=False)).read_matrix([0, 1, 2]), scores)


def test_repeated_names_are_refused(complaint):
    assert complaint("id,a,a\n1,2,3\n") == (
        "p.csv: expected columns of different names, got 'a' in columns 1, 2; rename them"
    )


# Sentences


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a,b\n1,2\n1,2,3\n", "line 3: expected 2 columns as in the lines above, got 3"),
        ("a,b\n1,2\n\n1\n", "line 4: expected 2 columns as in the lines above, got 1"),
        ('a,b\n"1\n",2\n1,2,3\n', "line 4: expected 2 columns as in the lines above, got 3"),
        ("1\n2,3\n", "line 2: expected 1 column as in the lines above, got 2"),
        (b"\xff\xfe\x00", "expected UTF-8 text, got binary data"),
        (b"a,b\n1,\xe9\n", "expected UTF-8 text, got binary data"),
        (b"a,b\n1,\0\n", "expected UTF-8 text, got binary data"),
        ('a,b\n1,"2\n3,4\n', "line 2: expected a quote that ends the cell, got the end of the file"),
        (
            'a,b\n1,5" disk\n3,4" disk\n',
            "line 2: expected quotes around whole cells, and a quote inside a cell doubled, got '1,5\"'",
        ),
        (
            'a,b\n1,"0.5"5\n',
            "line 2: expected quotes around whole cells, and a quote inside a cell doubled, got '1,\"0.5\"'",
        ),
    ],
)
def test_wrong_structure_gives_a_sentence(complaint, content, reason):
    assert complaint(content) == f"p.csv: {reason}"


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff", "# a\n#\n"])
def test_file_without_lines_is_a_table_without_rows(table, content):
    read = table(content)
    assert (read.num_rows, read.columns) == (0, ())
    assert read.read_matrix([]).shape == (0, 0)


def test_header_without_rows_is_a_table_without_rows(table):
    read = table("id,scores\n")
    assert (read.num_rows, names(read)) == (0, ["id", "scores"])
    assert read.read_matrix([1]).shape == (0, 1)


def test_empty_line_of_one_column_is_a_cell(table, complaint):
    assert complaint("1\n\n2\n", column=0) == "p.csv: line 2, column 1: expected a number, got an empty cell"
    assert columns(table("river\n\nriver\n\n")) == [["river", "", "river"]]


# Blocks, and pyarrow


def outcome(path, monkeypatch, *, arrow, block):
    """All that a file gives: columns, values, both readings, or the message."""

    def state(table):
        found = [table.num_rows, table.columns]
        for position in range(len(table.columns)):
            for read in (table.read_column, lambda position: table.read_matrix([position])):
                try:
                    values = read(position)
                except InputError as error:
                    found.append(str(error))
                    continue
                # All NaNs are one value.
                plain = np.where(values != values, np.nan, values) if values.dtype == float else values
                found.append((str(values.dtype), plain.tolist() if plain.dtype == object else plain.tobytes()))
        return [*found, table.first_line and state(table.first_line)]

    with monkeypatch.context() as patch:
        patch.setattr(text_module, "_ARROW_FROM", 0 if arrow else 2**60)
        patch.setattr(text_module, "_BLOCK", block)
        patch.setattr(text_module, "_LOOK_ROWS", 1)  # so that the look is the same in blocks of any size
        try:
            return state(read_text(Source(path)))
        except InputError as error:
            return str(error)


CELLS = [
    *("0", "1", "2", "0.5", "1e-05", "-1", "+1", "-0", "-0.0", "", "NA", "True", "false", "007", "00.5", "1_000"),
    *("nan", "inf", "-nan", "nan(1)", "0x1F", "9007199254740993", "9223372036854775808", "1e400", "a", "b c", "\xe9"),
    *('"q"', '"a""b"', '"1,2"', '"x\ny"', '" 5 "', '" z "', "3;17", " 4", "5 ", "\t6", '"7"', ' "8" ', ".5", "5."),
    *('"', 'a"b', "#", "# x", "_", "\u0967", "\x0c3", "1 2", "0.1234567890123456789", '"0\t7"', "0_7", "0e5", "00"),
]


@st.composite
def tables(draw):
    width = draw(st.integers(1, 4))
    separator = draw(st.sampled_from([",", ",", "\t", ";", " ", ", "]))
    pools = [draw(st.lists(st.sampled_from(CELLS), min_size=1, max_size=4)) for _ in range(width)]
    rows = draw(st.lists(st.tuples(*map(st.sampled_from, pools)), max_size=8))
    if draw(st.booleans()):
        rows.insert(0, draw(st.tuples(*[st.sampled_from(["id", "a", "labels", "0", "1", "", "2"])] * width)))
    lines = [separator.join(row) for row in rows]
    if draw(st.booleans()):
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(["", " ", "\t", separator, "# x"])))
    newline = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    mark, end = draw(st.sampled_from(["", "\ufeff"])), draw(st.sampled_from(["", "\n", "\n\n", "\n \n"]))
    return (mark + "\n".join(lines) + end).replace("\n", newline)


@settings(max_examples=300, deadline=None)
@given(content=tables(), suffix=st.sampled_from([".csv", ".tsv", ".txt"]), block=st.sampled_from([4, 16, 64]))
def test_same_result_with_pyarrow_and_in_blocks(tmp_path_factory, content, suffix, block):
    pytest.importorskip("pyarrow.csv")
    path = tmp_path_factory.getbasetemp() / f"t{suffix}"
    path.write_bytes(content.encode())
    with pytest.MonkeyPatch.context() as patch:
        plain = outcome(path, patch, arrow=False, block=2**20)
        assert outcome(path, patch, arrow=True, block=2**20) == plain
        assert outcome(path, patch, arrow=False, block=block) == plain
        assert outcome(path, patch, arrow=True, block=block) == plain


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(ANY_TEXT, st.floats(), st.integers(-(2**63), 2**63 - 1)),
        min_size=1,
        max_size=20,
    ),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    newline=st.sampled_from(["\n", "\r\n"]),
    arrow=st.booleans(),
)
def test_written_values_come_back(tmp_path_factory, rows, quoting, newline, arrow):
    """Against what Python's csv module wrote: any text, and the same bits of any float."""
    path = tmp_path_factory.getbasetemp() / "written.csv"
    rows = [("t" + text.strip(" \t") + "t", number, whole) for text, number, whole in rows]
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, quoting=quoting, lineterminator=newline)
        writer.writerow(["name", "x", "n"])
        writer.writerows(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_module, "_ARROW_FROM", 0 if arrow else 2**60)
        patch.setattr(text_module, "_BLOCK", 64)
        read = read_text(Source(path))
    assert kinds(read) == ["text", "float64", "int64"]
    texts, numbers, wholes = columns(read)
    assert texts == [text for text, _, _ in rows]
    np.testing.assert_array_equal(numbers, [number for _, number, _ in rows])
    assert wholes == [whole for _, _, whole in rows]


def test_progress_ends_at_one(table, monkeypatch):
    monkeypatch.setattr(text_module, "_BLOCK", 64)
    shares = []
    table("".join(f"v{row},{row}.5\n" for row in range(100)), progress=shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 5
    assert shares[0] < 0.5
    assert shares[-1] == 1


def test_columns_next_to_each_other_are_no_copy(table):
    read = table("id,a,b,c\nv1,0.5,0.25,0.125\nv2,1,2,3\n")
    assert np.shares_memory(read.read_matrix([1, 2, 3]), read.read_matrix([2, 3]))


def peak_of_reading(path):
    """Seconds, and the bytes that reading adds to the peak memory of a process."""
    program = (
        "import resource, sys, time\n"
        "from pathlib import Path\n"
        "from vltr_eval.formats.sources import InputError, Source\n"
        "from vltr_eval.formats.text import read_text\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before, start = peak(), time.process_time()\n"
        "try: read_text(Source(Path(sys.argv[1])))\n"
        "except InputError: pass\n"
        "print(time.process_time() - start, peak() - before)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    seconds, grown = run.stdout.split()
    return float(seconds), int(grown)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
@pytest.mark.parametrize(
    "content",
    [
        b"," * 10**6 + b"\n" + b"1\n" * 10**6,  # would be a matrix of 8 TB
        b"\n" * 5_000_000,
        b'"' + b"x" * 5_000_000,
        b'5"' * 3_000_000,
        b"#" * 5_000_000,
        b"1,2\n" + b"\n" * 5_000_000 + b"3,4\n",
        b"1,2\n" + b"\n3,4\n" * 1_000_000,
        b"1" * 5_000_000,
    ],
    ids=["wide", "empty-lines", "open-quote", "wrong-quotes", "comment", "gap", "gaps", "digits"],
)
def test_small_hostile_files_take_little(tmp_path, content):
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    seconds, grown = peak_of_reading(path)
    assert grown < 4 * len(content) + (64 << 20)
    assert seconds < 30
