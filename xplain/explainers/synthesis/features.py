"""What layers hold of given pictures, read through the same door as the slopes that follow."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Answer, Query
from xplain.core.synthesis.canvas import Pixels
from xplain.core.synthesis.commission import Commission
from xplain.core.synthesis.objective import Objective
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.core.synthesis.terms import Energy

__all__ = ["as_pixels", "features_of", "layers_named"]


def layers_named(commission: Commission, names: tuple[str, ...]) -> tuple[str, ...]:
    """The layers that a person named, by their whole names.

    Raises:
        UsageError: none was named.
        UnknownName: one that is short for several layers.
    """
    if not names or names == ("",):
        some = [layer.name for layer in commission.outline.layers if layer.weighted or len(layer.shape) == 4]
        middle = some[len(some) // 3 : len(some) // 3 + 3]
        raise UsageError(
            "It has to be said which layer is looked at: give ",
            option("layer", "NAME"),
            f", such as {middle[0]!r}." if middle else ".",
        )
    return tuple(commission.outline.layer_meant(name) for name in names)


def as_pixels(pictures: Array) -> Array:
    """Pictures ``[N, C, H, W]`` in 0..1 as they are shown, uint8 ``[N, H, W, 3]``."""
    whole = np.rint(np.clip(pictures, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(np.broadcast_to(whole, (*whole.shape[:3], 3)))


def features_of(
    commission: Commission, pictures: Array, layers: tuple[str, ...]
) -> Generator[Query, Answer, dict[str, Array]]:
    """Layer to what it holds of pictures ``[N, C, H, W]`` of any one size."""
    canvas = Pixels((pictures.shape[2], pictures.shape[3]), commission.channels)
    term = Objective(tuple(Energy(tensor=layer) for layer in layers))
    found: Sloped = yield Slope(pictures, canvas, term, ink=commission.ink, taps=layers, gradient=False)
    return dict(found.taps)
