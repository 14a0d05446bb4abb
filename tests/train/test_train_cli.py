"""The vltr-train program: each command on data, what it answers to mistakes, and its exit codes."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from short_runs import SETTINGS

import vltr_eval.program.cli
import vltr_train.methods
from vltr_train import cli, engine, open_dataset
from vltr_train.data.frame_store import FrameStore
from vltr_train.data.synth_signal import SyntheticSignal
from vltr_train.methods import all_methods
from vltr_train.runs.run_folder import RunFolder
from vltr_train.setting_notes import setting_notes

OK, BAD_DATA, BAD_USAGE = 0, 1, 2
WORDS = [f"{key}={value}" for key, value in (SETTINGS | {"epochs": 1}).items() if key != "seed"]


@pytest.fixture
def program(tmp_path, monkeypatch, capsys):
    """Run the program in a separate folder; return its exit code and its output on both streams."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def fine(program):
    """Return the output of a command that succeeds and prints nothing on stderr."""

    def run(*arguments):
        code, out, err = program(*arguments, "--quiet")
        assert (code, err) == (OK, "")
        return out

    return run


@pytest.fixture(scope="module")
def finished(tiny_folder, tmp_path_factory):
    """The folder of a run that nothing changes."""
    folder = tmp_path_factory.mktemp("cli") / "bce"
    assert cli.main(["fit", "bce", "--data", str(tiny_folder), "--out", str(folder), *ON_CPU, *WORDS, "--quiet"]) == OK
    return folder


ON_CPU = ["--device", "cpu"]


# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------


def test_synth_pack_and_inspect(fine, program):
    out = fine(
        "synth", "files", "--profile", "charadeslt", "--scale", 0.002, "--dim", 6, "--layout", "npy", "--seed", 4
    )
    assert re.fullmatch(
        r"files: [\d,]+ train, [\d,]+ validate, [\d,]+ test videos of \d+ classes, .* frames of 6\n", out
    )
    files = open_dataset("files")
    out = fine("pack", "files", "files/features", "packed", "--format", "charades")
    assert re.fullmatch(r"packed: [\d,]+ videos, [\d,]+ frames, .* GB, verified; 0 videos left out\n", out)
    packed = open_dataset("packed")
    assert packed.bounds == (100, 20)
    rows, picks = np.arange(5), np.zeros((5, 3), np.int64)
    number_of = {name: number for number, name in enumerate(packed.frames.ids)}
    same_rows = np.array([number_of[name] for name in files.frames.ids[:5]])
    np.testing.assert_array_equal(files.frames.gather(rows, picks), packed.frames.gather(same_rows, picks))

    out = fine("inspect", "packed", "--verify")
    assert f"{packed.num_classes} classes, head / medium / tail" in out
    assert f"train: {len(packed.train):,} videos" in out
    assert "frames: packed, float16, 6 features" in out
    assert out.endswith("verified: every packed video has the bytes it was packed with\n")
    out = fine("inspect", "files", "--features", "packed")
    assert "frames: packed" in out
    assert "frames: a file a video" in fine("inspect", "files")
    code, _, err = program("inspect", "files", "--verify")
    assert code == BAD_DATA
    assert err == "vltr-train: error: --verify: expected packed frames, which have checksums, got a file a video\n"


def test_bad_videos_are_named_or_left_out(fine, program):
    fine("synth", "files", "--scale", 0.001, "--dim", 4, "--layout", "npy")
    first = open_dataset("files").train.labels.ids[0]
    path = Path("files", "features", f"{first}.npy")
    path.unlink()
    code, _, err = program("pack", "files", "files/features", "packed")
    assert code == BAD_DATA
    assert first in err
    assert len(err.splitlines()) == 1
    code, out, err = program("pack", "files", "files/features", "packed", "--skip-bad")
    assert code == OK
    assert out.endswith("1 videos left out\n")
    total = len(open_dataset("packed").frames.ids) + 1
    assert err.splitlines() == [
        f"left out 1 of {total:,} videos: {first} (no such file)",
        "head, medium and tail come from the training videos that were packed; "
        "--published-counts takes all that are listed",
    ]
    code, _, err = program("inspect", "files")
    assert code == BAD_DATA
    assert f"no features of {first}, and of 1 videos in all" in err
    code, out, err = program("inspect", "files", "--skip-missing")
    assert code == OK
    assert "left out for want of features: 1 videos" in out
    assert err == (
        "files: 1 videos without features are left out; head, medium and tail come from the videos that remain\n"
    )


def test_a_subset_of_the_features_is_said_in_two_lines(fine, program):
    fine("synth", "files", "--scale", 0.001, "--dim", 4, "--layout", "npy")
    whole = open_dataset("files")
    kept = [*whole.train.labels.ids[:40], *whole.test.labels.ids[:5], *whole.validate.labels.ids[:5]]
    Path("some").mkdir()
    for name in kept:
        shutil.copy(f"files/features/{name}.npy", "some")
    code, _, err = program("pack", "files", "some", "packed")
    number = len(whole.frames.ids) - len(kept)
    assert code == BAD_DATA
    assert err.endswith(f"and {number - 1} more videos cannot be packed; skip_bad=True (--skip-bad) packs the others\n")
    code, _, err = program("pack", "files", "some", "packed", "--skip-bad")
    assert code == OK
    first, second = err.splitlines()
    names = "; ".join(f"{name} (no such file)" for name in whole.train.labels.ids[40:43])
    assert first == f"left out {number} of {len(whole.frames.ids)} videos: {names}; and {number - 3} more"
    assert second.startswith("head, medium and tail come from the training videos that were packed; --published-counts")
    assert open_dataset("packed").train_counts.sum() < whole.train_counts.sum()

    code, _, err = program("pack", "files", "some", "published", "--skip-bad", "--published-counts")
    assert code == OK
    assert err.splitlines()[1] == "head, medium and tail come from the counts of all listed training videos"
    packed = open_dataset("published")
    assert packed.train_counts.tolist() == whole.train_counts.tolist()
    assert packed.counts_file == Path("published", "count-labels-train.lst")
    assert f"{whole.train_counts.max():,} to {whole.train_counts.min():,}, of the published set\n" in fine(
        "inspect", "published"
    )


def test_left_out_test_videos_do_not_change_the_groups(fine, program):
    fine("synth", "files", "--scale", 0.001, "--dim", 4, "--layout", "npy")
    first = open_dataset("files").test.labels.ids[0]
    Path("files", "features", f"{first}.npy").unlink()
    code, _, err = program("pack", "files", "files/features", "packed", "--skip-bad")
    assert code == OK
    assert len(err.splitlines()) == 1


@pytest.fixture
def own_features():
    """A folder with features of six videos, of which one lies in a subfolder."""
    Path("features", "kitchen").mkdir(parents=True)
    for number, name in enumerate(["a", "b", "c", "d", "e", "kitchen/f"], start=1):
        np.save(Path("features", f"{name}.npy"), np.full((number, 3), number, "f4"))


def test_own_labels_are_packed_with_names_and_bounds(fine, own_features):
    Path("my.csv").write_text(
        'id,labels,split\na,"cut;wash hands",train\nb,cut,train\nc,,train\nd,wash hands,val\n'
        'e,cut,test\nkitchen/f,"cut;stir",test\n'
    )
    Path("names.txt").write_text("stir\ncut\nwash hands\n")
    fine("pack", "my.csv", "features", "data", "--bounds", "1,0", "--name", "kitchen", "--class-names", "names.txt")
    data = open_dataset("data")
    assert (data.name, data.bounds, data.class_names) == ("kitchen", (1, 0), ("stir", "cut", "wash hands"))
    assert data.train.labels.multi_hot().tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert (data.validate.labels.ids, data.test.labels.ids) == (("d",), ("e", "kitchen/f"))
    assert data.train_counts.tolist() == [0, 2, 1]
    assert data.frames.lengths.tolist() == [1, 2, 3, 4, 5, 6]


def test_own_labels_of_a_file_for_each_split(fine, own_features):
    Path("train.txt").write_text("a.mp4 3 1\nb.mp4 0\nc.mp4 1\n")
    Path("val.txt").write_text("d.mp4 0\n")
    Path("test.txt").write_text("e.mp4 3\nkitchen/f.mp4 0 3\n")
    fine("pack", "train.txt", "features", "data", "--validate", "val.txt", "--test", "test.txt")
    data = open_dataset("data")
    assert (data.name, data.bounds, data.num_classes) == ("train", (500, 100), 4)
    assert data.train.labels.multi_hot().tolist() == [[0, 1, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]]
    assert data.test.labels.ids == ("e", "kitchen/f")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bounds", "1"], "argument --bounds: expected two numbers HIGH,LOW with HIGH >= LOW, got '1'"),
        (["--bounds", "1,2"], "argument --bounds: expected two numbers HIGH,LOW with HIGH >= LOW, got '1,2'"),
    ],
)
def test_wrong_bounds_of_own_data_are_bad_usage(program, options, message):
    code, _, err = program("pack", "my.csv", "features", "data", *options)
    assert code == BAD_USAGE
    assert message in err


def test_options_of_own_labels_are_refused_for_other_formats(program):
    for words, sentence in (
        (["--test", "test.csv"], "--test: expected a labels file (--format own), got ."),
        (
            ["--imbalance", "0.1"],
            "--imbalance: expected --format minikinetics beside it, got labels of the format videolt",
        ),
        (
            ["--num-classes", "9"],
            "--num-classes: expected --format youtube8m beside it, got labels of the format videolt",
        ),
    ):
        code, _, err = program("pack", ".", "features", "data", *words)
        assert (code, err) == (BAD_DATA, f"vltr-train: error: {sentence}\n")


def test_a_damaged_video_is_found(fine, program):
    fine("synth", "data", "--scale", 0.001, "--dim", 4)
    store = FrameStore.open("data")
    with open(store.folder / "frames.npy", "r+b") as file:
        file.seek(-3, 2)
        file.write(b"\x55")
    code, _, err = program("inspect", "data", "--verify", "--quiet")
    assert code == BAD_DATA
    assert store.ids[-1] in err


def test_data_that_are_not_there_are_named(program):
    for command in (["inspect", "nowhere"], ["fit", "bce", "--data", "nowhere"], ["sweep", "bce", "--data", "nowhere"]):
        code, out, err = program(*command)
        assert (code, out) == (BAD_DATA, "")
        assert err == "vltr-train: error: nowhere: not a data set, it has no train.lst\n"
    for command in (["eval", "nowhere"], ["table", "nowhere"]):
        code, out, err = program(*command)
        assert (code, out) == (BAD_DATA, "")
        assert err == "vltr-train: error: nowhere: expected the folder of a run, got no such folder; check its name\n"
    assert not list(Path().iterdir())


# ---------------------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------------------


def test_fit_prints_its_report_and_says_what_it_left(program, tiny_folder):
    code, out, err = program("fit", "bce:r50", "--data", tiny_folder, *ON_CPU, *WORDS, "seed=5")
    assert code == OK
    folder = Path("runs", "-".join(["bce-r50", *sorted(WORDS), "seed5"]))
    run = RunFolder.open(folder)
    assert out == str(run.load_report())
    assert (run.document["method"], run.document["preset"], run.document["settings"]["seed"]) == ("bce", "r50", 5)
    stages, steps, first, last = err.splitlines()
    assert stages == "stages: train 1 epoch"
    assert steps == "lr_steps: 30, 60 never reached, because stage train ends after 1 epoch; its lr ends at 0.01"
    assert re.fullmatch(r"epoch 0 \(train\): loss \d+\.\d{5}, mAP 0\.\d{4}, mAP_tail 0\.\d{4}, \d+\.\d s", first)
    assert last.startswith(f"{folder}: predictions, labels and report; vltr-eval {folder}/preds.npy")
    command = last.split("; ")[1].split()
    assert command[0] == "vltr-eval"
    assert vltr_eval.program.cli.main([*command[1:], "--quiet"]) == OK


@pytest.mark.parametrize(
    "line",
    [
        "fit bce {words} --data {data} --out run",
        "fit {words} bce --data {data} --out run",
        "fit --data {data} bce {words} --out run",
        "fit --data {data} --out run {words} bce",
        "fit {words} --data {data} bce --out run",
        "fit epochs=1 --data={data} bce {words} --out=run",
    ],
)
def test_settings_and_the_method_may_stand_anywhere(fine, tiny_folder, line, monkeypatch):
    words = [word for word in WORDS if not ("epochs=1 " in line and word == "epochs=1")]
    calls = []
    monkeypatch.setattr(engine, "fit", lambda *args, **kw: calls.append((args, kw)) or engine.Run(None, None, None))
    fine(*line.format(words=" ".join(words), data=tiny_folder).split())
    ((method, dataset, folder), options) = calls[0]
    assert (method.name, dataset.name, folder) == ("bce", "synthetic-videolt", Path("run"))
    assert options.items() >= (SETTINGS | {"epochs": 1, "seed": 3}).items() - {("seed", 3)}
    assert (options["resume"], options["overwrite"], options["quiet"]) == (False, False, True)


def test_a_run_that_is_there_is_resumed_or_replaced_where_that_is_said(fine, program, tiny_folder):
    command = ["fit", "bce", "--data", tiny_folder, "--out", "run", *ON_CPU, *WORDS]
    report = fine(*command)
    code, out, err = program(*command)
    assert (code, out) == (BAD_DATA, "")
    assert re.fullmatch(
        r"vltr-train: error: run: expected a folder without a run, .*\(--resume\), .*--overwrite\)\n", err
    )
    assert fine(*command, "--resume") == report
    assert fine(*command, "--resume=auto") == report
    assert fine(*command, "--overwrite") == report
    code, _, err = program(*command, "--resume", "seed=77")
    assert code == BAD_DATA
    assert err.endswith("expected settings {'seed': 2021} as in its config.json, got {'seed': 77}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bec"], "method: expected a known name, got 'bec'; did you mean bce?"),
        (["bce", "epoch=3"], "setting: expected a known name, got 'epoch'; did you mean epochs?"),
        (["bce", "clip_nrm=3"], "setting: expected a known name, got 'clip_nrm'; did you mean clip_norm?"),
        (["bce", "epochs=many"], "epochs: expected a whole number, got 'many'"),
        (["bce", "epochs=0"], "epochs: expected at least 1, got 0"),
        (["bce", "lr_steps=60,30"], "lr_steps: expected epochs from 0 up in rising order, such as 30,60, got 60,30"),
        (["bce", "lr_steps=-5"], "lr_steps: expected epochs from 0 up in rising order, such as 30,60, got -5"),
        (["bce", "lr=1e-3", "lr=2"], "lr: expected one value, got a second one by 'lr=2'"),
        (["bce", "precision=int8"], "precision: expected one of float32, bfloat16, float16, got 'int8'"),
        (["bce", "protocol=offical"], "protocol: expected a known name, got 'offical'; did you mean official?"),
        (["framestack:r102"], "preset: expected a known name, got 'r102'; did you mean r101"),
        (["bce", "batch_size=1"], "batch_size: expected at least 2 rows for 1 ranks, got 1 of 717 rows"),
        (["bce", "--device", "gpu"], "device: expected cpu, cuda or cuda:N, got 'gpu'"),
        (["bce", "--features", "nowhere"], "nowhere: no frames there, neither frames.npy nor a folder of .npy"),
    ],
)
def test_bad_settings_are_answered_in_a_sentence(program, tiny_folder, words, message):
    device = [] if "--device" in words else ON_CPU
    code, out, err = program("fit", *words, "--data", tiny_folder, "--out", "run", *device)
    assert (code, out) == (BAD_DATA, "")
    if message.startswith("preset"):
        assert err.startswith(f"vltr-train: error: {message}")
    else:
        assert err == f"vltr-train: error: {message}\n"


def test_sweep_trains_what_is_not_finished(program, tiny_folder, monkeypatch):
    command = ["sweep", "bce", "--data", tiny_folder, "focal", "--seeds", "1,2", *ON_CPU, *WORDS, "--format", "csv"]
    code, table, err = program(*command)
    assert code == OK
    folders = sorted(path.name for path in Path("runs").iterdir())
    assert folders == [
        f"{method}-{'-'.join(sorted(WORDS))}-seed{seed}" for method in ("bce", "focal") for seed in (1, 2)
    ]
    assert [line.split(",")[:2] for line in table.splitlines()[1:]] == [["bce", "2"], ["focal", "2"]]
    assert err.count(" ...\n") == 4
    fitted, fit = [], engine.fit
    monkeypatch.setattr(engine, "fit", lambda method, *rest, **how: fitted.append(method) or fit(method, *rest, **how))
    Path("runs", folders[2], "report.json").unlink()
    assert program(*command)[:2] == (OK, table)
    assert [found.name for found in fitted] == ["focal"]  # once, and only evaluated again
    code, _, err = program(*command, "--runs", "others", "--seeds", "1,x")
    assert code == BAD_USAGE
    assert "argument --seeds: expected whole numbers with commas between, got '1,x'" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["crt:r5"], "preset: expected none, because there is none to choose from, got 'r5'"),
        (["focal", "lr=-1"], "lr: expected a positive number, got -1.0"),
        (["seed=5"], "seed: expected the seeds of a sweep by --seeds, got a setting"),
        (["focl"], "method: expected a known name, got 'focl'; did you mean focal?"),
        (["--ci", "--baseline", "focal"], "--baseline: expected one of bce, got 'focal'"),
    ],
)
def test_sweep_refuses_before_it_trains(program, tiny_folder, words, message):
    code, out, err = program("sweep", "bce", *words, "--data", tiny_folder, *ON_CPU)
    assert (code, out, err) == (BAD_DATA, "", f"vltr-train: error: {message}\n")
    assert not Path("runs").exists()


def test_a_word_that_is_no_method_may_be_a_setting_without_a_value(program):
    code, _, err = program("sweep", "bce", "smoothing", "--data", "d")
    assert (code, err.count("\n")) == (BAD_DATA, 1)
    assert err.endswith(", got 'smoothing'; a class of your own is FILE.py:CLASS or PACKAGE.MODULE:CLASS; "
                        "a setting is KEY=VALUE\n")  # fmt: skip


def test_sweep_trains_what_is_said_twice_once(fine, tiny_folder):
    out = fine("sweep", "bce", "bce", "--data", tiny_folder, "--seeds", "1", *ON_CPU, *WORDS, "--format", "csv")
    assert [line.split(",")[:2] for line in out.splitlines()[1:]] == [["bce", "1"]]


def test_sweep_does_not_take_runs_on_other_data_for_its_own(program, fine, tiny_folder):
    fine("synth", "other", "--scale", 0.004, "--dim", 16, "--seed", 1)
    fine("sweep", "bce", "--data", tiny_folder, "--seeds", 1, *ON_CPU, *WORDS)
    code, out, err = program("sweep", "bce", "--data", "other", "--seeds", 1, *ON_CPU, *WORDS, "--quiet")
    assert (code, out) == (BAD_DATA, "")
    assert "expected dataset {" in err


# ---------------------------------------------------------------------------------------------------------------------
# Runs
# ---------------------------------------------------------------------------------------------------------------------


def test_eval_finds_the_data_of_the_run(fine, finished, tiny_folder):
    report = str(RunFolder.open(finished).load_report())
    assert fine("eval", finished, *ON_CPU) == report
    assert fine("eval", finished, "--data", tiny_folder, "--features", tiny_folder, *ON_CPU, "--out", "again") == report
    assert sorted(path.name for path in Path("again").iterdir()) == [
        *("labels.npy", "preds.npy", "report.json", "report.txt")
    ]
    assert fine("eval", finished, "--split", "validate", "--sap", 2, *ON_CPU) != report


@pytest.mark.parametrize("command", [["eval", *ON_CPU], ["table", "--ci"]], ids=["eval", "table"])
def test_a_bar_shows_what_takes_seconds(finished, monkeypatch, command):
    seconds = itertools.count(100, 3)
    monkeypatch.setattr("vltr_eval._base.terminal.time.monotonic", lambda: float(next(seconds)))
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    with contextlib.redirect_stderr(terminal):
        assert cli.main([command[0], str(finished), *command[1:]]) == OK
    assert re.search(r"\r\[#{40}\] 100%", terminal.getvalue())


def test_eval_takes_features_from_elsewhere(program, finished):
    code, _, err = program("eval", finished, "--features", "nowhere", *ON_CPU)
    assert (code, err) == (
        BAD_DATA,
        "vltr-train: error: nowhere: no frames there, neither frames.npy nor a folder of .npy\n",
    )


def test_eval_says_that_data_have_gone(program, finished):
    shutil.copytree(finished, "run")
    document = json.loads(Path("run", "config.json").read_text())
    document["data"]["folder"] = None
    Path("run", "config.json").write_text(json.dumps(document))
    code, _, err = program("eval", "run")
    assert (code, err) == (BAD_DATA, "vltr-train: error: run: its data set was no folder; give one by --data\n")


@pytest.mark.parametrize("format", ["text", "markdown", "csv", "latex"])
def test_table_of_runs(fine, finished, format):
    value = RunFolder.open(finished).load_report().metrics()["mAP"]
    out = fine("table", finished, "--format", format)
    assert (str(value) if format == "csv" else f"{value:.4f}") in out
    if format in ("markdown", "latex"):
        assert fine("table", finished, f"--{format}") == out


def test_table_leaves_out_runs_that_are_not_finished(fine, program, finished):
    shutil.copytree(finished, "runs/a")
    shutil.copytree(finished, "runs/b")
    Path("runs/b/report.json").unlink()
    code, out, err = program("table", "runs/a", "runs/b")
    assert (code, out) == (OK, fine("table", "runs/a"))
    assert err == "left out runs/b: not finished, it has no report; finish it with --resume\n"
    code, out, err = program("table", "runs/b")
    assert (code, out) == (BAD_DATA, "")
    assert err == (
        "vltr-train: error: runs/b: expected a finished run, got one without a report; "
        "finish that run with resume=True (--resume)\n"
    )


def test_eval_says_that_a_run_is_not_finished(program, finished):
    shutil.copytree(finished, "run")
    document = json.loads(Path("run/config.json").read_text())
    assert document["epochs"] == 1
    Path("run/config.json").write_text(json.dumps(document | {"epochs": 90}))
    Path("run/report.json").unlink()
    note = "not finished, epoch 1 of 90; finish it with --resume\n"
    code, out, err = program("eval", "run", *ON_CPU)
    assert (code, out, err) == (OK, str(RunFolder.open(finished).load_report()), f"run: {note}")
    assert program("table", finished, "run")[2] == f"left out run: {note}"


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("table", ("settings", "seed")),
        ("table", ("settings", "select_on")),
        ("table", ("dataset", "name")),
        ("table", ("dataset", "labels")),
        ("table", ("dataset", "videos")),
        ("eval", ("data", "folder")),
        ("eval", ("data", "features")),
    ],
)
def test_a_configuration_without_a_key_is_one_sentence(program, finished, command, keys):
    shutil.copytree(finished, "run")
    document = json.loads(Path("run/config.json").read_text())
    del document[keys[0]][keys[1]]
    Path("run/config.json").write_text(json.dumps(document))
    code, _, err = program(command, "run")
    assert code == BAD_DATA
    assert err == f"vltr-train: error: run/config.json: expected a value of {'.'.join(keys)}, got none; train again\n"


def test_resume_auto_starts_a_run_that_is_not_there(fine, program, tiny_folder):
    command = ["fit", "bce", "--data", tiny_folder, "--out", "run", *ON_CPU, *WORDS]
    code, _, err = program(*command, "--resume")
    assert (code, err) == (
        BAD_DATA,
        "vltr-train: error: run: expected a run to resume, got none; check the folder, or start one by "
        "resume='auto' (--resume=auto)\n",
    )
    report = fine(*command, "--resume=auto")
    assert report == str(RunFolder.open("run").load_report())
    code, _, err = program(*command, "--resume=auto", "seed=77")
    assert code == BAD_DATA
    assert err.endswith("expected settings {'seed': 2021} as in its config.json, got {'seed': 77}\n")


def test_table_with_intervals(fine, program, finished):
    shutil.copytree(finished, "runs/a")
    shutil.copytree(finished, "runs/b")
    document = json.loads(Path("runs/b/config.json").read_text())
    Path("runs/b/config.json").write_text(json.dumps(document | {"method": "mine"}))
    for words in (["runs/a", "runs/b", "--ci"], ["--ci=0.95", "runs/b", "runs/a", "--baseline", document["method"]]):
        out = fine("table", *words)
        assert f"\n[minus {document['method']}]\nmine  " in out
        assert re.search(r"^mine +\+0\.0000 +1\.000 ", out, re.MULTILINE)  # no row has an effect
        assert "95 % intervals" in out
    assert fine("table", "runs/a", "--ci", "0.9").count("\n\n") == 0
    for words, message in (
        (
            ["--ci", "runs/a"],
            "argument --ci: expected a level between 0 and 1, such as 0.95, got 'runs/a'; write --ci=0.",
        ),
        (["runs/a", "--ci", "95"], "argument --ci: expected a level between 0 and 1, such as 0.95, got '95'"),
        (["runs/a", "--ci", "95"], "got '95'; did you mean 0.95?"),
        (["runs/a", "--baseline", "bce"], "argument --baseline: give --ci as well"),
    ):
        code, _, err = program("table", *words)
        assert code == BAD_USAGE
        assert message in err


def test_table_beside_a_papers(fine, program, finished):
    out = fine("table", finished, "--paper", "videolt-1")
    assert "FrameStack" in out
    assert "0.532" in out
    code, _, err = program("table", finished, "--paper", "videolt-9")
    assert code == BAD_DATA
    assert err.startswith("vltr-train: error: paper: expected a known name, got 'videolt-9'; did you mean videolt-")


def test_methods_are_listed_with_their_papers(fine):
    out = fine("methods")
    lines = out.splitlines()
    for name, kind in all_methods().items():
        line = next(text for text in lines if text.startswith(f"{name} "))
        assert f"  {kind.paper}; " in line
        assert line.endswith(f"; presets: {len(kind.presets)}")
    tables = {table for kind in all_methods().values() for row in kind.presets.values() for table in row.tables}
    assert lines[-1] == f"tables of papers: {', '.join(sorted(tables))}"


def test_synth_has_an_option_for_each_field_of_the_signal_with_its_default(fine):
    found = cli._parser(["synth"]).parse_args(["synth", "folder"])
    assert SyntheticSignal(**{entry.name: getattr(found, entry.name) for entry in fields(SyntheticSignal)}) == (
        SyntheticSignal()
    )
    text = " ".join(fine("synth", "--help").split())
    for shown in ("(default: 2.5)", "(default: 0.03,0.2)", "(default: 0.6)", "(default: one burst holds them all)"):
        assert shown in text


def test_methods_of_another_folder_are_listed(fine, tmp_path, monkeypatch):
    """Their presets are those of their class, of which no paper's file knows."""
    monkeypatch.setattr(vltr_train.methods, "__path__", [*vltr_train.methods.__path__, str(tmp_path)])
    Path("mine.py").write_text(
        "from vltr_train.method import Method, Preset\n\n\nclass Mine(Method):\n"
        '    paper = "My own"\n    presets = {"r50": Preset(row="x", tables=("my-1",), backbone="R", printed=())}\n'
    )
    lines = fine("methods").splitlines()
    assert ["mine", "My own; presets: 1"] in [line.split(maxsplit=1) for line in lines]
    assert "my-1" in lines[-1]


@pytest.mark.parametrize("name", all_methods())
def test_a_method_says_its_settings_and_presets(fine, name):
    out = fine("methods", name)
    assert "Paper: " in out
    for preset, row in all_methods()[name].presets.items():
        (line,) = (text for text in out.splitlines() if text.startswith(f"  {preset}: "))
        assert f"{row.backbone} features" in line
        assert row.data in line
        assert line.endswith(f"; {', '.join(row.tables)}")
    config = all_methods()[name].Config()
    for setting in (f"lr={config.lr}", f"batch_size={config.batch_size}", "lr_decay=0.1", "seed=2021"):
        assert f"\n  {setting} (a " in out
    assert "\n  compile=false (true or false)\n" in out
    assert "\n  dropout=None" not in out
    for note in setting_notes(type(config)):
        assert f"\n  {note.name}=" in out
        assert f" ({note.type})\n" in out


def test_settings_that_methods_prints_can_be_given(fine, monkeypatch, tiny_folder):
    words = re.findall(r"^  (\w+=\S*)(?: \(.*\))?$", fine("methods", "framestack"), re.MULTILINE)
    assert len(words) > 20
    asked = {}
    monkeypatch.setattr(engine, "fit", lambda *_, **options: asked.update(options) or engine.Run(None, None, None))
    fine("fit", "framestack", "--data", tiny_folder, "--out", "run", *words)
    default = all_methods()["framestack"].Config()
    assert {name: asked[name] for name in vars(default)} == vars(default)


# ---------------------------------------------------------------------------------------------------------------------
# Usage
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("train", "invalid choice: 'train'"),
        ("fit bce", "the following arguments are required: --data"),
        ("fit --data d", "the following arguments are required: METHOD"),
        ("fit lr=1 --data d", "METHOD: expected one, got none"),
        ("fit bce focal --data d", "METHOD: expected one, got bce and focal; a setting is KEY=VALUE, and sweep trains"),
        ("fit bce --data d focal", "METHOD: expected one, got bce and focal"),
        ("fit bce --data d --set lr=1", "; a setting is written without dashes: lr=1\n"),
        ("fit bce --data d --set=lr=1", "; a setting is written without dashes: lr=1\n"),
        ("fit bce --data d --overwite", "; did you mean --overwrite?\n"),
        ("sweep bce --data d --seed 3", "; did you mean --seeds?\n"),
        ("sweep bce --data d --seeds 0,1,0", "argument --seeds: expected different seeds, got '0,1,0'"),
        ("fit bce --data d --quiet=1", "argument --quiet: expected --quiet, got --quiet=1"),
        ("fit bce --data d --resume --overwrite", "argument --overwrite: not allowed with argument --resume"),
        (
            "fit bce --data d --epochs=3",
            "unrecognized arguments: --epochs=3; a setting is written without dashes: epochs=3",
        ),
        ("fit bce --data d --epochs 3 lr=1", "unrecognized arguments: --epochs"),
        ("fit bce --data d --epochs 3", "; a setting is written without dashes: epochs=3"),
        ("fit bce --lr-steps 3,4 --data d", "; a setting is written without dashes: lr_steps=3,4"),
        ("sweep bce --data d --nosuch", "; a setting is written without dashes: nosuch=VALUE"),
        (
            "fit bce --data d --resume=always",
            "argument --resume: expected --resume or --resume=auto, got --resume=always",
        ),
        ("fit bce --dat d", "the following arguments are required: --data"),
        ("fit bce --data d --store gpu", "argument --store: invalid choice: 'gpu'"),
        ("sweep lr=1 --data d", "METHOD: expected some, got none"),
        ("eval", "the following arguments are required: RUN"),
        ("eval run lr=1", "unrecognized arguments: lr=1"),
        ("eval run --split all", "argument --split: invalid choice: 'all'"),
        ("table", "the following arguments are required: RUN"),
        ("table run --format html", "argument --format: invalid choice: 'html'"),
        ("synth d --profile imagenet", "argument --profile: invalid choice: 'imagenet'"),
        ("inspect d e", "unrecognized arguments: e"),
    ],
)
def test_bad_usage(program, line, message):
    code, out, err = program(*line.split())
    assert (code, out) == (BAD_USAGE, "")
    assert message in err
    assert err.startswith("usage: vltr-train")
    assert not list(Path().iterdir())


def test_help_and_version(program):
    code, out, _ = program("--help")
    assert code == OK
    assert max(map(len, out.splitlines())) <= 80
    for command in ("synth", "pack", "inspect", "fit", "eval", "table", "methods", "sweep"):
        assert f"\n  {command} " in out
        code, shown, _ = program(command, "--help")
        assert code == OK
        assert f"vltr-train {command}" in shown
    assert program("--version")[:2] == (OK, f"vltr-train {vltr_eval.__version__}\n")


def test_an_error_shows_its_traceback_for_debugging(program):
    with pytest.raises(ValueError, match=r"no train\.lst"):
        program("inspect", "nowhere", "--debug")


def test_the_program_starts_by_its_module(tmp_path):
    command = [sys.executable, "-m", "vltr_train", "inspect", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == BAD_DATA
    assert done.stderr == "vltr-train: error: nowhere: not a data set, it has no train.lst\n"


def test_data_commands_do_not_wait_for_torch(tmp_path):
    code = "import sys; from vltr_train.cli import main; main(['inspect', 'x']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path)
    assert done.returncode == 0
