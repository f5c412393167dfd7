"""What of given photographs excites units of a layer most: the patches that stand beside pictures made for them."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from xplain.core.edits import Array
from xplain.core.positions.layout import Layout
from xplain.core.query import Answer, Query
from xplain.core.synthesis.commission import Commission
from xplain.explainers.see.crops import Sight, cut
from xplain.explainers.synthesis.features import as_pixels, features_of

__all__ = ["best_patches"]


def best_patches(
    commission: Commission, layer: str, units: Sequence[int], count: int
) -> Generator[Query, Answer, tuple[Array, Array]]:
    """The patches of photographs, side by side, that excite each unit most, and the unit's largest values.

    A patch is what the unit sees around the place of its largest value in a photograph, one of each.

    Args:
        commission: Its pictures ``photographs``, of the size that the model takes.
        layer: The layer.
        units: Numbers of its channels.
        count: Patches of each unit, at most.

    Returns:
        uint8 ``[U, h, k w, 3]``, and ``[U]``.
    """
    photographs = commission.stacked("photographs")
    values = (yield from features_of(commission, photographs, (layer,)))[layer]
    last = commission.ink.last
    item = photographs.shape[1:] if not last else (*photographs.shape[2:], photographs.shape[1])
    layout, known = Layout("NHWC" if last else "NCHW", item), commission.outline.fields
    field = None if known is None else known(layer, layout)
    field = field if field is not None and tuple(field.shape) == values.shape[1:] else None
    channel = values.ndim - 2 if last else 0
    channel = field.channel if field is not None and field.channel is not None else channel
    flat = np.moveaxis(values, channel + 1, 1)
    flat = flat.reshape(*flat.shape[:2], -1)
    sight, shown = Sight(layer, layout, field), as_pixels(photographs)
    sizes = [sight.size(unit) for unit in units]
    size = (max(high for high, _ in sizes), max(wide for _, wide in sizes))
    rows, largest = [], []
    for unit in units:
        best = flat[:, unit].max(axis=1)
        order = np.argsort(-best, kind="stable")[:count]
        boxes = [sight.box(unit, int(flat[n, unit].argmax())) for n in order]
        rows.append(np.concatenate([cut(shown[n], box, size) for n, box in zip(order, boxes, strict=True)], axis=1))
        largest.append(best[order[0]])
    return np.stack(rows), np.asarray(largest, np.float64)
