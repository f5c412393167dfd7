"""Attention rollout where tokens do not stay one grid: windows that shift, patches that merge, pooled keys."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.core.arrays import enlarge
from xplain.core.errors import UsageError
from xplain.core.query import Peek, Sweep
from xplain.rules.rollout import ROLLOUT

torch = pytest.importorskip("torch", reason="the nets are written in torch")
sys.path.insert(0, str(Path(__file__).parents[1] / "graph"))
torch_nets = pytest.importorskip("torch_nets")

SIDE = 32


def exported(net, **options):
    return xplain.load(torch_nets.export(net, torch.zeros(1, 3, SIDE, SIDE), **options))


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(2, 3, SIDE, SIDE)).astype(np.float32)


def patches(values, size):
    """Sums over patches of a map ``[N, H, W]``."""
    n, height, width = values.shape
    return values.reshape(n, height // size, size, width // size, size).sum((2, 4))


class Pooled(torch.nn.Module):
    """Keys and values from a strided convolution over the tokens, as in a pyramid transformer; no class token."""

    def __init__(self):
        super().__init__()
        self.patch, self.pool = torch.nn.Conv2d(3, 8, 4, 4), torch.nn.Conv2d(8, 8, 2, 2)
        self.norm, self.q, self.kv = torch.nn.LayerNorm(8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 16)
        self.head = torch.nn.Linear(8, 5)

    def forward(self, x):
        grid = self.patch(x)
        tokens = grid.flatten(2).transpose(1, 2)
        k, v = self.kv(self.pool(grid).flatten(2).transpose(1, 2)).chunk(2, -1)
        mixed = (self.q(self.norm(tokens)) @ k.transpose(1, 2)).softmax(-1) @ v
        return self.head((tokens + mixed).mean(1))


# ------------------------------------------------------------------ against matrices


@pytest.mark.parametrize("options", [{"opset_version": 17}, {"opset_version": 14}, {"dynamo": True}], ids=str)
def test_shares_that_are_followed_are_the_products_of_matrices(options, x):
    """On a plain vision transformer, with layer norm as one operator or as seven."""
    model = exported(torch_nets.net("vit"), **options)
    taps = tuple(layer.name for layer in model.outline.layers if layer.op == "Softmax")
    assert len(taps) == 2
    matrices = model.answer(Peek(x, taps))
    rows = np.eye(17)
    for tap in taps:
        rows = (0.5 * matrices[tap].mean(axis=1, dtype=np.float64) + 0.5 * np.eye(17)) @ rows
    followed = model.answer(Sweep(x[:, None], xplain.label(0), ROLLOUT))["input"][1].sum(axis=1)
    np.testing.assert_allclose(patches(followed, 8), rows[:, 0, 1:].reshape(2, 4, 4), rtol=1e-4)


def windowed(net, x):
    """Rollout of ``torch_nets.Swin`` with a matrix over all tokens for every step: attention, residual, merging."""
    kept = []
    blocks = (net.one, net.two, net.three)
    handles = [b.block.attend.register_forward_hook(lambda m, i, o: kept.append((m, i[0]))) for b in blocks]
    net(torch.from_numpy(x))
    for handle in handles:
        handle.remove()
    total = np.eye(64)
    for step, (block, (attend, tokens)) in enumerate(zip(blocks, kept, strict=True)):
        side = 8 if step < 2 else 4
        if step == 2:  # four tokens become one
            merged = np.zeros((16, 64))
            for token in range(64):
                row, column = divmod(token, 8)
                merged[row // 2 * 4 + column // 2, token] = 1 / 4
            total = merged @ total
        n, t, d = tokens.shape
        q, k, _ = attend.qkv(tokens).reshape(n, t, 3, attend.h, d // attend.h).permute(2, 0, 3, 1, 4).double()
        inner = (q @ k.transpose(-1, -2) * (d // attend.h) ** -0.5).softmax(-1).mean(1).numpy()
        inner = inner.reshape(len(x), -1, t, t)
        places = np.roll(np.arange(side * side).reshape(side, side), (-block.shift, -block.shift), (0, 1))
        matrix = np.zeros((len(x), side * side, side * side))
        for row in range(side // 4):
            for column in range(side // 4):
                ids = places[4 * row : 4 * row + 4, 4 * column : 4 * column + 4].ravel()
                matrix[:, ids[:, None], ids] = inner[:, row * (side // 4) + column]
        total = (0.5 * matrix + 0.5 * np.eye(side * side)) @ total
    return total.mean(axis=1).reshape(len(x), 8, 8)


@pytest.mark.parametrize("door", ["onnx", "onnx 14", "torch"])
def test_windows_that_shift_and_patches_that_merge(door, x):
    net = torch_nets.net("swin")
    models = {"onnx": lambda: exported(net), "onnx 14": lambda: exported(net, opset_version=14), "torch": lambda: net}
    found = xplain.explain(models[door](), x, "attention-rollout")
    assert found.notes["attention"] == "followed through the graph"
    np.testing.assert_allclose(patches(found.values, 4), windowed(net, x), rtol=1e-3)
    np.testing.assert_allclose(found.values.sum((1, 2)), 1, rtol=1e-5)


@pytest.mark.parametrize("place", [(0, 0), (1, 6), (4, 3), (7, 7)])
def test_the_patch_that_everybody_in_the_window_looks_at_has_the_largest_share(place):
    """Brightness is the key: planted in the windows' middle, at their borders and where rolling wraps around."""
    net = torch_nets.net("swin")
    with torch.no_grad():
        net.patch.weight.zero_()
        net.patch.weight[0] = 1.0
        net.patch.bias.zero_()
        for part in (net.one, net.two):
            part.bias.zero_()
            part.block.attend.qkv.weight.zero_()
            part.block.attend.qkv.bias.zero_()
            part.block.attend.qkv.bias[[0, 8]] = 4.0  # every query asks, in both heads
            part.block.attend.qkv.weight[[16, 24], 0] = 4.0  # what is bright answers
            for layer in (part.block.attend.out, part.block.mlp[2]):
                layer.weight.zero_()
                layer.bias.zero_()
    x = np.zeros((1, 3, SIDE, SIDE), np.float32)
    row, column = place
    x[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 1
    doors = (exported(net), net) if place == (1, 6) else (exported(net),)  # a torch module is exported for this as well
    for model in doors:
        shares = patches(xplain.explain(model, x, "attention-rollout").values, 4)[0]
        assert np.unravel_index(shares.argmax(), shares.shape) == place
        assert shares[place] > 3 * np.sort(shares.ravel())[-2]


def test_pooled_keys_share_with_what_they_were_pooled_from(x):
    torch.manual_seed(0)
    net = Pooled().eval()
    with torch.no_grad():
        tokens = net.patch(torch.from_numpy(x))
        q = net.q(net.norm(tokens.flatten(2).transpose(1, 2)))
        k = net.kv(net.pool(tokens).flatten(2).transpose(1, 2))[..., :8]
        attended = (q @ k.transpose(1, 2)).softmax(-1).mean(1).numpy().reshape(2, 4, 4)
    expected = 0.5 / 64 + 0.5 * attended.repeat(2, 1).repeat(2, 2) / 4
    for model in (exported(net), net):
        found = xplain.explain(model, x, "attention-rollout").values
        np.testing.assert_allclose(patches(found, 4), expected, rtol=1e-4)


@pytest.mark.parametrize("kind", ["Attention", "written out"])
def test_attention_as_one_operator(kind, x):
    """The standard's own operator shows no matrix, and is followed all the same."""
    draws, width = np.random.default_rng(0), 8
    shapes = {"patch": (width, 3, 8, 8), **dict.fromkeys("qkvo", (width, width)), "head": (width, 5)}
    arrays = {name: draws.normal(size=shape).astype(np.float32) / 2 for name, shape in shapes.items()}
    arrays |= {"flat": np.array([0, width, -1]), "middle": np.array([1])}
    add = helper.make_node
    nodes = [
        add("Conv", ["x", "patch"], ["grid"], strides=[8, 8]),
        add("Reshape", ["grid", "flat"], ["rows"]),
        add("Transpose", ["rows"], ["t"], perm=[0, 2, 1]),
        *(add("MatMul", ["t", name], [f"{name}t"]) for name in "qkv"),
    ]
    if kind == "Attention":
        nodes.append(add("Attention", ["qt", "kt", "vt"], ["mixed"], q_num_heads=1, kv_num_heads=1))
    else:
        arrays["scale"] = np.float32(width**-0.5)
        nodes += [
            add("Transpose", ["kt"], ["turned"], perm=[0, 2, 1]),
            add("MatMul", ["qt", "turned"], ["product"]),
            add("Mul", ["product", "scale"], ["scores"]),
            add("Softmax", ["scores"], ["shares"], axis=-1),
            add("MatMul", ["shares", "vt"], ["mixed"]),
        ]
    nodes += [
        add("MatMul", ["mixed", "o"], ["out"]),
        add("Add", ["t", "out"], ["sum"]),
        add("ReduceMean", ["sum", "middle"], ["mean"], keepdims=0),
        add("MatMul", ["mean", "head"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    ends = [info("x", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])], [info("y", TensorProto.FLOAT, ["N", 5])]
    graph = helper.make_graph(nodes, "one", *ends, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    tokens = np.einsum("nchpwq,dcpq->nhwd", x.reshape(2, 3, 4, 8, 4, 8), arrays["patch"]).reshape(2, 16, width)
    scores = tokens @ arrays["q"] @ (tokens @ arrays["k"]).transpose(0, 2, 1) / width**0.5
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    expected = 0.5 / 16 + 0.5 * shares.mean(1).reshape(2, 4, 4)
    found = xplain.explain(xplain.load(model), x, "attention-rollout")
    if kind == "Attention":
        np.testing.assert_allclose(patches(found.values, 8), expected, rtol=1e-3)
    else:  # a softmax over tokens, for each token, is a matrix, with or without an axis of heads
        assert found.resolution == (4, 4)
        np.testing.assert_allclose(found.values, enlarge(expected, (SIDE, SIDE)), rtol=1e-3)


# ------------------------------------------------------------------ what it cannot do


def test_options_that_need_whole_matrices_are_refused(x):
    model = exported(torch_nets.net("swin"))
    for options in ({"heads": "max"}, {"discard": 0.5}):
        with pytest.raises(UsageError, match=r"need the matrices .*accepted there are heads='mean' and discard=0"):
            xplain.explain(model, x, "attention-rollout", **options)


def test_gradients_of_windows_are_not_multiplied(x):
    with pytest.raises(UsageError, match=r"in windows, merged or pooled, .*Use attention-rollout, .*grad-cam.*or lrp"):
        xplain.explain(exported(torch_nets.net("swin")), x, "attention-relevance")


class Selective(torch.nn.Module):
    """A softmax says how much of two convolutions goes on, channel by channel: no token looks at another."""

    def __init__(self):
        super().__init__()
        self.one, self.two = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(3, 8, 5, padding=2)
        self.head = torch.nn.Linear(8, 5)

    def forward(self, x):
        both = torch.stack([self.one(x), self.two(x)], 1)
        return self.head((both * both.mean((3, 4), keepdim=True).softmax(1)).sum(1).mean((2, 3)))


@pytest.mark.parametrize("method", ["attention-rollout", "attention-relevance"])
@pytest.mark.parametrize("net", [torch_nets.net("resnet"), Selective().eval()], ids=["resnet", "selective"])
def test_a_net_without_attention(method, net, x):
    for model in (exported(net), net):
        with pytest.raises(UsageError, match="shows no attention: no softmax over tokens. Use grad-cam"):
            xplain.explain(model, x, method)


def test_attention_without_a_softmax_is_no_attention_to_follow(x):
    """Linear attention: its softmax is over features, so no token shares out to others."""

    class Linear(Pooled):
        def forward(self, x):
            tokens = self.patch(x).flatten(2).transpose(1, 2)
            k, v = self.kv(tokens).chunk(2, -1)
            mixed = self.q(tokens).softmax(-1) @ (torch.relu(k).transpose(1, 2) @ v)
            return self.head((tokens + mixed).mean(1))

    with pytest.raises(UsageError, match="shows no attention: no softmax over tokens"):
        xplain.explain(exported(Linear().eval()), x, "attention-rollout")
