"""The header of a test run, with the machine and the checks left out; fixtures of each device.

`--device cuda` runs the CUDA tests only. These are the tests marked ``any_device``, whose numpy inputs are moved to the
device before the library reads them, and the tests whose fixture `device` or `cuda` is "cuda".
"""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import vltr_eval
from vltr_eval._base import arrays

sys.path.insert(0, str(Path(__file__).parent))  # for tests that import devices.py by name

from devices import DEVICES, CudaArray, describe_devices, is_deferred, producer_streams

ALL_SIMD_LEVELS = ("generic", "avx2", "avx512")
WITNESSES = (
    *("numpy", "scipy", "scikit-learn", "torch", "torchmetrics", "torcheval", "pytorch-lightning"),
    *("ml_dtypes", "pandas", "pyarrow", "hypothesis", "h5py", "zarr", "fsspec", "zstandard", "lz4"),
    *("mmengine-lite", "kanjivg", "svg.path"),
)


# The same examples every time, so that a failure is reproducible; "thorough" searches for new ones.
settings.register_profile("quick", max_examples=60, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "thorough",
    max_examples=2000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile(os.environ.get("VLTR_HYPOTHESIS", "quick"))


def pytest_addoption(parser):
    parser.addoption("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: run the tests of CUDA only")


def pytest_configure(config):
    """Make an error of a missing device or instruction set that VLTR_REQUIRE names, as in cuda,avx512."""
    config.addinivalue_line("markers", "any_device: holds for inputs on any device; --device cuda moves numpy arrays")
    config.addinivalue_line("markers", "host: for inputs in CPU memory only, in a module that is any_device")
    if config.getoption("--device") not in DEVICES:
        raise pytest.UsageError(f"--device: expected one of {DEVICES}, got cuda; {describe_devices()}")
    build = vltr_eval.build_info()
    for required in filter(None, os.environ.get("VLTR_REQUIRE", "").split(",")):
        is_available = "cuda" in DEVICES if required == "cuda" else required in build["simd_available"]
        if not is_available:
            raise pytest.UsageError(f"VLTR_REQUIRE: {required} is required, and this build on this machine has none")


def pytest_report_header(config):
    build = vltr_eval.build_info()
    missing = [level for level in ALL_SIMD_LEVELS if level not in build["simd_available"]]
    return [
        f"vltr: {build['version']}, {build['compiler']}, {build['threads']} threads; Python {sys.version.split()[0]}",
        f"cuda: {build['cuda']}; {describe_devices()}",
        f"simd: {build['simd']}, tested {' '.join(build['simd_available'])}, NOT TESTED {' '.join(missing) or 'none'}",
        "with: " + ", ".join(f"{name} {_version(name)}" for name in WITNESSES),
    ]


def pytest_collection_modifyitems(config, items):
    if config.getoption("--device") == "cpu":
        return
    kept = [item for item in items if _concerns_cuda(item)]
    config.hook.pytest_deselected(items=[item for item in items if not _concerns_cuda(item)])
    items[:] = kept


def _concerns_cuda(item) -> bool:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if _moves_inputs(item):
        return parameters.get("simd") in (None, ALL_SIMD_LEVELS[0])  # instruction sets concern the CPU only
    return any(parameters.get(fixture) == "cuda" for fixture in ("device", "cuda"))


def _moves_inputs(item) -> bool:
    return bool(item.get_closest_marker("any_device")) and not item.get_closest_marker("host")


@pytest.fixture(autouse=True)
def _inputs_on_device(request, monkeypatch):
    if request.config.getoption("--device") == "cpu" or not _moves_inputs(request.node):
        return
    borrow_numpy = arrays._borrow_numpy
    streams = itertools.cycle(producer_streams() if is_deferred() else (None,))

    def borrow_moved(name, array):
        borrow_numpy(name, array)  # its errors come first
        return arrays.borrow(name, CudaArray(array, stream=next(streams)))

    monkeypatch.setattr(arrays, "_borrow_numpy", borrow_moved)


@pytest.fixture(params=DEVICES, scope="session")
def device(request) -> str:
    """Return each device in turn: "cpu", and "cuda" if the kernels are built and can run."""
    return request.param


_NO_CUDA = [] if "cuda" in DEVICES else [pytest.mark.skip(reason=describe_devices())]


@pytest.fixture(params=[pytest.param("cuda", marks=_NO_CUDA)], scope="session")
def cuda(request) -> str:
    """Return "cuda", for tests of CUDA alone; they are skipped without a device."""
    return request.param


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "MISSING"
