"""A model of free height and width, or a module that has seen nothing, is compiled for the size that is stated."""

from __future__ import annotations

import io
import re
import warnings

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import xplain
from xplain.core.card import Card
from xplain.core.errors import UsageError

torch = pytest.importorskip("torch", reason="the nets are written in torch")
nn = torch.nn


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, pixel_values):
        values = self.second(self.first(pixel_values).relu()).relu()
        return self.head(values.mean((2, 3)))


class Vit(nn.Module):
    """Patches, positions that are stretched to the grid, attention, and a class token, as Hugging Face's."""

    def __init__(self, width=16, heads=2):
        super().__init__()
        self.heads, self.width = heads, width
        self.patch = nn.Conv2d(3, width, 8, 8)
        self.cls = nn.Parameter(torch.randn(1, 1, width))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm, self.mlp = nn.LayerNorm(width), nn.Linear(width, width)
        self.head = nn.Linear(width, 5)

    def forward(self, pixel_values):
        x = self.patch(pixel_values).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1)
        shape = (x.shape[0], -1, self.heads, self.width // self.heads)
        q, k, v = (part.reshape(shape).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        mixed = (q @ k.transpose(-1, -2) / 4).softmax(-1) @ v
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return self.head((x + nn.functional.gelu(self.mlp(self.norm(x))))[:, 0])


def exported(net, x, dynamo):
    axes = {0: "batch", 2: "height", 3: "width"} if x.ndim == 4 else {0: "batch", 2: "time"}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = (
            {"dynamic_shapes": [axes]} if dynamo else {"dynamic_axes": {"pixel_values": axes, "logits": {0: "batch"}}}
        )
        names = {"input_names": ["pixel_values"], "output_names": ["logits"]}
        torch.onnx.export(net.eval(), (x,), file, dynamo=dynamo, **names, **free)
    return file.getvalue()


def answers(compiled, x):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(compiled.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["attribution"], {"pixel_values": x})[0]


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(2, 3, 32, 48)).astype(np.float32)


@pytest.fixture(scope="module", params=[(Conv, False), (Conv, True), (Vit, False), (Vit, True)], ids=str)
def content(request):
    torch.manual_seed(0)
    return exported(request.param[0](), torch.randn(2, 3, 40, 24), request.param[1])


def test_a_file_of_free_height_and_width_is_compiled_for_a_size(content, x):
    for method in ("saliency", "grad-cam", "lrp"):
        found = answers(xplain.compile(content, method, size=(32, 48)), x)
        wanted = xplain.explain(content, x, method).values
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


def conv():
    torch.manual_seed(1)
    return exported(Conv(), torch.randn(2, 3, 40, 24), False)


def test_the_card_says_the_size(x):
    for card in (Card(mode="RGB", crop=(32, 48)), Card(mode="RGB", resize=(32, 48))):
        loaded = xplain.load(conv(), card=card)
        np.testing.assert_allclose(
            answers(xplain.compile(loaded, "saliency"), x), xplain.explain(loaded, x, "saliency").values, atol=1e-6
        )
        assert loaded.outline.explained.shape[2:] == (None, None)  # the model itself stays free


def test_the_advice_of_the_refusal_works():
    content = conv()
    with pytest.raises(UsageError, match="size is not known") as caught:
        xplain.compile(content, "saliency")
    height, width = map(int, re.search(r"size=\((\d+), (\d+)\)", str(caught.value)).groups())
    made = xplain.compile(content, "saliency", size=(height, width))
    assert [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim][1:] == [3, height, width]
    with pytest.raises(UsageError, match="size is not known") as caught:
        xplain.compile(Conv().eval(), "saliency")
    whole = tuple(map(int, re.search(r"size=\((\d+), (\d+), (\d+)\)", str(caught.value)).groups()))
    assert xplain.compile(Conv().eval(), "saliency", size=whole)


@pytest.mark.parametrize("size", [(0, 3), (8,), 8, (8.0, 8), "8x8", True, (True, 8), (10**6, 10**6), (4, 8, 8), ()])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(UsageError, match="size is"):
        xplain.compile(conv(), "saliency", size=size)


def test_a_size_that_the_net_does_not_take_is_refused():
    class Even(nn.Module):
        def forward(self, pixel_values):
            n, c, h, w = pixel_values.shape
            return pixel_values.reshape(n, c, h // 4, 4, w // 4, 4).mean((2, 3, 4, 5))

    content = exported(Even(), torch.randn(2, 3, 16, 24), False)
    assert xplain.compile(content, "saliency", size=(8, 12))
    for model in (content, Even().eval()):
        with pytest.raises(UsageError, match=r"takes no items of size \[3, 9, 12\]"):
            xplain.compile(model, "saliency", size=(3, 9, 12))


def test_extents_of_one_name_are_one():
    net = exported(Conv(), torch.randn(2, 3, 40, 24), False)
    model = onnx.load_from_string(net)
    for dim in list(model.graph.input[0].type.tensor_type.shape.dim)[2:]:
        dim.dim_param = "side"
    with pytest.raises(UsageError, match="'side'"):
        xplain.compile(model, "saliency", size=(16, 24))
    assert xplain.compile(model, "saliency", size=(16, 16))


def test_a_series_has_a_length():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    content = exported(net, torch.randn(2, 2, 20), False)
    x = np.random.default_rng(0).normal(size=(2, 2, 30)).astype(np.float32)
    for size in (30, (30,), (2, 30)):
        found = answers(xplain.compile(content, "saliency", size=size), x)
        np.testing.assert_allclose(found, xplain.explain(content, x, "saliency").values, atol=1e-6)
    with pytest.raises(UsageError, match="length|one number"):
        xplain.compile(content, "saliency")


def test_a_volume_has_three_extents_and_channels_may_be_last():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    deep = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(2, 3))

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, pixel_values):
            return self.head(self.conv(pixel_values.permute(0, 3, 1, 2)).relu().mean((2, 3)))

    for net, shape, free, size in (
        (deep, (1, 1, 6, 7, 8), (2, 3, 4), (5, 6, 7)),
        (Last(), (1, 9, 9, 3), (1, 2), (8, 12)),
    ):
        file = io.BytesIO()
        axes = {"pixel_values": {0: "n"} | {axis: f"d{axis}" for axis in free}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                net.eval(), (torch.zeros(shape),), file, dynamo=False, input_names=["pixel_values"], dynamic_axes=axes
            )
        item = list(shape[1:])
        for axis, extent in zip(free, size, strict=True):
            item[axis - 1] = extent
        x = rng.normal(size=(1, *item)).astype(np.float32)
        found = answers(xplain.compile(file.getvalue(), "saliency", size=size), x)
        wanted = xplain.explain(file.getvalue(), x, "saliency").values
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_a_fixed_size_may_be_stated_and_not_changed():
    net = Conv().eval()
    xplain.predict(loaded := xplain.load(net), np.zeros((1, 3, 16, 24), np.float32))
    made = xplain.compile(loaded, "saliency", size=(3, 32, 48))
    assert [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim][1:] == [3, 32, 48]
    file = xplain.compile(conv(), "saliency", size=(16, 24), target_input="none")
    with pytest.raises(UsageError, match="does not take"):
        xplain.compile(_plain(file), "saliency", size=(16, 32))


def _plain(compiled):
    """A file of fixed size with another name for the output that compiled files have."""
    for value in compiled.graph.output:
        value.name = value.name.replace("attribution", "values")
    for node in compiled.graph.node:
        node.output[:] = [name.replace("attribution", "values") for name in node.output]
    return compiled
