"""Textures without a net: pixels, or blocks, of the sample itself, put where they fit what is there already."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import numpy as np

from xplain import native
from xplain.core.declaring.options import MaybeSide, Share, Side, Together, Whole
from xplain.core.declaring.registry import Paper, Source, recipe
from xplain.core.edits import Array
from xplain.core.synthesis.commission import Commission, Painted, Painting
from xplain.explainers.synthesis.texture import samples_shown

__all__ = ["copied", "texture_pixels"]

Edge: TypeAlias = Annotated[int, Whole(1, 2048)]
"""Pixels of a texture's edge: growing takes minutes at the most of it."""


@recipe(
    "texture-pixels",
    paper=Paper("Efros 1999", "doi:10.1109/ICCV.1999.790383"),
    aliases=("efros-leung", "wei-levoy", "quilting"),
    target="none",
    sources=(Source("x", "samples of textures", needed=True),),
    trial={"window": 5, "edge": 16},
)
def texture_pixels(
    commission: Commission,
    *,
    how: Literal["grow", "pyramid", "quilt"] = "grow",
    edge: Edge = 128,
    crop: MaybeSide = 96,
    window: Side = 13,
    levels: Together = 2,
    block: Side = 24,
    overlap: Side = 6,
    slack: Share = 0.1,
) -> Painting:
    """A texture put together of the sample's own pixels: the classical way, to hold one made by a net against.

    ``grow``: a pixel is drawn from those in the sample whose surroundings are most like its known ones, ring after ring
    around a small piece (Efros and Leung). ``pyramid``: a small version is grown first, then one twice as large is
    filled, in which a pixel's surroundings are those before it and those about its parent (Wei and Levoy).
    ``quilt``: blocks that fit those above and to the left, cut along the seam where they differ least (Efros and
    Freeman). The model is asked nothing; it only judges.

    Args:
        how: Which of the three.
        edge: Height and width of the texture, in pixels.
        crop: Edge of the middle piece of the sample that is used, in pixels; 0 for all of it.
        window: Edge of a pixel's surroundings, odd: as large as the texture's largest thing (``grow``, ``pyramid``).
        levels: Of the pyramid, 1 to as many as the sample has for the window (``pyramid``).
        block: Edge of a block (``quilt``).
        overlap: Pixels that blocks share (``quilt``).
        slack: How far above the smallest distance others may lie that are drawn from, as a share of it; 0 copies more.
            On the larger levels of a ``pyramid`` the nearest is taken.

    Returns:
        One picture per sample. With ``grow`` and ``pyramid``, ``copied`` is the share of pixels that stand beside the
        same neighbour as in the sample: near 1 the window is so large that the sample is pasted.

    Cost:
        Nothing but what judges are asked. ``edge^2 crop^2`` comparisons, most given up early: seconds at the defaults.

    Differs from the paper:
        Neighbours count by whole numbers, so every machine draws the same pixels; pixels grow ring by ring. Of a
        pyramid the smallest level is grown, for filled row by row from noise it forgets long lines; and all candidates
        are compared, exactly, instead of those of a tree that may miss the nearest.

    Raises:
        UsageError: a window or a block larger than the sample, or more levels than it has.

    Source:
        Efros and Leung, Texture Synthesis by Non-parametric Sampling, ICCV 1999; Wei and Levoy, Fast Texture
        Synthesis using Tree-structured Vector Quantization, SIGGRAPH 2000; Efros and Freeman, Image Quilting for
        Texture Synthesis and Transfer, SIGGRAPH 2001.
    """
    yield from ()
    made, shares, used = [], [], [_middle(one, crop) for one in commission.pictures["x"]]
    size, limit = (edge, edge), round(1000 * slack)
    for sample, rng in zip(used, commission.rngs("texture"), strict=True):
        pixels = np.rint(255 * sample).astype(np.uint8).transpose(1, 2, 0)
        if how == "quilt":
            found = native.quilt(pixels, size, block, overlap, limit, rng)
        else:
            grown = how == "grow"
            found, source = (
                native.grow(pixels, size, window, limit, rng)
                if grown
                else native.pyramid(pixels, size, window, levels, limit, rng)
            )
            shares.append(copied(source))
        made.append(found.transpose(2, 0, 1).astype(np.float32) / 255)
    picture = np.stack(made)
    each = {"copied": shares} if shares else {}
    trace = np.zeros((0, len(picture)))
    return Painted(
        picture, picture, trace, commission.names["x"], each=each, notes={"how": how}, original=samples_shown(used)
    )


def copied(source: Array) -> float:
    """The share of pixels whose right neighbour is that which they have in the sample."""
    return float((np.diff(source, axis=1) == 1).mean()) if source.shape[1] > 1 else 0.0


def _middle(sample: Array, crop: int) -> Array:
    high, wide = (min(n, crop or n) for n in sample.shape[1:])
    top, left = (sample.shape[1] - high) // 2, (sample.shape[2] - wide) // 2
    return sample[:, top : top + high, left : left + wide]
