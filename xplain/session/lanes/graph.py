"""A lane's method compiled into its model: one file that gives out map, channels and the scores that are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.edits import Array
from xplain.core.errors import CapabilityError, UsageError
from xplain.core.items import Items
from xplain.core.lane import Lane, rank_of
from xplain.core.query import Flow, Model, Reading
from xplain.core.target import SCORES, Target, label
from xplain.core.targets.leaves import Leaf
from xplain.core.targets.target_parser import Aim
from xplain.core.targets.units import noun, spelled
from xplain.graph.build.outputs import also_outputs
from xplain.models.onnx.session import Session as Runtime
from xplain.session.fitting import called
from xplain.session.request import Request
from xplain.session.run import Session

__all__ = ["Graph", "compiled", "graph_of"]

CHANNEL_RELEVANCE = "attribution.channels"
"""Name of the output with what each channel adds."""


class Graph:
    """A compiled file, opened.

    Args:
        runtime: The runtime's session.
        lane: The lane.
        target: What is built in, where it is no class.
        label: The class that is explained of every item, where it is the same for all.
    """

    def __init__(self, runtime: Runtime, lane: Lane, target: Target | None, label: int | None) -> None:
        self._runtime, self._lane, self.target, self.label = runtime, lane, target, label
        ((self._input),) = (name for name in runtime.inputs if name != "target")

    def run(self, x: Array, wanted: Array) -> tuple[Array, Array, Array | None]:
        """Scores float64 ``[rows, K]``, maps float32 ``[rows, *native]``, channels float32 ``[rows, C]`` or None.

        Args:
            x: A batch of the lane's size.
            wanted: The class to explain of each, int64; -1 for the predicted one.
        """
        feeds = {self._input: self._runtime.fed(np.ascontiguousarray(x, np.float32))}
        if "target" in self._runtime.inputs:
            feeds["target"] = self._runtime.fed(np.ascontiguousarray(wanted, np.int64))
        found = self._runtime.run(feeds)
        scores = np.asarray(found[self._lane.scores], np.float64).reshape(len(x), -1)
        maps = np.asarray(found["attribution"], np.float32).reshape(len(x), *self._lane.native_shape)
        return scores, maps, found.get(CHANNEL_RELEVANCE)

    def close(self) -> None:
        """Let the runtime's memory go."""
        del self._runtime


def compiled(model: Model, lane: Lane, items: Items) -> tuple[bytes, str]:
    """The file of a lane, and its output that holds the scores that are read: logits, where the model has them.

    Raises:
        XplainError: it cannot be compiled, or scores and map are of no use together.
    """
    inside = abilities_of(model).compiles
    if inside is None or len(model.outline.inputs) != 1 or items.x.dtype != np.float32:
        raise CapabilityError(f"{model.outline.source} has no graph of one float32 input to compile into.")
    inside = inside.of_size(lane.item)
    entry = called(lane.method)
    values = entry.read_options(dict(lane.options)) | dict(entry.traced_with)
    one = _aim(inside, lane, items)
    outline = inside.outline
    about = {
        "method": entry.name, "options": values, "target": one.target.name, "model": outline.digest,
        "unit": spelled(entry.unit, noun(outline, one.target)), "score": noun(outline, one.target),
    }  # fmt: skip
    selectable = one.target.selectable is not None
    made = inside.compile(
        one.target, lambda view: _inward(entry.start(view, values)), about, "required" if selectable else "none"
    )
    tensor = outline.scores.tensor
    also_outputs(made, {"scores": tensor})
    return made.SerializeToString(deterministic=True), tensor


def graph_of(content: bytes, lane: Lane, model: Model) -> Graph:
    """A lane's file, opened on the processor with the lane's threads."""
    runtime = Runtime(content, model.outline.source, [("CPUExecutionProvider", {})], lane.threads)
    one = None if rank_of(lane.target) is not None else _aim(model, lane, None)
    if one is None or one.labels:
        return Graph(runtime, lane, None, one.labels[0] if one is not None else None)
    return Graph(runtime, lane, one.target, None)


def _aim(model: Any, lane: Lane, items: Items | None) -> Aim:
    """What is explained of every item: the class that is fed, or what is built in.

    Raises:
        UsageError: it is chosen at each item, or reads more than scores, so that its value cannot be told from them.
    """
    if rank_of(lane.target) is not None:
        return Aim(label(-1, "predicted class"))
    session = Session(model, Request({lane.method: dict(lane.options)}, lane.target))
    x = np.zeros((1, *lane.item), np.float32) if items is None else items.x[:1]
    part = session.part(model, Items(x, ("blank",)))
    if session.needs(part):
        session.look(part)
    found = session.aims(part)
    whole = found[0].target.of_item(0)
    if len(found) != 1 or whole.tensors != (SCORES,) or not all(isinstance(one, Leaf) for _, one in whole.terms):
        raise UsageError(f"Target {lane.target!r} reads more than scores, so the engine asks for it.")
    return Aim(whole, found[0].labels[:1])


def _inward(flow: Flow) -> Flow:
    """The same method, giving its map as it was before it was enlarged, and what its channels add."""
    reading = yield from flow
    each = {} if reading.channels is None else {CHANNEL_RELEVANCE: reading.channels()}
    values = reading.values if reading.native is None else reading.native
    return Reading(values, each=each, notes=reading.notes, unit=reading.unit)
