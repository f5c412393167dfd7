"""A count with zeros too many is refused before a model is loaded or memory is asked for; every option has a limit."""

from __future__ import annotations

import pytest

import xplain as library
from xplain.core.declaring.options import MOST, Maybe, Whole
from xplain.core.declaring.registry import ATTACKS, FEATURES, LENSES, METHODS, METRICS, RECIPES, TABLES
from xplain.core.errors import UsageError

CATALOGUES = (METHODS, LENSES, METRICS, ATTACKS, RECIPES, FEATURES, TABLES)


def test_every_count_of_every_declaration_has_a_limit():
    library.methods()  # fills the registries
    limits = {}
    for catalogue in CATALOGUES:
        for entry in catalogue:
            for name, option in entry.options.items():
                kind = option.kind.inner if isinstance(option.kind, Maybe) else option.kind
                if isinstance(kind, Whole):
                    limits[entry.name, name] = kind.most
                    with pytest.raises(UsageError, match=f"{name}' is 1000000000000; accepted: a whole number of"):
                        option.read(10**12, entry.name)
    assert len(limits) > 100
    assert max(limits.values()) == MOST
    assert limits["kernel-shap", "samples"] == MOST
    assert limits["hsic", "samples"] == 10_000  # each is compared with each


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "-m", "kernel-shap", "--samples", 10**12),
        ("explain", "-m", "lime", "--samples", 10**9),
        ("explain", "-m", "integrated-gradients", "--steps", 10**12),
        ("explain", "-m", "smoothgrad", "--samples", 10**12),
        ("explain", "-m", "occlusion", "--features", f"slic:{10**12}"),
        ("explain", "-m", "occlusion", "--patch", f"{10**12}"),
        ("explain", "-m", "occlusion", "--baseline", "blur:1e12"),
        ("explain", "-m", "blur-ig", "--sigma", "1e12"),
        ("explain", "-m", "occlusion", "--features", "slic:sigma=1e12"),
        ("attack", "square", "--dpi", 10**9),
        ("measure", "--metric", f"deletion:steps={10**12}"),
        ("see", "craft", "--designs", 10**12),
        ("attack", "square", "--queries", 10**12),
        ("make", "dream", "--octaves", 10**9),
        ("make", "dream", "--frames", 10**9),
    ],
    ids=lambda words: " ".join(map(str, words[:3])),
)
def test_a_slip_is_refused_before_anything_runs(xplain, model, pictures, tmp_path, words, monkeypatch):
    from xplain.models.onnx.file import OnnxFile

    def asked(*_):
        raise AssertionError("the model was asked")

    name, *rest = words
    lead = [rest.pop(0)] if name in ("see", "attack", "make") else []
    monkeypatch.setattr(OnnxFile, "answer", asked)
    ran = xplain(name, *lead, model, pictures / "a.png", *rest, "--out", tmp_path / "out")
    assert ran.code == 2, ran.err
    assert any(said in ran.err for said in ("at most", "4096", "1 to 1200"))
    assert not (tmp_path / "out").exists()


def test_what_reaches_further_is_said(xplain, model, pictures):
    ran = xplain("explain", model, pictures / "a.png", "-m", "rise", "--samples", 10**12)
    assert "For a smaller error take the mean of results with other seeds." in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "-m", "occlusion", "--target", "brigth"),
        ("explain", "-m", "occlusion", "--target", "7"),
        ("explain", "-m", "occlusion", "--target", "top9"),
        ("localise", "-m", "occlusion", "--target", "bright - brigth"),
        ("attack", "square", "--target", "brigth"),
        ("attack", "square", "--epsilon", "1/999"),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_target_that_is_none_is_refused_before_the_model_is_asked(
    xplain, model, pictures, tmp_path, words, monkeypatch
):
    from xplain.models.onnx.file import OnnxFile

    monkeypatch.setattr(OnnxFile, "answer", lambda *_: pytest.fail("the model was asked"))
    name, *rest = words
    lead = [rest.pop(0)] if name == "attack" else []
    ran = xplain(name, *lead, model, pictures / "a.png", *rest, "--out", tmp_path / "out")
    assert ran.code == 2, ran.err
    assert not (tmp_path / "out").exists()
