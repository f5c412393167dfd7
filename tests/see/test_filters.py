"""Kernels as pictures: planted ones are shown as what they are, in files, modules and 8-bit files alike."""

from __future__ import annotations

import integer_nets
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.core.errors import UsageError
from xplain.core.lenses.scene import Scene
from xplain.results import load

RED_EDGE = np.zeros((3, 3, 3), np.float32)
RED_EDGE[0] = [-1, 0, 1]  # red, dark at the left and bright at the right


def weights() -> np.ndarray:
    """Six kernels over RGB: a red vertical edge is number 2, number 4 is dead, 5 is number 1 doubled."""
    rng = np.random.default_rng(0)
    made = rng.normal(size=(6, 3, 3, 3)).astype(np.float32) / 4
    made[2], made[4], made[5] = RED_EDGE, 0, 2 * made[1]
    return made


def net(kernels: np.ndarray, groups: int = 1, inside: int = 3) -> onnx.ModelProto:
    """One convolution, a rectifier and a mean."""
    count = len(kernels)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["edges"], group=groups, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["edges"], ["fired"]),
        helper.make_node("GlobalAveragePool", ["fired"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "edges",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", inside, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", count])],
        [numpy_helper.from_array(np.ascontiguousarray(kernels), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def card(tmp_path, mode, std):
    path = tmp_path / f"{mode}.toml"
    path.write_text(f'mode = "{mode}"\nscale = 0.5\nmean = [1.0, 2.0, 3.0]\nstd = {std}\n')
    return str(path)


@pytest.mark.parametrize("mode", ["RGB", "BGR"])
def test_a_red_vertical_edge_is_red_whatever_the_order_of_the_channels(mode, tmp_path):
    std = [0.5, 1.0, 2.0]
    picture = weights()
    factors = 0.5 / np.array(std, np.float32)
    tensor = picture if mode == "RGB" else picture[:, ::-1]
    found = xplain.see(net(tensor), "filters", card=card(tmp_path, mode, std), sort="channel")
    assert found.look == "colour"
    shown = found.map(2)
    red = factors[0] if mode == "RGB" else factors[2]
    np.testing.assert_allclose(shown[..., 0], red * RED_EDGE[0], rtol=1e-6)
    assert not shown[..., 1:].any()
    image = np.asarray(found.sheet(tile=30, columns=6).convert("RGB"))
    assert (255, 128, 128) in {
        tuple(int(c) for c in pixel) for pixel in image.reshape(-1, 3)
    }  # bright red at the right


def test_dead_and_doubled_kernels_are_named_and_the_strongest_comes_first(tmp_path):
    found = xplain.see(net(weights()), "filters", card=card(tmp_path, "RGB", [1.0, 1.0, 1.0]))
    norms = np.sqrt((weights() ** 2).sum(axis=(1, 2, 3))) / 2
    order = np.argsort(-norms, kind="stable")
    assert found.units == tuple(f"edges[{c}]" for c in order)
    np.testing.assert_allclose(found.values, norms[order], rtol=1e-6)
    assert found.facts["dead"] == [4]
    assert found.facts["duplicates"] == [[1, 5]]
    assert any("1 kernel is dead" in text for text in found.said)
    assert any("same but for a factor: 1 and 5" in text for text in found.said)


def test_without_a_card_it_is_said_that_colours_are_guessed():
    found = xplain.see(net(weights()), "filters")
    assert any("No card says" in text for text in found.said)


def test_deep_and_depthwise_kernels_are_grey_one_tile_per_channel(tmp_path):
    deep = np.random.default_rng(1).normal(size=(4, 5, 3, 3)).astype(np.float32)
    found = xplain.see(net(deep, inside=5), "filters", k=2, channels=4)
    assert (found.form, len(found), len(set(found.units))) == ("rows", 8, 2)
    single = np.random.default_rng(1).normal(size=(4, 1, 3, 3)).astype(np.float32)
    found = xplain.see(net(single, groups=4, inside=4), "filters", sort="channel", shared=True)
    assert "depthwise" in found.title
    np.testing.assert_array_equal(found.map(3)[..., 0], single[3, 0])
    assert load(found.save(tmp_path / "f.npz")).contrast == "shared"


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_integers_are_read_as_the_real_numbers_that_they_stand_for(form, tmp_path):
    plain = xplain.load(integer_nets.trunk("residual")).outline.kernels()
    made = integer_nets.integers(integer_nets.trunk("residual"), form, tmp_path, integer_nets.items(8))
    loaded = xplain.load(made)
    found = loaded.outline.kernels()
    assert len(found) == len(plain)
    assert found[0].first
    for one, other in zip(found, plain, strict=True):
        assert one.values.dtype == np.float32
        largest = np.abs(other.values).reshape(len(other.values), -1).max(axis=1)
        off = np.abs(one.values - other.values).reshape(len(other.values), -1).max(axis=1)
        assert np.all(off <= largest / 200)
    assert len(xplain.see(loaded, "filters", layer=found[1].layer))


def test_a_module_shows_what_its_file_shows(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3, padding=1, bias=False), torch.nn.Flatten())
    module[0].weight.data = torch.from_numpy(weights())
    path = card(tmp_path, "RGB", [1.0, 1.0, 1.0])
    one, other = xplain.see(module.eval(), "filters", card=path), xplain.see(net(weights()), "filters", card=path)
    np.testing.assert_array_equal(one.maps, other.maps)
    up = torch.nn.ConvTranspose2d(4, 6, (3, 2), groups=2)
    found = xplain.load(torch.nn.Sequential(up).eval()).outline.kernels()[0].values
    for o in range(6):
        for i in range(2):
            np.testing.assert_array_equal(found[o, i], up.weight.detach().numpy()[o // 3 * 2 + i, o % 3])


def test_a_layer_that_no_convolution_makes_is_refused_with_those_that_are():
    with pytest.raises(UsageError, match=r"made by no convolution.*Layers that are: 'edges'"):
        xplain.see(net(weights()), "filters", layer="fired")
    with pytest.raises(UsageError, match="has no convolution"):
        xplain.see(lambda x: x.reshape(len(x), -1), "filters")
    assert (
        Scene(xplain.load(net(weights())).outline).rng("a").random()
        == Scene(xplain.load(net(weights())).outline).rng("a").random()
    )
