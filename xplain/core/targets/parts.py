"""Some elements of a tensor, row by row: what functions of a target are computed of.

output("masks")[2]             Part("masks", (2,))                 channel 2, all its positions
output("boxes")[7, 0:4]        Part("boxes", (7, (0, 4)))          four numbers of row 7
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.core.targets.leaves import SCORES, per_row

__all__ = ["INPUT", "Cut", "Part"]

INPUT = "input"
"""The name under which a target reads the item itself, as the model is given it."""

Cut: TypeAlias = "int | tuple[int | None, int | None]"
"""One place of an axis, which the axis is dropped for, or ``(start, stop)`` of it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Elements of a tensor.

    Args:
        tensor: Its name; ``SCORES`` for the scores, ``INPUT`` for the item.
        place: Which elements, axis by axis behind the batch; axes that are not named are read whole.
        turned: Whether the last two axes change places, as for rows that lie in columns.
    """

    tensor: str
    place: tuple[Cut, ...] = ()
    turned: bool = False

    def read(self, values: Any, xp: Any) -> Any:
        """The elements of ``values`` ``[R, ...]``, of any kind of array; ``xp`` has the functions for it.

        Raises:
            UsageError: the tensor has no such place.
        """
        self.check(values.shape)
        if self.tensor == SCORES and len(values.shape) > 2:
            first = values.shape[0]
            values = xp.reshape(values, (first if isinstance(first, int) else None, -1))
        bounds = [(cut, cut + 1 or None) if isinstance(cut, int) else cut for cut in self.place]
        found = values[(slice(None), *(slice(*bound) for bound in bounds))]
        single = tuple(axis for axis, cut in enumerate(self.place, 1) if isinstance(cut, int))
        found = xp.squeeze(found, axis=single) if single else found
        if not self.turned:
            return found
        rank = len(found.shape)
        return xp.permute_dims(found, (*range(rank - 2), rank - 1, rank - 2))

    def check(self, shape: Any) -> None:
        """Whether a tensor of this shape, batch first, has the place; extents that are not known are let pass.

        Raises:
            UsageError: it has not.
        """
        inside = tuple(shape[1:])
        if len(self.place) > len(inside):
            raise UsageError(
                f"Tensor {self.tensor!r} is {per_row(shape)}: {self.text()} names "
                f"{counted(len(self.place), 'axis', 'axes')} behind the "
                f"batch, and it has {len(inside)}."
            )
        for axis, (cut, extent) in enumerate(zip(self.place, inside, strict=False), 1):
            if not isinstance(extent, int):
                continue
            start, stop, _ = slice(*((cut, cut + 1 or None) if isinstance(cut, int) else cut)).indices(extent)
            if start >= stop or (isinstance(cut, int) and not -extent <= cut < extent):
                raise UsageError(
                    f"Tensor {self.tensor!r} is {per_row(shape)}: {self.text()} reads nothing of axis {axis}, which "
                    f"has places 0 to {extent - 1}."
                )

    def text(self) -> str:
        """As a person writes it: ``boxes[7, 0:4]``."""
        name = self.tensor or "scores"
        if not self.place:
            return name
        return f"{name}[{', '.join(map(_written, self.place))}]"

    def data(self) -> dict[str, Any]:
        """The part as strings, numbers and lists; ``Part.of`` reads it back."""
        told: dict[str, Any] = {"part": self.tensor}
        if self.place:
            told["place"] = [cut if isinstance(cut, int) else list(cut) for cut in self.place]
        if self.turned:
            told["turned"] = True
        return told

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Part:
        """The part that ``data`` told.

        Raises:
            UsageError: it is none.
        """
        try:
            place = tuple(_cut(one) for one in told.get("place", ()))
            return cls(str(told["part"]), place, bool(told.get("turned", False)))
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"This is no part of a tensor: {told!r:.200}.") from error


def _cut(told: Any) -> Cut:
    if isinstance(told, int) and not isinstance(told, bool):
        return told
    start, stop = (None if end is None else int(end) for end in told)
    return start, stop


def _written(cut: Cut) -> str:
    if isinstance(cut, int):
        return str(cut)
    start, stop = ("" if end is None else str(end) for end in cut)
    return f"{start}:{stop}"
