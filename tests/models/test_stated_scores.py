"""What scores are, as a person states it: it goes into the outline, the units and the result, through every door."""

from __future__ import annotations

import nets
import numpy as np
import onnx
import pytest
import torch
from onnx import helper

import xplain
from xplain.core.errors import UsageError

X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
STATED = {
    "logits": ("logits", "logit"),
    "probabilities": ("probabilities", "probability"),
    "log-probabilities": ("log-probabilities", "log-probability"),
    "scores": ("scores", "score"),
    "scores in EUR": ("scores", "EUR"),
}


def two_outputs(link=()):
    """Prices beside features, and nothing that says which numbers they are: called logits so far."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Tanh", ["z"], ["features"])]
    nodes += [helper.make_node(*(link or ("Identity", ["z"], ["price"])))]
    outputs = {"price": (nets.FLOAT, ["N", 2]), "features": (nets.FLOAT, ["N", 2])}
    return nets.model(nodes, {"x": (nets.FLOAT, ["N", 3])}, outputs, {"w": W})


class Net(torch.nn.Module):
    def forward(self, x):
        z = x @ torch.from_numpy(W)
        return {"price": z, "features": z.tanh()}


DOORS = {"onnx": two_outputs, "torch": Net, "function": lambda: lambda batch: batch @ W}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("said", STATED)
def test_what_is_stated_is_what_units_say(door, said):
    kind, word = STATED[said]
    more = {} if door == "function" else {"output": "price"}
    model = xplain.load(DOORS[door](), scores=said, **more)
    found = xplain.explain(model, X, "occlusion", target=1, patch=1, stride=1)
    assert found.unit == f"delta {word} when hidden"
    assert (model.outline.scores.kind, model.outline.scores.unit) == (kind, word)
    assert model.outline.scores.found.endswith(f"; stated as {said}")
    np.testing.assert_allclose(found.values, X * W[:, 1], atol=1e-5)  # by whatever name
    assert not [one for one in found.warnings if one.kind == "units"]


def test_what_is_not_stated_stays_as_it_was_found():
    assert xplain.load(two_outputs()).outline.scores.unit == ""
    found = xplain.explain(lambda batch: batch @ W, X, "occlusion", target=1, patch=1, stride=1)
    assert found.unit == "delta score when hidden"


def test_numbers_that_look_like_probabilities_are_what_was_stated():
    shares = lambda batch: np.abs(batch) / np.abs(batch).sum(axis=1, keepdims=True)  # noqa: E731
    guessed = xplain.explain(xplain.load(shares), X, "occlusion", target=1, patch=1, stride=1, baseline=1.0)
    assert "probability" in guessed.unit
    stated = xplain.load(shares, scores="scores in kg")
    found = xplain.explain(stated, X, "occlusion", target=1, patch=1, stride=1, baseline=1.0)
    assert found.unit == "delta kg when hidden"


@pytest.mark.parametrize("said", ["soup", "scores in ", "decisions", 3, "", "scores in \n"])
def test_words_that_say_nothing_are_refused(said):
    with pytest.raises(UsageError, match="accepted: logits, probabilities, log-probabilities, scores, or 'scores in U"):
        xplain.load(two_outputs(), scores=said)


def test_what_the_model_shows_is_not_denied():
    net = two_outputs(("Softmax", ["z"], ["price"]))
    with pytest.raises(UsageError, match="are logits, for a softmax stands behind them; they were called 'prob"):
        xplain.load(net, scores="probabilities")
    assert xplain.load(net, scores="logits").outline.scores.link == "softmax"


def test_the_command_line_says_it_too(tmp_path):
    from typer.testing import CliRunner

    from xplain.cli import application

    onnx.save(two_outputs(), tmp_path / "net.onnx")
    words = ["inspect", str(tmp_path / "net.onnx"), "--scores", "scores in EUR"]
    ran = CliRunner().invoke(application(words), words, prog_name="xplain", env={"COLUMNS": "200"})
    assert ran.exit_code == 0, ran.stderr
    assert "stated as scores in EUR" in ran.stdout
    words[-1] = "soup"
    ran = CliRunner().invoke(application(words), words, prog_name="xplain", env={"COLUMNS": "200"})
    assert "--scores is 'soup'; accepted: logits" in ran.stderr
