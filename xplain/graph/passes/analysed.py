"""A model as every sweep through it begins: raised, opened, in order, with the shapes of its tensors; found once.

What is done to a model before it is walked depends on the model for the most part. Only whether recurrent nodes are
written out, products of integers are made real and composite operators are opened depends on the table of rules, and
only in models that have such operators: others have one form for all tables. A form is made when it is first asked for;
sweeps, reports and compiled files change copies of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import NamedTuple

from onnx import ModelProto, NodeProto

from xplain.core.edits import Array
from xplain.core.rules import Rules
from xplain.graph.nodes import opset_of
from xplain.graph.operators import facts_of, find_operator
from xplain.graph.passes.branches import open_constant_branches
from xplain.graph.passes.definitions import is_undefined, open_undefined
from xplain.graph.passes.dynamic import make_products_real
from xplain.graph.passes.functions import inline_local, open_functions
from xplain.graph.passes.lowering import open_operators
from xplain.graph.passes.norms import open_computed_norms
from xplain.graph.passes.opset import TARGET, raise_opset
from xplain.graph.passes.reserved import free_names, reserved_in
from xplain.graph.passes.shapes import infer
from xplain.graph.passes.symbolic_shapes import settle
from xplain.graph.passes.weights import take_out
from xplain.graph.visit import every

__all__ = ["Analysed"]


class Analysed:
    """One model and its forms.

    Args:
        model: Any ONNX model; it is not changed.
        folder: Where external data lie.
        outside: Weights that are marked external but are here, by name; what is built of the model has them marked too.
    """

    def __init__(self, model: ModelProto, folder: str = "", outside: Mapping[str, Array] | None = None) -> None:
        self.model, self.folder, self.outside = model, folder, outside or {}
        light, self.weights = take_out(model)
        self._light = inline_local(light)
        self._raised: dict[frozenset[str], _Raised] = {}
        self._forms: dict[tuple[frozenset[str], tuple[bool, bool, bool]], ModelProto] = {}

    def form(self, rules: Rules, wanted: Set[str]) -> tuple[ModelProto, list[str]]:
        """A copy of the form that a table of rules asks for, and what a person should know of it.

        Args:
            rules: The table.
            wanted: Tensors that keep their names, though we would give them to our own.
        """
        kept = reserved_in(wanted)
        if kept not in self._raised:
            self._raised[kept] = _raise(self._light, kept)
        raised = self._raised[kept]
        choices = rules.unrolled, rules.meaning != "gradient", rules.opened
        choices = (False, False, False) if raised.plain else choices
        key = kept, choices
        if key not in self._forms:
            self._forms[key] = self._opened(raised.model, *choices)
        return _copy(self._forms[key]), list(raised.notes)

    def _opened(self, raised: ModelProto, unrolled: bool, real: bool, opened: bool) -> ModelProto:
        light = _copy(raised)
        before = light.graph.SerializeToString(deterministic=True)
        open_constant_branches(light, self.weights, self.folder)
        open_operators(light, self.weights, self.folder, unrolled)
        if real:
            make_products_real(light)
        if opened and opset_of(light) >= TARGET:
            open_undefined(light)
        light = open_functions(light, opened)
        if before != light.graph.SerializeToString(deterministic=True):
            infer(light)
        if open_computed_norms(light):
            infer(light)
        settle(light, self.weights, self.folder)
        return light


class _Raised(NamedTuple):
    """A model at the opset of the rules; ``plain`` where the choices of a table make no difference to it."""

    model: ModelProto
    notes: tuple[str, ...]
    plain: bool


def _raise(light: ModelProto, kept: Set[str]) -> _Raised:
    light, notes = _copy(light), list[str]()
    free_names(light, kept)
    light = raise_opset(light, notes)
    infer(light)
    return _Raised(light, tuple(notes), all(_plain(place.message) for place in every(light.graph, "NodeProto")))


def _plain(node: NodeProto) -> bool:
    """Whether a node stays as it is under every table."""
    what = facts_of(node)
    ruled = what.flat or what.control or find_operator(node) is not None
    special = what.recurrent or what.integer or what.composite or is_undefined(node)
    return node.domain in ("", "ai.onnx") and ruled and not special


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy
