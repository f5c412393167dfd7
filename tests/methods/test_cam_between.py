"""Class activation maps of series, volumes and words, and of nets with several inputs, calls and heads."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import xplain
from xplain.core.errors import UsageError

torch = pytest.importorskip("torch", reason="the nets are written in torch")
sys.path.insert(0, str(Path(__file__).parents[1] / "graph"))
torch_nets = pytest.importorskip("torch_nets")
nn, fn = torch.nn, torch.nn.functional


written, exported, made = torch_nets.written, torch_nets.exported, torch_nets.made


# ------------------------------------------------------------------ series, volumes, text


@pytest.mark.parametrize("channels", [8, 16, 32, 64])
@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "score-cam", "ablation-cam", "eigen-cam", "layer-cam"])
def test_a_series_has_a_map_over_time(channels, method):
    parts = [nn.Conv1d(2, channels, 5, padding=2), nn.ReLU(), nn.Conv1d(channels, channels, 5, 2, 2), nn.ReLU()]
    net = made(lambda: nn.Sequential(*parts, nn.AdaptiveAvgPool1d(1), nn.Flatten(1), nn.Linear(channels, 3)))
    x = np.zeros((1, 2, 100), np.float32)
    x[0, :, 70:76] = 5
    maps = [
        xplain.explain(model, x, method, target=1, layout="NCT")
        for model in (xplain.load(net), exported(net, torch.zeros(1, 2, 100)))
    ]
    assert {one.values.shape for one in maps} == {(1, 100)}
    np.testing.assert_allclose(maps[0].values, maps[1].values, atol=1e-4 * max(np.abs(maps[0].values).max(), 1e-6))
    if method in ("layer-cam", "eigen-cam"):
        assert abs(int(np.abs(maps[0].values[0]).argmax()) - 73) < 8
    if method == "grad-cam":
        kept = []
        handle = net[3].register_forward_hook(lambda _m, _i, out: kept.append(out))
        score = net(torch.from_numpy(x))[0, 1]
        handle.remove()
        (g,) = torch.autograd.grad(score, kept[0])
        small = fn.relu((g.mean(2, keepdim=True) * kept[0]).sum(1, keepdim=True))
        expected = fn.interpolate(small, size=100, mode="linear", align_corners=False)[0, 0].detach().numpy()
        np.testing.assert_allclose(maps[0].values[0], expected, atol=1e-5 * max(expected.max(), 1e-6))


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "eigen-cam", "ablation-cam", "score-cam", "layer-cam"])
def test_a_volume_has_a_map_over_depth_height_and_width(method):
    parts = [nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(4, 6, 3, padding=1), nn.ReLU()]
    net = made(lambda: nn.Sequential(*parts, nn.AdaptiveAvgPool3d(1), nn.Flatten(1), nn.Linear(6, 3)))
    x = np.zeros((1, 1, 8, 12, 16), np.float32)
    x[0, 0, 6:8, 2:4, 12:14] = 3
    models = (xplain.load(net), exported(net, torch.zeros(1, 1, 8, 12, 16)))
    maps = [xplain.explain(model, x, method, target=1, layout="NCDHW") for model in models]
    assert {one.values.shape for one in maps} == {(1, 8, 12, 16)}
    assert {one.resolution for one in maps} == {(4, 6, 8)}
    np.testing.assert_allclose(maps[0].values, maps[1].values, atol=1e-4 * max(np.abs(maps[0].values).max(), 1e-6))
    if method == "grad-cam":
        kept = []
        handle = net[4].register_forward_hook(lambda _m, _i, out: kept.append(out))
        score = net(torch.from_numpy(x))[0, 1]
        handle.remove()
        (g,) = torch.autograd.grad(score, kept[0])
        small = fn.relu((g.mean((2, 3, 4), keepdim=True) * kept[0]).sum(1, keepdim=True))
        expected = fn.interpolate(small, size=(8, 12, 16), mode="trilinear", align_corners=False)[0, 0].detach().numpy()
        np.testing.assert_allclose(maps[0].values[0], expected, atol=1e-5 * max(expected.max(), 1e-6))


class Words(nn.Module):
    """16 words, a square number, through one layer of attention; the first word answers."""

    def __init__(self, mean=False):
        super().__init__()
        self.words, self.places, self.mean = nn.Embedding(30, 16), nn.Embedding(64, 16), mean
        self.norm, self.qkv, self.head = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 3)

    def forward(self, ids):
        t = self.words(ids) + self.places(torch.arange(ids.shape[1])[None])
        n, count, d = t.shape
        q, k, v = self.qkv(self.norm(t)).reshape(n, count, 3, 2, 8).permute(2, 0, 3, 1, 4)
        self.matrix = (q @ k.transpose(-1, -2) / 8**0.5).softmax(-1)
        t = t + (self.matrix @ v).transpose(1, 2).reshape(n, count, d)
        return self.head(t.mean(1) if self.mean else t[:, 0])


@pytest.mark.parametrize("mean", [False, True])
def test_words_are_tokens_and_no_picture(mean):
    net = made(lambda: Words(mean))
    ids = torch.randint(0, 30, (2, 16))
    score = net(ids)
    gradient = torch.autograd.grad(score[:, 1].sum(), net.matrix)[0]
    rows = (net.matrix * gradient).clamp(min=0).mean(1)
    expected = (rows.mean(1) if mean else rows[:, 0]).detach().numpy()
    file = exported(net, (ids[:1],), dynamic_axes={"ids": {0: "n", 1: "s"}}, input_names=["ids"])
    for model in (xplain.load(net), file):
        found = xplain.explain(model, ids.numpy(), "attention-relevance", target=1)
        assert found.values.shape == (2, 16)
        np.testing.assert_allclose(found.values, expected, atol=1e-5 * expected.max())
        cam = xplain.explain(model, ids.numpy(), "grad-cam", target=1)
        assert cam.values.shape == (2, 16)
        assert "places" not in cam.notes["layer"]
        name = next(one.name for one in model.outline.layers if "places" in one.name)
        with pytest.raises(UsageError, match="does not depend on the explained input"):
            xplain.explain(model, ids.numpy(), "grad-cam", target=1, layer=name)


# ------------------------------------------------------------------ between the input and the target


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU())
        self.b = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, one, two):
        return self.head(torch.cat([self.a(one).mean((2, 3)), self.b(two).mean((2, 3))], 1))


def gradcam(layer_values, score, size):
    (g,) = torch.autograd.grad(score, layer_values, retain_graph=True)
    small = fn.relu((g.mean((2, 3), keepdim=True) * layer_values).sum(1, keepdim=True))
    return fn.interpolate(small, size=size, mode="bilinear", align_corners=False)[0, 0].detach().numpy()


@pytest.mark.parametrize("explained", ["one", "two"])
@pytest.mark.parametrize("method", ["grad-cam", "eigen-cam", "score-cam"])
def test_the_layer_of_the_input_that_is_explained(method, explained):
    net = made(Two)
    x = {name: torch.randn(1, 1, 16, 16) for name in ("one", "two")}
    other = "two" if explained == "one" else "one"
    file = written(net, tuple(x.values()), input_names=["one", "two"])
    model = xplain.load(file, input=explained, fixed={other: x[other].numpy()})
    found = xplain.explain(model, x[explained].numpy(), method, target=0)
    side = "a" if explained == "one" else "b"
    assert found.notes["layer"].startswith(f"/{side}/")
    if method == "grad-cam":
        values = getattr(net, side)(x[explained])
        sides = {"a": net.a(x["one"]), "b": net.b(x["two"]), side: values}
        score = net.head(torch.cat([sides["a"].mean((2, 3)), sides["b"].mean((2, 3))], 1))[0, 0]
        expected = gradcam(values, score, (16, 16))
        np.testing.assert_allclose(found.values[0], expected, atol=1e-5 * max(expected.max(), 1e-6))
    wrong = "b" if side == "a" else "a"
    layer = next(one.name for one in model.outline.layers if one.name.startswith(f"/{wrong}/"))
    with pytest.raises(UsageError, match=rf"does not depend on the explained input '{explained}'.*/{side}/"):
        xplain.explain(model, x[explained].numpy(), method, target=0, layer=layer)


def test_a_siamese_net_tells_its_calls_apart():
    """One module called for both pictures: its plain name means the call with the explained one."""
    torch.manual_seed(5)
    tower = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(1), nn.Linear(256, 8))
    fixed, x = torch.randn(1, 1, 16, 16), torch.randn(1, 1, 16, 16)

    class Similar(nn.Module):
        def __init__(self, first):
            super().__init__()
            self.tower, self.first = tower, first
            self.register_buffer("other", fixed)

        def forward(self, x):
            other = self.other.expand(len(x), -1, -1, -1)
            pair = (x, other) if self.first else (other, x)
            return fn.cosine_similarity(*map(self.tower, pair))[:, None]

    values = tower[1](tower[0](x))
    score = fn.cosine_similarity(tower[3](values.flatten(1)), tower(fixed))[0]
    expected = gradcam(values, score, (16, 16))
    for first in (True, False):
        model = xplain.load(Similar(first).eval())
        xplain.predict(model, x.numpy())
        for layer in ("auto", "tower.1", f"tower.1:{0 if first else 1}"):
            found = xplain.explain(model, x.numpy(), "grad-cam", layer=layer)
            np.testing.assert_allclose(found.values[0], expected, atol=1e-5 * expected.max())
        with pytest.raises(UsageError, match="does not depend on the explained input"):
            xplain.explain(model, x.numpy(), "grad-cam", layer=f"tower.1:{1 if first else 0}")


def test_of_two_heads_the_layer_leads_to_the_one_that_is_explained():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
            self.head = nn.Linear(8, 4)
            self.segment = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 2, 2, 2))

        def forward(self, x):
            seen = self.body(x)
            return self.head(seen.mean((2, 3))), self.segment(seen)

    net, x = made(Heads), np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    file = exported(net, torch.zeros(1, 3, 16, 16), output_names=["logits", "mask"])
    for model, wrong in ((xplain.load(net), "segment.1"), (file, "mask")):
        for method in ("grad-cam", "eigen-cam", "score-cam", "ablation-cam"):
            assert "body" in xplain.explain(model, x, method, target=1).notes["layer"]
        with pytest.raises(UsageError, match=r"does not lead to target '1'. Layers that do: .*body"):
            xplain.explain(model, x, "grad-cam", target=1, layer=wrong)


def test_a_table_has_no_map():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(13, 3)

        def forward(self, picture, table):
            return self.head(torch.cat([self.conv(picture).relu().mean((2, 3)), table], 1))

    picture, table = torch.randn(1, 3, 16, 16), torch.randn(1, 9)
    file = written(made(Both), (picture, table), input_names=["picture", "table"])
    model = xplain.load(file, input="table", fixed={"picture": picture.numpy()})
    for method in ("grad-cam", "eigen-cam", "attention-rollout"):
        with pytest.raises(UsageError, match="no layer with positions of the item|shows no attention"):
            xplain.explain(model, table.numpy(), method, target=0)


def test_frames_that_are_folded_into_the_batch_are_told_apart():
    """A net of pictures asked frame by frame: its maps are those of the frames, for each film of a batch."""

    class Film(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Linear(4, 3)

        def forward(self, x):
            n, frames = x.shape[:2]
            maps = self.act(self.conv(x.reshape(-1, *x.shape[2:])))
            return self.head(maps.mean((2, 3)).reshape(n, frames, -1).mean(1))

    net, x = made(Film), np.random.default_rng(0).normal(size=(2, 5, 3, 8, 12)).astype(np.float32)
    kept = []
    handle = net.act.register_forward_hook(lambda _m, _i, out: kept.append(out))
    score = net(torch.from_numpy(x))[:, 1].sum()
    handle.remove()
    (g,) = torch.autograd.grad(score, kept[0])
    product = (g * kept[0]).sum(1).reshape(2, 5, 8, 12).detach().numpy()
    for model in (xplain.load(net), exported(net, torch.zeros(1, 5, 3, 8, 12))):
        found = xplain.explain(model, x, "hires-cam", target=1, signed=True, layout="NTCHW")
        assert found.resolution == (5, 8, 12)
        np.testing.assert_allclose(found.values, product, atol=1e-5 * np.abs(product).max())
