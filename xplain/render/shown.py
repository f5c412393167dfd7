"""What a renderer may know of a result: numbers, pictures and words, whatever object holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from xplain.core.caveat import Caveat
from xplain.core.cost import Cost
from xplain.core.edits import Array
from xplain.core.items import Columns, Passage
from xplain.core.positions.coordinates import Coordinates

__all__ = ["Kind", "Shown", "axes_of", "kind_by", "kind_of"]

Kind: TypeAlias = Literal["text", "row", "series", "spectrogram", "picture", "volume"]
"""What an item is, for one who looks at it."""


class Shown(Protocol):
    """Values of N items to be shown; ``xplain.results.Attribution`` is one, and says what each means."""

    @property
    def method(self) -> str:
        """Name of the method."""

    @property
    def unit(self) -> str:
        """What one unit of value means."""

    @property
    def signed(self) -> bool:
        """Whether the sign carries meaning."""

    @property
    def values(self) -> Array:
        """``[N, ...]``."""

    @property
    def error(self) -> Array | None:
        """Standard error of each value, or None."""

    @property
    def base(self) -> Array | None:
        """What values are relative to, ``[N]``, or None."""

    @property
    def scores(self) -> Array:
        """The target's value for each item, ``[N]``."""

    @property
    def resolution(self) -> tuple[int, ...] | None:
        """True cells behind a map that was enlarged, or None."""

    @property
    def pictures(self) -> Array | None:
        """uint8 ``[N, H, W, 3]``, or None."""

    @property
    def rows(self) -> Array | None:
        """float64 ``[N, S]``, or None."""

    @property
    def signals(self) -> Array | None:
        """float32 ``[N, *item]``: the items, where they are series with channels, volumes or video; or None."""

    @property
    def coordinates(self) -> Coordinates:
        """What the axes of the items measure."""

    @property
    def each(self) -> Mapping[str, Any]:
        """Facts of each item."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts of the run."""

    @property
    def columns(self) -> Columns | None:
        """Names and values of columns, for rows of a table."""

    @property
    def texts(self) -> Sequence[Passage]:
        """Texts, one per item, if the items are texts."""

    @property
    def layout(self) -> str:
        """How the axes of the items were read; empty where it was not needed."""

    @property
    def warnings(self) -> Sequence[Caveat]:
        """What must be known before the values are believed."""

    @property
    def said(self) -> Sequence[str]:
        """The same as texts for a person."""

    @property
    def cost(self) -> Cost:
        """What it cost."""

    @property
    def target(self) -> str:
        """What was explained, in words."""

    @property
    def names(self) -> Sequence[str]:
        """What each item is called; empty for its number."""

    def by_input(self) -> Mapping[str, Shown]:
        """One per input, where several inputs were explained at once; else empty."""

    def target_of(self, item: int, /) -> str:
        """What was explained of one item, in words."""

    def name_of(self, item: int, /) -> str:
        """What an item is called."""

    def __len__(self) -> int: ...

    def __getitem__(self, item: int, /) -> Shown: ...


def kind_of(shown: Shown) -> Kind:
    """What the items are: from what was kept of them, and for maps from how their axes were read."""
    axes = axes_of(shown)
    return kind_by(axes, shown.coordinates, bool(shown.texts), shown.columns is not None, shown.values.ndim)


def kind_by(axes: str, told: Coordinates, texts: bool, columns: bool, extents: int) -> Kind:
    """The same of what is known of items.

    Args:
        axes: The letters of their axes, batch first.
        told: What these measure.
        texts: Whether they are texts.
        columns: Whether they have the columns of a table.
        extents: Axes of what is shown of them, with the batch.
    """
    if texts:
        return "text"
    if told.kind == "spectrogram":
        return "spectrogram"
    if not columns and "T" in axes and not {"H", "D"} & set(axes):
        return "series"
    if extents == 2:
        return "row"
    return "volume" if extents > 3 and len(axes.replace("C", "")) > 3 else "picture"


def axes_of(shown: Shown) -> str:
    """The letters of the items' axes, batch first; empty where they were not needed."""
    return shown.layout.partition(" ")[0]
