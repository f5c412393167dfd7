from __future__ import annotations

import os
from pathlib import Path

import pytest
from native.simulator import Simulator, build

from xplain.native import order, perturb, sums


@pytest.fixture(scope="session")
def simulator():
    """The device kernels on the fiber simulator; XPLAIN_SIMULATOR names a module that was built with sanitizers."""
    given = os.environ.get("XPLAIN_SIMULATOR")
    return Simulator(Path(given) if given else build())


@pytest.fixture(params=["cpu", "simulator"])
def kernels(request, monkeypatch):
    """The kernels of the CPU, then those of the device on the simulator, behind the same Python functions."""
    if request.param == "simulator":
        for module in (order, perturb, sums):
            monkeypatch.setattr(module, "_native", request.getfixturevalue("simulator"))
    return request.param


# Under sanitizers a case takes ten times as long. What repeats one kernel over shapes, cuts or types is thinned there;
# steps share no factor with the number of kinds or types, so each kind still meets several shapes and every type.
THINNED = {
    "test_fill_is_the_same_for_any_cut_and_any_threads": 5,
    "test_fill_converts_to_the_type_of_the_buffer": 3,
    "test_accumulate_is_the_sum_over_stored_masks": 7,
    "test_sums_on_the_device_have_the_bits_of_the_cpu": 5,
}


def pytest_collection_modifyitems(items):
    if "XPLAIN_SIMULATOR" not in os.environ:
        return
    seen: dict[str, int] = {}
    kept = []
    for item in items:
        name = getattr(item, "originalname", item.name)
        if "cpu" in getattr(getattr(item, "callspec", None), "params", {}).values():
            continue
        seen[name] = seen.get(name, -1) + 1
        if seen[name] % THINNED.get(name, 1) == 0:
            kept.append(item)
    items[:] = kept
