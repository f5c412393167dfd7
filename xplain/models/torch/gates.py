"""Gates behind the rectifiers of a torch module: modules, functions and methods alike; the module is untouched.

Each call of a rectifier is one, ``Relu:0``, ``Clip:1`` ... in the order of calls; its result counts by a factor, and
the module goes on with the product. The first axis must be the items', or nobody could say whose gates they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from xplain.core.edits import Array
from xplain.core.swept import GATE
from xplain.models.torch.modes import to_numpy
from xplain.models.torch.operators import facts_of

__all__ = ["gated", "worth"]

Found = dict[str, torch.Tensor]


def gated(forward: Callable[[], Found], rows: int, gates: Mapping[str, Array] | None) -> Callable[[], Found]:
    """A forward pass of so many rows with gates; what it returns holds them too, as leaves of autograd.

    Args:
        forward: The pass.
        rows: Items in its batch.
        gates: By the names of rectifiers, ``[R, *shape]``; 1 for those that are not given. None: no gates.
    """
    if gates is None:
        return forward
    placed = _Placed(rows, gates)

    def passed() -> Found:
        with placed:
            found = forward()
        return found | placed.gates

    return passed


def worth(cotangents: Mapping[str, torch.Tensor | None], count: int) -> dict[str, tuple[Array, Array]]:
    """What the target rises by each gate, as a sweep answers it; of gates that lead to it."""
    nothing = np.zeros((count, 0), np.float32)
    found = {name: one for name, one in cotangents.items() if name.startswith(GATE) and one is not None}
    return {name: (nothing, to_numpy(one)[:count]) for name, one in found.items()}


class _Placed(TorchFunctionMode):
    """Puts gates where rectifiers are called."""

    def __init__(self, rows: int, given: Mapping[str, Array]) -> None:
        super().__init__()
        self.gates: Found = {}
        self._rows, self._given, self._count = rows, given, 0

    def __enter__(self) -> Self:
        self.gates, self._count = {}, 0
        super().__enter__()  # type: ignore[no-untyped-call]  # torch does not type its modes
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        facts = facts_of(getattr(func, "__name__", "").rstrip("_"))
        x = args[0] if args else kwargs.get("input")
        if not facts.activation or not isinstance(x, torch.Tensor) or not x.is_floating_point():
            return func(*args, **kwargs)
        if facts.clamps and (args[1] if len(args) > 1 else kwargs.get("min")) is None:
            return func(*args, **kwargs)
        name, self._count = f"{facts.activation}:{self._count}", self._count + 1
        if len(x) != self._rows:
            return func(*args, **kwargs)
        fresh = x.clone()  # an operator in place keeps its result for the way back, which the product would overwrite
        result = func(fresh, *args[1:], **kwargs) if args else func(**{**kwargs, "input": fresh})
        gate = torch.ones_like(result)
        if name in self._given:
            gate = torch.from_numpy(np.ascontiguousarray(self._given[name])).to(result)
        self.gates[GATE + name] = gate.detach().requires_grad_()
        product = result * self.gates[GATE + name]
        return x.copy_(product) if result is fresh else product
