"""Report registers, spills and occupancy of each kernel, and lower bounds of its time. It needs no GPU.

    python tools/kernel_resources.py            compiles csrc/cuda for sm_80 and sm_90 (minutes)
    python tools/kernel_resources.py --print    only prints the report

Needs nvcc. The instruction counts also need cuobjdump, from the toolkit or from these wheels:

    pip install --target build/cuda-tools --no-deps nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm
    python tools/kernel_resources.py --tools build/cuda-tools/nvidia/cu13/bin

Objects stay in build/kernel-resources. A source that is newer than its object is compiled again. The report goes to
benchmarks/results/kernels-sm80-sm90.md.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from _lib.machine import RESULTS, ROOT
from _lib.tables import duration, figure, size, table

BUILD = ROOT / "build" / "kernel-resources"
RESULT = RESULTS / "kernels-sm80-sm90.md"
FLAGS = ("-std=c++17", "-O3", "-fmad=false", "--extended-lambda", "-Xptxas", "-v", "-Icsrc")

ELEMENTS = (
    "bool", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned int", "long", "unsigned long",
    "float", "double", "Float16", "BFloat16",
)  # fmt: skip
WIDE_LANES = {"int": "double", "unsigned int": "double", "double": "double", "long": "long", "unsigned long": "long"}


@dataclass(frozen=True)
class Processor:
    """A GPU and its multiprocessors, from the vendor's tables."""

    name: str
    arch: int
    shared_bytes: int  # of a multiprocessor; each block reserves 1 KiB of it
    multiprocessors: int
    bandwidth: float  # bytes a second, from the datasheet
    clock: float  # Hz, boost
    warps: int = 64
    blocks: int = 32
    registers: int = 65_536

    def resident_blocks(self, threads: int, registers: int, shared: int) -> int:
        """Return the number of blocks of a kernel that a multiprocessor holds at once."""
        warps = -(-threads // 32)
        registers_of_warp = -(-registers * 32 // 256) * 256
        by_registers = self.registers // registers_of_warp // 4 * 4 // warps  # a warp stays on one of four schedulers
        shared_of_block = -(-(shared + 1024) // 128) * 128
        return min(self.blocks, self.warps // warps, by_registers, self.shared_bytes // shared_of_block)

    def occupancy(self, threads: int, registers: int, shared: int) -> float:
        return self.resident_blocks(threads, registers, shared) * -(-threads // 32) / self.warps

    @property
    def instructions(self) -> float:
        """Warp instructions issued a second at most: one a clock by each of a multiprocessor's four schedulers."""
        return 4 * self.multiprocessors * self.clock


H200 = Processor("H200", 90, 228 << 10, 132, 4.8e12, 1.98e9)
A100 = Processor("A100", 80, 164 << 10, 108, 2.04e12, 1.41e9)


@dataclass
class Kernel:
    """One compiled kernel on one architecture."""

    source: str  # file
    mangled: str
    registers: int = 0
    stack: int = 0
    spilled: int = 0  # bytes of spill stores and loads
    shared: int = 0  # static
    threads: int = 0
    uses_dynamic: bool = False

    @functools.cached_property
    def name(self) -> str:
        """The name with template arguments, without namespaces, return type and parameters."""
        text = demangle(self.mangled)
        for pattern in (r"\(anonymous namespace\)::", r"_GLOBAL__N__\w+::", r"\bvltr::cuda::", r"\bvltr::"):
            text = re.sub(pattern, "", text)
        text = text.removeprefix("void ").replace(" >", ">")
        depth = 0
        for at, letter in enumerate(text):
            depth += {"<": 1, ">": -1}.get(letter, 0)
            if letter == "(" and depth == 0:
                return text[:at]
        return text

    @property
    def elements(self) -> list[str]:
        """The element types among the template arguments."""
        return [word for word in re.split(r"[<>,]\s*", self.name)[1:] if word.strip() in ELEMENTS]

    @property
    def family(self) -> str:
        """The name with T for each element type."""
        types = "|".join(sorted(ELEMENTS, key=len, reverse=True))
        return re.sub(rf"(?<=[<, ])({types})(?=\s*[,>])", "T", self.name)


@functools.cache
def demangle(name: str) -> str:
    tool = shutil.which("cu++filt") or shutil.which("c++filt")
    return run([tool, name]).strip() if tool else name


def run(command: Iterable[str | Path]) -> str:
    """Return a command's output, with stderr. If it fails, exit with its output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"kernel_resources: {' '.join(map(str, command))[:200]}: {done.stdout.strip()[-2000:]}")
    return done.stdout


# Compiling


def nvcc() -> str:
    for path in (os.environ.get("CUDACXX"), shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"):
        if path and Path(path).exists():
            return path
    sys.exit("kernel_resources: expected nvcc on the PATH or as CUDACXX, found none")


def compile_source(source: Path, arch: int, youngest: float) -> Path:
    """Return the folder with a file's cubin, PTX and resource report. Compile if it is older than the sources."""
    folder = BUILD / f"{source.stem}-sm{arch}"
    report = folder / "resources.txt"
    if not report.exists() or report.stat().st_mtime < youngest:
        sys.stderr.write(f"kernel_resources: {source.name} for sm_{arch}\n")
        folder.mkdir(parents=True, exist_ok=True)
        target = f"-gencode=arch=compute_{arch},code=sm_{arch}"
        command = [
            nvcc(),
            *FLAGS,
            target,
            "-cubin",
            "--keep",
            "--keep-dir",
            folder,
            "-o",
            folder / "kernels.cubin",
            source,
        ]
        report.write_text(run(command))
        for leftover in (*folder.glob("*.ii"), *folder.glob("*.c"), *folder.glob("*.gpu")):
            leftover.unlink()
    return folder


def kernels_of(source: Path, folder: Path) -> list[Kernel]:
    """Read the kernels from the resource report of ptxas, and the threads of a block from the PTX."""
    kernels: dict[str, Kernel] = {}
    entry, subject = "", ""
    for line in (folder / "resources.txt").read_text().splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            entry = match.group(1)
            kernels[entry] = Kernel(source.name, entry)
        elif match := re.search(r"Function properties for (\w+)", line):
            subject = match.group(1)
        elif (match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes", line)) and entry:
            kernel = kernels[entry]  # a function that is not inlined counts for its kernel
            kernel.stack = max(kernel.stack, int(match.group(1))) if subject != entry else int(match.group(1))
            kernel.spilled += int(match.group(2)) + int(match.group(3))
        elif (match := re.search(r"Used (\d+) registers", line)) and entry:
            kernels[entry].registers = int(match.group(1))
            shared = re.search(r"(\d+) bytes smem", line)
            kernels[entry].shared = int(shared.group(1)) if shared else 0
    for ptx in folder.glob("*.ptx"):
        # An entry extends from its name to the closing brace in the first column.
        for name, head, body in re.findall(r"\.entry (\w+)\((.*?)^\{(.*?)^\}", ptx.read_text(), re.M | re.S):
            if name in kernels:
                threads = re.search(r"\.maxntid (\d+)(?:, (\d+))?(?:, (\d+))?", head)
                kernels[name].threads = math.prod(int(n) for n in threads.groups() if n) if threads else 1024
                kernels[name].uses_dynamic = "vltr_dynamic_shared" in body
    return list(kernels.values())


def dynamic_bytes(youngest: float) -> dict[str, int]:
    """Return the bytes of dynamic shared memory of a block of the counting kernels, by the type of a lane."""
    folder = BUILD / "dynamic-shared"
    result = folder / "probe.ptx"
    if not result.exists() or result.stat().st_mtime < youngest:
        sys.stderr.write("kernel_resources: size of the dynamic shared memory\n")
        folder.mkdir(parents=True, exist_ok=True)
        lanes = (("float", "float"), ("double", "double"), ("long", "std::int64_t"))
        probes = [
            f'extern "C" __device__ unsigned char bytes_of_{lane}[sizeof(vltr::cuda::SharedMemory<{type_name}>)];'
            for lane, type_name in lanes
        ]
        (folder / "probe.cu").write_text('#include "cuda/rank_scan.cu"\n' + "\n".join(probes) + "\n")
        flags = [flag for flag in FLAGS if flag not in ("-Xptxas", "-v")]
        run([nvcc(), *flags, "-arch=compute_90", "-ptx", "-o", result, folder / "probe.cu"])
    return {lane: int(count) for lane, count in re.findall(r"bytes_of_(\w+)\[(\d+)\]", result.read_text())}


def lane_of(kernel: Kernel) -> str:
    return WIDE_LANES.get(kernel.elements[0], "float") if kernel.elements else "float"


# Instructions


@dataclass(frozen=True)
class Instruction:
    address: int
    predicated: bool
    opcode: str
    target: int | None  # of a branch


def disassemble(cuobjdump: str, cubin: Path, mangled: str) -> list[Instruction]:
    text = run([cuobjdump, "-sass", "-fun", mangled, cubin])
    pattern = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+ )?\s*([A-Z][\w.]*)(.*?);", re.MULTILINE)
    listing = []
    for address, predicate, opcode, rest in pattern.findall(text):
        jump = re.search(r"0x([0-9a-f]+)\s*$", rest.strip()) if opcode == "BRA" else None
        guarded = bool(predicate) or (bool(re.match(r"\s*!?U?P\d", rest)) and opcode == "BRA")
        listing.append(Instruction(int(address, 16), guarded, opcode, int(jump.group(1), 16) if jump else None))
    return listing


@dataclass(frozen=True)
class Loop:
    """The instructions from the target of a backward branch to that branch."""

    listing: tuple[Instruction, ...]

    @property
    def first(self) -> int:
        return self.listing[0].address

    @property
    def last(self) -> int:
        return self.listing[-1].address

    def count(self, opcode: str) -> int:
        return sum(instruction.opcode.startswith(opcode) for instruction in self.listing)

    def inside(self, other: Loop) -> bool:
        return other.first <= self.first and self.last <= other.last and self != other

    def cheapest(self, **passing: int) -> int | None:
        """Return the fewest instructions of one iteration with exactly this many of each named opcode.

        Other opcodes are free. Each inner loop runs once. None if no such iteration exists.
        """
        names = list(passing)
        end = self.last
        index = {instruction.address: at for at, instruction in enumerate(self.listing)}
        best: list[dict[tuple[int, ...], int]] = [{} for _ in self.listing]
        best[0][(0,) * len(names)] = 0
        for at, instruction in enumerate(self.listing):
            for passed, cost in best[at].items():
                now = tuple(n + instruction.opcode.startswith(name) for n, name in zip(passed, names, strict=True))
                if any(n > passing[name] for n, name in zip(now, names, strict=True)):
                    continue
                if instruction.address == end:
                    if now == tuple(passing.values()):
                        return cost + 1
                    continue
                goes = []
                if instruction.target is not None and instruction.target > instruction.address:
                    goes.append(index.get(instruction.target))
                if instruction.target is None or instruction.predicated or instruction.target <= instruction.address:
                    goes.append(at + 1)
                for to in goes:
                    if to is not None and to < len(best) and instruction.opcode != "EXIT":
                        best[to][now] = min(cost + 1, best[to].get(now, sys.maxsize))
        return None


def loops_of(listing: list[Instruction]) -> list[Loop]:
    """Return all loops, the longest first. A backward branch behind an EXIT belongs to a rare branch and is no loop."""
    index = {instruction.address: at for at, instruction in enumerate(listing)}
    loops = [
        Loop(tuple(listing[index[instruction.target] : at + 1]))
        for at, instruction in enumerate(listing)
        if instruction.target is not None and instruction.target < instruction.address and instruction.target in index
    ]
    return sorted((loop for loop in loops if not loop.count("EXIT")), key=lambda loop: -len(loop.listing))


@dataclass
class Counting:
    """Warp instructions for 32 scores in the loop that counts float32 scores by row."""

    rows: int  # rows of a lane in one iteration
    compare: float  # to compare and to queue
    drain: float  # to search and count 32 survivors, without the steps of the search
    step: int  # for one step of the search

    def per_row(self, survivors: float, steps: float) -> float:
        """Return the instructions for 32 scores. survivors: share of scores at or above the lowest threshold."""
        return self.compare + survivors * (self.drain + steps * self.step)


@dataclass
class Effects:
    """Warp instructions for 32 scores in the loops that add the effects of rows of float32 scores."""

    load: float  # to bring them into shared memory
    add: float  # to find and add the effects on one metric, without the steps of the search
    step: int  # for one step of the search

    def per_row(self, steps: float) -> float:
        return self.load + self.add + steps * self.step


# The report


def spread(values: Iterable[int]) -> str:
    low, high = min(values := list(values)), max(values)
    return f"{low:,}" if low == high else f"{low:,} - {high:,}"


def share(values: Iterable[float]) -> str:
    low, high = min(values := list(values)), max(values)
    return f"{low:.0%}" if low == high else f"{low:.0%} - {high:.0%}"


def resources_table(kernels: dict[int, list[Kernel]], dynamic: dict[str, int]) -> str:
    families: dict[tuple[str, str], dict[int, list[Kernel]]] = defaultdict(lambda: defaultdict(list))
    for arch, compiled in kernels.items():
        for kernel in compiled:
            families[kernel.source, kernel.family][arch].append(kernel)

    def block_bytes(kernel: Kernel) -> int:
        return kernel.shared + (dynamic.get(lane_of(kernel), 0) if kernel.uses_dynamic else 0)

    rows = []
    for (source, family), by_arch in sorted(families.items()):
        old, new = by_arch[A100.arch], by_arch[H200.arch]
        everything = old + new
        rows.append(
            (
                f"`{family}`",
                source,
                str(len(new)),
                spread(kernel.threads for kernel in new),
                spread(kernel.registers for kernel in old),
                spread(kernel.registers for kernel in new),
                spread(kernel.stack for kernel in everything),
                spread(kernel.spilled for kernel in everything),
                spread(kernel.shared for kernel in new),
                spread(dynamic.get(lane_of(kernel), 0) for kernel in new) if new[0].uses_dynamic else "-",
                share(A100.occupancy(kernel.threads, kernel.registers, block_bytes(kernel)) for kernel in old),
                share(H200.occupancy(kernel.threads, kernel.registers, block_bytes(kernel)) for kernel in new),
            )
        )
    head = (
        "kernel", "file", "element types", "threads", "registers sm_80", "registers sm_90", "stack", "spills",
        "static shared", "dynamic shared", "occupancy A100", "occupancy H200",
    )  # fmt: skip
    return table(head, rows, left=2)


@dataclass
class Facts:
    """The numbers for the text below the table. None marks a number that could not be read."""

    threads: int = 0  # of a block of the counting kernel
    registers: int = 0
    blocks: int = 0  # of the counting kernel on a multiprocessor of an H200
    blocks_requested: int = 0  # by the size of the grid
    counting: Counting | None = None
    labels: int | None = None  # warp instructions for 2,048 labels without a positive
    draw: int | None = None  # warp instructions for 32 draws, at most
    effects: Effects | None = None
    copies: dict[str, float] = field(default_factory=dict)  # warp instructions for 512 bytes, by kernel


def gather_facts(kernels: list[Kernel], dynamic: dict[str, int], cuobjdump: str | None) -> Facts:
    """Collect the facts. kernels: those of sm_90."""
    by_name = {kernel.name: kernel for kernel in kernels}
    facts = Facts()
    constant = re.search(r"kBlocksPerProcessor = (\d+)", (ROOT / "csrc/cuda/rank_scan.cu").read_text())
    facts.blocks_requested = int(constant.group(1)) if constant else 0

    def kernel_named(name: str) -> Kernel:
        if name not in by_name:
            near = ", ".join(other for other in by_name if other.startswith(name.partition("<")[0])) or "none like it"
            sys.exit(f"kernel_resources: expected a kernel {name}, found {near}; correct the name in gather_facts")
        return by_name[name]

    counting = kernel_named(COUNTING)
    shared = counting.shared + dynamic.get("float", 0)
    facts.threads, facts.registers = counting.threads, counting.registers
    facts.blocks = H200.resident_blocks(counting.threads, counting.registers, shared)

    def loops(name: str) -> list[Loop]:
        kernel = kernel_named(name)
        if cuobjdump is None:
            return []
        cubin = BUILD / f"{Path(kernel.source).stem}-sm{H200.arch}" / "kernels.cubin"
        return loops_of(disassemble(cuobjdump, cubin, kernel.mangled))

    facts.counting = read_counting(loops(COUNTING))
    facts.labels = read_labels(loops("collect_positives<DenseLabels<bool>>"))
    facts.draw = read_draw(loops("sample<float, 32, false>"))
    facts.effects = read_effects(loops("add_effects<float, false>"))
    for name in ("frame_stack_kernel<16>", "gather_frames_kernel<CopyBits<16>>"):
        copying = [loop for loop in loops(name) if loop.count("STG.E.128") > 1 and loop.count("LDS")]
        if copying:
            shortest = min(copying, key=lambda loop: len(loop.listing))
            facts.copies[name] = len(shortest.listing) / shortest.count("STG.E.128")
    return facts


def read_counting(loops: list[Loop]) -> Counting | None:
    """Read the counting loop and its inner loops. It queues a byte for each row of a lane; an inner loop drains it."""
    main = next((loop for loop in loops if loop.count("STS.U8") > 1), None)
    if main is None:
        return None
    rows = main.count("STS.U8")
    compared = main.cheapest(**{"LDG": rows, "STS.U8": rows, "ATOMS": 0, "RED": 0})
    drains = [loop for loop in loops if loop.inside(main) and loop.count("ATOMS") == 1]
    drained = min((cost for loop in drains if (cost := loop.cheapest(ATOMS=1, LDG=0, RED=0))), default=None)
    steps = [
        len(loop.listing)
        for loop in loops
        if any(loop.inside(drain) for drain in drains) and loop.count("LDS") and not loop.count("LDG")
    ]
    if compared is None or drained is None or not steps:
        return None
    step = min(steps)
    return Counting(rows, compared / rows, drained - step, step)


def read_labels(loops: list[Loop]) -> int | None:
    """Count the instructions of the loop that loads whole vectors, on its path without single elements."""
    loop = next((loop for loop in loops if loop.count("LDG.E.128")), None)
    return loop and loop.cheapest(**{"LDG.E.128": loop.count("LDG.E.128"), "LDG.E.U8": 0, "ATOMG": 0})


def read_draw(loops: list[Loop]) -> int | None:
    """Count the instructions of the loop over draws, with all rounds of the permutation and all steps of a search."""
    main = next((loop for loop in loops if loop.count("ATOMS") == 1), None)
    if main is None:
        return None
    inside = [loop for loop in loops if loop.inside(main)]
    innermost = [loop for loop in inside if not any(other.inside(loop) for other in inside)]
    rounds = max((len(loop.listing) for loop in innermost if not loop.count("LDG")), default=0)
    step = max((len(loop.listing) for loop in innermost if loop.count("LDG")), default=0)
    return len(main.listing) + DRAW_ROUNDS * rounds + SEARCH_STEPS * step


def read_effects(loops: list[Loop]) -> Effects | None:
    """Read the loop that loads a tile, the loop over its classes, and the search among thresholds in shared memory."""
    tile = next((loop for loop in loops if loop.count("LDG") > 8 and not loop.count("RED")), None)
    per_class = min((loop for loop in loops if loop.count("RED") > 1), key=lambda loop: len(loop.listing), default=None)
    if tile is None or per_class is None:
        return None
    # The first step of a search is outside of its loop. With one metric there is one load from device memory.
    steps = [len(loop.listing) for loop in loops if loop.inside(per_class) and not loop.count("LDG")]
    added = per_class.cheapest(LDG=1, RED=0)
    if added is None or not steps:
        return None
    return Effects(len(tile.listing) / tile.count("LDG"), added - 2 * min(steps), min(steps))


COUNTING = "count_by_row<float, false>"  # false: without unknown cells
NOT_MEASURED = "**NOT YET MEASURED: no GPU was available.**"

# VideoLT's test shape, the positives of its labels, and the share of scores that survives the comparison (results/).
ROWS, CLASSES, POSITIVES = 51_239, 1_004, 56_170
SURVIVORS = {"good": 0.25, "poor": 0.82}
SEARCH_STEPS = math.ceil(math.log2(POSITIVES / CLASSES))  # for the thresholds of an average class
DRAW_ROUNDS = 8  # at most, in the keyed permutation
CLIP_BYTES = 4 * 128 * 60 * 2048
LAUNCH = 4e-6  # seconds to launch a kernel from torch
HOST_BANDWIDTH = 1e10  # bytes a second between host and device; an assumption


def reasoning(facts: Facts) -> str:
    """Return, for each target, a lower bound from bytes and, if they could be read, from instructions."""
    return "\n".join(
        (
            "## Lower bounds from bytes and instructions\n",
            paragraph(
                f"{NOT_MEASURED} These bounds are arithmetic. Bytes are divided by {H200.bandwidth / 1e12:.1f} TB/s, "
                "the bandwidth in the datasheet of an H200. Instructions, counted in the machine code of sm_90, are "
                f"divided by {H200.instructions / 1e9:,.0f} billion warp instructions a second (full issue: "
                f"{H200.multiprocessors} multiprocessors, four a clock, {H200.clock / 1e9:.2f} GHz). No kernel reaches "
                "these bounds: latency, launches, waits for the host and conflicts add to them."
            ),
            average_precision_text(facts),
            effects_text(facts),
            trials_text("SAP 15 adds at most 20 %", 15, facts),
            trials_text("1,000 trials in under 20 ms", 1_000, facts),
            gather_text("frame_stack", "frame_stack_kernel<16>", facts),
            gather_text("gather_frames", "gather_frames_kernel<CopyBits<16>>", facts),
            torchmetrics_text(),
        )
    )


def average_precision_text(facts: Facts) -> str:
    scores, labels = 4 * ROWS * CLASSES, ROWS * CLASSES
    one_read = (scores + labels) / H200.bandwidth
    enough = facts.blocks >= facts.blocks_requested
    parts = [
        heading(f"AP of {ROWS:,} x {CLASSES:,} float32 with bool labels: at most 3 times one read of both"),
        bullet(
            f"Scores {size(scores)}, labels {size(labels)}: one read takes {duration(one_read)}, so the target is "
            f"{duration(3 * one_read)} for the whole call. Each is read once; all other data (positives, thresholds, "
            "buckets) are under 3 MiB. Some fifteen launches and three waits for the host (the number of positives, "
            "the check for NaN, the result), a few us each, take about as long again."
        ),
        bullet(
            f"A multiprocessor holds {facts.blocks} blocks of the counting kernel ({facts.threads} threads, "
            f"{facts.registers} registers each), and the grid has {facts.blocks_requested} for each multiprocessor"
            + ("." if enough else ": **some of them wait for a second round.**")
        ),
    ]
    if facts.labels is not None:
        at_issue = facts.labels * labels / 2048 / H200.instructions
        parts.append(
            bullet(
                f"Labels: {facts.labels:,} warp instructions for 2,048 labels without a positive, "
                f"{duration(at_issue)} at full issue, against {duration(labels / H200.bandwidth)} for their bytes."
            )
        )
    if facts.counting is None:
        return "".join([*parts, bullet("The instructions of the counting loop could not be read.")])
    counting = facts.counting
    rows = []
    for quality, survivors in SURVIVORS.items():
        instructions = counting.per_row(survivors, SEARCH_STEPS)
        at_issue = instructions * ROWS * CLASSES / 32 / H200.instructions
        of_read = at_issue / (scores / H200.bandwidth)
        rows.append((quality, f"{survivors:.0%}", figure(instructions), duration(at_issue), figure(of_read)))
    parts += [
        bullet(
            f"To count 32 scores of a warp ({counting.rows} of each lane in an iteration), the loop needs "
            f"{figure(counting.compare)} instructions to compare and to queue them, {figure(counting.drain)} more to "
            f"count 32 scores of the queue, and {counting.step} for each step of their "
            f"search ({SEARCH_STEPS} for the {POSITIVES / CLASSES:.0f} thresholds of an average class):"
        ),
        "\n",
        table(("model", "survivors", "instructions for 32 scores", "at full issue", "/ reading the scores"), rows),
    ]
    return "".join(parts)


def effects_text(facts: Facts) -> str:
    scores, table_bytes, sum_bytes = 4 * ROWS * CLASSES, 3 * 8 * POSITIVES, 3 * 8 * ROWS
    parts = [
        heading("Effects of rows on AP: kernels within 1.5 times those of AP"),
        bullet(
            f"The scores are read once more: {duration(scores / H200.bandwidth)}. The table of effects "
            f"({size(table_bytes)}) stays in the L2 cache. The CPU makes it. Its copy to the device and the copy of "
            f"the sums of three groups ({size(sum_bytes)}) to the host take "
            f"{duration((table_bytes + sum_bytes) / HOST_BANDWIDTH)}, if host memory that is not page-locked is copied "
            f"at {HOST_BANDWIDTH / 1e9:.0f} GB/s."
        ),
    ]
    if facts.effects is None:
        return "".join([*parts, bullet("The instructions of the loop over classes could not be read.")])
    effects = facts.effects
    instructions = effects.per_row(SEARCH_STEPS)
    at_issue = instructions * ROWS * CLASSES / 32 / H200.instructions
    text = (
        f"For 32 scores of a warp the loops need {figure(effects.load)} instructions to bring them into shared memory, "
        f"{figure(effects.add)} to find and add the effects, and {effects.step} for each step of the search: "
        f"{figure(instructions)}, {duration(at_issue)} at full issue. Scores below all thresholds save nothing, "
        "because hardly any 32 rows are all below."
    )
    if facts.counting is not None:
        counted = [facts.counting.per_row(share, SEARCH_STEPS) for share in SURVIVORS.values()]
        ratios = " and ".join(figure(instructions / of_ap) for of_ap in counted)
        text += f" That is {ratios} times the count of AP for a {' and a '.join(SURVIVORS)} model."
    return "".join([*parts, bullet(text)])


def trials_text(target: str, trials: int, facts: Facts) -> str:
    draws = POSITIVES * trials
    sectors = 32 * draws
    parts = [
        heading(target),
        bullet(
            f"{draws:,} draws, each of one score and so of a sector of 32 bytes: {size(sectors)}. They take "
            f"{duration(sectors / H200.bandwidth)} without any cache hit and with the full bandwidth for random "
            f"access, {duration(4 * sectors / H200.bandwidth)} with a quarter of it."
        ),
    ]
    if facts.draw is not None:
        at_issue = facts.draw * draws / 32 / H200.instructions
        parts.append(
            bullet(
                f"At most {facts.draw:,} warp instructions for 32 draws ({DRAW_ROUNDS} rounds of the permutation, "
                f"{SEARCH_STEPS} steps of the search): {duration(at_issue)} at full issue."
            )
        )
    return "".join(parts)


def gather_text(operation: str, kernel: str, facts: Facts) -> str:
    moved = 2 * CLIP_BYTES
    lookup = "its rows" if operation == "gather_frames" else "its rows, and the labels of two samples in the L2 cache"
    parts = [
        heading(f"{operation} (128 x 60 x 2048): 85 % of copy bandwidth, over 20 times the published loop"),
        bullet(
            f"At most {size(moved)} read and written: {duration(moved / H200.bandwidth)}. Before a block copies "
            f"64 KiB, it looks up {lookup}; a plain copy does not."
        ),
    ]
    if kernel in facts.copies:
        at_issue = facts.copies[kernel] * CLIP_BYTES / 512 / H200.instructions
        parts.append(bullet(f"{figure(facts.copies[kernel])} warp instructions for 512 bytes: {duration(at_issue)}."))
    launches = 128 * (12 if operation == "frame_stack" else 2)
    waits = " and waits twice a sample for the device" if operation == "frame_stack" else ""
    parts.append(
        bullet(
            f"The published loop starts some {launches:,} kernels{waits}: {duration(launches * LAUNCH)} at "
            f"{duration(LAUNCH)} each, {figure(launches * LAUNCH / (moved / H200.bandwidth))} times the copy."
        )
    )
    return "".join(parts)


def torchmetrics_text() -> str:
    launches = 40 * CLASSES
    return heading("Over 300 times torchmetrics on the same device") + bullet(
        f"torchmetrics sorts and sums each class separately. {CLASSES:,} classes with some 40 launches each, at "
        f"{duration(LAUNCH)}, take {duration(launches * LAUNCH)}; 1/300 of it is {duration(launches * LAUNCH / 300)}."
    )


def heading(text: str) -> str:
    return f"### {text}\n\n{NOT_MEASURED}\n\n"


def paragraph(text: str) -> str:
    return textwrap.fill(text, 118, break_on_hyphens=False) + "\n"


def bullet(text: str) -> str:
    return textwrap.fill(text, 118, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False) + "\n"


def report(kernels: dict[int, list[Kernel]], dynamic: dict[str, int], facts: Facts, compiler: str) -> str:
    families: dict[tuple[str, int], list[int]] = defaultdict(list)
    for arch, compiled in kernels.items():
        for kernel in compiled:
            if kernel.spilled:
                families[kernel.family, arch].append(kernel.spilled)
    spilled = [
        f"`{family}` (sm_{arch}, {len(bytes_spilled)} of its types, {spread(bytes_spilled)} bytes)"
        for (family, arch), bytes_spilled in families.items()
    ]
    spills = f"**These spill registers:** {', '.join(spilled)}." if spilled else "No kernel spills registers."
    intro = paragraph(
        f"{len(kernels[H200.arch])} kernels of `csrc/cuda`, compiled by nvcc {compiler} with `{' '.join(FLAGS[:4])}`. "
        f"{spills} Written by `python tools/kernel_resources.py`. {NOT_MEASURED}"
    )
    return f"""# Kernels on sm_80 and sm_90

{intro}
- T stands for an element type. A range covers the types of the kernel.
- stack and spills: bytes of a thread, on both architectures. shared: bytes of a block.
- occupancy: the share of a multiprocessor's 64 warps that can be resident, given threads, registers and shared memory.

{resources_table(kernels, dynamic)}
{reasoning(facts)}"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tools", type=Path, help="folder with cuobjdump and nvdisasm, if they are not on the PATH")
    parser.add_argument("--print", action="store_true", help="print the report and write no file")
    args = parser.parse_args()
    if args.tools:
        os.environ["PATH"] = f"{args.tools.resolve()}{os.pathsep}{os.environ['PATH']}"
    sources = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
    read = [path for folder in ("core", "cuda") for path in (ROOT / "csrc" / folder).iterdir()]
    youngest = max(path.stat().st_mtime for path in read)
    kernels: dict[int, list[Kernel]] = {}
    for processor in (A100, H200):
        compiled = [kernels_of(source, compile_source(source, processor.arch, youngest)) for source in sources]
        kernels[processor.arch] = [kernel for of_source in compiled for kernel in of_source]
    dynamic = dynamic_bytes(youngest)
    facts = gather_facts(kernels[H200.arch], dynamic, shutil.which("cuobjdump"))
    version = re.search(r"release [\d.]+, V([\d.]+)", run([nvcc(), "--version"]))
    text = report(kernels, dynamic, facts, version.group(1) if version else "of unknown version")
    if args.print:
        sys.stdout.write(text)
    else:
        RESULT.write_text(text)
        sys.stderr.write(f"kernel_resources: wrote {RESULT.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
