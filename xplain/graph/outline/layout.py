"""Which axis of an input is which, as the operators that consume it say.

The input is followed through operators that keep or permute its axes, up to those whose own definition names an axis:
convolutions, pooling and normalisation read channels from axis 1 (from the last where they are declared channels-last),
recurrent operators read ``[time, batch, features]``. So ``Transpose(0, 3, 1, 2) -> Conv`` says that the input is NHWC.
Names of the input's own dimensions, such as ``height``, come second. Operators that contradict each other say nothing.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from onnx import NodeProto

from xplain.core.positions.layout import Axes
from xplain.graph.intake.load import Loaded
from xplain.graph.nodes import attribute
from xplain.graph.operators import channels_last, facts_of

__all__ = ["axes_of"]

# One word per axis of a tensor: the input's axis that it is, or None for one that was added.
_Order: TypeAlias = tuple[int | None, ...]

_WORDS = {
    "C": ("channel", "channels", "chan", "c", "feature", "features", "num_features", "num_channels", "bands"),
    "H": ("height", "h", "rows", "image_height"),
    "W": ("width", "w", "cols", "image_width"),
    "D": ("depth", "d", "slices"),
    "T": ("time", "t", "frames", "num_frames", "seq", "seq_len", "sequence", "sequence_length", "timesteps", "steps"),
}
_SPATIAL = {1: "T", 2: "HW", 3: "DHW"}


def axes_of(loaded: Loaded, name: str) -> Axes | None:
    """The axes of input ``name``, or None where nothing in the file decides them."""
    shape = loaded.known.shapes.get(name)
    if shape is None or not 3 <= len(shape) <= 5:
        return None
    return _by_operators(loaded, name, len(shape)) or _by_names(loaded, name, len(shape))


def _by_operators(loaded: Loaded, name: str, rank: int) -> Axes | None:
    orders: dict[str, _Order] = {name: tuple(range(rank))}
    path: dict[str, list[str]] = {name: []}
    found: dict[str, str] = {}
    for node in loaded.model.graph.node:
        source = next((one for one in node.input if one in orders), None)
        if source is None:
            continue
        known = facts_of(node)
        if known.recurrent or known.axes == "channels" or channels_last(node):
            letters = _consumed(node, orders[source], rank) if node.input[0] == source else None
            if letters is not None:
                found.setdefault(letters, " -> ".join([*path[source], node.op_type]))
            continue
        after = _moved(loaded, node, orders[source])
        if after is not None and node.output:
            shown = [f"Transpose{_permutation(node, len(after))}"] if node.op_type == "Transpose" else []
            for output in node.output[:1]:
                orders[output], path[output] = after, path[source] + shown
    if len(found) != 1:
        return None
    ((letters, chain),) = found.items()
    return Axes(letters, f"the input goes into {chain}")


def _consumed(node: NodeProto, order: _Order, rank: int) -> str | None:
    """The input's layout, where ``node`` reads a tensor of this order; None where its axes are not all the input's."""
    letters = [""] * len(order)
    if facts_of(node).recurrent:
        if len(order) != 3:
            return None
        letters = list("TNC") if not attribute(node, "layout", 0) else list("NTC")
    else:
        last = channels_last(node)
        spatial = _SPATIAL.get(len(order) - 2)
        if spatial is None:
            return None
        letters = list("N" + spatial + "C" if last else "NC" + spatial)
    named = {axis: letter for axis, letter in zip(order, letters, strict=True) if axis is not None}
    missing = [axis for axis in range(rank) if axis not in named]
    if len(missing) == 1:  # taken apart along one axis and put together again on a new one
        rest = set(letters) - set(named.values())
        if len(rest) == 1:
            named[missing[0]] = rest.pop()
    word = "".join(named.get(axis, "") for axis in range(rank))
    return word if len(word) == rank and word.startswith("N") else None


def _moved(loaded: Loaded, node: NodeProto, order: _Order) -> _Order | None:
    """The order behind a node that keeps, permutes, adds or drops axes; None for any other."""
    rank = len(order)
    if node.op_type == "Transpose":
        return tuple(order[k] for k in _permutation(node, rank))
    if node.op_type == "Gather":
        index = loaded.known.shapes.get(node.input[1])
        axis = int(attribute(node, "axis", 0)) % rank
        kept = index if index is not None else (None,)
        return order[:axis] + order[axis + 1 :] if len(kept) == 0 else order if len(kept) == 1 else None
    if facts_of(node).keeps_axes:
        shape = loaded.known.shapes.get(node.output[0])
        return order if shape is None or len(shape) == rank else None
    if node.op_type == "Reshape":
        return _reshaped(order, loaded.known.shapes.get(node.input[0]), loaded.known.shapes.get(node.output[0]))
    if node.op_type in ("Unsqueeze", "Squeeze"):
        given = attribute(node, "axes", None)
        if given is None and len(node.input) > 1:
            content = loaded.content(node.input[1])
            given = None if content is None else content.reshape(-1).tolist()
        if given is None:
            return None
        if node.op_type == "Squeeze":
            dropped = {int(a) % rank for a in given}
            return tuple(one for k, one in enumerate(order) if k not in dropped)
        grown = rank + len(given)
        added = {int(a) % grown for a in given}
        rest = iter(order)
        return tuple(None if k in added else next(rest) for k in range(grown))
    return None


def _reshaped(order: _Order, before: tuple[Any, ...] | None, after: tuple[Any, ...] | None) -> _Order | None:
    """The order behind a reshape that only adds or drops axes of one behind the batch."""
    if before is None or after is None or len(before) < 2 or len(after) < 2:
        return None
    if not all(isinstance(n, int) for n in (*before[1:], *after[1:])):
        return None
    if [n for n in before[1:] if n > 1] != [n for n in after[1:] if n > 1]:
        return None
    wide = iter([axis for axis, n in zip(order[1:], before[1:], strict=True) if n > 1])
    return (order[0], *(next(wide) if n > 1 else None for n in after[1:]))


def _by_names(loaded: Loaded, name: str, rank: int) -> Axes | None:
    """The layout that the names of the input's dimensions state, where all but one of them do."""
    entry = next(one for one in loaded.model.graph.input if one.name == name)
    names = [dim.dim_param for dim in entry.type.tensor_type.shape.dim]
    words = {word: letter for letter, several in _WORDS.items() for word in several}
    letters = ["N", *(words.get(one.lower(), "") for one in names[1:])]
    spatial = _SPATIAL[rank - 2]
    wanted = [*spatial, "C"]
    known = [letter for letter in letters[1:] if letter]
    if len(set(known)) < len(known) or set(known) - set(wanted) or len(known) < rank - 2:
        return None
    rest = [letter for letter in wanted if letter not in known]
    word = "".join(letter or rest[0] for letter in letters)
    said = ", ".join(repr(one) for one in names[1:] if one.lower() in words)
    return Axes(word, f"the input's dimensions are called {said}")


def _permutation(node: NodeProto, rank: int) -> tuple[int, ...]:
    given = attribute(node, "perm", None)
    return tuple(reversed(range(rank))) if given is None else tuple(int(k) for k in given)
