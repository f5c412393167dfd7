from __future__ import annotations

import os
from pathlib import Path

import pytest
from native.simulator import Simulator, build

from xplain.native import algebra, perturb, relu


@pytest.fixture(scope="session")
def simulator():
    """The device kernels on the fiber simulator; XPLAIN_SIMULATOR names a module that was built with sanitizers."""
    given = os.environ.get("XPLAIN_SIMULATOR")
    return Simulator(Path(given) if given else build())


@pytest.fixture(params=["cpu", "simulator"])
def kernels(request, monkeypatch):
    """The kernels of the CPU, then those of the device on the simulator, behind the same Python functions."""
    if request.param == "simulator":
        for module in (algebra, perturb, relu):
            monkeypatch.setattr(module, "_native", request.getfixturevalue("simulator"))
    return request.param
