"""Build the wheel that `make gpu-check` installs on a machine with a GPU, so that no time there goes to compiling.

    python3 tools/gpu_wheel.py --python python3.12 --arch 90      into build/gpu-wheel; needs nvcc but no GPU

Copy the folder with the tree. The wheel is used there if it fits: the same minor version of Python, the same compute
capability and the same sources. Otherwise the sources are compiled there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from gpu import wheel


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="an interpreter of the GPU machine's minor version")
    parser.add_argument("--arch", default="90", help="compute capability without its dot, or `emulated` (default 90)")
    parser.add_argument("--out", type=Path, default=wheel.FOLDER, help="folder of the wheel (default build/gpu-wheel)")
    args = parser.parse_args()
    try:
        file = wheel.make(args.python, args.arch, args.out)
    except (OSError, subprocess.CalledProcessError) as error:
        parser.exit(1, f"gpu_wheel: {error}\n")
    sys.stdout.write(f"{file}, {file.stat().st_size / 2**20:.1f} MiB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
