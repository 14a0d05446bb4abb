"""Methods from outside the package: a class, a file or a module is found, trained, resumed and evaluated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from vltr_train import evaluate_run, fit, losses, open_dataset, synthesize
from vltr_train.method import Method
from vltr_train.method_source import COPY, read_name, resolve_method
from vltr_train.runs.run_folder import RunFolder

SOURCE = '''
from dataclasses import dataclass

from vltr_train import losses
from vltr_train.method import Method, Preset, TrainConfig


@dataclass(frozen=True, kw_only=True)
class OwnConfig(TrainConfig):
    """Attributes:
        weight: The factor of the loss.
    """

    weight: float = 1.0


class Own(Method):
    paper = "one's own"
    Config = OwnConfig
    presets = {"heavy": Preset(row="heavy", tables=(), backbone="", printed=(), settings={"weight": 2.0})}

    def forward(self, batch):
        return self.config.weight * losses.bce(self.model(batch.features), batch.targets)
'''
SHORT = {"epochs": 2, "batch_size": 8, "train_frames": 3, "test_frames": 4, "lr_steps": (), "eval_every": 1}


class InTest(Method):
    """A method that stands in a module which is imported already."""

    paper = "a test"

    def forward(self, batch):
        return losses.bce(self.model(batch.features), batch.targets)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "data"
    synthesize(folder, scale=0.001, dim=4, frames=4)
    return folder


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(SOURCE)
    return path


def program(*words, cwd=None):
    command = [sys.executable, "-m", "vltr_train", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_a_class_trains_resumes_and_is_evaluated(data, tmp_path):
    run = fit(InTest, data, tmp_path / "run", quiet=True, **SHORT)
    again = fit(InTest, data, tmp_path / "run", resume=True, quiet=True, **SHORT)
    assert run.report.metrics() == again.report.metrics()
    assert RunFolder.open(tmp_path / "run").document["method"] == "InTest"
    assert evaluate_run(tmp_path / "run", open_dataset(data), method=InTest).metrics() == run.report.metrics()


def test_a_file_equals_the_same_method_of_the_package(data, own, tmp_path):
    mine = fit(f"{own}:Own", data, tmp_path / "mine", quiet=True, **SHORT)
    bce = fit("bce", data, tmp_path / "bce", quiet=True, **SHORT)
    assert mine.report.metrics() == bce.report.metrics()
    heavy = fit(f"{own}:Own:heavy", data, tmp_path / "heavy", quiet=True, **SHORT)
    assert heavy.method.config.weight == 2
    assert (tmp_path / "mine" / COPY).read_text() == SOURCE
    assert not (tmp_path / "bce" / COPY).exists()


def test_programs_take_a_file_and_keep_to_its_code(data, own, tmp_path):
    settings = ["epochs=1", "batch_size=8", "train_frames=3", "test_frames=4", "lr_steps=", "weight=0.5"]
    fitted = program("fit", f"{own}:Own", "--data", data, "--out", tmp_path / "run", "--quiet", *settings)
    assert fitted.returncode == 0, fitted.stderr
    document = json.loads((tmp_path / "run" / "config.json").read_text())
    assert document["code"]["class"] == "Own"
    assert document["settings"]["weight"] == 0.5
    assert program("table", tmp_path / "run").returncode == 0

    lost = program("eval", tmp_path / "run")
    assert lost.returncode != 0
    assert "expected method= (--method FILE.py:Own)" in lost.stderr
    assert len(lost.stderr.strip().splitlines()) == 1
    found = program("eval", tmp_path / "run", "--method", f"{own}:Own")
    assert found.returncode == 0, found.stderr

    own.write_text(SOURCE.replace("return self", "return 3 * self"))
    changed = program("eval", tmp_path / "run", "--method", f"{own}:Own")
    assert changed.returncode != 0
    assert "with which the run began, got other code" in changed.stderr
    kept = program("eval", tmp_path / "run", "--method", f"{tmp_path / 'run' / COPY}:Own")
    assert kept.returncode == 0, kept.stderr


def test_a_sweep_takes_a_file_beside_a_method_of_the_package(data, own, tmp_path):
    settings = ["epochs=1", "batch_size=8", "train_frames=3", "test_frames=4", "lr_steps="]
    words = ["sweep", f"{own}:Own", "bce", "--data", data, "--seeds", "1,2", "--quiet", "--format", "csv", *settings]
    swept = program(*words, "--ci", "--baseline", f"{own}:Own", cwd=tmp_path)
    assert swept.returncode == 0, swept.stderr
    lines = [line.split(",")[:2] for line in swept.stdout.splitlines()[1:3]]
    assert lines == [["Own", "2"], ["bce", "2"]]
    folders = sorted((tmp_path / "runs").iterdir())
    documents = [json.loads((folder / "config.json").read_text()) for folder in folders]
    assert sorted((each["method"], each["settings"]["seed"]) for each in documents) == [
        *(("Own", 1), ("Own", 2), ("bce", 1), ("bce", 2))
    ]
    reports = {folder: (folder / "report.json").stat().st_mtime_ns for folder in folders}
    again = program(*words, "--ci", "--baseline", f"{own}:Own", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, swept.stdout)
    assert {folder: (folder / "report.json").stat().st_mtime_ns for folder in folders} == reports  # none trained again

    own.write_text(SOURCE.replace("return self", "return 3 * self"))
    changed = program(*words, cwd=tmp_path)
    assert changed.returncode == 1
    assert "got other code" in changed.stderr


def test_a_run_folder_never_has_its_code_imported(data, own, tmp_path):
    fit(f"{own}:Own", data, tmp_path / "run", quiet=True, **SHORT)
    mark = tmp_path / "imported"
    trap = f"open({str(mark)!r}, 'w').close()\n"
    (tmp_path / "run" / COPY).write_text(trap)
    own.write_text(trap)
    with pytest.raises(ValueError, match="expected method="):
        evaluate_run(tmp_path / "run", open_dataset(data))
    for command in (("table", tmp_path / "run"), ("eval", tmp_path / "run")):
        program(*command)
    assert not mark.exists()


def test_a_module_on_the_path_is_found(data, own, tmp_path):
    package = tmp_path / "my_methods"
    package.mkdir()
    (package / "__init__.py").write_text("")
    own.rename(package / "own.py")
    settings = ["epochs=1", "batch_size=8", "train_frames=3", "test_frames=4", "lr_steps="]
    found = program("fit", "my_methods.own:Own", "--data", data, "--out", "run", "--quiet", *settings, cwd=tmp_path)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        (SOURCE, "Onw", "method: expected one of Own, got 'Onw'"),
        ("x = 1\n", "", "expected own.py:CLASS, one of the subclasses of Method there, got none"),
        ("x = = 1\n", "Own", "own.py cannot be imported [(]SyntaxError"),
        ("import no_such_package_of_mine\n", "Own", "own.py cannot be imported [(]ModuleNotFoundError"),
        (SOURCE.replace("def forward", "def step"), "Own", "expected Own to define forward"),
        (SOURCE.replace("@dataclass(frozen=True, kw_only=True)\n", ""), "Own", "expected @dataclass"),
    ],
)
def test_a_class_that_is_not_there_or_not_whole_is_one_sentence(tmp_path, monkeypatch, source, name, message):
    (tmp_path / "own.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        resolve_method(f"own.py:{name}" if name else "own.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frmestack", "framestack"),
        ("missing.py:Own", "there is no file 'missing.py'"),
        ("folder/own:Own", "expected a file that ends in .py"),
        ("bce:r101:more", "expected NAME:PRESET"),
        ("own.py:Own:heavy:more", "expected FILE.py:CLASS:PRESET"),
    ],
)
def test_names_that_mean_nothing_are_refused_before_an_import(text, message):
    with pytest.raises(ValueError, match=message):
        read_name(text)


def test_what_is_no_method_is_refused():
    with pytest.raises(ValueError, match=r"expected a name or a subclass of vltr_train\.Method"):
        resolve_method(Path)
