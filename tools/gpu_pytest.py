"""Run pytest and record, while it runs, which tests failed and which files are done, for a run that is stopped.

    python tools/gpu_pytest.py FAILURES DONE [PYTEST'S OPTIONS] FILE ...

FAILURES gets a line for each test that fails, DONE one for each file all of whose tests have run.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest


class Progress:
    """A plugin of the process that reports: with pytest-xdist the one that runs no tests."""

    def __init__(self, failures: Path, done: Path) -> None:
        self._failures, self._done = failures, done
        self._left: Counter[str] = Counter()

    def expect(self, tests: Iterable[str]) -> None:
        """Note the names of the tests that will run."""
        self._left = Counter(file_of(test) for test in tests)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.expect(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self.expect(ids)  # every process collects the same

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._append(self._failures, f"ERROR {report.nodeid}: {reason_of(report)}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            word = "FAILED" if report.when == "call" else "ERROR"
            self._append(self._failures, f"{word} {report.nodeid}: {reason_of(report)}")
        if report.when != "teardown":
            return
        file = file_of(report.nodeid)
        self._left[file] -= 1
        if self._left[file] == 0:
            self._append(self._done, file)

    @staticmethod
    def _append(file: Path, line: str) -> None:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def file_of(test: str) -> str:
    return test.partition("::")[0]


def reason_of(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Return the last line of a failure's text that is an error of pytest's form, or else the last line."""
    lines = str(report.longrepr).strip().splitlines() or [""]
    errors = [line[2:].strip() for line in lines if line.startswith("E ")]
    return (errors or lines[-1:])[0][:200]


def main() -> int:
    failures, done, *arguments = sys.argv[1:]
    return int(pytest.main(arguments, plugins=[Progress(Path(failures), Path(done))]))


if __name__ == "__main__":
    sys.exit(main())
