"""Compare, measure, test, sanitize and train on a machine with an NVIDIA GPU, in one or several short visits.

    python3 tools/gpu_check.py                    420 seconds, offline; writes benchmarks/results/gpu-<device>.md
    python3 tools/gpu_check.py --budget 200       a shorter visit
    python3 tools/gpu_check.py --out DIR          also write the results and the log into DIR
    python3 tools/gpu_check.py --again headline   repeat a stage that is done
    python3 tools/gpu_check.py --dry-run          without a GPU, on the emulated build and tiny inputs

The stages run in the order of their value until the budget is spent, and the results are written after each. The next
visit continues with the stages that are missing or were cut short, and repeats those whose sources have changed.

The script needs Python 3.10 or later with torch and numpy. It installs the wheel in build/gpu-wheel
(`tools/gpu_wheel.py`) into build/gpu; without one that fits it compiles, with nvcc, a C++ compiler and CMake. The tests
need pytest, hypothesis, ml_dtypes, scipy and scikit-learn; compute-sanitizer and the peers are optional.
Exit status 0: every stage passed; 1: one failed; 3: none failed, but one lacked time, or a program or package that is
not on the machine.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from pathlib import Path

from gpu import source, wheel
from gpu.build import install
from gpu.commands import PASSED, Outcome, Runner
from gpu.machine import installed_package, look
from gpu.record import Record
from gpu.stages import STAGES
from gpu.visit import BUDGET, Visit, environment_of, run_stages, say

FOLDER = source.ROOT / "build" / "gpu"
RESULTS = source.ROOT / "benchmarks" / "results"
MOST_BUILDING = 300.0  # seconds


def parsed() -> argparse.Namespace:
    names = [stage.name for stage in STAGES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=BUDGET, help=f"seconds in all (default {BUDGET:.0f})")
    parser.add_argument("--out", type=Path, help="also write the results and the log into this folder")
    parser.add_argument("--only", nargs="+", choices=names, metavar="STAGE", help=f"some of {', '.join(names)}")
    parser.add_argument("--again", nargs="+", choices=names, metavar="STAGE", default=[], help="repeat these")
    parser.add_argument("--wheels", type=Path, default=wheel.FOLDER, help="folder of the wheel (build/gpu-wheel)")
    parser.add_argument("--installed", action="store_true", help="check the vltr that this Python imports already")
    parser.add_argument("--dry-run", action="store_true", help="no GPU: the emulated build, tiny inputs")
    return parser.parse_args()


def arrive(args: argparse.Namespace, start: float) -> Visit:
    """Look at the machine, and begin the log. start: when the budget's clock began.

    Raises:
        ValueError: There is nothing to check here.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    log = FOLDER / "gpu_check.log"
    log.unlink(missing_ok=True)
    reports = args.out or FOLDER
    reports.mkdir(parents=True, exist_ok=True)
    runner = Runner(FOLDER / "work", log)
    machine = look(runner, needs_device=not args.dry_run)
    made = wheel.find(args.wheels)
    of_wheel = made.commit if made and made.package == source.fingerprint() else None
    commit = source.commit() or of_wheel or f"sources {source.fingerprint()}"
    visit = Visit(args.dry_run, args.budget, FOLDER, args.wheels, reports, runner, machine, commit, start)
    if args.installed:
        visit.commit, visit.installed = installed_package(runner)
    else:
        runner.environment = environment_of(visit.site)
    return visit


def build(visit: Visit, args: argparse.Namespace) -> Outcome:
    if args.installed:
        return Outcome(PASSED, f"the package that is {visit.commit}")
    most = visit.budget if visit.dry else min(MOST_BUILDING, visit.seconds_left())
    say(f"build (at most {most:.0f} s) ... ")
    outcome = install(visit, most)
    say(f"{outcome.status}: {outcome.summary}\n")
    return outcome


def main() -> int:
    start = time.monotonic()
    args = parsed()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that SIGTERM also records the stage it interrupts
    try:
        visit = arrive(args, start)
    except ValueError as error:
        say(f"gpu_check: {error}\n")
        return 2
    built = build(visit, args)
    if built.status != PASSED:
        say(f"gpu_check: there is no build\n{built.detail}\n")
        return 1
    chosen = [stage for stage in STAGES if args.only is None or stage.name in args.only]
    folders = [FOLDER if args.dry_run else RESULTS, *([args.out] if args.out else [])]
    record = Record(visit.machine, built.summary, folders, [stage.name for stage in STAGES])
    record.load()
    run_stages(visit, record, chosen, args.again)
    record.write()
    if args.out:
        shutil.copyfile(visit.runner.log, args.out / visit.runner.log.name)
    sys.stdout.write(record.table())
    say(f"gpu_check: wrote {folders[0] / visit.machine.stem}.md; {visit.runner.log} has all output\n")
    return record.exit_status([stage.name for stage in chosen])


if __name__ == "__main__":
    sys.exit(main())
