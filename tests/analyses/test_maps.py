"""Maps of the plane: equal to their libraries, with true statements beside them, and grids that are permutations."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from analyses.clouds import groups
from xplain.analyses import lattice as lattice_module
from xplain.analyses import preservation as preservation_module
from xplain.analyses.clusters import clusters
from xplain.analyses.lattice import evened, lattice
from xplain.analyses.preservation import preservation
from xplain.analyses.projection import PROJECTIONS, principal, project
from xplain.core.errors import MissingDependency, UnknownName, UsageError


@pytest.mark.parametrize("shape", [(80, 12), (30, 60)])
def test_principal_components_are_scikit_learns(shape):
    from sklearn.decomposition import PCA

    rows = np.random.default_rng(0).normal(size=shape) * np.linspace(3, 0.1, shape[1])
    theirs = PCA(5)
    found, held = principal(rows, 5)
    np.testing.assert_allclose(found, theirs.fit_transform(rows), atol=1e-9)
    np.testing.assert_allclose(held, theirs.explained_variance_ratio_, atol=1e-12)


def test_components_that_are_not_there_are_zero():
    found, held = principal(np.array([[0.0], [1], [2]]), 2)
    np.testing.assert_array_equal(found[:, 1], 0)
    np.testing.assert_allclose(held, [1, 0])


def test_t_sne_is_open_tsnes():
    open_tsne = pytest.importorskip("openTSNE")
    rows, _ = groups(90, width=10)
    found = project(rows, "t-sne", perplexity=12, seed=3)
    theirs = open_tsne.TSNE(perplexity=12, initialization="pca", random_state=3, n_jobs=1).fit(rows)
    np.testing.assert_allclose(found.places, np.asarray(theirs), atol=1e-6)
    assert found.library.startswith("openTSNE")
    assert found.facts == {"perplexity": 12.0, "start": "principal components"}


def test_without_open_tsne_t_sne_is_scikit_learns(monkeypatch):
    from sklearn.manifold import TSNE

    real = builtins.__import__

    def without(name, *args, **more):
        if name == "openTSNE":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    rows, _ = groups(60, width=10)
    found = project(rows, "t-sne", seed=1)
    theirs = TSNE(2, perplexity=59 / 3, init="pca", random_state=1, n_jobs=1).fit_transform(rows)
    np.testing.assert_allclose(found.places, theirs, atol=1e-3 * np.ptp(theirs))
    assert found.facts["perplexity"] == pytest.approx(59 / 3, abs=1e-3)  # a third of the points at most
    assert found.library.startswith("scikit-learn")


@pytest.mark.parametrize(("by", "module"), [("umap", "umap"), ("pacmap", "pacmap")])
@pytest.mark.filterwarnings("ignore")  # numba's, of what it compiles
def test_umap_and_pacmap_are_their_libraries_and_follow_the_seed(by, module):
    library = pytest.importorskip(module, reason=f"needs the extra maps ({module})")
    rows, kind = groups(120, width=10)
    found, again, other = (project(rows, by, neighbours=8, seed=seed) for seed in (3, 3, 4))
    made = {"umap": "UMAP", "pacmap": "PaCMAP"}[by]
    threads = {"n_jobs": 1} if by == "umap" else {}
    theirs = getattr(library, made)(n_neighbors=8, random_state=3, **threads).fit_transform(rows)
    np.testing.assert_allclose(found.places, theirs, atol=1e-4)
    np.testing.assert_array_equal(found.places, again.places)
    assert np.abs(found.places - other.places).max() > 0.01
    near = np.argsort(np.linalg.norm(found.places[:, None] - found.places, axis=2), axis=1)[:, 1:6]
    assert (kind[near] == kind[:, None]).mean() > 0.95
    assert found.facts == {"neighbours": 8}


def test_wide_vectors_go_through_their_components_and_it_is_said():
    rows, _ = groups(70, width=60)
    assert project(rows, "t-sne").facts["principal components before"] == 50
    assert "principal components before" not in project(rows, "pca").facts


@pytest.mark.parametrize(("by", "module"), [("umap", "umap"), ("pacmap", "pacmap"), ("t-sne", "sklearn")])
def test_a_library_that_is_not_there_is_named(monkeypatch, by, module):
    real = builtins.__import__

    def without(name, *args, **more):
        if name.split(".")[0] in (module, "openTSNE"):
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependency, match="pip install"):
        project(np.eye(20), by)


def test_what_cannot_be_laid_out_is_refused():
    with pytest.raises(UnknownName, match="pca, t-sne, umap, pacmap"):
        project(np.eye(9), "zzz")
    with pytest.raises(UsageError, match="pca for fewer than 5"):
        project(np.eye(4), "t-sne")
    assert set(PROJECTIONS) == {"pca", "t-sne", "umap", "pacmap"}


# ---------------------------------------------------------------------- what a map keeps


def test_preservation_is_scikit_learns_trustworthiness():
    from sklearn.manifold import trustworthiness

    rows, _ = groups(150)
    places = principal(rows, 2)[0]
    found = preservation(rows, places, 7)
    assert found.trustworthiness == pytest.approx(trustworthiness(rows, places, n_neighbors=7), abs=1e-12)
    assert found.continuity == pytest.approx(trustworthiness(places, rows, n_neighbors=7), abs=1e-12)
    assert found.looked == 150
    assert f"{found.kept:.0%}" in str(found)


def test_a_perfect_map_keeps_all_and_a_random_one_what_chance_gives():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(200, 2))
    perfect = preservation(np.c_[flat, np.zeros((200, 3))], 5 * flat[:, ::-1], 10)
    assert (perfect.trustworthiness, perfect.continuity, perfect.kept) == (1, 1, 1)
    random = preservation(rng.normal(size=(200, 5)), flat, 10)
    assert random.kept == pytest.approx(random.chance, abs=0.02)
    assert random.trustworthiness == pytest.approx(0.5, abs=0.05)


def test_many_vectors_are_looked_at_from_some_of_them(monkeypatch):
    rows, _ = groups(400)
    places = principal(rows, 2)[0]
    whole = preservation(rows, places)
    monkeypatch.setattr(preservation_module, "_ALL", 100)
    some = preservation(rows, places)
    assert some.looked == 100
    assert some.trustworthiness == pytest.approx(whole.trustworthiness, abs=0.02)
    np.testing.assert_array_equal(some.each, whole.each[some.of])


def test_a_neighbourhood_is_below_half_of_the_items():
    with pytest.raises(UsageError, match="k is 5; accepted: 1 to 4"):
        preservation(np.eye(10), np.eye(10)[:, :2], 5)
    with pytest.raises(UsageError, match="10 vectors and 9 places"):
        preservation(np.eye(10), np.eye(9), 2)


# ---------------------------------------------------------------------- grids and groups


def test_a_grid_gives_each_its_own_cell_with_the_least_moves():
    places = np.random.default_rng(0).normal(size=(30, 2))
    cells = lattice(places)
    assert len({tuple(cell) for cell in cells}) == 30
    spot = evened(places)
    spot = np.stack([(1 - spot[:, 1]) * 4, spot[:, 0] * 5], axis=1)
    grid = np.stack(np.mgrid[:5, :6], axis=-1).reshape(-1, 2)
    cost = ((spot[:, None] - grid) ** 2).sum(axis=2)
    assert ((spot - cells) ** 2).sum() == pytest.approx(cost[linear_sum_assignment(cost)].sum())


@pytest.mark.parametrize("count", [37, 400, 1000])
def test_a_grid_of_parts_is_a_permutation_too(monkeypatch, count):
    monkeypatch.setattr(lattice_module, "_TOGETHER", 16)
    places = np.random.default_rng(count).normal(size=(count, 2))
    cells = lattice(places)
    assert len({tuple(cell) for cell in cells}) == count
    assert np.corrcoef(places[:, 0], cells[:, 1])[0, 1] > 0.6  # x runs to the right
    assert np.corrcoef(places[:, 1], cells[:, 0])[0, 1] < -0.6  # y upwards


def test_a_grid_of_a_true_grid_is_itself():
    rows, columns = np.mgrid[:6, :7]
    places = np.stack([columns.ravel(), -rows.ravel()], axis=1)
    np.testing.assert_array_equal(lattice(places, (6, 7)), np.stack([rows.ravel(), columns.ravel()], axis=1))
    with pytest.raises(UsageError, match="4 cells for 42 points"):
        lattice(places, (2, 2))


def test_groups_are_found_and_named_by_their_commonest_label():
    rows, kind = groups(300)
    labels = [f"kind {k}" for k in kind]
    labels[int(np.flatnonzero(kind == 2)[0])] = "astray"
    found = clusters(rows, labels, 5)
    assert sorted(one.name for one in found) == [f"kind {k}" for k in range(5)]
    for one in found:
        assert set(kind[one.items]) == {int(one.name[-1])}
        assert one.medoid in one.items
        assert one.share == np.mean([labels[n] == one.name for n in one.items])
    assert sum(len(one.items) for one in found) == 300
    assert [len(one.items) for one in found] == sorted((len(one.items) for one in found), reverse=True)
