"""Chains of element-wise nodes as one node each, which reads every input once and writes once.

    Mul(g, Mul(HardSigmoid(y), HardSigmoid(y)))   becomes   xplain.native.Elementwise(y, g)

The node is an operator of the compiled module that ONNX Runtime is given (``csrc/runtime``). Its attribute ``steps`` holds
four whole numbers a step: the operator and three registers. Registers are the inputs, then the ``constants``, then what
the steps make. Results have the bits of the nodes one by one: each step rounds as its node does, in the same order.

A node joins the chain of the one that reads it where no other reads it, and where it is as large. One that others read
too is computed again in the chain where all that it reads is read there anyway, which saves reading it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, defs, helper

from xplain.graph.build.optimised import Optimised
from xplain.graph.nodes import Model, attribute
from xplain.graph.operators import facts_of

__all__ = ["CHAINED", "DOMAIN", "OPERATOR", "in_chains", "same_anywhere", "trial"]

DOMAIN, OPERATOR = "xplain.native", "Elementwise"
CHAINED = {
    "Add": 0, "Sub": 1, "Mul": 2, "Div": 3, "Min": 4, "Max": 5,
    "Greater": 6, "GreaterOrEqual": 7, "Less": 8, "LessOrEqual": 9, "Equal": 10,
    "And": 11, "Or": 12, "Not": 13, "Where": 14,
    "Neg": 15, "Abs": 16, "Sign": 17, "Relu": 18, "Cast": 19, "LeakyRelu": 20, "Clip": 21, "HardSigmoid": 22,
}  # fmt: skip
"""The number of each ONNX operator that a step can be; in the order of ``csrc/kernels/elementwise.h``."""
_INPUTS = {"Where": (3,), "Clip": (3,), **dict.fromkeys(("Neg", "Abs", "Sign", "Relu", "Cast", "LeakyRelu"), (1,))}
_INPUTS |= dict.fromkeys(("Not", "HardSigmoid"), (1,))
_NUMBERS = {"LeakyRelu": {"alpha": 0.01}, "HardSigmoid": {"alpha": 0.2, "beta": 0.5}}  # attributes, with defaults
_TIED = frozenset({"Min", "Max"})  # of 0 and -0 the runtime takes one by where they lie, and by which is one number
_MOST_READ, _MOST_STEPS = 12, 48  # more streams than that the processor does not follow
_FLOAT, _BOOL = int(TensorProto.FLOAT), int(TensorProto.BOOL)
_TRUTH = {"tensor(bool)"}


def in_chains(model: Model, usable: Collection[str] = frozenset(CHAINED)) -> int:
    """Put chains together, in place.

    Args:
        model: As the runtime's optimiser wrote it.
        usable: ONNX operators that may be steps.

    Returns:
        How many nodes there are less.
    """
    graph, taken = Optimised(model), set[int]()
    made: dict[int, NodeProto] = {}
    for root in reversed(range(len(graph.nodes))):
        if root in taken or not _step(graph, graph.nodes[root], usable):
            continue
        own, again = _grown(graph, root, usable, taken)
        chain = [graph.nodes[k] for k in sorted(own | again)]
        if len(own) > 1 and _closed(graph, chain):
            taken |= own
            made[root] = _written(chain)
    if made:
        kept = [made.get(k, node) for k, node in enumerate(graph.nodes) if k not in taken or k in made]
        kept = [NodeProto.FromString(node.SerializeToString()) for node in kept]
        del model.graph.node[:]
        model.graph.node.extend(kept)
        model.opset_import.add(domain=DOMAIN, version=1)
    return len(taken) - len(made)


def same_anywhere(graph: Optimised, node: NodeProto, usable: Collection[str]) -> bool:
    """Whether an operator gives an element the same bits wherever it lies.

    One rounding or none is the same everywhere. Elu is not: with two threads its last bits depend on the layout, for the
    ends of a thread's share are rounded in another way. Of 0 and -0 a minimum takes one by the place too; it never has
    to where one operand is a weight without a zero.

    Args:
        graph: The graph.
        node: One of its nodes.
        usable: ONNX operators that steps have the bits of.
    """
    if node.domain not in ("", "ai.onnx") or node.op_type not in usable:
        return False
    return node.op_type not in _TIED or any(graph.without_zero(name) for name in node.input)


def _step(graph: Optimised, node: NodeProto, usable: Collection[str]) -> bool:
    """Whether a node can be a step: of single precision, with truth values between, and all of its inputs given."""
    if not same_anywhere(graph, node, usable) or len(node.output) != 1:
        return False
    if len(node.input) not in _INPUTS.get(node.op_type, (2,)) or not all(node.input):
        return False
    dtypes = [graph.dtypes.get(name) for name in (*node.input, node.output[0])]
    if node.op_type == "Cast":
        return dtypes == [_BOOL, _FLOAT]
    return all(dtype in (_FLOAT, _BOOL) for dtype in dtypes)


def _grown(graph: Optimised, root: int, usable: Collection[str], taken: set[int]) -> tuple[set[int], set[int]]:
    """The nodes of a chain that ends at ``root``, and those that are computed in it again."""
    own, again, size = {root}, set[int](), graph.shapes.get(graph.nodes[root].output[0])

    def candidates() -> list[int]:
        here = own | again
        read = {name for k in here for name in graph.nodes[k].input}
        makers = {graph.makers[name] for name in read if name in graph.makers} - here
        fit = (k for k in makers if _step(graph, graph.nodes[k], usable))
        return sorted((k for k in fit if graph.shapes.get(graph.nodes[k].output[0]) == size), reverse=True)

    def alone(k: int) -> bool:
        name = graph.nodes[k].output[0]
        return k not in taken and name not in graph.outputs and set(graph.readers[name]) <= own

    while len(own) < _MOST_STEPS:
        joining = next((k for k in candidates() if alone(k)), None)
        if joining is None or len(_read(graph, [*own, joining])) > _MOST_READ:
            break
        own.add(joining)
    streams = set(_read(graph, own))
    for k in candidates() if len(own) > 1 else ():
        if {name for name in graph.nodes[k].input if not graph.single(name)} <= streams - set(graph.nodes[k].output):
            again.add(k)
    return own, again


def _read(graph: Optimised, chain: Collection[int]) -> list[str]:
    """What nodes read that they do not make."""
    made = {graph.nodes[k].output[0] for k in chain}
    return list(dict.fromkeys(name for k in sorted(chain) for name in graph.nodes[k].input if name not in made))


def _closed(graph: Optimised, chain: Sequence[NodeProto]) -> bool:
    """Whether a chain reads and writes single precision alone: truth values are made and used within."""
    made = {node.output[0] for node in chain}
    read = {name for node in chain for name in node.input} - made
    return graph.dtypes[chain[-1].output[0]] == _FLOAT and all(graph.dtypes.get(name) == _FLOAT for name in read)


def _written(chain: Sequence[NodeProto]) -> NodeProto:
    """One node that does what a chain does."""
    made = {node.output[0] for node in chain}
    inputs = list(dict.fromkeys(name for node in chain for name in node.input if name not in made))
    registers = {name: index for index, name in enumerate(inputs)}
    stated = [_numbers(node) for node in chain]
    constants = [number for numbers in stated for number in numbers]
    steps, used = list[int](), len(inputs)
    for k, (node, numbers) in enumerate(zip(chain, stated, strict=True)):
        read = [*(registers[name] for name in node.input), *range(used, used + len(numbers))]
        used += len(numbers)
        steps += [CHAINED[node.op_type], *(*read, 0, 0)[:3]]
        registers[node.output[0]] = len(inputs) + len(constants) + k
    one = helper.make_node(OPERATOR, inputs, [chain[-1].output[0]], name=chain[-1].output[0], domain=DOMAIN, steps=steps)
    one.attribute.append(AttributeProto(name="constants", type=AttributeProto.FLOATS, floats=constants))
    return one


def _numbers(node: NodeProto) -> list[float]:
    """The attributes of a node that its step reads as constants."""
    return [float(attribute(node, name, default)) for name, default in _NUMBERS.get(node.op_type, {}).items()]


def trial(values: Sequence[float]) -> ModelProto:
    """A model that runs each operator by itself, and as a step, on all pairs of values.

    Its outputs are ``plain/OPERATOR/k`` and ``chain/OPERATOR/k``; where the two have the same bits, a step does what this
    runtime does on this processor.
    """
    count = len(values)
    a, b = [v for v in values for _ in values], list(values) * count
    weights = {"a": a, "b": b, "c": b[::-1], "low": [-1.0], "high": [2.0]}
    initial = [helper.make_tensor(name, _FLOAT, [len(numbers)], numbers) for name, numbers in weights.items()]
    initial += [helper.make_tensor(name, _FLOAT, [], weights[name]) for name in ("low", "high")]
    nodes, outputs = [], []
    for op, forms in {**dict.fromkeys(CHAINED, ({},)), "HardSigmoid": _SLOPES}.items():
        for k, stated in enumerate(forms):
            name = f"{op}/{k}"
            plain = _alone(op, name, stated)
            one = _written(plain)
            one.output[0] = f"chain/{name}"
            nodes += [*plain, one]
            outputs += [plain[-1].output[0], one.output[0]]
    entries = [helper.make_tensor_value_info(name, _FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "trial", [], entries, [*initial[:3], *initial[5:]])
    versions = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


_SLOPES: tuple[dict[str, float], ...] = ({}, {"alpha": 2.0**126, "beta": -0.0}, {"alpha": -(2.0**123), "beta": 6 * 2.0**123}, {"alpha": 0.5, "beta": 0.0})


def _alone(op: str, name: str, stated: Mapping[str, float]) -> list[NodeProto]:
    """Nodes that end in an operator on ``a``, ``b`` and ``c``, as a float: tests are cast, and truths are tests."""

    def node(kind: str, inputs: Sequence[str], **attributes: Any) -> NodeProto:
        return helper.make_node(kind, inputs, [f"{kind} {len(found)} of {name}"], **attributes)

    found: list[NodeProto] = []
    arity, schema = _INPUTS.get(op, (2,))[0], defs.get_schema(op)
    given = ["a", "low", "high"] if op == "Clip" else ["a", "b", "c"][:arity]
    reads, makes = ([set(entry.types) == _TRUTH for entry in side] for side in (schema.inputs, schema.outputs))
    for k, truth in enumerate(reads):
        if truth or op == "Cast":
            found.append(node("Less", ("a", "c")) if found else node("Greater", ("a", "b")))
            given[k] = found[-1].output[0]
    found.append(node(op, given, **stated, **({"to": _FLOAT} if op == "Cast" else {})))
    if makes[0]:
        found.append(node("Cast", found[-1].output, to=_FLOAT))
    found[-1].output[0] = f"plain/{name}"
    return found
