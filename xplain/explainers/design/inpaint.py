"""Features painted over from their surroundings: a hidden superpixel becomes what its neighbours suggest."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError
from xplain.core.query import View
from xplain.explainers.features.partition import Partition

__all__ = ["inpainted"]

_MARGIN = 6


def inpainted(view: View, parts: Partition) -> Array:
    """Each picture with every feature painted over from its surroundings, float32 ``[N, *item]``.

    Each feature is filled alone, from the picture around it (biharmonic equation, Chui and Mhaskar 2010), once. So one
    filled picture serves all coalitions, where painting anew for each would cost more than most models.

    Raises:
        UsageError: the items are no pictures, or labels go by channel.
    """
    layout = view.layout
    if not layout.is_picture or parts.whole:
        raise UsageError("Baseline 'inpaint' needs pictures and features that are regions of them.")
    restoration = _restoration()
    x = np.asarray(view.x, dtype=np.float64)
    x = x[..., None] if layout.channel_axis is None else np.moveaxis(x, layout.channel_axis, -1)
    filled = x.copy()
    for n, picture in enumerate(x):
        labels = parts.of(n)
        for s in range(int(labels.max()) + 1):
            rows, columns = np.nonzero(labels == s)
            near = tuple(slice(max(0, at.min() - _MARGIN), at.max() + _MARGIN + 1) for at in (rows, columns))
            hole = labels[near] == s
            if hole.all():  # nothing around it to paint from
                filled[n][labels == s] = picture[labels == s].mean(axis=0)
                continue
            filled[n][near][hole] = restoration.inpaint_biharmonic(picture[near], hole, channel_axis=-1)[hole]
    back = filled[..., 0] if layout.channel_axis is None else np.moveaxis(filled, -1, layout.channel_axis)
    return np.ascontiguousarray(back, dtype=np.float32)


def _restoration() -> Any:
    try:
        from skimage import restoration
    except ImportError as error:
        raise MissingDependency(
            "Baseline 'inpaint' needs scikit-image: python -m pip install scikit-image. Or use ",
            option("baseline", "blur:10"),
            ".",
        ) from error
    return restoration
