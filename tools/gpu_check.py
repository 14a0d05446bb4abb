"""Build, compare, test, sanitize and measure on a machine with an NVIDIA GPU, in at most nine minutes.

    python3 tools/gpu_check.py                  all steps, offline; writes benchmarks/results/<device>-<date>.md
    python3 tools/gpu_check.py --out DIR        also write the results and the log of all steps into DIR
    python3 tools/gpu_check.py --dry-run        the same without a GPU, on the emulated build and tiny inputs

The script needs Python 3.10 or later with torch and numpy, nvcc, a C++ compiler and CMake. The tests need pytest,
hypothesis, ml_dtypes, scipy and scikit-learn. compute-sanitizer, torchmetrics and torcheval are optional. The script
installs only into build/gpu. A step that fails, or that has no time left, is recorded as such, and the next step runs.
The results file is written atomically. Exit status 0: every step passed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parent
BENCHMARKS = ROOT / "benchmarks"
BUILD = ROOT / "build" / "gpu"
SITE = BUILD / "site"
BUDGET = 540.0  # seconds
WRITING = 15.0  # of these, reserved to end the last step and to write the results

PASSED, FAILED, NOT_RUN = "passed", "**FAILED**", "**not run**"
SANITIZERS = ("memcheck", "racecheck", "initcheck")
CUT_SHORT = 3  # exit status of compare_devices.py: nothing differed, but some inputs did not run

# Packages that the tests import besides numpy and torch. Tests of less common packages skip without them.
OF_TESTS = ("pytest", "hypothesis", "ml_dtypes", "scipy", "sklearn")

# Describes the machine in a separate process, so that this one holds no CUDA context.
PROBE = """
import importlib, json, platform, sys, numpy, torch
def is_missing(name):
    try:
        importlib.import_module(name)
    except Exception:
        return True
facts = {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__,
         "cuda": torch.version.cuda, "name": None, "missing": list(filter(is_missing, sys.argv[1:]))}
if torch.cuda.is_available():
    device = torch.cuda.get_device_properties(0)
    facts |= {"name": device.name, "arch": f"{device.major}{device.minor}", "memory": device.total_memory,
              "multiprocessors": device.multi_processor_count, "l2": getattr(device, "L2_cache_size", 0)}
print(json.dumps(facts))
"""


@dataclass
class Outcome:
    """The result of a step. `summary` is for the table of steps, `detail` for a separate section."""

    status: str
    summary: str = ""
    detail: str = ""
    seconds: float = 0.0


@dataclass
class Finished:
    """A command that ended by itself or at its time limit."""

    code: int
    output: str
    out_of_time: bool
    seconds: float

    @property
    def last_lines(self) -> str:
        """The last lines of its output, for the results."""
        lines = self.output.replace(str(ROOT), ".").replace(str(Path.home()), "~").strip().splitlines()
        return "\n".join(line[:300] for line in lines[-25:])


@dataclass(frozen=True)
class Step:
    """A step. limit: its most seconds. least: seconds that earlier steps leave for it."""

    title: str
    limit: float
    least: float
    run: Callable[[float], Outcome]  # takes the available seconds


@dataclass
class Check:
    """The facts about the machine, the clock, and the execution of commands."""

    dry: bool
    budget: float
    log: Path
    start: float = field(default_factory=time.monotonic)
    facts: dict = field(default_factory=dict)

    def seconds_left(self) -> float:
        return self.start + self.budget - WRITING - time.monotonic()

    def environment(self) -> dict[str, str]:
        """Return the environment of commands that import the build."""
        paths = [str(SITE), os.environ.get("PYTHONPATH", "")]
        binaries = [str(SITE / "bin"), os.environ.get("PATH", "")]
        return os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PATH": os.pathsep.join(filter(None, binaries)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "VLTR_REQUIRE": "cuda",  # a test that would skip CUDA is an error
        }

    def command(self, title: str, command: list[str | Path], seconds: float, **environment: str) -> Finished:
        """Run a command and log its output. In build/gpu `import vltr_eval` does not find the sources."""
        BUILD.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=BUILD,
            env=self.environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that `end` also reaches its children
        )
        out_of_time = False
        try:
            output, _ = process.communicate(timeout=max(1.0, seconds))
        except subprocess.TimeoutExpired:
            out_of_time = True
            output = end(process)
        except BaseException:
            end(process)
            raise
        finished = Finished(process.returncode, output, out_of_time, time.monotonic() - start)
        with self.log.open("a") as log:
            log.write(f"\n=== {title}: {' '.join(map(str, command))[:300]}\n{output}\n=== exit status {finished.code}")
            log.write(f" after {finished.seconds:.1f} s{', out of time' if out_of_time else ''}\n")
        return finished


def end(process: subprocess.Popen[str]) -> str:
    """End a command and its children; return their output. An interrupt lets pytest print its summary."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            return process.communicate(timeout=3)[0]
        except subprocess.TimeoutExpired:
            continue
    return ""


def judged(finished: Finished, summary: str, detail: str = "") -> Outcome:
    """Return PASSED or FAILED by exit status. A failure includes the last lines of the output."""
    if finished.out_of_time:
        summary = f"{summary}; stopped, out of time" if summary else "stopped, out of time"
    passed = finished.code == 0 and not finished.out_of_time
    if not passed:
        detail += f"\n```\n{finished.last_lines}\n```\n"
    return Outcome(PASSED if passed else FAILED, summary, detail)


def judged_comparison(finished: Finished, summary: str, detail: str = "") -> Outcome:
    """Judge compare_devices.py. It passes in part if the inputs that ran do not differ."""
    if finished.code == CUT_SHORT and not finished.out_of_time:
        finished.code, summary = 0, f"in part: {summary}"
    return judged(finished, summary, detail)


# Steps


def build(check: Check, seconds: float) -> Outcome:
    """Build into build/gpu/site: by pip if its build back end is installed, else by CMake alone."""
    shutil.rmtree(SITE, ignore_errors=True)
    start = time.monotonic()
    detail = ""
    if find_spec("scikit_build_core") and find_spec("pybind11") and find_spec("pip"):
        finished = build_by_pip(check, seconds)
        outcome = judged(finished, f"pip, {architecture(check)}")
        if outcome.status == PASSED or finished.out_of_time:
            return outcome
        detail = outcome.detail
    left = seconds - (time.monotonic() - start)
    outcome = build_by_cmake(check, left)
    outcome.detail = detail + outcome.detail
    return outcome


def architecture(check: Check) -> str:
    return "emulated" if check.dry else f"sm_{check.facts['arch']}"


def build_settings(check: Check) -> dict[str, str]:
    settings = {"VLTR_CUDA": "EMULATED" if check.dry else "ON", "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs())}
    return settings if check.dry else settings | {"CUDAARCHS": check.facts["arch"]}


def jobs() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def build_by_pip(check: Check, seconds: float) -> Finished:
    command = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-index", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-compile", "--target", str(SITE), "-v", str(ROOT)]
    settings = build_settings(check) | {"SKBUILD_BUILD_DIR": str(BUILD / "scikit-build")}
    return check.command("build by pip", command, seconds, **settings)


def build_by_cmake(check: Check, seconds: float) -> Outcome:
    """Build as scikit-build-core does: configure, build, install, and copy the Python packages."""
    if not (cmake := shutil.which("cmake")):
        return Outcome(FAILED, "neither scikit-build-core nor cmake was found")
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE).group(1)
    tree = BUILD / "cmake"
    settings = build_settings(check)
    definitions = {
        "CMAKE_BUILD_TYPE": "Release",
        "VLTR_CUDA": settings["VLTR_CUDA"],
        "SKBUILD_PROJECT_VERSION": version,
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11_directory(check),
    }
    configure = [cmake, "-S", ROOT, "-B", tree, *(f"-D{name}={value}" for name, value in definitions.items())]
    start = time.monotonic()
    for title, command in (
        ("configure", configure),
        ("build by CMake", [cmake, "--build", tree, "--target", "_core", "-j", str(jobs())]),
        ("install", [cmake, "--install", tree, "--prefix", SITE]),
    ):
        finished = check.command(title, command, seconds - (time.monotonic() - start), **settings)
        if finished.code != 0 or finished.out_of_time:
            return judged(finished, f"CMake, {title}")
    for package in sorted(path.parent for path in ROOT.glob("vltr_*/__init__.py")):
        shutil.copytree(package, SITE / package.name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return Outcome(PASSED, f"CMake, {architecture(check)}")


def pybind11_directory(check: Check) -> Path:
    """Return the folder of pybind11's CMake files: of the package, or new ones for the headers in torch."""
    if find_spec("pybind11"):
        finished = check.command("pybind11", [sys.executable, "-m", "pybind11", "--cmakedir"], 30)
        if finished.code == 0:
            return Path(finished.output.strip().splitlines()[-1])
    torch = Path(find_spec("torch").origin).parent
    folder = BUILD / "pybind11"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pybind11Config.cmake").write_text(
        "function(pybind11_add_module name)\n"
        "  list(REMOVE_ITEM ARGN MODULE NO_EXTRAS)\n"
        "  Python_add_library(${name} MODULE WITH_SOABI ${ARGN})\n"
        f'  target_include_directories(${{name}} SYSTEM PRIVATE "{torch / "include"}")\n'
        "endfunction()\n"
    )
    return folder


def bandwidth(check: Check, seconds: float) -> Outcome:
    command = [sys.executable, BENCHMARKS / "bench_cuda.py", "--bandwidth", *dry(check)]
    finished = check.command("bandwidth", command, seconds)
    measured = re.search(r"^Copy of .*$", finished.output, re.MULTILINE)
    return judged(finished, measured.group(0) if measured else "")


def compare(check: Check, seconds: float) -> Outcome:
    report = BUILD / "compare.md"
    report.unlink(missing_ok=True)
    command = [sys.executable, TOOLS / "compare_devices.py", "--out", report, "--seconds", f"{seconds - 20:.0f}"]
    finished = check.command("compare", [*command, *(["--small"] if check.dry else [])], seconds)
    text = report.read_text() if report.exists() else ""
    return judged_comparison(finished, text.partition("\n")[0], text.partition("\n")[2])


def tests(check: Check, seconds: float, selection: list[str]) -> Outcome:
    """Run pytest. Deprecation warnings are not errors here, because the libraries may be newer than the pinned ones."""
    if missing := check.facts["missing"]:
        return Outcome(NOT_RUN, f"this Python cannot import {', '.join(missing)}, which the tests need")
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT]
    command += ["-p", "no:cacheprovider", "-p", "no:benchmark", *selection]
    for warning in ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning"):
        command += ["-W", f"default::{warning}"]
    if find_spec("xdist") and jobs() > 2:
        command += ["-n", str(min(jobs(), 6))]
    finished = check.command("tests", [*command, ROOT / "tests"], seconds)
    counts = re.findall(r"^=*\s*(\d+ \w+.* in [\d.]+s.*?)\s*=*$", finished.output, re.MULTILINE)
    failed = re.findall(r"^(?:FAILED|ERROR) .*$", finished.output, re.MULTILINE)
    detail = "".join(f"- {line.replace(str(ROOT), '.')[:300]}\n" for line in failed[:30])
    if len(failed) > 30:
        detail += f"- and {len(failed) - 30} more\n"
    return judged(finished, counts[-1] if counts else "", detail)


def sanitize(check: Check, seconds: float, tool: str) -> Outcome:
    """Run every kernel at small sizes under compute-sanitizer."""
    paths = [shutil.which("compute-sanitizer"), "/usr/local/cuda/bin/compute-sanitizer"]
    sanitizer = next((path for path in paths if path and Path(path).exists()), None)
    if sanitizer is None:
        return Outcome(NOT_RUN, "compute-sanitizer was not found")
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", "--print-limit", "20", sys.executable]
    command += [TOOLS / "compare_devices.py", "--small", "--seconds", f"{seconds / 2:.0f}"]  # the start also takes time
    # Without torch's memory pool each tensor is a separate allocation, so an access beyond its end is an error.
    finished = check.command(tool, command, seconds, PYTORCH_NO_CUDA_MEMORY_CACHING="1")
    if "Device not supported" in finished.output:
        return Outcome(NOT_RUN, "the tool does not support this device here")
    summary = re.findall(r"=+ ((?:ERROR|RACECHECK) SUMMARY: .*)", finished.output)
    compared = re.findall(r"^[\d,]+ comparisons .*$", finished.output, re.MULTILINE)
    return judged_comparison(finished, "; ".join([*summary[-1:], *compared[-1:]]))


def measure(check: Check, seconds: float) -> Outcome:
    report = BUILD / "bench.md"
    report.unlink(missing_ok=True)
    command = [sys.executable, BENCHMARKS / "bench_cuda.py", "--out", report, "--seconds", f"{seconds - 20:.0f}"]
    finished = check.command("benchmark", [*command, *dry(check)], seconds)
    text = report.read_text() if report.exists() else ""
    reached, missed = (text.count(f"| {verdict} |") for verdict in ("reached", "**not reached**"))
    return judged(finished, f"{reached} targets reached, {missed} not", text)


def train(check: Check, seconds: float) -> Outcome:
    report = BUILD / "train.md"
    report.unlink(missing_ok=True)
    command = [sys.executable, BENCHMARKS / "bench_train_cuda.py", "--out", report, "--seconds", f"{seconds - 20:.0f}"]
    tiny = ["--device", "cpu", "--scale", "0.0005"] if check.dry else []
    finished = check.command("training", [*command, *tiny], seconds)
    summary, _, text = (report.read_text() if report.exists() else "").partition("\n")
    return judged(finished, summary, text)


def dry(check: Check) -> list[str]:
    return ["--dry-run"] if check.dry else []


def steps_of(check: Check) -> list[Step]:
    steps = [
        Step("build", 900 if check.dry else 220, 60, lambda seconds: build(check, seconds)),
        Step("bandwidth", 40, 15, lambda seconds: bandwidth(check, seconds)),
        Step("CPU against CUDA, bit by bit", 80, 40, lambda seconds: compare(check, seconds)),
        Step("tests, inputs on the device", 110, 40, lambda seconds: tests(check, seconds, ["--device", "cuda"])),
        Step("tests, whole suite", 110, 30, lambda seconds: tests(check, seconds, [])),
    ]
    for tool in SANITIZERS:
        steps.append(Step(f"compute-sanitizer {tool}", 70, 25, lambda seconds, t=tool: sanitize(check, seconds, t)))
    steps.append(Step("benchmark", 200, 100, lambda seconds: measure(check, seconds)))
    steps.append(Step("training", 250, 75, lambda seconds: train(check, seconds)))
    return steps


def run_steps(check: Check, steps: list[Step]) -> dict[str, Outcome]:
    """Run the steps. Each gets the time that is left minus the least times of the later ones."""
    outcomes: dict[str, Outcome] = {}
    reason = ""
    for at, step in enumerate(steps):
        kept = sum(later.least for later in steps[at + 1 :])
        seconds = min(step.limit, check.seconds_left() - kept)
        start = time.monotonic()
        if reason or seconds < step.least:
            outcome = Outcome(NOT_RUN, reason or "no time was left")
        else:
            sys.stderr.write(f"gpu_check: {step.title} (at most {seconds:.0f} s) ... ")
            sys.stderr.flush()
            try:
                outcome = step.run(seconds)
            except KeyboardInterrupt:
                reason = "the check was interrupted"
                outcome = Outcome(FAILED, reason)
            except Exception as error:  # an error of this script; the other steps still run
                outcome = Outcome(FAILED, f"{type(error).__name__}: {error}".replace("\n", " ")[:200])
            outcome.seconds = time.monotonic() - start
            sys.stderr.write(f"{outcome.status} in {outcome.seconds:.0f} s: {outcome.summary}\n")
        outcomes[step.title] = outcome
        if step.title == "build" and outcome.status != PASSED:
            reason = reason or "there is no build"
    return outcomes


# The results


def look(check: Check) -> str | None:
    """Collect the facts about the machine. Return None, or the reason why there is nothing to check."""
    finished = check.command("look", [sys.executable, "-c", PROBE, *OF_TESTS], 120)
    if finished.code != 0:
        return f"expected a Python with torch and numpy, got: {(finished.last_lines.splitlines() or ['nothing'])[-1]}"
    check.facts = json.loads(finished.output.strip().splitlines()[-1])
    if check.facts["name"] is None and not check.dry:
        return "torch sees no CUDA device (--dry-run needs none)"
    for name, command in (
        ("driver", ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]),
        ("nvcc", [os.environ.get("CUDACXX", "nvcc"), "--version"]),
        ("commit", ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]),
    ):
        if shutil.which(command[0]):
            finished = check.command(name, list(command), 20)
            lines = finished.output.strip().splitlines() if finished.code == 0 else []
            version = re.search(r"V([\d.]+)", finished.output) if name == "nvcc" else None
            check.facts[name] = version.group(1) if version else lines[0] if lines else "unknown"
    return None


def results(check: Check, outcomes: dict[str, Outcome], date: str) -> str:
    facts = check.facts
    machine = "no GPU: a dry run on the emulated build"
    if facts["name"]:
        machine = (
            f"{facts['name']} (sm_{facts['arch']}, {facts['multiprocessors']} multiprocessors, "
            f"{facts['memory'] / 2**30:.0f} GiB, {facts['l2'] / 2**20:.0f} MiB of L2)"
        )
    lines = [
        f"# GPU check, {facts['name'] or 'dry run'}, {date}",
        "",
        f"{machine}; driver {facts.get('driver', 'unknown')}, CUDA runtime of torch {facts['cuda']}, "
        f"nvcc {facts.get('nvcc', 'unknown')}, torch {facts['torch']}, numpy {facts['numpy']}, "
        f"Python {facts['python']}, {jobs()} CPUs. Commit {facts.get('commit', 'unknown')}. "
        f"Written by `tools/gpu_check.py` after {time.monotonic() - check.start:.0f} s.",
        "",
        "| step | result | seconds | |",
        "|---|---|---:|---|",
    ]
    for title, outcome in outcomes.items():
        summary = outcome.summary.replace("|", "/")
        lines.append(f"| {title} | {outcome.status} | {outcome.seconds:.0f} | {summary} |")
    for title, outcome in outcomes.items():
        if outcome.detail.strip():
            lines += ["", f"# {title[0].upper()}{title[1:]}", "", outcome.detail.strip()]
    return "\n".join(lines) + "\n"


def write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".part")
    partial.write_text(text)
    partial.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the results and the log of all steps into this folder")
    parser.add_argument("--seconds", type=float, default=BUDGET, help=f"for all steps (default {BUDGET:.0f})")
    parser.add_argument(
        "--installed", action="store_true", help="check the installed vltr of this Python, without a build"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="no GPU: the emulated build, tiny inputs, no results file"
    )
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM also writes the results so far
    BUILD.mkdir(parents=True, exist_ok=True)
    log = BUILD / "gpu_check.log"
    log.unlink(missing_ok=True)
    check = Check(args.dry_run, args.seconds, log)
    if nothing := look(check):
        parser.exit(2, f"gpu_check: {nothing}\n")
    steps = steps_of(check)
    if args.installed:
        shutil.rmtree(SITE, ignore_errors=True)  # an earlier build would come first on the path
        del steps[0]
    outcomes = run_steps(check, steps)
    date = datetime.date.today().isoformat()
    text = results(check, outcomes, date)
    device = re.sub(r"[^a-z0-9]+", "-", (check.facts["name"] or "dry run").lower()).strip("-")
    name = f"{device}-{date}.md"
    folders = [BUILD if check.dry else BENCHMARKS / "results", *([args.out] if args.out else [])]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, text)
    if args.out:
        shutil.copyfile(log, args.out / log.name)
    sys.stdout.write(text.partition("\n# ")[0] + "\n")  # the table of steps
    sys.stderr.write(f"gpu_check: wrote {folders[0] / name}; {log} has the output of each step\n")
    return 0 if all(outcome.status == PASSED for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
