"""Fixtures that the tests of vltr_train share: folders, and the data set of every training."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from devices import EMULATED

# importlib mode adds nothing, and tests import frame_reference.py and ranks.py by their names
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "eval")]


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """For models this small more threads of torch only wait for each other."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A data set of VideoLT's shape: 63 classes, 717 training videos of about 20 frames, 16 features."""
    from vltr_train.data.synth import synthesize

    folder = tmp_path_factory.mktemp("data") / "tiny"
    synthesize(folder, scale=0.004, dim=16, frames=20, length_spread=0.5)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    """It, opened."""
    from vltr_train.data.dataset import open_dataset

    return open_dataset(tiny_folder)


@pytest.fixture
def torch_device(device) -> str:
    """Each device that torch can put a model on."""
    if device == "cuda" and EMULATED:
        pytest.skip("torch knows no emulated device")
    return device


@pytest.fixture
def gpu(cuda) -> str:
    """A GPU that torch can put a model on."""
    if EMULATED:
        pytest.skip("torch knows no emulated device")
    return cuda
