"""What a hidden position becomes: the option ``baseline``, resolved to the ``fill`` of the edits."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.core.declaring.options import Real
from xplain.core.declaring.with_options import parsed
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout
from xplain.core.query import View

__all__ = ["Blur", "MaybeBlur", "background_of", "fill_of"]

Blur: TypeAlias = Annotated[float, Real(0, 4096, open_low=True)]
"""The standard deviation of a Gaussian in positions; one wider than pictures are would be a kernel of terabytes."""
MaybeBlur: TypeAlias = Annotated[float, Real(0, 4096)]
"""The same; 0 for none."""


def fill_of(view: View, baseline: Any) -> Array:
    """The fill that ``baseline`` stands for, float32, broadcastable against ``[N, *item]``.

    - a number: that value everywhere, in the model's own (normalised) units, as captum's ``baselines``;
    - ``"mean"``: each item's own mean per channel;
    - ``"blur:SIGMA"``: the item under a Gaussian of SIGMA positions (reflected at the border, cut at 4 SIGMA);
    - ``"noise"`` or ``"noise:SIGMA"``: the item's channel mean plus normal noise of SIGMA times the channel's standard
      deviation (default 1), one draw per item from the view's seed, the same for equal items in any order;
    - an array: as it is, if it broadcasts to ``[N, *item]``.

    Raises:
        UsageError: an array that does not broadcast to the items, or ``inpaint``, which only features have.
    """
    if isinstance(baseline, np.ndarray):
        return _given(baseline, tuple(view.x.shape))
    if not isinstance(baseline, str):
        return np.full((1,) * len(view.x.shape), baseline, dtype=np.float32)
    if baseline == "inpaint":
        raise UsageError(
            "Baseline 'inpaint' paints features over; say which: ", option("features", "slic:50"), ", or any other."
        )
    if view.layout.axes == "NS":
        raise UsageError(
            f"Baseline {baseline!r} is a word for pictures and series, whose positions are alike; the columns of a row "
            "are not. Accepted here: a row (",
            option("baseline", python="row", shell="row.csv"),
            "), a number, or ",
            option("background", python="rows", shell="rows.csv"),
            " where the method has it. If the items are series, say so: ",
            option("layout", "NT"),
            ".",
        )
    if not isinstance(view.x, np.ndarray):
        raise UsageError(
            f"Baseline {baseline!r} is made from each item, which cannot be compiled into a graph; accepted there: a "
            "number or an array."
        )
    layout, x = view.layout, np.asarray(view.x, dtype=np.float32)
    word, words = parsed(baseline)
    number = words.get("", "")
    if word == "blur":
        return blurred(x, layout, float(number))
    mean = x.mean(axis=layout.plane_axes, keepdims=True, dtype=np.float64)
    if word == "mean":
        return np.asarray(mean, dtype=np.float32)
    spread = x.std(axis=layout.plane_axes, keepdims=True, dtype=np.float64) * (float(number) if number else 1.0)
    draw = np.stack([rng.standard_normal(x.shape[1:]) for rng in view.rngs("baseline")])
    return np.asarray(mean + spread * draw, dtype=np.float32)


def blurred(x: Array, layout: Layout, sigma: float) -> Array:
    """``x`` under a Gaussian along its position axes, in float64, cut at 4 sigma, borders reflected."""
    from scipy import ndimage

    widths = [sigma if axis in layout.plane_axes else 0.0 for axis in range(x.ndim)]
    return np.asarray(ndimage.gaussian_filter(x.astype(np.float64), widths, mode="reflect"), dtype=np.float32)


def background_of(view: View, baseline: Any) -> Array:
    """The background that ``baseline`` stands for, ``[B, N or 1, *item]``.

    An array ``[B, *item]`` is a set of B baselines for every item; anything else is one baseline per item.

    Raises:
        UsageError: an array that fits neither way.
    """
    item = view.x.shape[1:]
    if isinstance(baseline, np.ndarray) and baseline.ndim == len(item) + 1:
        if baseline.shape[1:] == item:
            return baseline.astype(np.float32)[:, None]
        if any(a not in (1, b) for a, b in zip(baseline.shape, view.x.shape, strict=True)):
            raise UsageError(
                f"The background is an array of {list(baseline.shape)}; the items are {list(view.x.shape)}. Accepted: "
                f"any number of baselines, [B, {', '.join(map(str, item))}], or one baseline."
            )
    return np.broadcast_to(fill_of(view, baseline), view.x.shape)[None]


def _given(baseline: Array, shape: tuple[int, ...]) -> Array:
    fill = np.asarray(baseline, dtype=np.float32)
    if fill.ndim == len(shape) - 1:
        fill = fill[None]
    elif fill.ndim == 0:
        fill = fill.reshape((1,) * len(shape))
    fits = fill.ndim == len(shape) and all(a in (1, b) for a, b in zip(fill.shape, shape, strict=True))
    if not fits:
        raise UsageError(
            f"The baseline is an array of {list(baseline.shape)}; the items are {list(shape)}. Accepted: one item's "
            "shape, or the batch's, with extents of 1 where it repeats."
        )
    return fill
