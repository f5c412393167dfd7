"""Class activation maps whose weights come from the gradient at the layer, by one partial sweep each."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np

from xplain.core.arrays import doubled, namespace
from xplain.core.declaring.options import Cells, Natural
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Score, Sweep, View
from xplain.core.rules import Rules
from xplain.explainers.cam.layers import MapLayer, map_layer, reading
from xplain.explainers.cam.template import cam

__all__ = ["class_activation_map", "grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam"]

_LINEAR = 2e-3
"""Departure from a linear head that is rounding: scores in half precision have a step of 1e-3."""


@cam(
    "grad-cam",
    paper=Paper("Selvaraju 2016", "arXiv:1610.02391, equations 1 and 2"),
    unit="delta {score} through the layer, averaged",
    aliases=("gradcam",),
)
def grad_cam(activations: Any, gradients: Any, places: tuple[int, ...]) -> Any:
    """A deep layer's channels, each weighted by how the score depends on it on average, summed.

    ``w_k = mean over q of d f / d A_k[q]``; ``map[p] = max(0, sum over k of w_k A_k[p])``.

    Source:
        Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.
    """
    return namespace(activations).mean(gradients, axis=places, keepdims=True)


@cam(
    "grad-cam++",
    paper=Paper("Chattopadhyay 2017", "arXiv:1710.11063, equations 9 and 19"),
    unit="delta {score} through the layer, weighted",
    aliases=("gradcam++", "grad-cam-plus-plus"),
)
def grad_cam_plus_plus(activations: Any, gradients: Any, places: tuple[int, ...]) -> Any:
    """Grad-CAM whose averages count each position by how much it matters, so that several objects all show.

    ``alpha = g^2 / (2 g^2 + S_k g^3)`` with g the gradient and ``S_k = sum over q of A_k[q]``;
    ``w_k = sum over q of alpha[q] max(0, g[q])``.

    Differs from the paper:
        The factor exp(f), the same for the whole map, is left out.

    Source:
        Chattopadhyay et al., Grad-CAM++, WACV 2018.
    """
    xp = namespace(activations)
    square = gradients * gradients
    below = 2 * square + xp.sum(activations, axis=places, keepdims=True) * square * gradients
    zero = xp.zeros_like(gradients)
    some = xp.abs(below) > 0
    alpha = xp.where(some, square / xp.where(some, below, zero + 1), zero)
    return xp.sum(alpha * xp.where(gradients > 0, gradients, zero), axis=places, keepdims=True)


@cam(
    "layer-cam",
    paper=Paper("Jiang 2021", "doi:10.1109/TIP.2021.3089943"),
    unit="delta {score}, first order, where it argues for",
    aliases=("layercam",),
)
def layer_cam(activations: Any, gradients: Any, places: tuple[int, ...]) -> Any:
    """Each position of each channel weighted by its own positive gradient: fine maps from shallow layers too.

    ``map[p] = max(0, sum over k of max(0, g_k[p]) A_k[p])``.

    Source:
        Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, TIP 2021.
    """
    xp = namespace(activations)
    return xp.where(gradients > 0, gradients, xp.zeros_like(gradients))


@cam(
    "hires-cam",
    paper=Paper("Draelos 2020", "arXiv:2011.08891"),
    unit="delta {score}, first order",
    aliases=("hirescam",),
)
def hires_cam(activations: Any, gradients: Any, places: tuple[int, ...]) -> Any:
    """Each position of each channel weighted by its own gradient: what the rest of the net really uses of the layer.

    ``map[p] = max(0, sum over k of g_k[p] A_k[p])``.

    Args:
        signed: Keep what argues against the target; then the small map sums to f less its constant, for a linear head.

    Source:
        Draelos and Carin, Use HiResCAM instead of Grad-CAM for faithful explanations, 2020.
    """
    return gradients


@method(
    "cam",
    needs=(Score, Sweep),
    paper=Paper("Zhou 2015", "arXiv:1512.04150, equation 2"),
    unit="{score} before averaging over positions",
    traceable=False,
)
def class_activation_map(view: View, *, layer: str = "auto", grid: Cells | None = None, tokens: Natural = 0) -> Flow:
    """The class score written as an average over positions, and shown position by position.

    For a head ``f = sum over k of w_k * mean(A_k) + b``:  ``map[p] = sum over k of w_k A_k[p]``.

    The weights are read off a sweep: through average pooling and a linear head the gradient is ``w_k / (h w)`` at every
    position. A head of another kind is refused rather than mistaken: the gradient must be alike at all positions, and
    the effects of two halves of the channels must add up to that of all.

    Args:
        layer: The layer that is averaged; ``auto`` takes the last one before the head.
        grid: Rows and columns of the layer, such as ``8x18``, where they could not be followed from the input.
        tokens: Tokens in front of that grid that are no positions, such as 1 class token.

    Returns:
        ``[N, H, W]``, signed; the mean of the small map is f(x) less the bias.

    Cost:
        1 sweep per item, backwards only as far as the layer, and 4 evaluations of the part behind it.

    Raises:
        UsageError: the head is not an average followed by a linear layer; the message names methods that fit.

    Source:
        Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016.
    """
    chosen = map_layer(view, layer, grid, tokens)
    answer = yield Sweep(view.x[:, None], view.target, Rules(), (chosen.name,))
    raw = np.ascontiguousarray(answer[chosen.name][0], dtype=np.float32)
    values, gradient = chosen.maps(raw), chosen.maps(doubled(answer[chosen.name][1]))
    mean = gradient.mean(axis=chosen.places, keepdims=True)
    if np.abs(gradient - mean).max() > 1e-4 * max(np.abs(gradient).max(), 1e-30):
        raise _other_head(chosen.name, "the gradient differs from position to position")
    if (yield from _bend(view, chosen, raw)) > _LINEAR:
        raise _other_head(chosen.name, "the score is not linear in the averages")
    weights = mean * math.prod(values.shape[2:])
    maps = np.sum(weights * values, axis=1)
    return reading(view, chosen, maps, rectify=False, each=_peak(maps))


def _other_head(layer: str, why: str) -> UsageError:
    return UsageError(
        f"cam needs a head that averages layer {layer!r} over positions and is linear after that; here {why}. Use "
        "grad-cam or hires-cam, which need no such head."
    )


def _bend(view: View, chosen: MapLayer, raw: Array) -> Generator[Score, Any, float]:
    """How far the head is from linear: the effects of two halves of the channels must add up to that of all.

    | f(even) + f(odd) - f(all) - f(none) |, as a share of the largest of the effects.
    """
    channels = np.arange(chosen.channels(raw))
    keep = np.stack([channels % 2 == 0, channels % 2 == 1, channels >= 0, channels < 0])
    even, odd, every, none = (yield Score(raw, chosen.hiding(raw, keep), view.target, at=chosen.name)).T
    scale = np.abs([even - none, odd - none, every - none]).max(axis=0)
    return float(np.max(np.abs(even + odd - every - none) / np.maximum(scale, np.finfo(np.float32).tiny)))


def _peak(maps: Any) -> dict[str, Any]:
    return {"mean of the small map": np.asarray(maps).mean(axis=tuple(range(1, np.ndim(maps))))}
