"""Every kernel's Python door with tensors of a device, here the simulated one: right answers, one place, no mixing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from native.test_perturb import CASES

from xplain import native
from xplain.core.edits import Coalitions, Ranked, SoftGrid, Windows
from xplain.core.errors import UnknownName, UsageError
from xplain.native import algebra, device, perturb, place, reference, sums
from xplain.native.volumes import is_volumetric

RNG = np.random.default_rng(8)
ZERO = np.zeros((1, 1, 1, 1), np.float32)


@pytest.fixture
def there(simulator, monkeypatch):
    """Puts an array on the simulated device; the modules' own kernels are the device's from now on."""
    for module in (algebra, device, sys.modules["xplain.native.gram"], perturb, place, sums):
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


@pytest.fixture(params=["cpu", "simulator"])
def somewhere(request):
    """Puts arrays where the functions shall run and brings results back: numpy, then the simulated device."""
    if request.param == "cpu":
        return np.asarray, np.asarray
    return request.getfixturevalue("there"), here


# Relative to the largest magnitude. On the device general weights pass float32 factors split in two; over twelve seeds
# of the cases below 6e-7 was measured of the equations, 1.5e-6 of the solution.
ON_CPU, ON_DEVICE = 1e-13, 2e-6


@pytest.mark.parametrize(("rows", "size"), [(65, 9), (1000, 37)])
def test_coalitions_are_counted_wherever_they_lie(somewhere, rows, size):
    put, get = somewhere
    keep = RNG.integers(0, 2, (rows, size)).astype(np.uint8)
    few = 1.0 / (1 + keep.sum(axis=1) // 4)
    exact = keep.T.astype(np.float64) @ (few[:, None] * keep)
    stream = device.stream().handle if put is not np.asarray else 0
    counted = get(native.coalition_gram(put(keep), few, stream=stream))
    assert counted.dtype == np.float64
    assert np.array_equal(counted, counted.T)
    assert np.allclose(counted, exact, rtol=1e-14)
    various = RNG.random(rows)
    for weights, values in ((various, various), (put(few), few)):  # on a device the second are not looked at
        exact = keep.T.astype(np.float64) @ (values[:, None] * keep)
        product = get(native.coalition_gram(put(keep), weights, stream=stream))
        assert np.array_equal(product, product.T)
        assert np.abs(product - exact).max() < (ON_CPU if put is np.asarray else ON_DEVICE) * exact.max()


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize(("rows", "size", "kinds"), [(3, 1, 1), (65, 9, 1), (400, 12, 2), (1000, 37, 3)])
def test_weighted_least_squares_from_end_to_end(somewhere, rows, size, kinds, constrained):
    put, get = somewhere
    keep = RNG.integers(0, 2, (rows, size)).astype(np.uint8)
    keep[0] = 1  # a feature that is never there cannot be told from any other
    weights = RNG.random(rows) + 0.01
    scores = keep @ RNG.standard_normal((size, kinds)) + RNG.standard_normal((rows, kinds))
    total = RNG.standard_normal((1, kinds)) if constrained else None
    stream = device.stream().handle if put is not np.asarray else 0
    left, right = native.normal_equations(put(keep), put(weights), put(scores), stream=stream)
    batch = place.reshape(left, (1, size, size)), place.reshape(right, (1, size, kinds))
    phi = get(native.constrained_solve(*batch, None if total is None else put(total), stream=stream))[0]
    tolerance = ON_CPU if put is np.asarray else ON_DEVICE
    design = np.sqrt(weights)[:, None] * keep
    for got, exact in ((left, design.T @ design), (right, keep.T @ (weights[:, None] * scores))):
        assert np.abs(get(got) - exact).max() < tolerance * np.abs(exact).max()
    if total is None:
        expected = np.linalg.lstsq(design, np.sqrt(weights)[:, None] * scores, rcond=None)[0]
    else:  # the Lagrangian's linear system
        border = np.ones((size, 1))
        system = np.block([[design.T @ design, border], [border.T, np.zeros((1, 1))]])
        expected = np.linalg.solve(system, np.vstack([keep.T @ (weights[:, None] * scores), total]))[:size]
        assert np.allclose(phi.sum(axis=0), total[0])
    # an error of the equations grows by their condition number, which is below 200 here
    assert np.linalg.cond(design.T @ design) < 200
    assert np.abs(phi - expected).max() < 50 * tolerance * max(1, np.abs(expected).max())


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize(("batch", "size", "kinds"), [(1, 1, 1), (2, 8, 1), (3, 37, 4), (2, 90, 3)])
def test_batches_are_solved_in_float64_wherever_they_lie(somewhere, batch, size, kinds, constrained):
    put, get = somewhere
    rows = RNG.standard_normal((batch, 3 * size, size))
    systems, right = rows.transpose(0, 2, 1) @ rows, RNG.standard_normal((batch, size, kinds))
    total = RNG.standard_normal((batch, kinds)) if constrained else None
    phi = get(native.constrained_solve(put(systems), put(right), None if total is None else put(total)))
    inverse = np.linalg.inv(systems)
    expected = inverse @ right
    if total is not None:
        v = inverse.sum(axis=2, keepdims=True)
        expected = expected + v * ((total - expected.sum(axis=1)) / v.sum(axis=1))[:, None]
    assert np.abs(phi - expected).max() < 1e-11 * np.abs(expected).max()


def test_a_singular_system_of_the_device_is_nan_and_its_neighbour_is_not(there):
    systems = np.stack([np.ones((3, 3)), np.eye(3)])
    phi = here(native.constrained_solve(there(systems), there(np.ones((2, 3, 1))), None))
    assert np.isnan(phi[0]).all()
    assert phi[1, :, 0].tolist() == [1, 1, 1]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1.0])
def test_a_weight_of_the_device_without_a_root_shows_in_the_sums(there, wrong):
    keep, weights = np.array([[1, 0, 1], [0, 1, 0]], np.uint8), np.array([wrong, 2.0])
    left, right = (here(side) for side in native.normal_equations(there(keep), there(weights), there(np.ones((2, 1)))))
    assert np.isnan(left[[0, 0, 2], [0, 2, 2]]).all()
    assert np.isnan(right[[0, 2]]).all()
    if wrong < 0:
        with pytest.raises(UsageError, match="various weights on a device, some negative"):
            native.coalition_gram(there(np.ones((200, 2), np.uint8)), np.arange(200.0) - 1)


def test_strided_views_are_the_same_in_every_library(there):
    array = np.arange(24.0)
    expected = [[5, 9, 13], [6, 10, 14]]
    assert place.strided(array.reshape(4, 6), (2, 3), (1, 4), 5).tolist() == expected
    view, copy = place.strided(there(array), (2, 3), (1, 4), 5), device.device_array((2, 3), "float64")
    algebra._native.widen(view, copy)
    assert here(copy).tolist() == expected
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
    keep = np.ones((4, 2), np.uint8)
    with pytest.raises(UsageError, match=r"gram got features\[0\] on the CPU, features\[1\] on cuda:0"):
        native.gram([np.ones((2, 2), np.float32), there(np.ones((2, 2), np.float32))])
    with pytest.raises(UsageError, match=r"gram_backward got upstream on the CPU"):
        native.gram_backward(np.ones((2, 2), np.float32), there(np.ones((2, 2), np.float32)), 1.0)
    with pytest.raises(UsageError, match=r"constrained_solve got gram on cuda:0, right on the CPU"):
        native.constrained_solve(there(np.ones((1, 2, 2))), np.ones((1, 2, 1)), None)
    with pytest.raises(UsageError, match=r"normal_equations got keep on cuda:0, weights on the CPU"):
        native.normal_equations(there(keep), np.ones(4), there(np.ones((4, 1))))
    with pytest.raises(UsageError, match=r"coalition_gram got keep on the CPU, weights on cuda:0"):
        native.coalition_gram(keep, there(np.ones(4)))
    picture = np.ones((1, 3, 8, 8), np.float32)
    with pytest.raises(UsageError, match=r"fill got x on cuda:0, out on the CPU"):
        native.fill(there(picture), Windows(np.zeros((1, 4), np.int32), ZERO), 0, 1, picture)
