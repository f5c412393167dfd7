"""How an ONNX model answers a synthesis' question: one graph for each form of it, whose inputs stay bound.

A graph serves every state, class and reference of one form. Its inputs and outputs are arrays that it keeps: a step
copies the state in, runs, and copies the gradient out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import ModelError
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.graph.reverse.cut import header
from xplain.graph.reverse.slope import BuiltSlope
from xplain.models.onnx.session import Session

__all__ = ["SlopeWay"]

_KINDS = {1: np.float32, 7: np.int64, 11: np.float64}  # by ONNX's numbers of them


@dataclass(eq=False)
class SlopeWay:
    """A graph that answers questions of one form.

    Args:
        session: It, opened.
        built: What its outputs are.
        others: Values of the model's own inputs that are not painted.
    """

    session: Session
    built: BuiltSlope
    others: Mapping[str, Array]
    _held: dict[str, Array] = field(default_factory=dict, init=False)
    _fed: dict[str, Array] = field(
        default_factory=dict, init=False
    )  # whose values are held; alive, so none is mistaken
    _alive: list[Array] = field(default_factory=list, init=False)  # what the runtime reads where it lies
    _binding: Any = field(default=None, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    @classmethod
    def opened(cls, built: BuiltSlope, open_session: Callable[[Any], Session], others: Mapping[str, Array]) -> SlopeWay:
        """What was built, with its session.

        Raises:
            ModelError: the runtime refuses the graph.
        """
        return cls(open_session(built.model), replace(built, model=header(built.model)), others)

    def answer(self, query: Slope, batch: int) -> Sloped:
        """Value and gradient; the canvases are filled up to ``batch`` with copies of the first."""
        given = query.given
        with self._lock:
            if self._binding is None:
                self._bind(given, batch)
            count = len(query.state)
            for name, held in self._held.items():
                fresh = given.get(name.removeprefix("slope/"))
                if fresh is None or self._fed.get(name) is fresh:
                    continue
                held[:count] = fresh
                held[count:] = held[:1]
                if name.startswith(
                    "slope/objective/"
                ):  # a term's arrays stay as they are; a state may be moved in place
                    self._fed[name] = fresh
            self.session.launch(self._binding)
            found = {
                name: value.numpy()
                for name, value in zip(self.session.outputs, self._binding.get_outputs(), strict=True)
            }
            return self._told(query, found, count)

    def _bind(self, given: Mapping[str, Array], batch: int) -> None:
        kinds = {entry.name: entry.type.tensor_type.elem_type for entry in self.built.model.graph.input}
        binding = self.session.binding()
        for name in self.session.inputs:
            own = given.get(name.removeprefix("slope/"))
            if own is None:
                if name not in self.others:
                    raise ModelError(f"The graph of a picture asks for {name!r}, which nobody gives.")
                array = np.ascontiguousarray(self.others[name])
            else:
                array = self._held[name] = np.zeros((batch, *own.shape[1:]), _KINDS[kinds[name]])
            binding.bind_ortvalue_input(name, self.session.wrap(array))
            self._alive.append(array)
        for name in self.session.outputs:
            binding.bind_output(name, "cpu", 0)
        self._binding = binding

    def _told(self, query: Slope, found: Mapping[str, Array], count: int) -> Sloped:
        value = found["value"][:count].astype(np.float64)
        gradient = found.get("gradient")
        kind = np.float64 if gradient is not None and gradient.dtype == np.float64 else np.float32
        # the next run writes where these lie, so they are copied
        uphill = np.zeros(query.state.shape, kind) if gradient is None else gradient[:count].astype(kind)
        terms = {
            name: found[out][:count].astype(np.float64)
            for name, out in zip(query.objective.names, self.built.terms, strict=True)
        }
        taps = {tap: found[out][: count * query.rows].copy() for tap, out in self.built.taps.items()}
        return Sloped(value, uphill, terms, taps)
