"""Textures by example: the compiled kernels against their definition, and what they must reproduce."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xplain import _native, native
from xplain.core.errors import UsageError
from xplain.native import reference
from xplain.native.texture import bell, most_levels, onion, window_above


@settings(max_examples=25, deadline=None)
@given(
    sample=st.tuples(st.integers(5, 12), st.integers(5, 12), st.integers(1, 3)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    window=st.sampled_from([3, 5]), slack=st.sampled_from([0, 100, 1000]), levels=st.sampled_from([2, 256]),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_grown_pixels_are_those_of_the_definition_to_the_bit(sample, size, window, slack, levels, seed):
    rng = np.random.default_rng(seed)
    pixels = (rng.integers(0, levels, sample) * (255 // (levels - 1))).astype(np.uint8)
    found, source = native.grow(pixels, size, window, slack, np.random.default_rng(seed))
    own = np.random.default_rng(seed)
    out, origin, order = onion(pixels, size, own)
    reference.grow(pixels, out, origin, order, own.random(len(order)), bell(window), slack)
    assert np.array_equal(found, out)
    assert np.array_equal(source, origin)
    assert np.array_equal(found.reshape(-1, sample[2]), pixels.reshape(-1, sample[2])[source.reshape(-1)])


@settings(max_examples=25, deadline=None)
@given(
    sample=st.tuples(st.integers(7, 40), st.integers(7, 40), st.integers(1, 3)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), window=st.sampled_from([3, 5, 7]),
    values=st.sampled_from([2, 256]), seed=st.integers(0, 999),
)  # fmt: skip
def test_levels_of_a_pyramid_are_those_of_the_definition_to_the_bit(sample, size, window, values, seed):
    rng = np.random.default_rng(seed)
    pixels = (rng.integers(0, values, sample) * (255 // (values - 1))).astype(np.uint8)
    levels = min(3, most_levels(sample[:2], window))
    found, source = native.pyramid(pixels, size, window, levels, 100, np.random.default_rng(seed))
    own, samples, sizes = np.random.default_rng(seed), [pixels], [size]
    for _ in range(levels - 1):
        samples.append(smaller(samples[-1]))
        sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
    over = samples.pop()
    out, origin, order = onion(over, sizes.pop(), own)
    reference.grow(over, out, origin, order, own.random(len(order)), bell(window_above(window, levels)), 100)
    for one, (high, wide) in zip(samples[::-1], sizes[::-1], strict=True):
        above, out, origin = out, np.zeros((high, wide, sample[2]), np.uint8), np.zeros((high, wide), np.int32)
        reference.level(one, out, origin, over, above, origin, 5, 3)
        over = one
    assert np.array_equal(found, out)
    assert np.array_equal(source, origin)
    assert np.array_equal(found.reshape(-1, sample[2]), pixels.reshape(-1, sample[2])[source.reshape(-1)])


def smaller(picture: np.ndarray) -> np.ndarray:
    """Half as large, pixel by pixel."""
    high, wide, channels = picture.shape
    out = np.zeros((-(-high // 2), -(-wide // 2), channels), np.uint8)
    line = (1, 4, 6, 4, 1)
    for y, x in np.ndindex(*out.shape[:2]):
        total = np.zeros(channels, np.int64)
        for i, j in np.ndindex(5, 5):
            v, u = min(max(2 * y + i - 2, 0), high - 1), min(max(2 * x + j - 2, 0), wide - 1)
            total += line[i] * line[j] * picture[v, u].astype(np.int64)
        out[y, x] = (total + 128) // 256
    return out


@settings(max_examples=25, deadline=None)
@given(
    sample=st.tuples(st.integers(5, 12), st.integers(5, 12), st.integers(1, 3)),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)), shape=st.sampled_from([(2, 1), (4, 2), (5, 4)]),
    slack=st.sampled_from([0, 100, 1000]), seed=st.integers(0, 999),
)  # fmt: skip
def test_quilted_blocks_are_those_of_the_definition_to_the_bit(sample, size, shape, slack, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, sample, np.uint8)
    block, overlap = shape
    found = native.quilt(pixels, size, block, overlap, slack, np.random.default_rng(seed))
    step = block - overlap
    rows, columns = (max(1, -(-(n - overlap) // step)) for n in size)
    out = np.zeros((rows * step + overlap, columns * step + overlap, sample[2]), np.uint8)
    draws = np.random.default_rng(seed).random((rows, columns))
    reference.quilt(pixels, out, draws, block, overlap, slack)
    assert np.array_equal(found, out[: size[0], : size[1]])


@pytest.mark.parametrize(("how", "side"), [("grow", 2), ("pyramid", 4), ("quilt", 2)])
def test_a_checkerboard_goes_on_as_a_checkerboard(how, side):
    """Whatever is drawn, its squares fit only where they continue the pattern."""
    y, x = np.mgrid[: 10 * side, : 10 * side]
    board = np.repeat((255 * ((y // side + x // side) % 2)).astype(np.uint8)[..., None], 3, axis=2)
    rng = np.random.default_rng(0)
    if how == "quilt":
        out = native.quilt(board, (24, 24), 8, 4, 0, rng)
    elif how == "grow":
        out, _ = native.grow(board, (24, 24), 7, 0, rng)
    else:
        out, _ = native.pyramid(board, (48, 48), 13, 2, 0, rng)
    assert np.array_equal(out[side:], 255 - out[:-side])
    assert np.array_equal(out[:, side:], 255 - out[:, :-side])


def test_what_does_not_fit_is_refused():
    sample, rng = np.zeros((8, 9, 3), np.uint8), np.random.default_rng(0)
    for window in (4, 1, 11):
        with pytest.raises(UsageError, match="odd number of pixels from 3 to 8"):
            native.grow(sample, (4, 4), window, 0, rng)
    with pytest.raises(UsageError, match="1 to 2 for this sample"):
        native.pyramid(np.zeros((12, 30, 3), np.uint8), (4, 4), 7, 3, 0, rng)
    with pytest.raises(UsageError, match="2 to 8 pixels"):
        native.quilt(sample, (4, 4), 9, 2, 0, rng)
    with pytest.raises(UsageError, match="1 to 3 pixels"):
        native.quilt(sample, (4, 4), 4, 4, 0, rng)
    out, source, order = onion(sample, (4, 4), rng)
    with pytest.raises(ValueError, match="places of out"):
        _native.grow(sample, out, source, order + 9, np.zeros(len(order)), bell(3), slack=0)
    with pytest.raises(ValueError, match="places of the sample"):
        _native.grow(sample, out, source + 99, order, np.zeros(len(order)), bell(3), slack=0)
