"""The option ``features``: a maker's name with its own options, a label map, or groups of positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.core.declaring.options import Positive
from xplain.core.declaring.registry import FEATURES, features
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout
from xplain.core.query import View
from xplain.explainers.features import blocks, superpixels
from xplain.explainers.features.partition import Partition, numbered

__all__ = ["Features", "partition"]


_OF_SEVERAL = ("auto", "inputs")
"""What cuts a row of several inputs."""


@features("auto")
def auto(view: View, *, number: Positive = 50) -> Partition:
    """What fits the items: superpixels of a picture (cells where few), blocks of a volume, tokens, columns, time.

    Of several inputs each is cut for itself: pictures into cells, tokens and columns alone.

    Args:
        number: About how many features, for pictures, volumes and series.
    """
    layout = view.layout
    if view.outline.joined:
        pictures = sum(one.pictured for one in view.outline.joined)
        return blocks.inputs(view, cells=max(2, round((number / max(1, pictures)) ** 0.5)))
    if layout.is_volume:
        return blocks.grid(view, cells=max(1, round(number ** (1 / 3))))
    if layout.is_picture:
        side = int(np.sqrt(number))
        few = number < 16 or min(layout.plane) < 2 * side
        return blocks.grid(view, cells=min(side, *layout.plane)) if few else superpixels.slic(view, segments=number)
    if layout.channel_axis is not None:
        return blocks.segments(view, number=min(number, layout.map_shape[-1]))
    return blocks.columns(view) if layout.axes == "NS" else blocks.tokens(view)


@dataclass(frozen=True)
class _Spec:
    """What ``features`` accepts."""

    @property
    def accepts(self) -> str:
        return (
            f"one of {', '.join(maker.name for maker in FEATURES)}, with options as in 'slic:50,compactness=20', "
            "'grid:7x5', 'columns:0+1/4+5'; or an integer array of labels, in the shape of a map or of the items, -1 "
            "for never hidden"
        )

    @property
    def invalid(self) -> tuple[Any, ...]:
        return ("soup", "slic:0", "slic:colour=3", "grid:7,8", 3, np.zeros(3), "")

    def read(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "iu" or value.size == 0:
                raise ValueError
            return value
        if not isinstance(value, str):
            raise ValueError
        FEATURES.read(value)
        return value


Features: TypeAlias = Annotated[Any, _Spec()]


def partition(view: View, asked: Any) -> Partition:
    """The partition of the view's items that the option ``features`` asks for.

    Raises:
        UsageError: it does not fit the items, or leaves nothing to switch off.
    """
    if isinstance(asked, np.ndarray):
        found = _given(view, asked)
    else:
        maker, options = FEATURES.read(asked)
        if view.outline.joined and maker.name not in _OF_SEVERAL:
            raise UsageError(
                f"features {maker.name!r} cut one input, and an item is a row of {len(view.outline.joined)}. Use ",
                option("features", "inputs:cells=4"),
                ", or an array of labels.",
            )
        found = maker.function(view, **options)
    if any(int(found.of(n).max()) < 0 for n in range(len(view.x))):
        raise UsageError("The label map has no feature: all labels are negative, which means never hidden.")
    return found


def _given(view: View, labels: Array) -> Partition:
    """A caller's own labels, for positions or for elements, shared or per item."""
    shapes: list[tuple[tuple[int, ...], bool, bool]] = []
    if isinstance(view.found, Layout):  # labels by element need no layout
        cells = view.found.map_shape
        shapes += [(cells, False, False), ((len(view.x), *cells), True, False)]
    shapes += [(view.x.shape[1:], False, True), (view.x.shape, True, True)]
    for shape, per_item, whole in shapes:
        if labels.shape == shape:
            own = np.stack([numbered(one) for one in labels]) if per_item else numbered(labels)
            return Partition(own, per_item, whole)
    wanted = " or ".join(str(list(shape)) for shape, _, _ in shapes)
    raise UsageError(f"The label map is {list(labels.shape)}; accepted for these items: {wanted}.")
