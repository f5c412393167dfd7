"""The layout of items is resolved once, from the best evidence there is, and what it says is where the map is."""

from __future__ import annotations

import warnings

import nets
import numpy as np
import pytest
from onnx import TensorProto, helper

import xplain
from xplain.core.errors import CardError, UsageError
from xplain.core.positions.layout import Axes

torch = pytest.importorskip("torch")
nn = torch.nn
ROWS, COLUMNS = slice(8, 12), slice(20, 24)
METHODS = [
    ("occlusion", {"patch": 4, "stride": 4}),
    ("rise", {"cells": 4, "samples": 600}),
    ("kernel-shap", {"features": "grid:8", "samples": 400}),
    ("lime", {"features": "grid:8", "samples": 400}),
    ("ablation", {"features": "grid:8"}),
    ("saliency", {}),
    ("integrated-gradients", {"steps": 2}),
]


def window(batch):
    """Only rows 8 to 11 and columns 20 to 23 of a picture [N, H, W, C] count."""
    return np.asarray(batch)[:, ROWS, COLUMNS, :].mean(axis=(1, 2, 3))[:, None]


class Window(nn.Module):
    def forward(self, x):
        return x[:, ROWS, COLUMNS, :].mean((1, 2, 3))[:, None]


def window_file(channels, size=(None, None)):
    """The same as an ONNX file whose operators say nothing of its axes."""
    ends = {
        "starts": np.array([8, 20]),
        "ends": np.array([12, 24]),
        "axes": np.array([1, 2]),
    }
    nodes = [
        helper.make_node("Slice", ["x", "starts", "ends", "axes"], ["part"]),
        helper.make_node("ReduceMean", ["part"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["y"]),
    ]
    shape = ["N", *(n or name for n, name in zip(size, ("p", "q"), strict=True)), channels]
    return nets.model(
        nodes,
        {"x": (TensorProto.FLOAT, shape)},
        {"y": (TensorProto.FLOAT, ["N", 1])},
        {**ends, "one": np.array([1])},
    )


def share_inside(values):
    """How much of a map [N, H, W] lies in the window that counts."""
    assert values.shape[1:] == (32, 32), values.shape
    magnitude = np.abs(values)
    return float(magnitude[:, ROWS, COLUMNS].sum() / magnitude.sum())


@pytest.mark.parametrize("channels", [1, 3, 13, 200])
@pytest.mark.parametrize("door", ["function", "torch", "onnx", "onnx of a fixed size"])
@pytest.mark.parametrize(("method", "options"), METHODS, ids=[name for name, _ in METHODS])
def test_channels_last_pictures_are_explained_where_they_count(door, channels, method, options):
    if door == "function" and method in ("saliency", "integrated-gradients"):
        pytest.skip("a function has no gradient")
    size = (32, 32) if door == "onnx of a fixed size" else (None, None)
    model = {"function": window, "torch": Window()}.get(door) or window_file(channels, size)
    x = np.random.default_rng(0).random((2, 32, 32, channels)).astype(np.float32) + 1
    found = xplain.explain(model, x, method, target=0, **options)
    assert found.layout.startswith("NHWC (")
    # soft grids see noise everywhere, a ridge regression a little of it; all others find the window exactly
    assert share_inside(found.values) > {"rise": 0.02, "lime": 0.85}.get(method, 0.999)
    if method == "rise":
        peak = np.unravel_index(found.values[0].argmax(), (32, 32))
        assert 4 <= peak[0] < 16
        assert 16 <= peak[1] < 28


def test_a_cache_holds_what_was_really_asked(tmp_path):
    x = np.random.default_rng(0).random((1, 32, 32, 3)).astype(np.float32) + 1
    model = xplain.load(window, version="1")
    plain = xplain.explain(model, x, "occlusion", target=0, patch=4, stride=4)
    for _ in range(2):
        again = xplain.explain(model, x, "occlusion", target=0, patch=4, stride=4, cache=tmp_path)
        assert np.array_equal(again.values, plain.values)
    other = xplain.explain(model, x, "occlusion", target=0, patch=(4, 1), stride=4, cache=tmp_path, layout="NCHW")
    assert other.values.shape == (1, 32, 3)
    assert other.cost.queries == 9  # no row that was hidden in another layout is found again


@pytest.mark.parametrize("layout", ["NTC", "NTF", "NCT", "NHW"])
def test_a_series_is_read_as_it_is_stated(layout):
    def step_ten(batch):
        return batch[:, 10].sum(axis=1, keepdims=True)

    x = np.ones((1, 50, 6), np.float32)
    for how in ({"layout": layout}, {}):
        model = step_ten if how else xplain.load(step_ten, layout=layout)
        found = xplain.explain(model, x, "occlusion", patch=1, stride=1, **how)
        assert "stated" in found.layout
        if layout in ("NTC", "NTF"):
            expected = np.zeros((1, 50))
            expected[0, 10] = 6
            assert np.array_equal(found.values, expected)
        else:
            assert found.values.shape == ((1, 6) if layout == "NCT" else (1, 50, 6))


@pytest.mark.parametrize("item", [(50, 6), (6, 50), (3, 3, 3), (4, 224, 4), (13, 64, 48), (10, 32, 32, 13)])
def test_what_can_be_read_in_two_ways_is_asked(item):
    calls = []

    def model(batch):
        calls.append(len(batch))
        return batch.reshape(len(batch), -1).sum(axis=1)

    x = np.ones((1, *item), np.float32)
    asked = r"can be read in more than one way.*State it: explain\(\.\.\., layout='N"
    with pytest.raises(UsageError, match=asked) as told:
        xplain.explain(model, x, "occlusion")
    advice = str(told.value).split("layout='")[1].split("'")[0]
    assert advice in xplain.explain(model, x, "occlusion", layout=advice).layout
    assert advice in xplain.explain(xplain.load(model, layout=advice), x, "occlusion").layout


def test_what_needs_no_layout_does_not_ask():
    net = nn.Sequential(nn.Flatten(), nn.Linear(300, 2)).eval()
    x = np.random.default_rng(0).random((2, 50, 6)).astype(np.float32)
    for method, options in (
        ("saliency", {"channels": True}),
        ("integrated-gradients", {"channels": True, "steps": 4}),
        ("gradient-x-input", {"channels": True}),
        ("deeplift", {"channels": True}),
        ("ablation", {"features": np.arange(300).reshape(50, 6)}),
    ):
        found = xplain.explain(net, x, method, target=0, **options)
        assert found.values.shape == x.shape, method
        assert found.layout == ""
    for method in ("saliency", "integrated-gradients", "rise"):
        with pytest.raises(UsageError, match="can be read in more than one way"):
            xplain.explain(net, x, method, target=0)


@pytest.mark.parametrize("door", ["torch", "onnx"])
@pytest.mark.parametrize(
    ("permutation", "kind", "item", "letters"),
    [
        (None, nn.Conv1d, (6, 50), "NCT"),
        ((0, 2, 1), nn.Conv1d, (50, 6), "NTC"),
        (None, nn.Conv2d, (5, 7, 9), "NCHW"),
        ((0, 3, 1, 2), nn.Conv2d, (7, 9, 5), "NHWC"),
        (None, nn.Conv3d, (3, 3, 4, 5), "NCDHW"),
        ((0, 4, 1, 2, 3), nn.Conv3d, (3, 4, 5, 3), "NDHWC"),
    ],
)
def test_the_operators_that_take_the_input_name_its_axes(door, permutation, kind, item, letters, tmp_path):
    channels = item[0] if permutation is None else item[-1]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = kind(channels, 4, 3, padding=1), nn.Linear(4, 2)

        def forward(self, x):
            x = (x - 0.5) / 0.25
            x = x if permutation is None else x.permute(permutation)
            return self.head(torch.relu(self.conv(x)).flatten(2).mean(2))

    net, x = Net().eval(), np.random.default_rng(0).random((2, *item)).astype(np.float32)
    model = net
    if door == "onnx":
        model = str(tmp_path / "net.onnx")
        free = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
        with warnings.catch_warnings(action="ignore"):
            torch.onnx.export(net, (torch.from_numpy(x),), model, dynamo=False, **free)
    found = xplain.explain(model, x, "saliency", target=0)
    assert found.layout.startswith(f"{letters} (the input goes into ")
    assert found.values.shape[1:] == tuple(n for n, letter in zip(item, letters[1:], strict=True) if letter != "C")


def test_a_recurrent_layer_reads_features_last():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 2)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    found = xplain.explain(Net().eval(), np.ones((1, 50, 6), np.float32), "saliency", target=0)
    assert found.layout.startswith("NTC (the input goes into lstm")
    assert found.values.shape == (1, 50)


def test_a_statement_against_the_operators_is_kept_and_said():
    found = xplain.explain(nets.channels_last(), np.ones((1, 16, 16, 3), np.float32), "occlusion", layout="NCHW")
    assert found.layout.startswith("NCHW (stated by layout=, though the input goes into Transpose(0, 3, 1, 2) -> Conv")
    assert found.values.shape == (1, 16, 3)


def test_a_statement_that_does_not_fit_is_refused():
    x = np.ones((1, 16, 16, 3), np.float32)
    with pytest.raises(UsageError, match=r"layout is 'NTC' \(stated by .*\), but .* takes items of \[16, 16, 3\]"):
        xplain.load(nets.channels_last(), layout="NTC")
    with pytest.raises(UsageError, match=r"layout is 'NTC', of 3 axes with the batch, but the items are \[16, 16, 3\]"):
        xplain.explain(window, x, "occlusion", layout="NTC")
    with pytest.raises(UsageError, match="accepted: one letter per axis"):
        xplain.explain(window, x, "occlusion", layout="channels last")


def test_dimensions_are_taken_at_their_names():
    for names, letters in ((["batch", "height", "width", 13], "NHWC"), (["batch", 13, "height", "width"], "NCHW")):
        model = nets.model(
            [helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0)],
            {"x": (TensorProto.FLOAT, names)},
            {"m": (TensorProto.FLOAT, ["batch", None])},
            {},
        )
        assert xplain.load(model).outline.named == Axes(letters)


# ------------------------------------------------------------------ cards


def test_a_card_states_a_layout_that_nothing_else_does():
    for card in ({"layout": "NHWC"}, {"layout": "NHWC", "mode": "RGB"}):
        for model in (window, Window(), window_file(3)):
            assert xplain.load(model, card=card).outline.named.letters == "NHWC"
    assert xplain.load(window_file(13, (32, 32)), card={"layout": "NHWC"}).outline.layout.axes == "NHWC"
    with pytest.raises(CardError, match=r"it makes NHWC with 1 channel; .* takes \['\?', 32, 32, 13\]"):
        xplain.load(window_file(13, (32, 32)), card={"layout": "NHWC", "mode": "L"})


def test_a_card_without_a_layout_takes_the_models():
    model = xplain.load(nets.channels_last(), card="unit")
    assert model.outline.card.layout == "NHWC"
    picture = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    tensor = picture.astype(np.float32)[None] / 255
    assert np.allclose(xplain.predict(model, picture), xplain.predict(model, tensor), atol=1e-5)


def test_a_card_does_not_override_what_the_operators_do():
    with pytest.raises(CardError, match=r"it states NCHW, but .* takes NHWC: the input goes into Transpose"):
        xplain.load(nets.channels_last(), card={"layout": "NCHW"})


@pytest.mark.parametrize("how", ["unsqueeze", "index", "view", "last"])
@pytest.mark.parametrize("door", ["torch", "onnx"])
def test_a_grey_picture_without_a_channel_axis_is_followed_to_its_convolution(how, door, tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            ways = {
                "unsqueeze": lambda: x.unsqueeze(1),
                "index": lambda: x[:, None],
                "view": lambda: x.view(x.shape[0], 1, *x.shape[1:]),
                "last": lambda: x[..., None].permute(0, 3, 1, 2),
            }
            return self.head(torch.relu(self.conv(ways[how]())).mean((2, 3)))

    net, x = Net().eval(), np.random.default_rng(0).random((2, 12, 12)).astype(np.float32)
    model = net
    if door == "onnx":
        model = str(tmp_path / "net.onnx")
        free = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
        with warnings.catch_warnings(action="ignore"):
            torch.onnx.export(net, (torch.from_numpy(x),), model, dynamo=False, **free)
    found = xplain.explain(model, x, "occlusion", target=0)
    assert found.layout.startswith("NHW (the input goes into ")
    assert found.values.shape == (2, 12, 12)
    assert found.notes["patch"] == (1, 1)


def test_colours_taken_apart_and_put_together_again_are_followed(tmp_path):
    class Net(nn.Module):  # as torchvision's Inception does with transform_input
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            planes = [torch.unsqueeze(x[:, k], 1) * 2 + k for k in range(3)]
            return self.head(torch.relu(self.conv(torch.cat(planes, 1))).mean((2, 3)))

    x, path = torch.rand(2, 3, 12, 9), str(tmp_path / "net.onnx")
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(Net().eval(), (x,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    assert xplain.load(path).outline.named == Axes("NCHW")


def test_a_card_of_bands_prepares_arrays():
    card = {"bands": 13, "layout": "NHWC", "scale": 1 / 255, "mean": [0.5] * 13, "std": [0.25] * 13, "crop": [10, 8]}
    bands = np.random.default_rng(0).integers(0, 256, (12, 12, 13)).astype(np.uint8)
    seen = []
    model = xplain.load(lambda batch: (seen.append(batch), batch[:, 2:4, 3:5].mean(axis=(1, 2, 3)))[1], card=card)
    found = xplain.explain(model, bands, "occlusion", patch=2, stride=1)
    assert found.values.shape == (1, 10, 8)
    assert found.pictures.shape == (1, 10, 8, 3)
    assert np.allclose(seen[0][0], (bands[1:11, 2:10] / 255 - 0.5) / 0.25, atol=1e-5)
    found.overlay(0)
    with pytest.raises(xplain.XplainError, match=r"an item is an array \[H, W, 13\]; got uint8 \[12, 12, 3\]"):
        xplain.explain(model, bands[:, :, :3], "occlusion")


def test_a_statement_against_the_model_is_a_warning_of_the_result():
    x = np.ones((1, 16, 16, 3), np.float32)
    found = xplain.explain(nets.channels_last(), x, "occlusion", layout="NCHW")
    assert [caveat.kind for caveat in found.warnings] == ["layout"]
    assert not xplain.explain(nets.channels_last(), x, "occlusion", layout="NHWC").warnings


def test_pictures_for_a_layout_of_no_pictures_are_refused():
    model = xplain.load(window, layout="NDHW", card="unit")
    with pytest.raises(UsageError, match=r"\(NDHW\), no pictures"):
        xplain.explain(model, np.zeros((16, 12, 3), np.uint8), "occlusion")
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    stated = xplain.load(window, layout="NHWC", card="unit")
    assert share_inside(xplain.explain(stated, picture, "occlusion", patch=4, stride=4).values) > 0.999


def test_a_report_of_conservation_knows_the_layout_that_the_model_tells():
    net = nn.Sequential(nn.Conv1d(6, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(1), nn.Linear(4, 2)).eval()
    x = np.random.default_rng(0).random((1, 6, 50)).astype(np.float32)
    assert xplain.measure.conservation(net, x, "lrp", target=0)[0].nodes


def test_what_is_compiled_asks_too_and_takes_the_answer():
    model = nets.model(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])],
        {"x": (TensorProto.FLOAT, ["N", 50, 6])},
        {"y": (TensorProto.FLOAT, ["N", 2])},
        {"w": np.ones((300, 2), np.float32)},
    )
    with pytest.raises(UsageError, match="can be read in more than one way"):
        xplain.compile(model, "saliency")
    made = xplain.compile(xplain.load(model, layout="NTC"), "saliency")
    shape = next(one for one in made.graph.output if one.name == "attribution").type.tensor_type.shape
    assert len(shape.dim) in (0, 2)
    assert "in doubt between NCT, NTC, NHW" in _inspected(model)


def test_the_only_extent_that_a_file_fixes_is_the_channels():
    for free, letters in (
        (["N", "p", "q", 3], "NHWC"),
        (["N", 13, "p", "q"], "NCHW"),
        (["N", "p", 6], "NTC"),
        (["N", 6, "p"], "NCT"),
        (["N", "p", 3, "q", "r"], "NTCHW"),
        (["N", "p", 7, "q"], None),
        (["N", "p", "q", "r"], None),
    ):
        axes = list(range(1, len(free)))
        model = nets.model(
            [helper.make_node("ReduceMean", ["x"], ["m"], axes=axes), helper.make_node("Flatten", ["m"], ["y"])],
            {"x": (TensorProto.FLOAT, free)},
            {"y": (TensorProto.FLOAT, ["N", 1])},
            {},
        )
        named = xplain.load(model).outline.named
        assert (named and named.letters) == letters, free
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    found = xplain.explain(xplain.load(window_file(3), card="unit"), picture, "occlusion", patch=4, stride=4)
    assert share_inside(found.values) > 0.999
    assert found.layout == "NHWC (the only extent that the model fixes is 3)"


def _inspected(model):
    from xplain.cli.verbs.inspect import _layout

    return _layout(xplain.load(model).outline)
