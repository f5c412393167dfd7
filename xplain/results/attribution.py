"""An attribution: raw signed values of each item's parts, for one target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import CardError
from xplain.core.items import Columns, Passage
from xplain.core.keeping.plain import plain
from xplain.core.positions.coordinates import UNSTATED, Coordinates
from xplain.core.segments import INPUTS
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, null_or, object_of, text, truth, whole
from xplain.results.inputs import cut_up
from xplain.results.result import ARRAY_PER_ITEM, PER_ITEM, Result

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Attribution"]

_SPANS = list_of(lambda value: isinstance(value, list) and len(value) == 2 and all(map(whole, value)))


def _cells(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (2, 3) and all(whole(n) and n for n in value)


def _coordinates(value: Any) -> bool:
    try:
        Coordinates.from_dict(value)
    except CardError:
        return False
    return True


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution(Result):
    """Raw signed attributions of N items to one target; never rescaled, scaling happens at drawing.

    Args:
        values: float32 ``[N, H, W]`` for pictures (``[N, C, H, W]`` with channels), ``[N, S]`` for tables.
        unit: What one unit of value means, such as ``"delta logit when hidden"``.
        scores: The target's value for each untouched item, float64 ``[N]``.
        error: Standard error of each value, same shape, or None for a method that does not sample.
        base: What values are relative to, ``[N]``, or None.
        signed: Whether the sign carries meaning.
        resolution: True cells (rows, columns), of volumes (slices, rows, columns), behind a map that was enlarged; or
            None.
        pictures: uint8 ``[N, H, W, 3]``, what the model saw, for drawing; or None.
        rows: float64 ``[N, S]``, the numbers of the items where each is a row of S of them; or None.
        columns: Names and values of the S columns, if the items are rows of a table.
        texts: The texts and where their features lie, one per item, if the items are texts; the values beyond a
            text's own features belong to longer texts and mean nothing.
        signals: float32 ``[N, *item]``, the items themselves where they are series with channels, volumes or video, for
            drawing; None for others, and for items above 64 MiB.
        coordinates: What the axes of the items measure, as the card stated it.
    """

    what: ClassVar[str] = "attribution"
    coloured: ClassVar[bool] = True
    checks: ClassVar[Mapping[str, Check]] = {
        "unit": ("a text", text),
        "signed": ("true or false", truth),
        "resolution": ("null, [rows, columns] or [slices, rows, columns]", null_or(_cells)),
        "columns": (
            "null, or names and rows of texts",
            null_or(object_of(("names", "values"), names=list_of(text), values=list_of(list_of(text)))),
        ),
        "coordinates": ("an object as a card's table [coordinates]", _coordinates),
        "texts": ("a list of texts with spans", list_of(object_of(("text", "spans"), text=text, spans=_SPANS))),
    }

    values: Array = field(metadata=ARRAY_PER_ITEM)
    unit: str
    scores: Array = field(metadata=ARRAY_PER_ITEM)
    error: Array | None = field(default=None, metadata=ARRAY_PER_ITEM)
    base: Array | None = field(default=None, metadata=ARRAY_PER_ITEM)
    signed: bool = True
    resolution: tuple[int, ...] | None = None
    pictures: Array | None = field(default=None, metadata=ARRAY_PER_ITEM)
    rows: Array | None = field(default=None, metadata=ARRAY_PER_ITEM)
    columns: Columns | None = field(default=None, metadata=PER_ITEM)
    texts: tuple[Passage, ...] = field(default=(), metadata=PER_ITEM)
    signals: Array | None = field(default=None, metadata=ARRAY_PER_ITEM)
    coordinates: Coordinates = UNSTATED

    def by_input(self) -> dict[str, Self]:
        """One attribution per input, for a model of several inputs that were explained at once; else empty.

        Each has its own map, and its own picture or columns; values of all are in one unit, and add up together.
        """
        return cut_up(self)

    def overlay(self, item: int = 0, **drawing: Any) -> Image:
        """The map of one item over its picture, with a colour bar; see ``xplain.render.draw`` for ``drawing``.

        Of several inputs their maps, side by side on one scale.
        """
        drawn: Image = self.render("figure" if INPUTS not in self.facts else "inputs", item=item, **drawing)
        return drawn

    def to_shap(self) -> Any:
        """The same numbers as a ``shap.Explanation``, for shap's own plots."""
        return self.render("shap")

    def sentence(self, item: int = 0) -> str:
        """What the values of one item show, and how sure they are, in words; see ``xplain.render.sentence``."""
        return str(self.render("sentence", item=item))

    def plot(self, kind: str = "auto", **drawing: Any) -> Any:
        """A matplotlib figure: waterfall, beeswarm, heat map ...; see ``xplain.render.plots.plot``."""
        return self.render("plot", kind=kind, **drawing)

    def to_frame(self) -> Any:
        """The values as a ``pandas.DataFrame``; see ``xplain.render.frame.to_frame``."""
        return self.render("frame")

    def slider(self, other: Self | None = None, **drawing: Any) -> Any:
        """A map over its picture, or over another map, with an edge to drag; shows itself in a notebook."""
        return self.render("slider", other=other, **drawing)

    def _repr_html_(self) -> str:
        return str(self.render("html"))

    def __str__(self) -> str:
        """Coloured words, or a table, where the items are texts or rows; else as ``repr``. Then what must be known."""
        chosen = [plain(str(self.facts["method chosen"]))] if "method chosen" in self.facts else []
        if self.columns is not None or self.texts:
            return "\n".join([str(self.render("text")), *chosen])
        return "\n".join([repr(self), *chosen, *(plain(f"warning: {text}") for text in self.said)])

    def __repr__(self) -> str:
        return (
            f"<Attribution {self.method} of {self.target!r}: values {list(self.values.shape)}, {self.unit}, "
            f"{self.cost.asked}, {self.cost.seconds:.2f} s>"
        )

    @classmethod
    def made(cls, given: dict[str, Any]) -> Self:
        """An attribution with these fields; tuples, columns and texts are still lists and mappings."""
        cells = given.get("resolution")
        columns = Columns.from_dict(given.get("columns"))
        texts = tuple(Passage.from_dict(one) for one in given.get("texts", ()))
        axes = Coordinates.from_dict(given.get("coordinates") or {})
        own = {"resolution": tuple(cells) if cells else None, "columns": columns, "texts": texts, "coordinates": axes}
        return cls(**{**given, **own})

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of items; holds the arrays, columns and texts against the values.

        Raises:
            Fault: one is missing, of another type or shape than it must have, or not finite.
        """
        values = _checked(arrays)
        cells = meta.get("resolution") or ()
        if len(cells) == 3 and values.ndim < 4:
            raise Fault(f"its field 'resolution' has {len(cells)} numbers for values {list(values.shape)}")
        columns = meta.get("columns")
        if columns is not None:
            rows, width = columns["values"], len(columns["names"])
            wide = values.ndim == 2 and values.shape[1] == width
            if not wide or len(rows) not in (0, len(values)) or any(len(row) != width for row in rows):
                raise Fault(
                    f"its field 'columns' does not fit values {list(values.shape)}: a name and a text per column"
                )
        for one in meta.get("texts", ()):
            spans = one["spans"]
            inside = all(0 <= start <= stop <= len(one["text"]) for start, stop in spans)
            if values.ndim != 2 or len(spans) > values.shape[1] or not inside:
                raise Fault(f"its field 'texts' does not fit values {list(values.shape)}: spans lie inside their text")
        return len(values)


def _checked(arrays: Mapping[str, Array]) -> Array:
    """The values, when all arrays fit them."""
    for name in ("values", "scores"):
        if name not in arrays:
            raise Fault(f"it holds no {name}")
    values = arrays["values"]
    if values.dtype.kind != "f" or values.ndim < 2 or values.size == 0:
        raise Fault(f"its values are {values.dtype} {list(values.shape)}; real numbers [N, ...] are needed")
    count = len(values)
    shapes = {"error": values.shape, "scores": (count,), "base": (count,), "rows": values.shape}
    for name, shape in shapes.items():
        if name in arrays and (arrays[name].dtype.kind != "f" or arrays[name].shape != shape):
            got = f"{arrays[name].dtype} {list(arrays[name].shape)}"
            raise Fault(
                f"its {name} is {got}; real numbers {list(shape)} are needed beside values {list(values.shape)}"
            )
    signals = arrays.get("signals")
    if signals is not None and (signals.dtype != np.float32 or signals.ndim < 2 or len(signals) != count):
        raise Fault(f"its signals are {signals.dtype} {list(signals.shape)}; float32 [{count}, ...] are needed")
    for name in ("values", "scores", "base", "signals"):
        if name in arrays and not np.isfinite(arrays[name]).all():
            raise Fault(f"its {name} holds NaN or infinity")
    pictures = arrays.get("pictures")
    if pictures is not None and (
        pictures.dtype != np.uint8 or pictures.ndim != 4 or len(pictures) != count or pictures.shape[3] != 3
    ):
        got = f"{pictures.dtype} {list(pictures.shape)}"
        raise Fault(f"its pictures are {got}; uint8 [{count}, H, W, 3] are needed")
    return values
