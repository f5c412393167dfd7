"""Superpixels of pictures, by scikit-image: SLIC (also of volumes), Felzenszwalb, quickshift, watershed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from xplain.core.declaring.options import Fraction, NonNegative, Positive, PositiveReal
from xplain.core.declaring.registry import features
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError
from xplain.core.query import View
from xplain.explainers.design.baseline import MaybeBlur
from xplain.explainers.features.partition import Partition, numbered

__all__ = ["felzenszwalb", "pictures", "quickshift", "slic", "watershed"]

_LIGHTNESS = 100.0  # of white, in the colour space that pictures are cut in
_LONGEST = 8  # times that a position may be longer along one axis than along another


@features("slic")
def slic(view: View, *, segments: Positive = 50, compactness: PositiveReal = 10.0, sigma: MaybeBlur = 0.0) -> Partition:
    """Compact superpixels of about equal size: k-means in colour and place (Achanta 2012); of volumes supervoxels.

    Positions of a volume are as long as its card says (``spacing``), so that supervoxels are about as deep as they are
    wide in millimetres, not in slices.

    Args:
        segments: About how many.
        compactness: Weight of place against colour; large values give squares. Of volumes against values that are
            stretched to 0..100, as lightness is.
        sigma: Width of the Gaussian that smooths the picture first, in pixels.
    """
    if view.layout.is_volume:
        return _supervoxels(view, segments, compactness, sigma)

    def cut(picture: Array, seed: int) -> Array:
        return np.asarray(
            _segmentation().slic(
                picture,
                n_segments=segments,
                compactness=compactness,
                sigma=sigma,
                start_label=0,
                channel_axis=-1,
                convert2lab=picture.shape[2] == 3,
            )
        )

    return _each(view, cut)


@features("felzenszwalb")
def felzenszwalb(view: View, *, scale: PositiveReal = 100.0, sigma: MaybeBlur = 0.8, least: Positive = 50) -> Partition:
    """Regions that a minimum spanning tree holds together (Felzenszwalb 2004): few where the picture is plain.

    Args:
        scale: Larger values give larger regions.
        sigma: Width of the Gaussian that smooths the picture first, in pixels.
        least: Pixels below which a region is merged into its neighbour.
    """

    def cut(picture: Array, seed: int) -> Array:
        return np.asarray(
            _segmentation().felzenszwalb(picture, scale=scale, sigma=sigma, min_size=least, channel_axis=-1)
        )

    return _each(view, cut)


@features("quickshift")
def quickshift(
    view: View, *, kernel: PositiveReal = 4.0, distance: PositiveReal = 200.0, ratio: Fraction = 0.2
) -> Partition:
    """Regions around the modes of colour and place (Vedaldi 2008); lime's default segmentation.

    Args:
        kernel: Width of the density's kernel, in pixels.
        distance: Longest link inside a region; larger gives fewer regions.
        ratio: Weight of colour against place.
    """

    def cut(picture: Array, seed: int) -> Array:
        return np.asarray(
            _segmentation().quickshift(
                _three(picture), kernel_size=kernel, max_dist=distance, ratio=ratio, rng=seed, convert2lab=True
            )
        )

    return _each(view, cut)


@features("watershed")
def watershed(view: View, *, segments: Positive = 50, compactness: NonNegative = 0.001) -> Partition:
    """Basins of the picture's gradient, grown from a regular grid of seeds.

    Args:
        segments: About how many.
        compactness: Above 0 gives more equal basins.
    """

    def cut(picture: Array, seed: int) -> Array:
        skimage = _segmentation()
        grey = picture.mean(axis=2)
        down, across = np.gradient(grey) if min(grey.shape) > 1 else (np.zeros_like(grey), np.zeros_like(grey))
        return np.asarray(skimage.watershed(np.hypot(down, across), markers=segments, compactness=compactness))

    return _each(view, cut)


def _supervoxels(view: View, segments: int, compactness: float, sigma: float) -> Partition:
    layout, card = view.layout, view.outline.card
    x = np.asarray(view.x, np.float64)
    x = x[..., None] if layout.channel_axis is None else np.moveaxis(x, layout.channel_axis, -1)
    stated = () if card is None else card.coordinates.spacing
    spacing = np.array(stated if len(stated) == len(layout.grid) else (1.0,) * len(layout.grid))
    # scikit-image sets its seeds by counting voxels, so positions are made cubes first
    times = np.minimum(np.maximum(np.rint(spacing / spacing.min()), 1), _LONGEST).astype(int)
    labels = []
    for volume in x:
        for axis, n in enumerate(times):
            volume = volume.repeat(n, axis=axis)
        found = _segmentation().slic(
            volume,
            n_segments=segments,
            compactness=compactness / _LIGHTNESS,  # values are stretched to 0..1 there
            sigma=sigma,
            start_label=0,
            channel_axis=-1,
            convert2lab=False,
        )
        middle = tuple(slice(int(n) // 2, None, int(n)) for n in times)
        labels.append(numbered(np.asarray(found)[middle]))
    return Partition(np.stack(labels), per_item=True)


def pictures(view: View) -> Array:
    """The items as pictures in [0, 1], float64 ``[N, H, W, C]``, red first: undone by the card, or stretched to fit.

    Raises:
        UsageError: the items are no pictures.
    """
    layout, card = view.layout, view.outline.card
    if not layout.is_picture:
        raise UsageError(
            f"Superpixels need pictures, but the items are {list(view.x.shape[1:])} of layout {layout.axes}. Features "
            "that fit: grid, columns, tokens, segments, or an array of labels."
        )
    x = np.asarray(view.x, dtype=np.float64)
    x = x[..., None] if layout.channel_axis is None else np.moveaxis(x, layout.channel_axis, -1)
    if card is not None and card.of_pictures and card.channels == x.shape[-1]:
        shown = (x * np.asarray(card.std) + np.asarray(card.mean)) / (card.scale * 255.0)
        return np.asarray(np.clip(shown[..., ::-1] if card.mode == "BGR" else shown, 0.0, 1.0))
    low, high = x.min(axis=(1, 2, 3), keepdims=True), x.max(axis=(1, 2, 3), keepdims=True)
    return np.asarray((x - low) / np.where(high > low, high - low, 1.0))


def _each(view: View, cut: Callable[[Array, int], Array]) -> Partition:
    """Cut every picture for itself; its seed comes from the run's seed and its own content, so its place is nothing."""
    labels = []
    for picture in pictures(view):
        content = hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()
        seed = int(view.rng(f"superpixels {content}").integers(2**31))
        labels.append(numbered(cut(picture, seed)))
    return Partition(np.stack(labels), per_item=True)


def _three(picture: Array) -> Array:
    """A picture of three channels: repeated where there is one, the first three where there are more."""
    return picture[:, :, :3] if picture.shape[2] >= 3 else np.repeat(picture[:, :, :1], 3, axis=2)


def _segmentation() -> Any:
    try:
        from skimage import segmentation
    except ImportError as error:
        raise MissingDependency(
            "Superpixels need scikit-image: python -m pip install scikit-image. Or use grid cells: ",
            option("features", "grid:7"),
            ".",
        ) from error
    return segmentation
