"""The advice of a message works: each message that gives some is triggered and followed, or stands in a list of others.

Messages are read from the source: the literal text of errors and warnings that contain an instruction. A new one must
be put into ``FOLLOWED`` with a case that does what it says, or into ``not_followed.txt`` with a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest
from docs.advice_attacks import ATTACKS
from docs.advice_audit import AUDIT
from docs.advice_cli import COMMANDS
from docs.advice_coordinates import COORDINATES
from docs.advice_corners import CORNERS
from docs.advice_doors import DOORS
from docs.advice_engine import ENGINE
from docs.advice_joint import JOINT
from docs.advice_lenses import LENSES
from docs.advice_making import MAKING
from docs.advice_methods import METHODS
from docs.advice_models import PICTURES, RNG, ROWS, W, brightness, convolution, linear
from docs.advice_packages import PACKAGES
from docs.advice_places import PLACES
from docs.advice_rows import SERVED_ROWS
from docs.advice_serving import SERVING
from docs.advice_spaces import SPACES
from docs.advice_table import TABLE, follow
from docs.advice_targets import TARGETS
from docs.advice_truths import TRUTHS
from docs.advised import messages, not_followed
from onnx import ModelProto, TensorProto, helper, numpy_helper

import xplain
from xplain.core.errors import XplainError
from xplain.core.query import Sweep
from xplain.core.rules import Rules
from xplain.graph.safety import Limits

# ---------------------------------------------------------------------- models to ask


def net(**more: Any) -> ModelProto:
    """``x @ w``, with more inputs that are added."""
    names = ["x", *more]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4] if n == "x" else [3]) for n in names]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z0"])]
    nodes += [helper.make_node("Add", [f"z{k}", name], [f"z{k + 1}"]) for k, name in enumerate(more)]
    nodes.append(helper.make_node("Identity", [f"z{len(more)}"], ["y"]))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "net", inputs, [y], [numpy_helper.from_array(W, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


# ---------------------------------------------------------------------- triggered and followed

Told = Callable[[Callable[[], Any]], str]
FOLLOWED: dict[str, Callable[[Told, Path], Any]] = {}


def advice(fragment: str) -> Callable[[Any], Any]:
    """Register a case for the message with this fragment."""

    def keep(case: Any) -> Any:
        assert fragment not in FOLLOWED
        FOLLOWED[fragment] = case
        return case

    return keep


@advice("can be read in more than one way")
def _(told, _folder):
    x = RNG.random((1, 8, 8, 8)).astype(np.float32)
    said = told(lambda: xplain.explain(brightness, x, "occlusion"))
    (layout,) = set(re.findall(r"layout=['\"](\w+)['\"]", said)) & {"NCHW", "NHWC"} or {"NCHW"}
    xplain.explain(brightness, x, "occlusion", layout=layout)
    xplain.explain(xplain.load(brightness, layout=layout), x, "occlusion")


@advice("state how one layer lies: name it with layer=")
def _(told, _folder):
    told(lambda: xplain.explain(convolution(), PICTURES, "grad-cam", grid="8x8"))
    xplain.explain(convolution(), PICTURES, "grad-cam", grid="8x8", layer="1")


@advice("these have no predicted class. Name what to explain")
def _(told, _folder):
    def maps(batch):
        return np.asarray(batch)[:, :2]

    said = told(lambda: xplain.explain(maps, PICTURES, "occlusion"))
    targets = re.findall(r"target='([^']+)'", said)
    assert len(targets) == 2
    for target in targets:
        assert np.abs(xplain.explain(maps, PICTURES, "occlusion", target=target, patch=4, stride=4).values).max() > 0


@advice("is a word for pictures and series, whose positions are alike")
def _(told, _folder):
    told(lambda: xplain.explain(linear, ROWS, "occlusion", baseline="blur:2", target=0))
    for baseline in (ROWS[0], 0.5):
        xplain.explain(linear, ROWS, "occlusion", baseline=baseline, target=0)
    xplain.explain(linear, ROWS, "kernel-shap", background=ROWS, target=0)


@advice("It is not known what a hidden column becomes")
def _(told, _folder):
    def scores(frame):
        return np.stack([np.asarray(frame[c], np.float64) for c in "abcd"], 1) @ W

    model = xplain.table(scores, columns=list("abcd"))
    row, rows = ({n: ROWS[:k, i] for i, n in enumerate("abcd")} for k in (1, 5))
    told(lambda: xplain.explain(model, row, "occlusion", target=0))
    xplain.explain(model, row, "kernel-shap", target=0, background=rows)
    xplain.explain(model, row, "occlusion", target=0, baseline=row)
    hidden = xplain.table(scores, columns=list("abcd"), hidden=dict.fromkeys("abcd", 0.0))
    xplain.explain(hidden, row, "occlusion", target=0)


@advice("has no preprocessing card, so it is not known how a picture becomes its input")
def _(told, folder):
    from PIL import Image

    Image.fromarray((PICTURES[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(folder / "one.png")
    told(lambda: xplain.explain(brightness, folder / "one.png", "occlusion"))
    xplain.explain(brightness, folder / "one.png", "occlusion", card="imagenet", patch=64, stride=64)


@advice("no value is assumed. Give fixed={")
def _(told, _folder):
    said = told(lambda: xplain.load(net(bias=1), input="x"))
    (name,) = re.findall(r"fixed=\{'(\w+)': array\}", said)
    xplain.explain(xplain.load(net(bias=1), input="x", fixed={name: np.zeros(3, np.float32)}), ROWS, "saliency")


@advice("Say which is explained and what the others are, such as")
def _(told, _folder):
    said = told(lambda: xplain.load(net(bias=1)))
    ((explained, other),) = re.findall(r"input='(\w+)' and fixed=\{'(\w+)': array\}", said)
    xplain.explain(xplain.load(net(bias=1), input=explained, fixed={other: np.ones(3)}), ROWS, "saliency")


@advice("If you trust the model, give allow_external_data=True.")
def _(told, folder):
    import onnx

    onnx.save(net(), folder / "m.onnx", save_as_external_data=True, location="odd.data", size_threshold=0)
    told(lambda: xplain.load(folder / "m.onnx"))
    xplain.explain(xplain.load(folder / "m.onnx", allow_external_data=True), ROWS, "saliency")


@advice("nodes once its functions are written out. Give limits=Limits(nodes=...)")
def _(told, _folder):
    told(lambda: xplain.load(net(), limits=Limits(nodes=1)))
    xplain.load(net(), limits=Limits(nodes=10))


@advice("If you trust the model, give limits=Limits(tensor_bytes=")
def _(told, _folder):
    said = told(lambda: xplain.load(net(), limits=Limits(tensor_bytes=8)))
    for _again in range(9):  # each names the first tensor that is too large
        size = int(re.findall(r"tensor_bytes=(\d+)", said)[0])
        try:
            xplain.load(net(), limits=Limits(tensor_bytes=size))
            return
        except XplainError as error:
            said = str(error)
    raise AssertionError(said)


@advice("accepted: at most {} features. Use fewer")
def _(told, _folder):
    told(lambda: xplain.explain(brightness, PICTURES, "exact-shapley", features="grid:8"))
    xplain.explain(brightness, PICTURES, "exact-shapley", features="grid:3")
    xplain.explain(brightness, PICTURES, "kernel-shap", features="grid:7")


@advice("Use a patch of at most")
def _(told, _folder):
    said = told(lambda: xplain.explain(brightness, PICTURES, "occlusion", patch=99))
    patch = int(re.findall(r"at most (\d+)", said)[0])
    xplain.explain(brightness, PICTURES, "occlusion", patch=patch)


@advice("paints features over; say which: features=")
def _(told, _folder):
    pytest.importorskip("skimage")
    told(lambda: xplain.explain(brightness, PICTURES, "occlusion", baseline="inpaint"))
    xplain.explain(brightness, PICTURES, "occlusion", baseline="inpaint", features="slic:50")


@advice("draws replacements from other rows, and there are none: give background=rows")
def _(told, _folder):
    told(lambda: xplain.explain(linear, ROWS[:1], "qii", target=0))
    xplain.explain(linear, ROWS[:1], "qii", target=0, background=ROWS)


@advice("Give low and high, or a preprocessing card, which says them for pictures.")
def _(told, _folder):
    model = xplain.load(net())
    told(lambda: xplain.explain(model, ROWS, "lrp", rule="z-box"))
    xplain.explain(model, ROWS, "lrp", rule="z-box", low=-9.0, high=9.0)


@advice("The target is a list of {} for {}; give one per item.")
def _(told, _folder):
    told(lambda: xplain.explain(linear, ROWS, "occlusion", target=[0, 1]))
    xplain.explain(linear, ROWS, "occlusion", target=[0, 1, 2, 0, 1])


@advice("Give the class number, or labels in the preprocessing card.")
def _(told, _folder):
    told(lambda: xplain.explain(linear, ROWS, "occlusion", target="dog"))
    xplain.explain(linear, ROWS, "occlusion", target=1)
    xplain.explain(xplain.load(linear, card={"labels": ["cat", "dog", "cow"]}), ROWS, "occlusion", target="dog")


@advice("A result is saved as .npz")
def _(told, folder):
    found = xplain.explain(linear, ROWS, "occlusion", target=0)
    told(lambda: found.save(folder / "a.txt"))
    found.save(folder / "a.npz")


@advice("Give a list or an array with one entry per item in each, or a fact of the whole run in notes.")
def _(told, _folder):
    told(lambda: made.attribution(ROWS, each={"gap": [1.0]}))
    made.attribution(ROWS, each={"gap": [1.0] * len(ROWS)}, facts={"layer": "conv"})


@advice("this model has no price. Say what an evaluation costs")
def _(told, _folder):
    told(lambda: xplain.explain(linear, ROWS, "occlusion", target=0, max_cost=9.0))
    xplain.explain(xplain.load(linear, price=0.002), ROWS, "occlusion", target=0, max_cost=9.0)
    xplain.explain(linear, ROWS, "occlusion", target=0, max_queries=99)


@advice("it has no digest, so it cannot be told from another model. Give it one")
def _(told, folder):
    told(lambda: xplain.explain(linear, ROWS, "occlusion", target=0, cache=folder / "c"))
    xplain.explain(xplain.load(linear, version="2024-05"), ROWS, "occlusion", target=0, cache=folder / "c")


@advice("Give the model first and the rows by name: xplain.table(model, columns=frame)")
def _(told, _folder):
    told(lambda: xplain.table(ROWS))
    xplain.table(linear, columns=list("abcd"))


@advice("so there is no class activation map. Use a gradient or perturbation method")
def _(told, _folder):
    torch = pytest.importorskip("torch")
    model = xplain.load(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).eval())
    told(lambda: xplain.explain(model, PICTURES, "grad-cam"))
    for method in ("saliency", "occlusion"):
        xplain.explain(model, PICTURES, method)


@advice("holds integers, which have no gradient. Explain the tensor that they become")
def _(told, _folder):
    model = xplain.load(embedding())
    ids = np.array([[1, 2, 3, 4, 5]])
    said = told(lambda: xplain.explain(model, ids, "saliency"))
    (layer,) = re.findall(r"saliency with layer='([^']+)'", said)
    xplain.explain(model, ids, "integrated-gradients", layer=layer)
    xplain.explain(model, ids, "saliency", layer=layer)
    xplain.explain(model, ids, "occlusion")


def embedding() -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Flatten(), torch.nn.Linear(20, 3)).eval()


@advice("and so must be their baseline; give one of them, such as baseline=0.")
def _(told, _folder):
    asked = embedding(), np.array([[1, 2, 3, 4, 5]]), "integrated-gradients"
    told(lambda: xplain.explain(*asked, layer="0", baseline=0.5))
    for baseline in (0, np.array([[5, 4, 3, 2, 1]])):
        xplain.explain(*asked, layer="0", baseline=baseline)


@advice("does not reach the input. Name that layer as its tap.")
def _(told, _folder):
    model, ids = xplain.load(embedding()), np.array([[1, 2, 3, 4, 5]])
    values = np.ones((1, 1, 5, 4), np.float32)
    told(lambda: model.answer(Sweep(values, xplain.label(0), Rules(), at="0", items=ids)))
    model.answer(Sweep(values, xplain.label(0), Rules(), ("0",), at="0", items=ids))


@advice("options of one method, but several may be meant. Give each its own")
def _(told, _folder):
    model = xplain.load(lambda x: x @ W)
    told(lambda: xplain.explain_stream(model, ROWS, ["lime", "kernel-shap"], samples=20))
    found = xplain.explain_stream(model, ROWS, {"lime": {"samples": 20}, "kernel-shap": {"samples": 20}})
    assert len(list(found)) == 2 * len(ROWS)


@advice("The target is given for {} items, but there are more; give one for each.")
def _(told, _folder):
    model = xplain.load(lambda x: x @ W)
    told(lambda: list(xplain.explain_stream(model, iter(ROWS), "lime", target=[0, 1], samples=20)))
    assert len(list(xplain.explain_stream(model, iter(ROWS), "lime", target=[0, 1, 2, 1, 0], samples=20))) == len(ROWS)


@advice("Give each once, and its options together")
def _(told, _folder):
    model = xplain.load(lambda x: x @ W)
    told(lambda: xplain.explain_stream(model, ROWS, {"lime": {"samples": 20}, "LIME": {"penalty": 2.0}}))
    assert len(list(xplain.explain_stream(model, ROWS, {"lime": {"samples": 20, "penalty": 2.0}}, seed=3))) == len(ROWS)


# ---------------------------------------------------------------------- the tests


for one in (*TABLE.values(), *COMMANDS, *METHODS, *CORNERS, *DOORS, *LENSES, *PACKAGES):
    advice(one.fragment)(partial(follow, one))
gathered = {**ATTACKS, **AUDIT, **MAKING, **SERVED_ROWS, **SERVING, **SPACES, **COORDINATES, **JOINT, **TARGETS}
gathered |= {**ENGINE, **PLACES, **TRUTHS}
for fragment, case in gathered.items():
    advice(fragment)(case)


@pytest.mark.parametrize("fragment", FOLLOWED)
def test_advice_works(fragment, tmp_path):
    words = [part for part in re.split(r"\{\}", fragment) if part.strip()]
    seen = []

    def told(call: Callable[[], Any]) -> str:
        with pytest.raises(XplainError) as caught:
            call()
        assert all(part in str(caught.value) for part in words), str(caught.value)
        seen.append(str(caught.value))
        return seen[-1]

    FOLLOWED[fragment](told, tmp_path)
    assert seen


def test_every_message_with_advice_is_followed_or_listed():
    fragments = [*FOLLOWED, *not_followed()]
    unknown = {text: at for text, at in messages().items() if not any(one in text for one in fragments)}
    assert not unknown, f"put these into FOLLOWED, or with a reason into not_followed.txt: {unknown}"


def test_no_entry_is_left_of_a_message_that_is_gone():
    texts = list(messages(every=True))
    assert [one for one in (*FOLLOWED, *not_followed()) if not any(one in text for text in texts)] == []


def test_every_entry_that_is_not_followed_has_a_reason_and_no_case():
    assert all(len(reason.strip()) > 8 for reason in not_followed().values())
    assert not set(not_followed()) & set(FOLLOWED)
