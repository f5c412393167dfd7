"""Attention that a torch module computes inside functions: the same matrices, gradients and maps as written out."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import xplain
from xplain.core.arrays import enlarge
from xplain.core.errors import ModelError, UnknownName, UsageError
from xplain.core.query import Peek, Score, Sweep
from xplain.core.rules import Rules

torch = pytest.importorskip("torch", reason="the nets are written in torch")
fn = torch.nn.functional
sys.path.insert(0, str(Path(__file__).parents[1] / "graph"))
torch_nets = pytest.importorskip("torch_nets")

D, HEADS, TOKENS = 24, 3, 17
FORMS = [
    "softmax",
    "function",
    "masked",
    "causal",
    "scaled",
    "grouped",
    "half mask",
    "weights",
    "no weights",
    "encoder",
]


class Attend(torch.nn.Module):
    """One attention, in a form."""

    def __init__(self, form):
        super().__init__()
        self.form, self.own = form, torch.nn.MultiheadAttention(D, HEADS, batch_first=True)
        self.qkv, self.out = torch.nn.Linear(D, 3 * D), torch.nn.Linear(D, D)
        mask = torch.rand(TOKENS, TOKENS) > 0.3
        self.register_buffer("mask", mask | torch.eye(TOKENS, dtype=torch.bool))

    def forward(self, x):
        form = self.form
        if form in ("weights", "no weights"):
            return self.own(x, x, x, need_weights=form == "weights")[0]
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        if form == "grouped":
            k, v = k[:, :1], v[:, :1]
            return self._merged(fn.scaled_dot_product_attention(q, k, v, enable_gqa=True))
        if form == "softmax":
            return self._merged((q @ k.transpose(-1, -2) * (D // HEADS) ** -0.5).softmax(-1) @ v)
        bias = torch.where(self.mask, 0.0, -2.0)
        more = {
            "masked": {"attn_mask": self.mask},
            "half mask": {"attn_mask": bias},
            "causal": {"is_causal": True},
            "scaled": {"scale": 0.7},
        }
        return self._merged(fn.scaled_dot_product_attention(q, k, v, **more.get(form, {})))

    def _merged(self, mixed):
        return self.out(mixed.transpose(1, 2).flatten(2))

    def matrix(self, x):
        """What the form is to compute, written out, ``[N, heads, T, T]``, and the values ``[N, heads, T, d]``."""
        form = self.form
        if form in ("weights", "no weights"):
            q, k, v = fn.linear(x, self.own.in_proj_weight, self.own.in_proj_bias).chunk(3, -1)
        else:
            q, k, v = self.qkv(x).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (q, k, v))
        if form == "grouped":
            k, v = (part[:, :1].expand(-1, HEADS, -1, -1) for part in (k, v))
        scores = q @ k.transpose(-1, -2) * (0.7 if form == "scaled" else (D // HEADS) ** -0.5)
        if form == "masked":
            scores = scores.masked_fill(~self.mask, -torch.inf)
        if form == "causal":
            scores = scores.masked_fill(torch.ones(TOKENS, TOKENS).triu(1).bool(), -torch.inf)
        if form == "half mask":
            scores = scores + torch.where(self.mask, 0.0, -2.0)
        return scores.softmax(-1), v

    def plainly(self, x, kept):
        """``forward`` by ``matrix``, which is kept for autograd."""
        matrix, v = self.matrix(x)
        kept.append(matrix)
        merged = (matrix @ v).transpose(1, 2).flatten(2)
        return self.own.out_proj(merged) if self.form in ("weights", "no weights") else self.out(merged)


class Net(torch.nn.Module):
    """A vision transformer of two blocks."""

    def __init__(self, form):
        super().__init__()
        self.patch, self.cls = torch.nn.Conv2d(3, D, 8, 8), torch.nn.Parameter(torch.randn(1, 1, D) * 0.2)
        self.form, self.head = form, torch.nn.Linear(D, 5)
        if form == "encoder":
            self.blocks = torch.nn.ModuleList(
                torch.nn.TransformerEncoderLayer(D, HEADS, 32, batch_first=True, norm_first=True) for _ in range(2)
            )
        else:
            self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(D) for _ in range(2))
            self.blocks = torch.nn.ModuleList(Attend(form) for _ in range(2))

    def forward(self, x, kept=None):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1)
        for k, block in enumerate(self.blocks):
            if self.form == "encoder":
                x = block(x)
            else:
                inner = self.norms[k](x)
                x = x + (block(inner) if kept is None else block.plainly(inner, kept))
        return self.head(x[:, 0])


def net(form):
    torch.manual_seed(1)
    made = Net(form).eval()
    for part in made.modules():
        if isinstance(part, torch.nn.Linear):
            torch.nn.init.normal_(part.weight, std=0.4)
        if isinstance(part, torch.nn.MultiheadAttention):
            torch.nn.init.normal_(part.in_proj_weight, std=0.4)
    return made.requires_grad_(False)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)


TAPS = ("attention#0", "attention#1")


@pytest.mark.parametrize("form", [form for form in FORMS if form != "encoder"])
def test_matrices_and_their_gradients_are_those_of_attention_written_out(form, x):
    made, kept = net(form), []
    model = xplain.load(made)
    scores = made(torch.from_numpy(x).requires_grad_(), kept)
    expected = torch.autograd.grad(scores[:, 3].sum(), kept)
    peeked = model.answer(Peek(x, TAPS))
    swept = model.answer(Sweep(x[:, None], xplain.label(3), Rules(), ("input", *TAPS)))
    for tap, matrix, gradient in zip(TAPS, kept, expected, strict=True):
        assert peeked[tap].shape == (2, HEADS, TOKENS, TOKENS)
        np.testing.assert_allclose(peeked[tap], matrix.detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(swept[tap][0], peeked[tap], atol=1e-6)
        np.testing.assert_allclose(swept[tap][1], gradient.numpy(), atol=1e-5 * float(gradient.abs().max()))
    alone = model.answer(Sweep(x[:, None], xplain.label(3), Rules()))["input"][1]
    assert np.array_equal(swept["input"][1], alone)  # nothing is replaced


@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("grouped", "weights")])
@pytest.mark.parametrize("method", ["attention-rollout", "attention-relevance"])
def test_maps_are_those_of_the_exported_file(method, form, x):
    made = net(form)  # the exporter has no grouped attention, and with weights folds the heads into the batch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = xplain.load(torch_nets.export(made, torch.zeros(2, 3, 32, 32), opset_version=17))
    found, expected = (xplain.explain(model, x, method, target=3) for model in (made, exported))
    assert found.notes["attention layers"] == expected.notes["attention layers"] == 2
    np.testing.assert_allclose(found.values, expected.values, atol=2e-5 * np.abs(expected.values).max())


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_whole_encoder_whose_layers_are_one_kernel_otherwise(batch_first, x):
    class Encoder(Net):
        def __init__(self):
            super().__init__("encoder")
            layer = torch.nn.TransformerEncoderLayer(D, 2, 32, batch_first=batch_first)
            nested = {} if batch_first else {"enable_nested_tensor": False}  # torch warns that it is of no use there
            self.blocks = torch.nn.ModuleList([torch.nn.TransformerEncoder(layer, 2, **nested)])

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1)
            x = self.blocks[0](x) if batch_first else self.blocks[0](x.transpose(0, 1)).transpose(0, 1)
            return self.head(x[:, 0])

    torch.manual_seed(0)
    made = Encoder().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = xplain.load(torch_nets.export(made, torch.zeros(2, 3, 32, 32), opset_version=17))
    for method in ("attention-rollout", "attention-relevance"):
        found, expected = (xplain.explain(model, x, method, target=1).values for model in (made, exported))
        np.testing.assert_allclose(found, expected, atol=2e-5 * expected.max())


def test_heads_that_the_exported_file_folds_into_the_batch(x):
    """``nn.MultiheadAttention`` with weights: ``[N * heads, T, T]`` in the file is told apart item by item."""
    made = net("weights")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = xplain.load(torch_nets.export(made, torch.zeros(2, 3, 32, 32), opset_version=17))
    matrices = xplain.load(made).answer(Peek(x, TAPS))
    rows = np.eye(TOKENS)
    for tap in TAPS:
        rows = (0.5 * matrices[tap].mean(axis=1) + 0.5 * np.eye(TOKENS)) @ rows
    found = xplain.explain(exported, x, "attention-rollout").values
    np.testing.assert_allclose(found, enlarge(rows[:, 0, 1:].reshape(2, 4, 4), (32, 32)), rtol=1e-4)
    one, two = (xplain.explain(model, x, "attention-relevance", target=3).values for model in (made, exported))
    np.testing.assert_allclose(one, two, atol=2e-5 * one.max())


def test_nothing_is_left_behind_also_after_an_exception(x):
    made = net("no weights").train()
    model = xplain.load(made)
    hooks = [len(one._forward_hooks) for one in made.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    model.answer(Peek(x, TAPS))

    class Stop(RuntimeError):
        pass

    def stop(*_):
        raise Stop

    handle = made.blocks[1].register_forward_hook(stop)
    for question in (Peek(x, TAPS), Sweep(x[:, None], xplain.label(3), Rules(), TAPS)):
        with pytest.raises(Stop):
            model.answer(question)
    handle.remove()
    assert [len(one._forward_hooks) for one in made.modules()] == hooks
    assert all(one.training for one in made.modules())
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert torch.overrides._get_current_function_mode() is None
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
    assert not any(parameter.requires_grad for parameter in made.parameters())


@pytest.mark.parametrize("form", ["function", "weights", "softmax"])
@pytest.mark.parametrize("how", ["inference_mode", "no_grad", "autocast"])
def test_callers_may_be_in_any_mode(how, form, x):
    made = net(form)
    expected = [xplain.explain(made, x, m, target=3).values for m in ("attention-rollout", "attention-relevance")]
    modes = {
        "inference_mode": torch.inference_mode,
        "no_grad": torch.no_grad,
        "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    }
    with modes[how]():
        found = [xplain.explain(made, x, m, target=3).values for m in ("attention-rollout", "attention-relevance")]
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(ours - theirs).max() <= (0.1 if how == "autocast" else 1e-6) * theirs.max()


def test_windows_are_not_taken_for_items(x):
    model = xplain.load(torch_nets.net("swin"))
    xplain.predict(model, x)
    lineage = model.outline.follow(x.shape[1:])
    layers = [layer.name for layer in model.outline.layers if layer.op == "Softmax"]
    assert [lineage.folded(name) for name in layers] == [True, True, False]
    with pytest.raises(ModelError, match=r"are \[8, 2, 16, 16\] for a batch of 2: it has no batch axis in front"):
        model.answer(Peek(x, ("attention#0",)))


def test_what_attention_layers_cannot_do(x):
    model = xplain.load(net("function"))
    xplain.predict(model, x)
    with pytest.raises(UnknownName, match="attention#1"):
        model.answer(Peek(x, ("attention#7",)))
    whole = xplain.core.edits.Untouched()
    with pytest.raises(
        UsageError, match="'attention#0' is inside an operator: it can be read as a tap, but not be repl"
    ):
        model.answer(Score(x, whole, xplain.label(0), at="attention#0"))
    with pytest.raises(UsageError, match="'attention#0' is inside an operator.*is not exported"):
        xplain.explain(model, x, "lrp", layer="attention#0")
    with pytest.raises(UsageError, match="'attention#0' is inside an operator.*is not exported"):
        xplain.compile(model, "saliency", target=xplain.neuron("attention#0", 0, 1, 2))


def test_the_kernels_of_all_devices_name_what_is_read():
    """Those of other devices cannot run here, but their schemas say what would be found."""
    names = {name.split(".")[0][len("aten::") :] for name in torch._C._dispatch_get_all_op_names()}
    kernels = [name for name in names if name.startswith("_scaled_dot_product_") and "math" not in name]
    assert {"_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention"} <= set(kernels)
    for name in kernels:
        schema = getattr(torch.ops.aten, name).default._schema
        arguments = {one.name.rstrip("_") for one in schema.arguments}
        back = {"grad_out", "out"} if name.endswith("_backward") else set()
        assert {"query", "key", "value", "is_causal", "scale"} | back <= arguments, name


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("form", FORMS)
def test_the_kernels_of_a_device_show_the_same(form, kind, x):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    made = net(form)
    methods = ("attention-rollout", "attention-relevance")
    expected = [xplain.explain(made, x, method, target=3).values for method in methods]
    there = made.to("cuda", getattr(torch, kind))
    for method, theirs in zip(methods, expected, strict=True):
        ours = xplain.explain(there, x, method, target=3).values
        assert np.abs(ours - theirs).max() <= (2e-2 if kind == "float32" else 0.2) * theirs.max()
