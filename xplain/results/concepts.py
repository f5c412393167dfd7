"""Concepts: directions of a layer that a class's pictures are made of, what shows each, and how much each matters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from xplain.core.edits import Array
from xplain.core.keeping.plain import counted
from xplain.core.lenses.concepts import Concepts as Found
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, text
from xplain.results.fitting import Need, fit
from xplain.results.result import ARRAY, ARRAY_PER_ITEM, PER_ITEM, Result

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Concepts"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Concepts(Result):
    """K concepts, the most important first; those that one splits into follow it. ``names`` are theirs.

    Args:
        layers: The layer that each is a direction of.
        importance: float64 ``[K]``: total Sobol index, the share of the score's variance that is lost without it.
        error: float64 ``[K]``: its standard error.
        effect: float64 ``[K]``: how much the score falls, in ``unit``, when the concept alone is taken away.
        effect_error: float64 ``[K]``: its standard error.
        bank: float32 ``[K, D]``: each concept as an activation of length 1, filled up with zeros where layers differ.
        crops: uint8 ``[K, B, s, s, 3]``: the parts of pictures that hold most of it.
        crop_values: float64 ``[K, B]``: how much, in the layer's unit; NaN for a crop that is not there.
        crop_boxes: int64 ``[K, B, 4]``: (y0, x0, y1, x1), half open, in pixels as the model sees the picture.
        crop_items: int64 ``[K, B]``: the picture's place in ``items``; -1 for a crop that is not there.
        maps: float32 ``[K, P, h, w]``: how much of each concept every position of P pictures holds.
        map_sizes: int64 ``[K, 2]``: rows and columns of a concept's maps that mean something.
        shown: uint8 ``[P, s, s, 3]``: these pictures.
        shown_items: int64 ``[P]``: their places in ``items``.
        items: What all pictures of the class are called.
        unit: The unit of ``effect``.
    """

    what: ClassVar[str] = "concepts"
    made_of: ClassVar[type[Any] | None] = Found
    checks: ClassVar[Mapping[str, Check]] = {
        **dict.fromkeys(("layers", "items"), ("a list of texts", list_of(text))),
        "unit": ("a text", text),
    }

    layers: tuple[str, ...] = field(metadata=PER_ITEM)
    importance: Array = field(metadata=ARRAY_PER_ITEM)
    error: Array = field(metadata=ARRAY_PER_ITEM)
    effect: Array = field(metadata=ARRAY_PER_ITEM)
    effect_error: Array = field(metadata=ARRAY_PER_ITEM)
    bank: Array = field(metadata=ARRAY_PER_ITEM)
    crops: Array = field(metadata=ARRAY_PER_ITEM)
    crop_values: Array = field(metadata=ARRAY_PER_ITEM)
    crop_boxes: Array = field(metadata=ARRAY_PER_ITEM)
    crop_items: Array = field(metadata=ARRAY_PER_ITEM)
    maps: Array = field(metadata=ARRAY_PER_ITEM)
    map_sizes: Array = field(metadata=ARRAY_PER_ITEM)
    shown: Array = field(metadata=ARRAY)
    shown_items: Array = field(metadata=ARRAY)
    items: tuple[str, ...]
    unit: str

    def map(self, concept: int, picture: int) -> Array:
        """How much of a concept every position of a shown picture holds, ``[h, w]``."""
        rows, columns = self.map_sizes[concept]
        return self.maps[concept, picture, :rows, :columns]

    def sheet(self, **drawing: Any) -> Image:
        """Concepts with their crops and bars, and pictures in their colours; see ``xplain.render.concepts``."""
        drawn: Image = self.render("concepts", **drawing)
        return drawn

    def __repr__(self) -> str:
        asked = counted(self.cost.queries, "query", "queries")
        pictures = counted(len(self.items), "picture")
        head = f"concepts of {self.facts.get('class', '')!r}: {len(self)} of {pictures}, {asked}"
        rows = zip(self.names, self.importance, self.error, self.effect, self.effect_error, strict=True)
        lines = [
            f"{name}: importance {value:.3f} ± {1.96 * error:.3f}, {effect:+.3g} ± {1.96 * spread:.2g} {self.unit}"
            for name, value, error, effect, spread in rows
        ]
        return "\n".join([head, *lines])

    def __str__(self) -> str:
        return "\n".join([repr(self), *(f"warning: {one}" for one in self.said)])

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of concepts; holds the arrays against one another.

        Raises:
            Fault: one is missing, or of another type or shape than it must have.
        """
        each: Need = ("f", ("K",))
        needs: dict[str, Need] = {
            **dict.fromkeys(("importance", "error", "effect", "effect_error"), each),
            "bank": ("f", ("K", "D")),
            "crops": ("u", ("K", "B", "s", "s", 3)),
            "crop_values": ("f", ("K", "B")),
            "crop_boxes": ("i", ("K", "B", 4)),
            "crop_items": ("i", ("K", "B")),
            "maps": ("f", ("K", "P", "h", "w")),
            "map_sizes": ("i", ("K", 2)),
            "shown": ("u", ("P", "t", "t", 3)),
            "shown_items": ("i", ("P",)),
        }
        found = fit(arrays, needs, gaps=("crop_values",))
        count = len(meta.get("items", ()))
        for name, least in (("crop_items", -1), ("shown_items", 0)):
            if arrays[name].size and (arrays[name].min() < least or arrays[name].max() >= count):
                raise Fault(f"its {name} are no places among {count} pictures")
        sizes = arrays["map_sizes"]
        if sizes.size and ((sizes < 0).any() or (sizes > arrays["maps"].shape[2:]).any()):
            raise Fault("its map_sizes are larger than its maps")
        return found["K"]

    @classmethod
    def made(cls, given: dict[str, Any]) -> Self:
        """Concepts with these fields; tuples are still lists."""
        return cls(**{**given, **{name: tuple(given.get(name, ())) for name in ("layers", "items")}})
