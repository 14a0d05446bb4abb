"""The checks of `make gpu-check`, for short visits to a machine with a GPU.

`visit` has the budget and the order of the stages; `stages` lists them, and each stage has a file of its own. `build`
installs the package from a wheel that another machine made (`wheel`), or compiles it. `record` keeps the results from
one visit to the next. `machine` describes the device, `commands` runs programs, `source` identifies what was checked.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))  # for _lib, which benchmarks share
