"""Patches: planted detectors find what they detect; the best are those of a full sort, however the items stream."""

from __future__ import annotations

import nets
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

import xplain
from xplain.core.errors import UsageError
from xplain.core.query import Peek
from xplain.core.target import Leaf, Target

from .test_filters import RED_EDGE, card, net, weights

MANY = np.random.default_rng(0).integers(0, 6, size=(2000, 3, 12, 12)).astype(np.float32)  # with many ties


def brute(values, k):
    """The k largest of each channel over all items and positions, one per item, by a full sort."""
    best = values.reshape(*values.shape[:2], -1).max(axis=2)
    return np.stack([sorted(best[:, c], reverse=True)[:k] for c in range(best.shape[1])])


@pytest.mark.parametrize("several", [False, True])
def test_the_best_of_2000_items_are_those_of_a_full_sort_for_any_chunks_and_order(several):
    model = xplain.load(net(weights()))
    values = model.answer(Peek(MANY, ("edges",)))["edges"]
    wanted = brute(values, 5)
    if several:
        wanted = np.stack([np.sort(values[:, c].ravel())[::-1][:5] for c in range(6)])
    how = {"layer": "edges", "k": 5, "units": "0,1,2,3", "classes": "none", "several": several}
    whole = xplain.see(model, "patches", MANY, **how)
    np.testing.assert_allclose(whole.values, wanted[:4].ravel(), rtol=1e-5)
    order = np.random.default_rng(1).permutation(len(MANY))
    chunks = (MANY[order[k : k + 37]] for k in range(0, 2000, 37))
    other = xplain.see(model, "patches", chunks, **how)
    np.testing.assert_array_equal(whole.values, other.values)
    np.testing.assert_array_equal(whole.boxes, other.boxes)
    np.testing.assert_array_equal(whole.pictures, other.pictures)
    assert [int(order[int(name)]) for name in other.names] == [int(name) for name in whole.names]


@pytest.fixture
def folder(tmp_path):
    """Two classes of pictures: red ones with a vertical edge at column 4 + n, and grey ones without any."""
    rng = np.random.default_rng(2)
    for n in range(4):
        edge = np.full((12, 12, 3), 60, np.uint8)
        edge[4:7, 4 + n :, 0] = 160 + 20 * n
        plain = np.repeat(rng.integers(90, 100, (12, 12, 1)).astype(np.uint8), 3, axis=2)
        for name, picture in (("edges", edge), ("plain", plain)):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / name / f"{n}.png")
    (tmp_path / "plain" / "broken.png").write_bytes(b"no picture")
    return tmp_path


def _kinds(found):
    """The class of each cell: the picture of this number whose values it holds, edges being the brighter ones."""
    return ["edges" if value in np.sort(found.values)[-4:] else "plain" for value in found.values]


def test_a_red_edge_detector_shows_red_edges_in_order_and_knows_its_class(folder, tmp_path):
    model, path = net(weights()), card(tmp_path, "RGB", [1.0, 1.0, 1.0])
    found = xplain.see(model, "patches", str(folder), layer="fired", k=4, units="2,", card=path)
    assert found.names[0].endswith("3.png")
    assert [name[-5] for name in found.names] == ["3", "2", "1", "0"]
    y0, x0, y1, x1 = found.boxes[0]
    assert (y0, y1, x0, x1) == (4, 7, 5, 8)  # the edge lies between columns 6 and 7; of two equal places the first
    assert found.picture(0).shape == (3, 3, 3)
    every = xplain.see(model, "patches", str(folder), layer="fired", k=8, units="2,", card=path)
    edges, plain = (every.values[[kind in name for name in _kinds(every)]].mean() for kind in ("edges", "plain"))
    np.testing.assert_allclose(found.facts["selectivity"][2], (edges - plain) / (edges + plain), rtol=1e-6)
    assert found.facts["class"][2] == "edges"
    assert "edges: 4 of 4" in found.about["fired[2]"]
    assert found.facts["never fire"] == [4]
    assert any("1 unit never fires" in text for text in found.said)
    assert [one["item"].endswith("broken.png") for one in found.facts["failures"]] == [True]


def test_what_is_projected_back_is_the_sweep_from_that_unit(folder, tmp_path):
    model, path = xplain.load(net(weights())), card(tmp_path, "RGB", [1.0, 1.0, 1.0])
    files = sorted(str(one) for one in (folder / "edges").glob("*.png"))
    found = xplain.see(model, "patches", files, layer="fired", k=2, units="2,", beside="both", card=path)
    for n in range(2):
        y0, x0, y1, x1 = found.boxes[n]
        unit = Target(((1.0, Leaf("neuron", "edges", ((2, int(y0) + 1, int(x0) + 1),))),))
        for name, method in (("deconvnet", "deconvnet"), ("guided backpropagation", "guided-backprop")):
            item = next(one for one in files if one.endswith(found.names[n]))
            told = xplain.explain(model, item, method, target=unit, card=path, channels=True).values[0]
            wanted = np.moveaxis(told, 0, 2)[y0:y1, x0:x1] * 0.5  # the card's scale
            np.testing.assert_allclose(found.map(n, name), wanted, rtol=1e-5, atol=1e-7)


def test_units_of_a_dense_layer_see_the_whole_picture_and_the_most_selective_come_first(folder, tmp_path):
    path = card(tmp_path, "RGB", [1.0, 1.0, 1.0])
    found = xplain.see(net(weights()), "patches", str(folder), layer="y", k=1, units="2", card=path)
    assert found.boxes[0].tolist() == [0, 0, 12, 12]
    assert "sees the whole picture" in found.about[found.units[0]]
    index = found.facts["selectivity"]
    alive = [c for c in range(6) if c != 4]
    shown = [int(unit[2:-1]) for unit in found.units]
    assert shown == sorted(alive, key=lambda c: (-index[c], c))[:2]
    pooled = next(one.name for one in xplain.load(net(weights())).outline.layers if one.op == "GlobalAveragePool")
    behind = xplain.see(net(weights()), "patches", str(folder), layer=pooled, k=1, units="2", card=path)  # [6, 1, 1]
    np.testing.assert_array_equal(behind.values, found.values)
    np.testing.assert_array_equal(behind.boxes, found.boxes)


def test_one_class_only_gives_no_selectivity_and_a_missing_unit_is_refused():
    model = net(weights())
    found = xplain.see(model, "patches", MANY[:5], layer="edges", classes="folder", units="all", k=7)
    assert "selectivity" not in found.facts
    assert len(found.of_unit("edges[0]")) == 5  # fewer items than patches asked
    with pytest.raises(UsageError, match=r"units is 6; accepted: numbers of layer 'edges', 0 to 5"):
        xplain.see(model, "patches", MANY[:5], layer="edges", units="6,")
    with pytest.raises(UsageError, match="units is 'none of them'"):
        xplain.see(model, "patches", MANY[:5], units="none of them")
    assert RED_EDGE.any()


def tokens() -> onnx.ModelProto:
    """Patches of 4 x 4 as tokens, channels last: ``[N, 3, 12, 12]`` to ``[N, 9, 5]``, their mean the scores."""
    rng = np.random.default_rng(3)
    weights = {
        "w": rng.normal(size=(8, 3, 4, 4)).astype(np.float32),
        "to": np.array([0, 8, -1], np.int64),
        "v": rng.normal(size=(8, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["cut"], strides=[4, 4]),
        helper.make_node("Reshape", ["cut", "to"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["tokens", "v"], ["mixed"]),
        helper.make_node("Relu", ["mixed"], ["fired"]),
        helper.make_node("ReduceMean", ["fired"], ["y"], axes=[1], keepdims=0),
    ]
    inputs = {"x": (nets.FLOAT, ["N", 3, 12, 12])}
    return nets.model(nodes, inputs, {"y": (nets.FLOAT, ["N", 5])}, weights)


@pytest.mark.parametrize("door", ["file", "torch"])
def test_tokens_with_channels_last_are_told_with_the_class_that_is_predicted(door):
    torch = pytest.importorskip("torch")
    items = np.random.default_rng(5).normal(size=(20, 3, 12, 12)).astype(np.float32)
    file = xplain.load(tokens())
    values = file.answer(Peek(items, ("fired",)))["fired"]  # [20, 9, 5]
    model, layer = file, "fired"
    if door == "torch":
        weights = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in tokens().graph.initializer}

        class Tokens(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fired = torch.nn.ReLU()

            def forward(self, x):
                cut = torch.nn.functional.conv2d(x, weights["w"], stride=4)
                return self.fired(cut.flatten(2).transpose(1, 2) @ weights["v"]).mean(dim=1)

        model = xplain.load(Tokens().eval())
        xplain.predict(model, items[:1])
        layer = "fired"
    found = xplain.see(model, "patches", items, layer=layer, k=3, units="0,1,2,3,4", classes="predicted")
    largest = values.max(axis=1)  # [20, 5]
    best = np.sort(largest, axis=0)[::-1][:3].T
    np.testing.assert_allclose(found.values.reshape(5, 3), best, rtol=1e-4, atol=1e-5)
    classes = values.mean(axis=1).argmax(axis=1)
    means = np.stack([largest[classes == c].mean(axis=0) for c in sorted(set(classes))])
    names = [str(c) for c in sorted(set(classes))]
    assert found.facts["class"] == [names[n] for n in means.argmax(axis=0)]
    assert (found.boxes == [0, 0, 12, 12]).all()  # where positions are not followed through a Reshape
    assert "Receptive fields are upper bounds" in " ".join(found.said)


def test_where_a_layer_clips_it_is_said_that_the_order_of_the_best_says_nothing():
    from xplain.explainers.see.tops import ties

    assert ties([(3.0, 2.0), (0.0, 0.0)]) == ()
    (one,) = ties([(6.0, 6.0), (6.0, 5.0)])
    assert one.text.startswith("Of 1 of 2 units several are equal at the largest value (6), as where a layer clips")
    (more,) = ties([(6.0, 6.0), (4.0, 4.0)])
    assert "(up to 6)" in more.text
    flat = np.repeat(MANY[:1], 4, axis=0)  # copies tie too
    found = xplain.see(xplain.load(net(weights())), "patches", flat, layer="edges", k=2, units="0,", classes="none")
    assert [one.text for one in found.warnings if "equal at the largest" in one.text] or found.values[0] <= 0
