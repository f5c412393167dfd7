"""Which axis of a torch module's input is which, as the first operators that consume it say.

The torch counterpart of ``xplain.graph.outline.layout``: the batch is followed through what keeps or permutes its
axes, up to a convolution, pooling or batch norm, which read channels from axis 1, or a recurrent layer, which reads
features last.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from xplain.core.positions.layout import Axes
from xplain.models.torch.operators import facts_of

__all__ = ["AxesSeen"]

_SPATIAL = {1: "T", 2: "HW", 3: "DHW"}
_PER_CHANNEL = ("conv", "max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "batch_norm", "instance_norm")
_Order = tuple[int | None, ...]


class AxesSeen(TorchFunctionMode):
    """Watches a forward pass; afterwards ``found`` is what it said of the axes of ``batch``, or None.

    Args:
        batch: What the module is called with.
    """

    def __init__(self, batch: torch.Tensor) -> None:
        super().__init__()
        self._rank = batch.ndim
        self._orders: dict[int, tuple[torch.Tensor, _Order, str]] = {id(batch): (batch, tuple(range(batch.ndim)), "")}
        self._said: dict[str, str] = {}

    @property
    def found(self) -> Axes | None:
        """The axes that all operators agree on."""
        if len(self._said) != 1 or self._rank < 3:
            return None
        ((letters, chain),) = self._said.items()
        return Axes(letters, f"the input goes into {chain}")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        source = args[0] if args else (kwargs or {}).get("input")
        known = self._orders.get(id(source))
        if known is None or known[0] is not source or self._rank < 3:
            return result
        name, (_, order, path) = getattr(func, "__name__", ""), known
        chain = f"{path} -> {name}" if path else name
        if facts_of(name).recurrent:
            batch_first = bool((kwargs or {}).get("batch_first", args[-1] if len(args) >= 9 else False))
            self._say(order, "NTC" if batch_first else "TNC", chain)
        elif name.startswith(_PER_CHANNEL) and source.ndim - 2 in _SPATIAL:
            self._say(order, "NC" + _SPATIAL[source.ndim - 2], chain)
        elif isinstance(result, torch.Tensor):
            after = _moved(name, order, source, result, args[1:], kwargs or {})
            if after is not None:
                self._orders[id(result)] = (result, after, chain if name in ("permute", "transpose") else path)
        return result

    def _say(self, order: _Order, letters: str, chain: str) -> None:
        if len(order) != len(letters):
            return
        named = {axis: letter for axis, letter in zip(order, letters, strict=True) if axis is not None}
        word = "".join(named.get(axis, "") for axis in range(self._rank))
        if len(word) == self._rank and word.startswith("N"):
            self._said.setdefault(word, chain)


def _moved(
    name: str, order: _Order, source: torch.Tensor, result: torch.Tensor, args: tuple[Any, ...], options: dict[str, Any]
) -> _Order | None:
    """The order behind a function that keeps, permutes, adds or drops axes; None for any other."""
    rank = len(order)
    if name == "permute":
        dims = options.get("dims", args[0] if args and isinstance(args[0], (tuple, list, torch.Size)) else args)
        return tuple(order[int(k)] for k in dims) if len(dims) == rank else None
    if name in ("transpose", "swapaxes", "swapdims"):
        one, other = (int(k) % rank for k in (*args, *options.values())[:2])
        axes = list(order)
        axes[one], axes[other] = axes[other], axes[one]
        return tuple(axes)
    if name == "unsqueeze":
        place = int(options.get("dim", args[0] if args else 0)) % (rank + 1)
        return (*order[:place], None, *order[place:])
    if name == "squeeze" and (args or options):
        dropped = options.get("dim", args[0] if args else None)
        if isinstance(dropped, int) and result.ndim == rank - 1:
            return tuple(axis for k, axis in enumerate(order) if k != dropped % rank)
        return None
    if name == "__getitem__":
        return _indexed(order, args[0])
    if result.shape == source.shape or (facts_of(name).resizes and result.ndim == rank):
        return order
    return _reshaped(order, tuple(source.shape), tuple(result.shape)) if facts_of(name).reshapes else None


def _indexed(order: _Order, index: Any) -> _Order | None:
    """The order behind ``x[index]`` of slices, numbers and None; None for an index of tensors."""
    entries = list(index) if isinstance(index, tuple) else [index]
    rest = len(order) - sum(one is not None and one is not Ellipsis for one in entries)
    if any(isinstance(one, torch.Tensor) for one in entries) or rest < 0:
        return None
    if not any(one is Ellipsis for one in entries):
        entries.append(Ellipsis)
    axes, after = iter(order), list[int | None]()
    for one in entries:
        if one is Ellipsis:
            after += [next(axes) for _ in range(rest)]
        elif one is None:
            after.append(None)
        else:
            axis = next(axes)
            after += [] if isinstance(one, int) else [axis]
    return tuple(after)


def _reshaped(order: _Order, before: tuple[int, ...], after: tuple[int, ...]) -> _Order | None:
    """The order behind a reshape that only adds or drops axes of one behind the batch."""
    if [n for n in before[1:] if n > 1] != [n for n in after[1:] if n > 1] or before[0] != after[0]:
        return None
    wide = iter([axis for axis, n in zip(order[1:], before[1:], strict=True) if n > 1])
    return (order[0], *(next(wide) if n > 1 else None for n in after[1:]))
