"""Element-wise operators between convolutions run in the layout of these, so that nothing is laid out anew and back.

ONNX Runtime's CPU keeps convolutions in blocked layout, and few operators besides: a division between two of them is
reached through ``ReorderOutput`` and left through ``ReorderInput``, each a pass over memory. An element-wise operator
does not care where an element lies, as long as it is the same place in all that it reads:

    ReorderOutput(a), ReorderOutput(b) -> Div -> ReorderInput    becomes    Div(a, b)

Only operators that give an element the same bits wherever it lies are moved (``same_anywhere``). Regions of them joined
by tensors ``[N, C, H, W]`` are moved where that saves more than it needs. Only where blocks are whole: C must be a
multiple of 16, for in a block's unused places 0 / 0 would become NaN, and a convolution would add it up. N may differ,
because it is the outermost axis in both layouts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from xplain.graph.analysis.order import ordered
from xplain.graph.build.chains import CHAINED, same_anywhere
from xplain.graph.build.optimised import NCHWC, Optimised
from xplain.graph.nodes import Model, attribute
from xplain.graph.operators import facts_of

__all__ = ["in_blocks"]

_COLD = 2  # passes that an input of the graph counts for: it is in no cache (DeepLIFT: 22.1 ms so, 19.9 left as it was)
_BLOCK = 16  # blocks are of 16 channels with AVX-512 and of 8 without; whole ones of 16 are whole in both


@dataclass
class _Region:
    """Element-wise nodes that share tensors of one size."""

    nodes: set[int] = field(default_factory=set)
    tensors: set[str] = field(default_factory=set)


def in_blocks(model: Model, usable: Collection[str] = frozenset(CHAINED)) -> int:
    """Move regions of element-wise nodes into blocked layout, in place.

    Args:
        model: As the runtime's optimiser wrote it.
        usable: ONNX operators that steps have the bits of.

    Returns:
        How many passes over memory that saves.
    """
    graph = Optimised(model)
    suffix = "/blocked"
    while any(name.endswith(suffix) for name in (*graph.makers, *graph.readers)):
        suffix += "'"
    moves = [_Move(graph, region, suffix) for region in _regions(graph, usable)]
    worth = [move for move in moves if move.possible and move.saved > 0]
    if worth:
        gone = {k for move in worth for k in move.gone}
        renamed = {old: new for move in worth for old, new in move.renamed.items()}
        nodes = [node for k, node in enumerate(graph.nodes) if k not in gone]
        made = [node for move in worth for node in move.written()]
        for node in [*nodes, *made]:
            for index, name in enumerate(node.input):
                node.input[index] = renamed.get(name, name)
        kept = [NodeProto.FromString(node.SerializeToString()) for node in ordered([*nodes, *made])]
        stated = [entry for move in worth for entry in move.stated()]
        del model.graph.node[:]
        model.graph.node.extend(kept)
        model.graph.value_info.extend(stated)
    return sum(move.saved for move in worth)


def _reorder(node: NodeProto, name: str) -> bool:
    return node.domain == NCHWC and node.op_type == name and not attribute(node, "channels_last", 0)


def _regions(graph: Optimised, usable: Collection[str]) -> list[_Region]:
    """Regions of element-wise nodes all of whose operands are of one size, or one number."""
    of: dict[str, _Region] = {}
    for k, node in enumerate(graph.nodes):
        full = _operands(graph, node) if same_anywhere(graph, node, usable) else []
        if not full:
            continue
        home = _Region({k}, set(full))
        for other in {id(of[name]): of[name] for name in full if name in of}.values():
            home.nodes |= other.nodes
            home.tensors |= other.tensors
        of |= dict.fromkeys(home.tensors, home)
    return list({id(region): region for region in of.values()}.values())


def _operands(graph: Optimised, node: NodeProto) -> list[str]:
    """The tensors that a node reads and writes place by place; empty where it is no such node."""
    if node.domain not in ("", "ai.onnx") or not facts_of(node).elementwise or len(node.output) != 1:
        return []
    names = [name for name in node.input if name and not graph.single(name)] + [node.output[0]]
    sizes = {graph.shapes.get(name, ())[1:] for name in names}
    size = next(iter(sizes))
    whole = len(sizes) == 1 and len(size) == 3 and all(isinstance(extent, int) for extent in size)
    return names if whole and len(names) > 1 and int(size[0]) % _BLOCK == 0 else []


class _Move:
    """What it takes to move a region.

    ``saved``: reorderings that go, less those that come; ``gone``: nodes that go; ``renamed``: what readers that stay in
    blocks read instead.
    """

    def __init__(self, graph: Optimised, region: _Region, suffix: str) -> None:
        self._graph, self._region, self._suffix = graph, region, suffix
        self.gone, self.saved, self.possible = set(region.nodes), 0, True
        self.renamed: dict[str, str] = {}
        self._blocked: dict[str, str] = {}  # by tensor of the region: its name in blocks
        self._into: list[str] = []  # tensors that have to be brought into blocks, and out of them
        self._out: list[str] = []
        made = {graph.nodes[k].output[0] for k in region.nodes}
        for name in sorted(region.tensors):
            if name in made:
                self._leaves(name)
            else:
                self._enters(name)

    def _outside(self, name: str) -> Iterable[int]:
        return (k for k in self._graph.readers.get(name, []) if k not in self._region.nodes)

    def _enters(self, name: str) -> None:
        graph = self._graph
        maker = graph.nodes[graph.makers[name]] if name in graph.makers else None
        there = [k for k in self._outside(name) if _reorder(graph.nodes[k], "ReorderInput")]
        if maker is not None and _reorder(maker, "ReorderOutput"):
            self._blocked[name] = maker.input[0]
            if name not in graph.outputs and not list(self._outside(name)):
                self.gone.add(graph.makers[name])
                self.saved += 1
        elif there:
            self._blocked[name] = graph.nodes[there[0]].output[0]
        else:
            self.possible = self.possible and graph.dtypes.get(name) == TensorProto.FLOAT
            self._blocked[name] = name + self._suffix
            self._into.append(name)
            self.saved -= 1 if maker is not None else _COLD

    def _leaves(self, name: str) -> None:
        graph = self._graph
        self._blocked[name] = name + self._suffix
        others = []
        for k in self._outside(name):
            if _reorder(graph.nodes[k], "ReorderInput"):
                self.gone.add(k)
                self.renamed[graph.nodes[k].output[0]] = name + self._suffix
                self.saved += 1
            else:
                others.append(k)
        if others or name in graph.outputs:
            self.possible = self.possible and graph.dtypes.get(name) == TensorProto.FLOAT
            self._out.append(name)
            self.saved -= 1

    def stated(self) -> list[ValueInfoProto]:
        """Types and shapes of what the region makes in blocks, which are those that it had."""
        found = []
        for name, blocked in self._blocked.items():
            if blocked == name + self._suffix:
                entry = ValueInfoProto()
                entry.CopyFrom(self._graph.stated[name])
                entry.name = blocked
                found.append(entry)
        return found

    def written(self) -> list[NodeProto]:
        """The nodes of the region in blocks, and what brings tensors into them and out."""
        nodes = []
        for k in sorted(self._region.nodes):
            node = NodeProto.FromString(self._graph.nodes[k].SerializeToString())
            for index, name in enumerate(node.input):
                node.input[index] = self._blocked.get(name, name)
            node.output[0] = self._blocked[node.output[0]]
            nodes.append(node)
        for name in self._into:
            nodes.append(helper.make_node("ReorderInput", [name], [name + self._suffix], domain=NCHWC))
        for name in self._out:
            channels = int(self._graph.shapes[name][1])
            made = helper.make_node("ReorderOutput", [name + self._suffix], [name], domain=NCHWC, channels=channels)
            nodes.append(made)
        return nodes
