"""What items are called by their content: equal values, equal name; anything else, another."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.keeping.content import _weights, checksums


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


@pytest.mark.parametrize("size", [1, 5, 2**16 + 3])
def test_a_checksum_is_two_sums_of_words_times_odd_weights(size):
    x = np.random.default_rng(size).standard_normal((1, size)).astype(np.float32)
    raw = x.tobytes() + bytes(-4 * size % 8)
    words = [int.from_bytes(raw[k : k + 8], "little") for k in range(0, len(raw), 8)]
    sums = [4 * size, 4 * size]
    for start in range(0, len(words), 2**15):
        for row, weights in enumerate(_weights().tolist()):
            added = sum(a * b for a, b in zip(words[start : start + 2**15], weights, strict=False))
            sums[row] = (sums[row] * 0x9E3779B97F4A7C15 + added) % 2**64
    assert checksums(x) == ("".join(f"{one:016x}" for one in sums),)
