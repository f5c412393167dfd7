"""How large every tensor of a model becomes, found without running any of it.

The nodes are walked in order. Shapes come from ONNX's own inference of one node at a time, which is given the content
of small constants (shape arithmetic), so each tensor's size is known before the next is looked at and nothing is ever
unfolded: the walk of a file that doubles a tensor thirty times ends at the doubling that passes the limit.

Free extents are given numbers: one item per batch, 224 pixels or 128 steps. A second walk with other numbers tells
which extents are free. A size that cannot be inferred is taken to be that of the node's largest input, and is listed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, defs, numpy_helper

from xplain.core.declaring.wording import limit
from xplain.core.edits import Array
from xplain.core.errors import Unsafe
from xplain.graph.analysis.inference import Kind, infer_node
from xplain.graph.analysis.order import ordered
from xplain.graph.analysis.small import compute
from xplain.graph.naming import reads, subgraphs_of
from xplain.graph.operators import facts_of
from xplain.graph.passes.lowering import opened
from xplain.graph.safety import Check, Limits, Verdict, elements_bits, human, tensors_of

__all__ = ["Extents", "Known", "known_for", "measure"]

_RANK = 64  # most axes of a tensor
_SMALL = 1024  # elements of a constant whose content is followed
_ANY_SIZE = Limits(tensor_bytes=2**62, constant_bytes=2**62)


@dataclass(frozen=True, slots=True)
class Extents:
    """Numbers that stand for free extents: of the batch axis, and of other axes by the input's rank."""

    batch: int = 1
    picture: int = 224
    steps: int = 128


@dataclass
class Known:
    """What a walk found.

    Args:
        shapes: Shapes by tensor name; absent where not known.
        dtypes: ONNX element types by tensor name; absent where not known.
        constants: Tensors that follow from constants alone.
        content: What small constants hold.
        elements: Elements of each tensor.
        guessed: Tensors whose size had to be taken from their inputs.
        open_ended: Whether one of those is made in a size that depends on data.
        largest: Bytes and name of the largest tensor.
        folded: Bytes of all constants that are not stored.
    """

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[str, int] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    content: dict[str, Array] = field(default_factory=dict)
    elements: dict[str, int] = field(default_factory=dict)
    guessed: list[str] = field(default_factory=list)
    open_ended: bool = False
    largest: tuple[int, str] = (0, "")
    folded: int = 0

    def verdict(self, limits: Limits) -> Verdict:
        """What was found, as lines for a person."""
        size, name = self.largest
        checks = [
            Check("largest tensor", f"{human(size)} for one item, {name!r} (limit {human(limits.tensor_bytes)})"),
            Check("constants that unfold", f"{human(self.folded)}"),
        ]
        if self.guessed:
            few = ", ".join(repr(n) for n in self.guessed[:3])
            found = f"{len(self.guessed)} tensors, taken to be as large as their inputs: {few}"
            checks.append(Check("sizes that are not known", found, notable=self.open_ended))
        return Verdict(tuple(checks))


def measure(model: ModelProto, limits: Limits, extents: Extents | None = None) -> Known:
    """Walk the model and bound every tensor.

    Args:
        model: Passed ``check_structure``; its own functions are written out already.
        limits: What is refused.
        extents: Numbers for free extents.

    Raises:
        Unsafe: a tensor, or the constants together, pass a limit.
    """
    return _Walk(model, limits, extents or Extents()).run()


def known_for(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> Known:
    """What is known of all tensors where the inputs named have these shapes.

    The item is there already, so nothing is refused for its size.
    """
    given = {name: tuple(int(extent) for extent in shape) for name, shape in shapes.items()}
    return _Walk(model, _ANY_SIZE, Extents(), given).run()


class _Walk:
    def __init__(
        self,
        model: ModelProto,
        limits: Limits,
        extents: Extents,
        given: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    ) -> None:
        self.model, self.limits, self.extents, self.given = model, limits, extents, given
        self.imports = list(model.opset_import)
        self.opsets = {("" if e.domain == "ai.onnx" else e.domain): int(e.version) for e in self.imports}
        self.known = Known()
        self.read: set[str] = set()
        self.stored = sum(count * bits // 8 for count, bits in map(elements_bits, tensors_of(model.graph)))

    def run(self) -> Known:
        self._open(self.model.graph)
        self._walk(self.model.graph)
        return self.known

    def _open(self, graph: GraphProto) -> None:
        """Note what a graph has before its first node runs."""
        known = self.known
        for tensor in graph.initializer:
            self._constant(tensor.name, tuple(int(d) for d in tensor.dims), tensor.data_type)
            if tensor.data_location != TensorProto.EXTERNAL and known.elements[tensor.name] <= _SMALL:
                known.content[tensor.name] = numpy_helper.to_array(tensor)
        for sparse in graph.sparse_initializer:
            self._constant(sparse.values.name, tuple(int(d) for d in sparse.dims), sparse.values.data_type)
            count, bits = elements_bits(sparse)  # a runtime unfolds it
            known.folded += count * bits // 8
        for entry in graph.input:
            if entry.name not in known.shapes and entry.type.HasField("tensor_type"):
                kind = entry.type.tensor_type
                self._keep(entry.name, kind.elem_type, self.given.get(entry.name) or self._extents_of(kind))

    def _walk(self, graph: GraphProto) -> None:
        nodes = ordered(graph.node)
        self.read |= {name for node in nodes for name in reads(node)} | {output.name for output in graph.output}
        for node in nodes:
            for inner in subgraphs_of(node):
                self._open(inner)
                self._walk(inner)
            self._look_inside(node)
            self._visit(node)

    def _extents_of(self, kind: TypeProto.Tensor) -> tuple[int, ...] | None:
        if not kind.HasField("shape"):
            return None
        rank = len(kind.shape.dim)
        free = self.extents.picture if rank == 4 else self.extents.steps
        return tuple(
            int(d.dim_value) if d.dim_value > 0 else (self.extents.batch if k == 0 else free)
            for k, d in enumerate(kind.shape.dim)
        )

    def _constant(self, name: str, shape: tuple[int, ...], dtype: int) -> None:
        self._keep(name, dtype, shape)
        self.known.constants.add(name)

    def _keep(self, name: str, dtype: int, shape: tuple[int, ...] | None, elements: int | None = None) -> None:
        """Note a tensor, and refuse it when it is too large."""
        known = self.known
        if dtype:
            known.dtypes[name] = dtype
        if shape is not None:
            known.shapes[name] = shape
            elements = math.prod(shape)
        if elements is None:
            return
        known.elements[name] = elements
        _, bits = elements_bits(TensorProto(data_type=dtype or TensorProto.FLOAT))
        size = elements * bits // 8
        if size > known.largest[0]:
            known.largest = (size, name)
        if size > self.limits.tensor_bytes:
            raise Unsafe(
                f"Tensor {name!r} would take {human(size)} for a single item{f' {list(shape)}' if shape else ''}; "
                f"accepted: {human(self.limits.tensor_bytes)}. If you trust the model, give ",
                limit("tensor_bytes", size),
                ".",
            )

    def _look_inside(self, node: NodeProto) -> None:
        """Bound and infer what a fused operator stands for; ONNX does not describe the operator itself."""
        known = self.known
        inside, constants = opened(node, self.imports, known.shapes, known.dtypes)
        for tensor in constants:
            self._constant(tensor.name, tuple(int(d) for d in tensor.dims), tensor.data_type)
            known.content[tensor.name] = numpy_helper.to_array(tensor)
        for part in inside:
            self._visit(part)

    def _visit(self, node: NodeProto) -> None:
        known = self.known
        names = [name for name in node.input if name]
        constant = not facts_of(node).random and all(n in known.constants for n in names) and not subgraphs_of(node)
        types = self._infer(node)
        sizes = [known.elements.get(name, 1) for name in names]
        guess = sum(sizes) if node.op_type.startswith("Concat") else max(sizes, default=1)
        guess = {"Shape": _RANK, "Size": 1}.get(node.op_type, guess)  # of any tensor, however large
        for name in (n for n in node.output if n):
            dtype, shape = types.get(name, (0, None))
            if shape is None:
                if constant and facts_of(node).grows:
                    raise Unsafe(
                        f"Node {node.name or name!r} ({node.op_type}) makes a constant whose size cannot be told in "
                        "advance. Simplify the model (onnxsim, or constant folding on export), so that it is stored."
                    )
                if name in self.read:
                    known.guessed.append(name)
                    known.open_ended |= facts_of(node).grows
            self._keep(name, dtype, shape, guess)
            if constant:
                known.constants.add(name)
                known.folded += known.elements[name] * elements_bits(TensorProto(data_type=dtype or 1))[1] // 8
        if known.folded > self.limits.constant_bytes + 8 * self.stored:
            raise Unsafe(
                f"The model's constants unfold to more than {human(known.folded)} although the file stores "
                f"{human(self.stored)} of weights; node {node.name or node.output[0]!r} ({node.op_type}) passes the "
                f"limit. If you trust it, give ",
                limit("constant_bytes"),
                ".",
            )
        self._follow(node, constant)

    def _infer(self, node: NodeProto) -> dict[str, tuple[int, tuple[int, ...] | None]]:
        """Element type (0: not known) and shape (None: not known) of each output, as far as ONNX can tell."""
        known = self.known
        names = [name for name in node.input if name]
        found = None
        if all(name in known.dtypes for name in names):
            kinds: dict[str, Kind] = {name: (known.dtypes[name], known.shapes.get(name)) for name in names}
            found = infer_node(node, kinds, known.content, self.imports)
        elif self._described(node):
            return {}
        if found is None:
            return self._like_input(node)
        out: dict[str, tuple[int, tuple[int, ...] | None]] = {}
        for name, (dtype, shape) in found.items():
            numbers = [d for d in shape or () if isinstance(d, int) and d >= 0]
            out[name] = (dtype, None if shape is None or len(numbers) < len(shape) else tuple(numbers))
        return out

    def _described(self, node: NodeProto) -> bool:
        """Whether ONNX describes the operator."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        return bool(defs.has(node.op_type, self.opsets.get(domain, 1), domain))

    def _like_input(self, node: NodeProto) -> dict[str, tuple[int, tuple[int, ...] | None]]:
        """What was seen inside a fused operator; others that ONNX does not describe mostly keep their input's type."""
        known = self.known
        seen = {name: (known.dtypes[name], known.shapes[name]) for name in node.output if name in known.shapes}
        if seen:
            return dict(seen)
        first = node.input[0] if node.input else ""
        if not first or first not in self.known.dtypes:
            return {}
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):  # onnxruntime's own, for integers of 4 and 16 bits
            says = node.input[1:2] if node.op_type[0] == "D" else node.input[2:3]
            dtype = next((known.dtypes.get(name, 0) for name in says if name), int(TensorProto.UINT8))
            return {node.output[0]: (dtype, known.shapes.get(first))}
        return {node.output[0]: (self.known.dtypes[first], None)} if node.output else {}

    def _follow(self, node: NodeProto, constant: bool) -> None:
        """Compute the content of a small tensor that follows from constants or from known shapes."""
        known, output = self.known, node.output[0] if node.output else ""
        if node.op_type == "Shape" and node.input[0] in known.shapes:
            start, end = _attribute(node, "start", 0), _attribute(node, "end", None)
            known.content[output] = np.array(known.shapes[node.input[0]][start:end], dtype=np.int64)
        elif node.op_type == "Size" and node.input[0] in known.shapes:
            known.content[output] = np.array(math.prod(known.shapes[node.input[0]]), dtype=np.int64)
        elif len(node.output) == 1 and known.elements.get(output, _SMALL + 1) <= _SMALL and output in known.shapes:
            feeds = {name: known.content[name] for name in node.input if name in known.content}
            if len(feeds) == len({name for name in node.input if name}) and not facts_of(node).random:
                self._compute(node, feeds)

    def _compute(self, node: NodeProto, feeds: dict[str, Array]) -> None:
        made = compute(node, feeds, self.imports, _SMALL)
        self.known.content.update((name, array) for name, array in made.items() if array.size <= _SMALL)


def _attribute(node: NodeProto, name: str, default: int | None) -> int | None:
    return next((int(a.i) for a in node.attribute if a.name == name), default)
