"""What items are called by their content: equal values, equal name; anything else, another."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.keeping.content import checksums


def test_equal_values_have_equal_checksums_whatever_their_type_and_memory():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4, 5)).astype(np.float32)
    turned = np.asfortranarray(x.astype(np.float64))
    assert checksums(x) == checksums(turned)
    assert checksums(x[::-1]) == checksums(x)[::-1]
    assert checksums(np.arange(6, dtype=np.uint8).reshape(2, 3)) == checksums(np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("size", [1, 2, 7, 2**16 + 3, 3 * 2**16])
def test_each_changed_number_and_place_shows(size):
    rng = np.random.default_rng(size)
    x = rng.standard_normal((1, size)).astype(np.float32)
    places = rng.choice(size, min(size, 200), replace=False)
    others = np.repeat(x, len(places), 0)
    others[np.arange(len(places)), places] = np.nextafter(others[np.arange(len(places)), places], np.float32(9))
    found = {*checksums(x), *checksums(others), *checksums(np.roll(x, 1, 1)), *checksums(np.pad(x, ((0, 0), (0, 1))))}
    assert len(found) == len(places) + 3 - (size == 1)
    assert all(len(one) == 32 for one in found)
    blocks = np.concatenate([x[:, size // 2 :], x[:, : size // 2]], 1)
    assert size == 1 or checksums(blocks) != checksums(x)
