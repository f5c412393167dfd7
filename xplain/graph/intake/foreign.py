"""Operators that need foreign code, where scores can be had without them: what they make is left out of the model.

A decoder beside the scores is no reason to refuse a file. Nodes with a foreign operator at any depth, and all that is
computed from them, are taken out before anything runs, outputs included; what is left must be standard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnx import FunctionProto, ModelProto, NodeProto

from xplain.graph.analysis.order import ordered
from xplain.graph.naming import reads
from xplain.graph.safety import Check, Key, called_by, foreign_in, key_of, refuse_foreign
from xplain.graph.visit import every

__all__ = ["LeftOut", "set_aside"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was taken out of a model.

    Args:
        tensors: What is not made any more, each with the foreign operator at its root.
        outputs: The outputs that the file had, in order.
    """

    tensors: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    @property
    def checks(self) -> tuple[Check, ...]:
        """A line for the verdict, where something was left out."""
        if not self.tensors:
            return ()
        gone = [name for name in self.outputs if name in self.tensors]
        roots = ", ".join(sorted(set(self.tensors.values()))[:5])
        made = f"output{'s' * (len(gone) > 1)} {', '.join(map(repr, gone))}" if gone else "tensors that nothing needs"
        return (Check("left out", f"{made}, which need {roots}: foreign code, which is not loaded", notable=True),)


def set_aside(model: ModelProto, output: int | str | None = None) -> LeftOut:
    """Take nodes of foreign operators out of a model, with all that is computed from them.

    Args:
        model: Its size, depth and names were checked; it is edited.
        output: What will be read as scores: an output, its place, or a tensor inside; None for the likeliest output.

    Raises:
        Unsafe: what is asked for needs them, or every output does.
    """
    graph = model.graph
    known = frozenset(map(key_of, model.functions))
    if not foreign_in(model, known):
        return LeftOut()
    calls: dict[Key, str] = {}

    def root_of(holder: FunctionProto | NodeProto) -> str:
        """A foreign operator that is inside, or in a function that is called; empty where there is none."""
        called = (calls[key] for place in every(holder, "NodeProto") if (key := called_by(place.message)) in calls)
        return next(iter(foreign_in(holder, known)), next(called, ""))

    for _ in model.functions:  # a function that calls one that calls ...
        calls |= {key_of(f): root for f in model.functions if (root := root_of(f))}
    gone: dict[str, str] = {}
    kept = []
    for node in ordered(graph.node):
        root = root_of(node) or next((gone[name] for name in sorted(reads(node)) if name in gone), "")
        if root:
            gone |= {name: root for name in node.output if name}
        else:
            kept.append(node)
    outputs = tuple(entry.name for entry in graph.output)
    wanted = outputs[output] if isinstance(output, int) and -len(outputs) <= output < len(outputs) else output
    left = [entry for entry in graph.output if entry.name not in gone]
    made = {name for node in kept for name in node.output}
    if wanted in gone or not (left or wanted in made):
        reach = str(wanted) if wanted in gone else outputs[0]
        before = [name for node in kept for name in node.output if name]
        refuse_foreign([gone[reach]], reach, left[0].name if left else before[-1] if before else "")
    inner = [graph.output.add(name=str(wanted))] if not left else []
    del graph.output[:], graph.node[:]
    graph.output.extend([*left, *inner])
    graph.node.extend(kept)
    for f in [f for f in model.functions if key_of(f) in calls]:
        model.functions.remove(f)
    if rest := foreign_in(model, known):  # where no node of the graph is
        refuse_foreign(rest)
    return LeftOut(gone, outputs)
