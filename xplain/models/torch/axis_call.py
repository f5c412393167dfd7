"""What a rule on axes is given: one operator of the dispatcher with its arguments, and what is known of their axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from xplain.core.positions import axes as ax
from xplain.core.positions.axes import Axes
from xplain.core.positions.lineage import Pick

__all__ = ["Call", "Trail", "tree_leaves"]


class Trail(Protocol):
    """What was found on the way through a module; ``xplain.models.torch.follow.AxesFollowed`` is one."""

    parents: dict[str, tuple[str, ...]]
    picks: list[Pick]

    def axes_of(self, value: Any) -> Axes | None:
        """The axes of a tensor that descends from the item."""


def tree_leaves(value: Any) -> list[Any]:
    """All that is neither a mapping nor a sequence in nested ones."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return [leaf for part in value for leaf in tree_leaves(part)] if isinstance(value, (tuple, list)) else [value]


class Call:
    """One operator with its arguments."""

    def __init__(self, seen: Trail, func: Any, args: Any, kwargs: Any, made: Sequence[torch.Tensor]) -> None:
        self.seen, self.made = seen, made
        self.op = str(func.overloadpacket.__name__).rstrip("_")
        self.pointwise = torch.Tag.pointwise in func.tags
        names = [one.name for one in func._schema.arguments]  # noqa: SLF001
        self.given: dict[str, Any] = {one.name: one.default_value for one in func._schema.arguments}  # noqa: SLF001
        self.given |= dict(zip(names, args, strict=False)) | dict(kwargs)
        self.first: Any = next(iter(self.given.values()), None)
        self.matrix: Axes | None = None

    def axes(self, value: Any) -> Axes | None:
        """The axes of an argument that descends from the item."""
        return self.seen.axes_of(value)

    @property
    def own(self) -> Axes:
        """The axes of the first argument."""
        found = self.axes(self.first)
        if found is None:
            raise ValueError("the first argument does not descend from the item")
        return found

    @property
    def out(self) -> tuple[int, ...]:
        """The shape of the first result."""
        return tuple(int(n) for n in self.made[0].shape)

    @property
    def live(self) -> list[Axes]:
        """The axes of all arguments that descend from the item."""
        leaves = [one for one in tree_leaves(list(self.given.values())) if isinstance(one, torch.Tensor)]
        return [axes for one in leaves if (axes := self.axes(one)) is not None]

    def place(self, name: str = "dim") -> int:
        """An axis that is given as a number, from the front."""
        return int(self.given[name]) % max(len(self.own), 1)

    def note(self, axis: int, index: int | None) -> None:
        """Say that of a token axis one element is read on, or a mean."""
        if self.made and ax.positional(self.own[axis]):
            name = f"%{len(self.seen.parents)}"
            self.seen.picks.append(Pick(name, ax.extent_of(self.own[axis]), index))
