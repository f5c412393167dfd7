"""Formulas as nodes of the graph, behind the tensors that they read, so that the walk differentiates them too.

The nodes become part of the evaluation that is walked, and of every copy of it on a baseline or on other values of a
layer: a table's rules hold for them too. So relevance of a cosine passes the vectors' lengths by, as it does any
divisor, and DeepLIFT compares a logarithm's two values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onnx import TensorProto, helper

from xplain.core.edits import Array
from xplain.core.targets.given import named
from xplain.core.targets.leaves import Leaf
from xplain.core.targets.parts import Part
from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.reverse.seeds import Seed, as_rows, leaf_value

__all__ = ["attach"]


@dataclass(frozen=True, slots=True)
class _Nodes:
    """Reads values of the graph; see ``xplain.core.targets.formulas.Reader``."""

    tracer: Tracer
    value: Callable[[str], Value]
    prefix: str
    batch: int | str | None
    given: Mapping[str, Value] | None
    scores: str

    def part(self, part: Part) -> Value:
        """The elements of a part."""
        tensor = self._real(part.tensor)
        found: Value = part.read(tensor, self.tracer.namespace)
        return found

    def leaf(self, leaf: Leaf, path: tuple[int, ...]) -> Value:
        """A leaf's number in each row."""
        return leaf_value(self.tracer, leaf, self._real(leaf.tensor), self._name(path), self.given)

    def number(self, array: Array, per_item: bool, path: tuple[int, ...]) -> Value:
        """What is given, an input of the graph with a row for each row."""
        name, shape = self._name(path), array.shape[int(per_item) :]
        if self.given is not None and name in self.given:
            return self.given[name]
        return self.tracer.input(name, TensorProto.FLOAT, (self.batch, *shape))

    def _name(self, path: tuple[int, ...]) -> str:
        return self.prefix + named(path)

    def _real(self, tensor: str) -> Value:
        """A tensor as float32, which functions are computed in; scores as a row for each item."""
        found = self.value(tensor)
        found = as_rows(self.tracer, found) if tensor == self.scores else found
        return self.tracer.cast(found, TensorProto.FLOAT) if found.dtype != TensorProto.FLOAT else found


def attach(
    tracer: Tracer,
    seeds: tuple[Seed, ...],
    value: Callable[[str], Value],
    given: Mapping[str, Value] | None = None,
) -> None:
    """Compute the formulas among seeds in the graph's own evaluation; each makes the tensor of its seed, ``[N]``.

    Args:
        tracer: The graph being built.
        seeds: Where a sweep starts.
        value: A tensor, as real numbers, in the graph's own evaluation.
        given: Values to use in place of graph inputs, by input name.
    """
    for seed in seeds:
        if seed.formula is None or seed.tensor in tracer.producers:
            continue
        mark = len(tracer.emitted)
        first = value(seed.reads[0])
        batch = first.shape[0] if first.shape else None
        made: Value = seed.formula.compute(_Nodes(tracer, value, seed.input, batch, given, seed.scores))
        tracer.add(helper.make_node("Identity", [made.name], [seed.tensor], name=seed.tensor))
        new = tracer.emitted[mark:]
        del tracer.emitted[mark:]
        tracer.forward.extend(new)
        tracer.producers |= {name: one for one in new for name in one.output if name}
