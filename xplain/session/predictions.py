"""Scores as a person reads them: the best classes with their names and, where it is known how, probabilities."""

from __future__ import annotations

from textwrap import shorten
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.outline import Outline
from xplain.core.targets.units import probabilities

__all__ = ["best", "in_words"]

_LABEL = 32  # ImageNet's labels are lists of synonyms


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
