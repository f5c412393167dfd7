"""Attributions as ``shap.Explanation``, for the plots that people already use."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.attribution import Attribution
from xplain.core.errors import MissingDependency

__all__ = ["to_shap"]


def to_shap(attribution: Attribution) -> Any:
    """The same numbers as a ``shap.Explanation``.

    A map ``[N, H, W]`` becomes ``[N, H, W, 1]``, channels become the last axis, and ``data`` holds the pictures, as
    ``shap.image_plot`` expects them; a table stays ``[N, S]`` and brings its columns' names and values, a text its
    words. Values are not rescaled, ``base_values`` are the attribution's ``base`` or zero where it has none.

    Raises:
        MissingDependency: shap is not installed.
    """
    try:
        import shap
    except ImportError:
        raise MissingDependency("to_shap() needs the package shap: pip install 'xplain[compare]'.") from None
    values = np.asarray(attribution.values)
    pictures = attribution.pictures
    if values.ndim == 3:
        values = values[..., None]
    elif values.ndim == 4 and not (pictures is not None and values.shape[1:3] == pictures.shape[1:3]):
        values = values.transpose(0, 2, 3, 1)
    base = np.zeros(len(values)) if attribution.base is None else np.asarray(attribution.base)
    data: Any = pictures
    names: Any = None
    if attribution.columns is not None:
        data, names = np.array(attribution.columns.values, dtype=object), list(attribution.columns.names)
    elif attribution.texts:
        words = [list(passage.words) for passage in attribution.texts]
        longest = values.shape[1]
        data = np.array([[*row, *[""] * (longest - len(row))] for row in words], dtype=object)
    return shap.Explanation(
        values=values, base_values=base, data=data, feature_names=names, output_names=attribution.target
    )
