"""Methods from outside the package: a class, a file or a module is found, trained, resumed and evaluated."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from vltr_train import evaluate_run, fit, losses, open_dataset, synthesize
from vltr_train.cli import main
from vltr_train.method import Method
from vltr_train.method_source import COPIES, check_code, read_name, resolve_method
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
    assert (tmp_path / "mine" / COPIES / "own.py").read_text() == SOURCE
    assert not (tmp_path / "bce" / COPIES).exists()


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
    kept = program("eval", tmp_path / "run", "--method", f"{tmp_path / 'run' / COPIES / 'own.py'}:Own")
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
    (tmp_path / "run" / COPIES / "own.py").write_text(trap)
    own.write_text(trap)
    with pytest.raises(ValueError, match="expected method="):
        evaluate_run(tmp_path / "run", open_dataset(data))
    for command in (("table", tmp_path / "run"), ("eval", tmp_path / "run")):
        program(*command)
    assert not mark.exists()

    # A config.json that names the file as if it were a method of the package
    config = tmp_path / "run" / "config.json"
    document = json.loads(config.read_text())
    for name in (f"{own}:Own", "own:Own", "own.py", "no.such:Own"):
        for code in ({}, {"code": None}):
            stripped = {key: value for key, value in document.items() if key != "code"}
            config.write_text(json.dumps(stripped | code | {"method": name}))
            with pytest.raises(ValueError, match="method: expected one of"):
                evaluate_run(tmp_path / "run", open_dataset(data))
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
        ("x = 1\n", "", "expected a subclass of vltr_train.Method in own.py, got a file without one; define it"),
        (
            SOURCE + "class More(Own):\n    pass\n",
            "",
            "expected own.py:CLASS, got own.py without a class; CLASS is Own or More$",
        ),
        ("class Plain:\n    pass\n", "Plain", r"got the class Plain; write class Plain\(Method\)$"),
        ("def plain():\n    pass\n", "plain", "got the function plain; give a class$"),
        ("from beside import x\n", "Own", r"cannot import name 'x' from 'beside'"),
        ("x = = 1\n", "Own", "own.py cannot be imported [(]SyntaxError"),
        ("import no_such_package_of_mine\n", "Own", "own.py cannot be imported [(]ModuleNotFoundError"),
        (SOURCE.replace("def forward", "def step"), "Own", "expected Own to define forward"),
        (SOURCE.replace("@dataclass(frozen=True, kw_only=True)\n", ""), "Own", "expected @dataclass"),
    ],
)
def test_a_class_that_is_not_there_or_not_whole_is_one_sentence(tmp_path, monkeypatch, source, name, message):
    (tmp_path / "own.py").write_text(source)
    (tmp_path / "beside.py").write_text("")
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


def test_a_file_without_its_suffix_is_advised(own, monkeypatch):
    monkeypatch.chdir(own.parent)
    with pytest.raises(ValueError, match=r"got 'own:Own'; did you mean own\.py:Own\?$"):
        read_name("own:Own")
    with pytest.raises(
        ValueError, match=r"got 'zzzz'; a class of your own is FILE\.py:CLASS or PACKAGE\.MODULE:CLASS$"
    ):
        read_name("zzzz:Own")


def test_what_is_no_method_is_refused():
    with pytest.raises(ValueError, match=r"expected a name or a subclass of vltr_train\.Method"):
        resolve_method(Path)


# Which code ran


HELPED = """
import common
from vltr_train import losses
from vltr_train.method import Method


class Helped(Method):
    def forward(self, batch):
        from common import SCALE
        return common.scaled(losses.bce(self.model(batch.features), batch.targets)) * SCALE
"""


def write_helped(folder, scale):
    folder.mkdir(exist_ok=True)
    (folder / "common.py").write_text(f"SCALE = {scale}\n\n\ndef scaled(loss):\n    return SCALE * loss\n")
    (folder / "helped.py").write_text(HELPED)
    return f"{folder / 'helped.py'}:Helped"


def scale_of(found):
    return found.kind.forward.__globals__["common"].SCALE


def code_in(folder):
    return json.loads((folder / "config.json").read_text())["code"]


def test_the_record_is_of_the_file_that_defines_the_class(tmp_path):
    (tmp_path / "base_m.py").write_text(SOURCE)
    (tmp_path / "der.py").write_text("from base_m import Own\n")
    before = resolve_method(f"{tmp_path / 'der.py'}:Own").code
    assert before.origin == str(tmp_path / "base_m.py")
    assert before.copies == {"base_m.py": SOURCE.encode()}
    (tmp_path / "base_m.py").write_text(SOURCE.replace("return self", "return 3 * self"))
    after = resolve_method(f"{tmp_path / 'der.py'}:Own")
    with pytest.raises(ValueError, match=r"got other code from \S+/base_m.py \(base_m.py differs\)"):
        check_code(after, before.document, "run")


def test_a_file_that_changes_while_runs_go_on_does_not_change_their_record(data, own, tmp_path):
    """As in a sweep, which trains for days: each run has the class that was read, and that text."""
    found = resolve_method(f"{own}:Own")
    own.write_text(SOURCE + "# edited\n")
    for number, given in enumerate((found, found.kind)):
        fit(given, data, tmp_path / f"run{number}", quiet=True, **SHORT)
        assert (tmp_path / f"run{number}" / COPIES / "own.py").read_text() == SOURCE
        assert code_in(tmp_path / f"run{number}")["sha256"] == hashlib.sha256(SOURCE.encode()).hexdigest()


def test_a_file_and_its_class_have_one_record_with_any_line_ends(own, monkeypatch):
    own.write_bytes(SOURCE.replace("\n", "\r\n").encode() + b"# caf\xc3\xa9\r\n")
    monkeypatch.syspath_prepend(own.parent)
    monkeypatch.delitem(sys.modules, "own", raising=False)
    by_name, by_class = resolve_method(f"{own}:Own"), resolve_method(importlib.import_module("own").Own)
    monkeypatch.delitem(sys.modules, "own")
    assert by_name.code.document == by_class.code.document
    assert by_name.code.copies["own.py"] == own.read_bytes()


def test_the_record_of_an_imported_class_is_of_its_import(own, monkeypatch):
    monkeypatch.syspath_prepend(own.parent)
    monkeypatch.delitem(sys.modules, "own", raising=False)
    kind = importlib.import_module("own").Own
    own.write_text(SOURCE + "# edited, and not imported again\n")
    monkeypatch.delitem(sys.modules, "own")
    assert resolve_method(kind).code.copies == {"own.py": SOURCE.encode()}


def test_files_of_two_folders_have_their_own_modules(tmp_path):
    one, other = (resolve_method(write_helped(tmp_path / name, scale)) for name, scale in (("a", 1.0), ("b", 2.0)))
    assert (scale_of(one), scale_of(other)) == (1.0, 2.0)
    assert "common" not in sys.modules
    assert resolve_method(one.code.origin).kind is one.kind
    changed = resolve_method(write_helped(tmp_path / "a", 3.0))
    assert (scale_of(one), scale_of(changed)) == (1.0, 3.0)


def test_a_changed_module_of_the_folder_is_other_code(data, tmp_path):
    name = write_helped(tmp_path / "a", 1.0)
    run = fit(name, data, tmp_path / "run", quiet=True, **SHORT)
    assert code_in(tmp_path / "run")["modules"].keys() == {"common.py"}
    (tmp_path / "a" / "unused.py").write_text("")
    fit(name, data, tmp_path / "run", resume=True, quiet=True, **SHORT)
    write_helped(tmp_path / "a", 2.0)
    with pytest.raises(ValueError, match=r"\(common.py differs\); give \S+/method/helped.py:Helped") as error:
        fit(name, data, tmp_path / "run", resume=True, quiet=True, **SHORT)
    kept = str(error.value).partition("; give ")[2].partition(",")[0]
    assert evaluate_run(tmp_path / "run", open_dataset(data), method=kept).metrics() == run.report.metrics()


def test_modules_of_a_package_are_found_by_any_import(tmp_path, monkeypatch):
    package = tmp_path / "my_package"
    (package / "inner").mkdir(parents=True)
    files = {"__init__.py": "", "inner/__init__.py": "from . import deep\n", "inner/deep.py": "", "beside.py": ""}
    for name, text in files.items():
        (package / name).write_text(text)
    (package / "unused.py").write_text("")
    (package / "own.py").write_text("from .beside import *\nfrom my_package import inner\n" + SOURCE)
    (tmp_path / "random.py").write_text("raise SystemError\n")  # not of the package
    monkeypatch.chdir(tmp_path)
    found = resolve_method("my_package.own:Own")
    assert found.code.document["modules"].keys() == {f"my_package/{name}" for name in files}
    assert found.code.file == "my_package/own.py"
    for module in [each for each in sys.modules if each.partition(".")[0] == "my_package"]:
        monkeypatch.delitem(sys.modules, module)


CELL = """class Cell(Method):
    def forward(self, batch):
        return {} * losses.bce(self.model(batch.features), batch.targets)
"""


def notebook(program, *cells):
    """A program of cells as a notebook runs them: in __main__, which has no file, and with their text in linecache."""
    text = f"""
import linecache, sys
main = sys.modules["__main__"]
def run_cell(number, source):
    name = f"<cell {{number}}>"
    if {program!r} == "notebook":
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    exec(compile(source, name, "exec"), main.__dict__)
for number, source in enumerate({cells!r}):
    run_cell(number, source)
"""
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", ["notebook", "prompt"])
def test_a_class_of_a_notebook_is_known_by_its_cell_and_one_of_a_prompt_is_not_resumed(data, tmp_path, kind):
    start = (
        f"from vltr_train import Method, evaluate_run, fit, losses, open_dataset\nhow = {SHORT | {'quiet': True}!r}\n"
    )
    train = f"run = fit(Cell, {str(data)!r}, {str(tmp_path / 'run')!r}, resume='auto', **how)\n"
    again = f"assert evaluate_run({str(tmp_path / 'run')!r}, open_dataset({str(data)!r}), method=Cell).metrics()"
    done = notebook(kind, start, CELL.format(1), train, "x = 1\n", again + " == run.report.metrics()", train)
    if kind == "notebook":
        assert done.returncode == 0, done.stderr
        assert code_in(tmp_path / "run")["sha256"] == hashlib.sha256(CELL.format(1).rstrip().encode()).hexdigest()
        assert (tmp_path / "run" / COPIES / "Cell.py").read_text() == CELL.format(1).rstrip()
        done = notebook(kind, start, CELL.format(100), train)
        assert "got other code from __main__ (Cell.py differs)" in done.stderr
    else:
        assert "expected a class whose code is known to resume with it, got Cell" in done.stderr
        assert "evaluate_run" not in done.stderr


def make_factor(factor, extra=None):
    class Factor(Method):
        def forward(self, batch):
            return factor * losses.bce(self.model(batch.features), batch.targets) + (0 if extra is None else extra[0])

    return Factor


def make_attribute(value):
    class Factor(Method):
        factor = value

        def forward(self, batch):
            return self.factor * losses.bce(self.model(batch.features), batch.targets)

    return Factor


@pytest.mark.parametrize("make", [make_factor, make_attribute])
def test_a_class_of_a_function_is_known_by_the_values_that_it_took(data, tmp_path, make):
    fit(make(1.0), data, tmp_path / "run", quiet=True, **SHORT)
    fit(make(1.0), data, tmp_path / "run", resume=True, quiet=True, **SHORT)
    with pytest.raises(ValueError, match="a value that it took from a function differs"):
        fit(make(100.0), data, tmp_path / "run", resume=True, quiet=True, **SHORT)


def test_a_class_that_took_more_than_plain_values_is_not_resumed(data, tmp_path):
    kind = make_factor(1.0, [2.0])
    run = fit(kind, data, tmp_path / "run", quiet=True, **SHORT)
    with pytest.raises(ValueError, match="expected a class whose code is known to resume with it, got make_factor"):
        fit(kind, data, tmp_path / "run", resume=True, quiet=True, **SHORT)
    assert evaluate_run(tmp_path / "run", open_dataset(data), method=kind).metrics() == run.report.metrics()


def test_a_script_may_change_around_its_class(data, tmp_path):
    script = tmp_path / "train.py"
    end = f"""
if __name__ == "__main__":
    from vltr_train import fit
    fit(Own, {str(data)!r}, {str(tmp_path / "run")!r}, resume="auto", quiet=True, **{SHORT!r})
"""
    for text, returncode in (
        (SOURCE + end, 0),
        (SOURCE + end + "# a comment\n", 0),
        (SOURCE.replace("return self", "return 3 * self") + end, 1),
        (SOURCE.replace("weight: float = 1.0", "weight: float = 2.0") + end, 1),
    ):
        script.write_text(text)
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
        assert done.returncode == returncode, done.stderr
        assert ("train.py differs" in done.stderr) == bool(returncode)
    script.write_text(SOURCE + end + "# by its file\n")
    assert evaluate_run(tmp_path / "run", open_dataset(data), method=f"{script}:Own").metrics()


def test_a_run_without_an_epoch_is_resumed_with_the_mended_code(data, own, tmp_path):
    """It lost nothing, and the copy of its code is the broken one."""
    own.write_text(SOURCE.replace("batch.targets", "batch.target"))
    with pytest.raises(AttributeError, match="target"):
        fit(f"{own}:Own", data, tmp_path / "run", quiet=True, **SHORT)
    own.write_text(SOURCE)
    with pytest.raises(ValueError, match=r"; finish that run with resume=True \(--resume\), or replace it"):
        fit(f"{own}:Own", data, tmp_path / "run", quiet=True, **SHORT)
    with pytest.raises(ValueError, match=r"expected settings .* as in its config.json, got "):
        fit(f"{own}:Own", data, tmp_path / "run", resume=True, quiet=True, **{**SHORT, "lr": 0.5})
    fit(f"{own}:Own", data, tmp_path / "run", resume=True, quiet=True, **SHORT)
    assert (tmp_path / "run" / COPIES / "own.py").read_text() == SOURCE
    assert code_in(tmp_path / "run")["sha256"] == hashlib.sha256(SOURCE.encode()).hexdigest()
    own.write_text(SOURCE + "# edited\n")
    with pytest.raises(ValueError, match=r"got other code .*, or train the other code with overwrite=True"):
        fit(f"{own}:Own", data, tmp_path / "run", resume="auto", quiet=True, **SHORT)


def test_a_foreign_configuration_is_no_run_to_start_anew(data, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for resume in (True, "auto"):
        with pytest.raises(ValueError, match="expected format"):
            fit("bce", data, tmp_path, resume=resume, quiet=True, **SHORT)
    assert (tmp_path / "config.json").read_text() == "{}"


def test_the_copy_is_written_at_resumption_where_it_is_missing(data, own, tmp_path):
    fit(f"{own}:Own", data, tmp_path / "run", quiet=True, **SHORT)
    copy = tmp_path / "run" / COPIES / "own.py"
    for damage in (copy.unlink, lambda: copy.write_text("")):
        damage()
        fit(f"{own}:Own", data, tmp_path / "run", resume=True, quiet=True, **SHORT)
        assert copy.read_text() == SOURCE
    fit("bce", data, tmp_path / "run", overwrite=True, quiet=True, **SHORT)
    assert not copy.exists()


def test_the_program_takes_a_file_in_a_folder_with_a_default_name(data, own, tmp_path, capsys):
    folder = tmp_path / "Own-weight=0.5-seed1"
    folder.mkdir()
    own.rename(folder / "own.py")
    settings = ["epochs=1", "batch_size=8", "train_frames=3", "test_frames=4", "lr_steps=", "weight=0.5"]
    words = ["fit", f"{folder / 'own.py'}:Own", "--data", str(data), "--out", str(tmp_path / "run"), "--quiet"]
    assert main([*words, *settings]) == 0
    with pytest.raises(SystemExit):
        main([*words, "bce", *settings])
    assert "METHOD: expected one, got" in capsys.readouterr().err


def test_a_file_that_ends_the_program_is_one_sentence(tmp_path, capsys):
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(0)\n")
    assert main(["methods", f"{tmp_path / 'exits.py'}:Own"]) == 1
    assert "exits.py cannot be imported (SystemExit: 0)" in capsys.readouterr().err


def test_a_file_may_import_by_a_dot_what_is_beside_it_and_learns_how_else(tmp_path):
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "own.py").write_text("from . import beside\n" + SOURCE)
    assert resolve_method(f"{tmp_path / 'own.py'}:Own").code.modules.keys() == {"beside.py"}
    (tmp_path / "own.py").write_text("from ..above import x\n" + SOURCE)
    with pytest.raises(ValueError, match=r"relative import .*; a file of a package is PACKAGE\.MODULE:CLASS"):
        resolve_method(f"{tmp_path / 'own.py'}:Own")


def test_a_default_that_no_run_could_record_is_refused_before_a_training(own):
    own.write_text(SOURCE.replace("weight: float = 1.0", "weight: int = 1.5"))
    with pytest.raises(ValueError, match=r"^weight: expected a whole number, got 1\.5$"):
        resolve_method(f"{own}:Own")
