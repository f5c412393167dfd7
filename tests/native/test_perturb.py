"""fill and accumulate against their numpy definitions, to the bit where the definition fixes the bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xplain import native
from xplain.core.edits import Coalitions, Full, Ranked, SoftGrid, Untouched, Windows
from xplain.core.errors import NonFinite, UsageError
from xplain.core.positions.layout import Layout
from xplain.native import reference

CASES = list(reference.edit_cases())
IDS = [case.name for case in CASES]


def filled(case, dtype=np.float32, start=0, stop=None, **options):
    stop = len(case.x) * case.edits.count if stop is None else stop
    out = np.full((stop - start, *case.x.shape[1:]), 77, dtype)
    native.fill(case.x, case.edits, start, stop, out, case.layout, **options)
    return out


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_fill_is_the_definition_to_the_bit(case):
    expected = reference.fill(case.x, case.edits, case.layout)
    got = filled(case)
    assert np.array_equal(got.view(np.uint32), expected.view(np.uint32))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_fill_is_the_same_for_any_cut_and_any_threads(case):
    rows = len(case.x) * case.edits.count
    whole = filled(case, threads=1)
    cuts = [0, *sorted({1, rows // 3, rows - 1, rows // 2} - {0}), rows]
    parts = [filled(case, start=a, stop=b, threads=3) for a, b in itertools.pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "bfloat16"])
@pytest.mark.parametrize("case", CASES[:60], ids=IDS[:60])
def test_fill_converts_to_the_type_of_the_buffer(case, dtype):
    expected = reference.fill(case.x, case.edits, case.layout)
    if dtype == "bfloat16":
        got = (filled(case, np.uint16).astype(np.uint32) << 16).view(np.float32)
        bits = expected.view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
        assert np.array_equal(got, rounded.astype(np.uint32).view(np.float32))
    elif dtype == "uint8":
        scaled = reference.EditCase(case.name, case.x * 300, case.layout, case.edits)
        expected = reference.fill(scaled.x, case.edits, case.layout)
        assert np.array_equal(filled(scaled, np.uint8), np.clip(np.rint(expected), 0, 255).astype(np.uint8))
    else:
        assert np.array_equal(filled(case, np.dtype(dtype)), expected.astype(dtype))


@pytest.mark.parametrize("offset", [0, 3, 4, 8])
@pytest.mark.parametrize(("axes", "plane"), [("NCHW", (37, 223)), ("NHWC", (41, 67)), ("NCHW", (11, 2600))])
def test_streamed_bands_fill_their_rows_and_nothing_else(axes, plane, offset):
    """Heights that no band divides, planes so wide that a band is one row, outputs a few bytes into a line."""
    rng = np.random.default_rng(2)
    item = (3, *plane) if axes == "NCHW" else (*plane, 3)
    x, fill = rng.standard_normal((2, 1, *item)).astype(np.float32)
    count = 1 + (9 << 20) // x.nbytes  # more than passes through the caches
    labels = rng.integers(0, 40, plane).astype(np.int32)
    corners = rng.integers(-2, min(plane), (count, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, max(plane), (count, 2))], axis=1).astype(np.int32)
    order = native.rank(rng.standard_normal((1, plane[0] * plane[1])).astype(np.float32)).reshape(1, *plane)
    for edits in (
        Windows(boxes, fill),
        Coalitions(labels, (rng.random((count, 40)) < 0.5).astype(np.uint8), fill),
        Ranked(order, np.arange(count, dtype=np.int64) * labels.size // count, fill),
        SoftGrid(3, count, (7, 7), 0.5, fill),
    ):
        memory = np.full(count * x.size + 32, 77, np.float32)
        out = memory[offset : offset + count * x.size].reshape(count, *item)
        native.fill(x, edits, 0, count, out, Layout(axes, item))
        assert np.array_equal(out, reference.fill(x, edits, Layout(axes, item)))
        assert (memory[:offset] == 77).all()
        assert (memory[offset + count * x.size :] == 77).all()


def test_large_fill_streams_past_the_cache_and_stays_the_same():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, 3, 57, 61)).astype(np.float32)
    boxes = np.sort(rng.integers(0, 60, (300, 2, 2)), axis=1).reshape(300, 4).astype(np.int32)
    zero = np.zeros((1, 1, 1, 1), np.float32)
    for edits in (Windows(boxes, zero), SoftGrid(3, 300, (7, 7), 0.5, zero)):
        case = reference.EditCase("", x, Layout("NCHW", x.shape[1:]), edits)
        memory = np.empty(300 * x.size + 16, np.float32)
        for offset in range(0, 16, 5):  # unaligned outputs
            out = memory[offset : offset + 300 * x.size].reshape(300, *x.shape[1:])
            native.fill(x, edits, 0, 300, out, case.layout)
            assert np.array_equal(out[::37], reference.fill(x, edits, case.layout)[::37])


@pytest.mark.usefixtures("kernels")
def test_fill_normalises_on_the_way():
    scale, shift = np.array([2, 0.5, 1], np.float32), np.array([0.1, 0, -1], np.float32)
    for case in CASES:
        if case.layout.channels == 3 and not (isinstance(case.edits, Coalitions) and case.edits.whole):
            expected = reference.fill(case.x, case.edits, case.layout, scale, shift)
            assert np.array_equal(filled(case, scale=scale, shift=shift), expected)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("kinds", [None, 1, 3])
@pytest.mark.parametrize("case", [c for c in CASES if not isinstance(c.edits, Ranked)], ids=lambda c: c.name)
def test_accumulate_is_the_sum_over_stored_masks(case, kinds, power):
    whole = isinstance(case.edits, Coalitions) and case.edits.whole
    plane = case.layout.item if whole else case.layout.grid
    rng = np.random.default_rng(2)
    weights = rng.standard_normal((len(case.x), case.edits.count, kinds or 1))
    flat = (1, int(np.prod(plane))) if whole else plane
    expected = reference.accumulate(case.edits, weights, flat, power)
    got = native.accumulate(case.edits, weights if kinds else weights[..., 0], plane, power=power)
    assert got.shape == ((len(case.x), kinds, *plane) if kinds else (len(case.x), *plane))
    scale = np.abs(weights).sum(axis=1).max()
    assert np.abs(got.reshape(expected.shape) - expected).max() <= 3e-7 * scale
    again = native.accumulate(case.edits, weights if kinds else weights[..., 0], plane, power=power, threads=1)
    assert np.array_equal(got, again)


def test_windows_are_summed_in_fixed_point_so_order_changes_nothing():
    rng = np.random.default_rng(3)
    boxes = np.sort(rng.integers(0, 40, (500, 2, 2)), axis=1).reshape(500, 4).astype(np.int32)
    weights = rng.standard_normal((1, 500)) * 10.0 ** rng.integers(-6, 6, (1, 500))
    zero = np.zeros((1, 1, 1, 1), np.float32)
    forward = native.accumulate(Windows(boxes, zero), weights, (40, 40))
    backward = native.accumulate(Windows(boxes[::-1].copy(), zero), weights[:, ::-1], (40, 40))
    assert np.array_equal(forward, backward)


def test_coverage_counts_windows():
    edits = Windows(np.array([[0, 0, 2, 2], [1, 1, 3, 3]], np.int32), np.zeros((1, 1, 1, 1), np.float32))
    assert native.coverage(edits, (3, 3)).tolist() == [[[1, 1, 0], [1, 2, 1], [0, 1, 1]]]


def test_soft_grid_cells_are_the_definition():
    for seed, first, cells, plane in ((0, 0, (7, 7), (224, 224)), (2**64 - 1, 2**40, (3, 11), (31, 64))):
        got = native.soft_grid_cells(seed, first, 9, cells, 0.3, plane)
        expected = reference.soft_grid_cells(seed, first, 9, cells, 0.3, plane)
        assert np.array_equal(got[0], expected[0])
        assert np.array_equal(got[1], expected[1])


def test_philox_known_answers():
    # Random123's kat_vectors for philox4x32-10
    assert reference.philox((0, 0, 0, 0), 0) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    ones = 0xFFFFFFFF
    assert reference.philox((ones,) * 4, 2**64 - 1) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)


def test_every_pixel_is_kept_with_the_probability_asked_for():
    count = 20000
    mean = native.coverage(SoftGrid(11, count, (7, 7), 0.3, np.zeros((1, 1, 1, 1), np.float32)), (28, 28))[0] / count
    # a mask value has a standard deviation of at most sqrt(0.3 * 0.7), so 5 standard errors
    assert np.abs(mean - 0.3).max() < 5 * np.sqrt(0.21 / count)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fill_takes_any_shape(kernels, data):
    channels = data.draw(st.integers(1, 5))
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 70))
    items, samples = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 40))
    last = data.draw(st.booleans())
    shape = (items, height, width, channels) if last else (items, channels, height, width)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = rng.standard_normal(shape).astype(np.float32)
    zero = np.zeros((1, 1, 1, 1), np.float32)
    cells = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    edits = data.draw(
        st.sampled_from(
            [
                SoftGrid(9, samples, cells, 0.5, zero),
                Windows(rng.integers(-5, 75, (samples, 4)).astype(np.int32), zero),
                Coalitions(
                    rng.integers(-1, 4, (height, width)).astype(np.int32),
                    rng.integers(0, 2, (samples, 4)).astype(np.uint8),
                    zero,
                ),
            ]
        )
    )
    layout = Layout("NHWC" if last else "NCHW", shape[1:])
    case = reference.EditCase("", x, layout, edits)
    start = data.draw(st.integers(0, items * samples))
    stop = data.draw(st.integers(start, items * samples))
    got = filled(case, start=start, stop=stop)
    assert np.array_equal(got, reference.fill(x, edits, layout)[start:stop])


ZERO = np.zeros((1, 1, 1, 1), np.float32)
PICTURE = np.zeros((2, 3, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        (Windows(np.zeros((3, 1, 4), np.int32), ZERO), "Windows.boxes is for 3 items, but there are 2"),
        (Windows(np.zeros((1, 4), np.int32), np.zeros((1, 2, 1, 1), np.float32)), "does not broadcast"),
        (Coalitions(np.full((8, 8), 5, np.int32), np.ones((1, 5), np.uint8), ZERO), "go up to 5, but keep has 5"),
        (Coalitions(np.zeros((7, 8), np.int32), np.ones((1, 5), np.uint8), ZERO), "one value per position"),
        (SoftGrid(0, 1, (9, 7), 0.5, ZERO), "cells are 9 x 7; accepted: 1 to 8 x 1 to 8"),
        (SoftGrid(0, 1, (7, 7), 1.5, ZERO), "keep is 1.5; accepted: a probability"),
        (SoftGrid(-1, 1, (7, 7), 0.5, ZERO), "seed is -1"),
        (Full(np.zeros((2, 7, 8), np.float32), ZERO), "Full.masks are"),
    ],
)
def test_edits_that_do_not_fit_are_refused(edits, message):
    out = np.empty((2 * edits.count, 3, 8, 8), np.float32)
    with pytest.raises(UsageError, match=message):
        native.fill(PICTURE, edits, 0, len(out), out, Layout("NCHW", PICTURE.shape[1:]))


def test_buffers_that_do_not_fit_are_refused():
    out = np.empty((2, 3, 8, 8), np.float32)
    with pytest.raises(UsageError, match=r"Items are float64 \[2, 3, 8, 8\]; accepted: .* float32"):
        native.fill(PICTURE.astype(np.float64), Untouched(), 0, 2, out)
    with pytest.raises(UsageError, match=r"Rows 0\.\.3 are asked for; there are 2 items x 1 edits"):
        native.fill(PICTURE, Untouched(), 0, 3, out)
    with pytest.raises(UsageError, match=r"out is \[2, 3, 8, 8\]; needed: \[1, 3, 8, 8\]"):
        native.fill(PICTURE, Untouched(), 0, 1, out)
    with pytest.raises(UsageError, match="out is int32; accepted: float32, float16"):
        native.fill(PICTURE, Untouched(), 0, 2, np.empty(out.shape, np.int32))
    with pytest.raises(UsageError, match="scale and shift go together"):
        native.fill(PICTURE, Untouched(), 0, 2, out, scale=np.ones(3, np.float32))
    out.flags.writeable = False
    with pytest.raises(BufferError, match="read-only"):
        native.fill(PICTURE, Untouched(), 0, 2, out)


def test_weights_that_do_not_fit_are_refused():
    edits = Windows(np.zeros((2, 4), np.int32), ZERO)
    with pytest.raises(UsageError, match=r"weights are \[1, 3\]; accepted: \[N, 2\] or \[N, 2, K\]"):
        native.accumulate(edits, np.ones((1, 3)), (8, 8))
    with pytest.raises(NonFinite, match="a weight is NaN or infinite"):
        native.accumulate(edits, np.full((1, 2), np.nan), (8, 8))
    with pytest.raises(UsageError, match="power is 3"):
        native.accumulate(edits, np.ones((1, 2)), (8, 8), power=3)
    with pytest.raises(UsageError, match="Ranked edits are nested"):
        native.accumulate(Ranked(np.zeros((8, 8), np.int32), np.zeros(2, np.int64), ZERO), np.ones((1, 2)), (8, 8))


def test_status_says_what_is_live():
    status = native.status()
    assert status["cpu"] in ("baseline", "x86-64-v3", "x86-64-v4")
    assert status["threads"] >= 1
    assert status["devices"] == 0 or status["cuda"]
