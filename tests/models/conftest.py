from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from native.simulator import Simulator, build

import xplain.native.device  # noqa: F401  (loads what is patched)


@pytest.fixture(scope="session")
def simulator():
    """The device kernels on the fiber simulator; XPLAIN_SIMULATOR names a module that is built already."""
    given = os.environ.get("XPLAIN_SIMULATOR")
    return Simulator(Path(given) if given else build())


@pytest.fixture
def on_simulator(simulator, monkeypatch):
    """The modules that fill on a device speak to the simulator; all else goes on with the kernels of the CPU."""
    for name in ("xplain.native.device", "xplain.native.place"):
        if name in sys.modules:
            monkeypatch.setattr(sys.modules[name], "_native", simulator.module)
