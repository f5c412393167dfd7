"""What a person may name inside a loaded model, and what they should know of it."""

from __future__ import annotations

from onnx import NodeProto, TensorProto

from xplain.core.outline import LayerSpec
from xplain.core.positions.axes import positional
from xplain.graph.analysis.affine import affine_tensors
from xplain.graph.analysis.quantised_relu import rectifies
from xplain.graph.dtypes import FLOATS
from xplain.graph.intake.load import Loaded
from xplain.graph.operators import channels_last, facts_of
from xplain.graph.outline.follow import follow

__all__ = ["activations_of", "draws", "draws_of", "layers_of", "quirks_of"]


def layers_of(loaded: Loaded) -> tuple[LayerSpec, ...]:
    """Real-valued tensors inside the model that depend on its input, in the order of evaluation.

    Integers that stand for real numbers are among them, under their own names: in a file of QOperator form they are all
    there is between the first quantiser and the last.
    """
    known = loaded.known
    affine = affine_tensors(loaded.model.graph, known.constants)
    last = _channels_last(loaded)
    found = []
    for node in loaded.model.graph.node:
        # a fused norm has the sum that it normalises as its last output
        for name in reversed(node.output) if node.op_type.startswith("Skip") else node.output:
            if not name or name in known.constants or loaded.dtype(name) not in FLOATS:
                continue
            shape = loaded.shape(name)
            if shape is None or len(shape) >= 2:
                weighted = _weighted(node, loaded)
                found.append(LayerSpec(name, node.op_type, shape or (), name in affine, name in last, weighted))
    return tuple(found)


def _weighted(node: NodeProto, loaded: Loaded) -> bool:
    """Whether a node multiplies by a matrix of weights: linear, not element by element, and of a constant matrix."""
    facts = facts_of(node)
    if facts.elementwise or not (facts.linear or facts.integer):
        return False
    return any(one in loaded.known.constants and len(loaded.shape(one) or ()) > 1 for one in node.input)


def _channels_last(loaded: Loaded) -> frozenset[str]:
    """Tensors ``[N, H, W, C]`` of a file that a runtime laid out so, as their axes are followed; none of any other."""
    graph = loaded.model.graph
    own = any(map(channels_last, graph.node))
    item = loaded.known.shapes.get(graph.input[0].name, ())[1:]
    if not own or len(item) != 3:
        return frozenset()
    axes = follow(loaded, item).axes
    return frozenset(
        name
        for name, one in axes.items()
        if len(one) == 4 and positional(one[1]) and positional(one[2]) and not positional(one[3])
    )


def activations_of(loaded: Loaded) -> frozenset[str]:
    """The activations that clip; ``Relu`` also where a quantiser does the work of one."""
    graph = loaded.model.graph
    makers = {name: node for node in graph.node for name in node.output}
    live = [node for node in graph.node if not loaded.known.constants.issuperset(filter(None, node.output))]
    found = {node.op_type for node in live if facts_of(node).rectifier}
    quantisers = any(rectifies(node, makers.get, loaded.content) for node in graph.node)
    return frozenset(found | {"Relu"} if quantisers else found)


def quirks_of(loaded: Loaded, scores: str) -> list[str]:
    """What a careful user should know of this file."""
    found = [f"{check.what}: {check.found}." for check in loaded.verdict.notable]
    if any(facts_of(node).integer for node in loaded.model.graph.node):
        read = " Its layers of integers are read as the real numbers that they stand for." if loaded.quantised else ""
        found.append(
            f"The model is quantised to integers: equal scores are common, and maps are coarser in value.{read}"
        )
    if loaded.known.dtypes.get(scores) == TensorProto.FLOAT16:
        found.append("Scores are fp16, about 3 decimal digits: differences below a thousandth of a score are rounded.")
    rank = len(loaded.known.shapes.get(scores, (1, 1)))
    if rank > 2:
        found.append(f"Scores have {rank} axes; those of extent 1 are dropped.")
    return found


_LEFT = " It was exported in training mode: export it from model.eval(), unless that is what you want."


def draws(loaded: Loaded, node: NodeProto) -> bool:
    """Whether a node draws numbers anew each time that it runs, as a Dropout does that is left in training mode."""
    if facts_of(node).random:
        return True
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    ratio, training = (loaded.content(name) if name else None for name in node.input[1:3])
    return training is not None and bool(training.all()) and (ratio is None or bool((ratio > 0).all()))


def draws_of(loaded: Loaded, scores: str) -> list[str]:
    """A sentence where the scores depend on numbers that the model draws anew each time that it runs."""
    makers = {name: node for node in loaded.model.graph.node for name in node.output if name}
    waiting, seen = [scores], {scores}
    while waiting:
        node = makers.get(waiting.pop())
        if node is None:
            continue
        if draws(loaded, node):
            where = f"{node.op_type} (node {node.name or node.output[0]!r})"
            told = (
                f"Scores depend on numbers that {where} draws anew at every run: the same item has another score each"
            )
            return [f"{told} time, and a map holds that noise.{_LEFT if node.op_type == 'Dropout' else ''}"]
        fresh = {name for name in node.input if name} - seen
        seen |= fresh
        waiting += fresh
    return []
