"""Every function of a target means one number, whoever reads it: numpy, torch's autograd, a sweep's graph."""

from __future__ import annotations

import numpy as np
import pytest
from nets import FLOAT, model
from onnx import helper

import xplain
from xplain.core.edits import Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Score, Sweep
from xplain.core.rules import Rules
from xplain.core.target import Target, channel, label, neuron
from xplain.core.targets.functions import FUNCTIONS
from xplain.targets import distance, exp, input, iou, log, logit, output, sigmoid, similarity, softmax  # noqa: A004

RNG = np.random.default_rng(5)
FIRST = 0.3 * RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
SECOND = 0.3 * RNG.normal(size=(5, 4, 3, 3)).astype(np.float32)
X = RNG.normal(size=(3, 3, 6, 6)).astype(np.float32)
MASK = RNG.random((6, 6)) > 0.5
OWN = RNG.random((3, 6, 6)) > 0.5
VECTOR = RNG.normal(size=5)


def net():
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"], pads=[1] * 4),
        helper.make_node("Tanh", ["a"], ["h"]),
        helper.make_node("Conv", ["h", "second"], ["mask"], pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["mask"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["vec"]),
        helper.make_node("Flatten", ["mask"], ["flat"]),
        helper.make_node("Sigmoid", ["flat"], ["shares"]),
        helper.make_node("Reshape", ["shares", "dims"], ["rows"]),
    ]
    outputs = {"vec": (FLOAT, ["N", 5]), "mask": (FLOAT, ["N", 5, 6, 6]), "rows": (FLOAT, ["N", 30, 6])}
    made = model(nodes, {"x": (FLOAT, ["N", 3, 6, 6])}, outputs, {"first": FIRST, "second": SECOND})
    made.graph.initializer.append(helper.make_tensor("dims", 7, [3], [-1, 30, 6]))
    return xplain.load(made.SerializeToString(), output="vec")


def module():
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False)
            self.b = torch.nn.Conv2d(4, 5, 3, padding=1, bias=False)

        def forward(self, x):
            mask = self.b(self.a(x).tanh())
            return {"vec": mask.mean((2, 3)), "mask": mask, "rows": mask.flatten(1).sigmoid().reshape(-1, 30, 6)}

    made = Net().eval()
    made.a.weight.data, made.b.weight.data = torch.from_numpy(FIRST), torch.from_numpy(SECOND)
    return made


def by_hand():
    """Each target with what it is, written in torch alone."""
    torch = pytest.importorskip("torch")
    t, mask = torch.from_numpy, torch.from_numpy(MASK.astype(np.float32))
    own, vector = t(OWN.astype(np.float32)), t(VECTOR.astype(np.float32))

    def overlap(b):
        left, right = b[:, 0] - b[:, 2] / 2, b[:, 0] + b[:, 2] / 2
        top, bottom = b[:, 1] - b[:, 3] / 2, b[:, 1] + b[:, 3] / 2
        wide = (right.clamp(max=0.8) - left.clamp(min=0.2)).clamp(min=0)
        high = (bottom.clamp(max=0.9) - top.clamp(min=0.1)).clamp(min=0)
        return wide * high / (b[:, 2] * b[:, 3] + 0.6 * 0.8 - wide * high)

    return {
        "mean": (output("mask")[2].mean(), lambda o: o["mask"][:, 2].mean((1, 2))),
        "where": (output("mask")[2].mean(where=MASK), lambda o: (o["mask"][:, 2] * mask).sum((1, 2)) / mask.sum()),
        "each": (
            output("mask")[2].mean(where=OWN, per_item=True),
            lambda o: (o["mask"][:, 2] * own).sum((1, 2)) / own.sum((1, 2)),
        ),
        "sum": (output("mask")[1:3].sum(), lambda o: o["mask"][:, 1:3].sum((1, 2, 3))),
        "max": (output("mask")[-1].max(where=MASK), lambda o: (o["mask"][:, 4] - 1e9 * (1 - mask)).flatten(1).amax(1)),
        "logsumexp": (output("mask")[2].logsumexp(), lambda o: o["mask"][:, 2].flatten(1).logsumexp(1)),
        "cosine": (
            similarity(output("vec"), VECTOR),
            lambda o: torch.nn.functional.cosine_similarity(o["vec"], vector[None]),
        ),
        "two": (
            similarity(output("vec")[:3], output("vec")[2:]),
            lambda o: torch.nn.functional.cosine_similarity(o["vec"][:, :3], o["vec"][:, 2:]),
        ),
        "distance": (
            distance(output("mask")[:3], input()),
            lambda o: ((o["mask"][:, :3] - o["input"]) ** 2).sum((1, 2, 3)),
        ),
        "iou": (iou(output("rows")[1, 0:4], [0.5, 0.5, 0.6, 0.8], "cxcywh"), lambda o: overlap(o["rows"][:, 1, :4])),
        "log": (
            log(exp(label(1)) + 2.0 * exp(label(2))),
            lambda o: (o["vec"][:, 1].exp() + 2 * o["vec"][:, 2].exp()).log(),
        ),
        "product": (
            label(1) * label(2) / exp(label(0)),
            lambda o: o["vec"][:, 1] * o["vec"][:, 2] / o["vec"][:, 0].exp(),
        ),
        "softmax": (softmax(output("vec"), 3), lambda o: o["vec"].softmax(1)[:, 3]),
        "softmax from behind": (
            softmax(output("rows")[2:5, 1], -1),
            lambda o: o["rows"][:, 2:5, 1].softmax(1)[:, 2],
        ),
        "softmax of the last": (
            softmax(output("vec")[-3:], 1),
            lambda o: o["vec"][:, -3:].softmax(1)[:, 1],
        ),
        "softmax up to one from the last": (
            softmax(output("vec")[1:-1], 1),
            lambda o: o["vec"][:, 1:-1].softmax(1)[:, 1],
        ),
        "softmax of some": (
            softmax(output("rows")[2:5, 1], 1),
            lambda o: o["rows"][:, 2:5, 1].softmax(1)[:, 1],
        ),
        "sigmoid": (sigmoid(label(0) - channel("mask", 3)), lambda o: (o["vec"][:, 0] - o["vec"][:, 3]).sigmoid()),
        "logit": (logit(neuron("rows", 2, 3)), lambda o: o["mask"].flatten(1)[:, 15]),
        "mixed": (
            label(0) + output("mask")[2].logsumexp() - 2 * neuron("mask", 1, 2, 3),
            lambda o: o["vec"][:, 0] + o["mask"][:, 2].flatten(1).logsumexp(1) - 2 * o["mask"][:, 1, 2, 3],
        ),
    }


@pytest.fixture(scope="module")
def doors():
    return net(), xplain.load(module(), output="vec")


@pytest.mark.parametrize("name", sorted(by_hand()))
def test_value_and_gradient_are_the_same_in_numpy_graph_and_torch(doors, name):
    torch = pytest.importorskip("torch")
    target, written = by_hand()[name]
    x = torch.from_numpy(X.copy()).requires_grad_()
    expected = written(module()(x) | {"input": x})
    expected.sum().backward()
    wanted, slope = expected.detach().numpy(), x.grad.numpy()
    for door in doors:
        door.abilities.look(X) if door.outline.kind == "torch" else None
        value = np.asarray(door.answer(Score(X, Untouched(), target)))[:, 0]
        np.testing.assert_allclose(value, wanted, rtol=2e-5, atol=2e-6)
        swept = door.answer(Sweep(X[:, None], target, Rules()))
        np.testing.assert_allclose(swept.target, wanted, rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(swept["input"][1], slope, rtol=2e-4, atol=1e-5 * np.abs(slope).max())


@pytest.mark.parametrize("name", sorted(by_hand()))
def test_a_target_comes_back_from_its_data_and_item_by_item(name):
    target, _ = by_hand()[name]
    again = Target.of(target.data())
    assert again == target
    assert again.name == target.name
    single = target.of_item(1)
    assert single.of_item(0) == single


def test_every_function_is_tried():
    tried = {term.function for target, _ in by_hand().values() for term in _formulas(target.terms)}
    assert tried | {"peak", "detected", "kept", "total", "quotient"} == set(FUNCTIONS)


def _formulas(terms):
    for _, term in terms:
        if term.kind == "formula":
            yield term
            for arg in term.args:
                yield from _formulas(arg) if isinstance(arg, tuple) else ()


@pytest.mark.parametrize("method", ["saliency", "integrated-gradients", "lrp", "deeplift", "occlusion", "kernel-shap"])
@pytest.mark.parametrize("name", ["cosine", "where", "log"])
def test_methods_of_each_family_explain_a_formula(doors, method, name):
    target, written = by_hand()[name]
    torch = pytest.importorskip("torch")
    options = {"occlusion": {"patch": 2, "stride": 2}, "kernel-shap": {"features": "grid:3", "samples": 64}}
    found = xplain.explain(doors[0], X, method, target=target, **options.get(method, {}))
    with torch.no_grad():
        outputs = module()(torch.from_numpy(X)) | {"input": torch.from_numpy(X)}
    np.testing.assert_allclose(found.scores, written(outputs).numpy(), rtol=1e-5)
    assert found.explained == target
    assert {"cosine": "similarity", "where": "output", "log": "target value"}[name] in found.unit
    assert np.abs(found.values).max() > 0


def test_deeplift_of_a_formula_adds_up_to_its_difference(doors):
    """A logarithm and a cosine are compared with their values on the baseline, as any operator is."""
    for name in ("log", "where"):
        target, _ = by_hand()[name]
        base = np.full((3, 6, 6), 0.1, np.float32)
        found = xplain.explain(doors[0], X, "deeplift", target=target, baseline=base)
        gap = found.scores - np.asarray(doors[0].answer(Score(base[None], Untouched(), target)))[0, 0]
        np.testing.assert_allclose(found.values.reshape(3, -1).sum(1), gap, rtol=1e-3, atol=1e-4)


def test_a_formula_compiles_into_the_model(doors):
    import onnxruntime

    target, _ = by_hand()["cosine"]
    for method, options in (
        ("saliency", {}),
        ("integrated-gradients", {"steps": 4, "tolerance": None, "baseline": 0.2}),
    ):
        made = xplain.compile(doors[0], method, target=target, **{k: v for k, v in options.items() if k != "tolerance"})
        session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        (found,) = session.run(["attribution"], {"x": X})
        expected = xplain.explain(doors[0], X, method, target=target, **options).values
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_a_saved_result_keeps_its_formula_and_items_are_joined(doors, tmp_path):
    target, _ = by_hand()["each"]
    found = xplain.explain(doors[0], X, "saliency", target=target)
    found.save(tmp_path / "a.npz")
    from xplain import results

    again = results.load(tmp_path / "a.npz")
    assert again.explained == target
    from xplain.results.join import joined

    parts = [found[n] for n in range(3)]
    assert parts[1].explained.of_item(0) == target.of_item(1)
    np.testing.assert_array_equal(joined(parts).explained.terms[0][1].numbers[0], target.terms[0][1].numbers[0])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: output("mask")[2].mean(where=np.zeros((6, 6))), "says nowhere"),
        (lambda: output("mask")[2].mean(where=-np.ones((6, 6))), "negative"),
        (lambda: similarity(output("vec"), np.zeros(5)), "no direction"),
        (lambda: similarity(output("vec"), output("vec")), "with itself"),
        (lambda: similarity(output("vec"), [np.nan] * 5), "not finite"),
        (lambda: iou(output("rows")[0, :4], [1, 2, 3], "xyxy"), "four numbers"),
        (lambda: output("mask")[::2], "step"),
        (lambda: output("mask")["road"], "whole numbers"),
        (lambda: output("mask")[1][2], "one pair of brackets"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_written(make, says):
    with pytest.raises(UsageError, match=says):
        make()


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (output("mask")[2].mean(where=np.ones((5, 5))), r"mask is \[5, 5\]"),
        (output("mask")[9].mean(), "places 0 to 4"),
        (output("vec")[1, 1].mean(), "names 2 axes"),
        (output("mosk")[1].mean(), "mask"),
        (similarity(output("vec"), np.ones(4)), r"\[4\]"),
        (output("mask")[2].mean(where=OWN[:2], per_item=True), "2 items; 3 are explained"),
    ],
)
@pytest.mark.parametrize("method", ["saliency", "occlusion"])
def test_a_target_that_does_not_fit_the_model_is_refused(doors, target, says, method):
    with pytest.raises(xplain.XplainError, match=says):
        xplain.explain(doors[0], X, method, target=target)


@pytest.mark.parametrize(
    ("some", "index", "said"),
    [
        (output("vec")[1:3], 2, "has 2 elements"),
        (output("vec")[1:3], -3, "has 2 elements"),
        (output("vec")[-2:], 2, "has 2 elements"),
        (output("vec")[1:], -1, "not known here"),
        (output("vec")[-3:4], 1, "not known here"),
    ],
)
def test_a_softmax_is_of_an_element_that_is_read(some, index, said):
    """One beside them would be divided by what it is no part of: a share above 1."""
    with pytest.raises(UsageError, match=said):
        softmax(some, index)


@pytest.mark.parametrize("method", ["saliency", "occlusion"])
def test_a_softmax_of_an_element_behind_an_end_counted_from_the_last_is_refused(doors, method):
    """It is known at the tensor only: element 2 of vec[1:-1] would be the one that the cut leaves out."""
    for index in (3, 9):  # of five elements three are read
        with pytest.raises(UsageError, match="reads nothing of axis 1"):
            xplain.explain(doors[0], X, method, target=softmax(output("vec")[1:-1], index))


@pytest.mark.parametrize(
    "written",
    [
        lambda: log(5),
        lambda: exp(output("vec")),
        lambda: logit(None),
        lambda: sigmoid("cat"),
    ],
)
def test_functions_are_of_targets(written):
    with pytest.raises(UsageError, match="is of a target|is of one number"):
        written()


@pytest.mark.parametrize(
    "written",
    [
        lambda: label(1) - 100,
        lambda: label(1) + 1,
        lambda: label(1) * "a",
        lambda: label(1) * float("nan"),
        lambda: label(1) / 0,
    ],
)
def test_what_is_no_number_and_no_target_is_refused(written):
    with pytest.raises(UsageError, match="[Tt]o a target|target is"):
        written()
