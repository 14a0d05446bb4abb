"""Fuzz every reader: it must read a mutated file or refuse it in one sentence.

A crash, a hang, a wrong number or too much memory is a find.

    make fuzz ARGS="--seconds 600"        or  --count 100000, --seed 7, --only csv, --case 1234

A worker process runs one case after the other. It takes a valid file (`seeds`), mutates it (`mutations`), reads it and
judges the result (`readings`). A case depends only on the seed and its number, so `--case` repeats it. The parent
process ends a worker whose case takes longer than `--limit` seconds. It records each worker that dies, and starts a new
one at the next case.

The memory of a case is the growth of the process's peak resident memory, which /proc/self/clear_refs resets for each
case. The limit is 4 times the file plus 64 MiB. RLIMIT_AS limits memory that is allocated but never touched. Finds are
stored in build/fuzz: the file, and the traceback or the message beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent))

import mutations
import readings
from seeds import Seed, make_seeds

CASES_PER_ROUND = 5_000  # with one set of valid files
MAX_GROWTH = 64 << 20  # bytes beside 4 times the file
_ADDRESS_SPACE = 4 << 30  # bytes beyond those of the idle worker
_USED = 16  # every 16th result is evaluated
_KEPT = 3  # finds stored of one kind

# The formats of torch and pyarrow are chosen less often, because they take about ten times as long.
_WEIGHTS = {"legacy_pt": 1, "zip": 2, "parquet": 1, "npy": 4, "safetensors": 3, "text": 3, "json": 3} | {
    **{"arrow": 1, "pickle": 1, "tfrecord": 1},
}


class Memory:
    """Peak resident memory of this process since the last `reset`."""

    def __init__(self) -> None:
        self._reset = os.open("/proc/self/clear_refs", os.O_WRONLY)
        self._status = os.open("/proc/self/status", os.O_RDONLY)
        self._before = 0

    def reset(self) -> None:
        os.pwrite(self._reset, b"5", 0)
        self._before = self._peak()

    def growth(self) -> int:
        """Bytes by which the peak is above the memory at `reset`."""
        return self._peak() - self._before

    def _peak(self) -> int:
        # getrusage would include the parent's peak.
        return int(re.search(rb"VmHWM:\s*(\d+)", os.pread(self._status, 4096, 0))[1]) << 10


def judge(seed: Seed, path: Path, data: bytes, rng: Random, is_mutated: bool = True) -> str:
    """Read one file and return "read" or "refused".

    Raises:
        Exception: `readings.Fault`, or any error of a reader that is no refusal.
    """
    path.write_bytes(data)
    outcome = readings.outcome_of(seed.target, path)
    result, message = outcome
    if readings.is_text_table(path) and rng.random() < 0.5:
        with readings.with_pyarrow():
            readings.check_same(outcome, readings.outcome_of(seed.target, path))
    if message is not None:
        if not is_mutated and seed.truth is not None:
            raise readings.Fault(f"a valid file is refused: {message}")
        return "refused"
    if not is_mutated and seed.truth is not None:
        readings.check_truth(result, seed.truth)
    readings.check_values(seed.target, path, data, result)
    if seed.target == "scores" and rng.randrange(_USED) == 0:
        readings.check_use(result)
    return "read"


def make_case(seed_number: int, case: int, seeds: list[Seed]) -> tuple[Seed, bytes, Random]:
    """Return the valid file and the mutated content of one case."""
    rng = Random(f"{seed_number}:{case}")
    chosen = rng.choices(seeds, [_WEIGHTS[seed.format] for seed in seeds])[0]
    return chosen, mutations.mutate(rng, chosen.format, chosen.data), rng


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def seeds_of_round(seed_number: int, number: int, only: str | None) -> list[Seed]:
    seeds = make_seeds(Random(f"{seed_number}:round {number}"))
    return [seed for seed in seeds if only in (None, seed.format, seed.suffix.lstrip("."), seed.target)]


# The worker


def work(options: argparse.Namespace, first: int, stop_at: float, state: Path, log: Path) -> None:
    """Run cases until the time or the count is over, and write the number and the file of each into ``state``."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    faulthandler.enable()
    memory = Memory()
    folder = state.parent
    current = os.open(state, os.O_RDWR | os.O_CREAT)
    counts: Counter[str] = Counter()
    largest, kept, seeds, round_number = 0, Counter(), [], -1
    case = first
    while time.time() < stop_at and (options.count is None or case < options.count):
        if case // CASES_PER_ROUND != round_number:
            round_number = case // CASES_PER_ROUND
            os.pwrite(current, f"{case:<12} making round {round_number}\n".ljust(200).encode(), 0)
            seeds = seeds_of_round(options.seed, round_number, options.only)
            check_seeds(options, seeds, folder, case, counts, kept)
            _save_counts(folder, counts, largest, case)
            gc.freeze()
            if round_number == first // CASES_PER_ROUND:
                limit_address_space()
        chosen, data, rng = make_case(options.seed, case, seeds)
        path = folder / f"file{chosen.suffix}"
        os.pwrite(current, f"{case:<12} {chosen.format} {chosen.target} {path}\n".ljust(200).encode(), 0)
        memory.reset()
        kind = f"{chosen.suffix[1:]} {chosen.target}"
        try:
            counts[f"{kind} {judge(chosen, path, data, rng)}"] += 1
            growth = memory.growth()
            largest = max(largest, growth - 4 * len(data))
            if growth > 4 * len(data) + MAX_GROWTH:
                raise readings.Fault(f"{growth:,} bytes of memory for a file of {len(data):,} bytes")
        except Exception as error:
            counts[f"{kind} FOUND"] += 1
            keep(options.finds, kept, error, case, chosen, data)
        case += 1
        if case % 500 == 0:
            _save_counts(folder, counts, largest, case)
    _save_counts(folder, counts, largest, case)


def check_seeds(options, seeds, folder, case, counts, kept) -> None:
    """Read the valid files and compare them with the values that were written."""
    for seed in seeds:
        try:
            judge(seed, folder / f"file{seed.suffix}", seed.data, Random(0), is_mutated=False)
            counts["valid files read"] += 1
        except Exception as error:
            counts["valid files FOUND"] += 1
            keep(options.finds, kept, error, case, seed, seed.data)


def limit_address_space() -> None:
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (own + _ADDRESS_SPACE, own + _ADDRESS_SPACE))


def keep(finds: Path, kept: Counter[str], error: Exception, case: int, seed: Seed, data: bytes) -> None:
    """Store a find, unless enough of its kind are stored."""
    frames = traceback.extract_tb(error.__traceback__)
    own = next((frame for frame in reversed(frames) if "/vltr_" in frame.filename), frames[-1])
    kind = f"{type(error).__name__}-{Path(own.filename).stem}-{own.lineno}"
    if isinstance(error, readings.Fault):
        kind = "Fault-" + "".join(c if c.isalpha() else "_" for c in str(error).split(":")[0])[:40]
    kind = f"{seed.suffix[1:]}-{seed.target}-{kind}"
    kept[kind] += 1
    if kept[kind] > _KEPT:
        return
    finds.mkdir(parents=True, exist_ok=True)
    (finds / f"{kind}-{case}{seed.suffix}").write_bytes(data)
    (finds / f"{kind}-{case}.txt").write_text("".join(traceback.format_exception(error)))
    say(f"case {case}: {kind}: {str(error)[:300]}")


def _save_counts(folder: Path, counts: Counter[str], largest: int, case: int) -> None:
    (folder / "counts.new").write_text(json.dumps({"counts": counts, "largest": largest, "case": case}))
    os.replace(folder / "counts.new", folder / "counts.json")


# The parent


def run(options: argparse.Namespace) -> tuple[Counter[str], int]:
    """Run workers one after the other.

    Returns:
        The number of each outcome, and the largest growth of memory beyond 4 times the file, in bytes.
    """
    total: Counter[str] = Counter()
    largest, first, stop_at = 0, options.first, time.time() + options.seconds
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="vltr-fuzz-", dir=shm) as temporary:
        folder = Path(temporary)
        while time.time() < stop_at and (options.count is None or first < options.count):
            state, log = folder / "state", folder / "log"
            state.write_text(f"{first:<12} starting")
            (folder / "counts.json").unlink(missing_ok=True)
            arguments = (options, first, stop_at, state, log)
            worker = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
            worker.start()
            reason = _watch(worker, state, options.limit)
            counts, highest = _saved_counts(folder)
            total += counts
            largest = max(largest, highest)
            if reason is None:
                break
            case, described = int(state.read_text()[:12]), state.read_text()[12:].strip()
            if reason.startswith("exit") or described.startswith(("starting", "making")):
                say(f"the harness itself failed: {reason}\n{log.read_text(errors='replace')}")
                total["FOUND a fault of the harness"] += 1
                break
            total[f"FOUND {reason}"] += 1
            _keep_end(options.finds, reason, case, described, log)
            first = case + 1
    return total, largest


def _watch(worker, state: Path, limit: float) -> str | None:
    """Wait for the end of a worker; return the reason if the end was not planned."""
    seen, since = "", time.time()
    while worker.is_alive():
        worker.join(0.2)
        now = state.read_text()[:12]
        if now != seen or "making" in state.read_text() or "starting" in state.read_text():
            seen, since = now, time.time()
        elif time.time() - since > limit:
            os.kill(worker.pid, signal.SIGABRT)  # faulthandler writes the stack
            worker.join(5)
            if worker.is_alive():
                worker.kill()
                worker.join()
            return f"hang of more than {limit:g} s"
    if worker.exitcode == 0:
        return None
    return f"death by signal {-worker.exitcode}" if worker.exitcode < 0 else f"exit {worker.exitcode}"


def _saved_counts(folder: Path) -> tuple[Counter[str], int]:
    with contextlib.suppress(FileNotFoundError):
        saved = json.loads((folder / "counts.json").read_text())
        return Counter(saved["counts"]), saved["largest"]
    return Counter(), 0


def _keep_end(finds: Path, reason: str, case: int, described: str, log: Path) -> None:
    finds.mkdir(parents=True, exist_ok=True)
    name = finds / f"{reason.replace(' ', '-')}-{case}"
    path = Path(described.split()[-1])
    if path.is_file():
        shutil.copy(path, f"{name}{path.suffix}")
    Path(f"{name}.txt").write_text(described + "\n" + log.read_text(errors="replace"))
    say(f"case {case}: {reason}: {described}")


def summary(total: Counter[str], largest: int, seconds: float) -> str:
    """Return the figures of a run: files by format and outcome, time and memory."""
    rows: dict[str, Counter[str]] = {}
    for name, number in total.items():
        kind, _, outcome = name.rpartition(" ")
        if outcome in ("read", "refused", "FOUND"):
            rows.setdefault(kind, Counter())[outcome] += number
    lines = [f"{'files':<28}{'read':>10}{'refused':>10}{'found':>8}"]
    lines += [
        f"{kind:<28}{row['read']:>10,}{row['refused']:>10,}{row['FOUND']:>8,}" for kind, row in sorted(rows.items())
    ]
    lines += [f"{name}: {number}" for name, number in total.items() if name.startswith("FOUND ")]
    files = sum(row.total() for kind, row in rows.items() if kind != "valid files")
    lines.append(f"{files:,} mutated files in {seconds:,.0f} s ({files / max(seconds, 1e-9):,.0f} a second)")
    lines.append(f"largest memory beyond 4 times the file: {max(largest, 0) / 2**20:.1f} MiB of {MAX_GROWTH >> 20} MiB")
    return "\n".join(lines)


def num_found(total: Counter[str]) -> int:
    return sum(number for name, number in total.items() if "FOUND" in name)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fuzz every reader of vltr.")
    parser.add_argument("--seconds", type=float, default=60, help="time to run")
    parser.add_argument("--count", type=int, help="end before this case; --seconds can end the run earlier")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0, help="seed of the files and mutations")
    parser.add_argument("--only", help="run one format, suffix or reader only, such as csv, npz, parquet or ids")
    parser.add_argument("--limit", type=float, default=20, help="seconds for one file")
    parser.add_argument("--finds", type=Path, default=Path("build/fuzz"), help="folder for the finds")
    parser.add_argument("--case", type=int, help="run only this case, in this process")
    options = parser.parse_args(arguments)
    if options.case is not None:
        seeds = seeds_of_round(options.seed, options.case // CASES_PER_ROUND, options.only)
        chosen, data, rng = make_case(options.seed, options.case, seeds)
        path = Path(tempfile.mkdtemp()) / f"file{chosen.suffix}"
        say(chosen.format, chosen.target, path, data[:2000])
        say(judge(chosen, path, data, rng))
        return 0
    start = time.time()
    total, largest = run(options)
    say(summary(total, largest, time.time() - start))
    return 1 if num_found(total) else 0


if __name__ == "__main__":
    sys.exit(main())
