"""Gradient methods and class activation maps against captum and against torch written out, on torch and ONNX alike."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

import xplain

torch = pytest.importorskip("torch", reason="the references are written in torch")
pytest.importorskip("captum", reason="captum is the reference")

CLASSES = 5


def small_net() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, CLASSES),
    ).eval()


@pytest.fixture(scope="module")
def net():
    return small_net()


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).normal(size=(3, 3, 12, 14)).astype(np.float32)


@pytest.fixture(scope="module", params=["torch", "onnx"])
def model(request, net, x):
    if request.param == "torch":
        return xplain.load(net)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter announces its successor
        torch.onnx.export(
            net, torch.tensor(x), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}, opset_version=17
        )
    return xplain.load(file.getvalue())


TARGET = [0, 3, 4]


def close(ours, theirs, tolerance=2e-5):
    theirs = np.asarray(theirs)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def reference(captum_class, net, x, **options):
    from captum import attr

    tensor = torch.tensor(x, requires_grad=True)
    return getattr(attr, captum_class)(net).attribute(tensor, target=TARGET, **options).detach().numpy()


def test_saliency(model, net, x):
    raw = reference("Saliency", net, x, abs=False)
    close(xplain.explain(model, x, "saliency", target=TARGET).values, np.abs(raw).max(axis=1))
    close(xplain.explain(model, x, "saliency", target=TARGET, signed=True).values, raw.sum(axis=1))
    close(xplain.explain(model, x, "saliency", target=TARGET, channels=True).values, raw)


def test_input_x_gradient(model, net, x):
    raw = reference("InputXGradient", net, x)
    close(xplain.explain(model, x, "input-x-gradient", target=TARGET).values, raw.sum(axis=1))


def test_a_difference_of_classes_is_the_difference_of_gradients(model, x):
    def gradient(target):
        return xplain.explain(model, x, "saliency", target=target, channels=True).values

    both = gradient(xplain.label(1) - 2 * xplain.label(4))
    np.testing.assert_allclose(both, gradient(1) - 2 * gradient(4), atol=1e-6)


def test_integrated_gradients_are_complete(model, net, x):
    theirs = reference("IntegratedGradients", net, x, n_steps=300, method="riemann_middle")
    got = xplain.explain(model, x, "ig", target=TARGET, steps=300, tolerance=None, channels=True)
    close(got.values, theirs, 1e-4)
    adaptive = xplain.explain(model, x, "ig", target=TARGET, steps=4, tolerance=0.01)
    assert np.max(adaptive.notes["steps"]) > 4
    goal = np.asarray(adaptive.notes["f(x) - f(baseline)"])
    gap = adaptive.values.sum(axis=(1, 2)) - goal
    assert (np.abs(gap) <= 0.011 * np.abs(goal)).all()
    np.testing.assert_allclose(gap, adaptive.notes["completeness gap"], atol=1e-5)
    scores = torch.nn.Sequential(net)(torch.tensor(np.concatenate([x, 0 * x]))).detach().numpy()
    np.testing.assert_allclose(goal, [scores[n, c] - scores[3 + n, c] for n, c in enumerate(TARGET)], atol=1e-5)


def test_a_path_that_ends_before_its_tolerance_says_so(model, x):
    found = xplain.explain(model, x, "ig", target=TARGET, steps=2, tolerance=1e-6, max_steps=6)
    assert found.notes["steps"] == [6] * len(x)
    own = np.abs(found.notes["completeness gap"]) / np.abs(found.notes["f(x) - f(baseline)"])
    for n, share in enumerate(own):
        assert f"After 6 steps the values miss f(x) - f(baseline) by {share:.1%}" in found.warnings[n].text
        assert found.warnings[n].item == n
    assert not xplain.explain(model, x, "ig", target=TARGET, tolerance=0.01).warnings


def test_expected_gradients_agree_with_integrated_gradients_for_one_baseline(model, x):
    exact = xplain.explain(model, x, "ig", target=TARGET, steps=300, tolerance=None)
    got = xplain.explain(model, x, "expected-gradients", target=TARGET, samples=200, seed=3)
    off = np.abs(got.values - exact.values)
    inside = off <= 3 * got.error + 1e-6
    assert inside.mean() > 0.98
    background = np.stack([x[0], x[1]])
    spread = xplain.explain(model, x[2:], "expected-gradients", target=2, samples=400, baseline=background)
    scores = xplain.predict(model, x)[:, 2]
    assert spread.values.sum() == pytest.approx(scores[2] - scores[:2].mean(), abs=0.1 * np.abs(scores).max())


def test_smoothgrad_is_the_mean_over_its_noise_and_vargrad_the_variance(model, x):
    calm = xplain.explain(model, x, "saliency", target=TARGET)
    tiny = xplain.explain(model, x, "smoothgrad", target=TARGET, sigma=1e-6, samples=4)
    np.testing.assert_allclose(tiny.values, calm.values, atol=1e-3 * calm.values.max())
    rough = xplain.explain(model, x, "smoothgrad", target=TARGET, sigma=0.1, samples=64)
    variance = xplain.explain(model, x, "vargrad", target=TARGET, sigma=0.1, samples=64)
    np.testing.assert_allclose(rough.error, np.sqrt(variance.values / 64), rtol=1e-4)
    squared = xplain.explain(model, x, "smoothgrad", target=TARGET, sigma=0.1, samples=64, squared=True)
    np.testing.assert_allclose(squared.values, rough.values**2 + variance.values * 63 / 64, rtol=1e-3, atol=1e-7)


def layers(model, net, x):
    """The rectified second convolution: its name in the model, its values and gradients in torch."""
    spatial = [layer.name for layer in model.outline.layers if len(layer.shape) == 4 and 1 not in layer.shape]
    body, head = net[:5], net[5:]
    activation = body(torch.tensor(x)).detach().requires_grad_()
    total = sum(head(activation)[n, c] for n, c in enumerate(TARGET))
    (gradient,) = torch.autograd.grad(total, activation)
    return spatial[-1], activation.detach(), gradient


def enlarged(maps):
    return torch.nn.functional.interpolate(maps[:, None], size=(12, 14), mode="bilinear")[:, 0].numpy()


def test_grad_cam_and_its_kin(model, net, x):
    name, a, g = layers(model, net, x)
    expected = {
        "grad-cam": (g.mean((2, 3), keepdim=True) * a).sum(1).relu(),
        "layer-cam": (g.relu() * a).sum(1).relu(),
        "hires-cam": (g * a).sum(1).relu(),
        "cam": (net[7].weight[TARGET].detach()[:, :, None, None] * a).sum(1),
    }
    alpha = g**2 / (2 * g**2 + a.sum((2, 3), keepdim=True) * g**3 + (g == 0))
    expected["grad-cam++"] = ((alpha * g.relu()).sum((2, 3), keepdim=True) * a).sum(1).relu()
    for method, maps in expected.items():
        got = xplain.explain(model, x, method, target=TARGET)
        assert got.notes["layer"] == name
        assert got.resolution == (6, 7)
        close(got.values, enlarged(maps))
    named = xplain.explain(model, x, "grad-cam", target=TARGET, layer=name, signed=True)
    close(named.values, enlarged((g.mean((2, 3), keepdim=True) * a).sum(1)))
    assert named.signed


def test_cams_that_ask(model, net, x):
    _, a, _ = layers(model, net, x)
    with torch.no_grad():
        base = net(torch.tensor(x))[range(3), TARGET]
        ablated = torch.zeros_like(base)[:, None].repeat(1, 16)
        masked = ablated.clone()
        low, high = a.amin((2, 3), keepdim=True), a.amax((2, 3), keepdim=True)
        big = torch.nn.functional.interpolate(a, size=(12, 14), mode="bilinear")
        low, high = big.amin((2, 3), keepdim=True), big.amax((2, 3), keepdim=True)
        masks = torch.where(high > low, (big - low) / (high - low + (high == low)), torch.zeros_like(big))
        for k in range(16):
            without = a.clone()
            without[:, k] = 0
            ablated[:, k] = base - net[5:](without)[range(3), TARGET]
            masked[:, k] = net(torch.tensor(x) * masks[:, k : k + 1])[range(3), TARGET]
        hidden = net(torch.zeros(1, 3, 12, 14))[0, TARGET]
        weights = torch.softmax(masked - hidden[:, None], dim=1)
    got = xplain.explain(model, x, "ablation-cam", target=TARGET)
    close(got.values, enlarged(torch.einsum("nk,nkhw->nhw", ablated, a).relu()), 1e-4)
    got = xplain.explain(model, x, "score-cam", target=TARGET)
    close(got.values, enlarged(torch.einsum("nk,nkhw->nhw", weights, a).relu()), 1e-4)
    got = xplain.explain(model, x, "eigen-cam", target=TARGET)
    assert got.values.sum() > 0


def test_layers_that_do_not_fit_say_which_do(model, x):
    head = [layer for layer in model.outline.layers if len(layer.shape) != 4 or 1 in layer.shape][-1].name
    with pytest.raises(xplain.core.errors.UsageError, match="no positions to draw. Layers that have: "):
        xplain.explain(model, x, "grad-cam", layer=head)
    with pytest.raises(xplain.core.errors.UnknownName, match="Unknown layer 'conv99'"):
        xplain.explain(model, x, "grad-cam", layer="conv99")


HEADS = {
    "hidden layer": lambda: [torch.nn.Linear(16, 24), torch.nn.ReLU(), torch.nn.Linear(24, 3)],
    "hidden layer without biases": lambda: [
        torch.nn.Linear(16, 24, bias=False), torch.nn.ReLU(), torch.nn.Linear(24, 3, bias=False)
    ],
    "as in MobileNetV3": lambda: [torch.nn.Linear(16, 24), torch.nn.Hardswish(), torch.nn.Linear(24, 3)],
    "as in ConvNeXt": lambda: [torch.nn.LayerNorm(16), torch.nn.Linear(16, 3)],
}  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_cam_refuses_a_head_that_bends_behind_the_average(x, head):
    """The gradient is alike at all positions there, but the weights are not the class's."""
    torch.manual_seed(0)
    body = torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    with pytest.raises(xplain.core.errors.UsageError, match="here the score is not linear in the averages"):
        xplain.explain(torch.nn.Sequential(*body, *HEADS[head]()).eval(), x, "cam")


def test_cam_takes_a_head_of_linear_parts(x):
    torch.manual_seed(0)
    parts = torch.nn.AdaptiveAvgPool2d(1), torch.nn.BatchNorm2d(16), torch.nn.Flatten(), torch.nn.Linear(16, 3)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), *parts).eval()
    found = xplain.explain(net, x, "cam", target=1)
    zero = net[2:](torch.zeros(1, 16, 1, 1))[0, 1].item()
    np.testing.assert_allclose(found.notes["mean of the small map"] + zero, xplain.predict(net, x)[:, 1], rtol=1e-4)


def test_cam_refuses_a_head_of_another_kind(x):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 12 * 14, 3)
    ).eval()
    with pytest.raises(xplain.core.errors.UsageError, match="Use grad-cam or hires-cam"):
        xplain.explain(net, x, "cam")
