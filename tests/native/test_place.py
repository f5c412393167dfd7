"""Every kernel's Python door with tensors of a device, here the simulated one: right answers, one place, no mixing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from native.test_perturb import CASES

from xplain import native
from xplain.core.edits import Coalitions, Ranked, SoftGrid, Windows
from xplain.core.errors import UnknownName, UsageError
from xplain.native import device, order, perturb, place, reference, sums
from xplain.native.volumes import is_volumetric

RNG = np.random.default_rng(8)
ZERO = np.zeros((1, 1, 1, 1), np.float32)


@pytest.fixture
def there(simulator, monkeypatch):
    """Puts an array on the simulated device; the modules' own kernels are the device's from now on."""
    for module in (device, order, sys.modules["xplain.native.gram"], perturb, place, sums):
        monkeypatch.setattr(module, "_native", simulator.module)

    def put(array):
        array = np.asarray(array)
        memory = device.device_array(array.shape, array.dtype.name)
        memory.copy_from(np.ascontiguousarray(array))
        return memory

    return put


def here(tensor):
    assert type(tensor).__name__ == "DeviceArray"
    array = np.empty(tensor.shape, tensor.dtype)
    tensor.copy_to(array)
    return array


SUMMED = [c for c in CASES if not isinstance(c.edits, Ranked) and not is_volumetric(c.edits, c.layout)]


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("case", SUMMED[::3], ids=lambda c: c.name)
def test_sums_on_the_device_have_the_bits_of_the_cpu(there, monkeypatch, case, power):
    whole = isinstance(case.edits, Coalitions) and case.edits.whole
    plane = case.layout.item if whole else case.layout.plane
    for kinds in ((), (3,)):
        weights = RNG.standard_normal((len(case.x), case.edits.count, *kinds)) * 10.0 ** RNG.integers(-3, 4)
        on_device = here(native.accumulate(case.edits, there(weights), plane, power=power))
        with monkeypatch.context() as without:
            without.setattr(sums, "_native", native_module())
            on_cpu = native.accumulate(case.edits, weights, plane, power=power)
        assert np.array_equal(on_device, on_cpu)


def native_module():
    from xplain import _native

    return _native


def test_sums_in_shuffled_order_have_the_same_bits(simulator, there):
    edits = SoftGrid(3, 200, (5, 4), 0.5, ZERO)
    boxes = Windows(np.sort(RNG.integers(-2, 33, (300, 2, 2)), axis=1).reshape(300, 4).astype(np.int32), ZERO)
    for what in (edits, boxes):
        weights = there(RNG.standard_normal((2, what.count, 2)))
        results = []
        for seed in (0, 1, 2):
            simulator.set_schedule(seed)
            results.append(here(native.accumulate(what, weights, (31, 28), power=2)))
        simulator.set_schedule(0)
        assert np.array_equal(results[0], results[1])
        assert np.array_equal(results[0], results[2])


def test_sums_into_given_memory_allocate_nothing(there):
    edits = SoftGrid(3, 40, (5, 4), 0.5, ZERO)
    weights = RNG.standard_normal((1, 40))
    held = sums.DeviceSums(edits, 1, (31, 28))
    out, scores = there(np.full((1, 31, 28), np.nan)), there(weights)
    workspace = there(np.full(held.workspace_size(scores, out), np.nan))
    assert held(scores, out, workspace) is out
    assert np.abs(here(out) - reference.accumulate(edits, weights[..., None], (31, 28))[:, 0]).max() < 1e-5
    with pytest.raises(UsageError, match="the workspace is too small"):
        held(scores, out, there(np.zeros(3)))


def test_a_weight_that_is_not_finite_makes_its_map_nan_and_no_other(there):
    edits = Windows(np.array([[0, 0, 2, 2], [1, 1, 3, 3]], np.int32), ZERO)
    maps = here(native.accumulate(edits, there([[[1.0, 1.0], [np.inf, 1.0]]]), (3, 3)))
    assert np.isnan(maps[0, 0]).all()
    assert maps[0, 1].tolist() == [[1, 1, 0], [1, 2, 1], [0, 1, 1]]


def test_fill_takes_items_of_the_device(there):
    case = CASES[2]
    rows = len(case.x) * case.edits.count
    out = there(np.full((rows, *case.x.shape[1:]), np.nan, np.float32))
    native.fill(there(case.x), case.edits, 0, rows, out, case.layout)
    assert np.array_equal(here(out), reference.fill(case.x, case.edits, case.layout))


def test_ranks_stay_on_the_device(there):
    values = RNG.choice(np.float32([0.5, -1, 2, np.nan, -0.0, 0]), (2, 9, 40))
    places = here(native.rank(there(values)))
    assert np.array_equal(places.reshape(2, -1), reference.rank(values.reshape(2, -1)))
    with pytest.raises(UsageError, match="got float64 where float32 is needed"):
        native.rank(there(values.astype(np.float64)))


def test_strided_views_are_the_same_in_every_library(there):
    array = np.arange(24.0)
    assert place.strided(array.reshape(4, 6), (2, 3), (1, 4), 5).tolist() == [[5, 9, 13], [6, 10, 14]]
    view = place.strided(there(array), (2, 3), (1, 4), 5)  # what is in it is read by the sums above
    assert tuple(view.shape) == (2, 3)
    with pytest.raises(ValueError, match="reaches past the memory"):
        view.as_strided([10], [1], 10)


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_grams_of_any_number_of_layers(there, precision):
    layers = [RNG.random((3 + k % 5, 20)).astype(np.float32) for k in range(26)]  # more than one launch takes
    matrices = native.gram([there(f) for f in layers], precision=precision)
    for f, g in zip(layers, matrices, strict=True):
        exact = f.astype(np.float64) @ f.T / f.size
        assert np.linalg.norm(here(g) - exact) < (5e-6 if precision == "float32" else 5e-4) * np.linalg.norm(exact)
    with pytest.raises(UnknownName, match="Unknown precision 'fp32'"):
        native.gram([there(layers[0])], precision="fp32")


def test_gram_backward_of_the_device(there):
    f, upstream = RNG.standard_normal((9, 21)).astype(np.float32), RNG.standard_normal((9, 9)).astype(np.float32)
    exact = (upstream + upstream.T).astype(np.float64) @ f / 3
    assert np.linalg.norm(here(native.gram_backward(there(upstream), there(f), 1 / 3)) - exact) < 1e-3 * np.linalg.norm(
        exact
    )


def test_tensors_of_different_places_are_refused(there):
    with pytest.raises(UsageError, match=r"gram got features\[0\] on the CPU, features\[1\] on cuda:0"):
        native.gram([np.ones((2, 2), np.float32), there(np.ones((2, 2), np.float32))])
    with pytest.raises(UsageError, match=r"gram_backward got upstream on the CPU"):
        native.gram_backward(np.ones((2, 2), np.float32), there(np.ones((2, 2), np.float32)), 1.0)
    picture = np.ones((1, 3, 8, 8), np.float32)
    with pytest.raises(UsageError, match=r"fill got x on cuda:0, out on the CPU"):
        native.fill(there(picture), Windows(np.zeros((1, 4), np.int32), ZERO), 0, 1, picture)
