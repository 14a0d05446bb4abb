"""Labels of one's own data: what each form of file means, and the sentence for what has no one meaning."""

from __future__ import annotations

import numpy as np
import pytest

from vltr_eval.formats import InputError
from vltr_train.data.dataset import open_dataset
from vltr_train.data.own_labels import read_own_labels
from vltr_train.data.pack import own, pack


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write_file


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("l.csv", 'id,labels\na,"3;17;40"\nb,2\n', [["3", "17", "40"], ["2"]]),
        ("l.csv", "id,labels\na,3|17\nb,2\n", [["3", "17"], ["2"]]),
        ("l.csv", 'id,labels\na,"3,17"\nb,2\n', [["3", "17"], ["2"]]),
        ("l.csv", 'id,labels\na,"3, 17"\nb,\n', [["3", "17"], []]),
        ("l.csv", 'id,labels\na,"[3, 17]"\nb,[]\n', [["3", "17"], []]),
        ("l.csv", "id,labels\na,\"['cut', 'stir']\"\nb,['cut']\n", [["cut", "stir"], ["cut"]]),
        ("l.csv", "id,labels\na,3 17\nb,2\n", [["3", "17"], ["2"]]),
        ("l.csv", "id,labels\na,wash hands\nb,3\n", [["wash hands"], ["3"]]),
        ("l.csv", 'id,labels\na,"wash hands;cut, or slice"\nb,3\n', [["wash hands", "cut, or slice"], ["3"]]),
        ("l.csv", "a,1\nb,2\n", [["1"], ["2"]]),
        ("l.csv", "id,label\na,10.0\nb,\n", [["10"], []]),
        ("l.csv", "id,labels\na,1.0 2.0\nb,v1.2\n", [["1.0 2.0"], ["v1.2"]]),
        ("l.csv", 'id,labels\na,"1.0,2.0"\nb,v1.2\n', [["1", "2"], ["v1.2"]]),
        ("l.csv", "\ufeffVideo,Duration,Class\r\na,9,1\r\n\r\nb,8,2\r\n", [["1"], ["2"]]),
        ("l.csv", "id;labels\na;1|2\nb;3\n", [["1", "2"], ["3"]]),
        ("l.tsv", "id\tlabels\na\t1,2\nb\t3\n", [["1", "2"], ["3"]]),
        ("l.txt", "a.mp4 1\nb.MKV 2 3\n", [["1"], ["2", "3"]]),
        ("l.txt", "a cut\nb cut stir\n", [["cut"], ["cut", "stir"]]),
        ("l.lst", "a 1,2,\nb\n", [["1", "2"], []]),
        ("x_videofolder.txt", "a 150 1\nb 20 2,3\n", [["1"], ["2", "3"]]),
    ],
)
def test_each_form_of_file_has_its_labels(write, name, text, labels):
    assert read_own_labels(write(name, text)) == (["a", "b"], labels, [None, None])


def test_a_cell_that_is_a_class_name_stays_whole(write):
    path = write("l.csv", 'id,labels\na,"cut; slowly"\nb,cut\nc,cut;stir\n')
    names = ["cut", "cut; slowly", "stir"]
    assert read_own_labels(path, names)[1] == [["cut; slowly"], ["cut"], ["cut", "stir"]]


def test_splits_have_their_usual_names(write):
    words = ["train", "Training", "val", "valid", "validation", "dev", "test", "testing", "validate"]
    path = write("l.csv", "id,labels,split\n" + "".join(f"v{i},0,{word}\n" for i, word in enumerate(words)))
    kinds = ["train", "train", "validate", "validate", "validate", "validate", "test", "test", "validate"]
    assert read_own_labels(path)[2] == kinds
    path = write("l.csv", "a,0,train\nb,1,test\n")
    assert read_own_labels(path)[2] == ["train", "test"]


def test_two_numbers_on_each_line_need_a_word(write):
    path = write("l.txt", "a 150 1\nb 20 2\n")
    with pytest.raises(InputError, match=r"each line has two numbers.*say which by --frame-counts or --no-"):
        read_own_labels(path)
    assert read_own_labels(path, frame_counts=True)[1] == [["1"], ["2"]]
    assert read_own_labels(path, frame_counts=False)[1] == [["150", "1"], ["20", "2"]]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("l.csv", "", "expected a video with its labels on each line, got no video"),
        ("l.csv", "id,labels\n", "expected a video with its labels on each line, got no video"),
        ("l.csv", "x,y,z,w\n", "expected columns id, labels and perhaps split, got x, y, z, w"),
        ("l.csv", "id,other\na,1\n", "expected columns id, labels and perhaps split, got id, other"),
        ("l.csv", "id,labels\na,1,2\n", "line 2: expected 2 columns, got 3; put cells that have ',' in double quotes"),
        ("l.csv", "id,labels\na,1\nb,2\na,3\n", "line 4: video a is on line 2 already; give each video one line"),
        ("l.csv", "id,labels\n,1\n", "line 2: expected an id without blanks, got ''"),
        ("l.csv", "id,labels\na b,1\n", "line 2: expected an id without blanks, got 'a b'"),
        ("l.csv", "id,labels,split\na,1,tset\n", "line 2: expected split train, validate or test, got 'tset'"),
        ("l.csv", "id,labels,split\na,1,\n", "line 2: expected split train, validate or test, got ''"),
        ("l.csv", 'id,labels\na,"1\nb,2\n', "line 3: expected a CSV file (unexpected end of data)"),
        ("l.csv", "id,labels,id\na,1,b\n", "expected columns of different names, got 'id' more than once; rename them"),
        (
            "l.csv",
            "id,Labels,class\na,1,2\n",
            "expected one column of labels, got labels and class; leave out the others",
        ),
        ("x_videofolder.txt", "a 9 1\nb x 2\n", "line 2: expected a path, a number of frames and classes, got 'b'"),
    ],
)
def test_files_without_one_meaning_are_refused(write, name, text, sentence):
    with pytest.raises(InputError) as refused:
        read_own_labels(write(name, text))
    assert str(refused.value).endswith(f"{name}: {sentence}")


def test_a_line_separator_in_a_cell_ends_no_row(write):
    path = write("l.csv", "id,labels\na,wash\u2028hands\nb,cut\x0cslowly\n")
    assert read_own_labels(path)[:2] == (["a", "b"], [["wash\u2028hands"], ["cut\x0cslowly"]])


def test_a_missing_or_binary_file_is_one_sentence(write, tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        read_own_labels(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"b\.csv: expected UTF-8 text"):
        read_own_labels(tmp_path / "b.csv")


def test_named_classes_are_numbered_by_name(write):
    source = own(write("l.csv", "id,labels,split\na,stir;cut,train\nb,peel,test\n"), "features")
    assert source.lists.class_names == ("cut", "peel", "stir")
    assert source.lists.train.multi_hot().tolist() == [[1, 0, 1]]
    assert source.lists.test.multi_hot().tolist() == [[0, 1, 0]]
    assert (source.lists.name, source.lists.bounds) == ("l", (500, 100))


def test_numbers_may_stand_for_given_names(write):
    source = own(write("l.csv", "id,labels\na,2;cut\nb,cut;0\n"), "features", class_names=["cut", "peel", "stir"])
    assert source.lists.train.multi_hot().tolist() == [[1, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("text", "names", "sentence"),
    [
        ("id,labels\na,9\n", ["x", "y"], r"l\.csv: video a: expected one of the 2 classes, got '9'"),
        ("id,labels\na,x\nb,z\n", ["x", "y"], r"l\.csv: video b: expected one of the 2 classes, got 'z'"),
        ("id,labels\na,-1\n", ["x", "y"], r"l\.csv: video a: expected one of the 2 classes, got '-1'"),
        ("id,labels\na,2147483647\n", None, "expected classes below 65536 where no class names are given"),
        ("id,labels\na,\n", None, r"l\.csv: expected a class for some video, got none"),
        ("id,labels\na,3\nb,-1\n", None, r"l\.csv: video a: expected names throughout, or indices from 0 up"),
        (
            "id,labels\na,3\nb,cut\n",
            None,
            r"l\.csv: video a: expected names throughout, .* got '3'; correct it, or give",
        ),
        ("id,labels\na,cut\nb,0.5\n", None, r"l\.csv: video b: expected names throughout, .* got '0.5'; correct it"),
        ("id,labels\na,x\n", ["x", "x"], "class_names: expected each name once"),
        ("id,labels,split\na,1,test\n", None, r"l\.csv: expected videos of split train, got none"),
    ],
)
def test_labels_that_fit_no_class_are_refused(write, text, names, sentence):
    with pytest.raises(InputError, match=sentence):
        own(write("l.csv", text), "features", class_names=names)


def test_a_video_in_two_files_is_refused(write):
    with pytest.raises(InputError, match=r"test\.csv: expected videos of this split alone, got a of train\.csv"):
        own(write("train.csv", "a,1\nb,0\n"), "features", test=write("test.csv", "a,1\n"))
    with pytest.raises(InputError, match=r"train\.csv: expected no column of splits where each split has a file"):
        own(write("train.csv", "c,1,train\n"), "features", test=write("test.csv", "a,1\n"))


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret"])
def test_packing_never_reads_outside_the_features(write, tmp_path, name):
    features = tmp_path / "features"
    features.mkdir()
    np.save(tmp_path / "secret.npy", np.ones((2, 3), "f4"))
    np.save(features / "b.npy", np.ones((2, 3), "f4"))
    source = own(write("l.csv", f"id,labels\n{name},1\nb,0\n"), features)
    for skip_bad in (False, True):
        with pytest.raises(InputError, match=rf"expected ids of videos inside this folder, got '{name}'"):
            pack(source, tmp_path / "data", skip_bad=skip_bad)
    assert not (tmp_path / "data").exists()


def test_ids_with_a_slash_are_read_packed_and_unpacked(write, tmp_path):
    features = tmp_path / "features"
    (features / "kitchen").mkdir(parents=True)
    np.save(features / "kitchen" / "a.npy", np.full((2, 3), 5, "f4"))
    np.save(features / "b.npy", np.ones((4, 3), "f4"))
    source = own(write("l.csv", "id,labels\nkitchen/a,1\nb,0\n"), features)
    pack(source, tmp_path / "data")
    source.lists.write(tmp_path / "lists")
    for opened in (open_dataset(tmp_path / "data"), open_dataset(tmp_path / "lists", features=features)):
        clips = opened.frames.gather(opened.train.videos, np.zeros((2, 1), np.int64))
        assert clips[:, 0, 0].tolist() == [5, 1]
