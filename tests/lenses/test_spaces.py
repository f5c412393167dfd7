"""Neighbours, maps, dimensions and comparisons through ``xplain.see``: right values, drawn, kept, and refused."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import xplain
from xplain.analyses.dimension import dimension
from xplain.core.errors import UnknownName, UsageError
from xplain.render.mosaic import middle_of
from xplain.render.palette import colours_of
from xplain.results import Atlas, Comparison, Dimensions, Neighbours, load

from .embedded import CARD, exported, folder, module


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("pictures"), each=12)


@pytest.fixture(scope="module")
def net():
    return exported(module())


@pytest.fixture(scope="module")
def vectors(files, net):
    return xplain.see(net, "embed", files, card=CARD).vectors


def seen(net, what, files, **more):
    return xplain.see(net, what, files, card=CARD, labelled=True, **more)


def same(one, path):
    again = load(one.save(path))
    assert type(again) is type(one)
    for name in one.arrays():
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name), err_msg=name)
    assert repr(again) == repr(one)


# ---------------------------------------------------------------------- neighbours


def test_neighbours_are_those_of_brute_force_beside_those_of_pixels(files, net, vectors, tmp_path, monkeypatch):
    from xplain.render.canvas import words

    found = seen(net, "neighbours", files, k=4, pixels=8)
    assert isinstance(found, Neighbours)
    far = cdist(vectors.astype(float), vectors.astype(float), "cosine")
    np.fill_diagonal(far, np.inf)
    np.testing.assert_array_equal(found.near, np.argsort(far, axis=1, kind="stable")[:, :4])
    from xplain.render import pictures

    raw = np.stack([pictures.prepare(xplain.core.card.Card.from_dict(CARD), one)[1] for one in files])
    flat = np.rint(raw.reshape(36, 8, 2, 8, 2, 3).mean(axis=(2, 4)).reshape(36, -1))
    apart = cdist(flat, flat)
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_array_equal(found.near_pixels, np.argsort(apart, axis=1, kind="stable")[:, :4])
    kinds = np.repeat([0, 1, 2], 12)
    assert found.facts["of one true class"]["features"] == np.mean(kinds[found.near] == kinds[:, None])
    same(found, tmp_path / "near.npz")
    assert found.strips(most=3).width > 400
    lines: list[str] = []
    monkeypatch.setattr("xplain.render.canvas.words", lambda said, *rest: (lines.extend(said), words(said, *rest))[1])
    found.strips()
    assert "Drawn: 12 of 36 items, evenly spread; the numbers are of all." in lines
    assert "Below each: its cosine distance at the layer, of pixels from 0 to 255 Euclid's at the right." in lines
    found.strips(most=36)
    assert sum(line.startswith("Drawn") for line in lines) == 1
    with pytest.raises(UsageError, match="items is .99.; accepted"):
        found.strips(items=[99])
    with pytest.raises(UsageError, match="draw the whole result"):
        found[2].strips()


def test_fewer_items_than_neighbours_are_all_of_them_and_it_is_said(files, net):
    found = seen(net, "neighbours", files[:4], k=10)
    assert found.near.shape == (4, 3)
    assert "10 neighbours were asked for, and there are 3 other items" in " ".join(found.said)
    with pytest.raises(UsageError, match="at least 2 items"):
        seen(net, "neighbours", files[:1])


def test_copies_are_said_and_constant_features_refused(files, net, tmp_path):
    copied = Path(tmp_path / "red") / "again.png"
    copied.parent.mkdir()
    copied.write_bytes(Path(files[0]).read_bytes())
    found = seen(net, "neighbours", [*files, str(copied)])
    assert found.near[0, 0] == 36
    assert "2 items have a neighbour with exactly the same vector" in " ".join(found.said)
    third = tmp_path / "third.png"
    third.write_bytes(copied.read_bytes())
    with pytest.raises(UsageError, match="All 3 vectors are equal"):
        seen(net, "neighbours", [files[0], str(copied), str(third)])


# ---------------------------------------------------------------------- maps


def test_a_map_says_what_it_keeps_and_is_drawn(files, net, tmp_path):
    found = seen(net, "map", files, by="pca", metric="euclidean", groups=3, neighbours=5)
    assert isinstance(found, Atlas)
    from sklearn.decomposition import PCA
    from sklearn.manifold import trustworthiness

    rows = xplain.see(net, "embed", files, card=CARD).vectors.astype(float)
    np.testing.assert_allclose(found.places, PCA(2).fit_transform(rows), atol=1e-6)
    assert found.facts["trustworthiness"] == pytest.approx(trustworthiness(rows, found.places, n_neighbors=5), abs=1e-9)
    assert f"{found.facts['neighbours kept']:.0%}" in found.says
    assert sorted(found.cluster_names) == ["blue", "green", "red"]
    assert len(np.unique(found.cells, axis=0)) == 36
    same(found, tmp_path / "map.npz")
    for colour in ("none", "class", "true", "error", "score", "group"):
        assert found.picture(size=300, colour=colour).width >= 300
        assert found.grid(thumbnail=8, colour=colour).width >= 48
    with pytest.raises(UnknownName, match="error|true|class"):
        found.picture(colour="taste")
    framed = seen(net, "map", files, by="pca", metric="euclidean", groups=3, neighbours=5, colour="true")
    np.testing.assert_array_equal(
        np.asarray(framed.grid(thumbnail=8)), np.asarray(found.grid(thumbnail=8, colour="true"))
    )
    assert '"colour":"true"' in framed.render("zoom")
    same(framed, tmp_path / "framed.npz")
    with pytest.raises(UsageError, match="size is 0; accepted"):
        found.picture(size=0)


def test_the_name_of_a_group_in_two_parts_stands_in_one_of_them():
    two = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [90.0, 90.0], [91.0, 90.0], [90.0, 91.0]])
    assert middle_of(two) in (1, 2, 3)
    assert middle_of(two[:3]) == 0


def test_pictures_lie_where_their_places_say(files, net):
    found = seen(net, "map", files, by="pca")
    drawn = np.asarray(found.grid(thumbnail=10)).astype(int)
    top = next(
        y for y in range(20, 120) if (drawn[y, 12:60] != 255).any() and (drawn[y : y + 50, 12:30] != 255).mean() > 0.95
    )
    for n in range(36):
        y, x = found.cells[n] * 10 + [top, 12]
        tile = drawn[y : y + 10, x : x + 10].reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(tile, found.thumbnails[n].reshape(-1, 3).mean(axis=0), atol=6)


def test_a_groups_name_stands_at_items_that_bear_it_with_the_share_of_them(files, net):
    found = seen(net, "map", files, by="pca", groups=1)  # 12 of each colour
    (name,) = found.cluster_names
    told = data_of(found.render("zoom"))["groups"]
    assert [one["name"] for one in told] == [f"{name} 33%"]
    places = found.places[np.array(found.truth) == name]
    low, high = found.places.min(axis=0), found.places.max(axis=0)
    spot = (places - (low + high) / 2) / (high - low).max() + 0.5
    np.testing.assert_allclose(np.abs(spot - [told[0]["x"], 1 - told[0]["y"]]).sum(axis=1).min(), 0, atol=1e-9)
    pure = seen(net, "map", files[:12], by="pca", groups=1)
    assert data_of(pure.render("zoom"))["groups"][0]["name"] == "red"


def test_one_class_alone_and_a_map_of_chance_are_said(files, net):
    found = seen(net, "map", files[:12], by="pca")
    assert "All items are of one class, 'red'" in " ".join(found.said)
    assert found.facts["neighbours kept"] > 0.6
    assert "hardly more neighbours than chance" not in " ".join(found.said)
    noise = np.random.default_rng(0).normal(size=(90, 400, 1, 1)).astype(np.float32)
    flat = model_of_noise()
    assert "hardly more neighbours than chance" in " ".join(xplain.see(flat, "map", noise, by="pca").said)
    with pytest.raises(UsageError, match="at least 3 items"):
        seen(net, "map", files[:2])
    plain = xplain.see(net, "map", files[:12], by="pca", card=CARD)
    with pytest.raises(UsageError, match="True classes are not known.*labelled=True"):
        plain.picture(colour="error")
    with pytest.raises(UsageError, match="True classes are not known.*labelled=True"):
        xplain.see(net, "map", files[:12], by="pca", card=CARD, colour="error")


def test_true_classes_are_the_models_own_and_others_are_never_called_wrong(files, net, tmp_path):
    known = seen(net, "map", files, by="pca")
    right = np.array([one == other for one, other in zip(known.predicted, known.truth, strict=True)])
    rgb = colours_of(known, "error").rgb
    assert {tuple(one) for one in rgb[right]} <= {(0, 114, 178)}
    assert {tuple(one) for one in rgb[~right]} <= {(213, 94, 0)}
    for name, folder_name in (("RED", "RED"), ("2", "2"), ("lilac", "lilac")):  # case, a number, none of the model's
        (tmp_path / folder_name).mkdir()
        for n, one in enumerate(files[:4]):
            (tmp_path / folder_name / f"{n}.png").write_bytes(Path(one).read_bytes())
        found = seen(net, "map", str(tmp_path / folder_name), by="pca")
        assert set(found.truth) == {{"RED": "red", "2": "green"}.get(name, name)}
    assert found.facts["classes that the model does not have"] == ["lilac"]
    with pytest.raises(UsageError, match="no class 'lilac', so nothing is right or wrong of it"):
        found.picture(colour="error")
    assert "error" not in [one["name"] for one in data_of(found.render("zoom"))["colours"]]


def model_of_noise():
    """A dense layer on 400 numbers that have nothing to do with one another: no plane shows them."""
    torch = pytest.importorskip("torch")
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(400, 2)).eval()


# ---------------------------------------------------------------------- the page


def data_of(page: str) -> dict:
    """What the page's script reads."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_the_page_is_one_file_that_loads_and_evaluates_nothing(files, net):
    import base64
    import hashlib

    found = seen(net, "map", files, by="pca")
    page = found.render("zoom")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        text = re.search(rf"<{kind}>(.*?)</{kind}>", page, re.S)[1]
        assert f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}" in policy
        assert not re.search(r"\beval\b|new Function|innerHTML|https?:|fetch\(|XMLHttp|import\(", text)
    assert html.escape(found.says) in page
    assert not re.search(r'\son\w+=|style="|src=|href=', page.partition('id="data"')[0])


def test_the_page_holds_every_item_at_its_place_in_its_colours(files, net):
    import base64
    import io

    from PIL import Image

    found = seen(net, "map", files, by="pca")
    data = data_of(found.render("zoom"))
    assert sorted(data["names"]) == sorted(found.names)
    places = np.frombuffer(base64.b64decode(data["map"]), "<f4").reshape(-1, 2)
    low, high = found.places.min(axis=0), found.places.max(axis=0)
    spot = (found.places - (low + high) / 2) / (high - low).max() + 0.5
    levels = data["sheets"]
    assert [one["side"] for one in levels] == [8, 16, 32, 64]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(levels[-1]["files"][0]))))
    order = {(name, k): n for n, (name, k) in enumerate(zip(found.names, found.truth, strict=True))}
    for k, name in enumerate(data["names"]):
        n = order[name, data["classes"][data["truth"][k]]]
        np.testing.assert_allclose(places[k], [spot[n, 0], 1 - spot[n, 1]], atol=1e-5)
        y, x = (k // 16) * 64, (k % 16) * 64
        np.testing.assert_allclose(
            sheet[y : y + 64, x : x + 64].mean(axis=(0, 1)), found.thumbnails[n].mean(axis=(0, 1)), atol=8
        )
    assert [one["name"] for one in data["colours"]] == ["none", "class", "true", "error", "score", "group"]


def test_names_from_outside_cannot_leave_their_place(files, net):
    from dataclasses import replace

    found = seen(net, "map", files, by="pca")
    evil = "</script><script>alert(1)</script>\u202e&\u2028"
    page = replace(found, names=(evil,) * 36, truth=(evil,) * 36, cluster_names=(evil,) * 9, says=evil).render("zoom")
    assert page.count("<script") == 2
    assert "alert(1)</script>" not in page
    assert data_of(page)["names"][0].startswith("</script>")


def test_more_items_than_a_page_holds_are_shown_in_part_and_it_is_said(files, net):
    found = seen(net, "map", files, by="pca")
    page = found.render("zoom", most=10)
    assert len(data_of(page)["names"]) == 10
    assert "10 of 36 items are shown" in page
    with pytest.raises(UsageError, match="most is 10000000; accepted: 1 to 40,000 pictures"):
        found.render("zoom", most=10_000_000)


# ---------------------------------------------------------------------- dimension


def test_layers_with_commas_between_may_have_short_names(files):
    import onnx

    proto = onnx.load_from_string(exported(module()))
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"/net/{name}" if name in ("relu", "pool") else name for name in names]
    found = seen(xplain.load(proto), "dimension", files, layer="relu,pool", positions="mean", draws=5)
    assert found.names == ("/net/relu", "/net/pool")


def test_dimensions_of_layers_are_those_of_their_vectors(files, net, vectors, tmp_path):
    layers = [one.name for one in xplain.load(net).outline.layers if one.op in ("Relu", "Flatten")]
    found = seen(net, "dimension", files, layer=",".join(layers), positions="mean", draws=20)
    assert isinstance(found, Dimensions)
    assert found.names == tuple(layers)
    expected = dimension(vectors, draws=20)
    told = [expected.estimates[name].value for name in found.estimators]
    np.testing.assert_allclose(found.values[-1, :, 0], told)
    assert list(found.widths) == [12, 12]
    assert "36 distinct items are few" in " ".join(found.said)
    same(found, tmp_path / "dimension.npz")
    assert found.curve().width > 400


def test_a_learned_map_is_reported_by_verification(files, net):
    found = seen(net, "dimension", files, mds=2, draws=5)
    told = found.facts["map"]
    assert told["numbers"] == 2
    assert set(told["accepted at 1 % false"]) == {"all 12 numbers", "learned map", "principal components"}
    assert told["verification by"] == "true labels"
    assert told["distance correlation"]["learned map"] >= told["distance correlation"]["principal components"] - 0.01
    assert "at 2 numbers" in repr(found)
    with pytest.raises(UsageError, match="mds is 12; accepted: 1 to 11"):
        seen(net, "dimension", files, mds=12, draws=5)


# ---------------------------------------------------------------------- comparison


def test_a_net_is_most_like_itself_layer_by_layer(files, net, tmp_path):
    found = xplain.see(net, "compare", files, other=net, layer="all", positions="mean", card=CARD, draws=10)
    assert isinstance(found, Comparison)
    assert found.names == found.others
    np.testing.assert_allclose(np.diagonal(found.alignment[..., 0]), 1)
    np.testing.assert_allclose(np.diagonal(found.shared[..., 0]), 1)
    assert found.cost.queries == 72  # each net sees each item once
    alone = xplain.see(net, "compare", files, layer="all", positions="mean", card=CARD, draws=10)
    np.testing.assert_array_equal(alone.alignment, found.alignment)
    assert alone.cost.queries == 36
    same(found, tmp_path / "compared.npz")
    assert found.matrix().width > 400


def test_another_net_is_less_alike_and_an_item_that_it_sees_otherwise_is_named(files, net):
    other = xplain.see(net, "compare", files, other=exported(module(5)), card=CARD, draws=20)
    assert other.alignment[0, 0, 0] < 1
    assert other.alignment[0, 0, 1] <= other.alignment[0, 0, 0] <= other.alignment[0, 0, 2]
    assert len(other.different) == 12
    assert (np.diff(other.agreement) >= 0).all()
    few = xplain.see(net, "compare", files[:9], other=exported(module(5)), card=CARD, draws=5)
    assert (few.facts["neighbours"], few.facts["neighbours shared by chance"]) == (2, 0.25)  # of 8 others, all of 10
    assert len(few.different) == 3
    assert "2 of 8 other items are neighbours instead of 10" in " ".join(few.said)
    with pytest.raises(UsageError, match="give at least 8"):
        xplain.see(net, "compare", files[:5], other=net, card=CARD)


def test_rows_of_one_array_are_compared_too():
    items = np.random.default_rng(2).normal(size=(40, 3, 16, 16)).astype(np.float32)
    found = xplain.see(exported(module()), "compare", items, other=module(), draws=5)
    np.testing.assert_allclose(found.alignment[0, 0, 0], 1, atol=1e-5)  # the same weights behind two doors


@pytest.mark.parametrize("kind", ["neighbours", "map", "dimension", "compare"])
def test_a_file_whose_arrays_do_not_fit_is_refused(files, net, kind, tmp_path):
    more = {"by": "pca"} if kind == "map" else {"draws": 5} if kind in ("dimension", "compare") else {}
    found = xplain.see(net, kind, files, card=CARD, **more)
    found.save(tmp_path / "found.npz")
    with np.load(tmp_path / "found.npz") as archive:
        arrays = dict(archive)
    for name in found.arrays():
        if name not in arrays:
            continue
        for wrong in (arrays[name][..., None], arrays[name].astype("U5"), None):
            kept = {key: value for key, value in arrays.items() if key != name}
            np.savez(tmp_path / "bad.npz", **kept, **({} if wrong is None else {name: wrong}))
            if wrong is None and name == "thumbnails":
                assert load(tmp_path / "bad.npz").thumbnails is None
                continue
            with pytest.raises(UsageError, match=name):
                load(tmp_path / "bad.npz")


def test_a_small_grid_is_as_wide_as_its_title(net, files):
    from xplain.render import canvas

    few = xplain.see(net, "map", files[:12], by="pca", card=CARD)
    title = canvas.heading(f"{len(few)} items, one cell each, by {few.facts['by']}", 10_000)
    drawn = np.asarray(few.render("grid", thumbnail=6))
    assert drawn.shape[1] >= title.width
    strip = np.asarray(title)
    places = np.lib.stride_tricks.sliding_window_view(drawn[: strip.shape[0] + 40], strip.shape).reshape(
        -1, *strip.shape
    )
    assert (places == strip).all(axis=(1, 2, 3)).any()  # whole, nothing of it cut
