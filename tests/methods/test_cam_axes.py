"""Class activation maps of nets whose answer is known: the cell of a planted blob, and Grad-CAM written out in torch.

Pictures are oblong, token counts are square numbers by accident, channels are as many as rows: nothing can be guessed.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import xplain
from xplain.core.errors import UsageError

torch = pytest.importorskip("torch", reason="the nets are written in torch")
sys.path.insert(0, str(Path(__file__).parents[1] / "graph"))
torch_nets = pytest.importorskip("torch_nets")
nn, fn = torch.nn, torch.nn.functional


def called(value):
    """A test's name is the same in every process: what is made of a net has no address in it."""
    if isinstance(value, partial):
        return "-".join([value.func.__name__, *map(str, value.args), *map(str, value.keywords.values())])
    return value.__name__ if isinstance(value, type) else None


class Patches(nn.Module):
    """Tokens of a picture by one of several ways, a norm, and the mean of the patches.

    Args:
        how: How patches become tokens.
        lead: Extra tokens in front.
        trail: Extra tokens behind.
    """

    def __init__(self, how="conv", lead=0, trail=0, size=16, width=24):
        super().__init__()
        self.how, self.size = how, size
        self.patch = nn.Conv2d(3, width, size, size) if how == "conv" else nn.Linear(3 * size * size, width)
        self.front = nn.Parameter(torch.randn(1, lead, width)) if lead else None
        self.back = nn.Parameter(torch.randn(1, trail, width)) if trail else None
        self.norm, self.mix, self.head = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, 5)
        self.act = nn.ReLU()

    def tokens(self, x):
        s, (n, c, h, w) = self.size, x.shape
        if self.how == "conv":
            return self.patch(x).flatten(2).transpose(1, 2)
        if self.how == "unfold":
            return self.patch(fn.unfold(x, s, stride=s).transpose(1, 2))
        if self.how == "windows":
            parts = x.unfold(2, s, s).unfold(3, s, s)  # [N, C, h, w, s, s]
            return self.patch(parts.permute(0, 2, 3, 1, 4, 5).reshape(n, (h // s) * (w // s), c * s * s))
        parts = x.reshape(n, c, h // s, s, w // s, s).permute(0, 2, 4, 3, 5, 1)
        return self.patch(parts.reshape(n, (h // s) * (w // s), s * s * c))

    def forward(self, x):
        t = self.tokens(x)
        t = t if self.front is None else torch.cat([self.front.expand(x.shape[0], -1, -1), t], 1)
        t = t if self.back is None else torch.cat([t, self.back.expand(x.shape[0], -1, -1)], 1)
        return self.head(self.act(self.mix(self.norm(t))).mean(1))


class Last(nn.Module):
    """Channels last, as in Swin and ConvNeXt."""

    def __init__(self, width=24, norm=True):
        super().__init__()
        self.patch, self.norm, self.head = nn.Conv2d(3, width, 16, 16), nn.LayerNorm(width), nn.Linear(width, 5)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.head(self.act(self.norm(self.patch(x).permute(0, 2, 3, 1))).mean((1, 2)))


class Merged(Last):
    """Patches that merge, after a roll and back, with a border that is put on and taken off."""

    def __init__(self):
        super().__init__()
        self.reduce = nn.Linear(4 * 24, 24)

    def forward(self, x):
        x = self.patch(x).permute(0, 2, 3, 1)
        x = torch.roll(torch.roll(x, (-1, -1), (1, 2)).relu(), (1, 1), (1, 2))
        x = fn.pad(x, (0, 0, 1, 1, 1, 1))[:, 1:-1, 1:-1]
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.head(self.act(self.norm(self.reduce(x))).mean((1, 2)))


class Windows(Last):
    """Windows folded into the batch, as in Swin, and put together again."""

    def forward(self, x):
        x = self.patch(x).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        parts = x.reshape(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
        parts = self.norm(parts)
        x = parts.reshape(n, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return self.head(self.act(x).mean((1, 2)))


class NHWC(nn.Module):
    """Pictures channels last outside, channels first inside, as tf2onnx writes them."""

    def __init__(self):
        super().__init__()
        self.patch, self.norm, self.head = nn.Conv2d(3, 24, 16, 16), nn.BatchNorm2d(24), nn.Linear(24, 5)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.head(self.act(self.norm(self.patch(x.permute(0, 3, 1, 2)))).mean((2, 3)))


class Hybrid(nn.Module):
    """Convolutions whose extent is the number of tokens, then tokens with a class token, then attention."""

    def __init__(self, width=32):
        super().__init__()
        self.stem, self.patch = nn.Conv2d(3, width, 4, 4), nn.Conv2d(width, width, 4, 4)
        self.cls = nn.Parameter(torch.randn(1, 1, width))
        self.norm, self.qkv, self.head = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, 5)

    def forward(self, x):
        t = self.patch(self.stem(x).relu()).flatten(2).transpose(1, 2)
        t = torch.cat([self.cls.expand(x.shape[0], -1, -1), t], 1)
        n, count, d = t.shape
        q, k, v = self.qkv(self.norm(t)).reshape(n, count, 3, 4, d // 4).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-1, -2) * d**-0.5).softmax(-1) @ v
        return self.head((t + mixed.transpose(1, 2).reshape(n, count, d))[:, 0])


FULL, SMALL = (128, 288), (64, 96)
CASES = {
    "8 x 18 tokens": (Patches, FULL, "norm", lambda a: a, (8, 18), 0),
    "einops": (lambda: Patches("reshape"), FULL, "norm", lambda a: a, (8, 18), 0),
    "unfold": (lambda: Patches("unfold"), SMALL, "norm", lambda a: a, (4, 6), 0),
    "tensor.unfold": (lambda: Patches("windows"), SMALL, "norm", lambda a: a, (4, 6), 0),
    "class token": (lambda: Patches(lead=1), SMALL, "norm", lambda a: a[:, 1:], (4, 6), 0),
    "two class tokens, 25 in all": (lambda: Patches(lead=1, trail=0), SMALL, "norm", lambda a: a[:, 1:], (4, 6), 0),
    "a class token and four registers": (lambda: Patches(lead=5), SMALL, "norm", lambda a: a[:, 5:], (4, 6), 0),
    "class token at the end": (lambda: Patches(trail=1), SMALL, "norm", lambda a: a[:, :-1], (4, 6), 0),
    "8 channels beside 4 x 6": (lambda: Last(8), SMALL, "norm", lambda a: a.flatten(1, 2), (4, 6), 0),
    "6 channels beside 4 x 6": (lambda: Last(6), SMALL, "norm", lambda a: a.flatten(1, 2), (4, 6), 0),
    "96 channels beside 8 x 18": (lambda: Last(96), FULL, "norm", lambda a: a.flatten(1, 2), (8, 18), 0),
    "merged": (Merged, SMALL, "norm", lambda a: a.flatten(1, 2), (2, 3), 0),
}


written, exported, made = torch_nets.written, torch_nets.exported, torch_nets.made


def written_out(net, x, layer, tokens, cells, size, target=1):
    """Grad-CAM by autograd: the layer's values as ``[N, T, C]`` over the grid's rows."""
    kept = []
    handle = dict(net.named_modules())[layer].register_forward_hook(lambda _m, _i, out: kept.append(out))
    score = net(torch.from_numpy(x))[:, target].sum()
    handle.remove()
    a, g = (tokens(v) for v in (kept[0], torch.autograd.grad(score, kept[0])[0]))
    maps = fn.relu((g.mean(1, keepdim=True) * a).sum(-1)).reshape(len(x), 1, *cells)
    return fn.interpolate(maps, size=size, mode="bilinear", align_corners=False)[:, 0].detach().numpy()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("door", ["torch", "onnx", "onnx dynamo"])
def test_grad_cam_is_the_one_written_out(door, case):
    build, size, layer, tokens, cells, _ = CASES[case]
    net = made(build)
    x = np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32)
    x[:, :, :32, -32:] += 3
    expected = written_out(net, x, layer, tokens, cells, size)
    assert expected.any()
    if (door, case) == ("onnx", "tensor.unfold"):
        pytest.skip("written as one slice per window; see the test of grids that are stated")
    if door == "torch":
        model, name = xplain.load(net), layer
    else:
        blank = torch.zeros(1, 3, *size)
        model = xplain.load(torch_nets.export(net, blank, dynamo=True)) if "dynamo" in door else exported(net, blank)
        name = [one.name for one in model.outline.layers if one.op == "LayerNormalization"][-1]
    found = xplain.explain(model, x, "grad-cam", target=1, layer=name)
    assert found.resolution == cells
    np.testing.assert_allclose(found.values, expected, atol=2e-5 * expected.max())


@pytest.mark.parametrize("build", [NHWC, Hybrid, Merged, Windows, partial(Patches, lead=1), Last], ids=called)
def test_auto_takes_a_grid_of_the_picture_on_every_door(build):
    net = made(build)
    last = isinstance(net, NHWC)
    x = np.random.default_rng(0).normal(size=(2, 3, 64, 96)).astype(np.float32)
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if last else x
    free = {0: "n", 1: "h", 2: "w"} if last else {0: "n", 2: "h", 3: "w"}
    example = torch.zeros(1, 64, 96, 3) if last else torch.zeros(1, 3, 64, 96)
    models = [xplain.load(net), exported(net, example)]
    if not isinstance(net, (Windows, Merged)):
        models.append(exported(net, example, dynamic_axes={"x": free}, input_names=["x"]))
    maps = [xplain.explain(m, x, "hires-cam", target=1, signed=True, layout="NHWC" if last else "NCHW") for m in models]
    for one in maps:
        assert one.values.shape == (2, 64, 96)
        assert one.resolution == ((2, 3) if isinstance(net, Merged) else (4, 6)), one.notes
        np.testing.assert_allclose(one.values, maps[0].values, atol=3e-5 * np.abs(maps[0].values).max())


@pytest.mark.parametrize("cell", [(0, 0), (1, 4), (3, 5), (2, 0)])
@pytest.mark.parametrize("build", [Patches, partial(Patches, "reshape"), Last, Windows], ids=called)
def test_the_cell_that_is_planted_is_the_one_that_lights_up(build, cell):
    """The score is one cell's alone, so every other cell of the map is zero."""
    net = made(build)
    row, column = cell

    class Read(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net
            self.last = nn.Identity()

        def forward(self, x):
            inner = {}
            handle = net.norm.register_forward_hook(lambda _m, _i, out: inner.update(out=out))
            net(x)
            handle.remove()
            out = self.last(inner["out"])
            if out.ndim == 4:
                return out[:, row, column].sum(-1, keepdim=True)
            if isinstance(net, Windows):
                out = out.reshape(len(x), 6, 4, -1)
                return out[:, row // 2 * 3 + column // 2, row % 2 * 2 + column % 2, :3].sum(-1, keepdim=True)
            return out[:, row * 6 + column, :3].sum(-1, keepdim=True)

    x = np.random.default_rng(1).normal(size=(2, 3, 64, 96)).astype(np.float32)
    found = xplain.explain(Read().eval(), x, "hires-cam", target=0, layer="last", signed=True)
    assert found.resolution == (4, 6)
    hottest = np.unravel_index(np.abs(found.values[0]).argmax(), (64, 96))
    assert (hottest[0] // 16, hottest[1] // 16) == cell


# ------------------------------------------------------------------ what cannot be followed


class Shuffled(nn.Module):
    """Tokens whose order goes through the data: nobody can follow them."""

    def __init__(self):
        super().__init__()
        self.patch, self.norm, self.head = nn.Conv2d(3, 20, 16, 16), nn.LayerNorm(20), nn.Linear(20, 5)

    def forward(self, x):
        t = self.patch(x).flatten(2).transpose(1, 2)
        order = torch.zeros_like(t).cumsum(1).long() + torch.arange(t.shape[1])[None, :, None]
        return self.head(self.norm(t.gather(1, order)).relu().mean(1))


def test_a_grid_that_cannot_be_followed_is_asked_for():
    net, x = made(Shuffled), np.random.default_rng(0).normal(size=(1, 3, 64, 96)).astype(np.float32)
    model = xplain.load(net)
    with pytest.raises(UsageError, match=r"could not be followed from the input.*grid='8x18'"):
        xplain.explain(model, x, "grad-cam", target=1, layer="norm")
    expected = written_out(net, x, "norm", lambda a: a, (4, 6), (64, 96))
    for grid in ("4x6", (4, 6)):
        found = xplain.explain(model, x, "grad-cam", target=1, layer="norm", grid=grid)
        assert found.resolution == (4, 6)
        np.testing.assert_allclose(found.values, expected, atol=1e-5 * expected.max())
    with pytest.raises(UsageError, match="no axis has the 35 tokens"):
        xplain.explain(model, x, "grad-cam", target=1, layer="norm", grid="5x7")


def test_windows_that_are_sliced_one_by_one_can_be_stated():
    """So torch's exporter writes ``tensor.unfold``."""
    net, x = made(lambda: Patches("windows", width=20)), np.random.default_rng(0).normal(size=(1, 3, 64, 96))
    x = x.astype(np.float32)
    model = exported(net, torch.zeros(1, 3, 64, 96))
    name = next(one.name for one in model.outline.layers if one.op == "LayerNormalization")
    with pytest.raises(UsageError, match=r"If you know its grid, state it, such as grid="):
        xplain.explain(model, x, "grad-cam", target=1, layer=name)
    found = xplain.explain(model, x, "grad-cam", target=1, layer=name, grid="4x6").values
    expected = written_out(net, x, "norm", lambda a: a, (4, 6), (64, 96))
    np.testing.assert_allclose(found, expected, atol=2e-5 * expected.max())


def test_a_layer_behind_the_average_has_no_positions():
    net = made(
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 5, 1), nn.Flatten(1)
        )
    )
    x = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    model = xplain.load(net)
    xplain.predict(model, x)
    for layer in ("2", "3"):
        with pytest.raises(UsageError, match=r"it has no positions to draw. Layers that have: 0, 1\."):
            xplain.explain(model, x, "grad-cam", target=1, layer=layer)
