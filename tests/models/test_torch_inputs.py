"""What a torch module is given, and gradients where its own code records none."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import xplain
from xplain.core.errors import NoPath, NotExported, UsageError, XplainError

torch = pytest.importorskip("torch")
nn = torch.nn


class Frozen(nn.Module):
    """A backbone that is called in one of several ways, and a head."""

    def __init__(self, how="plain"):
        super().__init__()
        self.b = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.h = nn.Linear(8, 4)
        self.how = how

    def forward(self, x):
        if self.how == "no_grad":
            with torch.no_grad():
                f = self.b(x)
        elif self.how == "inference":
            with torch.inference_mode():
                f = self.b(x)
        elif self.how == "all of it":
            with torch.no_grad():
                return self.h(self.b(x).mean((2, 3)))
        elif self.how == "set_grad_enabled":
            torch.set_grad_enabled(False)
            f = self.b(x)
            torch.set_grad_enabled(True)
        elif self.how == "detach":
            f = self.b(x).detach()
        else:
            f = self.b(x)
        return self.h(f.mean((2, 3)))


class Decorated(Frozen):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class Inferred(Frozen):
    @torch.inference_mode()
    def forward(self, x):
        return super().forward(x)


@pytest.fixture(scope="module")
def plain():
    torch.manual_seed(0)
    return Frozen().eval()


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)


KINDS = ["no_grad", "inference", "all of it", "set_grad_enabled", Decorated, Inferred]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "layer-cam", "saliency", "guided-backprop", "ig"])
def test_a_frozen_part_has_the_gradient_of_what_it_computes(plain, x, kind, method):
    module = Frozen(kind) if isinstance(kind, str) else kind()
    module.load_state_dict(plain.state_dict())
    wanted = xplain.explain(plain, x, method, target=1)
    found = xplain.explain(module.eval(), x, method, target=1)
    np.testing.assert_allclose(found.values, wanted.values, atol=1e-7)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_grad_cam_inside_is_what_a_person_computes_by_hand(plain, x):
    module = Frozen("no_grad").eval()
    module.load_state_dict(plain.state_dict())
    f = module.b(torch.from_numpy(x))
    cam = torch.relu((module.h.weight[1][None, :, None, None] / 256 * f).sum(1))
    found = xplain.explain(module, x, "grad-cam", target=1, layer="b")
    np.testing.assert_allclose(found.values, cam.detach().numpy(), atol=1e-7)


def test_parameters_that_forward_changes_in_place_do_no_harm(x):
    class Clips(Frozen):
        def forward(self, x):
            with torch.no_grad():
                self.h.weight.clamp_(-1, 1)
            return super().forward(x)

    assert xplain.explain(Clips().eval(), x, "saliency", target=1).values.any()
    assert xplain.explain(Clips().eval(), x, "score-cam", target=1, layer="b").values.shape == (2, 16, 16)


def test_detach_is_named_with_the_methods_that_still_work(plain, x):
    module = Frozen("detach").eval()
    for method in ("grad-cam", "saliency", "ig"):
        with pytest.raises(
            NoPath, match=r"no path from .* it ends at detach.*still work: .*occlusion.*grad-cam with la"
        ):
            xplain.explain(module, x, method, target=1)
    assert xplain.explain(module, x, "occlusion", target=1, patch=8, stride=8).values.any()


def test_a_path_past_a_layer_is_seen_where_no_gradient_is_recorded(x):
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.c, self.d, self.h = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1), nn.Linear(8, 2)

        def forward(self, x):
            with torch.no_grad():
                other = self.d(x)
            return self.h((self.c(x) + other).mean((2, 3)))

    with pytest.raises(UsageError, match="depend on the input also past layer 'c'"):
        xplain.explain(Around().eval(), x, "ablation-cam", target=0, layer="c")


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 2)

    def forward(self, x):
        h = self.a(x)
        return self.b(h.relu() if h.sum() > 0 else h.tanh())


@pytest.mark.parametrize("method", ["lrp", "deeplift", "deep-shap"])
@pytest.mark.parametrize(
    "module", [Branches(), nn.Sequential(nn.Linear(5, 8), nn.RReLU(), nn.Linear(8, 2))], ids=["branch", "RReLU"]
)
def test_a_module_that_torch_cannot_export(module, method):
    with pytest.raises(NotExported, match="could not be exported to ONNX, which") as caught:
        xplain.explain(module.eval(), np.ones((1, 5), np.float32), method, baseline=0) if method != "lrp" else (
            xplain.explain(module.eval(), np.ones((1, 5), np.float32), method)
        )
    assert len(str(caught.value).splitlines()) == 1
    fits = str(caught.value).partition("still work: ")[2].rstrip(".").split(", ")
    assert {"saliency", "integrated-gradients", "kernel-shap"} <= set(fits)
    assert not {"lrp", "deeplift", "deep-shap"} & set(fits)
    for name in ("saliency", "integrated-gradients", "guided-backprop", "kernel-shap"):
        xplain.explain(module.eval(), np.ones((1, 5), np.float32), name)


TOKENS = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2)).eval()
IDS = np.array([[1, 2, 3]])


@pytest.mark.parametrize("method", ["integrated-gradients", "expected-gradients", "smoothgrad", "saliency", "deeplift"])
def test_token_ids_have_no_gradient_and_the_message_says_what_has(method):
    with pytest.raises(UsageError, match=r"integers, which have no gradient.*layer='(0|embedding)'") as caught:
        xplain.explain(TOKENS, IDS, method, target=0)
    if "layer='0'" in str(caught.value):  # the advice, followed
        assert xplain.explain(TOKENS, IDS, "saliency", target=0, layer="0").values.shape == (1, 3)
    assert xplain.explain(TOKENS, IDS, "kernel-shap", target=0).values.shape == (1, 3)


def rows():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval()


@pytest.mark.parametrize("method", ["integrated-gradients", "kernel-shap", "saliency", "lrp"])
@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.bool])
def test_whole_numbers_are_given_as_the_module_takes_them_and_that_is_said(kind, method):
    module, x = rows(), torch.tensor([[1, 0, 1], [0, 1, 1]])
    wanted = xplain.explain(module, x.float(), method, target=0)
    found = xplain.explain(module, x.to(kind), method, target=0)
    np.testing.assert_allclose(found.values, wanted.values, atol=1e-6)
    assert any("whole numbers and the module takes none" in one.text for one in found.warnings)
    assert not any("whole numbers" in one.text for one in wanted.warnings)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("method", ["integrated-gradients", "kernel-shap", "lrp"])
def test_other_floating_types_of_items_and_of_modules(kind, method):
    x = torch.tensor([[1, 0.5, 1], [0, 1, 0.25]])
    wanted = xplain.explain(rows(), x, method, target=0).values
    np.testing.assert_allclose(xplain.explain(rows(), x.to(kind), method, target=0).values, wanted, atol=1e-6)
    np.testing.assert_allclose(xplain.explain(rows().to(kind), x, method, target=0).values, wanted, atol=0.05)


def test_a_module_of_two_types():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.late, self.early = nn.Linear(4, 2).half(), nn.Linear(3, 4)

        def forward(self, x):
            return self.late(self.early(x).half())

    found = xplain.explain(Mixed().eval(), torch.rand(2, 3), "integrated-gradients", target=0)
    assert np.isfinite(found.values).all()


def test_what_a_module_takes_in_no_type_is_its_own_error():
    with pytest.raises((RuntimeError, XplainError), match="shapes cannot be multiplied"):
        xplain.explain(rows(), np.array([[1, 2]]), "saliency", target=0)
    assert copy.deepcopy(rows()) is not None


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (3, 32, 32)),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (1, 28, 28)),
        (nn.Sequential(nn.Conv1d(3, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten()), (3, 32)),
        (nn.Linear(5, 3), (5,)),
    ],
    ids=["picture", "grey picture", "series", "row"],
)
def test_an_item_without_a_batch_axis(module, shape):
    torch.manual_seed(2)
    x = torch.rand(shape)
    wanted = xplain.explain(module.eval(), x[None], "saliency", target=1)
    found = xplain.explain(module, x, "saliency", target=1)
    np.testing.assert_array_equal(found.values, wanted.values)


def test_what_is_wrong_with_a_batch_is_still_said_of_the_batch():
    with pytest.raises(RuntimeError, match=r"to have 3 channels, but got 5 channels.*|got 5"):
        xplain.explain(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).eval(), torch.rand(2, 5, 8, 8), "saliency", target=1
        )


def test_a_layer_may_be_the_module_itself(plain, x):
    wanted = xplain.explain(plain, x, "grad-cam", target=1, layer="b.0")
    found = xplain.explain(plain, x, "grad-cam", target=1, layer=plain.b[0])
    np.testing.assert_array_equal(found.values, wanted.values)
    assert found.options["layer"] == "b.0"
    with pytest.raises(UsageError, match="The layer is Linear, a torch module that is none of torch Frozen's"):
        xplain.explain(plain, x, "grad-cam", target=1, layer=nn.Linear(2, 2))
