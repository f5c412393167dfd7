"""Which tensor of a classifier is its scores, and which are the logits behind its probabilities.

Probabilities carry little signal: on a saturated model, hiding a part moves the probability by less than a thousandth
where the logit moves by six. So from the output the walk goes back, through operators that only repack, to a softmax or
sigmoid, and reads what goes into it. Numbers in 8 bits, of which there are 256, are looked through to those that were
rounded to them; where an operator on integers rounds inside, it is written out as a float operator beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from xplain.core.declaring.wording import Sentence, option
from xplain.core.errors import ModelError, unknown
from xplain.core.outline import Kind, ScoreSpec, called_scores, either
from xplain.graph.analysis.quantised_relu import rectifies
from xplain.graph.dtypes import FLOATS
from xplain.graph.intake.load import Loaded
from xplain.graph.naming import rename_reads
from xplain.graph.nodes import attributes_of, opset_of
from xplain.graph.operators import facts_of
from xplain.graph.outline.links import Back, Logits
from xplain.graph.outline.outputs import made_of, read_without_weights, turned
from xplain.graph.outline.picks import picked_from
from xplain.graph.passes.lowering import opened

__all__ = ["Found", "both_sides", "find_scores"]

_TRANSFORMS: dict[bytes, Literal["softmax", "sigmoid"]] = {b"SOFTMAX": "softmax", b"LOGISTIC": "sigmoid"}
_MOST = 8
"""Operators that a sentence names."""
_BY_CHANNEL = 13
"""The first opset in which a dequantiser takes a scale per channel."""


@dataclass(frozen=True, slots=True)
class Found:
    """The scores, what they are called in the model, and what is to be known of them.

    Args:
        scores: The tensor that is read, with the sentence on how it was found.
        labels: Class names that the model itself states.
        quirks: What a careful user should know.
        nodes: What must be added to the model to make the tensor.
        constants: What these nodes read besides.
    """

    scores: ScoreSpec
    labels: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()
    nodes: tuple[NodeProto, ...] = ()
    constants: tuple[TensorProto, ...] = ()

    def write_into(self, model: ModelProto) -> None:
        """Add what makes the tensor."""
        model.graph.node.extend(self.nodes)
        model.graph.initializer.extend(self.constants)


def both_sides(loaded: Loaded, found: Found) -> Found:
    """One number that tells two classes apart, as the scores of both: the first class has its negative, or 1 - p."""
    spec = found.scores
    row, other, both = (f"{spec.tensor}.{part}" for part in ("row", "other", "both"))
    constants = [numpy_helper.from_array(np.array([-1, 1], np.int64), f"{row}.shape")]
    nodes = [
        helper.make_node("Reshape", [spec.tensor, f"{row}.shape"], [row], name=row),
        helper.make_node("Neg", [row], [f"{other}.negative"], name=f"{other}.negative"),
        helper.make_node("Concat", [other, row], [both], name=both, axis=1),
    ]
    if spec.kind == "probabilities":
        one = np.ones((), helper.tensor_dtype_to_np_dtype(loaded.dtype(spec.tensor) or TensorProto.FLOAT))
        constants.append(numpy_helper.from_array(one, f"{other}.one"))
        nodes.insert(2, helper.make_node("Add", [f"{other}.negative", f"{other}.one"], [other], name=other))
    else:
        nodes[1].output[0] = nodes[1].name = other
    kind: Kind = "logits" if spec.kind == "scores" else spec.kind
    why = "one number for two labels: it is that of the second, and the first has the other side"
    scores = replace(spec, tensor=both, classes=2, kind=kind, found=f"{spec.found}; {why}")
    return replace(found, scores=scores, nodes=(*found.nodes, *nodes), constants=(*found.constants, *constants))


@dataclass(frozen=True, slots=True)
class _Real:
    """A tensor of real numbers, and what must be added to the model to make it."""

    name: str
    made: tuple[tuple[NodeProto, ...], tuple[TensorProto, ...]] = ((), ())


def find_scores(loaded: Loaded, output: int | str | None = None, as_is: bool = False) -> Found:
    """Find the score tensor.

    Args:
        loaded: The model.
        output: Tensor to read as scores instead of the likeliest output: an output, of which the logits are looked for
            too, or one inside the model, which is read as it is.
        as_is: Whether an output is read as it is too.

    Raises:
        ModelError: no output can be scores.
        UnknownName: no tensor ``output``.
    """
    graph = loaded.model.graph
    makers = {name: node for node in graph.node if len(node.input) > 0 for name in node.output if name}
    outputs = loaded.left.outputs or tuple(entry.name for entry in graph.output)
    if isinstance(output, int) and -len(outputs) <= output < len(outputs):
        output = outputs[output]
    if output is not None:
        if not isinstance(output, str) or output not in makers:
            raise unknown("output", str(output), [o.name for o in graph.output])
        if as_is or output not in [o.name for o in graph.output]:
            kind = _kind_of(loaded, makers, output)
            return Found(ScoreSpec(output, _classes(loaded, output), kind, "none", f"{output!r}, as asked for"))
        found = _look_through(loaded, makers, output)
        return replace(found, scores=replace(found.scores, found=f"{found.scores.found}, as asked for"))
    picked = picked_from(loaded, makers)
    if picked:
        found = _look_through(loaded, makers, picked)
        told = f"{found.scores.found}; the outputs are picked from {picked!r}"
        return replace(found, scores=replace(found.scores, found=told))
    start, labels, quirks = _output(loaded, makers)
    return replace(_look_through(loaded, makers, start), labels=labels, quirks=quirks)


def _output(loaded: Loaded, makers: dict[str, NodeProto]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The likeliest of the outputs, the labels that a ZipMap states, and a remark if there was a choice."""
    graph = loaded.model.graph
    maps = [makers[o.name] for o in graph.output if o.name in makers and makers[o.name].op_type == "ZipMap"]
    if maps:
        return maps[0].input[0], _zip_labels(maps[0]), ()
    floats = [o.name for o in graph.output if _dtype(loaded, o) in FLOATS and o.name in makers]
    if not floats:
        kinds = ", ".join(f"{o.name!r} ({_kind(loaded, o)})" for o in graph.output)
        raise ModelError(
            f"{loaded.source} has no output of scores: {kinds}. A label alone cannot be explained; export the scores "
            "too, or give ",
            option("output", of="load"),
            " the name of an inner tensor.",
        )
    back = Back(loaded, makers)
    behind = {name: back.logits(name) for name in floats}
    before = {name: made_of(makers, name) for name in floats} if len(floats) > 1 else {}
    plain = {name: read_without_weights(makers, name) for name in before}

    def likely(name: str) -> tuple[int, ...]:
        fits = 0 if turned(loaded, name) else _fitness(loaded, name)
        called, linked = called_scores(name) if fits else 0, behind[name] is not None
        others = [reached for other, reached in before.items() if other != name]
        weighed = any(reached.get(one, False) for reached in others for one in plain[name])
        return (int(fits > 0), called, int(linked), int(not weighed), fits, int(all(name not in one for one in others)))

    ranked = sorted(floats, key=likely, reverse=True)
    again = [name for name in ranked[1:] if before[ranked[0]].get(name) and likely(name)[:3] == likely(ranked[0])[:3]]
    shapes = [loaded.known.shapes.get(name) for name in (ranked[0], graph.input[0].name)]
    if again and shapes[0] is not None and shapes[1] is not None and shapes[0][1:] == shapes[1][1:]:
        raise either(ranked[0], again[0], loaded.source)
    labels: tuple[str, ...] = ()
    node = makers[ranked[0]]
    for one in (node, *(makers[name] for name in node.input if name in makers)):
        if facts_of(one).classifier:
            labels = _zip_labels(one)
    rest = [name for name in ranked[1:] if _logits_of(behind, name) != _logits_of(behind, ranked[0])]
    if not rest:
        return ranked[0], labels, ()
    others = ", ".join(repr(name) for name in rest)
    told = Sentence(f"Of several outputs {ranked[0]!r} is read; the others: {others} (", option("output"), ").")
    return ranked[0], labels, (told,)


def _logits_of(behind: Mapping[str, Logits | None], name: str) -> str:
    """What is read where an output is: its logits, or itself."""
    found = behind[name]
    return name if found is None else found.tensor


def _fitness(loaded: Loaded, name: str) -> int:
    """How much a tensor looks like [N, K] with several classes."""
    shape = loaded.known.shapes.get(name)
    if shape is None:
        return 1
    wide = sum(extent > 1 for extent in shape[1:])
    return 3 if wide == 1 else 2 if wide == 0 and len(shape) > 1 else 0


def _look_through(loaded: Loaded, makers: dict[str, NodeProto], start: str) -> Found:
    """From a tensor back to a softmax or sigmoid, and to what goes into it."""
    back = Back(loaded, makers)
    at, passed = start, []
    while at in makers and (inner := _unchanged(loaded, back, makers[at])):
        passed.append(makers[at].op_type)
        at = inner
    node = makers.get(at)
    way = _through(passed)
    if node is not None and node.op_type == "Normalizer" and facts_of(makers.get(node.input[0], node)).classifier:
        node, way = makers[node.input[0]], f"{way} (through Normalizer)"
    if node is not None and facts_of(node).classifier and len(node.output) > 1:
        return _table(loaded, node, start)
    behind = back.logits(start) or back.logits(at)
    if behind is None and node is not None and (link := facts_of(node).link):  # on integers
        real = _before_rounding(loaded, makers, node.input[0])
        if real is None:
            return _integers(loaded, node, start, link)
        behind = Logits(node.input[0], link, op=node.op_type, way=tuple(passed))
    if behind is not None:
        return _behind(loaded, makers, start, behind)
    real = _before_rounding(loaded, makers, start, whole=True)
    kind = _kind_of(loaded, makers, start)
    if real is None:
        found = f"output {start!r}; {_without(kind)}"
        return Found(ScoreSpec(start, _classes(loaded, start), kind, "none", found))
    found = f"{real.name!r}: output {start!r} before it is rounded to 8 bits; {_without(kind)}"
    return Found(ScoreSpec(real.name, _classes(loaded, start), kind, "none", found), (), (), *real.made)


def _behind(loaded: Loaded, makers: dict[str, NodeProto], start: str, behind: Logits) -> Found:
    """Logits that were found, before they were rounded to integers."""
    way = _through(behind.way)
    real = None if behind.nodes else _before_rounding(loaded, makers, behind.tensor)
    logits = behind.tensor if real is None else real.name
    found = f"{logits!r}: what goes into {behind.op}{way} of output {start!r}"
    link: Literal["softmax", "sigmoid", "none"] = behind.link or "none"
    if "TopK" in behind.way:
        found += ", whose columns are ranks: the scores of all classes are read"
    if real is not None:
        found += ", before it is rounded to 8 bits"
        return Found(ScoreSpec(logits, _classes(loaded, behind.tensor), "logits", link, found), (), (), *real.made)
    known = _classes(loaded, logits) if not behind.nodes else _classes(loaded, start)
    return Found(ScoreSpec(logits, known, "logits", link, found), (), (), behind.nodes, behind.constants)


def _through(way: Sequence[str]) -> str:
    """The operators between the output and what is undone, for a person; those that do nothing are left out."""
    said = [one for one, _ in itertools.groupby(one for one in way if one != "Identity")]
    return f" (through {', '.join(said[:_MOST])}{' ...' if len(said) > _MOST else ''})" if said else ""


def _unchanged(loaded: Loaded, back: Back, node: NodeProto) -> str:
    """What a node passes on as it is: by repacking, by a product with 1, or a sum with 0; empty where it does not."""
    if _repacks(loaded, node):
        return str(node.input[0])
    inner, factor, shift = back.affine(node) or ("", 0.0, 0.0)
    return inner if (factor, shift) == (1.0, 0.0) else ""


def _kind_of(loaded: Loaded, makers: dict[str, NodeProto], name: str) -> Kind:
    """What the numbers of a tensor are that no softmax or sigmoid leads to."""
    low, high = Back(loaded, makers).bounds(name)
    if low >= 0.0 and high <= 1.0 + 1e-6:
        return "probabilities"
    node = makers.get(name)
    if node is not None and node.op_type == "Log" and abs(high) <= 1e-6:
        return "log-probabilities"
    regressor = node is not None and node.op_type.endswith("Regressor")
    return "scores" if regressor or _classes(loaded, name) == 1 else "logits"


def _without(kind: Kind) -> str:
    """Why the numbers themselves are read."""
    if kind in ("logits", "scores"):
        return "no softmax before it"
    return f"{kind} that are made in a way that cannot be undone"


def _repacks(loaded: Loaded, node: NodeProto) -> bool:
    """Whether a node keeps the numbers and the order of classes.

    A Transpose does when it moves only one axis longer than 1, the batch aside.
    """
    if node.op_type == "Transpose":
        shape = loaded.known.shapes.get(node.input[0])
        return shape is not None and sum(extent > 1 for extent in shape[1:]) <= 1
    return facts_of(node).repacks or facts_of(node).rounds


def _before_rounding(loaded: Loaded, makers: dict[str, NodeProto], name: str, whole: bool = False) -> _Real | None:
    """The float tensor whose numbers were rounded to those of ``name``, repacking aside; None where none is found.

    With ``whole`` none is found either where the integers' lower end cuts off negative scores, as a ReLU would.
    """
    at, best = name, None
    while at in makers and (_repacks(loaded, makers[at]) or facts_of(makers[at]).scale is not None):
        node = makers[at]
        if whole and rectifies(node, makers.get, loaded.content):
            return None
        if not _repacks(loaded, node):
            return (_unrounded(loaded, node) if _fitness(loaded, at) else None) or best
        at = node.input[0]
        if node.op_type == "QuantizeLinear" and loaded.known.dtypes.get(at) in FLOATS and _fitness(loaded, at):
            best = _Real(at)
    return best


def _unrounded(loaded: Loaded, node: NodeProto) -> _Real | None:
    """What an operator on integers computes before it rounds; None where the model's opset cannot write that."""
    if facts_of(node).scale is None or node.op_type == "QuantizeLinear":
        return None
    nodes, constants = opened(node, loaded.model.opset_import, loaded.known.shapes, loaded.known.dtypes)
    by_channel = any(a.name == "axis" for part in nodes for a in part.attribute if part.op_type == "DequantizeLinear")
    if nodes[-1].op_type != "QuantizeLinear" or (by_channel and opset_of(loaded.model) < _BY_CHANNEL):
        return None
    real, logits = nodes[-1].input[0], f"{node.output[0]}.logits"
    made = [*(name for part in nodes for name in part.output), *(tensor.name for tensor in constants)]
    # the pass that opens the model's own node for a sweep takes the names that were given here
    names = {name: logits if name == real else f"{logits}/{k}" for k, name in enumerate(made)}
    for part in nodes:
        rename_reads(part, names)
        part.output[0] = part.name = names[part.output[0]]
    for tensor in constants:
        tensor.name = names[tensor.name]
    return _Real(logits, (tuple(nodes[:-1]), tuple(constants)))


def _table(loaded: Loaded, node: NodeProto, start: str) -> Found:
    """A classifier of scikit-learn's kind: its scores before the built-in softmax, by a copy of the node."""
    transform = next((bytes(a.s) for a in node.attribute if a.name == "post_transform"), b"NONE")
    classes = len(_zip_labels(node)) or _classes(loaded, node.output[1])
    link = _TRANSFORMS.get(transform)
    if link is None:
        found = f"{node.output[1]!r} of {node.op_type}, which has no logits"
        kind: Kind = "logits" if node.op_type == "LinearClassifier" else _kind_of_table(node)
        return Found(ScoreSpec(start, classes, kind, "none", found))
    raw = NodeProto()
    raw.CopyFrom(node)
    raw.name = f"{node.name or node.output[1]}.raw"
    del raw.output[:]
    raw.output.extend([f"{node.output[0]}.raw", f"{node.output[1]}.raw"])
    for attribute in raw.attribute:
        if attribute.name == "post_transform":
            attribute.s = b"NONE"
    found = f"scores of {node.op_type} before its built-in {transform.decode(errors='replace').lower()}"
    return Found(ScoreSpec(raw.output[1], classes, "logits", link, found), nodes=(raw,))


def _kind_of_table(node: NodeProto) -> Kind:
    """Whether the scores of trees, or of support vectors, are probabilities by themselves, as a forest's are."""
    given = attributes_of(node)
    if node.op_type == "SVMClassifier":
        return "probabilities" if len(given.get("prob_a", ())) else "scores"
    weights = np.asarray(given.get("class_weights", ()), np.float64)
    trees = np.asarray(given.get("class_treeids", ()), np.int64)
    if not len(weights) or len(trees) != len(weights) or weights.min() < 0.0:
        return "scores"
    largest = np.zeros(int(trees.max()) + 1)
    np.maximum.at(largest, trees, weights)
    return "probabilities" if largest.sum() <= 1.0 + 1e-3 else "scores"


def _integers(loaded: Loaded, node: NodeProto, start: str, link: Literal["softmax", "sigmoid"]) -> Found:
    """What goes into a softmax on integers, as real numbers, by a node of its own."""
    logits = f"{node.input[0]}.logits"
    real = helper.make_node("DequantizeLinear", [n for n in node.input[:3] if n], [logits], name=logits)
    found = f"what goes into {node.op_type} of output {start!r}, in 8 bits"
    return Found(ScoreSpec(logits, _classes(loaded, start), "logits", link, found), nodes=(real,))


def _classes(loaded: Loaded, name: str) -> int | None:
    """Extent of the one axis longer than 1 behind the batch; None where it is not known or not one."""
    shape = loaded.shape(name)
    if shape is None:
        return None
    wide = [extent for extent in shape[1:] if extent != 1]
    return wide[0] if len(wide) == 1 else 1 if not wide else None


def _zip_labels(node: NodeProto) -> tuple[str, ...]:
    for attribute in node.attribute:
        if attribute.name in ("classlabels_strings", "classlabels_int64s", "classlabels_ints"):
            texts = [v.decode(errors="replace") for v in attribute.strings] or [str(v) for v in attribute.ints]
            return tuple("".join(c for c in text if c.isprintable())[:200] for text in texts)
    return ()


def _dtype(loaded: Loaded, output: ValueInfoProto) -> int:
    return loaded.dtype(output.name) or int(output.type.tensor_type.elem_type)


def _kind(loaded: Loaded, output: ValueInfoProto) -> str:
    return TensorProto.DataType.Name(_dtype(loaded, output)).lower() if _dtype(loaded, output) else "no tensor"
