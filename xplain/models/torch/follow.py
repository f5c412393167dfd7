"""Follow the axes of the explained item through a torch module's pass, at the dispatcher.

``xplain.core.positions.axes`` says what an axis is. Every operator arrives there, be it of a module, a function or a
method of a tensor, with tensors in their true sizes.
Each result that descends from the item is a tensor of its own in the lineage; what a view or an operator in place
writes is one as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from xplain.core.positions import axes as ax
from xplain.core.positions.axes import Axes
from xplain.core.positions.lineage import Lineage, Pick
from xplain.models.torch.axis_call import Call, tree_leaves
from xplain.models.torch.axis_rules import axes_after
from xplain.models.torch.together import goes_over_items

__all__ = ["AxesFollowed"]

_MARK = "_xplain_tensor"
MATRIX = "/matrix"
"""Behind the name of what fused attention returns: its matrix, which no operator returns."""


class AxesFollowed(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its hooks
    """Watches a pass of a module on one item.

    Args:
        batch: The item, ``[1, *item]``.
    """

    def __init__(self, batch: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.axes: dict[str, Axes] = {}
        self.parents: dict[str, tuple[str, ...]] = {}
        self.picks: list[Pick] = []
        self.mixing: set[str] = set()
        self.together: dict[str, str] = {}
        self._weighed: set[str] = set()
        self._entry = self._name(batch, (), ax.start("N" + "X" * (batch.ndim - 1), tuple(batch.shape[1:])))

    def lineage(self, names: Mapping[str, str]) -> Lineage:
        """What was seen; ``names`` says which tensor a layer is."""
        return Lineage(self._entry, self.parents, self.axes, tuple(self.picks), names, frozenset(self.mixing))

    def tensor(self, value: Any) -> str:
        """The name of a tensor that descends from the item; empty for any other."""
        mark = getattr(value, _MARK, None)
        return mark[1] if isinstance(mark, tuple) and mark[0] is self else ""

    def putting_together(self, value: Any) -> str:
        """The first operator on the way to a tensor that goes over the axis of the items; empty where none is seen to.

        It is said too often, for an axis of one item is folded into others unseen.
        """
        found, waiting = set[str](), [self.tensor(value)]
        while waiting:
            name = waiting.pop()
            if name and name not in found:
                found.add(name)
                waiting += self.parents.get(name, ())
        return next((operator for name, operator in self.together.items() if name in found), "")

    def weighed(self, value: Any) -> frozenset[str]:
        """The tensors that weights make of a tensor, or of what it is made of without weights: it is their feature."""
        made, found, waiting = set[str](), set[str](), [self.tensor(value)]
        while waiting:
            name = waiting.pop()
            if name and name not in made:
                made.add(name)
                waiting += () if name in self._weighed else self.parents.get(name, ())
        for name, parents in self.parents.items():
            if not made.isdisjoint(parents) or not found.isdisjoint(parents):
                if name in self._weighed or not found.isdisjoint(parents):
                    found.add(name)
                made.add(name)
        return frozenset(found)

    def axes_of(self, value: Any) -> Axes | None:
        """The axes of a tensor that descends from the item."""
        return self.axes.get(self.tensor(value))

    def _name(self, value: torch.Tensor, parents: tuple[str, ...], axes: Axes | None) -> str:
        name = f"%{len(self.parents)}"
        self.parents[name] = parents
        shape = tuple(int(n) for n in value.shape)
        fits = axes is not None and ax.shape_of(axes) == shape
        self.axes[name] = axes if fits and axes is not None else ax.unknown(shape)
        setattr(value, _MARK, (self, name))
        return name

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [one for one in tree_leaves((args, kwargs or {})) if isinstance(one, torch.Tensor)]
        live = tuple(dict.fromkeys(name for one in given if (name := self.tensor(one))))
        if live:
            self._follow(func, args, kwargs or {}, result, live)
        return result

    def _follow(self, func: Any, args: Any, kwargs: Any, result: Any, live: tuple[str, ...]) -> None:
        made = [one for one in tree_leaves(result) if isinstance(one, torch.Tensor)]
        call = Call(self, func, args, kwargs, made)
        try:
            found = axes_after(call)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
        ):  # a variant of an operator unlike others
            found = []
        together = _over_items(call)
        written = func._schema.is_mutable  # noqa: SLF001 - torch shows an operator's schema nowhere else
        if call.matrix is not None and made:
            name = f"%{len(self.parents)}{MATRIX}"
            self.parents[name], self.axes[name] = live, call.matrix
            live = (*live, name)
        others = (one for one in tree_leaves(call.given) if isinstance(one, torch.Tensor) and not self.tensor(one))
        weights = not call.pointwise and any(one.ndim > 1 and one.is_floating_point() for one in others)
        for k, one in enumerate(made):
            axes = found[k] if k < len(found) else None
            name = self._name(one, live, axes)
            if weights:
                self._weighed.add(name)
            if together:
                self.together[name] = str(func).rpartition(".")[0]
            base = one._base if written else None  # noqa: SLF001 - what a view that was written to is a view of
            if base is not None:
                self._name(base, tuple(filter(None, (self.tensor(base), name))), self.axes_of(base))

    def attention(self, result: torch.Tensor, shape: Sequence[int]) -> str:
        """The name of attention's matrix, from what attention returned.

        ``shape``, the batch left out, is what it is told apart as, where heads are folded into the batch.
        """
        name = self.tensor(result)
        inner = next((p for p in self.parents.get(name, ()) if p.endswith(MATRIX)), "")
        chosen = inner or name
        if not chosen:
            return ""
        axes = self.axes[chosen]
        if len(axes) < len(shape):
            self.axes[chosen] = ax.reshaped(axes, (ax.extent_of(axes[0]) // shape[0], *shape))
        if ax.mixes(axes[-1]):
            self.mixing.add(chosen)
        return chosen


def _over_items(call: Call) -> bool:
    try:
        return goes_over_items(call)
    except (AttributeError, LookupError, TypeError, ValueError):  # a variant of an operator unlike others
        return False
