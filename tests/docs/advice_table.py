"""Advice that is followed in a line: a piece of the message, the call that gets it, and the calls that it advises.

Every call takes a folder of its own. A call that was advised must go through; what must come of it besides, the case
says itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docs.advice_models import (
    FLAT,
    LABELS,
    PICTURES,
    ROWS,
    SERIES,
    SIZES,
    TEXT,
    W,
    brightness,
    broken,
    cached,
    columns,
    convolution,
    curved,
    database,
    deciding,
    deep,
    from_there_on,
    graph,
    hidden,
    linear,
    masked,
    occlusion,
    picture,
    ranked,
    saved,
    seen_table,
    squares,
    table,
    unfolding,
    unit,
    words,
)

import xplain
from xplain import native, render, report
from xplain.core.positions.layout import Layout
from xplain.core.query import Score
from xplain.graph.safety import Limits
from xplain.metrics.localisation import localisation_error

__all__ = ["TABLE", "Case"]

Call = Callable[[Path], Any]


@dataclass(frozen=True)
class Case:
    """One message.

    Args:
        fragment: A piece of it as it stands in the source, ``{}`` for what is put in.
        wrong: The call that gets it.
        right: The calls that it advises.
        needs: Packages without which the case is left out.
    """

    fragment: str
    wrong: Call
    right: Sequence[Call]
    needs: tuple[str, ...] = ()


PYTHON = [
    Case(
        "reads no layer, so it takes no layer=; methods that do: {}.",
        lambda _: xplain.explain(deep(), ROWS, "smoothgrad", of="occlusion:patch=1", layer="z", target=0, samples=2),
        [lambda _: xplain.explain(deep(), ROWS, "smoothgrad", of="saliency", layer="z", target=0, samples=2)],
    ),
    Case(
        "another. Give one of them.",
        lambda _: xplain.explain(deep(), ROWS, "smoothgrad", of="ixg:layer=h", layer="z", target=0, samples=2),
        [
            lambda _: xplain.explain(deep(), ROWS, "smoothgrad", of="ixg:layer=h", target=0, samples=2),
            lambda _: xplain.explain(deep(), ROWS, "smoothgrad", of="ixg", layer="z", target=0, samples=2),
        ],
    ),
    Case(
        "which it takes, in its order, with columns=.",
        lambda _: xplain.explain(graph(), dict(zip("abcde", np.ones((5, 3)), strict=True)), "ablation", target=0),
        [lambda _: xplain.explain(xplain.table(graph(), columns=list("abcd")), columns(), "ablation", target=0)],
    ),
    Case(
        "or split it more coarsely, for example split='sentences'.",
        lambda _: xplain.explain(xplain.text(words, longest=3), TEXT, "ablation", target=0),
        [lambda _: xplain.explain(xplain.text(words, longest=3, split="sentences"), TEXT, "ablation", target=0)],
    ),
    Case(
        "There are {} boxes and truths for {} items; give one list of each per item.",
        lambda _: localisation_error([(0, 0, 2, 2)], [[(0, 0, 2, 2)], [(0, 0, 1, 1)]]),
        [lambda _: localisation_error([(0, 0, 2, 2), (0, 0, 1, 1)], [[(0, 0, 2, 2)], [(0, 0, 1, 1)]])],
    ),
    Case(
        "shows no attention: no softmax over tokens. Use grad-cam",
        lambda _: xplain.explain(convolution(), PICTURES, "attention-rollout"),
        [lambda _, way=way: xplain.explain(convolution(), PICTURES, way) for way in ("grad-cam", "saliency", "rise")],
    ),
    Case(
        "The card gives pictures of different sizes {}; state resize or crop in it.",
        lambda _: occlusion(brightness, SIZES, card={"mode": "RGB"}, target=0),
        [
            lambda _: occlusion(brightness, SIZES, card={"mode": "RGB", "resize": [8, 8]}, target=0),
            lambda _: occlusion(brightness, SIZES, card={"mode": "RGB", "crop": [8, 8]}, target=0),
        ],
    ),
    Case(
        "Column {} held {} before, and {} now. Give it one type.",
        lambda _: xplain.explain(seen_table(), {**columns(), "d": ["u", "v"]}, "ablation", target=0),
        [lambda _: xplain.explain(seen_table(), columns(), "ablation", target=0)],
    ),
    Case(
        "{}, {}, has no {}; use split='marks' or 'characters'.",
        lambda _: xplain.explain(xplain.text(words), "!?", "ablation", target=0),
        [
            lambda _, way=way: xplain.explain(xplain.text(words, split=way), "!?", "ablation", target=0)
            for way in ("marks", "characters")
        ],
    ),
    Case(
        "use explain_many, which returns a list",
        lambda _: occlusion(target="top2"),
        [lambda _: xplain.explain_many(linear, ROWS, "occlusion", target="top2")],
    ),
    Case(
        "Leave it out for the predicted class, or name a class, 'a - b' or a layer's unit.",
        lambda _: xplain.compile(graph(), "saliency", target="top2"),
        [
            lambda _: xplain.compile(graph(), "saliency"),
            lambda _: xplain.compile(graph(), "saliency", target=1),
            lambda _: xplain.compile(graph(), "saliency", target="0 - 1"),
            lambda _: xplain.compile(graph(), "saliency", target="y[1]"),
        ],
    ),
    Case(
        "has no graph to compile into. Use an ONNX file or torch module.",
        lambda _: xplain.compile(xplain.table(graph(), columns=list("abcd")), "saliency"),
        [lambda _: xplain.compile(graph(), "saliency")],
    ),
    Case(
        "at the input and the preprocessing card, or name a target.",
        lambda _: occlusion(masked),
        [lambda _: occlusion(masked, target=0)],
    ),
    Case(
        "give the number of the one you mean",
        lambda _: occlusion(xplain.load(linear, card=LABELS), target="a"),
        [lambda _: occlusion(xplain.load(linear, card=LABELS), target=2)],
    ),
    Case(
        "without saying how their axes are named: give ",
        lambda _: hidden(None),
        [lambda _: hidden(Layout("NCHW", (3, 5, 8)))],
    ),
    Case(
        "{} model evaluations, but {} of max_queries={} are left",
        lambda _: occlusion(target=0, max_queries=7),
        [lambda _: occlusion(target=0, max_queries=99)],
    ),
    Case(
        "model evaluations for {}, but {} of max_cost={} are left",
        lambda _: occlusion(xplain.load(linear, price=1.0), target=0, max_cost=7),
        [lambda _: occlusion(xplain.load(linear, price=1.0), target=0, max_cost=99)],
    ),
    Case(
        "Use another folder.",
        lambda folder: cached(database(folder, "PRAGMA user_version = 99")),
        [lambda folder: cached(folder / "other")],
    ),
    Case(
        "is not a cache of xplain: no file. Give another folder.",
        lambda folder: broken(folder),
        [lambda folder: cached(folder / "other")],
    ),
    Case(
        "passes the limit. If you trust it, give limits=Limits(constant_bytes=...).",
        lambda _: xplain.load(unfolding(), limits=Limits(constant_bytes=2**20)),
        [lambda _: xplain.load(unfolding(), limits=Limits(constant_bytes=2**24))],
    ),
    Case(
        "A class per item cannot be compiled; give one, or None for the predicted class.",
        lambda _: xplain.compile(graph(), "saliency", target=xplain.label([1]), target_input="none"),
        [
            lambda _: xplain.compile(graph(), "saliency", target=1, target_input="none"),
            lambda _: xplain.compile(graph(), "saliency", target_input="none"),
        ],
    ),
    Case(
        "A cotangent per item cannot be compiled; give one for all items.",
        lambda _: xplain.compile(graph(), "saliency", target=xplain.inner("y", W[:1], per_item=True)),
        [lambda _: xplain.compile(graph(), "saliency", target=xplain.inner("y", W[0]))],
    ),
    Case(
        "which a model without a folder cannot have. Give its path.",
        lambda folder: xplain.load(saved(folder, location="m.onnx.data").read_bytes()),
        [lambda folder: xplain.load(folder / "m.onnx")],
    ),
    Case(
        "with onnx.save(..., save_as_external_data=True, location='name.data').",
        lambda folder: xplain.load(saved(folder, location="weights.txt"), allow_external_data=True),
        [lambda folder: xplain.load(saved(folder, location="name.data"), allow_external_data=True)],
    ),
    Case(
        "cannot be explained; export the scores too, or give ",
        lambda _: xplain.load(deciding()),
        [lambda _: xplain.explain(xplain.load(deciding(), output="z"), ROWS, "saliency")],
    ),
    Case("is empty. Give an ONNX file.", lambda _: xplain.load(b""), [lambda _: xplain.load(graph())]),
    Case(
        "a torch module that is none of {}'s. Give one of the module that is explained, or",
        lambda _: xplain.explain(convolution(), PICTURES, "grad-cam", layer=convolution()[0]),
        [
            lambda _: (lambda net: xplain.explain(net, PICTURES, "grad-cam", layer=net[0]))(convolution()),
            lambda _: xplain.explain(convolution(), PICTURES, "grad-cam", layer="0"),
        ],
        needs=("torch",),
    ),
    Case(
        "give all as pictures or all as arrays",
        lambda folder: occlusion(brightness, [picture(folder), PICTURES[0]], card="imagenet"),
        [
            lambda folder: occlusion(brightness, [picture(folder), picture(folder)], card="imagenet", patch=64),
            lambda _: occlusion(brightness, PICTURES, patch=4),
        ],
    ),
    Case(
        "and is linear after that; here {}. Use grad-cam or hires-cam, which need no such",
        lambda _: xplain.explain(curved(), PICTURES, "cam", layer="1"),
        [
            lambda _, name=name: xplain.explain(curved(), PICTURES, name, layer="1")
            for name in ("grad-cam", "hires-cam")
        ],
        needs=("torch",),
    ),
    Case(
        "'segments': {} stretches of {} positions; use fewer.",
        lambda _: xplain.explain(brightness, SERIES, "kernel-shap", features="segments:99", layout="NCT"),
        [lambda _: xplain.explain(brightness, SERIES, "kernel-shap", features="segments:4", layout="NCT")],
    ),
    Case(
        "features 'grid': {} cells on {} positions; use fewer.",
        lambda _: xplain.explain(brightness, PICTURES, "kernel-shap", features="grid:99"),
        [lambda _: xplain.explain(brightness, PICTURES, "kernel-shap", features="grid:3")],
    ),
    Case(
        "apart, with an error. Ask for more samples, or use fewer features.",
        lambda _: xplain.explain(brightness, PICTURES, "kernel-shap", features="grid:5", samples=20),
        [
            lambda _: xplain.explain(brightness, PICTURES, "kernel-shap", features="grid:5", samples=200),
            lambda _: xplain.explain(brightness, PICTURES, "kernel-shap", features="grid:2", samples=20),
        ],
    ),
    Case(
        "accepted: tolerance {}. Use kernel-shap or exact-shapley.",
        lambda _: xplain.explain(squares, ROWS, "linear-shap", target=0, baseline=0.0),
        [
            lambda _, name=name: xplain.explain(squares, ROWS, name, target=0, baseline=0.0)
            for name in ("kernel-shap", "exact-shapley")
        ],
    ),
    Case(
        "method 'rise': {} cells on {} positions; use fewer.",
        lambda _: xplain.explain(brightness, PICTURES, "rise", cells=9, samples=20),
        [lambda _: xplain.explain(brightness, PICTURES, "rise", cells=4, samples=20)],
    ),
    Case(
        "are left. Allow more, explain fewer items, or use fewer features.",
        lambda _: xplain.explain(brightness, PICTURES, "kernel-shap", features="grid:5", max_queries=30),
        [
            lambda _: xplain.explain(brightness, PICTURES, "kernel-shap", features="grid:5", max_queries=3000),
            lambda _: xplain.explain(brightness, PICTURES, "kernel-shap", features="grid:2", max_queries=60),
        ],
    ),
    Case(
        "has no tensor {}; a target is",
        lambda _: occlusion(target="inside[0]"),
        [lambda _: occlusion(target=0), lambda _: occlusion(target="scores[0]")],
    ),
    Case(
        "so they cannot be computed from it alone. Name a layer that everything passes through.",
        lambda _: from_there_on("skip"),
        [lambda _: from_there_on("end")],
        needs=("torch",),
    ),
    Case(
        "scores={} says what an estimator is asked for; {}",
        lambda _: xplain.table(table, columns=list("abcd"), scores="predict_proba"),
        [lambda _: xplain.table(table, columns=list("abcd"))],
    ),
    Case(
        "it has no other baseline or background. L",
        lambda _: occlusion(xplain.text(words), TEXT, target=0, baseline=1.0),
        [
            lambda _: occlusion(xplain.text(words), TEXT, target=0),
            lambda _: occlusion(xplain.text(words, mask="[MASK]"), TEXT, target=0),
        ],
    ),
    Case(
        "edits are nested and have no use as a sum. Use their scores.",
        lambda _: native.accumulate(ranked(), np.ones((1, 2, 1)), (1, 1)),
        [lambda _: xplain.load(linear).answer(Score(ROWS[:1, :, None, None], ranked(), xplain.label(0), layout=FLAT))],
    ),
    Case(
        "different units have no common scale",
        lambda _: render.montage([unit("a"), unit("b")], share=True),
        [lambda _: render.montage([unit("a"), unit("b")], share=False)],
    ),
    Case(
        "{} is a folder; name a picture in it, such as {}.",
        lambda folder: (picture(folder), occlusion(brightness, folder, card="imagenet", patch=64)),
        [lambda folder: occlusion(brightness, picture(folder), card="imagenet", patch=64)],
    ),
    Case(
        "Use a name that ends in .html.",
        lambda folder: report.write(occlusion(brightness, PICTURES, patch=4), folder / "r.txt"),
        [lambda folder: report.write(occlusion(brightness, PICTURES, patch=4), folder / "r.html")],
    ),
]


TABLE = {case.fragment: case for case in PYTHON}


def follow(case: Case, told: Callable[[Callable[[], Any]], str], folder: Path) -> None:
    """Get the message, and do all that it says."""
    for package in case.needs:
        pytest.importorskip(package)
    told(lambda: case.wrong(folder))
    for right in case.right:
        right(folder)
