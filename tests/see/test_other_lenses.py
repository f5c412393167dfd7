"""Activations, fields, stimuli and dissection: planted truth to the index, and what each says of bad input."""

from __future__ import annotations

import json
import sys

import nets
import numpy as np
import pytest
from onnx import helper, numpy_helper
from PIL import Image

import xplain
from xplain.analyses.clusters import clusters
from xplain.core.errors import MissingDependency, UsageError
from xplain.core.query import Peek, Sweep
from xplain.core.rules import Rules
from xplain.core.target import inner
from xplain.explainers.see.layers import short_name
from xplain.explainers.see.regions import apart, overlap_of, proposed
from xplain.render import canvas

from .test_filters import card, net, weights

X = np.random.default_rng(0).random((3, 3, 16, 16)).astype(np.float32)


@pytest.mark.parametrize("door", ["file", "torch"])
def test_activations_are_the_layer_s_own_values_in_their_order(door):
    torch = pytest.importorskip("torch")
    first, last = torch.nn.Conv2d(3, 5, 3), torch.nn.Conv2d(5, 4, 3)
    module = torch.nn.Sequential(first, torch.nn.ReLU(), last, torch.nn.Flatten())
    seen = {}
    module[1].register_forward_hook(lambda _m, _i, out: seen.update(values=out.detach().numpy()))
    if door == "torch":
        found = xplain.see(module.eval(), "activations", X[:1], layer="1")
        with torch.no_grad():
            module(torch.from_numpy(X[:1]))
        wanted = seen["values"][0]
    else:
        model = xplain.load(nets.cnn())
        found = xplain.see(model, "activations", X[:1], layer="relu1")
        wanted = model.answer(Peek(X[:1], ("relu1",)))["relu1"][0]
    np.testing.assert_allclose(found.maps[:, 0, ..., 0], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.values, wanted.max(axis=(1, 2)), rtol=1e-5, atol=1e-6)


def test_a_layer_with_the_names_of_what_was_fused_is_headed_by_the_first():
    named = nets.cnn()
    fused = "net/relu1;net/conv1/add_fold;net/conv1/bias"
    for node in named.graph.node:
        for names in (node.input, node.output):
            names[:] = [fused if name == "relu1" else name for name in names]
    found = xplain.see(xplain.load(named), "activations", X[:1], layer=fused, k=1)
    assert "net/relu1 (the 1 most active of 8 channels)" in found.sections[0]


def test_the_largest_come_first_every_layer_has_a_part_and_a_series_is_a_line():
    model = xplain.load(nets.cnn())
    few = xplain.see(model, "activations", X, layer="relu1", k=3, sort="largest", pictures=2)
    largest = model.answer(Peek(X, ("relu1",)))["relu1"].max(axis=(2, 3))
    assert repr(few).endswith("; 6 cells, 2 queries>")
    assert repr(xplain.see(model, "activations", X[:1], layer="relu1", k=1)).endswith("; 1 cell, 1 query>")
    assert few.units[:3] == tuple(f"relu1[{c}]" for c in np.argsort(-largest[0], kind="stable")[:3])
    assert len(few) == 6
    every = xplain.see(model, "activations", X, layer="all")
    assert len(set(every.sections)) == len(every.facts["layers"]) > 1
    assert "relu1" in every.facts["layers"]
    assert "conv1" not in every.facts["layers"]  # which only goes on into relu1
    torch = pytest.importorskip("torch")
    series = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    series(torch.zeros(1, 2, 20))
    wide = torch.nn.Sequential(torch.nn.Conv2d(3, 70, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    wide(torch.zeros(1, *X.shape[1:]))
    some = xplain.see(wide.eval(), "activations", X[:1], layer="0", k=64)
    assert len(some) == 64  # what one can look at; the heading says of how many
    assert "(the 64 most active of 70 channels)" in some.sections[0]
    lines = xplain.see(series.eval(), "activations", np.zeros((1, 2, 20), np.float32), layer="0", layout="NCT")
    assert lines.look == "line"
    assert lines.map(0).shape == (1, 18, 1)


def test_a_layer_without_positions_says_which_have_them():
    with pytest.raises(UsageError, match="no positions to draw.*Layers that have"):
        xplain.see(nets.cnn(), "activations", X, layer="logits")


def test_attention_of_a_token_is_a_map_over_its_grid():
    torch = pytest.importorskip("torch")

    class Attends(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cut = torch.nn.Conv2d(3, 8, 4, stride=4)
            self.mix = torch.nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = torch.nn.Linear(8, 3)
            self.token = torch.nn.Parameter(torch.randn(1, 1, 8))

        def forward(self, x):
            tokens = self.cut(x).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1)
            return self.head(self.mix(tokens, tokens, tokens)[0][:, 0])

    torch.manual_seed(0)
    model = xplain.load(Attends().eval())
    found = xplain.see(model, "activations", X[:1], layer="attention#0", token=0)
    matrix = model.answer(Peek(X[:1], ("attention#0",)))["attention#0"][0]
    np.testing.assert_allclose(found.maps[:, 0, ..., 0], matrix[:, 0, 1:].reshape(2, 4, 4), rtol=1e-6)
    with pytest.raises(UsageError, match="token is 17; accepted: a token of layer 'attention#0', 0 to 16"):
        xplain.see(model, "activations", X[:1], layer="attention#0", token=17)


def test_fields_are_drawn_without_items_and_their_gradient_with_them():
    model = xplain.load(nets.cnn())
    shape = xplain.see(model, "fields")
    sizes = {told["layer"]: told["size"] for told in shape.facts["fields"].values()}
    assert (sizes["conv1"], sizes["pool1"], sizes["conv2"]) == ([3, 3], [4, 4], [8, 8])
    middle = shape.map(list(shape.units).index("conv2[0:12]"))[..., 0]
    assert middle.sum() == 64
    assert middle[5:13, 5:13].all()
    found = xplain.see(model, "fields", X, layer="conv2", at="1x2", pictures=3)
    y0, x0, y1, x1 = found.boxes[0]
    assert (y0, y1, x0, x1) == (0, 7, 1, 9)  # the upper row is padding
    effective = found.map(0)[..., 0]
    assert effective[y0:y1, x0:x1].any()
    effective = effective.copy()
    effective[y0:y1, x0:x1] = 0
    assert not effective.any()
    with pytest.raises(UsageError, match="at is '9x0'; accepted: a place in layer 'conv2', below 8x8"):
        xplain.see(model, "fields", layer="conv2", at="9x0")


def test_the_effective_field_is_the_root_mean_square_of_the_gradient():
    model = xplain.load(nets.cnn())
    found = xplain.see(model, "fields", X, layer="conv1", pictures=3, seed=5)
    rng = xplain.core.query.View(X, inner("", np.zeros(1)), model.outline, 5).rng("fields", "conv1")
    seed = np.zeros((8, 16, 16), np.float32)
    seed[:, 8, 8] = rng.choice([-1.0, 1.0], 8)
    gradient = model.answer(Sweep(X[:, None], inner("conv1", seed), Rules()))["input"][1]
    wanted = np.sqrt((gradient.astype(np.float64) ** 2).sum(axis=1).mean(axis=0))
    np.testing.assert_allclose(found.map(0)[..., 0], wanted, rtol=1e-5, atol=1e-7)


def test_the_effective_field_of_one_unit_is_that_of_its_gradient_alone():
    model = xplain.load(nets.cnn())
    found = xplain.see(model, "fields", X[:2], layer="relu1", unit=3, at=(5, 6))
    assert found.units == ("relu1[3]",)
    seed = np.zeros(model.outline.extents("relu1", (3, 16, 16)), np.float32)
    seed[3, 5, 6] = 1
    gradient = model.answer(Sweep(X[:2][:, None], inner("relu1", seed), Rules()))["input"][1]
    wanted = np.sqrt((gradient.astype(np.float64) ** 2).sum(axis=1).mean(axis=0))
    np.testing.assert_allclose(found.map(0)[..., 0], wanted, rtol=1e-5, atol=1e-7)
    with pytest.raises(UsageError, match="unit is 8; accepted: numbers of layer 'relu1', 0 to 7"):
        xplain.see(model, "fields", X[:2], layer="relu1", unit=8)


def test_all_channels_of_a_wide_layer_stand_on_one_sheet():
    wide = net(np.random.default_rng(1).normal(size=(128, 3, 3, 3)).astype(np.float32))
    found = xplain.see(wide, "activations", X[:1, :, :12, :12], layer="fired")
    assert len(found) == 128
    assert "128 channels" in found.sections[0]


def test_regions_that_overlap_a_better_one_are_dropped():
    boxes = [(0, 0, 4, 4), (0, 1, 4, 5), (8, 8, 12, 12)]
    assert overlap_of(boxes[0], boxes[1]) == pytest.approx(12 / 20)
    assert apart(np.array([1.0, 2.0, 0.5]), boxes, 0.3) == [1, 2]
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    for how in ("grid", "superpixels"):
        found = proposed(picture, how, 12)
        assert 0 < len(found) <= 12
        assert all(0 <= y0 < y1 <= 40 and 0 <= x0 < x1 <= 60 for y0, x0, y1, x1 in found)


def test_the_region_that_holds_the_edge_excites_the_edge_detector_most(tmp_path):
    picture = np.full((12, 12, 3), 60, np.uint8)
    picture[6:, 9:, 0] = 250
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(np.full((12, 12, 3), 60, np.uint8)).save(tmp_path / "b.png")
    model, path = net(weights()), card(tmp_path, "RGB", [1.0, 1.0, 1.0])
    files = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    found = xplain.see(model, "stimuli", files, layer="fired", units="2,", k=1, card=path)
    _, x0, y1, x1 = found.boxes[0]
    assert found.names == ("a.png",)
    assert y1 > 6  # where the red corner begins
    assert x1 > 9
    assert x0 >= 5
    with pytest.raises(UsageError, match="units is 6"):
        xplain.see(model, "stimuli", files, layer="fired", units="6,", card=path)


def test_regions_that_a_caller_names_are_those_that_are_tried(tmp_path):
    picture = np.full((12, 12, 3), 60, np.uint8)
    picture[:, 6:, 0] = 250  # unit 2 looks for red at the right
    for name in ("a", "b"):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    model, path = net(weights()), card(tmp_path, "RGB", [1.0, 1.0, 1.0])
    files = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    how = {"layer": "fired", "units": "2,", "k": 2, "card": path}
    edge, plain = (2, 3, 8, 9), (0, 0, 5, 5)
    by_name = xplain.see(model, "stimuli", files, boxes={"b.png": [plain, edge]}, **how)
    assert (by_name.names[0], tuple(by_name.boxes[0])) == ("b.png", edge)
    assert by_name.facts["regions"] == 2
    assert by_name.cost.queries == 2
    (tmp_path / "boxes.json").write_text(json.dumps([[list(edge)], []]))
    in_order = xplain.see(model, "stimuli", files, boxes=tmp_path / "boxes.json", **how)
    assert (in_order.names, tuple(in_order.boxes[0])) == (("a.png",), edge)
    with pytest.raises(UsageError, match=r"boxes is .*accepted: inside 12 x 12 pixels"):
        xplain.see(model, "stimuli", files, boxes=[[(0, 0, 13, 5)]], **how)
    with pytest.raises(UsageError, match=r"accepted: boxes of the items, such as 'a.png'"):
        xplain.see(model, "stimuli", files, boxes={"c.png": [edge]}, **how)


def test_selective_search_proposes_the_things_of_a_picture():
    pytest.importorskip("cv2.ximgproc", reason="needs opencv-contrib-python-headless")
    picture = np.full((96, 128, 3), 230, np.uint8)
    picture[20:60, 30:80] = (200, 40, 30)
    picture[50:90, 85:120] = (20, 60, 180)
    found = proposed(picture, "selective-search", 60)
    for thing in ((20, 30, 60, 80), (50, 85, 90, 120)):
        assert max(overlap_of(box, thing) for box in found) > 0.8


def test_without_opencvs_contrib_modules_superpixels_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2.ximgproc", None)
    with pytest.raises(MissingDependency, match="in place of any other OpenCV, or give proposals='superpixels'"):
        proposed(np.zeros((20, 20, 3), np.uint8), "selective-search", 5)
    assert proposed(np.zeros((20, 20, 3), np.uint8), "superpixels", 5)


def test_a_planted_unit_is_found_with_its_concept():
    rng = np.random.default_rng(4)
    items, red = np.zeros((12, 3, 12, 12), np.float32), np.zeros((12, 12, 12), bool)
    for n in range(12):
        y, x = rng.integers(0, 8, 2)
        items[n, 1:] = rng.random((2, 12, 12)) * 0.1
        items[n, 0, y : y + 4, x : x + 4] = 1.0
        red[n, y : y + 4, x : x + 4] = True
    kernels = rng.normal(size=(5, 3, 3, 3)).astype(np.float32) / 9
    kernels[3] = 0
    kernels[3, 0, 1, 1] = 1  # unit 3 is red
    masks = {"red": red, "left": np.arange(12)[None, None, :].repeat(12, 0).repeat(12, 1) < 6}
    found = xplain.see(net(kernels), "dissect", items, layer="fired", masks=masks, units=1, share=16 / 144)
    assert found.facts["units"]["fired[3]"] == {"concept": "red", "iou": 1.0}
    assert set(found.units) == {"fired[3]"}
    table = found.facts["iou"]
    values = xplain.load(net(kernels)).answer(Peek(items, ("fired",)))["fired"]
    level = np.sort(values[:, 0].ravel())[::-1][12 * 16 - 1]
    fires = values[:, 0] >= level
    for j, name in enumerate(found.facts["concepts"]):
        assert table[0, j] == pytest.approx((fires & masks[name]).sum() / (fires | masks[name]).sum())
    with pytest.raises(UsageError, match=r"masks is .*accepted: one for each of the 5 items"):
        xplain.see(net(kernels), "dissect", items[:5], layer="fired", masks=masks)
    with pytest.raises(UsageError, match="one folder of pictures, or none"):
        xplain.see(net(kernels), "dissect", items, layer="fired")


def test_folders_are_concepts_where_no_masks_are_given(tmp_path):
    for name, shade in (("dark", 20), ("red", 250)):
        (tmp_path / name).mkdir()
        for n in range(3):
            picture = np.full((12, 12, 3), 20, np.uint8)
            picture[2 + n : 6 + n, 3:7, 0] = shade
            Image.fromarray(picture).save(tmp_path / name / f"{n}.png")
    path = card(tmp_path, "RGB", [1.0, 1.0, 1.0])
    found = xplain.see(net(weights()), "dissect", str(tmp_path), layer="fired", card=path)
    assert found.facts["concepts"] == ["dark", "red"]
    assert found.facts["units"]["fired[2]"] == {"concept": "red", "iou": 1.0}


def test_the_name_of_fused_layers_is_their_first():
    """Exporters join what they fused; the last name is the same for every layer of a folded net."""
    fused = "MobilenetV2/expanded_conv_16/depthwise/Relu6;MobilenetV2/expanded_conv_16/depthwise/BatchNorm_Fold/bias"
    assert short_name(fused) == "expanded_conv_16/depthwise/Relu6"
    assert short_name("/features/features.0/Conv_output_0") == "features/features.0/Conv_output_0"
    assert short_name("; ;") == "; ;"


def test_rows_name_their_unit_and_captions_of_figures_are_whole(monkeypatch):
    drawn: list[str] = []
    plain = canvas.words
    monkeypatch.setattr(canvas, "words", lambda lines, *rest: drawn.extend(lines) or plain(lines, *rest))
    model = xplain.load(nets.cnn())
    found = xplain.see(model, "stimuli", X, layer="relu1")
    found.sheet()
    assert found.units[0].replace("relu1[", "unit ").rstrip("]") in drawn
    assert found.units[0] not in drawn
    assert "relu1" in drawn
    drawn.clear()
    xplain.see(model, "fields").sheet()
    assert any(line.endswith(" px") for line in drawn)
    assert not [line for line in drawn if "…" in line or "..." in line]


def test_a_group_of_items_that_share_no_label_has_no_name():
    near = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0], [9.0, 8.5]])
    groups = clusters(near, ["cat", "mug", "dog", "dog", "owl"], 2)
    assert [one.name for one in groups] == ["dog", ""]


def photographs(folder, shades):
    """A folder of two concepts; a square of each shade of red stands in the place of its item."""
    for name, some in shades.items():
        (folder / name).mkdir()
        for n, shade in enumerate(some):
            picture = np.zeros((12, 12, 3), np.uint8)
            picture[2 + n % 6 : 6 + n % 6, 3:7, 0] = shade
            Image.fromarray(picture).save(folder / name / f"{n:02}.png")
    return str(folder)


def red_alone():
    kernels = np.zeros_like(weights())
    kernels[0, 0, 1, 1] = 1
    return net(kernels)


@pytest.mark.parametrize("names", [("a-red", "b-dark"), ("b-red", "a-dark")])
def test_a_unit_fires_on_no_item_on_which_it_is_silent_whatever_the_order(tmp_path, names):
    """Two of four items move it: silent ones are equal, and the first of them are no better than the last."""
    red, dark = names
    given = photographs(tmp_path, {red: [250, 200, 0, 0], dark: [0, 0, 0, 0]})
    path = card(tmp_path, "RGB", [1.0, 1.0, 1.0])
    found = xplain.see(red_alone(), "dissect", given, layer="fired", card=path)
    assert found.facts["units"]["fired[0]"] == {"concept": red, "iou": 2 / 4}
    assert found.facts["iou"][0].tolist() == [2 / 4, 0] if red < dark else [0, 2 / 4]


def test_a_unit_fires_on_all_items_that_are_equal_to_the_last_of_its_best(tmp_path):
    """Clipped and quantised units have many equal ones; those of one folder are not before those of the other."""
    given = photographs(tmp_path, {"one": [250, 250, 0], "two": [250, 250, 0]})
    path = card(tmp_path, "RGB", [1.0, 1.0, 1.0])
    found = xplain.see(red_alone(), "dissect", given, layer="fired", card=path)
    assert found.facts["iou"][0].tolist() == pytest.approx([2 / 5, 2 / 5])


def test_what_few_pictures_would_say_by_chance_stands_beside_what_they_say(tmp_path):
    path = card(tmp_path, "RGB", [1.0, 1.0, 1.0])
    (tmp_path / "few").mkdir()
    few = photographs(tmp_path / "few", {"a": [250, 100, 240], "b": [245, 110, 105]})
    found = xplain.see(red_alone(), "dissect", few, layer="fired", card=path)
    assert found.facts["iou"].max() <= found.facts["best IoU by chance"]
    assert any("With the folders dealt out anew the best of" in text for text in found.said)
    (tmp_path / "many").mkdir()
    many = photographs(tmp_path / "many", {"a": [250] * 20, "b": [20] * 20})
    found = xplain.see(red_alone(), "dissect", many, layer="fired", card=path)
    assert found.facts["iou"].max() == 1
    assert found.facts["best IoU by chance"] < 0.7
    assert not any("dealt out anew" in text for text in found.said)


def rounded(name, made):
    """A tensor in 8 bits and back, as quantisers write it behind every operator."""
    scales = ["scale", "zero"]
    return [
        helper.make_node("QuantizeLinear", [name, *scales], [f"{name}_quantized"]),
        helper.make_node("DequantizeLinear", [f"{name}_quantized", *scales], [made]),
    ]


def test_each_layer_of_an_8_bit_file_is_shown_once():
    rng = np.random.default_rng(0)
    kept = {"w": rng.normal(size=(4, 3, 3, 3)), "v": rng.normal(size=(4, 2)), "low": 0.0, "high": 6.0, "scale": 0.05}
    constants = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in kept.items()]
    constants.append(numpy_helper.from_array(np.uint8(128), "zero"))
    nodes = [
        *rounded("x", "x_back"),
        helper.make_node("Conv", ["x_back", "w"], ["conv"]),
        *rounded("conv", "conv_back"),
        helper.make_node("Clip", ["conv_back", "low", "high"], ["clip"]),
        *rounded("clip", "clip_back"),
        helper.make_node("MaxPool", ["clip_back"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        *rounded("pool", "pool_back"),
        helper.make_node("ReduceMean", ["pool_back"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "v"], ["scores"]),
    ]
    x = helper.make_tensor_value_info("x", 1, ["n", 3, 16, 16])
    scores = helper.make_tensor_value_info("scores", 1, ["n", 2])
    graph = helper.make_graph(nodes, "rounded", [x], [scores], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    found = xplain.see(made, "activations", X[:1], layer="all")
    assert found.facts["layers"] == ["clip", "pool"]
