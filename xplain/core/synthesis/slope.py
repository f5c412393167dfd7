"""The question of a synthesis: how good is what these states paint, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.synthesis.canvas import Canvas
from xplain.core.synthesis.ink import PLAIN, Ink
from xplain.core.synthesis.objective import Objective, Seen
from xplain.core.synthesis.views import Views

__all__ = ["PICTURE", "Slope", "Sloped"]

PICTURE = "picture"
"""The tap that is the painted picture of each view, ``[N * V, C, H, W]``."""


@dataclass(frozen=True, slots=True, eq=False)
class Slope:
    """Value and gradient of an objective by the states of N canvases.

        state -> canvas.paint with views -> ink -> the model -> objective

    Canvas and objective are data: whoever answers paints, runs and differentiates with what it has. Costs N * V sweeps.

    Args:
        state: ``[N, *canvas.state]``, float32.
        canvas: How a state becomes pictures; their size need not be the one that the model states.
        objective: What is made large.
        views: V views of each canvas; None for the whole of it, once.
        ink: How colours become the model's input.
        taps: Tensors whose values are wanted for each view, ``PICTURE`` for the painted picture.
        gradient: Whether the gradient is wanted; a value alone costs a forward pass.
        batch: Canvases that the model takes at once, filled up with copies; set by the engine alone.
        kept: What the flow needs to go on from here, by name, for whoever keeps it against an interruption.
    """

    state: Array
    canvas: Canvas
    objective: Objective
    views: Views | None = None
    ink: Ink = PLAIN
    taps: tuple[str, ...] = ()
    gradient: bool = True
    batch: int | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Pictures that the model sees of each canvas."""
        if self.views is not None:
            return self.views.count
        return self.canvas.pictures

    @property
    def key(self) -> Any:
        """What a graph that answers it depends on, besides how many canvases it takes."""
        where = None if self.views is None else (self.views.where.shape[1:], self.views.noise is not None)
        return (self.canvas.structure, self.objective.structure, where, self.ink, self.taps, self.gradient)

    @property
    def given(self) -> dict[str, Array]:
        """All arrays that go into an answer, by name; those with an entry per canvas begin with the axis of these."""
        found = {"state": np.asarray(self.state, np.float32)}
        found |= {f"canvas/{name}": np.asarray(array, np.float32) for name, array in self.canvas.given.items()}
        found |= {f"objective/{name}": array for name, array in self.objective.given(len(self.state)).items()}
        if self.views is not None:
            found["where"] = np.asarray(self.views.where, np.float32)
            if self.views.noise is not None:
                found["noise"] = np.asarray(self.views.noise, np.float32)
        return found

    def take(self, items: Array) -> Slope:
        """The question for some of the canvases."""
        views = None if self.views is None else self.views.take(items)
        canvas, objective = self.canvas.take(items), self.objective.take(items)
        return replace(self, state=self.state[items], canvas=canvas, objective=objective, views=views, kept={})

    def painted(self, given: Mapping[str, Any]) -> Any:
        """The pictures, of the kind of the arrays in ``given``."""
        own = {name.removeprefix("canvas/"): one for name, one in given.items() if name.startswith("canvas/")}
        return self.canvas.paint(given["state"], given.get("where"), given.get("noise"), own)

    def read(self, picture: Any, values: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        """The objective ``[N]`` and its terms, of the kind of the arrays in ``given``."""
        seen = Seen(values, picture, given["state"], int(given["state"].shape[0]), self.rows)
        own = {name.removeprefix("objective/"): one for name, one in given.items() if name.startswith("objective/")}
        return self.objective.read(seen, own)


@dataclass(frozen=True, slots=True, eq=False)
class Sloped:
    """The answer to a ``Slope``.

    Args:
        value: The objective, float64 ``[N]``.
        gradient: By the states, float32 ``[N, *state]``; zeros where it was not asked for.
        terms: Each term's own number, without its weight, ``[N]``.
        taps: The values that were asked for, ``[N * V, ...]``.
        made: The whole pictures ``[N, C, H, W]`` in 0..1, of canvases that only their door can paint; else None.
    """

    value: Array
    gradient: Array
    terms: Mapping[str, Array] = field(default_factory=dict)
    taps: Mapping[str, Array] = field(default_factory=dict)
    made: Array | None = None

    @property
    def finite(self) -> Array:
        """Whether all that was found of a canvas is a number, bool ``[N]``: a finite sum has no other summands."""
        flat = self.gradient.reshape(len(self.gradient), -1)
        with np.errstate(over="ignore", invalid="ignore"):
            fine = np.isfinite(flat.sum(axis=1))
        for n in np.flatnonzero(~fine):  # a sum may overflow all the same
            fine[n] = np.isfinite(flat[n]).all()
        return np.asarray(fine & np.isfinite(self.value))
