"""Facets: kinds of photographs that excite a target are told apart, and each begins a picture of its own."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from tests.synthesis.test_making import SIZE, plain
from xplain.core.errors import UsageError
from xplain.explainers.synthesis.facets import clusters_of

RNG = np.random.default_rng(0)


def kinds() -> list[np.ndarray]:
    """Five photographs red above, three blue above, four dark ones with some green, in turn."""
    found = []
    for channel, light, count in ((0, 220, 5), (2, 220, 3), (1, 30, 4)):
        for _ in range(count):
            picture = RNG.integers(0, 10, (*SIZE, 3), np.uint8)
            picture[:4, :, channel] += np.uint8(light)
            found.append(picture)
    return [found[k] for k in RNG.permutation(len(found))]


def test_each_kind_of_photograph_that_excites_a_class_begins_a_picture():
    options = {"layer": "made", "facets": 2, "keep": 8, "steps": 3, "jitter": 0.0}
    found = xplain.make(plain(), "facets", target="cat", photographs=kinds(), **options)
    assert found.each["photographs"] == [5, 3]  # the dark ones excite less, and are left out
    assert found.names == ("cat facet 1", "cat facet 2")
    assert found.labels == (0, 0)
    red, green, blue = (found.picture[:, channel, :4].mean(axis=(1, 2)) for channel in range(3))
    assert red[0] > blue[0] + 0.2 > green[0]
    assert blue[1] > red[1] + 0.2 > green[1]
    assert found.trace.shape == (2, 3)


def test_targets_have_their_own_photographs():
    upside = [one[::-1] for one in kinds()[:6]]
    options = {"layer": "made", "facets": 2, "keep": 4, "steps": 2}
    found = xplain.make(plain(), "facets", target=["cat", "dog"], photographs=[*kinds(), *upside], **options)
    assert found.names == ("cat facet 1", "dog facet 1", "cat facet 2", "dog facet 2")
    assert found.labels == (0, 1, 0, 1)
    alone = xplain.make(plain(), "facets", target="cat", photographs=kinds(), **options)
    upper = [one[:, :4].mean() - one[:, 4:].mean() for one in found.picture]
    assert min(upper[0], upper[2]) > 0.05
    assert max(upper[1], upper[3]) < -0.05
    assert alone.names == ("cat facet 1", "cat facet 2")


def test_groups_are_the_planted_ones_by_direction_and_rows_alike_are_one():
    ways = np.eye(4)[[0, 0, 0, 0, 1, 1, 1, 2, 2]] * RNG.uniform(1, 3, (9, 1))
    groups = clusters_of(ways + 0.01 * RNG.normal(size=ways.shape), 3, np.random.default_rng(1))
    assert [one.tolist() for one in groups] == [[0, 1, 2, 3], [4, 5, 6], [7, 8]]
    assert [len(one) for one in clusters_of(np.ones((4, 3)), 3, np.random.default_rng(1))] == [4]


def test_more_facets_than_photographs_are_refused():
    with pytest.raises(UsageError, match="photographs, 12"):
        xplain.make(plain(), "facets", target="cat", photographs=kinds(), layer="made", facets=13)
