"""Explanations and predictions as JSON: numbers as they are, nothing rescaled, nothing rounded."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.outline import Outline
from xplain.render.canvas import image
from xplain.render.shown import kind_of
from xplain.results.attribution import Attribution
from xplain.results.result import plain_values
from xplain.session.predictions import best

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["array", "drawing", "explanation", "predictions"]

_ENCODINGS = ("json", "base64")


def drawing(told: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is asked, and how its answer is written, as ``explanation`` takes it.

    Raises:
        UsageError: an encoding that there is not.
    """
    told = dict(told)
    how: dict[str, Any] = {name: told.pop(name, False) is True for name in ("overlay", "seen")}
    how["encoding"] = told.pop("encoding", "json")
    if how["encoding"] not in _ENCODINGS:
        raise UsageError(f'"encoding" is {how["encoding"]!r:.80}; accepted: {" or ".join(_ENCODINGS)}.')
    return told, how


def explanation(one: Attribution, encoding: str = "json", overlay: bool = False, seen: bool = False) -> dict[str, Any]:
    """The explanation of one item for one target.

    Args:
        one: The result of that item alone.
        encoding: ``json`` writes arrays as nested lists, ``base64`` as ``{"dtype", "shape", "b64"}``.
        overlay: Add the map over the picture, or the drawing of a series or a volume, as a PNG in base64.
        seen: Add the picture as the model saw it, as a PNG in base64.
    """
    facts: dict[str, Any] = {
        "method": one.method,
        "target": one.target,
        "label": one.labels[0] if one.labels else None,
        "unit": one.unit,
        "signed": one.signed,
        "shape": list(one.values.shape[1:]),
        "resolution": None if one.resolution is None else list(one.resolution),
        "values": array(one.values[0], encoding),
        "error": None if one.error is None else array(one.error[0], encoding),
        "score": float(one.scores[0]),
        "base": None if one.base is None else float(one.base[0]),
        "warnings": one.said,
        "notes": plain_values(one.notes),
        "options": plain_values(one.options),
        "seed": one.seed,
        "layout": one.layout,
        "model": one.model,
        "versions": dict(one.versions),
        "cost": plain_values(one.cost),
    }
    if one.columns is not None:
        facts["columns"] = list(one.columns.names)
        facts["row"] = list(one.columns.values[0]) if one.columns.values else []
    if one.texts:
        facts["words"] = list(one.texts[0].words)
        facts["text"] = one.texts[0].text
    if one.coordinates.stated:
        facts["coordinates"] = one.coordinates.data()
    if overlay and (one.pictures is not None or kind_of(one) in ("series", "spectrogram", "volume")):
        facts["overlay"] = _png(one.overlay(0))
    if seen and one.pictures is not None:
        facts["seen"] = _png(image(one.pictures[0]))
    return facts


def _png(picture: Image) -> str:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def predictions(scores: Array | None, outline: Outline, count: int = 5) -> list[dict[str, Any]]:
    """The best classes of an item with scores ``[K]``; empty for a model that has none."""
    return [] if scores is None else plain_values(best(scores[None], outline, count)[0])


def array(values: Array, encoding: str) -> Any:
    """An array as JSON can hold it; NaN, which JSON has none of, is null in lists."""
    if encoding == "base64":
        raw = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
        return {
            "dtype": values.dtype.name,
            "shape": list(values.shape),
            "b64": base64.b64encode(raw.tobytes()).decode(),
        }
    return values.tolist() if np.isfinite(values).all() else _with_gaps(values.tolist())


def _with_gaps(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_gaps(one) for one in value]
    return value if np.isfinite(value) else None
