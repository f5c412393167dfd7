"""Advice that methods give about their own options, followed in a line; see ``advice_table``."""

from __future__ import annotations

from typing import Any

import numpy as np
from docs.advice_models import PICTURES, ROWS, convolution, graph, linear
from docs.advice_table import Case

import xplain

__all__ = ["METHODS"]

METHODS = (
    Case(
        "Layers that are scaled are sizes",
        lambda _: xplain.explain(convolution(), PICTURES, "full-gradient", signed=True, scaled=True),
        [
            lambda _: xplain.explain(convolution(), PICTURES, "full-gradient", scaled=True, signed=False),
            lambda _: xplain.explain(convolution(), PICTURES, "full-gradient", signed=True),
        ],
    ),
    Case(
        "The columns of a row have no neighbours to blur.",
        lambda _: xplain.explain(graph(), ROWS, "blur-ig", layout="NS"),
        [
            lambda _: xplain.explain(graph(), ROWS, "integrated-gradients", layout="NS"),
            lambda _: xplain.explain(graph(), ROWS, "blur-ig", layout="NT"),
        ],
    ),
    Case(
        "XRAI cuts pictures into regions",
        lambda _: xplain.explain(graph(), ROWS, "xrai"),
        [
            lambda _: xplain.explain(graph(), ROWS, "integrated-gradients"),
            lambda _: xplain.explain(graph(), ROWS, "partition-shap"),
        ],
    ),
    Case(
        "Extremal perturbation masks pictures",
        lambda _: xplain.explain(graph(), ROWS, "extremal-perturbation"),
        [
            lambda _: xplain.explain(graph(), ROWS, "occlusion"),
            lambda _: xplain.explain(graph(), ROWS, "partition-shap"),
        ],
    ),
    Case(
        "method 'sobol' fades positions",
        lambda _: xplain.explain(convolution(), PICTURES, "sobol", designs=4, features="channels"),
        [lambda _: xplain.explain(convolution(), PICTURES, "sobol", designs=4, features="grid:7")],
    ),
    Case(
        "The trees are averaged over rows that stand for what is hidden",
        lambda _: xplain.explain(grown(), FIRST, "tree-shap", kind="interventional"),
        [lambda _: xplain.explain(grown(), FIRST, "tree-shap", kind="interventional", background=ROWS)],
        needs=("sklearn",),
    ),
    Case(
        "method 'interactions': index {} needs all",
        lambda _: xplain.explain(linear, WIDE, "interactions", target=0, index="k-sii", features="columns"),
        [lambda _: xplain.explain(linear, WIDE, "interactions", target=0, index="fsii", features="columns")],
    ),
    Case(
        "ROAD blends a position from its neighbours",
        lambda _: xplain.measure.curve(
            linear, ROWS, xplain.explain(linear, ROWS, "occlusion", layout="NS"), "road", layout="NS"
        ),
        [
            lambda _: xplain.measure.curve(
                linear, ROWS, xplain.explain(linear, ROWS, "occlusion", layout="NS"), "deletion", layout="NS"
            )
        ],
    ),
    Case(
        "has no order of different values to go along",
        lambda _: xplain.measure.effect(linear, np.ones_like(ROWS), 0, target=0),
        [lambda _: xplain.measure.effect(linear, np.ones_like(ROWS), 0, "pdp", target=0)],
    ),
    Case(
        "classes; say whose score",
        lambda _: xplain.measure.effect(linear, ROWS, 0),
        [lambda _: xplain.measure.effect(linear, ROWS, 0, target=1)],
    ),
)


def grown() -> Any:
    """A decision tree of four columns, and nothing known of their usual values."""
    from sklearn.tree import DecisionTreeRegressor

    return xplain.table(DecisionTreeRegressor(max_depth=2).fit(ROWS, ROWS[:, 0]), columns=list("abcd"))


WIDE = np.concatenate([ROWS, ROWS, ROWS, ROWS], axis=1)
FIRST = {name: ROWS[:1, k] for k, name in enumerate("abcd")}
