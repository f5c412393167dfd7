"""Numbers of maps: the compiled kernel against its definition, and what half precision makes of odd values."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xplain import native
from xplain.core.errors import UsageError
from xplain.native import reference


def weights(rng, height, width):
    return rng.random((2, height)), rng.random((3, width))


def numbers(found):
    told = (found.scale, found.total, found.mass, found.gini, found.entropy, found.place)
    parts = [found.parts[:, r, c] for r in range(found.parts.shape[1]) for c in range(found.parts.shape[2])]
    return np.column_stack([*told, *parts])


@settings(max_examples=40, deadline=None)
@given(
    items=st.integers(0, 3), layers=st.integers(1, 3), height=st.integers(1, 9), width=st.integers(1, 90),
    few=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
@example(items=1, layers=2, height=4, width=20, few=True, seed=135)  # sizes that add up to more than float32 holds
def test_numbers_are_those_of_the_definition(items, layers, height, width, few, seed):
    """Sorted or counted, of one layer or several; ties, zeros of both signs, the smallest and the largest values."""
    rng = np.random.default_rng(seed)
    maps = rng.standard_normal((items, layers, height, width)).astype(np.float32) ** 3
    if few:
        odd = np.array([0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, 6e-8, 1e-5, 1e30, -1e30, 3e38], np.float32)
        maps = rng.choice(odd[: rng.integers(1, len(odd) + 1)], maps.shape)
    rows, columns = weights(rng, height, width)
    found = native.describe(maps, rows, columns)
    codes, told = reference.describe(maps, rows, columns)
    assert found.codes.tobytes() == codes.tobytes()
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(numbers(found), told, rtol=1e-12, atol=1e-13 * np.abs(maps).max(initial=0) + 1e-13)
    assert np.array_equal(found.scale, told[:, 0])
    assert np.array_equal(found.place, told[:, 5])


def test_a_value_is_kept_as_numpy_rounds_it():
    """All of half precision, what lies halfway between two of it, and beside that: ties go to the even one."""
    half = np.arange(0x3C01, dtype=np.uint16).view(np.float16).astype(np.float32)
    middle = (half[1:] + half[:-1]) / 2
    near = [
        np.nextafter(one, way, dtype=np.float32) for one in (half, middle) for way in (np.float32(0), np.float32(1))
    ]
    values = np.concatenate([half, middle, *near, np.geomspace(1e-45, 1, 5000, dtype=np.float32)])
    maps = np.concatenate([values, -values]).reshape(1, 1, 1, -1)
    found = native.describe(maps, np.ones((1, 1)), np.ones((1, maps.shape[-1])))
    assert found.scale[0] == 1
    assert found.codes.tobytes() == maps.astype(np.float16).tobytes()


@pytest.mark.parametrize("odd", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 17, 599])
def test_a_map_that_is_not_finite_is_nan_throughout(odd, place):
    maps = np.random.default_rng(0).standard_normal((3, 600)).astype(np.float32)
    maps[1, place] = odd
    found = native.describe(maps.reshape(3, 2, 15, 20), np.ones((1, 15)), np.ones((1, 20)))
    assert np.isnan(numbers(found)[1]).all()
    assert (found.codes[1].view(np.uint16) == 0x7E00).all()
    assert np.isfinite(numbers(found)[[0, 2]]).all()


def test_a_map_of_zeros_has_no_spread():
    found = native.describe(np.zeros((1, 1, 2, 3)), np.ones((1, 2)), np.ones((1, 3)))
    assert numbers(found)[0].tolist()[:3] == [0, 0, 0]
    assert np.isnan([found.gini[0], found.entropy[0]]).all()
    assert (found.place[0], found.parts[0, 0, 0]) == (0, 0)
    assert not found.codes.any()


def test_the_same_bits_for_any_threads_and_any_neighbours():
    rng = np.random.default_rng(1)
    maps = rng.standard_normal((9, 2, 61, 47)).astype(np.float32)
    rows, columns = weights(rng, 61, 47)
    whole = [native.describe(maps, rows, columns, threads=threads) for threads in (1, 3)]
    alone = [native.describe(maps[k : k + 1], rows, columns) for k in range(9)]
    assert numbers(whole[0]).tobytes() == numbers(whole[1]).tobytes()
    assert numbers(whole[0]).tobytes() == b"".join(numbers(one).tobytes() for one in alone)
    assert whole[0].codes.tobytes() == whole[1].codes.tobytes()


@pytest.mark.parametrize(
    ("maps", "rows", "columns"),
    [((2, 3, 4), (1, 3), (1, 4)), ((2, 1, 3, 4), (1, 4), (1, 4)), ((2, 1, 3, 4), (1, 3), (0, 4)),
     ((2, 1, 0, 4), (1, 0), (1, 4))],
)  # fmt: skip
def test_what_does_not_fit_is_refused(maps, rows, columns):
    with pytest.raises(UsageError, match=r"describe needs maps \[N, D, H, W\]"):
        native.describe(np.zeros(maps), np.ones(rows), np.ones(columns))


@pytest.mark.slow
def test_the_same_bits_however_it_is_compiled_and_clean_under_sanitizers(tmp_path):
    """For this processor, for the plainest one, and with the sanitizers of memory, arithmetic and threads."""
    source = Path(__file__).with_name("describe_cases.cpp")
    ways = (
        "-O3", "-O3 -DXP_ONE_VARIANT", "-O1 -DXP_ONE_VARIANT -fsanitize=address,undefined -fno-sanitize-recover=all",
        "-O1 -DXP_ONE_VARIANT -fsanitize=thread",
    )  # fmt: skip
    told = []
    for k, flags in enumerate(ways):
        made = tmp_path / str(k)
        plain = ["-std=c++20", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", f"-I{source.parents[2] / 'csrc'}"]
        compiler = os.environ.get("CXX", "g++")
        subprocess.run([compiler, *plain, *flags.split(), source, "-o", made, "-lpthread"], check=True)
        told.append(subprocess.run([made], check=True, stdout=subprocess.PIPE, text=True).stdout)
    assert len(set(told)) == 1, told
