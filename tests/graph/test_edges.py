"""Winograd's share of a window and the edges around it: together the window, and never more work."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.incremental.boxes import live_taps, reached
from xplain.incremental.edges import edges, inner
from xplain.native.delta import Kernel

KERNEL = Kernel((3, 3), (1, 1), (1, 1), (1, 1))
PLANE = (28, 30)
MANY = 512 * 512


def windows(seed: int = 0, count: int = 400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 15, (count, 2))
    corner = (rng.random((count, 2)) * (np.array(PLANE) - size + 1)).astype(int)
    box = np.concatenate([corner, size], axis=1).astype(np.int64)
    box[::17] = 0
    return box


def painted(masks: np.ndarray, boxes: np.ndarray, count: int) -> np.ndarray:
    seen = np.zeros((count, *PLANE), int)
    for m, (y, x, h, w) in zip(masks, boxes, strict=True):
        seen[m, y : y + h, x : x + w] += 1
    return seen


def test_every_pixel_is_computed_once() -> None:
    out = reached(windows(), KERNEL, PLANE)
    within, _ = inner(windows(), out, KERNEL, MANY)
    masks, strips = edges(out, within)
    assert len(masks)
    assert (within != out).any()
    assert (strips[:, 2:] > 0).all()
    got = painted(np.arange(len(out)), within, len(out)) + painted(masks, strips, len(out))
    assert np.array_equal(got, painted(np.arange(len(out)), out, len(out)))


def test_the_direct_share_is_counted_tap_by_tap() -> None:
    source = windows()
    out = reached(source, KERNEL, PLANE)
    within, rest = inner(source, out, KERNEL, MANY)
    masks, strips = edges(out, within)
    taps = np.zeros(len(out), np.int64)
    np.add.at(taps, masks, live_taps(source[masks], strips, KERNEL))
    assert np.array_equal(taps, rest)


@pytest.mark.parametrize(("side", "kept"), [(6, 8), (7, 8), (8, 10), (9, 11), (11, 12)])
def test_edges_are_left_where_tiles_would_be_nearly_empty(side: int, kept: int) -> None:
    source = np.array([[8, 8, side, side]], np.int64)
    out = reached(source, KERNEL, PLANE)
    within, _ = inner(source, out, KERNEL, MANY)
    assert within[0, 2:].tolist() == [kept, kept]


def test_small_layers_and_empty_windows_are_left_alone() -> None:
    out = reached(windows(), KERNEL, PLANE)
    within, rest = inner(windows(), out, KERNEL, 64 * 64)
    assert np.array_equal(within, out)
    assert not rest.any()
    none = np.zeros((2, 4), np.int64)
    within, rest = inner(none, none, KERNEL, MANY)
    masks, strips = edges(none, within)
    assert not within.any()
    assert not rest.any()
    assert not len(masks)
    assert not len(strips)
