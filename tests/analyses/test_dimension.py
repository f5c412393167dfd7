"""Dimensions of planted manifolds equal scikit-dimension's; near-duplicates go first; DeepMDS keeps distances."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.clouds import groups, sphere
from xplain.analyses import distances
from xplain.analyses.dimension import dimension, distinct
from xplain.analyses.distances import deep_mds, distance_correlation, verification
from xplain.analyses.projection import principal
from xplain.core.errors import UsageError

# scikit-dimension 0.5.0, in an environment of its own, on the same points:
#   for d in (2, 5, 10):
#       skdim.id.TwoNN().fit(sphere(d)).dimension_, skdim.id.MLE().fit(sphere(d), n_neighbors=20).dimension_
SCIKIT_DIMENSION = {
    2: (1.8882977282025661, 1.993600742027919),
    5: (4.486720222385844, 4.806204122028619),
    10: (9.134348022285774, 8.240647523888548),
}


@pytest.mark.parametrize(("planted", "theirs"), SCIKIT_DIMENSION.items())
def test_two_nn_and_maximum_likelihood_equal_scikit_dimension(planted, theirs):
    found = dimension(sphere(planted), near=0).estimates
    assert found["two-nn"].value == pytest.approx(theirs[0], rel=1e-9)
    assert found["maximum-likelihood"].value == pytest.approx(theirs[1], rel=1e-9)


@pytest.mark.parametrize("planted", [2, 5])
def test_the_truth_lies_between_the_estimators(planted):
    found = dimension(sphere(planted))
    low = min(found.estimates[name].low for name in ("two-nn", "maximum-likelihood"))
    assert low < planted < found.estimates["graph"].high
    assert found.estimates["graph"].value == pytest.approx(planted, rel=0.15)
    assert found.facts["connected"] == 1
    for one in found.estimates.values():
        assert one.low < one.value < one.high


def test_near_duplicates_are_left_out_first_and_counted():
    points = sphere(5, 300)
    rng = np.random.default_rng(1)
    copies = points[:60] + 1e-6 * rng.normal(size=(60, 64))
    doubled = np.concatenate([points, copies, points[:20]])
    plain, found = dimension(points, near=0.001), dimension(doubled, near=0.001)
    assert (found.points, found.duplicates) == (300, 80)
    np.testing.assert_array_equal(distinct(doubled, 0.001), np.arange(300))
    assert found.estimates["two-nn"].value == pytest.approx(plain.estimates["two-nn"].value)


def test_a_cloud_in_groups_is_said_to_be():
    rows, _ = groups(200, kinds=4, width=6)
    rows[:50] += 500
    found = dimension(rows + 1000 * (np.arange(200) % 4)[:, None])
    assert found.facts["connected"] < 0.5
    assert "fall into groups" in " ".join(found.warnings)


def test_too_few_distinct_points_are_refused():
    with pytest.raises(UsageError, match="3 of 90 vectors are distinct"):
        dimension(np.repeat(np.eye(3), 30, axis=0))


# ---------------------------------------------------------------------- DeepMDS


def test_gradients_of_the_stress_are_finite_differences():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 8))
    stages = [distances._started(x, 4, 6, rng)]
    stages.append(distances._started(stages[0].forward(x)[0], 2, 6, rng))
    for stage in stages:
        stage.weights["out"][:] = rng.normal(size=stage.weights["out"].shape) / 4

    def loss() -> float:
        values = x
        for stage in stages:
            values, _ = stage.forward(values)
        return float(((distances._apart(values) - distances._apart(x)) ** 2).mean())

    for stage, grads in zip(stages, distances._gradients(x, stages), strict=True):
        for name, weights in stage.weights.items():
            for place in np.ndindex(*weights.shape):
                kept = weights[place]
                weights[place] = kept + 1e-5
                above = loss()
                weights[place] = kept - 1e-5
                slope = (above - loss()) / 2e-5
                weights[place] = kept
                assert grads[name][place] == pytest.approx(slope, abs=1e-7), name


def test_a_learned_map_keeps_distances_better_than_principal_components():
    points = sphere(5, 300)
    made = deep_mds(points, 5, epochs=60, seed=1)
    assert made.facts["stress after"] < 0.9 * made.facts["stress before"]
    assert made(points).shape == (300, 5)
    assert distance_correlation(points, made(points)) > distance_correlation(points, principal(points, 5)[0])
    np.testing.assert_allclose(made(points[:7]), made(points)[:7])  # a place does not depend on the others
    again = [deep_mds(points, 5, epochs=2, seed=1)(points) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    with pytest.raises(UsageError, match="width is 64; accepted: 1 to 63"):
        deep_mds(points, 64)


def test_verification_is_the_true_accept_rate():
    rows = np.array([[0.0], [1.0], [10.0], [12.0], [13.5]])  # same: 1, and 2, 3.5, 1.5; apart: 8.5 to 13.5
    labels = ["a", "a", "b", "b", "b"]
    assert verification(rows, labels, 0.01) == 1
    rows = np.array([[0.0], [1.0], [0.1], [9.0]])
    assert verification(rows, ["a", "a", "b", "b"], 0.0) == 0  # the nearest wrong pair is nearer than every right one
    assert verification(rows, ["a", "a", "b", "b"], 0.5) == 0.5  # 1.0 is within the median wrong pair, 8.9 is not
    with pytest.raises(UsageError, match="shared by two items"):
        verification(rows, list("abcd"))
