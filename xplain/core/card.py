"""The preprocessing card: how a picture becomes the tensor. Wrong preprocessing is silent, so it is written down.

A card is a small TOML file ``<model>.card.toml`` beside the model::

    mode = "RGB"            # RGB, BGR, L (grey) or BANDS (arrays of any number of channels): order of the channels
    resize_short = 256      # shorter side, bilinear; or resize = [height, width]
    crop = [224, 224]       # centre crop
    layout = "NCHW"         # or NHWC; left out: the model's own
    scale = 0.00392156862   # tensor = (picture * scale - mean) / std, picture in 0..255
    mean = [0.485, 0.456, 0.406]
    std = [0.229, 0.224, 0.225]
    range = [0, 4095]       # black and white of files with more than 8 bits per sample; left out: what they suggest
    labels = "labels.txt"   # one per line, or a list

What the axes of series, spectra, bands and volumes measure (names of channels, seconds, hertz, millimetres) stands in a
table ``[coordinates]`` of it: ``xplain.core.positions.coordinates``.

It may also lie in the ONNX metadata ``xplain.card`` (the same TOML), be named as a preset, or be read from a Hugging
Face ``preprocessor_config.json``. Applying a card to a picture is ``xplain.render.pictures``.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import CardError, UsageError, nearest, unknown
from xplain.core.keeping.files import lines_of, read_text, there
from xplain.core.keeping.plain import counted
from xplain.core.positions.coordinates import UNSTATED, Coordinates, labelled_bands
from xplain.core.positions.layout import KNOWN, stated
from xplain.core.preprocessor_config import fields_of

__all__ = ["MOST_PIXELS", "PRESETS", "Card", "card_of_module", "find_card", "load_card"]

_MODES = ("", "RGB", "BGR", "L", "BANDS")
_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
_LARGEST = 1e12
MOST_PIXELS = 50_000_000
"""Largest picture that is decoded, or made by a card; a 20 KB file can hold more."""

_MOST_LABELS = 1_000_000
_LONGEST_LABEL = 200


@dataclass(frozen=True, slots=True)
class Card:
    """How a picture becomes a tensor: ``tensor = (picture * scale - mean) / std``.

    Args:
        mode: Channel order of the tensor: ``RGB``, ``BGR``, ``L`` (grey), or ``BANDS`` for arrays ``[H, W, bands]`` of
            any number of channels, which no picture file holds. Empty: what the model's number of channels asks for.
        resize_short: Resize so that the shorter side has this many pixels, keeping the aspect; or None.
        resize: Resize to exactly (height, width), after ``resize_short`` if both are given; or None.
        crop: Centre crop (height, width); a picture that is smaller is padded with zeros; or None.
        resample: Filter of the resize.
        layout: ``NCHW`` or ``NHWC`` for pictures, ``NCT``, ``NCDHW`` and so on for other items. Empty: the model's own,
            of pictures NCHW where that is not known.
        scale: Factor on the 0..255 values.
        mean: Subtracted after scaling, one per channel of the tensor in its own order.
        std: Divides last, one per channel.
        labels: Class names.
        name: Where the card came from.
        bands: Number of channels of mode ``BANDS``; a file may give their names instead.
        range: (black, white) of picture files with more than 8 bits per sample, in their own numbers (of DICOM: the
            rescaled ones, such as Hounsfield units); they become 0 and 255. None: what the file suggests, and says.
        coordinates: What the axes of the items measure, for drawings.
    """

    mode: str = ""
    resize_short: int | None = None
    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    resample: str = "bilinear"
    layout: str = ""
    scale: float = 1.0 / 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    labels: tuple[str, ...] = ()
    name: str = ""
    bands: int | None = None
    range: tuple[float, float] | None = None
    coordinates: Coordinates = UNSTATED

    def __post_init__(self) -> None:
        for what, value, accepted in (
            ("mode", self.mode, _MODES),
            ("resample", self.resample, _FILTERS),
        ):
            if value not in accepted:
                raise CardError(f"{self._where}{what} is {value!r}; accepted: {', '.join(filter(None, accepted))}.")
        if self.layout and not _is_layout(self.layout):
            raise CardError(f"{self._where}layout is {self.layout!r:.40}; accepted: {KNOWN}.")
        if (self.mode == "BANDS") != (self.bands is not None) and self.bands is not None and self.mode:
            raise CardError(f"{self._where}bands is {self.bands}, which only mode BANDS has; the mode is {self.mode}.")
        for what, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (1, self.channels):
                raise CardError(
                    f"{self._where}{what} has {counted(len(numbers), 'number')} for "
                    f"{counted(self.channels, 'channel')}."
                )
        if self.range is not None and not -_LARGEST <= self.range[0] < self.range[1] <= _LARGEST:
            raise CardError(f"{self._where}range is {list(self.range)}; accepted: [black, white], black below white.")
        for what, numbers in (("scale", (self.scale,)), ("mean", self.mean), ("std", self.std)):
            if not all(abs(n) <= _LARGEST for n in numbers):  # NaN is not
                raise CardError(f"{self._where}{what} holds {max(numbers, key=abs)}; accepted: numbers up to 1e12.")
        for what, size in (("resize", self.resize), ("crop", self.crop)):
            if size is not None and size[0] * size[1] > MOST_PIXELS:
                pixels = f"{size[0] * size[1]:,} pixels; accepted: up to {MOST_PIXELS:,}"
                raise CardError(f"{self._where}{what} is {list(size)}, {pixels}.")
        if self.scale == 0:
            raise CardError(f"{self._where}scale is 0, which leaves nothing of the picture.")
        if any(s == 0 for s in self.std):
            raise CardError(f"{self._where}std holds a zero; the tensor is divided by it.")

    @property
    def channels(self) -> int:
        """Channels of the tensor."""
        if self.mode == "BANDS":
            return self.bands or max(len(self.mean), len(self.std))
        return 1 if self.mode == "L" else 3

    @property
    def of_pictures(self) -> bool:
        """Whether it says how pictures become tensors; recorded sound and spectrograms are made by their owner."""
        return not self.coordinates.kind

    @property
    def _where(self) -> str:
        return f"Preprocessing card{f' {self.name}' if self.name else ''}: "

    def sized(self, height: int, width: int) -> Card:
        """This card with a size for a model whose input is ``height x width``, if it states none itself."""
        if self.resize or self.crop or self.resize_short:
            return self
        short = round(min(height, width) * 256 / 224) if min(height, width) >= 64 else min(height, width)
        return replace(self, resize_short=short, crop=(height, width))

    def tensor(self, samples: Array, axis: int = -1) -> Array:
        """``(samples * scale - mean) / std``, float32: the one place that says what a model sees of a picture.

        Args:
            samples: Values of 0..255, channels in the tensor's own order.
            axis: The axis of the channels.
        """
        mean, std = self._per_channel(samples.ndim, axis)
        return np.asarray((samples.astype(np.float32) * np.float32(self.scale) - mean) / std)

    @property
    def keeps_finite(self) -> bool:
        """Whether every sample of 0..255 becomes a finite number: the two ends say so, for what lies between them
        becomes what lies between theirs.
        """
        ends = np.repeat(np.array([[0], [255]], np.float32), len(self.mean), axis=1)
        with np.errstate(all="ignore"):
            return bool(np.isfinite(self.tensor(ends)).all())

    def slope(self, rank: int, axis: int = -1) -> Array:
        """By how much the tensor changes with a sample, ``scale / std``, so that it broadcasts to ``rank`` axes."""
        return np.asarray(np.float64(self.scale) / self._per_channel(rank, axis)[1].astype(np.float64))

    def samples(self, tensor: Array, axis: int = -1) -> Array:
        """The samples that make a tensor, float64: ``(tensor * std + mean) / scale``."""
        mean, std = (one.astype(np.float64) for one in self._per_channel(tensor.ndim, axis))
        return np.asarray((tensor.astype(np.float64) * std + mean) / self.scale)

    def _per_channel(self, rank: int, axis: int) -> tuple[Array, Array]:
        """Mean and std, float32, so that they lie along one axis of ``rank``."""
        shape = [1] * rank
        shape[axis] = -1
        mean, std = (np.asarray(numbers, np.float32).reshape(shape) for numbers in (self.mean, self.std))
        return mean, std

    def to_toml(self, labels: bool = True) -> str:
        """The card as TOML text that ``Card.from_toml`` reads back to an equal card, or to one without labels."""
        left_out = ("name", "coordinates") if labels else ("name", "coordinates", "labels")
        lines = []
        for key in (one.name for one in fields(self) if one.name not in left_out):
            value = getattr(self, key)
            if value is not None and value != "":
                lines.append(f"{key} = {json.dumps(list(value) if isinstance(value, tuple) else value)}")
        told = self.coordinates.data()
        lines += (
            ["[coordinates]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in told.items())]
            if told
            else []
        )
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str, name: str = "", folder: Path | None = None) -> Card:
        """Read a card from TOML text; ``labels`` may name a file in ``folder``."""
        try:
            raw = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # of TOML, of numbers with thousands of digits, of deep nesting
            raise CardError(f"Preprocessing card {name} is not TOML: {error}.") from None
        return cls.from_dict(raw, name, folder)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], name: str = "", folder: Path | None = None) -> Card:
        """Read a card from a mapping of this class's fields; an unknown key is an error that names the nearest."""
        known = [f.name for f in fields(cls)]
        values: dict[str, Any] = {"name": name}
        where = f"Preprocessing card {name}: "
        for key, value in labelled_bands(dict(raw), where).items():
            if key not in known:
                raise CardError(str(unknown(f"key in preprocessing card {name}:", str(key)[:100], known)))
            values[key] = value
        try:
            for key in ("resize", "crop"):
                if values.get(key) is not None:
                    values[key] = _pair(values[key])
            if values.get("resize_short") is not None:
                values["resize_short"] = _extent(values["resize_short"])
            for key in {"range"} & values.keys():
                low, high = map(_real, values[key])
                values[key] = (low, high)
            for key in {"bands"} & values.keys():
                values[key] = _extent(values[key])
                values.setdefault("mode", "BANDS")
            for key in {"mean", "std"} & values.keys():
                one = values[key]
                values[key] = tuple(map(_real, one if isinstance(one, (list, tuple)) else [one]))
            for key in {"scale"} & values.keys():
                values[key] = _real(values[key])
            for key in {"mode", "layout", "resample", "name"} & values.keys():
                if not isinstance(values[key], str):
                    raise ValueError("accepted: a text")
                values[key] = values[key] if key in ("name", "resample") else values[key].upper()
        except (TypeError, ValueError, OverflowError) as error:
            raise CardError(f"{where}{key} is {raw.get(key)!r:.100}: {error}.") from None
        if "coordinates" in values:
            values["coordinates"] = Coordinates.from_dict(values["coordinates"], where)
        if "labels" in values:
            values["labels"] = _labels(values["labels"], where, folder)
        return cls(**values)

    @classmethod
    def from_hugging_face(cls, raw: Mapping[str, Any], name: str = "") -> Card:
        """Read a Hugging Face ``preprocessor_config.json`` of an image processor."""
        return cls.from_dict(fields_of(raw, f"Preprocessing card {name}: "), name)


def card_of_module(module: Any) -> Card | None:
    """A timm model's card, from its ``pretrained_cfg``: timm's transform for evaluation; None for other modules.

    Raises:
        CardError: the configuration says something that a card cannot.
    """
    raw = getattr(module, "pretrained_cfg", None)
    if not isinstance(raw, Mapping) or not {"input_size", "mean", "std"} <= raw.keys():
        return None
    channels, height, width = raw["input_size"]
    card: dict[str, Any] = {"mode": "L" if channels == 1 else "RGB", "mean": list(raw["mean"]), "std": list(raw["std"])}
    kept = raw.get("crop_pct") or 0.875
    if raw.get("crop_mode", "center") == "center" and height == width:
        card |= {"resize_short": int(height / kept), "crop": [height, width]}
    else:  # squeezed, whatever its shape
        card |= {"resize": [int(height / kept), int(width / kept)], "crop": [height, width]}
    filters = {"bilinear", "bicubic", "nearest", "lanczos"}
    card["resample"] = raw.get("interpolation") if raw.get("interpolation") in filters else "bilinear"
    return Card.from_dict(card, f"timm's {raw.get('architecture', 'pretrained_cfg')}")


_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of 0 to 1
PRESETS: Mapping[str, Card] = {
    "imagenet": Card(
        mode="RGB",
        resize_short=256,
        crop=(224, 224),
        mean=_MEAN,
        std=_STD,
        name="imagenet",
    ),
    "imagenet-pm1": Card(
        mode="RGB", resize_short=256, crop=(224, 224), scale=1 / 127.5, mean=(1.0,), std=(1.0,), name="imagenet-pm1"
    ),
    "imagenet-caffe": Card(
        mode="BGR",
        resize_short=256,
        crop=(224, 224),
        scale=1.0,
        mean=(103.94, 116.78, 123.68),
        name="imagenet-caffe",
    ),
    # torchvision's second weights resize to 232; the first are "imagenet"
    "torchvision-v2": Card(mode="RGB", resize_short=232, crop=(224, 224), mean=_MEAN, std=_STD, name="torchvision-v2"),
    # Ultralytics' classifiers; their detectors pad to a square, which no card says: pad before, and give "unit"
    "ultralytics": Card(mode="RGB", resize_short=224, crop=(224, 224), name="ultralytics"),
    "unit": Card(mode="RGB", name="unit"),
    "raw": Card(mode="RGB", scale=1.0, name="raw"),
    "grey": Card(mode="L", name="grey"),
    "raw-grey": Card(mode="L", scale=1.0, name="raw-grey"),
}
"""Cards that can be given by name."""


def load_card(source: str | Path | Mapping[str, Any] | Card) -> Card:
    """A card from a card, a mapping, a preset's name, a ``.toml`` file or a ``preprocessor_config.json``.

    Raises:
        CardError: the source cannot be used; the message says what is accepted.
    """
    if isinstance(source, Card):
        return source
    if isinstance(source, Mapping):
        return Card.from_dict(source, "given")
    if str(source) in PRESETS:
        return PRESETS[str(source)]
    path = Path(source)
    if there(path) != "file":
        presets = ", ".join(PRESETS)
        raise CardError(
            f"Preprocessing card {str(source)!r:.200} is neither a file nor a preset. Presets: {presets}.",
            option="card",
            got=str(source)[:200],
            nearest=nearest(str(source), PRESETS),
        )
    text = read_text(path, CardError, f"Preprocessing card {path}")
    if path.suffix != ".json":
        return Card.from_toml(text, path.name, path.parent)
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CardError(f"Preprocessing card {path} cannot be read: {error}.") from None
    return Card.from_hugging_face(raw, path.name)


def find_card(model: Path, metadata: Mapping[str, str]) -> Card | None:
    """The card that lies beside a model file, in its metadata, or in a Hugging Face config in its folder; else None."""
    beside = model.with_name(model.stem + ".card.toml")
    if there(beside) == "file":
        return load_card(beside)
    if "xplain.card" in metadata:
        return Card.from_toml(metadata["xplain.card"], "in the model's metadata")
    config = model.with_name("preprocessor_config.json")
    return load_card(config) if there(config) == "file" else None


def _is_layout(word: str) -> bool:
    try:
        return stated(word).letters == word
    except UsageError:
        return False


def _extent(value: Any) -> int:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not 0 < value <= 65536:
        raise ValueError("accepted: a whole number of pixels from 1 to 65536")
    return int(value)


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("accepted: numbers")
    return float(value)


def _pair(value: Any) -> tuple[int, int]:
    numbers = list(value) if isinstance(value, (list, tuple)) else [value, value]
    if len(numbers) != 2:
        raise ValueError("accepted: one number or [height, width]")
    return _extent(numbers[0]), _extent(numbers[1])


def _labels(value: Any, where: str, folder: Path | None) -> tuple[str, ...]:
    """Labels as plain text: control characters out, length capped, because files are not trusted."""
    if isinstance(value, str):
        name = Path(value)
        if folder is None or len(value) > 1000 or name.is_absolute() or ".." in name.parts:
            raise CardError(f"{where}labels = {value!r:.100}; accepted: a list, or a file in the card's own folder.")
        value = lines_of(read_text(folder / name, CardError, f"{where}the labels file {value!r}"))
    if not isinstance(value, (list, tuple)) or len(value) > _MOST_LABELS:
        raise CardError(f"{where}labels must be a list of at most {_MOST_LABELS} names.")
    for one in value:
        if isinstance(one, bool) or not isinstance(one, (str, int, float)):
            raise CardError(f"{where}a label is {str(one)[:80]}; accepted: names.")
    return tuple("".join(c for c in str(v) if c.isprintable()).strip()[:_LONGEST_LABEL] for v in value)
