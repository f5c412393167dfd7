"""Gram matrices: numpy's against float64, and the tensor core kernels on the simulator against both."""

from __future__ import annotations

import numpy as np
import pytest
from native.halves import decode, encode

from xplain import native
from xplain.core.errors import UsageError

SHAPES = [
    [(64, 512), (128, 196), (96, 49)],  # several layers, several tiles, a split sum
    [(70, 333)],  # rows of odd length
    [(5, 7), (1, 1)],
    [(130, 98)],
    [(64, 1024), (200, 64)],
    [(3, 0)],
]
TOLERANCE = {("float32", 0): 5e-4, ("float32", 1): 5e-6, ("float16", 0): 5e-6, ("bfloat16", 0): 5e-6}


def guarded(shape, dtype, offset=0):
    """Poisoned memory that starts ``offset`` elements past a 64-byte boundary."""
    size = int(np.prod(shape))
    memory = np.full(size * np.dtype(dtype).itemsize + 128, 0xFF, np.uint8)
    start = -memory.ctypes.data % 64 + offset * np.dtype(dtype).itemsize
    return memory[start : start + size * np.dtype(dtype).itemsize].view(dtype).reshape(shape)


def check(simulator, shapes, dtype, precision, tile, offset=0):
    simulator.set_shared_limit(227 * 1024 if tile == 128 else 99 * 1024)
    rng = np.random.default_rng(0)
    features = []
    for shape in shapes:
        values = encode(np.maximum(rng.standard_normal(shape), 0) + 0.1, dtype)
        features.append(guarded(shape, values.dtype, offset))
        features[-1][...] = values
    scales = [1 / max(1, c * p) for c, p in shapes]
    results = []
    for seed in (0, 3):
        simulator.set_schedule(seed)
        grams = [guarded((c, c), np.float32) for c, _ in shapes]
        size = simulator.gram_workspace(features, grams, scales, tile=tile)
        simulator.gram(features, grams, scales, guarded(size, np.float32), tile=tile, precision=precision)
        results.append(grams)
    simulator.set_schedule(0)
    for f, scale, gram, again in zip(features, scales, *results, strict=True):
        exact = decode(f).astype(np.float64) @ decode(f).astype(np.float64).T * scale
        assert np.linalg.norm(gram - exact) <= TOLERANCE[dtype, precision] * max(np.linalg.norm(exact), 1e-30)
        assert np.array_equal(gram, gram.T)
        assert np.array_equal(gram, again)


@pytest.mark.parametrize("tile", [64, 128])
@pytest.mark.parametrize(("dtype", "precision"), TOLERANCE)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_kernel_agrees_with_float64(simulator, shapes, dtype, precision, tile):
    check(simulator, shapes, dtype, precision, tile)


@pytest.mark.parametrize("offset", [1, 2])
def test_kernel_takes_unaligned_features(simulator, offset):
    check(simulator, [(40, 66)], "float16", 0, 64, offset)


def test_tiles_that_do_not_fit_the_device_are_refused(simulator):
    simulator.set_shared_limit(99 * 1024)
    f, g = np.ones((4, 4), np.float32), np.ones((4, 4), np.float32)
    assert simulator.gram_tile(0) == 64
    with pytest.raises(ValueError, match="too little shared memory for tiles of 128"):
        simulator.gram([f], [g], [1.0], np.empty(128 * 128, np.float32), tile=128, precision=0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("channels", "positions"), [(64, 128), (40, 98), (70, 49), (130, 200), (5, 3)])
def test_backward_kernel_agrees_with_float64(simulator, channels, positions, dtype):
    rng = np.random.default_rng(1)
    values = encode(rng.standard_normal((channels, positions)), dtype)
    upstream = rng.standard_normal((channels, channels)).astype(np.float32)
    out = guarded(values.shape, values.dtype)
    workspace = guarded((channels, -(-channels // 16) * 16), values.dtype)
    simulator.gram_backward(upstream, values, out, workspace, scale=1 / positions)
    exact = (upstream.astype(np.float64) + upstream.T) @ decode(values) / positions
    tolerance = {"float32": 5e-4, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    assert np.linalg.norm(decode(out) - exact) < tolerance * np.linalg.norm(exact)


def test_numpy_path_agrees_with_float64_and_goes_back():
    rng = np.random.default_rng(2)
    f = rng.standard_normal((6, 20))
    (g,) = native.gram([f])
    assert np.allclose(g, f @ f.T / f.size)
    assert np.array_equal(g, g.T)
    upstream, step = rng.standard_normal((6, 6)), 1e-6
    direction = rng.standard_normal(f.shape)
    slope = (native.gram([f + step * direction])[0] - native.gram([f - step * direction])[0]) / (2 * step)
    back = native.gram_backward(upstream, f, 1 / f.size)
    assert np.isclose((back * direction).sum(), (slope * upstream).sum(), rtol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match=r"features are float64 \[3\]; accepted: floating \[C, P\]"):
        native.gram([np.ones(3)])
    with pytest.raises(UsageError, match="1 layers and 2 scales"):
        native.gram([np.ones((2, 2))], [1, 2])
    with pytest.raises(UsageError, match=r"gram_backward got dG \[3, 3\]; needed: \[2, 2\]"):
        native.gram_backward(np.ones((3, 3)), np.ones((2, 5)), 1)
