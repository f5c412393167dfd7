"""Scores as a person reads them: the best classes with their names and, where it is known how, probabilities."""

from __future__ import annotations

from textwrap import shorten
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.outline import Outline, ScoreSpec

__all__ = ["best", "in_words", "probabilities"]

_LABEL = 32  # ImageNet's labels are lists of synonyms


def probabilities(scores: Array, spec: ScoreSpec) -> Array | None:
    """Probabilities of scores ``[N, K]``, or None where the model does not say how its scores become such."""
    if spec.kind == "probabilities":
        return scores
    if spec.kind == "log-probabilities":
        return np.exp(scores)
    if spec.link == "softmax":
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))
    if spec.link == "sigmoid":
        return np.asarray(np.exp(-np.logaddexp(0.0, -scores)))
    return None


def best(scores: Array, outline: Outline, count: int = 3) -> list[list[dict[str, Any]]]:
    """The ``count`` best classes of each item with scores ``[N, K]``, best first; equal scores in order of class."""
    shares = probabilities(scores, outline.scores)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return [
        [
            {
                "class": int(k),
                "label": outline.label_name(int(k)),
                "score": float(scores[n, k]),
                "probability": None if shares is None else float(shares[n, k]),
            }
            for k in row
        ]
        for n, row in enumerate(order)
    ]


def in_words(found: list[dict[str, Any]]) -> str:
    """The best classes of one item in one line."""
    return ", ".join(f"{shorten(one['label'], _LABEL, placeholder='...')} {_size(one)}" for one in found)


def _size(one: dict[str, Any]) -> str:
    return f"{one['score']:.3g}" if one["probability"] is None else f"{one['probability']:.1%}"
