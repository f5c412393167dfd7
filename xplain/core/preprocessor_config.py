"""A Hugging Face ``preprocessor_config.json`` in the fields of a preprocessing card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xplain.core.declaring.wording import option
from xplain.core.errors import CardError

__all__ = ["fields_of"]

_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_WRITE_CARD = ("Write a card of your own: MODEL.card.toml beside the model, or ", option("card"), ".")


def fields_of(raw: Any, where: str) -> dict[str, Any]:
    """What a card says where the configuration of an image processor says this.

    Args:
        raw: The configuration.
        where: The beginning of a message.

    Raises:
        CardError: it says something that a card cannot.
    """
    if not isinstance(raw, Mapping):
        raise CardError(f"{where}it is no JSON object.")
    if raw.get("rescale_offset"):
        raise CardError(f"{where}rescale_offset is not understood.", advice=_WRITE_CARD)
    crop = raw.get("crop_size") if raw.get("do_center_crop", True) else None
    resample = raw.get("resample", 2)
    if isinstance(resample, bool) or not isinstance(resample, int) or resample not in _FILTERS:
        raise CardError(f"{where}resample is {resample!r:.80}", accepted="0 to 3", advice=_WRITE_CARD)
    flipped = raw.get("do_flip_channel_order", False)
    card: dict[str, Any] = {"mode": "BGR" if flipped else "RGB", "resample": _FILTERS[resample]}
    if raw.get("do_resize", True) and (raw.get("size") is not None or raw.get("do_resize")):
        card |= _size(raw.get("size"), crop, raw.get("crop_pct"), where)
    if crop is not None:
        card["crop"] = _pair(crop, "crop_size", where)
    card["scale"] = raw.get("rescale_factor", 1 / 255) if raw.get("do_rescale", True) else 1.0
    if raw.get("do_normalize", "image_mean" in raw or "image_std" in raw or not flipped):
        card["mean"], card["std"] = raw.get("image_mean", [0.5] * 3), raw.get("image_std", [0.5] * 3)
    return card


def _size(size: Any, crop: Any, crop_pct: Any, where: str) -> dict[str, Any]:
    """The resize that a Hugging Face size means. One that cannot be said here is refused, never left out."""
    if isinstance(size, Mapping) and size.keys() == {"shortest_edge"}:
        edge = size["shortest_edge"]
        if crop_pct is None:
            return {"resize_short": edge}
        if not isinstance(edge, int) or isinstance(crop_pct, bool) or not isinstance(crop_pct, (int, float)):
            raise CardError(f"{where}crop_pct is {crop_pct!r:.80} beside size {size!r:.80}.", advice=_WRITE_CARD)
        if edge >= 384 or not 0 < crop_pct <= 1:  # as ConvNeXt does: large pictures are squeezed into the square
            return {"resize": [edge, edge]}
        return {"resize_short": int(edge / crop_pct), "crop": [edge, edge]}
    if isinstance(size, int) and not isinstance(size, bool):  # older files: a crop cuts the square, else it is one
        return {"resize_short": size} if crop is not None else {"resize": [size, size]}
    return {"resize": _pair(size, "size", where)}


def _pair(value: Any, what: str, where: str) -> list[Any]:
    if isinstance(value, int) and not isinstance(value, bool):
        return [value, value]
    if isinstance(value, Mapping) and value.keys() == {"height", "width"}:
        return [value["height"], value["width"]]
    if isinstance(value, list) and len(value) == 2:
        return value
    raise CardError(
        f"{where}{what} is {value!r:.100}",
        accepted="a number, shortest_edge, or height and width",
        advice=_WRITE_CARD,
    )
