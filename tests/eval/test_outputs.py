"""Output files are written atomically and durably, under any valid name, without leftovers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from vltr_eval._base import files as outputs
from vltr_eval._base.files import OutputError, PendingFile


def names_in(folder) -> list[str]:
    return sorted(os.listdir(folder))


def fail(path):
    path.write_text("half")
    raise OSError(28, "No space left on device")


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with PendingFile(path) as pending:
        assert path.read_text() == "old"
        pending.fill(lambda unfinished: unfinished.write_text("new"))
        assert path.read_text() == "old"
        pending.put_in_place()
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["out.txt"]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    sentence = rf"^{re.escape(str(path))}: cannot be written \(No space left on device\)$"
    with pytest.raises(OutputError, match=sentence), PendingFile(path) as pending:
        pending.write(fail)
    assert (names_in(tmp_path), path.read_text()) == (["out.txt"], "old")


@pytest.mark.parametrize("name", ["n" * 245, "n" * 255, "n" * 100, "n" * 101, "\u00fc" * 127, "a b\n[c].txt"])
def test_every_name_that_the_file_system_takes_is_written(tmp_path, name):
    for text in ("first", "second"):
        with PendingFile(tmp_path / name) as pending:
            pending.write_text(text)
        assert names_in(tmp_path) == [name]
        assert (tmp_path / name).read_text() == text


def test_names_longer_than_the_file_system_takes_are_refused(tmp_path):
    with (
        pytest.raises(OutputError, match=r"n: cannot be written \(File name too long\)$"),
        PendingFile(tmp_path / ("n" * 256)) as pending,
    ):
        pending.write_text("text")
    assert names_in(tmp_path) == []


def test_content_and_entry_reach_the_disk_in_order(tmp_path, monkeypatch):
    """The order is content, rename, folder; a power failure leaves the old or the new file complete."""
    calls = []
    replace, fsync = os.replace, os.fsync

    def named(descriptor):
        return os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")) if sys.platform == "linux" else "?"

    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(("fsync", named(fd))) or fsync(fd))
    monkeypatch.setattr(os, "replace", lambda a, b: calls.append(("replace", os.path.basename(b))) or replace(a, b))
    with PendingFile(tmp_path / "out.txt") as pending:
        pending.write_text("text")
    (first, unfinished), second, third = calls
    assert (first, second, third[0]) == ("fsync", ("replace", "out.txt"), "fsync")
    if sys.platform == "linux":
        assert re.fullmatch(r"\.out\.txt\.[0-9a-f]{8}\.unfinished", unfinished)
        assert third[1] == tmp_path.name


KILLED = """
import os, sys, time
from vltr_eval._base.files import PendingFile
pending = PendingFile(sys.argv[1])
pending.fill(lambda path: path.write_text("half"))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(outputs.fcntl is None, reason="needs locks of files")
@pytest.mark.parametrize("name", ["out.txt", "n" * 245])
def test_leftovers_of_killed_processes_are_removed(tmp_path, name):
    path, other = tmp_path / name, tmp_path / "other.txt"
    for target in (path, other):
        with subprocess.Popen([sys.executable, "-c", KILLED, target], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            if target == path:
                # While the process runs, its file stays, even if another process writes to the same path.
                with PendingFile(path) as pending:
                    pending.write_text("ours")
                assert sorted(map(len, names_in(tmp_path))) == sorted([len(name), len(unfinished_of(tmp_path)[0])])
            process.send_signal(signal.SIGKILL)
    assert len(unfinished_of(tmp_path)) == 2
    with PendingFile(path) as pending:
        left = unfinished_of(tmp_path)
        assert len(left) == 2, "that of the other path, and the new one"
        pending.write_text("whole")
    assert path.read_text() == "whole"
    (left,) = unfinished_of(tmp_path)
    assert left.startswith(".other.txt.")


def unfinished_of(folder) -> list[str]:
    return [name for name in names_in(folder) if name.endswith(".unfinished")]


def test_files_in_use_in_this_process_are_no_leftovers(tmp_path):
    path = tmp_path / "out.txt"
    with PendingFile(path) as first, PendingFile(path) as second:
        second.write_text("second")
        first.write_text("first")
    assert (names_in(tmp_path), path.read_text()) == (["out.txt"], "first")


def test_files_with_names_like_leftovers_stay(tmp_path):
    kept = [
        ".out.txt.123.unfinished",
        ".out.txt.0123456g.unfinished",
        "out.txt.01234567.unfinished",
        ".out.01234567.txt",
    ]
    for name in kept:
        (tmp_path / name).write_text("mine")
    with PendingFile(tmp_path / "out.txt") as pending:
        pending.write_text("text")
    assert names_in(tmp_path) == sorted([*kept, "out.txt"])


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a limit of file sizes")
@pytest.mark.parametrize("limit", [1000, 100_000])
def test_demo_on_a_full_disk_prints_one_sentence(tmp_path, limit):
    """A limit of file sizes replaces the full disk: writes fail midway in the same manner."""
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from vltr_eval.program.cli import main
sys.exit(main(["demo", sys.argv[1], "--scale", "0.02"]))
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "set"], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    sentence = rf"vltr-eval: error: {re.escape(str(tmp_path))}/set/preds.npy: cannot be written \(.+\)\n"
    assert re.fullmatch(sentence, done.stderr), done.stderr
    assert names_in(tmp_path / "set") == []


def test_demo_in_a_folder_that_cannot_be_made_prints_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    code = "import sys; from vltr_eval.program.cli import main; sys.exit(main(['demo', sys.argv[1], '--scale', '.01']))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "file"], capture_output=True, text=True, timeout=60)
    assert re.fullmatch(rf"vltr-eval: error: {re.escape(str(tmp_path))}/file: cannot be made \(.+\)\n", done.stderr)
