"""Gram matrices of feature maps, for texture and style, and the way back through them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["gram", "gram_backward"]


def gram(features: Sequence[Array], scales: Sequence[float] | None = None) -> list[Array]:
    """``scale * F @ F.T`` of each layer (Gatys et al. 2016, equation 3); symmetric to the bit.

    numpy gives a product of a matrix with its own transpose to the BLAS's ``syrk``, which is the fastest there is on a
    CPU; on a device ``xplain.native.device`` does all layers in one launch.

    Args:
        features: Per layer ``[C, P]``, floating.
        scales: Per layer; None means ``1 / (C * P)``.

    Returns:
        Per layer ``[C, C]``, float32 or float64 as the features are.

    Raises:
        UsageError: A layer is not two-dimensional, or scales are too many or too few.
    """
    _check(features)
    if scales is not None and len(scales) != len(features):
        raise UsageError(f"gram got {len(features)} layers and {len(scales)} scales; give one scale per layer.")
    matrices = []
    for k, layer in enumerate(features):
        f = layer if layer.dtype == np.float64 else layer.astype(np.float32, copy=False)
        scale = 1 / max(1, f.size) if scales is None else scales[k]
        matrices.append(np.asarray((f @ f.T) * f.dtype.type(scale)))
    return matrices


def gram_backward(upstream: Array, features: Array, scale: float) -> Array:
    """``scale * (dG + dG.T) @ F``, the cotangent ``[C, P]`` of the features for that of ``scale * F @ F.T``.

    Raises:
        UsageError: Shapes do not fit.
    """
    _check([features])
    if upstream.shape != (len(features), len(features)):
        raise UsageError(f"gram_backward got dG {list(upstream.shape)}; needed: {[len(features)] * 2}.")
    return np.asarray(((upstream + upstream.T) * upstream.dtype.type(scale)).astype(features.dtype) @ features)


def _check(features: Sequence[Array]) -> None:
    for layer in features:
        if layer.ndim != 2 or layer.dtype.kind != "f":
            raise UsageError(f"A layer's features are {layer.dtype} {list(layer.shape)}; accepted: floating [C, P].")
