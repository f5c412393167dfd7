"""An ONNX model as one that an explanation is compiled into: for items of one size, with one more output."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import ModelError, UsageError
from xplain.core.outline import Outline, TensorSpec
from xplain.core.query import Flow, TargetInput, View
from xplain.core.target import Target
from xplain.graph.intake.load import Loaded
from xplain.graph.intake.store import keep_apart
from xplain.graph.reverse.compile import compile_flow
from xplain.graph.reverse.cut import fix_size
from xplain.graph.understood import understood
from xplain.models.integers import explain_the_embedding
from xplain.models.onnx.session import Session

__all__ = ["NO_WAY_BACK", "OnnxCompiles"]

NO_WAY_BACK = "runs forwards, but its way back cannot be built"


class OnnxCompiles:
    """What ``xplain.core.abilities.Compiles`` asks for."""

    _loaded: Loaded
    outline: Outline
    _input: TensorSpec
    _model: Any
    _scores: str
    _tried: Callable[[], Session]
    _asked: Callable[[Session, Array], Array]

    def blank(self) -> Array:
        """One item of zeros.

        Raises:
            UsageError: the input's size is free.
        """
        sizes = tuple(n for n in self._input.shape[1:] if n is not None)
        if len(sizes) + 1 < len(self._input.shape):
            extents = ", ".join("?" if n is None else str(n) for n in self._input.shape[1:])
            raise UsageError(f"The input of {self.outline.source} is [N, {extents}], of no fixed size.")
        return np.zeros((1, *sizes), np.float32)

    def of_size(self, item: tuple[int, ...]) -> Self:
        """This model for items of one size only, with its sessions; it is asked once whether it takes them.

        Raises:
            UsageError: it does not.
        """
        made = copy.copy(self)
        made.narrow(item)
        return made

    def narrow(self, item: tuple[int, ...]) -> None:
        """Take items of one size only.

        Raises:
            UsageError: the model does not take them.
        """
        self._model = fix_size(self._model, self._input.name, item)
        self._input = replace(self._input, shape=(self._input.shape[0], *item))
        inputs = tuple(self._input if spec.name == self._input.name else spec for spec in self.outline.inputs)
        self.outline = replace(self.outline, inputs=inputs)
        try:
            self._asked(self._tried(), self.blank())
        except ModelError as error:
            raise UsageError(f"{self.outline.source} takes no items of size {list(item)}: {error}") from error

    def compile(
        self,
        target: Target,
        flow: Callable[[View], Flow],
        about: Mapping[str, Any],
        choose: TargetInput = "optional",
        names: Mapping[str, str] | None = None,
        view: View | None = None,
        out: Path | None = None,
    ) -> Any:
        """The model with what ``flow`` computes as one more output; see ``xplain.graph.reverse.compile``.

        ``view`` is what the method sees, if it is not this model's own outline, and ``names`` what its layers are here.

        Raises:
            UsageError: the input's size is free, or the flow asks what a graph cannot answer.
        """
        self._loaded.opened.unchanged()
        seen = view or View(self.blank(), target, self.outline)
        embedding = explain_the_embedding(self.outline, self._input.dtype, ("input",), seen.x.shape[1:])
        with understood(self.outline.source, NO_WAY_BACK), embedding:
            if out is not None:
                keep_apart(out, self._loaded.files)
            analysed = self._loaded.analysed(self._model)
            return compile_flow(analysed, seen, flow, self._scores, about, choose, names=names, out=out)
