"""The runtime's optimiser is believed as far as it computes what the graph says."""

from __future__ import annotations

from typing import Any

import nets
import numpy as np
import pytest

import xplain
from xplain.core.errors import ModelError
from xplain.models.onnx import file as onnx_file
from xplain.models.onnx.optimiser import highest
from xplain.models.onnx.session_cache import open_session

X = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)


def levels(**wrong: Any) -> Any:
    """Scores 1, 2, 3, but for levels that are said to give something else, or to fail."""

    def scores(level: str) -> Any:
        given = wrong.get(level, 0.0)
        if isinstance(given, str):
            raise ModelError(given)
        return np.array([1.0, 2.0, 3.0]) + given

    return scores


@pytest.mark.parametrize(
    ("wrong", "level", "told"),
    [
        ({}, "all", ""),
        ({"all": 1e-4}, "all", ""),
        (
            {"all": 0.72},
            "basic",
            "24.0% away from its own when ONNX Runtime optimises it, so it runs at its level 'basic'",
        ),
        (
            {"all": 0.3, "basic": 0.3},
            "off",
            "10.0% away from its own when ONNX Runtime optimises it, so it runs without",
        ),
        ({"all": 6e-3}, "basic", "0.2% away from its own"),  # as much as a wrong folding was, met in a real net
        ({"all": "refused"}, "basic", "fails when ONNX Runtime optimises it, so it runs at its level 'basic'"),
        ({"off": "refused"}, "all", ""),
    ],
)
def test_the_highest_level_that_agrees_is_taken(wrong: dict[str, Any], level: str, told: str) -> None:
    found, said = highest(levels(**wrong))
    assert found == level
    assert told in said
    assert bool(said) == bool(told)


@pytest.mark.filterwarnings("error")
def test_a_class_that_is_masked_does_not_hide_that_the_others_are_wrong() -> None:
    masked = np.array([0.0, -np.inf, 0.0])
    assert highest(lambda level: levels(all=0.72)(level) + masked)[0] == "basic"
    assert highest(lambda level: levels()(level) + masked) == ("all", "")


def patched(monkeypatch: pytest.MonkeyPatch, at: str, change: Any) -> None:
    """Sessions that are opened at a level go through ``change`` first."""

    def opening(part: Any, whole: Any, loaded: Any, how: Any, lean: bool = False, lent: bool = False) -> Any:
        session = open_session(part, whole, loaded, how, lean, lent)
        return change(session, lent) if how["level"] == at else session

    monkeypatch.setattr(onnx_file, "open_session", opening)


def test_a_model_that_is_optimised_wrongly_runs_as_it_is_and_every_result_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = xplain.explain(xplain.load(nets.cnn(size=32), engine="plain"), X, "occlusion", patch=8, stride=8)
    honest = nets.cnn(size=32)

    def off_by_a_quarter(session: Any, lent: bool) -> Any:
        run = session.run
        session.run = lambda feeds: {name: value * 1.24 for name, value in run(feeds).items()}
        return session

    patched(monkeypatch, "all", off_by_a_quarter)
    model = xplain.load(honest, engine="plain")
    found = xplain.explain(model, X, "occlusion", patch=8, stride=8)
    assert any("24.0% away" in quirk for quirk in model.outline.quirks)
    assert any("24.0% away" in one.text for one in found.warnings)
    assert found.values.shape == right.values.shape
    assert xplain.explain(model, X, "saliency").values.any()


def test_a_sweep_that_the_optimiser_refuses_runs_lower_and_every_result_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = nets.cnn(size=32).SerializeToString()
    expected = xplain.explain(xplain.load(content), X, "saliency").values

    def refused(session: Any, lent: bool) -> Any:
        if lent:
            raise ModelError("planted")
        return session

    patched(monkeypatch, "all", refused)
    model = xplain.load(content)
    xplain.explain(model, X, "saliency")
    again = xplain.explain(model, X, "saliency")
    np.testing.assert_allclose(again.values, expected, rtol=1e-4, atol=1e-6)
    assert any("refused by ONNX Runtime's optimiser" in one.text for one in again.warnings)


def test_a_sweep_that_fails_while_it_runs_is_run_lower_and_every_result_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = nets.cnn(size=32).SerializeToString()
    expected = xplain.explain(xplain.load(content), X, "saliency").values
    asked = []

    def failing(session: Any, lent: bool) -> Any:
        def run(feeds: Any) -> Any:
            asked.append(lent)
            raise ModelError("planted: an index out of bounds")

        session.run = run if lent else session.run
        return session

    patched(monkeypatch, "all", failing)
    model = xplain.load(content)
    for _ in range(2):
        found = xplain.explain(model, X, "saliency")
        np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-6)
        assert any("refused by ONNX Runtime's optimiser" in one.text for one in found.warnings)
    assert len(asked) == 1  # what failed is not asked again
