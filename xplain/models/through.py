"""A model behind a generator: what it is asked about is a code, and what it sees is the picture made of the code.

    code -> generator -> picture, views, ink -> the model -> objective

Two models that answer by themselves, of any two kinds, joined by the chain rule: the model gives the objective's
gradient by the picture's colours, and the generator pulls that back to the code. Nguyen 2016, arXiv:1605.09304.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from xplain.core.abilities import Abilities
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import CapabilityError, UsageError
from xplain.core.outline import Outline
from xplain.core.query import Model, Peek, Query, Sweep
from xplain.core.rules import Rules
from xplain.core.synthesis.canvas import Pixels
from xplain.core.synthesis.canvas_within import Code
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.core.target import inner

__all__ = ["Through"]

_BEYOND = 0.5
"""How far outside 0..1 colours may lie before they are taken to be of another range."""


class Through:
    """A model that is shown what a generator makes.

    Args:
        generator: Makes pictures ``[N, C, H, W]`` of codes, as its scores.
        model: Looks at them.

    Raises:
        CapabilityError: the generator gives no gradients.
    """

    answers: frozenset[type[Any]] = frozenset({Slope})
    abilities = Abilities()

    def __init__(self, generator: Model, model: Model) -> None:
        if not {Peek, Sweep} <= generator.answers:
            raise CapabilityError(
                f"The generator {generator.outline.source} gives no gradients, and codes follow them. Load its ONNX "
                "file or its torch module."
            )
        self._generator, self._model = generator, model
        known = generator.outline  # a file's scores are read before a sigmoid, its pictures behind it
        self._made = known.outputs[0] if known.outputs else known.scores.tensor

    @property
    def outline(self) -> Outline:
        """Of the model that looks."""
        return self._model.outline

    def answer(self, query: Query) -> Sloped:
        """Value and gradient by the codes, and the pictures. Costs a forward pass and a sweep of the generator too."""
        if not isinstance(query, Slope):
            raise CapabilityError("A model behind a generator answers slopes alone.")
        canvas = query.canvas
        if not isinstance(canvas, Code):
            return self._model.answer(query)  # type: ignore[no-any-return]
        codes = np.asarray(query.state, np.float32)
        picture = self._painted(codes, canvas)
        whole = Pixels(canvas.size, canvas.channels, (int(picture.shape[2]), int(picture.shape[3])))
        shown = np.clip(picture, 0, 1)
        found: Sloped = self._model.answer(replace(query, state=shown, canvas=whole))
        gradient = np.zeros(codes.shape, np.float32)
        if query.gradient:
            upstream = found.gradient * np.float32(canvas.gain) * (picture == shown)  # a clipped colour stays
            gradient = self._pulled(codes, upstream)
        return replace(found, gradient=gradient, made=shown)

    def _painted(self, codes: Array, canvas: Code) -> Array:
        """What the generator makes, in 0..1 but for what it overshoots."""
        made = np.asarray(self._generator.answer(Peek(codes, (self._made,)))[self._made], np.float32)
        source = self._generator.outline.source
        if made.ndim != 4 or made.shape[1] != canvas.channels:
            raise UsageError(
                f"The generator {source} makes {list(made.shape)} of {len(codes)} codes; pictures "
                f"[N, {canvas.channels}, H, W] are needed."
            )
        picture = made * np.float32(canvas.gain) + np.float32(canvas.shift)
        low, high = float(made.min()), float(made.max())
        if picture.min() < -_BEYOND or picture.max() > 1 + _BEYOND:
            raise UsageError(
                f"The generator {source} makes colours from {low:.3g} to {high:.3g}, which is another range than was "
                "said. Say which with ",
                option("makes", "-1..1"),
                ", or 0..1, or 0..255.",
            )
        return picture

    def _pulled(self, codes: Array, upstream: Array) -> Array:
        """The codes' gradient for that of the pictures."""
        target = inner(self._made, np.asarray(upstream, np.float32), per_item=True)
        found: Any = self._generator.answer(Sweep(codes[:, None], target, Rules()))
        return np.asarray(found["input"][1], np.float32).reshape(codes.shape)
