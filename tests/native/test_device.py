"""The device path end to end, on the simulated device: upload, fill in any chunks, copy back."""

from __future__ import annotations

import numpy as np
import pytest
from native.test_perturb import CASES

from xplain import native
from xplain.core.errors import MissingDependency, UsageError
from xplain.native import device, place
from xplain.native.volumes import is_volumetric

ABLE = [c for c in CASES if not is_volumetric(c.edits, c.layout)]
CHOSEN = ABLE[::5] + [c for c in ABLE if "coalitions" in c.name]


@pytest.fixture
def on_simulator(simulator, monkeypatch):
    for module in (device, place):
        monkeypatch.setattr(module, "_native", simulator.module)


def put(array):
    there = device.device_array(array.shape, array.dtype.name)
    there.copy_from(array)
    return there


@pytest.mark.usefixtures("on_simulator")
@pytest.mark.parametrize("case", CHOSEN, ids=lambda c: c.name)
def test_chunks_on_the_device_have_the_bits_of_the_cpu(case):
    rows = len(case.x) * case.edits.count
    expected = np.empty((rows, *case.x.shape[1:]), np.float32)
    native.fill(case.x, case.edits, 0, rows, expected, case.layout)
    stream = device.stream()
    x = put(case.x)
    edits = device.DeviceEdits(case.edits, case.x.shape, case.layout, stream=stream.handle)
    chunk = -(-rows // 3)
    buffer = device.device_array((chunk, *case.x.shape[1:]), "float32")
    got = []
    for start in range(0, rows, chunk):
        stop = min(rows, start + chunk)
        edits.fill(x, start, stop, buffer, stream=stream.handle)
        host = np.empty((chunk, *case.x.shape[1:]), np.float32)
        buffer.copy_to(host, stream.handle)
        got.append(host[: stop - start])
    stream.synchronize()
    assert np.array_equal(np.concatenate(got), expected)


@pytest.mark.usefixtures("on_simulator")
def test_views_cannot_reach_past_their_memory():
    array = device.device_array((4, 5), "float32")
    assert array.as_strided([5, 4], [1, 5]).shape == [5, 4]
    with pytest.raises(ValueError, match="reaches past the memory"):
        array.as_strided([5, 5], [1, 5])
    with pytest.raises(ValueError, match="contiguous host array of as many bytes"):
        array.copy_from(np.zeros((4, 4), np.float32))
    with pytest.raises(TypeError, match="device arrays hold no complex64"):
        device.device_array((1,), "complex64")


@pytest.mark.usefixtures("on_simulator")
def test_rows_that_are_not_there_are_refused():
    case = CASES[1]
    edits = device.DeviceEdits(case.edits, case.x.shape, case.layout)
    x = put(case.x)
    with pytest.raises(UsageError, match=r"Rows 0\.\.1000 are asked for; there are 74"):
        edits.fill(x, 0, 1000, x)


def test_a_build_without_cuda_says_so():
    if native.status()["cuda"]:
        pytest.skip("this build has CUDA kernels")
    with pytest.raises(MissingDependency, match="built without CUDA kernels. Reinstall it with XPLAIN_CUDA=ON"):
        device.stream()
