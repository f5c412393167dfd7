"""Gram matrices of feature maps, for texture and style, and the way back through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain import _native
from xplain.core.errors import UsageError, unknown
from xplain.native.place import call, device_of, empty

__all__ = ["gram", "gram_backward"]


PRECISIONS = {"tf32": 0, "float32": 1}
_MOST_LAYERS = 24  # in one launch


def gram(
    features: Sequence[Any], scales: Sequence[float] | None = None, *, precision: str = "float32", stream: int = 0
) -> list[Any]:
    """``scale * F @ F.T`` of each layer (Gatys et al. 2016, equation 3); symmetric to the bit.

    numpy gives a product of a matrix with its own transpose to the BLAS's ``syrk``, which is the fastest there is on a
    CPU; on a device all layers share one launch of tensor core products.

    Args:
        features: Per layer ``[C, P]``, floating; on a CUDA device contiguous and all of one type, float32, float16 or
            bfloat16.
        scales: Per layer; None means ``1 / (C * P)``.
        precision: Of float32 products on a device: ``float32`` splits each factor in two (3e-7), ``tf32`` rounds it
            (5e-4) and takes a third of the time.
        stream: On a device, the CUDA stream to run in; 0 is the legacy default.

    Returns:
        Per layer ``[C, C]``, float32, or float64 as the features are; where they are.

    Raises:
        UsageError: A layer is not two-dimensional, layers lie on different devices, or scales are too many or too few.
        UnknownName: No such precision.
    """
    where = device_of("gram", **{f"features[{k}]": layer for k, layer in enumerate(features)})
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if scales is not None and len(scales) != len(features):
        raise UsageError(f"gram got {len(features)} layers and {len(scales)} scales; give one scale per layer.")
    if where is not None:
        factors = [1 / max(1, f.shape[0] * f.shape[1]) for f in features] if scales is None else list(scales)
        return _gram_there(features, factors, PRECISIONS[precision], where, stream)
    _check(features)
    matrices = []
    for k, layer in enumerate(features):
        f = layer if layer.dtype == np.float64 else layer.astype(np.float32, copy=False)
        scale = 1 / max(1, f.size) if scales is None else scales[k]
        matrices.append(np.asarray((f @ f.T) * f.dtype.type(scale)))
    return matrices


def _gram_there(features: Sequence[Any], scales: list[float], precision: int, device: int, stream: int) -> list[Any]:
    matrices = [empty(f, (f.shape[0], f.shape[0]), "float32") for f in features]
    tile = _native.gram_tile(device)
    for first in range(0, len(features), _MOST_LAYERS):
        some = slice(first, first + _MOST_LAYERS)
        layers = list(features[some]), matrices[some], scales[some]
        size = call(_native.gram_workspace, *layers, tile=tile, stream=stream)
        workspace = empty(features[0], (size,), "float32")
        call(_native.gram, *layers, workspace, tile=tile, precision=precision, stream=stream)
    return matrices


def gram_backward(upstream: Any, features: Any, scale: float, *, stream: int = 0) -> Any:
    """``scale * (dG + dG.T) @ F``, the cotangent ``[C, P]`` of the features for that of ``scale * F @ F.T``.

    Args:
        upstream: dG ``[C, C]``; on a CUDA device float32.
        features: F ``[C, P]``, floating; on a device float32, float16 or bfloat16. Both contiguous there.
        scale: Of the Gram matrix.
        stream: On a device, the CUDA stream to run in; 0 is the legacy default.

    Returns:
        ``[C, P]`` of the features' type, where they are.

    Raises:
        UsageError: Shapes do not fit, or the two lie on different devices.
    """
    where = device_of("gram_backward", upstream=upstream, features=features)
    if len(features.shape) != 2 or tuple(upstream.shape) != (features.shape[0], features.shape[0]):
        needed = [features.shape[0]] * 2
        raise UsageError(f"gram_backward got dG {list(upstream.shape)}; needed: {needed}.")
    if where is None:
        _check([features])
        return np.asarray(((upstream + upstream.T) * upstream.dtype.type(scale)).astype(features.dtype) @ features)
    channels = features.shape[0]
    out = empty(features, features.shape)
    workspace = empty(features, (channels, -(-channels // 16) * 16))
    call(_native.gram_backward, upstream, features, out, workspace, scale=scale, stream=stream)
    return out


def _check(features: Sequence[Any]) -> None:
    for layer in features:
        if layer.ndim != 2 or layer.dtype.kind != "f":
            raise UsageError(f"A layer's features are {layer.dtype} {list(layer.shape)}; accepted: floating [C, P].")
