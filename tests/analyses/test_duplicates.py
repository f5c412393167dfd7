"""Copies, near copies and leaks are found to the index; hashes by pieces find what comparing all with all finds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from xplain.analyses.duplicates import copies, difference_hash, hash_pairs, near_copies, vector_pairs, verified
from xplain.core.errors import UsageError


def test_copies_leaks_and_labels_that_differ_are_told_apart():
    digests = ["a", "b", "a", "c", "", "", "b", "d"]
    splits = ["train", "train", "test", "test", "train", "test", "train", "test"]
    labels = ["cat", "cat", "cat", "dog", None, None, "dog", "owl"]
    found = copies(digests, labels=labels, splits=splits, items=np.arange(8) + 100)
    assert [(one.group, one.standing) for one in found] == [
        ("", "measured"),
        ("leak", "measured"),
        ("labels", "measured"),
    ]
    assert found[0].evidence["copies"].tolist() == [
        [0, 100],
        [0, 102],
        [1, 101],
        [1, 106],
    ]  # what could not be read is no copy of another
    assert found[0].effect == 0.5
    assert found[1].evidence["copies"].tolist() == [[0, 100], [0, 102]]
    assert found[2].evidence["copies"].tolist() == [[0, 101], [0, 106]]
    none = copies(["a", "b"])
    assert len(none) == 1
    assert none[0].statement.startswith("No two of 2")


def slow_pairs(hashes, most):
    return [
        [i, j]
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if hashes[i] and hashes[j] and bin(int(hashes[i]) ^ int(hashes[j])).count("1") <= most
    ]


@pytest.mark.parametrize("most", [0, 3, 7])
def test_pairs_by_pieces_are_those_of_comparing_all_with_all(most):
    rng = np.random.default_rng(0)
    base = rng.integers(1, 2**63, 60, dtype=np.uint64)
    near = base.copy()
    for n in range(60):
        for bit in rng.choice(64, n % 9, replace=False):
            near[n] ^= np.uint64(1) << np.uint64(bit)
    hashes = np.concatenate([base, near, np.zeros(3, np.uint64)])
    assert hash_pairs(hashes, most).tolist() == slow_pairs(hashes, most)
    with pytest.raises(UsageError, match="7 bits"):
        hash_pairs(hashes, 9)


def smooth(rng, count, side=48):
    coarse = rng.uniform(0, 255, (count, 8, 8))
    return np.stack([np.kron(one, np.ones((side // 8, side // 8))) for one in coarse])


def test_a_brightened_noisy_resized_picture_is_its_original_and_others_are_not():
    rng = np.random.default_rng(1)
    one = smooth(rng, 40)
    changed = np.clip(0.8 * one[:5] + 30 + rng.normal(0, 1, one[:5].shape), 0, 255)
    grey = np.concatenate([one, changed, np.full((3, 48, 48), 128.0)])
    pairs = hash_pairs(difference_hash(grey))
    kept = verified(pairs, lambda rows: grey[rows])
    assert {tuple(pair) for pair in kept.tolist()} == {(n, 40 + n) for n in range(5)}
    bigger = np.kron(one[:4], np.ones((1, 2, 2)))
    np.testing.assert_array_equal(difference_hash(bigger), difference_hash(one[:4]))
    assert (difference_hash(grey)[-3:] == 0).all()  # nothing to be told by
    assert len(verified(np.array([[0, 1], [0, 40]]), lambda rows: grey[rows])) == 1  # the hash only proposes


def test_the_hash_is_that_of_each_cell_against_its_right_neighbour():
    picture = np.random.default_rng(2).integers(0, 256, (1, 16, 18)).astype(float)
    bits = ""
    cells = picture[0].reshape(8, 2, 9, 2).mean(axis=(1, 3))
    for row in cells:
        bits += "".join("1" if a > b else "0" for a, b in pairwise(row))
    assert int(difference_hash(picture)[0]) == int(bits, 2)


def test_pairs_that_hang_together_are_one_group_and_a_near_leak_is_a_candidate():
    pairs = np.array([[1, 4], [4, 6], [2, 3]])
    found = near_copies(pairs, of=8, splits=["a"] * 6 + ["b"] * 2)
    assert found[0].evidence["copies"].tolist() == [[0, 1], [0, 4], [0, 6], [1, 2], [1, 3]]
    assert [(one.group, one.standing) for one in found] == [("", "measured"), ("leak", "candidate")]
    assert found[1].evidence["copies"].tolist() == [[0, 1], [0, 4], [0, 6]]
    assert near_copies(np.zeros((0, 2), int), of=8)[0].effect == 0


def test_vectors_of_one_direction_are_pairs():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(30, 16))
    rows[20] = rows[4] * 3 + 0.01
    assert vector_pairs(rows).tolist() == [[4, 20]]
