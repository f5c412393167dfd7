"""A gallery: what units of a model see, hold or prefer, cell by cell, with the numbers behind every picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xplain.core.edits import Array
from xplain.core.keeping.plain import counted
from xplain.core.lenses.cells import Cells, Contrast, Form, Look
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, one_of, text, texts_by_name, truth
from xplain.results.result import ARRAY_PER_ITEM, PER_ITEM, Result

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Gallery"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery(Result):
    """N cells of a lens; ``names`` says which item each comes from. Raw numbers: scaling happens at drawing.

    Args:
        title: What a person reads above it.
        unit: What one unit of ``values`` means, such as ``"activation"``.
        units: What each cell shows, such as ``"fire5[12]"``.
        values: How strongly, float64 ``[N]``; NaN where there is no such number.
        captions: What stands below each.
        sections: The heading above each, such as its layer's name; cells of one section follow one another.
        boxes: ``[N, 4]``: (y0, x0, y1, x1), half open, where each lies in its item's picture, in pixels as the model
            sees it.
        pictures: uint8 ``[N, H, W, 3]``: photographs, or parts of them, each at the upper left; or None.
        sizes: ``[N, 2]``: rows and columns of each that mean something.
        maps: float32 ``[N, M, h, w, d]``: raw numbers in d = 1 or 3 (red, green, blue) channels; or None.
        map_sizes: ``[N, 2]``: rows and columns of each that mean something.
        map_names: What the M maps of a cell are called.
        form: Cells on a ``grid``, or in ``rows``, one per unit.
        look: How maps are meant to be drawn.
        boxed: Whether boxes are drawn on the pictures, which are whole then.
        overlaid: Whether maps are laid over the pictures, in rows too, rather than set below them.
        contrast: Whether maps are meant to be drawn each on a scale of its own, of its unit's, or on one for all.
        about: What stands beside a unit, by its name.
    """

    what: ClassVar[str] = "gallery"
    made_of: ClassVar[type[Any] | None] = Cells
    checks: ClassVar[Mapping[str, Check]] = {
        **dict.fromkeys(("title", "unit"), ("a text", text)),
        **dict.fromkeys(("units", "captions", "sections", "map_names"), ("a list of texts", list_of(text))),
        "form": ("grid or rows", one_of("grid", "rows")),
        "look": ("grey, heat, colour, signed or line", one_of("grey", "heat", "colour", "signed", "line")),
        "contrast": ("cell, unit or shared", one_of("cell", "unit", "shared")),
        **dict.fromkeys(("boxed", "overlaid"), ("true or false", truth)),
        "about": ("an object of texts", texts_by_name),
    }

    title: str
    unit: str
    units: tuple[str, ...] = field(metadata=PER_ITEM)
    values: Array = field(metadata=ARRAY_PER_ITEM)
    captions: tuple[str, ...] = field(default=(), metadata=PER_ITEM)
    sections: tuple[str, ...] = field(default=(), metadata=PER_ITEM)
    boxes: Array = field(metadata=ARRAY_PER_ITEM)
    pictures: Array | None = field(default=None, metadata=ARRAY_PER_ITEM)
    sizes: Array = field(metadata=ARRAY_PER_ITEM)
    maps: Array | None = field(default=None, metadata=ARRAY_PER_ITEM)
    map_sizes: Array = field(metadata=ARRAY_PER_ITEM)
    map_names: tuple[str, ...] = ()
    form: Form = "grid"
    look: Look = "grey"
    boxed: bool = False
    overlaid: bool = False
    contrast: Contrast = "cell"
    about: Mapping[str, str] = field(default_factory=dict)

    def picture(self, cell: int) -> Array | None:
        """The photograph of one cell, uint8 ``[h, w, 3]``; None where it has none."""
        rows, columns = self.sizes[cell]
        return None if self.pictures is None or not rows else np.asarray(self.pictures[cell, :rows, :columns])

    def map(self, cell: int, name: str = "") -> Array | None:
        """Raw numbers of one cell, ``[h, w, d]``: of the map called so, or the first; None where it has none."""
        rows, columns = self.map_sizes[cell]
        which = self.map_names.index(name) if name else 0
        return None if self.maps is None or not rows else np.asarray(self.maps[cell, which, :rows, :columns])

    def of_unit(self, unit: str) -> list[int]:
        """The cells of one unit, in order."""
        return [n for n, one in enumerate(self.units) if one == unit]

    def sheet(self, **drawing: Any) -> Image:
        """All cells as one picture; see ``xplain.render.sheet`` for ``drawing``."""
        drawn: Image = self.render("sheet", **drawing)
        return drawn

    def __repr__(self) -> str:
        cells, asked = counted(len(self), "cell"), counted(self.cost.queries, "query", "queries")
        return f"<Gallery {self.method}: {self.title}; {cells}, {asked}>"

    def __str__(self) -> str:
        return "\n".join([repr(self), *(f"warning: {one}" for one in self.said)])

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of cells; holds the arrays against one another.

        Raises:
            Fault: one is missing, or of another type or shape than it must have.
        """
        for name in ("values", "boxes", "sizes", "map_sizes"):
            if name not in arrays:
                raise Fault(f"it holds no {name}")
        values = arrays["values"]
        if values.dtype.kind != "f" or values.ndim != 1:
            raise Fault(f"its values are {values.dtype} {list(values.shape)}; real numbers [N] are needed")
        count, maps = len(values), len(meta.get("map_names", ()))
        for name, width in (("boxes", 4), ("sizes", 2), ("map_sizes", 2)):
            _whole(name, arrays[name], (count, width))
        _inside("pictures", arrays.get("pictures"), arrays["sizes"], count, ("u", (3,)))
        _inside("maps", arrays.get("maps"), arrays["map_sizes"], count, ("f", (1, 3)), maps)
        return count

    @classmethod
    def made(cls, given: dict[str, Any]) -> Gallery:
        """A gallery with these fields; tuples are still lists."""
        lists = ("units", "captions", "sections", "map_names")
        return cls(**{**given, **{name: tuple(given.get(name, ())) for name in lists}})


def _whole(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.dtype.kind != "i" or array.shape != shape:
        raise Fault(f"its {name} are {array.dtype} {list(array.shape)}; whole numbers {list(shape)} are needed")


def _inside(
    name: str, array: Array | None, sizes: Array, count: int, kinds: tuple[str, Sequence[int]], maps: int | None = None
) -> None:
    """What is drawn must be there for the sizes that are said of it."""
    kind, depths = kinds
    if array is None:
        if sizes.any():
            raise Fault(f"it has sizes of {name}, and holds none")
        return
    lead = (count,) if maps is None else (count, maps)
    rows = array.shape[len(lead) : -1]
    fits = array.shape[: len(lead)] == lead and len(rows) == 2 and array.shape[-1] in depths
    if array.dtype.kind != kind or not fits:
        raise Fault(f"its {name} are {array.dtype} {list(array.shape)}, which does not fit {count} cells")
    if (sizes < 0).any() or (sizes > np.array(rows)).any():
        raise Fault(f"its {name} are {list(array.shape)}, and sizes beyond that are said of some")
    if kind == "f" and not np.isfinite(array).all():
        raise Fault(f"its {name} hold NaN or infinity")
