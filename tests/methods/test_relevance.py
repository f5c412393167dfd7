"""Relevance methods against captum and shap where these are right, against completeness where they are not."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

import xplain
from xplain.core.errors import UsageError
from xplain.core.rules import Rules

torch = pytest.importorskip("torch", reason="the references are written in torch")
pytest.importorskip("captum", reason="captum is the reference")

TARGET = [0, 3]


def exported(net, x):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, torch.tensor(x), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}, opset_version=17
        )
    return xplain.load(file.getvalue())


def convolutional(pool=False, bias=True):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 3, padding=1, bias=bias),
        torch.nn.ReLU(),
        *([torch.nn.MaxPool2d(3, 2, 1)] if pool else []),
        torch.nn.Conv2d(6, 8, 3, padding=1, bias=bias),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 4, bias=bias),
    ).eval()


class Gated(torch.nn.Module):
    """What captum and shap have no complete rule for: SiLU, a squeeze-and-excitation gate, layer norm, softmax."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.gate = torch.nn.Conv2d(2, 8, 3, padding=1), torch.nn.Linear(8, 8)
        self.norm, self.head = torch.nn.LayerNorm(8), torch.nn.Linear(8, 4)

    def forward(self, x):
        h = torch.nn.functional.silu(self.conv(x))
        h = h * torch.sigmoid(self.gate(h.mean((2, 3))))[:, :, None, None]
        tokens = self.norm(h.flatten(2).transpose(1, 2))
        share = torch.softmax(tokens @ tokens.transpose(1, 2) / 8**0.5, dim=-1)
        return self.head((share @ tokens).mean(1))


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).normal(size=(2, 2, 10, 8)).astype(np.float32)


def reference(captum_class, net, x, **options):
    from captum import attr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum warns about the hooks it sets
        tensor = torch.tensor(x, requires_grad=True)
        return getattr(attr, captum_class)(net).attribute(tensor, target=TARGET, **options).detach().numpy()


def close(ours, theirs, tolerance):
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.fixture(params=["onnx", "torch"])
def load(request):
    return exported if request.param == "onnx" else lambda net, x: xplain.load(net)


def test_lrp_epsilon_is_captums(load, x):
    from captum.attr import LRP

    torch.manual_seed(0)
    body = torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(6, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 4, (10, 8)),
    ).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # captum cannot walk through Flatten, so its target is an element of [N, 4, 1, 1]; epsilon 1e-9 everywhere
        theirs = LRP(body).attribute(torch.tensor(x), target=[(c, 0, 0) for c in TARGET]).detach().numpy()
    net = torch.nn.Sequential(*body, torch.nn.Flatten())
    ours = xplain.explain(load(net, x), x, "lrp", target=TARGET, rule="epsilon", epsilon=1e-9, channels=True)
    close(ours.values, theirs, 1e-3)


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "z-plus", "epsilon-plus-flat", "flat", "w-square"])
def test_lrp_conserves_relevance_without_biases(rule, x):
    model = exported(convolutional(bias=False), np.abs(x))
    found = xplain.explain(model, np.abs(x), "lrp", target=TARGET, rule=rule, epsilon=1e-9)
    np.testing.assert_allclose(found.notes["relevance"], found.scores, rtol=2e-3)
    np.testing.assert_allclose(found.values.sum(axis=(1, 2)), found.notes["relevance"], rtol=1e-4)


@pytest.mark.parametrize("rule", ["epsilon", "z-plus", "epsilon-plus-flat"])
def test_without_their_share_biases_absorb_nothing(rule, x):
    model = exported(convolutional(), x)
    kept = xplain.explain(model, x, "lrp", target=TARGET, rule=rule, epsilon=1e-9, bias=False)
    lost = xplain.explain(model, x, "lrp", target=TARGET, rule=rule, epsilon=1e-9)
    np.testing.assert_allclose(kept.notes["relevance"], kept.scores, rtol=5e-3)
    assert np.abs(lost.notes["relevance"] - lost.scores).max() > 0.05 * np.abs(lost.scores).max()


def test_reveal_cancel_shows_both_sides_of_what_cancels():
    """min(a, b) = a - relu(a - b): with the rescale rule a gets everything, RevealCancel shares it (section 3.5.3)."""

    class Least(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.gap = (torch.nn.Linear(2, 1, bias=False) for _ in range(2))
            self.first.weight.data, self.gap.weight.data = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, -1.0]])

        def forward(self, x):
            pair = x.flatten(1)
            return self.first(pair) - torch.relu(self.gap(pair))

    x = np.array([[[[5.0, 3.0]]]], np.float32)
    model = exported(Least(), x)
    rescale = xplain.explain(model, x, "deeplift", target=0).values.reshape(2)
    reveal = xplain.explain(model, x, "deeplift", target=0, rule="reveal-cancel").values.reshape(2)
    np.testing.assert_allclose(rescale, [0, 3], atol=1e-5)
    np.testing.assert_allclose(reveal.sum(), 3, atol=1e-5)
    assert reveal.min() > 0.5


def test_the_first_layer_of_a_composite_is_the_models_own(x):
    """Attributed to a layer in the middle, the next layer must not be taken for the first."""
    net = convolutional(bias=False)
    model = exported(net, x)
    layer = next(one.name for one in model.outline.layers if one.op == "Relu")
    composite = xplain.explain(model, x, "lrp", target=TARGET, rule="epsilon-plus-flat", layer=layer, channels=True)
    plus = xplain.explain(model, x, "lrp", target=TARGET, rule="z-plus", layer=layer, channels=True)
    flat = xplain.explain(model, x, "lrp", target=TARGET, rule="flat", layer=layer, channels=True)

    # the head is dense: epsilon in the one, z+ in the other; both give the layer the same pattern per channel
    def pattern(values):
        return np.abs(values).sum(axis=1) / np.abs(values).sum(axis=(1, 2, 3))[:, None, None]

    assert (
        np.abs(pattern(composite.values) - pattern(plus.values)).max()
        < np.abs(pattern(composite.values) - pattern(flat.values)).max()
    )


def test_the_box_rule_needs_to_know_the_box(x):
    model = exported(convolutional(), x)
    with pytest.raises(UsageError, match="Give low and high, or a preprocessing card"):
        xplain.explain(model, x, "lrp", rule="epsilon-gamma-box")
    with pytest.raises(UsageError, match=r"rule 'z-box' needs .* Only low was given. Give low and high"):
        xplain.explain(model, x, "lrp", rule="z-box", low=-1.0)
    with pytest.raises(UsageError, match="low is 1.0; accepted: a number below high, which is -1.0"):
        xplain.explain(model, x, "lrp", rule="epsilon-gamma-box", low=1.0, high=-1.0)
    with pytest.raises(UsageError, match="option 'alpha' is 0.5; accepted: a number of at least 1"):
        xplain.explain(model, x, "lrp", rule="alpha-beta", alpha=0.5)
    boxed = xplain.explain(model, x, "lrp", target=TARGET, rule="epsilon-gamma-box", low=-4.0, high=4.0)
    assert np.isfinite(boxed.values).all()
    assert boxed.values.any()


def test_the_box_with_z_plus_behind_it_is_deep_taylor_decomposition(x):
    """Written out for two dense layers without biases: Montavon et al. 2017, sections 4.2 and 4.3."""
    torch.manual_seed(0)
    first, second = torch.nn.Linear(2 * 9 * 8, 6, bias=False), torch.nn.Linear(6, 4, bias=False)
    net = torch.nn.Sequential(torch.nn.Flatten(), first, torch.nn.ReLU(), second).eval()
    x = np.clip(x[:, :, :9, :8], -1, 2)
    found = xplain.explain(exported(net, x), x, "lrp", target=1, rule="z-box", low=-1.0, high=2.0, channels=True)
    flat, v, w = x.reshape(2, -1).astype(np.float64), first.weight.detach().double().numpy(), second.weight[1].detach()
    hidden = np.maximum(flat @ v.T, 0)
    share = hidden * np.maximum(w.double().numpy(), 0)
    relevance = share / share.sum(1, keepdims=True) * net(torch.tensor(x)).detach().numpy()[:, 1:2]
    parts = flat[:, None] * v + np.maximum(v, 0) - 2 * np.minimum(v, 0)
    expected = (parts * (relevance / parts.sum(2))[:, :, None]).sum(1).reshape(x.shape)
    np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("rule", "option", "fits"),
    [
        ("epsilon-plus-flat", {"gamma": 0.5}, "attn-lrp, epsilon-gamma-box, gamma"),
        ("z-plus", {"alpha": 3.0}, "alpha-beta"),
        ("epsilon", {"low": 0.0}, "epsilon-gamma-box, z-box"),
    ],
)
def test_an_option_that_the_rule_does_not_use_is_refused(x, rule, option, fits):
    (name,) = option
    with pytest.raises(UsageError, match=f"{name} is .*, but rule '{rule}' does not use it. Rules that do: {fits}"):
        xplain.explain(exported(convolutional(), x), x, "lrp", rule=rule, **option)


def test_deeplift_is_captums_where_captum_is_complete(load, x):
    net = convolutional()
    theirs = reference("DeepLift", net, x, baselines=0.25)
    ours = xplain.explain(load(net, x), x, "deeplift", target=TARGET, baseline=0.25, channels=True)
    close(ours.values, theirs, 1e-4)


@pytest.mark.parametrize("make", [lambda: convolutional(pool=True), Gated], ids=["overlapping max pooling", "gates"])
def test_deeplift_is_complete_where_captum_is_not(make, x):
    net = make()
    found = xplain.explain(exported(net, x), x, "deeplift", target=TARGET, baseline=0.25)
    goal = np.asarray(found.notes["f(x) - f(baseline)"])
    np.testing.assert_allclose(found.values.sum(axis=(1, 2)), goal, atol=2e-5 * max(1, np.abs(goal).max()))
    np.testing.assert_allclose(found.notes["completeness gap"], 0, atol=2e-5 * max(1, np.abs(goal).max()))
    theirs = reference("DeepLift", net, x, baselines=0.25).sum(axis=(1, 2, 3))
    assert np.abs(theirs - goal).max() > 10 * np.abs(found.values.sum(axis=(1, 2)) - goal).max()


@pytest.mark.parametrize("method", ["deeplift", "deep-shap"])
def test_values_that_do_not_add_up_are_warned_of(x, method, monkeypatch):
    """Slopes in the place of chords leave a gap."""
    model = exported(convolutional(), x)
    assert not xplain.explain(model, x, method, target=TARGET).warnings
    slopes = Rules("slopes", meaning="multiplier", reference=True)
    for place in ("explainers.relevance", "rules"):
        monkeypatch.setattr(f"xplain.{place}.deeplift.RESCALE", slopes)
    found = xplain.explain(model, x, method, target=TARGET)
    goal = next(note for name, note in found.notes.items() if name.startswith("f(x)"))
    share = np.abs(found.notes["completeness gap"]).max() / np.abs(goal).max()
    assert share > 0.02
    assert f"miss the difference of the scores by {share:.1%}. xplain.measure.conservation" in found.warnings[0].text


def test_deep_shap_is_the_mean_of_deeplift_over_the_background(x):
    model = exported(convolutional(pool=True), x)
    background = np.random.default_rng(5).normal(size=(40, 2, 10, 8)).astype(np.float32)
    found = xplain.explain(model, x, "deep-shap", target=TARGET, baseline=background)
    each = [xplain.explain(model, x, "deeplift", target=TARGET, baseline=one, check=False).values for one in background]
    close(found.values, np.mean(each, axis=0), 1e-4)
    goal = found.scores - found.base
    np.testing.assert_allclose(found.values.sum(axis=(1, 2)), goal, atol=1e-4)


def test_deep_shap_is_shaps_on_a_net_without_pooling(x):
    shap = pytest.importorskip("shap", reason="shap is the reference")
    net = convolutional()
    background = np.random.default_rng(5).normal(size=(10, 2, 10, 8)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = shap.DeepExplainer(net, torch.tensor(background)).shap_values(torch.tensor(x))
    theirs = np.stack([theirs[n, ..., c] for n, c in enumerate(TARGET)])
    ours = xplain.explain(exported(net, x), x, "deep-shap", target=TARGET, baseline=background, channels=True)
    close(ours.values, theirs, 1e-4)


def test_excitation_backprop_is_a_probability_and_contrast_removes_what_speaks_against(x):
    model = exported(convolutional(bias=False), np.abs(x))
    plain = xplain.explain(model, np.abs(x), "excitation-backprop", target=TARGET, layer="input")
    np.testing.assert_allclose(plain.values.sum(axis=(1, 2)), 1, rtol=1e-4)
    assert plain.values.min() >= 0
    contrast = xplain.explain(model, np.abs(x), "excitation-backprop", target=TARGET, contrastive=True)
    assert contrast.values.any()
    assert contrast.values.min() >= 0


def test_relevance_finds_the_only_cause(x):
    """A net that reads one 2 x 2 cell: all relevance lies there."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(160, 4, bias=False)).eval()
    with torch.no_grad():
        mask = torch.zeros(2, 10, 8)
        mask[:, 4:6, 2:4] = 1
        net[1].weight.mul_(mask.reshape(-1))
    model = exported(net, x)
    for method, options in (("lrp", {"rule": "epsilon"}), ("deeplift", {}), ("deep-shap", {})):
        values = xplain.explain(model, x, method, target=TARGET, **options).values
        inside = np.zeros((10, 8), bool)
        inside[4:6, 2:4] = True
        assert np.abs(values[:, inside]).max() > 0
        assert not values[:, ~inside].any(), method


def test_relevance_of_the_other_sign_than_the_score_is_said():
    """``y = b - a`` with a bias that outweighs it: the inputs' share is negative, the score is not."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 1))
    net[1].weight.data, net[1].bias.data = torch.tensor([[-4.0, 1.0]]), torch.tensor([8.0])
    found = xplain.explain(net, np.array([[1.0, 1.0]], np.float32), "lrp", rule="epsilon", target=0)
    assert any("with the other sign than the score" in said for said in found.said), found.warnings
